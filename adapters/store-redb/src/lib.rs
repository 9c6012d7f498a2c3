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
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bitcoin::BlockHash;
use lightning_traits::id::ChannelId;
use lightning_traits::interface::MonitorStore;
use lightning_traits::monitor::{
    ChannelMonitorUpdate, MonitorSnapshot, NewMonitor, Persist, Receipt, StoredChannel,
};
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

/// The store. All methods take `&self`; only [`RedbStore::commit`] and [`RedbStore::wait_durable`] wait for the disk.
#[derive(Debug)]
pub struct RedbStore {
    database: Database,
    queue: Mutex<Vec<Write>>,
    receipts: Mutex<VecDeque<Receipt>>,
    /// Told whenever something was queued, so that somebody commits.
    notify: Option<Notify>,
    /// Held while a transaction is being written: commits happen one after another, in the order of the queue.
    committing: Mutex<()>,
    /// For those who wait until what they queued is durable.
    progress: Mutex<Progress>,
    moved: Condvar,
}

/// How far the queue has got.
#[derive(Debug, Default)]
struct Progress {
    /// Writes queued so far; counted under the lock of the queue.
    queued: u64,
    durable: u64,
    /// Up to where somebody waits.
    wanted: u64,
    /// Commits that failed, and why the last one did.
    failures: u64,
    why: String,
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
            progress: Mutex::default(),
            moved: Condvar::new(),
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
        let count = batch.len();
        let outcome = self.write(&batch);
        match &outcome {
            Ok(()) => lock(&self.receipts).extend(batch.into_iter().filter_map(Write::into_receipt)),
            Err(_) => {
                let mut queue = lock(&self.queue);
                let later = core::mem::replace(&mut *queue, batch);
                queue.extend(later);
            }
        }
        let mut progress = lock(&self.progress);
        match &outcome {
            Ok(()) => progress.durable = progress.durable.saturating_add(count as u64),
            Err(error) => {
                progress.failures = progress.failures.saturating_add(1);
                progress.why = match error {
                    StoreError::Disk(why) => why.clone(),
                    other => other.to_string(),
                };
            }
        }
        drop(progress);
        self.moved.notify_all();
        outcome.map(|()| count)
    }

    /// Waits until everything queued so far is durable. Whoever is notified commits, so that many who wait share one
    /// transaction and none of them holds up the next; if nobody does for a while, this does it itself.
    ///
    /// # Errors
    /// [`StoreError::Disk`] when a commit fails meanwhile. What was queued stays queued.
    pub fn wait_durable(&self) -> Result<(), StoreError> {
        let (goal, failures) = {
            let mut progress = lock(&self.progress);
            progress.wanted = progress.queued;
            (progress.queued, progress.failures)
        };
        self.notify();
        loop {
            let waits = |progress: &mut Progress| progress.durable < goal && progress.failures == failures;
            let waited = self.moved.wait_timeout_while(lock(&self.progress), NOBODY_COMMITS, waits);
            let (progress, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            if progress.durable >= goal {
                return Ok(());
            }
            if progress.failures != failures {
                return Err(StoreError::Disk(progress.why.clone()));
            }
            drop(progress);
            if timeout.timed_out() {
                self.commit()?;
            }
        }
    }

    /// Whether something waits for [`RedbStore::commit`].
    #[must_use]
    pub fn has_queued(&self) -> bool {
        !lock(&self.queue).is_empty()
    }

    /// Whether somebody waits for the next commit: a channel for a receipt, or who calls
    /// [`wait_durable`](Self::wait_durable). Other values of the program's own may ride with it; all are written in the
    /// order in which they were queued.
    #[must_use]
    pub fn is_pressing(&self) -> bool {
        let progress = lock(&self.progress);
        let is_awaited = progress.wanted > progress.durable;
        drop(progress);
        is_awaited || lock(&self.queue).iter().any(Write::is_pressing)
    }

    /// Queues a whole channel, which replaces whatever is stored of it.
    pub fn put_channel(&self, channel: ChannelId, stored: StoredChannel) {
        self.enqueue(Write::Whole { channel, stored });
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
        let mut queue = lock(&self.queue);
        queue.push(write);
        // Under the lock, so that no commit counts as durable what is not yet counted as queued.
        let mut progress = lock(&self.progress);
        progress.queued = progress.queued.saturating_add(1);
        drop(progress);
        drop(queue);
        self.notify();
    }

    fn notify(&self) {
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

    fn write_update(&self, update: &ChannelMonitorUpdate, snapshot: Option<MonitorSnapshot>) -> Persist {
        self.enqueue(Write::update(update, snapshot));
        Persist::InProgress
    }

    fn write_chain_state(&self, channel: ChannelId, snapshot: MonitorSnapshot) {
        self.enqueue(Write::ChainState { channel, snapshot });
    }

    fn write_tip(&self, hash: BlockHash, height: BlockHeight) {
        self.enqueue(Write::Tip { hash, height });
    }

    fn archive(&self, channel: ChannelId) {
        self.enqueue(Write::Archive { channel });
    }

    /// As of the last commit, which is when the last receipt was made.
    fn read(&self, channel: ChannelId) -> Option<StoredChannel> {
        self.load_channel(channel).ok().flatten()
    }

    fn next_receipt(&self) -> Option<Receipt> {
        lock(&self.receipts).pop_front()
    }
}

/// Whoever should commit is at work or is not there any more.
const NOBODY_COMMITS: Duration = Duration::from_secs(1);

/// A panic elsewhere leaves queue and receipts whole: both change by single pushes and takes.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
