//! What waits to be sent to one peer, in three lanes, each bounded in bytes.
//!
//! Messages wait in the clear and are encrypted when the socket takes them, so a channel message that comes
//! late still overtakes gossip that came early. BOLT 1 asks for one order per channel; the first lane keeps it.
//!
//! # Invariants
//! - order within a lane is the order of entry
//! - a channel message is never dropped: instead we stop reading from the peer, whose answers cause them
//! - gossip is dropped when the peer does not take it; what is ours will be asked for again
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::frame::{FrameWriter, TooLong};

/// Which lane a message goes into. The first goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    /// Control and channel messages.
    Channel,
    /// Custom and onion messages: best effort.
    Other,
    /// BOLT 7.
    Gossip,
}

/// The message did not fit the bound of its lane and is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Dropped;

/// The messages that wait for one peer.
#[derive(Default)]
pub(crate) struct Outbox {
    channel: ByteQueue,
    other: ByteQueue,
    gossip: VecDeque<Arc<[u8]>>,
    gossip_bytes: usize,
    /// Whether the router waits to hear that there is room.
    word_owed: bool,
}

impl Outbox {
    /// Adds a message, encoded with its type.
    pub(crate) fn push(&mut self, lane: Lane, message: &[u8]) -> Result<(), Dropped> {
        match lane {
            Lane::Channel => self.channel.push(message),
            Lane::Other if self.other.len() > OTHER_BOUND => return Err(Dropped),
            Lane::Other => self.other.push(message),
            Lane::Gossip => {
                // An answer in pieces waits for word that this piece went out, however small it is.
                self.word_owed = true;
                return self.push_gossip(message.into(), REPLY_BOUND);
            }
        }
        Ok(())
    }

    /// Adds gossip that many peers get and that is held once for all of them.
    pub(crate) fn push_shared(&mut self, message: Arc<[u8]>) -> Result<(), Dropped> {
        self.push_gossip(message, RELAY_BOUND)
    }

    fn push_gossip(&mut self, message: Arc<[u8]>, bound: usize) -> Result<(), Dropped> {
        let bytes = self.gossip_bytes.saturating_add(message.len());
        self.word_owed |= bytes > GOSSIP_LOW;
        if bytes > bound {
            return Err(Dropped);
        }
        self.gossip_bytes = bytes;
        self.gossip.push_back(message);
        Ok(())
    }

    /// Bytes that wait, without what encryption adds.
    pub(crate) fn pending(&self) -> usize {
        self.channel.len().saturating_add(self.other.len()).saturating_add(self.gossip_bytes)
    }

    /// Whether to go on reading from the peer: not while it does not take what its messages cause.
    pub(crate) fn wants_read(&self) -> bool {
        self.pending() <= READ_BOUND
    }

    /// Whether even the lane that drops nothing has grown beyond all patience.
    pub(crate) fn is_hopeless(&self) -> bool {
        self.channel.len() > CHANNEL_LIMIT
    }

    /// Says once, after an answer was queued or gossip had piled up, that there is room.
    pub(crate) fn take_gossip_low(&mut self) -> bool {
        let low = self.word_owed && self.gossip_bytes <= GOSSIP_LOW;
        if low {
            self.word_owed = false;
        }
        low
    }

    /// Forgets everything that need not arrive before the connection ends.
    pub(crate) fn keep_channel_lane(&mut self) {
        let channel = core::mem::take(&mut self.channel);
        *self = Self { channel, ..Self::default() };
    }

    /// Encrypts messages onto `out` until at least `budget` bytes are written or nothing is left.
    pub(crate) fn transmit(
        &mut self,
        writer: &mut FrameWriter,
        out: &mut Vec<u8>,
        budget: usize,
    ) -> Result<(), TooLong> {
        let end = out.len().saturating_add(budget);
        while out.len() < end {
            if let Some(message) = self.channel.front() {
                writer.write(message, out)?;
                self.channel.pop();
            } else if let Some(message) = self.other.front() {
                writer.write(message, out)?;
                self.other.pop();
            } else if let Some(message) = self.gossip.pop_front() {
                self.gossip_bytes = self.gossip_bytes.saturating_sub(message.len());
                writer.write(&message, out)?;
            } else {
                break;
            }
        }
        Ok(())
    }
}

/// Messages one behind the other in one allocation, each after its two-byte length.
#[derive(Default)]
struct ByteQueue {
    bytes: Vec<u8>,
    head: usize,
}

impl ByteQueue {
    /// Adds a message; its length was checked against 65535 when it was encoded.
    fn push(&mut self, message: &[u8]) {
        let Ok(length) = u16::try_from(message.len()) else { return };
        self.bytes.extend_from_slice(&length.to_be_bytes());
        self.bytes.extend_from_slice(message);
    }

    fn front(&self) -> Option<&[u8]> {
        let (length, rest) = self.bytes.get(self.head..)?.split_first_chunk::<2>()?;
        rest.get(..usize::from(u16::from_be_bytes(*length)))
    }

    fn pop(&mut self) {
        let Some(length) = self.front().map(<[u8]>::len) else { return };
        self.head = self.head.saturating_add(length).saturating_add(2);
        if self.head >= self.bytes.len() {
            self.bytes.clear();
            self.bytes.shrink_to(KEPT_CAPACITY);
            self.head = 0;
        } else if self.head > COMPACT_ABOVE && self.head > self.bytes.len() / 2 {
            // Each byte moves at most once for every byte that left: constant cost over time.
            self.bytes.drain(..self.head);
            self.head = 0;
        }
    }

    fn len(&self) -> usize {
        self.bytes.len().saturating_sub(self.head)
    }
}

/// Custom and onion messages beyond this are dropped.
const OTHER_BOUND: usize = 256 * 1024;
/// Relayed gossip beyond this is dropped.
const RELAY_BOUND: usize = 256 * 1024;
/// Answers to queries beyond this are dropped.
const REPLY_BOUND: usize = 2 * 1024 * 1024;
/// Below this there is room for more of a long answer.
const GOSSIP_LOW: usize = 128 * 1024;
/// With more than this waiting, we do not read. Above the bound of relayed gossip, which the peer does not cause.
const READ_BOUND: usize = 384 * 1024;
/// A peer that leaves so many channel messages untaken is gone.
const CHANNEL_LIMIT: usize = 8 * 1024 * 1024;
const KEPT_CAPACITY: usize = 4096;
const COMPACT_ABOVE: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{FrameReader, framed};
    use crate::noise::Session;

    fn pair() -> (FrameWriter, FrameReader) {
        let (writer, _) = framed(Session::from_keys([1; 32], [2; 32], [3; 32]));
        let (_, reader) = framed(Session::from_keys([2; 32], [1; 32], [3; 32]));
        (writer, reader)
    }

    fn drain(outbox: &mut Outbox, budget: usize) -> Vec<Vec<u8>> {
        let (mut writer, mut reader) = pair();
        let (mut out, mut found) = (Vec::new(), Vec::new());
        outbox.transmit(&mut writer, &mut out, budget).unwrap();
        let mut input = out.as_slice();
        while let Some(message) = reader.read(&mut input).unwrap() {
            found.push(message.to_vec());
        }
        found
    }

    #[test]
    fn channel_messages_overtake_gossip_and_keep_their_order() {
        let mut outbox = Outbox::default();
        outbox.push_shared(Arc::from(&b"gossip"[..])).unwrap();
        outbox.push(Lane::Other, b"onion").unwrap();
        outbox.push(Lane::Channel, b"first").unwrap();
        outbox.push(Lane::Channel, b"second").unwrap();
        let expected: [&[u8]; 4] = [b"first", b"second", b"onion", b"gossip"];
        assert_eq!(drain(&mut outbox, usize::MAX), expected);
        assert_eq!(outbox.pending(), 0);
    }

    #[test]
    fn the_budget_ends_after_the_message_that_reaches_it() {
        let mut outbox = Outbox::default();
        for _ in 0..3 {
            outbox.push(Lane::Channel, &[7; 100]).unwrap();
        }
        assert_eq!(drain(&mut outbox, 134).len(), 1);
        assert_eq!(drain(&mut outbox, 135).len(), 2);
        assert_eq!(outbox.pending(), 0);
    }

    #[test]
    fn gossip_is_dropped_and_channel_messages_stop_reading_instead() {
        let mut outbox = Outbox::default();
        let gossip: Arc<[u8]> = Arc::from(vec![0; 60_000]);
        let taken = (0..10).filter(|_| outbox.push_shared(gossip.clone()).is_ok()).count();
        assert_eq!(taken, RELAY_BOUND / 60_000);
        assert!(outbox.wants_read(), "relayed gossip alone does not stop reading");
        for _ in 0..10 {
            outbox.push(Lane::Channel, &[1; 60_000]).unwrap();
        }
        assert!(!outbox.wants_read());
        assert_eq!(drain(&mut outbox, usize::MAX).len(), 10 + taken);
        assert!(outbox.wants_read());
        assert!(outbox.take_gossip_low());
        assert!(!outbox.take_gossip_low(), "said once");
    }

    #[test]
    fn a_long_queue_is_compacted_without_changing_it() {
        let mut outbox = Outbox::default();
        for number in 0..100_u8 {
            outbox.push(Lane::Channel, &[number; 2000]).unwrap();
        }
        let mut next = 0;
        while outbox.pending() > 0 {
            for message in drain(&mut outbox, 10_000) {
                assert_eq!(message, [next; 2000]);
                next += 1;
            }
        }
        assert_eq!(next, 100);
    }
}
