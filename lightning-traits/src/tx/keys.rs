//! Keys of a channel and of one commitment (BOLT 3, "Key Derivation").
//!
//! [`ChannelPublicKeys`] is what `open_channel` / `accept_channel` carry. [`CommitmentKeys`] is what one
//! commitment transaction is locked to; deriving it costs as much as verifying several signatures, so it
//! is done once for each commitment and kept.
//!
//! # Invariants
//! - the broadcaster alone knows the delayed key, the countersigner alone can come to know the revocation key
//!
//! See also `secret.rs` for where per-commitment points come from.
use bitcoin::hashes::{Hash as _, HashEngine as _, sha256};
use secp256k1::{PublicKey, Scalar, SecretKey};
use thiserror::Error;

use super::secret::CommitmentSecret;
use super::spec::CommitmentSpec;
use crate::Secp;

/// The public keys that one side brings into a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ChannelPublicKeys {
    /// `funding_pubkey`: one half of the 2-of-2.
    pub funding: PublicKey,
    /// `revocation_basepoint`: the other side's commitments can be punished with it.
    pub revocation_basepoint: PublicKey,
    /// `payment_basepoint`: this side's output on the other side's commitment, used as it is (static_remotekey).
    pub payment_basepoint: PublicKey,
    /// `delayed_payment_basepoint`: this side's output on its own commitment.
    pub delayed_payment_basepoint: PublicKey,
    /// `htlc_basepoint`: HTLC outputs on both commitments.
    pub htlc_basepoint: PublicKey,
}

crate::record!(struct ChannelPublicKeys {
    funding,
    revocation_basepoint,
    payment_basepoint,
    delayed_payment_basepoint,
    htlc_basepoint,
});

/// The public keys of one commitment transaction, derived once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CommitmentKeys {
    /// The broadcaster's point of this commitment.
    pub per_commitment_point: PublicKey,
    /// Opens every output that the broadcaster could gain by an old commitment, once it is revoked.
    pub revocation_key: PublicKey,
    /// The broadcaster's balance and second-stage outputs, after the delay.
    pub broadcaster_delayed_key: PublicKey,
    /// The keys in HTLC outputs; `None` for a commitment without HTLCs, which needs none.
    pub htlc: Option<HtlcKeys>,
    /// The countersigner's balance.
    pub countersigner_payment_key: PublicKey,
}

crate::record!(struct CommitmentKeys {
    per_commitment_point,
    revocation_key,
    broadcaster_delayed_key,
    htlc,
    countersigner_payment_key,
});

/// The keys in the HTLC outputs of one commitment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HtlcKeys {
    /// The broadcaster's.
    pub broadcaster: PublicKey,
    /// The countersigner's.
    pub countersigner: PublicKey,
}

crate::record!(struct HtlcKeys { broadcaster, countersigner });

/// Two keys cancel out, or a hash is no scalar: with honest hashes this happens to nobody in 2^128 tries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the keys do not combine to a valid key")]
pub struct KeyError;

impl CommitmentKeys {
    /// The keys of the broadcaster's commitment with this point.
    ///
    /// # Errors
    /// [`KeyError`] when the points cancel out, which only a broken peer could bring about.
    pub fn derive(
        secp: &Secp,
        per_commitment_point: PublicKey,
        broadcaster: &ChannelPublicKeys,
        countersigner: &ChannelPublicKeys,
    ) -> Result<Self, KeyError> {
        let revocation_key =
            derive_revocation_key(secp, &countersigner.revocation_basepoint, &per_commitment_point)?;
        Self::assemble(revocation_key, true, secp, per_commitment_point, (broadcaster, countersigner))
    }

    /// The keys that the commitment which says `spec` needs, with the revocation key that a signer gave: without HTLCs there are
    /// fewer.
    ///
    /// # Errors
    /// See [`derive`](Self::derive).
    pub fn derive_around(
        revocation_key: PublicKey,
        spec: &CommitmentSpec,
        secp: &Secp,
        per_commitment_point: PublicKey,
        parties: (&ChannelPublicKeys, &ChannelPublicKeys),
    ) -> Result<Self, KeyError> {
        Self::assemble(revocation_key, !spec.htlcs.is_empty(), secp, per_commitment_point, parties)
    }

    fn assemble(
        revocation_key: PublicKey,
        with_htlcs: bool,
        secp: &Secp,
        per_commitment_point: PublicKey,
        (broadcaster, countersigner): (&ChannelPublicKeys, &ChannelPublicKeys),
    ) -> Result<Self, KeyError> {
        let point = &per_commitment_point;
        let htlc = if with_htlcs {
            let broadcaster = derive_public_key(secp, &broadcaster.htlc_basepoint, point)?;
            let countersigner = derive_public_key(secp, &countersigner.htlc_basepoint, point)?;
            Some(HtlcKeys { broadcaster, countersigner })
        } else {
            None
        };
        Ok(Self {
            per_commitment_point,
            revocation_key,
            broadcaster_delayed_key: derive_public_key(secp, &broadcaster.delayed_payment_basepoint, point)?,
            htlc,
            // BOLT 3: "The `remotepubkey` is simply the remote node's `payment_basepoint`".
            countersigner_payment_key: countersigner.payment_basepoint,
        })
    }
}

/// `basepoint + SHA256(per_commitment_point || basepoint) * G`.
///
/// # Errors
/// [`KeyError`] when the points cancel out.
pub fn derive_public_key(
    secp: &Secp,
    basepoint: &PublicKey,
    point: &PublicKey,
) -> Result<PublicKey, KeyError> {
    // What both sides know is no secret.
    secp.sum(Some(basepoint), &tweak(point, basepoint)?.to_be_bytes()).ok_or(KeyError)
}

/// `basepoint_secret + SHA256(per_commitment_point || basepoint)`: the secret of [`derive_public_key`].
///
/// # Errors
/// [`KeyError`] when the sum is zero.
pub fn derive_secret_key(
    secp: &Secp,
    base_secret: &SecretKey,
    point: &PublicKey,
) -> Result<SecretKey, KeyError> {
    derive_secret_key_with(base_secret, &base_secret.public_key(secp), point)
}

/// [`derive_secret_key`] for those who know the basepoint already, which costs most of it.
///
/// # Errors
/// [`KeyError`] when the sum is zero.
pub fn derive_secret_key_with(
    base_secret: &SecretKey,
    basepoint: &PublicKey,
    point: &PublicKey,
) -> Result<SecretKey, KeyError> {
    base_secret.add_tweak(&tweak(point, basepoint)?).map_err(|_| KeyError)
}

/// `revocation_basepoint * SHA256(revocation_basepoint || point) + point * SHA256(point || revocation_basepoint)`.
///
/// # Errors
/// [`KeyError`] when the points cancel out.
pub fn derive_revocation_key(
    secp: &Secp,
    revocation_basepoint: &PublicKey,
    point: &PublicKey,
) -> Result<PublicKey, KeyError> {
    let base_factor = tweak(revocation_basepoint, point)?;
    let point_factor = tweak(point, revocation_basepoint)?;
    let base_part = revocation_basepoint.mul_tweak(secp, &base_factor).map_err(|_| KeyError)?;
    let point_part = point.mul_tweak(secp, &point_factor).map_err(|_| KeyError)?;
    base_part.combine(&point_part).map_err(|_| KeyError)
}

/// [`derive_revocation_key`] for whoever has the secret of the basepoint: one of the two products is one with `G`, which costs
/// less and takes the same time whatever the secret.
///
/// # Errors
/// See [`derive_revocation_key`].
pub fn derive_revocation_key_by_base_secret(
    secp: &Secp,
    revocation_base_secret: &SecretKey,
    revocation_basepoint: &PublicKey,
    point: &PublicKey,
) -> Result<PublicKey, KeyError> {
    let base_factor = tweak(revocation_basepoint, point)?;
    let point_factor = tweak(point, revocation_basepoint)?;
    let base_part = revocation_base_secret.mul_tweak(&base_factor).map_err(|_| KeyError)?.public_key(secp);
    let point_part = point.mul_tweak(secp, &point_factor).map_err(|_| KeyError)?;
    base_part.combine(&point_part).map_err(|_| KeyError)
}

/// [`derive_revocation_key`] for whoever has the secret of `point`, likewise.
///
/// # Errors
/// See [`derive_revocation_key`]; also when the secret is no key.
pub fn derive_revocation_key_by_point_secret(
    secp: &Secp,
    revocation_basepoint: &PublicKey,
    per_commitment_secret: &CommitmentSecret,
    point: &PublicKey,
) -> Result<PublicKey, KeyError> {
    let base_factor = tweak(revocation_basepoint, point)?;
    let point_factor = tweak(point, revocation_basepoint)?;
    let base_part = revocation_basepoint.mul_tweak(secp, &base_factor).map_err(|_| KeyError)?;
    let secret = per_commitment_secret.to_secret_key()?;
    let point_part = secret.mul_tweak(&point_factor).map_err(|_| KeyError)?.public_key(secp);
    base_part.combine(&point_part).map_err(|_| KeyError)
}

/// The secret of [`derive_revocation_key`], which needs both sides' secrets: only a revoked commitment can be punished.
///
/// # Errors
/// [`KeyError`] when the per-commitment secret is no key, or the parts cancel out.
pub fn derive_revocation_secret(
    secp: &Secp,
    revocation_base_secret: &SecretKey,
    per_commitment_secret: &CommitmentSecret,
) -> Result<SecretKey, KeyError> {
    let commitment_key = per_commitment_secret.to_secret_key()?;
    let basepoint = revocation_base_secret.public_key(secp);
    let point = commitment_key.public_key(secp);
    let base_part = revocation_base_secret.mul_tweak(&tweak(&basepoint, &point)?).map_err(|_| KeyError)?;
    let point_part = commitment_key.mul_tweak(&tweak(&point, &basepoint)?).map_err(|_| KeyError)?;
    base_part.add_tweak(&Scalar::from(point_part)).map_err(|_| KeyError)
}

/// `SHA256(first || second)` as a scalar.
fn tweak(first: &PublicKey, second: &PublicKey) -> Result<Scalar, KeyError> {
    let mut engine = sha256::Hash::engine();
    engine.input(&first.serialize());
    engine.input(&second.serialize());
    Scalar::from_be_bytes(sha256::Hash::from_engine(engine).to_byte_array()).map_err(|_| KeyError)
}
