//! An LDK node in this process: everything it needs on one folder, so that it can be dropped and started again.
//!
//! `backend` is what LDK asks its user for (log, fees, broadcast, wallet), `events` how it answers its events,
//! `journal` what they told, `start` how the parts are put together, `commands` what a test does with it.
mod backend;
mod commands;
mod events;
mod journal;
mod start;

pub use journal::{Incoming, Journal, Outgoing};
pub use start::entropy;
pub use start::{LdkNode, LdkOptions};
