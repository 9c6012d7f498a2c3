//! Messages out: from the handlers into the queues of the peers, by one thread at a time.
//!
//! # Invariants
//! - between a handler's giving out a message and its being queued, no session changes: both are done here, by
//!   the one thread that drives; another thread that comes meanwhile makes it go round once more
//! - gossip is encoded once, however many peers get it
use alloc::vec::Vec;

use lightning_traits::event::MessageSendEvent;
use lightning_traits::id::NodeId;
use lightning_traits::interface::{
    CustomMessageHandler as _, Level, MessageSendEventsProvider, RoutingMessageHandler as _,
};
use lightning_traits::sync::assert_unlocked;
use lightning_traits::wire::{Message, RoutingMessage, UnknownMessage};

use super::PeerManager;
use super::environment::PeerEnvironment;
use crate::disconnect::Disconnect;
use crate::peer::{Gossip, Lane};

/// Who drives.
#[derive(Default)]
pub(super) struct Driving {
    running: bool,
    again: bool,
    /// Whether the handlers' messages are wanted too, not only the steps of sessions.
    messages: bool,
}

impl<E: PeerEnvironment> PeerManager<E> {
    /// Takes sessions as far as they go and, if `messages`, queues what the handlers have to send.
    pub(super) fn drive(&self, messages: bool) {
        {
            let mut driving = self.driving.lock();
            driving.messages |= messages;
            if driving.running {
                driving.again = true;
                return;
            }
            driving.running = true;
        }
        let idle = Idle(self);
        loop {
            self.step_sessions();
            let messages = core::mem::take(&mut self.driving.lock().messages);
            if messages {
                self.drain_all();
            }
            let changed = self.table.lock().has_changes();
            let mut driving = self.driving.lock();
            if !changed && !driving.again && !driving.messages {
                // Under the lock that a newcomer asks first, so nobody is turned away by a driver that has stopped.
                driving.running = false;
                core::mem::forget(idle);
                return;
            }
            driving.again = false;
        }
    }

    fn drain_all(&self) {
        assert_unlocked();
        while let Some(node) = self.room.pop() {
            self.environment.routing().gossip_has_room(node);
        }
        self.drain(self.environment.channels());
        self.drain(self.environment.routing());
        while let Some((node, type_id, payload)) = self.environment.custom().next_custom_message() {
            self.send(node, &UnknownMessage { type_id, payload }.into());
        }
    }

    fn drain(&self, provider: &impl MessageSendEventsProvider) {
        let mut gossip = Vec::new();
        while let Some(event) = provider.next_message() {
            match event {
                MessageSendEvent::Broadcast { message, from } => {
                    self.gather(&message, from, &mut gossip);
                    if gossip.len() < GOSSIP_BATCH {
                        continue;
                    }
                    self.spread(&mut gossip);
                }
                MessageSendEvent::Send { to, message } => {
                    self.spread(&mut gossip);
                    self.send(to, &message);
                }
                MessageSendEvent::Disconnect { peer, last } => {
                    self.spread(&mut gossip);
                    let connection = self.table.lock().current(peer);
                    if let Some(connection) = connection {
                        self.end(&connection, Disconnect::Handler, last.as_ref());
                    }
                }
            }
        }
        self.spread(&mut gossip);
    }

    /// Queues a message for one peer; it is dropped when the peer is not connected.
    fn send(&self, to: NodeId, message: &Message) {
        let Some(connection) = self.table.lock().current(to) else { return };
        let bytes = match message.to_wire() {
            Ok(bytes) => bytes,
            Err(error) => return self.log(Level::Error, Some(to), format_args!("not sent: {error}")),
        };
        self.log(Level::Trace, Some(to), format_args!("message of type {} to be sent", message.type_id()));
        let outcome = connection.lock().push(lane_of(message), &bytes);
        match outcome {
            Ok(true) => self.flag(&connection),
            Ok(false) => {}
            Err(_) => {
                let type_id = message.type_id();
                self.log(
                    Level::Debug,
                    Some(to),
                    format_args!("queue full: message of type {type_id} dropped"),
                );
            }
        }
    }

    /// Encodes gossip for all.
    fn gather(&self, message: &RoutingMessage, from: Option<NodeId>, gossip: &mut Vec<Gossip>) {
        if from.is_none() {
            self.environment.routing().on_own_message(message);
        }
        match Gossip::new(message, from) {
            Ok(encoded) => gossip.push(encoded),
            Err(error) => self.log(Level::Error, None, format_args!("not broadcast: {error}")),
        }
    }

    /// Queues a batch of gossip for all who want it: each peer is locked once for the batch.
    fn spread(&self, gossip: &mut Vec<Gossip>) {
        if gossip.is_empty() {
            return;
        }
        let connections = self.table.lock().all_current();
        for connection in connections {
            let mut peer = connection.lock();
            // What a slow peer misses it can ask for.
            let dropped = gossip.iter().filter(|message| peer.push_gossip(message).is_err()).count();
            let node = peer.node();
            drop(peer);
            if dropped > 0 {
                self.log(Level::Debug, node, format_args!("queue full: {dropped} gossip messages dropped"));
            }
            self.flag(&connection);
        }
        gossip.clear();
    }
}

/// Stops driving if a handler panics, so that one fault does not silence the node.
struct Idle<'a, E: PeerEnvironment>(&'a PeerManager<E>);

impl<E: PeerEnvironment> Drop for Idle<'_, E> {
    fn drop(&mut self) {
        *self.0.driving.lock() = Driving::default();
    }
}

const fn lane_of(message: &Message) -> Lane {
    match message {
        Message::ChannelAnnouncement(_)
        | Message::ChannelUpdate(_)
        | Message::GossipTimestampFilter(_)
        | Message::NodeAnnouncement(_)
        | Message::QueryChannelRange(_)
        | Message::QueryShortChannelIds(_)
        | Message::ReplyChannelRange(_)
        | Message::ReplyShortChannelIdsEnd(_) => Lane::Gossip,
        Message::OnionMessage(_) | Message::Unknown(_) => Lane::Other,
        _ => Lane::Channel,
    }
}

/// Broadcasts that are queued together.
const GOSSIP_BATCH: usize = 64;
