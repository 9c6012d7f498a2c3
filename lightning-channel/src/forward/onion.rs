//! What an incoming HTLC's onion asks of us, and failures on their way back through us (BOLT 4).
//!
//! # Invariants
//! - the shared secret is not stored: it comes again out of the onion, which the channel's record keeps
use alloc::sync::Arc;

use lightning_traits::Secp;
use lightning_traits::codec::TlvRecords;
use lightning_traits::interface::{KeysInterface, SignError};
use lightning_traits::sphinx::{
    self, Failure, FailureCode, FinalPayload, ForwardPayload, HopPayload, MAX_ATTRIBUTED_REASON_LEN,
    OnionPacket, PeelError, SharedSecret,
};
use secp256k1::PublicKey;

use crate::commitments::{BADONION, IncomingHtlc, Outcome, Removal};

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

/// Peels the onion of an HTLC. `understood` are even records of applications that its payee may be sent.
///
/// # Errors
/// When the signer needs time.
pub(crate) fn read(
    secp: &Secp,
    keys: &impl KeysInterface,
    htlc: &IncomingHtlc,
    understood: &[u64],
) -> Result<Asked, SignError> {
    if htlc.path_key.is_some() {
        // BOLT 4: "if `path_key` is set in the incoming `update_add_htlc`: MUST return an `invalid_onion_blinding` error". Blinded
        // paths through us are not offered; BOLT 2 asks for a hash of zeros so that nothing is learnt from it.
        let failure = Failure::InvalidOnionBlinding { sha256_of_onion: [0; 32] };
        return Ok(Asked::Refuse(malformed(&failure, [0; 32])));
    }
    let (point, secret) = match shared_secret(keys, htlc) {
        Ok(shared) => shared,
        Err(Unshared::Signer(SignError::InProgress)) => return Err(SignError::InProgress),
        // Without a secret no failure can be encrypted for the payer.
        Err(Unshared::Signer(_)) => {
            let sha256 = htlc.onion.sha256();
            return Ok(Asked::Refuse(malformed(&PeelError::InvalidKey.failure(sha256), sha256)));
        }
        Err(Unshared::Onion(error)) => {
            let sha256 = htlc.onion.sha256();
            return Ok(Asked::Refuse(malformed(&error.failure(sha256), sha256)));
        }
    };
    let peeled = match sphinx::peel_at(secp, point, secret.clone(), &htlc.onion, &htlc.hash.0) {
        Ok(peeled) => peeled,
        Err(error) => {
            let sha256 = htlc.onion.sha256();
            let failure = error.failure(sha256);
            let removal = if failure.code().is_bad_onion() {
                malformed(&failure, sha256)
            } else {
                fail(&secret, &failure)
            };
            return Ok(Asked::Refuse(removal));
        }
    };
    let asked = HopPayload::decode(&peeled.payload, peeled.next.is_none(), understood);
    Ok(match (asked, peeled.next) {
        (Ok(HopPayload::Forward(payload)), Some(next)) => {
            Asked::Forward { secret, payload, next: Arc::new(next) }
        }
        (Ok(HopPayload::Final(payload)), _) => Asked::Keep { secret, payload },
        (Ok(_), _) => {
            let failure = Failure::InvalidOnionBlinding { sha256_of_onion: [0; 32] };
            Asked::Refuse(fail(&secret, &failure))
        }
        (Err(error), _) => Asked::Refuse(fail(&secret, &error.failure())),
    })
}

/// Why there is no shared secret.
enum Unshared {
    Onion(PeelError),
    Signer(SignError),
}

/// The onion's ephemeral key, and what we share with its origin.
fn shared_secret(
    keys: &impl KeysInterface,
    htlc: &IncomingHtlc,
) -> Result<(PublicKey, SharedSecret), Unshared> {
    let point = htlc.onion.ephemeral_point().map_err(Unshared::Onion)?;
    let secret = keys.ecdh(&point).map(SharedSecret::new).map_err(Unshared::Signer)?;
    Ok((point, secret))
}

/// A removal with a failure of our own making.
pub(crate) fn fail(secret: &SharedSecret, failure: &Failure) -> Removal {
    let reason = sphinx::create(secret, failure, &TlvRecords::default());
    Removal::Fail { reason, attribution: None }
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
) -> Result<Removal, SignError> {
    match shared_secret(keys, htlc) {
        Ok((_, secret)) => Ok(fail(&secret, failure)),
        Err(Unshared::Signer(SignError::InProgress)) => Err(SignError::InProgress),
        Err(Unshared::Signer(_) | Unshared::Onion(_)) => {
            let sha256 = htlc.onion.sha256();
            Ok(malformed(&PeelError::InvalidKey.failure(sha256), sha256))
        }
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
) -> Result<Removal, SignError> {
    match outcome {
        Outcome::Fulfilled { preimage, .. } => {
            Ok(Removal::Fulfill { preimage, attribution: None, claimed: None })
        }
        Outcome::Failed { reason, .. } if reason.len() > MAX_ATTRIBUTED_REASON_LEN => {
            // Longer than what we pass on (RELIABILITY B16): whoever made it is not worth more of an answer.
            fail_back(keys, htlc, &Failure::TemporaryNodeFailure)
        }
        Outcome::Failed { mut reason, .. } => match shared_secret(keys, htlc) {
            Ok((_, secret)) => {
                sphinx::wrap(&secret, &mut reason);
                Ok(Removal::Fail { reason, attribution: None })
            }
            Err(Unshared::Signer(SignError::InProgress)) => Err(SignError::InProgress),
            Err(_) => fail_back(keys, htlc, &Failure::TemporaryNodeFailure),
        },
        // BOLT 2: "MUST return an error in the `update_fail_htlc` sent to the link which originally sent the HTLC, using the
        // `failure_code` given and setting the data to `sha256_of_onion`".
        Outcome::Malformed { sha256_of_onion, code } => {
            let failure = Failure::from_malformed(FailureCode(code), sha256_of_onion);
            fail_back(keys, htlc, &failure)
        }
        // BOLT 5: the outgoing HTLC timed out on chain.
        Outcome::FailedOnChain {} => fail_back(keys, htlc, &Failure::PermanentChannelFailure),
    }
}
