//! The node's side of a blind tower: a [`Member`] that holds an update when the blobs it calls for are at the tower.
//!
//! Whoever makes blobs ([`BlindMonitors::stage`]) does so before the update goes to the leader: they are rows in the leader's own
//! store, queued before the update is, so no crash has the one without the other. They are sent when the leader holds the update, and
//! their rows go when the tower has signed for them, all but the last: by that a session knows where it stands. `audit.rs` asks the
//! tower for what it has signed for.
//!
//! Methods: inputs [`BlindMonitors::stage`], [`BlindMonitors::timer_tick`], [`BlindMonitors::process`]; the interfaces of a
//! member; outputs [`BlindMonitors::next_alarm`], [`BlindMonitors::next_said`].
//!
//! # Invariants
//! - an update of a channel is held when all blobs that were staged up to it are
//! - a blob is in the node's store until the tower has signed that it is in the tower's (RELIABILITY L11)
//! - the tower is told no name of a channel: that of a lane is a keyed hash (L19)
mod audit;
mod rows;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bitcoin::hashes::{Hash as _, HashEngine as _, Hmac, HmacEngine, sha256};
use lightning_traits::id::{ChannelId, EventId, UpdateId};
use lightning_traits::interface::ManyChannelMonitor;
use lightning_traits::monitor::{
    ChannelMonitorUpdate, LateRefusal, MonitorEvent, NewMonitor, Persist, Receipt, StoredChannel,
};
use lightning_traits::sync::Mutex;
use lightning_traits::units::BlockHeight;

use crate::client::RemoteMonitors;
use crate::quorum::Member;
use crate::wire::blind::{Entry, LaneContent, RELEASE};

use audit::Auditor;
pub use audit::BlindAlarm;
pub use rows::RowStore;
use rows::Rows;

/// One channel.
#[derive(Debug)]
struct Channel {
    lane: ChannelId,
    /// The last update that was handed over, or was durable at the start.
    last: UpdateId,
    /// The number of the lane's next update.
    next: u64,
    /// The first row that is kept.
    first: u64,
    /// How many of the lane's updates there were at the start: until they are there, nothing is known to be held.
    base: u64,
    /// Staged, and not handed over yet.
    staged: VecDeque<(UpdateId, ChannelMonitorUpdate)>,
    /// Handed over: how many of the lane's updates must be there for it.
    waiting: VecDeque<(UpdateId, u64, Receipt)>,
}

#[derive(Debug, Default)]
struct State {
    channels: BTreeMap<ChannelId, Channel>,
    lanes: BTreeMap<ChannelId, ChannelId>,
    receipts: VecDeque<Receipt>,
    auditor: Auditor,
}

/// Blobs on a tower, as a member of a quorum.
pub struct BlindMonitors<R> {
    remote: Arc<RemoteMonitors>,
    rows: Rows<R>,
    secret: [u8; 32],
    state: Mutex<State>,
}

impl<R: RowStore> BlindMonitors<R> {
    /// Over a connection in blind mode. `secret` follows from the seed and serves nothing else; `channels` are those of the leader
    /// with their last durable updates.
    #[must_use]
    pub fn new(
        remote: Arc<RemoteMonitors>,
        rows: R,
        secret: &[u8; 32],
        channels: impl IntoIterator<Item = (ChannelId, UpdateId)>,
    ) -> Self {
        let rows = Rows::new(rows, &remote.config().tower);
        let monitors = Self { remote, rows, secret: *secret, state: Mutex::new(State::default()) };
        for (channel, last) in channels {
            monitors.restore(channel, last);
        }
        monitors
    }

    fn restore(&self, id: ChannelId, last: UpdateId) {
        let mut channel = self.fresh(id, last);
        for (number, update) in self.rows.of(id) {
            channel.first = if channel.next == 0 { number } else { channel.first };
            channel.next = number.saturating_add(1);
            // Of before the restart: nobody waits for a receipt.
            let _queued = self.remote.append(update);
        }
        channel.base = channel.next;
        let mut state = self.state.lock();
        state.lanes.insert(channel.lane, id);
        state.channels.insert(id, channel);
    }

    fn fresh(&self, id: ChannelId, last: UpdateId) -> Channel {
        let lane = self.lane(id);
        Channel { lane, last, next: 0, first: 0, base: 0, staged: VecDeque::new(), waiting: VecDeque::new() }
    }

    /// The name of a channel's lane at this tower: no two towers, and no chain, know it by the same.
    #[must_use]
    pub fn lane(&self, channel: ChannelId) -> ChannelId {
        let tower = self.remote.config().tower.serialize();
        ChannelId(self.keyed("blind lane", &[&tower, &channel.0]))
    }

    fn keyed(&self, purpose: &str, parts: &[&[u8]]) -> [u8; 32] {
        let mut engine = HmacEngine::<sha256::Hash>::new(&self.secret);
        engine.input(sha256::Hash::hash(purpose.as_bytes()).as_byte_array());
        parts.iter().for_each(|part| engine.input(part));
        Hmac::from_engine(engine).to_byte_array()
    }

    /// The mark by which an update of a lane is known to be ours, unchanged and at its place.
    fn tag(&self, lane: ChannelId, number: u64, entries: &[Entry]) -> [u8; 16] {
        let mut parts: Vec<&[u8]> = vec![&lane.0];
        let number = number.to_be_bytes();
        parts.push(&number);
        parts.extend(entries.iter().flat_map(|entry| [&entry.locator[..], &entry.body[..]]));
        let mut tag = [0; 16];
        tag.iter_mut().zip(self.keyed("blind tag", &parts)).for_each(|(to, from)| *to = from);
        tag
    }

    /// The connection.
    #[must_use]
    pub const fn remote(&self) -> &Arc<RemoteMonitors> {
        &self.remote
    }

    /// These blobs belong to an update of the channel that is about to be handed to the leader: stored before it is.
    pub fn stage(&self, channel: ChannelId, id: UpdateId, entries: Vec<Entry>) {
        if entries.is_empty() {
            return;
        }
        let mut state = self.state.lock();
        let State { channels, lanes, .. } = &mut *state;
        let entry = channels.entry(channel).or_insert_with(|| self.fresh(channel, id));
        lanes.insert(entry.lane, channel);
        let number = entry.next;
        entry.next = number.saturating_add(1);
        let tag = self.tag(entry.lane, number, &entries);
        let update = LaneContent { entries, tag }.into_update(entry.lane, UpdateId(number));
        entry.staged.push_back((id, update.clone()));
        drop(state);
        // Updates of a channel come one after another.
        self.rows.put(channel, number, &update);
    }

    /// How many of a lane's updates the tower has signed for. Never asked under the lock (I7).
    fn there(&self, lane: ChannelId) -> u64 {
        self.remote.durable(lane).map_or(0, |last| last.0.saturating_add(1))
    }

    /// Answers what the session asks, notes what the tower has signed for.
    pub fn process(&self) {
        self.listen();
        while let Some(lane) = self.remote.next_wanted() {
            let channel = self.state.lock().lanes.get(&lane).copied();
            let rows = channel.map(|channel| self.rows.of(channel)).unwrap_or_default();
            let Some((last, _)) = rows.last() else {
                self.remote.provide(lane, None, BlockHeight::new(0));
                continue;
            };
            // The updates that we have still; those before, the tower has signed for.
            let stored = StoredChannel {
                last_update: UpdateId(*last),
                updates: rows.iter().map(|(_, update)| update.to_versioned()).collect(),
                ..StoredChannel::default()
            };
            self.remote.provide(lane, Some(&stored), BlockHeight::new(0));
        }
        // Receipts of lanes say that something moved; how far, the session knows.
        while let Some(receipt) = self.remote.next_receipt() {
            let channel = self.state.lock().lanes.get(&receipt.channel()).copied();
            if let Some(channel) = channel {
                self.settle(channel);
            }
        }
    }

    /// Gives receipts for what is at the tower by now, and lets go of its rows.
    fn settle(&self, id: ChannelId) {
        let there = self.there(self.lane(id));
        let mut state = self.state.lock();
        let State { channels, receipts, .. } = &mut *state;
        let Some(channel) = channels.get_mut(&id) else { return };
        while let Some((_, _, receipt)) = channel.waiting.pop_front_if(|(_, needed, _)| *needed <= there) {
            receipts.push_back(receipt);
        }
        // The last stays: the next session compares by it.
        let first = channel.first;
        channel.first = there.min(channel.next).saturating_sub(1).max(first);
        let done = first..channel.first;
        drop(state);
        done.for_each(|number| self.rows.remove(id, number));
    }

    /// About once a minute: one blob is asked for, and lanes that are done with are let go of.
    pub fn timer_tick(&self, random: u64) {
        self.process();
        if !self.remote.is_up() {
            return;
        }
        let kept: Vec<ChannelId> = self.remote.kept_by_tower().into_iter().map(|(lane, _)| lane).collect();
        for lane in self.rows.released() {
            if kept.contains(&lane) {
                self.remote.say_other(RELEASE, lane.0.to_vec());
            } else {
                self.rows.forget_release(lane);
            }
        }
        self.audit(random);
    }

    /// How many blobs' updates of the channel the tower has signed for, and how many there are.
    #[must_use]
    pub fn held(&self, channel: ChannelId) -> (u64, u64) {
        let there = self.there(self.lane(channel));
        (there, self.state.lock().channels.get(&channel).map_or(0, |channel| channel.next))
    }
}

impl<R: RowStore> ManyChannelMonitor for BlindMonitors<R> {
    /// Nothing of a channel need be told before its first state is revoked.
    fn add_channel(&self, new: NewMonitor) -> Persist {
        let id = new.init.channel;
        let mut state = self.state.lock();
        let State { channels, lanes, .. } = &mut *state;
        let channel = channels.entry(id).or_insert_with(|| self.fresh(id, UpdateId(0)));
        lanes.insert(channel.lane, id);
        Persist::Durable(new.receipt())
    }

    fn update_channel(&self, update: ChannelMonitorUpdate) -> Persist {
        let (id, receipt) = (update.id, update.receipt());
        let there = self.there(self.lane(update.channel));
        let ready = {
            let mut state = self.state.lock();
            let State { channels, lanes, .. } = &mut *state;
            let channel = channels.entry(update.channel).or_insert_with(|| self.fresh(update.channel, id));
            lanes.insert(channel.lane, update.channel);
            if channel.waiting.iter().any(|(waiting, _, _)| *waiting == id) {
                return Persist::InProgress;
            }
            channel.last = channel.last.max(id);
            let mut ready = Vec::new();
            while let Some((_, update)) = channel.staged.pop_front_if(|(staged, _)| *staged <= id) {
                ready.push(update);
            }
            let needed = channel.next.saturating_sub(channel.staged.len() as u64);
            if needed <= there {
                return Persist::Durable(receipt);
            }
            channel.waiting.push_back((id, needed, receipt));
            ready
        };
        for update in ready {
            // Of lanes receipts come together, in `settle`.
            let _queued = self.remote.append(update);
        }
        Persist::InProgress
    }

    fn next_receipt(&self) -> Option<Receipt> {
        if let Some(receipt) = self.state.lock().receipts.pop_front() {
            return Some(receipt);
        }
        self.process();
        self.state.lock().receipts.pop_front()
    }

    fn next_refusal(&self) -> Option<LateRefusal> {
        let refusal = self.remote.next_refusal()?;
        let state = self.state.lock();
        let channel = *state.lanes.get(&refusal.channel)?;
        let known = state.channels.get(&channel)?;
        let id = known.waiting.front().map_or(known.last, |(id, _, _)| *id);
        Some(LateRefusal { channel, id, why: refusal.why })
    }

    /// A tower that knows nothing has nothing to report.
    fn next_monitor_event(&self, _: Option<EventId>) -> Option<(EventId, MonitorEvent)> {
        None
    }

    fn acknowledge_monitor_event(&self, _: EventId) {}
}

impl<R: RowStore> Member for BlindMonitors<R> {
    fn is_up(&self) -> bool {
        self.remote.is_up()
    }

    fn durable(&self, channel: ChannelId) -> Option<UpdateId> {
        let there = self.there(self.lane(channel));
        let state = self.state.lock();
        let channel = state.channels.get(&channel)?;
        if there < channel.base {
            return None;
        }
        match channel.waiting.iter().find(|(_, needed, _)| *needed > there) {
            Some((id, _, _)) => id.0.checked_sub(1).map(UpdateId),
            None => Some(channel.last),
        }
    }

    fn is_ahead(&self, channel: ChannelId) -> bool {
        let lane = self.state.lock().channels.get(&channel).map(|channel| channel.lane);
        lane.is_some_and(|lane| self.remote.is_ahead(lane))
    }

    /// The channel is done with, and so is its lane; said until the tower has it no longer.
    fn forget(&self, channel: ChannelId) {
        let known = {
            let mut state = self.state.lock();
            let known = state.channels.remove(&channel);
            if let Some(known) = &known {
                state.lanes.remove(&known.lane);
            }
            known
        };
        let Some(known) = known else { return };
        self.remote.forget(known.lane);
        if known.next > 0 {
            self.rows.release(known.lane);
        }
        (known.first..known.next).for_each(|number| self.rows.remove(channel, number));
    }

    fn next_news(&self) -> Option<ChannelId> {
        loop {
            let lane = self.remote.next_news()?;
            let channel = self.state.lock().lanes.get(&lane).copied();
            if let Some(channel) = channel {
                self.settle(channel);
                return Some(channel);
            }
        }
    }
}
