//! Messages of types that this library does not know.
use alloc::vec::Vec;

use super::{TooLong, with_type};
use crate::codec::Encode;

/// A message of an unknown type, custom ones among them: type and payload.
///
/// Whether an even type closes the connection is decided where the message arrives (BOLT 1, "it's ok to be odd").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownMessage {
    /// The type.
    pub type_id: u16,
    /// All that follows the type.
    pub payload: Vec<u8>,
}

impl UnknownMessage {
    /// Whether a receiver that does not know the type must close the connection.
    #[must_use]
    pub const fn is_even(&self) -> bool {
        self.type_id.is_multiple_of(2)
    }

    /// The message as the transport carries it.
    ///
    /// # Errors
    /// [`TooLong`] above 65535 bytes.
    pub fn to_wire(&self) -> Result<Vec<u8>, TooLong> {
        with_type(self.type_id, self)
    }
}

/// The payload as it is.
impl Encode for UnknownMessage {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.payload);
    }
}
