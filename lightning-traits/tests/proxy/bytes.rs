//! Proxies whose two halves share nothing but byte strings, so that a network could lie between them.
//!
//! The near half stands where the structure is called; it turns each call into bytes, and the bytes that come back into
//! the answer. The far half stands before the structure. Calls and answers are versioned.
//!
//! # Invariants
//! - a receipt never travels: the far structure makes its own from the decoded update, the answer names it, and the
//!   near half hands out the one that it made from the update it sent
use std::cell::RefCell;
use std::collections::BTreeMap;

extern crate alloc;

use lightning_traits::codec::{Decode, DecodeError, Encode, TlvRecords, decode_versioned, encode_versioned};
use lightning_traits::id::{ChannelId, EventId, PaymentId, UpdateId};
use lightning_traits::interface::{ManyChannelMonitor, RouteFinder};
use lightning_traits::monitor::{
    ChannelMonitorUpdate, LateRefusal, MonitorEvent, MonitorRefusal, NewMonitor, Persist, Receipt,
};
use lightning_traits::record;
use lightning_traits::route::{NoRoute, Route, RouteAnswer, RouteQuery, RouteReport};

const VERSION: u8 = 1;

/// Carries a call to the far half and the answer back.
pub(crate) trait Line {
    fn call(&self, bytes: &[u8]) -> Vec<u8>;
}

impl<F: Fn(&[u8]) -> Vec<u8>> Line for F {
    fn call(&self, bytes: &[u8]) -> Vec<u8> {
        self(bytes)
    }
}

/// Asks over the line. A far half of our own age always understands.
fn ask<A: Decode>(line: &impl Line, call: &impl Encode) -> A {
    let answer = line.call(&encode_versioned(VERSION, call, &TlvRecords::new()));
    let (answer, _) = decode_versioned(VERSION, &answer).expect("an answer of our own age");
    answer
}

fn answer(answer: &impl Encode) -> Vec<u8> {
    encode_versioned(VERSION, answer, &TlvRecords::new())
}

// ---------------------------------------------------------------------------------------- monitors

/// A call of [`ManyChannelMonitor`].
enum MonitorCall {
    Add { new: Vec<u8> },
    Update { update: Vec<u8> },
    NextReceipt {},
    NextEvent { after: Option<EventId> },
    Acknowledge { id: EventId },
    NextRefusal {},
}
record!(enum MonitorCall {
    0 => Add { new }, 1 => Update { update }, 2 => NextReceipt {}, 3 => NextEvent { after }, 4 => Acknowledge { id },
    5 => NextRefusal {},
});

/// An answer to [`MonitorCall::Add`] and [`MonitorCall::Update`].
enum Answer {
    Durable { channel: ChannelId, id: UpdateId },
    InProgress {},
    Refused { why: MonitorRefusal },
}
record!(enum Answer { 0 => Durable { channel, id }, 1 => InProgress {}, 2 => Refused { why } });

/// The half that the channel calls.
pub(crate) struct NearMonitors<L> {
    line: L,
    /// Receipts of what was sent and is not known to be durable.
    waiting: RefCell<BTreeMap<(ChannelId, UpdateId), Receipt>>,
}

impl<L: Line> NearMonitors<L> {
    pub(crate) fn new(line: L) -> Self {
        Self { line, waiting: RefCell::default() }
    }

    fn persist(&self, call: &MonitorCall, receipt: Receipt) -> Persist {
        match ask(&self.line, call) {
            Answer::Durable { channel, id } => {
                assert_eq!(
                    (channel, id),
                    (receipt.channel(), receipt.id()),
                    "another update was acknowledged"
                );
                Persist::Durable(receipt)
            }
            Answer::InProgress {} => {
                self.waiting.borrow_mut().insert((receipt.channel(), receipt.id()), receipt);
                Persist::InProgress
            }
            Answer::Refused { why } => Persist::Refused(why),
        }
    }
}

impl<L: Line> ManyChannelMonitor for NearMonitors<L> {
    fn add_channel(&self, new: NewMonitor) -> Persist {
        self.persist(&MonitorCall::Add { new: new.to_versioned() }, new.receipt())
    }

    fn update_channel(&self, update: ChannelMonitorUpdate) -> Persist {
        self.persist(&MonitorCall::Update { update: update.to_versioned() }, update.receipt())
    }

    fn next_receipt(&self) -> Option<Receipt> {
        loop {
            let named: Option<(ChannelId, UpdateId)> = ask(&self.line, &MonitorCall::NextReceipt {});
            // A receipt of before a restart names what nobody here waits for: it is passed over.
            if let Some(receipt) = self.waiting.borrow_mut().remove(&named?) {
                return Some(receipt);
            }
        }
    }

    fn next_refusal(&self) -> Option<LateRefusal> {
        let refusal: LateRefusal = ask::<Option<_>>(&self.line, &MonitorCall::NextRefusal {})?;
        // What was sent behind it is refused with it.
        let is_void =
            |(channel, id): &(ChannelId, UpdateId)| *channel == refusal.channel && *id >= refusal.id;
        self.waiting.borrow_mut().retain(|name, _| !is_void(name));
        Some(refusal)
    }

    fn next_monitor_event(&self, after: Option<EventId>) -> Option<(EventId, MonitorEvent)> {
        ask(&self.line, &MonitorCall::NextEvent { after })
    }

    fn acknowledge_monitor_event(&self, id: EventId) {
        ask::<()>(&self.line, &MonitorCall::Acknowledge { id });
    }
}

/// The far half: one call.
///
/// # Errors
/// When the bytes are of another version or damaged; the structure has not been called then.
pub(crate) fn serve_monitors(inner: &impl ManyChannelMonitor, bytes: &[u8]) -> Result<Vec<u8>, DecodeError> {
    let (call, _) = decode_versioned::<MonitorCall>(VERSION, bytes)?;
    let persisted = |persist| {
        answer(&match persist {
            Persist::Durable(receipt) => Answer::Durable { channel: receipt.channel(), id: receipt.id() },
            Persist::InProgress => Answer::InProgress {},
            Persist::Refused(why) => Answer::Refused { why },
        })
    };
    Ok(match call {
        MonitorCall::Add { new } => persisted(inner.add_channel(NewMonitor::from_versioned(&new)?)),
        MonitorCall::Update { update } => {
            persisted(inner.update_channel(ChannelMonitorUpdate::from_versioned(&update)?))
        }
        MonitorCall::NextReceipt {} => {
            answer(&inner.next_receipt().map(|receipt| (receipt.channel(), receipt.id())))
        }
        MonitorCall::NextRefusal {} => answer(&inner.next_refusal()),
        MonitorCall::NextEvent { after } => answer(&inner.next_monitor_event(after)),
        MonitorCall::Acknowledge { id } => {
            inner.acknowledge_monitor_event(id);
            answer(&())
        }
    })
}

// ------------------------------------------------------------------------------------------ routes

/// A call of [`RouteFinder`].
enum RouteCall {
    Find { query: RouteQuery },
    Next {},
    Report { report: RouteReport },
}
record!(enum RouteCall { 0 => Find { query }, 1 => Next {}, 2 => Report { report } });

/// The half that payments call.
pub(crate) struct NearRoutes<L> {
    line: L,
}

impl<L: Line> NearRoutes<L> {
    pub(crate) const fn new(line: L) -> Self {
        Self { line }
    }
}

impl<L: Line> RouteFinder for NearRoutes<L> {
    fn find_route(&self, query: RouteQuery) -> RouteAnswer {
        ask(&self.line, &RouteCall::Find { query })
    }

    fn next_route(&self) -> Option<(PaymentId, Result<Route, NoRoute>)> {
        let answer: Option<(PaymentId, RouteAnswer)> = ask(&self.line, &RouteCall::Next {});
        match answer? {
            (payment, RouteAnswer::Ready(found)) => Some((payment, found)),
            (_, RouteAnswer::InProgress) => None,
        }
    }

    fn report(&self, report: RouteReport) {
        ask::<()>(&self.line, &RouteCall::Report { report });
    }
}

/// The far half: one call.
///
/// # Errors
/// When the bytes are of another version or damaged.
pub(crate) fn serve_routes(inner: &impl RouteFinder, bytes: &[u8]) -> Result<Vec<u8>, DecodeError> {
    let (call, _) = decode_versioned::<RouteCall>(VERSION, bytes)?;
    Ok(match call {
        RouteCall::Find { query } => answer(&inner.find_route(query)),
        RouteCall::Next {} => {
            answer(&inner.next_route().map(|(payment, found)| (payment, RouteAnswer::Ready(found))))
        }
        RouteCall::Report { report } => {
            inner.report(report);
            answer(&())
        }
    })
}
