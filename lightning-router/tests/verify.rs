//! Verification of gossip as a pure step: every signature, the order of keys, the chain.
//!
//! BOLT 7, "The `channel_announcement` Message", rules of the receiving node.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
mod support;

use bitcoin::constants::ChainHash;
use lightning_router::{GossipError, Unverified};
use lightning_traits::id::NodeId;
use lightning_traits::wire::{ChannelAnnouncement, Excess};
use support::{CHAIN, Signer, scid};

fn verify(announcement: ChannelAnnouncement) -> Result<(), GossipError> {
    Unverified(announcement).verify(&Signer::new().secp, CHAIN).map(|_| ())
}

#[test]
fn a_right_announcement_is_verified() {
    let announcement = Signer::new().announcement(scid(100, 1), "alice", "bob");
    assert_eq!(verify(announcement), Ok(()));
}

#[test]
fn each_of_the_four_signatures_is_checked() {
    let signer = Signer::new();
    let right = signer.announcement(scid(100, 1), "alice", "bob");
    let other = signer.announcement(scid(100, 2), "alice", "bob");
    let spoilt = [
        (
            ChannelAnnouncement { node_signature_1: other.node_signature_1, ..right.clone() },
            right.body.node_id_1,
        ),
        (
            ChannelAnnouncement { node_signature_2: other.node_signature_2, ..right.clone() },
            right.body.node_id_2,
        ),
        (
            ChannelAnnouncement { bitcoin_signature_1: other.bitcoin_signature_1, ..right.clone() },
            right.body.bitcoin_key_1,
        ),
        (
            ChannelAnnouncement { bitcoin_signature_2: other.bitcoin_signature_2, ..right.clone() },
            right.body.bitcoin_key_2,
        ),
        // A right signature in another's place.
        (
            ChannelAnnouncement { node_signature_1: right.bitcoin_signature_1, ..right.clone() },
            right.body.node_id_1,
        ),
    ];
    for (announcement, by) in spoilt {
        assert_eq!(verify(announcement), Err(GossipError::Signature(by)));
    }
}

#[test]
fn every_field_is_signed_and_so_is_what_follows_them() {
    let signer = Signer::new();
    let right = signer.announcement(scid(100, 1), "alice", "bob");
    let by = right.body.node_id_1;
    let mut longer = right.clone();
    longer.body.excess = Excess(vec![0]);
    let mut elsewhere = right.clone();
    elsewhere.body.short_channel_id = scid(100, 2);
    let mut abler = right.clone();
    abler.body.features.set_bit(1);
    for announcement in [longer, elsewhere, abler] {
        assert_eq!(verify(announcement), Err(GossipError::Signature(by)));
    }
    let mut body = signer.announcement_body(scid(100, 1), "alice", "bob");
    body.excess = Excess(vec![1, 2, 3]);
    assert_eq!(verify(signer.sign_announcement(body, "alice", "bob")), Ok(()), "fields of a later age");
}

#[test]
fn keys_in_the_wrong_order_or_equal_are_refused() {
    let signer = Signer::new();
    let mut right = signer.announcement(scid(100, 1), "alice", "bob");
    let mut body = right.body.clone();
    core::mem::swap(&mut body.node_id_1, &mut body.node_id_2);
    let digest = body.signed_hash();
    let [first, second] = signer.sorted("alice", "bob");
    right.node_signature_1 = signer.secp.sign_ecdsa(&digest, &support::secret(second));
    right.node_signature_2 = signer.secp.sign_ecdsa(&digest, &support::secret(first));
    right.body = body;
    assert_eq!(verify(right), Err(GossipError::NodeOrder));
    assert_eq!(verify(signer.announcement(scid(1, 1), "alice", "alice")), Err(GossipError::NodeOrder));
}

#[test]
fn another_chain_is_told_apart_before_any_signature() {
    let signer = Signer::new();
    let right = signer.announcement(scid(100, 1), "alice", "bob");
    let verified = Unverified(right).verify(&signer.secp, ChainHash::BITCOIN);
    assert_eq!(verified.map(|_| ()), Err(GossipError::OtherChain));
    let update = signer.update(scid(100, 1), "alice", "bob", |_| {});
    let verified = Unverified(update).verify(&signer.secp, ChainHash::BITCOIN, &signer.id("alice"));
    assert_eq!(verified.map(|_| ()), Err(GossipError::OtherChain));
}

#[test]
fn a_key_that_is_no_point_is_a_wrong_signature() {
    let signer = Signer::new();
    let mut body = signer.announcement_body(scid(100, 1), "alice", "bob");
    let nonsense = NodeId([0xff; 33]);
    body.node_id_2 = nonsense;
    let announcement = signer.sign_announcement(body, "alice", "bob");
    let verified = verify(announcement);
    assert!(matches!(verified, Err(GossipError::Signature(_))), "{verified:?}");
    let mut node = signer.node("alice", |_| {});
    node.body.node_id = nonsense;
    let verified = Unverified(node).verify(&signer.secp).map(|_| ());
    assert_eq!(verified, Err(GossipError::Signature(nonsense)));
}

#[test]
fn updates_and_nodes_are_signed_by_their_own_node() {
    let signer = Signer::new();
    let update = signer.update(scid(100, 1), "alice", "bob", |_| {});
    let verify =
        |by: &str| Unverified(update.clone()).verify(&signer.secp, CHAIN, &signer.id(by)).map(|_| ());
    assert_eq!(verify("alice"), Ok(()));
    assert_eq!(verify("bob"), Err(GossipError::Signature(signer.id("bob"))));
    let mut node = signer.node("alice", |_| {});
    assert!(Unverified(node.clone()).verify(&signer.secp).is_ok());
    node.body.timestamp += 1;
    assert_eq!(
        Unverified(node).verify(&signer.secp).map(|_| ()),
        Err(GossipError::Signature(signer.id("alice")))
    );
}
