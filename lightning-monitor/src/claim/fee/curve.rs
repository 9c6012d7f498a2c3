//! The price of a claim as a pure function of what is at stake, the height, the market and what was offered before.
//!
//! As long as there is time the market's rate is paid. In the last blocks a share of the budget is paid whatever the market says,
//! since estimates may be stale or wrong: in the last block all of it, in the one before a half, before that a quarter. So a
//! claim with a budget of 50,000 sat offers 1,562 sat five blocks before its last one, and nothing is spent early for nothing.
//!
//! When very much waits at once, as after many breaches in one block, not all of it fits into the last block: then each step lasts as
//! many blocks as all that waits needs (`pace`), so that what is worth most gets in first and there is room for the rest behind it.
//!
//! # Invariants
//! - never above the budget; the budget in the last block and after it
//! - the later the block, the higher the market, the more waits, the higher the last offer, the higher the price
use core::cmp::Reverse;

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
        pace: u32,
        last: Option<FeeratePerKw>,
    ) -> Option<FeeratePerKw> {
        let cap = self.cap(market)?;
        let (asked, ramp) = match self.deadline {
            None => (market.background, FeeratePerKw::new(0)),
            Some(_) => {
                let steps = self.blocks_left(tip).saturating_sub(1) / pace.max(1);
                (market.urgent, halved(cap, steps))
            }
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

    /// Before which others it is broadcast.
    pub(crate) fn rank(&self) -> Rank {
        Rank { last: self.deadline.map_or(u32::MAX, BlockHeight::get), value: Reverse(self.value) }
    }

    /// Whether no market ever makes the claim worth its fee.
    pub(crate) fn is_hopeless(&self) -> bool {
        rate_of(self.payable, self.weight) < FeeratePerKw::FLOOR
    }
}

/// Before which others a claim is broadcast, and gets coins: the nearer its last block, the sooner, and then the more it is worth.
/// What may come at any time comes last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rank {
    last: u32,
    value: Reverse<Amount>,
}

impl Rank {
    /// Behind all others.
    pub(crate) const LAST: Self = Self { last: u32::MAX, value: Reverse(Amount::ZERO) };
}

/// Weight of which all that waits gets into one block, whatever else is bought there: a quarter of it.
const SHARE: u64 = 1_000_000;

/// How many blocks a step of the price takes while claims of this weight wait together.
pub(crate) fn pace(waiting: u64) -> u32 {
    u32::try_from(waiting / SHARE).unwrap_or(u32::MAX).saturating_add(1)
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

    fn paces() -> impl Strategy<Value = u32> {
        prop_oneof![Just(1), 1_u32..50, Just(u32::MAX)]
    }

    fn last() -> impl Strategy<Value = Option<FeeratePerKw>> {
        proptest::option::of((0_u32..2_000_000).prop_map(FeeratePerKw::new))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn never_above_the_budget(stake in stake(), market in market(), tip in height(), pace in paces(), last in last()) {
            let Some(rate) = stake.feerate(market, tip, pace, last) else { return Ok(()) };
            let fee = rate.fee(stake.weight);
            let share = if stake.punishes { stake.value } else { stake.value / 2 };
            prop_assert!(fee <= stake.payable);
            prop_assert!(fee <= share.max(market.background.fee(stake.weight)));
            prop_assert!(rate >= market.background);
        }

        #[test]
        fn all_of_the_budget_in_the_last_block_and_after(stake in stake(), market in market(), late in 0_u32..40, pace in paces(), last in last()) {
            let stake = Stake { deadline: Some(BlockHeight::new(LAST)), ..stake };
            let tip = BlockHeight::new(LAST - 1 + late);
            prop_assert!(stake.is_last(tip));
            prop_assert_eq!(stake.feerate(market, tip, pace, last), stake.cap(market));
        }

        #[test]
        fn later_is_never_cheaper(stake in stake(), market in market(), tip in height(), more in 0_u32..60, pace in paces(), last in last()) {
            prop_assert!(stake.feerate(market, tip, pace, last) <= stake.feerate(market, tip.plus(more), pace, last));
        }

        #[test]
        fn a_dearer_market_is_never_cheaper(stake in stake(), market in market(), tip in height(), more in 0_u32..500_000, pace in paces(), last in last()) {
            let dearer = Rates { urgent: FeeratePerKw::new(market.urgent.to_sat_per_kw() + more), ..market };
            prop_assert!(stake.feerate(market, tip, pace, last) <= stake.feerate(dearer, tip, pace, last));
        }

        #[test]
        fn the_more_waits_the_sooner_more_is_offered(stake in stake(), market in market(), tip in height(), pace in paces(), more in 0_u32..50, last in last()) {
            let crowded = pace.saturating_add(more);
            prop_assert!(stake.feerate(market, tip, pace, last) <= stake.feerate(market, tip, crowded, last));
        }

        #[test]
        fn the_nearer_the_end_the_sooner_and_then_the_dearer(one in stake(), other in stake()) {
            let last = |stake: &Stake| stake.deadline.map_or(u32::MAX, BlockHeight::get);
            let expected = (last(&one), other.value).cmp(&(last(&other), one.value));
            prop_assert_eq!(one.rank().cmp(&other.rank()), expected);
            prop_assert!(one.rank() <= Rank::LAST);
        }

        /// Block by block, whatever the market does: what was offered is offered again, or more.
        #[test]
        fn an_offer_is_never_lowered(stake in stake(), markets in proptest::collection::vec(market(), 1..60), start in 0_u32..80, steps in proptest::collection::vec(paces(), 60)) {
            let mut last = None;
            for ((blocks, market), pace) in (0..).zip(markets).zip(steps) {
                let tip = BlockHeight::new(LAST - 80 + start + blocks);
                // A market that asks for more than is left is waited out; what is out stays out.
                let Some(rate) = stake.feerate(market, tip, pace, last) else { continue };
                // The share of the budget bounds everything but a background rate above it, which may fall again.
                let share = if stake.punishes { stake.value } else { stake.value / 2 };
                let bound = rate_of(share, stake.weight);
                prop_assert!(last.is_none_or(|last| rate >= last.min(bound)), "{last:?} to {rate:?}");
                last = Some(rate.max(last.unwrap_or_default()));
            }
        }

        #[test]
        fn a_claim_that_waits_for_nobody_pays_for_no_haste(stake in stake(), market in market(), tip in height(), pace in paces()) {
            let stake = Stake { deadline: None, ..stake };
            let rate = stake.feerate(market, tip, pace, None);
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
        let fee = |left: u32, pace| {
            stake.feerate(floor, BlockHeight::new(LAST - left), pace, None).unwrap().fee(1_000)
        };
        let fees: Vec<u64> = [1, 2, 3, 6, 7, 8, 9, 144].map(|left| fee(left, pace(0)).to_sat()).to_vec();
        assert_eq!(fees, [50_000, 25_000, 12_500, 1_562, 781, 390, 253, 253]);
        // What waits needs ten blocks, each of which leaves a quarter.
        let pace = pace(10_000_000 - 1);
        let fees: Vec<u64> = [1, 10, 11, 20, 21, 71, 144].map(|left| fee(left, pace).to_sat()).to_vec();
        assert_eq!(fees, [50_000, 50_000, 25_000, 25_000, 12_500, 390, 253]);
    }
}
