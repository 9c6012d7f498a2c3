//! Hold times on their way back to the payer, and what happens to them on the way (`option_attribution_data`).
use lightning_traits::event::Event;
use lightning_traits::feature::{Feature, Features};
use lightning_traits::interface::ChannelMessageHandler as _;
use lightning_traits::wire::{Init, Message};

use super::world::World;

/// a - b - c - d, whose payee does not claim by itself.
fn line() -> World {
    let mut world = World::new(&["a", "b", "c", "d"]);
    for node in 0..3 {
        world.open(node, node + 1, 1_000_000, 0, true);
    }
    world.nodes[3].user.claims = false;
    world
}

/// All nodes' clocks show this time.
fn show(world: &World, millis: u64) {
    world.nodes.iter().for_each(|node| node.manager().note_time(millis));
}

fn hold_times(world: &World) -> Vec<Vec<u32>> {
    let seen = world.seen(0, |event| matches!(event, Event::HoldTimes { .. }));
    let times = seen.into_iter().map(|event| match event {
        Event::HoldTimes { path, hold_times, .. } => {
            assert_eq!(path.hops.len(), 3);
            hold_times
        }
        other => panic!("{other:?}"),
    });
    times.collect()
}

#[test]
fn a_payer_hears_how_long_each_node_held_what_arrived() {
    let mut world = line();
    show(&world, 5_000);
    let (_, hash) = world.pay(0, 3, 5_000_000);
    world.settle();
    show(&world, 7_340);
    world.manager(3).claim(hash).unwrap();
    world.settle();
    assert_eq!(hold_times(&world), [[23, 23, 23]]);
}

#[test]
fn and_what_came_back() {
    let mut world = line();
    show(&world, 5_000);
    let (_, hash) = world.pay(0, 3, 5_000_000);
    world.settle();
    // c's clock runs ahead.
    world.manager(2).note_time(65_000);
    show(&world, 6_000);
    world.manager(3).fail(hash).unwrap();
    world.settle();
    assert_eq!(hold_times(&world), [[10, 600, 10]]);
}

#[test]
fn a_clock_that_nobody_sets_or_that_goes_back_counts_nothing() {
    let mut world = line();
    world.manager(1).note_time(9_000);
    let (_, hash) = world.pay(0, 3, 5_000_000);
    world.settle();
    world.manager(1).note_time(4_000);
    world.manager(3).claim(hash).unwrap();
    world.settle();
    assert!(hold_times(&world).is_empty());
}

/// Whoever restarts while it holds an HTLC passes on what it is told, or begins anew: the payment is paid in any case.
#[test]
fn a_restart_on_the_way_costs_hold_times_at_most() {
    for node in 1..4 {
        let mut world = line();
        show(&world, 1_000);
        let (id, hash) = world.pay(0, 3, 5_000_000);
        world.settle();
        world.restart(node);
        show(&world, 3_000);
        world.settle();
        world.manager(3).claim(hash).unwrap();
        world.settle();
        assert!(matches!(world.endings(0, id)[..], [Event::PaymentSent { .. }]));
        let mut expected = [20; 3];
        expected[node - 1] = 0;
        assert_eq!(hold_times(&world), [expected], "{node} was restarted");
    }
}

#[test]
fn a_payer_that_restarts_reads_them_from_its_onions_keys() {
    let mut world = line();
    show(&world, 1_000);
    let (id, hash) = world.pay(0, 3, 5_000_000);
    world.settle();
    world.restart(0);
    show(&world, 3_000);
    world.settle();
    world.manager(3).claim(hash).unwrap();
    world.settle();
    assert!(matches!(world.endings(0, id)[..], [Event::PaymentSent { .. }]));
    assert_eq!(hold_times(&world), [[20, 20, 20]]);
}

/// What d sends when it fails or fulfils while its peer says in `init` that it knows these features.
fn sent_to_peer_with(features: &Features, fails: bool) -> bool {
    let mut world = line();
    let (_, hash) = world.pay(0, 3, 5_000_000);
    world.settle();
    let init = Init {
        globalfeatures: Features::empty(),
        features: features.clone(),
        networks: None,
        remote_addr: None,
        unknown: Default::default(),
    };
    let peer = world.id(2);
    world.disconnect(2, 3);
    world.connect(2, 3);
    // Only what d hears of c differs.
    world.manager(3).peer_disconnected(peer);
    world.manager(3).peer_connected(peer, &init, true).unwrap();
    world.settle();
    if fails {
        world.manager(3).fail(hash).unwrap();
    } else {
        world.manager(3).claim(hash).unwrap();
    }
    world.collect(3);
    let found = world.wires[&(3, 2)].iter().find_map(|message| match message {
        Message::UpdateFailHtlc(message) => Some(message.attribution_data.is_some()),
        Message::UpdateFulfillHtlc(message) => Some(message.attribution_data.is_some()),
        _ => None,
    });
    found.expect("it was removed")
}

#[test]
fn peers_that_do_not_know_attribution_data_are_sent_none() {
    let with = Features::node_default();
    let mut without = with.clone();
    without.clear_bit(Feature::AttributionData.optional_bit());
    for fails in [false, true] {
        assert!(sent_to_peer_with(&with, fails));
        assert!(!sent_to_peer_with(&without, fails));
    }
}
