//! LDK's `ChainMonitor` with many channels, each opened between the same two nodes.
use bitcoin::Transaction;

use crate::ldk::Line;

/// The monitors of a node of LDK.
pub struct LdkWatch(Line);

impl LdkWatch {
    /// Two nodes with one channel.
    #[must_use]
    pub fn new() -> Self {
        Self(Line::open(2))
    }

    /// Opens channels until there are so many.
    pub fn grow_to(&mut self, channels: usize) {
        while self.channels() < channels {
            // It does not take more from one peer before some confirm.
            self.0.open_more((channels - self.channels()).min(4));
        }
    }

    /// How many channels there are.
    #[must_use]
    pub fn channels(&self) -> usize {
        self.0.watched()
    }

    /// The next block, as in [`super::Watch::connect`].
    pub fn connect<T>(
        &mut self,
        transactions: Vec<Transaction>,
        timed: impl FnOnce(&mut dyn FnMut()) -> T,
    ) -> (T, Vec<Transaction>) {
        self.0.connect(transactions, timed)
    }
}

impl Default for LdkWatch {
    fn default() -> Self {
        Self::new()
    }
}
