//! Runs seeds until one breaks a promise.
//!
//! `cargo run -p sim -- --seeds 0..1000`; a seed that failed runs again, aloud, with `--seeds 17..18 --loud`.
#![allow(
    clippy::disallowed_methods,
    reason = "a program: it has arguments, a clock and an end (I1 binds the components)"
)]
use std::ops::Range;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use sim::{Backup, Outcome, Trouble};

/// Simulates small networks under all kinds of trouble.
#[derive(Parser)]
struct Arguments {
    /// Which seeds: the first, and the first that is not run.
    #[arg(long, value_parser = range, default_value = "0..100")]
    seeds: Range<u64>,
    /// Steps of the dice in each run.
    #[arg(long, default_value_t = 600)]
    steps: u32,
    /// Users send channels to the chain, whatever is in flight.
    #[arg(long)]
    force_closes: bool,
    /// A node starts again from an old backup, and does not know.
    #[arg(long, conflicts_with = "theft")]
    accident: bool,
    /// A node starts again from an old backup, and closes its channels with old commitments.
    #[arg(long)]
    theft: bool,
    /// Print everything that happens.
    #[arg(long)]
    loud: bool,
}

fn range(text: &str) -> Result<Range<u64>, String> {
    let parse = |number: &str| number.parse::<u64>().map_err(|error| format!("{number}: {error}"));
    let (first, end) = text.split_once("..").ok_or("a range looks like 0..100")?;
    Ok(parse(first)?..parse(end)?)
}

fn main() -> ExitCode {
    let Arguments { seeds, steps, force_closes, accident, theft, loud } = Arguments::parse();
    let backup = match (accident, theft) {
        (true, _) => Backup::Accident,
        (false, true) => Backup::Theft,
        (false, false) => Backup::None,
    };
    let trouble = Trouble { loud, force_closes, backup, ..Trouble::all(steps) };
    let started = Instant::now();
    let mut sum = Outcome::default();
    let mut runs = 0_u32;
    for seed in seeds {
        match sim::run(seed, trouble) {
            Ok(outcome) => sum = add(sum, outcome),
            Err(what) => {
                report(sum, runs, started);
                println!("seed {seed} fails: {what}");
                return ExitCode::FAILURE;
            }
        }
        runs = runs.saturating_add(1);
    }
    report(sum, runs, started);
    ExitCode::SUCCESS
}

const fn add(sum: Outcome, more: Outcome) -> Outcome {
    Outcome {
        payments: sum.payments.saturating_add(more.payments),
        arrived: sum.arrived.saturating_add(more.arrived),
        crashes: sum.crashes.saturating_add(more.crashes),
        messages: sum.messages.saturating_add(more.messages),
        writes: sum.writes.saturating_add(more.writes),
        closed: sum.closed.saturating_add(more.closed),
        breaches: sum.breaches.saturating_add(more.breaches),
    }
}

fn report(sum: Outcome, runs: u32, started: Instant) {
    let seconds = started.elapsed().as_secs_f64();
    println!("{runs} seeds in {seconds:.1} s: {:.1} seeds/s", f64::from(runs) / seconds);
    let Outcome { payments, arrived, crashes, messages, writes, closed, breaches } = sum;
    println!(
        "{arrived} of {payments} payments arrived, {crashes} crashes, {messages} messages, {writes} writes"
    );
    println!("{closed} channels closed and paid out, {breaches} breaches punished");
}
