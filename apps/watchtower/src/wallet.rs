//! The tower's own coins, which pay the fees of what cannot pay its own (anchor channels in full mode).
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bitcoin::{Address, BlockHash, Network};
use lightning_store_redb::{RedbStore, StoreError};
use lightning_wallet_bdk::{OnchainWallet, WalletError, WalletSeed};
use thiserror::Error;

const CHANGES: &str = "wallet/";
const ADDRESS: &str = "deposit-address";

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

/// The wallet, with the rows that its changes are kept in.
pub struct WalletKeeper {
    wallet: Arc<OnchainWallet>,
    store: Arc<RedbStore>,
    next: AtomicU64,
    /// Where to pay coins for fees to.
    pub deposit: String,
}

impl core::fmt::Debug for WalletKeeper {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("WalletKeeper").field("deposit", &self.deposit).finish_non_exhaustive()
    }
}

impl WalletKeeper {
    /// Loads the wallet, or makes it when there is none; a new one need not look at blocks before `birthday`.
    ///
    /// # Errors
    /// When the store or the wallet in it is damaged.
    pub fn open(
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
        let next = AtomicU64::new(last.map_or(0, |last| last.saturating_add(1)));
        let deposit = match store.get(ADDRESS)? {
            Some(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            None => {
                let address: Address = wallet.new_address();
                store.put(ADDRESS, address.to_string().into_bytes());
                address.to_string()
            }
        };
        let keeper = Self { wallet: Arc::new(wallet), store, next, deposit };
        keeper.keep()?;
        Ok(keeper)
    }

    /// The wallet.
    #[must_use]
    pub fn wallet(&self) -> &Arc<OnchainWallet> {
        &self.wallet
    }

    /// Makes durable what changed since the last call.
    ///
    /// # Errors
    /// When the disk fails; what is queued stays queued.
    pub fn keep(&self) -> Result<(), OpenWalletError> {
        if let Some(changes) = self.wallet.take_changes()? {
            let row = self.next.fetch_add(1, Ordering::SeqCst);
            // Keys sort as numbers do.
            self.store.put(&format!("{CHANGES}{row:020}"), changes);
        }
        self.store.commit()?;
        Ok(())
    }
}
