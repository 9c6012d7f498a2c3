//! What a store is given of a whole monitor, and what it hands back after a restart.
//!
//! # Invariants
//! - a part of the past is written once and never changes, so a snapshot costs what changed, not what there ever was (I13)
use alloc::vec::Vec;

use crate::id::{ChannelId, UpdateId};
use crate::record;

/// A monitor as it is now: all but the parts of its past that were written before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MonitorSnapshot {
    /// Takes the place of the state that was written before.
    pub state: Vec<u8>,
    /// Parts of the past that have become full since; they are kept beside those before for as long as the channel is there.
    pub past: Vec<PastPart>,
}
record!(struct MonitorSnapshot { state, past list });

impl MonitorSnapshot {
    /// How many bytes it is.
    #[must_use]
    pub fn length(&self) -> usize {
        self.past.iter().fold(self.state.len(), |sum, part| sum.saturating_add(part.bytes.len()))
    }
}

/// A part of a monitor's past that is full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastPart {
    /// Counts up by one from 0. A number that is written again has the same bytes.
    pub number: u32,
    /// What the monitor wrote.
    pub bytes: Vec<u8>,
}
record!(struct PastPart { number, bytes });

/// Everything durable about one channel, from which monitor and channel are rebuilt.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredChannel {
    /// [`NewMonitor`](super::NewMonitor) in its versioned encoding, as first written.
    pub new: Vec<u8>,
    /// The state of the monitor's latest snapshot, if one was written since.
    pub monitor: Option<Vec<u8>>,
    /// All parts of the monitor's past that were ever written, in order of their numbers.
    pub past: Vec<Vec<u8>>,
    /// [`ChannelMonitorUpdate`](super::ChannelMonitorUpdate)s since that snapshot, in order, versioned encoding
    /// (their `record` may be left out, it stands below).
    pub updates: Vec<Vec<u8>>,
    /// The channel's latest record snapshot.
    pub record: Vec<u8>,
    /// Changes appended to the record since, in order.
    pub record_changes: Vec<Vec<u8>>,
    /// The id of the last durable update: the watermark that both sides continue from.
    pub last_update: UpdateId,
}

impl StoredChannel {
    /// How many bytes it is.
    #[must_use]
    pub fn length(&self) -> usize {
        let Self { new, monitor, past, updates, record, record_changes, last_update: _ } = self;
        let lists = past.iter().chain(updates).chain(record_changes).map(Vec::len);
        let whole = [new.len(), monitor.as_ref().map_or(0, Vec::len), record.len()];
        lists.chain(whole).fold(0, usize::saturating_add)
    }

    /// Takes a snapshot over, as a store in memory does: the updates before it are in it.
    pub fn take_snapshot(&mut self, snapshot: MonitorSnapshot) {
        self.monitor = Some(snapshot.state);
        self.updates.clear();
        for PastPart { number, bytes } in snapshot.past {
            let at = usize::try_from(number).unwrap_or(usize::MAX);
            // One that does not follow on those before is not there when the monitor is read, and is missed then.
            let follows = at == self.past.len();
            match self.past.get_mut(at) {
                Some(known) => *known = bytes,
                None if follows => self.past.push(bytes),
                None => {}
            }
        }
    }
}

/// A channel with its durable state.
pub type StoredChannels = Vec<(ChannelId, StoredChannel)>;
