//! The encrypted transport of BOLT 8: handshake and ciphers.
//!
//! A handshake is a chain of types, one for what each side awaits, so an act out of order cannot be
//! written down: [`InitiatorAwaitsActTwo`], [`ResponderAwaitsActOne`], [`ResponderAwaitsActThree`]; each step
//! consumes its type and the last one yields a [`Session`].
//!
//! # Invariants
//! - a failed step leaves nothing to go on with: the state is consumed
//! - ephemeral keys are used for one handshake and wiped
//!
//! See also `frame.rs` for messages over a session.
mod aead;
mod cipher;
mod handshake;
mod symmetric;

pub(crate) use aead::TAG_LENGTH;
pub(crate) use cipher::Cipher;
pub use cipher::Session;
pub use handshake::{
    ACT_ONE_LENGTH, ACT_THREE_LENGTH, ACT_TWO_LENGTH, HandshakeError, InitiatorAwaitsActTwo,
    ResponderAwaitsActOne, ResponderAwaitsActThree, StaticKey,
};
