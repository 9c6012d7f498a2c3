//! Several paths that deliver an amount together (BOLT 4, "Basic Multi-Part Payments").
//!
//! Two ways to divide are tried. The first takes the widest path, then the widest of what is left, and so needs the fewest
//! parts. The second divides evenly over the cheapest paths, which finds cheap narrow ways where the wide ones cost too much.
//!
//! # Invariants
//! - what all parts carry over one edge together fits it, and all their fees together keep the limit
use alloc::vec::Vec;

use super::path::Hops;
use super::{Finder, Part};

/// Numbers of equal parts that are tried.
const EVEN: [u16; 7] = [2, 3, 4, 6, 8, 12, 16];
/// A rest smaller than this share of the whole is not left for a part of its own: it may be below what channels take.
const LEAST_SHARE: u64 = 64;
/// How often a path that is not quite as wide as it seemed is tried for less.
const RETRIES: u32 = 4;

/// Parts found so far.
struct Parts {
    paths: Vec<Hops>,
    missing: u64,
    budget: u64,
}

impl Finder<'_> {
    /// Up to `max_parts` paths that deliver the amount together.
    pub(super) fn parts(&mut self) -> Option<Vec<Hops>> {
        self.widest_first().or_else(|| EVEN.iter().find_map(|count| self.evenly(*count)))
    }

    fn begin(&self) -> Parts {
        let whole = self.whole();
        Parts { paths: Vec::new(), missing: whole.amount, budget: whole.max_fee }
    }

    fn widest_first(&mut self) -> Option<Vec<Hops>> {
        let mut found = self.begin();
        let least = found.missing / LEAST_SHARE;
        for _ in 0..self.question.query.max_parts {
            let widest = self.widest(found.missing, found.budget);
            let mut amount = widest.min(found.missing);
            let rest = found.missing.saturating_sub(amount);
            if rest > 0 && rest < least {
                amount = found.missing.saturating_sub(least);
            }
            let Some(hops) = self.about(amount, &found) else { break };
            self.take(hops, &mut found);
            if found.missing == 0 {
                break;
            }
        }
        self.complete(found)
    }

    /// A path for this amount, or for somewhat less.
    fn about(&mut self, mut amount: u64, found: &Parts) -> Option<Hops> {
        for _ in 0..RETRIES {
            if amount == 0 {
                return None;
            }
            if let Some(hops) = self.path(self.part(amount, found)) {
                return Some(hops);
            }
            amount = amount.saturating_sub(amount.div_ceil(8));
        }
        None
    }

    fn part(&self, amount: u64, found: &Parts) -> Part {
        Part { amount, max_fee: found.budget, ..self.whole() }
    }

    fn evenly(&mut self, count: u16) -> Option<Vec<Hops>> {
        if count > self.question.query.max_parts {
            return None;
        }
        let mut found = self.begin();
        for left in (1..=u64::from(count)).rev() {
            // Rounded up, so that the last takes what is left and is not larger than the others.
            let amount = found.missing.div_ceil(left);
            if amount == 0 {
                break;
            }
            let Some(hops) = self.path(self.part(amount, &found)) else { break };
            self.take(hops, &mut found);
        }
        self.complete(found)
    }

    fn take(&mut self, hops: Hops, found: &mut Parts) {
        self.question.take(hops.iter().map(|(slot, amount, _, _)| (*slot, *amount)));
        let sent = hops.first().map_or(0, |(_, amount, _, _)| *amount);
        let delivered = hops.last().map_or(0, |(_, amount, _, _)| *amount);
        found.missing = found.missing.saturating_sub(delivered);
        found.budget = found.budget.saturating_sub(sent.saturating_sub(delivered));
        found.paths.push(hops);
    }

    /// The parts if they deliver everything; else what they took is free again.
    fn complete(&mut self, found: Parts) -> Option<Vec<Hops>> {
        if found.missing == 0 {
            return Some(found.paths);
        }
        for hops in &found.paths {
            self.question.give_back(hops.iter().map(|(slot, amount, _, _)| (*slot, *amount)));
        }
        None
    }
}
