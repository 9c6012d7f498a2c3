//! Blocks, fees and broadcast from a bitcoind over JSON-RPC.
//!
//! [`BlockSource`](lightning_traits::interface::BlockSource) is what we ask of a chain. [`BitcoindClient`] answers it from a bitcoind (cookie or password),
//! and the embedded chain answers it too, in process or served. On it stand [`ChainFollower`], which brings
//! every listener to the tip without skipping a block, [`BitcoindBroadcaster`], which repeats until a transaction
//! is buried, and [`BitcoindFees`].
//!
//! Nothing runs by itself: the program calls [`ChainFollower::poll`], [`BitcoindBroadcaster::rebroadcast`] and
//! [`BitcoindFees::refresh`] when it wants. All calls block; their errors say in one sentence what is wrong.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "adapters are where the outside world is touched (I1)"
)]

mod broadcast;
mod client;
mod fees;
mod follow;
mod regtest;
mod rpc;

pub use broadcast::{BitcoindBroadcaster, Report};
pub use client::BitcoindClient;
pub use fees::BitcoindFees;
pub use follow::{ChainFollower, FollowError, Progress};
pub use regtest::RegtestBitcoind;
pub use rpc::Auth;
