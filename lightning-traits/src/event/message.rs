//! Messages that a structure wants sent.
use crate::id::NodeId;
use crate::wire::{Message, RoutingMessage};

/// One thing for the peer layer to do, in order for each peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MessageSendEvent {
    /// Send to one peer; dropped when the peer is not connected.
    Send {
        /// To whom.
        to: NodeId,
        /// What.
        message: Message,
    },
    /// Send to every connected peer that wants gossip. One of our own making is also handed to
    /// [`RoutingMessageHandler::on_own_message`](crate::interface::RoutingMessageHandler::on_own_message).
    Broadcast {
        /// What.
        message: RoutingMessage,
        /// The peer that it came from, who need not hear it again; `None` when it is our own.
        from: Option<NodeId>,
    },
    /// Hang up, after sending a last `error` or `warning`.
    Disconnect {
        /// Whom.
        peer: NodeId,
        /// The last message.
        last: Option<Message>,
    },
}
