//! Truncated integers `tu16`, `tu32`, `tu64` (BOLT 1, "Fundamental Types"): no leading zero bytes.
//!
//! They carry no length, so they stand only at the end of a TLV value and take all bytes that are left.
use alloc::vec::Vec;

use super::{Decode, DecodeError, Encode, Reader};

macro_rules! truncated {
    ($($(#[$doc:meta])* $name:ident($int:ty);)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub struct $name(pub $int);

        impl Encode for $name {
            fn encode(&self, out: &mut Vec<u8>) {
                out.extend(self.0.to_be_bytes().into_iter().skip_while(|byte| *byte == 0));
            }
        }

        impl Decode for $name {
            fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
                let bytes = reader.take_rest();
                if bytes.len() > size_of::<$int>() {
                    return Err(DecodeError::TrailingBytes);
                }
                // BOLT 1: "MUST fail to decode if the encoding is not minimal" (a leading zero byte).
                if bytes.first() == Some(&0) {
                    return Err(DecodeError::NotMinimal);
                }
                let mut value: $int = 0;
                for byte in bytes {
                    value = value.checked_shl(8).unwrap_or(0) | <$int>::from(*byte);
                }
                Ok(Self(value))
            }
        }
    )*};
}
truncated! {
    /// Up to 2 bytes.
    Tu16(u16);
    /// Up to 4 bytes.
    Tu32(u32);
    /// Up to 8 bytes.
    Tu64(u64);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shortest_form_only() {
        for (value, bytes) in [(0u64, &[][..]), (1, &[1]), (0x100, &[1, 0]), (u64::MAX, &[0xff; 8])] {
            assert_eq!(Tu64(value).to_bytes(), bytes);
            assert_eq!(Tu64::from_bytes(bytes), Ok(Tu64(value)));
        }
        assert_eq!(Tu64::from_bytes(&[0, 1]), Err(DecodeError::NotMinimal));
        assert_eq!(Tu32::from_bytes(&[1; 5]), Err(DecodeError::TrailingBytes));
        assert_eq!(Tu16::from_bytes(&[0xff, 0xfe]), Ok(Tu16(0xfffe)));
    }
}
