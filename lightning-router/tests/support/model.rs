//! The rules of a path, written down a second time: an answer is held against them hop by hop, and small
//! networks are searched by trying every path.
#![allow(dead_code, reason = "each test takes what it needs")]

use std::collections::BTreeMap;

use lightning_traits::id::{NodeId, ShortChannelId};
use lightning_traits::route::{DirectedChannel, Path, Route, RouteQuery};
use lightning_traits::units::Msat;

/// One direction of a channel, in plain numbers.
#[derive(Clone, Debug)]
pub(crate) struct Edge {
    pub(crate) scid: ShortChannelId,
    pub(crate) from: NodeId,
    pub(crate) to: NodeId,
    pub(crate) minimum: u64,
    pub(crate) maximum: u64,
    /// What all HTLCs together may carry.
    pub(crate) capacity: u64,
    pub(crate) base: u64,
    pub(crate) millionths: u64,
    pub(crate) delta: u32,
}

impl Edge {
    /// BOLT 7: "fee_base_msat + ( amount_to_forward * fee_proportional_millionths / 1000000 )".
    fn fee(&self, carried: u64) -> u128 {
        u128::from(self.base) + u128::from(carried) * u128::from(self.millionths) / 1_000_000
    }
}

/// All edges that a query may use.
#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    edges: BTreeMap<(ShortChannelId, NodeId), Edge>,
    into: BTreeMap<NodeId, Vec<(ShortChannelId, NodeId)>>,
    /// What directions held at first.
    whole: BTreeMap<(ShortChannelId, NodeId), u64>,
}

/// What a path costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Price {
    pub(crate) fee: u64,
    pub(crate) delay: u32,
    pub(crate) hops: usize,
}

impl Model {
    pub(crate) fn new(edges: impl IntoIterator<Item = Edge>) -> Self {
        let mut model = Self::default();
        for edge in edges {
            model.into.entry(edge.to).or_default().push((edge.scid, edge.from));
            model.edges.insert((edge.scid, edge.from), edge);
        }
        model
    }

    /// Holds a path against every rule: that its channels exist and join, what each hop is paid and has time for, what
    /// each channel carries, and the limits of the question.
    pub(crate) fn check(&self, query: &RouteQuery, path: &Path) -> Result<Price, String> {
        self.check_part(query, query.amount, path)
    }

    /// The same for a route in parts: each keeps the rules, together they deliver the amount within the fee limit, and no
    /// channel carries more than it holds.
    pub(crate) fn check_route(&self, query: &RouteQuery, route: &Route) -> Result<Vec<Price>, String> {
        let require =
            |holds: bool, what: &str| if holds { Ok(()) } else { Err(format!("{what}: {route:?}")) };
        require(!route.paths.is_empty() && route.paths.len() <= usize::from(query.max_parts), "the parts")?;
        let prices: Result<Vec<_>, _> =
            route.paths.iter().map(|path| self.check_part(query, path.delivered(), path)).collect();
        let sum = |amounts: &mut dyn Iterator<Item = Msat>| Msat::checked_sum(amounts);
        let delivered = sum(&mut route.paths.iter().map(Path::delivered));
        require(delivered == Some(query.amount), "what arrives in all")?;
        let fees = sum(&mut route.paths.iter().map(Path::fee));
        require(fees.is_some_and(|fees| fees <= query.max_fee), "the fee limit of all")?;
        let mut carried: BTreeMap<_, u64> = BTreeMap::new();
        for path in &route.paths {
            let mut from = query.payer;
            for hop in &path.hops {
                *carried.entry((hop.scid, from)).or_default() += hop.amount.to_msat();
                from = hop.node;
            }
        }
        for (direction, carried) in carried {
            require(carried <= self.edges[&direction].capacity, "a channel that parts share")?;
        }
        prices
    }

    fn check_part(&self, query: &RouteQuery, amount: Msat, path: &Path) -> Result<Price, String> {
        let require = |holds: bool, what: &str| if holds { Ok(()) } else { Err(format!("{what}: {path:?}")) };
        require(!path.hops.is_empty() && path.hops.len() <= 20, "the number of hops")?;
        let mut node = query.payer;
        let mut seen = vec![node];
        let mut edges = Vec::new();
        for hop in &path.hops {
            let edge = self.edges.get(&(hop.scid, node));
            let edge = edge.ok_or_else(|| format!("no channel {} from {node}", hop.scid))?;
            require(edge.to == hop.node, "a channel leads elsewhere")?;
            require(!seen.contains(&hop.node), "a loop")?;
            let excluded = query.excluded.iter().any(|other| other.scid == hop.scid && other.from == node);
            require(!excluded, "an excluded direction")?;
            let carried = hop.amount.to_msat();
            require(edge.minimum <= carried && carried <= edge.maximum, "the limits of a channel")?;
            node = hop.node;
            seen.push(node);
            edges.push((edge, hop));
        }
        require(node == query.payee, "the end")?;
        let (_, last) = edges.last().expect("not empty");
        require(last.amount == amount, "what arrives")?;
        let expiry = query.height.get() + u32::from(query.final_cltv_delta.get());
        require(last.expiry.get() == expiry, "the final expiry")?;
        for pair in edges.windows(2) {
            let [(_, arriving), (edge, leaving)] = pair else { panic!("windows of two") };
            let fee = edge.fee(leaving.amount.to_msat());
            require(u128::from(arriving.amount.to_msat() - leaving.amount.to_msat()) == fee, "a fee")?;
            require(arriving.expiry.get() - leaving.expiry.get() == edge.delta, "a delta")?;
        }
        let first = &path.hops[0];
        let fee = first.amount.to_msat() - amount.to_msat();
        let delay = first.expiry.get() - query.height.get();
        require(fee <= query.max_fee.to_msat(), "the fee limit")?;
        require(delay <= query.max_total_cltv, "the limit of lock time")?;
        require(path.fee().to_msat() == fee, "what the path says of itself")?;
        Ok(Price { fee, delay, hops: path.hops.len() })
    }

    /// Takes something from what a direction holds; says which and what is left.
    pub(crate) fn shrink(
        &mut self,
        index: &proptest::sample::Index,
        amount: u64,
    ) -> Option<(DirectedChannel, u64)> {
        let keys: Vec<_> = self.edges.keys().copied().collect();
        if keys.is_empty() {
            return None;
        }
        let (scid, from) = *index.get(&keys);
        let edge = self.edges.get_mut(&(scid, from))?;
        self.whole.entry((scid, from)).or_insert(edge.maximum);
        edge.maximum = edge.maximum.saturating_sub(amount);
        edge.capacity = edge.capacity.saturating_sub(amount);
        Some((DirectedChannel { scid, from }, edge.maximum))
    }

    /// What was taken from a direction.
    pub(crate) fn used(&self, channel: DirectedChannel) -> u64 {
        let key = (channel.scid, channel.from);
        self.whole.get(&key).map_or(0, |whole| whole - self.edges[&key].maximum)
    }

    /// The prices of all paths without loops that carry the amount, whatever fee or lock time.
    pub(crate) fn all_paths(&self, query: &RouteQuery) -> Vec<Price> {
        let mut found = Vec::new();
        let delay = u32::from(query.final_cltv_delta.get());
        self.walk(query, query.amount.to_msat(), delay, &mut vec![query.payee], &mut found);
        found
    }

    fn walk(
        &self,
        query: &RouteQuery,
        amount: u64,
        delay: u32,
        way: &mut Vec<NodeId>,
        found: &mut Vec<Price>,
    ) {
        let end = way[way.len() - 1];
        if end == query.payer {
            found.push(Price { fee: amount - query.amount.to_msat(), delay, hops: way.len() - 1 });
            return;
        }
        for key in self.into.get(&end).into_iter().flatten() {
            let edge = &self.edges[key];
            let excluded = query.excluded.iter().any(|other| (other.scid, other.from) == *key);
            if excluded || way.contains(&edge.from) || amount < edge.minimum || amount > edge.maximum {
                continue;
            }
            let is_first = edge.from == query.payer;
            let fee = if is_first { 0 } else { edge.fee(amount) };
            let Ok(arriving) = u64::try_from(u128::from(amount) + fee) else { continue };
            way.push(edge.from);
            self.walk(query, arriving, delay + if is_first { 0 } else { edge.delta }, way, found);
            way.pop();
        }
    }
}
