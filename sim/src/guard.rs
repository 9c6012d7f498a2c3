//! A watchtower's machine, for one client: real monitors with lent keys over a disk that tears, a view of the chain that fails,
//! a broadcaster that is refused, and the client's service in front.
//!
//! What the watchtower's program does with threads is done here in turns: commits, blocks, replacements of whole channels, and
//! looks at the blocks before a channel came. All else is the code that towers run.
//!
//! # Invariants
//! - keys are on the disk before the channel that they are of, and so is the block from which it must be looked for
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use bitcoin::block::Header;
use bitcoin::{BlockHash, Network, OutPoint, ScriptBuf, Transaction};
use lightning_chain_bitcoind::{BitcoindBroadcaster, ChainFollower, Progress};
use lightning_keys::{KEYS_MESSAGE, KEYS_REFUSED, LentKeys, LentSigner, Power};
use lightning_monitor::{Duty, MonitorEnvironment, MonitorSet};
use lightning_remote::serve::{Backing, Bounds, MonitorService};
use lightning_remote::wire::Mode;
use lightning_remote::wire::chain::{Kept, KeyAtHand, Memory};
use lightning_remote::wire::state::{ChannelState, head_of};
use lightning_traits::Secp;
use lightning_traits::codec::{Reader, decode_list, encode_list};
use lightning_traits::id::{ChannelId, ChannelKeysId, EventId, NodeId};
use lightning_traits::interface::{
    BlockSource as _, BroadcasterInterface, ChainListener, ConfirmedTransaction, EntropySource,
    KeysInterface, ManyChannelMonitor, SignError,
};
use lightning_traits::monitor::{
    ChannelMonitorUpdate, LateRefusal, MonitorEvent, MonitorInit, MonitorRefusal, NewMonitor, Persist,
    Receipt, RecordChange, StoredChannel,
};
use lightning_traits::tx::ChannelPublicKeys;
use lightning_traits::units::BlockHeight;
use secp256k1::ecdsa::{RecoverableSignature, Signature};
use secp256k1::{PublicKey, SecretKey};

use crate::coins::SimCoins;
use crate::dice::Dice;
use crate::disk::SimDisk;
use crate::journal::Journal;
use crate::oracle::tower::Scanned;
use crate::parts::{SimFees, SimLog};
use crate::view::View;

/// Where the keys of all channels stand on the disk, what was signed, and from where channels are to be looked for.
const KEYS: &str = "keys";
const MEMORY: &str = "memory";
const LOOK_BACKS: &str = "look-backs";

pub(crate) type Service = MonitorService<Rc<Guard>, KeyAtHand>;
type Set = MonitorSet<GuardParts>;
type Broadcasts = BitcoindBroadcaster<View>;

/// The keys of one client's channels.
#[derive(Clone)]
pub(crate) struct KeyRing {
    secp: Arc<Secp>,
    tower: PublicKey,
    signers: Rc<RefCell<BTreeMap<ChannelKeysId, LentSigner>>>,
    dice: Rc<RefCell<Dice>>,
}

impl EntropySource for KeyRing {
    fn fill(&self, bytes: &mut [u8]) {
        let mut dice = self.dice.borrow_mut();
        bytes.iter_mut().for_each(|byte| *byte = dice.roll(256) as u8);
    }
}

impl KeysInterface for KeyRing {
    type Signer = LentSigner;

    fn node_id(&self) -> PublicKey {
        self.tower
    }

    fn ecdh(&self, _: &PublicKey) -> Result<[u8; 32], SignError> {
        Err(SignError::Refused)
    }

    fn sign_gossip(&self, _: &[u8; 32]) -> Result<Signature, SignError> {
        Err(SignError::Refused)
    }

    fn sign_invoice(&self, _: &[u8; 32]) -> Result<RecoverableSignature, SignError> {
        Err(SignError::Refused)
    }

    fn inbound_payment_key(&self) -> [u8; 32] {
        self.bytes32()
    }

    fn new_channel_keys(&self) -> ChannelKeysId {
        ChannelKeysId(self.bytes32())
    }

    fn signer(&self, keys: &ChannelKeysId) -> LentSigner {
        self.signers.borrow().get(keys).cloned().unwrap_or_else(|| {
            let key = self.tower;
            LentSigner::without_keys(ChannelPublicKeys {
                funding: key,
                revocation_basepoint: key,
                payment_basepoint: key,
                delayed_payment_basepoint: key,
                htlc_basepoint: key,
            })
        })
    }

    fn destination_script(&self, _: &ChannelKeysId) -> ScriptBuf {
        ScriptBuf::new()
    }

    fn shutdown_script(&self, _: &ChannelKeysId) -> ScriptBuf {
        ScriptBuf::new()
    }
}

/// Hands what monitors send to the broadcaster, and remembers it for the oracles.
#[derive(Clone)]
pub(crate) struct Sender {
    inner: Rc<Broadcasts>,
    sent: Rc<RefCell<Vec<Transaction>>>,
}

impl BroadcasterInterface for Sender {
    fn broadcast(&self, package: &[Transaction]) {
        self.sent.borrow_mut().extend(package.iter().cloned());
        self.inner.broadcast(package);
    }
}

/// What the tower's monitors call.
#[derive(Clone)]
pub(crate) struct GuardParts {
    keys: KeyRing,
    store: Rc<SimDisk>,
    broadcaster: Sender,
    fees: SimFees,
    coins: Rc<SimCoins>,
    duty: Duty,
    log: SimLog,
}

impl MonitorEnvironment for GuardParts {
    type Keys = KeyRing;
    type Store = Rc<SimDisk>;
    type Broadcaster = Sender;
    type Fees = SimFees;
    type Watch = ();
    type Coins = Rc<SimCoins>;
    type Log = SimLog;

    fn duty(&self) -> Duty {
        self.duty
    }
    fn keys(&self) -> &KeyRing {
        &self.keys
    }
    fn store(&self) -> &Rc<SimDisk> {
        &self.store
    }
    fn broadcaster(&self) -> &Sender {
        &self.broadcaster
    }
    fn fees(&self) -> &SimFees {
        &self.fees
    }
    fn watch(&self) -> &() {
        &()
    }
    fn coins(&self) -> &Rc<SimCoins> {
        &self.coins
    }
    fn log(&self) -> &SimLog {
        &self.log
    }
}

/// A channel that must be looked for since a height.
type LookBack = (ChannelId, u32);

#[derive(Default)]
struct Inbox {
    keys: BTreeMap<ChannelKeysId, LentKeys>,
    /// Of channels that are taken: their keys as bytes, all of which are one value on the disk.
    kept_keys: BTreeMap<ChannelKeysId, Vec<u8>>,
    /// Those of which the past was not looked at to the end, and those of them that were not begun with.
    look_backs: Vec<LookBack>,
    waiting: Vec<LookBack>,
    replacements: VecDeque<(ChannelId, Box<StoredChannel>)>,
    replaced: VecDeque<(ChannelId, Result<(), MonitorRefusal>)>,
    receipts: VecDeque<Receipt>,
}

/// What does not die with the process.
pub(crate) struct Machine {
    pub(crate) mode: Mode,
    pub(crate) key: SecretKey,
    pub(crate) client: NodeId,
    pub(crate) disk: Rc<SimDisk>,
    pub(crate) view: View,
    pub(crate) coins: Rc<SimCoins>,
    pub(crate) scanned: Rc<RefCell<Scanned>>,
    /// What it has sent since somebody looked last.
    pub(crate) sent: Rc<RefCell<Vec<Transaction>>>,
    fees: SimFees,
    pub(crate) journal: Journal,
    number: usize,
}

impl Machine {
    /// A tower with an empty disk. `number` tells it from the others.
    pub(crate) fn new(
        number: usize,
        mode: Mode,
        client: NodeId,
        view: View,
        fees: &SimFees,
        journal: &Journal,
    ) -> Self {
        let coins = Rc::new(SimCoins::with_key(tower_coins(number), &view.chain));
        Self {
            mode,
            key: tower_key(number),
            client,
            disk: Rc::default(),
            coins,
            view,
            scanned: Rc::default(),
            sent: Rc::default(),
            fees: fees.clone(),
            journal: journal.clone(),
            number,
        }
    }

    pub(crate) fn public(&self) -> PublicKey {
        self.key.public_key(&Secp::new())
    }

    /// The process starts from what the disk holds.
    pub(crate) fn start(&self, seed: u64) -> (Rc<Guard>, Service) {
        let guard = Rc::new(Guard::open(self, seed));
        let service = MonitorService::new(
            Rc::clone(&guard),
            KeyAtHand::new(self.key),
            self.public(),
            self.client,
            Bounds::default(),
        );
        (guard, service)
    }
}

/// Secrets beside those of nodes.
fn tower_key(number: usize) -> SecretKey {
    SecretKey::from_slice(&[0x61 + number as u8; 32]).expect("a fixed key")
}

const fn tower_coins(number: usize) -> u8 {
    0xe0 + number as u8
}

/// The process of a tower.
pub(crate) struct Guard {
    mode: Mode,
    parts: GuardParts,
    monitors: RefCell<Rc<Set>>,
    inbox: RefCell<Inbox>,
    view: View,
    follower: RefCell<ChainFollower<View>>,
    broadcasts: Rc<Broadcasts>,
    scanned: Rc<RefCell<Scanned>>,
    /// Replacements that are done when all blocks were looked at.
    looking: RefCell<Vec<ChannelId>>,
    /// Whether all blocks were looked at once: nobody is let in before.
    pub(crate) is_open: Cell<bool>,
}

impl Guard {
    fn open(machine: &Machine, seed: u64) -> Self {
        let disk = &machine.disk;
        let keys = KeyRing {
            secp: Arc::new(Secp::new()),
            tower: machine.public(),
            signers: Rc::default(),
            dice: Rc::new(RefCell::new(Dice::new(seed))),
        };
        let stored = disk.channels();
        let kept_keys = read_keys(disk.get(KEYS));
        for (channel, stored) in &stored {
            let new = NewMonitor::from_versioned(&stored.new).expect("the disk is whole");
            let bytes = kept_keys.get(&new.init.keys).unwrap_or_else(|| panic!("no keys for {channel}"));
            let lent = LentKeys::from_bytes(bytes).expect("keys that were taken");
            keys.put(&new.init, &lent);
        }
        let broadcasts = Rc::new(Broadcasts::new(machine.view.clone()));
        let parts = GuardParts {
            keys,
            store: Rc::clone(disk),
            broadcaster: Sender { inner: Rc::clone(&broadcasts), sent: Rc::clone(&machine.sent) },
            fees: machine.fees.clone(),
            coins: Rc::clone(&machine.coins),
            duty: if machine.mode == (Mode::Full {}) { Duty::Enforce } else { Duty::Punish },
            log: SimLog { node: 100 + machine.number, journal: machine.journal.clone() },
        };
        let tip = disk.tip();
        machine.scanned.borrow_mut().restart(tip.map(|(hash, _)| hash));
        let monitors = MonitorSet::restore(parts.clone(), &stored, tip).expect("the disk is whole");
        let look_backs = disk.get(LOOK_BACKS).map(|bytes| read_look_backs(&bytes)).unwrap_or_default();
        Self {
            mode: machine.mode,
            parts,
            monitors: RefCell::new(Rc::new(monitors)),
            inbox: RefCell::new(Inbox {
                kept_keys,
                waiting: look_backs.clone(),
                look_backs,
                ..Inbox::default()
            }),
            follower: RefCell::new(ChainFollower::new(machine.view.clone(), Network::Regtest)),
            view: machine.view.clone(),
            broadcasts,
            scanned: Rc::clone(&machine.scanned),
            looking: RefCell::default(),
            is_open: Cell::new(false),
        }
    }

    fn monitors(&self) -> Rc<Set> {
        Rc::clone(&self.monitors.borrow())
    }

    /// Channels that are watched.
    pub(crate) fn channels(&self) -> Vec<ChannelId> {
        self.monitors().channels()
    }

    /// What waits for the thread of the chain.
    pub(crate) fn do_waiting(&self) {
        if !self.is_open.get()
            || !self.inbox.borrow().replacements.is_empty()
            || !self.looking.borrow().is_empty()
        {
            self.scan();
        }
    }

    /// Whether a channel is watched.
    fn watches(&self, channel: ChannelId) -> bool {
        self.monitors().channels().contains(&channel)
    }

    /// What the thread of the chain does in a turn.
    pub(crate) fn scan(&self) {
        self.do_replacements();
        self.look_back();
        let monitors = self.monitors();
        let before = monitors.best_block();
        let contiguous = Contiguous { inner: &monitors, scanned: &self.scanned };
        let listeners: [&dyn ChainListener; 2] = [&contiguous, &*self.broadcasts];
        let outcome = loop {
            match self.follower.borrow_mut().poll(&listeners) {
                Ok(Progress::More { .. }) => {}
                other => break other,
            }
        };
        if matches!(outcome, Ok(Progress::Synced(_))) {
            self.is_open.set(true);
            let is_waiting = !self.inbox.borrow().waiting.is_empty();
            let done = if is_waiting { Vec::new() } else { core::mem::take(&mut *self.looking.borrow_mut()) };
            self.looked_back();
            self.inbox.borrow_mut().replaced.extend(done.into_iter().map(|channel| (channel, Ok(()))));
        }
        if monitors.best_block() != before {
            monitors.rebroadcast();
            self.broadcasts.rebroadcast();
        }
    }

    /// Once more whatever has not confirmed, as every minute.
    pub(crate) fn refresh(&self) {
        self.monitors().rebroadcast();
        self.broadcasts.rebroadcast();
    }

    fn give_keys(&self, name: ChannelKeysId, keys: LentKeys) -> bool {
        let power = if self.mode == (Mode::Full {}) { Power::Enforce } else { Power::Punish };
        let keys = keys.limited_to(power);
        if keys.power() != power {
            return false;
        }
        self.inbox.borrow_mut().keys.insert(name, keys);
        true
    }

    fn take_keys(&self, init: &MonitorInit) -> Result<(), &'static str> {
        let given = self.inbox.borrow_mut().keys.remove(&init.keys);
        let Some(keys) = given else {
            let has = self.parts.keys.signers.borrow().contains_key(&init.keys);
            return if has { Ok(()) } else { Err("no keys were given for it") };
        };
        if !keys.fit(&self.parts.keys.secp, &init.ours.keys) {
            return Err("the keys that were given are another channel's");
        }
        let mut inbox = self.inbox.borrow_mut();
        inbox.kept_keys.insert(init.keys, keys.to_bytes().to_vec());
        let all: Vec<(Vec<u8>, Vec<u8>)> =
            inbox.kept_keys.iter().map(|(name, bytes)| (name.0.to_vec(), bytes.clone())).collect();
        let mut bytes = Vec::new();
        encode_list(&all, &mut bytes);
        self.parts.store.put(KEYS, bytes);
        self.parts.keys.put(init, &keys);
        Ok(())
    }

    /// The past of a channel has to be looked at from a height on.
    fn note_look_back(&self, channel: ChannelId, from: u32) {
        let mut inbox = self.inbox.borrow_mut();
        inbox.look_backs.push((channel, from));
        inbox.waiting.push((channel, from));
        drop(inbox);
        self.write_look_backs();
    }

    fn write_look_backs(&self) {
        let inbox = self.inbox.borrow();
        let all: Vec<(Vec<u8>, u32)> =
            inbox.look_backs.iter().map(|(channel, from)| (channel.0.to_vec(), *from)).collect();
        let mut bytes = Vec::new();
        encode_list(&all, &mut bytes);
        self.parts.store.put(LOOK_BACKS, bytes);
    }

    fn looked_back(&self) {
        if self.inbox.borrow().look_backs.is_empty() || !self.inbox.borrow().waiting.is_empty() {
            return;
        }
        self.inbox.borrow_mut().look_backs.clear();
        self.write_look_backs();
    }

    /// Shows the monitors an old block again, if a channel that came late may have been spent since.
    fn look_back(&self) {
        let monitors = self.monitors();
        let Some((_, tip)) = monitors.best_block() else { return };
        let waiting = core::mem::take(&mut self.inbox.borrow_mut().waiting);
        let mut from: Option<u32> = None;
        for (channel, first) in waiting.iter().copied() {
            let Some(monitor) = monitors.monitor(channel) else { continue };
            // What it knows of the chain may be of blocks that are gone.
            monitors.undo_chain(channel);
            let funding: OutPoint = monitor.init().funding.outpoint;
            match self.view.unspent(&funding) {
                Ok(None) if first <= tip.get() => {}
                Ok(_) => continue,
                Err(_) => return self.inbox.borrow_mut().waiting.extend(waiting),
            }
            from = Some(from.map_or(first, |from: u32| from.min(first)));
        }
        let Some(from) = from else { return };
        let hash = self.view.hash_at(from).ok().flatten();
        let Some(block) = hash.and_then(|hash| self.view.block(&hash).ok()) else {
            return self.inbox.borrow_mut().waiting.extend(waiting);
        };
        self.scanned.borrow_mut().jump(block.block_hash());
        monitors.block_connected(&block, BlockHeight::new(from));
    }

    fn do_replacements(&self) {
        loop {
            let next = self.inbox.borrow_mut().replacements.pop_front();
            let Some((channel, stored)) = next else { return };
            if let Err(why) = self.replace_now(channel, *stored) {
                self.parts.log.journal.say(|| format!("{channel} is not replaced: {why}"));
                self.inbox.borrow_mut().replaced.push_back((channel, Err(MonitorRefusal::Contradiction)));
            }
        }
    }

    fn replace_now(&self, channel: ChannelId, stored: StoredChannel) -> Result<(), String> {
        let new = NewMonitor::from_versioned(&stored.new).map_err(|error| error.to_string())?;
        if new.init.channel != channel {
            return Err("it is another channel's state".to_owned());
        }
        self.take_keys(&new.init)?;
        self.note_look_back(channel, new.init.birth.get());
        // What was queued of it before is written before it, and void by it.
        if !self.parts.store.put_channel(channel, stored) {
            return Err("the disk does not take it".to_owned());
        }
        let old = self.monitors();
        let receipts = core::iter::from_fn(|| old.next_receipt());
        let others: Vec<Receipt> = receipts.filter(|receipt| receipt.channel() != channel).collect();
        self.inbox.borrow_mut().receipts.extend(others);
        let tip = old.best_block();
        let fresh = MonitorSet::restore(self.parts.clone(), &self.parts.store.channels(), tip);
        let fresh = Rc::new(fresh.map_err(|error| error.to_string())?);
        *self.monitors.borrow_mut() = fresh;
        self.looking.borrow_mut().push(channel);
        Ok(())
    }
}

impl KeyRing {
    fn put(&self, init: &MonitorInit, keys: &LentKeys) {
        let signer = keys.signer(Arc::clone(&self.secp), init.ours.keys);
        self.signers.borrow_mut().insert(init.keys, signer);
    }
}

fn read_keys(bytes: Option<Vec<u8>>) -> BTreeMap<ChannelKeysId, Vec<u8>> {
    let bytes = bytes.unwrap_or_default();
    if bytes.is_empty() {
        return BTreeMap::new();
    }
    let all: Vec<(Vec<u8>, Vec<u8>)> = decode_list(&mut Reader::new(&bytes)).expect("the disk is whole");
    let name = |bytes: Vec<u8>| ChannelKeysId(bytes.try_into().expect("a name of keys"));
    all.into_iter().map(|(key, value)| (name(key), value)).collect()
}

fn read_look_backs(bytes: &[u8]) -> Vec<LookBack> {
    let all: Vec<(Vec<u8>, u32)> = decode_list(&mut Reader::new(bytes)).expect("the disk is whole");
    let name = |bytes: Vec<u8>| ChannelId(bytes.try_into().expect("a channel"));
    all.into_iter().map(|(channel, from)| (name(channel), from)).collect()
}

impl ManyChannelMonitor for Guard {
    fn add_channel(&self, mut new: NewMonitor) -> Persist {
        let channel = new.init.channel;
        if !self.watches(channel) {
            if let Err(why) = self.take_keys(&new.init) {
                self.parts.log.journal.say(|| format!("{channel} is not taken: {why}"));
                return Persist::Refused(MonitorRefusal::UnknownChannel);
            }
            self.note_look_back(channel, new.init.birth.get());
        }
        if new.record == (RecordChange::Same {}) {
            new.record = RecordChange::Snapshot { bytes: Vec::new() };
        }
        self.monitors().add_channel(new)
    }

    fn update_channel(&self, update: ChannelMonitorUpdate) -> Persist {
        self.monitors().update_channel(update)
    }

    fn next_receipt(&self) -> Option<Receipt> {
        let kept = self.inbox.borrow_mut().receipts.pop_front();
        kept.or_else(|| self.monitors().next_receipt())
    }

    fn next_refusal(&self) -> Option<LateRefusal> {
        self.monitors().next_refusal()
    }

    fn next_monitor_event(&self, after: Option<EventId>) -> Option<(EventId, MonitorEvent)> {
        self.monitors().next_monitor_event(after)
    }

    fn acknowledge_monitor_event(&self, id: EventId) {
        self.monitors().acknowledge_monitor_event(id);
    }
}

impl Backing for Guard {
    fn mode(&self) -> Mode {
        self.mode
    }

    fn heads(&self) -> Vec<Kept> {
        let channels = self.parts.store.channels();
        channels.iter().map(|(channel, stored)| Kept { channel: *channel, head: head_of(stored) }).collect()
    }

    fn fetch(&self, channel: ChannelId) -> Option<ChannelState> {
        let seen = self.parts.store.tip().map_or(BlockHeight::new(0), |(_, height)| height);
        let stored = self.parts.store.channel(channel)?;
        Some(ChannelState { stored, seen })
    }

    fn replace(&self, channel: ChannelId, state: ChannelState) {
        self.inbox.borrow_mut().replacements.push_back((channel, Box::new(state.stored)));
    }

    fn next_replaced(&self) -> Option<(ChannelId, Result<(), MonitorRefusal>)> {
        self.inbox.borrow_mut().replaced.pop_front()
    }

    fn write_memory(&self, memory: Memory) {
        self.parts.store.put(MEMORY, memory.to_versioned());
    }

    fn written_memory(&self) -> Memory {
        let bytes = self.parts.store.get(MEMORY);
        bytes.map_or(Memory::NONE, |bytes| Memory::from_versioned(&bytes).expect("the disk is whole"))
    }

    fn tip(&self) -> Option<(BlockHash, BlockHeight)> {
        self.monitors().best_block()
    }

    fn on_other(&self, kind: u16, body: Vec<u8>) -> Option<(u16, Vec<u8>)> {
        let refused = |why: &str| Some((KEYS_REFUSED, why.as_bytes().to_vec()));
        if kind != KEYS_MESSAGE {
            return refused("this tower knows no such message");
        }
        let Some((name, keys)) = LentKeys::from_message(&body) else { return refused("these are no keys") };
        if self.give_keys(name, keys) { None } else { refused("fewer keys than the mode needs") }
    }
}

/// Shows the oracle what the monitors are shown (T3).
struct Contiguous<'a> {
    inner: &'a Set,
    scanned: &'a RefCell<Scanned>,
}

impl ChainListener for Contiguous<'_> {
    fn filtered_block_connected(
        &self,
        header: &Header,
        transactions: &[ConfirmedTransaction<'_>],
        height: BlockHeight,
    ) {
        self.scanned.borrow_mut().connect(header, height.get());
        self.inner.filtered_block_connected(header, transactions, height);
    }

    fn block_disconnected(&self, header: &Header, height: BlockHeight) {
        self.scanned.borrow_mut().disconnect(header);
        self.inner.block_disconnected(header, height);
    }

    fn best_block(&self) -> Option<(BlockHash, BlockHeight)> {
        self.inner.best_block()
    }
}
