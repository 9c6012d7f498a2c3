//! Announcements that wait until their funding output was looked up, with the updates that came meanwhile.
//!
//! # Invariants
//! - bounded in number, oldest out first: a flood of announcements costs the flooder's own (RELIABILITY H)
//! - an output that was not there is not asked for again for a while
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;

use lightning_traits::id::{NodeId, ShortChannelId};
use lightning_traits::wire::{ChannelAnnouncement, ChannelUpdate, NodeAnnouncement};

use super::Verified;

/// Announcements that may wait.
const MAX_WAITING: usize = 5_000;
/// Updates and node announcements that may wait behind one.
const MAX_BEHIND: usize = 8;
/// Outputs remembered as not there.
const MAX_ABSENT: usize = 20_000;

/// An announcement that waits.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) announcement: Verified<ChannelAnnouncement>,
    pub(crate) from: NodeId,
    pub(crate) updates: Vec<ChannelUpdate>,
    pub(crate) nodes: Vec<NodeAnnouncement>,
}

/// All that waits.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    waiting: BTreeMap<ShortChannelId, Waiting>,
    /// Not asked yet, oldest first.
    to_ask: VecDeque<ShortChannelId>,
    absent: BTreeSet<ShortChannelId>,
    absent_order: VecDeque<ShortChannelId>,
}

impl Pending {
    /// Whether the announcement would be new here.
    pub(crate) fn wants(&self, scid: ShortChannelId) -> bool {
        !self.waiting.contains_key(&scid) && !self.absent.contains(&scid)
    }

    pub(crate) fn add(&mut self, announcement: Verified<ChannelAnnouncement>, from: NodeId) {
        let scid = announcement.get().body.short_channel_id;
        if self.waiting.len() >= MAX_WAITING
            && let Some(oldest) = self.to_ask.pop_front()
        {
            self.waiting.remove(&oldest);
        }
        self.waiting.insert(scid, Waiting { announcement, from, updates: Vec::new(), nodes: Vec::new() });
        self.to_ask.push_back(scid);
    }

    /// Keeps an update behind the announcement that it belongs to; `false` when there is none.
    pub(crate) fn keep_update(&mut self, update: &ChannelUpdate) -> bool {
        let Some(waiting) = self.waiting.get_mut(&update.body.short_channel_id) else { return false };
        if waiting.updates.len() < MAX_BEHIND {
            waiting.updates.push(update.clone());
        }
        true
    }

    /// Keeps a node's announcement behind a channel of the node that waits; `false` when there is none.
    pub(crate) fn keep_node(&mut self, node: &NodeAnnouncement) -> bool {
        let id = node.body.node_id;
        let has = |waiting: &&mut Waiting| {
            let body = &waiting.announcement.get().body;
            body.node_id_1 == id || body.node_id_2 == id
        };
        let Some(waiting) = self.waiting.values_mut().find(has) else { return false };
        if waiting.nodes.len() < MAX_BEHIND {
            waiting.nodes.push(node.clone());
        }
        true
    }

    /// The next output to look up; each is handed out once.
    pub(crate) fn next_to_ask(&mut self) -> Option<ShortChannelId> {
        self.to_ask.pop_front()
    }

    /// The output was looked up: what waited for it.
    pub(crate) fn take(&mut self, scid: ShortChannelId) -> Option<Waiting> {
        self.waiting.remove(&scid)
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
