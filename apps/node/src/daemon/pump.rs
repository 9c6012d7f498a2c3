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
use std::time::Duration;

use super::node::Inner;

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
/// After a failed write, before the next try.
const AFTER_FAILURE: Duration = Duration::from_secs(1);
/// Ticks of the channels are meant for about a minute: fewer seconds would give up parts of payments too early (BOLT 4).
const TICK: Duration = Duration::from_secs(60);

/// Starts the thread.
pub(super) fn start(node: Arc<Inner>) -> std::io::Result<JoinHandle<()>> {
    thread::Builder::new().name("pump".into()).spawn(move || run(&node))
}

fn run(node: &Inner) {
    let mut last_tick = std::time::Instant::now();
    while !node.wake.is_stopping() {
        turn(node);
        if last_tick.elapsed() >= TICK {
            last_tick = std::time::Instant::now();
            node.channels.timer_tick();
            node.call_lost_peers();
            turn(node);
        }
        node.wake.wait(PATIENCE);
    }
    turn(node);
}

/// Goes on until nothing moves.
fn turn(node: &Inner) {
    loop {
        if !commit(node) {
            return;
        }
        node.channels.process();
        super::events::handle(node);
        if let Err(error) = node.wallet.keep() {
            tracing::error!("the wallet cannot be stored: {error}");
        }
        super::record::keep(&node.store, node.channels.take_record());
        node.net.wake();
        if !node.store.has_queued() {
            return;
        }
    }
}

fn commit(node: &Inner) -> bool {
    match node.store.commit() {
        Ok(_) => true,
        Err(error) => {
            tracing::error!("{error}; channels wait until it works again");
            thread::sleep(AFTER_FAILURE);
            false
        }
    }
}
