//! What the peer layer hands to channels, and to the user's own extensions.
use alloc::vec::Vec;

use crate::feature::Features;
use crate::id::NodeId;
use crate::wire::{ChannelMessage, ChannelUpdate, ErrorMessage, Init, WarningMessage};

/// The handler wants no connection with this peer now; the peer layer disconnects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefusePeer;

/// Receives the messages that concern channels (BOLT 2, and BOLT 7's `announcement_signatures`).
///
/// Answers never come back from these calls: they are polled through
/// [`MessageSendEventsProvider`](super::MessageSendEventsProvider).
pub trait ChannelMessageHandler {
    /// A connection is up: both `init` messages are exchanged. Comes again without a disconnect in between
    /// when the peer reconnected before the old connection was seen to die.
    ///
    /// # Errors
    /// [`RefusePeer`] to hang up.
    fn peer_connected(&self, peer: NodeId, init: &Init, inbound: bool) -> Result<(), RefusePeer>;

    /// The connection is gone; nothing queued for it will be sent.
    fn peer_disconnected(&self, peer: NodeId);

    /// One message of a connected peer, in the order of the wire.
    fn on_channel_message(&self, peer: NodeId, message: ChannelMessage);

    /// The peer reports an error: it has failed the channel named, or all of ours when none is (BOLT 1).
    fn on_error(&self, peer: NodeId, error: &ErrorMessage);

    /// The peer complains; nothing follows from it but a log record.
    fn on_warning(&self, peer: NodeId, warning: &WarningMessage);

    /// The peer sends its `channel_update`, which also goes to the router. For a channel that gossip does not know, nobody
    /// else keeps it: its terms go into our invoices (BOLT 11, field `r`).
    fn on_channel_update(&self, _peer: NodeId, _update: &ChannelUpdate) {}

    /// Feature bits that the handler needs in `init`, by what it can do.
    fn features(&self) -> Features;
}

/// Receives messages of types that the library does not know.
pub trait CustomMessageHandler {
    /// Takes the message if its type is the handler's own; `false` leaves it to the odd/even rule of BOLT 1.
    fn on_custom_message(&self, peer: NodeId, type_id: u16, payload: &[u8]) -> bool;

    /// The next message to send: to whom, its type, its payload.
    fn next_custom_message(&self) -> Option<(NodeId, u16, Vec<u8>)>;
}

impl CustomMessageHandler for () {
    fn on_custom_message(&self, _: NodeId, _: u16, _: &[u8]) -> bool {
        false
    }

    fn next_custom_message(&self) -> Option<(NodeId, u16, Vec<u8>)> {
        None
    }
}
