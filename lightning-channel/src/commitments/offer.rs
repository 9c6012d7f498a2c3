//! Decide on what we offer: HTLCs, their removal, the feerate (BOLT 2, "Normal Operation", sending node).
//!
//! # Invariants
//! - nothing is offered that the peer could take for a violation
//! - `decide` refuses doubles, so whoever has an intent may repeat it
use alloc::sync::Arc;

use lightning_traits::codec::TlvRecords;
use lightning_traits::id::HtlcId;
use lightning_traits::sphinx::{MAX_ATTRIBUTED_REASON_LEN, OnionPacket, PAYMENT_PAYLOADS_LEN};
use lightning_traits::units::{FeeratePerKw, Msat};
use lightning_traits::wire::{
    Message, UpdateAddHtlc, UpdateFailHtlc, UpdateFailMalformedHtlc, UpdateFee, UpdateFulfillHtlc,
};

use super::Commitments;
use super::change::Change;
use super::htlc::{BADONION, IncomingHtlc, OutgoingHtlc, Removal};
use super::limits::{FIRST_TIME, Policy, Sight, missing};
use super::log::Update;
use super::refusal::{FeeRefused, OfferRefused, RemovalRefused};

impl Commitments {
    /// Offers an HTLC. The message may leave at once: it binds nobody before it is signed for.
    ///
    /// # Errors
    /// [`OfferRefused`] names the limit.
    pub fn offer_add(
        &self,
        htlc: &OutgoingHtlc,
        policy: &Policy,
    ) -> Result<(Change, UpdateAddHtlc), OfferRefused> {
        let OutgoingHtlc { amount, expiry, .. } = *htlc;
        let minimum = self.terms.theirs.htlc_minimum;
        if amount == Msat::ZERO {
            return Err(OfferRefused::AmountZero);
        }
        if amount < minimum {
            return Err(OfferRefused::BelowMinimum { amount, minimum });
        }
        if expiry >= FIRST_TIME {
            return Err(OfferRefused::ExpiryIsTime(expiry));
        }
        let received = as_received(self.ours.next_id, htlc);
        let message = self.add_message(&received);
        let update = Update::Add { htlc: received };

        // "if, after adding that HTLC to its commitment transaction, it cannot pay the fee for either the local or remote
        // commitment transaction": theirs comes first, ours once they have acknowledged everything.
        for prospect in [self.their_next(), self.our_future()] {
            if let Some(missing) = missing(prospect.our_balance(), amount) {
                return Err(OfferRefused::InsufficientBalance { amount, missing });
            }
            self.check_offer(amount, &prospect.with(&update, true))?;
        }
        let limit = policy.max_dust_exposure;
        let exposure = self.dust_exposure_with(policy, Some((&update, true)));
        if exposure > limit {
            return Err(OfferRefused::DustExposure { exposure, limit });
        }
        Ok((Change::OurAdd { htlc: htlc.clone() }, message))
    }

    /// Whether a commitment that has the HTLC keeps all limits.
    fn check_offer(&self, amount: Msat, with: &Sight<'_>) -> Result<(), OfferRefused> {
        let limit = self.terms.theirs.max_accepted_htlcs;
        if with.count(true) > usize::from(limit) {
            return Err(OfferRefused::TooManyHtlcs { limit });
        }
        let (total, limit) = (with.in_flight(true), self.terms.theirs.max_in_flight);
        if total > limit {
            return Err(OfferRefused::TooMuchInFlight { total, limit });
        }
        let cost = if self.terms.we_opened { with.buffered_cost(0) } else { Msat::ZERO };
        let needed = self.terms.ours.reserve.saturating_add(cost);
        if let Some(missing) = missing(with.our_balance(), needed) {
            return Err(OfferRefused::InsufficientBalance { amount, missing });
        }
        // "SHOULD NOT offer `amount_msat` if, once the remote node adds that HTLC to its commitment transaction, it cannot pay
        // the fee": dust adds no fee.
        if !self.terms.we_opened && amount >= with.threshold(true) {
            let needed = self.terms.theirs.reserve.saturating_add(with.opener_cost(with.feerate(), 0));
            if let Some(missing) = missing(with.their_balance(), needed) {
                return Err(OfferRefused::PeerCannotPay { missing });
            }
        }
        if with.has_output() { Ok(()) } else { Err(OfferRefused::NoOutput) }
    }

    /// Removes an HTLC that they offered. A fulfilment must be durable, with its
    /// [`MonitorStep::Preimage`](lightning_traits::monitor::MonitorStep::Preimage), before its message leaves.
    ///
    /// # Errors
    /// [`RemovalRefused`]; [`AlreadyRemoved`](RemovalRefused::AlreadyRemoved) makes repeating safe.
    pub fn offer_removal(&self, id: HtlcId, removal: Removal) -> Result<(Change, Message), RemovalRefused> {
        let Some(htlc) = self.incoming.get(&id) else {
            return Err(if id >= self.theirs.next_id {
                RemovalRefused::Unknown(id)
            } else if self.theirs.adds(id) {
                RemovalRefused::NotCommitted(id)
            } else {
                RemovalRefused::AlreadyRemoved(id)
            });
        };
        if self.ours.removes(id) {
            return Err(RemovalRefused::AlreadyRemoved(id));
        }
        match &removal {
            Removal::Fulfill { preimage, .. } if preimage.hash() != htlc.hash => {
                return Err(RemovalRefused::WrongPreimage(id));
            }
            Removal::Fail { reason, .. } if reason.len() > MAX_ATTRIBUTED_REASON_LEN => {
                return Err(RemovalRefused::ReasonTooLong(reason.len()));
            }
            Removal::Malformed { code, .. } if code & BADONION == 0 => {
                return Err(RemovalRefused::MissingBadOnion(*code));
            }
            Removal::Fulfill { .. } | Removal::Fail { .. } | Removal::Malformed { .. } => {}
        }
        let message = self.removal_message(id, &removal);
        Ok((Change::OurRemove { htlc: id, removal }, message))
    }

    /// Changes the feerate, as the opener.
    ///
    /// # Errors
    /// [`FeeRefused`] says why not.
    pub fn offer_fee(
        &self,
        feerate: FeeratePerKw,
        policy: &Policy,
    ) -> Result<(Change, UpdateFee), FeeRefused> {
        if !self.terms.we_opened {
            return Err(FeeRefused::NotOpener);
        }
        if feerate > policy.max_feerate || feerate < FeeratePerKw::FLOOR {
            return Err(FeeRefused::OutOfRange(feerate));
        }
        let current = self.our_future();
        if feerate == current.feerate() {
            return Err(FeeRefused::Same(feerate));
        }
        let update = Update::Fee { feerate };
        for prospect in [self.their_next(), self.our_future()] {
            let with = prospect.with(&update, true);
            let needed = self.terms.ours.reserve.saturating_add(with.cost_with_room(feerate));
            if let Some(missing) = missing(with.our_balance(), needed) {
                return Err(FeeRefused::Unaffordable { missing });
            }
            // Without a reserve the fee may eat the last output (RELIABILITY C10).
            if !with.has_output() {
                return Err(FeeRefused::Unaffordable { missing: Msat::from_amount(with.dust_limit()) });
            }
        }
        let limit = policy.max_dust_exposure;
        let exposure = self.dust_exposure_at(policy, feerate);
        if feerate > current.feerate() && exposure > limit {
            return Err(FeeRefused::DustExposure { exposure, limit });
        }
        Ok((Change::OurFee { feerate }, self.fee_message(feerate)))
    }

    /// The message of an update of ours, made anew for sending again.
    pub(super) fn message(&self, update: &Update) -> Message {
        match update {
            Update::Add { htlc } => self.add_message(htlc).into(),
            Update::Remove { htlc, removal } => self.removal_message(*htlc, removal),
            Update::Fee { feerate } => self.fee_message(*feerate).into(),
        }
    }

    fn add_message(&self, htlc: &IncomingHtlc) -> UpdateAddHtlc {
        UpdateAddHtlc {
            channel_id: self.terms.channel,
            id: htlc.id,
            amount_msat: htlc.amount,
            payment_hash: htlc.hash,
            cltv_expiry: htlc.expiry,
            // At hand: the manager has built it, or the restart has built it again.
            onion_routing_packet: htlc.onion.packet().cloned().unwrap_or_else(unreadable),
            path_key: htlc.path_key,
            unknown: TlvRecords::default(),
        }
    }

    fn removal_message(&self, id: HtlcId, removal: &Removal) -> Message {
        let (channel_id, unknown) = (self.terms.channel, TlvRecords::default());
        match removal.clone() {
            Removal::Fulfill { preimage, attribution, .. } => Message::from(UpdateFulfillHtlc {
                channel_id,
                id,
                payment_preimage: preimage,
                attribution_data: attribution,
                unknown,
            }),
            Removal::Fail { reason, attribution } => {
                UpdateFailHtlc { channel_id, id, reason, attribution_data: attribution, unknown }.into()
            }
            Removal::Malformed { sha256_of_onion, code } => {
                UpdateFailMalformedHtlc { channel_id, id, sha256_of_onion, failure_code: code, unknown }
                    .into()
            }
        }
    }

    fn fee_message(&self, feerate: FeeratePerKw) -> UpdateFee {
        UpdateFee { channel_id: self.terms.channel, feerate_per_kw: feerate, unknown: TlvRecords::default() }
    }
}

/// An onion that nobody can read: the HTLC comes back, instead of taking money with it.
fn unreadable() -> Arc<OnionPacket> {
    let (ephemeral_key, payloads) = ([0; 33], [0; PAYMENT_PAYLOADS_LEN]);
    Arc::new(OnionPacket { version: 0, ephemeral_key, payloads, hmac: [0; 32] })
}

/// The HTLC as the peer receives it. Its exposure is for the peer to judge.
pub(super) fn as_received(id: HtlcId, htlc: &OutgoingHtlc) -> IncomingHtlc {
    IncomingHtlc {
        id,
        amount: htlc.amount,
        hash: htlc.hash,
        expiry: htlc.expiry,
        onion: htlc.onion.clone(),
        path_key: htlc.path_key,
        over_exposed: false,
    }
}
