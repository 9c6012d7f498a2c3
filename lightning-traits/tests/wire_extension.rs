//! Extensions: unknown odd records survive, unknown even ones and malformed streams are refused (BOLT 1; RELIABILITY G3).
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

use lightning_traits::codec::DecodeError;
use lightning_traits::wire::Message;
use wire_samples::{Source, one_of_each};

/// Signed gossip keeps what follows as bytes; all other messages read it as records.
fn is_signed(type_id: u16) -> bool {
    (256..=258).contains(&type_id)
}

/// The shortest message of each type, and `tail` behind it.
fn with_tail(tail: &[u8]) -> Vec<(u16, Vec<u8>)> {
    let messages = one_of_each(&mut Source::least(3));
    assert_eq!(messages.len(), 50);
    messages.iter().map(|m| (m.type_id(), [&m.to_wire().unwrap()[..], tail].concat())).collect()
}

fn refused_everywhere_but_in_gossip(tail: &[u8], error: DecodeError) {
    for (type_id, bytes) in with_tail(tail) {
        let decoded = Message::decode(&bytes);
        if is_signed(type_id) {
            assert_eq!(decoded.unwrap().to_wire().unwrap(), bytes);
        } else {
            assert_eq!(decoded, Err(error), "type {type_id}");
        }
    }
}

#[test]
fn unknown_odd_records_are_kept_byte_for_byte() {
    for tail in
        [&[0xc9, 0][..], &[0xc9, 1, 0x2a, 0xcb, 1, 4], &[0xfd, 0xff, 0xff, 2, 7, 8, 0xfe, 0, 1, 0, 1, 0]]
    {
        for (type_id, bytes) in with_tail(tail) {
            assert_eq!(Message::decode(&bytes).unwrap().to_wire().unwrap(), bytes, "type {type_id}");
        }
    }
}

#[test]
fn unknown_even_record_is_refused() {
    refused_everywhere_but_in_gossip(&[0xca, 1, 0x2a], DecodeError::UnknownEvenRecord(0xca));
    // LND 10249: an even record behind an unknown odd one.
    refused_everywhere_but_in_gossip(&[0xc9, 0, 0xca, 0], DecodeError::UnknownEvenRecord(0xca));
}

#[test]
fn repeated_and_unordered_records_are_refused() {
    refused_everywhere_but_in_gossip(&[0xc9, 0, 0xc9, 0], DecodeError::RecordOrder(0xc9));
    refused_everywhere_but_in_gossip(&[0xcb, 0, 0xc9, 0], DecodeError::RecordOrder(0xc9));
}

#[test]
fn long_forms_of_type_and_length_are_refused() {
    refused_everywhere_but_in_gossip(&[0xfd, 0, 0xc9, 0], DecodeError::NotMinimal);
    refused_everywhere_but_in_gossip(&[0xc9, 0xfd, 0, 1, 0], DecodeError::NotMinimal);
}

#[test]
fn cut_records_are_refused() {
    refused_everywhere_but_in_gossip(&[0xc9], DecodeError::UnexpectedEnd);
    refused_everywhere_but_in_gossip(&[0xc9, 1], DecodeError::UnexpectedEnd);
    refused_everywhere_but_in_gossip(
        &[0xc9, 0xff, 255, 255, 255, 255, 255, 255, 255, 255],
        DecodeError::UnexpectedEnd,
    );
}

/// Known records of fixed length, one byte short and one byte long.
#[test]
fn known_records_of_wrong_length_are_refused() {
    let cases: [(u16, u8, usize); 22] = [
        (36, 1, 8),  // channel_ready: short_channel_id
        (39, 1, 16), // closing_signed: fee_range
        (40, 1, 64), // closing_complete: closer_output_only
        (40, 2, 64), // closee_output_only
        (40, 3, 64), // closer_and_closee_outputs
        (41, 1, 64), // closing_sig
        (41, 2, 64),
        (41, 3, 64),
        (64, 2, 0),   // open_channel2: require_confirmed_inputs
        (65, 2, 0),   // accept_channel2
        (66, 0, 32),  // tx_add_input: shared_input_txid
        (71, 0, 64),  // tx_signatures: shared_input_signature
        (72, 0, 8),   // tx_init_rbf: funding_output_contribution
        (72, 2, 0),   // require_confirmed_inputs
        (73, 0, 8),   // tx_ack_rbf
        (80, 2, 0),   // splice_init
        (81, 2, 0),   // splice_ack
        (127, 1, 2),  // start_batch: message_type
        (128, 0, 33), // update_add_htlc: path_key
        (132, 1, 32), // commitment_signed: funding_txid
        (136, 1, 33), // channel_reestablish: next_funding
        (136, 5, 33), // my_current_funding_locked
    ];
    let messages = with_tail(&[]);
    for (type_id, record, length) in cases {
        let (_, message) = messages.iter().find(|(t, _)| *t == type_id).unwrap();
        let decode =
            |value: &[u8]| Message::decode(&[&message[..], &[record, value.len() as u8], value].concat());
        // A generator point, which is also 64 bytes of signature or 32 of hash when cut or padded.
        let mut value = vec![0x02; 1];
        value.extend(secp256k1::constants::GENERATOR_X);
        value.resize(length, 0);
        assert!(decode(&value).is_ok(), "type {type_id} record {record}");
        let long = [&value[..], &[0]].concat();
        assert_eq!(decode(&long), Err(DecodeError::TrailingBytes), "type {type_id} record {record} long");
        if let Some((_, short)) = value.split_last() {
            assert_eq!(
                decode(short),
                Err(DecodeError::UnexpectedEnd),
                "type {type_id} record {record} short"
            );
        }
    }
    // attribution_data has 920 bytes: 20 hold times and 210 HMACs of 4 bytes each.
    for type_id in [130, 131] {
        let (_, message) = messages.iter().find(|(t, _)| *t == type_id).unwrap();
        for (length, ok) in [(919_u16, false), (920, true), (921, false)] {
            let value = vec![5; usize::from(length)];
            let bytes = [&message[..], &[1, 0xfd], &length.to_be_bytes(), &value].concat();
            assert_eq!(Message::decode(&bytes).is_ok(), ok, "type {type_id} length {length}");
        }
    }
}

/// Fields that must be a point of the curve or a signature are checked on decoding.
#[test]
fn invalid_points_and_signatures_are_refused() {
    let messages = with_tail(&[]);
    let find = |wanted: u16| messages.iter().find(|(t, _)| *t == wanted).unwrap().1.clone();
    let mut revoke = find(133);
    let at = 2 + 32 + 32;
    revoke[at..at + 33].fill(0xff);
    assert_eq!(Message::decode(&revoke), Err(DecodeError::InvalidPoint));
    let mut signed = find(35);
    let at = 2 + 32;
    signed[at..at + 32].fill(0xff);
    assert_eq!(Message::decode(&signed), Err(DecodeError::InvalidSignature));
    let mut stfu = find(2);
    stfu[34] = 2;
    assert_eq!(Message::decode(&stfu), Err(DecodeError::InvalidValue("bool")));
}
