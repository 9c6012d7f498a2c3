//! Payments to us: parts come together, the user claims or fails them, all or none.
//!
//! BOLT 4, "Requirements for the final node" and "Basic Multi-Part Payments". Pure state: whoever drives it removes the
//! HTLCs. Nothing here is durable: after a restart the channels offer their undecided HTLCs again.
//!
//! `inbound/set.rs` is one payment that is not decided, `inbound/paid.rs` what was paid already.
//!
//! # Invariants
//! - a preimage leaves for a payment only when all of it is here (RELIABILITY F3), and never for an HTLC that came without
//!   the invoice's secret (RELIABILITY F1)
//! - once one part is claimed, the others are claimed too, over a restart as well: the durable claim carries the preimage
//!   (RELIABILITY J1)
//! - an invoice is paid once (RELIABILITY F17); a hash that comes with its preimage, once a day
mod paid;
mod set;
#[cfg(test)]
mod tests;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use lightning_traits::event::Event;
use lightning_traits::id::{ChannelId, HtlcId};
use lightning_traits::payment::{PaymentHash, Preimage};
use lightning_traits::sphinx::{Failure, FinalPayload};
use lightning_traits::units::{BlockHeight, Msat};

use super::secret::Secrets;
use crate::commitments::{IncomingHtlc, NoticeKey};
use paid::PaidHashes;
use set::{Joined, Offer, Set};

/// An HTLC that a channel brought.
pub(crate) type HtlcKey = (ChannelId, HtlcId);

/// A payment that goes back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Late {
    pub(crate) hash: PaymentHash,
    /// Its HTLCs and what each carries.
    pub(crate) parts: Vec<(HtlcKey, Msat)>,
    /// Whether the user was asked, and has not answered.
    pub(crate) was_claimable: bool,
}

/// What the chain says, and what we allow.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// The tip.
    pub(crate) height: BlockHeight,
    /// The time in its header.
    pub(crate) time: u32,
    /// The furthest expiry in blocks from the tip.
    pub(crate) max_ahead: u32,
    /// Blocks before its expiry at which an HTLC that is not claimed goes back.
    pub(crate) claim_buffer: u32,
    /// Whether payments that nobody asked for are taken.
    pub(crate) takes_spontaneous: bool,
    /// Whether HTLCs are taken that carry less than their payer says: somebody on the way keeps a fee of its own.
    pub(crate) takes_underpaid: bool,
}

/// Blocks by which a payment may come later than its payer thought.
const BLOCKS_UNDER_WAY: u32 = 3;
/// BOLT 4: "if it receives only part of the HTLC set: MUST wait for at least 60 seconds". A tick is meant to be a minute.
const MPP_TICKS: u32 = 2;
/// How long the hash of a payment that nobody asked for is remembered: no invoice says until when it may come again.
const SPONTANEOUS_SECONDS: u32 = 24 * 3_600;

/// How long a hash that was paid is remembered when nobody knows until when its invoice is good.
const UNKNOWN_SECONDS: u32 = 30 * 24 * 3_600;

/// What becomes of a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Judgement {
    /// It waits: for more parts, or for the user.
    Held,
    /// It goes back.
    Fail(Failure),
    /// It goes back, and so do all other parts that have come of its payment.
    FailAll(Failure, Vec<(HtlcKey, Msat)>),
    /// It belongs to a payment that we have claimed other parts of.
    Claim(Preimage, Msat),
}

/// A payment that is being claimed.
#[derive(Clone, Debug)]
struct Claim {
    preimage: Preimage,
    /// What all parts carry.
    total: Msat,
    /// Parts whose claim is not durable.
    open: BTreeSet<HtlcKey>,
    done: BTreeSet<(ChannelId, NoticeKey)>,
    told: bool,
}

/// All payments to us that are under way.
#[derive(Clone, Debug, Default)]
pub(crate) struct Inbound {
    sets: BTreeMap<PaymentHash, Set>,
    claims: BTreeMap<PaymentHash, Claim>,
    paid: PaidHashes,
}

/// Why a payment is not claimed or failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClaimError {
    /// No complete payment with this hash is here (any more).
    #[error("no payment to {0} waits for a decision")]
    Unknown(PaymentHash),
    /// The hash is not one of ours: the preimage must be given.
    #[error("the preimage of {0} is not known here")]
    PreimageNeeded(PaymentHash),
}

impl Inbound {
    /// Takes a part.
    pub(crate) fn on_part(
        &mut self,
        key: HtlcKey,
        htlc: &IncomingHtlc,
        payload: &FinalPayload,
        secrets: &Secrets,
        limits: &Limits,
    ) -> Judgement {
        match self.judge(key, htlc, payload, secrets, limits) {
            Ok(judgement) => judgement,
            Err(failure) => Judgement::Fail(failure),
        }
    }

    fn judge(
        &mut self,
        key: HtlcKey,
        htlc: &IncomingHtlc,
        payload: &FinalPayload,
        secrets: &Secrets,
        limits: &Limits,
    ) -> Result<Judgement, Failure> {
        // BOLT 4: "if the `cltv_expiry` value ... is less than the `outgoing_cltv_value`", "if the `incoming_htlc_amt` is less
        // than `amt_to_forward`": the node before us did not do as the onion said.
        if htlc.expiry < payload.expiry {
            return Err(Failure::FinalIncorrectCltvExpiry { cltv_expiry: htlc.expiry });
        }
        if htlc.amount < payload.amount && !limits.takes_underpaid {
            return Err(Failure::FinalIncorrectHtlcAmount { incoming_htlc_amt: htlc.amount });
        }
        let unknown =
            Failure::IncorrectOrUnknownPaymentDetails { htlc_msat: htlc.amount, height: limits.height };
        let Some(offer) = Offer::read(htlc, payload, secrets, limits) else { return Err(unknown) };
        if let Some(claim) = self.claims.get_mut(&htlc.hash)
            && claim.open.contains(&key)
        {
            return Ok(Judgement::Claim(claim.preimage.clone(), claim.total));
        }
        if !self.is_wanted(htlc, &offer, limits) {
            return Err(unknown);
        }
        if htlc.expiry.blocks_left(limits.height) > limits.max_ahead {
            return Err(Failure::ExpiryTooFar);
        }
        match self.sets.entry(htlc.hash).or_insert_with(|| Set::new(&offer)).join(key, htlc, payload, offer) {
            Joined::Held => Ok(Judgement::Held),
            Joined::Refused => Err(unknown),
            // BOLT 4: "SHOULD fail the entire HTLC set if `total_msat` is not the same for all HTLCs in the set".
            Joined::Spoilt => {
                let others = self.sets.remove(&htlc.hash).map(Set::into_amounts).unwrap_or_default();
                Ok(Judgement::FailAll(unknown, others))
            }
        }
    }

    /// BOLT 4: what fails with `incorrect_or_unknown_payment_details`, all alike.
    fn is_wanted(&self, htlc: &IncomingHtlc, offer: &Offer, limits: &Limits) -> bool {
        let needed = u32::from(offer.final_cltv.get())
            .saturating_sub(BLOCKS_UNDER_WAY)
            .max(limits.claim_buffer.saturating_add(1));
        let in_time = htlc.expiry.blocks_left(limits.height) >= needed;
        let known = self.claims.contains_key(&htlc.hash) || self.paid.contains(&htlc.hash);
        offer.amount_fits() && in_time && limits.time <= offer.expires && !known && !htlc.over_exposed
    }

    /// The event to tell when the payment has just become complete.
    pub(crate) fn completed(&mut self, hash: PaymentHash, limits: &Limits) -> Option<Event> {
        let set = self.sets.get_mut(&hash)?;
        set.complete(hash, limits.claim_buffer)
    }

    /// The user takes the payment; returns the preimage and the HTLCs to fulfil with it.
    pub(crate) fn claim(
        &mut self,
        hash: PaymentHash,
        preimage: Option<Preimage>,
    ) -> Result<(Preimage, Msat, Vec<HtlcKey>), ClaimError> {
        if let Some(claim) = self.claims.get(&hash) {
            // Again: whatever is still open is offered again.
            return Ok((claim.preimage.clone(), claim.total, claim.open.iter().copied().collect()));
        }
        let set = self.sets.get(&hash).filter(|set| set.is_complete).ok_or(ClaimError::Unknown(hash))?;
        let preimage = preimage.or_else(|| set.preimage()).ok_or(ClaimError::PreimageNeeded(hash))?;
        let (total, keys) = (set.received(), set.keys());
        self.paid.insert(hash, set.expires());
        self.sets.remove(&hash);
        let claim = Claim {
            preimage: preimage.clone(),
            total,
            open: keys.iter().copied().collect(),
            done: BTreeSet::new(),
            told: false,
        };
        self.claims.insert(hash, claim);
        Ok((preimage, total, keys))
    }

    /// The user does not want the payment; returns the HTLCs to fail.
    pub(crate) fn fail(&mut self, hash: PaymentHash) -> Result<Vec<(HtlcKey, Msat)>, ClaimError> {
        let set = self.sets.remove(&hash).ok_or(ClaimError::Unknown(hash))?;
        Ok(set.into_amounts())
    }

    /// A claim of a part is durable.
    pub(crate) fn on_claimed(
        &mut self,
        (channel, htlc): HtlcKey,
        hash: PaymentHash,
        total: Msat,
        preimage: Preimage,
        time: u32,
    ) {
        // A crash lost what the manager's record had to say of it, and with it until when its invoice is good.
        if !self.paid.contains(&hash) {
            self.paid.insert(hash, time.saturating_add(UNKNOWN_SECONDS));
        }
        let claim = self.claims.entry(hash).or_insert_with(|| Claim {
            preimage,
            total,
            open: BTreeSet::new(),
            done: BTreeSet::new(),
            told: false,
        });
        claim.open.remove(&(channel, htlc));
        claim.done.insert((channel, NoticeKey::Claimed { htlc }));
    }

    /// The channel does not take the claim of a part: it is settled already, one way or the other.
    pub(crate) fn on_claim_refused(&mut self, hash: PaymentHash, key: HtlcKey) {
        if let Some(claim) = self.claims.get_mut(&hash) {
            claim.open.remove(&key);
        }
    }

    /// After a restart: an undecided part of a payment that is claimed elsewhere is claimed too.
    pub(crate) fn restore_claimed_part(&mut self, hash: PaymentHash, key: HtlcKey) {
        if let Some(claim) = self.claims.get_mut(&hash) {
            claim.open.insert(key);
        }
    }

    /// The event to tell when all parts of a claimed payment are durable.
    pub(crate) fn all_claimed(&mut self, hash: PaymentHash) -> Option<Event> {
        let claim = self.claims.get_mut(&hash)?;
        if claim.told || !claim.open.is_empty() {
            return None;
        }
        if claim.done.is_empty() {
            self.claims.remove(&hash);
            return None;
        }
        claim.told = true;
        Some(Event::PaymentClaimed { hash, amount: claim.total })
    }

    /// The hashes of all claims.
    pub(crate) fn claimed_hashes(&self) -> Vec<PaymentHash> {
        self.claims.keys().copied().collect()
    }

    /// The user has heard that the payment is claimed; returns the notices to be done with.
    pub(crate) fn acknowledged(&mut self, hash: PaymentHash) -> Vec<(ChannelId, NoticeKey)> {
        match self.claims.get(&hash) {
            Some(claim) if claim.told => {}
            _ => return Vec::new(),
        }
        self.claims.remove(&hash).map(|claim| claim.done.into_iter().collect()).unwrap_or_default()
    }

    /// A block has come: what is too near its expiry goes back (RELIABILITY F4).
    pub(crate) fn on_block(&mut self, limits: &Limits) -> Vec<Late> {
        self.paid.forget_before(limits.time);
        self.take(|set| set.deadline(limits.claim_buffer) <= limits.height)
    }

    /// A tick has passed: what did not become complete in time goes back.
    pub(crate) fn on_tick(&mut self) -> Vec<Late> {
        self.sets.values_mut().for_each(Set::wait);
        self.take(|set| set.waited() > MPP_TICKS)
    }

    fn take(&mut self, is_due: impl Fn(&Set) -> bool) -> Vec<Late> {
        let due: Vec<_> = self.sets.iter().filter(|(_, set)| is_due(set)).map(|(hash, _)| *hash).collect();
        let taken = due.into_iter().filter_map(|hash| {
            let set = self.sets.remove(&hash)?;
            Some(Late { hash, was_claimable: set.is_complete, parts: set.into_amounts() })
        });
        taken.collect()
    }

    /// Hashes that must not be paid again, and until when, or that may be: those of which the manager's record does not know
    /// yet.
    pub(crate) fn take_paid_changes(&mut self) -> Vec<(PaymentHash, Option<u32>)> {
        self.paid.take_changes()
    }

    /// Whether the manager's record does not say yet that the hash was paid.
    pub(crate) fn is_paid_unsaid(&self, hash: &PaymentHash) -> bool {
        self.paid.is_unsaid(hash)
    }

    /// Restores a hash that must not be paid again.
    pub(crate) fn restore_paid(&mut self, hash: PaymentHash, expires: u32) {
        self.paid.restore(hash, expires);
    }
}
