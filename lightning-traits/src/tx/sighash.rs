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

#[cfg(test)]
mod tests {
    use alloc::vec;

    use bitcoin::hashes::Hash as _;
    use bitcoin::sighash::SighashCache;
    use bitcoin::transaction::Version;
    use bitcoin::{ScriptBuf, Transaction, TxIn, Txid, Witness};

    use super::*;

    #[test]
    fn equals_the_digest_of_bitcoin_for_every_kind_and_script_length() {
        let output = |sat: u64, length: usize| TxOut {
            value: Amount::from_sat(sat),
            script_pubkey: ScriptBuf::from_bytes(vec![0x51; length]),
        };
        let lists = [
            vec![],
            vec![output(1, 22)],
            vec![output(2, 0), output(3, 0xfc), output(4, 0xfd), output(5, 70_000)],
        ];
        for (outputs, length) in
            lists.into_iter().flat_map(|list| [0, 0xfc, 0xfd].map(|length| (list.clone(), length)))
        {
            let script = ScriptBuf::from_bytes(vec![0xac; length]);
            let input = SoleInput {
                outpoint: OutPoint { txid: Txid::from_byte_array([9; 32]), vout: 0x0102_0304 },
                sequence: Sequence(0x8123_4567),
                script: &script,
                value: Amount::from_sat(123_456_789),
                outputs: &outputs,
                lock_time: LockTime::from_consensus(0x2076_5432),
            };
            let tx = Transaction {
                version: Version::TWO,
                lock_time: input.lock_time,
                input: vec![TxIn {
                    previous_output: input.outpoint,
                    script_sig: ScriptBuf::new(),
                    sequence: input.sequence,
                    witness: Witness::new(),
                }],
                output: outputs.clone(),
            };
            for kind in [
                EcdsaSighashType::All,
                EcdsaSighashType::None,
                EcdsaSighashType::Single,
                EcdsaSighashType::AllPlusAnyoneCanPay,
                EcdsaSighashType::NonePlusAnyoneCanPay,
                EcdsaSighashType::SinglePlusAnyoneCanPay,
            ] {
                let expected =
                    SighashCache::new(&tx).p2wsh_signature_hash(0, &script, input.value, kind).unwrap();
                assert_eq!(input.digest(kind), Message::from(expected), "{kind} {length} {}", outputs.len());
            }
        }
    }
}
