//! Values that cross a crate boundary: a version byte, a body, and room for fields of a later age.
//!
//! Layout: `version (1) | body length (BigSize) | body | tlv stream`. A reader of the same version skips
//! odd records that it does not know *and hands them back*, so an older part in the middle loses nothing.
//! A new field that must be understood gets an even type, or a new version: either is refused.
use alloc::vec::Vec;

use super::{BigSize, Decode, DecodeError, Encode, Reader, TlvRecords};

/// Encodes `body` under `version`, with `extra` records behind it.
#[must_use]
pub fn encode_versioned(version: u8, body: &impl Encode, extra: &TlvRecords) -> Vec<u8> {
    let body = body.to_bytes();
    let mut out = Vec::with_capacity(body.len().saturating_add(10));
    out.push(version);
    BigSize(body.len() as u64).encode(&mut out);
    out.extend_from_slice(&body);
    extra.encode(&mut out);
    out
}

/// Decodes what [`encode_versioned`] wrote; returns the body and the odd records behind it.
///
/// # Errors
/// [`DecodeError::UnknownVersion`] for any other version than `version`; those of the body and of the stream.
pub fn decode_versioned<T: Decode>(version: u8, bytes: &[u8]) -> Result<(T, TlvRecords), DecodeError> {
    let mut reader = Reader::new(bytes);
    let [found] = reader.array()?;
    if found != version {
        return Err(DecodeError::UnknownVersion(found));
    }
    let BigSize(length) = reader.read()?;
    let length = usize::try_from(length).map_err(|_| DecodeError::BadLength(length))?;
    let body = T::from_bytes(reader.take(length)?)?;
    Ok((body, TlvRecords::decode_to_end(&mut reader)?.into_unknown_odd()?))
}
