//! What comes out of a structure: messages to send, events for the user.
use crate::event::{Event, MessageSendEvent};
use crate::id::EventId;

/// Has messages for peers.
pub trait MessageSendEventsProvider {
    /// The next message to send, in order for each peer; `None` when there is none now.
    ///
    /// A message is only ever handed out once: the outbox is not durable, since everything in it can be
    /// derived again from the durable records after a reconnect (I4).
    fn next_message(&self) -> Option<MessageSendEvent>;
}

/// Nothing to say to anybody.
impl MessageSendEventsProvider for () {
    fn next_message(&self) -> Option<MessageSendEvent> {
        None
    }
}

/// Has events for the user.
///
/// An event is repeated, with the same id, until it is acknowledged, over restarts too, and is safe to
/// handle twice (I11).
pub trait EventsProvider {
    /// The first event that is not acknowledged and whose id is above `after`.
    fn next_event(&self, after: Option<EventId>) -> Option<(EventId, Event)>;

    /// The user has dealt with the event, durably where that matters. Unknown ids are ignored.
    fn acknowledge_event(&self, id: EventId);
}
