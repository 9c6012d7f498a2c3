//! The wallet itself: making and loading it, addresses, balance, coins, history.
use std::collections::BTreeMap;
use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::lock::Mutex;
use bdk_wallet::chain::{BlockId, ChainPosition};
use bdk_wallet::{KeychainKind, LoadError, LoadMismatch, LocalOutput, Update, Wallet};
use bitcoin::hex::DisplayHex;
use bitcoin::{
    Address, Amount, BlockHash, Network, OutPoint, ScriptBuf, SignedAmount, Transaction, TxOut, Txid,
};
use lightning_traits::Secp;

use crate::changes::Changes;
use crate::error::WalletError;
use crate::seed::{WalletKeys, WalletSeed};

/// Addresses looked for beyond the last one given out, when a seed is restored.
const LOOKAHEAD: u32 = 100;

/// The wallet. All methods take `&self`; share it in an `Arc`.
pub struct OnchainWallet {
    pub(crate) network: Network,
    pub(crate) secp: Secp,
    pub(crate) state: Mutex<State>,
}

pub(crate) struct State {
    pub(crate) bdk: Wallet,
    pub(crate) keys: WalletKeys,
    /// All changes up to now, to load again from after a block was disconnected, and for snapshots.
    pub(crate) all: Changes,
    /// Changes that the caller has not taken.
    pub(crate) fresh: Changes,
    /// Coins lent to claims. Not stored: whoever stored the claims says at a start which coins they spend.
    pub(crate) lent: BTreeMap<OutPoint, Loan>,
    /// Time of the last unconfirmed transaction: later ones win conflicts, so no two are equal.
    pub(crate) clock: u64,
}

/// What one claim was lent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Loan {
    /// In the order in which they were lent; perhaps some that the wallet has not seen yet.
    pub(crate) coins: Vec<OutPoint>,
    /// Where what is left over goes.
    pub(crate) change: Option<ScriptBuf>,
}

/// What the wallet holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Balance {
    /// Confirmed and ripe; includes what is reserved.
    pub confirmed: Amount,
    /// Unconfirmed change of our own transactions.
    pub change: Amount,
    /// Unconfirmed payments of others.
    pub incoming: Amount,
    /// Coinbase outputs that are not ripe.
    pub immature: Amount,
    /// The part of `confirmed` and `change` that is promised to a funding, a payment or a claim.
    pub reserved: Amount,
}

impl Balance {
    /// What a payment could spend now, fees included.
    #[must_use]
    pub fn spendable(&self) -> Amount {
        let own = self.confirmed.checked_add(self.change).unwrap_or(Amount::MAX_MONEY);
        own.checked_sub(self.reserved).unwrap_or(Amount::ZERO)
    }
}

/// An unspent output of the wallet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WalletCoin {
    /// Where it is.
    pub outpoint: OutPoint,
    /// What it is.
    pub output: TxOut,
    /// Height of its block.
    pub confirmed_at: Option<u32>,
    /// Whether it is change of our own.
    pub change: bool,
    /// Whether it is promised to a funding, a payment or a claim.
    pub reserved: bool,
}

/// A transaction that concerns the wallet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WalletTransaction {
    /// Its id.
    pub txid: Txid,
    /// The transaction.
    pub transaction: Transaction,
    /// What it changes for the wallet, fees included.
    pub net: SignedAmount,
    /// Its fee, where all inputs are known.
    pub fee: Option<Amount>,
    /// Height of its block.
    pub confirmed_at: Option<u32>,
}

impl fmt::Debug for OnchainWallet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnchainWallet").field("network", &self.network).finish_non_exhaustive()
    }
}

impl OnchainWallet {
    /// A new wallet. With `birthday`, a block before which it received nothing, earlier blocks are not asked for.
    pub fn create(
        seed: &WalletSeed,
        network: Network,
        birthday: Option<(BlockHash, u32)>,
    ) -> Result<Self, WalletError> {
        let keys = seed.keys(network)?;
        let mut bdk =
            Wallet::create(keys.descriptor(KeychainKind::External), keys.descriptor(KeychainKind::Internal))
                .network(network)
                .lookahead(LOOKAHEAD)
                .create_wallet_no_persist()
                .map_err(|error| WalletError::Library(error.to_string()))?;
        if let Some((hash, height)) = birthday.filter(|(_, height)| *height > 0) {
            let chain = Some(bdk.latest_checkpoint().insert(BlockId { height, hash }));
            bdk.apply_update(Update { chain, ..Update::default() })
                .map_err(|error| WalletError::Library(error.to_string()))?;
        }
        Ok(Self::with(network, bdk, keys, Changes::default()))
    }

    /// The wallet that `changes`, all that were ever taken in their order (or a snapshot and those after it), describe.
    pub fn load<'a>(
        seed: &WalletSeed,
        network: Network,
        changes: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Self, WalletError> {
        let keys = seed.keys(network)?;
        let all = Changes::merged(changes)?;
        let bdk = load(&keys, network, &all)?;
        Ok(Self::with(network, bdk, keys, all))
    }

    fn with(network: Network, bdk: Wallet, keys: WalletKeys, all: Changes) -> Self {
        let state = State { bdk, keys, all, fresh: Changes::default(), lent: BTreeMap::new(), clock: 0 };
        Self { network, secp: Secp::new(), state: Mutex::new(state) }
    }

    /// What changed since the last call, to be appended to the store. Take it after anything was done and store it
    /// before an address or a transaction leaves the node.
    pub fn take_changes(&self) -> Result<Option<Vec<u8>>, WalletError> {
        let mut state = self.state.lock();
        state.collect();
        if state.fresh.is_empty() {
            return Ok(None);
        }
        let bytes = state.fresh.to_bytes()?;
        state.fresh = Changes::default();
        Ok(Some(bytes))
    }

    /// The whole wallet in one piece, which replaces all changes taken so far.
    pub fn snapshot(&self) -> Result<Vec<u8>, WalletError> {
        let mut state = self.state.lock();
        state.collect();
        let bytes = state.all.to_bytes()?;
        state.fresh = Changes::default();
        Ok(bytes)
    }

    /// An address that was never given out.
    pub fn new_address(&self) -> Address {
        self.state.lock().bdk.reveal_next_address(KeychainKind::External).address
    }

    /// The script for `label`, say of a channel: always the same one, used for nothing else.
    pub fn script_for(&self, label: &[u8]) -> ScriptBuf {
        let label = label.to_lower_hex_string();
        let mut state = self.state.lock();
        if let Some(index) = state.all.labels.get(&label) {
            return state.bdk.peek_address(KeychainKind::External, *index).address.script_pubkey();
        }
        let info = state.bdk.reveal_next_address(KeychainKind::External);
        state.all.labels.insert(label.clone(), info.index);
        state.fresh.labels.insert(label, info.index);
        info.address.script_pubkey()
    }

    /// Whether the wallet can spend what is paid to `script`.
    pub fn is_mine(&self, script: &ScriptBuf) -> bool {
        self.state.lock().bdk.is_mine(script.clone())
    }

    /// What the wallet holds.
    pub fn balance(&self) -> Balance {
        let state = self.state.lock();
        let held = state.bdk.balance();
        let reserved = state.coins().filter(|coin| coin.reserved).map(|coin| coin.output.value);
        Balance {
            confirmed: held.confirmed,
            change: held.trusted_pending,
            incoming: held.untrusted_pending,
            immature: held.immature,
            reserved: reserved.fold(Amount::ZERO, |sum, value| sum.checked_add(value).unwrap_or(sum)),
        }
    }

    /// All unspent outputs.
    pub fn list_unspent(&self) -> Vec<WalletCoin> {
        self.state.lock().coins().collect()
    }

    /// Transactions of the wallet: unconfirmed ones last, others by height.
    pub fn transactions(&self) -> Vec<WalletTransaction> {
        let state = self.state.lock();
        let mut all: Vec<WalletTransaction> = state
            .bdk
            .transactions()
            .map(|tx| {
                let transaction = tx.tx_node.tx.as_ref().clone();
                let (sent, received) = state.bdk.sent_and_received(&transaction);
                let signed = |amount: Amount| amount.to_signed().unwrap_or(SignedAmount::MAX);
                WalletTransaction {
                    txid: tx.tx_node.txid,
                    net: signed(received).checked_sub(signed(sent)).unwrap_or(SignedAmount::ZERO),
                    fee: state.bdk.calculate_fee(&transaction).ok(),
                    confirmed_at: height_of(&tx.chain_position),
                    transaction,
                }
            })
            .collect();
        all.sort_by_key(|tx| (tx.confirmed_at.unwrap_or(u32::MAX), tx.txid));
        all
    }
}

impl State {
    /// Moves what bdk has staged to the changes that wait for the caller.
    pub(crate) fn collect(&mut self) {
        if let Some(bdk) = self.bdk.take_staged() {
            self.all.bdk_merge(&bdk);
            self.fresh.bdk_merge(&bdk);
        }
    }

    pub(crate) fn coins(&self) -> impl Iterator<Item = WalletCoin> + '_ {
        self.bdk.list_unspent().map(|output: LocalOutput| WalletCoin {
            outpoint: output.outpoint,
            confirmed_at: height_of(&output.chain_position),
            change: output.keychain == KeychainKind::Internal,
            reserved: self.bdk.is_outpoint_locked(output.outpoint) || self.is_lent(&output.outpoint),
            output: output.txout,
        })
    }

    pub(crate) fn is_lent(&self, outpoint: &OutPoint) -> bool {
        self.lent.values().any(|loan| loan.coins.contains(outpoint))
    }

    /// A time that is later than any before.
    pub(crate) fn tick(&mut self) -> u64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        self.clock = now.max(self.clock.saturating_add(1));
        self.clock
    }
}

/// The bdk wallet that `all` describes. It holds no secret: we sign.
pub(crate) fn load(keys: &WalletKeys, network: Network, all: &Changes) -> Result<Wallet, WalletError> {
    let loaded = Wallet::load()
        .check_network(network)
        .descriptor(KeychainKind::External, Some(keys.descriptor(KeychainKind::External)))
        .descriptor(KeychainKind::Internal, Some(keys.descriptor(KeychainKind::Internal)))
        .lookahead(LOOKAHEAD)
        .load_wallet_no_persist(all.bdk.clone());
    match loaded {
        Ok(Some(bdk)) => Ok(bdk),
        Ok(None) => Err(WalletError::Nothing),
        Err(LoadError::Mismatch(LoadMismatch::Descriptor { .. })) => Err(WalletError::OtherSeed),
        Err(LoadError::Mismatch(_)) => Err(WalletError::OtherNetwork(network)),
        Err(other) => Err(WalletError::Damaged(other.to_string())),
    }
}

fn height_of(position: &ChainPosition<bdk_wallet::chain::ConfirmationBlockTime>) -> Option<u32> {
    match position {
        ChainPosition::Confirmed { anchor, .. } => Some(anchor.block_id.height),
        ChainPosition::Unconfirmed { .. } => None,
    }
}
