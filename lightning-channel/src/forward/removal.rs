//! Removals of incoming HTLCs, from the decision until the channel has them durably.
//!
//! Intents only: after a restart each comes again out of an undecided HTLC or a notice.
//!
//! # Invariants
//! - an HTLC has one removal; a fulfilment takes the place of a failure that no channel has taken yet
//! - what is owed downstream is done with only once the removal is durable upstream (RELIABILITY O2)
use alloc::collections::BTreeMap;

use lightning_traits::id::ChannelId;
use lightning_traits::payment::PaymentHash;
use lightning_traits::units::Msat;

use crate::commitments::{NoticeKey, Removal};
use crate::payment::inbound::HtlcKey;

/// The notice of the outgoing HTLC that a removal answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Owed {
    /// The channel of the outgoing HTLC.
    pub(crate) channel: ChannelId,
    /// Its notice.
    pub(crate) notice: NoticeKey,
    /// What went out.
    pub(crate) amount: Msat,
    /// What came in.
    pub(crate) received: Msat,
}

/// One removal.
#[derive(Clone, Debug)]
pub(crate) struct Pending {
    pub(crate) removal: Removal,
    pub(crate) owed: Option<Owed>,
    /// The payment to us that is claimed with it.
    pub(crate) claim: Option<PaymentHash>,
    /// The channel has taken it.
    pub(crate) taken: bool,
}

/// Removals under way.
#[derive(Clone, Debug, Default)]
pub(crate) struct Removals {
    pending: BTreeMap<HtlcKey, Pending>,
}

impl Removals {
    /// Decides on an HTLC.
    pub(crate) fn decide(
        &mut self,
        key: HtlcKey,
        removal: Removal,
        owed: Option<Owed>,
        claim: Option<PaymentHash>,
    ) {
        match self.pending.get_mut(&key) {
            None => {
                self.pending.insert(key, Pending { removal, owed, claim, taken: false });
            }
            Some(known) => {
                if matches!(removal, Removal::Fulfill { .. }) && !known.taken {
                    known.removal = removal;
                }
                known.owed = known.owed.take().or(owed);
                known.claim = known.claim.or(claim);
            }
        }
    }

    /// The removal of an HTLC, to be handed to its channel; `None` once it was taken.
    pub(crate) fn to_offer(&self, key: HtlcKey) -> Option<Removal> {
        self.pending.get(&key).filter(|pending| !pending.taken).map(|pending| pending.removal.clone())
    }

    /// The channel has taken it.
    pub(crate) fn taken(&mut self, key: HtlcKey) {
        if let Some(pending) = self.pending.get_mut(&key) {
            pending.taken = true;
        }
    }

    /// Whether somebody has decided on the HTLC.
    pub(crate) fn is_decided(&self, key: HtlcKey) -> bool {
        self.pending.contains_key(&key)
    }

    /// It is durable, or there is nothing left to remove.
    pub(crate) fn finish(&mut self, key: HtlcKey) -> Option<Pending> {
        self.pending.remove(&key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lightning_traits::id::HtlcId;
    use lightning_traits::payment::Preimage;

    const KEY: HtlcKey = (ChannelId([1; 32]), HtlcId(4));

    fn fail() -> Removal {
        Removal::Fail { reason: alloc::vec![1], attribution: None }
    }

    fn fulfill() -> Removal {
        Removal::Fulfill { preimage: Preimage::new([2; 32]), attribution: None, claimed: None }
    }

    fn owed() -> Owed {
        let (amount, received) = (Msat::new(1), Msat::new(2));
        Owed { channel: ChannelId([3; 32]), notice: NoticeKey::Settled { htlc: HtlcId(0) }, amount, received }
    }

    #[test]
    fn a_preimage_takes_the_place_of_a_failure_until_the_channel_has_it() {
        let mut removals = Removals::default();
        removals.decide(KEY, fail(), None, None);
        removals.decide(KEY, fulfill(), Some(owed()), None);
        assert_eq!(removals.to_offer(KEY), Some(fulfill()));
        removals.decide(KEY, fail(), None, None);
        assert_eq!(removals.to_offer(KEY), Some(fulfill()));
        removals.taken(KEY);
        assert_eq!(removals.to_offer(KEY), None);
        assert_eq!(removals.finish(KEY).and_then(|pending| pending.owed), Some(owed()));
        assert!(removals.finish(KEY).is_none());
    }

    #[test]
    fn a_failure_that_was_taken_stays() {
        let mut removals = Removals::default();
        removals.decide(KEY, fail(), None, None);
        removals.taken(KEY);
        removals.decide(KEY, fulfill(), Some(owed()), None);
        let pending = removals.finish(KEY).unwrap();
        assert_eq!((pending.removal, pending.owed), (fail(), Some(owed())));
    }
}
