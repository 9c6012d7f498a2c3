//! Watches the chain for channels: punishes, claims, resolves, and goes to the chain in time.
//!
//! [`ChannelMonitor`] is one channel: a pure state that learns from [`ChannelMonitorUpdate`]s and from blocks
//! and says what must be done. [`MonitorSet`] holds many behind
//! [`ManyChannelMonitor`](lightning_traits::interface::ManyChannelMonitor): it writes, broadcasts and reports.
//! It knows nothing of channels' own state, so it also runs alone, on a watchtower.
//!
//! # Invariants
//! - no clock, thread, socket, file or randomness (I1); no other crate of the house but `lightning-traits` (I2)
//! - an output is known by its outpoint, an HTLC by (channel, side, id): never by hash or amount (RELIABILITY B15, D4)
//! - a block costs its own inputs, whatever the number of channels (I13)
//!
//! [`ChannelMonitorUpdate`]: lightning_traits::monitor::ChannelMonitorUpdate
#![cfg_attr(not(feature = "std"), no_std)]

extern crate alloc;

pub mod blind;
mod claim;
mod deadline;
mod detect;
mod many;
mod monitor;
mod reserve;
mod resolve;

pub use many::{MonitorEnvironment, MonitorSet, RestoreError};
pub use monitor::{Balance, BalanceKind, ChannelMonitor, Duty};
pub use reserve::{Reserve, ReserveAssumptions, reserve};
