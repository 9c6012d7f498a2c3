//! What enters the graph, and when: look-ups on chain, updates, nodes (BOLT 7, rules of the receiving node).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
mod support;

use bitcoin::{Amount, ScriptBuf};
use lightning_router::{GraphCounts, Router, UtxoCheck};
use lightning_traits::feature::Features;
use lightning_traits::interface::RoutingMessageHandler;
use lightning_traits::units::Msat;
use lightning_traits::wire::{ChannelUpdate, ChannelUpdateBody, RoutingMessage};
use support::{
    CAPACITY, NOW, STALE, Signer, add_channel, block, connect, give, give_from, relayed, router, scid, utxo,
};

fn counts(nodes: usize, channels: usize, policies: usize) -> GraphCounts {
    GraphCounts { nodes, channels, policies }
}

/// A router with one channel of "alice" and "bob" in block 100, and no updates.
fn with_channel() -> (Router, Signer) {
    let (router, signer) = (router(UtxoCheck::Required), Signer::new());
    let announcement = signer.announcement(scid(100, 1), "alice", "bob");
    give(&router, announcement.clone());
    assert_eq!(router.next_utxo_query(), Some(scid(100, 1)));
    router.answer_utxo(scid(100, 1), Some(utxo(&announcement, CAPACITY)));
    (router, signer)
}

fn timestamp(router: &Router, from: &str, to: &str) -> Option<u32> {
    let direction = usize::from(Signer::new().sorted(from, to)[0] != from);
    router.with_graph(|graph| graph.channel(scid(100, 1))?.policy(direction).map(|policy| policy.timestamp))
}

#[test]
fn a_channel_enters_once_its_output_was_found() {
    let (router, signer) = (router(UtxoCheck::Required), Signer::new());
    let announcement = signer.announcement(scid(100, 1), "alice", "bob");
    give(&router, announcement.clone());
    give(&router, announcement.clone());
    assert_eq!(router.counts(), counts(0, 0, 0));
    assert_eq!(router.next_utxo_query(), Some(scid(100, 1)));
    assert_eq!(router.next_utxo_query(), None, "each is asked once");
    router.answer_utxo(scid(100, 1), Some(utxo(&announcement, CAPACITY)));
    assert_eq!(router.counts(), counts(2, 1, 0));
    router.with_graph(|graph| {
        let channel = graph.channel(scid(100, 1)).unwrap();
        assert_eq!(channel.capacity, Some(CAPACITY));
        assert_eq!(graph.nodes_of(channel), Some([announcement.body.node_id_1, announcement.body.node_id_2]));
    });
    give(&router, announcement);
    assert_eq!(router.next_utxo_query(), None, "a known channel is not asked for again");
}

#[test]
fn an_output_that_is_absent_or_of_other_keys_keeps_the_channel_out_until_the_next_block() {
    let (router, signer) = (router(UtxoCheck::Required), Signer::new());
    let announcement = signer.announcement(scid(100, 1), "alice", "bob");
    let mut stolen = utxo(&announcement, CAPACITY);
    stolen.output.script_pubkey =
        utxo(&signer.announcement(scid(100, 2), "alice", "bob"), CAPACITY).output.script_pubkey;
    let mut bare = utxo(&announcement, CAPACITY);
    bare.output.script_pubkey = ScriptBuf::new();
    for (at, answer) in [None, Some(stolen), Some(bare)].into_iter().enumerate() {
        give(&router, announcement.clone());
        assert_eq!(router.next_utxo_query(), Some(scid(100, 1)));
        router.answer_utxo(scid(100, 1), answer);
        assert_eq!(router.counts(), counts(0, 0, 0));
        give(&router, announcement.clone());
        assert_eq!(router.next_utxo_query(), None, "negative answers are remembered");
        block(&router, 200 + at as u32, NOW, &[]);
    }
    router.answer_utxo(scid(100, 1), Some(utxo(&announcement, CAPACITY)));
    assert_eq!(router.counts(), counts(0, 0, 0), "an answer to no question");
}

#[test]
fn a_channel_of_the_latest_blocks_waits_for_six_confirmations() {
    let (router, signer) = (router(UtxoCheck::Required), Signer::new());
    block(&router, 99, NOW, &[]);
    let announcement = signer.announcement(scid(100, 1), "alice", "bob");
    give(&router, announcement.clone());
    give(&router, signer.announcement(scid(1_000, 1), "alice", "bob"));
    for height in 100..105 {
        block(&router, height, NOW, &[]);
        assert_eq!(router.next_utxo_query(), None, "{} confirmations", height - 99);
    }
    block(&router, 105, NOW, &[]);
    assert_eq!(router.next_utxo_query(), Some(scid(100, 1)));
    router.answer_utxo(scid(100, 1), Some(utxo(&announcement, CAPACITY)));
    assert_eq!(router.counts(), counts(2, 1, 0));
}

#[test]
fn what_came_for_a_waiting_channel_is_applied_and_relayed_once_it_enters() {
    let (router, signer) = (router(UtxoCheck::Required), Signer::new());
    let announcement = signer.announcement(scid(100, 1), "alice", "bob");
    give(&router, announcement.clone());
    let old = signer.update(scid(100, 1), "alice", "bob", |body| body.timestamp -= 5);
    let new = signer.update(scid(100, 1), "alice", "bob", |_| {});
    let forged = signer.update(scid(100, 1), "mallory", "bob", |body| {
        body.timestamp += 9;
        body.channel_flags = new.body.channel_flags;
    });
    let node = signer.node("alice", |_| {});
    for _ in 0..20 {
        give(&router, forged.clone());
    }
    for update in [&old, &new, &old] {
        give(&router, update.clone());
    }
    give(&router, node.clone());
    give(&router, signer.node("carol", |_| {}));
    assert_eq!(relayed(&router), []);
    let _ = router.next_utxo_query();
    router.answer_utxo(scid(100, 1), Some(utxo(&announcement, CAPACITY)));
    assert_eq!(router.counts(), counts(2, 1, 1));
    let peer = Some(signer.id("peer"));
    let expected = [(announcement.into(), peer), (new.into(), peer), (node.into(), peer)];
    assert_eq!(relayed(&router), expected);
}

#[test]
fn a_flood_of_one_peer_neither_delays_nor_pushes_out_another() {
    let (router, signer) = (router(UtxoCheck::Required), Signer::new());
    for index in 0..40 {
        give_from(&router, "flooder", signer.announcement(scid(1, index), "mallory", "mallet"));
    }
    give_from(&router, "honest", signer.announcement(scid(500, 1), "alice", "bob"));
    let asked: Vec<_> = std::iter::from_fn(|| router.next_utxo_query()).take(2).collect();
    assert!(asked.contains(&scid(500, 1)), "{asked:?}");
}

#[test]
fn updates_need_the_channel_the_chain_and_the_signature() {
    let (router, signer) = with_channel();
    give(&router, signer.update(scid(100, 9), "alice", "bob", |_| {}));
    give(
        &router,
        signer.update(scid(100, 1), "alice", "bob", |body| {
            body.chain_hash = bitcoin::constants::ChainHash::BITCOIN;
        }),
    );
    let mut forged = signer.update(scid(100, 1), "alice", "bob", |_| {});
    forged.body.fee_base_msat = 0;
    give(&router, forged);
    let mut turned = signer.update(scid(100, 1), "alice", "bob", |body| body.channel_flags ^= 1);
    give(&router, turned.clone());
    assert_eq!(router.counts(), counts(2, 1, 0));
    turned.body.channel_flags ^= 1;
    give(&router, turned);
    assert_eq!(router.counts(), counts(2, 1, 0));
    give(&router, signer.update(scid(100, 1), "alice", "bob", |_| {}));
    assert_eq!(router.counts(), counts(2, 1, 1));
}

#[test]
fn only_a_newer_update_replaces_one() {
    let (router, signer) = with_channel();
    let at = |timestamp: u32, fee: u32| {
        signer.update(scid(100, 1), "alice", "bob", |body| {
            body.timestamp = timestamp;
            body.fee_base_msat = fee;
        })
    };
    let fee = || {
        router.with_graph(|graph| {
            let channel = graph.channel(scid(100, 1)).unwrap();
            [0, 1].iter().find_map(|side| channel.policy(*side)).unwrap().fee_base
        })
    };
    give(&router, at(NOW, 1));
    give(&router, at(NOW, 2));
    assert_eq!(fee(), Msat::new(1), "equal timestamps: the first stays");
    give(&router, at(NOW - 1, 3));
    assert_eq!(fee(), Msat::new(1));
    give(&router, at(NOW + 1, 4));
    assert_eq!(fee(), Msat::new(4));
    assert_eq!(timestamp(&router, "bob", "alice"), None, "the other direction is another's");
}

#[test]
fn timestamps_at_the_edges_are_refused() {
    let (router, signer) = with_channel();
    let at = |timestamp: u32| signer.update(scid(100, 1), "alice", "bob", |body| body.timestamp = timestamp);
    give(&router, at(0));
    assert_eq!(timestamp(&router, "alice", "bob"), None, "a timestamp is never zero");
    block(&router, 200, NOW, &[]);
    give(&router, at(u32::MAX));
    give(&router, at(NOW + STALE));
    give(&router, at(NOW - STALE));
    assert_eq!(timestamp(&router, "alice", "bob"), None, "too far ahead, or as good as pruned");
    give(&router, at(NOW + 86_400));
    assert_eq!(timestamp(&router, "alice", "bob"), Some(NOW + 86_400));
}

#[test]
fn limits_that_contradict_each_other_or_the_capacity_are_refused() {
    let (router, signer) = with_channel();
    let update = |change: fn(&mut ChannelUpdateBody)| signer.update(scid(100, 1), "alice", "bob", change);
    let capacity = 1_000_000_000;
    assert_eq!(Msat::from_amount(CAPACITY), Msat::new(capacity));
    give(&router, update(|body| body.htlc_maximum_msat = Msat::new(1_000_000_001)));
    give(&router, update(|body| body.htlc_maximum_msat = Msat::MAX));
    give(
        &router,
        update(|body| {
            body.htlc_minimum_msat = Msat::new(11);
            body.htlc_maximum_msat = Msat::new(10);
        }),
    );
    assert_eq!(router.counts(), counts(2, 1, 0));
    give(&router, update(|body| body.htlc_maximum_msat = Msat::new(1_000_000_000)));
    assert_eq!(router.counts(), counts(2, 1, 1));
}

#[test]
fn node_announcements_need_a_channel_a_newer_time_and_the_signature() {
    let (router, signer) = with_channel();
    give(&router, signer.node("carol", |_| {}));
    let mut forged = signer.node("alice", |_| {});
    forged.body.rgb_color = [0; 3];
    give(&router, forged);
    let known = |name: &str| {
        router.with_graph(|graph| graph.node(&signer.id(name)).and_then(|node| node.announcement.clone()))
    };
    assert_eq!(known("carol"), None);
    assert_eq!(known("alice"), None);
    let first = signer.node("alice", |_| {});
    let equal = signer.node("alice", |body| body.rgb_color = [9; 3]);
    let newer = signer.node("alice", |body| body.timestamp += 1);
    for (given, kept) in [(&first, &first), (&equal, &first), (&newer, &newer), (&first, &newer)] {
        give(&router, given.clone());
        assert_eq!(known("alice").as_ref(), Some(kept));
    }
}

#[test]
fn a_spent_channel_takes_only_updates_that_disable_it() {
    let (router, signer) = with_channel();
    block(&router, 200, NOW, &[support::outpoint(scid(100, 1))]);
    give(&router, signer.update(scid(100, 1), "alice", "bob", |_| {}));
    assert_eq!(timestamp(&router, "alice", "bob"), None);
    give(
        &router,
        signer.update(scid(100, 1), "alice", "bob", |body| {
            body.channel_flags |= ChannelUpdateBody::DISABLED;
        }),
    );
    assert_eq!(timestamp(&router, "alice", "bob"), Some(NOW));
}

#[test]
fn our_own_channel_enters_at_once_and_is_looked_up_for_its_output() {
    let (router, signer) = (router(UtxoCheck::Required), Signer::new());
    let own = signer.announcement(scid(100, 1), "us", "bob");
    router.on_own_message(&RoutingMessage::from(own.clone()));
    router.on_own_message(&signer.update(scid(100, 1), "us", "bob", |_| {}).into());
    assert_eq!(router.counts(), counts(2, 1, 1));
    assert_eq!(relayed(&router), [], "whoever broadcasts it tells the peers");
    assert_eq!(router.next_utxo_query(), Some(scid(100, 1)));
    router.answer_utxo(scid(100, 1), Some(utxo(&own, Amount::from_sat(7))));
    router.with_graph(|graph| {
        assert_eq!(graph.channel(scid(100, 1)).unwrap().capacity, Some(Amount::from_sat(7)));
    });
    block(&router, 200, NOW, &[support::outpoint(scid(100, 1))]);
    block(&router, 272, NOW, &[]);
    assert_eq!(router.counts(), counts(0, 0, 0), "its close is seen");
}

#[test]
fn our_own_announcement_overtakes_one_that_waits() {
    let (router, signer) = (router(UtxoCheck::Required), Signer::new());
    let own = signer.announcement(scid(100, 1), "us", "bob");
    give(&router, own.clone());
    give(&router, signer.update(scid(100, 1), "bob", "us", |_| {}));
    router.on_own_message(&RoutingMessage::from(own));
    router.on_own_message(&signer.update(scid(100, 1), "us", "bob", |_| {}).into());
    assert_eq!(router.counts(), counts(2, 1, 2));
}

/// What bob says of the channel with us and of himself, before we have announced it.
fn early(disconnect: bool) -> Router {
    let (router, signer) = (router(UtxoCheck::Required), Signer::new());
    connect(&router, "bob");
    connect(&router, "carol");
    let update = |fee| signer.update(scid(100, 1), "bob", "us", |body| body.fee_base_msat = fee);
    give_from(&router, "bob", update(1));
    let newer = signer.update(scid(100, 1), "bob", "us", |body| {
        body.timestamp += 1;
        body.fee_base_msat = 2;
    });
    give_from(&router, "bob", newer);
    give_from(&router, "bob", update(3));
    give_from(&router, "bob", signer.node("bob", |_| {}));
    // Others have nothing to say of it, and their forgery pushes nothing out.
    give_from(&router, "carol", signer.update(scid(100, 1), "carol", "us", |_| {}));
    assert_eq!(router.counts(), counts(0, 0, 0));
    if disconnect {
        router.peer_disconnected(signer.id("bob"));
    }
    router.on_own_message(&RoutingMessage::from(signer.announcement(scid(100, 1), "us", "bob")));
    router
}

#[test]
fn what_the_peer_says_before_our_announcement_is_kept() {
    let (router, signer) = (early(false), Signer::new());
    assert_eq!(router.counts(), counts(2, 1, 1));
    assert_eq!(timestamp(&router, "bob", "us"), Some(NOW + 1), "its latest");
    let relayed = relayed(&router);
    assert!(
        matches!(relayed[0].0, RoutingMessage::ChannelUpdate(_)),
        "the announcement was broadcast: {relayed:?}"
    );
    assert!(matches!(relayed[1].0, RoutingMessage::NodeAnnouncement(_)), "{relayed:?}");
    assert_eq!(relayed.len(), 2);
    assert!(relayed.iter().all(|(_, from)| *from == Some(signer.id("bob"))));
}

#[test]
fn what_the_peer_said_before_our_announcement_goes_with_it() {
    assert_eq!(early(true).counts(), counts(2, 1, 0));
}

#[test]
fn early_updates_are_verified_and_bounded() {
    let (router, signer) = (router(UtxoCheck::Required), Signer::new());
    connect(&router, "bob");
    let mut forged = signer.update(scid(100, 0), "bob", "us", |_| {});
    forged.body.fee_base_msat = 9;
    give_from(&router, "bob", forged);
    for tx in 1..40 {
        give_from(&router, "bob", signer.update(scid(100, tx), "bob", "us", |_| {}));
    }
    for tx in [0, 1, 39] {
        router.on_own_message(&RoutingMessage::from(signer.announcement(scid(100, tx), "us", "bob")));
    }
    // The forged one and the oldest are gone, the latest counts.
    assert_eq!(router.counts(), counts(2, 3, 1));
}

#[test]
fn trusted_peers_need_no_look_up() {
    let router = router(UtxoCheck::Trusted);
    add_channel(&router, scid(100, 1), "alice", "bob");
    assert_eq!(router.next_utxo_query(), None);
    assert_eq!(router.counts(), counts(2, 1, 2));
}

#[test]
fn hostile_fields_do_no_harm() {
    let (router, signer) = with_channel();
    let update: ChannelUpdate = signer.update(scid(100, 1), "alice", "bob", |body| {
        body.fee_base_msat = u32::MAX;
        body.fee_proportional_millionths = u32::MAX;
        body.htlc_minimum_msat = Msat::ZERO;
        body.message_flags = !ChannelUpdateBody::DONT_FORWARD;
        body.channel_flags |= 0xf0;
    });
    give(&router, update.clone());
    let kept = router
        .with_graph(|graph| graph.channel(scid(100, 1)).unwrap().updates.iter().flatten().next().cloned());
    assert_eq!(kept.as_ref(), Some(&update), "unknown flags survive");
    let mut body = signer.announcement_body(scid(0x00ff_ffff, 3), "x", "y");
    body.features = Features::from_be_bytes(vec![0xff; 900]);
    give(&router, signer.sign_announcement(body, "x", "y"));
    assert_eq!(router.next_utxo_query(), Some(scid(0x00ff_ffff, 3)));
}
