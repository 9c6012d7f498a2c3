//! What can go wrong with a socket, in words that say what to do.
use std::io::{self, ErrorKind};

use lightning_peer::{ConnectError, Disconnect};
use thiserror::Error;

/// Why there is no socket, or no peer behind it.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum NetError {
    /// Another program listens there.
    #[error(
        "{address} is in use: another program, perhaps another node, listens there; stop it or choose another port"
    )]
    AddressInUse {
        /// The address to listen on.
        address: String,
    },
    /// This machine does not have the address.
    #[error("{address} is no address of this machine; use 0.0.0.0 or [::] to listen on all of them")]
    AddressNotLocal {
        /// The address to listen on.
        address: String,
    },
    /// The text is no address of a peer.
    #[error("{0:?} is no peer address: write node_id@host:port with a node id of 66 hexadecimal digits")]
    BadPeerAddress(String),
    /// The connection could not begin.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The connection came to nothing.
    #[error("{address}: {reason}")]
    Ended {
        /// The peer's address.
        address: String,
        /// Why.
        reason: Disconnect,
    },
    /// Some other error of the operating system.
    #[error("{address}: {source}")]
    Io {
        /// The address.
        address: String,
        /// The error.
        source: io::Error,
    },
    /// Only an administrator may listen there.
    #[error("no permission to listen on {address}: ports below 1024 are for administrators")]
    NoPermission {
        /// The address to listen on.
        address: String,
    },
    /// The machine answers, but nobody listens on that port.
    #[error("{address} refuses connections: is the node running, and is the port right?")]
    Refused {
        /// The peer's address.
        address: String,
    },
    /// The net is shut down.
    #[error("the network is shut down")]
    ShutDown,
    /// No answer.
    #[error("{address} did not answer within {seconds} s: is it reachable from here?")]
    TimedOut {
        /// The peer's address.
        address: String,
        /// How long we waited.
        seconds: u64,
    },
    /// The name has no address.
    #[error("cannot find the address of {address}: {source}")]
    UnknownHost {
        /// The peer's address.
        address: String,
        /// The error.
        source: io::Error,
    },
    /// There is no way to the address.
    #[error("there is no way to {address}: check the network of this machine")]
    Unreachable {
        /// The peer's address.
        address: String,
    },
}

impl NetError {
    pub(crate) fn listening(address: String, source: io::Error) -> Self {
        match source.kind() {
            ErrorKind::AddrInUse => Self::AddressInUse { address },
            ErrorKind::AddrNotAvailable => Self::AddressNotLocal { address },
            ErrorKind::PermissionDenied => Self::NoPermission { address },
            _ => Self::Io { address, source },
        }
    }

    pub(crate) fn connecting(address: String, source: io::Error) -> Self {
        match source.kind() {
            ErrorKind::ConnectionRefused => Self::Refused { address },
            ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => Self::Unreachable { address },
            _ => Self::Io { address, source },
        }
    }
}
