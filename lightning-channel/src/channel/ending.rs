//! Leaving: a channel without money is dropped, one with money goes to the chain.
//!
//! # Invariants
//! - leaving never fails and never loses the commitments
//! - `DataLoss` never leads to a broadcast of ours
//! - what the peer is told of the end is durable before: it may then say no more than `error`, to which a node that has
//!   forgotten its `DataLoss` in a crash would answer with an old commitment (RELIABILITY B1)
use alloc::boxed::Box;

use bitcoin::Transaction;
use lightning_traits::event::Event;
use lightning_traits::interface::KeysInterface;
use lightning_traits::monitor::MonitorStep;

use super::context::Context;
use super::footing::Footing;
use super::opening::Opening;
use super::phase::{Ending, PhaseName};
use super::record::{Entry, Milestone};
use super::resolving::Resolving;
use super::{Channel, Phase, closing, error_message};
use crate::commitments::Change;

impl<K: KeysInterface> Channel<K> {
    /// Drops a channel that is not funded.
    pub(super) fn abandon(&mut self, cx: &Context<'_, K>, reason: &str, tell_peer: bool) {
        let ending = Ending::NeverFunded { text: reason.as_bytes().to_vec() };
        // The user is told of what it has asked for or agreed to. Anybody can propose something and go away again, as often as
        // it likes (RELIABILITY A3).
        let is_known = self.phase() != PhaseName::Requested;
        let event =
            Event::ChannelClosed { channel: self.temporary, peer: self.peer, reason: ending.reason() };
        // The peer may know it by either name.
        let error = tell_peer.then(|| error_message(self.id, &reason));
        let members = match &mut self.phase {
            Phase::Opening(Opening::AwaitingSigned(phase)) => phase.members.take(),
            Phase::Funded(link) => link.state().held().map(|(members, _)| members.to_vec()),
            _ => None,
        };
        self.phase = Phase::Closed(ending);
        let (_, mut step) = self.split(cx);
        step.effects.seal(error);
        if is_known {
            step.effects.event(event);
        }
        if let Some(members) = members {
            step.effects.funding_shared(members);
        }
    }

    /// Leaves for the chain: the monitor is told to go there.
    pub(super) fn leave(&mut self, cx: &Context<'_, K>, ending: Ending) {
        let ending = self.without_broadcast(ending);
        // What only we could fund, and have not, leaves nothing on chain.
        let ending = match &self.phase {
            Phase::Funded(link) if link.state().held().is_some_and(|(_, is_ours)| is_ours) => {
                let text = alloc::format!("{}", ending.reason());
                match ending {
                    Ending::NeverFunded { .. } => ending,
                    _ => Ending::NeverFunded { text: text.into_bytes() },
                }
            }
            _ => ending,
        };
        let told = match &ending {
            Ending::DataLoss { point } => Some(MonitorStep::DataLoss { point: *point }),
            Ending::ForcedByUser {} | Ending::PeerViolation { .. } | Ending::PeerError { .. } => {
                Some(MonitorStep::ForceClose {})
            }
            // There is nothing to broadcast, and nothing to wait for.
            Ending::NeverFunded { .. } => Some(MonitorStep::Abandoned {}),
            // These follow the chain.
            Ending::Cooperative {}
            | Ending::HtlcDeadline {}
            | Ending::ByPeerOnChain {}
            | Ending::Breach {}
            | Ending::FutureOnChain {} => None,
        };
        self.leave_telling(cx, ending, told);
    }

    /// What may be revoked is not published, whatever the reason to close.
    fn without_broadcast(&self, ending: Ending) -> Ending {
        match (&self.phase, &ending) {
            (
                Phase::Funded(link),
                Ending::ForcedByUser {} | Ending::PeerViolation { .. } | Ending::PeerError { .. },
            ) if self.doubted => Ending::DataLoss { point: link.state().commitments().their_point() },
            _ => ending,
        }
    }

    /// Follows to the chain, where the monitor or a transaction is already.
    pub(super) fn follow(&mut self, cx: &Context<'_, K>, ending: Ending) {
        self.leave_telling(cx, ending, None);
    }

    fn leave_telling(&mut self, cx: &Context<'_, K>, ending: Ending, monitor_step: Option<MonitorStep>) {
        // The placeholder is replaced below: nothing in between can fail.
        let placeholder = Phase::Closed(ending.clone());
        let Phase::Funded(link) = core::mem::replace(&mut self.phase, placeholder) else { return };
        let mut state = link.into_state();
        let (_, mut step) = self.split(cx);
        if state.commitments().has_uncommitted() {
            state.record(Entry::Commitments { change: Change::Dropped {} }, &mut step);
        }
        // A preimage among them is of use on the chain.
        state.record_held(&mut step);
        if matches!(ending, Ending::NeverFunded { .. }) {
            state.fail_all(&mut step);
        }
        // After a restart one may be a part of a payment that was claimed elsewhere (RELIABILITY J1).
        let withheld = state.take_withheld();
        let members = state.held().map(|(members, _)| members.to_vec());
        let agreed: alloc::vec::Vec<Transaction> = closing::agreed(&state).cloned().collect();
        let was_agreed = !agreed.is_empty();
        let told = was_agreed && !state.facts().untold.contains(&Milestone::Closed {});
        let names = (state.scid(), state.facts().alias);
        let (commitments, facts) = state.into_parts();
        let terms = commitments.terms();
        let event =
            Event::ChannelClosed { channel: terms.channel, peer: terms.peer, reason: ending.reason() };
        let given_up = matches!(ending, Ending::NeverFunded { .. });
        let footing = Footing::new(facts.funder, facts.confirmation, cx.height, given_up);
        let resolving = Box::new(Resolving::new(commitments, ending, names, footing, agreed, told));
        let error = resolving.error();
        step.journal.want_snapshot();
        if let Some(monitor_step) = monitor_step {
            step.journal.step(monitor_step);
        }
        step.effects.seal(None);
        let mut gated = resolving.persist(&mut step);
        if let Some(error) = error {
            gated.last(error);
        }
        if !was_agreed {
            gated.event(event);
        }
        if let Some(members) = members {
            gated.funding_shared(members);
        }
        for htlc in withheld {
            gated.incoming(htlc);
        }
        self.phase = Phase::Resolving(resolving);
    }

    /// Broadcasts again what is not in a block yet: our funding transaction, or the closing transactions that both signed.
    pub(super) fn rebroadcast(&mut self, cx: &Context<'_, K>) {
        let (phase, mut step) = self.split(cx);
        let again: alloc::vec::Vec<Transaction> = match phase {
            Phase::Funded(link) => {
                let state = link.state();
                state.unconfirmed_transaction().into_iter().chain(closing::agreed(state)).cloned().collect()
            }
            Phase::Resolving(state) => {
                state.unconfirmed_transaction().into_iter().chain(state.agreed()).cloned().collect()
            }
            Phase::Opening(_) | Phase::Closed(_) => return,
        };
        let mut gated = step.effects.after_all();
        for transaction in again {
            gated.broadcast(alloc::vec![transaction]);
        }
    }
}
