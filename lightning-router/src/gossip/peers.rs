//! What each peer has asked for, and what it is still owed.
//!
//! Answers are streamed by a cursor over the graph, a piece whenever the peer layer has room for one, so that a peer that
//! asks for everything costs a few bytes of state and cannot fill a queue (RELIABILITY H).
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};

use lightning_traits::id::{NodeId, ShortChannelId};
use lightning_traits::wire::RoutingMessage;

/// Messages in a piece: a `channel_announcement` is about 430 bytes, so a piece stays below 64 KiB.
const MESSAGES_PER_PIECE: usize = 120;
/// Answers to queries that wait for one peer.
const MAX_ANSWERS: usize = 20_000;

/// Where a dump of the graph has got to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cursor {
    /// Channels with their updates, from this id on.
    Channels(ShortChannelId),
    /// Nodes, from this key on.
    Nodes(Option<NodeId>),
}

/// One connected peer.
#[derive(Debug)]
pub(crate) struct Peer {
    /// Timestamps that it wants to hear of: first, and how many.
    pub(crate) filter: Option<(u32, u32)>,
    /// The dump it is owed.
    pub(crate) cursor: Option<Cursor>,
    /// Ids whose announcement and updates it asked for.
    pub(crate) asked: VecDeque<ShortChannelId>,
    /// Messages that are ready.
    pub(crate) ready: VecDeque<RoutingMessage>,
    budget: usize,
}

impl Peer {
    const fn new() -> Self {
        Self {
            filter: None,
            cursor: None,
            asked: VecDeque::new(),
            ready: VecDeque::new(),
            budget: MESSAGES_PER_PIECE,
        }
    }

    /// Puts an answer behind those that wait; drops it when the peer asks more than it reads.
    pub(crate) fn answer(&mut self, message: RoutingMessage) {
        if self.ready.len() < MAX_ANSWERS {
            self.ready.push_back(message);
        }
    }

    pub(crate) fn ask(&mut self, scid: ShortChannelId) {
        if self.asked.len() < MAX_ANSWERS {
            self.asked.push_back(scid);
        }
    }

    /// Spends one message of the budget; `false` when it is used up until there is room again.
    pub(crate) fn spend(&mut self) -> bool {
        match self.budget.checked_sub(1) {
            Some(left) => {
                self.budget = left;
                true
            }
            None => false,
        }
    }

    /// Whether a message of this time is in the peer's filter (BOLT 7, `gossip_timestamp_filter`).
    pub(crate) fn wants(&self, timestamp: u32) -> bool {
        self.filter.is_some_and(|(first, range)| timestamp >= first && timestamp - first < range)
    }
}

/// All connected peers.
#[derive(Debug, Default)]
pub(crate) struct Peers {
    peers: BTreeMap<NodeId, Peer>,
    /// Peers that may have something to send.
    active: BTreeSet<NodeId>,
}

impl Peers {
    pub(crate) fn connect(&mut self, id: NodeId) -> &mut Peer {
        self.active.insert(id);
        let peer = self.peers.entry(id).or_insert_with(Peer::new);
        *peer = Peer::new();
        peer
    }

    pub(crate) fn disconnect(&mut self, id: &NodeId) {
        self.peers.remove(id);
        self.active.remove(id);
    }

    /// A peer that is about to be owed something.
    pub(crate) fn wake(&mut self, id: &NodeId) -> Option<&mut Peer> {
        let peer = self.peers.get_mut(id)?;
        self.active.insert(*id);
        Some(peer)
    }

    pub(crate) fn next_active(&self) -> Option<NodeId> {
        self.active.first().copied()
    }

    pub(crate) fn get_mut(&mut self, id: &NodeId) -> Option<&mut Peer> {
        self.peers.get_mut(id)
    }

    /// The peer has nothing to send now.
    pub(crate) fn rest(&mut self, id: &NodeId) {
        self.active.remove(id);
    }

    /// There is room for another piece.
    pub(crate) fn has_room(&mut self, id: &NodeId) {
        if let Some(peer) = self.wake(id) {
            peer.budget = MESSAGES_PER_PIECE;
        }
    }
}
