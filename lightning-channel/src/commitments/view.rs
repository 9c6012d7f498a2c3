//! Getters: balances, HTLCs, what can be sent, whether something waits.
use alloc::vec::Vec;

use lightning_traits::id::{ChannelId, CommitmentNumber, HtlcId};
use lightning_traits::tx::CommitmentSpec;
use lightning_traits::units::{BlockHeight, FeeratePerKw, Msat};
use secp256k1::PublicKey;

use super::htlc::{IncomingHtlc, Origin, OutgoingHtlc, PendingOutgoing, Removal};
use super::limits::{Policy, Sight};
use super::log::Update;
use super::{Commitments, Turn};
use crate::terms::Terms;

impl Commitments {
    /// What never changes.
    #[must_use]
    pub const fn terms(&self) -> &Terms {
        &self.terms
    }

    /// Our latest commitment; its broadcaster is us.
    #[must_use]
    pub const fn our_spec(&self) -> &CommitmentSpec {
        &self.funding.ours.spec
    }

    /// The latest commitment of theirs that we signed; its broadcaster is them.
    #[must_use]
    pub const fn their_spec(&self) -> &CommitmentSpec {
        &self.funding.theirs.spec
    }

    /// The number of our latest commitment.
    #[must_use]
    pub const fn our_number(&self) -> CommitmentNumber {
        self.funding.ours.number
    }

    /// The number of the latest commitment of theirs that we signed.
    #[must_use]
    pub const fn their_number(&self) -> CommitmentNumber {
        self.funding.theirs.number
    }

    /// The point of our next commitment: `channel_ready` carries it while our number is 0.
    #[must_use]
    pub const fn our_next_point(&self) -> PublicKey {
        self.funding.ours.next_point
    }

    /// The point of the latest commitment of theirs that we signed.
    #[must_use]
    pub const fn their_point(&self) -> PublicKey {
        self.funding.theirs.point
    }

    /// What we own on our latest commitment, before fees, without HTLCs.
    #[must_use]
    pub const fn our_balance(&self) -> Msat {
        self.funding.ours.spec.to_broadcaster
    }

    /// What they own on our latest commitment, before fees, without HTLCs.
    #[must_use]
    pub const fn their_balance(&self) -> Msat {
        self.funding.ours.spec.to_countersigner
    }

    /// The feerate once all that is on its way has arrived.
    #[must_use]
    pub fn feerate(&self) -> FeeratePerKw {
        let opener = [&self.ours.proposed, &self.ours.signed, &self.ours.acked, &self.theirs.proposed];
        let latest = opener.into_iter().find_map(|updates| updates.iter().rev().find_map(Update::feerate));
        latest.unwrap_or(self.funding.ours.spec.feerate)
    }

    /// HTLCs of theirs that are irrevocably committed and that we have not removed: somebody must decide on them, also
    /// after a restart.
    pub fn pending_incoming(&self) -> impl Iterator<Item = &IncomingHtlc> {
        self.incoming.values().filter(|htlc| !self.ours.removes(htlc.id))
    }

    /// An HTLC of theirs, from irrevocable addition to irrevocable removal.
    #[must_use]
    pub fn incoming(&self, id: HtlcId) -> Option<&IncomingHtlc> {
        self.incoming.get(&id)
    }

    /// How many HTLCs of theirs there are, from the offer to the irrevocable removal.
    #[must_use]
    pub fn incoming_count(&self) -> usize {
        self.incoming.len().saturating_add(self.theirs.adds_count())
    }

    /// HTLCs of ours, from the offer to the irrevocable removal, by id.
    pub fn outgoing(&self) -> impl Iterator<Item = (HtlcId, &PendingOutgoing)> {
        self.outgoing.iter().map(|(id, htlc)| (*id, htlc))
    }

    /// The incoming halves of forwards whose outgoing HTLC expires at `height` or before, and of whose end nobody knows.
    pub fn unsettled_forwards(&self, height: BlockHeight) -> impl Iterator<Item = (ChannelId, HtlcId)> {
        let is_unsettled = move |(id, htlc): &(&HtlcId, &PendingOutgoing)| {
            htlc.expiry.get() <= height.get() && !self.settlements.contains_key(id)
        };
        self.outgoing.iter().filter(is_unsettled).filter_map(|(_, htlc)| match &htlc.origin {
            Origin::Forward { channel, htlc } => Some((*channel, *htlc)),
            Origin::Payment { .. } => None,
        })
    }

    /// Whether we were about to fail an HTLC of theirs, or could not read it, when the channel stood still.
    #[must_use]
    pub fn is_failing(&self, id: HtlcId) -> bool {
        self.ours.removal(id).is_some_and(|removal| !matches!(removal, Removal::Fulfill { .. }))
    }

    /// HTLCs of ours that are not in `kept`, an earlier state: in none of its commitments, and so as if never offered.
    #[must_use]
    pub fn offered_beyond(&self, kept: &Self) -> Vec<(HtlcId, OutgoingHtlc)> {
        let updates = self.ours.signed.iter().chain(&self.ours.proposed).filter_map(Update::added);
        let beyond = updates.filter(|htlc| !kept.outgoing.contains_key(&htlc.id));
        beyond
            .filter_map(|htlc| {
                let origin = self.outgoing.get(&htlc.id)?.origin.clone();
                Some((htlc.id, OutgoingHtlc::again(htlc.clone(), origin)))
            })
            .collect()
    }

    /// Whether the outcome of an HTLC of ours was told and taken over, though the HTLC may still be in the channel: nothing
    /// more will be told of it.
    #[must_use]
    pub fn is_done_with(&self, id: HtlcId) -> bool {
        self.settlements.get(&id).is_some_and(|settlement| settlement.is_done)
    }

    /// Whether there is something new for their next commitment.
    #[must_use]
    pub const fn has_unsigned(&self) -> bool {
        !self.ours.proposed.is_empty() || !self.theirs.acked.is_empty()
    }

    /// Whether [`sign_next`](Self::sign_next) has something to do and may do it.
    #[must_use]
    pub const fn may_sign(&self) -> bool {
        self.has_unsigned() && matches!(self.turn, Turn::MaySign { .. })
    }

    /// Whether we wait for a `revoke_and_ack`: a peer that owes one for long is gone (RELIABILITY B11).
    #[must_use]
    pub const fn awaits_revocation(&self) -> bool {
        matches!(self.turn, Turn::AwaitingRevocation { .. })
    }

    /// Whether their `channel_ready` has come.
    #[must_use]
    pub const fn is_ready(&self) -> bool {
        !matches!(self.turn, Turn::AwaitingReady {})
    }

    /// Whether an update of ours is not irrevocably in both commitments.
    #[must_use]
    pub const fn awaits_ours(&self) -> bool {
        !self.ours.is_empty()
    }

    /// Whether an update of theirs is not.
    #[must_use]
    pub const fn awaits_theirs(&self) -> bool {
        !self.theirs.is_empty()
    }

    /// Whether an update of either side is not in both commitments yet, or a revocation is awaited.
    #[must_use]
    pub const fn has_uncommitted(&self) -> bool {
        !self.ours.is_empty() || !self.theirs.is_empty() || self.awaits_revocation()
    }

    /// Whether no HTLC and no update is left in either commitment: closing may begin (BOLT 2, "Closing Negotiation").
    #[must_use]
    pub const fn is_drained(&self) -> bool {
        let no_htlc = self.funding.ours.spec.htlcs.is_empty() && self.funding.theirs.spec.htlcs.is_empty();
        no_htlc && !self.has_uncommitted()
    }

    /// Whether an HTLC is in either commitment, or on its way into one.
    #[must_use]
    pub fn carries_htlcs(&self) -> bool {
        let committed = [&self.funding.ours.spec, &self.funding.theirs.spec];
        committed.iter().any(|spec| !spec.htlcs.is_empty())
            || self.ours.adds_count().saturating_add(self.theirs.adds_count()) > 0
    }

    /// The most that one HTLC of ours can carry now, or zero.
    #[must_use]
    pub fn sendable(&self, policy: &Policy) -> Msat {
        let prospects = [self.their_next(), self.our_future()];
        let most = prospects.iter().map(|sight| self.sendable_on(sight)).min().unwrap_or(Msat::ZERO);
        let thresholds = prospects.iter().map(|sight| sight.threshold(true));
        let judged = thresholds.max().unwrap_or(Msat::ZERO);
        let exposure = self.dust_exposure_with(policy, None);
        let dust_room = policy.max_dust_exposure.saturating_sub(exposure);
        let most = if exposure > policy.max_dust_exposure {
            Msat::ZERO
        } else if most < judged {
            most.min(dust_room)
        } else {
            most
        };
        if most < self.terms.theirs.htlc_minimum { Msat::ZERO } else { most }
    }

    fn sendable_on(&self, sight: &Sight<'_>) -> Msat {
        let (ours, theirs) = (&self.terms.ours, &self.terms.theirs);
        if sight.count(true) >= usize::from(theirs.max_accepted_htlcs) {
            return Msat::ZERO;
        }
        let room = theirs.max_in_flight.saturating_sub(sight.in_flight(true));
        let cost = if self.terms.we_opened { sight.buffered_cost(1) } else { Msat::ZERO };
        let most = sight.our_balance().saturating_sub(ours.reserve.saturating_add(cost)).min(room);
        let peer_needs = theirs.reserve.saturating_add(sight.opener_cost(sight.feerate(), 1));
        if !self.terms.we_opened && sight.their_balance() < peer_needs {
            // Only what has no output costs the peer nothing.
            return most.min(sight.threshold(true).saturating_sub(Msat::new(1)));
        }
        most
    }

    /// What an HTLC of ours that is offered beside another takes of what we can send, beside its amount: as the opener we pay
    /// for its output, with room for twice the feerate.
    #[must_use]
    pub fn htlc_cost(&self) -> Msat {
        if !self.terms.we_opened {
            return Msat::ZERO;
        }
        let sight = self.our_future();
        sight.buffered_cost(2).saturating_sub(sight.buffered_cost(1))
    }

    /// The most that one HTLC of theirs can carry now, by their balance and our limits, or zero.
    #[must_use]
    pub fn receivable(&self) -> Msat {
        let (ours, theirs, sight) = (&self.terms.ours, &self.terms.theirs, self.our_future());
        if sight.count(false) >= usize::from(ours.max_accepted_htlcs) {
            return Msat::ZERO;
        }
        let room = ours.max_in_flight.saturating_sub(sight.in_flight(false));
        let cost = if self.terms.we_opened { Msat::ZERO } else { sight.buffered_cost(1) };
        sight.their_balance().saturating_sub(theirs.reserve.saturating_add(cost)).min(room)
    }

    /// HTLCs of ours that were offered but not signed for.
    #[must_use]
    pub fn unsigned_adds(&self) -> Vec<HtlcId> {
        self.ours.proposed.iter().filter_map(|update| update.added().map(|htlc| htlc.id)).collect()
    }
}
