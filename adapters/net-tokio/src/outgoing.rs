//! Calling peers.
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::Arc;

use bitcoin::secp256k1::PublicKey;
use lightning_peer::{ConnectionId, Disconnect, PeerEnvironment};
use lightning_traits::id::NodeId;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use crate::socket::Standing;
use crate::{Net, NetError, Shared};

/// `node_id@host:port`, the form in which people pass peers on. The port is 9735 unless given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerAddress {
    /// Who should be there.
    pub node_id: PublicKey,
    /// `host:port`; a numerical IPv6 address stands in brackets.
    pub host: String,
}

impl FromStr for PeerAddress {
    type Err = NetError;

    fn from_str(text: &str) -> Result<Self, NetError> {
        let bad = || NetError::BadPeerAddress(text.to_owned());
        let (node_id, host) = text.trim().split_once('@').ok_or_else(bad)?;
        let node_id = node_id.parse().map_err(|_| bad())?;
        let behind = host.rsplit_once(']').map_or(host, |(_, behind)| behind);
        let host = match behind.rsplit_once(':') {
            Some((_, port)) => port.parse::<u16>().map(|_| host.to_owned()).map_err(|_| bad())?,
            None if host.is_empty() => return Err(bad()),
            None => format!("{host}:{DEFAULT_PORT}"),
        };
        Ok(Self { node_id, host })
    }
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.node_id, self.host)
    }
}

impl<E: PeerEnvironment + Send + Sync + 'static> Net<E> {
    /// Calls a peer and waits until both sides have said `init`, so that messages can go.
    ///
    /// # Errors
    /// [`NetError`] when nobody answers there, or it is not the node it should be, or it does not want us.
    pub async fn connect(&self, peer: &PeerAddress) -> Result<ConnectionId, NetError> {
        let patience = self.shared.config.connect_timeout;
        match timeout(patience, self.shared.call(peer)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(NetError::TimedOut { address: peer.host.clone(), seconds: patience.as_secs() }),
        }
    }
}

impl<E: PeerEnvironment + Send + Sync + 'static> Shared<E> {
    async fn call(self: &Arc<Self>, peer: &PeerAddress) -> Result<ConnectionId, NetError> {
        if self.is_stopping() {
            return Err(NetError::ShutDown);
        }
        let stream = reach(&peer.host).await?;
        let id = self.new_id();
        let handle = self.register(id);
        let act_one = match self.manager.connect_outbound(id, peer.node_id) {
            Ok(act_one) => act_one.to_vec(),
            Err(error) => {
                self.unregister(id);
                return Err(error.into());
            }
        };
        let mut standing = handle.standing.subscribe();
        let task = Arc::clone(self).run_socket(id, handle, stream, act_one);
        if self.spawn(task).is_none() {
            self.manager.socket_disconnected(id);
            self.unregister(id);
            return Err(NetError::ShutDown);
        }
        // Who gives up waiting leaves a handshake behind, which the manager's ticks end.
        match standing.wait_for(|standing| *standing != Standing::Starting).await.as_deref() {
            Ok(Standing::Ended(reason)) => {
                // Both called each other at once, and the other call was the one to keep.
                let crossed = matches!(reason, Disconnect::Duplicate | Disconnect::Replaced);
                let other = self.connection_of(peer.node_id).filter(|_| crossed);
                other.ok_or_else(|| NetError::Ended { address: peer.host.clone(), reason: *reason })
            }
            Ok(Standing::Ready | Standing::Starting) => Ok(id),
            Err(_) => Err(NetError::ShutDown),
        }
    }

    fn connection_of(&self, node: PublicKey) -> Option<ConnectionId> {
        let node = NodeId::from(node);
        self.manager.peers().into_iter().find(|peer| peer.node_id == node).map(|peer| peer.connection)
    }
}

/// A stream to the first address of `host` that answers.
async fn reach(host: &str) -> Result<TcpStream, NetError> {
    let unknown = |source| NetError::UnknownHost { address: host.to_owned(), source };
    let addresses: Vec<SocketAddr> = lookup_host(host).await.map_err(unknown)?.collect();
    let mut last = None;
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = Some(NetError::connecting(host.to_owned(), error)),
        }
    }
    Err(last.unwrap_or_else(|| unknown(io::ErrorKind::NotFound.into())))
}

/// BOLT 1: "The default TCP port depends on the network used. The most common networks are: Bitcoin mainnet: 9735".
const DEFAULT_PORT: u16 = 9735;

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "028d7500dd4c12685d1f568b4c2b5048e8534b873319f3a8daa612b469132ec7f7";

    #[test]
    fn addresses_of_peers() {
        for (given, host) in [
            ("127.0.0.1:19735", "127.0.0.1:19735"),
            ("example.com", "example.com:9735"),
            ("[::1]:7", "[::1]:7"),
            ("[::1]", "[::1]:9735"),
        ] {
            let peer: PeerAddress = format!(" {ID}@{given}\n").parse().unwrap();
            assert_eq!(peer.host, host);
            assert_eq!(peer.to_string(), format!("{ID}@{host}"));
        }
        for bad in ["", "example.com:9735", "02@example.com", &format!("{ID}@"), &format!("{ID}@host:port")] {
            assert!(matches!(bad.parse::<PeerAddress>(), Err(NetError::BadPeerAddress(_))), "{bad}");
        }
    }
}
