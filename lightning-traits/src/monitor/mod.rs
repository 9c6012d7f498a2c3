//! What passes between a channel and its monitor.
//!
//! `init.rs` what a monitor starts from, `update.rs` what it learns, `receipt.rs` how it answers,
//! `event.rs` what it reports, `stored.rs` what a store hands back after a restart.
mod event;
mod init;
mod receipt;
mod stored;
mod update;

pub use event::{HtlcOutcome, MonitorEvent, SpendKind};
pub use init::{MonitorInit, NewMonitor, PartyTerms};
pub use receipt::{LateRefusal, MonitorRefusal, Persist, Receipt};
pub use stored::{MonitorSnapshot, PastPart, StoredChannel, StoredChannels};
pub use update::{ChannelMonitorUpdate, CommitmentChange, MonitorStep, RecordChange};
