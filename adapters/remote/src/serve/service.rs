//! One client of a tower: frames in, frames out, and its backing in between.
//!
//! Methods: inputs [`MonitorService::on_frame`], [`MonitorService::disconnected`]; [`MonitorService::process`] collects what the
//! backing has done meanwhile; output [`MonitorService::next_frame`].
//!
//! # Invariants
//! - nothing of the backing is called under the lock (I7); frames of one client come one after another
//! - who floods is made to wait: no credit is given while too much is on its way to the disk
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use lightning_traits::Secp;
use lightning_traits::id::{ChannelId, EventId, NodeId, UpdateId};
use lightning_traits::monitor::{
    ChannelMonitorUpdate, LateRefusal, MonitorRefusal, NewMonitor, Persist, Receipt,
};
use lightning_traits::sync::{Mutex, assert_unlocked};
use secp256k1::PublicKey;

use super::Backing;
use super::track::{Known, Track};
use crate::wire::chain::{Acknowledgement, Kept, Memory, Signed, Statement, StatementSigner};
use crate::wire::frame::{Broken, Frame, Link, unknown_session};
use crate::wire::state::ChannelState;
use crate::wire::{Answer, Goodbye, Head, Hello, Name, PROTOCOL, Request};

/// Channels on one page of a statement.
const PAGE: usize = 256;
/// Events told and not acknowledged.
const EVENTS: usize = 1_024;
/// Channels that were asked for and not sent yet: more than any node has.
const ASKED: usize = 200_000;
/// Bytes that wait to be sent before nothing more is collected.
const OUTGOING: usize = 1024 * 1024;

/// What a client may make a tower hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The longest message, and so the largest channel that can be taken whole.
    pub message: usize,
    /// Bytes on their way to the disk before the client has to wait.
    pub unwritten: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { message: 16 * 1024 * 1024, unwritten: 4 * 1024 * 1024 }
    }
}

/// Before its hello, a client has nothing to say that is longer.
const HELLO: usize = 64 * 1024;

/// Where a session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// No hello yet.
    Greeting,
    /// The hello was taken.
    Open,
    /// Goodbye was said: whatever still comes is passed over.
    Over,
}

struct State {
    link: Option<Link>,
    phase: Phase,
    memory: Memory,
    tracks: BTreeMap<ChannelId, Track>,
    /// Channels that are being replaced: what was kept, and what comes.
    replacing: BTreeMap<ChannelId, (Option<Head>, Head)>,
    /// A hello that came meanwhile: what is kept can be said when it is done.
    parked: Option<Hello>,
    /// Channels whose head is to be stated.
    fresh: BTreeSet<ChannelId>,
    unwritten: usize,
    /// What waits until the chain's head is durable: up to which count, and the message.
    held: VecDeque<(u64, Vec<u8>)>,
    /// The last event told in this session, and those that wait for an acknowledgement.
    cursor: Option<EventId>,
    told: BTreeSet<EventId>,
    /// Channels that the client wants whole, one after another: they may be large.
    asked: VecDeque<ChannelId>,
    /// Frames that belong to no session.
    strays: VecDeque<Vec<u8>>,
}

/// How the tower stands with a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Served {
    /// Whether a session lasts.
    pub is_open: bool,
    /// Channels kept.
    pub channels: usize,
    /// Statements signed, and leapt over.
    pub count: u64,
    /// Bytes on their way to the disk.
    pub unwritten: usize,
}

/// Serves one client.
pub struct MonitorService<B, S> {
    backing: B,
    signer: S,
    secp: Secp,
    tower: PublicKey,
    client: NodeId,
    bounds: Bounds,
    state: Mutex<State>,
}

impl<B: Backing, S: StatementSigner> MonitorService<B, S> {
    /// A service of the tower whose key is `tower`, for one client.
    #[must_use]
    pub fn new(backing: B, signer: S, tower: PublicKey, client: NodeId, bounds: Bounds) -> Self {
        let memory = backing.written_memory().at_start();
        let tracks = backing.heads().into_iter().map(|kept| (kept.channel, Track::at(kept.head))).collect();
        let state = State {
            link: None,
            phase: Phase::Greeting,
            memory,
            tracks,
            replacing: BTreeMap::new(),
            parked: None,
            fresh: BTreeSet::new(),
            unwritten: 0,
            held: VecDeque::new(),
            cursor: None,
            told: BTreeSet::new(),
            asked: VecDeque::new(),
            strays: VecDeque::new(),
        };
        Self { backing, signer, secp: Secp::new(), tower, client, bounds, state: Mutex::new(state) }
    }

    /// What is behind it.
    #[must_use]
    pub const fn backing(&self) -> &B {
        &self.backing
    }

    /// How it stands.
    #[must_use]
    pub fn served(&self) -> Served {
        let state = self.state.lock();
        Served {
            is_open: state.is_open(),
            channels: state.tracks.len(),
            count: state.memory.count,
            unwritten: state.unwritten,
        }
    }

    /// A frame of the client.
    pub fn on_frame(&self, bytes: &[u8]) {
        assert_unlocked();
        let message = {
            let mut state = self.state.lock();
            match state.take_frame(bytes) {
                Ok(message) => message,
                Err(_) => {
                    state.end();
                    None
                }
            }
        };
        if let Some(message) = message {
            match Request::from_versioned(&message) {
                Ok(request) => self.on_request(request, message.len()),
                Err(_) => self.state.lock().goodbye(Goodbye::Garbled {}),
            }
        }
        self.process();
    }

    /// The connection is gone.
    pub fn disconnected(&self) {
        self.state.lock().end();
    }

    /// The next frame to the client.
    pub fn next_frame(&self) -> Option<Vec<u8>> {
        let mut state = self.state.lock();
        state.strays.pop_front().or_else(|| state.link.as_mut()?.next_frame())
    }

    fn on_request(&self, request: Request, size: usize) {
        let phase = self.state.lock().phase;
        match request {
            _ if phase == Phase::Over => {}
            Request::Hello { hello } if phase == Phase::Greeting => self.on_hello(hello),
            _ if phase == Phase::Greeting => self.state.lock().goodbye(Goodbye::Garbled {}),
            Request::Hello { .. } => self.state.lock().goodbye(Goodbye::Garbled {}),
            Request::New { new } => self.on_new(&new, size),
            Request::Update { update } => self.on_update(&update, size),
            Request::Replace { channel, state } => self.on_replace(channel, state, size),
            Request::Acknowledge { event } => {
                self.state.lock().told.remove(&event);
                self.backing.acknowledge_monitor_event(event);
            }
            Request::Fetch { channel } => {
                let mut state = self.state.lock();
                if state.asked.len() >= ASKED {
                    return state.goodbye(Goodbye::Garbled {});
                }
                state.asked.push_back(channel);
            }
            Request::Other { kind, body } => {
                if let Some((kind, body)) = self.backing.on_other(kind, body) {
                    self.state.lock().say(&Answer::Other { kind, body });
                }
            }
        }
    }

    fn on_hello(&self, hello: Hello) {
        let (mode, tip) = (self.backing.mode(), self.backing.tip());
        let mut state = self.state.lock();
        if !state.replacing.is_empty() {
            state.parked = Some(hello);
            return;
        }
        if hello.version != PROTOCOL {
            return state.goodbye(Goodbye::Version { spoken: PROTOCOL });
        }
        if hello.mode != mode {
            return state.goodbye(Goodbye::Mode {});
        }
        let incarnation = state.memory.incarnation;
        if hello.incarnation < incarnation {
            return state.goodbye(Goodbye::Fenced { incarnation });
        }
        state.memory.incarnation = hello.incarnation;
        // A tower that comes back from a backup goes on behind what it had signed, as the client shows it.
        if let Some(last) = hello.last
            && last.acknowledgement.client == self.client
            && last.acknowledgement.count > state.memory.count
            && last.is_by(&self.secp, &self.tower)
        {
            state.memory.count = last.acknowledgement.count;
            state.memory.link = last.acknowledgement.digest();
        }
        state.phase = Phase::Open;
        state.cursor = None;
        state.told.clear();
        if let Some(link) = &mut state.link {
            link.set_limit(self.bounds.message);
        }
        let first = state.memory.count.saturating_add(1);
        state.held.push_back((first, Answer::Welcome { version: PROTOCOL }.to_versioned()));
        state.fresh.clear();
        let kept: Vec<Kept> = state.kept().collect();
        let pages = kept.len().div_ceil(PAGE).max(1);
        for (page, number) in (0..pages).zip(0_u32..) {
            let list = kept.chunks(PAGE).nth(page).unwrap_or_default().to_vec();
            let is_last = page.saturating_add(1) == pages;
            state.state(
                &self.signer,
                self.client,
                Statement::Standing { page: number, last: is_last },
                list,
                tip,
            );
        }
        let memory = state.memory;
        drop(state);
        self.backing.write_memory(memory);
    }

    fn on_new(&self, bytes: &[u8], size: usize) {
        let Ok(new) = NewMonitor::from_versioned(bytes) else {
            return self.state.lock().goodbye(Goodbye::Garbled {});
        };
        let (channel, name) = (new.init.channel, Name::of_new(&new));
        self.take(channel, UpdateId(0), name, size, || self.backing.add_channel(new));
    }

    fn on_update(&self, bytes: &[u8], size: usize) {
        let Ok(update) = ChannelMonitorUpdate::from_versioned(bytes) else {
            return self.state.lock().goodbye(Goodbye::Garbled {});
        };
        let (channel, id, name) = (update.channel, update.id, Name::of_update(&update));
        self.take(channel, id, name, size, || self.backing.update_channel(update));
    }

    fn take(
        &self,
        channel: ChannelId,
        id: UpdateId,
        name: Name,
        size: usize,
        hand_on: impl FnOnce() -> Persist,
    ) {
        let has_room = self.backing.has_room(size);
        {
            let mut state = self.state.lock();
            if state.replacing.contains_key(&channel) {
                return state.goodbye(Goodbye::Garbled {});
            }
            let known = state.tracks.get(&channel).map_or(Known::New, |track| track.known(id, name));
            match known {
                Known::Open => return,
                Known::Durable => {
                    state.fresh.insert(channel);
                    return;
                }
                Known::Other => {
                    let why = MonitorRefusal::Contradiction;
                    return state.say(&Answer::Refused { refusal: LateRefusal { channel, id, why } });
                }
                Known::New if !has_room => return state.goodbye(Goodbye::Quota {}),
                Known::New => {
                    // Before it is handed on: its receipt may be collected by somebody else at once.
                    state.tracks.entry(channel).or_default().start(id, name, size);
                    state.unwritten = state.unwritten.saturating_add(size);
                }
            }
        }
        match hand_on() {
            Persist::Durable(receipt) => self.state.lock().on_receipt(&receipt),
            Persist::InProgress => {}
            Persist::Refused(why) => self.state.lock().on_refusal(LateRefusal { channel, id, why }),
        }
    }

    fn on_replace(&self, channel: ChannelId, whole: ChannelState, size: usize) {
        if !self.backing.has_room(size) {
            return self.state.lock().goodbye(Goodbye::Quota {});
        }
        {
            let mut state = self.state.lock();
            if state.replacing.contains_key(&channel) {
                return state.goodbye(Goodbye::Garbled {});
            }
            // Nothing is stated of it until it is done: what was there before could be taken for what comes.
            let mut track = state.tracks.remove(&channel).unwrap_or_default();
            let void = track.withdraw(UpdateId(0));
            state.unwritten = state.unwritten.saturating_sub(void);
            state.fresh.remove(&channel);
            state.replacing.insert(channel, (track.durable(), whole.head()));
        }
        self.backing.replace(channel, whole);
    }

    /// Collects what the backing has done since, and what there is to say of it.
    pub fn process(&self) {
        assert_unlocked();
        while let Some(receipt) = self.backing.next_receipt() {
            self.state.lock().on_receipt(&receipt);
        }
        while let Some(refusal) = self.backing.next_refusal() {
            self.state.lock().on_refusal(refusal);
        }
        while let Some((channel, outcome)) = self.backing.next_replaced() {
            self.state.lock().on_replaced(channel, outcome);
        }
        while let Some(channel) = self.backing.next_gone() {
            // It is not stated to be kept from now on.
            let mut state = self.state.lock();
            state.tracks.remove(&channel);
            state.fresh.remove(&channel);
        }
        let parked = {
            let mut state = self.state.lock();
            if state.replacing.is_empty() { state.parked.take() } else { None }
        };
        if let Some(hello) = parked {
            self.on_hello(hello);
        }
        while self.has_space()
            && let Some((kind, body)) = self.backing.next_other()
        {
            self.state.lock().say(&Answer::Other { kind, body });
        }
        self.collect_events();
        while self.has_space() {
            let asked = self.state.lock().asked.pop_front();
            let Some(channel) = asked else { break };
            let state = self.backing.fetch(channel);
            self.state.lock().say(&Answer::Found { channel, state });
        }
        self.state_fresh();
        let written = self.backing.written_memory().count;
        let mut state = self.state.lock();
        while let Some((_, message)) = state.held.pop_front_if(|(count, _)| *count <= written) {
            if let Some(link) = &mut state.link {
                link.push(message);
            }
        }
        let must_wait = state.unwritten > self.bounds.unwritten || state.outgoing() > OUTGOING;
        if let Some(link) = &mut state.link {
            link.hold(must_wait);
        }
    }

    fn has_space(&self) -> bool {
        let state = self.state.lock();
        state.is_open() && state.outgoing() <= OUTGOING
    }

    fn collect_events(&self) {
        loop {
            let cursor = {
                let state = self.state.lock();
                if !state.is_open() || state.told.len() >= EVENTS {
                    return;
                }
                state.cursor
            };
            let Some((id, event)) = self.backing.next_monitor_event(cursor) else { return };
            let mut state = self.state.lock();
            state.cursor = Some(id);
            state.told.insert(id);
            state.say(&Answer::Event { id, event });
        }
    }

    /// One statement of all that has become durable since the last: so one signature for a whole group commit.
    fn state_fresh(&self) {
        if !self.has_space() || self.state.lock().fresh.is_empty() {
            return;
        }
        let tip = self.backing.tip();
        let memory = {
            let mut state = self.state.lock();
            let fresh = core::mem::take(&mut state.fresh);
            // Not all that are kept: a commit costs what it is of (I13).
            let head = |channel: &ChannelId| state.tracks.get(channel)?.durable();
            let heads = fresh.into_iter().filter_map(|channel| Some(Kept { channel, head: head(&channel)? }));
            let kept: Vec<Kept> = heads.collect();
            for list in kept.chunks(PAGE) {
                state.state(&self.signer, self.client, Statement::Durable {}, list.to_vec(), tip);
            }
            state.memory
        };
        self.backing.write_memory(memory);
    }
}

impl State {
    /// Takes a frame; one that opens a session ends the one before.
    fn take_frame(&mut self, bytes: &[u8]) -> Result<Option<Vec<u8>>, Broken> {
        let frame = Frame::read(bytes)?;
        let is_current = self.link.as_ref().is_some_and(|link| link.session() == frame.session);
        if !is_current {
            if frame.says_unknown() {
                return Ok(None);
            }
            if !frame.opens() {
                if self.strays.is_empty() {
                    self.strays.push_back(unknown_session(frame.session));
                }
                return Ok(None);
            }
            self.end();
            self.link = Some(Link::new(frame.session, HELLO));
        }
        self.link.as_mut().map_or(Ok(None), |link| link.on_frame(&frame))
    }

    fn is_open(&self) -> bool {
        self.phase == Phase::Open && self.link.is_some()
    }

    fn end(&mut self) {
        self.link = None;
        self.parked = None;
        self.asked.clear();
        self.phase = Phase::Greeting;
        self.held.clear();
        self.cursor = None;
        self.told.clear();
    }

    fn say(&mut self, answer: &Answer) {
        if !self.is_open() {
            return;
        }
        let message = answer.to_versioned();
        match &mut self.link {
            // Not before the welcome, nor before a statement that was signed earlier.
            Some(_) if !self.held.is_empty() => self.held.push_back((0, message)),
            Some(link) => link.push(message),
            None => {}
        }
    }

    /// Bytes that wait to be sent.
    fn outgoing(&self) -> usize {
        let held = self.held.iter().map(|(_, message)| message.len());
        held.fold(self.link.as_ref().map_or(0, Link::waiting), usize::saturating_add)
    }

    fn goodbye(&mut self, why: Goodbye) {
        if self.phase == Phase::Over {
            return;
        }
        self.phase = Phase::Over;
        self.held.clear();
        if let Some(link) = &mut self.link {
            link.push(Answer::Goodbye { why }.to_versioned());
        }
    }

    fn kept(&self) -> impl Iterator<Item = Kept> {
        let heads = self.tracks.iter().map(|(channel, track)| (*channel, track.durable()));
        heads.filter_map(|(channel, head)| Some(Kept { channel, head: head? }))
    }

    /// Signs the next statement; it leaves once the memory of it is durable.
    fn state(
        &mut self,
        signer: &impl StatementSigner,
        client: NodeId,
        statement: Statement,
        kept: Vec<Kept>,
        tip: Option<(bitcoin::BlockHash, lightning_traits::units::BlockHeight)>,
    ) {
        let Some(session) = self.link.as_ref().map(Link::session) else { return };
        let count = self.memory.count.saturating_add(1);
        let acknowledgement =
            Acknowledgement { client, count, previous: self.memory.link, session, statement, kept, tip };
        let digest = acknowledgement.digest();
        let signature = signer.sign_statement(&digest);
        self.memory = Memory { count, link: digest, ..self.memory };
        let answer = Answer::Kept { statement: Signed { acknowledgement, signature } };
        self.held.push_back((count, answer.to_versioned()));
    }

    fn on_receipt(&mut self, receipt: &Receipt) {
        let channel = receipt.channel();
        let Some(track) = self.tracks.get_mut(&channel) else { return };
        let Some((size, moved)) = track.on_receipt(receipt.id()) else { return };
        self.unwritten = self.unwritten.saturating_sub(size);
        if moved {
            self.fresh.insert(channel);
        }
    }

    fn on_refusal(&mut self, refusal: LateRefusal) {
        if let Some(track) = self.tracks.get_mut(&refusal.channel) {
            let void = track.withdraw(refusal.id);
            if track.is_void() {
                self.tracks.remove(&refusal.channel);
            }
            self.unwritten = self.unwritten.saturating_sub(void);
        }
        self.say(&Answer::Refused { refusal });
    }

    fn on_replaced(&mut self, channel: ChannelId, outcome: Result<(), MonitorRefusal>) {
        let Some((before, head)) = self.replacing.remove(&channel) else { return };
        if let (Err(_), Some(before)) = (outcome, before) {
            self.tracks.insert(channel, Track::at(before));
        }
        match outcome {
            Ok(()) => {
                self.tracks.insert(channel, Track::at(head));
                self.fresh.insert(channel);
            }
            Err(why) => self.say(&Answer::Refused { refusal: LateRefusal { channel, id: head.id, why } }),
        }
    }
}
