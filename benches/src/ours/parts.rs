//! What a manager of ours calls, in memory.
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bitcoin::hashes::Hash as _;
use bitcoin::{BlockHash, ScriptBuf, Transaction, WPubkeyHash};
use lightning_keys::{Seed, SeedKeys};
use lightning_monitor::{MonitorEnvironment, MonitorSet};
use lightning_traits::id::{ChannelId, PaymentId};
use lightning_traits::interface::{
    BroadcasterInterface, ConfirmationTarget, Environment, FeeEstimator, MonitorStore, RouteFinder,
};
use lightning_traits::monitor::{
    ChannelMonitorUpdate, MonitorSnapshot, NewMonitor, Persist, Receipt, RecordChange, StoredChannel,
    StoredChannels,
};
use lightning_traits::route::{NoRoute, Route, RouteAnswer, RouteQuery, RouteReport};
use lightning_traits::sync::Mutex;
use lightning_traits::units::{BlockHeight, FeeratePerKw};

/// The keys of a node.
#[must_use]
pub fn keys(seed: u8) -> SeedKeys {
    let script = ScriptBuf::new_p2wpkh(&WPubkeyHash::from_byte_array([seed; 20]));
    SeedKeys::new(Seed::new([seed; 32]), Arc::new(script)).unwrap()
}

/// What a store is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// What monitors learn.
    Steps,
    /// Whole monitors.
    Monitors,
    /// What changed in the channels' records.
    Changes,
    /// Whole records of channels.
    Records,
}

/// Durable as soon as it is encoded: a disk that takes no time. It counts the bytes, and keeps them if it is told to.
#[derive(Default)]
pub struct Memory {
    /// Bytes by [`Kind`].
    written: [AtomicU64; 4],
    kept: Option<Mutex<BTreeMap<ChannelId, StoredChannel>>>,
}

impl Memory {
    fn new(keeps: bool) -> Self {
        Self { written: Default::default(), kept: keeps.then(Mutex::default) }
    }

    fn count(&self, kind: Kind, bytes: &[u8]) {
        self.written[kind as usize].fetch_add(bytes.len() as u64, Ordering::Relaxed);
    }

    fn count_snapshot(&self, snapshot: &MonitorSnapshot) {
        self.count(Kind::Monitors, &snapshot.state);
        snapshot.past.iter().for_each(|part| self.count(Kind::Monitors, &part.bytes));
    }
}

impl MonitorStore for Memory {
    fn write_new(&self, new: &NewMonitor) -> Persist {
        self.count(Kind::Monitors, &new.to_versioned());
        if let (Some(kept), RecordChange::Snapshot { bytes: record }) = (&self.kept, new.record.clone()) {
            let new_bytes = NewMonitor { record: RecordChange::Same {}, ..new.clone() }.to_versioned();
            let stored = StoredChannel { new: new_bytes, record, ..StoredChannel::default() };
            kept.lock().insert(new.init.channel, stored);
        }
        Persist::Durable(new.receipt())
    }

    fn write_update(&self, update: &ChannelMonitorUpdate, snapshot: Option<MonitorSnapshot>) -> Persist {
        // A snapshot stands in the place of the monitor's steps: a store writes one or the other.
        let steps = ChannelMonitorUpdate { record: RecordChange::Same {}, ..update.clone() }.to_versioned();
        match &snapshot {
            None => self.count(Kind::Steps, &steps),
            Some(snapshot) => self.count_snapshot(snapshot),
        }
        match &update.record {
            RecordChange::Same {} => {}
            RecordChange::Append { bytes } => self.count(Kind::Changes, bytes),
            RecordChange::Snapshot { bytes } => self.count(Kind::Records, bytes),
        }
        if let Some(kept) = &self.kept
            && let Some(stored) = kept.lock().get_mut(&update.channel)
        {
            stored.last_update = update.id;
            match snapshot {
                Some(snapshot) => stored.take_snapshot(snapshot),
                None => stored.updates.push(steps),
            }
            match update.record.clone() {
                RecordChange::Same {} => {}
                RecordChange::Append { bytes } => stored.record_changes.push(bytes),
                RecordChange::Snapshot { bytes } => {
                    stored.record = bytes;
                    stored.record_changes.clear();
                }
            }
        }
        Persist::Durable(update.receipt())
    }

    fn write_chain_state(&self, channel: ChannelId, snapshot: MonitorSnapshot) {
        self.count_snapshot(&snapshot);
        if let Some(kept) = &self.kept
            && let Some(stored) = kept.lock().get_mut(&channel)
        {
            stored.take_snapshot(snapshot);
        }
    }

    fn write_tip(&self, _: BlockHash, _: BlockHeight) {}

    fn archive(&self, _: ChannelId) {}

    fn read(&self, channel: ChannelId) -> Option<StoredChannel> {
        self.kept.as_ref()?.lock().get(&channel).cloned()
    }

    fn next_receipt(&self) -> Option<Receipt> {
        None
    }
}

/// Keeps what is broadcast.
#[derive(Default)]
pub struct Broadcaster(Mutex<Vec<Transaction>>);

impl Broadcaster {
    /// What was broadcast since the last call.
    pub fn take(&self) -> Vec<Transaction> {
        std::mem::take(&mut self.0.lock())
    }
}

impl BroadcasterInterface for Broadcaster {
    fn broadcast(&self, package: &[Transaction]) {
        self.0.lock().extend_from_slice(package);
    }
}

/// Fees that do not move.
pub struct Fees;

impl FeeEstimator for Fees {
    fn feerate(&self, target: ConfirmationTarget) -> FeeratePerKw {
        FeeratePerKw::new(if target == ConfirmationTarget::MinimumAccepted { 253 } else { 1_000 })
    }
}

/// Routes are given with each payment.
pub struct NoRoutes;

impl RouteFinder for NoRoutes {
    fn find_route(&self, _: RouteQuery) -> RouteAnswer {
        RouteAnswer::Ready(Err(NoRoute::UnknownPayee))
    }

    fn next_route(&self) -> Option<(PaymentId, Result<Route, NoRoute>)> {
        None
    }

    fn report(&self, _: RouteReport) {}
}

/// What the monitors call.
pub struct MonitorParts {
    keys: SeedKeys,
    store: Memory,
    broadcaster: Arc<Broadcaster>,
    fees: Fees,
}

impl MonitorParts {
    fn new(keys: SeedKeys, broadcaster: Arc<Broadcaster>, keeps: bool) -> Self {
        Self { keys, store: Memory::new(keeps), broadcaster, fees: Fees }
    }

    /// The parts of the node with this seed, for monitors alone.
    #[must_use]
    pub fn of(seed: u8, keeps: bool) -> Self {
        Self::new(keys(seed), Arc::default(), keeps)
    }

    /// The same, with a store that has these channels.
    #[must_use]
    pub fn holding(seed: u8, stored: &StoredChannels) -> Self {
        let parts = Self::of(seed, true);
        let kept = parts.store.kept.as_ref().expect("a store that keeps");
        kept.lock().extend(stored.iter().cloned());
        parts
    }

    /// What was broadcast since the last call.
    #[must_use]
    pub fn broadcast(&self) -> Vec<Transaction> {
        self.broadcaster.take()
    }

    /// Bytes that the monitors gave to their store, by [`Kind`].
    #[must_use]
    pub fn written(&self) -> [u64; 4] {
        self.store.written.each_ref().map(|bytes| bytes.load(Ordering::Relaxed))
    }

    /// A copy of what is stored.
    #[must_use]
    pub fn stored(&self) -> StoredChannels {
        let kept = self.store.kept.as_ref().expect("a store that keeps").lock();
        kept.iter().map(|(channel, stored)| (*channel, stored.clone())).collect()
    }
}

impl MonitorEnvironment for MonitorParts {
    type Keys = SeedKeys;
    type Store = Memory;
    type Broadcaster = Arc<Broadcaster>;
    type Fees = Fees;
    type Watch = ();
    type Coins = ();
    type Log = ();

    fn keys(&self) -> &SeedKeys {
        &self.keys
    }
    fn store(&self) -> &Memory {
        &self.store
    }
    fn broadcaster(&self) -> &Arc<Broadcaster> {
        &self.broadcaster
    }
    fn fees(&self) -> &Fees {
        &self.fees
    }
    fn watch(&self) -> &() {
        &()
    }
    fn coins(&self) -> &() {
        &()
    }
    fn log(&self) -> &() {
        &()
    }
}

/// What the channels call.
pub struct ChannelParts {
    /// The monitors.
    pub monitors: MonitorSet<MonitorParts>,
    /// The broadcaster.
    pub broadcaster: Arc<Broadcaster>,
    keys: SeedKeys,
    fees: Fees,
    routes: NoRoutes,
}

impl ChannelParts {
    /// The parts of the node with this seed.
    #[must_use]
    pub fn new(seed: u8, keeps: bool) -> Self {
        let (keys, broadcaster) = (keys(seed), Arc::<Broadcaster>::default());
        let parts = MonitorParts::new(keys.clone(), Arc::clone(&broadcaster), keeps);
        Self { monitors: MonitorSet::new(parts), broadcaster, keys, fees: Fees, routes: NoRoutes }
    }

    /// The parts of the node with this seed, started from what it had stored.
    #[must_use]
    pub fn restore(seed: u8, stored: &StoredChannels, tip: (BlockHash, BlockHeight)) -> Self {
        let (keys, broadcaster) = (keys(seed), Arc::<Broadcaster>::default());
        let parts = MonitorParts::new(keys.clone(), Arc::clone(&broadcaster), false);
        let monitors = MonitorSet::restore(parts, stored, Some(tip)).unwrap();
        Self { monitors, broadcaster, keys, fees: Fees, routes: NoRoutes }
    }
}

impl Environment for ChannelParts {
    type Monitors = MonitorSet<MonitorParts>;
    type Keys = SeedKeys;
    type Fees = Fees;
    type Broadcaster = Arc<Broadcaster>;
    type Routes = NoRoutes;
    type Log = ();

    fn monitors(&self) -> &MonitorSet<MonitorParts> {
        &self.monitors
    }
    fn keys(&self) -> &SeedKeys {
        &self.keys
    }
    fn fees(&self) -> &Fees {
        &self.fees
    }
    fn broadcaster(&self) -> &Arc<Broadcaster> {
        &self.broadcaster
    }
    fn routes(&self) -> &NoRoutes {
        &self.routes
    }
    fn log(&self) -> &() {
        &()
    }
}
