//! What the node signs for its blind towers: blobs against each state that a peer revokes.
//!
//! One [`Scribe`] a channel follows the peer's commitments; what it makes is staged at every blind tower before the update that
//! revokes goes to the node's own disk ([`BlindMonitors`]). Decision record 30.
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use bitcoin::hashes::{Hash as _, Hmac, HmacEngine, sha256};
use lightning_keys::SeedKeys;
use lightning_monitor::blind::{Scribe, SealedState};
use lightning_remote::wire::blind::Entry;
use lightning_remote::{BlindMonitors, RowStore};
use lightning_store_redb::RedbStore;
use lightning_traits::id::ChannelId;
use lightning_traits::interface::{EntropySource as _, KeysInterface as _};
use lightning_traits::monitor::{ChannelMonitorUpdate, MonitorInit, MonitorStep};

use super::environment::Monitors;

/// The first of the peer's commitments that blobs were made against, by channel.
const FROM: &str = "blind/from/";
/// The blind towers of the last start.
const NAMES: &str = "blind/towers";

/// The node's own store, as the place where blobs wait.
pub(crate) struct StoreRows(pub(crate) Arc<RedbStore>);

impl RowStore for StoreRows {
    fn put(&self, key: &str, value: Vec<u8>) {
        self.0.put(key, value);
    }

    fn remove(&self, key: &str) {
        self.0.remove(key);
    }

    fn list(&self, prefix: &str) -> Vec<(String, Vec<u8>)> {
        self.0.list(prefix).unwrap_or_else(|error| {
            tracing::error!("what waits for blind towers cannot be read: {error}");
            Vec::new()
        })
    }
}

/// A blind tower.
pub(crate) type BlindTower = BlindMonitors<StoreRows>;

/// What names lanes and marks blobs, from the seed.
pub(crate) fn secret(keys: &SeedKeys) -> [u8; 32] {
    let mut engine = HmacEngine::<sha256::Hash>::new(&*keys.tower_seal());
    bitcoin::hashes::HashEngine::input(&mut engine, b"blind towers");
    Hmac::from_engine(engine).to_byte_array()
}

/// Signs for all blind towers.
pub(crate) struct BlindDesk {
    towers: Vec<Arc<BlindTower>>,
    keys: SeedKeys,
    monitors: Monitors,
    store: Arc<RedbStore>,
    scribes: Mutex<BTreeMap<ChannelId, Scribe>>,
}

impl BlindDesk {
    pub(crate) fn new(
        towers: Vec<Arc<BlindTower>>,
        keys: &SeedKeys,
        monitors: &Monitors,
        store: &Arc<RedbStore>,
    ) -> Self {
        let (keys, monitors, store) = (keys.clone(), Arc::clone(monitors), Arc::clone(store));
        let desk = Self { towers, keys, monitors, store, scribes: Mutex::default() };
        let names: String =
            desk.towers.iter().map(|tower| format!("{} ", tower.remote().config().tower)).collect();
        // A tower that is new, or was away, lacks what was revoked before.
        let are_same = desk.store.get(NAMES).ok().flatten().as_deref() == Some(names.as_bytes());
        if !are_same {
            desk.store.put(NAMES, names.into_bytes());
        }
        if !desk.towers.is_empty() {
            for channel in desk.monitors.channels() {
                let is_known = are_same && desk.covered_from(channel).is_some();
                if let Some(scribe) = desk.scribe_of(channel, is_known) {
                    desk.put(channel, scribe);
                }
            }
        }
        desk
    }

    /// From where the channel's own monitor stands; covered from there on, unless it is known to be covered from before.
    fn scribe_of(&self, channel: ChannelId, is_known: bool) -> Option<Scribe> {
        let scribe = Scribe::of(&self.monitors.monitor(channel)?);
        if !is_known {
            self.store.put(&row(channel), scribe.covers_from().0.to_be_bytes().to_vec());
        }
        Some(scribe)
    }

    fn put(&self, channel: ChannelId, scribe: Scribe) {
        self.scribes.lock().unwrap_or_else(PoisonError::into_inner).insert(channel, scribe);
    }

    /// A new channel.
    pub(crate) fn begin(&self, init: &MonitorInit) {
        if !self.towers.is_empty() {
            self.store.put(&row(init.channel), 0_u64.to_be_bytes().to_vec());
            self.put(init.channel, Scribe::new(init));
        }
    }

    /// Signs against what the update revokes, and stages it; to be called before the update goes to the disk.
    pub(crate) fn learn(&self, update: &ChannelMonitorUpdate) {
        let matters = update.steps.iter().any(|step| {
            matches!(step, MonitorStep::TheirCommitment { .. } | MonitorStep::TheirRevocation { .. })
        });
        if self.towers.is_empty() || !matters {
            return;
        }
        let channel = update.channel;
        // Not under the lock: other channels sign at the same time.
        let known = self.scribes.lock().unwrap_or_else(PoisonError::into_inner).remove(&channel);
        let Some(mut scribe) = known.or_else(|| self.scribe_of(channel, false)) else {
            tracing::error!(%channel, "nothing is known of the channel that blobs could be made of");
            return;
        };
        let signer = self.keys.signer(scribe.keys());
        match scribe.learn(self.keys.secp(), &signer, update) {
            Ok(states) => {
                self.put(channel, scribe);
                let entries: Vec<Entry> = states.into_iter().flat_map(entries_of).collect();
                for tower in &self.towers {
                    tower.stage(channel, update.id, entries.clone());
                }
            }
            // It is begun anew from the monitor with the next update.
            Err(error) => tracing::error!(%channel, "a revoked state is not at the blind towers: {error}"),
        }
    }

    pub(crate) fn random(&self) -> [u8; 32] {
        self.keys.bytes32()
    }

    /// The channel is done with.
    pub(crate) fn forget(&self, channel: ChannelId) {
        self.scribes.lock().unwrap_or_else(PoisonError::into_inner).remove(&channel);
        self.store.remove(&row(channel));
    }

    /// The first of the peer's commitments that the blind towers can punish.
    pub(crate) fn covered_from(&self, channel: ChannelId) -> Option<u64> {
        let bytes = self.store.get(&row(channel)).ok().flatten()?;
        Some(u64::from_be_bytes(bytes.try_into().ok()?))
    }
}

fn entries_of(state: SealedState) -> impl Iterator<Item = Entry> {
    state.blobs.into_iter().map(|blob| Entry { locator: blob.locator.0, body: blob.body })
}

fn row(channel: ChannelId) -> String {
    format!("{FROM}{channel}")
}
