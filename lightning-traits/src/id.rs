//! Names of things: channels, HTLCs, nodes, commitments, updates, events.
//!
//! # Invariants
//! - an HTLC is named by (channel, direction, id) and by nothing else; never by hash or amount
//!   (RELIABILITY B15)
use core::fmt;

use bitcoin::OutPoint;
use bitcoin::hashes::Hash as _;
use secp256k1::PublicKey;

macro_rules! bytes32 {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; 32]);

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }
    };
}

bytes32! {
    /// `channel_id` (BOLT 2): temporary until funding, then the funding outpoint folded into 32 bytes.
    ChannelId
}
bytes32! {
    /// The user's own name for a payment it makes; a second send with the same id is refused.
    PaymentId
}
bytes32! {
    /// Which keys a channel uses, as the user's [`KeysInterface`](crate::interface::KeysInterface) named them.
    ChannelKeysId
}

impl ChannelId {
    /// All zero: in `error` and `warning` it means "every channel" (BOLT 1).
    pub const ALL: Self = Self([0; 32]);

    /// BOLT 2, "Definition of `channel_id`": the funding txid with its last two bytes XORed with the output index.
    #[must_use]
    pub fn v1_from_funding(funding: OutPoint) -> Self {
        let mut bytes = funding.txid.to_byte_array();
        // `funding_output_index` is two bytes on the wire, so a larger one cannot be announced by a peer.
        let index = (funding.vout as u16).to_be_bytes();
        let [.., a, b] = &mut bytes;
        *a ^= index[0];
        *b ^= index[1];
        Self(bytes)
    }
}

/// `short_channel_id` (BOLT 7): block height, transaction index and output index in 8 bytes.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShortChannelId(pub u64);

impl ShortChannelId {
    /// Packs 3 bytes of height, 3 bytes of transaction index, 2 bytes of output index; `None` if one does not fit.
    #[must_use]
    pub fn new(block: u32, tx_index: u32, vout: u16) -> Option<Self> {
        if block > 0x00ff_ffff || tx_index > 0x00ff_ffff {
            return None;
        }
        Some(Self((u64::from(block) << 40) | (u64::from(tx_index) << 16) | u64::from(vout)))
    }

    /// Height of the block that confirmed the funding transaction.
    #[must_use]
    pub const fn block(self) -> u32 {
        (self.0 >> 40) as u32
    }

    /// Index of the funding transaction in its block.
    #[must_use]
    pub const fn tx_index(self) -> u32 {
        ((self.0 >> 16) & 0x00ff_ffff) as u32
    }

    /// Index of the funding output in its transaction.
    #[must_use]
    pub const fn vout(self) -> u16 {
        (self.0 & 0xffff) as u16
    }
}

impl fmt::Debug for ShortChannelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// `123x4x5`, the human readable form of BOLT 7.
impl fmt::Display for ShortChannelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}x{}", self.block(), self.tx_index(), self.vout())
    }
}

/// A node's public key in its 33 compressed bytes, not checked to be a point of the curve.
///
/// Gossip carries many; only those whose signatures are verified need to be parsed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub [u8; 33]);

impl NodeId {
    /// The point, if the bytes are one.
    ///
    /// # Errors
    /// When the bytes are no point of the curve.
    pub fn to_public_key(&self) -> Result<PublicKey, secp256k1::Error> {
        PublicKey::from_slice(&self.0)
    }
}

impl From<PublicKey> for NodeId {
    fn from(key: PublicKey) -> Self {
        Self(key.serialize())
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

macro_rules! counter {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u64);

        impl $name {
            /// The next one. Saturates: 2^64 steps of one channel do not happen.
            #[must_use]
            pub const fn next(self) -> Self {
                Self(self.0.saturating_add(1))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

counter! {
    /// `id` of an HTLC (BOLT 2): counts up from zero for each offering side of each channel.
    HtlcId
}
counter! {
    /// Number of a commitment: counts *up* from zero on each side (BOLT 3 counts secrets down from 2^48 - 1).
    CommitmentNumber
}
counter! {
    /// Number of a monitor update: counts up by one for each channel; gaps and repeats are refused.
    UpdateId
}
counter! {
    /// Number of an event; repeated until acknowledged, never reused (I11).
    EventId
}

impl CommitmentNumber {
    /// The last number that BOLT 3's 48-bit secret tree has a secret for.
    pub const LAST: Self = Self((1 << 48) - 1);

    /// The number before, or `None` for the first.
    #[must_use]
    pub const fn previous(self) -> Option<Self> {
        match self.0.checked_sub(1) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }
}
