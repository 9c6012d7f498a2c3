//! Reading everything back after a restart.
use bitcoin::BlockHash;
use bitcoin::hashes::Hash as _;
use lightning_traits::id::{ChannelId, UpdateId};
use lightning_traits::monitor::{StoredChannel, StoredChannels};
use lightning_traits::units::BlockHeight;
use redb::{ReadTransaction, ReadableDatabase as _, ReadableTable as _, TableDefinition};

use crate::RedbStore;
use crate::error::StoreError;
use crate::tables::{LAST_UPDATE, MONITOR, NEW, PAST, RECORD, RECORD_CHANGES, TIP, UPDATES, VALUES, row};

impl RedbStore {
    /// Every channel that is not archived, with all that is durable of it.
    ///
    /// # Errors
    /// When the file cannot be read, or a channel's parts do not fit together.
    pub fn load_channels(&self) -> Result<StoredChannels, StoreError> {
        let transaction = self.database.begin_read().map_err(StoreError::disk)?;
        let new = transaction.open_table(NEW).map_err(StoreError::disk)?;
        let mut channels = Vec::new();
        for entry in new.iter().map_err(StoreError::disk)? {
            let (channel, bytes) = entry.map_err(StoreError::disk)?;
            let id = ChannelId(*channel.value());
            channels.push((id, load_channel(&transaction, id, bytes.value().to_vec())?));
        }
        Ok(channels)
    }

    /// One channel with all that is durable of it; `None` when it is not stored, or archived.
    ///
    /// # Errors
    /// When the file cannot be read, or the channel's parts do not fit together.
    pub fn load_channel(&self, channel: ChannelId) -> Result<Option<StoredChannel>, StoreError> {
        let transaction = self.database.begin_read().map_err(StoreError::disk)?;
        let Some(new) = one(&transaction, NEW, &channel.0)? else { return Ok(None) };
        load_channel(&transaction, channel, new).map(Some)
    }

    /// The block up to which everything is true; blocks after it must be handed over again.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn load_tip(&self) -> Result<Option<(BlockHash, BlockHeight)>, StoreError> {
        let transaction = self.database.begin_read().map_err(StoreError::disk)?;
        let tip = transaction.open_table(TIP).map_err(StoreError::disk)?;
        let tip = tip.get(()).map_err(StoreError::disk)?;
        Ok(tip
            .map(|tip| tip.value())
            .map(|(hash, height)| (BlockHash::from_byte_array(hash), BlockHeight::new(height))))
    }

    /// A value of the program's own, as of the last commit.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let transaction = self.database.begin_read().map_err(StoreError::disk)?;
        let values = transaction.open_table(VALUES).map_err(StoreError::disk)?;
        Ok(values.get(key).map_err(StoreError::disk)?.map(|value| value.value().to_vec()))
    }

    /// All values whose keys begin with `prefix`, in order of key, as of the last commit.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn list(&self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        let transaction = self.database.begin_read().map_err(StoreError::disk)?;
        let values = transaction.open_table(VALUES).map_err(StoreError::disk)?;
        let mut found = Vec::new();
        for entry in values.range(prefix..).map_err(StoreError::disk)? {
            let (key, value) = entry.map_err(StoreError::disk)?;
            if !key.value().starts_with(prefix) {
                break;
            }
            found.push((key.value().to_owned(), value.value().to_vec()));
        }
        Ok(found)
    }
}

fn load_channel(
    transaction: &ReadTransaction,
    id: ChannelId,
    new: Vec<u8>,
) -> Result<StoredChannel, StoreError> {
    let damaged = |what: &str| StoreError::Damaged(format!("channel {id} has no {what}"));
    let last = transaction.open_table(LAST_UPDATE).map_err(StoreError::disk)?;
    let last = last.get(&id.0).map_err(StoreError::disk)?.ok_or_else(|| damaged("last update"))?;
    Ok(StoredChannel {
        new,
        monitor: one(transaction, MONITOR, &id.0)?,
        past: rows(transaction, PAST, &id.0)?,
        updates: rows(transaction, UPDATES, &id.0)?,
        record: one(transaction, RECORD, &id.0)?.ok_or_else(|| damaged("record"))?,
        record_changes: rows(transaction, RECORD_CHANGES, &id.0)?,
        last_update: UpdateId(last.value()),
    })
}

fn one(
    transaction: &ReadTransaction,
    table: TableDefinition<'_, &'static [u8; 32], &'static [u8]>,
    channel: &[u8; 32],
) -> Result<Option<Vec<u8>>, StoreError> {
    let table = transaction.open_table(table).map_err(StoreError::disk)?;
    Ok(table.get(channel).map_err(StoreError::disk)?.map(|value| value.value().to_vec()))
}

fn rows(
    transaction: &ReadTransaction,
    table: TableDefinition<'_, &'static [u8; 40], &'static [u8]>,
    channel: &[u8; 32],
) -> Result<Vec<Vec<u8>>, StoreError> {
    let table = transaction.open_table(table).map_err(StoreError::disk)?;
    let (first, last) = (row(channel, 0), row(channel, u64::MAX));
    let mut found = Vec::new();
    for entry in table.range::<&[u8; 40]>(&first..=&last).map_err(StoreError::disk)? {
        let (_, value) = entry.map_err(StoreError::disk)?;
        found.push(value.value().to_vec());
    }
    Ok(found)
}
