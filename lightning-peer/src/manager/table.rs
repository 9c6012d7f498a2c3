//! The tables of a manager: connections by id, and for each node which connection counts.
//!
//! BOLT 1: "Implementations MUST use a single connection per peer".
//!
//! # Invariants
//! - a node has at most one current connection, and at most one that waits to follow it
//! - each lock is held for a few steps and never while another is (I7)
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::sync::Arc;

use lightning_traits::id::NodeId;
use lightning_traits::sync::{Mutex, MutexGuard};

use crate::disconnect::Disconnect;
use crate::peer::Peer;

/// The user's name of a connection. Never to be used again after its connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// One connection, shared by those who read, write and queue.
pub(super) struct Connection {
    pub(super) id: ConnectionId,
    /// Whether the peer began it.
    pub(super) inbound: bool,
    peer: Mutex<Peer>,
}

impl Connection {
    pub(super) const fn new(id: ConnectionId, inbound: bool, peer: Peer) -> Self {
        Self { id, inbound, peer: Mutex::new(peer) }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Peer> {
        self.peer.lock()
    }
}

/// Which connection counts for a node.
#[derive(Default)]
struct Session {
    /// The one that the handlers know, or are about to be told of.
    current: Option<Arc<Connection>>,
    /// The one that follows once the current one has left.
    next: Option<Arc<Connection>>,
    /// Ticks since the current one was let in.
    age: u8,
}

/// What a session needs next.
pub(super) enum Turn {
    /// See whether this connection has left.
    Watch(Arc<Connection>),
    /// Let this connection in.
    Admit(Arc<Connection>),
    /// Nothing: there is no connection.
    Rest,
}

/// Connections and sessions.
#[derive(Default)]
pub(super) struct Table {
    connections: BTreeMap<ConnectionId, Arc<Connection>>,
    sessions: BTreeMap<NodeId, Session>,
    /// Nodes whose session may need a step.
    changed: BTreeSet<NodeId>,
}

impl Table {
    /// Adds a connection; `false` when its id is in use.
    pub(super) fn insert(&mut self, connection: Connection) -> bool {
        let id = connection.id;
        if self.connections.contains_key(&id) {
            return false;
        }
        self.connections.insert(id, Arc::new(connection));
        true
    }

    pub(super) fn get(&self, id: ConnectionId) -> Option<Arc<Connection>> {
        self.connections.get(&id).cloned()
    }

    pub(super) fn forget(&mut self, id: ConnectionId) {
        self.connections.remove(&id);
    }

    pub(super) fn all(&self) -> alloc::vec::Vec<Arc<Connection>> {
        self.connections.values().cloned().collect()
    }

    /// The connection that counts for `node`.
    pub(super) fn current(&self, node: NodeId) -> Option<Arc<Connection>> {
        self.sessions.get(&node)?.current.clone()
    }

    /// All connections that count.
    pub(super) fn all_current(&self) -> alloc::vec::Vec<Arc<Connection>> {
        self.sessions.values().filter_map(|session| session.current.clone()).collect()
    }

    /// The connection that one that finishes `init` now would meet.
    pub(super) fn rival(&self, node: NodeId) -> Option<Arc<Connection>> {
        let session = self.sessions.get(&node)?;
        session.next.as_ref().or(session.current.as_ref()).cloned()
    }

    /// Puts a connection that finished `init` in line for its node. Returns those that must end for it, with the reason.
    ///
    /// The newer connection counts: the older one may be dead without our knowing. Only when both sides have just
    /// called each other, so that each sees the two in another order, both must choose alike: the call of the
    /// node with the lesser id stays. `ours_is_less` says which side that is, `rival_lives` whether the other one lives.
    pub(super) fn join(
        &mut self,
        node: NodeId,
        newcomer: &Arc<Connection>,
        ours_is_less: bool,
        rival_lives: bool,
    ) -> alloc::vec::Vec<(Arc<Connection>, Disconnect)> {
        let session = self.sessions.entry(node).or_default();
        let rival = session.next.as_ref().or(session.current.as_ref());
        let opposite = rival.is_some_and(|rival| rival.inbound != newcomer.inbound);
        let crossed = rival_lives && opposite && session.age < SETTLED_AGE;
        // Ours is the one that is not inbound.
        if crossed && newcomer.inbound == ours_is_less {
            return alloc::vec![(Arc::clone(newcomer), Disconnect::Duplicate)];
        }
        let reason = if crossed { Disconnect::Duplicate } else { Disconnect::Replaced };
        let displaced = session.next.replace(Arc::clone(newcomer));
        self.changed.insert(node);
        displaced.into_iter().chain(session.current.clone()).map(|connection| (connection, reason)).collect()
    }

    /// A session of `node` may need a step.
    pub(super) fn touch(&mut self, node: NodeId) {
        if self.sessions.contains_key(&node) {
            self.changed.insert(node);
        }
    }

    pub(super) fn has_changes(&self) -> bool {
        !self.changed.is_empty()
    }

    pub(super) fn take_changes(&mut self) -> BTreeSet<NodeId> {
        core::mem::take(&mut self.changed)
    }

    /// What the session of `node` needs next.
    pub(super) fn turn(&mut self, node: NodeId) -> Turn {
        let Some(session) = self.sessions.get(&node) else { return Turn::Rest };
        match (&session.current, &session.next) {
            (Some(current), _) => Turn::Watch(Arc::clone(current)),
            (None, Some(next)) => Turn::Admit(Arc::clone(next)),
            (None, None) => {
                self.sessions.remove(&node);
                Turn::Rest
            }
        }
    }

    /// The current connection of `node` has left.
    pub(super) fn leave(&mut self, node: NodeId) {
        if let Some(session) = self.sessions.get_mut(&node) {
            session.current = None;
        }
    }

    /// `connection` no longer waits to follow, and becomes the current one of `node` if `admitted`.
    pub(super) fn settle_next(&mut self, node: NodeId, connection: &Arc<Connection>, admitted: bool) {
        let Some(session) = self.sessions.get_mut(&node) else { return };
        if session.next.as_ref().is_some_and(|next| next.id == connection.id) {
            session.next = None;
        }
        if admitted {
            session.current = Some(Arc::clone(connection));
            session.age = 0;
        }
    }

    /// A tick: sessions grow older.
    pub(super) fn tick(&mut self) {
        self.sessions.values_mut().for_each(|session| session.age = session.age.saturating_add(1));
    }
}

/// From this age on a connection is not one of two that were begun at the same time: one full tick at least.
const SETTLED_AGE: u8 = 2;

/// A list that others are to poll.
pub(super) struct Outputs<T>(Mutex<VecDeque<T>>);

impl<T> Default for Outputs<T> {
    fn default() -> Self {
        Self(Mutex::new(VecDeque::new()))
    }
}

impl<T> Outputs<T> {
    pub(super) fn push(&self, value: T) {
        self.0.lock().push_back(value);
    }

    pub(super) fn pop(&self) -> Option<T> {
        self.0.lock().pop_front()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
    }
}
