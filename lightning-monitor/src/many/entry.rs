//! One channel of the set: its monitor, and what it has reported without an acknowledgement yet.
use alloc::vec::Vec;

use bitcoin::Transaction;
use lightning_traits::codec::{
    Decode, DecodeError, Encode, Reader, TlvRecords, decode_list, decode_versioned, encode_list,
    encode_versioned,
};
use lightning_traits::event::Event;
use lightning_traits::id::{EventId, UpdateId};
use lightning_traits::monitor::MonitorEvent;
use lightning_traits::record;
use lightning_traits::units::BlockHeight;

use super::UPDATES_PER_SNAPSHOT;
use crate::monitor::ChannelMonitor;

/// How long a resolved channel is still watched: nothing is final at six (RELIABILITY rule 6).
const ARCHIVE_DEPTH: u32 = 100;

/// Something to tell, until it is acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Report {
    /// For the channel layer.
    Channel { event: MonitorEvent },
    /// For the user: a claim confirmed.
    Swept { transaction: Transaction, height: BlockHeight },
    /// For the user: nothing is left on chain.
    Resolved {},
}
record!(enum Report { 0 => Channel { event }, 1 => Swept { transaction, height }, 2 => Resolved {} });

impl Report {
    pub(super) fn of_user(event: Event) -> Option<Self> {
        match event {
            Event::Swept { transaction, height, .. } => Some(Self::Swept { transaction, height }),
            Event::Resolved { .. } => Some(Self::Resolved {}),
            _ => None,
        }
    }
}

/// A channel of the set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) monitor: ChannelMonitor,
    pub(super) reports: Vec<(EventId, Report)>,
    /// No event at or above this id was given out when the entry was last written.
    pub(super) next_event: EventId,
    /// The last update that has a receipt.
    pub(super) durable: UpdateId,
    /// Where the set has filed it.
    pub(super) attention: Option<BlockHeight>,
    since_snapshot: u32,
}

impl Entry {
    pub(super) const fn new(monitor: ChannelMonitor) -> Self {
        Self {
            durable: UpdateId(0),
            monitor,
            reports: Vec::new(),
            next_event: EventId(0),
            attention: None,
            since_snapshot: 0,
        }
    }

    /// Counts an update; gives the snapshot that replaces all updates now and then, or when asked for.
    pub(super) fn snapshot_if_due(&mut self, now: bool) -> Option<Vec<u8>> {
        self.since_snapshot = self.since_snapshot.saturating_add(1);
        (now || self.since_snapshot >= UPDATES_PER_SNAPSHOT).then(|| {
            self.since_snapshot = 0;
            self.to_versioned()
        })
    }

    pub(super) fn next_attention(&self, tip: BlockHeight) -> Option<BlockHeight> {
        match self.monitor.closing.as_ref().filter(|closing| closing.resolved) {
            Some(closing) => Some(closing.height.plus(ARCHIVE_DEPTH)).filter(|height| *height > tip),
            None => self.monitor.next_attention(tip),
        }
    }

    pub(super) fn is_done(&self, tip: BlockHeight) -> bool {
        let buried = |height: BlockHeight| height.depth_at(tip) >= ARCHIVE_DEPTH;
        self.monitor.closing.as_ref().is_some_and(|closing| closing.resolved && buried(closing.height))
            && self.reports.is_empty()
    }

    pub(super) fn to_versioned(&self) -> Vec<u8> {
        encode_versioned(1, self, &TlvRecords::new())
    }

    pub(super) fn from_versioned(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (entry, extra) = decode_versioned::<Self>(1, bytes)?;
        extra.into_unknown_odd()?;
        Ok(entry)
    }
}

impl Encode for Entry {
    fn encode(&self, out: &mut Vec<u8>) {
        self.monitor.to_versioned().encode(out);
        encode_list(&self.reports, out);
        self.next_event.encode(out);
    }
}

impl Decode for Entry {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let monitor = ChannelMonitor::from_versioned(&reader.read::<Vec<u8>>()?)?;
        let durable = monitor.last_update();
        let reports = decode_list(reader)?;
        Ok(Self { durable, reports, next_event: reader.read()?, ..Self::new(monitor) })
    }
}
