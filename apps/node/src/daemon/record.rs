//! The channel manager's record in the store: a value for each of its rows.
use lightning_channel::recover::{RecordRows, RowChange};
use lightning_store_redb::{RedbStore, StoreError};

use super::events::hex;

/// Before the keys of all rows.
const MANAGER: &str = "manager/";

/// All rows.
pub(super) fn load(store: &RedbStore) -> Result<RecordRows, StoreError> {
    let rows = store.list(MANAGER)?.into_iter();
    // A key that is none of ours names no row.
    Ok(rows.filter_map(|(key, value)| Some((bytes(key.strip_prefix(MANAGER)?)?, value))).collect())
}

/// Queues what has changed.
pub(super) fn keep(store: &RedbStore, changed: Vec<RowChange>) {
    for RowChange { key, value } in changed {
        let key = format!("{MANAGER}{}", hex(&key));
        match value {
            Some(value) => store.put(&key, value),
            None => store.remove(&key),
        }
    }
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    bitcoin::hex::FromHex::from_hex(hex).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_stored_changed_and_removed_one_by_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store");
        let row = |key: u8, value: Option<u8>| RowChange {
            key: vec![key, 0xff],
            value: value.map(|value| vec![value]),
        };
        let expected: RecordRows = [(vec![1, 0xff], vec![9]), (vec![3, 0xff], vec![3])].into();
        {
            let store = RedbStore::open(&path).unwrap();
            store.put("manager", vec![7]);
            keep(&store, vec![row(1, Some(1)), row(2, Some(2))]);
            store.commit().unwrap();
            keep(&store, vec![row(1, Some(9)), row(2, None), row(3, Some(3))]);
            store.commit().unwrap();
            assert_eq!(load(&store).unwrap(), expected);
        }
        assert_eq!(load(&RedbStore::open(&path).unwrap()).unwrap(), expected);
    }
}
