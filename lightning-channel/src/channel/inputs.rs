//! What the peer and its connection bring.
use alloc::boxed::Box;
use alloc::vec::Vec;

use lightning_traits::event::Event;
use lightning_traits::feature::Features;
use lightning_traits::id::ShortChannelId;
use lightning_traits::interface::{KeysInterface, Level};
use lightning_traits::monitor::{NewMonitor, Receipt, RecordChange};
use lightning_traits::wire::{
    AcceptChannel, AnnouncementSignatures, ChannelMessage, ChannelReady, ChannelReestablish, ChannelUpdate,
    ClosingComplete, ClosingSig, ClosingSigned, CommitmentSigned, ErrorMessage, FundingCreated,
    FundingSigned, RevokeAndAck, Shutdown, UpdateAddHtlc, UpdateFailHtlc, UpdateFailMalformedHtlc, UpdateFee,
    UpdateFulfillHtlc,
};
use secp256k1::ecdsa::Signature;

use super::context::Context;
use super::link::{Link, Online};
use super::open::Funded;
use super::opening::{FirstCommitments, Opening};
use super::phase::Ending;
use super::reaction::{Reaction, reaction};
use super::record::{
    self, Announcement, ClosingWish, Confirmation, Facts, Funder, Journal, Log, Milestone, Ready, Stage,
};
use super::step::{Step, Stop};
use super::violation::Violation;
use super::{Channel, Phase, closing, warning_message};
use crate::commitments::Commitments;

/// Messages held for a slow signer; a peer that sends more is cut off.
const MAX_HELD: usize = 1_024;
/// Changes that may wait for a write.
const MAX_UNWRITTEN: usize = 1_024;

impl<K: KeysInterface> Channel<K> {
    /// A connection is up: `init` is exchanged. A funded channel says what it holds.
    pub fn connected(&mut self, cx: &Context<'_, K>, features: &Features) {
        if self.connection.is_some() {
            // The old connection was not seen to die.
            self.disconnected(cx);
        }
        self.connection = Some(features.clone());
        self.outbox.connect();
        self.send_error_again();
        let (phase, mut step) = self.split(cx);
        if let Phase::Funded(link) = phase {
            link.connect(features.clone());
            link.state().send_reestablish(&mut step);
        }
    }

    fn send_error_again(&mut self) {
        if let Phase::Resolving(state) = &self.phase
            && let Some(error) = state.error()
        {
            self.outbox.send_error(error);
        }
    }

    /// The connection is gone. A channel without money is forgotten ("SHOULD NOT remember the channel for reconnection").
    pub fn disconnected(&mut self, cx: &Context<'_, K>) {
        self.connection = None;
        self.held.clear();
        self.deaf = false;
        self.outbox.disconnect();
        let (phase, mut step) = self.split(cx);
        match phase {
            Phase::Opening(_) => self.abandon(cx, "the peer disconnected", false),
            Phase::Funded(link) => {
                link.disconnect();
                let state = link.any().0;
                state.drop_uncommitted(&mut step);
                state.release_held(&mut step);
            }
            Phase::Resolving(_) | Phase::Closed(_) => {}
        }
    }

    /// A message about the channel.
    ///
    /// `open_channel` makes a channel and comes to [`Channel::requested`] instead; `error` to [`Channel::on_error`].
    /// Before handing over a `funding_created`, the manager checks that its outpoint and the id made of it are new.
    pub fn on_message(&mut self, cx: &Context<'_, K>, message: ChannelMessage) {
        if self.connection.is_none() || self.deaf {
            return;
        }
        if self.held.is_empty() {
            self.take(cx, message);
        } else if self.held.len() < MAX_HELD {
            self.held.push_back(message);
        } else {
            self.react(cx, &Violation::Overdue("a message that the signer does not answer"));
        }
    }

    /// Takes messages that waited for the signer.
    pub(super) fn take_held(&mut self, cx: &Context<'_, K>) {
        for _ in 0..self.held.len() {
            if self.deaf {
                return;
            }
            let Some(message) = self.held.pop_front() else { return };
            let before = self.held.len();
            self.take(cx, message);
            if self.held.len() > before {
                return;
            }
        }
    }

    fn take(&mut self, cx: &Context<'_, K>, message: ChannelMessage) {
        if let Phase::Resolving(_) = &self.phase {
            // "SHOULD retransmit the error packet and ignore any other packets for that channel": once in answer to each attempt.
            if matches!(message, ChannelMessage::ChannelReestablish(_)) {
                self.send_error_again();
            }
            return;
        }
        match self.dispatch(cx, message) {
            Ok(()) => self.advance(cx),
            Err(Stop::Hold(message)) => self.held.push_front(*message),
            Err(Stop::Violation(violation)) => self.react(cx, &violation),
        }
    }

    /// The peer reports an error for this channel, or for all (BOLT 1: "MUST fail the channel(s) referred to").
    pub fn on_error(&mut self, cx: &Context<'_, K>, error: &ErrorMessage) {
        let text = error.text();
        cx.log(Level::Warn, self.peer, self.id, format_args!("the peer reports: {text}"));
        match &self.phase {
            Phase::Opening(_) => self.abandon(cx, &text, false),
            // Both have signed a closing transaction, which costs less than a commitment.
            Phase::Funded(link) if closing::is_agreed(link.state()) => self.rebroadcast(cx),
            Phase::Funded(_) => self.leave(cx, Ending::PeerError { text: text.into_bytes() }),
            Phase::Resolving(_) | Phase::Closed(_) => {}
        }
    }

    /// The peer's `channel_update`, which may be about this channel. Anything else is not for us.
    pub fn on_channel_update(&mut self, cx: &Context<'_, K>, update: &ChannelUpdate) {
        let (phase, mut step) = self.split(cx);
        if let Phase::Funded(link) = phase {
            link.any().0.on_channel_update(update, &mut step);
        }
    }

    /// A write is durable.
    pub fn on_receipt(&mut self, receipt: Receipt) {
        if receipt.channel() == self.id {
            self.outbox.ledger_mut().receive(receipt.id());
            if self.journal.retreat_before().is_some_and(|write| self.outbox.ledger().covers(write)) {
                self.journal.forget_retreat();
            }
        }
    }

    /// Does what has become due.
    pub(super) fn advance(&mut self, cx: &Context<'_, K>) {
        let (phase, mut step) = self.split(cx);
        let Phase::Funded(link) = phase else { return };
        let (state, online) = link.any();
        if let Err(violation) = state.advance(online, &mut step) {
            self.react(cx, &violation);
        }
        // What rides on the next write must not pile up (RELIABILITY O8).
        if self.journal.len() > MAX_UNWRITTEN {
            self.flush(cx);
        }
    }

    /// Follows the table of reactions.
    pub(super) fn react(&mut self, cx: &Context<'_, K>, violation: &Violation) {
        let reaction = reaction(violation, self.phase());
        cx.log(Level::Warn, self.peer, self.id, format_args!("{violation}: {reaction:?}"));
        let id = self.id;
        let (_, mut step) = self.split(cx);
        match reaction {
            Reaction::Ignore => {}
            Reaction::Warn => {
                step.effects.send(warning_message(id, violation));
            }
            Reaction::WarnAndDisconnect => {
                step.effects.disconnect(warning_message(id, violation));
                self.deaf = true;
            }
            Reaction::AbortNegotiation => self.abandon(cx, &alloc::format!("{violation}"), true),
            Reaction::FailChannel => {
                let text = alloc::format!("{violation}").into_bytes();
                self.leave(cx, Ending::PeerViolation { text });
            }
            Reaction::GoPassive => {
                if let Violation::ProvenLate { point } = violation {
                    self.leave(cx, Ending::DataLoss { point: *point });
                }
            }
        }
    }

    /// The funded state and the step, while both sides know where they stand.
    pub(super) fn online<'a>(
        &'a mut self,
        cx: &'a Context<'a, K>,
    ) -> Result<(&'a mut Funded, &'a mut Online, Step<'a, K>), Stop> {
        let phase = self.phase();
        match self.split(cx) {
            (Phase::Funded(link), step) => match link.online() {
                Some((state, online)) => Ok((state, online, step)),
                None => Err(Violation::UpdateNotAllowed(phase).into()),
            },
            _ => Err(Violation::UpdateNotAllowed(phase).into()),
        }
    }
}

/// Messages of an opening.
impl<K: KeysInterface> Channel<K> {
    pub(super) fn on_accept_channel(
        &mut self,
        cx: &Context<'_, K>,
        message: Box<AcceptChannel>,
    ) -> Result<(), Stop> {
        let Phase::Opening(Opening::Offered(phase)) = &self.phase else { return Ok(()) };
        let next = (**phase).clone().on_accept(cx, &message)?;
        let event = Event::FundingNeeded {
            temporary: self.id,
            peer: self.peer,
            value: next.proposal.funding,
            script: next.script(),
        };
        self.waited = 0;
        self.phase = Phase::Opening(Opening::AwaitingTransaction(Box::new(next)));
        self.split(cx).1.effects.event(event);
        Ok(())
    }

    pub(super) fn on_funding_created(
        &mut self,
        cx: &Context<'_, K>,
        message: FundingCreated,
    ) -> Result<(), Stop> {
        let Phase::Opening(Opening::AwaitingCreated(phase)) = &self.phase else { return Ok(()) };
        let (first, signed) = phase.on_created(cx, &self.signer, &message)?;
        self.become_funded(cx, first, message.signature, Funder::Them {}, Some(signed))
    }

    pub(super) fn on_funding_signed(
        &mut self,
        cx: &Context<'_, K>,
        message: FundingSigned,
    ) -> Result<(), Stop> {
        let Phase::Opening(Opening::AwaitingSigned(phase)) = &self.phase else { return Ok(()) };
        let signature = phase.on_signed(cx, &message)?;
        let (first, transaction) = (phase.first.clone(), phase.transaction.clone());
        let funder = match phase.members.clone() {
            Some(members) => Funder::Held { transaction, members, is_committed: false },
            None => Funder::Us { transaction },
        };
        self.become_funded(cx, first, signature, funder, None)
    }

    /// Both first commitments are signed: from here on the channel is durable.
    fn become_funded(
        &mut self,
        cx: &Context<'_, K>,
        first: FirstCommitments,
        signature: Signature,
        funder: Funder,
        answer: Option<FundingSigned>,
    ) -> Result<(), Stop> {
        let next_point = first.next_point(&self.signer).map_err(Violation::FirstCommitment)?;
        let (channel, peer, temporary) = (first.terms.channel, self.peer, self.temporary);
        let funding = first.terms.funding.outpoint;
        let members = match &funder {
            Funder::Held { members, .. } => Some(members.clone()),
            Funder::Us { .. } | Funder::Them {} => None,
        };
        let untold = if members.is_some() { Vec::new() } else { alloc::vec![Milestone::Pending {}] };
        let announcement =
            if first.terms.announce { Announcement::Awaited {} } else { Announcement::Private {} };
        let facts = Facts {
            temporary,
            funder,
            confirmation: Confirmation::Unseen {},
            ready: Ready::Neither {},
            alias: random_alias(cx.keys),
            their_alias: None,
            announcement,
            update_time: 0,
            their_terms: None,
            untold,
            closing_wish: ClosingWish::default(),
            stage: Stage::AwaitingReady {},
        };
        let destination = cx.keys.destination_script(&first.terms.keys);
        let init = first.monitor(signature, destination);
        let commitments = Commitments::new(first.terms, first.spec, first.their_point, next_point);
        let state = Box::new(Funded::new(commitments, facts));
        let bytes = record::snapshot_funded(&state);
        let log = Log::starting_with(bytes.len());
        let record = RecordChange::Snapshot { bytes };
        let broadcast = state.unconfirmed_transaction().cloned();
        self.id = channel;
        self.journal = Journal::new(channel, lightning_traits::id::UpdateId(1), log);
        let features = self.connection.clone().unwrap_or_default();
        self.phase = Phase::Funded(Link::online_since_opening(state, features));
        let (_, mut step) = self.split(cx);
        let mut gated = step.effects.persist_new(NewMonitor { init, record, extra: Default::default() });
        if let Some(answer) = answer {
            gated.send(answer);
        }
        if let Some(transaction) = broadcast {
            gated.broadcast(alloc::vec![transaction]);
        }
        match members {
            Some(members) => gated.funding_shared(members),
            None => gated.event(Event::ChannelPending { channel, temporary, peer, funding }),
        };
        Ok(())
    }
}

/// An alias that no block of the next centuries can give to a real channel (BOLT 2, `channel_ready`: "MUST NOT ... use an alias
/// which collides with a `short_channel_id` of a channel on the same node").
fn random_alias(keys: &impl KeysInterface) -> ShortChannelId {
    let mut bytes = [0; 8];
    keys.fill(&mut bytes);
    let random = u64::from_be_bytes(bytes);
    // Heights from 15,728,640 on, any transaction and output.
    ShortChannelId(random | (0xf0_0000 << 40))
}

/// Messages of a funded channel.
impl<K: KeysInterface> Channel<K> {
    pub(super) fn on_channel_reestablish(
        &mut self,
        cx: &Context<'_, K>,
        message: ChannelReestablish,
    ) -> Result<(), Stop> {
        if self.doubted {
            self.leave(cx, Ending::DataLoss { point: message.my_current_per_commitment_point });
            return Ok(());
        }
        let messages = {
            let (phase, step) = self.split(cx);
            let Phase::Funded(link) = phase else { return Ok(()) };
            let messages = link.state().retransmit(message, &step)?;
            link.synced();
            messages
        };
        self.outbox.resynced();
        let (state, _, mut step) = self.online(cx)?;
        let mut gated = step.effects.after_all();
        for message in messages {
            gated.send(message);
        }
        // What was proposed before but not signed for is signed for now.
        let _waits = state.commit(&mut step);
        Ok(())
    }

    pub(super) fn on_channel_ready(
        &mut self,
        cx: &Context<'_, K>,
        message: ChannelReady,
    ) -> Result<(), Stop> {
        let (phase, mut step) = self.split(cx);
        let Phase::Funded(link) = phase else { return Ok(()) };
        // Some peers say it before `channel_reestablish`; it only tells a point.
        link.any().0.on_channel_ready(message, &mut step)
    }

    pub(super) fn on_announcement_signatures(
        &mut self,
        cx: &Context<'_, K>,
        message: AnnouncementSignatures,
    ) -> Result<(), Stop> {
        let (state, online, mut step) = self.online(cx)?;
        Ok(state.on_announcement_signatures(message, online, &mut step)?)
    }

    pub(super) fn on_update_add(&mut self, cx: &Context<'_, K>, message: UpdateAddHtlc) -> Result<(), Stop> {
        let (state, online, mut step) = self.online(cx)?;
        online.count_update()?;
        state.on_update_add(message, &mut step)
    }

    pub(super) fn on_update_fulfill(
        &mut self,
        cx: &Context<'_, K>,
        message: UpdateFulfillHtlc,
    ) -> Result<(), Stop> {
        let (state, online, mut step) = self.online(cx)?;
        online.count_update()?;
        state.on_update_fulfill(message, &mut step)
    }

    pub(super) fn on_update_fail(
        &mut self,
        cx: &Context<'_, K>,
        message: UpdateFailHtlc,
    ) -> Result<(), Stop> {
        let (state, online, mut step) = self.online(cx)?;
        online.count_update()?;
        state.on_update_fail(message, &mut step)
    }

    pub(super) fn on_update_malformed(
        &mut self,
        cx: &Context<'_, K>,
        message: UpdateFailMalformedHtlc,
    ) -> Result<(), Stop> {
        let (state, online, mut step) = self.online(cx)?;
        online.count_update()?;
        state.on_update_malformed(message, &mut step)
    }

    pub(super) fn on_update_fee(&mut self, cx: &Context<'_, K>, message: UpdateFee) -> Result<(), Stop> {
        let (state, online, mut step) = self.online(cx)?;
        online.count_update()?;
        state.on_update_fee(message, &mut step)
    }

    pub(super) fn on_commitment_signed(
        &mut self,
        cx: &Context<'_, K>,
        message: CommitmentSigned,
    ) -> Result<(), Stop> {
        let (state, online, mut step) = self.online(cx)?;
        online.unsigned_updates = 0;
        state.on_commitment_signed(message, &mut step)
    }

    pub(super) fn on_revoke_and_ack(
        &mut self,
        cx: &Context<'_, K>,
        message: RevokeAndAck,
    ) -> Result<(), Stop> {
        let (state, online, mut step) = self.online(cx)?;
        online.waited = 0;
        state.on_revoke_and_ack(message, &mut step)
    }

    pub(super) fn on_shutdown(&mut self, cx: &Context<'_, K>, message: Shutdown) -> Result<(), Stop> {
        let (state, online, mut step) = self.online(cx)?;
        if state.held().is_some_and(|(_, can_go)| can_go) {
            self.leave(cx, Ending::NeverFunded { text: b"the peer closed it before it was funded".to_vec() });
            return Ok(());
        }
        closing::on_shutdown(state, message, online, &mut step)
    }

    pub(super) fn on_closing_signed(
        &mut self,
        cx: &Context<'_, K>,
        message: ClosingSigned,
    ) -> Result<(), Stop> {
        let (state, online, mut step) = self.online(cx)?;
        closing::on_closing_signed(state, message, online, &mut step)
    }

    pub(super) fn on_closing_complete(
        &mut self,
        cx: &Context<'_, K>,
        message: Box<ClosingComplete>,
    ) -> Result<(), Stop> {
        let (state, online, mut step) = self.online(cx)?;
        closing::on_complete(state, *message, online, &mut step)
    }

    pub(super) fn on_closing_sig(
        &mut self,
        cx: &Context<'_, K>,
        message: Box<ClosingSig>,
    ) -> Result<(), Stop> {
        let (state, online, mut step) = self.online(cx)?;
        closing::on_sig(state, *message, online, &mut step)
    }
}
