//! Coins of the chain: pays for channels, with real signatures.
use std::collections::BTreeMap;

use bitcoin::absolute::LockTime;
use bitcoin::key::CompressedPublicKey;
use bitcoin::sighash::{EcdsaSighashType, SighashCache};
use bitcoin::transaction::Version;
use bitcoin::{Amount, OutPoint, Script, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Witness};
use lightning_chain_embedded::EmbeddedChain;
use secp256k1::{All, Message, Secp256k1, SecretKey};

/// What a funding transaction pays the miner: enough for any feerate of these runs.
const FEE: Amount = Amount::from_sat(50_000);
/// Blocks until a coinbase may be spent.
const MATURITY: u32 = 100;

/// A key that owns some coinbases.
#[derive(Clone)]
pub(crate) struct Bank {
    secp: Secp256k1<All>,
    key: SecretKey,
    coins: Vec<(OutPoint, TxOut)>,
    /// Coins that were spent.
    spent: BTreeMap<OutPoint, TxOut>,
}

impl Bank {
    /// Mines `count` coins and lets them mature.
    pub(crate) fn new(chain: &EmbeddedChain, count: u32) -> Self {
        let secp = Secp256k1::new();
        let key = SecretKey::from_slice(&[0xb0; 32]).unwrap();
        let mut bank = Self { secp, key, coins: Vec::new(), spent: BTreeMap::new() };
        let script = bank.script();
        chain.mine(count, &script);
        chain.mine(MATURITY, &nobody());
        bank.coins = (1..=count)
            .map(|height| {
                let coinbase = chain.block_at(height).unwrap().txdata[0].clone();
                (OutPoint { txid: coinbase.compute_txid(), vout: 0 }, coinbase.output[0].clone())
            })
            .collect();
        bank
    }

    /// How many coins are left.
    pub(crate) const fn coins(&self) -> usize {
        self.coins.len()
    }

    fn public(&self) -> CompressedPublicKey {
        CompressedPublicKey(self.key.public_key(&self.secp))
    }

    fn script(&self) -> ScriptBuf {
        ScriptBuf::new_p2wpkh(&self.public().wpubkey_hash())
    }

    /// A signed transaction with an output of `value` to `script`; what is left over comes back.
    pub(crate) fn fund(&mut self, value: Amount, script: &Script) -> Transaction {
        self.pay(vec![TxOut { value, script_pubkey: script.to_owned() }])
    }

    /// A signed transaction with these outputs first.
    pub(crate) fn pay(&mut self, outputs: Vec<TxOut>) -> Transaction {
        let coin = self.coins.pop().expect("the bank has coins for every channel");
        self.spent.insert(coin.0, coin.1.clone());
        self.spend(coin, outputs)
    }

    /// A transaction that spends the same coin as one of the bank's, to the bank itself.
    pub(crate) fn spend_otherwise(&self, transaction: &Transaction) -> Option<Transaction> {
        let outpoint = transaction.input.first()?.previous_output;
        let coin = self.spent.get(&outpoint)?;
        Some(self.spend((outpoint, coin.clone()), Vec::new()))
    }

    fn spend(&self, (outpoint, coin): (OutPoint, TxOut), mut outputs: Vec<TxOut>) -> Transaction {
        let change = coin.value - outputs.iter().map(|output| output.value).sum::<Amount>() - FEE;
        outputs.push(TxOut { value: change, script_pubkey: self.script() });
        let input = TxIn { previous_output: outpoint, sequence: Sequence::MAX, ..TxIn::default() };
        let mut transaction = Transaction {
            version: Version::TWO,
            lock_time: LockTime::ZERO,
            input: vec![input],
            output: outputs,
        };
        let sighash = SighashCache::new(&transaction)
            .p2wpkh_signature_hash(0, &coin.script_pubkey, coin.value, EcdsaSighashType::All)
            .unwrap();
        let signature = self.secp.sign_ecdsa(&Message::from(sighash), &self.key);
        let signature = bitcoin::ecdsa::Signature::sighash_all(signature);
        transaction.input[0].witness = Witness::p2wpkh(&signature, &self.public().0);
        transaction
    }
}

/// Where coinbases go that nobody needs.
pub(crate) fn nobody() -> ScriptBuf {
    ScriptBuf::new_p2wsh(&bitcoin::WScriptHash::from_raw_hash(bitcoin::hashes::Hash::all_zeros()))
}
