//! Proposals of peers: put before the user, bounded, and forgotten.
use bitcoin::Amount;
use lightning_channel::channel::{AcceptOptions, OpenOptions, PhaseName};
use lightning_channel::manager::AcceptChannelError;
use lightning_traits::config::{HandshakeConfig, Trust};
use lightning_traits::event::{ChannelRequest, CloseReason, Event};
use lightning_traits::feature::ChannelType;
use lightning_traits::id::ChannelId;
use lightning_traits::interface::EventsProvider as _;
use lightning_traits::units::Msat;

use super::world::World;

const FUNDING: Amount = Amount::from_sat(100_000);

/// Nodes the last of which has this configuration.
fn world(nodes: usize, change: impl Fn(&mut HandshakeConfig)) -> World {
    let names: Vec<String> = (0..nodes).map(|node| format!("n{node}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut world = World::with(&names, |config| config.handshake.zero_conf = true);
    let last = nodes - 1;
    change(&mut world.nodes[last].config.handshake);
    world.restart(last);
    world
}

fn propose(world: &World, from: usize, to: usize) -> ChannelId {
    world.manager(from).open_channel(world.id(to), FUNDING, Msat::ZERO, false).unwrap()
}

/// What the user of a node is asked and has not answered.
fn asked(world: &World, node: usize) -> Vec<ChannelRequest> {
    let mut requests = Vec::new();
    let mut after = None;
    while let Some((id, event)) = world.manager(node).next_event(after) {
        if let Event::OpenChannelRequest(request) = event {
            requests.push(*request);
        }
        after = Some(id);
    }
    requests
}

/// Moves messages, but lets no user react.
fn exchange(world: &mut World) {
    loop {
        for node in 0..world.nodes.len() {
            world.manager(node).process();
            world.collect(node);
        }
        let wires: Vec<_> = world.wires.keys().copied().collect();
        if !wires.into_iter().any(|(from, to)| world.deliver(from, to)) {
            return;
        }
    }
}

#[test]
fn the_user_sees_every_parameter_and_may_change_what_is_its_to_choose() {
    let mut world = world(2, |config| config.ask_before_accept = true);
    world.connect(0, 1);
    let options = OpenOptions {
        push: Msat::from_sat(10_000),
        announce: false,
        zero_conf: true,
        zero_reserve: true,
        ..OpenOptions::default()
    };
    let (peer, opener) = (world.id(1), world.id(0));
    let temporary = world.manager(0).open_channel_with(peer, FUNDING, options).unwrap();
    exchange(&mut world);
    let requests = asked(&world, 1);
    let [request] = &requests[..] else { panic!("{requests:?}") };
    assert_eq!(world.manager(1).channel_requests(), requests);
    let config = &world.nodes[0].config.handshake;
    assert_eq!((request.temporary, request.peer), (temporary, opener));
    assert_eq!((request.funding, request.push), (FUNDING, Msat::from_sat(10_000)));
    assert!(!request.announce && request.zero_conf);
    assert_eq!(
        request.channel_type.clone().without(lightning_traits::feature::Feature::ZeroConf),
        ChannelType::anchors()
    );
    assert_eq!((request.reserve, request.dust_limit), (Amount::ZERO, config.dust_limit));
    assert_eq!((request.to_self_delay, request.htlc_minimum), (config.to_self_delay, config.htlc_minimum));
    assert_eq!(request.max_accepted_htlcs, config.max_accepted_htlcs);
    assert_eq!(request.max_in_flight, Msat::from_amount(FUNDING));
    assert!(request.upfront_shutdown.is_some() && request.feerate.to_sat_per_kw() > 0);

    // Not as the configuration says: it trusts nobody.
    let refused = world.manager(1).accept_channel(opener, temporary);
    assert!(matches!(refused, Err(AcceptChannelError::Terms(_))), "{refused:?}");
    assert_eq!(asked(&world, 1).len(), 1, "it still waits");
    let trust = Some(Trust { zero_conf: true, zero_reserve: true });
    let options = AcceptOptions { trust, ..AcceptOptions::default() };
    world.manager(1).accept_channel_with(opener, temporary, &options).unwrap();
    assert_eq!(
        world.manager(1).accept_channel_with(opener, temporary, &options),
        Err(AcceptChannelError::NotRequested(temporary))
    );
    assert!(asked(&world, 1).is_empty() && world.manager(1).channel_requests().is_empty());
    world.settle();
    for node in 0..2 {
        let [channel] = &world.manager(node).list_channels()[..] else { panic!() };
        let funded = channel.funded.as_ref().unwrap();
        assert!(funded.usable, "before any block");
        assert_eq!((funded.our_reserve, funded.their_reserve), (Msat::ZERO, Msat::ZERO));
    }
}

#[test]
fn the_accepter_may_ask_for_another_reserve_and_depth() {
    let mut world = world(2, |config| config.ask_before_accept = true);
    world.connect(0, 1);
    let (temporary, opener) = (propose(&world, 0, 1), world.id(0));
    exchange(&mut world);
    let reserve = Some(Amount::from_sat(3_000));
    let options = AcceptOptions { reserve, minimum_depth: Some(5), ..AcceptOptions::default() };
    world.manager(1).accept_channel_with(opener, temporary, &options).unwrap();
    world.settle();
    let [channel] = &world.manager(0).list_channels()[..] else { panic!() };
    let funded = channel.funded.as_ref().unwrap();
    assert_eq!((funded.our_reserve, funded.minimum_depth), (Msat::from_sat(3_000), 5));
    world.mine(4);
    world.settle();
    assert_eq!(world.manager(1).list_channels()[0].phase, PhaseName::AwaitingReady);
    world.mine(1);
    world.settle();
    assert_eq!(world.manager(1).list_channels()[0].phase, PhaseName::Open);
}

/// RELIABILITY A4: a peer that waits for an answer counts as much as one that got it.
#[test]
fn a04_the_limit_of_strangers_is_exact_though_nobody_answers_them() {
    let last = 53;
    for ask_before_accept in [true, false] {
        let mut world = world(last + 1, |config| {
            config.ask_before_accept = ask_before_accept;
            config.max_unaccepted = 1_000;
            config.max_unfunded_channels = 1_000;
        });
        let limit = usize::from(HandshakeConfig::default().max_unfunded_peers);
        for stranger in 0..last {
            world.connect(stranger, last);
            for _ in 0..2 {
                propose(&world, stranger, last);
            }
        }
        exchange(&mut world);
        let peers: std::collections::BTreeSet<_> =
            world.manager(last).list_channels().iter().map(|channel| channel.peer).collect();
        assert_eq!(peers.len(), limit);
        assert_eq!(world.manager(last).list_channels().len(), 2 * limit);
        assert_eq!(asked(&world, last).len(), if ask_before_accept { 2 * limit } else { 0 });
        // One goes: there is room for one more.
        let gone = (0..last).find(|node| peers.contains(&world.id(*node))).unwrap();
        world.disconnect(gone, last);
        let refused: Vec<_> = (0..last).filter(|node| !peers.contains(&world.id(*node))).collect();
        for stranger in &refused {
            propose(&world, *stranger, last);
        }
        exchange(&mut world);
        assert_eq!(world.manager(last).list_channels().len(), 2 * (limit - 1) + 1);
    }
}

#[test]
fn a03_a04_limits_are_exact_for_one_peer_for_all_together_and_for_the_unanswered() {
    // (asks, per peer, all together, unanswered) and how many of 3 peers with 5 proposals each are let in.
    let cases = [
        (false, 2, 100, 20, 6),
        (false, 5, 7, 20, 7),
        (true, 5, 100, 4, 4),
        (true, 3, 8, 100, 8),
        (true, 1, 100, 100, 3),
    ];
    for (ask, per_peer, all, unaccepted, expected) in cases {
        let mut world = world(4, |config| {
            config.ask_before_accept = ask;
            config.max_pending_per_peer = per_peer;
            config.max_unfunded_channels = all;
            config.max_unaccepted = unaccepted;
        });
        for peer in 0..3 {
            world.connect(peer, 3);
            for _ in 0..5 {
                propose(&world, peer, 3);
            }
        }
        exchange(&mut world);
        assert_eq!(world.manager(3).list_channels().len(), expected, "{per_peer} {all} {unaccepted}");
    }
}

#[test]
fn a03_what_the_user_opens_itself_and_what_has_confirmed_does_not_count() {
    for hide in [false, true] {
        let mut world = world(2, |config| {
            config.max_pending_per_peer = 1;
            config.max_unfunded_channels = 1;
            config.max_unfunded_peers = 1;
        });
        world.connect(0, 1);
        for _ in 0..3 {
            world.manager(1).open_channel(world.id(0), FUNDING, Msat::ZERO, false).unwrap();
        }
        world.settle();
        let options = OpenOptions { hide_scid: Some(hide), ..OpenOptions::default() };
        for round in 1..=3 {
            let peer = world.id(1);
            world.manager(0).open_channel_with(peer, FUNDING, options.clone()).unwrap();
            // One too many, as long as the first is not in a block.
            world.manager(0).open_channel_with(peer, FUNDING, options.clone()).unwrap();
            world.settle();
            assert_eq!(world.manager(1).list_channels().len(), 3 + round);
            world.mine(1);
            world.settle();
        }
        // Known over a restart.
        world.restart(1);
        world.settle();
        propose(&world, 0, 1);
        world.settle();
        assert_eq!(world.manager(1).list_channels().len(), 7);
    }
}

#[test]
fn a05_nothing_stays_of_proposals_whose_peers_leave_or_whose_user_is_silent() {
    let mut world = world(2, |config| {
        config.ask_before_accept = true;
        config.forget_request_after = 3;
    });
    for round in 0..50 {
        world.connect(0, 1);
        let limit = world.nodes[1].config.handshake.max_pending_per_peer;
        for _ in 0..limit {
            propose(&world, 0, 1);
        }
        exchange(&mut world);
        assert_eq!(asked(&world, 1).len(), usize::from(limit));
        if round % 2 == 0 {
            world.disconnect(0, 1);
        } else {
            for tick in 0..4 {
                assert_eq!(world.manager(1).list_channels().len(), usize::from(limit), "{tick}");
                world.manager(1).timer_tick();
            }
            exchange(&mut world);
        }
        assert!(world.manager(1).next_event(None).is_none(), "nothing is left to be answered");
        assert!(
            world.manager(1).list_channels().is_empty() && world.manager(1).channel_requests().is_empty()
        );
        world.react(0);
    }
    world.keep_record(1);
    assert!(world.nodes[1].env.monitors.stored().is_empty());
    let told = world.seen(0, |event| match event {
        Event::ChannelClosed { reason: CloseReason::NeverFunded(text), .. } => text == "no answer in time",
        _ => false,
    });
    assert_eq!(told.len(), 25 * 4, "the opener hears why");
}

/// RELIABILITY A8: temporary ids are the peer's choice.
#[test]
fn a08_a_temporary_id_is_used_once_by_a_peer_and_by_each_peer_as_it_likes() {
    let mut world = world(3, |config| config.ask_before_accept = true);
    world.connect(0, 2);
    world.connect(1, 2);
    propose(&world, 0, 2);
    world.collect(0);
    let open = world.wires[&(0, 2)].front().cloned().unwrap();
    // The same message again, from the same peer and from another.
    for (from, times) in [(0, 2), (1, 1)] {
        for _ in 0..times {
            world.wires.entry((from, 2)).or_default().push_back(open.clone());
        }
    }
    while world.deliver(0, 2) || world.deliver(1, 2) {}
    // The error for the second names the first as well: its opener must not hear of what it has not done.
    world.collect(2);
    let refusals = world.wires.remove(&(2, 0)).unwrap();
    assert_eq!(refusals.len(), 2);
    let requests = asked(&world, 2);
    assert_eq!(requests.len(), 2);
    assert_eq!(requests[0].temporary, requests[1].temporary);
    let (first, second) = (world.id(0), world.id(1));
    let temporary = requests[0].temporary;
    world.manager(2).refuse_channel(second, temporary, "no").unwrap();
    exchange(&mut world);
    assert_eq!(asked(&world, 2).len(), 1, "the other's is not touched");
    world.manager(2).accept_channel(first, temporary).unwrap();
    world.settle();
    let channels = world.manager(2).list_channels();
    assert_eq!(channels.len(), 1);
    assert_eq!(channels[0].peer, first);
    // The temporary id is free once the channel has its lasting one, which is not.
    let lasting = channels[0].channel;
    let lightning_traits::wire::Message::OpenChannel(mut again) = open else { panic!() };
    for (temporary, expected) in [(temporary, 2), (lasting, 2)] {
        again.temporary_channel_id = temporary;
        let message = lightning_traits::wire::Message::OpenChannel(again.clone());
        world.wires.entry((0, 2)).or_default().push_back(message);
        exchange(&mut world);
        assert_eq!(world.manager(2).list_channels().len(), expected);
    }
}
