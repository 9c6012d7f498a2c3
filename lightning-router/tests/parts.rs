//! Routes in parts: when one path does not carry it all, and what parts must not do to each other.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
mod support;

use lightning_router::{Router, UtxoCheck};
use lightning_traits::id::{NodeId, ShortChannelId};
use lightning_traits::interface::RouteFinder;
use lightning_traits::route::{
    ChannelAmount, DirectedChannel, FirstHop, NoRoute, Route, RouteAnswer, RouteQuery,
};
use lightning_traits::units::Msat;
use support::{Signer, give, query, router, scid};

fn id(name: &str) -> NodeId {
    Signer::new().id(name)
}

/// A channel that carries `sat` in either direction, for a base fee.
fn channel(router: &Router, scid: ShortChannelId, ends: [&str; 2], sat: u64, fee: u32) {
    let signer = Signer::new();
    let [one, two] = ends;
    give(router, signer.announcement(scid, one, two));
    for (from, to) in [(one, two), (two, one)] {
        give(
            router,
            signer.update(scid, from, to, |body| {
                body.htlc_maximum_msat = Msat::from_sat(sat);
                body.fee_base_msat = fee;
                body.fee_proportional_millionths = 0;
            }),
        );
    }
}

/// "us" has a channel of `sats[i]` with each "mid i", which has one of the same size with "carol".
fn fan(sats: &[u64]) -> Router {
    let router = router(UtxoCheck::Trusted);
    for (at, sat) in sats.iter().enumerate() {
        let mid = format!("mid {at}");
        channel(&router, scid(1, at as u32), ["us", &mid], *sat, 1_000);
        channel(&router, scid(2, at as u32), [&mid, "carol"], *sat, 1_000);
    }
    router
}

fn ask(router: &Router, query: &RouteQuery) -> Result<Route, NoRoute> {
    match router.find_route(query.clone()) {
        RouteAnswer::Ready(answer) => answer,
        RouteAnswer::InProgress => panic!("the router answers at once"),
    }
}

fn in_parts(sat: u64, max_parts: u16) -> RouteQuery {
    RouteQuery { max_parts, ..query("us", "carol", sat * 1_000) }
}

fn delivered(route: &Route) -> Vec<u64> {
    let mut parts: Vec<_> = route.paths.iter().map(|path| path.delivered().to_msat()).collect();
    parts.sort_unstable();
    parts
}

#[test]
fn one_path_is_preferred_and_parts_are_made_only_when_they_may_be() {
    let router = fan(&[500, 500, 2_000]);
    assert_eq!(ask(&router, &in_parts(1_000, 16)).unwrap().paths.len(), 1);
    let none = Err(NoRoute::NoCapacity { amount: Msat::from_sat(2_400) });
    assert_eq!(ask(&router, &in_parts(2_400, 1)), none);
    let route = ask(&router, &in_parts(2_400, 2)).unwrap();
    assert_eq!(delivered(&route).iter().sum::<u64>(), 2_400_000);
    assert_eq!(route.paths.len(), 2);
}

#[test]
fn as_many_parts_as_are_needed_and_no_more_than_allowed() {
    let router = fan(&[1_000; 8]);
    for needed in 2..=8u16 {
        // A fee of 1 sat leaves each path a little less.
        let sat = u64::from(needed) * 999;
        let route = ask(&router, &in_parts(sat, needed)).unwrap();
        assert_eq!(route.paths.len(), usize::from(needed));
        assert!(ask(&router, &in_parts(sat + 1, needed)).is_err());
    }
    assert_eq!(
        ask(&router, &in_parts(9_000, 16)),
        Err(NoRoute::NoCapacity { amount: Msat::from_sat(9_000) })
    );
}

#[test]
fn parts_share_a_channel_only_as_far_as_it_holds() {
    let router = router(UtxoCheck::Trusted);
    channel(&router, scid(1, 1), ["us", "bob"], 900, 0);
    for at in 0..3 {
        channel(&router, scid(2, at), ["bob", "carol"], 400, 0);
    }
    // The bottleneck is our own channel: 900 in parts of at most 400.
    let parts = delivered(&ask(&router, &in_parts(900, 4)).unwrap());
    assert_eq!((parts.len(), parts.iter().sum::<u64>()), (3, 900_000), "{parts:?}");
    assert!(parts.iter().all(|part| *part <= 400_000), "{parts:?}");
    assert!(ask(&router, &in_parts(901, 4)).is_err());
}

#[test]
fn the_fee_limit_is_that_of_all_parts_together() {
    let router = fan(&[1_000, 1_000]);
    let mut query = in_parts(1_500, 4);
    query.max_fee = Msat::new(2_000);
    assert_eq!(ask(&router, &query).unwrap().paths.len(), 2);
    query.max_fee = Msat::new(1_999);
    assert!(ask(&router, &query).is_err());
}

#[test]
fn cheap_narrow_ways_are_found_where_the_wide_one_costs_too_much() {
    let router = fan(&[400, 400, 400]);
    channel(&router, scid(1, 9), ["us", "dear"], 900, 0);
    channel(&router, scid(2, 9), ["dear", "carol"], 900, 500_000);
    let mut query = in_parts(1_000, 8);
    query.max_fee = Msat::new(10_000);
    let route = ask(&router, &query).unwrap();
    assert_eq!((route.paths.len(), delivered(&route).iter().sum::<u64>()), (3, 1_000_000));
}

#[test]
fn our_own_channels_hold_what_they_can_send_less_the_cost_of_each_further_htlc() {
    let router = router(UtxoCheck::Trusted);
    for at in 0..2 {
        channel(&router, scid(2, at), ["bob", "carol"], 400, 0);
    }
    let first = |number: u32, sat: u64, cost: u64| FirstHop {
        node: id("bob"),
        scid: scid(900, number),
        htlc_minimum: Msat::new(1),
        sendable: Msat::from_sat(sat),
        htlc_cost: Msat::from_sat(cost),
    };
    let mut query = in_parts(700, 4);
    query.first_hops = vec![first(1, 701, 1)];
    let parts = delivered(&ask(&router, &query).unwrap());
    assert_eq!((parts.len(), parts.iter().sum::<u64>()), (2, 700_000), "{parts:?}");
    assert!(parts.iter().all(|part| *part <= 400_000), "{parts:?}");
    query.first_hops = vec![first(1, 701, 2)];
    assert!(ask(&router, &query).is_err(), "the second HTLC costs 2 sat");
    query.first_hops = vec![first(1, 350, 0), first(2, 350, 0)];
    assert_eq!(delivered(&ask(&router, &query).unwrap()), [350_000, 350_000]);
    query.first_hops = vec![first(1, 350, 0), first(2, 340, 0)];
    let why = NoRoute::NoFirstHop { needed: Msat::from_sat(700), sendable: Msat::from_sat(690) };
    assert_eq!(ask(&router, &query), Err(why));
}

fn on(at: u32, from: &str, sat: u64) -> ChannelAmount {
    let channel = DirectedChannel { scid: scid(2, at), from: id(from) };
    ChannelAmount { channel, amount: Msat::from_sat(sat) }
}

#[test]
fn what_the_payment_has_learnt_and_has_under_way_is_kept_to() {
    let router = fan(&[1_000, 1_000]);
    let mut query = in_parts(900, 4);
    assert_eq!(ask(&router, &query).unwrap().paths.len(), 1);
    query.limits = vec![on(0, "mid 0", 450), on(1, "mid 1", 450)];
    assert_eq!(delivered(&ask(&router, &query).unwrap()), [450_000, 450_000]);
    query.limits[0].amount = Msat::from_sat(449);
    assert!(ask(&router, &query).is_err());
    query.limits.clear();
    query.in_use = vec![on(0, "mid 0", 500), on(1, "mid 1", 600)];
    assert_eq!(delivered(&ask(&router, &query).unwrap()), [400_000, 500_000]);
    query.excluded = vec![query.in_use[0].channel];
    assert!(ask(&router, &query).is_err());
}

#[test]
fn no_crumb_is_left_over() {
    let router = router(UtxoCheck::Trusted);
    let signer = Signer::new();
    for at in 0..2 {
        channel(&router, scid(1, at), ["us", "carol"], 1_000, 0);
        for (from, to) in [("us", "carol"), ("carol", "us")] {
            give(
                &router,
                signer.update(scid(1, at), from, to, |body| {
                    body.timestamp += 1;
                    body.htlc_maximum_msat = Msat::from_sat(1_000);
                    body.htlc_minimum_msat = Msat::from_sat(10);
                }),
            );
        }
    }
    let parts = delivered(&ask(&router, &in_parts(1_001, 2)).unwrap());
    assert!(parts[0] >= 10_000, "{parts:?}");
}
