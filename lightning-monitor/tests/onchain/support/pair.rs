//! Both sides of one channel with all their secrets: what the monitor is told, and every transaction that either side
//! could publish, really signed.
use std::collections::BTreeMap;

use bitcoin::hashes::Hash as _;
use bitcoin::{
    Amount, EcdsaSighashType, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Txid, Witness,
    absolute::LockTime, transaction::Version,
};
use lightning_traits::codec::TlvRecords;
use lightning_traits::id::{ChannelId, ChannelKeysId, CommitmentNumber, HtlcId, NodeId, UpdateId};
use lightning_traits::interface::{ChannelSigner as _, CommitmentToSign, InputToSign, SigningKey};
use lightning_traits::monitor::{
    ChannelMonitorUpdate, CommitmentChange, MonitorInit, MonitorStep, NewMonitor, PartyTerms, RecordChange,
};
use lightning_traits::payment::{PaymentHash, Preimage};
use lightning_traits::tx::{
    CommitmentFormat, CommitmentKeys, CommitmentParams, CommitmentSpec, CommitmentTx, FundingOutput,
    HtlcOutput, HtlcSpec, ObscureFactor, SecondStage, Spend, TxSide, build, verify_commitment, witness,
};
use lightning_traits::units::{BlockHeight, CltvExpiry, CsvDelay, FeeratePerKw, Msat};

use super::chain::BASE;
use super::side::{Side, destination};

pub(crate) const CAPACITY: u64 = 10_000_000;
pub(crate) const DUST: u64 = 546;
pub(crate) const OUR_DELAY: u16 = 144;
pub(crate) const THEIR_DELAY: u16 = 100;
pub(crate) const FEERATE: u32 = 1_000;

/// An HTLC, named as the channel names it; `secret` makes its preimage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Htlc {
    pub(crate) by_us: bool,
    pub(crate) id: u64,
    pub(crate) msat: u64,
    pub(crate) secret: u8,
    pub(crate) expiry: u32,
}

impl Htlc {
    pub(crate) fn preimage(&self) -> Preimage {
        Preimage::new([self.secret; 32])
    }

    pub(crate) fn hash(&self) -> PaymentHash {
        self.preimage().hash()
    }

    /// As the commitment shows it on which we are `us`.
    pub(crate) fn seen_by(&self, us: TxSide) -> HtlcSpec {
        HtlcSpec {
            offered_by: if self.by_us { us } else { us.other() },
            id: HtlcId(self.id),
            amount: Msat::new(self.msat),
            payment_hash: self.hash(),
            expiry: CltvExpiry::new(self.expiry),
        }
    }
}

/// What a new commitment changes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Delta {
    pub(crate) add: Vec<Htlc>,
    pub(crate) fulfill: Vec<Htlc>,
    pub(crate) fail: Vec<Htlc>,
}

/// Two sides and all that they have signed.
#[derive(Clone)]
pub(crate) struct Pair {
    pub(crate) us: Side,
    pub(crate) them: Side,
    pub(crate) init: MonitorInit,
    pub(crate) our_number: CommitmentNumber,
    pub(crate) our_spec: CommitmentSpec,
    /// All of theirs there ever were; the index is the number.
    pub(crate) theirs: Vec<CommitmentSpec>,
    /// Theirs below are revoked.
    pub(crate) revoked: u64,
    pub(crate) last_update: UpdateId,
}

pub(crate) fn number(index: u64) -> CommitmentNumber {
    CommitmentNumber(index)
}

impl Pair {
    /// A new channel of [`CAPACITY`], half of it ours.
    pub(crate) fn new(format: CommitmentFormat, index: u8, we_opened: bool) -> Self {
        let keys = ChannelKeysId([index; 32]);
        let (us, them) = (Side::new(&keys.0), Side::new(&[b'p', index]));
        let outpoint = OutPoint { txid: Txid::from_byte_array([index; 32]), vout: 1 };
        let (our_keys, their_keys) = (us.public(), them.public());
        let value = Amount::from_sat(CAPACITY);
        let (opener, accepter) = if we_opened { (our_keys, their_keys) } else { (their_keys, our_keys) };
        let half = Msat::from_sat(CAPACITY / 2);
        let spec = CommitmentSpec {
            feerate: FeeratePerKw::new(FEERATE),
            to_broadcaster: half,
            to_countersigner: half,
            htlcs: Vec::new(),
        };
        let dust_limit = Amount::from_sat(DUST);
        let terms = |keys, delay| PartyTerms { keys, dust_limit, to_self_delay: CsvDelay::new(delay) };
        let digest = secp256k1::Message::from_digest([1; 32]);
        let mut init = MonitorInit {
            channel: ChannelId::v1_from_funding(outpoint),
            peer: NodeId::from(their_keys.funding),
            keys,
            funding: FundingOutput::new(outpoint, value, our_keys.funding, their_keys.funding),
            format,
            obscure: ObscureFactor::new(&opener.payment_basepoint, &accepter.payment_basepoint),
            we_opened,
            ours: terms(our_keys, OUR_DELAY),
            theirs: terms(their_keys, THEIR_DELAY),
            our_spec: spec.clone(),
            their_signature: us.secp.sign_ecdsa(&digest, &us.funding),
            their_spec: spec.clone(),
            their_point: them.point(number(0)),
            destination: destination(),
            birth: BlockHeight::new(BASE),
        };
        let mut pair = Self {
            us,
            them,
            init: init.clone(),
            our_number: number(0),
            our_spec: spec.clone(),
            theirs: vec![spec],
            revoked: 0,
            last_update: UpdateId(0),
        };
        let (params, keys, commitment) = pair.built_ours();
        init.their_signature = pair.sign_for(&pair.them, &params, &keys, &commitment).0;
        pair.init = init;
        pair
    }

    pub(crate) fn new_monitor(&self) -> NewMonitor {
        NewMonitor {
            init: self.init.clone(),
            record: RecordChange::Snapshot { bytes: vec![1] },
            extra: TlvRecords::new(),
        }
    }

    /// The next update with these steps.
    pub(crate) fn update(&mut self, steps: Vec<MonitorStep>) -> ChannelMonitorUpdate {
        self.last_update = self.last_update.next();
        ChannelMonitorUpdate {
            channel: self.init.channel,
            id: self.last_update,
            steps,
            record: RecordChange::Append { bytes: vec![2] },
            extra: TlvRecords::new(),
        }
    }

    /// We sign their next commitment.
    pub(crate) fn sign_theirs(&mut self, delta: &Delta) -> MonitorStep {
        let before = self.theirs.last().unwrap();
        let spec = applied(before, delta, TxSide::Countersigner);
        let next = number(self.theirs.len() as u64);
        let change = change(next, &spec, delta, TxSide::Countersigner);
        self.theirs.push(spec);
        MonitorStep::TheirCommitment { change, point: self.them.point(next) }
    }

    /// They revoke the one before.
    pub(crate) fn revoke_theirs(&mut self) -> MonitorStep {
        let revoked = number(self.revoked);
        self.revoked += 1;
        MonitorStep::TheirRevocation { number: revoked, secret: self.them.seed.secret(revoked).unwrap() }
    }

    /// They sign our next commitment.
    pub(crate) fn sign_ours(&mut self, delta: &Delta) -> MonitorStep {
        let spec = applied(&self.our_spec, delta, TxSide::Broadcaster);
        self.our_number = self.our_number.next();
        let change = change(self.our_number, &spec, delta, TxSide::Broadcaster);
        self.our_spec = spec;
        let (params, keys, commitment) = self.built_ours();
        let (signature, htlc_signatures) = self.sign_for(&self.them, &params, &keys, &commitment);
        MonitorStep::OurCommitment { change, signature, htlc_signatures }
    }

    /// All three steps: both sides have the change irrevocably.
    pub(crate) fn commit(&mut self, delta: &Delta) -> Vec<MonitorStep> {
        vec![self.sign_theirs(delta), self.revoke_theirs(), self.sign_ours(delta)]
    }

    /// The countersigner's signatures, checked.
    fn sign_for(
        &self,
        signer: &Side,
        params: &CommitmentParams,
        keys: &CommitmentKeys,
        commitment: &CommitmentTx,
    ) -> (secp256k1::ecdsa::Signature, Vec<secp256k1::ecdsa::Signature>) {
        let signed = signer.sign_theirs(&CommitmentToSign { params, keys, commitment }).unwrap();
        verify_commitment(&self.us.secp, params, keys, commitment, &signed.commitment, &signed.htlcs)
            .unwrap();
        (signed.commitment, signed.htlcs)
    }

    pub(crate) fn built_ours(&self) -> (CommitmentParams, CommitmentKeys, CommitmentTx) {
        let params = self.init.our_params();
        let point = self.us.point(self.our_number);
        let (own, other) = (self.us.public(), self.them.public());
        let keys = CommitmentKeys::derive(&self.us.secp, point, &own, &other).unwrap();
        let commitment = build(&params, &keys, &self.our_spec, self.our_number).unwrap();
        (params, keys, commitment)
    }

    pub(crate) fn built_theirs(&self, index: u64) -> (CommitmentParams, CommitmentKeys, CommitmentTx) {
        let params = self.init.their_params();
        let (own, other) = (self.them.public(), self.us.public());
        let keys =
            CommitmentKeys::derive(&self.us.secp, self.them.point(number(index)), &own, &other).unwrap();
        let commitment = build(&params, &keys, &self.theirs[index as usize], number(index)).unwrap();
        (params, keys, commitment)
    }

    /// Their commitment `index` as they publish it.
    pub(crate) fn their_commitment(&self, index: u64) -> Transaction {
        let (params, keys, commitment) = self.built_theirs(index);
        let (ours, _) = self.sign_for(&self.us, &params, &keys, &commitment);
        let request = CommitmentToSign { params: &params, keys: &keys, commitment: &commitment };
        let theirs = self.them.sign_ours(&request).unwrap();
        let mut tx = commitment.tx;
        let key = self.them.public().funding;
        tx.input[0].witness = witness::funding(&params.funding, &key, &theirs, &ours);
        tx
    }

    /// Our latest commitment as we publish it.
    pub(crate) fn our_commitment(&self) -> Transaction {
        let (params, keys, commitment) = self.built_ours();
        let (theirs, _) = self.sign_for(&self.them, &params, &keys, &commitment);
        let request = CommitmentToSign { params: &params, keys: &keys, commitment: &commitment };
        let ours = self.us.sign_ours(&request).unwrap();
        let mut tx = commitment.tx;
        tx.input[0].witness = witness::funding(&params.funding, &self.us.public().funding, &ours, &theirs);
        tx
    }

    /// Where an HTLC is in our commitment.
    pub(crate) fn in_ours(&self, htlc: &Htlc) -> OutPoint {
        place(&self.built_ours().2, htlc, TxSide::Broadcaster)
    }

    /// Their HTLC-success or HTLC-timeout transactions of commitment `index`, in one transaction: with anchors any number
    /// of them, behind `before` and before `behind`, pairs of foreign inputs and outputs.
    pub(crate) fn their_second_stage(
        &self,
        index: u64,
        htlcs: &[Htlc],
        before: &[(TxIn, TxOut)],
        behind: &[(TxIn, TxOut)],
    ) -> Transaction {
        let (params, keys, commitment) = self.built_theirs(index);
        let (_, our_signatures) = self.sign_for(&self.us, &params, &keys, &commitment);
        let stage = SecondStage::new(&params, &keys, &commitment).unwrap();
        let chosen: Vec<(usize, HtlcOutput)> = htlcs
            .iter()
            .map(|htlc| {
                let spec = htlc.seen_by(TxSide::Countersigner);
                let at = commitment.htlcs.iter().position(|output| output.htlc == spec);
                let at = at.expect("the HTLC has an output");
                (at, commitment.htlcs[at])
            })
            .collect();
        let pairs = before.iter().cloned();
        let pairs = pairs
            .chain(chosen.iter().map(|(_, output)| (stage.input(output), stage.output(&output.htlc))))
            .chain(behind.iter().cloned());
        let (input, output): (Vec<TxIn>, Vec<TxOut>) = pairs.unzip();
        let lock_time = chosen.iter().map(|(_, output)| stage.tx(output).lock_time);
        let lock_time = lock_time.max_by_key(|time| time.to_consensus_u32()).unwrap();
        let mut tx = Transaction { version: Version::TWO, lock_time, input, output };
        for (offset, (at, output)) in chosen.iter().enumerate() {
            let (script, index) = (stage.spent_script(&output.htlc), before.len() + offset);
            let theirs = self.them.sign_input(&InputToSign {
                transaction: &tx,
                input: index,
                value: output.htlc.amount.to_amount_floor(),
                script: &script,
                sighash: EcdsaSighashType::All,
                key: &SigningKey::Htlc(keys.per_commitment_point),
            });
            let (ours, theirs, format) = (&our_signatures[*at], theirs.unwrap(), params.format);
            tx.input[index].witness = match output.htlc.offered_by {
                TxSide::Broadcaster => witness::htlc_timeout(format, ours, &theirs, &script),
                TxSide::Countersigner => {
                    witness::htlc_success(format, ours, &theirs, &htlcs[offset].preimage(), &script)
                }
            };
        }
        tx
    }

    /// They take their balance of their commitment `index`, their delay having passed.
    pub(crate) fn their_sweep(&self, index: u64) -> Transaction {
        let (params, keys, commitment) = self.built_theirs(index);
        let script = SecondStage::new(&params, &keys, &commitment).unwrap().output_script().clone();
        let vout = commitment.to_broadcaster.unwrap();
        let value = commitment.tx.output[vout as usize].value;
        let mut tx = Transaction {
            version: Version::TWO,
            lock_time: LockTime::ZERO,
            input: vec![TxIn {
                previous_output: OutPoint { txid: commitment.txid, vout },
                script_sig: ScriptBuf::new(),
                sequence: Spend::Delayed.sequence(params.format, params.to_self_delay),
                witness: Witness::new(),
            }],
            output: vec![TxOut { value: value / 2, script_pubkey: ScriptBuf::new_op_return([7; 4]) }],
        };
        let key = SigningKey::Delayed(keys.per_commitment_point);
        let (transaction, sighash) = (&tx, EcdsaSighashType::All);
        let request = InputToSign { transaction, input: 0, value, script: &script, sighash, key: &key };
        tx.input[0].witness = witness::delayed(&self.them.sign_input(&request).unwrap(), &script);
        tx
    }

    /// They take an HTLC of our commitment: one that we offered with its preimage, one that they offered after its expiry.
    pub(crate) fn their_claim_of_ours(&self, htlc: &Htlc) -> Transaction {
        let (params, keys, commitment) = self.built_ours();
        let stage = SecondStage::new(&params, &keys, &commitment).unwrap();
        let (spend, lock_time) = if htlc.by_us {
            (Spend::OfferedWithPreimage, LockTime::ZERO)
        } else {
            (Spend::ReceivedAfterExpiry, LockTime::from_consensus(htlc.expiry))
        };
        let value = htlc.seen_by(TxSide::Broadcaster).amount.to_amount_floor();
        let script = stage.spent_script(&htlc.seen_by(TxSide::Broadcaster));
        let mut tx = Transaction {
            version: Version::TWO,
            lock_time,
            input: vec![TxIn {
                previous_output: self.in_ours(htlc),
                script_sig: ScriptBuf::new(),
                sequence: spend.sequence(params.format, params.to_self_delay),
                witness: Witness::new(),
            }],
            output: vec![TxOut { value: value / 2, script_pubkey: ScriptBuf::new_op_return([7; 4]) }],
        };
        let request = InputToSign {
            transaction: &tx,
            input: 0,
            value,
            script: &script,
            sighash: EcdsaSighashType::All,
            key: &SigningKey::Htlc(keys.per_commitment_point),
        };
        let signature = self.them.sign_input(&request).unwrap();
        tx.input[0].witness = if htlc.by_us {
            witness::offered_with_preimage(&signature, &htlc.preimage(), &script)
        } else {
            witness::received_after_expiry(&signature, &script)
        };
        tx
    }

    /// A cooperative close, signed by both.
    pub(crate) fn mutual(&self) -> Transaction {
        let funding = &self.init.funding;
        let output = |value| TxOut { value: Amount::from_sat(value), script_pubkey: destination() };
        self.signed_by_both(Transaction {
            version: Version::TWO,
            lock_time: LockTime::ZERO,
            input: vec![TxIn {
                previous_output: funding.outpoint,
                script_sig: ScriptBuf::new(),
                sequence: Sequence::MAX,
                witness: Witness::new(),
            }],
            output: vec![output(CAPACITY / 2 - 500), output(CAPACITY / 2 - 500)],
        })
    }

    /// Any spend of the funding output, with both signatures.
    pub(crate) fn signed_by_both(&self, mut tx: Transaction) -> Transaction {
        let funding = &self.init.funding;
        let (ours, theirs) =
            (self.us.sign_closing(funding, &tx).unwrap(), self.them.sign_closing(funding, &tx).unwrap());
        tx.input[0].witness = witness::funding(funding, &self.us.public().funding, &ours, &theirs);
        tx
    }
}

/// What a step may say of the next commitment.
fn change(next: CommitmentNumber, spec: &CommitmentSpec, delta: &Delta, us: TxSide) -> CommitmentChange {
    let name = |htlc: &Htlc| {
        let spec = htlc.seen_by(us);
        (spec.offered_by, spec.id)
    };
    CommitmentChange {
        number: next,
        feerate: spec.feerate,
        to_broadcaster: spec.to_broadcaster,
        to_countersigner: spec.to_countersigner,
        added: delta.add.iter().map(|htlc| htlc.seen_by(us)).collect(),
        removed: delta.fulfill.iter().chain(&delta.fail).map(name).collect(),
    }
}

/// The spec after a change; `us` says which side of it we are.
fn applied(spec: &CommitmentSpec, delta: &Delta, us: TxSide) -> CommitmentSpec {
    let mut balances = BTreeMap::from([
        (TxSide::Broadcaster, spec.to_broadcaster.to_msat()),
        (TxSide::Countersigner, spec.to_countersigner.to_msat()),
    ]);
    let mut htlcs = spec.htlcs.clone();
    let mut remove = |htlc: &Htlc| {
        let seen = htlc.seen_by(us);
        let at = htlcs.iter().position(|known| *known == seen).expect("removed what is there");
        htlcs.remove(at);
        seen
    };
    for htlc in &delta.fulfill {
        let seen = remove(htlc);
        *balances.get_mut(&seen.offered_by.other()).unwrap() += htlc.msat;
    }
    for htlc in &delta.fail {
        let seen = remove(htlc);
        *balances.get_mut(&seen.offered_by).unwrap() += htlc.msat;
    }
    for htlc in &delta.add {
        let seen = htlc.seen_by(us);
        *balances.get_mut(&seen.offered_by).unwrap() -= htlc.msat;
        htlcs.push(seen);
    }
    CommitmentSpec {
        feerate: spec.feerate,
        to_broadcaster: Msat::new(balances[&TxSide::Broadcaster]),
        to_countersigner: Msat::new(balances[&TxSide::Countersigner]),
        htlcs,
    }
}

fn place(commitment: &CommitmentTx, htlc: &Htlc, us: TxSide) -> OutPoint {
    let seen = htlc.seen_by(us);
    let output = commitment.htlcs.iter().find(|output| output.htlc == seen).expect("the HTLC has an output");
    OutPoint { txid: commitment.txid, vout: output.vout }
}
