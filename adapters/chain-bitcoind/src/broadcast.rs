//! Broadcasting, again and again until a transaction is buried.
//!
//! A node may refuse a transaction today and take it tomorrow, forget it on restart, or evict it. So every
//! package is remembered until each of its transactions, or one that spends the same coin, is six blocks deep
//! (RELIABILITY E3, L7). Give the broadcaster to the [`ChainFollower`](crate::ChainFollower) as a listener, and call
//! [`rebroadcast`](BitcoindBroadcaster::rebroadcast) after every block and every minute or so.
//!
//! # Invariants
//! - nothing is forgotten for an answer of the source, only for blocks; its word that a transaction is confirmed
//!   is asked for again with every block, and taken for good when it has said so for six (RELIABILITY D16)
//! - no lock is held while the source is asked (I7)
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bitcoin::block::Header;
use bitcoin::{BlockHash, OutPoint, Transaction, Txid};
use lightning_traits::interface::{BroadcasterInterface, ChainListener, ConfirmedTransaction};
use lightning_traits::sync::Mutex;
use lightning_traits::units::BlockHeight;

use lightning_traits::interface::{BlockSource, Broadcast, SourceError};

/// Blocks after which a confirmation is taken for good.
const BURIED: u32 = 6;
/// Reports kept for who asks.
const MAX_REPORTS: usize = 1000;

/// What became of one attempt, for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The transaction.
    pub txid: Txid,
    /// The answer, or why there is none.
    pub outcome: Result<Broadcast, SourceError>,
}

/// Broadcasts through `S` and remembers what is not buried.
#[derive(Debug)]
pub struct BitcoindBroadcaster<S> {
    source: S,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// By the id of their last transaction: the same package again replaces itself.
    packages: BTreeMap<Txid, Vec<Transaction>>,
    /// Transactions that need no broadcast any more.
    settled: BTreeMap<Txid, Settled>,
    best: Option<(BlockHash, BlockHeight)>,
    reports: VecDeque<Report>,
}

/// Since when, and how, a transaction is out of our hands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Settled {
    height: BlockHeight,
    /// Not confirmed: another transaction took its coin, or its parent's.
    dead: bool,
    /// Nothing was seen, the source says so: at which height it did last.
    told: Option<BlockHeight>,
}

impl<S: BlockSource> BitcoindBroadcaster<S> {
    /// Broadcasts through `source`.
    pub fn new(source: S) -> Self {
        Self { source, state: Mutex::new(State::default()) }
    }

    /// Offers again whatever is not confirmed. Answers what was said, as [`take_reports`](Self::take_reports) would.
    pub fn rebroadcast(&self) -> Vec<Report> {
        let packages: Vec<Vec<Transaction>> = self.state.lock().packages.values().cloned().collect();
        for package in packages {
            self.offer(&package);
        }
        self.take_reports()
    }

    /// What the source said since the last call.
    pub fn take_reports(&self) -> Vec<Report> {
        core::mem::take(&mut self.state.lock().reports).into()
    }

    /// Transactions that are remembered and not confirmed.
    pub fn unconfirmed(&self) -> Vec<Txid> {
        let state = self.state.lock();
        let ids = state.packages.values().flatten().map(Transaction::compute_txid);
        let open: BTreeSet<Txid> = ids.filter(|txid| !state.settled.contains_key(txid)).collect();
        open.into_iter().collect()
    }

    fn offer(&self, package: &[Transaction]) {
        let open: Vec<Transaction> = {
            let state = self.state.lock();
            let height = state.best.map(|(_, height)| height);
            let is_open = |tx: &&Transaction| {
                let settled = state.settled.get(&tx.compute_txid());
                settled.is_none_or(|settled| settled.told.is_some() && settled.told != height)
            };
            package.iter().filter(is_open).cloned().collect()
        };
        if open.is_empty() {
            return;
        }
        let answer = self.source.broadcast(&open);
        let mut state = self.state.lock();
        for (index, tx) in open.iter().enumerate() {
            let outcome = match &answer {
                Ok(outcomes) => match outcomes.get(index) {
                    Some(outcome) => Ok(outcome.clone()),
                    None => continue,
                },
                Err(error) => Err(error.clone()),
            };
            state.take_word(tx.compute_txid(), &outcome);
            if state.reports.len() >= MAX_REPORTS {
                state.reports.pop_front();
            }
            state.reports.push_back(Report { txid: tx.compute_txid(), outcome });
        }
    }
}

impl<S: BlockSource> BroadcasterInterface for BitcoindBroadcaster<S> {
    fn broadcast(&self, package: &[Transaction]) {
        let Some(last) = package.last() else { return };
        self.state.lock().packages.insert(last.compute_txid(), package.to_vec());
        self.offer(package);
    }
}

impl<S: BlockSource> ChainListener for BitcoindBroadcaster<S> {
    fn filtered_block_connected(
        &self,
        header: &Header,
        transactions: &[ConfirmedTransaction<'_>],
        height: BlockHeight,
    ) {
        self.state.lock().connect(header, transactions, height);
    }

    fn block_disconnected(&self, header: &Header, height: BlockHeight) {
        let mut state = self.state.lock();
        state.settled.retain(|_, settled| settled.height < height);
        state.best = Some((header.prev_blockhash, height.minus(1)));
    }

    fn best_block(&self) -> Option<(BlockHash, BlockHeight)> {
        self.state.lock().best
    }
}

impl State {
    /// The source's word on whether a transaction is confirmed, which it may take back.
    fn take_word(&mut self, txid: Txid, outcome: &Result<Broadcast, SourceError>) {
        let Some((_, height)) = self.best else { return };
        match (outcome, self.settled.get_mut(&txid)) {
            (Ok(Broadcast::Confirmed), Some(Settled { told: Some(told), .. })) => *told = height,
            (Ok(Broadcast::Confirmed), None) => {
                self.settled.insert(txid, Settled { height, dead: false, told: Some(height) });
            }
            (Ok(Broadcast::Accepted | Broadcast::Refused { .. }), Some(Settled { told: Some(_), .. })) => {
                self.settled.remove(&txid);
            }
            _ => {}
        }
    }

    fn connect(&mut self, header: &Header, block: &[ConfirmedTransaction<'_>], height: BlockHeight) {
        self.best = Some((header.block_hash(), height));
        if self.packages.is_empty() {
            return;
        }
        let spent: BTreeSet<OutPoint> =
            block.iter().flat_map(|tx| &tx.transaction.input).map(|input| input.previous_output).collect();
        for tx in self.packages.values().flatten() {
            let txid = tx.compute_txid();
            // Confirmed itself, or its coin is gone: both show as a spent input. A child of the dead is dead too.
            let gone = tx.input.iter().any(|input| spent.contains(&input.previous_output));
            let orphan = tx
                .input
                .iter()
                .any(|input| self.settled.get(&input.previous_output.txid).is_some_and(|parent| parent.dead));
            if gone || orphan {
                let dead = !block.iter().any(|other| other.transaction.compute_txid() == txid);
                let seen = Settled { height, dead, told: None };
                let entry = self.settled.entry(txid).or_insert(seen);
                if entry.told.is_some() {
                    *entry = seen;
                }
            }
        }
        let settled = &self.settled;
        let buried = |tx: &Transaction| {
            settled.get(&tx.compute_txid()).is_some_and(|settled| {
                // A word that was not said again with the last block is none.
                let is_said = settled.told.is_none_or(|told| told.plus(1) >= height);
                is_said && settled.height.depth_at(height) >= BURIED
            })
        };
        self.packages.retain(|_, package| !package.iter().all(buried));
        let open: BTreeSet<Txid> = self.packages.values().flatten().map(Transaction::compute_txid).collect();
        self.settled.retain(|txid, _| open.contains(txid));
    }
}
