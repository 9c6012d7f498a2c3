//! The network once more, as flat arrays of small numbers for searches.
//!
//! The [`Graph`](crate::Graph) keeps what peers said and what they are owed; here is only what a path depends on. What leads
//! *to* a node lies side by side, since searches run backwards from the payee; what leads away from it is a list of
//! references to that. Of the main network it is about 7 MiB.
//!
//! `lists.rs` many lists in one array, `change.rs` how channels come, change and go, `follow.rs` how it follows the graph.
//!
//! # Invariants
//! - a direction has an edge exactly if it may be used: it has a policy, and its node has not switched it off
//! - numbers of nodes and channels that are gone are used again, so memory follows the network's size
mod change;
mod follow;
mod lists;
#[cfg(test)]
mod tests;

use alloc::vec::Vec;

use lightning_traits::id::{NodeId, ShortChannelId};
use lightning_traits::units::Msat;

use crate::graph::Policy;
use lists::Lists;

/// A channel as a path sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlatChannel {
    /// Its place on chain.
    pub scid: ShortChannelId,
    /// Its ends, in the order of their keys.
    pub nodes: [NodeId; 2],
    /// What it holds, if that is known.
    pub capacity: Option<Msat>,
    /// The terms of each direction: 0 from the first node.
    pub directions: [Option<Policy>; 2],
}

/// How large a [`FlatGraph`] is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlatCounts {
    /// Nodes with a channel.
    pub nodes: usize,
    /// Channels.
    pub channels: usize,
    /// Directions that may be used.
    pub edges: usize,
    /// Bytes on the heap.
    pub memory: usize,
}

/// A direction of a channel that may be used, as a search reads it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Edge {
    /// The most that one HTLC carries, in millisatoshis; the channel's capacity limits it already.
    pub(crate) maximum: u64,
    pub(crate) minimum: u64,
    /// The node that it leaves.
    pub(crate) from: u32,
    pub(crate) fee_base: u32,
    pub(crate) fee_millionths: u32,
    /// [`SHARES`] divided by the capacity: what share an amount is. 0 where the balance is known.
    pub(crate) share: f32,
    /// The channel's number, doubled, and 1 more from its second node.
    pub(crate) direction: u32,
    pub(crate) cltv_delta: u16,
    /// Whether the node that it leaves forwards nothing. BOLT 7: "MUST NOT route a payment _through_ the node".
    pub(crate) is_dead_end: bool,
}

/// The whole capacity of a channel, in the unit of shares.
pub(crate) const SHARES: f32 = 1_048_576.0;

const MILLION: u64 = 1_000_000;

impl Edge {
    /// What share an amount is of a capacity of so many millisatoshis.
    #[expect(clippy::cast_precision_loss, reason = "a share is an estimate")]
    pub(crate) fn share_of(capacity: u64) -> f32 {
        SHARES / (capacity.max(1) as f32)
    }

    /// BOLT 7: "`fee_base_msat` + ( `amount_to_forward` * `fee_proportional_millionths` / 1000000 )"; as much as there is
    /// where that is beyond all numbers.
    pub(crate) fn fee(&self, amount: u64) -> u64 {
        let proportional = match amount.checked_mul(u64::from(self.fee_millionths)) {
            Some(product) => product / MILLION,
            None => {
                let product = u128::from(amount).saturating_mul(u128::from(self.fee_millionths));
                u64::try_from(product / u128::from(MILLION)).unwrap_or(u64::MAX)
            }
        };
        proportional.saturating_add(u64::from(self.fee_base))
    }
}

/// A reference to an edge, by the node that it leaves.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Out {
    pub(crate) to: u32,
    pub(crate) slot: u32,
}

#[derive(Clone, Debug)]
struct Node {
    id: NodeId,
    forwards: bool,
    /// How many channels it has; a number without channels is free.
    channels: u32,
}

#[derive(Clone, Debug)]
struct Channel {
    scid: ShortChannelId,
    nodes: [u32; 2],
    /// In millisatoshis; [`NO_CAPACITY`] if nobody looked it up.
    capacity: u64,
    timestamps: [u32; 2],
    /// Where the edges of its directions lie, [`NONE`] without one.
    slots: [u32; 2],
}

const NONE: u32 = u32::MAX;
const NO_CAPACITY: u64 = u64::MAX;

/// The network as flat arrays.
#[derive(Clone, Debug, Default)]
pub struct FlatGraph {
    nodes: Vec<Node>,
    free_nodes: Vec<u32>,
    /// Numbers of nodes, sorted by their keys: strangers choose keys, so there is no hash (RELIABILITY G9).
    by_id: Vec<u32>,
    channels: Vec<Channel>,
    free_channels: Vec<u32>,
    /// Numbers of channels, sorted by their ids.
    by_scid: Vec<u32>,
    into: Lists<Edge>,
    out: Lists<Out>,
    edges: usize,
}

impl FlatGraph {
    /// How large it is.
    #[must_use]
    pub fn counts(&self) -> FlatCounts {
        let vectors = [
            self.nodes.capacity().saturating_mul(size_of::<Node>()),
            self.channels.capacity().saturating_mul(size_of::<Channel>()),
            [&self.by_id, &self.by_scid, &self.free_nodes, &self.free_channels]
                .map(|numbers| numbers.capacity().saturating_mul(size_of::<u32>()))
                .into_iter()
                .sum(),
            self.into.memory(),
            self.out.memory(),
        ];
        FlatCounts {
            nodes: self.by_id.len(),
            channels: self.by_scid.len(),
            edges: self.edges,
            memory: vectors.into_iter().sum(),
        }
    }

    pub(crate) fn node_number(&self, id: &NodeId) -> Option<u32> {
        let at = self.place_of_node(id).ok()?;
        self.by_id.get(at).copied()
    }

    /// Whether nobody may be paid through a node.
    pub(crate) fn is_dead_end(&self, number: u32) -> bool {
        self.nodes.get(number as usize).is_some_and(|node| !node.forwards)
    }

    pub(crate) fn node_id(&self, number: u32) -> Option<NodeId> {
        self.nodes.get(number as usize).map(|node| node.id)
    }

    /// One above the largest node number: the size of a search's arrays.
    pub(crate) fn node_slots(&self) -> usize {
        self.nodes.len()
    }

    /// One above the largest edge slot.
    pub(crate) fn edge_slots(&self) -> usize {
        self.into.slots()
    }

    /// The edges that lead to a node, and the slot of the first.
    pub(crate) fn into(&self, node: u32) -> (u32, &[Edge]) {
        (self.into.start(node), self.into.of(node))
    }

    pub(crate) fn out(&self, node: u32) -> &[Out] {
        self.out.of(node)
    }

    pub(crate) fn edge(&self, slot: u32) -> Option<&Edge> {
        self.into.at(slot)
    }

    /// The channel of an edge's direction.
    pub(crate) fn scid_of(&self, direction: u32) -> Option<ShortChannelId> {
        self.channels.get((direction >> 1) as usize).map(|channel| channel.scid)
    }

    /// The node that an edge leads to.
    pub(crate) fn end_of(&self, edge: &Edge) -> Option<u32> {
        let [first, second] = self.channels.get((edge.direction >> 1) as usize)?.nodes;
        Some(if edge.direction & 1 == 0 { second } else { first })
    }

    /// The nodes at the ends of a channel.
    pub(crate) fn ends_of(&self, scid: ShortChannelId) -> Option<[u32; 2]> {
        self.channel(scid).map(|channel| channel.nodes)
    }

    /// The slot of the edge of a channel that leaves `from`, and the timestamp of its terms.
    pub(crate) fn slot_of(&self, scid: ShortChannelId, from: u32) -> Option<(u32, u32)> {
        let channel = self.channel(scid)?;
        let side = channel.nodes.iter().position(|node| *node == from)?;
        let slot = channel.slots.get(side).copied().filter(|slot| *slot != NONE)?;
        Some((slot, channel.timestamps.get(side).copied()?))
    }

    /// What the channel of an edge holds; at least what one HTLC may carry, where nobody looked.
    pub(crate) fn capacity_of(&self, edge: &Edge) -> Msat {
        let known = self.channels.get((edge.direction >> 1) as usize).map(|channel| channel.capacity);
        Msat::new(known.filter(|capacity| *capacity != NO_CAPACITY).unwrap_or(edge.maximum))
    }

    pub(crate) fn channel_number(&self, scid: ShortChannelId) -> Option<u32> {
        let at = self.place_of_channel(scid).ok()?;
        self.by_scid.get(at).copied()
    }

    /// The number of a channel, which of its sides `from` is, and what it holds as far as anybody can tell.
    pub(crate) fn balance_of(&self, scid: ShortChannelId, from: u32) -> Option<(u32, usize, u64)> {
        let number = self.channel_number(scid)?;
        let channel = self.channels.get(number as usize)?;
        let side = channel.nodes.iter().position(|node| *node == from)?;
        let carried =
            channel.slots.iter().filter_map(|slot| self.into.at(*slot)).map(|edge| edge.maximum).max();
        let capacity = Some(channel.capacity).filter(|capacity| *capacity != NO_CAPACITY).or(carried)?;
        Some((number, side, capacity))
    }

    fn channel(&self, scid: ShortChannelId) -> Option<&Channel> {
        self.channels.get(self.channel_number(scid)? as usize)
    }

    fn place_of_node(&self, id: &NodeId) -> Result<usize, usize> {
        self.by_id.binary_search_by(|number| {
            let known = self.nodes.get(*number as usize);
            known.map_or(core::cmp::Ordering::Less, |node| node.id.cmp(id))
        })
    }

    fn place_of_channel(&self, scid: ShortChannelId) -> Result<usize, usize> {
        self.by_scid.binary_search_by(|number| {
            let known = self.channels.get(*number as usize);
            known.map_or(core::cmp::Ordering::Less, |channel| channel.scid.cmp(&scid))
        })
    }
}
