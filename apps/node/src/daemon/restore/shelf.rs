//! The new store: made aside, whole before it has its name.
//!
//! # Invariants
//! - a monitor of a channel that may not be at its last state is told so before it is ever asked to act (RELIABILITY B1)
//! - monitors forget what the tower has seen of the chain: the node looks at all blocks since the oldest channel was made, and by its
//!   own duty, which is more than a tower's
use std::fs;
use std::path::Path;
use std::sync::Arc;

use bitcoin::{BlockHash, Network, Transaction};
use lightning_chain_bitcoind::{BitcoindClient, BitcoindFees};
use lightning_keys::SeedKeys;
use lightning_monitor::{Duty, MonitorEnvironment, MonitorSet};
use lightning_store_redb::RedbStore;
use lightning_traits::codec::{Encode as _, TlvRecords};
use lightning_traits::id::{ChannelId, NodeId};
use lightning_traits::interface::{
    BlockSource as _, BroadcasterInterface, ChainListener as _, MonitorStore as _,
};
use lightning_traits::monitor::{ChannelMonitorUpdate, MonitorStep, NewMonitor, RecordChange, StoredChannel};
use lightning_traits::units::BlockHeight;
use lightning_wallet_bdk::WalletSeed;

use lightning_remote::wire::chain::Signed;

use super::DOUBTED;
use crate::daemon::life;
use crate::daemon::node::NETWORK;
use crate::daemon::wallet::{OpenWalletError, WalletKeeper};
use crate::error::{ApiError, Code};
use crate::logging::TracingLogger;

/// Blocks before the oldest channel was made from which on the node looks again: it may have been behind when it made it.
const MARGIN: u32 = 6;
/// Addresses that are tried to find the one where a channel's money goes.
const ADDRESSES: u32 = 10_000;

/// A channel as it goes into the store.
pub(super) struct Restored {
    pub(super) channel: ChannelId,
    pub(super) stored: StoredChannel,
    pub(super) new: NewMonitor,
    /// Whether it may not be at its last state.
    pub(super) is_doubted: bool,
}

/// What is written.
pub(super) struct Shelf<'a> {
    pub(super) network: Network,
    pub(super) seed: &'a WalletSeed,
    pub(super) keys: &'a SeedKeys,
    pub(super) source: &'a BitcoindClient,
    /// The block at which the search for coins of the wallet begins.
    pub(super) birthday: u32,
    pub(super) life: u64,
    /// The last words of the towers.
    pub(super) statements: Vec<(NodeId, Signed)>,
    pub(super) channels: Vec<Restored>,
}

impl Shelf<'_> {
    /// Makes the store at `path`.
    pub(super) fn write(self, path: &Path) -> Result<(), ApiError> {
        let aside = path.with_extension("restoring");
        let failed = |error: std::io::Error| {
            ApiError::new(Code::Disk, format!("{} cannot be used: {error}", aside.display()))
        };
        // What an earlier try has left behind was never in use.
        if aside.exists() {
            fs::remove_file(&aside).map_err(failed)?;
        }
        {
            let store = Arc::new(RedbStore::open(&aside)?);
            self.fill(&store)?;
            store.commit()?;
        }
        fs::rename(&aside, path).map_err(failed)?;
        let folder = path.parent().unwrap_or(path);
        fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)
    }

    fn fill(self, store: &Arc<RedbStore>) -> Result<(), ApiError> {
        store.put(NETWORK, self.network.to_string().into_bytes());
        life::put(store, self.life);
        for (tower, signed) in &self.statements {
            store.put(&life::statement_row(*tower), signed.to_bytes());
        }
        let births = self.channels.iter().map(|restored| restored.new.init.birth.get());
        let from = births.min().unwrap_or(0).saturating_sub(MARGIN);
        let (hash, next) = (block(self.source, from)?, block(self.source, from.saturating_add(1)));
        let birthday = Some((block(self.source, self.birthday)?, self.birthday));
        let wallet = WalletKeeper::open(Arc::clone(store), self.seed, self.network, birthday);
        let wallet = wallet.map_err(|error| match error {
            OpenWalletError::Store(error) => ApiError::from(error),
            OpenWalletError::Wallet(error) => ApiError::from(error),
        })?;
        for Restored { channel, stored, new, is_doubted } in self.channels {
            let mut stored = stored;
            if is_doubted {
                lose_data(&mut stored, &new);
                store.put(&format!("{DOUBTED}{channel}"), Vec::new());
            }
            // Where the money of a channel goes is an address of the wallet, perhaps one far behind those that were ever paid to.
            let wallet = wallet.wallet();
            for _ in 0..ADDRESSES {
                if wallet.is_mine(&new.init.destination) {
                    break;
                }
                wallet.new_address();
            }
            store.put_channel(channel, stored);
        }
        wallet.keep().map_err(ApiError::from)?;
        store.write_tip(hash, BlockHeight::new(from));
        store.commit()?;
        // There is no block above, and so nothing that the tower can have seen in one.
        if let Ok(next) = next {
            forget_chain(self.source, self.keys, store, (hash, from), next)?;
        }
        Ok(())
    }
}

fn block(source: &BitcoindClient, height: u32) -> Result<BlockHash, ApiError> {
    let missing = || ApiError::new(Code::ChainUnreachable, format!("the chain has no block {height} yet"));
    source.hash_at(height).map_err(ApiError::from)?.ok_or_else(missing)
}

/// The monitor is told what the peer would have proven; the point is the one that it knows of the peer, and is replaced when the
/// peer tells its own.
fn lose_data(stored: &mut StoredChannel, new: &NewMonitor) {
    let id = stored.last_update.next();
    let update = ChannelMonitorUpdate {
        channel: new.init.channel,
        id,
        steps: vec![MonitorStep::DataLoss { point: new.init.their_point }],
        record: RecordChange::Same {},
        extra: TlvRecords::new(),
    };
    stored.updates.push(update.to_versioned());
    stored.last_update = id;
}

/// Takes back all blocks above `tip`, of which `next` is the first, from every monitor.
fn forget_chain(
    source: &BitcoindClient,
    keys: &SeedKeys,
    store: &Arc<RedbStore>,
    tip: (BlockHash, u32),
    next: BlockHash,
) -> Result<(), ApiError> {
    let stored = store.load_channels()?;
    let (hash, height) = tip;
    let quiet = Quiet { keys: keys.clone(), store: Arc::clone(store), fees: BitcoindFees::new() };
    let set = MonitorSet::restore(quiet, &stored, Some((hash, BlockHeight::new(height))));
    let set = set.map_err(|error| ApiError::new(Code::DatabaseCorrupt, error.to_string()))?;
    let Some(info) = source.header(&next).map_err(ApiError::from)? else {
        return Err(ApiError::new(Code::ChainUnreachable, format!("the chain does not give block {next}")));
    };
    set.block_disconnected(&info.header, BlockHeight::new(height.saturating_add(1)));
    Ok(())
}

/// Monitors that do nothing but keep what they know: nothing goes to the chain.
struct Quiet {
    keys: SeedKeys,
    store: Arc<RedbStore>,
    fees: BitcoindFees,
}

struct Nobody;

impl BroadcasterInterface for Nobody {
    fn broadcast(&self, _: &[Transaction]) {}
}

impl MonitorEnvironment for Quiet {
    type Keys = SeedKeys;
    type Store = Arc<RedbStore>;
    type Broadcaster = Nobody;
    type Fees = BitcoindFees;
    type Watch = ();
    type Coins = ();
    type Log = TracingLogger;

    fn duty(&self) -> Duty {
        // What was on the chain is forgotten without a wish to get there again.
        Duty::Punish
    }
    fn keys(&self) -> &SeedKeys {
        &self.keys
    }
    fn store(&self) -> &Arc<RedbStore> {
        &self.store
    }
    fn broadcaster(&self) -> &Nobody {
        &Nobody
    }
    fn fees(&self) -> &BitcoindFees {
        &self.fees
    }
    fn watch(&self) -> &() {
        &()
    }
    fn coins(&self) -> &() {
        &()
    }
    fn log(&self) -> &TracingLogger {
        &TracingLogger
    }
}
