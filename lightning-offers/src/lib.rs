//! Payment requests: BOLT 11 invoices (BOLT 12 later).
//!
//! Reads, checks, writes and has signed the strings that people pay. Knows nothing of channels or payments: the channel
//! crate gets hash, secret and amount from the caller.
//!
//! # Invariants
//! - no clock: whether an invoice is expired is asked with the time as an argument (I1)
//! - an invoice that exists has a valid signature and every field that a payer must have
//! - text of any kind and length is an invoice or an error, never a panic (I9)
#![cfg_attr(not(feature = "std"), no_std)]

extern crate alloc;

pub mod bolt11;
