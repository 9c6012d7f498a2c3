//! What a monitor reports to the channel layer.
use bitcoin::Txid;

use crate::id::{ChannelId, CommitmentNumber, HtlcId};
use crate::payment::Preimage;
use crate::record;
use crate::units::BlockHeight;

/// What spent the funding output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpendKind {
    /// A cooperative close.
    Mutual {},
    /// A commitment of ours.
    Ours {
        /// Its number.
        number: CommitmentNumber,
    },
    /// Their latest commitment, or the one before while they have not revoked it.
    Theirs {
        /// Its number.
        number: CommitmentNumber,
    },
    /// A commitment that they had revoked: every output of it is ours now.
    Revoked {
        /// Its number.
        number: CommitmentNumber,
    },
    /// A commitment of theirs newer than any we know: we have lost data.
    Future {
        /// Its number.
        number: CommitmentNumber,
    },
    /// None of these.
    Unknown {},
}
record!(enum SpendKind {
    0 => Mutual {}, 1 => Ours { number }, 2 => Theirs { number }, 3 => Revoked { number }, 4 => Future { number },
    5 => Unknown {},
});

/// How an HTLC that we offered ended on chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HtlcOutcome {
    /// They claimed it: here is the preimage, at once, unconfirmed or not.
    Claimed {
        /// The preimage that their witness shows.
        preimage: Preimage,
    },
    /// It can no longer be claimed by them: returned to us, or never in the commitment that is irrevocable now.
    Failed {},
}
record!(enum HtlcOutcome { 0 => Claimed { preimage }, 1 => Failed {} });

/// What a monitor reports; repeated until acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MonitorEvent {
    /// The monitor went to the chain of its own accord: an HTLC came too near its expiry.
    ForceClosed {
        /// The channel.
        channel: ChannelId,
    },
    /// A transaction that spends the funding output confirmed.
    FundingSpent {
        /// The channel.
        channel: ChannelId,
        /// The transaction.
        txid: Txid,
        /// What it is.
        kind: SpendKind,
        /// Where it confirmed.
        height: BlockHeight,
    },
    /// An HTLC that *we* offered in this channel is resolved.
    HtlcResolved {
        /// The channel.
        channel: ChannelId,
        /// Its id among those we offered.
        htlc: HtlcId,
        /// How.
        outcome: HtlcOutcome,
    },
    /// Nothing of the channel is left on chain: every output is irrevocably spent, or the channel was given up before it was
    /// funded. Whoever acknowledges this lets the monitor, and the channel's record beside it, be archived.
    Resolved {
        /// The channel.
        channel: ChannelId,
    },
}
record!(enum MonitorEvent {
    0 => ForceClosed { channel },
    1 => FundingSpent { channel, txid, kind, height },
    2 => HtlcResolved { channel, htlc, outcome },
    3 => Resolved { channel },
});

impl MonitorEvent {
    /// The channel concerned.
    #[must_use]
    pub const fn channel(&self) -> ChannelId {
        match self {
            Self::ForceClosed { channel }
            | Self::FundingSpent { channel, .. }
            | Self::HtlcResolved { channel, .. }
            | Self::Resolved { channel } => *channel,
        }
    }
}
