//! What a new height makes possible: going to the chain in time. Claims whose time has come are in `claims.rs`.
use alloc::vec::Vec;

use lightning_traits::Secp;
use lightning_traits::interface::ChannelSigner;
use lightning_traits::monitor::MonitorEvent;

use super::{Moment, Outgoing, Todo};
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
            self.release_children(todo);
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
            todo.broadcasts.push(Outgoing {
                rank: self.stake_of_going(self.our_weight(), moment.tip).rank(),
                package: alloc::vec![undone.clone()],
            });
            return;
        }
        if self.is_going_to_chain() && moment.may_publish {
            self.go(secp, signer, moment, todo);
        }
    }

    /// Our commitment goes out, with a child that pays for it where it needs one.
    fn go(&self, secp: &Secp, signer: &impl ChannelSigner, moment: Moment, todo: &mut Todo) {
        let Ok((built, signed)) = self.signed_commitment(secp, signer) else {
            todo.signer_failed = true;
            return;
        };
        let stake = self.stake_of_going(self.our_weight(), moment.tip);
        let rank = stake.rank();
        let Some(parent) = self.our_parent(&built.tx, signed.clone()) else {
            todo.broadcasts.push(Outgoing { rank, package: alloc::vec![signed] });
            return;
        };
        todo.broadcasts.push(Outgoing { rank, package: self.package_out(&parent) });
        let theirs = if self.pushes_theirs(&stake, moment) { self.their_parents(secp) } else { Vec::new() };
        let packages = theirs.iter().map(|parent| self.package_out(parent));
        let packages = packages.filter(|package| !package.is_empty());
        todo.broadcasts.extend(packages.map(|package| Outgoing { rank, package }));
        let parents = core::iter::once(parent).chain(theirs);
        todo.coin_requests.extend(parents.filter_map(|parent| self.child_request(parent, moment)));
    }
}
