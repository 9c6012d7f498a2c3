//! LDK against our daemon, over TCP on one regtest chain.
//!
//! LDK is the judge: whatever it refuses, it refuses on the real network too. `harness.rs` shows first that two LDK nodes
//! can do with each other what the other modules demand of our daemon.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "tests"
)]

mod chain;
mod closes;
mod cuts;
mod forwards;
mod harness;
mod kinds;
mod losses;
mod payments;
