//! The connection of a funded channel: who may speak when.
//!
//! BOLT 2, "Message Retransmission": "MUST wait to receive the other node's `channel_reestablish` message before sending
//! any other messages for that channel".
//!
//! # Invariants
//! - only an online link hands out the state to messages; what is known of the connection dies with it
use alloc::boxed::Box;

use lightning_traits::feature::Features;
use lightning_traits::wire::AnnouncementSignatures;

use super::closing::{Exchange, Talk};
use super::open::Quiet;
use super::violation::Violation;

/// A funded state and its connection.
#[derive(Debug)]
pub(crate) struct Link<S> {
    state: Box<S>,
    side: Side,
}

/// What the connection is like.
#[derive(Debug)]
enum Side {
    Offline,
    Syncing { features: Features, ticks: u32 },
    Online(Box<Online>),
}

/// What lives as long as a synchronized connection.
#[derive(Debug)]
pub(crate) struct Online {
    /// What the peer's `init` offers.
    pub(crate) features: Features,
    /// How far the closing negotiation is: it starts again on each connection.
    pub(crate) talk: Talk,
    /// Closing transactions of each side's making.
    pub(crate) exchange: Exchange,
    /// Whether their `shutdown` came on this connection.
    pub(crate) shutdown_heard: bool,
    /// Who has said `stfu`.
    pub(crate) quiet: Quiet,
    /// `tx_abort`s of ours that the peer has not echoed.
    pub(crate) aborts: u32,
    /// How many were echoed.
    pub(crate) echoes: u32,
    /// Whether our `announcement_signatures` went out on this connection.
    pub(crate) announcement_sent: bool,
    /// Theirs, which came before we were ready for it ("SHOULD defer handling").
    pub(crate) early_announcement: Option<AnnouncementSignatures>,
    /// Whether our `channel_update` went to the peer on this connection.
    pub(crate) update_sent: bool,
    /// Updates of the peer since its last signature.
    pub(crate) unsigned_updates: u32,
    /// Ticks for which the peer owed an answer.
    pub(crate) waited: u32,
}

impl Online {
    fn new(features: Features) -> Self {
        Self {
            features,
            talk: Talk::Silent,
            exchange: Exchange::default(),
            shutdown_heard: false,
            quiet: Quiet::default(),
            aborts: 0,
            echoes: 0,
            announcement_sent: false,
            early_announcement: None,
            update_sent: false,
            unsigned_updates: 0,
            waited: 0,
        }
    }
}

/// All HTLCs of both sides added and removed once, and room for fees.
const MAX_UNSIGNED_UPDATES: u32 = 4 * 483;

impl Online {
    /// Counts an update of the peer; what it never signs for would pile up (RELIABILITY C8).
    pub(crate) fn count_update(&mut self) -> Result<(), Violation> {
        self.quiet.check_update()?;
        self.unsigned_updates = self.unsigned_updates.saturating_add(1);
        if self.unsigned_updates > MAX_UNSIGNED_UPDATES { Err(Violation::TooManyUpdates) } else { Ok(()) }
    }
}

impl<S> Link<S> {
    /// A state without connection.
    pub(crate) const fn offline(state: Box<S>) -> Self {
        Self { state, side: Side::Offline }
    }

    /// A state that was made on this very connection, so that both sides know where they stand.
    pub(crate) fn online_since_opening(state: Box<S>, features: Features) -> Self {
        Self { state, side: Side::Online(Box::new(Online::new(features))) }
    }

    /// A connection is up; `channel_reestablish` goes out now.
    pub(crate) fn connect(&mut self, features: Features) {
        self.side = Side::Syncing { features, ticks: 0 };
    }

    /// Their `channel_reestablish` fits.
    pub(crate) fn synced(&mut self) {
        if let Side::Syncing { features, .. } = &self.side {
            self.side = Side::Online(Box::new(Online::new(features.clone())));
        }
    }

    /// The connection is gone.
    pub(crate) fn disconnect(&mut self) {
        self.side = Side::Offline;
    }

    /// The state for messages, while both sides know where they stand.
    pub(crate) fn online(&mut self) -> Option<(&mut S, &mut Online)> {
        match &mut self.side {
            Side::Online(online) => Some((&mut self.state, online)),
            Side::Offline | Side::Syncing { .. } => None,
        }
    }

    /// The state for what does not come from the peer: chain, user, manager.
    pub(crate) fn any(&mut self) -> (&mut S, Option<&mut Online>) {
        match &mut self.side {
            Side::Online(online) => (&mut self.state, Some(online)),
            Side::Offline | Side::Syncing { .. } => (&mut self.state, None),
        }
    }

    /// The state to look at.
    pub(crate) const fn state(&self) -> &S {
        &self.state
    }

    /// The state to take away, to the chain.
    pub(crate) fn into_state(self) -> Box<S> {
        self.state
    }

    pub(crate) const fn is_online(&self) -> bool {
        matches!(self.side, Side::Online(_))
    }

    /// Whether both have said `stfu`.
    pub(crate) const fn is_quiescent(&self) -> bool {
        matches!(&self.side, Side::Online(online) if online.quiet.is_reached())
    }

    /// Whether updates of ours must wait, for somebody wants quiescence.
    pub(crate) const fn is_quiet(&self) -> bool {
        matches!(&self.side, Side::Online(online) if online.quiet.holds_ours())
    }

    pub(crate) const fn is_syncing(&self) -> bool {
        matches!(self.side, Side::Syncing { .. })
    }

    /// Counts a tick; returns for how many `channel_reestablish` has been missing.
    pub(crate) const fn tick(&mut self) -> u32 {
        match &mut self.side {
            Side::Syncing { ticks, .. } => {
                *ticks = ticks.saturating_add(1);
                *ticks
            }
            Side::Offline | Side::Online(_) => 0,
        }
    }
}
