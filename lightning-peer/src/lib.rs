//! Peers: the encrypted transport of BOLT 8, the session of BOLT 1, and the way of messages to their handlers.
//!
//! Bytes in, bytes out: nothing here knows a socket, a clock or a thread (I1).
//!
//! # Invariants
//! - depends on `lightning-traits` and outside libraries only (I2)
//! - bytes of a peer never panic and never allocate more than a small multiple of their own size (I9)
#![cfg_attr(not(feature = "std"), no_std)]

extern crate alloc;

mod disconnect;
pub mod frame;
mod manager;
pub mod noise;
mod peer;

pub use disconnect::Disconnect;
pub use manager::{ConnectError, ConnectionId, Parts, PeerEnvironment, PeerInfo, PeerManager};
