//! The path over which most can be delivered.
//!
//! A search backwards from the payee whose labels are made large: what can be delivered from a node. Fees make a hop far
//! from the payee carry more than what is delivered, so each label knows what its way adds: a base and millionths.
use alloc::collections::BinaryHeap;
use alloc::vec::Vec;

use lightning_traits::units::Msat;

use super::edges::Edge;
use super::rooms::Rooms;
use super::{Finder, MAX_HOPS};

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
}

impl Width {
    /// The most that can be delivered when this much can arrive at the node.
    fn deliverable(&self, arriving: Msat) -> u64 {
        let left = u128::from(arriving.to_msat()).saturating_sub(self.base);
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
    /// About the most that a single path delivers, up to `most`. Fees are rounded against the answer, but lock time and
    /// fees are not searched for the best: whoever wants to know for sure asks for a path.
    pub(super) fn widest(&self, most: Msat, max_fee: Msat, rooms: &Rooms) -> Msat {
        let mut labels: Vec<Option<Width>> = alloc::vec![None; self.edges.node_count()];
        let mut queue = BinaryHeap::new();
        let delay = u32::from(self.query.final_cltv_delta.get());
        let start =
            Width { delivered: most.to_msat(), rate: MILLION, base: 0, delay, hops: 0, settled: false };
        if let Some(place) = labels.get_mut(self.payee as usize) {
            *place = Some(start);
            queue.push((start.delivered, self.payee));
        }
        while let Some((_, node)) = queue.pop() {
            let Some(Some(label)) = labels.get_mut(node as usize) else { continue };
            if label.settled {
                continue;
            }
            label.settled = true;
            let label = *label;
            if node == self.payer {
                return Msat::new(label.delivered);
            }
            if label.hops >= MAX_HOPS {
                continue;
            }
            self.edges.for_each_into(node, |edge| {
                let Some(next) = self.widen(&label, &edge, max_fee, rooms) else { return };
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
        Msat::ZERO
    }

    /// What `edge`, which leads to the label's node, lets its start deliver.
    fn widen(&self, label: &Width, edge: &Edge, max_fee: Msat, rooms: &Rooms) -> Option<Width> {
        let room = rooms.room(edge);
        let delivered = label.delivered.min(label.deliverable(room));
        let carried = label.arriving(delivered);
        if delivered == 0 || carried < u128::from(edge.minimum.to_msat()) {
            return None;
        }
        let hops = label.hops.saturating_add(1);
        if edge.from == self.payer {
            return Some(Width { delivered, hops, settled: false, ..*label });
        }
        let factor = MILLION.saturating_add(u128::from(edge.fee_millionths));
        let scale = |value: u128| value.saturating_mul(factor).div_ceil(MILLION);
        let (rate, base) =
            (scale(label.rate), scale(label.base).saturating_add(u128::from(edge.fee_base.to_msat())));
        let next = Width {
            delivered,
            rate,
            base,
            delay: label.delay.saturating_add(u32::from(edge.cltv_delta.get())),
            hops,
            settled: false,
        };
        let fee = next.arriving(delivered).saturating_sub(u128::from(delivered));
        (fee <= u128::from(max_fee.to_msat()) && next.delay <= self.query.max_total_cltv).then_some(next)
    }
}
