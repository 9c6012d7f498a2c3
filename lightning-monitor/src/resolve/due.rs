//! What a new height makes possible: going to the chain in time, claims whose time has come.
use alloc::vec::Vec;

use bitcoin::{OutPoint, Transaction};
use lightning_traits::Secp;
use lightning_traits::interface::ChannelSigner;
use lightning_traits::monitor::MonitorEvent;

use super::{CoinRequest, Moment, Rates, Todo};
use crate::claim::{Authority, BuildError, Claim, Output};
use crate::detect::Built;
use crate::monitor::{ChannelMonitor, Duty, Stance};

impl ChannelMonitor {
    /// The chain has reached the tip of `moment`, or something was learnt there.
    pub(crate) fn on_tip(
        &mut self,
        secp: &Secp,
        signer: &impl ChannelSigner,
        moment: Moment,
        todo: &mut Todo,
    ) {
        self.retry_pending(secp, signer, todo);
        if self.closing.is_some() {
            self.claim_due(secp, signer, moment, todo);
            self.settle(moment.tip, todo);
            return;
        }
        if !self.pending.is_empty() {
            // Something has spent the funding output already.
            return;
        }
        if self.is_abandoned() && !self.told.abandoned {
            // The channel may still have something to tell its user: not before it is done is the record beside us archived.
            self.told.abandoned = true;
            todo.events.push(MonitorEvent::Resolved { channel: self.init.channel });
            todo.changed = true;
        }
        if self.duty == Duty::Punish {
            return;
        }
        if self.stance == (Stance::Open {}) && self.deadline().is_some_and(|deadline| deadline <= moment.tip)
        {
            self.stance = Stance::ForceClosing {};
            todo.events.push(MonitorEvent::ForceClosed { channel: self.init.channel });
            todo.changed = true;
        }
        if let Some(undone) = &self.undone {
            todo.broadcasts.push(undone.clone());
            return;
        }
        if self.is_going_to_chain() && moment.may_publish {
            match self.signed_commitment(secp, signer) {
                Ok(transaction) => todo.broadcasts.push(transaction),
                Err(_) => todo.signer_failed = true,
            }
        }
    }

    /// Broadcasts, again where need be, the claims whose time has come.
    fn claim_due(&mut self, secp: &Secp, signer: &impl ChannelSigner, moment: Moment, todo: &mut Todo) {
        let Some(closing) = &self.closing else { return };
        let is_ours_to_do = |output: &Output| {
            self.duty == Duty::Enforce || matches!(output.authority, Authority::Revocation { .. })
        };
        let due = |output: &&Output| {
            output.spent.is_none() && is_ours_to_do(output) && self.is_claimable(output, moment.tip)
        };
        let due: Vec<Output> = closing.outputs.iter().filter(due).cloned().collect();
        let mut ours: Option<Built> = None;
        for output in due {
            if let Some(claim) = output.claim {
                todo.broadcasts.push(claim);
                continue;
            }
            if output.is_second_stage() && ours.is_none() {
                match self.build_ours(secp, signer) {
                    Ok(built) => ours = Some(built),
                    Err(_) => {
                        todo.signer_failed = true;
                        continue;
                    }
                }
            }
            self.claim(secp, signer, &output, ours.as_ref(), moment.rates, todo);
        }
    }

    fn claim(
        &mut self,
        secp: &Secp,
        signer: &impl ChannelSigner,
        output: &Output,
        ours: Option<&Built>,
        rates: Rates,
        todo: &mut Todo,
    ) {
        let first = if output.is_urgent() { rates.urgent } else { rates.background };
        // What cannot pay for haste is better claimed slowly than not at all.
        for feerate in [first, rates.background.min(first)] {
            match self.build_claim(secp, signer, output, ours, feerate) {
                Ok(Claim::Ready(transaction)) => {
                    todo.broadcasts.push(transaction.clone());
                    self.keep_claim(output.outpoint, transaction);
                    todo.changed = true;
                    return;
                }
                Ok(Claim::NeedsCoins(needed)) => {
                    todo.coin_requests.push(CoinRequest { outpoint: output.outpoint, needed, feerate });
                    return;
                }
                Ok(Claim::Uneconomic) => {}
                Err(BuildError::Signer(_) | BuildError::Inconsistent) => {
                    todo.signer_failed = true;
                    return;
                }
            }
        }
    }

    /// Remembers the claim of an output, to broadcast it again.
    pub(crate) fn keep_claim(&mut self, outpoint: OutPoint, transaction: Transaction) {
        let outputs = self.closing.iter_mut().flat_map(|closing| &mut closing.outputs);
        if let Some(output) = outputs.into_iter().find(|output| output.outpoint == outpoint) {
            output.claim = Some(transaction);
        }
    }
}
