//! The program `lntower`: monitors of other nodes' channels, on another machine than theirs.
//!
//! `clients.rs` is who is let in, `guard.rs` one client's monitors with their store and the keys they were given, `tower.rs`
//! all of them with what they share, `chain.rs` the thread that shows them every block, `health.rs` what is wrong,
//! `desk.rs` how clients come in, `book.rs` what was punished, `status.rs` and `http.rs` how an operator looks at it.
//!
//! # Invariants
//! - no block is skipped: what cannot be fetched stops the scan, with an alarm (RELIABILITY L1, L2)
//! - what is acknowledged was fsynced before, together with the keys that make it of use
//! - one client's flood, full quota or broken disk holds up nobody else's justice (RELIABILITY L13)
//! - no secret is printed, logged, or taken from the command line
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "programs are where the outside world is touched (I1)"
)]

extern crate alloc;

pub mod book;
pub mod chain;
pub mod cli;
pub mod clients;
pub mod desk;
pub mod guard;
pub mod health;
pub mod http;
pub mod logging;
pub mod past;
pub mod seed;
pub mod status;
pub mod tower;
pub mod vault;
pub mod wake;
pub mod wallet;

pub use cli::main;
