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
use lightning_traits::id::{ChannelId, UpdateId};
use lightning_traits::monitor::{RecordChange, StoredChannel};
use thiserror::Error;
use zeroize::Zeroizing;

const VERSION: u8 = 1;
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

/// Where a blob belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    id: UpdateId,
    /// The blob before it, where this life of the node knows.
    previous: Option<UpdateId>,
}
lightning_traits::record!(struct Place { id, previous });

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
    /// All of it, sealed: a node that lost its disk is restored from the tower.
    Sealed(SealKey),
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
            (Self::Sealed(key), RecordChange::Append { bytes }) => {
                RecordChange::Append { bytes: key.seal(channel, APPEND, Place { id, previous }, bytes) }
            }
            (Self::Sealed(key), RecordChange::Snapshot { bytes }) => RecordChange::Snapshot {
                bytes: key.seal(channel, SNAPSHOT, Place { id, previous: None }, bytes),
            },
        }
    }

    /// A whole channel as the tower gets it.
    pub(crate) fn close_whole(&self, channel: ChannelId, stored: &StoredChannel) -> StoredChannel {
        let record = match self {
            Self::Withheld => Vec::new(),
            Self::Sealed(key) => {
                let mut text = Zeroizing::new(stored.record.to_bytes());
                encode_list(&stored.record_changes, &mut text);
                key.seal(channel, WHOLE, Place { id: stored.last_update, previous: None }, &text)
            }
        };
        StoredChannel { record, record_changes: Vec::new(), ..stored.clone() }
    }

    /// What the tower gave back, as it was.
    ///
    /// # Errors
    /// [`SealFault`] when the record is not what was sealed, or not all of it.
    pub fn open_whole(&self, channel: ChannelId, stored: StoredChannel) -> Result<StoredChannel, SealFault> {
        let Self::Sealed(key) = self else { return Ok(stored) };
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
        let mut last = place.id;
        for blob in &stored.record_changes {
            let (kind, place, text) = key.open(channel, blob)?;
            let follows = place.previous.is_none_or(|previous| previous == last);
            if kind != APPEND || place.id <= last || !follows || place.id > stored.last_update {
                return Err(SealFault::Gap(place.id));
            }
            last = place.id;
            record_changes.push(text);
        }
        Ok(StoredChannel { record, record_changes, ..stored })
    }
}
