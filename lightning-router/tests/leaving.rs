//! How channels leave the graph, and how the graph survives a restart (BOLT 7, "Pruning the Network View").
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
mod support;

use bitcoin::Network;
use bitcoin::hashes::{Hash as _, sha256};
use lightning_router::{Graph, GraphCounts, Router, RouterConfig, SnapshotError, UtxoCheck, find_path};
use lightning_traits::codec::DecodeError;
use lightning_traits::interface::{ChainListener, RoutingMessageHandler};
use lightning_traits::units::BlockHeight;
use lightning_traits::wire::RoutingMessage;
use support::{NOW, STALE, Signer, add_channel, block, config, give, outpoint, query, router, scid};

fn channels(router: &Router) -> usize {
    router.counts().channels
}

#[test]
fn a_spent_channel_carries_nothing_and_is_forgotten_after_72_blocks() {
    let router = router(UtxoCheck::Required);
    add_channel(&router, scid(100, 1), "us", "bob");
    add_channel(&router, scid(100, 2), "bob", "carol");
    let reaches = |to: &str| router.with_graph(|graph| find_path(graph, &query("us", to, 1_000)).is_ok());
    block(&router, 200, NOW, &[]);
    assert!(reaches("carol"));
    block(&router, 201, NOW, &[outpoint(scid(100, 2))]);
    assert!(!reaches("carol") && reaches("bob"));
    for height in 202..273 {
        block(&router, height, NOW, &[]);
        assert_eq!(channels(&router), 2, "{height}");
    }
    block(&router, 273, NOW, &[]);
    assert_eq!(router.counts(), GraphCounts { nodes: 2, channels: 1, policies: 2 });
}

#[test]
fn a_reorganisation_brings_a_spent_channel_back() {
    let router = router(UtxoCheck::Required);
    add_channel(&router, scid(100, 1), "us", "bob");
    block(&router, 200, NOW, &[]);
    let spend = block(&router, 201, NOW, &[outpoint(scid(100, 1))]);
    let empty = block(&router, 202, NOW, &[]);
    router.block_disconnected(&empty.header, BlockHeight::new(202));
    assert!(find(&router).is_err(), "the spend is still there");
    router.block_disconnected(&spend.header, BlockHeight::new(201));
    assert_eq!(router.best_block().unwrap().1, BlockHeight::new(200));
    assert!(find(&router).is_ok());
    for height in 201..300 {
        block(&router, height, NOW, &[]);
    }
    assert_eq!(channels(&router), 1);
}

#[test]
fn a_channel_whose_own_block_is_gone_carries_nothing() {
    let router = router(UtxoCheck::Required);
    add_channel(&router, scid(100, 1), "us", "bob");
    let tip = block(&router, 100, NOW, &[]);
    router.block_disconnected(&tip.header, BlockHeight::new(100));
    assert!(find(&router).is_err());
}

fn find(router: &Router) -> Result<lightning_traits::route::Path, lightning_traits::route::NoRoute> {
    router.with_graph(|graph| find_path(graph, &query("us", "bob", 1_000)))
}

#[test]
fn two_weeks_without_an_update_of_either_side_are_too_long() {
    let (router, signer) = (router(UtxoCheck::Trusted), Signer::new());
    block(&router, 199, NOW, &[]);
    add_channel(&router, scid(100, 1), "alice", "bob");
    add_channel(&router, scid(100, 2), "alice", "bob");
    // Only one side ever said anything of this one, and of the next nobody.
    give(&router, signer.announcement(scid(100, 3), "alice", "bob"));
    give(&router, signer.update(scid(100, 3), "alice", "bob", |_| {}));
    give(&router, signer.announcement(scid(100, 4), "alice", "bob"));
    block(&router, 200, NOW + STALE - 1, &[]);
    assert_eq!(channels(&router), 4);
    for (number, from, to) in
        [(1, "alice", "bob"), (2, "alice", "bob"), (2, "bob", "alice"), (3, "alice", "bob")]
    {
        give(&router, signer.update(scid(100, number), from, to, |body| body.timestamp += STALE - 1));
    }
    // The time of blocks is not quite monotonic.
    block(&router, 201, NOW, &[]);
    assert_eq!(channels(&router), 4);
    block(&router, 202, NOW + STALE, &[]);
    assert_eq!(channels(&router), 1, "one side of the others is silent");
    router.with_graph(|graph| assert!(graph.channel(scid(100, 2)).is_some()));
    block(&router, 203, NOW + 3 * STALE, &[]);
    assert_eq!(router.counts(), GraphCounts::default());
}

#[test]
fn what_came_before_the_first_block_is_not_old() {
    let router = router(UtxoCheck::Trusted);
    give(&router, Signer::new().announcement(scid(100, 4), "alice", "bob"));
    block(&router, 203, NOW, &[]);
    assert_eq!(channels(&router), 1);
}

#[test]
fn our_own_channel_stays_while_the_peer_is_away() {
    let (router, signer) = (router(UtxoCheck::Trusted), Signer::new());
    block(&router, 199, NOW, &[]);
    router.on_own_message(&RoutingMessage::from(signer.announcement(scid(100, 1), "us", "bob")));
    router.on_own_message(&signer.update(scid(100, 1), "us", "bob", |_| {}).into());
    block(&router, 200, NOW + 2 * STALE, &[]);
    assert_eq!(channels(&router), 1);
}

#[test]
fn slots_of_channels_that_are_gone_are_used_again() {
    let router = router(UtxoCheck::Required);
    for round in 0..5 {
        let id = scid(100, round);
        let (one, two) = (format!("one {round}"), format!("two {round}"));
        add_channel(&router, id, &one, &two);
        add_channel(&router, scid(50, round), &one, "hub");
        assert_eq!(
            router.with_graph(|graph| graph.node(&Signer::new().id(&one)).unwrap().id),
            Signer::new().id(&one)
        );
        let height = 1_000 + 100 * round;
        block(&router, height, NOW, &[outpoint(id), outpoint(scid(50, round))]);
        block(&router, height + 72, NOW, &[]);
        assert_eq!(router.counts(), GraphCounts::default());
    }
    assert_eq!(router.with_graph(|graph| graph.nodes().count()), 0);
}

fn restored(router: &Router) -> Router {
    Router::restore(config(UtxoCheck::Required), &router.snapshot()).unwrap()
}

#[test]
fn a_snapshot_holds_all_that_blocks_and_peers_told() {
    let (router, signer) = (router(UtxoCheck::Required), Signer::new());
    for at in 1..4 {
        add_channel(&router, scid(100, at), "alice", "bob");
    }
    give(&router, signer.announcement(scid(100, 4), "alice", "carol"));
    let _ = router.next_utxo_query();
    give(&router, signer.node("alice", |body| body.alias.0[0] = b'a'));
    block(&router, 200, NOW, &[outpoint(scid(100, 3))]);
    let second = restored(&router);
    assert_eq!(second.counts(), router.counts());
    assert_eq!(second.best_block(), router.best_block());
    assert_eq!(second.snapshot(), router.snapshot());
    for height in 201..272 {
        block(&second, height, NOW, &[]);
    }
    assert_eq!(channels(&second), 3);
    block(&second, 272, NOW, &[]);
    assert_eq!(channels(&second), 2, "the spend of the time before");
    block(&second, 273, NOW, &[outpoint(scid(100, 1))]);
    block(&second, 345, NOW, &[]);
    assert_eq!(channels(&second), 1, "outputs are still watched");
    let empty = Router::new(config(UtxoCheck::Required));
    assert_eq!(restored(&empty).counts(), GraphCounts::default());
}

#[test]
fn a_damaged_snapshot_is_refused_whatever_the_damage() {
    let router = router(UtxoCheck::Required);
    add_channel(&router, scid(100, 1), "alice", "bob");
    let bytes = router.snapshot();
    let restore = |bytes: &[u8]| Router::restore(config(UtxoCheck::Required), bytes).map(|_| ());
    for at in 0..bytes.len() {
        assert!(restore(&bytes[..at]).is_err(), "cut at {at}");
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << (at % 8);
        assert_eq!(restore(&flipped), Err(SnapshotError::Checksum), "flipped at {at}");
    }
    assert!(restore(&[bytes.clone(), vec![1]].concat()).is_err());
    let sealed = |body: &[u8]| [&sha256::Hash::hash(body).to_byte_array()[..], body].concat();
    let newer = sealed(&[&[2], &bytes[33..]].concat());
    assert_eq!(restore(&newer), Err(SnapshotError::Decode(DecodeError::UnknownVersion(2))));
    let other = RouterConfig::new(Network::Bitcoin, Signer::new().id("us"));
    assert_eq!(Router::restore(other, &bytes).map(|_| ()), Err(SnapshotError::OtherChain));
    assert_eq!(Graph::from_snapshot(&[]).map(|_| ()), Err(SnapshotError::Checksum));
    let huge = sealed(&[vec![1, 0xff], vec![0xff; 8]].concat());
    let refused = SnapshotError::Decode(DecodeError::UnexpectedEnd);
    assert_eq!(restore(&huge), Err(refused), "a length that no memory has");
}
