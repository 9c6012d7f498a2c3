//! The path over which most can be delivered.
//!
//! A search backwards from the payee whose labels are made large: what can be delivered from a node. Fees make a hop far
//! from the payee carry more than what is delivered, so each label knows what its way adds: a base and millionths.
use alloc::collections::BinaryHeap;
use alloc::vec::Vec;

use super::workspace::END;
use super::{Finder, MAX_HOPS};
use crate::flat::Edge;

const MILLION: u128 = 1_000_000;

/// The widest known way from a node to the payee.
#[derive(Clone, Copy, Debug)]
struct Width {
    /// What can be delivered.
    delivered: u64,
    /// What must arrive at the node for each millisatoshi delivered, in millionths; and for any amount.
    rate: u128,
    base: u128,
    delay: u32,
    hops: u8,
    settled: bool,
    /// The edge that leaves the node towards the payee, and the node at its end.
    slot: u32,
    next: u32,
}

impl Width {
    /// The most that can be delivered when this much can arrive at the node.
    fn deliverable(&self, arriving: u64) -> u64 {
        let left = u128::from(arriving).saturating_sub(self.base);
        let delivered = left.saturating_mul(MILLION).checked_div(self.rate).unwrap_or(0);
        u64::try_from(delivered).unwrap_or(u64::MAX)
    }

    /// The least that must arrive at the node to deliver this much.
    fn arriving(&self, delivered: u64) -> u128 {
        let scaled = u128::from(delivered).saturating_mul(self.rate).div_ceil(MILLION);
        scaled.saturating_add(self.base)
    }
}

impl Finder<'_> {
    /// The edges of about the widest path, and about what it delivers, up to `most`. Fees are rounded against the answer, but
    /// lock time and fees are not searched for the best: whoever wants to know for sure asks for a path.
    pub(super) fn widest(&self, most: u64, max_fee: u64) -> Option<(Vec<u32>, u64)> {
        let mut labels: Vec<Option<Width>> = alloc::vec![None; self.question.node_count()];
        let mut queue = BinaryHeap::new();
        let delay = u32::from(self.question.query.final_cltv_delta.get());
        let start = Width {
            delivered: most,
            rate: MILLION,
            base: 0,
            delay,
            hops: 0,
            settled: false,
            slot: END,
            next: END,
        };
        if let Some(place) = labels.get_mut(self.question.payee as usize) {
            *place = Some(start);
            queue.push((start.delivered, self.question.payee));
        }
        while let Some((_, node)) = queue.pop() {
            let Some(Some(label)) = labels.get_mut(node as usize) else { continue };
            if label.settled {
                continue;
            }
            label.settled = true;
            let label = *label;
            if node == self.question.payer {
                return Some((slots_from(&labels, label), label.delivered));
            }
            if label.hops >= MAX_HOPS {
                continue;
            }
            self.question.for_each_into(node, |slot, edge| {
                let Some(next) = self.widen(&label, edge, max_fee) else { return };
                let next = Width { slot, next: node, ..next };
                let Some(place) = labels.get_mut(edge.from as usize) else { return };
                let better = place.is_none_or(|known| {
                    let rank = |width: &Width| (width.delivered, core::cmp::Reverse(width.rate));
                    !known.settled && rank(&next) > rank(&known)
                });
                if better {
                    *place = Some(next);
                    queue.push((next.delivered, edge.from));
                }
            });
        }
        None
    }

    /// What `edge`, which leads to the label's node, lets its start deliver.
    fn widen(&self, label: &Width, edge: &Edge, max_fee: u64) -> Option<Width> {
        let delivered = label.delivered.min(label.deliverable(edge.maximum));
        let carried = label.arriving(delivered);
        if delivered == 0 || carried < u128::from(edge.minimum) {
            return None;
        }
        let hops = label.hops.saturating_add(1);
        if edge.from == self.question.payer {
            return Some(Width { delivered, hops, settled: false, ..*label });
        }
        let factor = MILLION.saturating_add(u128::from(edge.fee_millionths));
        let scale = |value: u128| value.saturating_mul(factor).div_ceil(MILLION);
        let (rate, base) = (scale(label.rate), scale(label.base).saturating_add(u128::from(edge.fee_base)));
        let next = Width {
            delivered,
            rate,
            base,
            delay: label.delay.saturating_add(u32::from(edge.cltv_delta)),
            hops,
            settled: false,
            ..*label
        };
        let fee = next.arriving(delivered).saturating_sub(u128::from(delivered));
        (fee <= u128::from(max_fee) && next.delay <= self.question.query.max_total_cltv).then_some(next)
    }
}

/// The edges from the payer on.
fn slots_from(labels: &[Option<Width>], start: Width) -> Vec<u32> {
    let (mut slots, mut label) = (Vec::new(), Some(start));
    while let Some(width) = label.filter(|width| width.slot != END && slots.len() < usize::from(MAX_HOPS)) {
        slots.push(width.slot);
        label = labels.get(width.next as usize).copied().flatten();
    }
    slots
}
