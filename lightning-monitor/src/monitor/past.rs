//! The HTLCs that commitments before the latest had, in as few bytes as they can be told apart by.
//!
//! A channel has as many of these as it had HTLCs, and each is kept for as long as the channel lives: any revoked commitment
//! may come to the chain, with each of its HTLCs as an output that is ours to take. So they are kept in memory as they are
//! stored: each but the hash as a difference to the one before it, about 41 bytes in all. They are read only when a revoked
//! commitment is on the chain.
//!
//! # Invariants
//! - bytes are only ever put behind those that are there, but for a step that is taken back
//! - what is read from a store is checked whole, so that reading it later has no way to fail
use alloc::vec::Vec;

use lightning_traits::codec::{Decode, DecodeError, Encode, Reader};
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

/// Intervals, in the order of their ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Past {
    bytes: Vec<u8>,
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
    length: usize,
    last: Last,
}

impl Past {
    /// Puts an interval behind the others.
    pub(crate) fn push(&mut self, interval: &Interval) {
        let Interval { htlc, from, until } = *interval;
        let (last, out) = (&mut self.last, &mut self.bytes);
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
        let (mut reader, mut last) = (Reader::new(&self.bytes), Last::default());
        core::iter::from_fn(move || if reader.is_empty() { None } else { next(&mut reader, &mut last).ok() })
    }

    /// Where it ends now.
    pub(crate) const fn mark(&self) -> Mark {
        Mark { length: self.bytes.len(), last: self.last }
    }

    /// Forgets what came behind `mark`.
    pub(crate) fn go_back_to(&mut self, mark: Mark) {
        self.bytes.truncate(mark.length);
        self.last = mark.last;
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

impl Encode for Past {
    fn encode(&self, out: &mut Vec<u8>) {
        self.bytes.encode(out);
    }
}

impl Decode for Past {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let bytes: Vec<u8> = reader.read()?;
        let (mut inner, mut last) = (Reader::new(&bytes), Last::default());
        while !inner.is_empty() {
            next(&mut inner, &mut last)?;
        }
        Ok(Self { bytes, last })
    }
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
        let bytes = past.to_bytes();
        let mut reader = Reader::new(&bytes);
        let read = reader.read().unwrap();
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
        let bytes = past.to_bytes().len();
        assert!(bytes <= 200_000 * 42, "{} bytes each", bytes / 200_000);
        assert_eq!(past.iter().count(), 200_000);
    }

    proptest! {
        #[test]
        fn any_intervals_come_back_and_can_be_taken_back(
            all in prop::collection::vec(any::<(bool, u64, u64, u32, u64, u64)>(), 0..40),
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
            let encoded = bytes.to_bytes();
            if let Ok(past) = Reader::new(&encoded).read::<Past>() {
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
        let whole = past.bytes;
        for length in 1..whole.len() {
            let encoded = whole[..length].to_vec().to_bytes();
            assert!(Reader::new(&encoded).read::<Past>().is_err(), "{length}");
        }
    }
}
