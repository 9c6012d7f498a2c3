//! The handshake over partial reads: gathers the bytes of each act and moves the typestate of `noise/` along.
//!
//! BOLT 8, "Handshake Exchange".
//!
//! # Invariants
//! - at most the bytes of one act are held
use alloc::vec::Vec;

use bitcoin::secp256k1::{PublicKey, SecretKey};
use lightning_traits::Secp;
use lightning_traits::id::NodeId;
use lightning_traits::interface::{EntropySource, KeysInterface};
use zeroize::{Zeroize as _, Zeroizing};

use crate::noise::{
    ACT_ONE_LENGTH, ACT_THREE_LENGTH, ACT_TWO_LENGTH, HandshakeError, InitiatorAwaitsActTwo,
    ResponderAwaitsActOne, ResponderAwaitsActThree, Session, StaticKey,
};

/// What a handshake calls: the curve and the node's key.
pub(crate) struct KeyContext<'a, K> {
    pub(crate) secp: &'a Secp,
    pub(crate) keys: &'a K,
}

impl<K: KeysInterface> StaticKey for KeyContext<'_, K> {
    fn public_key(&self) -> PublicKey {
        self.keys.node_id()
    }

    fn ecdh(&self, other: &PublicKey) -> Option<Zeroizing<[u8; 32]>> {
        self.keys.ecdh(other).ok().map(Zeroizing::new)
    }
}

/// A fresh secret key. All but one in 2^127 strings are one, so a second try is never needed in practice;
/// a source that gives none in a row is broken and yields `None`.
pub(crate) fn fresh_key(entropy: &impl EntropySource) -> Option<SecretKey> {
    (0..8).find_map(|_| {
        let mut bytes = entropy.bytes32();
        let key = SecretKey::from_slice(&bytes).ok();
        bytes.zeroize();
        key
    })
}

/// A handshake under way: what it awaits, and the bytes that came of it.
pub(crate) struct Handshaking {
    awaits: Awaits,
    partial: Vec<u8>,
    expected: Option<NodeId>,
}

enum Awaits {
    ActOne(ResponderAwaitsActOne),
    ActTwo(InitiatorAwaitsActTwo),
    ActThree(ResponderAwaitsActThree),
    /// It failed, and nothing is read any more.
    Nothing,
}

impl Handshaking {
    pub(crate) fn initiator(state: InitiatorAwaitsActTwo) -> Self {
        let expected = Some(NodeId::from(state.responder()));
        Self { awaits: Awaits::ActTwo(state), partial: Vec::new(), expected }
    }

    pub(crate) fn responder(state: ResponderAwaitsActOne) -> Self {
        Self { awaits: Awaits::ActOne(state), partial: Vec::new(), expected: None }
    }

    /// The node that we called; who calls us is known at the end only.
    pub(crate) const fn expected(&self) -> Option<NodeId> {
        self.expected
    }

    /// Takes bytes from `input`; answers go to `acts`. The session, once it stands, and with whom.
    pub(crate) fn read<K: KeysInterface>(
        &mut self,
        input: &mut &[u8],
        context: &KeyContext<'_, K>,
        acts: &mut Vec<u8>,
    ) -> Result<Option<(NodeId, Session)>, HandshakeError> {
        while self.gather(input) {
            let act = core::mem::take(&mut self.partial);
            match core::mem::replace(&mut self.awaits, Awaits::Nothing) {
                Awaits::ActOne(state) => {
                    let ephemeral = fresh_key(context.keys).ok_or(HandshakeError::KeyUnavailable)?;
                    let (answer, state) = state.on_act_one(context.secp, &act, context, ephemeral)?;
                    acts.extend_from_slice(&answer);
                    self.awaits = Awaits::ActThree(state);
                }
                Awaits::ActTwo(state) => {
                    let node = NodeId::from(state.responder());
                    let (answer, session) = state.on_act_two(&act, context)?;
                    acts.extend_from_slice(&answer);
                    return Ok(Some((node, session)));
                }
                Awaits::ActThree(state) => {
                    let (node, session) = state.on_act_three(&act)?;
                    return Ok(Some((NodeId::from(node), session)));
                }
                Awaits::Nothing => break,
            }
        }
        Ok(None)
    }

    /// Moves bytes until the awaited act is whole; says whether it is.
    fn gather(&mut self, input: &mut &[u8]) -> bool {
        let target = match self.awaits {
            Awaits::ActOne(_) => ACT_ONE_LENGTH,
            Awaits::ActTwo(_) => ACT_TWO_LENGTH,
            Awaits::ActThree(_) => ACT_THREE_LENGTH,
            Awaits::Nothing => return false,
        };
        let missing = target.saturating_sub(self.partial.len());
        let (taken, rest) = input.split_at_checked(missing).unwrap_or((input, &[]));
        self.partial.extend_from_slice(taken);
        *input = rest;
        taken.len() == missing
    }
}
