//! Value in HTLCs without outputs: it goes to miners when a commitment confirms (BOLT 2, "Bounding exposure to trimmed
//! in-flight HTLCs"; RELIABILITY C1, C5, C11).
//!
//! # Invariants
//! - every HTLC that either latest commitment has counts, and every addition on its way; a removal counts only once it is
//!   committed
use lightning_traits::tx::{CommitmentFormat, TxSide, trim};
use lightning_traits::units::{FeeratePerKw, Msat};

use super::Commitments;
use super::limits::Policy;
use super::log::{Update, htlc_spec};

/// The feerate at which dust is judged: where HTLC transactions pay fees, a rise of the feerate turns outputs into dust, so
/// some rise is assumed (RELIABILITY C1). 25 percent, and at least 10 sat/vB.
fn dust_feerate(format: CommitmentFormat, feerate: FeeratePerKw) -> FeeratePerKw {
    if format.rules().zero_fee_htlc {
        return feerate;
    }
    let rate = feerate.to_sat_per_kw();
    FeeratePerKw::new((rate.saturating_add(rate / 4)).max(rate.saturating_add(2_500)))
}

impl Commitments {
    /// The exposure, on our commitment or theirs, whichever is larger, with one more HTLC: which, and whether it is ours.
    pub(super) fn dust_exposure_with(&self, policy: &Policy, adding: Option<(&Update, bool)>) -> Msat {
        let feerate = self.feerate();
        let rates = (feerate, dust_feerate(self.terms.format, feerate));
        let on = |us| self.exposure_on(us, rates, policy, adding);
        on(TxSide::Broadcaster).max(on(TxSide::Countersigner))
    }

    /// The exposure, on our commitment or theirs, whichever is larger, at another feerate.
    pub(super) fn dust_exposure_at(&self, policy: &Policy, feerate: FeeratePerKw) -> Msat {
        let on = |us| self.exposure_on(us, (feerate, feerate), policy, None);
        on(TxSide::Broadcaster).max(on(TxSide::Countersigner))
    }

    /// The exposure on the commitment where we are `us`. `adding` is an addition under judgement, and whether it is ours.
    fn exposure_on(
        &self,
        us: TxSide,
        (feerate, judged_at): (FeeratePerKw, FeeratePerKw),
        policy: &Policy,
        adding: Option<(&Update, bool)>,
    ) -> Msat {
        let terms = &self.terms;
        let (spec, dust_limit) = match us {
            TxSide::Broadcaster => (&self.funding.ours.spec, terms.ours.dust_limit),
            TxSide::Countersigner => (&self.funding.theirs.spec, terms.theirs.dust_limit),
        };
        // Additions that this commitment does not have yet, see the table in `log.rs`.
        let (our_lists, their_lists): ([&[Update]; 3], [&[Update]; 2]) = match us {
            TxSide::Broadcaster => {
                ([&self.ours.acked, &self.ours.signed, &self.ours.proposed], [&self.theirs.proposed, &[]])
            }
            TxSide::Countersigner => {
                ([&self.ours.proposed, &[], &[]], [&self.theirs.acked, &self.theirs.proposed])
            }
        };
        let them = us.other();
        let ours = our_lists.into_iter().flatten().filter_map(Update::added).map(|htlc| htlc_spec(htlc, us));
        let theirs =
            their_lists.into_iter().flatten().filter_map(Update::added).map(|htlc| htlc_spec(htlc, them));
        let coming = ours.chain(theirs);
        let judged = adding.and_then(|(update, by_us)| {
            update.added().map(|htlc| htlc_spec(htlc, if by_us { us } else { them }))
        });

        let (mut dust, mut untrimmed) = (Msat::ZERO, 0_usize);
        for htlc in spec.htlcs.iter().copied().chain(coming).chain(judged) {
            if trim::is_trimmed(&htlc, terms.format, judged_at, dust_limit) {
                dust = dust.saturating_add(htlc.amount);
            } else {
                untrimmed = untrimmed.saturating_add(1);
            }
        }
        dust.saturating_add(self.excess_fee(feerate, policy, untrimmed))
    }

    /// What an opener who is not us pays above the fair feerate.
    fn excess_fee(&self, feerate: FeeratePerKw, policy: &Policy, untrimmed: usize) -> Msat {
        if self.terms.we_opened || feerate <= policy.fair_feerate {
            return Msat::ZERO;
        }
        let fee = |rate| Msat::from_amount(trim::commitment_fee(self.terms.format, rate, untrimmed));
        fee(feerate).saturating_sub(fee(policy.fair_feerate))
    }
}
