//! A channel that has left for the chain: the monitor acts, we translate.
//!
//! What the monitor reports about HTLCs that we offered becomes notices like any other; preimages that we learn for HTLCs
//! offered to us still go to the monitor. BOLT 5 itself is the monitor's.
//!
//! # Invariants
//! - no message of the channel is sent any more but `error`, in answer to a peer that still talks about it
//! - the channel is forgotten only when the chain is done and every notice was taken over; not before then does the monitor
//!   hear that its last word was understood, since then it throws the record away
use alloc::vec::Vec;

use bitcoin::Transaction;
use lightning_traits::codec::{Decode, DecodeError, Encode, Reader, decode_list, encode_list};
use lightning_traits::event::{CloseReason, Event};
use lightning_traits::id::{EventId, HtlcId, ShortChannelId};
use lightning_traits::interface::KeysInterface;
use lightning_traits::monitor::{HtlcOutcome, MonitorStep};
use lightning_traits::payment::Preimage;
use lightning_traits::wire::ErrorMessage;

use super::effects::Gated;
use super::footing::Footing;
use super::phase::Ending;
use super::record::{Entry, Milestone, snapshot_resolving};
use super::step::Step;
use crate::commitments::{
    Change, Commitments, Evolved, IncomingHtlc, Notice, Outcome, Removal, RemovalRefused,
};

/// A channel that the chain decides.
#[derive(Debug)]
pub(crate) struct Resolving {
    commitments: Commitments,
    ending: Ending,
    /// Where the funding output was when the channel left, if it was seen: users know the channel by it.
    scid: Option<ShortChannelId>,
    alias: ShortChannelId,
    /// Whether the funding output is there.
    footing: Footing,
    /// Closing transactions that both have signed: broadcast again until the chain is done, should a block be undone.
    agreed: Vec<Transaction>,
    /// Whether nothing of the channel is left on chain.
    resolved: bool,
    /// Whether the user has heard that it closed.
    told: bool,
    /// The monitor's word that nothing is left on chain, while something is left here. Repeated after a restart.
    unanswered: Option<EventId>,
}

impl Resolving {
    pub(crate) fn new(
        commitments: Commitments,
        ending: Ending,
        (scid, alias): (Option<ShortChannelId>, ShortChannelId),
        footing: Footing,
        agreed: Vec<Transaction>,
        told: bool,
    ) -> Self {
        // What never was funded leaves nothing on chain.
        let resolved = matches!(ending, Ending::NeverFunded { .. });
        Self { commitments, ending, scid, alias, footing, agreed, resolved, told, unanswered: None }
    }

    pub(crate) const fn commitments(&self) -> &Commitments {
        &self.commitments
    }

    pub(crate) const fn ending(&self) -> &Ending {
        &self.ending
    }

    pub(crate) const fn footing(&self) -> &Footing {
        &self.footing
    }

    pub(crate) const fn scid(&self) -> Option<ShortChannelId> {
        self.scid
    }

    pub(crate) const fn alias(&self) -> ShortChannelId {
        self.alias
    }

    /// HTLCs of the peer that the chain has not decided yet. The monitor does not report their ends one by one.
    pub(crate) fn incoming_count(&self) -> usize {
        if self.resolved { 0 } else { self.commitments.incoming_count() }
    }

    /// Whether nothing of the channel is left on chain.
    pub(crate) const fn is_resolved(&self) -> bool {
        self.resolved
    }

    /// HTLCs of the peer that nobody has decided on, while the chain may still give them to us.
    pub(crate) fn undecided(&self) -> Vec<IncomingHtlc> {
        if self.resolved { Vec::new() } else { self.commitments.pending_incoming().cloned().collect() }
    }

    /// Whether the channel can be forgotten.
    pub(crate) fn is_finished(&self) -> bool {
        self.resolved && self.told && self.commitments.notices().is_empty()
    }

    /// Applies one durable change.
    pub(crate) fn evolve(&mut self, entry: &Entry) -> Evolved {
        match entry {
            Entry::Commitments { change } => return self.commitments.evolve(change),
            Entry::Told { milestone: Milestone::Closed {} } => self.told = true,
            Entry::Resolved {} => self.resolved = true,
            entry => self.footing.evolve(entry),
        }
        Evolved::default()
    }

    /// Goes back to commitments that are not of this step. The next write must be a snapshot.
    pub(crate) fn step_back(&mut self, kept: Commitments) {
        self.commitments = kept;
    }

    /// Applies one durable change in a live step.
    pub(crate) fn record<K: KeysInterface>(&mut self, entry: Entry, step: &mut Step<'_, K>) {
        let Evolved { steps, incoming: _, notices, unsent } = self.evolve(&entry);
        step.journal.note(entry, steps);
        for notice in notices {
            match notice {
                // The chain shows it again after a crash.
                Notice::Settled { outcome: Outcome::Fulfilled { .. }, .. } => {
                    step.effects.notice(notice);
                }
                other => step.journal.reports().notices.push(other),
            }
        }
        for (id, htlc) in unsent {
            step.effects.unsent(id, htlc);
        }
    }

    /// Writes what was recorded.
    pub(crate) fn persist<'s, K: KeysInterface>(&self, step: &'s mut Step<'_, K>) -> Gated<'s> {
        step.persist(|| snapshot_resolving(self))
    }

    /// An HTLC that we offered is decided on chain.
    pub(crate) fn on_htlc_resolved<K: KeysInterface>(
        &mut self,
        event: EventId,
        htlc: HtlcId,
        outcome: &HtlcOutcome,
        step: &mut Step<'_, K>,
    ) {
        if let Some(change) = self.commitments.accept_chain_outcome(htlc, outcome) {
            self.record(Entry::Commitments { change }, step);
            self.persist(step).monitor_event_taken(event);
        } else {
            step.effects.after_all().monitor_event_taken(event);
        }
    }

    /// Nothing is left on chain.
    pub(crate) fn on_resolved<K: KeysInterface>(&mut self, event: EventId, step: &mut Step<'_, K>) {
        let channel = step.id;
        if !self.resolved {
            self.record(Entry::Resolved {}, step);
            self.persist(step).event(Event::Resolved { channel });
        }
        self.unanswered = Some(event);
        self.finish(step);
    }

    /// Lets the monitor go, once nothing depends on the record any more.
    fn finish<K: KeysInterface>(&mut self, step: &mut Step<'_, K>) {
        if !self.is_finished() {
            return;
        }
        // Nothing comes that the last notes could ride on.
        let mut gated = if step.journal.is_dirty() { self.persist(step) } else { step.effects.after_all() };
        if let Some(event) = self.unanswered.take() {
            gated.monitor_event_taken(event);
        }
    }

    /// The user has heard of something in the channel's life.
    pub(crate) fn told<K: KeysInterface>(&mut self, milestone: Milestone, step: &mut Step<'_, K>) {
        self.record(Entry::Told { milestone }, step);
        self.finish(step);
    }

    /// Our decision on an HTLC of theirs: a preimage is of use to the monitor, a failure to nobody.
    pub(crate) fn settle<K: KeysInterface>(
        &mut self,
        id: HtlcId,
        removal: Removal,
        step: &mut Step<'_, K>,
    ) -> Result<(), RemovalRefused> {
        match (self.commitments.offer_removal(id, removal.clone()), removal) {
            (Ok((change, _)), _) => self.record(Entry::Commitments { change }, step),
            // A failure that the peer never committed to: on the chain it is worth nothing, and the preimage is.
            (Err(RemovalRefused::AlreadyRemoved(_)), Removal::Fulfill { preimage, .. })
                if self.commitments.is_failing(id) && self.is_locked_to(id, &preimage) =>
            {
                step.journal.step(MonitorStep::Preimage { preimage });
            }
            (Err(refused), _) => return Err(refused),
        }
        step.journal.reports().removals.push(id);
        self.persist(step);
        Ok(())
    }

    fn is_locked_to(&self, id: HtlcId, preimage: &Preimage) -> bool {
        self.commitments.incoming(id).is_some_and(|htlc| htlc.hash == preimage.hash())
    }

    /// A notice was taken over.
    pub(crate) fn notice_done<K: KeysInterface>(
        &mut self,
        notice: crate::commitments::NoticeKey,
        step: &mut Step<'_, K>,
    ) {
        self.record(Entry::Commitments { change: Change::NoticeDone { notice } }, step);
        self.finish(step);
    }

    /// BOLT 2: "if a channel is in an error state: SHOULD retransmit the error packet and ignore any other packets". A channel
    /// that both closed together is in none.
    pub(crate) fn error(&self) -> Option<ErrorMessage> {
        let error = super::error_message(self.commitments.terms().channel, &self.ending.reason());
        (self.ending != Ending::Cooperative {}).then_some(error)
    }

    /// What may still have to confirm.
    pub(crate) fn agreed(&self) -> &[Transaction] {
        if self.resolved { &[] } else { &self.agreed }
    }

    /// Our funding transaction, while it is in no block and something depends on it.
    pub(crate) const fn unconfirmed_transaction(&self) -> Option<&Transaction> {
        if self.resolved { None } else { self.footing.unconfirmed_transaction() }
    }

    /// The event that the user has not acknowledged. A close that was agreed on was told as such, whatever came of it since: one
    /// event has one id and one reason (I11).
    pub(crate) fn untold_event(&self) -> Option<Event> {
        let terms = self.commitments.terms();
        let reason = if self.agreed.is_empty() { self.ending.reason() } else { CloseReason::Cooperative };
        let event = Event::ChannelClosed { channel: terms.channel, peer: terms.peer, reason };
        (!self.told).then_some(event)
    }
}

impl Encode for Resolving {
    fn encode(&self, out: &mut Vec<u8>) {
        self.commitments.encode(out);
        self.ending.encode(out);
        self.scid.encode(out);
        self.alias.encode(out);
        self.footing.encode(out);
        encode_list(&self.agreed, out);
        self.resolved.encode(out);
        self.told.encode(out);
    }
}

impl Decode for Resolving {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            commitments: reader.read()?,
            ending: reader.read()?,
            scid: reader.read()?,
            alias: reader.read()?,
            footing: reader.read()?,
            agreed: decode_list(reader)?,
            resolved: reader.read()?,
            told: reader.read()?,
            unanswered: None,
        })
    }
}
