//! A market for block space that only counts: no scripts, but weights, fees, replacements (BIP 125), parents with their children, and
//! others who buy whatever pays less than they do. For floods of transactions that are judged one by one elsewhere.
use std::collections::{BTreeMap, BTreeSet};

use bitcoin::{OutPoint, Transaction, Txid};

/// What a block holds: 1 MvB.
pub(crate) const BLOCK: u64 = 4_000_000;

struct Waiting {
    tx: Transaction,
    fee: u64,
    weight: u64,
}

/// A mempool and the miners behind it.
#[derive(Default)]
pub(crate) struct Space {
    /// Outputs that there are, or will be.
    values: BTreeMap<OutPoint, u64>,
    spent: BTreeMap<OutPoint, Txid>,
    waiting: BTreeMap<Txid, Waiting>,
    spenders: BTreeMap<OutPoint, Txid>,
    /// Fees that were paid.
    pub(crate) paid: u64,
    /// Offers that paid too little to take the place of another.
    pub(crate) refused: usize,
}

impl Space {
    pub(crate) fn grant(&mut self, outpoint: OutPoint, value: u64) {
        self.values.insert(outpoint, value);
    }

    /// What spent an output.
    pub(crate) fn spender(&self, outpoint: &OutPoint) -> Option<Txid> {
        self.spent.get(outpoint).copied()
    }

    /// A transaction is broadcast. What spends outputs that nobody knows, or that are gone, is not taken.
    pub(crate) fn offer(&mut self, tx: &Transaction) {
        let txid = tx.compute_txid();
        let inputs = || tx.input.iter().map(|input| input.previous_output);
        let brought: Option<u64> = inputs().map(|input| self.values.get(&input)).sum();
        let (Some(brought), false) = (brought, inputs().any(|input| self.spent.contains_key(&input))) else {
            return;
        };
        let fee = brought.checked_sub(out(tx)).expect("nobody makes money");
        let weight = tx.weight().to_wu();
        let rivals: BTreeSet<Txid> = inputs()
            .filter_map(|input| self.spenders.get(&input).copied())
            .filter(|rival| *rival != txid)
            .collect();
        let (mut fees, mut is_dearer) = (0, true);
        for rival in rivals.iter().map(|rival| &self.waiting[rival]) {
            fees += rival.fee;
            is_dearer &=
                u128::from(fee) * u128::from(rival.weight) > u128::from(rival.fee) * u128::from(weight);
        }
        if !(rivals.is_empty() || is_dearer && fee >= fees + weight.div_ceil(4)) {
            self.refused += 1;
            return;
        }
        rivals.iter().for_each(|rival| self.drop(rival));
        self.spenders.extend(inputs().map(|input| (input, txid)));
        let outputs = (0..).zip(&tx.output);
        self.values.extend(outputs.map(|(vout, output)| (OutPoint { txid, vout }, output.value.to_sat())));
        self.waiting.insert(txid, Waiting { tx: tx.clone(), fee, weight });
    }

    fn drop(&mut self, txid: &Txid) {
        let Some(gone) = self.waiting.remove(txid) else { return };
        for input in &gone.tx.input {
            self.spenders.remove(&input.previous_output);
        }
    }

    /// The transactions of the next block: what pays best, alone or with its child, as long as there is space and nobody else pays
    /// more; `others` is what they pay, in sat/kw.
    pub(crate) fn mine(&mut self, others: u64, mut space: u64) -> Vec<Transaction> {
        let mut packages: Vec<(u64, Vec<Txid>, u64)> = Vec::new();
        for (txid, waiting) in &self.waiting {
            if waiting.tx.input.iter().any(|input| self.waiting.contains_key(&input.previous_output.txid)) {
                continue;
            }
            let (mut fee, mut weight, mut group) = (waiting.fee, waiting.weight, vec![*txid]);
            for vout in 0..waiting.tx.output.len() as u32 {
                if let Some(child) = self.spenders.get(&OutPoint { txid: *txid, vout }) {
                    (fee, weight) = (fee + self.waiting[child].fee, weight + self.waiting[child].weight);
                    group.push(*child);
                }
            }
            packages.push((fee * 1_000 / weight, group, weight));
        }
        packages.sort_by_key(|(rate, group, _)| (core::cmp::Reverse(*rate), group[0]));
        let mut mined = Vec::new();
        for (rate, group, weight) in packages {
            if rate < others || weight > space {
                continue;
            }
            space -= weight;
            for txid in group {
                let Waiting { tx, fee, .. } = self.waiting.remove(&txid).unwrap();
                self.paid += fee;
                for input in &tx.input {
                    self.spenders.remove(&input.previous_output);
                    self.spent.insert(input.previous_output, txid);
                }
                mined.push(tx);
            }
        }
        mined
    }

    /// Transactions that somebody mined past the mempool.
    pub(crate) fn confirm(&mut self, transactions: &[Transaction]) {
        for tx in transactions {
            let txid = tx.compute_txid();
            for input in tx.input.iter().map(|input| input.previous_output) {
                if let Some(rival) = self.spenders.get(&input).copied() {
                    self.drop(&rival);
                }
                self.spent.insert(input, txid);
            }
            let outputs = (0..).zip(&tx.output);
            self.values
                .extend(outputs.map(|(vout, output)| (OutPoint { txid, vout }, output.value.to_sat())));
        }
    }
}

fn out(tx: &Transaction) -> u64 {
    tx.output.iter().map(|output| output.value.to_sat()).sum()
}
