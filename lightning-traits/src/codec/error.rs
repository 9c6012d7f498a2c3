//! Why bytes did not decode.
use thiserror::Error;

/// Why bytes did not decode. What follows from it is the caller's business (DESIGN section 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The checksum of what was stored is wrong: the bytes are damaged, or something else's.
    #[error("the checksum is wrong: the bytes are damaged")]
    BadChecksum,
    /// A length field promises more than the limit of its field.
    #[error("length {0} is above the limit of the field")]
    BadLength(u64),
    /// A value that its field does not allow.
    #[error("invalid value in field {0}")]
    InvalidValue(&'static str),
    /// 33 bytes that are no point of the curve.
    #[error("not a point of the curve")]
    InvalidPoint,
    /// 64 bytes that are no compact signature.
    #[error("not a signature")]
    InvalidSignature,
    /// A `BigSize` or truncated integer that is longer than it need be (BOLT 1).
    #[error("integer not minimally encoded")]
    NotMinimal,
    /// A required TLV record is missing.
    #[error("required tlv record {0} is missing")]
    MissingRecord(u64),
    /// TLV records not in strictly increasing order (BOLT 1).
    #[error("tlv record {0} is repeated or out of order")]
    RecordOrder(u64),
    /// Bytes left after the value.
    #[error("bytes left after the value")]
    TrailingBytes,
    /// The bytes end inside the value.
    #[error("the bytes end too early")]
    UnexpectedEnd,
    /// An unknown even TLV record, which we must understand to go on (BOLT 1).
    #[error("unknown even tlv record {0}")]
    UnknownEvenRecord(u64),
    /// An encoding version that this code is too old for.
    #[error("unknown version {0} of the encoding")]
    UnknownVersion(u8),
}
