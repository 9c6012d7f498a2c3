//! The edges that lead to a node: of the graph, of the payee's hints, and our own channels.
//!
//! Nodes that only a hint or a private channel knows get numbers behind those of the graph, for one search.
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use lightning_traits::id::{NodeId, ShortChannelId};
use lightning_traits::route::{DirectedChannel, FirstHop, HintHop, LearntTerms, RouteQuery};
use lightning_traits::units::{CltvDelta, Msat};

use crate::graph::{Graph, Policy};

/// A direction of a channel, as the search needs it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Edge {
    pub(super) scid: ShortChannelId,
    pub(super) from: u32,
    pub(super) minimum: Msat,
    /// The most that one HTLC carries.
    pub(super) maximum: Msat,
    /// The most that all HTLCs together carry, as far as anybody can know.
    pub(super) capacity: Msat,
    /// What each HTLC but the first takes of the capacity beside its amount.
    pub(super) htlc_cost: Msat,
    pub(super) cltv_delta: CltvDelta,
    pub(super) fee_base: Msat,
    pub(super) fee_millionths: u32,
}

impl Edge {
    pub(super) fn fee(&self, amount: Msat) -> Option<Msat> {
        self.fee_base.checked_add(amount.checked_millionths(self.fee_millionths)?)
    }
}

/// Directions by channel and start.
type ByDirection<T> = BTreeMap<(ShortChannelId, u32), T>;

/// All edges of one query.
pub(super) struct Edges<'a> {
    graph: &'a Graph,
    query: &'a RouteQuery,
    extra_numbers: BTreeMap<NodeId, u32>,
    extra_ids: Vec<NodeId>,
    /// Edges that are not in the graph, by the node that they lead to.
    extra: BTreeMap<u32, Vec<Edge>>,
    /// What failures of this payment have told of directions.
    learnt: ByDirection<LearntTerms>,
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
            learnt: BTreeMap::new(),
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
        edges.learnt = edges.by_direction(&query.learnt, |terms| (terms.channel, *terms));
        edges
    }

    /// Values of directions, by the numbers of a search; directions of unknown nodes lead nowhere.
    pub(super) fn by_direction<T, V>(
        &self,
        values: &[T],
        read: impl Fn(&T) -> (DirectedChannel, V),
    ) -> ByDirection<V> {
        let numbered = values.iter().map(read).filter_map(|(channel, value)| {
            let from = self.number(&channel.from)?;
            Some(((channel.scid, from), value))
        });
        numbered.collect()
    }

    fn add_first_hop(&mut self, hop: &FirstHop) {
        let (from, to) = (self.number_or_new(self.query.payer), self.number_or_new(hop.node));
        let edge = Edge {
            scid: hop.scid,
            from,
            minimum: hop.htlc_minimum,
            maximum: hop.sendable,
            capacity: hop.sendable,
            htlc_cost: hop.htlc_cost,
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
            capacity: Msat::MAX,
            htlc_cost: Msat::ZERO,
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

    pub(super) fn number(&self, id: &NodeId) -> Option<u32> {
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

    /// BOLT 7, of a node with unknown even feature bits: "MUST NOT route a payment _through_ the node".
    fn may_leave(&self, from: u32) -> bool {
        Some(from) == self.payer || self.graph.node_at(from).is_none_or(|node| node.forwards)
    }

    /// Every usable edge that leads to `node`.
    pub(super) fn for_each_into(&self, node: u32, mut take: impl FnMut(Edge)) {
        for edge in self.extra.get(&node).into_iter().flatten() {
            if self.may_leave(edge.from) {
                take(self.as_learnt(*edge, None));
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
                let edge = edge_of(channel.scid, from, policy, channel.capacity.map(Msat::from_amount));
                take(self.as_learnt(edge, Some(policy.timestamp)));
            }
        }
    }

    /// The edge with the terms that this payment has learnt, if they are newer than those of gossip. Nobody else sees
    /// them (RELIABILITY F13).
    fn as_learnt(&self, edge: Edge, gossiped: Option<u32>) -> Edge {
        if self.learnt.is_empty() {
            return edge;
        }
        match self.learnt.get(&(edge.scid, edge.from)) {
            Some(terms) if gossiped.is_none_or(|time| terms.timestamp > time) => Edge {
                minimum: terms.htlc_minimum,
                maximum: terms.htlc_maximum.min(edge.capacity),
                cltv_delta: terms.cltv_delta,
                fee_base: terms.fee_base,
                fee_millionths: terms.fee_proportional_millionths,
                ..edge
            },
            _ => edge,
        }
    }
}

fn edge_of(scid: ShortChannelId, from: u32, policy: &Policy, capacity: Option<Msat>) -> Edge {
    // A capacity that nobody looked up is at least what one HTLC may carry.
    let capacity = capacity.unwrap_or(policy.htlc_maximum);
    Edge {
        scid,
        from,
        minimum: policy.htlc_minimum,
        maximum: capacity.min(policy.htlc_maximum),
        capacity,
        htlc_cost: Msat::ZERO,
        cltv_delta: policy.cltv_delta,
        fee_base: policy.fee_base,
        fee_millionths: policy.fee_proportional_millionths,
    }
}
