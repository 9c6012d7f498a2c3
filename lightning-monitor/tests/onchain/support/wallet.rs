//! The user's coins: P2WPKH outputs on the chain, lent to claims.
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};

use bitcoin::hashes::Hash as _;
use bitcoin::sighash::SighashCache;
use bitcoin::{
    Amount, EcdsaSighashType, OutPoint, ScriptBuf, Transaction, TxOut, Txid, WPubkeyHash, Witness, ecdsa,
};
use lightning_traits::interface::{Coin, CoinSource, Coins};
use lightning_traits::units::FeeratePerKw;
use secp256k1::{Message, Secp256k1, SecretKey};

#[derive(Default)]
pub(crate) struct Wallet {
    state: RefCell<State>,
    /// While set, it signs nothing.
    pub(crate) locked: Cell<bool>,
}

#[derive(Default)]
struct State {
    coins: BTreeMap<OutPoint, TxOut>,
    /// Those of them that are lent to nobody.
    free: BTreeSet<OutPoint>,
    lent: BTreeMap<OutPoint, BTreeSet<OutPoint>>,
    released: Vec<OutPoint>,
    /// Whether anything was lent since the last start.
    has_lent_since: bool,
}

impl State {
    fn add(&mut self, outpoint: OutPoint, output: TxOut) {
        self.coins.insert(outpoint, output);
        if !self.lent.values().any(|lent| lent.contains(&outpoint)) {
            self.free.insert(outpoint);
        }
    }

    fn count_free(&mut self) {
        let lent: BTreeSet<&OutPoint> = self.lent.values().flatten().collect();
        self.free = self.coins.keys().filter(|coin| !lent.contains(coin)).copied().collect();
    }
}

fn key() -> SecretKey {
    SecretKey::from_slice(&[0x77; 32]).unwrap()
}

/// The wallet's script; its change goes there too.
pub(crate) fn script() -> ScriptBuf {
    let public = bitcoin::CompressedPublicKey(key().public_key(&Secp256k1::new()));
    ScriptBuf::new_p2wpkh(&WPubkeyHash::hash(&public.to_bytes()))
}

impl Wallet {
    /// Gives the wallet a coin; it must be put on the chain too.
    pub(crate) fn fill(&self, number: u32, value: u64) -> (OutPoint, TxOut) {
        let outpoint = OutPoint { txid: Txid::from_byte_array([0xc0; 32]), vout: number };
        let output = TxOut { value: Amount::from_sat(value), script_pubkey: script() };
        self.state.borrow_mut().add(outpoint, output.clone());
        (outpoint, output)
    }

    /// A block with these transactions was mined.
    pub(crate) fn mined(&self, transactions: &[Transaction]) {
        let mut state = self.state.borrow_mut();
        for tx in transactions {
            for input in &tx.input {
                state.coins.remove(&input.previous_output);
                state.free.remove(&input.previous_output);
            }
            let txid = tx.compute_txid();
            for (vout, output) in (0..).zip(&tx.output) {
                if output.script_pubkey == script() {
                    state.add(OutPoint { txid, vout }, output.clone());
                }
            }
        }
    }

    /// A block was taken back: these coins, and no others, are on the chain now.
    pub(crate) fn reorganised(&self, coins: BTreeMap<OutPoint, TxOut>) {
        let mut state = self.state.borrow_mut();
        state.coins = coins;
        state.count_free();
    }

    /// The process starts again: what was lent is not stored.
    pub(crate) fn restart(&self) {
        let mut state = self.state.borrow_mut();
        state.lent.clear();
        state.count_free();
        state.has_lent_since = false;
    }

    /// The coins that are lent, by the claim.
    pub(crate) fn coins_lent(&self) -> BTreeMap<OutPoint, BTreeSet<OutPoint>> {
        self.state.borrow().lent.clone()
    }

    /// Claims for which coins are set aside.
    pub(crate) fn lent(&self) -> BTreeSet<OutPoint> {
        self.state.borrow().lent.keys().copied().collect()
    }

    pub(crate) fn released(&self) -> Vec<OutPoint> {
        self.state.borrow().released.clone()
    }
}

impl CoinSource for Wallet {
    fn reserve(&self, claim: OutPoint, needed: Amount, feerate: FeeratePerKw) -> Option<Coins> {
        let mut state = self.state.borrow_mut();
        let State { coins, free, lent, .. } = &mut *state;
        // Outpoint 36, empty script 1, sequence 4; count 1, signature 1 + 72, key 1 + 33.
        let input_weight = 4 * 41 + 108;
        let worth = |value: Amount| value.to_sat().saturating_sub(feerate.fee(input_weight).to_sat());
        let mut chosen = lent.get(&claim).cloned().unwrap_or_default();
        chosen.retain(|coin| coins.contains_key(coin));
        let mut total: u64 = chosen.iter().map(|coin| worth(coins[coin].value)).sum();
        let mut more = Vec::new();
        for coin in free.iter() {
            if total >= needed.to_sat() {
                break;
            }
            total += worth(coins[coin].value);
            more.push(*coin);
        }
        if total < needed.to_sat() {
            return None;
        }
        more.iter().for_each(|coin| {
            free.remove(coin);
        });
        chosen.extend(more);
        let inputs = chosen
            .iter()
            .map(|coin| Coin { outpoint: *coin, output: coins[coin].clone(), input_weight })
            .collect();
        lent.insert(claim, chosen);
        state.has_lent_since = true;
        Some(Coins { inputs, change: script() })
    }

    fn hold(&self, claim: OutPoint, coins: &[OutPoint], change: Option<ScriptBuf>) {
        assert!(change.is_none_or(|change| change == script()), "the change is the wallet's");
        let mut state = self.state.borrow_mut();
        assert!(!state.has_lent_since, "said before anything is asked for");
        state.lent.entry(claim).or_default().extend(coins);
        coins.iter().for_each(|coin| {
            state.free.remove(coin);
        });
    }

    fn sign(&self, mut transaction: Transaction) -> Option<Transaction> {
        if self.locked.get() {
            return None;
        }
        let state = self.state.borrow();
        let secp = Secp256k1::new();
        let mut cache = SighashCache::new(transaction.clone());
        for index in 0..transaction.input.len() {
            let Some(coin) = state.coins.get(&transaction.input[index].previous_output) else { continue };
            let kind = EcdsaSighashType::All;
            let digest = cache.p2wpkh_signature_hash(index, &coin.script_pubkey, coin.value, kind).unwrap();
            let signature = secp.sign_ecdsa(&Message::from(digest), &key());
            let signature = ecdsa::Signature { signature, sighash_type: kind };
            transaction.input[index].witness = Witness::p2wpkh(&signature, &key().public_key(&secp));
        }
        Some(transaction)
    }

    fn release(&self, claim: OutPoint) {
        let mut state = self.state.borrow_mut();
        let back = state.lent.remove(&claim).unwrap_or_default();
        let back: Vec<OutPoint> = back.into_iter().filter(|coin| state.coins.contains_key(coin)).collect();
        state.free.extend(back);
        state.released.push(claim);
    }
}
