//! What follows from a broken rule: one table for all rules and phases (DESIGN section 7).
use super::PhaseName;
use super::violation::Violation;
use crate::commitments;

/// What we do about a violation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reaction {
    /// Nothing but a line in the log.
    Ignore,
    /// Send a `warning`, go on.
    Warn,
    /// Send a `warning` and hang up: the reconnection starts from a known state.
    WarnAndDisconnect,
    /// Send an `error` and forget a channel that has no money in it yet.
    AbortNegotiation,
    /// Send an `error` and go to the chain with our latest commitment (BOLT 5, "Failing a Channel").
    FailChannel,
    /// Send an `error` and never broadcast: our latest commitment is an old one.
    GoPassive,
}

/// The reaction to `violation` in `phase`.
#[must_use]
pub fn reaction(violation: &Violation, phase: PhaseName) -> Reaction {
    // Before there is a funding output, the worst that can be done is to forget the attempt. A peer that proposes
    // nonsense in between is no reason to drop what is being negotiated with it.
    if phase.is_opening() {
        return Reaction::AbortNegotiation;
    }
    match violation {
        // BOLT 7: "If the `short_channel_id` doesn't match one of its funding transactions: SHOULD send a `warning`".
        Violation::AnnouncementScid(_) => Reaction::Warn,
        // BOLT 7: "MUST NOT send the `announcement_signatures` message" otherwise; harmless.
        Violation::AnnouncementUnwanted => Reaction::Ignore,
        // BOLT 7: "MAY send a `warning` and close the connection, or send an `error` and fail the channel".
        Violation::AnnouncementSignature => Reaction::WarnAndDisconnect,
        // BOLT 2, `channel_ready`: a second one may carry another alias but never another point.
        Violation::ChannelReadyChanged => Reaction::FailChannel,
        // BOLT 2, `closing_signed`: "MUST send a `warning` and close the connection, or send an `error` and fail the channel".
        // A closed connection lets the negotiation start again; nobody's money waits meanwhile.
        Violation::ClosingSignature(_) => Reaction::WarnAndDisconnect,
        // BOLT 2: "if there is no overlap ...: SHOULD send a warning, MUST fail the channel if it doesn't receive a satisfying
        // `fee_range` after a reasonable amount of time": the overdue reaction below fails it.
        Violation::ClosingFee { .. } => Reaction::WarnAndDisconnect,
        // BOLT 2: "if `fee_satoshis` is not in the overlap ...: MUST fail the channel", and if it is not what was sent before.
        Violation::ClosingFeeMoved(_) => Reaction::FailChannel,
        // BOLT 2: "if one of the outputs in the closing transaction is below the dust limit ...: MUST fail the channel".
        Violation::ClosingDust | Violation::ClosingTransaction(_) => Reaction::FailChannel,
        // BOLT 2, `closing_complete` and `closing_sig`: "MUST either send a `warning` and close the connection, or send an `error`
        // and fail the channel"; of scripts that crossed: "SHOULD send a `warning`. SHOULD close the connection."
        Violation::ClosingProposal(_)
        | Violation::ClosingScripts
        | Violation::ClosingSignatures
        | Violation::ClosingSigUnasked => Reaction::WarnAndDisconnect,
        // Those that are signed will do.
        Violation::TooManyCloses => Reaction::Warn,
        // BOLT 2, `start_batch`: "If `batch_size` is not strictly greater than 1: MUST ignore ... SHOULD send a `warning`."
        Violation::BatchUnneeded(_) => Reaction::Warn,
        // "If `batch_size` is strictly greater than 20: MUST send a `warning` and close the connection, or ..."
        Violation::BatchTooLarge(_) => Reaction::WarnAndDisconnect,
        // BOLT 2, `stfu`: a broken promise ends with the connection. `splice_init` and others: "MUST send a `warning` and close the
        // connection or send an `error` and fail the channel."
        Violation::QuietTooLong
        | Violation::SpliceUnexpected
        | Violation::StfuUnexpected
        | Violation::UpdateWhileQuiet => Reaction::WarnAndDisconnect,
        Violation::Commitment(violation) => of_commitment(violation),
        Violation::Desync(desync) => of_desync(desync),
        // BOLT 2: "MUST NOT broadcast its commitment transaction. SHOULD send an `error` to request the peer to fail the channel."
        Violation::ProvenLate { .. } => Reaction::GoPassive,
        // An answer is missing: a new connection may help, and costs nothing (RELIABILITY B11).
        Violation::Overdue(_) => Reaction::WarnAndDisconnect,
        // BOLT 2: "SHOULD send a `warning`"; we cannot close to that script, so a new `shutdown` must come.
        Violation::ShutdownScript(_) => Reaction::WarnAndDisconnect,
        // BOLT 2: "MAY send a `warning`. MUST fail the connection."
        Violation::ShutdownNotUpfront | Violation::ShutdownChanged => Reaction::WarnAndDisconnect,
        // BOLT 1 leaves it to us. A peer that lost its place finds it again by reconnecting (RELIABILITY B10).
        Violation::Unexpected { .. } => Reaction::WarnAndDisconnect,
        // BOLT 2, `update_add_htlc` and others: "SHOULD send a `warning` and close the connection, or send an `error`".
        Violation::UpdateNotAllowed(_) | Violation::TooManyUpdates => Reaction::WarnAndDisconnect,
        // These belong to openings, which are dealt with above; after funding they cannot arise.
        Violation::BadTerms(_)
        | Violation::FundingOutput
        | Violation::FundingSignedFor(_)
        | Violation::FirstCommitment(_)
        | Violation::NullFunding => Reaction::FailChannel,
    }
}

/// Normal operation: where BOLT 2 leaves a choice between "`warning` and close the connection" and "`error` and fail the
/// channel", a reconnection that brings both sides back to what they signed is tried first.
fn of_commitment(violation: &commitments::Violation) -> Reaction {
    use commitments::Violation as V;
    match violation {
        // `commitment_signed`: "if `signature` is not valid ...". The two sides' states differ: it will not get better.
        V::Signature { .. } | V::Unbuildable { .. } => Reaction::FailChannel,
        // `revoke_and_ack`: "if `per_commitment_secret` is not a valid secret key or does not generate the previous
        // `per_commitment_point`: MUST send an `error` and fail the channel"; "if the `per_commitment_secret` was not generated by
        // the protocol in BOLT #3: MAY send a `warning` and close the connection, or send an `error` and fail the channel".
        V::WrongSecret(_) | V::SecretNotFromSeed(_) | V::UnexpectedRevocation | V::BadPoint => {
            Reaction::FailChannel
        }
        // For a splice that was given up (RELIABILITY B12): those for our funding output are what counts.
        V::ForeignFunding(_) => Reaction::Warn,
        // `update_fee`: a new connection did not help (`open/feerate.rs`).
        V::FeerateInsisted { .. } | V::ExposureInsisted { .. } => Reaction::FailChannel,
        _ => Reaction::WarnAndDisconnect,
    }
}

/// BOLT 2, "Message Retransmission".
fn of_desync(desync: &commitments::Desync) -> Reaction {
    use commitments::Desync as D;
    match desync {
        // "if `next_commitment_number` is zero: MUST immediately fail the channel and broadcast".
        D::NextCommitmentZero => Reaction::FailChannel,
        // The peer is behind and will say so by an `error`: "The other node should wait for that `error` to give the
        // fallen-behind node an opportunity to fix its state first".
        D::PeerLost { .. } => Reaction::Warn,
        // Proven, it is `Violation::ProvenLate`; should it come here, passive is the side that loses nothing.
        D::WeAreLate { proven: true, .. } => Reaction::Warn,
        // Without proof our state is good (RELIABILITY B2).
        D::WeAreLate { proven: false, .. } => Reaction::FailChannel,
        // "if `your_last_per_commitment_secret` does not match the expected values: SHOULD send an `error` and fail the channel".
        D::WrongSecret { .. } => Reaction::FailChannel,
        // Held and asked again, not the peer's fault.
        D::Signer(_) => Reaction::Ignore,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lightning_traits::id::CommitmentNumber;

    #[test]
    fn proven_late_never_leads_to_a_broadcast_and_unproven_does() {
        let (theirs, ours) = (CommitmentNumber(9), CommitmentNumber(4));
        let late = |proven| Violation::Desync(commitments::Desync::WeAreLate { proven, theirs, ours });
        assert_ne!(reaction(&late(true), PhaseName::Syncing), Reaction::FailChannel);
        assert_eq!(reaction(&late(false), PhaseName::Syncing), Reaction::FailChannel);
        let one = secp256k1::SecretKey::from_slice(&[1; 32]).unwrap();
        let point = one.public_key(&secp256k1::Secp256k1::new());
        assert_eq!(reaction(&Violation::ProvenLate { point }, PhaseName::Syncing), Reaction::GoPassive);
    }

    #[test]
    fn before_funding_every_violation_only_ends_the_attempt() {
        let violation = Violation::Unexpected { phase: PhaseName::Offered, message: 36 };
        assert_eq!(reaction(&violation, PhaseName::Offered), Reaction::AbortNegotiation);
        assert_eq!(reaction(&violation, PhaseName::Open), Reaction::WarnAndDisconnect);
    }
}
