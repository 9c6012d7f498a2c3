//! What an onion tells one hop: its TLV payload (BOLT 4, "`payload` format").
//!
//! # Invariants
//! - an even record that nobody asked for is refused with its type and offset (BOLT 1: "it's ok to be odd")
//! - a payload that decodes has what its role requires: nothing is optional that the reader must have
//!
//! Comparing amounts and expiries with those of the HTLC is the channel's business.
use alloc::vec::Vec;

use secp256k1::PublicKey;
use thiserror::Error;

use super::Failure;
use crate::codec::tlv::TlvRecords;
use crate::codec::{BigSize, Decode, DecodeError, Encode as _, Reader, Tu32, Tu64};
use crate::id::ShortChannelId;
use crate::payment::{PaymentSecret, Preimage};
use crate::units::{CltvExpiry, Msat};

const AMT_TO_FORWARD: u64 = 2;
const OUTGOING_CLTV_VALUE: u64 = 4;
const SHORT_CHANNEL_ID: u64 = 6;
const PAYMENT_DATA: u64 = 8;
const ENCRYPTED_RECIPIENT_DATA: u64 = 10;
const CURRENT_PATH_KEY: u64 = 12;
const PAYMENT_METADATA: u64 = 16;
const TOTAL_AMOUNT_MSAT: u64 = 18;
/// The preimage of a payment that nobody asked for ("keysend", bLIP 3).
pub const KEYSEND_RECORD: u64 = 5_482_373_484;
/// From here on types of records are the applications' own (bLIP 2).
pub const FIRST_CUSTOM_RECORD: u64 = 65_536;

/// A payload, by the role it gives to its reader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HopPayload {
    /// Forward along a channel.
    Forward(ForwardPayload),
    /// The payment is for us.
    Final(FinalPayload),
    /// We are part of a blinded path.
    Blinded(BlindedPayload),
}

/// Payload of a node between origin and final node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwardPayload {
    /// `amt_to_forward`: what the next HTLC carries.
    pub amount: Msat,
    /// `outgoing_cltv_value`: expiry of the next HTLC.
    pub expiry: CltvExpiry,
    /// The channel to the next node (any other channel to that node will do: "Non-strict Forwarding").
    pub short_channel_id: ShortChannelId,
    /// Odd records that we do not know.
    pub unknown: TlvRecords,
}

/// Payload of the final node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FinalPayload {
    /// `amt_to_forward`: the least that the HTLC must carry.
    pub amount: Msat,
    /// `outgoing_cltv_value`: the least that its expiry must be.
    pub expiry: CltvExpiry,
    /// Secret of the invoice and total of all parts.
    pub payment_data: Option<PaymentData>,
    /// `payment_metadata` of the invoice.
    pub payment_metadata: Option<Vec<u8>>,
    /// The preimage itself, when the payer chose it.
    pub keysend: Option<Preimage>,
    /// Application records (65536 and up) and unknown odd ones.
    pub custom: TlvRecords,
}

/// Ties a part to its payment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaymentData {
    /// `payment_secret` of the invoice.
    pub payment_secret: PaymentSecret,
    /// The amount of all parts together.
    pub total: Msat,
}

/// Payload inside a blinded path, with only the records that BOLT 4 allows there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlindedPayload {
    /// What the recipient encrypted for this node.
    pub encrypted_recipient_data: Vec<u8>,
    /// At the introduction node: the path key, which later nodes get in `update_add_htlc`.
    pub current_path_key: Option<PublicKey>,
    /// Only at the final node.
    pub amount: Option<Msat>,
    /// Only at the final node.
    pub expiry: Option<CltvExpiry>,
    /// Only at the final node: the amount of all parts together.
    pub total: Option<Msat>,
}

/// Why a payload is refused, for `invalid_onion_payload`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("tlv record {kind} at byte {offset} of the onion payload: {problem}")]
pub struct PayloadError {
    /// The record's type.
    pub kind: u64,
    /// Where it starts in the payload; zero when it is missing.
    pub offset: u16,
    /// What is wrong.
    pub problem: DecodeError,
}

impl PayloadError {
    /// The failure to return to the origin.
    #[must_use]
    pub const fn failure(self) -> Failure {
        Failure::InvalidOnionPayload { kind: self.kind, offset: self.offset }
    }

    const fn missing(kind: u64) -> Self {
        Self { kind, offset: 0, problem: DecodeError::MissingRecord(kind) }
    }
}

impl HopPayload {
    /// Decodes the payload that [`peel`](super::peel) returned.
    ///
    /// `is_final` says that no packet was left for a next hop. `understood` lists the even application records
    /// (65536 and up) that the user of the library knows; others are refused.
    ///
    /// # Errors
    /// [`PayloadError`], which names the first record that is wrong or missing.
    pub fn decode(payload: &[u8], is_final: bool, understood: &[u64]) -> Result<Self, PayloadError> {
        let fields = Fields::read(payload, understood)?;
        if fields.encrypted_recipient_data.is_some() {
            return fields.into_blinded(is_final).map(Self::Blinded);
        }
        // BOLT 4: outside of a blinded route "MUST return an error if ... `current_path_key` is present".
        fields.refuse(&[CURRENT_PATH_KEY])?;
        if is_final { fields.into_final().map(Self::Final) } else { fields.into_forward().map(Self::Forward) }
    }

    /// The payload's bytes, without the length in front.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Forward(payload) => payload.to_bytes(),
            Self::Final(payload) => payload.to_bytes(),
            Self::Blinded(payload) => payload.to_bytes(),
        }
    }
}

impl ForwardPayload {
    /// The payload's bytes, without the length in front.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut records = self.unknown.clone();
        records.put(AMT_TO_FORWARD, &Tu64(self.amount.to_msat()));
        records.put(OUTGOING_CLTV_VALUE, &Tu32(self.expiry.get()));
        records.put(SHORT_CHANNEL_ID, &self.short_channel_id);
        records.to_bytes()
    }
}

impl FinalPayload {
    /// The amount of all parts together. BOLT 4: "MUST treat `total_msat` as if it were equal to `amt_to_forward` if it
    /// is not present".
    #[must_use]
    pub fn total(&self) -> Msat {
        self.payment_data.as_ref().map_or(self.amount, |data| data.total)
    }

    /// The payload's bytes, without the length in front.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut records = self.custom.clone();
        records.put(AMT_TO_FORWARD, &Tu64(self.amount.to_msat()));
        records.put(OUTGOING_CLTV_VALUE, &Tu32(self.expiry.get()));
        if let Some(data) = &self.payment_data {
            let mut value = data.payment_secret.to_bytes();
            Tu64(data.total.to_msat()).encode(&mut value);
            records.put_raw(PAYMENT_DATA, value);
        }
        if let Some(metadata) = &self.payment_metadata {
            records.put_raw(PAYMENT_METADATA, metadata.clone());
        }
        records.put_opt(KEYSEND_RECORD, self.keysend.as_ref());
        records.to_bytes()
    }
}

impl BlindedPayload {
    /// The payload's bytes, without the length in front.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut records = TlvRecords::new();
        records.put_opt(AMT_TO_FORWARD, self.amount.map(|amount| Tu64(amount.to_msat())).as_ref());
        records.put_opt(OUTGOING_CLTV_VALUE, self.expiry.map(|expiry| Tu32(expiry.get())).as_ref());
        records.put_raw(ENCRYPTED_RECIPIENT_DATA, self.encrypted_recipient_data.clone());
        records.put_opt(CURRENT_PATH_KEY, self.current_path_key.as_ref());
        records.put_opt(TOTAL_AMOUNT_MSAT, self.total.map(|total| Tu64(total.to_msat())).as_ref());
        records.to_bytes()
    }
}

impl Decode for PaymentData {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { payment_secret: reader.read()?, total: Msat::new(reader.read::<Tu64>()?.0) })
    }
}

/// All records of a payload before their role is known.
#[derive(Default)]
struct Fields {
    amount: Option<Msat>,
    expiry: Option<CltvExpiry>,
    short_channel_id: Option<ShortChannelId>,
    payment_data: Option<PaymentData>,
    encrypted_recipient_data: Option<Vec<u8>>,
    current_path_key: Option<PublicKey>,
    payment_metadata: Option<Vec<u8>>,
    total: Option<Msat>,
    keysend: Option<Preimage>,
    custom: TlvRecords,
    /// Type and offset of every record, to say where an unwanted one stands.
    places: Vec<(u64, u16)>,
}

impl Fields {
    fn read(payload: &[u8], understood: &[u64]) -> Result<Self, PayloadError> {
        let mut fields = Self::default();
        let mut reader = Reader::new(payload);
        while !reader.is_empty() {
            // An onion is 1300 bytes, an onion message at most 65535: the offset always fits.
            let offset = u16::try_from(payload.len().saturating_sub(reader.len())).unwrap_or(u16::MAX);
            let wrong = |kind, problem| PayloadError { kind, offset, problem };
            let BigSize(kind) = reader.read().map_err(|problem| wrong(0, problem))?;
            if fields.places.last().is_some_and(|(last, _)| *last >= kind) {
                return Err(wrong(kind, DecodeError::RecordOrder(kind)));
            }
            fields.places.push((kind, offset));
            let value = read_value(&mut reader).map_err(|problem| wrong(kind, problem))?;
            fields.set(kind, value, understood).map_err(|problem| wrong(kind, problem))?;
        }
        Ok(fields)
    }

    fn set(&mut self, kind: u64, value: &[u8], understood: &[u64]) -> Result<(), DecodeError> {
        match kind {
            AMT_TO_FORWARD => self.amount = Some(Msat::new(Tu64::from_bytes(value)?.0)),
            OUTGOING_CLTV_VALUE => self.expiry = Some(CltvExpiry::new(Tu32::from_bytes(value)?.0)),
            SHORT_CHANNEL_ID => self.short_channel_id = Some(ShortChannelId::from_bytes(value)?),
            PAYMENT_DATA => self.payment_data = Some(PaymentData::from_bytes(value)?),
            ENCRYPTED_RECIPIENT_DATA => self.encrypted_recipient_data = Some(value.to_vec()),
            CURRENT_PATH_KEY => self.current_path_key = Some(PublicKey::from_bytes(value)?),
            PAYMENT_METADATA => self.payment_metadata = Some(value.to_vec()),
            TOTAL_AMOUNT_MSAT => self.total = Some(Msat::new(Tu64::from_bytes(value)?.0)),
            KEYSEND_RECORD => self.keysend = Some(Preimage::from_bytes(value)?),
            even if even % 2 == 0 && !(even >= FIRST_CUSTOM_RECORD && understood.contains(&even)) => {
                return Err(DecodeError::UnknownEvenRecord(even));
            }
            other => self.custom.put_raw(other, value.to_vec()),
        }
        Ok(())
    }

    /// An error if one of `kinds` is there: its writer meant this payload for another role.
    fn refuse(&self, kinds: &[u64]) -> Result<(), PayloadError> {
        match self.places.iter().find(|(kind, _)| kinds.contains(kind)) {
            Some(&(kind, offset)) => Err(PayloadError {
                kind,
                offset,
                problem: DecodeError::InvalidValue("onion payload of this role"),
            }),
            None => Ok(()),
        }
    }

    fn into_forward(self) -> Result<ForwardPayload, PayloadError> {
        // BOLT 4, the writer: for a non-final node "MUST NOT include `payment_data`"; the others make no sense there.
        self.refuse(&[PAYMENT_DATA, PAYMENT_METADATA, TOTAL_AMOUNT_MSAT, KEYSEND_RECORD])?;
        if let Some(custom) =
            self.places.iter().find(|(kind, _)| *kind >= FIRST_CUSTOM_RECORD && kind % 2 == 0)
        {
            self.refuse(&[custom.0])?;
        }
        Ok(ForwardPayload {
            amount: self.amount.ok_or(PayloadError::missing(AMT_TO_FORWARD))?,
            expiry: self.expiry.ok_or(PayloadError::missing(OUTGOING_CLTV_VALUE))?,
            short_channel_id: self.short_channel_id.ok_or(PayloadError::missing(SHORT_CHANNEL_ID))?,
            unknown: self.custom,
        })
    }

    fn into_final(self) -> Result<FinalPayload, PayloadError> {
        // BOLT 4, the writer: for the final node "MUST NOT include `short_channel_id`".
        self.refuse(&[SHORT_CHANNEL_ID, TOTAL_AMOUNT_MSAT])?;
        Ok(FinalPayload {
            amount: self.amount.ok_or(PayloadError::missing(AMT_TO_FORWARD))?,
            expiry: self.expiry.ok_or(PayloadError::missing(OUTGOING_CLTV_VALUE))?,
            payment_data: self.payment_data,
            payment_metadata: self.payment_metadata,
            keysend: self.keysend,
            custom: self.custom,
        })
    }

    fn into_blinded(self, is_final: bool) -> Result<BlindedPayload, PayloadError> {
        let allowed: &[u64] = if is_final {
            &[
                AMT_TO_FORWARD,
                OUTGOING_CLTV_VALUE,
                ENCRYPTED_RECIPIENT_DATA,
                CURRENT_PATH_KEY,
                TOTAL_AMOUNT_MSAT,
            ]
        } else {
            &[ENCRYPTED_RECIPIENT_DATA, CURRENT_PATH_KEY]
        };
        // BOLT 4: "MUST return an error if the payload contains other tlv fields than" these.
        if let Some((other, _)) = self.places.iter().find(|(kind, _)| !allowed.contains(kind)) {
            self.refuse(&[*other])?;
        }
        if is_final {
            // BOLT 4: "MUST return an error if `amt_to_forward`, `outgoing_cltv_value` or `total_amount_msat` are not
            // present".
            self.amount.ok_or(PayloadError::missing(AMT_TO_FORWARD))?;
            self.expiry.ok_or(PayloadError::missing(OUTGOING_CLTV_VALUE))?;
            self.total.ok_or(PayloadError::missing(TOTAL_AMOUNT_MSAT))?;
        }
        Ok(BlindedPayload {
            encrypted_recipient_data: self.encrypted_recipient_data.unwrap_or_default(),
            current_path_key: self.current_path_key,
            amount: self.amount,
            expiry: self.expiry,
            total: self.total,
        })
    }
}

fn read_value<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], DecodeError> {
    let BigSize(length) = reader.read()?;
    reader.take(usize::try_from(length).map_err(|_| DecodeError::BadLength(length))?)
}
