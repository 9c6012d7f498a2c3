//! Forwards whose outgoing half does not end in time (RELIABILITY D23, C12): its channel is used before it confirms and never does,
//! or its commitment or our claim does not get into a block.
//!
//! The peer upstream goes to the chain when the incoming HTLC expires. Shortly before, it goes back: one channel is lost already,
//! the other need not be. Should the outgoing half be claimed after all, its amount is lost, as it is when the peer upstream takes
//! its HTLC back on the chain: whoever can keep us from the chain for the whole delta between the two expiries has that either way.
//!
//! # Invariants
//! - nothing goes back whose preimage we know, or of whose end a monitor has told us, or whose preimage the chain shows in the very
//!   block with which it would go back: channels hear of a block before monitors do, since these write the tip down (I6)
//! - nothing goes back on a channel that is on the chain: nobody would hear it, and a preimage is still of use there
use alloc::vec::Vec;

use lightning_traits::interface::{ConfirmedTransaction, Environment, Level};
use lightning_traits::payment::{PaymentHash, Preimage};
use lightning_traits::sphinx::Failure;

use super::ChannelManager;
use crate::commitments::Outcome;
use crate::forward::onion;
use crate::payment::inbound::HtlcKey;

/// Blocks before the expiry of an incoming HTLC at which it goes back. Peers close one block after it or later; two more for the
/// removal to be committed.
const MARGIN: u32 = 3;

impl<E: Environment> ChannelManager<E> {
    /// A block has come: what has waited too long downstream goes back upstream.
    pub(super) fn give_back_stuck_forwards(&self, transactions: &[ConfirmedTransaction<'_>]) {
        if self.stuck_forwards().is_empty() {
            return;
        }
        // What monitors know by now comes first.
        self.process();
        for key in self.stuck_forwards() {
            let (channel, htlc) = key;
            if self.fulfill_from(transactions, key) {
                continue;
            }
            self.log(
                Level::Warn,
                format_args!("HTLC {htlc} of {channel} goes back: nobody knows what became of it"),
            );
            self.fail_back(key, Failure::PermanentChannelFailure);
        }
    }

    /// Fulfils an HTLC whose preimage a block shows. Monitors will say so too, in a moment or, from another machine, too late; they
    /// find it answered then.
    fn fulfill_from(&self, transactions: &[ConfirmedTransaction<'_>], key: HtlcKey) -> bool {
        let Some(incoming) = self.incoming(key) else { return false };
        let Some(preimage) = shown(transactions, incoming.hash) else { return false };
        let outcome = Outcome::Fulfilled { preimage, attribution: None };
        let Ok(removal) = onion::pass_back(self.env.keys(), &incoming, outcome, &self.back(key)) else {
            return false;
        };
        self.remove(key, removal);
        true
    }

    fn stuck_forwards(&self) -> Vec<HtlcKey> {
        let (slots, limit) = {
            let table = self.table.lock();
            (table.all(), table.now.tip.height.plus(MARGIN))
        };
        let mut stuck = Vec::new();
        for slot in slots {
            // An incoming HTLC never expires before the outgoing one.
            self.look(&slot, |channel, _| {
                let unsettled = channel.commitments().into_iter().flat_map(|c| c.unsettled_forwards(limit));
                stuck.extend(unsettled);
            });
        }
        stuck.retain(|key| {
            let is_late = self.incoming(*key).is_some_and(|htlc| htlc.expiry.get() <= limit.get());
            is_late && !self.is_on_chain(key.0) && !self.table.lock().removals.is_decided(*key)
        });
        stuck
    }
}

/// The preimage of `hash`, if some witness of the block has it. Every claim of an HTLC has it as an element of its own (BOLT 3, "HTLC
/// Outputs"); what is not a claim and has it is as good.
fn shown(transactions: &[ConfirmedTransaction<'_>], hash: PaymentHash) -> Option<Preimage> {
    let inputs = transactions.iter().flat_map(|confirmed| &confirmed.transaction.input);
    let elements = inputs.flat_map(|input| input.witness.iter());
    let mut candidates = elements.filter_map(|element| element.try_into().ok().map(Preimage::new));
    candidates.find(|preimage| preimage.hash() == hash)
}
