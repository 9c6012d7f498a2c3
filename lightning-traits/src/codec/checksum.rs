//! CRC32C (RFC 3720, appendix B.4), of BOLT 7's extended queries and of what is stored.
//!
//! A disk, a cable or a memory changes a byte now and then. What is stored for good is sealed: a value that decodes all the same with a
//! wrong balance or commitment number would cost money, one that is refused costs a restore from another copy.
//!
//! # Invariants
//! - any change of up to 32 bits in a row, and any of up to three single bits in a record of a usual length, is noticed
//! - it proves nothing against somebody who wants to deceive
use alloc::vec::Vec;

use super::DecodeError;

const POLYNOMIAL: u32 = 0x82f6_3b78;

/// What a byte does to the remainder.
const TABLE: [u32; 256] = table();

#[allow(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "evaluated by the compiler, below 256"
)]
const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < table.len() {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 0 { crc >> 1 } else { (crc >> 1) ^ POLYNOMIAL };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
}

/// The checksum of all parts, one after the other.
#[must_use]
pub fn crc32c<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> u32 {
    let step = |crc: u32, byte: &u8| {
        let [low, ..] = crc.to_le_bytes();
        // An index of one byte always finds something.
        (crc >> 8) ^ TABLE.get(usize::from(low ^ byte)).copied().unwrap_or_default()
    };
    !parts.into_iter().flatten().fold(!0, step)
}

/// Appends the checksum of `name` and `bytes` to `bytes`. The name is not stored: what belongs to something else does not open.
#[must_use]
pub fn seal(name: &[u8], mut bytes: Vec<u8>) -> Vec<u8> {
    let checksum = crc32c([name, &bytes]);
    bytes.extend_from_slice(&checksum.to_be_bytes());
    bytes
}

/// The bytes that were sealed under this name.
///
/// # Errors
/// [`DecodeError::BadChecksum`] when they are not those, or another's.
pub fn unseal<'a>(name: &[u8], sealed: &'a [u8]) -> Result<&'a [u8], DecodeError> {
    let (bytes, checksum) = sealed.split_last_chunk::<4>().ok_or(DecodeError::BadChecksum)?;
    let is_whole = crc32c([name, bytes]) == u32::from_be_bytes(*checksum);
    if is_whole { Ok(bytes) } else { Err(DecodeError::BadChecksum) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc32c_of_rfc_3720() {
        let of = |bytes: &[u8]| crc32c([bytes]);
        assert_eq!(of(&[0; 32]), 0x8a91_36aa);
        assert_eq!(of(&[0xff; 32]), 0x62a8_ab43);
        assert_eq!(of(&core::array::from_fn::<u8, 32, _>(|i| i as u8)), 0x46dd_794e);
        assert_eq!(of(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c([&b"1234"[..], b"", b"56789"]), 0xe306_9283);
    }

    #[test]
    fn what_was_sealed_opens_under_its_name_and_nothing_else_does() {
        for len in [0, 1, 4, 5, 300] {
            let bytes: Vec<u8> = (0..len).map(|i| (i * 7) as u8).collect();
            let sealed = seal(b"name", bytes.clone());
            assert_eq!(unseal(b"name", &sealed), Ok(&bytes[..]));
            assert_eq!(unseal(b"nam", &sealed), Err(DecodeError::BadChecksum));
            for at in 0..sealed.len() {
                assert_eq!(unseal(b"name", &sealed[..at]), Err(DecodeError::BadChecksum));
                for flip in 1..=255 {
                    let mut damaged = sealed.clone();
                    damaged[at] ^= flip;
                    assert_eq!(unseal(b"name", &damaged), Err(DecodeError::BadChecksum));
                }
            }
        }
    }
}
