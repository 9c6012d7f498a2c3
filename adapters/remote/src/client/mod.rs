//! The node's side: a [`ManyChannelMonitor`] whose monitors are on a tower.
//!
//! `lane.rs` is one channel on its way, `session.rs` what the two sides say, `alarm.rs` what the user must hear, `binding.rs`
//! several towers on one transport.
//!
//! Methods: inputs `add_channel`, `update_channel`, [`RemoteMonitors::connected`], [`RemoteMonitors::disconnected`],
//! [`RemoteMonitors::on_frame`], [`RemoteMonitors::timer_tick`], [`RemoteMonitors::expect_channel`],
//! [`RemoteMonitors::provide`]; commands [`RemoteMonitors::overrule`], [`RemoteMonitors::forget`],
//! [`RemoteMonitors::fetch`]; outputs `next_receipt`, `next_refusal`, `next_monitor_event`, [`RemoteMonitors::next_frame`],
//! [`RemoteMonitors::next_wanted`], [`RemoteMonitors::next_found`], [`RemoteMonitors::next_alarm`].
//!
//! # Invariants
//! - nothing is durable here and nothing need be: what the bounded queue loses, the channel's own durable state still has
//! - an update is sent again, or the channel is sent whole, until the tower has signed that it is durable (RELIABILITY L11)
mod alarm;
mod binding;
mod lane;
mod session;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bitcoin::BlockHash;
use lightning_traits::Secp;
use lightning_traits::id::{ChannelId, EventId, NodeId, UpdateId};
use lightning_traits::interface::ManyChannelMonitor;
use lightning_traits::monitor::{
    ChannelMonitorUpdate, LateRefusal, MonitorEvent, MonitorInit, MonitorRefusal, NewMonitor, Persist,
    Receipt, StoredChannel,
};
use lightning_traits::sync::{Mutex, assert_unlocked};
use lightning_traits::units::BlockHeight;
use secp256k1::PublicKey;

use crate::seal::{Promise, RecordPolicy};
use crate::wire::chain::{Follower, Signed};
use crate::wire::frame::Link;
use crate::wire::state::{ChannelState, head_of};
use crate::wire::{Head, Mode, Name, Request};

pub use alarm::Alarm;
pub use binding::Towers;
use lane::{Course, Lane, Waiting};
use session::Phase;

/// Alarms that nobody has fetched.
const ALARMS: usize = 256;

/// How to speak to a tower.
#[derive(Clone, Debug)]
pub struct RemoteConfig {
    /// This node, as the tower knows it: the key of the transport.
    pub client: NodeId,
    /// The tower's key: of the transport, and of its statements.
    pub tower: PublicKey,
    /// What is asked of it.
    pub mode: Mode,
    /// Which life of the node this is; one more than the last when the node is restored elsewhere.
    pub incarnation: u64,
    /// What the tower gets of the channels' own records.
    pub record: RecordPolicy,
    /// Bytes of updates that are kept for the tower. Channels for which more wait are sent whole.
    pub queue: usize,
    /// The longest message that is taken: a channel that is fetched.
    pub message: usize,
    /// After how many ticks without an acknowledgement that is owed the tower counts as down.
    pub patience: u32,
}

impl RemoteConfig {
    /// What is not said is chosen for a node of some thousand channels.
    #[must_use]
    pub const fn new(client: NodeId, tower: PublicKey, record: RecordPolicy) -> Self {
        Self {
            client,
            tower,
            mode: Mode::Full {},
            incarnation: 1,
            record,
            queue: 16 * 1024 * 1024,
            message: 16 * 1024 * 1024,
            patience: 2,
        }
    }
}

/// How a tower stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Whether it answers: then it counts among those who can acknowledge.
    pub is_up: bool,
    /// Up to which block it had looked when it last said so (RELIABILITY L21).
    pub tip: Option<(BlockHash, BlockHeight)>,
    /// Channels that are guarded, or will be.
    pub channels: usize,
    /// Those of them of which it has not acknowledged all.
    pub behind: usize,
    /// Bytes that wait.
    pub queued: usize,
}

/// A channel as a tower had it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// All of it, its record opened.
    pub stored: StoredChannel,
    /// Up to which block the tower had looked.
    pub seen: BlockHeight,
    /// What was promised when the record was sealed last.
    pub promise: Promise,
}

struct State {
    phase: Phase,
    /// Counts sessions, of all lives of this process.
    session: u64,
    link: Option<Link>,
    follower: Follower,
    lanes: BTreeMap<ChannelId, Lane>,
    queued: usize,
    /// Channels that may have something to send.
    ready: VecDeque<ChannelId>,
    /// Channels that must be sent whole.
    wanted: VecDeque<ChannelId>,
    /// Those that could not be, until the next tick.
    postponed: BTreeSet<ChannelId>,
    /// What the tower says it has, while it is still saying it.
    pages: Vec<Signed>,
    tip: Option<(BlockHash, BlockHeight)>,
    /// Ticks since the tower owes an answer.
    silence: u32,
    /// Whether a session may be begun anew before the next tick.
    may_restart: bool,
    news: BTreeSet<ChannelId>,
    receipts: VecDeque<Receipt>,
    refusals: VecDeque<LateRefusal>,
    next_event: EventId,
    /// Ours, by the tower's.
    events: BTreeMap<EventId, (EventId, MonitorEvent)>,
    found: VecDeque<(ChannelId, Option<ChannelState>)>,
    /// What was asked for and is not answered.
    fetching: Vec<ChannelId>,
    others: VecDeque<(u16, Vec<u8>)>,
    alarms: VecDeque<Alarm>,
}

/// What is said to the tower just before a channel, in the words of its mode.
type Introduction = dyn Fn(&MonitorInit) -> Option<(u16, Vec<u8>)> + Send + Sync;

/// Monitors on a tower.
pub struct RemoteMonitors {
    config: RemoteConfig,
    introduction: Option<Box<Introduction>>,
    secp: Secp,
    state: Mutex<State>,
}

impl RemoteMonitors {
    /// Without a connection yet. `first_session` is any number that no earlier process has used: random, or the time. `last`
    /// is the tower's last statement, if one was kept.
    #[must_use]
    pub fn new(config: RemoteConfig, first_session: u64, last: Option<Signed>) -> Self {
        let state = State {
            phase: Phase::Offline,
            session: first_session,
            link: None,
            follower: Follower::new(last),
            lanes: BTreeMap::new(),
            queued: 0,
            ready: VecDeque::new(),
            wanted: VecDeque::new(),
            postponed: BTreeSet::new(),
            pages: Vec::new(),
            tip: None,
            silence: 0,
            may_restart: true,
            news: BTreeSet::new(),
            receipts: VecDeque::new(),
            refusals: VecDeque::new(),
            next_event: EventId(0),
            events: BTreeMap::new(),
            found: VecDeque::new(),
            fetching: Vec::new(),
            others: VecDeque::new(),
            alarms: VecDeque::new(),
        };
        Self { config, introduction: None, secp: Secp::new(), state: Mutex::new(state) }
    }

    /// Says something to the tower before every channel that it gets, new or whole: the keys that its mode asks for. It is in
    /// the same session and right before the channel, so it can neither be lost alone nor come too late.
    #[must_use]
    pub fn with_introduction(
        mut self,
        introduction: impl Fn(&MonitorInit) -> Option<(u16, Vec<u8>)> + Send + Sync + 'static,
    ) -> Self {
        self.introduction = Some(Box::new(introduction));
        self
    }

    /// What is said before a channel, encoded.
    fn introduce(&self, init: &MonitorInit) -> Option<Vec<u8>> {
        assert_unlocked();
        let (kind, body) = self.introduction.as_ref().and_then(|introduction| introduction(init))?;
        Some(Request::Other { kind, body }.to_versioned())
    }

    /// How it is configured.
    #[must_use]
    pub const fn config(&self) -> &RemoteConfig {
        &self.config
    }

    /// How the tower stands.
    #[must_use]
    pub fn standing(&self) -> Standing {
        let state = self.state.lock();
        Standing {
            is_up: state.is_up(self.config.patience),
            tip: state.tip,
            channels: state.lanes.len(),
            behind: state.lanes.values().filter(|lane| !lane.is_settled()).count(),
            queued: state.queued,
        }
    }

    /// The last update of the channel that the tower is known to hold.
    #[must_use]
    pub fn durable(&self, channel: ChannelId) -> Option<UpdateId> {
        self.state.lock().lanes.get(&channel)?.durable()
    }

    /// The tower's word that it holds what it holds of the channel.
    pub(crate) fn word_for(&self, channel: ChannelId) -> Option<Arc<Signed>> {
        self.state.lock().lanes.get(&channel)?.acknowledged.as_ref().map(|(_, word)| Arc::clone(word))
    }

    pub(crate) const fn secp(&self) -> &Secp {
        &self.secp
    }

    /// Whether the tower answers.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.state.lock().is_up(self.config.patience)
    }

    /// Whether the tower holds more of the channel than we have ([`Alarm::Ahead`]).
    #[must_use]
    pub fn is_ahead(&self, channel: ChannelId) -> bool {
        self.state.lock().lanes.get(&channel).is_some_and(|lane| lane.is_old)
    }

    /// The next channel of which the tower turned out to hold more or less than before, without a receipt.
    pub fn next_news(&self) -> Option<ChannelId> {
        self.state.lock().news.pop_first()
    }

    /// The tower's last statement. Whoever keeps it can prove what the tower had promised, over restarts too.
    #[must_use]
    pub fn last_statement(&self) -> Option<Signed> {
        self.state.lock().follower.last().cloned()
    }

    /// After a restart: a channel that this node has. Called for each before the first connection.
    pub fn expect_channel(&self, channel: ChannelId, stored: &StoredChannel) {
        self.state.lock().lanes.insert(channel, Lane::at(head_of(stored)));
    }

    /// The channel is done with: nothing of it is sent any more.
    pub fn forget(&self, channel: ChannelId) {
        let mut state = self.state.lock();
        state.news.remove(&channel);
        if let Some(lane) = state.lanes.remove(&channel) {
            state.queued = state.queued.saturating_sub(lane.bytes());
        }
    }

    /// The user knows better than the tower: what it has of the channel is replaced by ours, though it had more.
    pub fn overrule(&self, channel: ChannelId) {
        let mut state = self.state.lock();
        if let Some(lane) = state.lanes.get_mut(&channel) {
            lane.is_old = false;
            state.news.insert(channel);
        }
        state.want(channel);
    }

    /// Hands over the next update of a lane, or the first that there is of it, be it after a restart (`wire/blind.rs`).
    pub fn append(&self, update: ChannelMonitorUpdate) -> Persist {
        let (channel, id, name) = (update.channel, update.id, Name::of_update(&update));
        {
            let mut state = self.state.lock();
            if !state.lanes.contains_key(&channel) {
                let lane = state.new_lane(Head { id, name: Some(name) });
                state.lanes.insert(channel, lane);
                let receipt = update.receipt();
                drop(state);
                let message = Some(Request::Update { update: update.to_versioned() }.to_versioned());
                return self.hand_over(channel, Waiting { id, name, introduction: None, message, receipt });
            }
        }
        self.update_channel(update)
    }

    /// Sends the whole channel though the tower may lack nothing of it, so that all of its record is sealed with the promise of
    /// this time.
    pub fn reseal(&self, channel: ChannelId) {
        let mut state = self.state.lock();
        if state.lanes.get(&channel).is_some_and(|lane| lane.course == Course::Level && !lane.is_resealed) {
            state.want(channel);
        }
    }

    /// Whether the tower has taken all of the channel's record from this process.
    #[must_use]
    pub fn is_resealed(&self, channel: ChannelId) -> bool {
        self.state.lock().lanes.get(&channel).is_some_and(|lane| lane.is_resealed)
    }

    /// A channel that must be sent whole: answered by [`RemoteMonitors::provide`] with what is durable of it.
    pub fn next_wanted(&self) -> Option<ChannelId> {
        self.state.lock().next_wanted()
    }

    /// What is durable of a channel, whose monitor has seen the blocks up to `seen`; `None` when there is no such channel.
    pub fn provide(&self, channel: ChannelId, stored: Option<&StoredChannel>, seen: BlockHeight) {
        let Some(stored) = stored else { return self.forget(channel) };
        let state = ChannelState { stored: self.config.record.close_whole(channel, stored), seen };
        let head = head_of(stored);
        let new = NewMonitor::from_versioned(&stored.new).ok();
        let introduction = new.and_then(|new| self.introduce(&new.init));
        self.state.lock().provide(channel, head, introduction, state);
    }

    /// Asks what the tower has of a channel: to restore it, or to try whether it is there.
    pub fn fetch(&self, channel: ChannelId) {
        self.state.lock().fetch(channel, self.config.message);
    }

    /// The next answer to [`RemoteMonitors::fetch`], its record opened.
    pub fn next_found(&self) -> Option<(ChannelId, Option<Fetched>)> {
        let (channel, found) = self.state.lock().found.pop_front()?;
        let Some(ChannelState { stored, seen }) = found else { return Some((channel, None)) };
        match self.config.record.open_whole(channel, stored) {
            Ok((stored, promise)) => Some((channel, Some(Fetched { stored, seen, promise }))),
            Err(fault) => {
                self.state.lock().alarm(Alarm::Seal { channel, fault });
                Some((channel, None))
            }
        }
    }

    /// The channels that the tower said it keeps when the session began: what a node that lost its disk can ask for.
    #[must_use]
    pub fn kept_by_tower(&self) -> Vec<(ChannelId, Head)> {
        let state = self.state.lock();
        let kept = state.pages.iter().flat_map(|page| &page.acknowledgement.kept);
        kept.map(|kept| (kept.channel, kept.head)).collect()
    }

    /// Says something that only this mode of tower understands.
    pub fn say_other(&self, kind: u16, body: Vec<u8>) {
        self.state.lock().say(&Request::Other { kind, body });
    }

    /// What the tower has said of that kind.
    pub fn next_other(&self) -> Option<(u16, Vec<u8>)> {
        self.state.lock().others.pop_front()
    }

    /// The next thing that the user must hear.
    pub fn next_alarm(&self) -> Option<Alarm> {
        self.state.lock().alarms.pop_front()
    }

    fn hand_over(&self, channel: ChannelId, waiting: Waiting) -> Persist {
        let mut state = self.state.lock();
        let bound = self.config.queue;
        let Some(lane) = state.lanes.get_mut(&channel) else {
            return Persist::Refused(MonitorRefusal::UnknownChannel);
        };
        let before = lane.bytes();
        lane.push(waiting);
        let added = lane.bytes().saturating_sub(before);
        state.queued = state.queued.saturating_add(added);
        if state.queued > bound {
            state.forget_messages(channel);
        }
        state.note_ready(channel);
        state.pump();
        Persist::InProgress
    }
}

impl ManyChannelMonitor for RemoteMonitors {
    fn add_channel(&self, new: NewMonitor) -> Persist {
        let (channel, name, id) = (new.init.channel, Name::of_new(&new), UpdateId(0));
        let receipt = new.receipt();
        {
            let mut state = self.state.lock();
            match state.lanes.get(&channel) {
                Some(lane) if lane.durable().is_some() => return Persist::Durable(receipt),
                Some(lane) if lane.is_waiting(id) => return Persist::InProgress,
                Some(_) => {}
                None => {
                    let head = Head { id, name: Some(name) };
                    let mut lane = state.new_lane(head);
                    lane.is_resealed = true;
                    state.lanes.insert(channel, lane);
                }
            }
        }
        let record = self.config.record.close(channel, id, None, &new.record);
        let new = NewMonitor { record, ..new };
        let message = Some(Request::New { new: new.to_versioned() }.to_versioned());
        let introduction = self.introduce(&new.init);
        self.note_record(channel, id, true);
        self.hand_over(channel, Waiting { id, name, introduction, message, receipt })
    }

    fn update_channel(&self, update: ChannelMonitorUpdate) -> Persist {
        let (channel, id, receipt) = (update.channel, update.id, update.receipt());
        let name = Name::of_update(&update);
        let previous = {
            let state = self.state.lock();
            let Some(lane) = state.lanes.get(&channel) else {
                return Persist::Refused(MonitorRefusal::UnknownChannel);
            };
            if lane.durable().is_some_and(|durable| id <= durable) {
                return Persist::Durable(receipt);
            }
            if lane.is_waiting(id) {
                return Persist::InProgress;
            }
            let expected = lane.head.id.next();
            if id > expected {
                return Persist::Refused(MonitorRefusal::OutOfOrder { expected, got: id });
            }
            lane.last_record
        };
        let record = self.config.record.close(channel, id, previous, &update.record);
        let changes_record = update.record != lightning_traits::monitor::RecordChange::Same {};
        let update = ChannelMonitorUpdate { record, ..update };
        let message = Some(Request::Update { update: update.to_versioned() }.to_versioned());
        self.note_record(channel, id, changes_record);
        self.hand_over(channel, Waiting { id, name, introduction: None, message, receipt })
    }

    fn next_receipt(&self) -> Option<Receipt> {
        self.state.lock().receipts.pop_front()
    }

    fn next_refusal(&self) -> Option<LateRefusal> {
        self.state.lock().refusals.pop_front()
    }

    fn next_monitor_event(&self, after: Option<EventId>) -> Option<(EventId, MonitorEvent)> {
        let state = self.state.lock();
        let first = after.map_or(EventId(0), EventId::next);
        let waiting = state.events.values().filter(|(id, _)| *id >= first);
        waiting.min_by_key(|(id, _)| *id).cloned()
    }

    fn acknowledge_monitor_event(&self, id: EventId) {
        let mut state = self.state.lock();
        let theirs = state.events.iter().find(|(_, (ours, _))| *ours == id).map(|(theirs, _)| *theirs);
        if let Some(event) = theirs {
            state.events.remove(&event);
            state.say(&Request::Acknowledge { event });
        }
    }
}

impl RemoteMonitors {
    fn note_record(&self, channel: ChannelId, id: UpdateId, changed: bool) {
        if changed && let Some(lane) = self.state.lock().lanes.get_mut(&channel) {
            lane.last_record = Some(id);
        }
    }
}
