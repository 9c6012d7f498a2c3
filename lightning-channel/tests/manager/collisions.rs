//! Names that are used twice, outpoints that are used twice, connections that come twice (RELIABILITY A7, A8, A13), and floods.
use std::collections::BTreeSet;

use bitcoin::Amount;
use lightning_channel::channel::PhaseName;
use lightning_traits::event::{CloseReason, Event};
use lightning_traits::id::{ChannelId, EventId, NodeId};
use lightning_traits::interface::{ChannelMessageHandler as _, EventsProvider as _};
use lightning_traits::monitor::MonitorEvent;
use lightning_traits::units::Msat;
use lightning_traits::wire::{ChannelMessage, ErrorMessage, FundingCreated, Init, Message};

use super::world::World;

const FUNDING: Amount = Amount::from_sat(1_000_000);

/// Moves messages until a node has sent its `funding_created`, which is held back.
fn until_created(world: &mut World, from: usize, to: usize) -> FundingCreated {
    for _ in 0..100 {
        for node in 0..world.nodes.len() {
            world.manager(node).process();
            world.react(node);
            world.collect(node);
        }
        let wire = world.wires.entry((from, to)).or_default();
        if let Some(Message::FundingCreated(created)) = wire.front() {
            let created = created.clone();
            wire.pop_front();
            return created;
        }
        world.deliver(from, to);
        world.deliver(to, from);
    }
    panic!("there is no funding_created");
}

fn pay_works(world: &mut World, from: usize, to: usize) {
    let (id, _) = world.pay(from, to, 5_000_000);
    world.settle();
    assert!(matches!(world.endings(from, id)[..], [Event::PaymentSent { .. }]));
}

/// Another channel names the same output: refused, whoever does it and whenever, and the first goes on.
#[test]
fn a07_a_second_channel_on_one_funding_output_is_refused_and_the_first_unharmed() {
    for second in [0, 2] {
        for confirmed in [true, false] {
            for restart in [true, false] {
                let mut world = World::new(&["a", "b", "c"]);
                world.connect(0, 1);
                world.connect(2, 1);
                let first = if confirmed {
                    world.open(0, 1, 1_000_000, 0, false)
                } else {
                    world.manager(0).open_channel(world.id(1), FUNDING, Msat::ZERO, false).unwrap();
                    world.settle();
                    world.manager(1).list_channels()[0].channel
                };
                if restart {
                    world.restart(1);
                }
                let outpoint = world.manager(1).list_channels()[0].funded.as_ref().unwrap().funding;
                world.manager(second).open_channel(world.id(1), FUNDING, Msat::ZERO, false).unwrap();
                let mut created = until_created(&mut world, second, 1);
                created.funding_txid = outpoint.txid;
                created.funding_output_index = u16::try_from(outpoint.vout).unwrap();
                world.wires.entry((second, 1)).or_default().push_front(created.into());
                world.settle();
                let channels = world.manager(1).list_channels();
                assert_eq!(channels.iter().map(|channel| channel.channel).collect::<Vec<_>>(), [first]);
                assert_eq!(world.nodes[1].env.monitors.stored().len(), 1);
                let refused = world.seen(second, |event| matches!(event, Event::ChannelClosed { .. }));
                assert!(matches!(
                    refused[..],
                    [Event::ChannelClosed { reason: CloseReason::NeverFunded(_), .. }]
                ));
                if !confirmed {
                    world.mine(6);
                    world.settle();
                    let scid = world.manager(0).list_channels()[0].funded.as_ref().unwrap().scid.unwrap();
                    let edge = world.edge(scid, 0, 1);
                    world.nodes[0].env.routes.add(edge);
                }
                pay_works(&mut world, 0, 1);
            }
        }
    }
}

/// After the first was closed, resolved and forgotten, its output is spent: whoever names it cannot sign for it, and if it
/// could, the channel would never confirm.
#[test]
fn a07_the_output_of_a_closed_channel_makes_no_other() {
    let mut world = World::new(&["a", "b"]);
    let first = world.open(0, 1, 1_000_000, 0, false);
    let outpoint = world.manager(1).list_channels()[0].funded.as_ref().unwrap().funding;
    world.manager(0).force_close(first).unwrap();
    world.settle();
    for node in 0..2 {
        world.nodes[node].env.monitors.report(MonitorEvent::Resolved { channel: first });
    }
    world.settle();
    world.tick();
    world.settle();
    assert!(world.manager(1).list_channels().is_empty());
    world.manager(0).open_channel(world.id(1), FUNDING, Msat::ZERO, false).unwrap();
    let mut created = until_created(&mut world, 0, 1);
    created.funding_txid = outpoint.txid;
    world.wires.entry((0, 1)).or_default().push_front(created.into());
    world.settle();
    assert!(world.manager(1).list_channels().is_empty());
}

/// Events that a user has not acknowledged, by their ids.
fn untold(world: &World, node: usize) -> Vec<(EventId, Event)> {
    let mut events = Vec::new();
    while let Some((id, event)) = world.manager(node).next_event(events.last().map(|(id, _)| *id)) {
        events.push((id, event));
    }
    events
}

/// How a proposal ends before anything of it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The peer says `error`.
    Error(&'static str),
    /// The peer names the funding output of another channel.
    Taken,
    /// The connection ends.
    Gone,
}

/// RELIABILITY A8, I11, O7: temporary ids are what peers make them. Two proposals of one id, of one peer or of two, end under two
/// event ids, each with its own reason.
#[test]
fn a08_two_proposals_of_one_temporary_id_end_under_two_event_ids() {
    let ends = [End::Error("one"), End::Error("two"), End::Taken, End::Gone];
    for (first, second) in ends.iter().flat_map(|first| ends.iter().map(move |second| (*first, *second))) {
        for other_peer in [false, true] {
            let what = format!("{first:?}, then {second:?}, of another peer {other_peer}");
            let mut world = World::new(&["a", "b", "c"]);
            let channel = world.open(0, 1, 1_000_000, 0, false);
            let outpoint = world.manager(1).list_channels()[0].funded.as_ref().unwrap().funding;
            world.connect(2, 1);
            world.manager(2).open_channel(world.id(1), FUNDING, Msat::ZERO, false).unwrap();
            let created = until_created(&mut world, 2, 1);
            // Again, from the beginning.
            world.disconnect(2, 1);
            world.settle();
            world.connect(2, 1);
            world.wires.clear();
            world.manager(2).open_channel(world.id(1), FUNDING, Msat::ZERO, false).unwrap();
            world.collect(2);
            let Some(Message::OpenChannel(open)) = world.wires[&(2, 1)].front().cloned() else { panic!() };
            world.wires.clear();
            assert!(untold(&world, 1).is_empty(), "{what}");
            let temporary = ChannelId([9; 32]);
            let mut seen = Vec::new();
            for (end, from) in [(first, 2), (second, if other_peer { 0 } else { 2 })] {
                let (peer, victim) = (world.id(from), world.manager(1));
                let mut open = open.clone();
                open.temporary_channel_id = temporary;
                victim.on_channel_message(peer, ChannelMessage::OpenChannel(open));
                match end {
                    End::Error(text) => {
                        let (channel_id, data) = (temporary, text.as_bytes().to_vec());
                        victim
                            .on_error(peer, &ErrorMessage { channel_id, data, unknown: Default::default() });
                    }
                    End::Taken => {
                        let mut created = created.clone();
                        created.temporary_channel_id = temporary;
                        created.funding_txid = outpoint.txid;
                        created.funding_output_index = u16::try_from(outpoint.vout).unwrap();
                        victim.on_channel_message(peer, ChannelMessage::FundingCreated(created));
                    }
                    End::Gone => victim.peer_disconnected(peer),
                }
                if end == End::Gone {
                    world.wires.clear();
                    world.disconnect(from, 1);
                    world.connect(from, 1);
                }
                let news: Vec<_> =
                    untold(&world, 1).into_iter().filter(|event| !seen.contains(event)).collect();
                let [(_, Event::ChannelClosed { channel, reason, peer: of })] = &news[..] else {
                    panic!("{what}: {news:?}")
                };
                assert_eq!((*channel, *of), (temporary, peer), "{what}");
                assert!(matches!(reason, CloseReason::NeverFunded(_)), "{what}");
                seen.extend(news);
            }
            assert_eq!(untold(&world, 1), seen, "{what}: nothing takes the place of anything");
            assert_ne!(seen[0].0, seen[1].0, "{what}");
            world.settle();
            assert!(untold(&world, 1).is_empty(), "{what}");
            assert_eq!(world.manager(1).list_channels()[0].channel, channel);
        }
    }
}

/// RELIABILITY A8, I11: the temporary id of a proposal is the lasting id of a channel with somebody else. It is refused, and what
/// that channel has to say is not lost to it: not even when its user has not yet heard that it closed.
#[test]
fn a08_a_temporary_id_is_never_that_of_another_channel() {
    for from in [0, 2] {
        for closed in [false, true] {
            let mut world = World::new(&["a", "b", "c"]);
            let channel = world.open(0, 1, 1_000_000, 0, false);
            world.connect(2, 1);
            world.manager(from).open_channel(world.id(1), FUNDING, Msat::ZERO, false).unwrap();
            world.collect(from);
            let wire = world.wires.remove(&(from, 1)).unwrap();
            let open = wire.iter().find_map(|message| match message {
                Message::OpenChannel(open) => Some(open.clone()),
                _ => None,
            });
            let mut open = open.unwrap();
            if closed {
                world.manager(1).force_close(channel).unwrap();
            }
            let before = untold(&world, 1);
            assert_eq!(before.len(), usize::from(closed));
            open.temporary_channel_id = channel;
            let (peer, victim) = (world.id(from), world.manager(1));
            victim.on_channel_message(peer, ChannelMessage::OpenChannel(open));
            assert_eq!(victim.list_channels().len(), 1, "from {from}, closed {closed}");
            let data = b"changed my mind".to_vec();
            let error = ErrorMessage { channel_id: channel, data, unknown: Default::default() };
            if from == 2 {
                victim.on_error(peer, &error);
                victim.peer_disconnected(peer);
                assert_eq!(untold(&world, 1), before, "closed {closed}");
                assert_eq!(
                    victim.list_channels()[0].phase == PhaseName::Resolving,
                    closed,
                    "an error of a stranger is about nothing"
                );
            }
        }
    }
}

/// The disk does not take a new channel: there is none, on either side, and nothing is broadcast.
#[test]
fn a08_a_first_write_that_is_refused_ends_the_opening() {
    for refusing in 0..2 {
        let mut world = World::new(&["a", "b"]);
        world.connect(0, 1);
        world.nodes[refusing].env.monitors.set_full(true);
        world.manager(0).open_channel(world.id(1), FUNDING, Msat::ZERO, false).unwrap();
        let created = until_created(&mut world, 0, 1);
        let txid = created.funding_txid;
        world.wires.entry((0, 1)).or_default().push_front(created.into());
        world.settle();
        assert!(!world.is_broadcast(txid));
        assert!(world.manager(refusing).list_channels().is_empty());
        let closed = world.seen(refusing, |event| match event {
            Event::ChannelClosed { reason: CloseReason::NeverFunded(text), .. } => text.contains("stored"),
            _ => false,
        });
        assert_eq!(closed.len(), 1);
        assert!(world.seen(refusing, |event| matches!(event, Event::ChannelPending { .. })).is_empty());
        // The peer has heard of it; once there is room, the next one opens.
        assert!(world.manager(1 - refusing).list_channels().iter().all(|c| c.phase == PhaseName::Resolving));
        world.nodes[refusing].env.monitors.set_full(false);
        world.open(0, 1, 500_000, 0, false);
        pay_works(&mut world, 0, 1);
    }
}

/// A connection that is reported again, or whose end is reported late, at each step of an opening.
#[test]
fn a13_connections_that_come_twice_open_a_channel_once_or_not_at_all() {
    for from in 0..2 {
        for at in 0..60 {
            let mut world = World::new(&["a", "b"]);
            world.connect(0, 1);
            world.manager(0).open_channel(world.id(1), FUNDING, Msat::ZERO, false).unwrap();
            let mut steps = 0;
            while steps < at && world.step_once(0) {
                steps += 1;
            }
            let init = Init {
                globalfeatures: Default::default(),
                features: world.manager(1 - from).features(),
                networks: None,
                remote_addr: None,
                unknown: Default::default(),
            };
            // The old connection was not seen to die; what it carried is lost.
            let peer = world.id(1 - from);
            world.wires.clear();
            world.manager(from).peer_connected(peer, &init, true).unwrap();
            world.collect(from);
            world.wires.clear();
            world.disconnect(0, 1);
            world.connect(0, 1);
            world.settle();
            world.mine(6);
            world.settle();
            let open = |node: usize| {
                let channels = world.manager(node).list_channels();
                channels.iter().filter(|channel| channel.phase == PhaseName::Open).count()
            };
            // What only the accepter knows is never funded, and is forgotten in its time.
            assert!(open(0) == open(1) && open(0) <= 1, "{from} at {at}: {} {}", open(0), open(1));
            assert!(
                world.manager(0).list_channels().len() <= 1 && world.manager(1).list_channels().len() <= 1
            );
            if steps < at {
                assert_eq!(open(0), 1);
                break;
            }
        }
    }
}

/// RELIABILITY A3: strangers come and go, each with a key of its own, and propose what they never fund.
#[test]
fn a03_a_flood_of_strangers_costs_a_bounded_number_of_channels_and_nothing_once_they_are_gone() {
    flood(2_000, 5);
}

/// So many strangers, each with so many proposals.
pub(crate) fn flood(strangers: u32, each: u8) {
    let mut world = World::new(&["a", "b", "c"]);
    let channel = world.open(0, 2, 1_000_000, 0, false);
    world.connect(1, 2);
    world.manager(1).open_channel(world.id(2), FUNDING, Msat::ZERO, false).unwrap();
    world.collect(1);
    let Some(Message::OpenChannel(open)) = world.wires[&(1, 2)].front().cloned() else { panic!() };
    world.wires.clear();
    let victim = world.manager(2);
    let limits = &world.nodes[2].config.handshake;
    let secp = bitcoin::secp256k1::Secp256k1::new();
    let init = Init {
        globalfeatures: Default::default(),
        features: victim.features(),
        networks: None,
        remote_addr: None,
        unknown: Default::default(),
    };
    let mut most = 0;
    let mut peers = BTreeSet::new();
    for stranger in 1..=strangers {
        let mut key = [7; 32];
        key[..4].copy_from_slice(&stranger.to_be_bytes());
        let key = bitcoin::secp256k1::SecretKey::from_slice(&key).unwrap();
        let peer = NodeId::from(key.public_key(&secp));
        victim.peer_connected(peer, &init, true).unwrap();
        peers.insert(peer);
        for number in 0..each {
            let mut open = open.clone();
            open.temporary_channel_id = ChannelId([number; 32]);
            victim.on_channel_message(peer, ChannelMessage::OpenChannel(open));
        }
        most = most.max(victim.list_channels().len());
        // Half of them stay for as long as 500 others come.
        if stranger % 500 == 0 {
            peers.iter().for_each(|peer| victim.peer_disconnected(*peer));
            peers.clear();
            assert_eq!(victim.list_channels().len(), 1, "only the channel that is used");
            assert!(
                victim
                    .next_event(None)
                    .is_none_or(|(_, event)| !matches!(event, Event::OpenChannelRequest(_)))
            );
        }
    }
    let limit = usize::from(limits.max_unfunded_channels);
    assert_eq!(most, limit + 1, "as many as may be, and the one that is used");
    assert_eq!(world.nodes[2].env.monitors.stored().len(), 1);
    while world.manager(2).next_event(None).is_some() {
        world.react(2);
    }
    assert_eq!(world.manager(0).list_channels()[0].channel, channel);
    let Init { .. } = init;
    world.disconnect(1, 2);
    pay_works_after_flood(&mut world);
}

fn pay_works_after_flood(world: &mut World) {
    // Messages to strangers that nobody connects to are of no interest here.
    while let Some(_gone) =
        lightning_traits::interface::MessageSendEventsProvider::next_message(world.manager(2))
    {}
    pay_works(world, 0, 2);
}
