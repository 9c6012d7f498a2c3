//! Fuzz targets: what must hold for input of any bytes (I9), as plain functions.
//!
//! `cargo-fuzz/fuzz_targets/` wraps each for libFuzzer; `tests/bodies.rs` runs each on stable over a seeded corpus.
//!
//! # Invariants
//! - a target panics if and only if the property it states is broken
pub mod wire;

/// A target: its name, which is that of its file under `cargo-fuzz/fuzz_targets/`, and its body.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: &[Target] = &[
    ("addresses", wire::addresses),
    ("encoded_array", wire::encoded_array),
    ("features", wire::features),
    ("gossip_body", wire::gossip_body),
    ("message", wire::message),
    ("tlv_stream", wire::tlv_stream),
];
