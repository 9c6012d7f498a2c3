//! Two watchtowers of a node, and the quorum in front of its channels: two of three must hold each update, its own disk always.
//!
//! Everything between is real: comparison on every connection, frames, signed statements, the gate. What is behind a tower's
//! service is a disk only; that monitors on a tower punish is proven where the tower is.
use std::cell::RefCell;
use std::rc::Rc;

use lightning_remote::{
    Below, Quorum, QuorumAlarm, QuorumConfig, RecordPolicy, RemoteConfig, RemoteMonitors, SealKey, Seat,
};
use lightning_traits::id::{ChannelId, EventId, NodeId};
use lightning_traits::interface::ManyChannelMonitor;
use lightning_traits::monitor::{
    ChannelMonitorUpdate, LateRefusal, MonitorEvent, NewMonitor, Persist, Receipt, StoredChannels,
};
use lightning_traits::units::BlockHeight;

use crate::dice::Dice;
use crate::oracle::{Oracle, hold};
use crate::yard::{Disk, Monitors, Service, point, service};

/// A tower's snapshots would be of its own kind; the node's are taken as they come.
const NO_SNAPSHOTS: u64 = u64::MAX;

/// What opens the gates of the channels.
type Gate = Quorum<Box<dyn ManyChannelMonitor>, Rc<RemoteMonitors>>;

/// Stands before the gate and looks behind it: what opens is on a tower's disk (T2).
pub(crate) struct Witness {
    gate: Rc<Gate>,
    disks: Disks,
}

/// The disks of the towers, as they are now.
type Disks = Rc<RefCell<Vec<Rc<Monitors>>>>;

impl ManyChannelMonitor for Witness {
    fn add_channel(&self, new: NewMonitor) -> Persist {
        self.gate.add_channel(new)
    }

    fn update_channel(&self, update: ChannelMonitorUpdate) -> Persist {
        self.gate.update_channel(update)
    }

    fn next_receipt(&self) -> Option<Receipt> {
        let receipt = self.gate.next_receipt()?;
        let holds = |tower: &Rc<Monitors>| {
            let disk = tower.disk.borrow();
            disk.channels.get(&receipt.channel()).is_some_and(|held| held.last_update >= receipt.id())
        };
        hold(Oracle::Durable, self.disks.borrow().iter().any(holds), || {
            format!("no tower holds {receipt:?}")
        });
        Some(receipt)
    }

    fn next_refusal(&self) -> Option<LateRefusal> {
        self.gate.next_refusal()
    }

    fn next_monitor_event(&self, after: Option<EventId>) -> Option<(EventId, MonitorEvent)> {
        self.gate.next_monitor_event(after)
    }

    fn acknowledge_monitor_event(&self, id: EventId) {
        self.gate.acknowledge_monitor_event(id);
    }
}

struct Tower {
    key: u8,
    remote: Rc<RemoteMonitors>,
    monitors: Rc<Monitors>,
    service: Service,
    is_connected: bool,
    /// Whether its disk waits for the dice.
    is_slow: bool,
}

/// The towers of one node.
pub(crate) struct Towers {
    client: NodeId,
    towers: Vec<Tower>,
    gate: Option<Rc<Gate>>,
    disks: Disks,
    starts: u64,
    policy: RecordPolicy,
}

impl Towers {
    pub(crate) fn new(client: NodeId) -> Self {
        let policy = RecordPolicy::Sealed(SealKey::new(&[client.0[7]; 32]));
        let towers = [81, 82].map(|key| {
            let monitors = Monitors::on(Disk::default(), NO_SNAPSHOTS);
            let config = RemoteConfig::new(client, point(key), policy.clone());
            Tower {
                key,
                remote: Rc::new(RemoteMonitors::new(config, 0, None)),
                service: service(&monitors, key, client),
                monitors,
                is_connected: false,
                is_slow: false,
            }
        });
        let disks = towers.iter().map(|tower| Rc::clone(&tower.monitors)).collect();
        let disks = Rc::new(RefCell::new(disks));
        Self { client, towers: towers.into(), gate: None, disks, starts: 0, policy }
    }

    /// The node starts.
    pub(crate) fn start(&mut self, leader: Box<dyn ManyChannelMonitor>, stored: &StoredChannels) -> Witness {
        self.starts += 1;
        for tower in &mut self.towers {
            let config = RemoteConfig::new(self.client, point(tower.key), self.policy.clone());
            tower.remote = Rc::new(RemoteMonitors::new(config, self.starts << 20, None));
            for (channel, stored) in stored {
                tower.remote.expect_channel(*channel, stored);
            }
            tower.connect();
        }
        let seats = self.towers.iter().map(|tower| Seat {
            member: Rc::clone(&tower.remote),
            is_required: false,
            is_trusted: false,
        });
        let config = QuorumConfig { needed: 2, below: Below::Freeze };
        let gate = Rc::new(Quorum::new(leader, seats.collect(), config, stored));
        self.gate = Some(Rc::clone(&gate));
        Witness { gate, disks: Rc::clone(&self.disks) }
    }

    /// The node dies.
    pub(crate) fn crash(&mut self) {
        self.gate = None;
        self.towers.iter_mut().for_each(Tower::cut);
    }

    /// Carries what is ready; whether anything moved. `stored` is what the node's disk holds.
    pub(crate) fn pump(&self, stored: impl Fn() -> StoredChannels) -> bool {
        let mut moved = false;
        for tower in &self.towers {
            let mut quiet = 0;
            while quiet < 4 {
                let did = tower.turn(&stored);
                quiet = if did { 0 } else { quiet + 1 };
                moved |= did;
            }
        }
        moved
    }

    /// Whether no channel waits for what was durable before the start.
    pub(crate) fn is_settled(&self) -> bool {
        self.gate.as_ref().is_none_or(|gate| gate.unsettled().is_empty())
    }

    /// Something happens to a tower.
    pub(crate) fn shake(&mut self, dice: &mut Dice) {
        let at = dice.pick(self.towers.len());
        let client = self.client;
        let tower = &mut self.towers[at];
        match dice.roll(6) {
            0 => tower.cut(),
            1 | 2 => tower.connect(),
            3 => tower.is_slow = !tower.is_slow,
            4 => tower.monitors.commit(1 + dice.roll(4) as usize),
            _ => {
                tower.crash(client);
                self.disks.borrow_mut()[at] = Rc::clone(&tower.monitors);
            }
        }
    }

    /// A minute passes.
    pub(crate) fn tick(&self) {
        self.towers.iter().for_each(|tower| tower.remote.timer_tick());
    }

    /// The trouble is over.
    pub(crate) fn heal(&mut self) {
        for tower in &mut self.towers {
            tower.is_slow = false;
            if !tower.is_connected {
                tower.connect();
            }
        }
    }

    /// What is not as it must be when all is at rest: a channel that a tower holds otherwise than the disk does.
    pub(crate) fn fault(&self, stored: &StoredChannels) -> Option<String> {
        let is_bad =
            |alarm: &QuorumAlarm| matches!(alarm, QuorumAlarm::Refused { .. } | QuorumAlarm::Old { .. });
        let alarms = core::iter::from_fn(|| self.gate.as_ref()?.next_alarm()).find(is_bad);
        if let Some(alarm) = alarms {
            return Some(format!("{alarm:?}"));
        }
        for tower in &self.towers {
            if let Some(alarm) = tower.remote.next_alarm() {
                return Some(format!("{alarm:?}"));
            }
            let disk = tower.monitors.disk.borrow();
            for (channel, stored) in stored {
                let held = disk.channels.get(channel).map(|held| held.last_update);
                if held != Some(stored.last_update) {
                    return Some(format!("{channel} is at {} here, at {held:?} there", stored.last_update));
                }
                let opened = self.policy.open_whole(*channel, disk.channels[channel].clone());
                let same = opened.as_ref().is_ok_and(|opened| {
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

impl Tower {
    fn connect(&mut self) {
        self.service.disconnected();
        self.is_connected = true;
        self.remote.connected();
    }

    fn cut(&mut self) {
        self.is_connected = false;
        self.remote.disconnected();
        self.service.disconnected();
    }

    fn crash(&mut self, client: NodeId) {
        self.cut();
        let disk = self.monitors.disk.borrow().clone();
        self.monitors = Monitors::on(disk, NO_SNAPSHOTS);
        self.service = service(&self.monitors, self.key, client);
    }

    fn turn(&self, stored: impl Fn() -> StoredChannels) -> bool {
        let mut moved = false;
        if !self.is_slow {
            self.monitors.commit_all();
        }
        self.service.process();
        while let Some(channel) = self.remote.next_wanted() {
            let all = stored();
            let found = all.iter().find(|(id, _): &&(ChannelId, _)| *id == channel);
            self.remote.provide(channel, found.map(|(_, stored)| stored), BlockHeight::new(0));
        }
        while self.is_connected
            && let Some(frame) = self.remote.next_frame()
        {
            self.service.on_frame(&frame);
            moved = true;
        }
        while self.is_connected
            && let Some(frame) = self.service.next_frame()
        {
            self.remote.on_frame(&frame);
            moved = true;
        }
        moved
    }
}
