//! [`Message`]: any message; and the groups of messages that the interfaces between the structures carry.
//!
//! # Invariants
//! - `Message::decode` and `to_wire` are inverse to each other
//! - an unknown type is a value and not an error: what follows from it is the peer crate's business
use alloc::boxed::Box;
use alloc::vec::Vec;

use super::{
    AcceptChannel, AcceptChannel2, AnnouncementSignatures, ChannelAnnouncement, ChannelReady,
    ChannelReestablish, ChannelUpdate, ClosingComplete, ClosingSig, ClosingSigned, CommitmentSigned,
    ErrorMessage, FundingCreated, FundingSigned, GossipTimestampFilter, Init, NodeAnnouncement, OnionMessage,
    OpenChannel, OpenChannel2, PeerStorage, PeerStorageRetrieval, Ping, Pong, QueryChannelRange,
    QueryShortChannelIds, ReplyChannelRange, ReplyShortChannelIdsEnd, RevokeAndAck, Shutdown, SpliceAck,
    SpliceInit, SpliceLocked, StartBatch, Stfu, TooLong, TxAbort, TxAckRbf, TxAddInput, TxAddOutput,
    TxComplete, TxInitRbf, TxRemoveInput, TxRemoveOutput, TxSignatures, UnknownMessage, UpdateAddHtlc,
    UpdateFailHtlc, UpdateFailMalformedHtlc, UpdateFee, UpdateFulfillHtlc, WarningMessage, WireMessage,
};
use crate::codec::{Decode, DecodeError, Reader};
use crate::id::ChannelId;

/// The payload of a variant, on the heap where marked so.
macro_rules! payload {
    ($message:ident) => { $message };
    ($message:ident boxed) => { Box<$message> };
}

/// Declares [`Message`] from `Variant(Struct) [boxed]`.
macro_rules! all_messages {
    ($($variant:ident($message:ident) $($boxed:ident)?,)*) => {
        /// Any message.
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[allow(missing_docs, reason = "each variant holds the struct of its name, which is documented")]
        pub enum Message {
            $($variant(payload!($message $($boxed)?)),)*
            Unknown(UnknownMessage),
        }

        $(impl From<$message> for Message {
            fn from(message: $message) -> Self {
                Self::$variant(message.into())
            }
        })*

        impl Message {
            /// The types that this library knows, ascending.
            pub const KNOWN_TYPES: &[u16] = &[$($message::TYPE),*];

            /// Reads a message as the transport carries it: type, then payload.
            ///
            /// # Errors
            /// When the payload of a known type does not decode, or there is not even a type.
            pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
                let mut reader = Reader::new(bytes);
                let type_id = reader.read::<u16>()?;
                let payload = reader.take_rest();
                match type_id {
                    $($message::TYPE => Decode::from_bytes(payload).map(Self::$variant),)*
                    _ => Ok(Self::Unknown(UnknownMessage { type_id, payload: payload.to_vec() })),
                }
            }

            /// The type of the message.
            #[must_use]
            pub const fn type_id(&self) -> u16 {
                match self {
                    $(Self::$variant(_) => $message::TYPE,)*
                    Self::Unknown(message) => message.type_id,
                }
            }

            /// The message as the transport carries it: type, then payload.
            ///
            /// # Errors
            /// [`TooLong`] above 65535 bytes.
            pub fn to_wire(&self) -> Result<Vec<u8>, TooLong> {
                match self {
                    $(Self::$variant(message) => message.to_wire(),)*
                    Self::Unknown(message) => message.to_wire(),
                }
            }
        }
    };
}

/// Declares a group of messages from `Variant(Struct) [boxed]`, with conversions from and to [`Message`].
macro_rules! group {
    ($(#[$doc:meta])* $group:ident { $($variant:ident($message:ident) $($boxed:ident)?,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[allow(missing_docs, reason = "each variant holds the struct of its name, which is documented")]
        pub enum $group {
            $($variant(payload!($message $($boxed)?)),)*
        }

        impl $group {
            /// The type of the message.
            #[must_use]
            pub const fn type_id(&self) -> u16 {
                match self {
                    $(Self::$variant(_) => $message::TYPE,)*
                }
            }

            /// The message as the transport carries it: type, then payload.
            ///
            /// # Errors
            /// [`TooLong`] above 65535 bytes.
            pub fn to_wire(&self) -> Result<Vec<u8>, TooLong> {
                match self {
                    $(Self::$variant(message) => message.to_wire(),)*
                }
            }
        }

        $(impl From<$message> for $group {
            fn from(message: $message) -> Self {
                Self::$variant(message.into())
            }
        })*

        impl From<$group> for Message {
            fn from(message: $group) -> Self {
                match message {
                    $($group::$variant(message) => Self::$variant(message),)*
                }
            }
        }

        /// Gives the message back when it is none of the group.
        impl TryFrom<Message> for $group {
            type Error = Message;

            fn try_from(message: Message) -> Result<Self, Message> {
                match message {
                    $(Message::$variant(message) => Ok(Self::$variant(message)),)*
                    other => Err(other),
                }
            }
        }
    };
}

all_messages! {
    Warning(WarningMessage),
    Stfu(Stfu),
    PeerStorage(PeerStorage),
    PeerStorageRetrieval(PeerStorageRetrieval),
    Init(Init),
    Error(ErrorMessage),
    Ping(Ping),
    Pong(Pong),
    OpenChannel(OpenChannel) boxed,
    AcceptChannel(AcceptChannel) boxed,
    FundingCreated(FundingCreated),
    FundingSigned(FundingSigned),
    ChannelReady(ChannelReady),
    Shutdown(Shutdown),
    ClosingSigned(ClosingSigned),
    ClosingComplete(ClosingComplete) boxed,
    ClosingSig(ClosingSig) boxed,
    OpenChannel2(OpenChannel2) boxed,
    AcceptChannel2(AcceptChannel2) boxed,
    TxAddInput(TxAddInput),
    TxAddOutput(TxAddOutput),
    TxRemoveInput(TxRemoveInput),
    TxRemoveOutput(TxRemoveOutput),
    TxComplete(TxComplete),
    TxSignatures(TxSignatures),
    TxInitRbf(TxInitRbf),
    TxAckRbf(TxAckRbf),
    TxAbort(TxAbort),
    SpliceLocked(SpliceLocked),
    SpliceInit(SpliceInit),
    SpliceAck(SpliceAck),
    StartBatch(StartBatch),
    UpdateAddHtlc(UpdateAddHtlc),
    UpdateFulfillHtlc(UpdateFulfillHtlc),
    UpdateFailHtlc(UpdateFailHtlc),
    CommitmentSigned(CommitmentSigned),
    RevokeAndAck(RevokeAndAck),
    UpdateFee(UpdateFee),
    UpdateFailMalformedHtlc(UpdateFailMalformedHtlc),
    ChannelReestablish(ChannelReestablish),
    ChannelAnnouncement(ChannelAnnouncement) boxed,
    NodeAnnouncement(NodeAnnouncement) boxed,
    ChannelUpdate(ChannelUpdate),
    AnnouncementSignatures(AnnouncementSignatures),
    QueryShortChannelIds(QueryShortChannelIds),
    ReplyShortChannelIdsEnd(ReplyShortChannelIdsEnd),
    QueryChannelRange(QueryChannelRange),
    ReplyChannelRange(ReplyChannelRange),
    GossipTimestampFilter(GossipTimestampFilter),
    OnionMessage(OnionMessage),
}

impl From<UnknownMessage> for Message {
    fn from(message: UnknownMessage) -> Self {
        Self::Unknown(message)
    }
}

group! {
    /// A message about one channel (BOLT 2, and `announcement_signatures` of BOLT 7).
    ///
    /// `error` and `warning` may concern all channels and go their own way.
    ChannelMessage {
        AcceptChannel(AcceptChannel) boxed,
        AcceptChannel2(AcceptChannel2) boxed,
        AnnouncementSignatures(AnnouncementSignatures),
        ChannelReady(ChannelReady),
        ChannelReestablish(ChannelReestablish),
        ClosingComplete(ClosingComplete) boxed,
        ClosingSig(ClosingSig) boxed,
        ClosingSigned(ClosingSigned),
        CommitmentSigned(CommitmentSigned),
        FundingCreated(FundingCreated),
        FundingSigned(FundingSigned),
        OpenChannel(OpenChannel) boxed,
        OpenChannel2(OpenChannel2) boxed,
        RevokeAndAck(RevokeAndAck),
        Shutdown(Shutdown),
        SpliceAck(SpliceAck),
        SpliceInit(SpliceInit),
        SpliceLocked(SpliceLocked),
        StartBatch(StartBatch),
        Stfu(Stfu),
        TxAbort(TxAbort),
        TxAckRbf(TxAckRbf),
        TxAddInput(TxAddInput),
        TxAddOutput(TxAddOutput),
        TxComplete(TxComplete),
        TxInitRbf(TxInitRbf),
        TxRemoveInput(TxRemoveInput),
        TxRemoveOutput(TxRemoveOutput),
        TxSignatures(TxSignatures),
        UpdateAddHtlc(UpdateAddHtlc),
        UpdateFailHtlc(UpdateFailHtlc),
        UpdateFailMalformedHtlc(UpdateFailMalformedHtlc),
        UpdateFee(UpdateFee),
        UpdateFulfillHtlc(UpdateFulfillHtlc),
    }
}

group! {
    /// A message about the network (BOLT 7): announcements, updates, queries.
    RoutingMessage {
        ChannelAnnouncement(ChannelAnnouncement) boxed,
        ChannelUpdate(ChannelUpdate),
        GossipTimestampFilter(GossipTimestampFilter),
        NodeAnnouncement(NodeAnnouncement) boxed,
        QueryChannelRange(QueryChannelRange),
        QueryShortChannelIds(QueryShortChannelIds),
        ReplyChannelRange(ReplyChannelRange),
        ReplyShortChannelIdsEnd(ReplyShortChannelIdsEnd),
    }
}

impl ChannelMessage {
    /// The channel that the message is about, by its temporary name in the messages that open it.
    #[must_use]
    pub fn channel_id(&self) -> ChannelId {
        match self {
            Self::AcceptChannel(m) => m.temporary_channel_id,
            Self::AcceptChannel2(m) => m.temporary_channel_id,
            Self::FundingCreated(m) => m.temporary_channel_id,
            Self::OpenChannel(m) => m.temporary_channel_id,
            Self::OpenChannel2(m) => m.temporary_channel_id,
            Self::AnnouncementSignatures(m) => m.channel_id,
            Self::ChannelReady(m) => m.channel_id,
            Self::ChannelReestablish(m) => m.channel_id,
            Self::ClosingComplete(m) => m.channel_id,
            Self::ClosingSig(m) => m.channel_id,
            Self::ClosingSigned(m) => m.channel_id,
            Self::CommitmentSigned(m) => m.channel_id,
            Self::FundingSigned(m) => m.channel_id,
            Self::RevokeAndAck(m) => m.channel_id,
            Self::Shutdown(m) => m.channel_id,
            Self::SpliceAck(m) => m.channel_id,
            Self::SpliceInit(m) => m.channel_id,
            Self::SpliceLocked(m) => m.channel_id,
            Self::StartBatch(m) => m.channel_id,
            Self::Stfu(m) => m.channel_id,
            Self::TxAbort(m) => m.channel_id,
            Self::TxAckRbf(m) => m.channel_id,
            Self::TxAddInput(m) => m.channel_id,
            Self::TxAddOutput(m) => m.channel_id,
            Self::TxComplete(m) => m.channel_id,
            Self::TxInitRbf(m) => m.channel_id,
            Self::TxRemoveInput(m) => m.channel_id,
            Self::TxRemoveOutput(m) => m.channel_id,
            Self::TxSignatures(m) => m.channel_id,
            Self::UpdateAddHtlc(m) => m.channel_id,
            Self::UpdateFailHtlc(m) => m.channel_id,
            Self::UpdateFailMalformedHtlc(m) => m.channel_id,
            Self::UpdateFee(m) => m.channel_id,
            Self::UpdateFulfillHtlc(m) => m.channel_id,
        }
    }
}
