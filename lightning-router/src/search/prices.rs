//! What a search makes small: fees, and the price of what is not a fee.
use crate::flat::Edge;
use crate::knowledge::BIT;

use super::question::Question;

/// Prices of what is not a fee.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Prices {
    /// A block of lock time, in thousand-millionths of the amount.
    pub delay_billionths: u32,
    /// Each halving of the chance to arrive, in millisatoshis and in millionths of the amount.
    pub risk_base_msat: u32,
    /// See `risk_base_msat`.
    pub risk_millionths: u32,
}

impl Prices {
    /// What most payers want: a day of lock time is worth 15 millionths of the amount, and twice the chance 600.
    pub const USUAL: Self = Self { delay_billionths: 100, risk_base_msat: 3_000, risk_millionths: 600 };

    /// Only fees count.
    pub const FEES: Self = Self { delay_billionths: 0, risk_base_msat: 0, risk_millionths: 0 };
}

/// What a search makes small. Limits hold whatever the aim.
#[derive(Clone, Copy, Debug)]
pub(super) enum Aim {
    /// Fees and the prices of what is not a fee.
    Cost(Prices),
    /// Lock time.
    Delay,
    /// The number of hops.
    Hops,
}

/// Costs are counted in such parts of a millisatoshi, so that a hop can cost one part: of equal costs the fewer hops, as
/// each is one more that can fail. No path has so many hops that they add up to a millisatoshi.
pub(super) const PARTS: u64 = 64;

/// The prices for one amount.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tariff {
    amount: u64,
    fees: u64,
    block: u64,
    bit: u64,
}

impl Tariff {
    pub(super) fn new(aim: Aim, amount: u64) -> Self {
        let share = |price: u32, whole: u128| {
            let product = u128::from(amount).saturating_mul(u128::from(price) * u128::from(PARTS));
            u64::try_from(product / whole).unwrap_or(u64::MAX)
        };
        match aim {
            Aim::Cost(prices) => Self {
                amount,
                fees: PARTS,
                block: share(prices.delay_billionths, 1_000_000_000),
                bit: share(prices.risk_millionths, 1_000_000)
                    .saturating_add(u64::from(prices.risk_base_msat) * PARTS),
            },
            Aim::Delay => Self { amount, fees: 0, block: PARTS, bit: 0 },
            Aim::Hops => Self { amount, fees: 0, block: 0, bit: 0 },
        }
    }

    /// What an edge adds to the cost that carries `amount` for `fee`. Never falls when the amount rises.
    pub(super) fn cost(
        &self,
        question: &Question<'_>,
        edge: &Edge,
        amount: u64,
        fee: u64,
        blocks: u32,
    ) -> u64 {
        let mut cost = self.fees.saturating_mul(fee).saturating_add(1);
        cost = cost.saturating_add(self.block.saturating_mul(u64::from(blocks)));
        if self.bit != 0 {
            cost = cost.saturating_add(self.risk(question.bits(edge, amount)));
        }
        cost
    }

    /// What a piece of the amount that the tariff is for adds to the cost of an edge, but for its risk.
    pub(super) fn without_risk(&self, fee: u64, blocks: u32, piece: u64) -> u64 {
        let fees = self.fees.saturating_mul(fee).saturating_add(1);
        let waiting =
            u128::from(self.block).saturating_mul(u128::from(blocks)).saturating_mul(u128::from(piece));
        let waiting = waiting / u128::from(self.amount.max(1));
        fees.saturating_add(u64::try_from(waiting).unwrap_or(u64::MAX))
    }

    pub(super) const fn weighs_risk(&self) -> bool {
        self.bit != 0
    }

    /// What so many bits cost.
    pub(super) fn risk(&self, bits: u32) -> u64 {
        match self.bit.checked_mul(u64::from(bits)) {
            Some(product) => product / u64::from(BIT),
            None => self.bit.saturating_mul(u64::from(bits / BIT)),
        }
    }
}
