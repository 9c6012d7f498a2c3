//! Messages over a session: an encrypted length, then the encrypted message.
//!
//! BOLT 8, "Encrypting and Sending Messages", "Receiving and Decrypting Messages". [`FrameWriter`] encrypts in
//! the very buffer that goes to the socket; [`FrameReader`] takes bytes in whatever pieces they come.
//!
//! # Invariants
//! - any split of the same bytes gives the same messages
//! - memory grows by bytes received, never by a length that was only promised (I9), and at most to one frame
//! - after a wrong tag nothing is read any more
use alloc::vec::Vec;

use thiserror::Error;

use crate::noise::{Cipher, Session, TAG_LENGTH};

/// BOLT 1: "the maximum possible size is 65535 bytes".
pub const MAX_MESSAGE_LENGTH: usize = 65_535;
/// The length field with its tag.
pub const HEADER_LENGTH: usize = 2 + TAG_LENGTH;
/// What a frame adds to its message.
pub const FRAME_OVERHEAD: usize = HEADER_LENGTH + TAG_LENGTH;

/// Why a frame could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The tag of the message does not match.
    #[error("the tag of the message does not match")]
    BadMessageTag,
    /// The tag of the length does not match.
    #[error("the tag of the message length does not match")]
    BadLengthTag,
    /// BOLT 1 puts a two-byte type in front of every message.
    #[error("a message of {0} bytes has no type")]
    TooShort(u16),
}

/// The message is longer than the transport can carry; nothing was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a message of {0} bytes is longer than 65535")]
pub struct TooLong(pub usize);

/// Splits a session into its writing and its reading half.
#[must_use]
pub fn framed(session: Session) -> (FrameWriter, FrameReader) {
    let Session { sending, receiving } = session;
    let reader = FrameReader { cipher: receiving, partial: Vec::new(), awaited: Awaited::Nothing };
    (FrameWriter { cipher: sending }, reader)
}

/// Encrypts messages.
pub struct FrameWriter {
    cipher: Cipher,
}

impl FrameWriter {
    /// Appends the frame of `message` to `out`.
    ///
    /// # Errors
    /// [`TooLong`] above 65535 bytes; then `out` is as it was and no nonce is spent.
    pub fn write(&mut self, message: &[u8], out: &mut Vec<u8>) -> Result<(), TooLong> {
        let length = u16::try_from(message.len()).map_err(|_| TooLong(message.len()))?;
        out.reserve(message.len().saturating_add(FRAME_OVERHEAD));
        let mut header = length.to_be_bytes();
        let tag = self.cipher.seal(&mut header);
        out.extend_from_slice(&header);
        out.extend_from_slice(&tag);

        let start = out.len();
        out.extend_from_slice(message);
        let tag = out.get_mut(start..).map_or([0; TAG_LENGTH], |body| self.cipher.seal(body));
        out.extend_from_slice(&tag);
        Ok(())
    }
}

/// Decrypts messages from pieces of any size.
pub struct FrameReader {
    cipher: Cipher,
    /// The bytes of the header or body that is being received; after a whole message, that message.
    partial: Vec<u8>,
    awaited: Awaited,
}

/// What the bytes in hand are part of.
#[derive(Clone, Copy)]
enum Awaited {
    /// A message was handed out; the next byte starts a header.
    Nothing,
    Header,
    Body(u16),
}

impl FrameReader {
    /// Takes bytes from the front of `input` up to the end of the next message; returns the message if it is whole.
    ///
    /// To be called until it returns `None`, which it does only when `input` is used up.
    ///
    /// # Errors
    /// [`FrameError`]; the connection must end, since the stream cannot be read any more.
    pub fn read<'a>(&'a mut self, input: &mut &[u8]) -> Result<Option<&'a [u8]>, FrameError> {
        if matches!(self.awaited, Awaited::Nothing) {
            self.partial.clear();
            // A peer that sent one large message does not hold that much memory for ever.
            if input.is_empty() {
                self.partial.shrink_to(KEPT_CAPACITY);
                return Ok(None);
            }
            self.awaited = Awaited::Header;
        }
        if matches!(self.awaited, Awaited::Header) {
            if !self.gather(HEADER_LENGTH, input) {
                return Ok(None);
            }
            let length = self.open_header()?;
            self.partial.clear();
            self.awaited = Awaited::Body(length);
        }
        let Awaited::Body(length) = self.awaited else { return Ok(None) };
        let length = usize::from(length);
        if !self.gather(length.saturating_add(TAG_LENGTH), input) {
            return Ok(None);
        }
        self.awaited = Awaited::Nothing;
        let (body, tag) = self.partial.split_at_mut_checked(length).ok_or(FrameError::BadMessageTag)?;
        let tag: &[u8; TAG_LENGTH] = (&*tag).try_into().map_err(|_| FrameError::BadMessageTag)?;
        self.cipher.open(body, tag).map_err(|_| FrameError::BadMessageTag)?;
        Ok(Some(body))
    }

    /// Moves bytes until `target` are in hand; says whether they are.
    fn gather(&mut self, target: usize, input: &mut &[u8]) -> bool {
        let missing = target.saturating_sub(self.partial.len());
        let (taken, rest) = input.split_at_checked(missing).unwrap_or((input, &[]));
        self.partial.extend_from_slice(taken);
        *input = rest;
        taken.len() == missing
    }

    fn open_header(&mut self) -> Result<u16, FrameError> {
        let header: &mut [u8; HEADER_LENGTH] =
            self.partial.as_mut_slice().try_into().map_err(|_| FrameError::BadLengthTag)?;
        let [high, low, tag @ ..] = header;
        let mut length = [*high, *low];
        self.cipher.open(&mut length, tag).map_err(|_| FrameError::BadLengthTag)?;
        let length = u16::from_be_bytes(length);
        if length < 2 { Err(FrameError::TooShort(length)) } else { Ok(length) }
    }
}

const KEPT_CAPACITY: usize = 4096;
