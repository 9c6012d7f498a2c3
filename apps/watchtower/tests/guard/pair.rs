//! Both sides of one channel with all their keys: what a tower is told of it, and what the peer could publish.
#![allow(dead_code, reason = "each test uses its part")]

use std::sync::Arc;

use bitcoin::absolute::LockTime;
use bitcoin::opcodes::OP_TRUE;
use bitcoin::transaction::Version;
use bitcoin::{
    Amount, EcdsaSighashType, OutPoint, ScriptBuf, Transaction, TxIn, TxOut, Witness, script::Builder,
};
use lightning_chain_embedded::EmbeddedChain;
use lightning_keys::{LentKeys, Power, Seed, SeedKeys, SeedSigner};
use lightning_traits::Secp;
use lightning_traits::codec::TlvRecords;
use lightning_traits::id::{ChannelId, ChannelKeysId, CommitmentNumber, HtlcId, NodeId, UpdateId};
use lightning_traits::interface::{
    ChannelSigner as _, CommitmentToSign, InputToSign, KeysInterface as _, SigningKey,
};
use lightning_traits::monitor::{
    ChannelMonitorUpdate, CommitmentChange, MonitorInit, MonitorStep, NewMonitor, PartyTerms, RecordChange,
};
use lightning_traits::payment::Preimage;
use lightning_traits::tx::{
    CommitmentFormat, CommitmentKeys, CommitmentParams, CommitmentSpec, CommitmentTx, FundingOutput,
    HtlcSpec, ObscureFactor, SecondStage, TxSide, build, witness,
};
use lightning_traits::units::{BlockHeight, CltvExpiry, CsvDelay, FeeratePerKw, Msat};

pub const CAPACITY: u64 = 2_000_000;
pub const DELAY: u16 = 1_500;

/// A script that anybody can spend from: where test coins come from.
pub fn anyone() -> ScriptBuf {
    Builder::new().push_opcode(OP_TRUE).into_script()
}

/// Where all that is claimed goes.
pub fn destination() -> ScriptBuf {
    ScriptBuf::new_p2wsh(&Builder::new().push_int(7).into_script().wscript_hash())
}

/// An HTLC of 50,000 satoshi and its id in thousands more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Htlc {
    pub by_us: bool,
    pub id: u64,
    pub expiry: u32,
}

impl Htlc {
    pub fn preimage(&self) -> Preimage {
        Preimage::new([u8::from(self.by_us) + 10 * (self.id as u8 + 1); 32])
    }

    fn seen_by(&self, us: TxSide) -> HtlcSpec {
        HtlcSpec {
            offered_by: if self.by_us { us } else { us.other() },
            id: HtlcId(self.id),
            amount: Msat::from_sat(50_000 + 1_000 * self.id),
            payment_hash: self.preimage().hash(),
            expiry: CltvExpiry::new(self.expiry),
        }
    }
}

/// One channel.
pub struct Pair {
    pub keys: SeedKeys,
    pub us: SeedSigner,
    pub them: SeedSigner,
    pub init: MonitorInit,
    secp: Secp,
    ours: CommitmentSpec,
    our_number: CommitmentNumber,
    theirs: Vec<CommitmentSpec>,
    revoked: u64,
    last: UpdateId,
}

/// A coin of [`anyone`], ripe.
pub fn coin(chain: &EmbeddedChain) -> (OutPoint, TxOut) {
    let height = (1..chain.height()).find(|height| {
        let block = chain.block_at(*height).unwrap();
        let outpoint = OutPoint::new(block.txdata[0].compute_txid(), 0);
        let is_ours = block.txdata[0].output[0].script_pubkey == anyone().to_p2wsh();
        is_ours && chain.utxo(&outpoint).is_some() && chain.mempool_spender(&outpoint).is_none()
    });
    let coinbase = chain.block_at(height.expect("coins are left")).unwrap().txdata[0].clone();
    (OutPoint::new(coinbase.compute_txid(), 0), coinbase.output[0].clone())
}

/// A transaction that pays this from a test coin.
pub fn pay(chain: &EmbeddedChain, output: TxOut) -> Transaction {
    let (outpoint, coin) = coin(chain);
    let rest = coin.value - output.value - Amount::from_sat(2_000);
    Transaction {
        version: Version::TWO,
        lock_time: LockTime::ZERO,
        input: vec![TxIn {
            previous_output: outpoint,
            witness: Witness::from_slice(&[anyone().into_bytes()]),
            ..TxIn::default()
        }],
        output: vec![output, TxOut { value: rest, script_pubkey: anyone().to_p2wsh() }],
    }
}

impl Pair {
    /// A channel whose funding transaction is mined; half of it is ours.
    pub fn open(chain: &EmbeddedChain, index: u8, format: CommitmentFormat) -> Self {
        let seed = |byte| SeedKeys::new(Seed::new([byte; 32]), Arc::new(destination())).unwrap();
        let (keys, name) = (seed(100 + index), ChannelKeysId([index; 32]));
        let (us, them) = (keys.signer(&name), seed(200 - index).signer(&name));
        let (our_keys, their_keys) = (us.public_keys(), them.public_keys());
        let value = Amount::from_sat(CAPACITY);
        let of = |outpoint| FundingOutput::new(outpoint, value, our_keys.funding, their_keys.funding);
        let funding = pay(chain, of(OutPoint::null()).txout());
        chain.submit(&funding).unwrap();
        chain.mine(1, &anyone().to_p2wsh());
        let outpoint = OutPoint::new(funding.compute_txid(), 0);
        let half = Msat::from_sat(CAPACITY / 2);
        let spec = CommitmentSpec {
            feerate: FeeratePerKw::new(1_000),
            to_broadcaster: half,
            to_countersigner: half,
            htlcs: Vec::new(),
        };
        let dust_limit = Amount::from_sat(546);
        let terms = |keys| PartyTerms { keys, dust_limit, to_self_delay: CsvDelay::new(DELAY) };
        let zero = CommitmentNumber(0);
        let digest = secp256k1::Message::from_digest([1; 32]);
        let mut pair = Self {
            init: MonitorInit {
                channel: ChannelId::v1_from_funding(outpoint),
                peer: NodeId::from(their_keys.funding),
                keys: name,
                funding: of(outpoint),
                format,
                obscure: ObscureFactor::new(&our_keys.payment_basepoint, &their_keys.payment_basepoint),
                we_opened: true,
                ours: terms(our_keys),
                theirs: terms(their_keys),
                our_spec: spec.clone(),
                their_signature: keys.secp().sign_ecdsa(&digest, keys.node_secret()),
                their_spec: spec.clone(),
                their_point: them.commitment_point(zero).unwrap(),
                destination: destination(),
                birth: BlockHeight::new(chain.height() - 1),
            },
            secp: keys.secp().clone(),
            keys,
            us,
            them,
            ours: spec.clone(),
            our_number: zero,
            theirs: vec![spec],
            revoked: 0,
            last: UpdateId(0),
        };
        let (params, keys, commitment) = pair.built_ours();
        pair.init.their_signature = pair.sign(&pair.them, &params, &keys, &commitment).0;
        pair
    }

    pub fn lent(&self, power: Power) -> LentKeys {
        self.keys.lend(&self.init.keys, power)
    }

    pub fn new_monitor(&self) -> NewMonitor {
        NewMonitor { init: self.init.clone(), record: RecordChange::Same {}, extra: TlvRecords::new() }
    }

    pub fn update(&mut self, steps: Vec<MonitorStep>) -> ChannelMonitorUpdate {
        self.last = self.last.next();
        ChannelMonitorUpdate {
            channel: self.init.channel,
            id: self.last,
            steps,
            record: RecordChange::Same {},
            extra: TlvRecords::new(),
        }
    }

    /// The last update that was made.
    pub const fn last_update(&self) -> UpdateId {
        self.last
    }

    /// Both sides get new commitments with these HTLCs and no others; the ones before are revoked.
    pub fn commit(&mut self, htlcs: &[Htlc]) -> ChannelMonitorUpdate {
        let (before, index) =
            (self.theirs.last().unwrap().clone(), CommitmentNumber(self.theirs.len() as u64));
        let (spec, change) = next(&before, htlcs, TxSide::Countersigner, index);
        self.theirs.push(spec);
        let point = self.them.commitment_point(index).unwrap();
        let their = MonitorStep::TheirCommitment { change, point };
        let number = CommitmentNumber(self.revoked);
        self.revoked += 1;
        let secret = self.them.release_secret(number).unwrap();
        let revocation = MonitorStep::TheirRevocation { number, secret };
        self.our_number = self.our_number.next();
        let (spec, change) = next(&self.ours, htlcs, TxSide::Broadcaster, self.our_number);
        self.ours = spec;
        let (params, keys, commitment) = self.built_ours();
        let (signature, htlc_signatures) = self.sign(&self.them, &params, &keys, &commitment);
        self.update(vec![
            their,
            revocation,
            MonitorStep::OurCommitment { change, signature, htlc_signatures },
        ])
    }

    fn sign(
        &self,
        signer: &SeedSigner,
        params: &CommitmentParams,
        keys: &CommitmentKeys,
        commitment: &CommitmentTx,
    ) -> (secp256k1::ecdsa::Signature, Vec<secp256k1::ecdsa::Signature>) {
        let signed = signer.sign_theirs(&CommitmentToSign { params, keys, commitment }).unwrap();
        (signed.commitment, signed.htlcs)
    }

    fn built_ours(&self) -> (CommitmentParams, CommitmentKeys, CommitmentTx) {
        let (params, point) = (self.init.our_params(), self.us.commitment_point(self.our_number).unwrap());
        let (own, other) = (self.us.public_keys(), self.them.public_keys());
        let keys = CommitmentKeys::derive(&self.secp, point, &own, &other).unwrap();
        let commitment = build(&params, &keys, &self.ours, self.our_number).unwrap();
        (params, keys, commitment)
    }

    pub fn built_theirs(&self, index: u64) -> (CommitmentParams, CommitmentKeys, CommitmentTx) {
        let number = CommitmentNumber(index);
        let (params, point) = (self.init.their_params(), self.them.commitment_point(number).unwrap());
        let (own, other) = (self.them.public_keys(), self.us.public_keys());
        let keys = CommitmentKeys::derive(&self.secp, point, &own, &other).unwrap();
        let commitment = build(&params, &keys, &self.theirs[index as usize], number).unwrap();
        (params, keys, commitment)
    }

    /// Their commitment `index`, as they publish it.
    pub fn their_commitment(&self, index: u64) -> Transaction {
        let (params, keys, commitment) = self.built_theirs(index);
        let (ours, _) = self.sign(&self.us, &params, &keys, &commitment);
        let request = CommitmentToSign { params: &params, keys: &keys, commitment: &commitment };
        let theirs = self.them.sign_ours(&request).unwrap();
        let mut tx = commitment.tx;
        let key = self.them.public_keys().funding;
        tx.input[0].witness = witness::funding(&params.funding, &key, &theirs, &ours);
        tx
    }

    /// Our latest commitment, as we publish it.
    pub fn our_commitment(&self) -> Transaction {
        let (params, keys, commitment) = self.built_ours();
        let (theirs, _) = self.sign(&self.them, &params, &keys, &commitment);
        let request = CommitmentToSign { params: &params, keys: &keys, commitment: &commitment };
        let ours = self.us.sign_ours(&request).unwrap();
        let mut tx = commitment.tx;
        let key = self.us.public_keys().funding;
        tx.input[0].witness = witness::funding(&params.funding, &key, &ours, &theirs);
        tx
    }

    /// Their HTLC-success or HTLC-timeout transaction of commitment `index`; a test coin pays where it pays no fee.
    pub fn their_second_stage(&self, chain: &EmbeddedChain, index: u64, htlc: &Htlc) -> Transaction {
        let (params, keys, commitment) = self.built_theirs(index);
        let (_, our_signatures) = self.sign(&self.us, &params, &keys, &commitment);
        let stage = SecondStage::new(&params, &keys, &commitment).unwrap();
        let spec = htlc.seen_by(TxSide::Countersigner);
        let at = commitment.htlcs.iter().position(|output| output.htlc == spec).unwrap();
        let output = commitment.htlcs[at];
        let mut tx = stage.tx(&output);
        if params.format == CommitmentFormat::AnchorsZeroFeeHtlc {
            let (outpoint, coin) = coin(chain);
            let witness = Witness::from_slice(&[anyone().into_bytes()]);
            tx.input.push(TxIn { previous_output: outpoint, witness, ..TxIn::default() });
            let value = coin.value - Amount::from_sat(5_000);
            tx.output.push(TxOut { value, script_pubkey: anyone().to_p2wsh() });
        }
        let script = stage.spent_script(&output.htlc);
        let theirs = self.them.sign_input(&InputToSign {
            transaction: &tx,
            input: 0,
            value: output.htlc.amount.to_amount_floor(),
            script: &script,
            sighash: EcdsaSighashType::All,
            key: &SigningKey::Htlc(keys.per_commitment_point),
        });
        let (ours, theirs, format) = (&our_signatures[at], theirs.unwrap(), params.format);
        tx.input[0].witness = match output.htlc.offered_by {
            TxSide::Broadcaster => witness::htlc_timeout(format, ours, &theirs, &script),
            TxSide::Countersigner => witness::htlc_success(format, ours, &theirs, &htlc.preimage(), &script),
        };
        tx
    }

    /// The outputs of their commitment `index` that the revocation key opens.
    pub fn at_stake(&self, index: u64) -> Vec<OutPoint> {
        let (_, _, commitment) = self.built_theirs(index);
        let htlcs = commitment.htlcs.iter().map(|htlc| htlc.vout);
        let vouts: Vec<u32> = htlcs.chain(commitment.to_broadcaster).collect();
        vouts.into_iter().map(|vout| OutPoint::new(commitment.txid, vout)).collect()
    }

    /// Our balance in it, which nobody else can take.
    pub fn our_balance(&self, index: u64) -> OutPoint {
        let (_, _, commitment) = self.built_theirs(index);
        OutPoint::new(commitment.txid, commitment.to_countersigner.unwrap())
    }
}

fn next(
    before: &CommitmentSpec,
    htlcs: &[Htlc],
    us: TxSide,
    number: CommitmentNumber,
) -> (CommitmentSpec, CommitmentChange) {
    let half = CAPACITY / 2 * 1_000;
    let htlcs: Vec<HtlcSpec> = htlcs.iter().map(|htlc| htlc.seen_by(us)).collect();
    let left = |side: TxSide| {
        let offered = htlcs.iter().filter(|htlc| htlc.offered_by == side).map(|htlc| htlc.amount.to_msat());
        Msat::new(half - offered.sum::<u64>())
    };
    let (to_broadcaster, to_countersigner) = (left(TxSide::Broadcaster), left(TxSide::Countersigner));
    let change = CommitmentChange {
        number,
        feerate: before.feerate,
        to_broadcaster,
        to_countersigner,
        added: htlcs.iter().filter(|htlc| !before.htlcs.contains(htlc)).copied().collect(),
        removed: before
            .htlcs
            .iter()
            .filter(|htlc| !htlcs.contains(htlc))
            .map(|htlc| (htlc.offered_by, htlc.id))
            .collect(),
    };
    (CommitmentSpec { feerate: before.feerate, to_broadcaster, to_countersigner, htlcs }, change)
}
