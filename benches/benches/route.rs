//! A thousand payments over the main network: ours and LDK's pathfinder, in turns, in the same run, and a plain search.
//!
//! Without `--bench` (as a test) it asks a few only. `-- --questions N` asks so many; `--payments N` pays so many of them over hidden
//! balances, `--seeds N` for so many seeds.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a bench that cannot go on has nothing better to do than to stop"
)]

use lightning_benches::route::data::{self, Network, Question};
use lightning_benches::route::hidden::{self, Ours, Payer, Spread, Theirs, World};
use lightning_benches::route::ldk::Ldk;
use lightning_benches::route::plain::Plain;
use lightning_benches::route::table::{HEAD, Sample, percentile, row};
use lightning_benches::route::{Answer, ours};
use lightning_router::{Pathfinder, Prices, Prior};

const BANDS: [&str; 3] = ["small", "medium", "large"];
/// Most parts of our routes; LDK's are at most 10, as it comes.
const PARTS: u16 = 30;

fn main() {
    let Some(network) = data::load() else { return };
    let args: Vec<String> = std::env::args().collect();
    let is_bench = args.iter().any(|arg| arg == "--bench");
    let given = |name: &str, usual: usize, test: usize| {
        let place = args.iter().position(|arg| arg == name);
        let usual = if is_bench { usual } else { test };
        place.map_or(usual, |at| args[at + 1].parse().unwrap()).min(network.questions.len())
    };
    let questions = &network.questions[..given("--questions", 1_000, 12)];
    let payments = &network.questions[..given("--payments", 200, 6)];
    let seeds = given("--seeds", 1, 1) as u64;

    let graph = ours::graph(&network);
    println!("flat graph: {:?}", graph.counts());
    single(&network, questions);
    in_parts(&network, questions);
    for spread in [Spread::Uniform, Spread::Bimodal] {
        over_hidden_balances(&network, payments, spread, seeds);
    }
}

/// One path: the cheapest, and the best by probability, beside the plain search.
fn single(network: &Network, questions: &[Question]) {
    let graph = ours::graph(network);
    let mut cheapest = Pathfinder::new(Prior::Mixed, Prices::FEES);
    let mut likely = Pathfinder::new(Prior::Mixed, Prices::USUAL);
    let mut plain = Plain::new(network);
    let (mut by_fee, mut by_chance, mut by_plain) = (Vec::new(), Vec::new(), Vec::new());
    let (mut dearer, mut looked_at) = (0, 0);
    for round in 0..3 {
        for samples in [&mut by_fee, &mut by_chance, &mut by_plain] {
            samples.clear();
        }
        (dearer, looked_at) = (0, likely.looked_at());
        for question in questions {
            let query = ours::query(network, question);
            let sample = Sample::take(|| ours::ask(&mut cheapest, &graph, &query));
            let fee = sample.answer.map(|answer| answer.fee_msat);
            assert_eq!(fee.is_some(), question.least_fee_msat.is_some(), "round {round}: {question:?}");
            // Within a hundredth of the least fee.
            dearer += usize::from(fee > question.least_fee_msat.map(|least| least + least / 100));
            by_fee.push(sample);
            by_chance.push(Sample::take(|| ours::ask(&mut likely, &graph, &query)));
            by_plain.push(Sample::take(|| plain.ask(question).map(|fee_msat| Answer { fee_msat, parts: 1 })));
        }
    }
    let amounts: Vec<u64> = questions.iter().map(|question| question.amount_msat).collect();
    println!("\nOne path, no limits of fee and lock time; the third round of three\n\n{HEAD}");
    println!("{}", row("ours, likely", &by_chance, &amounts));
    println!("{}", row("ours, cheapest", &by_fee, &amounts));
    println!("{}", row("plain search, cheapest", &by_plain, &amounts));
    println!("\n{dearer} of {} cheapest cost over 1 % more than the least fee", questions.len());
    let edges = (likely.looked_at() - looked_at) / questions.len() as u64;
    println!("edges looked at for a likely path: {edges}; the network has {}", graph.counts().edges);
}

/// Routes as a payer asks for them: in parts if need be, within LDK's usual limits.
fn in_parts(network: &Network, questions: &[Question]) {
    let graph = ours::graph(network);
    let mut likely = Pathfinder::new(Prior::Mixed, Prices::USUAL);
    let ldk = Ldk::new(network);
    let (mut our_samples, mut their_samples) = (Vec::new(), Vec::new());
    // The first questions find the memory cold.
    for question in questions.iter().take(20) {
        ours::ask(&mut likely, &graph, &ours::usual_query(network, question, PARTS));
        let _ = ldk.ask(question);
    }
    for question in questions {
        let query = ours::usual_query(network, question, PARTS);
        our_samples.push(Sample::take(|| ours::ask(&mut likely, &graph, &query)));
        their_samples.push(Sample::take(|| ldk.ask(question)));
    }
    println!("\nRoutes in up to {PARTS} parts (LDK 10), fee limit 1 % and 50 sat, 1,008 blocks\n\n{HEAD}");
    for band in 0..=BANDS.len() {
        let within = |at: &usize| band == BANDS.len() || questions[*at].band == band;
        let places: Vec<usize> = (0..questions.len()).filter(within).collect();
        let pick = |samples: &[Sample]| places.iter().map(|at| samples[*at]).collect::<Vec<_>>();
        let amounts: Vec<u64> = places.iter().map(|at| questions[*at].amount_msat).collect();
        let (ours, theirs) = (pick(&our_samples), pick(&their_samples));
        let name = BANDS.get(band).copied().unwrap_or("all");
        println!("{}", row(&format!("{name}, ours"), &ours, &amounts));
        println!("{}", row(&format!("{name}, LDK"), &theirs, &amounts));
        let ratio = |hundredths| {
            percentile(&theirs, hundredths).as_secs_f64() / percentile(&ours, hundredths).as_secs_f64()
        };
        println!("| {name}, times as fast | | {:.0} | {:.0} | {:.0} | | |", ratio(50), ratio(95), ratio(99));
    }
}

/// Payments until they arrive or are given up, each router learning from what becomes of its attempts.
fn over_hidden_balances(network: &Network, questions: &[Question], spread: Spread, seeds: u64) {
    let graph = ours::graph(network);
    let (mut our_outcomes, mut their_outcomes) = (Vec::new(), Vec::new());
    for seed in 1..=seeds {
        let (mut ours, mut theirs) =
            (Ours::new(&graph, Pathfinder::new(Prior::Mixed, Prices::USUAL)), Theirs::new(Ldk::new(network)));
        let run = |payer: &mut dyn Payer, outcomes: &mut Vec<hidden::Outcome>| {
            let mut world = World::new(network, spread, seed);
            outcomes.extend(questions.iter().map(|question| world.pay(payer, network, question)));
        };
        run(&mut ours, &mut our_outcomes);
        run(&mut theirs, &mut their_outcomes);
    }
    let parts = hidden::PARTS;
    println!("\n{spread:?} hidden balances, {seeds} seeds, up to {parts} parts\n\n{}", hidden::HEAD);
    for (band, name) in BANDS.iter().enumerate() {
        let places = (0..our_outcomes.len()).filter(|at| questions[at % questions.len()].band == band);
        let places: Vec<usize> = places.collect();
        let amounts: Vec<u64> = places.iter().map(|at| questions[at % questions.len()].amount_msat).collect();
        for (who, outcomes) in [("ours", &our_outcomes), ("LDK", &their_outcomes)] {
            let those: Vec<hidden::Outcome> = places.iter().map(|at| outcomes[*at]).collect();
            println!("{}", hidden::row(&format!("{name}, {who}"), &those, &amounts));
        }
    }
}
