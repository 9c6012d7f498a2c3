//! Payments of ours: from the command to the terminal event.
use alloc::format;
use alloc::string::{String, ToString as _};

use lightning_traits::event::Event;
use lightning_traits::id::{ChannelId, PaymentId};
use lightning_traits::interface::{Environment, RouteFinder as _};
use lightning_traits::payment::PaymentHash;
use lightning_traits::route::{NoRoute, Path, PathOutcome, Route, RouteAnswer, RouteQuery, RouteReport};
use lightning_traits::units::Msat;

use super::ChannelManager;
use super::events::Source;
use super::table::{Failing, Finishing};
use super::work::Work;
use crate::commitments::{NoticeKey, Origin, Outcome, OutgoingHtlc, SessionKey};
use crate::payment::onion::{self, Recipient};
use crate::payment::outbound::{Attempt, Next};
use crate::payment::verdict::{self, Judge, Returned};
use crate::payment::{PayError, PayParams};

impl<E: Environment> ChannelManager<E> {
    /// Pays. The end comes as an event, [`PaymentSent`](lightning_traits::event::Event::PaymentSent) or
    /// [`PaymentFailed`](lightning_traits::event::Event::PaymentFailed).
    /// Failed parts are tried again over other channels while attempts and fees last, after a restart as well, if the record of
    /// [`take_record`](Self::take_record) was kept. That a payment failed is told once that record says so: so
    /// `take_record` is called after it until it gives nothing.
    ///
    /// # Errors
    /// [`PayError`]; with [`PayError::Duplicate`] the payment of that id goes on as it is.
    pub fn pay(&self, id: PaymentId, params: PayParams) -> Result<(), PayError> {
        {
            let mut table = self.table.lock();
            if table.probes.contains(id) {
                return Err(PayError::Duplicate(id));
            }
            table.payments.begin(id, params)?;
            table.records.is_due = true;
            table.work.push_back(Work::Advance(id));
        }
        self.run();
        Ok(())
    }

    /// Pays along a given route, once.
    ///
    /// # Errors
    /// [`PayError`].
    pub fn send_along(
        &self,
        id: PaymentId,
        hash: PaymentHash,
        route: Route,
        recipient: &Recipient,
    ) -> Result<(), PayError> {
        let keys = self.env.keys();
        let attempts = {
            let mut table = self.table.lock();
            let begun =
                table.payments.begin_along(id, hash, route, recipient, || onion::session_key(keys))?;
            table.records.is_due = true;
            begun
        };
        for attempt in attempts {
            self.attempt(attempt);
        }
        self.queue([Work::Advance(id)]);
        self.run();
        Ok(())
    }

    /// Gives a payment up: nothing more is tried, but what is in flight may still arrive. `false` when it is not known.
    pub fn abandon(&self, id: PaymentId) -> bool {
        let known = self.table.lock().payments.abandon(id);
        self.queue([Work::Advance(id)]);
        self.run();
        known
    }

    /// Does what a payment needs next.
    pub(super) fn advance(&self, id: PaymentId) {
        loop {
            let next = {
                let mut table = self.table.lock();
                let height = table.now.tip.height;
                let next = table.payments.next(id, &self.config.payment, self.node, height);
                match next {
                    // Attempts count over restarts.
                    Next::Ask(_) => table.records.is_due = true,
                    Next::Note => {
                        let record = table.records.made.saturating_add(1);
                        table.records.is_due = true;
                        table.records.failing.push(Failing { record, id });
                    }
                    Next::Park | Next::Tell(_) | Next::Wait => {}
                }
                next
            };
            match next {
                Next::Wait | Next::Note => return,
                Next::Park => {
                    self.park(Work::Advance(id));
                    return;
                }
                Next::Tell(event) => {
                    self.tell(event, Source::Payment { id });
                    self.release(id);
                    return;
                }
                Next::Ask(query) => match self.ask(*query) {
                    RouteAnswer::InProgress => return,
                    RouteAnswer::Ready(answer) => self.take_route(id, answer),
                },
            }
        }
    }

    /// Asks for a route over the channels that can send now.
    pub(super) fn ask(&self, mut query: RouteQuery) -> RouteAnswer {
        query.first_hops = self.first_hops();
        if query.first_hops.is_empty() {
            // Whoever is asked without any would look for channels of ours in gossip.
            let why = NoRoute::NoFirstHop { needed: query.amount, sendable: Msat::ZERO };
            return RouteAnswer::Ready(Err(why));
        }
        self.env.routes().find_route(query)
    }

    /// A late answer of the route finder.
    pub(super) fn on_route(&self, id: PaymentId, answer: Result<Route, NoRoute>) {
        if self.table.lock().probes.contains(id) {
            self.on_probe_route(id, answer);
            return;
        }
        self.take_route(id, answer);
        self.queue([Work::Advance(id)]);
    }

    fn take_route(&self, id: PaymentId, answer: Result<Route, NoRoute>) {
        let keys = self.env.keys();
        let attempts = {
            let mut table = self.table.lock();
            let height = table.now.tip.height;
            table.payments.on_route(id, answer, &self.config.payment, height, || onion::session_key(keys))
        };
        for attempt in attempts {
            self.attempt(attempt);
        }
    }

    /// Offers one part; a refusal goes to the payment.
    fn attempt(&self, attempt: Attempt) {
        if let Err(reason) = self.try_attempt(&attempt) {
            self.table.lock().payments.on_refused(&attempt, self.node, reason);
        }
    }

    /// Offers one part.
    pub(super) fn try_attempt(&self, attempt: &Attempt) -> Result<(), String> {
        let Attempt { id, hash, session, path, recipient, total } = attempt;
        let (onion, secrets) = onion::build(&self.secp, session, path, recipient, *total, *hash)
            .map_err(|error| error.to_string())?;
        self.table.lock().payments.on_built(attempt, secrets);
        let first = path.hops.first().ok_or("the path has no hops")?;
        let htlc = OutgoingHtlc {
            amount: first.amount,
            hash: *hash,
            expiry: first.expiry,
            onion,
            path_key: None,
            origin: Origin::Payment {
                id: *id,
                path: path.clone(),
                session_key: session.clone(),
                total: *total,
            },
        };
        let slots = self.table.lock().routes_over(first.scid);
        let mut reason = None;
        // Any channel with the first node will do.
        for slot in slots.into_iter().filter(|slot| slot.peer == first.node) {
            match self.step(&slot, |channel, cx| channel.offer_htlc(cx, htlc.clone())) {
                Ok(_) => {
                    self.sign_later(&slot);
                    return Ok(());
                }
                Err(error) => {
                    reason.get_or_insert(error);
                }
            }
        }
        Err(match reason {
            Some(error) => format!("our own channel does not take it: {error}"),
            None => format!("we have no channel {} with {}", first.scid, first.node),
        })
    }

    /// An HTLC of a payment ended.
    pub(super) fn on_part_settled(
        &self,
        notice: (ChannelId, NoticeKey),
        (id, hash, total): (PaymentId, PaymentHash, Msat),
        path: &Path,
        session: &SessionKey,
        outcome: &Outcome,
    ) {
        let is_payment = self.table.lock().payments.is_known(id, hash);
        if !is_payment && self.is_probe(id, hash) {
            self.on_probe_settled(notice, (id, hash), path, session, outcome);
            return;
        }
        let judge = Judge { secp: &self.secp, chain: self.chain, payer: self.node };
        let secrets = self.table.lock().payments.take_secrets(id, session);
        let Returned { verdict, hold_times } = verdict::judge(&judge, path, session, secrets, outcome);
        let (report, event) = {
            let mut table = self.table.lock();
            match (verdict, outcome) {
                (Some(verdict), _) => {
                    let payments = &mut table.payments;
                    let event = payments.on_failed(id, (hash, total), session, notice, (self.node, &verdict));
                    (verdict.report, event)
                }
                (None, Outcome::Fulfilled { preimage, .. }) => {
                    let preimage = preimage.clone();
                    table.payments.on_fulfilled(id, (hash, total), session, path, notice, preimage);
                    (PathOutcome::Delivered, None)
                }
                (None, _) => return,
            }
        };
        self.env.routes().report(RouteReport { hash, path: path.clone(), outcome: report });
        if hold_times.iter().any(|time| *time > 0) {
            self.tell_once(Event::HoldTimes { id, path: path.clone(), hold_times });
        }
        if let Some(event) = event {
            self.tell_once(event);
        }
        self.release(id);
        self.queue([Work::Advance(id)]);
    }

    /// An HTLC of a payment was dropped before it bound anybody.
    pub(super) fn on_part_unsent(&self, id: PaymentId, path: &Path, session: &SessionKey) {
        if self.on_probe_unsent(id, path) {
            return;
        }
        self.table.lock().payments.on_unsent(id, path, session, self.node);
        self.queue([Work::Advance(id)]);
    }

    /// The user knows how a payment ended.
    pub(super) fn on_payment_acknowledged(&self, id: PaymentId) {
        self.table.lock().payments.acknowledged(id);
        self.release(id);
    }

    /// Forgets failures of a payment that has arrived. Only once that is durable may the rest of its notices go: a restart that
    /// found nothing but a failure would tell that the payment failed (RELIABILITY F11).
    fn drop_failures(&self, id: PaymentId) {
        let failures = self.table.lock().payments.drop_failures(id);
        for (channel, notice) in failures {
            let slot = self.table.lock().channel(channel);
            let follows = slot
                .is_some_and(|slot| self.step(&slot, |channel, cx| channel.notice_done_reported(cx, notice)));
            if !follows {
                self.table.lock().payments.on_notice_gone((channel, notice));
            }
        }
    }

    /// A notice is gone for good.
    pub(super) fn on_notice_gone(&self, notice: (ChannelId, NoticeKey)) {
        let payment = self.table.lock().payments.on_notice_gone(notice);
        if let Some(id) = payment {
            self.release(id);
        }
    }

    /// Forgets a payment that is over. Its notices are done with once no record names it any more: else a restart from such a
    /// record would find a payment without any trace, and call it lost.
    fn release(&self, id: PaymentId) {
        self.drop_failures(id);
        let notices = {
            let mut table = self.table.lock();
            let Some(notices) = table.payments.release(id) else { return };
            table.records.is_due = true;
            if table.records.listed.contains(&id) {
                let record = table.records.made.saturating_add(1);
                table.records.finishing.push(Finishing { record, id, notices });
                return;
            }
            notices
        };
        for (channel, notice) in notices {
            self.notice_done(channel, notice);
        }
    }
}
