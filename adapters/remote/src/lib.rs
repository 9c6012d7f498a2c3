//! Channel monitors on other machines.
//!
//! # Invariants
//! - a receipt is given only for what its tower has signed to be durable, or what a local monitor has a receipt for (I3)
//! - every queue has a bound in bytes (I9)
extern crate alloc;

pub mod client;
pub mod seal;
pub mod serve;
pub mod wire;

pub use client::{Alarm, RemoteConfig, RemoteMonitors, Standing, Towers};
pub use seal::{RecordPolicy, SealKey};
pub use serve::{Admission, Backing, Bounds, Desk, MonitorService, Served};
