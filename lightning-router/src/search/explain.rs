//! Why there is no route: what was in the way, so that a user knows what would help.
use lightning_traits::route::{NoRoute, Path, RouteQuery};
use lightning_traits::units::Msat;

use super::edges::Edges;
use super::rooms::Rooms;
use super::{Aim, Experience, Finder, Part};

/// One end of the payment is in no graph.
pub(super) fn without_end(query: &RouteQuery, edges: &Edges<'_>) -> NoRoute {
    if edges.payee().is_none() { NoRoute::UnknownPayee } else { no_first_hop(query) }
}

/// Both ends are known, and nothing leads from one to the other within the limits: drops one limit after the other
/// until something does.
pub(super) fn without_path(finder: &Finder<'_>, rooms: &Rooms) -> NoRoute {
    let query = finder.query;
    if !query.first_hops.is_empty() && query.first_hops.iter().all(|hop| hop.sendable < query.amount) {
        return no_first_hop(query);
    }
    let part = Part { amount: query.amount, max_fee: Msat::MAX };
    let cheapest = Finder { experience: &Experience::default(), ..*finder };
    let search = |query: &RouteQuery, aims: &[Aim]| {
        aims.iter().find_map(|aim| cheapest.search(query, part, *aim, rooms))
    };
    if let Some(path) = search(query, &[Aim::FEES, Aim::Delay, Aim::Hops]) {
        return NoRoute::TooExpensive { fee: path.fee(), limit: query.max_fee };
    }
    let any_delay = RouteQuery { max_total_cltv: u32::MAX, ..query.clone() };
    if search(&any_delay, &[Aim::FEES, Aim::Hops]).is_some() {
        return NoRoute::TooSlow { limit: query.max_total_cltv };
    }
    NoRoute::NoCapacity { amount: query.amount }
}

/// Nor do several paths carry it together.
pub(super) fn without_parts(finder: &Finder<'_>, rooms: &Rooms) -> NoRoute {
    let query = finder.query;
    let sums = query.first_hops.iter().map(|hop| hop.sendable);
    let sendable = sums.fold(Msat::ZERO, Msat::saturating_add);
    match without_path(finder, rooms) {
        // Together our channels could.
        NoRoute::NoFirstHop { needed, .. } if sendable >= needed => NoRoute::NoCapacity { amount: needed },
        NoRoute::NoFirstHop { needed, .. } => NoRoute::NoFirstHop { needed, sendable },
        other => other,
    }
}

fn no_first_hop(query: &RouteQuery) -> NoRoute {
    let sendable = query.first_hops.iter().map(|hop| hop.sendable).max().unwrap_or(Msat::ZERO);
    NoRoute::NoFirstHop { needed: query.amount, sendable }
}

/// The search keeps to the limits label by label; this holds the answer itself against the question once more.
pub(super) fn check_limits(query: &RouteQuery, path: Path) -> Result<Path, NoRoute> {
    if path.fee() > query.max_fee {
        return Err(NoRoute::TooExpensive { fee: path.fee(), limit: query.max_fee });
    }
    let delay = path.hops.first().map_or(0, |hop| hop.expiry.blocks_left(query.height));
    if delay > query.max_total_cltv {
        return Err(NoRoute::TooSlow { limit: query.max_total_cltv });
    }
    Ok(path)
}
