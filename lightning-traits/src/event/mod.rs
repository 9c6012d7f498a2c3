//! What structures report: messages for peers, events for the user.
//!
//! # Invariants
//! - every user event has an id, is repeated until acknowledged, and is safe to handle twice (I11)
//! - messages are handed out once and never persisted (I4)
mod message;
mod user;

pub use message::MessageSendEvent;
pub use user::{ChannelRequest, CloseReason, Event, PaymentFailure, ProbeResult, ReceivedKind};
