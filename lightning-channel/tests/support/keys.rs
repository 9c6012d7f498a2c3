//! Keys of a test node: from its name and a counter, so that every run is the same. The signer can be told to be slow.
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use bitcoin::hashes::{Hash as _, sha256};
use bitcoin::{EcdsaSighashType, ScriptBuf, Transaction, WPubkeyHash};
use lightning_traits::Secp;
use lightning_traits::id::{ChannelKeysId, CommitmentNumber};
use lightning_traits::interface::{
    ChannelSigner, CommitmentSignatures, CommitmentToSign, EntropySource, InputToSign, KeysInterface,
    SignError,
};
use lightning_traits::tx::signature::p2wsh_sighash;
use lightning_traits::tx::{
    ChannelPublicKeys, CommitmentSecret, CommitmentSeed, FundingOutput, derive_secret_key, sign_commitment,
};
use secp256k1::ecdh::SharedSecret;
use secp256k1::ecdsa::{RecoverableSignature, Signature};
use secp256k1::{Message, PublicKey, SecretKey};

/// Keys of one node.
pub(crate) struct TestKeys {
    secp: Arc<Secp>,
    name: String,
    counter: AtomicU64,
    /// While true, everything that needs the signer is answered "later".
    busy: Arc<AtomicBool>,
}

/// The curve's context and table, read once for all tests of this process.
pub(crate) fn secp() -> Secp {
    static SECP: OnceLock<Secp> = OnceLock::new();
    SECP.get_or_init(Secp::new).clone()
}

fn hash(parts: &[&[u8]]) -> [u8; 32] {
    sha256::Hash::hash(&parts.concat()).to_byte_array()
}

impl TestKeys {
    pub(crate) fn new(name: &str) -> Self {
        Self {
            secp: Arc::new(secp()),
            name: name.into(),
            counter: AtomicU64::new(0),
            busy: Arc::new(AtomicBool::new(false)),
        }
    }

    /// Whether the signer answers "later" from now on.
    pub(crate) fn set_busy(&self, busy: bool) {
        self.busy.store(busy, Ordering::Relaxed);
    }

    fn node_secret(&self) -> SecretKey {
        SecretKey::from_slice(&hash(&[self.name.as_bytes(), b"node"])).unwrap()
    }
}

impl EntropySource for TestKeys {
    fn fill(&self, bytes: &mut [u8]) {
        for byte in bytes {
            let count = self.counter.fetch_add(1, Ordering::Relaxed);
            *byte = hash(&[self.name.as_bytes(), &count.to_be_bytes()])[0];
        }
    }
}

impl KeysInterface for TestKeys {
    type Signer = TestSigner;

    fn node_id(&self) -> PublicKey {
        self.node_secret().public_key(&self.secp)
    }

    fn ecdh(&self, key: &PublicKey) -> Result<[u8; 32], SignError> {
        if self.busy.load(Ordering::Relaxed) {
            return Err(SignError::InProgress);
        }
        Ok(SharedSecret::new(key, &self.node_secret()).secret_bytes())
    }

    fn sign_gossip(&self, digest: &[u8; 32]) -> Result<Signature, SignError> {
        Ok(self.secp.sign_ecdsa(&Message::from_digest(*digest), &self.node_secret()))
    }

    fn sign_invoice(&self, _: &[u8; 32]) -> Result<RecoverableSignature, SignError> {
        Err(SignError::Refused)
    }

    fn inbound_payment_key(&self) -> [u8; 32] {
        hash(&[self.name.as_bytes(), b"inbound"])
    }

    fn new_channel_keys(&self) -> ChannelKeysId {
        ChannelKeysId(self.bytes32())
    }

    fn signer(&self, keys: &ChannelKeysId) -> TestSigner {
        let key =
            |label: &[u8]| SecretKey::from_slice(&hash(&[self.name.as_bytes(), &keys.0, label])).unwrap();
        TestSigner {
            secp: Arc::clone(&self.secp),
            busy: Arc::clone(&self.busy),
            funding: key(b"funding"),
            htlc: key(b"htlc"),
            others: [key(b"revocation"), key(b"payment"), key(b"delayed")],
            seed: CommitmentSeed::new(hash(&[self.name.as_bytes(), &keys.0, b"seed"])),
        }
    }

    fn destination_script(&self, keys: &ChannelKeysId) -> ScriptBuf {
        self.shutdown_script(keys)
    }

    fn shutdown_script(&self, _: &ChannelKeysId) -> ScriptBuf {
        let bytes = hash(&[self.name.as_bytes(), b"wallet"]);
        ScriptBuf::new_p2wpkh(&WPubkeyHash::from_slice(&bytes[..20]).unwrap())
    }
}

/// Signs for one channel.
pub(crate) struct TestSigner {
    secp: Arc<Secp>,
    busy: Arc<AtomicBool>,
    funding: SecretKey,
    htlc: SecretKey,
    others: [SecretKey; 3],
    seed: CommitmentSeed,
}

impl TestSigner {
    fn ready(&self) -> Result<(), SignError> {
        if self.busy.load(Ordering::Relaxed) { Err(SignError::InProgress) } else { Ok(()) }
    }
}

impl ChannelSigner for TestSigner {
    fn public_keys(&self) -> ChannelPublicKeys {
        let [revocation, payment, delayed] = self.others.map(|key| key.public_key(&self.secp));
        ChannelPublicKeys {
            funding: self.funding.public_key(&self.secp),
            revocation_basepoint: revocation,
            payment_basepoint: payment,
            delayed_payment_basepoint: delayed,
            htlc_basepoint: self.htlc.public_key(&self.secp),
        }
    }

    fn commitment_point(&self, number: CommitmentNumber) -> Result<PublicKey, SignError> {
        self.ready()?;
        Ok(self.seed.secret(number).unwrap().to_point(&self.secp).unwrap())
    }

    fn release_secret(&self, number: CommitmentNumber) -> Result<CommitmentSecret, SignError> {
        self.ready()?;
        Ok(self.seed.secret(number).unwrap())
    }

    fn sign_theirs(&self, request: &CommitmentToSign<'_>) -> Result<CommitmentSignatures, SignError> {
        self.ready()?;
        let htlc = derive_secret_key(&self.secp, &self.htlc, &request.keys.per_commitment_point).unwrap();
        let CommitmentToSign { params, keys, commitment } = *request;
        let (commitment, htlcs) = sign_commitment(&self.secp, params, keys, commitment, &self.funding, &htlc);
        Ok(CommitmentSignatures { commitment, htlcs })
    }

    fn sign_ours(&self, request: &CommitmentToSign<'_>) -> Result<Signature, SignError> {
        Ok(self.secp.sign_ecdsa(&request.commitment.sighash(request.params), &self.funding))
    }

    fn sign_closing(
        &self,
        funding: &FundingOutput,
        transaction: &Transaction,
    ) -> Result<Signature, SignError> {
        self.ready()?;
        let digest =
            p2wsh_sighash(transaction, 0, &funding.script(), funding.value, EcdsaSighashType::All).unwrap();
        Ok(self.secp.sign_ecdsa(&digest, &self.funding))
    }

    fn sign_input(&self, _: &InputToSign<'_>) -> Result<Signature, SignError> {
        Err(SignError::Refused)
    }

    fn sign_announcement(&self, digest: &[u8; 32]) -> Result<Signature, SignError> {
        Ok(self.secp.sign_ecdsa(&Message::from_digest(*digest), &self.funding))
    }
}
