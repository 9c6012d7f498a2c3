//! How much on-chain money the channels of a node need, so that their claims can pay fees when it matters.
//!
//! Only channels with anchors need any (BOLT 3): a child for the commitment, and coins for each HTLC's second stage. What is
//! reserved comes back as change but for the fees.
use bitcoin::Amount;
use lightning_traits::tx::trim::commitment_fee;
use lightning_traits::tx::weight::{OUTPUT_BYTES, SEGWIT_BYTES, TRANSACTION_BYTES};
use lightning_traits::tx::{CommitmentFormat, Spend};
use lightning_traits::units::FeeratePerKw;

use crate::claim::{COIN_INPUT_WEIGHT, LONGEST_CHANGE};

/// What must be survived. The defaults are those of a small forwarding node: a tenth of its channels, and one at least, close
/// together while the chain asks 50 sat/vB, with four HTLCs each that are to be claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReserveAssumptions {
    /// What the chain asks when the channels close.
    pub feerate: FeeratePerKw,
    /// What their commitments were signed with.
    pub commitment_feerate: FeeratePerKw,
    /// HTLCs of each that are to be claimed.
    pub htlcs: u32,
    /// One channel of so many closes in the same days; 1 for all of them.
    pub one_in: u32,
}

impl Default for ReserveAssumptions {
    fn default() -> Self {
        Self {
            feerate: FeeratePerKw::new(12_500),
            commitment_feerate: FeeratePerKw::new(2_500),
            htlcs: 4,
            one_in: 10,
        }
    }
}

/// On-chain money to keep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reserve {
    /// How much.
    pub amount: Amount,
    /// In how many confirmed outputs at least: each claim that waits uses some of its own.
    pub coins: u32,
}

/// The on-chain money that so many channels with anchors need.
///
/// For each of those that are assumed to close together: what a child adds until commitment and child pay the feerate, and a
/// second-stage transaction with one coin and change for each HTLC at that rate. An HTLC's claim never costs more than half of it,
/// so with small HTLCs this is more than will be spent.
#[must_use]
pub fn reserve(channels: u32, assumptions: &ReserveAssumptions) -> Reserve {
    let ReserveAssumptions { feerate, commitment_feerate, htlcs, one_in } = *assumptions;
    let closing = channels.div_ceil(one_in.max(1));
    let format = CommitmentFormat::AnchorsZeroFeeHtlc;
    let bytes = (TRANSACTION_BYTES + OUTPUT_BYTES).saturating_add(LONGEST_CHANGE as u64);
    let spending = |spend: Spend| {
        bytes.saturating_mul(4).saturating_add(SEGWIT_BYTES + COIN_INPUT_WEIGHT + spend.input_weight(format))
    };
    let commitment = |rate| commitment_fee(format, rate, htlcs as usize).to_sat();
    let both = commitment(feerate).saturating_add(feerate.fee(spending(Spend::Anchor)).to_sat());
    let child = both.saturating_sub(commitment(commitment_feerate));
    // The dearer of both kinds, and its own output beside the change.
    let second_stage = spending(Spend::HtlcSuccess).saturating_add((OUTPUT_BYTES + 34) * 4);
    let claims = feerate.fee(second_stage).to_sat().saturating_mul(u64::from(htlcs));
    let amount = child.saturating_add(claims).saturating_mul(u64::from(closing));
    Reserve { amount: Amount::from_sat(amount), coins: closing.saturating_mul(htlcs.saturating_add(1)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sat(channels: u32, assumptions: ReserveAssumptions) -> u64 {
        reserve(channels, &assumptions).amount.to_sat()
    }

    /// By hand: 1,124 + 4 x 172 = 1,812 weight units of commitment; with the child at 12,500, less 1,812 at 2,500; and four
    /// HTLC-success transactions.
    #[test]
    fn the_default_for_one_channel() {
        let one = reserve(1, &ReserveAssumptions::default());
        assert_eq!(one.coins, 5);
        let child = 53 * 4 + 2 + 273 + 280;
        let success =
            53 * 4 + 2 + 273 + 43 * 4 + Spend::HtlcSuccess.input_weight(CommitmentFormat::AnchorsZeroFeeHtlc);
        assert_eq!(Spend::Anchor.input_weight(CommitmentFormat::AnchorsZeroFeeHtlc), 280);
        let expected = (1_812 + child) * 25 / 2 - 1_812 * 5 / 2 + 4 * (success * 25 / 2);
        assert!(one.amount.to_sat().abs_diff(expected) <= 4, "{} for {expected}", one.amount);
    }

    #[test]
    fn more_of_anything_needs_more_and_nothing_needs_nothing() {
        let plain = ReserveAssumptions::default();
        assert_eq!(reserve(0, &plain), Reserve::default());
        assert_eq!(sat(10, plain), sat(1, plain), "a tenth, and one at least");
        assert_eq!(sat(11, plain), 2 * sat(1, plain));
        assert_eq!(sat(10, ReserveAssumptions { one_in: 1, ..plain }), 10 * sat(1, plain));
        assert_eq!(sat(10, ReserveAssumptions { one_in: 0, ..plain }), 10 * sat(1, plain));
        assert!(sat(1, ReserveAssumptions { htlcs: 5, ..plain }) > sat(1, plain));
        assert!(sat(1, ReserveAssumptions { feerate: FeeratePerKw::new(13_000), ..plain }) > sat(1, plain));
        let dear =
            ReserveAssumptions { feerate: FeeratePerKw::new(u32::MAX), htlcs: u32::MAX, one_in: 1, ..plain };
        assert!(sat(u32::MAX, dear) > 0, "no overflow");
    }
}
