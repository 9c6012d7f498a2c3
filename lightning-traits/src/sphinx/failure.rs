//! Failure messages (BOLT 4, "Failure Messages"): why an HTLC came back.
//!
//! # Invariants
//! - decoding is tolerant: extra bytes are ignored, and a code that we do not know, or whose data is cut short, is
//!   kept as it came, so what the flags of the code say can still be acted on
use alloc::vec::Vec;
use core::fmt;

use crate::codec::{BigSize, Decode, DecodeError, Encode, Reader};
use crate::units::{BlockHeight, CltvExpiry, Msat};

/// The two bytes that open a failure message: four flags and a number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FailureCode(pub u16);

impl FailureCode {
    const BADONION: u16 = 0x8000;
    const PERM: u16 = 0x4000;
    const NODE: u16 = 0x2000;
    const UPDATE: u16 = 0x1000;

    /// BADONION: the sending peer encrypted an onion that could not be read.
    #[must_use]
    pub const fn is_bad_onion(self) -> bool {
        self.0 & Self::BADONION != 0
    }

    /// PERM: trying again will not help.
    #[must_use]
    pub const fn is_permanent(self) -> bool {
        self.0 & Self::PERM != 0
    }

    /// NODE: the whole node is concerned, otherwise one channel of it.
    #[must_use]
    pub const fn is_node(self) -> bool {
        self.0 & Self::NODE != 0
    }

    /// UPDATE: a forwarding parameter of the channel was violated.
    #[must_use]
    pub const fn is_update(self) -> bool {
        self.0 & Self::UPDATE != 0
    }
}

impl fmt::Debug for FailureCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FailureCode({:#06x})", self.0)
    }
}

impl fmt::Display for FailureCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#06x}", self.0)
    }
}

/// A failure message, in the order of BOLT 4.
///
/// `channel_update` fields are raw: whoever reads one MUST NOT let others see its effect, for a node could give each
/// payer its own policy and so recognise the payer (BOLT 4, "Receiving Failure Codes"; RELIABILITY F13).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[allow(missing_docs, reason = "fields are those of BOLT 4; the variants say the rest")]
pub enum Failure {
    /// General temporary failure of the node.
    TemporaryNodeFailure,
    /// General permanent failure of the node.
    PermanentNodeFailure,
    /// The node requires a feature that was not in the onion.
    RequiredNodeFeatureMissing,
    /// The version byte was not understood.
    InvalidOnionVersion { sha256_of_onion: [u8; 32] },
    /// The HMAC was incorrect.
    InvalidOnionHmac { sha256_of_onion: [u8; 32] },
    /// The ephemeral key was unparsable.
    InvalidOnionKey { sha256_of_onion: [u8; 32] },
    /// The channel cannot handle this HTLC now.
    TemporaryChannelFailure { channel_update: Vec<u8> },
    /// The channel cannot handle any HTLC.
    PermanentChannelFailure,
    /// The channel requires a feature that was not in the onion.
    RequiredChannelFeatureMissing,
    /// No channel of the node has the `short_channel_id` of the onion.
    UnknownNextPeer,
    /// Below the channel's `htlc_minimum_msat`.
    AmountBelowMinimum { htlc_msat: Msat, channel_update: Vec<u8> },
    /// The fee was too low.
    FeeInsufficient { htlc_msat: Msat, channel_update: Vec<u8> },
    /// The difference of the expiries is below the channel's `cltv_expiry_delta`.
    IncorrectCltvExpiry { cltv_expiry: CltvExpiry, channel_update: Vec<u8> },
    /// The expiry is too near.
    ExpiryTooSoon { channel_update: Vec<u8> },
    /// The final node does not want this payment; it does not say why, so that nobody can probe.
    IncorrectOrUnknownPaymentDetails { htlc_msat: Msat, height: BlockHeight },
    /// The HTLC expires before what the onion says.
    FinalIncorrectCltvExpiry { cltv_expiry: CltvExpiry },
    /// The HTLC is smaller than what the onion says.
    FinalIncorrectHtlcAmount { incoming_htlc_amt: Msat },
    /// The channel is disabled.
    ChannelDisabled { disabled_flags: u16, channel_update: Vec<u8> },
    /// The expiry is too far away.
    ExpiryTooFar,
    /// The payload of the onion was not understood; where, if that is known.
    InvalidOnionPayload { kind: u64, offset: u16 },
    /// The other parts of the payment did not arrive in time.
    MppTimeout,
    /// An error within a blinded path.
    InvalidOnionBlinding { sha256_of_onion: [u8; 32] },
    /// Any other code, or data too short for its code.
    Unknown { code: FailureCode, data: Vec<u8> },
}

impl Failure {
    /// The code of this failure.
    #[must_use]
    pub const fn code(&self) -> FailureCode {
        const BADONION_PERM: u16 = FailureCode::BADONION | FailureCode::PERM;
        const PERM: u16 = FailureCode::PERM;
        const NODE: u16 = FailureCode::NODE;
        const UPDATE: u16 = FailureCode::UPDATE;
        FailureCode(match self {
            Self::TemporaryNodeFailure => NODE | 2,
            Self::PermanentNodeFailure => PERM | NODE | 2,
            Self::RequiredNodeFeatureMissing => PERM | NODE | 3,
            Self::InvalidOnionVersion { .. } => BADONION_PERM | 4,
            Self::InvalidOnionHmac { .. } => BADONION_PERM | 5,
            Self::InvalidOnionKey { .. } => BADONION_PERM | 6,
            Self::TemporaryChannelFailure { .. } => UPDATE | 7,
            Self::PermanentChannelFailure => PERM | 8,
            Self::RequiredChannelFeatureMissing => PERM | 9,
            Self::UnknownNextPeer => PERM | 10,
            Self::AmountBelowMinimum { .. } => UPDATE | 11,
            Self::FeeInsufficient { .. } => UPDATE | 12,
            Self::IncorrectCltvExpiry { .. } => UPDATE | 13,
            Self::ExpiryTooSoon { .. } => UPDATE | 14,
            Self::IncorrectOrUnknownPaymentDetails { .. } => PERM | 15,
            Self::FinalIncorrectCltvExpiry { .. } => 18,
            Self::FinalIncorrectHtlcAmount { .. } => 19,
            Self::ChannelDisabled { .. } => UPDATE | 20,
            Self::ExpiryTooFar => 21,
            Self::InvalidOnionPayload { .. } => PERM | 22,
            Self::MppTimeout => 23,
            Self::InvalidOnionBlinding { .. } => BADONION_PERM | 24,
            Self::Unknown { code, .. } => code.0,
        })
    }

    /// The failure that a peer's `update_fail_malformed_htlc` stands for (BOLT 2: "using the `failure_code` given and
    /// setting the data to `sha256_of_onion`").
    #[must_use]
    pub fn from_malformed(code: FailureCode, sha256_of_onion: [u8; 32]) -> Self {
        Self::from_parts(code, &sha256_of_onion)
    }

    /// The `sha256_of_onion` of a BADONION failure, for `update_fail_malformed_htlc`.
    #[must_use]
    pub const fn sha256_of_onion(&self) -> Option<[u8; 32]> {
        match self {
            Self::InvalidOnionVersion { sha256_of_onion }
            | Self::InvalidOnionHmac { sha256_of_onion }
            | Self::InvalidOnionKey { sha256_of_onion }
            | Self::InvalidOnionBlinding { sha256_of_onion } => Some(*sha256_of_onion),
            _ => None,
        }
    }

    fn from_parts(code: FailureCode, data: &[u8]) -> Self {
        // BOLT 4, "Receiving Failure Codes": "MUST ignore any extra bytes in `failuremsg`".
        match Self::decode_data(code, &mut Reader::new(data)) {
            Ok(Some(failure)) => failure,
            Ok(None) | Err(_) => Self::Unknown { code, data: data.to_vec() },
        }
    }

    /// `None` for a code that we do not know. The full code is matched: the same number with other flags is unknown.
    fn decode_data(code: FailureCode, data: &mut Reader<'_>) -> Result<Option<Self>, DecodeError> {
        Ok(Some(match code.0 {
            0x2002 => Self::TemporaryNodeFailure,
            0x6002 => Self::PermanentNodeFailure,
            0x6003 => Self::RequiredNodeFeatureMissing,
            0xc004 => Self::InvalidOnionVersion { sha256_of_onion: data.array()? },
            0xc005 => Self::InvalidOnionHmac { sha256_of_onion: data.array()? },
            0xc006 => Self::InvalidOnionKey { sha256_of_onion: data.array()? },
            0x1007 => Self::TemporaryChannelFailure { channel_update: short_bytes(data)? },
            0x4008 => Self::PermanentChannelFailure,
            0x4009 => Self::RequiredChannelFeatureMissing,
            0x400a => Self::UnknownNextPeer,
            0x100b => {
                Self::AmountBelowMinimum { htlc_msat: data.read()?, channel_update: short_bytes(data)? }
            }
            0x100c => Self::FeeInsufficient { htlc_msat: data.read()?, channel_update: short_bytes(data)? },
            0x100d => {
                Self::IncorrectCltvExpiry { cltv_expiry: data.read()?, channel_update: short_bytes(data)? }
            }
            0x100e => Self::ExpiryTooSoon { channel_update: short_bytes(data)? },
            0x400f => {
                Self::IncorrectOrUnknownPaymentDetails { htlc_msat: data.read()?, height: data.read()? }
            }
            18 => Self::FinalIncorrectCltvExpiry { cltv_expiry: data.read()? },
            19 => Self::FinalIncorrectHtlcAmount { incoming_htlc_amt: data.read()? },
            0x1014 => {
                Self::ChannelDisabled { disabled_flags: data.read()?, channel_update: short_bytes(data)? }
            }
            21 => Self::ExpiryTooFar,
            0x4016 => Self::InvalidOnionPayload { kind: data.read::<BigSize>()?.0, offset: data.read()? },
            23 => Self::MppTimeout,
            0xc018 => Self::InvalidOnionBlinding { sha256_of_onion: data.array()? },
            _ => return Ok(None),
        }))
    }
}

/// Two bytes of code, then the data.
impl Encode for Failure {
    fn encode(&self, out: &mut Vec<u8>) {
        self.code().0.encode(out);
        match self {
            Self::InvalidOnionVersion { sha256_of_onion }
            | Self::InvalidOnionHmac { sha256_of_onion }
            | Self::InvalidOnionKey { sha256_of_onion }
            | Self::InvalidOnionBlinding { sha256_of_onion } => sha256_of_onion.encode(out),
            Self::TemporaryChannelFailure { channel_update } | Self::ExpiryTooSoon { channel_update } => {
                put_short_bytes(channel_update, out);
            }
            Self::AmountBelowMinimum { htlc_msat, channel_update }
            | Self::FeeInsufficient { htlc_msat, channel_update } => {
                htlc_msat.encode(out);
                put_short_bytes(channel_update, out);
            }
            Self::IncorrectCltvExpiry { cltv_expiry, channel_update } => {
                cltv_expiry.encode(out);
                put_short_bytes(channel_update, out);
            }
            Self::IncorrectOrUnknownPaymentDetails { htlc_msat, height } => {
                htlc_msat.encode(out);
                height.encode(out);
            }
            Self::FinalIncorrectCltvExpiry { cltv_expiry } => cltv_expiry.encode(out),
            Self::FinalIncorrectHtlcAmount { incoming_htlc_amt } => incoming_htlc_amt.encode(out),
            Self::ChannelDisabled { disabled_flags, channel_update } => {
                disabled_flags.encode(out);
                put_short_bytes(channel_update, out);
            }
            Self::InvalidOnionPayload { kind, offset } => {
                BigSize(*kind).encode(out);
                offset.encode(out);
            }
            Self::Unknown { data, .. } => out.extend_from_slice(data),
            Self::TemporaryNodeFailure
            | Self::PermanentNodeFailure
            | Self::RequiredNodeFeatureMissing
            | Self::PermanentChannelFailure
            | Self::RequiredChannelFeatureMissing
            | Self::UnknownNextPeer
            | Self::ExpiryTooFar
            | Self::MppTimeout => {}
        }
    }
}

/// Takes all bytes that are left; only a missing code does not decode.
impl Decode for Failure {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let code = FailureCode(reader.read()?);
        Ok(Self::from_parts(code, reader.take_rest()))
    }
}

fn short_bytes(reader: &mut Reader<'_>) -> Result<Vec<u8>, DecodeError> {
    let length: u16 = reader.read()?;
    Ok(reader.take(usize::from(length))?.to_vec())
}

/// BOLT 4: nodes that do not provide a `channel_update` set its length to zero. One that does not fit is left out too.
fn put_short_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    let (length, bytes) = match u16::try_from(bytes.len()) {
        Ok(length) => (length, bytes),
        Err(_) => (0, &[][..]),
    };
    length.encode(out);
    out.extend_from_slice(bytes);
}
