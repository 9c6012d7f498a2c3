//! The heart of the daemon: one thread that makes durable what waits, lets the structures go on, and tells the user.
//!
//! Whoever changes something wakes it: the store when a write is queued, the chain thread after blocks, the API after a
//! command. Writes that come while the disk is busy go into the next transaction together: group commit.
//!
//! # Invariants
//! - receipts come only from here, after the fsync
//! - a failing disk stops nothing but progress: the thread tries again, and says so (RELIABILITY J11)
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::node::Inner;
use super::snapshots::Snapshots;

/// A flag that somebody waits for.
#[derive(Default)]
pub(crate) struct Wake {
    raised: Mutex<bool>,
    condition: Condvar,
    stopping: AtomicBool,
}

impl Wake {
    /// There is something to do.
    pub(crate) fn raise(&self) {
        *self.raised.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.condition.notify_one();
    }

    /// Whoever waits should end.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        self.raise();
    }

    /// Whether to end.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    /// Waits until the flag is raised or the time is over, and takes it down.
    pub(crate) fn wait(&self, patience: Duration) {
        let raised = self.raised.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.condition.wait_timeout_while(raised, patience, |raised| !*raised);
        let (mut raised, _) = waited.unwrap_or_else(PoisonError::into_inner);
        *raised = false;
    }
}

/// Looks again after this long, whatever happens.
const PATIENCE: Duration = Duration::from_secs(1);
/// Books and intents wait this long for a transaction of a channel to ride in: by themselves they would cost an fsync
/// for each step, and hold up the next one. What a crash takes with them the channels' records tell again.
const UNHURRIED: Duration = Duration::from_millis(50);
/// After a failed write, before the next try.
const AFTER_FAILURE: Duration = Duration::from_secs(1);
/// Ticks of the channels are meant for about a minute: fewer seconds would give up parts of payments too early (BOLT 4).
const TICK: Duration = Duration::from_secs(60);

/// Starts the thread.
pub(super) fn start(node: Arc<Inner>) -> std::io::Result<JoinHandle<()>> {
    thread::Builder::new().name("pump".into()).spawn(move || run(&node))
}

fn run(node: &Inner) {
    let mut last_tick = Instant::now();
    let mut unhurried = Unhurried::default();
    let mut snapshots = Snapshots::default();
    while !node.wake.is_stopping() {
        unhurried.after(turn(node));
        if last_tick.elapsed() >= TICK {
            last_tick = Instant::now();
            node.channels.timer_tick();
            if let Some(guards) = node.gate.guards() {
                guards.timer_tick(&node.monitors);
            }
            node.call_lost_peers();
            snapshots.keep(node);
            unhurried.after(turn(node));
        }
        match unhurried.left(node) {
            Some(left) if left.is_zero() => unhurried.after(commit(node)),
            left => node.wake.wait(left.unwrap_or(PATIENCE)),
        }
    }
    if node.is_frozen() {
        return;
    }
    // All that is queued, and what follows from it.
    while commit(node) {
        turn(node);
        if !node.store.has_queued() {
            return;
        }
    }
}

/// Since when something is queued that no channel waits for.
#[derive(Default)]
struct Unhurried(Option<Instant>);

impl Unhurried {
    /// When all that was queued has been written, what is queued now is fresh.
    fn after(&mut self, written: bool) {
        if written {
            self.0 = None;
        }
    }

    /// How long that may go on; `None` when nothing is queued.
    fn left(&mut self, node: &Inner) -> Option<Duration> {
        if !node.store.has_queued() {
            self.0 = None;
            return None;
        }
        let since = *self.0.get_or_insert_with(Instant::now);
        Some(UNHURRIED.saturating_sub(since.elapsed()))
    }
}

/// Goes on until no channel waits for the disk; whether it has written.
fn turn(node: &Inner) -> bool {
    let mut written = false;
    loop {
        if node.store.is_pressing() {
            if !commit(node) {
                return false;
            }
            written = true;
        }
        if let Some(why) = node.gate.guards().and_then(|guards| guards.replaced()) {
            node.freeze(why);
            return false;
        }
        node.channels.process();
        if let Some(guards) = node.gate.guards() {
            for text in guards.process() {
                tracing::warn!("{text}");
                node.books.note("tower", text);
            }
        }
        // What may go out now goes while the rest is done.
        node.net.wake();
        // Before the events: what failed is told once the record says so. To ask again is to say that the rows of before are
        // stored: they are, or are queued before whatever follows, and the store keeps its order.
        super::record::keep(&node.store, node.channels.take_record());
        super::events::handle(node);
        if let Err(error) = node.wallet.keep() {
            tracing::error!("the wallet cannot be stored: {error}");
        }
        node.net.wake();
        if !node.store.is_pressing() {
            return written;
        }
    }
}

fn commit(node: &Inner) -> bool {
    match node.store.commit() {
        Ok(writes) => {
            tracing::trace!(writes, "durable");
            true
        }
        Err(error) => {
            tracing::error!("{error}; channels wait until it works again");
            thread::sleep(AFTER_FAILURE);
            false
        }
    }
}
