//! K of N: each subset of members dead, slow, cut off, refusing or lying; the node restarted at any time.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod yard;

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use bitcoin::Txid;
use bitcoin::hashes::Hash as _;
use lightning_remote::{
    Alarm, Always, Below, Quorum, QuorumAlarm, QuorumConfig, RecordPolicy, RemoteConfig, RemoteMonitors, Seat,
};
use lightning_traits::id::{ChannelId, EventId, HtlcId, NodeId, UpdateId};
use lightning_traits::interface::ManyChannelMonitor as _;
use lightning_traits::monitor::{
    HtlcOutcome, LateRefusal, MonitorEvent, MonitorRefusal, Persist, SpendKind, StoredChannels,
};
use lightning_traits::payment::Preimage;
use lightning_traits::units::BlockHeight;
use proptest::prelude::*;
use yard::{Disk, Monitors, Service, channel, new_channel, point, service, update};

type Remote = Rc<RemoteMonitors>;

struct Tower {
    remote: Remote,
    monitors: Rc<Monitors>,
    service: Service,
    is_connected: bool,
    /// Whether its disk writes by itself.
    is_quick: bool,
}

/// A node with local monitors and so many towers.
struct Rig {
    local: Rc<Monitors>,
    quorum: Quorum<Rc<Monitors>, Remote>,
    towers: Vec<Tower>,
    config: QuorumConfig,
    is_required: bool,
    starts: u64,
    what: u64,
    /// How many updates of each channel are open.
    open: BTreeMap<ChannelId, u64>,
    alarms: Vec<QuorumAlarm>,
    /// Channels that were told that they are over.
    over: BTreeSet<ChannelId>,
}

const fn client_byte() -> u8 {
    50
}

fn tower_byte(number: usize) -> u8 {
    60 + number as u8
}

fn remote(number: usize, start: u64) -> Remote {
    let client = NodeId::from(point(client_byte()));
    let config = RemoteConfig::new(client, point(tower_byte(number)), RecordPolicy::Withheld);
    Rc::new(RemoteMonitors::new(config, start * 1_000, None))
}

fn stored(disk: &Disk) -> StoredChannels {
    disk.channels.iter().map(|(channel, stored)| (*channel, stored.clone())).collect()
}

impl Rig {
    fn new(needed: usize, members: usize, below: Below) -> Self {
        Self::with(needed, members, below, false)
    }

    fn with(needed: usize, members: usize, below: Below, is_required: bool) -> Self {
        let local = Monitors::on(Disk::default(), 4);
        let client = NodeId::from(point(client_byte()));
        let towers: Vec<_> = (0..members - 1)
            .map(|number| {
                let monitors = Monitors::on(Disk::default(), 5);
                let service = service(&monitors, tower_byte(number), client);
                Tower { remote: remote(number, 1), monitors, service, is_connected: false, is_quick: true }
            })
            .collect();
        let config = QuorumConfig { needed, below };
        let quorum = Quorum::new(Rc::clone(&local), vec![], config, &vec![]);
        let mut rig = Self {
            local,
            quorum,
            towers,
            config,
            is_required,
            starts: 1,
            what: 0,
            open: BTreeMap::new(),
            alarms: Vec::new(),
            over: BTreeSet::new(),
        };
        rig.assemble();
        rig
    }

    fn assemble(&mut self) {
        let seats = self.towers.iter().map(|tower| Seat {
            member: Rc::clone(&tower.remote),
            is_required: self.is_required,
            is_trusted: false,
        });
        let stored = stored(&self.local.disk.borrow());
        self.quorum = Quorum::new(Rc::clone(&self.local), seats.collect(), self.config, &stored);
    }

    fn connect(&mut self, number: usize) {
        let tower = &mut self.towers[number];
        tower.service.disconnected();
        tower.is_connected = true;
        tower.remote.connected();
    }

    fn cut(&mut self, number: usize) {
        let tower = &mut self.towers[number];
        if std::mem::take(&mut tower.is_connected) {
            tower.remote.disconnected();
            tower.service.disconnected();
        }
    }

    fn crash_tower(&mut self, number: usize) {
        self.cut(number);
        let tower = &mut self.towers[number];
        let disk = tower.monitors.disk.borrow().clone();
        tower.monitors = Monitors::on(disk, 5);
        tower.service = service(&tower.monitors, tower_byte(number), NodeId::from(point(client_byte())));
    }

    /// The node starts anew from its disk.
    fn crash_node(&mut self) {
        (0..self.towers.len()).for_each(|number| self.cut(number));
        let disk = self.local.disk.borrow().clone();
        self.local = Monitors::on(disk.clone(), 4);
        self.starts += 1;
        for (number, tower) in self.towers.iter_mut().enumerate() {
            tower.remote = remote(number, self.starts);
            disk.channels.iter().for_each(|(channel, stored)| tower.remote.expect_channel(*channel, stored));
        }
        self.assemble();
        // The channels take all that their disk has for open.
        self.open =
            disk.channels.iter().map(|(channel, stored)| (*channel, stored.last_update.0 + 1)).collect();
    }

    fn start(&mut self, byte: u8) {
        let open = self.open.len();
        self.open.entry(channel(byte)).or_insert(0);
        if self.open.len() > open {
            assert_eq!(self.quorum.add_channel(new_channel(byte)), Persist::InProgress);
        }
    }

    fn handed(&self, byte: u8) -> u64 {
        self.local.head(channel(byte)).map_or(0, |id| id.0 + 1)
    }

    fn step(&mut self, byte: u8) {
        let next = self.handed(byte);
        if next > 0 {
            self.what += 1;
            assert_eq!(self.quorum.update_channel(update(byte, next, self.what)), Persist::InProgress);
        }
    }

    /// One turn of everything that runs by itself.
    fn turn(&mut self) -> bool {
        let mut moved = false;
        for tower in &self.towers {
            if tower.is_quick {
                tower.monitors.commit_all();
            }
            tower.service.process();
            while let Some(channel) = tower.remote.next_wanted() {
                let disk = self.local.disk.borrow();
                tower.remote.provide(channel, disk.channels.get(&channel), BlockHeight::new(90));
            }
            while tower.is_connected
                && let Some(frame) = tower.remote.next_frame()
            {
                tower.service.on_frame(&frame);
                moved = true;
            }
            while tower.is_connected
                && let Some(frame) = tower.service.next_frame()
            {
                tower.remote.on_frame(&frame);
                moved = true;
            }
        }
        self.collect();
        moved
    }

    fn run(&mut self) {
        // What a disk has written in one turn is stated, written and said in the next ones.
        let mut quiet = 0;
        while quiet < 4 {
            quiet = if self.turn() { 0 } else { quiet + 1 };
        }
    }

    fn collect(&mut self) {
        while let Some(receipt) = self.quorum.next_receipt() {
            let (channel, id) = (receipt.channel(), receipt.id());
            let open = self.open.get_mut(&channel).unwrap();
            assert_eq!(*open, id.0, "receipts come once and in order");
            *open += 1;
            if self.config.below == Below::Freeze && !self.over.contains(&channel) {
                assert!(self.holders(channel, id) >= self.config.needed, "{id} of {channel}");
            }
        }
        self.alarms.extend(std::iter::from_fn(|| self.quorum.next_alarm()));
    }

    /// How many members hold the channel up to there, the leader among them, which must.
    fn holders(&self, channel: ChannelId, id: UpdateId) -> usize {
        let ours = self.local.disk.borrow().history(channel);
        let end = id.0 as usize + 1;
        assert!(ours.len() >= end, "the leader holds it");
        let holds = |tower: &&Tower| {
            let theirs = tower.monitors.disk.borrow().history(channel);
            theirs.len() >= end && theirs[..end] == ours[..end]
        };
        1 + self.towers.iter().filter(holds).count()
    }

    fn heal(&mut self) {
        for number in 0..self.towers.len() {
            self.towers[number].is_quick = true;
            self.connect(number);
        }
        self.local.commit_all();
        self.run();
        for _ in 0..6 {
            self.towers.iter().for_each(|tower| tower.remote.timer_tick());
            self.run();
        }
    }

    fn assert_level(&mut self) {
        assert_eq!(self.quorum.standing().waiting, 0);
        assert_eq!(self.quorum.unsettled(), []);
        for (channel, open) in self.open.clone() {
            let ours = self.local.disk.borrow().history(channel);
            assert_eq!(ours.len() as u64, open, "everything is open");
            for tower in &self.towers {
                assert_eq!(tower.monitors.disk.borrow().history(channel), ours);
            }
        }
    }
}

/// Which of `count` are in the subset.
fn members(subset: u32, count: usize) -> Vec<usize> {
    (0..count).filter(|number| subset & (1 << number) != 0).collect()
}

const FAMILY: [(usize, usize); 7] = [(1, 1), (1, 2), (2, 2), (1, 3), (2, 3), (3, 3), (3, 4)];

#[test]
fn l20_k_of_n_with_each_subset_dead_freezes_or_goes_on_and_loses_nothing() {
    for (needed, count) in FAMILY {
        for dead in 0..1_u32 << (count - 1) {
            for below in [Below::Freeze, Below::Degrade { max_unacked: 3 }] {
                let mut rig = Rig::new(needed, count, below);
                rig.heal();
                rig.start(1);
                rig.step(1);
                rig.heal();
                assert_eq!(rig.open[&channel(1)], 2);
                rig.alarms.clear();
                members(dead, count - 1).into_iter().for_each(|number| rig.cut(number));
                rig.run();
                for _ in 0..8 {
                    rig.step(1);
                    rig.local.commit_all();
                    rig.run();
                }
                let alive = count - dead.count_ones() as usize;
                let expected = match below {
                    _ if alive >= needed => 10,
                    Below::Freeze => 2,
                    Below::Degrade { max_unacked } => 2 + max_unacked,
                };
                assert_eq!(rig.open[&channel(1)], expected, "{needed} of {count}, dead {dead:b}, {below:?}");
                let degraded = QuorumAlarm::Degraded { up: alive, needed };
                assert_eq!(rig.alarms.contains(&degraded), alive < needed);
                let frozen = QuorumAlarm::Frozen { channel: channel(1), from: UpdateId(expected) };
                assert_eq!(rig.alarms.contains(&frozen), alive < needed);
                rig.heal();
                rig.assert_level();
                assert_eq!(rig.open[&channel(1)], 10);
                if alive < needed {
                    assert_eq!(rig.alarms.last(), Some(&QuorumAlarm::Restored));
                }
            }
        }
    }
}

#[test]
fn l20_a_member_that_is_slow_freezes_at_most_what_needs_it() {
    for (needed, count) in FAMILY {
        for slow in 0..1_u32 << (count - 1) {
            let mut rig = Rig::new(needed, count, Below::Degrade { max_unacked: 3 });
            rig.heal();
            rig.start(1);
            rig.start(2);
            rig.heal();
            members(slow, count - 1).into_iter().for_each(|number| rig.towers[number].is_quick = false);
            (0..5).for_each(|_| rig.step(1));
            rig.local.commit_all();
            rig.run();
            let quick = count - slow.count_ones() as usize;
            let expected = if quick >= needed { 6 } else { 1 };
            assert_eq!(rig.open[&channel(1)], expected, "slow is not dead: nothing goes ahead of it");
            // After some ticks without an answer it counts as down.
            (0..4).for_each(|_| rig.towers.iter().for_each(|tower| tower.remote.timer_tick()));
            rig.run();
            assert_eq!(rig.open[&channel(1)], if quick >= needed { 6 } else { 4 });
            rig.heal();
            rig.assert_level();
        }
    }
}

#[test]
fn the_leader_is_always_among_those_who_hold_it() {
    for (needed, count) in FAMILY {
        let mut rig = Rig::new(needed, count, Below::Degrade { max_unacked: 9 });
        rig.heal();
        rig.start(1);
        rig.step(1);
        rig.run();
        assert_eq!(rig.open[&channel(1)], 0);
        for tower in &rig.towers {
            assert!(
                tower.monitors.disk.borrow().channels.is_empty(),
                "nobody hears before the leader holds it"
            );
        }
        rig.heal();
        rig.assert_level();
    }
}

#[test]
fn j4_receipts_in_the_wrong_order_open_gates_in_order() {
    let mut rig = Rig::new(2, 3, Below::Freeze);
    rig.local.is_backward.set(true);
    rig.heal();
    rig.start(1);
    rig.start(2);
    for _ in 0..7 {
        rig.step(1);
        rig.step(2);
    }
    rig.heal();
    rig.assert_level();
}

#[test]
fn a_restart_between_leader_and_towers_is_not_settled_until_enough_hold_it() {
    for (needed, count) in [(2, 2), (2, 3), (3, 3)] {
        let mut rig = Rig::new(needed, count, Below::Freeze);
        rig.heal();
        rig.start(1);
        rig.start(2);
        rig.heal();
        (0..count - 1).for_each(|number| rig.cut(number));
        rig.step(1);
        rig.local.commit_all();
        rig.crash_node();
        rig.run();
        assert_eq!(rig.quorum.unsettled(), [channel(1), channel(2)]);
        rig.heal();
        rig.assert_level();
    }
    let mut rig = Rig::new(2, 2, Below::Freeze);
    rig.heal();
    rig.start(1);
    rig.start(2);
    rig.heal();
    rig.cut(0);
    rig.step(1);
    rig.local.commit_all();
    rig.crash_node();
    rig.connect(0);
    while !rig.towers[0].remote.is_up() {
        rig.turn();
    }
    rig.towers[0].is_quick = false;
    rig.run();
    assert_eq!(rig.quorum.unsettled(), [channel(1)], "only what the tower lacks");
}

#[test]
fn a_restart_without_towers_goes_on_only_by_policy() {
    for (below, goes_on) in [(Below::Freeze, false), (Below::Degrade { max_unacked: 2 }, true)] {
        let mut rig = Rig::new(2, 2, below);
        rig.heal();
        rig.start(1);
        (0..9).for_each(|_| rig.step(1));
        rig.heal();
        rig.cut(0);
        rig.crash_node();
        assert_eq!(rig.quorum.unsettled().is_empty(), goes_on);
        (0..4).for_each(|_| rig.step(1));
        rig.local.commit_all();
        rig.run();
        assert_eq!(rig.open[&channel(1)], if goes_on { 12 } else { 10 });
        rig.heal();
        rig.assert_level();
    }
}

#[test]
fn what_the_leader_refuses_no_tower_hears_of() {
    let mut rig = Rig::new(2, 3, Below::Freeze);
    rig.heal();
    rig.start(1);
    rig.step(1);
    rig.heal();
    rig.local.refuses.borrow_mut().insert(channel(1), (UpdateId(2), MonitorRefusal::OnChain));
    assert_eq!(rig.quorum.update_channel(update(1, 2, 77)), Persist::Refused(MonitorRefusal::OnChain));
    rig.run();
    // What the channel learnt meanwhile comes by the id that is free.
    rig.local.refuses.borrow_mut().clear();
    rig.step(1);
    rig.heal();
    rig.assert_level();
    assert_eq!(rig.open[&channel(1)], 3);
}

#[test]
fn a_tower_that_has_gone_to_the_chain_holds_the_gate_when_it_is_required() {
    for (is_required, expected) in [(true, 2), (false, 4)] {
        let mut rig = Rig::with(2, 3, Below::Freeze, is_required);
        rig.heal();
        rig.start(1);
        rig.start(2);
        rig.step(1);
        rig.heal();
        let refusal = (UpdateId(2), MonitorRefusal::OnChain);
        rig.towers[1].monitors.refuses.borrow_mut().insert(channel(1), refusal);
        (0..2).for_each(|_| rig.step(1));
        (0..2).for_each(|_| rig.step(2));
        rig.heal();
        assert_eq!(rig.open[&channel(1)], expected, "a revocation must not pass a commitment that is out");
        assert_eq!(rig.open[&channel(2)], 3, "other channels go on");
        let refusal = LateRefusal { channel: channel(1), id: UpdateId(2), why: MonitorRefusal::OnChain };
        assert!(rig.alarms.contains(&QuorumAlarm::Refused { seat: 1, refusal }));
        assert_eq!(rig.quorum.next_refusal(), None, "the leader holds it: the channel cannot take it back");
    }
}

/// Found by the simulator: what such a channel had in flight was never told to have ended.
#[test]
fn a_channel_that_is_over_does_not_wait_for_a_tower_that_went_to_the_chain_before() {
    for below in [Below::Freeze, Below::Degrade { max_unacked: 1 }] {
        for (needed, restarts) in [(2, false), (2, true), (3, false), (3, true)] {
            let mut rig = Rig::with(needed, 3, below, true);
            rig.heal();
            [1, 2].into_iter().for_each(|byte| rig.start(byte));
            rig.step(1);
            rig.heal();
            let refusal = (UpdateId(2), MonitorRefusal::OnChain);
            rig.towers[1].monitors.refuses.borrow_mut().insert(channel(1), refusal);
            // One that waits when the leader sees the end of the channel, and one that tells of it.
            rig.step(1);
            rig.heal();
            let kind = SpendKind::Theirs { number: lightning_traits::id::CommitmentNumber(0) };
            let (txid, height) = (Txid::all_zeros(), BlockHeight::new(9));
            rig.local.report(1, MonitorEvent::FundingSpent { channel: channel(1), txid, kind, height });
            let (told, _) = rig.quorum.next_monitor_event(None).unwrap();
            rig.run();
            rig.collect();
            assert_eq!(rig.open[&channel(1)], 2, "it was told, and may not be taken in yet");
            rig.over.insert(channel(1));
            assert_eq!(rig.quorum.next_monitor_event(Some(told)), None);
            rig.step(1);
            rig.heal();
            assert_eq!(rig.open[&channel(1)], 4, "nothing of it leaves the node any more");
            rig.cut(0);
            rig.cut(1);
            rig.step(2);
            rig.run();
            rig.collect();
            assert!(rig.open[&channel(2)] <= 2, "other channels wait as ever");
            if restarts {
                rig.crash_node();
                // Not acknowledged, it is told again.
                rig.local.report(1, MonitorEvent::FundingSpent { channel: channel(1), txid, kind, height });
                let (told, _) = rig.quorum.next_monitor_event(None).unwrap();
                assert_eq!(rig.quorum.next_monitor_event(Some(told)), None);
                assert!(!rig.quorum.unsettled().contains(&channel(1)));
            }
        }
    }
}

/// Found by the simulator: what a channel writes down of its own end never came back to it.
#[test]
fn a_channel_that_is_done_with_goes_on_with_the_leader_alone() {
    for is_quick in [false, true] {
        let mut rig = Rig::with(3, 3, Below::Freeze, true);
        rig.heal();
        rig.start(1);
        rig.step(1);
        rig.heal();
        let kind = SpendKind::Mutual {};
        let (txid, height) = (Txid::all_zeros(), BlockHeight::new(9));
        let spent = MonitorEvent::FundingSpent { channel: channel(1), txid, kind, height };
        rig.local.report(1, spent);
        rig.local.report(2, MonitorEvent::Resolved { channel: channel(1) });
        let mut after = None;
        while let Some((id, _)) = rig.quorum.next_monitor_event(after) {
            rig.quorum.acknowledge_monitor_event(id);
            after = Some(id);
        }
        assert_eq!(rig.towers[0].remote.durable(channel(1)), None, "forgotten");
        rig.over.insert(channel(1));
        rig.local.is_quick.set(is_quick);
        for id in 2..5 {
            match rig.quorum.update_channel(update(1, id, id)) {
                Persist::Durable(receipt) if is_quick => assert_eq!(receipt.id(), UpdateId(id)),
                Persist::InProgress if !is_quick => {}
                other => panic!("{other:?}"),
            }
        }
        rig.heal();
        assert_eq!(rig.open[&channel(1)], if is_quick { 2 } else { 5 });
        assert_eq!(rig.towers[0].monitors.head(channel(1)), Some(UpdateId(1)));
    }
}

#[test]
fn the_word_of_a_tower_that_a_channel_is_over_opens_nothing() {
    let mut rig = Rig::with(2, 3, Below::Freeze, true);
    rig.heal();
    rig.start(1);
    rig.heal();
    let refusal = (UpdateId(1), MonitorRefusal::OnChain);
    rig.towers[1].monitors.refuses.borrow_mut().insert(channel(1), refusal);
    let kind = SpendKind::Theirs { number: lightning_traits::id::CommitmentNumber(0) };
    let (txid, height) = (Txid::all_zeros(), BlockHeight::new(9));
    rig.towers[1].monitors.report(1, MonitorEvent::FundingSpent { channel: channel(1), txid, kind, height });
    rig.step(1);
    rig.heal();
    assert_eq!(rig.quorum.next_monitor_event(None), None);
    assert_eq!(rig.quorum.next_monitor_event(Some(EventId(7))), None);
    rig.heal();
    assert_eq!(rig.open[&channel(1)], 1);
}

#[test]
fn b1_a_member_that_knows_more_stops_the_channel_though_others_agree() {
    let mut rig = Rig::new(2, 3, Below::Degrade { max_unacked: 5 });
    rig.heal();
    rig.start(1);
    rig.start(2);
    rig.step(1);
    rig.heal();
    let old = rig.local.disk.borrow().clone();
    rig.cut(1);
    rig.step(1);
    rig.heal();
    // The disk is put back, and with it a tower.
    rig.local = Monitors::on(old, 4);
    rig.crash_node();
    rig.heal();
    assert_eq!(rig.quorum.unsettled(), [channel(1)], "nobody should talk about it");
    assert!(rig.alarms.contains(&QuorumAlarm::Old { channel: channel(1), seat: 0 }));
    rig.step(1);
    rig.step(2);
    rig.heal();
    assert_eq!(rig.open[&channel(1)], 2);
    assert_eq!(rig.open[&channel(2)], 2);
    let alarm = std::iter::from_fn(|| rig.towers[0].remote.next_alarm())
        .find(|alarm| matches!(alarm, Alarm::Ahead { .. }));
    assert_eq!(alarm, Some(Alarm::Ahead { channel: channel(1), ours: UpdateId(1), found: UpdateId(2) }));
    rig.towers.iter().for_each(|tower| tower.remote.overrule(channel(1)));
    rig.run();
    rig.assert_level();
}

fn htlc(id: u64, outcome: HtlcOutcome) -> MonitorEvent {
    MonitorEvent::HtlcResolved { channel: channel(1), htlc: HtlcId(id), outcome }
}

fn claimed(id: u64) -> MonitorEvent {
    htlc(id, HtlcOutcome::Claimed { preimage: Preimage::new([3; 32]) })
}

fn spent() -> MonitorEvent {
    MonitorEvent::FundingSpent {
        channel: channel(1),
        txid: Txid::from_byte_array([8; 32]),
        kind: SpendKind::Unknown {},
        height: BlockHeight::new(101),
    }
}

fn told(rig: &Rig) -> Vec<(EventId, MonitorEvent)> {
    let mut after = None;
    std::iter::from_fn(|| {
        let next = rig.quorum.next_monitor_event(after)?;
        after = Some(next.0);
        Some(next)
    })
    .collect()
}

#[test]
fn events_of_several_members_are_told_once_and_acknowledged_to_all() {
    let mut rig = Rig::new(2, 3, Below::Freeze);
    rig.heal();
    rig.start(1);
    rig.heal();
    let events = [spent(), claimed(0), htlc(1, HtlcOutcome::Failed {})];
    for (monitors, base) in [(&rig.local, 0), (&rig.towers[0].monitors, 30), (&rig.towers[1].monitors, 70)] {
        for (id, event) in (base..).zip(&events) {
            monitors.report(id, event.clone());
        }
    }
    rig.run();
    let all = told(&rig);
    assert_eq!(all.iter().map(|(_, event)| event.clone()).collect::<Vec<_>>(), events);
    assert_eq!(told(&rig), all, "repeated until acknowledged");
    all.iter().for_each(|(id, _)| rig.quorum.acknowledge_monitor_event(*id));
    rig.run();
    assert_eq!(told(&rig), []);
    rig.run();
    assert_eq!(rig.local.acknowledged.borrow().len(), 3);
    assert_eq!(rig.towers[0].monitors.acknowledged.borrow().len(), 3);
    assert_eq!(rig.towers[1].monitors.acknowledged.borrow().len(), 3);
    // Nothing is left: everybody may let go.
    let done = MonitorEvent::Resolved { channel: channel(1) };
    rig.towers[0].monitors.report(90, done.clone());
    rig.run();
    assert_eq!(told(&rig), [], "a tower alone cannot end a channel");
    rig.local.report(9, done.clone());
    let all = told(&rig);
    assert_eq!(all.len(), 1);
    rig.quorum.acknowledge_monitor_event(all[0].0);
    rig.towers[1].monitors.report(90, done);
    rig.run();
    assert_eq!(told(&rig), []);
    rig.run();
    for tower in &rig.towers {
        assert!(tower.monitors.acknowledged.borrow().contains(&EventId(90)));
    }
}

#[test]
fn l19_a_tower_that_lies_about_the_chain_is_not_believed() {
    let mut rig = Rig::new(2, 2, Below::Freeze);
    rig.heal();
    rig.start(1);
    rig.heal();
    let lies = [spent(), htlc(0, HtlcOutcome::Failed {}), MonitorEvent::ForceClosed { channel: channel(1) }];
    for (id, lie) in (0..).zip(lies) {
        rig.towers[0].monitors.report(id, lie);
    }
    rig.towers[0].monitors.report(5, claimed(4));
    rig.run();
    assert_eq!(told(&rig), []);
    // A preimage proves itself, once the channel is seen on the chain.
    rig.local.report(0, spent());
    let facts: Vec<_> = told(&rig).into_iter().map(|(_, event)| event).collect();
    assert_eq!(facts, [spent(), claimed(4)]);
}

#[test]
fn a_second_disk_may_have_a_seat() {
    let (local, second) = (Monitors::on(Disk::default(), 4), Monitors::on(Disk::default(), 4));
    second.is_backward.set(true);
    let member = Always::new(Rc::clone(&second), &vec![]);
    let seat = Seat { member, is_required: false, is_trusted: true };
    let config = QuorumConfig { needed: 2, below: Below::Freeze };
    let quorum = Quorum::new(Rc::clone(&local), vec![seat], config, &vec![]);
    let receipts =
        || std::iter::from_fn(|| quorum.next_receipt()).map(|receipt| receipt.id().0).collect::<Vec<_>>();
    let _ = quorum.add_channel(new_channel(1));
    let _ = quorum.update_channel(update(1, 1, 1));
    let _ = quorum.update_channel(update(1, 2, 2));
    local.commit_all();
    assert_eq!(receipts(), [0; 0]);
    second.commit(2);
    assert_eq!(receipts(), [0, 1]);
    second.commit_all();
    assert_eq!(receipts(), [2]);
    // A trusted member is believed.
    second.report(4, spent());
    let (id, event) = quorum.next_monitor_event(None).unwrap();
    assert_eq!(event, spent());
    quorum.acknowledge_monitor_event(id);
    assert_eq!(*second.acknowledged.borrow(), [EventId(4)]);
    local.report(1, spent());
    assert_eq!(quorum.next_monitor_event(None), None, "told once");
    assert_eq!(*local.acknowledged.borrow(), [EventId(1)]);
    assert_eq!(local.disk.borrow().history(channel(1)), second.disk.borrow().history(channel(1)));
}

#[derive(Clone, Debug)]
enum Act {
    Start(u8),
    Step(u8),
    Turn,
    CommitLocal(usize),
    CommitTower(usize, usize),
    Slow(usize, bool),
    Connect(usize),
    Cut(usize),
    CrashTower(usize),
    CrashNode,
    Tick,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        1 => (1_u8..3).prop_map(Act::Start),
        6 => (1_u8..3).prop_map(Act::Step),
        8 => Just(Act::Turn),
        6 => (1_usize..6).prop_map(Act::CommitLocal),
        4 => (0_usize..2, 1_usize..6).prop_map(|(tower, count)| Act::CommitTower(tower, count)),
        2 => (0_usize..2, any::<bool>()).prop_map(|(tower, slow)| Act::Slow(tower, slow)),
        4 => (0_usize..2).prop_map(Act::Connect),
        2 => (0_usize..2).prop_map(Act::Cut),
        1 => (0_usize..2).prop_map(Act::CrashTower),
        1 => Just(Act::CrashNode),
        1 => Just(Act::Tick),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn l20_whatever_happens_what_is_open_is_held_by_k_and_all_is_caught_up(
        acts in prop::collection::vec(act(), 1..100),
        (needed, below) in prop_oneof![
            Just((2, Below::Freeze)), Just((3, Below::Freeze)), Just((2, Below::Degrade { max_unacked: 2 })),
        ],
    ) {
        let mut rig = Rig::new(needed, 3, below);
        for act in &acts {
            match *act {
                Act::Start(byte) => rig.start(byte),
                Act::Step(byte) => rig.step(byte),
                Act::Turn => drop(rig.turn()),
                Act::CommitLocal(count) => rig.local.commit(count),
                Act::CommitTower(tower, count) => rig.towers[tower].monitors.commit(count),
                Act::Slow(tower, is_slow) => rig.towers[tower].is_quick = !is_slow,
                Act::Connect(tower) => rig.connect(tower),
                Act::Cut(tower) => rig.cut(tower),
                Act::CrashTower(tower) => rig.crash_tower(tower),
                Act::CrashNode => rig.crash_node(),
                Act::Tick => rig.towers.iter().for_each(|tower| tower.remote.timer_tick()),
            }
            if below == Below::Freeze {
                let unsettled = rig.quorum.unsettled();
                for (channel, open) in &rig.open {
                    if *open > 0 && !unsettled.contains(channel) {
                        prop_assert!(rig.holders(*channel, UpdateId(open - 1)) >= needed);
                    }
                }
            }
        }
        rig.heal();
        rig.assert_level();
        for alarm in &rig.alarms {
            prop_assert!(!matches!(alarm, QuorumAlarm::Refused { .. } | QuorumAlarm::Old { .. }), "{:?}", alarm);
        }
    }
}
