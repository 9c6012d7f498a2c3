//! Why text is no invoice that may be paid.
use lightning_traits::feature::FeatureError;
use thiserror::Error;

use super::Tag;

/// Why text is no invoice that may be paid. Each variant is one rule of BOLT 11.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Bolt11Error {
    /// The amount is not a positive decimal number without leading zeros, or larger than any amount.
    #[error("the amount is not a valid number")]
    BadAmount,
    /// The checksum is wrong: a typing error, or a character lost.
    #[error("the bech32 checksum is wrong")]
    BadChecksum,
    /// No bech32: no separator, a character that bech32 does not have, or upper and lower case mixed.
    #[error("not a bech32 string")]
    BadEncoding,
    /// The letter behind the amount is none of `m`, `u`, `n`, `p`.
    #[error("unknown multiplier of the amount")]
    BadMultiplier,
    /// The key in `n` is no point of the curve.
    #[error("field n is not a public key")]
    BadPayee,
    /// A route hint is not made of whole hops, or names a node by what is no key.
    #[error("malformed route hint")]
    BadRouteHint,
    /// The signature is not that of the payee named in `n`, or no signature at all.
    #[error("the signature is wrong")]
    BadSignature,
    /// Both a description and the hash of one.
    #[error("both a description and the hash of one")]
    BothDescriptions,
    /// The description is not UTF-8.
    #[error("the description is not UTF-8")]
    DescriptionNotUtf8,
    /// Known features without what they depend on.
    #[error("features: {0}")]
    Features(FeatureError),
    /// With `n`, the signature must be in its low-S form.
    #[error("the signature is in its high-S form, which field n forbids")]
    HighS,
    /// Neither a description nor the hash of one.
    #[error("neither a description nor the hash of one")]
    MissingDescription,
    /// No payment hash of the right length.
    #[error("no payment hash")]
    MissingPaymentHash,
    /// No payment secret of the right length.
    #[error("no payment secret")]
    MissingPaymentSecret,
    /// A number or feature vector begins with zeros.
    #[error("field {0} is not encoded in its shortest form")]
    NotMinimal(Tag),
    /// A number that does not fit.
    #[error("the number in field {0} is too large")]
    NumberTooLarge(Tag),
    /// Multiplier `p` and a last digit other than zero.
    #[error("the amount is not a whole number of millisatoshi")]
    SubMillisatoshi,
    /// Too short for a timestamp and a signature.
    #[error("too short")]
    TooShort,
    /// A field's length runs into the signature.
    #[error("the fields are cut short")]
    TruncatedField,
    /// The human-readable part does not begin like an invoice of a currency that we know.
    #[error("not an invoice, or one of an unknown network")]
    UnknownPrefix,
    /// An even feature bit that invoices do not have.
    #[error("unknown required feature {0}")]
    UnknownRequiredFeature(u16),
}
