//! Keys of one channel that a watchtower is given, and the signer made of them.
//!
//! Two sets, each no larger than what its tower has to do:
//! - [`Power::Enforce`]: all six secrets of the channel. Whoever has them can publish this node's commitment, claim and
//!   sweep whatever it is owed, to any script; and together with the peer sign anything about the channel.
//! - [`Power::Punish`]: the revocation basepoint's secret alone. It opens the outputs of commitments that the peer has
//!   revoked, and nothing else; while the peer publishes none, it is worth nothing.
//!
//! # Invariants
//! - the signer of a tower signs no commitment of the peer, no close, no announcement, and releases no secret, though the
//!   keys of `Enforce` could
//! - secrets are erased when dropped and never printed
use std::sync::Arc;

use bitcoin::Transaction;
use lightning_traits::Secp;
use lightning_traits::id::{ChannelKeysId, CommitmentNumber};
use lightning_traits::interface::{
    ChannelSigner, CommitmentSignatures, CommitmentToSign, InputToSign, SignError, SigningKey,
};
use lightning_traits::tx::signature::{p2wsh_sighash, sign};
use lightning_traits::tx::{ChannelPublicKeys, CommitmentSecret, FundingOutput, derive_revocation_secret};
use secp256k1::ecdsa::Signature;
use secp256k1::{PublicKey, SecretKey};
use zeroize::Zeroizing;

use crate::SeedKeys;
use crate::signer::{Secrets, SeedSigner};

/// What the keys that are lent can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Power {
    /// Punish revoked commitments.
    Punish,
    /// All that the channel's own node could do on the chain.
    Enforce,
}

/// The message by which a node gives keys to its tower: the name of the channel's keys, then the keys. In the terms of
/// `lightning-remote` a request of a certain mode, inside the encrypted transport.
pub const KEYS_MESSAGE: u16 = 1;
/// The answer to keys that are not taken: why, in words.
pub const KEYS_REFUSED: u16 = 2;

/// First byte of the encoding, and what follows: one secret, or six.
const PUNISH: u8 = 1;
const ENFORCE: u8 = 2;
const SECRET: usize = 32;

/// Secrets of one channel for a watchtower.
#[derive(Clone)]
pub struct LentKeys(Kind);

#[derive(Clone)]
enum Kind {
    Punish(SecretKey),
    Enforce(Box<Secrets>),
}

impl core::fmt::Debug for LentKeys {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "LentKeys({:?}, ..)", self.power())
    }
}

impl Drop for LentKeys {
    fn drop(&mut self) {
        if let Kind::Punish(secret) = &mut self.0 {
            secret.non_secure_erase();
        }
    }
}

impl SeedKeys {
    /// The secrets of the channel whose keys have this name, for a watchtower with this power.
    #[must_use]
    pub fn lend(&self, keys: &ChannelKeysId, power: Power) -> LentKeys {
        let secrets = Secrets::of(&self.seed, keys);
        LentKeys(match power {
            Power::Punish => Kind::Punish(secrets.revocation),
            Power::Enforce => Kind::Enforce(Box::new(secrets)),
        })
    }
}

impl LentKeys {
    /// What they can do.
    #[must_use]
    pub const fn power(&self) -> Power {
        match self.0 {
            Kind::Punish(_) => Power::Punish,
            Kind::Enforce(_) => Power::Enforce,
        }
    }

    /// The part of them that can do no more than `power`: what a tower does not need it must not keep.
    #[must_use]
    pub fn limited_to(self, power: Power) -> Self {
        match (&self.0, power) {
            (Kind::Enforce(secrets), Power::Punish) => Self(Kind::Punish(secrets.revocation)),
            (Kind::Punish(_) | Kind::Enforce(_), Power::Punish | Power::Enforce) => self,
        }
    }

    /// Whether they are those of the channel with these public keys: with any others a tower would guard nothing.
    #[must_use]
    pub fn fit(&self, secp: &Secp, public: &ChannelPublicKeys) -> bool {
        match &self.0 {
            Kind::Punish(revocation) => revocation.public_key(secp) == public.revocation_basepoint,
            Kind::Enforce(secrets) => secrets.public(secp) == *public,
        }
    }

    /// The encoding, secret like what it encodes.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(1 + 6 * SECRET));
        match &self.0 {
            Kind::Punish(revocation) => {
                bytes.push(PUNISH);
                bytes.extend_from_slice(&revocation.secret_bytes());
            }
            Kind::Enforce(secrets) => {
                bytes.push(ENFORCE);
                secrets.write(&mut bytes);
            }
        }
        bytes
    }

    /// Reads the encoding; `None` when it is not one.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (kind, rest) = bytes.split_first()?;
        match *kind {
            PUNISH => SecretKey::from_slice(rest).ok().map(Kind::Punish).map(Self),
            ENFORCE => Secrets::read(rest).map(|secrets| Self(Kind::Enforce(Box::new(secrets)))),
            _ => None,
        }
    }

    /// The body of [`KEYS_MESSAGE`].
    #[must_use]
    pub fn to_message(&self, name: &ChannelKeysId) -> Vec<u8> {
        [name.0.as_slice(), self.to_bytes().as_slice()].concat()
    }

    /// Reads the body of [`KEYS_MESSAGE`]; `None` when it is not one.
    #[must_use]
    pub fn from_message(body: &[u8]) -> Option<(ChannelKeysId, Self)> {
        let (name, keys) = body.split_first_chunk::<32>()?;
        Some((ChannelKeysId(*name), Self::from_bytes(keys)?))
    }

    /// The signer of a tower.
    #[must_use]
    pub fn signer(&self, secp: Arc<Secp>, public: ChannelPublicKeys) -> LentSigner {
        LentSigner(match &self.0 {
            Kind::Punish(revocation) => Signer::Punish { secp, revocation: *revocation, public },
            Kind::Enforce(secrets) => Signer::Enforce(SeedSigner::from_secrets(secp, (**secrets).clone())),
        })
    }
}

/// Signs for one channel on a watchtower: what its keys and its duty allow.
#[derive(Clone)]
pub struct LentSigner(Signer);

#[derive(Clone)]
enum Signer {
    Punish { secp: Arc<Secp>, revocation: SecretKey, public: ChannelPublicKeys },
    Enforce(SeedSigner),
    Nothing(ChannelPublicKeys),
}

impl core::fmt::Debug for LentSigner {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("LentSigner").field("public", &self.public_keys()).finish_non_exhaustive()
    }
}

impl LentSigner {
    /// A signer without keys, which refuses everything.
    #[must_use]
    pub const fn without_keys(public: ChannelPublicKeys) -> Self {
        Self(Signer::Nothing(public))
    }

    fn enforcing(&self) -> Result<&SeedSigner, SignError> {
        match &self.0 {
            Signer::Enforce(signer) => Ok(signer),
            Signer::Punish { .. } | Signer::Nothing(_) => Err(SignError::Refused),
        }
    }
}

impl ChannelSigner for LentSigner {
    fn public_keys(&self) -> ChannelPublicKeys {
        match &self.0 {
            Signer::Punish { public, .. } | Signer::Nothing(public) => *public,
            Signer::Enforce(signer) => signer.public_keys(),
        }
    }

    fn commitment_point(&self, number: CommitmentNumber) -> Result<PublicKey, SignError> {
        self.enforcing()?.commitment_point(number)
    }

    fn release_secret(&self, _: CommitmentNumber) -> Result<CommitmentSecret, SignError> {
        Err(SignError::Refused)
    }

    fn sign_theirs(&self, _: &CommitmentToSign<'_>) -> Result<CommitmentSignatures, SignError> {
        Err(SignError::Refused)
    }

    fn sign_ours(&self, request: &CommitmentToSign<'_>) -> Result<Signature, SignError> {
        self.enforcing()?.sign_ours(request)
    }

    fn sign_closing(&self, _: &FundingOutput, _: &Transaction) -> Result<Signature, SignError> {
        Err(SignError::Refused)
    }

    fn sign_input(&self, request: &InputToSign<'_>) -> Result<Signature, SignError> {
        let (secp, revocation) = match &self.0 {
            Signer::Enforce(signer) => return signer.sign_input(request),
            Signer::Nothing(_) => return Err(SignError::Refused),
            Signer::Punish { secp, revocation, .. } => (secp, revocation),
        };
        let InputToSign { transaction, input, value, script, sighash, key } = *request;
        let SigningKey::Revocation(secret) = key else { return Err(SignError::Refused) };
        let key = derive_revocation_secret(secp, revocation, secret).map_err(|_| SignError::Refused)?;
        let digest =
            p2wsh_sighash(transaction, input, script, value, sighash).map_err(|_| SignError::Refused)?;
        Ok(sign(secp, &digest, &key))
    }

    fn sign_announcement(&self, _: &[u8; 32]) -> Result<Signature, SignError> {
        Err(SignError::Refused)
    }
}
