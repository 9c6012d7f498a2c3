//! Which life of the node this is, and whether a later one has taken its place.
//!
//! A node that is restored from its watchtowers begins a new life there, and its towers serve none before it (decision record 23). An
//! instance of before, should it come back, holds states that are revoked by now: it must not go to the chain with them, and not
//! make its peers close. So it asks its towers before anything else, and once it has heard of a later life it never acts again.
//!
//! # Invariants
//! - that a later life was heard of is durable before anything follows from it
//! - no monitor is restored, and no peer called, before the towers were asked
use std::thread;
use std::time::Duration;

use bitcoin::Network;
use lightning_keys::SeedKeys;
use lightning_remote::wire::chain::Signed;
use lightning_store_redb::{RedbStore, StoreError};
use lightning_traits::codec::Reader;
use lightning_traits::id::NodeId;
use tokio::runtime::Handle;

use super::restore::{Greeting, Visit};
use crate::error::{ApiError, Code};
use crate::towers::{TowerEntry, TowerList, id_of};

/// The number of this life.
const LIFE: &str = "tower/life";
/// Why this instance is frozen.
const FROZEN: &str = "tower/frozen";
/// The last word of each tower, so that it can be held to it over restarts.
const STATEMENT: &str = "tower/statement/";
/// The first life of a node.
const FIRST: u64 = 1;
/// How long a tower that takes calls may keep the start waiting.
const PATIENCE: Duration = Duration::from_secs(10);

/// The life that follows on `last`: higher, and not the same if two nodes are restored at the same time, so that one of them
/// fences the other.
pub(super) fn after(last: u64) -> Result<u64, ApiError> {
    let mut random = [0_u8; 4];
    getrandom::fill(&mut random)
        .map_err(|error| ApiError::new(Code::Internal, format!("no randomness: {error}")))?;
    let count = (last >> 32).saturating_add(1);
    Ok((count << 32) | u64::from(u32::from_be_bytes(random)))
}

/// The life of the node whose store this is.
pub(super) fn of(store: &RedbStore) -> Result<u64, StoreError> {
    let stored = store.get(LIFE)?;
    Ok(stored.and_then(|bytes| Some(u64::from_be_bytes(bytes.try_into().ok()?))).unwrap_or(FIRST))
}

/// Queues the number of the life.
pub(super) fn put(store: &RedbStore, life: u64) {
    store.put(LIFE, life.to_be_bytes().to_vec());
}

/// Why the node must not act any more, if it must not.
pub(super) fn frozen(store: &RedbStore) -> Result<Option<String>, StoreError> {
    Ok(store.get(FROZEN)?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
}

/// A tower serves a later life: never again is anything done here.
pub(super) fn freeze(store: &RedbStore, tower: NodeId, life: u64) -> String {
    let why = format!(
        "this node was restored elsewhere from its watchtowers, and tower {tower} serves that life of it only (number {life})"
    );
    store.put(FROZEN, why.clone().into_bytes());
    if let Err(error) = store.commit() {
        // The tower will say it again.
        tracing::error!("{error}");
    }
    why
}

/// The error that every command of a frozen node is answered with.
pub(super) fn error(why: &str) -> ApiError {
    ApiError::new(Code::RestoredElsewhere, why)
        .hint("use the restored node; what is here is old, and nothing is done with it any more")
}

/// Where the tower's last word is kept.
pub(super) fn statement_row(id: NodeId) -> String {
    format!("{STATEMENT}{id}")
}

/// The tower's last word.
pub(super) fn last_statement(store: &RedbStore, id: NodeId) -> Result<Option<Signed>, StoreError> {
    let row = store.get(&statement_row(id))?;
    Ok(row.and_then(|bytes| Reader::new(&bytes).read::<Signed>().ok()))
}

/// Asks all towers whether they serve a later life, and says why the node is frozen if one does. A tower that does not answer
/// says nothing: who lets no tower be reached cannot be told.
pub(super) fn ask_towers(
    list: &TowerList,
    keys: &SeedKeys,
    network: Network,
    store: &RedbStore,
    runtime: &Handle,
) -> Result<Option<String>, ApiError> {
    let life = of(store)?;
    let ask = |entry: &TowerEntry| -> Result<Option<(NodeId, u64)>, ApiError> {
        let last = last_statement(store, id_of(&entry.address)?)?;
        let visit = Visit::new(keys, network, &entry.address, runtime)?;
        let greeting = visit.greet(entry.mode, life, last, PATIENCE);
        visit.end();
        Ok(match greeting {
            Greeting::Fenced(later) => Some((visit.id, later)),
            Greeting::Open(_) => None,
            Greeting::OtherMode | Greeting::Stranger | Greeting::Refused(_) | Greeting::Silent(_) => {
                tracing::warn!(tower = %visit.id, "the tower does not say whether the node was restored elsewhere");
                None
            }
        })
    };
    let answers: Vec<_> = thread::scope(|scope| {
        let asked: Vec<_> = list.towers.iter().map(|entry| scope.spawn(|| ask(entry))).collect();
        asked.into_iter().map(|asked| asked.join().unwrap_or(Ok(None))).collect()
    });
    let mut later = None;
    for answer in answers {
        later = later.max(answer?);
    }
    Ok(later.map(|(tower, life)| freeze(store, tower, life)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_life_is_later_than_the_one_before_and_two_at_once_differ() {
        let first = after(FIRST).unwrap();
        assert!(first > FIRST);
        let mut last = first;
        for _ in 0..20 {
            let next = after(last).unwrap();
            assert!(next > last, "{next} after {last}");
            last = next;
        }
        let same: Vec<u64> = (0..8).map(|_| after(FIRST).unwrap()).collect();
        assert!(same.iter().any(|life| *life != same[0]));
    }

    #[test]
    fn a_store_keeps_its_life_and_why_it_is_frozen() {
        let dir = tempfile::tempdir().unwrap();
        let open = || RedbStore::open(&dir.path().join("store")).unwrap();
        let store = open();
        assert_eq!((of(&store).unwrap(), frozen(&store).unwrap()), (FIRST, None));
        put(&store, 77);
        store.commit().unwrap();
        let tower = NodeId([2; 33]);
        let why = freeze(&store, tower, 99);
        drop(store);
        let store = open();
        assert_eq!((of(&store).unwrap(), frozen(&store).unwrap()), (77, Some(why.clone())));
        assert!(why.contains("99") && error(&why).code == Code::RestoredElsewhere);
    }
}
