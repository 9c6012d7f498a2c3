//! Our pathfinder.
use lightning_router::{FlatChannel, FlatGraph, Pathfinder, Policy};
use lightning_traits::id::PaymentId;
use lightning_traits::route::{NoRoute, Route, RouteQuery};
use lightning_traits::units::{BlockHeight, CltvDelta, Msat};

use super::data::{Network, Question, Terms};
use super::{Answer, FINAL_CLTV, MAX_CLTV, usual_fee_limit};

/// A channel as the flat graph takes it.
fn flat(network: &Network, channel: &super::data::Channel) -> FlatChannel {
    let policy = |terms: Terms| Policy {
        timestamp: 1,
        disabled: false,
        cltv_delta: CltvDelta::new(terms.delta),
        htlc_minimum: Msat::new(terms.minimum),
        htlc_maximum: Msat::new(terms.maximum),
        fee_base: Msat::new(u64::from(terms.base)),
        fee_proportional_millionths: terms.millionths,
    };
    FlatChannel {
        scid: channel.scid,
        nodes: channel.nodes.map(|node| network.nodes[node]),
        capacity: Some(Msat::from_sat(channel.capacity_sat)),
        directions: channel.directions.map(|terms| terms.map(policy)),
    }
}

/// The whole network.
#[must_use]
pub fn graph(network: &Network) -> FlatGraph {
    FlatGraph::build(network.channels.iter().map(|channel| flat(network, channel)))
}

/// A question without limits, for one path.
#[must_use]
pub fn query(network: &Network, question: &Question) -> RouteQuery {
    let (payer, payee) = (network.nodes[question.payer], network.nodes[question.payee]);
    RouteQuery::new(PaymentId([7; 32]), payer, payee, Msat::new(question.amount_msat))
}

/// The same with the limits that LDK sets by itself, in up to so many parts.
#[must_use]
pub fn usual_query(network: &Network, question: &Question, max_parts: u16) -> RouteQuery {
    RouteQuery {
        max_fee: Msat::new(usual_fee_limit(question.amount_msat)),
        final_cltv_delta: CltvDelta::new(FINAL_CLTV),
        max_total_cltv: MAX_CLTV,
        height: BlockHeight::new(800_000),
        max_parts,
        ..query(network, question)
    }
}

/// What it answers.
pub fn ask(pathfinder: &mut Pathfinder, graph: &FlatGraph, query: &RouteQuery) -> Option<Answer> {
    let answer: Result<Route, NoRoute> = pathfinder.find_route(graph, query);
    let route = answer.ok()?;
    Some(Answer {
        fee_msat: route.paths.iter().map(|path| path.fee().to_msat()).sum(),
        parts: route.paths.len(),
    })
}
