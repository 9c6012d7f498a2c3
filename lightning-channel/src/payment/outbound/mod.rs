//! Payments of ours: attempts, retries, and the one terminal outcome of each.
//!
//! Pure state: whoever drives it asks for routes, offers HTLCs and hands over what became of them.
//!
//! | file | what |
//! | --- | --- |
//! | `payment.rs` | one payment |
//! | `learnt.rs` | what its attempts have taught it |
//!
//! # Invariants
//! - a payment has one terminal outcome; it fails only while nothing of it is in flight
//! - an attempt is named by its session key, which is in its HTLC's durable origin: so whoever hears first of it, the
//!   offer's answer or its outcome, means the same
//! - notices of a payment stay in the channels' records until its terminal event is acknowledged, so no crash loses the
//!   outcome (RELIABILITY F11, F12)
//! - a payment that failed is told to have failed once the manager's record says so: a restart goes on with all others, as far
//!   as attempts, time and fees last
mod learnt;
mod payment;
#[cfg(test)]
mod tests;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use lightning_traits::config::PaymentConfig;
use lightning_traits::event::{Event, PaymentFailure};
use lightning_traits::id::{ChannelId, NodeId, PaymentId};
use lightning_traits::payment::{PaymentHash, Preimage};
use lightning_traits::route::{NoRoute, Path, Route, RouteQuery};
use lightning_traits::sphinx::SharedSecret;
use lightning_traits::units::{BlockHeight, Msat};

use super::onion::Recipient;
use super::params::{PayError, PayParams, PaymentDetails, PaymentState};
use super::verdict::{Verdict, directed};
use crate::commitments::{NoticeKey, SessionKey};
use crate::recover::Intent;
pub(crate) use learnt::Lesson;
use learnt::in_use;
use payment::{Arrived, Part, Payment, Phase};

/// One attempt to be made: register first, then offer.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    pub(crate) id: PaymentId,
    pub(crate) hash: PaymentHash,
    pub(crate) session: SessionKey,
    pub(crate) path: Path,
    pub(crate) recipient: Recipient,
    pub(crate) total: Msat,
}

/// What a payment needs next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// A route; first hops are to be filled in.
    Ask(alloc::boxed::Box<RouteQuery>),
    /// The manager's record has to say that it has failed, before the user hears it.
    Note,
    /// There is no way yet: it waits for a peer, or for a tick.
    Park,
    /// The user hears the outcome.
    Tell(Event),
    /// Nothing.
    Wait,
}

/// All payments that are not finished and acknowledged.
#[derive(Clone, Debug, Default)]
pub(crate) struct Payments {
    payments: BTreeMap<PaymentId, Payment>,
    by_hash: BTreeMap<PaymentHash, BTreeSet<PaymentId>>,
    /// Failures of payments that arrived, until they are gone for good.
    going: BTreeMap<(ChannelId, NoticeKey), PaymentId>,
    /// During a restart no payment ends before all channels have told what they know.
    is_frozen: bool,
}

impl Payments {
    /// Begins a payment that looks for its own way.
    pub(crate) fn begin(&mut self, id: PaymentId, params: PayParams) -> Result<(), PayError> {
        self.check(id, params.hash, params.amount)?;
        params.recipient.check(params.hash)?;
        if params.max_parts > 1 && params.recipient.secret.is_none() {
            return Err(PayError::NoSecret);
        }
        let mut payment = Payment::new(params.hash, params.amount);
        payment.retry = Some(params);
        self.insert(id, payment);
        Ok(())
    }

    /// Begins a payment along a given route; there is one attempt.
    pub(crate) fn begin_along(
        &mut self,
        id: PaymentId,
        hash: PaymentHash,
        route: Route,
        recipient: &Recipient,
        new_session: impl Fn() -> SessionKey,
    ) -> Result<Vec<Attempt>, PayError> {
        let total = Msat::checked_sum(route.paths.iter().map(Path::delivered)).ok_or(PayError::BadRoute)?;
        self.check(id, hash, total)?;
        recipient.check(hash)?;
        let payee = route.paths.first().and_then(|path| path.hops.last()).map(|hop| hop.node);
        let leads = |path: &Path| path.hops.last().map(|hop| hop.node) == payee && !path.hops.is_empty();
        if payee.is_none() || !route.paths.iter().all(leads) {
            return Err(PayError::BadRoute);
        }
        if route.paths.len() > 1 && recipient.secret.is_none() {
            return Err(PayError::NoSecret);
        }
        let mut payment = Payment::new(hash, total);
        payment.attempts = 1;
        payment.last = "the route's first channel does not take it".to_string();
        let attempts = register(id, &mut payment, route.paths, recipient, total, new_session);
        self.insert(id, payment);
        Ok(attempts)
    }

    fn check(&self, id: PaymentId, hash: PaymentHash, amount: Msat) -> Result<(), PayError> {
        if self.payments.contains_key(&id) {
            return Err(PayError::Duplicate(id));
        }
        let same = self.by_hash.get(&hash).into_iter().flatten();
        let mut same = same.filter_map(|other| self.payments.get(other));
        if same.any(|other| other.phase.is_open()) {
            return Err(PayError::SameHash(hash));
        }
        if amount == Msat::ZERO { Err(PayError::Nothing) } else { Ok(()) }
    }

    fn insert(&mut self, id: PaymentId, payment: Payment) {
        self.by_hash.entry(payment.hash).or_default().insert(id);
        self.payments.insert(id, payment);
    }

    /// The payment, made anew when only a channel's record knows it.
    fn known(&mut self, id: PaymentId, hash: PaymentHash, total: Msat) -> &mut Payment {
        self.by_hash.entry(hash).or_default().insert(id);
        self.payments.entry(id).or_insert_with(|| Payment::new(hash, total))
    }

    /// Rebuilds what a channel's record says is in flight, after a restart.
    pub(crate) fn restore_part(
        &mut self,
        id: PaymentId,
        hash: PaymentHash,
        total: Msat,
        session: &SessionKey,
        path: Path,
    ) {
        let payment = self.known(id, hash, total);
        payment.attempts = payment.attempts.max(1);
        payment.parts.insert(*session.as_bytes(), Part { path, secrets: None });
    }

    /// See `is_frozen`.
    pub(crate) const fn freeze(&mut self, is_frozen: bool) {
        self.is_frozen = is_frozen;
    }

    /// Remembers a payment that the manager's own record knows, but perhaps no channel.
    pub(crate) fn restore_intent(&mut self, intent: Intent) {
        let Intent { id, hash, total, plan } = intent;
        let payment = self.known(id, hash, total);
        // An id names one payment, whose HTLCs say what it is.
        if let Some(plan) = plan.filter(|_| payment.hash == hash && payment.total == total) {
            payment.resume(plan);
        }
    }

    /// Payments that are not finished: what the manager's record keeps.
    pub(crate) fn intents(&self) -> impl Iterator<Item = Intent> {
        self.payments.iter().map(|(id, payment)| Intent {
            id: *id,
            hash: payment.hash,
            total: payment.total,
            plan: payment.plan(),
        })
    }

    /// The manager's record says that the payment has failed.
    pub(crate) fn on_noted(&mut self, id: PaymentId) {
        let phase = self.payments.get_mut(&id).map(|payment| &mut payment.phase);
        if let Some(Phase::Failing { is_noted, .. }) = phase {
            *is_noted = true;
        }
    }

    /// What the payment needs next; marks it as under way.
    pub(crate) fn next(
        &mut self,
        id: PaymentId,
        config: &PaymentConfig,
        payer: NodeId,
        height: BlockHeight,
    ) -> Next {
        if self.is_frozen {
            return Next::Wait;
        }
        let Some(payment) = self.payments.get_mut(&id) else { return Next::Wait };
        if let Phase::Sent { preimage } = &payment.phase
            && !payment.told
        {
            payment.told = true;
            return Next::Tell(Event::PaymentSent {
                id,
                hash: payment.hash,
                preimage: preimage.clone(),
                amount: payment.total,
                fee: payment.cost(),
            });
        }
        if core::mem::take(&mut payment.is_parked) {
            return Next::Park;
        }
        if payment.waits() {
            return payment.tell_failed(id);
        }
        if let Some(query) = payment.ask(id, config, payer, height) {
            return Next::Ask(alloc::boxed::Box::new(query));
        }
        if !payment.parts.is_empty() {
            return Next::Wait;
        }
        let reason = payment.failure(config);
        // Nothing would be tried again after a restart either.
        let is_noted = payment.retry.is_none();
        payment.phase = Phase::Failing { reason, is_noted };
        if is_noted { payment.tell_failed(id) } else { Next::Note }
    }

    /// Takes the answer to a question; returns the attempts to make.
    pub(crate) fn on_route(
        &mut self,
        id: PaymentId,
        answer: Result<Route, NoRoute>,
        config: &PaymentConfig,
        height: BlockHeight,
        new_session: impl Fn() -> SessionKey,
    ) -> Vec<Attempt> {
        let Some(payment) = self.payments.get_mut(&id) else { return Vec::new() };
        let paths = payment.answer(answer, config, height);
        let Some(recipient) = payment.retry.as_ref().map(|params| params.recipient.clone()) else {
            return Vec::new();
        };
        let total = payment.total;
        register(id, payment, paths, &recipient, total, new_session)
    }

    /// A tick has passed; returns the payments to look at.
    pub(crate) fn on_tick(&mut self) -> Vec<PaymentId> {
        let due = self.payments.iter_mut().filter_map(|(id, payment)| payment.on_tick().then_some(*id));
        due.collect()
    }

    /// Whether there are payments that end when their time is over.
    pub(crate) fn count_time(&self) -> bool {
        let limited =
            |payment: &Payment| payment.retry.as_ref().is_some_and(|params| params.max_ticks.is_some());
        self.payments.values().any(|payment| payment.phase == Phase::Pending && limited(payment))
    }

    /// The onion of an attempt is made.
    pub(crate) fn on_built(&mut self, attempt: &Attempt, secrets: Vec<SharedSecret>) {
        let part = self.payments.get_mut(&attempt.id);
        if let Some(part) = part.and_then(|payment| payment.parts.get_mut(attempt.session.as_bytes())) {
            part.secrets = Some(secrets);
        }
    }

    /// The secrets of the onion of an attempt that has ended.
    pub(crate) fn take_secrets(&mut self, id: PaymentId, session: &SessionKey) -> Option<Vec<SharedSecret>> {
        self.payments.get_mut(&id)?.parts.get_mut(session.as_bytes())?.secrets.take()
    }

    /// The attempt could not even leave: our own channel did not take it.
    pub(crate) fn on_refused(&mut self, attempt: &Attempt, payer: NodeId, reason: String) {
        let Some(payment) = self.payments.get_mut(&attempt.id) else { return };
        payment.parts.remove(attempt.session.as_bytes());
        if let (Some(channel), Some(hop)) = (directed(payer, &attempt.path, 0), attempt.path.hops.first()) {
            let used = in_use(payer, payment.paths());
            payment.learnt.refused(channel, hop.amount, &used);
        }
        payment.last = reason;
    }

    /// An HTLC of the payment was dropped with its connection before it bound anybody.
    pub(crate) fn on_unsent(&mut self, id: PaymentId, path: &Path, session: &SessionKey, payer: NodeId) {
        let Some(payment) = self.payments.get_mut(&id) else { return };
        payment.parts.remove(session.as_bytes());
        if let Some(channel) = directed(payer, path, 0) {
            payment.learnt.learn(Lesson::Avoid(channel), &BTreeMap::new());
        }
        payment.last = "the connection ended before the payment left".to_string();
    }

    /// An HTLC of the payment failed; returns the event to tell, unless it was told before.
    pub(crate) fn on_failed(
        &mut self,
        id: PaymentId,
        (hash, total): (PaymentHash, Msat),
        session: &SessionKey,
        notice: (ChannelId, NoticeKey),
        (payer, verdict): (NodeId, &Verdict),
    ) -> Option<Event> {
        let payment = self.known(id, hash, total);
        payment.attempts = payment.attempts.max(1);
        payment.parts.remove(session.as_bytes());
        if payment.going.contains(&notice) || !payment.failed.insert(notice) {
            return None;
        }
        let used = in_use(payer, payment.paths());
        for lesson in &verdict.lessons {
            payment.learnt.learn(*lesson, &used);
        }
        payment.last.clone_from(&verdict.text);
        if verdict.refused && payment.given_up.is_none() {
            payment.given_up = Some(PaymentFailure::RefusedByPayee(verdict.text.clone()));
        }
        let failure = verdict.text.clone();
        Some(Event::AttemptFailed { id, hash, channel: verdict.channel, failure })
    }

    /// An HTLC of the payment was fulfilled.
    pub(crate) fn on_fulfilled(
        &mut self,
        id: PaymentId,
        (hash, total): (PaymentHash, Msat),
        session: &SessionKey,
        path: &Path,
        notice: (ChannelId, NoticeKey),
        preimage: Preimage,
    ) {
        let payment = self.known(id, hash, total);
        payment.attempts = payment.attempts.max(1);
        payment.parts.remove(session.as_bytes());
        let part = Arrived { delivered: path.delivered(), fee: path.fee() };
        payment.arrived.insert(*session.as_bytes(), part);
        payment.fulfilled.insert(notice);
        if payment.phase.is_open() {
            payment.phase = Phase::Sent { preimage };
        }
    }

    /// The user gives it up: what is in flight still ends by itself.
    pub(crate) fn abandon(&mut self, id: PaymentId) -> bool {
        let Some(payment) = self.payments.get_mut(&id) else { return false };
        payment.abandon();
        true
    }

    /// The user has the terminal event.
    pub(crate) fn acknowledged(&mut self, id: PaymentId) {
        if let Some(payment) = self.payments.get_mut(&id)
            && payment.told
        {
            payment.is_acknowledged = true;
        }
    }

    /// Forgets a payment whose terminal event is acknowledged and of which nothing is in flight any more; returns the
    /// notices that may be done with. Not before: a restart must find one that says how the whole payment ended.
    pub(crate) fn release(&mut self, id: PaymentId) -> Option<Vec<(ChannelId, NoticeKey)>> {
        let payment = self.payments.get(&id)?;
        if !payment.is_acknowledged || !payment.parts.is_empty() || !payment.going.is_empty() {
            return None;
        }
        let payment = self.payments.remove(&id)?;
        if let Some(ids) = self.by_hash.get_mut(&payment.hash) {
            ids.remove(&id);
            if ids.is_empty() {
                self.by_hash.remove(&payment.hash);
            }
        }
        Some(payment.failed.into_iter().chain(payment.fulfilled).collect())
    }

    /// The failures of a payment of which something has arrived: nobody needs them any more.
    pub(crate) fn drop_failures(&mut self, id: PaymentId) -> Vec<(ChannelId, NoticeKey)> {
        let Some(payment) = self.payments.get_mut(&id) else { return Vec::new() };
        if self.is_frozen || payment.fulfilled.is_empty() {
            return Vec::new();
        }
        let failed: Vec<_> = core::mem::take(&mut payment.failed).into_iter().collect();
        payment.going.extend(failed.iter().copied());
        self.going.extend(failed.iter().map(|notice| (*notice, id)));
        failed
    }

    /// A notice that [`drop_failures`](Self::drop_failures) named is gone for good; returns its payment.
    pub(crate) fn on_notice_gone(&mut self, notice: (ChannelId, NoticeKey)) -> Option<PaymentId> {
        let id = self.going.remove(&notice)?;
        self.payments.get_mut(&id)?.going.remove(&notice);
        Some(id)
    }

    /// All payments.
    pub(crate) fn list(&self) -> Vec<PaymentDetails> {
        let details = |(id, payment): (&PaymentId, &Payment)| PaymentDetails {
            id: *id,
            hash: payment.hash,
            amount: payment.total,
            state: match &payment.phase {
                Phase::Pending | Phase::Failing { .. } => PaymentState::Pending {
                    attempts: payment.attempts,
                    parts: payment.parts.len(),
                    in_flight: payment.in_flight(),
                    fee: payment.fees(),
                },
                Phase::Sent { preimage } => PaymentState::Sent { preimage: preimage.clone() },
                Phase::Failed(reason) => PaymentState::Failed(reason.clone()),
            },
        };
        self.payments.iter().map(details).collect()
    }

    /// Whether there is a payment of this id.
    pub(crate) fn contains(&self, id: PaymentId) -> bool {
        self.payments.contains_key(&id)
    }

    /// Whether there is a payment of this id to this hash.
    pub(crate) fn is_known(&self, id: PaymentId, hash: PaymentHash) -> bool {
        self.payments.get(&id).is_some_and(|payment| payment.hash == hash)
    }

    /// The ids of all payments.
    pub(crate) fn ids(&self) -> Vec<PaymentId> {
        self.payments.keys().copied().collect()
    }
}

/// Registers the parts of a route before they are offered.
fn register(
    id: PaymentId,
    payment: &mut Payment,
    paths: Vec<Path>,
    recipient: &Recipient,
    total: Msat,
    new_session: impl Fn() -> SessionKey,
) -> Vec<Attempt> {
    let attempt = |path: Path| {
        let session = new_session();
        payment.parts.insert(*session.as_bytes(), Part { path: path.clone(), secrets: None });
        Attempt { id, hash: payment.hash, session, path, recipient: recipient.clone(), total }
    };
    paths.into_iter().map(attempt).collect()
}
