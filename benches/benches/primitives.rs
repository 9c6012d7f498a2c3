//! What the operations on the curve cost that every limit is made of.
use criterion::Criterion;
use lightning_benches::crypto::{Operation, Primitives};

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let primitives = Primitives::default();
    let all: [(&str, Operation); 6] = [
        ("sign", Primitives::sign),
        ("verify", Primitives::verify),
        ("generate", Primitives::generate),
        ("ecdh", Primitives::ecdh),
        ("tweak", Primitives::tweak),
        ("multiply", Primitives::multiply),
    ];
    let mut group = criterion.benchmark_group("primitives");
    for (name, operation) in all {
        group.bench_function(name, |bencher| bencher.iter(|| operation(&primitives)));
    }
    group.finish();
    criterion.final_summary();
}
