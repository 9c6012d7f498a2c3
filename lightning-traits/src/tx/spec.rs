//! What one commitment says, before it is a transaction: balances, HTLCs, feerate.
//!
//! In `tx/` the two sides are the **broadcaster**, whose commitment it is, and the **countersigner**, whose
//! signature it carries. Outside they are *ours* and *theirs*; [`CommitmentSpec::mirror`] is the one bridge.
//!
//! # Invariants
//! - `spec.mirror().mirror() == spec`
//! - balances exclude HTLCs, fees and anchors are not yet taken: the sum is the channel's capacity
use alloc::vec::Vec;

use bitcoin::Amount;
use secp256k1::PublicKey;

use super::format::CommitmentFormat;
use super::funding::{FundingOutput, ObscureFactor};
use crate::id::HtlcId;
use crate::payment::PaymentHash;
use crate::units::{CltvExpiry, CsvDelay, FeeratePerKw, Msat};

/// One of the two sides of a commitment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TxSide {
    /// The side whose commitment it is.
    Broadcaster,
    /// The side that signs it for the other.
    Countersigner,
}

crate::record!(enum TxSide { 0 => Broadcaster {}, 1 => Countersigner {} });

impl TxSide {
    /// The other side.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Broadcaster => Self::Countersigner,
            Self::Countersigner => Self::Broadcaster,
        }
    }
}

/// An HTLC as a commitment shows it. Slim: onions live elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HtlcSpec {
    /// Who offered it, and so what kind of output it is.
    pub offered_by: TxSide,
    /// Its id among those of the side that offered it.
    pub id: HtlcId,
    /// What it carries; the output is rounded down to whole satoshis.
    pub amount: Msat,
    /// What it is locked to.
    pub payment_hash: PaymentHash,
    /// From when it may be timed out.
    pub expiry: CltvExpiry,
}

crate::record!(struct HtlcSpec { offered_by, id, amount, payment_hash, expiry });

impl HtlcSpec {
    /// The same HTLC on the other side's commitment.
    #[must_use]
    pub const fn mirror(self) -> Self {
        Self { offered_by: self.offered_by.other(), ..self }
    }
}

/// What one commitment says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitmentSpec {
    /// What fees are computed from.
    pub feerate: FeeratePerKw,
    /// The broadcaster's balance.
    pub to_broadcaster: Msat,
    /// The countersigner's balance.
    pub to_countersigner: Msat,
    /// The HTLCs in flight, in any order.
    pub htlcs: Vec<HtlcSpec>,
}

crate::record!(struct CommitmentSpec { feerate, to_broadcaster, to_countersigner, htlcs list });

impl CommitmentSpec {
    /// The same state as the other side's commitment says it: the only place where the sides are swapped.
    #[must_use]
    pub fn mirror(&self) -> Self {
        Self {
            feerate: self.feerate,
            to_broadcaster: self.to_countersigner,
            to_countersigner: self.to_broadcaster,
            htlcs: self.htlcs.iter().map(|htlc| htlc.mirror()).collect(),
        }
    }

    /// The balance of one side.
    #[must_use]
    pub const fn balance(&self, side: TxSide) -> Msat {
        match side {
            TxSide::Broadcaster => self.to_broadcaster,
            TxSide::Countersigner => self.to_countersigner,
        }
    }

    /// Balances and HTLCs together, or `None` when they do not fit a number.
    #[must_use]
    pub fn total(&self) -> Option<Msat> {
        let balances = [self.to_broadcaster, self.to_countersigner];
        Msat::checked_sum(balances.into_iter().chain(self.htlcs.iter().map(|htlc| htlc.amount)))
    }
}

/// What is the same for all commitments of one broadcaster on one funding output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CommitmentParams {
    /// How the transactions look.
    pub format: CommitmentFormat,
    /// What is spent.
    pub funding: FundingOutput,
    /// The broadcaster's key of the funding output; the other key is the countersigner's.
    pub broadcaster_funding_key: PublicKey,
    /// Hides commitment numbers.
    pub obscure: ObscureFactor,
    /// The broadcaster's `dust_limit_satoshis`: smaller outputs are not produced.
    pub dust_limit: Amount,
    /// The `to_self_delay` that the countersigner imposed on the broadcaster.
    pub to_self_delay: CsvDelay,
    /// Who opened the channel, and so pays commitment fees and anchors.
    pub opener: TxSide,
}

crate::record!(struct CommitmentParams {
    format,
    funding,
    broadcaster_funding_key,
    obscure,
    dust_limit,
    to_self_delay,
    opener,
});

impl CommitmentParams {
    /// The countersigner's key of the funding output.
    #[must_use]
    pub fn countersigner_funding_key(&self) -> PublicKey {
        self.funding.other_key(&self.broadcaster_funding_key)
    }
}
