//! Every message type: encode and decode are inverse, and lengths are those of the BOLTs.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    unreachable_pub,
    dead_code,
    reason = "tests"
)]
mod wire_samples;

use lightning_traits::codec::{Decode as _, DecodeError, Encode as _};
use lightning_traits::wire::{
    ChannelAnnouncement, ChannelMessage, ChannelUpdate, MAX_MESSAGE_LEN, Message, NodeAnnouncement, Pong,
    RoutingMessage, TooLong, TxWitness, UnknownMessage, WireMessage as _,
};
use proptest::prelude::*;
use wire_samples::{Sample as _, Source, one_of_each};

/// Types, names and lengths of all fixed fields, added up from the text of BOLT 1, 2, 4 and 7.
const FIXED: [(u16, &str, usize); 50] = [
    (1, "warning", 34),
    (2, "stfu", 33),
    (7, "peer_storage", 2),
    (9, "peer_storage_retrieval", 2),
    (16, "init", 4),
    (17, "error", 34),
    (18, "ping", 4),
    (19, "pong", 2),
    (32, "open_channel", 319),
    (33, "accept_channel", 270),
    (34, "funding_created", 130),
    (35, "funding_signed", 96),
    (36, "channel_ready", 65),
    (38, "shutdown", 34),
    (39, "closing_signed", 104),
    (40, "closing_complete", 48),
    (41, "closing_sig", 48),
    (64, "open_channel2", 344),
    (65, "accept_channel2", 303),
    (66, "tx_add_input", 50),
    (67, "tx_add_output", 50),
    (68, "tx_remove_input", 40),
    (69, "tx_remove_output", 40),
    (70, "tx_complete", 32),
    (71, "tx_signatures", 66),
    (72, "tx_init_rbf", 40),
    (73, "tx_ack_rbf", 32),
    (74, "tx_abort", 34),
    (77, "splice_locked", 64),
    (80, "splice_init", 81),
    (81, "splice_ack", 73),
    (127, "start_batch", 34),
    (128, "update_add_htlc", 1450),
    (130, "update_fulfill_htlc", 72),
    (131, "update_fail_htlc", 42),
    (132, "commitment_signed", 98),
    (133, "revoke_and_ack", 97),
    (134, "update_fee", 36),
    (135, "update_fail_malformed_htlc", 74),
    (136, "channel_reestablish", 113),
    (256, "channel_announcement", 430),
    (257, "node_announcement", 140),
    (258, "channel_update", 136),
    (259, "announcement_signatures", 168),
    (261, "query_short_channel_ids", 34),
    (262, "reply_short_channel_ids_end", 33),
    (263, "query_channel_range", 40),
    (264, "reply_channel_range", 43),
    (265, "gossip_timestamp_filter", 40),
    (513, "onion_message", 35),
];

#[test]
fn known_types_and_fixed_lengths_are_those_of_the_bolts() {
    let messages = one_of_each(&mut Source::least(1));
    assert_eq!(messages.len(), FIXED.len());
    assert_eq!(Message::KNOWN_TYPES.len(), FIXED.len());
    for ((message, (type_id, name, length)), known) in messages.iter().zip(FIXED).zip(Message::KNOWN_TYPES) {
        let bytes = message.to_wire().unwrap();
        assert_eq!((message.type_id(), *known), (type_id, type_id), "{name}");
        assert_eq!(bytes.len(), 2 + length, "{name}");
        assert_eq!(Message::decode(&bytes).as_ref(), Ok(message), "{name}");
        // BOLT 1: "upon receiving a known message with insufficient length for the contents: MUST close the connection".
        for end in 2..bytes.len() {
            assert_eq!(
                Message::decode(&bytes[..end]),
                Err(DecodeError::UnexpectedEnd),
                "{name} cut at {end}"
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn random_messages_come_back_equal(seed in any::<u64>()) {
        for message in one_of_each(&mut Source::random(seed)) {
            let bytes = message.to_wire().unwrap();
            let back = Message::decode(&bytes).unwrap();
            prop_assert_eq!(&back, &message);
            prop_assert_eq!(back.to_wire().unwrap(), bytes);
        }
    }

    #[test]
    fn whatever_decodes_encodes_to_the_same_bytes(seed in any::<u64>()) {
        let mut source = Source::random(seed);
        for message in one_of_each(&mut source) {
            let mut bytes = message.to_wire().unwrap();
            for _ in 0..=source.below(3) {
                let at = 2 + source.below(bytes.len() - 2);
                match source.below(4) {
                    0 => bytes[at] = source.word() as u8,
                    1 => bytes[at] ^= 1 << source.below(8),
                    2 if bytes.len() > 3 => drop(bytes.remove(at)),
                    _ => bytes.push(source.word() as u8),
                }
            }
            if let Ok(back) = Message::decode(&bytes) {
                prop_assert_eq!(back.to_wire().unwrap(), bytes);
            }
        }
    }

    #[test]
    fn bytes_of_any_kind_do_not_panic(type_index in 0..50_usize, payload in proptest::collection::vec(any::<u8>(), 0..600)) {
        let bytes = [&FIXED[type_index].0.to_be_bytes()[..], &payload].concat();
        if let Ok(message) = Message::decode(&bytes) {
            prop_assert_eq!(message.to_wire().unwrap(), bytes);
        }
    }
}

#[test]
fn unknown_types_keep_type_and_payload() {
    for type_id in [0, 3, 20, 42, 300, 32_768, 65_535] {
        assert!(!Message::KNOWN_TYPES.contains(&type_id));
        let mut bytes = u16::to_be_bytes(type_id).to_vec();
        bytes.extend([1, 2, 3]);
        let message = Message::decode(&bytes).unwrap();
        let unknown = UnknownMessage { type_id, payload: vec![1, 2, 3] };
        assert_eq!(unknown.is_even(), type_id % 2 == 0);
        assert_eq!(message, unknown.into());
        assert_eq!(message.to_wire().unwrap(), bytes);
    }
    assert_eq!(Message::decode(&[]), Err(DecodeError::UnexpectedEnd));
    assert_eq!(Message::decode(&[0]), Err(DecodeError::UnexpectedEnd));
}

#[test]
fn longest_message_is_sent_and_one_byte_more_is_not() {
    let pong = |length: usize| Pong { ignored: vec![0; length], unknown: Default::default() };
    // BOLT 1: "the maximum sensible `byteslen` is 65531 - in order to account for the type field and the `byteslen` itself".
    let bytes = pong(65_531).to_wire().unwrap();
    assert_eq!(bytes.len(), MAX_MESSAGE_LEN);
    assert_eq!(Message::decode(&bytes), Ok(pong(65_531).into()));
    assert_eq!(pong(65_532).to_wire(), Err(TooLong { type_id: 19, length: 65_536 }));
    // A length that its own field cannot say is refused with the message.
    assert_eq!(pong(70_000).to_wire(), Err(TooLong { type_id: 19, length: 70_004 }));
    assert_eq!(Message::from(pong(70_000)).to_wire(), Err(TooLong { type_id: 19, length: 70_004 }));
}

#[test]
fn groups_take_their_messages_and_give_back_the_others() {
    let (mut channel, mut routing, mut others) = (0, 0, Vec::new());
    for message in one_of_each(&mut Source::random(7)) {
        let as_channel = ChannelMessage::try_from(message.clone());
        let as_routing = RoutingMessage::try_from(message.clone());
        match (as_channel, as_routing) {
            (Ok(member), Err(back)) => {
                channel += 1;
                assert_eq!(back, message);
                assert_eq!(member.type_id(), message.type_id());
                assert_eq!(member.to_wire(), message.to_wire());
                // The channel id is the first field of all of them, save where the chain comes first.
                let bytes = message.to_wire().unwrap();
                let at = if matches!(message.type_id(), 32 | 64) { 34 } else { 2 };
                assert_eq!(member.channel_id().0, bytes[at..at + 32]);
                assert_eq!(Message::from(member), message);
            }
            (Err(back), Ok(member)) => {
                routing += 1;
                assert_eq!(back, message);
                assert_eq!(member.type_id(), message.type_id());
                assert_eq!(member.to_wire(), message.to_wire());
                assert_eq!(Message::from(member), message);
            }
            (Err(_), Err(_)) => others.push(message.type_id()),
            (Ok(_), Ok(_)) => panic!("{} is in both groups", message.type_id()),
        }
    }
    assert_eq!((channel, routing), (34, 8));
    // warning, peer storage, init, error, ping, pong, onion_message
    assert_eq!(others, [1, 7, 9, 16, 17, 18, 19, 513]);
}

#[test]
fn signatures_of_gossip_cover_all_that_follows_them() {
    use bitcoin::hashes::{Hash as _, sha256d};
    let mut source = Source::random(9);
    for _ in 0..20 {
        let channel = ChannelAnnouncement::sample(&mut source);
        let node = NodeAnnouncement::sample(&mut source);
        let update = ChannelUpdate::sample(&mut source);
        // BOLT 7: the hash begins at offset 256 with four signatures in front, at 64 with one.
        for (bytes, offset, hash) in [
            (channel.to_bytes(), 256, channel.body.signed_hash()),
            (node.to_bytes(), 64, node.body.signed_hash()),
            (update.to_bytes(), 64, update.body.signed_hash()),
        ] {
            let expected = sha256d::Hash::hash(&bytes[offset..]);
            assert_eq!(hash, secp256k1::Message::from_digest(expected.to_byte_array()));
        }
    }
}

#[test]
fn witness_that_promises_more_than_it_has_does_not_decode() {
    // 4 million elements promised: refused by what is there, without memory for what is not.
    assert_eq!(TxWitness::from_bytes(&[0, 5, 0xfe, 0x00, 0x09, 0x3d, 0x00]), Err(DecodeError::UnexpectedEnd));
    assert_eq!(TxWitness::from_bytes(&[0, 3, 0xfd, 0xfc, 0x00]), Err(DecodeError::NotMinimal));
    assert_eq!(TxWitness::from_bytes(&[0, 2, 0x00, 0x00]), Err(DecodeError::TrailingBytes));
    assert_eq!(TxWitness::from_bytes(&[0, 3, 0x01, 0x02, 0x00]), Err(DecodeError::UnexpectedEnd));
    let two = TxWitness::from_bytes(&[0, 5, 0x02, 0x00, 0x02, 0xaa, 0xbb]).unwrap();
    assert_eq!(two.0.to_vec(), [vec![], vec![0xaa, 0xbb]]);
}
