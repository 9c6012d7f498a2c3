//! LDK's `ChainMonitor` with many channels.
use bitcoin::{Block, BlockHash, Transaction};
use lightning::chain::Listen as _;

use super::block;
use crate::ldk::Line;

/// The monitors of a node of LDK, and the chain that they see.
pub struct LdkWatch {
    line: Line,
    tip: BlockHash,
    height: u32,
}

impl LdkWatch {
    /// Two nodes with one channel.
    #[must_use]
    pub fn new() -> Self {
        let line = Line::open(2);
        let (tip, height) = line.tip();
        Self { line, tip, height }
    }

    /// Opens channels until there are so many.
    pub fn grow_to(&mut self, channels: usize) {
        self.line.resume(self.tip, self.height);
        self.line.open_more(channels - self.channels());
        (self.tip, self.height) = self.line.tip();
    }

    /// How many channels there are.
    #[must_use]
    pub fn channels(&self) -> usize {
        self.line.monitors().list_monitors().len()
    }

    /// The next block, as in [`super::Watch::connect`].
    pub fn connect<T>(
        &mut self,
        transactions: Vec<Transaction>,
        timed: impl FnOnce(&mut dyn FnMut()) -> T,
    ) -> (T, Vec<Transaction>) {
        self.height += 1;
        let block: Block = block(self.tip, self.height, transactions);
        self.tip = block.block_hash();
        let took = timed(&mut || self.line.monitors().block_connected(&block, self.height));
        (took, block.txdata)
    }
}

impl Default for LdkWatch {
    fn default() -> Self {
        Self::new()
    }
}
