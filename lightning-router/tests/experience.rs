//! What payments tell the router: failures that make a direction dearer; and what it uses for one payment only.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
mod support;

use lightning_router::{Router, UtxoCheck};
use lightning_traits::id::ShortChannelId;
use lightning_traits::interface::RouteFinder;
use lightning_traits::payment::PaymentHash;
use lightning_traits::route::{
    DirectedChannel, LearntTerms, Path, PathOutcome, RouteAnswer, RouteQuery, RouteReport,
};
use lightning_traits::units::{BlockHeight, CltvDelta, Msat};
use support::{NOW, Signer, add_channel, block, query, router, scid};

const AMOUNT: u64 = 10_000_000;

/// "us" - "bob", and two channels of "bob" and "carol", of which the second is a little dearer.
fn fork() -> Router {
    let (router, signer) = (router(UtxoCheck::Trusted), Signer::new());
    add_channel(&router, scid(1, 1), "us", "bob");
    add_channel(&router, scid(1, 2), "bob", "carol");
    add_channel(&router, scid(1, 3), "bob", "carol");
    support::give(
        &router,
        signer.update(scid(1, 3), "bob", "carol", |body| {
            body.timestamp += 1;
            body.fee_base_msat += 500;
        }),
    );
    block(&router, 700_000, NOW, &[]);
    router
}

fn find(router: &Router, query: RouteQuery) -> Path {
    let RouteAnswer::Ready(Ok(route)) = router.find_route(query) else { panic!("no route") };
    assert_eq!(route.paths.len(), 1);
    assert_eq!(router.next_route(), None);
    route.paths[0].clone()
}

fn way(router: &Router, amount: u64) -> ShortChannelId {
    find(router, query("us", "carol", amount)).hops[1].scid
}

fn report(router: &Router, path: Path, outcome: PathOutcome) {
    router.report(RouteReport { hash: PaymentHash([1; 32]), path, outcome });
}

fn failed_at(channel: usize) -> PathOutcome {
    PathOutcome::FailedAt { channel, temporary: true }
}

#[test]
fn a_direction_that_failed_is_doubted_by_amount_and_less_with_time() {
    let router = fork();
    let path = find(&router, query("us", "carol", AMOUNT));
    assert_eq!(path.hops[1].scid, scid(1, 2));
    report(&router, path, failed_at(1));
    assert_eq!(way(&router, AMOUNT), scid(1, 3));
    assert_eq!(way(&router, AMOUNT - 1), scid(1, 3), "nearly as much is nearly as unlikely");
    assert_eq!(way(&router, AMOUNT / 100), scid(1, 2), "much less may pass");
    let in_a = |blocks: u32| {
        block(&router, 700_000 + blocks, NOW, &[]);
        find(
            &router,
            RouteQuery { height: BlockHeight::new(700_000 + blocks), ..query("us", "carol", AMOUNT) },
        )
        .hops[1]
            .scid
    };
    assert_eq!(in_a(1), scid(1, 3));
    assert_eq!(in_a(144), scid(1, 2), "a day later nothing is left of it");
}

#[test]
fn what_was_carried_is_doubted_no_more() {
    // Given back by the payee, it had been carried all the way too.
    for carried in [PathOutcome::Delivered, PathOutcome::GivenBack] {
        let router = fork();
        let path = find(&router, query("us", "carol", AMOUNT));
        report(&router, path.clone(), failed_at(1));
        report(&router, path.clone(), PathOutcome::Unreadable);
        assert_eq!(way(&router, AMOUNT), scid(1, 3));
        report(&router, path, carried);
        assert_eq!(way(&router, AMOUNT), scid(1, 2));
    }
}

#[test]
fn what_one_direction_cannot_carry_the_other_can() {
    let router = fork();
    let back = |router: &Router| find(router, query("carol", "us", AMOUNT)).hops[0].scid;
    assert_eq!(back(&router), scid(1, 2));
    let path = find(&router, query("us", "carol", AMOUNT));
    assert_eq!(path.hops[1].scid, scid(1, 2));
    // Carol has all of the first channel, and of the second what the capacity promises.
    report(&router, path, failed_at(1));
    assert_eq!(back(&router), scid(1, 2));
    // What was paid over a channel is on its other side: it comes back for sure, and goes once more only perhaps.
    let path = find(&router, query("us", "carol", AMOUNT));
    assert_eq!(path.hops[1].scid, scid(1, 3));
    report(&router, path, PathOutcome::Delivered);
    assert_eq!(way(&router, AMOUNT), scid(1, 3));
}

#[test]
fn a_doubted_direction_is_used_when_there_is_no_other() {
    let router = fork();
    let path = find(&router, query("us", "bob", AMOUNT));
    report(&router, path.clone(), failed_at(0));
    assert_eq!(find(&router, query("us", "bob", AMOUNT)), path);
    let mut tight = query("us", "bob", AMOUNT);
    tight.max_fee = Msat::ZERO;
    assert_eq!(find(&router, tight), path, "doubt is no fee");
}

/// What a failure says of bob's terms on his first channel with carol.
fn learnt(timestamp: u32, fee_base: u64) -> LearntTerms {
    LearntTerms {
        channel: DirectedChannel { scid: scid(1, 2), from: Signer::new().id("bob") },
        timestamp,
        cltv_delta: CltvDelta::new(41),
        htlc_minimum: Msat::new(1),
        htlc_maximum: Msat::new(2 * AMOUNT),
        fee_base: Msat::new(fee_base),
        fee_proportional_millionths: 0,
    }
}

#[test]
fn f13_terms_out_of_a_failure_serve_one_question_and_leave_no_trace() {
    let router = fork();
    let (graph, relayed) = (router.snapshot(), support::relayed(&router).len());
    let asking = |terms: LearntTerms| {
        let question = RouteQuery { learnt: vec![terms], ..query("us", "carol", AMOUNT) };
        find(&router, question)
    };
    let usual = find(&router, query("us", "carol", AMOUNT));
    assert_eq!(asking(learnt(NOW, 1)), usual, "gossip is as new");
    let cheap = asking(learnt(NOW + 1, 1));
    assert_eq!((cheap.hops[1].scid, cheap.fee()), (scid(1, 2), Msat::new(1)));
    assert_eq!(cheap.hops[0].expiry.get(), 700_018 + 41);
    assert_eq!(asking(learnt(NOW + 1, 1_000_000)).hops[1].scid, scid(1, 3), "too dear now");
    let small = LearntTerms { htlc_maximum: Msat::new(AMOUNT - 1), ..learnt(NOW + 1, 1) };
    assert_eq!(asking(small).hops[1].scid, scid(1, 3));
    assert_eq!(find(&router, query("us", "carol", AMOUNT)), usual, "the next payment knows nothing of it");
    assert_eq!(router.snapshot(), graph);
    assert!(support::relayed(&router).is_empty(), "nor does anybody else: {relayed} before");
}

#[test]
fn a_report_that_makes_no_sense_is_harmless() {
    let router = fork();
    let path = find(&router, query("us", "carol", AMOUNT));
    for outcome in [failed_at(2), failed_at(usize::MAX), PathOutcome::Delivered] {
        report(&router, path.clone(), outcome.clone());
        report(&router, Path { hops: vec![] }, outcome);
    }
    assert_eq!(way(&router, AMOUNT), scid(1, 2));
}
