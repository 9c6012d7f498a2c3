//! The funding transaction in the chain, and `channel_ready`.
//!
//! # Invariants
//! - no `channel_ready` unless the transaction in the block has the very output that was negotiated (RELIABILITY A1)
//! - while the transaction is in no block, nothing new is offered and nothing that came is forwarded (RELIABILITY E4), unless
//!   its funder is trusted until it is (`option_zeroconf`)
use alloc::vec::Vec;

use bitcoin::Transaction;
use lightning_traits::event::Event;
use lightning_traits::id::ChannelId;
use lightning_traits::interface::{ConfirmedTransaction, KeysInterface, Level};
use lightning_traits::monitor::HtlcOutcome;
use lightning_traits::units::BlockHeight;
use lightning_traits::wire::ChannelReady;

use super::Funded;
use crate::channel::record::{Confirmation, Entry, Funder, Ready};
use crate::channel::step::{Step, Stop};
use crate::channel::violation::Violation;

/// Consensus: outputs of a coinbase transaction cannot be spent before.
const COINBASE_MATURITY: u32 = 100;

impl Funded {
    /// Looks for the funding transaction in a block.
    pub(crate) fn on_block<K: KeysInterface>(
        &mut self,
        transactions: &[ConfirmedTransaction<'_>],
        step: &mut Step<'_, K>,
    ) -> Result<(), Violation> {
        if self.is_confirmed() {
            return Ok(());
        }
        let funding = self.terms().funding;
        let found = transactions.iter().find(|tx| tx.transaction.compute_txid() == funding.outpoint.txid);
        let Some(found) = found else {
            self.note_conflict(transactions, step);
            return Ok(());
        };
        // BOLT 2: "MUST NOT send `channel_ready` unless outpoint ... pays exactly `funding_satoshis` to the scriptpubkey specified".
        let output =
            usize::try_from(funding.outpoint.vout).ok().and_then(|vout| found.transaction.output.get(vout));
        if output != Some(&funding.txout()) {
            return Err(Violation::FundingOutput);
        }
        let Ok(index) = u32::try_from(found.index) else { return Ok(()) };
        // Whoever signed it for us has broadcast it by himself.
        self.release_funding(found.transaction.clone(), step);
        let (height, coinbase) = (step.cx.height, found.transaction.is_coinbase());
        self.record(Entry::Confirmed { height, index, coinbase }, step);
        self.persist(step);
        Ok(())
    }

    /// Notes a block that takes an input away from our funding transaction: our wallet, or whoever signed with us, spends it twice.
    fn note_conflict<K: KeysInterface>(
        &mut self,
        transactions: &[ConfirmedTransaction<'_>],
        step: &mut Step<'_, K>,
    ) {
        let is_known = matches!(self.facts.confirmation, Confirmation::Conflicted { .. });
        if is_known || !self.facts.funder.is_conflicted_by(transactions) {
            return;
        }
        step.log(
            Level::Warn,
            format_args!("another transaction has spent an input of the funding transaction"),
        );
        self.record(Entry::FundingConflicted { height: step.cx.height }, step);
        self.persist(step);
    }

    /// Whether our funding transaction can never confirm: another has spent an input of it, too deep to be undone.
    pub(crate) const fn is_hopeless(&self, tip: BlockHeight) -> bool {
        self.facts.confirmation.is_hopeless(tip)
    }

    /// The block at `height` is no longer in the chain.
    pub(crate) fn on_block_disconnected<K: KeysInterface>(
        &mut self,
        height: BlockHeight,
        step: &mut Step<'_, K>,
    ) {
        if let Confirmation::Seen { height: seen, .. } = self.facts.confirmation
            && seen >= height
        {
            step.log(
                Level::Warn,
                format_args!("the block with the funding transaction was reorganized away"),
            );
            self.record(Entry::Unconfirmed {}, step);
            self.persist(step);
        }
        if let Confirmation::Conflicted { height: taken } = self.facts.confirmation
            && taken >= height
        {
            self.record(Entry::Unconfirmed {}, step);
            self.persist(step);
        }
    }

    /// Whether the peer funds the channel and has had its time (BOLT 2: "SHOULD forget the channel if it does not see the
    /// correct funding transaction after a timeout of 2016 blocks"). A channel that once confirmed is none of these: the chain
    /// will have its transaction again.
    pub(crate) fn is_overdue(&self, tip: BlockHeight, after: u32) -> bool {
        let was_seen = self.facts.ready == (Ready::Both {}) && !self.terms().zero_conf;
        self.facts.funder == (Funder::Them {})
            && !self.is_confirmed()
            && !was_seen
            && tip > self.terms().birth.plus(after)
    }

    /// No commitment can ever confirm: what we offered went nowhere. Only a channel that was used before it confirmed has any.
    pub(crate) fn fail_all<K: KeysInterface>(&mut self, step: &mut Step<'_, K>) {
        let ids: Vec<_> = self.commitments.outgoing().map(|(id, _)| id).collect();
        for id in ids {
            if let Some(change) = self.commitments.accept_chain_outcome(id, &HtlcOutcome::Failed {}) {
                self.record(Entry::Commitments { change }, step);
            }
        }
    }

    /// The held transaction is out.
    pub(crate) fn release_funding<K: KeysInterface>(
        &mut self,
        transaction: Transaction,
        step: &mut Step<'_, K>,
    ) {
        if !matches!(self.facts.funder, Funder::Held { .. }) {
            return;
        }
        let terms = self.terms();
        let event = Event::ChannelPending {
            channel: terms.channel,
            temporary: self.facts.temporary,
            peer: terms.peer,
            funding: terms.funding.outpoint,
        };
        self.record(Entry::FundingReleased { transaction: transaction.clone() }, step);
        self.persist(step).broadcast(alloc::vec![transaction]).event(event);
    }

    /// The event that asks the user to sign the held transaction.
    pub(crate) fn funding_event(&self) -> Option<Event> {
        let Funder::Held { transaction, .. } = &self.facts.funder else { return None };
        let terms = self.terms();
        Some(Event::FundingSafe {
            channel: terms.channel,
            temporary: self.facts.temporary,
            peer: terms.peer,
            funding: terms.funding.outpoint,
            transaction: transaction.clone(),
        })
    }

    /// The channels that share the held transaction, and whether this one can be given up without harm.
    pub(crate) fn held(&self) -> Option<(&[ChannelId], bool)> {
        match &self.facts.funder {
            Funder::Held { members, is_committed, .. } => Some((members, !is_committed)),
            Funder::Us { .. } | Funder::Them {} => None,
        }
    }

    /// Our funding transaction, while it is in no block.
    pub(crate) fn unconfirmed_transaction(&self) -> Option<&Transaction> {
        match &self.facts.funder {
            Funder::Us { transaction } if !self.is_confirmed() => Some(transaction),
            Funder::Us { .. } | Funder::Held { .. } | Funder::Them {} => None,
        }
    }

    fn needed_depth(&self) -> u32 {
        // Its funder is trusted, by the accepter; and the opener trusts itself.
        if self.terms().zero_conf {
            return 0;
        }
        let asked = self.terms().minimum_depth.max(1);
        match self.facts.confirmation {
            Confirmation::Seen { coinbase: true, .. } => asked.max(COINBASE_MATURITY),
            Confirmation::Seen { .. } | Confirmation::Unseen {} | Confirmation::Conflicted { .. } => asked,
        }
    }

    /// Sends `channel_ready` once the funding transaction is deep enough.
    pub(super) fn advance_ready<K: KeysInterface>(&mut self, step: &mut Step<'_, K>) {
        // What nobody has seen yet nobody should rely on.
        if matches!(self.facts.funder, Funder::Held { .. }) {
            return;
        }
        if self.facts.ready.is_ours_sent() || self.depth(step.cx.height) < self.needed_depth() {
            return;
        }
        self.record(Entry::ReadySent {}, step);
        let message = self.channel_ready();
        self.persist_with_ready_event(step, Some(message));
    }

    /// Our `channel_ready`.
    pub(super) fn channel_ready(&self) -> ChannelReady {
        ChannelReady {
            channel_id: self.terms().channel,
            second_per_commitment_point: self.commitments.our_next_point(),
            short_channel_id: Some(self.facts.alias),
            unknown: Default::default(),
        }
    }

    /// Their `channel_ready`.
    pub(crate) fn on_channel_ready<K: KeysInterface>(
        &mut self,
        message: ChannelReady,
        step: &mut Step<'_, K>,
    ) -> Result<(), Stop> {
        if let Some(alias) = message.short_channel_id
            && self.facts.their_alias != Some(alias)
        {
            self.record(Entry::AliasReceived { alias }, step);
        }
        if self.facts.ready.is_theirs_received() {
            // BOLT 2: "MUST ignore any redundant `channel_ready` it receives".
            return Ok(());
        }
        let Some(change) = self.commitments.accept_ready(message.second_per_commitment_point) else {
            return Ok(());
        };
        self.record(Entry::Commitments { change }, step);
        self.record(Entry::ReadyReceived {}, step);
        self.persist_with_ready_event(step, None);
        Ok(())
    }

    /// Writes; behind it goes our `channel_ready`, and the event once both are exchanged.
    fn persist_with_ready_event<K: KeysInterface>(
        &self,
        step: &mut Step<'_, K>,
        message: Option<ChannelReady>,
    ) {
        let (channel, peer) = (self.terms().channel, self.terms().peer);
        let mut gated = self.persist(step);
        if let Some(message) = message {
            gated.send(message);
        }
        if self.facts.ready == (Ready::Both {}) {
            gated.event(Event::ChannelReady { channel, peer, scid: self.scid() });
        }
    }

    /// Hands out HTLCs that waited for the funding transaction to be in a block again.
    pub(super) fn release_withheld<K: KeysInterface>(&mut self, step: &mut Step<'_, K>) {
        if self.is_certain() && !self.withheld.is_empty() {
            let mut gated = step.effects.after_all();
            for htlc in core::mem::take(&mut self.withheld) {
                gated.incoming(htlc);
            }
        }
    }
}
