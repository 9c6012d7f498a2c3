//! One call of each component, so that the linker has to take it.
use alloc::vec::Vec;

use bitcoin::secp256k1::{PublicKey, SecretKey};
use lightning_channel::commitments::Change;
use lightning_monitor::ChannelMonitor;
use lightning_offers::bolt11::Bolt11Invoice;
use lightning_peer::noise::InitiatorAwaitsActTwo;
use lightning_router::Graph;
use lightning_traits::codec::{Decode as _, Encode as _};
use lightning_traits::wire::Message;
use lightning_traits::{Secp, sphinx};

/// Runs them all. What comes out depends on every call, so none can be left out.
pub(crate) fn run(entropy: [u8; 32]) -> usize {
    let secp = Secp::new();
    let Ok(secret) = SecretKey::from_slice(&entropy) else { return 0 };
    let public = PublicKey::from_secret_key(&secp, &secret);
    let read = [channel(&entropy), monitor(&entropy), router(&entropy), offers(&secp, &entropy)];
    let read: usize = read.map(usize::from).iter().sum();
    read + traits(&secp, &secret, public) + peer(&secp, secret, public)
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

/// A change as it is stored.
fn channel(bytes: &[u8]) -> bool {
    Change::from_bytes(bytes).is_ok()
}

/// A monitor as it is stored.
fn monitor(bytes: &[u8]) -> bool {
    ChannelMonitor::from_versioned(bytes).is_ok()
}

/// A graph as it is stored.
fn router(bytes: &[u8]) -> bool {
    Graph::from_snapshot(bytes).is_ok()
}

/// An invoice.
fn offers(secp: &Secp, bytes: &[u8]) -> bool {
    core::str::from_utf8(bytes).is_ok_and(|text| Bolt11Invoice::parse(secp, text).is_ok())
}
