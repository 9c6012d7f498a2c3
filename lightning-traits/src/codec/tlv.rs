//! TLV streams (BOLT 1, "Type-Length-Value Format").
//!
//! [`TlvRecords`] is a checked view of a stream: ordered, minimal, inside its bytes. A message takes
//! the records it knows and keeps the unknown odd ones, so re-encoding gives the same bytes back.
use alloc::vec::Vec;

use super::{BigSize, Decode, DecodeError, Encode, Reader};

/// One record: type and value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlvRecord {
    /// The record's type; even ones must be understood by whoever reads them.
    pub kind: u64,
    /// The record's value.
    pub value: Vec<u8>,
}

/// The records of one stream in strictly increasing order of type.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlvRecords(Vec<TlvRecord>);

impl TlvRecords {
    /// No records.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Reads a stream up to the end of `reader`.
    ///
    /// # Errors
    /// When a type or length is not minimal, a record is out of order, or a value runs past the end.
    pub fn decode_to_end(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut records: Vec<TlvRecord> = Vec::new();
        while !reader.is_empty() {
            let BigSize(kind) = reader.read()?;
            if records.last().is_some_and(|last| last.kind >= kind) {
                // BOLT 1: "if decoded `type`s are not strictly-increasing ... MUST fail to parse".
                return Err(DecodeError::RecordOrder(kind));
            }
            let BigSize(length) = reader.read()?;
            let length = usize::try_from(length).map_err(|_| DecodeError::BadLength(length))?;
            records.push(TlvRecord { kind, value: reader.take(length)?.to_vec() });
        }
        Ok(Self(records))
    }

    /// Takes out the record of type `kind` and decodes its value, which must fill the record whole.
    ///
    /// # Errors
    /// Those of the value.
    pub fn take<T: Decode>(&mut self, kind: u64) -> Result<Option<T>, DecodeError> {
        self.take_raw(kind).map(|value| T::from_bytes(&value)).transpose()
    }

    /// Takes out the bytes of the record of type `kind`.
    pub fn take_raw(&mut self, kind: u64) -> Option<Vec<u8>> {
        let at = self.0.binary_search_by_key(&kind, |record| record.kind).ok()?;
        Some(self.0.remove(at).value)
    }

    /// What is left after all known records were taken, if only odd types are left.
    ///
    /// # Errors
    /// [`DecodeError::UnknownEvenRecord`] when an even one is left (BOLT 1: "it's ok to be odd").
    pub fn into_unknown_odd(self) -> Result<Self, DecodeError> {
        match self.0.iter().find(|record| record.kind % 2 == 0) {
            Some(record) => Err(DecodeError::UnknownEvenRecord(record.kind)),
            None => Ok(self),
        }
    }

    /// Adds or replaces the record of type `kind`.
    pub fn put(&mut self, kind: u64, value: &impl Encode) {
        self.put_raw(kind, value.to_bytes());
    }

    /// Adds the record when there is a value.
    pub fn put_opt(&mut self, kind: u64, value: Option<&impl Encode>) {
        if let Some(value) = value {
            self.put(kind, value);
        }
    }

    /// Adds or replaces the record of type `kind` by its bytes.
    pub fn put_raw(&mut self, kind: u64, value: Vec<u8>) {
        match self.0.binary_search_by_key(&kind, |record| record.kind) {
            Ok(at) => {
                if let Some(record) = self.0.get_mut(at) {
                    record.value = value;
                }
            }
            Err(at) => self.0.insert(at, TlvRecord { kind, value }),
        }
    }

    /// The records in order of type.
    #[must_use]
    pub fn as_slice(&self) -> &[TlvRecord] {
        &self.0
    }

    /// Whether there is no record.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The stream without a length in front: it ends where its container ends.
impl Encode for TlvRecords {
    fn encode(&self, out: &mut Vec<u8>) {
        for record in &self.0 {
            BigSize(record.kind).encode(out);
            BigSize(record.value.len() as u64).encode(out);
            out.extend_from_slice(&record.value);
        }
    }
}

impl Decode for TlvRecords {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Self::decode_to_end(reader)
    }
}
