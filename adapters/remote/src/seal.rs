//! The channel's own record, closed to the tower that keeps it.
//!
//! A record says with whom, how much and for whom a channel pays: more than a tower need know to guard it. So it travels and lies
//! sealed with XChaCha20-Poly1305 under a key that follows from the node's seed, or does not travel at all.
//!
//! # Invariants
//! - a nonce is the keyed hash of what it seals, so no randomness can fail, and none is used twice for two texts
//! - a blob opens only for its channel, its kind and its place: what a tower leaves out or shuffles within a life of the node
//!   does not open. That the whole is the latest no seal can say; the tower's signed statements do
use bitcoin::hashes::{Hash as _, HashEngine as _, Hmac, HmacEngine, sha256};
use chacha20poly1305::aead::{Aead as _, Payload};
use chacha20poly1305::{Key, KeyInit as _, XChaCha20Poly1305, XNonce};
use lightning_traits::codec::{Decode, DecodeError, Encode, Reader, decode_list, encode_list};
use lightning_traits::id::{ChannelId, NodeId, UpdateId};
use lightning_traits::monitor::{RecordChange, StoredChannel};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::wire::tagged;

const VERSION: u8 = 2;
const SNAPSHOT: u8 = 0;
const APPEND: u8 = 1;
const WHOLE: u8 = 2;
const NONCE: usize = 24;

/// The key, from 32 bytes that follow from the seed and serve nothing else.
#[derive(Clone)]
pub struct SealKey {
    cipher: Zeroizing<[u8; 32]>,
    nonces: Zeroizing<[u8; 32]>,
}

impl core::fmt::Debug for SealKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("SealKey(..)")
    }
}

/// Why a record does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SealFault {
    /// No blob of this age.
    #[error("the sealed record does not decode: {0}")]
    Garbled(DecodeError),
    /// Changed, of another channel, or sealed under another seed.
    #[error("the seal is broken, or of another seed or channel")]
    Broken,
    /// Something is missing between two changes, or they were shuffled.
    #[error("the change at update {0} does not follow on the one before")]
    Gap(UpdateId),
}

impl From<DecodeError> for SealFault {
    fn from(error: DecodeError) -> Self {
        Self::Garbled(error)
    }
}

/// What the node had promised itself about its towers when it sealed a record: with how many of them each step was durable
/// before it was visible to anybody. Whoever has only the record left learns from it whether that can be the latest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Promise {
    /// Which towers there were: the same number for the same ones.
    pub towers: u32,
    /// How many.
    pub of: u16,
    /// How many of them held each step before it was said.
    pub held_by: u16,
}
lightning_traits::record!(struct Promise { towers, of, held_by });

impl Promise {
    /// Nothing was waited for.
    pub const NONE: Self = Self { towers: 0, of: 0, held_by: 0 };

    /// Of these towers, `held_by` hold each step before it is said.
    #[must_use]
    pub fn new(towers: &[NodeId], held_by: usize) -> Self {
        let mut sorted: Vec<NodeId> = towers.to_vec();
        sorted.sort_unstable();
        let mut bytes = Vec::new();
        sorted.iter().for_each(|tower| tower.encode(&mut bytes));
        let [a, b, c, d, ..] = tagged("lightning-remote towers", &bytes);
        let count = |number: usize| u16::try_from(number).unwrap_or(u16::MAX);
        Self { towers: u32::from_be_bytes([a, b, c, d]), of: count(towers.len()), held_by: count(held_by) }
    }

    /// Whether the newest record that so many different towers have is the latest that there was, as far as they are honest and
    /// have not lost what they had: those that were not asked are too few to have been the ones that were waited for. Only
    /// towers whose records carry this very promise count: others may be of another time.
    #[must_use]
    pub fn proves(self, asked: usize) -> bool {
        let not_asked = usize::from(self.of).saturating_sub(asked);
        self.held_by > 0 && asked > 0 && not_asked < usize::from(self.held_by)
    }
}

/// Where a blob belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    id: UpdateId,
    /// The blob before it, where this life of the node knows.
    previous: Option<UpdateId>,
    promise: Promise,
}
lightning_traits::record!(struct Place { id, previous, promise });

fn hmac(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
    let mut engine = HmacEngine::<sha256::Hash>::new(key);
    parts.iter().for_each(|part| engine.input(part));
    Hmac::from_engine(engine).to_byte_array()
}

impl SealKey {
    /// From a secret that serves nothing else: a child of the seed by a label of its own.
    #[must_use]
    pub fn new(secret: &[u8; 32]) -> Self {
        Self {
            cipher: Zeroizing::new(hmac(secret, &[b"record cipher"])),
            nonces: Zeroizing::new(hmac(secret, &[b"record nonces"])),
        }
    }

    fn aad(channel: ChannelId, kind: u8) -> Vec<u8> {
        let mut aad = vec![VERSION, kind];
        channel.encode(&mut aad);
        aad
    }

    fn seal(&self, channel: ChannelId, kind: u8, place: Place, text: &[u8]) -> Vec<u8> {
        let mut body = Zeroizing::new(place.to_bytes());
        body.extend_from_slice(text);
        let aad = Self::aad(channel, kind);
        let [nonce @ .., _, _, _, _, _, _, _, _] = hmac(&self.nonces, &[&aad, &body]);
        let cipher = XChaCha20Poly1305::new(&Key::from(*self.cipher));
        let payload = Payload { msg: &body, aad: &aad };
        // Only texts of more than 256 GiB are refused. Nothing then: it does not open, and says so.
        let closed = cipher.encrypt(&XNonce::from(nonce), payload).unwrap_or_default();
        let mut out = vec![VERSION, kind];
        out.extend_from_slice(&nonce);
        out.extend_from_slice(&closed);
        out
    }

    fn open(&self, channel: ChannelId, blob: &[u8]) -> Result<(u8, Place, Vec<u8>), SealFault> {
        let mut reader = Reader::new(blob);
        let (version, kind) = (reader.read::<u8>()?, reader.read::<u8>()?);
        if version != VERSION {
            return Err(SealFault::Garbled(DecodeError::UnknownVersion(version)));
        }
        let nonce = reader.array::<NONCE>()?;
        let cipher = XChaCha20Poly1305::new(&Key::from(*self.cipher));
        let payload = Payload { msg: reader.rest(), aad: &Self::aad(channel, kind) };
        let body = cipher.decrypt(&XNonce::from(nonce), payload).map_err(|_| SealFault::Broken)?;
        let mut reader = Reader::new(&body);
        let place = reader.read()?;
        Ok((kind, place, reader.take_rest().to_vec()))
    }
}

/// What a tower gets of the channel's own record.
#[derive(Clone, Debug)]
pub enum RecordPolicy {
    /// All of it, sealed, with the promise of this time: a node that lost its disk is restored from the tower.
    Sealed(SealKey, Promise),
    /// Nothing: the tower guards the channel, and cannot restore it.
    Withheld,
}

impl RecordPolicy {
    /// The record change of update `id` as the tower gets it; `previous` is the last one with a change, where known.
    pub(crate) fn close(
        &self,
        channel: ChannelId,
        id: UpdateId,
        previous: Option<UpdateId>,
        record: &RecordChange,
    ) -> RecordChange {
        match (self, record) {
            (_, RecordChange::Same {}) => RecordChange::Same {},
            // A store that has begun a channel expects a record, empty as it is.
            (Self::Withheld, RecordChange::Snapshot { .. }) if id == UpdateId(0) => {
                RecordChange::Snapshot { bytes: Vec::new() }
            }
            (Self::Withheld, _) => RecordChange::Same {},
            (Self::Sealed(key, promise), RecordChange::Append { bytes }) => {
                let place = Place { id, previous, promise: *promise };
                RecordChange::Append { bytes: key.seal(channel, APPEND, place, bytes) }
            }
            (Self::Sealed(key, promise), RecordChange::Snapshot { bytes }) => {
                let place = Place { id, previous: None, promise: *promise };
                RecordChange::Snapshot { bytes: key.seal(channel, SNAPSHOT, place, bytes) }
            }
        }
    }

    /// A whole channel as the tower gets it.
    pub(crate) fn close_whole(&self, channel: ChannelId, stored: &StoredChannel) -> StoredChannel {
        let record = match self {
            Self::Withheld => Vec::new(),
            Self::Sealed(key, promise) => {
                let mut text = Zeroizing::new(stored.record.to_bytes());
                encode_list(&stored.record_changes, &mut text);
                let place = Place { id: stored.last_update, previous: None, promise: *promise };
                key.seal(channel, WHOLE, place, &text)
            }
        };
        StoredChannel { record, record_changes: Vec::new(), ..stored.clone() }
    }

    /// What the tower gave back, as it was, and what was promised when its last part was sealed.
    ///
    /// # Errors
    /// [`SealFault`] when the record is not what was sealed, or not all of it.
    pub fn open_whole(
        &self,
        channel: ChannelId,
        stored: StoredChannel,
    ) -> Result<(StoredChannel, Promise), SealFault> {
        let Self::Sealed(key, _) = self else { return Ok((stored, Promise::NONE)) };
        let (kind, place, text) = key.open(channel, &stored.record)?;
        let (record, mut record_changes) = if kind == WHOLE {
            let mut reader = Reader::new(&text);
            let whole = (Vec::<u8>::decode(&mut reader)?, decode_list(&mut reader)?);
            reader.finish()?;
            whole
        } else if kind == SNAPSHOT {
            (text, Vec::new())
        } else {
            return Err(SealFault::Broken);
        };
        let (mut last, mut promise) = (place.id, place.promise);
        for blob in &stored.record_changes {
            let (kind, place, text) = key.open(channel, blob)?;
            let follows = place.previous.is_none_or(|previous| previous == last);
            if kind != APPEND || place.id <= last || !follows || place.id > stored.last_update {
                return Err(SealFault::Gap(place.id));
            }
            (last, promise) = (place.id, place.promise);
            record_changes.push(text);
        }
        Ok((StoredChannel { record, record_changes, ..stored }, promise))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_promise_proves_when_those_not_asked_are_too_few() {
        let secp = lightning_traits::Secp::new();
        let tower =
            |byte| NodeId::from(secp256k1::SecretKey::from_slice(&[byte; 32]).unwrap().public_key(&secp));
        let towers: Vec<NodeId> = (1..=3).map(tower).collect();
        let promise = |of: usize, held_by| Promise::new(&towers[..of], held_by);
        assert!(!Promise::NONE.proves(1) && !Promise::NONE.proves(9));
        assert!(promise(1, 1).proves(1) && !promise(1, 1).proves(0));
        assert_ne!(Promise::new(&[tower(1)], 1), Promise::new(&[tower(2)], 1));
        assert_eq!(Promise::new(&[tower(1), tower(2)], 1), Promise::new(&[tower(2), tower(1)], 1));
        // All three were waited for: any one knows all. One of three: only all three do.
        assert!(promise(3, 3).proves(1) && promise(3, 1).proves(3));
        assert!(!promise(3, 1).proves(2) && !promise(3, 2).proves(1) && promise(3, 2).proves(2));
        assert!(!promise(3, 0).proves(3));
    }
}
