//! What names and unlocks a payment: hash, preimage, payment secret.
//!
//! # Invariants
//! - secrets are compared in constant time, never printed, and erased when dropped
use core::fmt;

use bitcoin::hashes::{Hash as _, sha256};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroize as _;

/// SHA-256 of a [`Preimage`]: what an HTLC is locked to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PaymentHash(pub [u8; 32]);

impl fmt::Debug for PaymentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for PaymentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

macro_rules! secret32 {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone)]
        pub struct $name([u8; 32]);

        impl $name {
            /// Wraps the bytes.
            #[must_use]
            pub const fn new(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// The bytes, for the wire, a script or a store; never for a log.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }
        }

        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                self.0.ct_eq(&other.0).into()
            }
        }

        impl Eq for $name {}

        impl Drop for $name {
            fn drop(&mut self) {
                self.0.zeroize();
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(..)"))
            }
        }
    };
}

/// For the other secrets of the crate, which obey the same invariants.
pub(crate) use secret32;

secret32! {
    /// The secret that pays: whoever learns it can claim the HTLC.
    Preimage
}
secret32! {
    /// `payment_secret` (BOLT 4 and 11): proves that the payer saw the invoice, so hops cannot probe the payee.
    PaymentSecret
}

impl Preimage {
    /// The hash that this preimage opens.
    #[must_use]
    pub fn hash(&self) -> PaymentHash {
        PaymentHash(sha256::Hash::hash(&self.0).to_byte_array())
    }
}
