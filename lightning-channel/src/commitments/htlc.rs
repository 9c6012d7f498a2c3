//! HTLCs as the layers above see them: offered by us, offered to us, and how they end.
//!
//! # Invariants
//! - an HTLC is named by its direction and id only, never by hash, amount or onion (RELIABILITY B15)
//! - onions are shared, never copied
use alloc::vec::Vec;
use core::fmt;

use lightning_traits::codec::{Decode, DecodeError, Encode, Reader};
use lightning_traits::id::{ChannelId, HtlcId, PaymentId};
use lightning_traits::payment::{PaymentHash, Preimage};
use lightning_traits::record;
use lightning_traits::route::Path;
use lightning_traits::sphinx::AttributionData;
use lightning_traits::units::{CltvExpiry, Msat};
use secp256k1::PublicKey;
use zeroize::Zeroize as _;

use super::onion::Onion;

/// Why we offered an HTLC: where its outcome goes. Durable in the record of the channel that carries the HTLC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It forwards an HTLC that another channel brought.
    Forward {
        /// The channel that brought it.
        channel: ChannelId,
        /// Its id there.
        htlc: HtlcId,
    },
    /// It is a part of a payment of our own.
    Payment {
        /// The payment.
        id: PaymentId,
        /// The way it takes.
        path: Path,
        /// What the onion's secrets come from: needed to read a failure.
        session_key: SessionKey,
        /// What the whole payment delivers.
        total: Msat,
    },
}
record!(enum Origin { 0 => Forward { channel, htlc }, 1 => Payment { id, path, session_key, total } });

/// The secret that an onion was built from. Never printed, erased when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionKey([u8; 32]);

impl SessionKey {
    /// Wraps the bytes.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes, for `sphinx` only.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionKey(..)")
    }
}

impl Drop for SessionKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl Encode for SessionKey {
    fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode(out);
    }
}

impl Decode for SessionKey {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.array().map(Self)
    }
}

/// An HTLC that we offer, or would like to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutgoingHtlc {
    /// What it carries.
    pub amount: Msat,
    /// What it is locked to.
    pub hash: PaymentHash,
    /// From when it may be timed out.
    pub expiry: CltvExpiry,
    /// The onion for the peer.
    pub onion: Onion,
    /// Set when relaying inside a blinded path (BOLT 4, "Route Blinding").
    pub path_key: Option<PublicKey>,
    /// Where its outcome goes.
    pub origin: Origin,
}
record!(struct OutgoingHtlc { amount, hash, expiry, onion, path_key, origin });

impl OutgoingHtlc {
    /// As it was offered, to be offered again: `sent` is what the peer saw of it.
    pub(super) fn again(sent: IncomingHtlc, origin: Origin) -> Self {
        let IncomingHtlc { amount, hash, expiry, onion, path_key, .. } = sent;
        Self { amount, hash, expiry, onion, path_key, origin }
    }
}

/// An HTLC that we offered and that is still in the channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingOutgoing {
    /// What it carries.
    pub amount: Msat,
    /// What it is locked to.
    pub hash: PaymentHash,
    /// From when it may be timed out.
    pub expiry: CltvExpiry,
    /// Where its outcome goes.
    pub origin: Origin,
}
record!(struct PendingOutgoing { amount, hash, expiry, origin });

/// An HTLC that the peer offered, as its `update_add_htlc` told it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IncomingHtlc {
    /// Its id among those the peer offered.
    pub id: HtlcId,
    /// What it carries.
    pub amount: Msat,
    /// What it is locked to.
    pub hash: PaymentHash,
    /// From when it may be timed out.
    pub expiry: CltvExpiry,
    /// The onion for us.
    pub onion: Onion,
    /// Set inside a blinded path.
    pub path_key: Option<PublicKey>,
    /// BOLT 2, "Bounding exposure to trimmed in-flight HTLCs": it exceeded our bound on dust when it came, so "SHOULD
    /// fail this HTLC once it's committed; SHOULD NOT reveal a preimage for this HTLC".
    pub over_exposed: bool,
}
record!(struct IncomingHtlc { id, amount, hash, expiry, onion, path_key, over_exposed });

/// How an HTLC is removed by the side that it was offered to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removal {
    /// `update_fulfill_htlc`.
    Fulfill {
        /// The preimage.
        preimage: Preimage,
        /// How long each hop held it, if known.
        attribution: Option<AttributionData>,
        /// We are the payee, of this much in all parts: a [`Notice::Claimed`](super::Notice::Claimed) is kept until it is done
        /// with. `None` for forwards, and for HTLCs that the peer fulfils.
        claimed: Option<Msat>,
    },
    /// `update_fail_htlc`.
    Fail {
        /// The encrypted failure.
        reason: Vec<u8>,
        /// Who failed it, if known.
        attribution: Option<AttributionData>,
    },
    /// `update_fail_malformed_htlc`.
    Malformed {
        /// Which onion could not be read.
        sha256_of_onion: [u8; 32],
        /// A BOLT 4 code with `BADONION`.
        code: u16,
    },
}

/// Attribution data stays out of the record: 920 bytes that serve nobody's money. A node that restarts begins it anew, as one
/// does whose next node has none (`docs/adr/0011`).
impl Encode for Removal {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Fulfill { preimage, attribution: _, claimed } => {
                out.push(0);
                preimage.encode(out);
                claimed.encode(out);
            }
            Self::Fail { reason, attribution: _ } => {
                out.push(1);
                reason.encode(out);
            }
            Self::Malformed { sha256_of_onion, code } => {
                out.push(2);
                sha256_of_onion.encode(out);
                code.encode(out);
            }
        }
    }
}

impl Decode for Removal {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match reader.read::<u8>()? {
            0 => Self::Fulfill { preimage: reader.read()?, attribution: None, claimed: reader.read()? },
            1 => Self::Fail { reason: reader.read()?, attribution: None },
            2 => Self::Malformed { sha256_of_onion: reader.read()?, code: reader.read()? },
            _ => return Err(DecodeError::InvalidValue("tag of Removal")),
        })
    }
}

/// BOLT 4: the bit of a failure code that says that the sender's peer could not read the onion.
pub const BADONION: u16 = 0x8000;
