//! Encodings of the fundamental types: integers, points, signatures, hashes, ids, transactions.
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use bitcoin::constants::ChainHash;
use bitcoin::hashes::Hash as _;
use bitcoin::{Amount, BlockHash, OutPoint, ScriptBuf, SignedAmount, Transaction, Txid};
use secp256k1::PublicKey;
use secp256k1::ecdsa::Signature;

use super::{BigSize, Decode, DecodeError, Encode, Reader};
use crate::id::{
    ChannelId, ChannelKeysId, CommitmentNumber, EventId, HtlcId, NodeId, PaymentId, ShortChannelId, UpdateId,
};
use crate::payment::{PaymentHash, PaymentSecret, Preimage};
use crate::units::{BlockHeight, CltvDelta, CltvExpiry, CsvDelay, FeeratePerKw, Msat};

macro_rules! integer {
    ($($int:ty),*) => {$(
        impl Encode for $int {
            fn encode(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_be_bytes());
            }
        }
        impl Decode for $int {
            fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
                Ok(Self::from_be_bytes(reader.array()?))
            }
        }
    )*};
}
// BOLT 1: "Signed integers use standard big-endian two's complement representation".
integer!(u8, u16, u32, u64, i8, i16, i32, i64);

/// A newtype over another encodable value: `Type: inner expression, constructor`.
macro_rules! through {
    ($($name:ty: $inner:ty, |$value:ident| $get:expr, $make:expr;)*) => {$(
        impl Encode for $name {
            fn encode(&self, out: &mut Vec<u8>) {
                let $value = self;
                $get.encode(out);
            }
        }
        impl Decode for $name {
            fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
                reader.read::<$inner>().map($make)
            }
        }
    )*};
}
through! {
    ChannelId: [u8; 32], |v| v.0, Self;
    PaymentId: [u8; 32], |v| v.0, Self;
    ChannelKeysId: [u8; 32], |v| v.0, Self;
    PaymentHash: [u8; 32], |v| v.0, Self;
    Preimage: [u8; 32], |v| v.as_bytes(), Self::new;
    PaymentSecret: [u8; 32], |v| v.as_bytes(), Self::new;
    NodeId: [u8; 33], |v| v.0, Self;
    ShortChannelId: u64, |v| v.0, Self;
    HtlcId: u64, |v| v.0, Self;
    CommitmentNumber: u64, |v| v.0, Self;
    UpdateId: u64, |v| v.0, Self;
    EventId: u64, |v| v.0, Self;
    Msat: u64, |v| v.to_msat(), Self::new;
    FeeratePerKw: u32, |v| v.to_sat_per_kw(), Self::new;
    BlockHeight: u32, |v| v.get(), Self::new;
    CltvExpiry: u32, |v| v.get(), Self::new;
    CltvDelta: u16, |v| v.get(), Self::new;
    CsvDelay: u16, |v| v.get(), Self::new;
    Amount: u64, |v| v.to_sat(), Self::from_sat;
    SignedAmount: i64, |v| v.to_sat(), Self::from_sat;
    ChainHash: [u8; 32], |v| v.as_bytes(), Self::from;
    Txid: [u8; 32], |v| v.to_byte_array(), Self::from_byte_array;
    BlockHash: [u8; 32], |v| v.to_byte_array(), Self::from_byte_array;
}

impl<const N: usize> Encode for [u8; N] {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self);
    }
}

impl<const N: usize> Decode for [u8; N] {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.array()
    }
}

impl<T: Encode + ?Sized> Encode for &T {
    fn encode(&self, out: &mut Vec<u8>) {
        (**self).encode(out);
    }
}

/// A value on the heap is encoded like the value.
impl<T: Encode + ?Sized> Encode for Box<T> {
    fn encode(&self, out: &mut Vec<u8>) {
        (**self).encode(out);
    }
}

impl<T: Decode> Decode for Box<T> {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.read().map(Self::new)
    }
}

/// A shared value is encoded like the value.
impl<T: Encode + ?Sized> Encode for Arc<T> {
    fn encode(&self, out: &mut Vec<u8>) {
        (**self).encode(out);
    }
}

impl<T: Decode> Decode for Arc<T> {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.read().map(Self::new)
    }
}

/// Nothing: a TLV record that says all by being there.
impl Encode for () {
    fn encode(&self, _: &mut Vec<u8>) {}
}

impl Decode for () {
    fn decode(_: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(())
    }
}

/// One byte, zero or one; anything else is refused so that the encoding stays unique.
impl Encode for bool {
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }
}

impl Decode for bool {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match reader.read::<u8>()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(DecodeError::InvalidValue("bool")),
        }
    }
}

/// `point` of BOLT 1: 33 bytes that must be on the curve.
impl Encode for PublicKey {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.serialize());
    }
}

impl Decode for PublicKey {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Self::from_slice(&reader.array::<33>()?).map_err(|_| DecodeError::InvalidPoint)
    }
}

/// `signature` of BOLT 1: 64 bytes, compact.
impl Encode for Signature {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.serialize_compact());
    }
}

impl Decode for Signature {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Self::from_compact(&reader.array::<64>()?).map_err(|_| DecodeError::InvalidSignature)
    }
}

/// Inside our own versioned values: txid and a 4-byte index (messages of BOLT 2 carry two bytes and say so themselves).
impl Encode for OutPoint {
    fn encode(&self, out: &mut Vec<u8>) {
        self.txid.encode(out);
        self.vout.encode(out);
    }
}

impl Decode for OutPoint {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { txid: reader.read()?, vout: reader.read()? })
    }
}

/// A script with a `BigSize` length in front.
impl Encode for ScriptBuf {
    fn encode(&self, out: &mut Vec<u8>) {
        BigSize(self.len() as u64).encode(out);
        out.extend_from_slice(self.as_bytes());
    }
}

impl Decode for ScriptBuf {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Vec::<u8>::decode(reader).map(Self::from_bytes)
    }
}

/// A transaction in its consensus encoding, with a `BigSize` length in front.
impl Encode for Transaction {
    fn encode(&self, out: &mut Vec<u8>) {
        bitcoin::consensus::serialize(self).encode(out);
    }
}

impl Decode for Transaction {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let bytes = Vec::<u8>::decode(reader)?;
        bitcoin::consensus::deserialize(&bytes).map_err(|_| DecodeError::InvalidValue("transaction"))
    }
}

/// A byte string with a `BigSize` length in front, which must be present in the input before it is allocated (I9).
impl Encode for Vec<u8> {
    fn encode(&self, out: &mut Vec<u8>) {
        BigSize(self.len() as u64).encode(out);
        out.extend_from_slice(self);
    }
}

impl Decode for Vec<u8> {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let BigSize(length) = reader.read()?;
        let length = usize::try_from(length).map_err(|_| DecodeError::BadLength(length))?;
        Ok(reader.take(length)?.to_vec())
    }
}

/// Optional value: a presence byte, then the value.
impl<T: Encode> Encode for Option<T> {
    fn encode(&self, out: &mut Vec<u8>) {
        self.is_some().encode(out);
        if let Some(value) = self {
            value.encode(out);
        }
    }
}

impl<T: Decode> Decode for Option<T> {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        if reader.read::<bool>()? { reader.read().map(Some) } else { Ok(None) }
    }
}

impl<A: Encode, B: Encode> Encode for (A, B) {
    fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode(out);
        self.1.encode(out);
    }
}

impl<A: Decode, B: Decode> Decode for (A, B) {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok((reader.read()?, reader.read()?))
    }
}

/// A list with a `BigSize` count in front.
pub fn encode_list<T: Encode>(items: &[T], out: &mut Vec<u8>) {
    BigSize(items.len() as u64).encode(out);
    for item in items {
        item.encode(out);
    }
}

/// Reads a list that [`encode_list`] wrote; grows only as items are really present (I9).
///
/// # Errors
/// Those of the items.
pub fn decode_list<T: Decode>(reader: &mut Reader<'_>) -> Result<Vec<T>, DecodeError> {
    let BigSize(count) = reader.read()?;
    let mut items = Vec::new();
    for _ in 0..count {
        if reader.is_empty() {
            return Err(DecodeError::UnexpectedEnd);
        }
        items.push(reader.read()?);
    }
    Ok(items)
}

/// A value with a `BigSize` length in front, for values that otherwise end where their container ends (messages).
pub fn encode_framed(value: &impl Encode, out: &mut Vec<u8>) {
    value.to_bytes().encode(out);
}

/// Reads a value that [`encode_framed`] wrote.
///
/// # Errors
/// Those of the value, which must fill its frame.
pub fn decode_framed<T: Decode>(reader: &mut Reader<'_>) -> Result<T, DecodeError> {
    let BigSize(length) = reader.read()?;
    let length = usize::try_from(length).map_err(|_| DecodeError::BadLength(length))?;
    T::from_bytes(reader.take(length)?)
}
