//! The one lock of the house.
//!
//! A shell holds one small lock a channel and one for node-wide tables. No lock is taken while another
//! is held, and nothing foreign but signer, entropy and log is called under one (I7). In debug builds with
//! `std` a per-thread counter enforces it: taking a second lock panics with a sentence that names the rule.
#[cfg(feature = "std")]
mod host;
#[cfg(not(feature = "std"))]
mod spinning;

#[cfg(feature = "std")]
pub use host::{Mutex, MutexGuard, assert_unlocked};
#[cfg(not(feature = "std"))]
pub use spinning::{Mutex, MutexGuard, assert_unlocked};
