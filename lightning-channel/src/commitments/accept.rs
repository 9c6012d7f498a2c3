//! Decide on what they send: HTLCs, their removal, the feerate, `channel_ready` (BOLT 2, receiving node).
//!
//! # Invariants
//! - what an honest peer may send in any interleaving is accepted: limits are judged on our next commitment without the
//!   additions of ours that the peer may not have known
use lightning_traits::id::HtlcId;
use lightning_traits::monitor::HtlcOutcome;
use lightning_traits::units::Msat;
use lightning_traits::wire::{
    UpdateAddHtlc, UpdateFailHtlc, UpdateFailMalformedHtlc, UpdateFee, UpdateFulfillHtlc,
};
use secp256k1::PublicKey;

use super::change::Change;
use super::htlc::{BADONION, IncomingHtlc, PendingOutgoing, Removal};
use super::limits::{FIRST_TIME, Policy, Sight, missing};
use super::log::Update;
use super::notice::Outcome;
use super::violation::Violation;
use super::{Commitments, Turn};

impl Commitments {
    /// `update_add_htlc`.
    ///
    /// # Errors
    /// The [`Violation`]. Too much dust is none: the HTLC comes marked [`over_exposed`](IncomingHtlc::over_exposed).
    pub fn accept_add(&self, message: &UpdateAddHtlc, policy: &Policy) -> Result<Change, Violation> {
        let (htlc, amount, expiry) = (message.id, message.amount_msat, message.cltv_expiry);
        let (expected, minimum) = (self.theirs.next_id, self.terms.ours.htlc_minimum);
        if htlc != expected {
            return Err(Violation::HtlcIdOutOfOrder { expected, got: htlc });
        }
        if amount == Msat::ZERO {
            return Err(Violation::AmountZero(htlc));
        }
        if amount < minimum {
            return Err(Violation::AmountBelowMinimum { htlc, amount, minimum });
        }
        if expiry >= FIRST_TIME {
            return Err(Violation::ExpiryIsTime { htlc, expiry });
        }
        let mut added = IncomingHtlc {
            id: htlc,
            amount,
            hash: message.payment_hash,
            expiry,
            onion: message.onion_routing_packet.clone().into(),
            path_key: message.path_key,
            over_exposed: false,
        };
        let before = self.our_next_for_them();
        if let Some(missing) = missing(before.their_balance(), amount) {
            return Err(Violation::SenderCannotAfford { htlc, missing });
        }
        let update = Update::Add { htlc: added.clone() };
        let with = before.with(&update, false);
        self.check_add(htlc, &with)?;
        if !self.our_future().with(&update, false).has_output() {
            return Err(Violation::NoOutput(htlc));
        }
        let exposure = self.dust_exposure_with(policy, Some((&update, false)));
        added.over_exposed = exposure > policy.max_dust_exposure;
        Ok(Change::TheirAdd { htlc: added })
    }

    /// Whether our next commitment with the HTLC keeps all limits.
    fn check_add(&self, htlc: HtlcId, with: &Sight<'_>) -> Result<(), Violation> {
        let limit = self.terms.ours.max_accepted_htlcs;
        if with.count(false) > usize::from(limit) {
            return Err(Violation::TooManyHtlcs(limit));
        }
        let (total, limit) = (with.in_flight(false), self.terms.ours.max_in_flight);
        if total > limit {
            return Err(Violation::TooMuchInFlight { total, limit });
        }
        let cost = with.opener_cost(with.feerate(), 0);
        let their_cost = if self.terms.we_opened { Msat::ZERO } else { cost };
        let needed = self.terms.theirs.reserve.saturating_add(their_cost);
        if let Some(missing) = missing(with.their_balance(), needed) {
            return Err(Violation::SenderCannotAfford { htlc, missing });
        }
        // Our reserve is not asked for: it protects them, and we may have offered HTLCs of our own meanwhile.
        if self.terms.we_opened
            && let Some(missing) = missing(with.our_balance(), cost)
        {
            return Err(Violation::OpenerCannotPay { htlc, missing });
        }
        if with.has_output() { Ok(()) } else { Err(Violation::NoOutput(htlc)) }
    }

    /// `update_fulfill_htlc`.
    ///
    /// # Errors
    /// The [`Violation`].
    pub fn accept_fulfill(&self, message: &UpdateFulfillHtlc) -> Result<Change, Violation> {
        let htlc = message.id;
        if self.removable(htlc)?.hash != message.payment_preimage.hash() {
            return Err(Violation::WrongPreimage(htlc));
        }
        let removal = Removal::Fulfill {
            preimage: message.payment_preimage.clone(),
            attribution: message.attribution_data.clone(),
            claimed: None,
        };
        Ok(Change::TheirRemove { htlc, removal })
    }

    /// `update_fail_htlc`.
    ///
    /// # Errors
    /// The [`Violation`].
    pub fn accept_fail(&self, message: &UpdateFailHtlc) -> Result<Change, Violation> {
        let htlc = message.id;
        self.removable(htlc)?;
        let removal =
            Removal::Fail { reason: message.reason.clone(), attribution: message.attribution_data.clone() };
        Ok(Change::TheirRemove { htlc, removal })
    }

    /// `update_fail_malformed_htlc`. That `sha256_of_onion` be ours is not asked for (BOLT 2: "MAY retry or choose an
    /// alternate error response"): the origin learns what the peer said.
    ///
    /// # Errors
    /// The [`Violation`].
    pub fn accept_malformed(&self, message: &UpdateFailMalformedHtlc) -> Result<Change, Violation> {
        let (htlc, code) = (message.id, message.failure_code);
        self.removable(htlc)?;
        if code & BADONION == 0 {
            return Err(Violation::MissingBadOnion { htlc, code });
        }
        let removal = Removal::Malformed { sha256_of_onion: message.sha256_of_onion, code };
        Ok(Change::TheirRemove { htlc, removal })
    }

    /// The HTLC of ours that they may remove now: "if the `id` does not correspond to an HTLC in its current commitment
    /// transaction: MUST send a `warning` ... or send an `error`".
    fn removable(&self, id: HtlcId) -> Result<&PendingOutgoing, Violation> {
        let Some(htlc) = self.outgoing.get(&id) else {
            return Err(if id < self.ours.next_id {
                Violation::HtlcAlreadyRemoved(id)
            } else {
                Violation::HtlcUnknown(id)
            });
        };
        if self.theirs.removes(id) {
            return Err(Violation::HtlcAlreadyRemoved(id));
        }
        if self.ours.adds(id) {
            return Err(Violation::HtlcNotCommitted(id));
        }
        Ok(htlc)
    }

    /// `update_fee`.
    ///
    /// # Errors
    /// The [`Violation`].
    pub fn accept_fee(&self, message: &UpdateFee, policy: &Policy) -> Result<Change, Violation> {
        let feerate = message.feerate_per_kw;
        if self.terms.we_opened {
            return Err(Violation::FeeFromAccepter);
        }
        let before = self.our_next_for_them();
        // What is no farther out than the feerate in force makes nothing worse: fees moved, not the opener.
        let in_force = self.funding.ours.spec.feerate;
        let (lowest, highest) = (in_force.min(before.feerate()), in_force.max(before.feerate()));
        if feerate < policy.min_feerate.min(lowest) {
            return Err(Violation::FeerateTooLow { feerate, limit: policy.min_feerate });
        }
        if feerate > policy.max_feerate.max(highest) {
            return Err(Violation::FeerateTooHigh { feerate, limit: policy.max_feerate });
        }
        let rises = feerate > before.feerate();
        let with = before.with(&Update::Fee { feerate }, false);
        let needed = self.terms.theirs.reserve.saturating_add(with.opener_cost(feerate, 0));
        if rises && let Some(missing) = missing(with.their_balance(), needed) {
            return Err(Violation::FeeUnaffordable { feerate, missing });
        }
        // Without a reserve the fee may eat the last output (RELIABILITY C10).
        if rises && !with.has_output() {
            return Err(Violation::FeeUnaffordable {
                feerate,
                missing: Msat::from_amount(with.dust_limit()),
            });
        }
        let (exposure, limit) = (self.dust_exposure_at(policy, feerate), policy.max_dust_exposure);
        if rises && exposure > limit {
            return Err(Violation::DustExposure { exposure, limit });
        }
        Ok(Change::TheirFee { feerate })
    }

    /// `channel_ready`. `None` when it is redundant, which BOLT 2 says to ignore after a reconnection.
    #[must_use]
    pub const fn accept_ready(&self, next_point: PublicKey) -> Option<Change> {
        match self.turn {
            Turn::AwaitingReady {} => Some(Change::TheirReady { next_point }),
            Turn::MaySign { .. } | Turn::AwaitingRevocation { .. } => None,
        }
    }

    /// What the chain decided about an HTLC that we offered. `None` when that is known already.
    #[must_use]
    pub fn accept_chain_outcome(&self, htlc: HtlcId, outcome: &HtlcOutcome) -> Option<Change> {
        // Monitors may be far away, and one that lies must not make us believe that we were served.
        if let HtlcOutcome::Claimed { preimage } = outcome {
            let offered = self.outgoing.get(&htlc).map(|offered| offered.hash);
            let hash = self.settlements.get(&htlc).map(|settlement| settlement.hash).or(offered);
            hash.filter(|hash| *hash == preimage.hash())?;
        }
        let news = match (self.settlements.get(&htlc), outcome) {
            (None, _) => self.outgoing.contains_key(&htlc),
            (Some(known), HtlcOutcome::Failed {}) => !known.is_final,
            (Some(known), HtlcOutcome::Claimed { .. }) => {
                !known.is_final || !matches!(known.outcome, Outcome::Fulfilled { .. }) && !known.is_done
            }
        };
        news.then(|| Change::ResolvedOnChain { htlc, outcome: outcome.clone() })
    }
}
