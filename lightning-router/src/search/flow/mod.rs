//! The cheapest way to send an amount over many channels at once: a minimum-cost flow.
//!
//! What a channel costs grows with what it carries: beside fees, each further piece makes it less likely that it carries all of
//! it (Pickhardt and Richter, "Optimally Reliable & Cheap Payment Flows on the Lightning Network"). Pieces of the amount
//! are sent one after the other over the cheapest way that is left; a piece may push an earlier one aside (`augment.rs`).
//! The flow is then taken apart into few paths (`decompose.rs`), and these are made exact (`settle.rs`).
//!
//! Inside, amounts of a flow are what arrives at the payee; its `load` is about what a channel carries for that, with the
//! fees of the nodes behind it.
mod augment;
mod decompose;
mod settle;
mod space;

use alloc::collections::{BTreeMap, BTreeSet};

use super::prices::{Aim, Prices, Tariff};
use super::question::{Marks, Question};
use super::workspace::Workspace;
use crate::flat::Edge;

pub(super) use space::FlowSpace;

pub(super) const MILLION: u64 = 1_000_000;

/// What a piece of a flow is, and what it may use.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pieces {
    /// What is made small.
    pub(super) prices: Prices,
    /// What the whole payment delivers: prices are by it.
    pub(super) whole: u64,
    /// What this flow has to deliver.
    pub(super) amount: u64,
    /// Into about so many pieces it is cut.
    pub(super) count: u64,
    /// Room for less is left alone.
    pub(super) least: u64,
    /// Whether channels may be used whose least HTLC is above a piece.
    pub(super) proud: bool,
}

/// What a flow sends over one edge.
#[derive(Clone, Copy, Debug)]
struct Sent {
    from: u32,
    to: u32,
    flow: u64,
    load: u64,
}

/// A flow in the making.
pub(super) struct Flow<'a, 'q> {
    question: &'a Question<'q>,
    space: &'a mut FlowSpace,
    tariff: Tariff,
    piece: u64,
    /// A smaller rest of a channel is left alone.
    least: u64,
    highest_minimum: u64,
    missing: u64,
    sent: BTreeMap<u32, Sent>,
    is_used: Marks,
    /// The edges in use by the node that they leave.
    leaving: BTreeSet<(u32, u32)>,
}

impl<'a, 'q> Flow<'a, 'q> {
    pub(super) fn new(question: &'a Question<'q>, space: &'a mut Workspace, pieces: Pieces) -> Self {
        let piece = pieces.amount.div_ceil(pieces.count.max(1)).max(1);
        Self {
            question,
            space: &mut space.flow,
            tariff: Tariff::new(Aim::Cost(pieces.prices), pieces.whole),
            piece,
            least: pieces.least.max(1),
            highest_minimum: if pieces.proud { pieces.amount } else { piece },
            missing: pieces.amount,
            sent: BTreeMap::new(),
            is_used: Marks::default(),
            leaving: BTreeSet::new(),
        }
    }

    /// What is left of an edge, and what it carries already: of this flow, and beside it.
    fn room(&self, slot: u32, edge: &Edge) -> (u64, u64) {
        let sent = if self.is_used.has(slot) { self.sent.get(&slot) } else { None };
        // Most edges are far larger than a piece, and then it does not matter how much.
        if sent.is_none() && edge.maximum >= self.piece && !self.question.is_known(slot) {
            return (edge.maximum, 0);
        }
        let (room, used) = self.question.room(slot);
        let load = sent.map_or(0, |sent| sent.load);
        (room.saturating_sub(load), used.saturating_add(load))
    }

    /// What one more piece over an edge costs; `None` if it has no room.
    fn price(&self, slot: u32, edge: &Edge) -> Option<u64> {
        if edge.minimum > self.highest_minimum || edge.maximum < self.least {
            return None;
        }
        let (room, used) = self.room(slot, edge);
        let piece = room.min(self.piece);
        if piece < self.least {
            return None;
        }
        Some(self.cost(edge, used, used.saturating_add(piece), piece))
    }

    /// What the last piece over an edge cost, which another way would save.
    fn saving(&self, slot: u32, edge: &Edge, sent: &Sent) -> u64 {
        let (_, used) = self.question.room(slot);
        let all = used.saturating_add(sent.load);
        let piece = sent.load.min(self.piece).max(1);
        self.cost(edge, all.saturating_sub(piece), all, piece)
    }

    /// The cost of a whole piece at the price of this one, which takes an edge from one load to another.
    fn cost(&self, edge: &Edge, before: u64, after: u64, piece: u64) -> u64 {
        let is_ours = edge.from == self.question.payer;
        let (fee, blocks) = if is_ours { (0, 0) } else { (edge.fee(self.piece), u32::from(edge.cltv_delta)) };
        let mut cost = self.tariff.without_risk(fee, blocks, self.piece);
        if self.tariff.weighs_risk() {
            let bits = |amount| self.question.bits(edge, amount);
            let more = bits(after).saturating_sub(if before == 0 { 0 } else { bits(before) });
            let risk = u128::from(self.tariff.risk(more)).saturating_mul(u128::from(self.piece));
            cost = cost.saturating_add(u64::try_from(risk / u128::from(piece.max(1))).unwrap_or(u64::MAX));
        }
        cost
    }
}
