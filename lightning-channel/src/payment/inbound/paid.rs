//! Hashes that were paid to us: none of them is to be paid again while its invoice is good.
//!
//! # Invariants
//! - a payment costs the manager's record one row when it is claimed and one when it is forgotten, however many others
//!   there are; a block costs what it lets be forgotten (I13)
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use lightning_traits::payment::PaymentHash;

/// Hashes that were claimed, until when an invoice may still name them.
#[derive(Clone, Debug, Default)]
pub(super) struct PaidHashes {
    until: BTreeMap<PaymentHash, u32>,
    by_time: BTreeSet<(u32, PaymentHash)>,
    /// What the manager's record does not say yet.
    changed: BTreeSet<PaymentHash>,
}

impl PaidHashes {
    pub(super) fn contains(&self, hash: &PaymentHash) -> bool {
        self.until.contains_key(hash)
    }

    pub(super) fn insert(&mut self, hash: PaymentHash, expires: u32) {
        self.restore(hash, expires);
        self.changed.insert(hash);
    }

    /// As the record says.
    pub(super) fn restore(&mut self, hash: PaymentHash, expires: u32) {
        if let Some(before) = self.until.insert(hash, expires) {
            self.by_time.remove(&(before, hash));
        }
        self.by_time.insert((expires, hash));
    }

    /// Whether the record does not say it yet.
    pub(super) fn is_unsaid(&self, hash: &PaymentHash) -> bool {
        self.changed.contains(hash)
    }

    /// Forgets what no invoice names any more.
    pub(super) fn forget_before(&mut self, time: u32) {
        while let Some((expires, hash)) = self.by_time.first().copied().filter(|(expires, _)| *expires < time)
        {
            self.by_time.remove(&(expires, hash));
            self.until.remove(&hash);
            self.changed.insert(hash);
        }
    }

    /// What changed since the last call: remembered until when, or forgotten.
    pub(super) fn take_changes(&mut self) -> Vec<(PaymentHash, Option<u32>)> {
        let changed = core::mem::take(&mut self.changed);
        changed.into_iter().map(|hash| (hash, self.until.get(&hash).copied())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(byte: u8) -> PaymentHash {
        PaymentHash([byte; 32])
    }

    #[test]
    fn each_change_is_told_once_and_what_is_restored_is_no_change() {
        let mut paid = PaidHashes::default();
        paid.restore(hash(1), 10);
        paid.insert(hash(2), 20);
        paid.insert(hash(3), 30);
        assert_eq!(paid.take_changes(), [(hash(2), Some(20)), (hash(3), Some(30))]);
        assert!(paid.take_changes().is_empty());
        paid.forget_before(20);
        assert!(!paid.contains(&hash(1)) && paid.contains(&hash(2)));
        paid.forget_before(21);
        assert_eq!(paid.take_changes(), [(hash(1), None), (hash(2), None)]);
        // Claimed and forgotten between two records: the row, should there be one, goes.
        paid.insert(hash(4), 21);
        paid.forget_before(25);
        assert_eq!(paid.take_changes(), [(hash(4), None)]);
    }

    #[test]
    fn a_hash_that_is_paid_again_is_kept_until_the_later_time() {
        let mut paid = PaidHashes::default();
        paid.insert(hash(1), 10);
        paid.insert(hash(1), 40);
        paid.forget_before(30);
        assert!(paid.contains(&hash(1)));
        paid.forget_before(41);
        assert!(!paid.contains(&hash(1)) && paid.by_time.is_empty());
    }
}
