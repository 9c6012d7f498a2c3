//! Secrets of payments to us that need no table (ADR 4).
//!
//! The payment secret of an invoice carries, sealed and authenticated under a key that never leaves the node, what must be
//! checked when the payment arrives; the preimage is derived from it. Nothing is stored before an HTLC comes.
//!
//! ```text
//! facts   kind (1) | final cltv (2) | expires (4) | amount (8) | zero (1)
//! secret  nonce or tag (16) | facts XOR hmac(seal key, nonce or tag) (16)
//! ours    preimage = hmac(preimage key, nonce | facts), hash = sha256(preimage): a forged secret gives another hash
//! held    tag = hmac(tag key, facts | hash): a forged secret has another tag
//! ```
//!
//! # Invariants
//! - whatever is wrong with a secret, the same work is done and the same answer given (RELIABILITY F2)
use bitcoin::hashes::{Hash as _, HashEngine as _, Hmac, HmacEngine, sha256};
use lightning_traits::id::PaymentId;
use lightning_traits::interface::EntropySource;
use lightning_traits::payment::{PaymentHash, PaymentSecret, Preimage};
use lightning_traits::units::{CltvDelta, Msat};

/// What an invoice of ours promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    /// The least that must arrive; zero when the payer chooses.
    pub(crate) amount: Msat,
    /// The time, in seconds as in block headers, after which it is not to be paid any more.
    pub(crate) expires: u32,
    /// `min_final_cltv_expiry_delta` of the invoice.
    pub(crate) final_cltv: CltvDelta,
}

/// Whose preimage it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Ours,
    Held,
}

/// A payment secret that fits the hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Opened {
    /// What was promised.
    pub(crate) facts: Facts,
    /// The preimage, when it is ours.
    pub(crate) preimage: Option<Preimage>,
}

/// Makes and opens payment secrets.
pub(crate) struct Secrets {
    seal: [u8; 32],
    preimage: [u8; 32],
    tag: [u8; 32],
    probe: [u8; 32],
}

impl Secrets {
    /// Secrets under the node's inbound payment key.
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        let derive = |label: &[u8]| hmac(key, &[b"lightning-channel inbound payment ", label]);
        Self {
            seal: derive(b"seal"),
            preimage: derive(b"preimage"),
            tag: derive(b"tag"),
            probe: derive(b"probe"),
        }
    }

    /// A fresh hash and secret whose preimage we can derive.
    pub(crate) fn create(&self, facts: &Facts, entropy: &impl EntropySource) -> (PaymentHash, PaymentSecret) {
        let mut nonce = [0; 16];
        entropy.fill(&mut nonce);
        let plain = facts.to_bytes(Kind::Ours);
        let hash = self.preimage(&nonce, &plain).hash();
        (hash, self.sealed(nonce, plain))
    }

    /// The secret for a hash whose preimage the user keeps.
    pub(crate) fn hold(&self, facts: &Facts, hash: PaymentHash) -> PaymentSecret {
        let plain = facts.to_bytes(Kind::Held);
        self.sealed(self.tag(&plain, hash), plain)
    }

    /// Opens a secret that came with an HTLC; `None` when we never made it for this hash.
    pub(crate) fn open(&self, hash: PaymentHash, secret: &PaymentSecret) -> Option<Opened> {
        let [nonce, sealed] = halves(secret.as_bytes());
        let plain = self.xor(nonce, sealed);
        let preimage = self.preimage(&nonce, &plain);
        // Both kinds are always tried, and compared in constant time as the secrets they are.
        let is_ours = Preimage::new(preimage.hash().0) == Preimage::new(hash.0);
        let is_held = self.sealed(self.tag(&plain, hash), plain) == *secret;
        let (kind, facts) = Facts::from_bytes(&plain)?;
        match kind {
            Kind::Ours if is_ours => Some(Opened { facts, preimage: Some(preimage) }),
            Kind::Held if is_held => Some(Opened { facts, preimage: None }),
            Kind::Ours | Kind::Held => None,
        }
    }

    /// The hash of a probe: a preimage of it is known to nobody.
    pub(crate) fn probe(&self, id: PaymentId) -> PaymentHash {
        PaymentHash(hmac(&self.probe, &[&id.0]))
    }

    fn sealed(&self, nonce: [u8; 16], plain: [u8; 16]) -> PaymentSecret {
        let mut bytes = [0; 32];
        for (to, from) in bytes.iter_mut().zip(nonce.into_iter().chain(self.xor(nonce, plain))) {
            *to = from;
        }
        PaymentSecret::new(bytes)
    }

    fn xor(&self, nonce: [u8; 16], mut text: [u8; 16]) -> [u8; 16] {
        for (byte, pad) in text.iter_mut().zip(hmac(&self.seal, &[&nonce])) {
            *byte ^= pad;
        }
        text
    }

    fn preimage(&self, nonce: &[u8; 16], plain: &[u8; 16]) -> Preimage {
        Preimage::new(hmac(&self.preimage, &[nonce, plain]))
    }

    fn tag(&self, plain: &[u8; 16], hash: PaymentHash) -> [u8; 16] {
        let [tag, _] = halves(&hmac(&self.tag, &[plain, &hash.0]));
        tag
    }
}

impl Facts {
    fn to_bytes(self, kind: Kind) -> [u8; 16] {
        let mut bytes = [0; 16];
        let kind = [match kind {
            Kind::Ours => 1,
            Kind::Held => 2,
        }];
        let (cltv, expires, amount) = (
            self.final_cltv.get().to_be_bytes(),
            self.expires.to_be_bytes(),
            self.amount.to_msat().to_be_bytes(),
        );
        let fields = kind.into_iter().chain(cltv).chain(expires).chain(amount);
        for (to, from) in bytes.iter_mut().zip(fields) {
            *to = from;
        }
        bytes
    }

    fn from_bytes(bytes: &[u8; 16]) -> Option<(Kind, Self)> {
        let [kind, c0, c1, e0, e1, e2, e3, a0, a1, a2, a3, a4, a5, a6, a7, 0] = *bytes else { return None };
        let kind = match kind {
            1 => Kind::Ours,
            2 => Kind::Held,
            _ => return None,
        };
        let facts = Self {
            amount: Msat::new(u64::from_be_bytes([a0, a1, a2, a3, a4, a5, a6, a7])),
            expires: u32::from_be_bytes([e0, e1, e2, e3]),
            final_cltv: CltvDelta::new(u16::from_be_bytes([c0, c1])),
        };
        Some((kind, facts))
    }
}

fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut engine = HmacEngine::<sha256::Hash>::new(key);
    for part in parts {
        engine.input(part);
    }
    Hmac::from_engine(engine).to_byte_array()
}

fn halves(bytes: &[u8; 32]) -> [[u8; 16]; 2] {
    let mut halves = [[0; 16]; 2];
    for (to, from) in halves.as_flattened_mut().iter_mut().zip(bytes) {
        *to = *from;
    }
    halves
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed(u8);
    impl EntropySource for Fixed {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(self.0);
        }
    }

    const FACTS: Facts =
        Facts { amount: Msat::new(123_456), expires: 1_700_000_000, final_cltv: CltvDelta::new(24) };

    #[test]
    fn what_was_promised_comes_back_with_the_preimage() {
        let secrets = Secrets::new(&[7; 32]);
        let (hash, secret) = secrets.create(&FACTS, &Fixed(3));
        let opened = secrets.open(hash, &secret).unwrap();
        assert_eq!(opened.facts, FACTS);
        assert_eq!(opened.preimage.unwrap().hash(), hash);
        assert_ne!(secrets.create(&FACTS, &Fixed(4)).0, hash);
    }

    #[test]
    fn a_held_hash_has_no_preimage_here() {
        let secrets = Secrets::new(&[7; 32]);
        let hash = PaymentHash([9; 32]);
        let secret = secrets.hold(&FACTS, hash);
        assert_eq!(secrets.open(hash, &secret), Some(Opened { facts: FACTS, preimage: None }));
        assert_eq!(secrets.open(PaymentHash([8; 32]), &secret), None);
    }

    #[test]
    fn every_changed_bit_of_hash_or_secret_is_noticed() {
        let secrets = Secrets::new(&[7; 32]);
        let (ours, our_secret) = secrets.create(&FACTS, &Fixed(3));
        let held = PaymentHash([9; 32]);
        let mut tried = 0;
        for (hash, secret) in [(ours, our_secret), (held, secrets.hold(&FACTS, held))] {
            for bit in 0..256 {
                let flip = |mut bytes: [u8; 32]| {
                    bytes[bit / 8] ^= 1 << (bit % 8);
                    bytes
                };
                assert_eq!(secrets.open(hash, &PaymentSecret::new(flip(*secret.as_bytes()))), None);
                assert_eq!(secrets.open(PaymentHash(flip(hash.0)), &secret), None);
                tried += 2;
            }
        }
        assert_eq!(tried, 1_024);
        assert_eq!(Secrets::new(&[8; 32]).open(ours, &secrets.create(&FACTS, &Fixed(3)).1), None);
    }
}
