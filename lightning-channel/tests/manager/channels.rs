//! Opening, announcing, closing.
use bitcoin::Amount;
use lightning_channel::channel::PhaseName;
use lightning_channel::manager::OpenChannelError;
use lightning_traits::config::UserConfig;
use lightning_traits::event::{CloseReason, Event};
use lightning_traits::id::HtlcId;
use lightning_traits::interface::EventsProvider as _;
use lightning_traits::monitor::{HtlcOutcome, MonitorEvent};
use lightning_traits::units::Msat;
use lightning_traits::wire::{Addresses, NodeAlias, RoutingMessage};

use super::mocks::TestEnv;
use super::world::World;

#[test]
fn a_channel_opens_and_is_announced_by_both() {
    let mut world = World::new(&["a", "b"]);
    let channel = world.open(0, 1, 1_000_000, 0, true);
    for node in 0..2 {
        let events = world.seen(node, |_| true);
        assert!(
            events.iter().any(|e| matches!(e, Event::ChannelPending { channel: c, .. } if *c == channel))
        );
        assert!(events.iter().any(|e| matches!(e, Event::ChannelReady { channel: c, .. } if *c == channel)));
        let gossip = &world.nodes[node].gossip;
        assert!(gossip.iter().any(|m| matches!(m, RoutingMessage::ChannelAnnouncement(_))), "{gossip:?}");
        assert!(gossip.iter().any(|m| matches!(m, RoutingMessage::ChannelUpdate(_))));
    }
    assert!(world.manager(0).next_event(None).is_none());
}

#[test]
fn a_channel_closes_cooperatively() {
    let mut world = World::new(&["a", "b"]);
    let channel = world.open(0, 1, 1_000_000, 0, false);
    world.manager(0).close_channel(channel, Default::default()).unwrap();
    world.settle();
    for node in 0..2 {
        let closed = world.seen(node, |event| {
            matches!(event, Event::ChannelClosed { reason: CloseReason::Cooperative, .. })
        });
        assert_eq!(closed.len(), 1);
    }
}

#[test]
fn a_forced_close_is_told_to_the_peer() {
    let mut world = World::new(&["a", "b"]);
    let channel = world.open(0, 1, 1_000_000, 0, false);
    world.manager(0).force_close(channel).unwrap();
    world.settle();
    let reason = |node| {
        let events = world.seen(node, |event| matches!(event, Event::ChannelClosed { .. }));
        let [Event::ChannelClosed { reason, .. }] = &events[..] else { panic!("{events:?}") };
        reason.clone()
    };
    assert_eq!(reason(0), CloseReason::ForcedByUser);
    assert!(matches!(reason(1), CloseReason::PeerError(_)));
    assert!(world.manager(0).list_channels().iter().all(|c| c.phase == PhaseName::Resolving));
    assert!(world.manager(0).force_close(channel).is_err());
}

#[test]
fn the_user_may_be_asked_before_a_channel_is_accepted() {
    let mut world = World::new(&["a", "b"]);
    let mut config = UserConfig::default();
    config.handshake.ask_before_accept = true;
    world.nodes[1].config = config;
    world.restart(1);
    world.connect(0, 1);
    for accepted in [false, true] {
        let (peer, funding) = (world.id(1), Amount::from_sat(100_000));
        let temporary = world.manager(0).open_channel(peer, funding, Msat::ZERO, false).unwrap();
        world.settle();
        let asked = world.seen(
            1,
            |event| matches!(event, Event::OpenChannelRequest(request) if request.temporary == temporary),
        );
        assert_eq!(asked.len(), 1);
        let opener = world.id(0);
        if accepted {
            world.manager(1).accept_channel(opener, temporary).unwrap();
            assert!(world.manager(1).accept_channel(opener, temporary).is_err());
        } else {
            world.manager(1).refuse_channel(opener, temporary, "not today").unwrap();
        }
        world.settle();
        let closed = |event: &Event| match event {
            Event::ChannelClosed { reason: CloseReason::NeverFunded(text), .. } => text == "not today",
            _ => false,
        };
        assert_eq!(world.seen(0, closed).len(), 1);
        assert_eq!(world.manager(1).list_channels().len(), usize::from(accepted));
    }
}

#[test]
fn a03_a_stranger_cannot_make_more_openings_than_allowed() {
    let mut world = World::new(&["a", "b"]);
    world.connect(0, 1);
    let (peer, funding) = (world.id(1), Amount::from_sat(100_000));
    let limit = world.nodes[1].config.handshake.max_pending_per_peer;
    for _ in 0..=limit {
        world.manager(0).open_channel(peer, funding, Msat::ZERO, false).unwrap();
    }
    world.settle();
    assert_eq!(world.manager(1).list_channels().len(), usize::from(limit));
    assert_eq!(world.seen(0, |event| matches!(event, Event::ChannelClosed { .. })).len(), 1);
    // Confirmed ones do not count.
    world.mine(6);
    world.settle();
    world.manager(0).open_channel(peer, funding, Msat::ZERO, false).unwrap();
    world.settle();
    assert_eq!(world.manager(1).list_channels().len(), usize::from(limit) + 1);
}

#[test]
fn a_channel_that_only_the_peer_knows_is_answered_with_an_error() {
    let mut world = World::new(&["a", "b"]);
    world.open(0, 1, 100_000, 0, false);
    // b's disk is new.
    world.crash(1);
    world.nodes[1].env = TestEnv { keys: world.nodes[1].env.keys.clone(), ..TestEnv::new("b") };
    world.start(1);
    world.connect(0, 1);
    world.settle();
    let closed = world.seen(0, |event| matches!(event, Event::ChannelClosed { .. }));
    let [Event::ChannelClosed { reason: CloseReason::PeerError(text), .. }] = &closed[..] else { panic!() };
    assert_eq!(text, "unknown channel");
}

#[test]
fn openings_do_not_outlive_their_connection() {
    let mut world = World::new(&["a", "b"]);
    world.connect(0, 1);
    let peer = world.id(1);
    world.manager(0).open_channel(peer, Amount::from_sat(100_000), Msat::ZERO, false).unwrap();
    world.collect(0);
    world.deliver(0, 1);
    assert_eq!(world.manager(1).list_channels().len(), 1);
    world.disconnect(0, 1);
    for node in 0..2 {
        assert!(world.manager(node).list_channels().is_empty());
    }
    let refused = world.manager(0).open_channel(peer, Amount::from_sat(100_000), Msat::ZERO, false);
    assert_eq!(refused, Err(OpenChannelError::NotConnected(peer)));
}

#[test]
fn the_node_is_announced_now_and_with_each_public_channel() {
    let mut world = World::new(&["a", "b"]);
    let alias = NodeAlias::new("alice").unwrap();
    world.manager(0).announce_node(alias, [1, 2, 3], Addresses::default()).unwrap();
    world.manager(0).announce_node(alias, [1, 2, 4], Addresses::default()).unwrap();
    world.open(0, 1, 1_000_000, 0, true);
    let gossip = &world.nodes[0].gossip;
    let announced: Vec<_> = gossip
        .iter()
        .filter_map(|message| match message {
            RoutingMessage::NodeAnnouncement(message) => Some(message),
            _ => None,
        })
        .collect();
    let times: Vec<_> = announced.iter().map(|message| message.body.timestamp).collect();
    assert!(times.len() >= 3 && times[0] < times[1] && times[1] == times[2], "{times:?}");
    assert_eq!(announced[2].body.rgb_color, [1, 2, 4]);
    let position = |is: fn(&RoutingMessage) -> bool| gossip.iter().rposition(is).unwrap();
    assert!(
        position(|message| matches!(message, RoutingMessage::NodeAnnouncement(_)))
            > position(|message| matches!(message, RoutingMessage::ChannelAnnouncement(_)))
    );
}

#[test]
fn a_closed_channel_is_forgotten_once_the_chain_is_done() {
    let mut world = World::new(&["a", "b"]);
    let channel = world.open(0, 1, 1_000_000, 0, false);
    world.manager(0).force_close(channel).unwrap();
    world.settle();
    world.nodes[0].env.monitors.report(MonitorEvent::Resolved { channel });
    world.settle();
    world.tick();
    world.settle();
    assert!(world.manager(0).list_channels().is_empty());
    assert_eq!(world.seen(0, |event| matches!(event, Event::Resolved { .. })).len(), 1);
    assert_eq!(world.nodes[0].env.monitors.unacknowledged(), 0);
}

/// The monitor's answered last word lets the record go: not before the user knows what only the record tells.
#[test]
fn a_closed_channel_is_kept_until_the_user_knows_how_its_payments_ended() {
    for restart in [false, true] {
        for claimed in [false, true] {
            let mut world = World::new(&["a", "b"]);
            let channel = world.open(0, 1, 1_000_000, 0, false);
            world.nodes[1].user.claims = false;
            let (id, _) = world.pay(0, 1, 5_000_000);
            world.settle();
            let [Event::PaymentClaimable { preimage: Some(preimage), .. }] =
                &world.seen(1, |event| matches!(event, Event::PaymentClaimable { .. }))[..]
            else {
                panic!()
            };
            let outcome = if claimed {
                HtlcOutcome::Claimed { preimage: preimage.clone() }
            } else {
                HtlcOutcome::Failed {}
            };
            world.manager(0).force_close(channel).unwrap();
            world.settle();
            let monitors = world.nodes[0].env.monitors.clone();
            monitors.report(MonitorEvent::HtlcResolved { channel, htlc: HtlcId(0), outcome });
            monitors.report(MonitorEvent::Resolved { channel });
            for _ in 0..3 {
                world.manager(0).process();
                world.manager(0).timer_tick();
                world.keep_record(0);
                if restart {
                    world.restart(0);
                }
            }
            assert_eq!((monitors.unacknowledged(), world.manager(0).list_channels().len()), (1, 1));
            world.settle();
            world.tick();
            world.settle();
            let [ending] = &world.endings(0, id)[..] else { panic!() };
            assert_eq!(matches!(ending, Event::PaymentSent { .. }), claimed);
            assert_eq!((monitors.unacknowledged(), world.manager(0).list_channels().len()), (0, 0));
        }
    }
}

#[test]
fn a_closing_channel_waits_for_its_htlcs() {
    let mut world = World::new(&["a", "b"]);
    let channel = world.open(0, 1, 1_000_000, 0, false);
    world.nodes[1].user.claims = false;
    let (id, hash) = world.pay(0, 1, 5_000_000);
    world.settle();
    world.manager(0).close_channel(channel, Default::default()).unwrap();
    world.settle();
    world.restart(1);
    world.settle();
    assert!(world.seen(0, |event| matches!(event, Event::ChannelClosed { .. })).is_empty());
    let (refused, _) = world.pay(0, 1, 5_000_000);
    world.settle();
    assert!(matches!(world.endings(0, refused)[..], [Event::PaymentFailed { .. }]));
    world.manager(1).claim(hash).unwrap();
    world.settle();
    assert!(matches!(world.endings(0, id)[..], [Event::PaymentSent { .. }]));
    for node in 0..2 {
        let closed = world.seen(node, |event| {
            matches!(event, Event::ChannelClosed { reason: CloseReason::Cooperative, .. })
        });
        assert_eq!(closed.len(), 1);
    }
}

#[test]
fn a_confirmation_in_a_block_that_was_undone_meanwhile_is_forgotten_at_the_start() {
    let mut world = World::new(&["a", "b"]);
    world.connect(0, 1);
    let peer = world.id(1);
    world.manager(0).open_channel(peer, Amount::from_sat(1_000_000), Msat::ZERO, false).unwrap();
    world.settle();
    world.mine(1);
    world.settle();
    let scid = |world: &World, node: usize| {
        world.manager(node).list_channels()[0].funded.as_ref().unwrap().scid.map(|scid| scid.block())
    };
    let first = world.height();
    assert_eq!([scid(&world, 0), scid(&world, 1)], [Some(first); 2]);

    world.crash(0);
    world.replace_last_block(0);
    world.start(0);
    assert_eq!([scid(&world, 0), scid(&world, 1)], [None; 2]);

    world.connect(0, 1);
    world.settle();
    world.mine(6);
    world.settle();
    assert_eq!([scid(&world, 0), scid(&world, 1)], [Some(first + 1); 2]);
    assert!(world.manager(0).list_channels()[0].funded.as_ref().unwrap().usable);
}
