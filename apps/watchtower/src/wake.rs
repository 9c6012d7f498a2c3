//! A flag that one thread waits for and others raise.
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// A flag that somebody waits for.
#[derive(Debug, Default)]
pub struct Wake {
    raised: Mutex<bool>,
    condition: Condvar,
    stopping: AtomicBool,
}

impl Wake {
    /// There is something to do.
    pub fn raise(&self) {
        *self.raised.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.condition.notify_one();
    }

    /// Whoever waits should end.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        self.raise();
    }

    /// Whether to end.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    /// Waits until the flag is raised or the time is over, and takes it down.
    pub fn wait(&self, patience: Duration) {
        let raised = self.raised.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.condition.wait_timeout_while(raised, patience, |raised| !*raised);
        let (mut raised, _) = waited.unwrap_or_else(PoisonError::into_inner);
        *raised = false;
    }
}
