//! What to pay, and how a payment of ours is seen from outside.
use alloc::vec::Vec;

use lightning_traits::event::PaymentFailure;
use lightning_traits::id::{NodeId, PaymentId};
use lightning_traits::payment::{PaymentHash, Preimage};
use lightning_traits::route::RouteHint;
use lightning_traits::units::{CltvDelta, Msat};
use thiserror::Error;

use super::onion::Recipient;

/// What to pay, as an invoice says it, and what it may cost.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PayParams {
    /// Whom.
    pub payee: NodeId,
    /// What must arrive.
    pub amount: Msat,
    /// For which preimage.
    pub hash: PaymentHash,
    /// What the payee's onions say.
    pub recipient: Recipient,
    /// `min_final_cltv_expiry_delta` of the invoice.
    pub final_cltv_delta: CltvDelta,
    /// Private ways to the payee.
    pub hints: Vec<RouteHint>,
    /// The most that all fees together may cost; by default what the configuration allows.
    pub max_fee: Option<Msat>,
    /// The most parts at a time; 1 unless the payee offers `basic_mpp` (BOLT 4).
    pub max_parts: u16,
    /// Ticks after which nothing new is tried; what is in flight then still ends by itself.
    pub max_ticks: Option<u32>,
}

impl PayParams {
    /// What an invoice without anything special says, paid in one part.
    #[must_use]
    pub const fn new(
        payee: NodeId,
        amount: Msat,
        hash: PaymentHash,
        recipient: Recipient,
        final_cltv_delta: CltvDelta,
    ) -> Self {
        Self {
            payee,
            amount,
            hash,
            recipient,
            final_cltv_delta,
            hints: Vec::new(),
            max_fee: None,
            max_parts: 1,
            max_ticks: None,
        }
    }
}

/// Blocks that the last HTLC of a payment has that nobody asked for: no invoice says how many its payee wants.
const SPONTANEOUS_DELTA: CltvDelta = CltvDelta::new(42);

impl PayParams {
    /// A payment that its payee has not asked for ("keysend", bLIP 3). The preimage must be random, and of this payment alone.
    #[must_use]
    pub fn spontaneous(payee: NodeId, amount: Msat, preimage: Preimage) -> Self {
        let hash = preimage.hash();
        Self::new(payee, amount, hash, Recipient::spontaneous(preimage), SPONTANEOUS_DELTA)
    }
}

/// Why a payment is not begun. Nothing was sent.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PayError {
    /// The id is in use by a payment that is not finished and acknowledged: this is the same payment.
    #[error("payment {0} was begun before")]
    Duplicate(PaymentId),
    /// A payment to the same hash is under way: whoever forwards one of them could keep the other.
    #[error("a payment to hash {0} is under way")]
    SameHash(PaymentHash),
    /// Nothing to pay.
    #[error("nothing to pay")]
    Nothing,
    /// A route without paths, or a path without hops, or with one to another payee or through no node.
    #[error("the route leads nowhere")]
    BadRoute,
    /// Several parts need the payee's `payment_secret` (BOLT 4: "MUST require `payment_secret` for all HTLCs in the set").
    #[error("a payment in parts needs the payee's secret")]
    NoSecret,
    /// An application's record of a type that is not an application's.
    #[error("{0} is not the type of an application's record, which is at least 65536")]
    BadRecord(u64),
    /// The preimage to be sent along is that of another hash.
    #[error("the preimage to be sent along is not that of {0}")]
    WrongPreimage(PaymentHash),
}

/// How far a payment is, for a list.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PaymentState {
    /// Under way.
    Pending {
        /// Questions for a route so far.
        attempts: u32,
        /// HTLCs that are in flight.
        parts: usize,
        /// What is in flight, as it would be delivered.
        in_flight: Msat,
        /// What the parts in flight cost.
        fee: Msat,
    },
    /// Paid; the event waits for its acknowledgement.
    Sent {
        /// The proof.
        preimage: Preimage,
    },
    /// Failed; the event waits for its acknowledgement.
    Failed(PaymentFailure),
}

/// A payment of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaymentDetails {
    /// The user's name for it.
    pub id: PaymentId,
    /// Its hash.
    pub hash: PaymentHash,
    /// What the payee is to get.
    pub amount: Msat,
    /// How far it is.
    pub state: PaymentState,
}
