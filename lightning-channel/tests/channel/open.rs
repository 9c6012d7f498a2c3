//! A channel that carries payments.
use lightning_channel::channel::PhaseName;
use lightning_traits::units::Msat;

use super::pair::{Fate, Pair};

const PUSH: Msat = Msat::from_sat(300_000);

#[test]
fn payments_both_ways_claimed_failed_and_malformed_end_as_they_should() {
    let mut pair = Pair::open(PUSH);
    pair.want(1, 0, Msat::from_sat(50_000), Fate::Claim);
    pair.want(2, 0, Msat::from_sat(20_000), Fate::Fail);
    pair.want(3, 0, Msat::from_sat(10_000), Fate::Malformed);
    pair.want(4, 1, Msat::new(7_000_001), Fate::Claim);
    pair.want(5, 1, Msat::new(300_000), Fate::Claim);
    pair.run();
    assert_eq!(pair.phases(), [PhaseName::Open; 2]);
    let moved = Msat::from_sat(50_000).checked_sub(Msat::new(7_300_001)).unwrap();
    let second = PUSH.checked_add(moved).unwrap();
    pair.assert_balance(Msat::from_sat(1_000_000).checked_sub(second).unwrap(), second);
    let outcomes: Vec<_> = pair.outcomes.values().copied().collect();
    assert_eq!(outcomes, [true, false, false, true, true]);
}
