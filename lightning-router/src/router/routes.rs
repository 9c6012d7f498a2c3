//! Questions of payments, and what they learn.
use lightning_traits::id::PaymentId;
use lightning_traits::interface::RouteFinder;
use lightning_traits::route::{NoRoute, PathOutcome, Route, RouteAnswer, RouteQuery, RouteReport};
use lightning_traits::units::BlockHeight;

use super::Router;
use crate::search::{Costs, find_route};

impl RouteFinder for Router {
    fn find_route(&self, query: RouteQuery) -> RouteAnswer {
        let costs = Costs {
            delay_millionths: self.config.delay_cost_millionths,
            failure_millionths: self.config.failure_cost_millionths,
        };
        let state = self.state.lock();
        RouteAnswer::Ready(find_route(&state.graph, &query, costs, &state.experience))
    }

    fn next_route(&self) -> Option<(PaymentId, Result<Route, NoRoute>)> {
        None
    }

    fn report(&self, report: RouteReport) {
        let hops = &report.path.hops;
        let (reached, failed) = match report.outcome {
            PathOutcome::Delivered | PathOutcome::GivenBack => (hops.len(), None),
            PathOutcome::Unreadable => return,
            PathOutcome::FailedAt { channel, .. } => (channel, Some(channel)),
        };
        let starts = [self.config.us].into_iter().chain(hops.iter().map(|hop| hop.node));
        let mut state = self.state.lock();
        let height = state.tip.map_or(BlockHeight::new(0), |(_, height)| height);
        for (at, (from, hop)) in starts.zip(hops).enumerate() {
            if at < reached {
                state.experience.carried(hop.scid, from, hop.amount);
            } else if failed == Some(at) {
                state.experience.failed(hop.scid, from, hop.amount, height);
            }
        }
    }
}
