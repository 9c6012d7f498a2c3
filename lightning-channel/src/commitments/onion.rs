//! The onion of an HTLC, as the channel's record keeps it (BOLT 4; `docs/adr/0016`).
//!
//! An onion is 1,366 bytes, more than all else that a payment makes a node write. So it is kept whole only where nothing
//! shorter says the same: the onion of a payment of ours is built again from what it was built from, and one that ends at us is
//! read when it comes.
//!
//! # Invariants
//! - what is kept is what counts: a packet that is at hand beside it is no part of the state (I6)
//! - whatever may have to be sent again can be (BOLT 2, "Message Retransmission"), to the byte
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use lightning_traits::codec::{Decode, DecodeError, Encode, Reader};
use lightning_traits::payment::PaymentHash;
use lightning_traits::route::Path;
use lightning_traits::sphinx::{OnionPacket, SharedSecret};

use super::Commitments;
use super::htlc::{Origin, SessionKey};
use super::log::Update;

/// The onion of an HTLC.
#[derive(Clone)]
pub enum Onion {
    /// As it came, or as it is passed on.
    Whole {
        /// The packet.
        packet: Arc<OnionPacket>,
    },
    /// Of a payment of ours: built from the path and the session key of its origin, and from this.
    Ours {
        /// What the payee is told.
        payload: Vec<u8>,
        /// The packet, when it is at hand. Neither stored nor compared.
        built: Option<Arc<OnionPacket>>,
    },
    /// As it came, and our layer is off.
    Peeled {
        /// What we share with its origin.
        secret: SharedSecret,
        /// What we are told.
        payload: Vec<u8>,
        /// For the next node; `None` when it ends at us.
        next: Option<Arc<OnionPacket>>,
    },
}

impl Onion {
    /// The packet, if it is at hand as it is sent or as it came.
    #[must_use]
    pub const fn packet(&self) -> Option<&Arc<OnionPacket>> {
        match self {
            Self::Whole { packet } => Some(packet),
            Self::Ours { built, .. } => built.as_ref(),
            Self::Peeled { .. } => None,
        }
    }

    /// For an answer that says which onion could not be read; only those that could be are not at hand.
    pub(crate) fn sha256(&self) -> [u8; 32] {
        self.packet().map_or([0; 32], |packet| packet.sha256())
    }
}

impl From<Arc<OnionPacket>> for Onion {
    fn from(packet: Arc<OnionPacket>) -> Self {
        Self::Whole { packet }
    }
}

impl PartialEq for Onion {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Whole { packet }, Self::Whole { packet: other }) => packet == other,
            (Self::Ours { payload, .. }, Self::Ours { payload: other, .. }) => payload == other,
            (
                Self::Peeled { secret, payload, next },
                Self::Peeled { secret: other_secret, payload: other_payload, next: other_next },
            ) => secret == other_secret && payload == other_payload && next == other_next,
            (Self::Whole { .. } | Self::Ours { .. } | Self::Peeled { .. }, _) => false,
        }
    }
}

impl Eq for Onion {}

/// Payloads have secrets in them, which are not printed.
impl fmt::Debug for Onion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Whole { .. } => "Whole(..)",
            Self::Ours { .. } => "Ours(..)",
            Self::Peeled { next: None, .. } => "Peeled(.., for us)",
            Self::Peeled { next: Some(_), .. } => "Peeled(.., to forward)",
        })
    }
}

impl Encode for Onion {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Whole { packet } => {
                out.push(0);
                packet.encode(out);
            }
            Self::Ours { payload, built: _ } => {
                out.push(1);
                payload.encode(out);
            }
            Self::Peeled { secret, payload, next } => {
                out.push(2);
                secret.encode(out);
                payload.encode(out);
                next.encode(out);
            }
        }
    }
}

impl Decode for Onion {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match reader.read::<u8>()? {
            0 => Self::Whole { packet: reader.read()? },
            1 => Self::Ours { payload: reader.read()?, built: None },
            2 => Self::Peeled { secret: reader.read()?, payload: reader.read()?, next: reader.read()? },
            _ => return Err(DecodeError::InvalidValue("tag of Onion")),
        })
    }
}

/// What an onion of ours is built from.
pub(crate) struct Recipe<'a> {
    pub(crate) path: &'a Path,
    pub(crate) session_key: &'a SessionKey,
    /// What the payee is told.
    pub(crate) payload: &'a [u8],
    pub(crate) hash: PaymentHash,
}

impl Commitments {
    /// After a restart: makes the packets again that may have to be sent again. Those that the peer has for good are never.
    /// `None` when one cannot be made, which the record then does not tell truly.
    pub(crate) fn build_onions(
        &mut self,
        build: impl Fn(&Recipe<'_>) -> Option<Arc<OnionPacket>>,
    ) -> Option<()> {
        for update in self.ours.proposed.iter_mut().chain(&mut self.ours.signed) {
            let Update::Add { htlc } = update else { continue };
            let Onion::Ours { payload, built: built @ None } = &mut htlc.onion else { continue };
            let origin = self.outgoing.get(&htlc.id).map(|pending| &pending.origin);
            let Some(Origin::Payment { path, session_key, .. }) = origin else { return None };
            *built = Some(build(&Recipe { path, session_key, payload, hash: htlc.hash })?);
        }
        Some(())
    }
}
