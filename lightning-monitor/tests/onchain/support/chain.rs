//! A chain of its own rules: every transaction that is offered must be valid in the next block, by Bitcoin Core's script
//! interpreter, by lock times and by BIP 68, and everything but a commitment must pay at least 1 sat/vB.
use std::collections::BTreeMap;

use bitcoin::absolute::LockTime;
use bitcoin::block::{Header, Version};
use bitcoin::hashes::Hash as _;
use bitcoin::{
    Amount, Block, BlockHash, CompactTarget, OutPoint, Transaction, TxMerkleNode, TxOut, Txid, Weight,
};

use super::world::shown;

/// An unspent output with the height of its block.
#[derive(Clone, Debug)]
pub(crate) struct Coin {
    pub(crate) output: TxOut,
    pub(crate) height: u32,
}

/// A block and what it undid.
#[derive(Clone, Debug)]
pub(crate) struct Mined {
    pub(crate) block: Block,
    spent: Vec<(OutPoint, Coin)>,
}

/// Why a transaction may not be in the next block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reject {
    /// An input is spent already, or never was.
    MissingInput(OutPoint),
    /// Its lock time or a sequence says later.
    Premature,
    /// A script says no.
    Script(usize, String),
    /// More out than in, or less than nothing paid.
    Fee(String),
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Chain {
    pub(crate) coins: BTreeMap<OutPoint, Coin>,
    pub(crate) blocks: Vec<Mined>,
    /// Fee of every transaction ever mined.
    pub(crate) fees: BTreeMap<Txid, Amount>,
    salt: u32,
}

/// The height of the first block.
pub(crate) const BASE: u32 = 700_000;

impl Chain {
    /// The height of the tip.
    pub(crate) fn height(&self) -> u32 {
        BASE + self.blocks.len() as u32 - 1
    }

    pub(crate) fn tip_hash(&self) -> BlockHash {
        self.blocks.last().map_or(BlockHash::all_zeros(), |mined| mined.block.block_hash())
    }

    /// Puts a coin on the chain out of nowhere.
    pub(crate) fn grant(&mut self, outpoint: OutPoint, output: TxOut) {
        let height = BASE + self.blocks.len() as u32;
        self.coins.insert(outpoint, Coin { output, height });
    }

    /// Whether the transaction may be in the next block; its fee.
    pub(crate) fn check(&self, tx: &Transaction) -> Result<Amount, Reject> {
        self.check_behind(tx, &BTreeMap::new())
    }

    /// The same behind transactions that wait for the same block.
    pub(crate) fn check_behind(
        &self,
        tx: &Transaction,
        waiting: &BTreeMap<Txid, Transaction>,
    ) -> Result<Amount, Reject> {
        let next = BASE + self.blocks.len() as u32;
        let mut coins = Vec::new();
        for input in &tx.input {
            let place = input.previous_output;
            let output = waiting.get(&place.txid).and_then(|tx| tx.output.get(place.vout as usize));
            let coin = match self.coins.get(&place) {
                Some(coin) => Some(coin.clone()),
                None => output.map(|output| Coin { output: output.clone(), height: next }),
            };
            coins.push(coin.ok_or(Reject::MissingInput(place))?);
        }
        let is_final = tx.input.iter().all(|input| input.sequence.is_final());
        let reached = match tx.lock_time {
            LockTime::Blocks(height) => height.to_consensus_u32() < next,
            // A commitment's number lies in 1987: long past.
            LockTime::Seconds(time) => time.to_consensus_u32() < 1_600_000_000,
        };
        let mature = |(input, coin): (&bitcoin::TxIn, &Coin)| {
            let sequence = input.sequence;
            !sequence.is_height_locked() || coin.height + (sequence.0 & 0xffff) <= next
        };
        if !(is_final || reached) || tx.version.0 < 2 || !tx.input.iter().zip(&coins).all(mature) {
            return Err(Reject::Premature);
        }
        let bytes = bitcoin::consensus::serialize(tx);
        for (index, coin) in coins.iter().enumerate() {
            let (script, value) = (coin.output.script_pubkey.as_bytes(), coin.output.value.to_sat());
            let flags = bitcoinconsensus::VERIFY_ALL_PRE_TAPROOT;
            bitcoinconsensus::verify_with_flags(script, value, &bytes, None, index, flags)
                .map_err(|error| Reject::Script(index, format!("{error:?}")))?;
        }
        let paid: Amount = coins.iter().map(|coin| coin.output.value).sum();
        let out: Amount = tx.output.iter().map(|output| output.value).sum();
        paid.checked_sub(out).ok_or_else(|| Reject::Fee(format!("{paid} in, {out} out")))
    }

    /// Mines a block with these transactions, in this order; each must be valid.
    pub(crate) fn mine(&mut self, transactions: Vec<Transaction>) -> Block {
        let height = BASE + self.blocks.len() as u32;
        let mut spent = Vec::new();
        for tx in &transactions {
            let fee =
                self.check(tx).unwrap_or_else(|reject| panic!("block {height}: {reject:?}: {}", shown(tx)));
            let txid = tx.compute_txid();
            self.fees.insert(txid, fee);
            for input in &tx.input {
                let coin = self.coins.remove(&input.previous_output).unwrap();
                spent.push((input.previous_output, coin));
            }
            for (vout, output) in (0..).zip(&tx.output) {
                self.coins.insert(OutPoint { txid, vout }, Coin { output: output.clone(), height });
            }
        }
        self.salt += 1;
        let header = Header {
            version: Version::TWO,
            prev_blockhash: self.tip_hash(),
            merkle_root: TxMerkleNode::all_zeros(),
            time: 1_700_000_000,
            bits: CompactTarget::from_consensus(0),
            nonce: self.salt,
        };
        let block = Block { header, txdata: transactions };
        self.blocks.push(Mined { block: block.clone(), spent });
        block
    }

    /// Takes the tip back; its block and height.
    pub(crate) fn disconnect(&mut self) -> (Block, u32) {
        let height = self.height();
        let Mined { block, spent } = self.blocks.pop().unwrap();
        for tx in &block.txdata {
            let txid = tx.compute_txid();
            self.coins.retain(|outpoint, _| outpoint.txid != txid);
        }
        let created: Vec<Txid> = block.txdata.iter().map(Transaction::compute_txid).collect();
        self.coins.extend(spent.into_iter().filter(|(outpoint, _)| !created.contains(&outpoint.txid)));
        (block, height)
    }

    /// What spends the outpoint in some block.
    pub(crate) fn spender(&self, outpoint: OutPoint) -> Option<&Transaction> {
        let all = self.blocks.iter().flat_map(|mined| &mined.block.txdata);
        let mut all = all.into_iter();
        all.find(|tx| tx.input.iter().any(|input| input.previous_output == outpoint))
    }
}

/// Whether the fee is at least 1 sat/vB.
pub(crate) fn relays(tx: &Transaction, fee: Amount) -> bool {
    fee.to_sat() >= tx.weight().to_vbytes_ceil() && tx.weight() < Weight::from_wu(400_000)
}
