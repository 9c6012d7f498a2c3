//! Writes that wait for the next commit, and how each is applied inside a transaction.
use bitcoin::BlockHash;
use bitcoin::hashes::Hash as _;
use lightning_traits::id::ChannelId;
use lightning_traits::monitor::{
    ChannelMonitorUpdate, MonitorSnapshot, NewMonitor, Receipt, RecordChange, StoredChannel,
};
use lightning_traits::units::BlockHeight;
use redb::{ReadableTable as _, Table, WriteTransaction};

use crate::error::StoreError;
use crate::tables::{
    ARCHIVE, ARCHIVED_PAST, LAST_UPDATE, MONITOR, NEW, PAST, RECORD, RECORD_CHANGES, TIP, UPDATES, VALUES,
    row,
};

/// One queued write.
#[derive(Debug)]
pub(crate) enum Write {
    /// First state of a channel.
    New { bytes: Vec<u8>, record: RecordChange, receipt: Receipt },
    /// An update, with a new snapshot of the monitor now and then.
    Update { bytes: Vec<u8>, snapshot: Option<MonitorSnapshot>, record: RecordChange, receipt: Receipt },
    /// What the chain changed in a monitor.
    ChainState { channel: ChannelId, snapshot: MonitorSnapshot },
    /// Up to which block everything before is true.
    Tip { hash: BlockHash, height: BlockHeight },
    /// A channel that is done.
    Archive { channel: ChannelId },
    /// A channel in the place of what is stored of it.
    Whole { channel: ChannelId, stored: StoredChannel },
    /// A value of the program's own; `None` removes it.
    Put { key: String, value: Option<Vec<u8>> },
}

impl Write {
    pub(crate) fn new_channel(new: &NewMonitor) -> Self {
        let without_record = NewMonitor { record: RecordChange::Same {}, ..new.clone() };
        Self::New { bytes: without_record.to_versioned(), record: new.record.clone(), receipt: new.receipt() }
    }

    pub(crate) fn update(update: &ChannelMonitorUpdate, snapshot: Option<MonitorSnapshot>) -> Self {
        // The record stands in its own table, so that it is not stored twice.
        let bytes = match &snapshot {
            Some(_) => Vec::new(),
            None => ChannelMonitorUpdate { record: RecordChange::Same {}, ..update.clone() }.to_versioned(),
        };
        Self::Update { bytes, snapshot, record: update.record.clone(), receipt: update.receipt() }
    }

    /// Whether something waits for it: a value of the program's own is only there for the next start.
    pub(crate) const fn is_pressing(&self) -> bool {
        match self {
            Self::New { .. }
            | Self::Update { .. }
            | Self::ChainState { .. }
            | Self::Tip { .. }
            | Self::Archive { .. }
            | Self::Whole { .. } => true,
            Self::Put { .. } => false,
        }
    }

    pub(crate) fn into_receipt(self) -> Option<Receipt> {
        match self {
            Self::New { receipt, .. } | Self::Update { receipt, .. } => Some(receipt),
            Self::ChainState { .. }
            | Self::Tip { .. }
            | Self::Archive { .. }
            | Self::Whole { .. }
            | Self::Put { .. } => None,
        }
    }

    pub(crate) fn apply(&self, transaction: &WriteTransaction) -> Result<(), StoreError> {
        match self {
            Self::New { bytes, record, receipt } => {
                insert(transaction.open_table(NEW), &receipt.channel().0, bytes)?;
                apply_record(transaction, record, receipt)
            }
            Self::Update { bytes, snapshot, record, receipt } => {
                let channel = receipt.channel().0;
                match snapshot {
                    Some(snapshot) => take_snapshot(transaction, &channel, snapshot)?,
                    None => {
                        let mut updates = transaction.open_table(UPDATES).map_err(StoreError::disk)?;
                        let key = row(&channel, receipt.id().0);
                        updates.insert(&key, bytes.as_slice()).map_err(StoreError::disk)?;
                    }
                }
                apply_record(transaction, record, receipt)
            }
            Self::ChainState { channel, snapshot } => take_snapshot(transaction, &channel.0, snapshot),
            Self::Tip { hash, height } => {
                let mut tip = transaction.open_table(TIP).map_err(StoreError::disk)?;
                let (hash, height) = (hash.to_byte_array(), height.get());
                tip.insert((), (hash, height)).map_err(StoreError::disk)?;
                Ok(())
            }
            Self::Archive { channel } => archive(transaction, &channel.0),
            Self::Whole { channel, stored } => replace(transaction, &channel.0, stored),
            Self::Put { key, value } => {
                let mut values = transaction.open_table(VALUES).map_err(StoreError::disk)?;
                match value {
                    Some(value) => values.insert(key.as_str(), value.as_slice()).map_err(StoreError::disk)?,
                    None => values.remove(key.as_str()).map_err(StoreError::disk)?,
                };
                Ok(())
            }
        }
    }
}

/// State, parts of the past and the end of the updates before: in one transaction, so that no crash leaves some of it.
fn take_snapshot(
    transaction: &WriteTransaction,
    channel: &[u8; 32],
    snapshot: &MonitorSnapshot,
) -> Result<(), StoreError> {
    insert(transaction.open_table(MONITOR), channel, &snapshot.state)?;
    if !snapshot.past.is_empty() {
        let mut past = transaction.open_table(PAST).map_err(StoreError::disk)?;
        for part in &snapshot.past {
            let key = row(channel, part.number.into());
            past.insert(&key, part.bytes.as_slice()).map_err(StoreError::disk)?;
        }
    }
    clear(transaction.open_table(UPDATES).map_err(StoreError::disk)?, channel)
}

fn apply_record(
    transaction: &WriteTransaction,
    record: &RecordChange,
    receipt: &Receipt,
) -> Result<(), StoreError> {
    let channel = receipt.channel().0;
    match record {
        RecordChange::Same {} => {}
        RecordChange::Append { bytes } => {
            let mut changes = transaction.open_table(RECORD_CHANGES).map_err(StoreError::disk)?;
            let key = row(&channel, receipt.id().0);
            changes.insert(&key, bytes.as_slice()).map_err(StoreError::disk)?;
        }
        RecordChange::Snapshot { bytes } => {
            insert(transaction.open_table(RECORD), &channel, bytes)?;
            clear(transaction.open_table(RECORD_CHANGES).map_err(StoreError::disk)?, &channel)?;
        }
    }
    let mut last = transaction.open_table(LAST_UPDATE).map_err(StoreError::disk)?;
    last.insert(&channel, receipt.id().0).map_err(StoreError::disk)?;
    Ok(())
}

fn replace(
    transaction: &WriteTransaction,
    channel: &[u8; 32],
    stored: &StoredChannel,
) -> Result<(), StoreError> {
    insert(transaction.open_table(NEW), channel, &stored.new)?;
    insert(transaction.open_table(RECORD), channel, &stored.record)?;
    let mut monitors = transaction.open_table(MONITOR).map_err(StoreError::disk)?;
    match &stored.monitor {
        Some(monitor) => monitors.insert(channel, monitor.as_slice()).map_err(StoreError::disk)?,
        None => monitors.remove(channel).map_err(StoreError::disk)?,
    };
    let mut last = transaction.open_table(LAST_UPDATE).map_err(StoreError::disk)?;
    last.insert(channel, stored.last_update.0).map_err(StoreError::disk)?;
    clear(transaction.open_table(PAST).map_err(StoreError::disk)?, channel)?;
    let mut past = transaction.open_table(PAST).map_err(StoreError::disk)?;
    for (number, part) in (0_u64..).zip(&stored.past) {
        past.insert(&row(channel, number), part.as_slice()).map_err(StoreError::disk)?;
    }
    // The last row belongs to the last update, those before it to the ones before.
    for (table, rows) in [(UPDATES, &stored.updates), (RECORD_CHANGES, &stored.record_changes)] {
        clear(transaction.open_table(table).map_err(StoreError::disk)?, channel)?;
        let mut table = transaction.open_table(table).map_err(StoreError::disk)?;
        for (back, bytes) in (0_u64..).zip(rows.iter().rev()) {
            let key = row(channel, stored.last_update.0.saturating_sub(back));
            table.insert(&key, bytes.as_slice()).map_err(StoreError::disk)?;
        }
    }
    Ok(())
}

fn archive(transaction: &WriteTransaction, channel: &[u8; 32]) -> Result<(), StoreError> {
    let mut monitors = transaction.open_table(MONITOR).map_err(StoreError::disk)?;
    let last = monitors.remove(channel).map_err(StoreError::disk)?.map(|value| value.value().to_vec());
    if let Some(last) = last {
        insert(transaction.open_table(ARCHIVE), channel, &last)?;
        let past = transaction.open_table(PAST).map_err(StoreError::disk)?;
        let mut archived = transaction.open_table(ARCHIVED_PAST).map_err(StoreError::disk)?;
        for part in
            past.range::<&[u8; 40]>(&row(channel, 0)..=&row(channel, u64::MAX)).map_err(StoreError::disk)?
        {
            let (key, bytes) = part.map_err(StoreError::disk)?;
            archived.insert(key.value(), bytes.value()).map_err(StoreError::disk)?;
        }
    }
    clear(transaction.open_table(PAST).map_err(StoreError::disk)?, channel)?;
    transaction.open_table(NEW).map_err(StoreError::disk)?.remove(channel).map_err(StoreError::disk)?;
    transaction.open_table(RECORD).map_err(StoreError::disk)?.remove(channel).map_err(StoreError::disk)?;
    transaction
        .open_table(LAST_UPDATE)
        .map_err(StoreError::disk)?
        .remove(channel)
        .map_err(StoreError::disk)?;
    clear(transaction.open_table(UPDATES).map_err(StoreError::disk)?, channel)?;
    clear(transaction.open_table(RECORD_CHANGES).map_err(StoreError::disk)?, channel)
}

fn insert(
    table: Result<Table<'_, &'static [u8; 32], &'static [u8]>, redb::TableError>,
    channel: &[u8; 32],
    bytes: &[u8],
) -> Result<(), StoreError> {
    let mut table = table.map_err(StoreError::disk)?;
    table.insert(channel, bytes).map_err(StoreError::disk)?;
    Ok(())
}

/// Drops all rows of a channel.
fn clear(
    mut table: Table<'_, &'static [u8; 40], &'static [u8]>,
    channel: &[u8; 32],
) -> Result<(), StoreError> {
    let (first, last) = (row(channel, 0), row(channel, u64::MAX));
    table.retain_in::<&[u8; 40], _>(&first..=&last, |_, _| false).map_err(StoreError::disk)
}
