//! One connection: `Handshaking | AwaitingInit | Joining | Ready | Ended`.
//!
//! BOLT 8 for the first phase, BOLT 1 ("The `init` Message") for the second. Pure state under `&mut self`: bytes
//! in, steps out, bytes to send polled; who calls the handlers is `manager/`.
//!
//! # Invariants
//! - nothing but `init` is sent before theirs has come (BOLT 1: "MUST wait to receive `init` before sending any
//!   other messages")
//! - no message is handed on before the handlers were told of the peer, nor after the connection ended
//! - what was queued for a connection dies with it (RELIABILITY B6)
//!
//! See also `outbox.rs` for what waits to be sent and `liveness.rs` for ticks.
mod gossip;
mod handshaking;
mod init;
mod liveness;
mod outbox;

pub(crate) use gossip::Gossip;
pub(crate) use handshaking::{Handshaking, KeyContext, fresh_key};
pub(crate) use init::OurInit;
pub(crate) use outbox::{Dropped, Lane};

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use lightning_traits::codec::TlvRecords;
use lightning_traits::id::{ChannelId, NodeId};
use lightning_traits::interface::KeysInterface;
use lightning_traits::wire::{GossipTimestampFilter, Init, Message, Ping, Pong, WarningMessage};

use self::liveness::{Liveness, PingAnswer};
use self::outbox::Outbox;
use crate::disconnect::Disconnect;
use crate::frame::{FrameReader, FrameWriter, framed};

/// One connection, from the first byte to the last.
pub(crate) struct Peer {
    stage: Stage,
    our_init: OurInit,
    liveness: Liveness,
    /// Acts of the handshake that wait to be sent.
    acts: Vec<u8>,
    /// Bytes that came while nobody could read them.
    stash: Vec<u8>,
    /// Somebody is handing this connection's messages to the handlers.
    busy: bool,
    /// The connection is on the list of those with bytes to send.
    flagged: bool,
    /// Somebody was told not to read.
    paused: bool,
    /// The handlers know of it.
    announced: bool,
    /// Texts of the peer that were logged since the last tick.
    logged: u8,
}

enum Stage {
    Handshaking(Box<Handshaking>),
    AwaitingInit(Box<Link>),
    /// `init` has come; the handlers have not been told yet.
    Joining(Box<Link>, Arc<Init>),
    Ready(Box<Link>, Arc<Init>),
    /// Over. What must still go out is in the link, if any.
    Ended(Disconnect, Option<NodeId>, Option<Box<Link>>),
}

/// An encrypted connection with a known node.
struct Link {
    node: NodeId,
    writer: FrameWriter,
    reader: FrameReader,
    outbox: Outbox,
    filter: Option<GossipTimestampFilter>,
    /// Whether a message came after `init`.
    heard: bool,
}

/// What reading came to.
pub(crate) enum Step {
    /// All bytes are taken.
    Wait,
    /// Handshake and `init` are done: the handlers must be told before anything else is read.
    Join(NodeId),
    /// A message for a handler.
    Message(NodeId, Box<Message>),
}

/// What follows when a reader is done.
pub(crate) enum TurnOver {
    /// These bytes came meanwhile.
    More(Vec<u8>),
    /// Nothing is left to read; the session of this node waits for its next step.
    Done { session_waits: Option<NodeId> },
}

/// Whether a connection can become its node's session now.
pub(crate) enum Entry {
    /// Yes, and this is their `init`.
    Open(Arc<Init>),
    /// Its reader has not finished; who has the turn will ask again.
    Busy,
    /// It has ended.
    Over,
}

/// What became of a connection that a session step looks at.
pub(crate) enum Standing {
    /// It goes on.
    Alive,
    /// It has ended, but its messages are still being handed over.
    EndedBusy,
    /// It has ended, and whether the handlers know of it.
    Ended { announced: bool },
}

impl Peer {
    /// A connection whose handshake begins.
    pub(crate) fn new(handshaking: Handshaking, our_init: OurInit) -> Self {
        Self {
            stage: Stage::Handshaking(Box::new(handshaking)),
            our_init,
            liveness: Liveness::default(),
            acts: Vec::new(),
            stash: Vec::new(),
            busy: false,
            flagged: false,
            paused: false,
            announced: false,
            logged: 0,
        }
    }

    /// The node at the other end, as far as it is known.
    pub(crate) fn node(&self) -> Option<NodeId> {
        match &self.stage {
            Stage::Handshaking(handshaking) => handshaking.expected(),
            Stage::AwaitingInit(link) | Stage::Joining(link, _) | Stage::Ready(link, _) => Some(link.node),
            Stage::Ended(_, node, _) => *node,
        }
    }

    /// Their `init`, once the connection is ready.
    pub(crate) fn their_init(&self) -> Option<&Arc<Init>> {
        match &self.stage {
            Stage::Ready(_, init) => Some(init),
            _ => None,
        }
    }

    /// Why the connection ended, if it did.
    pub(crate) const fn ended(&self) -> Option<Disconnect> {
        match &self.stage {
            Stage::Ended(reason, ..) => Some(*reason),
            _ => None,
        }
    }

    // ---- reading

    /// Takes the turn to read. `false` when somebody else has it: then the bytes wait for them.
    pub(crate) fn take_turn(&mut self, input: &[u8]) -> Result<bool, Disconnect> {
        if let Some(reason) = self.ended() {
            return Err(reason);
        }
        if self.busy {
            return self.keep(input).map(|()| false);
        }
        self.busy = true;
        Ok(true)
    }

    /// Gives the turn back, unless bytes came meanwhile: then those are read first.
    pub(crate) fn give_back_turn(&mut self) -> TurnOver {
        let waits = matches!(self.stage, Stage::Joining(..) | Stage::Ended(..));
        if !waits && !self.stash.is_empty() {
            return TurnOver::More(core::mem::take(&mut self.stash));
        }
        self.busy = false;
        TurnOver::Done { session_waits: self.node().filter(|_| waits) }
    }

    /// Reads from `input` up to the next thing that concerns others.
    pub(crate) fn read<K: KeysInterface>(
        &mut self,
        input: &mut &[u8],
        context: &KeyContext<'_, K>,
    ) -> Result<Step, Disconnect> {
        loop {
            match &mut self.stage {
                Stage::Handshaking(_) => {
                    if !self.read_handshake(input, context)? {
                        return Ok(Step::Wait);
                    }
                }
                Stage::AwaitingInit(link) => {
                    let Some(init) = link.read_init(input)? else { return Ok(Step::Wait) };
                    self.our_init.check(&init)?;
                    self.liveness.on_message();
                    let node = link.node;
                    self.replace_stage(|stage| match stage {
                        Stage::AwaitingInit(link) => Stage::Joining(link, Arc::new(init)),
                        other => other,
                    });
                    return Ok(Step::Join(node));
                }
                Stage::Joining(..) => {
                    self.keep(core::mem::take(input))?;
                    return Ok(Step::Wait);
                }
                Stage::Ready(link, _) => {
                    let Some(message) = link.read_message(input)? else { return Ok(Step::Wait) };
                    self.liveness.on_message();
                    let node = link.node;
                    if let Some(message) = self.on_control(message)? {
                        return Ok(Step::Message(node, Box::new(message)));
                    }
                }
                Stage::Ended(reason, ..) => return Err(*reason),
            }
        }
    }

    /// Moves the handshake on; `true` when it is done.
    fn read_handshake<K: KeysInterface>(
        &mut self,
        input: &mut &[u8],
        context: &KeyContext<'_, K>,
    ) -> Result<bool, Disconnect> {
        let Stage::Handshaking(handshaking) = &mut self.stage else { return Ok(false) };
        let done = handshaking.read(input, context, &mut self.acts).map_err(Disconnect::Handshake)?;
        let Some((node, session)) = done else { return Ok(false) };
        let (writer, reader) = framed(session);
        let mut outbox = Outbox::default();
        // "MUST send `init` as the first Lightning message for any connection". This lane drops nothing.
        let _ = outbox.push(Lane::Channel, &self.our_init.to_wire());
        let link = Link { node, writer, reader, outbox, filter: None, heard: false };
        self.stage = Stage::AwaitingInit(Box::new(link));
        Ok(true)
    }

    /// Deals with what concerns the connection alone; gives back the rest.
    fn on_control(&mut self, message: Message) -> Result<Option<Message>, Disconnect> {
        match message {
            Message::Init(_) => Err(Disconnect::InitRepeated),
            Message::Ping(ping) => {
                match self.liveness.on_ping(ping.num_pong_bytes) {
                    PingAnswer::Pong => {
                        let ignored = vec![0; usize::from(ping.num_pong_bytes)];
                        self.queue(&Pong { ignored, unknown: TlvRecords::new() }.into());
                    }
                    PingAnswer::Ignore => {}
                    PingAnswer::Flood => return Err(Disconnect::PingFlood),
                }
                Ok(None)
            }
            Message::Pong(_) => {
                self.liveness.on_pong();
                Ok(None)
            }
            other => Ok(Some(other)),
        }
    }

    /// Keeps bytes that cannot be read now.
    fn keep(&mut self, input: &[u8]) -> Result<(), Disconnect> {
        if self.stash.len().saturating_add(input.len()) > STASH_BOUND {
            return Err(Disconnect::Overrun);
        }
        self.stash.extend_from_slice(input);
        Ok(())
    }

    /// Whether more bytes should be read from the socket now. One who hears no is told when it turns into yes.
    pub(crate) fn ask_to_read(&mut self) -> bool {
        self.paused = !self.wants_read();
        !self.paused
    }

    /// Whether somebody was told not to read, and may now.
    pub(crate) fn take_resumed(&mut self) -> bool {
        let resumed = self.paused && self.wants_read();
        self.paused &= !resumed;
        resumed
    }

    fn wants_read(&self) -> bool {
        match &self.stage {
            Stage::Handshaking(_) | Stage::AwaitingInit(_) => true,
            Stage::Ready(link, _) => self.stash.is_empty() && link.outbox.wants_read(),
            Stage::Joining(..) | Stage::Ended(..) => false,
        }
    }

    // ---- sessions

    /// The handlers are about to be told: from now on messages can be queued. Takes the turn to read.
    pub(crate) fn enter(&mut self) -> Entry {
        if self.ended().is_some() {
            return Entry::Over;
        }
        if self.busy {
            return Entry::Busy;
        }
        self.replace_stage(|stage| match stage {
            Stage::Joining(link, init) => Stage::Ready(link, init),
            other => other,
        });
        let Some(init) = self.their_init().cloned() else { return Entry::Busy };
        self.busy = true;
        self.announced = true;
        Entry::Open(init)
    }

    /// A handler refused the peer, so no handler knows it.
    pub(crate) const fn refused(&mut self) {
        self.announced = false;
    }

    /// How the connection stands.
    pub(crate) const fn standing(&self) -> Standing {
        match (&self.stage, self.busy) {
            (Stage::Ended(..), true) => Standing::EndedBusy,
            (Stage::Ended(..), false) => Standing::Ended { announced: self.announced },
            _ => Standing::Alive,
        }
    }

    /// Ends the connection, with a last message where the peer can read one; `false` if it had ended before.
    pub(crate) fn end(&mut self, reason: Disconnect, last: Option<&Message>) -> bool {
        if self.ended().is_some() {
            return false;
        }
        let node = self.node();
        let warning = reason.warning().map(|text| warning(&text));
        let mut left = None;
        self.replace_stage(|stage| {
            left = match stage {
                Stage::AwaitingInit(link) | Stage::Joining(link, _) | Stage::Ready(link, _) => Some(link),
                Stage::Handshaking(_) | Stage::Ended(..) => None,
            };
            Stage::Ended(reason, node, None)
        });
        if let Some(mut link) = left.filter(|_| reason.lets_queue_out()) {
            link.outbox.keep_channel_lane();
            for message in last.into_iter().chain(warning.as_ref()) {
                // One that is too long to send is not sent.
                let _ = message.to_wire().map(|bytes| link.outbox.push(Lane::Channel, &bytes));
            }
            self.stage = Stage::Ended(reason, node, Some(link));
        }
        self.stash = Vec::new();
        true
    }

    /// What it means that the socket is closed now.
    pub(crate) fn on_socket_closed(&self) -> Disconnect {
        match &self.stage {
            Stage::Handshaking(_) => Disconnect::SocketClosedInHandshake,
            Stage::AwaitingInit(_) | Stage::Joining(..) => Disconnect::SocketClosed { after_init: true },
            Stage::Ready(link, _) => Disconnect::SocketClosed { after_init: !link.heard },
            Stage::Ended(reason, ..) => *reason,
        }
    }

    // ---- writing

    /// Queues a message of ours; whatever cannot be queued is dropped with the connection.
    fn queue(&mut self, message: &Message) {
        if let (Some(link), Ok(bytes)) = (self.open_link(), message.to_wire()) {
            let _ = link.outbox.push(Lane::Channel, &bytes);
        }
    }

    /// Queues an encoded message. `Ok(false)` when the connection is not ready: the message is for another one.
    pub(crate) fn push(&mut self, lane: Lane, message: &[u8]) -> Result<bool, Dropped> {
        match &mut self.stage {
            Stage::Ready(link, _) => link.outbox.push(lane, message).map(|()| true),
            _ => Ok(false),
        }
    }

    /// Queues gossip that many get, if the peer asked for such.
    pub(crate) fn push_gossip(&mut self, gossip: &Gossip) -> Result<bool, Dropped> {
        match &mut self.stage {
            Stage::Ready(link, _) if gossip.is_wanted(link.node, link.filter.as_ref()) => {
                link.outbox.push_shared(Arc::clone(&gossip.bytes)).map(|()| true)
            }
            _ => Ok(false),
        }
    }

    /// Remembers which gossip the peer wants (BOLT 7: "this filter replaces any previous one").
    pub(crate) fn set_filter(&mut self, filter: GossipTimestampFilter) {
        if let Some(link) = self.open_link() {
            link.filter = Some(filter);
        }
    }

    /// Appends up to about `budget` encrypted bytes to `out`.
    pub(crate) fn transmit(&mut self, out: &mut Vec<u8>, budget: usize) -> bool {
        out.append(&mut self.acts);
        let (Stage::AwaitingInit(link)
        | Stage::Joining(link, _)
        | Stage::Ready(link, _)
        | Stage::Ended(_, _, Some(link))) = &mut self.stage
        else {
            return false;
        };
        let (before, reading) = (out.len(), link.outbox.wants_read());
        // A message that is too long never enters the outbox.
        let _ = link.outbox.transmit(&mut link.writer, out, budget);
        if !reading && out.len() > before {
            self.liveness.on_drained();
        }
        link.outbox.take_gossip_low()
    }

    /// Whether there is something to send.
    pub(crate) fn has_pending(&self) -> bool {
        self.pending() > 0
    }

    /// Bytes that wait to be sent, without what encryption adds.
    pub(crate) fn pending(&self) -> usize {
        let queued = match &self.stage {
            Stage::AwaitingInit(link)
            | Stage::Joining(link, _)
            | Stage::Ready(link, _)
            | Stage::Ended(_, _, Some(link)) => link.outbox.pending(),
            Stage::Handshaking(_) | Stage::Ended(_, _, None) => 0,
        };
        queued.saturating_add(self.acts.len())
    }

    /// Whether the connection must be put on the list of those with bytes to send.
    pub(crate) fn raise_flag(&mut self) -> bool {
        let raise = !self.flagged && self.has_pending();
        self.flagged |= raise;
        raise
    }

    /// Takes the connection off that list once all is sent.
    pub(crate) fn lower_flag(&mut self) {
        self.flagged = self.has_pending();
    }

    // ---- time

    /// One tick.
    pub(crate) fn tick(&mut self) -> Result<(), Disconnect> {
        self.logged = 0;
        match &self.stage {
            Stage::Handshaking(_) | Stage::AwaitingInit(_) => self.liveness.tick_starting(),
            Stage::Joining(..) | Stage::Ended(..) => Ok(()),
            Stage::Ready(link, _) if link.outbox.is_hopeless() => Err(Disconnect::TooSlow),
            Stage::Ready(..) => {
                if self.liveness.tick_ready()? {
                    self.queue(
                        &Ping { num_pong_bytes: 0, ignored: Vec::new(), unknown: TlvRecords::new() }.into(),
                    );
                }
                Ok(())
            }
        }
    }

    /// Whether one more text of the peer may be logged before the next tick (RELIABILITY I10).
    pub(crate) const fn may_log(&mut self) -> bool {
        self.logged = self.logged.saturating_add(1);
        self.logged <= LOGS_PER_TICK
    }

    // ---- within

    const fn open_link(&mut self) -> Option<&mut Link> {
        match &mut self.stage {
            Stage::Ready(link, _) => Some(link),
            _ => None,
        }
    }

    fn replace_stage(&mut self, change: impl FnOnce(Stage) -> Stage) {
        let placeholder = Stage::Ended(Disconnect::UnknownConnection, None, None);
        self.stage = change(core::mem::replace(&mut self.stage, placeholder));
    }
}

impl Link {
    fn read_message(&mut self, input: &mut &[u8]) -> Result<Option<Message>, Disconnect> {
        let after_init = !self.heard;
        let bytes = self.reader.read(input).map_err(|error| Disconnect::Frame { error, after_init })?;
        let Some(bytes) = bytes else { return Ok(None) };
        let message = decode(bytes)?;
        self.heard = true;
        Ok(Some(message))
    }

    fn read_init(&mut self, input: &mut &[u8]) -> Result<Option<Init>, Disconnect> {
        let bytes = self.reader.read(input).map_err(|error| Disconnect::Frame { error, after_init: true })?;
        match bytes.map(decode).transpose()? {
            Some(Message::Init(init)) => Ok(Some(init)),
            Some(other) => Err(Disconnect::InitExpected(other.type_id())),
            None => Ok(None),
        }
    }
}

/// BOLT 1: "upon receiving a known message with insufficient length for the contents: MUST close the connection".
fn decode(bytes: &[u8]) -> Result<Message, Disconnect> {
    let type_id = bytes.first_chunk::<2>().map_or(0, |bytes| u16::from_be_bytes(*bytes));
    Message::decode(bytes).map_err(|error| Disconnect::Undecodable { type_id, error })
}

fn warning(text: &str) -> Message {
    let data = text.as_bytes().to_vec();
    WarningMessage { channel_id: ChannelId::ALL, data, unknown: TlvRecords::new() }.into()
}

/// Bytes kept while a connection waits for the end of the one before it. More than adapters read at once.
const STASH_BOUND: usize = 1024 * 1024;
/// Texts of one peer that are logged between two ticks.
const LOGS_PER_TICK: u8 = 10;
