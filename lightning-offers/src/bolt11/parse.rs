//! Text to invoice, with every check that BOLT 11 asks of a reader.
//!
//! # Invariants
//! - the signature is checked before any field is believed
//! - of several fields of one kind the first is used (BOLT 11: "MUST specify the most-preferred field first")
use alloc::vec::Vec;

use bech32::primitives::decode::{CheckedHrpstring, CheckedHrpstringError, ChecksumError};
use bech32::primitives::gf32::Fe32;
use bech32::primitives::hrp::Hrp;
use bech32::{Bech32, Checksum};
use lightning_traits::Secp;
use lightning_traits::feature::{Context, Feature, Features};
use secp256k1::ecdsa::{RecoverableSignature, RecoveryId};
use secp256k1::{Message, PublicKey};

use super::invoice::{Bolt11Invoice, Content, Description, digest};
use super::{Bolt11Error, Field, Tag, prefix, symbol};

/// Seconds since 1970 in 35 bits.
const TIMESTAMP_SYMBOLS: usize = 7;
/// 64 bytes of signature and one of recovery id.
const SIGNATURE_SYMBOLS: usize = 104;

/// Bech32 "also without the character limit" (BOLT 11).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bolt11Bech32 {}

impl Checksum for Bolt11Bech32 {
    type MidstateRepr = <Bech32 as Checksum>::MidstateRepr;
    const CODE_LENGTH: usize = usize::MAX;
    const CHECKSUM_LENGTH: usize = Bech32::CHECKSUM_LENGTH;
    const GENERATOR_SH: [Self::MidstateRepr; 5] = Bech32::GENERATOR_SH;
    const TARGET_RESIDUE: Self::MidstateRepr = Bech32::TARGET_RESIDUE;
}

impl Bolt11Invoice {
    /// Reads an invoice in lower or upper case, without `lightning:` in front.
    ///
    /// # Errors
    /// [`Bolt11Error`], when BOLT 11 forbids to pay it.
    pub fn parse(secp: &Secp, text: &str) -> Result<Self, Bolt11Error> {
        let checked = CheckedHrpstring::new::<Bolt11Bech32>(text).map_err(|error| match error {
            CheckedHrpstringError::Checksum(ChecksumError::InvalidResidue) => Bolt11Error::BadChecksum,
            _ => Bolt11Error::BadEncoding,
        })?;
        let prefix = Hrp::parse(&checked.hrp().to_lowercase()).map_err(|_| Bolt11Error::BadEncoding)?;
        let symbols: Vec<Fe32> = checked.fe32_iter::<core::iter::Empty<u8>>().collect();
        let (data, signature) = symbols
            .split_last_chunk::<SIGNATURE_SYMBOLS>()
            .filter(|(data, _)| data.len() >= TIMESTAMP_SYMBOLS)
            .ok_or(Bolt11Error::TooShort)?;
        let signature = decode_signature(&symbol::to_bytes(signature))?;
        Self::from_parts(secp, prefix, data.to_vec(), signature)
    }

    /// Checks and reads all but the encoding: also the last step of building one.
    pub(super) fn from_parts(
        secp: &Secp,
        prefix: Hrp,
        data: Vec<Fe32>,
        signature: RecoverableSignature,
    ) -> Result<Self, Bolt11Error> {
        let (currency, amount) = prefix::parse(prefix.as_str())?;
        let (timestamp, fields) = data.split_at_checked(TIMESTAMP_SYMBOLS).ok_or(Bolt11Error::TooShort)?;
        let timestamp = symbol::to_number(timestamp).ok_or(Bolt11Error::TooShort)?;
        let fields = decode_fields(fields)?;
        let named_payee = fields.iter().find_map(|field| match field {
            Field::Payee(key) => Some(*key),
            _ => None,
        });
        let payee = check_signature(secp, &digest(&prefix, &data), &signature, named_payee)?;
        let content = Content::collect(fields)?;
        Ok(Self { prefix, data, signature, currency, amount, timestamp, payee, content })
    }

    /// Type and data of every field in order, those that we skip included.
    pub fn raw_fields(&self) -> impl Iterator<Item = (Tag, &[Fe32])> {
        raw_fields(self.data.get(TIMESTAMP_SYMBOLS..).unwrap_or_default()).filter_map(Result::ok)
    }
}

impl Content {
    /// Sorts the fields and checks that a payer has what it needs.
    pub(super) fn collect(fields: Vec<Field>) -> Result<Self, Bolt11Error> {
        let mut payment_hash = None;
        let mut payment_secret = None;
        let mut text = None;
        let mut hash = None;
        let mut metadata = None;
        let mut named_payee = None;
        let mut expiry = None;
        let mut min_final_cltv = None;
        let mut features = None;
        let mut fallbacks = Vec::new();
        let mut route_hints = Vec::new();
        for field in fields {
            match field {
                Field::Description(value) => keep_first(&mut text, value),
                Field::DescriptionHash(value) => keep_first(&mut hash, value),
                Field::Expiry(value) => keep_first(&mut expiry, value),
                Field::Fallback(value) => fallbacks.push(value),
                Field::Features(value) => keep_first(&mut features, value),
                Field::Metadata(value) => keep_first(&mut metadata, value),
                Field::MinFinalCltv(value) => keep_first(&mut min_final_cltv, value),
                Field::Payee(value) => keep_first(&mut named_payee, value),
                Field::PaymentHash(value) => keep_first(&mut payment_hash, value),
                Field::PaymentSecret(value) => keep_first(&mut payment_secret, value),
                Field::RouteHint(value) => route_hints.push(value),
            }
        }
        // BOLT 11: "MUST fail the payment if neither a `d` field nor a `h` field is present, or if both are present".
        let description = match (text, hash) {
            (Some(text), None) => Description::Text(text),
            (None, Some(hash)) => Description::Hash(hash),
            (None, None) => return Err(Bolt11Error::MissingDescription),
            (Some(_), Some(_)) => return Err(Bolt11Error::BothDescriptions),
        };
        let features = features.unwrap_or_default();
        check_features(&features)?;
        Ok(Self {
            payment_hash: payment_hash.ok_or(Bolt11Error::MissingPaymentHash)?,
            // BOLT 11: "if a valid `s` field is not provided: MUST fail the payment".
            payment_secret: payment_secret.ok_or(Bolt11Error::MissingPaymentSecret)?,
            description,
            metadata,
            named_payee,
            expiry,
            min_final_cltv,
            fallbacks,
            route_hints,
            features,
        })
    }
}

fn keep_first<T>(slot: &mut Option<T>, value: T) {
    slot.get_or_insert(value);
}

fn decode_fields(symbols: &[Fe32]) -> Result<Vec<Field>, Bolt11Error> {
    let mut fields = Vec::new();
    for raw in raw_fields(symbols) {
        let (tag, data) = raw?;
        fields.extend(Field::decode(tag, data)?);
    }
    Ok(fields)
}

fn raw_fields(mut rest: &[Fe32]) -> impl Iterator<Item = Result<(Tag, &[Fe32]), Bolt11Error>> {
    core::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let field = split_field(rest);
        rest = field.map_or(&[], |(_, _, after)| after);
        Some(field.map(|(tag, data, _)| (tag, data)).ok_or(Bolt11Error::TruncatedField))
    })
}

/// `type` (1 symbol), `data_length` (2), `data`, and what is behind them.
fn split_field(symbols: &[Fe32]) -> Option<(Tag, &[Fe32], &[Fe32])> {
    let ([tag, high, low], rest) = symbols.split_first_chunk()?;
    let length = usize::from(high.to_u8()).saturating_mul(32).saturating_add(usize::from(low.to_u8()));
    let (data, after) = rest.split_at_checked(length)?;
    Some((Tag::of_symbol(*tag), data, after))
}

fn decode_signature(bytes: &[u8]) -> Result<RecoverableSignature, Bolt11Error> {
    let (recovery_id, compact) = bytes.split_last().ok_or(Bolt11Error::TooShort)?;
    let recovery_id = RecoveryId::from_i32(i32::from(*recovery_id)).map_err(|_| Bolt11Error::BadSignature)?;
    RecoverableSignature::from_compact(compact, recovery_id).map_err(|_| Bolt11Error::BadSignature)
}

/// The payee's key, once the signature is proven to be its own.
fn check_signature(
    secp: &Secp,
    digest: &[u8; 32],
    signature: &RecoverableSignature,
    named_payee: Option<PublicKey>,
) -> Result<PublicKey, Bolt11Error> {
    let message = Message::from_digest(*digest);
    let Some(payee) = named_payee else {
        // BOLT 11: "MUST perform ECDSA public-key recovery and accept both high-S and low-S signatures".
        return secp.recover_ecdsa(&message, signature).map_err(|_| Bolt11Error::BadSignature);
    };
    let signature = signature.to_standard();
    let mut low = signature;
    low.normalize_s();
    if low != signature {
        return Err(Bolt11Error::HighS);
    }
    secp.verify_ecdsa(&message, &signature, &payee).map_err(|_| Bolt11Error::BadSignature)?;
    Ok(payee)
}

fn check_features(features: &Features) -> Result<(), Bolt11Error> {
    let is_known = |bit: u16| Feature::from_bit(bit).is_some_and(|feature| feature.is_in(Context::Invoice));
    // BOLT 11: "if the `9` field contains unknown _even_ bits that are non-zero: MUST fail the payment".
    if let Some(bit) = features.bits().find(|bit| bit % 2 == 0 && !is_known(*bit)) {
        return Err(Bolt11Error::UnknownRequiredFeature(bit));
    }
    // BOLT 11: "if the feature vector does not set all known, transitive feature dependencies: MUST NOT attempt the
    // payment".
    features.check_dependencies().map_err(Bolt11Error::Features)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksum_is_consistent() {
        Bolt11Bech32::sanity_check();
    }
}
