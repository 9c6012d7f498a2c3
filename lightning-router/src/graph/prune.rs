//! How channels leave the graph: spent, or not heard of for two weeks (BOLT 7, "Pruning the Network View").
use alloc::vec::Vec;

use bitcoin::OutPoint;
use lightning_traits::id::{NodeId, ShortChannelId};
use lightning_traits::units::BlockHeight;

use super::{ChannelInfo, Graph, Policy};

/// BOLT 7: "SHOULD forget a channel after a 72-block delay", in which a splice may announce itself.
const SPENT_GRACE: u32 = 72;

/// BOLT 7: "a node MAY prune a channel should the timestamp of the latest `channel_update` in either direction be older than
/// two weeks (1209600 seconds)".
const STALE_SECONDS: u32 = 1_209_600;

impl Graph {
    /// The funding output was spent at `height`.
    pub fn mark_spent(&mut self, funding: &OutPoint, height: BlockHeight) {
        let number = self.scid_of(funding).and_then(|scid| self.scids.get(&scid).copied());
        if let Some(Some(channel)) = number.and_then(|number| self.channels.get_mut(number as usize)) {
            // The first of two spends counts: a block may be handed over twice.
            channel.spent = channel.spent.or(Some(height));
            let scid = channel.scid;
            self.touch(scid);
        }
    }

    /// A block at `height` is no longer in the chain: what it spent is unspent again, and the channels that it opened
    /// are gone (BOLT 7: "once its funding output has been spent OR reorganized out").
    pub fn unmark_spent(&mut self, height: BlockHeight) {
        for channel in self.channels.iter_mut().flatten() {
            let before = channel.spent;
            channel.spent = channel.spent.filter(|spent| *spent < height);
            if channel.scid.block() >= height.get() {
                channel.spent = Some(height);
            }
            if channel.spent != before {
                self.touched.add(channel.scid);
            }
        }
    }

    /// Forgets what was spent long enough ago, and, when `now` (a block's time) is known, what is stale: but for
    /// the channels of `ours`, which nobody would announce to us again when the peer comes back.
    /// Returns how many channels that were.
    pub fn prune(&mut self, height: BlockHeight, now: Option<u32>, ours: Option<&NodeId>) -> usize {
        for channel in self.channels.iter_mut().flatten().filter(|channel| channel.since == 0) {
            // It came before the first block that told the time.
            channel.since = now.unwrap_or(0);
        }
        let oldest = now.map_or(0, |now| now.saturating_sub(STALE_SECONDS));
        let ours = ours.and_then(|id| self.node_number(id));
        let is_gone = |channel: &&ChannelInfo| {
            let spent = channel.spent.is_some_and(|spent| height.minus(SPENT_GRACE) >= spent);
            let ours = ours.is_some_and(|us| channel.nodes.contains(&us));
            // "The oldest `channel_update` is used to prune the channel since both sides need to be active". A side
            // that has said nothing yet is given the same time from when the channel came.
            let age =
                |policy: &Option<Policy>| policy.as_ref().map_or(channel.since, |policy| policy.timestamp);
            spent || (!ours && channel.policies.iter().any(|policy| age(policy) < oldest))
        };
        let gone: Vec<ShortChannelId> =
            self.channels.iter().flatten().filter(is_gone).map(|channel| channel.scid).collect();
        gone.iter().filter(|scid| self.remove_channel(**scid)).count()
    }

    /// Whether an update of this age would be pruned at once.
    pub(crate) const fn is_stale(timestamp: u32, now: u32) -> bool {
        timestamp < now.saturating_sub(STALE_SECONDS)
    }

    /// Forgets a channel, and nodes that had no other.
    pub fn remove_channel(&mut self, scid: ShortChannelId) -> bool {
        let Some(number) = self.scids.remove(&scid) else { return false };
        self.touch(scid);
        let Some(channel) = self.channels.get_mut(number as usize).and_then(Option::take) else {
            return false;
        };
        self.free_channels.push(number);
        self.policies = self.policies.saturating_sub(channel.policies.iter().flatten().count());
        if let Some(funding) = channel.funding {
            self.fundings.remove(&funding);
        }
        for side in channel.nodes {
            let Some(slot) = self.nodes.get_mut(side as usize) else { continue };
            let Some(node) = slot else { continue };
            node.channels.retain(|other| *other != number);
            if node.channels.is_empty() {
                self.node_index.remove(&node.id);
                *slot = None;
                self.free_nodes.push(side);
            }
        }
        true
    }
}
