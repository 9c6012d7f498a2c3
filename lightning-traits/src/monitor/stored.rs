//! What a store hands back after a restart.
use alloc::vec::Vec;

use crate::id::ChannelId;

/// Everything durable about one channel, from which monitor and channel are rebuilt.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredChannel {
    /// [`NewMonitor`](super::NewMonitor) in its versioned encoding, as first written.
    pub new: Vec<u8>,
    /// The monitor's latest snapshot, if one was written since.
    pub monitor: Option<Vec<u8>>,
    /// [`ChannelMonitorUpdate`](super::ChannelMonitorUpdate)s since that snapshot, in order, versioned encoding
    /// (their `record` may be left out, it stands below).
    pub updates: Vec<Vec<u8>>,
    /// The channel's latest record snapshot.
    pub record: Vec<u8>,
    /// Changes appended to the record since, in order.
    pub record_changes: Vec<Vec<u8>>,
    /// The id of the last durable update: the watermark that both sides continue from.
    pub last_update: crate::id::UpdateId,
}

/// A channel with its durable state.
pub type StoredChannels = Vec<(ChannelId, StoredChannel)>;
