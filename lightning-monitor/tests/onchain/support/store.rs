//! A store in memory: writes wait in a queue until [`Store::flush`], a crash loses the queue.
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};

use bitcoin::BlockHash;
use lightning_traits::id::ChannelId;
use lightning_traits::interface::MonitorStore;
use lightning_traits::monitor::{
    ChannelMonitorUpdate, MonitorSnapshot, NewMonitor, Persist, Receipt, RecordChange, StoredChannel,
    StoredChannels,
};
use lightning_traits::units::BlockHeight;

enum Write {
    New(Box<NewMonitor>),
    Update(ChannelMonitorUpdate, Option<MonitorSnapshot>),
    Chain(ChannelId, MonitorSnapshot),
    Tip(BlockHash, BlockHeight),
    Archive(ChannelId),
}

#[derive(Default)]
struct State {
    queue: VecDeque<Write>,
    receipts: VecDeque<Receipt>,
    durable: BTreeMap<ChannelId, StoredChannel>,
    archived: Vec<ChannelId>,
    tip: Option<(BlockHash, BlockHeight)>,
    written: usize,
    bytes: usize,
}

#[derive(Default)]
pub(crate) struct Store {
    state: RefCell<State>,
    /// How often one channel was read.
    pub(crate) reads: Cell<usize>,
    /// Whether none can be.
    pub(crate) unreadable: Cell<bool>,
}

impl Store {
    /// Makes everything durable that waits.
    pub(crate) fn flush(&self) {
        let mut state = self.state.borrow_mut();
        while let Some(write) = state.queue.pop_front() {
            state.apply(write);
        }
    }

    /// Makes everything durable that waits, and gives the receipts the other way round.
    pub(crate) fn flush_backwards(&self) {
        self.flush();
        self.state.borrow_mut().receipts.make_contiguous().reverse();
    }

    /// What survives a crash now; what was not durable is lost.
    pub(crate) fn crash(&self) -> (StoredChannels, Option<(BlockHash, BlockHeight)>) {
        let mut state = self.state.borrow_mut();
        state.queue.clear();
        state.receipts.clear();
        (state.durable.clone().into_iter().collect(), state.tip)
    }

    /// What would survive a crash now; nothing is lost by asking.
    pub(crate) fn stored(&self) -> (StoredChannels, Option<(BlockHash, BlockHeight)>) {
        let state = self.state.borrow();
        (state.durable.clone().into_iter().collect(), state.tip)
    }

    pub(crate) fn archived(&self) -> Vec<ChannelId> {
        self.state.borrow().archived.clone()
    }

    /// Makes only the first write durable that waits.
    pub(crate) fn flush_first(&self) {
        let mut state = self.state.borrow_mut();
        let write = state.queue.pop_front().expect("something waits");
        state.apply(write);
    }

    /// Makes everything of channels durable that waits, and loses every tip: a disk may be ahead of what it vouches for.
    pub(crate) fn flush_channels(&self) {
        self.state.borrow_mut().queue.retain(|write| !matches!(write, Write::Tip(..)));
        self.flush();
    }

    /// Makes everything durable that waits, and loses what was to be archived.
    pub(crate) fn flush_before_archives(&self) {
        self.state.borrow_mut().queue.retain(|write| !matches!(write, Write::Archive(_)));
        self.flush();
    }

    /// Bytes there ever were written for channels.
    pub(crate) fn bytes(&self) -> usize {
        self.state.borrow().bytes
    }

    /// Writes of channels there ever were, durable or not.
    pub(crate) fn written(&self) -> usize {
        self.state.borrow().written
    }

    fn push(&self, write: Write) {
        let mut state = self.state.borrow_mut();
        state.written += usize::from(!matches!(write, Write::Tip(..)));
        state.bytes += match &write {
            Write::New(new) => new.to_versioned().len(),
            Write::Update(update, None) => update.to_versioned().len(),
            Write::Update(_, Some(snapshot)) | Write::Chain(_, snapshot) => snapshot.length(),
            Write::Tip(..) | Write::Archive(_) => 0,
        };
        state.queue.push_back(write);
    }
}

impl State {
    fn apply(&mut self, write: Write) {
        match write {
            Write::New(new) => {
                let stored = StoredChannel { new: new.to_versioned(), ..StoredChannel::default() };
                self.durable.insert(new.init.channel, stored);
                self.receipts.push_back(new.receipt());
            }
            Write::Update(update, snapshot) => {
                let stored = self.durable.get_mut(&update.channel).expect("written after its first state");
                match snapshot {
                    Some(snapshot) => stored.take_snapshot(snapshot),
                    None => stored.updates.push(update.to_versioned()),
                }
                assert_eq!(update.id, stored.last_update.next(), "updates are written in order");
                stored.last_update = update.id;
                if let RecordChange::Append { bytes } = &update.record {
                    stored.record_changes.push(bytes.clone());
                }
                self.receipts.push_back(update.receipt());
            }
            Write::Chain(channel, snapshot) => {
                let stored = self.durable.get_mut(&channel).expect("written after its first state");
                stored.take_snapshot(snapshot);
            }
            Write::Tip(hash, height) => self.tip = Some((hash, height)),
            Write::Archive(channel) => {
                self.durable.remove(&channel).expect("archived once");
                self.archived.push(channel);
            }
        }
    }
}

impl MonitorStore for Store {
    fn write_new(&self, new: &NewMonitor) -> Persist {
        self.push(Write::New(Box::new(new.clone())));
        Persist::InProgress
    }

    fn write_update(&self, update: &ChannelMonitorUpdate, snapshot: Option<MonitorSnapshot>) -> Persist {
        self.push(Write::Update(update.clone(), snapshot));
        Persist::InProgress
    }

    fn write_chain_state(&self, channel: ChannelId, snapshot: MonitorSnapshot) {
        self.push(Write::Chain(channel, snapshot));
    }

    fn write_tip(&self, hash: BlockHash, height: BlockHeight) {
        self.push(Write::Tip(hash, height));
    }

    fn archive(&self, channel: ChannelId) {
        self.push(Write::Archive(channel));
    }

    fn read(&self, channel: ChannelId) -> Option<StoredChannel> {
        self.reads.set(self.reads.get() + 1);
        self.state.borrow().durable.get(&channel).filter(|_| !self.unreadable.get()).cloned()
    }

    fn next_receipt(&self) -> Option<Receipt> {
        self.state.borrow_mut().receipts.pop_front()
    }
}
