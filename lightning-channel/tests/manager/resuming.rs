//! Payments under way over restarts of their payer: they go on, within their limits, and end once (RELIABILITY F12, F11).
use lightning_channel::payment::{PayError, PayParams};
use lightning_traits::event::{Event, PaymentFailure};
use lightning_traits::id::PaymentId;
use lightning_traits::interface::EventsProvider as _;
use lightning_traits::payment::{PaymentHash, Preimage};
use lightning_traits::units::Msat;

use super::world::World;

const MSAT: u64 = 30_000_000;

/// a - b - d and a - c - d.
fn diamond() -> World {
    let mut world = World::new(&["a", "b", "c", "d"]);
    for (from, to) in [(0, 1), (0, 2), (1, 3), (2, 3)] {
        world.open(from, to, 1_000_000, 0, true);
    }
    world
}

/// Which node of the two in the middle a's payments take first.
fn first_way(world: &World) -> usize {
    let first = world.manager(0).first_hops()[0].node;
    if first == world.id(1) { 1 } else { 2 }
}

fn begin(world: &mut World, msat: u64, change: impl Fn(&mut PayParams)) -> (PaymentId, PaymentHash) {
    let invoice = world.invoice(3, msat);
    let mut params = world.params(3, msat, &invoice);
    change(&mut params);
    let id = world.new_payment();
    world.manager(0).pay(id, params).unwrap();
    (id, invoice.hash)
}

fn is_sent(world: &World, id: PaymentId) -> bool {
    matches!(world.endings(0, id)[..], [Event::PaymentSent { .. }])
}

fn failure(world: &World, id: PaymentId) -> PaymentFailure {
    match &world.endings(0, id)[..] {
        [Event::PaymentFailed { reason, .. }] => reason.clone(),
        other => panic!("{other:?}"),
    }
}

/// What a's user has been told of the end of a payment, and has not acknowledged.
fn told(world: &World, id: PaymentId) -> Option<Event> {
    let mut after = None;
    while let Some((at, event)) = world.manager(0).next_event(after) {
        match &event {
            Event::PaymentSent { id: of, .. } | Event::PaymentFailed { id: of, .. } if *of == id => {
                return Some(event);
            }
            _ => after = Some(at),
        }
    }
    None
}

/// One message is delivered; a's user looks away.
fn step_unseen(world: &mut World) {
    for node in 0..4 {
        world.manager(node).process();
        world.keep_record(node);
        if node > 0 {
            world.react(node);
        }
        world.collect(node);
    }
    let wires: Vec<_> = world.wires.keys().copied().collect();
    let _moved = wires.into_iter().any(|(from, to)| world.deliver(from, to));
}

#[test]
fn f12_a_payment_that_was_only_wanted_goes_on_after_any_number_of_restarts() {
    for restarts in 0..3 {
        for keysend in [false, true] {
            let mut world = diamond();
            world.nodes[0].env.routes.set_mute(true);
            let (id, hash) = if keysend {
                let preimage = Preimage::new([77; 32]);
                let params = PayParams::spontaneous(world.id(3), Msat::new(MSAT), preimage);
                let (id, hash) = (world.new_payment(), params.hash);
                world.manager(0).pay(id, params).unwrap();
                (id, hash)
            } else {
                begin(&mut world, MSAT, |_| {})
            };
            world.keep_record(0);
            world.settle();
            for _ in 0..restarts {
                world.restart(0);
                world.settle();
            }
            world.nodes[0].env.routes.set_mute(false);
            for _ in 0..3 {
                world.tick();
                world.settle();
            }
            assert!(is_sent(&world, id), "{restarts} restarts: {:?}", world.endings(0, id));
            assert_eq!(world.claimed(3, hash), [Msat::new(MSAT)]);
        }
    }
}

#[test]
fn f12_after_a_restart_it_waits_for_peers_but_not_for_ever() {
    for comes_back in [true, false] {
        let mut world = diamond();
        world.nodes[0].env.routes.set_mute(true);
        let (id, _) = begin(&mut world, MSAT, |_| {});
        world.keep_record(0);
        world.crash(0);
        world.nodes[0].env.routes.set_mute(false);
        world.start(0);
        world.settle();
        world.tick();
        world.settle();
        assert!(world.endings(0, id).is_empty(), "its peers may come back");
        if comes_back {
            world.connect(0, 1);
            world.settle();
            assert!(is_sent(&world, id));
            continue;
        }
        for _ in 0..3 {
            world.tick();
            world.settle();
        }
        assert!(matches!(failure(&world, id), PaymentFailure::NoRoute(_)));
    }
}

/// The part fails on its way, before, during or after a restart of the payer.
#[test]
fn f12_a_part_that_fails_after_a_restart_is_tried_another_way() {
    for steps in 0..60 {
        let mut world = diamond();
        let broken = first_way(&world);
        world.disconnect(broken, 3);
        let (id, hash) = begin(&mut world, MSAT, |_| {});
        world.keep_record(0);
        for _ in 0..steps {
            world.step_once(0);
        }
        world.restart(0);
        world.settle();
        // What is written with the next step of a channel is written now.
        world.tick();
        world.settle();
        assert!(is_sent(&world, id), "after {steps} steps: {:?}", world.endings(0, id));
        assert_eq!(world.claimed(3, hash), [Msat::new(MSAT)], "after {steps} steps");
        let left = world.manager(0).list_payments();
        assert!(left.is_empty(), "after {steps} steps: {left:?}");
        assert_eq!((0..4).map(|node| world.nodes[node].htlcs()).sum::<usize>(), 0);
    }
}

/// One of two parts fails; the other waits at the payee.
#[test]
fn f12_the_rest_of_a_payment_in_parts_follows_after_a_restart() {
    for steps in (0..60).step_by(3) {
        let mut world = diamond();
        world.open(0, 1, 1_000_000, 0, true);
        let amount = 1_200_000_000;
        world.disconnect(2, 3);
        let (id, hash) = begin(&mut world, amount, |params| params.max_parts = 8);
        world.keep_record(0);
        for _ in 0..steps {
            world.step_once(0);
        }
        world.restart(0);
        world.settle();
        if world.endings(0, id).is_empty() {
            // The only way that carries the rest is back.
            world.connect(2, 3);
            world.settle();
            world.tick();
            world.settle();
        }
        let (ends, claimed) = (world.endings(0, id), world.claimed(3, hash));
        match &ends[..] {
            [Event::PaymentSent { .. }] => assert_eq!(claimed, [Msat::new(amount)], "after {steps} steps"),
            [Event::PaymentFailed { .. }] => assert!(claimed.is_empty(), "after {steps} steps"),
            other => {
                for _ in 0..4 {
                    world.tick();
                    world.settle();
                }
                assert_eq!(world.endings(0, id).len(), 1, "after {steps} steps: {other:?}");
            }
        }
        assert_eq!((0..4).map(|node| world.nodes[node].htlcs()).sum::<usize>(), 0);
    }
}

#[test]
fn f12_attempts_are_counted_over_restarts() {
    for every in [1, 2, 5] {
        let mut world = World::with(&["a", "b", "c", "d"], |config| config.payment.max_attempts = 3);
        for (from, to) in [(0, 1), (0, 2), (1, 3), (2, 3)] {
            world.open(from, to, 1_000_000, 0, true);
            world.open(from, to, 1_000_000, 0, true);
        }
        world.disconnect(1, 3);
        world.disconnect(2, 3);
        let (id, hash) = begin(&mut world, MSAT, |_| {});
        let (mut steps, mut restarts) = (0, 0);
        while world.endings(0, id).is_empty() {
            world.step_once(0);
            steps += 1;
            if steps % every == 0 && steps < 60 {
                world.restart(0);
                restarts += 1;
            }
            assert!(steps < 1_000, "it never ends");
        }
        failure(&world, id);
        // After a restart one may die with the process, and each of four channels that come back is reason for another.
        let asked = world.nodes[0].env.routes.queries().len();
        assert!(asked <= 3 + 5 * restarts, "{asked} questions, {restarts} restarts");
        assert!(world.claimed(3, hash).is_empty());
        world.settle();
        assert!(world.manager(0).list_payments().is_empty());
        assert_eq!(world.nodes[0].htlcs(), 0);
    }
}

#[test]
fn f12_its_time_is_counted_over_restarts() {
    for restarts in 0..3 {
        let mut world = diamond();
        world.nodes[0].env.routes.set_mute(true);
        let (id, hash) = begin(&mut world, MSAT, |params| params.max_ticks = Some(4));
        world.settle();
        for _ in 0..3 {
            world.tick();
            world.settle();
        }
        for _ in 0..restarts {
            world.restart(0);
            world.settle();
        }
        assert!(world.endings(0, id).is_empty());
        world.tick();
        world.settle();
        assert!(matches!(failure(&world, id), PaymentFailure::TimedOut { .. }));
        world.nodes[0].env.routes.set_mute(false);
        world.tick();
        world.settle();
        assert!(world.claimed(3, hash).is_empty());
    }
}

#[test]
fn f12_the_fee_limit_holds_over_restarts() {
    // One hop's base fee and a hundred millionths.
    let fee = 1_000 + MSAT / 10_000;
    for (limit, arrives) in [(fee, true), (fee - 1, false)] {
        let mut world = diamond();
        world.nodes[0].env.routes.set_mute(true);
        let (id, _) = begin(&mut world, MSAT, |params| params.max_fee = Some(Msat::new(limit)));
        world.settle();
        world.nodes[0].env.routes.set_mute(false);
        world.restart(0);
        for _ in 0..5 {
            world.settle();
            world.tick();
        }
        world.settle();
        assert_eq!(is_sent(&world, id), arrives, "{limit}: {:?}", world.endings(0, id));
    }
}

/// The user sees that a payment failed, and dies before it has taken note. The way is open meanwhile: what was said to have
/// failed is not paid behind its back.
#[test]
fn f12_what_was_said_to_have_failed_is_not_begun_again() {
    for (abandoned, restarts) in [(false, 1), (false, 2), (true, 1), (true, 2)] {
        for steps in 0..40 {
            let mut world = diamond();
            world.disconnect(1, 3);
            world.disconnect(2, 3);
            let (id, hash) = begin(&mut world, MSAT, |_| {});
            if abandoned {
                assert!(world.manager(0).abandon(id));
            }
            for _ in 0..steps {
                step_unseen(&mut world);
            }
            // Seen, and not acknowledged.
            let told = told(&world, id);
            world.connect(1, 3);
            world.connect(2, 3);
            for _ in 0..restarts {
                world.restart(0);
                world.settle();
            }
            for _ in 0..4 {
                world.tick();
                world.settle();
            }
            let ends = world.endings(0, id);
            match (told, &ends[..]) {
                (Some(Event::PaymentFailed { .. }), [Event::PaymentFailed { .. }]) => {
                    assert!(world.claimed(3, hash).is_empty(), "after {steps} steps");
                }
                (None, [Event::PaymentFailed { .. }]) => assert!(world.claimed(3, hash).is_empty()),
                (None | Some(Event::PaymentSent { .. }), [Event::PaymentSent { .. }]) => {
                    assert_eq!(world.claimed(3, hash).len(), 1);
                }
                // Before its record was kept it is forgotten, and nothing was sent.
                (None, []) => assert!(steps == 0 && world.claimed(3, hash).is_empty(), "after {steps} steps"),
                other => panic!("after {steps} steps: {other:?}"),
            }
        }
    }
}

/// Asked for again by the same name over any crash, it is the same payment.
#[test]
fn f12_the_same_id_is_the_same_payment_until_its_end_is_acknowledged() {
    for steps in 0..50 {
        let mut world = diamond();
        let invoice = world.invoice(3, MSAT);
        let params = world.params(3, MSAT, &invoice);
        let id = world.new_payment();
        world.manager(0).pay(id, params.clone()).unwrap();
        world.keep_record(0);
        for _ in 0..steps {
            world.step_once(0);
        }
        let is_over = !world.endings(0, id).is_empty();
        world.restart(0);
        let again = world.manager(0).pay(id, params);
        assert!(is_over || again == Err(PayError::Duplicate(id)), "after {steps} steps: {again:?}");
        world.settle();
        assert_eq!(world.claimed(3, invoice.hash), [Msat::new(MSAT)], "after {steps} steps");
        assert_eq!(world.nodes[3].balance(), MSAT);
    }
}
