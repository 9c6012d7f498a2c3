//! Removing one layer of an onion at a hop (BOLT 4, "Onion Decryption").
//!
//! # Invariants
//! - the hmac is checked before anything inside is read, in constant time
//! - allocates no more than the packet's own size (RELIABILITY G1)
use alloc::vec::Vec;

use secp256k1::PublicKey;
use subtle::ConstantTimeEq as _;
use thiserror::Error;

use super::Failure;
use super::packet::{OnionPacket, Payloads, VERSION};
use super::secret::{KeyKind, SharedSecret};
use crate::Secp;
use crate::codec::{BigSize, DecodeError, Reader};

/// One layer less.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peeled<P: Payloads = [u8; super::PAYMENT_PAYLOADS_LEN]> {
    /// Shared with the origin; kept to return a failure.
    pub shared_secret: SharedSecret,
    /// This hop's TLV payload, without its length; see [`HopPayload`](super::HopPayload).
    pub payload: Vec<u8>,
    /// The packet for the next hop, or `None` at the final node.
    pub next: Option<OnionPacket<P>>,
}

/// Why an onion is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PeelError {
    /// Tampered with, made for another node or another payment.
    #[error("the onion's hmac does not match")]
    InvalidHmac,
    /// The ephemeral key is no point, or becomes none.
    #[error("the onion's ephemeral key is invalid")]
    InvalidKey,
    /// Authentic, but its length field is wrong: the origin built it so.
    #[error("the onion's payload is malformed")]
    InvalidPayload,
    /// We know version 0 only.
    #[error("unknown onion version {0}")]
    UnknownVersion(u8),
}

impl PeelError {
    /// The failure to answer with: through `update_fail_malformed_htlc` when its code has BADONION, for then the
    /// origin's layer cannot be read or trusted; else encrypted for the origin.
    #[must_use]
    pub const fn failure(self, sha256_of_onion: [u8; 32]) -> Failure {
        match self {
            Self::InvalidHmac => Failure::InvalidOnionHmac { sha256_of_onion },
            Self::InvalidKey => Failure::InvalidOnionKey { sha256_of_onion },
            Self::InvalidPayload => Failure::InvalidOnionPayload { kind: 0, offset: 0 },
            Self::UnknownVersion(_) => Failure::InvalidOnionVersion { sha256_of_onion },
        }
    }
}

/// Peels `packet` with the node's key, which only `ecdh` touches (it may live in a remote signer).
///
/// # Errors
/// Those of `ecdh`, and [`PeelError`].
pub fn peel<P: Payloads, E: From<PeelError>>(
    secp: &Secp,
    packet: &OnionPacket<P>,
    associated_data: &[u8],
    ecdh: impl FnOnce(&PublicKey) -> Result<SharedSecret, E>,
) -> Result<Peeled<P>, E> {
    let point = packet.ephemeral_point()?;
    let shared_secret = ecdh(&point)?;
    Ok(peel_at(secp, point, shared_secret, packet, associated_data)?)
}

/// Peels `packet` when the secret shared with its origin is known already.
///
/// # Errors
/// See [`PeelError`].
pub fn peel_with_secret<P: Payloads>(
    secp: &Secp,
    shared_secret: SharedSecret,
    packet: &OnionPacket<P>,
    associated_data: &[u8],
) -> Result<Peeled<P>, PeelError> {
    peel_at(secp, packet.ephemeral_point()?, shared_secret, packet, associated_data)
}

/// Peels `packet` when its [`ephemeral_point`](OnionPacket::ephemeral_point) and the secret are both known already.
///
/// # Errors
/// See [`PeelError`].
pub fn peel_at<P: Payloads>(
    secp: &Secp,
    point: PublicKey,
    shared_secret: SharedSecret,
    packet: &OnionPacket<P>,
    associated_data: &[u8],
) -> Result<Peeled<P>, PeelError> {
    let hmac = shared_secret.key(KeyKind::Mu).hmac(&[packet.payloads.as_ref(), associated_data]);
    // BOLT 4: "MUST use a constant time comparison of the computed HMAC and `hmac`".
    if !bool::from(hmac.ct_eq(&packet.hmac)) {
        return Err(PeelError::InvalidHmac);
    }
    let mut stream = shared_secret.key(KeyKind::Rho).stream();
    let mut payloads = packet.payloads.clone();
    let area = payloads.as_mut();
    stream.apply(area);
    let (payload, next_hmac, taken) = read_front(area).map_err(|_| PeelError::InvalidPayload)?;
    let payload = payload.to_vec();
    if next_hmac == [0; 32] {
        return Ok(Peeled { shared_secret, payload, next: None });
    }

    // The stream goes on over the zeros that stand behind the payloads; what was taken in front makes room for them.
    area.copy_within(taken.., 0);
    let kept = area.len().saturating_sub(taken);
    if let Some(appended) = area.get_mut(kept..) {
        appended.fill(0);
        stream.apply(appended);
    }
    let factor = shared_secret.blinding_factor(&packet.ephemeral_key).ok_or(PeelError::InvalidKey)?;
    let ephemeral_key = point.mul_tweak(secp, &factor).map_err(|_| PeelError::InvalidKey)?.serialize();
    let next = OnionPacket { version: VERSION, ephemeral_key, payloads, hmac: next_hmac };
    Ok(Peeled { shared_secret, payload, next: Some(next) })
}

/// This hop's payload, the next hop's hmac, and how many bytes both took.
fn read_front(area: &[u8]) -> Result<(&[u8], [u8; 32], usize), DecodeError> {
    let mut reader = Reader::new(area);
    let BigSize(length) = reader.read()?;
    // BOLT 4: "If the `payload_length` is less than two: MUST abort processing the packet and fail".
    if length < 2 {
        return Err(DecodeError::BadLength(length));
    }
    let length = usize::try_from(length).map_err(|_| DecodeError::BadLength(length))?;
    let payload = reader.take(length)?;
    let hmac = reader.array()?;
    Ok((payload, hmac, area.len().saturating_sub(reader.len())))
}
