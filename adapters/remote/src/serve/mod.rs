//! The tower's side: a service for each client, in front of whatever keeps the client's monitors.
//!
//! [`MonitorService`] speaks to one client and calls its [`Backing`]; `track.rs` knows how far each channel is durable.
//! [`Desk`] stands between the transport and all services. Who is a client, and which backing is theirs, the tower decides
//! ([`Admission`]).
//!
//! # Invariants
//! - an acknowledgement is signed after the receipt, and leaves after the chain's head is durable too (RELIABILITY L8, L18)
//! - a client never sees, changes or delays another's channels: two clients may well be the two ends of one channel
mod desk;
mod service;
mod track;

use bitcoin::BlockHash;
use lightning_traits::id::ChannelId;
use lightning_traits::interface::ManyChannelMonitor;
use lightning_traits::monitor::MonitorRefusal;
use lightning_traits::units::BlockHeight;

use crate::wire::Mode;
use crate::wire::chain::{Kept, Memory};
use crate::wire::state::ChannelState;

pub use desk::{Admission, Desk};
pub use service::{Bounds, MonitorService, Served};

/// What keeps the monitors of one client: a set of monitors over a store, and a little memory beside them.
///
/// Nothing of it is called under a lock, and each call may lead to a later answer.
pub trait Backing: ManyChannelMonitor {
    /// What is done with what is kept.
    fn mode(&self) -> Mode;

    /// How far each channel is durable, and the name of its last update where it is still known
    /// ([`head_of`](crate::wire::state::head_of)). Asked once, when the service is made.
    fn heads(&self) -> Vec<Kept>;

    /// Everything durable of one channel, for a client that has lost it, or tries whether it is there.
    fn fetch(&self, channel: ChannelId) -> Option<ChannelState>;

    /// Puts a whole channel in the place of whatever is kept of it. What was taken of it before and is not durable is void, and
    /// gets no receipt. The chain above [`ChannelState::seen`] must be shown to its monitor again, before this is answered.
    fn replace(&self, channel: ChannelId, state: ChannelState);

    /// The next [`Backing::replace`] that is done: durable, or refused.
    fn next_replaced(&self) -> Option<(ChannelId, Result<(), MonitorRefusal>)>;

    /// Makes this durable, in the place of what was there before.
    fn write_memory(&self, memory: Memory);

    /// The last memory that is durable.
    fn written_memory(&self) -> Memory;

    /// Up to which block the monitors have looked.
    fn tip(&self) -> Option<(BlockHash, BlockHeight)>;

    /// Whether so many bytes more may be kept for this client. What serves a breach already known is never asked about.
    fn has_room(&self, _bytes: usize) -> bool {
        true
    }

    /// Something that only this mode understands; what it answers with is sent.
    fn on_other(&self, _kind: u16, _body: Vec<u8>) -> Option<(u16, Vec<u8>)> {
        None
    }

    /// Something that this mode has to say of its own accord.
    fn next_other(&self) -> Option<(u16, Vec<u8>)> {
        None
    }

    /// The next channel that is kept no longer: its client has let go of it, or it is resolved.
    fn next_gone(&self) -> Option<ChannelId> {
        None
    }
}

/// A table: what goes through a pointer goes to what it points at.
macro_rules! through_pointers {
    ($($pointer:ty),*) => {$(
        impl<T: Backing + ?Sized> Backing for $pointer {
            fn mode(&self) -> Mode {
                (**self).mode()
            }
            fn heads(&self) -> Vec<Kept> {
                (**self).heads()
            }
            fn fetch(&self, channel: ChannelId) -> Option<ChannelState> {
                (**self).fetch(channel)
            }
            fn replace(&self, channel: ChannelId, state: ChannelState) {
                (**self).replace(channel, state);
            }
            fn next_replaced(&self) -> Option<(ChannelId, Result<(), MonitorRefusal>)> {
                (**self).next_replaced()
            }
            fn write_memory(&self, memory: Memory) {
                (**self).write_memory(memory);
            }
            fn written_memory(&self) -> Memory {
                (**self).written_memory()
            }
            fn tip(&self) -> Option<(BlockHash, BlockHeight)> {
                (**self).tip()
            }
            fn has_room(&self, bytes: usize) -> bool {
                (**self).has_room(bytes)
            }
            fn on_other(&self, kind: u16, body: Vec<u8>) -> Option<(u16, Vec<u8>)> {
                (**self).on_other(kind, body)
            }
            fn next_other(&self) -> Option<(u16, Vec<u8>)> {
                (**self).next_other()
            }
            fn next_gone(&self) -> Option<ChannelId> {
                (**self).next_gone()
            }
        }
    )*};
}
through_pointers!(std::rc::Rc<T>, std::sync::Arc<T>, Box<T>);
