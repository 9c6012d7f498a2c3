//! Blocks and unspent outputs.
//!
//! The best chain is a list of hashes; every block ever seen is kept by hash with what it takes to undo it.
//! A block connects on the tip after all its rules are checked, and disconnects from the tip only.
//!
//! # Invariants
//! - `coins` is what the blocks of `active` leave unspent
//! - a block that is refused changes nothing (I5)
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bitcoin::blockdata::constants::genesis_block;
use bitcoin::script::Builder;
use bitcoin::{Amount, Block, BlockHash, Network, OutPoint, ScriptBuf, Transaction, Txid, Wtxid};

use crate::check::{self, Coin, Context};
use crate::reject::{BlockError, RejectReason};

/// Blocks between two halvings of the subsidy on regtest.
const HALVING_INTERVAL: u32 = 150;
const MAX_BLOCK_WEIGHT: u64 = 4_000_000;
/// Blocks whose times the median time past is taken of (BIP 113).
const MEDIAN_TIME_SPAN: usize = 11;

/// A block with its place.
#[derive(Clone, Debug)]
pub struct StoredBlock {
    /// The block.
    pub block: Arc<Block>,
    /// Its height.
    pub height: u32,
}

/// What a block does to the coins: enough to connect it, and to undo it.
#[derive(Clone, Debug, Default)]
struct Delta {
    /// Coins of earlier blocks that it spends.
    spent: BTreeMap<OutPoint, Coin>,
    /// Coins that it leaves.
    made: BTreeMap<OutPoint, Coin>,
}

#[derive(Clone, Debug)]
pub(crate) struct Ledger {
    blocks: BTreeMap<BlockHash, StoredBlock>,
    active: Vec<BlockHash>,
    median_times: Vec<u32>,
    deltas: Vec<Delta>,
    coins: BTreeMap<OutPoint, Coin>,
}

impl Ledger {
    pub(crate) fn new() -> Self {
        let genesis = genesis_block(Network::Regtest);
        let hash = genesis.block_hash();
        let time = genesis.header.time;
        // The coinbase of the genesis block can never be spent: it is no coin.
        let stored = StoredBlock { block: Arc::new(genesis), height: 0 };
        Self {
            blocks: BTreeMap::from([(hash, stored)]),
            active: vec![hash],
            median_times: vec![time],
            deltas: vec![Delta::default()],
            coins: BTreeMap::new(),
        }
    }

    pub(crate) fn height(&self) -> u32 {
        u32::try_from(self.active.len()).unwrap_or(u32::MAX).saturating_sub(1)
    }

    pub(crate) fn tip(&self) -> Option<&StoredBlock> {
        self.blocks.get(self.active.last()?)
    }

    pub(crate) fn hash_at(&self, height: u32) -> Option<BlockHash> {
        self.active.get(usize::try_from(height).ok()?).copied()
    }

    pub(crate) fn by_hash(&self, hash: &BlockHash) -> Option<&StoredBlock> {
        self.blocks.get(hash)
    }

    pub(crate) fn is_active(&self, stored: &StoredBlock, hash: &BlockHash) -> bool {
        self.hash_at(stored.height).as_ref() == Some(hash)
    }

    pub(crate) fn coin(&self, outpoint: &OutPoint) -> Option<&Coin> {
        self.coins.get(outpoint)
    }

    pub(crate) fn median_time(&self) -> u32 {
        self.median_times.last().copied().unwrap_or_default()
    }

    pub(crate) fn median_time_at(&self, height: u32) -> u32 {
        usize::try_from(height).ok().and_then(|i| self.median_times.get(i)).copied().unwrap_or_default()
    }

    /// The context of the next block.
    pub(crate) fn next(&self) -> Context<'_> {
        Context { height: self.height().saturating_add(1), median_times: &self.median_times }
    }

    /// Whether an output of `txid` is in the best chain and unspent.
    pub(crate) fn has_unspent_output_of(&self, txid: Txid) -> bool {
        let first = OutPoint { txid, vout: 0 };
        self.coins.range(first..).next().is_some_and(|(outpoint, _)| outpoint.txid == txid)
    }

    /// Checks `block` by all rules and makes it the tip. `verified` holds transactions whose scripts were
    /// checked before: a witness hash names the scripts' inputs completely, coins included, since the
    /// transaction commits to the outpoints and those to their scripts and values.
    pub(crate) fn connect(&mut self, block: &Block, verified: &BTreeSet<Wtxid>) -> Result<(), BlockError> {
        let height = self.height().saturating_add(1);
        self.check_header(block)?;
        check_body(block, height)?;

        let mut delta = Delta::default();
        let mut fees = Amount::ZERO;
        for (index, tx) in block.txdata.iter().enumerate() {
            let refuse = |reason| BlockError::Transaction { index, reason };
            check::shape(tx).map_err(refuse)?;
            check::is_final(tx, self.next()).map_err(refuse)?;
            if tx.is_coinbase() != (index == 0) {
                return Err(BlockError::Block(if index == 0 { "bad-cb-missing" } else { "bad-cb-multiple" }));
            }
            if index > 0 {
                let coins = self.take_inputs(tx, &mut delta).map_err(refuse)?;
                let fee = check::fee(tx, &coins, self.next()).map_err(refuse)?;
                fees =
                    fees.checked_add(fee).ok_or(BlockError::Block("bad-txns-accumulated-fee-outofrange"))?;
                check::sequence_locks(tx, &coins, self.next()).map_err(refuse)?;
                if !verified.contains(&tx.compute_wtxid()) {
                    check::scripts(tx, &coins).map_err(refuse)?;
                }
            }
            self.add_outputs(tx, height, &mut delta).map_err(refuse)?;
        }
        let minted = block.txdata.first().map_or(Amount::ZERO, |tx| tx.output.iter().map(|o| o.value).sum());
        if Some(minted) > subsidy(height).checked_add(fees) {
            return Err(BlockError::Block("bad-cb-amount"));
        }

        for outpoint in delta.spent.keys() {
            self.coins.remove(outpoint);
        }
        self.coins.extend(delta.made.iter().map(|(outpoint, coin)| (*outpoint, coin.clone())));
        let hash = block.block_hash();
        self.blocks.insert(hash, StoredBlock { block: Arc::new(block.clone()), height });
        self.active.push(hash);
        self.deltas.push(delta);
        let median = self.compute_median_time();
        self.median_times.push(median);
        Ok(())
    }

    /// Takes the tip away and answers it. The genesis block stays.
    pub(crate) fn disconnect(&mut self) -> Option<StoredBlock> {
        if self.height() == 0 {
            return None;
        }
        let stored = self.blocks.get(self.active.last()?)?.clone();
        self.active.pop();
        self.median_times.pop();
        let delta = self.deltas.pop().unwrap_or_default();
        for outpoint in delta.made.keys() {
            self.coins.remove(outpoint);
        }
        self.coins.extend(delta.spent);
        Some(stored)
    }

    fn check_header(&self, block: &Block) -> Result<(), BlockError> {
        let tip = self.active.last().copied();
        if Some(block.header.prev_blockhash) != tip {
            return Err(BlockError::NotOnTip);
        }
        let target = genesis_block(Network::Regtest).header.bits;
        if block.header.bits != target {
            return Err(BlockError::Block("bad-diffbits"));
        }
        block.header.validate_pow(target.into()).map_err(|_| BlockError::Block("high-hash"))?;
        if block.header.time <= self.median_time() {
            return Err(BlockError::Block("time-too-old"));
        }
        // BIP 9 blocks: all of BIP 34, 65 and 66 are active, which forbid lower versions.
        if block.header.version.to_consensus() < 4 {
            return Err(BlockError::Block("bad-version"));
        }
        Ok(())
    }

    /// The coins that `tx` spends, out of this block or of the ones below.
    fn take_inputs(&self, tx: &Transaction, delta: &mut Delta) -> Result<Vec<Coin>, RejectReason> {
        let mut coins = Vec::with_capacity(tx.input.len());
        for input in &tx.input {
            let outpoint = input.previous_output;
            if let Some(coin) = delta.made.remove(&outpoint) {
                coins.push(coin);
                continue;
            }
            let coin = self.coins.get(&outpoint).ok_or(RejectReason::MissingOrSpent(outpoint))?;
            coins.push(coin.clone());
            if delta.spent.insert(outpoint, coin.clone()).is_some() {
                return Err(RejectReason::MissingOrSpent(outpoint));
            }
        }
        Ok(coins)
    }

    fn add_outputs(&self, tx: &Transaction, height: u32, delta: &mut Delta) -> Result<(), RejectReason> {
        let txid = tx.compute_txid();
        // BIP 30: no transaction may hide the unspent outputs of an equal one.
        if self.has_unspent_output_of(txid) {
            return Err(RejectReason::Malformed("bad-txns-BIP30"));
        }
        for (vout, output) in (0_u32..).zip(&tx.output) {
            if output.script_pubkey.is_op_return() {
                continue;
            }
            let coin = Coin { output: output.clone(), height, coinbase: tx.is_coinbase() };
            delta.made.insert(OutPoint { txid, vout }, coin);
        }
        Ok(())
    }

    fn compute_median_time(&self) -> u32 {
        let mut times: Vec<u32> = self
            .active
            .iter()
            .rev()
            .take(MEDIAN_TIME_SPAN)
            .filter_map(|hash| self.blocks.get(hash))
            .map(|stored| stored.block.header.time)
            .collect();
        times.sort_unstable();
        times.get(times.len() / 2).copied().unwrap_or_default()
    }
}

/// What a block at `height` may mint beside the fees.
pub(crate) fn subsidy(height: u32) -> Amount {
    let halvings = height / HALVING_INTERVAL;
    Amount::from_sat(50_0000_0000_u64.checked_shr(halvings).unwrap_or(0))
}

/// BIP 34: the height, minimally pushed, opens the coinbase's script.
pub(crate) fn height_push(height: u32) -> ScriptBuf {
    Builder::new().push_int(i64::from(height)).into_script()
}

fn check_body(block: &Block, height: u32) -> Result<(), BlockError> {
    if block.txdata.is_empty() {
        return Err(BlockError::Block("bad-cb-missing"));
    }
    if !block.check_merkle_root() {
        return Err(BlockError::Block("bad-txnmrklroot"));
    }
    if !block.check_witness_commitment() {
        return Err(BlockError::Block("bad-witness-merkle-match"));
    }
    let script_sig =
        block.coinbase().and_then(|tx| tx.input.first()).map(|input| input.script_sig.as_bytes());
    if !script_sig.is_some_and(|bytes| bytes.starts_with(height_push(height).as_bytes())) {
        return Err(BlockError::Block("bad-cb-height"));
    }
    if block.weight().to_wu() > MAX_BLOCK_WEIGHT {
        return Err(BlockError::Block("bad-blk-weight"));
    }
    Ok(())
}
