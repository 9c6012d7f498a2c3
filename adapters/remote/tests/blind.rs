//! A node and a tower that keeps blobs: nothing that was staged is lost by crashes of either side, and a tower that deletes is found out.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod yard;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use bitcoin::BlockHash;
use lightning_remote::serve::{Backing, Bounds, MonitorService};
use lightning_remote::wire::blind::{AUDIT, AUDITED, Audit, Audited, Entry, LaneContent, RELEASE, is_loss};
use lightning_remote::wire::chain::{Kept, KeyAtHand, Memory};
use lightning_remote::wire::state::ChannelState;
use lightning_remote::wire::{Head, Mode, Name};
use lightning_remote::{
    Alarm, Below, BlindAlarm, BlindMonitors, Member as _, Quorum, QuorumConfig, RecordPolicy, RemoteConfig,
    RemoteMonitors, RowStore, Seat,
};
use lightning_traits::Secp;
use lightning_traits::codec::{Decode as _, Encode as _};
use lightning_traits::id::{ChannelId, EventId, NodeId, UpdateId};
use lightning_traits::interface::ManyChannelMonitor;
use lightning_traits::monitor::{
    ChannelMonitorUpdate, LateRefusal, MonitorEvent, MonitorRefusal, NewMonitor, Persist, Receipt,
};
use lightning_traits::units::BlockHeight;
use proptest::prelude::*;
use yard::{Disk, Monitors, channel, key, new_channel, point, update};

const TOWER: u8 = 60;
const CHANNELS: u8 = 3;

fn client() -> NodeId {
    NodeId::from(point(50))
}

/// Rows of the node, durable in the order in which they were written.
#[derive(Clone, Default)]
struct Store(Rc<RefCell<BTreeMap<String, Vec<u8>>>>);

impl RowStore for Store {
    fn put(&self, key: &str, value: Vec<u8>) {
        self.0.borrow_mut().insert(key.to_owned(), value);
    }
    fn remove(&self, key: &str) {
        self.0.borrow_mut().remove(key);
    }
    fn list(&self, prefix: &str) -> Vec<(String, Vec<u8>)> {
        let rows = self.0.borrow();
        rows.iter().filter(|(key, _)| key.starts_with(prefix)).map(|(k, v)| (k.clone(), v.clone())).collect()
    }
}

/// What a tower has on its disk.
#[derive(Clone, Default)]
struct Shelf {
    updates: BTreeMap<(ChannelId, UpdateId), Vec<u8>>,
    heads: BTreeMap<ChannelId, Head>,
    memory: Option<Memory>,
}

/// A tower that keeps blobs.
#[derive(Default)]
struct Keeper {
    disk: RefCell<Shelf>,
    /// Taken and not written.
    queue: RefCell<Vec<ChannelMonitorUpdate>>,
    heads: RefCell<BTreeMap<ChannelId, UpdateId>>,
    receipts: RefCell<VecDeque<Receipt>>,
    replaced: RefCell<VecDeque<ChannelId>>,
    gone: RefCell<VecDeque<ChannelId>>,
    refuses: Cell<bool>,
}

impl Keeper {
    fn on(disk: Shelf) -> Rc<Self> {
        let heads = disk.heads.iter().map(|(lane, head)| (*lane, head.id)).collect();
        Rc::new(Self { disk: RefCell::new(disk), heads: RefCell::new(heads), ..Self::default() })
    }

    fn write(&self, update: &ChannelMonitorUpdate) {
        let mut disk = self.disk.borrow_mut();
        disk.updates.insert((update.channel, update.id), update.to_versioned());
        let head = Head { id: update.id, name: Some(Name::of_update(update)) };
        disk.heads.insert(update.channel, head);
    }

    fn commit(&self) {
        for update in self.queue.take() {
            self.write(&update);
            self.receipts.borrow_mut().push_back(update.receipt());
        }
    }

    fn locators(&self) -> BTreeSet<[u8; 16]> {
        let disk = self.disk.borrow();
        let contents = disk
            .updates
            .values()
            .map(|bytes| LaneContent::of(&ChannelMonitorUpdate::from_versioned(bytes).unwrap()).unwrap());
        contents.flat_map(|content| content.entries).map(|entry| entry.locator).collect()
    }
}

impl ManyChannelMonitor for Keeper {
    fn add_channel(&self, _: NewMonitor) -> Persist {
        panic!("a blind tower is told of a channel")
    }
    fn update_channel(&self, update: ChannelMonitorUpdate) -> Persist {
        if self.refuses.get() {
            return Persist::Refused(MonitorRefusal::UnknownChannel);
        }
        let mut heads = self.heads.borrow_mut();
        let expected = heads.get(&update.channel).map_or(UpdateId(0), |id| id.next());
        if update.id != expected {
            return Persist::Refused(MonitorRefusal::OutOfOrder { expected, got: update.id });
        }
        heads.insert(update.channel, update.id);
        self.queue.borrow_mut().push(update);
        Persist::InProgress
    }
    fn next_receipt(&self) -> Option<Receipt> {
        self.receipts.borrow_mut().pop_front()
    }
    fn next_refusal(&self) -> Option<LateRefusal> {
        None
    }
    fn next_monitor_event(&self, _: Option<EventId>) -> Option<(EventId, MonitorEvent)> {
        None
    }
    fn acknowledge_monitor_event(&self, _: EventId) {}
}

impl Backing for Keeper {
    fn mode(&self) -> Mode {
        Mode::Blind {}
    }
    fn heads(&self) -> Vec<Kept> {
        self.disk
            .borrow()
            .heads
            .iter()
            .map(|(channel, head)| Kept { channel: *channel, head: *head })
            .collect()
    }
    fn fetch(&self, _: ChannelId) -> Option<ChannelState> {
        None
    }
    fn replace(&self, lane: ChannelId, state: ChannelState) {
        for bytes in &state.stored.updates {
            self.write(&ChannelMonitorUpdate::from_versioned(bytes).unwrap());
        }
        self.heads.borrow_mut().insert(lane, state.stored.last_update);
        self.replaced.borrow_mut().push_back(lane);
    }
    fn next_replaced(&self) -> Option<(ChannelId, Result<(), MonitorRefusal>)> {
        self.replaced.borrow_mut().pop_front().map(|lane| (lane, Ok(())))
    }
    fn write_memory(&self, memory: Memory) {
        self.disk.borrow_mut().memory = Some(memory);
    }
    fn written_memory(&self) -> Memory {
        self.disk.borrow().memory.unwrap_or(Memory::NONE)
    }
    fn tip(&self) -> Option<(BlockHash, BlockHeight)> {
        None
    }
    fn on_other(&self, kind: u16, body: Vec<u8>) -> Option<(u16, Vec<u8>)> {
        match kind {
            AUDIT => {
                let audit = Audit::from_bytes(&body).unwrap();
                let found = self.disk.borrow().updates.get(&(audit.lane, audit.id)).cloned();
                Some((AUDITED, Audited::sign(client(), audit, found, &KeyAtHand::new(key(TOWER))).to_bytes()))
            }
            RELEASE => {
                let lane = ChannelId(body.try_into().unwrap());
                self.disk.borrow_mut().updates.retain(|(of, _), _| *of != lane);
                if self.disk.borrow_mut().heads.remove(&lane).is_some() {
                    self.gone.borrow_mut().push_back(lane);
                }
                None
            }
            _ => None,
        }
    }
    fn next_gone(&self) -> Option<ChannelId> {
        self.gone.borrow_mut().pop_front()
    }
}

type Service = MonitorService<Rc<Keeper>, KeyAtHand>;
type Blind = Rc<BlindMonitors<Store>>;
type Members = Quorum<Rc<Monitors>, Blind>;

/// A node with a quick disk and a blind tower, both of which must hold each update.
struct Rig {
    store: Store,
    local: Rc<Monitors>,
    blind: Blind,
    quorum: Members,
    tower: Rc<Keeper>,
    service: Service,
    is_connected: bool,
    starts: u64,
    /// By channel: the last update that was handed over, and what was staged with it and before.
    given: BTreeMap<ChannelId, (UpdateId, Vec<[u8; 16]>)>,
    opened: BTreeMap<ChannelId, UpdateId>,
    what: u64,
    policy: Below,
}

fn start(store: &Store, local: &Rc<Monitors>, session: u64, policy: Below) -> (Blind, Members) {
    let config = RemoteConfig {
        mode: Mode::Blind {},
        ..RemoteConfig::new(client(), point(TOWER), RecordPolicy::Withheld)
    };
    let remote = Arc::new(RemoteMonitors::new(config, session, None));
    let stored: Vec<_> =
        local.disk.borrow().channels.iter().map(|(id, stored)| (*id, stored.clone())).collect();
    let channels = stored.iter().map(|(id, stored)| (*id, stored.last_update));
    let blind = Rc::new(BlindMonitors::new(remote, store.clone(), &[8; 32], channels));
    let seat = Seat { member: Rc::clone(&blind), is_required: false, is_trusted: false };
    let config = QuorumConfig { needed: 2, below: policy };
    (blind, Quorum::new(Rc::clone(local), vec![seat], config, &stored))
}

fn serve(tower: &Rc<Keeper>) -> Service {
    MonitorService::new(
        Rc::clone(tower),
        KeyAtHand::new(key(TOWER)),
        point(TOWER),
        client(),
        Bounds::default(),
    )
}

impl Rig {
    fn new(policy: Below) -> Self {
        let (store, local, tower) =
            (Store::default(), Monitors::on(Disk::default(), 4), Keeper::on(Shelf::default()));
        local.is_quick.set(true);
        let (blind, quorum) = start(&store, &local, 1_000, policy);
        let service = serve(&tower);
        let mut rig = Self {
            store,
            local,
            blind,
            quorum,
            tower,
            service,
            is_connected: false,
            starts: 1,
            given: BTreeMap::new(),
            opened: BTreeMap::new(),
            what: 0,
            policy,
        };
        for byte in 1..=CHANNELS {
            assert!(matches!(rig.quorum.add_channel(new_channel(byte)), Persist::InProgress));
            rig.given.insert(channel(byte), (UpdateId(0), Vec::new()));
        }
        rig.collect();
        rig
    }

    fn connect(&mut self) {
        self.blind.remote().disconnected();
        self.service.disconnected();
        self.blind.remote().connected();
        self.is_connected = true;
        self.talk();
    }

    fn cut(&mut self) {
        self.blind.remote().disconnected();
        self.service.disconnected();
        self.is_connected = false;
    }

    /// Everything that both have to say.
    fn talk(&mut self) {
        for _ in 0..10_000 {
            if !self.is_connected {
                break;
            }
            let up = self.blind.remote().next_frame();
            let down = self.service.next_frame();
            let is_idle = up.is_none() && down.is_none();
            up.inspect(|frame| self.service.on_frame(frame));
            down.inspect(|frame| self.blind.remote().on_frame(frame));
            self.service.process();
            self.collect();
            if is_idle {
                return;
            }
        }
    }

    fn collect(&mut self) {
        self.blind.process();
        while let Some(receipt) = self.quorum.next_receipt() {
            let opened = self.opened.entry(receipt.channel()).or_insert(UpdateId(0));
            *opened = (*opened).max(receipt.id());
        }
    }

    /// The next update of a channel; `blobs` of them belong to it.
    fn learn(&mut self, byte: u8, blobs: u8) {
        self.what += 1;
        let (id, locators) = self.given.get_mut(&channel(byte)).unwrap();
        *id = id.next();
        let entry = |number: u8| {
            let mut locator = [number; 16];
            locator[..8].copy_from_slice(&self.what.to_be_bytes());
            Entry { locator, body: vec![byte; 1_040] }
        };
        let entries: Vec<Entry> = (0..blobs).map(entry).collect();
        locators.extend(entries.iter().map(|entry| entry.locator));
        let update = update(byte, id.0, self.what);
        self.blind.stage(channel(byte), update.id, entries);
        assert!(!matches!(self.quorum.update_channel(update), Persist::Refused(_)));
        self.collect();
    }

    fn restart_node(&mut self) {
        self.cut();
        self.starts += 1;
        (self.blind, self.quorum) = start(&self.store, &self.local, 1_000 * self.starts, self.policy);
    }

    /// The tower forgets what it has not written.
    fn crash_tower(&mut self, disk: Option<Shelf>) {
        self.cut();
        let disk = disk.unwrap_or_else(|| self.tower.disk.borrow().clone());
        self.tower = Keeper::on(disk);
        self.service = serve(&self.tower);
    }

    fn heal(&mut self) {
        self.connect();
        for _ in 0..4 {
            self.tower.commit();
            self.service.process();
            self.blind.remote().timer_tick();
            self.talk();
        }
    }

    /// All that was staged is at the tower, and everything is open.
    fn expect_whole(&self) {
        let kept = self.tower.locators();
        for (id, (last, locators)) in &self.given {
            assert!(locators.iter().all(|locator| kept.contains(locator)), "blobs of {id} are lost");
            assert_eq!(self.blind.durable(*id), Some(*last));
        }
        assert_eq!(self.quorum.unsettled(), []);
        let rows = self.store.list("blind/blob/").len();
        assert!(rows <= usize::from(CHANNELS), "{rows} rows are left");
    }

    fn alarms(&self) -> Vec<Alarm> {
        std::iter::from_fn(|| self.blind.remote().next_alarm()).collect()
    }
}

#[test]
fn l11_blobs_wait_for_the_tower_over_restarts_of_the_node() {
    let mut rig = Rig::new(Below::Degrade { max_unacked: 20 });
    for byte in 1..=CHANNELS {
        (0..5).for_each(|round| rig.learn(byte, round % 3));
    }
    rig.restart_node();
    for byte in 1..=CHANNELS {
        assert_eq!(rig.blind.durable(channel(byte)), None, "nobody has said that they are there");
        rig.learn(byte, 1);
    }
    rig.restart_node();
    rig.heal();
    rig.expect_whole();
    assert_eq!(rig.alarms(), []);
    // And again, with nothing to send.
    rig.restart_node();
    rig.heal();
    rig.expect_whole();
    assert_eq!(rig.alarms(), []);
}

#[test]
fn l20_an_update_opens_when_its_blobs_are_written_and_no_more_than_k_are_ahead() {
    for (policy, ahead) in [(Below::Freeze, 0), (Below::Degrade { max_unacked: 3 }, 3)] {
        let mut rig = Rig::new(policy);
        rig.heal();
        rig.learn(1, 0);
        assert_eq!(rig.opened[&channel(1)], UpdateId(1), "without blobs nothing is waited for");
        rig.learn(1, 2);
        rig.talk();
        assert_eq!(rig.opened[&channel(1)], UpdateId(1), "sent is not written");
        rig.tower.commit();
        rig.service.process();
        rig.talk();
        assert_eq!(rig.opened[&channel(1)], UpdateId(2));
        // A partition: the channel goes on for K updates, another is held up no more than that.
        rig.cut();
        (0..10).for_each(|_| rig.learn(1, 1));
        rig.learn(2, 1);
        assert_eq!(rig.opened[&channel(1)], UpdateId(2 + ahead));
        assert_eq!(rig.opened[&channel(2)], UpdateId(ahead.min(1)));
        rig.heal();
        assert_eq!(rig.opened[&channel(1)], UpdateId(12));
        rig.expect_whole();
    }
}

#[test]
fn l11_a_tower_from_an_old_backup_is_convicted_and_gets_what_there_is() {
    let mut rig = Rig::new(Below::Degrade { max_unacked: 20 });
    rig.heal();
    rig.learn(1, 1);
    rig.heal();
    let backup = rig.tower.disk.borrow().clone();
    (0..4).for_each(|_| rig.learn(1, 1));
    rig.heal();
    rig.expect_whole();
    rig.crash_tower(Some(backup));
    rig.learn(1, 1);
    rig.heal();
    assert!(rig.alarms().iter().any(|alarm| matches!(alarm, Alarm::Lost { .. })), "it had signed for them");
    // What it had signed for and lost is lost; all else is there, and the channel goes on.
    assert_eq!(rig.blind.durable(channel(1)), Some(UpdateId(6)));
    rig.learn(1, 1);
    rig.heal();
    assert_eq!(rig.opened[&channel(1)], UpdateId(7));
    let kept = rig.tower.locators();
    let lost = rig.given[&channel(1)].1.iter().filter(|locator| !kept.contains(*locator)).count();
    assert_eq!(lost, 3, "all but the last that it had signed for is gone from the node");
}

#[test]
fn l14_a_channel_that_is_done_with_is_let_go_of_however_long_that_takes() {
    let mut rig = Rig::new(Below::Degrade { max_unacked: 20 });
    rig.heal();
    (1..=CHANNELS).for_each(|byte| rig.learn(byte, 1));
    rig.heal();
    rig.cut();
    rig.quorum.forget(channel(2));
    // It is gone from the node's disk as well.
    rig.local.disk.borrow_mut().channels.remove(&channel(2));
    rig.given.remove(&channel(2));
    rig.restart_node();
    rig.heal();
    assert_eq!(rig.tower.disk.borrow().heads.len(), 3);
    rig.blind.timer_tick(0);
    rig.talk();
    assert_eq!(rig.tower.disk.borrow().heads.len(), 2);
    assert_eq!(rig.store.list("blind/released/").len(), 1);
    // The next list of the tower says that it is done.
    rig.cut();
    rig.heal();
    rig.blind.timer_tick(0);
    assert_eq!(rig.store.list("blind/released/").len(), 0);
    rig.heal();
    rig.expect_whole();
    assert_eq!(rig.alarms(), []);
}

#[test]
fn l18_a_tower_that_deletes_one_blob_in_a_hundred_is_found_within_a_day_and_convicted() {
    let mut rig = Rig::new(Below::Degrade { max_unacked: 2_000 });
    rig.heal();
    for _ in 0..300 {
        (1..=CHANNELS).for_each(|byte| rig.learn(byte, 1));
    }
    rig.heal();
    // A day of honest answers.
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut roll = || {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        random >> 16
    };
    for _ in 0..1_440 {
        rig.blind.timer_tick(roll());
        rig.talk();
    }
    assert_eq!((rig.blind.next_alarm(), rig.blind.answered()), (None, 1_440));
    // It deletes nine of nine hundred.
    let doomed: Vec<_> = rig.tower.disk.borrow().updates.keys().copied().skip(50).step_by(100).collect();
    assert_eq!(doomed.len(), 9);
    doomed.iter().for_each(|place| drop(rig.tower.disk.borrow_mut().updates.remove(place)));
    let mut minutes = 0;
    let alarm = loop {
        minutes += 1;
        assert!(minutes <= 1_440, "not found within a day");
        rig.blind.timer_tick(roll());
        rig.talk();
        if let Some(alarm) = rig.blind.next_alarm() {
            break alarm;
        }
    };
    let BlindAlarm::Lost { early, answer, .. } = alarm else { panic!("{alarm:?}") };
    let secp = Secp::new();
    assert!(is_loss(&secp, &point(TOWER), &early, &answer), "anybody is convinced");
    assert!(!is_loss(&secp, &point(TOWER + 1), &early, &answer), "of this tower only");
    let honest = Audited::sign(client(), answer.audit, Some(vec![1]), &KeyAtHand::new(key(TOWER)));
    assert!(!is_loss(&secp, &point(TOWER), &early, &honest));
    println!("found after {minutes} questions");
}

#[test]
fn l18_a_blob_that_was_changed_or_moved_is_known() {
    let mut rig = Rig::new(Below::Degrade { max_unacked: 2_000 });
    rig.heal();
    (0..3).for_each(|_| rig.learn(1, 1));
    rig.heal();
    let lane = rig.blind.lane(channel(1));
    let third = rig.tower.disk.borrow().updates[&(lane, UpdateId(2))].clone();
    rig.tower.disk.borrow_mut().updates.insert((lane, UpdateId(1)), third);
    for place in [0, 1, 2] {
        rig.blind.timer_tick(place);
        rig.talk();
        let expected = (place == 1).then(|| BlindAlarm::Changed { channel: channel(1) });
        assert_eq!(rig.blind.next_alarm(), expected);
    }
    // One that says nothing.
    rig.cut();
    rig.connect();
    for _ in 0..17 {
        rig.blind.timer_tick(1);
    }
    assert_eq!(rig.blind.next_alarm(), Some(BlindAlarm::Silent));
}

#[test]
fn l19_no_tower_and_no_chain_knows_a_lane_by_another_name() {
    let rig = Rig::new(Below::Freeze);
    let config = RemoteConfig::new(client(), point(TOWER + 1), RecordPolicy::Withheld);
    let remote = Arc::new(RemoteMonitors::new(config, 1, None));
    let other = BlindMonitors::new(remote, Store::default(), &[8; 32], []);
    let lanes: BTreeSet<ChannelId> = (1..=CHANNELS)
        .flat_map(|byte| [rig.blind.lane(channel(byte)), other.lane(channel(byte)), channel(byte)])
        .collect();
    assert_eq!(lanes.len(), 3 * usize::from(CHANNELS));
}

#[test]
fn a_tower_that_takes_no_more_is_an_alarm_and_holds_up_what_needs_it() {
    let mut rig = Rig::new(Below::Freeze);
    rig.heal();
    rig.tower.refuses.set(true);
    rig.learn(1, 1);
    rig.heal();
    assert!(std::iter::from_fn(|| rig.quorum.next_alarm()).count() > 0 || !rig.alarms().is_empty());
}

#[derive(Clone, Debug)]
enum Move {
    Learn(u8, u8),
    Commit,
    Connect,
    Cut,
    Talk,
    RestartNode,
    CrashTower,
}

fn moves() -> impl Strategy<Value = Move> {
    prop_oneof![
        6 => (1..=CHANNELS, 0_u8..3).prop_map(|(byte, blobs)| Move::Learn(byte, blobs)),
        3 => Just(Move::Commit),
        2 => Just(Move::Connect),
        1 => Just(Move::Cut),
        4 => Just(Move::Talk),
        1 => Just(Move::RestartNode),
        1 => Just(Move::CrashTower),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn l11_whatever_happens_all_blobs_are_there_in_the_end(moves in prop::collection::vec(moves(), 1..80)) {
        let mut rig = Rig::new(Below::Degrade { max_unacked: 30 });
        rig.connect();
        for step in moves {
            match step {
                Move::Learn(byte, blobs) => rig.learn(byte, blobs),
                Move::Commit => { rig.tower.commit(); rig.service.process(); }
                Move::Connect => rig.connect(),
                Move::Cut => rig.cut(),
                Move::Talk => rig.talk(),
                Move::RestartNode => rig.restart_node(),
                Move::CrashTower => rig.crash_tower(None),
            }
            // What a member says it holds is on its disk.
            let kept = rig.tower.locators();
            for (id, (last, locators)) in &rig.given {
                if rig.blind.durable(*id) == Some(*last) {
                    prop_assert!(locators.iter().all(|locator| kept.contains(locator)), "{} is not held", id);
                }
            }
        }
        rig.heal();
        rig.expect_whole();
        prop_assert!(rig.alarms().is_empty());
    }
}
