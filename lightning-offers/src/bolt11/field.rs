//! Tagged fields one by one (BOLT 11, "Tagged Fields").
//!
//! # Invariants
//! - a field that the BOLT lets readers skip decodes to `None`, one that makes the invoice invalid to an error
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use bech32::primitives::gf32::Fe32;
use bitcoin::hex::DisplayHex as _;
use lightning_traits::codec::{Decode as _, Encode as _, Reader};
use lightning_traits::feature::Features;
use lightning_traits::id::NodeId;
use lightning_traits::payment::{PaymentHash, PaymentSecret};
use lightning_traits::route::{HintHop, RouteHint};
use lightning_traits::units::Msat;
use secp256k1::PublicKey;

use super::{Bolt11Error, Fallback, symbol};

/// Symbols of 32 bytes.
const HASH_SYMBOLS: usize = 52;
/// Symbols of a public key.
const KEY_SYMBOLS: usize = 53;
/// `pubkey`, `short_channel_id`, two fees of 4 bytes and a delta of 2.
const HINT_HOP_BYTES: usize = 51;
/// `data_length` has ten bits.
const MAX_SYMBOLS: usize = 1023;

/// The type of a field: one symbol, named by its bech32 character as in BOLT 11.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tag(Fe32);

impl Tag {
    pub(super) const DESCRIPTION: Self = Self(Fe32::D);
    pub(super) const DESCRIPTION_HASH: Self = Self(Fe32::H);
    pub(super) const EXPIRY: Self = Self(Fe32::X);
    pub(super) const FALLBACK: Self = Self(Fe32::F);
    pub(super) const FEATURES: Self = Self(Fe32::_9);
    pub(super) const METADATA: Self = Self(Fe32::M);
    pub(super) const MIN_FINAL_CLTV: Self = Self(Fe32::C);
    pub(super) const PAYEE: Self = Self(Fe32::N);
    pub(super) const PAYMENT_HASH: Self = Self(Fe32::P);
    pub(super) const PAYMENT_SECRET: Self = Self(Fe32::S);
    pub(super) const ROUTE_HINT: Self = Self(Fe32::R);

    pub(super) const fn of_symbol(symbol: Fe32) -> Self {
        Self(symbol)
    }

    pub(super) const fn symbol(self) -> Fe32 {
        self.0
    }

    /// Whether a writer may use it more than once.
    pub(super) fn may_repeat(self) -> bool {
        self == Self::FALLBACK || self == Self::ROUTE_HINT
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.to_char())
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A field that we know.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Field {
    /// `d`: what the payment is for.
    Description(String),
    /// `h`: SHA-256 of what the payment is for.
    DescriptionHash([u8; 32]),
    /// `x`: seconds after the timestamp.
    Expiry(u64),
    /// `f`: an on-chain address.
    Fallback(Fallback),
    /// `9`: features for receiving this payment.
    Features(Features),
    /// `m`: to be sent along with the payment.
    Metadata(Vec<u8>),
    /// `c`: least blocks between now and the expiry of the last HTLC.
    MinFinalCltv(u32),
    /// `n`: the payee's node key.
    Payee(PublicKey),
    /// `p`.
    PaymentHash(PaymentHash),
    /// `s`.
    PaymentSecret(PaymentSecret),
    /// `r`: a private way to the payee.
    RouteHint(RouteHint),
}

impl Field {
    pub(super) const fn tag(&self) -> Tag {
        match self {
            Self::Description(_) => Tag::DESCRIPTION,
            Self::DescriptionHash(_) => Tag::DESCRIPTION_HASH,
            Self::Expiry(_) => Tag::EXPIRY,
            Self::Fallback(_) => Tag::FALLBACK,
            Self::Features(_) => Tag::FEATURES,
            Self::Metadata(_) => Tag::METADATA,
            Self::MinFinalCltv(_) => Tag::MIN_FINAL_CLTV,
            Self::Payee(_) => Tag::PAYEE,
            Self::PaymentHash(_) => Tag::PAYMENT_HASH,
            Self::PaymentSecret(_) => Tag::PAYMENT_SECRET,
            Self::RouteHint(_) => Tag::ROUTE_HINT,
        }
    }

    /// Decodes one field; `None` when a reader skips it.
    pub(super) fn decode(tag: Tag, data: &[Fe32]) -> Result<Option<Self>, Bolt11Error> {
        Ok(match tag {
            // The text says to fail when a field of fixed length has another; its own vector "Same, but including fields
            // which must be ignored" says to skip it. A required field that is skipped is then missing, so skipping
            // is as safe.
            Tag::PAYMENT_HASH => hash(data).map(|hash| Self::PaymentHash(PaymentHash(hash))),
            Tag::PAYMENT_SECRET => hash(data).map(|secret| Self::PaymentSecret(PaymentSecret::new(secret))),
            Tag::DESCRIPTION_HASH => hash(data).map(Self::DescriptionHash),
            Tag::PAYEE if data.len() == KEY_SYMBOLS => {
                let key =
                    PublicKey::from_slice(&symbol::to_bytes(data)).map_err(|_| Bolt11Error::BadPayee)?;
                Some(Self::Payee(key))
            }
            Tag::DESCRIPTION => {
                let text = String::from_utf8(symbol::to_bytes(data));
                Some(Self::Description(text.map_err(|_| Bolt11Error::DescriptionNotUtf8)?))
            }
            Tag::METADATA => Some(Self::Metadata(symbol::to_bytes(data))),
            Tag::EXPIRY => Some(Self::Expiry(number(tag, data)?)),
            Tag::MIN_FINAL_CLTV => {
                let blocks = number(tag, data)?;
                Some(Self::MinFinalCltv(u32::try_from(blocks).map_err(|_| Bolt11Error::NumberTooLarge(tag))?))
            }
            Tag::FALLBACK => Fallback::decode(data).map(Self::Fallback),
            Tag::ROUTE_HINT => Some(Self::RouteHint(decode_hint(&symbol::to_bytes(data))?)),
            Tag::FEATURES => {
                check_minimal(tag, data)?;
                Some(Self::Features(Features::from_bits(symbol::set_bits(data))))
            }
            _ => None,
        })
    }

    /// The field's data; `None` when it does not fit into a field.
    pub(super) fn encode(&self) -> Option<Vec<Fe32>> {
        let data = match self {
            Self::Description(text) => symbol::from_bytes(text.as_bytes()),
            Self::DescriptionHash(hash) => symbol::from_bytes(hash),
            Self::Expiry(seconds) => symbol::from_number_shortest(*seconds),
            Self::Fallback(fallback) => fallback.encode(),
            Self::Features(features) => symbol::from_set_bits(features.bits()),
            Self::Metadata(metadata) => symbol::from_bytes(metadata),
            Self::MinFinalCltv(blocks) => symbol::from_number_shortest(u64::from(*blocks)),
            Self::Payee(key) => symbol::from_bytes(&key.serialize()),
            Self::PaymentHash(hash) => symbol::from_bytes(&hash.0),
            Self::PaymentSecret(secret) => symbol::from_bytes(secret.as_bytes()),
            Self::RouteHint(hint) => symbol::from_bytes(&encode_hint(hint)?),
        };
        (data.len() <= MAX_SYMBOLS).then_some(data)
    }
}

impl fmt::Debug for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.tag())?;
        match self {
            Self::Description(text) => write!(f, "{text:?}"),
            Self::DescriptionHash(hash) => write!(f, "{}", hash.as_hex()),
            Self::Expiry(seconds) => write!(f, "{seconds} s"),
            Self::Fallback(fallback) => write!(f, "{fallback:?}"),
            Self::Features(features) => write!(f, "{features:?}"),
            Self::Metadata(metadata) => write!(f, "{}", metadata.as_hex()),
            Self::MinFinalCltv(blocks) => write!(f, "{blocks} blocks"),
            Self::Payee(key) => write!(f, "{key}"),
            Self::PaymentHash(hash) => write!(f, "{hash}"),
            Self::PaymentSecret(secret) => write!(f, "{secret:?}"),
            Self::RouteHint(hint) => write!(f, "{hint:?}"),
        }
    }
}

fn hash(data: &[Fe32]) -> Option<[u8; 32]> {
    if data.len() == HASH_SYMBOLS { symbol::to_bytes(data).try_into().ok() } else { None }
}

fn number(tag: Tag, data: &[Fe32]) -> Result<u64, Bolt11Error> {
    check_minimal(tag, data)?;
    symbol::to_number(data).ok_or(Bolt11Error::NumberTooLarge(tag))
}

/// BOLT 11: "if a `c`, `x`, or `9` field is provided which has a non-minimal `data_length` (i.e. begins with 0 field
/// elements): SHOULD treat the invoice as invalid".
fn check_minimal(tag: Tag, data: &[Fe32]) -> Result<(), Bolt11Error> {
    if data.first() == Some(&Fe32::Q) { Err(Bolt11Error::NotMinimal(tag)) } else { Ok(()) }
}

fn decode_hint(bytes: &[u8]) -> Result<RouteHint, Bolt11Error> {
    let hops = bytes.chunks(HINT_HOP_BYTES).map(|hop| decode_hop(hop).ok_or(Bolt11Error::BadRouteHint));
    let hops = hops.collect::<Result<Vec<_>, _>>()?;
    // BOLT 11: "`r` field MUST contain one or more ordered entries".
    if hops.is_empty() { Err(Bolt11Error::BadRouteHint) } else { Ok(RouteHint { hops }) }
}

fn decode_hop(bytes: &[u8]) -> Option<HintHop> {
    let mut reader = Reader::new(bytes);
    let node: PublicKey = reader.read().ok()?;
    Some(HintHop {
        node: NodeId::from(node),
        scid: reader.read().ok()?,
        fee_base: Msat::new(u64::from(reader.read::<u32>().ok()?)),
        fee_proportional_millionths: reader.read().ok()?,
        cltv_delta: reader.read().ok()?,
    })
}

/// `None` when a base fee needs more than the four bytes there are, a node id is no key, or there is no hop.
fn encode_hint(hint: &RouteHint) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    for hop in &hint.hops {
        PublicKey::from_bytes(&hop.node.0).ok()?.encode(&mut bytes);
        hop.scid.encode(&mut bytes);
        u32::try_from(hop.fee_base.to_msat()).ok()?.encode(&mut bytes);
        hop.fee_proportional_millionths.encode(&mut bytes);
        hop.cltv_delta.encode(&mut bytes);
    }
    (!bytes.is_empty()).then_some(bytes)
}
