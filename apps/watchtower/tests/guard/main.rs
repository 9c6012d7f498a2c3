//! A tower on an embedded chain that verifies every script: the client is gone for ever, and the tower acts alone.
//!
//! Tests are named by the entries of RELIABILITY 2.L.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    unreachable_pub,
    reason = "tests"
)]

mod admission;
mod answers;
mod blind;
mod justice;
mod pair;
mod scan;
mod world;
