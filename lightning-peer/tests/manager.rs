//! Two managers back to back: init, pings, messages of every kind, the way of gossip, back-pressure.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
mod support;

use bitcoin::constants::ChainHash;
use lightning_peer::{ConnectError, ConnectionId, Disconnect};
use lightning_traits::codec::TlvRecords;
use lightning_traits::event::MessageSendEvent;
use lightning_traits::id::ChannelId;
use lightning_traits::wire::{
    ChannelMessage, ErrorMessage, GossipTimestampFilter, Message, Ping, ReplyShortChannelIdsEnd,
    RoutingMessage, Stfu, UnknownMessage, WarningMessage,
};
use support::{CUSTOM, Node, Raw, Told, carry, connect, custom, init};

fn stfu(byte: u8) -> Stfu {
    Stfu { channel_id: ChannelId([byte; 32]), initiator: true, unknown: TlvRecords::new() }
}

fn reply_end(byte: u8) -> ReplyShortChannelIdsEnd {
    ReplyShortChannelIdsEnd {
        chain_hash: ChainHash::REGTEST,
        full_information: byte,
        unknown: TlvRecords::new(),
    }
}

#[test]
fn two_nodes_connect() {
    let (alice, bob) = (Node::new(1), Node::new(2));
    let id = connect(&alice, &bob, 7);
    assert_eq!(alice.handlers.take(), [Told::Connected(bob.id, false), Told::RoutingConnected(bob.id)]);
    assert_eq!(bob.handlers.take(), [Told::Connected(alice.id, true), Told::RoutingConnected(alice.id)]);
    let peers = alice.manager.peers();
    assert_eq!(peers.len(), 1);
    assert_eq!((peers[0].node_id, peers[0].connection, peers[0].inbound), (bob.id, id, false));
    assert_eq!(peers[0].features.bits().collect::<Vec<_>>(), [0, 8, 12, 14, 44]);
    assert!(bob.manager.is_connected(alice.id));
}

#[test]
fn two_nodes_connect_byte_by_byte() {
    let (alice, bob) = (Node::new(1), Node::new(2));
    let id = ConnectionId(1);
    let act_one = alice.manager.connect_outbound(id, bob.key).unwrap();
    bob.manager.accept_inbound(id, None).unwrap();
    for byte in act_one {
        bob.manager.handle_bytes(id, &[byte]).unwrap();
    }
    carry((&alice, id), (&bob, id), 1);
    assert!(alice.manager.is_connected(bob.id) && bob.manager.is_connected(alice.id));
}

#[test]
fn a_wrong_node_id_fails_the_handshake() {
    let (alice, bob, carol) = (Node::new(1), Node::new(2), Node::new(3));
    let id = ConnectionId(1);
    let act_one = alice.manager.connect_outbound(id, carol.key).unwrap();
    bob.manager.accept_inbound(id, None).unwrap();
    assert!(matches!(bob.manager.handle_bytes(id, &act_one), Err(Disconnect::Handshake(_))));
    assert_eq!(bob.transmit(id), []);
    assert!(matches!(bob.ends().as_slice(), [(ended, Disconnect::Handshake(_))] if *ended == id));
}

#[test]
fn connections_that_cannot_begin() {
    let (alice, bob) = (Node::new(1), Node::new(2));
    let id = ConnectionId(1);
    assert_eq!(alice.manager.connect_outbound(id, alice.key), Err(ConnectError::Ourselves));
    alice.manager.connect_outbound(id, bob.key).unwrap();
    assert_eq!(alice.manager.accept_inbound(id, None), Err(ConnectError::IdInUse));
    assert_eq!(alice.manager.handle_bytes(ConnectionId(2), &[0]), Err(Disconnect::UnknownConnection));
}

#[test]
fn messages_reach_their_handlers_in_order() {
    let (alice, bob) = (Node::new(1), Node::new(2));
    let id = connect(&alice, &bob, 1);
    alice.handlers.take();
    bob.handlers.take();
    for number in 0..3 {
        let message = stfu(number).into();
        alice.handlers.send_channel(MessageSendEvent::Send { to: bob.id, message });
    }
    alice.handlers.send_custom(bob.id, CUSTOM, b"even, but known to the handler");
    alice.handlers.send_custom(bob.id, CUSTOM + 51, b"odd, and unknown");
    alice.handlers.send_routing(MessageSendEvent::Send { to: bob.id, message: reply_end(1).into() });
    carry((&alice, id), (&bob, id), 100);
    let expected = [
        Told::Channel(alice.id, ChannelMessage::Stfu(stfu(0))),
        Told::Channel(alice.id, ChannelMessage::Stfu(stfu(1))),
        Told::Channel(alice.id, ChannelMessage::Stfu(stfu(2))),
        Told::Custom(alice.id, CUSTOM, b"even, but known to the handler".to_vec()),
        Told::Routing(alice.id, RoutingMessage::ReplyShortChannelIdsEnd(reply_end(1))),
    ];
    assert_eq!(bob.handlers.take(), expected);
    // The answer to a query went out, so the router may send more of it.
    assert_eq!(alice.handlers.take(), [Told::Room(bob.id)]);
    assert!(bob.manager.is_connected(alice.id));
}

#[test]
fn errors_and_warnings_reach_the_channels_and_a_readable_log() {
    let node = Node::new(1);
    let id = ConnectionId(1);
    let mut raw = Raw::connect(&node, id, 2);
    node.handlers.take();
    let (channel_id, unknown) = (ChannelId::ALL, TlvRecords::new());
    let data = b"bad\n\x1b[2J".to_vec();
    raw.send(&node, id, &WarningMessage { channel_id, data: data.clone(), unknown: unknown.clone() }.into())
        .unwrap();
    raw.send(&node, id, &ErrorMessage { channel_id, data: data.clone(), unknown }.into()).unwrap();
    assert_eq!(node.handlers.take(), [Told::Warning(raw.id, "bad??[2J".into()), Told::Error(raw.id, data)]);
    assert!(node.logged("the peer sent warning: bad??[2J") && node.logged("the peer sent error: bad??[2J"));
    let long = vec![b'x'; 60_000];
    for _ in 0..100 {
        let unknown = TlvRecords::new();
        raw.send(&node, id, &WarningMessage { channel_id, data: long.clone(), unknown }.into()).unwrap();
    }
    let lines = node.handlers.logged();
    assert_eq!(
        lines.iter().filter(|line| line.contains("xxx")).count(),
        8,
        "ten lines a tick, two were used"
    );
    assert!(lines.iter().all(|line| line.len() < 500));
}

#[test]
fn pings_are_answered_with_the_size_they_ask_for() {
    let node = Node::new(1);
    let id = ConnectionId(1);
    let mut raw = Raw::connect(&node, id, 2);
    for (asked, answered) in
        [(0, Some(0)), (1, Some(1)), (65_531, Some(65_531)), (65_532, None), (65_535, None)]
    {
        let ping = Ping { num_pong_bytes: asked, ignored: vec![0; 3], unknown: TlvRecords::new() };
        raw.send(&node, id, &ping.into()).unwrap();
        match (raw.receive(&node, id).as_slice(), answered) {
            ([Message::Pong(pong)], Some(length)) => assert_eq!(pong.ignored, vec![0; length]),
            ([], None) => {}
            (found, _) => panic!("{asked}: {} messages", found.len()),
        }
    }
    assert_eq!(node.handlers.take().len(), 2, "pings concern no handler");
}

#[test]
fn a_flood_of_pings_ends_the_connection() {
    let node = Node::new(1);
    let id = ConnectionId(1);
    let mut raw = Raw::connect(&node, id, 2);
    let ping: Message =
        Ping { num_pong_bytes: 65_000, ignored: Vec::new(), unknown: TlvRecords::new() }.into();
    let outcome = (0..1000).find_map(|_| raw.send(&node, id, &ping).err());
    assert_eq!(outcome, Some(Disconnect::PingFlood));
    let bytes = node.transmit(id).len();
    assert!(bytes < 300 * 1024, "{bytes} bytes of answers");
}

#[test]
fn a_silent_peer_is_pinged_and_then_dropped() {
    let node = Node::new(1);
    let id = ConnectionId(1);
    let mut raw = Raw::connect(&node, id, 2);
    node.manager.timer_tick();
    assert_eq!(raw.receive(&node, id), [], "init came within this tick");
    node.manager.timer_tick();
    let pings = raw.receive(&node, id);
    assert!(matches!(pings.as_slice(), [Message::Ping(_)]), "{pings:?}");
    node.handlers.take();
    for _ in 0..3 {
        assert!(node.manager.is_connected(raw.id));
        node.manager.timer_tick();
    }
    assert_eq!(node.ends(), [(id, Disconnect::NoPong)]);
    assert_eq!(node.handlers.take(), [Told::Disconnected(raw.id), Told::RoutingDisconnected(raw.id)]);
    assert!(!node.manager.is_connected(raw.id));
}

#[test]
fn two_nodes_keep_each_other_alive() {
    let (alice, bob) = (Node::new(1), Node::new(2));
    let id = connect(&alice, &bob, 1);
    for _ in 0..50 {
        alice.manager.timer_tick();
        bob.manager.timer_tick();
        carry((&alice, id), (&bob, id), 1000);
    }
    assert!(alice.manager.is_connected(bob.id) && bob.manager.is_connected(alice.id));
    assert_eq!((alice.ends(), bob.ends()), (vec![], vec![]));
}

#[test]
fn a_handshake_that_stands_still_times_out() {
    let node = Node::new(1);
    let ids: Vec<ConnectionId> = (0..3).map(ConnectionId).collect();
    node.manager.accept_inbound(ids[0], None).unwrap();
    node.manager.connect_outbound(ids[1], Node::new(9).key).unwrap();
    // Encrypted, but without `init`.
    Raw::call(&node, ids[2], 2);
    node.manager.timer_tick();
    node.manager.timer_tick();
    assert_eq!(node.ends(), []);
    node.manager.timer_tick();
    let expected: Vec<_> = ids.iter().map(|id| (*id, Disconnect::NotReadyInTime)).collect();
    assert_eq!(node.ends(), expected);
    assert_eq!(node.handlers.take(), [], "handlers never heard of them");
}

#[test]
fn gossip_goes_to_who_asked_and_is_not_sent_back() {
    let node = Node::new(1);
    let ids: Vec<ConnectionId> = (0..3).map(ConnectionId).collect();
    let mut raws: Vec<Raw> = ids.iter().zip(2..).map(|(id, seed)| Raw::connect(&node, *id, seed)).collect();
    let filter = GossipTimestampFilter {
        chain_hash: ChainHash::REGTEST,
        first_timestamp: 0,
        timestamp_range: u32::MAX,
        unknown: TlvRecords::new(),
    };
    for at in [0, 1] {
        raws[at].send(&node, ids[at], &filter.clone().into()).unwrap();
    }
    node.handlers.take();
    // The manager does not care what it spreads.
    let message = RoutingMessage::from(reply_end(1));
    let from = Some(raws[0].id);
    node.handlers.send_routing(MessageSendEvent::Broadcast { message: message.clone(), from });
    node.manager.process_events();
    let received: Vec<usize> = (0..3).map(|at| raws[at].receive(&node, ids[at]).len()).collect();
    assert_eq!(received, [0, 1, 0]);
    node.handlers.send_channel(MessageSendEvent::Broadcast { message: message.clone(), from: None });
    node.manager.process_events();
    assert_eq!(node.handlers.take(), [Told::Own(message.clone())]);
    for (raw, id) in raws.iter_mut().zip(&ids) {
        assert_eq!(raw.receive(&node, *id), [Message::from(message.clone())]);
    }
}

#[test]
fn a_peer_that_does_not_read_is_not_read_and_loses_gossip_only() {
    let node = Node::new(1);
    let id = ConnectionId(1);
    let mut raw = Raw::connect(&node, id, 2);
    while node.manager.poll_ready().is_some() {}
    let reply = UnknownMessage { type_id: 264, payload: vec![0; 60_000] };
    assert!(node.manager.wants_read(id));
    for number in 0..10_u8 {
        let mut payload = reply.payload.clone();
        payload[0] = number;
        let message =
            WarningMessage { channel_id: ChannelId::ALL, data: payload, unknown: TlvRecords::new() }.into();
        node.handlers.send_channel(MessageSendEvent::Send { to: raw.id, message });
        let message = RoutingMessage::from(reply_end(number));
        node.handlers.send_routing(MessageSendEvent::Broadcast { message, from: None });
    }
    node.manager.process_events();
    assert!(!node.manager.wants_read(id), "{} bytes wait", node.manager.pending_bytes(id));
    assert_eq!(node.manager.poll_ready(), Some(id));
    assert_eq!(node.manager.poll_ready(), None, "named once");
    assert_eq!(node.manager.poll_readable(), None);
    let mut bytes = Vec::new();
    node.manager.poll_transmit(id, &mut bytes);
    assert!((60_000..130_000).contains(&bytes.len()), "a write is bounded: {}", bytes.len());
    bytes.extend(node.transmit(id));
    assert_eq!(node.manager.poll_readable(), Some(id));
    assert!(node.manager.wants_read(id));
    let messages = raw.decode(&bytes);
    assert_eq!(messages.len(), 20);
    let warnings = messages.iter().take_while(|message| matches!(message, Message::Warning(_))).count();
    assert_eq!(warnings, 10, "channel messages first");
}

#[test]
fn a_long_answer_is_told_when_there_is_room() {
    let node = Node::new(1);
    let id = ConnectionId(1);
    let mut raw = Raw::connect(&node, id, 2);
    for _ in 0..8_000 {
        node.handlers.send_routing(MessageSendEvent::Send { to: raw.id, message: reply_end(1).into() });
    }
    node.manager.process_events();
    node.handlers.take();
    assert!(!node.manager.wants_events());
    assert_eq!(raw.receive(&node, id).len(), 8_000);
    assert!(node.manager.wants_events());
    node.manager.process_events();
    assert_eq!(node.handlers.take(), [Told::Room(raw.id)]);
    assert!(!node.manager.wants_events());
}

#[test]
fn a_handler_hangs_up_after_its_last_words() {
    let node = Node::new(1);
    let id = ConnectionId(1);
    let mut raw = Raw::connect(&node, id, 2);
    node.handlers.take();
    let last: Message =
        ErrorMessage { channel_id: ChannelId::ALL, data: b"bye".to_vec(), unknown: TlvRecords::new() }.into();
    node.handlers.send_channel(MessageSendEvent::Send { to: raw.id, message: stfu(1).into() });
    node.handlers.send_channel(MessageSendEvent::Disconnect { peer: raw.id, last: Some(last.clone()) });
    node.handlers.send_channel(MessageSendEvent::Send { to: raw.id, message: stfu(2).into() });
    node.manager.process_events();
    assert_eq!(node.ends(), [(id, Disconnect::Handler)]);
    assert_eq!(raw.receive(&node, id), [stfu(1).into(), last]);
    assert_eq!(node.handlers.take(), [Told::Disconnected(raw.id), Told::RoutingDisconnected(raw.id)]);
    assert_eq!(raw.send(&node, id, &custom(CUSTOM, b"late")), Err(Disconnect::Handler));
    assert_eq!(node.handlers.take(), [], "nothing is handed over after the end");
}

#[test]
fn a_peer_that_is_refused_is_not_announced() {
    let node = Node::new(1);
    *node.handlers.refuse.lock() = true;
    let id = ConnectionId(1);
    let mut raw = Raw::call(&node, id, 2);
    assert_eq!(raw.send(&node, id, &init(&[]).into()), Err(Disconnect::Refused));
    assert_eq!(node.handlers.take(), []);
    assert_eq!(node.ends(), [(id, Disconnect::Refused)]);
    node.manager.socket_disconnected(id);
    assert!(node.manager.peers().is_empty());
}

#[test]
fn the_user_hangs_up() {
    let (alice, bob, carol) = (Node::new(1), Node::new(2), Node::new(3));
    connect(&alice, &bob, 1);
    connect(&alice, &carol, 2);
    assert!(alice.manager.disconnect(bob.id));
    assert!(!alice.manager.disconnect(bob.id));
    assert_eq!(alice.ends(), [(ConnectionId(1), Disconnect::ByUser)]);
    alice.manager.disconnect_all();
    alice.manager.socket_disconnected(ConnectionId(1));
    alice.manager.socket_disconnected(ConnectionId(2));
    assert_eq!(alice.ends(), [(ConnectionId(2), Disconnect::ByUser)]);
    assert!(alice.manager.peers().is_empty());
}
