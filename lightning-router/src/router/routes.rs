//! Questions of payments, and what they learn.
use lightning_traits::codec::Decode as _;
use lightning_traits::id::PaymentId;
use lightning_traits::interface::RouteFinder;
use lightning_traits::route::{NoRoute, PathOutcome, Route, RouteAnswer, RouteQuery, RouteReport};
use lightning_traits::units::BlockHeight;
use lightning_traits::wire::{ChannelUpdate, WireMessage as _};

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
        let hops = &report.path.hops;
        let (reached, failed) = match report.outcome {
            PathOutcome::Delivered => (hops.len(), None),
            PathOutcome::Unreadable => return,
            PathOutcome::FailedAt { channel, update, .. } => {
                if let Some(update) = update.as_deref().and_then(channel_update) {
                    self.on_update(None, update);
                }
                (channel, Some(channel))
            }
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

/// The update in a failure message. BOLT 4 puts the message's type in front; some nodes leave it out.
fn channel_update(bytes: &[u8]) -> Option<ChannelUpdate> {
    let typed = bytes.strip_prefix(&ChannelUpdate::TYPE.to_be_bytes());
    typed
        .and_then(|body| ChannelUpdate::from_bytes(body).ok())
        .or_else(|| ChannelUpdate::from_bytes(bytes).ok())
}
