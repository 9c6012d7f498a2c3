//! A commitment that they had revoked is confirmed: everything in it is ours (BOLT 5, "Revoked Transaction Close Handling").
//!
//! Their balance and every HTLC output can be taken at once with the revocation key. Outputs are matched by
//! script: the amounts of an old state are not kept, and two equal scripts are equally ours.
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use bitcoin::{OutPoint, ScriptBuf, Transaction};
use lightning_traits::Secp;
use lightning_traits::id::CommitmentNumber;
use lightning_traits::tx::script::{HtlcScripts, delayed};
use lightning_traits::tx::{CommitmentKeys, HtlcSpec, Spend, TxSide};
use lightning_traits::units::BlockHeight;

use super::{Authority, Output};
use crate::monitor::ChannelMonitor;

impl ChannelMonitor {
    /// The keys of their revoked commitment `number`.
    pub(crate) fn revoked_keys(&self, secp: &Secp, number: CommitmentNumber) -> Option<CommitmentKeys> {
        let point = self.secrets.get(number)?.to_point(secp).ok()?;
        self.their_keys(secp, point)
    }

    /// The script of their balance, and of every second-stage output, in their commitment with these keys.
    pub(crate) fn their_delayed_script(&self, keys: &CommitmentKeys) -> ScriptBuf {
        delayed(&keys.revocation_key, self.init.theirs.to_self_delay, &keys.broadcaster_delayed_key)
    }

    /// Every output of a revoked commitment that we can take.
    pub(crate) fn outputs_of_revoked(
        &self,
        keys: &CommitmentKeys,
        number: CommitmentNumber,
        transaction: &Transaction,
        height: BlockHeight,
    ) -> Vec<Output> {
        let txid = transaction.compute_txid();
        let mut known = self.htlc_scripts(keys, self.theirs.htlcs_of(number));
        let delayed_script = self.their_delayed_script(keys);
        let delayed_output = delayed_script.to_p2wsh();
        let mut outputs: Vec<Output> =
            self.our_balance_in(transaction, keys.per_commitment_point, height).into_iter().collect();
        for (vout, output) in (0..).zip(&transaction.output) {
            let (script, spend, htlc) = if output.script_pubkey == delayed_output {
                (delayed_script.clone(), Spend::RevokedDelayed, None)
            } else if let Some((script, htlc)) = known.get_mut(&output.script_pubkey).and_then(Vec::pop) {
                let spend = match htlc.offered_by {
                    TxSide::Broadcaster => Spend::RevokedOffered,
                    TxSide::Countersigner => Spend::RevokedReceived,
                };
                (script, spend, Some(htlc))
            } else {
                continue;
            };
            outputs.push(Output {
                outpoint: OutPoint { txid, vout },
                value: output.value,
                script,
                spend,
                authority: Authority::Revocation { number },
                htlc,
                created: height,
                spent: None,
                claim: None,
            });
        }
        outputs
    }

    /// Witness scripts of HTLCs of a commitment of theirs by output script; equal ones stand behind each other.
    pub(super) fn htlc_scripts(
        &self,
        keys: &CommitmentKeys,
        htlcs: Vec<HtlcSpec>,
    ) -> BTreeMap<ScriptBuf, Vec<(ScriptBuf, HtlcSpec)>> {
        let scripts = HtlcScripts::new(self.init.format, keys);
        let mut known: BTreeMap<ScriptBuf, Vec<(ScriptBuf, HtlcSpec)>> = BTreeMap::new();
        for htlc in htlcs {
            let script = scripts.script(&htlc);
            known.entry(script.to_p2wsh()).or_default().push((script, htlc));
        }
        known
    }
}
