//! Some fifty seeds, and that a seed is a whole run.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
use sim::{Backup, Outcome, Trouble};

fn run(seeds: std::ops::Range<u64>, trouble: Trouble) -> Outcome {
    let mut sum = Outcome::default();
    for seed in seeds {
        let outcome = sim::run(seed, trouble).unwrap_or_else(|what| panic!("seed {seed}: {what}"));
        sum.payments += outcome.payments;
        sum.arrived += outcome.arrived;
        sum.crashes += outcome.crashes;
        sum.closed += outcome.closed;
        sum.breaches += outcome.breaches;
    }
    println!("{sum:?}");
    assert!(sum.arrived * 6 > sum.payments, "the schedules test little: {sum:?}");
    sum
}

#[test]
fn all_trouble_at_once() {
    let sum = run(0..25, Trouble::all(500));
    assert!(sum.crashes > 40);
}

#[test]
fn without_crashes() {
    let sum = run(1_000..1_010, Trouble { crashes: false, ..Trouble::all(500) });
    assert_eq!(sum.crashes, 0);
}

#[test]
fn channels_that_go_to_the_chain_with_all_that_is_in_flight() {
    let sum = run(2_000..2_015, Trouble { force_closes: true, ..Trouble::all(500) });
    assert!(sum.closed > 10);
}

#[test]
fn an_old_backup_by_accident() {
    run(3_000..3_010, Trouble { backup: Backup::Accident, ..Trouble::all(500) });
}

#[test]
fn an_old_backup_on_purpose() {
    let sum = run(4_000..4_010, Trouble { backup: Backup::Theft, ..Trouble::all(500) });
    assert!(sum.breaches > 0, "nobody was punished");
}

#[test]
fn the_same_seed_is_the_same_run() {
    let first = sim::run(77, Trouble::all(400));
    assert_eq!(first, sim::run(77, Trouble::all(400)));
    assert_ne!(first, sim::run(78, Trouble::all(400)));
}
