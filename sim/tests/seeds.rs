//! Some seeds of each profile, that a script is a whole run, and every script that ever failed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
#![allow(clippy::disallowed_methods, reason = "scripts are files")]
use sim::{Outcome, Profile, Script, run};

fn seeds(seeds: std::ops::Range<u64>, profile: Profile) -> Outcome {
    let mut sum = Outcome::default();
    for seed in seeds {
        let outcome = run(&Script::of_seed(profile, seed, 400), false);
        sum.add(&outcome.unwrap_or_else(|broken| panic!("seed {seed}: {broken}")));
    }
    println!("{sum:?}");
    assert!(sum.arrived * 12 > sum.payments, "the schedules test little: {sum:?}");
    sum
}

#[test]
fn honest_nodes_under_all_kinds_of_trouble() {
    let sum = seeds(0..16, Profile::Honest);
    assert!(sum.crashes > 20 && sum.closed > 20 && sum.opened > 0);
}

#[test]
fn disks_that_are_full_or_old() {
    let sum = seeds(0..12, Profile::Disk);
    assert!(sum.crashes > 60);
}

#[test]
fn channels_that_go_to_the_chain_with_all_that_is_in_flight() {
    let sum = seeds(0..16, Profile::Chain);
    assert!(sum.closed > 10 && sum.reorgs > 20);
}

#[test]
fn villains_gain_nothing() {
    let sum = seeds(0..16, Profile::Byzantine);
    assert!(sum.published > 5 && sum.tricks > 20);
}

#[test]
fn the_same_seed_is_the_same_run() {
    for profile in Profile::ALL {
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
