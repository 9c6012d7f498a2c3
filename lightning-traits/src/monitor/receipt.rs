//! Proof that an update is durable.
use thiserror::Error;

use crate::id::{ChannelId, UpdateId};
use crate::record;

/// Proof that an update is durable. Neither `Clone` nor `Copy`: it opens its gate once.
///
/// Made from the update it acknowledges ([`ChannelMonitorUpdate::receipt`](super::ChannelMonitorUpdate::receipt),
/// [`NewMonitor::receipt`](super::NewMonitor::receipt)), so nobody can acknowledge what it never saw.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "the channel waits for its receipt"]
pub struct Receipt {
    channel: ChannelId,
    id: UpdateId,
}

impl Receipt {
    pub(super) const fn new(channel: ChannelId, id: UpdateId) -> Self {
        Self { channel, id }
    }

    /// The channel.
    #[must_use]
    pub const fn channel(&self) -> ChannelId {
        self.channel
    }

    /// The update.
    #[must_use]
    pub const fn id(&self) -> UpdateId {
        self.id
    }
}

/// Answer to an update.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "the channel waits for its receipt"]
pub enum Persist {
    /// It is durable now.
    Durable(Receipt),
    /// It will be; the receipt comes later.
    InProgress,
    /// It can never be: the channel must not step forward.
    Refused(MonitorRefusal),
}

/// A late answer to an update that was [`Persist::InProgress`]: it can never be durable after all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LateRefusal {
    /// The channel.
    pub channel: ChannelId,
    /// The first update that is not taken.
    pub id: UpdateId,
    /// Why.
    pub why: MonitorRefusal,
}
record!(struct LateRefusal { channel, id, why });

/// Why a monitor does not take an update: each but [`MonitorRefusal::OnChain`] is a bug of the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum MonitorRefusal {
    /// Another channel with the same id, or on the same funding output, is monitored already (RELIABILITY A7).
    #[error("a channel with this id or funding output exists already")]
    Duplicate,
    /// No such channel.
    #[error("no such channel")]
    UnknownChannel,
    /// The id is not the next one.
    #[error("update {got} where {expected} was expected")]
    OutOfOrder {
        /// The next id.
        expected: UpdateId,
        /// The id that came.
        got: UpdateId,
    },
    /// The monitor has gone to the chain by itself with our commitment, and the update would revoke it. The channel must
    /// take the update back and leave for the chain too; the update's id is free for the next one.
    #[error("the channel has gone to the chain with an earlier commitment")]
    OnChain,
    /// A step that contradicts what the monitor knows.
    #[error("the step contradicts the monitor's state")]
    Contradiction,
}
record!(enum MonitorRefusal {
    0 => Duplicate {}, 1 => UnknownChannel {}, 2 => OutOfOrder { expected, got }, 3 => Contradiction {},
    4 => OnChain {},
});
