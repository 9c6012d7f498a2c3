//! What the methods of a phase are handed for one step: surroundings, signer, journal, outbox.
use alloc::boxed::Box;
use alloc::vec::Vec;

use lightning_traits::feature::ChannelType;
use lightning_traits::id::{ChannelId, NodeId};
use lightning_traits::interface::{KeysInterface, Level};
use lightning_traits::wire::ChannelMessage;

use super::context::Context;
use super::effects::{Effects, Gated};
use super::record::Journal;
use super::violation::Violation;
use crate::commitments::Policy;

/// Why a message was not taken.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The peer broke a rule.
    Violation(Violation),
    /// The signer needs time: hold the message, and all behind it, and try again.
    Hold(Box<ChannelMessage>),
}

impl Stop {
    /// Holds this message.
    pub(crate) fn hold(message: impl Into<ChannelMessage>) -> Self {
        Self::Hold(Box::new(message.into()))
    }
}

impl From<Violation> for Stop {
    fn from(violation: Violation) -> Self {
        Self::Violation(violation)
    }
}

/// One step of one channel.
pub(crate) struct Step<'a, K: KeysInterface> {
    pub(crate) cx: &'a Context<'a, K>,
    pub(crate) signer: &'a K::Signer,
    pub(crate) journal: &'a mut Journal,
    pub(crate) effects: Effects<'a>,
    pub(crate) id: ChannelId,
    pub(crate) peer: NodeId,
}

impl<K: KeysInterface> Step<'_, K> {
    /// Writes all that was noted since the last write; what is queued on the answer waits for it.
    pub(crate) fn persist(&mut self, snapshot: impl FnOnce() -> Vec<u8>) -> Gated<'_> {
        let write = self.journal.write(snapshot);
        let mut gated = self.effects.persist(write.update);
        for htlc in write.reports.removals {
            gated.removal_durable(htlc);
        }
        for notice in write.reports.notices_gone {
            gated.notice_gone(notice);
        }
        for htlc in write.reports.incoming {
            gated.incoming(htlc);
        }
        for notice in write.reports.notices {
            gated.notice(notice);
        }
        gated
    }

    /// What we allow beyond the protocol's own limits.
    pub(crate) fn policy(&self, channel_type: &ChannelType) -> Policy {
        Self::policy_of(self.cx, channel_type)
    }

    /// The same, outside of a step.
    pub(crate) fn policy_of(cx: &Context<'_, K>, channel_type: &ChannelType) -> Policy {
        let (min_feerate, max_feerate) = cx.feerate_bounds(channel_type);
        let policy = Policy::new(&cx.config.channel, cx.fees.other_commitment);
        Policy { min_feerate, max_feerate, ..policy }
    }

    /// Writes one log record about the channel.
    pub(crate) fn log(&self, level: Level, message: core::fmt::Arguments<'_>) {
        self.cx.log(level, self.peer, self.id, message);
    }
}
