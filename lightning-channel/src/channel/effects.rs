//! What a channel wants done, in order, and nothing before the disk has it.
//!
//! DESIGN section 5. A step of the channel is given [`Effects`]; messages that promise nothing go straight
//! into the outbox, everything else only through [`Effects::persist`], which puts it behind a gate that the
//! update's receipt opens. The wire has one queue and reports have one, each strictly first in first out,
//! so wire order is queue order.
//!
//! # Invariants
//! - no effect that must follow a durable write can be built except behind `persist` (I3):
//!
//! ```compile_fail
//! use lightning_channel::channel::effects::Effects;
//! use lightning_traits::wire::RevokeAndAck;
//! fn leak(effects: &mut Effects<'_>, message: RevokeAndAck) {
//!     effects.send(message); // RevokeAndAck is not Ungated
//! }
//! ```
//!
//! while this compiles:
//!
//! ```
//! use lightning_channel::channel::effects::Effects;
//! use lightning_traits::monitor::ChannelMonitorUpdate;
//! use lightning_traits::wire::{RevokeAndAck, WarningMessage};
//! fn keep(effects: &mut Effects<'_>, update: ChannelMonitorUpdate, message: RevokeAndAck, warning: WarningMessage) {
//!     effects.send(warning);
//!     effects.persist(update).send(message);
//! }
//! ```
//!
//! - the outbox is never persisted (I4): what a disconnect or a crash drops is derived again from the record
//! - a sealed outbox lets no message of the channel out any more, except the error that seals it
use alloc::boxed::Box;
use alloc::collections::{BTreeSet, VecDeque};
use alloc::vec::Vec;

use bitcoin::Transaction;
use lightning_traits::event::Event;
use lightning_traits::id::{ChannelId, EventId, HtlcId, UpdateId};
use lightning_traits::monitor::{ChannelMonitorUpdate, NewMonitor};
use lightning_traits::wire::{
    AcceptChannel, AnnouncementSignatures, ChannelReestablish, ErrorMessage, Message, OpenChannel,
    RoutingMessage, UpdateAddHtlc, UpdateFailHtlc, UpdateFailMalformedHtlc, UpdateFee, WarningMessage,
};

use crate::commitments::{IncomingHtlc, Notice, NoticeKey, OutgoingHtlc};

/// Something that must become durable; its receipt goes to [`Channel::on_receipt`](super::Channel::on_receipt).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Persisting {
    /// The channel's first durable state, update 0.
    New(Box<NewMonitor>),
    /// A later step.
    Update(Box<ChannelMonitorUpdate>),
}

impl Persisting {
    /// The id whose receipt opens the gate.
    #[must_use]
    pub fn id(&self) -> UpdateId {
        match self {
            Self::New(_) => UpdateId(0),
            Self::Update(update) => update.id,
        }
    }
}

/// What a channel hands to the manager, by [`Channel::poll`](super::Channel::poll).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Output {
    /// Make this durable. Handed out before all else, in order of id.
    Persist(Persisting),
    /// Send to the peer.
    Send(Message),
    /// Send a last message, then hang up.
    Disconnect(Message),
    /// Give to the network: one package.
    Broadcast(Vec<Transaction>),
    /// Gossip of our own making, for the graph and for all peers.
    Announce(RoutingMessage),
    /// An HTLC of the peer is irrevocably committed: decide on it. Comes again after a restart while it is undecided.
    Incoming(IncomingHtlc),
    /// An HTLC of ours ended, or a payment to us is claimed; repeated after a restart until `notice_done`.
    Notice(Notice),
    /// Our removal of this incoming HTLC is durable: whatever was owed to it downstream may be forgotten.
    RemovalDurable(HtlcId),
    /// That this notice is done with is durable; for those who asked to hear of it.
    NoticeGone(NoticeKey),
    /// HTLC `id` of ours was never signed for and is dropped with the connection, as if never offered: offer it anew.
    Unsent(HtlcId, OutgoingHtlc),
    /// An event for the user; repeated after a restart until `event_acknowledged`.
    Event(Event),
    /// Something has become of a channel whose funding transaction funds these: see what becomes of the transaction.
    FundingShared(Vec<ChannelId>),
    /// What followed from this event of the monitor is durable: acknowledge it.
    MonitorEventTaken(EventId),
}

/// Messages that promise nothing that a crash could make us break. Sealed: the list below is all.
///
/// `open_channel` and `accept_channel` bind nobody; updates count only once signed; `channel_reestablish`
/// says what we have; `error` and `warning` only speak.
pub trait Ungated: Into<Message> + sealed::Sealed {}

mod sealed {
    /// Keeps [`Ungated`](super::Ungated) to the list in this file.
    pub trait Sealed {}
}

macro_rules! ungated {
    ($($message:ty),* $(,)?) => {$(
        impl sealed::Sealed for $message {}
        impl Ungated for $message {}
    )*};
}
ungated! {
    AcceptChannel, AnnouncementSignatures, ChannelReestablish, ErrorMessage, OpenChannel, UpdateAddHtlc, UpdateFailHtlc, UpdateFailMalformedHtlc, UpdateFee, WarningMessage,
}

/// An output and the update that must be durable before it leaves.
#[derive(Clone, Debug)]
struct Waiting {
    gate: Option<UpdateId>,
    output: Output,
}

/// Which updates are durable. Receipts may come in any order; the watermark is the last id below which none is missing.
#[derive(Clone, Debug)]
pub struct Ledger {
    /// The first id that is not known to be durable.
    missing: UpdateId,
    /// Durable ids above it.
    early: BTreeSet<UpdateId>,
    /// The first id that was never handed out.
    issued: UpdateId,
}

impl Ledger {
    /// A ledger whose next update is `next` and below which all is durable.
    #[must_use]
    pub const fn starting_at(next: UpdateId) -> Self {
        Self { missing: next, early: BTreeSet::new(), issued: next }
    }

    /// Notes that `id` was handed out.
    fn issue(&mut self, id: UpdateId) {
        self.issued = self.issued.max(id.next());
    }

    /// Notes that `id` is durable. A second receipt, or one for an update never made, changes nothing.
    pub fn receive(&mut self, id: UpdateId) {
        if id >= self.issued || id < self.missing {
            return;
        }
        self.early.insert(id);
        while self.early.remove(&self.missing) {
            self.missing = self.missing.next();
        }
    }

    /// Notes that `first` and all after it never become durable: their ids are used again.
    fn take_back(&mut self, first: UpdateId) {
        self.early.split_off(&first);
        self.issued = self.issued.min(first);
    }

    /// Whether `id` and all before it are durable.
    #[must_use]
    pub fn covers(&self, id: UpdateId) -> bool {
        id < self.missing
    }

    /// Whether every update handed out so far is durable.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.missing == self.issued
    }

    /// The last update handed out.
    #[must_use]
    pub fn last_issued(&self) -> Option<UpdateId> {
        self.issued.0.checked_sub(1).map(UpdateId)
    }
}

/// The queues of one channel.
#[derive(Clone, Debug)]
pub struct Outbox {
    persists: VecDeque<Persisting>,
    wire: VecDeque<Waiting>,
    reports: VecDeque<Waiting>,
    ledger: Ledger,
    line: Line,
    sealed: bool,
}

/// What the connection lets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    /// Nothing: there is none.
    Down,
    /// Only what may come before both `channel_reestablish` are exchanged (BOLT 2, "MUST wait to receive").
    Resyncing,
    /// Everything.
    Up,
}

impl Outbox {
    /// An empty outbox whose next update is `next`.
    #[must_use]
    pub const fn new(next: UpdateId) -> Self {
        Self {
            persists: VecDeque::new(),
            wire: VecDeque::new(),
            reports: VecDeque::new(),
            ledger: Ledger::starting_at(next),
            line: Line::Down,
            sealed: false,
        }
    }

    /// The next output whose gate is open: durable writes first, then messages, then reports.
    pub fn poll(&mut self) -> Option<Output> {
        if let Some(persist) = self.persists.pop_front() {
            return Some(Output::Persist(persist));
        }
        let Self { wire, reports, ledger, .. } = self;
        pop_open(wire, ledger).or_else(|| pop_open(reports, ledger))
    }

    /// A connection is up: until [`Outbox::resynced`], only `channel_reestablish`, `error` and `warning` queue.
    pub fn connect(&mut self) {
        self.wire.clear();
        self.line = Line::Resyncing;
    }

    /// Both sides know where they stand, or there is nothing to know yet: messages queue from now on.
    pub const fn resynced(&mut self) {
        self.line = Line::Up;
    }

    /// The connection is gone: messages are dropped, since each is derived again from the record after the next
    /// `channel_reestablish`; all else is kept (RELIABILITY B6).
    pub fn disconnect(&mut self) {
        self.wire.clear();
        self.line = Line::Down;
    }

    /// No message of the channel leaves any more but `last`: the channel goes to the chain.
    pub fn seal(&mut self, last: Option<ErrorMessage>) {
        self.wire.clear();
        if let Some(last) = last {
            self.queue_message(None, Output::Send(last.into()));
        }
        self.sealed = true;
    }

    /// An `error` in answer to a peer that still talks about a sealed channel, once the end is durable.
    pub fn send_error(&mut self, error: ErrorMessage) {
        let gate = self.ledger.last_issued();
        if self.line != Line::Down {
            self.wire.push_back(Waiting { gate, output: Output::Send(error.into()) });
        }
    }

    /// Update `first` and all after it never become durable: what they were to let out of the wire is gone, and what was to be
    /// told behind them waits for the update that takes their place.
    pub fn take_back(&mut self, first: UpdateId) {
        self.persists.retain(|persist| persist.id() < first);
        self.wire.retain(|waiting| waiting.gate.is_none_or(|gate| gate < first));
        if first == UpdateId(0) {
            // Nothing ever takes its place.
            self.reports.retain(|waiting| waiting.gate.is_none());
        }
        for waiting in &mut self.reports {
            waiting.gate = waiting.gate.map(|gate| gate.min(first));
        }
        self.ledger.take_back(first);
    }

    /// The ledger, to enter receipts.
    pub const fn ledger_mut(&mut self) -> &mut Ledger {
        &mut self.ledger
    }

    /// The ledger.
    #[must_use]
    pub const fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    fn queue_message(&mut self, gate: Option<UpdateId>, output: Output) {
        let passes = match (&output, self.line) {
            (_, Line::Down) => false,
            (_, Line::Up)
            | (Output::Send(Message::ChannelReestablish(_) | Message::Error(_) | Message::Warning(_)), _)
            | (Output::Disconnect(_), _) => true,
            (_, Line::Resyncing) => false,
        };
        if passes && !self.sealed {
            self.wire.push_back(Waiting { gate, output });
        }
    }
}

/// The head of a queue, if its gate is open.
fn pop_open(queue: &mut VecDeque<Waiting>, ledger: &Ledger) -> Option<Output> {
    let head = queue.pop_front_if(|head| head.gate.is_none_or(|gate| ledger.covers(gate)))?;
    Some(head.output)
}

/// Collects the effects of one step.
#[derive(Debug)]
pub struct Effects<'a> {
    outbox: &'a mut Outbox,
}

impl<'a> Effects<'a> {
    /// Effects that go into `outbox`.
    pub const fn new(outbox: &'a mut Outbox) -> Self {
        Self { outbox }
    }

    /// Queues a message that promises nothing.
    pub fn send(&mut self, message: impl Ungated) -> &mut Self {
        self.outbox.queue_message(None, Output::Send(message.into()));
        self
    }

    /// Queues a warning and hangs up behind it.
    pub fn disconnect(&mut self, last: WarningMessage) {
        self.outbox.queue_message(None, Output::Disconnect(last.into()));
    }

    /// Reports at once what loses nothing by being reported twice: a preimage that came from the peer is of use upstream
    /// before it is durable here, because whoever uses it makes it durable there.
    pub fn notice(&mut self, notice: Notice) -> &mut Self {
        self.outbox.reports.push_back(Waiting { gate: None, output: Output::Notice(notice) });
        self
    }

    /// Reports an HTLC that is as if never offered.
    pub fn unsent(&mut self, id: HtlcId, htlc: OutgoingHtlc) -> &mut Self {
        self.outbox.reports.push_back(Waiting { gate: None, output: Output::Unsent(id, htlc) });
        self
    }

    /// Queues an event that depends on no durable write of this channel.
    pub fn event(&mut self, event: Event) -> &mut Self {
        self.outbox.reports.push_back(Waiting { gate: None, output: Output::Event(event) });
        self
    }

    /// Queues the word that something has become of a shared funding transaction.
    pub fn funding_shared(&mut self, members: Vec<ChannelId>) -> &mut Self {
        self.outbox.reports.push_back(Waiting { gate: None, output: Output::FundingShared(members) });
        self
    }

    /// Makes `update` durable; what is queued on the answer waits for it.
    pub fn persist(&mut self, update: ChannelMonitorUpdate) -> Gated<'_> {
        let gate = update.id;
        self.outbox.ledger.issue(gate);
        self.outbox.persists.push_back(Persisting::Update(Box::new(update)));
        Gated { outbox: self.outbox, gate: Some(gate) }
    }

    /// Makes a new channel durable; what is queued on the answer waits for it.
    pub fn persist_new(&mut self, new: NewMonitor) -> Gated<'_> {
        let gate = UpdateId(0);
        self.outbox.ledger.issue(gate);
        self.outbox.persists.push_back(Persisting::New(Box::new(new)));
        Gated { outbox: self.outbox, gate: Some(gate) }
    }

    /// What is queued on the answer waits for every update made so far. For what is derived again after a reconnect,
    /// whose own write may still be on its way.
    pub fn after_all(&mut self) -> Gated<'_> {
        let gate = self.outbox.ledger.last_issued();
        Gated { outbox: self.outbox, gate }
    }

    /// See [`Outbox::seal`].
    pub fn seal(&mut self, last: Option<ErrorMessage>) {
        self.outbox.seal(last);
    }
}

/// Queues effects behind one durable write.
#[derive(Debug)]
pub struct Gated<'a> {
    outbox: &'a mut Outbox,
    gate: Option<UpdateId>,
}

impl Gated<'_> {
    /// Queues any message.
    pub fn send(&mut self, message: impl Into<Message>) -> &mut Self {
        self.outbox.queue_message(self.gate, Output::Send(message.into()));
        self
    }

    /// Queues the `error` with which a sealed channel takes its leave.
    pub fn last(&mut self, error: ErrorMessage) -> &mut Self {
        self.outbox.send_error(error);
        self
    }

    /// Queues a broadcast.
    pub fn broadcast(&mut self, package: Vec<Transaction>) -> &mut Self {
        self.report(Output::Broadcast(package))
    }

    /// Queues an HTLC to decide on.
    pub fn incoming(&mut self, htlc: IncomingHtlc) -> &mut Self {
        self.report(Output::Incoming(htlc))
    }

    /// Queues a notice.
    pub fn notice(&mut self, notice: Notice) -> &mut Self {
        self.report(Output::Notice(notice))
    }

    /// Queues the word that a removal is durable.
    pub fn removal_durable(&mut self, htlc: HtlcId) -> &mut Self {
        self.report(Output::RemovalDurable(htlc))
    }

    /// Queues the word that a notice is gone for good.
    pub fn notice_gone(&mut self, notice: NoticeKey) -> &mut Self {
        self.report(Output::NoticeGone(notice))
    }

    /// Queues an event.
    pub fn event(&mut self, event: Event) -> &mut Self {
        self.report(Output::Event(event))
    }

    /// Queues the word that a channel of a shared funding transaction is durable.
    pub fn funding_shared(&mut self, members: Vec<ChannelId>) -> &mut Self {
        self.report(Output::FundingShared(members))
    }

    /// Queues gossip.
    pub fn announce(&mut self, message: impl Into<RoutingMessage>) -> &mut Self {
        self.report(Output::Announce(message.into()))
    }

    /// Queues the word that a monitor's event is dealt with.
    pub fn monitor_event_taken(&mut self, id: EventId) -> &mut Self {
        self.report(Output::MonitorEventTaken(id))
    }

    fn report(&mut self, output: Output) -> &mut Self {
        self.outbox.reports.push_back(Waiting { gate: self.gate, output });
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn receipts_in_any_order_raise_the_watermark_only_over_gaps_that_are_filled() {
        let mut ledger = Ledger::starting_at(UpdateId(0));
        for id in 0..4 {
            ledger.issue(UpdateId(id));
        }
        ledger.receive(UpdateId(2));
        ledger.receive(UpdateId(1));
        assert!(!ledger.covers(UpdateId(0)));
        ledger.receive(UpdateId(0));
        assert!(ledger.covers(UpdateId(2)) && !ledger.covers(UpdateId(3)));
        ledger.receive(UpdateId(0));
        ledger.receive(UpdateId(9));
        assert!(!ledger.covers(UpdateId(9)) && !ledger.is_settled());
        ledger.receive(UpdateId(3));
        assert!(ledger.is_settled());
    }

    #[test]
    fn ids_that_are_taken_back_are_not_durable_until_their_successors_are() {
        let mut ledger = Ledger::starting_at(UpdateId(1));
        for id in 1..5 {
            ledger.issue(UpdateId(id));
        }
        ledger.receive(UpdateId(4));
        ledger.take_back(UpdateId(2));
        ledger.receive(UpdateId(1));
        assert!(ledger.is_settled() && ledger.covers(UpdateId(1)) && !ledger.covers(UpdateId(2)));
        ledger.receive(UpdateId(3));
        ledger.issue(UpdateId(2));
        ledger.receive(UpdateId(3));
        assert!(!ledger.is_settled());
        ledger.receive(UpdateId(2));
        assert!(ledger.is_settled() && !ledger.covers(UpdateId(3)));
    }
}
