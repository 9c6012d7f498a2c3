//! What makes us hang up, and what the peer is told: BOLT 1 row by row.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
mod support;

use bitcoin::constants::ChainHash;
use lightning_peer::frame::FrameError;
use lightning_peer::{ConnectionId, Disconnect};
use lightning_traits::codec::DecodeError;
use lightning_traits::feature::{Feature, FeatureError, Features};
use lightning_traits::wire::{Init, Message, NodeAddress};
use proptest::prelude::*;
use support::{CUSTOM, Node, Raw, Told, custom, init};

proptest! {
    /// I9: whatever a peer says, encrypted or not, nothing panics, and what follows is one of the two ends.
    #[test]
    fn any_message_is_taken_or_refused(
        messages in prop::collection::vec((any::<u16>(), prop::collection::vec(any::<u8>(), 0..200)), 1..20),
        known in any::<bool>(),
    ) {
        let node = Node::new(1);
        let mut raw = Raw::connect(&node, ID, 2);
        let mut ended = false;
        for (type_id, payload) in messages {
            // Mostly types that exist: others are only ever odd or even.
            let types = Message::KNOWN_TYPES;
            let type_id = if known { types[usize::from(type_id) % types.len()] } else { type_id };
            let frame = raw.frame(&[type_id.to_be_bytes().as_slice(), &payload].concat());
            let outcome = node.manager.handle_bytes(ID, &frame);
            prop_assert!(!ended || outcome.is_err(), "ended is ended");
            ended |= outcome.is_err();
            node.manager.process_events();
        }
        prop_assert_eq!(ended, !node.manager.is_connected(raw.id));
        prop_assert_eq!(node.ends().len(), usize::from(ended));
    }

    #[test]
    fn any_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 50..300), ready in any::<bool>()) {
        let node = Node::new(1);
        if ready {
            Raw::connect(&node, ID, 2);
        } else {
            node.manager.accept_inbound(ID, None).unwrap();
        }
        prop_assert!(node.manager.handle_bytes(ID, &bytes).is_err());
        prop_assert_eq!(node.ends().len(), 1);
    }
}

const ID: ConnectionId = ConnectionId(1);

/// The text of the only message left: a warning.
fn last_warning(raw: &mut Raw, node: &Node) -> String {
    match raw.receive(node, ID).as_slice() {
        [Message::Warning(warning)] | [Message::Init(_), Message::Warning(warning)] => warning.text(),
        other => panic!("{other:?}"),
    }
}

/// Sends this instead of a good `init`; the node must hang up with a warning and tell no handler.
fn refused_init(node: &Node, first: &Message) -> (Disconnect, String) {
    let mut raw = Raw::call(node, ID, 2);
    let reason = raw.send(node, ID, first).unwrap_err();
    assert_eq!(node.ends(), [(ID, reason)]);
    assert_eq!(node.handlers.take(), []);
    assert!(!node.manager.is_connected(raw.id));
    (reason, last_warning(&mut raw, node))
}

#[test]
fn init_must_come_first() {
    let (reason, warning) = refused_init(&Node::new(1), &custom(CUSTOM + 1, b""));
    assert_eq!(reason, Disconnect::InitExpected(CUSTOM + 1));
    assert_eq!(warning, "the first message was of type 40001, not init");
}

#[test]
fn an_unknown_compulsory_bit_is_refused() {
    let (reason, warning) = refused_init(&Node::new(1), &init(&[0, 8, 12, 14, 44, 98]).into());
    assert_eq!(reason, Disconnect::Features(FeatureError::PeerRequires(98)));
    assert!(warning.contains("98"), "{warning}");
}

#[test]
fn a_compulsory_bit_in_globalfeatures_counts_too() {
    let old = Init { globalfeatures: Features::from_bits([40]), ..init(&[]) };
    let (reason, _) = refused_init(&Node::new(1), &old.into());
    assert_eq!(reason, Disconnect::Features(FeatureError::PeerRequires(40)));
}

#[test]
fn a_known_bit_that_we_do_not_offer_is_as_unknown_as_any() {
    let (reason, _) = refused_init(&Node::new(1), &init(&[28]).into());
    assert_eq!(reason, Disconnect::Features(FeatureError::PeerRequires(28)));
    let mut offered = Features::empty();
    offered.set_optional(28);
    let node = Node::with(1, offered, ChainHash::REGTEST);
    let mut raw = Raw::call(&node, ID, 2);
    raw.send(&node, ID, &init(&[28]).into()).unwrap();
    assert!(node.manager.is_connected(raw.id));
}

#[test]
fn a_peer_without_what_we_demand_is_refused() {
    let mut demanded = Features::empty();
    demanded.set_required(Feature::Anchors.required_bit());
    let node = Node::with(1, demanded.clone(), ChainHash::REGTEST);
    let (reason, _) = refused_init(&node, &init(&[0, 8, 12, 14, 44]).into());
    assert_eq!(reason, Disconnect::Features(FeatureError::PeerLacks(Feature::Anchors)));
    let node = Node::with(1, demanded, ChainHash::REGTEST);
    let mut raw = Raw::call(&node, ID, 2);
    raw.send(&node, ID, &init(&[13, 23]).into()).unwrap();
    assert!(node.manager.is_connected(raw.id));
}

#[test]
fn a_broken_dependency_is_refused() {
    let (reason, _) = refused_init(&Node::new(1), &init(&[17]).into());
    let expected =
        FeatureError::MissingDependency { feature: Feature::BasicMpp, needs: Feature::PaymentSecret };
    assert_eq!(reason, Disconnect::Features(expected));
}

#[test]
fn odd_bits_are_ignored_and_assumed_ones_not_demanded() {
    let node = Node::new(1);
    let mut raw = Raw::call(&node, ID, 2);
    raw.send(&node, ID, &init(&[99, 1001]).into()).unwrap();
    assert!(node.manager.is_connected(raw.id));
}

#[test]
fn another_network_is_refused_and_none_or_more_are_not() {
    let with = |chains: Option<Vec<ChainHash>>| Init { networks: chains, ..init(&[]) }.into();
    let (reason, warning) = refused_init(&Node::new(1), &with(Some(vec![ChainHash::BITCOIN])));
    assert_eq!((reason, warning.as_str()), (Disconnect::NoCommonChain, "no common chain"));
    for chains in [None, Some(vec![ChainHash::BITCOIN, ChainHash::REGTEST])] {
        let node = Node::new(1);
        let mut raw = Raw::call(&node, ID, 2);
        raw.send(&node, ID, &with(chains)).unwrap();
        assert!(node.manager.is_connected(raw.id));
    }
}

#[test]
fn an_init_that_does_not_decode_is_refused() {
    let node = Node::new(1);
    let mut raw = Raw::call(&node, ID, 2);
    // The length of `features` promises more than there is.
    let frame = raw.frame(&[0, 16, 0, 0, 0, 9, 1]);
    let expected = Disconnect::Undecodable { type_id: 16, error: DecodeError::UnexpectedEnd };
    assert_eq!(node.manager.handle_bytes(ID, &frame), Err(expected));
}

#[test]
fn a_second_init_is_refused() {
    let node = Node::new(1);
    let mut raw = Raw::connect(&node, ID, 2);
    assert_eq!(raw.send(&node, ID, &init(&[]).into()), Err(Disconnect::InitRepeated));
    assert_eq!(last_warning(&mut raw, &node), "a second init");
}

#[test]
fn unknown_odd_messages_are_ignored_and_even_ones_refused() {
    let node = Node::new(1);
    let mut raw = Raw::connect(&node, ID, 2);
    node.handlers.take();
    raw.send(&node, ID, &custom(50_001, b"anything")).unwrap();
    assert_eq!(node.handlers.take(), []);
    assert_eq!(raw.send(&node, ID, &custom(50_002, b"")), Err(Disconnect::UnknownEvenType(50_002)));
    assert_eq!(last_warning(&mut raw, &node), "unknown even message type 50002");
    assert_eq!(node.handlers.take(), [Told::Disconnected(raw.id), Told::RoutingDisconnected(raw.id)]);
}

#[test]
fn a_known_message_that_does_not_decode_is_refused() {
    let node = Node::new(1);
    let mut raw = Raw::connect(&node, ID, 2);
    let frame = raw.frame(&[0, 132, 1, 2, 3]);
    let expected = Disconnect::Undecodable { type_id: 132, error: DecodeError::UnexpectedEnd };
    assert_eq!(node.manager.handle_bytes(ID, &frame), Err(expected));
    assert!(last_warning(&mut raw, &node).contains("132"));
}

#[test]
fn a_wrong_tag_right_after_init_is_explained() {
    let node = Node::new(1);
    Raw::connect(&node, ID, 2);
    let reason = node.manager.handle_bytes(ID, &[7; 18]).unwrap_err();
    assert_eq!(reason, Disconnect::Frame { error: FrameError::BadLengthTag, after_init: true });
    assert!(node.logged("does not support one of our compulsory feature bits"));
    assert_eq!(node.transmit(ID), [], "nothing is said on a broken connection");
}

#[test]
fn a_wrong_tag_later_is_not() {
    let node = Node::new(1);
    let mut raw = Raw::connect(&node, ID, 2);
    raw.send(&node, ID, &custom(50_001, b"")).unwrap();
    let reason = node.manager.handle_bytes(ID, &[7; 18]).unwrap_err();
    assert_eq!(reason, Disconnect::Frame { error: FrameError::BadLengthTag, after_init: false });
    assert!(!node.logged("compulsory"));
}

#[test]
fn messages_behind_a_refused_one_are_not_handed_over() {
    let node = Node::new(1);
    let mut raw = Raw::connect(&node, ID, 2);
    node.handlers.take();
    let mut bytes = raw.frame(&custom(CUSTOM, b"good").to_wire().unwrap());
    bytes.extend(raw.frame(&custom(50_002, b"").to_wire().unwrap()));
    bytes.extend(raw.frame(&custom(CUSTOM, b"late").to_wire().unwrap()));
    node.manager.handle_bytes(ID, &bytes).unwrap_err();
    let told = node.handlers.take();
    assert_eq!(told.first(), Some(&Told::Custom(raw.id, CUSTOM, b"good".to_vec())));
    assert_eq!(told.len(), 3, "then only that it is gone: {told:?}");
}

#[test]
fn a_caller_from_a_public_address_is_told_it() {
    let node = Node::new(1);
    let address = NodeAddress::Ipv4 { address: [8, 8, 4, 4].into(), port: 40_123 };
    node.manager.accept_inbound(ID, Some(address.clone())).unwrap();
    let caller = Node::new(3);
    let act_one = caller.manager.connect_outbound(ID, node.key).unwrap();
    node.manager.handle_bytes(ID, &act_one).unwrap();
    support::carry((&node, ID), (&caller, ID), 7);
    assert_eq!(caller.manager.peers()[0].our_address, Some(address));
    assert_eq!(node.manager.peers()[0].our_address, None);
}
