//! Outputs of what spends the HTLC outputs of a commitment.
//!
//! Ours after our HTLC-success or HTLC-timeout: locked for our delay. Theirs after a second-stage transaction of
//! a revoked commitment: ours to take at once. With anchors such a transaction may hold foreign inputs and
//! outputs in any order, so outputs are found by their script (RELIABILITY D10).
use alloc::vec::Vec;

use bitcoin::{OutPoint, ScriptBuf, Transaction};
use lightning_traits::Secp;
use lightning_traits::tx::Spend;
use lightning_traits::tx::script::delayed;
use lightning_traits::units::BlockHeight;

use super::{Authority, Output};
use crate::monitor::ChannelMonitor;

impl ChannelMonitor {
    /// The outputs that matter of `transaction`, which spends `spent`.
    pub(crate) fn outputs_of_second_stage(
        &self,
        secp: &Secp,
        spent: &Output,
        transaction: &Transaction,
        height: BlockHeight,
    ) -> Vec<Output> {
        let Some((script, spend, authority)) = self.next_stage(secp, spent) else { return Vec::new() };
        let script_pubkey = script.to_p2wsh();
        let txid = transaction.compute_txid();
        (0..)
            .zip(&transaction.output)
            .filter(|(_, output)| output.script_pubkey == script_pubkey)
            .map(|(vout, output)| Output {
                outpoint: OutPoint { txid, vout },
                value: output.value,
                script: script.clone(),
                spend,
                authority: authority.clone(),
                htlc: None,
                created: height,
                spent: None,
                offered: None,
            })
            .collect()
    }

    /// What a second-stage transaction for this output pays to.
    fn next_stage(&self, secp: &Secp, spent: &Output) -> Option<(ScriptBuf, Spend, Authority)> {
        match &spent.authority {
            Authority::SecondStage { point, .. } => {
                let keys = self.our_keys(secp, *point)?;
                let delay = self.init.ours.to_self_delay;
                let script = delayed(&keys.revocation_key, delay, &keys.broadcaster_delayed_key);
                Some((script, Spend::Delayed, Authority::Point { point: *point }))
            }
            Authority::Revocation { number } if spent.htlc.is_some() => {
                let keys = self.revoked_keys(secp, *number)?;
                let authority = Authority::Revocation { number: *number };
                Some((self.their_delayed_script(&keys), Spend::RevokedDelayed, authority))
            }
            Authority::Point { .. } | Authority::Revocation { .. } => None,
        }
    }
}
