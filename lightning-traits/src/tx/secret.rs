//! Per-commitment secrets: made from a seed, kept in 49 slots (BOLT 3, "Per-commitment Secret Requirements").
//!
//! BOLT 3 counts indices down from 2^48 - 1; a [`CommitmentNumber`] counts up from zero. Only this file
//! knows the other count.
//!
//! # Invariants
//! - a secret is never printed, is compared in constant time and is erased when dropped
//! - a store accepts secrets in order only, and only such as all come from one seed: so whatever was
//!   revoked can be punished from 49 entries
use alloc::vec::Vec;
use core::fmt;

use bitcoin::hashes::{Hash as _, sha256};
use secp256k1::{PublicKey, SecretKey};
use subtle::ConstantTimeEq as _;
use thiserror::Error;
use zeroize::Zeroize as _;

use super::keys::KeyError;
use crate::Secp;
use crate::codec::{Decode, DecodeError, Encode, Reader, decode_list, encode_list};
use crate::id::CommitmentNumber;
use crate::payment::secret32;

secret32! {
    /// `per_commitment_secret`: whoever learns it can punish that commitment.
    CommitmentSecret
}

secret32! {
    /// The unguessable seed of all per-commitment secrets of one side of one channel.
    CommitmentSeed
}

impl CommitmentSecret {
    /// The secret as a key.
    ///
    /// # Errors
    /// [`KeyError`] for zero and for values above the curve's order, which a peer may send.
    pub fn to_secret_key(&self) -> Result<SecretKey, KeyError> {
        SecretKey::from_slice(&self.0).map_err(|_| KeyError)
    }

    /// `per_commitment_point = per_commitment_secret * G`.
    ///
    /// # Errors
    /// As [`to_secret_key`](Self::to_secret_key).
    pub fn to_point(&self, secp: &Secp) -> Result<PublicKey, KeyError> {
        Ok(self.to_secret_key()?.public_key(secp))
    }

    /// Whether this, **which is no secret any more**, is the secret of `point`; false when it is no key at all.
    #[must_use]
    pub fn opens(&self, secp: &Secp, point: &PublicKey) -> bool {
        self.to_secret_key().is_ok() && secp.sum(None, &self.0).is_some_and(|own| own == *point)
    }
}

impl Encode for CommitmentSecret {
    fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode(out);
    }
}

impl Decode for CommitmentSecret {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.array().map(Self)
    }
}

impl CommitmentSeed {
    /// The secret of commitment `number`; `None` above [`CommitmentNumber::LAST`], where the tree has no leaf
    /// (an answer that wraps or saturates there would give away another commitment's secret).
    #[must_use]
    pub fn secret(&self, number: CommitmentNumber) -> Option<CommitmentSecret> {
        Some(derive(&self.0, INDEX_BITS, index_of(number)?))
    }
}

/// Why a [`SecretStore`] refuses a secret; the store is unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SecretError {
    /// The secret does not fit those received before: they do not come from one seed.
    #[error("the secret does not come from the seed of the earlier ones")]
    ForeignSeed,
    /// Not the number that comes next.
    #[error("secret {number} came where {expected} was expected")]
    OutOfOrder {
        /// The number that came.
        number: CommitmentNumber,
        /// The number that would come next.
        expected: CommitmentNumber,
    },
}

/// Every secret that a peer revealed, in at most 49 entries (BOLT 3, "Efficient Per-commitment Secret Storage").
///
/// Slot `b` holds the secret whose index ends in exactly `b` zero bits and was received last. As secrets
/// come in order, their count alone says which index each slot holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SecretStore {
    next: CommitmentNumber,
    slots: Vec<CommitmentSecret>,
}

impl SecretStore {
    /// A store that holds nothing yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { next: CommitmentNumber(0), slots: Vec::new() }
    }

    /// The number whose secret comes next: how many secrets are held.
    #[must_use]
    pub const fn next_number(&self) -> CommitmentNumber {
        self.next
    }

    /// Adds the secret of commitment `number`. Repeating a secret that is held already changes nothing.
    ///
    /// # Errors
    /// [`SecretError`] when it is not the next one, or does not fit those before.
    pub fn insert(&mut self, number: CommitmentNumber, secret: CommitmentSecret) -> Result<(), SecretError> {
        if let Some(known) = self.get(number) {
            return if known == secret { Ok(()) } else { Err(SecretError::ForeignSeed) };
        }
        let out_of_order = SecretError::OutOfOrder { number, expected: self.next };
        if number != self.next {
            return Err(out_of_order);
        }
        let index = index_of(number).ok_or(out_of_order)?;
        let slot = slot_of(index);
        for (below, held) in (0..slot).zip(&self.slots) {
            if derive(&secret.0, slot, self.index_in(below)) != *held {
                return Err(SecretError::ForeignSeed);
            }
        }
        match self.slots.get_mut(slot as usize) {
            Some(place) => *place = secret,
            None => self.slots.push(secret),
        }
        self.next = number.next();
        Ok(())
    }

    /// The secret of commitment `number`, if it was received.
    #[must_use]
    pub fn get(&self, number: CommitmentNumber) -> Option<CommitmentSecret> {
        if number >= self.next {
            return None;
        }
        let index = index_of(number)?;
        (0..INDEX_BITS.saturating_add(1)).zip(&self.slots).find_map(|(slot, held)| {
            let prefix = index & !bit(slot).saturating_sub(1);
            (prefix == self.index_in(slot)).then(|| derive(&held.0, slot, index))
        })
    }

    /// The index whose secret is in `slot`: the smallest received one that ends in exactly `slot` zero bits.
    fn index_in(&self, slot: u32) -> u64 {
        if slot >= INDEX_BITS {
            return 0;
        }
        let lowest = bit(INDEX_BITS).saturating_sub(self.next.0);
        let unit = bit(slot);
        (lowest.div_ceil(unit) | 1).saturating_mul(unit)
    }
}

impl Encode for SecretStore {
    fn encode(&self, out: &mut Vec<u8>) {
        self.next.encode(out);
        encode_list(&self.slots, out);
    }
}

impl Decode for SecretStore {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let next: CommitmentNumber = reader.read()?;
        let slots: Vec<CommitmentSecret> = decode_list(reader)?;
        // The slots fill from below, one more each time the count doubles.
        let expected = u64::BITS.saturating_sub(next.0.leading_zeros());
        if next.0 > bit(INDEX_BITS) || slots.len() != expected as usize {
            return Err(DecodeError::InvalidValue("secret store"));
        }
        Ok(Self { next, slots })
    }
}

/// Bits of a BOLT 3 index.
const INDEX_BITS: u32 = 48;

/// BOLT 3: "The first secret used MUST be index 281474976710655, and from there, the index is decremented".
const fn index_of(number: CommitmentNumber) -> Option<u64> {
    CommitmentNumber::LAST.0.checked_sub(number.0)
}

/// `where_to_put_secret`: the count of trailing zero bits, 48 for index zero.
fn slot_of(index: u64) -> u32 {
    index.trailing_zeros().min(INDEX_BITS)
}

/// The number with only bit `position` set.
const fn bit(position: u32) -> u64 {
    1_u64.wrapping_shl(position)
}

/// `derive_secret(base, bits, I)` of BOLT 3: flips and hashes for each of the lower `bits` bits set in `index`.
fn derive(base: &[u8; 32], bits: u32, index: u64) -> CommitmentSecret {
    let mut secret = CommitmentSecret::new(*base);
    for position in (0..bits).rev() {
        if index & bit(position) != 0 {
            // "flip(B)" alternates the (B mod 8) bit of the (B div 8) byte of the value.
            if let Some(byte) = secret.0.get_mut((position / 8) as usize) {
                *byte ^= 1_u8.wrapping_shl(position % 8);
            }
            secret.0 = sha256::Hash::hash(&secret.0).to_byte_array();
        }
    }
    secret
}
