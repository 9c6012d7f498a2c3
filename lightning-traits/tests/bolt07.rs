//! The vectors of BOLT 7: extended queries and the form of `short_channel_id`.
//!
//! Five of the ten messages hold zlib arrays, which BOLT 7 no longer allows: they decode as messages, keep their
//! bytes, and say that the encoding is not supported when asked for the items.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "tests"
)]
use std::path::PathBuf;

use bitcoin::hex::{DisplayHex, FromHex};
use lightning_traits::codec::{Decode as _, Encode as _};
use lightning_traits::id::ShortChannelId;
use lightning_traits::wire::{
    EncodedArray, EncodingError, Message, QueryChannelRange, QueryShortChannelIds, ReplyChannelRange,
};
use serde_json::Value;

fn vectors(name: &str) -> Option<Value> {
    let shared = std::env::var_os("LN_SHARED")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared"), PathBuf::from);
    let path = shared.join("vectors/bolt07").join(name);
    let Ok(text) = std::fs::read_to_string(&path) else {
        eprintln!("SKIPPED: no vectors at {} (set LN_SHARED)", path.display());
        return None;
    };
    Some(serde_json::from_str(&text).unwrap())
}

/// Arrays that were read, and arrays that were refused as zlib.
#[derive(Debug, Default, PartialEq)]
struct Arrays {
    read: usize,
    zlib: usize,
}

impl Arrays {
    /// Compares an array with what the vector says of it; the encoded form must come out of the items again.
    fn check<T: PartialEq + std::fmt::Debug>(
        &mut self,
        array: &EncodedArray,
        items: Result<Vec<T>, EncodingError>,
        expected: &Value,
        name: &str,
        parse: impl Fn(&Value) -> T,
        encode: impl Fn(Vec<T>) -> EncodedArray,
    ) {
        match expected["encoding"].as_str().unwrap() {
            "UNCOMPRESSED" => {
                let expected: Vec<T> = expected[name].as_array().unwrap().iter().map(parse).collect();
                assert_eq!(items.as_ref(), Ok(&expected));
                assert_eq!(encode(expected), *array);
                self.read += 1;
            }
            "COMPRESSED_ZLIB" => {
                assert_eq!(array.encoding(), Some(EncodedArray::ZLIB));
                assert_eq!(items, Err(EncodingError::Unsupported(1)));
                self.zlib += 1;
            }
            other => panic!("encoding {other}"),
        }
    }

    fn check_ids(&mut self, array: &EncodedArray, expected: &Value) {
        let ids = array.short_channel_ids();
        self.check(array, ids, expected, "array", parse_scid, EncodedArray::of_short_channel_ids);
    }
}

fn parse_scid(text: &Value) -> ShortChannelId {
    let mut parts = text.as_str().unwrap().split('x').map(|part| part.parse::<u32>().unwrap());
    let mut next = || parts.next().unwrap();
    ShortChannelId::new(next(), next(), next() as u16).unwrap()
}

fn check_query_range(message: &QueryChannelRange, expected: &Value) {
    assert_eq!(u64::from(message.first_blocknum), expected["firstBlockNum"].as_u64().unwrap());
    assert_eq!(u64::from(message.number_of_blocks), expected["numberOfBlocks"].as_u64().unwrap());
    match expected["tlvStream"]["records"].as_array().unwrap().first().map(|record| record.as_str().unwrap())
    {
        None => assert_eq!(message.query_option, None),
        Some("WANT_TIMESTAMPS | WANT_CHECKSUMS") => {
            let both = QueryChannelRange::WANT_TIMESTAMPS | QueryChannelRange::WANT_CHECKSUMS;
            assert_eq!(message.query_option.unwrap().0, both);
        }
        Some(other) => panic!("record {other}"),
    }
}

fn check_reply_range(message: &ReplyChannelRange, expected: &Value, arrays: &mut Arrays) {
    assert_eq!(u64::from(message.first_blocknum), expected["firstBlockNum"].as_u64().unwrap());
    assert_eq!(u64::from(message.number_of_blocks), expected["numberOfBlocks"].as_u64().unwrap());
    assert_eq!(u64::from(message.sync_complete), expected["complete"].as_u64().unwrap());
    arrays.check_ids(&message.encoded_short_ids, &expected["shortChannelIds"]);
    match expected.get("timestamps") {
        None => assert_eq!(message.timestamps, None),
        Some(expected) => {
            let array = message.timestamps.as_ref().unwrap();
            let pair = |value: &Value| {
                let part = |name: &str| value[name].as_u64().unwrap() as u32;
                lightning_traits::wire::ChannelUpdateTimestamps {
                    timestamp_node_id_1: part("timestamp1"),
                    timestamp_node_id_2: part("timestamp2"),
                }
            };
            arrays.check(array, array.timestamps(), expected, "timestamps", pair, |items| {
                EncodedArray::of_timestamps(&items)
            });
        }
    }
    match expected.get("checksums") {
        None => assert_eq!(message.checksums, None),
        Some(expected) => {
            let found: Vec<[u64; 2]> = message
                .checksums
                .as_ref()
                .unwrap()
                .iter()
                .map(|pair| [pair.checksum_node_id_1.into(), pair.checksum_node_id_2.into()])
                .collect();
            let expected: Vec<[u64; 2]> = expected["checksums"]
                .as_array()
                .unwrap()
                .iter()
                .map(|pair| [pair["checksum1"].as_u64().unwrap(), pair["checksum2"].as_u64().unwrap()])
                .collect();
            assert_eq!(found, expected);
        }
    }
}

fn check_query_ids(message: &QueryShortChannelIds, expected: &Value, arrays: &mut Arrays) {
    arrays.check_ids(&message.encoded_short_ids, &expected["shortChannelIds"]);
    match expected["tlvStream"]["records"].as_array().unwrap().first() {
        None => assert_eq!(message.query_flags, None),
        Some(expected) => {
            let array = message.query_flags.as_ref().unwrap();
            arrays.check(
                array,
                array.query_flags(),
                expected,
                "array",
                |flag| flag.as_u64().unwrap(),
                |items| EncodedArray::of_query_flags(&items),
            );
        }
    }
}

#[test]
fn extended_queries() {
    let Some(vectors) = vectors("extended-queries.json") else { return };
    let mut arrays = Arrays::default();
    let (mut query_range, mut reply_range, mut query_ids) = (0, 0, 0);
    for case in vectors.as_array().unwrap() {
        let bytes = Vec::from_hex(case["hex"].as_str().unwrap()).unwrap();
        let expected = &case["msg"];
        let message = Message::decode(&bytes).unwrap();
        assert_eq!(message.to_wire().unwrap(), bytes, "{case}");
        assert_eq!(bytes[2..34].to_lower_hex_string(), expected["chainHash"].as_str().unwrap());
        match (&message, expected["type"].as_str().unwrap()) {
            (Message::QueryChannelRange(message), "QueryChannelRange") => {
                check_query_range(message, expected);
                query_range += 1;
            }
            (Message::ReplyChannelRange(message), "ReplyChannelRange") => {
                check_reply_range(message, expected, &mut arrays);
                reply_range += 1;
            }
            (Message::QueryShortChannelIds(message), "QueryShortChannelIds") => {
                check_query_ids(message, expected, &mut arrays);
                query_ids += 1;
            }
            (message, name) => panic!("{name} decoded as type {}", message.type_id()),
        }
    }
    assert_eq!((query_range, reply_range, query_ids), (2, 4, 4));
    // Eight arrays of ids, two of timestamps, two of flags.
    assert_eq!(arrays, Arrays { read: 5, zlib: 7 });
}

#[test]
fn short_channel_id_example() {
    let Some(vectors) = vectors("routing-example-from-md.json") else { return };
    let example = &vectors["short_channel_id_example"];
    let part = |name: &str| example[name].as_u64().unwrap();
    let id = ShortChannelId::new(part("block") as u32, part("tx_index") as u32, part("output_index") as u16)
        .unwrap();
    assert_eq!(id.to_string(), example["text"].as_str().unwrap());
    assert_eq!(id.0, part("u64"));
    assert_eq!(id.to_bytes().to_lower_hex_string(), example["hex"].as_str().unwrap());
    assert_eq!(ShortChannelId::from_bytes(&id.to_bytes()), Ok(id));
}

#[test]
fn arrays_refuse_what_is_not_whole_or_not_sorted() {
    let ids = |bytes: &[u8]| EncodedArray(bytes.to_vec()).short_channel_ids();
    assert_eq!(ids(&[]), Ok(vec![]));
    assert_eq!(ids(&[0]), Ok(vec![]));
    assert_eq!(ids(&[0, 1, 2, 3]), Err(EncodingError::Malformed));
    assert_eq!(ids(&[2, 0, 0, 0, 0, 0, 0, 0, 1]), Err(EncodingError::Unsupported(2)));
    let two = |a: u8, b: u8| [&[0][..], &[0, 0, 0, 0, 0, 0, 0, a], &[0, 0, 0, 0, 0, 0, 0, b]].concat();
    assert_eq!(ids(&two(1, 2)), Ok(vec![ShortChannelId(1), ShortChannelId(2)]));
    assert_eq!(ids(&two(2, 1)), Err(EncodingError::Unsorted));
    assert_eq!(ids(&two(1, 1)), Err(EncodingError::Unsorted));
    // Encoding sorts and removes doubles.
    let unsorted = vec![ShortChannelId(9), ShortChannelId(3), ShortChannelId(9)];
    let encoded = EncodedArray::of_short_channel_ids(unsorted);
    assert_eq!(encoded.short_channel_ids(), Ok(vec![ShortChannelId(3), ShortChannelId(9)]));
    // BOLT 7: "Query flags must be minimally encoded".
    assert_eq!(EncodedArray(vec![0, 0xfd, 0, 1]).query_flags(), Err(EncodingError::Malformed));
    assert_eq!(EncodedArray(vec![0, 1, 2, 31]).query_flags(), Ok(vec![1, 2, 31]));
    assert_eq!(EncodedArray(vec![0, 0, 0, 0, 1, 0, 0, 0]).timestamps(), Err(EncodingError::Malformed));
}
