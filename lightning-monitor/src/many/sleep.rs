//! Monitors in which nothing happens are not kept in memory (record 22): let go of, and read back when something does.
//!
//! # Invariants
//! - only what a store has whole falls asleep, and it wakes as it was, or not at all
//! - what happens to a monitor that cannot be read waits, in its order; no tip is written meanwhile, so that a crash loses none of it
//! - the store is read outside the lock (I7)
use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use bitcoin::OutPoint;
use lightning_traits::id::{ChannelId, UpdateId};
use lightning_traits::interface::{Level, MonitorStore as _};
use lightning_traits::monitor::{ChannelMonitorUpdate, LateRefusal, Persist};
use lightning_traits::units::BlockHeight;

use super::actions::Action;
use super::entry::Entry;
use super::{MonitorEnvironment, MonitorSet, State};
use crate::monitor::{Balance, Confirmed};
use crate::resolve::Rates;

/// All that the set keeps of a monitor that sleeps.
#[derive(Debug)]
pub(super) struct Asleep {
    funding: OutPoint,
    /// What is read must stand there.
    last_update: UpdateId,
    pub(super) balances: Box<[Balance]>,
    /// Where the set has filed it.
    attention: Option<BlockHeight>,
    /// What happened since, when it could not be read.
    waiting: Vec<Waiting>,
}

#[derive(Debug)]
enum Waiting {
    Spend(Confirmed),
    Update(Box<ChannelMonitorUpdate>),
}

impl<E: MonitorEnvironment> MonitorSet<E> {
    /// Lets go of all monitors in which nothing happens and that were not used in the last `blocks` blocks; how many those were.
    /// They wake by themselves, each by one [`MonitorStore::read`](lightning_traits::interface::MonitorStore::read).
    pub fn rest(&self, blocks: u32) -> usize {
        let mut state = self.state.lock();
        let (tip, before) = (state.height(), state.asleep.len());
        let since = tip.minus(blocks);
        let idle = state.entries.iter().filter(|(_, entry)| entry.used <= since && entry.may_sleep(tip));
        let idle: Vec<ChannelId> = idle.map(|(channel, _)| *channel).collect();
        for channel in idle {
            state.lull(channel);
        }
        state.asleep.len().saturating_sub(before)
    }

    /// Reads back what of these sleeps, and lets it see what happened to it since.
    pub(super) fn wake(&self, channels: impl IntoIterator<Item = ChannelId>) {
        for channel in channels {
            let Some(expected) = self.state.lock().asleep.get(&channel).map(|asleep| asleep.last_update)
            else {
                continue;
            };
            let stored = self.env.store().read(channel);
            let entry = stored.map(|stored| self.restore_entry(channel, &stored));
            match entry {
                Some(Ok(entry)) if entry.monitor.last_update() == expected => {
                    self.rouse(channel, entry, self.rates());
                }
                Some(Ok(entry)) => {
                    let found = entry.monitor.last_update();
                    let message =
                        format_args!("the store has the monitor at update {found} instead of {expected}");
                    self.log(Level::Error, channel, message);
                }
                Some(Err(error)) => self.log(Level::Error, channel, format_args!("{error}")),
                None => self.log(
                    Level::Error,
                    channel,
                    format_args!("the store cannot be read; each block tries again"),
                ),
            }
        }
    }

    fn rouse(&self, channel: ChannelId, mut entry: Entry, rates: Rates) {
        let mut state = self.state.lock();
        // Somebody else may have read it meanwhile.
        let Some(asleep) = state.asleep.remove(&channel) else { return };
        if let Some(attention) = asleep.attention {
            state.attention.remove(&(attention, channel));
        }
        // It had none when it fell asleep: that they were acknowledged need not be durable.
        entry.reports.clear();
        entry.used = state.height();
        state.insert(channel, entry);
        let height = state.height();
        for waiting in asleep.waiting {
            match waiting {
                Waiting::Spend(confirmed) => {
                    let todo = state.on_transaction(&self.secp, self.env.keys(), channel, confirmed);
                    state.note(channel, todo);
                }
                Waiting::Update(update) if !state.refusals.contains_key(&channel) => {
                    let id = update.id;
                    if let Persist::Refused(why) = self.take_awake(&mut state, *update, rates) {
                        state.refusals.insert(channel, LateRefusal { channel, id, why });
                    }
                }
                // What was handed over after the refused one is not taken.
                Waiting::Update(_) => {}
            }
        }
        state.on_tip(&self.secp, self.env.keys(), channel, height, rates);
        if state.unread.remove(&channel) && state.unread.is_empty() {
            state.write_tip();
        }
    }

    /// Tries again to read what could not be read.
    pub(super) fn wake_unread(&self) {
        let unread = self.state.lock().unread.clone();
        self.wake(unread);
    }
}

impl State {
    /// The channel sleeps from now on.
    pub(super) fn lull(&mut self, channel: ChannelId) {
        let Some(entry) = self.entries.remove(&channel) else { return };
        self.weight = self.weight.saturating_sub(entry.weight);
        let asleep = Asleep {
            funding: entry.monitor.init().funding.outpoint,
            last_update: entry.monitor.last_update(),
            balances: entry.monitor.balances().into_boxed_slice(),
            attention: entry.attention,
            waiting: Vec::new(),
        };
        // Of a channel that was at the chain and came back from there, nothing else is watched for either.
        for outpoint in entry.indexed.iter().filter(|outpoint| **outpoint != asleep.funding) {
            self.index.remove(outpoint);
        }
        self.asleep.insert(channel, asleep);
    }

    /// A spend of something of a channel that sleeps and cannot be read.
    pub(super) fn hold_spend(&mut self, channel: ChannelId, confirmed: Confirmed) {
        if let Some(asleep) = self.asleep.get_mut(&channel) {
            asleep.waiting.push(Waiting::Spend(confirmed));
            self.unread.insert(channel);
        }
    }

    /// The answer to an update of a channel that sleeps and cannot be read; `None` when it does not sleep.
    pub(super) fn hold_update(&mut self, update: &ChannelMonitorUpdate) -> Option<Persist> {
        let asleep = self.asleep.get_mut(&update.channel)?;
        if update.id <= asleep.last_update {
            // Nothing falls asleep before its last update is durable.
            return Some(Persist::Durable(update.receipt()));
        }
        let repeats = |waiting: &Waiting| matches!(waiting, Waiting::Update(known) if known.id == update.id);
        if !asleep.waiting.iter().any(repeats) {
            asleep.waiting.push(Waiting::Update(Box::new(update.clone())));
            self.unread.insert(update.channel);
        }
        Some(Persist::InProgress)
    }

    /// The blocks from `height` on are no longer in the chain: what they held never happened.
    pub(super) fn forget_held(&mut self, height: BlockHeight) {
        for channel in &self.unread {
            if let Some(asleep) = self.asleep.get_mut(channel) {
                asleep
                    .waiting
                    .retain(|waiting| !matches!(waiting, Waiting::Spend(spend) if spend.height >= height));
            }
        }
    }

    /// Those of the channels that sleep.
    pub(super) fn sleepers(&self, channels: impl IntoIterator<Item = ChannelId>) -> BTreeSet<ChannelId> {
        channels.into_iter().filter(|channel| self.asleep.contains_key(channel)).collect()
    }

    /// Up to here all is true, unless there is something that no monitor has looked at yet.
    pub(super) fn write_tip(&mut self) {
        if let (Some((hash, height)), true) = (self.tip, self.unread.is_empty()) {
            self.actions.push_back(Action::WriteTip(hash, height));
        }
    }
}
