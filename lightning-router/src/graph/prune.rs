//! How channels leave the graph: spent, or not heard of for two weeks (BOLT 7, "Pruning the Network View").
use alloc::vec::Vec;

use bitcoin::OutPoint;
use lightning_traits::id::ShortChannelId;
use lightning_traits::units::BlockHeight;

use super::Graph;

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
            channel.spent = Some(height);
        }
    }

    /// A block at `height` is no longer in the chain: what it spent is unspent again.
    pub fn unmark_spent(&mut self, height: BlockHeight) {
        for channel in self.channels.iter_mut().flatten() {
            channel.spent = channel.spent.filter(|spent| *spent < height);
        }
    }

    /// Forgets what was spent long enough ago, and, when `now` (a block's time) is known, what is stale.
    /// Returns how many channels that were.
    pub fn prune(&mut self, height: BlockHeight, now: Option<u32>) -> usize {
        let oldest = now.map(|now| now.saturating_sub(STALE_SECONDS));
        let gone: Vec<ShortChannelId> = self
            .channels
            .iter()
            .flatten()
            .filter(|channel| {
                let spent = channel.spent.is_some_and(|spent| height.minus(SPENT_GRACE) >= spent);
                let timestamps =
                    channel.policies.iter().map(|policy| policy.as_ref().map(|policy| policy.timestamp));
                let stale = |oldest: u32| timestamps.clone().any(|at| at.is_some_and(|at| at < oldest));
                spent || oldest.is_some_and(stale)
            })
            .map(|channel| channel.scid)
            .collect();
        gone.iter().filter(|scid| self.remove_channel(**scid)).count()
    }

    /// Forgets a channel, and nodes that had no other.
    pub fn remove_channel(&mut self, scid: ShortChannelId) -> bool {
        let Some(number) = self.scids.remove(&scid) else { return false };
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
