//! Listening for callers.
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use lightning_peer::PeerEnvironment;
use lightning_traits::wire::NodeAddress;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::sleep;

use crate::{Net, NetError, Shared};

impl<E: PeerEnvironment + Send + Sync + 'static> Net<E> {
    /// Listens on `address` until the shutdown; returns the address in use, which tells the port when 0 was asked for.
    ///
    /// # Errors
    /// [`NetError`] when the address cannot be listened on.
    pub async fn listen(&self, address: SocketAddr) -> Result<SocketAddr, NetError> {
        let failed = |error| NetError::listening(address.to_string(), error);
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let bound = listener.local_addr().map_err(failed)?;
        let task = Arc::clone(&self.shared).accept_all(listener);
        self.shared.spawn(task).ok_or(NetError::ShutDown)?;
        tracing::info!(address = %bound, "listening for peers");
        Ok(bound)
    }
}

impl<E: PeerEnvironment + Send + Sync + 'static> Shared<E> {
    async fn accept_all(self: Arc<Self>, listener: TcpListener) {
        loop {
            // Those who find no place wait in the queue of the operating system.
            let accepted = tokio::select! {
                permit = Arc::clone(&self.inbound).acquire_owned() => {
                    let Ok(permit) = permit else { return };
                    tokio::select! {
                        accepted = listener.accept() => accepted.map(|(stream, from)| (stream, from, permit)),
                        () = self.stopped() => return,
                    }
                }
                () = self.stopped() => return,
            };
            match accepted {
                Ok((stream, from, permit)) => self.accept(stream, from, permit),
                Err(error) => {
                    // Most likely all file descriptors are in use: trying at once would only burn the processor.
                    tracing::warn!(%error, "cannot accept a connection");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn accept(self: &Arc<Self>, stream: TcpStream, from: SocketAddr, permit: OwnedSemaphorePermit) {
        let id = self.new_id();
        let handle = self.register(id);
        if let Err(error) = self.manager.accept_inbound(id, Some(node_address(from))) {
            tracing::warn!(%from, %error, "caller not served");
            self.unregister(id);
            return;
        }
        tracing::debug!(%from, connection = id.0, "a peer calls");
        let task = Arc::clone(self).run_socket(id, handle, stream, Vec::new());
        let spawned = self.spawn(async move {
            task.await;
            drop(permit);
        });
        if spawned.is_none() {
            self.manager.socket_disconnected(id);
            self.unregister(id);
        }
    }
}

fn node_address(address: SocketAddr) -> NodeAddress {
    let port = address.port();
    // A socket for both families reports IPv4 callers in IPv6 form.
    match address.ip().to_canonical() {
        std::net::IpAddr::V4(address) => NodeAddress::Ipv4 { address, port },
        std::net::IpAddr::V6(address) => NodeAddress::Ipv6 { address, port },
    }
}

const ACCEPT_PAUSE: Duration = Duration::from_secs(1);
