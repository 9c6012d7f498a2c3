//! What a search writes on: kept from one to the next, so that none allocates and none clears.
//!
//! A label counts only if it bears the number of the search.
use alloc::vec::Vec;

use super::flow::FlowSpace;
use super::radix::RadixHeap;

/// The best known way from a node to the payee.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Label {
    pub(super) cost: u64,
    /// What must arrive at the node.
    pub(super) amount: u64,
    /// Blocks from now until the HTLC that arrives there expires.
    pub(super) delay: u32,
    /// The edge that leaves the node towards the payee, and the node it leads to; [`END`] at the payee.
    pub(super) slot: u32,
    pub(super) next: u32,
    /// The search that wrote it.
    pub(super) search: u32,
    pub(super) hops: u8,
    pub(super) settled: bool,
}

/// No edge leads on.
pub(super) const END: u32 = u32::MAX;

/// The least that a way from the payer to a node costs.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ahead {
    pub(super) cost: u64,
    search: u32,
    pub(super) settled: bool,
}

/// Memory for searches.
#[derive(Clone, Debug, Default)]
pub(crate) struct Workspace {
    search: u32,
    labels: Vec<Label>,
    ahead: Vec<Ahead>,
    pub(super) queue: RadixHeap,
    pub(super) queue_ahead: RadixHeap,
    pub(super) flow: FlowSpace,
    /// Edges looked at since it was made: what searches cost, whatever the machine.
    pub(super) looked_at: u64,
}

impl Workspace {
    /// Edges looked at by searches and flows.
    pub(super) fn looked_at(&self) -> u64 {
        self.looked_at.wrapping_add(self.flow.looked_at())
    }

    /// Begins a search among so many nodes.
    pub(super) fn begin(&mut self, nodes: usize) {
        if self.labels.len() < nodes {
            self.labels.resize(nodes, Label::default());
            self.ahead.resize(nodes, Ahead::default());
        }
        self.search = self.search.wrapping_add(1);
        if self.search == 0 {
            // After four thousand million searches an old label could be taken for a new one.
            self.labels.fill(Label::default());
            self.ahead.fill(Ahead::default());
            self.search = 1;
        }
        self.queue.clear();
        self.queue_ahead.clear();
    }

    pub(super) fn label(&self, node: u32) -> Option<&Label> {
        self.labels.get(node as usize).filter(|label| label.search == self.search)
    }

    /// Puts a label where it is better than what is there; says whether it was.
    pub(super) fn offer(&mut self, node: u32, label: Label) -> bool {
        let Some(place) = self.labels.get_mut(node as usize) else { return false };
        if place.search == self.search && (place.settled || label.cost >= place.cost) {
            return false;
        }
        *place = Label { search: self.search, ..label };
        true
    }

    /// Settles the label of a node, unless it is settled.
    pub(super) fn settle(&mut self, node: u32) -> Option<Label> {
        let search = self.search;
        let label = self.labels.get_mut(node as usize)?;
        if label.search != search || label.settled {
            return None;
        }
        label.settled = true;
        Some(*label)
    }

    pub(super) fn ahead(&self, node: u32) -> Option<&Ahead> {
        self.ahead.get(node as usize).filter(|label| label.search == self.search)
    }

    pub(super) fn offer_ahead(&mut self, node: u32, cost: u64) -> bool {
        let Some(place) = self.ahead.get_mut(node as usize) else { return false };
        if place.search == self.search && (place.settled || cost >= place.cost) {
            return false;
        }
        *place = Ahead { cost, search: self.search, settled: false };
        true
    }

    pub(super) fn settle_ahead(&mut self, node: u32) -> Option<u64> {
        let search = self.search;
        let label = self.ahead.get_mut(node as usize)?;
        if label.search != search || label.settled {
            return None;
        }
        label.settled = true;
        Some(label.cost)
    }
}
