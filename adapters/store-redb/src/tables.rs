//! What stands where in the file.
//!
//! Rows that belong to one update have the key `channel id | update id`, so they sort in the order of updates; parts of the
//! past `channel id | number`.
use redb::{Database, ReadableDatabase as _, TableDefinition};

use crate::error::StoreError;

/// `NewMonitor` of each channel, as first written.
pub(crate) const NEW: TableDefinition<'_, &[u8; 32], &[u8]> = TableDefinition::new("new");
/// Latest monitor snapshot of each channel.
pub(crate) const MONITOR: TableDefinition<'_, &[u8; 32], &[u8]> = TableDefinition::new("monitor");
/// Parts of the past of each channel's monitor, by number: each is written once.
pub(crate) const PAST: TableDefinition<'_, &[u8; 40], &[u8]> = TableDefinition::new("past");
/// Updates since that snapshot, without their records.
pub(crate) const UPDATES: TableDefinition<'_, &[u8; 40], &[u8]> = TableDefinition::new("updates");
/// Latest record snapshot of each channel.
pub(crate) const RECORD: TableDefinition<'_, &[u8; 32], &[u8]> = TableDefinition::new("record");
/// Record changes since that snapshot.
pub(crate) const RECORD_CHANGES: TableDefinition<'_, &[u8; 40], &[u8]> =
    TableDefinition::new("record_changes");
/// Id of the last durable update of each channel.
pub(crate) const LAST_UPDATE: TableDefinition<'_, &[u8; 32], u64> = TableDefinition::new("last_update");
/// Hash and height of the block up to which everything is true.
pub(crate) const TIP: TableDefinition<'_, (), ([u8; 32], u32)> = TableDefinition::new("tip");
/// Last monitor snapshot of channels that are fully resolved.
pub(crate) const ARCHIVE: TableDefinition<'_, &[u8; 32], &[u8]> = TableDefinition::new("archive");
/// The parts of the past that belong to it.
pub(crate) const ARCHIVED_PAST: TableDefinition<'_, &[u8; 40], &[u8]> = TableDefinition::new("archived_past");
/// The program's own values.
pub(crate) const VALUES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("values");
/// About the file itself.
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");

/// The layout that this code writes.
const FORMAT: u64 = 1;

/// Makes all tables, and checks that the file is not from a later age.
pub(crate) fn prepare(database: &Database) -> Result<(), StoreError> {
    if let Some(found) = format_of(database)?
        && found > FORMAT
    {
        return Err(StoreError::NewerFormat { path: std::path::PathBuf::new(), found, known: FORMAT });
    }
    let transaction = database.begin_write().map_err(StoreError::disk)?;
    {
        transaction.open_table(NEW).map_err(StoreError::disk)?;
        transaction.open_table(MONITOR).map_err(StoreError::disk)?;
        transaction.open_table(PAST).map_err(StoreError::disk)?;
        transaction.open_table(UPDATES).map_err(StoreError::disk)?;
        transaction.open_table(RECORD).map_err(StoreError::disk)?;
        transaction.open_table(RECORD_CHANGES).map_err(StoreError::disk)?;
        transaction.open_table(LAST_UPDATE).map_err(StoreError::disk)?;
        transaction.open_table(TIP).map_err(StoreError::disk)?;
        transaction.open_table(ARCHIVE).map_err(StoreError::disk)?;
        transaction.open_table(ARCHIVED_PAST).map_err(StoreError::disk)?;
        transaction.open_table(VALUES).map_err(StoreError::disk)?;
        let mut meta = transaction.open_table(META).map_err(StoreError::disk)?;
        meta.insert("format", FORMAT).map_err(StoreError::disk)?;
    }
    transaction.commit().map_err(StoreError::disk)
}

fn format_of(database: &Database) -> Result<Option<u64>, StoreError> {
    let transaction = database.begin_read().map_err(StoreError::disk)?;
    match transaction.open_table(META) {
        Ok(meta) => Ok(meta.get("format").map_err(StoreError::disk)?.map(|value| value.value())),
        Err(redb::TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(StoreError::disk(error)),
    }
}

/// The key of a row that belongs to one update, or of one part of the past.
pub(crate) fn row(channel: &[u8; 32], number: u64) -> [u8; 40] {
    let mut key = [0; 40];
    let (head, tail) = key.split_at_mut(32);
    head.copy_from_slice(channel);
    tail.copy_from_slice(&number.to_be_bytes());
    key
}
