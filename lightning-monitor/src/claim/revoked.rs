//! A commitment that they had revoked is confirmed: everything in it is ours (BOLT 5, "Revoked Transaction Close Handling").
//!
//! Their balance and every HTLC output can be taken at once with the revocation key. Outputs are matched by script and
//! value: of the balances of an old state nothing is kept, and what is equal is equally ours.
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::cmp::Reverse;

use bitcoin::{Amount, OutPoint, ScriptBuf, Transaction, TxOut};
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
        let mut known = self.known_htlcs(keys, self.theirs.htlcs_of(number));
        let delayed_script = self.their_delayed_script(keys);
        let delayed_output = delayed_script.to_p2wsh();
        let mut outputs: Vec<Output> =
            self.our_balance_in(transaction, keys.per_commitment_point, height).into_iter().collect();
        for (vout, output) in (0..).zip(&transaction.output) {
            let (script, spend, htlc) = if output.script_pubkey == delayed_output {
                (delayed_script.clone(), Spend::RevokedDelayed, None)
            } else if let Some((script, htlc)) = known.find(output) {
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
                offered: None,
            });
        }
        outputs
    }

    /// HTLCs of a commitment of theirs with these keys, to be found by their outputs.
    pub(super) fn known_htlcs(&self, keys: &CommitmentKeys, mut htlcs: Vec<HtlcSpec>) -> KnownHtlcs {
        let mut known = KnownHtlcs::default();
        // All keys that this monitor derives have those of HTLCs.
        let Some(scripts) = HtlcScripts::new(self.init.format, keys) else { return known };
        // The order of equal outputs in a commitment; the last is found first.
        htlcs.sort_unstable_by_key(|htlc| Reverse((htlc.expiry, htlc.id)));
        for htlc in htlcs {
            let script = scripts.script(&htlc);
            let output = (script.to_p2wsh(), htlc.amount.to_amount_floor());
            known.by_output.entry(output).or_default().push((script, htlc));
        }
        known
    }
}

/// HTLCs by output script and value. Parts of one payment share a script, so the script alone would mix them up, and
/// with those that were too small for an output; what is equal in both is told apart by the order of outputs.
#[derive(Default)]
pub(super) struct KnownHtlcs {
    by_output: BTreeMap<(ScriptBuf, Amount), Vec<(ScriptBuf, HtlcSpec)>>,
}

impl KnownHtlcs {
    /// The next HTLC that this output may be, with its witness script.
    pub(super) fn find(&mut self, output: &TxOut) -> Option<(ScriptBuf, HtlcSpec)> {
        self.by_output.get_mut(&(output.script_pubkey.clone(), output.value))?.pop()
    }
}
