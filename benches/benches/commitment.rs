//! Deriving the keys of a commitment, building it and signing it for the peer.
use criterion::Criterion;
use lightning_benches::commitment::{Ldk, Ours};
use lightning_benches::crypto::{Count, Primitives};

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let primitives = Primitives::default();
    for htlcs in [0, 10, 400] {
        let (ours, ldk) = (Ours::new(htlcs), Ldk::new(htlcs));
        assert_eq!((ours.sign(), ldk.sign()), (1 + htlcs, 1 + htlcs), "signatures");
        let mut group = criterion.benchmark_group(format!("commitment/{htlcs}"));
        if htlcs > 100 {
            group.sample_size(20);
        }
        group.bench_function("ours", |bencher| bencher.iter(|| ours.sign()));
        group.bench_function("ldk", |bencher| bencher.iter(|| ldk.sign()));
        let count = Count::commitment(htlcs);
        group.bench_function("limit", |bencher| bencher.iter(|| primitives.perform(&count)));
        group.finish();
    }
    criterion.final_summary();
}
