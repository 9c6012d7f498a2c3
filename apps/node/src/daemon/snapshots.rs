//! The graph in the store: now and then, so that a node that dies need not hear all of it again.
//!
//! # Invariants
//! - on average it writes no more than [`BYTES_PER_SECOND`], however large the graph is, and nothing when it has not changed
use std::time::{Duration, Instant};

use bitcoin::hashes::{Hash as _, sha256};
use lightning_store_redb::RedbStore;

use super::node::{GRAPH, Inner};

/// What snapshots may cost the disk.
const BYTES_PER_SECOND: u64 = 10_000;
/// However small the graph is.
const LEAST: Duration = Duration::from_secs(300);
/// However large.
const MOST: Duration = Duration::from_secs(6 * 3_600);

/// When the graph was stored, and what of it.
pub(super) struct Snapshots {
    stored: Option<sha256::Hash>,
    next: Instant,
}

impl Default for Snapshots {
    fn default() -> Self {
        Self { stored: None, next: after(0) }
    }
}

impl Snapshots {
    /// Queues a snapshot when it is time for one.
    pub(super) fn keep(&mut self, node: &Inner) {
        if Instant::now() >= self.next {
            self.put(&node.store, node.router.snapshot());
        }
    }

    fn put(&mut self, store: &RedbStore, snapshot: Vec<u8>) {
        self.next = after(snapshot.len());
        let hash = sha256::Hash::hash(&snapshot);
        if self.stored.replace(hash) != Some(hash) {
            store.put(GRAPH, snapshot);
        }
    }
}

/// When the next may follow one of so many bytes.
fn after(bytes: usize) -> Instant {
    let seconds = u64::try_from(bytes).unwrap_or(u64::MAX).div_ceil(BYTES_PER_SECOND);
    let pause = Duration::from_secs(seconds).clamp(LEAST, MOST);
    let now = Instant::now();
    now.checked_add(pause).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_not_changed_is_not_written_and_large_ones_are_rare() {
        let folder = tempfile::tempdir().unwrap();
        let store = RedbStore::open(&folder.path().join("store")).unwrap();
        let mut snapshots = Snapshots::default();
        for (bytes, is_new) in [(vec![1; 100], true), (vec![1; 100], false), (vec![2; 100], true)] {
            snapshots.put(&store, bytes.clone());
            assert_eq!(store.has_queued(), is_new);
            store.commit().unwrap();
            assert_eq!(store.get(GRAPH).unwrap(), Some(bytes));
        }
        let pause = |bytes| after(bytes).saturating_duration_since(Instant::now()).as_secs();
        assert!(pause(1_000) <= 300 && pause(1_000) > 290);
        assert!(pause(40_000_000) > 3_900 && pause(40_000_000) <= 4_000);
        assert!(pause(usize::MAX) <= 6 * 3_600);
    }
}
