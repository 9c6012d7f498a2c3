//! Opening a channel, version 1 (BOLT 2): from `open_channel` to both first signatures.
//!
//! ```text
//! we open:    Offered -> AwaitingTransaction -> AwaitingSigned -> Funded
//! they open:  Requested -> AwaitingCreated -> Funded
//! ```
//!
//! Each phase is named by what it awaits and owns what is known then. Nothing of it is durable: "if it doesn't
//! complete, it starts again", so a disconnect drops it. Money is at stake from `Funded` on, which is durable
//! before our own signature or the funding transaction leaves.
mod accepting;
mod first;
mod offer;
mod options;
mod proposing;

use alloc::boxed::Box;

use bitcoin::Amount;
use lightning_traits::feature::{ChannelType, Feature};
use lightning_traits::id::{ChannelId, ChannelKeysId, NodeId};
use lightning_traits::tx::CommitmentFormat;
use lightning_traits::units::{FeeratePerKw, Msat};

pub(crate) use accepting::{AwaitingCreated, Requested};
pub(crate) use first::FirstCommitments;
pub use first::FirstError;
pub(crate) use offer::Offer;
pub use options::{AcceptOptions, OpenOptions};
pub(crate) use proposing::{AwaitingSigned, AwaitingTransaction, Offered};
pub use proposing::{FundError, OpenError, OpenParams};

/// What both sides know of a channel that is being opened, but for the peer's own offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Proposal {
    pub(crate) temporary: ChannelId,
    pub(crate) peer: NodeId,
    pub(crate) keys: ChannelKeysId,
    pub(crate) funding: Amount,
    pub(crate) push: Msat,
    pub(crate) announce: bool,
    pub(crate) channel_type: ChannelType,
    pub(crate) format: CommitmentFormat,
    pub(crate) feerate: FeeratePerKw,
    pub(crate) we_opened: bool,
    pub(crate) ours: Offer,
}

impl Proposal {
    /// Whether the channel is used before its funding transaction confirms.
    pub(crate) fn zero_conf(&self) -> bool {
        self.channel_type.has(Feature::ZeroConf)
    }

    /// Opener's and accepter's offer.
    pub(crate) fn by_role<'a>(&'a self, theirs: &'a Offer) -> (&'a Offer, &'a Offer) {
        if self.we_opened { (&self.ours, theirs) } else { (theirs, &self.ours) }
    }
}

/// A channel that is being opened.
#[derive(Debug)]
pub(crate) enum Opening {
    /// We sent `open_channel`.
    Offered(Box<Offered>),
    /// They accepted; the user builds the funding transaction.
    AwaitingTransaction(Box<AwaitingTransaction>),
    /// We sent `funding_created`.
    AwaitingSigned(Box<AwaitingSigned>),
    /// They sent `open_channel`; the manager decides.
    Requested(Box<Requested>),
    /// We sent `accept_channel`.
    AwaitingCreated(Box<AwaitingCreated>),
}

impl Opening {
    /// Whether we proposed it.
    pub(crate) const fn we_opened(&self) -> bool {
        matches!(self, Self::Offered(_) | Self::AwaitingTransaction(_) | Self::AwaitingSigned(_))
    }

    /// Value of the funding output.
    pub(crate) fn funding(&self) -> Amount {
        match self {
            Self::Offered(phase) => phase.proposal.funding,
            Self::AwaitingTransaction(phase) => phase.proposal.funding,
            Self::AwaitingSigned(phase) => phase.first.terms.funding.value,
            Self::Requested(phase) => phase.proposal.funding,
            Self::AwaitingCreated(phase) => phase.proposal.funding,
        }
    }
}
