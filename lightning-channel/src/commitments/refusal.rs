//! Why a decision of our own is refused; the state is as it was (I5).
use lightning_traits::id::{CommitmentNumber, HtlcId};
use lightning_traits::interface::SignError;
use lightning_traits::tx::CommitmentError;
use lightning_traits::units::{CltvExpiry, FeeratePerKw, Msat};
use thiserror::Error;

use super::violation::Violation;

/// Why we may not offer an HTLC (BOLT 2, "Adding an HTLC", sending node).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum OfferRefused {
    /// "MUST offer `amount_msat` greater than 0."
    #[error("an HTLC must carry something")]
    AmountZero,
    /// "MUST NOT offer `amount_msat` below the receiving node's `htlc_minimum_msat`."
    #[error("{amount} is below the peer's minimum of {minimum}")]
    BelowMinimum {
        /// What was to be offered.
        amount: Msat,
        /// The least.
        minimum: Msat,
    },
    /// Too much would be in HTLCs without outputs (RELIABILITY C1).
    #[error("dust exposure of {exposure} would be above {limit}")]
    DustExposure {
        /// What it would be.
        exposure: Msat,
        /// The bound.
        limit: Msat,
    },
    /// "MUST set `cltv_expiry` less than 500000000."
    #[error("expiry {0} would be a time, not a height")]
    ExpiryIsTime(CltvExpiry),
    /// Our balance does not reach for the HTLC, our reserve and, if we pay them, the fees with a buffer.
    #[error("{amount} is more than can be sent; {missing} are missing")]
    InsufficientBalance {
        /// What was to be offered.
        amount: Msat,
        /// What is missing.
        missing: Msat,
    },
    /// The commitment would have no output at all (RELIABILITY C10).
    #[error("the commitment would have no output")]
    NoOutput,
    /// The peer, who pays fees, could not pay for one more HTLC.
    #[error("the peer cannot pay the fee for one more HTLC; {missing} are missing")]
    PeerCannotPay {
        /// What is missing.
        missing: Msat,
    },
    /// "more than the remote's `max_accepted_htlcs`".
    #[error("the peer accepts {limit} HTLCs at a time")]
    TooManyHtlcs {
        /// The most.
        limit: u16,
    },
    /// "would exceed the remote's `max_htlc_value_in_flight_msat`".
    #[error("{total} in flight would be above the peer's {limit}")]
    TooMuchInFlight {
        /// What it would be.
        total: Msat,
        /// The most.
        limit: Msat,
    },
}

/// Why we may not remove an HTLC that they offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RemovalRefused {
    /// It was removed before: repeating is safe.
    #[error("HTLC {0} is removed already")]
    AlreadyRemoved(HtlcId),
    /// BOLT 4 asks for `BADONION` in a malformed failure's code (RELIABILITY B14).
    #[error("code {0:#06x} lacks BADONION")]
    MissingBadOnion(u16),
    /// "until the corresponding HTLC is irrevocably committed in both sides' commitment transactions: MUST NOT send".
    #[error("HTLC {0} is not irrevocably committed")]
    NotCommitted(HtlcId),
    /// The failure does not fit a message (RELIABILITY B16).
    #[error("a failure of {0} bytes does not fit a message")]
    ReasonTooLong(usize),
    /// There is no such HTLC.
    #[error("no HTLC {0}")]
    Unknown(HtlcId),
    /// The preimage is another payment's.
    #[error("the preimage does not open HTLC {0}")]
    WrongPreimage(HtlcId),
}

/// Why we may not change the feerate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FeeRefused {
    /// Too much would be in HTLCs without outputs.
    #[error("dust exposure of {exposure} would be above {limit}")]
    DustExposure {
        /// What it would be.
        exposure: Msat,
        /// The bound.
        limit: Msat,
    },
    /// "The node not responsible for paying the Bitcoin fee: MUST NOT send `update_fee`."
    #[error("only the opener sets the feerate")]
    NotOpener,
    /// Outside of what the policy allows.
    #[error("feerate {0} is out of range")]
    OutOfRange(FeeratePerKw),
    /// It is so already.
    #[error("the feerate is {0} already")]
    Same(FeeratePerKw),
    /// We could not pay for it above our reserve.
    #[error("{missing} are missing for the fee")]
    Unaffordable {
        /// What is missing.
        missing: Msat,
    },
}

/// Why we do not sign now. The intent is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NotNow {
    /// Their `channel_ready` has not come, so we do not know the point to sign for.
    #[error("channel_ready has not come")]
    AwaitingReady,
    /// Their `revoke_and_ack` for the commitment before has not come.
    #[error("the revocation has not come")]
    AwaitingRevocation,
    /// Their point cancels out a base point of the channel: no commitment can be made with it.
    #[error("their per-commitment point gives no keys")]
    BadPoint,
    /// There is no new update.
    #[error("nothing to sign")]
    NothingToSign,
    /// The signer is not done, or refuses.
    #[error("{0}")]
    Signer(SignError),
    /// The state makes no transaction. Limits are there so that this never happens.
    #[error("{0}")]
    Unbuildable(CommitmentError),
}

/// Why their `commitment_signed` was not taken.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CommitRefused {
    /// The signer is not done: hold the message and ask again.
    #[error("{0}")]
    Signer(SignError),
    /// The peer broke a rule.
    #[error("{0}")]
    Violation(#[from] Violation),
}

/// Why a `channel_reestablish` does not lead to a common state (BOLT 2, "Message Retransmission").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Desync {
    /// "if `next_commitment_number` is zero: MUST immediately fail the channel and broadcast".
    #[error("the peer expects commitment zero again")]
    NextCommitmentZero,
    /// The peer lacks commitments or revocations that it had confirmed: it lost data. Our state is good.
    #[error("the peer lost data: it is at {theirs}, we know it was at {ours}")]
    PeerLost {
        /// The number that it named.
        theirs: CommitmentNumber,
        /// The number that it should have named.
        ours: CommitmentNumber,
    },
    /// The signer cannot say now whether the peer's proof is good: ask again.
    #[error("{0}")]
    Signer(SignError),
    /// The peer names a number above ours.
    #[error("the peer is ahead (proven: {proven}): it is at {theirs}, we are at {ours}")]
    WeAreLate {
        /// Whether it showed a secret that we would have released by then: then our commitment must never be
        /// broadcast. Without proof our state counts as good (RELIABILITY B2).
        proven: bool,
        /// The number that it named.
        theirs: CommitmentNumber,
        /// Ours.
        ours: CommitmentNumber,
    },
    /// `your_last_per_commitment_secret` is not the secret that we sent.
    #[error("the secret is not the one for commitment {number} that we sent")]
    WrongSecret {
        /// The commitment.
        number: CommitmentNumber,
    },
}
