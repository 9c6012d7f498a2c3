//! Millisatoshi: the unit of every Lightning amount.
//!
//! BOLT 2 and 4 count in thousandths of a satoshi; BOLT 3 rounds down to whole satoshis for outputs.
//!
//! # Invariants
//! - no operator that could wrap: only `checked_*` and `saturating_*` (I8)
use core::fmt;

use bitcoin::Amount;

/// An amount in millisatoshi.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Msat(u64);

impl Msat {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// The largest value a field can carry; larger than all bitcoin there will ever be.
    pub const MAX: Self = Self(u64::MAX);

    /// An amount of `msat` millisatoshi.
    #[must_use]
    pub const fn new(msat: u64) -> Self {
        Self(msat)
    }

    /// An amount of whole satoshis; saturates, which only amounts above 2^64 msat reach.
    #[must_use]
    pub const fn from_sat(sat: u64) -> Self {
        Self(sat.saturating_mul(1000))
    }

    /// The on-chain amount as millisatoshi; [`bitcoin::Amount`] values that exist on chain never saturate.
    #[must_use]
    pub fn from_amount(amount: Amount) -> Self {
        Self::from_sat(amount.to_sat())
    }

    /// The number of millisatoshi.
    #[must_use]
    pub const fn to_msat(self) -> u64 {
        self.0
    }

    /// Whole satoshis, rounded down as BOLT 3 rounds output amounts.
    #[must_use]
    pub const fn to_sat_floor(self) -> u64 {
        self.0 / 1000
    }

    /// Whole satoshis as an on-chain amount, rounded down (BOLT 3, "Commitment Transaction Outputs").
    #[must_use]
    pub const fn to_amount_floor(self) -> Amount {
        Amount::from_sat(self.to_sat_floor())
    }

    /// Sum, or `None` above 2^64 - 1 msat.
    #[must_use]
    pub const fn checked_add(self, other: Self) -> Option<Self> {
        match self.0.checked_add(other.0) {
            Some(sum) => Some(Self(sum)),
            None => None,
        }
    }

    /// Difference, or `None` when it would be negative.
    #[must_use]
    pub const fn checked_sub(self, other: Self) -> Option<Self> {
        match self.0.checked_sub(other.0) {
            Some(rest) => Some(Self(rest)),
            None => None,
        }
    }

    /// Product, or `None` above 2^64 - 1 msat.
    #[must_use]
    pub const fn checked_mul(self, factor: u64) -> Option<Self> {
        match self.0.checked_mul(factor) {
            Some(product) => Some(Self(product)),
            None => None,
        }
    }

    /// Sum, held at the largest value.
    #[must_use]
    pub const fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// Difference, held at zero.
    #[must_use]
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// `self * millionths / 1_000_000`, rounded down, without overflow on the way.
    ///
    /// `None` when the result itself does not fit; BOLT 7's proportional fee for any channel that can exist does.
    #[must_use]
    pub fn checked_millionths(self, millionths: u32) -> Option<Self> {
        let product = u128::from(self.0).checked_mul(u128::from(millionths))?;
        u64::try_from(product / 1_000_000).ok().map(Self)
    }

    /// Sum of many amounts, or `None` above 2^64 - 1 msat.
    pub fn checked_sum(amounts: impl IntoIterator<Item = Self>) -> Option<Self> {
        amounts.into_iter().try_fold(Self::ZERO, Self::checked_add)
    }
}

impl fmt::Debug for Msat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} msat", self.0)
    }
}

impl fmt::Display for Msat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} msat", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proportional_fee_rounds_down_and_does_not_overflow() {
        assert_eq!(Msat::new(1_000_999).checked_millionths(1), Some(Msat::new(1)));
        assert_eq!(Msat::MAX.checked_millionths(1_000_000), Some(Msat::MAX));
        assert_eq!(Msat::MAX.checked_millionths(1_000_001), None);
    }

    #[test]
    fn satoshis_round_down() {
        assert_eq!(Msat::new(1_999).to_sat_floor(), 1);
        assert_eq!(Msat::from_sat(2).to_msat(), 2_000);
    }
}
