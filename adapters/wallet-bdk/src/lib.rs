//! The on-chain wallet: funds channels, receives what they return, pays fees, sweeps.
//!
//! [`OnchainWallet`] keeps BIP 84 addresses of a BIP 39 seed, on bdk. It follows the chain as a
//! [`ChainListener`](lightning_traits::interface::ChainListener) with whole blocks, lends coins to claims as a
//! [`CoinSource`](lightning_traits::interface::CoinSource), and stores nothing itself: what changed is taken with
//! [`OnchainWallet::take_changes`] as bytes, to be appended to the caller's store.
//!
//! # Invariants
//! - a coin is promised once: to one funding transaction, one payment or one claim
//! - unconfirmed coins of others are never spent
//! - no secret is printed
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "adapters are where the outside world is touched (I1)"
)]

mod changes;
mod coins;
mod error;
mod follow;
mod lock;
mod seed;
mod spend;
mod wallet;

pub use error::WalletError;
pub use seed::WalletSeed;
pub use spend::{Built, SendAmount};
pub use wallet::{Balance, OnchainWallet, WalletCoin, WalletTransaction};
