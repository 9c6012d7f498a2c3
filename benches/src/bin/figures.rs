//! The table of `benches/README.md`: what issue asks of speed, bytes and memory, ours and LDK's in turns, by CPU time.
//!
//! Without an argument all rows; with the name of one (`payments`, `line`, `cores`, `bytes`, `restart`, `memory`) that one.
//! `ours N ROUNDS` and `ldk N ROUNDS` only pay, for a profiler.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::disallowed_methods, reason = "a bench")]

use std::time::{Duration, Instant};

use lightning_benches::cpu::{median, resident, spent};
use lightning_benches::crypto::{Count, Primitives};
use lightning_benches::{ldk, ours};

fn micros(duration: Duration, payments: usize) -> f64 {
    duration.as_secs_f64() * 1e6 / payments as f64
}

/// Times of ours, of LDK, and of what each cannot do without, in turns; medians for one payment.
fn in_turns(name: &str, rounds: usize, in_flight: usize, pay: &mut [&mut dyn FnMut()], counts: [Count; 2]) {
    let primitives = Primitives::default();
    let mut times = vec![Vec::new(); 4];
    for _ in 0..rounds {
        times[0].push(spent(&mut *pay[0]));
        times[1].push(spent(&mut *pay[1]));
        times[2].push(spent(|| primitives.perform(&counts[0])));
        times[3].push(spent(|| primitives.perform(&counts[1])));
    }
    let medians: Vec<f64> = times.into_iter().map(|all| micros(median(all), in_flight)).collect();
    let [ours, ldk, limit, limit_ldk] = medians[..] else { return };
    println!(
        "{name}: ours {ours:.0} us, LDK {ldk:.0} us, {:.2} times as fast; limit {limit:.0} us, {:.2} of it; LDK {:.2} of its {limit_ldk:.0} us",
        ldk / ours,
        ours / limit,
        ldk / limit_ldk,
    );
}

fn payments(in_flight: usize, rounds: usize) {
    let (mut ours, mut ldk) = (ours::Pair::open(), ldk::Line::open(2));
    let mut counts = [Count::default(); 2];
    for _ in 0..2 {
        ours.pay(in_flight);
        ldk.pay(in_flight);
        counts = [ours.take_tally().count(), ldk.take_tally().count()];
    }
    let name = format!("payment, {in_flight} in flight");
    let (mut ours, mut ldk) = (|| ours.pay(in_flight), || ldk.pay(in_flight));
    in_turns(&name, rounds, in_flight, &mut [&mut ours, &mut ldk], counts);
}

fn line(in_flight: usize, rounds: usize) {
    let (mut ours, mut ldk) = (ours::Line::open(), ldk::Line::open(3));
    let mut counts = [Count::default(); 2];
    for _ in 0..2 {
        ours.pay(in_flight);
        ldk.pay(in_flight);
        counts = [ours.take_tally().count(), ldk.take_tally().count()];
    }
    let name = format!("A-B-C, {in_flight} in flight");
    let (mut ours, mut ldk) = (|| ours.pay(in_flight), || ldk.pay(in_flight));
    in_turns(&name, rounds, in_flight, &mut [&mut ours, &mut ldk], counts);
}

/// Two channels of one node, each on a thread; beside them two nodes that share nothing, for what the machine gives at that
/// moment. The best of several: other programs only ever make it slower.
fn cores() {
    const ROUNDS: usize = 20;
    const IN_FLIGHT: usize = 10;
    let mut best = [Duration::MAX; 3];
    let mut spent = [ours::Spent::default(); 2];
    for _ in 0..15 {
        let (mut star, mut apart) = (ours::Star::open(), [ours::Star::open(), ours::Star::open()]);
        let mut time = |at: usize, pay: &mut dyn FnMut()| {
            let start = Instant::now();
            pay();
            best[at] = best[at].min(start.elapsed());
        };
        time(0, &mut || spent[0] = star.pay(&[1], ROUNDS, IN_FLIGHT));
        time(1, &mut || spent[1] = star.pay(&[1, 2], ROUNDS, IN_FLIGHT));
        time(2, &mut || {
            std::thread::scope(|scope| {
                for star in &mut apart {
                    scope.spawn(|| star.pay(&[1], ROUNDS, IN_FLIGHT));
                }
            });
        });
    }
    let [one, two, apart] = best.map(|time| time.as_secs_f64());
    println!(
        "two channels on two cores: {:.2} times one on one core; two nodes that share nothing: {:.2} times (wall time)",
        2.0 * one / two,
        2.0 * one / apart
    );
    let payments = ROUNDS * IN_FLIGHT;
    println!(
        "CPU of a payment: {:.0} us with one thread, {:.0} us with two, which slept {} times in {} payments",
        micros(spent[0].cpu, payments),
        micros(spent[1].cpu, 2 * payments),
        spent[1].sleeps,
        2 * payments
    );
}

/// Bytes for one payment, both nodes together: channels and monitors, then the manager's record.
fn bytes() {
    let per_payment = |pair: &mut ours::Pair, in_flight: usize, rounds: usize| {
        let before = pair.written();
        (0..rounds).for_each(|_| pair.pay(in_flight));
        let after = pair.written();
        let payments = (in_flight * rounds) as f64;
        [0, 1, 2, 3, 4].map(|kind| {
            (0..2).map(|node| after[node][kind] - before[node][kind]).sum::<u64>() as f64 / payments / 2.0
        })
    };
    let mut pair = ours::Pair::open();
    let print = |name: &str, pair: &mut ours::Pair, in_flight, rounds| {
        let kinds = per_payment(pair, in_flight, rounds);
        let [steps, monitors, changes, records, manager] = kinds;
        let all: f64 = kinds.iter().sum();
        println!(
            "bytes a payment and node, {name}: {all:.0} (monitors: steps {steps:.0}, whole {monitors:.0}; channels: changes {changes:.0}, whole {records:.0}; manager {manager:.0})"
        );
    };
    print("1 in flight, the first 100", &mut pair, 1, 100);
    print("1 in flight, after 100", &mut pair, 1, 400);
    print("400 in flight", &mut pair, 400, 4);
    (0..190).for_each(|_| pair.pay(100));
    print("1 in flight, after 20,000", &mut pair, 1, 1_000);
    print("400 in flight, after 20,000", &mut pair, 400, 4);
    print("1 in flight, among 1,000 channels", &mut ours::Pair::open_among(999), 1, 400);
    let mut line = ldk::Line::open(2);
    line.pay(1);
    for in_flight in [1, 400] {
        let before: u64 = line.written().iter().sum();
        (0..4).for_each(|_| line.pay(in_flight));
        let after: u64 = line.written().iter().sum();
        let bytes = (after - before) as f64 / (4 * in_flight) as f64 / 2.0;
        println!("LDK, {in_flight} in flight: {bytes:.0} in updates of monitors alone");
    }
}

fn restart() {
    let [payer, payee] = ours::Stopped::both(1_000, 50);
    for (who, stopped) in
        [("payer", payer), ("payee", payee), ("forwarder", ours::Stopped::forwarder(1_000, 50))]
    {
        let mut times = Vec::new();
        for _ in 0..5 {
            let stored = stopped.copy();
            times.push(spent(|| drop(stopped.start(stored))));
        }
        let (time, bytes) = (median(times).as_secs_f64(), stopped.bytes());
        println!(
            "restart, {who} of 50 HTLCs on each of 1,000 channels: {time:.2} s of CPU, {bytes} bytes read"
        );
    }
}

fn memory() {
    let before = resident();
    let pair = ours::Pair::open_among(1_000);
    let bytes = resident().saturating_sub(before) / 2_000;
    println!("memory of an idle channel, monitor included: {bytes} bytes");
    drop(pair);
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, or: usize| args.get(at).map_or(or, |text| text.parse().unwrap());
    let name = args.first().map_or("", String::as_str);
    println!("LDK {} grind_signatures", if cfg!(feature = "published") { "with" } else { "without" });
    match name {
        "ours" => {
            let mut pair = ours::Pair::open();
            (0..number(2, 10)).for_each(|_| pair.pay(number(1, 1)));
        }
        "ldk" => {
            let mut pair = ldk::Line::open(2);
            (0..number(2, 10)).for_each(|_| pair.pay(number(1, 1)));
        }
        _ => {}
    }
    let wants = |row: &str| name.is_empty() || name == row;
    // First, while nothing else has grown the heap.
    if wants("memory") {
        memory();
    }
    if wants("payments") {
        payments(1, 300);
        payments(100, 9);
        payments(400, 5);
    }
    if wants("line") {
        line(1, 100);
        line(100, 5);
    }
    if wants("cores") {
        cores();
    }
    if wants("bytes") {
        bytes();
    }
    if wants("restart") {
        restart();
    }
}
