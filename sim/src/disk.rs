//! A disk that takes its time, and loses in a crash what it has not written: the store of `store.rs`, with a queue before it.
//!
//! What waits when the machine stops may be on the disk or not, but nothing of it was ever acknowledged. A disk may be
//! far away, and then acknowledges updates of one channel in any order: after a crash, what it has behind a gap is of no use.
//! A lazy disk flushes now and then only; one whose flush failed freezes until its node starts again.
//!
//! # Invariants
//! - writes of one channel count in their order; those of different channels in any order
//! - a tip becomes durable after everything queued before it, as `MonitorStore` promises
//! - a receipt is given after a flush that succeeded
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bitcoin::BlockHash;
use bitcoin::hashes::Hash as _;
use lightning_traits::codec::{Decode, DecodeError, Encode, Reader, decode_list, encode_list};
use lightning_traits::id::{ChannelId, CommitmentNumber, UpdateId};
use lightning_traits::interface::MonitorStore;
use lightning_traits::monitor::{
    ChannelMonitorUpdate, MonitorSnapshot, MonitorStep, NewMonitor, Persist, Receipt, RecordChange,
    StoredChannel, StoredChannels,
};
use lightning_traits::payment::PaymentHash;
use lightning_traits::units::BlockHeight;

use crate::dice::Dice;
use crate::media::Fault;
pub(crate) use crate::store::Durable;
use crate::store::{Entry, Kept, Store};

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
        snapshot: Option<MonitorSnapshot>,
        record: RecordChange,
        id: UpdateId,
        /// Gone when it was given early.
        receipt: Option<Receipt>,
        teaches: Marks,
    },
    ChainState {
        channel: ChannelId,
        snapshot: MonitorSnapshot,
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

    /// What the store is to write.
    fn entry(&self) -> Entry {
        match self {
            Self::New { channel, bytes, record, .. } => {
                let RecordChange::Snapshot { bytes: record } = record else {
                    panic!("a channel begins with a snapshot")
                };
                Entry::New { channel: *channel, bytes: bytes.clone(), record: record.clone() }
            }
            Self::Update { channel, bytes, snapshot, record, id, teaches, .. } => Entry::Update {
                channel: *channel,
                id: *id,
                bytes: bytes.clone(),
                snapshot: snapshot.clone(),
                record: record.clone(),
                teaches: teaches.clone(),
            },
            Self::ChainState { channel, snapshot } => {
                Entry::ChainState { channel: *channel, snapshot: snapshot.clone() }
            }
            Self::Archive { channel } => Entry::Archive { channel: *channel },
            Self::Tip { hash, height } => Entry::Tip { hash: hash.to_byte_array(), height: height.get() },
            Self::Put { key, value } => Entry::Put { key: key.as_bytes().to_vec(), value: value.clone() },
        }
    }

    /// What whoever wanted it waits for.
    fn receipt(self) -> Option<Receipt> {
        match self {
            Self::New { receipt, .. } => Some(receipt),
            Self::Update { receipt, .. } => receipt,
            _ => None,
        }
    }
}

/// What the disk knows of a channel, as far as promises depend on it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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

    pub(crate) fn learn(&mut self, more: Self) {
        self.ours = self.ours.max(more.ours);
        self.theirs = self.theirs.max(more.theirs);
        self.unrevoked = self.unrevoked.max(more.unrevoked);
        self.preimages.extend(more.preimages);
    }
}

impl Encode for Marks {
    fn encode(&self, out: &mut Vec<u8>) {
        self.ours.encode(out);
        self.theirs.encode(out);
        self.unrevoked.encode(out);
        encode_list(&self.preimages.iter().copied().collect::<Vec<_>>(), out);
    }
}

impl Decode for Marks {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (ours, theirs, unrevoked) = (reader.read()?, reader.read()?, reader.read()?);
        let preimages: Vec<PaymentHash> = decode_list(reader)?;
        Ok(Self { ours, theirs, unrevoked, preimages: preimages.into_iter().collect() })
    }
}

/// The disk of one node.
#[derive(Default)]
pub(crate) struct SimDisk {
    store: RefCell<Store>,
    queue: RefCell<VecDeque<Write>>,
    /// Of what is written and not flushed.
    unflushed: RefCell<Vec<Receipt>>,
    receipts: RefCell<Vec<Receipt>>,
    written: Cell<u64>,
    /// Names of values that a crash takes with it.
    lost: RefCell<Vec<&'static str>>,
    /// Whether no write can be finished: no room, or an error.
    pub(crate) is_full: Cell<bool>,
    /// Whether it is far away, and acknowledges in any order.
    pub(crate) is_remote: Cell<bool>,
    /// Whether it flushes now and then only.
    pub(crate) is_lazy: Cell<bool>,
    /// How often it is asked in vain: what takes half a minute takes as long as many messages.
    pub(crate) stall: Cell<u32>,
    /// A value that stays where it is while others are written.
    pub(crate) starved: Cell<Option<&'static str>>,
    /// Whether an acknowledgement was lost.
    has_mislaid: Cell<bool>,
    /// The dice of the power cut that the next crash is.
    pub(crate) power: Cell<Option<u64>>,
}

impl SimDisk {
    /// A disk with one channel on it.
    pub(crate) fn holding(channel: ChannelId, stored: StoredChannel) -> Self {
        let durable = Durable { channels: BTreeMap::from([(channel, stored)]), ..Durable::default() };
        Self { store: RefCell::new(Store::holding(durable)), ..Self::default() }
    }

    /// It is whole and quick again, but for a flush that failed.
    pub(crate) fn be_quick(&self) {
        self.is_full.set(false);
        self.is_remote.set(false);
        self.is_lazy.set(false);
        self.stall.set(0);
        self.starved.set(None);
        self.set_fault(None);
    }

    /// What is wrong with the device from now on.
    pub(crate) fn set_fault(&self, fault: Option<Fault>) {
        self.store.borrow_mut().media.fault = fault;
    }

    /// Whether a flush has failed: nothing is written until the node starts again.
    fn is_frozen(&self) -> bool {
        self.store.borrow().is_frozen()
    }

    /// An acknowledgement is lost on its way: who waits for it waits until the node starts again.
    pub(crate) fn mislay(&self) {
        let is_lost = self.receipts.borrow_mut().pop().is_some();
        self.has_mislaid.set(self.has_mislaid.get() || is_lost);
    }

    /// Whether somebody waits in vain.
    pub(crate) fn needs_restart(&self) -> bool {
        self.is_frozen() || self.has_mislaid.get()
    }

    /// Whether it does nothing now, whatever it is asked.
    fn is_busy(&self) -> bool {
        let stall = self.stall.get();
        self.stall.set(stall.saturating_sub(1));
        stall > 0 || self.is_full.get() || self.is_frozen()
    }

    /// Makes everything that waits durable.
    pub(crate) fn write_all(&self) {
        if self.is_busy() {
            return;
        }
        loop {
            let place = { self.queue.borrow().iter().position(|write| !self.is_starved(write)) };
            let Some(place) = place else { break };
            let Some(write) = ({ self.queue.borrow_mut().remove(place) }) else { break };
            if !self.append(write, place) {
                break;
            }
        }
        self.flush();
    }

    /// What was written becomes durable.
    pub(crate) fn flush(&self) {
        if self.store.borrow_mut().flush().is_ok() {
            self.receipts.borrow_mut().append(&mut self.unflushed.borrow_mut());
        }
    }

    /// Writes one thing, which goes back to its place in the queue when it cannot be written.
    fn append(&self, write: Write, place: usize) -> bool {
        let is_written = self.store.borrow_mut().append(write.entry()).is_ok();
        if is_written {
            self.written.set(self.written.get() + 1);
            self.unflushed.borrow_mut().extend(write.receipt());
        } else {
            self.queue.borrow_mut().insert(place, write);
        }
        is_written
    }

    /// Makes one write durable that may be next; `false` when none waits.
    pub(crate) fn write_one(&self, dice: &mut Dice) -> bool {
        if self.is_busy() {
            return false;
        }
        if self.is_lazy.get()
            && self.store.borrow().waiting() > 0
            && (self.queue.borrow().is_empty() || dice.once_in(4))
        {
            self.flush();
            return true;
        }
        if self.is_remote.get() && dice.once_in(2) && self.acknowledge_early(dice) {
            return true;
        }
        let Some(place) = self.choose(dice) else { return false };
        let Some(write) = ({ self.queue.borrow_mut().remove(place) }) else { return false };
        let lane = write.lane();
        if !self.append(write, place) {
            return false;
        }
        if let Lane::Channel(_) = lane {
            self.close_gap(lane);
        }
        if !self.is_lazy.get() {
            self.flush();
        }
        true
    }

    fn is_starved(&self, write: &Write) -> bool {
        self.starved.get().is_some_and(|key| write.lane() == Lane::Value(key))
    }

    /// Which write may be next.
    fn choose(&self, dice: &mut Dice) -> Option<usize> {
        let queue = self.queue.borrow();
        let (mut free, mut taken, mut starved) = (Vec::new(), Vec::new(), 0);
        for (at, write) in queue.iter().enumerate() {
            let lane = write.lane();
            if self.is_starved(write) {
                starved += 1;
                continue;
            }
            let is_free = if lane == Lane::All { at == starved } else { !taken.contains(&lane) };
            if is_free {
                free.push(at);
            }
            if lane == Lane::All {
                // What follows a tip may pass it: only what precedes it must be there first.
                continue;
            }
            taken.push(lane);
        }
        (!free.is_empty()).then(|| free[dice.pick(free.len())])
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
                let place = until_open[0].0;
                (queue.remove(place).unwrap(), place)
            };
            if !self.append(write.0, write.1) {
                return;
            }
        }
    }

    /// The process stops: what waits is gone. If the power failed too, so is part of what was written and not flushed.
    pub(crate) fn crash(&self) {
        self.forget();
        self.has_mislaid.set(false);
        self.starved.set(None);
        let mut power = self.power.take().map(Dice::new);
        self.store.borrow_mut().reopen(power.as_mut());
        let lost = self.lost.take();
        if !lost.is_empty() {
            let mut durable = self.backup();
            lost.iter().for_each(|key| drop(durable.values.remove(*key)));
            *self.store.borrow_mut() = Store::holding(durable);
        }
    }

    fn forget(&self) {
        self.queue.borrow_mut().clear();
        self.unflushed.borrow_mut().clear();
        self.receipts.borrow_mut().clear();
    }

    /// A copy of all that is durable, as an old backup is.
    pub(crate) fn backup(&self) -> Durable {
        self.store.borrow().state().clone()
    }

    /// The disk is gone, and an old backup takes its place.
    pub(crate) fn replace(&self, backup: Durable) {
        self.forget();
        *self.store.borrow_mut() = Store::holding(backup);
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.queue.borrow().is_empty()
            && self.receipts.borrow().is_empty()
            && self.store.borrow().waiting() == 0
    }

    pub(crate) fn written(&self) -> u64 {
        self.written.get()
    }

    /// Writes the first `count` of what waits, in order, and flushes nothing.
    pub(crate) fn write_first(&self, count: usize) {
        if self.is_busy() {
            return;
        }
        for _ in 0..count {
            let Some(write) = ({ self.queue.borrow_mut().pop_front() }) else { return };
            if !self.append(write, 0) {
                return;
            }
        }
    }

    /// Puts a whole channel in the place of what is there, after all that waits; `false` when the disk does not take it.
    pub(crate) fn put_channel(&self, channel: ChannelId, stored: StoredChannel) -> bool {
        self.write_all();
        if !self.queue.borrow().is_empty() || self.is_busy() {
            return false;
        }
        let known = self.marks(&channel).unwrap_or_default();
        let mut store = self.store.borrow_mut();
        let entries =
            [Entry::Whole { channel, stored: Kept(stored) }, Entry::Known { channel, marks: known }];
        entries.into_iter().all(|entry| store.append(entry).is_ok()) && store.flush().is_ok()
    }

    /// A channel as it would be found after a restart.
    pub(crate) fn channel(&self, channel: ChannelId) -> Option<StoredChannel> {
        self.store.borrow().state().channels.get(&channel).cloned()
    }

    /// The last update of a channel that would survive.
    pub(crate) fn last_update(&self, channel: ChannelId) -> Option<UpdateId> {
        self.store.borrow().state().channels.get(&channel).map(|stored| stored.last_update)
    }

    /// Whether a channel was ever there.
    pub(crate) fn had_channel(&self, channel: ChannelId) -> bool {
        self.store.borrow().state().marks.contains_key(&channel)
    }

    /// What would survive of a channel.
    pub(crate) fn marks(&self, channel: &ChannelId) -> Option<Marks> {
        self.store.borrow().state().marks.get(channel).cloned()
    }

    /// Whether a channel would still be there after a restart.
    pub(crate) fn has_channel(&self, channel: &ChannelId) -> bool {
        self.store.borrow().state().channels.contains_key(channel)
    }

    pub(crate) fn channels(&self) -> StoredChannels {
        self.store.borrow().state().channels.clone().into_iter().collect()
    }

    pub(crate) fn tip(&self) -> Option<(BlockHash, BlockHeight)> {
        self.store.borrow().state().tip
    }

    pub(crate) fn put(&self, key: &'static str, value: Vec<u8>) {
        self.queue.borrow_mut().push_back(Write::Put { key, value });
    }

    /// Whether a value waits to be written.
    pub(crate) fn is_writing(&self, key: &'static str) -> bool {
        let is_it = |write: &Write| write.lane() == Lane::Value(key);
        self.queue.borrow().iter().any(is_it) || self.store.borrow().is_writing(key)
    }

    pub(crate) fn get(&self, key: &str) -> Option<Vec<u8>> {
        self.store.borrow().state().values.get(key).cloned()
    }

    /// The next crash takes a value with it, as if it had never been written.
    pub(crate) fn lose(&self, key: &'static str) {
        self.lost.borrow_mut().push(key);
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

    fn write_update(&self, update: &ChannelMonitorUpdate, snapshot: Option<MonitorSnapshot>) -> Persist {
        let bytes = ChannelMonitorUpdate { record: RecordChange::Same {}, ..update.clone() }.to_versioned();
        let (channel, record, id) = (update.channel, update.record.clone(), update.id);
        let (receipt, teaches) = (Some(update.receipt()), Marks::of(update));
        let write = Write::Update { channel, bytes, snapshot, record, id, receipt, teaches };
        self.queue.borrow_mut().push_back(write);
        Persist::InProgress
    }

    fn write_chain_state(&self, channel: ChannelId, snapshot: MonitorSnapshot) {
        self.queue.borrow_mut().push_back(Write::ChainState { channel, snapshot });
    }

    fn write_tip(&self, hash: BlockHash, height: BlockHeight) {
        self.queue.borrow_mut().push_back(Write::Tip { hash, height });
    }

    fn archive(&self, channel: ChannelId) {
        self.queue.borrow_mut().push_back(Write::Archive { channel });
    }

    fn read(&self, channel: ChannelId) -> Option<StoredChannel> {
        self.store.borrow().state().channels.get(&channel).cloned()
    }

    fn next_receipt(&self) -> Option<Receipt> {
        // The last first: receipts may come in any order.
        self.receipts.borrow_mut().pop()
    }
}
