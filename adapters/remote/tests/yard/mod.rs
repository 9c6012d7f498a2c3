//! What the tests stand on: monitors over a disk that can be crashed and put back, and a line between a node and a tower.
#![allow(dead_code, reason = "each file takes what it needs")]

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use bitcoin::hashes::Hash as _;
use bitcoin::{Amount, BlockHash, OutPoint, ScriptBuf, Txid};
use lightning_remote::serve::{Backing, Bounds, MonitorService};
use lightning_remote::wire::chain::{Kept, KeyAtHand, Memory};
use lightning_remote::wire::state::{ChannelState, head_of};
use lightning_remote::wire::{Mode, Name};
use lightning_traits::Secp;
use lightning_traits::codec::TlvRecords;
use lightning_traits::id::{ChannelId, ChannelKeysId, EventId, NodeId, UpdateId};
use lightning_traits::interface::ManyChannelMonitor;
use lightning_traits::monitor::{
    ChannelMonitorUpdate, LateRefusal, MonitorEvent, MonitorInit, MonitorRefusal, MonitorStep, NewMonitor,
    PartyTerms, Persist, Receipt, RecordChange, StoredChannel,
};
use lightning_traits::payment::Preimage;
use lightning_traits::tx::{
    ChannelPublicKeys, CommitmentFormat, CommitmentSpec, FundingOutput, ObscureFactor,
};
use lightning_traits::units::{BlockHeight, CsvDelay, FeeratePerKw, Msat};
use secp256k1::{Message, PublicKey, SecretKey};

pub(crate) fn key(byte: u8) -> SecretKey {
    SecretKey::from_slice(&[byte; 32]).unwrap()
}

pub(crate) fn point(byte: u8) -> PublicKey {
    key(byte).public_key(&Secp::new())
}

pub(crate) fn channel(byte: u8) -> ChannelId {
    ChannelId([byte; 32])
}

pub(crate) fn new_channel(byte: u8) -> NewMonitor {
    let keys = |base: u8| ChannelPublicKeys {
        funding: point(base),
        revocation_basepoint: point(base + 1),
        payment_basepoint: point(base + 2),
        delayed_payment_basepoint: point(base + 3),
        htlc_basepoint: point(base + 4),
    };
    let terms = |base| PartyTerms {
        keys: keys(base),
        dust_limit: Amount::from_sat(354),
        to_self_delay: CsvDelay::new(144),
    };
    let (ours, theirs) = (terms(10), terms(20));
    let spec = CommitmentSpec {
        feerate: FeeratePerKw::FLOOR,
        to_broadcaster: Msat::from_sat(1_000),
        to_countersigner: Msat::ZERO,
        htlcs: vec![],
    };
    let outpoint = OutPoint { txid: Txid::from_byte_array([byte; 32]), vout: 0 };
    let init = MonitorInit {
        channel: channel(byte),
        peer: NodeId::from(point(30)),
        keys: ChannelKeysId([byte; 32]),
        funding: FundingOutput::new(
            outpoint,
            Amount::from_sat(1_000),
            ours.keys.funding,
            theirs.keys.funding,
        ),
        format: CommitmentFormat::AnchorsZeroFeeHtlc,
        obscure: ObscureFactor::new(&ours.keys.payment_basepoint, &theirs.keys.payment_basepoint),
        we_opened: true,
        their_signature: Secp::new().sign_ecdsa(&Message::from_digest([1; 32]), &key(1)),
        our_spec: spec.clone(),
        their_spec: spec.mirror(),
        their_point: point(31),
        destination: ScriptBuf::new(),
        birth: BlockHeight::new(7),
        ours,
        theirs,
    };
    NewMonitor { init, record: RecordChange::Snapshot { bytes: vec![byte, 0] }, extra: TlvRecords::new() }
}

/// An update that teaches `what`, and changes the record by as much.
pub(crate) fn update(byte: u8, id: u64, what: u64) -> ChannelMonitorUpdate {
    let mut preimage = [byte; 32];
    preimage[..8].copy_from_slice(&what.to_be_bytes());
    ChannelMonitorUpdate {
        channel: channel(byte),
        id: UpdateId(id),
        steps: vec![MonitorStep::Preimage { preimage: Preimage::new(preimage) }],
        record: RecordChange::Append { bytes: what.to_be_bytes().to_vec() },
        extra: TlvRecords::new(),
    }
}

/// What a disk holds.
#[derive(Clone, Default)]
pub(crate) struct Disk {
    pub(crate) channels: BTreeMap<ChannelId, StoredChannel>,
    pub(crate) memory: Option<Memory>,
}

impl Disk {
    /// Everything that the channel was ever taught, in order.
    pub(crate) fn history(&self, channel: ChannelId) -> Vec<Name> {
        self.channels.get(&channel).map(history).unwrap_or_default()
    }
}

pub(crate) fn history(stored: &StoredChannel) -> Vec<Name> {
    let snapshot = stored.monitor.as_deref().unwrap_or_default().chunks(32);
    let mut names: Vec<Name> = snapshot.map(|name| Name(name.try_into().unwrap())).collect();
    if names.is_empty() {
        names.push(Name::of_stored(&stored.new));
    }
    names.extend(stored.updates.iter().map(|bytes| Name::of_stored(bytes)));
    names
}

enum Write {
    New(Box<NewMonitor>),
    Update(ChannelMonitorUpdate),
    Replace(ChannelId, Box<ChannelState>),
    Memory(Memory),
}

/// Monitors that know ids and content and nothing of the chain, over a disk that writes when told.
#[derive(Default)]
pub(crate) struct Monitors {
    pub(crate) disk: RefCell<Disk>,
    queue: RefCell<VecDeque<Write>>,
    heads: RefCell<BTreeMap<ChannelId, UpdateId>>,
    receipts: RefCell<VecDeque<Receipt>>,
    replaced: RefCell<VecDeque<ChannelId>>,
    events: RefCell<BTreeMap<EventId, MonitorEvent>>,
    pub(crate) acknowledged: RefCell<Vec<EventId>>,
    /// What only a certain mode would understand, and in which order what came.
    pub(crate) others: RefCell<Vec<(u16, Vec<u8>)>>,
    pub(crate) heard: RefCell<Vec<&'static str>>,
    /// From which update on a channel is refused.
    pub(crate) refuses: RefCell<BTreeMap<ChannelId, (UpdateId, MonitorRefusal)>>,
    /// Every so many updates, a snapshot swallows them.
    pub(crate) snapshot_every: Cell<u64>,
    /// Whether receipts come in the wrong order.
    pub(crate) is_backward: Cell<bool>,
    /// Whether writes are durable at once.
    pub(crate) is_quick: Cell<bool>,
}

impl Monitors {
    pub(crate) fn on(disk: Disk, snapshot_every: u64) -> Rc<Self> {
        let heads = disk.channels.iter().map(|(channel, stored)| (*channel, stored.last_update)).collect();
        Rc::new(Self {
            disk: RefCell::new(disk),
            heads: RefCell::new(heads),
            snapshot_every: Cell::new(snapshot_every),
            ..Self::default()
        })
    }

    /// Writes the first `count` of what waits.
    pub(crate) fn commit(&self, count: usize) {
        for _ in 0..count {
            let Some(write) = self.queue.borrow_mut().pop_front() else { return };
            self.write(write);
        }
    }

    /// The last update that was taken, durable or not.
    pub(crate) fn head(&self, channel: ChannelId) -> Option<UpdateId> {
        self.heads.borrow().get(&channel).copied()
    }

    pub(crate) fn commit_all(&self) {
        self.commit(usize::MAX);
    }

    fn write(&self, write: Write) {
        let mut disk = self.disk.borrow_mut();
        match write {
            Write::Memory(memory) => disk.memory = Some(memory),
            Write::New(new) => {
                let RecordChange::Snapshot { bytes } = &new.record else { panic!("no record to begin with") };
                let stored = StoredChannel {
                    new: NewMonitor { record: RecordChange::Same {}, ..(*new).clone() }.to_versioned(),
                    record: bytes.clone(),
                    ..StoredChannel::default()
                };
                disk.channels.insert(new.init.channel, stored);
                self.receipts.borrow_mut().push_back(new.receipt());
            }
            Write::Update(update) => {
                let stored = disk.channels.get_mut(&update.channel).unwrap();
                assert_eq!(stored.last_update.next(), update.id);
                stored.last_update = update.id;
                match &update.record {
                    RecordChange::Same {} => {}
                    RecordChange::Append { bytes } => stored.record_changes.push(bytes.clone()),
                    RecordChange::Snapshot { bytes } => {
                        stored.record = bytes.clone();
                        stored.record_changes.clear();
                    }
                }
                let bare = ChannelMonitorUpdate { record: RecordChange::Same {}, ..update.clone() };
                stored.updates.push(bare.to_versioned());
                if update.id.0.is_multiple_of(self.snapshot_every.get().max(1)) {
                    stored.monitor = Some(history(stored).iter().flat_map(|name| name.0).collect());
                    stored.updates.clear();
                }
                self.receipts.borrow_mut().push_back(update.receipt());
            }
            Write::Replace(channel, state) => {
                disk.channels.insert(channel, state.stored);
                self.replaced.borrow_mut().push_back(channel);
            }
        }
    }

    pub(crate) fn report(&self, id: u64, event: MonitorEvent) {
        self.events.borrow_mut().insert(EventId(id), event);
    }

    fn persist(&self, write: Write, receipt: Receipt) -> Persist {
        if self.is_quick.get() {
            self.write(write);
            self.receipts.borrow_mut().pop_back();
            return Persist::Durable(receipt);
        }
        self.queue.borrow_mut().push_back(write);
        Persist::InProgress
    }
}

impl ManyChannelMonitor for Monitors {
    fn add_channel(&self, new: NewMonitor) -> Persist {
        self.heard.borrow_mut().push("new");
        let channel = new.init.channel;
        if self.heads.borrow().contains_key(&channel) {
            return Persist::Refused(MonitorRefusal::Duplicate);
        }
        self.heads.borrow_mut().insert(channel, UpdateId(0));
        let receipt = new.receipt();
        self.persist(Write::New(Box::new(new)), receipt)
    }

    fn update_channel(&self, update: ChannelMonitorUpdate) -> Persist {
        if let Some((from, why)) = self.refuses.borrow().get(&update.channel)
            && update.id >= *from
        {
            return Persist::Refused(*why);
        }
        {
            let mut heads = self.heads.borrow_mut();
            let Some(head) = heads.get_mut(&update.channel) else {
                return Persist::Refused(MonitorRefusal::UnknownChannel);
            };
            if update.id != head.next() {
                return Persist::Refused(MonitorRefusal::OutOfOrder {
                    expected: head.next(),
                    got: update.id,
                });
            }
            *head = update.id;
        }
        let receipt = update.receipt();
        self.persist(Write::Update(update), receipt)
    }

    fn next_receipt(&self) -> Option<Receipt> {
        let mut receipts = self.receipts.borrow_mut();
        if self.is_backward.get() { receipts.pop_back() } else { receipts.pop_front() }
    }

    fn next_refusal(&self) -> Option<LateRefusal> {
        None
    }

    fn next_monitor_event(&self, after: Option<EventId>) -> Option<(EventId, MonitorEvent)> {
        let first = after.map_or(EventId(0), EventId::next);
        self.events.borrow().range(first..).next().map(|(id, event)| (*id, event.clone()))
    }

    fn acknowledge_monitor_event(&self, id: EventId) {
        if self.events.borrow_mut().remove(&id).is_some() {
            self.acknowledged.borrow_mut().push(id);
        }
    }
}

impl Backing for Monitors {
    fn mode(&self) -> Mode {
        Mode::Full {}
    }

    fn heads(&self) -> Vec<Kept> {
        let disk = self.disk.borrow();
        disk.channels
            .iter()
            .map(|(channel, stored)| Kept { channel: *channel, head: head_of(stored) })
            .collect()
    }

    fn fetch(&self, channel: ChannelId) -> Option<ChannelState> {
        let stored = self.disk.borrow().channels.get(&channel)?.clone();
        Some(ChannelState { stored, seen: BlockHeight::new(100) })
    }

    fn on_other(&self, kind: u16, body: Vec<u8>) -> Option<(u16, Vec<u8>)> {
        self.heard.borrow_mut().push("other");
        self.others.borrow_mut().push((kind, body));
        None
    }

    fn replace(&self, channel: ChannelId, state: ChannelState) {
        self.heard.borrow_mut().push("whole");
        // What waits of this channel is void.
        self.queue.borrow_mut().retain(|write| match write {
            Write::New(new) => new.init.channel != channel,
            Write::Update(update) => update.channel != channel,
            Write::Replace(other, _) => *other != channel,
            Write::Memory(_) => true,
        });
        self.heads.borrow_mut().insert(channel, state.stored.last_update);
        self.queue.borrow_mut().push_back(Write::Replace(channel, Box::new(state)));
    }

    fn next_replaced(&self) -> Option<(ChannelId, Result<(), MonitorRefusal>)> {
        self.replaced.borrow_mut().pop_front().map(|channel| (channel, Ok(())))
    }

    fn write_memory(&self, memory: Memory) {
        self.queue.borrow_mut().push_back(Write::Memory(memory));
    }

    fn written_memory(&self) -> Memory {
        self.disk.borrow().memory.unwrap_or(Memory::NONE)
    }

    fn tip(&self) -> Option<(BlockHash, BlockHeight)> {
        Some((BlockHash::from_byte_array([4; 32]), BlockHeight::new(100)))
    }
}

pub(crate) type Service = MonitorService<Rc<Monitors>, KeyAtHand>;

/// The tower's key is `key(by)`.
pub(crate) fn service(monitors: &Rc<Monitors>, by: u8, client: NodeId) -> Service {
    MonitorService::new(Rc::clone(monitors), KeyAtHand::new(key(by)), point(by), client, Bounds::default())
}
