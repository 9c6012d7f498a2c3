//! The chain: what to watch, what came, what to send, at what fee.
//!
//! The user fetches blocks by whatever means and hands them to every [`ChainListener`], whole or
//! filtered by what [`ChainWatchInterface`] was told, in any legal order: a block connects on the tip,
//! or the tip is disconnected. A skipped block is a bug of the caller that listeners may detect but
//! not mend, so callers resume each listener from the block it names.
use bitcoin::block::Header;
use bitcoin::{Block, BlockHash, OutPoint, ScriptBuf, Transaction};

use crate::units::{BlockHeight, FeeratePerKw};

/// A transaction together with its index in its block.
#[derive(Clone, Copy, Debug)]
pub struct ConfirmedTransaction<'a> {
    /// Position in the block, the middle part of a `short_channel_id`.
    pub index: usize,
    /// The transaction.
    pub transaction: &'a Transaction,
}

/// Receives the chain, block by block.
pub trait ChainListener {
    /// A whole block that extends the tip.
    fn block_connected(&self, block: &Block, height: BlockHeight) {
        let transactions = block
            .txdata
            .iter()
            .enumerate()
            .map(|(index, transaction)| ConfirmedTransaction { index, transaction })
            .collect::<alloc::vec::Vec<_>>();
        self.filtered_block_connected(&block.header, &transactions, height);
    }

    /// A block that extends the tip, with at least the transactions that concern what is being watched,
    /// in the order of the block.
    fn filtered_block_connected(
        &self,
        header: &Header,
        transactions: &[ConfirmedTransaction<'_>],
        height: BlockHeight,
    );

    /// The tip `header` at `height` is no longer part of the best chain; its parent is the tip now.
    fn block_disconnected(&self, header: &Header, height: BlockHeight);

    /// The tip as this listener knows it, from which the caller must continue after a restart.
    fn best_block(&self) -> Option<(BlockHash, BlockHeight)>;
}

/// Is told what must not be missed. A user who hands over whole blocks need not implement it: `()` ignores all.
pub trait ChainWatchInterface {
    /// From now on, hand over every transaction that spends `outpoint`, whose script is `script`,
    /// including one in the very block that is being connected.
    fn watch_output(&self, outpoint: OutPoint, script: &ScriptBuf);
}

/// Sends transactions to the network.
pub trait BroadcasterInterface {
    /// Broadcasts `package`: one transaction, or a parent followed by the child that pays for it. The parent may be below what
    /// nodes relay, so both must be offered together where that is possible (`submitpackage` of Bitcoin Core), and one by one
    /// where not.
    ///
    /// Errors are the implementation's to log: callers repeat until the chain confirms, since no answer
    /// of a node proves that a transaction is useless (RELIABILITY L7).
    fn broadcast(&self, package: &[Transaction]);
}

/// How soon a transaction should confirm, and so what it may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ConfirmationTarget {
    /// Lost money if it does not confirm within some blocks: HTLC claims near expiry, penalties.
    Urgent,
    /// A commitment transaction with anchors, which can be bumped later: should enter the mempool.
    AnchorCommitment,
    /// A commitment transaction without anchors, which cannot be bumped.
    NonAnchorCommitment,
    /// Cooperative closes and funding: within a day's patience.
    Normal,
    /// Sweeps that wait for no deadline.
    Background,
    /// The lowest rate we accept from a peer for a commitment.
    MinimumAccepted,
}

/// Knows what the chain costs.
pub trait FeeEstimator {
    /// The feerate for `target`, never below [`FeeratePerKw::FLOOR`].
    fn feerate(&self, target: ConfirmationTarget) -> FeeratePerKw;
}

impl ChainWatchInterface for () {
    fn watch_output(&self, _: OutPoint, _: &ScriptBuf) {}
}
