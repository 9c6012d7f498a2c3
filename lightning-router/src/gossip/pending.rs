//! Announcements that wait until their funding output was looked up, with what came for them meanwhile.
//!
//! # Invariants
//! - only what was verified waits, so nobody can push out an honest update by false ones (RELIABILITY H7)
//! - bounded in number; when full, the peer that has most waiting loses its oldest, and look-ups go round the
//!   peers: a flood of announcements costs the flooder's own (RELIABILITY H9, H10)
//! - an output that was not there is not asked for again before the next block
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;

use lightning_traits::id::{NodeId, ShortChannelId};
use lightning_traits::units::BlockHeight;
use lightning_traits::wire::{ChannelAnnouncement, ChannelUpdate, NodeAnnouncement};

use super::Verified;

/// Announcements that may wait: the whole network, since a peer sends all of it faster than outputs are looked up.
const MAX_WAITING: usize = 60_000;
/// Outputs remembered as not there.
const MAX_ABSENT: usize = 20_000;
/// BOLT 7: "if the `short_channel_id`'s output does NOT have at least 6 confirmations: ... SHOULD ignore the message".
/// Those of the latest blocks wait instead: the peer may have seen blocks that we have not.
const CONFIRMATIONS: u32 = 6;

/// An announcement that waits.
#[derive(Debug)]
struct Waiting {
    announcement: Verified<ChannelAnnouncement>,
    from: NodeId,
    /// The latest of each direction.
    updates: [Option<Verified<ChannelUpdate>>; 2],
    arrival: u64,
}

/// What no longer waits.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) announcement: Verified<ChannelAnnouncement>,
    pub(crate) from: NodeId,
    pub(crate) updates: [Option<Verified<ChannelUpdate>>; 2],
    /// What its nodes have announced meanwhile.
    pub(crate) nodes: Vec<Verified<NodeAnnouncement>>,
}

/// What one peer announced: ids in the order of their blocks.
#[derive(Debug, Default)]
struct OfPeer {
    /// In the order of arrival.
    waiting: BTreeMap<u64, ShortChannelId>,
    /// Not asked yet.
    to_ask: BTreeSet<ShortChannelId>,
}

/// The latest announcement of a node of some channel that waits.
#[derive(Debug, Default)]
struct OfNode {
    channels: usize,
    announcement: Option<Verified<NodeAnnouncement>>,
}

/// All that waits.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    waiting: BTreeMap<ShortChannelId, Waiting>,
    peers: BTreeMap<NodeId, OfPeer>,
    nodes: BTreeMap<NodeId, OfNode>,
    /// The peer whose announcement was looked up last.
    asked_last: Option<NodeId>,
    arrivals: u64,
    /// Outputs of channels that are in the graph already: our own.
    own: VecDeque<ShortChannelId>,
    absent: BTreeSet<ShortChannelId>,
    absent_order: VecDeque<ShortChannelId>,
}

impl Pending {
    /// Whether the announcement would be new here.
    pub(crate) fn wants(&self, scid: ShortChannelId) -> bool {
        !self.waiting.contains_key(&scid) && !self.absent.contains(&scid)
    }

    pub(crate) fn add(&mut self, announcement: Verified<ChannelAnnouncement>, from: NodeId) {
        let body = &announcement.get().body;
        let scid = body.short_channel_id;
        if !self.wants(scid) {
            return;
        }
        if self.waiting.len() >= MAX_WAITING {
            let most = self.peers.iter().max_by_key(|(_, of)| of.waiting.len()).map(|(peer, _)| *peer);
            let oldest = most.and_then(|peer| self.peers.get(&peer)?.waiting.values().next().copied());
            oldest.and_then(|oldest| self.take(oldest));
        }
        for node in [body.node_id_1, body.node_id_2] {
            let of = self.nodes.entry(node).or_default();
            of.channels = of.channels.saturating_add(1);
        }
        let of = self.peers.entry(from).or_default();
        let arrival = self.arrivals;
        self.arrivals = arrival.saturating_add(1);
        of.waiting.insert(arrival, scid);
        of.to_ask.insert(scid);
        self.waiting.insert(scid, Waiting { announcement, from, updates: [None, None], arrival });
    }

    /// The node whose signature an update of a channel that waits must have.
    pub(crate) fn signer_of(&self, scid: ShortChannelId, by_node_2: bool) -> Option<NodeId> {
        let body = &self.waiting.get(&scid)?.announcement.get().body;
        Some(if by_node_2 { body.node_id_2 } else { body.node_id_1 })
    }

    /// The time of the update of that direction that waits.
    pub(crate) fn timestamp_of(&self, scid: ShortChannelId, by_node_2: bool) -> Option<u32> {
        let update = self.waiting.get(&scid)?.updates.get(usize::from(by_node_2))?;
        update.as_ref().map(|update| update.get().body.timestamp)
    }

    /// Keeps an update behind the announcement that it belongs to, or gives it back when there is none.
    pub(crate) fn keep_update(&mut self, update: Verified<ChannelUpdate>) -> Option<Verified<ChannelUpdate>> {
        let body = &update.get().body;
        let side = usize::from(body.is_by_node_2());
        let waiting = self.waiting.get_mut(&body.short_channel_id);
        let Some(place) = waiting.and_then(|waiting| waiting.updates.get_mut(side)) else {
            return Some(update);
        };
        if place.as_ref().is_none_or(|known| known.get().body.timestamp < body.timestamp) {
            *place = Some(update);
        }
        None
    }

    /// Whether an announcement of this node and time is worth verifying.
    pub(crate) fn wants_node(&self, node: &NodeAnnouncement) -> bool {
        let known = self.nodes.get(&node.body.node_id).map(|of| of.announcement.as_ref());
        known.is_some_and(|known| known.is_none_or(|known| known.get().body.timestamp < node.body.timestamp))
    }

    /// Keeps a node's announcement while a channel of the node waits.
    pub(crate) fn keep_node(&mut self, node: Verified<NodeAnnouncement>) {
        if let Some(of) = self.nodes.get_mut(&node.get().body.node_id) {
            of.announcement = Some(node);
        }
    }

    /// Has the output of a channel looked up that does not wait for it.
    pub(crate) fn ask(&mut self, scid: ShortChannelId) {
        self.own.push_back(scid);
    }

    /// The next output to look up; each is handed out once, the peers in turn.
    pub(crate) fn next_to_ask(&mut self, tip: Option<BlockHeight>) -> Option<ShortChannelId> {
        if let Some(own) = self.own.pop_front() {
            return Some(own);
        }
        let is_deep = |scid: &ShortChannelId| {
            tip.is_none_or(|tip| BlockHeight::new(scid.block()).depth_at(tip) >= CONFIRMATIONS)
        };
        let first = |of: &OfPeer| of.to_ask.first().copied().filter(is_deep);
        let after = self.asked_last.map_or(core::ops::Bound::Unbounded, core::ops::Bound::Excluded);
        let behind = self.peers.range((after, core::ops::Bound::Unbounded)).chain(self.peers.iter());
        let (peer, scid) = behind.filter_map(|(peer, of)| Some((*peer, first(of)?))).next()?;
        self.asked_last = Some(peer);
        self.peers.get_mut(&peer)?.to_ask.remove(&scid);
        Some(scid)
    }

    /// The output could not be looked up now: it is asked for again.
    pub(crate) fn ask_again(&mut self, scid: ShortChannelId) {
        match self.waiting.get(&scid).map(|waiting| waiting.from) {
            Some(from) => {
                if let Some(of) = self.peers.get_mut(&from) {
                    of.to_ask.insert(scid);
                }
            }
            None => self.own.push_back(scid),
        }
    }

    /// The output was looked up: what waited for it.
    pub(crate) fn take(&mut self, scid: ShortChannelId) -> Option<Taken> {
        let Waiting { announcement, from, updates, arrival } = self.waiting.remove(&scid)?;
        if let Some(of) = self.peers.get_mut(&from) {
            of.waiting.remove(&arrival);
            of.to_ask.remove(&scid);
            if of.waiting.is_empty() {
                self.peers.remove(&from);
            }
        }
        let body = &announcement.get().body;
        let nodes = [body.node_id_1, body.node_id_2];
        let nodes = nodes.into_iter().filter_map(|node| self.release_node(&node)).collect();
        Some(Taken { announcement, from, updates, nodes })
    }

    /// One channel of the node waits no longer; what the node announced is kept while others of its do.
    fn release_node(&mut self, node: &NodeId) -> Option<Verified<NodeAnnouncement>> {
        let of = self.nodes.get_mut(node)?;
        let announcement = of.announcement.clone();
        of.channels = of.channels.saturating_sub(1);
        if of.channels == 0 {
            self.nodes.remove(node);
        }
        announcement
    }

    /// The output is not there.
    pub(crate) fn mark_absent(&mut self, scid: ShortChannelId) {
        if self.absent.insert(scid) {
            self.absent_order.push_back(scid);
        }
        if self.absent.len() > MAX_ABSENT
            && let Some(oldest) = self.absent_order.pop_front()
        {
            self.absent.remove(&oldest);
        }
    }

    /// A new block: what was not there may be now.
    pub(crate) fn forget_absent(&mut self) {
        self.absent.clear();
        self.absent_order.clear();
    }
}
