//! What LDK asks its user for: a log, fee rates, a way to broadcast, a wallet.
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use bitcoin::{Psbt, ScriptBuf, Transaction};
use lightning::chain::chaininterface::{BroadcasterInterface, ConfirmationTarget, FeeEstimator};
use lightning::events::bump_transaction::Utxo;
use lightning::events::bump_transaction::sync::WalletSourceSync;
use lightning::sign::ChangeDestinationSourceSync;
use lightning::util::logger::{Level, Logger, Record};
use lightning_chain_bitcoind::BitcoindClient;

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
