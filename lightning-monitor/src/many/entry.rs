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
use lightning_traits::monitor::{ChannelMonitorUpdate, MonitorEvent};
use lightning_traits::record;
use lightning_traits::units::BlockHeight;

use crate::monitor::ChannelMonitor;

/// The fewest updates between two snapshots.
const UPDATES_PER_SNAPSHOT: u32 = 64;
/// How many times as long as the snapshot the updates behind it become. A snapshot names all HTLCs that there ever were, and
/// those in flight: so, however many they are, it adds a quarter to what updates write (I13); and a restart reads five times
/// the snapshot at most.
const UPDATES_TO_SNAPSHOT: usize = 4;

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
    pub(super) log: Log,
}

/// How long the snapshot and the updates behind it are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Log {
    snapshot: usize,
    updates: u32,
    bytes: usize,
}

impl Log {
    /// A snapshot of so many bytes and nothing behind it.
    pub(super) const fn starting_with(snapshot: usize) -> Self {
        Self { snapshot, updates: 0, bytes: 0 }
    }

    /// Counts an update of so many bytes.
    pub(super) const fn append(&mut self, bytes: usize) {
        self.updates = self.updates.saturating_add(1);
        self.bytes = self.bytes.saturating_add(bytes);
    }

    const fn is_long(&self) -> bool {
        self.updates >= UPDATES_PER_SNAPSHOT
            && self.bytes >= self.snapshot.saturating_mul(UPDATES_TO_SNAPSHOT)
    }
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
            log: Log::default(),
        }
    }

    /// Counts an update; gives the snapshot that replaces all updates now and then, or when asked for.
    pub(super) fn snapshot_if_due(&mut self, update: &ChannelMonitorUpdate, now: bool) -> Option<Vec<u8>> {
        let mut steps = Vec::new();
        encode_list(&update.steps, &mut steps);
        self.log.append(steps.len());
        (now || self.log.is_long()).then(|| {
            let snapshot = self.to_versioned();
            self.log = Log::starting_with(snapshot.len());
            snapshot
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
