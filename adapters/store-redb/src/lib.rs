//! A durable store on redb: one file, one atomic transaction for everything that must be durable together.
//!
//! [`RedbStore`] implements [`MonitorStore`] by *group commit*: a write is queued and answered
//! [`Persist::InProgress`]; [`RedbStore::commit`] writes all that is queued in one transaction with one
//! fsync, and only then are there receipts. The caller decides when and on which thread to wait for the disk.
//! Values of the program itself ([`RedbStore::put`]) ride in the same transactions.
//!
//! # Invariants
//! - update and record become durable together or not at all (I6)
//! - a receipt is given only after the fsync of its transaction
//! - after a failed commit nothing is acknowledged and nothing queued is lost (RELIABILITY J11)
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "adapters are where the outside world is touched (I1)"
)]

mod error;
mod load;
mod queue;
mod tables;

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bitcoin::BlockHash;
use lightning_traits::id::ChannelId;
use lightning_traits::interface::MonitorStore;
use lightning_traits::monitor::{ChannelMonitorUpdate, NewMonitor, Persist, Receipt};
use lightning_traits::units::BlockHeight;
use redb::{Database, Durability};

pub use error::StoreError;
use queue::Write;

/// A closure that wakes whoever commits.
struct Notify(Box<dyn Fn() + Send + Sync>);

impl core::fmt::Debug for Notify {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Notify(..)")
    }
}

/// The store. All methods take `&self`; only [`RedbStore::commit`] waits for the disk.
#[derive(Debug)]
pub struct RedbStore {
    database: Database,
    queue: Mutex<Vec<Write>>,
    receipts: Mutex<VecDeque<Receipt>>,
    /// Told whenever something was queued, so that somebody commits.
    notify: Option<Notify>,
    /// Held while a transaction is being written: commits happen one after another, in the order of the queue.
    committing: Mutex<()>,
}

impl RedbStore {
    /// Opens or creates the file at `path`.
    ///
    /// # Errors
    /// [`StoreError::InUse`] when another process has it open, [`StoreError::Corrupt`] when it is no store of
    /// ours or damaged, [`StoreError::NewerFormat`] when a later version wrote it.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let database = Database::create(path).map_err(|error| StoreError::opening(path, error))?;
        tables::prepare(&database).map_err(|error| error.at(path))?;
        Ok(Self {
            database,
            queue: Mutex::default(),
            receipts: Mutex::default(),
            notify: None,
            committing: Mutex::default(),
        })
    }

    /// Calls `notify` whenever something was queued. It may be called from any thread, must be quick, and must not
    /// call back: it is there to wake whoever commits.
    #[must_use]
    pub fn with_notify(mut self, notify: impl Fn() + Send + Sync + 'static) -> Self {
        self.notify = Some(Notify(Box::new(notify)));
        self
    }

    /// Writes everything queued so far in one transaction and waits until it is on the disk; then its
    /// receipts can be polled. Returns how many writes that were.
    ///
    /// # Errors
    /// When the disk fails. All writes stay queued, in order, and no receipt exists for them.
    pub fn commit(&self) -> Result<usize, StoreError> {
        let _turn = lock(&self.committing);
        let batch = core::mem::take(&mut *lock(&self.queue));
        if batch.is_empty() {
            return Ok(0);
        }
        match self.write(&batch) {
            Ok(()) => {
                let count = batch.len();
                lock(&self.receipts).extend(batch.into_iter().filter_map(Write::into_receipt));
                Ok(count)
            }
            Err(error) => {
                let mut queue = lock(&self.queue);
                let later = core::mem::replace(&mut *queue, batch);
                queue.extend(later);
                Err(error)
            }
        }
    }

    /// Whether something waits for [`RedbStore::commit`].
    #[must_use]
    pub fn has_queued(&self) -> bool {
        !lock(&self.queue).is_empty()
    }

    /// Queues a value of the program's own under `key`; durable with the next commit.
    pub fn put(&self, key: &str, value: Vec<u8>) {
        self.enqueue(Write::Put { key: key.to_owned(), value: Some(value) });
    }

    /// Queues the removal of a value.
    pub fn remove(&self, key: &str) {
        self.enqueue(Write::Put { key: key.to_owned(), value: None });
    }

    fn enqueue(&self, write: Write) {
        lock(&self.queue).push(write);
        if let Some(Notify(notify)) = &self.notify {
            notify();
        }
    }

    fn write(&self, batch: &[Write]) -> Result<(), StoreError> {
        let mut transaction = self.database.begin_write().map_err(StoreError::disk)?;
        transaction.set_durability(Durability::Immediate).map_err(StoreError::disk)?;
        for write in batch {
            write.apply(&transaction)?;
        }
        transaction.commit().map_err(StoreError::disk)
    }
}

impl MonitorStore for RedbStore {
    fn write_new(&self, new: &NewMonitor) -> Persist {
        self.enqueue(Write::new_channel(new));
        Persist::InProgress
    }

    fn write_update(&self, update: &ChannelMonitorUpdate, snapshot: Option<Vec<u8>>) -> Persist {
        self.enqueue(Write::update(update, snapshot));
        Persist::InProgress
    }

    fn write_chain_state(&self, channel: ChannelId, snapshot: Vec<u8>) {
        self.enqueue(Write::ChainState { channel, snapshot });
    }

    fn write_tip(&self, hash: BlockHash, height: BlockHeight) {
        self.enqueue(Write::Tip { hash, height });
    }

    fn archive(&self, channel: ChannelId) {
        self.enqueue(Write::Archive { channel });
    }

    fn next_receipt(&self) -> Option<Receipt> {
        lock(&self.receipts).pop_front()
    }
}

/// A panic elsewhere leaves queue and receipts whole: both change by single pushes and takes.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
