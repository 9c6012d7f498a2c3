//! Payloads of hops: what is required, what is refused and where, and what survives a round trip.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
use bitcoin::hex::FromHex as _;
use lightning_traits::codec::{DecodeError, TlvRecords};
use lightning_traits::id::ShortChannelId;
use lightning_traits::payment::{PaymentSecret, Preimage};
use lightning_traits::sphinx::{
    Failure, FinalPayload, ForwardPayload, HopPayload, PayloadError, PaymentData,
};
use lightning_traits::units::{CltvExpiry, Msat};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;

const FORWARD: bool = false;
const FINAL: bool = true;

fn refused(hex: &str, is_final: bool) -> (u64, u16, DecodeError) {
    let bytes = Vec::from_hex(hex).unwrap();
    let PayloadError { kind, offset, problem } = HopPayload::decode(&bytes, is_final, &[]).unwrap_err();
    (kind, offset, problem)
}

fn decoded(hex: &str, is_final: bool) -> HopPayload {
    HopPayload::decode(&Vec::from_hex(hex).unwrap(), is_final, &[]).unwrap()
}

#[test]
fn forward_payload_needs_amount_expiry_and_channel() {
    let payload = decoded("02013204010706080000000000000001", FORWARD);
    let expected = ForwardPayload {
        amount: Msat::new(50),
        expiry: CltvExpiry::new(7),
        short_channel_id: ShortChannelId(1),
        unknown: TlvRecords::new(),
    };
    assert_eq!(payload, HopPayload::Forward(expected));
    assert_eq!(refused("04010706080000000000000001", FORWARD), (2, 0, DecodeError::MissingRecord(2)));
    assert_eq!(refused("02013206080000000000000001", FORWARD), (4, 0, DecodeError::MissingRecord(4)));
    assert_eq!(refused("020132040107", FORWARD), (6, 0, DecodeError::MissingRecord(6)));
}

#[test]
fn unknown_even_record_is_named_with_its_offset() {
    let error = refused("0201320401070608000000000000000114020000", FORWARD);
    assert_eq!(error, (20, 16, DecodeError::UnknownEvenRecord(20)));
    // Odd ones stay.
    let HopPayload::Forward(payload) = decoded("0201320401070608000000000000000115020000", FORWARD) else {
        panic!("forward")
    };
    assert_eq!(payload.unknown.as_slice()[0].kind, 21);
    let bytes = Vec::from_hex("0201320401070608000000000000000114020000").unwrap();
    let failure = HopPayload::decode(&bytes, FORWARD, &[]).unwrap_err().failure();
    assert_eq!(failure, Failure::InvalidOnionPayload { kind: 20, offset: 16 });
}

#[test]
fn even_application_record_is_taken_when_understood() {
    let bytes = Vec::from_hex("020132040107fe0001000002abcd").unwrap();
    let error = HopPayload::decode(&bytes, FINAL, &[]).unwrap_err();
    assert_eq!((error.kind, error.offset), (65_536, 6));
    let HopPayload::Final(payload) = HopPayload::decode(&bytes, FINAL, &[65_536]).unwrap() else {
        panic!("final")
    };
    assert_eq!(payload.custom.as_slice()[0].value, [0xab, 0xcd]);
    // A list that names a record of BOLT 4's own range does not open it.
    let low = Vec::from_hex("0201320401071400").unwrap();
    assert_eq!(HopPayload::decode(&low, FINAL, &[20]).unwrap_err().kind, 20);
    // Understood is what the payee understands; a forwarding node is asked for nothing.
    let forwarded = Vec::from_hex("02013204010706080000000000000001fe0001000002abcd").unwrap();
    assert_eq!(HopPayload::decode(&forwarded, FORWARD, &[65_536]).unwrap_err().kind, 65_536);
}

#[test]
fn record_of_another_role_is_refused() {
    // payment_data at a forwarding node
    let payment_data = format!("0820{}", "11".repeat(32));
    let error = refused(&format!("02013204010706080000000000000001{payment_data}"), FORWARD);
    assert_eq!((error.0, error.1), (8, 16));
    // short_channel_id at the final node
    assert_eq!(refused("02013204010706080000000000000001", FINAL).0, 6);
    // current_path_key without encrypted_recipient_data
    let path_key = "0c21024d4b6cd1361032ca9bd2aeb9d900aa4d45d9ead80ac9423374c451a7254d0766";
    assert_eq!(refused(&format!("020132040107{path_key}"), FINAL).0, 12);
    // amt_to_forward at a blinded forwarding node
    assert_eq!(refused("0201320a02abcd", FORWARD).0, 2);
    // the final node of a blinded path needs all three
    assert_eq!(refused("0201320401070a02abcd", FINAL), (18, 0, DecodeError::MissingRecord(18)));
    assert!(matches!(decoded("0201320401070a02abcd120132", FINAL), HopPayload::Blinded(_)));
    // and nothing beside them, not even odd records
    assert_eq!(refused("0201320401070a02abcd1201321500", FINAL).0, 21);
}

#[test]
fn malformed_records_are_named() {
    assert_eq!(refused("02020032", FORWARD), (2, 0, DecodeError::NotMinimal));
    assert_eq!(refused("020132020133", FORWARD), (2, 3, DecodeError::RecordOrder(2)));
    assert_eq!(refused("0201320401070601", FORWARD), (6, 6, DecodeError::UnexpectedEnd));
    assert_eq!(refused("02013204010706", FORWARD), (6, 6, DecodeError::UnexpectedEnd));
    assert_eq!(refused("020132040107060100", FORWARD), (6, 6, DecodeError::UnexpectedEnd));
    assert_eq!(refused("0405010203040500", FORWARD), (4, 0, DecodeError::TrailingBytes));
    assert_eq!(refused("fd0002", FORWARD), (0, 0, DecodeError::NotMinimal));
    // A length of 2^64 - 1 allocates nothing (RELIABILITY G1).
    assert_eq!(refused("02ffffffffffffffffff", FORWARD).0, 2);
    let short_secret = format!("020132040107081f{}", "11".repeat(31));
    assert_eq!(refused(&short_secret, FINAL), (8, 6, DecodeError::UnexpectedEnd));
}

fn final_payload() -> impl Strategy<Value = FinalPayload> {
    (
        any::<(u64, u32)>(),
        option::of(any::<([u8; 32], u64)>()),
        option::of(vec(any::<u8>(), 0..50)),
        option::of(any::<[u8; 32]>()),
        btree_map(65_536u64.., vec(any::<u8>(), 0..20), 0..4),
    )
        .prop_map(|((amount, expiry), data, payment_metadata, keysend, records)| {
            let mut custom = TlvRecords::new();
            for (kind, value) in records {
                custom.put_raw(kind | 1, value);
            }
            FinalPayload {
                amount: Msat::new(amount),
                expiry: CltvExpiry::new(expiry),
                payment_data: data.map(|(secret, total)| PaymentData {
                    payment_secret: PaymentSecret::new(secret),
                    total: Msat::new(total),
                }),
                payment_metadata,
                keysend: keysend.map(Preimage::new),
                custom,
            }
        })
}

proptest! {
    #[test]
    fn final_payload_survives(payload in final_payload()) {
        let decoded = HopPayload::decode(&payload.to_bytes(), FINAL, &[]).unwrap();
        prop_assert_eq!(decoded, HopPayload::Final(payload));
    }

    #[test]
    fn forward_payload_survives(amount: u64, expiry: u32, channel: u64) {
        let payload = HopPayload::Forward(ForwardPayload {
            amount: Msat::new(amount),
            expiry: CltvExpiry::new(expiry),
            short_channel_id: ShortChannelId(channel),
            unknown: TlvRecords::new(),
        });
        prop_assert_eq!(HopPayload::decode(&payload.to_bytes(), FORWARD, &[]).unwrap(), payload);
    }

    #[test]
    fn what_decodes_encodes_to_the_same_bytes(
        records in btree_map(0u64..24, vec(any::<u8>(), 0..12), 0..6), is_final: bool, tail in vec(any::<u8>(), 0..4)
    ) {
        let mut stream = TlvRecords::new();
        for (kind, value) in records {
            stream.put_raw(kind, value);
        }
        let mut bytes = lightning_traits::codec::Encode::to_bytes(&stream);
        bytes.extend(tail);
        if let Ok(payload) = HopPayload::decode(&bytes, is_final, &[]) {
            prop_assert_eq!(payload.to_bytes(), bytes);
        }
    }
}
