//! Transactions that wait for a block: who may come in, and who goes for it.
//!
//! One rule book for single transactions and packages: a *group* (one transaction, or parents with the
//! child that pays for them) is judged by its summed fee and size, and enters as a whole or not at all.
//! Replacement is by BIP 125 without its opt-in (full RBF), limits for version 3 by BIP 431. What
//! a full mempool lets go of is told by who fills it (`trim`): the few transactions of a test never do.
//!
//! # Invariants
//! - every entry is valid for the next block, given the entries before it
//! - no two entries spend the same coin; `spenders` names the one that does
//! - a refused group changes nothing (I5)
use std::collections::{BTreeMap, BTreeSet};

use bitcoin::{Amount, OutPoint, Transaction, Txid};

use crate::check::{self, Coin};
use crate::ledger::Ledger;
use crate::policy::{self, Policy, fee_at, vsize};
use crate::reject::RejectReason;

/// Most transactions that one replacement may evict (BIP 125 rule 5).
const MAX_REPLACED: usize = 100;
/// A version 3 child of an unconfirmed parent has at most this many virtual bytes (BIP 431).
const TRUC_CHILD_MAX_VSIZE: u64 = 1000;

/// A waiting transaction.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The transaction.
    pub tx: Transaction,
    /// What it pays.
    pub fee: Amount,
    /// Its virtual size.
    pub vsize: u64,
    /// Order of arrival; parents arrive before children.
    pub sequence: u64,
}

/// A group that may enter, and what must go for it.
#[derive(Debug)]
pub(crate) struct Admission {
    entries: Vec<Entry>,
    evicted: BTreeSet<Txid>,
}

impl Admission {
    /// Fee and virtual size of each transaction of the group, in order.
    pub(crate) fn costs(&self) -> impl Iterator<Item = (Amount, u64)> + '_ {
        self.entries.iter().map(|entry| (entry.fee, entry.vsize))
    }
}

/// A refusal and which transaction of the group it concerns.
pub(crate) type Refused = (usize, RejectReason);

#[derive(Clone, Debug, Default)]
pub(crate) struct Mempool {
    entries: BTreeMap<Txid, Entry>,
    spenders: BTreeMap<OutPoint, Txid>,
    next_sequence: u64,
}

impl Mempool {
    pub(crate) fn get(&self, txid: &Txid) -> Option<&Entry> {
        self.entries.get(txid)
    }

    pub(crate) fn spender(&self, outpoint: &OutPoint) -> Option<Txid> {
        self.spenders.get(outpoint).copied()
    }

    /// All entries, parents before children.
    pub(crate) fn in_order(&self) -> Vec<&Entry> {
        let mut all: Vec<&Entry> = self.entries.values().collect();
        all.sort_unstable_by_key(|entry| entry.sequence);
        all
    }

    /// Judges `group`, parents first. Changes nothing.
    pub(crate) fn judge(
        &self,
        group: &[&Transaction],
        ledger: &Ledger,
        rules: &Policy,
    ) -> Result<Admission, Refused> {
        let mut entries: Vec<Entry> = Vec::with_capacity(group.len());
        let mut dust_parents: BTreeMap<OutPoint, usize> = BTreeMap::new();
        for (index, tx) in group.iter().enumerate() {
            let at = |reason| (index, reason);
            let (fee, dust) = self.judge_alone(tx, &entries, ledger, rules).map_err(at)?;
            for output in dust {
                // An output below dust is tolerated only if nothing is earned by it and the child takes it along.
                let last = index.saturating_add(1) == group.len();
                if rules.relay_dust {
                    continue;
                }
                if last || fee > Amount::ZERO || dust_parents.values().any(|parent| *parent == index) {
                    return Err(at(dust_reason(tx, output)));
                }
                let vout = u32::try_from(output).unwrap_or(u32::MAX);
                dust_parents.insert(OutPoint { txid: tx.compute_txid(), vout }, index);
            }
            let entry = Entry { tx: (*tx).clone(), fee, vsize: vsize(tx), sequence: u64::MAX };
            entries.push(entry);
        }
        let child = group.len().saturating_sub(1);
        check_disjoint(&entries).map_err(|reason| (child, reason))?;
        check_ephemeral(&entries, &dust_parents).map_err(|reason| (child, reason))?;
        let evicted = self.conflicts_of(&entries);
        self.check_chains(&entries, &evicted, rules).map_err(|reason| (child, reason))?;
        check_relay_fee(&entries, rules).map_err(|reason| (child, reason))?;
        self.check_replacement(&entries, &evicted, rules).map_err(|reason| (child, reason))?;
        for (index, entry) in entries.iter().enumerate() {
            let coins = self.coins_of(&entry.tx, entries.get(..index).unwrap_or_default(), ledger);
            let coins = coins.map_err(|reason| (index, reason))?;
            check::scripts(&entry.tx, &coins).map_err(|reason| (index, reason))?;
        }
        Ok(Admission { entries, evicted })
    }

    /// Lets a judged group in and answers what was evicted.
    pub(crate) fn admit(&mut self, admission: Admission) -> Vec<Transaction> {
        let evicted = admission.evicted.iter().filter_map(|txid| self.remove(txid)).collect();
        for mut entry in admission.entries {
            entry.sequence = self.next_sequence;
            self.next_sequence = self.next_sequence.saturating_add(1);
            let txid = entry.tx.compute_txid();
            for input in &entry.tx.input {
                self.spenders.insert(input.previous_output, txid);
            }
            self.entries.insert(txid, entry);
        }
        evicted
    }

    /// After a block: what it confirms leaves, and so does what it makes impossible, descendants included.
    pub(crate) fn on_connected(&mut self, confirmed: &[Transaction]) {
        for tx in confirmed {
            self.remove(&tx.compute_txid());
        }
        for input in confirmed.iter().flat_map(|tx| &tx.input) {
            if let Some(txid) = self.spender(&input.previous_output) {
                self.remove_with_descendants(txid);
            }
        }
    }

    /// Empties the mempool, parents before children, for a caller who offers all again on another tip.
    pub(crate) fn drain(&mut self) -> Vec<Transaction> {
        let all = self.in_order().into_iter().map(|entry| entry.tx.clone()).collect();
        self.entries.clear();
        self.spenders.clear();
        all
    }

    /// Takes out `txid` with all that builds on it.
    pub(crate) fn remove_with_descendants(&mut self, txid: Txid) {
        for descendant in self.descendants(txid) {
            self.remove(&descendant);
        }
    }

    fn remove(&mut self, txid: &Txid) -> Option<Transaction> {
        let entry = self.entries.remove(txid)?;
        for input in &entry.tx.input {
            self.spenders.remove(&input.previous_output);
        }
        Some(entry.tx)
    }

    /// Rules that concern `tx` and its coins, but neither the fees nor the others. Answers fee and dust outputs.
    fn judge_alone(
        &self,
        tx: &Transaction,
        earlier: &[Entry],
        ledger: &Ledger,
        rules: &Policy,
    ) -> Result<(Amount, Vec<usize>), RejectReason> {
        check::shape(tx)?;
        if tx.is_coinbase() {
            return Err(RejectReason::Malformed("coinbase"));
        }
        let dust = policy::standard(tx, rules)?;
        let txid = tx.compute_txid();
        if ledger.has_unspent_output_of(txid) {
            return Err(RejectReason::AlreadyConfirmed);
        }
        if let Some(entry) = self.entries.get(&txid) {
            let same = entry.tx.compute_wtxid() == tx.compute_wtxid();
            return Err(if same { RejectReason::AlreadyInMempool } else { RejectReason::SameNonWitnessData });
        }
        check::is_final(tx, ledger.next())?;
        let coins = self.coins_of(tx, earlier, ledger)?;
        check::sequence_locks(tx, &coins, ledger.next())?;
        let fee = check::fee(tx, &coins, ledger.next())?;
        policy::standard_inputs(tx, &coins)?;
        Ok((fee, dust))
    }

    /// The coins of `tx`: confirmed, waiting, or made by `earlier` members of its group.
    fn coins_of(
        &self,
        tx: &Transaction,
        earlier: &[Entry],
        ledger: &Ledger,
    ) -> Result<Vec<Coin>, RejectReason> {
        let height = ledger.next().height;
        tx.input
            .iter()
            .map(|input| {
                let outpoint = input.previous_output;
                if let Some(coin) = ledger.coin(&outpoint) {
                    return Ok(coin.clone());
                }
                let parent = self.entries.get(&outpoint.txid).map(|entry| &entry.tx).or_else(|| {
                    earlier.iter().map(|entry| &entry.tx).find(|tx| tx.compute_txid() == outpoint.txid)
                });
                parent
                    .and_then(|tx| tx.output.get(usize::try_from(outpoint.vout).ok()?))
                    .map(|output| Coin { output: output.clone(), height, coinbase: false })
                    .ok_or(RejectReason::MissingOrSpent(outpoint))
            })
            .collect()
    }

    /// Waiting transactions that spend what the group spends, with their descendants.
    fn conflicts_of(&self, group: &[Entry]) -> BTreeSet<Txid> {
        self.direct_conflicts(group).into_iter().flat_map(|txid| self.descendants(txid)).collect()
    }

    fn direct_conflicts(&self, group: &[Entry]) -> BTreeSet<Txid> {
        let mut direct: BTreeSet<Txid> = group
            .iter()
            .flat_map(|entry| &entry.tx.input)
            .filter_map(|input| self.spender(&input.previous_output))
            .collect();
        // BIP 431 sibling eviction: a version 3 parent has one child, and a better one replaces it.
        for parent in group.iter().filter(|e| e.tx.version.0 == 3).flat_map(|e| self.parents(&e.tx)) {
            direct.extend(self.children(parent));
        }
        direct
    }

    /// Limits on chains of unconfirmed transactions, and the topology of version 3.
    fn check_chains(
        &self,
        group: &[Entry],
        evicted: &BTreeSet<Txid>,
        rules: &Policy,
    ) -> Result<(), RejectReason> {
        for entry in group {
            let mut ancestors: BTreeSet<Txid> = BTreeSet::new();
            let mut todo: Vec<Txid> = self.parents(&entry.tx);
            while let Some(txid) = todo.pop() {
                if ancestors.insert(txid) {
                    todo.extend(self.entries.get(&txid).map(|e| self.parents(&e.tx)).unwrap_or_default());
                }
            }
            if let Some(txid) = ancestors.iter().find(|txid| evicted.contains(*txid)) {
                return Err(RejectReason::SpendsConflicting(*txid));
            }
            let in_group = group_parents(entry, group).count();
            let count = ancestors.len().saturating_add(in_group).saturating_add(1);
            if count > rules.max_chain {
                return Err(RejectReason::TooLongChain("too many unconfirmed ancestors"));
            }
            for ancestor in &ancestors {
                let kept = self.descendants(*ancestor).difference(evicted).count();
                if kept.saturating_add(group.len()) > rules.max_chain {
                    return Err(RejectReason::TooLongChain("too many descendants of an ancestor"));
                }
            }
            self.check_truc(entry, &ancestors, group)?;
        }
        Ok(())
    }

    fn check_truc(
        &self,
        entry: &Entry,
        ancestors: &BTreeSet<Txid>,
        group: &[Entry],
    ) -> Result<(), RejectReason> {
        let is_truc = entry.tx.version.0 == 3;
        let direct = self.parents(&entry.tx).into_iter().filter_map(|txid| self.entries.get(&txid));
        for parent in direct.chain(group_parents(entry, group)) {
            if (parent.tx.version.0 == 3) != is_truc {
                return Err(RejectReason::Truc(if is_truc {
                    "version=3 tx cannot spend from non-version=3 tx"
                } else {
                    "non-version=3 tx cannot spend from version=3 tx"
                }));
            }
        }
        let unconfirmed = ancestors.len().saturating_add(group_parents(entry, group).count());
        if is_truc && unconfirmed > 1 {
            return Err(RejectReason::Truc("tx would have too many ancestors"));
        }
        if is_truc && unconfirmed == 1 && entry.vsize > TRUC_CHILD_MAX_VSIZE {
            return Err(RejectReason::Truc("version=3 child tx is too big"));
        }
        Ok(())
    }

    /// BIP 125, rules 2 to 5, and the later one that no replacement may pay a lower rate than a replaced.
    fn check_replacement(
        &self,
        group: &[Entry],
        evicted: &BTreeSet<Txid>,
        rules: &Policy,
    ) -> Result<(), RejectReason> {
        if evicted.is_empty() {
            return Ok(());
        }
        self.check_package_replacement(group)?;
        if evicted.len() > MAX_REPLACED {
            return Err(RejectReason::TooManyReplacements(evicted.len()));
        }
        let direct = self.direct_conflicts(group);
        let old_parents: BTreeSet<Txid> = direct
            .iter()
            .filter_map(|txid| self.entries.get(txid))
            .flat_map(|entry| self.parents(&entry.tx))
            .collect();
        for input in group.iter().flat_map(|entry| &entry.tx.input) {
            let parent = input.previous_output.txid;
            if self.entries.contains_key(&parent) && !old_parents.contains(&parent) {
                return Err(RejectReason::ReplacementAddsUnconfirmed(input.previous_output));
            }
        }
        let (fee, size) = sums(group.iter());
        let (old_fee, _) = sums(evicted.iter().filter_map(|txid| self.entries.get(txid)));
        let needed = old_fee.checked_add(fee_at(rules.incremental_relay_fee, size)).unwrap_or(Amount::MAX);
        if fee < needed {
            return Err(RejectReason::InsufficientFee { fee, needed });
        }
        for old in direct.iter().filter_map(|txid| self.entries.get(txid)) {
            // fee / size must exceed old.fee / old.vsize, compared without division.
            let new_rate = u128::from(fee.to_sat()).saturating_mul(u128::from(old.vsize));
            let old_rate = u128::from(old.fee.to_sat()).saturating_mul(u128::from(size));
            if new_rate <= old_rate {
                let rate = old.fee.to_sat().saturating_mul(1000).div_ceil(old.vsize.max(1));
                return Err(RejectReason::InsufficientFee { fee, needed: fee_at(rate, size) });
            }
        }
        Ok(())
    }

    /// A package replaces only as one parent with its child, without others that wait before them, and only if the child
    /// makes it better than its parent alone.
    fn check_package_replacement(&self, group: &[Entry]) -> Result<(), RejectReason> {
        let (parent, child) = match group {
            [] | [_] => return Ok(()),
            [parent, child] => (parent, child),
            _ => return Err(RejectReason::PackageReplacement("package must be 1-parent-1-child")),
        };
        if group.iter().any(|entry| !self.parents(&entry.tx).is_empty()) {
            return Err(RejectReason::PackageReplacement("new transaction cannot have mempool ancestors"));
        }
        let sum = sums([parent, child].into_iter());
        if rate(sum) <= rate((parent.fee, parent.vsize)) {
            return Err(RejectReason::PackageReplacement(
                "package feerate is less than or equal to parent feerate",
            ));
        }
        Ok(())
    }

    /// Lets go, with their descendants, of those that pay less than `rate` in satoshi per 1000 virtual bytes, alone and with
    /// what builds on them: the worst first, as a full mempool does.
    pub(crate) fn trim(&mut self, floor: u64) -> Vec<Txid> {
        let mut gone = Vec::new();
        loop {
            let score = |entry: &Entry| {
                let family = self.descendants(entry.tx.compute_txid());
                let together = sums(family.iter().filter_map(|txid| self.entries.get(txid)));
                rate((entry.fee, entry.vsize)).max(rate(together))
            };
            let worst = self.entries.iter().map(|(txid, entry)| (score(entry), *txid)).min();
            let Some((_, txid)) = worst.filter(|(score, _)| *score < u128::from(floor)) else { return gone };
            gone.extend(self.descendants(txid));
            self.remove_with_descendants(txid);
        }
    }

    /// Waiting transactions that `tx` spends from.
    pub(crate) fn parents(&self, tx: &Transaction) -> Vec<Txid> {
        let mut parents: Vec<Txid> = tx
            .input
            .iter()
            .map(|input| input.previous_output.txid)
            .filter(|txid| self.entries.contains_key(txid))
            .collect();
        parents.sort_unstable();
        parents.dedup();
        parents
    }

    fn children(&self, txid: Txid) -> Vec<Txid> {
        let from = OutPoint { txid, vout: 0 }..=OutPoint { txid, vout: u32::MAX };
        self.spenders.range(from).map(|(_, child)| *child).collect()
    }

    /// `txid` and all that builds on it.
    fn descendants(&self, txid: Txid) -> BTreeSet<Txid> {
        let mut found = BTreeSet::new();
        let mut todo = vec![txid];
        while let Some(next) = todo.pop() {
            if self.entries.contains_key(&next) && found.insert(next) {
                todo.extend(self.children(next));
            }
        }
        found
    }
}

/// Members of the group that `entry` spends from.
fn group_parents<'a>(entry: &'a Entry, group: &'a [Entry]) -> impl Iterator<Item = &'a Entry> {
    group.iter().filter(|other| {
        let txid = other.tx.compute_txid();
        entry.tx.input.iter().any(|input| input.previous_output.txid == txid)
    })
}

/// No two members of the group spend the same coin.
fn check_disjoint(group: &[Entry]) -> Result<(), RejectReason> {
    let mut seen = BTreeSet::new();
    let mut inputs = group.iter().flat_map(|entry| &entry.tx.input).map(|input| input.previous_output);
    match inputs.find(|outpoint| !seen.insert(*outpoint)) {
        Some(outpoint) => Err(RejectReason::MissingOrSpent(outpoint)),
        None => Ok(()),
    }
}

/// The group pays for its size, and so does each of its members alone unless it is of version 3, which alone
/// may leave the fee to its child.
fn check_relay_fee(group: &[Entry], rules: &Policy) -> Result<(), RejectReason> {
    for entry in group.iter().filter(|entry| entry.tx.version.0 != 3) {
        let needed = fee_at(rules.min_relay_fee, entry.vsize);
        if entry.fee < needed {
            return Err(RejectReason::MinRelayFee { fee: entry.fee, needed });
        }
    }
    let (fee, size) = sums(group.iter());
    let needed = fee_at(rules.min_relay_fee, size);
    if fee < needed {
        return Err(RejectReason::MinRelayFee { fee, needed });
    }
    // What a full mempool asks a child may pay for its parents, whatever their version.
    let needed = fee_at(rules.mempool_min_fee, size);
    if fee < needed { Err(RejectReason::MempoolMinFee { fee, needed }) } else { Ok(()) }
}

/// Every dust output of a parent is spent within the group.
fn check_ephemeral(group: &[Entry], dust: &BTreeMap<OutPoint, usize>) -> Result<(), RejectReason> {
    let spent: BTreeSet<OutPoint> =
        group.iter().flat_map(|entry| &entry.tx.input).map(|input| input.previous_output).collect();
    if dust.keys().all(|outpoint| spent.contains(outpoint)) {
        Ok(())
    } else {
        Err(RejectReason::EphemeralUnspent)
    }
}

fn dust_reason(tx: &Transaction, output: usize) -> RejectReason {
    let value = tx.output.get(output).map_or(Amount::ZERO, |output| output.value);
    RejectReason::Dust { output, value }
}

/// Satoshi per 1000 virtual bytes: whole numbers compare the same everywhere.
pub(crate) fn rate((fee, vsize): (Amount, u64)) -> u128 {
    u128::from(fee.to_sat()).saturating_mul(1000).checked_div(u128::from(vsize)).unwrap_or(0)
}

pub(crate) fn sums<'a>(entries: impl Iterator<Item = &'a Entry>) -> (Amount, u64) {
    entries.fold((Amount::ZERO, 0), |(fee, size), entry| {
        (fee.checked_add(entry.fee).unwrap_or(Amount::MAX), size.saturating_add(entry.vsize))
    })
}
