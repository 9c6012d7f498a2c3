//! Node keys and channel signers from one seed.
//!
//! [`SeedKeys`] implements [`KeysInterface`]: every key comes from the 32-byte seed and a label, so a
//! seed restores all of them. On-chain scripts are asked of the wallet through [`Scripts`].
//!
//! # Invariants
//! - the seed and all keys made from it are erased when dropped and never printed
//! - without an entropy source of the operating system there are no keys at all (RELIABILITY M5)
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "adapters are where the outside world is touched (I1)"
)]

mod derive;
mod lent;
mod signer;

use bitcoin::ScriptBuf;
use lightning_traits::Secp;
use lightning_traits::id::ChannelKeysId;
use lightning_traits::interface::{EntropySource, KeysInterface, SignError};
use secp256k1::ecdh::SharedSecret;
use secp256k1::ecdsa::{RecoverableSignature, Signature};
use secp256k1::{Message, PublicKey, Secp256k1, SecretKey};
use std::sync::Arc;
use thiserror::Error;
use zeroize::Zeroizing;

pub use derive::Seed;
pub use lent::{KEYS_MESSAGE, KEYS_REFUSED, LentKeys, LentSigner, Power};
pub use signer::SeedSigner;

/// Where funds that come back from channels go.
pub trait Scripts: Send + Sync {
    /// A script of the user's wallet, the same one whenever asked for the same channel.
    fn script(&self, keys: &ChannelKeysId) -> ScriptBuf;
}

/// One fixed script for everything: simple, and bad for privacy.
impl Scripts for ScriptBuf {
    fn script(&self, _: &ChannelKeysId) -> ScriptBuf {
        self.clone()
    }
}

/// Why there are no keys.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum KeysError {
    /// The operating system gives no randomness.
    #[error("the operating system gives no randomness: {0}; nothing safe can be made without it")]
    NoEntropy(String),
    /// One seed in 2^128 gives no valid key.
    #[error("this seed gives no valid key; take another")]
    UnusableSeed,
}

/// Keys from a seed.
#[derive(Clone)]
pub struct SeedKeys {
    secp: Arc<Secp>,
    seed: Seed,
    node: SecretKey,
    /// The point of `node`: asked for at every turn, and a multiplication to compute.
    node_id: PublicKey,
    inbound: Zeroizing<[u8; 32]>,
    scripts: Arc<dyn Scripts>,
}

impl core::fmt::Debug for SeedKeys {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("SeedKeys").field("node", &self.node_id()).finish_non_exhaustive()
    }
}

impl SeedKeys {
    /// The keys of `seed`; what comes back from channels goes to `scripts`.
    ///
    /// # Errors
    /// [`KeysError::NoEntropy`] when the operating system gives no randomness, [`KeysError::UnusableSeed`]
    /// with a chance of one in 2^128.
    pub fn new(seed: Seed, scripts: Arc<dyn Scripts>) -> Result<Self, KeysError> {
        let mut probe = Zeroizing::new([0_u8; 32]);
        getrandom::fill(probe.as_mut()).map_err(|error| KeysError::NoEntropy(error.to_string()))?;
        let mut secp = Secp256k1::new();
        secp.seeded_randomize(&probe);
        let node = seed.secret_key("node").ok_or(KeysError::UnusableSeed)?;
        let node_id = node.public_key(&secp);
        let inbound = Zeroizing::new(*seed.child("inbound payments").as_bytes());
        Ok(Self { secp: Arc::new(Secp::from(secp)), seed, node, node_id, inbound, scripts })
    }

    /// The curve's context, for whoever has signatures to check: making one takes longer than that.
    #[must_use]
    pub fn secp(&self) -> &Secp {
        &self.secp
    }

    /// The secret that closes what watchtowers keep of the channels' records; it serves nothing else.
    #[must_use]
    pub fn tower_seal(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(*self.seed.child("watchtower seal").as_bytes())
    }

    /// The node's secret key, for those who sign what this library does not know.
    #[must_use]
    pub const fn node_secret(&self) -> &SecretKey {
        &self.node
    }
}

impl EntropySource for SeedKeys {
    #[allow(
        clippy::expect_used,
        reason = "keys made without entropy would lose all funds: stopping is the safe way (M5)"
    )]
    fn fill(&self, bytes: &mut [u8]) {
        getrandom::fill(bytes).expect("the operating system stopped giving randomness");
    }
}

impl KeysInterface for SeedKeys {
    type Signer = SeedSigner;

    fn node_id(&self) -> PublicKey {
        self.node_id
    }

    fn ecdh(&self, their_key: &PublicKey) -> Result<[u8; 32], SignError> {
        // The curve library hashes the compressed point with SHA-256, just as BOLT 4 and 8 ask.
        Ok(SharedSecret::new(their_key, &self.node).secret_bytes())
    }

    fn sign_gossip(&self, digest: &[u8; 32]) -> Result<Signature, SignError> {
        Ok(self.secp.sign_ecdsa(&Message::from_digest(*digest), &self.node))
    }

    fn sign_invoice(&self, digest: &[u8; 32]) -> Result<RecoverableSignature, SignError> {
        Ok(self.secp.sign_ecdsa_recoverable(&Message::from_digest(*digest), &self.node))
    }

    fn inbound_payment_key(&self) -> [u8; 32] {
        *self.inbound
    }

    fn new_channel_keys(&self) -> ChannelKeysId {
        ChannelKeysId(self.bytes32())
    }

    fn signer(&self, keys: &ChannelKeysId) -> SeedSigner {
        SeedSigner::new(Arc::clone(&self.secp), &self.seed, keys)
    }

    fn destination_script(&self, keys: &ChannelKeysId) -> ScriptBuf {
        self.scripts.script(keys)
    }

    fn shutdown_script(&self, keys: &ChannelKeysId) -> ScriptBuf {
        self.scripts.script(keys)
    }
}
