//! Building a block: which waiting transactions, the coinbase around them, and the proof of work.
use std::collections::BTreeSet;

use bitcoin::absolute::LockTime;
use bitcoin::block::{Header, Version};
use bitcoin::blockdata::constants::genesis_block;
use bitcoin::hashes::Hash;
use bitcoin::script::Builder;
use bitcoin::transaction::Version as TxVersion;
use bitcoin::{
    Amount, Block, BlockHash, Network, OutPoint, Script, ScriptBuf, Sequence, Target, Transaction, TxIn,
    TxMerkleNode, TxOut, Txid, Witness,
};

use crate::ledger::{height_push, subsidy};
use crate::mempool::{Entry, Mempool, rate, sums};

/// Opens the output that commits to the witnesses (BIP 141): OP_RETURN, a push of 36 bytes, and its mark.
const COMMITMENT_MARK: [u8; 6] = [0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed];

/// What miners leave to the transactions that wait here, beside those of the rest of the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockSpace {
    /// Weight units.
    pub weight: u64,
    /// The least feerate of a transaction with its ancestors, in satoshi per 1000 virtual bytes: whatever pays less waits.
    pub min_fee: u64,
}

impl Default for BlockSpace {
    /// A whole block, for whatever pays anything or nothing.
    fn default() -> Self {
        // A block holds 4,000,000 weight units; header, counts and coinbase take their part first.
        Self { weight: 4_000_000 - 8_000, min_fee: 0 }
    }
}

/// What distinguishes the next block.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) previous: BlockHash,
    pub(crate) height: u32,
    pub(crate) time: u32,
    /// Goes into the coinbase, so that no two blocks of a run are equal, not even at the same height.
    pub(crate) serial: u64,
}

/// The waiting transactions for the next block, parents first, and their fees.
///
/// All of them if they fit. Otherwise those whose ancestors and themselves pay the best rate, again and again.
pub(crate) fn select(mempool: &Mempool, space: BlockSpace) -> (Vec<Transaction>, Amount) {
    let all = mempool.in_order();
    let weight: u64 = all.iter().map(|entry| entry.tx.weight().to_wu()).sum();
    let is_free = weight <= space.weight && space.min_fee == 0;
    let chosen = if is_free { all } else { select_best(mempool, &all, space) };
    let fees = chosen.iter().map(|entry| entry.fee).sum();
    (chosen.into_iter().map(|entry| entry.tx.clone()).collect(), fees)
}

fn select_best<'a>(mempool: &'a Mempool, all: &[&'a Entry], space: BlockSpace) -> Vec<&'a Entry> {
    let mut taken: BTreeSet<Txid> = BTreeSet::new();
    let mut skipped: BTreeSet<Txid> = BTreeSet::new();
    let mut chosen = Vec::new();
    let mut room = space.weight;
    loop {
        let candidates = all.iter().map(|entry| (entry.tx.compute_txid(), *entry));
        let best = candidates
            .filter(|(txid, _)| !taken.contains(txid) && !skipped.contains(txid))
            .map(|(txid, entry)| (txid, with_ancestors(mempool, entry, &taken)))
            .max_by_key(|(txid, package)| (package_rate(package), core::cmp::Reverse(*txid)));
        let Some((txid, package)) = best else { break };
        if package_rate(&package) < u128::from(space.min_fee) {
            break;
        }
        let weight: u64 = package.iter().map(|entry| entry.tx.weight().to_wu()).sum();
        match room.checked_sub(weight) {
            Some(left) => {
                room = left;
                taken.extend(package.iter().map(|entry| entry.tx.compute_txid()));
                chosen.extend(package);
            }
            None => {
                skipped.insert(txid);
            }
        }
    }
    chosen
}

/// `entry` behind those of its ancestors that are not `taken`, parents first.
fn with_ancestors<'a>(mempool: &'a Mempool, entry: &'a Entry, taken: &BTreeSet<Txid>) -> Vec<&'a Entry> {
    let mut seen = BTreeSet::new();
    let mut todo = vec![entry];
    let mut package = vec![entry];
    while let Some(next) = todo.pop() {
        for txid in mempool.parents(&next.tx) {
            if taken.contains(&txid) || !seen.insert(txid) {
                continue;
            }
            if let Some(parent) = mempool.get(&txid) {
                todo.push(parent);
                package.push(parent);
            }
        }
    }
    package.sort_unstable_by_key(|entry| entry.sequence);
    package
}

fn package_rate(package: &[&Entry]) -> u128 {
    rate(sums(package.iter().copied()))
}

/// A block with `transactions` whose coinbase pays all it may to `script`, with proof of work.
pub(crate) fn build(place: Place, script: &Script, transactions: Vec<Transaction>, fees: Amount) -> Block {
    let mut coinbase = coinbase(place, script, fees);
    let bits = genesis_block(Network::Regtest).header.bits;
    let header = Header {
        version: Version::from_consensus(0x2000_0000),
        prev_blockhash: place.previous,
        merkle_root: TxMerkleNode::all_zeros(),
        time: place.time,
        bits,
        nonce: 0,
    };
    let mut txdata = Vec::with_capacity(transactions.len().saturating_add(1));
    txdata.push(coinbase.clone());
    txdata.extend(transactions);
    let mut block = Block { header, txdata };
    // The witness root leaves the coinbase out, so it can be computed before the coinbase commits to it.
    if let Some(root) = block.witness_root() {
        let commitment = Block::compute_witness_commitment(&root, &[0; 32]);
        let mut bytes = COMMITMENT_MARK.to_vec();
        bytes.extend_from_slice(commitment.as_byte_array());
        coinbase.output.push(TxOut { value: Amount::ZERO, script_pubkey: ScriptBuf::from_bytes(bytes) });
        if let Some(first) = block.txdata.first_mut() {
            *first = coinbase;
        }
    }
    if let Some(root) = block.compute_merkle_root() {
        block.header.merkle_root = root;
    }
    work(&mut block.header);
    block
}

/// Finds a nonce; every second one does on regtest.
pub(crate) fn work(header: &mut Header) {
    let target = Target::from_compact(header.bits);
    while header.validate_pow(target).is_err() {
        header.nonce = header.nonce.wrapping_add(1);
    }
}

fn coinbase(place: Place, script: &Script, fees: Amount) -> Transaction {
    let mut script_sig = height_push(place.height).into_bytes();
    let serial = Builder::new().push_slice(place.serial.to_le_bytes()).into_script();
    script_sig.extend_from_slice(serial.as_bytes());
    let mut witness = Witness::new();
    witness.push([0; 32]);
    Transaction {
        version: TxVersion::TWO,
        lock_time: LockTime::ZERO,
        input: vec![TxIn {
            previous_output: OutPoint::null(),
            script_sig: ScriptBuf::from_bytes(script_sig),
            sequence: Sequence::MAX,
            witness,
        }],
        output: vec![TxOut {
            value: subsidy(place.height).checked_add(fees).unwrap_or(Amount::MAX_MONEY),
            script_pubkey: script.to_owned(),
        }],
    }
}
