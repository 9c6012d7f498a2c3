//! Several paths that deliver an amount together (BOLT 4, "Basic Multi-Part Payments").
//!
//! Two ways to divide are tried. The first takes the widest path, then the widest of what is left, and so needs the fewest
//! parts. The second divides evenly over the cheapest paths, which finds cheap narrow ways where the wide ones cost too much.
//!
//! # Invariants
//! - what all parts carry over one edge together fits it, and all their fees together keep the limit
use alloc::vec::Vec;

use lightning_traits::route::{Path, Route};
use lightning_traits::units::Msat;

use super::rooms::Rooms;
use super::{Finder, Part};

/// Numbers of equal parts that are tried.
const EVEN: [u16; 7] = [2, 3, 4, 6, 8, 12, 16];
/// A rest smaller than this share of the whole is not left for a part of its own: it may be below what channels take.
const LEAST_SHARE: u64 = 64;
/// How often a path that is not quite as wide as it seemed is tried for less.
const RETRIES: u32 = 4;

/// Parts found so far.
struct Found {
    paths: Vec<Path>,
    rooms: Rooms,
    missing: Msat,
    budget: Msat,
}

impl Finder<'_> {
    /// Up to `max_parts` paths that deliver the amount together.
    pub(super) fn parts(&self, rooms: &Rooms) -> Option<Route> {
        let found =
            self.widest_first(rooms).or_else(|| EVEN.iter().find_map(|count| self.evenly(rooms, *count)));
        found.map(|paths| Route { paths })
    }

    fn begin(&self, rooms: &Rooms) -> Found {
        Found {
            paths: Vec::new(),
            rooms: rooms.clone(),
            missing: self.query.amount,
            budget: self.query.max_fee,
        }
    }

    fn widest_first(&self, rooms: &Rooms) -> Option<Vec<Path>> {
        let mut found = self.begin(rooms);
        let least = Msat::new(self.query.amount.to_msat().checked_div(LEAST_SHARE).unwrap_or(0));
        for _ in 0..self.query.max_parts {
            let widest = self.widest(found.missing, found.budget, &found.rooms);
            let mut amount = widest.min(found.missing);
            let rest = found.missing.saturating_sub(amount);
            if rest > Msat::ZERO && rest < least {
                amount = found.missing.saturating_sub(least);
            }
            let path = self.about(amount, &found)?;
            self.take(path, &mut found);
            if found.missing == Msat::ZERO {
                return Some(found.paths);
            }
        }
        None
    }

    /// A path for this amount, or for somewhat less.
    fn about(&self, mut amount: Msat, found: &Found) -> Option<Path> {
        for _ in 0..RETRIES {
            if amount == Msat::ZERO {
                return None;
            }
            if let Some(path) = self.path(Part { amount, max_fee: found.budget }, &found.rooms) {
                return Some(path);
            }
            amount = amount.saturating_sub(Msat::new(amount.to_msat().div_ceil(8)));
        }
        None
    }

    fn evenly(&self, rooms: &Rooms, count: u16) -> Option<Vec<Path>> {
        if count > self.query.max_parts {
            return None;
        }
        let mut found = self.begin(rooms);
        for left in (1..=u64::from(count)).rev() {
            // Rounded up, so that the last takes what is left and is not larger than the others.
            let amount = Msat::new(found.missing.to_msat().div_ceil(left));
            if amount == Msat::ZERO {
                return None;
            }
            let path = self.path(Part { amount, max_fee: found.budget }, &found.rooms)?;
            self.take(path, &mut found);
        }
        (found.missing == Msat::ZERO).then_some(found.paths)
    }

    fn take(&self, path: Path, found: &mut Found) {
        found.rooms.take(self.edges, self.payer, &path);
        found.missing = found.missing.saturating_sub(path.delivered());
        found.budget = found.budget.saturating_sub(path.fee());
        found.paths.push(path);
    }
}
