//! Signing and verifying what `tx/` builds.
//!
//! Signatures are deterministic (RFC 6979) and have a low S. One that has a high S verifies elsewhere but is not
//! relayed, so a channel that accepts it holds a commitment it cannot publish (RELIABILITY B8): refused.
use alloc::vec::Vec;

use bitcoin::sighash::SighashCache;
use bitcoin::{Amount, EcdsaSighashType, Script, Transaction};
use secp256k1::ecdsa::Signature;
use secp256k1::{Message, PublicKey, SecretKey};
use thiserror::Error;

use super::commitment::CommitmentTx;
use super::htlc::SecondStage;
use super::keys::CommitmentKeys;
use super::spec::CommitmentParams;
use crate::Secp;

/// Why signatures are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SignatureError {
    /// The commitment signature does not fit the commitment transaction.
    #[error("wrong signature for the commitment transaction")]
    Commitment,
    /// A signature has a high S: valid by consensus, not relayed by anyone.
    #[error("signature with a high S")]
    HighS,
    /// An HTLC signature does not fit its second-stage transaction.
    #[error("wrong signature for HTLC {index} in output order")]
    Htlc {
        /// Which one, in output order.
        index: usize,
    },
    /// Not one signature for each HTLC output.
    #[error("{found} HTLC signatures for {expected} HTLC outputs")]
    HtlcCount {
        /// HTLC outputs of the commitment transaction.
        expected: usize,
        /// Signatures that came.
        found: usize,
    },
    /// There are HTLCs, and the keys are those of a commitment without.
    #[error("the keys are those of a commitment without HTLCs")]
    NoHtlcKeys,
    /// The signature does not fit the digest and key.
    #[error("wrong signature")]
    Invalid,
    /// The transaction has no input of that index.
    #[error("no input {0}")]
    NoInput(usize),
}

/// Signs a digest: RFC 6979, low S.
#[must_use]
pub fn sign(secp: &Secp, digest: &Message, key: &SecretKey) -> Signature {
    secp.sign_ecdsa(digest, key)
}

/// Checks a signature on a digest, and that it has a low S.
///
/// # Errors
/// [`SignatureError::HighS`] or [`SignatureError::Invalid`].
pub fn verify(
    secp: &Secp,
    digest: &Message,
    signature: &Signature,
    key: &PublicKey,
) -> Result<(), SignatureError> {
    // The curve library fails on a high S; the normal form tells the two failures apart and costs only when it fails.
    secp.verify_ecdsa(digest, signature, key).map_err(|_| {
        let mut low = *signature;
        low.normalize_s();
        if low == *signature { SignatureError::Invalid } else { SignatureError::HighS }
    })
}

/// Checks the countersigner's signatures on a commitment and on all its second-stage transactions.
///
/// # Errors
/// The first thing that is wrong.
pub fn verify_commitment(
    secp: &Secp,
    params: &CommitmentParams,
    keys: &CommitmentKeys,
    commitment: &CommitmentTx,
    signature: &Signature,
    htlc_signatures: &[Signature],
) -> Result<(), SignatureError> {
    let (expected, found) = (commitment.htlcs.len(), htlc_signatures.len());
    if expected != found {
        return Err(SignatureError::HtlcCount { expected, found });
    }
    let digest = commitment.sighash(params);
    verify(secp, &digest, signature, &params.countersigner_funding_key())
        .map_err(|error| name_failure(error, SignatureError::Commitment))?;
    let Some((stage, htlc_keys)) = SecondStage::new(params, keys, commitment).zip(keys.htlc) else {
        return if expected == 0 { Ok(()) } else { Err(SignatureError::NoHtlcKeys) };
    };
    for (index, (output, signature)) in commitment.htlcs.iter().zip(htlc_signatures).enumerate() {
        let digest = stage.countersigner_sighash(output);
        verify(secp, &digest, signature, &htlc_keys.countersigner)
            .map_err(|error| name_failure(error, SignatureError::Htlc { index }))?;
    }
    Ok(())
}

/// The countersigner's signatures on a commitment and on all its second-stage transactions, in output order.
///
/// `htlc_key` is the countersigner's HTLC secret for this commitment's point.
#[must_use]
pub fn sign_commitment(
    secp: &Secp,
    params: &CommitmentParams,
    keys: &CommitmentKeys,
    commitment: &CommitmentTx,
    funding_key: &SecretKey,
    htlc_key: &SecretKey,
) -> (Signature, Vec<Signature>) {
    // Keys without those of HTLCs go with a commitment without HTLCs: there is nothing to sign but the commitment.
    let stage = SecondStage::new(params, keys, commitment);
    let sign_htlc = |output| Some(sign(secp, &stage.as_ref()?.countersigner_sighash(output), htlc_key));
    let htlcs = commitment.htlcs.iter().filter_map(sign_htlc).collect();
    (sign(secp, &commitment.sighash(params), funding_key), htlcs)
}

/// The digest of one P2WSH input of any transaction: claims and penalties, which may have many inputs.
///
/// For many inputs of one transaction `bitcoin`'s [`SighashCache`] is cheaper: it keeps what they share.
///
/// # Errors
/// [`SignatureError::NoInput`] when there is no such input.
pub fn p2wsh_sighash(
    tx: &Transaction,
    index: usize,
    script: &Script,
    value: Amount,
    kind: EcdsaSighashType,
) -> Result<Message, SignatureError> {
    let digest = SighashCache::new(tx).p2wsh_signature_hash(index, script, value, kind);
    digest.map(Message::from).map_err(|_| SignatureError::NoInput(index))
}

/// A high S is reported as such, whatever carries it.
const fn name_failure(error: SignatureError, wrong: SignatureError) -> SignatureError {
    match error {
        SignatureError::HighS => SignatureError::HighS,
        _ => wrong,
    }
}
