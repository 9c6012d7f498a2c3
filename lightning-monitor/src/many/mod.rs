//! Many monitors behind one interface.
//!
//! [`MonitorSet`] implements [`ManyChannelMonitor`] for the channels, [`ChainListener`] for the chain, and
//! [`EventsProvider`] for the user. One index of watched outpoints (`index.rs`) leads from a block's inputs to the channels they
//! concern. `entry.rs` is one channel with its unacknowledged reports, `log.rs` how long what is stored of it is, `sleep.rs`
//! monitors that are not in memory, `actions.rs` what is done outside the lock, `chain.rs` the blocks, `restore.rs` the restart.
//!
//! Methods: getters [`MonitorSet::asleep`], [`MonitorSet::balances`], [`MonitorSet::channels`], [`MonitorSet::closed_by`],
//! [`MonitorSet::contested`], [`MonitorSet::has`], [`MonitorSet::monitor`]; inputs `block_connected`, `filtered_block_connected`,
//! `block_disconnected`, [`MonitorSet::unconfirmed_seen`], `add_channel`, `update_channel`; commands
//! [`MonitorSet::rebroadcast`], [`MonitorSet::rest`]; outputs `next_receipt`, `next_refusal`, `next_monitor_event`, `next_event`.
//!
//! # Invariants
//! - nothing foreign but signer and log is called under the lock (I7); what the lock decided is done in its order
//! - our commitment is broadcast only when all that its monitor has learnt is durable, so that a restart cannot step
//!   on past a commitment that is out; claims of what is on chain never wait, not even for a broken disk
//! - a block costs its own inputs and the channels whose time has come, not the number of channels (I13)
mod actions;
mod chain;
mod entry;
mod index;
mod log;
mod restore;
mod sleep;

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::sync::atomic::AtomicBool;

use bitcoin::{BlockHash, Txid};
use lightning_traits::Secp;
use lightning_traits::event::Event;
use lightning_traits::id::{ChannelId, EventId, UpdateId};
use lightning_traits::interface::{
    BroadcasterInterface, ChainWatchInterface, CoinSource, ConfirmationTarget, EventsProvider, FeeEstimator,
    KeysInterface, Logger, ManyChannelMonitor, MonitorStore,
};
use lightning_traits::monitor::{
    ChannelMonitorUpdate, LateRefusal, MonitorEvent, MonitorRefusal, NewMonitor, Persist, Receipt, SpendKind,
};
use lightning_traits::sync::{Mutex, assert_unlocked};
use lightning_traits::units::BlockHeight;

use crate::claim::pace;
use crate::monitor::{Balance, ChannelMonitor, Duty};
use crate::resolve::{Moment, Rates, Todo};
use actions::{Action, Waiting};
use entry::{Entry, Report};
use index::Index;
use sleep::Asleep;

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

    /// What the monitors may do on the chain.
    fn duty(&self) -> Duty {
        Duty::Enforce
    }
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

/// Many monitors.
pub struct MonitorSet<E> {
    env: E,
    secp: Secp,
    state: Mutex<State>,
    /// Whether somebody is doing actions: they are done one after another, in order.
    turn: AtomicBool,
}

/// How a channel came to be monitored.
enum Added {
    /// By this call.
    Now,
    /// Before, and its receipt is still to come.
    Before,
    /// Before, and it is durable.
    Durable,
}

#[derive(Default)]
struct State {
    entries: BTreeMap<ChannelId, Entry>,
    /// Those of which nothing more is in memory.
    asleep: BTreeMap<ChannelId, Asleep>,
    /// Those of them that something has happened to, and that could not be read.
    unread: BTreeSet<ChannelId>,
    /// Updates that were refused after they had to wait.
    refusals: BTreeMap<ChannelId, LateRefusal>,
    /// Those of which something on chain was spent.
    on_chain: BTreeSet<ChannelId>,
    index: Index,
    /// When each channel must be looked at, though nothing spends its outputs.
    attention: BTreeSet<(BlockHeight, ChannelId)>,
    tip: Option<(BlockHash, BlockHeight)>,
    next_event: EventId,
    events: BTreeMap<EventId, (ChannelId, Report)>,
    receipts: VecDeque<Receipt>,
    /// What is still to be done outside. Under the same lock as all else, so that it is in the order of the decisions.
    actions: VecDeque<Action>,
    /// And behind that, the most urgent first.
    waiting: Waiting,
    /// Weight of the claims that wait for a block and may come too late, of all channels.
    weight: u64,
}

impl<E: MonitorEnvironment> MonitorSet<E> {
    /// An empty set.
    #[must_use]
    pub fn new(env: E) -> Self {
        Self { env, secp: Secp::new(), state: Mutex::new(State::default()), turn: AtomicBool::new(false) }
    }

    /// What it calls.
    #[must_use]
    pub const fn environment(&self) -> &E {
        &self.env
    }

    /// All that is still to come, of all channels.
    #[must_use]
    pub fn balances(&self) -> Vec<Balance> {
        let state = self.state.lock();
        let asleep = state.asleep.values().flat_map(|asleep| asleep.balances.iter().copied());
        state.entries.values().flat_map(|entry| entry.monitor.balances()).chain(asleep).collect()
    }

    /// The channels.
    #[must_use]
    pub fn channels(&self) -> Vec<ChannelId> {
        let state = self.state.lock();
        state.entries.keys().chain(state.asleep.keys()).copied().collect()
    }

    /// Whether the channel is monitored. Asks no store.
    #[must_use]
    pub fn has(&self, channel: ChannelId) -> bool {
        let state = self.state.lock();
        state.entries.contains_key(&channel) || state.asleep.contains_key(&channel)
    }

    /// What spent the funding output of a channel, once that is confirmed. Asks no store: nothing sleeps that is on the chain.
    #[must_use]
    pub fn closed_by(&self, channel: ChannelId) -> Option<(Txid, SpendKind)> {
        self.state.lock().entries.get(&channel)?.monitor.closed_by()
    }

    /// How many of the monitors sleep.
    #[must_use]
    pub fn asleep(&self) -> usize {
        self.state.lock().asleep.len()
    }

    /// A copy of one channel's monitor. One that sleeps is read from the store, and `None` if that cannot be read.
    #[must_use]
    pub fn monitor(&self, channel: ChannelId) -> Option<ChannelMonitor> {
        let awake = self.state.lock().entries.get(&channel).map(|entry| entry.monitor.clone());
        awake.or_else(|| {
            let stored = self.env.store().read(channel)?;
            self.state.lock().asleep.get(&channel)?;
            Some(self.restore_entry(channel, &stored).ok()?.monitor)
        })
    }

    fn rates(&self) -> Rates {
        assert_unlocked();
        let urgent = self.env.fees().feerate(ConfirmationTarget::Urgent);
        // An estimator may say nonsense (RELIABILITY C13): patience never costs more than haste.
        let background = self.env.fees().feerate(ConfirmationTarget::Background).min(urgent);
        Rates { urgent, background }
    }

    fn signer(&self, monitor: &ChannelMonitor) -> <E::Keys as KeysInterface>::Signer {
        self.env.keys().signer(&monitor.init().keys)
    }
}

impl<E: MonitorEnvironment> ManyChannelMonitor for MonitorSet<E> {
    fn add_channel(&self, new: NewMonitor) -> Persist {
        self.wake([new.init.channel]);
        let answer = self.state.lock().add(&new, self.env.duty());
        self.act();
        match answer {
            Ok(Added::Durable) => Persist::Durable(new.receipt()),
            Ok(Added::Now | Added::Before) => Persist::InProgress,
            Err(refusal) => Persist::Refused(refusal),
        }
    }

    fn update_channel(&self, update: ChannelMonitorUpdate) -> Persist {
        let rates = self.rates();
        self.wake([update.channel]);
        let persist = self.take_update(update, rates);
        self.act();
        persist
    }

    fn next_receipt(&self) -> Option<Receipt> {
        let receipt = self.state.lock().receipts.pop_front();
        let receipt = receipt.or_else(|| self.env.store().next_receipt())?;
        if self.state.lock().on_durable(&receipt) {
            self.look_at(receipt.channel());
        }
        Some(receipt)
    }

    /// Only what had to wait for a monitor that could not be read is refused late.
    fn next_refusal(&self) -> Option<LateRefusal> {
        self.state.lock().refusals.pop_first().map(|(_, refusal)| refusal)
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
        if state.refusals.contains_key(&update.channel) {
            // Handed over before the refusal of one before it was told: it is not taken.
            return Persist::InProgress;
        }
        if let Some(held) = state.hold_update(&update) {
            return held;
        }
        self.take_awake(&mut state, update, rates)
    }

    /// An update of a monitor that is in memory.
    fn take_awake(&self, state: &mut State, update: ChannelMonitorUpdate, rates: Rates) -> Persist {
        let (tip, pace) = (state.height(), pace(state.weight));
        let Some(entry) = state.entries.get_mut(&update.channel) else {
            return Persist::Refused(MonitorRefusal::UnknownChannel);
        };
        entry.used = tip;
        if update.id <= entry.monitor.last_update() {
            return if entry.ledger.has(update.id) {
                Persist::Durable(update.receipt())
            } else {
                Persist::InProgress
            };
        }
        if let Err(refusal) = entry.monitor.apply(&self.secp, &update) {
            return Persist::Refused(refusal);
        }
        let mut todo = Todo::default();
        if entry.monitor.acts_on(&update) {
            let signer = self.signer(&entry.monitor);
            let moment = Moment { tip, rates, pace, may_publish: entry.may_publish() };
            entry.monitor.on_tip(&self.secp, &signer, moment, &mut todo);
        }
        let channel = update.channel;
        state.file(channel, &mut todo);
        // What the update led to is written with it: half of it must not survive a crash.
        let entry = state.entries.get_mut(&channel);
        let snapshot = entry.and_then(|entry| entry.snapshot_if_due(&update, todo.changed));
        let teaches = !update.steps.is_empty();
        state.actions.push_back(Action::WriteUpdate(update, snapshot));
        state.plan(channel, todo);
        if teaches {
            state.reschedule(channel);
        }
        Persist::InProgress
    }

    /// Looks at one channel without a block.
    fn look_at(&self, channel: ChannelId) {
        let rates = self.rates();
        {
            let mut state = self.state.lock();
            let height = state.height();
            state.on_tip(&self.secp, self.env.keys(), channel, height, rates);
        }
        self.act();
    }

    fn acknowledge(&self, id: EventId) {
        let mut state = self.state.lock();
        let Some((channel, _)) = state.events.remove(&id) else { return };
        if let Some(entry) = state.entries.get_mut(&channel) {
            entry.reports.retain(|(known, _)| *known != id);
            let written = Action::WriteChainState(channel, entry.snapshot());
            state.actions.push_back(written);
        }
        state.archive_if_done(channel);
        drop(state);
        self.act();
    }
}

impl State {
    fn height(&self) -> BlockHeight {
        self.tip.map_or(BlockHeight::new(0), |(_, height)| height)
    }

    /// Starts to monitor, unless the very same is monitored already.
    fn add(&mut self, new: &NewMonitor, duty: Duty) -> Result<Added, MonitorRefusal> {
        let channel = new.init.channel;
        if let Some(known) = self.entries.get(&channel) {
            return if *known.monitor.init() != new.init {
                Err(MonitorRefusal::Duplicate)
            } else if known.ledger.has(UpdateId(0)) {
                Ok(Added::Durable)
            } else {
                Ok(Added::Before)
            };
        }
        if self.asleep.contains_key(&channel) {
            // It cannot be read now, so it cannot be said whether it is the same.
            return Ok(Added::Before);
        }
        // Two channels on one funding output could never both be enforced (RELIABILITY A7).
        if self.index.get(&new.init.funding.outpoint).is_some() {
            return Err(MonitorRefusal::Duplicate);
        }
        let mut monitor = ChannelMonitor::new(new.init.clone());
        monitor.duty = duty;
        let used = self.height().max(new.init.birth);
        self.insert(channel, Entry { used, ..Entry::new(monitor) });
        let funding = new.init.funding;
        self.actions.push_back(Action::Watch(funding.outpoint, funding.txout().script_pubkey));
        self.actions.push_back(Action::WriteNew(alloc::boxed::Box::new(new.clone())));
        Ok(Added::Now)
    }

    fn insert(&mut self, channel: ChannelId, mut entry: Entry) {
        for (outpoint, _) in entry.monitor.watched() {
            self.index.insert(outpoint, channel);
            entry.indexed.push(outpoint);
        }
        self.entries.insert(channel, entry);
        self.reschedule(channel);
    }

    /// Files the channel under the height at which it must be looked at next.
    fn reschedule(&mut self, channel: ChannelId) {
        let tip = self.height();
        let Some(entry) = self.entries.get_mut(&channel) else { return };
        if entry.monitor.is_on_chain() {
            self.on_chain.insert(channel);
        } else {
            self.on_chain.remove(&channel);
        }
        if let Some(old) = entry.attention.take() {
            self.attention.remove(&(old, channel));
        }
        let weight = entry.monitor.waiting_weight();
        self.weight = self.weight.saturating_sub(entry.weight).saturating_add(weight);
        entry.weight = weight;
        entry.attention = entry.next_attention(tip);
        if let Some(next) = entry.attention {
            self.attention.insert((next, channel));
        }
    }

    /// Files what a monitor reports and what it must see.
    fn file(&mut self, channel: ChannelId, todo: &mut Todo) {
        let Some(entry) = self.entries.get_mut(&channel) else { return };
        if entry.monitor.duty == Duty::Punish && !entry.monitor.is_breached() {
            // What became of the channel is told by those who know all of it.
            todo.events.clear();
            todo.user_events.clear();
        }
        for (outpoint, script) in todo.watches.drain(..) {
            if self.index.insert(outpoint, channel) {
                entry.indexed.push(outpoint);
            }
            self.actions.push_back(Action::Watch(outpoint, script));
        }
        let reports = todo.events.drain(..).map(|event| Report::Channel { event });
        for report in reports.chain(todo.user_events.drain(..).filter_map(Report::of_user)) {
            let id = self.next_event;
            self.next_event = id.next();
            self.events.insert(id, (channel, report.clone()));
            entry.reports.push((id, report));
        }
        if todo.changed {
            entry.next_event = self.next_event;
        }
    }

    /// Plans what is to be done outside.
    fn plan(&mut self, channel: ChannelId, todo: Todo) {
        todo.broadcasts.into_iter().for_each(|outgoing| self.send(outgoing));
        todo.coin_requests.into_iter().for_each(|request| self.ask(channel, request));
        self.actions.extend(todo.released.into_iter().map(Action::Release));
        if todo.signer_failed {
            self.actions.push_back(Action::SignerFailed(channel));
        }
    }

    /// What the chain brought: filed, stored if it changed anything, and planned.
    fn note(&mut self, channel: ChannelId, mut todo: Todo) {
        self.file(channel, &mut todo);
        if let Some(entry) = self.entries.get_mut(&channel).filter(|_| todo.changed) {
            self.actions.push_back(Action::WriteChainState(channel, entry.snapshot()));
        }
        self.plan(channel, todo);
    }

    /// Whether our commitment, or a claim that shows a preimage, may have waited for this receipt.
    fn on_durable(&mut self, receipt: &Receipt) -> bool {
        let Some(entry) = self.entries.get_mut(&receipt.channel()) else { return false };
        entry.ledger.note(receipt.id());
        entry.may_publish() && (entry.monitor.is_going_to_chain() || entry.monitor.is_on_chain())
    }

    fn events_after(&self, after: Option<EventId>) -> impl Iterator<Item = (EventId, ChannelId, &Report)> {
        let first = after.map_or(EventId(0), EventId::next);
        self.events.range(first..).map(|(id, (channel, report))| (*id, *channel, report))
    }

    /// Lets go of a channel that is resolved, deep, and has nothing left to report.
    fn archive_if_done(&mut self, channel: ChannelId) {
        let tip = self.height();
        let Some(entry) = self.entries.get(&channel).filter(|entry| entry.is_done(tip)) else { return };
        for outpoint in &entry.indexed {
            self.index.remove(outpoint);
        }
        if let Some(attention) = entry.attention {
            self.attention.remove(&(attention, channel));
        }
        self.weight = self.weight.saturating_sub(entry.weight);
        self.entries.remove(&channel);
        self.on_chain.remove(&channel);
        self.actions.push_back(Action::Archive(channel));
    }
}
