//! A node's own coins, which pay for claims on chain.
use std::cell::RefCell;
use std::collections::BTreeMap;

use bitcoin::key::CompressedPublicKey;
use bitcoin::sighash::{EcdsaSighashType, SighashCache};
use bitcoin::{Amount, OutPoint, ScriptBuf, Transaction, TxOut, Witness};
use lightning_chain_embedded::EmbeddedChain;
use lightning_traits::interface::{Coin, CoinSource, Coins};
use lightning_traits::units::FeeratePerKw;
use secp256k1::{All, Message, Secp256k1, SecretKey};

/// An input with a signature and a key: 4 * 41 + 108, rounded up.
const INPUT_WEIGHT: u64 = 273;

/// The coins of one node: whatever the chain holds for its key.
pub(crate) struct SimCoins {
    chain: EmbeddedChain,
    secp: Secp256k1<All>,
    key: SecretKey,
    lent: RefCell<BTreeMap<OutPoint, Vec<OutPoint>>>,
}

impl SimCoins {
    pub(crate) fn new(number: usize, chain: &EmbeddedChain) -> Self {
        Self::with_key(0xc0 + number as u8, chain)
    }

    /// Those of somebody else.
    pub(crate) fn with_key(byte: u8, chain: &EmbeddedChain) -> Self {
        let key = SecretKey::from_slice(&[byte; 32]).unwrap();
        Self { chain: chain.clone(), secp: Secp256k1::new(), key, lent: RefCell::default() }
    }

    fn public(&self) -> CompressedPublicKey {
        CompressedPublicKey(self.key.public_key(&self.secp))
    }

    /// Where the coins are.
    pub(crate) fn script(&self) -> ScriptBuf {
        ScriptBuf::new_p2wpkh(&self.public().wpubkey_hash())
    }

    /// A restart forgets what was lent, until the monitors say it again.
    pub(crate) fn crash(&self) {
        self.lent.borrow_mut().clear();
    }

    fn coins(&self) -> Vec<(OutPoint, TxOut)> {
        let mut coins = outputs(&self.chain, &self.script());
        coins.sort_by_key(|(outpoint, output)| (core::cmp::Reverse(output.value), *outpoint));
        coins
    }
}

/// Unspent confirmed outputs of a script.
pub(crate) fn outputs(chain: &EmbeddedChain, script: &ScriptBuf) -> Vec<(OutPoint, TxOut)> {
    let mut found = Vec::new();
    for height in 0..=chain.height() {
        let block = chain.block_at(height).unwrap();
        for transaction in block.txdata.iter().filter(|t| t.output.iter().any(|o| o.script_pubkey == *script))
        {
            let txid = transaction.compute_txid();
            for (vout, output) in transaction.output.iter().enumerate() {
                let outpoint = OutPoint { txid, vout: vout as u32 };
                if output.script_pubkey == *script && chain.utxo(&outpoint).is_some() {
                    found.push((outpoint, output.clone()));
                }
            }
        }
    }
    found
}

impl CoinSource for SimCoins {
    fn reserve(&self, claim: OutPoint, needed: Amount, feerate: FeeratePerKw) -> Option<Coins> {
        let mut lent = self.lent.borrow_mut();
        // What a confirmed transaction spent is no help any more.
        let still = |outpoint: &OutPoint| {
            let output = self.chain.utxo(outpoint)?.output;
            Some(Coin { outpoint: *outpoint, output, input_weight: INPUT_WEIGHT })
        };
        let mut inputs: Vec<Coin> = lent.get(&claim).into_iter().flatten().filter_map(still).collect();
        let worth =
            |coin: &Coin| coin.output.value.checked_sub(feerate.fee(INPUT_WEIGHT)).unwrap_or(Amount::ZERO);
        let mut sum: Amount = inputs.iter().map(worth).sum();
        for (outpoint, output) in self.coins() {
            let is_lent = lent.values().flatten().any(|coin| *coin == outpoint);
            if sum >= needed {
                break;
            }
            if !is_lent && self.chain.mempool_spender(&outpoint).is_none() {
                let coin = Coin { outpoint, output, input_weight: INPUT_WEIGHT };
                sum += worth(&coin);
                inputs.push(coin);
            }
        }
        if sum < needed {
            return None;
        }
        lent.insert(claim, inputs.iter().map(|coin| coin.outpoint).collect());
        Some(Coins { inputs, change: self.script() })
    }

    fn hold(&self, claim: OutPoint, coins: &[OutPoint], _: Option<ScriptBuf>) {
        let mut lent = self.lent.borrow_mut();
        let held = lent.entry(claim).or_default();
        held.extend(coins.iter().filter(|coin| self.chain.utxo(coin).is_some()));
        held.sort_unstable();
        held.dedup();
    }

    fn sign(&self, mut transaction: Transaction) -> Option<Transaction> {
        let script = self.script();
        let mut witnesses = Vec::new();
        for (index, input) in transaction.input.iter().enumerate() {
            let coin =
                self.chain.utxo(&input.previous_output).filter(|coin| coin.output.script_pubkey == script);
            let Some(coin) = coin else { continue };
            let sighash = SighashCache::new(&transaction)
                .p2wpkh_signature_hash(index, &script, coin.output.value, EcdsaSighashType::All)
                .ok()?;
            let signature = self.secp.sign_ecdsa_low_r(&Message::from(sighash), &self.key);
            let signature = bitcoin::ecdsa::Signature::sighash_all(signature);
            witnesses.push((index, Witness::p2wpkh(&signature, &self.public().0)));
        }
        for (index, witness) in witnesses {
            transaction.input[index].witness = witness;
        }
        Some(transaction)
    }

    fn release(&self, claim: OutPoint) {
        self.lent.borrow_mut().remove(&claim);
    }
}
