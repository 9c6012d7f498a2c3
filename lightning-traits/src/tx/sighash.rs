//! BIP 143 digests of transactions with one input: commitment, second stage, closing.
//!
//! All that these transactions have is known before they are built, so a digest needs neither a copy of a
//! transaction nor an index that could miss. Claims with several inputs use `bitcoin`'s own cache.
//!
//! # Invariants
//! - equals `bitcoin::sighash::SighashCache` for every transaction of `tx/` (tested on all of BOLT 3's vectors)
use bitcoin::absolute::LockTime;
use bitcoin::hashes::{Hash as _, HashEngine, sha256d};
use bitcoin::{Amount, EcdsaSighashType, OutPoint, Script, Sequence, TxOut};
use secp256k1::Message;

/// What the digest of a version 2 transaction with one P2WSH input commits to.
pub(super) struct SoleInput<'a> {
    pub(super) outpoint: OutPoint,
    pub(super) sequence: Sequence,
    pub(super) script: &'a Script,
    pub(super) value: Amount,
    pub(super) outputs: &'a [TxOut],
    pub(super) lock_time: LockTime,
}

impl SoleInput<'_> {
    /// The digest to sign.
    pub(super) fn digest(&self, kind: EcdsaSighashType) -> Message {
        let mut engine = sha256d::Hash::engine();
        engine.input(&2_i32.to_le_bytes());
        // BIP 143: with ANYONECANPAY neither prevouts nor sequences; with SINGLE or NONE no sequences.
        let (base, anyone_can_pay) = match kind {
            EcdsaSighashType::All => (Outputs::All, false),
            EcdsaSighashType::AllPlusAnyoneCanPay => (Outputs::All, true),
            EcdsaSighashType::Single => (Outputs::Single, false),
            EcdsaSighashType::SinglePlusAnyoneCanPay => (Outputs::Single, true),
            EcdsaSighashType::None => (Outputs::None, false),
            EcdsaSighashType::NonePlusAnyoneCanPay => (Outputs::None, true),
        };
        let prevouts = if anyone_can_pay { NOTHING } else { hash(|engine| self.outpoint_into(engine)) };
        let sequences = match base {
            Outputs::All if !anyone_can_pay => hash(|engine| engine.input(&self.sequence.0.to_le_bytes())),
            _ => NOTHING,
        };
        let outputs = match (base, self.outputs) {
            (Outputs::All, outputs) => {
                hash(|engine| outputs.iter().for_each(|output| output_into(output, engine)))
            }
            (Outputs::Single, [first, ..]) => hash(|engine| output_into(first, engine)),
            (Outputs::Single, []) | (Outputs::None, _) => NOTHING,
        };
        engine.input(&prevouts);
        engine.input(&sequences);
        self.outpoint_into(&mut engine);
        script_into(self.script, &mut engine);
        engine.input(&self.value.to_sat().to_le_bytes());
        engine.input(&self.sequence.0.to_le_bytes());
        engine.input(&outputs);
        engine.input(&self.lock_time.to_consensus_u32().to_le_bytes());
        engine.input(&kind.to_u32().to_le_bytes());
        Message::from_digest(sha256d::Hash::from_engine(engine).to_byte_array())
    }

    fn outpoint_into(&self, engine: &mut impl HashEngine) {
        engine.input(&self.outpoint.txid.to_byte_array());
        engine.input(&self.outpoint.vout.to_le_bytes());
    }
}

/// Which outputs a signature commits to.
#[derive(Clone, Copy)]
enum Outputs {
    All,
    Single,
    None,
}

const NOTHING: [u8; 32] = [0; 32];

fn hash(feed: impl FnOnce(&mut <sha256d::Hash as bitcoin::hashes::Hash>::Engine)) -> [u8; 32] {
    let mut engine = sha256d::Hash::engine();
    feed(&mut engine);
    sha256d::Hash::from_engine(engine).to_byte_array()
}

fn output_into(output: &TxOut, engine: &mut impl HashEngine) {
    engine.input(&output.value.to_sat().to_le_bytes());
    script_into(&output.script_pubkey, engine);
}

/// A script with its length as Bitcoin's CompactSize (little-endian, unlike BOLT 1's `BigSize`).
fn script_into(script: &Script, engine: &mut impl HashEngine) {
    let length = script.len() as u64;
    if length < 0xfd {
        engine.input(&[length as u8]);
    } else if let Ok(short) = u16::try_from(length) {
        engine.input(&[0xfd]);
        engine.input(&short.to_le_bytes());
    } else {
        engine.input(&[0xfe]);
        engine.input(&(length as u32).to_le_bytes());
    }
    engine.input(script.as_bytes());
}
