//! What an incoming HTLC's onion asks of us, and failures on their way back through us (BOLT 4).
//!
//! # Invariants
//! - an onion is peeled when it comes, and the channel's record keeps what was in it: a restart peels none again. Attribution
//!   data is not stored: after a restart we begin it anew
use alloc::sync::Arc;

use lightning_traits::Secp;
use lightning_traits::codec::TlvRecords;
use lightning_traits::interface::{KeysInterface, SignError};
use lightning_traits::payment::Preimage;
use lightning_traits::sphinx::{
    self, AttributionData, Failure, FailureCode, FinalPayload, ForwardPayload, HopPayload,
    MAX_ATTRIBUTED_REASON_LEN, OnionPacket, PeelError, Peeled, SharedSecret,
};
use lightning_traits::units::Msat;
use secp256k1::PublicKey;

use crate::commitments::{BADONION, IncomingHtlc, Onion, Outcome, Removal};

/// What the onion asks.
#[derive(Clone, Debug)]
pub(crate) enum Asked {
    /// To forward.
    Forward { secret: SharedSecret, payload: ForwardPayload, next: Arc<OnionPacket> },
    /// To keep: the payment is for us.
    Keep { secret: SharedSecret, payload: FinalPayload },
    /// Nothing that we do.
    Refuse(Removal),
}

/// How something goes back through us.
#[derive(Clone, Debug, Default)]
pub(crate) struct Back {
    /// What we share with the payer, if it is at hand.
    pub(crate) secret: Option<SharedSecret>,
    /// How long we held the HTLC, in units of 100 milliseconds, zero if not measured. `None` when the peer upstream does not
    /// know attribution data, for then nobody beyond it would get any.
    pub(crate) hold_time: Option<u32>,
}

/// Takes our layer off the onion of an HTLC that has just come, so that the record need not keep all of it. `None` where that
/// fails, or the signer needs time: then [`read`] says what to answer, once the HTLC is committed.
pub(crate) fn peel(secp: &Secp, keys: &impl KeysInterface, htlc: &IncomingHtlc) -> Option<Onion> {
    if htlc.path_key.is_some() {
        return None;
    }
    let packet = htlc.onion.packet()?;
    let (point, secret) = opened(keys, htlc).ok()?;
    let peeled = sphinx::peel_at(secp, point, secret, packet, &htlc.hash.0).ok()?;
    let Peeled { shared_secret: secret, payload, next } = peeled;
    Some(Onion::Peeled { secret, payload, next: next.map(Arc::new) })
}

/// What the onion of an HTLC asks. `understood` are even records of applications that its payee may be sent.
///
/// # Errors
/// When the signer needs time.
pub(crate) fn read(
    secp: &Secp,
    keys: &impl KeysInterface,
    htlc: &IncomingHtlc,
    understood: &[u64],
    hold_time: Option<u32>,
) -> Result<Asked, SignError> {
    if htlc.path_key.is_some() {
        // BOLT 4: "if `path_key` is set in the incoming `update_add_htlc`: MUST return an `invalid_onion_blinding` error". Blinded
        // paths through us are not offered; BOLT 2 asks for a hash of zeros so that nothing is learnt from it.
        let failure = Failure::InvalidOnionBlinding { sha256_of_onion: [0; 32] };
        return Ok(Asked::Refuse(malformed(&failure, [0; 32])));
    }
    let packet = match &htlc.onion {
        Onion::Peeled { secret, payload, next } => {
            return Ok(asked(secret.clone(), payload, next.clone(), understood, hold_time));
        }
        Onion::Whole { packet } | Onion::Ours { built: Some(packet), .. } => packet,
        // No peer sends such.
        Onion::Ours { built: None, .. } => return Ok(Asked::Refuse(unreadable([0; 32]))),
    };
    let (point, secret) = match opened(keys, htlc) {
        Ok(shared) => shared,
        Err(Unshared::Signer(SignError::InProgress)) => return Err(SignError::InProgress),
        // Without a secret no failure can be encrypted for the payer.
        Err(Unshared::Signer(_)) => {
            return Ok(Asked::Refuse(unreadable(packet.sha256())));
        }
        Err(Unshared::Onion(error)) => {
            let sha256 = htlc.onion.sha256();
            return Ok(Asked::Refuse(malformed(&error.failure(sha256), sha256)));
        }
    };
    let peeled = match sphinx::peel_at(secp, point, secret.clone(), packet, &htlc.hash.0) {
        Ok(peeled) => peeled,
        Err(error) => {
            let sha256 = htlc.onion.sha256();
            let failure = error.failure(sha256);
            let removal = if failure.code().is_bad_onion() {
                malformed(&failure, sha256)
            } else {
                fail(&secret, &failure, hold_time)
            };
            return Ok(Asked::Refuse(removal));
        }
    };
    Ok(asked(secret, &peeled.payload, peeled.next.map(Arc::new), understood, hold_time))
}

/// What the layer for us asks.
fn asked(
    secret: SharedSecret,
    payload: &[u8],
    next: Option<Arc<OnionPacket>>,
    understood: &[u64],
    hold_time: Option<u32>,
) -> Asked {
    match (HopPayload::decode(payload, next.is_none(), understood), next) {
        (Ok(HopPayload::Forward(payload)), Some(next)) => Asked::Forward { secret, payload, next },
        (Ok(HopPayload::Final(payload)), _) => Asked::Keep { secret, payload },
        (Ok(_), _) => {
            let failure = Failure::InvalidOnionBlinding { sha256_of_onion: [0; 32] };
            Asked::Refuse(fail(&secret, &failure, hold_time))
        }
        (Err(error), _) => Asked::Refuse(fail(&secret, &error.failure(), hold_time)),
    }
}

/// Why there is no shared secret.
enum Unshared {
    Onion(PeelError),
    Signer(SignError),
}

/// The onion's ephemeral key, and what we share with its origin.
fn opened(keys: &impl KeysInterface, htlc: &IncomingHtlc) -> Result<(PublicKey, SharedSecret), Unshared> {
    let packet = htlc.onion.packet().ok_or(Unshared::Onion(PeelError::InvalidKey))?;
    let point = packet.ephemeral_point().map_err(Unshared::Onion)?;
    let secret = keys.ecdh(&point).map(SharedSecret::new).map_err(Unshared::Signer)?;
    Ok((point, secret))
}

/// What we share with the origin of an onion that was read before.
fn shared_secret(
    keys: &impl KeysInterface,
    htlc: &IncomingHtlc,
    back: &Back,
) -> Result<SharedSecret, Unshared> {
    match (&back.secret, &htlc.onion) {
        (Some(secret), _) | (None, Onion::Peeled { secret, .. }) => Ok(secret.clone()),
        (None, Onion::Whole { .. } | Onion::Ours { .. }) => opened(keys, htlc).map(|(_, secret)| secret),
    }
}

/// A removal with a failure of our own making.
pub(crate) fn fail(secret: &SharedSecret, failure: &Failure, hold_time: Option<u32>) -> Removal {
    let extra = TlvRecords::default();
    match hold_time {
        // BOLT 4: "if `option_attribution_data` is advertised: ... MUST initialize `attribution_data`".
        Some(hold_time) => {
            let (reason, data) = sphinx::create_attributed(secret, failure, &extra, hold_time);
            Removal::Fail { reason, attribution: Some(data) }
        }
        None => Removal::Fail { reason: sphinx::create(secret, failure, &extra), attribution: None },
    }
}

/// A removal with a preimage. `downstream` is what came with it, if it was not ours; `claimed` what we get, if it was.
pub(crate) fn fulfill(
    keys: &impl KeysInterface,
    htlc: Option<&IncomingHtlc>,
    preimage: Preimage,
    downstream: Option<AttributionData>,
    claimed: Option<Msat>,
    back: &Back,
) -> Removal {
    let attribution = back.hold_time.and_then(|hold_time| {
        // A preimage never waits for a signer.
        let secret = match (&back.secret, htlc) {
            (Some(secret), _) => secret.clone(),
            (None, Some(htlc)) => shared_secret(keys, htlc, back).ok()?,
            (None, None) => return None,
        };
        Some(sphinx::fulfil(&secret, downstream, hold_time))
    });
    Removal::Fulfill { preimage, attribution, claimed }
}

/// The answer to an onion without a shared secret.
fn unreadable(sha256: [u8; 32]) -> Removal {
    malformed(&PeelError::InvalidKey.failure(sha256), sha256)
}

fn malformed(failure: &Failure, sha256_of_onion: [u8; 32]) -> Removal {
    let FailureCode(code) = failure.code();
    Removal::Malformed { sha256_of_onion, code: code | BADONION }
}

/// A removal of `htlc` with a failure of our own making, when its onion is long peeled.
///
/// # Errors
/// When the signer needs time.
pub(crate) fn fail_back(
    keys: &impl KeysInterface,
    htlc: &IncomingHtlc,
    failure: &Failure,
    back: &Back,
) -> Result<Removal, SignError> {
    match shared_secret(keys, htlc, back) {
        Ok(secret) => Ok(fail(&secret, failure, back.hold_time)),
        Err(Unshared::Signer(SignError::InProgress)) => Err(SignError::InProgress),
        Err(Unshared::Signer(_) | Unshared::Onion(_)) => Ok(unreadable(htlc.onion.sha256())),
    }
}

/// The removal of an incoming HTLC that the outcome of the HTLC which forwarded it leads to.
///
/// # Errors
/// When the signer needs time.
pub(crate) fn pass_back(
    keys: &impl KeysInterface,
    htlc: &IncomingHtlc,
    outcome: Outcome,
    back: &Back,
) -> Result<Removal, SignError> {
    match outcome {
        Outcome::Fulfilled { preimage, attribution } => {
            Ok(fulfill(keys, Some(htlc), preimage, attribution, None, back))
        }
        Outcome::Failed { reason, .. } if reason.len() > MAX_ATTRIBUTED_REASON_LEN => {
            // Longer than what we pass on (RELIABILITY B16): whoever made it is not worth more of an answer.
            fail_back(keys, htlc, &Failure::TemporaryNodeFailure, back)
        }
        Outcome::Failed { mut reason, attribution } => match shared_secret(keys, htlc, back) {
            Ok(secret) => {
                let attribution = match back.hold_time {
                    Some(time) => Some(sphinx::wrap_attributed(&secret, &mut reason, attribution, time)),
                    None => {
                        sphinx::wrap(&secret, &mut reason);
                        None
                    }
                };
                Ok(Removal::Fail { reason, attribution })
            }
            Err(Unshared::Signer(SignError::InProgress)) => Err(SignError::InProgress),
            Err(_) => fail_back(keys, htlc, &Failure::TemporaryNodeFailure, back),
        },
        // BOLT 2: "MUST return an error in the `update_fail_htlc` sent to the link which originally sent the HTLC, using the
        // `failure_code` given and setting the data to `sha256_of_onion`".
        Outcome::Malformed { sha256_of_onion, code } => {
            let failure = Failure::from_malformed(FailureCode(code), sha256_of_onion);
            fail_back(keys, htlc, &failure, back)
        }
        // BOLT 5: the outgoing HTLC timed out on chain.
        Outcome::FailedOnChain {} => fail_back(keys, htlc, &Failure::PermanentChannelFailure, back),
    }
}
