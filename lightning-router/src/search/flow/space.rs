//! What a flow writes on, kept from one to the next.
use alloc::vec::Vec;

use crate::search::radix::RadixHeap;

/// How a piece could go on from a node to the payee.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Way {
    /// What that costs above the least that any way costs.
    pub(super) excess: u64,
    /// The edge, the node at its other end, and whether the piece pushes an earlier one back over it.
    pub(super) slot: u32,
    pub(super) next: u32,
    pub(super) undoes: bool,
    pub(super) settled: bool,
    pub(super) hops: u8,
    pub(super) delay: u32,
    /// What must arrive at the node for each million that arrives at the payee.
    pub(super) rate: u32,
    pub(super) search: u32,
}

/// The least that a piece costs from the payer to a node, as far as is known.
#[derive(Clone, Copy, Debug, Default)]
struct Height {
    cost: u64,
    flow: u32,
    settled: bool,
}

/// Memory for flows.
#[derive(Clone, Debug, Default)]
pub(in crate::search) struct FlowSpace {
    ways: Vec<Way>,
    heights: Vec<Height>,
    search: u32,
    flow: u32,
    pub(super) queue: RadixHeap,
    pub(super) settled: Vec<(u32, u64)>,
    /// Nodes that the first search did not reach are at least so high.
    pub(super) horizon: u64,
    pub(super) looked_at: u64,
}

impl FlowSpace {
    pub(in crate::search) const fn looked_at(&self) -> u64 {
        self.looked_at
    }

    pub(super) fn begin_flow(&mut self, nodes: usize) {
        if self.ways.len() < nodes {
            self.ways.resize(nodes, Way::default());
            self.heights.resize(nodes, Height::default());
        }
        self.flow = self.flow.wrapping_add(1);
        if self.flow == 0 {
            self.heights.fill(Height::default());
            self.flow = 1;
        }
        self.queue.clear();
        self.horizon = 0;
    }

    pub(super) fn begin_search(&mut self) {
        self.search = self.search.wrapping_add(1);
        if self.search == 0 {
            self.ways.fill(Way::default());
            self.search = 1;
        }
        self.queue.clear();
        self.settled.clear();
    }

    pub(super) fn height(&self, node: u32) -> u64 {
        let known = self.heights.get(node as usize);
        known.filter(|height| height.flow == self.flow).map_or(self.horizon, |height| height.cost)
    }

    /// A height of the first search; says whether it is lower than what was known.
    pub(super) fn offer_height(&mut self, node: u32, cost: u64) -> bool {
        let Some(place) = self.heights.get_mut(node as usize) else { return false };
        if place.flow == self.flow && (place.settled || cost >= place.cost) {
            return false;
        }
        *place = Height { cost, flow: self.flow, settled: false };
        true
    }

    pub(super) fn settle_height(&mut self, node: u32) -> bool {
        let flow = self.flow;
        let Some(place) = self.heights.get_mut(node as usize).filter(|height| height.flow == flow) else {
            return false;
        };
        !core::mem::replace(&mut place.settled, true)
    }

    /// The first search ends here: nothing that it has not settled is lower.
    pub(super) fn end_heights(&mut self, horizon: u64) {
        self.horizon = horizon;
        for height in self.heights.iter_mut().filter(|height| height.flow == self.flow && !height.settled) {
            height.cost = horizon;
        }
    }

    pub(super) fn raise(&mut self, node: u32, by: u64) {
        let cost = self.height(node).saturating_add(by);
        if let Some(place) = self.heights.get_mut(node as usize) {
            *place = Height { cost, flow: self.flow, settled: true };
        }
    }

    pub(super) fn way(&self, node: u32) -> Option<&Way> {
        self.ways.get(node as usize).filter(|way| way.search == self.search)
    }

    pub(super) fn offer(&mut self, node: u32, way: Way) {
        let Some(place) = self.ways.get_mut(node as usize) else { return };
        if place.search == self.search && (place.settled || way.excess >= place.excess) {
            return;
        }
        *place = Way { search: self.search, ..way };
        self.queue.push(way.excess, node);
    }

    pub(super) fn settle(&mut self, node: u32) -> Option<Way> {
        let search = self.search;
        let way = self.ways.get_mut(node as usize)?;
        if way.search != search || way.settled {
            return None;
        }
        way.settled = true;
        self.settled.push((node, way.excess));
        Some(*way)
    }
}
