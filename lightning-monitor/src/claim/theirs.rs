//! Their commitment is confirmed, and not revoked (BOLT 5, "Unilateral Close Handling: Remote Commitment Transaction").
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use bitcoin::{OutPoint, ScriptBuf, Transaction, TxOut};
use lightning_traits::Secp;
use lightning_traits::id::HtlcId;
use lightning_traits::tx::script::{HtlcScripts, countersigner_csv, countersigner_output};
use lightning_traits::tx::{HtlcSpec, Spend, TxSide};
use lightning_traits::units::BlockHeight;
use secp256k1::PublicKey;

use super::ours::{output_at, script_code};
use super::{Authority, Output};
use crate::detect::Built;
use crate::monitor::{ChannelMonitor, Stance};

impl ChannelMonitor {
    /// Our outputs of a commitment of theirs.
    pub(crate) fn outputs_of_theirs(&self, built: &Built, height: BlockHeight) -> Vec<Output> {
        let point = built.keys.per_commitment_point;
        let mut outputs: Vec<Output> = self.our_balance_in(&built.tx.tx, point, height).into_iter().collect();
        // A commitment with HTLCs cannot be built without their keys.
        let Some(scripts) = HtlcScripts::new(self.init.format, &built.keys) else { return outputs };
        for htlc in &built.tx.htlcs {
            let Some((outpoint, output)) = output_at(built, Some(htlc.vout)) else { continue };
            let script = scripts.script(&htlc.htlc);
            outputs.push(their_htlc(htlc.htlc, outpoint, output, script, point, height));
        }
        outputs
    }

    /// What is ours in a transaction that is none of the commitments we know.
    ///
    /// Our balance, always. When the peer has proven that we lost data it has told the point of its commitment, and with
    /// that the HTLCs that we still remember are found by their scripts.
    pub(crate) fn outputs_of_unknown(
        &self,
        secp: &Secp,
        transaction: &Transaction,
        height: BlockHeight,
    ) -> Vec<Output> {
        let told = match self.stance {
            Stance::DataLoss { point } => Some(point),
            Stance::Open {} | Stance::ForceClosing {} | Stance::Abandoned {} => None,
        };
        let point = told.unwrap_or(self.theirs.latest().point);
        let mut outputs: Vec<Output> = self.our_balance_in(transaction, point, height).into_iter().collect();
        let Some(keys) = told.and_then(|point| self.their_keys(secp, point)) else { return outputs };
        let mut known = self.known_htlcs(&keys, self.remembered_htlcs());
        let txid = transaction.compute_txid();
        for (vout, output) in (0..).zip(&transaction.output) {
            let Some((script, htlc)) = known.find(output) else {
                continue;
            };
            let outpoint = OutPoint { txid, vout };
            outputs.push(their_htlc(htlc, outpoint, output, script, point, height));
        }
        outputs
    }

    /// Every HTLC of a valid commitment, as theirs would show it.
    fn remembered_htlcs(&self) -> Vec<HtlcSpec> {
        let mut htlcs: BTreeMap<(TxSide, HtlcId), HtlcSpec> = BTreeMap::new();
        for (spec, us) in self.valid_specs() {
            for htlc in &spec.htlcs {
                let htlc = if us == TxSide::Broadcaster { htlc.mirror() } else { *htlc };
                htlcs.insert((htlc.offered_by, htlc.id), htlc);
            }
        }
        htlcs.into_values().collect()
    }

    /// Our balance in any commitment of theirs: its script does not depend on the commitment, so it is found even
    /// when we know nothing else of it (data loss).
    pub(crate) fn our_balance_in(
        &self,
        transaction: &Transaction,
        point: PublicKey,
        height: BlockHeight,
    ) -> Option<Output> {
        let key = self.init.ours.keys.payment_basepoint;
        let script_pubkey = countersigner_output(self.init.format, &key);
        let (vout, output) =
            (0..).zip(&transaction.output).find(|(_, output)| output.script_pubkey == script_pubkey)?;
        let script = match script_code(output) {
            Some(code) => code,
            None => countersigner_csv(&key),
        };
        Some(Output {
            outpoint: OutPoint { txid: transaction.compute_txid(), vout },
            value: output.value,
            script,
            spend: Spend::CountersignerBalance,
            authority: Authority::Point { point },
            htlc: None,
            created: height,
            spent: None,
            offered: None,
        })
    }
}

/// An HTLC output of a commitment of theirs that is not revoked.
fn their_htlc(
    htlc: HtlcSpec,
    outpoint: OutPoint,
    output: &TxOut,
    script: ScriptBuf,
    point: PublicKey,
    created: BlockHeight,
) -> Output {
    let spend = match htlc.offered_by {
        TxSide::Broadcaster => Spend::OfferedWithPreimage,
        TxSide::Countersigner => Spend::ReceivedAfterExpiry,
    };
    Output {
        outpoint,
        value: output.value,
        script,
        spend,
        authority: Authority::Point { point },
        htlc: Some(htlc),
        created,
        spent: None,
        offered: None,
    }
}
