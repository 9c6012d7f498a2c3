//! One channel, from `open_channel` to the last confirmation.
//!
//! ```text
//! Channel
//!  |- Opening      phase structs in opening/; dropped on disconnect
//!  |- Funded       Link (Offline | Syncing | Online) of AwaitingReady | Open | ShuttingDown | Negotiating
//!  |- Resolving    a commitment or closing transaction is out; the monitor acts, we translate
//!  `- Closed       why
//! ```
//!
//! | file | what |
//! | --- | --- |
//! | `opening/` | until both first commitments are signed |
//! | `open/` | a funded channel: updates, depth, announcements, reconnection |
//! | `closing/` | `shutdown`, then the closing transactions |
//! | `resolving.rs` | after a force-close or a spend of the funding output |
//! | `splicing.rs` | how splicing is refused, which is not built |
//! | `footing.rs` | whether the funding output of such a channel is there at all |
//! | `held.rs` | funding transactions that nobody may see yet |
//! | `link.rs` | the connection of a funded channel |
//! | `inputs.rs` `commands.rs` `chain.rs` `ending.rs` `restore.rs` | methods of [`Channel`] by who calls them |
//! | `dispatch.rs` `reaction.rs` | the two tables: what is taken when, and what a broken rule leads to |
//! | `refused.rs` | the step back from an update that the monitor does not take |
//! | `effects.rs` | what goes out, and the gate that holds it back |
//! | `record/` | the durable record |
//!
//! # Invariants
//! - whatever must follow a durable write leaves behind its gate (I3); the outbox itself is never durable (I4)
//! - an error leaves a channel with money as it was: leaving a phase with money never fails
mod chain;
mod closing;
mod commands;
mod context;
mod details;
mod dispatch;
pub mod effects;
mod ending;
mod footing;
mod held;
mod inputs;
mod link;
mod open;
mod opening;
mod phase;
mod reaction;
mod record;
mod refused;
mod resolving;
mod restore;
mod script;
mod splicing;
mod step;
mod violation;

use alloc::boxed::Box;
use alloc::collections::VecDeque;

use lightning_traits::feature::Features;
use lightning_traits::id::{ChannelId, NodeId, UpdateId};
use lightning_traits::interface::KeysInterface;
use lightning_traits::wire::{ChannelMessage, ErrorMessage, WarningMessage};

pub use closing::{CloseParams, ShutdownError};
pub use commands::{FeeUpdateError, SettleError};
pub use context::{Context, FeeQuotes};
pub use details::{ChannelDetails, FundedDetails};
pub use dispatch::phase_table;
pub use effects::{Output, Persisting};
pub use held::{SharedFunding, is_signed};
pub use open::{QuiesceError, SendError};
pub use opening::{AcceptOptions, FirstError, FundError, OpenError, OpenOptions, OpenParams};
pub use phase::PhaseName;
pub use reaction::{Reaction, reaction};
pub use record::TheirTerms;
pub use restore::RestoreError;
pub use script::{dust_limit, is_op_return_script, is_shutdown_script};
pub use violation::{BadTerms, Violation};

use effects::{Effects, Outbox};
use link::Link;
use open::Funded;
use opening::Opening;
use phase::Ending;
use record::{Journal, Log};
use resolving::Resolving;
use step::Step;

/// One channel with one peer.
///
/// - getters: [`id`](Self::id), [`peer`](Self::peer), [`phase`](Self::phase), [`details`](Self::details) and others
/// - inputs: `connected`, `disconnected`, `on_message`, `on_error`, `on_channel_update`, `on_receipt`, `on_refused`, `on_monitor_event`,
///   `block_connected`, `block_disconnected`, `timer_tick`
/// - commands: `open`, `requested`, `accept`, `refuse`, `fund`, `offer_htlc`, `settle`, `commit`, `notice_done`,
///   `event_acknowledged`, `hold_funding`, `commit_funding`, `release_funding`, `cancel_funding`, `update_fee`, `shutdown`, `force_close`, `flush`
/// - outputs: [`poll`](Self::poll)
pub struct Channel<K: KeysInterface> {
    /// The temporary name until the funding output is known.
    id: ChannelId,
    temporary: ChannelId,
    peer: NodeId,
    signer: K::Signer,
    phase: Phase,
    outbox: Outbox,
    journal: Journal,
    /// What the peer's `init` offered, while it is connected.
    connection: Option<Features>,
    /// Messages that wait for the signer, in order; gone with the connection.
    held: VecDeque<ChannelMessage>,
    /// We are hanging up: what still comes is not heard.
    deaf: bool,
    /// Whether the record may not be the last ([`Channel::doubt`]).
    doubted: bool,
    /// Ticks for which the peer owed an answer while opening.
    waited: u32,
}

/// Where it stands, with what is known there.
enum Phase {
    Opening(Opening),
    Funded(Link<Funded>),
    Resolving(Box<Resolving>),
    Closed(Ending),
}

impl<K: KeysInterface> Channel<K> {
    /// A channel that has no durable state yet.
    fn new(id: ChannelId, peer: NodeId, signer: K::Signer, opening: Opening, features: Features) -> Self {
        let first = UpdateId(0);
        let mut outbox = Outbox::new(first);
        outbox.connect();
        outbox.resynced();
        Self {
            id,
            temporary: id,
            peer,
            signer,
            phase: Phase::Opening(opening),
            outbox,
            journal: Journal::new(id, first.next(), Log::default()),
            connection: Some(features),
            held: VecDeque::new(),
            deaf: false,
            doubted: false,
            waited: 0,
        }
    }

    /// Its name: temporary until the funding output is known, then [`ChannelId::v1_from_funding`].
    #[must_use]
    pub const fn id(&self) -> ChannelId {
        self.id
    }

    /// The name that it had before.
    #[must_use]
    pub const fn temporary_id(&self) -> ChannelId {
        self.temporary
    }

    /// The peer.
    #[must_use]
    pub const fn peer(&self) -> NodeId {
        self.peer
    }

    /// Where it stands.
    #[must_use]
    pub fn phase(&self) -> PhaseName {
        match &self.phase {
            Phase::Opening(Opening::Offered(_)) => PhaseName::Offered,
            Phase::Opening(Opening::AwaitingTransaction(_)) => PhaseName::AwaitingTransaction,
            Phase::Opening(Opening::AwaitingSigned(_)) => PhaseName::AwaitingSigned,
            Phase::Opening(Opening::Requested(_)) => PhaseName::Requested,
            Phase::Opening(Opening::AwaitingCreated(_)) => PhaseName::AwaitingCreated,
            Phase::Funded(link) if link.is_online() => link.state().phase(),
            Phase::Funded(link) if link.is_syncing() => PhaseName::Syncing,
            Phase::Funded(_) => PhaseName::Offline,
            Phase::Resolving(_) => PhaseName::Resolving,
            Phase::Closed(_) => PhaseName::Closed,
        }
    }

    /// Whether nothing of it need be kept: it never was funded, or the chain is done and all notices were taken over.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        match &self.phase {
            Phase::Opening(_) | Phase::Funded(_) => false,
            // What waits for a receipt would be lost with it: the monitor's last event, and the user's.
            Phase::Resolving(state) => state.is_finished() && !self.is_frozen(),
            Phase::Closed(_) => true,
        }
    }

    /// The next thing to do, in order: durable writes first, then messages, then reports. `None` when all that is left
    /// waits for receipts.
    pub fn poll(&mut self) -> Option<Output> {
        self.outbox.poll()
    }

    /// Whether some write is not known to be durable.
    #[must_use]
    pub fn is_frozen(&self) -> bool {
        !self.outbox.ledger().is_settled()
    }

    /// The phase and all that one step needs.
    fn split<'a>(&'a mut self, cx: &'a Context<'a, K>) -> (&'a mut Phase, Step<'a, K>) {
        let step = Step {
            cx,
            signer: &self.signer,
            journal: &mut self.journal,
            effects: Effects::new(&mut self.outbox),
            id: self.id,
            peer: self.peer,
        };
        (&mut self.phase, step)
    }
}

/// An `error` about a channel.
pub(crate) fn error_message(channel: ChannelId, text: &dyn core::fmt::Display) -> ErrorMessage {
    ErrorMessage {
        channel_id: channel,
        data: alloc::format!("{text}").into_bytes(),
        unknown: Default::default(),
    }
}

/// A `warning` about a channel.
pub(crate) fn warning_message(channel: ChannelId, text: &dyn core::fmt::Display) -> WarningMessage {
    WarningMessage {
        channel_id: channel,
        data: alloc::format!("{text}").into_bytes(),
        unknown: Default::default(),
    }
}
