//! Feerates in satoshi per 1000 weight units.
//!
//! BOLT 2 (`feerate_per_kw`) and BOLT 3 ("Fees"): fees are the weight times the rate, rounded down.
use core::fmt;

use bitcoin::Amount;

/// Satoshi per 1000 weight units, as `feerate_per_kw` carries it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FeeratePerKw(u32);

impl FeeratePerKw {
    /// The lowest rate that nodes relay by default: 1 sat/vB rounded up so that the rounded weight still passes.
    pub const FLOOR: Self = Self(253);

    /// A rate of `sat` satoshi per 1000 weight units.
    #[must_use]
    pub const fn new(sat: u32) -> Self {
        Self(sat)
    }

    /// Satoshi per 1000 weight units.
    #[must_use]
    pub const fn to_sat_per_kw(self) -> u32 {
        self.0
    }

    /// The fee of a transaction of `weight` units, rounded down (BOLT 3, "Fee Calculation").
    ///
    /// Saturates, which no weight that fits a block reaches.
    #[must_use]
    pub const fn fee(self, weight: u64) -> Amount {
        Amount::from_sat((self.0 as u64).saturating_mul(weight) / 1000)
    }
}

impl fmt::Display for FeeratePerKw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} sat/kw", self.0)
    }
}
