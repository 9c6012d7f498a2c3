//! Blocks that go, and what comes in their place: the same transactions, none, others that spend the same, or the blocks of a
//! chain that was left before.
//!
//! # Invariants
//! - a chain that is taken for another has more blocks
//! - the coins that nodes and bank began with stay: chains part after the blocks that handed them out
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bitcoin::{Block, OutPoint, Transaction, Txid};
use lightning_traits::id::ChannelId;

use crate::bank::nobody;
use crate::profile::Profile;
use crate::run::Run;
use crate::world::World;

/// The deepest that a chain is left.
const MAX_DEPTH: u32 = 144;
/// Blocks before the steps of a run that may go too: all of them since the channels began to be funded.
const SETUP: u32 = 8;
/// Chains that were left, and are remembered.
const MAX_BRANCHES: usize = 4;
/// From this depth on what the chain says is final for whoever has an HTLC on it (RELIABILITY rule 4).
const FINAL: u32 = 6;
/// From this depth on a channel is forgotten (RELIABILITY rule 6).
const FORGOTTEN: u32 = 100;

/// A way to spend an output that somebody has sent.
#[derive(Clone, Debug)]
pub(crate) struct Offer {
    pub(crate) node: usize,
    /// The tip when it was first sent.
    pub(crate) since: u32,
    pub(crate) transaction: Arc<Transaction>,
    pub(crate) txid: Txid,
}

/// What the chain was, and what it might have been.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tree {
    /// Whether anybody wants to know what was sent.
    pub(crate) is_kept: bool,
    /// By what they spend.
    pub(crate) offers: BTreeMap<OutPoint, Vec<Offer>>,
    /// Chains that were left, the first block first.
    branches: VecDeque<Vec<Arc<Block>>>,
    /// Channels of which something was so deep in a chain that was left that it was final.
    pub(crate) shaken: BTreeMap<ChannelId, u32>,
}

/// What comes in place of the blocks that go.
pub(crate) enum Instead {
    /// What went, at once.
    Same,
    /// What went waits.
    Empty,
    /// What went is forgotten by all mempools, but for fundings, which the wallets that made them send again.
    Forgotten,
    /// Something else is first.
    Other(Vec<Transaction>),
}

impl World {
    /// Notes a transaction that a node has sent to the chain.
    pub(crate) fn note_offer(&mut self, node: usize, transaction: &Transaction) {
        if !self.tree.is_kept {
            return;
        }
        let (since, txid) = (self.chain.height(), transaction.compute_txid());
        let shared = Arc::new(transaction.clone());
        for input in &transaction.input {
            let offers = self.tree.offers.entry(input.previous_output).or_default();
            if offers.iter().all(|known| (known.node, known.txid) != (node, txid)) {
                offers.push(Offer { node, since, transaction: Arc::clone(&shared), txid });
            }
        }
    }

    /// Where transactions stand that came in blocks since `height`.
    pub(crate) fn confirmed_since(&self, height: u32) -> BTreeMap<Txid, u32> {
        let blocks = (height..=self.chain.height()).filter_map(|at| Some((at, self.chain.block_at(at)?)));
        let places = blocks.flat_map(|(at, block)| {
            let ids: Vec<_> = block.txdata.iter().skip(1).map(|tx| (tx.compute_txid(), at)).collect();
            ids
        });
        places.collect()
    }

    /// The last `depth` blocks go, and one more comes.
    pub(crate) fn reorganise(&mut self, depth: u32, instead: Instead) {
        let first = self.chain.height() + 1 - depth;
        self.note_shaken(first);
        let mut gone = self.chain.disconnect(depth);
        gone.reverse();
        let mut left = depth + 1;
        match instead {
            Instead::Same => {}
            Instead::Empty => {
                self.chain.mine_empty(left, &nobody());
                left = 0;
            }
            Instead::Forgotten => {
                let ids =
                    gone.iter().flat_map(|block| block.txdata.iter().skip(1)).map(Transaction::compute_txid);
                let is_funding = |txid: &Txid| self.links.iter().any(|link| link.funding.txid == *txid);
                ids.filter(|txid| !is_funding(txid)).for_each(|txid| self.chain.forget(txid));
            }
            Instead::Other(first) => {
                // What cannot be in the chain any more is left out.
                left -= u32::from(self.chain.mine_transactions(first, &nobody()).is_ok());
            }
        }
        self.chain.mine(left, &nobody());
        self.remember(gone);
        self.note_settled_since(depth + 10);
    }

    fn remember(&mut self, branch: Vec<Arc<Block>>) {
        self.tree.branches.push_back(branch);
        if self.tree.branches.len() > MAX_BRANCHES {
            self.tree.branches.pop_front();
        }
    }

    /// The chain is left for one that it was before, with some blocks more. `false` when that would be too deep.
    fn go_back_to(&mut self, branch: usize, most: u32) -> bool {
        let Some(blocks) = self.tree.branches.get(branch).cloned() else { return false };
        let Some(first) = blocks.first() else { return false };
        let Some((fork, true)) = self.chain.block_by_hash(&first.header.prev_blockhash) else { return false };
        let depth = self.chain.height() - fork.height;
        if depth == 0 || depth > most {
            return false;
        }
        let old = self.chain.height();
        self.note_shaken(fork.height + 1);
        let mut gone = self.chain.disconnect(depth);
        gone.reverse();
        for block in &blocks {
            self.chain.submit_block(block).expect("it was in the chain before");
        }
        self.tree.branches.remove(branch);
        self.chain.mine((old + 1).saturating_sub(self.chain.height()), &nobody());
        self.remember(gone);
        self.note_settled_since(depth + 10);
        true
    }

    /// Notes of which channels something goes that was final, when all blocks from `first` on go.
    fn note_shaken(&mut self, first: u32) {
        let tip = self.chain.height();
        for height in first..=(tip + 1).saturating_sub(FINAL) {
            let Some(block) = self.chain.block_at(height) else { continue };
            for input in block.txdata.iter().skip(1).flat_map(|transaction| &transaction.input) {
                if let Some(channel) = self.channel_of(&input.previous_output) {
                    let depth = self.tree.shaken.entry(channel).or_default();
                    *depth = (*depth).max(tip + 1 - height);
                }
            }
        }
    }

    /// The channel whose funding output this is, or an output of what spent that, or of what spent that again.
    pub(crate) fn channel_of(&self, outpoint: &OutPoint) -> Option<ChannelId> {
        const STAGES: usize = 3;
        let mut outpoint = *outpoint;
        for _ in 0..STAGES {
            if let Some(link) = self.links.iter().find(|link| link.funding == outpoint) {
                return Some(link.channel);
            }
            let all = self.tree.offers.iter();
            let made = all.flat_map(|(spent, offers)| offers.iter().map(move |offer| (spent, offer)));
            outpoint = *made.into_iter().find(|(_, offer)| offer.txid == outpoint.txid)?.0;
        }
        None
    }

    /// An output of a transaction that is or was in the chain.
    pub(crate) fn output(&self, outpoint: &OutPoint) -> Option<bitcoin::TxOut> {
        let mut heights = 1..=self.chain.height();
        let transaction = heights.find_map(|height| {
            let block = self.chain.block_at(height)?;
            block.txdata.iter().find(|tx| tx.compute_txid() == outpoint.txid).cloned()
        })?;
        transaction.output.get(outpoint.vout as usize).cloned()
    }

    /// Whether the funding output of a channel was spent, or never was.
    pub(crate) fn is_spent(&self, channel: ChannelId) -> bool {
        let link = self.links.iter().find(|link| link.channel == channel);
        link.is_none_or(|link| self.chain.utxo(&link.funding).is_none())
    }

    /// Whether a channel may have been forgotten that is on the chain no more.
    pub(crate) fn is_forgotten(&self, channel: &ChannelId) -> bool {
        self.tree.shaken.get(channel).is_some_and(|depth| *depth >= FORGOTTEN)
    }
}

impl Run {
    /// How deep the chain can be left.
    fn most(&self) -> u32 {
        if self.profile == Profile::Towers {
            // Whoever has let go of what was a hundred deep has done right, and towers have coins since the start.
            return (FORGOTTEN - 1).min(self.world.chain.height() - self.start);
        }
        MAX_DEPTH.min(self.world.chain.height() + SETUP - self.start)
    }

    /// A depth: most are small, some take back what was final, few what was forgotten.
    fn roll_depth(&mut self) -> u32 {
        let (from, to) =
            self.dice.of(&[(1, 5), (1, 5), (1, 5), (6, 12), (6, 40), (41, 99), (100, MAX_DEPTH)]);
        (from + self.dice.roll(u64::from(to - from + 1)) as u32).min(self.most())
    }

    /// Blocks go, perhaps many.
    pub(crate) fn reorganise_deep(&mut self) {
        let depth = self.roll_depth();
        if depth == 0 {
            return;
        }
        self.outcome.reorgs += 1;
        self.outcome.deepest = self.outcome.deepest.max(u64::from(depth));
        let instead = match self.dice.roll(6) {
            0 | 1 => Instead::Empty,
            2 => Instead::Forgotten,
            _ => Instead::Same,
        };
        self.world.say(|| format!("{depth} blocks go"));
        self.world.reorganise(depth, instead);
        self.keep_up();
    }

    /// Something that is in a block is spent in another way, by whoever wanted that, in the block that comes instead.
    pub(crate) fn swap(&mut self) {
        // As a rule nothing that was final.
        let most = if self.dice.once_in(4) { self.most() } else { self.most().min(FINAL - 1) };
        let (tip, bottom) = (self.world.chain.height(), self.world.chain.height() + 1 - most);
        let places = self.world.confirmed_since(bottom);
        let mut swaps = Vec::new();
        for offers in self.world.tree.offers.values().filter(|offers| offers.len() > 1) {
            let Some(place) = offers.iter().find_map(|offer| places.get(&offer.txid)) else { continue };
            let others = offers.iter().filter(|offer| !places.contains_key(&offer.txid));
            swaps.extend(others.map(|offer| (tip + 1 - place, Arc::clone(&offer.transaction))));
        }
        if swaps.is_empty() {
            return;
        }
        let (depth, other) = swaps.swap_remove(self.dice.pick(swaps.len()));
        self.outcome.reorgs += 1;
        self.world.say(|| format!("{depth} blocks go for {}", other.compute_txid()));
        self.world.reorganise(depth, Instead::Other(vec![(*other).clone()]));
        self.keep_up();
    }

    /// The chain goes back to blocks that it left.
    pub(crate) fn go_back(&mut self) {
        let (most, branch) = (self.most(), self.dice.pick(MAX_BRANCHES));
        if self.world.go_back_to(branch, most) {
            self.outcome.reorgs += 1;
            self.world.say(|| format!("the chain goes back to another: {}", self.world.chain.height()));
            self.keep_up();
        }
    }

    /// The coin of a funding transaction that no side takes for deep yet is spent in another way.
    pub(crate) fn undo_funding(&mut self) {
        let places = self.world.confirmed_since(self.start + 1);
        let is_young = |end: &usize, channel: ChannelId| {
            let channels = self.world.nodes[*end].manager().list_channels();
            let phase = channels.into_iter().find(|known| known.channel == channel).map(|known| known.phase);
            phase == Some(lightning_channel::channel::PhaseName::AwaitingReady)
        };
        let young =
            self.world.links.iter().filter(|link| link.ends.iter().all(|end| is_young(end, link.channel)));
        let young: Vec<_> = young.map(|link| link.funding.txid).collect();
        let Some(txid) = self.dice.some(&young) else { return };
        let place = places.get(&txid).copied();
        let waiting = self.world.chain.mempool_entry(&txid).map(|entry| entry.tx);
        let funding = place.and_then(|at| self.world.chain.block_at(at));
        let found =
            funding.and_then(|block| block.txdata.iter().find(|tx| tx.compute_txid() == txid).cloned());
        let other = waiting.or(found).and_then(|funding| self.world.bank.spend_otherwise(&funding));
        let Some(other) = other else { return };
        self.world.say(|| format!("the coin of {txid} is spent in another way"));
        let depth = place.map_or(0, |at| self.world.chain.height() + 1 - at);
        self.outcome.reorgs += u64::from(depth > 0);
        self.world.reorganise(depth, Instead::Other(vec![other]));
        self.keep_up();
    }
}
