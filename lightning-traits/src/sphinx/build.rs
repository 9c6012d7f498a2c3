//! Building an onion at the origin (BOLT 4, "Packet Construction", "Filler Generation").
//!
//! # Invariants
//! - every hop sees a packet of the same size, whatever the number of hops
//! - the session key must be fresh for each packet: two packets under one key can be linked
use alloc::vec::Vec;

use secp256k1::{PublicKey, SecretKey};
use thiserror::Error;

use super::packet::{OnionPacket, PAYMENT_PAYLOADS_LEN, Payloads, VERSION};
use super::secret::{Key, KeyKind, SharedSecret};
use crate::Secp;
use crate::codec::{BigSize, Encode as _};

/// Why an onion cannot be built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum OnionError {
    /// A key multiplied to nothing valid; a fresh session key helps.
    #[error("the session key and the hops' keys give no valid ephemeral key")]
    InvalidTweak,
    /// There is nobody to send to.
    #[error("an onion needs at least one hop")]
    NoHops,
    /// BOLT 4: "`length` values of 0 and 1 are reserved".
    #[error("the payload of hop {hop} is shorter than two bytes")]
    PayloadTooShort {
        /// Index of the hop.
        hop: usize,
    },
    /// The payloads do not fit (RELIABILITY G6).
    #[error("the payloads need {needed} bytes, the onion has {available}")]
    TooLong {
        /// Bytes that payloads, their lengths and their hmacs need.
        needed: usize,
        /// Bytes that the packet has.
        available: usize,
    },
}

/// Bytes that one hop with a payload of `payload_len` bytes takes of an onion: length, payload, hmac.
#[must_use]
pub const fn hop_len(payload_len: usize) -> usize {
    BigSize(payload_len as u64).encoded_len().saturating_add(payload_len).saturating_add(32)
}

/// Builds a payment onion for `hops`, each with its raw TLV payload (the length in front is added here).
///
/// Returns the packet for the first hop and the secrets shared with each hop, which decode a returned failure.
///
/// # Errors
/// See [`OnionError`].
pub fn build(
    secp: &Secp,
    session_key: &SecretKey,
    hops: &[(PublicKey, Vec<u8>)],
    associated_data: &[u8],
) -> Result<(OnionPacket, Vec<SharedSecret>), OnionError> {
    build_into([0; PAYMENT_PAYLOADS_LEN], secp, session_key, hops, associated_data)
}

/// Like [`build`], for an onion of another size: that of `payloads`, whose content does not matter.
///
/// # Errors
/// See [`OnionError`].
pub fn build_into<P: Payloads>(
    mut payloads: P,
    secp: &Secp,
    session_key: &SecretKey,
    hops: &[(PublicKey, Vec<u8>)],
    associated_data: &[u8],
) -> Result<(OnionPacket<P>, Vec<SharedSecret>), OnionError> {
    check_sizes(hops, payloads.as_ref().len())?;
    let ephemeral_key = PublicKey::from_secret_key(secp, session_key).serialize();
    let secrets = walk(secp, session_key, Some(ephemeral_key), hops.iter().map(|(node, _)| node))?;
    let area = payloads.as_mut();
    area.fill(0);
    Key::derive(KeyKind::Pad, &session_key.secret_bytes()).stream().apply(area);

    let filler = filler(&secrets, hops, area.len());
    let mut hmac = [0; 32]; // all zero tells the last hop that it is the last
    let mut is_last = true;
    for ((_, payload), secret) in hops.iter().zip(&secrets).rev() {
        push_front(area, payload, &hmac);
        secret.key(KeyKind::Rho).stream().apply(area);
        if is_last {
            // BOLT 4: "the tail of the `hop_payloads` field is overwritten with the routing information `filler`".
            let tail = area.len().saturating_sub(filler.len());
            if let Some(tail) = area.get_mut(tail..) {
                tail.copy_from_slice(&filler);
            }
            is_last = false;
        }
        hmac = secret.key(KeyKind::Mu).hmac(&[area, associated_data]);
    }
    Ok((OnionPacket { version: VERSION, ephemeral_key, payloads, hmac }, secrets))
}

/// The secrets shared with `nodes` under `session_key`: enough to decode a failure when the packet is long gone.
///
/// # Errors
/// [`OnionError::InvalidTweak`], with probability 2^-127 for each node.
pub fn shared_secrets<'a>(
    secp: &Secp,
    session_key: &SecretKey,
    nodes: impl IntoIterator<Item = &'a PublicKey>,
) -> Result<Vec<SharedSecret>, OnionError> {
    walk(secp, session_key, None, nodes)
}

/// The secrets shared with `nodes`; `point` is the session key's own, if that is known already.
fn walk<'a>(
    secp: &Secp,
    session_key: &SecretKey,
    mut point: Option<[u8; 33]>,
    nodes: impl IntoIterator<Item = &'a PublicKey>,
) -> Result<Vec<SharedSecret>, OnionError> {
    let mut ephemeral = *session_key;
    let mut secrets = Vec::new();
    let mut nodes = nodes.into_iter().peekable();
    while let Some(node) = nodes.next() {
        let secret = SharedSecret::ecdh(node, &ephemeral);
        // The last hop's key blinds none behind it.
        if nodes.peek().is_some() {
            let point = point.take().unwrap_or_else(|| ephemeral.public_key(secp).serialize());
            let factor = secret.blinding_factor(&point).ok_or(OnionError::InvalidTweak)?;
            ephemeral = ephemeral.mul_tweak(&factor).map_err(|_| OnionError::InvalidTweak)?;
        }
        secrets.push(secret);
    }
    ephemeral.non_secure_erase();
    Ok(secrets)
}

fn check_sizes(hops: &[(PublicKey, Vec<u8>)], available: usize) -> Result<(), OnionError> {
    if hops.is_empty() {
        return Err(OnionError::NoHops);
    }
    if let Some(hop) = hops.iter().position(|(_, payload)| payload.len() < 2) {
        return Err(OnionError::PayloadTooShort { hop });
    }
    let needed = hops.iter().fold(0usize, |sum, (_, payload)| sum.saturating_add(hop_len(payload.len())));
    if needed > available { Err(OnionError::TooLong { needed, available }) } else { Ok(()) }
}

/// Shifts `area` right and puts length, payload and hmac into the room at its start.
fn push_front(area: &mut [u8], payload: &[u8], hmac: &[u8; 32]) {
    let shift = hop_len(payload.len()).min(area.len());
    let kept = area.len().saturating_sub(shift);
    area.copy_within(..kept, shift);
    let mut front = BigSize(payload.len() as u64).to_bytes();
    front.extend_from_slice(payload);
    front.extend_from_slice(hmac);
    for (to, from) in area.iter_mut().zip(front) {
        *to = from;
    }
}

/// What the zeros that each hop appends become on the way to the last hop.
///
/// At hop `i` the filler so far lies at the end of the payloads and the appended zeros behind them, so it meets
/// that part of the hop's stream which starts `filler.len()` bytes before the end of the payloads.
fn filler(secrets: &[SharedSecret], hops: &[(PublicKey, Vec<u8>)], area_len: usize) -> Vec<u8> {
    let mut filler = Vec::new();
    let all_but_last = hops.len().saturating_sub(1);
    for ((_, payload), secret) in hops.iter().zip(secrets).take(all_but_last) {
        let start = area_len.saturating_sub(filler.len());
        filler.resize(filler.len().saturating_add(hop_len(payload.len())), 0);
        secret.key(KeyKind::Rho).stream().starting_at(start).apply(&mut filler);
    }
    filler
}
