//! Sign theirs, verify ours, revoke (BOLT 2, "Committing Updates So Far", "Completing the Transition").
//!
//! # Invariants
//! - a commitment is built once, and with it its keys derived once, for signing or for verifying
//! - we release a secret only together with the commitment that replaces it; both are durable before the message leaves
use lightning_traits::Secp;
use lightning_traits::codec::TlvRecords;
use lightning_traits::id::CommitmentNumber;
use lightning_traits::interface::{ChannelSigner, CommitmentSignatures, CommitmentToSign, SignError};
use lightning_traits::tx::{
    CommitmentError, CommitmentKeys, CommitmentSecret, CommitmentSpec, KeyError, SecretError, build,
    verify_commitment,
};
use lightning_traits::wire::{CommitmentSigned, RevokeAndAck};
use secp256k1::PublicKey;
use secp256k1::ecdsa::Signature;

use super::change::{Change, Proof};
use super::refusal::{CommitRefused, NotNow};
use super::violation::Violation;
use super::{Commitments, Turn};

/// Why their commitment was not signed.
enum SignFailure {
    Keys,
    Build(CommitmentError),
    Signer(SignError),
}

impl Commitments {
    /// Signs their next commitment, if there is something to sign. Change and message: the change must be durable
    /// before the message leaves.
    ///
    /// # Errors
    /// [`NotNow`]; the intent stays.
    pub fn sign_next(
        &self,
        secp: &Secp,
        signer: &impl ChannelSigner,
    ) -> Result<(Change, CommitmentSigned), NotNow> {
        let next_point = match self.turn {
            Turn::MaySign { next_point } => next_point,
            Turn::AwaitingReady {} => return Err(NotNow::AwaitingReady),
            Turn::AwaitingRevocation { .. } => return Err(NotNow::AwaitingRevocation),
        };
        // "MUST NOT send a `commitment_signed` message that does not include any updates."
        if !self.has_unsigned() {
            return Err(NotNow::NothingToSign);
        }
        let number = self.funding.theirs.number.next();
        let signatures = self.sign_theirs(secp, signer, next_point, &self.their_next().spec, number)?;
        Ok((Change::Signed {}, self.commitment_signed(signatures)))
    }

    /// Signs the latest commitment of theirs that was signed before: the same signatures, to be sent again. For commitment 0
    /// it gives the signature of `funding_created` or `funding_signed`.
    ///
    /// # Errors
    /// [`NotNow::Signer`], or [`NotNow::Unbuildable`] when the first commitment cannot be built.
    pub fn sign_again(&self, secp: &Secp, signer: &impl ChannelSigner) -> Result<CommitmentSigned, NotNow> {
        let theirs = &self.funding.theirs;
        let signatures = self.sign_theirs(secp, signer, theirs.point, &theirs.spec, theirs.number)?;
        Ok(self.commitment_signed(signatures))
    }

    fn sign_theirs(
        &self,
        secp: &Secp,
        signer: &impl ChannelSigner,
        point: PublicKey,
        spec: &CommitmentSpec,
        number: CommitmentNumber,
    ) -> Result<CommitmentSignatures, SignFailure> {
        let params = self.terms.their_params();
        let (ours, theirs) = (&self.terms.ours.keys, &self.terms.theirs.keys);
        let revocation_key = signer.their_revocation_key(secp, &point, &ours.revocation_basepoint)?;
        let keys = CommitmentKeys::derive_around(revocation_key, spec, secp, point, (theirs, ours))?;
        let commitment = build(&params, &keys, spec, number).map_err(SignFailure::Build)?;
        let request = CommitmentToSign { params: &params, keys: &keys, commitment: &commitment };
        signer.sign_theirs(&request).map_err(SignFailure::Signer)
    }

    fn commitment_signed(&self, signatures: CommitmentSignatures) -> CommitmentSigned {
        CommitmentSigned {
            channel_id: self.terms.channel,
            signature: signatures.commitment,
            htlc_signature: signatures.htlcs,
            // "MUST set `funding_txid` to the funding transaction spent by this commitment transaction."
            funding_txid: Some(self.terms.funding.outpoint.txid),
            unknown: TlvRecords::default(),
        }
    }

    /// Verifies their signatures for our *current* commitment: for the first one, whose signature the opening brings.
    ///
    /// # Errors
    /// The [`Violation`].
    pub fn verify_current(
        &self,
        secp: &Secp,
        signer: &impl ChannelSigner,
        our_point: PublicKey,
        signature: &Signature,
        htlc_signatures: &[Signature],
    ) -> Result<(), Violation> {
        let ours = &self.funding.ours;
        let commitment = (our_point, &ours.spec, ours.number);
        self.verify_ours(secp, signer, commitment, (signature, htlc_signatures))
    }

    /// `commitment_signed`. The change must be durable before the revocation leaves.
    ///
    /// An empty one, which "does not include any updates", is taken too: some peers send them, and refusing would cost a
    /// channel for nothing.
    ///
    /// # Errors
    /// [`CommitRefused::Violation`]; [`CommitRefused::Signer`] asks to hold the message and try again.
    pub fn accept_commit(
        &self,
        secp: &Secp,
        signer: &impl ChannelSigner,
        message: &CommitmentSigned,
    ) -> Result<(Change, RevokeAndAck), CommitRefused> {
        if let Some(txid) = message.funding_txid
            && txid != self.terms.funding.outpoint.txid
        {
            return Err(Violation::ForeignFunding(txid).into());
        }
        let ours = &self.funding.ours;
        let number = ours.number.next();
        let signatures = (&message.signature, message.htlc_signature.as_slice());
        self.verify_ours(secp, signer, (ours.next_point, &self.our_next().spec, number), signatures)?;
        let next_point = signer.commitment_point(number.next()).map_err(CommitRefused::Signer)?;
        let revocation = self.revoke(signer, ours.number, next_point).map_err(CommitRefused::Signer)?;
        let proof =
            Proof::Fresh { signature: message.signature, htlc_signatures: message.htlc_signature.clone() };
        let change = Change::Committed { proof, next_point };
        Ok((change, revocation))
    }

    fn verify_ours(
        &self,
        secp: &Secp,
        signer: &impl ChannelSigner,
        (point, spec, number): (PublicKey, &CommitmentSpec, CommitmentNumber),
        (signature, htlc_signatures): (&Signature, &[Signature]),
    ) -> Result<(), Violation> {
        let params = self.terms.our_params();
        let keys = self.our_keys(secp, signer, point, spec, number).map_err(|_| Violation::BadPoint)?;
        let commitment =
            build(&params, &keys, spec, number).map_err(|error| Violation::Unbuildable { number, error })?;
        verify_commitment(secp, &params, &keys, &commitment, signature, htlc_signatures)
            .map_err(|error| Violation::Signature { number, error })
    }

    fn our_keys(
        &self,
        secp: &Secp,
        signer: &impl ChannelSigner,
        point: PublicKey,
        spec: &CommitmentSpec,
        number: CommitmentNumber,
    ) -> Result<CommitmentKeys, KeyError> {
        let (ours, theirs) = (&self.terms.ours.keys, &self.terms.theirs.keys);
        let revocation_key = signer.our_revocation_key(secp, number, &point, &theirs.revocation_basepoint)?;
        CommitmentKeys::derive_around(revocation_key, spec, secp, point, (ours, theirs))
    }

    /// The last revocation that we sent, to be sent again. `None` when we have revoked nothing.
    ///
    /// # Errors
    /// When the signer is not done.
    pub fn revoke_again(&self, signer: &impl ChannelSigner) -> Result<Option<RevokeAndAck>, SignError> {
        let ours = &self.funding.ours;
        let Some(revoked) = ours.number.previous() else { return Ok(None) };
        self.revoke(signer, revoked, ours.next_point).map(Some)
    }

    fn revoke(
        &self,
        signer: &impl ChannelSigner,
        revoked: CommitmentNumber,
        next_point: PublicKey,
    ) -> Result<RevokeAndAck, SignError> {
        let secret = signer.release_secret(revoked)?;
        Ok(RevokeAndAck {
            channel_id: self.terms.channel,
            per_commitment_secret: *secret.as_bytes(),
            next_per_commitment_point: next_point,
            unknown: TlvRecords::default(),
        })
    }

    /// `revoke_and_ack`. What became irrevocable with it is in what [`evolve`](Self::evolve) answers.
    ///
    /// # Errors
    /// The [`Violation`].
    pub fn accept_revocation(&self, secp: &Secp, message: &RevokeAndAck) -> Result<Change, Violation> {
        let (Turn::AwaitingRevocation { revoked_point, .. }, Some(number)) =
            (self.turn, self.funding.theirs.number.previous())
        else {
            return Err(Violation::UnexpectedRevocation);
        };
        let secret = CommitmentSecret::new(message.per_commitment_secret);
        // "if `per_commitment_secret` is not a valid secret key or does not generate the previous
        // `per_commitment_point`: MUST send an `error` and fail the channel."
        if !secret.opens(secp, &revoked_point) {
            return Err(Violation::WrongSecret(number));
        }
        let tried = self.secrets.clone().insert(number, secret.clone());
        tried.map_err(|error| match error {
            SecretError::OutOfOrder { .. } => Violation::UnexpectedRevocation,
            _ => Violation::SecretNotFromSeed(number),
        })?;
        Ok(Change::Revoked { secret, next_point: message.next_per_commitment_point })
    }
}

impl From<KeyError> for SignFailure {
    fn from(_: KeyError) -> Self {
        Self::Keys
    }
}

impl From<SignFailure> for NotNow {
    fn from(failure: SignFailure) -> Self {
        match failure {
            SignFailure::Keys => Self::BadPoint,
            SignFailure::Build(error) => Self::Unbuildable(error),
            SignFailure::Signer(error) => Self::Signer(error),
        }
    }
}
