//! BOLT 3: commitment, second-stage and closing transactions, their keys, scripts, signatures and witnesses.
//!
//! Pure functions of values: `CommitmentParams x CommitmentKeys x CommitmentSpec -> CommitmentTx`. Policy (limits, reserve,
//! choice of fees) lives in the channel, claiming on chain in the monitor. Sees `bitcoin`, `units`, `id`,
//! `payment` and `codec` only.
//!
//! # Invariants
//! - money never wraps (I8)
//! - the words are **broadcaster** (whose transaction it is) and **countersigner** (who signs it for the
//!   other); *ours* and *theirs* begin outside, across [`CommitmentSpec::mirror`]
//! - one function decides trimming, see `trim.rs`
#![deny(clippy::arithmetic_side_effects)]

pub mod closing;
pub mod commitment;
pub mod format;
pub mod funding;
pub mod htlc;
pub mod keys;
pub mod script;
pub mod secret;
mod sighash;
pub mod signature;
pub mod spec;
pub mod trim;
pub mod weight;
pub mod witness;

pub use closing::{ClosingError, ClosingKind, ClosingOutput, ClosingSpec, ClosingTx};
pub use commitment::{CommitmentError, CommitmentTx, HtlcOutput, build, number_of};
pub use format::{ANCHOR_VALUE, CommitmentFormat, FormatRules};
pub use funding::{FundingOutput, ObscureFactor};
pub use htlc::SecondStage;
pub use keys::{
    ChannelPublicKeys, CommitmentKeys, HtlcKeys, KeyError, derive_public_key, derive_revocation_key,
    derive_revocation_key_by_base_secret, derive_revocation_key_by_point_secret, derive_revocation_secret,
    derive_secret_key, derive_secret_key_with,
};
pub use secret::{CommitmentSecret, CommitmentSeed, SecretError, SecretStore};
pub use signature::{SignatureError, sign_commitment, verify_commitment};
pub use spec::{CommitmentParams, CommitmentSpec, HtlcSpec, TxSide};
pub use weight::Spend;
