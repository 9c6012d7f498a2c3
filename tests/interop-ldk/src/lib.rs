//! The other side of the wire: LDK nodes in this process, our daemon as a child process, and one bitcoind.
//!
//! Role: harness of the tests in `tests/`. No logic of the product.
//! LDK is the published crate `lightning` with its own net, chain, storage and background crates, so that
//! what our node talks to is what it meets in the wild. Everything here panics with a sentence: a harness that
//! cannot go on has failed its test.
//!
//! | module | holds |
//! | --- | --- |
//! | `chain` | a regtest bitcoind, its wallets and its mine |
//! | `knife` | a wire between the two that can be cut after any message |
//! | `ldk` | an LDK node on a folder, with its commands |
//! | `lnode` | our daemon on a folder, with a client of its API |
//! | `net` | the usual cast of a test |
//! | `node` | what all nodes can do |
//! | `wait` | bounded waits for a condition |
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a harness of tests runs programs, waits, and fails loudly"
)]

pub mod chain;
pub mod knife;
pub mod ldk;
pub mod lnode;
pub mod net;
pub mod node;
pub mod wait;
