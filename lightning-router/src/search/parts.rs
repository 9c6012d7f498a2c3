//! Several paths that deliver an amount together (BOLT 4, "Basic Multi-Part Payments").
//!
//! The cheapest flow says over which ways; what its paths deliver exactly is found here, part after part, and what rounding, base
//! fees and the limits of single HTLCs leave over is put on parts that have room, or flows again. Where that costs too much in
//! fees, the flow with the least fees is tried; where it needs too many parts, a coarser one, and last the widest paths one after
//! the other, which are the fewest.
//!
//! # Invariants
//! - what all parts carry over one edge together fits it, and all their fees together keep the limit
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::flow::{Flow, Pieces};
use super::path::Hops;
use super::prices::{Aim, Prices, Tariff};
use super::{Finder, Part};
use crate::knowledge::BIT;

/// Into how many pieces an amount is cut at first, and when that takes too many parts.
const FINE: u64 = 16;
const COARSE: u64 = 6;
/// Room for less than such a share of the amount is left alone.
const SMALLEST: u64 = 256;
/// How often a rest flows again.
const ROUNDS: usize = 4;
/// Of the widest paths, a rest smaller than this share of the whole is not left for a part of its own: it may be below what
/// channels take.
const LEAST_SHARE: u64 = 64;
/// How often a path that is not quite as wide as it seemed is tried for less.
const RETRIES: u32 = 4;

/// A path that is less likely than this is held against parts: one in eight.
const DOUBTFUL: u32 = 3 * BIT;

/// How a flow is cut into pieces, and what it makes small.
#[derive(Clone, Copy, Debug)]
struct Cut {
    prices: Prices,
    count: u64,
    is_coarse: bool,
}

/// What came of a flow.
enum Flown {
    Parts(Vec<Hops>),
    /// The parts are there, and cost more than allowed.
    TooDear,
    /// It does not carry everything, or not in so many parts.
    NoRoom,
}

/// Parts found so far.
struct Parts {
    paths: Vec<Hops>,
    missing: u64,
}

fn sent(hops: &Hops) -> u64 {
    hops.first().map_or(0, |(_, amount, _, _)| *amount)
}

fn delivered(hops: &Hops) -> u64 {
    hops.last().map_or(0, |(_, amount, _, _)| *amount)
}

fn loads(hops: &Hops) -> impl Iterator<Item = (u32, u64)> {
    hops.iter().map(|(slot, amount, _, _)| (*slot, *amount))
}

impl Finder<'_> {
    /// Up to `max_parts` paths that deliver the amount together.
    pub(super) fn parts(&mut self) -> Option<Vec<Hops>> {
        if !self.ends_allow() {
            return None;
        }
        let fine = |prices| Cut { prices, count: FINE, is_coarse: false };
        let coarse = |prices| Cut { prices, count: COARSE, is_coarse: true };
        for cut in [fine, coarse] {
            match self.flow(cut(self.prices)) {
                Flown::Parts(parts) => return Some(parts),
                Flown::TooDear if self.prices != Prices::FEES => {
                    if let Flown::Parts(parts) = self.flow(cut(Prices::FEES)) {
                        return Some(parts);
                    }
                }
                Flown::TooDear | Flown::NoRoom => {}
            }
        }
        self.widest_first()
    }

    /// Parts that are better than a path which carries everything, if that probably fails.
    pub(super) fn better_parts(&mut self, alone: &[Hops; 1]) -> Option<Vec<Hops>> {
        if self.prices == Prices::FEES || self.bits(alone) <= DOUBTFUL {
            return None;
        }
        let cut = Cut { prices: self.prices, count: FINE, is_coarse: false };
        let Flown::Parts(parts) = self.flow(cut) else { return None };
        // What the parts took is known now; they are compared as if nothing were.
        for hops in &parts {
            self.question.give_back(loads(hops));
        }
        (self.cost(&parts) < self.cost(alone)).then_some(parts)
    }

    /// How unlikely it is that all of these parts arrive.
    fn bits(&self, parts: &[Hops]) -> u32 {
        let mut all: BTreeMap<u32, u64> = BTreeMap::new();
        for (slot, amount) in parts.iter().flat_map(loads) {
            let load = all.entry(slot).or_default();
            *load = load.saturating_add(amount);
        }
        let bits = all.into_iter().filter_map(|(slot, load)| {
            let edge = self.question.edge(slot)?;
            let (_, used) = self.question.room(slot);
            Some(self.question.bits(&edge, used.saturating_add(load)))
        });
        bits.fold(0, u32::saturating_add)
    }

    /// What these parts cost, all prices included.
    fn cost(&self, parts: &[Hops]) -> u64 {
        let whole = self.whole();
        let tariff = Tariff::new(Aim::Cost(self.prices), whole.amount);
        let mut cost = tariff.risk(self.bits(parts));
        for hops in parts {
            let fee = sent(hops).saturating_sub(delivered(hops));
            let blocks = hops.first().map_or(0, |(_, _, _, delay)| *delay);
            cost = cost.saturating_add(tariff.without_risk(fee, blocks, delivered(hops)));
        }
        cost
    }

    /// Whether the channels of the two ends could carry the amount in so many parts: if not, nothing else needs to be tried.
    fn ends_allow(&self) -> bool {
        let question = &self.question;
        let (mut leaving, mut arriving) = (Vec::new(), Vec::new());
        question.for_each_out(question.payer, |_, slot, edge| leaving.push((slot, edge.maximum)));
        question.for_each_into(question.payee, |slot, edge| arriving.push((slot, edge.maximum)));
        [leaving, arriving].into_iter().all(|edges| self.most_in_parts(&edges) >= self.whole().amount)
    }

    /// The most that these edges carry together in parts.
    fn most_in_parts(&self, edges: &[(u32, u64)]) -> u64 {
        let most_parts = usize::from(self.question.query.max_parts);
        let mut htlcs = Vec::new();
        for (slot, maximum) in edges {
            let (mut room, _) = self.question.room(*slot);
            for _ in 0..most_parts {
                let htlc = room.min(*maximum);
                if htlc == 0 {
                    break;
                }
                htlcs.push(htlc);
                room = room.saturating_sub(htlc);
            }
        }
        htlcs.sort_unstable_by(|one, two| two.cmp(one));
        htlcs.into_iter().take(most_parts).fold(0, u64::saturating_add)
    }

    /// No fee limit yet: that is looked at when all parts are there.
    fn begin(&self) -> Parts {
        Parts { paths: Vec::new(), missing: self.whole().amount }
    }

    fn has_room(&self, found: &Parts) -> bool {
        found.missing > 0 && found.paths.len() < usize::from(self.question.query.max_parts)
    }

    fn flow(&mut self, cut: Cut) -> Flown {
        let mut found = self.begin();
        let whole = found.missing;
        let most_parts = usize::from(self.question.query.max_parts);
        // Many small parts may be too many: then none is taken that is far below the average.
        let least = whole / if cut.is_coarse { most_parts as u64 } else { SMALLEST };
        for _ in 0..ROUNDS {
            if !self.has_room(&found) {
                break;
            }
            let pieces = Pieces {
                prices: cut.prices,
                whole,
                amount: found.missing,
                count: cut.count,
                least: least.min(found.missing),
                proud: cut.is_coarse,
            };
            let mut flow = Flow::new(&self.question, self.space, pieces);
            flow.run();
            let strands = flow.strands(most_parts.saturating_sub(found.paths.len()));
            let before = found.missing;
            for strand in strands {
                self.take_strand(&strand.slots, strand.amount, &mut found);
            }
            self.fill_up(&mut found);
            if found.missing == before {
                break;
            }
        }
        let fees = found.paths.iter().map(|hops| sent(hops).saturating_sub(delivered(hops)));
        let fee = fees.fold(0_u64, u64::saturating_add);
        if found.missing == 0 && fee <= self.whole().max_fee {
            return Flown::Parts(found.paths);
        }
        self.give_back(&found);
        if found.missing == 0 { Flown::TooDear } else { Flown::NoRoom }
    }

    /// Parts over these edges that deliver the amount, or as much as they can.
    fn take_strand(&mut self, slots: &[u32], amount: u64, found: &mut Parts) {
        let mut left = amount.min(found.missing);
        while left > 0 && self.has_room(found) {
            let most = self.question.most_over(slots).min(left);
            let Some(hops) = self.question.hops_over(slots, self.part(most)) else { return };
            self.take(hops, found);
            left = left.saturating_sub(most);
        }
    }

    /// Puts what is missing on parts that have room for more.
    fn fill_up(&mut self, found: &mut Parts) {
        for at in 0..found.paths.len() {
            if found.missing == 0 {
                return;
            }
            let Some(old) = found.paths.get(at).cloned() else { continue };
            self.question.give_back(loads(&old));
            let slots: Vec<u32> = old.iter().map(|(slot, _, _, _)| *slot).collect();
            let wanted = delivered(&old).saturating_add(found.missing);
            let most = self.question.most_over(&slots).min(wanted);
            let wider = self.question.hops_over(&slots, self.part(most));
            let new = wider.filter(|new| delivered(new) > delivered(&old)).unwrap_or_else(|| old.clone());
            let more = delivered(&new).saturating_sub(delivered(&old));
            found.missing = found.missing.saturating_sub(more);
            self.question.take(loads(&new));
            if let Some(place) = found.paths.get_mut(at) {
                *place = new;
            }
        }
    }

    fn widest_first(&mut self) -> Option<Vec<Hops>> {
        let mut found = self.begin();
        let least = found.missing / LEAST_SHARE;
        let limit = self.whole().max_fee;
        let mut budget = limit;
        while self.has_room(&found) {
            let Some((slots, widest)) = self.widest(found.missing, budget) else { break };
            let mut amount = widest.min(found.missing);
            let rest = found.missing.saturating_sub(amount);
            if rest > 0 && rest < least {
                amount = found.missing.saturating_sub(least);
            }
            let part = Part { max_fee: budget, ..self.part(amount) };
            let Some(hops) = self.question.hops_over(&slots, part).or_else(|| self.about(part)) else {
                break;
            };
            budget = budget.saturating_sub(sent(&hops).saturating_sub(delivered(&hops)));
            self.take(hops, &mut found);
        }
        if found.missing == 0 {
            return Some(found.paths);
        }
        self.give_back(&found);
        None
    }

    /// A path for this part, or for somewhat less.
    fn about(&mut self, mut part: Part) -> Option<Hops> {
        for _ in 0..RETRIES {
            if part.amount == 0 {
                return None;
            }
            if let Some(hops) = self.path(part) {
                return Some(hops);
            }
            part.amount = part.amount.saturating_sub(part.amount.div_ceil(8));
        }
        None
    }

    fn give_back(&mut self, found: &Parts) {
        for hops in &found.paths {
            self.question.give_back(loads(hops));
        }
    }

    fn part(&self, amount: u64) -> Part {
        Part { amount, max_fee: u64::MAX, ..self.whole() }
    }

    fn take(&mut self, hops: Hops, found: &mut Parts) {
        self.question.take(loads(&hops));
        found.missing = found.missing.saturating_sub(delivered(&hops));
        found.paths.push(hops);
    }
}
