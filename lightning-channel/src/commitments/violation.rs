//! Rules of normal operation that a peer can break (BOLT 2, "Normal Operation"), one variant a rule.
//!
//! What follows from each is decided elsewhere (DESIGN section 7).
use bitcoin::Txid;
use lightning_traits::id::{CommitmentNumber, HtlcId};
use lightning_traits::tx::{CommitmentError, SignatureError};
use lightning_traits::units::{CltvExpiry, FeeratePerKw, Msat};
use thiserror::Error;

/// A rule that the peer broke, with what was seen.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Violation {
    /// `update_add_htlc`: "receiving an `amount_msat` ... less than its own `htlc_minimum_msat`".
    #[error("HTLC {htlc} of {amount} is below our minimum of {minimum}")]
    AmountBelowMinimum {
        /// The HTLC.
        htlc: HtlcId,
        /// What it carries.
        amount: Msat,
        /// The least.
        minimum: Msat,
    },
    /// `update_add_htlc`: "receiving an `amount_msat` equal to 0".
    #[error("HTLC {0} carries nothing")]
    AmountZero(HtlcId),
    /// A point with which no keys can be derived.
    #[error("a per-commitment point that cancels out a base point")]
    BadPoint,
    /// `update_fee`: "the dust balance ... is greater than `max_dust_htlc_exposure_msat`: MAY fail the channel".
    #[error("dust exposure of {exposure} would be above {limit}")]
    DustExposure {
        /// What it would be.
        exposure: Msat,
        /// The bound.
        limit: Msat,
    },
    /// `update_add_htlc`: "sets `cltv_expiry` to greater or equal to 500000000".
    #[error("HTLC {htlc} expires at {expiry}, which is a time and not a height")]
    ExpiryIsTime {
        /// The HTLC.
        htlc: HtlcId,
        /// The expiry.
        expiry: CltvExpiry,
    },
    /// `update_fee`: "OR is unreasonably large", again on new connections for some blocks: what it pays above what is fair, or
    /// the HTLCs that it leaves without outputs, are above our bound of exposure.
    #[error("feerate {feerate} is insisted on; dust exposure of {exposure} would be above {limit}")]
    ExposureInsisted {
        /// The feerate.
        feerate: FeeratePerKw,
        /// What the exposure would be.
        exposure: Msat,
        /// The bound.
        limit: Msat,
    },
    /// `update_fee`: "the sender is not responsible for paying the Bitcoin fee".
    #[error("update_fee from the side that does not pay fees")]
    FeeFromAccepter,
    /// `update_fee`: "the sender cannot afford the new fee rate".
    #[error("feerate {feerate} cannot be paid; {missing} are missing")]
    FeeUnaffordable {
        /// The feerate.
        feerate: FeeratePerKw,
        /// What is missing.
        missing: Msat,
    },
    /// `update_fee`: "too low for timely processing", again after a new connection, while HTLCs are in flight.
    #[error("feerate {feerate} is below {limit}, is insisted on, and HTLCs are in flight")]
    FeerateInsisted {
        /// The feerate.
        feerate: FeeratePerKw,
        /// The least.
        limit: FeeratePerKw,
    },
    /// `update_fee`: "OR is unreasonably large".
    #[error("feerate {feerate} is above {limit}")]
    FeerateTooHigh {
        /// The feerate.
        feerate: FeeratePerKw,
        /// The most.
        limit: FeeratePerKw,
    },
    /// `update_fee`: "too low for timely processing".
    #[error("feerate {feerate} is below {limit}")]
    FeerateTooLow {
        /// The feerate.
        feerate: FeeratePerKw,
        /// The least.
        limit: FeeratePerKw,
    },
    /// `commitment_signed` for another funding transaction than the channel's (RELIABILITY B12).
    #[error("commitment_signed for another funding transaction, {0}")]
    ForeignFunding(Txid),
    /// A removal of an HTLC that was removed before.
    #[error("HTLC {0} is removed already")]
    HtlcAlreadyRemoved(HtlcId),
    /// `update_add_htlc`: ids count up by one.
    #[error("HTLC {got} where {expected} was expected")]
    HtlcIdOutOfOrder {
        /// The next id.
        expected: HtlcId,
        /// The id that came.
        got: HtlcId,
    },
    /// A removal of an HTLC that is "not ... in its current commitment transaction" yet.
    #[error("HTLC {0} is not committed yet")]
    HtlcNotCommitted(HtlcId),
    /// A removal of an HTLC that there never was, or is no more.
    #[error("no HTLC {0}")]
    HtlcUnknown(HtlcId),
    /// `update_fail_malformed_htlc`: "if the `BADONION` bit in `failure_code` is not set".
    #[error("code {code:#06x} for HTLC {htlc} lacks BADONION")]
    MissingBadOnion {
        /// The HTLC.
        htlc: HtlcId,
        /// The code.
        code: u16,
    },
    /// The commitment would have no output at all (RELIABILITY C10).
    #[error("HTLC {0} leaves a commitment without any output")]
    NoOutput(HtlcId),
    /// `update_add_htlc` of the other side: we, the opener, could not pay for it.
    #[error("the opener cannot pay the fee with HTLC {htlc}; {missing} are missing")]
    OpenerCannotPay {
        /// The HTLC.
        htlc: HtlcId,
        /// What is missing.
        missing: Msat,
    },
    /// `revoke_and_ack`: "was not generated by the protocol in BOLT #3".
    #[error("the secret of commitment {0} does not come from the seed of the earlier ones")]
    SecretNotFromSeed(CommitmentNumber),
    /// `update_add_htlc`: "that the sending node cannot afford at the current `feerate_per_kw`".
    #[error("HTLC {htlc} cannot be afforded; {missing} are missing")]
    SenderCannotAfford {
        /// The HTLC.
        htlc: HtlcId,
        /// What is missing.
        missing: Msat,
    },
    /// `commitment_signed`: a signature is wrong or has a high S, or there are too many or too few.
    #[error("commitment {number}: {error}")]
    Signature {
        /// Our commitment.
        number: CommitmentNumber,
        /// What is wrong.
        error: SignatureError,
    },
    /// `update_add_htlc`: "more than receiver `max_accepted_htlcs` HTLCs".
    #[error("more than {0} HTLCs")]
    TooManyHtlcs(u16),
    /// `update_add_htlc`: "more than receiver `max_htlc_value_in_flight_msat`".
    #[error("{total} in flight is above our {limit}")]
    TooMuchInFlight {
        /// What it would be.
        total: Msat,
        /// The most.
        limit: Msat,
    },
    /// The committed state makes no transaction.
    #[error("commitment {number}: {error}")]
    Unbuildable {
        /// Our commitment.
        number: CommitmentNumber,
        /// Why.
        error: CommitmentError,
    },
    /// `revoke_and_ack` when nothing waits to be revoked.
    #[error("revoke_and_ack without a commitment_signed before it")]
    UnexpectedRevocation,
    /// `update_fulfill_htlc`: "doesn't SHA256 hash to the corresponding HTLC `payment_hash`".
    #[error("the preimage does not open HTLC {0}")]
    WrongPreimage(HtlcId),
    /// `revoke_and_ack`: "is not a valid secret key or does not generate the previous `per_commitment_point`".
    #[error("the secret is not that of commitment {0}")]
    WrongSecret(CommitmentNumber),
}
