//! The onion packet as it travels (BOLT 4, "Packet Structure").
//!
//! # Invariants
//! - what decodes encodes to the same bytes, an ephemeral key that is no point included: a bad onion is
//!   answered with a failure for its HTLC, so it must not fail the message that carries it
use alloc::vec::Vec;
use core::fmt;

use bitcoin::hashes::{Hash as _, HashEngine as _, sha256};
use secp256k1::PublicKey;

use super::PeelError;
use crate::codec::{Decode, DecodeError, Encode, Reader};

/// Bytes of `hop_payloads` in a payment onion.
pub const PAYMENT_PAYLOADS_LEN: usize = 1300;
/// Bytes of a whole payment onion: version, key, payloads, hmac.
pub const PAYMENT_PACKET_LEN: usize = 1 + 33 + PAYMENT_PAYLOADS_LEN + 32;
/// The one version there is.
pub(super) const VERSION: u8 = 0;

/// Storage of `hop_payloads`: an array for payments, a `Vec<u8>` for onion messages, whose size varies.
pub trait Payloads: AsRef<[u8]> + AsMut<[u8]> + Clone {}

impl<T: AsRef<[u8]> + AsMut<[u8]> + Clone> Payloads for T {}

/// An onion: `onion_routing_packet` of `update_add_htlc`, or with `P = Vec<u8>` an `onion_message_packet`.
#[derive(Clone, PartialEq, Eq)]
pub struct OnionPacket<P: Payloads = [u8; PAYMENT_PAYLOADS_LEN]> {
    /// Zero, unless a peer sends what we do not know.
    pub version: u8,
    /// The ephemeral public key for the next hop, not yet checked to be a point.
    pub ephemeral_key: [u8; 33],
    /// The obfuscated payloads of all hops.
    pub payloads: P,
    /// Authenticates `payloads` and the associated data for the next hop.
    pub hmac: [u8; 32],
}

impl<P: Payloads> OnionPacket<P> {
    /// The ephemeral key as a point, for the ECDH with the node's key.
    ///
    /// # Errors
    /// BOLT 4, "Onion Decryption": an unknown version or an invalid key aborts, in this order.
    pub fn ephemeral_point(&self) -> Result<PublicKey, PeelError> {
        if self.version != VERSION {
            return Err(PeelError::UnknownVersion(self.version));
        }
        PublicKey::from_slice(&self.ephemeral_key).map_err(|_| PeelError::InvalidKey)
    }

    /// `sha256_of_onion`: which onion a BADONION failure complains about.
    #[must_use]
    pub fn sha256(&self) -> [u8; 32] {
        let mut engine = sha256::Hash::engine();
        engine.input(&[self.version]);
        engine.input(&self.ephemeral_key);
        engine.input(self.payloads.as_ref());
        engine.input(&self.hmac);
        sha256::Hash::from_engine(engine).to_byte_array()
    }
}

/// Payloads are noise to all but their reader; the hmac tells packets apart.
impl<P: Payloads> fmt::Debug for OnionPacket<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OnionPacket(v{}, {} bytes, hmac ", self.version, self.payloads.as_ref().len())?;
        self.hmac.iter().take(4).try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str("..)")
    }
}

/// No length in front: the size is fixed, or known from the message around it.
impl<P: Payloads> Encode for OnionPacket<P> {
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.version);
        out.extend_from_slice(&self.ephemeral_key);
        out.extend_from_slice(self.payloads.as_ref());
        out.extend_from_slice(&self.hmac);
    }
}

impl<const N: usize> Decode for OnionPacket<[u8; N]> {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let [version] = reader.array()?;
        Ok(Self { version, ephemeral_key: reader.array()?, payloads: reader.array()?, hmac: reader.array()? })
    }
}

/// Takes all bytes that are left (BOLT 4, "Onion Messages": the payload length is implied by the total length).
impl Decode for OnionPacket<Vec<u8>> {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let [version] = reader.array()?;
        let ephemeral_key = reader.array()?;
        let (payloads, hmac) = reader.take_rest().split_last_chunk().ok_or(DecodeError::UnexpectedEnd)?;
        Ok(Self { version, ephemeral_key, payloads: payloads.to_vec(), hmac: *hmac })
    }
}
