//! Forwards that the user decides on: a channel made just in time, refusals, deadlines, restarts.
use lightning_channel::manager::InterceptError;
use lightning_traits::config::Interception;
use lightning_traits::event::{Event, PaymentFailure};
use lightning_traits::id::{ChannelId, HtlcId, PaymentId, ShortChannelId};
use lightning_traits::interface::EventsProvider as _;
use lightning_traits::payment::PaymentHash;
use lightning_traits::units::{BlockHeight, Msat};

use super::mocks::Edge;
use super::world::World;

const AMOUNT: u64 = 50_000_000;

/// a - b, and c, who has no channel; b decides on forwards, c takes what b leaves.
fn service(intercept: Interception) -> World {
    let mut world = World::with(&["a", "b", "c"], |config| {
        config.forward.intercept = intercept;
        config.payment.accept_underpaid = true;
    });
    world.open(0, 1, 1_000_000, 0, true);
    world.connect(1, 2);
    world
}

/// c asks for a payment by a channel that b has promised.
fn pay_by_promise(world: &mut World) -> (PaymentId, PaymentHash, ShortChannelId) {
    let scid = world.manager(1).promise_channel();
    let (from, to) = (world.id(1), world.id(2));
    let edge = Edge { scid, from, to, fee_base: 1_000, fee_ppm: 100, cltv_delta: 80 };
    world.nodes[0].env.routes.add(edge);
    let (id, hash) = world.pay(0, 2, AMOUNT);
    world.settle();
    (id, hash, scid)
}

/// What waits at b: the HTLC and its deadline.
fn asked(world: &World) -> Vec<(ChannelId, HtlcId, BlockHeight)> {
    let seen = world.seen(1, |event| matches!(event, Event::ForwardIntercepted { .. }));
    let names = seen.into_iter().map(|event| match event {
        Event::ForwardIntercepted { channel, htlc, deadline, .. } => (channel, htlc, deadline),
        other => panic!("{other:?}"),
    });
    names.collect()
}

#[test]
fn a_channel_is_opened_for_the_payment_that_wants_it_and_keeps_a_fee() {
    let mut world = service(Interception::Promised);
    let (id, hash, scid) = pay_by_promise(&mut world);
    let [(channel, htlc, _)] = asked(&world)[..] else { panic!() };
    let seen = world.seen(1, |event| matches!(event, Event::ForwardIntercepted { .. }));
    let Event::ForwardIntercepted { named, received, amount, .. } = seen[0] else { panic!() };
    assert_eq!((named, amount), (scid, Msat::new(AMOUNT)));
    assert_eq!(received, Msat::new(AMOUNT + 1_000 + AMOUNT / 10_000));

    let over = world.open(1, 2, 200_000, 0, false);
    let less = Msat::new(AMOUNT - 700_000);
    world.manager(1).forward_intercepted(channel, htlc, Some(over), Some(less)).unwrap();
    let twice = world.manager(1).forward_intercepted(channel, htlc, Some(over), Some(less));
    assert_eq!(twice, Err(InterceptError::Unknown(channel, htlc)));
    world.settle();
    assert!(matches!(world.endings(0, id)[..], [Event::PaymentSent { .. }]));
    assert_eq!(world.claimed(2, hash), [less]);
    let skimmed = world.seen(
        2,
        |event| matches!(event, Event::PaymentClaimable { skimmed, .. } if *skimmed == Msat::new(700_000)),
    );
    assert_eq!(skimmed.len(), 1);
    let earned = received.checked_sub(less);
    let forwarded = world.seen(1, |event| matches!(event, Event::Forwarded { fee, .. } if *fee == earned));
    assert_eq!(forwarded.len(), 1);
}

#[test]
fn what_the_user_refuses_goes_back_and_the_payer_hears_why() {
    let mut world = service(Interception::Promised);
    let (id, _, _) = pay_by_promise(&mut world);
    let [(channel, htlc, _)] = asked(&world)[..] else { panic!() };
    world.manager(1).refuse_intercepted(channel, htlc).unwrap();
    assert_eq!(
        world.manager(1).refuse_intercepted(channel, htlc),
        Err(InterceptError::Unknown(channel, htlc))
    );
    world.settle();
    assert_eq!(world.failures(0), ["unknown_next_peer at hop 0"]);
    let [Event::PaymentFailed { reason, .. }] = &world.endings(0, id)[..] else { panic!() };
    assert!(matches!(reason, PaymentFailure::NoRoute(_)));
    assert_eq!(world.nodes[0].htlcs(), 0);
}

#[test]
fn nobody_is_asked_who_does_not_want_to_be() {
    let mut world = service(Interception::None);
    pay_by_promise(&mut world);
    assert_eq!(world.failures(0), ["unknown_next_peer at hop 0"]);
    let mut world = service(Interception::Promised);
    world.open(1, 2, 1_000_000, 0, true);
    let (id, _) = world.pay(0, 2, AMOUNT);
    world.settle();
    assert!(matches!(world.endings(0, id)[..], [Event::PaymentSent { .. }]), "a channel that exists");
    assert!(asked(&world).is_empty());
}

#[test]
fn f15_what_nobody_decides_on_goes_back_before_its_expiry() {
    let mut world = service(Interception::Promised);
    let (id, _, _) = pay_by_promise(&mut world);
    let [(channel, htlc, deadline)] = asked(&world)[..] else { panic!() };
    world.mine(deadline.get() - world.height() - 1);
    world.settle();
    assert!(world.endings(0, id).is_empty());
    world.mine(1);
    let late = world.manager(1).forward_intercepted(channel, htlc, None, None);
    assert_eq!(late, Err(InterceptError::Unknown(channel, htlc)));
    world.settle();
    assert!(matches!(world.endings(0, id)[..], [Event::PaymentFailed { .. }]));
    assert_eq!(world.nodes[0].htlcs(), 0);
}

#[test]
fn a_forward_that_cannot_go_out_now_waits_on() {
    let mut world = service(Interception::All);
    let over = world.open(1, 2, 1_000_000, 0, true);
    let (id, hash) = world.pay(0, 2, AMOUNT);
    world.settle();
    let [(channel, htlc, _)] = asked(&world)[..] else { panic!() };
    let b = |world: &World, over, amount| world.manager(1).forward_intercepted(channel, htlc, over, amount);
    let stranger = ChannelId([9; 32]);
    assert_eq!(b(&world, Some(stranger), None), Err(InterceptError::UnknownChannel(stranger)));
    let most = Msat::new(AMOUNT);
    for amount in [Msat::ZERO, Msat::new(AMOUNT + 1)] {
        assert_eq!(b(&world, Some(over), Some(amount)), Err(InterceptError::Amount { amount, most }));
    }
    world.disconnect(1, 2);
    for over in [None, Some(over)] {
        assert!(matches!(b(&world, over, Some(Msat::new(5))), Err(InterceptError::NotCarried(_))));
    }
    world.connect(1, 2);
    world.settle();
    b(&world, None, None).unwrap();
    world.settle();
    assert!(matches!(world.endings(0, id)[..], [Event::PaymentSent { .. }]));
    assert_eq!(world.claimed(2, hash), [most], "the whole, though less was tried before");
}

#[test]
fn f15_a_forward_that_waits_is_asked_for_again_after_a_restart_by_the_same_name() {
    let mut world = service(Interception::All);
    world.open(1, 2, 1_000_000, 0, true);
    let (id, hash) = world.pay(0, 2, AMOUNT);
    for _ in 0..100 {
        for node in 0..3 {
            world.collect(node);
        }
        while world.deliver(0, 1) || world.deliver(1, 0) {}
    }
    let first = world.manager(1).next_event(None).unwrap();
    let Event::ForwardIntercepted { channel, htlc, .. } = first.1 else { panic!("{first:?}") };
    world.keep_record(1);
    world.restart(1);
    assert_eq!(world.manager(1).next_event(None), Some(first));
    world.settle();
    world.manager(1).forward_intercepted(channel, htlc, None, None).unwrap();
    world.restart(1);
    world.settle();
    // Whether the forward was durable or not: it is out, or waits again under the same name.
    let _gone = world.manager(1).forward_intercepted(channel, htlc, None, None);
    world.settle();
    assert!(matches!(world.endings(0, id)[..], [Event::PaymentSent { .. }]));
    assert_eq!(world.claimed(2, hash), [Msat::new(AMOUNT)]);
}

/// b's user decides as soon as it is asked; b dies at any step; whatever follows, the HTLC goes out once.
#[test]
fn f15_a_node_that_dies_at_any_step_of_a_decision_forwards_once() {
    let mut steps = 0;
    while die_at(steps) {
        steps += 1;
    }
    assert!(steps > 20, "only {steps} steps");
}

fn die_at(steps: usize) -> bool {
    let mut world = service(Interception::All);
    world.open(1, 2, 1_000_000, 0, true);
    let before: u64 = (0..3).map(|node| world.nodes[node].balance()).sum();
    let disk = world.nodes[1].env.monitors.clone();
    disk.set_slow(true);
    let (id, hash) = world.pay(0, 2, AMOUNT);
    let release = |world: &World| {
        for (channel, htlc, _) in asked(world) {
            let _known = world.manager(1).forward_intercepted(channel, htlc, None, None);
        }
    };
    for _ in 0..steps {
        let moved = world.step_once(0);
        release(&world);
        if !moved && !world.step_once(0) {
            return false;
        }
    }
    world.restart(1);
    disk.set_slow(false);
    for _ in 0..4 {
        world.connect(0, 1);
        world.connect(1, 2);
        world.settle();
        release(&world);
        world.settle();
        world.tick();
    }
    let sent = matches!(world.endings(0, id)[..], [Event::PaymentSent { .. }]);
    assert_eq!(world.claimed(2, hash).len(), usize::from(sent), "{:?}", world.endings(0, id));
    assert_eq!((0..3).map(|node| world.nodes[node].balance()).sum::<u64>(), before);
    assert_eq!((0..3).map(|node| world.nodes[node].htlcs()).sum::<usize>(), 0);
    true
}
