//! One call of each component, so that the linker has to take it.
use alloc::vec::Vec;

use bitcoin::secp256k1::{PublicKey, Secp256k1, SecretKey};
use lightning_channel as _;
use lightning_monitor as _;
use lightning_offers as _;
use lightning_peer::noise::InitiatorAwaitsActTwo;
use lightning_router as _;
use lightning_traits::codec::Encode as _;
use lightning_traits::wire::Message;
use lightning_traits::{Secp, sphinx};

/// Runs them all. What comes out depends on every call, so none can be left out.
pub(crate) fn run(entropy: [u8; 32]) -> usize {
    let secp = Secp256k1::new();
    let Ok(secret) = SecretKey::from_slice(&entropy) else { return 0 };
    let public = PublicKey::from_secret_key(&secp, &secret);
    traits(&secp, &secret, public) + peer(&secp, secret, public)
}

/// A message, and an onion for one hop.
fn traits(secp: &Secp, secret: &SecretKey, public: PublicKey) -> usize {
    let message = Message::decode(&secret.secret_bytes()).is_ok();
    let hops = [(public, secret.secret_bytes().to_vec())];
    let onion = sphinx::build(secp, secret, &hops, &[]).map(|(packet, _)| packet.to_bytes());
    usize::from(message) + onion.as_ref().map_or(0, Vec::len)
}

/// The first act of a handshake.
fn peer(secp: &Secp, secret: SecretKey, public: PublicKey) -> usize {
    let (_, act) = InitiatorAwaitsActTwo::start(secp, secret, public);
    act.iter().copied().map(usize::from).sum()
}
