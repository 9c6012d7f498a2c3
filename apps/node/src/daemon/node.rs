//! The node: its parts, put together.
//!
//! The library's structures know nothing of threads, clocks, sockets and files; this file gives them all four. Three
//! threads beside the API's: the pump (`pump.rs`), the chain (`chain.rs`), and Tokio's for sockets.
//!
//! # Invariants
//! - the chain is caught up before the first peer is heard
//! - one data directory belongs to one network and one running node
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bitcoin::constants::ChainHash;
use lightning_chain_bitcoind::{
    BitcoindBroadcaster, BitcoindClient, BitcoindFees, ChainFollower, FollowError,
};
use lightning_channel::manager::{ChannelManager, Tip as ChannelTip};
use lightning_keys::{KeysError, SeedKeys};
use lightning_monitor::{MonitorSet, RestoreError};
use lightning_net_tokio::{Net, NetConfig, NetError, PeerAddress};
use lightning_peer::PeerManager;
use lightning_router::{Router, RouterConfig};
use lightning_store_redb::{RedbStore, StoreError};
use lightning_traits::id::{ChannelId, NodeId};
use lightning_traits::interface::{BlockSource as _, KeysInterface as _, SourceError};
use lightning_traits::units::BlockHeight;
use lightning_traits::wire::{Addresses, NodeAddress, NodeAlias};
use thiserror::Error;

use super::books::{Books, now};
use super::environment::{
    Broadcaster, ChannelParts, Channels, Front, MonitorParts, Monitors, PeerParts, Source,
};
use super::openings::Openings;
use super::options::NodeOptions;
use super::pump::Wake;
use super::restore::DOUBTED;
use super::seed::{self, SeedError};
use super::towers::{Gate, TowerDesk};
use super::wallet::{OpenWalletError, WalletKeeper, WalletScripts};
use super::{chain, life, pump, record};
use crate::api::response::PaymentState;
use crate::error::ApiError;
use crate::logging::TracingLogger;
use crate::towers::TowerList;

/// The file of everything but the seed.
pub(super) const STORE: &str = "lnode.redb";
pub(super) const NETWORK: &str = "network";
pub(super) const GRAPH: &str = "graph";

/// Why a node does not start. Nothing was changed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StartError {
    /// The data directory.
    #[error("the data directory {0} cannot be used: {1}")]
    DataDir(PathBuf, std::io::Error),
    /// The data directory is another network's.
    #[error("the data directory {0} belongs to {1}, not to {2}: give each network a directory of its own")]
    OtherNetwork(PathBuf, String, bitcoin::Network),
    /// The seed.
    #[error(transparent)]
    Seed(#[from] SeedError),
    /// The keys.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The wallet.
    #[error(transparent)]
    Wallet(#[from] OpenWalletError),
    /// The chain source does not answer, or is of another network.
    #[error(transparent)]
    Chain(#[from] SourceError),
    /// The chain cannot be followed.
    #[error(transparent)]
    Follow(#[from] FollowError),
    /// A stored monitor.
    #[error("{0}; restore the database from a backup")]
    Monitor(#[from] RestoreError),
    /// A stored channel.
    #[error("a stored channel cannot be restored: {0}; restore the database from a backup")]
    Channel(String),
    /// The watchtowers.
    #[error("the watchtowers cannot be used: {0}")]
    Towers(String),
    /// The node was restored elsewhere.
    #[error("{0}")]
    Replaced(String),
    /// Listening for peers.
    #[error(transparent)]
    Net(#[from] NetError),
    /// A thread.
    #[error("a thread cannot be started: {0}")]
    Thread(std::io::Error),
}

/// The parts of a running node.
pub(crate) struct Inner {
    pub(crate) options: NodeOptions,
    pub(crate) keys: SeedKeys,
    pub(crate) store: Arc<RedbStore>,
    pub(crate) wallet: WalletKeeper,
    pub(crate) source: Source,
    pub(crate) broadcaster: Broadcaster,
    pub(crate) fees: Arc<BitcoindFees>,
    pub(crate) monitors: Monitors,
    pub(crate) gate: Arc<Gate>,
    pub(crate) router: Arc<Router>,
    pub(crate) channels: Channels,
    pub(crate) net: Net<PeerParts>,
    pub(crate) books: Books,
    pub(crate) wake: Arc<Wake>,
    pub(crate) chain_wake: Arc<Wake>,
    pub(crate) chain_down: AtomicBool,
    /// Whether the user has heard that the wallet holds too little for the channels.
    pub(crate) reserve_low: AtomicBool,
    pub(crate) started: Instant,
    pub(crate) runtime: tokio::runtime::Handle,
    pub(crate) openings: Openings,
    /// Why the node must not act any more, once a tower has said so.
    pub(crate) frozen: tokio::sync::watch::Sender<Option<String>>,
    notes: Mutex<Notes>,
}

/// What the API remembers while the node runs.
#[derive(Default)]
struct Notes {
    failures: BTreeMap<ChannelId, String>,
    closed: BTreeMap<ChannelId, String>,
    /// What became of temporary ids.
    opened: BTreeMap<ChannelId, ChannelId>,
    bound: Vec<std::net::SocketAddr>,
    /// Peers from whom the user disconnected.
    unwanted: BTreeSet<NodeId>,
}

impl Inner {
    /// The height that the channels know.
    pub(crate) fn height(&self) -> BlockHeight {
        use lightning_traits::interface::ChainListener as _;
        self.channels.best_block().map_or(BlockHeight::new(0), |(_, height)| height)
    }

    /// A tower serves a later life of this node: nothing is done any more.
    pub(super) fn freeze(&self, why: String) {
        self.chain_wake.stop();
        self.wake.stop();
        self.frozen.send_replace(Some(why));
    }

    /// Whether nothing may be done any more.
    pub(super) fn is_frozen(&self) -> bool {
        self.frozen.borrow().is_some()
    }

    fn notes(&self) -> std::sync::MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Connects to a peer again and again, if we know where it is: a channel without a connection carries nothing.
    pub(crate) fn keep_connected(&self, peer: NodeId) {
        let address =
            self.host_of(peer).and_then(|host| format!("{peer}@{host}").parse::<PeerAddress>().ok());
        if let Some(address) = address {
            self.net.keep_connected(address);
        }
    }

    /// Where the peer was reached, or else where it says that it is.
    pub(crate) fn host_of(&self, peer: NodeId) -> Option<String> {
        let announced = || {
            self.router.with_graph(|graph| {
                let announcement = graph.node(&peer)?.announcement.as_ref()?;
                let usable = |address: &&NodeAddress| {
                    address.is_usable() && !matches!(address, NodeAddress::TorV3 { .. })
                };
                announcement.body.addresses.known.iter().find(usable).map(ToString::to_string)
            })
        };
        self.books.peers().get(&peer.to_string()).cloned().or_else(announced)
    }

    /// Keeps calling the watchtowers.
    fn call_towers(&self) {
        for seat in self.gate.guards().iter().flat_map(|guards| &guards.seats) {
            match seat.entry.address.parse::<PeerAddress>() {
                Ok(address) => self.net.keep_connected(address),
                Err(error) => tracing::error!(tower = %seat.id, "{error}"),
            }
        }
    }

    /// Calls peers with whom there are channels, and who are neither here nor called already. That somebody else connected
    /// first does not mean that it will do so again.
    pub(crate) fn call_lost_peers(&self) {
        let with_channels: BTreeSet<NodeId> =
            self.channels.list_channels().into_iter().map(|channel| channel.peer).collect();
        let unwanted = self.notes().unwanted.clone();
        for peer in with_channels.difference(&unwanted) {
            if !self.net.keeps(*peer) && !self.net.manager().is_connected(*peer) {
                self.keep_connected(*peer);
            }
        }
    }

    /// Notes whether the user wants to be connected to a peer with whom there are channels: yes, until told otherwise.
    pub(crate) fn want_peer(&self, peer: NodeId, wanted: bool) {
        let mut notes = self.notes();
        if wanted {
            notes.unwanted.remove(&peer);
        } else {
            notes.unwanted.insert(peer);
        }
    }

    pub(super) fn note_opening_failure(&self, temporary: ChannelId, why: String) {
        self.notes().failures.insert(temporary, why);
    }

    /// Why an opening failed, once it has.
    pub(crate) fn opening_failure(&self, temporary: ChannelId) -> Option<String> {
        let notes = self.notes();
        notes.failures.get(&temporary).or_else(|| notes.closed.get(&temporary)).cloned()
    }

    pub(super) fn note_opened(&self, temporary: ChannelId, channel: ChannelId) {
        self.notes().opened.insert(temporary, channel);
    }

    /// The channel that an opening has become.
    pub(crate) fn opened_as(&self, temporary: ChannelId) -> Option<ChannelId> {
        self.notes().opened.get(&temporary).copied()
    }

    /// Where peers can connect.
    pub(crate) fn bound(&self) -> Vec<std::net::SocketAddr> {
        self.notes().bound.clone()
    }

    pub(super) fn note_closed(&self, channel: ChannelId, why: String) {
        self.notes().closed.insert(channel, why);
    }

    /// Why a channel was closed.
    pub(crate) fn close_reason(&self, channel: ChannelId) -> Option<String> {
        self.notes().closed.get(&channel).cloned()
    }
}

/// A running node.
pub struct Node {
    inner: Arc<Inner>,
    threads: Vec<JoinHandle<()>>,
}

impl Node {
    /// Opens the data directory, catches up with the chain, and listens. Blocks; to be called where that is allowed,
    /// inside a Tokio runtime.
    ///
    /// # Errors
    /// [`StartError`], each a sentence that says what to do.
    pub fn start(options: NodeOptions) -> Result<Self, StartError> {
        let runtime = tokio::runtime::Handle::current();
        let (inner, mut follower) = open(options, runtime)?;
        // Nothing else has a transaction of ours that was not broadcast: an opening does not outlive its process.
        inner.wallet.wallet().release_all_but(&inner.channels.funding_transactions());
        chain::catch_up(&inner, &mut follower)?;
        if let Err(error) = inner.fees.refresh(&*inner.source) {
            tracing::warn!("no fee estimates yet: {error}");
        }
        settle_lost_payments(&inner);
        for address in &inner.options.listen {
            let bound = inner.runtime.block_on(inner.net.listen(*address))?;
            inner.notes().bound.push(bound);
        }
        let threads = vec![
            pump::start(Arc::clone(&inner)).map_err(StartError::Thread)?,
            chain::start(Arc::clone(&inner), follower).map_err(StartError::Thread)?,
        ];
        inner.runtime.spawn(tell_time(Arc::downgrade(&inner)));
        let node = Self { inner, threads };
        node.inner.call_towers();
        node.inner.call_lost_peers();
        node.announce();
        Ok(node)
    }

    /// The parts.
    #[must_use]
    pub(crate) const fn inner(&self) -> &Arc<Inner> {
        &self.inner
    }

    fn announce(&self) {
        let options = &self.inner.options;
        let name = if options.alias.is_empty() {
            self.inner.channels.node_id().to_string().chars().take(20).collect()
        } else {
            options.alias.clone()
        };
        let Some(alias) = NodeAlias::new(&name) else {
            tracing::warn!("the alias {name:?} is longer than 32 bytes and is not announced");
            return;
        };
        let addresses = Addresses { known: options.announce.clone(), unknown: Vec::new() };
        if let Err(error) = self.inner.channels.announce_node(alias, options.color, addresses) {
            tracing::warn!("the node is not announced: {error}");
        }
    }

    /// Stops: says good-bye to peers, makes durable what waits, ends the threads. Blocks for some seconds at most.
    pub fn stop(self) {
        let Self { inner, threads, .. } = self;
        inner.runtime.block_on(inner.net.shutdown());
        inner.chain_wake.stop();
        inner.store.put(GRAPH, inner.router.snapshot());
        inner.wake.stop();
        for thread in threads {
            // A thread that panicked has said so already; the store is whole either way.
            let _ended = thread.join();
        }
    }
}

/// Payments that were written down and never begun, since the node died in between, have failed. All others are known to the
/// channels, and go on; but not those whose invoice has expired meanwhile, of which nothing new is sent.
fn settle_lost_payments(node: &Inner) {
    let known: BTreeMap<String, _> = node
        .channels
        .list_payments()
        .into_iter()
        .map(|payment| (payment.hash.to_string(), payment.id))
        .collect();
    for mut row in node.books.payments() {
        if row.state != PaymentState::Pending {
            continue;
        }
        match known.get(&row.payment_hash) {
            Some(id) if row.pay_until.is_some_and(|until| until <= now()) => {
                node.channels.abandon(*id);
            }
            Some(_) => {}
            None => {
                row.state = PaymentState::Failed;
                row.failure = Some("the node stopped before anything was sent; pay it again".to_owned());
                node.books.put_payment(row);
            }
        }
    }
}

/// Says what time it is, for the hold times that payers are told (BOLT 4, which counts them in tenths of a second).
async fn tell_time(node: Weak<Inner>) {
    let mut interval = tokio::time::interval(Duration::from_millis(50));
    loop {
        interval.tick().await;
        let Some(node) = node.upgrade() else { return };
        let millis = node.started.elapsed().as_millis();
        node.channels.note_time(u64::try_from(millis).unwrap_or(u64::MAX));
    }
}

type Follower = ChainFollower<Source>;

fn open(options: NodeOptions, runtime: tokio::runtime::Handle) -> Result<(Arc<Inner>, Follower), StartError> {
    fs::create_dir_all(&options.data_dir)
        .map_err(|error| StartError::DataDir(options.data_dir.clone(), error))?;
    let wake = Arc::new(Wake::default());
    let to_wake = Arc::clone(&wake);
    let store = RedbStore::open(&options.data_dir.join(STORE))?.with_notify(move || to_wake.raise());
    let store = Arc::new(store);
    check_network(&store, &options)?;
    let (wallet_seed, node_seed) = seed::open(&options.data_dir)?;

    let source =
        Arc::new(BitcoindClient::new(&options.chain.url, options.chain.auth.clone(), options.network));
    let tip = source.tip()?;
    let wallet =
        WalletKeeper::open(Arc::clone(&store), &wallet_seed, options.network, Some((tip.hash, tip.height)))?;
    let keys = SeedKeys::new(node_seed, Arc::new(WalletScripts(Arc::clone(wallet.wallet()))))?;
    let broadcaster = Arc::new(BitcoindBroadcaster::new(Arc::clone(&source)));
    let fees = Arc::new(BitcoindFees::new());
    let log = TracingLogger;

    let towers = towers_of(&options, &keys, &store, &runtime)?;
    let stored = store.load_channels()?;
    let parts = MonitorParts {
        keys: keys.clone(),
        store: Arc::clone(&store),
        broadcaster: Arc::clone(&broadcaster),
        fees: Arc::clone(&fees),
        coins: Arc::clone(wallet.wallet()),
        log,
    };
    let monitors: Monitors = Arc::new(MonitorSet::restore(parts, &stored, store.load_tip()?)?);
    let gate = Arc::new(Gate::new(&monitors, towers, &keys, &store, &stored).map_err(unusable)?);
    let router = Arc::new(open_router(&options, &store, &keys)?);
    let parts = ChannelParts {
        monitors: Arc::clone(&gate),
        keys: keys.clone(),
        fees: Arc::clone(&fees),
        broadcaster: Arc::clone(&broadcaster),
        routes: Arc::clone(&router),
        log,
    };
    let channels: Channels = Arc::new(open_channels(parts, &options, &store, &source, stored)?);
    doubt_channels(&channels, &store)?;
    let desk = Arc::new(TowerDesk::new(&gate, Arc::clone(&wake)));
    let front = Front { channels: Arc::clone(&channels), desk: Arc::clone(&desk), gate: Arc::clone(&gate) };
    let peers = PeerManager::new(
        PeerParts { keys: keys.clone(), channels: front, routing: Arc::clone(&router), custom: desk, log },
        vec![ChainHash::using_genesis_block_const(options.network)],
    );
    let net = {
        let _inside = runtime.enter();
        Net::new(Arc::new(peers), NetConfig::default())
    };
    let follower = ChainFollower::new(Arc::clone(&source), options.network);
    let inner = Inner {
        books: Books::open(Arc::clone(&store))?,
        options,
        keys,
        store,
        wallet,
        source,
        broadcaster,
        fees,
        monitors,
        gate,
        router,
        channels,
        net,
        wake,
        chain_wake: Arc::new(Wake::default()),
        chain_down: AtomicBool::new(false),
        reserve_low: AtomicBool::new(false),
        started: Instant::now(),
        runtime,
        openings: Openings::default(),
        frozen: tokio::sync::watch::Sender::new(None),
        notes: Mutex::default(),
    };
    Ok((Arc::new(inner), follower))
}

fn unusable(error: ApiError) -> StartError {
    StartError::Towers(error.to_string())
}

/// The towers, once they have been asked whether the node was restored elsewhere: before monitors are there, which could go to
/// the chain.
fn towers_of(
    options: &NodeOptions,
    keys: &SeedKeys,
    store: &RedbStore,
    runtime: &tokio::runtime::Handle,
) -> Result<TowerList, StartError> {
    let towers = TowerList::load(&options.data_dir).map_err(unusable)?;
    let later = match life::frozen(store)? {
        Some(why) => Some(why),
        None => life::ask_towers(&towers, keys, options.network, store, runtime).map_err(unusable)?,
    };
    later.map_or(Ok(towers), |why| Err(StartError::Replaced(why)))
}

/// Channels that were restored and may not be at their last state are never taken to the chain, as long as they are there.
fn doubt_channels(channels: &Channels, store: &RedbStore) -> Result<(), StoreError> {
    let doubted = store.list(DOUBTED)?;
    for channel in channels.list_channels() {
        let row = format!("{DOUBTED}{}", channel.channel);
        if doubted.iter().any(|(key, _)| *key == row) {
            // It is in the list.
            let _found = channels.doubt_channel(channel.channel);
        }
    }
    Ok(())
}

/// A data directory belongs to the network it was made for.
fn check_network(store: &RedbStore, options: &NodeOptions) -> Result<(), StartError> {
    match store.get(NETWORK)? {
        Some(found) if found != options.network.to_string().as_bytes() => {
            let found = String::from_utf8_lossy(&found).into_owned();
            Err(StartError::OtherNetwork(options.data_dir.clone(), found, options.network))
        }
        Some(_) => Ok(()),
        None => {
            store.put(NETWORK, options.network.to_string().into_bytes());
            store.commit()?;
            Ok(())
        }
    }
}

fn open_router(options: &NodeOptions, store: &RedbStore, keys: &SeedKeys) -> Result<Router, StartError> {
    let config = RouterConfig::new(options.network, NodeId::from(keys.node_id()));
    let Some(snapshot) = store.get(GRAPH)? else { return Ok(Router::new(config)) };
    Ok(Router::restore(config.clone(), &snapshot).unwrap_or_else(|error| {
        tracing::warn!("{error}; peers will send the graph again");
        Router::new(config)
    }))
}

fn open_channels(
    parts: ChannelParts,
    options: &NodeOptions,
    store: &RedbStore,
    source: &Source,
    stored: lightning_traits::monitor::StoredChannels,
) -> Result<ChannelManager<ChannelParts>, StartError> {
    let chain = ChainHash::using_genesis_block_const(options.network);
    // The tip is written with the monitors' part of a block, and a channel whose turn another thread had may have written
    // its own part only after it: channels hear of that block again.
    let (hash, height) = match store.load_tip()? {
        Some((hash, height)) => match source.header(&hash)? {
            Some(info) if height.get() > 0 => (info.header.prev_blockhash, height.minus(1)),
            _ => (hash, height),
        },
        None => {
            let tip = source.tip()?;
            (tip.hash, BlockHeight::new(tip.height))
        }
    };
    let time = source.header(&hash)?.map_or(0, |info| info.header.time);
    let tip = ChannelTip { hash, height, time };
    let rows = record::load(store)?;
    let restored = ChannelManager::restore(parts, options.user.clone(), chain, tip, stored, &rows);
    restored.map_err(|error| StartError::Channel(error.to_string()))
}
