//! BOLT 3: every official vector, every spend checked by Bitcoin Core's script interpreter, and properties.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "tests"
)]

mod anchors;
mod closing;
mod codec;
mod fees;
mod funding;
mod keys;
mod properties;
mod secrets;
mod setup;
mod signatures;
mod spends;
mod static_remote_key;
mod vectors;
