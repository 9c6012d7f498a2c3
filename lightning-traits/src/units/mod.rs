//! Amounts, fees and times, each in a type of its own.
//!
//! # Invariants
//! - money never wraps: checked operations only (I8)
//! - block counts, deltas and delays cannot be mixed up
mod fee;
mod msat;
mod time;

pub use fee::FeeratePerKw;
pub use msat::Msat;
pub use time::{BlockHeight, CltvDelta, CltvExpiry, CsvDelay};
