//! Following the chain: whole blocks in, and out again.
//!
//! bdk replaces blocks only by others, so a block that is disconnected before its replacement is known is taken
//! out of the stored chain, and the wallet is loaded again from it: rare, and exact.
use bdk_wallet::chain::{BlockId, ConfirmationBlockTime, Indexer, TxUpdate};
use bdk_wallet::{ChangeSet, Update};
use bitcoin::block::Header;
use bitcoin::{Block, BlockHash, Transaction, Txid};
use lightning_traits::interface::{ChainListener, ConfirmedTransaction};
use lightning_traits::units::BlockHeight;
use std::sync::Arc;

use crate::wallet::{OnchainWallet, State, load};

impl OnchainWallet {
    /// Tells the wallet of a transaction that was broadcast or seen, so that its coins are not used twice and its
    /// change can be. Others' transactions that do not concern the wallet are ignored.
    pub fn insert_unconfirmed(&self, transaction: &Transaction) {
        let mut state = self.state.lock();
        let seen = state.tick();
        state.bdk.apply_unconfirmed_txs([(transaction.clone(), seen)]);
        // Its coins count as spent from here on, and need no promise any more.
        for input in &transaction.input {
            state.bdk.unlock_outpoint(input.previous_output);
        }
    }

    /// Tells the wallet that an unconfirmed transaction will not confirm: what it spent can be spent again.
    pub fn forget_unconfirmed(&self, txid: Txid) {
        let mut state = self.state.lock();
        let seen = state.tick();
        state.bdk.apply_evicted_txs([(txid, seen)]);
    }
}

impl ChainListener for OnchainWallet {
    fn block_connected(&self, block: &Block, height: BlockHeight) {
        let mut state = self.state.lock();
        // A block that does not fit leaves the tip where it is, which the caller sees by `best_block`.
        if state.fits(&block.header, height) {
            let _connected = state.bdk.apply_block(block, height.get());
        }
    }

    fn filtered_block_connected(
        &self,
        header: &Header,
        transactions: &[ConfirmedTransaction<'_>],
        height: BlockHeight,
    ) {
        let mut state = self.state.lock();
        if !state.fits(header, height) {
            return;
        }
        let block_id = BlockId { height: height.get(), hash: header.block_hash() };
        let anchor = ConfirmationBlockTime { block_id, confirmation_time: u64::from(header.time) };
        let chain = Some(state.bdk.latest_checkpoint().insert(block_id));
        // One by one: whether a transaction concerns the wallet can depend on the one before it.
        for confirmed in transactions {
            if !state.bdk.spk_index().is_tx_relevant(confirmed.transaction) {
                continue;
            }
            let mut tx_update = TxUpdate::default();
            tx_update.txs.push(Arc::new(confirmed.transaction.clone()));
            tx_update.anchors.insert((anchor, confirmed.transaction.compute_txid()));
            // Without a chain there is nothing that could fail to connect.
            let _applied = state.bdk.apply_update(Update { tx_update, ..Update::default() });
        }
        let _applied = state.bdk.apply_update(Update { chain, ..Update::default() });
    }

    fn block_disconnected(&self, header: &Header, height: BlockHeight) {
        let mut state = self.state.lock();
        let tip = state.bdk.latest_checkpoint().block_id();
        if (tip.hash, tip.height) != (header.block_hash(), height.get()) || tip.height == 0 {
            return;
        }
        let lost: Vec<Transaction> = state
            .bdk
            .tx_graph()
            .full_txs()
            .filter(|node| node.anchors.iter().any(|anchor| anchor.block_id == tip) && !node.tx.is_coinbase())
            .map(|node| node.tx.as_ref().clone())
            .collect();
        state.collect();
        let mut change = ChangeSet::default();
        change.local_chain.blocks.insert(tip.height, None);
        if let Some(below) = tip.height.checked_sub(1).filter(|below| *below > 0) {
            // Known already, unless the wallet was born in the block that goes.
            change.local_chain.blocks.insert(below, Some(header.prev_blockhash));
        }
        let mut shorter = state.all.clone();
        shorter.bdk_merge(&change);
        let Ok(bdk) = load(&state.keys, self.network, &shorter) else { return };
        state.bdk = bdk;
        state.all = shorter;
        state.fresh.bdk_merge(&change);
        // They wait for a block again, unless a rival confirms.
        for transaction in lost {
            let seen = state.tick();
            state.bdk.apply_unconfirmed_txs([(transaction, seen)]);
        }
    }

    fn best_block(&self) -> Option<(BlockHash, BlockHeight)> {
        let tip = self.state.lock().bdk.latest_checkpoint().block_id();
        Some((tip.hash, BlockHeight::new(tip.height)))
    }
}

impl State {
    fn fits(&self, header: &Header, height: BlockHeight) -> bool {
        let tip = self.bdk.latest_checkpoint().block_id();
        header.prev_blockhash == tip.hash && height == BlockHeight::new(tip.height).plus(1)
    }
}
