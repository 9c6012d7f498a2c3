//! The fee engine: what a claim pays, from the first block in which it can confirm to the last in which it must.
//!
//! `curve.rs` is the price as a pure function, `stake.rs` says what is at stake for an output and until when, `replace.rs` when a
//! better price is worth a new transaction and what BIP 125 asks of it.
//!
//! # Invariants
//! - no claim costs more than its budget: half of what it brings, all of it when it punishes (RELIABILITY D8, D26)
//! - by the last block in which a claim is in time, its whole budget is offered (RELIABILITY D13)
//! - a feerate that was offered is never lowered, nor by a restart, unless what is left cannot pay it (RELIABILITY D12)
mod curve;
mod replace;
mod stake;

pub(crate) use curve::{Rank, Stake, pace, rate_of};
pub(crate) use replace::{Offer, Price, least_replacing};
pub(crate) use stake::{COIN_INPUT_WEIGHT, LATE_WINDOW, LONGEST_CHANGE, OFFERED_WINDOW, in_time};
