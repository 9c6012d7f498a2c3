//! The cheapest path for one amount.
//!
//! Fees depend on what is forwarded, so the search that counts runs backwards from the payee: each of its labels knows exactly
//! what must arrive at its node and when. Alone it would look at half the network. So a second search comes from the payer, with
//! the costs of the delivered amount, which are never above the true ones. When the two meet, the first goes on only
//! where its own cost and what the second found, or has not yet reached, do not exceed the answer (A* with the second search as
//! bound), and so is as exact as if it had been alone.
//!
//! # Invariants
//! - a bound never falls by more than an edge costs, so a settled label is never improved
//! - every limit is kept label by label
use alloc::vec::Vec;

use lightning_traits::route::{Path, RouteHop};
use lightning_traits::units::{CltvExpiry, Msat};

use super::MAX_HOPS;
use super::prices::{Aim, Tariff};
use super::question::Question;
use super::workspace::{END, Label, Workspace};
use crate::flat::Edge;

/// A part to find a path for, and its limits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    pub(super) amount: u64,
    pub(super) max_fee: u64,
    pub(super) max_delay: u32,
}

/// A path as slots of edges, each with the amount that it carries, the node that it leads to and the blocks until it expires
/// there; ours first.
pub(super) type Hops = Vec<(u32, u64, u32, u32)>;

/// What came of a search.
pub(super) enum Found {
    /// The path.
    Path(Hops),
    /// None, and whether limits of amounts, fee, lock time or hops had a part in that.
    Nothing { by_limits: bool },
}

pub(super) struct Search<'a, 'q> {
    question: &'a Question<'q>,
    space: &'a mut Workspace,
    part: Part,
    tariff: Tariff,
    by_limits: bool,
    /// The least that any way costs on which the two searches have met.
    meeting: u64,
    /// Nodes that the search from the payer has not settled are at least so far from it; nothing if it has settled all.
    horizon: Option<u64>,
    is_directed: bool,
}

impl<'a, 'q> Search<'a, 'q> {
    pub(super) fn new(question: &'a Question<'q>, space: &'a mut Workspace, part: Part, aim: Aim) -> Self {
        let tariff = Tariff::new(aim, part.amount);
        Self {
            question,
            space,
            part,
            tariff,
            by_limits: false,
            meeting: u64::MAX,
            horizon: Some(0),
            is_directed: false,
        }
    }

    pub(super) fn run(mut self) -> Found {
        self.space.begin(self.question.node_count());
        let delay = u32::from(self.question.query.final_cltv_delta.get());
        if delay > self.part.max_delay {
            return Found::Nothing { by_limits: true };
        }
        let start = Label { amount: self.part.amount, delay, slot: END, ..Label::default() };
        if self.space.offer(self.question.payee, start) {
            self.space.queue.push(0, self.question.payee);
        }
        if self.space.offer_ahead(self.question.payer, 0) {
            self.space.queue_ahead.push(0, self.question.payer);
        }
        if !self.meet() {
            self.direct();
            self.finish();
        }
        match self.hops() {
            Some(hops) => Found::Path(hops),
            None => Found::Nothing { by_limits: self.by_limits },
        }
    }

    /// Runs both searches until they cannot meet on anything better; true if the payer was reached on the way.
    fn meet(&mut self) -> bool {
        let (mut back, mut ahead) = (0_u64, 0_u64);
        loop {
            let Some(farthest) = self.space.queue_ahead.least() else {
                self.horizon = None;
                return false;
            };
            self.horizon = Some(farthest);
            let Some(nearest) = self.space.queue.least() else { return true };
            if nearest.saturating_add(farthest) >= self.meeting {
                return false;
            }
            let before = self.space.looked_at;
            if back <= ahead {
                let Some((_, node)) = self.space.queue.pop() else { return true };
                if self.step(node) {
                    return true;
                }
                back = back.saturating_add(self.space.looked_at.saturating_sub(before)).saturating_add(1);
            } else {
                self.step_ahead();
                ahead = ahead.saturating_add(self.space.looked_at.saturating_sub(before)).saturating_add(1);
            }
        }
    }

    /// From here on, nodes that wait are taken in the order of what a whole way over them costs at least.
    fn direct(&mut self) {
        self.is_directed = true;
        let mut waiting = core::mem::take(&mut self.space.queue);
        self.space.queue = core::mem::take(&mut self.space.queue_ahead);
        self.space.queue.clear();
        waiting.drain(|cost, node| {
            let is_current = self.space.label(node).is_some_and(|label| !label.settled && label.cost == cost);
            if let Some(bound) = self.bound(node).filter(|_| is_current) {
                self.space.queue.push(cost.saturating_add(bound), node);
            }
        });
        self.space.queue_ahead = waiting;
    }

    fn finish(&mut self) {
        while let Some((_, node)) = self.space.queue.pop() {
            if self.step(node) {
                return;
            }
        }
    }

    /// The least that remains from the payer to a node; `None` if there is no way.
    fn bound(&self, node: u32) -> Option<u64> {
        match self.space.ahead(node).filter(|ahead| ahead.settled) {
            Some(ahead) => Some(ahead.cost),
            None => self.horizon,
        }
    }

    /// Settles a node of the search that counts; true if it is the payer.
    fn step(&mut self, node: u32) -> bool {
        let Some(label) = self.space.settle(node) else { return false };
        if node == self.question.payer {
            return true;
        }
        if label.hops >= MAX_HOPS {
            self.by_limits = true;
            return false;
        }
        let question = self.question;
        question.for_each_into(node, |slot, edge| self.relax(node, &label, slot, edge));
        false
    }

    /// Looks whether an edge, which leads to `node`, gives its start a better label.
    fn relax(&mut self, node: u32, label: &Label, slot: u32, edge: &Edge) {
        self.space.looked_at = self.space.looked_at.wrapping_add(1);
        if label.amount < edge.minimum || label.amount > edge.maximum {
            // Another way from here to the payee may need more, or less.
            self.by_limits |= label.amount < edge.minimum || self.part.amount <= edge.maximum;
            return;
        }
        // Nobody is paid for our own channel, and it adds no delay.
        let (fee, blocks) = if edge.from == self.question.payer {
            (0, 0)
        } else {
            (edge.fee(label.amount), u32::from(edge.cltv_delta))
        };
        let Some(amount) = label.amount.checked_add(fee) else { return };
        let delay = label.delay.saturating_add(blocks);
        if amount.saturating_sub(self.part.amount) > self.part.max_fee || delay > self.part.max_delay {
            self.by_limits = true;
            return;
        }
        let step = self.tariff.cost(self.question, edge, label.amount, fee, blocks);
        let cost = label.cost.saturating_add(step);
        let bound = if self.is_directed {
            let Some(bound) = self.bound(edge.from) else { return };
            bound
        } else {
            0
        };
        let hops = label.hops.saturating_add(1);
        let next = Label { cost, amount, delay, slot, next: node, hops, ..Label::default() };
        if self.space.offer(edge.from, next) {
            self.space.queue.push(cost.saturating_add(bound), edge.from);
            if !self.is_directed
                && let Some(ahead) = self.space.ahead(edge.from)
            {
                self.meeting = self.meeting.min(cost.saturating_add(ahead.cost));
            }
        }
    }

    /// Settles a node of the search from the payer.
    fn step_ahead(&mut self) {
        let Some((_, node)) = self.space.queue_ahead.pop() else { return };
        let Some(cost) = self.space.settle_ahead(node) else { return };
        // Beyond the payee nothing leads back to it.
        if node == self.question.payee {
            return;
        }
        let question = self.question;
        let highest = self.part.amount.saturating_add(self.part.max_fee);
        question.for_each_out(node, |to, _, edge| {
            self.space.looked_at = self.space.looked_at.wrapping_add(1);
            let amount = self.part.amount;
            if highest < edge.minimum || amount > edge.maximum {
                return;
            }
            let (fee, blocks) =
                if node == question.payer { (0, 0) } else { (edge.fee(amount), u32::from(edge.cltv_delta)) };
            let cost = cost.saturating_add(self.tariff.cost(question, edge, amount, fee, blocks));
            if self.space.offer_ahead(to, cost) {
                self.space.queue_ahead.push(cost, to);
                if let Some(label) = self.space.label(to) {
                    self.meeting = self.meeting.min(cost.saturating_add(label.cost));
                }
            }
        });
    }

    /// Follows the labels from the payer.
    fn hops(&self) -> Option<Hops> {
        let mut hops = Vec::new();
        let mut label = self.space.label(self.question.payer)?;
        while label.slot != END {
            let next = self.space.label(label.next)?;
            hops.push((label.slot, next.amount, label.next, next.delay));
            if hops.len() > usize::from(MAX_HOPS) {
                return None;
            }
            label = next;
        }
        (!hops.is_empty()).then_some(hops)
    }
}

/// A path as others read it. A hop's amount and expiry are those that arrive at its end.
pub(super) fn path_of(question: &Question<'_>, hops: &Hops) -> Option<Path> {
    let hops = hops.iter().map(|(slot, amount, node, delay)| {
        Some(RouteHop {
            node: question.id_of(*node),
            scid: question.scid_of(*slot)?,
            amount: Msat::new(*amount),
            expiry: CltvExpiry::after(question.height(), *delay),
        })
    });
    hops.collect::<Option<Vec<_>>>().map(|hops| Path { hops })
}
