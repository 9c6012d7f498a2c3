//! The log of updates on their way, and `reduce`, which applies them to a commitment.
//!
//! BOLT 2, "Normal Operation", gives each update five states. Here an update has no state field: where it stands
//! is which list it is in.
//!
//! | list | the update is in |
//! | --- | --- |
//! | `ours.proposed` | no commitment: sent, not signed for |
//! | `ours.signed` | theirs, whose predecessor they have not revoked |
//! | `ours.acked` | theirs, irrevocably; not yet ours |
//! | `theirs.proposed` | no commitment: received, not signed for |
//! | `theirs.acked` | ours, irrevocably; not yet theirs |
//! | `theirs.signed` | both; their previous one is not revoked |
//!
//! From the last list of each side an update leaves the log: it is irrevocably committed.
//!
//! # Invariants
//! - lists keep the order in which the updates were sent
use alloc::vec::Vec;

use lightning_traits::id::HtlcId;
use lightning_traits::record;
use lightning_traits::tx::{CommitmentSpec, HtlcSpec, TxSide};
use lightning_traits::units::FeeratePerKw;

use super::htlc::{IncomingHtlc, Removal};

/// One `update_*` message of either side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Update {
    /// Offers an HTLC, which is incoming for whoever receives the update.
    Add { htlc: IncomingHtlc },
    /// Removes an HTLC that the other side offered.
    Remove { htlc: HtlcId, removal: Removal },
    /// Sets the feerate.
    Fee { feerate: FeeratePerKw },
}
record!(enum Update { 0 => Add { htlc }, 1 => Remove { htlc, removal }, 2 => Fee { feerate } });

impl Update {
    /// The HTLC that it adds.
    pub(super) const fn added(&self) -> Option<&IncomingHtlc> {
        match self {
            Self::Add { htlc } => Some(htlc),
            Self::Remove { .. } | Self::Fee { .. } => None,
        }
    }

    /// The feerate that it sets.
    pub(super) const fn feerate(&self) -> Option<FeeratePerKw> {
        match self {
            Self::Fee { feerate } => Some(*feerate),
            Self::Add { .. } | Self::Remove { .. } => None,
        }
    }

    /// The HTLC that it removes.
    pub(super) const fn removed(&self) -> Option<HtlcId> {
        match self {
            Self::Remove { htlc, .. } => Some(*htlc),
            Self::Add { .. } | Self::Fee { .. } => None,
        }
    }
}

/// Updates that one side sent, on their way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Updates {
    /// The id of the next HTLC that this side offers.
    pub(super) next_id: HtlcId,
    /// Not signed for.
    pub(super) proposed: Vec<Update>,
    /// See the table above: the order of `signed` and `acked` differs between the sides.
    pub(super) signed: Vec<Update>,
    /// See the table above.
    pub(super) acked: Vec<Update>,
}
record!(struct Updates { next_id, proposed list, signed list, acked list });

impl Updates {
    /// All updates, in no particular order.
    fn all(&self) -> impl Iterator<Item = &Update> {
        self.proposed.iter().chain(&self.signed).chain(&self.acked)
    }

    /// Whether an update on its way removes the other side's HTLC `id`.
    pub(super) fn removes(&self, id: HtlcId) -> bool {
        self.all().any(|update| update.removed() == Some(id))
    }

    /// How an update on its way removes the other side's HTLC `id`.
    pub(super) fn removal(&self, id: HtlcId) -> Option<&Removal> {
        self.all().find_map(|update| match update {
            Update::Remove { htlc, removal } if *htlc == id => Some(removal),
            Update::Remove { .. } | Update::Add { .. } | Update::Fee { .. } => None,
        })
    }

    /// Whether an update on its way adds this side's HTLC `id`.
    pub(super) fn adds(&self, id: HtlcId) -> bool {
        self.all().any(|update| update.added().is_some_and(|htlc| htlc.id == id))
    }

    /// How many HTLCs of this side are on their way in.
    pub(super) fn adds_count(&self) -> usize {
        self.all().filter(|update| update.added().is_some()).count()
    }

    /// Whether nothing is on its way.
    pub(super) const fn is_empty(&self) -> bool {
        self.proposed.is_empty() && self.signed.is_empty() && self.acked.is_empty()
    }
}

/// Applies `updates` that side `by` sent to a commitment.
///
/// Whoever sent them has shown that it can pay (`limits.rs`), and whoever builds the transaction checks that nothing was
/// made or lost ([`CommitmentError::Unbalanced`](lightning_traits::tx::CommitmentError)): so balances may stop at zero here
/// without money going astray, and `evolve` cannot fail.
pub(super) fn reduce<'a>(
    spec: &mut CommitmentSpec,
    updates: impl IntoIterator<Item = &'a Update>,
    by: TxSide,
) {
    for update in updates {
        match update {
            Update::Add { htlc } => {
                let balance = balance_mut(spec, by);
                *balance = balance.saturating_sub(htlc.amount);
                spec.htlcs.push(htlc_spec(htlc, by));
            }
            Update::Remove { htlc, removal } => {
                let found =
                    spec.htlcs.iter().position(|known| known.id == *htlc && known.offered_by == by.other());
                if let Some(index) = found {
                    let amount = spec.htlcs.swap_remove(index).amount;
                    let winner = if matches!(removal, Removal::Fulfill { .. }) { by } else { by.other() };
                    let balance = balance_mut(spec, winner);
                    *balance = balance.saturating_add(amount);
                }
            }
            Update::Fee { feerate } => spec.feerate = *feerate,
        }
    }
}

/// The HTLC as a commitment shows it.
pub(super) const fn htlc_spec(htlc: &IncomingHtlc, offered_by: TxSide) -> HtlcSpec {
    HtlcSpec { offered_by, id: htlc.id, amount: htlc.amount, payment_hash: htlc.hash, expiry: htlc.expiry }
}

const fn balance_mut(spec: &mut CommitmentSpec, side: TxSide) -> &mut lightning_traits::units::Msat {
    match side {
        TxSide::Broadcaster => &mut spec.to_broadcaster,
        TxSide::Countersigner => &mut spec.to_countersigner,
    }
}
