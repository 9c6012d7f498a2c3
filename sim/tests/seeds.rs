//! Some seeds of each profile, that a script is a whole run, and every script that ever failed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
#![allow(clippy::disallowed_methods, reason = "scripts are files")]
use sim::{Outcome, Profile, Script, run};

/// What runs of one profile must have seen: facts of every single run, and sums over many that are about a fifth of what they
/// are on average, so that other dice do not matter, and schedules that test nothing do.
#[derive(Default)]
struct Least {
    arrived: u64,
    crashes: u64,
    reorgs: u64,
    opened: u64,
    closed: u64,
    published: u64,
    tricks: u64,
}

fn seeds(seeds: std::ops::Range<u64>, profile: Profile, least: &Least) -> Outcome {
    let mut sum = Outcome::default();
    for seed in seeds {
        let outcome = run(&Script::of_seed(profile, seed, 400), false);
        let outcome = outcome.unwrap_or_else(|broken| panic!("seed {seed} of {profile}: {broken}"));
        let is_lively = outcome.writes > 20 && outcome.coverage.arrived > 0;
        assert!(is_lively, "seed {seed} of {profile} does nothing: {outcome:?}");
        assert!(outcome.arrived <= outcome.payments);
        sum.add(&outcome);
    }
    println!("{sum:?}");
    let enough = [
        sum.arrived >= least.arrived,
        sum.crashes >= least.crashes,
        sum.reorgs >= least.reorgs,
        sum.opened >= least.opened,
        sum.closed >= least.closed,
        sum.published >= least.published,
        sum.tricks >= least.tricks,
    ];
    assert!(enough.iter().all(|is_enough| *is_enough), "the schedules test little: {sum:?}");
    sum
}

#[test]
fn honest_nodes_under_all_kinds_of_trouble() {
    let least = Least { arrived: 55, crashes: 40, reorgs: 5, opened: 2, closed: 30, ..Least::default() };
    seeds(0..48, Profile::Honest, &least);
}

#[test]
fn disks_that_are_full_or_old() {
    let least = Least { arrived: 30, crashes: 70, closed: 15, ..Least::default() };
    seeds(0..32, Profile::Disk, &least);
}

#[test]
fn channels_that_go_to_the_chain_with_all_that_is_in_flight() {
    let least = Least { arrived: 20, crashes: 20, reorgs: 30, closed: 10, ..Least::default() };
    seeds(0..48, Profile::Chain, &least);
}

#[test]
fn villains_gain_nothing() {
    let least = Least { arrived: 12, published: 8, tricks: 70, closed: 10, ..Least::default() };
    seeds(0..48, Profile::Byzantine, &least);
}

#[test]
fn towers_punish_for_clients_that_are_gone() {
    let least = Least { arrived: 2, crashes: 20, reorgs: 30, published: 30, ..Least::default() };
    let sum = seeds(0..60, Profile::Towers, &least);
    assert!(
        sum.guarded >= 4 && sum.absent >= 6 && sum.tower_crashes >= 40,
        "towers are tested little: {sum:?}"
    );
}

#[test]
fn what_is_known_to_hurt() {
    for profile in Profile::scenarios() {
        // In these nodes die, and payments arrive all the same.
        let is_deadly = matches!(profile, Profile::Scenario(1 | 3..=5 | 17..=20 | 118));
        let least =
            if is_deadly { Least { arrived: 3, crashes: 8, ..Least::default() } } else { Least::default() };
        seeds(0..8, profile, &least);
    }
}

#[test]
fn the_same_seed_is_the_same_run() {
    for profile in Profile::ALL.into_iter().chain(Profile::scenarios()) {
        let script = Script::of_seed(profile, 77, 300);
        let first = run(&script, false);
        assert!(first.is_ok());
        assert_eq!(first, run(&script, false));
        assert_ne!(first, run(&Script::of_seed(profile, 78, 300), false));
    }
}

#[test]
fn every_script_that_ever_failed() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/regressions");
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in &paths {
        let script = Script::parse(&std::fs::read_to_string(path).unwrap()).unwrap();
        if let Err(broken) = run(&script, false) {
            panic!("{}: {broken}", path.display());
        }
    }
    println!("{} scripts", paths.len());
    assert!(!paths.is_empty());
}
