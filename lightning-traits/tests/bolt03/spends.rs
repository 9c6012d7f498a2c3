//! Every way to spend every output, run by Bitcoin Core's interpreter: valid as built, refused when too early, with the
//! wrong key or the wrong preimage; and never heavier than `weight` says.
use bitcoin::absolute::LockTime;
use bitcoin::transaction::Version;
use bitcoin::{Amount, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Witness};
use lightning_traits::payment::Preimage;
use lightning_traits::tx::signature::{self, p2wsh_sighash};
use lightning_traits::tx::weight::{INPUT_BYTES, Spend};
use lightning_traits::tx::{
    CommitmentFormat, CommitmentTx, HtlcOutput, SecondStage, TxSide, derive_revocation_secret,
    derive_secret_key, script, witness,
};
use secp256k1::ecdsa::Signature;
use secp256k1::{Message, SecretKey};

use super::setup::{Setup, accepts, htlc, spec, with_witness};

const FORMATS: [CommitmentFormat; 2] =
    [CommitmentFormat::StaticRemoteKey, CommitmentFormat::AnchorsZeroFeeHtlc];
const EXPIRY: u32 = 700_000;

struct Stage {
    setup: Setup,
    format: CommitmentFormat,
    commitment: CommitmentTx,
    preimage: Preimage,
}

impl Stage {
    fn new(format: CommitmentFormat) -> Self {
        let setup = Setup::plain(format);
        let preimage = Preimage::new([0xab; 32]);
        let htlcs = vec![
            htlc(TxSide::Broadcaster, 0, 100_000_000, &preimage, EXPIRY),
            htlc(TxSide::Countersigner, 0, 200_000_000, &preimage, EXPIRY),
        ];
        let commitment = setup.build(&spec(253, 5_000_000_000, 4_700_000_000, htlcs));
        Self { setup, format, commitment, preimage }
    }

    fn htlc(&self, offered_by: TxSide) -> (HtlcOutput, ScriptBuf) {
        let found = self.commitment.htlcs.iter().find(|output| output.htlc.offered_by == offered_by);
        let scripts = script::HtlcScripts::new(self.format, &self.setup.keys).unwrap();
        (*found.unwrap(), scripts.script(&found.unwrap().htlc))
    }

    fn point_secret(&self, base: &SecretKey) -> SecretKey {
        derive_secret_key(&self.setup.secp, base, &self.setup.keys.per_commitment_point).unwrap()
    }

    fn revocation_secret(&self) -> SecretKey {
        let base = &self.setup.countersigner.revocation;
        derive_revocation_secret(&self.setup.secp, base, &self.setup.commitment_secret).unwrap()
    }

    fn delayed_script(&self) -> ScriptBuf {
        let keys = &self.setup.keys;
        script::delayed(&keys.revocation_key, self.setup.params.to_self_delay, &keys.broadcaster_delayed_key)
    }

    fn sign(&self, digest: &Message, key: &SecretKey) -> Signature {
        signature::sign(&self.setup.secp, digest, key)
    }

    /// A claim of output `vout` of the commitment, with the sequence that [`Spend`] asks for.
    fn claim(&self, spend: Spend, vout: u32, lock_time: u32) -> (TxOut, Transaction) {
        let spent = self.commitment.tx.output[vout as usize].clone();
        let outpoint = OutPoint { txid: self.commitment.txid, vout };
        let sequence = spend.sequence(self.format, self.setup.params.to_self_delay);
        (spent.clone(), claim(outpoint, &spent, sequence, lock_time))
    }

    /// Signs the claim with each key, checks that only the right one is accepted and the weight is bounded.
    fn check(
        &self,
        spend: Spend,
        (spent, tx): (TxOut, Transaction),
        script: &ScriptBuf,
        key: &SecretKey,
        finish: impl Fn(&Signature) -> Witness,
    ) {
        let attempt = |tx: &Transaction, key: &SecretKey| {
            let digest = p2wsh_sighash(tx, 0, script, spent.value, bitcoin::EcdsaSighashType::All).unwrap();
            with_witness(tx.clone(), finish(&self.sign(&digest, key)))
        };
        let signed = attempt(&tx, key);
        assert!(accepts(&spent, &signed, 0), "{spend:?} {:?}", self.format);
        assert!(
            !accepts(&spent, &attempt(&tx, &SecretKey::from_slice(&[0x99; 32]).unwrap()), 0),
            "{spend:?} foreign key"
        );
        self.check_weight(spend, &signed);

        // One block early, where there is something to wait for.
        let relative = tx.input[0].sequence;
        if relative.is_relative_lock_time() && relative.0 > 0 {
            let mut early = tx.clone();
            early.input[0].sequence = Sequence(relative.0 - 1);
            assert!(!accepts(&spent, &attempt(&early, key), 0), "{spend:?} one block early");
        }
        if spend == Spend::ReceivedAfterExpiry {
            let mut early = tx.clone();
            early.lock_time = LockTime::from_consensus(EXPIRY - 1);
            assert!(!accepts(&spent, &attempt(&early, key), 0), "{spend:?} one block early");
        }
    }

    fn check_weight(&self, spend: Spend, signed: &Transaction) {
        let mut bare = signed.clone();
        bare.input[0].witness = Witness::new();
        let witness = signed.input[0].witness.size() as u64;
        let bound = spend.witness_weight(self.format);
        // Low-S signatures have 71 or 72 bytes with the sighash byte, seldom less; expiries at most one byte less.
        assert!(witness <= bound && witness + 12 >= bound, "{spend:?}: {witness} of {bound}");
        assert_eq!(spend.input_weight(self.format), 4 * INPUT_BYTES + bound);
        assert_eq!(signed.weight().to_wu(), bare.weight().to_wu() + 2 + witness);
    }
}

fn claim(outpoint: OutPoint, spent: &TxOut, sequence: Sequence, lock_time: u32) -> Transaction {
    let script_pubkey = ScriptBuf::from_bytes(vec![0x51]);
    Transaction {
        version: Version::TWO,
        lock_time: LockTime::from_consensus(lock_time),
        input: vec![TxIn { previous_output: outpoint, sequence, ..TxIn::default() }],
        output: vec![TxOut { value: spent.value - Amount::from_sat(200), script_pubkey }],
    }
}

#[test]
fn broadcaster_balance_after_the_delay_or_punished_at_once() {
    for stage in FORMATS.map(Stage::new) {
        let (vout, script) = (stage.commitment.to_broadcaster.unwrap(), stage.delayed_script());
        let owner = stage.point_secret(&stage.setup.broadcaster.delayed);
        stage.check(Spend::Delayed, stage.claim(Spend::Delayed, vout, 0), &script, &owner, |signature| {
            witness::delayed(signature, &script)
        });
        let (spend, key) = (Spend::RevokedDelayed, stage.revocation_secret());
        stage.check(spend, stage.claim(spend, vout, 0), &script, &key, |signature| {
            witness::revoked_delayed(signature, &script)
        });
    }
}

#[test]
fn countersigner_balance() {
    for stage in FORMATS.map(Stage::new) {
        let spend = Spend::CountersignerBalance;
        let vout = stage.commitment.to_countersigner.unwrap();
        let (key, payment_key) =
            (&stage.setup.countersigner.payment, stage.setup.keys.countersigner_payment_key);
        let finish =
            |signature: &Signature| witness::countersigner_balance(stage.format, signature, &payment_key);
        // BIP 143: the script of a P2WPKH spend is that of P2PKH.
        let script = match stage.format {
            CommitmentFormat::StaticRemoteKey => {
                ScriptBuf::new_p2pkh(&bitcoin::PublicKey::new(payment_key).pubkey_hash())
            }
            CommitmentFormat::AnchorsZeroFeeHtlc => script::countersigner_csv(&payment_key),
        };
        stage.check(spend, stage.claim(spend, vout, 0), &script, key, finish);
    }
}

#[test]
fn anchors_by_their_owner_or_later_by_anyone() {
    let stage = Stage::new(CommitmentFormat::AnchorsZeroFeeHtlc);
    let sides = [
        (stage.commitment.broadcaster_anchor, &stage.setup.broadcaster.funding),
        (stage.commitment.countersigner_anchor, &stage.setup.countersigner.funding),
    ];
    for (vout, key) in sides {
        let script = script::anchor(&key.public_key(&stage.setup.secp));
        let owned = stage.claim(Spend::Anchor, vout.unwrap(), 0);
        stage.check(Spend::Anchor, owned, &script, key, |signature| witness::anchor(signature, &script));

        let (spent, tx) = stage.claim(Spend::AnchorByAnyone, vout.unwrap(), 0);
        let swept = with_witness(tx, witness::anchor_by_anyone(&script));
        assert!(accepts(&spent, &swept, 0));
        assert_eq!(swept.input[0].witness.size() as u64, Spend::AnchorByAnyone.witness_weight(stage.format));
        let mut early = swept;
        early.input[0].sequence = Sequence(15);
        assert!(!accepts(&spent, &early, 0));
    }
}

#[test]
fn htlcs_claimed_by_the_countersigner() {
    for stage in FORMATS.map(Stage::new) {
        let key = stage.point_secret(&stage.setup.countersigner.htlc);

        let (output, script) = stage.htlc(TxSide::Broadcaster);
        let spend = Spend::OfferedWithPreimage;
        stage.check(spend, stage.claim(spend, output.vout, 0), &script, &key, |signature| {
            witness::offered_with_preimage(signature, &stage.preimage, &script)
        });
        let (spent, tx) = stage.claim(spend, output.vout, 0);
        let digest = p2wsh_sighash(&tx, 0, &script, spent.value, bitcoin::EcdsaSighashType::All).unwrap();
        let wrong = Preimage::new([0xac; 32]);
        let witness = witness::offered_with_preimage(&stage.sign(&digest, &key), &wrong, &script);
        assert!(!accepts(&spent, &with_witness(tx, witness), 0), "wrong preimage");

        let (output, script) = stage.htlc(TxSide::Countersigner);
        let spend = Spend::ReceivedAfterExpiry;
        stage.check(spend, stage.claim(spend, output.vout, EXPIRY), &script, &key, |signature| {
            witness::received_after_expiry(signature, &script)
        });
    }
}

#[test]
fn htlcs_punished() {
    for stage in FORMATS.map(Stage::new) {
        let (key, revocation_key) = (stage.revocation_secret(), stage.setup.keys.revocation_key);
        for (side, spend) in
            [(TxSide::Broadcaster, Spend::RevokedOffered), (TxSide::Countersigner, Spend::RevokedReceived)]
        {
            let (output, script) = stage.htlc(side);
            stage.check(spend, stage.claim(spend, output.vout, 0), &script, &key, |signature| {
                witness::revoked_htlc(signature, &revocation_key, &script)
            });
        }
    }
}

#[test]
fn second_stage_and_what_comes_after_it() {
    for stage in FORMATS.map(Stage::new) {
        let transactions = stage.setup.second_stage(&stage.commitment, |_| stage.preimage.clone());
        let builder = SecondStage::new(&stage.setup.params, &stage.setup.keys, &stage.commitment).unwrap();
        for (tx, output) in transactions.iter().zip(&stage.commitment.htlcs) {
            let spent = &stage.commitment.tx.output[output.vout as usize];
            assert!(accepts(spent, tx, 0));
            let timeout = output.htlc.offered_by == TxSide::Broadcaster;
            stage.check_weight(if timeout { Spend::HtlcTimeout } else { Spend::HtlcSuccess }, tx);
            assert_eq!(tx.lock_time.to_consensus_u32(), if timeout { EXPIRY } else { 0 });
            assert_eq!(builder.output(&output.htlc), tx.output[0]);

            // Its output: the broadcaster's after the delay, the countersigner's at once if revoked.
            let script = builder.output_script();
            let outpoint = OutPoint { txid: tx.compute_txid(), vout: 0 };
            let owner = stage.point_secret(&stage.setup.broadcaster.delayed);
            for (spend, key) in [(Spend::Delayed, owner), (Spend::RevokedDelayed, stage.revocation_secret())]
            {
                let sequence = spend.sequence(stage.format, stage.setup.params.to_self_delay);
                let next = (tx.output[0].clone(), claim(outpoint, &tx.output[0], sequence, 0));
                stage.check(spend, next, script, &key, |signature| match spend {
                    Spend::Delayed => witness::delayed(signature, script),
                    _ => witness::revoked_delayed(signature, script),
                });
            }
        }
    }
}

/// With anchors, the countersigner's signature stays good when the broadcaster adds an input and an output for the fee.
#[test]
fn second_stage_with_a_fee_input_added() {
    let stage = Stage::new(CommitmentFormat::AnchorsZeroFeeHtlc);
    let builder = SecondStage::new(&stage.setup.params, &stage.setup.keys, &stage.commitment).unwrap();
    let (own_key, other_key) = stage.setup.htlc_keys();
    let (output, script) = stage.htlc(TxSide::Countersigner);
    let other = stage.sign(&builder.countersigner_sighash(&output), &other_key);
    let mut tx = builder.tx(&output);
    tx.input.push(TxIn { previous_output: OutPoint::null(), ..TxIn::default() });
    tx.output.push(TxOut { value: Amount::from_sat(1_000), script_pubkey: ScriptBuf::new() });
    let spent = &stage.commitment.tx.output[output.vout as usize];
    let digest = p2wsh_sighash(&tx, 0, &script, spent.value, bitcoin::EcdsaSighashType::All).unwrap();
    let own = stage.sign(&digest, &own_key);
    tx.input[0].witness = witness::htlc_success(stage.format, &other, &own, &stage.preimage, &script);
    assert!(accepts(spent, &tx, 0));
}
