//! Direct payments: success, refusal, limits of the payee.
use lightning_channel::payment::{ClaimError, PayError, PayParams, Recipient};
use lightning_traits::event::{Event, PaymentFailure, ReceivedKind};
use lightning_traits::id::{PaymentId, ShortChannelId};
use lightning_traits::interface::EventsProvider as _;
use lightning_traits::payment::{PaymentHash, Preimage};
use lightning_traits::route::{Path, PathOutcome, Route, RouteHop};
use lightning_traits::units::{CltvDelta, CltvExpiry, Msat};

use super::world::World;

#[test]
fn a_payment_arrives_and_both_users_hear_of_it() {
    let mut world = World::new(&["a", "b"]);
    world.open(0, 1, 1_000_000, 0, false);
    let (id, hash) = world.pay(0, 1, 10_000_000);
    world.settle();
    let [Event::PaymentSent { preimage, amount, fee, .. }] = &world.endings(0, id)[..] else { panic!() };
    assert_eq!((preimage.hash(), *amount, *fee), (hash, Msat::new(10_000_000), Some(Msat::ZERO)));
    assert_eq!(world.claimed(1, hash), [Msat::new(10_000_000)]);
    assert_eq!((world.nodes[1].balance(), world.nodes[0].htlcs()), (10_000_000, 0));
    assert!(world.manager(0).list_payments().is_empty());
    // Back again, over what just arrived.
    let (id, _) = world.pay(1, 0, 3_000_000);
    world.settle();
    assert!(matches!(world.endings(1, id)[..], [Event::PaymentFailed { .. }]), "the reserve is not there");
}

#[test]
fn the_payee_can_give_a_payment_back() {
    let mut world = World::new(&["a", "b"]);
    world.open(0, 1, 1_000_000, 0, false);
    world.nodes[1].user.claims = false;
    let (id, hash) = world.pay(0, 1, 10_000_000);
    world.settle();
    assert!(world.endings(0, id).is_empty());
    world.manager(1).fail(hash).unwrap();
    world.settle();
    let [Event::PaymentFailed { reason, .. }] = &world.endings(0, id)[..] else { panic!() };
    assert!(matches!(reason, PaymentFailure::RefusedByPayee(text) if text.contains("incorrect_or_unknown")));
    assert_eq!((world.nodes[1].balance(), world.nodes[0].htlcs()), (0, 0));
}

/// Two channels between the same nodes, of which none alone can carry the amount.
fn two_channels() -> World {
    let mut world = World::new(&["a", "b"]);
    world.open(0, 1, 1_000_000, 0, false);
    world.open(0, 1, 1_000_000, 0, false);
    world
}

fn pay_in_parts(world: &mut World, msat: u64) -> (PaymentId, PaymentHash) {
    let invoice = world.invoice(1, msat);
    let mut params = world.params(1, msat, &invoice);
    params.max_parts = 4;
    let id = world.new_payment();
    world.manager(0).pay(id, params).unwrap();
    (id, invoice.hash)
}

#[test]
fn a_payment_in_parts_is_claimed_whole() {
    let mut world = two_channels();
    let (id, hash) = pay_in_parts(&mut world, 1_500_000_000);
    world.settle();
    let [Event::PaymentSent { amount, .. }] = &world.endings(0, id)[..] else { panic!() };
    assert_eq!(*amount, Msat::new(1_500_000_000));
    assert_eq!(world.claimed(1, hash), [Msat::new(1_500_000_000)]);
    assert_eq!(world.nodes[1].balance(), 1_500_000_000);
    assert!(world.manager(0).list_payments().is_empty());
}

#[test]
fn j01_a_crash_between_the_claims_of_two_parts_loses_none() {
    let mut world = two_channels();
    world.nodes[1].user.claims = false;
    let (id, hash) = pay_in_parts(&mut world, 1_500_000_000);
    world.settle();
    let monitors = world.nodes[1].env.monitors.clone();
    monitors.set_slow(true);
    world.manager(1).claim(hash).unwrap();
    assert!(monitors.write_one(0), "one claim is durable, the other is lost");
    world.restart(1);
    monitors.set_slow(false);
    world.settle();
    assert!(matches!(world.endings(0, id)[..], [Event::PaymentSent { .. }]));
    assert_eq!(world.claimed(1, hash), [Msat::new(1_500_000_000)]);
    assert_eq!(world.nodes[1].balance(), 1_500_000_000);
}

#[test]
fn half_a_payment_is_given_back_after_some_ticks() {
    let mut world = two_channels();
    let invoice = world.invoice(1, 1_000_000);
    let (expiry, node) = (CltvExpiry::new(world.height() + 40), world.id(1));
    let path = |scid| Path { hops: vec![RouteHop { node, scid, amount: Msat::new(500_000), expiry }] };
    // One of the two ways does not exist.
    let scid = world.manager(0).first_hops()[0].scid;
    let route = Route { paths: vec![path(scid), path(ShortChannelId(1))] };
    let id = world.new_payment();
    let recipient = Recipient::invoice(invoice.secret.clone());
    world.manager(0).send_along(id, invoice.hash, route, &recipient).unwrap();
    for tick in 0..3 {
        world.settle();
        assert!(world.endings(0, id).is_empty(), "after {tick} ticks");
        world.tick();
    }
    world.settle();
    assert_eq!(world.failures(0), ["mpp_timeout at hop 0"]);
    let reports = world.nodes[0].env.routes.reports();
    assert!(reports.iter().any(|report| report.outcome == PathOutcome::GivenBack), "{reports:?}");
    assert!(matches!(world.endings(0, id)[..], [Event::PaymentFailed { .. }]));
    assert!(world.claimed(1, invoice.hash).is_empty());
    assert_eq!(world.nodes[0].htlcs(), 0);
}

#[test]
fn a_held_payment_waits_for_the_users_preimage() {
    let mut world = World::new(&["a", "b"]);
    world.open(0, 1, 1_000_000, 0, false);
    let preimage = Preimage::new([5; 32]);
    let (hash, expires) = (preimage.hash(), world.now() + 1_000);
    let amount = Some(Msat::new(5_000_000));
    let delta = Some(CltvDelta::new(60));
    let invoice = world.manager(1).create_inbound_payment_for_hash(hash, amount, expires, delta);
    let (id, _) = world.pay_invoice(0, 1, 5_000_000, &invoice);
    world.settle();
    let claimable = world.seen(1, |event| matches!(event, Event::PaymentClaimable { preimage: None, .. }));
    assert_eq!(claimable.len(), 1);
    assert_eq!(world.manager(1).claim(hash), Err(ClaimError::PreimageNeeded(hash)));
    let wrong = Preimage::new([6; 32]);
    assert_eq!(world.manager(1).claim_with(wrong.clone()), Err(ClaimError::Unknown(wrong.hash())));
    // Over a restart of both.
    world.restart(1);
    world.settle();
    world.restart(0);
    world.settle();
    assert!(world.endings(0, id).is_empty());
    world.manager(1).claim_with(preimage.clone()).unwrap();
    world.manager(1).claim_with(preimage).unwrap();
    world.settle();
    assert!(matches!(world.endings(0, id)[..], [Event::PaymentSent { .. }]));
    assert_eq!(world.claimed(1, hash), [Msat::new(5_000_000)]);
}

#[test]
fn a_payment_that_nobody_asked_for_arrives_with_what_its_payer_has_to_say() {
    let mut world = World::new(&["a", "b", "c"]);
    world.open(0, 1, 1_000_000, 0, true);
    world.open(1, 2, 1_000_000, 0, true);
    let preimage = Preimage::new([7; 32]);
    let mut params = PayParams::spontaneous(world.id(2), Msat::new(5_000_000), preimage.clone());
    params.recipient.custom.put_raw(65_537, b"hello".to_vec());
    let id = world.new_payment();
    world.manager(0).pay(id, params.clone()).unwrap();
    world.settle();
    assert!(matches!(world.endings(0, id)[..], [Event::PaymentSent { .. }]));
    assert_eq!(world.claimed(2, preimage.hash()), [Msat::new(5_000_000)]);
    let seen = world.seen(2, |event| matches!(event, Event::PaymentClaimable { .. }));
    let [Event::PaymentClaimable { kind, custom, .. }] = &seen[..] else { panic!() };
    assert_eq!((*kind, custom), (ReceivedKind::Spontaneous, &params.recipient.custom));
    // Over a restart of the payee before it has claimed.
    world.nodes[2].user.claims = false;
    let preimage = Preimage::new([8; 32]);
    let params = PayParams::spontaneous(world.id(2), Msat::new(5_000_000), preimage.clone());
    let id = world.new_payment();
    world.manager(0).pay(id, params).unwrap();
    world.settle();
    world.restart(2);
    world.nodes[2].user.claims = true;
    world.settle();
    assert!(matches!(world.endings(0, id)[..], [Event::PaymentSent { .. }]));
    assert_eq!(world.claimed(2, preimage.hash()), [Msat::new(5_000_000)]);
}

#[test]
fn even_records_of_applications_are_for_those_who_understand_them() {
    for understood in [false, true] {
        let mut world = World::with(&["a", "b"], |config| {
            if understood {
                config.payment.understood_records.push(65_536);
            }
        });
        world.open(0, 1, 1_000_000, 0, false);
        let mut params = PayParams::spontaneous(world.id(1), Msat::new(5_000), Preimage::new([7; 32]));
        params.recipient.custom.put_raw(65_536, vec![1]);
        let id = world.new_payment();
        world.manager(0).pay(id, params).unwrap();
        world.settle();
        let sent = matches!(world.endings(0, id)[..], [Event::PaymentSent { .. }]);
        assert_eq!(sent, understood, "{:?}", world.failures(0));
    }
}

#[test]
fn records_and_preimages_that_no_payee_would_take_are_not_sent() {
    let mut world = World::new(&["a", "b"]);
    world.open(0, 1, 1_000_000, 0, false);
    let with = |kind: u64| {
        let mut params = PayParams::spontaneous(world.id(1), Msat::new(5_000), Preimage::new([7; 32]));
        params.recipient.custom.put_raw(kind, vec![1]);
        params
    };
    let id = PaymentId([1; 32]);
    for kind in [2, 65_535, 5_482_373_484] {
        assert_eq!(world.manager(0).pay(id, with(kind)), Err(PayError::BadRecord(kind)));
    }
    let mut params = with(65_537);
    params.hash = PaymentHash([1; 32]);
    assert_eq!(world.manager(0).pay(id, params), Err(PayError::WrongPreimage(PaymentHash([1; 32]))));
    assert!(world.manager(0).list_payments().is_empty());
}

#[test]
fn f15_a_held_payment_that_nobody_decides_on_goes_back_and_its_user_hears_of_it() {
    for restarts in [false, true] {
        let mut world = World::new(&["a", "b"]);
        world.open(0, 1, 1_000_000, 0, false);
        let preimage = Preimage::new([5; 32]);
        let (hash, expires) = (preimage.hash(), world.now() + 1_000);
        let amount = Some(Msat::new(5_000_000));
        let delta = Some(CltvDelta::new(60));
        let invoice = world.manager(1).create_inbound_payment_for_hash(hash, amount, expires, delta);
        let (id, _) = world.pay_invoice(0, 1, 5_000_000, &invoice);
        world.settle();
        if restarts {
            // It sleeps over the deadline, and finds it passed before its user can decide.
            world.crash(1);
            world.mine(45);
            world.start(1);
            world.connect(0, 1);
        } else {
            world.mine(45);
        }
        assert_eq!(world.manager(1).claim_with(preimage), Err(ClaimError::Unknown(hash)));
        world.settle();
        let [Event::PaymentFailed { reason, .. }] = &world.endings(0, id)[..] else { panic!() };
        assert!(matches!(reason, PaymentFailure::RefusedByPayee(_)));
        assert!(world.claimed(1, hash).is_empty());
        let returned = world.seen(1, |event| matches!(event, Event::PaymentReturned { .. }));
        assert_eq!(returned, [Event::PaymentReturned { hash, amount: Msat::new(5_000_000) }]);
        assert_eq!(world.nodes[0].htlcs(), 0);
    }
}

/// Claims at every height around the deadline: in time it is paid, late it goes back, and never both.
#[test]
fn f04_a_claim_is_in_time_or_refused() {
    let (mut claimed, mut refused) = (0, 0);
    for (early, restart) in (-5..=60_i64).flat_map(|early| [(early, false), (early, true)]) {
        let mut world = World::new(&["a", "b"]);
        world.open(0, 1, 1_000_000, 0, false);
        world.nodes[1].user.claims = false;
        let (id, hash) = world.pay(0, 1, 5_000_000);
        world.settle();
        let events = world.seen(1, |event| matches!(event, Event::PaymentClaimable { .. }));
        let [Event::PaymentClaimable { deadline, .. }] = &events[..] else { panic!() };
        let left = deadline.get() - world.height();
        world.mine(u32::try_from(i64::from(left) - early).unwrap_or_default());
        if restart {
            world.restart(1);
            world.settle();
        }
        let in_time = early > 0;
        assert_eq!(world.manager(1).claim(hash).is_ok(), in_time, "{early} {restart}");
        world.settle();
        let sent = matches!(world.endings(0, id)[..], [Event::PaymentSent { .. }]);
        assert_eq!(sent, in_time, "{early} {restart}");
        assert_eq!(world.claimed(1, hash).len(), usize::from(in_time), "{early} {restart}");
        assert_eq!(world.nodes[1].htlcs(), 0, "{early} {restart}");
        *(if in_time { &mut claimed } else { &mut refused }) += 1;
    }
    assert_eq!((claimed, refused), (120, 12));
}

#[test]
fn what_nobody_claims_goes_back_before_its_deadline() {
    let mut world = World::new(&["a", "b"]);
    world.open(0, 1, 1_000_000, 0, false);
    world.nodes[1].user.claims = false;
    let (id, hash) = world.pay(0, 1, 5_000_000);
    world.settle();
    let events = world.seen(1, |event| matches!(event, Event::PaymentClaimable { .. }));
    let [Event::PaymentClaimable { deadline, .. }] = &events[..] else { panic!() };
    let left = deadline.get() - world.height();
    world.mine(left - 1);
    world.settle();
    assert!(world.endings(0, id).is_empty());
    world.mine(1);
    world.settle();
    assert!(matches!(world.endings(0, id)[..], [Event::PaymentFailed { .. }]));
    assert_eq!(world.manager(1).claim(hash), Err(ClaimError::Unknown(hash)));
}

#[test]
fn an_event_keeps_its_id_until_it_is_acknowledged() {
    let mut world = World::new(&["a", "b"]);
    world.open(0, 1, 1_000_000, 0, false);
    let (id, _) = world.pay(0, 1, 5_000_000);
    for _ in 0..200 {
        for node in 0..2 {
            world.collect(node);
            world.keep_record(node);
        }
        world.react(1);
        while world.deliver(0, 1) || world.deliver(1, 0) {}
    }
    let first = world.manager(0).next_event(None).unwrap();
    assert!(matches!(first.1, Event::PaymentSent { id: other, .. } if other == id));
    assert_eq!(world.manager(0).next_event(None).unwrap(), first);
    world.keep_record(0);
    world.restart(0);
    assert_eq!(world.manager(0).next_event(None).unwrap(), first);
    world.manager(0).acknowledge_event(first.0);
    assert_eq!(world.manager(0).next_event(None), None);
    world.settle();
    world.tick();
    world.settle();
    world.restart(0);
    world.settle();
    assert!(world.seen(0, |event| matches!(event, Event::PaymentSent { .. })).is_empty());
    assert!(world.manager(0).list_payments().is_empty());
}

#[test]
fn routes_may_come_late_and_a_payment_can_be_given_up_before() {
    let mut world = World::new(&["a", "b"]);
    world.open(0, 1, 1_000_000, 0, false);
    world.nodes[0].env.routes.set_late(true);
    let (id, _) = world.pay(0, 1, 5_000_000);
    assert_eq!(world.nodes[0].htlcs(), 0);
    world.settle();
    assert!(matches!(world.endings(0, id)[..], [Event::PaymentSent { .. }]));
    let (id, hash) = world.pay(0, 1, 5_000_000);
    assert!(world.manager(0).abandon(id));
    world.settle();
    let [Event::PaymentFailed { reason, .. }] = &world.endings(0, id)[..] else { panic!() };
    assert_eq!(*reason, PaymentFailure::Abandoned);
    assert!(world.claimed(1, hash).is_empty());
}

/// There is nothing to try again with: one that looks for its own way goes on (`resuming.rs`).
#[test]
fn a_payment_along_a_route_that_was_never_sent_is_lost_with_a_crash_and_says_so() {
    let mut world = World::new(&["a", "b"]);
    world.open(0, 1, 1_000_000, 0, false);
    let amount = Msat::new(5_000_000);
    let invoice = world.invoice(1, amount.to_msat());
    let first = world.manager(0).first_hops()[0].clone();
    let expiry = CltvExpiry::new(world.height() + 30);
    let hop = RouteHop { node: first.node, scid: first.scid, amount, expiry };
    let route = Route { paths: vec![Path { hops: vec![hop] }] };
    let id = world.new_payment();
    world.nodes[0].env.monitors.set_slow(true);
    let recipient = Recipient::invoice(invoice.secret.clone());
    world.manager(0).send_along(id, invoice.hash, route, &recipient).unwrap();
    world.keep_record(0);
    world.restart(0);
    world.nodes[0].env.monitors.set_slow(false);
    world.settle();
    let [Event::PaymentFailed { reason, .. }] = &world.endings(0, id)[..] else { panic!() };
    assert_eq!(*reason, PaymentFailure::LostBeforeSending);
}

#[test]
fn j02_without_the_managers_record_nothing_is_lost_but_intents() {
    let mut world = World::new(&["a", "b"]);
    world.open(0, 1, 1_000_000, 0, false);
    world.nodes[1].user.claims = false;
    let (id, hash) = world.pay(0, 1, 5_000_000);
    world.settle();
    for node in 0..2 {
        world.nodes[node].record.clear();
        world.restart(node);
        world.settle();
    }
    assert_eq!(world.manager(0).list_payments().len(), 1);
    world.manager(1).claim(hash).unwrap();
    world.settle();
    assert!(matches!(world.endings(0, id)[..], [Event::PaymentSent { .. }]));
}
