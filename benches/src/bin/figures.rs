//! The table of `benches/README.md`: each row measured against LDK and the limit in turns, by CPU time.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::disallowed_methods, reason = "a bench")]

use std::time::Duration;

use lightning_benches::cpu::{median, spent};
use lightning_benches::crypto::{Primitives, Tally};
use lightning_benches::{ldk, ours};

fn micros(duration: Duration, payments: usize) -> f64 {
    duration.as_secs_f64() * 1e6 / payments as f64
}

fn payments(in_flight: usize, rounds: usize) {
    let primitives = Primitives::default();
    let (mut ours, mut ldk) = (ours::Pair::open(), ldk::Pair::open());
    ours.pay(in_flight);
    ldk.pay(in_flight);
    (ours.tally, ldk.tally) = (Tally::default(), Tally::default());
    ours.pay(in_flight);
    ldk.pay(in_flight);
    let counts = [ours.tally.count(), ldk.tally.count()];
    let mut times = [vec![], vec![], vec![], vec![]];
    for _ in 0..rounds {
        times[0].push(spent(|| ours.pay(in_flight)));
        times[1].push(spent(|| ldk.pay(in_flight)));
        times[2].push(spent(|| primitives.perform(&counts[0])));
        times[3].push(spent(|| primitives.perform(&counts[1])));
    }
    let [ours, ldk, limit, limit_ldk] = times.map(|all| micros(median(all), in_flight));
    println!(
        "{in_flight:4} in flight: ours {ours:7.0} us, LDK {ldk:7.0} us: {:.2}x LDK; limit {limit:.0}: {:.2}x; LDK's limit {limit_ldk:.0}: {:.2}x",
        ldk / ours,
        ours / limit,
        ldk / limit_ldk,
    );
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, or: usize| args.get(at).map_or(or, |text| text.parse().unwrap());
    match args.first().map_or("", String::as_str) {
        "ours" => {
            let mut pair = ours::Pair::open();
            (0..number(2, 10)).for_each(|_| pair.pay(number(1, 1)));
        }
        "ldk" => {
            let mut pair = ldk::Pair::open();
            (0..number(2, 10)).for_each(|_| pair.pay(number(1, 1)));
        }
        _ => {
            payments(1, 200);
            payments(100, 7);
            payments(400, 3);
        }
    }
}
