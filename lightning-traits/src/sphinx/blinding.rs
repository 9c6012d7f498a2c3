//! Keys of blinded paths (BOLT 4, "Route Blinding"): node ids and path keys, nothing of their content.
//!
//! `None` everywhere means a tweak that is no scalar or leads to no point, which has probability 2^-127 for honest
//! input and must still not panic.
use secp256k1::{PublicKey, Scalar};

use super::secret::{KeyKind, SharedSecret};
use crate::Secp;

/// `B_i = HMAC256("blinded_node_id", ss_i) * N_i`: the id under which the sender knows `node`.
#[must_use]
pub fn blinded_node_id(secp: &Secp, node: &PublicKey, path_secret: &SharedSecret) -> Option<PublicKey> {
    node.mul_tweak(secp, &node_tweak(path_secret)?).ok()
}

/// The key of an onion that was encrypted to our blinded id, as if it had been encrypted to our node id: then the ECDH
/// of it with the node's own key gives the shared secret (BOLT 4, "Onion Decryption": "Tweak `public_key`").
#[must_use]
pub fn unblind_ephemeral_key(
    secp: &Secp,
    ephemeral_key: &PublicKey,
    path_secret: &SharedSecret,
) -> Option<PublicKey> {
    ephemeral_key.mul_tweak(secp, &node_tweak(path_secret)?).ok()
}

/// `E_{i+1} = SHA256(E_i || ss_i) * E_i`: the path key for the next node, unless the recipient overrides it.
#[must_use]
pub fn next_path_key(secp: &Secp, path_key: &PublicKey, path_secret: &SharedSecret) -> Option<PublicKey> {
    path_key.mul_tweak(secp, &path_secret.blinding_factor(&path_key.serialize())?).ok()
}

fn node_tweak(path_secret: &SharedSecret) -> Option<Scalar> {
    Scalar::from_be_bytes(*path_secret.key(KeyKind::BlindedNodeId).bytes()).ok()
}
