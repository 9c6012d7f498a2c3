//! ChannelManager: channels, payments, forwarding.
//!
//! `commitments` decides on and evolves the two sides' commitments, `terms` holds what never changes about a channel,
//! `channel` is one channel from its opening to its last confirmation. `manager` is the shell around all channels, with
//! `payment`, `forward` and `recover`.
#![cfg_attr(not(feature = "std"), no_std)]

extern crate alloc;

pub mod channel;
pub mod commitments;
mod forward;
pub mod manager;
pub mod payment;
pub mod recover;
pub mod terms;
#[cfg(test)]
mod testing;
