//! What a new height makes possible: going to the chain in time. Claims whose time has come are in `claims.rs`.
use lightning_traits::Secp;
use lightning_traits::interface::ChannelSigner;
use lightning_traits::monitor::MonitorEvent;

use super::{Moment, Todo};
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
}
