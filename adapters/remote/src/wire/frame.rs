//! Messages of any length over a transport of messages of at most 65,535 bytes, numbered and with a window.
//!
//! A frame is `kind (1) | session (8) | number (4) | payload`. The client opens a session by a frame with a new session
//! number and number 0; either side sends the frames of its messages one after another. A frame that is missing, double or
//! out of order ends the session: the client opens the next, and both sides compare what they have.
//!
//! # Invariants
//! - what is held of an unfinished message is at most the bytes that came and at most the limit (I9)
//! - at most [`WINDOW`] bytes are under way in each direction, which the transport's best-effort lane holds: it drops none
use std::collections::VecDeque;

use lightning_traits::codec::{DecodeError, Encode, Reader};
use thiserror::Error;

/// The longest payload of a frame.
pub const FRAME_PAYLOAD: usize = 16 * 1024;
/// How many bytes may be under way in one direction before the other side says that it took them.
pub const WINDOW: u32 = 160 * 1024;
/// How many bytes are taken before that is said.
const CREDIT_STEP: u32 = 48 * 1024;
/// What a frame costs besides its payload, so that a flood of empty ones is bounded too.
const FRAME_COST: u32 = 64;

const LAST: u8 = 0;
const MORE: u8 = 1;
const CREDIT: u8 = 2;
const UNKNOWN_SESSION: u8 = 3;

/// Why a session is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Broken {
    /// A frame is missing, double or out of order.
    #[error("frame {got} came where {expected} was expected")]
    Order {
        /// The next number.
        expected: u32,
        /// The number that came.
        got: u32,
    },
    /// Longer than this side takes.
    #[error("a message of more than {0} bytes")]
    TooLong(usize),
    /// More is under way than the window allows.
    #[error("the other side does not wait for its window")]
    Window,
    /// The other side does not know the session.
    #[error("the other side does not know the session")]
    Unknown,
    /// No frame, or no message, at all.
    #[error("not a frame: {0}")]
    Garbled(DecodeError),
}

impl From<DecodeError> for Broken {
    fn from(error: DecodeError) -> Self {
        Self::Garbled(error)
    }
}

/// A frame, read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    kind: u8,
    /// The session that it belongs to.
    pub session: u64,
    number: u32,
    payload: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Reads one.
    ///
    /// # Errors
    /// When the bytes are none.
    pub fn read(bytes: &'a [u8]) -> Result<Self, Broken> {
        let mut reader = Reader::new(bytes);
        let (kind, session, number) = (reader.read::<u8>()?, reader.read()?, reader.read()?);
        let payload = reader.take_rest();
        let is_known = matches!(kind, LAST | MORE | CREDIT | UNKNOWN_SESSION);
        if !is_known || payload.len() > FRAME_PAYLOAD {
            return Err(Broken::Garbled(DecodeError::InvalidValue("frame")));
        }
        Ok(Self { kind, session, number, payload })
    }

    /// Whether it may open a session.
    #[must_use]
    pub const fn opens(&self) -> bool {
        self.number == 0 && matches!(self.kind, LAST | MORE)
    }

    /// Whether the other side says that it does not know our session.
    #[must_use]
    pub const fn says_unknown(&self) -> bool {
        self.kind == UNKNOWN_SESSION
    }
}

fn encode(kind: u8, session: u64, number: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(payload.len().saturating_add(13));
    kind.encode(&mut out);
    session.encode(&mut out);
    number.encode(&mut out);
    out.extend_from_slice(payload);
    out
}

/// What is said to a frame of a session that is not known.
#[must_use]
pub fn unknown_session(session: u64) -> Vec<u8> {
    encode(UNKNOWN_SESSION, session, 0, &[])
}

/// One session, seen from either side.
#[derive(Clone, Debug)]
pub struct Link {
    session: u64,
    /// The longest message that is taken.
    limit: usize,
    next_in: u32,
    next_out: u32,
    unfinished: Vec<u8>,
    /// Messages to send; of the first, as much as was sent is cut off.
    outgoing: VecDeque<Vec<u8>>,
    sent_of_first: usize,
    outgoing_bytes: usize,
    /// What may still be sent.
    window: u32,
    /// What was taken and not yet said.
    owed: u32,
    /// What was taken of messages that are still being handled: withheld on purpose when there is too much work.
    is_holding: bool,
    /// What the other side may still send.
    granted: u32,
}

impl Link {
    /// A session in which nothing was said. Messages of more than `limit` bytes are not taken.
    #[must_use]
    pub const fn new(session: u64, limit: usize) -> Self {
        Self {
            session,
            limit,
            next_in: 0,
            next_out: 0,
            unfinished: Vec::new(),
            outgoing: VecDeque::new(),
            sent_of_first: 0,
            outgoing_bytes: 0,
            window: WINDOW,
            owed: 0,
            is_holding: false,
            granted: WINDOW,
        }
    }

    /// The session's number.
    #[must_use]
    pub const fn session(&self) -> u64 {
        self.session
    }

    /// Takes longer messages from now on, or only shorter ones.
    pub const fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// Bytes of messages that wait to be sent.
    #[must_use]
    pub const fn waiting(&self) -> usize {
        self.outgoing_bytes
    }

    /// Queues a message.
    pub fn push(&mut self, message: Vec<u8>) {
        self.outgoing_bytes = self.outgoing_bytes.saturating_add(message.len());
        self.outgoing.push_back(message);
    }

    /// Lets the other side wait, or go on: no more credit is given while there is too much to do.
    pub const fn hold(&mut self, is_holding: bool) {
        self.is_holding = is_holding;
    }

    /// The next frame to send.
    pub fn next_frame(&mut self) -> Option<Vec<u8>> {
        if self.owed >= CREDIT_STEP && !self.is_holding {
            let owed = core::mem::take(&mut self.owed);
            self.granted = self.granted.saturating_add(owed);
            return Some(encode(CREDIT, self.session, 0, &owed.to_be_bytes()));
        }
        let message = self.outgoing.front()?;
        let rest = message.get(self.sent_of_first..).unwrap_or_default();
        let (part, is_last) = match rest.split_at_checked(FRAME_PAYLOAD) {
            Some((part, rest)) if !rest.is_empty() => (part, false),
            _ => (rest, true),
        };
        let cost = FRAME_COST.saturating_add(part.len() as u32);
        self.window = self.window.checked_sub(cost)?;
        let frame = encode(if is_last { LAST } else { MORE }, self.session, self.next_out, part);
        self.next_out = self.next_out.wrapping_add(1);
        self.outgoing_bytes = self.outgoing_bytes.saturating_sub(part.len());
        self.sent_of_first = self.sent_of_first.saturating_add(part.len());
        if is_last {
            self.outgoing.pop_front();
            self.sent_of_first = 0;
        }
        Some(frame)
    }

    /// Takes a frame of this session; gives the message that it completes.
    ///
    /// # Errors
    /// [`Broken`]: the session is over.
    pub fn on_frame(&mut self, frame: &Frame<'_>) -> Result<Option<Vec<u8>>, Broken> {
        match frame.kind {
            UNKNOWN_SESSION => Err(Broken::Unknown),
            CREDIT => {
                let credit = u32::from_be_bytes(Reader::new(frame.payload).array()?);
                self.window = self.window.saturating_add(credit).min(WINDOW);
                Ok(None)
            }
            _ => self.on_part(frame),
        }
    }

    fn on_part(&mut self, frame: &Frame<'_>) -> Result<Option<Vec<u8>>, Broken> {
        if frame.number != self.next_in {
            return Err(Broken::Order { expected: self.next_in, got: frame.number });
        }
        let cost = FRAME_COST.saturating_add(frame.payload.len() as u32);
        self.granted = self.granted.checked_sub(cost).ok_or(Broken::Window)?;
        self.owed = self.owed.saturating_add(cost);
        self.next_in = self.next_in.wrapping_add(1);
        if self.unfinished.len().saturating_add(frame.payload.len()) > self.limit {
            self.unfinished = Vec::new();
            return Err(Broken::TooLong(self.limit));
        }
        self.unfinished.extend_from_slice(frame.payload);
        Ok((frame.kind == LAST).then(|| core::mem::take(&mut self.unfinished)))
    }
}
