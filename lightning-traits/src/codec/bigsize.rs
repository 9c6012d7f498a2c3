//! `BigSize`, the variable length integer of BOLT 1.
use alloc::vec::Vec;

use super::{Decode, DecodeError, Encode, Reader};

/// A `BigSize`: 1, 3, 5 or 9 bytes, big-endian, always the shortest (BOLT 1, "BigSize").
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BigSize(pub u64);

impl BigSize {
    /// Length of the encoding in bytes.
    #[must_use]
    pub const fn encoded_len(self) -> usize {
        match self.0 {
            0..=0xfc => 1,
            0xfd..=0xffff => 3,
            0x1_0000..=0xffff_ffff => 5,
            _ => 9,
        }
    }
}

impl Encode for BigSize {
    fn encode(&self, out: &mut Vec<u8>) {
        let value = self.0;
        if value < 0xfd {
            out.push(value as u8);
        } else if let Ok(short) = u16::try_from(value) {
            out.push(0xfd);
            out.extend_from_slice(&short.to_be_bytes());
        } else if let Ok(medium) = u32::try_from(value) {
            out.push(0xfe);
            out.extend_from_slice(&medium.to_be_bytes());
        } else {
            out.push(0xff);
            out.extend_from_slice(&value.to_be_bytes());
        }
    }
}

impl Decode for BigSize {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let [first] = reader.array()?;
        let value = match first {
            0xfd => u64::from(u16::from_be_bytes(reader.array()?)),
            0xfe => u64::from(u32::from_be_bytes(reader.array()?)),
            0xff => u64::from_be_bytes(reader.array()?),
            small => u64::from(small),
        };
        let length = match first {
            0xfd => 3,
            0xfe => 5,
            0xff => 9,
            _ => 1,
        };
        // BOLT 1: "MUST fail to decode if the encoding is not minimal".
        if Self(value).encoded_len() == length { Ok(Self(value)) } else { Err(DecodeError::NotMinimal) }
    }
}
