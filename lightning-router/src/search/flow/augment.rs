//! Piece after piece over the cheapest way that is left (successive shortest paths).
//!
//! Each node has a height: the least that a piece costs from the payer to it. The search for a way runs backwards from the payee
//! and counts what a way costs above that, so it looks only at nodes by which a piece loses little. After a piece, heights
//! rise by what it cost more; so no edge ever goes down, and an edge on the way costs nothing above.
//!
//! # Invariants
//! - an edge costs at least the difference of its ends' heights, but where likelihoods are not convex, which costs at most
//!   some of the optimum
use super::{Flow, MILLION, Sent};
use crate::flat::Edge;
use crate::search::MAX_HOPS;
use crate::search::workspace::END;

use super::space::Way;

/// A flow that needs more is given up: its parts would be too many.
const MOST_PIECES: usize = 160;

/// Steps of a way: the slot, and whether it undoes.
type Steps = alloc::vec::Vec<(u32, bool, u32)>;

impl Flow<'_, '_> {
    /// Sends everything, or as much as can be. Says how much is missing.
    pub(in crate::search) fn run(&mut self) -> u64 {
        self.find_heights();
        for _ in 0..MOST_PIECES {
            if self.missing == 0 || !self.send_piece() {
                break;
            }
        }
        self.missing
    }

    /// A first search from the payer, as far as the payee and a little farther.
    fn find_heights(&mut self) {
        let (question, payer, payee) = (self.question, self.question.payer, self.question.payee);
        self.space.begin_flow(question.node_count());
        self.space.offer_height(payer, 0);
        self.space.queue.push(0, payer);
        let mut enough = u64::MAX;
        while let Some((cost, node)) = self.space.queue.pop() {
            if cost > enough {
                self.space.end_heights(cost);
                return;
            }
            if !self.space.settle_height(node) {
                continue;
            }
            if node == payee {
                enough = cost.saturating_add(cost / 4);
                continue;
            }
            question.for_each_out(node, |to, slot, edge| {
                self.space.looked_at = self.space.looked_at.wrapping_add(1);
                let Some(price) = self.price(slot, edge) else { return };
                let cost = cost.saturating_add(price);
                if self.space.offer_height(to, cost) {
                    self.space.queue.push(cost, to);
                }
            });
        }
        // What was not reached cannot be.
        self.space.end_heights(u64::MAX);
    }

    /// One piece, or as much of it as one way has room for.
    fn send_piece(&mut self) -> bool {
        let Some(excess) = self.search() else { return false };
        let steps = self.steps();
        let amount = self.bottleneck(&steps);
        if amount == 0 {
            return false;
        }
        for (slot, undoes, rate) in steps {
            self.send(slot, undoes, rate, amount);
        }
        self.missing = self.missing.saturating_sub(amount);
        let settled = core::mem::take(&mut self.space.settled);
        for (node, above) in settled.iter().filter(|(_, above)| *above < excess) {
            self.space.raise(*node, excess.saturating_sub(*above));
        }
        self.space.settled = settled;
        true
    }

    /// The cheapest way that is left; what it costs above the payee's height.
    fn search(&mut self) -> Option<u64> {
        let (payer, payee) = (self.question.payer, self.question.payee);
        self.space.begin_search();
        let delay = u32::from(self.question.query.final_cltv_delta.get());
        let start = Way { slot: END, rate: MILLION as u32, delay, ..Way::default() };
        self.space.offer(payee, start);
        while let Some((_, node)) = self.space.queue.pop() {
            let Some(way) = self.space.settle(node) else { continue };
            if node == payer {
                return Some(way.excess);
            }
            let height = self.space.height(node);
            if way.hops < MAX_HOPS {
                let question = self.question;
                question.for_each_into(node, |slot, edge| self.relax(node, height, &way, slot, edge));
            }
            self.relax_back(node, height, &way);
        }
        None
    }

    fn relax(&mut self, node: u32, height: u64, way: &Way, slot: u32, edge: &Edge) {
        self.space.looked_at = self.space.looked_at.wrapping_add(1);
        let from = self.space.height(edge.from);
        if from == u64::MAX {
            return;
        }
        let is_ours = edge.from == self.question.payer;
        let delay = way.delay.saturating_add(if is_ours { 0 } else { u32::from(edge.cltv_delta) });
        if delay > self.question.query.max_total_cltv {
            return;
        }
        let Some(price) = self.price(slot, edge) else { return };
        let excess = way.excess.saturating_add(price.saturating_add(from).saturating_sub(height));
        let next = Way {
            excess,
            slot,
            next: node,
            undoes: false,
            hops: way.hops.saturating_add(1),
            delay,
            rate: if is_ours { way.rate } else { self.rate_before(edge, way.rate) },
            ..Way::default()
        };
        self.space.offer(edge.from, next);
    }

    /// Edges of the flow that leave the node: a piece that comes to their end can push what came over them back to here.
    fn relax_back(&mut self, node: u32, height: u64, way: &Way) {
        let edges = self.leaving.range((node, 0)..=(node, u32::MAX));
        for (_, slot) in edges {
            let (Some(sent), Some(edge)) = (self.sent.get(slot), self.question.edge(*slot)) else { continue };
            let saved = self.saving(*slot, &edge, sent);
            let to = self.space.height(sent.to);
            let excess = to.saturating_sub(height.saturating_add(saved));
            let rate =
                u128::from(sent.load).saturating_mul(u128::from(MILLION)) / u128::from(sent.flow.max(1));
            let next = Way {
                excess: way.excess.saturating_add(excess),
                slot: *slot,
                next: node,
                undoes: true,
                hops: way.hops,
                delay: way.delay,
                rate: u32::try_from(rate).unwrap_or(u32::MAX),
                ..Way::default()
            };
            self.space.offer(sent.to, next);
        }
    }

    /// What must arrive before an edge, for each million at the payee.
    fn rate_before(&self, edge: &Edge, behind: u32) -> u32 {
        let factor = MILLION.saturating_add(u64::from(edge.fee_millionths));
        let scaled = u64::from(behind).saturating_mul(factor) / MILLION;
        let base = u64::from(edge.fee_base).saturating_mul(MILLION) / self.piece.max(1);
        u32::try_from(scaled.saturating_add(base)).unwrap_or(u32::MAX)
    }

    /// The way that was found, from the payer on; each step with the rate at its end.
    fn steps(&self) -> Steps {
        let mut steps = Steps::new();
        let mut way = self.space.way(self.question.payer);
        while let Some(here) = way.filter(|here| here.slot != END) {
            let next = self.space.way(here.next);
            steps.push((here.slot, here.undoes, next.map_or(MILLION as u32, |next| next.rate)));
            if steps.len() > 4 * usize::from(MAX_HOPS) {
                return Steps::new();
            }
            way = next;
        }
        steps
    }

    /// The most that the way takes of what is missing, up to a piece.
    fn bottleneck(&self, steps: &Steps) -> u64 {
        let mut amount = if steps.is_empty() { 0 } else { self.missing.min(self.piece) };
        for (slot, undoes, rate) in steps {
            let room = if *undoes {
                self.sent.get(slot).map_or(0, |sent| sent.flow)
            } else {
                let Some(edge) = self.question.edge(*slot) else { return 0 };
                let (room, _) = self.room(*slot, &edge);
                let scaled =
                    u128::from(room).saturating_mul(u128::from(MILLION)) / u128::from((*rate).max(1));
                u64::try_from(scaled).unwrap_or(u64::MAX)
            };
            amount = amount.min(room);
        }
        amount
    }

    fn send(&mut self, slot: u32, undoes: bool, rate: u32, amount: u64) {
        if undoes {
            let Some(sent) = self.sent.get_mut(&slot) else { return };
            let back =
                u128::from(sent.load).saturating_mul(u128::from(amount)) / u128::from(sent.flow.max(1));
            sent.load = sent.load.saturating_sub(u64::try_from(back).unwrap_or(u64::MAX));
            sent.flow = sent.flow.saturating_sub(amount);
            if sent.flow == 0 {
                self.leaving.remove(&(sent.from, slot));
                self.sent.remove(&slot);
            }
            return;
        }
        let Some((from, to)) = self.question.ends_of(slot) else { return };
        let load = u128::from(amount).saturating_mul(u128::from(rate)).div_ceil(u128::from(MILLION));
        let sent = self.sent.entry(slot).or_insert(Sent { from, to, flow: 0, load: 0 });
        sent.flow = sent.flow.saturating_add(amount);
        sent.load = sent.load.saturating_add(u64::try_from(load).unwrap_or(u64::MAX));
        self.is_used.mark(slot);
        self.leaving.insert((from, slot));
    }
}
