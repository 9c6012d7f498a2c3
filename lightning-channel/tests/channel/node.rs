//! One node with one channel and one disk.
//!
//! Writes reach the disk when the test lets them; a crash loses those that have not, and everything in memory. After every
//! write the record on disk must restore, and its snapshot restore to the same.
use std::collections::{BTreeMap, VecDeque};

use bitcoin::Transaction;
use bitcoin::constants::ChainHash;
use lightning_channel::channel::{Channel, Context, FeeQuotes, Output, Persisting};
use lightning_channel::commitments::{IncomingHtlc, Notice, NoticeKey, OutgoingHtlc};
use lightning_traits::Secp;
use lightning_traits::config::UserConfig;
use lightning_traits::event::Event;
use lightning_traits::feature::Features;
use lightning_traits::id::{ChannelId, EventId, HtlcId, NodeId, UpdateId};
use lightning_traits::interface::KeysInterface as _;
use lightning_traits::monitor::{
    ChannelMonitorUpdate, MonitorRefusal, MonitorStep, NewMonitor, Receipt, RecordChange,
};
use lightning_traits::units::{BlockHeight, FeeratePerKw};
use lightning_traits::wire::{Message, RoutingMessage};

use super::keys::TestKeys;

/// What is durable.
#[derive(Clone, Default)]
pub(crate) struct Disk {
    pub(crate) new: Option<NewMonitor>,
    pub(crate) record: Vec<u8>,
    pub(crate) changes: Vec<Vec<u8>>,
    pub(crate) last: UpdateId,
    pub(crate) steps: Vec<MonitorStep>,
}

pub(crate) struct Node {
    pub(crate) secp: Secp,
    pub(crate) keys: TestKeys,
    pub(crate) config: UserConfig,
    pub(crate) features: Features,
    pub(crate) fees: FeeQuotes,
    pub(crate) height: u32,
    pub(crate) channel: Option<Channel<TestKeys>>,
    pub(crate) disk: Disk,
    /// Writes that have not reached the disk.
    pub(crate) writing: VecDeque<Persisting>,
    /// While true, writes stay on their way.
    pub(crate) slow_disk: bool,
    /// The monitor has gone to the chain by itself: it takes no new commitment of ours.
    pub(crate) on_chain: bool,
    /// How many updates it did not take.
    pub(crate) refusals: usize,
    pub(crate) outgoing: VecDeque<Message>,
    pub(crate) hangup: Option<Message>,
    pub(crate) log: Vec<Message>,
    pub(crate) events: Vec<Event>,
    pub(crate) incoming: Vec<IncomingHtlc>,
    pub(crate) notices: BTreeMap<NoticeKey, Notice>,
    pub(crate) broadcasts: Vec<Transaction>,
    pub(crate) gossip: Vec<RoutingMessage>,
    pub(crate) durable_removals: Vec<HtlcId>,
    pub(crate) unsent: Vec<(HtlcId, OutgoingHtlc)>,
    pub(crate) taken: Vec<EventId>,
    pub(crate) shared: Vec<Vec<ChannelId>>,
    pub(crate) gone: Vec<NoticeKey>,
}

impl Node {
    pub(crate) fn new(name: &str) -> Self {
        let rate = FeeratePerKw::new;
        Self {
            secp: super::keys::secp(),
            keys: TestKeys::new(name),
            config: UserConfig::default(),
            features: Features::node_default(),
            fees: FeeQuotes {
                anchor_commitment: rate(1_000),
                other_commitment: rate(2_500),
                normal: rate(1_500),
                background: rate(500),
                minimum: rate(253),
            },
            height: 500,
            channel: None,
            disk: Disk::default(),
            writing: VecDeque::new(),
            slow_disk: false,
            on_chain: false,
            refusals: 0,
            outgoing: VecDeque::new(),
            hangup: None,
            log: Vec::new(),
            events: Vec::new(),
            incoming: Vec::new(),
            notices: BTreeMap::new(),
            broadcasts: Vec::new(),
            gossip: Vec::new(),
            durable_removals: Vec::new(),
            unsent: Vec::new(),
            taken: Vec::new(),
            shared: Vec::new(),
            gone: Vec::new(),
        }
    }

    pub(crate) fn id(&self) -> NodeId {
        NodeId::from(self.keys.node_id())
    }

    /// Surroundings that borrow only what a channel does not.
    pub(crate) fn with<R>(
        &mut self,
        step: impl FnOnce(&mut Channel<TestKeys>, &Context<'_, TestKeys>) -> R,
    ) -> R {
        let mut channel = self.channel.take().expect("a channel");
        let result = step(&mut channel, &self.cx());
        self.channel = Some(channel);
        result
    }

    pub(crate) fn cx(&self) -> Context<'_, TestKeys> {
        Context {
            secp: &self.secp,
            keys: &self.keys,
            config: &self.config,
            fees: self.fees,
            chain: ChainHash::REGTEST,
            features: &self.features,
            height: BlockHeight::new(self.height),
            time: 1_700_000_000 + self.height * 600,
            log: &(),
        }
    }

    pub(crate) fn channel(&self) -> &Channel<TestKeys> {
        self.channel.as_ref().expect("a channel")
    }

    /// Takes one output; false when there is none.
    pub(crate) fn step(&mut self) -> bool {
        let Some(output) = self.channel.as_mut().and_then(Channel::poll) else { return false };
        match output {
            Output::Persist(persisting) => {
                self.writing.push_back(persisting);
                if !self.slow_disk {
                    self.write_one();
                }
            }
            Output::Send(message) => self.outgoing.push_back(message),
            Output::Disconnect(message) => self.hangup = Some(message),
            Output::Broadcast(package) => self.broadcasts.extend(package),
            Output::Announce(message) => self.gossip.push(message),
            Output::Incoming(htlc) => self.incoming.push(htlc),
            Output::Notice(notice) => drop(self.notices.insert(notice.key(), notice)),
            Output::RemovalDurable(id) => self.durable_removals.push(id),
            Output::Unsent(id, htlc) => self.unsent.push((id, htlc)),
            Output::Event(event) => self.events.push(event),
            Output::FundingShared(members) => self.shared.push(members),
            Output::MonitorEventTaken(id) => self.taken.push(id),
            Output::NoticeGone(notice) => self.gone.push(notice),
            other => panic!("unknown output {other:?}"),
        }
        true
    }

    /// Lets one write reach the disk, and tells the channel.
    pub(crate) fn write_one(&mut self) -> bool {
        if self.refuse() {
            return true;
        }
        let Some(receipt) = self.write_silently() else { return false };
        self.channel.as_mut().unwrap().on_receipt(receipt);
        true
    }

    /// Tells the channel that the next write is not taken, if it is one that the monitor must not take. What was handed
    /// over after it is void.
    fn refuse(&mut self) -> bool {
        let Some(Persisting::Update(update)) = self.writing.front() else { return false };
        let is_ours = |step: &MonitorStep| matches!(step, MonitorStep::OurCommitment { .. });
        if !self.on_chain || !update.steps.iter().any(is_ours) {
            return false;
        }
        let id = update.id;
        self.writing.clear();
        self.refusals += 1;
        self.with(|channel, cx| channel.on_refused(cx, id, MonitorRefusal::OnChain));
        true
    }

    /// Lets one write reach the disk.
    pub(crate) fn write_silently(&mut self) -> Option<Receipt> {
        let receipt = match self.writing.pop_front()? {
            Persisting::New(new) => {
                let new = NewMonitor::from_versioned(&new.to_versioned()).unwrap();
                let RecordChange::Snapshot { bytes } = &new.record else {
                    panic!("the first record is a snapshot")
                };
                self.disk = Disk { record: bytes.clone(), ..Disk::default() };
                let receipt = new.receipt();
                self.disk.new = Some(new);
                receipt
            }
            Persisting::Update(update) => {
                let update = ChannelMonitorUpdate::from_versioned(&update.to_versioned()).unwrap();
                assert_eq!(update.id, self.disk.last.next(), "ids count up by one");
                self.disk.last = update.id;
                self.disk.steps.extend(update.steps.iter().cloned());
                let receipt = update.receipt();
                match update.record {
                    RecordChange::Same {} => {}
                    RecordChange::Append { bytes } => self.disk.changes.push(bytes),
                    RecordChange::Snapshot { bytes } => {
                        self.disk.record = bytes;
                        self.disk.changes.clear();
                    }
                }
                receipt
            }
        };
        self.check_record();
        Some(receipt)
    }

    /// What is on disk restores, and its snapshot restores to the same.
    fn check_record(&self) {
        let (cx, disk) = (self.cx(), &self.disk);
        let channel = Channel::restore(&cx, &disk.record, &disk.changes, disk.last).expect("a record");
        let snapshot = channel.snapshot().expect("a durable phase");
        let again = Channel::restore(&cx, &snapshot, &[], disk.last).expect("a snapshot");
        assert_eq!(again.snapshot(), Some(snapshot));
    }

    /// Loses everything but the disk.
    pub(crate) fn crash(&mut self) {
        self.writing.clear();
        self.outgoing.clear();
        self.hangup = None;
        self.incoming.clear();
        self.channel = None;
        if self.disk.new.is_some() {
            let channel =
                Channel::restore(&self.cx(), &self.disk.record, &self.disk.changes, self.disk.last).unwrap();
            self.channel = Some(channel);
        }
    }
}
