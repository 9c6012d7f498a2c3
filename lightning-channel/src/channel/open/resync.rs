//! Reconnection of a funded channel (BOLT 2, "Message Retransmission").
//!
//! # Invariants
//! - whatever is sent again waits for the writes that its first sending waited for: they may still be on their way
use alloc::vec::Vec;

use lightning_traits::id::CommitmentNumber;
use lightning_traits::interface::KeysInterface;
use lightning_traits::wire::{ChannelReestablish, Message};

use super::Funded;
use crate::channel::closing;
use crate::channel::record::{Entry, Stage};
use crate::channel::step::{Step, Stop};
use crate::channel::violation::Violation;
use crate::commitments::{Change, Desync, Evolved, NotNow, Resend};

impl Funded {
    /// The connection ended: what was not signed for is as if never said.
    pub(crate) fn drop_uncommitted<K: KeysInterface>(&mut self, step: &mut Step<'_, K>) {
        if self.commitments.has_uncommitted() {
            self.record(Entry::Commitments { change: Change::Dropped {} }, step);
        }
    }

    /// The same after a restart, but without telling what was not sent: it may have been told before the crash and offered
    /// elsewhere since, and telling it again would offer it twice. Whoever wanted it sees that no channel carries it.
    pub(crate) fn forget_uncommitted<K: KeysInterface>(&mut self, step: &mut Step<'_, K>) {
        if self.commitments.has_uncommitted() {
            let entry = Entry::Commitments { change: Change::Dropped {} };
            let Evolved { steps, .. } = self.evolve(&entry);
            step.journal.note(entry, steps);
        }
    }

    /// Our `channel_reestablish`. It says what we hold, so it waits until that is durable.
    pub(crate) fn send_reestablish<K: KeysInterface>(&self, step: &mut Step<'_, K>) {
        let message = self.commitments.reestablish(step.signer);
        step.effects.after_all().send(message);
    }

    /// Decides on their `channel_reestablish`: what must be sent again, in order.
    pub(crate) fn retransmit<K: KeysInterface>(
        &self,
        message: ChannelReestablish,
        step: &Step<'_, K>,
    ) -> Result<Vec<Message>, Stop> {
        let resend = match self.commitments.retransmit(step.cx.secp, step.signer, &message) {
            Ok(resend) => resend,
            Err(Desync::Signer(_)) => return Err(Stop::hold(message)),
            Err(Desync::WeAreLate { proven: true, .. }) => {
                return Err(Violation::ProvenLate { point: message.my_current_per_commitment_point }.into());
            }
            Err(desync) => return Err(Violation::Desync(desync).into()),
        };
        let mut messages = Vec::new();
        // BOLT 2: "if `next_commitment_number` is 1 in both the `channel_reestablish` it sent and received: MUST retransmit
        // `channel_ready`"; we send it again if we have sent it.
        let first = CommitmentNumber(1);
        let both_first =
            message.next_commitment_number == first && self.commitments.our_number().next() == first;
        if both_first && self.facts.ready.is_ours_sent() {
            messages.push(self.channel_ready().into());
        }
        for item in resend {
            match self.sent_again(item, step) {
                Ok(again) => messages.extend(again),
                Err(_) => return Err(Stop::hold(message)),
            }
        }
        // BOLT 2: "if it has sent a previous `shutdown`: MUST retransmit `shutdown`".
        messages.extend(self.sent_shutdown().map(Message::from));
        Ok(messages)
    }

    fn sent_again<K: KeysInterface>(
        &self,
        item: Resend,
        step: &Step<'_, K>,
    ) -> Result<Option<Message>, NotNow> {
        match item {
            Resend::Update(message) => Ok(Some(message)),
            Resend::Revocation => {
                let again = self.commitments.revoke_again(step.signer).map_err(NotNow::Signer)?;
                Ok(again.map(Message::from))
            }
            Resend::Signed => self.commitments.sign_again(step.cx.secp, step.signer).map(|m| Some(m.into())),
        }
    }

    fn sent_shutdown(&self) -> Option<lightning_traits::wire::Shutdown> {
        match &self.facts.stage {
            Stage::ShuttingDown { shutdown } if shutdown.is_sent() => {
                Some(closing::shutdown_message(self.terms().channel, shutdown.ours()))
            }
            Stage::Negotiating { ours, .. } => Some(closing::shutdown_message(self.terms().channel, ours)),
            Stage::AwaitingReady {} | Stage::Open {} | Stage::ShuttingDown { .. } => None,
        }
    }
}
