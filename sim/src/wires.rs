//! Connections between nodes: who believes in which, and what is on its way over them.
//!
//! A connection is something that each side believes in. When it breaks, one side may not notice for a while: it goes on
//! sending, and nothing arrives (half-open). What was handed over before a side went away may still arrive.
//!
//! # Invariants
//! - messages of one connection arrive in their order, and none of an earlier one
use std::collections::{BTreeMap, VecDeque};

/// What travels over a wire.
#[derive(Clone, Debug)]
pub(crate) enum Frame {
    /// Bytes of a message.
    Message(Vec<u8>),
    /// The other side has hung up.
    Close,
}

/// All wires.
#[derive(Debug, Default)]
pub(crate) struct Wires {
    /// In which connection a node believes to another node.
    sessions: BTreeMap<(usize, usize), u64>,
    queues: BTreeMap<(usize, usize), VecDeque<Frame>>,
    /// How many frames at the front of a queue were sent by a node that has lost its memory since.
    old: BTreeMap<(usize, usize), usize>,
    made: u64,
}

impl Wires {
    /// Whether `here` believes to be connected to `there`.
    pub(crate) fn believes(&self, here: usize, there: usize) -> bool {
        self.sessions.contains_key(&(here, there))
    }

    /// Whether both believe in the same connection.
    pub(crate) fn is_up(&self, a: usize, b: usize) -> bool {
        let session = self.sessions.get(&(a, b));
        session.is_some() && session == self.sessions.get(&(b, a))
    }

    /// A new connection, of which both know.
    pub(crate) fn connect(&mut self, a: usize, b: usize) {
        self.made += 1;
        for ends in [(a, b), (b, a)] {
            self.sessions.insert(ends, self.made);
            self.queues.remove(&ends);
            self.old.remove(&ends);
        }
    }

    /// `here` loses its memory: what it has said before is on its way still.
    pub(crate) fn grow_old(&mut self, here: usize) {
        for (ends, queue) in self.queues.iter().filter(|((from, _), _)| *from == here) {
            self.old.insert(*ends, queue.len());
        }
    }

    /// `here` believes in no connection to `there` any more. What it sent before may still arrive, what was sent to it is lost.
    pub(crate) fn leave(&mut self, here: usize, there: usize) -> bool {
        self.queues.remove(&(there, here));
        self.old.remove(&(there, here));
        self.sessions.remove(&(here, there)).is_some()
    }

    /// What is on its way from `here` is lost, but for the first `kept` frames.
    pub(crate) fn lose(&mut self, here: usize, there: usize, kept: usize) {
        if let Some(queue) = self.queues.get_mut(&(here, there)) {
            queue.truncate(kept);
            self.old.entry((here, there)).and_modify(|old| *old = (*old).min(kept));
        }
    }

    /// Puts a frame on the wire; lost when nobody listens.
    pub(crate) fn push(&mut self, from: usize, to: usize, frame: Frame) {
        if self.believes(to, from) {
            self.queues.entry((from, to)).or_default().push_back(frame);
        }
    }

    /// The next frame that arrives at `to`, and whether its sender has lost its memory since.
    pub(crate) fn pop(&mut self, from: usize, to: usize) -> Option<(Frame, bool)> {
        let frame = self.queues.get_mut(&(from, to))?.pop_front()?;
        let old = self.old.get_mut(&(from, to)).filter(|old| **old > 0);
        let is_old = old.map(|old| *old -= 1).is_some();
        Some((frame, is_old))
    }

    /// The next frame, to be changed on its way.
    pub(crate) fn next_mut(&mut self, from: usize, to: usize) -> Option<&mut Frame> {
        self.queues.get_mut(&(from, to))?.front_mut()
    }

    /// How many frames are on their way.
    pub(crate) fn waiting(&self, from: usize, to: usize) -> usize {
        self.queues.get(&(from, to)).map_or(0, VecDeque::len)
    }

    /// Wires with something on its way.
    pub(crate) fn busy(&self) -> Vec<(usize, usize)> {
        self.queues.iter().filter(|(_, queue)| !queue.is_empty()).map(|(ends, _)| *ends).collect()
    }

    /// With whom `node` believes to be connected.
    pub(crate) fn peers_of(&self, node: usize) -> Vec<usize> {
        self.sessions.keys().filter(|(here, _)| *here == node).map(|(_, there)| *there).collect()
    }

    /// Half-open connections: who still believes, and in whom.
    pub(crate) fn half_open(&self) -> Vec<(usize, usize)> {
        self.sessions.keys().copied().filter(|(here, there)| !self.is_up(*here, *there)).collect()
    }
}
