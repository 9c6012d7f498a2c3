//! The vectors of BOLT 4: one onion of five hops, its returned failure, attribution data, and blinded paths.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::disallowed_methods,
    reason = "tests"
)]
use lightning_traits::Secp;
use std::path::PathBuf;

use bitcoin::hex::{DisplayHex as _, FromHex as _};
use bitcoin::secp256k1::{PublicKey, SecretKey};
use lightning_traits::codec::{BigSize, Decode as _, Encode as _, Reader, TlvRecords};
use lightning_traits::id::ShortChannelId;
use lightning_traits::sphinx::{
    self, AttributionData, ErrorSource, Failure, HopPayload, OnionPacket, PeelError, Peeled, SharedSecret,
};
use lightning_traits::units::{BlockHeight, CltvExpiry, Msat};
use serde_json::Value;

fn vectors(name: &str) -> Option<Value> {
    let shared = std::env::var_os("LN_SHARED")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared"), PathBuf::from);
    let path = shared.join("vectors/bolt04").join(name);
    let Ok(text) = std::fs::read_to_string(&path) else {
        eprintln!("SKIPPED: no vectors at {} (set LN_SHARED)", path.display());
        return None;
    };
    Some(serde_json::from_str(&text).expect("vectors are JSON"))
}

fn bytes(value: &Value) -> Vec<u8> {
    Vec::from_hex(value.as_str().expect("hex string")).expect("hex")
}

fn array(value: &Value) -> [u8; 32] {
    bytes(value).try_into().expect("32 bytes")
}

fn key(value: &Value) -> SecretKey {
    SecretKey::from_slice(&bytes(value)).expect("secret key")
}

fn point(value: &Value) -> PublicKey {
    PublicKey::from_slice(&bytes(value)).expect("public key")
}

fn list(value: &Value) -> &[Value] {
    value.as_array().expect("list")
}

/// The vectors' payloads have their length in front, which our API adds itself.
fn payload(value: &Value) -> Vec<u8> {
    let all = bytes(value);
    let mut reader = Reader::new(&all);
    let BigSize(length) = reader.read().unwrap();
    assert_eq!(length as usize, reader.len());
    reader.rest().to_vec()
}

#[test]
fn onion_of_five_hops_builds_and_peels() {
    let Some(vector) = vectors("onion-test.json") else { return };
    let secp = Secp::new();
    let generate = &vector["generate"];
    let associated_data = array(&generate["associated_data"]);
    let hops: Vec<(PublicKey, Vec<u8>)> =
        list(&generate["hops"]).iter().map(|hop| (point(&hop["pubkey"]), payload(&hop["payload"]))).collect();
    assert_eq!(hops.len(), 5);

    let (packet, secrets) =
        sphinx::build(&secp, &key(&generate["session_key"]), &hops, &associated_data).unwrap();
    assert_eq!(packet.to_bytes().to_lower_hex_string(), vector["onion"].as_str().unwrap());

    let mut next = Some(OnionPacket::from_bytes(&bytes(&vector["onion"])).unwrap());
    let mut peeled_hops = 0;
    for ((node_key, (_, payload)), secret) in list(&vector["decode"]).iter().zip(&hops).zip(&secrets) {
        let node_key = key(node_key);
        let packet: OnionPacket = next.take().expect("a packet for each hop");
        let peeled: Peeled = sphinx::peel::<_, PeelError>(&secp, &packet, &associated_data, |point| {
            Ok(SharedSecret::ecdh(point, &node_key))
        })
        .unwrap();
        assert_eq!(&peeled.shared_secret, secret);
        assert_eq!(&peeled.payload, payload);
        next = peeled.next;
        peeled_hops += 1;
    }
    assert_eq!(peeled_hops, 5);
    assert_eq!(next, None);

    let decoded: Vec<HopPayload> = hops
        .iter()
        .enumerate()
        .map(|(hop, (_, payload))| HopPayload::decode(payload, hop == 4, &[]).unwrap())
        .collect();
    let HopPayload::Forward(first) = &decoded[0] else { panic!("forward") };
    assert_eq!(first.amount, Msat::new(15_000));
    assert_eq!(first.expiry, CltvExpiry::new(1_500));
    assert_eq!(first.short_channel_id, ShortChannelId(1));
    let HopPayload::Final(last) = &decoded[4] else { panic!("final") };
    assert_eq!(last.amount, Msat::new(10_000));
    assert_eq!(last.total(), Msat::new(10_000));
    assert_eq!((last.custom.as_slice()[0].kind, last.custom.as_slice()[0].value.len()), (301, 224));
    for (payload, (_, bytes)) in decoded.iter().zip(&hops) {
        assert_eq!(&payload.to_bytes(), bytes);
    }
}

#[test]
fn error_of_the_last_hop_is_built_wrapped_and_decoded() {
    let Some(vector) = vectors("onion-error-test.json") else { return };
    let hops = list(&vector["generate"]["hops"]);
    assert_eq!(hops.len(), 5);
    let secp = Secp::new();
    let nodes: Vec<PublicKey> = hops.iter().map(|hop| point(&hop["pubkey"])).collect();
    let secrets = sphinx::shared_secrets(&secp, &key(&vector["generate"]["session_key"]), &nodes).unwrap();
    for (secret, hop) in secrets.iter().zip(hops) {
        assert_eq!(secret.as_bytes(), &array(&hop["hop_shared_secret"]));
    }
    let failure = Failure::from_bytes(&bytes(&vector["generate"]["failure_message"])).unwrap();
    assert_eq!(failure, Failure::TemporaryNodeFailure);
    let mut packet = sphinx::create(&secrets[4], &failure, &TlvRecords::new());
    for secret in secrets[..4].iter().rev() {
        sphinx::wrap(secret, &mut packet);
    }
    assert_eq!(packet.to_lower_hex_string(), vector["errorpacket"].as_str().unwrap());

    let decoded = sphinx::decode(&secrets, packet, None);
    let message = vec![0x20, 0x02];
    assert_eq!(decoded.source, ErrorSource::Hop { hop: 4, failure: Some(failure), message });
    assert!(decoded.hold_times.is_empty());
}

#[test]
fn attribution_data_of_failure_and_success() {
    let Some(vector) = vectors("attribution-data-from-md.json") else { return };
    let secp = Secp::new();
    let nodes: Vec<PublicKey> = list(&vector["hops"]).iter().map(|hop| point(&hop["pubkey"])).collect();
    let secrets = sphinx::shared_secrets(&secp, &key(&vector["session_key"]), &nodes).unwrap();
    let hold_times: Vec<u32> = list(&vector["hops"])
        .iter()
        .map(|hop| hop["hold_time_in_the_data"].as_u64().unwrap() as u32)
        .collect();

    let failure = Failure::IncorrectOrUnknownPaymentDetails {
        htlc_msat: Msat::new(vector["failure"]["htlc_msat"].as_u64().unwrap()),
        height: BlockHeight::new(vector["failure"]["height"].as_u64().unwrap() as u32),
    };
    let mut extra = TlvRecords::new();
    let tlv = &vector["failure"]["tlv"];
    extra.put_raw(tlv["type"].as_u64().unwrap(), bytes(&tlv["value"]));

    let trace = list(&vector["returning_errors_trace"]);
    assert_eq!(trace.len(), 6);
    let mut message = failure.to_bytes();
    extra.encode(&mut message);
    // The vector pads to 1024 bytes where BOLT 4 says "SHOULD" 256, so it starts from the vector's padded packet. A node
    // at the end of the path does the same as one with nothing from downstream.
    let encoded = bytes(&trace[0]["encoded_failure_message"]);
    assert_eq!(encoded[..message.len()], message);
    let mut packet = bytes(&trace[0]["raw_error_packet"]);
    let mut data = sphinx::wrap_attributed(&secrets[4], &mut packet, None, hold_times[4]);
    for step in &trace[1..] {
        let node = step["node"].as_u64().unwrap() as usize;
        if node < 4 {
            data = sphinx::wrap_attributed(&secrets[node], &mut packet, Some(data), hold_times[node]);
        }
        assert_eq!(packet, bytes(&step["error_packet"]), "packet of node {node}");
        assert_eq!(data.to_bytes(), bytes(&step["attribution_data"]), "attribution of node {node}");
        assert_eq!(AttributionData::from_bytes(&data.to_bytes()), Ok(data.clone()));
    }
    let decoded = sphinx::decode(&secrets, packet, Some(data));
    assert_eq!(
        decoded.source,
        ErrorSource::Hop { hop: 4, failure: Some(failure.clone()), message: message.clone() }
    );
    assert_eq!(decoded.hold_times, hold_times);

    // With our own padding what the origin reads is the same.
    let (packet, data) = sphinx::create_attributed(&secrets[0], &failure, &extra, 7);
    let decoded = sphinx::decode(&secrets, packet, Some(data));
    assert_eq!(decoded.source, ErrorSource::Hop { hop: 0, failure: Some(failure), message });
    assert_eq!(decoded.hold_times, [7]);

    let success = list(&vector["returning_success"]);
    assert_eq!(success.len(), 5);
    let mut data = None;
    for step in success {
        let node = step["node"].as_u64().unwrap() as usize;
        let passed_on = sphinx::fulfil(&secrets[node], data, hold_times[node]);
        assert_eq!(passed_on.to_bytes(), bytes(&step["attribution_data"]), "success, node {node}");
        data = Some(passed_on);
    }
    assert_eq!(sphinx::verify_fulfilment(&secrets, data.unwrap()), hold_times);
}

#[test]
fn keys_of_a_blinded_route() {
    let Some(vector) = vectors("route-blinding-test.json") else { return };
    let secp = Secp::new();
    let made = list(&vector["generate"]["hops"]);
    let unblinded = list(&vector["unblind"]["hops"]);
    assert_eq!((made.len(), unblinded.len()), (4, 4));
    for (made, unblinded) in made.iter().zip(unblinded) {
        let path_key = point(&unblinded["path_key"]);
        let secret = SharedSecret::ecdh(&path_key, &key(&unblinded["node_privkey"]));
        assert_eq!(secret.as_bytes(), &array(&made["shared_secret"]));
        let node = point(&made["node_id"]);
        let blinded = sphinx::blinded_node_id(&secp, &node, &secret).unwrap();
        assert_eq!(blinded, point(&made["blinded_node_id"]));
        assert_eq!(PublicKey::from_secret_key(&secp, &key(&unblinded["blinded_privkey"])), blinded);
        let next = sphinx::next_path_key(&secp, &path_key, &secret).unwrap();
        assert_eq!(next, point(&unblinded["next_path_key"]));
    }
}

#[test]
fn payment_onion_into_a_blinded_route() {
    let Some(vector) = vectors("blinded-payment-onion-test.json") else { return };
    let secp = Secp::new();
    let generate = &vector["generate"];
    let associated_data = array(&generate["associated_data"]);
    let hops: Vec<(PublicKey, Vec<u8>)> = list(&generate["full_route"]["hops"])
        .iter()
        .map(|hop| (point(&hop["pubkey"]), payload(&hop["payload"])))
        .collect();
    let (packet, _) = sphinx::build(&secp, &key(&generate["session_key"]), &hops, &associated_data).unwrap();
    assert_eq!(packet.to_bytes().to_lower_hex_string(), generate["onion"].as_str().unwrap());

    let decrypt = list(&vector["decrypt"]["hops"]);
    assert_eq!((hops.len(), decrypt.len()), (5, 5));
    let mut next = Some(packet);
    // As `update_add_htlc` brings it: none for Alice; Bob is the introduction node and finds it in his payload.
    let mut path_key: Option<PublicKey> = None;
    for (index, (hop, (_, expected))) in decrypt.iter().zip(&hops).enumerate() {
        let node_key = key(&hop["node_privkey"]);
        let packet = next.take().expect("a packet for each hop");
        assert_eq!(packet.to_bytes().to_lower_hex_string(), hop["onion"].as_str().unwrap());
        let peeled = sphinx::peel::<_, PeelError>(&secp, &packet, &associated_data, |point| {
            let point = path_key.map_or(*point, |path_key| {
                let path_secret = SharedSecret::ecdh(&path_key, &node_key);
                sphinx::unblind_ephemeral_key(&secp, point, &path_secret).unwrap()
            });
            Ok(SharedSecret::ecdh(&point, &node_key))
        })
        .unwrap();
        assert_eq!(&peeled.payload, expected);
        let is_final = peeled.next.is_none();
        assert_eq!(is_final, index == 4);
        let decoded = HopPayload::decode(&peeled.payload, is_final, &[]).unwrap();
        assert_eq!(&decoded.to_bytes(), expected);
        if let HopPayload::Blinded(blinded) = decoded {
            let current = path_key.or(blinded.current_path_key).expect("a path key");
            let path_secret = SharedSecret::ecdh(&current, &node_key);
            let following = sphinx::next_path_key(&secp, &current, &path_secret).unwrap();
            let override_key = &generate["full_route"]["hops"][index]["tlvs"]["encrypted_recipient_data"]["next_path_key_override"];
            path_key = Some(if override_key.is_string() { point(override_key) } else { following });
            assert_eq!(path_key, Some(point(&hop["next_path_key"])), "hop {index}");
        } else {
            assert_eq!(index, 0);
        }
        next = peeled.next;
    }
}

#[test]
fn onion_message_in_a_packet_of_variable_size() {
    let Some(vector) = vectors("blinded-onion-message-onion-test.json") else { return };
    let secp = Secp::new();
    let decrypt = list(&vector["decrypt"]["hops"]);
    assert_eq!(decrypt.len(), 4);
    let mut expected: Option<OnionPacket<Vec<u8>>> = None;
    for (index, hop) in decrypt.iter().enumerate() {
        // onion_message: type, path_key, length, packet
        let message = bytes(&hop["onion_message"]);
        let mut reader = Reader::new(&message);
        assert_eq!(reader.read::<u16>(), Ok(513));
        let path_key: PublicKey = reader.read().unwrap();
        assert_eq!(usize::from(reader.read::<u16>().unwrap()), reader.len());
        let packet: OnionPacket<Vec<u8>> = reader.read().unwrap();
        assert_eq!(packet.to_bytes(), message[37..]);
        if let Some(expected) = expected.take() {
            assert_eq!(packet, expected);
        }
        let node_key = key(&hop["privkey"]);
        let path_secret = SharedSecret::ecdh(&path_key, &node_key);
        let peeled = sphinx::peel::<_, PeelError>(&secp, &packet, &[], |point| {
            let point = sphinx::unblind_ephemeral_key(&secp, point, &path_secret).unwrap();
            Ok(SharedSecret::ecdh(&point, &node_key))
        })
        .unwrap();
        let records = TlvRecords::from_bytes(&peeled.payload).unwrap();
        let data = records.as_slice().iter().find(|record| record.kind == 4).expect("encrypted data");
        assert_eq!(data.value, bytes(&vector["generate"]["hops"][index]["encrypted_recipient_data"]));
        assert_eq!(peeled.next.is_none(), index == 3);
        expected = peeled.next;
    }
}
