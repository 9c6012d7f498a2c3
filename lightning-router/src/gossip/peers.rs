//! What each peer has asked for, and what it is still owed.
//!
//! Answers are streamed: a question is kept as a cursor over the graph and goes on by a piece whenever the peer layer
//! has room, so that a peer that asks for everything, and again, costs a few bytes and no copies (RELIABILITY H1, H2).
//!
//! # Invariants
//! - of each kind of question a peer has at most one open (BOLT 7: "MUST NOT send `query_short_channel_ids` if it has
//!   sent a previous ... and not received `reply_short_channel_ids_end`", and so for ranges); others are dropped
//! - a piece is at most 64 KiB of messages
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;

use lightning_traits::id::{NodeId, ShortChannelId};
use lightning_traits::wire::{ChannelUpdate, NodeAnnouncement, QueryChannelRange, RoutingMessage};

/// Bytes of one piece.
const PIECE: usize = 64 * 1024;

/// Dumps that a peer may ask for before the next block. One is usual; each may look at the whole graph, even to
/// find nothing.
const DUMPS: u8 = 16;

/// Updates of unknown channels that are kept for a peer. It needs one for each channel that we announce together.
const EARLY: usize = 32;

/// Where a dump of the graph has got to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dump {
    /// Channels with their updates, from this id on.
    Channels(ShortChannelId),
    /// Nodes, from this number on.
    Nodes(u32),
}

/// A range query, and the block where its next reply begins.
#[derive(Clone, Debug)]
pub(crate) struct RangeQuestion {
    pub(crate) query: QueryChannelRange,
    pub(crate) from_block: u32,
    /// The first id of the next reply.
    pub(crate) from: ShortChannelId,
    /// Whether the query is about our chain.
    pub(crate) ours: bool,
}

/// Channels asked for by id, each with what is wanted of it.
#[derive(Debug)]
pub(crate) struct IdsQuestion {
    pub(crate) wanted: VecDeque<(ShortChannelId, u64)>,
    /// Nodes whose announcement is part of this answer already.
    pub(crate) told: BTreeSet<NodeId>,
    /// `reply_short_channel_ids_end`.
    pub(crate) end: RoutingMessage,
}

/// One connected peer.
#[derive(Debug)]
pub(crate) struct Peer {
    /// Timestamps that it wants to hear of: first, and how many.
    pub(crate) filter: Option<(u32, u32)>,
    /// The dump it is owed.
    pub(crate) dump: Option<Dump>,
    dumps_left: u8,
    pub(crate) range: Option<RangeQuestion>,
    pub(crate) ids: Option<IdsQuestion>,
    /// Messages that are ready: of one step of an answer at most, and what we ask ourselves.
    ready: VecDeque<RoutingMessage>,
    /// Bytes that may still go out before there is room again.
    budget: usize,
    /// What it said of channels that we do not know, not verified, the oldest first: see [`Peer::keep_early`].
    early: VecDeque<ChannelUpdate>,
    early_node: Option<NodeAnnouncement>,
}

impl Peer {
    const fn new() -> Self {
        Self {
            filter: None,
            dump: None,
            dumps_left: DUMPS,
            range: None,
            ids: None,
            ready: VecDeque::new(),
            budget: PIECE,
            early: VecDeque::new(),
            early_node: None,
        }
    }

    /// Keeps an update of a channel that we do not know. It may be one that we announce together: the peer tells us no
    /// more of it than its update, and that as soon as both signatures are there on its side, while ours still waits for
    /// the disk. It does not say it again.
    pub(crate) fn keep_early(&mut self, update: ChannelUpdate) {
        let of = |update: &ChannelUpdate| (update.body.short_channel_id, update.body.is_by_node_2());
        if let Some(known) = self.early.iter_mut().find(|known| of(known) == of(&update)) {
            if known.body.timestamp < update.body.timestamp {
                *known = update;
            }
            return;
        }
        if self.early.len() >= EARLY {
            self.early.pop_front();
        }
        self.early.push_back(update);
    }

    /// Keeps what the peer says of itself, for when a channel of it is known.
    pub(crate) fn keep_early_node(&mut self, node: NodeAnnouncement) {
        let known = self.early_node.as_ref().map(|known| known.body.timestamp);
        if known.is_none_or(|known| known < node.body.timestamp) {
            self.early_node = Some(node);
        }
    }

    /// What was kept of a channel that is known now, and of the peer itself.
    pub(crate) fn take_early(
        &mut self,
        scid: ShortChannelId,
    ) -> (Vec<ChannelUpdate>, Option<NodeAnnouncement>) {
        let (taken, kept): (Vec<_>, Vec<_>) =
            self.early.drain(..).partition(|update| update.body.short_channel_id == scid);
        self.early = kept.into();
        (taken, self.early_node.take())
    }

    /// BOLT 7: a filter asks for what is known inside its range, and for what comes. It "replaces any previous one".
    pub(crate) fn set_filter(&mut self, first: u32, range: u32) {
        self.filter = Some((first, range));
        self.dump = None;
        if let Some(left) = self.dumps_left.checked_sub(1).filter(|_| range > 0) {
            self.dumps_left = left;
            self.dump = Some(Dump::Channels(ShortChannelId(0)));
        }
    }

    /// Adds messages behind those that are ready.
    pub(crate) fn push(&mut self, messages: Vec<RoutingMessage>) {
        self.ready.extend(messages);
    }

    pub(crate) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// The next message, if the piece has room for it.
    pub(crate) fn pop(&mut self) -> Option<RoutingMessage> {
        let message = self.ready.front()?;
        // A message that cannot be sent costs nothing; whoever sends it will say so.
        let size = message.to_wire().map_or(0, |bytes| bytes.len());
        self.budget = self.budget.checked_sub(size)?;
        self.ready.pop_front()
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

    /// A new block: peers may ask for dumps again.
    pub(crate) fn on_block(&mut self) {
        self.peers.values_mut().for_each(|peer| peer.dumps_left = DUMPS);
    }

    /// There is room for another piece.
    pub(crate) fn has_room(&mut self, id: &NodeId) {
        if let Some(peer) = self.wake(id) {
            peer.budget = PIECE;
        }
    }
}
