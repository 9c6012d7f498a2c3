//! Shared secrets of an onion and the keys derived from them (BOLT 4, "Shared Secret", "Key Generation").
//!
//! # Invariants
//! - secrets and derived keys are compared in constant time, never printed, and erased when dropped
use alloc::vec::Vec;
use core::fmt;

use bitcoin::hashes::{Hash as _, HashEngine as _, Hmac, HmacEngine, sha256};
use chacha20::ChaCha20;
use chacha20::cipher::{KeyIvInit as _, StreamCipher as _, StreamCipherSeek as _};
use secp256k1::{PublicKey, Scalar, SecretKey};
use subtle::ConstantTimeEq as _;
use zeroize::{Zeroize as _, Zeroizing};

use crate::codec::{Decode, DecodeError, Encode, Reader};

/// What one hop and the origin share: `SHA256` of the compressed ECDH point (BOLT 4, "Shared Secret").
///
/// A forwarding node keeps it beside the HTLC, for it needs it again to return a failure.
#[derive(Clone)]
pub struct SharedSecret([u8; 32]);

impl SharedSecret {
    /// Wraps the bytes.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The secret of `key` and the holder of `point`'s key.
    #[must_use]
    pub fn ecdh(point: &PublicKey, key: &SecretKey) -> Self {
        Self(secp256k1::ecdh::SharedSecret::new(point, key).secret_bytes())
    }

    /// The bytes, for a store; never for a log.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The key of type `kind` (BOLT 4: HMAC with the key type as key and the shared secret as message).
    pub(super) fn key(&self, kind: KeyKind) -> Key {
        Key::derive(kind, &self.0)
    }

    /// `SHA256(point || secret)`: what blinds an ephemeral key for the next hop. `None` with probability 2^-127.
    pub(super) fn blinding_factor(&self, point: &[u8; 33]) -> Option<Scalar> {
        let mut engine = sha256::Hash::engine();
        engine.input(point);
        engine.input(&self.0);
        Scalar::from_be_bytes(sha256::Hash::from_engine(engine).to_byte_array()).ok()
    }
}

impl PartialEq for SharedSecret {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for SharedSecret {}

impl Drop for SharedSecret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for SharedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedSecret(..)")
    }
}

impl Encode for SharedSecret {
    fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode(out);
    }
}

impl Decode for SharedSecret {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.array().map(Self)
    }
}

/// Key types of BOLT 4, "Key Generation", "Returning Errors" and "Route Blinding".
#[derive(Clone, Copy, Debug)]
pub(super) enum KeyKind {
    /// Obfuscates a returned failure.
    Ammag,
    /// Obfuscates attribution data.
    Ammagext,
    /// Blinds a node id.
    BlindedNodeId,
    /// Authenticates the payloads.
    Mu,
    /// Fills a fresh packet.
    Pad,
    /// Obfuscates the payloads.
    Rho,
    /// Authenticates a returned failure.
    Um,
}

impl KeyKind {
    const fn label(self) -> &'static [u8] {
        match self {
            Self::Ammag => b"ammag",
            Self::Ammagext => b"ammagext",
            Self::BlindedNodeId => b"blinded_node_id",
            Self::Mu => b"mu",
            Self::Pad => b"pad",
            Self::Rho => b"rho",
            Self::Um => b"um",
        }
    }
}

/// A key derived from a shared secret or a session key.
pub(super) struct Key(Zeroizing<[u8; 32]>);

impl Key {
    pub(super) fn derive(kind: KeyKind, secret: &[u8; 32]) -> Self {
        let mut engine = HmacEngine::<sha256::Hash>::new(kind.label());
        engine.input(secret);
        Self(Zeroizing::new(Hmac::from_engine(engine).to_byte_array()))
    }

    pub(super) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// HMAC-SHA256 under this key over `parts` one after the other.
    pub(super) fn hmac(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut engine = self.hmac_engine();
        for part in parts {
            engine.input(part);
        }
        Hmac::from_engine(engine).to_byte_array()
    }

    /// For callers that authenticate several messages with one beginning.
    pub(super) fn hmac_engine(&self) -> HmacEngine<sha256::Hash> {
        HmacEngine::new(self.0.as_slice())
    }

    /// The pseudo-random byte stream of this key (BOLT 4: `ChaCha20` with a zero nonce).
    pub(super) fn stream(&self) -> Stream {
        Stream(ChaCha20::new((&*self.0).into(), &[0; 12].into()))
    }
}

/// A pseudo-random byte stream, read from its start on.
pub(super) struct Stream(ChaCha20);

impl Stream {
    /// XORs the next bytes of the stream into `bytes`.
    pub(super) fn apply(&mut self, bytes: &mut [u8]) {
        self.0.apply_keystream(bytes);
    }

    /// The same stream, read from `position` on.
    pub(super) fn starting_at(mut self, position: usize) -> Self {
        self.0.seek(position);
        self
    }
}
