//! What is said in a session: hello, comparison, updates, and whole channels where updates do not help.
//!
//! # Invariants
//! - nothing is sent before both sides have compared what they have (RELIABILITY L11)
//! - a session that broke is begun anew at most once a tick, so no two sides can keep each other busy
use std::collections::BTreeMap;
use std::sync::Arc;

use lightning_traits::id::ChannelId;
use lightning_traits::monitor::{LateRefusal, MonitorRefusal};

use super::lane::{Course, Found, Lane, Misfit};
use super::{ALARMS, Alarm, RemoteMonitors, State};
use crate::wire::chain::{ChainFault, Kept, Signed, Statement};
use crate::wire::frame::{Frame, Link};
use crate::wire::state::ChannelState;
use crate::wire::{Answer, Goodbye, Head, Hello, PROTOCOL, Request};

/// Bytes that wait in the session before no more is put into it.
const OUTGOING: usize = 256 * 1024;
/// The longest message while nothing is being fetched.
const ANSWER: usize = 256 * 1024;
/// Events that are kept; more come again in the next session.
const EVENTS: usize = 4_096;
/// Answers of a certain mode that nobody has fetched.
const OTHERS: usize = 256;
/// Pages of a standing; a tower that has more channels of ours than that is not in its right mind.
const PAGES: usize = 16_384;

/// Where the session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// No connection.
    Offline,
    /// The hello is out.
    Greeting,
    /// The tower says what it has.
    Comparing,
    /// Updates flow.
    Open,
    /// The tower has said goodbye, or the session broke; until the next connection or tick.
    Paused,
    /// Never again: the tower has forked its chain, or serves a later life of this node.
    Ended,
}

impl RemoteMonitors {
    /// A connection to the tower is up.
    pub fn connected(&self) {
        let mut state = self.state.lock();
        state.may_restart = true;
        let hello = self.hello(&state);
        state.begin(&hello);
    }

    /// The connection is gone.
    pub fn disconnected(&self) {
        self.state.lock().stop(Phase::Offline);
    }

    /// Some time has passed: about a minute is meant.
    pub fn timer_tick(&self) {
        let mut state = self.state.lock();
        state.may_restart = true;
        let postponed = core::mem::take(&mut state.postponed);
        state.wanted.extend(postponed);
        let is_owed = match state.phase {
            Phase::Greeting | Phase::Comparing => true,
            Phase::Open => state.lanes.values().any(Lane::is_owed),
            Phase::Paused => {
                let hello = self.hello(&state);
                return state.begin(&hello);
            }
            Phase::Offline | Phase::Ended => false,
        };
        state.silence = if is_owed { state.silence.saturating_add(1) } else { 0 };
        if state.silence > self.config.patience.saturating_mul(2) {
            // It stays down until it answers.
            let (silence, hello) = (state.silence, self.hello(&state));
            state.begin(&hello);
            state.silence = silence.min(self.config.patience.saturating_add(1));
        }
    }

    fn hello(&self, state: &State) -> Hello {
        Hello {
            version: PROTOCOL,
            mode: self.config.mode,
            incarnation: self.config.incarnation,
            last: state.follower.last().cloned(),
        }
    }

    /// A frame of the tower.
    pub fn on_frame(&self, bytes: &[u8]) {
        let mut state = self.state.lock();
        let Ok(frame) = Frame::read(bytes) else { return self.restart(&mut state) };
        let Some(link) = state.link.as_mut().filter(|link| link.session() == frame.session) else {
            // Of a session before this one.
            return;
        };
        match link.on_frame(&frame) {
            Ok(None) => {}
            Ok(Some(message)) => match Answer::from_versioned(&message) {
                Ok(answer) => self.on_answer(&mut state, answer),
                Err(_) => {
                    state.alarm(Alarm::Garbled);
                    self.restart(&mut state);
                }
            },
            Err(_) => self.restart(&mut state),
        }
        state.pump();
    }

    /// The next frame to the tower.
    pub fn next_frame(&self) -> Option<Vec<u8>> {
        let mut state = self.state.lock();
        let frame = state.link.as_mut()?.next_frame();
        state.pump();
        frame.or_else(|| state.link.as_mut()?.next_frame())
    }

    fn restart(&self, state: &mut State) {
        if core::mem::take(&mut state.may_restart) {
            let hello = self.hello(state);
            state.begin(&hello);
        } else {
            state.stop(Phase::Paused);
        }
    }

    fn on_answer(&self, state: &mut State, answer: Answer) {
        match (state.phase, answer) {
            (_, Answer::Goodbye { why }) => {
                let is_final = matches!(why, Goodbye::Fenced { .. });
                state.alarm(Alarm::Goodbye { why });
                state.stop(if is_final { Phase::Ended } else { Phase::Paused });
            }
            (Phase::Greeting, Answer::Welcome { version: PROTOCOL }) => state.phase = Phase::Comparing,
            (Phase::Comparing, Answer::Kept { statement }) => self.on_page(state, statement),
            (Phase::Open, Answer::Kept { statement }) => self.on_durable(state, statement),
            (Phase::Open, Answer::Refused { refusal }) => state.on_refused(refusal),
            (Phase::Open, Answer::Event { id, event }) => state.on_event(id, event),
            (Phase::Open, Answer::Found { channel, state: found }) => state.on_found(channel, found),
            (Phase::Open, Answer::Other { kind, body }) if state.others.len() < OTHERS => {
                state.others.push_back((kind, body));
            }
            (Phase::Open, Answer::Other { .. }) => {}
            _ => {
                state.alarm(Alarm::Garbled);
                self.restart(state);
            }
        }
    }

    fn check(&self, state: &mut State, statement: &Signed, is_first: bool) -> bool {
        let ours = (self.config.client, state.session);
        let followed = state.follower.follow(&self.secp, &self.config.tower, ours, is_first, statement);
        let Err(fault) = followed else {
            state.tip = statement.acknowledgement.tip.or(state.tip);
            return true;
        };
        let is_final = matches!(fault, ChainFault::Forked { .. });
        state.alarm(Alarm::Statement { fault });
        if is_final {
            state.stop(Phase::Ended);
        } else {
            self.restart(state);
        }
        false
    }

    /// A page of what the tower has.
    fn on_page(&self, state: &mut State, statement: Signed) {
        let expected = state.pages.len();
        let is_last = match statement.acknowledgement.statement {
            Statement::Standing { page, last } if page as usize == expected && expected < PAGES => last,
            _ => {
                state.alarm(Alarm::Garbled);
                return self.restart(state);
            }
        };
        if !self.check(state, &statement, expected == 0) {
            return;
        }
        state.pages.push(statement);
        if is_last {
            state.silence = 0;
            state.compare();
        }
    }

    fn on_durable(&self, state: &mut State, statement: Signed) {
        if statement.acknowledgement.statement != (Statement::Durable {}) {
            state.alarm(Alarm::Garbled);
            return self.restart(state);
        }
        if self.check(state, &statement, false) {
            state.silence = 0;
            let word = Arc::new(statement);
            for kept in &word.acknowledgement.kept {
                state.acknowledge(kept, &word);
            }
        }
    }
}

impl State {
    pub(super) const fn is_up(&self, patience: u32) -> bool {
        matches!(self.phase, Phase::Open) && self.silence <= patience
    }

    pub(super) fn alarm(&mut self, alarm: Alarm) {
        if self.alarms.len() < ALARMS {
            self.alarms.push_back(alarm);
        }
    }

    /// Begins a session.
    fn begin(&mut self, hello: &Hello) {
        if self.phase == Phase::Ended {
            return;
        }
        self.stop(Phase::Greeting);
        self.session = self.session.wrapping_add(1);
        let mut link = Link::new(self.session, ANSWER);
        link.push(Request::Hello { hello: hello.clone() }.to_versioned());
        self.link = Some(link);
    }

    fn stop(&mut self, phase: Phase) {
        if self.phase == Phase::Ended {
            return;
        }
        self.phase = phase;
        self.link = None;
        self.silence = 0;
        self.pages.clear();
        self.ready.clear();
        self.wanted.clear();
        self.postponed.clear();
        self.lanes.values_mut().for_each(Lane::unlink);
        // Who asked is told that there is no answer.
        self.found.extend(core::mem::take(&mut self.fetching).into_iter().map(|channel| (channel, None)));
    }

    pub(super) fn say(&mut self, request: &Request) {
        if self.phase == Phase::Open
            && let Some(link) = &mut self.link
        {
            link.push(request.to_versioned());
        }
    }

    /// All pages are there: what does the tower lack?
    fn compare(&mut self) {
        self.phase = Phase::Open;
        let pages = Arc::new(self.pages.clone());
        let mut found = BTreeMap::new();
        for page in pages.iter() {
            let word = Arc::new(page.clone());
            found.extend(
                page.acknowledgement.kept.iter().map(|kept| (kept.channel, (kept.head, Arc::clone(&word)))),
            );
        }
        let channels: Vec<ChannelId> = self.lanes.keys().copied().collect();
        for channel in channels {
            let Some(lane) = self.lanes.get_mut(&channel) else { continue };
            let there = found.get(&channel);
            let early = lane.acknowledged.clone();
            let outcome = lane.compare(there.map(|(head, _)| *head));
            match outcome {
                Found::Fine => {}
                Found::Ahead(found) => {
                    let ours = lane.head.id;
                    self.alarm(Alarm::Ahead { channel, ours, found });
                }
                Found::Lost(acknowledged) => {
                    // Until it has it again, nobody may count on it.
                    lane.acknowledged = None;
                    if let Some((_, early)) = early {
                        let found = there.map(|(head, _)| *head);
                        let pages = Arc::clone(&pages);
                        self.alarm(Alarm::Lost { channel, acknowledged, found, early, pages });
                    }
                }
            }
            if let Some((head, word)) = there {
                self.acknowledge(&Kept { channel, head: *head }, word);
            }
            self.news.insert(channel);
            self.sort(channel);
        }
    }

    /// Puts a channel where its course says.
    fn sort(&mut self, channel: ChannelId) {
        match self.lanes.get(&channel).map(|lane| lane.course) {
            Some(Course::Wanted) => self.wanted.push_back(channel),
            Some(Course::Level) => self.ready.push_back(channel),
            _ => {}
        }
    }

    pub(super) fn acknowledge(&mut self, kept: &Kept, word: &Arc<Signed>) {
        let channel = kept.channel;
        // A channel that is done with.
        let Some(lane) = self.lanes.get_mut(&channel) else { return };
        let before = lane.bytes();
        match lane.acknowledge(kept.head, word) {
            Ok(receipts) => {
                self.queued = self.queued.saturating_sub(before.saturating_sub(lane.bytes()));
                if receipts.is_empty() {
                    self.news.insert(channel);
                }
                self.receipts.extend(receipts);
                self.note_ready(channel);
            }
            Err(Misfit::Differs) => self.want(channel),
            Err(Misfit::Unsent) => self.alarm(Alarm::Garbled),
        }
    }

    pub(super) fn want(&mut self, channel: ChannelId) {
        if self.phase != Phase::Open {
            return;
        }
        // Once: a tower that refuses without end must not fill the queue.
        if let Some(lane) = self.lanes.get_mut(&channel)
            && lane.course != Course::Wanted
        {
            lane.course = Course::Wanted;
            self.wanted.push_back(channel);
        }
    }

    /// A lane for a new channel.
    pub(super) fn new_lane(&self, head: Head) -> Lane {
        let mut lane = Lane::at(head);
        if self.phase == Phase::Open {
            lane.course = Course::Level;
        }
        lane
    }

    pub(super) fn note_ready(&mut self, channel: ChannelId) {
        if self.phase == Phase::Open {
            self.ready.push_back(channel);
        }
    }

    pub(super) fn forget_messages(&mut self, channel: ChannelId) {
        let Some(lane) = self.lanes.get_mut(&channel) else { return };
        let was_level = lane.course == Course::Level;
        let freed = lane.forget_messages();
        self.queued = self.queued.saturating_sub(freed);
        if was_level && self.phase == Phase::Open {
            self.wanted.push_back(channel);
        }
    }

    /// Puts into the session what there is room for.
    pub(super) fn pump(&mut self) {
        if self.phase != Phase::Open {
            return;
        }
        let Some(link) = &mut self.link else { return };
        while link.waiting() < OUTGOING
            && let Some(channel) = self.ready.pop_front()
        {
            let Some(lane) = self.lanes.get_mut(&channel) else { continue };
            while link.waiting() < OUTGOING
                && let Some(next) = lane.next_to_send()
            {
                let id = next.id;
                if let Some(introduction) = &next.introduction {
                    link.push(introduction.clone());
                }
                link.push(next.message.clone().unwrap_or_default());
                lane.on_sent(id);
            }
            if lane.next_to_send().is_some() {
                self.ready.push_front(channel);
            }
        }
    }

    pub(super) fn next_wanted(&mut self) -> Option<ChannelId> {
        let has_room = self.link.as_ref().is_some_and(|link| link.waiting() < OUTGOING);
        if self.phase != Phase::Open || !has_room {
            return None;
        }
        loop {
            let channel = self.wanted.pop_front()?;
            if self.lanes.get(&channel).is_some_and(|lane| lane.course == Course::Wanted) {
                return Some(channel);
            }
        }
    }

    pub(super) fn provide(
        &mut self,
        channel: ChannelId,
        head: Head,
        introduction: Option<Vec<u8>>,
        state: ChannelState,
    ) {
        if self.phase != Phase::Open {
            return;
        }
        let Some(lane) = self.lanes.get_mut(&channel) else { return };
        if lane.course != Course::Wanted {
            return;
        }
        if lane.replace(head) {
            if let (Some(introduction), Some(link)) = (introduction, &mut self.link) {
                link.push(introduction);
            }
            self.say(&Request::Replace { channel, state });
        } else {
            // The store is behind what was handed over and lost; it will have it by and by.
            self.postponed.insert(channel);
        }
    }

    pub(super) fn fetch(&mut self, channel: ChannelId, limit: usize) {
        if self.phase != Phase::Open {
            return self.found.push_back((channel, None));
        }
        self.fetching.push(channel);
        if let Some(link) = &mut self.link {
            link.set_limit(limit);
        }
        self.say(&Request::Fetch { channel });
    }

    fn on_found(&mut self, channel: ChannelId, found: Option<ChannelState>) {
        let Some(at) = self.fetching.iter().position(|asked| *asked == channel) else { return };
        self.fetching.remove(at);
        if self.fetching.is_empty()
            && let Some(link) = &mut self.link
        {
            link.set_limit(ANSWER);
        }
        self.found.push_back((channel, found));
    }

    fn on_refused(&mut self, refusal: LateRefusal) {
        let Some(lane) = self.lanes.get_mut(&refusal.channel) else { return };
        match refusal.why {
            // The channel must step back: nothing that we could send again would change that.
            MonitorRefusal::OnChain => {
                let before = lane.bytes();
                lane.take_back(refusal.id);
                self.queued = self.queued.saturating_sub(before.saturating_sub(lane.bytes()));
                self.refusals.push_back(refusal);
            }
            // The tower does not know what came before: it gets all of it, once.
            MonitorRefusal::UnknownChannel
            | MonitorRefusal::OutOfOrder { .. }
            | MonitorRefusal::Contradiction
            | MonitorRefusal::Duplicate
                if !lane.was_replaced =>
            {
                self.want(refusal.channel);
            }
            _ => {
                lane.course = Course::Stuck;
                self.alarm(Alarm::Refused { refusal });
            }
        }
    }

    fn on_event(
        &mut self,
        id: lightning_traits::id::EventId,
        event: lightning_traits::monitor::MonitorEvent,
    ) {
        if self.events.get(&id).is_some_and(|(_, known)| *known == event) || self.events.len() >= EVENTS {
            return;
        }
        let ours = self.next_event;
        self.next_event = ours.next();
        self.events.insert(id, (ours, event));
    }
}
