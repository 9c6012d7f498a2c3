//! The graph as bytes: the signed messages themselves, in order, with what look-ups on chain found.
//!
//! Signatures were checked before a message entered the graph, so they are not checked again; a checksum tells
//! a damaged file.
use alloc::vec::Vec;

use bitcoin::hashes::{Hash as _, sha256};
use bitcoin::{Amount, OutPoint};
use lightning_traits::codec::{
    Decode, DecodeError, Encode, Reader, TlvRecords, decode_list, decode_versioned, encode_list,
    encode_versioned,
};
use lightning_traits::record;
use lightning_traits::units::BlockHeight;
use lightning_traits::wire::ChannelAnnouncement;
use thiserror::Error;

use super::Graph;
use crate::gossip::Verified;

const VERSION: u8 = 1;

/// Why a snapshot is not taken. The graph can be had again from peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// The checksum does not fit.
    #[error("the graph snapshot is damaged")]
    Checksum,
    /// The bytes are not of a version that is known.
    #[error("the graph snapshot does not decode: {0}")]
    Decode(DecodeError),
    /// It is of another chain.
    #[error("the graph snapshot is of another chain")]
    OtherChain,
}

/// One channel as stored: the messages by their bytes, since a message ends where its bytes end.
struct StoredChannel {
    announcement: Vec<u8>,
    capacity: Option<Amount>,
    funding: Option<OutPoint>,
    first: Option<Vec<u8>>,
    second: Option<Vec<u8>>,
    spent: Option<BlockHeight>,
    since: u32,
}
record!(struct StoredChannel { announcement, capacity, funding, first, second, spent, since });

struct Node(Vec<u8>);
impl Encode for Node {
    fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode(out);
    }
}
impl Decode for Node {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.read().map(Self)
    }
}

struct Body {
    channels: Vec<StoredChannel>,
    nodes: Vec<Node>,
}

impl Encode for Body {
    fn encode(&self, out: &mut Vec<u8>) {
        encode_list(&self.channels, out);
        encode_list(&self.nodes, out);
    }
}

impl Decode for Body {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { channels: decode_list(reader)?, nodes: decode_list(reader)? })
    }
}

/// Bytes with their checksum in front.
pub(crate) fn seal(body: &[u8]) -> Vec<u8> {
    let mut out = sha256::Hash::hash(body).to_byte_array().to_vec();
    out.extend_from_slice(body);
    out
}

/// The bytes behind a checksum that fits.
pub(crate) fn unseal(bytes: &[u8]) -> Result<&[u8], SnapshotError> {
    let (checksum, body) = bytes.split_at_checked(32).ok_or(SnapshotError::Checksum)?;
    if sha256::Hash::hash(body).to_byte_array() == checksum { Ok(body) } else { Err(SnapshotError::Checksum) }
}

impl Graph {
    /// The whole graph, with a checksum in front.
    #[must_use]
    pub fn to_snapshot(&self) -> Vec<u8> {
        let channels = self.channels_from(lightning_traits::id::ShortChannelId(0)).map(|channel| {
            let [first, second] = &channel.updates;
            StoredChannel {
                announcement: channel.announcement.to_bytes(),
                capacity: channel.capacity,
                funding: channel.funding,
                first: first.as_ref().map(Encode::to_bytes),
                second: second.as_ref().map(Encode::to_bytes),
                spent: channel.spent,
                since: channel.since,
            }
        });
        let mut nodes: Vec<_> = self.nodes().filter_map(|node| node.announcement.as_ref()).collect();
        nodes.sort_by_key(|announcement| announcement.body.node_id);
        let nodes = nodes.into_iter().map(|announcement| Node(announcement.to_bytes())).collect();
        let body =
            encode_versioned(VERSION, &Body { channels: channels.collect(), nodes }, &TlvRecords::new());
        seal(&body)
    }

    /// Reads what [`Graph::to_snapshot`] wrote.
    ///
    /// # Errors
    /// [`SnapshotError`] when the bytes are damaged or of another version.
    pub fn from_snapshot(bytes: &[u8]) -> Result<Self, SnapshotError> {
        let (body, _) = decode_versioned::<Body>(VERSION, unseal(bytes)?).map_err(SnapshotError::Decode)?;
        let mut graph = Self::new();
        for stored in body.channels {
            let announcement: Verified<ChannelAnnouncement> =
                Verified::from_snapshot(&stored.announcement).map_err(SnapshotError::Decode)?;
            // The file is our own and was whole a line ago; what does not apply now did not apply then.
            let scid = announcement.get().body.short_channel_id;
            let _ = graph.add_channel(announcement, stored.funding.zip(stored.capacity), stored.since);
            for update in [stored.first, stored.second].into_iter().flatten() {
                let _ =
                    graph.update_channel(Verified::from_snapshot(&update).map_err(SnapshotError::Decode)?);
            }
            if let Some(channel) = graph.channel_mut(scid) {
                channel.spent = stored.spent;
                channel.relayed = channel.policies.iter().any(Option::is_some);
            }
        }
        for Node(bytes) in body.nodes {
            let _ = graph.update_node(Verified::from_snapshot(&bytes).map_err(SnapshotError::Decode)?);
        }
        Ok(graph)
    }
}
