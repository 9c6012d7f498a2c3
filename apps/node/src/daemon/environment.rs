//! What each structure calls: the bundles that the library asks for, filled with this program's parts.
use std::sync::Arc;

use lightning_chain_bitcoind::{BitcoindBroadcaster, BitcoindClient, BitcoindFees};
use lightning_channel::manager::ChannelManager;
use lightning_keys::SeedKeys;
use lightning_monitor::{MonitorEnvironment, MonitorSet};
use lightning_peer::Parts;
use lightning_router::Router;
use lightning_store_redb::RedbStore;
use lightning_traits::interface::Environment;
use lightning_wallet_bdk::OnchainWallet;

use crate::logging::TracingLogger;

/// The block source.
pub(crate) type Source = Arc<BitcoindClient>;
/// The broadcaster.
pub(crate) type Broadcaster = Arc<BitcoindBroadcaster<Source>>;
/// The monitors.
pub(crate) type Monitors = Arc<MonitorSet<MonitorParts>>;
/// The channels.
pub(crate) type Channels = Arc<ChannelManager<ChannelParts>>;
/// What the peer manager calls.
pub(crate) type PeerParts = Parts<SeedKeys, Channels, Arc<Router>, (), TracingLogger>;

/// What the monitors call.
pub(crate) struct MonitorParts {
    pub(crate) keys: SeedKeys,
    pub(crate) store: Arc<RedbStore>,
    pub(crate) broadcaster: Broadcaster,
    pub(crate) fees: Arc<BitcoindFees>,
    pub(crate) coins: Arc<OnchainWallet>,
    pub(crate) log: TracingLogger,
}

impl MonitorEnvironment for MonitorParts {
    type Keys = SeedKeys;
    type Store = Arc<RedbStore>;
    type Broadcaster = Broadcaster;
    type Fees = Arc<BitcoindFees>;
    // Blocks come whole, so nobody needs to be told what to watch.
    type Watch = ();
    type Coins = Arc<OnchainWallet>;
    type Log = TracingLogger;

    fn keys(&self) -> &SeedKeys {
        &self.keys
    }
    fn store(&self) -> &Arc<RedbStore> {
        &self.store
    }
    fn broadcaster(&self) -> &Broadcaster {
        &self.broadcaster
    }
    fn fees(&self) -> &Arc<BitcoindFees> {
        &self.fees
    }
    fn watch(&self) -> &() {
        &()
    }
    fn coins(&self) -> &Arc<OnchainWallet> {
        &self.coins
    }
    fn log(&self) -> &TracingLogger {
        &self.log
    }
}

/// What the channels call.
pub(crate) struct ChannelParts {
    pub(crate) monitors: Monitors,
    pub(crate) keys: SeedKeys,
    pub(crate) fees: Arc<BitcoindFees>,
    pub(crate) broadcaster: Broadcaster,
    pub(crate) routes: Arc<Router>,
    pub(crate) log: TracingLogger,
}

impl Environment for ChannelParts {
    type Monitors = Monitors;
    type Keys = SeedKeys;
    type Fees = Arc<BitcoindFees>;
    type Broadcaster = Broadcaster;
    type Routes = Arc<Router>;
    type Log = TracingLogger;

    fn monitors(&self) -> &Monitors {
        &self.monitors
    }
    fn keys(&self) -> &SeedKeys {
        &self.keys
    }
    fn fees(&self) -> &Arc<BitcoindFees> {
        &self.fees
    }
    fn broadcaster(&self) -> &Broadcaster {
        &self.broadcaster
    }
    fn routes(&self) -> &Arc<Router> {
        &self.routes
    }
    fn log(&self) -> &TracingLogger {
        &self.log
    }
}
