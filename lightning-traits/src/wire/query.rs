//! Gossip queries (BOLT 7, "Query Messages").
//!
//! # Invariants
//! - encoded arrays stay bytes until someone asks for their items; compressed ones (BOLT 7: "MUST NOT be used") are never unpacked
use alloc::vec::Vec;

use bitcoin::constants::ChainHash;
use thiserror::Error;

use super::table::{Bytes, message};
use crate::codec::{BigSize, Decode, Reader};
use crate::id::ShortChannelId;
use crate::record;

message! {
    /// `query_short_channel_ids`: asks for the announcements and updates of given channels.
    QueryShortChannelIds = 261 {
        /// The chain.
        chain_hash: ChainHash,
        /// The channels: [`EncodedArray::short_channel_ids`].
        encoded_short_ids: EncodedArray as Counted,
    }
    tlvs {
        /// What is wanted of each: [`EncodedArray::query_flags`].
        query_flags: EncodedArray as Rest = 1,
    }
}

impl QueryShortChannelIds {
    /// Bit of a query flag: the `channel_announcement` is wanted.
    pub const WANT_ANNOUNCEMENT: u64 = 1;
    /// Bit of a query flag: the `channel_update` of node 1 is wanted.
    pub const WANT_UPDATE_1: u64 = 1 << 1;
    /// Bit of a query flag: the `channel_update` of node 2 is wanted.
    pub const WANT_UPDATE_2: u64 = 1 << 2;
    /// Bit of a query flag: the `node_announcement` of node 1 is wanted.
    pub const WANT_NODE_1: u64 = 1 << 3;
    /// Bit of a query flag: the `node_announcement` of node 2 is wanted.
    pub const WANT_NODE_2: u64 = 1 << 4;
}

message! {
    /// `reply_short_channel_ids_end`: all that was asked for has been sent.
    ReplyShortChannelIdsEnd = 262 {
        /// The chain.
        chain_hash: ChainHash,
        /// Not 0 when the sender keeps up-to-date gossip of the chain.
        full_information: u8,
    }
    tlvs {}
}

message! {
    /// `query_channel_range`: asks which channels the peer knows in a range of blocks.
    QueryChannelRange = 263 {
        /// The chain.
        chain_hash: ChainHash,
        /// First block of the range.
        first_blocknum: u32,
        /// Number of blocks.
        number_of_blocks: u32,
    }
    tlvs {
        /// Bits of what is wanted beside the ids.
        query_option: BigSize = 1,
    }
}

impl QueryChannelRange {
    /// Bit of `query_option`: timestamps are wanted.
    pub const WANT_TIMESTAMPS: u64 = 1;
    /// Bit of `query_option`: checksums are wanted.
    pub const WANT_CHECKSUMS: u64 = 1 << 1;
}

message! {
    /// `reply_channel_range`: some or all of the channels asked for.
    ReplyChannelRange = 264 {
        /// The chain.
        chain_hash: ChainHash,
        /// First block that this reply is about.
        first_blocknum: u32,
        /// Number of blocks that it is about.
        number_of_blocks: u32,
        /// 0 when the sender does not keep up-to-date gossip of the chain.
        sync_complete: u8,
        /// The channels: [`EncodedArray::short_channel_ids`].
        encoded_short_ids: EncodedArray as Counted,
    }
    tlvs {
        /// One pair for each channel: [`EncodedArray::timestamps`].
        timestamps: EncodedArray as Rest = 1,
        /// One pair for each channel.
        checksums: Vec<ChannelUpdateChecksums> as RestList = 3,
    }
}

/// Timestamps of the two `channel_update`s of a channel; 0 for none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelUpdateTimestamps {
    /// Of node 1.
    pub timestamp_node_id_1: u32,
    /// Of node 2.
    pub timestamp_node_id_2: u32,
}
record!(struct ChannelUpdateTimestamps { timestamp_node_id_1, timestamp_node_id_2 });

/// Checksums of the two `channel_update`s of a channel ([`ChannelUpdateBody::checksum`](super::ChannelUpdateBody::checksum)); 0 for none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelUpdateChecksums {
    /// Of node 1.
    pub checksum_node_id_1: u32,
    /// Of node 2.
    pub checksum_node_id_2: u32,
}
record!(struct ChannelUpdateChecksums { checksum_node_id_1, checksum_node_id_2 });

message! {
    /// `gossip_timestamp_filter`: asks for gossip of a range of time, now and as it comes.
    GossipTimestampFilter = 265 {
        /// The chain.
        chain_hash: ChainHash,
        /// First timestamp of the range.
        first_timestamp: u32,
        /// Length of the range in seconds.
        timestamp_range: u32,
    }
    tlvs {}
}

/// Why the items of an [`EncodedArray`] cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EncodingError {
    /// The bytes do not end with an item, or an item is not minimal.
    #[error("the array does not hold a whole number of items")]
    Malformed,
    /// Channel ids are not in strictly ascending order.
    #[error("the ids are not in ascending order")]
    Unsorted,
    /// An encoding other than 0; 1 was zlib.
    #[error("encoding {0} is not supported")]
    Unsupported(u8),
}

/// An `encoded_` array: a byte that names the encoding, then the items.
///
/// The bytes are kept as received. No bytes at all mean no items.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EncodedArray(pub Vec<u8>);

impl EncodedArray {
    /// The only encoding in use.
    pub const UNCOMPRESSED: u8 = 0;
    /// zlib, no longer allowed.
    pub const ZLIB: u8 = 1;

    /// An array of ids, which are sorted and freed of doubles first (BOLT 7: "in ascending order").
    #[must_use]
    pub fn of_short_channel_ids(mut ids: Vec<ShortChannelId>) -> Self {
        ids.sort_unstable();
        ids.dedup();
        Self::of(&ids)
    }

    /// An array of query flags, one for each id.
    #[must_use]
    pub fn of_query_flags(flags: &[u64]) -> Self {
        let flags: Vec<BigSize> = flags.iter().copied().map(BigSize).collect();
        Self::of(&flags)
    }

    /// An array of timestamps, one pair for each id.
    #[must_use]
    pub fn of_timestamps(timestamps: &[ChannelUpdateTimestamps]) -> Self {
        Self::of(timestamps)
    }

    /// The ids.
    ///
    /// # Errors
    /// When the encoding is not 0, or the ids are not whole or not in strictly ascending order.
    pub fn short_channel_ids(&self) -> Result<Vec<ShortChannelId>, EncodingError> {
        let ids: Vec<ShortChannelId> = self.items()?;
        if ids.is_sorted_by(|a, b| a < b) { Ok(ids) } else { Err(EncodingError::Unsorted) }
    }

    /// The query flags.
    ///
    /// # Errors
    /// When the encoding is not 0, or a flag is not whole or not minimal.
    pub fn query_flags(&self) -> Result<Vec<u64>, EncodingError> {
        Ok(self.items::<BigSize>()?.into_iter().map(|flag| flag.0).collect())
    }

    /// The timestamps.
    ///
    /// # Errors
    /// When the encoding is not 0, or the timestamps are not whole pairs.
    pub fn timestamps(&self) -> Result<Vec<ChannelUpdateTimestamps>, EncodingError> {
        self.items()
    }

    /// The encoding, if there are any bytes.
    #[must_use]
    pub fn encoding(&self) -> Option<u8> {
        self.0.first().copied()
    }

    fn of<T: crate::codec::Encode>(items: &[T]) -> Self {
        let mut bytes = Vec::with_capacity(items.len().saturating_mul(8).saturating_add(1));
        bytes.push(Self::UNCOMPRESSED);
        items.iter().for_each(|item| item.encode(&mut bytes));
        Self(bytes)
    }

    fn items<T: Decode>(&self) -> Result<Vec<T>, EncodingError> {
        let Some((encoding, bytes)) = self.0.split_first() else { return Ok(Vec::new()) };
        if *encoding != Self::UNCOMPRESSED {
            return Err(EncodingError::Unsupported(*encoding));
        }
        let mut reader = Reader::new(bytes);
        let mut items = Vec::new();
        while !reader.is_empty() {
            items.push(reader.read().map_err(|_| EncodingError::Malformed)?);
        }
        Ok(items)
    }
}

impl Bytes for EncodedArray {
    fn bytes(&self) -> &[u8] {
        &self.0
    }

    fn from_vec(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}
