//! What the tests share: a chain with rules, a channel with both sides' secrets, a store that can lose what is not durable,
//! a wallet, and the [`World`] that puts a [`MonitorSet`] among them.
pub(crate) mod chain;
pub(crate) mod pair;
pub(crate) mod side;
pub(crate) mod space;
pub(crate) mod store;
pub(crate) mod wallet;
pub(crate) mod world;

pub(crate) use chain::BASE;
pub(crate) use pair::{Delta, FEERATE, Htlc, Pair, THEIR_DELAY};
pub(crate) use side::destination;
pub(crate) use world::{Restart, World};

use lightning_traits::tx::CommitmentFormat;

/// Both formats.
pub(crate) const FORMATS: [CommitmentFormat; 2] =
    [CommitmentFormat::StaticRemoteKey, CommitmentFormat::AnchorsZeroFeeHtlc];

/// Every way to restart.
pub(crate) const RESTARTS: [Restart; 4] =
    [Restart::Never, Restart::EachBlock, Restart::LosingWrites, Restart::Sleeping];

pub(crate) const fn offered(id: u64, sat: u64, secret: u8, expiry: u32) -> Htlc {
    Htlc { by_us: true, id, msat: sat * 1000, secret, expiry }
}

pub(crate) const fn received(id: u64, sat: u64, secret: u8, expiry: u32) -> Htlc {
    Htlc { by_us: false, id, msat: sat * 1000, secret, expiry }
}

pub(crate) fn adding(htlcs: &[Htlc]) -> Delta {
    Delta { add: htlcs.to_vec(), ..Delta::default() }
}
