//! The cryptographic limit: how many operations on the curve a step cannot do without, and what they cost.
//!
//! The count follows from the protocol (BOLT 2, 3, 4, 8), not from any implementation: what a node could compute once
//! and keep is not counted, hashing and ciphers are not counted either.
use std::hint::black_box;

use bitcoin::secp256k1::ecdh::SharedSecret;
use bitcoin::secp256k1::ecdsa::Signature;
use bitcoin::secp256k1::{All, Message, PublicKey, Scalar, Secp256k1, SecretKey};

/// How many operations of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// ECDSA signatures.
    pub signatures: usize,
    /// ECDSA verifications.
    pub verifications: usize,
    /// `k * G` in constant time: a key from its secret.
    pub generations: usize,
    /// `k * P` in constant time: a shared secret.
    pub ecdh: usize,
    /// `P + k * G`: a key of BOLT 3.
    pub tweaks: usize,
    /// `k * P` of public values: half a revocation key.
    pub multiplications: usize,
}

impl Count {
    /// One handshake of BOLT 8, both sides: an ephemeral key and es, ee, se for each.
    pub const HANDSHAKE: Self =
        Self { signatures: 0, verifications: 0, generations: 2, ecdh: 6, tweaks: 0, multiplications: 0 };

    /// The keys of one commitment (BOLT 3): two products for the revocation key, a sum for the delayed key, and one for each
    /// side's HTLC key, where there are HTLCs.
    #[must_use]
    pub const fn commitment_keys(has_htlcs: bool) -> Self {
        let tweaks = if has_htlcs { 3 } else { 1 };
        Self { signatures: 0, verifications: 0, generations: 0, ecdh: 0, tweaks, multiplications: 2 }
    }

    /// Building and signing one commitment with `htlcs` outputs for HTLCs.
    #[must_use]
    pub const fn commitment(htlcs: usize) -> Self {
        Self { signatures: 1 + htlcs, ..Self::commitment_keys(htlcs > 0) }
    }

    /// Both counts together.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            signatures: self.signatures + other.signatures,
            verifications: self.verifications + other.verifications,
            generations: self.generations + other.generations,
            ecdh: self.ecdh + other.ecdh,
            tweaks: self.tweaks + other.tweaks,
            multiplications: self.multiplications + other.multiplications,
        }
    }
}

/// The messages of a payment that cost something, as they went over the wire in both directions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// `update_add_htlc`.
    pub adds: usize,
    /// Those that forward another.
    pub forwards: usize,
    /// `commitment_signed`.
    pub commitments: usize,
    /// Those with HTLCs.
    pub with_htlcs: usize,
    /// Signatures for HTLC transactions in them.
    pub htlc_signatures: usize,
    /// `revoke_and_ack`.
    pub revocations: usize,
}

impl Tally {
    /// What senders and receivers of these messages cannot do without, where no payment has more than two hops.
    #[must_use]
    pub const fn count(&self) -> Count {
        let signatures = self.commitments + self.htlc_signatures;
        let (with, without) = (Count::commitment_keys(true), Count::commitment_keys(false));
        let without_htlcs = self.commitments - self.with_htlcs;
        Count {
            signatures,
            verifications: signatures,
            // The session key of an onion; the next point of the one who revokes, and the check of the revealed secret.
            generations: self.adds - self.forwards + 2 * self.revocations,
            // An onion is made with one shared secret for each hop, and each hop reads it with one.
            ecdh: 2 * self.adds,
            // Who signs and who verifies derive the keys of the commitment.
            tweaks: 2 * (with.tweaks * self.with_htlcs + without.tweaks * without_htlcs),
            // Who forwards makes the ephemeral key for the next hop.
            multiplications: 2 * with.multiplications * self.commitments + self.forwards,
        }
    }
}

/// One operation.
pub type Operation = fn(&Primitives);

/// The operations, on keys of no meaning.
pub struct Primitives {
    secp: Secp256k1<All>,
    secret: SecretKey,
    public: PublicKey,
    scalar: Scalar,
    message: Message,
    signature: Signature,
}

impl Default for Primitives {
    fn default() -> Self {
        let secp = Secp256k1::new();
        let secret = SecretKey::from_slice(&[0x35; 32]).unwrap();
        let message = Message::from_digest([0x53; 32]);
        Self {
            public: secret.public_key(&secp),
            scalar: Scalar::from_be_bytes([0x71; 32]).unwrap(),
            signature: secp.sign_ecdsa(&message, &secret),
            message,
            secret,
            secp,
        }
    }
}

impl Primitives {
    /// One signature.
    pub fn sign(&self) {
        black_box(self.secp.sign_ecdsa(black_box(&self.message), black_box(&self.secret)));
    }

    /// One verification.
    pub fn verify(&self) {
        self.secp.verify_ecdsa(black_box(&self.message), &self.signature, black_box(&self.public)).unwrap();
    }

    /// One `k * G`.
    pub fn generate(&self) {
        black_box(black_box(&self.secret).public_key(&self.secp));
    }

    /// One shared secret.
    pub fn ecdh(&self) {
        black_box(SharedSecret::new(black_box(&self.public), black_box(&self.secret)));
    }

    /// One `P + k * G`.
    pub fn tweak(&self) {
        black_box(black_box(&self.public).add_exp_tweak(&self.secp, black_box(&self.scalar)).unwrap());
    }

    /// One `k * P`.
    pub fn multiply(&self) {
        black_box(black_box(&self.public).mul_tweak(&self.secp, black_box(&self.scalar)).unwrap());
    }

    /// All operations of `count`, one after another, and nothing else: the limit itself, to be measured.
    pub fn perform(&self, count: &Count) {
        let all: [(usize, Operation); 6] = [
            (count.signatures, Self::sign),
            (count.verifications, Self::verify),
            (count.generations, Self::generate),
            (count.ecdh, Self::ecdh),
            (count.tweaks, Self::tweak),
            (count.multiplications, Self::multiply),
        ];
        for (times, operation) in all {
            (0..times).for_each(|_| operation(self));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_payment_is_counted() {
        // add, two commitments with the HTLC, fulfil, two without it; each revoked.
        let (adds, commitments, with_htlcs) = (1, 4, 2);
        let tally = Tally { adds, commitments, with_htlcs, htlc_signatures: 2, revocations: 4, forwards: 0 };
        let count = tally.count();
        assert_eq!((count.signatures, count.verifications), (6, 6));
        assert_eq!((count.generations, count.ecdh), (9, 2));
        assert_eq!((count.tweaks, count.multiplications), (16, 16));
    }
}
