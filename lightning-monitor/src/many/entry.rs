//! One channel of the set: its monitor, and what it has reported without an acknowledgement yet.
use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use bitcoin::{OutPoint, Transaction};
use lightning_traits::codec::{
    DecodeError, Encode, Reader, TlvRecords, decode_versioned, encode_list, encode_versioned,
};
use lightning_traits::event::Event;
use lightning_traits::id::{EventId, UpdateId};
use lightning_traits::monitor::{ChannelMonitorUpdate, MonitorEvent, MonitorSnapshot, PastPart};
use lightning_traits::record;
use lightning_traits::units::BlockHeight;

use super::log::Log;
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
    /// Weight of its claims that wait for a block and may come too late, as the set has counted it.
    pub(super) weight: u64,
    /// The outpoints under which the set has filed it.
    pub(super) indexed: Vec<OutPoint>,
    /// The tip when it was last used.
    pub(super) used: BlockHeight,
    pub(super) log: Log,
    /// How many full parts of the past the store has been given.
    pub(super) parts_kept: usize,
}

impl Entry {
    pub(super) fn new(monitor: ChannelMonitor) -> Self {
        Self {
            ledger: Ledger::default(),
            monitor,
            reports: Vec::new(),
            next_event: EventId(0),
            attention: None,
            weight: 0,
            indexed: Vec::new(),
            used: BlockHeight::new(0),
            log: Log::default(),
            parts_kept: 0,
        }
    }

    /// Counts an update; gives the snapshot that replaces all updates now and then, or when asked for.
    pub(super) fn snapshot_if_due(
        &mut self,
        update: &ChannelMonitorUpdate,
        now: bool,
    ) -> Option<MonitorSnapshot> {
        self.log.append(&update.steps);
        (now || self.log.is_long()).then(|| self.snapshot())
    }

    /// What takes the place of all that was written before; it must be given to the store.
    pub(super) fn snapshot(&mut self) -> MonitorSnapshot {
        let state = encode_versioned(VERSION, self, &TlvRecords::new());
        self.log = Log::starting_with(state.len());
        let parts = self.monitor.full_parts();
        let new = (0..).zip(parts).skip(self.parts_kept);
        let past = new.map(|(number, bytes)| PastPart { number, bytes: bytes.to_vec() }).collect();
        self.parts_kept = parts.len();
        MonitorSnapshot { state, past }
    }

    /// Reads what the store has.
    pub(super) fn from_snapshot(state: &[u8], past: Vec<Vec<u8>>) -> Result<Self, DecodeError> {
        let (Stored { state: monitor, reports, next_event }, extra) = decode_versioned(VERSION, state)?;
        extra.into_unknown_odd()?;
        let (mut reader, parts_kept) = (Reader::new(&monitor), past.len());
        let monitor = ChannelMonitor::decode_state(&mut reader, past)?;
        reader.finish()?;
        let ledger = Ledger::up_to(monitor.last_update());
        let log = Log::starting_with(state.len());
        Ok(Self { ledger, reports, next_event, log, parts_kept, ..Self::new(monitor) })
    }

    pub(super) fn next_attention(&self, tip: BlockHeight) -> Option<BlockHeight> {
        match self.archive_height() {
            Some(_) if self.monitor.is_abandoned() => Some(tip.plus(1)),
            // A crash may have come between the last acknowledgement and the archive.
            Some(height) if self.reports.is_empty() => Some(height.max(tip.plus(1))),
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

    /// Whether nothing happens in it, and the store has all of it.
    pub(super) fn may_sleep(&self, tip: BlockHeight) -> bool {
        // What waits for a block is filed under the next.
        let is_due = self.attention.is_some_and(|height| height <= tip.plus(1));
        self.monitor.is_idle() && self.reports.is_empty() && self.may_publish() && !is_due
    }

    /// Whether our commitment may go out: all that the monitor has learnt survives a crash.
    pub(super) fn may_publish(&self) -> bool {
        self.ledger.has_all(self.monitor.last_update())
    }
}

const VERSION: u8 = 2;

impl Encode for Entry {
    fn encode(&self, out: &mut Vec<u8>) {
        let mut state = Vec::new();
        self.monitor.encode_state(&mut state);
        state.encode(out);
        encode_list(&self.reports, out);
        self.next_event.encode(out);
    }
}

/// The same, read.
struct Stored {
    state: Vec<u8>,
    reports: Vec<(EventId, Report)>,
    next_event: EventId,
}
record!(struct Stored { state, reports list, next_event });
