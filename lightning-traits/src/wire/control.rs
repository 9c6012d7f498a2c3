//! Setup and control (BOLT 1): `init`, `error`, `warning`, `ping`, `pong`, peer storage.
use alloc::string::String;
use alloc::vec::Vec;

use bitcoin::constants::ChainHash;

use super::NodeAddress;
use super::table::message;
use crate::codec::Reader;
use crate::feature::Features;
use crate::id::ChannelId;

message! {
    /// `init`: the first message on every connection.
    Init = 16 {
        /// Features below 14 of old nodes; to be combined with `features`.
        globalfeatures: Features,
        /// What the node offers and demands.
        features: Features,
    }
    tlvs {
        /// The chains the node is interested in.
        networks: Vec<ChainHash> as RestList = 1,
        /// The address that the other side sees us at: one address descriptor, not checked.
        remote_addr: Vec<u8> as Rest = 3,
    }
}

impl Init {
    /// Both bitmaps in one (BOLT 1: "MUST combine (bitwise OR) the two feature bitmaps").
    #[must_use]
    pub fn combined_features(&self) -> Features {
        self.globalfeatures.union(&self.features)
    }

    /// The address in `remote_addr`, if it is one of a known type and nothing else.
    #[must_use]
    pub fn remote_address(&self) -> Option<NodeAddress> {
        let mut reader = Reader::new(self.remote_addr.as_deref()?);
        let address = NodeAddress::decode_known(&mut reader).ok()??;
        reader.is_empty().then_some(address)
    }
}

message! {
    /// `error`: the channel, or with an all-zero id every channel of the connection, has failed.
    ErrorMessage = 17 {
        /// The channel, or [`ChannelId::ALL`].
        channel_id: ChannelId,
        /// Text for people, of any bytes.
        data: Vec<u8> as Counted,
    }
    tlvs {}
}

message! {
    /// `warning`: something is wrong, but no channel has failed.
    WarningMessage = 1 {
        /// The channel, or [`ChannelId::ALL`] when it is about none.
        channel_id: ChannelId,
        /// Text for people, of any bytes.
        data: Vec<u8> as Counted,
    }
    tlvs {}
}

impl ErrorMessage {
    /// The text with everything that is not printable ASCII replaced.
    #[must_use]
    pub fn text(&self) -> String {
        printable(&self.data)
    }
}

impl WarningMessage {
    /// The text with everything that is not printable ASCII replaced.
    #[must_use]
    pub fn text(&self) -> String {
        printable(&self.data)
    }
}

// BOLT 1: "if `data` is not composed solely of printable ASCII characters ... SHOULD NOT print out `data` verbatim".
pub(super) fn printable(data: &[u8]) -> String {
    data.iter().map(|byte| if (32..=126).contains(byte) { char::from(*byte) } else { '?' }).collect()
}

message! {
    /// `ping`: asks for a `pong` of a given size.
    Ping = 18 {
        /// Size of the `pong` to send; from 65532 on, none is sent.
        num_pong_bytes: u16,
        /// Padding.
        ignored: Vec<u8> as Counted,
    }
    tlvs {}
}

impl Ping {
    /// From this `num_pong_bytes` on no reply is sent (BOLT 1).
    pub const NO_REPLY: u16 = 65_532;
}

message! {
    /// `pong`: the reply to `ping`.
    Pong = 19 {
        /// Padding.
        ignored: Vec<u8> as Counted,
    }
    tlvs {}
}

message! {
    /// `peer_storage`: a blob for the peer to keep.
    PeerStorage = 7 {
        /// What to keep, sealed by its owner.
        blob: Vec<u8> as Counted,
    }
    tlvs {}
}

message! {
    /// `peer_storage_retrieval`: the latest blob that the receiver gave us.
    PeerStorageRetrieval = 9 {
        /// What was kept.
        blob: Vec<u8> as Counted,
    }
    tlvs {}
}
