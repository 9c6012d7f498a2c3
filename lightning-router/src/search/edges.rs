//! The edges that lead to a node: of the graph, of the payee's hints, and our own channels.
//!
//! Nodes that only a hint or a private channel knows get numbers behind those of the graph, for one search.
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use lightning_traits::id::{NodeId, ShortChannelId};
use lightning_traits::route::{DirectedChannel, FirstHop, HintHop, RouteQuery};
use lightning_traits::units::{CltvDelta, Msat};

use crate::graph::{Graph, Policy};

/// A direction of a channel, as the search needs it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Edge {
    pub(super) scid: ShortChannelId,
    pub(super) from: u32,
    pub(super) minimum: Msat,
    pub(super) maximum: Msat,
    pub(super) cltv_delta: CltvDelta,
    fee_base: Msat,
    fee_millionths: u32,
}

impl Edge {
    pub(super) fn fee(&self, amount: Msat) -> Option<Msat> {
        self.fee_base.checked_add(amount.checked_millionths(self.fee_millionths)?)
    }
}

/// All edges of one query.
pub(super) struct Edges<'a> {
    graph: &'a Graph,
    query: &'a RouteQuery,
    extra_numbers: BTreeMap<NodeId, u32>,
    extra_ids: Vec<NodeId>,
    /// Edges that are not in the graph, by the node that they lead to.
    extra: BTreeMap<u32, Vec<Edge>>,
    payer: Option<u32>,
}

impl<'a> Edges<'a> {
    pub(super) fn new(graph: &'a Graph, query: &'a RouteQuery) -> Self {
        let mut edges = Self {
            graph,
            query,
            extra_numbers: BTreeMap::new(),
            extra_ids: Vec::new(),
            extra: BTreeMap::new(),
            payer: None,
        };
        for hop in &query.first_hops {
            edges.add_first_hop(hop);
        }
        edges.payer = edges.number(&query.payer);
        for hint in &query.hints {
            let ends = hint.hops.iter().skip(1).map(|hop| hop.node).chain([query.payee]);
            let hops: Vec<(&HintHop, NodeId)> = hint.hops.iter().zip(ends).collect();
            for (hop, end) in hops {
                edges.add_hint(hop, end);
            }
        }
        edges.payer = edges.number(&query.payer);
        edges
    }

    fn add_first_hop(&mut self, hop: &FirstHop) {
        let (from, to) = (self.number_or_new(self.query.payer), self.number_or_new(hop.node));
        let edge = Edge {
            scid: hop.scid,
            from,
            minimum: hop.htlc_minimum,
            maximum: hop.sendable,
            cltv_delta: CltvDelta::new(0),
            fee_base: Msat::ZERO,
            fee_millionths: 0,
        };
        self.extra.entry(to).or_default().push(edge);
    }

    fn add_hint(&mut self, hop: &HintHop, end: NodeId) {
        let (from, to) = (self.number_or_new(hop.node), self.number_or_new(end));
        // What gossip says of a public channel is newer than what an invoice says. An alias may look like the id of
        // another channel.
        let public = self.graph.channel(hop.scid).map(|channel| channel.nodes);
        if public == Some([from, to]) || public == Some([to, from]) || self.is_better_known(from) {
            return;
        }
        let edge = Edge {
            scid: hop.scid,
            from,
            minimum: Msat::ZERO,
            maximum: Msat::MAX,
            cltv_delta: hop.cltv_delta,
            fee_base: hop.fee_base,
            fee_millionths: hop.fee_proportional_millionths,
        };
        self.extra.entry(to).or_default().push(edge);
    }

    /// Our own channels are known better than gossip and invoices know them.
    fn is_better_known(&self, from: u32) -> bool {
        !self.query.first_hops.is_empty() && Some(from) == self.payer
    }

    fn number(&self, id: &NodeId) -> Option<u32> {
        self.graph.node_number(id).or_else(|| self.extra_numbers.get(id).copied())
    }

    fn number_or_new(&mut self, id: NodeId) -> u32 {
        if let Some(known) = self.number(&id) {
            return known;
        }
        let number = self.node_count() as u32;
        self.extra_numbers.insert(id, number);
        self.extra_ids.push(id);
        number
    }

    pub(super) fn node_count(&self) -> usize {
        self.graph.node_slots().saturating_add(self.extra_ids.len())
    }

    pub(super) const fn payer(&self) -> Option<u32> {
        self.payer
    }

    pub(super) fn payee(&self) -> Option<u32> {
        self.number(&self.query.payee)
    }

    pub(super) fn id_of(&self, number: u32) -> NodeId {
        let public = self.graph.node_at(number).map(|node| node.id);
        let extra = (number as usize)
            .checked_sub(self.graph.node_slots())
            .and_then(|at| self.extra_ids.get(at))
            .copied();
        // Numbers come from this very structure, so one of the two is there.
        public.or(extra).unwrap_or(self.query.payee)
    }

    /// Whether the edge is that direction.
    pub(super) fn is(&self, edge: &Edge, direction: &DirectedChannel) -> bool {
        edge.scid == direction.scid && self.id_of(edge.from) == direction.from
    }

    /// BOLT 7, of a node with unknown even feature bits: "MUST NOT route a payment _through_ the node".
    fn may_leave(&self, from: u32) -> bool {
        Some(from) == self.payer || self.graph.node_at(from).is_none_or(|node| node.forwards)
    }

    /// Every usable edge that leads to `node`.
    pub(super) fn for_each_into(&self, node: u32, mut take: impl FnMut(Edge)) {
        for edge in self.extra.get(&node).into_iter().flatten() {
            if self.may_leave(edge.from) {
                take(*edge);
            }
        }
        let channels = self.graph.node_at(node).map(|node| node.channels.as_slice()).unwrap_or_default();
        for number in channels {
            let Some(channel) = self.graph.channel_at(*number) else { continue };
            let side = usize::from(channel.node(0) == node);
            let from = channel.node(side);
            if self.is_better_known(from) {
                continue;
            }
            let Some(policy) = channel.policy(side).filter(|policy| !policy.disabled) else { continue };
            if channel.spent.is_none() && channel.usable && self.may_leave(from) {
                take(edge_of(channel.scid, from, policy, channel.capacity.map(Msat::from_amount)));
            }
        }
    }
}

fn edge_of(scid: ShortChannelId, from: u32, policy: &Policy, capacity: Option<Msat>) -> Edge {
    Edge {
        scid,
        from,
        minimum: policy.htlc_minimum,
        maximum: capacity.map_or(policy.htlc_maximum, |capacity| capacity.min(policy.htlc_maximum)),
        cltv_delta: policy.cltv_delta,
        fee_base: policy.fee_base,
        fee_millionths: policy.fee_proportional_millionths,
    }
}
