//! A queue that gives the least key first, if no key is ever put in that is less than the last one given.
//!
//! Entries lie in buckets by the highest bit in which their key differs from the last one given, so an entry moves at most 64
//! times in its life and usually two or three. Buckets keep their memory from one search to the next.
use alloc::vec::Vec;

const BUCKETS: usize = 65;

/// A radix heap of nodes by cost.
#[derive(Clone, Debug)]
pub(super) struct RadixHeap {
    buckets: Vec<Vec<(u64, u32)>>,
    /// Which of the buckets behind the first are not empty: bit 0 stands for the second.
    filled: u64,
    last: u64,
    spare: Vec<(u64, u32)>,
}

impl Default for RadixHeap {
    fn default() -> Self {
        Self { buckets: (0..BUCKETS).map(|_| Vec::new()).collect(), filled: 0, last: 0, spare: Vec::new() }
    }
}

impl RadixHeap {
    pub(super) fn clear(&mut self) {
        self.buckets.iter_mut().for_each(Vec::clear);
        (self.filled, self.last) = (0, 0);
    }

    pub(super) fn push(&mut self, key: u64, node: u32) {
        // A key below the last one would be lost; as the last one it is only late.
        let key = key.max(self.last);
        let bucket = 64_u32.saturating_sub((key ^ self.last).leading_zeros());
        if let Some(entries) = self.buckets.get_mut(bucket as usize) {
            entries.push((key, node));
        }
        if let Some(bit) = bucket.checked_sub(1) {
            self.filled |= 1 << bit;
        }
    }

    /// The least key, without taking it.
    pub(super) fn least(&mut self) -> Option<u64> {
        if self.buckets.first()?.is_empty() {
            self.refill()?;
        }
        Some(self.last)
    }

    pub(super) fn pop(&mut self) -> Option<(u64, u32)> {
        self.least()?;
        self.buckets.first_mut()?.pop()
    }

    /// Spreads the first bucket that is not empty over those before it.
    fn refill(&mut self) -> Option<()> {
        if self.filled == 0 {
            return None;
        }
        let bit = self.filled.trailing_zeros();
        self.filled &= !(1 << bit);
        let mut entries = core::mem::take(&mut self.spare);
        core::mem::swap(&mut entries, self.buckets.get_mut((bit as usize).saturating_add(1))?);
        self.last = entries.iter().map(|(key, _)| *key).min()?;
        for (key, node) in entries.drain(..) {
            self.push(key, node);
        }
        self.spare = entries;
        Some(())
    }

    /// Takes out everything, in no order of importance.
    pub(super) fn drain(&mut self, mut take: impl FnMut(u64, u32)) {
        for entries in &mut self.buckets {
            for (key, node) in entries.drain(..) {
                take(key, node);
            }
        }
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BinaryHeap;
    use core::cmp::Reverse;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn gives_what_a_binary_heap_gives(steps in prop::collection::vec(prop::option::of(any::<u64>()), 1..300)) {
            let (mut ours, mut model, mut last) = (RadixHeap::default(), BinaryHeap::new(), 0_u64);
            for (at, step) in (0_u32..).zip(steps) {
                match step {
                    Some(gap) => {
                        let key = last.saturating_add(gap >> (at % 64));
                        ours.push(key, at);
                        model.push(Reverse(key));
                    }
                    None => {
                        prop_assert_eq!(ours.least(), model.peek().map(|key| key.0));
                        let key = ours.pop().map(|(key, _)| key);
                        prop_assert_eq!(key, model.pop().map(|key| key.0));
                        last = key.unwrap_or(last);
                    }
                }
            }
            let mut rest = Vec::new();
            ours.drain(|key, _| rest.push(key));
            rest.sort_unstable();
            prop_assert_eq!(rest, model.into_sorted_vec().into_iter().rev().map(|key| key.0).collect::<Vec<_>>());
            prop_assert_eq!(ours.pop(), None);
        }
    }
}
