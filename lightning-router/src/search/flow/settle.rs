//! Exact parts out of a flow's paths: with base fees, least and most HTLCs, what parts share, and limits.
use alloc::vec::Vec;

use super::MILLION;
use crate::flat::Edge;
use crate::search::MAX_HOPS;
use crate::search::path::{Hops, Part};
use crate::search::question::Question;

impl Question<'_> {
    /// The most that one HTLC over these edges delivers now.
    pub(in crate::search) fn most_over(&self, slots: &[u32]) -> u64 {
        let mut most = u64::MAX;
        for slot in slots {
            let Some(edge) = self.edge(*slot) else { return 0 };
            if edge.from != self.payer {
                most = forwarded(&edge, most);
            }
            most = most.min(edge.maximum);
        }
        most
    }

    /// The part that delivers its amount over these edges, if no limit forbids that.
    pub(in crate::search) fn hops_over(&self, slots: &[u32], part: Part) -> Option<Hops> {
        if slots.is_empty() || slots.len() > usize::from(MAX_HOPS) {
            return None;
        }
        let mut hops = Vec::with_capacity(slots.len());
        let (mut amount, mut node) = (part.amount, self.payee);
        let mut delay = u32::from(self.query.final_cltv_delta.get());
        for slot in slots.iter().rev() {
            let edge = self.edge(*slot)?;
            if amount < edge.minimum || amount > edge.maximum || amount == 0 {
                return None;
            }
            hops.push((*slot, amount, node, delay));
            node = edge.from;
            if node != self.payer {
                amount = amount.checked_add(edge.fee(amount))?;
                delay = delay.saturating_add(u32::from(edge.cltv_delta));
            }
        }
        hops.reverse();
        let fee = amount.saturating_sub(part.amount);
        (node == self.payer && fee <= part.max_fee && delay <= part.max_delay).then_some(hops)
    }
}

/// The most that an edge forwards of what arrives before it.
fn forwarded(edge: &Edge, arriving: u64) -> u64 {
    let left = u128::from(arriving.saturating_sub(u64::from(edge.fee_base)));
    let factor = u128::from(MILLION).saturating_add(u128::from(edge.fee_millionths));
    u64::try_from(left.saturating_mul(u128::from(MILLION)) / factor).unwrap_or(u64::MAX)
}
