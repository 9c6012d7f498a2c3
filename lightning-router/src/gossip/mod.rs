//! Gossip (BOLT 7): what is true of it, what is asked and answered, what is passed on.
//!
//! `verify.rs` checks signatures as a pure step, `pending.rs` holds announcements until their output was looked up,
//! `peers.rs` what each peer has asked for and is owed.
mod peers;
mod pending;
mod verify;

pub(crate) use peers::{Dump, IdsQuestion, Peer, Peers, RangeQuestion};
pub(crate) use pending::Pending;
pub use verify::{GossipError, Unverified, Verified};
