//! Questions of payments, and what they learn.
use lightning_traits::id::PaymentId;
use lightning_traits::interface::RouteFinder;
use lightning_traits::route::{NoRoute, Route, RouteAnswer, RouteQuery, RouteReport};
use lightning_traits::units::BlockHeight;

use super::{Router, State};
use crate::flat::FlatGraph;
use crate::search::Pathfinder;

impl RouteFinder for Router {
    fn find_route(&self, query: RouteQuery) -> RouteAnswer {
        let mut state = self.state.lock();
        let (flat, pathfinder) = state.paths();
        RouteAnswer::Ready(pathfinder.find_route(flat, &query))
    }

    fn next_route(&self) -> Option<(PaymentId, Result<Route, NoRoute>)> {
        None
    }

    fn report(&self, report: RouteReport) {
        let mut state = self.state.lock();
        let height = state.tip.map_or(BlockHeight::new(0), |(_, height)| height);
        let us = self.config.us;
        let (flat, pathfinder) = state.paths();
        pathfinder.report(flat, us, &report, height);
    }
}

impl State {
    /// The flat graph as the graph is now, and who answers questions about it.
    pub(super) fn paths(&mut self) -> (&FlatGraph, &mut Pathfinder) {
        if self.flat.follow(&mut self.graph) {
            self.pathfinder.on_new_numbers(&self.flat);
        }
        (&self.flat, &mut self.pathfinder)
    }
}
