//! The HTLCs that commitments before the latest had, in as few bytes as they can be told apart by.
//!
//! A channel has as many of these as it had HTLCs, and each is kept for as long as the channel lives: any revoked commitment
//! may come to the chain, with each of its HTLCs as an output that is ours to take. So they are kept in memory as they are
//! stored: each but the hash as a difference to the one before it, about 41 bytes in all. They are read only when a revoked
//! commitment is on the chain.
//!
//! They lie in parts of some kilobytes. A part that is full never changes: a store is given it once, and a snapshot of the
//! monitor only has the part that is not full yet.
//!
//! # Invariants
//! - bytes are only ever put behind those that are there, but for a step that is taken back
//! - what is read from a store is checked whole, so that reading it later has no way to fail
use alloc::boxed::Box;
use alloc::vec::Vec;

use lightning_traits::codec::{DecodeError, Encode as _, Reader};
use lightning_traits::id::{CommitmentNumber, HtlcId};
use lightning_traits::payment::PaymentHash;
use lightning_traits::tx::{HtlcSpec, TxSide};
use lightning_traits::units::{CltvExpiry, Msat};

/// An HTLC, and the commitments that had it: from `from` up to, but without, `until`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Interval {
    pub(crate) htlc: HtlcSpec,
    pub(crate) from: CommitmentNumber,
    pub(crate) until: CommitmentNumber,
}

/// From this length on a part is full. Large enough that naming it costs nothing, small enough to be written again and again
/// until then.
const FULL: usize = 4_096;

/// Intervals, in the order of their ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Past {
    /// Full, and never changed again.
    parts: Vec<Box<[u8]>>,
    /// What came since. An interval never lies in two parts.
    rest: Vec<u8>,
    last: Last,
}

/// What the next interval is told as a difference to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Last {
    until: u64,
    expiry: u32,
    /// Of each side.
    ids: [u64; 2],
}

/// A place to go back to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    parts: usize,
    length: usize,
    last: Last,
}

impl Past {
    /// Puts an interval behind the others.
    pub(crate) fn push(&mut self, interval: &Interval) {
        if self.rest.len() >= FULL {
            self.parts.push(core::mem::take(&mut self.rest).into_boxed_slice());
        }
        let Interval { htlc, from, until } = *interval;
        let (last, out) = (&mut self.last, &mut self.rest);
        let [broadcaster, countersigner] = &mut last.ids;
        let (side, id) = match htlc.offered_by {
            TxSide::Broadcaster => (0, broadcaster),
            TxSide::Countersigner => (1, countersigner),
        };
        put(out, u128::from(zigzag(htlc.id.0, *id)) << 1 | side);
        put(out, u128::from(htlc.amount.to_msat()));
        htlc.payment_hash.encode(out);
        put(out, u128::from(zigzag(u64::from(htlc.expiry.get()), u64::from(last.expiry))));
        put(out, u128::from(zigzag(until.0, last.until)));
        put(out, u128::from(zigzag(from.0, until.0)));
        *id = htlc.id.0;
        last.expiry = htlc.expiry.get();
        last.until = until.0;
    }

    /// All intervals.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Interval> {
        let mut readers = self.parts.iter().map(|part| &**part).chain([&*self.rest]).map(Reader::new);
        let (mut reader, mut last) = (Reader::new(&[]), Last::default());
        core::iter::from_fn(move || {
            while reader.is_empty() {
                reader = readers.next()?;
            }
            next(&mut reader, &mut last).ok()
        })
    }

    /// Where it ends now.
    pub(crate) const fn mark(&self) -> Mark {
        Mark { parts: self.parts.len(), length: self.rest.len(), last: self.last }
    }

    /// Forgets what came behind `mark`.
    pub(crate) fn go_back_to(&mut self, mark: Mark) {
        if let Some(then) = self.parts.get(mark.parts) {
            self.rest = then.to_vec();
            self.parts.truncate(mark.parts);
        }
        self.rest.truncate(mark.length);
        self.last = mark.last;
    }

    /// The parts that are full.
    pub(crate) fn parts(&self) -> &[Box<[u8]>] {
        &self.parts
    }

    /// Bytes of memory beside the value itself.
    #[cfg(test)]
    pub(crate) fn memory(&self) -> usize {
        let parts = self.parts.iter().map(|part| part.len()).sum::<usize>();
        let names = self.parts.capacity().saturating_mul(size_of::<Box<[u8]>>());
        parts.saturating_add(names).saturating_add(self.rest.capacity())
    }

    /// All but the parts that are full, of which only the number is told.
    pub(crate) fn encode_rest(&self, out: &mut Vec<u8>) {
        (self.parts.len() as u32).encode(out);
        self.rest.encode(out);
    }

    /// Reads what [`Past::encode_rest`] wrote, and puts it behind the parts that are full.
    pub(crate) fn decode_rest(reader: &mut Reader<'_>, parts: Vec<Vec<u8>>) -> Result<Self, DecodeError> {
        let (count, rest): (u32, Vec<u8>) = (reader.read()?, reader.read()?);
        if usize::try_from(count) != Ok(parts.len()) {
            return Err(DecodeError::InvalidValue("number of the parts of the past"));
        }
        let parts = parts.into_iter().map(Vec::into_boxed_slice).collect();
        let mut past = Self { parts, rest, last: Last::default() };
        past.last = past.read_through()?;
        Ok(past)
    }

    fn read_through(&self) -> Result<Last, DecodeError> {
        let mut last = Last::default();
        for part in self.parts.iter().map(|part| &**part).chain([&*self.rest]) {
            let mut reader = Reader::new(part);
            while !reader.is_empty() {
                next(&mut reader, &mut last)?;
            }
        }
        Ok(last)
    }
}

fn next(reader: &mut Reader<'_>, last: &mut Last) -> Result<Interval, DecodeError> {
    let first = take(reader)?;
    let [broadcaster, countersigner] = &mut last.ids;
    let (offered_by, id) = match first & 1 {
        0 => (TxSide::Broadcaster, broadcaster),
        _ => (TxSide::Countersigner, countersigner),
    };
    *id = unzigzag(narrow(first >> 1)?, *id);
    let id = HtlcId(*id);
    let amount = Msat::new(narrow(take(reader)?)?);
    let payment_hash: PaymentHash = reader.read()?;
    let expiry = unzigzag(narrow(take(reader)?)?, u64::from(last.expiry));
    last.expiry = u32::try_from(expiry).map_err(|_| DecodeError::InvalidValue("expiry of a past HTLC"))?;
    last.until = unzigzag(narrow(take(reader)?)?, last.until);
    let from = unzigzag(narrow(take(reader)?)?, last.until);
    let htlc = HtlcSpec { offered_by, id, amount, payment_hash, expiry: CltvExpiry::new(last.expiry) };
    Ok(Interval { htlc, from: CommitmentNumber(from), until: CommitmentNumber(last.until) })
}

/// A difference, small in either direction.
const fn zigzag(value: u64, before: u64) -> u64 {
    let difference = value.wrapping_sub(before) as i64;
    (difference.wrapping_shl(1) ^ difference.wrapping_shr(63)) as u64
}

const fn unzigzag(difference: u64, before: u64) -> u64 {
    let sign = (difference & 1).wrapping_neg();
    before.wrapping_add(difference.wrapping_shr(1) ^ sign)
}

/// Seven bits a byte, the least first; the top bit says that more follow.
fn put(out: &mut Vec<u8>, mut value: u128) {
    while value > 0x7f {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn take(reader: &mut Reader<'_>) -> Result<u128, DecodeError> {
    let (mut value, mut shift) = (0_u128, 0_u32);
    loop {
        let byte: u8 = reader.read()?;
        value |= u128::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
        shift = shift.saturating_add(7);
        // 65 bits are the most that anything here has.
        if shift > 63 {
            return last_of(reader, value);
        }
    }
}

/// The tenth byte, which holds what is left of 65 bits.
fn last_of(reader: &mut Reader<'_>, value: u128) -> Result<u128, DecodeError> {
    let byte: u8 = reader.read()?;
    if byte > 3 {
        return Err(DecodeError::InvalidValue("number of a past HTLC"));
    }
    Ok(value | u128::from(byte) << 63)
}

fn narrow(value: u128) -> Result<u64, DecodeError> {
    u64::try_from(value).map_err(|_| DecodeError::InvalidValue("number of a past HTLC"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn interval(side: bool, id: u64, msat: u64, expiry: u32, from: u64, until: u64) -> Interval {
        let offered_by = if side { TxSide::Broadcaster } else { TxSide::Countersigner };
        let payment_hash = PaymentHash([id as u8; 32]);
        let (id, amount) = (HtlcId(id), Msat::new(msat));
        let htlc = HtlcSpec { offered_by, id, amount, payment_hash, expiry: CltvExpiry::new(expiry) };
        Interval { htlc, from: CommitmentNumber(from), until: CommitmentNumber(until) }
    }

    fn read_back(past: &Past) -> Past {
        let mut bytes = Vec::new();
        past.encode_rest(&mut bytes);
        let mut reader = Reader::new(&bytes);
        let parts = past.parts().iter().map(|part| part.to_vec()).collect();
        let read = Past::decode_rest(&mut reader, parts).unwrap();
        reader.finish().unwrap();
        read
    }

    #[test]
    fn a_payment_costs_42_bytes_at_most_whatever_came_before() {
        let mut past = Past::default();
        for number in 0..200_000_u64 {
            // Both directions in turn, a block now and then, up to 21 million satoshi.
            let (id, expiry) = (number / 2, 900_000 + u32::try_from(number / 50).unwrap());
            past.push(&interval(number % 2 == 0, id, 20_999_999_999, expiry, 2 * number + 1, 2 * number + 3));
        }
        let bytes: usize = past.parts().iter().map(|part| part.len()).sum::<usize>() + past.rest.len();
        assert!(bytes <= 200_000 * 42, "{} bytes each", bytes / 200_000);
        assert!(past.memory() <= 200_000 * 43, "{} bytes of memory each", past.memory() / 200_000);
        assert_eq!(past.iter().count(), 200_000);
        assert_eq!(read_back(&past), past);
    }

    proptest! {
        #[test]
        fn any_intervals_come_back_and_can_be_taken_back(
            all in prop::collection::vec(any::<(bool, u64, u64, u32, u64, u64)>(), 0..300),
            kept in any::<prop::sample::Index>(),
        ) {
            let all: Vec<_> = all.into_iter().map(|(s, i, m, e, f, u)| interval(s, i, m, e, f, u)).collect();
            let kept = if all.is_empty() { 0 } else { kept.index(all.len()) };
            let (mut past, mut mark) = (Past::default(), Past::default().mark());
            for (index, interval) in all.iter().enumerate() {
                if index == kept {
                    mark = past.mark();
                }
                past.push(interval);
            }
            prop_assert_eq!(past.iter().collect::<Vec<_>>(), all.clone());
            let mut read = read_back(&past);
            prop_assert_eq!(&read, &past);
            read.go_back_to(mark);
            prop_assert_eq!(read.iter().collect::<Vec<_>>(), all[..kept].to_vec());
            // And goes on from there as from the beginning.
            all[kept..].iter().for_each(|interval| read.push(interval));
            prop_assert_eq!(read, past);
        }

        #[test]
        fn damaged_bytes_are_refused_or_read_as_something(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let encoded = [vec![0; 4], bytes.to_bytes()].concat();
            if let Ok(past) = Past::decode_rest(&mut Reader::new(&encoded), Vec::new()) {
                // Whatever is taken is read to its end.
                let mut again = Past::default();
                past.iter().for_each(|interval| again.push(&interval));
                prop_assert_eq!(again.last, past.last);
            }
        }
    }

    #[test]
    fn what_is_cut_short_is_refused() {
        let mut past = Past::default();
        past.push(&interval(true, 1, 2, 3, 4, 5));
        let whole = past.rest;
        for length in 1..whole.len() {
            let encoded = [vec![0; 4], whole[..length].to_vec().to_bytes()].concat();
            assert!(Past::decode_rest(&mut Reader::new(&encoded), Vec::new()).is_err(), "{length}");
        }
    }

    #[test]
    fn a_part_that_is_missing_or_damaged_is_noticed() {
        let mut past = Past::default();
        (0..500).for_each(|id| past.push(&interval(true, id, 2_000, 3, 2 * id, 2 * id + 1)));
        let parts: Vec<Vec<u8>> = past.parts().iter().map(|part| part.to_vec()).collect();
        assert_eq!(parts.len(), 4);
        let mut encoded = Vec::new();
        past.encode_rest(&mut encoded);
        let read = |parts: &[Vec<u8>]| Past::decode_rest(&mut Reader::new(&encoded), parts.to_vec());
        assert_eq!(read(&parts), Ok(past.clone()));
        assert!(read(&parts[1..]).is_err());
        assert!(read(&[&parts[..], &parts[..1]].concat()).is_err());
        let mut cut = parts.clone();
        cut[2].pop();
        assert!(read(&cut).is_err());
    }
}
