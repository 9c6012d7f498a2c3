//! Payments over channels whose balances nobody knows: what users feel.
//!
//! Each channel of the network gets a balance by a seed. A payer asks for a route, sends all of its parts, and hears of each where
//! it failed or that it arrived; what arrived is given back if anything failed, and the payer asks again. Both routers
//! live by the same rules, hear the same, and pay over their own copy of the same balances.
use std::collections::BTreeMap;
use std::time::Duration;

use bitcoin::secp256k1::PublicKey;
use lightning::routing::router::Path as LdkPath;
use lightning::routing::scoring::ScoreUpdate as _;
use lightning_router::{FlatGraph, Pathfinder};
use lightning_traits::id::NodeId;
use lightning_traits::payment::PaymentHash;
use lightning_traits::route::{ChannelAmount, DirectedChannel, Path, PathOutcome, RouteQuery, RouteReport};
use lightning_traits::units::{BlockHeight, Msat};

use super::data::{Network, Question};
use super::ldk::Ldk;
use super::ours;
use crate::cpu::thread_time;

/// How often a payer asks before it gives up.
pub const ATTEMPTS: usize = 20;
/// Most parts of a route, for both: LDK's own limit.
pub const PARTS: u16 = 10;

/// How balances are spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spread {
    /// Every balance is as likely as another.
    Uniform,
    /// Within about a tenth of the capacity of one of the ends.
    Bimodal,
}

/// Balances of all channels.
#[derive(Clone, Debug)]
pub struct World {
    /// What either side of each channel has, in millisatoshis.
    sides: Vec<[u64; 2]>,
    by_scid: BTreeMap<u64, usize>,
    by_key: BTreeMap<[u8; 33], usize>,
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

impl World {
    /// The balances of a seed.
    #[must_use]
    pub fn new(network: &Network, spread: Spread, seed: u64) -> Self {
        let mut random = Random(seed);
        let sides = network.channels.iter().map(|channel| {
            let (side, share) = (random.unit(), random.unit());
            let share = match spread {
                Spread::Uniform => share,
                Spread::Bimodal => {
                    let small = (-share.max(1e-9).ln() / 10.0).min(1.0);
                    if side < 0.5 { small } else { 1.0 - small }
                }
            };
            let all = channel.capacity_sat * 1_000;
            let first = (all as f64 * share) as u64;
            [first, all - first]
        });
        let scids = network.channels.iter().enumerate().map(|(at, channel)| (channel.scid.0, at));
        let keys = network.nodes.iter().enumerate().map(|(at, id)| (id.0, at));
        Self { sides: sides.collect(), by_scid: scids.collect(), by_key: keys.collect() }
    }
}

/// One hop of a part: channel, side that it leaves, amount.
type Hop = (usize, usize, u64);

/// Somebody who pays.
pub trait Payer {
    /// A route, part by part.
    fn route(&mut self, world: &World, network: &Network, question: &Question) -> Option<Vec<Vec<Hop>>>;
    /// What became of each part of it: the place of the hop that failed. Then whether the payment is done.
    fn report(&mut self, failures: &[Option<usize>], is_paid: bool);
    /// A payment is over, whatever came of it.
    fn forget(&mut self);
}

/// What came of one payment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outcome {
    /// Whether it arrived.
    pub is_paid: bool,
    /// Routes that were tried.
    pub attempts: usize,
    /// What it cost, if it arrived.
    pub fee_msat: u64,
    /// CPU time of the router, its learning included.
    pub time: Duration,
}

impl World {
    /// Pays a question, or gives up.
    pub fn pay(&mut self, payer: &mut dyn Payer, network: &Network, question: &Question) -> Outcome {
        let mut outcome = Outcome::default();
        while outcome.attempts < ATTEMPTS && !outcome.is_paid {
            let before = thread_time();
            let route = payer.route(self, network, question);
            outcome.time += thread_time().saturating_sub(before);
            let Some(parts) = route else { break };
            outcome.attempts += 1;
            let failures = self.send(network, question, &parts);
            outcome.is_paid = failures.iter().all(Option::is_none);
            if outcome.is_paid {
                let sent: u64 = parts.iter().map(|part| part[0].2).sum();
                outcome.fee_msat = sent - question.amount_msat;
            }
            let before = thread_time();
            payer.report(&failures, outcome.is_paid);
            outcome.time += thread_time().saturating_sub(before);
        }
        payer.forget();
        outcome
    }

    /// Sends all parts at once. If any fails, all that they took is given back.
    fn send(&mut self, network: &Network, question: &Question, parts: &[Vec<Hop>]) -> Vec<Option<usize>> {
        let before: BTreeMap<usize, [u64; 2]> =
            parts.iter().flatten().map(|(channel, _, _)| (*channel, self.sides[*channel])).collect();
        let mut failures = Vec::new();
        for part in parts {
            // A payer knows its own channels: there, everything is on its side.
            let is_own = |hop: &Hop| network.channels[hop.0].nodes[hop.1] == question.payer;
            let failed = part.iter().position(|hop| !is_own(hop) && self.sides[hop.0][hop.1] < hop.2);
            let carried = failed.unwrap_or(part.len());
            for (channel, side, amount) in &part[..carried] {
                let sides = &mut self.sides[*channel];
                sides[*side] = sides[*side].saturating_sub(*amount);
                sides[1 - *side] += if failed.is_none() { *amount } else { 0 };
            }
            failures.push(failed);
        }
        if failures.iter().any(Option::is_some) {
            self.sides.iter_mut().enumerate().for_each(|(at, sides)| {
                *sides = before.get(&at).copied().unwrap_or(*sides);
            });
        }
        failures
    }

    fn hop(&self, network: &Network, scid: u64, from: usize, amount: u64) -> Hop {
        let channel = self.by_scid[&scid];
        let side = usize::from(network.channels[channel].nodes[0] != from);
        (channel, side, amount)
    }
}

/// Our pathfinder, which learns.
pub struct Ours<'a> {
    graph: &'a FlatGraph,
    pathfinder: Pathfinder,
    query: Option<RouteQuery>,
    paths: Vec<Path>,
}

impl<'a> Ours<'a> {
    /// One that has learnt nothing yet.
    #[must_use]
    pub const fn new(graph: &'a FlatGraph, pathfinder: Pathfinder) -> Self {
        Self { graph, pathfinder, query: None, paths: Vec::new() }
    }
}

impl Payer for Ours<'_> {
    fn route(&mut self, world: &World, network: &Network, question: &Question) -> Option<Vec<Vec<Hop>>> {
        let query = self.query.get_or_insert_with(|| ours::usual_query(network, question, PARTS));
        self.paths = self.pathfinder.find_route(self.graph, query).ok()?.paths;
        let part = |path: &Path| {
            let starts =
                [question.payer].into_iter().chain(path.hops.iter().map(|hop| world.by_key[&hop.node.0]));
            let hops = path.hops.iter().zip(starts);
            hops.map(|(hop, from)| world.hop(network, hop.scid.0, from, hop.amount.to_msat())).collect()
        };
        Some(self.paths.iter().map(part).collect())
    }

    fn report(&mut self, failures: &[Option<usize>], is_paid: bool) {
        let Some(query) = &mut self.query else { return };
        for (path, failure) in self.paths.drain(..).zip(failures) {
            let outcome = match failure {
                Some(channel) => PathOutcome::FailedAt { channel: *channel, temporary: true },
                None if is_paid => PathOutcome::Delivered,
                None => PathOutcome::GivenBack,
            };
            if let Some(at) = failure {
                // As the node's payments do: the payment itself does not try so much there again.
                let from = if *at == 0 { query.payer } else { path.hops[at - 1].node };
                let hop = &path.hops[*at];
                let channel = DirectedChannel { scid: hop.scid, from };
                let amount = Msat::new(hop.amount.to_msat() - 1);
                query.limits.retain(|limit| limit.channel != channel || limit.amount <= amount);
                query.limits.push(ChannelAmount { channel, amount });
            }
            let report = RouteReport { hash: PaymentHash([0; 32]), path, outcome };
            self.pathfinder.report(self.graph, query.payer, &report, BlockHeight::new(800_000));
        }
    }

    fn forget(&mut self) {
        self.query = None;
    }
}

/// LDK's router, whose scorer learns.
pub struct Theirs {
    ldk: Ldk,
    failed: Vec<u64>,
    paths: Vec<LdkPath>,
    now: Duration,
}

impl Theirs {
    /// One that has learnt nothing yet.
    #[must_use]
    pub const fn new(ldk: Ldk) -> Self {
        Self { ldk, failed: Vec::new(), paths: Vec::new(), now: Duration::from_secs(1_800_000_000) }
    }
}

impl Payer for Theirs {
    fn route(&mut self, world: &World, network: &Network, question: &Question) -> Option<Vec<Vec<Hop>>> {
        let mut params = self.ldk.params(question.payee, question.amount_msat);
        params.payment_params.previously_failed_channels.clone_from(&self.failed);
        self.paths = self.ldk.route(question.payer, &params)?.paths;
        let number = |key: &PublicKey| world.by_key[&NodeId::from(*key).0];
        let part = |path: &LdkPath| {
            let starts = [question.payer].into_iter().chain(path.hops.iter().map(|hop| number(&hop.pubkey)));
            // What a hop takes for the next channel, and what arrives, as its last.
            let amount = |at: usize| path.hops[at..].iter().map(|hop| hop.fee_msat).sum();
            let hops = path.hops.iter().enumerate().zip(starts);
            hops.map(|((at, hop), from)| world.hop(network, hop.short_channel_id, from, amount(at))).collect()
        };
        Some(self.paths.iter().map(part).collect())
    }

    fn report(&mut self, failures: &[Option<usize>], is_paid: bool) {
        for (path, failure) in self.paths.drain(..).zip(failures) {
            match failure {
                Some(at) => {
                    let scid = path.hops[*at].short_channel_id;
                    // As LDK's payments do.
                    self.failed.push(scid);
                    self.ldk.scorer.payment_path_failed(&path, scid, self.now);
                }
                None if is_paid => self.ldk.scorer.payment_path_successful(&path, self.now),
                None => self.ldk.scorer.probe_successful(&path, self.now),
            }
        }
    }

    fn forget(&mut self) {
        self.failed.clear();
    }
}

/// Outcomes, summed up by band.
#[must_use]
pub fn row(name: &str, outcomes: &[Outcome], amounts: &[u64]) -> String {
    let paid: Vec<&Outcome> = outcomes.iter().filter(|outcome| outcome.is_paid).collect();
    let of = |sum: f64, count: usize| sum / count.max(1) as f64;
    let ppm = outcomes.iter().zip(amounts).filter(|(outcome, _)| outcome.is_paid);
    let mut ppm: Vec<f64> =
        ppm.map(|(outcome, amount)| outcome.fee_msat as f64 * 1e6 / *amount as f64).collect();
    ppm.sort_by(f64::total_cmp);
    let fees: u64 = paid.iter().map(|outcome| outcome.fee_msat).sum();
    let delivered: u64 =
        outcomes.iter().zip(amounts).filter(|(outcome, _)| outcome.is_paid).map(|(_, amount)| amount).sum();
    let attempts: usize = paid.iter().map(|outcome| outcome.attempts).sum();
    let all: usize = outcomes.iter().map(|outcome| outcome.attempts).sum();
    let time: Duration = outcomes.iter().map(|outcome| outcome.time).sum();
    format!(
        "| {name} | {:.1} % | {:.2} | {:.2} | {:.0} | {:.0} | {:.2} |",
        of(100.0 * paid.len() as f64, outcomes.len()),
        of(attempts as f64, paid.len()),
        of(all as f64, outcomes.len()),
        ppm.get(ppm.len() / 2).copied().unwrap_or(0.0),
        of(fees as f64 * 1e6, delivered as usize),
        of(time.as_secs_f64() * 1e3, outcomes.len()),
    )
}

/// The line above such rows.
pub const HEAD: &str = "| | paid | attempts of the paid | attempts of all | fee ppm, median | fee ppm of all that was paid | ms of a payment |\n| --- | --- | --- | --- | --- | --- | --- |";
