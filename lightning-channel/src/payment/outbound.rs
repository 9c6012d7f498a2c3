//! Payments of ours: attempts, retries, and the one terminal outcome of each.
//!
//! Pure state: whoever drives it asks for routes, offers HTLCs and hands over what became of them.
//!
//! # Invariants
//! - a payment has one terminal outcome; it fails only while nothing of it is in flight
//! - an attempt is named by its session key, which is in its HTLC's durable origin: so whoever hears first of it, the
//!   offer's answer or its outcome, means the same
//! - notices of a payment stay in the channels' records until its terminal event is acknowledged, so no crash loses the
//!   outcome (RELIABILITY F11, F12)
//! - after a restart nothing is sent anew: what is in flight ends, and tells how
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use lightning_traits::config::PaymentConfig;
use lightning_traits::event::{Event, PaymentFailure};
use lightning_traits::id::{ChannelId, NodeId, PaymentId};
use lightning_traits::payment::{PaymentHash, Preimage};
use lightning_traits::route::{DirectedChannel, NoRoute, Path, Route, RouteHint, RouteQuery};
use lightning_traits::units::{BlockHeight, CltvDelta, Msat};
use thiserror::Error;

use super::onion::Recipient;
use super::verdict::{Verdict, directed};
use crate::commitments::{NoticeKey, SessionKey};

/// What to pay, as an invoice says it, and what it may cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PayParams {
    /// Whom.
    pub payee: NodeId,
    /// What must arrive.
    pub amount: Msat,
    /// For which preimage.
    pub hash: PaymentHash,
    /// `payment_secret` and `payment_metadata` of the invoice.
    pub recipient: Recipient,
    /// `min_final_cltv_expiry_delta` of the invoice.
    pub final_cltv_delta: CltvDelta,
    /// Private ways to the payee.
    pub hints: Vec<RouteHint>,
    /// The most that fees may cost; by default what the configuration allows.
    pub max_fee: Option<Msat>,
    /// The most parts; 1 unless the payee offers `basic_mpp`.
    pub max_parts: u16,
}

/// Why a payment is not begun. Nothing was sent.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PayError {
    /// The id is in use by a payment that is not finished and acknowledged: this is the same payment.
    #[error("payment {0} was begun before")]
    Duplicate(PaymentId),
    /// A payment to the same hash is under way: whoever forwards one of them could keep the other.
    #[error("a payment to hash {0} is under way")]
    SameHash(PaymentHash),
    /// Nothing to pay.
    #[error("nothing to pay")]
    Nothing,
    /// A route without paths, or a path without hops, or with one to another payee or through no node.
    #[error("the route leads nowhere")]
    BadRoute,
}

/// Blocks that may come in while a payment is under way, beyond what the payee asks for.
const BLOCKS_UNDER_WAY: u16 = 3;

/// How far a payment is, for a list.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PaymentState {
    /// Under way: attempts so far, and what is in flight.
    Pending {
        /// Attempts so far.
        attempts: u32,
        /// What is in flight, as it would be delivered.
        in_flight: Msat,
    },
    /// Paid; the event waits for its acknowledgement.
    Sent {
        /// The proof.
        preimage: Preimage,
    },
    /// Failed; the event waits for its acknowledgement.
    Failed(PaymentFailure),
}

/// A payment of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaymentDetails {
    /// The user's name for it.
    pub id: PaymentId,
    /// Its hash.
    pub hash: PaymentHash,
    /// What the payee is to get.
    pub amount: Msat,
    /// How far it is.
    pub state: PaymentState,
}

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
    /// A route; first hops and height are to be filled in.
    Ask(RouteQuery),
    /// The user hears the outcome.
    Tell(Event),
    /// Nothing.
    Wait,
}

/// Where a payment is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    Pending,
    Sent { preimage: Preimage },
    Failed(PaymentFailure),
}

#[derive(Clone, Debug)]
struct Payment {
    hash: PaymentHash,
    total: Msat,
    /// What retries need: gone after a restart, absent for a given route.
    retry: Option<PayParams>,
    phase: Phase,
    /// What is in flight, by session key.
    parts: BTreeMap<[u8; 32], Path>,
    /// Fees of the parts that arrived.
    paid_fees: BTreeMap<[u8; 32], Msat>,
    /// What became of parts, not yet done with.
    notices: BTreeSet<(ChannelId, NoticeKey)>,
    attempts: u32,
    excluded: Vec<DirectedChannel>,
    /// A question for a route is open.
    asking: bool,
    /// Why nothing more is tried.
    given_up: Option<PaymentFailure>,
    last: String,
    /// The terminal event was made.
    told: bool,
    is_acknowledged: bool,
}

/// All payments that are not finished and acknowledged.
#[derive(Clone, Debug, Default)]
pub(crate) struct Payments {
    payments: BTreeMap<PaymentId, Payment>,
    by_hash: BTreeMap<PaymentHash, BTreeSet<PaymentId>>,
    /// During a restart no payment ends before all channels have told what they know.
    is_frozen: bool,
}

impl Payment {
    fn new(hash: PaymentHash, total: Msat) -> Self {
        Self {
            hash,
            total,
            retry: None,
            phase: Phase::Pending,
            parts: BTreeMap::new(),
            paid_fees: BTreeMap::new(),
            notices: BTreeSet::new(),
            attempts: 0,
            excluded: Vec::new(),
            asking: false,
            given_up: None,
            last: String::new(),
            told: false,
            is_acknowledged: false,
        }
    }

    fn in_flight(&self) -> Msat {
        self.parts.values().map(Path::delivered).fold(Msat::ZERO, Msat::saturating_add)
    }

    fn fees(&self) -> Msat {
        self.parts.values().map(Path::fee).fold(Msat::ZERO, Msat::saturating_add)
    }

    fn budget(&self, params: &PayParams, config: &PaymentConfig) -> Msat {
        let usual = params.amount.checked_millionths(config.max_fee_millionths).unwrap_or(Msat::MAX);
        params.max_fee.unwrap_or_else(|| usual.max(config.min_fee_budget))
    }

    fn failure(&self, config: &PaymentConfig) -> PaymentFailure {
        match &self.given_up {
            Some(reason) => reason.clone(),
            None if self.attempts >= config.max_attempts => {
                PaymentFailure::RetriesExhausted { attempts: self.attempts, last: self.last.clone() }
            }
            None if self.attempts == 0 && self.last.is_empty() => PaymentFailure::LostBeforeSending,
            None => {
                PaymentFailure::RetriesExhausted { attempts: self.attempts.max(1), last: self.last.clone() }
            }
        }
    }
}

impl Payments {
    /// Begins a payment that looks for its own way.
    pub(crate) fn begin(&mut self, id: PaymentId, params: PayParams) -> Result<(), PayError> {
        self.check(id, params.hash, params.amount)?;
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
        let payee = route.paths.first().and_then(|path| path.hops.last()).map(|hop| hop.node);
        let leads = |path: &Path| path.hops.last().map(|hop| hop.node) == payee && !path.hops.is_empty();
        if payee.is_none() || !route.paths.iter().all(leads) {
            return Err(PayError::BadRoute);
        }
        let mut payment = Payment::new(hash, total);
        payment.attempts = 1;
        payment.last = "the route's first channel does not take it".to_string();
        let attempts = register(id, &mut payment, route, recipient, total, new_session);
        self.insert(id, payment);
        Ok(attempts)
    }

    fn check(&self, id: PaymentId, hash: PaymentHash, amount: Msat) -> Result<(), PayError> {
        if self.payments.contains_key(&id) {
            return Err(PayError::Duplicate(id));
        }
        let same = self.by_hash.get(&hash).into_iter().flatten();
        let mut same = same.filter_map(|other| self.payments.get(other));
        if same.any(|other| other.phase == Phase::Pending) {
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
        payment.parts.insert(*session.as_bytes(), path);
    }

    /// See `is_frozen`.
    pub(crate) const fn freeze(&mut self, is_frozen: bool) {
        self.is_frozen = is_frozen;
    }

    /// Remembers a payment that the manager's own record knows, but perhaps no channel.
    pub(crate) fn restore_intent(&mut self, id: PaymentId, hash: PaymentHash, total: Msat) {
        self.known(id, hash, total);
    }

    /// Payments that are not finished: what the manager's record keeps.
    pub(crate) fn intents(&self) -> impl Iterator<Item = (PaymentId, PaymentHash, Msat)> {
        self.payments.iter().map(|(id, payment)| (*id, payment.hash, payment.total))
    }

    /// What the payment needs next; marks it as under way.
    pub(crate) fn next(&mut self, id: PaymentId, config: &PaymentConfig, payer: NodeId) -> Next {
        if self.is_frozen {
            return Next::Wait;
        }
        let Some(payment) = self.payments.get_mut(&id) else { return Next::Wait };
        match &payment.phase {
            Phase::Sent { preimage } if !payment.told => {
                payment.told = true;
                // All parts that are in flight are the payee's by now, or as good as.
                let fee = payment.paid_fees.values().copied().fold(payment.fees(), Msat::saturating_add);
                return Next::Tell(Event::PaymentSent {
                    id,
                    hash: payment.hash,
                    preimage: preimage.clone(),
                    amount: payment.total,
                    fee,
                });
            }
            Phase::Pending if !payment.asking => {}
            Phase::Pending | Phase::Sent { .. } | Phase::Failed(_) => return Next::Wait,
        }
        let missing = payment.total.saturating_sub(payment.in_flight());
        if missing == Msat::ZERO {
            return Next::Wait;
        }
        if payment.given_up.is_none()
            && payment.attempts < config.max_attempts
            && let Some(params) = &payment.retry
        {
            let query = RouteQuery {
                payment: id,
                payer,
                payee: params.payee,
                amount: missing,
                max_fee: payment.budget(params, config).saturating_sub(payment.fees()),
                final_cltv_delta: CltvDelta::new(
                    params.final_cltv_delta.get().saturating_add(BLOCKS_UNDER_WAY),
                ),
                max_total_cltv: config.max_total_cltv,
                height: BlockHeight::new(0),
                max_parts: params.max_parts.max(1),
                hints: params.hints.clone(),
                first_hops: Vec::new(),
                excluded: payment.excluded.clone(),
            };
            payment.asking = true;
            payment.attempts = payment.attempts.saturating_add(1);
            return Next::Ask(query);
        }
        if !payment.parts.is_empty() {
            return Next::Wait;
        }
        let reason = payment.failure(config);
        payment.phase = Phase::Failed(reason.clone());
        payment.told = true;
        Next::Tell(Event::PaymentFailed { id, hash: payment.hash, reason })
    }

    /// Takes the answer to a question; returns the attempts to make.
    pub(crate) fn on_route(
        &mut self,
        id: PaymentId,
        answer: Result<Route, NoRoute>,
        config: &PaymentConfig,
        new_session: impl Fn() -> SessionKey,
    ) -> Vec<Attempt> {
        let Some(payment) = self.payments.get_mut(&id) else { return Vec::new() };
        if !payment.asking || payment.phase != Phase::Pending {
            return Vec::new();
        }
        payment.asking = false;
        let Some(params) = payment.retry.clone().filter(|_| payment.given_up.is_none()) else {
            return Vec::new();
        };
        let route = match answer {
            Ok(route) => route,
            Err(reason) => {
                let text = if payment.last.is_empty() {
                    reason.to_string()
                } else {
                    alloc::format!("{reason}; the last attempt failed: {}", payment.last)
                };
                payment.given_up = Some(PaymentFailure::NoRoute(text));
                return Vec::new();
            }
        };
        let missing = payment.total.saturating_sub(payment.in_flight());
        let left = payment.budget(&params, config).saturating_sub(payment.fees());
        if !is_sound(&route, params.payee, missing, left) {
            payment.given_up = Some(PaymentFailure::NoRoute("the route found does not fit".to_string()));
            return Vec::new();
        }
        let total = payment.total;
        register(id, payment, route, &params.recipient, total, new_session)
    }

    /// The attempt could not even leave: our own channel did not take it.
    pub(crate) fn on_refused(&mut self, attempt: &Attempt, payer: NodeId, reason: String) {
        let Some(payment) = self.payments.get_mut(&attempt.id) else { return };
        payment.parts.remove(attempt.session.as_bytes());
        payment.excluded.extend(directed(payer, &attempt.path, 0));
        payment.last = reason;
    }

    /// An HTLC of the payment was dropped with its connection before it bound anybody.
    pub(crate) fn on_unsent(&mut self, id: PaymentId, path: &Path, session: &SessionKey, payer: NodeId) {
        let Some(payment) = self.payments.get_mut(&id) else { return };
        payment.parts.remove(session.as_bytes());
        payment.excluded.extend(directed(payer, path, 0));
        payment.last = "the connection ended before the payment left".to_string();
    }

    /// An HTLC of the payment failed; returns the event to tell, unless it was told before.
    pub(crate) fn on_failed(
        &mut self,
        id: PaymentId,
        (hash, total): (PaymentHash, Msat),
        session: &SessionKey,
        notice: (ChannelId, NoticeKey),
        verdict: &Verdict,
    ) -> Option<Event> {
        let payment = self.known(id, hash, total);
        payment.attempts = payment.attempts.max(1);
        payment.parts.remove(session.as_bytes());
        if !payment.notices.insert(notice) {
            return None;
        }
        payment.excluded.extend(verdict.excluded.iter().copied());
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
        payment.paid_fees.insert(*session.as_bytes(), path.fee());
        payment.notices.insert(notice);
        if payment.phase == Phase::Pending {
            payment.phase = Phase::Sent { preimage };
        }
    }

    /// The user gives it up: what is in flight still ends by itself.
    pub(crate) fn abandon(&mut self, id: PaymentId) -> bool {
        let Some(payment) = self.payments.get_mut(&id) else { return false };
        if payment.phase == Phase::Pending && payment.given_up.is_none() {
            payment.given_up = Some(PaymentFailure::Abandoned);
            payment.asking = false;
        }
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
        if !payment.is_acknowledged || !payment.parts.is_empty() {
            return None;
        }
        let payment = self.payments.remove(&id)?;
        if let Some(ids) = self.by_hash.get_mut(&payment.hash) {
            ids.remove(&id);
            if ids.is_empty() {
                self.by_hash.remove(&payment.hash);
            }
        }
        Some(payment.notices.into_iter().collect())
    }

    /// All payments.
    pub(crate) fn list(&self) -> Vec<PaymentDetails> {
        let details = |(id, payment): (&PaymentId, &Payment)| PaymentDetails {
            id: *id,
            hash: payment.hash,
            amount: payment.total,
            state: match &payment.phase {
                Phase::Pending => {
                    PaymentState::Pending { attempts: payment.attempts, in_flight: payment.in_flight() }
                }
                Phase::Sent { preimage } => PaymentState::Sent { preimage: preimage.clone() },
                Phase::Failed(reason) => PaymentState::Failed(reason.clone()),
            },
        };
        self.payments.iter().map(details).collect()
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
    route: Route,
    recipient: &Recipient,
    total: Msat,
    new_session: impl Fn() -> SessionKey,
) -> Vec<Attempt> {
    let attempt = |path: Path| {
        let session = new_session();
        payment.parts.insert(*session.as_bytes(), path.clone());
        Attempt { id, hash: payment.hash, session, path, recipient: recipient.clone(), total }
    };
    route.paths.into_iter().map(attempt).collect()
}

/// Whether a route does what was asked: money leaves by it, so it is not believed.
fn is_sound(route: &Route, payee: NodeId, missing: Msat, max_fee: Msat) -> bool {
    let delivered = Msat::checked_sum(route.paths.iter().map(Path::delivered));
    let sent = Msat::checked_sum(route.paths.iter().map(Path::sent));
    let falls = |path: &Path| {
        path.hops.windows(2).all(|pair| match pair {
            [before, after] => before.amount >= after.amount && before.expiry >= after.expiry,
            _ => true,
        })
    };
    let arrives = |path: &Path| {
        path.hops.last().is_some_and(|hop| hop.node == payee && hop.amount > Msat::ZERO) && falls(path)
    };
    match (delivered, sent) {
        (Some(delivered), Some(sent)) => {
            delivered == missing
                && sent.saturating_sub(delivered) <= max_fee
                && route.paths.iter().all(arrives)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use lightning_traits::id::{HtlcId, ShortChannelId};
    use lightning_traits::payment::PaymentSecret;
    use lightning_traits::route::{PathOutcome, RouteHop};
    use lightning_traits::units::CltvExpiry;

    const ID: PaymentId = PaymentId([1; 32]);
    const US: NodeId = NodeId([2; 33]);
    const PAYEE: NodeId = NodeId([3; 33]);

    fn config() -> PaymentConfig {
        PaymentConfig { max_attempts: 3, ..PaymentConfig::default() }
    }

    fn params(hash: u8) -> PayParams {
        PayParams {
            payee: PAYEE,
            amount: Msat::new(1_000),
            hash: PaymentHash([hash; 32]),
            recipient: recipient(),
            final_cltv_delta: CltvDelta::new(18),
            hints: Vec::new(),
            max_fee: Some(Msat::new(100)),
            max_parts: 2,
        }
    }

    fn recipient() -> Recipient {
        Recipient { secret: PaymentSecret::new([5; 32]), metadata: None }
    }

    fn path(amount: u64, fee: u64, scid: u64) -> Path {
        let hop = |node, amount, scid| RouteHop {
            node,
            scid: ShortChannelId(scid),
            amount: Msat::new(amount),
            expiry: CltvExpiry::new(100),
        };
        Path { hops: vec![hop(NodeId([4; 33]), amount + fee, scid), hop(PAYEE, amount, scid + 1)] }
    }

    fn route(paths: Vec<Path>) -> Result<Route, NoRoute> {
        Ok(Route { paths })
    }

    fn sessions() -> impl Fn() -> SessionKey {
        let counter = core::cell::Cell::new(0);
        move || {
            counter.set(counter.get() + 1);
            SessionKey::new([counter.get(); 32])
        }
    }

    fn notice(htlc: u64) -> (ChannelId, NoticeKey) {
        (ChannelId([6; 32]), NoticeKey::Settled { htlc: HtlcId(htlc) })
    }

    fn verdict(refused: bool) -> Verdict {
        Verdict {
            report: PathOutcome::Unreadable,
            excluded: vec![DirectedChannel { scid: ShortChannelId(8), from: US }],
            channel: None,
            refused,
            text: "x".to_string(),
        }
    }

    const WHAT: (PaymentHash, Msat) = (PaymentHash([1; 32]), Msat::new(1_000));

    fn begun() -> Payments {
        let mut payments = Payments::default();
        payments.begin(ID, params(1)).unwrap();
        payments
    }

    fn ask(payments: &mut Payments) -> RouteQuery {
        match payments.next(ID, &config(), US) {
            Next::Ask(query) => query,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_second_begin_with_the_id_or_the_hash_is_refused() {
        let mut payments = begun();
        assert_eq!(payments.begin(ID, params(2)), Err(PayError::Duplicate(ID)));
        let other = PaymentId([9; 32]);
        assert_eq!(payments.begin(other, params(1)), Err(PayError::SameHash(PaymentHash([1; 32]))));
        payments.begin(other, params(2)).unwrap();
        let nothing = PayParams { amount: Msat::ZERO, ..params(3) };
        assert_eq!(payments.begin(PaymentId([8; 32]), nothing), Err(PayError::Nothing));
    }

    #[test]
    fn a_failed_part_is_asked_for_again_without_what_failed() {
        let mut payments = begun();
        let first = ask(&mut payments);
        assert_eq!((first.amount, first.max_fee), (Msat::new(1_000), Msat::new(100)));
        assert_eq!(payments.next(ID, &config(), US), Next::Wait);
        let paths = vec![path(600, 10, 20), path(400, 5, 30)];
        let attempts = payments.on_route(ID, route(paths), &config(), sessions());
        assert_eq!(attempts.len(), 2);
        assert_eq!(payments.next(ID, &config(), US), Next::Wait);
        let told = payments.on_failed(ID, WHAT, &attempts[0].session, notice(0), &verdict(false));
        assert!(matches!(told, Some(Event::AttemptFailed { .. })));
        let again = ask(&mut payments);
        assert_eq!((again.amount, again.max_fee), (Msat::new(600), Msat::new(95)));
        assert_eq!(again.excluded.len(), 1);
    }

    #[test]
    fn a_payment_fails_only_once_nothing_is_in_flight() {
        let mut payments = begun();
        ask(&mut payments);
        let paths = vec![path(600, 0, 20), path(400, 0, 30)];
        let attempts = payments.on_route(ID, route(paths), &config(), sessions());
        payments.on_failed(ID, WHAT, &attempts[0].session, notice(0), &verdict(true));
        assert_eq!(payments.next(ID, &config(), US), Next::Wait);
        payments.on_failed(ID, WHAT, &attempts[1].session, notice(1), &verdict(true));
        let Next::Tell(Event::PaymentFailed { reason, .. }) = payments.next(ID, &config(), US) else {
            panic!()
        };
        assert_eq!(reason, PaymentFailure::RefusedByPayee("x".to_string()));
        assert_eq!(payments.next(ID, &config(), US), Next::Wait);
        assert_eq!(payments.release(ID), None);
        payments.acknowledged(ID);
        assert_eq!(payments.release(ID), Some(vec![notice(0), notice(1)]));
        payments.begin(ID, params(1)).unwrap();
    }

    #[test]
    fn a_sent_payment_keeps_its_notices_until_its_last_part_has_ended() {
        let mut payments = begun();
        ask(&mut payments);
        let paths = vec![path(600, 10, 20), path(400, 5, 30)];
        let attempts = payments.on_route(ID, route(paths), &config(), sessions());
        let preimage = Preimage::new([7; 32]);
        let (one, two) = (&attempts[0], &attempts[1]);
        payments.on_fulfilled(ID, WHAT, &one.session, &one.path, notice(0), preimage.clone());
        let Next::Tell(Event::PaymentSent { fee, amount, .. }) = payments.next(ID, &config(), US) else {
            panic!()
        };
        assert_eq!((amount, fee), (Msat::new(1_000), Msat::new(15)));
        payments.acknowledged(ID);
        assert_eq!(payments.release(ID), None);
        payments.on_fulfilled(ID, WHAT, &two.session, &two.path, notice(1), preimage);
        assert_eq!(payments.next(ID, &config(), US), Next::Wait);
        assert_eq!(payments.release(ID), Some(vec![notice(0), notice(1)]));
    }

    #[test]
    fn routes_that_do_not_fit_are_not_taken() {
        let wrong = [
            vec![path(999, 0, 20)],
            vec![path(1_001, 0, 20)],
            vec![path(1_000, 101, 20)],
            vec![path(500, 60, 20), path(500, 60, 30)],
            vec![],
        ];
        for paths in wrong {
            let mut payments = begun();
            ask(&mut payments);
            assert!(payments.on_route(ID, route(paths), &config(), sessions()).is_empty());
            assert!(matches!(payments.next(ID, &config(), US), Next::Tell(Event::PaymentFailed { .. })));
        }
    }

    #[test]
    fn after_a_restart_nothing_is_sent_and_a_fulfilment_wins_over_a_failure() {
        let mut payments = Payments::default();
        payments.freeze(true);
        payments.restore_intent(ID, WHAT.0, WHAT.1);
        let session = SessionKey::new([1; 32]);
        payments.on_failed(ID, WHAT, &session, notice(0), &verdict(false));
        assert_eq!(payments.next(ID, &config(), US), Next::Wait);
        let other = SessionKey::new([2; 32]);
        payments.on_fulfilled(ID, WHAT, &other, &path(400, 0, 5), notice(1), Preimage::new([7; 32]));
        payments.freeze(false);
        assert!(matches!(payments.next(ID, &config(), US), Next::Tell(Event::PaymentSent { .. })));

        let mut lost = Payments::default();
        lost.restore_intent(ID, WHAT.0, WHAT.1);
        let Next::Tell(Event::PaymentFailed { reason, .. }) = lost.next(ID, &config(), US) else { panic!() };
        assert_eq!(reason, PaymentFailure::LostBeforeSending);
    }

    #[test]
    fn attempts_run_out_and_an_abandoned_payment_is_not_tried_again() {
        let mut payments = begun();
        for htlc in 0..3 {
            ask(&mut payments);
            let attempts = payments.on_route(ID, route(vec![path(1_000, 0, 20)]), &config(), sessions());
            payments.on_failed(ID, WHAT, &attempts[0].session, notice(htlc), &verdict(false));
        }
        let Next::Tell(Event::PaymentFailed { reason, .. }) = payments.next(ID, &config(), US) else {
            panic!()
        };
        assert_eq!(reason, PaymentFailure::RetriesExhausted { attempts: 3, last: "x".to_string() });

        let mut payments = begun();
        ask(&mut payments);
        assert!(payments.abandon(ID));
        assert!(payments.on_route(ID, route(vec![path(1_000, 0, 20)]), &config(), sessions()).is_empty());
        let Next::Tell(Event::PaymentFailed { reason, .. }) = payments.next(ID, &config(), US) else {
            panic!()
        };
        assert_eq!(reason, PaymentFailure::Abandoned);
        assert!(!payments.abandon(PaymentId([7; 32])));
    }
}
