//! What several monitors report of one channel, told once.
//!
//! The leader watches the chain itself and is believed. A seat may be somebody else's machine: what it reports waits until
//! the leader says the same, but for a preimage, which proves itself once the leader has seen the channel on the chain.
//!
//! # Invariants
//! - a seat that lies can neither close a channel nor fail an HTLC, unless it is trusted
//! - what a seat reports is acknowledged to it when the same was told and taken, or the channel is done with (I11)
use std::collections::{BTreeMap, BTreeSet};

use bitcoin::Txid;
use lightning_traits::id::{ChannelId, EventId, HtlcId};
use lightning_traits::monitor::{HtlcOutcome, MonitorEvent};
use lightning_traits::units::BlockHeight;

/// Reports of one seat that wait. More come again.
const PENDING: usize = 4_096;

/// What an event says, so that two members' words for one thing are one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fact {
    ForceClosed,
    Spent(Txid, BlockHeight),
    Claimed(HtlcId),
    Failed(HtlcId),
    Resolved,
}

fn fact(event: &MonitorEvent) -> Fact {
    match event {
        MonitorEvent::ForceClosed { .. } => Fact::ForceClosed,
        MonitorEvent::FundingSpent { txid, height, .. } => Fact::Spent(*txid, *height),
        MonitorEvent::HtlcResolved { htlc, outcome: HtlcOutcome::Claimed { .. }, .. } => Fact::Claimed(*htlc),
        MonitorEvent::HtlcResolved { htlc, outcome: HtlcOutcome::Failed {}, .. } => Fact::Failed(*htlc),
        MonitorEvent::Resolved { .. } => Fact::Resolved,
    }
}

/// Who reports: the leader, or a seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Source {
    Leader,
    Seat(usize),
}

/// An acknowledgement that is due.
pub(super) type Due = (Source, EventId);

#[derive(Debug)]
struct Told {
    event: MonitorEvent,
    sources: Vec<Due>,
}

/// All that was reported and is not taken.
#[derive(Debug, Default)]
pub(super) struct Hearsay {
    next: EventId,
    told: BTreeMap<EventId, Told>,
    /// Where the last word on each fact is told.
    index: BTreeMap<(ChannelId, Fact), EventId>,
    /// What was taken, of channels that are not done with; whether the leader has said it.
    taken: BTreeMap<ChannelId, BTreeMap<Fact, bool>>,
    /// Channels of which the leader has told anything: they are on the chain.
    on_chain: BTreeSet<ChannelId>,
    /// What seats say and nobody confirms.
    pending: BTreeMap<(usize, EventId), MonitorEvent>,
    /// How far those who take reports have come.
    taken_in: EventId,
    /// How far each source was heard.
    pub(super) cursors: BTreeMap<Source, EventId>,
    /// Whether something happened since all was weighed.
    is_fresh: bool,
}

impl Hearsay {
    fn tell(&mut self, event: MonitorEvent, due: Due) {
        let id = self.next;
        self.next = id.next();
        self.index.insert((event.channel(), fact(&event)), id);
        self.told.insert(id, Told { event, sources: vec![due] });
    }

    fn hear(&mut self, source: Source, id: EventId) {
        let cursor = self.cursors.entry(source).or_insert(id);
        *cursor = id.max(*cursor);
    }

    fn find(&mut self, event: &MonitorEvent) -> Option<&mut Told> {
        let same =
            |told: &&mut Told| told.event.channel() == event.channel() && fact(&told.event) == fact(event);
        self.told.values_mut().find(same)
    }

    /// The leader reports.
    pub(super) fn on_leader(&mut self, id: EventId, event: MonitorEvent) -> Vec<Due> {
        let channel = event.channel();
        self.hear(Source::Leader, id);
        self.on_chain.insert(channel);
        self.is_fresh = true;
        let due = (Source::Leader, id);
        let by_seat = |told: &Told| !told.sources.iter().any(|(source, _)| *source == Source::Leader);
        if let Some(told) = self.find(&event).filter(|told| by_seat(told)) {
            told.sources.push(due);
            return Vec::new();
        }
        // A seat had said it, and it was taken. Said by the leader twice, it is told twice: a reorganisation can undo facts.
        if let Some(by_leader) = self.taken.get_mut(&channel).and_then(|taken| taken.get_mut(&fact(&event)))
            && !core::mem::replace(by_leader, true)
        {
            return vec![due];
        }
        self.tell(event, due);
        Vec::new()
    }

    /// A seat reports. `is_live` is whether the channel is still there.
    pub(super) fn on_seat(
        &mut self,
        seat: usize,
        id: EventId,
        event: MonitorEvent,
        is_live: bool,
    ) -> Vec<Due> {
        self.hear(Source::Seat(seat), id);
        self.is_fresh = true;
        if !is_live {
            return vec![(Source::Seat(seat), id)];
        }
        let count = self.pending.range((seat, EventId(0))..=(seat, EventId(u64::MAX))).count();
        if count < PENDING {
            self.pending.insert((seat, id), event);
        }
        Vec::new()
    }

    /// Goes through what seats say; gives what is due to them.
    pub(super) fn weigh(
        &mut self,
        is_trusted: impl Fn(usize) -> bool,
        is_live: impl Fn(ChannelId) -> bool,
    ) -> Vec<Due> {
        let mut due = Vec::new();
        if !core::mem::take(&mut self.is_fresh) {
            return due;
        }
        for ((seat, id), event) in core::mem::take(&mut self.pending) {
            let (channel, mine) = (event.channel(), (Source::Seat(seat), id));
            let is_taken = self.taken.get(&channel).is_some_and(|taken| taken.contains_key(&fact(&event)));
            if is_taken || !is_live(channel) {
                due.push(mine);
            } else if let Some(told) = self.find(&event) {
                told.sources.push(mine);
            } else if is_trusted(seat)
                || matches!(fact(&event), Fact::Claimed(_)) && self.on_chain.contains(&channel)
            {
                self.tell(event, mine);
            } else {
                self.pending.insert((seat, id), event);
            }
        }
        due
    }

    pub(super) fn next(&self, after: Option<EventId>) -> Option<(EventId, MonitorEvent)> {
        let first = after.map_or(EventId(0), EventId::next);
        self.told.range(first..).next().map(|(id, told)| (*id, told.event.clone()))
    }

    /// Whoever asks for what follows on `after` knows all up to there: of which channels they know by now that they are over,
    /// by the word of the leader.
    pub(super) fn take_in(&mut self, after: Option<EventId>) -> BTreeSet<ChannelId> {
        let Some(last) = after.filter(|last| *last >= self.taken_in) else { return BTreeSet::new() };
        let first = core::mem::replace(&mut self.taken_in, last.next());
        let by_leader = |told: &Told| told.sources.iter().any(|(source, _)| *source == Source::Leader);
        let known = self.told.range(first..=last).filter(|(_, told)| by_leader(told));
        known.map(|(_, told)| told.event.channel()).collect()
    }

    /// What was told is taken; gives whom to tell so, and the channel if that is done with.
    pub(super) fn acknowledge(&mut self, id: EventId) -> (Vec<Due>, Option<ChannelId>) {
        let Some(Told { event, sources }) = self.told.remove(&id) else { return (Vec::new(), None) };
        let channel = event.channel();
        self.is_fresh = true;
        if self.index.get(&(channel, fact(&event))) == Some(&id) {
            self.index.remove(&(channel, fact(&event)));
        }
        let by_leader = sources.iter().any(|(source, _)| *source == Source::Leader);
        if fact(&event) == Fact::Resolved && by_leader {
            self.taken.remove(&channel);
            self.on_chain.remove(&channel);
            return (sources, Some(channel));
        }
        let taken = self.taken.entry(channel).or_default().entry(fact(&event)).or_default();
        *taken |= by_leader;
        (sources, None)
    }
}
