//! Some fifty seeds, and that a seed is a whole run.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
use sim::{Outcome, Trouble};

fn run(seeds: std::ops::Range<u64>, trouble: Trouble) -> Outcome {
    let mut sum = Outcome::default();
    for seed in seeds {
        let outcome = sim::run(seed, trouble).unwrap_or_else(|what| panic!("seed {seed}: {what}"));
        sum.payments += outcome.payments;
        sum.arrived += outcome.arrived;
        sum.crashes += outcome.crashes;
        sum.closed += outcome.closed;
    }
    println!("{sum:?}");
    assert!(sum.arrived * 4 > sum.payments, "the schedules test little: {sum:?}");
    sum
}

#[test]
fn all_trouble_at_once() {
    let sum = run(0..30, Trouble::all(500));
    assert!(sum.crashes > 40);
}

#[test]
fn without_crashes() {
    let sum = run(1_000..1_020, Trouble { crashes: false, ..Trouble::all(500) });
    assert_eq!(sum.crashes, 0);
}

#[test]
fn the_same_seed_is_the_same_run() {
    let first = sim::run(77, Trouble::all(400));
    assert_eq!(first, sim::run(77, Trouble::all(400)));
    assert_ne!(first, sim::run(78, Trouble::all(400)));
}
