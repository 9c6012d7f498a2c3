//! Outputs that are ours, or may be, and how each is claimed.
//!
//! One [`Output`] an outpoint. `ours.rs`, `theirs.rs` and `revoked.rs` find them in a commitment, `second_stage.rs`
//! in what spends its HTLCs. `package.rs` says which are claimed together, `fee/` at what price, and `build.rs` makes and signs
//! the transaction. `child.rs` pays for a commitment that is on its way.
//!
//! # Invariants
//! - what somebody else may spend is claimed by a transaction of its own, so nobody can invalidate one claim by making
//!   another impossible (RELIABILITY L6)
mod build;
mod child;
mod fee;
mod funded;
mod ours;
mod package;
mod revoked;
mod second_stage;
mod theirs;

use bitcoin::hashes::Hash as _;
use bitcoin::{Amount, OutPoint, ScriptBuf, Txid, WPubkeyHash};
use lightning_traits::id::CommitmentNumber;
use lightning_traits::record;
use lightning_traits::tx::{HtlcSpec, Spend};
use lightning_traits::units::BlockHeight;
use secp256k1::PublicKey;
use secp256k1::ecdsa::Signature;

pub(crate) use build::{BuildError, FeeInputs};
pub(crate) use child::{Child, Parent};
pub(crate) use fee::{
    COIN_INPUT_WEIGHT, LONGEST_CHANGE, Offer, Price, Rank, Stake, in_time, least_replacing, pace, rate_of,
};
pub(crate) use funded::Funded;
pub(crate) use package::{Attempt, Package};

/// A confirmed spend of an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Spent {
    pub(crate) txid: Txid,
    pub(crate) height: BlockHeight,
    /// Whether the spend is a claim of ours.
    pub(crate) by_us: bool,
}
record!(struct Spent { txid, height, by_us });

/// Whose secret signs the claim, beside what [`Spend`] says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Authority {
    /// Keys of ours at this per-commitment point.
    Point { point: PublicKey },
    /// The revocation key of their commitment `number`.
    Revocation { number: CommitmentNumber },
    /// Second stage of ours: their signature, and our point.
    SecondStage { point: PublicKey, signature: Signature },
}
record!(enum Authority { 0 => Point { point }, 1 => Revocation { number }, 2 => SecondStage { point, signature } });

/// An output that is ours, or may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Output {
    pub(crate) outpoint: OutPoint,
    pub(crate) value: Amount,
    /// The witness script; for P2WPKH the script code of BIP 143.
    pub(crate) script: ScriptBuf,
    /// How we would spend it.
    pub(crate) spend: Spend,
    pub(crate) authority: Authority,
    /// The HTLC, when it is one.
    pub(crate) htlc: Option<HtlcSpec>,
    /// Height of the transaction that made it.
    pub(crate) created: BlockHeight,
    pub(crate) spent: Option<Spent>,
    /// What claims of it have offered, until it is irrevocably spent.
    pub(crate) offered: Option<Offer>,
}
record!(struct Output { outpoint, value, script, spend, authority, htlc, created, spent, offered });

impl Output {
    /// The script of the output itself.
    pub(crate) fn script_pubkey(&self) -> ScriptBuf {
        // The script code of P2WPKH has the form of P2PKH, which no witness script of BOLT 3 has.
        let hash = self.script.as_bytes().get(3..23).filter(|_| self.script.is_p2pkh());
        match hash.and_then(|hash| WPubkeyHash::from_slice(hash).ok()) {
            Some(hash) => ScriptBuf::new_p2wpkh(&hash),
            None => self.script.to_p2wsh(),
        }
    }

    /// Whether only a preimage makes it ours.
    pub(crate) const fn needs_preimage(&self) -> bool {
        matches!(self.spend, Spend::HtlcSuccess | Spend::OfferedWithPreimage)
    }

    /// Whether a claim of it goes through a second-stage transaction of ours.
    pub(crate) const fn is_second_stage(&self) -> bool {
        matches!(self.spend, Spend::HtlcSuccess | Spend::HtlcTimeout)
    }

    /// Whether it is an HTLC that *we* offered: the peer can take it with the preimage.
    pub(crate) const fn is_offered_by_us(&self) -> bool {
        matches!(self.spend, Spend::HtlcTimeout | Spend::ReceivedAfterExpiry | Spend::RevokedReceived)
    }

    /// Whether somebody else has it if no claim of it confirms in time.
    pub(crate) const fn may_be_taken(&self) -> bool {
        match self.spend {
            Spend::Delayed | Spend::CountersignerBalance => false,
            Spend::Anchor | Spend::AnchorByAnyone | Spend::Funding => false,
            Spend::HtlcSuccess | Spend::HtlcTimeout => true,
            Spend::OfferedWithPreimage | Spend::ReceivedAfterExpiry => true,
            Spend::RevokedDelayed | Spend::RevokedOffered | Spend::RevokedReceived => true,
        }
    }

    /// Whether it is the peer's, and taken because the peer cheated.
    pub(crate) const fn is_penalty(&self) -> bool {
        matches!(self.spend, Spend::RevokedDelayed | Spend::RevokedOffered | Spend::RevokedReceived)
    }
}
