//! `message!`: a wire message declared as the table of its fields, and the forms a field can have.
//!
//! BOLT 1, "Lightning Message Format": fixed fields, then an extension of TLV records. The table gives both in the
//! order of the BOLT; there is no control flow in it beyond "each field in turn".
//!
//! # Invariants
//! - unknown odd records stay in `unknown` and are written again; unknown even ones do not decode (BOLT 1)
//! - a list longer than its 2-byte count can say makes the message longer than 65535 bytes, which
//!   [`to_wire`](super::WireMessage::to_wire) refuses: a wrong count never leaves the house
use alloc::vec::Vec;

use bitcoin::ScriptBuf;

use crate::codec::{Decode, DecodeError, Encode, Reader};
use crate::feature::{ChannelType, Features};

/// How a field of type `T` is laid out.
pub(super) trait Form<T> {
    /// Appends the field.
    fn put(value: &T, out: &mut Vec<u8>);

    /// Reads the field.
    fn get(reader: &mut Reader<'_>) -> Result<T, DecodeError>;
}

/// As the type's own encoding says.
pub(super) struct Plain;

impl<T: Encode + Decode> Form<T> for Plain {
    fn put(value: &T, out: &mut Vec<u8>) {
        value.encode(out);
    }

    fn get(reader: &mut Reader<'_>) -> Result<T, DecodeError> {
        reader.read()
    }
}

/// Bytes behind a 2-byte length: `u16 len | len*byte`.
pub(super) struct Counted;

impl<T: Bytes> Form<T> for Counted {
    fn put(value: &T, out: &mut Vec<u8>) {
        put_counted(value.bytes(), out);
    }

    fn get(reader: &mut Reader<'_>) -> Result<T, DecodeError> {
        let length = reader.read::<u16>()?;
        Ok(T::from_vec(reader.take(usize::from(length))?.to_vec()))
    }
}

/// Bytes to the end of the record or message: `...*byte`.
pub(super) struct Rest;

impl<T: Bytes> Form<T> for Rest {
    fn put(value: &T, out: &mut Vec<u8>) {
        out.extend_from_slice(value.bytes());
    }

    fn get(reader: &mut Reader<'_>) -> Result<T, DecodeError> {
        Ok(T::from_vec(reader.take_rest().to_vec()))
    }
}

/// Items behind a 2-byte count: `u16 num | num*item`.
pub(super) struct CountedList;

impl<T: Encode + Decode> Form<Vec<T>> for CountedList {
    fn put(value: &Vec<T>, out: &mut Vec<u8>) {
        u16::try_from(value.len()).unwrap_or(u16::MAX).encode(out);
        value.iter().for_each(|item| item.encode(out));
    }

    fn get(reader: &mut Reader<'_>) -> Result<Vec<T>, DecodeError> {
        let count = reader.read::<u16>()?;
        // Grows only as items are really present (I9).
        let mut items = Vec::new();
        for _ in 0..count {
            items.push(reader.read()?);
        }
        Ok(items)
    }
}

/// Items to the end of the record: `...*item`.
pub(super) struct RestList;

impl<T: Encode + Decode> Form<Vec<T>> for RestList {
    fn put(value: &Vec<T>, out: &mut Vec<u8>) {
        value.iter().for_each(|item| item.encode(out));
    }

    fn get(reader: &mut Reader<'_>) -> Result<Vec<T>, DecodeError> {
        let mut items = Vec::new();
        while !reader.is_empty() {
            items.push(reader.read()?);
        }
        Ok(items)
    }
}

/// A byte string by another name.
pub(super) trait Bytes {
    /// The bytes.
    fn bytes(&self) -> &[u8];

    /// The value with these bytes.
    fn from_vec(bytes: Vec<u8>) -> Self;
}

impl Bytes for Vec<u8> {
    fn bytes(&self) -> &[u8] {
        self
    }

    fn from_vec(bytes: Vec<u8>) -> Self {
        bytes
    }
}

impl Bytes for ScriptBuf {
    fn bytes(&self) -> &[u8] {
        self.as_bytes()
    }

    fn from_vec(bytes: Vec<u8>) -> Self {
        Self::from_bytes(bytes)
    }
}

impl Bytes for Features {
    fn bytes(&self) -> &[u8] {
        self.as_bytes()
    }

    fn from_vec(bytes: Vec<u8>) -> Self {
        Self::from_be_bytes(bytes)
    }
}

impl Bytes for ChannelType {
    fn bytes(&self) -> &[u8] {
        self.features().as_bytes()
    }

    fn from_vec(bytes: Vec<u8>) -> Self {
        Self::from_features(Features::from_be_bytes(bytes))
    }
}

/// Writes a 2-byte length and the bytes. Where the length does not fit, the message as a whole does not either.
pub(crate) fn put_counted(bytes: &[u8], out: &mut Vec<u8>) {
    u16::try_from(bytes.len()).unwrap_or(u16::MAX).encode(out);
    out.extend_from_slice(bytes);
}

/// Writes a field in the form `F`.
pub(super) fn put<F: Form<T>, T>(value: &T, out: &mut Vec<u8>) {
    F::put(value, out);
}

/// Reads a field in the form `F`.
pub(super) fn get<F: Form<T>, T>(reader: &mut Reader<'_>) -> Result<T, DecodeError> {
    F::get(reader)
}

/// Adds a record in the form `F` when there is a value.
pub(super) fn put_record<F: Form<T>, T>(
    records: &mut crate::codec::TlvRecords,
    kind: u64,
    value: Option<&T>,
) {
    if let Some(value) = value {
        let mut bytes = Vec::new();
        F::put(value, &mut bytes);
        records.put_raw(kind, bytes);
    }
}

/// Takes a record in the form `F`, whose value must fill it (BOLT 1: "if `length` is not exactly equal ... MUST fail").
pub(super) fn take_record<F: Form<T>, T>(
    records: &mut crate::codec::TlvRecords,
    kind: u64,
) -> Result<Option<T>, DecodeError> {
    let Some(bytes) = records.take_raw(kind) else { return Ok(None) };
    let mut reader = Reader::new(&bytes);
    let value = F::get(&mut reader)?;
    reader.finish()?;
    Ok(Some(value))
}

/// Declares a message: `Name = type { field: Type [as Form], .. } tlvs { record: Type [as Form] = kind, .. }`.
///
/// Each record becomes an `Option` field; all other odd records are in `unknown`.
macro_rules! message {
    (
        $(#[$doc:meta])*
        $name:ident = $type:literal {
            $($(#[$field_doc:meta])* $field:ident: $field_type:ty $(as $form:ident)?,)*
        }
        tlvs {
            $($(#[$tlv_doc:meta])* $tlv:ident: $tlv_type:ty $(as $tlv_form:ident)? = $kind:literal,)*
        }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $name {
            $($(#[$field_doc])* pub $field: $field_type,)*
            $($(#[$tlv_doc])* pub $tlv: Option<$tlv_type>,)*
            /// Odd records of the extension that this library does not know, kept for re-encoding.
            pub unknown: $crate::codec::TlvRecords,
        }

        impl $crate::codec::Encode for $name {
            fn encode(&self, out: &mut alloc::vec::Vec<u8>) {
                $($crate::wire::table::put::<message!(@form $($form)?), _>(&self.$field, out);)*
                message!(@encode self, out $(, $tlv, $kind, ($($tlv_form)?))*);
            }
        }

        impl $crate::codec::Decode for $name {
            fn decode(reader: &mut $crate::codec::Reader<'_>) -> Result<Self, $crate::codec::DecodeError> {
                $(let $field = $crate::wire::table::get::<message!(@form $($form)?), _>(reader)?;)*
                #[allow(unused_mut, reason = "a message without records of its own takes none")]
                let mut records = $crate::codec::TlvRecords::decode_to_end(reader)?;
                $(let $tlv = $crate::wire::table::take_record::<message!(@form $($tlv_form)?), _>(&mut records, $kind)?;)*
                Ok(Self { $($field,)* $($tlv,)* unknown: records.into_unknown_odd()? })
            }
        }

        impl $crate::wire::WireMessage for $name {
            const TYPE: u16 = $type;
        }
    };
    (@encode $self:ident, $out:ident) => { $crate::codec::Encode::encode(&$self.unknown, $out) };
    (@encode $self:ident, $out:ident $(, $tlv:ident, $kind:literal, ($($tlv_form:ident)?))+) => {
        let mut records = $self.unknown.clone();
        $($crate::wire::table::put_record::<message!(@form $($tlv_form)?), _>(
            &mut records, $kind, $self.$tlv.as_ref(),
        );)+
        $crate::codec::Encode::encode(&records, $out);
    };
    (@form) => { $crate::wire::table::Plain };
    (@form $form:ident) => { $crate::wire::table::$form };
}
pub(super) use message;
