//! The vectors of BOLT 1: `BigSize`, TLV streams, message extensions, signed integers.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "tests"
)]
extern crate alloc;

use std::path::PathBuf;

use bitcoin::hex::FromHex;
use lightning_traits::codec::{BigSize, Decode, DecodeError, Encode, Reader, TlvRecords, Tu32, Tu64};
use lightning_traits::id::ShortChannelId;
use lightning_traits::wire::Message;
use secp256k1::PublicKey;
use serde_json::Value;

fn vectors(name: &str) -> Option<Value> {
    let shared = std::env::var_os("LN_SHARED")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared"), PathBuf::from);
    let path = shared.join("vectors/bolt01").join(name);
    let Ok(text) = std::fs::read_to_string(&path) else {
        eprintln!("SKIPPED: no vectors at {} (set LN_SHARED)", path.display());
        return None;
    };
    Some(serde_json::from_str(&text).unwrap())
}

fn hex(value: &Value) -> Vec<u8> {
    Vec::from_hex(value.as_str().unwrap()).unwrap()
}

fn cases<'a>(vectors: &'a Value, name: &str) -> &'a [Value] {
    vectors[name].as_array().unwrap()
}

#[test]
fn big_size() {
    let Some(vectors) = vectors("bigsize.json") else { return };
    let (mut good, mut bad, mut encoded) = (0, 0, 0);
    for case in cases(&vectors, "decoding") {
        let bytes = hex(&case["bytes"]);
        let decoded = BigSize::from_bytes(&bytes);
        match case.get("exp_error").and_then(Value::as_str) {
            None => {
                assert_eq!(decoded, Ok(BigSize(case["value"].as_u64().unwrap())), "{case}");
                good += 1;
            }
            Some(error) => {
                let expected = if error.contains("canonical") {
                    DecodeError::NotMinimal
                } else {
                    DecodeError::UnexpectedEnd
                };
                assert_eq!(decoded, Err(expected), "{case}");
                bad += 1;
            }
        }
    }
    for case in cases(&vectors, "encoding") {
        let value = BigSize(case["value"].as_u64().unwrap());
        assert_eq!(value.to_bytes(), hex(&case["bytes"]), "{case}");
        assert_eq!(value.encoded_len(), hex(&case["bytes"]).len(), "{case}");
        encoded += 1;
    }
    assert_eq!((good, bad, encoded), (8, 10, 8));
}

#[test]
fn signed_integers() {
    let Some(vectors) = vectors("signed-integers.json") else { return };
    let mut count = 0;
    for case in cases(&vectors, "cases") {
        let (value, bytes) = (case["value"].as_i64().unwrap(), hex(&case["bytes"]));
        fn check<T: Encode + Decode + TryFrom<i64> + PartialEq + std::fmt::Debug>(value: i64, bytes: &[u8]) {
            let value = T::try_from(value).ok().unwrap();
            assert_eq!(value.to_bytes(), bytes);
            assert_eq!(T::from_bytes(bytes), Ok(value));
        }
        match bytes.len() {
            1 => check::<i8>(value, &bytes),
            2 => check::<i16>(value, &bytes),
            4 => check::<i32>(value, &bytes),
            8 => check::<i64>(value, &bytes),
            width => panic!("{width} bytes"),
        }
        count += 1;
    }
    assert_eq!(count, 23);
}

#[test]
fn message_extension() {
    let Some(vectors) = vectors("message-extension.json") else { return };
    let (mut valid, mut invalid) = (0, 0);
    for case in cases(&vectors, "valid") {
        let bytes = hex(&case["message"]);
        let message = Message::decode(&bytes).unwrap();
        assert!(matches!(message, Message::Init(_)), "{case}");
        assert_eq!(message.to_wire().unwrap(), bytes, "{case}");
        valid += 1;
    }
    for case in cases(&vectors, "invalid") {
        assert!(Message::decode(&hex(&case["message"])).is_err(), "{case}");
        invalid += 1;
    }
    assert_eq!((valid, invalid), (2, 3));
}

/// `tlv3` of namespace `n1`.
#[derive(Debug, PartialEq)]
struct Tlv3 {
    node_id: PublicKey,
    amount_msat_1: u64,
    amount_msat_2: u64,
}
lightning_traits::record!(struct Tlv3 { node_id, amount_msat_1, amount_msat_2 });

/// The stream `n1` of BOLT 1, Appendix B.
#[derive(Debug, PartialEq)]
struct N1 {
    tlv1: Option<Tu64>,
    tlv2: Option<ShortChannelId>,
    tlv3: Option<Tlv3>,
    tlv4: Option<u16>,
    unknown: TlvRecords,
}

fn n1(bytes: &[u8]) -> Result<N1, DecodeError> {
    let mut records = TlvRecords::decode_to_end(&mut Reader::new(bytes))?;
    Ok(N1 {
        tlv1: records.take(1)?,
        tlv2: records.take(2)?,
        tlv3: records.take(3)?,
        tlv4: records.take(254)?,
        unknown: records.into_unknown_odd()?,
    })
}

fn encode_n1(stream: &N1) -> Vec<u8> {
    let mut records = stream.unknown.clone();
    records.put_opt(1, stream.tlv1.as_ref());
    records.put_opt(2, stream.tlv2.as_ref());
    records.put_opt(3, stream.tlv3.as_ref());
    records.put_opt(254, stream.tlv4.as_ref());
    records.to_bytes()
}

/// The stream `n2` of BOLT 1, Appendix B.
#[derive(Debug, PartialEq)]
struct N2 {
    tlv1: Option<Tu64>,
    tlv2: Option<Tu32>,
    unknown: TlvRecords,
}

fn n2(bytes: &[u8]) -> Result<N2, DecodeError> {
    let mut records = TlvRecords::decode_to_end(&mut Reader::new(bytes))?;
    Ok(N2 { tlv1: records.take(0)?, tlv2: records.take(11)?, unknown: records.into_unknown_odd()? })
}

/// Whether the stream decodes in the namespace(s) that the case names.
fn decodes(namespace: &str, bytes: &[u8]) -> Vec<bool> {
    match namespace {
        "n1" => vec![n1(bytes).is_ok()],
        "n2" => vec![n2(bytes).is_ok()],
        "any" | "either" => vec![n1(bytes).is_ok(), n2(bytes).is_ok()],
        other => panic!("namespace {other}"),
    }
}

#[test]
fn tlv_failures() {
    let Some(vectors) = vectors("tlv.json") else { return };
    let (mut failures, mut stream_failures) = (0, 0);
    for case in cases(&vectors, "decoding_failures") {
        let namespace = case["namespace"].as_str().unwrap();
        assert!(decodes(namespace, &hex(&case["stream"])).iter().all(|ok| !ok), "{case}");
        failures += 1;
    }
    for case in cases(&vectors, "stream_failures") {
        let namespace = case["namespace"].as_str().unwrap();
        assert!(decodes(namespace, &hex(&case["stream"])).iter().all(|ok| !ok), "{case}");
        stream_failures += 1;
    }
    assert_eq!((failures, stream_failures), (33, 5));
}

/// The values that a case states, compared with the decoded stream.
fn check_values(case: &Value, stream: &N1) {
    let fields = &case["values"]["fields"];
    match case["values"]["record"].as_str().unwrap() {
        "tlv1" => assert_eq!(stream.tlv1, Some(Tu64(fields["amount_msat"].as_u64().unwrap())), "{case}"),
        "tlv2" => assert_eq!(stream.tlv2.unwrap().to_string(), fields["scid"].as_str().unwrap(), "{case}"),
        "tlv3" => {
            let tlv3 = stream.tlv3.as_ref().unwrap();
            assert_eq!(tlv3.node_id.serialize().to_vec(), hex(&fields["node_id"]), "{case}");
            assert_eq!(tlv3.amount_msat_1, fields["amount_msat_1"].as_u64().unwrap(), "{case}");
            assert_eq!(tlv3.amount_msat_2, fields["amount_msat_2"].as_u64().unwrap(), "{case}");
        }
        "tlv4" => {
            assert_eq!(u64::from(stream.tlv4.unwrap()), fields["cltv_delta"].as_u64().unwrap(), "{case}");
        }
        other => panic!("record {other}"),
    }
}

#[test]
fn tlv_successes() {
    let Some(vectors) = vectors("tlv.json") else { return };
    let (mut plain, mut valued) = (0, 0);
    for case in cases(&vectors, "decoding_successes") {
        let bytes = hex(&case["stream"]);
        assert!(decodes(case["namespace"].as_str().unwrap(), &bytes).iter().all(|ok| *ok), "{case}");
        let stream = n1(&bytes).unwrap();
        assert_eq!(encode_n1(&stream), bytes, "{case}");
        if case.get("values").is_some() {
            check_values(case, &stream);
            valued += 1;
        } else {
            // Unknown odd records only, or nothing.
            let known =
                [stream.tlv1.is_some(), stream.tlv2.is_some(), stream.tlv3.is_some(), stream.tlv4.is_some()];
            assert!(known.iter().all(|some| !some), "{case}");
            plain += 1;
        }
    }
    assert_eq!((plain, valued), (7, 12));
}

/// Both rules about appended streams, over every pair of vectors.
#[test]
fn tlv_rules() {
    let Some(vectors) = vectors("tlv.json") else { return };
    assert_eq!(cases(&vectors, "rules").len(), 2);
    let good: Vec<Vec<u8>> =
        cases(&vectors, "decoding_successes").iter().map(|case| hex(&case["stream"])).collect();
    let (mut after_valid, mut higher, mut not_higher) = (0, 0, 0);
    for valid in &good {
        for case in cases(&vectors, "decoding_failures").iter().chain(cases(&vectors, "stream_failures")) {
            if case["namespace"] == "n2" {
                continue;
            }
            let joined = [&valid[..], &hex(&case["stream"])].concat();
            assert!(n1(&joined).is_err(), "{case}");
            after_valid += 1;
        }
    }
    let kinds = |bytes: &[u8]| -> Vec<u64> {
        let records = TlvRecords::from_bytes(bytes).unwrap();
        records.as_slice().iter().map(|record| record.kind).collect()
    };
    for low in &good {
        for high in &good {
            let joined = n1(&[&low[..], high].concat());
            let in_order = match (kinds(low).last(), kinds(high).first()) {
                (Some(last), Some(first)) => last < first,
                _ => true,
            };
            assert_eq!(joined.is_ok(), in_order);
            if in_order { higher += 1 } else { not_higher += 1 }
        }
    }
    assert_eq!((after_valid, higher + not_higher), (19 * 37, 19 * 19));
    assert!(higher > 19 && not_higher > 19);
}
