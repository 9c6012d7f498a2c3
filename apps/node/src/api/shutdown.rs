//! The one wish to stop, whoever has it: a signal, the method `stop`, or a part of the daemon that cannot go on.
use std::io;
use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// A wish to stop. Clones are the same wish.
#[derive(Clone, Debug)]
pub struct Shutdown(Arc<watch::Sender<bool>>);

impl Default for Shutdown {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }
}

impl Shutdown {
    /// Nobody wishes to stop yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Wishes to stop.
    pub fn trigger(&self) {
        self.0.send_replace(true);
    }

    /// Whether somebody wishes to stop.
    #[must_use]
    pub fn is_triggered(&self) -> bool {
        *self.0.borrow()
    }

    /// Returns when somebody wishes to stop.
    pub async fn wait(&self) {
        // The sender lives as long as `self`, so this ends only by the value.
        let mut wish = self.0.subscribe();
        let _seen = wish.wait_for(|stop| *stop).await;
    }

    /// From now on SIGTERM and SIGINT are this wish; a second one ends the process at once.
    ///
    /// # Errors
    /// When the system refuses to tell of signals, or outside of a runtime.
    pub fn on_signals(&self) -> io::Result<()> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let wish = self.clone();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
                if wish.is_triggered() {
                    std::process::exit(SECOND_SIGNAL);
                }
                tracing::info!("stopping; a second signal ends at once");
                wish.trigger();
            }
        });
        Ok(())
    }
}

/// The status of a process that a second SIGINT ended, as shells have it.
const SECOND_SIGNAL: i32 = 130;
