//! One channel between two nodes in memory: every phase, every fault, every record through bytes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod closing;
mod damaged;
mod details;
mod double_spent;
mod extremes;
mod fees;
mod gates;
#[path = "../support/keys.rs"]
mod keys;
mod node;
mod open;
mod opening;
mod pair;
mod phases;
mod quiet;
mod refused;
mod repeated;
mod resolving;
mod restart;
mod resync;
mod simple_close;
mod splicing;
mod trusted;
mod unfunded;
mod unsent;
