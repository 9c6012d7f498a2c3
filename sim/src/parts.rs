//! What the structures call: everything through a proxy.
//!
//! Channels reach monitors and routes over lines of bytes, as if these were other machines; the rest goes through
//! forwarding proxies. A route finder in between may answer late.
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use bitcoin::Transaction;
use bitcoin::consensus::serialize;
use lightning_chain_embedded::EmbeddedChain;
use lightning_monitor::{MonitorEnvironment, MonitorSet};
use lightning_router::Router;
use lightning_traits::id::{EventId, PaymentId};
use lightning_traits::interface::{
    BroadcasterInterface, ConfirmationTarget, Environment, FeeEstimator, LogRecord, Logger,
    ManyChannelMonitor, RouteFinder,
};
use lightning_traits::monitor::{
    ChannelMonitorUpdate, LateRefusal, MonitorEvent, NewMonitor, Persist, Receipt,
};
use lightning_traits::route::{NoRoute, Route, RouteAnswer, RouteQuery, RouteReport};
use lightning_traits::units::FeeratePerKw;

use crate::coins::SimCoins;
use crate::disk::SimDisk;
use crate::journal::{Boundary, Journal};
use crate::keys::SimKeys;
use crate::proxy::bytes::{NearRoutes, serve_monitors, serve_routes};
use crate::proxy::forward::Forward;

/// A line of bytes to a structure.
pub(crate) type BytesLine = Box<dyn Fn(&[u8]) -> Vec<u8>>;

/// What the chain costs, the same for all nodes, in sat/kw.
#[derive(Clone)]
pub(crate) struct SimFees {
    pub(crate) rate: Rc<Cell<u32>>,
    /// The least that is relayed: no estimate is below it.
    pub(crate) floor: Rc<Cell<u32>>,
}

impl SimFees {
    pub(crate) fn new(rate: u32) -> Self {
        Self { rate: Rc::new(Cell::new(rate)), floor: Rc::new(Cell::new(253)) }
    }
}

impl FeeEstimator for SimFees {
    fn feerate(&self, target: ConfirmationTarget) -> FeeratePerKw {
        let normal = self.rate.get().max(self.floor.get());
        let rate = match target {
            ConfirmationTarget::Urgent => normal * 2,
            ConfirmationTarget::MinimumAccepted | ConfirmationTarget::Background => self.floor.get(),
            _ => normal,
        };
        FeeratePerKw::new(rate.max(253))
    }
}

/// Sends to the chain, and remembers what was sent.
#[derive(Clone)]
pub(crate) struct SimBroadcaster {
    pub(crate) node: usize,
    pub(crate) journal: Journal,
    pub(crate) chain: EmbeddedChain,
    /// Since somebody looked last.
    pub(crate) sent: Rc<RefCell<Vec<Transaction>>>,
    /// Whether the machine is gone, and nothing leaves it.
    pub(crate) is_gone: Rc<Cell<bool>>,
}

impl BroadcasterInterface for SimBroadcaster {
    fn broadcast(&self, package: &[Transaction]) {
        if self.is_gone.get() {
            return;
        }
        self.journal.note(self.node, Boundary::Broadcasts, || serialize(&package.to_vec()));
        // Refusals are no proof of anything (RELIABILITY L7): a rebroadcast meets the chain as it is then.
        if package.len() == 1 || self.chain.submit_package(package).is_err() {
            for transaction in package {
                let _refused = self.chain.submit(transaction);
            }
        }
        self.sent.borrow_mut().extend(package.iter().cloned());
    }
}

/// Prints what a node says, when somebody wants to read it.
#[derive(Clone)]
pub(crate) struct SimLog {
    pub(crate) node: usize,
    pub(crate) journal: Journal,
}

impl Logger for SimLog {
    fn log(&self, record: &LogRecord<'_>) {
        self.journal
            .say(|| format!("    {} {:?} {}: {}", self.node, record.level, record.module, record.message));
    }
}

/// A route finder that may take its time.
pub(crate) struct Late<R> {
    inner: R,
    is_late: Rc<Cell<bool>>,
    late: RefCell<VecDeque<(PaymentId, Result<Route, NoRoute>)>>,
}

impl<R> Late<R> {
    pub(crate) fn new(inner: R, is_late: Rc<Cell<bool>>) -> Self {
        Self { inner, is_late, late: RefCell::default() }
    }
}

impl<R: RouteFinder> RouteFinder for Late<R> {
    fn find_route(&self, query: RouteQuery) -> RouteAnswer {
        let payment = query.payment;
        match self.inner.find_route(query) {
            RouteAnswer::Ready(found) if self.is_late.get() => {
                self.late.borrow_mut().push_back((payment, found));
                RouteAnswer::InProgress
            }
            answer => answer,
        }
    }

    fn next_route(&self) -> Option<(PaymentId, Result<Route, NoRoute>)> {
        if self.is_late.get() { None } else { self.late.borrow_mut().pop_front() }
    }

    fn report(&self, report: RouteReport) {
        self.inner.report(report);
    }
}

/// What monitors call.
pub(crate) struct MonitorParts {
    pub(crate) keys: Forward<SimKeys>,
    pub(crate) store: Forward<Rc<SimDisk>>,
    pub(crate) broadcaster: Forward<SimBroadcaster>,
    pub(crate) fees: Forward<SimFees>,
    pub(crate) coins: Forward<Rc<SimCoins>>,
    pub(crate) log: Forward<SimLog>,
}

impl MonitorEnvironment for MonitorParts {
    type Keys = Forward<SimKeys>;
    type Store = Forward<Rc<SimDisk>>;
    type Broadcaster = Forward<SimBroadcaster>;
    type Fees = Forward<SimFees>;
    // Blocks come whole.
    type Watch = ();
    type Coins = Forward<Rc<SimCoins>>;
    type Log = Forward<SimLog>;

    fn keys(&self) -> &Self::Keys {
        &self.keys
    }
    fn store(&self) -> &Self::Store {
        &self.store
    }
    fn broadcaster(&self) -> &Self::Broadcaster {
        &self.broadcaster
    }
    fn fees(&self) -> &Self::Fees {
        &self.fees
    }
    fn watch(&self) -> &() {
        &()
    }
    fn coins(&self) -> &Self::Coins {
        &self.coins
    }
    fn log(&self) -> &Self::Log {
        &self.log
    }
}

pub(crate) type Monitors = MonitorSet<MonitorParts>;

/// What channels call.
pub(crate) struct ChannelParts {
    pub(crate) monitors: Box<dyn ManyChannelMonitor>,
    pub(crate) keys: Forward<SimKeys>,
    pub(crate) fees: Forward<SimFees>,
    pub(crate) broadcaster: Forward<SimBroadcaster>,
    pub(crate) routes: Late<NearRoutes<BytesLine>>,
    pub(crate) log: Forward<SimLog>,
}

impl Environment for ChannelParts {
    type Monitors = Box<dyn ManyChannelMonitor>;
    type Keys = Forward<SimKeys>;
    type Fees = Forward<SimFees>;
    type Broadcaster = Forward<SimBroadcaster>;
    type Routes = Late<NearRoutes<BytesLine>>;
    type Log = Forward<SimLog>;

    fn monitors(&self) -> &Self::Monitors {
        &self.monitors
    }
    fn keys(&self) -> &Self::Keys {
        &self.keys
    }
    fn fees(&self) -> &Self::Fees {
        &self.fees
    }
    fn broadcaster(&self) -> &Self::Broadcaster {
        &self.broadcaster
    }
    fn routes(&self) -> &Self::Routes {
        &self.routes
    }
    fn log(&self) -> &Self::Log {
        &self.log
    }
}

/// A line to monitors, on which what changes them may arrive twice.
pub(crate) fn monitor_line(
    monitors: Rc<Monitors>,
    is_twice: Rc<Cell<bool>>,
    node: usize,
    journal: Journal,
) -> BytesLine {
    let monitors = Repeating { inner: monitors, is_twice };
    Box::new(move |bytes| {
        journal.note(node, Boundary::Monitors, || bytes);
        let answer = serve_monitors(&monitors, bytes).expect("a call of our own age");
        journal.note(node, Boundary::MonitorsSay, || &answer);
        answer
    })
}

/// Hands everything over twice: whoever asks over a network asks again when an answer is lost.
struct Repeating {
    inner: Rc<Monitors>,
    is_twice: Rc<Cell<bool>>,
}

impl ManyChannelMonitor for Repeating {
    fn add_channel(&self, new: NewMonitor) -> Persist {
        if self.is_twice.get() {
            let _lost = self.inner.add_channel(new.clone());
        }
        self.inner.add_channel(new)
    }

    fn update_channel(&self, update: ChannelMonitorUpdate) -> Persist {
        if self.is_twice.get() {
            let _lost = self.inner.update_channel(update.clone());
        }
        self.inner.update_channel(update)
    }

    fn next_receipt(&self) -> Option<Receipt> {
        self.inner.next_receipt()
    }

    fn next_refusal(&self) -> Option<LateRefusal> {
        self.inner.next_refusal()
    }

    fn next_monitor_event(&self, after: Option<EventId>) -> Option<(EventId, MonitorEvent)> {
        self.inner.next_monitor_event(after)
    }

    fn acknowledge_monitor_event(&self, id: EventId) {
        self.inner.acknowledge_monitor_event(id);
    }
}

/// A line to a router.
pub(crate) fn route_line(router: Rc<Router>, node: usize, journal: Journal) -> BytesLine {
    Box::new(move |bytes| {
        journal.note(node, Boundary::Routes, || bytes);
        let answer = serve_routes(&*router, bytes).expect("a call of our own age");
        journal.note(node, Boundary::RoutesSay, || &answer);
        answer
    })
}
