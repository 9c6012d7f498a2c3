//! The chain as its users hold it: a handle that can be cloned and shared between threads.
//!
//! Getters look; [`EmbeddedChain::submit`] and [`EmbeddedChain::submit_package`] offer transactions;
//! `mine*`, [`EmbeddedChain::submit_block`], [`EmbeddedChain::disconnect_tip`] and
//! [`EmbeddedChain::reorg`] move the tip. Nothing moves by itself, and equal calls make equal chains
//! unless the wall clock is asked for (I10).
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bitcoin::{Amount, Block, BlockHash, OutPoint, Script, Transaction, Txid, Wtxid};
use lightning_traits::sync::Mutex;
use lightning_traits::units::FeeratePerKw;

use crate::check::Coin;
use crate::ledger::{Ledger, StoredBlock};
use crate::mempool::{Entry, Mempool, Refused};
use crate::policy::Policy;
use crate::reject::{BlockError, PackageError, RejectReason};
use crate::template::{self, BlockSpace, Place};

/// Seconds between two blocks when no clock is used.
const BLOCK_INTERVAL: u32 = 600;
/// Most transactions of a package.
const MAX_PACKAGE: usize = 25;

/// A regtest chain with its mempool. Clones share it.
#[derive(Clone, Debug)]
pub struct EmbeddedChain {
    state: Arc<Mutex<State>>,
}

/// A waiting transaction, as [`EmbeddedChain::mempool`] lists it.
pub type MempoolEntry = Entry;

#[derive(Clone, Debug)]
struct State {
    ledger: Ledger,
    mempool: Mempool,
    policy: Policy,
    space: BlockSpace,
    /// Transactions whose scripts were checked, so that mining them costs nothing.
    verified: BTreeSet<Wtxid>,
    fee_estimate: Option<FeeratePerKw>,
    wall_clock: bool,
    serial: u64,
    /// How often the tip changed.
    changes: u64,
}

/// What a block is filled with.
#[derive(Clone, Debug)]
enum Fill {
    Mempool,
    These(Vec<Transaction>),
}

impl Default for EmbeddedChain {
    fn default() -> Self {
        Self::new()
    }
}

impl EmbeddedChain {
    /// A chain of the regtest genesis block. Blocks come 600 seconds after their parents.
    #[must_use]
    pub fn new() -> Self {
        Self::with_policy(Policy::default())
    }

    /// A chain with another relay policy.
    #[must_use]
    pub fn with_policy(policy: Policy) -> Self {
        let state = State {
            ledger: Ledger::new(),
            mempool: Mempool::default(),
            policy,
            space: BlockSpace::default(),
            verified: BTreeSet::new(),
            fee_estimate: None,
            wall_clock: false,
            serial: 0,
            changes: 0,
        };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// A chain that is like this one and goes its own way from here.
    #[must_use]
    pub fn fork(&self) -> Self {
        let state = self.state.lock().clone();
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// From now on blocks carry the time of the computer's clock, for programs that compare the two.
    pub fn use_wall_clock(&self) {
        self.state.lock().wall_clock = true;
    }

    /// Hash and height of the tip.
    #[must_use]
    pub fn tip(&self) -> (BlockHash, u32) {
        let state = self.state.lock();
        let height = state.ledger.height();
        (state.previous(), height)
    }

    /// Height of the tip.
    #[must_use]
    pub fn height(&self) -> u32 {
        self.state.lock().ledger.height()
    }

    /// Grows with every change of the tip.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.state.lock().changes
    }

    /// Hash of the block at `height` of the best chain.
    #[must_use]
    pub fn hash_at(&self, height: u32) -> Option<BlockHash> {
        self.state.lock().ledger.hash_at(height)
    }

    /// The block at `height` of the best chain.
    #[must_use]
    pub fn block_at(&self, height: u32) -> Option<Arc<Block>> {
        let state = self.state.lock();
        let hash = state.ledger.hash_at(height)?;
        state.ledger.by_hash(&hash).map(|stored| Arc::clone(&stored.block))
    }

    /// A block with its height, and whether it is in the best chain; blocks that left it are kept.
    #[must_use]
    pub fn block_by_hash(&self, hash: &BlockHash) -> Option<(StoredBlock, bool)> {
        let state = self.state.lock();
        let stored = state.ledger.by_hash(hash)?;
        Some((stored.clone(), state.ledger.is_active(stored, hash)))
    }

    /// Median time past of the block at `height` of the best chain.
    #[must_use]
    pub fn median_time_at(&self, height: u32) -> u32 {
        self.state.lock().ledger.median_time_at(height)
    }

    /// A confirmed unspent output, also when a waiting transaction spends it.
    #[must_use]
    pub fn utxo(&self, outpoint: &OutPoint) -> Option<Coin> {
        self.state.lock().ledger.coin(outpoint).cloned()
    }

    /// The waiting transaction that spends `outpoint`.
    #[must_use]
    pub fn mempool_spender(&self, outpoint: &OutPoint) -> Option<Txid> {
        self.state.lock().mempool.spender(outpoint)
    }

    /// Waiting transactions, parents before children.
    #[must_use]
    pub fn mempool(&self) -> Vec<MempoolEntry> {
        self.state.lock().mempool.in_order().into_iter().cloned().collect()
    }

    /// A waiting transaction.
    #[must_use]
    pub fn mempool_entry(&self, txid: &Txid) -> Option<MempoolEntry> {
        self.state.lock().mempool.get(txid).cloned()
    }

    /// The relay policy.
    #[must_use]
    pub fn policy(&self) -> Policy {
        self.state.lock().policy
    }

    /// What fee estimation answers; `None`, the beginning, is what a fresh bitcoind answers.
    #[must_use]
    pub fn fee_estimate(&self) -> Option<FeeratePerKw> {
        self.state.lock().fee_estimate
    }

    /// Sets what fee estimation answers, for any number of blocks.
    pub fn set_fee_estimate(&self, rate: Option<FeeratePerKw>) {
        self.state.lock().fee_estimate = rate;
    }

    /// Sets the minimum relay feerate, in satoshi per 1000 virtual bytes. Waiting transactions stay.
    pub fn set_min_relay_fee(&self, sat_per_kvb: u64) {
        self.state.lock().policy.min_relay_fee = sat_per_kvb;
    }

    /// The rest of the world fills every mempool with what pays `sat_per_kvb`: whatever waits here and pays less, alone and with
    /// what builds on it, goes, and nothing that pays less comes in. Answers what went. Zero ends it.
    pub fn fill_mempool(&self, sat_per_kvb: u64) -> Vec<Txid> {
        let mut state = self.state.lock();
        state.policy.mempool_min_fee = sat_per_kvb;
        state.mempool.trim(sat_per_kvb)
    }

    /// Sets what miners leave to transactions of this mempool in each block from now on.
    pub fn set_block_space(&self, space: BlockSpace) {
        self.state.lock().space = space;
    }

    /// What miners leave to transactions of this mempool.
    #[must_use]
    pub fn block_space(&self) -> BlockSpace {
        self.state.lock().space
    }

    /// Offers a transaction to the mempool.
    pub fn submit(&self, tx: &Transaction) -> Result<Txid, RejectReason> {
        self.state.lock().submit(&[tx]).map_err(|(_, reason)| reason)?;
        Ok(tx.compute_txid())
    }

    /// Fee and virtual size of a transaction that would be accepted; changes nothing.
    pub fn test(&self, tx: &Transaction) -> Result<(Amount, u64), RejectReason> {
        let state = self.state.lock();
        let admission =
            state.mempool.judge(&[tx], &state.ledger, &state.policy).map_err(|(_, reason)| reason)?;
        Ok(admission.costs().next().unwrap_or((Amount::ZERO, 0)))
    }

    /// Offers parents with the one child that spends them all, which may pay for them.
    pub fn submit_package(&self, package: &[Transaction]) -> Result<Vec<Txid>, PackageError> {
        check_package(package)?;
        self.state.lock().submit_package(package)
    }

    /// Mines `count` blocks with what waits, whose coinbases pay to `script`.
    pub fn mine(&self, count: u32, script: &Script) -> Vec<BlockHash> {
        let mut state = self.state.lock();
        (0..count).filter_map(|_| state.mine(script, Fill::Mempool).ok()).collect()
    }

    /// Mines `count` blocks without transactions: what waits goes on waiting.
    pub fn mine_empty(&self, count: u32, script: &Script) -> Vec<BlockHash> {
        let mut state = self.state.lock();
        let empty = Fill::These(Vec::new());
        (0..count).filter_map(|_| state.mine(script, empty.clone()).ok()).collect()
    }

    /// Mines one block with exactly `transactions`, as a miner may who takes them past the mempool.
    /// Only consensus binds them; the coinbase leaves their fees unclaimed.
    pub fn mine_transactions(
        &self,
        transactions: Vec<Transaction>,
        script: &Script,
    ) -> Result<BlockHash, BlockError> {
        self.state.lock().mine(script, Fill::These(transactions))
    }

    /// Connects a block that was made elsewhere and extends the tip.
    pub fn submit_block(&self, block: &Block) -> Result<(), BlockError> {
        self.state.lock().connect(block)
    }

    /// Takes the tip out of the best chain and answers it; its transactions wait again if they still may.
    pub fn disconnect_tip(&self) -> Option<Arc<Block>> {
        let mut state = self.state.lock();
        state.disconnect(1).pop()
    }

    /// Takes the last `depth` blocks out of the best chain and answers them, the last first; see [`Self::disconnect_tip`].
    pub fn disconnect(&self, depth: u32) -> Vec<Arc<Block>> {
        self.state.lock().disconnect(depth)
    }

    /// Replaces the last `depth` blocks by `depth + 1` others whose coinbases pay to `script`. Transactions of
    /// the lost blocks return to the mempool and are mined again at once; see [`Self::reorg_empty`].
    pub fn reorg(&self, depth: u32, script: &Script) -> Vec<BlockHash> {
        let mut state = self.state.lock();
        state.disconnect(depth);
        (0..=depth).filter_map(|_| state.mine(script, Fill::Mempool).ok()).collect()
    }

    /// Like [`Self::reorg`], but the new blocks are empty: the transactions of the lost ones wait.
    pub fn reorg_empty(&self, depth: u32, script: &Script) -> Vec<BlockHash> {
        let mut state = self.state.lock();
        state.disconnect(depth);
        let empty = Fill::These(Vec::new());
        (0..=depth).filter_map(|_| state.mine(script, empty.clone()).ok()).collect()
    }

    /// Forgets a waiting transaction and all that builds on it, as nodes do that were restarted or are full.
    pub fn forget(&self, txid: Txid) {
        self.state.lock().mempool.remove_with_descendants(txid);
    }
}

impl State {
    fn previous(&self) -> BlockHash {
        self.ledger.tip().map(|stored| stored.block.block_hash()).unwrap_or_else(genesis_hash)
    }

    fn submit(&mut self, group: &[&Transaction]) -> Result<(), Refused> {
        self.submit_by(group, self.policy)
    }

    fn submit_by(&mut self, group: &[&Transaction], policy: Policy) -> Result<(), Refused> {
        let admission = self.mempool.judge(group, &self.ledger, &policy)?;
        self.verified.extend(group.iter().map(|tx| tx.compute_wtxid()));
        self.mempool.admit(admission);
        Ok(())
    }

    /// Each alone if it can; those that pay too little wait for the child to pay for them.
    fn submit_package(&mut self, package: &[Transaction]) -> Result<Vec<Txid>, PackageError> {
        let mut held: Vec<&Transaction> = Vec::new();
        let last = package.len().saturating_sub(1);
        for (index, tx) in package.iter().enumerate() {
            let mut group = Vec::new();
            if index == last {
                group.append(&mut held);
            }
            group.push(tx);
            match self.submit(&group) {
                Ok(()) => {}
                Err((_, RejectReason::AlreadyInMempool | RejectReason::AlreadyConfirmed)) => {}
                Err((_, reason)) if index < last && (reason.is_fee() || is_dust(&reason)) => held.push(tx),
                Err((at, reason)) => {
                    let txid = group.get(at).map_or_else(|| tx.compute_txid(), |tx| tx.compute_txid());
                    return Err(PackageError::Transaction { txid, reason });
                }
            }
        }
        Ok(package.iter().map(Transaction::compute_txid).collect())
    }

    fn mine(&mut self, script: &Script, fill: Fill) -> Result<BlockHash, BlockError> {
        let (transactions, fees) = match fill {
            Fill::Mempool => template::select(&self.mempool, self.space),
            Fill::These(transactions) => (transactions, Amount::ZERO),
        };
        self.serial = self.serial.saturating_add(1);
        let place = Place {
            previous: self.previous(),
            height: self.ledger.height().saturating_add(1),
            time: self.next_time(),
            serial: self.serial,
        };
        let block = template::build(place, script, transactions, fees);
        self.connect(&block)?;
        Ok(block.block_hash())
    }

    fn next_time(&self) -> u32 {
        let least = self.ledger.median_time().saturating_add(1);
        if self.wall_clock {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
            return u32::try_from(now).unwrap_or(u32::MAX).max(least);
        }
        let parent = self.ledger.tip().map_or(0, |stored| stored.block.header.time);
        parent.saturating_add(BLOCK_INTERVAL).max(least)
    }

    fn connect(&mut self, block: &Block) -> Result<(), BlockError> {
        self.ledger.connect(block, &self.verified)?;
        self.mempool.on_connected(&block.txdata);
        self.changes = self.changes.saturating_add(1);
        Ok(())
    }

    fn disconnect(&mut self, depth: u32) -> Vec<Arc<Block>> {
        let blocks: Vec<Arc<Block>> =
            (0..depth).map_while(|_| self.ledger.disconnect()).map(|stored| stored.block).collect();
        // Oldest first, then what waited before, which may build on them. Coins, lock times and coinbases
        // may be gone: each must pass again, and who does not is dropped with those that build on it. Fees are
        // not asked for again, since some came in as part of a package.
        let lenient = Policy { min_relay_fee: 0, mempool_min_fee: 0, relay_dust: true, ..self.policy };
        let waited = self.mempool.drain();
        let returned = blocks.iter().rev().flat_map(|block| block.txdata.iter().skip(1));
        for tx in returned.chain(&waited) {
            // A refusal is the expected end of those that became impossible.
            let _refused = self.submit_by(&[tx], lenient);
        }
        self.changes = self.changes.saturating_add(1);
        blocks
    }
}

fn genesis_hash() -> BlockHash {
    bitcoin::blockdata::constants::genesis_block(bitcoin::Network::Regtest).block_hash()
}

fn is_dust(reason: &RejectReason) -> bool {
    matches!(reason, RejectReason::Dust { .. })
}

/// One child, last, that spends every other; nothing twice.
fn check_package(package: &[Transaction]) -> Result<(), PackageError> {
    let Some((child, parents)) = package.split_last() else {
        return Err(PackageError::Shape("package-empty"));
    };
    if package.len() > MAX_PACKAGE {
        return Err(PackageError::Shape("package-too-many-transactions"));
    }
    let order: BTreeMap<Txid, usize> = package.iter().map(Transaction::compute_txid).zip(0..).collect();
    if order.len() != package.len() {
        return Err(PackageError::Shape("package-contains-duplicates"));
    }
    let spends: BTreeSet<Txid> = child.input.iter().map(|input| input.previous_output.txid).collect();
    if !parents.iter().all(|parent| spends.contains(&parent.compute_txid())) {
        return Err(PackageError::Shape("package-not-child-with-parents"));
    }
    let between_parents = parents
        .iter()
        .flat_map(|parent| &parent.input)
        .any(|input| order.contains_key(&input.previous_output.txid));
    if between_parents {
        return Err(PackageError::Shape("package-not-child-with-unconfirmed-parents"));
    }
    Ok(())
}
