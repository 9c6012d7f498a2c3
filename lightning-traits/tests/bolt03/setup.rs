//! A channel with all secrets of both sides: that of BOLT 3, Appendix C, in either format.
use bitcoin::hashes::Hash as _;
use bitcoin::{Amount, OutPoint, Transaction, TxOut, Txid, Witness};
use lightning_traits::Secp;
use lightning_traits::id::{CommitmentNumber, HtlcId};
use lightning_traits::payment::Preimage;
use lightning_traits::tx::{
    ChannelPublicKeys, CommitmentFormat, CommitmentKeys, CommitmentParams, CommitmentSecret, CommitmentSpec,
    CommitmentTx, FundingOutput, HtlcSpec, ObscureFactor, SecondStage, TxSide, build, derive_secret_key,
    sign_commitment, signature, verify_commitment, witness,
};
use lightning_traits::units::{CltvExpiry, CsvDelay, FeeratePerKw, Msat};
use secp256k1::{PublicKey, SecretKey};

/// The secrets of one side.
pub(crate) struct Side {
    pub(crate) funding: SecretKey,
    pub(crate) revocation: SecretKey,
    pub(crate) payment: SecretKey,
    pub(crate) delayed: SecretKey,
    pub(crate) htlc: SecretKey,
}

impl Side {
    pub(crate) fn public(&self, secp: &Secp) -> ChannelPublicKeys {
        ChannelPublicKeys {
            funding: self.funding.public_key(secp),
            revocation_basepoint: self.revocation.public_key(secp),
            payment_basepoint: self.payment.public_key(secp),
            delayed_payment_basepoint: self.delayed.public_key(secp),
            htlc_basepoint: self.htlc.public_key(secp),
        }
    }
}

pub(crate) struct Setup {
    pub(crate) secp: Secp,
    pub(crate) broadcaster: Side,
    pub(crate) countersigner: Side,
    pub(crate) commitment_secret: CommitmentSecret,
    pub(crate) params: CommitmentParams,
    pub(crate) keys: CommitmentKeys,
}

pub(crate) const NUMBER: CommitmentNumber = CommitmentNumber(42);

impl Setup {
    /// Derives what follows from the secrets.
    pub(crate) fn new(
        format: CommitmentFormat,
        sides: [Side; 2],
        secret: CommitmentSecret,
        funding: (OutPoint, Amount),
    ) -> Self {
        let secp = Secp::new();
        let [broadcaster, countersigner] = sides;
        let (own, other) = (broadcaster.public(&secp), countersigner.public(&secp));
        let keys = CommitmentKeys::derive(&secp, secret.to_point(&secp).unwrap(), &own, &other).unwrap();
        let params = CommitmentParams {
            format,
            funding: FundingOutput::new(funding.0, funding.1, own.funding, other.funding),
            broadcaster_funding_key: own.funding,
            obscure: ObscureFactor::new(&own.payment_basepoint, &other.payment_basepoint),
            dust_limit: Amount::from_sat(546),
            to_self_delay: CsvDelay::new(144),
            opener: TxSide::Broadcaster,
        };
        Self { secp, broadcaster, countersigner, commitment_secret: secret, params, keys }
    }

    /// A channel of 10,000,000 sat with secrets of our own, for what needs no vectors.
    pub(crate) fn plain(format: CommitmentFormat) -> Self {
        let key = |byte: u8| SecretKey::from_slice(&[byte; 32]).unwrap();
        let side = |base: u8| Side {
            funding: key(base),
            revocation: key(base + 1),
            payment: key(base + 2),
            delayed: key(base + 3),
            htlc: key(base + 4),
        };
        let outpoint = OutPoint { txid: Txid::from_byte_array([7; 32]), vout: 1 };
        let secret = CommitmentSecret::new([0x77; 32]);
        Self::new(format, [side(0x10), side(0x20)], secret, (outpoint, Amount::from_sat(10_000_000)))
    }

    /// Both commitment keys that the spends need, derived from the secrets.
    pub(crate) fn htlc_keys(&self) -> (SecretKey, SecretKey) {
        let derive = |base| derive_secret_key(&self.secp, base, &self.keys.per_commitment_point).unwrap();
        (derive(&self.broadcaster.htlc), derive(&self.countersigner.htlc))
    }

    pub(crate) fn build(&self, spec: &CommitmentSpec) -> CommitmentTx {
        build(&self.params, &self.keys, spec, NUMBER).unwrap()
    }

    /// The commitment as the broadcaster publishes it; the countersigner's signatures are verified on the way.
    pub(crate) fn signed(&self, commitment: &CommitmentTx) -> Transaction {
        let Self { secp, params, keys, .. } = self;
        let (_, htlc_key) = self.htlc_keys();
        let (theirs, htlcs) =
            sign_commitment(secp, params, keys, commitment, &self.countersigner.funding, &htlc_key);
        verify_commitment(secp, params, keys, commitment, &theirs, &htlcs).unwrap();
        let ours = signature::sign(secp, &commitment.sighash(params), &self.broadcaster.funding);
        let witness = witness::funding(&params.funding, &params.broadcaster_funding_key, &ours, &theirs);
        with_witness(commitment.tx.clone(), witness)
    }

    /// The second-stage transactions of the commitment in output order, each as it is published.
    pub(crate) fn second_stage(
        &self,
        commitment: &CommitmentTx,
        preimage: impl Fn(&HtlcSpec) -> Preimage,
    ) -> Vec<Transaction> {
        let stage = SecondStage::new(&self.params, &self.keys, commitment).unwrap();
        let (own_key, other_key) = self.htlc_keys();
        let transaction = |output| {
            let own = signature::sign(&self.secp, &stage.broadcaster_sighash(output), &own_key);
            let other = signature::sign(&self.secp, &stage.countersigner_sighash(output), &other_key);
            let (format, script) = (self.params.format, stage.spent_script(&output.htlc));
            let witness = match output.htlc.offered_by {
                TxSide::Broadcaster => witness::htlc_timeout(format, &other, &own, &script),
                TxSide::Countersigner => {
                    witness::htlc_success(format, &other, &own, &preimage(&output.htlc), &script)
                }
            };
            with_witness(stage.tx(output), witness)
        };
        commitment.htlcs.iter().map(transaction).collect()
    }
}

pub(crate) fn with_witness(mut tx: Transaction, witness: Witness) -> Transaction {
    tx.input[0].witness = witness;
    tx
}

/// Runs the script interpreter of Bitcoin Core on one input.
pub(crate) fn accepts(spent: &TxOut, tx: &Transaction, input: usize) -> bool {
    let bytes = bitcoin::consensus::serialize(tx);
    let flags = bitcoinconsensus::VERIFY_ALL_PRE_TAPROOT;
    let (script, value) = (spent.script_pubkey.as_bytes(), spent.value.to_sat());
    bitcoinconsensus::verify_with_flags(script, value, &bytes, None, input, flags).is_ok()
}

pub(crate) fn htlc(offered_by: TxSide, id: u64, msat: u64, preimage: &Preimage, expiry: u32) -> HtlcSpec {
    HtlcSpec {
        offered_by,
        id: HtlcId(id),
        amount: Msat::new(msat),
        payment_hash: preimage.hash(),
        expiry: CltvExpiry::new(expiry),
    }
}

/// HTLC `id` of Appendices C and F; its preimage repeats its id, but for 6, which has that of 5.
pub(crate) fn appendix_htlc(id: usize) -> (HtlcSpec, Preimage) {
    use TxSide::{Broadcaster, Countersigner};
    let table = [
        (Countersigner, 1_000_000, 500, 0),
        (Countersigner, 2_000_000, 501, 1),
        (Broadcaster, 2_000_000, 502, 2),
        (Broadcaster, 3_000_000, 503, 3),
        (Countersigner, 4_000_000, 504, 4),
        (Broadcaster, 5_000_000, 506, 5),
        (Broadcaster, 5_000_001, 505, 5),
    ];
    let (offered_by, msat, expiry, byte) = table[id];
    let preimage = Preimage::new([byte; 32]);
    (htlc(offered_by, id as u64, msat, &preimage, expiry), preimage)
}

/// The preimage of one of those HTLCs.
pub(crate) fn appendix_preimage(htlc: &HtlcSpec) -> Preimage {
    appendix_htlc(htlc.id.0 as usize).1
}

pub(crate) fn spec(
    feerate: u32,
    to_broadcaster: u64,
    to_countersigner: u64,
    htlcs: Vec<HtlcSpec>,
) -> CommitmentSpec {
    CommitmentSpec {
        feerate: FeeratePerKw::new(feerate),
        to_broadcaster: Msat::new(to_broadcaster),
        to_countersigner: Msat::new(to_countersigner),
        htlcs,
    }
}

pub(crate) fn public(secp: &Secp, key: &SecretKey) -> PublicKey {
    key.public_key(secp)
}
