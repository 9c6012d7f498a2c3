//! Changes: what `decide` answers, what `evolve` takes, and what the channel's record appends.
//!
//! Replaying the decoded changes onto the snapshot before them gives the state itself (I6), so a step writes what it
//! changed and nothing that was there before.
use alloc::vec::Vec;

use lightning_traits::codec::{Decode, DecodeError, Encode, Reader};
use lightning_traits::id::HtlcId;
use lightning_traits::monitor::{HtlcOutcome, MonitorStep};
use lightning_traits::record;
use lightning_traits::tx::CommitmentSecret;
use lightning_traits::units::FeeratePerKw;
use secp256k1::PublicKey;
use secp256k1::ecdsa::Signature;

use super::htlc::{IncomingHtlc, OutgoingHtlc, Removal};
use super::notice::{Notice, NoticeKey};

/// One change of the commitments' state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// We offer an HTLC; its id is the next of ours.
    OurAdd {
        /// The HTLC.
        htlc: OutgoingHtlc,
    },
    /// We remove an HTLC that they offered.
    OurRemove {
        /// Its id.
        htlc: HtlcId,
        /// How.
        removal: Removal,
    },
    /// We, the opener, change the feerate.
    OurFee {
        /// The new one.
        feerate: FeeratePerKw,
    },
    /// They offer an HTLC.
    TheirAdd {
        /// The HTLC.
        htlc: IncomingHtlc,
    },
    /// They remove an HTLC that we offered.
    TheirRemove {
        /// Its id.
        htlc: HtlcId,
        /// How.
        removal: Removal,
    },
    /// They, the opener, change the feerate.
    TheirFee {
        /// The new one.
        feerate: FeeratePerKw,
    },
    /// Their `channel_ready` came: we may sign their commitment 1.
    TheirReady {
        /// The point of their commitment 1.
        next_point: PublicKey,
    },
    /// We sign their next commitment.
    Signed {},
    /// They signed our next commitment; we revoke the one before.
    Committed {
        /// Their signatures.
        proof: Proof,
        /// The point of our commitment after it.
        next_point: PublicKey,
    },
    /// They revoked their previous commitment.
    Revoked {
        /// What was revoked by.
        secret: CommitmentSecret,
        /// The point of their commitment after the latest that we signed.
        next_point: PublicKey,
    },
    /// The connection ended: updates that were not committed to are reversed (BOLT 2, "Message Retransmission").
    Dropped {},
    /// The chain decided about an HTLC that we offered.
    ResolvedOnChain {
        /// Its id.
        htlc: HtlcId,
        /// How.
        outcome: HtlcOutcome,
    },
    /// Whoever a notice was for has taken it over durably.
    NoticeDone {
        /// The notice.
        notice: NoticeKey,
    },
}
record!(enum Change {
    0 => OurAdd { htlc },
    1 => OurRemove { htlc, removal },
    2 => OurFee { feerate },
    3 => TheirAdd { htlc },
    4 => TheirRemove { htlc, removal },
    5 => TheirFee { feerate },
    6 => TheirReady { next_point },
    7 => Signed {},
    8 => Committed { proof, next_point },
    9 => Revoked { secret, next_point },
    10 => Dropped {},
    11 => ResolvedOnChain { htlc, outcome },
    12 => NoticeDone { notice },
});

/// Their signatures for our commitment, on their way to the monitor, which alone needs them.
///
/// The record does not hold them: the monitor's step stands beside it in the same durable write. So what is read back is
/// [`WithMonitor`](Self::WithMonitor), and evolves without a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// As they came.
    Fresh {
        /// For the commitment.
        signature: Signature,
        /// For its HTLC transactions, in the order of its outputs.
        htlc_signatures: Vec<Signature>,
    },
    /// Left out of the record.
    WithMonitor,
}

impl Encode for Proof {
    fn encode(&self, _: &mut Vec<u8>) {}
}

impl Decode for Proof {
    fn decode(_: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self::WithMonitor)
    }
}

/// What followed from a change, for others to know. Empty lists cost nothing; a replay ignores it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use = "the monitor and the layers above must learn this"]
pub struct Evolved {
    /// What the monitor must learn, in the same durable write as the change.
    pub steps: Vec<MonitorStep>,
    /// HTLCs of theirs that are irrevocably committed since: decide on them once the change is durable.
    pub incoming: Vec<IncomingHtlc>,
    /// New notices: hand them on once the change is durable.
    pub notices: Vec<Notice>,
    /// HTLCs of ours that never were signed for and are dropped with the connection: as if never offered, their ids
    /// are used again. Not durable and not told again after a restart, where their origins lack them anyway.
    pub unsent: Vec<(HtlcId, OutgoingHtlc)>,
}
