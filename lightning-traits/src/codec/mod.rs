//! Encoding to bytes and decoding from slices (BOLT 1, "Fundamental Types", "BigSize", "TLV Format").
//!
//! The wire, the onion and every versioned value that crosses a crate boundary use these traits.
//!
//! # Invariants
//! - decoding never panics and allocates at most a small multiple of the bytes it was given (I9)
//! - what decodes encodes again to the same bytes
//!
//! See also `tlv.rs` for streams, `versioned.rs` for values that parts of different age exchange, and `checksum.rs` for what is stored.
mod bigsize;
pub mod checksum;
mod error;
mod primitive;
mod record;
pub mod tlv;
mod truncated;
pub mod versioned;

pub use bigsize::BigSize;
pub use error::DecodeError;
pub use primitive::{decode_framed, decode_list, encode_framed, encode_list};
pub use tlv::TlvRecords;
pub use truncated::{Tu16, Tu32, Tu64};
pub use versioned::{decode_versioned, encode_versioned};

use alloc::vec::Vec;

/// A value with a byte encoding.
pub trait Encode {
    /// Appends the encoding to `out`.
    fn encode(&self, out: &mut Vec<u8>);

    /// The encoding as bytes of their own.
    fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.encode(&mut out);
        out
    }
}

/// A value that can be read from bytes.
pub trait Decode: Sized {
    /// Reads one value from the front of `reader`.
    ///
    /// # Errors
    /// A [`DecodeError`] when the bytes are not an encoding of this type.
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError>;

    /// Reads one value that must fill `bytes` whole.
    ///
    /// # Errors
    /// Also when bytes are left over.
    fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let value = Self::decode(&mut reader)?;
        reader.finish()?;
        Ok(value)
    }
}

/// A cursor over bytes that never reads past their end.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    /// A reader at the start of `bytes`.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// Bytes not yet read.
    #[must_use]
    pub const fn rest(&self) -> &'a [u8] {
        self.bytes
    }

    /// How many bytes are left.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether nothing is left.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The next `count` bytes.
    ///
    /// # Errors
    /// [`DecodeError::UnexpectedEnd`] when fewer are left; then nothing is consumed.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let (head, tail) = self.bytes.split_at_checked(count).ok_or(DecodeError::UnexpectedEnd)?;
        self.bytes = tail;
        Ok(head)
    }

    /// The next `N` bytes as an array.
    ///
    /// # Errors
    /// [`DecodeError::UnexpectedEnd`] when fewer are left.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (head, tail) = self.bytes.split_first_chunk::<N>().ok_or(DecodeError::UnexpectedEnd)?;
        self.bytes = tail;
        Ok(*head)
    }

    /// All bytes that are left.
    pub fn take_rest(&mut self) -> &'a [u8] {
        core::mem::take(&mut self.bytes)
    }

    /// Reads one value.
    ///
    /// # Errors
    /// Those of the value's own decoding.
    pub fn read<T: Decode>(&mut self) -> Result<T, DecodeError> {
        T::decode(self)
    }

    /// Checks that all was read.
    ///
    /// # Errors
    /// [`DecodeError::TrailingBytes`] when something is left.
    pub const fn finish(&self) -> Result<(), DecodeError> {
        if self.bytes.is_empty() { Ok(()) } else { Err(DecodeError::TrailingBytes) }
    }
}
