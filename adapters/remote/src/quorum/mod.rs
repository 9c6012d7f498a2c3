//! K of N monitors behind the interface of one.
//!
//! The *leader* is the one whose durable state the node starts from: its own disk as a rule. It gets each update first; the
//! *seats* (towers, other disks) get it when the leader holds it; and the gate opens when K of all hold it, the leader among
//! them. So no seat ever knows what the leader does not, unless the leader's disk is old, which is then known at once.
//! `lane.rs` is one channel, `hearsay.rs` what is reported, `member.rs` who can have a seat.
//!
//! Methods: inputs `add_channel`, `update_channel`, `acknowledge_monitor_event`, [`Quorum::forget`]; getters
//! [`Quorum::standing`], [`Quorum::unsettled`]; outputs `next_receipt`, `next_refusal`, `next_monitor_event`,
//! [`Quorum::next_alarm`].
//!
//! # Invariants
//! - a receipt that goes on is the leader's own, and K members hold its update; when fewer are up, by [`Below`] (I3);
//!   but of a channel that has heard from the leader that it is over, which says nothing to its peer any more
//! - a channel's updates reach every member in order; one that freezes, freezes alone
//! - a member is not called under the lock (I7)
mod hearsay;
mod lane;
mod member;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};

use lightning_traits::id::{ChannelId, EventId, UpdateId};
use lightning_traits::interface::ManyChannelMonitor;
use lightning_traits::monitor::{
    ChannelMonitorUpdate, LateRefusal, MonitorEvent, NewMonitor, Persist, Receipt, StoredChannels,
};
use lightning_traits::sync::{Mutex, assert_unlocked};

use hearsay::{Due, Hearsay, Source};
use lane::{Handed, Lane, Vote, Votes};

pub use member::{Always, Member};

/// What happens while fewer than K members are up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Below {
    /// Channels wait.
    Freeze,
    /// Channels go on with what the members that are up hold, and the user is told; but no further ahead of what K hold than so
    /// many updates (RELIABILITY L20). What a breach could gain in the meantime is the user's risk. A member that was not heard
    /// since the node started is taken to hold what the leader held then, so the bound counts anew with each start.
    Degrade {
        /// How many. A payment takes about four in each channel.
        max_unacked: u64,
    },
}

/// How many must hold an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuorumConfig {
    /// K, the leader counted.
    pub needed: usize,
    /// What happens while fewer are up.
    pub below: Below,
}

/// A member besides the leader.
#[derive(Clone, Copy, Debug)]
pub struct Seat<M> {
    /// Who.
    pub member: M,
    /// Whether nothing opens without it. True for every member that may publish our commitment by itself: else it could
    /// publish one that we have revoked without it, and that would cost us the channel.
    pub is_required: bool,
    /// Whether what it reports is believed without the leader. True for one's own machine only.
    pub is_trusted: bool,
}

/// What the user must hear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum QuorumAlarm {
    /// Fewer members are up than must be.
    Degraded {
        /// How many are.
        up: usize,
        /// How many must be.
        needed: usize,
    },
    /// Enough are up again.
    Restored,
    /// The channel stands still until a member holds what it lacks.
    Frozen {
        /// The channel.
        channel: ChannelId,
        /// The first update that waits.
        from: UpdateId,
    },
    /// A member holds more of the channel than the leader, whose disk therefore is old: the channel stands still until it is
    /// restored, or the member is overruled (RELIABILITY B1).
    Old {
        /// The channel.
        channel: ChannelId,
        /// Which seat.
        seat: usize,
    },
    /// A member does not take the channel, and does not count for it any more.
    Refused {
        /// Which seat.
        seat: usize,
        /// What, and why.
        refusal: LateRefusal,
    },
}

/// How the members stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuorumStanding {
    /// Whether each seat is up.
    pub seats: Vec<bool>,
    /// Channels whose updates wait for more members.
    pub waiting: usize,
    /// Channels that were not settled since the start.
    pub unsettled: usize,
}

#[derive(Default)]
struct State {
    lanes: BTreeMap<ChannelId, Lane>,
    /// Channels that wait for something.
    busy: BTreeSet<ChannelId>,
    /// Those of them for which something has changed.
    fresh: BTreeSet<ChannelId>,
    /// Which seats were up when all of them were last looked at.
    up: Vec<bool>,
    forwards: VecDeque<Handed>,
    receipts: VecDeque<Receipt>,
    refusals: VecDeque<LateRefusal>,
    alarms: VecDeque<QuorumAlarm>,
    is_degraded: bool,
    hearsay: Hearsay,
}

/// What a vote needs of a channel.
struct Counts {
    leader: u64,
    start: u64,
    is_over: bool,
    out: BTreeSet<usize>,
}

impl Counts {
    fn of(lane: &Lane) -> Self {
        Self { leader: lane.leader, start: lane.start, is_over: lane.is_over, out: lane.out.clone() }
    }
}

/// Alarms that nobody has fetched.
const ALARMS: usize = 256;

/// K of N.
pub struct Quorum<L, M> {
    leader: L,
    seats: Vec<Seat<M>>,
    config: QuorumConfig,
    state: Mutex<State>,
    /// Whether somebody is forwarding: updates reach the seats one after another, in order.
    turn: AtomicBool,
}

impl<L: ManyChannelMonitor, M: Member> Quorum<L, M> {
    /// The leader was made from `stored`, and so will the channels be.
    ///
    /// After a restart the channels take all of `stored` for held by enough members. Until [`Quorum::unsettled`] is empty, or
    /// [`Below`] lets them go ahead, that may not be so: a program connects no peer of such a channel before.
    #[must_use]
    pub fn new(leader: L, seats: Vec<Seat<M>>, config: QuorumConfig, stored: &StoredChannels) -> Self {
        let lanes: BTreeMap<_, _> =
            stored.iter().map(|(channel, stored)| (*channel, Lane::at(stored.last_update))).collect();
        let busy = lanes.keys().copied().collect();
        let state = State { lanes, busy, ..State::default() };
        Self { leader, seats, config, state: Mutex::new(state), turn: AtomicBool::new(false) }
    }

    /// The leader.
    #[must_use]
    pub const fn leader(&self) -> &L {
        &self.leader
    }

    /// The seats, in order.
    #[must_use]
    pub fn seats(&self) -> &[Seat<M>] {
        &self.seats
    }

    /// How the members stand.
    pub fn standing(&self) -> QuorumStanding {
        self.process();
        let seats = self.seats.iter().map(|seat| seat.member.is_up()).collect();
        let state = self.state.lock();
        QuorumStanding {
            seats,
            waiting: state.lanes.values().filter(|lane| lane.is_frozen()).count(),
            unsettled: state.lanes.values().filter(|lane| !lane.is_settled).count(),
        }
    }

    /// Channels of which enough members are not known to hold what was durable when the node started.
    pub fn unsettled(&self) -> Vec<ChannelId> {
        self.process();
        let state = self.state.lock();
        state.lanes.iter().filter(|(_, lane)| !lane.is_settled).map(|(channel, _)| *channel).collect()
    }

    /// The channel is done with.
    pub fn forget(&self, channel: ChannelId) {
        let mut state = self.state.lock();
        state.lanes.remove(&channel);
        state.busy.remove(&channel);
        state.fresh.remove(&channel);
        drop(state);
        self.seats.iter().for_each(|seat| seat.member.forget(channel));
    }

    /// The next thing that the user must hear.
    pub fn next_alarm(&self) -> Option<QuorumAlarm> {
        self.process();
        self.state.lock().alarms.pop_front()
    }

    /// Collects what the members have done.
    fn process(&self) {
        assert_unlocked();
        while let Some(receipt) = self.leader.next_receipt() {
            self.on_leader_receipt(receipt);
        }
        while let Some(refusal) = self.leader.next_refusal() {
            let mut state = self.state.lock();
            if let Some(lane) = state.lanes.get_mut(&refusal.channel) {
                lane.take_back(refusal.id);
            }
            state.refusals.push_back(refusal);
        }
        self.forward();
        for (number, seat) in self.seats.iter().enumerate() {
            // What a seat holds is asked of it below; the receipts themselves open nothing here.
            while let Some(channel) = seat
                .member
                .next_receipt()
                .map(|receipt| receipt.channel())
                .or_else(|| seat.member.next_news())
            {
                self.state.lock().fresh.insert(channel);
            }
            while let Some(refusal) = seat.member.next_refusal() {
                self.on_seat_refusal(number, refusal);
            }
        }
        self.open_gates();
    }

    fn on_leader_receipt(&self, receipt: Receipt) {
        let mut state = self.state.lock();
        let channel = receipt.channel();
        if let Some(lane) = state.lanes.get_mut(&channel) {
            let ready = lane.on_receipt(receipt);
            state.forwards.extend(ready);
            state.busy.insert(channel);
            state.fresh.insert(channel);
        } else {
            // Done with, but for what its channel has to write down of that.
            state.receipts.push_back(receipt);
        }
    }

    fn on_seat_refusal(&self, seat: usize, refusal: LateRefusal) {
        let mut state = self.state.lock();
        if let Some(lane) = state.lanes.get_mut(&refusal.channel)
            && lane.out.insert(seat)
        {
            state.alarm(QuorumAlarm::Refused { seat, refusal });
        }
    }

    /// Gives the seats what the leader holds.
    fn forward(&self) {
        loop {
            if self.turn.swap(true, Ordering::AcqRel) {
                return;
            }
            loop {
                let next = self.state.lock().forwards.pop_front();
                let Some(handed) = next else { break };
                self.forward_one(&handed);
            }
            self.turn.store(false, Ordering::Release);
            if self.state.lock().forwards.is_empty() {
                return;
            }
        }
    }

    fn forward_one(&self, handed: &Handed) {
        let (channel, id) = match handed {
            Handed::New(new) => (new.init.channel, UpdateId(0)),
            Handed::Update(update) => (update.channel, update.id),
        };
        for (number, seat) in self.seats.iter().enumerate() {
            let is_out = self.state.lock().lanes.get(&channel).is_none_or(|lane| lane.out.contains(&number));
            if is_out {
                continue;
            }
            let answer = match handed.clone() {
                Handed::New(new) => seat.member.add_channel(*new),
                Handed::Update(update) => seat.member.update_channel(update),
            };
            if let Persist::Refused(why) = answer {
                self.on_seat_refusal(number, LateRefusal { channel, id, why });
            }
        }
    }

    fn votes(&self, channel: ChannelId, lane: &Counts, up: &[bool]) -> Votes {
        let votes = self.seats.iter().zip(up).enumerate().map(|(number, (seat, is_up))| Vote {
            held: seat.member.durable(channel).map(|id| id.0.saturating_add(1)),
            is_required: seat.is_required,
            is_up: *is_up && !lane.out.contains(&number),
        });
        Votes::of(lane.leader, lane.start, self.config.needed, &votes.collect::<Vec<_>>())
    }

    fn open_gates(&self) {
        let up: Vec<bool> = self.seats.iter().map(|seat| seat.member.is_up()).collect();
        let todo: Vec<(ChannelId, Counts)> = {
            let mut state = self.state.lock();
            let count = up.iter().filter(|is_up| **is_up).count().saturating_add(1);
            state.note_up(count, self.config.needed);
            let fresh = core::mem::take(&mut state.fresh);
            let todo = if state.up == up { fresh } else { state.busy.union(&fresh).copied().collect() };
            state.up.clone_from(&up);
            let lanes = todo.into_iter().filter_map(|channel| Some((channel, state.lanes.get(&channel)?)));
            lanes.map(|(channel, lane)| (channel, Counts::of(lane))).collect()
        };
        for (channel, lane) in todo {
            let ahead = self.seats.iter().position(|seat| seat.member.is_ahead(channel));
            let limit = match ahead {
                Some(_) => 0,
                // A member that went to the chain by itself has refused what came after, and holds the gate for what it could
                // publish. What the chain decides now must not wait for it, or HTLCs would never come back.
                None if lane.is_over => u64::MAX,
                None => self.votes(channel, &lane, &up).limit(self.config.below),
            };
            self.state.lock().open(channel, limit, ahead);
        }
    }

    fn hand_over(&self, channel: ChannelId, id: UpdateId, handed: Handed) -> Persist {
        {
            let mut state = self.state.lock();
            let lane = match handed {
                Handed::New(_) => Some(state.lanes.entry(channel).or_insert_with(Lane::begin)),
                Handed::Update(_) => state.lanes.get_mut(&channel),
            };
            let Some(lane) = lane else {
                drop(state);
                return self.hand_to_leader(handed);
            };
            if lane.is_waiting(id) {
                return Persist::InProgress;
            }
            if id.0 >= lane.leader {
                // Before the leader gets it: somebody else may collect its receipt at once.
                lane.hold(id, handed.clone());
            }
        }
        match self.hand_to_leader(handed) {
            Persist::Durable(receipt) => {
                let is_held = self.state.lock().lanes.get(&channel).is_some_and(|lane| lane.is_waiting(id));
                if !is_held {
                    // Known, and open, long since.
                    return Persist::Durable(receipt);
                }
                self.on_leader_receipt(receipt);
                self.process();
                Persist::InProgress
            }
            Persist::InProgress => Persist::InProgress,
            Persist::Refused(why) => {
                let mut state = self.state.lock();
                if let Some(lane) = state.lanes.get_mut(&channel) {
                    lane.take_back(id);
                    if lane.is_void() {
                        state.lanes.remove(&channel);
                    }
                }
                Persist::Refused(why)
            }
        }
    }

    fn hand_to_leader(&self, handed: Handed) -> Persist {
        match handed {
            Handed::New(new) => self.leader.add_channel(*new),
            Handed::Update(update) => self.leader.update_channel(update),
        }
    }

    fn settle_accounts(&self, due: Vec<Due>) {
        for (source, id) in due {
            match source {
                Source::Leader => self.leader.acknowledge_monitor_event(id),
                Source::Seat(number) => {
                    if let Some(seat) = self.seats.get(number) {
                        seat.member.acknowledge_monitor_event(id);
                    }
                }
            }
        }
    }

    fn collect_events(&self) {
        loop {
            let after = self.state.lock().hearsay.cursors.get(&Source::Leader).copied();
            let Some((id, event)) = self.leader.next_monitor_event(after) else { break };
            let due = self.state.lock().hearsay.on_leader(id, event);
            self.settle_accounts(due);
        }
        for (number, seat) in self.seats.iter().enumerate() {
            loop {
                let after = self.state.lock().hearsay.cursors.get(&Source::Seat(number)).copied();
                let Some((id, event)) = seat.member.next_monitor_event(after) else { break };
                let due = {
                    let mut state = self.state.lock();
                    let is_live = state.lanes.contains_key(&event.channel());
                    state.hearsay.on_seat(number, id, event, is_live)
                };
                self.settle_accounts(due);
            }
        }
        let due = {
            let mut state = self.state.lock();
            let State { hearsay, lanes, .. } = &mut *state;
            let is_trusted = |number: usize| self.seats.get(number).is_some_and(|seat| seat.is_trusted);
            hearsay.weigh(is_trusted, |channel| lanes.contains_key(&channel))
        };
        self.settle_accounts(due);
    }
}

impl State {
    fn alarm(&mut self, alarm: QuorumAlarm) {
        if self.alarms.len() < ALARMS {
            self.alarms.push_back(alarm);
        }
    }

    fn note_up(&mut self, up: usize, needed: usize) {
        let is_degraded = up < needed;
        if is_degraded != self.is_degraded {
            self.is_degraded = is_degraded;
            self.alarm(if is_degraded {
                QuorumAlarm::Degraded { up, needed }
            } else {
                QuorumAlarm::Restored
            });
        }
    }

    fn open(&mut self, channel: ChannelId, limit: u64, ahead: Option<usize>) {
        let is_degraded = self.is_degraded;
        let Some(lane) = self.lanes.get_mut(&channel) else { return };
        lane.is_settled = ahead.is_none() && (lane.is_settled || limit >= lane.leader);
        self.receipts.extend(lane.open(limit));
        let is_told = ahead.is_some() || is_degraded && lane.is_frozen();
        let was_told = core::mem::replace(&mut lane.was_told, is_told);
        if lane.is_idle() {
            self.busy.remove(&channel);
        } else {
            self.busy.insert(channel);
        }
        if is_told && !was_told {
            self.alarm(match ahead {
                Some(seat) => QuorumAlarm::Old { channel, seat },
                None => QuorumAlarm::Frozen { channel, from: UpdateId(limit) },
            });
        }
    }
}

impl<L: ManyChannelMonitor, M: Member> ManyChannelMonitor for Quorum<L, M> {
    fn add_channel(&self, new: NewMonitor) -> Persist {
        self.hand_over(new.init.channel, UpdateId(0), Handed::New(Box::new(new)))
    }

    fn update_channel(&self, update: ChannelMonitorUpdate) -> Persist {
        self.hand_over(update.channel, update.id, Handed::Update(update))
    }

    fn next_receipt(&self) -> Option<Receipt> {
        let ready = self.state.lock().receipts.pop_front();
        ready.or_else(|| {
            self.process();
            self.state.lock().receipts.pop_front()
        })
    }

    fn next_refusal(&self) -> Option<LateRefusal> {
        self.process();
        self.state.lock().refusals.pop_front()
    }

    fn next_monitor_event(&self, after: Option<EventId>) -> Option<(EventId, MonitorEvent)> {
        self.collect_events();
        let mut state = self.state.lock();
        for channel in state.hearsay.take_in(after) {
            if let Some(lane) = state.lanes.get_mut(&channel) {
                lane.is_over = true;
                state.fresh.insert(channel);
            }
        }
        state.hearsay.next(after)
    }

    fn acknowledge_monitor_event(&self, id: EventId) {
        let (due, done) = self.state.lock().hearsay.acknowledge(id);
        self.settle_accounts(due);
        if let Some(channel) = done {
            self.forget(channel);
        }
    }
}
