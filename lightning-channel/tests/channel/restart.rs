//! A fault at every step: the wire cut, one side or both crashed to what is on their disk. Afterwards everything goes on.
//!
//! RELIABILITY scenarios 1 and 21, oracles O1, O2, O3 (record and money), O5 (no needless close), O6.
use lightning_channel::channel::PhaseName;
use lightning_traits::units::Msat;

use super::pair::{Fate, Fault, Pair};

const PUSH: Msat = Msat::from_sat(300_000);
const ALL: [Fault; 4] = [Fault::Disconnect, Fault::Crash(0), Fault::Crash(1), Fault::CrashBoth];

fn payments(pair: &mut Pair) {
    pair.want(1, 0, Msat::from_sat(50_000), Fate::Claim);
    pair.want(2, 0, Msat::from_sat(20_000), Fate::Fail);
    pair.want(3, 1, Msat::from_sat(10_000), Fate::Claim);
    pair.want(4, 1, Msat::from_sat(5_000), Fate::Malformed);
    pair.want(5, 0, Msat::new(100_000), Fate::Claim);
}

/// What the first and the second own once all payments are settled.
fn expected() -> (Msat, Msat) {
    let second = PUSH.to_msat() + 50_000_000 + 100_000 - 10_000_000;
    (Msat::new(1_000_000_000 - second), Msat::new(second))
}

/// A sequence that looks random and is the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % limit
    }
}

#[test]
fn j06_up_to_four_faults_anywhere_recovery_included_on_disks_of_any_speed() {
    for seed in 0..150 {
        let mut dice = Dice(seed);
        let mut pair = Pair::open(PUSH);
        pair.count = 0;
        pair.fault = Some((1 + dice.below(120), ALL[dice.below(4)]));
        pair.more_faults = (0..dice.below(4)).map(|_| (1 + dice.below(40), ALL[dice.below(4)])).collect();
        payments(&mut pair);
        for node in &mut pair.nodes {
            node.slow_disk = dice.below(2) == 0;
        }
        loop {
            pair.run();
            // Whichever node writes next, and sometimes many at once.
            let first = dice.below(2);
            let mut moved = false;
            for side in [first, 1 - first] {
                for _ in 0..=dice.below(3) {
                    moved |= pair.nodes[side].write_one();
                }
                if moved {
                    break;
                }
            }
            if !moved {
                break;
            }
        }
        assert_eq!(pair.phases(), [PhaseName::Open; 2], "seed {seed}");
        let (first, second) = expected();
        pair.assert_balance(first, second);
        let outcomes: Vec<_> = pair.outcomes.values().copied().collect();
        assert_eq!(outcomes, [true, false, true, true, false], "seed {seed}");
    }
}

/// Runs the payments with a fault after `at` things; `None` when all was over before.
fn disturbed(at: usize, fault: Fault, slow: bool) -> Option<Pair> {
    let mut pair = Pair::open(PUSH);
    pair.count = 0;
    pair.fault = Some((at, fault));
    payments(&mut pair);
    for node in &mut pair.nodes {
        node.slow_disk = slow;
    }
    // On a slow disk each rest of the nodes lets one write through.
    loop {
        pair.run();
        let moved = pair.nodes.iter_mut().any(super::node::Node::write_one);
        if !moved {
            break;
        }
    }
    pair.struck.then_some(pair)
}

fn everywhere(fault: Fault, slow: bool) {
    let mut points = 0;
    for at in 1..10_000 {
        let Some(pair) = disturbed(at, fault, slow) else { break };
        points += 1;
        assert_eq!(pair.phases(), [PhaseName::Open; 2], "{fault:?} at {at}");
        let (first, second) = expected();
        pair.assert_balance(first, second);
        let outcomes: Vec<_> = pair.outcomes.values().copied().collect();
        assert_eq!(outcomes, [true, false, true, true, false], "{fault:?} at {at}");
        assert!(pair.closed_event(0).is_none() && pair.closed_event(1).is_none());
    }
    assert!(points > 60, "only {points} points were disturbed");
}

#[test]
fn fault_anywhere_on_a_fast_disk() {
    ALL.into_iter().for_each(|fault| everywhere(fault, false));
}

#[test]
fn b13_fault_anywhere_on_a_slow_disk() {
    ALL.into_iter().for_each(|fault| everywhere(fault, true));
}
