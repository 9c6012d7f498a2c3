//! The first pair of commitments: number 0 of each side, without HTLCs.
//!
//! BOLT 2, `funding_created` and `funding_signed`: each side signs the other's; nobody's money is in the
//! funding output before both hold a signature.
use bitcoin::{OutPoint, ScriptBuf};
use lightning_traits::Secp;
use lightning_traits::id::{ChannelId, CommitmentNumber};
use lightning_traits::interface::{ChannelSigner, CommitmentToSign, SignError};
use lightning_traits::monitor::{MonitorInit, PartyTerms};
use lightning_traits::tx::{
    CommitmentKeys, CommitmentSpec, FundingOutput, ObscureFactor, SignatureError, build, verify_commitment,
};
use lightning_traits::units::{BlockHeight, Msat};
use secp256k1::PublicKey;
use secp256k1::ecdsa::Signature;
use thiserror::Error;

use super::Proposal;
use super::offer::Offer;
use crate::terms::{PartyLimits, Terms};

/// Why there is no first commitment or no signature for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FirstError {
    /// The peer's keys do not combine, or the balances do not fit; nobody can fund this.
    #[error("the first commitment cannot be built")]
    Unbuildable,
    /// Our signer does not sign.
    #[error("the signer does not sign")]
    Signer(SignError),
    /// Their signature is wrong.
    #[error("wrong signature for the first commitment: {0}")]
    Signature(SignatureError),
}

/// Both sides' commitments 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FirstCommitments {
    pub(crate) terms: Terms,
    /// As our commitment says it.
    pub(crate) spec: CommitmentSpec,
    pub(crate) our_point: PublicKey,
    pub(crate) their_point: PublicKey,
}

impl FirstCommitments {
    /// The first commitments on the funding output at `outpoint`.
    pub(crate) fn new(
        proposal: &Proposal,
        theirs: &Offer,
        minimum_depth: u32,
        outpoint: OutPoint,
        birth: BlockHeight,
    ) -> Result<Self, FirstError> {
        let (opener, accepter) = proposal.by_role(theirs);
        let funding =
            FundingOutput::new(outpoint, proposal.funding, opener.keys.funding, accepter.keys.funding);
        let terms = Terms {
            channel: ChannelId::v1_from_funding(outpoint),
            peer: proposal.peer,
            keys: proposal.keys,
            funding,
            format: proposal.format,
            channel_type: proposal.channel_type.clone(),
            obscure: ObscureFactor::new(&opener.keys.payment_basepoint, &accepter.keys.payment_basepoint),
            we_opened: proposal.we_opened,
            announce: proposal.announce,
            ours: limits(&proposal.ours, theirs),
            theirs: limits(theirs, &proposal.ours),
            minimum_depth,
            zero_conf: proposal.zero_conf(),
            our_shutdown: proposal.ours.shutdown.clone(),
            their_shutdown: theirs.shutdown.clone(),
            birth,
        };
        let spec = terms.first_spec(proposal.feerate, proposal.push).ok_or(FirstError::Unbuildable)?;
        Ok(Self { terms, spec, our_point: proposal.ours.first_point, their_point: theirs.first_point })
    }

    /// Our signature for their commitment 0.
    pub(crate) fn sign_theirs(
        &self,
        secp: &Secp,
        signer: &impl ChannelSigner,
    ) -> Result<Signature, FirstError> {
        let params = self.terms.their_params();
        let keys = self.derive(secp, self.their_point, false)?;
        let commitment = build(&params, &keys, &self.spec.mirror(), CommitmentNumber(0))
            .map_err(|_| FirstError::Unbuildable)?;
        let request = CommitmentToSign { params: &params, keys: &keys, commitment: &commitment };
        signer.sign_theirs(&request).map(|signatures| signatures.commitment).map_err(FirstError::Signer)
    }

    /// Checks their signature for our commitment 0.
    pub(crate) fn verify_ours(&self, secp: &Secp, signature: &Signature) -> Result<(), FirstError> {
        let params = self.terms.our_params();
        let keys = self.derive(secp, self.our_point, true)?;
        let commitment =
            build(&params, &keys, &self.spec, CommitmentNumber(0)).map_err(|_| FirstError::Unbuildable)?;
        verify_commitment(secp, &params, &keys, &commitment, signature, &[]).map_err(FirstError::Signature)
    }

    /// The point of our commitment 1, which `channel_ready` carries.
    pub(crate) fn next_point(&self, signer: &impl ChannelSigner) -> Result<PublicKey, FirstError> {
        signer.commitment_point(CommitmentNumber(1)).map_err(FirstError::Signer)
    }

    /// What the monitor starts from.
    pub(crate) fn monitor(&self, their_signature: Signature, destination: ScriptBuf) -> MonitorInit {
        let terms = &self.terms;
        let party = |limits: &PartyLimits| PartyTerms {
            keys: limits.keys,
            dust_limit: limits.dust_limit,
            to_self_delay: limits.to_self_delay,
        };
        MonitorInit {
            channel: terms.channel,
            peer: terms.peer,
            keys: terms.keys,
            funding: terms.funding,
            format: terms.format,
            obscure: terms.obscure,
            we_opened: terms.we_opened,
            ours: party(&terms.ours),
            theirs: party(&terms.theirs),
            our_spec: self.spec.clone(),
            their_signature,
            their_spec: self.spec.mirror(),
            their_point: self.their_point,
            destination,
            birth: terms.birth,
        }
    }

    fn derive(&self, secp: &Secp, point: PublicKey, ours: bool) -> Result<CommitmentKeys, FirstError> {
        let (our_keys, their_keys) = (&self.terms.ours.keys, &self.terms.theirs.keys);
        let (broadcaster, countersigner) = if ours { (our_keys, their_keys) } else { (their_keys, our_keys) };
        CommitmentKeys::derive(secp, point, broadcaster, countersigner).map_err(|_| FirstError::Unbuildable)
    }
}

/// What binds `party`: its own choices, and what the other side chose for it.
fn limits(party: &Offer, other: &Offer) -> PartyLimits {
    PartyLimits {
        keys: party.keys,
        dust_limit: party.dust_limit,
        to_self_delay: other.to_self_delay,
        reserve: Msat::from_amount(other.reserve),
        htlc_minimum: party.htlc_minimum,
        max_in_flight: party.max_in_flight,
        max_accepted_htlcs: party.max_accepted_htlcs,
    }
}
