//! Properties of onions and returned failures over random routes, payloads and damage.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
use std::sync::LazyLock;

use bitcoin::secp256k1::{PublicKey, SecretKey};
use lightning_traits::Secp;
use lightning_traits::codec::{Decode as _, Encode as _, TlvRecords};
use lightning_traits::sphinx::{
    self, ATTRIBUTION_DATA_LEN, AttributionData, ErrorSource, Failure, FailureCode,
    MAX_ATTRIBUTED_REASON_LEN, OnionError, OnionPacket, PAYMENT_PACKET_LEN, PeelError, Peeled, SharedSecret,
};
use proptest::collection::vec;
use proptest::prelude::*;

static SECP: LazyLock<Secp> = LazyLock::new(Secp::new);

fn node_key(index: usize) -> SecretKey {
    SecretKey::from_slice(&[index as u8 + 1; 32]).unwrap()
}

fn nodes(count: usize) -> Vec<PublicKey> {
    (0..count).map(|index| PublicKey::from_secret_key(&SECP, &node_key(index))).collect()
}

fn session_key() -> impl Strategy<Value = SecretKey> {
    any::<[u8; 32]>().prop_filter_map("a scalar", |bytes| SecretKey::from_slice(&bytes).ok())
}

fn peel_at(index: usize, packet: &OnionPacket, associated_data: &[u8]) -> Result<Peeled, PeelError> {
    sphinx::peel(&SECP, packet, associated_data, |point| Ok(SharedSecret::ecdh(point, &node_key(index))))
}

/// Payloads of 1 to 20 hops that fit: 20 hops of 31 bytes, or fewer of up to 250 bytes.
fn payloads() -> impl Strategy<Value = Vec<Vec<u8>>> {
    (1usize..=20)
        .prop_flat_map(|hops| vec(vec(any::<u8>(), 2..=(1300 / hops - 33).min(400)), hops))
        .prop_filter("fits", |payloads| {
            payloads.iter().map(|payload| sphinx::hop_len(payload.len())).sum::<usize>() <= 1300
        })
}

fn some_failure() -> impl Strategy<Value = Failure> {
    vec(any::<u8>(), 2..400).prop_map(|bytes| Failure::from_bytes(&bytes).unwrap())
}

fn secrets(session_key: &SecretKey, hops: usize) -> Vec<SharedSecret> {
    sphinx::shared_secrets(&SECP, session_key, &nodes(hops)).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_hop_reads_its_own_payload(key in session_key(), ad: [u8; 32], payloads in payloads()) {
        let hops: Vec<_> = nodes(payloads.len()).into_iter().zip(payloads.iter().cloned()).collect();
        let (packet, secrets) = sphinx::build(&SECP, &key, &hops, &ad).unwrap();
        let mut next = Some(packet);
        for (index, payload) in payloads.iter().enumerate() {
            let packet = next.take().unwrap();
            prop_assert_eq!(packet.to_bytes().len(), PAYMENT_PACKET_LEN);
            prop_assert_eq!(&OnionPacket::from_bytes(&packet.to_bytes()).unwrap(), &packet);
            let peeled = peel_at(index, &packet, &ad).unwrap();
            prop_assert_eq!(&peeled.payload, payload);
            prop_assert_eq!(&peeled.shared_secret, &secrets[index]);
            next = peeled.next;
        }
        prop_assert!(next.is_none());
    }

    #[test]
    fn damage_anywhere_is_noticed(
        key in session_key(), payloads in payloads(), at in 0..PAYMENT_PACKET_LEN, flip in 1u8..
    ) {
        let hops: Vec<_> = nodes(payloads.len()).into_iter().zip(payloads).collect();
        let (packet, _) = sphinx::build(&SECP, &key, &hops, &[7; 32]).unwrap();
        let mut bytes = packet.to_bytes();
        bytes[at] ^= flip;
        let damaged = OnionPacket::from_bytes(&bytes).unwrap();
        prop_assert_eq!(damaged.to_bytes(), bytes);
        let error = peel_at(0, &damaged, &[7; 32]).unwrap_err();
        match at {
            0 => prop_assert_eq!(error, PeelError::UnknownVersion(flip)),
            1 => prop_assert!(matches!(error, PeelError::InvalidKey | PeelError::InvalidHmac)),
            2..34 => prop_assert!(matches!(error, PeelError::InvalidKey | PeelError::InvalidHmac)),
            _ => prop_assert_eq!(error, PeelError::InvalidHmac),
        }
        prop_assert!(error.failure(damaged.sha256()).code().is_bad_onion());
        prop_assert_eq!(error.failure(damaged.sha256()).sha256_of_onion(), Some(damaged.sha256()));
        prop_assert_eq!(peel_at(0, &packet, &[8; 32]).unwrap_err(), PeelError::InvalidHmac);
        prop_assert_eq!(peel_at(1, &packet, &[7; 32]).unwrap_err(), PeelError::InvalidHmac);
    }

    #[test]
    fn any_bytes_are_peeled_or_refused(bytes in vec(any::<u8>(), PAYMENT_PACKET_LEN)) {
        let packet = OnionPacket::from_bytes(&bytes).unwrap();
        prop_assert!(peel_at(0, &packet, &[0; 32]).is_err());
    }

    #[test]
    fn failure_names_its_hop(
        key in session_key(), failure in some_failure(), hops in 1usize..=20, from: prop::sample::Index, hold: u32
    ) {
        let secrets = secrets(&key, hops);
        let from = from.index(hops);
        let (mut packet, mut data) =
            sphinx::create_attributed(&secrets[from], &failure, &TlvRecords::new(), hold);
        prop_assert!(packet.len() >= 32 + 2 + 2 + 256);
        for (hop, secret) in secrets[..from].iter().enumerate().rev() {
            data = sphinx::wrap_attributed(secret, &mut packet, Some(data), hop as u32);
        }
        let decoded = sphinx::decode(&secrets, packet.clone(), None);
        let message = failure.to_bytes();
        prop_assert_eq!(&decoded.source, &ErrorSource::Hop { hop: from, failure: Some(failure), message });
        let attributed = sphinx::decode(&secrets, packet, Some(data));
        prop_assert_eq!(attributed.source, decoded.source);
        let mut expected: Vec<u32> = (0..from as u32).collect();
        expected.push(hold);
        prop_assert_eq!(attributed.hold_times, expected);
    }

    #[test]
    fn damage_on_the_way_back_is_blamed_on_its_neighbourhood(
        key in session_key(), failure in some_failure(), hops in 1usize..=20, from: prop::sample::Index,
        culprit: prop::sample::Index, at: prop::sample::Index, flip in 1u8.., in_data: bool,
    ) {
        let secrets = secrets(&key, hops);
        let from = from.index(hops);
        let culprit = culprit.index(from + 1);
        let (mut packet, mut data) =
            sphinx::create_attributed(&secrets[from], &failure, &TlvRecords::new(), 0);
        for hop in (0..=from).rev() {
            if hop < from {
                data = sphinx::wrap_attributed(&secrets[hop], &mut packet, Some(data), 1);
            }
            if hop == culprit {
                if in_data {
                    let mut bytes = data.to_bytes();
                    // The first hold time: one that every HMAC covers.
                    bytes[at.index(4)] ^= flip;
                    data = AttributionData::from_bytes(&bytes).unwrap();
                } else {
                    let at = at.index(packet.len());
                    packet[at] ^= flip;
                }
            }
        }
        let decoded = sphinx::decode(&secrets, packet, Some(data));
        prop_assert_eq!(decoded.hold_times.len(), culprit);
        if !in_data {
            prop_assert_eq!(decoded.source, ErrorSource::Unreadable { blamed: Some(culprit) });
        }
    }

    #[test]
    fn hold_times_of_success_end_at_the_first_hop_without_support(
        key in session_key(), hops in 1usize..=20, supported in vec(any::<bool>(), 20)
    ) {
        let secrets = secrets(&key, hops);
        let mut data = None;
        for hop in (0..hops).rev() {
            data = supported[hop].then(|| sphinx::fulfil(&secrets[hop], data.take(), hop as u32));
        }
        let expected: Vec<u32> = (0..hops).take_while(|hop| supported[*hop]).map(|hop| hop as u32).collect();
        let read = data.map(|data| sphinx::verify_fulfilment(&secrets, data)).unwrap_or_default();
        prop_assert_eq!(read, expected);
    }

    #[test]
    fn any_returned_bytes_are_decoded_or_unreadable(
        key in session_key(), hops in 0usize..=27, packet in vec(any::<u8>(), 0..600),
        data in vec(any::<u8>(), ATTRIBUTION_DATA_LEN)
    ) {
        let secrets = secrets(&key, hops);
        let data = AttributionData::from_bytes(&data).unwrap();
        let decoded = sphinx::decode(&secrets, packet, Some(data.clone()));
        let unreadable = matches!(decoded.source, ErrorSource::Unreadable { .. });
        prop_assert!(unreadable);
        prop_assert!(sphinx::verify_fulfilment(&secrets, data).is_empty());
    }

    #[test]
    fn failures_keep_what_they_read(bytes in vec(any::<u8>(), 0..200), known in 0usize..24) {
        const KNOWN: [u16; 24] = [
            0x2002, 0x6002, 0x6003, 0xc004, 0xc005, 0xc006, 0x1007, 0x4008, 0x4009, 0x400a, 0x100b, 0x100c,
            0x100d, 0x100e, 0x400f, 18, 19, 0x1014, 21, 0x4016, 23, 0xc018, 17, 0x4010,
        ];
        let mut message = KNOWN[known].to_bytes();
        message.extend_from_slice(&bytes);
        let failure = Failure::from_bytes(&message).unwrap();
        prop_assert_eq!(failure.code(), FailureCode(KNOWN[known]));
        let encoded = failure.to_bytes();
        prop_assert_eq!(&encoded[..], &message[..encoded.len()]);
        prop_assert_eq!(Failure::from_bytes(&encoded).unwrap(), failure);
    }
}

#[test]
fn sizes_around_the_limit() {
    let node = nodes(1)[0];
    let build = |len: usize| sphinx::build(&SECP, &node_key(9), &[(node, vec![1; len])], &[]);
    // 3 bytes of length and 32 of hmac.
    assert!(build(1265).is_ok());
    assert_eq!(build(1266).unwrap_err(), OnionError::TooLong { needed: 1301, available: 1300 });
    assert_eq!(build(1).unwrap_err(), OnionError::PayloadTooShort { hop: 0 });
    assert_eq!(sphinx::build(&SECP, &node_key(9), &[], &[]).unwrap_err(), OnionError::NoHops);
    for len in 2..=1265 {
        let (packet, _) = build(len).unwrap();
        let peeled = peel_at(0, &packet, &[]).unwrap();
        assert_eq!((peeled.payload.len(), peeled.next), (len, None));
    }
}

#[test]
fn authentic_onion_with_a_wrong_length_is_the_origins_fault() {
    // A payload that claims to run past the end: built for a packet of another size, then authenticated for ours.
    let node = nodes(1)[0];
    let (long, secrets) =
        sphinx::build_into(vec![0; 3000], &SECP, &node_key(9), &[(node, vec![1; 2000])], &[]).unwrap();
    let short: Vec<u8> = long.payloads[..1300].to_vec();
    let hmac = hmac_under_mu(&secrets[0], &short);
    let packet = OnionPacket { version: 0, ephemeral_key: long.ephemeral_key, payloads: short, hmac };
    let error = sphinx::peel_with_secret(&SECP, secrets[0].clone(), &packet, &[]).unwrap_err();
    assert_eq!(error, PeelError::InvalidPayload);
    assert_eq!(
        error.failure(packet.sha256()),
        Failure::InvalidOnionPayload { kind: 0, offset: 0 },
        "not BADONION: the origin can read it"
    );
}

fn hmac_under_mu(secret: &SharedSecret, message: &[u8]) -> [u8; 32] {
    use bitcoin::hashes::{Hash as _, HashEngine as _, Hmac, HmacEngine, sha256};
    let mut engine = HmacEngine::<sha256::Hash>::new(b"mu");
    engine.input(secret.as_bytes());
    let mut outer = HmacEngine::<sha256::Hash>::new(&Hmac::from_engine(engine).to_byte_array());
    outer.input(message);
    Hmac::from_engine(outer).to_byte_array()
}

#[test]
fn malformed_but_authentic_failure_names_its_hop() {
    let secrets = secrets(&node_key(3), 3);
    // An unknown failure whose message is cut by the longest data a message can have.
    let failure = Failure::Unknown { code: FailureCode(0x4fff), data: vec![1; 40_000] };
    let mut packet = sphinx::create(&secrets[1], &failure, &TlvRecords::new());
    assert!(packet.len() < 400, "keeps its code only");
    sphinx::wrap(&secrets[0], &mut packet);
    let decoded = sphinx::decode(&secrets, packet, None);
    let short = Failure::Unknown { code: FailureCode(0x4fff), data: Vec::new() };
    assert_eq!(decoded.source, ErrorSource::Hop { hop: 1, failure: Some(short), message: vec![0x4f, 0xff] });
}

#[test]
fn longest_attributed_reason_fills_a_message() {
    let message_len = 2 + 32 + 8 + 2 + MAX_ATTRIBUTED_REASON_LEN + 1 + 3 + ATTRIBUTION_DATA_LEN;
    assert_eq!(message_len, 65_535);
    // A relayed failure of any size is only transformed (RELIABILITY B16).
    let secrets = secrets(&node_key(3), 2);
    for len in [0, 31, 33, 256, 1_024, 60_000, 65_000, 65_491] {
        let mut packet = vec![5; len];
        sphinx::wrap(&secrets[0], &mut packet);
        assert_eq!(packet.len(), len);
        assert_eq!(sphinx::decode(&secrets, packet, None).source, ErrorSource::Unreadable { blamed: None });
    }
}

#[test]
fn hops_beyond_the_reach_of_attribution_are_not_blamed() {
    let secrets = secrets(&node_key(3), 21);
    let decoded = sphinx::decode(&secrets, vec![0; 292], Some(AttributionData::empty()));
    assert_eq!(decoded.source, ErrorSource::Unreadable { blamed: None });
}

#[test]
fn malformed_code_of_a_peer_becomes_its_failure() {
    let hash = [9; 32];
    assert_eq!(
        Failure::from_malformed(FailureCode(0xc005), hash),
        Failure::InvalidOnionHmac { sha256_of_onion: hash }
    );
    let unknown = Failure::from_malformed(FailureCode(0x8fff), hash);
    assert_eq!(unknown, Failure::Unknown { code: FailureCode(0x8fff), data: hash.to_vec() });
}
