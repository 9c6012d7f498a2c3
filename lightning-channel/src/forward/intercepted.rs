//! Forwards that wait for the user, and names of channels that do not exist yet.
//!
//! A node that opens channels for others gives them such a name for their invoices' route hints. An HTLC that asks to go out
//! by it waits until the user has opened a channel and says so, or refuses.
//!
//! # Invariants
//! - a forward that waits is named by the HTLC that came in, never by its hash (RELIABILITY F15)
//! - it goes back before its own expiry is near: nobody's channel goes to the chain for it
//! - nothing here is durable: after a restart the channels offer their undecided HTLCs again, and the user is asked again
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use bitcoin::hashes::{Hash as _, HashEngine as _, Hmac, HmacEngine, sha256};
use lightning_traits::event::Event;
use lightning_traits::id::ShortChannelId;
use lightning_traits::interface::EntropySource;
use lightning_traits::sphinx::{ForwardPayload, OnionPacket};
use lightning_traits::units::BlockHeight;

use crate::commitments::IncomingHtlc;
use crate::payment::inbound::HtlcKey;

/// A forward that waits for the user.
#[derive(Clone, Debug)]
pub(crate) struct Intercepted {
    pub(crate) htlc: IncomingHtlc,
    pub(crate) payload: ForwardPayload,
    pub(crate) next: Arc<OnionPacket>,
    /// The height at which it goes back.
    pub(crate) deadline: BlockHeight,
}

impl Intercepted {
    /// What the user is asked.
    pub(crate) fn event(&self, (channel, htlc): HtlcKey) -> Event {
        Event::ForwardIntercepted {
            channel,
            htlc,
            hash: self.htlc.hash,
            named: self.payload.short_channel_id,
            received: self.htlc.amount,
            amount: self.payload.amount,
            expiry: self.payload.expiry,
            deadline: self.deadline,
        }
    }
}

/// All forwards that wait.
#[derive(Clone, Debug, Default)]
pub(crate) struct Waiting(BTreeMap<HtlcKey, Intercepted>);

impl Waiting {
    pub(crate) fn insert(&mut self, key: HtlcKey, intercepted: Intercepted) {
        self.0.insert(key, intercepted);
    }

    pub(crate) fn get(&self, key: HtlcKey) -> Option<&Intercepted> {
        self.0.get(&key)
    }

    pub(crate) fn contains(&self, key: HtlcKey) -> bool {
        self.0.contains_key(&key)
    }

    pub(crate) fn remove(&mut self, key: HtlcKey) -> Option<Intercepted> {
        self.0.remove(&key)
    }

    /// Takes out those whose deadline has come.
    pub(crate) fn due(&mut self, height: BlockHeight) -> Vec<(HtlcKey, Intercepted)> {
        self.0.extract_if(.., |_, intercepted| intercepted.deadline <= height).collect()
    }
}

/// Heights from 14,680,064 on: no block of the next centuries, and below those of aliases.
const SPACE: u64 = 0xe0_0000 << 40;
const SPACE_MASK: u64 = 0xf0_0000 << 40;

/// Names of channels that do not exist, which only we can make. Nothing is stored: half of a name authenticates the other.
pub(crate) struct Promises {
    key: [u8; 32],
}

impl Promises {
    /// Names under the node's inbound payment key.
    pub(crate) fn new(node_key: &[u8; 32]) -> Self {
        Self { key: hmac(node_key, b"lightning-channel promised channel") }
    }

    /// A fresh name.
    pub(crate) fn promise(&self, entropy: &impl EntropySource) -> ShortChannelId {
        let mut bytes = [0; 4];
        entropy.fill(&mut bytes);
        let random = u64::from(u32::from_be_bytes(bytes)) << 32;
        let half = SPACE | (random & !SPACE_MASK);
        ShortChannelId(half | self.tag(half))
    }

    /// Whether it is a name that we made.
    pub(crate) fn is_promise(&self, scid: ShortChannelId) -> bool {
        let half = scid.0 & !u64::from(u32::MAX);
        half & SPACE_MASK == SPACE && scid.0 == half | self.tag(half)
    }

    fn tag(&self, half: u64) -> u64 {
        let [a, b, c, d, ..] = hmac(&self.key, &half.to_be_bytes());
        u64::from(u32::from_be_bytes([a, b, c, d]))
    }
}

fn hmac(key: &[u8; 32], message: &[u8]) -> [u8; 32] {
    let mut engine = HmacEngine::<sha256::Hash>::new(key);
    engine.input(message);
    Hmac::from_engine(engine).to_byte_array()
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

    #[test]
    fn only_names_that_we_made_are_ours() {
        let promises = Promises::new(&[7; 32]);
        let mut names = Vec::new();
        for byte in 0..=255 {
            let name = promises.promise(&Fixed(byte));
            assert!(promises.is_promise(name) && name.block() >= 0xe0_0000 && name.block() < 0xf0_0000);
            assert!(!Promises::new(&[8; 32]).is_promise(name));
            names.push(name);
        }
        names.dedup();
        assert_eq!(names.len(), 256);
        for bit in 0..64 {
            assert!(!promises.is_promise(ShortChannelId(names[3].0 ^ (1 << bit))), "bit {bit}");
        }
    }
}
