//! BOLT 8: three acts between two sides of ours, and whole connections, until both have the other's `init`.
#![allow(clippy::unwrap_used, reason = "a bench that cannot go on has nothing better to do than to stop")]

use bitcoin::secp256k1::ecdh::SharedSecret;
use bitcoin::secp256k1::{PublicKey, SecretKey};
use criterion::Criterion;
use lightning_benches::connection;
use lightning_benches::crypto::{Count, Primitives};
use lightning_peer::noise::{InitiatorAwaitsActTwo, ResponderAwaitsActOne, StaticKey};
use lightning_traits::Secp;
use zeroize::Zeroizing;

struct Key {
    secret: SecretKey,
    public: PublicKey,
}

impl Key {
    fn new(secp: &Secp, byte: u8) -> Self {
        let secret = SecretKey::from_slice(&[byte; 32]).unwrap();
        Self { secret, public: secret.public_key(secp) }
    }
}

impl StaticKey for Key {
    fn public_key(&self) -> PublicKey {
        self.public
    }

    fn ecdh(&self, other: &PublicKey) -> Option<Zeroizing<[u8; 32]>> {
        Some(Zeroizing::new(SharedSecret::new(other, &self.secret).secret_bytes()))
    }
}

fn three_acts(secp: &Secp, initiator: &Key, responder: &Key, ephemeral: [SecretKey; 2]) {
    let [ours, theirs] = ephemeral;
    let (state, one) = InitiatorAwaitsActTwo::start(secp, ours, responder.public);
    let awaiting = ResponderAwaitsActOne::new(&responder.public);
    let (two, awaiting) = awaiting.on_act_one(secp, &one, responder, theirs).unwrap();
    let (three, _session) = state.on_act_two(&two, initiator).unwrap();
    let (identity, _session) = awaiting.on_act_three(&three).unwrap();
    assert_eq!(identity, initiator.public);
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let (secp, primitives) = (Secp::new(), Primitives::default());
    let (initiator, responder) = (Key::new(&secp, 1), Key::new(&secp, 2));
    let ephemeral = [3, 4].map(|byte| SecretKey::from_slice(&[byte; 32]).unwrap());
    let mut group = criterion.benchmark_group("handshake");
    group.bench_function("acts", |bencher| {
        bencher.iter(|| three_acts(&secp, &initiator, &responder, ephemeral));
    });
    let mut ours = connection::Ours::default();
    group.bench_function("connection/ours", |bencher| bencher.iter(|| ours.connect()));
    let mut ldk = connection::Ldk::default();
    group.bench_function("connection/ldk", |bencher| bencher.iter(|| ldk.connect()));
    group.bench_function("limit", |bencher| bencher.iter(|| primitives.perform(&Count::HANDSHAKE)));
    group.finish();
    criterion.final_summary();
}
