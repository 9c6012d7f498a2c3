//! An invoice as a payer sees it.
//!
//! # Invariants
//! - the signature was checked when it was made; hash, secret and one kind of description are there
//! - it prints as the very text it was read from (in lower case), fields that we do not know included
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use bech32::primitives::gf32::Fe32;
use bech32::primitives::hrp::Hrp;
use bech32::primitives::iter::Fe32IterExt as _;
use bitcoin::hashes::{Hash as _, HashEngine as _, sha256};
use lightning_traits::feature::{Feature, Features};
use lightning_traits::payment::{PaymentHash, PaymentSecret};
use lightning_traits::route::RouteHint;
use lightning_traits::units::Msat;
use secp256k1::PublicKey;
use secp256k1::ecdsa::RecoverableSignature;

use super::parse::Bolt11Bech32;
use super::{Currency, Fallback, symbol};

/// BOLT 11: "Default is 3600 (1 hour) if not specified".
pub const DEFAULT_EXPIRY_SECONDS: u64 = 3600;
/// BOLT 11: "MUST use an expiry delta of at least 18 when making the payment".
pub const DEFAULT_MIN_FINAL_CLTV_EXPIRY_DELTA: u32 = 18;

/// A signed request for a payment.
///
/// Getters only; it comes from [`Bolt11Invoice::parse`](Self::parse) or an [`InvoiceBuilder`](super::InvoiceBuilder).
#[derive(Clone, PartialEq, Eq)]
pub struct Bolt11Invoice {
    /// The human-readable part, in lower case.
    pub(super) prefix: Hrp,
    /// Timestamp and tagged fields.
    pub(super) data: Vec<Fe32>,
    pub(super) signature: RecoverableSignature,
    pub(super) currency: Currency,
    pub(super) amount: Option<Msat>,
    pub(super) timestamp: u64,
    pub(super) payee: PublicKey,
    pub(super) content: Content,
}

/// The fields that we know, the first of each kind.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) payment_hash: PaymentHash,
    pub(super) payment_secret: PaymentSecret,
    pub(super) description: Description,
    pub(super) metadata: Option<Vec<u8>>,
    pub(super) named_payee: Option<PublicKey>,
    pub(super) expiry: Option<u64>,
    pub(super) min_final_cltv: Option<u32>,
    pub(super) fallbacks: Vec<Fallback>,
    pub(super) route_hints: Vec<RouteHint>,
    pub(super) features: Features,
}

/// What a payment is for.
///
/// The text is the payee's and may hold anything: escape it for wherever it is shown or stored (BOLT 11, "Security
/// Considerations for Payment Descriptions").
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Description {
    /// The text itself.
    Text(String),
    /// SHA-256 of a text that comes by another way; compare it before trusting that text.
    Hash([u8; 32]),
}

impl Description {
    /// Whether this is the description, or its hash, of `text`.
    #[must_use]
    pub fn describes(&self, text: &str) -> bool {
        match self {
            Self::Text(own) => own == text,
            Self::Hash(hash) => sha256::Hash::hash(text.as_bytes()).as_byte_array() == hash,
        }
    }
}

impl Bolt11Invoice {
    /// The currency to pay in.
    #[must_use]
    pub const fn currency(&self) -> Currency {
        self.currency
    }

    /// The amount asked for; `None` leaves it to the payer.
    #[must_use]
    pub const fn amount(&self) -> Option<Msat> {
        self.amount
    }

    /// When it was made, in seconds since 1970.
    #[must_use]
    pub const fn timestamp(&self) -> u64 {
        self.timestamp
    }

    /// The hash whose preimage proves the payment.
    #[must_use]
    pub const fn payment_hash(&self) -> PaymentHash {
        self.content.payment_hash
    }

    /// The secret for the last hop's payload.
    #[must_use]
    pub const fn payment_secret(&self) -> &PaymentSecret {
        &self.content.payment_secret
    }

    /// What the payment is for.
    #[must_use]
    pub const fn description(&self) -> &Description {
        &self.content.description
    }

    /// Metadata for the last hop's payload.
    #[must_use]
    pub fn metadata(&self) -> Option<&[u8]> {
        self.content.metadata.as_deref()
    }

    /// The node to pay, named in field `n` or recovered from the signature.
    #[must_use]
    pub const fn payee(&self) -> &PublicKey {
        &self.payee
    }

    /// Whether field `n` names the payee.
    #[must_use]
    pub const fn names_payee(&self) -> bool {
        self.content.named_payee.is_some()
    }

    /// Seconds after the timestamp in which it may be paid.
    #[must_use]
    pub fn expiry_seconds(&self) -> u64 {
        self.content.expiry.unwrap_or(DEFAULT_EXPIRY_SECONDS)
    }

    /// The last second in which it may be paid, in seconds since 1970.
    #[must_use]
    pub fn expires_at(&self) -> u64 {
        self.timestamp.saturating_add(self.expiry_seconds())
    }

    /// Whether it is expired at `unix_seconds` (BOLT 11: "after the `timestamp` plus `expiry` has passed").
    #[must_use]
    pub fn is_expired_at(&self, unix_seconds: u64) -> bool {
        unix_seconds > self.expires_at()
    }

    /// Least blocks between the height of the payment and the expiry of the last HTLC.
    #[must_use]
    pub fn min_final_cltv_expiry_delta(&self) -> u32 {
        self.content.min_final_cltv.unwrap_or(DEFAULT_MIN_FINAL_CLTV_EXPIRY_DELTA)
    }

    /// On-chain addresses, best first.
    #[must_use]
    pub fn fallbacks(&self) -> &[Fallback] {
        &self.content.fallbacks
    }

    /// Private ways to the payee, best first.
    #[must_use]
    pub fn route_hints(&self) -> &[RouteHint] {
        &self.content.route_hints
    }

    /// Features for receiving this payment.
    #[must_use]
    pub const fn features(&self) -> &Features {
        &self.content.features
    }

    /// The first compulsory feature that a payer with the features `supported` does not have: with one, BOLT 11 forbids
    /// to pay.
    #[must_use]
    pub fn required_beyond(&self, supported: &[Feature]) -> Option<Feature> {
        let features = self.features();
        Feature::ALL.iter().copied().find(|known| features.requires(*known) && !supported.contains(known))
    }

    /// The signature over [`digest`](Self::digest).
    #[must_use]
    pub const fn signature(&self) -> &RecoverableSignature {
        &self.signature
    }

    /// What the payee signed.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        digest(&self.prefix, &self.data)
    }
}

/// BOLT 11: "the SHA-256 hash of: the human-readable part (as UTF-8 bytes) concatenated with the data part (excluding the
/// signature), with 0 bits appended to pad to a byte boundary".
pub(super) fn digest(prefix: &Hrp, data: &[Fe32]) -> [u8; 32] {
    // Two zero symbols have the bits that the last byte may need; what they have beyond it is cut off again.
    let mut bytes = symbol::to_bytes(&[data, &[Fe32::Q; 2]].concat());
    bytes.truncate(data.len().saturating_mul(5).div_ceil(8));
    let mut engine = sha256::Hash::engine();
    engine.input(prefix.as_bytes());
    engine.input(&bytes);
    sha256::Hash::from_engine(engine).to_byte_array()
}

/// The text to hand to a payer, in lower case. For a QR code print it in upper case, which makes a smaller one.
impl fmt::Display for Bolt11Invoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (recovery_id, compact) = self.signature.serialize_compact();
        let mut signature = compact.to_vec();
        signature.push(recovery_id.to_i32() as u8);
        let data = self.data.iter().copied().chain(symbol::from_bytes(&signature));
        data.with_checksum::<Bolt11Bech32>(&self.prefix).chars().try_for_each(|c| write!(f, "{c}"))
    }
}

impl fmt::Debug for Bolt11Invoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hash = self.payment_hash();
        write!(f, "Bolt11Invoice({}, {:?}, hash {hash}, payee {})", self.currency, self.amount, self.payee)
    }
}
