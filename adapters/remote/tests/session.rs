//! A node and one tower: drops, doubles, reorders, crashes of both, a tower put back to an old backup.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod yard;

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use lightning_remote::wire::Goodbye;
use lightning_remote::wire::chain::{ChainFault, is_negligence};
use lightning_remote::{Alarm, Fetched, Promise, RecordPolicy, RemoteConfig, RemoteMonitors, SealKey};
use lightning_traits::Secp;
use lightning_traits::id::{ChannelId, EventId, NodeId, UpdateId};
use lightning_traits::interface::ManyChannelMonitor as _;
use lightning_traits::monitor::{LateRefusal, MonitorEvent, MonitorRefusal, Persist};
use lightning_traits::units::BlockHeight;
use proptest::prelude::*;
use yard::{Disk, Monitors, Service, channel, new_channel, point, service, update};

const TOWER: u8 = 60;

fn client() -> NodeId {
    NodeId::from(point(50))
}

fn sealed() -> RecordPolicy {
    RecordPolicy::Sealed(SealKey::new(&[5; 32]), Promise { towers: 7, of: 3, held_by: 2 })
}

/// A node with local monitors whose disk is quick, and a tower.
struct Rig {
    local: Rc<Monitors>,
    remote: RemoteMonitors,
    config: RemoteConfig,
    tower: Rc<Monitors>,
    service: Service,
    is_connected: bool,
    up: VecDeque<Vec<u8>>,
    down: VecDeque<Vec<u8>>,
    backup: Disk,
    starts: u64,
    /// Updates that were acknowledged to the node.
    receipts: BTreeMap<ChannelId, Vec<UpdateId>>,
    alarms: Vec<Alarm>,
    /// Of the old session's frames.
    stale: VecDeque<(bool, Vec<u8>)>,
    what: u64,
}

impl Rig {
    fn new() -> Self {
        Self::with(RemoteConfig::new(client(), point(TOWER), sealed()))
    }

    fn with(config: RemoteConfig) -> Self {
        let local = Monitors::on(Disk::default(), 4);
        local.is_quick.set(true);
        let tower = Monitors::on(Disk::default(), 5);
        Self {
            remote: RemoteMonitors::new(config.clone(), 1_000, None),
            config,
            service: service(&tower, TOWER, client()),
            local,
            tower,
            is_connected: false,
            up: VecDeque::new(),
            down: VecDeque::new(),
            backup: Disk::default(),
            starts: 1,
            receipts: BTreeMap::new(),
            alarms: Vec::new(),
            stale: VecDeque::new(),
            what: 0,
        }
    }

    fn connect(&mut self) {
        self.disconnect();
        self.is_connected = true;
        self.remote.connected();
    }

    fn disconnect(&mut self) {
        if std::mem::take(&mut self.is_connected) {
            self.remote.disconnected();
            self.service.disconnected();
            // Some of what was under way turns up later.
            self.stale.extend(self.up.drain(..).take(3).map(|frame| (true, frame)));
            self.stale.extend(self.down.drain(..).take(3).map(|frame| (false, frame)));
        }
    }

    fn open(&mut self, byte: u8) {
        let new = new_channel(byte);
        if self.local.disk.borrow().channels.contains_key(&channel(byte)) {
            return;
        }
        assert!(matches!(self.local.add_channel(new.clone()), Persist::Durable(_)));
        assert_eq!(self.remote.add_channel(new), Persist::InProgress);
    }

    fn step(&mut self, byte: u8) {
        let last = self.local.disk.borrow().channels.get(&channel(byte)).map(|stored| stored.last_update.0);
        let Some(last) = last else { return };
        self.what += 1;
        let update = update(byte, last + 1, self.what);
        assert!(matches!(self.local.update_channel(update.clone()), Persist::Durable(_)));
        assert_eq!(self.remote.update_channel(update), Persist::InProgress);
    }

    /// Moves what is ready, without delivering it.
    fn pump(&mut self) {
        self.service.process();
        while let Some(channel) = self.remote.next_wanted() {
            let disk = self.local.disk.borrow();
            self.remote.provide(channel, disk.channels.get(&channel), BlockHeight::new(90));
        }
        if self.is_connected {
            self.up.extend(std::iter::from_fn(|| self.remote.next_frame()));
            self.down.extend(std::iter::from_fn(|| self.service.next_frame()));
        }
        self.alarms.extend(std::iter::from_fn(|| self.remote.next_alarm()));
        while let Some(receipt) = self.remote.next_receipt() {
            self.check(receipt.channel(), receipt.id());
            self.receipts.entry(receipt.channel()).or_default().push(receipt.id());
        }
    }

    /// A receipt says that the tower's disk holds our history up to there.
    fn check(&self, channel: ChannelId, id: UpdateId) {
        let (ours, theirs) =
            (self.local.disk.borrow().history(channel), self.tower.disk.borrow().history(channel));
        let end = id.0 as usize + 1;
        assert!(theirs.len() >= end, "{channel} has {} where {end} are acknowledged", theirs.len());
        assert_eq!(ours[..end], theirs[..end]);
    }

    fn deliver(&mut self, upward: bool, count: usize) {
        for _ in 0..count {
            let queue = if upward { &mut self.up } else { &mut self.down };
            let Some(frame) = queue.pop_front() else { return };
            if upward { self.service.on_frame(&frame) } else { self.remote.on_frame(&frame) }
        }
    }

    fn crash_tower(&mut self, to_backup: bool) {
        self.disconnect();
        let disk = if to_backup { self.backup.clone() } else { self.tower.disk.borrow().clone() };
        self.tower = Monitors::on(disk, 5);
        self.service = service(&self.tower, TOWER, client());
    }

    fn crash_node(&mut self) {
        self.disconnect();
        let disk = self.local.disk.borrow().clone();
        self.starts += 1;
        self.remote = RemoteMonitors::new(self.config.clone(), self.starts * 1_000, None);
        for (channel, stored) in &disk.channels {
            self.remote.expect_channel(*channel, stored);
        }
        self.receipts.clear();
    }

    /// Until nothing moves.
    fn settle(&mut self) {
        for _ in 0..200 {
            self.tower.commit_all();
            self.pump();
            if self.up.is_empty() && self.down.is_empty() {
                self.tower.commit_all();
                self.pump();
                if self.up.is_empty() && self.down.is_empty() {
                    return;
                }
            }
            self.deliver(true, usize::MAX);
            self.deliver(false, usize::MAX);
        }
        panic!("it does not come to rest");
    }

    fn heal(&mut self) {
        self.stale.clear();
        self.connect();
        self.settle();
        for _ in 0..6 {
            self.remote.timer_tick();
            self.settle();
        }
    }

    fn assert_level(&self) {
        let standing = self.remote.standing();
        assert!(standing.is_up);
        assert_eq!(standing.behind, 0, "something is not acknowledged");
        assert_eq!(standing.queued, 0, "something still waits");
        let (ours, theirs) = (self.local.disk.borrow(), self.tower.disk.borrow());
        for channel in ours.channels.keys() {
            assert_eq!(ours.history(*channel), theirs.history(*channel));
        }
    }
}

#[test]
fn updates_are_acknowledged_after_the_towers_disk_and_in_one_statement() {
    let mut rig = Rig::new();
    rig.connect();
    rig.settle();
    rig.open(1);
    rig.settle();
    assert_eq!(rig.receipts[&channel(1)], [UpdateId(0)]);
    let before = rig.service.served().count;
    (0..9).for_each(|_| rig.step(1));
    rig.pump();
    rig.deliver(true, usize::MAX);
    rig.pump();
    rig.deliver(false, usize::MAX);
    rig.pump();
    assert_eq!(rig.receipts[&channel(1)].len(), 1, "nothing before the disk");
    rig.settle();
    assert_eq!(rig.receipts[&channel(1)].len(), 10);
    assert_eq!(rig.service.served().count, before + 1, "one signature for one commit");
    rig.assert_level();
    assert!(rig.alarms.is_empty());
}

#[test]
fn no_statement_leaves_before_the_chains_head_is_durable() {
    let mut rig = Rig::new();
    rig.open(1);
    rig.connect();
    for _ in 0..20 {
        rig.pump();
        rig.deliver(true, usize::MAX);
        rig.deliver(false, usize::MAX);
    }
    assert!(rig.receipts.is_empty() && !rig.remote.standing().is_up);
    // The hello's memory.
    rig.tower.commit(1);
    for _ in 0..20 {
        rig.pump();
        rig.deliver(true, usize::MAX);
        rig.deliver(false, usize::MAX);
    }
    assert!(rig.remote.standing().is_up);
    // The channel; but not the memory of its statement.
    rig.tower.commit(1);
    for _ in 0..20 {
        rig.pump();
        rig.deliver(true, usize::MAX);
        rig.deliver(false, usize::MAX);
    }
    assert!(rig.receipts.is_empty());
    rig.settle();
    assert_eq!(rig.receipts[&channel(1)], [UpdateId(0)]);
}

#[test]
fn l11_what_was_queued_before_a_restart_of_the_node_is_caught_up() {
    let mut rig = Rig::new();
    rig.connect();
    rig.settle();
    rig.open(1);
    rig.step(1);
    rig.settle();
    rig.disconnect();
    (0..3).for_each(|_| rig.step(1));
    rig.open(2);
    rig.step(2);
    rig.crash_node();
    rig.heal();
    rig.assert_level();
    assert!(rig.alarms.is_empty());
}

#[test]
fn l11_a_tower_from_an_old_backup_is_behind_and_is_caught_up_and_cannot_deny_it() {
    let mut rig = Rig::new();
    rig.connect();
    rig.settle();
    (1..4).for_each(|byte| rig.open(byte));
    (1..4).for_each(|byte| rig.step(byte));
    rig.settle();
    rig.backup = rig.tower.disk.borrow().clone();
    (0..7).for_each(|_| (1..4).for_each(|byte| rig.step(byte)));
    rig.open(4);
    rig.settle();
    let before = rig.remote.last_statement().unwrap();
    rig.crash_tower(true);
    rig.heal();
    rig.assert_level();
    let after = rig.remote.last_statement().unwrap();
    assert!(after.acknowledgement.count > before.acknowledgement.count, "no count is signed twice");
    assert_eq!(rig.alarms.len(), 4);
    for alarm in &rig.alarms {
        let Alarm::Lost { channel, acknowledged, early, pages, .. } = alarm else { panic!("{alarm:?}") };
        assert!(is_negligence(&Secp::new(), &point(TOWER), early, pages, *channel, acknowledged.id));
    }
}

#[test]
fn l11_a_tower_that_lost_everything_gets_everything() {
    let mut rig = Rig::new();
    rig.connect();
    rig.settle();
    (1..4).for_each(|byte| rig.open(byte));
    (0..20).for_each(|_| (1..4).for_each(|byte| rig.step(byte)));
    rig.settle();
    rig.crash_tower(true);
    rig.heal();
    rig.assert_level();
}

#[test]
fn what_the_queue_has_lost_goes_as_a_whole_channel() {
    let mut config = RemoteConfig::new(client(), point(TOWER), sealed());
    config.queue = 3_000;
    let mut rig = Rig::with(config);
    rig.open(1);
    rig.open(2);
    (0..200).for_each(|_| (1..3).for_each(|byte| rig.step(byte)));
    assert!(rig.remote.standing().queued <= 3_000);
    rig.heal();
    rig.assert_level();
    assert_eq!(rig.receipts[&channel(1)].len(), 201, "a receipt for each");
}

#[test]
fn a_whole_channel_larger_than_a_message_of_the_transport_arrives() {
    let mut rig = Rig::new();
    rig.open(1);
    (0..6_000).for_each(|_| rig.step(1));
    rig.crash_node();
    rig.heal();
    rig.assert_level();
    assert!(rig.tower.disk.borrow().channels[&channel(1)].monitor.as_ref().unwrap().len() > 2 * 65_535);
}

#[test]
fn b1_a_tower_that_knows_more_than_the_disk_stops_the_channel() {
    let mut rig = Rig::new();
    rig.connect();
    rig.settle();
    rig.open(1);
    rig.step(1);
    rig.settle();
    let old = rig.local.disk.borrow().clone();
    rig.step(1);
    rig.settle();
    rig.local = Monitors::on(old, 4);
    rig.local.is_quick.set(true);
    rig.crash_node();
    rig.heal();
    let ahead = Alarm::Ahead { channel: channel(1), ours: UpdateId(1), found: UpdateId(2) };
    assert!(rig.alarms.contains(&ahead));
    rig.step(1);
    rig.settle();
    assert!(rig.receipts.is_empty(), "another update by a used id is not acknowledged");
    // The user knows better.
    rig.remote.overrule(channel(1));
    rig.settle();
    rig.assert_level();
}

#[test]
fn an_id_that_is_used_for_something_else_is_not_taken_for_the_same() {
    let mut rig = Rig::new();
    rig.connect();
    rig.settle();
    rig.open(1);
    rig.settle();
    let old = rig.local.disk.borrow().clone();
    rig.step(1);
    rig.settle();
    rig.disconnect();
    // The disk is put back, and the node goes on with another update 1.
    rig.local = Monitors::on(old, 4);
    rig.local.is_quick.set(true);
    rig.crash_node();
    rig.step(1);
    rig.heal();
    assert!(rig.receipts.is_empty());
    let ahead = Alarm::Ahead { channel: channel(1), ours: UpdateId(1), found: UpdateId(1) };
    assert!(rig.alarms.contains(&ahead), "the disk was old when this began");
    // However long it goes on.
    (0..5).for_each(|_| rig.step(1));
    rig.heal();
    assert!(rig.receipts.is_empty());
    rig.remote.overrule(channel(1));
    rig.settle();
    rig.assert_level();
}

#[test]
fn what_a_snapshot_has_swallowed_is_not_taken_for_the_same() {
    let mut rig = Rig::new();
    rig.open(1);
    (0..3).for_each(|_| rig.step(1));
    rig.heal();
    let old = rig.local.disk.borrow().clone();
    rig.step(1);
    rig.settle();
    // The disk is put back and makes another update 4, whose name goes with a snapshot before the node starts again.
    rig.local = Monitors::on(old, 4);
    rig.local.is_quick.set(true);
    rig.crash_node();
    rig.step(1);
    rig.crash_node();
    assert!(rig.local.disk.borrow().channels[&channel(1)].updates.is_empty());
    rig.step(1);
    rig.heal();
    rig.assert_level();
}

#[test]
fn statements_of_another_key_open_nothing() {
    let mut rig = Rig::new();
    rig.service = service(&rig.tower, TOWER + 1, client());
    rig.open(1);
    rig.connect();
    rig.settle();
    assert!(rig.receipts.is_empty() && !rig.remote.standing().is_up);
    assert!(rig.alarms.contains(&Alarm::Statement { fault: ChainFault::Signature }));
}

#[test]
fn a_later_life_of_the_node_fences_the_earlier() {
    let mut rig = Rig::new();
    rig.open(1);
    rig.heal();
    let old = std::mem::replace(&mut rig.config.incarnation, 2);
    rig.crash_node();
    rig.heal();
    rig.assert_level();
    // The earlier life is still about.
    rig.config.incarnation = old;
    rig.crash_tower(false);
    rig.crash_node();
    rig.step(1);
    rig.heal();
    assert_eq!(rig.alarms, [Alarm::Goodbye { why: Goodbye::Fenced { incarnation: 2 } }]);
    assert!(rig.receipts.is_empty() && !rig.remote.standing().is_up);
}

#[test]
fn a_node_without_a_disk_gets_its_channels_back_with_their_records() {
    for policy in [sealed(), RecordPolicy::Withheld] {
        let mut config = RemoteConfig::new(client(), point(TOWER), policy.clone());
        config.queue = 100_000;
        let mut rig = Rig::with(config);
        rig.open(1);
        rig.heal();
        (0..23).for_each(|_| rig.step(1));
        rig.settle();
        let stored = rig.local.disk.borrow().channels[&channel(1)].clone();
        let kept = rig.tower.disk.borrow().channels[&channel(1)].clone();
        let secret = &stored.record_changes[3];
        assert!(!kept.record_changes.iter().any(|change| change == secret), "the tower reads no record");
        // Another machine with the same seed.
        rig.config.incarnation = 2;
        rig.local = Monitors::on(Disk::default(), 4);
        rig.crash_node();
        rig.connect();
        rig.settle();
        let names: Vec<_> = rig.remote.kept_by_tower().into_iter().map(|(channel, _)| channel).collect();
        assert_eq!(names, [channel(1)]);
        rig.remote.fetch(channel(1));
        rig.remote.fetch(channel(2));
        rig.settle();
        let (_, found) = rig.remote.next_found().unwrap();
        let Fetched { stored: found, seen, promise } = found.unwrap();
        let is_sealed = matches!(policy, RecordPolicy::Sealed(..));
        assert_eq!(promise, if is_sealed { Promise { towers: 7, of: 3, held_by: 2 } } else { Promise::NONE });
        assert_eq!(seen, BlockHeight::new(100));
        assert_eq!(yard::history(&found), yard::history(&stored));
        if matches!(policy, RecordPolicy::Sealed(..)) {
            assert_eq!((found.record, found.record_changes), (stored.record, stored.record_changes));
        } else {
            assert!(found.record.is_empty() && found.record_changes.is_empty());
        }
        assert_eq!(rig.remote.next_found(), Some((channel(2), None)));
    }
}

#[test]
fn after_a_change_of_policy_a_channel_is_sealed_anew_though_the_tower_lacks_nothing() {
    let mut rig = Rig::new();
    rig.connect();
    rig.settle();
    rig.open(1);
    (0..2).for_each(|_| rig.step(1));
    rig.settle();
    assert!(rig.remote.is_resealed(channel(1)), "all of it was sealed by this process");
    rig.config.record = RecordPolicy::Sealed(SealKey::new(&[5; 32]), Promise::NONE);
    rig.crash_node();
    rig.connect();
    rig.settle();
    let promised = |rig: &Rig| {
        let kept = rig.tower.disk.borrow().channels[&channel(1)].clone();
        sealed().open_whole(channel(1), kept).unwrap().1
    };
    assert!(!rig.remote.is_resealed(channel(1)) && promised(&rig).held_by == 2, "the tower lacks nothing");
    for _ in 0..3 {
        rig.remote.reseal(channel(1));
        rig.settle();
    }
    assert!(rig.remote.is_resealed(channel(1)));
    assert_eq!(promised(&rig), Promise::NONE);
    rig.step(1);
    rig.settle();
    rig.assert_level();
    assert_eq!(promised(&rig), Promise::NONE);
}

#[test]
fn a_record_from_which_the_tower_left_something_out_does_not_open() {
    let mut rig = Rig::new();
    rig.connect();
    rig.settle();
    rig.open(1);
    (0..4).for_each(|_| rig.step(1));
    rig.settle();
    let whole = rig.tower.disk.borrow().channels[&channel(1)].clone();
    let policy = sealed();
    assert!(policy.open_whole(channel(1), whole.clone()).is_ok());
    assert!(policy.open_whole(channel(2), whole.clone()).is_err(), "of another channel");
    let mut missing = whole.clone();
    missing.record_changes.remove(1);
    assert!(policy.open_whole(channel(1), missing).is_err());
    let mut shuffled = whole.clone();
    shuffled.record_changes.swap(0, 1);
    assert!(policy.open_whole(channel(1), shuffled).is_err());
    let mut changed = whole.clone();
    *changed.record.last_mut().unwrap() ^= 1;
    assert!(policy.open_whole(channel(1), changed).is_err());
    let other = RecordPolicy::Sealed(SealKey::new(&[6; 32]), Promise::NONE);
    assert!(other.open_whole(channel(1), whole).is_err(), "another seed");
}

#[test]
fn a_refused_commitment_is_taken_back_and_its_id_is_free() {
    let mut rig = Rig::new();
    rig.connect();
    rig.settle();
    rig.open(1);
    rig.step(1);
    rig.settle();
    rig.tower.refuses.borrow_mut().insert(channel(1), (UpdateId(2), MonitorRefusal::OnChain));
    assert_eq!(rig.remote.update_channel(update(1, 2, 100)), Persist::InProgress);
    assert_eq!(rig.remote.update_channel(update(1, 3, 101)), Persist::InProgress);
    rig.settle();
    let refusal = LateRefusal { channel: channel(1), id: UpdateId(2), why: MonitorRefusal::OnChain };
    assert_eq!(rig.remote.next_refusal(), Some(refusal));
    assert_eq!(rig.remote.standing().queued, 0);
    rig.tower.refuses.borrow_mut().clear();
    rig.step(1);
    rig.settle();
    rig.assert_level();
    assert_eq!(rig.receipts[&channel(1)], [UpdateId(0), UpdateId(1), UpdateId(2)]);
}

#[test]
fn i11_events_are_told_until_acknowledged_over_connections() {
    let mut rig = Rig::new();
    rig.open(1);
    rig.heal();
    let event = MonitorEvent::ForceClosed { channel: channel(1) };
    rig.tower.report(40, event.clone());
    rig.settle();
    let (id, told) = rig.remote.next_monitor_event(None).unwrap();
    assert_eq!(told, event);
    assert_eq!(rig.remote.next_monitor_event(Some(id)), None);
    rig.connect();
    rig.settle();
    assert_eq!(rig.remote.next_monitor_event(None), Some((id, event)), "the same by the same id");
    assert_eq!(rig.remote.next_monitor_event(Some(id)), None);
    rig.remote.acknowledge_monitor_event(id);
    rig.settle();
    assert_eq!(*rig.tower.acknowledged.borrow(), [EventId(40)]);
    assert_eq!(rig.remote.next_monitor_event(None), None);
}

#[test]
fn what_a_mode_needs_is_said_before_every_channel_new_or_whole() {
    let mut rig = Rig::new();
    let introduced = |rig: &mut Rig| {
        let config = rig.config.clone();
        rig.starts += 1;
        rig.remote = RemoteMonitors::new(config, rig.starts * 1_000, None)
            .with_introduction(|init| Some((9, init.channel.0.to_vec())));
    };
    introduced(&mut rig);
    // Offline, so that it waits; then the same channel whole.
    rig.open(1);
    rig.step(1);
    rig.heal();
    rig.assert_level();
    let said = || vec![(9, channel(1).0.to_vec())];
    assert_eq!(*rig.tower.others.borrow(), said());
    assert_eq!(rig.tower.heard.borrow()[..2], ["other", "new"]);
    rig.tower.others.borrow_mut().clear();
    rig.tower.heard.borrow_mut().clear();
    rig.remote.overrule(channel(1));
    rig.settle();
    assert_eq!(*rig.tower.others.borrow(), said());
    assert_eq!(*rig.tower.heard.borrow(), ["other", "whole"]);
    rig.assert_level();
}

#[derive(Clone, Debug)]
enum Act {
    Open(u8),
    Step(u8),
    Pump,
    Up(usize),
    Down(usize),
    Commit(usize),
    Connect,
    Disconnect,
    LoseFrame(bool),
    DoubleFrame(bool),
    SwapFrames(bool),
    Stale,
    CrashTower,
    CrashNode,
    Backup,
    RollBack,
    Tick,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        2 => (1_u8..4).prop_map(Act::Open),
        8 => (1_u8..4).prop_map(Act::Step),
        8 => Just(Act::Pump),
        6 => (1_usize..20).prop_map(Act::Up),
        6 => (1_usize..20).prop_map(Act::Down),
        5 => (1_usize..9).prop_map(Act::Commit),
        4 => Just(Act::Connect),
        1 => Just(Act::Disconnect),
        1 => any::<bool>().prop_map(Act::LoseFrame),
        1 => any::<bool>().prop_map(Act::DoubleFrame),
        1 => any::<bool>().prop_map(Act::SwapFrames),
        2 => Just(Act::Stale),
        1 => Just(Act::CrashTower),
        1 => Just(Act::CrashNode),
        1 => Just(Act::Backup),
        1 => Just(Act::RollBack),
        1 => Just(Act::Tick),
    ]
}

fn perform(rig: &mut Rig, act: &Act) {
    let queue = |rig: &mut Rig, upward: bool, change: &dyn Fn(&mut VecDeque<Vec<u8>>)| {
        change(if upward { &mut rig.up } else { &mut rig.down });
    };
    match *act {
        Act::Open(byte) => rig.open(byte),
        Act::Step(byte) => rig.step(byte),
        Act::Pump => rig.pump(),
        Act::Up(count) => rig.deliver(true, count),
        Act::Down(count) => rig.deliver(false, count),
        Act::Commit(count) => rig.tower.commit(count),
        Act::Connect => rig.connect(),
        Act::Disconnect => rig.disconnect(),
        Act::LoseFrame(upward) => queue(rig, upward, &|frames| drop(frames.pop_front())),
        Act::DoubleFrame(upward) => queue(rig, upward, &|frames| {
            if let Some(frame) = frames.front().cloned() {
                frames.push_front(frame);
            }
        }),
        Act::SwapFrames(upward) => queue(rig, upward, &|frames| {
            if frames.len() > 1 {
                frames.swap(0, 1);
            }
        }),
        Act::Stale => {
            if let Some((upward, frame)) = rig.stale.pop_front() {
                if upward { rig.service.on_frame(&frame) } else { rig.remote.on_frame(&frame) }
            }
        }
        Act::CrashTower => rig.crash_tower(false),
        Act::CrashNode => rig.crash_node(),
        Act::Backup => rig.backup = rig.tower.disk.borrow().clone(),
        Act::RollBack => rig.crash_tower(true),
        Act::Tick => rig.remote.timer_tick(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn l11_whatever_happens_nothing_acknowledged_is_missing_and_all_is_caught_up(
        acts in prop::collection::vec(act(), 1..120),
        queue in prop_oneof![Just(1_000_000_usize), Just(2_000), Just(0)],
    ) {
        let mut config = RemoteConfig::new(client(), point(TOWER), sealed());
        config.queue = queue;
        let mut rig = Rig::with(config);
        for act in &acts {
            perform(&mut rig, act);
            prop_assert!(rig.remote.standing().queued <= queue);
        }
        rig.heal();
        rig.assert_level();
        let rolled_back = acts.iter().any(|act| matches!(act, Act::RollBack));
        for alarm in &rig.alarms {
            match alarm {
                Alarm::Lost { channel, acknowledged, early, pages, .. } => {
                    prop_assert!(rolled_back, "nothing is lost without a loss");
                    let proven = is_negligence(&Secp::new(), &point(TOWER), early, pages, *channel, acknowledged.id);
                    prop_assert!(proven);
                }
                other => prop_assert!(false, "{:?}", other),
            }
        }
        for ids in rig.receipts.values() {
            let mut once = ids.clone();
            once.dedup();
            prop_assert_eq!(&once, ids);
            prop_assert!(ids.is_sorted(), "in order");
        }
    }
}
