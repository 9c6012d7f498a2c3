//! Opening, announcing, closing.
use lightning_channel::channel::PhaseName;
use lightning_traits::event::{CloseReason, Event};
use lightning_traits::interface::EventsProvider as _;
use lightning_traits::wire::RoutingMessage;

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
    world.manager(0).close_channel(channel, None).unwrap();
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
