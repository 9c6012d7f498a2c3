//! The two ciphers of an established session, with key rotation.
//!
//! BOLT 8, "Lightning Message Specification" and "Lightning Message Key Rotation".
//!
//! # Invariants
//! - no key and nonce are used twice: the counter only grows and the key changes when it reaches 1000
//! - the two directions share nothing but the chaining key they start from
use zeroize::Zeroizing;

use super::aead::{self, BadTag, TAG_LENGTH};
use super::symmetric::{SymmetricKey, hkdf};

/// One direction of a session.
pub(crate) struct Cipher {
    key: SymmetricKey,
    chaining: SymmetricKey,
    counter: u64,
}

impl Cipher {
    pub(crate) fn new(key: SymmetricKey, chaining: SymmetricKey) -> Self {
        Self { key, chaining, counter: 0 }
    }

    /// Encrypts in place with the next nonce and returns the tag.
    pub(crate) fn seal(&mut self, buffer: &mut [u8]) -> [u8; TAG_LENGTH] {
        let tag = aead::seal(&self.key, self.counter, &[], buffer);
        self.advance();
        tag
    }

    /// Decrypts in place with the next nonce. After an error the session is over: the nonce was spent.
    pub(crate) fn open(&mut self, buffer: &mut [u8], tag: &[u8; TAG_LENGTH]) -> Result<(), BadTag> {
        let outcome = aead::open(&self.key, self.counter, &[], buffer, tag);
        self.advance();
        outcome
    }

    /// BOLT 8: "A key is to be rotated after a party encrypts or decrypts 1000 times with it":
    /// `ck', k' = HKDF(ck, k)`, nonce back to 0, `ck = ck'`.
    fn advance(&mut self) {
        self.counter = self.counter.saturating_add(1);
        if self.counter >= ROTATE_AFTER {
            let (chaining, key) = hkdf(&self.chaining, self.key.as_slice());
            self.chaining = chaining;
            self.key = key;
            self.counter = 0;
        }
    }
}

/// Both directions of a session, as one side holds them.
pub struct Session {
    pub(crate) sending: Cipher,
    pub(crate) receiving: Cipher,
}

impl Session {
    pub(crate) fn new(sending: SymmetricKey, receiving: SymmetricKey, chaining: SymmetricKey) -> Self {
        let copy = Zeroizing::new(*chaining);
        Self { sending: Cipher::new(sending, chaining), receiving: Cipher::new(receiving, copy) }
    }

    /// A session from keys that a handshake elsewhere agreed on (tests with known keys, handed-over sockets).
    #[must_use]
    pub fn from_keys(sending: [u8; 32], receiving: [u8; 32], chaining: [u8; 32]) -> Self {
        Self::new(Zeroizing::new(sending), Zeroizing::new(receiving), Zeroizing::new(chaining))
    }
}

/// Keys stay private.
impl core::fmt::Debug for Session {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Session(..)")
    }
}

const ROTATE_AFTER: u64 = 1000;
