//! Stepping a channel, and carrying out what it gave.
use alloc::sync::Arc;

use lightning_traits::event::Event;
use lightning_traits::interface::{BroadcasterInterface as _, Environment, Level, ManyChannelMonitor as _};
use lightning_traits::monitor::{LateRefusal, Persist, Receipt};
use lightning_traits::sync::assert_unlocked;
use lightning_traits::wire::RoutingMessage;

use super::ChannelManager;
use super::events::Source;
use super::outbox::Session;
use super::slot::{Inner, Names, Polled, Slot};
use super::work::Work;
use crate::channel::{Channel, Context, Output, Persisting, PhaseName};
use crate::commitments::IncomingHtlc;

impl<E: Environment> ChannelManager<E> {
    /// Steps a channel under its lock, then carries out its outputs.
    pub(crate) fn step<R>(
        &self,
        slot: &Arc<Slot<E::Keys>>,
        act: impl FnOnce(&mut Channel<E::Keys>, &Context<'_, E::Keys>) -> R,
    ) -> R {
        self.step_inner(slot, |inner, cx| act(&mut inner.channel, cx))
    }

    /// As [`step`](Self::step), for those who also change what stands beside the channel.
    pub(super) fn step_inner<R>(
        &self,
        slot: &Arc<Slot<E::Keys>>,
        act: impl FnOnce(&mut Inner<E::Keys>, &Context<'_, E::Keys>) -> R,
    ) -> R {
        let now = self.now();
        let cx = self.context(&now);
        let (answer, renamed) = {
            let mut inner = slot.lock();
            let answer = act(&mut inner, &cx);
            (answer, inner.renamed())
        };
        if let Some((before, after)) = renamed {
            let is_new = self.table.lock().rename(slot, before, after);
            if !is_new {
                // Looked at before too (`inputs.rs`): two openings raced for one funding output. Nothing of it is durable.
                self.log(Level::Error, format_args!("channel {} exists already", after.id));
                self.forget(slot, before);
                return answer;
            }
        }
        self.drain(slot);
        answer
    }

    /// Looks at a channel.
    pub(super) fn look<R>(
        &self,
        slot: &Arc<Slot<E::Keys>>,
        look: impl FnOnce(&Channel<E::Keys>, &Context<'_, E::Keys>) -> R,
    ) -> R {
        let now = self.now();
        let cx = self.context(&now);
        look(&slot.lock().channel, &cx)
    }

    /// Carries out all that the channel has to give now.
    pub(crate) fn drain(&self, slot: &Arc<Slot<E::Keys>>) {
        let Some(mut turn) = slot.take_turn() else { return };
        loop {
            match turn.poll() {
                Polled::Output(output, session) => self.carry_out(slot, output, session),
                Polled::Idle { is_finished } => {
                    if is_finished {
                        let names = slot.lock().names();
                        self.forget(slot, names);
                    }
                    return;
                }
            }
        }
    }

    fn forget(&self, slot: &Arc<Slot<E::Keys>>, names: Names) {
        self.table.lock().remove(slot, names);
        // An opening that is gone asks for no decision, and for no transaction.
        let mut events = self.events.lock();
        events.withdraw(&Source::Request { peer: slot.peer, temporary: names.id });
        if !slot.is_theirs {
            events.withdraw(&Source::funding_needed(names.id));
        }
    }

    fn carry_out(&self, slot: &Arc<Slot<E::Keys>>, output: Output, session: Option<Session>) {
        assert_unlocked();
        match output {
            Output::Persist(persisting) => self.persist(slot, persisting),
            Output::Send(message) => self.outbox.lock().send(slot.peer, session, message),
            Output::Disconnect(message) => self.outbox.lock().hang_up(slot.peer, session, message),
            Output::Broadcast(package) => self.env.broadcaster().broadcast(&package),
            Output::Announce(message) => self.announce(message),
            Output::Incoming(htlc) => self.queue_incoming(slot, htlc),
            Output::Notice(notice) => {
                let channel = slot.lock().names().id;
                self.queue([Work::Notice { channel, notice }]);
            }
            Output::RemovalDurable(htlc) => {
                let channel = slot.lock().names().id;
                self.queue([Work::Settled((channel, htlc))]);
            }
            Output::NoticeGone(notice) => {
                let channel = slot.lock().names().id;
                self.queue([Work::NoticeGone { channel, notice }]);
            }
            Output::Unsent(id, htlc) => {
                let channel = slot.lock().names().id;
                let mut table = self.table.lock();
                // At a restart it is as if never offered: whatever it was for is decided on anew, or lost.
                if !table.is_recovering {
                    table.work.push_back(Work::Unsent { channel, id, htlc });
                }
            }
            Output::Event(event) => {
                // What was never stored has only the name that its opener gave it, which may be that of an earlier proposal, or
                // of a channel with somebody else: one event would take the place of the other (I11).
                let is_nameless = matches!(event, Event::ChannelClosed { .. })
                    && slot.lock().channel.phase() == PhaseName::Closed;
                match Source::of_channel(&event).filter(|_| !is_nameless) {
                    Some(source) => self.tell(event, source),
                    None => self.tell_once(event),
                }
            }
            Output::FundingShared(members) => self.queue([Work::Funding { members }]),
            Output::MonitorEventTaken(id) => self.env.monitors().acknowledge_monitor_event(id),
        }
    }

    fn persist(&self, slot: &Arc<Slot<E::Keys>>, persisting: Persisting) {
        let id = persisting.id();
        let answer = match persisting {
            Persisting::New(new) => self.env.monitors().add_channel(*new),
            Persisting::Update(update) => self.env.monitors().update_channel(*update),
        };
        match answer {
            Persist::Durable(receipt) => slot.lock().channel.on_receipt(receipt),
            Persist::InProgress => {}
            Persist::Refused(why) => self.step(slot, |channel, cx| channel.on_refused(cx, id, why)),
        }
    }

    /// A write that was under way never will be durable.
    pub(super) fn on_refusal(&self, refusal: LateRefusal) {
        let slot = self.table.lock().channel(refusal.channel);
        if let Some(slot) = slot {
            self.step(&slot, |channel, cx| channel.on_refused(cx, refusal.id, refusal.why));
        }
    }

    /// A write that was under way is durable.
    pub(super) fn on_receipt(&self, receipt: Receipt) {
        let slot = self.table.lock().channel(receipt.channel());
        if let Some(slot) = slot {
            slot.lock().channel.on_receipt(receipt);
            self.drain(&slot);
        }
    }

    fn queue_incoming(&self, slot: &Arc<Slot<E::Keys>>, htlc: IncomingHtlc) {
        let channel = slot.lock().names().id;
        let mut table = self.table.lock();
        // After a restart: an outgoing HTLC carries it already, and its outcome answers it.
        if !table.answered.contains(&(channel, htlc.id)) {
            let patience = table.patience();
            table.work.push_back(Work::Decide { channel, htlc, patience });
        }
    }

    fn announce(&self, message: RoutingMessage) {
        let is_channel = matches!(message, RoutingMessage::ChannelAnnouncement(_));
        let node = self.table.lock().node_announcement.clone().filter(|_| is_channel);
        let mut outbox = self.outbox.lock();
        outbox.broadcast(message);
        // BOLT 7: a node is known from the first announcement of a channel of its own on.
        if let Some(node) = node {
            outbox.broadcast(node.into());
        }
    }
}
