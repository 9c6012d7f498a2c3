//! Payments to us: from the invoice's secrets to the claim.
use alloc::vec::Vec;

use lightning_traits::event::Event;
use lightning_traits::id::{ChannelId, EventId, HtlcId};
use lightning_traits::interface::{Environment, EventsProvider};
use lightning_traits::payment::{PaymentHash, PaymentSecret, Preimage};
use lightning_traits::sphinx::{Failure, FinalPayload, SharedSecret};
use lightning_traits::units::{CltvDelta, Msat};

use super::ChannelManager;
use super::events::Source;
use super::table::Forgetting;
use super::work::Work;
use crate::commitments::IncomingHtlc;
use crate::payment::ClaimError;
use crate::payment::inbound::{HtlcKey, Judgement, Late, Limits};
use crate::payment::secret::Facts;

/// Blocks before its expiry at which a payment that nobody claimed goes back. A claim binds a channel to go to the chain 18
/// blocks before (BOLT 2, "2R+G+S"); two more for the claim itself to be answered.
const CLAIM_BUFFER: u32 = 20;

/// What an invoice needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InboundPayment {
    /// `payment_hash`.
    pub hash: PaymentHash,
    /// `payment_secret`.
    pub secret: PaymentSecret,
    /// `min_final_cltv_expiry_delta`.
    pub final_cltv_delta: CltvDelta,
}

impl<E: Environment> ChannelManager<E> {
    /// Hash and secret for an invoice of at least `amount` (any amount, if `None`) that is good until `expires`, in seconds as
    /// in block headers. Nothing is stored: the secret says all of it when the payment comes.
    #[must_use]
    pub fn create_inbound_payment(&self, amount: Option<Msat>, expires: u32) -> InboundPayment {
        let facts = self.facts(amount, expires, None);
        let (hash, secret) = self.secrets.create(&facts, self.env.keys());
        InboundPayment { hash, secret, final_cltv_delta: facts.final_cltv }
    }

    /// Secret for an invoice to a hash whose preimage the user keeps, to be claimed by [`claim_with`](Self::claim_with).
    /// `final_cltv_delta` leaves time to decide; never less than what a claim on chain needs.
    #[must_use]
    pub fn create_inbound_payment_for_hash(
        &self,
        hash: PaymentHash,
        amount: Option<Msat>,
        expires: u32,
        final_cltv_delta: Option<CltvDelta>,
    ) -> InboundPayment {
        let facts = self.facts(amount, expires, final_cltv_delta);
        InboundPayment { hash, secret: self.secrets.hold(&facts, hash), final_cltv_delta: facts.final_cltv }
    }

    fn facts(&self, amount: Option<Msat>, expires: u32, final_cltv: Option<CltvDelta>) -> Facts {
        let wanted = final_cltv.unwrap_or(self.config.payment.final_cltv_delta);
        let least = CltvDelta::new(u16::try_from(CLAIM_BUFFER).unwrap_or(u16::MAX).saturating_add(4));
        Facts { amount: amount.unwrap_or(Msat::ZERO), expires, final_cltv: wanted.max(least) }
    }

    /// Claims a payment whose preimage is ours. Repeating is safe.
    ///
    /// # Errors
    /// [`ClaimError`].
    pub fn claim(&self, hash: PaymentHash) -> Result<(), ClaimError> {
        self.claim_payment(hash, None)
    }

    /// Claims a payment with the preimage that the user kept. Repeating is safe.
    ///
    /// # Errors
    /// [`ClaimError`].
    pub fn claim_with(&self, preimage: Preimage) -> Result<(), ClaimError> {
        self.claim_payment(preimage.hash(), Some(preimage))
    }

    fn claim_payment(&self, hash: PaymentHash, preimage: Option<Preimage>) -> Result<(), ClaimError> {
        let (preimage, total, keys) = {
            let mut table = self.table.lock();
            let claim = table.inbound.claim(hash, preimage)?;
            table.records.is_due = true;
            claim
        };
        for key in keys {
            let claim = self.claim_of(key, preimage.clone(), total);
            let mut table = self.table.lock();
            table.removals.decide(key, claim, None, Some(hash));
            table.work.push_back(Work::Settle(key));
        }
        self.events.lock().withdraw(&Source::Claimable { hash });
        self.run();
        Ok(())
    }

    /// Gives a payment back.
    ///
    /// # Errors
    /// [`ClaimError::Unknown`].
    pub fn fail(&self, hash: PaymentHash) -> Result<(), ClaimError> {
        let parts = self.table.lock().inbound.fail(hash)?;
        self.events.lock().withdraw(&Source::Claimable { hash });
        self.give_back(parts);
        self.run();
        Ok(())
    }

    /// Parts of a payment go back, without a word why (BOLT 4).
    fn give_back(&self, parts: Vec<(HtlcKey, Msat)>) {
        let height = self.now().tip.height;
        let failure = |htlc_msat| Failure::IncorrectOrUnknownPaymentDetails { htlc_msat, height };
        self.queue(parts.into_iter().map(|(key, amount)| Work::FailBack(key, failure(amount))));
    }

    /// Payments to us that nobody claimed in time (RELIABILITY F4).
    pub(super) fn give_back_late_payments(&self) {
        let limits = self.limits();
        let late = self.table.lock().inbound.on_block(&limits);
        for Late { hash, parts, was_claimable } in late {
            self.events.lock().withdraw(&Source::Claimable { hash });
            if was_claimable {
                let amount = parts.iter().map(|(_, amount)| *amount).fold(Msat::ZERO, Msat::saturating_add);
                self.tell_once(Event::PaymentReturned { hash, amount });
            }
            self.give_back(parts);
        }
    }

    pub(super) fn limits(&self) -> Limits {
        let tip = self.now().tip;
        Limits {
            height: tip.height,
            time: tip.time,
            max_ahead: self.config.channel.max_cltv_ahead,
            claim_buffer: CLAIM_BUFFER,
            takes_spontaneous: self.config.payment.accept_spontaneous,
            takes_underpaid: self.config.payment.accept_underpaid,
        }
    }

    /// An HTLC that ends at us.
    pub(super) fn keep(
        &self,
        key: HtlcKey,
        htlc: &IncomingHtlc,
        payload: &FinalPayload,
        secret: &SharedSecret,
    ) {
        let limits = self.limits();
        let (judgement, event) = {
            let mut table = self.table.lock();
            let judgement = table.inbound.on_part(key, htlc, payload, &self.secrets, &limits);
            (judgement, table.inbound.completed(htlc.hash, &limits))
        };
        match judgement {
            Judgement::Held => {}
            Judgement::Fail(failure) => self.refuse(key, secret, &failure),
            Judgement::FailAll(failure, others) => {
                self.refuse(key, secret, &failure);
                self.give_back(others);
            }
            Judgement::Claim(preimage, total) => {
                let removal = self.claim_of(key, preimage, total);
                self.table.lock().removals.decide(key, removal, None, Some(htlc.hash));
                self.settle(key);
            }
        }
        if let Some(event) = event {
            self.tell(event, Source::Claimable { hash: htlc.hash });
        }
    }

    /// A claim of one part is durable.
    pub(super) fn on_claimed(
        &self,
        channel: ChannelId,
        htlc: HtlcId,
        hash: PaymentHash,
        total: Msat,
        preimage: Preimage,
    ) {
        {
            let mut table = self.table.lock();
            let time = table.now.tip.time;
            table.inbound.on_claimed((channel, htlc), hash, total, preimage, time);
        }
        self.tell_claimed(hash);
    }

    /// Tells the user once all parts of a claim are durable.
    pub(crate) fn tell_claimed(&self, hash: PaymentHash) {
        let event = {
            let mut table = self.table.lock();
            let may_be_more = table.is_recovering || table.unread.values().any(|unread| *unread == hash);
            if may_be_more { None } else { table.inbound.all_claimed(hash) }
        };
        if let Some(event) = event {
            self.tell(event, Source::Claimed { hash });
        }
    }

    fn on_event_acknowledged(&self, event: &Event, source: Source) {
        match source {
            Source::Payment { id } => self.on_payment_acknowledged(id),
            Source::Claimed { hash } => {
                let mut table = self.table.lock();
                let notices = table.inbound.acknowledged(hash);
                // Until the record says that the hash was paid, the notices do (RELIABILITY F17).
                let record =
                    table.records.made.saturating_add(u64::from(table.inbound.is_paid_unsaid(&hash)));
                table.records.forgetting.push(Forgetting { record, notices });
            }
            Source::Channel { channel, .. } => {
                let slot = self.table.lock().channel(channel);
                if let Some(slot) = slot {
                    self.step(&slot, |channel, cx| channel.event_acknowledged(cx, event));
                }
            }
            Source::Claimable { .. }
            | Source::Intercepted { .. }
            | Source::Request { .. }
            | Source::Once { .. } => return,
        }
        self.table.lock().records.is_due = true;
    }
}

impl<E: Environment> EventsProvider for ChannelManager<E> {
    fn next_event(&self, after: Option<EventId>) -> Option<(EventId, Event)> {
        self.events.lock().after(after)
    }

    fn acknowledge_event(&self, id: EventId) {
        let acknowledged = self.events.lock().acknowledge(id);
        if let Some((event, source)) = acknowledged {
            self.on_event_acknowledged(&event, source);
            self.run();
        }
    }
}
