//! Questions of payments, and what they learn.
use lightning_traits::codec::Decode as _;
use lightning_traits::id::{NodeId, PaymentId};
use lightning_traits::interface::RouteFinder;
use lightning_traits::route::{NoRoute, PathOutcome, Route, RouteAnswer, RouteQuery, RouteReport};
use lightning_traits::units::BlockHeight;
use lightning_traits::wire::ChannelUpdate;

use super::Router;
use crate::search::{Costs, find_path_with};

impl RouteFinder for Router {
    fn find_route(&self, query: RouteQuery) -> RouteAnswer {
        let costs = Costs {
            delay_millionths: self.config.delay_cost_millionths,
            failure_millionths: self.config.failure_cost_millionths,
        };
        let state = self.state.lock();
        let found = find_path_with(&state.graph, &query, costs, &state.experience);
        RouteAnswer::Ready(found.map(|path| Route { paths: alloc::vec![path] }))
    }

    fn next_route(&self) -> Option<(PaymentId, Result<Route, NoRoute>)> {
        None
    }

    fn report(&self, report: RouteReport) {
        let PathOutcome::FailedAt { channel, update, .. } = report.outcome else { return };
        if let Some(bytes) = update {
            // BOLT 4 puts the message with its type in front; some nodes leave the type out.
            let body = bytes.strip_prefix(&[0x01, 0x02]).unwrap_or(&bytes);
            if let Ok(update) = ChannelUpdate::from_bytes(body) {
                self.on_update(None, update);
            }
        }
        let hops = &report.path.hops;
        let from = match channel.checked_sub(1) {
            None => Some(self.config.us),
            Some(before) => hops.get(before).map(|hop| hop.node),
        };
        let (Some(from), Some(hop)) = (from, hops.get(channel)) else { return };
        let from: NodeId = from;
        let mut state = self.state.lock();
        let height = state.tip.map_or(BlockHeight::new(0), |(_, height)| height);
        state.experience.failed(hop.scid, from, hop.amount, height);
    }
}
