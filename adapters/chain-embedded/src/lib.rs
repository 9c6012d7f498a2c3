//! An in-process regtest chain that really verifies, for demos and tests.
//!
//! [`EmbeddedChain`] holds blocks, coins and a mempool. Consensus: values, double spends, coinbase maturity,
//! lock times (BIP 65, 113), relative lock times (BIP 68, 112), subsidy, BIP 34, witness commitment, block weight,
//! regtest proof of work, and every script and witness up to taproot by Bitcoin Core's own code. Policy: minimum
//! relay fee, dust, standard forms, replacement by fee, chains of 25, packages of parents with a child, version 3
//! transactions and ephemeral dust. Who tests says how much of a block is left, and when a full mempool lets go of what. A
//! real bitcoind accepts its blocks.
//!
//! Programs in the same process hold it as a [`BlockSource`](lightning_traits::interface::BlockSource); others reach it
//! through [`ChainServer`], which speaks the JSON-RPC methods of bitcoind that our client uses.
//!
//! Not checked, so ask a real bitcoind: MINIMALIF and other script policy, signature operation limits, fee
//! estimation. Never for production: regtest has no work to protect it.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "adapters are where the outside world is touched (I1)"
)]

mod chain;
mod check;
mod ledger;
mod mempool;
mod policy;
mod reject;
mod serve;
mod source;
mod template;

pub use chain::{EmbeddedChain, MempoolEntry};
pub use check::Coin;
pub use ledger::StoredBlock;
pub use policy::Policy;
pub use reject::{BlockError, PackageError, RejectReason};
pub use serve::{ChainServer, ServeOptions};
pub use template::BlockSpace;
