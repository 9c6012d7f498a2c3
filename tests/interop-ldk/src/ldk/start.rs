//! Puts an LDK node together from its folder, follows the chain, listens, and takes it apart again.
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, RwLock};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use bitcoin::{BlockHash, Network};
use lightning::chain::chainmonitor::ChainMonitor;
use lightning::chain::channelmonitor::ChannelMonitor;
use lightning::chain::{BestBlock, Filter, Listen, Watch};
use lightning::events::bump_transaction::sync::{BumpTransactionEventHandlerSync, WalletSync};
use lightning::ln::channelmanager::{ChainParameters, ChannelManagerReadArgs, SimpleArcChannelManager};
use lightning::ln::peer_handler::{IgnoringMessageHandler, MessageHandler, SimpleArcPeerManager};
use lightning::onion_message::messenger::{DefaultMessageRouter, SimpleArcOnionMessenger};
use lightning::routing::gossip::{NetworkGraph, P2PGossipSync};
use lightning::routing::router::DefaultRouter;
use lightning::routing::scoring::{
    ProbabilisticScorer, ProbabilisticScoringDecayParameters, ProbabilisticScoringFeeParameters,
};
use lightning::routing::utxo::UtxoLookup;
use lightning::sign::{EntropySource, InMemorySigner, KeysManager, NodeSigner};
use lightning::util::config::UserConfig;
use lightning::util::persist::{
    CHANNEL_MANAGER_PERSISTENCE_KEY, KVStoreSync, NETWORK_GRAPH_PERSISTENCE_KEY,
    OUTPUT_SWEEPER_PERSISTENCE_KEY, read_channel_monitors,
};
use lightning::util::ser::ReadableArgs;
use lightning::util::sweep::OutputSweeperSync;
use lightning_background_processor::{BackgroundProcessor, GossipSync, NO_LIQUIDITY_MANAGER_SYNC};
use lightning_block_sync::http::HttpEndpoint;
use lightning_block_sync::init::synchronize_listeners;
use lightning_block_sync::poll::{ChainPoller, ValidatedBlockHeader};
use lightning_block_sync::rpc::RpcClient;
use lightning_block_sync::{SpvClient, UnboundedCache};
use lightning_net_tokio::SocketDescriptor;
use lightning_persister::fs_store::FilesystemStore;
use tokio::runtime::Runtime;

use super::backend::{Broadcaster, Fees, FileLog, Purse};
use super::journal::Journal;
use crate::chain::{Bell, Chain, best_block};

type AnyFilter = dyn Filter + Send + Sync;
type AnyLookup = dyn UtxoLookup + Send + Sync;
pub(super) type Monitors = ChainMonitor<
    InMemorySigner,
    Arc<AnyFilter>,
    Arc<Broadcaster>,
    Arc<Fees>,
    Arc<FileLog>,
    Arc<FilesystemStore>,
    Arc<KeysManager>,
>;
pub(super) type Manager = SimpleArcChannelManager<Monitors, Broadcaster, Fees, FileLog>;
type Messenger = SimpleArcOnionMessenger<Monitors, Broadcaster, Fees, FileLog>;
type Graph = NetworkGraph<Arc<FileLog>>;
type Gossip = P2PGossipSync<Arc<Graph>, Arc<AnyLookup>, Arc<FileLog>>;
pub(super) type Peers = SimpleArcPeerManager<
    SocketDescriptor,
    Monitors,
    Broadcaster,
    Fees,
    Arc<AnyLookup>,
    FileLog,
    AnyFilter,
    FilesystemStore,
>;
pub(super) type Sweeper = OutputSweeperSync<
    Arc<Broadcaster>,
    Arc<Purse>,
    Arc<Fees>,
    Arc<AnyFilter>,
    Arc<FilesystemStore>,
    Arc<FileLog>,
    Arc<KeysManager>,
>;
pub(super) type Bumper = BumpTransactionEventHandlerSync<
    Arc<Broadcaster>,
    Arc<WalletSync<Arc<Purse>, Arc<FileLog>>>,
    Arc<KeysManager>,
    Arc<FileLog>,
>;

/// Below a node's folder, all that LDK itself wrote.
const STORE: &str = "store";

/// What may differ from an LDK node with anchors.
#[derive(Clone, Debug)]
pub struct LdkOptions {
    /// Fee rate for commitments and sweeps, in sat per 1000 weight units.
    pub feerate: u32,
    /// The rest: LDK's own settings.
    pub config: UserConfig,
}

impl Default for LdkOptions {
    fn default() -> Self {
        let mut config = UserConfig::default();
        config.channel_handshake_config.negotiate_anchors_zero_fee_htlc_tx = true;
        config.channel_handshake_config.announce_for_forwarding = true;
        config.channel_handshake_limits.force_announced_channel_preference = false;
        // Who takes anchor channels must be able to pay for their fees later, so LDK wants to be asked.
        config.manually_accept_inbound_channels = true;
        Self { feerate: 1000, config }
    }
}

/// The parts that commands and event handling share.
pub(super) struct Parts {
    pub(super) manager: Arc<Manager>,
    pub(super) monitors: Arc<Monitors>,
    pub(super) peers: Arc<Peers>,
    pub(super) sweeper: Arc<Sweeper>,
    pub(super) bumper: Bumper,
    pub(super) graph: Arc<Graph>,
    pub(super) keys: Arc<KeysManager>,
    pub(super) purse: Arc<Purse>,
    pub(super) fees: Arc<Fees>,
    pub(super) journal: Arc<Journal>,
    pub(super) log: Arc<FileLog>,
}

/// A running LDK node.
pub struct LdkNode {
    pub(super) name: String,
    pub(super) options: LdkOptions,
    pub(super) parts: Arc<Parts>,
    pub(super) address: SocketAddr,
    folder: PathBuf,
    stop: Arc<AtomicBool>,
    follower: Option<JoinHandle<()>>,
    processor: Option<BackgroundProcessor>,
    pub(super) runtime: Option<Runtime>,
}

impl LdkNode {
    /// Starts a node on `folder/name`: a new one, or the one that was there.
    #[must_use]
    pub fn start(chain: &Chain, folder: &Path, name: &str, options: &LdkOptions) -> Self {
        Self::start_with(chain, &folder.join(name), name, options, Arc::default(), None)
    }

    /// Stops the node and starts it again from what it had stored.
    #[must_use]
    pub fn restart(self, chain: &Chain) -> Self {
        self.restart_with(chain, |_| {})
    }

    /// As [`restart`](Self::restart); between the two, `meddle` may do to the folder of its data what it likes.
    #[must_use]
    pub fn restart_with(mut self, chain: &Chain, meddle: impl FnOnce(&Path)) -> Self {
        self.shut_down();
        meddle(&self.folder.join(STORE));
        let journal = self.parts.journal.clone();
        Self::start_with(chain, &self.folder, &self.name, &self.options, journal, Some(self.address))
    }

    fn start_with(
        chain: &Chain,
        folder: &Path,
        name: &str,
        options: &LdkOptions,
        journal: Arc<Journal>,
        address: Option<SocketAddr>,
    ) -> Self {
        fs::create_dir_all(folder).expect("a folder for LDK");
        let runtime = Runtime::new().expect("a runtime");
        let source = Arc::new(rpc_client(chain));
        let Built { parts, store, gossip, messenger, scorer, tip } =
            build(chain, folder, name, options, journal, &runtime, &source);
        let parts = Arc::new(parts);
        let stop = Arc::new(AtomicBool::new(false));
        let follower = follow(&parts, source, tip, runtime.handle(), &stop, chain.bell());
        let handler = parts.clone();
        let processor = BackgroundProcessor::start(
            store,
            move |event| handler.on_event(event),
            parts.monitors.clone(),
            parts.manager.clone(),
            Some(messenger),
            GossipSync::p2p(gossip),
            parts.peers.clone(),
            NO_LIQUIDITY_MANAGER_SYNC,
            Some(parts.sweeper.clone()),
            parts.log.clone(),
            Some(scorer),
        );
        let wanted = address.unwrap_or_else(|| ([127, 0, 0, 1], 0).into());
        let address = listen(&runtime, parts.peers.clone(), wanted);
        Self {
            name: name.to_owned(),
            options: options.clone(),
            parts,
            address,
            folder: folder.to_owned(),
            stop,
            follower: Some(follower),
            processor: Some(processor),
            runtime: Some(runtime),
        }
    }

    fn shut_down(&mut self) {
        self.stop.store(true, Ordering::Release);
        self.parts.peers.disconnect_all_peers();
        if let Some(follower) = self.follower.take() {
            follower.join().expect("the follower of the chain");
        }
        if let Some(processor) = self.processor.take() {
            processor.stop().expect("LDK should store its state");
        }
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(Duration::from_secs(5));
        }
    }
}

impl Drop for LdkNode {
    fn drop(&mut self) {
        self.shut_down();
    }
}

struct Built {
    parts: Parts,
    store: Arc<FilesystemStore>,
    gossip: Arc<Gossip>,
    messenger: Arc<Messenger>,
    scorer: Arc<RwLock<ProbabilisticScorer<Arc<Graph>, Arc<FileLog>>>>,
    tip: ValidatedBlockHeader,
}

fn rpc_client(chain: &Chain) -> RpcClient {
    let address: SocketAddr = chain.rpc_address().parse().expect("an address");
    let cookie = fs::read(chain.cookie()).expect("the cookie of bitcoind");
    let endpoint = HttpEndpoint::for_host(address.ip().to_string()).with_port(address.port());
    RpcClient::new(&base64(&cookie), endpoint)
}

/// What lived on the folder before.
fn load<T>(store: &FilesystemStore, key: &str, read: impl FnOnce(&mut &[u8]) -> T) -> Option<T> {
    let bytes = store.read("", "", key).ok()?;
    Some(read(&mut bytes.as_slice()))
}

fn build(
    chain: &Chain,
    folder: &Path,
    name: &str,
    options: &LdkOptions,
    journal: Arc<Journal>,
    runtime: &Runtime,
    source: &Arc<RpcClient>,
) -> Built {
    let log = Arc::new(FileLog::open(&folder.join("ldk.log")));
    let store = Arc::new(FilesystemStore::new(folder.join(STORE)));
    let keys = Arc::new(keys(folder));
    let fees = Arc::new(Fees::new(options.feerate));
    let broadcaster = Arc::new(Broadcaster { client: chain.client(), log: log.clone() });
    let purse = Arc::new(Purse { wallet: chain.wallet(name) });
    let graph = load(&store, NETWORK_GRAPH_PERSISTENCE_KEY, |bytes| {
        Graph::read(bytes, log.clone()).expect("a graph")
    });
    let graph = Arc::new(graph.unwrap_or_else(|| Graph::new(Network::Regtest, log.clone())));
    let decay = ProbabilisticScoringDecayParameters::default();
    let scorer = Arc::new(RwLock::new(ProbabilisticScorer::new(decay, graph.clone(), log.clone())));
    let router = Arc::new(DefaultRouter::new(
        graph.clone(),
        log.clone(),
        keys.clone(),
        scorer.clone(),
        ProbabilisticScoringFeeParameters::default(),
    ));
    let message_router = Arc::new(DefaultMessageRouter::new(graph.clone(), keys.clone()));
    let monitors: Arc<Monitors> = Arc::new(ChainMonitor::new(
        None,
        broadcaster.clone(),
        log.clone(),
        fees.clone(),
        store.clone(),
        keys.clone(),
        keys.get_peer_storage_key(),
    ));
    let (hash, height) = best_block(&chain.client());
    let here = BestBlock::new(hash, height);
    let stored =
        read_channel_monitors(store.clone(), keys.clone(), keys.clone()).expect("the stored monitors");
    let manager: Option<(BlockHash, Manager)> = load(&store, CHANNEL_MANAGER_PERSISTENCE_KEY, |bytes| {
        let arguments = ChannelManagerReadArgs::new(
            keys.clone(),
            keys.clone(),
            keys.clone(),
            fees.clone(),
            monitors.clone(),
            broadcaster.clone(),
            router.clone(),
            message_router.clone(),
            log.clone(),
            options.config.clone(),
            stored.iter().map(|(_, monitor)| monitor).collect(),
        );
        ReadableArgs::read(bytes, arguments).expect("the stored manager")
    });
    let (manager_at, manager) = manager.unwrap_or_else(|| {
        let parameters = ChainParameters { network: Network::Regtest, best_block: here };
        let manager = Manager::new(
            fees.clone(),
            monitors.clone(),
            broadcaster.clone(),
            router,
            message_router.clone(),
            log.clone(),
            keys.clone(),
            keys.clone(),
            keys.clone(),
            options.config.clone(),
            parameters,
            u32::try_from(now().as_secs()).expect("a time before 2106"),
        );
        (hash, manager)
    });
    let manager = Arc::new(manager);
    let parts =
        (broadcaster.clone(), fees.clone(), None, keys.clone(), purse.clone(), store.clone(), log.clone());
    let sweeper: Option<(BestBlock, Sweeper)> = load(&store, OUTPUT_SWEEPER_PERSISTENCE_KEY, |bytes| {
        ReadableArgs::read(bytes, parts).expect("the sweeper")
    });
    let sweeper = sweeper.unwrap_or_else(|| {
        let sweeper = Sweeper::new(
            here,
            broadcaster.clone(),
            fees.clone(),
            None,
            keys.clone(),
            purse.clone(),
            store.clone(),
            log.clone(),
        );
        (here, sweeper)
    });
    let (swept_at, sweeper) = (sweeper.0.block_hash, Arc::new(sweeper.1));
    let listeners = Listeners { manager: (manager_at, &manager), sweeper: (swept_at, &sweeper), stored };
    let tip = runtime.block_on(listeners.catch_up(source, &monitors, &broadcaster, &fees, &log));
    // Announced outputs are looked up by the tests, see `wait_announced`. LDK's own look-ups lose an update that comes in the
    // moment in which they end, and two of them at once for a channel undo what came between.
    let gossip = Arc::new(Gossip::new(graph.clone(), None, log.clone()));
    let messenger = Arc::new(Messenger::new(
        keys.clone(),
        keys.clone(),
        log.clone(),
        manager.clone(),
        message_router,
        manager.clone(),
        manager.clone(),
        IgnoringMessageHandler {},
        IgnoringMessageHandler {},
    ));
    let handlers = MessageHandler {
        chan_handler: manager.clone(),
        route_handler: gossip.clone(),
        onion_message_handler: messenger.clone(),
        custom_message_handler: IgnoringMessageHandler {},
        send_only_message_handler: monitors.clone(),
    };
    let random = keys.get_secure_random_bytes();
    let stamp = u32::try_from(now().as_secs()).expect("a time before 2106");
    let peers = Arc::new(Peers::new(handlers, stamp, &random, log.clone(), keys.clone()));
    let wallet = Arc::new(WalletSync::new(purse.clone(), log.clone()));
    let bumper = Bumper::new(broadcaster, wallet, keys.clone(), log.clone());
    let parts = Parts { manager, monitors, peers, sweeper, bumper, graph, keys, purse, fees, journal, log };
    Built { parts, store, gossip, messenger, scorer, tip }
}

/// Who must hear of the blocks since the last stop, each from where it was.
struct Listeners<'a> {
    manager: (BlockHash, &'a Arc<Manager>),
    sweeper: (BlockHash, &'a Arc<Sweeper>),
    stored: Vec<(BlockHash, ChannelMonitor<InMemorySigner>)>,
}

impl Listeners<'_> {
    async fn catch_up(
        self,
        source: &Arc<RpcClient>,
        monitors: &Monitors,
        broadcaster: &Arc<Broadcaster>,
        fees: &Arc<Fees>,
        log: &Arc<FileLog>,
    ) -> ValidatedBlockHeader {
        let stored: Vec<_> = self
            .stored
            .into_iter()
            .map(|(at, monitor)| (at, (monitor, broadcaster.clone(), fees.clone(), log.clone())))
            .collect();
        let mut all: Vec<(BlockHash, &(dyn Listen + Send + Sync))> =
            vec![(self.manager.0, &**self.manager.1), (self.sweeper.0, &**self.sweeper.1)];
        all.extend(stored.iter().map(|(at, listener)| (*at, listener as &(dyn Listen + Send + Sync))));
        let mut cache = UnboundedCache::new();
        let tip = synchronize_listeners(source.clone(), Network::Regtest, &mut cache, all).await;
        for (_, (monitor, ..)) in stored {
            monitors.watch_channel(monitor.channel_id(), monitor).expect("a stored monitor is watched once");
        }
        tip.expect("the chain since the last stop")
    }
}

/// Between two looks at the chain when no bell rings: a block may have come by another way.
const UNASKED_POLL: Duration = Duration::from_millis(50);

/// Follows the chain in a thread of its own; sweeps what has matured with each block.
fn follow(
    parts: &Arc<Parts>,
    source: Arc<RpcClient>,
    tip: ValidatedBlockHeader,
    runtime: &tokio::runtime::Handle,
    stop: &Arc<AtomicBool>,
    bell: Arc<Bell>,
) -> JoinHandle<()> {
    let (parts, runtime, stop) = (parts.clone(), runtime.clone(), stop.clone());
    std::thread::spawn(move || {
        let mut heard = 0;
        let poller = ChainPoller::new(source, Network::Regtest);
        let listener = (parts.monitors.clone(), Arc::new((parts.manager.clone(), parts.sweeper.clone())));
        let mut cache = UnboundedCache::new();
        let mut client = SpvClient::new(tip, poller, &mut cache, &listener);
        while !stop.load(Ordering::Acquire) {
            match runtime.block_on(client.poll_best_tip()) {
                Ok((_, true)) => parts.on_blocks(),
                Ok((_, false)) => {}
                Err(error) => parts.journal.note(format!("bitcoind does not answer: {error:?}")),
            }
            bell.wait(&mut heard, UNASKED_POLL);
        }
    })
}

fn listen(runtime: &Runtime, peers: Arc<Peers>, wanted: SocketAddr) -> SocketAddr {
    let socket = runtime.block_on(tokio::net::TcpListener::bind(wanted)).expect("a port to listen on");
    let address = socket.local_addr().expect("an address");
    runtime.spawn(async move {
        while let Ok((stream, _)) = socket.accept().await {
            let stream = stream.into_std().expect("a socket");
            tokio::spawn(lightning_net_tokio::setup_inbound(peers.clone(), stream));
        }
    });
    address
}

/// The seed lives on the folder; the time makes each start's randomness differ.
fn keys(folder: &Path) -> KeysManager {
    let path = folder.join("seed");
    let seed: [u8; 32] = match fs::read(&path) {
        Ok(seed) => seed.try_into().expect("a seed of 32 bytes"),
        Err(_) => {
            let seed = entropy();
            fs::write(&path, seed).expect("a seed should be stored");
            seed
        }
    };
    KeysManager::new(&seed, now().as_secs(), now().subsec_nanos(), true)
}

/// Random bytes of the operating system.
pub fn entropy() -> [u8; 32] {
    let mut bytes = [0; 32];
    let mut source = fs::File::open("/dev/urandom").expect("entropy");
    std::io::Read::read_exact(&mut source, &mut bytes).expect("entropy");
    bytes
}

fn now() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a time after 1970")
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let group =
            chunk.iter().fold(0u32, |group, &byte| group << 8 | u32::from(byte)) << (8 * (3 - chunk.len()));
        for position in 0..4 {
            let digit = char::from(DIGITS[(group >> (18 - 6 * position) & 63) as usize]);
            text.push(if position > chunk.len() { '=' } else { digit });
        }
    }
    text
}
