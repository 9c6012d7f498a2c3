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
    ChannelPublicKeys, CommitmentSecret, CommitmentSeed, FundingOutput, KeyError,
    derive_revocation_key_by_base_secret, derive_revocation_key_by_point_secret, derive_revocation_secret,
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
    secrets: Secrets,
    commitments: CommitmentSeed,
}

/// All secrets of one channel.
#[derive(Clone)]
pub(crate) struct Secrets {
    pub(crate) funding: SecretKey,
    pub(crate) revocation: SecretKey,
    pub(crate) payment: SecretKey,
    pub(crate) delayed: SecretKey,
    pub(crate) htlc: SecretKey,
    /// What the secrets of our commitments come from.
    pub(crate) commitments: Seed,
}

impl Drop for Secrets {
    fn drop(&mut self) {
        let keys =
            [&mut self.funding, &mut self.revocation, &mut self.payment, &mut self.delayed, &mut self.htlc];
        keys.into_iter().for_each(SecretKey::non_secure_erase);
    }
}

impl Secrets {
    /// Those of the channel whose keys have this name.
    pub(crate) fn of(seed: &Seed, name: &ChannelKeysId) -> Self {
        let channel = seed.child("channel").child_bytes(&name.0);
        let key = |label: &str| secret_key(&channel, label);
        Self {
            funding: key("funding"),
            revocation: key("revocation"),
            payment: key("payment"),
            delayed: key("delayed payment"),
            htlc: key("htlc"),
            commitments: channel.child("commitments"),
        }
    }

    pub(crate) fn public(&self, secp: &Secp) -> ChannelPublicKeys {
        ChannelPublicKeys {
            funding: self.funding.public_key(secp),
            revocation_basepoint: self.revocation.public_key(secp),
            payment_basepoint: self.payment.public_key(secp),
            delayed_payment_basepoint: self.delayed.public_key(secp),
            htlc_basepoint: self.htlc.public_key(secp),
        }
    }

    /// Six times 32 bytes.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        for key in [&self.funding, &self.revocation, &self.payment, &self.delayed, &self.htlc] {
            out.extend_from_slice(&key.secret_bytes());
        }
        out.extend_from_slice(self.commitments.as_bytes());
    }

    /// Reads what [`write`](Self::write) wrote; `None` when it is anything else.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let (secrets, rest) = bytes.as_chunks::<32>();
        let [funding, revocation, payment, delayed, htlc, commitments] = secrets else { return None };
        let key = |bytes: &[u8; 32]| SecretKey::from_slice(bytes).ok();
        rest.is_empty().then_some(())?;
        Some(Self {
            funding: key(funding)?,
            revocation: key(revocation)?,
            payment: key(payment)?,
            delayed: key(delayed)?,
            htlc: key(htlc)?,
            commitments: Seed::new(*commitments),
        })
    }
}

impl core::fmt::Debug for SeedSigner {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("SeedSigner").field("public", self.0.public()).finish_non_exhaustive()
    }
}

impl SeedSigner {
    pub(crate) fn new(secp: Arc<Secp>, seed: &Seed, name: &ChannelKeysId) -> Self {
        Self::from_secrets(secp, Secrets::of(seed, name))
    }

    pub(crate) fn from_secrets(secp: Arc<Secp>, secrets: Secrets) -> Self {
        let commitments = CommitmentSeed::new(*secrets.commitments.as_bytes());
        Self(Arc::new(Keys { secp, public: OnceLock::new(), secrets, commitments }))
    }

    fn secret(&self, number: CommitmentNumber) -> Result<CommitmentSecret, SignError> {
        self.0.commitments.secret(number).ok_or(SignError::Refused)
    }
}

impl Keys {
    fn public(&self) -> &ChannelPublicKeys {
        self.public.get_or_init(|| self.secrets.public(&self.secp))
    }

    fn delayed_key(&self, point: &PublicKey) -> Result<SecretKey, KeyError> {
        derive_secret_key_with(&self.secrets.delayed, &self.public().delayed_payment_basepoint, point)
    }

    fn htlc_key(&self, point: &PublicKey) -> Result<SecretKey, KeyError> {
        derive_secret_key_with(&self.secrets.htlc, &self.public().htlc_basepoint, point)
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

    fn our_revocation_key(
        &self,
        secp: &Secp,
        number: CommitmentNumber,
        point: &PublicKey,
        their_basepoint: &PublicKey,
    ) -> Result<PublicKey, KeyError> {
        let secret = self.0.commitments.secret(number).ok_or(KeyError)?;
        derive_revocation_key_by_point_secret(secp, their_basepoint, &secret, point)
    }

    fn their_revocation_key(
        &self,
        secp: &Secp,
        their_point: &PublicKey,
        our_basepoint: &PublicKey,
    ) -> Result<PublicKey, KeyError> {
        derive_revocation_key_by_base_secret(secp, &self.0.secrets.revocation, our_basepoint, their_point)
    }

    fn sign_theirs(&self, request: &CommitmentToSign<'_>) -> Result<CommitmentSignatures, SignError> {
        let CommitmentToSign { params, keys, commitment } = *request;
        let Keys { secp, secrets: Secrets { funding, .. }, .. } = &*self.0;
        let htlc = self.0.htlc_key(&keys.per_commitment_point).map_err(|_| SignError::Refused)?;
        let (commitment, htlcs) = sign_commitment(secp, params, keys, commitment, funding, &htlc);
        Ok(CommitmentSignatures { commitment, htlcs })
    }

    fn sign_ours(&self, request: &CommitmentToSign<'_>) -> Result<Signature, SignError> {
        let digest = request.commitment.sighash(request.params);
        Ok(sign(&self.0.secp, &digest, &self.0.secrets.funding))
    }

    fn sign_closing(
        &self,
        funding: &FundingOutput,
        transaction: &Transaction,
    ) -> Result<Signature, SignError> {
        let script = funding.script();
        let digest = p2wsh_sighash(transaction, 0, &script, funding.value, EcdsaSighashType::All)
            .map_err(|_| SignError::Refused)?;
        Ok(sign(&self.0.secp, &digest, &self.0.secrets.funding))
    }

    fn sign_input(&self, request: &InputToSign<'_>) -> Result<Signature, SignError> {
        let InputToSign { transaction, input, value, script, sighash, key } = *request;
        let Keys { secp, secrets: Secrets { funding, revocation, payment, .. }, .. } = &*self.0;
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
        Ok(sign(&self.0.secp, &Message::from_digest(*digest), &self.0.secrets.funding))
    }
}
