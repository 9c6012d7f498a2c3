//! What a payment makes a node write does not grow: not with payments in flight, not with past payments (I13).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use lightning_benches::ours::Pair;

/// Bytes a payment and node.
fn bytes(pair: &mut Pair, in_flight: usize, rounds: usize) -> u64 {
    let sum = |pair: &Pair| pair.written().as_flattened().iter().sum::<u64>();
    let before = sum(pair);
    (0..rounds).for_each(|_| pair.pay(in_flight));
    let payments = u64::try_from(in_flight * rounds).unwrap();
    (sum(pair) - before) / payments / 2
}

/// The bound that the project has set itself.
const MOST: u64 = 2_048;

#[test]
fn bytes_of_a_payment_grow_with_nothing() {
    let mut pair = Pair::open();
    for (in_flight, rounds) in [(1, 40), (1, 80), (50, 6), (400, 3), (1, 80)] {
        let found = bytes(&mut pair, in_flight, rounds);
        println!("{in_flight} in flight: {found} bytes");
        assert!(found <= MOST, "{found} bytes with {in_flight} in flight");
    }
}
