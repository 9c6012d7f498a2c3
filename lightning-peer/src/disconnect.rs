//! Why a connection ends.
//!
//! What is noticed here and what follows are apart: [`Disconnect`] says what happened, [`Disconnect::warning`] which of
//! these the peer is told before we hang up. No channel fails because a connection does (BOLT 1).
use alloc::string::{String, ToString as _};

use lightning_traits::codec::DecodeError;
use lightning_traits::feature::FeatureError;
use thiserror::Error;

use crate::frame::FrameError;
use crate::noise::HandshakeError;

/// Why a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Disconnect {
    /// The user asked for it.
    #[error("disconnected on request")]
    ByUser,
    /// Another connection with the same peer was begun at the same time, and both sides keep the other one.
    #[error("both sides connected at the same time; the other connection is kept")]
    Duplicate,
    /// The peer's feature bits and ours do not go together.
    #[error("features do not match: {0}")]
    Features(FeatureError),
    /// A frame did not decrypt.
    #[error("{error}{}", hint(*.after_init))]
    Frame {
        /// What was wrong.
        error: FrameError,
        /// Whether nothing but `init` had come before.
        after_init: bool,
    },
    /// A handler ended it, after its last message.
    #[error("disconnected after a fault")]
    Handler,
    /// The handshake failed.
    #[error("handshake failed: {0}")]
    Handshake(HandshakeError),
    /// The first message was not `init`.
    #[error("the first message was of type {0}, not init")]
    InitExpected(u16),
    /// A second `init`.
    #[error("a second init")]
    InitRepeated,
    /// The peer is on none of our chains.
    #[error("no common chain")]
    NoCommonChain,
    /// A ping was not answered.
    #[error("no pong came")]
    NoPong,
    /// Handshake or `init` took too long.
    #[error("handshake and init took too long")]
    NotReadyInTime,
    /// More bytes were handed over than [`wants_read`](crate::PeerManager::wants_read) allowed.
    #[error("bytes were read that nobody wanted")]
    Overrun,
    /// So many pings that answering them is not reasonable.
    #[error("too many pings")]
    PingFlood,
    /// A handler wants no connection with this peer.
    #[error("the peer is not welcome now")]
    Refused,
    /// The same peer connected again; the newer connection counts.
    #[error("replaced by a newer connection of the same peer")]
    Replaced,
    /// The socket is gone.
    #[error("the socket was closed{}", hint(*.after_init))]
    SocketClosed {
        /// Whether nothing but `init` had come before.
        after_init: bool,
    },
    /// The socket is gone before the handshake was done.
    #[error("the socket was closed during the handshake: most likely the node there has another node id")]
    SocketClosedInHandshake,
    /// The peer does not read what we send.
    #[error("the peer does not read")]
    TooSlow,
    /// A message of a known type that is none.
    #[error("message of type {type_id} does not decode: {error}")]
    Undecodable {
        /// Its type.
        type_id: u16,
        /// Why.
        error: DecodeError,
    },
    /// There is no such connection.
    #[error("no such connection")]
    UnknownConnection,
    /// A message of an even type that nobody here knows.
    #[error("unknown even message type {0}")]
    UnknownEvenType(u16),
}

impl Disconnect {
    /// What the peer is told in a last `warning`; `None` where it could not read it or knows already.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        match self {
            Self::Features(_)
            | Self::InitExpected(_)
            | Self::InitRepeated
            | Self::NoCommonChain
            | Self::PingFlood
            | Self::Undecodable { .. }
            | Self::UnknownEvenType(_) => Some(self.to_string()),
            Self::ByUser
            | Self::Duplicate
            | Self::Frame { .. }
            | Self::Handler
            | Self::Handshake(_)
            | Self::NoPong
            | Self::NotReadyInTime
            | Self::Overrun
            | Self::Refused
            | Self::Replaced
            | Self::SocketClosed { .. }
            | Self::SocketClosedInHandshake
            | Self::TooSlow
            | Self::UnknownConnection => None,
        }
    }

    /// Whether what the handlers had queued may still go out before the socket closes.
    pub(crate) const fn lets_queue_out(self) -> bool {
        matches!(
            self,
            Self::ByUser
                | Self::Features(_)
                | Self::Handler
                | Self::InitExpected(_)
                | Self::InitRepeated
                | Self::NoCommonChain
                | Self::PingFlood
                | Self::Undecodable { .. }
                | Self::UnknownEvenType(_)
        )
    }
}

/// Some nodes answer a compulsory feature bit that they do not know with a warning that is framed badly, or by
/// hanging up: what we see is a wrong tag or a closed socket as the first thing after `init`.
const fn hint(after_init: bool) -> &'static str {
    if after_init {
        " right after init: most likely the peer does not support one of our compulsory feature bits, or refuses us"
    } else {
        ""
    }
}
