//! The cheapest way to bring an amount to a payee.
//!
//! A label-setting search backwards from the payee, since fees depend on what is forwarded: each label knows
//! exactly what must arrive at its node and when. Cost = fees + a price for lock time + a price for
//! directions that failed lately.
//!
//! | file | what |
//! | --- | --- |
//! | `edges.rs` | the edges that lead to a node: graph, hints, our own channels |
//! | `rooms.rs` | what each edge can still carry |
//! | `parts.rs` `widest.rs` | several paths, when one does not carry it all; the path that carries most |
//! | `explain.rs` | why there is none |
//! | `experience.rs` | what payments have learnt |
mod edges;
mod experience;
mod explain;
mod parts;
mod rooms;
mod widest;

use alloc::collections::BinaryHeap;
use alloc::vec::Vec;
use core::cmp::Reverse;

use lightning_traits::id::ShortChannelId;
use lightning_traits::route::{NoRoute, Path, Route, RouteHop, RouteQuery};
use lightning_traits::units::{CltvExpiry, Msat};

use crate::graph::Graph;
use edges::{Edge, Edges};
use rooms::Rooms;

pub(crate) use experience::Experience;

/// Most hops of a path: 20 hops of a usual payload fill the onion (BOLT 4).
const MAX_HOPS: u8 = 20;

/// Prices of what is not a fee.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Costs {
    /// A block of lock time, in millionths of the amount.
    pub(crate) delay_millionths: u32,
    /// A direction that failed lately, in millionths of the amount.
    pub(crate) failure_millionths: u32,
}

/// What a search makes small. Limits hold whatever the aim.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Aim {
    /// Fees and the prices of what is not a fee.
    Cost(Costs),
    /// Lock time.
    Delay,
    /// The number of hops.
    Hops,
}

impl Aim {
    /// Fees alone.
    const FEES: Self = Self::Cost(Costs { delay_millionths: 0, failure_millionths: 0 });
}

/// The best known way from a node to the payee.
#[derive(Clone, Copy, Debug)]
struct Label {
    cost: u64,
    /// What must arrive at the node.
    amount: Msat,
    /// Blocks from now until the HTLC that arrives there expires.
    delay: u32,
    hops: u8,
    /// The channel that leaves the node towards the payee, and the node it leads to.
    via: Option<(ShortChannelId, u32)>,
    settled: bool,
}

/// The cheapest path that carries the query's amount, by fees and lock time alone.
///
/// # Errors
/// [`NoRoute`] that says what was in the way.
pub fn find_path(graph: &Graph, query: &RouteQuery) -> Result<Path, NoRoute> {
    let costs = Costs { delay_millionths: 15, failure_millionths: 0 };
    let (edges, none) = (Edges::new(graph, query), Experience::default());
    let finder = Finder::new(query, &edges, costs, &none)?;
    let rooms = Rooms::new(query, &edges);
    let path = finder.path(finder.whole(), &rooms);
    explain::check_limits(query, path.ok_or_else(|| explain::without_path(&finder, &rooms))?)
}

/// The cheapest path if one carries it all, else up to `max_parts` that do so together.
pub(crate) fn find_route(
    graph: &Graph,
    query: &RouteQuery,
    costs: Costs,
    experience: &Experience,
) -> Result<Route, NoRoute> {
    let edges = Edges::new(graph, query);
    let finder = Finder::new(query, &edges, costs, experience)?;
    let rooms = Rooms::new(query, &edges);
    let alone = match finder.path(finder.whole(), &rooms) {
        Some(path) => explain::check_limits(query, path),
        None if query.max_parts > 1 => {
            return finder.parts(&rooms).ok_or_else(|| explain::without_parts(&finder, &rooms));
        }
        None => Err(explain::without_path(&finder, &rooms)),
    };
    alone.map(|path| Route { paths: alloc::vec![path] })
}

/// A part to find a path for.
#[derive(Clone, Copy, Debug)]
struct Part {
    amount: Msat,
    max_fee: Msat,
}

/// A question whose two ends are known.
struct Finder<'a> {
    query: &'a RouteQuery,
    edges: &'a Edges<'a>,
    costs: Costs,
    experience: &'a Experience,
    payer: u32,
    payee: u32,
}

impl<'a> Finder<'a> {
    fn new(
        query: &'a RouteQuery,
        edges: &'a Edges<'a>,
        costs: Costs,
        experience: &'a Experience,
    ) -> Result<Self, NoRoute> {
        if query.payer == query.payee || query.amount == Msat::ZERO {
            return Err(NoRoute::Pointless);
        }
        match (edges.payer(), edges.payee()) {
            (Some(payer), Some(payee)) => Ok(Self { query, edges, costs, experience, payer, payee }),
            _ => Err(explain::without_end(query, edges)),
        }
    }

    /// All of it as one part.
    const fn whole(&self) -> Part {
        Part { amount: self.query.amount, max_fee: self.query.max_fee }
    }

    /// The cheapest path for a part.
    ///
    /// One label a node is quick, and blind to a way that is dearer up to a node but the only one within a limit. So when
    /// the cheapest labels lead nowhere, the limits themselves are aimed at.
    fn path(&self, part: Part, rooms: &Rooms) -> Option<Path> {
        let aims = [Aim::Cost(self.costs), Aim::FEES, Aim::Delay, Aim::Hops];
        aims.into_iter().find_map(|aim| self.search(self.query, part, aim, rooms))
    }

    fn search(&self, query: &RouteQuery, part: Part, aim: Aim, rooms: &Rooms) -> Option<Path> {
        Search::new(query, part, self, aim, rooms).find(self.payer, self.payee)
    }
}

struct Search<'a> {
    query: &'a RouteQuery,
    part: Part,
    edges: &'a Edges<'a>,
    aim: Aim,
    experience: &'a Experience,
    rooms: &'a Rooms,
    labels: Vec<Option<Label>>,
    queue: BinaryHeap<Reverse<(u64, u32)>>,
}

impl<'a> Search<'a> {
    fn new(query: &'a RouteQuery, part: Part, finder: &Finder<'a>, aim: Aim, rooms: &'a Rooms) -> Self {
        let Finder { edges, experience, .. } = *finder;
        let labels = alloc::vec![None; edges.node_count()];
        Self { query, part, edges, aim, experience, rooms, labels, queue: BinaryHeap::new() }
    }

    fn find(mut self, payer: u32, payee: u32) -> Option<Path> {
        self.run(payer, payee);
        self.path_from(payer)
    }

    fn run(&mut self, payer: u32, payee: u32) {
        let delay = u32::from(self.query.final_cltv_delta.get());
        let start = Label { cost: 0, amount: self.part.amount, delay, hops: 0, via: None, settled: false };
        self.offer(payee, start);
        while let Some(Reverse((_, node))) = self.queue.pop() {
            let Some(Some(label)) = self.labels.get_mut(node as usize) else { continue };
            if label.settled {
                continue;
            }
            label.settled = true;
            if node == payer {
                return;
            }
            let label = *label;
            if label.hops < MAX_HOPS {
                let edges = self.edges;
                edges.for_each_into(node, |edge| self.relax(payer, node, label, &edge));
            }
        }
    }

    /// Looks whether `edge`, which leads to `node`, gives its start a better label.
    fn relax(&mut self, payer: u32, node: u32, label: Label, edge: &Edge) {
        if label.amount < edge.minimum || label.amount > self.rooms.room(edge) {
            return;
        }
        // Nobody is paid for our own channel, and it adds no delay.
        let (fee, blocks) = if edge.from == payer {
            (Some(Msat::ZERO), 0)
        } else {
            (edge.fee(label.amount), u32::from(edge.cltv_delta.get()))
        };
        let Some(amount) = fee.and_then(|fee| label.amount.checked_add(fee)) else { return };
        let delay = label.delay.saturating_add(blocks);
        let over_budget = amount.saturating_sub(self.part.amount) > self.part.max_fee;
        if over_budget || delay > self.query.max_total_cltv {
            return;
        }
        let Some(step) = self.cost_of(edge, label.amount, amount, blocks) else { return };
        let (cost, hops) = (label.cost.saturating_add(step), label.hops.saturating_add(1));
        let via = Some((edge.scid, node));
        self.offer(edge.from, Label { cost, amount, delay, hops, via, settled: false });
    }

    /// What an edge that carries `carried` out of `arriving` adds to the cost.
    fn cost_of(&self, edge: &Edge, carried: Msat, arriving: Msat, blocks: u32) -> Option<u64> {
        let costs = match self.aim {
            Aim::Cost(costs) => costs,
            Aim::Delay => return Some(u64::from(blocks)),
            Aim::Hops => return Some(1),
        };
        let fee = arriving.saturating_sub(carried);
        let waiting = carried.checked_millionths(costs.delay_millionths)?.checked_mul(u64::from(blocks))?;
        let failed = costs.failure_millionths != 0
            && self.experience.doubts(edge.scid, self.edges.id_of(edge.from), carried);
        let doubt = if failed { carried.checked_millionths(costs.failure_millionths)? } else { Msat::ZERO };
        Some(fee.saturating_add(waiting).saturating_add(doubt).to_msat())
    }

    fn offer(&mut self, node: u32, label: Label) {
        let Some(place) = self.labels.get_mut(node as usize) else { return };
        // Of equal costs the fewer hops: each hop is one more that can fail.
        let better =
            place.is_none_or(|known| !known.settled && (label.cost, label.hops) < (known.cost, known.hops));
        if better {
            *place = Some(label);
            self.queue.push(Reverse((label.cost, node)));
        }
    }

    /// Follows the labels from the payer. A hop's amount and expiry are those that arrive at its end.
    fn path_from(&self, payer: u32) -> Option<Path> {
        let mut hops = Vec::new();
        let mut node = payer;
        while let Some((scid, next)) = self.labels.get(node as usize).copied().flatten()?.via {
            let label = self.labels.get(next as usize).copied().flatten()?;
            let expiry = CltvExpiry::after(self.query.height, label.delay);
            hops.push(RouteHop { node: self.edges.id_of(next), scid, amount: label.amount, expiry });
            if hops.len() > usize::from(MAX_HOPS) {
                return None;
            }
            node = next;
        }
        (!hops.is_empty()).then_some(Path { hops })
    }
}
