//! All secrets of one side of a channel, and the signer made of them.
use std::cell::Cell;
use std::rc::Rc;
use std::sync::OnceLock;

use bitcoin::hashes::{Hash as _, sha256};
use bitcoin::{ScriptBuf, Transaction, WPubkeyHash};
use lightning_traits::Secp;
use lightning_traits::id::{ChannelKeysId, CommitmentNumber};
use lightning_traits::interface::{
    ChannelSigner, CommitmentSignatures, CommitmentToSign, EntropySource, InputToSign, KeysInterface,
    SignError, SigningKey,
};
use lightning_traits::tx::signature::{p2wsh_sighash, sign};
use lightning_traits::tx::{
    ChannelPublicKeys, CommitmentSecret, CommitmentSeed, FundingOutput, derive_revocation_secret,
    derive_secret_key, sign_commitment,
};
use secp256k1::ecdsa::{RecoverableSignature, Signature};
use secp256k1::{PublicKey, SecretKey};

/// The secrets of one side.
#[derive(Clone)]
pub(crate) struct Side {
    pub(crate) secp: Rc<Secp>,
    pub(crate) funding: SecretKey,
    pub(crate) revocation: SecretKey,
    pub(crate) payment: SecretKey,
    pub(crate) delayed: SecretKey,
    pub(crate) htlc: SecretKey,
    pub(crate) seed: CommitmentSeed,
    /// While set, the signer answers that it needs time.
    pub(crate) asleep: Rc<Cell<bool>>,
    /// Whether the signer has nothing but the revocation secret.
    pub(crate) punishes_only: bool,
}

/// The curve's context and table, read once for all tests of this process.
fn secp() -> Secp {
    static SECP: OnceLock<Secp> = OnceLock::new();
    SECP.get_or_init(Secp::new).clone()
}

impl Side {
    pub(crate) fn new(name: &[u8]) -> Self {
        let bytes = |label: &[u8]| sha256::Hash::hash(&[name, label].concat()).to_byte_array();
        let key = |label: &[u8]| SecretKey::from_slice(&bytes(label)).unwrap();
        Self {
            secp: Rc::new(secp()),
            funding: key(b"funding"),
            revocation: key(b"revocation"),
            payment: key(b"payment"),
            delayed: key(b"delayed"),
            htlc: key(b"htlc"),
            seed: CommitmentSeed::new(bytes(b"seed")),
            asleep: Rc::default(),
            punishes_only: false,
        }
    }

    pub(crate) fn point(&self, number: CommitmentNumber) -> PublicKey {
        self.seed.secret(number).unwrap().to_point(&self.secp).unwrap()
    }

    pub(crate) fn public(&self) -> ChannelPublicKeys {
        ChannelPublicKeys {
            funding: self.funding.public_key(&self.secp),
            revocation_basepoint: self.revocation.public_key(&self.secp),
            payment_basepoint: self.payment.public_key(&self.secp),
            delayed_payment_basepoint: self.delayed.public_key(&self.secp),
            htlc_basepoint: self.htlc.public_key(&self.secp),
        }
    }

    fn awake(&self) -> Result<(), SignError> {
        if self.asleep.get() { Err(SignError::InProgress) } else { Ok(()) }
    }
}

impl ChannelSigner for Side {
    fn public_keys(&self) -> ChannelPublicKeys {
        self.public()
    }

    fn commitment_point(&self, number: CommitmentNumber) -> Result<PublicKey, SignError> {
        self.awake()?;
        assert!(!self.punishes_only, "asked for what a punisher does not have");
        Ok(self.point(number))
    }

    fn release_secret(&self, _: CommitmentNumber) -> Result<CommitmentSecret, SignError> {
        panic!("a monitor has no business with our own secrets")
    }

    fn sign_theirs(&self, request: &CommitmentToSign<'_>) -> Result<CommitmentSignatures, SignError> {
        let CommitmentToSign { params, keys, commitment } = *request;
        let htlc = derive_secret_key(&self.secp, &self.htlc, &keys.per_commitment_point).unwrap();
        let (commitment, htlcs) = sign_commitment(&self.secp, params, keys, commitment, &self.funding, &htlc);
        Ok(CommitmentSignatures { commitment, htlcs })
    }

    fn sign_ours(&self, request: &CommitmentToSign<'_>) -> Result<Signature, SignError> {
        self.awake()?;
        assert!(!self.punishes_only, "asked for what a punisher does not have");
        Ok(sign(&self.secp, &request.commitment.sighash(request.params), &self.funding))
    }

    fn sign_closing(&self, funding: &FundingOutput, tx: &Transaction) -> Result<Signature, SignError> {
        let all = bitcoin::EcdsaSighashType::All;
        let digest = p2wsh_sighash(tx, 0, &funding.script(), funding.value, all).unwrap();
        Ok(sign(&self.secp, &digest, &self.funding))
    }

    fn sign_input(&self, request: &InputToSign<'_>) -> Result<Signature, SignError> {
        self.awake()?;
        let InputToSign { transaction, input, value, script, sighash, key } = *request;
        assert!(!self.punishes_only || matches!(key, SigningKey::Revocation(_)), "{key:?} of a punisher");
        let secp = &self.secp;
        let key = match key {
            SigningKey::Funding => self.funding,
            SigningKey::Payment => self.payment,
            SigningKey::Delayed(point) => derive_secret_key(secp, &self.delayed, point).unwrap(),
            SigningKey::Htlc(point) => derive_secret_key(secp, &self.htlc, point).unwrap(),
            SigningKey::Revocation(secret) => {
                derive_revocation_secret(secp, &self.revocation, secret).unwrap()
            }
        };
        Ok(sign(secp, &p2wsh_sighash(transaction, input, script, value, sighash).unwrap(), &key))
    }

    fn sign_announcement(&self, _: &[u8; 32]) -> Result<Signature, SignError> {
        Err(SignError::Refused)
    }
}

/// Our keys: one [`Side`] for each name; counts how often a signer was asked for.
pub(crate) struct Keys {
    pub(crate) asleep: Rc<Cell<bool>>,
    pub(crate) asked: Cell<usize>,
    pub(crate) punishes_only: bool,
}

impl Keys {
    pub(crate) fn side(&self, keys: &ChannelKeysId) -> Side {
        let punishes_only = self.punishes_only;
        Side { asleep: Rc::clone(&self.asleep), punishes_only, ..Side::new(&keys.0) }
    }
}

impl EntropySource for Keys {
    fn fill(&self, _: &mut [u8]) {
        panic!("a monitor needs no entropy")
    }
}

impl KeysInterface for Keys {
    type Signer = Side;

    fn node_id(&self) -> PublicKey {
        Side::new(b"node").public().funding
    }

    fn ecdh(&self, _: &PublicKey) -> Result<[u8; 32], SignError> {
        Err(SignError::Refused)
    }

    fn sign_gossip(&self, _: &[u8; 32]) -> Result<Signature, SignError> {
        Err(SignError::Refused)
    }

    fn sign_invoice(&self, _: &[u8; 32]) -> Result<RecoverableSignature, SignError> {
        Err(SignError::Refused)
    }

    fn inbound_payment_key(&self) -> [u8; 32] {
        [0; 32]
    }

    fn new_channel_keys(&self) -> ChannelKeysId {
        panic!("a monitor makes no channels")
    }

    fn signer(&self, keys: &ChannelKeysId) -> Side {
        self.asked.set(self.asked.get() + 1);
        self.side(keys)
    }

    fn destination_script(&self, _: &ChannelKeysId) -> ScriptBuf {
        destination()
    }

    fn shutdown_script(&self, _: &ChannelKeysId) -> ScriptBuf {
        destination()
    }
}

/// Where all that we claim goes.
pub(crate) fn destination() -> ScriptBuf {
    ScriptBuf::new_p2wpkh(&WPubkeyHash::from_byte_array([0xd5; 20]))
}
