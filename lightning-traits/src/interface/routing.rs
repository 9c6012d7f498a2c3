//! Gossip in, routes out.
use crate::feature::Features;
use crate::id::{NodeId, PaymentId};
use crate::route::{NoRoute, Route, RouteAnswer, RouteQuery, RouteReport};
use crate::wire::{Init, RoutingMessage};

/// Receives the messages of BOLT 7. What to relay and answer is polled through
/// [`MessageSendEventsProvider`](super::MessageSendEventsProvider).
pub trait RoutingMessageHandler {
    /// A connection is up.
    fn peer_connected(&self, peer: NodeId, init: &Init, inbound: bool);

    /// The connection is gone.
    fn peer_disconnected(&self, peer: NodeId);

    /// One gossip message or query of a peer.
    fn on_routing_message(&self, peer: NodeId, message: RoutingMessage);

    /// A message of our own making that is being broadcast: enters the graph like any other, without a look-up on chain.
    fn on_own_message(&self, message: &RoutingMessage);

    /// What was queued for `peer` has gone out, so there is room: more of a long answer may follow. What is
    /// queued beyond all bounds is dropped, so long answers go out in pieces of at most 64 KiB, one for each such call.
    fn gossip_has_room(&self, _peer: NodeId) {}

    /// Feature bits that the handler needs in `init`.
    fn features(&self) -> Features;
}

/// No gossip: what comes is not read, and none is sent.
impl RoutingMessageHandler for () {
    fn peer_connected(&self, _: NodeId, _: &Init, _: bool) {}

    fn peer_disconnected(&self, _: NodeId) {}

    fn on_routing_message(&self, _: NodeId, _: RoutingMessage) {}

    fn on_own_message(&self, _: &RoutingMessage) {}

    fn features(&self) -> Features {
        Features::empty()
    }
}

/// Finds routes, and learns from what became of them.
pub trait RouteFinder {
    /// Asks for a route. The answer may come at once or through [`RouteFinder::next_route`].
    fn find_route(&self, query: RouteQuery) -> RouteAnswer;

    /// The next late answer, by the payment that asked.
    fn next_route(&self) -> Option<(PaymentId, Result<Route, NoRoute>)>;

    /// Tells what became of a path.
    fn report(&self, report: RouteReport);
}
