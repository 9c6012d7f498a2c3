//! Tokio sockets around a [`PeerManager`].
//!
//! [`Net`] owns the sockets: it listens, connects, carries bytes both ways, ticks the manager's time, and hands what
//! the handlers have to send to the sockets. One task for each socket, which reads and writes side by side.
//!
//! # Invariants
//! - every connection given to the manager is ended with one `socket_disconnected`
//! - a socket is not read while its peer does not take our answers, so memory for each peer is bounded
//! - a frame that was begun is finished before anything else is written, at the end too
//!
//! Handlers are called on the tasks of the sockets: one that blocks for long (a disk, a remote signer) should
//! answer "in progress" instead, or the runtime needs a thread more.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "adapters are where the outside world is touched (I1)"
)]

mod error;
mod listen;
mod outgoing;
mod reconnect;
mod socket;

pub use error::NetError;
pub use outgoing::PeerAddress;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lightning_peer::{ConnectionId, PeerEnvironment, PeerManager};
use lightning_traits::id::NodeId;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::AbortHandle;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::socket::Handle;

/// What may be chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetConfig {
    /// Time between two ticks of the manager. Its limits are meant for ten seconds.
    pub tick: Duration,
    /// How long a connection of ours may take to stand, name look-up included.
    pub connect_timeout: Duration,
    /// How many callers are served at once; others wait outside.
    pub max_inbound: usize,
    /// First and longest pause between two tries to reach a peer again.
    pub backoff: (Duration, Duration),
}

impl Default for NetConfig {
    fn default() -> Self {
        Self {
            tick: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(15),
            max_inbound: 512,
            backoff: (Duration::from_secs(1), Duration::from_secs(120)),
        }
    }
}

/// The sockets of a node. Clones are the same net.
pub struct Net<E: Sync + Send + 'static> {
    shared: Arc<Shared<E>>,
}

impl<E: Sync + Send + 'static> Clone for Net<E> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

pub(crate) struct Shared<E> {
    manager: Arc<PeerManager<E>>,
    config: NetConfig,
    next_id: AtomicU64,
    sockets: Mutex<BTreeMap<ConnectionId, Arc<Handle>>>,
    inbound: Arc<Semaphore>,
    /// Peers that are called again and again, with the tasks that do so.
    kept: Mutex<BTreeMap<NodeId, AbortHandle>>,
    /// Turns true once, to stop listening and calling.
    stopping: watch::Sender<bool>,
    /// Counts connections that have ended.
    ended: watch::Sender<u64>,
    /// Held by each task, so that the end of all can be awaited; gone after the shutdown.
    alive: Mutex<Option<mpsc::Sender<()>>>,
    all_gone: tokio::sync::Mutex<mpsc::Receiver<()>>,
}

impl<E: PeerEnvironment + Send + Sync + 'static> Net<E> {
    /// A net around `manager`; ticks its time from now on. To be called inside a Tokio runtime.
    pub fn new(manager: Arc<PeerManager<E>>, config: NetConfig) -> Self {
        let (alive, all_gone) = mpsc::channel(1);
        let shared = Arc::new(Shared {
            manager,
            inbound: Arc::new(Semaphore::new(config.max_inbound)),
            config,
            next_id: AtomicU64::new(1),
            sockets: Mutex::default(),
            kept: Mutex::default(),
            stopping: watch::Sender::new(false),
            ended: watch::Sender::new(0),
            alive: Mutex::new(Some(alive)),
            all_gone: tokio::sync::Mutex::new(all_gone),
        });
        shared.spawn(Arc::clone(&shared).tick());
        Self { shared }
    }

    /// The manager.
    pub fn manager(&self) -> &Arc<PeerManager<E>> {
        &self.shared.manager
    }

    /// Sends what the handlers have to send: to be called after anything that gave them some from outside the net,
    /// such as a command of the user or a new block.
    pub fn wake(&self) {
        self.shared.after_input();
    }

    /// Ends all connections after writing what must still go out, and waits until all tasks are gone, for a few
    /// seconds at most.
    pub async fn shutdown(&self) {
        let shared = &self.shared;
        shared.stopping.send_replace(true);
        lock(&shared.kept).clear();
        drop(lock(&shared.alive).take());
        shared.manager.disconnect_all();
        shared.after_input();
        // Once all senders are dropped, that is all tasks gone, `recv` yields `None`.
        let mut all_gone = shared.all_gone.lock().await;
        if timeout(SHUTDOWN_PATIENCE, all_gone.recv()).await.is_err() {
            tracing::warn!("some sockets did not close in time");
        }
    }
}

impl<E: PeerEnvironment + Send + Sync + 'static> Shared<E> {
    /// Spawns a task whose end a shutdown awaits. After a shutdown nothing is spawned.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> Option<AbortHandle> {
        let alive = lock(&self.alive).clone()?;
        let task = tokio::spawn(async move {
            task.await;
            drop(alive);
        });
        Some(task.abort_handle())
    }

    fn new_id(&self) -> ConnectionId {
        ConnectionId(self.next_id.fetch_add(1, Ordering::Relaxed))
    }

    async fn tick(self: Arc<Self>) {
        let mut ticks = interval(self.config.tick);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The first one comes at once.
        ticks.tick().await;
        loop {
            tokio::select! {
                _ = ticks.tick() => {
                    self.manager.timer_tick();
                    self.after_input();
                }
                () = self.stopped() => return,
            }
        }
    }

    /// Ends when the net stops.
    async fn stopped(&self) {
        // The sender lives as long as we do.
        let _ = self.stopping.subscribe().wait_for(|stopping| *stopping).await;
    }

    fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }

    /// Lets the manager do what follows from an input, and wakes the sockets concerned.
    fn after_input(&self) {
        loop {
            self.manager.process_events();
            self.wake_sockets();
            if !self.manager.wants_events() {
                return;
            }
        }
    }

    /// Passes the manager's outputs on to the sockets.
    fn wake_sockets(&self) {
        while let Some(id) = self.manager.poll_ready() {
            self.with_handle(id, Handle::wake_writer);
        }
        while let Some(id) = self.manager.poll_readable() {
            self.with_handle(id, Handle::wake_reader);
        }
        while let Some((id, _)) = self.manager.poll_disconnect() {
            self.with_handle(id, Handle::close);
        }
    }

    fn with_handle(&self, id: ConnectionId, act: impl FnOnce(&Handle)) {
        let handle = lock(&self.sockets).get(&id).cloned();
        if let Some(handle) = handle {
            act(&handle);
        }
    }
}

/// A panic elsewhere leaves whole maps behind.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const SHUTDOWN_PATIENCE: Duration = Duration::from_secs(5);
