//! One channel of the set: its monitor, and what it has reported without an acknowledgement yet.
use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use bitcoin::{OutPoint, Transaction};
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

/// HTLCs of the past for which one more update passes between two snapshots.
const PAST_PER_UPDATE: u32 = 4;

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

/// Which updates are durable; receipts may come in any order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ledger {
    /// All below are durable.
    next: UpdateId,
    /// Durable ones above a gap.
    early: BTreeSet<UpdateId>,
}

impl Ledger {
    /// Everything up to `last`.
    pub(super) const fn up_to(last: UpdateId) -> Self {
        Self { next: last.next(), early: BTreeSet::new() }
    }

    /// Whether the update is durable.
    pub(super) fn has(&self, id: UpdateId) -> bool {
        id < self.next || self.early.contains(&id)
    }

    /// Whether the update and all before it are durable.
    pub(super) fn has_all(&self, last: UpdateId) -> bool {
        last < self.next
    }

    /// Notes a receipt.
    pub(super) fn note(&mut self, id: UpdateId) {
        if id >= self.next {
            self.early.insert(id);
        }
        while self.early.remove(&self.next) {
            self.next = self.next.next();
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
    /// Which updates have a receipt.
    pub(super) ledger: Ledger,
    /// Where the set has filed it.
    pub(super) attention: Option<BlockHeight>,
    /// The outpoints under which the set has filed it.
    pub(super) indexed: Vec<OutPoint>,
    since_snapshot: u32,
}

impl Entry {
    pub(super) fn new(monitor: ChannelMonitor) -> Self {
        Self {
            ledger: Ledger::default(),
            monitor,
            reports: Vec::new(),
            next_event: EventId(0),
            attention: None,
            indexed: Vec::new(),
            since_snapshot: 0,
        }
    }

    /// Counts an update; gives the snapshot that replaces all updates now and then, or when asked for.
    pub(super) fn snapshot_if_due(&mut self, now: bool) -> Option<Vec<u8>> {
        self.since_snapshot = self.since_snapshot.saturating_add(1);
        // A snapshot carries all HTLCs there ever were; the more there are, the rarer it comes, so that the bytes written
        // for an update do not grow with past payments (I13). A restart reads the updates since: as much again at most.
        let past = u32::try_from(self.monitor.theirs.past_len()).unwrap_or(u32::MAX) / PAST_PER_UPDATE;
        (now || self.since_snapshot >= UPDATES_PER_SNAPSHOT.saturating_add(past)).then(|| {
            self.since_snapshot = 0;
            self.to_versioned()
        })
    }

    pub(super) fn next_attention(&self, tip: BlockHeight) -> Option<BlockHeight> {
        match self.archive_height() {
            Some(_) if self.monitor.is_abandoned() => Some(tip.plus(1)),
            // Reports that come to be acknowledged later archive it then.
            Some(height) => Some(height).filter(|height| *height > tip),
            None => self.monitor.next_attention(tip),
        }
    }

    pub(super) fn is_done(&self, tip: BlockHeight) -> bool {
        self.archive_height().is_some_and(|height| height <= tip) && self.reports.is_empty()
    }

    /// The height at which the last thing that settled the channel is deep enough.
    fn archive_height(&self) -> Option<BlockHeight> {
        self.monitor.settled_at().map(|height| height.plus(ARCHIVE_DEPTH.saturating_sub(1)))
    }

    /// Whether our commitment may go out: all that the monitor has learnt survives a crash.
    pub(super) fn may_publish(&self) -> bool {
        self.ledger.has_all(self.monitor.last_update())
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
        let ledger = Ledger::up_to(monitor.last_update());
        let reports = decode_list(reader)?;
        Ok(Self { ledger, reports, next_event: reader.read()?, ..Self::new(monitor) })
    }
}
