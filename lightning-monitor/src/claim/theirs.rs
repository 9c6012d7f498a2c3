//! Their commitment is confirmed, and not revoked (BOLT 5, "Unilateral Close Handling: Remote Commitment Transaction").
use alloc::vec::Vec;

use bitcoin::Transaction;
use lightning_traits::tx::script::{HtlcScripts, countersigner_csv, countersigner_output};
use lightning_traits::tx::{Spend, TxSide};
use lightning_traits::units::BlockHeight;
use secp256k1::PublicKey;

use super::ours::{output_at, script_code};
use super::{Authority, Output};
use crate::detect::Built;
use crate::monitor::ChannelMonitor;

impl ChannelMonitor {
    /// Our outputs of a commitment of theirs.
    pub(crate) fn outputs_of_theirs(&self, built: &Built, height: BlockHeight) -> Vec<Output> {
        let scripts = HtlcScripts::new(self.init.format, &built.keys);
        let point = built.keys.per_commitment_point;
        let mut outputs: Vec<Output> = self.our_balance_in(&built.tx.tx, point, height).into_iter().collect();
        for htlc in &built.tx.htlcs {
            let Some((outpoint, output)) = output_at(built, Some(htlc.vout)) else { continue };
            let spend = match htlc.htlc.offered_by {
                TxSide::Broadcaster => Spend::OfferedWithPreimage,
                TxSide::Countersigner => Spend::ReceivedAfterExpiry,
            };
            outputs.push(Output {
                outpoint,
                value: output.value,
                script: scripts.script(&htlc.htlc),
                spend,
                authority: Authority::Point { point },
                htlc: Some(htlc.htlc),
                created: height,
                spent: None,
                claim: None,
            });
        }
        outputs
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
            outpoint: bitcoin::OutPoint { txid: transaction.compute_txid(), vout },
            value: output.value,
            script,
            spend: Spend::CountersignerBalance,
            authority: Authority::Point { point },
            htlc: None,
            created: height,
            spent: None,
            claim: None,
        })
    }
}
