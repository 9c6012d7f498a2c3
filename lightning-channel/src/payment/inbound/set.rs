//! One payment to us that is not decided: the parts that have come, and what they say of the whole.
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use lightning_traits::codec::TlvRecords;
use lightning_traits::codec::tlv::TlvRecord;
use lightning_traits::event::{Event, ReceivedKind};
use lightning_traits::payment::{PaymentHash, PaymentSecret, Preimage};
use lightning_traits::sphinx::{FIRST_CUSTOM_RECORD, FinalPayload};
use lightning_traits::units::{BlockHeight, CltvDelta, Msat};

use super::{HtlcKey, Limits, SPONTANEOUS_SECONDS};
use crate::commitments::IncomingHtlc;
use crate::payment::secret::Secrets;

/// What a part says of its payment, once that is known to be ours to take.
#[derive(Clone, Debug)]
pub(super) struct Offer {
    kind: ReceivedKind,
    secret: Option<PaymentSecret>,
    preimage: Option<Preimage>,
    /// What the invoice asks for; zero when the payer chooses.
    asked: Msat,
    total: Msat,
    pub(super) final_cltv: CltvDelta,
    pub(super) expires: u32,
    metadata: Option<Vec<u8>>,
    custom: TlvRecords,
}

impl Offer {
    /// `None` when nobody here can know the payment.
    pub(super) fn read(
        htlc: &IncomingHtlc,
        payload: &FinalPayload,
        secrets: &Secrets,
        limits: &Limits,
    ) -> Option<Self> {
        let data = payload.payment_data.as_ref();
        let secret = data.map(|data| data.payment_secret.clone());
        let opened = secret.as_ref().and_then(|secret| secrets.open(htlc.hash, secret));
        let (total, metadata) = (payload.total(), payload.payment_metadata.clone());
        let custom = of_applications(&payload.custom);
        if let Some(opened) = opened {
            let (facts, preimage) = (opened.facts, opened.preimage);
            let kind = if preimage.is_some() { ReceivedKind::Invoice } else { ReceivedKind::Held };
            return Some(Self {
                kind,
                secret,
                preimage,
                asked: facts.amount,
                total,
                final_cltv: facts.final_cltv,
                expires: facts.expires,
                metadata,
                custom,
            });
        }
        let preimage = payload.keysend.clone().filter(|preimage| preimage.hash() == htlc.hash);
        let preimage = preimage.filter(|_| limits.takes_spontaneous)?;
        Some(Self {
            kind: ReceivedKind::Spontaneous,
            secret,
            preimage: Some(preimage),
            asked: Msat::ZERO,
            total,
            final_cltv: CltvDelta::new(0),
            expires: limits.time.saturating_add(SPONTANEOUS_SECONDS),
            metadata,
            custom,
        })
    }

    /// BOLT 4: "if the amount paid is less than the amount expected", "if the amount paid is more than twice the amount
    /// expected"; "amount paid" is `total_msat`.
    pub(super) fn amount_fits(&self) -> bool {
        let most = self.asked.to_msat().saturating_mul(2);
        self.total > Msat::ZERO
            && self.total >= self.asked
            && (self.asked == Msat::ZERO || self.total.to_msat() <= most)
    }

    /// Whether both belong to one payment. `total_msat` is another question.
    fn belongs_with(&self, other: &Self) -> bool {
        self.kind == other.kind
            && self.secret == other.secret
            && self.metadata == other.metadata
            && even(&self.custom).eq(even(&other.custom))
    }
}

/// The records that belong to applications.
fn of_applications(records: &TlvRecords) -> TlvRecords {
    let mut custom = TlvRecords::new();
    for record in records.as_slice().iter().filter(|record| record.kind >= FIRST_CUSTOM_RECORD) {
        custom.put_raw(record.kind, record.value.clone());
    }
    custom
}

fn even(records: &TlvRecords) -> impl Iterator<Item = &TlvRecord> {
    records.as_slice().iter().filter(|record| record.kind % 2 == 0)
}

#[derive(Clone, Copy, Debug)]
struct Part {
    amount: Msat,
    /// `amt_to_forward`: what its payer says that it carries.
    forward: Msat,
    expiry: u32,
}

/// What a payment does with a part.
pub(super) enum Joined {
    /// It is one of its parts.
    Held,
    /// It is none.
    Refused,
    /// It belongs to the payment, and contradicts it.
    Spoilt,
}

/// Parts of a payment that is not decided.
#[derive(Clone, Debug)]
pub(super) struct Set {
    offer: Offer,
    parts: BTreeMap<HtlcKey, Part>,
    ticks: u32,
    /// The user was asked.
    pub(super) is_complete: bool,
}

impl Set {
    pub(super) fn new(offer: &Offer) -> Self {
        Self { offer: offer.clone(), parts: BTreeMap::new(), ticks: 0, is_complete: false }
    }

    pub(super) fn join(
        &mut self,
        key: HtlcKey,
        htlc: &IncomingHtlc,
        payload: &FinalPayload,
        offer: Offer,
    ) -> Joined {
        if self.parts.contains_key(&key) {
            return Joined::Held;
        }
        if !self.offer.belongs_with(&offer) {
            return Joined::Refused;
        }
        if self.offer.total != offer.total {
            // The user counts on a payment that is complete.
            return if self.is_complete { Joined::Refused } else { Joined::Spoilt };
        }
        // More than the total buys the payer nothing: an extra part goes back.
        if self.forwarded() >= self.offer.total {
            return Joined::Refused;
        }
        // Odd records that parts do not agree on are nobody's.
        let mut common = TlvRecords::new();
        for record in self.offer.custom.as_slice().iter().filter(|own| offer.custom.as_slice().contains(own))
        {
            common.put_raw(record.kind, record.value.clone());
        }
        self.offer.custom = common;
        let part = Part { amount: htlc.amount, forward: payload.amount, expiry: htlc.expiry.get() };
        self.parts.insert(key, part);
        Joined::Held
    }

    /// The event to tell when it has just become complete. BOLT 4: "if the total `amt_to_forward` of this HTLC set is equal to
    /// or greater than `total_msat`".
    pub(super) fn complete(&mut self, hash: PaymentHash, buffer: u32) -> Option<Event> {
        if self.is_complete || self.forwarded() < self.offer.total {
            return None;
        }
        self.is_complete = true;
        let missing = |part: &Part| part.forward.saturating_sub(part.amount);
        Some(Event::PaymentClaimable {
            hash,
            amount: self.received(),
            preimage: self.preimage(),
            deadline: self.deadline(buffer),
            kind: self.offer.kind,
            skimmed: self.parts.values().map(missing).fold(Msat::ZERO, Msat::saturating_add),
            metadata: self.offer.metadata.clone(),
            custom: self.offer.custom.clone(),
        })
    }

    pub(super) fn preimage(&self) -> Option<Preimage> {
        self.offer.preimage.clone()
    }

    pub(super) const fn expires(&self) -> u32 {
        self.offer.expires
    }

    pub(super) fn keys(&self) -> Vec<HtlcKey> {
        self.parts.keys().copied().collect()
    }

    pub(super) fn into_amounts(self) -> Vec<(HtlcKey, Msat)> {
        self.parts.into_iter().map(|(key, part)| (key, part.amount)).collect()
    }

    pub(super) fn received(&self) -> Msat {
        self.parts.values().map(|part| part.amount).fold(Msat::ZERO, Msat::saturating_add)
    }

    fn forwarded(&self) -> Msat {
        self.parts.values().map(|part| part.forward).fold(Msat::ZERO, Msat::saturating_add)
    }

    pub(super) fn deadline(&self, buffer: u32) -> BlockHeight {
        let soonest = self.parts.values().map(|part| part.expiry).min().unwrap_or(0);
        BlockHeight::new(soonest.saturating_sub(buffer))
    }

    /// A tick has passed.
    pub(super) const fn wait(&mut self) {
        if !self.is_complete {
            self.ticks = self.ticks.saturating_add(1);
        }
    }

    /// Ticks for which parts were missing; none once it is complete.
    pub(super) const fn waited(&self) -> u32 {
        if self.is_complete { 0 } else { self.ticks }
    }
}
