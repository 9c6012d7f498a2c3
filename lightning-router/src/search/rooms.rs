//! What each edge can still carry: less what other parts of the payment take, and what the payment has learnt.
use alloc::collections::BTreeMap;

use lightning_traits::id::ShortChannelId;
use lightning_traits::route::{Path, RouteQuery};
use lightning_traits::units::Msat;

use super::edges::{Edge, Edges};

/// What is known of a direction beside its terms.
#[derive(Clone, Copy, Debug)]
struct Known {
    /// What parts take of it: of this route, and those that are under way.
    used: Msat,
    /// How many parts of this route do.
    parts: u64,
    /// What parts of this route may take of it at most.
    limit: Msat,
    /// What parts of this route take of it.
    taken: Msat,
}

impl Default for Known {
    fn default() -> Self {
        Self { used: Msat::ZERO, parts: 0, limit: Msat::MAX, taken: Msat::ZERO }
    }
}

/// All directions of which more is known than their terms.
#[derive(Clone, Debug)]
pub(super) struct Rooms {
    known: BTreeMap<(ShortChannelId, u32), Known>,
}

impl Rooms {
    /// What the question says.
    pub(super) fn new(query: &RouteQuery, edges: &Edges<'_>) -> Self {
        let mut known: BTreeMap<_, Known> = BTreeMap::new();
        for (direction, amount) in edges.by_direction(&query.limits, |limit| (limit.channel, limit.amount)) {
            known.entry(direction).or_default().limit = amount;
        }
        for (direction, ()) in edges.by_direction(&query.excluded, |channel| (*channel, ())) {
            known.entry(direction).or_default().limit = Msat::ZERO;
        }
        for (direction, amount) in edges.by_direction(&query.in_use, |used| (used.channel, used.amount)) {
            let entry = known.entry(direction).or_default();
            entry.used = entry.used.saturating_add(amount);
        }
        Self { known }
    }

    /// The most that one more HTLC can carry over the edge.
    pub(super) fn room(&self, edge: &Edge) -> Msat {
        if self.known.is_empty() {
            return edge.maximum;
        }
        let Some(known) = self.known.get(&(edge.scid, edge.from)) else { return edge.maximum };
        let costs = Msat::new(edge.htlc_cost.to_msat().saturating_mul(known.parts));
        let left = edge.capacity.saturating_sub(known.used).saturating_sub(costs);
        edge.maximum.min(left).min(known.limit.saturating_sub(known.taken))
    }

    /// A part of the route takes this path.
    pub(super) fn take(&mut self, edges: &Edges<'_>, payer: u32, path: &Path) {
        let mut from = Some(payer);
        for hop in &path.hops {
            if let Some(from) = from {
                let known = self.known.entry((hop.scid, from)).or_default();
                known.used = known.used.saturating_add(hop.amount);
                known.taken = known.taken.saturating_add(hop.amount);
                known.parts = known.parts.saturating_add(1);
            }
            from = edges.number(&hop.node);
        }
    }
}
