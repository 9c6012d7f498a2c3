//! A question in the numbers of the flat graph, and what it knows beyond that: private channels, own channels with live
//! balances, terms learnt, and what each edge can still carry.
//!
//! Nodes that only a hint or a private channel knows get numbers behind those of the graph, and such channels slots behind
//! those of the graph. Edges of the graph of which the question knows better are replaced by a copy.
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use lightning_traits::id::{NodeId, ShortChannelId};
use lightning_traits::route::{DirectedChannel, FirstHop, HintHop, LearntTerms, NoRoute, RouteQuery};
use lightning_traits::units::{BlockHeight, Msat};

use super::explain;
use crate::flat::{Edge, FlatGraph};
use crate::knowledge::Knowledge;

/// An edge that the graph does not have.
#[derive(Clone, Copy, Debug)]
struct Extra {
    to: u32,
    scid: ShortChannelId,
    edge: Edge,
    htlc_cost: u64,
}

/// What an edge can carry for this question.
#[derive(Clone, Copy, Debug)]
struct Known {
    /// The terms, with what one more HTLC can carry.
    edge: Edge,
    /// The most that one HTLC carries.
    maximum: u64,
    /// The most that all together carry.
    capacity: u64,
    /// What parts take of it: of this route, and those that are under way.
    used: u64,
    /// How many parts of this route do, and what each but the first takes beside its amount.
    parts: u64,
    htlc_cost: u64,
    /// What parts of this route may take of it at most, and what they take.
    limit: u64,
    taken: u64,
}

impl Known {
    fn refresh(&mut self) {
        let costs = self.htlc_cost.saturating_mul(self.parts);
        let left = self.capacity.saturating_sub(self.used).saturating_sub(costs);
        self.edge.maximum = self.maximum.min(left).min(self.limit.saturating_sub(self.taken));
    }
}

/// A set of small numbers.
#[derive(Clone, Debug, Default)]
pub(super) struct Marks(Vec<u64>);

impl Marks {
    pub(super) fn mark(&mut self, number: u32) {
        let word = (number >> 6) as usize;
        if self.0.len() <= word {
            self.0.resize(word.saturating_add(1), 0);
        }
        if let Some(word) = self.0.get_mut(word) {
            *word |= 1 << (number & 63);
        }
    }

    pub(super) fn has(&self, number: u32) -> bool {
        self.0.get((number >> 6) as usize).is_some_and(|word| word & (1 << (number & 63)) != 0)
    }
}

/// Everything that one question may use.
pub(super) struct Question<'a> {
    pub(super) flat: &'a FlatGraph,
    pub(super) knowledge: &'a Knowledge,
    pub(super) query: &'a RouteQuery,
    pub(super) payer: u32,
    pub(super) payee: u32,
    extra_numbers: BTreeMap<NodeId, u32>,
    extra_ids: Vec<NodeId>,
    /// Sorted by the node that they lead to.
    extra: Vec<Extra>,
    /// The start of each of them and its place, sorted.
    extra_out: Vec<(u32, u32)>,
    /// Nodes that an extra edge touches.
    touched: Marks,
    known: BTreeMap<u32, Known>,
    is_known: Marks,
}

impl<'a> Question<'a> {
    pub(super) fn new(
        flat: &'a FlatGraph,
        knowledge: &'a Knowledge,
        query: &'a RouteQuery,
    ) -> Result<Self, NoRoute> {
        if query.payer == query.payee || query.amount == Msat::ZERO {
            return Err(NoRoute::Pointless);
        }
        let mut question = Self {
            flat,
            knowledge,
            query,
            payer: 0,
            payee: 0,
            extra_numbers: BTreeMap::new(),
            extra_ids: Vec::new(),
            extra: Vec::new(),
            extra_out: Vec::new(),
            touched: Marks::default(),
            known: BTreeMap::new(),
            is_known: Marks::default(),
        };
        question.add_extra();
        match (question.number(&query.payer), question.number(&query.payee)) {
            (Some(payer), Some(payee)) => (question.payer, question.payee) = (payer, payee),
            (_, payee) => return Err(explain::without_end(query, payee)),
        }
        question.add_known();
        Ok(question)
    }

    fn add_extra(&mut self) {
        let query = self.query;
        for hop in &query.first_hops {
            self.add_first_hop(hop);
        }
        let payer = self.number(&query.payer);
        for hint in &query.hints {
            let ends = hint.hops.iter().skip(1).map(|hop| hop.node).chain([query.payee]);
            for (hop, end) in hint.hops.iter().zip(ends) {
                self.add_hint(hop, end, payer);
            }
        }
        self.extra.sort_by_key(|extra| extra.to);
        let starts = self.extra.iter().zip(0_u32..);
        self.extra_out = starts.map(|(extra, at)| (extra.edge.from, at)).collect();
        self.extra_out.sort_unstable();
        for extra in &self.extra {
            self.touched.mark(extra.to);
            self.touched.mark(extra.edge.from);
        }
    }

    fn add_first_hop(&mut self, hop: &FirstHop) {
        let (from, to) = (self.number_or_new(self.query.payer), self.number_or_new(hop.node));
        let edge = Edge {
            from,
            minimum: hop.htlc_minimum.to_msat(),
            maximum: hop.sendable.to_msat(),
            direction: u32::MAX,
            ..Edge::default()
        };
        self.extra.push(Extra { to, scid: hop.scid, edge, htlc_cost: hop.htlc_cost.to_msat() });
    }

    fn add_hint(&mut self, hop: &HintHop, end: NodeId, payer: Option<u32>) {
        // BOLT 11, field `r`: "`fee_base_msat` (32 bits, big-endian)". Whoever hands over more asks for what cannot be paid.
        let Ok(fee_base) = u32::try_from(hop.fee_base.to_msat()) else { return };
        let (from, to) = (self.number_or_new(hop.node), self.number_or_new(end));
        // What gossip says of a public channel is newer than what an invoice says. An alias may look like the id of
        // another channel.
        let public = self.flat.ends_of(hop.scid);
        let is_public = public == Some([from, to]) || public == Some([to, from]);
        // Our own channels are known better than gossip and invoices know them.
        let is_ours = !self.query.first_hops.is_empty() && Some(from) == payer;
        if is_public || is_ours || from == to {
            return;
        }
        let edge = Edge {
            from,
            maximum: u64::MAX,
            fee_base,
            fee_millionths: hop.fee_proportional_millionths,
            cltv_delta: hop.cltv_delta.get(),
            direction: u32::MAX,
            is_dead_end: self.flat.is_dead_end(from),
            ..Edge::default()
        };
        self.extra.push(Extra { to, scid: hop.scid, edge, htlc_cost: 0 });
    }

    /// What the question knows of edges beyond their terms.
    fn add_known(&mut self) {
        let query = self.query;
        for terms in &query.learnt {
            self.learn_terms(terms);
        }
        for limit in &query.limits {
            self.change(&limit.channel, |known| known.limit = limit.amount.to_msat());
        }
        for channel in &query.excluded {
            self.change(channel, |known| known.limit = 0);
        }
        for used in &query.in_use {
            self.change(&used.channel, |known| {
                known.used = known.used.saturating_add(used.amount.to_msat());
            });
        }
    }

    /// The terms that this payment has learnt, if they are newer than those of gossip. Nobody else sees them (RELIABILITY
    /// F13).
    fn learn_terms(&mut self, terms: &LearntTerms) {
        let gossiped =
            self.number(&terms.channel.from).and_then(|from| self.flat.slot_of(terms.channel.scid, from));
        let Ok(fee_base) = u32::try_from(terms.fee_base.to_msat()) else { return };
        if gossiped.is_some_and(|(_, timestamp)| terms.timestamp <= timestamp) {
            return;
        }
        self.change(&terms.channel, |known| {
            known.maximum = terms.htlc_maximum.to_msat().min(known.capacity);
            known.edge.minimum = terms.htlc_minimum.to_msat();
            known.edge.cltv_delta = terms.cltv_delta.get();
            known.edge.fee_base = fee_base;
            known.edge.fee_millionths = terms.fee_proportional_millionths;
        });
    }

    /// Every slot of a direction: an alias of our own channel may look like somebody's channel.
    fn change(&mut self, channel: &DirectedChannel, change: impl Fn(&mut Known)) {
        let Some(from) = self.number(&channel.from) else { return };
        let public = self.flat.slot_of(channel.scid, from).map(|(slot, _)| slot);
        let first = self.flat.edge_slots() as u32;
        let extra = (first..).zip(&self.extra);
        let private = extra.filter(|(_, extra)| extra.scid == channel.scid && extra.edge.from == from);
        let slots: Vec<u32> = private.map(|(slot, _)| slot).chain(public).collect();
        for slot in slots {
            self.change_slot(slot, &change);
        }
    }

    fn change_slot(&mut self, slot: u32, change: impl Fn(&mut Known)) {
        let Some((edge, capacity, htlc_cost)) = self.terms_of(slot) else { return };
        self.is_known.mark(slot);
        let known = self.known.entry(slot).or_insert_with(|| Known {
            edge,
            maximum: edge.maximum,
            capacity,
            used: 0,
            parts: 0,
            htlc_cost,
            limit: u64::MAX,
            taken: 0,
        });
        change(known);
        known.refresh();
    }

    /// An edge as it was before anything was known of it, what it holds, and what an HTLC costs there.
    fn terms_of(&self, slot: u32) -> Option<(Edge, u64, u64)> {
        match slot.checked_sub(self.flat.edge_slots() as u32) {
            Some(at) => {
                let extra = self.extra.get(at as usize)?;
                Some((extra.edge, extra.edge.maximum, extra.htlc_cost))
            }
            None => {
                let edge = *self.flat.edge(slot)?;
                Some((edge, self.flat.capacity_of(&edge).to_msat(), 0))
            }
        }
    }

    /// A part of the route takes these edges with these amounts.
    pub(super) fn take(&mut self, hops: impl IntoIterator<Item = (u32, u64)>) {
        for (slot, amount) in hops {
            self.change_slot(slot, |known| {
                known.used = known.used.saturating_add(amount);
                known.taken = known.taken.saturating_add(amount);
                known.parts = known.parts.saturating_add(1);
            });
        }
    }

    /// Parts of the route give back what they took.
    pub(super) fn give_back(&mut self, hops: impl IntoIterator<Item = (u32, u64)>) {
        for (slot, amount) in hops {
            self.change_slot(slot, |known| {
                known.used = known.used.saturating_sub(amount);
                known.taken = known.taken.saturating_sub(amount);
                known.parts = known.parts.saturating_sub(1);
            });
        }
    }

    pub(super) fn height(&self) -> BlockHeight {
        self.query.height
    }

    pub(super) fn node_count(&self) -> usize {
        self.flat.node_slots().saturating_add(self.extra_ids.len())
    }

    fn number(&self, id: &NodeId) -> Option<u32> {
        self.flat.node_number(id).or_else(|| self.extra_numbers.get(id).copied())
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

    pub(super) fn id_of(&self, number: u32) -> NodeId {
        let extra = (number as usize).checked_sub(self.flat.node_slots());
        let id = match extra {
            Some(at) => self.extra_ids.get(at).copied(),
            None => self.flat.node_id(number),
        };
        // Numbers come from this very structure, so there is one.
        id.unwrap_or(self.query.payee)
    }

    pub(super) fn scid_of(&self, slot: u32) -> Option<ShortChannelId> {
        match slot.checked_sub(self.flat.edge_slots() as u32) {
            Some(at) => self.extra.get(at as usize).map(|extra| extra.scid),
            None => self.flat.scid_of(self.flat.edge(slot)?.direction),
        }
    }

    /// An edge with what it can carry now.
    pub(super) fn edge(&self, slot: u32) -> Option<Edge> {
        if self.is_known.has(slot) {
            return self.known.get(&slot).map(|known| known.edge);
        }
        self.terms_of(slot).map(|(edge, _, _)| edge)
    }

    /// Whether more is known of an edge than its terms.
    pub(super) fn is_known(&self, slot: u32) -> bool {
        self.is_known.has(slot)
    }

    /// What all further parts together can carry over an edge, and what is used of it.
    pub(super) fn room(&self, slot: u32) -> (u64, u64) {
        if self.is_known.has(slot)
            && let Some(known) = self.known.get(&slot)
        {
            let left = known.capacity.saturating_sub(known.used);
            return (left.min(known.limit.saturating_sub(known.taken)), known.used);
        }
        self.terms_of(slot).map_or((0, 0), |(_, capacity, _)| (capacity, 0))
    }

    /// The nodes that an edge leaves and leads to.
    pub(super) fn ends_of(&self, slot: u32) -> Option<(u32, u32)> {
        match slot.checked_sub(self.flat.edge_slots() as u32) {
            Some(at) => self.extra.get(at as usize).map(|extra| (extra.edge.from, extra.to)),
            None => {
                let edge = self.flat.edge(slot)?;
                Some((edge.from, self.flat.end_of(edge)?))
            }
        }
    }

    /// How unlikely it is that an edge carries so much, in bits.
    pub(super) fn bits(&self, edge: &Edge, amount: u64) -> u32 {
        self.knowledge.bits(self.flat, edge, amount, self.query.height)
    }

    /// Whether an edge may be used at all: nobody forwards over a dead end, and our own channels are known better than
    /// gossip knows them.
    fn is_open(&self, edge: &Edge, is_extra: bool) -> bool {
        if edge.from == self.payer { is_extra || self.query.first_hops.is_empty() } else { !edge.is_dead_end }
    }

    /// Every usable edge that leads to `node`, by its slot.
    pub(super) fn for_each_into(&self, node: u32, mut take: impl FnMut(u32, &Edge)) {
        let (first, edges) = self.flat.into(node);
        for (slot, edge) in (first..).zip(edges) {
            if self.is_open(edge, false) {
                self.hand(slot, edge, &mut take);
            }
        }
        if self.touched.has(node) {
            let base = self.flat.edge_slots() as u32;
            let begin = self.extra.partition_point(|extra| extra.to < node);
            let those = (base.saturating_add(begin as u32)..).zip(self.extra.iter().skip(begin));
            for (slot, extra) in those.take_while(|(_, extra)| extra.to == node) {
                if self.is_open(&extra.edge, true) {
                    self.hand(slot, &extra.edge, &mut take);
                }
            }
        }
    }

    /// Every usable edge that leaves `node`: where it leads to, and its slot.
    pub(super) fn for_each_out(&self, node: u32, mut take: impl FnMut(u32, u32, &Edge)) {
        for out in self.flat.out(node) {
            let Some(edge) = self.flat.edge(out.slot) else { continue };
            if self.is_open(edge, false) {
                self.hand(out.slot, edge, &mut |slot, edge| take(out.to, slot, edge));
            }
        }
        if self.touched.has(node) {
            let base = self.flat.edge_slots() as u32;
            let begin = self.extra_out.partition_point(|(from, _)| *from < node);
            let those = self.extra_out.iter().skip(begin).take_while(|(from, _)| *from == node);
            for (_, at) in those {
                let Some(extra) = self.extra.get(*at as usize) else { continue };
                if self.is_open(&extra.edge, true) {
                    let slot = base.saturating_add(*at);
                    self.hand(slot, &extra.edge, &mut |slot, edge| take(extra.to, slot, edge));
                }
            }
        }
    }

    /// The edge, or what is better known of it.
    fn hand(&self, slot: u32, edge: &Edge, take: &mut impl FnMut(u32, &Edge)) {
        if self.is_known.has(slot)
            && let Some(known) = self.known.get(&slot)
        {
            take(slot, &known.edge);
        } else {
            take(slot, edge);
        }
    }
}
