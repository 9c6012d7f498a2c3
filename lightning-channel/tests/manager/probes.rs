//! Probes: what they find out, and that they leave nothing behind.
use lightning_channel::payment::{PayError, ProbeParams};
use lightning_traits::event::{Event, ProbeResult};
use lightning_traits::id::PaymentId;
use lightning_traits::route::PathOutcome;
use lightning_traits::units::Msat;

use super::world::World;

const ID: PaymentId = PaymentId([9; 32]);

fn line() -> World {
    let mut world = World::new(&["a", "b", "c"]);
    world.open(0, 1, 1_000_000, 0, true);
    world.open(1, 2, 500_000, 0, true);
    world
}

fn results(world: &World) -> Vec<ProbeResult> {
    let seen = world.seen(0, |event| matches!(event, Event::ProbeEnded { .. }));
    let results = seen.into_iter().map(|event| match event {
        Event::ProbeEnded { id, result, .. } => {
            assert_eq!(id, ID);
            result
        }
        other => panic!("{other:?}"),
    });
    results.collect()
}

/// Nothing of a probe is in flight, was credited, or is said to be a payment.
fn leaves_no_trace(world: &World) {
    assert_eq!((0..3).map(|node| world.nodes[node].htlcs()).sum::<usize>(), 0);
    assert!(world.manager(0).list_payments().is_empty());
    let is_about_payments = |event: &Event| {
        matches!(event, Event::PaymentSent { .. } | Event::PaymentFailed { .. } | Event::AttemptFailed { .. })
    };
    assert!(world.seen(0, is_about_payments).is_empty());
    assert!(world.seen(2, |event| matches!(event, Event::PaymentClaimable { .. })).is_empty());
}

#[test]
fn a_probe_that_arrives_says_so_to_user_and_route_finder() {
    let mut world = line();
    let before = world.nodes[0].balance();
    let params = ProbeParams::new(world.id(2), Msat::new(100_000_000));
    world.manager(0).send_probe(ID, params.clone()).unwrap();
    assert_eq!(world.manager(0).send_probe(ID, params.clone()), Err(PayError::Duplicate(ID)));
    let invoice = world.invoice(2, 5_000);
    assert_eq!(world.manager(0).pay(ID, world.params(2, 5_000, &invoice)), Err(PayError::Duplicate(ID)));
    world.settle();
    assert_eq!(results(&world), [ProbeResult::Arrived]);
    assert_eq!(world.nodes[0].balance(), before);
    let reports = world.nodes[0].env.routes.reports();
    assert!(matches!(reports[..], [ref report] if report.outcome == PathOutcome::Delivered));
    leaves_no_trace(&world);
    // The name is free again.
    world.manager(0).probe_along(ID, reports[0].path.clone()).unwrap();
    world.settle();
    assert_eq!(results(&world).len(), 2);
}

#[test]
fn a_probe_that_does_not_arrive_says_where() {
    let mut world = line();
    let params = ProbeParams::new(world.id(2), Msat::new(700_000_000));
    world.manager(0).send_probe(ID, params.clone()).unwrap();
    world.settle();
    let [ProbeResult::Failed { channel, failure }] = &results(&world)[..] else { panic!() };
    let channels = world.manager(1).list_channels();
    let narrow = channels.iter().find(|channel| channel.peer == world.id(2)).unwrap();
    assert_eq!(
        (*channel, failure.as_str()),
        (narrow.funded.as_ref().unwrap().scid, "temporary_channel_failure at hop 0")
    );
    let reports = world.nodes[0].env.routes.reports();
    assert!(matches!(reports[0].outcome, PathOutcome::FailedAt { channel: 1, temporary: true }));
    leaves_no_trace(&world);

    let params = ProbeParams::new(world.id(2), Msat::new(2_000_000_000));
    world.manager(0).send_probe(ID, params).unwrap();
    world.settle();
    assert!(matches!(results(&world)[1], ProbeResult::NoRoute(_)));
    assert_eq!(
        world.manager(0).send_probe(ID, ProbeParams::new(world.id(2), Msat::ZERO)),
        Err(PayError::Nothing)
    );
}

#[test]
fn routes_for_probes_may_come_late_or_never() {
    let mut world = line();
    world.nodes[0].env.routes.set_late(true);
    let params = ProbeParams::new(world.id(2), Msat::new(100_000_000));
    world.manager(0).send_probe(ID, params.clone()).unwrap();
    world.settle();
    assert_eq!(results(&world), [ProbeResult::Arrived]);
    world.nodes[0].env.routes.lose_late();
    world.manager(0).send_probe(ID, params).unwrap();
    world.nodes[0].env.routes.lose_late();
    world.tick();
    world.tick();
    world.settle();
    assert!(matches!(&results(&world)[1], ProbeResult::NoRoute(why) if why.contains("no answer")));
    leaves_no_trace(&world);
}

/// Wherever the payer dies, a probe of its earlier life is taken for none of its payments.
#[test]
fn a_probe_that_its_node_has_forgotten_ends_without_a_word_of_payments() {
    for steps in 0.. {
        let mut world = line();
        let params = ProbeParams::new(world.id(2), Msat::new(100_000_000));
        world.manager(0).send_probe(ID, params).unwrap();
        let is_over = (0..steps).any(|_| !world.step_once(0));
        world.restart(0);
        for _ in 0..3 {
            world.settle();
            world.tick();
        }
        assert!(results(&world).iter().all(|result| *result == ProbeResult::Arrived));
        leaves_no_trace(&world);
        if is_over {
            assert!(steps > 10, "only {steps} steps");
            return;
        }
    }
}
