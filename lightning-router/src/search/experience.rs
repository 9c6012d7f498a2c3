//! What payments have learnt: directions that lately could not carry an amount.
//!
//! Kept for a day of blocks; makes a direction seem dearer, never impossible, since liquidity comes back.
use alloc::collections::BTreeMap;

use lightning_traits::id::{NodeId, ShortChannelId};
use lightning_traits::units::{BlockHeight, Msat};

/// Blocks after which a failure is forgotten.
const MEMORY: u32 = 144;

#[derive(Debug, Default)]
pub(crate) struct Experience {
    /// The least amount that failed, and when it last did.
    failures: BTreeMap<(ShortChannelId, NodeId), (Msat, BlockHeight)>,
}

impl Experience {
    pub(crate) fn failed(&mut self, scid: ShortChannelId, from: NodeId, amount: Msat, height: BlockHeight) {
        let entry = self.failures.entry((scid, from)).or_insert((amount, height));
        *entry = (entry.0.min(amount), height);
    }

    /// Whether the direction failed lately for this amount or less.
    pub(crate) fn doubts(&self, scid: ShortChannelId, from: NodeId, amount: Msat) -> bool {
        self.failures.get(&(scid, from)).is_some_and(|(failed, _)| amount >= *failed)
    }

    /// The direction has just carried this amount, so what failed below it is no longer true.
    pub(crate) fn carried(&mut self, scid: ShortChannelId, from: NodeId, amount: Msat) {
        if self.doubts(scid, from, amount) {
            self.failures.remove(&(scid, from));
        }
    }

    pub(crate) fn forget_before(&mut self, height: BlockHeight) {
        self.failures.retain(|_, (_, at)| at.plus(MEMORY) > height);
    }
}
