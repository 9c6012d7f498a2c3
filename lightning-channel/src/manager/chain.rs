//! What the chain brings (BOLT 2: depth, expiries).
use bitcoin::BlockHash;
use bitcoin::block::Header;
use lightning_traits::interface::{ChainListener, ConfirmedTransaction, Environment};
use lightning_traits::sphinx::Failure;
use lightning_traits::units::BlockHeight;

use super::ChannelManager;
use super::events::Source;
use super::table::Tip;
use super::work::Work;
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

impl<E: Environment> ChannelManager<E> {
    /// Payments to us that nobody claimed in time (RELIABILITY F4).
    fn give_back_late_payments(&self) {
        let limits = self.limits();
        let late = self.table.lock().inbound.on_block(&limits);
        for (hash, keys) in late {
            self.events.lock().withdraw(&Source::Claimable { hash });
            let failure =
                |htlc_msat| Failure::IncorrectOrUnknownPaymentDetails { htlc_msat, height: limits.height };
            self.queue(keys.into_iter().map(|(key, amount)| Work::FailBack(key, failure(amount))));
        }
    }
}
