//! For tests: a signer with real keys, and the terms of a channel between two of them.
use bitcoin::hashes::Hash as _;
use bitcoin::{Amount, OutPoint, Transaction, Txid};
use lightning_traits::Secp;
use lightning_traits::feature::ChannelType;
use lightning_traits::id::{ChannelId, ChannelKeysId, CommitmentNumber, NodeId};
use lightning_traits::interface::{
    ChannelSigner, CommitmentSignatures, CommitmentToSign, InputToSign, SignError,
};
use lightning_traits::tx::signature::{p2wsh_sighash, sign};
use lightning_traits::tx::{
    ChannelPublicKeys, CommitmentFormat, CommitmentSecret, CommitmentSeed, FundingOutput, ObscureFactor,
    derive_secret_key, sign_commitment,
};
use lightning_traits::units::{BlockHeight, CsvDelay, Msat};
use secp256k1::ecdsa::Signature;
use secp256k1::{Message, PublicKey, SecretKey};

use crate::terms::{PartyLimits, Terms};

/// Signs for one channel with keys made from a number.
#[derive(Clone)]
pub(crate) struct TestSigner {
    secp: Secp,
    funding: SecretKey,
    revocation: SecretKey,
    payment: SecretKey,
    delayed: SecretKey,
    htlc: SecretKey,
    seed: CommitmentSeed,
    /// The last commitment whose secret may be asked for: anything above would be revoking what is valid.
    pub(crate) may_release: core::cell::Cell<u64>,
    /// Answer "later" to everything.
    pub(crate) slow: core::cell::Cell<bool>,
}

impl TestSigner {
    pub(crate) fn new(secp: &Secp, number: u8) -> Self {
        let key = |index: u8| SecretKey::from_slice(&[number * 16 + index; 32]).unwrap();
        Self {
            secp: secp.clone(),
            funding: key(1),
            revocation: key(2),
            payment: key(3),
            delayed: key(4),
            htlc: key(5),
            seed: CommitmentSeed::new([number * 16 + 6; 32]),
            may_release: core::cell::Cell::new(u64::MAX),
            slow: core::cell::Cell::new(false),
        }
    }

    pub(crate) fn secret(&self, number: u64) -> CommitmentSecret {
        self.seed.secret(CommitmentNumber(number)).unwrap()
    }

    fn awake(&self) -> Result<(), SignError> {
        if self.slow.get() { Err(SignError::InProgress) } else { Ok(()) }
    }
}

impl ChannelSigner for TestSigner {
    fn public_keys(&self) -> ChannelPublicKeys {
        let public = |key: &SecretKey| key.public_key(&self.secp);
        ChannelPublicKeys {
            funding: public(&self.funding),
            revocation_basepoint: public(&self.revocation),
            payment_basepoint: public(&self.payment),
            delayed_payment_basepoint: public(&self.delayed),
            htlc_basepoint: public(&self.htlc),
        }
    }

    fn commitment_point(&self, number: CommitmentNumber) -> Result<PublicKey, SignError> {
        self.awake()?;
        let secret = self.seed.secret(number).ok_or(SignError::Refused)?;
        secret.to_point(&self.secp).map_err(|_| SignError::Refused)
    }

    fn release_secret(&self, number: CommitmentNumber) -> Result<CommitmentSecret, SignError> {
        self.awake()?;
        assert!(number.0 <= self.may_release.get(), "secret {number} revokes a commitment that is valid");
        self.seed.secret(number).ok_or(SignError::Refused)
    }

    fn sign_theirs(&self, request: &CommitmentToSign<'_>) -> Result<CommitmentSignatures, SignError> {
        self.awake()?;
        let CommitmentToSign { params, keys, commitment } = *request;
        let htlc = derive_secret_key(&self.secp, &self.htlc, &keys.per_commitment_point).unwrap();
        let (commitment, htlcs) = sign_commitment(&self.secp, params, keys, commitment, &self.funding, &htlc);
        Ok(CommitmentSignatures { commitment, htlcs })
    }

    fn sign_ours(&self, request: &CommitmentToSign<'_>) -> Result<Signature, SignError> {
        self.awake()?;
        Ok(sign(&self.secp, &request.commitment.sighash(request.params), &self.funding))
    }

    fn sign_closing(
        &self,
        funding: &FundingOutput,
        transaction: &Transaction,
    ) -> Result<Signature, SignError> {
        self.awake()?;
        let kind = bitcoin::EcdsaSighashType::All;
        let digest = p2wsh_sighash(transaction, 0, &funding.script(), funding.value, kind).unwrap();
        Ok(sign(&self.secp, &digest, &self.funding))
    }

    fn sign_input(&self, _: &InputToSign<'_>) -> Result<Signature, SignError> {
        Err(SignError::Refused)
    }

    fn sign_announcement(&self, digest: &[u8; 32]) -> Result<Signature, SignError> {
        self.awake()?;
        Ok(sign(&self.secp, &Message::from_digest(*digest), &self.funding))
    }
}

/// Terms as `opener` and `accepter` have them: 1,000,000 sat, reserves of 10,000, dust 354, all else wide.
pub(crate) fn terms(opener: &TestSigner, accepter: &TestSigner, format: CommitmentFormat) -> (Terms, Terms) {
    let party = |signer: &TestSigner| PartyLimits {
        keys: signer.public_keys(),
        dust_limit: Amount::from_sat(354),
        to_self_delay: CsvDelay::new(144),
        reserve: Msat::from_sat(10_000),
        htlc_minimum: Msat::new(1),
        max_in_flight: Msat::MAX,
        max_accepted_htlcs: 483,
    };
    let (ours, theirs) = (party(opener), party(accepter));
    let outpoint = OutPoint { txid: Txid::from_byte_array([7; 32]), vout: 1 };
    let value = Amount::from_sat(1_000_000);
    let channel_type = match format {
        CommitmentFormat::StaticRemoteKey => ChannelType::static_remote_key(),
        CommitmentFormat::AnchorsZeroFeeHtlc => ChannelType::anchors(),
    };
    let opened = Terms {
        channel: ChannelId::v1_from_funding(outpoint),
        peer: NodeId([3; 33]),
        keys: ChannelKeysId([1; 32]),
        funding: FundingOutput::new(outpoint, value, ours.keys.funding, theirs.keys.funding),
        format,
        channel_type,
        obscure: ObscureFactor::new(&ours.keys.payment_basepoint, &theirs.keys.payment_basepoint),
        we_opened: true,
        announce: false,
        ours,
        theirs,
        minimum_depth: 3,
        zero_conf: false,
        our_shutdown: None,
        their_shutdown: None,
        birth: BlockHeight::new(800_000),
    };
    let mut accepted = opened.clone();
    core::mem::swap(&mut accepted.ours, &mut accepted.theirs);
    accepted.we_opened = false;
    accepted.peer = NodeId([2; 33]);
    (opened, accepted)
}
