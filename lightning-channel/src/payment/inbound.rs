//! Payments to us: parts come together, the user claims or fails them, all or none.
//!
//! BOLT 4, "Requirements for the final node" and "Basic Multi-Part Payments". Pure state: whoever drives it removes the
//! HTLCs. Nothing here is durable: after a restart the channels offer their undecided HTLCs again.
//!
//! # Invariants
//! - a preimage leaves for a payment only when all of it is here (RELIABILITY F3), and never for an HTLC that came without
//!   the invoice's secret (RELIABILITY F1)
//! - once one part is claimed, the others are claimed too, over a restart as well: the durable claim carries the preimage
//!   (RELIABILITY J1)
//! - an invoice is paid once (RELIABILITY F17)
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use lightning_traits::event::Event;
use lightning_traits::id::{ChannelId, HtlcId};
use lightning_traits::payment::{PaymentHash, PaymentSecret, Preimage};
use lightning_traits::sphinx::{Failure, FinalPayload};
use lightning_traits::units::{BlockHeight, Msat};

use super::secret::{Opened, Secrets};
use crate::commitments::{IncomingHtlc, NoticeKey};

/// An HTLC that a channel brought.
pub(crate) type HtlcKey = (ChannelId, HtlcId);

/// A payment that goes back: its hash, its HTLCs and what each carries.
pub(crate) type Late = (PaymentHash, Vec<(HtlcKey, Msat)>);

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
}

/// Blocks by which a payment may come later than its payer thought.
const BLOCKS_UNDER_WAY: u32 = 3;
/// BOLT 4: "if it receives only part of the HTLC set: MUST wait for at least 60 seconds". A tick is meant to be a minute.
const MPP_TICKS: u32 = 2;

/// What becomes of a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Judgement {
    /// It waits: for more parts, or for the user.
    Held,
    /// It goes back.
    Fail(Failure),
    /// It belongs to a payment that we have claimed other parts of.
    Claim(Preimage, Msat),
}

#[derive(Clone, Copy, Debug)]
struct Part {
    amount: Msat,
    expiry: u32,
}

/// Parts of a payment that is not decided.
#[derive(Clone, Debug)]
struct Set {
    secret: PaymentSecret,
    preimage: Option<Preimage>,
    expires: u32,
    total: Msat,
    parts: BTreeMap<HtlcKey, Part>,
    ticks: u32,
    /// The user was asked.
    is_complete: bool,
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
    /// Hashes that were claimed, until when an invoice may still name them.
    paid: BTreeMap<PaymentHash, u32>,
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

impl Set {
    fn into_amounts(self) -> Vec<(HtlcKey, Msat)> {
        self.parts.into_iter().map(|(key, part)| (key, part.amount)).collect()
    }

    fn received(&self) -> Msat {
        self.parts.values().map(|part| part.amount).fold(Msat::ZERO, Msat::saturating_add)
    }

    fn deadline(&self, buffer: u32) -> BlockHeight {
        let soonest = self.parts.values().map(|part| part.expiry).min().unwrap_or(0);
        BlockHeight::new(soonest.saturating_sub(buffer))
    }
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
        if htlc.amount < payload.amount {
            return Err(Failure::FinalIncorrectHtlcAmount { incoming_htlc_amt: htlc.amount });
        }
        let unknown =
            Failure::IncorrectOrUnknownPaymentDetails { htlc_msat: htlc.amount, height: limits.height };
        let Some(data) = payload.payment_data.as_ref() else { return Err(unknown) };
        let opened = secrets.open(htlc.hash, &data.payment_secret);
        if let (Some(claim), Some(_)) = (self.claims.get_mut(&htlc.hash), &opened)
            && claim.open.contains(&key)
        {
            return Ok(Judgement::Claim(claim.preimage.clone(), claim.total));
        }
        let Some(opened) = opened else { return Err(unknown) };
        if !self.is_wanted(htlc, data.total, &opened, limits) {
            return Err(unknown);
        }
        if htlc.expiry.blocks_left(limits.height) > limits.max_ahead {
            return Err(Failure::ExpiryTooFar);
        }
        self.join(key, htlc, &data.payment_secret, data.total, opened).ok_or(unknown)?;
        Ok(Judgement::Held)
    }

    /// BOLT 4: what fails with `incorrect_or_unknown_payment_details`, all alike.
    fn is_wanted(&self, htlc: &IncomingHtlc, total: Msat, opened: &Opened, limits: &Limits) -> bool {
        let facts = &opened.facts;
        let most = facts.amount.to_msat().saturating_mul(2);
        let amount_fits = total >= facts.amount && (facts.amount == Msat::ZERO || total.to_msat() <= most);
        let needed = u32::from(facts.final_cltv.get())
            .saturating_sub(BLOCKS_UNDER_WAY)
            .max(limits.claim_buffer.saturating_add(1));
        let in_time = htlc.expiry.blocks_left(limits.height) >= needed;
        let known = self.claims.contains_key(&htlc.hash) || self.paid.contains_key(&htlc.hash);
        amount_fits && in_time && limits.time <= facts.expires && !known && !htlc.over_exposed
    }

    /// Puts the part to its payment, if it fits there.
    fn join(
        &mut self,
        key: HtlcKey,
        htlc: &IncomingHtlc,
        secret: &PaymentSecret,
        total: Msat,
        opened: Opened,
    ) -> Option<()> {
        let set = self.sets.entry(htlc.hash).or_insert_with(|| Set {
            secret: secret.clone(),
            preimage: opened.preimage,
            expires: opened.facts.expires,
            total,
            parts: BTreeMap::new(),
            ticks: 0,
            is_complete: false,
        });
        // BOLT 4: "MUST fail all HTLCs ... if `total_msat` is not the same for all": the later one is the odd one.
        let fits = set.secret == *secret && set.total == total;
        if set.parts.contains_key(&key) {
            return Some(());
        }
        // More than the total buys the payer nothing: an extra part goes back.
        if !fits || set.received() >= set.total {
            return None;
        }
        set.parts.insert(key, Part { amount: htlc.amount, expiry: htlc.expiry.get() });
        Some(())
    }

    /// The event to tell when the payment has just become complete.
    pub(crate) fn completed(&mut self, hash: PaymentHash, limits: &Limits) -> Option<Event> {
        let set = self.sets.get_mut(&hash)?;
        if set.is_complete || set.received() < set.total {
            return None;
        }
        set.is_complete = true;
        let (amount, preimage) = (set.received(), set.preimage.clone());
        Some(Event::PaymentClaimable { hash, amount, preimage, deadline: set.deadline(limits.claim_buffer) })
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
        let preimage = preimage.or_else(|| set.preimage.clone()).ok_or(ClaimError::PreimageNeeded(hash))?;
        let (total, keys) = (set.received(), set.parts.keys().copied().collect::<Vec<_>>());
        self.paid.insert(hash, set.expires);
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
        channel: ChannelId,
        htlc: HtlcId,
        hash: PaymentHash,
        total: Msat,
        preimage: Preimage,
    ) {
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
        self.paid.retain(|_, expires| *expires >= limits.time);
        self.take(|set| set.deadline(limits.claim_buffer) <= limits.height)
    }

    /// A tick has passed: what did not become complete in time goes back.
    pub(crate) fn on_tick(&mut self) -> Vec<Late> {
        for set in self.sets.values_mut().filter(|set| !set.is_complete) {
            set.ticks = set.ticks.saturating_add(1);
        }
        self.take(|set| !set.is_complete && set.ticks > MPP_TICKS)
    }

    fn take(&mut self, is_due: impl Fn(&Set) -> bool) -> Vec<Late> {
        let due: Vec<_> = self.sets.iter().filter(|(_, set)| is_due(set)).map(|(hash, _)| *hash).collect();
        let taken =
            due.into_iter().filter_map(|hash| self.sets.remove(&hash).map(|set| (hash, set.into_amounts())));
        taken.collect()
    }

    /// Hashes that must not be paid again, for the manager's record.
    pub(crate) fn paid(&self) -> impl Iterator<Item = (PaymentHash, u32)> {
        self.paid.iter().map(|(hash, expires)| (*hash, *expires))
    }

    /// Restores what [`paid`](Self::paid) gave.
    pub(crate) fn restore_paid(&mut self, hash: PaymentHash, expires: u32) {
        self.paid.insert(hash, expires);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payment::secret::Facts;
    use alloc::sync::Arc;
    use lightning_traits::codec::TlvRecords;
    use lightning_traits::interface::EntropySource;
    use lightning_traits::sphinx::{OnionPacket, PAYMENT_PAYLOADS_LEN, PaymentData};
    use lightning_traits::units::{CltvDelta, CltvExpiry};

    struct Fixed;
    impl EntropySource for Fixed {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(3);
        }
    }

    const LIMITS: Limits =
        Limits { height: BlockHeight::new(100), time: 1_000, max_ahead: 2_016, claim_buffer: 20 };

    struct Payee {
        inbound: Inbound,
        secrets: Secrets,
        hash: PaymentHash,
        secret: PaymentSecret,
    }

    impl Payee {
        fn new() -> Self {
            let secrets = Secrets::new(&[7; 32]);
            let (amount, final_cltv) = (Msat::new(1_000), CltvDelta::new(24));
            let (hash, secret) = secrets.create(&Facts { amount, expires: 2_000, final_cltv }, &Fixed);
            Self { inbound: Inbound::default(), secrets, hash, secret }
        }

        /// One part: its channel, what it carries, what its onion says of itself and of the whole.
        fn part(&mut self, channel: u8, amount: u64, forward: u64, total: u64) -> Judgement {
            let onion = OnionPacket {
                version: 0,
                ephemeral_key: [2; 33],
                payloads: [0; PAYMENT_PAYLOADS_LEN],
                hmac: [0; 32],
            };
            let htlc = IncomingHtlc {
                id: HtlcId(0),
                amount: Msat::new(amount),
                hash: self.hash,
                expiry: CltvExpiry::new(130),
                onion: Arc::new(onion),
                path_key: None,
                over_exposed: false,
            };
            let payment_data =
                Some(PaymentData { payment_secret: self.secret.clone(), total: Msat::new(total) });
            let payload = FinalPayload {
                amount: Msat::new(forward),
                expiry: htlc.expiry,
                payment_data,
                payment_metadata: None,
                keysend: None,
                custom: TlvRecords::default(),
            };
            self.inbound.on_part(key(channel), &htlc, &payload, &self.secrets, &LIMITS)
        }

        fn completed(&mut self) -> Option<Msat> {
            match self.inbound.completed(self.hash, &LIMITS) {
                Some(Event::PaymentClaimable { amount, .. }) => Some(amount),
                _ => None,
            }
        }
    }

    fn key(channel: u8) -> HtlcKey {
        (ChannelId([channel; 32]), HtlcId(0))
    }

    #[test]
    fn parts_come_together_and_extra_or_odd_ones_go_back() {
        let mut payee = Payee::new();
        assert_eq!(payee.part(1, 400, 400, 1_000), Judgement::Held);
        assert_eq!(payee.completed(), None);
        assert!(matches!(payee.part(2, 700, 700, 1_100), Judgement::Fail(_)), "another total");
        assert_eq!(payee.part(1, 400, 400, 1_000), Judgement::Held, "the same again");
        assert_eq!(payee.part(3, 700, 700, 1_000), Judgement::Held);
        assert_eq!(payee.completed(), Some(Msat::new(1_100)));
        assert_eq!(payee.completed(), None, "told once");
        assert!(matches!(payee.part(4, 400, 400, 1_000), Judgement::Fail(_)), "more than all");
        let (preimage, total, keys) = payee.inbound.claim(payee.hash, None).unwrap();
        assert_eq!((preimage.hash(), total, keys), (payee.hash, Msat::new(1_100), [key(1), key(3)].to_vec()));
        assert!(matches!(payee.part(5, 1_000, 1_000, 1_000), Judgement::Fail(_)), "paid already");
    }

    #[test]
    fn a_hop_before_us_that_pays_more_is_welcome_and_one_that_pays_less_is_named() {
        let mut payee = Payee::new();
        assert_eq!(payee.part(1, 3_000, 1_000, 1_000), Judgement::Held);
        assert_eq!(payee.completed(), Some(Msat::new(3_000)));
        let mut payee = Payee::new();
        let failure = Failure::FinalIncorrectHtlcAmount { incoming_htlc_amt: Msat::new(999) };
        assert_eq!(payee.part(1, 999, 1_000, 1_000), Judgement::Fail(failure));
    }

    #[test]
    fn a_claim_is_told_once_all_parts_are_durable_and_survives_a_restart_in_between() {
        let mut payee = Payee::new();
        payee.part(1, 400, 400, 1_000);
        payee.part(2, 600, 600, 1_000);
        assert!(payee.completed().is_some());
        let (preimage, total, _) = payee.inbound.claim(payee.hash, None).unwrap();
        let told = Event::PaymentClaimed { hash: payee.hash, amount: Msat::new(1_000) };
        let claimed = |inbound: &mut Inbound, channel| {
            inbound.on_claimed(ChannelId([channel; 32]), HtlcId(0), payee.hash, total, preimage.clone());
        };
        claimed(&mut payee.inbound, 1);
        assert_eq!(payee.inbound.all_claimed(payee.hash), None);
        assert!(payee.inbound.acknowledged(payee.hash).is_empty());
        claimed(&mut payee.inbound, 2);
        assert_eq!(payee.inbound.all_claimed(payee.hash), Some(told.clone()));
        assert_eq!(payee.inbound.all_claimed(payee.hash), None);
        assert_eq!(payee.inbound.acknowledged(payee.hash).len(), 2);

        // A crash when only the first part was durable: the second is undecided again.
        let mut again = Payee::new();
        claimed(&mut again.inbound, 1);
        again.inbound.restore_claimed_part(again.hash, key(2));
        assert_eq!(again.part(2, 600, 600, 1_000), Judgement::Claim(preimage.clone(), total));
        assert_eq!(again.inbound.all_claimed(again.hash), None);
        claimed(&mut again.inbound, 2);
        assert_eq!(again.inbound.all_claimed(again.hash), Some(told));
    }

    #[test]
    fn lonely_parts_go_back_after_ticks_and_late_ones_after_blocks() {
        let mut payee = Payee::new();
        payee.part(1, 400, 400, 1_000);
        assert!(payee.inbound.on_tick().is_empty() && payee.inbound.on_tick().is_empty());
        let late = [(payee.hash, [(key(1), Msat::new(400))].to_vec())];
        assert_eq!(payee.inbound.on_tick(), late);
        payee.part(1, 1_000, 1_000, 1_000);
        assert!(payee.completed().is_some());
        for _ in 0..5 {
            assert!(payee.inbound.on_tick().is_empty());
        }
        assert!(payee.inbound.on_block(&Limits { height: BlockHeight::new(109), ..LIMITS }).is_empty());
        let late = payee.inbound.on_block(&Limits { height: BlockHeight::new(110), ..LIMITS });
        assert_eq!(late, [(payee.hash, [(key(1), Msat::new(1_000))].to_vec())]);
    }
}
