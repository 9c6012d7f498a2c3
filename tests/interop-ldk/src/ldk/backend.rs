//! What LDK asks its user for: a log, fee rates, a way to broadcast, a wallet, a look at outputs.
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Instant;

use bitcoin::constants::ChainHash;
use bitcoin::{Network, Psbt, ScriptBuf, Transaction, TxOut};
use lightning::chain::chaininterface::{BroadcasterInterface, ConfirmationTarget, FeeEstimator};
use lightning::events::bump_transaction::Utxo;
use lightning::events::bump_transaction::sync::WalletSourceSync;
use lightning::routing::utxo::{UtxoFuture, UtxoLookup, UtxoLookupError, UtxoResult};
use lightning::sign::ChangeDestinationSourceSync;
use lightning::util::logger::{Level, Logger, Record};
use lightning_chain_bitcoind::BitcoindClient;
use lightning_traits::interface::BlockSource;
use serde_json::json;
use tokio::runtime::Handle;

use super::start::{Gossip, Peers};
use crate::chain::{self, Wallet};

/// LDK's log in a file.
pub(super) struct FileLog {
    path: PathBuf,
    file: Mutex<File>,
    start: Instant,
}

impl FileLog {
    /// Appends to `path`.
    pub(super) fn open(path: &Path) -> Self {
        let file = File::options().create(true).append(true).open(path).expect("a log for LDK");
        Self { path: path.to_owned(), file: Mutex::new(file), start: Instant::now() }
    }

    /// Writes a line of our own between LDK's.
    fn line(&self, text: &str) {
        let line = format!("{:9.3} {text}\n", self.start.elapsed().as_secs_f32());
        // A log that cannot be written is no reason to stop the node.
        let _written = self.file.lock().expect("log").write_all(line.as_bytes());
    }

    /// Where it writes.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Logger for FileLog {
    fn log(&self, record: Record<'_>) {
        if record.level < Level::Gossip {
            return;
        }
        self.line(&format!("{:<5} {}:{} {}", record.level, record.module_path, record.line, record.args));
    }
}

/// One fee rate for all purposes, which a test may change.
pub(super) struct Fees(AtomicU32);

impl Fees {
    pub(super) fn new(sat_per_kw: u32) -> Self {
        Self(AtomicU32::new(sat_per_kw))
    }

    pub(super) fn set(&self, sat_per_kw: u32) {
        self.0.store(sat_per_kw, Ordering::Relaxed);
    }
}

impl FeeEstimator for Fees {
    fn get_est_sat_per_1000_weight(&self, target: ConfirmationTarget) -> u32 {
        let rate = self.0.load(Ordering::Relaxed);
        match target {
            ConfirmationTarget::MaximumFeeEstimate => rate * 10,
            ConfirmationTarget::UrgentOnChainSweep => rate * 2,
            ConfirmationTarget::MinAllowedAnchorChannelRemoteFee
            | ConfirmationTarget::MinAllowedNonAnchorChannelRemoteFee
            | ConfirmationTarget::ChannelCloseMinimum => 253,
            ConfirmationTarget::AnchorChannelFee
            | ConfirmationTarget::NonAnchorChannelFee
            | ConfirmationTarget::OutputSpendingFee => rate,
        }
    }
}

/// Sends to bitcoind's mempool and notes what it refuses.
pub(super) struct Broadcaster {
    pub(super) client: BitcoindClient,
    pub(super) log: Arc<FileLog>,
}

impl BroadcasterInterface for Broadcaster {
    fn broadcast_transactions(&self, transactions: &[&Transaction]) {
        let ids: Vec<String> = transactions.iter().map(|tx| tx.compute_txid().to_string()).collect();
        let outcome = match chain::broadcast(&self.client, transactions) {
            Ok(()) => "in the mempool".to_owned(),
            Err(refusal) => format!("refused: {refusal}"),
        };
        self.log.line(&format!("BCAST {}: {outcome}", ids.join(" ")));
    }
}

/// A wallet of bitcoind as LDK sees it: coins for anchors, change for sweeps.
pub(super) struct Purse {
    pub(super) wallet: Wallet,
}

/// Signature, key and their lengths: what spending P2WPKH needs at most.
const P2WPKH_SATISFACTION: u64 = 4 + 1 + 1 + 73 + 1 + 33;

impl WalletSourceSync for Purse {
    fn list_confirmed_utxos(&self) -> Result<Vec<Utxo>, ()> {
        let coins = self.wallet.confirmed_coins().map_err(drop)?;
        let native = coins.into_iter().filter(|coin| coin.output.script_pubkey.is_p2wpkh());
        Ok(native
            .map(|coin| Utxo {
                outpoint: coin.outpoint,
                output: coin.output,
                satisfaction_weight: P2WPKH_SATISFACTION,
            })
            .collect())
    }

    fn get_change_script(&self) -> Result<ScriptBuf, ()> {
        Ok(self.wallet.address().script_pubkey())
    }

    fn sign_psbt(&self, psbt: Psbt) -> Result<Transaction, ()> {
        self.wallet.sign(&psbt.unsigned_tx).map_err(drop)
    }
}

impl ChangeDestinationSourceSync for Purse {
    fn get_change_destination_script(&self) -> Result<ScriptBuf, ()> {
        Ok(self.wallet.address().script_pubkey())
    }
}

/// Looks up the funding outputs of announced channels, so that gossip is believed only with proof.
///
/// The answer comes later, as LDK wants it from whoever has to ask another program: while it waits for an answer at
/// once, a second thread of its may take the same announcement and the first update after it, and then the first
/// thread's channel, still without update, replaces that.
pub(super) struct Outputs {
    client: Arc<BitcoindClient>,
    log: Arc<FileLog>,
    runtime: Handle,
    asker: OnceLock<(Weak<Gossip>, Weak<Peers>)>,
}

impl Outputs {
    pub(super) fn new(client: BitcoindClient, log: Arc<FileLog>, runtime: Handle) -> Self {
        Self { client: Arc::new(client), log, runtime, asker: OnceLock::new() }
    }

    /// Who hears the answers. Weak: they own us.
    pub(super) fn answer_to(&self, gossip: &Arc<Gossip>, peers: &Arc<Peers>) {
        assert!(self.asker.set((Arc::downgrade(gossip), Arc::downgrade(peers))).is_ok(), "one asker");
    }
}

fn find(client: &BitcoindClient, scid: u64) -> Result<TxOut, String> {
    let (height, index, vout) = (scid >> 40, (scid >> 16) & 0x00ff_ffff, scid & 0xffff);
    let height = u32::try_from(height).map_err(|error| error.to_string())?;
    let hash = client.hash_at(height).map_err(|error| error.to_string())?.ok_or("no such block")?;
    let block = client.block(&hash).map_err(|error| error.to_string())?;
    let tx = usize::try_from(index).ok().and_then(|index| block.txdata.get(index));
    let tx = tx.ok_or("no such transaction")?;
    let output = usize::try_from(vout).ok().and_then(|vout| tx.output.get(vout)).ok_or("no such output")?;
    let params = json!([tx.compute_txid().to_string(), vout, false]);
    let unspent = client.call("gettxout", &params).map_err(|error| error.to_string())?;
    if unspent.is_null() { Err("it is spent".to_owned()) } else { Ok(output.clone()) }
}

impl UtxoLookup for Outputs {
    fn get_utxo(&self, chain: &ChainHash, scid: u64) -> UtxoResult {
        if *chain != ChainHash::using_genesis_block(Network::Regtest) {
            return UtxoResult::Sync(Err(UtxoLookupError::UnknownChain));
        }
        let (answer, asker) = (UtxoFuture::new(), self.asker.get().cloned());
        let (later, client, log) = (answer.clone(), self.client.clone(), self.log.clone());
        self.runtime.spawn_blocking(move || {
            let found = find(&client, scid).map_err(|trouble| {
                log.line(&format!("UTXO  {scid}: {trouble}"));
                UtxoLookupError::UnknownTx
            });
            let asker = asker.and_then(|(gossip, peers)| gossip.upgrade().zip(peers.upgrade()));
            // Nobody is there any more once the node has stopped.
            let Some((gossip, peers)) = asker else { return };
            later.resolve(gossip.network_graph(), gossip.clone(), found);
            peers.process_events();
        });
        UtxoResult::Async(answer)
    }
}
