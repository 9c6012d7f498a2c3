//! The user's own confirmed coins, which pay the fees of what cannot pay its own.
//!
//! With anchors, second-stage HTLC transactions carry no fee (BOLT 3), so a claim needs an input of the user's wallet.
use alloc::vec::Vec;

use bitcoin::{Amount, OutPoint, ScriptBuf, Transaction, TxOut};

use crate::units::FeeratePerKw;

/// One confirmed output of the user's wallet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coin {
    /// Where it is.
    pub outpoint: OutPoint,
    /// What it is.
    pub output: TxOut,
    /// Upper bound of the weight of the input that spends it, witness included.
    pub input_weight: u64,
}

/// Coins set aside for one claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coins {
    /// The inputs to add.
    pub inputs: Vec<Coin>,
    /// Where what is left over goes.
    pub change: ScriptBuf,
}

/// Lends coins.
pub trait CoinSource {
    /// Sets aside confirmed coins for the claim of `claim` that are worth at least `needed` beyond what spending them
    /// costs at `feerate`. The same claim gets the same coins, or more, until it is released.
    fn reserve(&self, claim: OutPoint, needed: Amount, feerate: FeeratePerKw) -> Option<Coins>;

    /// These coins, which what is out for the claim spends, are lent to it, and what is left over goes to `change` if it says so.
    ///
    /// Said at a start, before anything is reserved, by whoever stored the claim: so a wallet need not store its loans, and no
    /// other claim, funding or payment gets coins that a transaction in the mempool spends. Coins that it does not know yet are
    /// promised all the same. Saying it again changes nothing; what was held for the claim before stays so.
    fn hold(&self, claim: OutPoint, coins: &[OutPoint], change: Option<ScriptBuf>);

    /// Signs those inputs of the transaction that are the wallet's; leaves the other witnesses as they are.
    fn sign(&self, transaction: Transaction) -> Option<Transaction>;

    /// The claim is settled: what it did not spend is free again.
    fn release(&self, claim: OutPoint);
}

/// No wallet: claims that need coins wait.
impl CoinSource for () {
    fn reserve(&self, _: OutPoint, _: Amount, _: FeeratePerKw) -> Option<Coins> {
        None
    }

    fn hold(&self, _: OutPoint, _: &[OutPoint], _: Option<ScriptBuf>) {}

    fn sign(&self, _: Transaction) -> Option<Transaction> {
        None
    }

    fn release(&self, _: OutPoint) {}
}
