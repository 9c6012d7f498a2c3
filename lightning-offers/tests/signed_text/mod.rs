//! What tests of invoices share: a node key, and texts that our builder refuses to make.
#![allow(unreachable_pub, dead_code, missing_docs, reason = "each test uses its part")]
use std::sync::LazyLock;

use bech32::primitives::decode::CheckedHrpstring;
use bech32::primitives::iter::{ByteIterExt as _, Fe32IterExt as _};
use bech32::{Checksum, Fe32, Hrp};
use bitcoin::hashes::{Hash as _, sha256};
use bitcoin::secp256k1::ecdsa::RecoverableSignature;
use bitcoin::secp256k1::{Message, PublicKey, SecretKey};
use lightning_traits::Secp;

pub static SECP: LazyLock<Secp> = LazyLock::new(Secp::new);

pub fn node_key() -> SecretKey {
    SecretKey::from_slice(&[42; 32]).unwrap()
}

pub fn payee() -> PublicKey {
    PublicKey::from_secret_key(&SECP, &node_key())
}

pub fn sign(digest: &[u8; 32]) -> RecoverableSignature {
    SECP.sign_ecdsa_recoverable(&Message::from_digest(*digest), &node_key())
}

/// Bech32 without length limit, as a test needs it to make texts that our builder refuses to make.
#[derive(Clone, Copy, PartialEq, Eq)]
enum LongBech32 {}

impl Checksum for LongBech32 {
    type MidstateRepr = u32;
    const CODE_LENGTH: usize = usize::MAX;
    const CHECKSUM_LENGTH: usize = 6;
    const GENERATOR_SH: [u32; 5] = bech32::Bech32::GENERATOR_SH;
    const TARGET_RESIDUE: u32 = bech32::Bech32::TARGET_RESIDUE;
}

/// Prefix and symbols up to the signature.
pub fn split(text: &str) -> (String, Vec<Fe32>) {
    let checked = CheckedHrpstring::new::<LongBech32>(text).unwrap();
    let mut symbols: Vec<Fe32> = checked.fe32_iter::<std::iter::Empty<u8>>().collect();
    symbols.truncate(symbols.len() - 104);
    (checked.hrp().to_string(), symbols)
}

/// Signs and encodes any prefix and symbols.
pub fn join(prefix: &str, symbols: &[Fe32]) -> String {
    let mut bits: Vec<bool> = Vec::new();
    for symbol in symbols {
        bits.extend((0..5).rev().map(|bit| symbol.to_u8() & (1 << bit) != 0));
    }
    let mut signed = prefix.as_bytes().to_vec();
    for byte in bits.chunks(8) {
        let value =
            byte.iter().enumerate().fold(0u8, |value, (at, bit)| value | (u8::from(*bit) << (7 - at)));
        signed.push(value);
    }
    let (id, compact) = sign(sha256::Hash::hash(&signed).as_byte_array()).serialize_compact();
    let signature = compact.into_iter().chain([id.to_i32() as u8]);
    let symbols = symbols.iter().copied().chain(signature.bytes_to_fes());
    symbols.with_checksum::<LongBech32>(&Hrp::parse(prefix).unwrap()).chars().collect()
}
