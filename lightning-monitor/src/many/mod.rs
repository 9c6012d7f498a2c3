//! Many monitors behind one interface.
//!
//! [`MonitorSet`] implements [`ManyChannelMonitor`] for the channels, [`ChainListener`] for the chain, and
//! [`EventsProvider`] for the user. One index of watched outpoints leads from a block's inputs to the channels they
//! concern. `entry.rs` is one channel with its unacknowledged reports, `actions.rs` what is done outside the lock,
//! `chain.rs` the blocks, `restore.rs` the restart.
//!
//! Methods: getters [`MonitorSet::balances`], [`MonitorSet::channels`]; inputs `block_connected`,
//! `filtered_block_connected`, `block_disconnected`, `add_channel`, `update_channel`; command
//! [`MonitorSet::rebroadcast`]; outputs `next_receipt`, `next_monitor_event`, `next_event`.
//!
//! # Invariants
//! - nothing foreign but signer and log is called under the lock (I7); what the lock decided is done in its order
//! - our commitment is broadcast on request only after the request is durable, so that a restart cannot step on
//!   past a commitment that is out
//! - a block costs its own inputs and the channels whose time has come, not the number of channels (I13)
mod actions;
mod chain;
mod entry;
mod restore;

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::sync::atomic::AtomicBool;

use bitcoin::{BlockHash, OutPoint, Transaction};
use lightning_traits::Secp;
use lightning_traits::event::Event;
use lightning_traits::id::{ChannelId, EventId, UpdateId};
use lightning_traits::interface::{
    BroadcasterInterface, ChainWatchInterface, CoinSource, ConfirmationTarget, EventsProvider, FeeEstimator,
    KeysInterface, Logger, ManyChannelMonitor, MonitorStore,
};
use lightning_traits::monitor::{
    ChannelMonitorUpdate, MonitorEvent, MonitorRefusal, MonitorStep, NewMonitor, Persist, Receipt,
};
use lightning_traits::sync::{Mutex, assert_unlocked};
use lightning_traits::units::BlockHeight;
use secp256k1::Secp256k1;

use crate::monitor::{Balance, ChannelMonitor};
use crate::resolve::{Rates, Todo};
use actions::Action;
use entry::{Entry, Report};

pub use restore::RestoreError;

/// Everything that a [`MonitorSet`] calls.
pub trait MonitorEnvironment {
    /// Channel signers.
    type Keys: KeysInterface;
    /// Where states become durable.
    type Store: MonitorStore;
    /// Where transactions go.
    type Broadcaster: BroadcasterInterface;
    /// What the chain costs.
    type Fees: FeeEstimator;
    /// Who must know what to watch.
    type Watch: ChainWatchInterface;
    /// Who lends coins for fees.
    type Coins: CoinSource;
    /// Where log records go.
    type Log: Logger;

    /// The keys.
    fn keys(&self) -> &Self::Keys;
    /// The store.
    fn store(&self) -> &Self::Store;
    /// The broadcaster.
    fn broadcaster(&self) -> &Self::Broadcaster;
    /// The fee estimator.
    fn fees(&self) -> &Self::Fees;
    /// The watcher.
    fn watch(&self) -> &Self::Watch;
    /// The coins.
    fn coins(&self) -> &Self::Coins;
    /// The log.
    fn log(&self) -> &Self::Log;
}

/// Updates between two snapshots of a monitor: bounds what a restart must read.
const UPDATES_PER_SNAPSHOT: u32 = 64;

/// Many monitors.
pub struct MonitorSet<E> {
    env: E,
    secp: Secp,
    state: Mutex<State>,
    actions: Mutex<VecDeque<Action>>,
    /// Whether somebody is doing actions: they are done one after another, in order.
    turn: AtomicBool,
}

#[derive(Default)]
struct State {
    entries: BTreeMap<ChannelId, Entry>,
    index: BTreeMap<OutPoint, ChannelId>,
    /// When each channel must be looked at, though nothing spends its outputs.
    attention: BTreeSet<(BlockHeight, ChannelId)>,
    tip: Option<(BlockHash, BlockHeight)>,
    next_event: EventId,
    events: BTreeMap<EventId, (ChannelId, Report)>,
    /// Broadcasts that wait for an update to be durable.
    gated: BTreeMap<(ChannelId, UpdateId), Vec<Transaction>>,
    receipts: VecDeque<Receipt>,
}

impl<E: MonitorEnvironment> MonitorSet<E> {
    /// An empty set.
    #[must_use]
    pub fn new(env: E) -> Self {
        Self {
            env,
            secp: Secp256k1::new(),
            state: Mutex::new(State::default()),
            actions: Mutex::new(VecDeque::new()),
            turn: AtomicBool::new(false),
        }
    }

    /// What it calls.
    #[must_use]
    pub const fn environment(&self) -> &E {
        &self.env
    }

    /// All that is still to come, of all channels.
    #[must_use]
    pub fn balances(&self) -> Vec<Balance> {
        self.state.lock().entries.values().flat_map(|entry| entry.monitor.balances()).collect()
    }

    /// The channels.
    #[must_use]
    pub fn channels(&self) -> Vec<ChannelId> {
        self.state.lock().entries.keys().copied().collect()
    }

    /// A copy of one channel's monitor.
    #[must_use]
    pub fn monitor(&self, channel: ChannelId) -> Option<ChannelMonitor> {
        self.state.lock().entries.get(&channel).map(|entry| entry.monitor.clone())
    }

    fn rates(&self) -> Rates {
        assert_unlocked();
        Rates {
            urgent: self.env.fees().feerate(ConfirmationTarget::Urgent),
            background: self.env.fees().feerate(ConfirmationTarget::Background),
        }
    }

    fn signer(&self, monitor: &ChannelMonitor) -> <E::Keys as KeysInterface>::Signer {
        self.env.keys().signer(&monitor.init().keys)
    }
}

impl<E: MonitorEnvironment> ManyChannelMonitor for MonitorSet<E> {
    fn add_channel(&self, new: NewMonitor) -> Persist {
        let answer = self.state.lock().add(&new);
        if matches!(answer, Ok(true)) {
            let funding = new.init.funding;
            self.push([
                Action::Watch(funding.outpoint, funding.txout().script_pubkey),
                Action::WriteNew(alloc::boxed::Box::new(new)),
            ]);
        }
        self.act();
        match answer {
            Ok(_) => Persist::InProgress,
            Err(refusal) => Persist::Refused(refusal),
        }
    }

    fn update_channel(&self, update: ChannelMonitorUpdate) -> Persist {
        let rates = self.rates();
        let persist = self.take_update(update, rates);
        self.act();
        persist
    }

    fn next_receipt(&self) -> Option<Receipt> {
        let receipt = self.state.lock().receipts.pop_front();
        let receipt = receipt.or_else(|| self.env.store().next_receipt())?;
        let released = self.state.lock().on_durable(&receipt);
        self.push(released.into_iter().map(|transaction| Action::Broadcast(alloc::vec![transaction])));
        self.act();
        Some(receipt)
    }

    fn next_monitor_event(&self, after: Option<EventId>) -> Option<(EventId, MonitorEvent)> {
        let state = self.state.lock();
        state.events_after(after).find_map(|(id, _, report)| match report {
            Report::Channel { event } => Some((id, event.clone())),
            Report::Swept { .. } | Report::Resolved {} => None,
        })
    }

    fn acknowledge_monitor_event(&self, id: EventId) {
        self.acknowledge(id);
    }
}

impl<E: MonitorEnvironment> EventsProvider for MonitorSet<E> {
    fn next_event(&self, after: Option<EventId>) -> Option<(EventId, Event)> {
        let state = self.state.lock();
        state.events_after(after).find_map(|(id, channel, report)| match report {
            Report::Channel { .. } => None,
            Report::Swept { transaction, height } => {
                Some((id, Event::Swept { channel, transaction: transaction.clone(), height: *height }))
            }
            Report::Resolved {} => Some((id, Event::Resolved { channel })),
        })
    }

    fn acknowledge_event(&self, id: EventId) {
        self.acknowledge(id);
    }
}

impl<E: MonitorEnvironment> MonitorSet<E> {
    fn take_update(&self, update: ChannelMonitorUpdate, rates: Rates) -> Persist {
        let mut state = self.state.lock();
        let tip = state.height();
        let Some(entry) = state.entries.get_mut(&update.channel) else {
            return Persist::Refused(MonitorRefusal::UnknownChannel);
        };
        if update.id <= entry.monitor.last_update() {
            return if update.id <= entry.durable {
                Persist::Durable(update.receipt())
            } else {
                Persist::InProgress
            };
        }
        if let Err(refusal) = entry.monitor.apply(&self.secp, &update) {
            return Persist::Refused(refusal);
        }
        let signer = self.signer(&entry.monitor);
        let mut todo = Todo::default();
        let asked =
            |step: &MonitorStep| matches!(step, MonitorStep::ForceClose {} | MonitorStep::Preimage { .. });
        if update.steps.iter().any(asked) {
            entry.monitor.on_tip(&self.secp, &signer, tip, rates, &mut todo);
        }
        let gated = core::mem::take(&mut todo.broadcasts);
        let snapshot = entry.snapshot_if_due(todo.changed);
        let (channel, id) = (update.channel, update.id);
        if !gated.is_empty() {
            state.gated.insert((channel, id), gated);
        }
        let mut actions = alloc::vec![Action::WriteUpdate(update, snapshot)];
        state.note(channel, todo, &mut actions);
        state.reschedule(channel);
        drop(state);
        self.push(actions);
        Persist::InProgress
    }

    fn acknowledge(&self, id: EventId) {
        let mut state = self.state.lock();
        let Some((channel, _)) = state.events.remove(&id) else { return };
        let tip = state.height();
        let mut actions = Vec::new();
        if let Some(entry) = state.entries.get_mut(&channel) {
            entry.reports.retain(|(known, _)| *known != id);
            actions.push(Action::WriteChainState(channel, entry.to_versioned()));
        }
        state.archive_if_done(channel, tip, &mut actions);
        drop(state);
        self.push(actions);
        self.act();
    }
}

impl State {
    fn height(&self) -> BlockHeight {
        self.tip.map_or(BlockHeight::new(0), |(_, height)| height)
    }

    /// Starts to monitor; `Ok(false)` when the very same is monitored already.
    fn add(&mut self, new: &NewMonitor) -> Result<bool, MonitorRefusal> {
        let channel = new.init.channel;
        if let Some(known) = self.entries.get(&channel) {
            return if *known.monitor.init() == new.init {
                Ok(false)
            } else {
                Err(MonitorRefusal::Duplicate)
            };
        }
        // Two channels on one funding output could never both be enforced (RELIABILITY A7).
        if self.index.contains_key(&new.init.funding.outpoint) {
            return Err(MonitorRefusal::Duplicate);
        }
        self.insert(channel, Entry::new(ChannelMonitor::new(new.init.clone())));
        Ok(true)
    }

    fn insert(&mut self, channel: ChannelId, entry: Entry) {
        for (outpoint, _) in entry.monitor.watched() {
            self.index.insert(outpoint, channel);
        }
        self.entries.insert(channel, entry);
        self.reschedule(channel);
    }

    /// Files the channel under the height at which it must be looked at next.
    fn reschedule(&mut self, channel: ChannelId) {
        let tip = self.height();
        let Some(entry) = self.entries.get_mut(&channel) else { return };
        if let Some(old) = entry.attention.take() {
            self.attention.remove(&(old, channel));
        }
        entry.attention = entry.next_attention(tip);
        if let Some(next) = entry.attention {
            self.attention.insert((next, channel));
        }
    }

    /// Turns what a monitor wants done into actions, and files its reports.
    fn note(&mut self, channel: ChannelId, todo: Todo, actions: &mut Vec<Action>) {
        for (outpoint, script) in todo.watches {
            self.index.insert(outpoint, channel);
            actions.push(Action::Watch(outpoint, script));
        }
        let reports = todo.events.into_iter().map(|event| Report::Channel { event });
        let reports: Vec<Report> =
            reports.chain(todo.user_events.into_iter().filter_map(Report::of_user)).collect();
        for report in reports {
            let id = self.next_event;
            self.next_event = id.next();
            self.events.insert(id, (channel, report.clone()));
            if let Some(entry) = self.entries.get_mut(&channel) {
                entry.reports.push((id, report));
            }
        }
        let next_event = self.next_event;
        if let Some(entry) = self.entries.get_mut(&channel).filter(|_| todo.changed) {
            entry.next_event = next_event;
            actions.push(Action::WriteChainState(channel, entry.to_versioned()));
        }
        actions.extend(
            todo.broadcasts.into_iter().map(|transaction| Action::Broadcast(alloc::vec![transaction])),
        );
        actions.extend(todo.coin_requests.into_iter().map(|request| Action::Coins(channel, request)));
        actions.extend(todo.released.into_iter().map(Action::Release));
        if todo.signer_failed {
            actions.push(Action::SignerFailed(channel));
        }
    }

    fn on_durable(&mut self, receipt: &Receipt) -> Vec<Transaction> {
        if let Some(entry) = self.entries.get_mut(&receipt.channel()) {
            entry.durable = entry.durable.max(receipt.id());
        }
        self.gated.remove(&(receipt.channel(), receipt.id())).unwrap_or_default()
    }

    fn events_after(&self, after: Option<EventId>) -> impl Iterator<Item = (EventId, ChannelId, &Report)> {
        let first = after.map_or(EventId(0), EventId::next);
        self.events.range(first..).map(|(id, (channel, report))| (*id, *channel, report))
    }

    /// Lets go of a channel that is resolved, deep, and has nothing left to report.
    fn archive_if_done(&mut self, channel: ChannelId, tip: BlockHeight, actions: &mut Vec<Action>) {
        let Some(entry) = self.entries.get(&channel).filter(|entry| entry.is_done(tip)) else { return };
        for (outpoint, _) in entry.monitor.watched() {
            self.index.remove(&outpoint);
        }
        if let Some(attention) = entry.attention {
            self.attention.remove(&(attention, channel));
        }
        self.entries.remove(&channel);
        actions.push(Action::Archive(channel));
    }
}
