//! Sums by the table against the curve library's own products, and the table itself, entry by entry.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use lightning_traits::Secp;
use proptest::prelude::*;
use secp256k1::{PublicKey, Scalar, SecretKey};
use std::sync::LazyLock;

static SECP: LazyLock<Secp> = LazyLock::new(Secp::new);

const WINDOWS: usize = 43;
const PER_WINDOW: usize = 32;

fn table() -> Vec<u8> {
    let mut power = Scalar::ONE;
    let shift = Scalar::from_be_bytes({
        let mut bytes = [0; 32];
        bytes[31] = 64;
        bytes
    })
    .unwrap();
    let mut bytes = Vec::new();
    for _ in 0..WINDOWS {
        let unit = SecretKey::from_slice(&power.to_be_bytes()).unwrap();
        for multiple in 1..=PER_WINDOW {
            let mut factor = [0; 32];
            factor[31] = u8::try_from(multiple).unwrap();
            let key = unit.mul_tweak(&Scalar::from_be_bytes(factor).unwrap()).unwrap();
            bytes.extend_from_slice(&key.public_key(&SECP).serialize_uncompressed());
        }
        // Beyond the curve's order the next power is its remainder, which is the same multiple of G.
        power = Scalar::from(unit.mul_tweak(&shift).unwrap());
    }
    bytes
}

#[test]
fn every_entry_of_the_table_is_what_the_library_computes() {
    assert!(table() == include_bytes!("../src/curve/multiples.bin"), "an entry of the table is wrong");
}

/// A table of its own for each, so that each entry is read for the first time by some of them, and by several at once.
#[test]
#[allow(clippy::disallowed_methods, reason = "threads that share a context")]
fn a_context_that_threads_share_reads_each_entry_right_the_first_time() {
    for start in 0..8_u8 {
        let secp = Secp::new();
        std::thread::scope(|scope| {
            for thread in 0..4_u8 {
                let shared = &secp;
                scope.spawn(move || {
                    for byte in 0..50_u8 {
                        let scalar = [start.wrapping_mul(37) ^ byte.wrapping_mul(5) ^ (thread & 1), byte, 77];
                        let bytes: [u8; 32] =
                            std::array::from_fn(|at| scalar[at % 3].wrapping_add(at as u8) & 0x7f);
                        let alone = SecretKey::from_slice(&bytes).unwrap().public_key(&SECP);
                        assert_eq!(shared.sum(None, &bytes), Some(alone));
                    }
                });
            }
        });
        // A clone has the same table.
        assert_eq!(secp.clone().sum(None, &[1; 32]), Some(point(1)));
    }
}

fn point(byte: u8) -> PublicKey {
    SecretKey::from_slice(&[byte; 32]).unwrap().public_key(&SECP)
}

/// The library's answers for `base + scalar * G` and `scalar * G`.
fn expected(base: &PublicKey, scalar: Scalar) -> [Option<PublicKey>; 2] {
    let alone = SecretKey::from_slice(&scalar.to_be_bytes()).ok().map(|key| key.public_key(&SECP));
    [base.add_exp_tweak(&SECP, &scalar).ok(), alone]
}

fn check(base: &PublicKey, bytes: [u8; 32]) {
    let scalar = Scalar::from_be_bytes(bytes).unwrap();
    let sums = [SECP.sum(Some(base), &bytes), SECP.sum(None, &bytes)];
    assert_eq!(sums, expected(base, scalar), "{bytes:02x?}");
}

#[test]
fn scalars_at_the_borders_of_digits() {
    let base = point(7);
    let mut tried = 0;
    // Each digit alone at each of its borders, and with all digits below it at their largest, so that a carry runs through.
    for bit in 0..256_usize {
        for low in [0_u8, 0xff] {
            for pattern in [1_u64, 31, 32, 33, 63] {
                let mut bytes = [0_u8; 32];
                for at in 0..bit {
                    bytes[31 - at / 8] |= (low & 1) << (at % 8);
                }
                for at in (0..6).filter(|at| pattern >> at & 1 == 1 && bit + at < 256) {
                    bytes[31 - (bit + at) / 8] |= 1 << ((bit + at) % 8);
                }
                if Scalar::from_be_bytes(bytes).is_ok() {
                    check(&base, bytes);
                    tried += 1;
                }
            }
        }
    }
    assert!(tried > 2_400, "{tried}");
    check(&base, Scalar::ZERO.to_be_bytes());
    check(&base, Scalar::ONE.to_be_bytes());
    check(&base, Scalar::MAX.to_be_bytes());
}

#[test]
fn what_cancels_out_is_no_point() {
    let secret = SecretKey::from_slice(&[7; 32]).unwrap();
    let negated = secret.negate().secret_bytes();
    assert_eq!(SECP.sum(Some(&secret.public_key(&SECP)), &negated), None);
    assert_eq!(SECP.sum(None, &[0; 32]), None);
    // Above the order: its remainder.
    let mut above = Scalar::MAX.to_be_bytes();
    above[31] += 3;
    assert_eq!(
        SECP.sum(None, &above),
        SECP.sum(
            None,
            &Scalar::from_be_bytes({
                let mut two = [0; 32];
                two[31] = 2;
                two
            })
            .unwrap()
            .to_be_bytes()
        )
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]
    #[test]
    fn any_scalar(bytes in any::<[u8; 32]>(), base in 1_u8..=250) {
        if Scalar::from_be_bytes(bytes).is_ok() {
            check(&point(base), bytes);
        }
    }
}
