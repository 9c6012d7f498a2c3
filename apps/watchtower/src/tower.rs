//! The tower: all its clients, and what they share.
//!
//! Threads: one shows every block to every client's monitors (`chain.rs`), one for each client commits (`guard.rs`), and
//! Tokio's carry sockets and HTTP. A client whose data is damaged is left out, with an alarm, and the others are guarded.
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;

use bitcoin::Network;
use lightning_chain_bitcoind::{BitcoindBroadcaster, BitcoindFees};
use lightning_keys::{KeysError, SeedKeys};
use lightning_monitor::RestoreError;
use lightning_remote::wire::chain::KeyAtHand;
use lightning_store_redb::{RedbStore, StoreError};
use lightning_traits::id::NodeId;
use lightning_traits::interface::{BlockSource as _, KeysInterface as _};
use thiserror::Error;

use crate::book::Book;
use crate::clients::{self, Client};
use crate::guard::{Guard, Shared, Source};
use crate::health::{Alarms, Trouble};
use crate::seed::{self, SeedError};
use crate::wake::Wake;
use crate::wallet::{OpenWalletError, WalletKeeper};
use crate::{chain, health};

const STORE: &str = "tower.redb";
const NETWORK: &str = "network";

/// What a tower is started with.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where everything is kept.
    pub data: PathBuf,
    /// The network.
    pub network: Network,
    /// How often to look for new blocks, and for new clients.
    pub poll: Duration,
    /// How long no block may come before that is an alarm; `None` never.
    pub stale_after: Option<Duration>,
}

/// Why a tower does not start. Nothing was changed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StartError {
    /// The data directory.
    #[error("the data directory {0} cannot be used: {1}")]
    Folder(PathBuf, std::io::Error),
    /// The data directory is another network's.
    #[error("the data directory {0} belongs to {1}, not to {2}: give each network a directory of its own")]
    OtherNetwork(PathBuf, String, Network),
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
    /// A stored monitor.
    #[error(transparent)]
    Monitor(#[from] RestoreError),
    /// A thread.
    #[error("a thread cannot be started: {0}")]
    Thread(std::io::Error),
}

/// Is told of each new guard.
type OnGuard = Box<dyn Fn(&Arc<Guard>) + Send + Sync>;

/// The parts of a running tower.
pub struct Inner {
    /// What it was started with.
    pub options: Options,
    /// The tower's own keys.
    pub keys: SeedKeys,
    /// Where blocks come from.
    pub source: Source,
    /// What clients share.
    pub shared: Shared,
    /// The coins for fees.
    pub wallet: WalletKeeper,
    /// What was punished.
    pub book: Book,
    /// What is wrong.
    pub alarms: Arc<Alarms>,
    /// Wakes the chain's thread.
    pub wake: Arc<Wake>,
    /// When it was started, in Unix seconds.
    pub started: u64,
    pub(crate) progress: Mutex<chain::Standing>,
    guards: RwLock<BTreeMap<NodeId, Arc<Guard>>>,
    /// Clients whose data cannot be used: tried again at the next start only.
    broken: Mutex<BTreeSet<NodeId>>,
    on_guard: Mutex<Option<OnGuard>>,
    on_block: Mutex<Option<Box<dyn Fn() + Send + Sync>>>,
}

impl Inner {
    /// All clients' guards.
    #[must_use]
    pub fn guards(&self) -> Vec<Arc<Guard>> {
        self.guards.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// One client's guard.
    #[must_use]
    pub fn guard(&self, id: NodeId) -> Option<Arc<Guard>> {
        self.guards.read().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    /// The tower's node id.
    #[must_use]
    pub fn id(&self) -> NodeId {
        NodeId::from(self.keys.node_id())
    }

    /// Tells `act` of every guard, those that there are and those that come.
    pub fn for_each_guard(&self, act: impl Fn(&Arc<Guard>) + Send + Sync + 'static) {
        let guards = self.guards();
        guards.iter().for_each(&act);
        *lock(&self.on_guard) = Some(Box::new(act));
    }

    /// Calls `act` after each block, when all monitors have seen it.
    pub fn on_block(&self, act: impl Fn() + Send + Sync + 'static) {
        *lock(&self.on_block) = Some(Box::new(act));
    }

    pub(crate) fn block_seen(&self) {
        if let Some(act) = &*lock(&self.on_block) {
            act();
        }
    }

    /// Reads the list of clients anew: lets new ones in, and follows changed quotas.
    pub fn look_at_clients(&self) {
        let clients = match clients::list(&self.options.data) {
            Ok(clients) => clients,
            Err(error) => {
                // As it was before; what is guarded is guarded on.
                tracing::error!("the list of clients cannot be read: {error}");
                return;
            }
        };
        for (id, client) in clients {
            match self.guard(id) {
                Some(guard) if guard.client() == client => {}
                Some(guard) => guard.set_client(client),
                None => self.let_in(id, client),
            }
        }
    }

    fn let_in(&self, id: NodeId, client: Client) {
        if lock(&self.broken).contains(&id) {
            return;
        }
        let folder = clients::folder(&self.options.data, id);
        match Guard::open(&folder, id, client, &self.shared) {
            Ok(guard) => {
                tracing::info!(client = %id, mode = guard.mode().word(), "guarding");
                self.guards.write().unwrap_or_else(PoisonError::into_inner).insert(id, Arc::clone(&guard));
                if let Some(act) = &*lock(&self.on_guard) {
                    act(&guard);
                }
            }
            Err(error) => {
                lock(&self.broken).insert(id);
                let message = format!("client {id} is not guarded: {error}");
                self.alarms.raise(Trouble::Disk, &id.to_string(), message);
            }
        }
    }
}

/// A running tower.
pub struct Tower {
    inner: Arc<Inner>,
    thread: Option<JoinHandle<()>>,
}

impl Tower {
    /// Opens the data directory, and starts to follow the chain of `source`.
    ///
    /// # Errors
    /// [`StartError`], each a sentence that says what to do.
    pub fn start(options: Options, source: Source) -> Result<Self, StartError> {
        let failed = |error| StartError::Folder(options.data.clone(), error);
        seed::private_folder(&options.data).map_err(failed)?;
        let path = options.data.join(STORE);
        if !path.exists() {
            seed::private_file(&path).map_err(failed)?;
        }
        let store = Arc::new(RedbStore::open(&path)?);
        check_network(&store, &options)?;
        let (wallet_seed, seed) = seed::open(&options.data)?;
        let keys = SeedKeys::new(seed, Arc::new(bitcoin::ScriptBuf::new()))?;
        // A chain that is away must not keep a tower from showing that it is: then the wallet looks from the first block.
        let tip = source.tip().ok().map(|tip| (tip.hash, tip.height));
        let wallet = WalletKeeper::open(Arc::clone(&store), &wallet_seed, options.network, tip)?;
        let broadcaster = Arc::new(BitcoindBroadcaster::new(Arc::clone(&source)));
        let alarms = Arc::new(Alarms::default());
        let shared = Shared {
            secp: Arc::new(keys.secp().clone()),
            id: keys.node_id(),
            broadcaster,
            fees: Arc::new(BitcoindFees::new()),
            coins: Arc::clone(wallet.wallet()),
            alarms: Arc::clone(&alarms),
            statements: Arc::new(KeyAtHand::new(*keys.node_secret())),
        };
        alarms.raise(Trouble::CatchingUp, "", "not all blocks have been looked at since the start");
        let inner = Arc::new(Inner {
            book: Book::open(store)?,
            options,
            keys,
            source,
            shared,
            wallet,
            alarms,
            wake: Arc::new(Wake::default()),
            started: health::now(),
            progress: Mutex::default(),
            guards: RwLock::default(),
            broken: Mutex::default(),
            on_guard: Mutex::default(),
            on_block: Mutex::default(),
        });
        inner.look_at_clients();
        let thread = Some(chain::start(Arc::clone(&inner)).map_err(StartError::Thread)?);
        Ok(Self { inner, thread })
    }

    /// The parts.
    #[must_use]
    pub const fn inner(&self) -> &Arc<Inner> {
        &self.inner
    }

    /// Ends the threads, after what waits is durable.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.inner.wake.stop();
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has said so already.
            let _ended = thread.join();
            *lock(&self.inner.on_guard) = None;
            *lock(&self.inner.on_block) = None;
            self.inner.guards().iter().for_each(|guard| guard.stop());
        }
    }
}

impl Drop for Tower {
    fn drop(&mut self) {
        self.end();
    }
}

/// A data directory belongs to the network it was made for.
fn check_network(store: &RedbStore, options: &Options) -> Result<(), StartError> {
    match store.get(NETWORK)? {
        Some(found) if found != options.network.to_string().as_bytes() => {
            let found = String::from_utf8_lossy(&found).into_owned();
            Err(StartError::OtherNetwork(options.data.clone(), found, options.network))
        }
        Some(_) => Ok(()),
        None => {
            store.put(NETWORK, options.network.to_string().into_bytes());
            store.commit()?;
            Ok(())
        }
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
