//! One call of each component.
use lightning_channel as _;
use lightning_monitor as _;
use lightning_offers as _;
use lightning_peer as _;
use lightning_router as _;
use lightning_traits::codec::{BigSize, Encode};

/// Runs them all.
pub(crate) fn run(entropy: [u8; 32]) -> usize {
    traits(entropy)
}

fn traits(entropy: [u8; 32]) -> usize {
    let secp = bitcoin::secp256k1::Secp256k1::new();
    let key = bitcoin::secp256k1::SecretKey::from_slice(&entropy);
    let point = key.map(|key| key.public_key(&secp).serialize().len());
    BigSize(u64::from(entropy[0])).to_bytes().len() + point.unwrap_or(0)
}
