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
    /// A policy that makes no sense: a maximum above the capacity, or below the minimum, or no timestamp.
    #[error("limits of the policy contradict each other or the capacity")]
    Nonsense,
    /// The channel's funding output is spent.
    #[error("the channel is closed")]
    Spent,
}

impl Graph {
    /// Adds a channel, with what a look-up on chain found, at the time `now`.
    ///
    /// # Errors
    /// [`Refused::Known`].
    pub fn add_channel(
        &mut self,
        announcement: Verified<ChannelAnnouncement>,
        funding: Option<(OutPoint, Amount)>,
        now: u32,
    ) -> Result<(), Refused> {
        let announcement = announcement.into_inner();
        let scid = announcement.body.short_channel_id;
        if self.scids.contains_key(&scid) {
            return Err(Refused::Known);
        }
        let nodes =
            [self.node_or_new(announcement.body.node_id_1), self.node_or_new(announcement.body.node_id_2)];
        let usable = announcement.body.features.unknown_required().next().is_none();
        let channel = ChannelInfo {
            scid,
            nodes,
            capacity: None,
            funding: None,
            usable,
            announcement,
            updates: [None, None],
            policies: [None, None],
            spent: None,
            since: now,
            relayed: false,
        };
        let number = put(&mut self.channels, &mut self.free_channels, channel);
        self.scids.insert(scid, number);
        self.touch(scid);
        for node in nodes {
            if let Some(Some(node)) = self.nodes.get_mut(node as usize) {
                node.channels.push(number);
            }
        }
        if let Some((outpoint, value)) = funding {
            self.set_funding(scid, outpoint, value);
        }
        Ok(())
    }

    /// A look-up on chain found the funding output of a channel that entered without one.
    pub fn set_funding(&mut self, scid: ShortChannelId, outpoint: OutPoint, value: Amount) {
        let Some(channel) = self.channel_mut(scid).filter(|channel| channel.funding.is_none()) else {
            return;
        };
        channel.capacity = Some(value);
        channel.funding = Some(outpoint);
        self.fundings.insert(outpoint, scid);
        self.touch(scid);
    }

    pub(crate) fn channel_mut(&mut self, scid: ShortChannelId) -> Option<&mut ChannelInfo> {
        let number = *self.scids.get(&scid)?;
        self.channels.get_mut(number as usize)?.as_mut()
    }

    /// Takes the policy of one direction.
    ///
    /// # Errors
    /// [`Refused`] when nothing changes.
    pub fn update_channel(&mut self, update: Verified<ChannelUpdate>) -> Result<(), Refused> {
        let update = update.into_inner();
        let body = &update.body;
        let channel = self.channel_mut(body.short_channel_id).ok_or(Refused::UnknownChannel)?;
        // BOLT 7: "if the channel output has been spent: MUST ignore `channel_update`s, unless they have the
        // `disable` bit set to 1."
        if channel.spent.is_some() && !body.is_disabled() {
            return Err(Refused::Spent);
        }
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
        // "MUST set `timestamp` to greater than 0": an answer to a query has 0 for a direction without an update.
        if body.timestamp == 0
            || body.htlc_minimum_msat > body.htlc_maximum_msat
            || capacity.is_some_and(|capacity| body.htlc_maximum_msat > capacity)
        {
            return Err(Refused::Nonsense);
        }
        let (new, scid) = (policy_of(&update), channel.scid);
        let is_first = policy.replace(new).is_none();
        *kept = Some(update);
        self.policies = self.policies.saturating_add(usize::from(is_first));
        self.touch(scid);
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
        let forwarded = node.forwards;
        node.forwards = announcement.body.features.unknown_required().next().is_none();
        node.announcement = Some(announcement);
        if node.forwards != forwarded {
            let channels = node.channels.clone();
            let scids = channels
                .iter()
                .filter_map(|number| Some(self.channel_at(*number)?.scid))
                .collect::<alloc::vec::Vec<_>>();
            scids.into_iter().for_each(|scid| self.touch(scid));
        }
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
        let node = NodeInfo { id, announcement: None, channels: alloc::vec::Vec::new(), forwards: true };
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
