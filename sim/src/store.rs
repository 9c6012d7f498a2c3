//! A small log-structured store, which the nodes here keep everything in: what real ones promise, on files that tear.
//!
//! One file, to which entries are appended: length, checksum, bytes. The checksum goes over the one before it, so that nothing
//! old is taken for the end of something new. What is read back is what stands before the first entry that does not fit. Now and
//! then, and whenever it is opened, everything is written anew beside it, flushed, and takes its name.
//!
//! # Invariants
//! - an entry counts once it is flushed; after a flush that failed nothing counts any more until the store is opened again
//! - opening finds every entry that counted, and of the others the first few
//! - nothing that was only found in memory is relied upon: opening writes it anew
use std::collections::BTreeMap;

extern crate alloc;

use bitcoin::BlockHash;
use bitcoin::hashes::Hash as _;
use lightning_traits::codec::{Decode, DecodeError, Encode, Reader, decode_list, encode_list};
use lightning_traits::id::{ChannelId, UpdateId};
use lightning_traits::monitor::{MonitorSnapshot, RecordChange, StoredChannel};
use lightning_traits::record;
use lightning_traits::units::BlockHeight;

use crate::dice::Dice;
use crate::disk::Marks;
use crate::media::{Media, MediaError};
use crate::oracle::{Oracle, hold};

const LOG: &str = "log";
const NEXT_LOG: &str = "log.new";
const MAGIC: u64 = 0x6c6f_675f_7369_6d31;
const HEADER: usize = 16;
const HEAD: usize = 12;
/// Bytes by which a log may grow before it is written anew, beside what it had.
const SLACK: usize = 1 << 17;

/// What changes at once.
#[derive(Clone, Debug)]
pub(crate) enum Entry {
    /// A channel as it is, when everything is written anew.
    Whole { channel: ChannelId, stored: Kept },
    /// What promises depend on, of a channel that may be gone.
    Known { channel: ChannelId, marks: Marks },
    /// A channel begins.
    New { channel: ChannelId, bytes: Vec<u8>, record: Vec<u8> },
    /// A channel goes on.
    Update {
        channel: ChannelId,
        id: UpdateId,
        bytes: Vec<u8>,
        snapshot: Option<MonitorSnapshot>,
        record: RecordChange,
        teaches: Marks,
    },
    /// The chain has changed a monitor.
    ChainState { channel: ChannelId, snapshot: MonitorSnapshot },
    /// A channel is over.
    Archive { channel: ChannelId },
    /// Everything before is true up to this block.
    Tip { hash: [u8; 32], height: u32 },
    /// A value by its name.
    Put { key: Vec<u8>, value: Vec<u8> },
}
record!(enum Entry {
    0 => Whole { channel, stored },
    1 => Known { channel, marks },
    2 => New { channel, bytes, record },
    3 => Update { channel, id, bytes, snapshot, record, teaches },
    4 => ChainState { channel, snapshot },
    5 => Archive { channel },
    6 => Tip { hash, height },
    7 => Put { key, value },
});

/// A stored channel, as it is encoded.
#[derive(Clone, Debug)]
pub(crate) struct Kept(pub(crate) StoredChannel);

impl Encode for Kept {
    fn encode(&self, out: &mut Vec<u8>) {
        let StoredChannel { new, monitor, past, updates, record, record_changes, last_update } = &self.0;
        new.encode(out);
        monitor.encode(out);
        encode_list(past, out);
        encode_list(updates, out);
        record.encode(out);
        encode_list(record_changes, out);
        last_update.encode(out);
    }
}

impl Decode for Kept {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (new, monitor) = (reader.read()?, reader.read()?);
        let past = decode_list(reader)?;
        let (updates, record) = (decode_list(reader)?, reader.read()?);
        let (record_changes, last_update) = (decode_list(reader)?, reader.read()?);
        Ok(Self(StoredChannel { new, monitor, past, updates, record, record_changes, last_update }))
    }
}

/// What survives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Durable {
    pub(crate) channels: BTreeMap<ChannelId, StoredChannel>,
    pub(crate) tip: Option<(BlockHash, BlockHeight)>,
    pub(crate) values: BTreeMap<String, Vec<u8>>,
    pub(crate) marks: BTreeMap<ChannelId, Marks>,
}

impl Durable {
    pub(crate) fn apply(&mut self, entry: Entry) {
        match entry {
            Entry::Whole { channel, stored } => drop(self.channels.insert(channel, stored.0)),
            Entry::Known { channel, marks } => drop(self.marks.insert(channel, marks)),
            Entry::New { channel, bytes, record } => {
                let stored = StoredChannel { new: bytes, record, ..StoredChannel::default() };
                let before = self.channels.insert(channel, stored);
                assert!(before.is_none(), "channel {channel} is stored twice");
                self.marks.insert(channel, Marks::default());
            }
            Entry::Update { channel, id, bytes, snapshot, record, teaches } => {
                self.marks.entry(channel).or_default().learn(teaches);
                let stored = self.channels.get_mut(&channel).expect("an update of no channel");
                assert_eq!(stored.last_update.next(), id, "updates of {channel} out of order");
                update(stored, id, bytes, snapshot, record);
            }
            Entry::ChainState { channel, snapshot } => {
                if let Some(stored) = self.channels.get_mut(&channel) {
                    stored.take_snapshot(snapshot);
                }
            }
            Entry::Archive { channel } => drop(self.channels.remove(&channel)),
            Entry::Tip { hash, height } => {
                self.tip = Some((BlockHash::from_byte_array(hash), BlockHeight::new(height)));
            }
            Entry::Put { key, value } => {
                self.values.insert(String::from_utf8_lossy(&key).into_owned(), value);
            }
        }
    }

    /// All of it as entries.
    fn entries(&self) -> Vec<Entry> {
        let channels = self.channels.iter();
        let whole = channels
            .map(|(channel, stored)| Entry::Whole { channel: *channel, stored: Kept(stored.clone()) });
        let known = self
            .marks
            .iter()
            .map(|(channel, marks)| Entry::Known { channel: *channel, marks: marks.clone() });
        let tip =
            self.tip.map(|(hash, height)| Entry::Tip { hash: hash.to_byte_array(), height: height.get() });
        let put = |(key, value): (&String, &Vec<u8>)| Entry::Put {
            key: key.clone().into_bytes(),
            value: value.clone(),
        };
        whole.chain(known).chain(tip).chain(self.values.iter().map(put)).collect()
    }
}

fn update(
    stored: &mut StoredChannel,
    id: UpdateId,
    bytes: Vec<u8>,
    snapshot: Option<MonitorSnapshot>,
    record: RecordChange,
) {
    stored.last_update = id;
    match snapshot {
        Some(snapshot) => stored.take_snapshot(snapshot),
        None => stored.updates.push(bytes),
    }
    match record {
        RecordChange::Same {} => {}
        RecordChange::Append { bytes } => stored.record_changes.push(bytes),
        RecordChange::Snapshot { bytes } => {
            stored.record = bytes;
            stored.record_changes.clear();
        }
    }
}

/// The store of one node.
#[derive(Default)]
pub(crate) struct Store {
    pub(crate) media: Media,
    /// What counts.
    state: Durable,
    /// What is appended and not flushed.
    pending: Vec<Entry>,
    /// Where the next entry goes, and the checksum of the one before.
    end: usize,
    sum: u64,
    /// How long the log was when it was written anew, and how often it was.
    base: usize,
    generation: u64,
    is_frozen: bool,
}

impl Store {
    /// A store with this in it.
    pub(crate) fn holding(state: Durable) -> Self {
        let mut store = Self { state, ..Self::default() };
        store.write_anew().expect("a device without fault");
        store
    }

    /// What counts.
    pub(crate) const fn state(&self) -> &Durable {
        &self.state
    }

    /// Whether a flush has failed: nothing is taken any more.
    pub(crate) const fn is_frozen(&self) -> bool {
        self.is_frozen
    }

    /// Whether a value of this name waits to be flushed.
    pub(crate) fn is_writing(&self, name: &str) -> bool {
        self.pending.iter().any(|entry| matches!(entry, Entry::Put { key, .. } if key == name.as_bytes()))
    }

    /// How many entries wait to be flushed.
    pub(crate) const fn waiting(&self) -> usize {
        self.pending.len()
    }

    /// Puts an entry at the end of the log; it does not count yet. After an error the log ends where it did.
    pub(crate) fn append(&mut self, entry: Entry) -> Result<(), MediaError> {
        if self.is_frozen {
            return Err(MediaError::Io);
        }
        if self.base == 0 {
            self.write_anew()?;
        }
        let (bytes, sum) = framed(&entry, self.sum);
        self.media.write(LOG, self.end, &bytes)?;
        self.end += bytes.len();
        self.sum = sum;
        self.pending.push(entry);
        Ok(())
    }

    /// What was appended counts. After an error nothing ever will: nobody knows what is on the platter.
    pub(crate) fn flush(&mut self) -> Result<(), MediaError> {
        if self.is_frozen {
            return Err(MediaError::Io);
        }
        if let Err(error) = self.media.flush(LOG) {
            self.is_frozen = true;
            return Err(error);
        }
        for entry in self.pending.drain(..) {
            self.state.apply(entry);
        }
        if self.end > self.base + self.base / 2 + SLACK {
            // What is flushed is durable, whatever becomes of the new log.
            let _later = self.write_anew();
        }
        Ok(())
    }

    /// Writes all that counts into a new log, which takes the place of the old one.
    fn write_anew(&mut self) -> Result<(), MediaError> {
        let (end, sum) = self.write_beside()?;
        if let Err(error) = self.media.flush(NEXT_LOG) {
            self.is_frozen = true;
            return Err(error);
        }
        self.media.rename(NEXT_LOG, LOG);
        // From here on the new log is the one that grows: whoever cannot make its name durable must not go on.
        (self.end, self.sum, self.base) = (end, sum, end);
        if let Err(error) = self.media.flush_names() {
            self.is_frozen = true;
            return Err(error);
        }
        Ok(())
    }

    /// Writes a new log, and says how long it is.
    fn write_beside(&mut self) -> Result<(usize, u64), MediaError> {
        self.generation += 1;
        let mut bytes = [MAGIC.to_be_bytes(), self.generation.to_be_bytes()].concat();
        let mut sum = checksum(0, &bytes);
        for entry in self.state.entries() {
            let (framed, next) = framed(&entry, sum);
            bytes.extend(framed);
            sum = next;
        }
        self.media.create(NEXT_LOG);
        self.media.write(NEXT_LOG, 0, &bytes)?;
        Ok((bytes.len(), sum))
    }

    /// The process ends, and with `power` the machine; the store is opened again, and what it finds is compared with what it
    /// must find. What was wrong with the device is mended.
    pub(crate) fn reopen(&mut self, power: Option<&mut Dice>) {
        self.media.fault = None;
        if let Some(dice) = power {
            if self.pending.is_empty() && !self.is_frozen && dice.once_in(4) {
                // In the middle of writing it anew.
                let _unfinished = self.write_beside();
                let is_flushed = dice.once_in(2);
                if is_flushed {
                    let _flushed = self.media.flush(NEXT_LOG);
                    if dice.once_in(2) {
                        self.media.rename(NEXT_LOG, LOG);
                    }
                }
            }
            self.media.cut(dice);
        }
        let found = self.media.read(LOG).map(read_all).unwrap_or_default();
        let mut expected = core::mem::take(&mut self.state);
        let mut pending = core::mem::take(&mut self.pending).into_iter();
        let mut is_same = found == expected;
        while !is_same && let Some(entry) = pending.next() {
            expected.apply(entry);
            is_same = found == expected;
        }
        hold(Oracle::Durable, is_same, || "a store does not find what it has acknowledged".to_owned());
        self.state = found;
        self.is_frozen = false;
        self.write_anew().expect("a device without fault");
    }
}

/// What a log says, up to the first entry that does not fit.
fn read_all(log: &[u8]) -> Durable {
    let mut found = Durable::default();
    let Some((header, mut rest)) = log.split_at_checked(HEADER) else { return found };
    if header[..8] != MAGIC.to_be_bytes() {
        return found;
    }
    let mut sum = checksum(0, header);
    while let Some((head, body)) = rest.split_at_checked(HEAD) {
        let length = u32::from_be_bytes(head[..4].try_into().expect("four bytes")) as usize;
        let Some((bytes, behind)) = body.split_at_checked(length) else { break };
        let next = checksum(sum, bytes);
        if length == 0 || head[4..] != next.to_be_bytes() {
            break;
        }
        let Ok(entry) = Entry::decode(&mut Reader::new(bytes)) else { break };
        found.apply(entry);
        (sum, rest) = (next, behind);
    }
    found
}

/// An entry as it stands in a log, and its checksum.
fn framed(entry: &Entry, before: u64) -> (Vec<u8>, u64) {
    let mut bytes = vec![0; HEAD];
    entry.encode(&mut bytes);
    let sum = checksum(before, &bytes[HEAD..]);
    let length = (bytes.len() - HEAD) as u32;
    bytes[..4].copy_from_slice(&length.to_be_bytes());
    bytes[4..HEAD].copy_from_slice(&sum.to_be_bytes());
    (bytes, sum)
}

/// Depends on every byte, and on the checksum before.
fn checksum(before: u64, bytes: &[u8]) -> u64 {
    let mut sum = before ^ bytes.len() as u64 ^ MAGIC;
    for chunk in bytes.chunks(8) {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        sum = (sum.rotate_left(5) ^ u64::from_le_bytes(word)).wrapping_mul(0x517c_c1b7_2722_0a95);
    }
    sum ^ (sum >> 29)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::Fault;

    fn put(number: u32) -> Entry {
        let value = vec![number as u8; 40 + (number as usize * 97) % 1_500];
        Entry::Put { key: format!("{}", number % 7).into_bytes(), value }
    }

    /// What is expected after the first `count` entries.
    fn after(count: u32) -> Durable {
        let mut state = Durable::default();
        (0..count).for_each(|number| state.apply(put(number)));
        state
    }

    #[test]
    fn a_cut_leaves_what_was_flushed_and_perhaps_some_more() {
        let mut more = 0;
        for seed in 0..300 {
            let mut dice = Dice::new(seed);
            let mut store = Store::holding(Durable::default());
            let flushed = dice.roll(30) as u32;
            (0..flushed).for_each(|number| store.append(put(number)).unwrap());
            store.flush().unwrap();
            let all = flushed + dice.roll(8) as u32;
            (flushed..all).for_each(|number| store.append(put(number)).unwrap());
            store.reopen(Some(&mut dice));
            let kept = (flushed..=all).find(|count| *store.state() == after(*count));
            more += kept.expect("a prefix") - flushed;
        }
        assert!(more > 20, "unflushed entries survive now and then: {more}");
    }

    #[test]
    fn a_process_that_dies_finds_all_that_it_has_written() {
        let mut store = Store::holding(Durable::default());
        (0..20).for_each(|number| store.append(put(number)).unwrap());
        store.reopen(None);
        assert_eq!(*store.state(), after(20));
        // What it found in memory is on the platter now.
        store.reopen(Some(&mut Dice::new(3)));
        assert_eq!(*store.state(), after(20));
    }

    #[test]
    fn after_a_failed_flush_nothing_is_taken_until_it_is_opened_again() {
        for seed in 0..100 {
            let mut store = Store::holding(after(3));
            (3..9).for_each(|number| store.append(put(number)).unwrap());
            store.media.fault = Some(Fault::Flush);
            assert_eq!(store.flush(), Err(MediaError::Io));
            store.media.fault = None;
            assert_eq!(store.append(put(9)), Err(MediaError::Io));
            assert_eq!(store.flush(), Err(MediaError::Io));
            // A process that dies alone reads from memory what the platter has lost, and must not build on it.
            let mut dice = Dice::new(seed);
            store.reopen(if seed % 2 == 0 { None } else { Some(&mut dice) });
            let found = store.state().clone();
            assert!((3..=9).any(|count| found == after(count)));
            store.append(put(30)).unwrap();
            store.flush().unwrap();
            let expected = store.state().clone();
            store.reopen(Some(&mut dice));
            assert_eq!(*store.state(), expected);
        }
    }

    #[test]
    fn a_full_device_takes_the_same_entry_later() {
        for fault in [Fault::NoRoom, Fault::Write] {
            let mut store = Store::holding(Durable::default());
            store.media.fault = Some(fault);
            assert!(store.append(put(0)).is_err());
            store.media.fault = None;
            store.append(put(1)).unwrap();
            store.flush().unwrap();
            store.reopen(Some(&mut Dice::new(5)));
            let mut expected = Durable::default();
            expected.apply(put(1));
            assert_eq!(*store.state(), expected);
        }
    }

    #[test]
    fn a_long_log_is_written_anew() {
        let mut store = Store::holding(Durable::default());
        for number in 0..2_000 {
            store.append(put(number)).unwrap();
            store.flush().unwrap();
        }
        assert!(store.media.read(LOG).unwrap().len() < 3 * SLACK);
        store.reopen(Some(&mut Dice::new(8)));
        assert_eq!(*store.state(), after(2_000));
    }
}
