//! The network as gossip tells it: nodes, channels, and a policy for each direction.
//!
//! Nodes and channels have dense small indices, so a search works on flat arrays. Signed messages are kept as they
//! came, for relay and for answers to queries.
//!
//! `apply.rs` how a verified message enters, `prune.rs` how things leave, `snapshot.rs` the encoding, `touched.rs` what the
//! flat graph of searches has to take over.
//!
//! # Invariants
//! - a channel's nodes exist; a node without channels does not (BOLT 7: no `node_announcement` without a channel)
//! - indices of channels that are gone are used again, so memory follows the network's size
mod apply;
mod prune;
mod snapshot;
mod touched;

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use bitcoin::{Amount, OutPoint};
use lightning_traits::id::{NodeId, ShortChannelId};
use lightning_traits::units::{BlockHeight, CltvDelta, Msat};
use lightning_traits::wire::{ChannelAnnouncement, ChannelUpdate, NodeAddress, NodeAnnouncement};

pub use apply::Refused;
pub use snapshot::SnapshotError;
pub(crate) use snapshot::{seal, unseal};
pub(crate) use touched::Touched;

/// What one direction of a channel costs and carries (BOLT 7, `channel_update`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// `timestamp`: the newest wins.
    pub timestamp: u32,
    /// Whether the direction is switched off.
    pub disabled: bool,
    /// `cltv_expiry_delta`.
    pub cltv_delta: CltvDelta,
    /// `htlc_minimum_msat`.
    pub htlc_minimum: Msat,
    /// `htlc_maximum_msat`.
    pub htlc_maximum: Msat,
    /// `fee_base_msat`.
    pub fee_base: Msat,
    /// `fee_proportional_millionths`.
    pub fee_proportional_millionths: u32,
}

impl Policy {
    /// What forwarding `amount` over this direction costs; `None` for sums that no channel can carry.
    ///
    /// BOLT 7: "`fee_base_msat` + ( amount_to_forward * `fee_proportional_millionths` / 1000000 )".
    #[must_use]
    pub fn fee(&self, amount: Msat) -> Option<Msat> {
        self.fee_base.checked_add(amount.checked_millionths(self.fee_proportional_millionths)?)
    }
}

/// A node, with the channels that it has.
#[derive(Clone, Debug)]
pub struct NodeInfo {
    /// Its key.
    pub id: NodeId,
    /// Its latest announcement.
    pub announcement: Option<NodeAnnouncement>,
    pub(crate) channels: Vec<u32>,
    /// Whether its features are all known. BOLT 7: "MUST NOT route a payment _through_ the node" otherwise.
    pub(crate) forwards: bool,
}

impl NodeInfo {
    /// BOLT 7: "if more than one `type 5` address is announced: ... MUST not forward the `node_announcement`."
    pub(crate) fn may_forward(&self) -> bool {
        let known = self.announcement.iter().flat_map(|announcement| &announcement.body.addresses.known);
        known.filter(|address| matches!(address, NodeAddress::Dns { .. })).count() <= 1
    }
}

/// A channel.
#[derive(Clone, Debug)]
pub struct ChannelInfo {
    /// Its place on chain.
    pub scid: ShortChannelId,
    /// Indices of its nodes, in the order of their keys.
    pub(crate) nodes: [u32; 2],
    /// What the funding output holds, if that was looked up.
    pub capacity: Option<Amount>,
    /// The funding output, if it was looked up.
    pub(crate) funding: Option<OutPoint>,
    /// The announcement as it came.
    pub announcement: ChannelAnnouncement,
    /// The latest update of each direction as it came: 0 from the first node.
    pub updates: [Option<ChannelUpdate>; 2],
    pub(crate) policies: [Option<Policy>; 2],
    /// When the funding output was seen spent: it is forgotten 72 blocks later, unless it was spliced (BOLT 7).
    pub(crate) spent: Option<BlockHeight>,
    /// When it came, by the time of the latest block then: a direction without an update is as old as this.
    pub(crate) since: u32,
    /// Whether its features are all known. BOLT 7: "MUST NOT attempt to route messages through the channel" otherwise.
    pub(crate) usable: bool,
    /// Whether peers were told of it, which waits for its first update.
    pub(crate) relayed: bool,
}

impl ChannelInfo {
    /// The policy of a direction: 0 from the node whose key sorts first.
    #[must_use]
    pub fn policy(&self, direction: usize) -> Option<&Policy> {
        self.policies.get(direction)?.as_ref()
    }

    /// Updates that others may hear of. BOLT 7: "MUST NOT forward such a `channel_update` to other peers, for privacy
    /// reasons", of those with `dont_forward`.
    pub(crate) fn public_updates(&self) -> impl Iterator<Item = &ChannelUpdate> {
        self.updates.iter().flatten().filter(|update| !update.body.is_for_receiver_only())
    }

    /// A number of each direction's public update, 0 where there is none.
    pub(crate) fn each_public(&self, number: impl Fn(&ChannelUpdate) -> u32) -> [u32; 2] {
        let [first, second] = &self.updates;
        [first, second].map(|update| {
            let update = update.as_ref().filter(|update| !update.body.is_for_receiver_only());
            update.map_or(0, &number)
        })
    }

    pub(crate) fn node(&self, side: usize) -> u32 {
        let [first, second] = self.nodes;
        if side == 0 { first } else { second }
    }
}

/// How large the graph is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GraphCounts {
    /// Nodes.
    pub nodes: usize,
    /// Channels.
    pub channels: usize,
    /// Directions with a policy.
    pub policies: usize,
}

/// The network.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    nodes: Vec<Option<NodeInfo>>,
    free_nodes: Vec<u32>,
    // An ordered map: strangers choose the keys, and could make a hash table slow (RELIABILITY G9).
    node_index: BTreeMap<NodeId, u32>,
    channels: Vec<Option<ChannelInfo>>,
    free_channels: Vec<u32>,
    scids: BTreeMap<ShortChannelId, u32>,
    fundings: BTreeMap<OutPoint, ShortChannelId>,
    policies: usize,
    touched: Touched,
}

impl Graph {
    /// An empty graph.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How large it is.
    #[must_use]
    pub fn counts(&self) -> GraphCounts {
        GraphCounts { nodes: self.node_index.len(), channels: self.scids.len(), policies: self.policies }
    }

    /// A channel by its id.
    #[must_use]
    pub fn channel(&self, scid: ShortChannelId) -> Option<&ChannelInfo> {
        self.channel_at(*self.scids.get(&scid)?)
    }

    /// A node by its key.
    #[must_use]
    pub fn node(&self, id: &NodeId) -> Option<&NodeInfo> {
        self.node_at(self.node_number(id)?)
    }

    /// The keys of a channel's nodes, in their order.
    #[must_use]
    pub fn nodes_of(&self, channel: &ChannelInfo) -> Option<[NodeId; 2]> {
        Some([self.node_at(channel.node(0))?.id, self.node_at(channel.node(1))?.id])
    }

    /// The channels of a node.
    pub(crate) fn channels_of(&self, node: &NodeInfo) -> impl Iterator<Item = &ChannelInfo> {
        node.channels.iter().filter_map(|number| self.channel_at(*number))
    }

    /// All channels in the order of their ids, from `first` on.
    pub fn channels_from(&self, first: ShortChannelId) -> impl Iterator<Item = &ChannelInfo> {
        self.scids.range(first..).filter_map(|(_, at)| self.channel_at(*at))
    }

    /// All nodes, in no particular but a repeatable order.
    pub fn nodes(&self) -> impl Iterator<Item = &NodeInfo> {
        self.nodes.iter().flatten()
    }

    /// Whether the funding output of some channel.
    pub(crate) fn scid_of(&self, funding: &OutPoint) -> Option<ShortChannelId> {
        self.fundings.get(funding).copied()
    }

    pub(crate) fn node_number(&self, id: &NodeId) -> Option<u32> {
        self.node_index.get(id).copied()
    }

    pub(crate) fn node_at(&self, number: u32) -> Option<&NodeInfo> {
        self.nodes.get(number as usize)?.as_ref()
    }

    pub(crate) fn channel_at(&self, number: u32) -> Option<&ChannelInfo> {
        self.channels.get(number as usize)?.as_ref()
    }

    /// The first node whose number is `from` or above, with its number.
    pub(crate) fn node_from(&self, from: u32) -> Option<(u32, &NodeInfo)> {
        let mut slots = self.nodes.iter().enumerate().skip(from as usize);
        slots.find_map(|(number, node)| Some((number as u32, node.as_ref()?)))
    }
}
