//! Keys, which the library never holds itself: it asks for points, secrets and signatures.
//!
//! A signer may live elsewhere and enforce a policy of its own, so it is given whole transactions with what
//! they mean, and may answer [`SignError::InProgress`].
//!
//! # Invariants
//! - a signer never releases the secret of a commitment that it may still be asked to sign for broadcast
use alloc::vec::Vec;

use bitcoin::sighash::EcdsaSighashType;
use bitcoin::{Amount, Script, ScriptBuf, Transaction};
use secp256k1::PublicKey;
use secp256k1::ecdsa::{RecoverableSignature, Signature};
use thiserror::Error;

use super::EntropySource;
use crate::Secp;
use crate::id::{ChannelKeysId, CommitmentNumber};
use crate::tx::{
    ChannelPublicKeys, CommitmentKeys, CommitmentParams, CommitmentSecret, CommitmentTx, FundingOutput,
    KeyError, derive_revocation_key,
};

/// Why there is no signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SignError {
    /// The signer needs time; ask again later with the same arguments.
    #[error("the signer has not answered yet")]
    InProgress,
    /// The signer will not sign this.
    #[error("the signer refuses")]
    Refused,
}

/// The node's keys and the source of channel keys.
pub trait KeysInterface: EntropySource {
    /// Signs for one channel.
    type Signer: ChannelSigner;

    /// The node's public key.
    fn node_id(&self) -> PublicKey;

    /// SHA-256 of the compressed product of the node's secret key and `their_key` (BOLT 4 and 8).
    ///
    /// # Errors
    /// When the signer refuses.
    fn ecdh(&self, their_key: &PublicKey) -> Result<[u8; 32], SignError>;

    /// Signs a digest of BOLT 7 gossip with the node's key.
    ///
    /// # Errors
    /// When the signer refuses or needs time.
    fn sign_gossip(&self, digest: &[u8; 32]) -> Result<Signature, SignError>;

    /// Signs the digest of a BOLT 11 invoice with the node's key.
    ///
    /// # Errors
    /// When the signer refuses or needs time.
    fn sign_invoice(&self, digest: &[u8; 32]) -> Result<RecoverableSignature, SignError>;

    /// A key, the same after every restart, from which secrets and preimages of our invoices are derived.
    fn inbound_payment_key(&self) -> [u8; 32];

    /// Names the keys of a new channel; never the same twice.
    fn new_channel_keys(&self) -> ChannelKeysId;

    /// The signer of the channel whose keys have this name; the same after every restart.
    fn signer(&self, keys: &ChannelKeysId) -> Self::Signer;

    /// Where funds claimed on chain go.
    fn destination_script(&self, keys: &ChannelKeysId) -> ScriptBuf;

    /// Where a cooperative close pays us. Must be of a form that BOLT 2 allows in `shutdown`.
    fn shutdown_script(&self, keys: &ChannelKeysId) -> ScriptBuf;
}

/// A commitment transaction with all that a signer needs to understand it.
#[derive(Clone, Copy, Debug)]
pub struct CommitmentToSign<'a> {
    /// What is constant for the broadcaster's commitments.
    pub params: &'a CommitmentParams,
    /// The keys of this commitment.
    pub keys: &'a CommitmentKeys,
    /// The transaction and its outputs' meaning.
    pub commitment: &'a CommitmentTx,
}

/// The signatures of `commitment_signed`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitmentSignatures {
    /// For the funding input.
    pub commitment: Signature,
    /// For each HTLC transaction, in the order of the commitment's outputs.
    pub htlcs: Vec<Signature>,
}

/// Which secret signs an input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SigningKey {
    /// Our funding key: anchors, and the funding output itself.
    Funding,
    /// Our `payment_basepoint`: our output of their commitment.
    Payment,
    /// Our delayed key at this per-commitment point: our own output after its delay, first or second stage.
    Delayed(PublicKey),
    /// Our HTLC key at this per-commitment point, of our commitment or theirs.
    Htlc(PublicKey),
    /// The revocation key that their released secret completes.
    Revocation(CommitmentSecret),
}

/// One input of a claim.
#[derive(Clone, Copy, Debug)]
pub struct InputToSign<'a> {
    /// The claiming transaction.
    pub transaction: &'a Transaction,
    /// Which of its inputs.
    pub input: usize,
    /// Value of the output being spent.
    pub value: Amount,
    /// The witness script; for a P2WPKH output its script code.
    pub script: &'a Script,
    /// What the signature covers.
    pub sighash: EcdsaSighashType,
    /// The key that signs.
    pub key: &'a SigningKey,
}

/// Signs for one channel.
pub trait ChannelSigner {
    /// The five public keys that `open_channel` or `accept_channel` carries.
    fn public_keys(&self) -> ChannelPublicKeys;

    /// The per-commitment point of our commitment `number`.
    ///
    /// # Errors
    /// When the signer refuses or needs time.
    fn commitment_point(&self, number: CommitmentNumber) -> Result<PublicKey, SignError>;

    /// The secret of our commitment `number`, which revokes it: from then on it must never be broadcast.
    ///
    /// # Errors
    /// When the signer refuses or needs time.
    fn release_secret(&self, number: CommitmentNumber) -> Result<CommitmentSecret, SignError>;

    /// The revocation key of our commitment of this number, whose point is `point`; `their_basepoint` is the peer's revocation basepoint.
    ///
    /// Anybody can compute it from the points, as it is done by default. A signer that has the secret of the point, which the
    /// number gives it, saves one product of two.
    ///
    /// # Errors
    /// [`KeyError`] when the points cancel out.
    fn our_revocation_key(
        &self,
        secp: &Secp,
        _number: CommitmentNumber,
        point: &PublicKey,
        their_basepoint: &PublicKey,
    ) -> Result<PublicKey, KeyError> {
        derive_revocation_key(secp, their_basepoint, point)
    }

    /// The revocation key of the peer's commitment with `their_point`; `our_basepoint` is our revocation basepoint. As
    /// [`our_revocation_key`](Self::our_revocation_key), by the secret of the basepoint.
    ///
    /// # Errors
    /// [`KeyError`] when the points cancel out.
    fn their_revocation_key(
        &self,
        secp: &Secp,
        their_point: &PublicKey,
        our_basepoint: &PublicKey,
    ) -> Result<PublicKey, KeyError> {
        derive_revocation_key(secp, our_basepoint, their_point)
    }

    /// Signs their commitment and its HTLC transactions.
    ///
    /// # Errors
    /// When the signer refuses or needs time.
    fn sign_theirs(&self, request: &CommitmentToSign<'_>) -> Result<CommitmentSignatures, SignError>;

    /// Signs our own commitment for broadcast.
    ///
    /// # Errors
    /// When the signer refuses or needs time.
    fn sign_ours(&self, request: &CommitmentToSign<'_>) -> Result<Signature, SignError>;

    /// Signs a cooperative close, whose only input is the funding output.
    ///
    /// # Errors
    /// When the signer refuses or needs time.
    fn sign_closing(
        &self,
        funding: &FundingOutput,
        transaction: &Transaction,
    ) -> Result<Signature, SignError>;

    /// Signs one input of a transaction that claims outputs of a commitment.
    ///
    /// # Errors
    /// When the signer refuses or needs time.
    fn sign_input(&self, request: &InputToSign<'_>) -> Result<Signature, SignError>;

    /// Signs a `channel_announcement` digest with the funding key (BOLT 7, `bitcoin_signature`).
    ///
    /// # Errors
    /// When the signer refuses or needs time.
    fn sign_announcement(&self, digest: &[u8; 32]) -> Result<Signature, SignError>;
}
