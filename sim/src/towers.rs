//! The watchtowers of a node, and the quorum in front of its channels.
//!
//! Everything is real but threads and sockets: comparison on every connection, frames, signed statements, the gate, and behind the
//! tower's service its monitors on a disk (`guard.rs`).
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use bitcoin::{BlockHash, Txid};
use lightning_keys::{KEYS_MESSAGE, Power, SeedKeys};
use lightning_remote::wire::Mode;
use lightning_remote::wire::chain::Signed;
use lightning_remote::{
    Below, Promise, Quorum, QuorumAlarm, QuorumConfig, RecordPolicy, RemoteConfig, RemoteMonitors, SealKey,
    Seat,
};
use lightning_traits::id::{ChannelId, CommitmentNumber, EventId, NodeId, UpdateId};
use lightning_traits::interface::ManyChannelMonitor;
use lightning_traits::monitor::{
    ChannelMonitorUpdate, LateRefusal, MonitorEvent, MonitorInit, MonitorRefusal, MonitorStep, NewMonitor,
    Persist, Receipt, StoredChannels,
};
use lightning_traits::units::BlockHeight;

use crate::dice::Dice;
use crate::disk::SimDisk;
use crate::guard::{Guard, Machine, Service};
use crate::journal::Journal;
use crate::oracle::{Oracle, hold};
use crate::parts::SimFees;
use crate::view::{Blur, View};

/// Blocks for which one thing may be wrong with a tower, and blocks without before the next: together less than the delays
/// within which it has to punish.
const TROUBLE: u32 = 40;
const QUIET: u32 = 45;
/// Turns after which a client and its tower have told each other all.
const MAX_TURNS: u32 = 2_000;

/// What opens the gates of the channels.
type Gate = Quorum<Box<dyn ManyChannelMonitor>, Rc<RemoteMonitors>>;

/// What a user wants of towers.
#[derive(Clone, Debug)]
pub(crate) struct Policy {
    pub(crate) modes: Vec<Mode>,
    pub(crate) needed: usize,
    pub(crate) below: Below,
    /// Whether nothing is ever wrong with a tower for longer than its client waits.
    pub(crate) is_gentle: bool,
}

impl Policy {
    /// Two towers, one of which must hold each update beside the disk.
    pub(crate) fn two() -> Self {
        Self { modes: vec![Mode::Justice {}; 2], needed: 2, below: Below::Freeze, is_gentle: true }
    }

    /// Any.
    pub(crate) fn roll(dice: &mut Dice) -> Self {
        let modes: Vec<Mode> = (0..1 + dice.roll(3))
            .map(|_| if dice.once_in(3) { Mode::Full {} } else { Mode::Justice {} })
            .collect();
        // Mostly more than the disk alone: else nothing is held to what towers have.
        let needed = (1 + dice.pick(modes.len() + 1)).max(1 + dice.pick(2));
        let below =
            if dice.once_in(3) { Below::Degrade { max_unacked: 4 + dice.roll(30) } } else { Below::Freeze };
        Self { modes, needed, below, is_gentle: false }
    }
}

/// What each update of a channel has revoked of the peer's.
type Revocations = BTreeMap<ChannelId, BTreeMap<UpdateId, CommitmentNumber>>;

/// What the client has told of its channels, and its disks; shared with whoever stands before the gate.
#[derive(Default)]
struct Told {
    inits: BTreeMap<ChannelId, MonitorInit>,
    revocations: Revocations,
}

/// Stands before the gate and looks behind it: what opens is held by whom the policy wants (T2).
pub(crate) struct Witness {
    gate: Rc<Gate>,
    leader: Rc<SimDisk>,
    disks: Vec<(Rc<SimDisk>, bool)>,
    policy: Policy,
    starts: BTreeMap<ChannelId, UpdateId>,
    told: Rc<RefCell<Told>>,
    /// Channels of which the node knows that they are over: nothing of them leaves it any more.
    over: RefCell<BTreeSet<ChannelId>>,
}

impl Witness {
    /// How many updates a disk holds of a channel.
    fn count(disk: &SimDisk, channel: ChannelId) -> u64 {
        disk.last_update(channel).map_or(0, |id| id.0 + 1)
    }

    fn check(&self, receipt: &Receipt) {
        let (channel, count) = (receipt.channel(), receipt.id().0 + 1);
        if self.over.borrow().contains(&channel) {
            return;
        }
        let is_over = |disk: &SimDisk| disk.had_channel(channel) && !disk.has_channel(&channel);
        let held = |disk: &SimDisk| if is_over(disk) { u64::MAX } else { Self::count(disk, channel) };
        let leader = held(&self.leader);
        let start = match self.policy.below {
            Below::Freeze => 0,
            Below::Degrade { max_unacked } => {
                let start = self.starts.get(&channel).map_or(0, |id| id.0 + 1);
                start + max_unacked
            }
        };
        let mut counts: Vec<u64> = self.disks.iter().map(|(disk, _)| held(disk)).chain([leader]).collect();
        counts.sort_unstable_by(|a, b| b.cmp(a));
        let enough = counts.get(self.policy.needed - 1).copied().unwrap_or(0);
        let enough = match self.policy.below {
            Below::Freeze => enough,
            Below::Degrade { max_unacked } => enough.saturating_add(max_unacked).max(start),
        };
        let required = self.disks.iter().filter(|(_, is_required)| *is_required).map(|(disk, _)| held(disk));
        let limit = enough.min(required.min().unwrap_or(u64::MAX));
        hold(Oracle::Acknowledged, count <= limit && count <= leader, || {
            format!("{receipt:?} opens, held are {counts:?}, of {:?}", self.policy)
        });
    }
}

impl ManyChannelMonitor for Witness {
    fn add_channel(&self, new: NewMonitor) -> Persist {
        self.told.borrow_mut().inits.insert(new.init.channel, new.init.clone());
        self.gate.add_channel(new)
    }

    fn update_channel(&self, update: ChannelMonitorUpdate) -> Persist {
        self.told.borrow_mut().note(&update);
        self.gate.update_channel(update)
    }

    fn next_receipt(&self) -> Option<Receipt> {
        let receipt = self.gate.next_receipt()?;
        self.check(&receipt);
        Some(receipt)
    }

    fn next_refusal(&self) -> Option<LateRefusal> {
        self.gate.next_refusal()
    }

    fn next_monitor_event(&self, after: Option<EventId>) -> Option<(EventId, MonitorEvent)> {
        let told = self.gate.next_monitor_event(after);
        self.over.borrow_mut().extend(told.iter().map(|(_, event)| event.channel()));
        told
    }

    fn acknowledge_monitor_event(&self, id: EventId) {
        self.gate.acknowledge_monitor_event(id);
    }
}

impl Told {
    fn note(&mut self, update: &ChannelMonitorUpdate) {
        for step in &update.steps {
            if let MonitorStep::TheirRevocation { number, .. } = step {
                self.revocations.entry(update.channel).or_default().insert(update.id, number.next());
            }
        }
    }

    /// The client starts from its disk: what it forgot will be told anew.
    fn restart(&mut self, stored: &StoredChannels, disk: &SimDisk) {
        for (channel, stored) in stored {
            let new = NewMonitor::from_versioned(&stored.new).expect("the disk is whole");
            self.inits.insert(*channel, new.init);
            let known = self.revocations.entry(*channel).or_default();
            known.split_off(&stored.last_update.next());
            let marks = disk.marks(channel).map(|marks| marks.unrevoked).unwrap_or_default();
            known.entry(stored.last_update).or_insert(marks);
        }
    }
}

/// One tower.
pub(crate) struct Tower {
    pub(crate) machine: Machine,
    remote: Rc<RemoteMonitors>,
    process: Option<(Rc<Guard>, Service)>,
    /// Whether the client wants to be connected, and is.
    wants: bool,
    is_connected: Cell<bool>,
    /// Whether its disk waits for the dice.
    is_slow: bool,
    /// Whether it never comes back.
    pub(crate) is_dead: bool,
    /// The height at which what is wrong with it is mended, and the one from which something may be wrong again.
    until: u32,
    again: u32,
    /// What it has signed for.
    acknowledged: RefCell<BTreeMap<ChannelId, UpdateId>>,
    /// Channels that it watched when last looked.
    watched: RefCell<BTreeSet<ChannelId>>,
    /// Channels of which it has let go since somebody looked last, and the block up to which it had looked then.
    gone: RefCell<Vec<(ChannelId, BlockHash)>>,
    /// What it has sent, and was looked at.
    pub(crate) judged: RefCell<BTreeSet<Txid>>,
    told: Rc<RefCell<Told>>,
    starts: u64,
}

/// A channel of which a tower has let go.
pub(crate) struct Archived {
    pub(crate) channel: ChannelId,
    /// Up to where it had looked.
    pub(crate) tip: BlockHash,
    /// The first commitment of the peer that is not revoked, as far as it has signed for that.
    pub(crate) revoked: Option<CommitmentNumber>,
}

/// The towers of one node.
pub(crate) struct Towers {
    client: NodeId,
    pub(crate) towers: Vec<Tower>,
    gate: Option<Rc<Gate>>,
    starts: u64,
    record: RecordPolicy,
    policy: Policy,
    keys: SeedKeys,
    told: Rc<RefCell<Told>>,
    /// Times that a tower died.
    pub(crate) crashes: u64,
    journal: Journal,
}

impl Towers {
    /// `first` tells the first of them from those of other nodes.
    pub(crate) fn new(
        client: NodeId,
        keys: &SeedKeys,
        policy: Policy,
        first: usize,
        view: &View,
        fees: &SimFees,
        journal: &Journal,
    ) -> Self {
        let record = RecordPolicy::Sealed(SealKey::new(&[client.0[7]; 32]), Promise::NONE);
        let told: Rc<RefCell<Told>> = Rc::default();
        let modes = policy.modes.clone().into_iter().enumerate();
        let towers = modes.map(|(at, mode)| {
            let machine = Machine::new(first + at, mode, client, View::of(&view.chain), fees, journal);
            let remote = Rc::new(remote(client, &machine, &record, keys, (0, None)));
            Tower::new(machine, remote, Rc::clone(&told))
        });
        Self {
            client,
            towers: towers.collect(),
            gate: None,
            starts: 0,
            record,
            policy,
            keys: keys.clone(),
            told,
            crashes: 0,
            journal: journal.clone(),
        }
    }

    /// The node starts.
    pub(crate) fn start(
        &mut self,
        leader: Box<dyn ManyChannelMonitor>,
        disk: &Rc<SimDisk>,
        stored: &StoredChannels,
    ) -> Witness {
        self.starts += 1;
        self.told.borrow_mut().restart(stored, disk);
        for tower in &mut self.towers {
            let last = tower.remote.last_statement();
            let fresh =
                remote(self.client, &tower.machine, &self.record, &self.keys, (self.starts << 20, last));
            tower.remote = Rc::new(fresh);
            for (channel, stored) in stored {
                tower.remote.expect_channel(*channel, stored);
            }
            tower.wants = true;
        }
        let seats = self.towers.iter().map(|tower| Seat {
            member: Rc::clone(&tower.remote),
            is_required: tower.is_full(),
            is_trusted: false,
        });
        let config = QuorumConfig { needed: self.policy.needed, below: self.policy.below };
        let gate = Rc::new(Quorum::new(leader, seats.collect(), config, stored));
        self.gate = Some(Rc::clone(&gate));
        Witness {
            gate,
            leader: Rc::clone(disk),
            disks: self
                .towers
                .iter()
                .map(|tower| (Rc::clone(&tower.machine.disk), tower.is_full()))
                .collect(),
            policy: self.policy.clone(),
            starts: stored.iter().map(|(channel, stored)| (*channel, stored.last_update)).collect(),
            told: Rc::clone(&self.told),
            over: RefCell::default(),
        }
    }

    /// The node dies, or goes.
    pub(crate) fn crash(&mut self) {
        self.gate = None;
        self.towers.iter_mut().for_each(Tower::leave);
    }

    /// Carries what is ready; whether anything moved. `stored` is what the node's disk holds.
    pub(crate) fn pump(&self, stored: impl Fn() -> StoredChannels, seen: BlockHeight) -> bool {
        let mut moved = false;
        for tower in &self.towers {
            let (mut quiet, mut turns) = (0, 0);
            while quiet < 4 {
                turns += 1;
                hold(Oracle::Live, turns < MAX_TURNS, || {
                    format!("a client and its tower never fall silent: {}", self.standing())
                });
                let did = tower.turn(&stored, seen);
                quiet = if did { 0 } else { quiet + 1 };
                moved |= did;
            }
        }
        moved
    }

    /// Whether no channel waits for what was durable before the start.
    pub(crate) fn is_settled(&self) -> bool {
        let may_wait = self.policy.below == Below::Freeze;
        self.gate.as_ref().is_none_or(|gate| !may_wait || gate.unsettled().is_empty())
    }

    /// Blocks come: towers look at them, and what was wrong for long enough is mended.
    pub(crate) fn scan(&mut self, height: u32) {
        for tower in &mut self.towers {
            if tower.until > 0 && height >= tower.until {
                self.crashes += u64::from(tower.mend());
            }
            if let Some((guard, _)) = &tower.process {
                guard.scan();
                tower.note_gone();
            }
        }
    }

    /// The terms of a channel.
    pub(crate) fn init(&self, channel: ChannelId) -> Option<MonitorInit> {
        self.told.borrow().inits.get(&channel).cloned()
    }

    /// Channels of which towers have let go since the last look.
    pub(crate) fn archived(&self) -> Vec<Archived> {
        let mut all = Vec::new();
        for tower in &self.towers {
            for (channel, tip) in tower.gone.take() {
                let revoked = self.acknowledged_revocation(tower, channel);
                all.push(Archived { channel, tip, revoked });
            }
        }
        all
    }

    /// The first commitment of the peer that is not revoked, as the client has told whoever has update `at`, or all.
    pub(crate) fn revocation(&self, channel: ChannelId, at: Option<UpdateId>) -> Option<CommitmentNumber> {
        let told = self.told.borrow();
        let known = told.revocations.get(&channel)?;
        let last = at.unwrap_or(UpdateId(u64::MAX));
        known.range(..=last).next_back().map(|(_, number)| *number)
    }

    /// The same, as far as a tower has signed for it.
    pub(crate) fn acknowledged_revocation(
        &self,
        tower: &Tower,
        channel: ChannelId,
    ) -> Option<CommitmentNumber> {
        let id = tower.acknowledged.borrow().get(&channel).copied()?;
        self.revocation(channel, Some(id))
    }

    /// Something happens to a tower.
    pub(crate) fn shake(&mut self, dice: &mut Dice, height: u32) {
        let at = dice.pick(self.towers.len());
        let (is_gentle, last) =
            (self.policy.is_gentle, self.towers.iter().filter(|t| !t.is_dead).count() == 1);
        let tower = &mut self.towers[at];
        if tower.is_dead {
            return;
        }
        match dice.roll(if is_gentle { 7 } else { 12 }) {
            0 => tower.cut(),
            1 | 2 => tower.wants = self.gate.is_some(),
            3 => tower.is_slow = !tower.is_slow,
            4 => tower.machine.disk.write_first(1 + dice.roll(4) as usize),
            5 | 6 => {
                self.crashes += 1;
                tower.crash(dice);
                tower.start();
            }
            _ if height < tower.again => {}
            7 => {
                self.crashes += 1;
                tower.crash(dice);
                tower.trouble(height, dice);
            }
            8 => tower.blur(Blur::Away, height, dice),
            9 => tower.blur(Blur::Missing(height + 1 + dice.roll(4) as u32), height, dice),
            10 => {
                let code = dice.of(&[-25, -26, -27, -1, -5]);
                tower.blur(Blur::Refusing(code), height, dice);
            }
            // Never the last one.
            _ if !last && dice.once_in(4) => {
                tower.crash(dice);
                tower.is_dead = true;
            }
            _ => {}
        }
    }

    /// A minute passes.
    pub(crate) fn tick(&self) {
        for tower in &self.towers {
            tower.remote.timer_tick();
            if let Some((guard, _)) = &tower.process {
                guard.refresh();
            }
        }
    }

    /// The trouble is over.
    pub(crate) fn heal(&mut self) {
        for tower in self.towers.iter_mut().filter(|tower| !tower.is_dead) {
            tower.is_slow = false;
            tower.mend();
            tower.wants = self.gate.is_some();
        }
    }

    /// As far as the client's own machine may do it for them.
    pub(crate) fn be_quick(&mut self) {
        if self.policy.is_gentle {
            self.heal();
        }
    }

    /// How the towers stand, for whoever wonders why a channel waits.
    pub(crate) fn standing(&self) -> String {
        let alarms: Vec<_> = core::iter::from_fn(|| self.gate.as_ref()?.next_alarm()).collect();
        let gate = self.gate.as_ref().map(|gate| gate.standing());
        let seats: Vec<_> = self
            .towers
            .iter()
            .map(|tower| {
                let alarms: Vec<_> = core::iter::from_fn(|| tower.remote.next_alarm()).collect();
                format!("{:?} {:?} {alarms:?}", tower.machine.mode, tower.remote.standing())
            })
            .collect();
        format!("{:?} {gate:?} {alarms:?} {seats:#?}", self.policy)
    }

    /// What is not as it must be when all is at rest: a channel that a tower holds otherwise than the disk does.
    pub(crate) fn fault(
        &self,
        stored: &StoredChannels,
        is_spent: impl Fn(ChannelId) -> bool,
    ) -> Option<String> {
        // A tower in full mode may go to the chain before its client hears of that.
        let is_refusal =
            |refusal: &LateRefusal| refusal.why != MonitorRefusal::OnChain && !is_spent(refusal.channel);
        let is_bad = |alarm: &QuorumAlarm| match alarm {
            QuorumAlarm::Old { .. } => true,
            QuorumAlarm::Refused { refusal, .. } => is_refusal(refusal),
            _ => false,
        };
        let alarms: Vec<_> = core::iter::from_fn(|| self.gate.as_ref()?.next_alarm()).collect();
        self.journal.say(|| format!("the towers say {alarms:?}"));
        if let Some(alarm) = alarms.iter().find(|alarm| is_bad(alarm)) {
            return Some(format!("{alarm:?}"));
        }
        for tower in self.towers.iter().filter(|tower| !tower.is_dead) {
            let is_bad = |alarm: &lightning_remote::Alarm| match alarm {
                lightning_remote::Alarm::Refused { refusal } => is_refusal(refusal),
                // A tower that has seen the end a hundred deep lets go of it before a client that lags.
                lightning_remote::Alarm::Lost { channel, .. } => !is_spent(*channel),
                _ => true,
            };
            if let Some(alarm) = core::iter::from_fn(|| tower.remote.next_alarm()).find(is_bad) {
                return Some(format!("{alarm:?}"));
            }
            let disk = &tower.machine.disk;
            // What is done with is forgotten, though a reorganisation may bring it back.
            let is_sent = |channel: ChannelId| !is_spent(channel) && tower.remote.durable(channel).is_some();
            for (channel, stored) in stored.iter().filter(|(channel, _)| is_sent(*channel)) {
                let Some(kept) = disk.channel(*channel) else {
                    return Some(format!("a tower does not hold {channel}"));
                };
                if kept.last_update != stored.last_update {
                    return Some(format!(
                        "{channel} is at {} here, at {} there",
                        stored.last_update, kept.last_update
                    ));
                }
                let opened = self.record.open_whole(*channel, kept);
                let same = opened.as_ref().is_ok_and(|(opened, _)| {
                    (&opened.record, &opened.record_changes) == (&stored.record, &stored.record_changes)
                });
                if !same {
                    return Some(format!("the record of {channel} does not come back: {:?}", opened.err()));
                }
            }
        }
        None
    }
}

fn remote(
    client: NodeId,
    machine: &Machine,
    record: &RecordPolicy,
    keys: &SeedKeys,
    (session, last): (u64, Option<Signed>),
) -> RemoteMonitors {
    let mut config = RemoteConfig::new(client, machine.public(), record.clone());
    config.mode = machine.mode;
    let power = if machine.mode == (Mode::Full {}) { Power::Enforce } else { Power::Punish };
    let lender = keys.clone();
    RemoteMonitors::new(config, session, last).with_introduction(move |init| {
        Some((KEYS_MESSAGE, lender.lend(&init.keys, power).to_message(&init.keys)))
    })
}

impl Tower {
    fn new(machine: Machine, remote: Rc<RemoteMonitors>, told: Rc<RefCell<Told>>) -> Self {
        let mut tower = Self {
            machine,
            remote,
            process: None,
            wants: false,
            is_connected: Cell::new(false),
            is_slow: false,
            is_dead: false,
            until: 0,
            again: 0,
            acknowledged: RefCell::default(),
            watched: RefCell::default(),
            gone: RefCell::default(),
            judged: RefCell::default(),
            told,
            starts: 0,
        };
        tower.start();
        tower
    }

    pub(crate) fn is_full(&self) -> bool {
        self.machine.mode == (Mode::Full {})
    }

    fn start(&mut self) {
        if self.process.is_some() || self.is_dead {
            return;
        }
        self.starts += 1;
        self.process = Some(self.machine.start(self.starts));
        // What was not durable was never there.
        self.watched.borrow_mut().clear();
        self.check_kept("after a start");
    }

    /// The connection breaks, and is not made again before somebody wants it.
    fn cut(&mut self) {
        self.wants = false;
        self.break_off();
    }

    fn break_off(&self) {
        if self.is_connected.replace(false) {
            self.remote.disconnected();
            if let Some((_, service)) = &self.process {
                service.disconnected();
            }
        }
    }

    /// The client is gone.
    fn leave(&mut self) {
        self.cut();
    }

    /// The tower dies: with its power, in the middle of a write, or alone.
    fn crash(&mut self, dice: &mut Dice) {
        self.break_off();
        self.process = None;
        let disk = &self.machine.disk;
        disk.write_first(dice.roll(6) as usize);
        if dice.once_in(2) {
            disk.power.set(Some(dice.next()));
        }
        disk.crash();
        self.machine.coins.crash();
        self.check_kept("after a crash");
    }

    fn trouble(&mut self, height: u32, dice: &mut Dice) {
        self.until = height + 1 + dice.roll(u64::from(TROUBLE)) as u32;
        self.again = self.until + QUIET;
    }

    fn blur(&mut self, blur: Blur, height: u32, dice: &mut Dice) {
        self.machine.view.blur.set(blur);
        self.trouble(height, dice);
    }

    /// Nothing is wrong any more; whether it had to be started.
    fn mend(&mut self) -> bool {
        self.until = 0;
        self.machine.view.blur.set(Blur::None);
        let was_off = self.process.is_none() && !self.is_dead;
        self.start();
        was_off
    }

    /// What was signed for is on the disk (T2).
    fn check_kept(&self, when: &str) {
        let disk = &self.machine.disk;
        for (channel, id) in &*self.acknowledged.borrow() {
            let is_there = disk.last_update(*channel).is_some_and(|held| held >= *id)
                || disk.had_channel(*channel) && !disk.has_channel(channel);
            hold(Oracle::Acknowledged, is_there, || {
                format!(
                    "a tower has signed for {id} of {channel}, and holds {:?} {when}",
                    disk.last_update(*channel)
                )
            });
        }
    }

    /// Notes which channels are watched no more.
    fn note_gone(&self) {
        let (Some((guard, _)), Some(tip)) = (&self.process, self.machine.scanned.borrow().tip()) else {
            return;
        };
        let now: BTreeSet<ChannelId> = guard.channels().into_iter().collect();
        let before = self.watched.replace(now.clone());
        self.gone.borrow_mut().extend(before.difference(&now).map(|channel| (*channel, tip)));
    }

    fn turn(&self, stored: impl Fn() -> StoredChannels, seen: BlockHeight) -> bool {
        let Some((guard, service)) = &self.process else { return false };
        let mut moved = false;
        if !self.is_slow {
            self.machine.disk.write_all();
        }
        guard.do_waiting();
        service.process();
        self.note_gone();
        if self.wants && !self.is_connected.get() && guard.is_open.get() {
            service.disconnected();
            self.is_connected.set(true);
            self.remote.connected();
            moved = true;
        }
        let mut all: Option<StoredChannels> = None;
        while let Some(channel) = self.remote.next_wanted() {
            let all = all.get_or_insert_with(&stored);
            let found = all.iter().find(|(id, _)| *id == channel);
            self.machine.journal.say(|| format!("a tower gets {channel} whole"));
            self.remote.provide(channel, found.map(|(_, stored)| stored), seen);
        }
        while self.is_connected.get()
            && let Some(frame) = self.remote.next_frame()
        {
            service.on_frame(&frame);
            moved = true;
        }
        let mut heard = false;
        while self.is_connected.get()
            && let Some(frame) = service.next_frame()
        {
            self.remote.on_frame(&frame);
            heard = true;
        }
        self.note_gone();
        if heard {
            self.note_acknowledged();
        }
        moved | heard
    }

    /// What the client has now been told to be durable is (T2).
    fn note_acknowledged(&self) {
        {
            let mut acknowledged = self.acknowledged.borrow_mut();
            for channel in self.told.borrow().inits.keys() {
                if let Some(id) = self.remote.durable(*channel) {
                    let known = acknowledged.entry(*channel).or_insert(id);
                    *known = (*known).max(id);
                }
            }
        }
        self.check_kept("as it says so");
    }
}
