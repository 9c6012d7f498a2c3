//! What the chain brings (BOLT 2: depth, expiries).
use bitcoin::BlockHash;
use bitcoin::block::Header;
use lightning_traits::interface::{ChainListener, ConfirmedTransaction, Environment};
use lightning_traits::units::BlockHeight;

use super::ChannelManager;
use super::table::Tip;
use crate::channel::FeeQuotes;

impl<E: Environment> ChainListener for ChannelManager<E> {
    fn filtered_block_connected(
        &self,
        header: &Header,
        transactions: &[ConfirmedTransaction<'_>],
        height: BlockHeight,
    ) {
        let fees = FeeQuotes::ask(self.env.fees());
        let slots = {
            let mut table = self.table.lock();
            // A header's time may lie before its parent's; ours only grows.
            let time = table.now.tip.time.max(header.time);
            table.now.tip = Tip { hash: header.block_hash(), height, time };
            table.now.fees = fees;
            table.all()
        };
        for slot in slots {
            self.step(&slot, |channel, cx| channel.block_connected(cx, transactions));
        }
        self.give_back_late_payments();
        self.give_back_late_forwards();
        self.give_back_stuck_forwards(transactions);
        self.run();
    }

    fn block_disconnected(&self, header: &Header, height: BlockHeight) {
        let slots = {
            let mut table = self.table.lock();
            let time = table.now.tip.time;
            table.now.tip = Tip { hash: header.prev_blockhash, height: height.minus(1), time };
            table.all()
        };
        for slot in slots {
            self.step(&slot, |channel, cx| channel.block_disconnected(cx, height));
        }
        self.run();
    }

    fn best_block(&self) -> Option<(BlockHash, BlockHeight)> {
        let tip = self.table.lock().now.tip;
        Some((tip.hash, tip.height))
    }
}
