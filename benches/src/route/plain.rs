//! The textbook's search: Dijkstra backwards from the payee, by fees alone, over the same kind of flat arrays. It knows neither
//! probabilities nor lock time; it is what a pathfinder cannot leave out, done simply.
use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::data::{Network, Question};

#[derive(Clone, Copy)]
struct Edge {
    from: u32,
    base: u32,
    millionths: u32,
    minimum: u64,
    maximum: u64,
}

/// The network by what leads to each node.
pub struct Plain {
    first: Vec<u32>,
    edges: Vec<Edge>,
    labels: Vec<u64>,
    settled: Vec<bool>,
    queue: BinaryHeap<Reverse<(u64, u32)>>,
}

impl Plain {
    /// The whole network.
    #[must_use]
    pub fn new(network: &Network) -> Self {
        let mut edges = Vec::new();
        for channel in &network.channels {
            let [one, two] = channel.nodes;
            for ((from, to), terms) in [(one, two), (two, one)].into_iter().zip(channel.directions) {
                let Some(terms) = terms else { continue };
                let edge = Edge {
                    from: from as u32,
                    base: terms.base,
                    millionths: terms.millionths,
                    minimum: terms.minimum,
                    maximum: terms.maximum,
                };
                edges.push((to, edge));
            }
        }
        edges.sort_by_key(|(to, _)| *to);
        let nodes = network.nodes.len();
        let first = (0..=nodes).map(|node| edges.partition_point(|(to, _)| *to < node) as u32).collect();
        let edges = edges.into_iter().map(|(_, edge)| edge).collect();
        Self { first, edges, labels: vec![0; nodes], settled: vec![false; nodes], queue: BinaryHeap::new() }
    }

    /// The least fee of one path.
    pub fn ask(&mut self, question: &Question) -> Option<u64> {
        self.labels.fill(u64::MAX);
        self.settled.fill(false);
        self.queue.clear();
        self.labels[question.payee] = question.amount_msat;
        self.queue.push(Reverse((question.amount_msat, question.payee as u32)));
        while let Some(Reverse((amount, node))) = self.queue.pop() {
            let node = node as usize;
            if std::mem::replace(&mut self.settled[node], true) {
                continue;
            }
            if node == question.payer {
                return Some(amount - question.amount_msat);
            }
            for edge in &self.edges[self.first[node] as usize..self.first[node + 1] as usize] {
                if amount < edge.minimum || amount > edge.maximum {
                    continue;
                }
                let free = edge.from as usize == question.payer;
                let fee = u64::from(edge.base) + amount * u64::from(edge.millionths) / 1_000_000;
                let arriving = if free { amount } else { amount + fee };
                if arriving < self.labels[edge.from as usize] {
                    self.labels[edge.from as usize] = arriving;
                    self.queue.push(Reverse((arriving, edge.from)));
                }
            }
        }
        None
    }
}
