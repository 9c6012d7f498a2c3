//! Monitors and routes behind a line of bytes: what arrives is what was called, what returns is what was answered.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
mod crossing;
mod proxy;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

use lightning_traits::codec::DecodeError;
use lightning_traits::id::{ChannelId, EventId, PaymentId, UpdateId};
use lightning_traits::interface::{ManyChannelMonitor, RouteFinder};
use lightning_traits::monitor::{
    ChannelMonitorUpdate, LateRefusal, MonitorEvent, MonitorRefusal, NewMonitor, Persist, Receipt,
    RecordChange,
};
use lightning_traits::route::{NoRoute, Route, RouteAnswer, RouteQuery, RouteReport};
use proptest::prelude::*;
use proxy::bytes::{NearMonitors, NearRoutes, serve_monitors, serve_routes};

/// What a monitor answers to the next call.
#[derive(Clone, Copy)]
enum Mood {
    Prompt,
    Slow,
    Refusing(MonitorRefusal),
}

/// Monitors that note what they get.
struct Far {
    mood: Cell<Mood>,
    new: RefCell<Vec<NewMonitor>>,
    updates: RefCell<Vec<ChannelMonitorUpdate>>,
    late: RefCell<VecDeque<Receipt>>,
    refusals: RefCell<VecDeque<LateRefusal>>,
    events: Vec<(EventId, MonitorEvent)>,
    acknowledged: RefCell<Vec<EventId>>,
}

impl Far {
    fn new(mood: Mood) -> Self {
        let event = |id| (EventId(id), MonitorEvent::Resolved { channel: ChannelId([id as u8; 32]) });
        Self {
            mood: Cell::new(mood),
            new: RefCell::default(),
            updates: RefCell::default(),
            late: RefCell::default(),
            refusals: RefCell::default(),
            events: (1..4).map(event).collect(),
            acknowledged: RefCell::default(),
        }
    }

    fn persist(&self, receipt: Receipt) -> Persist {
        match self.mood.get() {
            Mood::Prompt => Persist::Durable(receipt),
            Mood::Slow => {
                self.late.borrow_mut().push_back(receipt);
                Persist::InProgress
            }
            Mood::Refusing(why) => Persist::Refused(why),
        }
    }
}

impl ManyChannelMonitor for Far {
    fn add_channel(&self, new: NewMonitor) -> Persist {
        let receipt = new.receipt();
        self.new.borrow_mut().push(new);
        self.persist(receipt)
    }

    fn update_channel(&self, update: ChannelMonitorUpdate) -> Persist {
        let receipt = update.receipt();
        self.updates.borrow_mut().push(update);
        self.persist(receipt)
    }

    fn next_receipt(&self) -> Option<Receipt> {
        self.late.borrow_mut().pop_front()
    }

    fn next_refusal(&self) -> Option<LateRefusal> {
        self.refusals.borrow_mut().pop_front()
    }

    fn next_monitor_event(&self, after: Option<EventId>) -> Option<(EventId, MonitorEvent)> {
        self.events.iter().find(|(id, _)| after.is_none_or(|after| *id > after)).cloned()
    }

    fn acknowledge_monitor_event(&self, id: EventId) {
        self.acknowledged.borrow_mut().push(id);
    }
}

fn near(far: &Far) -> NearMonitors<impl Fn(&[u8]) -> Vec<u8>> {
    NearMonitors::new(move |bytes: &[u8]| serve_monitors(far, bytes).unwrap())
}

fn update(channel: u8, id: u64) -> ChannelMonitorUpdate {
    ChannelMonitorUpdate {
        channel: ChannelId([channel; 32]),
        id: UpdateId(id),
        steps: vec![],
        record: RecordChange::Same {},
        extra: Default::default(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn calls_arrive_whole_and_answers_return(
        new in crossing::new_monitor(),
        update in crossing::update(),
        why in crossing::refusal(),
    ) {
        let far = Far::new(Mood::Prompt);
        let near = near(&far);
        prop_assert_eq!(near.add_channel(new.clone()), Persist::Durable(new.receipt()));
        prop_assert_eq!(near.update_channel(update.clone()), Persist::Durable(update.receipt()));
        far.mood.set(Mood::Refusing(why));
        prop_assert_eq!(near.update_channel(update.clone()), Persist::Refused(why));
        prop_assert_eq!(near.next_receipt(), None);
        prop_assert_eq!(&*far.new.borrow(), &[new]);
        prop_assert_eq!(&*far.updates.borrow(), &[update.clone(), update]);
    }

    #[test]
    fn bytes_of_strangers_call_nothing(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
        let far = Far::new(Mood::Prompt);
        if serve_monitors(&far, &bytes).is_err() {
            prop_assert!(far.new.borrow().is_empty() && far.updates.borrow().is_empty());
        }
    }

    #[test]
    fn questions_for_routes_arrive_whole(
        query in crossing::query(),
        answer in crossing::answer(),
        report in crossing::report(),
    ) {
        let routes = Routes { answer: answer.clone(), heard: RefCell::default() };
        let near = NearRoutes::new(|bytes: &[u8]| serve_routes(&routes, bytes).unwrap());
        prop_assert_eq!(near.find_route(query.clone()), answer.clone());
        let late = match answer {
            RouteAnswer::Ready(found) => Some((PaymentId([9; 32]), found)),
            RouteAnswer::InProgress => None,
        };
        prop_assert_eq!(near.next_route(), late);
        near.report(report.clone());
        prop_assert_eq!(&*routes.heard.borrow(), &(vec![query], vec![report]));
    }
}

#[test]
fn late_receipts_come_in_any_order_and_each_once() {
    let far = Far::new(Mood::Slow);
    let near = near(&far);
    for (channel, id) in [(1, 1), (2, 1), (1, 2)] {
        assert_eq!(near.update_channel(update(channel, id)), Persist::InProgress);
    }
    far.late.borrow_mut().rotate_left(1);
    let mut receipts = Vec::new();
    while let Some(receipt) = near.next_receipt() {
        receipts.push((receipt.channel().0[0], receipt.id().0));
    }
    assert_eq!(receipts, [(2, 1), (1, 2), (1, 1)]);
    assert_eq!(near.next_receipt(), None);
}

#[test]
fn a_late_refusal_arrives_and_nothing_sent_behind_it_gets_a_receipt() {
    let far = Far::new(Mood::Slow);
    let near = near(&far);
    for (channel, id) in [(1, 1), (1, 2), (1, 3), (2, 5)] {
        assert_eq!(near.update_channel(update(channel, id)), Persist::InProgress);
    }
    let refusal = LateRefusal { channel: ChannelId([1; 32]), id: UpdateId(2), why: MonitorRefusal::OnChain };
    far.refusals.borrow_mut().push_back(refusal);
    assert_eq!(near.next_refusal(), Some(refusal));
    assert_eq!(near.next_refusal(), None);
    let receipts = core::iter::from_fn(|| near.next_receipt());
    let receipts: Vec<_> = receipts.map(|receipt| (receipt.channel().0[0], receipt.id().0)).collect();
    assert_eq!(receipts, [(1, 1), (2, 5)]);
    // The id is free for another update.
    assert_eq!(near.update_channel(update(1, 2)), Persist::InProgress);
    assert_eq!(near.next_receipt(), Some(update(1, 2).receipt()));
}

#[test]
fn a_receipt_that_nobody_waits_for_is_passed_over() {
    let far = Far::new(Mood::Slow);
    // Written before the near side restarted.
    let _ = far.update_channel(update(7, 3));
    let near = near(&far);
    assert_eq!(near.update_channel(update(7, 4)), Persist::InProgress);
    assert_eq!(near.next_receipt(), Some(update(7, 4).receipt()));
    assert_eq!(near.next_receipt(), None);
}

#[test]
fn events_and_acknowledgements_pass() {
    let far = Far::new(Mood::Prompt);
    let near = near(&far);
    let mut after = None;
    let mut events = Vec::new();
    while let Some((id, event)) = near.next_monitor_event(after) {
        events.push((id, event));
        after = Some(id);
        near.acknowledge_monitor_event(id);
    }
    assert_eq!(events, far.events);
    assert_eq!(*far.acknowledged.borrow(), [1, 2, 3].map(EventId));
}

#[test]
fn a_call_of_another_age_is_refused() {
    let far = Far::new(Mood::Prompt);
    let calls = RefCell::new(Vec::new());
    let near = NearMonitors::new(|bytes: &[u8]| {
        calls.borrow_mut().push(bytes.to_vec());
        serve_monitors(&far, bytes).unwrap()
    });
    let _ = near.update_channel(update(1, 1));
    let mut bytes = calls.borrow_mut().remove(0);
    bytes[0] = 9;
    assert_eq!(serve_monitors(&far, &bytes), Err(DecodeError::UnknownVersion(9)));
    assert_eq!(far.updates.borrow().len(), 1);
}

/// Routes that answer one thing.
struct Routes {
    answer: RouteAnswer,
    heard: RefCell<(Vec<RouteQuery>, Vec<RouteReport>)>,
}

impl RouteFinder for Routes {
    fn find_route(&self, query: RouteQuery) -> RouteAnswer {
        self.heard.borrow_mut().0.push(query);
        self.answer.clone()
    }

    fn next_route(&self) -> Option<(PaymentId, Result<Route, NoRoute>)> {
        match &self.answer {
            RouteAnswer::Ready(found) => Some((PaymentId([9; 32]), found.clone())),
            RouteAnswer::InProgress => None,
        }
    }

    fn report(&self, report: RouteReport) {
        self.heard.borrow_mut().1.push(report);
    }
}
