//! What each structure calls: the bundles that the library asks for, filled with this program's parts.
use std::sync::Arc;

use lightning_chain_bitcoind::{BitcoindBroadcaster, BitcoindClient, BitcoindFees};
use lightning_channel::channel::ChannelDetails;
use lightning_channel::manager::ChannelManager;
use lightning_keys::SeedKeys;
use lightning_monitor::{MonitorEnvironment, MonitorSet};
use lightning_peer::Parts;
use lightning_router::Router;
use lightning_store_redb::RedbStore;
use lightning_traits::event::MessageSendEvent;
use lightning_traits::feature::Features;
use lightning_traits::id::NodeId;
use lightning_traits::interface::{
    ChannelMessageHandler, Environment, MessageSendEventsProvider, RefusePeer,
};
use lightning_traits::wire::{ChannelMessage, ChannelUpdate, ErrorMessage, Init, WarningMessage};
use lightning_wallet_bdk::OnchainWallet;

use super::towers::{Gate, TowerDesk};
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
pub(crate) type PeerParts = Parts<SeedKeys, Front, Arc<Router>, Arc<TowerDesk>, TracingLogger>;

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
    pub(crate) monitors: Arc<Gate>,
    pub(crate) keys: SeedKeys,
    pub(crate) fees: Arc<BitcoindFees>,
    pub(crate) broadcaster: Broadcaster,
    pub(crate) routes: Arc<Router>,
    pub(crate) log: TracingLogger,
}

impl Environment for ChannelParts {
    type Monitors = Arc<Gate>;
    type Keys = SeedKeys;
    type Fees = Arc<BitcoindFees>;
    type Broadcaster = Broadcaster;
    type Routes = Arc<Router>;
    type Log = TracingLogger;

    fn monitors(&self) -> &Arc<Gate> {
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

/// The channels, and the towers that must hear of connections: the transport tells nobody else.
pub(crate) struct Front {
    pub(crate) channels: Channels,
    pub(crate) desk: Arc<TowerDesk>,
    pub(crate) gate: Arc<Gate>,
}

impl ChannelMessageHandler for Front {
    fn peer_connected(&self, peer: NodeId, init: &Init, inbound: bool) -> Result<(), RefusePeer> {
        if let Some(guards) = self.gate.guards() {
            let unsettled = guards.unsettled();
            let is_waiting =
                |channel: &ChannelDetails| channel.peer == peer && unsettled.contains(&channel.channel);
            // What we would say of such a channel the towers may not hold.
            if !unsettled.is_empty() && self.channels.list_channels().iter().any(is_waiting) {
                return Err(RefusePeer);
            }
        }
        self.channels.peer_connected(peer, init, inbound)?;
        self.desk.connected(peer);
        Ok(())
    }

    fn peer_disconnected(&self, peer: NodeId) {
        self.desk.disconnected(peer);
        self.channels.peer_disconnected(peer);
    }

    fn on_channel_message(&self, peer: NodeId, message: ChannelMessage) {
        self.channels.on_channel_message(peer, message);
    }

    fn on_error(&self, peer: NodeId, error: &ErrorMessage) {
        self.channels.on_error(peer, error);
    }

    fn on_warning(&self, peer: NodeId, warning: &WarningMessage) {
        self.channels.on_warning(peer, warning);
    }

    fn on_channel_update(&self, peer: NodeId, update: &ChannelUpdate) {
        self.channels.on_channel_update(peer, update);
    }

    fn features(&self) -> Features {
        self.channels.features()
    }
}

impl MessageSendEventsProvider for Front {
    fn next_message(&self) -> Option<MessageSendEvent> {
        self.channels.next_message()
    }
}
