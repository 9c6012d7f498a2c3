//! The on-chain wallet inside the node: its changes ride in the same transactions as the channels' updates.
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bitcoin::{BlockHash, Network, ScriptBuf};
use lightning_keys::Scripts;
use lightning_store_redb::{RedbStore, StoreError};
use lightning_traits::id::ChannelKeysId;
use lightning_wallet_bdk::{OnchainWallet, WalletError, WalletSeed};
use thiserror::Error;

/// Why there is no wallet.
#[derive(Debug, Error)]
pub enum OpenWalletError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The wallet.
    #[error(transparent)]
    Wallet(#[from] WalletError),
}

/// Channels pay to addresses of the wallet.
pub(crate) struct WalletScripts(pub Arc<OnchainWallet>);

impl Scripts for WalletScripts {
    fn script(&self, keys: &ChannelKeysId) -> ScriptBuf {
        self.0.script_for(&keys.0)
    }
}

/// Stores what changes in the wallet.
pub(crate) struct WalletKeeper {
    wallet: Arc<OnchainWallet>,
    store: Arc<RedbStore>,
    next: AtomicU64,
}

const CHANGES: &str = "wallet/";
/// Stored changes that are folded into one snapshot at the next start.
const FOLD_ABOVE: usize = 100;

impl WalletKeeper {
    /// Loads the wallet, or makes it when there is none; a new one need not look at blocks before `birthday`.
    pub(crate) fn open(
        store: Arc<RedbStore>,
        seed: &WalletSeed,
        network: Network,
        birthday: Option<(BlockHash, u32)>,
    ) -> Result<Self, OpenWalletError> {
        let rows = store.list(CHANGES)?;
        let wallet = if rows.is_empty() {
            OnchainWallet::create(seed, network, birthday)?
        } else {
            OnchainWallet::load(seed, network, rows.iter().map(|(_, bytes)| bytes.as_slice()))?
        };
        let last = rows.last().and_then(|(key, _)| key.strip_prefix(CHANGES)?.parse::<u64>().ok());
        let next = last.map_or(0, |last| last.saturating_add(1));
        if rows.len() > FOLD_ABOVE {
            rows.iter().for_each(|(key, _)| store.remove(key));
            store.put(&row(next), wallet.snapshot()?);
        }
        let keeper = Self { wallet: Arc::new(wallet), store, next: AtomicU64::new(next.saturating_add(1)) };
        keeper.keep()?;
        Ok(keeper)
    }

    /// The wallet.
    pub(crate) fn wallet(&self) -> &Arc<OnchainWallet> {
        &self.wallet
    }

    /// Queues what changed since the last call.
    pub(crate) fn keep(&self) -> Result<(), WalletError> {
        if let Some(changes) = self.wallet.take_changes()? {
            self.store.put(&row(self.next.fetch_add(1, Ordering::SeqCst)), changes);
        }
        Ok(())
    }
}

/// Keys sort as numbers do.
fn row(number: u64) -> String {
    format!("{CHANGES}{number:020}")
}
