//! Signed gossip (BOLT 7): `channel_announcement`, `node_announcement`, `channel_update`, and the signatures for the first.
//!
//! Each is signatures and a body; a signature covers the double SHA-256 of the body.
//!
//! # Invariants
//! - bytes behind the known fields are in `excess` and are signed, stored and relayed with the rest
//! - keys are not parsed here: only those whose signatures are checked need to be points
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use bitcoin::constants::ChainHash;
use bitcoin::hashes::{Hash as _, sha256d};
use secp256k1::ecdsa::Signature;

use super::table::message;
use super::{Addresses, WireMessage};
use crate::codec::checksum::crc32c;
use crate::codec::{Decode, DecodeError, Encode, Reader};
use crate::feature::Features;
use crate::id::{ChannelId, NodeId, ShortChannelId};
use crate::record;
use crate::units::{CltvDelta, Msat};

message! {
    /// `announcement_signatures`: the sender's two signatures for the `channel_announcement`.
    AnnouncementSignatures = 259 {
        /// The channel.
        channel_id: ChannelId,
        /// Where its funding output is.
        short_channel_id: ShortChannelId,
        /// By the sender's node key.
        node_signature: Signature,
        /// By the sender's funding key.
        bitcoin_signature: Signature,
    }
    tlvs {}
}

/// All bytes behind the last known field of a signed message: fields of a later age.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Excess(pub Vec<u8>);

impl Encode for Excess {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0);
    }
}

impl Decode for Excess {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self(reader.take_rest().to_vec()))
    }
}

/// `channel_announcement`: a channel between two nodes exists, and its funding output is this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelAnnouncement {
    /// By `node_id_1`.
    pub node_signature_1: Signature,
    /// By `node_id_2`.
    pub node_signature_2: Signature,
    /// By `bitcoin_key_1`.
    pub bitcoin_signature_1: Signature,
    /// By `bitcoin_key_2`.
    pub bitcoin_signature_2: Signature,
    /// What they sign.
    pub body: ChannelAnnouncementBody,
}
record!(struct ChannelAnnouncement {
    node_signature_1, node_signature_2, bitcoin_signature_1, bitcoin_signature_2, body
});

impl WireMessage for ChannelAnnouncement {
    const TYPE: u16 = 256;
}

/// What a `channel_announcement` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelAnnouncementBody {
    /// Features of the channel.
    pub features: Features,
    /// The chain of the channel.
    pub chain_hash: ChainHash,
    /// Where its funding output is.
    pub short_channel_id: ShortChannelId,
    /// The node whose compressed key is the lesser.
    pub node_id_1: NodeId,
    /// The other node.
    pub node_id_2: NodeId,
    /// Funding key of the first node, in the same unparsed form.
    pub bitcoin_key_1: NodeId,
    /// Funding key of the second node, in the same unparsed form.
    pub bitcoin_key_2: NodeId,
    /// Fields of a later age.
    pub excess: Excess,
}
record!(struct ChannelAnnouncementBody {
    features, chain_hash, short_channel_id, node_id_1, node_id_2, bitcoin_key_1, bitcoin_key_2, excess
});

/// `node_announcement`: a node's name, color and addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeAnnouncement {
    /// By `node_id`.
    pub signature: Signature,
    /// What it signs.
    pub body: NodeAnnouncementBody,
}
record!(struct NodeAnnouncement { signature, body });

impl WireMessage for NodeAnnouncement {
    const TYPE: u16 = 257;
}

/// What a `node_announcement` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeAnnouncementBody {
    /// Features of the node.
    pub features: Features,
    /// Larger in each announcement of the node.
    pub timestamp: u32,
    /// The node.
    pub node_id: NodeId,
    /// Red, green, blue.
    pub rgb_color: [u8; 3],
    /// The node's name.
    pub alias: NodeAlias,
    /// Where it can be reached.
    pub addresses: Addresses,
    /// Fields of a later age.
    pub excess: Excess,
}
record!(struct NodeAnnouncementBody { features, timestamp, node_id, rgb_color, alias, addresses, excess });

/// `alias`: 32 bytes, meant to be UTF-8 and padded with zeros; anyone may claim any name.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct NodeAlias(pub [u8; 32]);

impl NodeAlias {
    /// The name, if it fits into 32 bytes.
    #[must_use]
    pub fn new(name: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        bytes.get_mut(..name.len())?.copy_from_slice(name.as_bytes());
        Some(Self(bytes))
    }
}

/// The name without padding; control characters and bytes that are no UTF-8 are replaced, because strangers chose them.
impl fmt::Display for NodeAlias {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = self.0.iter().rposition(|byte| *byte != 0).map_or(0, |last| last.saturating_add(1));
        let text = String::from_utf8_lossy(self.0.get(..end).unwrap_or_default());
        text.chars().try_for_each(|c| {
            fmt::Write::write_char(f, if c.is_control() { char::REPLACEMENT_CHARACTER } else { c })
        })
    }
}

impl fmt::Debug for NodeAlias {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Encode for NodeAlias {
    fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode(out);
    }
}

impl Decode for NodeAlias {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.array().map(Self)
    }
}

/// `channel_update`: one side's terms for forwarding over a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelUpdate {
    /// By the node whose terms they are.
    pub signature: Signature,
    /// What it signs.
    pub body: ChannelUpdateBody,
}
record!(struct ChannelUpdate { signature, body });

impl WireMessage for ChannelUpdate {
    const TYPE: u16 = 258;
}

/// What a `channel_update` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelUpdateBody {
    /// The chain of the channel.
    pub chain_hash: ChainHash,
    /// The channel, by its real id or an alias.
    pub short_channel_id: ShortChannelId,
    /// Larger in each update of the same side.
    pub timestamp: u32,
    /// Bit 0: must be one; bit 1: not to be forwarded. The others are undefined and kept.
    pub message_flags: u8,
    /// Bit 0: direction; bit 1: disabled. The others are undefined and kept.
    pub channel_flags: u8,
    /// Blocks that the node wants between incoming and outgoing expiry.
    pub cltv_expiry_delta: CltvDelta,
    /// The smallest HTLC that it forwards.
    pub htlc_minimum_msat: Msat,
    /// Fee of every HTLC, in millisatoshi.
    pub fee_base_msat: u32,
    /// Fee in millionths of the amount forwarded.
    pub fee_proportional_millionths: u32,
    /// The largest HTLC that it forwards.
    pub htlc_maximum_msat: Msat,
    /// Fields of a later age.
    pub excess: Excess,
}
record!(struct ChannelUpdateBody {
    chain_hash, short_channel_id, timestamp, message_flags, channel_flags, cltv_expiry_delta,
    htlc_minimum_msat, fee_base_msat, fee_proportional_millionths, htlc_maximum_msat, excess
});

impl ChannelUpdateBody {
    /// Bit of `channel_flags`: the update is by `node_id_2`.
    pub const DIRECTION: u8 = 1;
    /// Bit of `channel_flags`: the channel is not to be used this way.
    pub const DISABLED: u8 = 1 << 1;
    /// Bit of `message_flags` that is always set (once: `htlc_maximum_msat` is present).
    pub const MUST_BE_ONE: u8 = 1;
    /// Bit of `message_flags`: for the receiver only (unannounced channels).
    pub const DONT_FORWARD: u8 = 1 << 1;

    /// Whether the update is by `node_id_2`, rather than `node_id_1`.
    #[must_use]
    pub const fn is_by_node_2(&self) -> bool {
        self.channel_flags & Self::DIRECTION != 0
    }

    /// Whether the channel is not to be used this way.
    #[must_use]
    pub const fn is_disabled(&self) -> bool {
        self.channel_flags & Self::DISABLED != 0
    }

    /// Whether the update must not be relayed.
    #[must_use]
    pub const fn is_for_receiver_only(&self) -> bool {
        self.message_flags & Self::DONT_FORWARD != 0
    }

    /// The checksum of BOLT 7's extended queries: CRC32C of the update without signature and timestamp.
    #[must_use]
    pub fn checksum(&self) -> u32 {
        let bytes = self.to_bytes();
        // chain_hash (32) | short_channel_id (8) | timestamp (4) | the rest
        let before = bytes.get(..40).unwrap_or_default();
        let after = bytes.get(44..).unwrap_or_default();
        crc32c([before, after])
    }
}

macro_rules! signed {
    ($($body:ident),*) => {$(
        impl $body {
            /// What signatures of this message sign: the double SHA-256 of all that follows them (BOLT 7).
            #[must_use]
            pub fn signed_hash(&self) -> secp256k1::Message {
                let hash = sha256d::Hash::hash(&self.to_bytes());
                secp256k1::Message::from_digest(hash.to_byte_array())
            }
        }
    )*};
}
signed!(ChannelAnnouncementBody, NodeAnnouncementBody, ChannelUpdateBody);
