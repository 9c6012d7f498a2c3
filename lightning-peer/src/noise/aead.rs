//! ChaCha20-Poly1305 as BOLT 8 uses it: the only file that knows which library encrypts.
//!
//! BOLT 8, "Noise Protocol Instantiation" (RFC 8439). Both functions work in place, so a message is
//! encrypted in the very buffer that goes to the socket. A host with a faster cipher replaces this file.
//!
//! # Invariants
//! - a buffer that fails its tag is left encrypted or unspecified, and its content is never handed on
use chacha20poly1305::aead::AeadInOut as _;
use chacha20poly1305::{ChaCha20Poly1305, Key, KeyInit as _, Nonce, Tag};

/// Bytes of a Poly1305 tag.
pub(crate) const TAG_LENGTH: usize = 16;

/// The tag did not match: the bytes were changed on the way, or the other side uses another key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadTag;

/// Encrypts `buffer` in place and returns its tag.
pub(crate) fn seal(key: &[u8; 32], counter: u64, associated: &[u8], buffer: &mut [u8]) -> [u8; TAG_LENGTH] {
    let cipher = ChaCha20Poly1305::new(&Key::from(*key));
    cipher
        .encrypt_inout_detached(&nonce(counter), associated, buffer.into())
        // Only buffers above 256 GiB are refused, and the transport has none above 64 KiB. A zero tag
        // would be refused by the other side.
        .map_or([0; TAG_LENGTH], Into::into)
}

/// Checks the tag and decrypts `buffer` in place.
pub(crate) fn open(
    key: &[u8; 32],
    counter: u64,
    associated: &[u8],
    buffer: &mut [u8],
    tag: &[u8; TAG_LENGTH],
) -> Result<(), BadTag> {
    let cipher = ChaCha20Poly1305::new(&Key::from(*key));
    cipher
        .decrypt_inout_detached(&nonce(counter), associated, buffer.into(), &Tag::from(*tag))
        .map_err(|_| BadTag)
}

/// BOLT 8: "nonce `n` encoded as 32 zero bits, followed by a *little-endian* 64-bit value".
fn nonce(counter: u64) -> Nonce {
    let mut bytes = [0; 12];
    for (to, from) in bytes.iter_mut().skip(4).zip(counter.to_le_bytes()) {
        *to = from;
    }
    Nonce::from(bytes)
}
