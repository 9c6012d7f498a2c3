//! The messages of BOLT 1, 2, 4 (`onion_message`) and 7: structs with exact encodings, one file a family.
//!
//! Fields carry the names of the BOLTs. What a message *means* is not here: no channel state, no policy, no check beyond
//! "these bytes are such a message". Decoding and encoding again gives the same bytes.
//!
//! # Invariants
//! - decoding never panics and allocates at most a small multiple of its input (I9)
//! - unknown odd records, unknown flag bits and, in signed gossip, all trailing bytes are kept
//! - unknown even records do not decode (BOLT 1)
//!
//! A message ends where its bytes end: inside another value, give it a frame
//! ([`encode_framed`](crate::codec::encode_framed)). See also `table.rs` for how a message is declared.
mod address;
mod announce;
mod close;
mod commit;
mod control;
mod custom;
mod dual;
mod group;
mod interactive;
mod onion;
mod open;
mod query;
mod resync;
mod splice;
pub(crate) mod table;
mod update;

pub use address::{Addresses, Hostname, NodeAddress};
pub use announce::{
    AnnouncementSignatures, ChannelAnnouncement, ChannelAnnouncementBody, ChannelUpdate, ChannelUpdateBody,
    Excess, NodeAlias, NodeAnnouncement, NodeAnnouncementBody,
};
pub use close::{ClosingComplete, ClosingSig, ClosingSigned, FeeRange, Shutdown};
pub use commit::{CommitmentSigned, RevokeAndAck, StartBatch};
pub use control::{ErrorMessage, Init, PeerStorage, PeerStorageRetrieval, Ping, Pong, WarningMessage};
pub use custom::UnknownMessage;
pub use dual::{AcceptChannel2, OpenChannel2};
pub use group::{ChannelMessage, Message, RoutingMessage};
pub use interactive::{
    TxAbort, TxAckRbf, TxAddInput, TxAddOutput, TxComplete, TxInitRbf, TxRemoveInput, TxRemoveOutput,
    TxSignatures, TxWitness,
};
pub use onion::OnionMessage;
pub use open::{AcceptChannel, ChannelReady, FundingCreated, FundingSigned, OpenChannel};
pub use query::{
    ChannelUpdateChecksums, ChannelUpdateTimestamps, EncodedArray, EncodingError, GossipTimestampFilter,
    QueryChannelRange, QueryShortChannelIds, ReplyChannelRange, ReplyShortChannelIdsEnd,
};
pub use resync::{ChannelReestablish, CurrentFundingLocked, NextFunding};
pub use splice::{SpliceAck, SpliceInit, SpliceLocked, Stfu};
pub use update::{UpdateAddHtlc, UpdateFailHtlc, UpdateFailMalformedHtlc, UpdateFee, UpdateFulfillHtlc};

use alloc::boxed::Box;
use alloc::vec::Vec;

use thiserror::Error;

use crate::codec::{Decode, Encode};

/// The longest message, its type included (BOLT 1, "Lightning Message Format").
pub const MAX_MESSAGE_LEN: usize = 65_535;

/// A message that cannot be sent because it is longer than 65535 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("message {type_id} is {length} bytes long, more than 65535")]
pub struct TooLong {
    /// Type of the message.
    pub type_id: u16,
    /// Length with the type.
    pub length: usize,
}

/// A message of one type; its own encoding is the payload without the type.
pub trait WireMessage: Encode + Decode {
    /// The type of the message.
    const TYPE: u16;

    /// The message as the transport carries it: type, then payload.
    ///
    /// # Errors
    /// [`TooLong`] above 65535 bytes.
    fn to_wire(&self) -> Result<Vec<u8>, TooLong> {
        with_type(Self::TYPE, self)
    }
}

impl<T: WireMessage> WireMessage for Box<T> {
    const TYPE: u16 = T::TYPE;
}

/// The type and the payload behind it, if they fit.
fn with_type(type_id: u16, payload: &(impl Encode + ?Sized)) -> Result<Vec<u8>, TooLong> {
    let mut out = Vec::with_capacity(256);
    type_id.encode(&mut out);
    payload.encode(&mut out);
    if out.len() > MAX_MESSAGE_LEN { Err(TooLong { type_id, length: out.len() }) } else { Ok(out) }
}
