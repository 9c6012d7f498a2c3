//! Messages for peers, in order for each of them.
//!
//! # Invariants
//! - a message leaves on the connection that it was made for, or not at all: a thread that carries one over from an old
//!   connection finds it refused
use alloc::collections::{BTreeMap, VecDeque};

use lightning_traits::event::MessageSendEvent;
use lightning_traits::id::NodeId;
use lightning_traits::wire::{Message, RoutingMessage};

/// One connection of one peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Session(u64);

/// What waits to be sent.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    queue: VecDeque<MessageSendEvent>,
    sessions: BTreeMap<NodeId, Session>,
    last: u64,
}

impl Outbox {
    /// A connection is up; what was queued for an older one is gone.
    pub(crate) fn connect(&mut self, peer: NodeId) -> Session {
        self.disconnect(peer);
        self.last = self.last.saturating_add(1);
        let session = Session(self.last);
        self.sessions.insert(peer, session);
        session
    }

    /// The connection is gone.
    pub(crate) fn disconnect(&mut self, peer: NodeId) {
        if self.sessions.remove(&peer).is_some() {
            self.queue.retain(|event| match event {
                MessageSendEvent::Send { to, .. } => *to != peer,
                MessageSendEvent::Disconnect { peer: other, .. } => *other != peer,
                MessageSendEvent::Broadcast { .. } => true,
            });
        }
    }

    /// Queues a message for the connection that it was made for.
    pub(crate) fn send(&mut self, to: NodeId, session: Option<Session>, message: Message) {
        if self.is_current(to, session) {
            self.queue.push_back(MessageSendEvent::Send { to, message });
        }
    }

    /// Queues a message for whatever connection there is now.
    pub(crate) fn answer(&mut self, to: NodeId, message: Message) {
        self.send(to, self.sessions.get(&to).copied(), message);
    }

    /// The connection that there is now.
    pub(crate) fn session(&self, peer: NodeId) -> Option<Session> {
        self.sessions.get(&peer).copied()
    }

    /// Queues a last message and a hang-up.
    pub(crate) fn hang_up(&mut self, peer: NodeId, session: Option<Session>, last: Message) {
        if self.is_current(peer, session) {
            self.queue.push_back(MessageSendEvent::Disconnect { peer, last: Some(last) });
        }
    }

    /// Queues gossip of our own.
    pub(crate) fn broadcast(&mut self, message: RoutingMessage) {
        self.queue.push_back(MessageSendEvent::Broadcast { message, from: None });
    }

    /// The next thing to do.
    pub(crate) fn next(&mut self) -> Option<MessageSendEvent> {
        self.queue.pop_front()
    }

    fn is_current(&self, peer: NodeId, session: Option<Session>) -> bool {
        session.is_some() && self.sessions.get(&peer).copied() == session
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lightning_traits::wire::Ping;

    #[test]
    fn what_an_old_connection_left_is_not_sent_on_a_new_one() {
        let (a, b) = (NodeId([2; 33]), NodeId([3; 33]));
        let ping =
            || Message::from(Ping { num_pong_bytes: 0, ignored: alloc::vec![], unknown: Default::default() });
        let mut outbox = Outbox::default();
        outbox.answer(a, ping());
        let old = outbox.connect(a);
        let other = outbox.connect(b);
        outbox.send(a, Some(old), ping());
        outbox.send(b, Some(other), ping());
        let new = outbox.connect(a);
        outbox.send(a, Some(old), ping());
        outbox.send(a, None, ping());
        assert!(matches!(outbox.next(), Some(MessageSendEvent::Send { to, .. }) if to == b));
        assert_eq!(outbox.next(), None);
        outbox.send(a, Some(new), ping());
        outbox.answer(a, ping());
        assert!(outbox.next().is_some() && outbox.next().is_some());
        outbox.disconnect(a);
        outbox.answer(a, ping());
        assert_eq!(outbox.next(), None);
    }
}
