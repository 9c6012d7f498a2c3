//! Fields to signed invoice.
//!
//! # Invariants
//! - what is built would be accepted by [`Bolt11Invoice::parse`]: the same checks run on it
//! - fields stand in the invoice in the order in which they were given
use alloc::string::String;
use alloc::vec::Vec;

use bech32::primitives::gf32::Fe32;
use bech32::primitives::hrp::Hrp;
use lightning_traits::Secp;
use lightning_traits::feature::Features;
use lightning_traits::payment::{PaymentHash, PaymentSecret};
use lightning_traits::route::RouteHint;
use lightning_traits::units::Msat;
use secp256k1::PublicKey;
use secp256k1::ecdsa::RecoverableSignature;
use thiserror::Error;

use super::invoice::{Content, digest};
use super::{Bolt11Error, Bolt11Invoice, Currency, Fallback, Field, Tag, prefix, symbol};

/// Why an invoice cannot be built. `E` is the signer's own error.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BuildError<E> {
    /// A field that there may be only one of was given twice.
    #[error("field {0} is given twice")]
    Duplicate(Tag),
    /// A field is longer than 639 bytes, or a route hint has no hop, a node that is no key, or a base fee above 2^32 - 1.
    #[error("field {0} cannot be encoded")]
    FieldDoesNotFit(Tag),
    /// Nobody could pay this invoice.
    #[error("{0}")]
    Invalid(Bolt11Error),
    /// The signer refused, or needs time.
    #[error("the signer: {0}")]
    Signer(E),
    /// The time needs more than 35 bits.
    #[error("the timestamp does not fit")]
    TimestampDoesNotFit,
}

/// Collects the fields of an invoice; [`build`](Self::build) has it signed.
///
/// Required are a payment hash, a payment secret and either a description or the hash of one.
#[derive(Clone, Debug)]
pub struct InvoiceBuilder {
    currency: Currency,
    amount: Option<Msat>,
    timestamp: u64,
    fields: Vec<Field>,
}

impl InvoiceBuilder {
    /// An invoice made at `timestamp` (seconds since 1970) that leaves the amount to the payer.
    #[must_use]
    pub const fn new(currency: Currency, timestamp: u64) -> Self {
        Self { currency, amount: None, timestamp, fields: Vec::new() }
    }

    /// The amount to ask for.
    #[must_use]
    pub const fn amount(mut self, amount: Msat) -> Self {
        self.amount = Some(amount);
        self
    }

    /// Hash of the preimage that the payer gets.
    #[must_use]
    pub fn payment_hash(self, hash: PaymentHash) -> Self {
        self.field(Field::PaymentHash(hash))
    }

    /// The secret that the payer must present.
    #[must_use]
    pub fn payment_secret(self, secret: PaymentSecret) -> Self {
        self.field(Field::PaymentSecret(secret))
    }

    /// What the payment is for.
    #[must_use]
    pub fn description(self, text: impl Into<String>) -> Self {
        self.field(Field::Description(text.into()))
    }

    /// SHA-256 of what the payment is for, when that is too long.
    #[must_use]
    pub fn description_hash(self, hash: [u8; 32]) -> Self {
        self.field(Field::DescriptionHash(hash))
    }

    /// What the payer sends along with the payment.
    #[must_use]
    pub fn metadata(self, metadata: Vec<u8>) -> Self {
        self.field(Field::Metadata(metadata))
    }

    /// Names the payee, so that payers need not recover the key.
    #[must_use]
    pub fn payee(self, key: PublicKey) -> Self {
        self.field(Field::Payee(key))
    }

    /// How long it may be paid.
    #[must_use]
    pub fn expiry_seconds(self, seconds: u64) -> Self {
        self.field(Field::Expiry(seconds))
    }

    /// Least blocks that the last HTLC must have before it expires.
    #[must_use]
    pub fn min_final_cltv_expiry_delta(self, blocks: u32) -> Self {
        self.field(Field::MinFinalCltv(blocks))
    }

    /// Another on-chain address; the best first.
    #[must_use]
    pub fn fallback(self, fallback: Fallback) -> Self {
        self.field(Field::Fallback(fallback))
    }

    /// Another private way to the payee; the best first.
    #[must_use]
    pub fn route_hint(self, hint: RouteHint) -> Self {
        self.field(Field::RouteHint(hint))
    }

    /// Features for receiving the payment; left out when no bit is set, as BOLT 11 asks.
    #[must_use]
    pub fn features(self, features: Features) -> Self {
        if features.is_empty() { self } else { self.field(Field::Features(features)) }
    }

    /// Any field that we know.
    #[must_use]
    pub fn field(mut self, field: Field) -> Self {
        self.fields.push(field);
        self
    }

    /// Encodes the invoice and has its digest signed with the payee's node key.
    ///
    /// # Errors
    /// [`BuildError`]; all but the signature itself is checked before the signer is called.
    pub fn build<E>(
        &self,
        secp: &Secp,
        sign: impl FnOnce(&[u8; 32]) -> Result<RecoverableSignature, E>,
    ) -> Result<Bolt11Invoice, BuildError<E>> {
        let prefix =
            prefix::format(self.currency, self.amount).ok_or(BuildError::Invalid(Bolt11Error::BadAmount))?;
        let prefix = Hrp::parse(&prefix).map_err(|_| BuildError::Invalid(Bolt11Error::BadAmount))?;
        let data = self.data()?;
        // Nothing is signed that could not be paid.
        Content::collect(self.fields.clone()).map_err(BuildError::Invalid)?;
        let signature = sign(&digest(&prefix, &data)).map_err(BuildError::Signer)?;
        Bolt11Invoice::from_parts(secp, prefix, data, signature).map_err(BuildError::Invalid)
    }

    /// Timestamp and fields.
    fn data<E>(&self) -> Result<Vec<Fe32>, BuildError<E>> {
        let mut data = symbol::from_number(self.timestamp, 7).ok_or(BuildError::TimestampDoesNotFit)?;
        let mut seen: Vec<Tag> = Vec::new();
        for field in &self.fields {
            let tag = field.tag();
            if seen.contains(&tag) && !tag.may_repeat() {
                return Err(BuildError::Duplicate(tag));
            }
            seen.push(tag);
            let symbols = field.encode().ok_or(BuildError::FieldDoesNotFit(tag))?;
            let length =
                symbol::from_number(symbols.len() as u64, 2).ok_or(BuildError::FieldDoesNotFit(tag))?;
            data.push(tag.symbol());
            data.extend(length);
            data.extend(symbols);
        }
        Ok(data)
    }
}
