//! Quiescence: nobody proposes anything (BOLT 2, "Channel Quiescence").
//!
//! All of it lives with the connection and ends with it: "Upon disconnection: the channel is no longer considered quiescent."
//! No protocol that needs it is built yet, so it ends by a time out as well, HTLCs or not (RELIABILITY K11).
//!
//! # Invariants
//! - from the wish on no update of ours leaves: what is decided meanwhile waits, and is told as done only once it is durable
//! - the preimage of a forward does not wait: the monitor knows it as soon as we do, since HTLCs expire in the quiet too
//! - our `stfu` leaves once, when nothing of ours is pending for either side
use alloc::vec::Vec;

use lightning_traits::feature::Feature;
use lightning_traits::id::HtlcId;
use lightning_traits::interface::KeysInterface;
use lightning_traits::monitor::MonitorStep;
use lightning_traits::wire::Stfu;
use thiserror::Error;

use super::Funded;
use crate::channel::link::Online;
use crate::channel::record::{Entry, Ready};
use crate::channel::step::Step;
use crate::channel::violation::Violation;
use crate::commitments::{Removal, RemovalRefused};

/// Ticks, of about a minute, for which a channel is quiet: "MUST disconnect after 60 seconds of quiescence if the HTLCs are
/// pending."
const PATIENCE: u32 = 1;
/// Blocks for which it is quiet. They count like minutes should nobody call for those; some can come in one minute.
const PATIENCE_IN_BLOCKS: u32 = 3;

/// Why a channel does not become quiet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum QuiesceError {
    /// It is not open, or there is no synchronized connection.
    #[error("the channel is not open and online")]
    NotOpen,
    /// The peer does not know `option_quiesce`.
    #[error("the peer does not know quiescence")]
    NotNegotiated,
}

/// Who has said `stfu` on this connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Quiet {
    /// Our user wants it.
    wanted: bool,
    /// We have said it; as the initiator?
    ours: Option<bool>,
    /// They have.
    theirs: Option<bool>,
    /// Ticks since somebody did.
    ticks: u32,
    /// Blocks since somebody did.
    blocks: u32,
}

impl Quiet {
    /// Whether updates of ours must wait.
    pub(crate) const fn holds_ours(&self) -> bool {
        self.wanted || self.ours.is_some() || self.theirs.is_some()
    }

    /// Whether both have said it.
    pub(crate) const fn is_reached(&self) -> bool {
        self.ours.is_some() && self.theirs.is_some()
    }

    /// Whether the peer may start what needs quiescence. "If both sides send `stfu` simultaneously ..., the 'initiator' is
    /// arbitrarily considered to be the channel funder."
    pub(crate) const fn is_theirs(&self, we_opened: bool) -> bool {
        match (self.ours, self.theirs) {
            (Some(true), Some(true)) => !we_opened,
            (Some(false), Some(true)) => true,
            _ => false,
        }
    }

    /// "MUST NOT send an update message after `stfu`."
    pub(crate) const fn check_update(&self) -> Result<(), Violation> {
        if self.theirs.is_some() { Err(Violation::UpdateWhileQuiet) } else { Ok(()) }
    }

    /// Counts a tick; whether it has been quiet for too long.
    pub(crate) const fn is_over(&mut self) -> bool {
        if self.ours.is_none() && self.theirs.is_none() {
            return false;
        }
        self.ticks = self.ticks.saturating_add(1);
        self.ticks > PATIENCE
    }

    /// Counts a block; whether it has been quiet for too long.
    pub(crate) const fn is_over_by_blocks(&mut self) -> bool {
        if self.ours.is_none() && self.theirs.is_none() {
            return false;
        }
        self.blocks = self.blocks.saturating_add(1);
        self.blocks > PATIENCE_IN_BLOCKS
    }
}

/// Removals that were decided on while nothing could be said.
pub(crate) type Held = Vec<(HtlcId, Removal)>;

impl Funded {
    /// Our user wants nobody to propose anything.
    pub(crate) fn quiesce<K: KeysInterface>(
        &mut self,
        online: &mut Online,
        step: &Step<'_, K>,
    ) -> Result<(), QuiesceError> {
        if !self.is_open() || self.facts.ready != (Ready::Both {}) {
            return Err(QuiesceError::NotOpen);
        }
        if !step.cx.negotiated(&online.features, Feature::Quiesce) {
            return Err(QuiesceError::NotNegotiated);
        }
        online.quiet.wanted = true;
        Ok(())
    }

    /// They have said `stfu`.
    pub(crate) fn on_stfu<K: KeysInterface>(
        &mut self,
        message: &Stfu,
        online: &mut Online,
        step: &Step<'_, K>,
    ) -> Result<(), Violation> {
        let quiet = &mut online.quiet;
        // "MUST NOT send `stfu` unless `option_quiesce` is negotiated"; "if any of the sender's htlc additions, htlc removals or
        // fee updates are pending for either peer"; "twice"; and an answer to nothing is none.
        let negotiated = step.cx.negotiated(&online.features, Feature::Quiesce);
        let pending = self.commitments.awaits_theirs();
        let unasked = !message.initiator && quiet.ours.is_none();
        if !negotiated || pending || unasked || quiet.theirs.is_some() || self.facts.ready != (Ready::Both {})
        {
            return Err(Violation::StfuUnexpected);
        }
        quiet.theirs = Some(message.initiator);
        (quiet.ticks, quiet.blocks) = (0, 0);
        Ok(())
    }

    /// Says `stfu` as soon as nothing of ours is pending.
    pub(super) fn advance_quiet<K: KeysInterface>(&mut self, online: &mut Online, step: &mut Step<'_, K>) {
        let quiet = online.quiet;
        if quiet.ours.is_some() || !quiet.wanted && quiet.theirs.is_none() {
            return;
        }
        // The note is enough where we cannot sign now: their revocation lets us.
        let _waits = self.commit(step);
        if self.commitments.awaits_ours() {
            return;
        }
        // "if it is replying to an `stfu`: MUST set `initiator` to 0; otherwise: MUST set `initiator` to 1".
        let initiator = quiet.theirs.is_none();
        online.quiet.ours = Some(initiator);
        (online.quiet.ticks, online.quiet.blocks) = (0, 0);
        let message = Stfu { channel_id: self.terms().channel, initiator, unknown: Default::default() };
        step.effects.after_all().send(message);
    }

    /// Keeps a removal until something may be said again. It is not durable: whoever decided on it decides again after a crash.
    /// But the HTLC of a preimage that the next node has shown may expire before: the monitor, which may have to claim it on the
    /// chain, learns it now. What we claim for ourselves is not told before the record has it (I3): a monitor that knew more would
    /// claim what a crash has made the channel give back, and the user would never hear of the money. Blocks end the quiet in time.
    pub(crate) fn hold_removal<K: KeysInterface>(
        &mut self,
        id: HtlcId,
        removal: Removal,
        step: &mut Step<'_, K>,
    ) -> Result<(), RemovalRefused> {
        self.commitments.offer_removal(id, removal.clone())?;
        if self.held.iter().any(|(held, _)| *held == id) {
            return Err(RemovalRefused::AlreadyRemoved(id));
        }
        if let Removal::Fulfill { preimage, claimed: None, .. } = &removal {
            step.journal.step(MonitorStep::Preimage { preimage: preimage.clone() });
            self.persist(step);
        }
        self.held.push((id, removal));
        Ok(())
    }

    /// The connection, and with it quiescence, has ended.
    pub(crate) fn release_held<K: KeysInterface>(&mut self, step: &mut Step<'_, K>) {
        for (id, removal) in core::mem::take(&mut self.held) {
            // Checked when it was held; nothing has removed it since.
            let _gone = self.settle(id, removal, step);
        }
    }

    /// The channel leaves for the chain: what was held is recorded, as far as it still can be.
    pub(crate) fn record_held<K: KeysInterface>(&mut self, step: &mut Step<'_, K>) {
        for (id, removal) in core::mem::take(&mut self.held) {
            if let Ok((change, _)) = self.commitments.offer_removal(id, removal) {
                self.record(Entry::Commitments { change }, step);
                step.journal.reports().removals.push(id);
            }
        }
    }
}
