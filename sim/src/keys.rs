//! The keys adapter with entropy from the dice, so that a run can be repeated.
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use bitcoin::ScriptBuf;
use lightning_keys::{Seed, SeedKeys, SeedSigner};
use lightning_traits::id::ChannelKeysId;
use lightning_traits::interface::{EntropySource, KeysInterface, SignError};
use secp256k1::PublicKey;
use secp256k1::ecdsa::{RecoverableSignature, Signature};

use crate::dice::Dice;

/// Keys of one node.
#[derive(Clone)]
pub(crate) struct SimKeys {
    keys: SeedKeys,
    dice: Rc<RefCell<Dice>>,
}

impl SimKeys {
    /// The keys of node `number`; what comes back from channels goes to `script`.
    pub(crate) fn new(number: usize, script: ScriptBuf, dice: Dice) -> Self {
        let seed = Seed::new([number as u8 + 1; 32]);
        let keys = SeedKeys::new(seed, Arc::new(script)).expect("a fixed seed");
        Self { keys, dice: Rc::new(RefCell::new(dice)) }
    }
}

impl EntropySource for SimKeys {
    fn fill(&self, bytes: &mut [u8]) {
        let mut dice = self.dice.borrow_mut();
        bytes.iter_mut().for_each(|byte| *byte = dice.roll(256) as u8);
    }
}

impl KeysInterface for SimKeys {
    type Signer = SeedSigner;

    fn node_id(&self) -> PublicKey {
        self.keys.node_id()
    }

    fn ecdh(&self, their_key: &PublicKey) -> Result<[u8; 32], SignError> {
        self.keys.ecdh(their_key)
    }

    fn sign_gossip(&self, digest: &[u8; 32]) -> Result<Signature, SignError> {
        self.keys.sign_gossip(digest)
    }

    fn sign_invoice(&self, digest: &[u8; 32]) -> Result<RecoverableSignature, SignError> {
        self.keys.sign_invoice(digest)
    }

    fn inbound_payment_key(&self) -> [u8; 32] {
        self.keys.inbound_payment_key()
    }

    fn new_channel_keys(&self) -> ChannelKeysId {
        ChannelKeysId(self.bytes32())
    }

    fn signer(&self, keys: &ChannelKeysId) -> SeedSigner {
        self.keys.signer(keys)
    }

    fn destination_script(&self, keys: &ChannelKeysId) -> ScriptBuf {
        self.keys.destination_script(keys)
    }

    fn shutdown_script(&self, keys: &ChannelKeysId) -> ScriptBuf {
        self.keys.shutdown_script(keys)
    }
}
