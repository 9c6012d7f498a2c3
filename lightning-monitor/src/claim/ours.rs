//! Our own commitment is confirmed (BOLT 5, "Unilateral Close Handling: Local Commitment Transaction").
use alloc::vec::Vec;

use bitcoin::{OutPoint, ScriptBuf, TxOut};
use lightning_traits::id::HtlcId;
use lightning_traits::payment::PaymentHash;
use lightning_traits::tx::script::delayed;
use lightning_traits::tx::{HtlcSpec, SecondStage, Spend, TxSide};
use lightning_traits::units::BlockHeight;

use super::{Authority, Output};
use crate::detect::Built;
use crate::monitor::ChannelMonitor;

impl ChannelMonitor {
    /// Our outputs of our own commitment.
    pub(crate) fn outputs_of_ours(&self, built: &Built, height: BlockHeight) -> Vec<Output> {
        let (params, point) = (self.init.our_params(), built.keys.per_commitment_point);
        let keys = &built.keys;
        let mut outputs = Vec::new();
        if let Some((outpoint, output)) = output_at(built, built.tx.to_broadcaster) {
            outputs.push(Output {
                outpoint,
                value: output.value,
                script: delayed(&keys.revocation_key, params.to_self_delay, &keys.broadcaster_delayed_key),
                spend: Spend::Delayed,
                authority: Authority::Point { point },
                htlc: None,
                created: height,
                spent: None,
                offered: None,
            });
        }
        // A commitment with HTLCs cannot be built without their keys.
        let Some(stage) = SecondStage::new(&params, keys, &built.tx) else { return outputs };
        for (htlc, signature) in built.tx.htlcs.iter().zip(&self.ours.htlc_signatures) {
            let Some((outpoint, output)) = output_at(built, Some(htlc.vout)) else { continue };
            let spend = match htlc.htlc.offered_by {
                TxSide::Broadcaster => Spend::HtlcTimeout,
                TxSide::Countersigner => Spend::HtlcSuccess,
            };
            outputs.push(Output {
                outpoint,
                value: output.value,
                script: stage.spent_script(&htlc.htlc),
                spend,
                authority: Authority::SecondStage { point, signature: *signature },
                htlc: Some(htlc.htlc),
                created: height,
                spent: None,
                offered: None,
            });
        }
        outputs
    }
}

/// An output of a commitment by its index.
pub(super) fn output_at(built: &Built, vout: Option<u32>) -> Option<(OutPoint, &TxOut)> {
    let vout = vout?;
    let output = built.tx.tx.output.get(vout as usize)?;
    Some((OutPoint { txid: built.tx.txid, vout }, output))
}

impl ChannelMonitor {
    /// HTLCs that we offered, in any commitment that could have confirmed, without an output among `outputs`.
    ///
    /// Trimmed ones, and those that one side had and the confirmed commitment has not: they cannot be claimed
    /// from the chain any more, so they fail once the commitment is irrevocable (RELIABILITY D1-D3).
    pub(crate) fn missing_from(&self, outputs: &[Output]) -> Vec<(HtlcId, PaymentHash)> {
        let mut missing: Vec<(HtlcId, PaymentHash)> = self
            .valid_specs()
            .flat_map(|(spec, us)| offered(&spec.htlcs, us))
            .filter(|(id, _)| {
                let has = |output: &Output| {
                    output.is_offered_by_us() && output.htlc.is_some_and(|htlc| htlc.id == *id)
                };
                !outputs.iter().any(has)
            })
            .collect();
        missing.sort_unstable();
        missing.dedup();
        missing
    }
}

fn offered(htlcs: &[HtlcSpec], by: TxSide) -> impl Iterator<Item = (HtlcId, PaymentHash)> {
    htlcs.iter().filter(move |htlc| htlc.offered_by == by).map(|htlc| (htlc.id, htlc.payment_hash))
}

/// The script code that BIP 143 asks for in place of the witness script of a P2WPKH output.
pub(super) fn script_code(output: &TxOut) -> Option<ScriptBuf> {
    output.script_pubkey.p2wpkh_script_code()
}
