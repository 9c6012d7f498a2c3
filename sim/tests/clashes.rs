//! Chains that go again, rooms that are short, two that want the same: some seeds of each such scenario.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
use sim::{Outcome, Profile, Script, run};

fn seeds(seeds: std::ops::Range<u64>, profile: &str) -> Outcome {
    let mut sum = Outcome::default();
    for seed in seeds {
        let outcome = run(&Script::of_seed(profile.parse().unwrap(), seed, 300), false);
        sum.add(&outcome.unwrap_or_else(|broken| panic!("{profile}, seed {seed}: {broken}")));
    }
    println!("{profile}: {sum:?}");
    sum
}

#[test]
fn closes_that_are_taken_back() {
    let sum = seeds(0..9, "scenario-9");
    assert!(sum.closed > 8 && sum.reorgs > 50 && sum.arrived > 0);
}

#[test]
fn fundings_that_are_taken_back() {
    let sum = seeds(0..9, "scenario-10");
    assert!(sum.opened > 8 && sum.reorgs > 30 && sum.arrived > 8);
}

#[test]
fn claims_that_wait_in_a_spike() {
    let sum = seeds(0..13, "scenario-12");
    assert!(sum.closed > 6 && sum.arrived > 0);
}

#[test]
fn both_sides_at_once() {
    let sum = seeds(0..24, "scenario-15");
    assert!(sum.closed > 12 && sum.reorgs > 20 && sum.arrived > 0);
}

#[test]
fn preimage_and_timeout_at_the_deadline() {
    let sum = seeds(0..13, "scenario-22");
    assert!(sum.payments > 12 && sum.reorgs > 4 && sum.arrived > 0);
}

#[test]
fn honest_nodes_in_spikes() {
    let sum = seeds(0..7, "spikes");
    assert!(sum.closed > 6 && sum.arrived > 10);
}

#[test]
fn the_same_seed_is_the_same_run() {
    for word in ["scenario-9", "scenario-10", "scenario-12", "scenario-15", "scenario-22", "spikes"] {
        let profile: Profile = word.parse().unwrap();
        let script = Script::of_seed(profile, 7, 300);
        let first = run(&script, false);
        assert!(first.is_ok(), "{word}: {first:?}");
        assert_eq!(first, run(&script, false), "{word}");
        assert_ne!(first, run(&Script::of_seed(profile, 8, 300), false), "{word}");
        assert_eq!(Script::parse(&script.to_string()), Ok(script), "{word}");
    }
}
