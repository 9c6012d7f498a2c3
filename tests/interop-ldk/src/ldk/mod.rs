//! An LDK node in this process: everything it needs on one folder, so that it can be dropped and started again.
//!
//! `backend` is what LDK asks its user for (log, fees, broadcast, wallet), `journal` what its events told,
//! `start` how the parts are put together, `commands` what a test does with it.
mod backend;
mod commands;
mod journal;
mod start;

pub use commands::{ChannelView, Close, PaymentResult, hash_of};
pub use journal::{Incoming, Journal, Outgoing};
pub use start::{LdkNode, LdkOptions};
