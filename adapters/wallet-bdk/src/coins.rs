//! Lending confirmed coins to claims that cannot pay their own fees.
//!
//! BOLT 3: with anchors, second-stage HTLC transactions carry no fee, and a commitment transaction may need a child
//! that pays for it. Such claims are made by the monitor, which signs its own inputs and asks here for the rest.
use bdk_wallet::KeychainKind;
use bitcoin::secp256k1::Message;
use bitcoin::sighash::{EcdsaSighashType, SighashCache};
use bitcoin::{Amount, OutPoint, ScriptBuf, Transaction, TxOut, Witness};
use lightning_traits::interface::{Coin, CoinSource, Coins};
use lightning_traits::units::FeeratePerKw;

use crate::error::WalletError;
use crate::wallet::{Loan, OnchainWallet, State};

/// A P2WPKH input: 41 bytes that count four times, and a witness of a count, a signature of at most 72 bytes with
/// its length, and a key of 33 with its own.
pub(crate) const INPUT_WEIGHT: u64 = 41 * 4 + 1 + 1 + 72 + 1 + 33;
const COINBASE_MATURITY: u32 = 100;

impl CoinSource for OnchainWallet {
    fn reserve(&self, claim: OutPoint, needed: Amount, feerate: FeeratePerKw) -> Option<Coins> {
        let mut state = self.state.lock();
        let free = state.free_coins();
        let Loan { coins: before, change } = state.lent.get(&claim).cloned().unwrap_or_default();
        // What is gone for good is no help any more; an unconfirmed spend may be the claim itself, to be replaced.
        let mut inputs: Vec<Coin> = before.iter().filter_map(|coin| state.lent_coin(*coin)).collect();
        let spend = feerate.fee(INPUT_WEIGHT);
        let worth = |coin: &Coin| coin.output.value.checked_sub(spend).unwrap_or(Amount::ZERO);
        let mut sum = inputs.iter().map(worth).fold(Amount::ZERO, add);
        // The largest first: few inputs, small transactions.
        for coin in free {
            if sum >= needed {
                break;
            }
            // A coin that costs what it is worth only adds weight; so would all that are smaller.
            if worth(&coin) == Amount::ZERO {
                break;
            }
            sum = add(sum, worth(&coin));
            inputs.push(coin);
        }
        if sum < needed {
            return None;
        }
        let change = change
            .unwrap_or_else(|| state.bdk.reveal_next_address(KeychainKind::Internal).address.script_pubkey());
        // What the wallet has not seen yet stays promised: the claim that is out spends it.
        let unseen = before.into_iter().filter(|coin| !state.is_known(coin));
        let coins = inputs.iter().map(|coin| coin.outpoint).chain(unseen).collect();
        state.lent.insert(claim, Loan { coins, change: Some(change.clone()) });
        Some(Coins { inputs, change })
    }

    fn hold(&self, claim: OutPoint, coins: &[OutPoint], change: Option<ScriptBuf>) {
        let mut state = self.state.lock();
        // Change that went elsewhere, by a wallet of another seed, comes home from now on.
        let change = change.filter(|script| state.bdk.is_mine(script.clone()));
        let loan = state.lent.entry(claim).or_default();
        let new: Vec<OutPoint> = coins.iter().filter(|coin| !loan.coins.contains(coin)).copied().collect();
        loan.coins.extend(new);
        loan.change = loan.change.take().or(change);
    }

    fn sign(&self, transaction: Transaction) -> Option<Transaction> {
        self.sign_own(&self.state.lock(), transaction).ok()
    }

    fn release(&self, claim: OutPoint) {
        self.state.lock().lent.remove(&claim);
    }
}

impl OnchainWallet {
    /// Signs the inputs that spend the wallet's outputs, and leaves the others as they are.
    pub(crate) fn sign_own(
        &self,
        state: &State,
        mut transaction: Transaction,
    ) -> Result<Transaction, WalletError> {
        let mut witnesses = Vec::new();
        for (index, input) in transaction.input.iter().enumerate() {
            // Spent ones count too: a claim may be signed again after it was seen.
            let output = state.bdk.tx_graph().get_txout(input.previous_output);
            let place = output.and_then(|output| state.bdk.derivation_of_spk(output.script_pubkey.clone()));
            witnesses.push(match (output, place) {
                (Some(output), Some(place)) => {
                    Some(self.witness(state, &transaction, index, output, place)?)
                }
                _ => None,
            });
        }
        for (input, witness) in transaction.input.iter_mut().zip(witnesses) {
            if let Some(witness) = witness {
                input.witness = witness;
            }
        }
        Ok(transaction)
    }

    fn witness(
        &self,
        state: &State,
        transaction: &Transaction,
        index: usize,
        spent: &TxOut,
        place: (KeychainKind, u32),
    ) -> Result<Witness, WalletError> {
        let secret = state.keys.secret(&self.secp, place.0, place.1)?;
        let hash = SighashCache::new(transaction)
            .p2wpkh_signature_hash(index, &spent.script_pubkey, spent.value, EcdsaSighashType::All)
            .map_err(|error| WalletError::Library(error.to_string()))?;
        let signature = self.secp.sign_ecdsa_low_r(&Message::from(hash), &secret);
        let signature = bitcoin::ecdsa::Signature { signature, sighash_type: EcdsaSighashType::All };
        Ok(Witness::p2wpkh(&signature, &secret.public_key(&self.secp)))
    }
}

impl State {
    /// A coin that was lent, if it can still be spent.
    fn lent_coin(&self, outpoint: OutPoint) -> Option<Coin> {
        let output = self.bdk.tx_graph().get_txout(outpoint).filter(|_| !self.is_gone(&outpoint))?.clone();
        Some(Coin { outpoint, output, input_weight: INPUT_WEIGHT })
    }

    fn is_known(&self, outpoint: &OutPoint) -> bool {
        self.bdk.tx_graph().get_txout(*outpoint).is_some()
    }

    /// Whether a confirmed transaction spends the coin, or its own transaction is confirmed no more.
    fn is_gone(&self, coin: &OutPoint) -> bool {
        let confirmed = |txid| self.bdk.get_tx(txid).is_some_and(|tx| tx.chain_position.is_confirmed());
        !confirmed(coin.txid) || self.bdk.tx_graph().outspends(*coin).iter().any(|txid| confirmed(*txid))
    }

    /// Confirmed, ripe and promised to nobody; the largest first.
    fn free_coins(&self) -> Vec<Coin> {
        let tip = self.bdk.latest_checkpoint().height();
        let mut free: Vec<Coin> = self
            .coins()
            .filter(|coin| !coin.reserved)
            .filter(|coin| {
                coin.confirmed_at.is_some_and(|height| {
                    let coinbase =
                        self.bdk.get_tx(coin.outpoint.txid).is_some_and(|tx| tx.tx_node.tx.is_coinbase());
                    !coinbase || tip.saturating_add(1).saturating_sub(height) >= COINBASE_MATURITY
                })
            })
            .map(|coin| Coin { outpoint: coin.outpoint, output: coin.output, input_weight: INPUT_WEIGHT })
            .collect();
        free.sort_by(|a, b| b.output.value.cmp(&a.output.value).then(a.outpoint.cmp(&b.outpoint)));
        free
    }
}

fn add(sum: Amount, value: Amount) -> Amount {
    sum.checked_add(value).unwrap_or(Amount::MAX_MONEY)
}
