//! Runs seeds until one breaks a promise, and then looks for the shortest script that breaks it.
//!
//! `cargo run --release -p sim -- --seeds 0..1000`; a seed that failed runs again, aloud, with `--seeds 17..18 --loud`, a
//! stored script with `--script FILE --loud`. `--journal FILE` writes down all that crosses between the structures, and
//! `--replay FILE` shows that it goes the same way again.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a program: it has arguments, a clock, threads and an end (I1 binds the components)"
)]
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use clap::Parser;
use sim::{Broken, Outcome, Profile, Script};

/// Simulates small networks under all kinds of trouble.
#[derive(Parser)]
#[command(after_help = format!("Scenarios:\n{}", sim::list_scenarios()))]
struct Arguments {
    /// Which seeds: the first, and the first that is not run.
    #[arg(long, value_parser = range, default_value = "0..100")]
    seeds: Range<u64>,
    /// What trouble there is: honest, disk, chain or byzantine, or all these in turn; or spikes, or towers.
    #[arg(long)]
    profile: Option<Profile>,
    /// One scenario instead, by its number, or "all" of them in turn; see below.
    #[arg(long, value_parser = scenarios, conflicts_with = "profile")]
    scenario: Option<Scenarios>,
    /// Steps of each run.
    #[arg(long, default_value_t = 500)]
    steps: u32,
    /// Threads; each seed runs on one.
    #[arg(long, default_value_t = 2)]
    threads: u64,
    /// Seconds after which a run that does not end is called a deadlock.
    #[arg(long, default_value_t = 120)]
    patience: u64,
    /// Runs a stored script instead of seeds.
    #[arg(long)]
    script: Option<PathBuf>,
    /// Stores the shortest script of a failure here.
    #[arg(long)]
    store: Option<PathBuf>,
    /// Writes down what crosses the boundaries between the structures in the run of the first seed, or of the script.
    #[arg(long)]
    journal: Option<PathBuf>,
    /// Runs what a journal was taken of again, and compares each crossing with it byte for byte.
    #[arg(long, conflicts_with_all = ["seeds", "script", "journal", "profile", "scenario"])]
    replay: Option<PathBuf>,
    /// Does not look for a shorter script.
    #[arg(long)]
    whole: bool,
    /// Fails when a message that a channel can take in some phase was never seen there, or towers had nothing to do.
    #[arg(long)]
    complete: bool,
    /// Prints everything that happens.
    #[arg(long)]
    loud: bool,
}

fn range(text: &str) -> Result<Range<u64>, String> {
    let parse = |number: &str| number.parse::<u64>().map_err(|error| format!("{number}: {error}"));
    let (first, end) = text.split_once("..").ok_or("a range looks like 0..100")?;
    Ok(parse(first)?..parse(end)?)
}

/// Which scenarios are run, in turn.
#[derive(Clone)]
struct Scenarios(Vec<Profile>);

fn scenarios(text: &str) -> Result<Scenarios, String> {
    if text == "all" {
        return Ok(Scenarios(Profile::scenarios().collect()));
    }
    Ok(Scenarios(vec![format!("scenario-{text}").parse()?]))
}

impl Arguments {
    fn script(&self, seed: u64) -> Script {
        if let Some(Scenarios(all)) = &self.scenario {
            let count = all.len() as u64;
            let profile = usize::try_from(seed % count).ok().and_then(|turn| all.get(turn));
            return Script::of_seed(profile.copied().unwrap_or(Profile::Honest), seed / count, self.steps);
        }
        let turn = usize::try_from(seed).unwrap_or_default() % Profile::ALL.len();
        let in_turn = Profile::ALL.get(turn).copied().unwrap_or(Profile::Honest);
        Script::of_seed(self.profile.unwrap_or(in_turn), seed, self.steps)
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(path) = &arguments.replay {
        return replay(path);
    }
    if let Some(path) = &arguments.script {
        return run_stored(path, &arguments);
    }
    if let Some(path) = &arguments.journal {
        return write_journal(&arguments.script(arguments.seeds.start), path);
    }
    let started = Instant::now();
    let (sum, runs, failure) = run_seeds(&arguments);
    report(&sum, runs, started);
    let has_towers = arguments.profile == Some(Profile::Towers);
    let missing = if has_towers { sum.missing_of_towers() } else { Vec::new() };
    match failure {
        None if arguments.complete && !missing.is_empty() => {
            println!("FAILED: never seen: {}", missing.join(", "));
            ExitCode::FAILURE
        }
        None if arguments.complete && !has_towers && !sum.coverage.unseen().1.is_empty() => {
            println!("FAILED: the schedules do not reach every phase and message");
            ExitCode::FAILURE
        }
        None => ExitCode::SUCCESS,
        Some((seed, broken)) => {
            explain(&arguments.script(seed), broken, &arguments);
            ExitCode::FAILURE
        }
    }
}

fn run_stored(path: &PathBuf, arguments: &Arguments) -> ExitCode {
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string());
    match text.and_then(|text| Script::parse(&text)) {
        Err(error) => {
            println!("{}: {error}", path.display());
            ExitCode::FAILURE
        }
        Ok(script) if let Some(path) = &arguments.journal => write_journal(&script, path),
        Ok(script) => match sim::run(&script, arguments.loud) {
            Ok(outcome) => {
                println!("all promises kept: {outcome:?}");
                ExitCode::SUCCESS
            }
            Err(broken) => {
                println!("{broken}");
                ExitCode::FAILURE
            }
        },
    }
}

fn write_journal(script: &Script, path: &PathBuf) -> ExitCode {
    let (result, text) = sim::record(script);
    if let Err(broken) = &result {
        println!("{broken}");
    }
    match std::fs::write(path, text) {
        Ok(()) if result.is_ok() => ExitCode::SUCCESS,
        Ok(()) => ExitCode::FAILURE,
        Err(error) => {
            println!("not stored in {}: {error}", path.display());
            ExitCode::FAILURE
        }
    }
}

fn replay(path: &PathBuf) -> ExitCode {
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string());
    match text.and_then(|text| sim::replay(&text).map_err(|differs| differs.to_string())) {
        Ok(crossings) => {
            println!("the same, byte for byte: {crossings} crossings");
            ExitCode::SUCCESS
        }
        Err(why) => {
            println!("{}: {why}", path.display());
            ExitCode::FAILURE
        }
    }
}

type Answer = (u64, Result<Outcome, Broken>);

/// Runs all seeds on some threads; sums up in the order of the seeds, up to the first that fails.
fn run_seeds(arguments: &Arguments) -> (Outcome, u64, Option<(u64, Broken)>) {
    let next = AtomicU64::new(arguments.seeds.start);
    let is_over = AtomicBool::new(false);
    let (send, receive) = channel();
    std::thread::scope(|scope| {
        for _ in 0..arguments.threads.max(1) {
            let send = send.clone();
            scope.spawn(|| work(arguments, &next, &is_over, send));
        }
        drop(send);
        let answer = collect(arguments, &receive);
        is_over.store(true, Ordering::Relaxed);
        answer
    })
}

fn work(arguments: &Arguments, next: &AtomicU64, is_over: &AtomicBool, send: Sender<Answer>) {
    while !is_over.load(Ordering::Relaxed) {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= arguments.seeds.end {
            return;
        }
        if send.send((seed, sim::run(&arguments.script(seed), arguments.loud))).is_err() {
            return;
        }
    }
}

fn collect(arguments: &Arguments, receive: &Receiver<Answer>) -> (Outcome, u64, Option<(u64, Broken)>) {
    let mut early = BTreeMap::new();
    let (mut sum, mut seed) = (Outcome::default(), arguments.seeds.start);
    while seed < arguments.seeds.end {
        match receive.recv_timeout(Duration::from_secs(arguments.patience)) {
            Ok((seed, answer)) => drop(early.insert(seed, answer)),
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                // Its thread can be neither asked nor stopped.
                println!("seed {seed} fails: O9 no abort: a deadlock, or a loop without end");
                std::process::exit(1);
            }
        }
        while let Some(answer) = early.remove(&seed) {
            match answer {
                Ok(outcome) => sum.add(&outcome),
                Err(broken) => return (sum, seed - arguments.seeds.start, Some((seed, broken))),
            }
            seed += 1;
        }
    }
    (sum, seed - arguments.seeds.start, None)
}

fn report(sum: &Outcome, runs: u64, started: Instant) {
    let seconds = started.elapsed().as_secs_f64();
    println!("{runs} seeds in {seconds:.1} s: {:.1} seeds/s", runs as f64 / seconds);
    let Outcome { payments, arrived, crashes, reorgs, writes, opened, closed, .. } = sum;
    let Outcome { published, breaches, tricks, coverage, .. } = sum;
    let Outcome { absent, tower_crashes, guarded, punished_alone, deepest, .. } = sum;
    println!("{arrived} of {payments} payments arrived; {crashes} crashes, {reorgs} reorgs");
    println!("{} messages, {writes} writes", coverage.arrived);
    println!("{opened} channels opened, {closed} closed");
    println!(
        "villains published {published} commitments and tried {tricks} tricks; {breaches} breaches punished"
    );
    println!(
        "towers punished all of {guarded} breaches, {punished_alone} of them alone; {absent} clients gone for ever, \
         {tower_crashes} crashes of towers; deepest reorg {deepest}"
    );
    let (legal, unseen) = coverage.unseen();
    println!("phase table: {} of {legal} pairs of phase and message seen", legal - unseen.len());
    for (phase, message) in unseen {
        println!("  never seen: {message} in {phase:?}");
    }
    println!("fingerprint {:016x}", coverage.fingerprint);
}

/// Prints a failure, and the shortest script that was found for it.
fn explain(script: &Script, broken: Broken, arguments: &Arguments) {
    println!("seed {} of profile {} fails: {broken}", script.seed, script.profile);
    if arguments.whole {
        return;
    }
    let (short, broken) = sim::shortest(script, broken);
    let text = format!("# {}\n{short}", broken.to_string().replace('\n', "\n# "));
    println!("shortest script found, {} steps:\n{text}", short.steps.len());
    if let Some(path) = &arguments.store
        && let Err(error) = std::fs::write(path, text)
    {
        println!("not stored in {}: {error}", path.display());
    }
}
