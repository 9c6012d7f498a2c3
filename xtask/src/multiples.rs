//! Makes the table of multiples of G that `lightning_traits::Secp` reads (`docs/adr/0015`).
//!
//! Only sums of points are used here, while the tests of `lightning-traits` ask the library for the product that each entry
//! stands for: so the same mistake is not made twice.
use secp256k1::{PublicKey, Secp256k1, SecretKey};

use crate::report::Failure;
use crate::tree::Tree;

/// Windows of six bits in 256 bits and a carry.
const WINDOWS: usize = 43;
/// Digits are signed, from -31 to 32.
const PER_WINDOW: usize = 32;
const FILE: &str = "lightning-traits/src/curve/multiples.bin";

/// Writes the table.
pub(crate) fn write(tree: &Tree) -> Result<(), Failure> {
    // No sum of these is the point at infinity: the order of G is a prime, and larger.
    let table = table().unwrap_or_default();
    let path = tree.root.join(FILE);
    std::fs::write(&path, table).map_err(|error| Failure::Io { path, error })
}

/// `j * 64^window * G`, uncompressed, for each window and `j` from 1 to 32; nothing if a sum were no point.
fn table() -> Option<Vec<u8>> {
    let one = SecretKey::from_slice(&secp256k1::constants::ONE).ok()?;
    let mut unit = one.public_key(&Secp256k1::new());
    let mut bytes = Vec::new();
    for _ in 0..WINDOWS {
        let mut multiple = unit;
        bytes.extend_from_slice(&multiple.serialize_uncompressed());
        for _ in 1..PER_WINDOW {
            multiple = multiple.combine(&unit).ok()?;
            bytes.extend_from_slice(&multiple.serialize_uncompressed());
        }
        // 64 = 32 + 32.
        unit = PublicKey::combine_keys(&[&multiple, &multiple]).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_in_the_tree_is_what_the_command_writes() {
        assert!(table().unwrap() == include_bytes!("../../lightning-traits/src/curve/multiples.bin"));
    }
}
