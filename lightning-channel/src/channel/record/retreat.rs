//! The way back from a commitment of ours that the monitor does not take.
//!
//! A monitor that has gone to the chain by itself refuses every newer commitment of ours, since revoking the one that is
//! out would give all of it to the peer. Until the write with such a commitment is durable, what was before it is kept, and
//! what came after it and stands without it.
//!
//! # Invariants
//! - of what is taken back nothing has left: revocation and signature wait for the very write that is refused (I3)
//! - what stands without it is kept whole: preimages, revocations of the peer, outcomes, what was taken over
use alloc::boxed::Box;
use alloc::vec::Vec;

use lightning_traits::id::UpdateId;
use lightning_traits::monitor::MonitorStep;

use super::facts::Entry;
use crate::commitments::{Change, Commitments, Removal};

/// What is left when a commitment of ours is taken back.
#[derive(Clone, Debug)]
pub(crate) struct Retreat {
    /// The write that has the commitment.
    write: UpdateId,
    before: Box<Commitments>,
    /// What the monitor was to learn by the same write, before the commitment.
    steps: Vec<MonitorStep>,
    since: Vec<Since>,
    /// Whether a commitment of theirs was signed since: that signature has not left either.
    is_signed: bool,
}

/// What came after the commitment.
#[derive(Clone, Debug)]
enum Since {
    Change(Change),
    Step(MonitorStep),
}

impl Retreat {
    pub(super) fn new(write: UpdateId, before: Commitments, steps: Vec<MonitorStep>) -> Self {
        Self { write, before: Box::new(before), steps, since: Vec::new(), is_signed: false }
    }

    pub(super) const fn write(&self) -> UpdateId {
        self.write
    }

    /// Whether our last signature waits for the write of the commitment, or for a later one.
    pub(super) const fn is_signed(&self) -> bool {
        self.is_signed
    }

    pub(super) fn note(&mut self, entry: &Entry) {
        let Entry::Commitments { change } = entry else { return };
        match change {
            Change::Signed {} => self.is_signed = true,
            Change::OurRemove { .. }
            | Change::TheirRemove { removal: Removal::Fulfill { .. }, .. }
            | Change::Revoked { .. }
            | Change::ResolvedOnChain { .. }
            | Change::NoticeDone { .. } => self.since.push(Since::Change(change.clone())),
            // The commitment itself, and updates that nothing committed to: they end with the channel.
            Change::Committed { .. }
            | Change::OurAdd { .. }
            | Change::OurFee { .. }
            | Change::TheirAdd { .. }
            | Change::TheirRemove { .. }
            | Change::TheirFee { .. }
            | Change::TheirReady { .. }
            | Change::Dropped {} => {}
        }
    }

    pub(super) fn step(&mut self, step: &MonitorStep) {
        self.since.push(Since::Step(step.clone()));
    }

    /// The commitments as if the refused one had never come, and what the monitor must still learn.
    pub(super) fn take(self) -> (Commitments, Vec<MonitorStep>) {
        let (mut commitments, mut steps) = (*self.before, self.steps);
        for since in self.since {
            match since {
                Since::Change(change) => steps.extend(commitments.evolve(&change).steps),
                Since::Step(step) => steps.push(step),
            }
        }
        // What was told of these already is told nowhere else.
        drop(commitments.evolve(&Change::Dropped {}));
        (commitments, steps)
    }
}
