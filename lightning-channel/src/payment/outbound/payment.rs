//! One payment of ours: what is in flight of it, what it asks next, how it ends.
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use lightning_traits::config::PaymentConfig;
use lightning_traits::event::{Event, PaymentFailure};
use lightning_traits::id::{ChannelId, NodeId, PaymentId};
use lightning_traits::payment::{PaymentHash, Preimage};
use lightning_traits::route::{NoRoute, Path, Route, RouteQuery};
use lightning_traits::sphinx::SharedSecret;
use lightning_traits::units::{BlockHeight, CltvDelta, Msat};

use super::Next;
use super::learnt::{Learnt, in_use};
use crate::commitments::NoticeKey;
use crate::payment::params::PayParams;
use crate::recover::Plan;

/// Blocks that may come in while a payment is under way, beyond what the payee asks for.
const BLOCKS_UNDER_WAY: u16 = 3;
/// Ticks after which a question for a route is asked again: whoever was to answer may have lost it.
const ANSWER_TICKS: u32 = 2;
/// Ticks after a restart in which no way is no reason to give up: peers are not connected yet.
const PATIENCE_AFTER_RESTART: u32 = 3;

/// Where a payment is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Pending,
    /// Nothing of it is in flight and nothing more is tried; told once the manager's record says so, lest a restart went on
    /// with what its user believes to have failed (RELIABILITY F12).
    Failing {
        reason: PaymentFailure,
        is_noted: bool,
    },
    Sent {
        preimage: Preimage,
    },
    Failed(PaymentFailure),
}

impl Phase {
    /// Whether its user waits for the end.
    pub(super) const fn is_open(&self) -> bool {
        matches!(self, Self::Pending | Self::Failing { .. })
    }
}

/// A question for a route that is open.
#[derive(Clone, Copy, Debug)]
struct Asked {
    ticks: u32,
}

/// A part that is in flight.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) path: Path,
    /// The secrets of its onion, unless it was sent before a restart.
    pub(super) secrets: Option<Vec<SharedSecret>>,
}

/// A part that arrived.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrived {
    pub(super) delivered: Msat,
    pub(super) fee: Msat,
}

#[derive(Clone, Debug)]
pub(super) struct Payment {
    pub(super) hash: PaymentHash,
    pub(super) total: Msat,
    /// What retries need: absent for a given route, and when the record that had it was lost.
    pub(super) retry: Option<PayParams>,
    pub(super) phase: Phase,
    /// What is in flight, by session key.
    pub(super) parts: BTreeMap<[u8; 32], Part>,
    /// Parts that arrived.
    pub(super) arrived: BTreeMap<[u8; 32], Arrived>,
    /// Notices that parts arrived, not yet done with.
    pub(super) fulfilled: BTreeSet<(ChannelId, NoticeKey)>,
    /// Notices that parts failed, not yet done with.
    pub(super) failed: BTreeSet<(ChannelId, NoticeKey)>,
    /// Such notices that are done with, as soon as a disk says so.
    pub(super) going: BTreeSet<(ChannelId, NoticeKey)>,
    pub(super) attempts: u32,
    pub(super) learnt: Learnt,
    asked: Option<Asked>,
    /// For how many ticks more it waits for peers.
    patience: u32,
    /// There was no way; it is looked for again when a peer has come, or time has passed.
    pub(super) is_parked: bool,
    ticks: u32,
    /// Why nothing more is tried.
    pub(super) given_up: Option<PaymentFailure>,
    pub(super) last: String,
    /// The terminal event was made.
    pub(super) told: bool,
    pub(super) is_acknowledged: bool,
}

impl Payment {
    pub(super) fn new(hash: PaymentHash, total: Msat) -> Self {
        Self {
            hash,
            total,
            retry: None,
            phase: Phase::Pending,
            parts: BTreeMap::new(),
            arrived: BTreeMap::new(),
            fulfilled: BTreeSet::new(),
            failed: BTreeSet::new(),
            going: BTreeSet::new(),
            attempts: 0,
            learnt: Learnt::default(),
            asked: None,
            patience: 0,
            is_parked: false,
            ticks: 0,
            given_up: None,
            last: String::new(),
            told: false,
            is_acknowledged: false,
        }
    }

    /// What the manager's record keeps of it.
    pub(super) fn plan(&self) -> Option<Plan> {
        let given_up = match &self.phase {
            Phase::Failing { reason, .. } | Phase::Failed(reason) => Some(reason.clone()),
            Phase::Pending | Phase::Sent { .. } => self.given_up.clone(),
        };
        let plan = |params: &PayParams| Plan {
            params: params.clone(),
            attempts: self.attempts,
            ticks: self.ticks,
            given_up,
        };
        self.retry.as_ref().map(plan)
    }

    /// Goes on as the manager's record says.
    pub(super) fn resume(&mut self, plan: Plan) {
        let Plan { params, attempts, ticks, given_up } = plan;
        self.retry = Some(params);
        self.attempts = self.attempts.max(attempts);
        self.ticks = ticks;
        self.patience = PATIENCE_AFTER_RESTART;
        self.given_up = given_up;
    }

    /// The paths that are in flight.
    pub(super) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.parts.values().map(|part| &part.path)
    }

    pub(super) fn in_flight(&self) -> Msat {
        self.paths().map(Path::delivered).fold(Msat::ZERO, Msat::saturating_add)
    }

    /// What the parts in flight cost.
    pub(super) fn fees(&self) -> Msat {
        self.paths().map(Path::fee).fold(Msat::ZERO, Msat::saturating_add)
    }

    /// What the whole payment costs, once a part has arrived: all parts that are in flight are the payee's by then, or as good
    /// as. `None` when a restart does not find all parts: notices of some were done with before.
    pub(super) fn cost(&self) -> Option<Msat> {
        let arrived = self.arrived.values();
        let delivered =
            arrived.clone().map(|part| part.delivered).fold(self.in_flight(), Msat::saturating_add);
        let fee = arrived.map(|part| part.fee).fold(self.fees(), Msat::saturating_add);
        (delivered >= self.total).then_some(fee)
    }

    /// What is neither there nor on its way. BOLT 4: "MUST NOT send another HTLC if the total `amt_to_forward` of the HTLC
    /// set is already greater or equal to `total_msat`".
    fn missing(&self) -> Msat {
        self.total.saturating_sub(self.in_flight())
    }

    /// What fees may still cost.
    fn budget(&self, params: &PayParams, config: &PaymentConfig) -> Msat {
        let usual = params.amount.checked_millionths(config.max_fee_millionths).unwrap_or(Msat::MAX);
        let all = params.max_fee.unwrap_or_else(|| usual.max(config.min_fee_budget));
        all.saturating_sub(self.fees())
    }

    /// Questions for a route that may be asked: each part more may fail a few times.
    fn max_attempts(&self, config: &PaymentConfig) -> u32 {
        let more = self.retry.as_ref().map_or(0, |params| u32::from(params.max_parts.saturating_sub(1)));
        config.max_attempts.saturating_add(more.saturating_mul(2))
    }

    fn max_parts(&self, params: &PayParams) -> u16 {
        let under_way = u16::try_from(self.parts.len()).unwrap_or(u16::MAX);
        params.max_parts.saturating_sub(under_way).max(1)
    }

    /// Whether the payment waits: for an answer, for HTLCs in flight, or for nothing since it is over.
    pub(super) fn waits(&self) -> bool {
        self.phase != Phase::Pending || self.asked.is_some() || self.missing() == Msat::ZERO
    }

    /// Tells that it has failed, once that may be told.
    pub(super) fn tell_failed(&mut self, id: PaymentId) -> Next {
        let Phase::Failing { reason, is_noted: true } = &self.phase else { return Next::Wait };
        let reason = reason.clone();
        self.phase = Phase::Failed(reason.clone());
        self.told = true;
        Next::Tell(Event::PaymentFailed { id, hash: self.hash, reason })
    }

    /// The question for what is missing, if more may be tried.
    pub(super) fn ask(
        &mut self,
        id: PaymentId,
        config: &PaymentConfig,
        payer: NodeId,
        height: BlockHeight,
    ) -> Option<RouteQuery> {
        if self.given_up.is_some() || self.attempts >= self.max_attempts(config) {
            return None;
        }
        let params = self.retry.as_ref()?;
        let delta = params.final_cltv_delta.get().saturating_add(BLOCKS_UNDER_WAY);
        let mut query = RouteQuery {
            max_fee: self.budget(params, config),
            final_cltv_delta: CltvDelta::new(delta),
            max_total_cltv: config.max_total_cltv,
            height,
            max_parts: self.max_parts(params),
            hints: params.hints.clone(),
            ..RouteQuery::new(id, payer, params.payee, self.missing())
        };
        self.learnt.put(&mut query, in_use(payer, self.paths()));
        self.asked = Some(Asked { ticks: 0 });
        self.attempts = self.attempts.saturating_add(1);
        Some(query)
    }

    /// Takes an answer; returns the paths to send over.
    pub(super) fn answer(
        &mut self,
        answer: Result<Route, NoRoute>,
        config: &PaymentConfig,
        height: BlockHeight,
    ) -> Vec<Path> {
        if self.phase != Phase::Pending || self.asked.take().is_none() || self.given_up.is_some() {
            return Vec::new();
        }
        let Some(params) = &self.retry else { return Vec::new() };
        let reason = match answer {
            Err(_) if self.patience > 0 => {
                // Not asked of all who will be there.
                self.attempts = self.attempts.saturating_sub(1);
                self.is_parked = true;
                return Vec::new();
            }
            Ok(route) if self.is_sound(&route, params, config, height) => return route.paths,
            Ok(_) => "the route found does not fit".to_string(),
            Err(reason) if self.last.is_empty() => reason.to_string(),
            Err(reason) => format!("{reason}; the last attempt failed: {}", self.last),
        };
        self.given_up = Some(PaymentFailure::NoRoute(reason));
        Vec::new()
    }

    /// Whether a route does what was asked: money leaves by it, so it is not believed.
    ///
    /// It may deliver less than what is missing, since a part may have failed after the question; the rest is asked for next.
    fn is_sound(
        &self,
        route: &Route,
        params: &PayParams,
        config: &PaymentConfig,
        height: BlockHeight,
    ) -> bool {
        let delivered = Msat::checked_sum(route.paths.iter().map(Path::delivered));
        let sent = Msat::checked_sum(route.paths.iter().map(Path::sent));
        let (Some(delivered), Some(sent)) = (delivered, sent) else { return false };
        let arrives = |path: &Path| {
            let (Some(first), Some(last)) = (path.hops.first(), path.hops.last()) else { return false };
            last.node == params.payee
                && last.amount > Msat::ZERO
                && last.expiry.blocks_left(height) >= u32::from(params.final_cltv_delta.get())
                && first.expiry.blocks_left(height) <= config.max_total_cltv
                && falls(path)
        };
        delivered <= self.missing()
            && !route.paths.is_empty()
            && route.paths.len() <= usize::from(self.max_parts(params))
            && sent.saturating_sub(delivered) <= self.budget(params, config)
            && route.paths.iter().all(arrives)
    }

    /// A tick has passed. `true` when the payment has to be looked at.
    pub(super) fn on_tick(&mut self) -> bool {
        if self.phase != Phase::Pending || self.given_up.is_some() {
            return false;
        }
        self.ticks = self.ticks.saturating_add(1);
        self.patience = self.patience.saturating_sub(1);
        let max_ticks = self.retry.as_ref().and_then(|params| params.max_ticks);
        if max_ticks.is_some_and(|max| self.ticks >= max) {
            self.asked = None;
            self.is_parked = false;
            self.given_up = Some(PaymentFailure::TimedOut { last: self.last.clone() });
            return true;
        }
        let Some(asked) = &mut self.asked else { return false };
        asked.ticks = asked.ticks.saturating_add(1);
        if asked.ticks < ANSWER_TICKS {
            return false;
        }
        self.asked = None;
        self.last = "no answer to the question for a route".to_string();
        true
    }

    /// Nothing more is tried.
    pub(super) fn abandon(&mut self) {
        if self.phase == Phase::Pending && self.given_up.is_none() {
            self.given_up = Some(PaymentFailure::Abandoned);
            self.asked = None;
            self.is_parked = false;
        }
    }

    /// Why it fails, once nothing is in flight and nothing more is tried.
    pub(super) fn failure(&self, config: &PaymentConfig) -> PaymentFailure {
        let exhausted = |attempts| PaymentFailure::RetriesExhausted { attempts, last: self.last.clone() };
        match &self.given_up {
            Some(reason) => reason.clone(),
            None if self.attempts >= self.max_attempts(config) => exhausted(self.attempts),
            None if self.attempts == 0 && self.last.is_empty() => PaymentFailure::LostBeforeSending,
            None => exhausted(self.attempts.max(1)),
        }
    }
}

/// Whether amounts and expiries fall on the way: nobody pays for forwarding.
fn falls(path: &Path) -> bool {
    path.hops.windows(2).all(|pair| match pair {
        [before, after] => before.amount >= after.amount && before.expiry >= after.expiry,
        _ => true,
    })
}
