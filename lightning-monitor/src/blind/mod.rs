//! Guarding for somebody who is told nothing: signatures against each revoked commitment, in blobs that only the commitment opens.
//!
//! The client's [`Scribe`] follows the peer's commitments. When one is revoked it signs, for each of its outputs, a claim that
//! pays the client, and packs the signatures into a [`Kit`] (`kit.rs`). A kit is [`seal`]ed into blobs of one length whose
//! key is a hash of the commitment's id and whose [`Locator`] is half of that id (`seal.rs`, RELIABILITY L19): who keeps them
//! can neither read them nor tell whose channel they are of before that very commitment is on the chain. Then the keeper's
//! [`Avenger`] (`avenge.rs`) puts the claims on the chain, one transaction for each output (L6).
//!
//! A signature covers its own input and its own output alone (`SIGHASH_SINGLE|ANYONECANPAY`), so the keeper adds coins of its
//! own when the chain is dearer than what was left for the fee when the state was signed (L4).
//!
//! # What it cannot cover
//! - with anchors, what the cheater's second-stage transactions pay: their ids are the cheater's to choose, and a signature
//!   names the id (BOLT 3: HTLC transactions are signed with `SIGHASH_SINGLE|SIGHASH_ANYONECANPAY`)
//! - states that were revoked before there was a scribe: of these no balances are kept (`monitor/history.rs`)
//!
//! # Invariants
//! - what a kit holds opens nothing for its holder but to the client's own script
//! - every blob has the same length, and a state has one for every few HTLCs: its bytes are bounded (BOLT 2: at most 483 HTLCs
//!   each way)
mod avenge;
mod kit;
mod scribe;
mod seal;

pub use avenge::{Avenger, Plan, Prices, Prize};
pub use kit::{BASE_RATE, Claim, Kit, left_of};
pub use scribe::{Scribe, ScribeError, SealedState};
pub use seal::{BLOB, Blob, Locator, open, seal};
