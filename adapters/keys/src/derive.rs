//! One secret from another, by label.
//!
//! `child = HMAC-SHA256(parent, label)`. A label is used for one purpose only and never changes:
//! what it once gave must come back from the seed alone.
use bitcoin::hashes::{Hash as _, HashEngine as _, Hmac, HmacEngine, sha256};
use secp256k1::SecretKey;
use zeroize::Zeroizing;

/// 32 secret bytes that everything comes from. Erased when dropped.
#[derive(Clone)]
pub struct Seed(Zeroizing<[u8; 32]>);

impl core::fmt::Debug for Seed {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Seed(..)")
    }
}

impl Seed {
    /// Wraps the bytes.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The secret for one purpose.
    #[must_use]
    pub fn child(&self, label: &str) -> Self {
        self.child_bytes(label.as_bytes())
    }

    /// The secret for one purpose, named by bytes.
    #[must_use]
    pub(crate) fn child_bytes(&self, label: &[u8]) -> Self {
        let mut engine = HmacEngine::<sha256::Hash>::new(self.0.as_slice());
        engine.input(label);
        Self::new(Hmac::from_engine(engine).to_byte_array())
    }

    /// The secret key for one purpose; `None` for one seed in 2^128.
    #[must_use]
    pub fn secret_key(&self, label: &str) -> Option<SecretKey> {
        SecretKey::from_slice(self.child(label).as_bytes()).ok()
    }
}
