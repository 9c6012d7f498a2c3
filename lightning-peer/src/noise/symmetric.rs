//! The running hash and chaining key of a handshake, and HKDF.
//!
//! BOLT 8, "Handshake State" and "Handshake State Initialization".
//!
//! # Invariants
//! - both sides that saw the same bytes and secrets hold the same `h` and `ck`
//! - keys are wiped when dropped
use bitcoin::hashes::{Hash as _, HashEngine as _, Hmac, HmacEngine, sha256};
use zeroize::Zeroizing;

use super::HandshakeError;
use super::aead::{self, TAG_LENGTH};

/// A symmetric key that is wiped when dropped.
pub(crate) type SymmetricKey = Zeroizing<[u8; 32]>;

/// `h` and `ck` of a handshake under way.
pub(crate) struct Symmetric {
    hash: [u8; 32],
    chaining: SymmetricKey,
}

impl Symmetric {
    /// The state before act one, with the responder's static key mixed in, which XK knows beforehand.
    pub(crate) fn new(responder: &[u8; 33]) -> Self {
        // `h = SHA-256(protocolName)`, `ck = h`
        let name = sha256::Hash::hash(PROTOCOL_NAME).to_byte_array();
        let mut state = Self { hash: name, chaining: Zeroizing::new(name) };
        // `h = SHA-256(h || prologue)`
        state.mix_hash(PROLOGUE);
        state.mix_hash(responder);
        state
    }

    /// `h = SHA-256(h || bytes)`
    pub(crate) fn mix_hash(&mut self, bytes: &[u8]) {
        let mut engine = sha256::Hash::engine();
        engine.input(&self.hash);
        engine.input(bytes);
        self.hash = sha256::Hash::from_engine(engine).to_byte_array();
    }

    /// `ck, temp_k = HKDF(ck, secret)`; returns `temp_k`.
    pub(crate) fn mix_key(&mut self, secret: &[u8; 32]) -> SymmetricKey {
        let (chaining, key) = hkdf(&self.chaining, secret);
        self.chaining = chaining;
        key
    }

    /// `c = encryptWithAD(key, counter, h, plaintext)` in place, then `h = SHA-256(h || c)`; returns the tag.
    pub(crate) fn seal(&mut self, key: &SymmetricKey, counter: u64, buffer: &mut [u8]) -> [u8; TAG_LENGTH] {
        let tag = aead::seal(key, counter, &self.hash, buffer);
        self.mix_two(buffer, &tag);
        tag
    }

    /// The inverse of [`Self::seal`]: the hash covers the ciphertext, as it was received.
    pub(crate) fn open(
        &mut self,
        key: &SymmetricKey,
        counter: u64,
        buffer: &mut [u8],
        tag: &[u8; TAG_LENGTH],
    ) -> Result<(), HandshakeError> {
        let before = self.hash;
        self.mix_two(buffer, tag);
        aead::open(key, counter, &before, buffer, tag).map_err(|_| HandshakeError::BadTag)
    }

    /// `HKDF(ck, zero)`: the first key is the initiator's for sending. Also returns `ck`, which rotation starts from.
    pub(crate) fn split(self) -> (SymmetricKey, SymmetricKey, SymmetricKey) {
        let (first, second) = hkdf(&self.chaining, &[]);
        (first, second, self.chaining)
    }

    fn mix_two(&mut self, buffer: &[u8], tag: &[u8]) {
        let mut engine = sha256::Hash::engine();
        engine.input(&self.hash);
        engine.input(buffer);
        engine.input(tag);
        self.hash = sha256::Hash::from_engine(engine).to_byte_array();
    }
}

/// `HKDF(salt, ikm)` of RFC 5869 with a zero-length `info` and 64 bytes of output.
pub(crate) fn hkdf(salt: &[u8; 32], material: &[u8]) -> (SymmetricKey, SymmetricKey) {
    let extracted = Zeroizing::new(hmac(salt, &[material]));
    let first = Zeroizing::new(hmac(&extracted, &[&[1]]));
    let second = Zeroizing::new(hmac(&extracted, &[first.as_slice(), &[2]]));
    (first, second)
}

fn hmac(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
    let mut engine = HmacEngine::<sha256::Hash>::new(key);
    for part in parts {
        engine.input(part);
    }
    Hmac::from_engine(engine).to_byte_array()
}

const PROTOCOL_NAME: &[u8] = b"Noise_XK_secp256k1_ChaChaPoly_SHA256";
const PROLOGUE: &[u8] = b"lightning";
