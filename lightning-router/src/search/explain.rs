//! Why there is no route: what was in the way, so that a user knows what would help.
use lightning_traits::route::{NoRoute, Path, RouteQuery};
use lightning_traits::units::Msat;

use super::edges::Edges;
use super::{Aim, Experience, Search};

/// One end of the payment is in no graph.
pub(super) fn without_end(query: &RouteQuery, edges: &Edges<'_>) -> NoRoute {
    if edges.payee().is_none() { NoRoute::UnknownPayee } else { no_first_hop(query) }
}

/// Both ends are known, and nothing leads from one to the other within the limits: drops one limit after the other
/// until something does.
pub(super) fn without_path(query: &RouteQuery, edges: &Edges<'_>) -> NoRoute {
    if !query.first_hops.is_empty() && query.first_hops.iter().all(|hop| hop.sendable < query.amount) {
        return no_first_hop(query);
    }
    let any_fee = RouteQuery { max_fee: Msat::MAX, ..query.clone() };
    if let Some(path) = search_again(&any_fee, edges, &[Aim::FEES, Aim::Delay, Aim::Hops]) {
        return NoRoute::TooExpensive { fee: path.fee(), limit: query.max_fee };
    }
    let any_delay = RouteQuery { max_total_cltv: u32::MAX, ..any_fee };
    if search_again(&any_delay, edges, &[Aim::FEES, Aim::Hops]).is_some() {
        return NoRoute::TooSlow { limit: query.max_total_cltv };
    }
    NoRoute::NoCapacity { amount: query.amount }
}

fn no_first_hop(query: &RouteQuery) -> NoRoute {
    let sendable = query.first_hops.iter().map(|hop| hop.sendable).max().unwrap_or(Msat::ZERO);
    NoRoute::NoFirstHop { needed: query.amount, sendable }
}

fn search_again(query: &RouteQuery, edges: &Edges<'_>, aims: &[Aim]) -> Option<Path> {
    let (payer, payee) = (edges.payer()?, edges.payee()?);
    let experience = Experience::default();
    aims.iter().find_map(|aim| Search::new(query, edges, *aim, &experience).find(payer, payee))
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
