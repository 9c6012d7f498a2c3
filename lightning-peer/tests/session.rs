//! One connection for each peer: replacing, crossing, and what must not leak from one to the next (RELIABILITY B6, I7).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
mod support;

use std::sync::{Arc, Weak};

use lightning_peer::{ConnectionId, Disconnect};
use lightning_traits::codec::TlvRecords;
use lightning_traits::event::MessageSendEvent;
use lightning_traits::id::ChannelId;
use lightning_traits::sync::Mutex;
use lightning_traits::wire::{Message, Stfu};
use support::{CUSTOM, Manager, Node, Raw, Told, carry, connect, custom, init};

const OLD: ConnectionId = ConnectionId(1);
const NEW: ConnectionId = ConnectionId(2);

fn stfu(byte: u8) -> Message {
    Stfu { channel_id: ChannelId([byte; 32]), initiator: true, unknown: TlvRecords::new() }.into()
}

#[test]
fn messages_of_the_old_connection_never_go_out_on_the_new_one() {
    let node = Node::new(1);
    let mut old = Raw::connect(&node, OLD, 2);
    let peer = old.id;
    node.handlers.send_channel(MessageSendEvent::Send { to: peer, message: stfu(1) });
    node.manager.process_events();
    assert!(node.manager.pending_bytes(OLD) > 0);
    node.handlers.take();

    let mut new = Raw::connect(&node, NEW, 2);
    let expected = [
        Told::Disconnected(peer),
        Told::RoutingDisconnected(peer),
        Told::Connected(peer, true),
        Told::RoutingConnected(peer),
    ];
    assert_eq!(node.handlers.take(), expected);
    assert_eq!(node.ends(), [(OLD, Disconnect::Replaced)]);
    assert_eq!(node.transmit(OLD), [], "what was queued is gone");
    assert_eq!(new.receive(&node, NEW), []);

    assert_eq!(old.send(&node, OLD, &custom(CUSTOM, b"late")), Err(Disconnect::Replaced));
    node.manager.socket_disconnected(OLD);
    assert_eq!(node.handlers.take(), [], "the end of the old socket concerns nobody");
    assert!(node.manager.is_connected(peer));

    node.handlers.send_channel(MessageSendEvent::Send { to: peer, message: stfu(2) });
    node.manager.process_events();
    assert_eq!(new.receive(&node, NEW), [stfu(2)]);
}

#[test]
fn messages_for_who_is_not_connected_are_dropped() {
    let node = Node::new(1);
    let raw = Raw::connect(&node, OLD, 2);
    node.manager.socket_disconnected(OLD);
    node.handlers.send_channel(MessageSendEvent::Send { to: raw.id, message: stfu(1) });
    node.manager.process_events();
    let mut again = Raw::connect(&node, NEW, 2);
    assert_eq!(again.receive(&node, NEW), []);
}

/// What a handler makes while it is told of the new connection goes out on it, behind `init`.
#[test]
fn messages_made_at_the_change_go_the_right_way() {
    let node = Node::new(1);
    let old = Raw::connect(&node, OLD, 2);
    let handlers = Arc::downgrade(&node.handlers);
    node.handlers.set_hook(move |told| {
        if let Told::Connected(to, _) = told {
            let event = MessageSendEvent::Send { to: *to, message: stfu(7) };
            handlers.upgrade().unwrap().send_channel(event);
        }
    });
    let mut new = Raw::call(&node, NEW, 2);
    new.send(&node, NEW, &init(&[]).into()).unwrap();
    let received = new.receive(&node, NEW);
    assert!(matches!(received.as_slice(), [Message::Init(_), Message::Stfu(_)]), "{received:?}");
    assert_eq!(new.id, old.id);
}

/// A second thread brings the new connection while the first is still handing over a message of the old one: the
/// handlers must see the old one out before they hear of the new one.
#[test]
fn a_new_connection_waits_for_the_messages_of_the_old_one() {
    let node = Node::new(1);
    let mut old = Raw::connect(&node, OLD, 2);
    let peer = old.id;
    let mut new = Raw::call(&node, NEW, 2);
    let mut arrival = new.frame(&Message::from(init(&[])).to_wire().unwrap());
    // In the same piece, a message that must wait until the handlers know of the connection.
    arrival.extend(new.frame(&custom(CUSTOM, b"first of the new").to_wire().unwrap()));
    node.handlers.take();

    let manager: Weak<Manager> = Arc::downgrade(&node.manager);
    let arrival = Mutex::new(Some(arrival));
    let handlers = Arc::downgrade(&node.handlers);
    node.handlers.set_hook(move |told| {
        let Told::Custom(_, _, payload) = told else { return };
        if payload != b"one" {
            return;
        }
        let bytes = arrival.lock().take().unwrap();
        // As another thread would, in the middle of the handler's work.
        manager.upgrade().unwrap().handle_bytes(NEW, &bytes).unwrap();
        let seen = handlers.upgrade().unwrap().take();
        assert_eq!(seen, [Told::Custom(peer, CUSTOM, b"one".to_vec())], "not before the old one is done");
    });
    let mut bytes = old.frame(&custom(CUSTOM, b"one").to_wire().unwrap());
    bytes.extend(old.frame(&custom(CUSTOM, b"two").to_wire().unwrap()));
    assert_eq!(node.manager.handle_bytes(OLD, &bytes), Err(Disconnect::Replaced));
    let expected = [
        Told::Disconnected(peer),
        Told::RoutingDisconnected(peer),
        Told::Connected(peer, true),
        Told::RoutingConnected(peer),
        Told::Custom(peer, CUSTOM, b"first of the new".to_vec()),
    ];
    assert_eq!(node.handlers.take(), expected, "message two of the old connection came too late");
}

/// Bytes of one connection from two threads at once: handed over in the order in which they came in.
#[test]
fn overlapping_reads_keep_their_order() {
    let node = Node::new(1);
    let mut raw = Raw::connect(&node, OLD, 2);
    let peer = raw.id;
    node.handlers.take();
    let first = raw.frame(&custom(CUSTOM, b"one").to_wire().unwrap());
    let second = raw.frame(&custom(CUSTOM, b"two").to_wire().unwrap());
    let manager = Arc::downgrade(&node.manager);
    let second = Mutex::new(Some(second));
    node.handlers.set_hook(move |told| {
        if let Told::Custom(..) = told {
            let bytes = second.lock().take();
            if let Some(bytes) = bytes {
                manager.upgrade().unwrap().handle_bytes(OLD, &bytes).unwrap();
            }
        }
    });
    node.manager.handle_bytes(OLD, &first).unwrap();
    let expected = [Told::Custom(peer, CUSTOM, b"one".to_vec()), Told::Custom(peer, CUSTOM, b"two".to_vec())];
    assert_eq!(node.handlers.take(), expected);
}

/// Both call each other at once. Whatever the order in which each sees the two connections, both keep the same one.
#[test]
fn crossing_calls_leave_one_connection() {
    for alice_sees_first in [OLD, NEW] {
        for bob_sees_first in [OLD, NEW] {
            let (alice, bob) = (Node::new(1), Node::new(2));
            let alice_is_less = alice.id < bob.id;
            let act = alice.manager.connect_outbound(OLD, bob.key).unwrap();
            bob.manager.accept_inbound(OLD, None).unwrap();
            bob.manager.handle_bytes(OLD, &act).unwrap();
            let act = bob.manager.connect_outbound(NEW, alice.key).unwrap();
            alice.manager.accept_inbound(NEW, None).unwrap();
            alice.manager.handle_bytes(NEW, &act).unwrap();
            // Acts two and three, without the two `init` messages being read.
            let act_two = bob.transmit(OLD);
            alice.manager.handle_bytes(OLD, &act_two).unwrap();
            let act_two = alice.transmit(NEW);
            bob.manager.handle_bytes(NEW, &act_two).unwrap();
            // Act three and the caller's `init` in one piece; the other side's `init` comes after act three.
            let (mut to_bob, mut to_alice) = (
                [(OLD, alice.transmit(OLD)), (NEW, Vec::new())],
                [(NEW, bob.transmit(NEW)), (OLD, Vec::new())],
            );
            let split = |bytes: &[u8]| (bytes[..66].to_vec(), bytes[66..].to_vec());
            let (act_three, init) = split(&to_bob[0].1);
            bob.manager.handle_bytes(OLD, &act_three).unwrap();
            to_bob[0].1 = init;
            let (act_three, init) = split(&to_alice[0].1);
            alice.manager.handle_bytes(NEW, &act_three).unwrap();
            to_alice[0].1 = init;
            to_alice[1].1 = bob.transmit(OLD);
            to_bob[1].1 = alice.transmit(NEW);
            to_bob.sort_by_key(|(id, _)| *id != bob_sees_first);
            to_alice.sort_by_key(|(id, _)| *id != alice_sees_first);
            for (id, bytes) in to_bob {
                let _ = bob.manager.handle_bytes(id, &bytes);
            }
            for (id, bytes) in to_alice {
                let _ = alice.manager.handle_bytes(id, &bytes);
            }
            let kept = if alice_is_less { OLD } else { NEW };
            for node in [&alice, &bob] {
                let peers = node.manager.peers();
                assert_eq!(peers.len(), 1);
                assert_eq!(peers[0].connection, kept, "{alice_sees_first:?} {bob_sees_first:?}");
                let ends = node.ends();
                assert_eq!(ends.len(), 1);
                assert_ne!(ends[0].0, kept);
                assert_eq!(ends[0].1, Disconnect::Duplicate);
            }
        }
    }
}

#[test]
fn an_old_connection_is_replaced_whoever_calls() {
    let (alice, bob) = (Node::new(1), Node::new(2));
    connect(&alice, &bob, 1);
    for _ in 0..2 {
        alice.manager.timer_tick();
        bob.manager.timer_tick();
    }
    // Now the other way round: neither is new any more.
    let act_one = bob.manager.connect_outbound(NEW, alice.key).unwrap();
    alice.manager.accept_inbound(NEW, None).unwrap();
    alice.manager.handle_bytes(NEW, &act_one).unwrap();
    carry((&bob, NEW), (&alice, NEW), usize::MAX);
    assert_eq!(alice.manager.peers()[0].connection, NEW);
    assert_eq!(bob.manager.peers()[0].connection, NEW);
    assert_eq!(alice.ends(), [(OLD, Disconnect::Replaced)]);
}

#[test]
fn every_connect_has_its_disconnect() {
    let node = Node::new(1);
    let mut depth = 0_i32;
    for round in 0..50_u64 {
        Raw::connect(&node, ConnectionId(round), 2);
        if round % 3 == 0 {
            node.manager.socket_disconnected(ConnectionId(round));
        }
        for told in node.handlers.take() {
            match told {
                Told::Connected(..) => depth += 1,
                Told::Disconnected(_) => depth -= 1,
                _ => {}
            }
            assert!((0..=1).contains(&depth));
        }
    }
    assert_eq!(node.manager.peers().len(), 1);
}

#[test]
fn a_closed_socket_right_after_init_is_explained() {
    let node = Node::new(1);
    Raw::connect(&node, OLD, 2);
    node.manager.socket_disconnected(OLD);
    assert!(node.logged("right after init"));
    assert_eq!(node.ends(), [], "the caller knows");
}
