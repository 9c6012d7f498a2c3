//! The keys adapter with entropy from the dice, so that a run can be repeated; a signer that may take its time, and a book
//! of all that it has signed.
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use bitcoin::{OutPoint, ScriptBuf, Transaction, Txid};
use lightning_keys::{Seed, SeedKeys, SeedSigner};
use lightning_traits::Secp;
use lightning_traits::id::{ChannelKeysId, CommitmentNumber};
use lightning_traits::interface::{
    ChannelSigner, CommitmentSignatures, CommitmentToSign, EntropySource, InputToSign, KeysInterface,
    SignError,
};
use lightning_traits::tx::{ChannelPublicKeys, CommitmentSecret, FundingOutput, KeyError};
use secp256k1::PublicKey;
use secp256k1::ecdsa::{RecoverableSignature, Signature};

use crate::dice::Dice;

/// What a signature was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Signed {
    pub(crate) keys: ChannelKeysId,
    pub(crate) number: CommitmentNumber,
    pub(crate) txid: Txid,
}

/// All that a node's signer has signed and released, as the signer itself would remember it.
#[derive(Debug, Default)]
pub(crate) struct Book {
    theirs: BTreeMap<[u8; 64], Signed>,
    ours: BTreeMap<Txid, Signed>,
    secrets: BTreeMap<[u8; 32], (ChannelKeysId, CommitmentNumber)>,
}

impl Book {
    /// The commitment of the peer that a signature is for.
    pub(crate) fn signed_theirs(&self, signature: &Signature) -> Option<Signed> {
        self.theirs.get(&signature.serialize_compact()).copied()
    }

    /// Which commitment of ours was signed for broadcast.
    pub(crate) fn signed_ours(&self, txid: &Txid) -> Option<Signed> {
        self.ours.get(txid).copied()
    }

    /// Which commitment of ours a secret revokes.
    pub(crate) fn released(&self, secret: &[u8; 32]) -> Option<(ChannelKeysId, CommitmentNumber)> {
        self.secrets.get(secret).copied()
    }
}

/// Keys of one node.
#[derive(Clone)]
pub(crate) struct SimKeys {
    keys: SeedKeys,
    id: PublicKey,
    /// Signers that were made: each costs five public keys.
    signers: Rc<RefCell<BTreeMap<ChannelKeysId, SeedSigner>>>,
    dice: Rc<RefCell<Dice>>,
    pub(crate) book: Rc<RefCell<Book>>,
    /// Whether the signer answers later.
    pub(crate) is_slow: Rc<Cell<bool>>,
    /// The output that first commitments of peers are signed for, whatever the channel says.
    pub(crate) borrowed: Rc<Cell<Option<OutPoint>>>,
}

impl SimKeys {
    /// The keys of node `number`; what comes back from channels goes to `script`.
    pub(crate) fn new(number: usize, script: ScriptBuf, dice: Dice) -> Self {
        let seed = Seed::new([number as u8 + 1; 32]);
        let keys = SeedKeys::new(seed, Arc::new(script)).expect("a fixed seed");
        Self {
            id: keys.node_id(),
            keys,
            signers: Rc::default(),
            dice: Rc::new(RefCell::new(dice)),
            book: Rc::default(),
            is_slow: Rc::default(),
            borrowed: Rc::default(),
        }
    }

    /// Who lends keys to watchtowers.
    pub(crate) const fn lender(&self) -> &SeedKeys {
        &self.keys
    }

    fn answer(&self) -> Result<(), SignError> {
        if self.is_slow.get() { Err(SignError::InProgress) } else { Ok(()) }
    }
}

impl EntropySource for SimKeys {
    fn fill(&self, bytes: &mut [u8]) {
        let mut dice = self.dice.borrow_mut();
        bytes.iter_mut().for_each(|byte| *byte = dice.roll(256) as u8);
    }
}

impl KeysInterface for SimKeys {
    type Signer = SimSigner;

    fn node_id(&self) -> PublicKey {
        self.id
    }

    fn ecdh(&self, their_key: &PublicKey) -> Result<[u8; 32], SignError> {
        self.answer()?;
        self.keys.ecdh(their_key)
    }

    fn sign_gossip(&self, digest: &[u8; 32]) -> Result<Signature, SignError> {
        self.answer()?;
        self.keys.sign_gossip(digest)
    }

    fn sign_invoice(&self, digest: &[u8; 32]) -> Result<RecoverableSignature, SignError> {
        self.keys.sign_invoice(digest)
    }

    fn inbound_payment_key(&self) -> [u8; 32] {
        self.keys.inbound_payment_key()
    }

    fn new_channel_keys(&self) -> ChannelKeysId {
        ChannelKeysId(self.bytes32())
    }

    fn signer(&self, keys: &ChannelKeysId) -> SimSigner {
        let mut signers = self.signers.borrow_mut();
        let inner = signers.entry(*keys).or_insert_with(|| self.keys.signer(keys)).clone();
        SimSigner { inner, id: *keys, keys: self.clone() }
    }

    fn destination_script(&self, keys: &ChannelKeysId) -> ScriptBuf {
        self.keys.destination_script(keys)
    }

    fn shutdown_script(&self, keys: &ChannelKeysId) -> ScriptBuf {
        self.keys.shutdown_script(keys)
    }
}

/// The signer of one channel.
#[derive(Clone)]
pub(crate) struct SimSigner {
    inner: SeedSigner,
    id: ChannelKeysId,
    keys: SimKeys,
}

impl SimSigner {
    fn signed(&self, request: &CommitmentToSign<'_>) -> Signed {
        Signed { keys: self.id, number: request.commitment.number, txid: request.commitment.txid }
    }
}

impl ChannelSigner for SimSigner {
    fn public_keys(&self) -> ChannelPublicKeys {
        self.inner.public_keys()
    }

    fn commitment_point(&self, number: CommitmentNumber) -> Result<PublicKey, SignError> {
        self.keys.answer()?;
        self.inner.commitment_point(number)
    }

    fn release_secret(&self, number: CommitmentNumber) -> Result<CommitmentSecret, SignError> {
        self.keys.answer()?;
        let secret = self.inner.release_secret(number)?;
        self.keys.book.borrow_mut().secrets.insert(*secret.as_bytes(), (self.id, number));
        Ok(secret)
    }

    fn our_revocation_key(
        &self,
        secp: &Secp,
        number: CommitmentNumber,
        point: &PublicKey,
        their_basepoint: &PublicKey,
    ) -> Result<PublicKey, KeyError> {
        self.inner.our_revocation_key(secp, number, point, their_basepoint)
    }

    fn their_revocation_key(
        &self,
        secp: &Secp,
        their_point: &PublicKey,
        our_basepoint: &PublicKey,
    ) -> Result<PublicKey, KeyError> {
        self.inner.their_revocation_key(secp, their_point, our_basepoint)
    }

    fn sign_theirs(&self, request: &CommitmentToSign<'_>) -> Result<CommitmentSignatures, SignError> {
        self.keys.answer()?;
        let mut params = *request.params;
        if let (Some(output), CommitmentNumber(0)) = (self.keys.borrowed.get(), request.commitment.number) {
            params.funding.outpoint = output;
        }
        let signatures = self.inner.sign_theirs(&CommitmentToSign { params: &params, ..*request })?;
        let bytes = signatures.commitment.serialize_compact();
        self.keys.book.borrow_mut().theirs.insert(bytes, self.signed(request));
        Ok(signatures)
    }

    fn sign_ours(&self, request: &CommitmentToSign<'_>) -> Result<Signature, SignError> {
        self.keys.answer()?;
        let signature = self.inner.sign_ours(request)?;
        self.keys.book.borrow_mut().ours.insert(request.commitment.txid, self.signed(request));
        Ok(signature)
    }

    fn sign_closing(
        &self,
        funding: &FundingOutput,
        transaction: &Transaction,
    ) -> Result<Signature, SignError> {
        self.keys.answer()?;
        self.inner.sign_closing(funding, transaction)
    }

    fn sign_input(&self, request: &InputToSign<'_>) -> Result<Signature, SignError> {
        self.keys.answer()?;
        self.inner.sign_input(request)
    }

    fn sign_announcement(&self, digest: &[u8; 32]) -> Result<Signature, SignError> {
        self.keys.answer()?;
        self.inner.sign_announcement(digest)
    }
}
