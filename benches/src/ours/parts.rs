//! What a manager of ours calls, in memory.
use std::sync::Arc;

use bitcoin::hashes::Hash as _;
use bitcoin::{BlockHash, ScriptBuf, Transaction, WPubkeyHash};
use lightning_keys::{Seed, SeedKeys};
use lightning_monitor::{MonitorEnvironment, MonitorSet};
use lightning_traits::id::{ChannelId, PaymentId};
use lightning_traits::interface::{
    BroadcasterInterface, ConfirmationTarget, Environment, FeeEstimator, MonitorStore, RouteFinder,
};
use lightning_traits::monitor::{ChannelMonitorUpdate, NewMonitor, Persist, Receipt};
use lightning_traits::route::{NoRoute, Route, RouteAnswer, RouteQuery, RouteReport};
use lightning_traits::sync::Mutex;
use lightning_traits::units::{BlockHeight, FeeratePerKw};

/// The keys of a node.
#[must_use]
pub fn keys(seed: u8) -> SeedKeys {
    let script = ScriptBuf::new_p2wpkh(&WPubkeyHash::from_byte_array([seed; 20]));
    SeedKeys::new(Seed::new([seed; 32]), Arc::new(script)).unwrap()
}

/// Durable as soon as it is encoded: a disk that takes no time.
#[derive(Default)]
pub struct Memory(Mutex<Vec<u8>>);

impl Memory {
    fn keep(&self, bytes: Vec<u8>) {
        *self.0.lock() = bytes;
    }
}

impl MonitorStore for Memory {
    fn write_new(&self, new: &NewMonitor) -> Persist {
        self.keep(new.to_versioned());
        Persist::Durable(new.receipt())
    }

    fn write_update(&self, update: &ChannelMonitorUpdate, snapshot: Option<Vec<u8>>) -> Persist {
        self.keep(update.to_versioned());
        if let Some(snapshot) = snapshot {
            self.keep(snapshot);
        }
        Persist::Durable(update.receipt())
    }

    fn write_chain_state(&self, _: ChannelId, snapshot: Vec<u8>) {
        self.keep(snapshot);
    }

    fn write_tip(&self, _: BlockHash, _: BlockHeight) {}

    fn archive(&self, _: ChannelId) {}

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
    pub fn new(seed: u8) -> Self {
        let (keys, broadcaster) = (keys(seed), Arc::<Broadcaster>::default());
        let monitors = MonitorSet::new(MonitorParts {
            keys: keys.clone(),
            store: Memory::default(),
            broadcaster: Arc::clone(&broadcaster),
            fees: Fees,
        });
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
