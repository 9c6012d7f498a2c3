//! The vocabulary of Lightning, and the interfaces between its structures.
//!
//! Whatever two crates must agree on lives here: units, ids, wire messages, BOLT 3 transactions,
//! onion packets, the values that pass between channel and monitor, and one trait per boundary.
//!
//! # Invariants
//! - no clock, thread, socket, file, environment, global state or randomness (I1)
//! - depends on outside libraries only (I2)
//! - bytes from a peer, a file or the chain never panic and never allocate more than a small
//!   multiple of their own size (I9)
//!
//! See also `ARCH.md` for how the structures fit together.
#![cfg_attr(not(feature = "std"), no_std)]

extern crate alloc;

pub mod codec;
pub mod config;
mod curve;
pub mod event;
pub mod feature;
pub mod id;
pub mod interface;
pub mod monitor;
pub mod payment;
pub mod route;
pub mod sphinx;
pub mod sync;
pub mod tx;
pub mod units;
pub mod wire;

pub use curve::Secp;
