//! Events for the user: numbered, repeated until acknowledged (I11).
//!
//! # Invariants
//! - an event that comes again out of durable state, in this run or after a restart, keeps its id as far as the manager's
//!   record knows it; no id is ever used for two, however old the record is that comes back
use alloc::collections::BTreeMap;

use lightning_traits::event::Event;
use lightning_traits::id::{ChannelId, EventId, HtlcId, NodeId, PaymentId};
use lightning_traits::payment::PaymentHash;
use lightning_traits::record;

/// Where an event comes from, and so what its acknowledgement means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Source {
    /// The end of a payment of ours.
    Payment { id: PaymentId },
    /// A payment to us is claimed.
    Claimed { hash: PaymentHash },
    /// A payment to us waits for a decision.
    Claimable { hash: PaymentHash },
    /// A forward waits for a decision.
    Intercepted { channel: ChannelId, htlc: HtlcId },
    /// The life of a channel.
    Channel { channel: ChannelId, what: u8 },
    /// Told once, gone with a restart.
    Once { number: u64 },
    /// A proposal of a peer waits for a decision; gone with the peer.
    Request { peer: NodeId, temporary: ChannelId },
}
record!(enum Source {
    0 => Payment { id }, 1 => Claimed { hash }, 2 => Claimable { hash }, 3 => Channel { channel, what }, 4 => Once { number },
    5 => Intercepted { channel, htlc }, 6 => Request { peer, temporary },
});

impl Source {
    /// The source of an event of a channel that comes again out of its record; `None` when it is told once.
    pub(crate) const fn of_channel(event: &Event) -> Option<Self> {
        Some(match event {
            Event::ChannelPending { channel, .. } => Self::Channel { channel: *channel, what: 0 },
            Event::ChannelReady { channel, .. } => Self::Channel { channel: *channel, what: 1 },
            Event::ChannelClosed { channel, .. } => Self::Channel { channel: *channel, what: 2 },
            Event::FundingSafe { channel, .. } => Self::Channel { channel: *channel, what: 4 },
            Event::FundingNeeded { temporary, .. } => Self::funding_needed(*temporary),
            _ => return None,
        })
    }

    /// The source of the event that asks for a funding transaction.
    pub(crate) const fn funding_needed(temporary: ChannelId) -> Self {
        Self::Channel { channel: temporary, what: 3 }
    }

    const fn outlives_restart(&self) -> bool {
        !matches!(self, Self::Once { .. } | Self::Request { .. })
    }
}

/// The first id of a start is the height times this, and by chance up to this more.
const START_SPAN: u64 = 1 << 40;

/// The first id of a start at `height`. No id may be used twice, though the record that reserved it never reached the disk: ids
/// grow with the chain, and two starts at one height begin apart.
pub(crate) const fn first_id(height: u32, chance: [u8; 3]) -> u64 {
    let [a, b, c] = chance;
    ((height as u64) << 40) | ((u32::from_be_bytes([0, a, b, c]) as u64) << 16)
}

/// Ids that a record reserves: that many events may come before the next record is due.
const RESERVE: u64 = 1_024;

/// Events that are not acknowledged.
#[derive(Debug)]
pub(crate) struct Events {
    next: u64,
    reserved: u64,
    pending: BTreeMap<EventId, (Event, Source)>,
    ids: BTreeMap<Source, EventId>,
}

impl Events {
    /// No events; ids start at `first`.
    pub(crate) const fn new(first: u64) -> Self {
        Self { next: first, reserved: first, pending: BTreeMap::new(), ids: BTreeMap::new() }
    }

    /// Tells an event. One of the same source takes the place of the earlier.
    pub(crate) fn tell(&mut self, event: Event, source: Source) {
        let id = match self.ids.get(&source) {
            Some(id) => *id,
            None => {
                let id = EventId(self.next);
                self.next = self.next.saturating_add(1);
                self.ids.insert(source, id);
                id
            }
        };
        self.pending.insert(id, (event, source));
    }

    /// Tells an event that nothing durable stands behind.
    pub(crate) fn tell_once(&mut self, event: Event) {
        let source = Source::Once { number: self.next };
        self.tell(event, source);
    }

    /// Takes an event back that is not true any more.
    pub(crate) fn withdraw(&mut self, source: &Source) {
        if let Some(id) = self.ids.remove(source) {
            self.pending.remove(&id);
        }
    }

    /// The first event above `after`.
    pub(crate) fn after(&self, after: Option<EventId>) -> Option<(EventId, Event)> {
        let from = after.map_or(EventId(0), EventId::next);
        self.pending.range(from..).next().map(|(id, (event, _))| (*id, event.clone()))
    }

    /// The user has dealt with an event.
    pub(crate) fn acknowledge(&mut self, id: EventId) -> Option<(Event, Source)> {
        let (event, source) = self.pending.remove(&id)?;
        self.ids.remove(&source);
        Some((event, source))
    }

    /// Whether the ids that the last record reserved run out.
    pub(crate) const fn runs_out(&self) -> bool {
        self.next >= self.reserved
    }

    /// For the manager's record: ids below the answer may be in use, and those of events that may come again.
    pub(crate) fn reserve(&mut self) -> (u64, alloc::vec::Vec<(EventId, Source)>) {
        self.reserved = self.next.saturating_add(RESERVE);
        let lasting = self.pending.iter().filter(|(_, (_, source))| source.outlives_restart());
        (self.reserved, lasting.map(|(id, (_, source))| (*id, *source)).collect())
    }

    /// Takes back what [`reserve`](Self::reserve) gave. The record may be an old one, and another start may have gone on from
    /// it already: so this start goes on as far from it as its dice say.
    pub(crate) fn restore(&mut self, next: u64, ids: impl IntoIterator<Item = (EventId, Source)>) {
        self.next = self.next.max(next.saturating_add(self.next % START_SPAN));
        self.reserved = self.next;
        self.ids.extend(ids.into_iter().filter(|(id, _)| id.0 < next).map(|(id, source)| (source, id)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(byte: u8) -> Event {
        Event::Resolved { channel: ChannelId([byte; 32]) }
    }

    #[test]
    fn an_event_is_repeated_until_acknowledged_and_keeps_its_id_over_a_restart() {
        let mut events = Events::new(10);
        let source = Source::Claimed { hash: PaymentHash([1; 32]) };
        events.tell_once(resolved(1));
        events.tell(resolved(2), source);
        assert_eq!(events.after(None), Some((EventId(10), resolved(1))));
        assert_eq!(events.after(Some(EventId(10))), Some((EventId(11), resolved(2))));
        let (next, ids) = events.reserve();

        let mut again = Events::new(0);
        again.restore(next, ids);
        again.tell_once(resolved(3));
        again.tell(resolved(2), source);
        assert_eq!(again.after(None), Some((EventId(11), resolved(2))));
        assert!(again.after(Some(EventId(11))).is_some_and(|(id, _)| id.0 >= 12));
        assert_eq!(again.acknowledge(EventId(11)), Some((resolved(2), source)));
        assert_eq!(again.acknowledge(EventId(11)), None);
        again.tell(resolved(2), source);
        assert!(again.after(None).is_some_and(|(id, _)| id.0 > 11));
    }

    #[test]
    fn two_starts_from_one_record_use_no_id_twice() {
        let mut events = Events::new(first_id(100, [7, 7, 7]));
        events.tell_once(resolved(1));
        let (next, _) = events.reserve();
        let ids_of_start = |height, chance| {
            let mut again = Events::new(first_id(height, chance));
            again.restore(next, []);
            (0..2_000).for_each(|_| again.tell_once(resolved(2)));
            let (first, _) = again.after(None).unwrap();
            first.0..again.next
        };
        // An old backup is restored twice at one height, and at a height before the record's own.
        let starts =
            [ids_of_start(100, [0, 0, 1]), ids_of_start(100, [0, 0, 2]), ids_of_start(90, [0, 0, 3])];
        for (at, start) in starts.iter().enumerate() {
            assert!(start.start > next, "{start:?} is not above what the record reserved, {next}");
            for other in &starts[at + 1..] {
                assert!(start.end <= other.start || other.end <= start.start, "{start:?} meets {other:?}");
            }
        }
    }

    #[test]
    fn the_same_source_tells_one_event_and_can_take_it_back() {
        let mut events = Events::new(0);
        let source = Source::Claimable { hash: PaymentHash([1; 32]) };
        events.tell(resolved(1), source);
        events.tell(resolved(2), source);
        assert_eq!(events.after(None), Some((EventId(0), resolved(2))));
        assert_eq!(events.after(Some(EventId(0))), None);
        events.withdraw(&source);
        assert_eq!(events.after(None), None);
    }
}
