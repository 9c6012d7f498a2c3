//! Kits as blobs of one length, which the id of the commitment opens and nothing else (RELIABILITY L19).
//!
//! The plain text is the length of the kit, the kit and zeros, cut into parts of [`PART`] bytes. Part `i` is encrypted with
//! ChaCha20-Poly1305 under a hash of the commitment's id, with `i` as the nonce: one key encrypts one kit, so no nonce comes twice
//! with other contents. The locator of the first part is the first half of the id; of the next ones a hash of id and number, so
//! that parts cannot be told to belong together.
//!
//! # Invariants
//! - who knows the first half of an id still lacks 128 bits of the key
//! - every blob has [`BLOB`] bytes
use alloc::vec::Vec;

use bitcoin::Txid;
use bitcoin::hashes::{Hash as _, HashEngine as _, sha256};
use chacha20poly1305::aead::{Aead as _, Payload};
use chacha20poly1305::{ChaCha20Poly1305, Key, KeyInit as _, Nonce};
use lightning_traits::codec::{Decode, DecodeError, Encode, Reader};
use lightning_traits::record;

use super::Kit;

/// Bytes of plain text in a blob: a state with up to six HTLCs with anchors, three without, needs one blob.
const PART: usize = 1_024;
/// The length of the kit, which stands before it.
const LENGTH: usize = 4;
/// What the cipher adds.
const TAG: usize = 16;
/// Bytes of a blob, without its locator.
pub const BLOB: usize = PART + TAG;
/// The most parts that a kit may have: 966 HTLCs of the longest form fit in fewer.
const PARTS: u32 = 176;

/// Where a blob is looked for when a transaction confirms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Locator(pub [u8; 16]);

impl Encode for Locator {
    fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode(out);
    }
}

impl Decode for Locator {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.read().map(Self)
    }
}

impl Locator {
    /// Of the first blob of a commitment.
    #[must_use]
    pub fn of(commitment: &Txid) -> Self {
        let mut half = [0; 16];
        let bytes = commitment.as_byte_array();
        half.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        Self(half)
    }

    fn of_part(commitment: &Txid, part: u32) -> Self {
        if part == 0 {
            return Self::of(commitment);
        }
        let hash = tagged("lightning blind locator", commitment, part);
        let mut half = [0; 16];
        half.iter_mut().zip(hash).for_each(|(to, from)| *to = from);
        Self(half)
    }
}

/// What a keeper is given: it opens with the commitment that its locator is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob {
    /// Where it is looked for.
    pub locator: Locator,
    /// [`BLOB`] bytes.
    pub body: Vec<u8>,
}
record!(struct Blob { locator, body });

/// The blobs of a kit against the commitment with this id.
#[must_use]
pub fn seal(commitment: &Txid, kit: &Kit) -> Vec<Blob> {
    let kit = kit.to_bytes();
    let mut text = (kit.len() as u32).to_bytes();
    text.extend_from_slice(&kit);
    let mut blobs = Vec::new();
    for (chunk, number) in text.chunks(PART).zip(0_u32..) {
        let mut part = chunk.to_vec();
        part.resize(PART, 0);
        let locator = Locator::of_part(commitment, number);
        let payload = Payload { msg: &part, aad: &locator.0 };
        // Encryption fails for texts of gigabytes only.
        let Ok(body) = cipher(commitment).encrypt(&nonce(number), payload) else { return Vec::new() };
        blobs.push(Blob { locator, body });
    }
    blobs
}

/// The kits against the commitment with this id, among the blobs that `find` has under a locator: there may be several, as anybody
/// may have left something under any locator (RELIABILITY L13). What does not open is passed over.
#[must_use]
pub fn open(commitment: &Txid, mut find: impl FnMut(Locator) -> Vec<Vec<u8>>) -> Vec<Kit> {
    let mut kits: Vec<Kit> = Vec::new();
    let first = opened(commitment, 0, find(Locator::of_part(commitment, 0)));
    for head in first {
        let mut length = Reader::new(&head);
        let Ok(length) = length.read::<u32>() else { continue };
        let parts = (length as usize).saturating_add(LENGTH).div_ceil(PART);
        let Some(parts) = u32::try_from(parts).ok().filter(|parts| (1..=PARTS).contains(parts)) else {
            continue;
        };
        let mut text = head;
        let mut is_whole = true;
        for number in 1..parts {
            // Of one key there is one text for each part, but for who made the kit and meant to confuse itself.
            let next =
                opened(commitment, number, find(Locator::of_part(commitment, number))).into_iter().next();
            match next {
                Some(next) => text.extend(next),
                None => is_whole = false,
            }
        }
        let bytes = text.get(LENGTH..(length as usize).saturating_add(LENGTH));
        let kit = bytes.and_then(|bytes| Kit::from_bytes(bytes).ok());
        if let Some(kit) = kit.filter(|kit| is_whole && !kits.contains(kit)) {
            kits.push(kit);
        }
    }
    kits
}

fn opened(commitment: &Txid, number: u32, blobs: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let cipher = cipher(commitment);
    let locator = Locator::of_part(commitment, number);
    let open = |body: Vec<u8>| cipher.decrypt(&nonce(number), Payload { msg: &body, aad: &locator.0 }).ok();
    blobs.into_iter().filter(|body| body.len() == BLOB).filter_map(open).collect()
}

fn cipher(commitment: &Txid) -> ChaCha20Poly1305 {
    ChaCha20Poly1305::new(&Key::from(tagged("lightning blind key", commitment, 0)))
}

fn nonce(part: u32) -> Nonce {
    let [a, b, c, d] = part.to_le_bytes();
    Nonce::from([a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0])
}

/// Whose purpose is in the hash.
fn tagged(purpose: &str, commitment: &Txid, part: u32) -> [u8; 32] {
    let mut engine = sha256::Hash::engine();
    engine.input(sha256::Hash::hash(purpose.as_bytes()).as_byte_array());
    engine.input(commitment.as_byte_array());
    engine.input(&part.to_be_bytes());
    sha256::Hash::from_engine(engine).to_byte_array()
}
