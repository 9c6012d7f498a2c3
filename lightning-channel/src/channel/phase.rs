//! The phases by name, for errors, the log and the table of messages.
use lightning_traits::record;
use secp256k1::PublicKey;

/// Where a channel stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PhaseName {
    /// We proposed a channel.
    Offered,
    /// They accepted; the user builds the funding transaction.
    AwaitingTransaction,
    /// We sent `funding_created`.
    AwaitingSigned,
    /// They proposed a channel; the manager decides.
    Requested,
    /// We accepted.
    AwaitingCreated,
    /// Funded; no connection.
    Offline,
    /// Funded; connected, but `channel_reestablish` has not come.
    Syncing,
    /// Funded; waits for depth and both `channel_ready`.
    AwaitingReady,
    /// Carries payments.
    Open,
    /// HTLCs drain before a cooperative close.
    ShuttingDown,
    /// The closing fee is negotiated.
    Negotiating,
    /// The chain decides.
    Resolving,
    /// Nothing is left.
    Closed,
}

impl PhaseName {
    /// Whether there is no funding output yet.
    #[must_use]
    pub const fn is_opening(self) -> bool {
        matches!(
            self,
            Self::Offered
                | Self::AwaitingTransaction
                | Self::AwaitingSigned
                | Self::Requested
                | Self::AwaitingCreated
        )
    }
}

/// Why a channel left for the chain, as the record keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Cooperative {},
    ForcedByUser {},
    HtlcDeadline {},
    PeerViolation {
        text: alloc::vec::Vec<u8>,
    },
    PeerError {
        text: alloc::vec::Vec<u8>,
    },
    ByPeerOnChain {},
    Breach {},
    NeverFunded {
        text: alloc::vec::Vec<u8>,
    },
    /// The peer has proven that our state is old; this is its current point.
    DataLoss {
        point: PublicKey,
    },
    /// A commitment of the peer that is newer than all we know.
    FutureOnChain {},
}
record!(enum Ending {
    0 => Cooperative {}, 1 => ForcedByUser {}, 2 => HtlcDeadline {}, 3 => PeerViolation { text }, 4 => PeerError { text },
    5 => ByPeerOnChain {}, 6 => Breach {}, 7 => NeverFunded { text }, 8 => DataLoss { point },
    9 => FutureOnChain {},
});

impl Ending {
    /// The reason as the user hears it.
    pub(crate) fn reason(&self) -> lightning_traits::event::CloseReason {
        use alloc::string::String;
        use lightning_traits::event::CloseReason;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match self {
            Self::Cooperative {} => CloseReason::Cooperative,
            Self::ForcedByUser {} => CloseReason::ForcedByUser,
            Self::HtlcDeadline {} => CloseReason::HtlcDeadline,
            Self::PeerViolation { text: bytes } => CloseReason::PeerViolation(text(bytes)),
            Self::PeerError { text: bytes } => CloseReason::PeerError(text(bytes)),
            Self::ByPeerOnChain {} => CloseReason::ByPeerOnChain,
            Self::Breach {} => CloseReason::Breach,
            Self::NeverFunded { text: bytes } => CloseReason::NeverFunded(text(bytes)),
            Self::DataLoss { .. } | Self::FutureOnChain {} => CloseReason::DataLoss,
        }
    }
}
