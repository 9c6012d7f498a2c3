//! The price of a claim as a pure function of what is at stake, the height, the market and what was offered before.
//!
//! As long as there is time the market's rate is paid. In the last blocks a share of the budget is paid whatever the market says,
//! since estimates may be stale or wrong: in the last block all of it, in the one before a half, before that a quarter. So a
//! claim with a budget of 50,000 sat offers 1,562 sat five blocks before its last one, and nothing is spent early for nothing.
//!
//! # Invariants
//! - never above the budget; the budget in the last block and after it
//! - the later the block, the higher the market, the higher the last offer, the higher the price
use bitcoin::Amount;
use lightning_traits::units::{BlockHeight, FeeratePerKw};

use crate::resolve::Rates;

/// What a claim is worth, what it weighs, and how long it is in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stake {
    /// What is lost without it.
    pub(crate) value: Amount,
    /// The most that it can pay and still leave something.
    pub(crate) payable: Amount,
    /// Upper bound of its weight.
    pub(crate) weight: u64,
    /// The last block in which nobody else could have it; `None` when nobody else ever can.
    pub(crate) deadline: Option<BlockHeight>,
    /// Whether it punishes: better all to miners than anything to the cheater (RELIABILITY D26).
    pub(crate) punishes: bool,
}

impl Stake {
    /// The most that may be offered, per weight; `None` when the market asks for more than the claim leaves.
    pub(crate) fn cap(&self, market: Rates) -> Option<FeeratePerKw> {
        let share = if self.punishes { self.value } else { self.value / 2 };
        // What cannot pay for haste is better claimed slowly than not at all.
        let cap = rate_of(share, self.weight).max(market.background).min(rate_of(self.payable, self.weight));
        (cap >= market.background).then_some(cap)
    }

    /// The rate to offer for the block after `tip`; `None` when waiting for a cheaper market is better.
    pub(crate) fn feerate(
        &self,
        market: Rates,
        tip: BlockHeight,
        last: Option<FeeratePerKw>,
    ) -> Option<FeeratePerKw> {
        let cap = self.cap(market)?;
        let (asked, ramp) = match self.deadline {
            None => (market.background, FeeratePerKw::new(0)),
            Some(_) => (market.urgent, halved(cap, self.blocks_left(tip).saturating_sub(1))),
        };
        Some(asked.max(ramp).max(last.unwrap_or_default()).max(market.background).min(cap))
    }

    /// Blocks from the next one to the last in which the claim is in time; one when it is late already.
    fn blocks_left(&self, tip: BlockHeight) -> u32 {
        self.deadline.map_or(u32::MAX, |deadline| deadline.get().saturating_sub(tip.get()).max(1))
    }

    /// Whether the next block is the last in which the claim is in time.
    pub(crate) fn is_last(&self, tip: BlockHeight) -> bool {
        self.blocks_left(tip) <= 1
    }

    /// Whether no market ever makes the claim worth its fee.
    pub(crate) fn is_hopeless(&self) -> bool {
        rate_of(self.payable, self.weight) < FeeratePerKw::FLOOR
    }
}

/// The rate that this fee is for this weight, rounded down.
pub(crate) fn rate_of(fee: Amount, weight: u64) -> FeeratePerKw {
    let rate = fee.to_sat().saturating_mul(1000).checked_div(weight).unwrap_or(0);
    FeeratePerKw::new(u32::try_from(rate).unwrap_or(u32::MAX))
}

const fn halved(rate: FeeratePerKw, times: u32) -> FeeratePerKw {
    match rate.to_sat_per_kw().checked_shr(times) {
        Some(rate) => FeeratePerKw::new(rate),
        None => FeeratePerKw::new(0),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LAST: u32 = 800_100;

    fn stake() -> impl Strategy<Value = Stake> {
        (0_u64..50_000_000, 400_u64..400_000, any::<bool>(), any::<bool>()).prop_map(
            |(value, weight, is_timed, punishes)| Stake {
                value: Amount::from_sat(value),
                payable: Amount::from_sat(value.saturating_sub(330)),
                weight,
                deadline: is_timed.then_some(BlockHeight::new(LAST)),
                punishes,
            },
        )
    }

    fn market() -> impl Strategy<Value = Rates> {
        (253_u32..100_000, 0_u32..1_000_000).prop_map(|(background, more)| Rates {
            background: FeeratePerKw::new(background),
            urgent: FeeratePerKw::new(background + more),
        })
    }

    fn height() -> impl Strategy<Value = BlockHeight> {
        (LAST - 200..LAST + 50).prop_map(BlockHeight::new)
    }

    fn last() -> impl Strategy<Value = Option<FeeratePerKw>> {
        proptest::option::of((0_u32..2_000_000).prop_map(FeeratePerKw::new))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn never_above_the_budget(stake in stake(), market in market(), tip in height(), last in last()) {
            let Some(rate) = stake.feerate(market, tip, last) else { return Ok(()) };
            let fee = rate.fee(stake.weight);
            let share = if stake.punishes { stake.value } else { stake.value / 2 };
            prop_assert!(fee <= stake.payable);
            prop_assert!(fee <= share.max(market.background.fee(stake.weight)));
            prop_assert!(rate >= market.background);
        }

        #[test]
        fn all_of_the_budget_in_the_last_block_and_after(stake in stake(), market in market(), late in 0_u32..40, last in last()) {
            let stake = Stake { deadline: Some(BlockHeight::new(LAST)), ..stake };
            let tip = BlockHeight::new(LAST - 1 + late);
            prop_assert!(stake.is_last(tip));
            prop_assert_eq!(stake.feerate(market, tip, last), stake.cap(market));
        }

        #[test]
        fn later_is_never_cheaper(stake in stake(), market in market(), tip in height(), more in 0_u32..60, last in last()) {
            prop_assert!(stake.feerate(market, tip, last) <= stake.feerate(market, tip.plus(more), last));
        }

        #[test]
        fn a_dearer_market_is_never_cheaper(stake in stake(), market in market(), tip in height(), more in 0_u32..500_000, last in last()) {
            let dearer = Rates { urgent: FeeratePerKw::new(market.urgent.to_sat_per_kw() + more), ..market };
            prop_assert!(stake.feerate(market, tip, last) <= stake.feerate(dearer, tip, last));
        }

        /// Block by block, whatever the market does: what was offered is offered again, or more.
        #[test]
        fn an_offer_is_never_lowered(stake in stake(), markets in proptest::collection::vec(market(), 1..60), start in 0_u32..80) {
            let mut last = None;
            for (blocks, market) in (0..).zip(markets) {
                let tip = BlockHeight::new(LAST - 80 + start + blocks);
                // A market that asks for more than is left is waited out; what is out stays out.
                let Some(rate) = stake.feerate(market, tip, last) else { continue };
                // The share of the budget bounds everything but a background rate above it, which may fall again.
                let share = if stake.punishes { stake.value } else { stake.value / 2 };
                let bound = rate_of(share, stake.weight);
                prop_assert!(last.is_none_or(|last| rate >= last.min(bound)), "{last:?} to {rate:?}");
                last = Some(rate.max(last.unwrap_or_default()));
            }
        }

        #[test]
        fn a_claim_that_waits_for_nobody_pays_for_no_haste(stake in stake(), market in market(), tip in height()) {
            let stake = Stake { deadline: None, ..stake };
            let rate = stake.feerate(market, tip, None);
            prop_assert!(rate.is_none_or(|rate| rate == market.background));
        }
    }

    /// The figures of the header.
    #[test]
    fn the_budget_doubles_towards_the_last_block() {
        let (floor, stake) = (
            Rates { urgent: FeeratePerKw::FLOOR, background: FeeratePerKw::FLOOR },
            Stake {
                value: Amount::from_sat(100_000),
                payable: Amount::from_sat(99_670),
                weight: 1_000,
                deadline: Some(BlockHeight::new(LAST)),
                punishes: false,
            },
        );
        let fee = |left: u32| stake.feerate(floor, BlockHeight::new(LAST - left), None).unwrap().fee(1_000);
        let fees: Vec<u64> = [1, 2, 3, 6, 7, 8, 9, 144].map(|left| fee(left).to_sat()).to_vec();
        assert_eq!(fees, [50_000, 25_000, 12_500, 1_562, 781, 390, 253, 253]);
    }
}
