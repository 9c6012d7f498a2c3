//! What payments tell the router: failures that make a direction dearer, updates inside failure messages.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
mod support;

use lightning_router::{Router, UtxoCheck};
use lightning_traits::codec::Encode;
use lightning_traits::id::ShortChannelId;
use lightning_traits::interface::RouteFinder;
use lightning_traits::payment::PaymentHash;
use lightning_traits::route::{Path, PathOutcome, RouteAnswer, RouteQuery, RouteReport};
use lightning_traits::units::Msat;
use lightning_traits::wire::{ChannelUpdate, WireMessage};
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

fn failed_at(channel: usize, update: Option<Vec<u8>>) -> PathOutcome {
    PathOutcome::FailedAt { channel, temporary: true, update }
}

#[test]
fn a_direction_that_failed_is_doubted_for_that_amount_and_for_a_day() {
    let router = fork();
    let path = find(&router, query("us", "carol", AMOUNT));
    assert_eq!(path.hops[1].scid, scid(1, 2));
    report(&router, path, failed_at(1, None));
    assert_eq!(way(&router, AMOUNT), scid(1, 3));
    assert_eq!(way(&router, AMOUNT - 1), scid(1, 2), "less may pass");
    block(&router, 700_143, NOW, &[]);
    assert_eq!(way(&router, AMOUNT), scid(1, 3));
    block(&router, 700_144, NOW, &[]);
    assert_eq!(way(&router, AMOUNT), scid(1, 2));
}

#[test]
fn what_was_carried_is_doubted_no_more() {
    let router = fork();
    let path = find(&router, query("us", "carol", AMOUNT));
    report(&router, path.clone(), failed_at(1, None));
    report(&router, path.clone(), PathOutcome::Unreadable);
    assert_eq!(way(&router, AMOUNT), scid(1, 3));
    report(&router, path, PathOutcome::Delivered);
    assert_eq!(way(&router, AMOUNT), scid(1, 2));
}

#[test]
fn a_doubted_direction_is_used_when_there_is_no_other() {
    let router = fork();
    let path = find(&router, query("us", "bob", AMOUNT));
    report(&router, path.clone(), failed_at(0, None));
    assert_eq!(find(&router, query("us", "bob", AMOUNT)), path);
    let mut tight = query("us", "bob", AMOUNT);
    tight.max_fee = Msat::ZERO;
    assert_eq!(find(&router, tight), path, "doubt is no fee");
}

#[test]
fn an_update_inside_a_failure_is_verified_and_applied() {
    let (router, signer) = (fork(), Signer::new());
    let dearer = |seconds: u32, by: &str| -> ChannelUpdate {
        let mut flags = 0;
        signer.update(scid(1, 2), "bob", "carol", |body| flags = body.channel_flags);
        signer.update(scid(1, 2), by, "carol", |body| {
            body.timestamp += seconds;
            body.fee_base_msat = 50_000 + seconds;
            body.channel_flags = flags;
        })
    };
    let fee = || {
        router.with_graph(|graph| {
            let channel = graph.channel(scid(1, 2)).unwrap();
            channel.updates.iter().flatten().map(|update| update.body.fee_base_msat).max().unwrap()
        })
    };
    let path = find(&router, query("us", "carol", AMOUNT));
    let tell = |bytes: Vec<u8>| report(&router, path.clone(), failed_at(1, Some(bytes)));
    tell(dearer(9, "mallory").to_wire().unwrap());
    tell(vec![]);
    tell(vec![1, 2]);
    tell(vec![0xff; 200]);
    assert_eq!(fee(), 1_000);
    tell(dearer(1, "bob").to_wire().unwrap());
    assert_eq!(fee(), 50_001, "with the type, as BOLT 4 has it");
    tell(dearer(2, "bob").to_bytes());
    assert_eq!(fee(), 50_002, "and without");
    assert_eq!(support::relayed(&router).len(), 3 + 7, "what a payment taught us is told to nobody");
}

#[test]
fn a_report_that_makes_no_sense_is_harmless() {
    let router = fork();
    let path = find(&router, query("us", "carol", AMOUNT));
    for outcome in [failed_at(2, None), failed_at(usize::MAX, None), PathOutcome::Delivered] {
        report(&router, path.clone(), outcome.clone());
        report(&router, Path { hops: vec![] }, outcome);
    }
    assert_eq!(way(&router, AMOUNT), scid(1, 2));
}
