//! Notices: outcomes that the layers above must take over durably before this channel may forget them.
//!
//! A notice is part of the channel's record. It stays there, though the HTLC be gone, until
//! [`Change::NoticeDone`](super::Change::NoticeDone): so no crash between two channels' records loses an outcome.
//!
//! # Invariants
//! - one HTLC gives at most one notice of each kind; repeating a fulfilment gives no second one (RELIABILITY B5)
//! - a preimage is told as soon as it is known; a failure only once it is irrevocable (BOLT 2, "Forwarding HTLCs")
use alloc::vec::Vec;

use lightning_traits::codec::{Decode, DecodeError, Encode, Reader};
use lightning_traits::id::HtlcId;
use lightning_traits::payment::{PaymentHash, Preimage};
use lightning_traits::record;
use lightning_traits::sphinx::AttributionData;
use lightning_traits::units::{CltvExpiry, Msat};

use super::htlc::{Origin, Removal};

/// How an HTLC that we offered ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The peer knows the preimage.
    Fulfilled {
        /// The preimage.
        preimage: Preimage,
        /// How long each hop held it, if told.
        attribution: Option<AttributionData>,
    },
    /// The peer returned a failure for the origin of the payment.
    Failed {
        /// The encrypted failure.
        reason: Vec<u8>,
        /// Who failed it, if told.
        attribution: Option<AttributionData>,
    },
    /// The peer could not read the onion: we make the failure in its stead.
    Malformed {
        /// Which onion.
        sha256_of_onion: [u8; 32],
        /// A BOLT 4 code with `BADONION`.
        code: u16,
    },
    /// The chain returned it to us, or can no longer give it to the peer.
    FailedOnChain {},
}

/// Without attribution data, as a [`Removal`] is.
impl Encode for Outcome {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Fulfilled { preimage, attribution: _ } => {
                out.push(0);
                preimage.encode(out);
            }
            Self::Failed { reason, attribution: _ } => {
                out.push(1);
                reason.encode(out);
            }
            Self::Malformed { sha256_of_onion, code } => {
                out.push(2);
                sha256_of_onion.encode(out);
                code.encode(out);
            }
            Self::FailedOnChain {} => out.push(3),
        }
    }
}

impl Decode for Outcome {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match reader.read::<u8>()? {
            0 => Self::Fulfilled { preimage: reader.read()?, attribution: None },
            1 => Self::Failed { reason: reader.read()?, attribution: None },
            2 => Self::Malformed { sha256_of_onion: reader.read()?, code: reader.read()? },
            3 => Self::FailedOnChain {},
            _ => return Err(DecodeError::InvalidValue("tag of Outcome")),
        })
    }
}

impl From<Removal> for Outcome {
    fn from(removal: Removal) -> Self {
        match removal {
            Removal::Fulfill { preimage, attribution, .. } => Self::Fulfilled { preimage, attribution },
            Removal::Fail { reason, attribution } => Self::Failed { reason, attribution },
            Removal::Malformed { sha256_of_onion, code } => Self::Malformed { sha256_of_onion, code },
        }
    }
}

/// What the layers above must take over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// An HTLC that we offered is settled.
    Settled {
        /// Its id among those we offered.
        htlc: HtlcId,
        /// Where the outcome goes.
        origin: Origin,
        /// What it was locked to.
        hash: PaymentHash,
        /// What it carried.
        amount: Msat,
        /// When it would have timed out.
        expiry: CltvExpiry,
        /// How it ended.
        outcome: Outcome,
        /// Whether the HTLC is irrevocably gone from the channel. A fulfilment is told before that.
        is_final: bool,
    },
    /// An HTLC that the peer offered was claimed by us as its payee.
    Claimed {
        /// Its id among those the peer offered.
        htlc: HtlcId,
        /// What it was locked to.
        hash: PaymentHash,
        /// What it carried.
        amount: Msat,
        /// What all parts of the payment carried.
        total: Msat,
        /// What it was claimed with: other parts of the same payment, on other channels, may still lack it.
        preimage: Preimage,
    },
}

impl Notice {
    /// Its name.
    #[must_use]
    pub const fn key(&self) -> NoticeKey {
        match self {
            Self::Settled { htlc, .. } => NoticeKey::Settled { htlc: *htlc },
            Self::Claimed { htlc, .. } => NoticeKey::Claimed { htlc: *htlc },
        }
    }
}

/// Names a notice within a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NoticeKey {
    /// [`Notice::Settled`] of an HTLC that we offered.
    Settled {
        /// The HTLC.
        htlc: HtlcId,
    },
    /// [`Notice::Claimed`] of an HTLC that the peer offered.
    Claimed {
        /// The HTLC.
        htlc: HtlcId,
    },
}
record!(enum NoticeKey { 0 => Settled { htlc }, 1 => Claimed { htlc } });

/// A [`Notice::Settled`] as the record keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Settlement {
    pub(super) htlc: HtlcId,
    pub(super) origin: Origin,
    pub(super) hash: PaymentHash,
    pub(super) amount: Msat,
    pub(super) expiry: CltvExpiry,
    pub(super) outcome: Outcome,
    /// The HTLC is irrevocably gone.
    pub(super) is_final: bool,
    /// Its origin has taken the outcome. Kept until `is_final`, so that a repeated fulfilment is not told again.
    pub(super) is_done: bool,
}
record!(struct Settlement { htlc, origin, hash, amount, expiry, outcome, is_final, is_done });

impl Settlement {
    pub(super) fn notice(&self) -> Notice {
        Notice::Settled {
            htlc: self.htlc,
            origin: self.origin.clone(),
            hash: self.hash,
            amount: self.amount,
            expiry: self.expiry,
            outcome: self.outcome.clone(),
            is_final: self.is_final,
        }
    }
}

/// A [`Notice::Claimed`] as the record keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) htlc: HtlcId,
    pub(super) hash: PaymentHash,
    pub(super) amount: Msat,
    pub(super) total: Msat,
    pub(super) preimage: Preimage,
}
record!(struct Claim { htlc, hash, amount, total, preimage });

impl Claim {
    pub(super) fn notice(&self) -> Notice {
        Notice::Claimed {
            htlc: self.htlc,
            hash: self.hash,
            amount: self.amount,
            total: self.total,
            preimage: self.preimage.clone(),
        }
    }
}
