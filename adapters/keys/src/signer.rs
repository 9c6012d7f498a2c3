//! Signs for one channel with keys that the seed and the channel's name give.
//!
//! Signs whatever it is asked to: policy belongs to a signer that lives apart. Never answers "later".
use std::sync::{Arc, OnceLock};

use bitcoin::secp256k1::ecdsa::Signature;
use bitcoin::{EcdsaSighashType, Transaction};
use lightning_traits::Secp;
use lightning_traits::id::{ChannelKeysId, CommitmentNumber};
use lightning_traits::interface::{
    ChannelSigner, CommitmentSignatures, CommitmentToSign, InputToSign, SignError, SigningKey,
};
use lightning_traits::tx::signature::{p2wsh_sighash, sign};
use lightning_traits::tx::{
    ChannelPublicKeys, CommitmentSecret, CommitmentSeed, FundingOutput, KeyError, derive_revocation_secret,
    derive_secret_key_with, sign_commitment,
};
use secp256k1::{Message, PublicKey, SecretKey};

use crate::derive::Seed;

/// The signer of one channel. Cloning shares the keys.
#[derive(Clone)]
pub struct SeedSigner(Arc<Keys>);

struct Keys {
    secp: Arc<Secp>,
    /// Made when first asked for: whoever only looks at a channel needs none.
    public: OnceLock<ChannelPublicKeys>,
    funding: SecretKey,
    revocation: SecretKey,
    payment: SecretKey,
    delayed: SecretKey,
    htlc: SecretKey,
    commitments: CommitmentSeed,
}

impl core::fmt::Debug for SeedSigner {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("SeedSigner").field("public", self.0.public()).finish_non_exhaustive()
    }
}

impl SeedSigner {
    pub(crate) fn new(secp: Arc<Secp>, seed: &Seed, name: &ChannelKeysId) -> Self {
        let channel = seed.child("channel").child_bytes(&name.0);
        let key = |label: &str| secret_key(&channel, label);
        let (funding, revocation, payment) = (key("funding"), key("revocation"), key("payment"));
        let (delayed, htlc) = (key("delayed payment"), key("htlc"));
        let commitments = CommitmentSeed::new(*channel.child("commitments").as_bytes());
        let public = OnceLock::new();
        Self(Arc::new(Keys { secp, public, funding, revocation, payment, delayed, htlc, commitments }))
    }

    fn secret(&self, number: CommitmentNumber) -> Result<CommitmentSecret, SignError> {
        self.0.commitments.secret(number).ok_or(SignError::Refused)
    }
}

impl Keys {
    fn public(&self) -> &ChannelPublicKeys {
        self.public.get_or_init(|| ChannelPublicKeys {
            funding: self.funding.public_key(&self.secp),
            revocation_basepoint: self.revocation.public_key(&self.secp),
            payment_basepoint: self.payment.public_key(&self.secp),
            delayed_payment_basepoint: self.delayed.public_key(&self.secp),
            htlc_basepoint: self.htlc.public_key(&self.secp),
        })
    }

    fn delayed_key(&self, point: &PublicKey) -> Result<SecretKey, KeyError> {
        derive_secret_key_with(&self.delayed, &self.public().delayed_payment_basepoint, point)
    }

    fn htlc_key(&self, point: &PublicKey) -> Result<SecretKey, KeyError> {
        derive_secret_key_with(&self.htlc, &self.public().htlc_basepoint, point)
    }
}

/// Hashes on until the bytes are a key, which one in 2^128 is not at once: a channel must always have its keys.
fn secret_key(channel: &Seed, label: &str) -> SecretKey {
    let mut candidate = channel.child(label);
    loop {
        if let Ok(key) = SecretKey::from_slice(candidate.as_bytes()) {
            return key;
        }
        candidate = candidate.child("again");
    }
}

impl ChannelSigner for SeedSigner {
    fn public_keys(&self) -> ChannelPublicKeys {
        *self.0.public()
    }

    fn commitment_point(&self, number: CommitmentNumber) -> Result<PublicKey, SignError> {
        self.secret(number)?.to_point(&self.0.secp).map_err(|_| SignError::Refused)
    }

    fn release_secret(&self, number: CommitmentNumber) -> Result<CommitmentSecret, SignError> {
        self.secret(number)
    }

    fn sign_theirs(&self, request: &CommitmentToSign<'_>) -> Result<CommitmentSignatures, SignError> {
        let CommitmentToSign { params, keys, commitment } = *request;
        let Keys { secp, funding, .. } = &*self.0;
        let htlc = self.0.htlc_key(&keys.per_commitment_point).map_err(|_| SignError::Refused)?;
        let (commitment, htlcs) = sign_commitment(secp, params, keys, commitment, funding, &htlc);
        Ok(CommitmentSignatures { commitment, htlcs })
    }

    fn sign_ours(&self, request: &CommitmentToSign<'_>) -> Result<Signature, SignError> {
        let digest = request.commitment.sighash(request.params);
        Ok(sign(&self.0.secp, &digest, &self.0.funding))
    }

    fn sign_closing(
        &self,
        funding: &FundingOutput,
        transaction: &Transaction,
    ) -> Result<Signature, SignError> {
        let script = funding.script();
        let digest = p2wsh_sighash(transaction, 0, &script, funding.value, EcdsaSighashType::All)
            .map_err(|_| SignError::Refused)?;
        Ok(sign(&self.0.secp, &digest, &self.0.funding))
    }

    fn sign_input(&self, request: &InputToSign<'_>) -> Result<Signature, SignError> {
        let InputToSign { transaction, input, value, script, sighash, key } = *request;
        let Keys { secp, funding, revocation, payment, .. } = &*self.0;
        let key = match key {
            SigningKey::Funding => Ok(*funding),
            SigningKey::Payment => Ok(*payment),
            SigningKey::Delayed(point) => self.0.delayed_key(point),
            SigningKey::Htlc(point) => self.0.htlc_key(point),
            SigningKey::Revocation(secret) => derive_revocation_secret(secp, revocation, secret),
        }
        .map_err(|_| SignError::Refused)?;
        // A P2WPKH input signs its script code the same way that a P2WSH input signs its witness script (BIP 143).
        let digest =
            p2wsh_sighash(transaction, input, script, value, sighash).map_err(|_| SignError::Refused)?;
        Ok(sign(secp, &digest, &key))
    }

    fn sign_announcement(&self, digest: &[u8; 32]) -> Result<Signature, SignError> {
        Ok(sign(&self.0.secp, &Message::from_digest(*digest), &self.0.funding))
    }
}
