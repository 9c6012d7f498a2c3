//! Channels used before they confirm, and channels that do not say where they are, in a network.
use bitcoin::Amount;
use lightning_channel::channel::{OpenOptions, PhaseName};
use lightning_traits::config::Trust;
use lightning_traits::event::Event;
use lightning_traits::id::ChannelId;
use lightning_traits::units::Msat;

use super::mocks::Edge;
use super::world::World;

/// a - b are connected by a channel that is in a block, b - c by one that is in none.
fn line(hide_scid: bool) -> (World, ChannelId) {
    let mut world = World::with(&["a", "b", "c"], |config| config.handshake.zero_conf = true);
    world.open(0, 1, 1_000_000, 0, true);
    let (opener, accepter) = (world.id(1), world.id(2));
    let trust = Trust { zero_conf: true, zero_reserve: false };
    world.nodes[2].config.handshake.trusted.insert(opener, trust);
    world.restart(2);
    world.connect(1, 2);
    let options = OpenOptions { zero_conf: true, hide_scid: Some(hide_scid), ..OpenOptions::default() };
    world.manager(1).open_channel_with(accepter, Amount::from_sat(500_000), options).unwrap();
    world.settle();
    let channels = world.manager(2).list_channels();
    assert_eq!((channels.len(), channels[0].phase), (1, PhaseName::Open));
    (world, channels[0].channel)
}

/// The payer knows the last hop by the payee's hint only.
fn know_hint(world: &mut World) -> Edge {
    let hints = world.manager(2).route_hints();
    let [hint] = &hints[..] else { panic!("{hints:?}") };
    let hop = &hint.hops[0];
    let edge = Edge { scid: hop.scid, ..world.edge(hop.scid, 1, 2) };
    world.nodes[0].env.routes.add(edge);
    edge
}

#[test]
fn a12_payments_are_forwarded_over_an_alias_before_and_after_the_first_block() {
    for hide_scid in [false, true] {
        let (mut world, channel) = line(hide_scid);
        let edge = know_hint(&mut world);
        let (id, _) = world.pay(0, 2, 10_000_000);
        world.settle();
        assert!(matches!(world.endings(0, id)[..], [Event::PaymentSent { .. }]));
        // A restart of the forwarder and of the payee, still without a block.
        for node in [1, 2] {
            world.restart(node);
            world.settle();
        }
        let (id, _) = world.pay(0, 2, 10_000_000);
        world.settle();
        assert!(matches!(world.endings(0, id)[..], [Event::PaymentSent { .. }]));
        world.mine(6);
        world.settle();
        let (id, _) = world.pay(0, 2, 10_000_000);
        world.settle();
        assert!(matches!(world.endings(0, id)[..], [Event::PaymentSent { .. }]), "the alias stays good");
        let details = world.manager(2).list_channels();
        let funded = details.iter().find(|details| details.channel == channel).unwrap();
        let real = funded.funded.as_ref().unwrap().scid.unwrap();
        assert_ne!(edge.scid, real);
        let hints = world.manager(2).route_hints();
        assert_eq!(hints[0].hops[0].scid, edge.scid, "the hint does not change");

        // Who guesses the real id gets nowhere, if it is hidden (BOLT 2: "MUST NOT allow incoming HTLCs").
        world.nodes[0].env.routes.retain(|_| false);
        let first = world.manager(0).list_channels()[0].funded.as_ref().unwrap().scid.unwrap();
        let known = world.edge(first, 0, 1);
        world.nodes[0].env.routes.add(known);
        world.nodes[0].env.routes.add(Edge { scid: real, ..edge });
        let (id, _) = world.pay(0, 2, 10_000_000);
        world.settle();
        let sent = matches!(world.endings(0, id)[..], [Event::PaymentSent { .. }]);
        assert_eq!(sent, !hide_scid);
        if hide_scid {
            assert!(
                world.failures(0).iter().any(|text| text.contains("unknown_next_peer")),
                "{:?}",
                world.failures(0)
            );
        }
    }
}

#[test]
fn a12_a_channel_used_early_over_a_reorganisation_and_restarts_loses_nothing() {
    let (mut world, _) = line(true);
    know_hint(&mut world);
    world.nodes[2].user.claims = false;
    let (id, hash) = world.pay(0, 2, 10_000_000);
    world.settle();
    world.mine(1);
    world.settle();
    world.crash(1);
    world.replace_last_block(1);
    world.start(1);
    world.connect(0, 1);
    world.connect(1, 2);
    world.settle();
    world.manager(2).claim(hash).unwrap();
    world.settle();
    assert!(matches!(world.endings(0, id)[..], [Event::PaymentSent { .. }]));
    world.mine(3);
    world.settle();
    assert_eq!(world.claimed(2, hash), [Msat::new(10_000_000)]);
    assert!(world.manager(2).list_channels().iter().all(|channel| channel.phase == PhaseName::Open));
}
