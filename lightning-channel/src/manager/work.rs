//! What is to be done when no lock is held: one queue for the whole node.
//!
//! Carrying out a channel's outputs never steps another channel: it puts work here, and whoever entered the manager does it
//! before leaving. Work that cannot be done now is parked until a peer returns or a tick passes.
use alloc::vec::Vec;

use lightning_traits::id::{ChannelId, HtlcId, PaymentId};
use lightning_traits::interface::Environment;
use lightning_traits::sphinx::Failure;

use super::ChannelManager;
use crate::commitments::{IncomingHtlc, Notice, NoticeKey, OutgoingHtlc};
use crate::payment::inbound::HtlcKey;

/// One thing to do.
#[derive(Clone, Debug)]
pub(crate) enum Work {
    /// Decide on an incoming HTLC: keep, forward, or fail. `patience` is for how many ticks its next peer may be away.
    Decide { channel: ChannelId, htlc: IncomingHtlc, patience: u32 },
    /// Take an outcome over.
    Notice { channel: ChannelId, notice: Notice },
    /// A notice of a payment is gone for good.
    NoticeGone { channel: ChannelId, notice: NoticeKey },
    /// Hand a removal to its channel.
    Settle(HtlcKey),
    /// A removal is durable.
    Settled(HtlcKey),
    /// Fail an HTLC that was held.
    FailBack(HtlcKey, Failure),
    /// An HTLC of ours was dropped with its connection before it bound anybody.
    Unsent { channel: ChannelId, id: HtlcId, htlc: OutgoingHtlc },
    /// See what becomes of a transaction that funds these channels.
    Funding { members: Vec<ChannelId> },
    /// See what a payment needs next.
    Advance(PaymentId),
}

impl Work {
    /// Counts a tick.
    const fn wait(&mut self) {
        if let Self::Decide { patience, .. } = self {
            *patience = patience.saturating_sub(1);
        }
    }
}

impl<E: Environment> ChannelManager<E> {
    /// Queues work.
    pub(super) fn queue(&self, work: impl IntoIterator<Item = Work>) {
        self.table.lock().work.extend(work);
    }

    /// Puts work aside until something changes.
    pub(super) fn park(&self, work: Work) {
        self.table.lock().parked.push(work);
    }

    /// Takes parked work up again; `is_tick` when it is because time has passed.
    pub(super) fn unpark(&self, is_tick: bool) {
        let mut table = self.table.lock();
        let mut parked = core::mem::take(&mut table.parked);
        if is_tick {
            parked.iter_mut().for_each(Work::wait);
        }
        table.work.extend(parked);
    }

    /// Does all work, then signs once for each channel that it changed.
    pub(crate) fn run(&self) {
        loop {
            let work = self.table.lock().work.pop_front();
            if let Some(work) = work {
                self.perform(work);
                continue;
            }
            let slot = {
                let mut table = self.table.lock();
                let Some(channel) = table.unsigned.pop_first() else { return };
                table.channel(channel)
            };
            if let Some(slot) = slot {
                // Why not is the channel's business: its peer's answer leads to the signature.
                let _waits = self.step(&slot, |channel, cx| channel.commit(cx));
            }
        }
    }

    fn perform(&self, work: Work) {
        match work {
            Work::Decide { channel, htlc, patience } => self.decide(channel, htlc, patience),
            Work::Notice { channel, notice } => self.on_notice(channel, notice),
            Work::NoticeGone { channel, notice } => self.on_notice_gone((channel, notice)),
            Work::Settle(key) => self.settle(key),
            Work::Settled(key) => self.settled(key),
            Work::FailBack(key, failure) => self.fail_back(key, failure),
            Work::Unsent { channel, id, htlc } => self.on_unsent(channel, id, htlc),
            Work::Advance(id) => self.advance(id),
            Work::Funding { members } => self.judge_funding(&members, true),
        }
    }
}
