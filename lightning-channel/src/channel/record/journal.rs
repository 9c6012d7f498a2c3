//! Collects what a step changed until it is written.
//!
//! Changes that nothing waits for (an update received, an event acknowledged) stay here and ride on the next write; a
//! crash before it loses only what the peer or the manager says again.
//!
//! # Invariants
//! - the bytes of a write are those of its changes; a whole snapshot only once the changes since the last are several
//!   times as long, and when the channel leaves for another phase: so what a payment costs does not grow with what is in
//!   flight (I13)
use alloc::boxed::Box;
use alloc::vec::Vec;

use lightning_traits::codec::checksum::{seal, unseal};
use lightning_traits::codec::{Decode, encode_versioned};
use lightning_traits::codec::{
    DecodeError, Encode, Reader, TlvRecords, decode_list, decode_versioned, encode_list,
};
use lightning_traits::id::{ChannelId, HtlcId, UpdateId};
use lightning_traits::monitor::{ChannelMonitorUpdate, MonitorStep, RecordChange};

use super::facts::Entry;
use super::retreat::Retreat;
use crate::commitments::{Commitments, IncomingHtlc, Notice, NoticeKey};

/// The fewest changes between two snapshots.
const CHANGES_PER_SNAPSHOT: u32 = 100;
/// How many times as long as the snapshot the changes behind it become: bounds both what snapshots add to the bytes written,
/// a third, and what a restart reads.
const CHANGES_TO_SNAPSHOT: usize = 3;

/// How long the snapshot and the changes behind it are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Log {
    snapshot: usize,
    changes: u32,
    bytes: usize,
}

impl Log {
    /// A snapshot of so many bytes and nothing behind it.
    pub(crate) const fn starting_with(snapshot: usize) -> Self {
        Self { snapshot, changes: 0, bytes: 0 }
    }

    /// What was read back.
    pub(crate) fn of(snapshot: &[u8], changes: &[Vec<u8>]) -> Self {
        let mut log = Self::starting_with(snapshot.len());
        changes.iter().for_each(|change| log.append(change.len()));
        log
    }

    const fn append(&mut self, bytes: usize) {
        self.changes = self.changes.saturating_add(1);
        self.bytes = self.bytes.saturating_add(bytes);
    }

    const fn is_long(&self) -> bool {
        self.changes >= CHANGES_PER_SNAPSHOT
            && self.bytes >= self.snapshot.saturating_mul(CHANGES_TO_SNAPSHOT)
    }
}

/// What is not yet written of one channel.
#[derive(Clone, Debug)]
pub(crate) struct Journal {
    channel: ChannelId,
    next: UpdateId,
    entries: Vec<Entry>,
    steps: Vec<MonitorStep>,
    reports: Reports,
    log: Log,
    snapshot_due: bool,
    /// While a commitment of ours is on its way to the monitor.
    retreat: Option<Box<Retreat>>,
}

/// What may be told once the next write is durable.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reports {
    /// Incoming HTLCs whose removal it makes durable.
    pub(crate) removals: Vec<HtlcId>,
    /// HTLCs to decide on.
    pub(crate) incoming: Vec<IncomingHtlc>,
    /// Outcomes.
    pub(crate) notices: Vec<Notice>,
    /// Notices that are done with.
    pub(crate) notices_gone: Vec<NoticeKey>,
}

/// One write, and what may be told once it is durable.
pub(crate) struct Write {
    pub(crate) update: ChannelMonitorUpdate,
    pub(crate) reports: Reports,
}

impl Reports {
    fn is_empty(&self) -> bool {
        self.removals.is_empty()
            && self.incoming.is_empty()
            && self.notices.is_empty()
            && self.notices_gone.is_empty()
    }
}

impl Journal {
    /// A journal of `channel` whose next write is `next`, behind what `log` has.
    pub(crate) const fn new(channel: ChannelId, next: UpdateId, log: Log) -> Self {
        Self {
            channel,
            next,
            entries: Vec::new(),
            steps: Vec::new(),
            reports: Reports {
                removals: Vec::new(),
                incoming: Vec::new(),
                notices: Vec::new(),
                notices_gone: Vec::new(),
            },
            log,
            snapshot_due: false,
            retreat: None,
        }
    }

    /// Notes a change that was applied, and what the monitor must learn of it.
    pub(crate) fn note(&mut self, entry: Entry, steps: Vec<MonitorStep>) {
        if let Some(retreat) = &mut self.retreat {
            retreat.note(&entry);
        }
        self.entries.push(entry);
        self.steps.extend(steps);
    }

    /// Notes something that only the monitor must learn.
    pub(crate) fn step(&mut self, step: MonitorStep) {
        if let Some(retreat) = &mut self.retreat {
            retreat.step(&step);
        }
        self.steps.push(step);
    }

    /// The next write has a new commitment of ours, which the monitor may refuse: keeps what was `before` until it is durable.
    pub(crate) fn prepare_retreat(&mut self, before: &Commitments) {
        if self.retreat.is_none() {
            self.retreat = Some(Box::new(Retreat::new(self.next, before.clone(), self.steps.clone())));
        }
    }

    /// The write that a commitment of ours waits for, if one does.
    pub(crate) fn retreat_before(&self) -> Option<UpdateId> {
        self.retreat.as_ref().map(|retreat| retreat.write())
    }

    /// Whether a signature of ours waits for that write too.
    pub(crate) fn holds_signature(&self) -> bool {
        self.retreat.as_ref().is_some_and(|retreat| retreat.is_signed())
    }

    /// The commitment is durable: there is no way back.
    pub(crate) fn forget_retreat(&mut self) {
        self.retreat = None;
    }

    /// The monitor refused update `id`. If that is the one with the commitment, gives what is left without it; all of it must
    /// be written next, under the same id.
    pub(crate) fn take_retreat(&mut self, id: UpdateId) -> Option<Commitments> {
        let retreat = self.retreat.take_if(|retreat| retreat.write() == id)?;
        let (commitments, steps) = retreat.take();
        self.next = id;
        self.steps = steps;
        // They are in the snapshot.
        self.entries.clear();
        self.snapshot_due = true;
        Some(commitments)
    }

    /// What may be told once all that was noted is durable.
    pub(crate) const fn reports(&mut self) -> &mut Reports {
        &mut self.reports
    }

    /// The next write replaces the snapshot.
    pub(crate) const fn want_snapshot(&mut self) {
        self.snapshot_due = true;
    }

    /// Whether there is anything to write.
    pub(crate) fn is_dirty(&self) -> bool {
        self.snapshot_due || !self.entries.is_empty() || !self.steps.is_empty() || !self.reports.is_empty()
    }

    /// How many changes wait.
    pub(crate) const fn len(&self) -> usize {
        self.entries.len()
    }

    /// All that was noted, as one write; `snapshot` gives the whole state, all notes included.
    pub(crate) fn write(&mut self, snapshot: impl FnOnce() -> Vec<u8>) -> Write {
        let entries = core::mem::take(&mut self.entries);
        let record = if self.snapshot_due || (!entries.is_empty() && self.log.is_long()) {
            self.snapshot_due = false;
            let bytes = snapshot();
            self.log = Log::starting_with(bytes.len());
            RecordChange::Snapshot { bytes }
        } else if entries.is_empty() {
            RecordChange::Same {}
        } else {
            let bytes = encode_entries(&entries);
            self.log.append(bytes.len());
            RecordChange::Append { bytes }
        };
        let id = self.next;
        self.next = id.next();
        let steps = core::mem::take(&mut self.steps);
        let update =
            ChannelMonitorUpdate { channel: self.channel, id, steps, record, extra: TlvRecords::default() };
        Write { update, reports: core::mem::take(&mut self.reports) }
    }
}

const VERSION: u8 = 1;
/// What appended changes are sealed under, and so not taken for anything else.
const CHANGES: &[u8] = b"changes";

struct Entries(Vec<Entry>);

impl Encode for Entries {
    fn encode(&self, out: &mut Vec<u8>) {
        encode_list(&self.0, out);
    }
}

impl Decode for Entries {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        decode_list(reader).map(Self)
    }
}

/// The encoding of one appended change.
fn encode_entries(entries: &[Entry]) -> Vec<u8> {
    struct Borrowed<'a>(&'a [Entry]);
    impl Encode for Borrowed<'_> {
        fn encode(&self, out: &mut Vec<u8>) {
            encode_list(self.0, out);
        }
    }
    seal(CHANGES, encode_versioned(VERSION, &Borrowed(entries), &TlvRecords::default()))
}

/// Reads one appended change.
pub(crate) fn decode_entries(bytes: &[u8]) -> Result<Vec<Entry>, DecodeError> {
    let (Entries(entries), _) = decode_versioned(VERSION, unseal(CHANGES, bytes)?)?;
    Ok(entries)
}
