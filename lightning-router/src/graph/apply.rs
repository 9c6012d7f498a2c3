//! How verified messages enter the graph (BOLT 7, rules for the receiving node).
use bitcoin::{Amount, OutPoint};
use lightning_traits::id::{NodeId, ShortChannelId};
use lightning_traits::units::Msat;
use lightning_traits::wire::{ChannelAnnouncement, ChannelUpdate, NodeAnnouncement};
use thiserror::Error;

use super::{ChannelInfo, Graph, NodeInfo, Policy};
use crate::gossip::Verified;

/// Why a message changes nothing. None is a fault of the peer that relayed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Refused {
    /// The channel is known already.
    #[error("the channel is known")]
    Known,
    /// No such channel.
    #[error("no such channel")]
    UnknownChannel,
    /// The node has no channel.
    #[error("the node has no channel")]
    UnknownNode,
    /// Not newer than what is known.
    #[error("not newer than what is known")]
    Stale,
    /// A policy that makes no sense: a maximum above the capacity, or below the minimum.
    #[error("limits of the policy contradict each other or the capacity")]
    Nonsense,
}

impl Graph {
    /// Adds a channel, with what a look-up on chain found.
    ///
    /// # Errors
    /// [`Refused::Known`].
    pub fn add_channel(
        &mut self,
        announcement: Verified<ChannelAnnouncement>,
        funding: Option<(OutPoint, Amount)>,
    ) -> Result<(), Refused> {
        let announcement = announcement.into_inner();
        let scid = announcement.body.short_channel_id;
        if self.scids.contains_key(&scid) {
            return Err(Refused::Known);
        }
        let nodes =
            [self.node_or_new(announcement.body.node_id_1), self.node_or_new(announcement.body.node_id_2)];
        let channel = ChannelInfo {
            scid,
            nodes,
            capacity: funding.map(|(_, value)| value),
            funding: funding.map(|(outpoint, _)| outpoint),
            announcement,
            updates: [None, None],
            policies: [None, None],
            spent: None,
        };
        let number = put(&mut self.channels, &mut self.free_channels, channel);
        self.scids.insert(scid, number);
        if let Some((outpoint, _)) = funding {
            self.fundings.insert(outpoint, scid);
        }
        for node in nodes {
            if let Some(Some(node)) = self.nodes.get_mut(node as usize) {
                node.channels.push(number);
            }
        }
        Ok(())
    }

    /// Takes the policy of one direction.
    ///
    /// # Errors
    /// [`Refused`] when nothing changes.
    pub fn update_channel(&mut self, update: Verified<ChannelUpdate>) -> Result<(), Refused> {
        let update = update.into_inner();
        let body = &update.body;
        let number = *self.scids.get(&body.short_channel_id).ok_or(Refused::UnknownChannel)?;
        let channel =
            self.channels.get_mut(number as usize).and_then(Option::as_mut).ok_or(Refused::UnknownChannel)?;
        let side = usize::from(body.is_by_node_2());
        let (Some(policy), Some(kept)) = (channel.policies.get_mut(side), channel.updates.get_mut(side))
        else {
            return Err(Refused::UnknownChannel);
        };
        // BOLT 7: "if `timestamp` is not greater than that of the last-received ... SHOULD ignore the message."
        if policy.as_ref().is_some_and(|known| known.timestamp >= body.timestamp) {
            return Err(Refused::Stale);
        }
        let capacity = channel.capacity.map(Msat::from_amount);
        // BOLT 7: "if `htlc_maximum_msat` is greater than channel capacity ... MAY blacklist this `node_id`".
        if body.htlc_minimum_msat > body.htlc_maximum_msat
            || capacity.is_some_and(|capacity| body.htlc_maximum_msat > capacity)
        {
            return Err(Refused::Nonsense);
        }
        let new = policy_of(&update);
        if policy.replace(new).is_none() {
            self.policies = self.policies.saturating_add(1);
        }
        *kept = Some(update);
        Ok(())
    }

    /// Takes what a node says of itself.
    ///
    /// # Errors
    /// [`Refused`] when nothing changes.
    pub fn update_node(&mut self, announcement: Verified<NodeAnnouncement>) -> Result<(), Refused> {
        let announcement = announcement.into_inner();
        let number = self.node_number(&announcement.body.node_id).ok_or(Refused::UnknownNode)?;
        let node =
            self.nodes.get_mut(number as usize).and_then(Option::as_mut).ok_or(Refused::UnknownNode)?;
        let known = node.announcement.as_ref().map(|known| known.body.timestamp);
        if known.is_some_and(|known| known >= announcement.body.timestamp) {
            return Err(Refused::Stale);
        }
        node.announcement = Some(announcement);
        Ok(())
    }

    /// The key whose signature an update of this channel and direction must have.
    #[must_use]
    pub fn signer_of(&self, scid: ShortChannelId, by_node_2: bool) -> Option<NodeId> {
        let channel = self.channel(scid)?;
        Some(self.node_at(channel.node(usize::from(by_node_2)))?.id)
    }

    fn node_or_new(&mut self, id: NodeId) -> u32 {
        if let Some(number) = self.node_number(&id) {
            return number;
        }
        let node = NodeInfo { id, announcement: None, channels: alloc::vec::Vec::new() };
        let number = put(&mut self.nodes, &mut self.free_nodes, node);
        self.node_index.insert(id, number);
        number
    }
}

/// Puts a value into a free slot, or behind all.
fn put<T>(slots: &mut alloc::vec::Vec<Option<T>>, free: &mut alloc::vec::Vec<u32>, value: T) -> u32 {
    if let Some(number) = free.pop()
        && let Some(slot) = slots.get_mut(number as usize)
    {
        *slot = Some(value);
        return number;
    }
    let number = slots.len() as u32;
    slots.push(Some(value));
    number
}

pub(super) fn policy_of(update: &ChannelUpdate) -> Policy {
    let body = &update.body;
    Policy {
        timestamp: body.timestamp,
        disabled: body.is_disabled(),
        cltv_delta: body.cltv_expiry_delta,
        htlc_minimum: body.htlc_minimum_msat,
        htlc_maximum: body.htlc_maximum_msat,
        fee_base: Msat::new(u64::from(body.fee_base_msat)),
        fee_proportional_millionths: body.fee_proportional_millionths,
    }
}
