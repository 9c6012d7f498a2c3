//! What the benches share: two nodes of ours and two of LDK in one process, and what cryptography alone would cost.
//!
//! Nothing is decided here. Both pairs are driven the same way: messages are handed over as structs, updates of the
//! monitors are encoded and kept in memory, one thread does everything.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a bench that cannot go on has nothing better to do than to stop and say where"
)]

pub mod chain;
pub mod commitment;
pub mod connection;
pub mod cpu;
pub mod crypto;
pub mod ldk;
pub mod ours;
pub mod route;
pub mod watch;

/// What each payment carries: far above dust, so that each HTLC has an output and a signature.
pub const PAYMENT_MSAT: u64 = 10_000_000;
/// Size of the channels; half of it is on each side.
pub const CHANNEL_SAT: u64 = 16_000_000;
