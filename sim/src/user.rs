//! What users ask for, and what they were told.
//!
//! A user's own memory is perfect: what it has seen survives every crash of its node.
use std::collections::{BTreeMap, BTreeSet};

use lightning_channel::payment::PayParams;
use lightning_traits::event::Event;
use lightning_traits::id::{EventId, PaymentId};
use lightning_traits::payment::{PaymentHash, Preimage};
use lightning_traits::units::Msat;

use crate::oracle::{Oracle, broken, hold};

/// A payment that some user began.
#[derive(Clone, Debug)]
pub(crate) struct Payment {
    pub(crate) id: PaymentId,
    pub(crate) payer: usize,
    pub(crate) payee: usize,
    pub(crate) msat: u64,
    pub(crate) params: PayParams,
}

impl Payment {
    pub(crate) const fn hash(&self) -> PaymentHash {
        self.params.hash
    }
}

/// What a user does with a payment that waits for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plan {
    /// Takes it at once.
    Claim,
    /// Gives it back at once.
    Refuse,
    /// Lets it wait.
    Wait,
}

/// The user of one node.
#[derive(Default)]
pub(crate) struct User {
    /// Every event, each time it was seen.
    pub(crate) seen: Vec<Event>,
    /// What each id was used for.
    ids: BTreeMap<EventId, String>,
    /// Preimages that the user keeps to itself until somebody pays.
    pub(crate) held: BTreeMap<PaymentHash, Preimage>,
    /// What becomes of payments; those that it does not name are claimed.
    pub(crate) plans: BTreeMap<PaymentHash, Plan>,
    /// Payments that wait for a decision.
    pub(crate) waiting: BTreeSet<PaymentHash>,
    /// Payments that the user has claimed.
    pub(crate) taken: BTreeSet<PaymentHash>,
    /// How each payment ended, as first told.
    ends: BTreeMap<PaymentId, Event>,
}

impl User {
    /// Notes an event; an id must not be used for two (I11), and a payment must not end in two ways. A user whose node has
    /// `forgotten` hears contradictions.
    pub(crate) fn note(&mut self, id: EventId, event: &Event, has_forgotten: bool) {
        let about = about(event);
        let known = self.ids.entry(id).or_insert_with(|| about.clone());
        hold(Oracle::Events, *known == about, || {
            format!("event id {id} is used for two events: {known} and {about}")
        });
        if let Event::PaymentSent { id, .. } | Event::PaymentFailed { id, .. } = event {
            let first = self.ends.entry(*id).or_insert_with(|| event.clone());
            let is_sent = |event: &Event| matches!(event, Event::PaymentSent { .. });
            if is_sent(first) != is_sent(event) && !has_forgotten {
                broken(Oracle::Events, format!("payment {id} ends twice: {first:?} and {event:?}"));
            }
            // Told again after a restart, a success may come without its fee.
            let is_bare = matches!(event, Event::PaymentSent { fee: None, .. });
            if is_sent(event) && !(is_bare && is_sent(first)) {
                *first = event.clone();
            }
        }
        self.seen.push(event.clone());
    }

    /// How a payment ended.
    pub(crate) fn ending(&self, payment: PaymentId) -> Option<&Event> {
        self.ends.get(&payment)
    }

    /// The different amounts that were credited for a hash.
    pub(crate) fn claimed(&self, hash: PaymentHash) -> BTreeSet<Msat> {
        let claimed = self.seen.iter().filter_map(|event| match event {
            Event::PaymentClaimed { hash: other, amount } if *other == hash => Some(*amount),
            _ => None,
        });
        claimed.collect()
    }

    pub(crate) fn has_seen(&self, is: impl Fn(&Event) -> bool) -> bool {
        self.seen.iter().any(is)
    }

    /// What becomes of a payment.
    pub(crate) fn plan(&self, hash: &PaymentHash) -> Plan {
        self.plans.get(hash).copied().unwrap_or(Plan::Claim)
    }
}

/// What an event is about, without what may be told differently after a restart.
fn about(event: &Event) -> String {
    match event {
        Event::PaymentSent { id, .. } | Event::PaymentFailed { id, .. } => format!("end of payment {id}"),
        Event::PaymentClaimable { hash, .. } => format!("claimable {hash}"),
        Event::PaymentClaimed { hash, .. } => format!("claimed {hash}"),
        // One that is used before it confirms has a place on chain later.
        // A reorganization may have given it another place before the event was acknowledged.
        Event::ChannelReady { channel, .. } => format!("channel {channel} is ready"),
        other => format!("{other:?}"),
    }
}
