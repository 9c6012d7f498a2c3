//! One payment from `pay` to both users' last event, in one process: ours, LDK's, and the limit of what went over the wire.
use criterion::{Criterion, Throughput};
use lightning_benches::crypto::{Primitives, Tally};
use lightning_benches::{ldk, ours};

/// What `payments` payments sent, by ours and by LDK: not the same where HTLCs share commitments.
fn tallies(ours: &mut ours::Pair, ldk: &mut ldk::Line, payments: usize) -> [Tally; 2] {
    ours.take_tally();
    ldk.take_tally();
    ours.pay(payments);
    ldk.pay(payments);
    // The way back, so that each direction is used equally often.
    let tallies = [ours.take_tally(), ldk.take_tally()];
    ours.pay(payments);
    ldk.pay(payments);
    tallies
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let primitives = Primitives::default();
    for payments in [1, 100, 400] {
        // Fresh for each group: what a channel remembers of past payments grows.
        let (mut ours, mut ldk) = (ours::Pair::open(), ldk::Line::open(2));
        let [our_tally, ldk_tally] = tallies(&mut ours, &mut ldk, payments);
        println!("{payments} payments, ours: {our_tally:?}, at least {:?}", our_tally.count());
        println!("{payments} payments, LDK: {ldk_tally:?}, at least {:?}", ldk_tally.count());
        let mut group = criterion.benchmark_group(format!("payment/{payments}"));
        group.throughput(Throughput::Elements(payments.try_into().unwrap_or(u64::MAX)));
        if payments > 1 {
            group.sample_size(10);
        }
        group.bench_function("ours", |bencher| bencher.iter(|| ours.pay(payments)));
        group.bench_function("ldk", |bencher| bencher.iter(|| ldk.pay(payments)));
        let count = our_tally.count();
        group.bench_function("limit", |bencher| bencher.iter(|| primitives.perform(&count)));
        let count = ldk_tally.count();
        group.bench_function("limit-ldk", |bencher| bencher.iter(|| primitives.perform(&count)));
        group.finish();
    }
    criterion.final_summary();
}
