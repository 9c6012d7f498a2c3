//! Checking signatures, as a pure step that callers may run on many threads.
//!
//! # Invariants
//! - a [`Verified`] value can be made in two ways only: by checking every signature, or from a snapshot of our
//!   own that was checked before it was written
use bitcoin::constants::ChainHash;
use lightning_traits::Secp;
use lightning_traits::codec::{Decode, DecodeError};
use lightning_traits::id::NodeId;
use lightning_traits::wire::{ChannelAnnouncement, ChannelUpdate, NodeAnnouncement};
use secp256k1::Message;
use secp256k1::ecdsa::Signature;
use thiserror::Error;

/// What is wrong with a gossip message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum GossipError {
    /// A signature is wrong, or its key is no point of the curve.
    #[error("wrong signature by {0}")]
    Signature(NodeId),
    /// Keys are not in ascending order, or both ends are one node.
    #[error("node ids are not in ascending order")]
    NodeOrder,
    /// For another chain: to be ignored.
    #[error("for another chain")]
    OtherChain,
}

/// A message that nobody has checked.
#[derive(Clone, Debug)]
pub struct Unverified<T>(pub T);

/// A message whose signatures are right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified<T>(T);

impl<T> Verified<T> {
    /// The message.
    pub fn into_inner(self) -> T {
        self.0
    }

    /// The message.
    pub const fn get(&self) -> &T {
        &self.0
    }
}

impl<T: Decode> Verified<T> {
    pub(crate) fn from_snapshot(bytes: &[u8]) -> Result<Self, DecodeError> {
        T::from_bytes(bytes).map(Self)
    }
}

fn check(secp: &Secp, digest: &Message, signature: &Signature, key: &NodeId) -> Result<(), GossipError> {
    let wrong = |_| GossipError::Signature(*key);
    let point = key.to_public_key().map_err(wrong)?;
    secp.verify_ecdsa(digest, signature, &point).map_err(wrong)
}

impl Unverified<ChannelAnnouncement> {
    /// Checks all four signatures (BOLT 7, "The `channel_announcement` Message").
    ///
    /// # Errors
    /// [`GossipError`].
    pub fn verify(self, secp: &Secp, chain: ChainHash) -> Result<Verified<ChannelAnnouncement>, GossipError> {
        let ChannelAnnouncement {
            node_signature_1,
            node_signature_2,
            bitcoin_signature_1,
            bitcoin_signature_2,
            body,
        } = &self.0;
        if body.chain_hash != chain {
            return Err(GossipError::OtherChain);
        }
        // "MUST set `node_id_1` ... to the lexicographically-lesser".
        if body.node_id_1 >= body.node_id_2 {
            return Err(GossipError::NodeOrder);
        }
        let digest = body.signed_hash();
        check(secp, &digest, node_signature_1, &body.node_id_1)?;
        check(secp, &digest, node_signature_2, &body.node_id_2)?;
        check(secp, &digest, bitcoin_signature_1, &body.bitcoin_key_1)?;
        check(secp, &digest, bitcoin_signature_2, &body.bitcoin_key_2)?;
        Ok(Verified(self.0))
    }
}

impl Unverified<NodeAnnouncement> {
    /// Checks the node's signature.
    ///
    /// # Errors
    /// [`GossipError`].
    pub fn verify(self, secp: &Secp) -> Result<Verified<NodeAnnouncement>, GossipError> {
        let NodeAnnouncement { signature, body } = &self.0;
        check(secp, &body.signed_hash(), signature, &body.node_id)?;
        Ok(Verified(self.0))
    }
}

impl Unverified<ChannelUpdate> {
    /// Checks the signature of the node that the direction starts at, which the graph knows.
    ///
    /// # Errors
    /// [`GossipError`].
    pub fn verify(
        self,
        secp: &Secp,
        chain: ChainHash,
        signer: &NodeId,
    ) -> Result<Verified<ChannelUpdate>, GossipError> {
        let ChannelUpdate { signature, body } = &self.0;
        if body.chain_hash != chain {
            return Err(GossipError::OtherChain);
        }
        check(secp, &body.signed_hash(), signature, signer)?;
        Ok(Verified(self.0))
    }
}
