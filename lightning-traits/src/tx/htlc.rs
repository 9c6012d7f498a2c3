//! Second-stage transactions: HTLC-timeout and HTLC-success (BOLT 3).
//!
//! Only the broadcaster of a commitment uses them, each with the countersigner's signature. All of one
//! commitment share their output script, so [`SecondStage`] makes it once.
//!
//! # Invariants
//! - a digest is computed without building a transaction
//!
//! See also `witness.rs` for what makes them valid.
use bitcoin::absolute::LockTime;
use bitcoin::transaction::Version;
use bitcoin::{Amount, EcdsaSighashType, OutPoint, ScriptBuf, Transaction, TxIn, TxOut, Txid, Witness};
use secp256k1::Message;

use super::commitment::{CommitmentTx, HtlcOutput};
use super::format::CommitmentFormat;
use super::keys::CommitmentKeys;
use super::script::{self, HtlcScripts};
use super::sighash::SoleInput;
use super::spec::{CommitmentParams, HtlcSpec, TxSide};
use super::trim;
use crate::units::FeeratePerKw;

/// The second-stage transactions of one commitment.
#[derive(Clone, Debug)]
pub struct SecondStage<'a> {
    format: CommitmentFormat,
    feerate: FeeratePerKw,
    commitment: Txid,
    scripts: HtlcScripts<'a>,
    delayed_script: ScriptBuf,
    delayed_output: ScriptBuf,
}

impl<'a> SecondStage<'a> {
    /// Those of `commitment`, which was built from the same parameters and keys; `None` when these are for no HTLCs.
    #[must_use]
    pub fn new(
        params: &CommitmentParams,
        keys: &'a CommitmentKeys,
        commitment: &CommitmentTx,
    ) -> Option<Self> {
        let scripts = HtlcScripts::new(params.format, keys)?;
        let delayed_script =
            script::delayed(&keys.revocation_key, params.to_self_delay, &keys.broadcaster_delayed_key);
        Some(Self {
            format: params.format,
            feerate: commitment.feerate,
            commitment: commitment.txid,
            scripts,
            delayed_output: delayed_script.to_p2wsh(),
            delayed_script,
        })
    }

    /// The transaction without its witness.
    #[must_use]
    pub fn tx(&self, output: &HtlcOutput) -> Transaction {
        Transaction {
            version: Version::TWO,
            lock_time: lock_time(&output.htlc),
            input: alloc::vec![self.input(output)],
            output: alloc::vec![self.output(&output.htlc)],
        }
    }

    /// Its input; with anchors it can stand beside others in a transaction that pays a fee.
    #[must_use]
    pub fn input(&self, output: &HtlcOutput) -> TxIn {
        TxIn {
            previous_output: self.outpoint(output),
            script_sig: ScriptBuf::new(),
            sequence: self.format.commitment_spend_sequence(),
            witness: Witness::new(),
        }
    }

    /// Its output: what the HTLC carries, less the fee of this stage.
    #[must_use]
    pub fn output(&self, htlc: &HtlcSpec) -> TxOut {
        let fee = trim::htlc_fee(self.format, self.feerate, htlc.offered_by);
        // No HTLC with an output is below its fee, see `trim`.
        let value = htlc.amount.to_amount_floor().checked_sub(fee).unwrap_or(Amount::ZERO);
        TxOut { value, script_pubkey: self.delayed_output.clone() }
    }

    /// The witness script of the HTLC output that is spent.
    #[must_use]
    pub fn spent_script(&self, htlc: &HtlcSpec) -> ScriptBuf {
        self.scripts.script(htlc)
    }

    /// The witness script of the output: the same for all, the broadcaster's after the delay, or to be punished.
    #[must_use]
    pub const fn output_script(&self) -> &ScriptBuf {
        &self.delayed_script
    }

    /// What the countersigner signs.
    #[must_use]
    pub fn countersigner_sighash(&self, output: &HtlcOutput) -> Message {
        self.sighash(output, self.format.rules().countersigner_htlc_sighash)
    }

    /// What the broadcaster signs when the transaction goes out as it is. Where fee-paying inputs are added, the
    /// broadcaster signs the whole of that transaction instead.
    #[must_use]
    pub fn broadcaster_sighash(&self, output: &HtlcOutput) -> Message {
        self.sighash(output, EcdsaSighashType::All)
    }

    fn sighash(&self, output: &HtlcOutput, kind: EcdsaSighashType) -> Message {
        let script = self.spent_script(&output.htlc);
        let input = SoleInput {
            outpoint: self.outpoint(output),
            sequence: self.format.commitment_spend_sequence(),
            script: &script,
            value: output.htlc.amount.to_amount_floor(),
            outputs: &[self.output(&output.htlc)],
            lock_time: lock_time(&output.htlc),
        };
        input.digest(kind)
    }

    const fn outpoint(&self, output: &HtlcOutput) -> OutPoint {
        OutPoint { txid: self.commitment, vout: output.vout }
    }
}

/// BOLT 3: "locktime: `0` for HTLC-success, `cltv_expiry` for HTLC-timeout".
fn lock_time(htlc: &HtlcSpec) -> LockTime {
    match htlc.offered_by {
        TxSide::Broadcaster => LockTime::from_consensus(htlc.expiry.get()),
        TxSide::Countersigner => LockTime::ZERO,
    }
}
