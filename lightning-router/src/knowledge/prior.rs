//! How likely a channel carries an amount, before anything is known of its balance and after.
//!
//! A balance is a random share of the capacity. Two shapes are mixed in a [`Prior`]: any share is as likely as another; and
//! most of it is on one of the two sides, as is the fate of a channel through which more flows one way than the other. What
//! attempts tell cuts the shape off below and above.
//!
//! Likelihoods are counted in halvings: 1 bit is a chance of one in two, 2 bits one in four. Bits of hops add up. All is
//! integers, and so the same everywhere (I10).
use alloc::boxed::Box;

/// What is thought of balances that nobody has tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Prior {
    /// Every balance is as likely as another.
    Uniform,
    /// Most channels have nearly everything on one side.
    Bimodal,
    /// Half of the channels are of the first kind, half of the second.
    #[default]
    Mixed,
}

/// Bits in sixteenths of a thousand: 65,536 are one bit.
pub(crate) const BIT: u32 = 1 << 16;

/// An amount that goes against all that is known. Not impossible: liquidity comes back, and what was told may be wrong.
pub(crate) const LEAST_LIKELY: u32 = 24 * BIT;

/// The whole capacity as a share, as [`Edge::share`](crate::flat::Edge) has it.
pub(crate) const WHOLE: u32 = 1 << 20;

const STEPS: usize = 1_024;
const STEP_BITS: u32 = 10;
/// A certainty, as the table of survival has it.
const CERTAIN: u64 = 1 << 30;

/// A prior as tables over the share of the capacity.
#[derive(Clone, Debug)]
pub(crate) struct Likelihood {
    /// The chance that at least this share can be sent, of [`CERTAIN`].
    survival: Box<[u32]>,
    /// The same in bits.
    bits: Box<[u32]>,
}

impl Likelihood {
    pub(crate) fn new(prior: Prior) -> Self {
        let survival: Box<[u32]> = (0..=STEPS as u64).map(|step| survival(prior, step)).collect();
        let bits = survival.iter().map(|chance| bits_of(u64::from(*chance), CERTAIN)).collect();
        Self { survival, bits }
    }

    /// Bits of a channel of which nothing is known.
    pub(crate) fn unknown(&self, share: u32) -> u32 {
        if share >= WHOLE { LEAST_LIKELY } else { between(&self.bits, share) }
    }

    /// Bits of a channel that is known to be able to send `least`, and not more than `most`.
    pub(crate) fn known(&self, share: u32, least: u32, most: u32) -> u32 {
        if share <= least {
            return 0;
        }
        if share > most || share >= WHOLE {
            return LEAST_LIKELY;
        }
        let chance = |share: u32| u64::from(between(&self.survival, share.min(WHOLE.saturating_sub(1))));
        // What is just possible gets a little more than nothing.
        let beyond = if most >= WHOLE { 0 } else { chance(most) };
        let possible = chance(share).saturating_sub(beyond);
        let all = chance(least).saturating_sub(beyond);
        bits_of(possible.max(1), all.max(possible).max(1))
    }
}

/// The value at a share, by the two entries of the table around it.
fn between(table: &[u32], share: u32) -> u32 {
    let at = (share >> STEP_BITS) as usize;
    let (Some(one), Some(two)) = (table.get(at), table.get(at.saturating_add(1))) else { return 0 };
    let part = i64::from(share & ((1 << STEP_BITS) - 1));
    let step = (i64::from(*two) - i64::from(*one)).saturating_mul(part) >> STEP_BITS;
    u32::try_from(i64::from(*one).saturating_add(step)).unwrap_or(0)
}

/// The chance that a balance is at least `step` of [`STEPS`] parts of the capacity.
fn survival(prior: Prior, step: u64) -> u32 {
    let steps = STEPS as u64;
    let even = CERTAIN.saturating_mul(steps.saturating_sub(step)) / steps;
    // Density in proportion to (2u - 1)^8: three quarters of all balances are within 7 % of one of the ends.
    let offset = (step.saturating_mul(2)) as i128 - i128::from(steps);
    let scale = i128::from(steps).saturating_pow(9);
    let ninth = offset.saturating_pow(9);
    let lopsided =
        (scale.saturating_sub(ninth)).saturating_mul(i128::from(CERTAIN)) / (scale.saturating_mul(2));
    let lopsided = u64::try_from(lopsided).unwrap_or(0);
    let chance = match prior {
        Prior::Uniform => even,
        Prior::Bimodal => lopsided,
        Prior::Mixed => even.saturating_add(lopsided) / 2,
    };
    u32::try_from(chance).unwrap_or(u32::MAX)
}

/// The bits of `part` out of `all`.
fn bits_of(part: u64, all: u64) -> u32 {
    if part == 0 {
        return LEAST_LIKELY;
    }
    log2(all).saturating_sub(log2(part)).min(LEAST_LIKELY)
}

const LOG_STEPS: usize = 64;

/// log2(1 + i / 64), in units of [`BIT`].
const LOGARITHMS: [u32; LOG_STEPS + 1] = logarithms();

#[expect(
    clippy::indexing_slicing,
    reason = "evaluated by the compiler, which refuses an index out of bounds"
)]
const fn logarithms() -> [u32; LOG_STEPS + 1] {
    let mut table = [0; LOG_STEPS + 1];
    let mut at = 0;
    while at < LOG_STEPS {
        // Squaring doubles a logarithm: each time that the number passes 2, the next bit is a one.
        let mut number = (1_u64 << 31) + ((at as u64) << 25);
        let (mut bits, mut bit) = (0, BIT / 2);
        while bit > 0 {
            number = ((number as u128 * number as u128) >> 31) as u64;
            if number >= 1 << 32 {
                number >>= 1;
                bits += bit;
            }
            bit /= 2;
        }
        table[at] = bits;
        at += 1;
    }
    table[LOG_STEPS] = BIT;
    table
}

/// The logarithm of a number that is not 0, rising with it and off by less than a ten-thousandth.
fn log2(number: u64) -> u32 {
    let zeros = number.leading_zeros();
    let whole = 63_u32.saturating_sub(zeros);
    let fraction = number.checked_shl(zeros.saturating_add(1)).unwrap_or(0);
    let at = (fraction >> 58) as usize;
    let part = (fraction >> 42) & 0xffff;
    let (Some(one), Some(two)) = (LOGARITHMS.get(at), LOGARITHMS.get(at.saturating_add(1))) else { return 0 };
    let step = (u64::from(two.saturating_sub(*one)).saturating_mul(part)) >> 16;
    whole.saturating_mul(BIT).saturating_add(*one).saturating_add(step as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chance(bits: u32) -> f64 {
        (-f64::from(bits) / f64::from(BIT)).exp2()
    }

    #[test]
    fn logarithms_are_right_and_rise() {
        let mut last = 0;
        for number in (1..5_000_u64).chain((13..63).map(|power| (1 << power) + 12_345)).chain([u64::MAX]) {
            let ours = f64::from(log2(number)) / f64::from(BIT);
            assert!((ours - (number as f64).log2()).abs() < 1e-4, "{number}: {ours}");
            assert!(log2(number) >= last);
            last = log2(number);
        }
    }

    #[test]
    fn an_even_prior_is_what_is_left_of_the_range() {
        let likelihood = Likelihood::new(Prior::Uniform);
        for share in (0..WHOLE).step_by(997) {
            let expected = 1.0 - f64::from(share) / f64::from(WHOLE);
            assert!((chance(likelihood.unknown(share)) - expected).abs() < 1e-3, "{share}");
        }
        let (least, most) = (WHOLE / 4, WHOLE / 2);
        for share in (least..most).step_by(997) {
            let expected = f64::from(most - share) / f64::from(most - least);
            assert!((chance(likelihood.known(share, least, most)) - expected).abs() < 1e-2, "{share}");
        }
        assert_eq!(likelihood.known(least, least, most), 0);
        assert_eq!(likelihood.known(most + 1, least, most), LEAST_LIKELY);
    }

    #[test]
    fn more_is_never_likelier() {
        for prior in [Prior::Uniform, Prior::Bimodal, Prior::Mixed] {
            let likelihood = Likelihood::new(prior);
            for (least, most) in [(0, WHOLE), (WHOLE / 3, WHOLE), (0, WHOLE / 3), (5, 6), (7, 7)] {
                let bits: Vec<u32> =
                    (0..WHOLE + 5).step_by(101).map(|share| likelihood.known(share, least, most)).collect();
                assert!(bits.windows(2).all(|pair| pair[0] <= pair[1]), "{prior:?} {least} {most}");
            }
            let bits: Vec<u32> = (0..WHOLE + 5).step_by(101).map(|share| likelihood.unknown(share)).collect();
            assert!(bits.windows(2).all(|pair| pair[0] <= pair[1]), "{prior:?}");
        }
    }

    #[test]
    fn a_lopsided_channel_rarely_is_in_the_middle() {
        let likelihood = Likelihood::new(Prior::Bimodal);
        let (tenth, most) = (likelihood.unknown(WHOLE / 10), likelihood.unknown(WHOLE / 10 * 9));
        assert!((chance(tenth) - chance(most)).abs() < 0.15);
        assert!((chance(likelihood.unknown(WHOLE / 2)) - 0.5).abs() < 1e-3);
    }
}
