//! Failures on their way back to the origin (BOLT 4, "Returning Errors").
//!
//! # Invariants
//! - the erring node cannot be told from a forwarding one by the size or the look of what it sends
//! - the origin does the same work wherever on the path the failure was made
//!
//! See also `attribution.rs` for what travels beside the packet.
use alloc::vec::Vec;

use subtle::ConstantTimeEq as _;

use super::Failure;
use super::attribution::{ATTRIBUTION_DATA_LEN, AttributionData, MAX_ATTRIBUTED_HOPS};
use super::secret::{KeyKind, SharedSecret};
use crate::codec::{Decode as _, DecodeError, Encode as _, Reader, TlvRecords};

/// Longest `reason` beside which attribution data fits into one message; a longer one is relayed without
/// (RELIABILITY B16). 65535 bytes less type, `channel_id`, `id`, `len`, and the record's own type and length.
pub const MAX_ATTRIBUTED_REASON_LEN: usize = 65_535 - (2 + 32 + 8 + 2) - (1 + 3 + ATTRIBUTION_DATA_LEN);

/// BOLT 4: "MUST set `pad` such that the `failure_len` plus `pad_len` is at least 256".
const MIN_PADDED_LEN: usize = 256;
/// More than any failure needs; keeps the packet inside one message.
const MAX_MESSAGE_LEN: usize = 32_768;
/// BOLT 4: "SHOULD continue decrypting, until the loop has been repeated 27 times".
const DECODE_ROUNDS: usize = 27;

/// Makes the `reason` of `update_fail_htlc` at the node where the payment fails.
///
/// `extra` is a TLV stream behind the failure's data; empty for all that BOLT 4 defines.
#[must_use]
pub fn create(secret: &SharedSecret, failure: &Failure, extra: &TlvRecords) -> Vec<u8> {
    let mut packet = plain_packet(secret, failure, extra);
    wrap(secret, &mut packet);
    packet
}

/// Like [`create`], with the attribution data to send beside it. `hold_time` counts units of 100 milliseconds.
#[must_use]
pub fn create_attributed(
    secret: &SharedSecret,
    failure: &Failure,
    extra: &TlvRecords,
    hold_time: u32,
) -> (Vec<u8>, AttributionData) {
    let mut packet = plain_packet(secret, failure, extra);
    let data = wrap_attributed(secret, &mut packet, None, hold_time);
    (packet, data)
}

/// Obfuscates a `reason` from downstream before it is passed on upstream.
pub fn wrap(secret: &SharedSecret, packet: &mut [u8]) {
    secret.key(KeyKind::Ammag).stream().apply(packet);
}

/// Like [`wrap`]; takes the attribution data from downstream, if there was any, and returns that for upstream.
#[must_use]
pub fn wrap_attributed(
    secret: &SharedSecret,
    packet: &mut [u8],
    downstream: Option<AttributionData>,
    hold_time: u32,
) -> AttributionData {
    let mut data = downstream.unwrap_or_else(AttributionData::empty);
    data.add_hop(secret, packet, hold_time);
    wrap(secret, packet);
    data
}

/// What the origin learns from a returned packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodedError {
    /// Who failed the payment, and why.
    pub source: ErrorSource,
    /// Hold times that the first hops reported and authenticated, in units of 100 milliseconds; zero: not measured.
    /// Empty without attribution data.
    pub hold_times: Vec<u32>,
}

/// Who failed the payment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ErrorSource {
    /// A hop signed for the failure.
    Hop {
        /// Index of the hop among the secrets.
        hop: usize,
        /// The failure, or `None` when what the hop authenticated is not even a failure code.
        failure: Option<Failure>,
        /// The failure message as it came, with bytes behind the failure.
        message: Vec<u8>,
    },
    /// No hop's HMAC matches: the packet was spoiled on its way.
    Unreadable {
        /// With attribution data: the first hop whose HMAC over what it passed on does not match (the last, if all
        /// do). Either it or the hop before it did the damage, or it does not support attribution.
        blamed: Option<usize>,
    },
}

/// Decodes a returned `reason` with the secrets of all hops, in order of the route.
///
/// Does `DECODE_ROUNDS` rounds for any shorter route, whoever failed, so that the time it takes says nothing about the
/// route.
#[must_use]
pub fn decode(
    secrets: &[SharedSecret],
    mut packet: Vec<u8>,
    attribution: Option<AttributionData>,
) -> DecodedError {
    let attribution = attribution.filter(|_| secrets.len() <= MAX_ATTRIBUTED_HOPS);
    let hold_times = attribution.map(|data| data.verify(secrets, packet.clone()));
    let dummy = SharedSecret::new([0; 32]);
    let dummies = DECODE_ROUNDS.saturating_sub(secrets.len());
    let rounds = secrets.iter().chain(core::iter::repeat_n(&dummy, dummies));
    let mut found: Option<(usize, Vec<u8>)> = None;
    for (hop, secret) in rounds.enumerate() {
        wrap(secret, &mut packet);
        let matches = is_authentic(secret, &packet);
        if matches && found.is_none() && hop < secrets.len() {
            found = Some((hop, packet.clone()));
        }
    }
    let source = match found {
        Some((hop, plain)) => {
            // What a hop authenticated and is still malformed is that hop's doing: it is known, its reason is not.
            let message = read_message(&plain).unwrap_or_default().to_vec();
            ErrorSource::Hop { hop, failure: Failure::from_bytes(&message).ok(), message }
        }
        None => {
            let last = secrets.len().saturating_sub(1);
            ErrorSource::Unreadable { blamed: hold_times.as_ref().map(|times| times.len().min(last)) }
        }
    };
    DecodedError { source, hold_times: hold_times.unwrap_or_default() }
}

/// `hmac | failure_len | failuremsg | pad_len | pad`, not yet obfuscated.
fn plain_packet(secret: &SharedSecret, failure: &Failure, extra: &TlvRecords) -> Vec<u8> {
    let mut message = failure.to_bytes();
    extra.encode(&mut message);
    if message.len() > MAX_MESSAGE_LEN {
        // The code alone still tells the origin what to do.
        message = failure.code().0.to_bytes();
    }
    let pad_len = MIN_PADDED_LEN.saturating_sub(message.len());
    let mut body = Vec::with_capacity(message.len().saturating_add(pad_len).saturating_add(4));
    (message.len() as u16).encode(&mut body);
    body.extend_from_slice(&message);
    (pad_len as u16).encode(&mut body);
    body.resize(body.len().saturating_add(pad_len), 0);
    let mut packet = secret.key(KeyKind::Um).hmac(&[&body]).to_vec();
    packet.extend_from_slice(&body);
    packet
}

fn is_authentic(secret: &SharedSecret, packet: &[u8]) -> bool {
    let Some((hmac, body)) = packet.split_first_chunk::<32>() else { return false };
    secret.key(KeyKind::Um).hmac(&[body]).ct_eq(hmac).into()
}

/// The failure message of an authentic packet; what stands behind it is padding and not looked at.
fn read_message(packet: &[u8]) -> Result<&[u8], DecodeError> {
    let mut reader = Reader::new(packet);
    reader.array::<32>()?;
    let length: u16 = reader.read()?;
    reader.take(usize::from(length))
}
