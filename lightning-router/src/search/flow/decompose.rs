//! A flow taken apart into paths, the widest first, so that they are few.
use alloc::collections::{BTreeMap, BinaryHeap};
use alloc::vec::Vec;

use super::Flow;
use crate::search::MAX_HOPS;

/// A path of a flow: its edges from the payer on, and what it delivers.
#[derive(Clone, Debug)]
pub(in crate::search) struct Strand {
    pub(in crate::search) slots: Vec<u32>,
    pub(in crate::search) amount: u64,
}

impl Flow<'_, '_> {
    /// Up to `most` paths, the widest first.
    pub(in crate::search) fn strands(mut self, most: usize) -> Vec<Strand> {
        let mut strands = Vec::new();
        while strands.len() < most {
            let Some(strand) = self.widest_strand() else { break };
            for slot in &strand.slots {
                if let Some(sent) = self.sent.get_mut(slot) {
                    sent.flow = sent.flow.saturating_sub(strand.amount);
                }
            }
            if strand.slots.len() <= usize::from(MAX_HOPS) {
                strands.push(strand);
            }
        }
        strands
    }

    fn widest_strand(&self) -> Option<Strand> {
        let (payer, payee) = (self.question.payer, self.question.payee);
        let mut widths: BTreeMap<u32, (u64, Option<(u32, u32)>)> =
            BTreeMap::from([(payer, (u64::MAX, None))]);
        let mut queue = BinaryHeap::from([(u64::MAX, payer)]);
        while let Some((width, node)) = queue.pop() {
            if node == payee {
                break;
            }
            for (_, slot) in self.leaving.range((node, 0)..=(node, u32::MAX)) {
                let Some(sent) = self.sent.get(slot).filter(|sent| sent.flow > 0) else { continue };
                let width = width.min(sent.flow);
                if widths.get(&sent.to).is_none_or(|(known, _)| *known < width) {
                    widths.insert(sent.to, (width, Some((*slot, node))));
                    queue.push((width, sent.to));
                }
            }
        }
        let (amount, _) = *widths.get(&payee)?;
        let (mut slots, mut node) = (Vec::new(), payee);
        while let Some((slot, before)) = widths.get(&node).and_then(|(_, step)| *step) {
            slots.push(slot);
            node = before;
            if slots.len() > widths.len() {
                return None;
            }
        }
        slots.reverse();
        (node == payer && !slots.is_empty()).then_some(Strand { slots, amount })
    }
}
