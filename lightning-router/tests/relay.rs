//! What is passed on to other peers, and what is not (BOLT 7, "Rebroadcasting").
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
mod support;

use lightning_router::UtxoCheck;
use lightning_traits::interface::RoutingMessageHandler;
use lightning_traits::wire::{ChannelUpdateBody, Hostname, NodeAddress, RoutingMessage};
use support::{Signer, all_sent_to, connect, drain, filter, give, give_from, relayed, router, scid};

#[test]
fn an_announcement_waits_for_its_first_update() {
    let (router, signer) = (router(UtxoCheck::Trusted), Signer::new());
    let announcement = signer.announcement(scid(100, 1), "alice", "bob");
    give_from(&router, "one", announcement.clone());
    let node = signer.node("alice", |_| {});
    give_from(&router, "one", node.clone());
    assert_eq!(relayed(&router), [], "nobody wants a channel without an update, nor its nodes");
    let update = signer.update(scid(100, 1), "bob", "alice", |_| {});
    give_from(&router, "two", update.clone());
    let two = Some(signer.id("two"));
    let expected = [(announcement.into(), two), (update.into(), two), (node.into(), two)];
    assert_eq!(relayed(&router), expected);
    let update = signer.update(scid(100, 1), "alice", "bob", |_| {});
    give_from(&router, "one", update.clone());
    give_from(&router, "two", update.clone());
    assert_eq!(relayed(&router), [(update.into(), Some(signer.id("one")))], "once, by who told us first");
    let node = signer.node("alice", |body| body.timestamp += 1);
    give_from(&router, "one", node.clone());
    assert_eq!(relayed(&router), [(node.into(), Some(signer.id("one")))]);
}

#[test]
fn an_update_for_us_alone_is_used_and_goes_to_nobody() {
    let (router, signer) = (router(UtxoCheck::Trusted), Signer::new());
    give(&router, signer.announcement(scid(100, 1), "alice", "bob"));
    let private = signer.update(scid(100, 1), "alice", "bob", |body| {
        body.message_flags |= ChannelUpdateBody::DONT_FORWARD;
    });
    give(&router, private);
    assert_eq!(router.counts().policies, 1);
    assert_eq!(drain(&router), []);
    let peer = connect(&router, "reader");
    give_from(&router, "reader", filter(0, u32::MAX));
    assert_eq!(all_sent_to(&router, &peer).0, [], "nor with a dump");
}

#[test]
fn what_is_refused_is_not_relayed() {
    let (router, signer) = (router(UtxoCheck::Trusted), Signer::new());
    support::add_channel(&router, scid(100, 1), "alice", "bob");
    drain(&router);
    give(&router, signer.update(scid(100, 1), "alice", "bob", |_| {}));
    give(
        &router,
        signer.update(scid(100, 1), "alice", "bob", |body| {
            body.timestamp += 1;
            body.htlc_minimum_msat = lightning_traits::units::Msat::MAX;
        }),
    );
    give(&router, signer.node("carol", |_| {}));
    give(&router, signer.announcement(scid(100, 1), "alice", "bob"));
    assert_eq!(drain(&router), []);
}

#[test]
fn our_own_messages_are_left_to_whoever_broadcasts_them() {
    let (router, signer) = (router(UtxoCheck::Trusted), Signer::new());
    let own: [RoutingMessage; 3] = [
        signer.announcement(scid(100, 1), "us", "bob").into(),
        signer.update(scid(100, 1), "us", "bob", |_| {}).into(),
        signer.node("us", |_| {}).into(),
    ];
    own.iter().for_each(|message| router.on_own_message(message));
    assert_eq!(drain(&router), []);
    let peer = connect(&router, "reader");
    give_from(&router, "reader", filter(0, u32::MAX));
    assert_eq!(all_sent_to(&router, &peer).0, own, "but later comers are told");
    let theirs = signer.update(scid(100, 1), "bob", "us", |_| {});
    give(&router, theirs.clone());
    assert_eq!(
        relayed(&router),
        [(theirs.into(), Some(signer.id("peer")))],
        "the announcement was broadcast"
    );
}

#[test]
fn a_node_with_two_hostnames_is_kept_and_not_forwarded() {
    let (router, signer) = (router(UtxoCheck::Trusted), Signer::new());
    support::add_channel(&router, scid(100, 1), "alice", "bob");
    drain(&router);
    let dns = |name: &str| NodeAddress::Dns { hostname: Hostname::new(name).unwrap(), port: 9735 };
    give(
        &router,
        signer.node("alice", |body| body.addresses.known = vec![dns("a.example"), dns("b.example")]),
    );
    assert_eq!(drain(&router), []);
    let one = signer.node("bob", |body| body.addresses.known = vec![dns("b.example")]);
    give(&router, one.clone());
    assert_eq!(relayed(&router), [(one.clone().into(), Some(signer.id("peer")))]);
    let peer = connect(&router, "reader");
    give_from(&router, "reader", filter(0, u32::MAX));
    let nodes: Vec<_> =
        all_sent_to(&router, &peer).0.into_iter().filter(|message| message.type_id() == 257).collect();
    assert_eq!(nodes, [RoutingMessage::from(one)]);
}
