//! Routes on networks small enough to know the answer: amounts, limits, hints, our own channels, and the reason
//! why there is none.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
mod support;

use lightning_router::{Graph, Router, UtxoCheck, find_path};
use lightning_traits::id::{NodeId, ShortChannelId};
use lightning_traits::route::{DirectedChannel, FirstHop, HintHop, NoRoute, Path, RouteHint, RouteQuery};
use lightning_traits::units::{BlockHeight, CltvDelta, Msat};
use lightning_traits::wire::ChannelUpdateBody;
use support::{Signer, give, query, router, scid};

/// Terms of a direction: base fee, millionths, delta.
type Terms = (u32, u32, u16);

/// A channel whose first-named node asks `out`, and the other `back`.
fn channel(router: &Router, id: ShortChannelId, ends: [&str; 2], out: Terms, back: Terms) {
    let signer = Signer::new();
    let [one, two] = ends;
    give(router, signer.announcement(id, one, two));
    for (from, to, terms) in [(one, two, out), (two, one, back)] {
        give(router, signer.update(id, from, to, with(terms)));
    }
}

fn with((base, millionths, delta): Terms) -> impl FnOnce(&mut ChannelUpdateBody) {
    move |body| {
        body.fee_base_msat = base;
        body.fee_proportional_millionths = millionths;
        body.cltv_expiry_delta = CltvDelta::new(delta);
    }
}

/// "us" - "bob" - "carol", each hop for 1 sat and 100 millionths, 40 blocks.
fn line() -> Router {
    let router = router(UtxoCheck::Trusted);
    channel(&router, scid(1, 1), ["us", "bob"], (1_000, 100, 40), (1_000, 100, 40));
    channel(&router, scid(1, 2), ["bob", "carol"], (1_000, 100, 40), (1_000, 100, 40));
    router
}

fn find(router: &Router, query: &RouteQuery) -> Result<Path, NoRoute> {
    router.with_graph(|graph: &Graph| find_path(graph, query))
}

fn scids(path: &Path) -> Vec<ShortChannelId> {
    path.hops.iter().map(|hop| hop.scid).collect()
}

fn id(name: &str) -> NodeId {
    Signer::new().id(name)
}

fn first_hop(node: &str, number: u32, sendable: u64) -> FirstHop {
    FirstHop {
        node: id(node),
        scid: scid(900, number),
        htlc_minimum: Msat::new(1),
        sendable: Msat::new(sendable),
        htlc_cost: Msat::ZERO,
    }
}

fn hint(from: &str, number: u32) -> HintHop {
    HintHop {
        node: id(from),
        scid: scid(800, number),
        fee_base: Msat::new(7),
        fee_proportional_millionths: 0,
        cltv_delta: CltvDelta::new(9),
    }
}

/// BOLT 7, "Routing Example": A, B, C, D with the fees and deltas of that section; final delta 9.
#[test]
fn the_example_of_bolt_7() {
    let router = router(UtxoCheck::Trusted);
    let [a, b, c, d] = [(100, 1_000, 10), (200, 2_000, 20), (300, 3_000, 30), (400, 4_000, 40)];
    channel(&router, scid(1, 1), ["A", "B"], a, b);
    channel(&router, scid(1, 2), ["B", "C"], b, c);
    channel(&router, scid(1, 3), ["A", "D"], a, d);
    channel(&router, scid(1, 4), ["D", "C"], d, c);
    let mut query = query("A", "C", 4_999_999);
    query.final_cltv_delta = CltvDelta::new(9);
    query.height = BlockHeight::new(1_000);
    let path = find(&router, &query).unwrap();
    assert_eq!(scids(&path), [scid(1, 1), scid(1, 2)]);
    assert_eq!(path.sent(), Msat::new(5_010_198), "as the section says");
    assert_eq!(path.delivered(), Msat::new(4_999_999));
    assert_eq!(path.fee(), Msat::new(10_199));
    let expiries: Vec<_> = path.hops.iter().map(|hop| hop.expiry.get()).collect();
    assert_eq!(expiries, [1_029, 1_009]);
    query.excluded = vec![DirectedChannel { scid: scid(1, 2), from: id("B") }];
    let path = find(&router, &query).unwrap();
    assert_eq!(path.sent(), Msat::new(5_020_398));
    assert_eq!(path.hops[0].expiry.get(), 1_049);
    query.payee = id("B");
    query.excluded.clear();
    assert_eq!(find(&router, &query).unwrap().sent(), Msat::new(4_999_999), "our own channel is free");
}

#[test]
fn questions_that_make_no_sense() {
    let router = line();
    assert_eq!(find(&router, &query("us", "us", 1_000)), Err(NoRoute::Pointless));
    assert_eq!(find(&router, &query("us", "carol", 0)), Err(NoRoute::Pointless));
    let empty = support::router(UtxoCheck::Trusted);
    assert_eq!(find(&empty, &query("us", "carol", 5)), Err(NoRoute::UnknownPayee));
}

#[test]
fn a_payee_that_nobody_knows() {
    assert_eq!(find(&line(), &query("us", "dave", 1_000)), Err(NoRoute::UnknownPayee));
}

#[test]
fn no_channel_of_ours_carries_the_amount() {
    let router = line();
    let none = NoRoute::NoFirstHop { needed: Msat::new(1_000), sendable: Msat::ZERO };
    assert_eq!(find(&router, &query("nobody", "carol", 1_000)), Err(none));
    let mut query = query("us", "carol", 1_000);
    query.first_hops = vec![first_hop("bob", 1, 400), first_hop("bob", 2, 999)];
    let small = NoRoute::NoFirstHop { needed: Msat::new(1_000), sendable: Msat::new(999) };
    assert_eq!(find(&router, &query), Err(small));
}

#[test]
fn channels_that_are_too_small_or_too_proud() {
    let (router, signer) = (line(), Signer::new());
    let amount = 600_000_000;
    assert!(find(&router, &query("us", "carol", amount)).is_ok());
    let later = |change: fn(&mut ChannelUpdateBody), seconds: u32| {
        give(
            &router,
            signer.update(scid(1, 2), "bob", "carol", |body| {
                change(body);
                body.timestamp += seconds;
            }),
        );
        find(&router, &query("us", "carol", amount)).map(|_| ())
    };
    let none = Err(NoRoute::NoCapacity { amount: Msat::new(amount) });
    assert_eq!(later(|body| body.htlc_maximum_msat = Msat::new(599_999_999), 1), none);
    assert_eq!(later(|body| body.htlc_maximum_msat = Msat::new(600_000_000), 2), Ok(()));
    assert_eq!(later(|body| body.htlc_minimum_msat = Msat::new(600_000_001), 3), none);
    assert_eq!(later(|body| body.channel_flags |= ChannelUpdateBody::DISABLED, 4), none);
    assert_eq!(later(|_| {}, 5), Ok(()));
}

#[test]
fn too_expensive_names_the_least_fee() {
    let router = line();
    let mut query = query("us", "carol", 10_000_000);
    query.max_fee = Msat::new(2_000);
    assert_eq!(find(&router, &query).unwrap().fee(), Msat::new(2_000));
    query.max_fee = Msat::new(1_999);
    let why = NoRoute::TooExpensive { fee: Msat::new(2_000), limit: Msat::new(1_999) };
    assert_eq!(find(&router, &query), Err(why));
}

#[test]
fn too_slow_counts_the_final_delta() {
    let router = line();
    let mut query = query("us", "carol", 1_000);
    query.max_total_cltv = 58;
    assert_eq!(find(&router, &query).unwrap().hops[0].expiry.get(), 700_058);
    query.max_total_cltv = 57;
    assert_eq!(find(&router, &query), Err(NoRoute::TooSlow { limit: 57 }));
    query.max_total_cltv = 17;
    query.payee = id("bob");
    assert_eq!(find(&router, &query), Err(NoRoute::TooSlow { limit: 17 }), "not even the final delta");
}

#[test]
fn a_cheap_way_that_is_too_slow_does_not_hide_a_dear_one() {
    let router = line();
    channel(&router, scid(2, 1), ["bob", "dave"], (0, 0, 1_000), (0, 0, 1_000));
    channel(&router, scid(2, 2), ["dave", "carol"], (0, 0, 1_000), (0, 0, 1_000));
    channel(&router, scid(2, 3), ["carol", "eve"], (0, 0, 10), (0, 0, 10));
    let mut query = query("us", "eve", 1_000);
    query.max_total_cltv = 100;
    assert_eq!(scids(&find(&router, &query).unwrap()), [scid(1, 1), scid(1, 2), scid(2, 3)]);
}

#[test]
fn twenty_hops_and_no_more() {
    let router = router(UtxoCheck::Trusted);
    let name = |at: u32| if at == 0 { "us".to_owned() } else { format!("hop {at}") };
    for at in 0..21 {
        channel(&router, scid(1, at), [&name(at), &name(at + 1)], (1, 0, 1), (1, 0, 1));
    }
    let path = find(&router, &query("us", &name(20), 1_000)).unwrap();
    assert_eq!((path.hops.len(), path.fee()), (20, Msat::new(19)));
    let amount = Msat::new(1_000);
    assert_eq!(find(&router, &query("us", &name(21), 1_000)), Err(NoRoute::NoCapacity { amount }));
    // A dear bridge makes it short enough.
    channel(&router, scid(2, 1), ["hop 1", "hop 5"], (50_000, 0, 100), (50_000, 0, 100));
    let path = find(&router, &query("us", &name(21), 1_000)).unwrap();
    assert_eq!(path.hops.len(), 18);
}

#[test]
fn first_hops_replace_what_gossip_says_of_us() {
    let router = line();
    channel(&router, scid(3, 1), ["dave", "carol"], (9_000, 0, 40), (9_000, 0, 40));
    let mut query = query("us", "carol", 1_000);
    query.first_hops = vec![first_hop("dave", 1, 1_000_000)];
    assert_eq!(scids(&find(&router, &query).unwrap()), [scid(900, 1), scid(3, 1)]);
    query.first_hops.push(first_hop("bob", 2, 1_000_000));
    assert_eq!(scids(&find(&router, &query).unwrap()), [scid(900, 2), scid(1, 2)]);
    query.first_hops[1].htlc_minimum = Msat::new(5_000);
    assert_eq!(scids(&find(&router, &query).unwrap()), [scid(900, 1), scid(3, 1)]);
    query.first_hops[1].htlc_minimum = Msat::ZERO;
    query.first_hops[1].sendable = Msat::new(1_999);
    assert_eq!(scids(&find(&router, &query).unwrap()), [scid(900, 1), scid(3, 1)], "the fee must fit too");
    query.payee = id("zoe");
    query.first_hops = vec![first_hop("zoe", 3, 1_000)];
    let path = find(&router, &query).unwrap();
    assert_eq!((path.hops.len(), path.fee()), (1, Msat::ZERO), "a private peer that no gossip knows");
}

#[test]
fn hints_lead_to_nodes_that_no_gossip_knows() {
    let router = line();
    let mut query = query("us", "zoe", 1_000);
    query.hints = vec![RouteHint { hops: vec![hint("carol", 1), hint("yves", 2)] }];
    let path = find(&router, &query).unwrap();
    assert_eq!(scids(&path), [scid(1, 1), scid(1, 2), scid(800, 1), scid(800, 2)]);
    assert_eq!(
        path.hops.iter().map(|hop| hop.node).collect::<Vec<_>>(),
        ["bob", "carol", "yves", "zoe"].map(id)
    );
    assert_eq!(path.fee(), Msat::new(7 + 7 + 1_000), "a hundredth of a millisatoshi is nothing");
    assert_eq!(path.hops[0].expiry.get(), 700_000 + 18 + 9 + 9 + 40);
    query.excluded = vec![DirectedChannel { scid: scid(800, 2), from: id("yves") }];
    assert!(find(&router, &query).is_err());
}

#[test]
fn hostile_hints_do_no_harm() {
    let router = line();
    let mut query = query("us", "carol", 1_000);
    let greedy = HintHop { fee_base: Msat::MAX, fee_proportional_millionths: u32::MAX, ..hint("bob", 9) };
    let slow = HintHop { cltv_delta: CltvDelta::new(u16::MAX), fee_base: Msat::ZERO, ..hint("bob", 8) };
    query.hints = vec![
        RouteHint { hops: vec![] },
        RouteHint { hops: vec![hint("carol", 1)] },
        RouteHint { hops: vec![hint("x", 2), hint("y", 3), hint("x", 4)] },
        RouteHint { hops: vec![hint("us", 5), hint("us", 6)] },
        RouteHint { hops: vec![greedy; 100] },
        RouteHint { hops: vec![slow] },
    ];
    query.first_hops = vec![first_hop("bob", 1, 1_000_000)];
    let path = find(&router, &query).unwrap();
    assert_eq!(scids(&path), [scid(900, 1), scid(1, 2)], "our own channel is not what an invoice calls it");
    query.payee = id("zoe");
    query.hints.remove(1);
    let why = find(&router, &query).unwrap_err();
    assert!(matches!(why, NoRoute::TooExpensive { .. } | NoRoute::TooSlow { .. }), "{why:?}");
}

#[test]
fn a_hint_for_a_public_channel_is_older_than_gossip() {
    let router = line();
    let mut query = query("us", "carol", 1_000);
    let cheap = HintHop { scid: scid(1, 2), fee_base: Msat::ZERO, ..hint("bob", 0) };
    query.hints = vec![RouteHint { hops: vec![cheap] }];
    assert_eq!(find(&router, &query).unwrap().fee(), Msat::new(1_000));
    // An alias that happens to be the id of somebody's channel is another matter.
    query.payee = id("zoe");
    let path = find(&router, &query).unwrap();
    assert_eq!(scids(&path), [scid(1, 1), scid(1, 2)]);
    assert_eq!(path.hops[1].node, id("zoe"));
}

#[test]
fn what_demands_the_unknown_is_passed_by() {
    let (router, signer) = (router(UtxoCheck::Trusted), Signer::new());
    let mut body = signer.announcement_body(scid(1, 1), "us", "bob");
    body.features.set_bit(1_000);
    give(&router, signer.sign_announcement(body, "us", "bob"));
    for (from, to) in [("us", "bob"), ("bob", "us")] {
        give(&router, signer.update(scid(1, 1), from, to, |_| {}));
    }
    assert!(find(&router, &query("us", "bob", 1_000)).is_err(), "BOLT 7: MUST NOT route through the channel");
    let router = line();
    give(&router, signer.node("bob", |body| body.features.set_bit(1_000)));
    assert!(find(&router, &query("us", "carol", 1_000)).is_err(), "BOLT 7: MUST NOT route through the node");
    assert!(find(&router, &query("us", "bob", 1_000)).is_ok(), "to it, as its invoice says what it demands");
    give(
        &router,
        signer.node("bob", |body| {
            body.features.set_bit(1_001);
            body.timestamp += 1;
        }),
    );
    assert!(find(&router, &query("us", "carol", 1_000)).is_ok());
}

#[test]
fn of_two_ways_for_about_the_same_fee_the_quicker_is_taken() {
    let router = router(UtxoCheck::Trusted);
    channel(&router, scid(1, 1), ["us", "bob"], (0, 0, 40), (0, 0, 40));
    channel(&router, scid(1, 2), ["bob", "carol"], (1_000, 0, 1_000), (0, 0, 40));
    channel(&router, scid(1, 3), ["bob", "carol"], (1_010, 0, 40), (0, 0, 40));
    assert_eq!(scids(&find(&router, &query("us", "carol", 10_000_000)).unwrap()), [scid(1, 1), scid(1, 3)]);
}
