//! A node with nothing but its channels' monitors, all of them on a tower.
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bitcoin::Network;
use bitcoin::constants::ChainHash;
use lightning_keys::{KEYS_MESSAGE, LentKeys, Seed, SeedKeys};
use lightning_net_tokio::{Net, NetConfig, PeerAddress};
use lightning_peer::{Parts, PeerManager};
use lightning_remote::wire::Mode as WireMode;
use lightning_remote::{Alarm, RecordPolicy, RemoteConfig, RemoteMonitors, Towers};
use lightning_traits::event::MessageSendEvent;
use lightning_traits::feature::Features;
use lightning_traits::id::{ChannelId, ChannelKeysId, NodeId};
use lightning_traits::interface::{
    ChannelMessageHandler, KeysInterface as _, ManyChannelMonitor as _, MessageSendEventsProvider, RefusePeer,
};
use lightning_traits::monitor::{ChannelMonitorUpdate, Persist, StoredChannel};
use lightning_traits::units::BlockHeight;
use lightning_traits::wire::{ChannelMessage, ErrorMessage, Init, WarningMessage};
use lightning_watchtower::clients::Mode;
use tokio::runtime::Runtime;

use crate::pair::{Pair, anyone};

type Parties = Parts<SeedKeys, Front, (), Arc<Towers>, ()>;

/// Tells the towers' handler of connections.
struct Front(Arc<Towers>);

impl ChannelMessageHandler for Front {
    fn peer_connected(&self, peer: NodeId, _: &Init, _: bool) -> Result<(), RefusePeer> {
        self.0.connected(peer);
        Ok(())
    }
    fn peer_disconnected(&self, peer: NodeId) {
        self.0.disconnected(peer);
    }
    fn on_channel_message(&self, _: NodeId, _: ChannelMessage) {}
    fn on_error(&self, _: NodeId, _: &ErrorMessage) {}
    fn on_warning(&self, _: NodeId, _: &WarningMessage) {}
    fn features(&self) -> Features {
        Features::default()
    }
}

impl MessageSendEventsProvider for Front {
    fn next_message(&self) -> Option<MessageSendEvent> {
        None
    }
}

type Lent = Arc<Mutex<BTreeMap<ChannelKeysId, LentKeys>>>;

/// The node.
pub struct Node {
    pub tower: Arc<RemoteMonitors>,
    net: Net<Parties>,
    own: BTreeMap<ChannelId, StoredChannel>,
    lent: Lent,
    mode: Mode,
    ticked: Instant,
    runtime: Option<Runtime>,
}

fn keys() -> SeedKeys {
    SeedKeys::new(Seed::new([42; 32]), Arc::new(anyone())).unwrap()
}

impl Node {
    /// Its node id.
    pub fn id() -> NodeId {
        NodeId::from(keys().node_id())
    }

    /// Connects to the tower at `node_id@host:port`, and again whenever that breaks.
    pub fn start(address: &str, mode: Mode, _: &[Pair]) -> Self {
        let address: PeerAddress = address.parse().unwrap();
        let tower = address.to_string().split('@').next().unwrap().parse().unwrap();
        let mut config = RemoteConfig::new(Self::id(), tower, RecordPolicy::Withheld);
        config.mode = match mode {
            Mode::Full => WireMode::Full {},
            Mode::Justice => WireMode::Justice {},
            Mode::Blind => WireMode::Blind {},
        };
        let session =
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64;
        let lent: Lent = Arc::default();
        let lender = Arc::clone(&lent);
        let tower = RemoteMonitors::new(config, session, None).with_introduction(move |init| {
            let keys = lender.lock().unwrap().get(&init.keys).cloned()?;
            Some((KEYS_MESSAGE, keys.to_message(&init.keys)))
        });
        let tower = Arc::new(tower);
        let towers = Arc::new(Towers::new([Arc::clone(&tower)]));
        let parts = Parts {
            keys: keys(),
            channels: Front(Arc::clone(&towers)),
            routing: (),
            custom: Arc::clone(&towers),
            log: (),
        };
        let peers = PeerManager::new(parts, vec![ChainHash::using_genesis_block_const(Network::Regtest)]);
        let runtime = Runtime::new().unwrap();
        let net = {
            let _inside = runtime.enter();
            let fast = (Duration::from_millis(20), Duration::from_millis(200));
            let net = Net::new(Arc::new(peers), NetConfig { backoff: fast, ..NetConfig::default() });
            net.keep_connected(address);
            net
        };
        Self { tower, net, own: BTreeMap::new(), lent, mode, ticked: Instant::now(), runtime: Some(runtime) }
    }

    /// Hands a channel over, its keys first.
    pub fn hand_over(&mut self, pair: &Pair) {
        self.add(pair, Some(pair.lent(self.mode.power().unwrap())));
    }

    /// A node that has forgotten the keys.
    pub fn hand_over_without_keys(&mut self, pair: &Pair) {
        self.add(pair, None);
    }

    fn add(&mut self, pair: &Pair, keys: Option<LentKeys>) {
        let new = pair.new_monitor();
        let stored = StoredChannel { new: new.to_versioned(), ..StoredChannel::default() };
        self.lent.lock().unwrap().extend(keys.map(|keys| (pair.init.keys, keys)));
        self.own.insert(new.init.channel, stored);
        assert!(matches!(self.tower.add_channel(new), Persist::InProgress));
        self.breathe();
    }

    /// Hands an update on.
    pub fn learn(&mut self, update: ChannelMonitorUpdate) {
        let stored = self.own.get_mut(&update.channel).unwrap();
        stored.updates.push(update.to_versioned());
        stored.last_update = update.id;
        let persist = self.tower.update_channel(update);
        assert!(matches!(persist, Persist::InProgress), "{persist:?}");
        self.net_wake();
    }

    fn net_wake(&self) {
        let _inside = self.runtime.as_ref().unwrap().enter();
        self.net.wake();
    }

    /// What a node's program does now and then.
    pub fn breathe(&mut self) {
        if self.ticked.elapsed() > Duration::from_secs(2) {
            self.ticked = Instant::now();
            self.tower.timer_tick();
        }
        while self.tower.next_receipt().is_some() {}
        while let Some(channel) = self.tower.next_wanted() {
            self.tower.provide(channel, self.own.get(&channel), BlockHeight::new(0));
        }
        self.net_wake();
    }

    /// What the user must hear.
    pub fn alarms(&mut self) -> Vec<Alarm> {
        self.breathe();
        std::iter::from_fn(|| self.tower.next_alarm()).collect()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.block_on(self.net.shutdown());
            runtime.shutdown_background();
        }
    }
}
