//! Probes: from the question to what was found out.
use alloc::string::{String, ToString as _};

use lightning_traits::event::{Event, ProbeResult};
use lightning_traits::id::{ChannelId, PaymentId};
use lightning_traits::interface::{EntropySource as _, Environment, RouteFinder as _};
use lightning_traits::payment::{PaymentHash, PaymentSecret};
use lightning_traits::route::{NoRoute, Path, Route, RouteAnswer, RouteQuery, RouteReport};
use lightning_traits::units::Msat;

use super::ChannelManager;
use crate::commitments::{NoticeKey, Outcome, SessionKey};
use crate::payment::onion::{self, Recipient};
use crate::payment::outbound::Attempt;
use crate::payment::verdict::{self, Judge, Returned};
use crate::payment::{PayError, ProbeParams};

impl<E: Environment> ChannelManager<E> {
    /// Finds out whether a path carries an amount, by an HTLC that looks like a payment and that nobody can claim. The route
    /// finder learns from it, and the user is told by [`ProbeEnded`](lightning_traits::event::Event::ProbeEnded), once, under a
    /// name that no payment has.
    ///
    /// # Errors
    /// [`PayError`].
    pub fn send_probe(&self, id: PaymentId, params: ProbeParams) -> Result<(), PayError> {
        let query = {
            let mut table = self.table.lock();
            self.check_probe(table.probes.contains(id) || table.payments.contains(id), id, params.amount)?;
            table.probes.ask(id);
            RouteQuery {
                max_fee: params.max_fee,
                final_cltv_delta: params.final_cltv_delta,
                max_total_cltv: self.config.payment.max_total_cltv,
                height: table.now.tip.height,
                hints: params.hints,
                ..RouteQuery::new(id, self.node, params.payee, params.amount)
            }
        };
        if let RouteAnswer::Ready(answer) = self.ask(query) {
            self.on_probe_route(id, answer);
        }
        self.run();
        Ok(())
    }

    /// The same along a given path.
    ///
    /// # Errors
    /// [`PayError`].
    pub fn probe_along(&self, id: PaymentId, path: Path) -> Result<(), PayError> {
        {
            let mut table = self.table.lock();
            let is_known = table.probes.contains(id) || table.payments.contains(id);
            self.check_probe(is_known, id, path.delivered())?;
            table.probes.send(id);
        }
        self.probe(id, path);
        self.run();
        Ok(())
    }

    fn check_probe(&self, is_known: bool, id: PaymentId, amount: Msat) -> Result<(), PayError> {
        if is_known {
            return Err(PayError::Duplicate(id));
        }
        if amount == Msat::ZERO { Err(PayError::Nothing) } else { Ok(()) }
    }

    /// An answer of the route finder that is for a probe.
    pub(super) fn on_probe_route(&self, id: PaymentId, answer: Result<Route, NoRoute>) {
        if !self.table.lock().probes.answered(id) {
            return;
        }
        let path = answer.map(|route| route.paths.into_iter().next());
        match path {
            Ok(Some(path)) if !path.hops.is_empty() => self.probe(id, path),
            Ok(_) => self.end_probe(id, None, ProbeResult::NoRoute("the route is empty".to_string())),
            Err(reason) => self.end_probe(id, None, ProbeResult::NoRoute(reason.to_string())),
        }
    }

    fn probe(&self, id: PaymentId, path: Path) {
        let keys = self.env.keys();
        let attempt = Attempt {
            id,
            hash: self.secrets.probe(id),
            session: onion::session_key(keys),
            // A payee that looks for a secret finds one, as in any payment.
            recipient: Recipient::invoice(PaymentSecret::new(keys.bytes32())),
            total: path.delivered(),
            path,
        };
        if let Err(failure) = self.try_attempt(&attempt) {
            let channel = attempt.path.hops.first().map(|hop| hop.scid);
            self.end_probe(id, Some(attempt.path), ProbeResult::Failed { channel, failure });
        }
    }

    /// Whether an HTLC of ours belongs to a probe, though it be of an earlier run.
    pub(crate) fn is_probe(&self, id: PaymentId, hash: PaymentHash) -> bool {
        self.secrets.probe(id) == hash
    }

    /// The HTLC of a probe has ended.
    pub(super) fn on_probe_settled(
        &self,
        (channel, notice): (ChannelId, NoticeKey),
        (id, hash): (PaymentId, PaymentHash),
        path: &Path,
        session: &SessionKey,
        outcome: &Outcome,
    ) {
        let judge = Judge { secp: &self.secp, chain: self.chain, payer: self.node };
        let Returned { verdict, .. } = verdict::judge(&judge, path, session, None, outcome);
        // The payee has said that it does not know the payment; somebody who paid for it would have arrived too.
        let result = match verdict {
            Some(verdict) => {
                let report = RouteReport { hash, path: path.clone(), outcome: verdict.report };
                self.env.routes().report(report);
                if verdict.refused {
                    ProbeResult::Arrived
                } else {
                    ProbeResult::Failed { channel: verdict.channel, failure: verdict.text }
                }
            }
            None => ProbeResult::Arrived,
        };
        self.end_probe(id, Some(path.clone()), result);
        // Whoever loses a probe's answer in a crash asks again.
        self.notice_done(channel, notice);
    }

    /// The HTLC of a probe was dropped before it bound anybody; `false` when it is none of a probe.
    pub(super) fn on_probe_unsent(&self, id: PaymentId, path: &Path) -> bool {
        if !self.table.lock().probes.contains(id) {
            return false;
        }
        let channel = path.hops.first().map(|hop| hop.scid);
        let failure = String::from("the connection ended before the probe left");
        self.end_probe(id, Some(path.clone()), ProbeResult::Failed { channel, failure });
        true
    }

    /// Probes that nobody finds a route for.
    pub(super) fn end_late_probes(&self) {
        let late = self.table.lock().probes.on_tick();
        for id in late {
            self.end_probe(
                id,
                None,
                ProbeResult::NoRoute("no answer to the question for a route".to_string()),
            );
        }
    }

    fn end_probe(&self, id: PaymentId, path: Option<Path>, result: ProbeResult) {
        self.table.lock().probes.end(id);
        self.tell_once(Event::ProbeEnded { id, path, result });
    }
}
