//! What users ask for, and what they were told.
//!
//! A user's own memory is perfect: what it has seen survives every crash of its node.
use std::collections::{BTreeMap, BTreeSet};

use lightning_traits::event::Event;
use lightning_traits::id::{EventId, PaymentId};
use lightning_traits::payment::{PaymentHash, Preimage};
use lightning_traits::units::Msat;

/// A payment that some user began.
#[derive(Clone, Debug)]
pub(crate) struct Payment {
    pub(crate) id: PaymentId,
    pub(crate) hash: PaymentHash,
    pub(crate) payer: usize,
    pub(crate) payee: usize,
    pub(crate) msat: u64,
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
    /// Payments that are given back.
    pub(crate) refuses: BTreeSet<PaymentHash>,
}

impl User {
    /// Notes an event; an id must not be used for two (I11).
    pub(crate) fn note(&mut self, id: EventId, event: &Event) {
        let about = about(event);
        let known = self.ids.entry(id).or_insert_with(|| about.clone());
        assert_eq!(*known, about, "event id {id} is used for two events");
        self.seen.push(event.clone());
    }

    /// How a payment ended: each different ending once. After a restart a failure may be told again with another reason,
    /// and a success without its fee.
    pub(crate) fn endings(&self, payment: PaymentId) -> Vec<&Event> {
        let mut endings: Vec<&Event> = Vec::new();
        for event in &self.seen {
            let is_end = match event {
                Event::PaymentSent { id, .. } | Event::PaymentFailed { id, .. } => *id == payment,
                _ => false,
            };
            let failed = |event: &Event| matches!(event, Event::PaymentFailed { .. });
            let sent = |event: &Event| matches!(event, Event::PaymentSent { .. });
            let bare = |event: &Event| matches!(event, Event::PaymentSent { fee: None, .. });
            let is_known = endings.iter().any(|known| {
                *known == event || (failed(known) && failed(event)) || (sent(known) && bare(event))
            });
            if is_end && !is_known {
                endings.push(event);
            }
        }
        endings
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
}

/// What an event is about, without what may be told differently after a restart.
fn about(event: &Event) -> String {
    match event {
        Event::PaymentSent { id, .. } | Event::PaymentFailed { id, .. } => format!("end of payment {id}"),
        Event::PaymentClaimable { hash, .. } => format!("claimable {hash}"),
        Event::PaymentClaimed { hash, .. } => format!("claimed {hash}"),
        other => format!("{other:?}"),
    }
}
