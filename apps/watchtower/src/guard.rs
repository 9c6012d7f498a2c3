//! One client: its monitors, the store behind them, and the keys that it has given.
//!
//! Each client has a file, a monitor set, and a thread that commits: so floods and failures stay with who causes them. A new
//! channel is taken only when keys for it are here that fit its public keys and the client's mode, and they become durable in
//! the same transaction as the channel: nothing is acknowledged that could not be enforced.
//!
//! # Invariants
//! - keys that can do more than the mode asks for are cut down before they are kept (ADR 24)
//! - the monitors of a client are replaced as a whole or not at all, and only between two blocks
use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bitcoin::{BlockHash, ScriptBuf};
use lightning_chain_bitcoind::{BitcoindBroadcaster, BitcoindFees};
use lightning_keys::{LentKeys, LentSigner};
use lightning_monitor::{Duty, MonitorEnvironment, MonitorSet, RestoreError};
use lightning_remote::wire::chain::{KeyAtHand, Memory};
use lightning_remote::wire::state::ChannelState;
use lightning_store_redb::{RedbStore, StoreError};
use lightning_traits::Secp;
use lightning_traits::codec::DecodeError;
use lightning_traits::id::{ChannelId, ChannelKeysId, NodeId};
use lightning_traits::interface::{
    BlockSource, BroadcasterInterface, ChainListener as _, EntropySource, KeysInterface,
    ManyChannelMonitor as _, MonitorStore, SignError,
};
use lightning_traits::monitor::{
    ChannelMonitorUpdate, MonitorInit, MonitorRefusal, MonitorSnapshot, NewMonitor, Persist, Receipt,
    RecordChange, StoredChannel, StoredChannels,
};
use lightning_traits::tx::ChannelPublicKeys;
use lightning_traits::units::BlockHeight;
use lightning_wallet_bdk::OnchainWallet;
use secp256k1::PublicKey;
use secp256k1::ecdsa::{RecoverableSignature, Signature};
use thiserror::Error;

use crate::clients::{Client, Mode};
use crate::health::{Alarms, Trouble};
use crate::logging::TracingLogger;
use crate::past::{LookBack, Pasts};
use crate::seed::{private_file, private_folder};
use crate::vault::Vault;
use crate::wake::Wake;

/// Where blocks come from.
pub type Source = Arc<dyn BlockSource + Send + Sync>;
/// The monitors of one client.
pub type Monitors = Arc<MonitorSet<GuardParts>>;

const STORE: &str = "monitors.redb";
const KEYS: &str = "keys/";
const MEMORY: &str = "memory";
/// How many channels' keys may wait for their channels.
const WAITING_KEYS: usize = 64;
/// How many channels of a client are in memory from the start: who comes back finds them there.
const AWAKE_AT_START: usize = 1_000;
/// Looks again after this long, whatever happens.
const PATIENCE: Duration = Duration::from_secs(1);

/// Why a client's data cannot be used. The others' can.
#[derive(Debug, Error)]
pub enum GuardError {
    /// The directory.
    #[error("{0} cannot be used: {1}")]
    Folder(std::path::PathBuf, std::io::Error),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A monitor in it.
    #[error(transparent)]
    Monitor(#[from] RestoreError),
    /// Keys in it.
    #[error("stored keys are damaged: {0}")]
    Keys(String),
    /// The thread.
    #[error("no thread: {0}")]
    Thread(std::io::Error),
}

/// What all clients share.
#[derive(Clone)]
pub struct Shared {
    /// The curve.
    pub secp: Arc<Secp>,
    /// The tower's node id.
    pub id: PublicKey,
    /// Where transactions go.
    pub broadcaster: Arc<BitcoindBroadcaster<Source>>,
    /// What the chain costs.
    pub fees: Arc<BitcoindFees>,
    /// The coins for fees.
    pub coins: Arc<OnchainWallet>,
    /// What is wrong.
    pub alarms: Arc<Alarms>,
    /// Signs what the tower states.
    pub statements: Arc<KeyAtHand>,
}

/// The keys of one client's channels, as its monitors ask for them.
#[derive(Clone)]
pub struct ClientKeys(Arc<KeyRing>);

struct KeyRing {
    secp: Arc<Secp>,
    tower: PublicKey,
    signers: RwLock<BTreeMap<ChannelKeysId, LentSigner>>,
}

impl ClientKeys {
    fn new(secp: Arc<Secp>, tower: PublicKey) -> Self {
        Self(Arc::new(KeyRing { secp, tower, signers: RwLock::default() }))
    }

    fn has(&self, name: &ChannelKeysId) -> bool {
        self.0.signers.read().unwrap_or_else(PoisonError::into_inner).contains_key(name)
    }

    fn put(&self, init: &MonitorInit, keys: &LentKeys) {
        let signer = keys.signer(Arc::clone(&self.0.secp), init.ours.keys);
        self.0.signers.write().unwrap_or_else(PoisonError::into_inner).insert(init.keys, signer);
    }
}

impl EntropySource for ClientKeys {
    #[allow(
        clippy::expect_used,
        reason = "as in lightning-keys: to go on without entropy would be worse (M5)"
    )]
    fn fill(&self, bytes: &mut [u8]) {
        getrandom::fill(bytes).expect("the operating system stopped giving randomness");
    }
}

/// Monitors ask for signers only; there is no node here whose keys the rest could be.
impl KeysInterface for ClientKeys {
    type Signer = LentSigner;

    fn node_id(&self) -> PublicKey {
        self.0.tower
    }

    fn ecdh(&self, _: &PublicKey) -> Result<[u8; 32], SignError> {
        Err(SignError::Refused)
    }

    fn sign_gossip(&self, _: &[u8; 32]) -> Result<Signature, SignError> {
        Err(SignError::Refused)
    }

    fn sign_invoice(&self, _: &[u8; 32]) -> Result<RecoverableSignature, SignError> {
        Err(SignError::Refused)
    }

    fn inbound_payment_key(&self) -> [u8; 32] {
        self.bytes32()
    }

    fn new_channel_keys(&self) -> ChannelKeysId {
        ChannelKeysId(self.bytes32())
    }

    fn signer(&self, keys: &ChannelKeysId) -> LentSigner {
        let signers = self.0.signers.read().unwrap_or_else(PoisonError::into_inner);
        signers.get(keys).cloned().unwrap_or_else(|| {
            // No channel is taken without keys; who asks for others gets a signer that signs nothing.
            let key = self.0.tower;
            LentSigner::without_keys(ChannelPublicKeys {
                funding: key,
                revocation_basepoint: key,
                payment_basepoint: key,
                delayed_payment_basepoint: key,
                htlc_basepoint: key,
            })
        })
    }

    fn destination_script(&self, _: &ChannelKeysId) -> ScriptBuf {
        ScriptBuf::new()
    }

    fn shutdown_script(&self, _: &ChannelKeysId) -> ScriptBuf {
        ScriptBuf::new()
    }
}

/// What one client's monitors call.
#[derive(Clone)]
pub struct GuardParts {
    keys: ClientKeys,
    store: Arc<RedbStore>,
    shared: Shared,
    duty: Duty,
    log: TracingLogger,
}

impl MonitorEnvironment for GuardParts {
    type Keys = ClientKeys;
    type Store = Arc<RedbStore>;
    type Broadcaster = Arc<BitcoindBroadcaster<Source>>;
    type Fees = Arc<BitcoindFees>;
    // Blocks come whole, so nobody needs to be told what to watch.
    type Watch = ();
    type Coins = Arc<OnchainWallet>;
    type Log = TracingLogger;

    fn duty(&self) -> Duty {
        self.duty
    }
    fn keys(&self) -> &ClientKeys {
        &self.keys
    }
    fn store(&self) -> &Arc<RedbStore> {
        &self.store
    }
    fn broadcaster(&self) -> &Arc<BitcoindBroadcaster<Source>> {
        &self.shared.broadcaster
    }
    fn fees(&self) -> &Arc<BitcoindFees> {
        &self.shared.fees
    }
    fn watch(&self) -> &() {
        &()
    }
    fn coins(&self) -> &Arc<OnchainWallet> {
        &self.shared.coins
    }
    fn log(&self) -> &TracingLogger {
        &self.log
    }
}

/// A try whether a state can be restored: nothing is written, broadcast or spent.
struct Silent {
    parts: GuardParts,
}

impl MonitorEnvironment for Silent {
    type Keys = ClientKeys;
    type Store = NoStore;
    type Broadcaster = NoBroadcaster;
    type Fees = Arc<BitcoindFees>;
    type Watch = ();
    type Coins = ();
    type Log = ();

    fn duty(&self) -> Duty {
        // Nothing is asked of a signer.
        Duty::Punish
    }
    fn keys(&self) -> &ClientKeys {
        &self.parts.keys
    }
    fn store(&self) -> &NoStore {
        &NoStore
    }
    fn broadcaster(&self) -> &NoBroadcaster {
        &NoBroadcaster
    }
    fn fees(&self) -> &Arc<BitcoindFees> {
        &self.parts.shared.fees
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

struct NoBroadcaster;

impl BroadcasterInterface for NoBroadcaster {
    fn broadcast(&self, _: &[bitcoin::Transaction]) {}
}

struct NoStore;

impl MonitorStore for NoStore {
    fn write_new(&self, _: &NewMonitor) -> Persist {
        Persist::InProgress
    }
    fn write_update(&self, _: &ChannelMonitorUpdate, _: Option<MonitorSnapshot>) -> Persist {
        Persist::InProgress
    }
    fn write_chain_state(&self, _: ChannelId, _: MonitorSnapshot) {}
    fn write_tip(&self, _: BlockHash, _: BlockHeight) {}
    fn archive(&self, _: ChannelId) {}
    fn read(&self, _: ChannelId) -> Option<StoredChannel> {
        None
    }
    fn next_receipt(&self) -> Option<Receipt> {
        None
    }
}

#[derive(Default)]
struct Inbox {
    /// Keys that came before their channel.
    keys: BTreeMap<ChannelKeysId, LentKeys>,
    /// Channels that replace what is kept of them, when the chain's thread has time for it.
    replacements: VecDeque<(ChannelId, Box<StoredChannel>)>,
    replaced: VecDeque<(ChannelId, Result<(), MonitorRefusal>)>,
    /// Collected while a channel was replaced.
    receipts: VecDeque<Receipt>,
    /// What was signed for the client: to be written, being written, and written.
    memory: Option<Memory>,
    memory_on_its_way: Option<Memory>,
    memory_written: Option<Memory>,
    used: u64,
    counted: Option<Instant>,
}

/// One client's monitors.
pub struct Guard {
    /// Who.
    pub id: NodeId,
    client: RwLock<Client>,
    mode: Mode,
    parts: GuardParts,
    monitors: RwLock<Monitors>,
    vault: Option<Vault>,
    inbox: Mutex<Inbox>,
    pasts: Pasts,
    wake: Arc<Wake>,
    committed: Mutex<Option<Box<dyn Fn() + Send + Sync>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// The monitors of a client after a start. Of few channels all are in memory; what is not used rests later.
fn restored(
    parts: GuardParts,
    stored: &StoredChannels,
    tip: Option<(BlockHash, BlockHeight)>,
) -> Result<MonitorSet<GuardParts>, RestoreError> {
    if stored.len() > AWAKE_AT_START {
        return MonitorSet::restore_resting(parts, stored, tip);
    }
    MonitorSet::restore(parts, stored, tip)
}

impl Guard {
    /// Opens or makes the client's store in `folder`, and starts its thread.
    ///
    /// # Errors
    /// [`GuardError`].
    pub fn open(folder: &Path, id: NodeId, client: Client, shared: &Shared) -> Result<Arc<Self>, GuardError> {
        let failed = |error| GuardError::Folder(folder.to_path_buf(), error);
        private_folder(folder).map_err(failed)?;
        let path = folder.join(STORE);
        if !path.exists() {
            // Keys will stand in it.
            private_file(&path).map_err(failed)?;
        }
        let wake = Arc::new(Wake::default());
        let to_wake = Arc::clone(&wake);
        let store = Arc::new(RedbStore::open(&path)?.with_notify(move || to_wake.raise()));
        let stored = store.load_channels()?;
        let keys = ClientKeys::new(Arc::clone(&shared.secp), shared.id);
        let duty = match client.mode {
            Mode::Full => Duty::Enforce,
            Mode::Justice | Mode::Blind => Duty::Punish,
        };
        let parts =
            GuardParts { keys, store: Arc::clone(&store), shared: shared.clone(), duty, log: TracingLogger };
        for (channel, stored) in &stored {
            let damaged = |why: &str| GuardError::Keys(format!("channel {channel}: {why}"));
            let new = NewMonitor::from_versioned(&stored.new).map_err(|error| damaged(&error.to_string()))?;
            let bytes = store.get(&row(&new.init.keys))?.ok_or_else(|| damaged("there are none"))?;
            let keys = LentKeys::from_bytes(&bytes).ok_or_else(|| damaged("they do not decode"))?;
            parts.keys.put(&new.init, &keys);
        }
        let monitors = Arc::new(restored(parts.clone(), &stored, store.load_tip()?)?);
        let damaged = |error: DecodeError| StoreError::Damaged(format!("what was signed: {error}"));
        let memory = store.get(MEMORY)?.map(|bytes| Memory::from_versioned(&bytes).map_err(damaged));
        let is_blind = client.mode == Mode::Blind;
        let vault = is_blind.then(|| Vault::open(id, Arc::clone(&store), shared)).transpose()?;
        let inbox = Inbox { memory_written: memory.transpose()?, ..Inbox::default() };
        let guard = Arc::new(Self {
            id,
            mode: client.mode,
            client: RwLock::new(client),
            parts,
            monitors: RwLock::new(monitors),
            vault,
            inbox: Mutex::new(inbox),
            pasts: Pasts::open(&store)?,
            wake,
            committed: Mutex::default(),
            thread: Mutex::default(),
        });
        let worker = Arc::clone(&guard);
        let thread = thread::Builder::new().name("client".into()).spawn(move || worker.commit_all());
        *lock(&guard.thread) = Some(thread.map_err(GuardError::Thread)?);
        Ok(guard)
    }

    /// The monitors.
    #[must_use]
    pub fn monitors(&self) -> Monitors {
        Arc::clone(&self.monitors.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// What is done for the client.
    #[must_use]
    pub const fn mode(&self) -> Mode {
        self.mode
    }

    /// The client as the operator wants it now.
    #[must_use]
    pub fn client(&self) -> Client {
        self.client.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The operator has changed something. The mode stays.
    pub fn set_client(&self, client: Client) {
        *self.client.write().unwrap_or_else(PoisonError::into_inner) = Client { mode: self.mode, ..client };
    }

    /// The blobs of a client in blind mode.
    #[must_use]
    pub const fn vault(&self) -> Option<&Vault> {
        self.vault.as_ref()
    }

    /// Channels that are guarded, lanes counted.
    #[must_use]
    pub fn channels(&self) -> usize {
        self.vault.as_ref().map_or_else(|| self.monitors().channels().len(), Vault::lanes)
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &Arc<RedbStore> {
        &self.parts.store
    }

    /// Is called after each commit, on the client's own thread.
    pub fn on_commit(&self, act: impl Fn() + Send + Sync + 'static) {
        *lock(&self.committed) = Some(Box::new(act));
    }

    /// Takes keys for a channel that will come. They are forgotten when it does not.
    pub fn give_keys(&self, name: ChannelKeysId, keys: LentKeys) -> bool {
        let Some(power) = self.mode.power() else { return false };
        let keys = keys.limited_to(power);
        if keys.power() != power {
            return false;
        }
        let mut inbox = lock(&self.inbox);
        if inbox.keys.len() >= WAITING_KEYS && !inbox.keys.contains_key(&name) {
            return false;
        }
        inbox.keys.insert(name, keys);
        true
    }

    /// Starts to guard a channel.
    pub fn add(&self, mut new: NewMonitor) -> Persist {
        if self.vault.is_some() {
            return Persist::Refused(MonitorRefusal::UnknownChannel);
        }
        let (channel, name) = (new.init.channel, new.init.keys);
        let monitors = self.monitors.read().unwrap_or_else(PoisonError::into_inner);
        if !monitors.has(channel) {
            if !self.has_place(monitors.channels().len()) {
                return Persist::Refused(MonitorRefusal::UnknownChannel);
            }
            if let Err(why) = self.take_keys(&new.init) {
                tracing::warn!(client = %self.id, %channel, "{why}: the channel is not taken");
                return Persist::Refused(MonitorRefusal::UnknownChannel);
            }
            let (from, funding) = (new.init.birth, new.init.funding.outpoint);
            self.pasts.note(LookBack { channel, from, funding });
        }
        debug_assert!(self.parts.keys.has(&name));
        if new.record == (RecordChange::Same {}) {
            // Nothing sealed was sent along; the store keeps a record for every channel.
            new.record = RecordChange::Snapshot { bytes: Vec::new() };
        }
        self.count(new.init.channel.0.len() as u64 + 1_000);
        monitors.add_channel(new)
    }

    /// Takes the next update of a channel.
    pub fn update(&self, update: ChannelMonitorUpdate) -> Persist {
        if let Some(vault) = &self.vault {
            let taken = vault.take(&update, self.client().max_channels as usize);
            self.wake.raise();
            return taken;
        }
        // Held until it is queued: a replacement must see all or nothing of it.
        self.monitors.read().unwrap_or_else(PoisonError::into_inner).update_channel(update)
    }

    /// The next receipt.
    pub fn next_receipt(&self) -> Option<Receipt> {
        if let Some(receipt) = lock(&self.inbox).receipts.pop_front() {
            return Some(receipt);
        }
        if let Some(vault) = &self.vault {
            return vault.next_receipt();
        }
        self.monitors.read().unwrap_or_else(PoisonError::into_inner).next_receipt()
    }

    /// Puts the keys for a new channel where they are durable with it.
    fn take_keys(&self, init: &MonitorInit) -> Result<(), &'static str> {
        let keys = match lock(&self.inbox).keys.remove(&init.keys) {
            Some(keys) => keys,
            None if self.parts.keys.has(&init.keys) => return Ok(()),
            None => return Err("no keys were given for it"),
        };
        if !keys.fit(&self.parts.shared.secp, &init.ours.keys) {
            return Err("the keys that were given are another channel's");
        }
        self.parts.store.put(&row(&init.keys), keys.to_bytes().to_vec());
        self.parts.keys.put(init, &keys);
        Ok(())
    }

    /// Puts a whole channel in the place of what is kept of it, soon: [`Guard::next_replaced`] says when.
    pub fn replace(&self, channel: ChannelId, state: ChannelState) {
        if let Some(vault) = &self.vault {
            if let Err(why) = vault.replace(channel, &state, self.client().max_channels as usize) {
                lock(&self.inbox).replaced.push_back((channel, Err(why)));
                self.committed();
            }
            return self.wake.raise();
        }
        lock(&self.inbox).replacements.push_back((channel, Box::new(state.stored)));
    }

    /// The next replacement that is done.
    pub fn next_replaced(&self) -> Option<(ChannelId, Result<(), MonitorRefusal>)> {
        if let Some(channel) = self.vault.as_ref().and_then(Vault::next_replaced) {
            return Some((channel, Ok(())));
        }
        lock(&self.inbox).replaced.pop_front()
    }

    /// Does the replacements that wait: to be called by the thread that hands over blocks, between two of them. Their pasts
    /// are to be looked at next, then [`Guard::replacements_done`] is to be called with the channels given back here.
    pub fn do_replacements(&self) -> Vec<ChannelId> {
        let waiting: Vec<_> = lock(&self.inbox).replacements.drain(..).collect();
        let mut done = Vec::new();
        for (channel, stored) in waiting {
            match self.replace_now(channel, *stored) {
                Ok(()) => done.push(channel),
                Err(why) => {
                    tracing::warn!(client = %self.id, %channel, "{why}: the channel is not replaced");
                    let refused = Err(MonitorRefusal::Contradiction);
                    lock(&self.inbox).replaced.push_back((channel, refused));
                    self.committed();
                }
            }
        }
        done
    }

    /// The pasts of these have been looked at.
    pub fn replacements_done(&self, channels: Vec<ChannelId>) {
        if !channels.is_empty() {
            lock(&self.inbox).replaced.extend(channels.into_iter().map(|channel| (channel, Ok(()))));
            self.committed();
        }
    }

    fn replace_now(&self, channel: ChannelId, stored: StoredChannel) -> Result<(), String> {
        let text = |error: &dyn std::fmt::Display| error.to_string();
        let new = NewMonitor::from_versioned(&stored.new).map_err(|error| text(&error))?;
        if new.init.channel != channel {
            return Err("it is another channel's state".to_owned());
        }
        // A state that does not hold together must not take the place of one that does.
        let alone = vec![(channel, stored.clone())];
        let silent = Silent { parts: self.parts.clone() };
        MonitorSet::restore(silent, &alone, None).map_err(|error| text(&error))?;
        let mut monitors = self.monitors.write().unwrap_or_else(PoisonError::into_inner);
        // What comes whole may be what was never here.
        if !monitors.has(channel) && !self.has_place(monitors.channels().len()) {
            return Err("one channel too many".to_owned());
        }
        self.take_keys(&new.init)?;
        let (from, funding) = (new.init.birth, new.init.funding.outpoint);
        self.pasts.note(LookBack { channel, from, funding });
        self.parts.store.put_channel(channel, stored);
        self.parts.store.commit().map_err(|error| text(&error))?;
        // What was taken of the channel before is void.
        let receipts = std::iter::from_fn(|| monitors.next_receipt());
        let others: Vec<Receipt> = receipts.filter(|receipt| receipt.channel() != channel).collect();
        lock(&self.inbox).receipts.extend(others);
        let all = self.parts.store.load_channels().map_err(|error| text(&error))?;
        let tip = monitors.best_block();
        let fresh = restored(self.parts.clone(), &all, tip).map_err(|error| text(&error))?;
        *monitors = Arc::new(fresh);
        drop(monitors);
        Ok(())
    }

    /// Whether so many bytes more may be kept.
    pub fn has_room(&self, bytes: usize) -> bool {
        let client = self.client();
        if !client.admitted {
            return false;
        }
        let used = self.count(0);
        let fits = |used: u64| used.saturating_add(bytes as u64) <= client.max_bytes;
        // What is counted while it comes includes what snapshots have replaced since.
        if fits(used) || fits(self.count_again()) {
            self.count(bytes as u64);
            self.parts.shared.alarms.clear(Trouble::Quota, &self.id.to_string());
            return true;
        }
        self.raise_quota("its file is as large as it may be");
        false
    }

    /// Whether one more channel may be guarded beside so many.
    fn has_place(&self, channels: usize) -> bool {
        let has_place = channels < self.client().max_channels as usize;
        if !has_place {
            self.raise_quota("it has as many channels here as it may");
        }
        has_place
    }

    fn raise_quota(&self, why: &str) {
        let message = format!("client {}: {why}; nothing new is taken from it", self.id);
        self.parts.shared.alarms.raise(Trouble::Quota, &self.id.to_string(), message);
    }

    fn count(&self, bytes: u64) -> u64 {
        let mut inbox = lock(&self.inbox);
        if inbox.counted.is_none() {
            drop(inbox);
            return self.count_again().saturating_add(bytes);
        }
        inbox.used = inbox.used.saturating_add(bytes);
        inbox.used
    }

    /// Adds up what is stored; not more often than once a second.
    fn count_again(&self) -> u64 {
        {
            let inbox = lock(&self.inbox);
            if inbox.counted.is_some_and(|at| at.elapsed() < Duration::from_secs(1)) {
                return inbox.used;
            }
        }
        let blobs = self.vault.as_ref().map_or(0, Vault::used);
        let used = blobs.saturating_add(self.parts.store.load_channels().map_or(u64::MAX, |channels| {
            channels.iter().map(|(_, stored)| stored.length() as u64).fold(0, u64::saturating_add)
        }));
        let mut inbox = lock(&self.inbox);
        inbox.used = used;
        inbox.counted = Some(Instant::now());
        used
    }

    /// Bytes that are kept for the client, about.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.count(0)
    }

    /// Channels whose past is still to be looked at.
    pub fn take_look_backs(&self) -> Vec<LookBack> {
        self.pasts.take()
    }

    /// They could not be looked at yet.
    pub fn look_back_later(&self, look_backs: Vec<LookBack>) {
        self.pasts.later(look_backs);
    }

    /// Whether all of them were begun with.
    pub(crate) fn looks_back(&self) -> bool {
        self.pasts.are_begun()
    }

    /// All that was begun with was looked at, up to the tip.
    pub(crate) fn looked_back(&self) {
        self.pasts.done();
    }

    /// Makes durable what was signed for the client.
    pub fn write_memory(&self, memory: Memory) {
        lock(&self.inbox).memory = Some(memory);
        self.wake.raise();
    }

    /// What was signed and is durable.
    #[must_use]
    pub fn written_memory(&self) -> Memory {
        lock(&self.inbox).memory_written.unwrap_or(Memory::NONE)
    }

    /// Puts what was signed into the next transaction.
    fn queue_memory(&self) {
        let mut inbox = lock(&self.inbox);
        if let Some(memory) = inbox.memory.take() {
            inbox.memory_on_its_way = Some(memory);
            drop(inbox);
            self.parts.store.put(MEMORY, memory.to_versioned());
        }
    }

    /// The block up to which the monitors have looked.
    #[must_use]
    pub fn tip(&self) -> Option<(BlockHash, BlockHeight)> {
        self.monitors().best_block()
    }

    /// Ends the thread, after what waits is durable.
    pub fn stop(&self) {
        self.wake.stop();
        if let Some(thread) = lock(&self.thread).take() {
            // A thread that panicked has said so already.
            let _ended = thread.join();
        }
        // It may hold what holds this guard.
        *lock(&self.committed) = None;
    }

    fn committed(&self) {
        if let Some(act) = &*lock(&self.committed) {
            act();
        }
    }

    /// What the thread does: makes durable what is queued, again and again.
    fn commit_all(&self) {
        let subject = self.id.to_string();
        let alarms = &self.parts.shared.alarms;
        loop {
            // The flag first: what came before it is written.
            let is_last = self.wake.is_stopping();
            self.queue_memory();
            let batch = self.vault.as_ref().map(Vault::begin_commit);
            let outcome = self.parts.store.commit();
            let has_receipts = self.vault.as_ref().zip(batch);
            let has_receipts =
                has_receipts.is_some_and(|(vault, batch)| vault.end_commit(batch, outcome.is_ok()));
            match outcome {
                Ok(count) => {
                    let memory = {
                        let mut inbox = lock(&self.inbox);
                        let memory = inbox.memory_on_its_way.take();
                        inbox.memory_written = memory.or(inbox.memory_written);
                        memory
                    };
                    // A replacement commits too, and may have taken along what was queued here: commits come one after another,
                    // so that is durable by now.
                    if count > 0 || memory.is_some() || has_receipts {
                        alarms.clear(Trouble::Disk, &subject);
                        self.committed();
                    }
                }
                Err(error) => {
                    alarms.raise(Trouble::Disk, &subject, format!("client {subject}: {error}"));
                    if !is_last {
                        thread::sleep(PATIENCE);
                    }
                }
            }
            if is_last {
                return;
            }
            if !self.parts.store.has_queued() && lock(&self.inbox).memory.is_none() {
                self.wake.wait(PATIENCE);
            }
        }
    }
}

fn row(name: &ChannelKeysId) -> String {
    format!("{KEYS}{}", bitcoin::hex::DisplayHex::to_lower_hex_string(name.0.as_slice()))
}

/// A panic elsewhere leaves whole values behind.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
