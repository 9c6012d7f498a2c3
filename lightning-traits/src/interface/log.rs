//! Log records as values, and entropy as an argument.
use core::fmt;

use crate::id::{ChannelId, NodeId};

/// How important a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Every message.
    Trace,
    /// Decisions.
    Debug,
    /// What an operator wants to know.
    Info,
    /// What an operator should look at.
    Warn,
    /// Money or service is at risk.
    Error,
}

/// One record. Carries no secret: secret types print as `..`.
#[derive(Clone, Copy, Debug)]
pub struct LogRecord<'a> {
    /// Importance.
    pub level: Level,
    /// The crate and module that speaks.
    pub module: &'static str,
    /// The peer concerned.
    pub peer: Option<NodeId>,
    /// The channel concerned.
    pub channel: Option<ChannelId>,
    /// The sentence.
    pub message: fmt::Arguments<'a>,
}

/// Takes log records. May be called while a lock is held, so it must not call back (I7).
pub trait Logger {
    /// Takes one record.
    fn log(&self, record: &LogRecord<'_>);
}

impl Logger for () {
    fn log(&self, _: &LogRecord<'_>) {}
}

/// Source of randomness: a component has none of its own (I1).
pub trait EntropySource {
    /// Fills `bytes` with random bytes fit for keys.
    fn fill(&self, bytes: &mut [u8]);

    /// 32 random bytes.
    fn bytes32(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        self.fill(&mut bytes);
        bytes
    }
}
