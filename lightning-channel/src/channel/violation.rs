//! Rules that a peer can break, one variant a rule, with what was seen.
//!
//! Detection never decides the punishment: that is `reaction.rs`. Those of the commitments are C1's own
//! ([`commitments::Violation`]).
use bitcoin::{Amount, ScriptBuf};
use lightning_traits::feature::Feature;
use lightning_traits::id::{ChannelId, ShortChannelId};
use lightning_traits::tx::{ClosingError, SignatureError};
use lightning_traits::units::{CsvDelay, FeeratePerKw, Msat};
use secp256k1::PublicKey;
use thiserror::Error;

use super::PhaseName;
use super::opening::FirstError;
use crate::commitments;

/// What is wrong with the terms in `open_channel` or `accept_channel`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BadTerms {
    /// "`to_self_delay` is unreasonably large."
    #[error("to_self_delay of {0} is too long")]
    DelayTooLong(CsvDelay),
    /// "`option_dual_fund` has been negotiated."
    #[error("dual funding is negotiated, open_channel is not allowed")]
    DualFundNegotiated,
    /// "`dust_limit_satoshis` is greater than `channel_reserve_satoshis`", in either direction.
    #[error("dust limit of {dust} is above the reserve of {reserve}")]
    DustAboveReserve {
        /// The dust limit.
        dust: Amount,
        /// The reserve.
        reserve: Amount,
    },
    /// Above what we let a peer send to miners unseen (CVE-2021-41591).
    #[error("dust limit of {0} is too large")]
    DustTooLarge(Amount),
    /// "`dust_limit_satoshis` is smaller than `354 satoshis`."
    #[error("dust limit of {0} is below 354 sat")]
    DustTooSmall(Amount),
    /// "unreasonably large".
    #[error("feerate of {0} is too high")]
    FeerateTooHigh(FeeratePerKw),
    /// "too small for timely processing".
    #[error("feerate of {0} is too low")]
    FeerateTooLow(FeeratePerKw),
    /// Above the configured largest channel, or 2^24 sat without `option_support_large_channel`.
    #[error("funding of {0} is too large")]
    FundingTooLarge(Amount),
    /// Below the configured smallest channel.
    #[error("funding of {0} is too small")]
    FundingTooSmall(Amount),
    /// "it considers `htlc_minimum_msat` too large."
    #[error("htlc_minimum of {0} is too large")]
    HtlcMinimumTooLarge(Msat),
    /// "it considers `max_htlc_value_in_flight_msat` too small."
    #[error("max_htlc_value_in_flight of {0} is too small")]
    InFlightTooSmall(Msat),
    /// "`minimum_depth` is unreasonably large."
    #[error("minimum_depth of {0} is too deep")]
    MinimumDepthTooDeep(u32),
    /// "the message doesn't include a `channel_type`."
    #[error("no channel_type")]
    MissingChannelType,
    /// A channel without confirmations whose accepter wants some ("MUST set `minimum_depth` to zero").
    #[error("minimum_depth of {0} for a channel that is used before it confirms")]
    MinimumDepthNotZero(u32),
    /// "both `to_local` and `to_remote` amounts for the initial commitment transaction are less than or equal to
    /// `channel_reserve_satoshis`."
    #[error("neither side starts above the reserve")]
    NobodyAboveReserve,
    /// The type needs a feature that one of the two does not offer.
    #[error("{} is not negotiated", .0.name())]
    NotNegotiated(Feature),
    /// "the `channel_type` includes `option_zeroconf` and it does not trust the sender to open an unconfirmed channel."
    #[error("we do not use channels of this peer before they confirm")]
    NotTrusted,
    /// "the funder's amount for the initial commitment transaction is not sufficient for full fee payment."
    #[error("the opener cannot pay for the first commitment")]
    OpenerCannotPay,
    /// "`push_msat` is greater than `funding_satoshis` * 1000."
    #[error("push of {0} is above the funding")]
    PushAboveFunding(Msat),
    /// "it considers `channel_reserve_satoshis` too large."
    #[error("reserve of {0} is too large")]
    ReserveTooLarge(Amount),
    /// "it considers `max_accepted_htlcs` too small."
    #[error("max_accepted_htlcs of {0} is too few")]
    TooFewHtlcs(u16),
    /// "`max_accepted_htlcs` is greater than 483."
    #[error("max_accepted_htlcs of {0} is above 483")]
    TooManyHtlcs(u16),
    /// "`channel_type` does not match the `channel_type` from `open_channel`."
    #[error("channel_type is not the one proposed")]
    TypeMismatch,
    /// "the `chain_hash` value is set to a hash of a chain that is unknown to the receiver."
    #[error("unknown chain")]
    UnknownChain,
    /// "the `channel_type` is not suitable."
    #[error("channel_type is not suitable")]
    UnsuitableType,
    /// The upfront script is of no form that `shutdown` allows.
    #[error("upfront_shutdown_script is of no allowed form")]
    UpfrontScript,
}

/// A rule that the peer broke.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Violation {
    /// BOLT 7: one of the signatures in `announcement_signatures` is wrong.
    #[error("wrong signature in announcement_signatures")]
    AnnouncementSignature,
    /// BOLT 7: the `short_channel_id` is not that of the funding transaction.
    #[error("announcement_signatures for {0}, which is not this channel")]
    AnnouncementScid(ShortChannelId),
    /// An `announcement_signatures` for a channel that is not to be announced.
    #[error("announcement_signatures for an unannounced channel")]
    AnnouncementUnwanted,
    /// Terms of an opening that we do not take.
    #[error("{0}")]
    BadTerms(#[from] BadTerms),
    /// A second `channel_ready` with another point.
    #[error("channel_ready with another point than before")]
    ChannelReadyChanged,
    /// The two fee ranges do not meet, or the fee left both.
    #[error("closing fee of {fee} is outside of {low} to {high}")]
    ClosingFee {
        /// The proposed fee.
        fee: Amount,
        /// The lowest we take.
        low: Amount,
        /// The highest we take.
        high: Amount,
    },
    /// BOLT 2: "if `fee_satoshis` is not in the overlap between the sent and received `fee_range`".
    #[error("closing fee of {0} is outside of both ranges, or changed")]
    ClosingFeeMoved(Amount),
    /// `closing_complete`: no such transaction can be built.
    #[error("no such closing transaction: {0}")]
    ClosingProposal(ClosingError),
    /// `closing_complete` for a script of ours other than the last one we sent.
    #[error("closing_complete for another script than our last one")]
    ClosingScripts,
    /// `closing_complete` or `closing_sig` without the one signature that it must have.
    #[error("not the signature that the closing transaction needs")]
    ClosingSignatures,
    /// `closing_sig` for nothing that we proposed.
    #[error("closing_sig for a transaction that was not proposed")]
    ClosingSigUnasked,
    /// An output of the closing transaction would never be relayed.
    #[error("the closing transaction has an output below the dust limit of its script")]
    ClosingDust,
    /// The signature fits no variant of the closing transaction.
    #[error("wrong signature for the closing transaction: {0}")]
    ClosingSignature(SignatureError),
    /// No closing transaction can be built from the proposed fee.
    #[error("no such closing transaction: {0}")]
    ClosingTransaction(ClosingError),
    /// A rule of normal operation.
    #[error("{0}")]
    Commitment(#[from] commitments::Violation),
    /// BOLT 2, "Message Retransmission": the two sides' counters cannot both be true.
    #[error("channel_reestablish does not fit: {0}")]
    Desync(commitments::Desync),
    /// The funding transaction lacks the output that was negotiated (RELIABILITY A1).
    #[error("the funding transaction lacks the negotiated output")]
    FundingOutput,
    /// `funding_signed` names another channel than the funding outpoint does.
    #[error("funding_signed for {0}, not for the channel")]
    FundingSignedFor(ChannelId),
    /// The first commitment cannot be built, or their signature for it is wrong.
    #[error("{0}")]
    FirstCommitment(FirstError),
    /// The funding outpoint has an all-zero txid (RELIABILITY A6).
    #[error("the funding outpoint is null")]
    NullFunding,
    /// The peer has proven that we lost data (BOLT 2: "MUST NOT broadcast its commitment transaction").
    #[error("the peer has proven that our state is old")]
    ProvenLate {
        /// Its current per-commitment point.
        point: PublicKey,
    },
    /// The peer's answer is overdue.
    #[error("no answer to {0} in time")]
    Overdue(&'static str),
    /// BOLT 2: "if the `scriptpubkey` is not in one of the above forms: SHOULD send a `warning`".
    #[error("shutdown script {0} is of no allowed form")]
    ShutdownScript(ScriptBuf),
    /// A second `shutdown` with another script ("MUST NOT send multiple `shutdown` messages").
    #[error("a second shutdown with another script")]
    ShutdownChanged,
    /// BOLT 2: "that `shutdown_scriptpubkey` is not equal to `scriptpubkey`: ... MUST fail the connection".
    #[error("shutdown script is not the one committed to upfront")]
    ShutdownNotUpfront,
    /// More closing transactions than anybody needs (RELIABILITY K4).
    #[error("too many closing transactions")]
    TooManyCloses,
    /// `start_batch` of more messages than BOLT 2 allows.
    #[error("a batch of {0} messages")]
    BatchTooLarge(u16),
    /// `start_batch` of one message or none, or of several where there is one commitment to sign.
    #[error("a batch of {0} messages, of which there cannot be as many")]
    BatchUnneeded(u16),
    /// Somebody asked for quiescence, and nothing came of it.
    #[error("quiescent for too long")]
    QuietTooLong,
    /// A message of splicing that has no place here.
    #[error("a message of splicing without quiescence, after shutdown, or from the wrong side")]
    SpliceUnexpected,
    /// `stfu` that was not agreed on, unasked for, twice, or with updates pending.
    #[error("stfu that has no place here")]
    StfuUnexpected,
    /// An update after `stfu`.
    #[error("an update after stfu")]
    UpdateWhileQuiet,
    /// More updates without a signature than any commitment could hold.
    #[error("too many updates without commitment_signed")]
    TooManyUpdates,
    /// No message of this type is allowed in this phase.
    #[error("message {message} in phase {phase:?}")]
    Unexpected {
        /// The phase.
        phase: PhaseName,
        /// The message's type.
        message: u16,
    },
    /// The peer proposes to update a channel that is not ready, or closing.
    #[error("an update while {0:?}")]
    UpdateNotAllowed(PhaseName),
}
