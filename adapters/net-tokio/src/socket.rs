//! One socket: reads and writes side by side in one task, until either side ends the connection.
//!
//! # Invariants
//! - bytes go out in the order in which the manager gave them, whole, even when reading ends in the middle of a write
use std::io;
use std::sync::Arc;
use std::time::Duration;

use lightning_peer::{ConnectionId, Disconnect, PeerEnvironment};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::{Notify, watch};
use tokio::time::timeout;

use crate::{Shared, lock};

/// How a connection stands, for those who wait for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Starting,
    Ready,
    Ended(Disconnect),
}

/// The strings by which others pull at a socket's task.
pub(crate) struct Handle {
    write: Notify,
    read: Notify,
    close: Notify,
    pub(crate) standing: watch::Sender<Standing>,
}

impl Handle {
    pub(crate) fn wake_writer(&self) {
        self.write.notify_one();
    }

    pub(crate) fn wake_reader(&self) {
        self.read.notify_one();
    }

    pub(crate) fn close(&self) {
        self.close.notify_one();
    }
}

/// Bytes on their way out: what was written is remembered, so a write that was broken off can be taken up again.
struct Outgoing {
    bytes: Vec<u8>,
    written: usize,
}

impl Outgoing {
    fn rest(&self) -> &[u8] {
        self.bytes.get(self.written..).unwrap_or_default()
    }

    async fn write_some(&mut self, socket: &mut WriteHalf<'_>) -> io::Result<()> {
        // Safe to break off: then nothing was written.
        let count = socket.write(self.rest()).await?;
        if count == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.written = self.written.saturating_add(count);
        Ok(())
    }
}

impl<E: PeerEnvironment + Send + Sync + 'static> Shared<E> {
    /// The strings of a new connection. To be called before the manager hears of it, so that no wake-up is lost.
    pub(crate) fn register(&self, id: ConnectionId) -> Arc<Handle> {
        let handle = Arc::new(Handle {
            write: Notify::new(),
            read: Notify::new(),
            close: Notify::new(),
            standing: watch::Sender::new(Standing::Starting),
        });
        lock(&self.sockets).insert(id, Arc::clone(&handle));
        handle
    }

    /// Forgets a connection that the manager did not take.
    pub(crate) fn unregister(&self, id: ConnectionId) {
        lock(&self.sockets).remove(&id);
    }

    /// Carries the bytes of a connection that the manager knows, from `first` on, until it ends.
    pub(crate) async fn run_socket(
        self: Arc<Self>,
        id: ConnectionId,
        handle: Arc<Handle>,
        mut stream: TcpStream,
        first: Vec<u8>,
    ) {
        // Small messages wait for nothing: each step of a payment is one.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(connection = id.0, %error, "TCP_NODELAY not set");
        }
        let mut out = Outgoing { bytes: first, written: 0 };
        {
            let (mut reader, mut writer) = stream.split();
            tokio::select! {
                () = self.read_all(id, &handle, &mut reader) => {}
                outcome = self.write_all(id, &handle, &mut writer, &mut out) => {
                    if let Err(error) = outcome {
                        tracing::debug!(connection = id.0, %error, "write failed");
                    }
                }
                () = handle.close.notified() => {}
            }
            // Last words: an error, a warning, the messages before it. Nothing is left when the peer hung up.
            let _ = timeout(LAST_WORDS, self.write_rest(id, &mut writer, &mut out)).await;
        }
        let _ = timeout(LAST_WORDS, stream.shutdown()).await;
        drop(stream);
        let reason = self.manager.socket_disconnected(id);
        self.unregister(id);
        handle.standing.send_replace(Standing::Ended(reason));
        self.after_input();
        self.ended.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Reads until the connection ends.
    async fn read_all(&self, id: ConnectionId, handle: &Handle, reader: &mut ReadHalf<'_>) {
        let mut buffer = vec![0; READ_AT_ONCE];
        let mut starting = true;
        loop {
            if starting && self.manager.is_ready(id) {
                starting = false;
                handle.standing.send_replace(Standing::Ready);
            }
            if !self.manager.wants_read(id) {
                handle.read.notified().await;
                continue;
            }
            let count = match reader.read(&mut buffer).await {
                Ok(0) => return,
                Ok(count) => count,
                Err(error) => {
                    tracing::debug!(connection = id.0, %error, "read failed");
                    return;
                }
            };
            let outcome = self.manager.handle_bytes(id, buffer.get(..count).unwrap_or_default());
            self.after_input();
            if outcome.is_err() {
                return;
            }
        }
    }

    /// Writes whatever comes, until the socket fails.
    async fn write_all(
        &self,
        id: ConnectionId,
        handle: &Handle,
        writer: &mut WriteHalf<'_>,
        out: &mut Outgoing,
    ) -> io::Result<()> {
        loop {
            if out.rest().is_empty() && !self.refill(id, out) {
                handle.write.notified().await;
                continue;
            }
            out.write_some(writer).await?;
        }
    }

    /// Writes what is left.
    async fn write_rest(
        &self,
        id: ConnectionId,
        writer: &mut WriteHalf<'_>,
        out: &mut Outgoing,
    ) -> io::Result<()> {
        while !out.rest().is_empty() || self.refill(id, out) {
            out.write_some(writer).await?;
        }
        Ok(())
    }

    /// Takes more bytes from the manager, into the same memory; `false` when there are none.
    fn refill(&self, id: ConnectionId, out: &mut Outgoing) -> bool {
        out.bytes.clear();
        out.written = 0;
        self.manager.poll_transmit(id, &mut out.bytes);
        if out.bytes.is_empty() {
            out.bytes.shrink_to(KEPT_CAPACITY);
        } else if self.manager.wants_events() {
            // There is room for more of a long answer.
            self.after_input();
        } else {
            // Perhaps the peer is to be read again.
            self.wake_sockets();
        }
        !out.bytes.is_empty()
    }
}

/// Bytes read at once: several messages, yet little memory for each of many idle peers.
const READ_AT_ONCE: usize = 16 * 1024;
const KEPT_CAPACITY: usize = 16 * 1024;
/// How long the last words of a connection may take.
const LAST_WORDS: Duration = Duration::from_secs(2);
