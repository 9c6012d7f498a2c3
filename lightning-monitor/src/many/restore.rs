//! The set after a restart: from what the store has, and nothing else.
use bitcoin::BlockHash;
use lightning_traits::codec::DecodeError;
use lightning_traits::id::ChannelId;
use lightning_traits::interface::{ChainWatchInterface as _, CoinSource as _};
use lightning_traits::monitor::{
    ChannelMonitorUpdate, MonitorRefusal, NewMonitor, StoredChannel, StoredChannels,
};
use lightning_traits::units::BlockHeight;
use thiserror::Error;

use super::entry::{Entry, Ledger};
use super::{MonitorEnvironment, MonitorSet};
use crate::monitor::ChannelMonitor;

/// Why a stored channel cannot be restored: the store is damaged. Nothing must be signed for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// Bytes that do not decode.
    #[error("the stored monitor of channel {channel} does not decode: {error}")]
    Damaged {
        /// The channel.
        channel: ChannelId,
        /// Why.
        error: DecodeError,
    },
    /// Updates that do not follow on what is stored before them.
    #[error("the stored updates of channel {channel} do not fit together: {refusal}")]
    Inconsistent {
        /// The channel.
        channel: ChannelId,
        /// Why.
        refusal: MonitorRefusal,
    },
}

impl<E: MonitorEnvironment> MonitorSet<E> {
    /// The set as it was when `stored` was written; `tip` is the block up to which that is true. Blocks since must be
    /// handed over next, before any update.
    ///
    /// # Errors
    /// [`RestoreError`] when what is stored is damaged.
    pub fn restore(
        env: E,
        stored: &StoredChannels,
        tip: Option<(BlockHash, BlockHeight)>,
    ) -> Result<Self, RestoreError> {
        Self::restore_some(env, stored, tip, false)
    }

    /// The same, but what may sleep sleeps from the beginning: a set of very many channels in which little happens.
    ///
    /// # Errors
    /// [`RestoreError`] when what is stored is damaged: all of it is read.
    pub fn restore_resting(
        env: E,
        stored: &StoredChannels,
        tip: Option<(BlockHash, BlockHeight)>,
    ) -> Result<Self, RestoreError> {
        Self::restore_some(env, stored, tip, true)
    }

    fn restore_some(
        env: E,
        stored: &StoredChannels,
        tip: Option<(BlockHash, BlockHeight)>,
        resting: bool,
    ) -> Result<Self, RestoreError> {
        let set = Self::new(env);
        let (mut watched, mut lent) = (alloc::vec::Vec::new(), alloc::vec::Vec::new());
        {
            let mut state = set.state.lock();
            state.tip = tip;
            for (channel, stored) in stored {
                let used = state.height();
                let entry = Entry { used, ..set.restore_entry(*channel, stored)? };
                let is_known = state.entries.contains_key(channel) || state.asleep.contains_key(channel);
                if is_known || state.index.get(&entry.monitor.init().funding.outpoint).is_some() {
                    let refusal = MonitorRefusal::Duplicate;
                    return Err(RestoreError::Inconsistent { channel: *channel, refusal });
                }
                state.next_event = state.next_event.max(entry.next_event);
                for (id, report) in &entry.reports {
                    state.next_event = state.next_event.max(id.next());
                    state.events.insert(*id, (*channel, report.clone()));
                }
                watched.extend(entry.monitor.watched());
                lent.extend(entry.monitor.coins_out());
                state.insert(*channel, entry);
                let height = state.height();
                // A disk may have what a block did to a channel, and not that the block was heard: what nobody vouches for may
                // be in no chain any more, and blocks that were never heard are never taken back.
                if tip.is_some() && state.on_chain.contains(channel) {
                    state.take_back(*channel, height.plus(1));
                }
                let may_sleep = |entry: &Entry| resting && entry.may_sleep(height);
                if state.entries.get(channel).is_some_and(may_sleep) {
                    state.lull(*channel);
                }
            }
        }
        for (outpoint, script) in watched {
            set.env.watch().watch_output(outpoint, &script);
        }
        // Before anything asks for coins: what is out spends these.
        for (claim, coins, change) in lent {
            set.env.coins().hold(claim, &coins, change);
        }
        // A deadline that had passed before the crash has passed still: decide it again before anything else can happen.
        set.rebroadcast();
        Ok(set)
    }

    pub(super) fn restore_entry(
        &self,
        channel: ChannelId,
        stored: &StoredChannel,
    ) -> Result<Entry, RestoreError> {
        let damaged = |error| RestoreError::Damaged { channel, error };
        let mut entry = match &stored.monitor {
            Some(state) => Entry::from_snapshot(state, stored.past.clone()).map_err(damaged)?,
            None => Entry::new(ChannelMonitor::new(
                NewMonitor::from_versioned(&stored.new).map_err(damaged)?.init,
            )),
        };
        entry.monitor.duty = self.env.duty();
        for bytes in &stored.updates {
            let update = ChannelMonitorUpdate::from_versioned(bytes).map_err(damaged)?;
            entry.log.append(&update.steps);
            let applied = entry.monitor.apply(&self.secp, &update);
            applied.map_err(|refusal| RestoreError::Inconsistent { channel, refusal })?;
        }
        let got = entry.monitor.last_update();
        if got != stored.last_update {
            // The channel's record stands at another update: to go on would be to sign with a part of the truth.
            let refusal = MonitorRefusal::OutOfOrder { expected: stored.last_update, got };
            return Err(RestoreError::Inconsistent { channel, refusal });
        }
        entry.ledger = Ledger::up_to(got);
        Ok(entry)
    }
}
