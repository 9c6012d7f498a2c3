//! Balances, reserve, fees and dust: what a commitment must be able to bear (BOLT 2, "Adding an HTLC", "Updating Fees").
//!
//! Trimming and fees are those of `tx/trim.rs`, from which the transaction itself is built (RELIABILITY C2).
//!
//! # Invariants
//! - every acceptance looks at the commitments that would come of it, never at a shortcut of its own
use bitcoin::Amount;
use lightning_traits::config::ChannelConfig;
use lightning_traits::tx::{CommitmentFormat, CommitmentSpec, TxSide, trim};
use lightning_traits::units::{CltvExpiry, FeeratePerKw, Msat};

use super::Commitments;
use super::log::{Update, reduce};
use crate::terms::Terms;

/// What we allow beyond what the protocol demands; made anew from configuration and fee estimates for each step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Most value in HTLCs without outputs, on either commitment.
    pub max_dust_exposure: Msat,
    /// The lowest feerate that we take from an opener.
    pub min_feerate: FeeratePerKw,
    /// The highest feerate that we take from an opener, or set ourselves.
    pub max_feerate: FeeratePerKw,
    /// A feerate with which commitments confirm: what an opener pays above it counts as exposure, because a miner in league
    /// with it could take that much of what later became ours (RELIABILITY C5).
    pub fair_feerate: FeeratePerKw,
}

impl Policy {
    /// The policy that the configuration makes of an estimate.
    #[must_use]
    pub fn new(config: &ChannelConfig, estimate: FeeratePerKw) -> Self {
        let estimate = estimate.max(FeeratePerKw::FLOOR);
        let percent = |percent: u32| {
            let rate = u64::from(estimate.to_sat_per_kw()).saturating_mul(u64::from(percent)) / 100;
            FeeratePerKw::new(u32::try_from(rate).unwrap_or(u32::MAX)).max(FeeratePerKw::FLOOR)
        };
        Self {
            max_dust_exposure: config.max_dust_exposure,
            min_feerate: percent(config.min_feerate_percent).min(estimate),
            max_feerate: percent(config.max_feerate_percent),
            fair_feerate: estimate,
        }
    }
}

/// "`cltv_expiry` less than 500000000": above, the script would read a time.
pub(super) const FIRST_TIME: CltvExpiry = CltvExpiry::new(500_000_000);

/// HTLCs of theirs that may cross an `update_fee` of ours.
const CONCURRENT_ADDS: usize = 5;

/// A commitment as it would be, and whose it is.
pub(super) struct Sight<'a> {
    terms: &'a Terms,
    pub(super) spec: CommitmentSpec,
    /// Which side of the commitment we are.
    us: TxSide,
}

impl<'a> Sight<'a> {
    /// The same commitment with one more update.
    pub(super) fn with(mut self, update: &Update, by_us: bool) -> Self {
        let by = if by_us { self.us } else { self.us.other() };
        reduce(&mut self.spec, [update], by);
        self
    }

    const fn format(&self) -> CommitmentFormat {
        self.terms.format
    }

    /// The broadcaster's.
    pub(super) const fn dust_limit(&self) -> Amount {
        match self.us {
            TxSide::Broadcaster => self.terms.ours.dust_limit,
            TxSide::Countersigner => self.terms.theirs.dust_limit,
        }
    }

    pub(super) const fn feerate(&self) -> FeeratePerKw {
        self.spec.feerate
    }

    pub(super) const fn our_balance(&self) -> Msat {
        self.spec.balance(self.us)
    }

    pub(super) const fn their_balance(&self) -> Msat {
        self.spec.balance(self.us.other())
    }

    /// How many HTLCs a side offers.
    pub(super) fn count(&self, by_us: bool) -> usize {
        self.offered(by_us).count()
    }

    /// What the HTLCs that a side offers carry together; held at the largest value.
    pub(super) fn in_flight(&self, by_us: bool) -> Msat {
        self.offered(by_us).fold(Msat::ZERO, Msat::saturating_add)
    }

    fn offered(&self, by_us: bool) -> impl Iterator<Item = Msat> {
        let side = if by_us { self.us } else { self.us.other() };
        self.spec.htlcs.iter().filter(move |htlc| htlc.offered_by == side).map(|htlc| htlc.amount)
    }

    fn untrimmed(&self) -> usize {
        trim::untrimmed_count(&self.spec, self.format(), self.dust_limit())
    }

    /// The least amount with which an HTLC of that side has an output.
    pub(super) fn threshold(&self, by_us: bool) -> Msat {
        let side = if by_us { self.us } else { self.us.other() };
        let threshold = trim::htlc_threshold(self.format(), self.feerate(), self.dust_limit(), side);
        Msat::from_amount(threshold)
    }

    /// What the opener pays at `feerate`, with `more` HTLC outputs than there are.
    pub(super) fn opener_cost(&self, feerate: FeeratePerKw, more: usize) -> Msat {
        let outputs = self.untrimmed().saturating_add(more);
        Msat::from_amount(trim::opener_cost(self.format(), feerate, outputs))
    }

    /// BOLT 2: "It is recommended that this 'fee spike buffer' can handle twice the current `feerate_per_kw`", and
    /// that one more HTLC fits.
    ///
    /// 1000 sat/kw, anchors, one HTLC: (1124 + 2 x 172) x 2 + 660 = 3596 sat stay beside the reserve.
    pub(super) fn buffered_cost(&self, more: usize) -> Msat {
        self.opener_cost(twice(self.feerate()), more.saturating_add(1))
    }

    /// What we must have for a new feerate: HTLCs that they add before they hear of it cost the new rate too, and a strict
    /// peer would fail the channel.
    pub(super) fn cost_with_room(&self, feerate: FeeratePerKw) -> Msat {
        self.opener_cost(feerate, CONCURRENT_ADDS)
    }

    /// Whether the commitment has an output besides anchors.
    pub(super) fn has_output(&self) -> bool {
        let dust = Msat::from_amount(self.dust_limit());
        let cost = self.opener_cost(self.feerate(), 0);
        let (opener, other) = if self.terms.we_opened {
            (self.our_balance(), self.their_balance())
        } else {
            (self.their_balance(), self.our_balance())
        };
        self.untrimmed() > 0 || other >= dust || opener.saturating_sub(cost) >= dust
    }
}

/// Twice the feerate, held at the largest value.
const fn twice(feerate: FeeratePerKw) -> FeeratePerKw {
    FeeratePerKw::new(feerate.to_sat_per_kw().saturating_mul(2))
}

/// What is missing to `needed`; `None` when nothing is.
pub(super) fn missing(have: Msat, needed: Msat) -> Option<Msat> {
    match needed.saturating_sub(have) {
        Msat::ZERO => None,
        missing => Some(missing),
    }
}

impl Commitments {
    /// Their next commitment: what we would sign now.
    pub(super) fn their_next(&self) -> Sight<'_> {
        let mut spec = self.funding.theirs.spec.clone();
        reduce(&mut spec, &self.theirs.acked, TxSide::Broadcaster);
        reduce(&mut spec, &self.ours.proposed, TxSide::Countersigner);
        Sight { terms: &self.terms, spec, us: TxSide::Countersigner }
    }

    /// Our next commitment: what they would sign now.
    pub(super) fn our_next(&self) -> Sight<'_> {
        let mut spec = self.funding.ours.spec.clone();
        reduce(&mut spec, &self.ours.acked, TxSide::Broadcaster);
        reduce(&mut spec, &self.theirs.proposed, TxSide::Countersigner);
        Sight { terms: &self.terms, spec, us: TxSide::Broadcaster }
    }

    /// Our next commitment as they may have seen it when they sent their latest update: without additions and feerates of
    /// ours, even those that they acknowledged. For after a reconnection an acknowledgement may overtake an update that
    /// was sent before it, and our own HTLCs must not put them in the wrong.
    pub(super) fn our_next_for_them(&self) -> Sight<'_> {
        let mut spec = self.funding.ours.spec.clone();
        let removals = self.ours.acked.iter().filter(|update| update.removed().is_some());
        reduce(&mut spec, removals, TxSide::Broadcaster);
        reduce(&mut spec, &self.theirs.proposed, TxSide::Countersigner);
        Sight { terms: &self.terms, spec, us: TxSide::Broadcaster }
    }

    /// Our commitment once all that is on its way has arrived.
    pub(super) fn our_future(&self) -> Sight<'_> {
        let mut spec = self.funding.ours.spec.clone();
        reduce(&mut spec, &self.ours.acked, TxSide::Broadcaster);
        reduce(&mut spec, &self.ours.signed, TxSide::Broadcaster);
        reduce(&mut spec, &self.theirs.proposed, TxSide::Countersigner);
        reduce(&mut spec, &self.ours.proposed, TxSide::Broadcaster);
        Sight { terms: &self.terms, spec, us: TxSide::Broadcaster }
    }
}
