//! `Noise_XK` in three acts, as a chain of types.
//!
//! BOLT 8, "Handshake Exchange". What is awaited is the name of the type; each step takes the bytes of
//! one act whole, and gives the bytes to answer with.
//!
//! # Invariants
//! - an unknown version, a point that is none, or a wrong tag ends the handshake
//! - the initiator's identity is known to the responder only after act three proved it
use bitcoin::secp256k1::ecdh::SharedSecret;
use bitcoin::secp256k1::{PublicKey, SecretKey};
use lightning_traits::Secp;
use thiserror::Error;
use zeroize::Zeroizing;

use super::aead::TAG_LENGTH;
use super::cipher::Session;
use super::symmetric::{Symmetric, SymmetricKey};

/// Bytes of act one.
pub const ACT_ONE_LENGTH: usize = 50;
/// Bytes of act two.
pub const ACT_TWO_LENGTH: usize = 50;
/// Bytes of act three.
pub const ACT_THREE_LENGTH: usize = 66;

/// Why a handshake failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// The act is not exactly as long as BOLT 8 says.
    #[error("the act has the wrong length")]
    BadLength,
    /// 33 bytes that are no point of the curve.
    #[error("the key is no point of the curve")]
    BadPublicKey,
    /// The tag does not match: somebody changed the act, or the peer's node id is not the expected one.
    #[error("the authentication tag does not match (is the node id right?)")]
    BadTag,
    /// BOLT 8: "If `v` is an unrecognized handshake version, then the responder MUST abort the connection attempt."
    #[error("unknown handshake version {0}")]
    BadVersion(u8),
    /// The signer refused to use the node's key.
    #[error("the node key is not available")]
    KeyUnavailable,
}

/// The node's own static key, which may live behind a signer: it only ever multiplies points.
pub trait StaticKey {
    /// The public key, that is the node id.
    fn public_key(&self) -> PublicKey;

    /// `ECDH(s.priv, other)`: the SHA-256 of the shared point in compressed form; `None` if the signer refuses.
    fn ecdh(&self, other: &PublicKey) -> Option<Zeroizing<[u8; 32]>>;
}

/// The initiator after sending act one.
pub struct InitiatorAwaitsActTwo {
    symmetric: Symmetric,
    ephemeral: Ephemeral,
    responder: PublicKey,
}

impl InitiatorAwaitsActTwo {
    /// Starts a handshake with the node `responder`; returns act one. `ephemeral` must be fresh.
    #[must_use]
    pub fn start(secp: &Secp, ephemeral: SecretKey, responder: PublicKey) -> (Self, [u8; ACT_ONE_LENGTH]) {
        let mut symmetric = Symmetric::new(&responder.serialize());
        let ephemeral = Ephemeral::new(secp, ephemeral);
        let (act, _) = write_ephemeral_act(&mut symmetric, &ephemeral, &ephemeral.ecdh(&responder));
        (Self { symmetric, ephemeral, responder }, act)
    }

    /// Whom this handshake is meant for.
    #[must_use]
    pub const fn responder(&self) -> PublicKey {
        self.responder
    }

    /// Reads act two; returns act three and the session.
    ///
    /// # Errors
    /// When the act is malformed, when the other side does not hold the key of the node we called, or when our
    /// own key is not available.
    pub fn on_act_two(
        self,
        act: &[u8],
        key: &impl StaticKey,
    ) -> Result<([u8; ACT_THREE_LENGTH], Session), HandshakeError> {
        let Self { mut symmetric, ephemeral, responder: _ } = self;
        let (theirs, temporary) =
            read_ephemeral_act(&mut symmetric, act, |theirs| Ok(ephemeral.ecdh(theirs)))?;

        // `c = encryptWithAD(temp_k2, 1, h, s.pub.serializeCompressed())`
        let mut identity = key.public_key().serialize();
        let identity_tag = symmetric.seal(&temporary, 1, &mut identity);
        // `se = ECDH(s.priv, re)`, `t = encryptWithAD(temp_k3, 0, h, zero)`
        let temporary = symmetric.mix_key(&*key.ecdh(&theirs).ok_or(HandshakeError::KeyUnavailable)?);
        let tag = symmetric.seal(&temporary, 0, &mut []);

        let mut out = [0; ACT_THREE_LENGTH];
        fill(&mut out, &[&[VERSION], &identity, &identity_tag, &tag]);
        let (ours, theirs, chaining) = symmetric.split();
        Ok((out, Session::new(ours, theirs, chaining)))
    }
}

/// The responder before anything came.
pub struct ResponderAwaitsActOne {
    symmetric: Symmetric,
}

impl ResponderAwaitsActOne {
    /// Awaits somebody who knows our node id.
    #[must_use]
    pub fn new(our_id: &PublicKey) -> Self {
        Self { symmetric: Symmetric::new(&our_id.serialize()) }
    }

    /// Reads act one; returns act two. `ephemeral` must be fresh.
    ///
    /// # Errors
    /// When the act is malformed, when the caller does not know our node id, or when our own key is not available.
    pub fn on_act_one(
        self,
        secp: &Secp,
        act: &[u8],
        key: &impl StaticKey,
        ephemeral: SecretKey,
    ) -> Result<([u8; ACT_TWO_LENGTH], ResponderAwaitsActThree), HandshakeError> {
        let mut symmetric = self.symmetric;
        // `es = ECDH(s.priv, re)`
        let (theirs, _) = read_ephemeral_act(&mut symmetric, act, |theirs| {
            key.ecdh(theirs).ok_or(HandshakeError::KeyUnavailable)
        })?;
        // `ee = ECDH(e.priv, re)`
        let ephemeral = Ephemeral::new(secp, ephemeral);
        let (act, temporary) = write_ephemeral_act(&mut symmetric, &ephemeral, &ephemeral.ecdh(&theirs));
        Ok((act, ResponderAwaitsActThree { symmetric, ephemeral, temporary }))
    }
}

/// The responder after sending act two.
pub struct ResponderAwaitsActThree {
    symmetric: Symmetric,
    ephemeral: Ephemeral,
    temporary: SymmetricKey,
}

impl ResponderAwaitsActThree {
    /// Reads act three; returns the initiator's node id and the session.
    ///
    /// # Errors
    /// When the act is malformed or the initiator does not hold the key it names.
    pub fn on_act_three(self, act: &[u8]) -> Result<(PublicKey, Session), HandshakeError> {
        let Self { mut symmetric, ephemeral, temporary } = self;
        let act: &[u8; ACT_THREE_LENGTH] = act.try_into().map_err(|_| HandshakeError::BadLength)?;
        let [version, rest @ ..] = act;
        check_version(*version)?;
        let (mut identity, rest) = split_key(rest)?;
        let (identity_tag, rest) = rest.split_first_chunk::<TAG_LENGTH>().ok_or(HandshakeError::BadLength)?;
        let tag: &[u8; TAG_LENGTH] = rest.try_into().map_err(|_| HandshakeError::BadLength)?;

        // `rs = decryptWithAD(temp_k2, 1, h, c)`
        symmetric.open(&temporary, 1, &mut identity, identity_tag)?;
        let identity = PublicKey::from_slice(&identity).map_err(|_| HandshakeError::BadPublicKey)?;
        // `se = ECDH(e.priv, rs)`, `p = decryptWithAD(temp_k3, 0, h, t)`
        let temporary = symmetric.mix_key(&ephemeral.ecdh(&identity));
        symmetric.open(&temporary, 0, &mut [], tag)?;

        // The initiator sends with the first key, so the responder receives with it.
        let (theirs, ours, chaining) = symmetric.split();
        Ok((identity, Session::new(ours, theirs, chaining)))
    }
}

/// An ephemeral key pair, wiped when dropped.
struct Ephemeral {
    secret: SecretKey,
    public: PublicKey,
}

impl Ephemeral {
    fn new(secp: &Secp, secret: SecretKey) -> Self {
        Self { public: secret.public_key(secp), secret }
    }

    /// The shared secret as BOLT 8 defines it, which is what libsecp256k1's default does.
    fn ecdh(&self, other: &PublicKey) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(SharedSecret::new(other, &self.secret).secret_bytes())
    }
}

impl Drop for Ephemeral {
    fn drop(&mut self) {
        self.secret.non_secure_erase();
    }
}

/// Acts one and two have one form: version, ephemeral key, tag over nothing.
fn write_ephemeral_act(
    symmetric: &mut Symmetric,
    ephemeral: &Ephemeral,
    shared: &[u8; 32],
) -> ([u8; ACT_ONE_LENGTH], SymmetricKey) {
    let public = ephemeral.public.serialize();
    symmetric.mix_hash(&public);
    let temporary = symmetric.mix_key(shared);
    let tag = symmetric.seal(&temporary, 0, &mut []);
    let mut out = [0; ACT_ONE_LENGTH];
    fill(&mut out, &[&[VERSION], &public, &tag]);
    (out, temporary)
}

/// Reads act one or two; `shared` gives the secret shared with the ephemeral key that was read.
fn read_ephemeral_act(
    symmetric: &mut Symmetric,
    act: &[u8],
    shared: impl FnOnce(&PublicKey) -> Result<Zeroizing<[u8; 32]>, HandshakeError>,
) -> Result<(PublicKey, SymmetricKey), HandshakeError> {
    let act: &[u8; ACT_ONE_LENGTH] = act.try_into().map_err(|_| HandshakeError::BadLength)?;
    let [version, rest @ ..] = act;
    check_version(*version)?;
    let (key, tag) = split_key(rest)?;
    let tag: &[u8; TAG_LENGTH] = tag.try_into().map_err(|_| HandshakeError::BadLength)?;
    let theirs = PublicKey::from_slice(&key).map_err(|_| HandshakeError::BadPublicKey)?;
    symmetric.mix_hash(&key);
    let temporary = symmetric.mix_key(&*shared(&theirs)?);
    symmetric.open(&temporary, 0, &mut [], tag)?;
    Ok((theirs, temporary))
}

const fn check_version(version: u8) -> Result<(), HandshakeError> {
    if version == VERSION { Ok(()) } else { Err(HandshakeError::BadVersion(version)) }
}

fn split_key(bytes: &[u8]) -> Result<([u8; 33], &[u8]), HandshakeError> {
    bytes.split_first_chunk::<33>().map(|(key, rest)| (*key, rest)).ok_or(HandshakeError::BadLength)
}

/// Writes `parts` one after another; their lengths add up to that of `out`.
fn fill(out: &mut [u8], parts: &[&[u8]]) {
    for (to, from) in out.iter_mut().zip(parts.iter().copied().flatten()) {
        *to = *from;
    }
}

/// BOLT 8: "A version of 0 indicates that no change is necessary".
const VERSION: u8 = 0;
