//! Why there is no route: what was in the way, so that a user knows what would help.
use lightning_traits::route::{NoRoute, Path, Route, RouteQuery};
use lightning_traits::units::Msat;

use super::path::{Found, Hops};
use super::prices::{Aim, Prices};
use super::{Finder, Part};

/// One end of the payment is in no graph.
pub(super) fn without_end(query: &RouteQuery, payee: Option<u32>) -> NoRoute {
    if payee.is_none() { NoRoute::UnknownPayee } else { no_first_hop(query) }
}

/// Both ends are known, and nothing leads from one to the other within the limits: drops one limit after the other
/// until something does.
pub(super) fn without_path(finder: &mut Finder<'_>) -> NoRoute {
    let query = finder.question.query;
    if !query.first_hops.is_empty() && query.first_hops.iter().all(|hop| hop.sendable < query.amount) {
        return no_first_hop(query);
    }
    let any_fee = Part { max_fee: u64::MAX, ..finder.whole() };
    if let Some(hops) = first(finder, any_fee, &[Aim::Cost(Prices::FEES), Aim::Delay, Aim::Hops]) {
        let sent = hops.first().map_or(0, |(_, amount, _, _)| *amount);
        let fee = Msat::new(sent.saturating_sub(query.amount.to_msat()));
        return NoRoute::TooExpensive { fee, limit: query.max_fee };
    }
    let any_delay = Part { max_delay: u32::MAX, ..any_fee };
    if first(finder, any_delay, &[Aim::Cost(Prices::FEES), Aim::Hops]).is_some() {
        return NoRoute::TooSlow { limit: query.max_total_cltv };
    }
    NoRoute::NoCapacity { amount: query.amount }
}

/// The answer to the first of these aims that has one.
fn first(finder: &mut Finder<'_>, part: Part, aims: &[Aim]) -> Option<Hops> {
    aims.iter().find_map(|aim| match finder.search(part, *aim) {
        Found::Path(hops) => Some(hops),
        Found::Nothing { .. } => None,
    })
}

/// Nor do several paths carry it together.
pub(super) fn without_parts(finder: &mut Finder<'_>) -> NoRoute {
    let query = finder.question.query;
    let sums = query.first_hops.iter().map(|hop| hop.sendable);
    let sendable = sums.fold(Msat::ZERO, Msat::saturating_add);
    match without_path(finder) {
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
pub(super) fn check_limits(query: &RouteQuery, route: Route) -> Result<Route, NoRoute> {
    let fee = Msat::checked_sum(route.paths.iter().map(Path::fee)).unwrap_or(Msat::MAX);
    if fee > query.max_fee {
        return Err(NoRoute::TooExpensive { fee, limit: query.max_fee });
    }
    let first_hops = route.paths.iter().filter_map(|path| path.hops.first());
    let delay = first_hops.map(|hop| hop.expiry.blocks_left(query.height)).max().unwrap_or(0);
    if delay > query.max_total_cltv {
        return Err(NoRoute::TooSlow { limit: query.max_total_cltv });
    }
    Ok(route)
}
