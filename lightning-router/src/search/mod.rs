//! The cheapest way to bring an amount to a payee: one path if one carries it, else several together.
//!
//! | file | what |
//! | --- | --- |
//! | `question.rs` | the question in numbers: ends, private channels, what each edge can still carry |
//! | `prices.rs` | what is made small: fees, lock time, doubt |
//! | `path.rs` | the search for one path, from both ends |
//! | `workspace.rs` `radix.rs` | what it writes on; its queue |
//! | `parts.rs` | several paths, when one does not carry it all |
//! | `flow/` `widest.rs` | over which ways these go: the cheapest flow; the path that carries most |
//! | `explain.rs` | why there is none |
mod explain;
mod flow;
mod parts;
mod path;
mod prices;
mod question;
mod radix;
mod widest;
mod workspace;

use lightning_traits::id::NodeId;
use lightning_traits::route::{NoRoute, Path, PathOutcome, Route, RouteQuery, RouteReport};
use lightning_traits::units::BlockHeight;

use crate::flat::FlatGraph;
use crate::graph::Graph;
use crate::knowledge::{Knowledge, Prior, Trial};
use path::{Found, Hops, Part, Search, path_of};
use prices::Aim;
use question::Question;

pub use prices::Prices;
pub(crate) use workspace::Workspace;

/// Most hops of a path: 20 hops of a usual payload fill the onion (BOLT 4).
const MAX_HOPS: u8 = 20;

/// The cheapest path that carries the query's amount, by fees and lock time alone. Lays the graph out for this one question:
/// whoever asks more than once has a [`Pathfinder`].
///
/// # Errors
/// [`NoRoute`] that says what was in the way.
pub fn find_path(graph: &Graph, query: &RouteQuery) -> Result<Path, NoRoute> {
    let prices = Prices { risk_base_msat: 0, risk_millionths: 0, ..Prices::USUAL };
    let mut pathfinder = Pathfinder::new(Prior::default(), prices);
    let query = RouteQuery { max_parts: 1, ..query.clone() };
    let route = pathfinder.find_route(&FlatGraph::of(graph), &query)?;
    route.paths.into_iter().next().ok_or(NoRoute::NoCapacity { amount: query.amount })
}

/// Answers questions about a [`FlatGraph`], one after the other, and learns from what became of the answers.
///
/// Methods: getter [`Pathfinder::looked_at`]; commands [`Pathfinder::find_route`], [`Pathfinder::report`],
/// [`Pathfinder::forget_before`]; input [`Pathfinder::on_new_numbers`].
#[derive(Clone, Debug)]
pub struct Pathfinder {
    pub(crate) knowledge: Knowledge,
    pub(crate) prices: Prices,
    space: Workspace,
}

impl Pathfinder {
    /// One that has learnt nothing yet.
    #[must_use]
    pub fn new(prior: Prior, prices: Prices) -> Self {
        Self { knowledge: Knowledge::new(prior), prices, space: Workspace::default() }
    }

    /// How many edges its searches have looked at: what they cost, whatever the machine.
    #[must_use]
    pub fn looked_at(&self) -> u64 {
        self.space.looked_at()
    }

    /// The cheapest path if one carries it all, else up to `max_parts` that do so together.
    ///
    /// # Errors
    /// [`NoRoute`] that says what was in the way.
    pub fn find_route(&mut self, flat: &FlatGraph, query: &RouteQuery) -> Result<Route, NoRoute> {
        let question = Question::new(flat, &self.knowledge, query)?;
        let mut finder = Finder { question, prices: self.prices, space: &mut self.space };
        let whole = finder.whole();
        if let Some(hops) = finder.path(whole) {
            let alone = [hops];
            let parts = if query.max_parts > 1 { finder.better_parts(&alone) } else { None };
            return finder.route(parts.as_deref().unwrap_or(&alone));
        }
        if query.max_parts > 1 {
            return match finder.parts() {
                Some(parts) => finder.route(&parts),
                None => Err(explain::without_parts(&mut finder)),
            };
        }
        Err(explain::without_path(&mut finder))
    }
}

impl Pathfinder {
    /// What became of a path that `payer` tried.
    pub fn report(&mut self, flat: &FlatGraph, payer: NodeId, report: &RouteReport, height: BlockHeight) {
        let hops = &report.path.hops;
        let (reached, failed, trial) = match report.outcome {
            PathOutcome::Delivered => (hops.len(), None, Trial::Paid),
            PathOutcome::GivenBack => (hops.len(), None, Trial::Passed),
            PathOutcome::Unreadable => return,
            PathOutcome::FailedAt { channel, .. } => (channel, Some(channel), Trial::Passed),
        };
        let starts = [payer].into_iter().chain(hops.iter().map(|hop| hop.node));
        for (at, (from, hop)) in starts.zip(hops).enumerate() {
            let channel = (hop.scid, from);
            if at < reached {
                self.knowledge.learn(flat, channel, hop.amount, trial, height);
            } else if failed == Some(at) {
                self.knowledge.learn(flat, channel, hop.amount, Trial::Failed, height);
            }
        }
    }

    /// Forgets what is too old to be true.
    pub fn forget_before(&mut self, flat: &FlatGraph, height: BlockHeight) {
        self.knowledge.forget_before(flat, height);
    }

    /// The flat graph was built anew: its numbers are no longer those of the last question.
    pub fn on_new_numbers(&mut self, flat: &FlatGraph) {
        self.knowledge.find_places(flat);
    }
}

/// A question, and what it takes to answer it.
struct Finder<'a> {
    question: Question<'a>,
    prices: Prices,
    space: &'a mut Workspace,
}

impl Finder<'_> {
    /// All of it as one part.
    fn whole(&self) -> Part {
        let query = self.question.query;
        Part {
            amount: query.amount.to_msat(),
            max_fee: query.max_fee.to_msat(),
            max_delay: query.max_total_cltv,
        }
    }

    /// The cheapest path for a part.
    ///
    /// One label a node is quick, and blind to a way that is dearer up to a node but the only one within a limit. So when
    /// the cheapest labels lead nowhere because of a limit, the limits themselves are aimed at.
    fn path(&mut self, part: Part) -> Option<Hops> {
        let aims = [Aim::Cost(self.prices), Aim::Cost(Prices::FEES), Aim::Delay, Aim::Hops];
        let skipped = usize::from(self.prices == Prices::FEES);
        for aim in aims.into_iter().skip(skipped) {
            match self.search(part, aim) {
                Found::Path(hops) => return Some(hops),
                Found::Nothing { by_limits: false } => return None,
                Found::Nothing { by_limits: true } => {}
            }
        }
        None
    }

    fn search(&mut self, part: Part, aim: Aim) -> Found {
        Search::new(&self.question, self.space, part, aim).run()
    }

    fn route(&self, parts: &[Hops]) -> Result<Route, NoRoute> {
        let paths = parts.iter().map(|hops| path_of(&self.question, hops));
        let paths: Option<alloc::vec::Vec<Path>> = paths.collect();
        let none = NoRoute::NoCapacity { amount: self.question.query.amount };
        explain::check_limits(self.question.query, Route { paths: paths.ok_or(none)? })
    }
}
