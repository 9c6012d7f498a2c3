//! A funded channel: commitments, durable facts, and the one way in which either changes.
//!
//! | file | what |
//! | --- | --- |
//! | `updates.rs` | HTLCs, fees, signatures, revocations (BOLT 2, "Normal Operation") |
//! | `feerate.rs` | which feerates an opener may set |
//! | `funding.rs` | depth, reorganizations, `channel_ready` |
//! | `announce.rs` | `announcement_signatures`, `channel_update` (BOLT 7) |
//! | `quiet.rs` | quiescence |
//! | `resync.rs` | `channel_reestablish` |
//! | `../closing/` | `shutdown`, `closing_signed` |
//!
//! # Invariants
//! - durable state changes by [`Funded::record`] only, which a restart repeats (I6); [`Funded::step_back`] undoes what never
//!   became durable
mod announce;
mod feerate;
mod funding;
mod quiet;
mod resync;
mod updates;

use alloc::sync::Arc;
use alloc::vec::Vec;

use lightning_traits::event::Event;
use lightning_traits::id::ShortChannelId;
use lightning_traits::interface::KeysInterface;
use lightning_traits::sphinx::OnionPacket;
use lightning_traits::units::BlockHeight;

pub use quiet::QuiesceError;
pub(crate) use quiet::{Held, Quiet};
pub use updates::SendError;

use feerate::FeeMemory;

use super::closing;
use super::effects::Gated;
use super::link::Online;
use super::phase::PhaseName;
use super::record::{Confirmation, Entry, Facts, Milestone, Ready, Stage, snapshot_funded};
use super::step::Step;
use super::violation::Violation;
use crate::commitments::{Commitments, Evolved, IncomingHtlc, Notice, Origin, Outcome, Recipe};
use crate::terms::Terms;

/// A channel with a funding output.
#[derive(Debug)]
pub(crate) struct Funded {
    commitments: Commitments,
    facts: Facts,
    /// HTLCs to decide on that wait until the funding transaction is in a block again.
    withheld: Vec<IncomingHtlc>,
    /// Ticks since closing should have been agreed on.
    pub(super) closing_ticks: u32,
    /// Whether our update for the network was said since the start.
    update_said: bool,
    /// Which feerates of the peer we would have taken, and did not.
    fees_seen: FeeMemory,
    /// Removals that wait for the end of quiescence.
    held: Held,
}

impl Funded {
    /// The state with these durable parts.
    pub(crate) fn new(commitments: Commitments, facts: Facts) -> Self {
        Self {
            commitments,
            facts,
            withheld: Vec::new(),
            closing_ticks: 0,
            update_said: false,
            fees_seen: FeeMemory::default(),
            held: Held::new(),
        }
    }

    pub(crate) const fn commitments(&self) -> &Commitments {
        &self.commitments
    }

    /// As [`Commitments::build_onions`].
    pub(crate) fn build_onions(
        &mut self,
        build: impl Fn(&Recipe<'_>) -> Option<Arc<OnionPacket>>,
    ) -> Option<()> {
        self.commitments.build_onions(build)
    }

    pub(crate) const fn facts(&self) -> &Facts {
        &self.facts
    }

    pub(crate) const fn terms(&self) -> &Terms {
        self.commitments.terms()
    }

    /// The durable parts, to be taken to another phase.
    pub(crate) fn into_parts(self) -> (Commitments, Facts) {
        (self.commitments, self.facts)
    }

    /// The phase, were the channel online.
    pub(crate) const fn phase(&self) -> PhaseName {
        match &self.facts.stage {
            Stage::AwaitingReady {} => PhaseName::AwaitingReady,
            Stage::Open {} => PhaseName::Open,
            Stage::ShuttingDown { .. } => PhaseName::ShuttingDown,
            Stage::Negotiating { .. } => PhaseName::Negotiating,
        }
    }

    /// Changes the durable state. The only place that does.
    pub(crate) fn evolve(&mut self, entry: &Entry) -> Evolved {
        self.facts.evolve(entry);
        match entry {
            Entry::Commitments { change } => self.commitments.evolve(change),
            _ => Evolved::default(),
        }
    }

    /// Goes back to commitments that are not of this step. The next write must be a snapshot.
    pub(crate) fn step_back(&mut self, kept: Commitments) {
        self.commitments = kept;
    }

    /// Changes the durable state in a live step: notes the change for the next write, and who must hear of it.
    pub(crate) fn record<K: KeysInterface>(&mut self, entry: Entry, step: &mut Step<'_, K>) {
        let Evolved { steps, incoming, notices, unsent } = self.evolve(&entry);
        step.journal.note(entry, steps);
        if self.is_certain() {
            step.journal.reports().incoming.extend(incoming);
        } else {
            self.withheld.extend(incoming);
        }
        for notice in notices {
            match notice {
                // Usable at once; whoever takes it makes it durable there. What a user is told of a payment of its own nobody
                // else remembers, so that waits for this channel's write.
                Notice::Settled {
                    origin: Origin::Forward { .. },
                    outcome: Outcome::Fulfilled { .. },
                    ..
                } => {
                    step.effects.notice(notice);
                }
                other => step.journal.reports().notices.push(other),
            }
        }
        for (id, htlc) in unsent {
            step.effects.unsent(id, htlc);
        }
    }

    /// Writes what was recorded; what is queued on the answer waits for it.
    pub(crate) fn persist<'s, K: KeysInterface>(&self, step: &'s mut Step<'_, K>) -> Gated<'s> {
        step.persist(|| snapshot_funded(self))
    }

    /// Does all that has become due by the last input.
    pub(crate) fn advance<K: KeysInterface>(
        &mut self,
        online: Option<&mut Online>,
        step: &mut Step<'_, K>,
    ) -> Result<(), Violation> {
        self.advance_ready(step);
        self.release_withheld(step);
        if let Some(online) = online {
            self.advance_quiet(online, step);
            if !online.quiet.holds_ours() {
                closing::advance(self, online, step);
            }
            self.advance_announcement(online, step)?;
            self.advance_update(online, step);
        }
        Ok(())
    }

    /// Whether the funding transaction is in a block.
    pub(crate) const fn is_confirmed(&self) -> bool {
        matches!(self.facts.confirmation, Confirmation::Seen { .. })
    }

    /// Whether what is in the channel can be built upon: its funding transaction is in a block, or its funder is trusted to let
    /// it get there and nothing speaks against it.
    pub(crate) const fn is_certain(&self) -> bool {
        match self.facts.confirmation {
            Confirmation::Seen { .. } => true,
            Confirmation::Unseen {} => self.terms().zero_conf,
            // What a peer pays us there is worth nothing: passed on, it would be our own money.
            Confirmation::Conflicted { .. } => false,
        }
    }

    /// Whether the channel is neither opening nor closing.
    pub(crate) fn is_open(&self) -> bool {
        self.facts.stage == (Stage::Open {})
    }

    /// Whether HTLCs may be offered, but for the connection.
    pub(crate) fn is_usable(&self) -> bool {
        self.facts.stage == (Stage::Open {}) && self.facts.ready == (Ready::Both {}) && self.is_certain()
    }

    /// Where the funding output is.
    pub(crate) fn scid(&self) -> Option<ShortChannelId> {
        let Confirmation::Seen { height, index, .. } = self.facts.confirmation else { return None };
        let vout = u16::try_from(self.terms().funding.outpoint.vout).ok()?;
        ShortChannelId::new(height.get(), index, vout)
    }

    /// Confirmations of the funding transaction.
    pub(crate) const fn depth(&self, tip: BlockHeight) -> u32 {
        match self.facts.confirmation {
            Confirmation::Seen { height, .. } => height.depth_at(tip),
            Confirmation::Unseen {} | Confirmation::Conflicted { .. } => 0,
        }
    }

    /// Marks every undecided HTLC as waiting: after a restart without a funding block.
    pub(crate) fn withhold_all(&mut self, pending: Vec<IncomingHtlc>) {
        self.withheld = pending;
    }

    /// HTLCs to decide on that nobody was told of.
    pub(crate) fn take_withheld(&mut self) -> Vec<IncomingHtlc> {
        core::mem::take(&mut self.withheld)
    }

    /// The events that the user has not acknowledged.
    pub(crate) fn untold_events(&self) -> Vec<Event> {
        let terms = self.terms();
        let (channel, peer, temporary) = (terms.channel, terms.peer, self.facts.temporary);
        let event = |milestone: &Milestone| match milestone {
            Milestone::Pending {} => {
                Some(Event::ChannelPending { channel, temporary, peer, funding: terms.funding.outpoint })
            }
            Milestone::Ready {} => Some(Event::ChannelReady { channel, peer, scid: self.scid() }),
            Milestone::Closed {} => Some(Event::ChannelClosed {
                channel,
                peer,
                reason: lightning_traits::event::CloseReason::Cooperative,
            }),
            Milestone::Signable {} => self.funding_event(),
        };
        self.facts.untold.iter().filter_map(event).collect()
    }
}
