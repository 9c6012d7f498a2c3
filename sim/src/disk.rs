//! A disk that takes its time, and loses in a crash what it has not written.
//!
//! What waits when the machine stops may be on the disk or not, but nothing of it was ever acknowledged. A disk may be
//! far away, and then acknowledges updates of one channel in any order: after a crash, what it has behind a gap is of no use.
//!
//! # Invariants
//! - writes of one channel count in their order; those of different channels in any order
//! - a tip becomes durable after everything queued before it, as `MonitorStore` promises
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bitcoin::BlockHash;
use lightning_traits::id::{ChannelId, CommitmentNumber, UpdateId};
use lightning_traits::interface::MonitorStore;
use lightning_traits::monitor::{
    ChannelMonitorUpdate, MonitorStep, NewMonitor, Persist, Receipt, RecordChange, StoredChannel,
    StoredChannels,
};
use lightning_traits::payment::PaymentHash;
use lightning_traits::units::BlockHeight;

use crate::dice::Dice;

enum Write {
    New {
        channel: ChannelId,
        bytes: Vec<u8>,
        record: RecordChange,
        receipt: Receipt,
    },
    Update {
        channel: ChannelId,
        bytes: Vec<u8>,
        snapshot: Option<Vec<u8>>,
        record: RecordChange,
        id: UpdateId,
        /// Gone when it was given early.
        receipt: Option<Receipt>,
        teaches: Marks,
    },
    ChainState {
        channel: ChannelId,
        snapshot: Vec<u8>,
    },
    Archive {
        channel: ChannelId,
    },
    Tip {
        hash: BlockHash,
        height: BlockHeight,
    },
    Put {
        key: &'static str,
        value: Vec<u8>,
    },
}

/// What must keep its order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Lane {
    Channel(ChannelId),
    Value(&'static str),
    All,
}

impl Write {
    const fn lane(&self) -> Lane {
        match self {
            Self::New { channel, .. }
            | Self::Update { channel, .. }
            | Self::ChainState { channel, .. }
            | Self::Archive { channel } => Lane::Channel(*channel),
            Self::Put { key, .. } => Lane::Value(key),
            Self::Tip { .. } => Lane::All,
        }
    }
}

/// What the disk knows of a channel, as far as promises depend on it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Marks {
    /// The latest commitment of ours.
    pub(crate) ours: CommitmentNumber,
    /// The latest commitment of theirs.
    pub(crate) theirs: CommitmentNumber,
    /// The first commitment of theirs that they have not revoked.
    pub(crate) unrevoked: CommitmentNumber,
    /// Preimages that were ever written.
    pub(crate) preimages: BTreeSet<PaymentHash>,
}

impl Marks {
    fn of(update: &ChannelMonitorUpdate) -> Self {
        let mut marks = Self::default();
        for step in &update.steps {
            match step {
                MonitorStep::OurCommitment { change, .. } => marks.ours = change.number,
                MonitorStep::TheirCommitment { change, .. } => marks.theirs = change.number,
                MonitorStep::TheirRevocation { number, .. } => marks.unrevoked = number.next(),
                MonitorStep::Preimage { preimage } => drop(marks.preimages.insert(preimage.hash())),
                _ => {}
            }
        }
        marks
    }

    fn learn(&mut self, more: Self) {
        self.ours = self.ours.max(more.ours);
        self.theirs = self.theirs.max(more.theirs);
        self.unrevoked = self.unrevoked.max(more.unrevoked);
        self.preimages.extend(more.preimages);
    }
}

/// What survives.
#[derive(Clone, Default)]
pub(crate) struct Durable {
    channels: BTreeMap<ChannelId, StoredChannel>,
    tip: Option<(BlockHash, BlockHeight)>,
    values: BTreeMap<&'static str, Vec<u8>>,
    marks: BTreeMap<ChannelId, Marks>,
}

/// The disk of one node.
#[derive(Default)]
pub(crate) struct SimDisk {
    durable: RefCell<Durable>,
    queue: RefCell<VecDeque<Write>>,
    receipts: RefCell<Vec<Receipt>>,
    written: Cell<u64>,
    /// Whether no write can be finished: no room, or an error.
    pub(crate) is_full: Cell<bool>,
    /// Whether it is far away, and acknowledges in any order.
    pub(crate) is_remote: Cell<bool>,
}

impl SimDisk {
    /// A disk with one channel on it.
    pub(crate) fn holding(channel: ChannelId, stored: StoredChannel) -> Self {
        let durable = Durable { channels: BTreeMap::from([(channel, stored)]), ..Durable::default() };
        Self { durable: RefCell::new(durable), ..Self::default() }
    }

    /// Makes everything that waits durable.
    pub(crate) fn write_all(&self) {
        while !self.is_full.get()
            && let Some(write) = { self.queue.borrow_mut().pop_front() }
        {
            self.apply(write);
        }
    }

    /// Makes one write durable that may be next; `false` when none waits.
    pub(crate) fn write_one(&self, dice: &mut Dice) -> bool {
        if self.is_full.get() {
            return false;
        }
        if self.is_remote.get() && dice.once_in(2) && self.acknowledge_early(dice) {
            return true;
        }
        let write = {
            let mut queue = self.queue.borrow_mut();
            let mut free = Vec::new();
            let mut taken = Vec::new();
            for (at, write) in queue.iter().enumerate() {
                let lane = write.lane();
                let is_free = if lane == Lane::All { at == 0 } else { !taken.contains(&lane) };
                if is_free {
                    free.push(at);
                }
                if lane == Lane::All {
                    // What follows a tip may pass it: only what precedes it must be there first.
                    continue;
                }
                taken.push(lane);
            }
            if free.is_empty() {
                return false;
            }
            queue.remove(free[dice.pick(free.len())]).unwrap()
        };
        let lane = write.lane();
        self.apply(write);
        if let Lane::Channel(_) = lane {
            self.close_gap(lane);
        }
        true
    }

    /// Acknowledges some update though one before it, of the same channel, is still on its way.
    fn acknowledge_early(&self, dice: &mut Dice) -> bool {
        let mut queue = self.queue.borrow_mut();
        let mut late = BTreeSet::new();
        let mut open = Vec::new();
        for write in queue.iter_mut() {
            if let Write::Update { channel, receipt, .. } = write
                && receipt.is_some()
                && !late.insert(*channel)
            {
                open.push(receipt);
            }
        }
        let chosen = (!open.is_empty()).then(|| dice.pick(open.len()));
        let receipt = chosen.and_then(|chosen| open.swap_remove(chosen).take());
        let is_any = receipt.is_some();
        self.receipts.borrow_mut().extend(receipt);
        is_any
    }

    /// What a channel waits for is there: what was acknowledged behind it counts from now on.
    fn close_gap(&self, lane: Lane) {
        loop {
            let write = {
                let mut queue = self.queue.borrow_mut();
                let updates = queue.iter().enumerate().filter(|(_, write)| write.lane() == lane);
                let is_early = |write: &Write| matches!(write, Write::Update { receipt: None, .. });
                let open = |write: &Write| {
                    matches!(write, Write::Update { receipt: Some(_), .. } | Write::New { .. })
                };
                let until_open: Vec<(usize, bool)> = updates
                    .take_while(|(_, write)| !open(write))
                    .map(|(at, write)| (at, is_early(write)))
                    .collect();
                // Up to the last acknowledged one, with what stands in between.
                if !until_open.iter().any(|(_, is_early)| *is_early) {
                    return;
                }
                queue.remove(until_open[0].0).unwrap()
            };
            self.apply(write);
        }
    }

    /// The machine stops: what waits is gone.
    pub(crate) fn crash(&self) {
        self.queue.borrow_mut().clear();
        self.receipts.borrow_mut().clear();
    }

    /// A copy of all that is durable, as an old backup is.
    pub(crate) fn backup(&self) -> Durable {
        self.durable.borrow().clone()
    }

    /// The disk is gone, and an old backup takes its place.
    pub(crate) fn replace(&self, backup: Durable) {
        self.crash();
        *self.durable.borrow_mut() = backup;
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.queue.borrow().is_empty() && self.receipts.borrow().is_empty()
    }

    pub(crate) fn written(&self) -> u64 {
        self.written.get()
    }

    /// What would survive of a channel.
    pub(crate) fn marks(&self, channel: &ChannelId) -> Option<Marks> {
        self.durable.borrow().marks.get(channel).cloned()
    }

    /// Whether a channel would still be there after a restart.
    pub(crate) fn has_channel(&self, channel: &ChannelId) -> bool {
        self.durable.borrow().channels.contains_key(channel)
    }

    pub(crate) fn channels(&self) -> StoredChannels {
        self.durable.borrow().channels.clone().into_iter().collect()
    }

    pub(crate) fn tip(&self) -> Option<(BlockHash, BlockHeight)> {
        self.durable.borrow().tip
    }

    pub(crate) fn put(&self, key: &'static str, value: Vec<u8>) {
        self.queue.borrow_mut().push_back(Write::Put { key, value });
    }

    /// Whether a value waits to be written.
    pub(crate) fn is_writing(&self, key: &'static str) -> bool {
        self.queue.borrow().iter().any(|write| write.lane() == Lane::Value(key))
    }

    pub(crate) fn get(&self, key: &str) -> Option<Vec<u8>> {
        self.durable.borrow().values.get(key).cloned()
    }

    /// A value is lost, as if it had never been written.
    pub(crate) fn lose(&self, key: &str) {
        self.durable.borrow_mut().values.remove(key);
    }

    fn apply(&self, write: Write) {
        self.written.set(self.written.get() + 1);
        let mut durable = self.durable.borrow_mut();
        let receipt = match write {
            Write::New { channel, bytes, record, receipt } => {
                let RecordChange::Snapshot { bytes: record } = record else {
                    panic!("a channel begins with a snapshot")
                };
                let stored = StoredChannel { new: bytes, record, ..StoredChannel::default() };
                assert!(
                    durable.channels.insert(channel, stored).is_none(),
                    "channel {channel} is stored twice"
                );
                durable.marks.insert(channel, Marks::default());
                Some(receipt)
            }
            Write::Update { channel, bytes, snapshot, record, id, receipt, teaches } => {
                durable.marks.entry(channel).or_default().learn(teaches);
                let stored = durable.channels.get_mut(&channel).expect("an update of no channel");
                assert_eq!(stored.last_update.next(), id, "updates of {channel} out of order");
                stored.last_update = id;
                match snapshot {
                    Some(snapshot) => {
                        stored.monitor = Some(snapshot);
                        stored.updates.clear();
                    }
                    None => stored.updates.push(bytes),
                }
                match record {
                    RecordChange::Same {} => {}
                    RecordChange::Append { bytes } => stored.record_changes.push(bytes),
                    RecordChange::Snapshot { bytes } => {
                        stored.record = bytes;
                        stored.record_changes.clear();
                    }
                }
                receipt
            }
            Write::ChainState { channel, snapshot } => {
                if let Some(stored) = durable.channels.get_mut(&channel) {
                    stored.monitor = Some(snapshot);
                    stored.updates.clear();
                }
                None
            }
            Write::Archive { channel } => {
                durable.channels.remove(&channel);
                None
            }
            Write::Tip { hash, height } => {
                durable.tip = Some((hash, height));
                None
            }
            Write::Put { key, value } => {
                durable.values.insert(key, value);
                None
            }
        };
        drop(durable);
        self.receipts.borrow_mut().extend(receipt);
    }
}

impl MonitorStore for SimDisk {
    fn write_new(&self, new: &NewMonitor) -> Persist {
        let bytes = NewMonitor { record: RecordChange::Same {}, ..new.clone() }.to_versioned();
        let (channel, record, receipt) = (new.init.channel, new.record.clone(), new.receipt());
        assert_eq!(receipt.id(), UpdateId(0));
        self.queue.borrow_mut().push_back(Write::New { channel, bytes, record, receipt });
        Persist::InProgress
    }

    fn write_update(&self, update: &ChannelMonitorUpdate, snapshot: Option<Vec<u8>>) -> Persist {
        let bytes = ChannelMonitorUpdate { record: RecordChange::Same {}, ..update.clone() }.to_versioned();
        let (channel, record, id) = (update.channel, update.record.clone(), update.id);
        let (receipt, teaches) = (Some(update.receipt()), Marks::of(update));
        let write = Write::Update { channel, bytes, snapshot, record, id, receipt, teaches };
        self.queue.borrow_mut().push_back(write);
        Persist::InProgress
    }

    fn write_chain_state(&self, channel: ChannelId, snapshot: Vec<u8>) {
        self.queue.borrow_mut().push_back(Write::ChainState { channel, snapshot });
    }

    fn write_tip(&self, hash: BlockHash, height: BlockHeight) {
        self.queue.borrow_mut().push_back(Write::Tip { hash, height });
    }

    fn archive(&self, channel: ChannelId) {
        self.queue.borrow_mut().push_back(Write::Archive { channel });
    }

    fn next_receipt(&self) -> Option<Receipt> {
        // The last first: receipts may come in any order.
        self.receipts.borrow_mut().pop()
    }
}
