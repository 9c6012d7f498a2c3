//! What a channel's record keeps of an onion, and what comes of that after a restart (`docs/adr/0016`).
use lightning_channel::payment::Recipient;
use lightning_traits::codec::TlvRecords;
use lightning_traits::event::{Event, PaymentFailure};
use lightning_traits::id::PaymentId;
use lightning_traits::payment::PaymentHash;
use lightning_traits::wire::{Message, UpdateAddHtlc};

use super::world::World;

/// Nodes in a row, the last of which does not claim by itself.
fn row(nodes: usize) -> World {
    let mut world = World::new(&["a", "b", "c", "d"][..nodes]);
    for node in 1..nodes {
        world.open(node - 1, node, 1_000_000, 0, true);
    }
    world.nodes[nodes - 1].user.claims = false;
    world
}

fn pay_to(world: &mut World, payee: usize, change: fn(Recipient) -> Recipient) -> (PaymentId, PaymentHash) {
    let invoice = world.invoice(payee, 5_000_000);
    let mut params = world.params(payee, 5_000_000, &invoice);
    params.recipient = change(params.recipient);
    let id = world.new_payment();
    world.manager(0).pay(id, params).unwrap();
    (id, invoice.hash)
}

/// All that a node has to say is on the wire.
fn speak(world: &mut World, node: usize) {
    world.manager(node).process();
    world.collect(node);
}

fn adds(world: &World, from: usize, to: usize) -> Vec<UpdateAddHtlc> {
    let wire = world.wires.get(&(from, to)).into_iter().flatten();
    wire.filter_map(|message| match message {
        Message::UpdateAddHtlc(add) => Some(add.clone()),
        _ => None,
    })
    .collect()
}

/// Moves everything; the HTLCs offered on the last wire of the row meanwhile.
fn settle_watching(world: &mut World) -> Vec<UpdateAddHtlc> {
    let last = world.nodes.len() - 1;
    let mut seen = Vec::new();
    loop {
        for node in 0..=last {
            speak(world, node);
        }
        seen.extend(adds(world, last - 1, last));
        if !world.step_once(0) {
            return seen;
        }
    }
}

/// Whether what a node has stored of its channels has these bytes anywhere.
fn stores(world: &World, node: usize, bytes: &[u8]) -> bool {
    let stored = world.nodes[node].env.monitors.stored();
    let records =
        stored.iter().flat_map(|(_, channel)| channel.record_changes.iter().chain([&channel.record]));
    records.flat_map(|record| record.windows(bytes.len())).any(|window| window == bytes)
}

fn with_metadata(recipient: Recipient) -> Recipient {
    recipient.with_metadata(Some(vec![7; 100]))
}

fn with_records(recipient: Recipient) -> Recipient {
    let mut records = TlvRecords::new();
    records.put_raw(70_001, vec![1; 30]);
    records.put_raw(80_001, vec![]);
    with_metadata(recipient).with_custom(records)
}

#[test]
fn an_onion_of_ours_that_is_sent_again_after_a_restart_is_the_same_to_the_byte() {
    for nodes in [2, 4] {
        for change in [|same| same, with_metadata, with_records] {
            let mut world = row(nodes);
            let (id, hash) = pay_to(&mut world, nodes - 1, change);
            speak(&mut world, 0);
            let first = adds(&world, 0, 1);
            assert_eq!(first.len(), 1);
            assert!(!stores(&world, 0, &first[0].onion_routing_packet.hmac), "it is built again, not stored");
            for _ in 0..2 {
                // The second time from a record that a restart has read.
                world.restart(0);
                speak(&mut world, 0);
                speak(&mut world, 1);
                while world.deliver(1, 0) {}
                speak(&mut world, 0);
                assert_eq!(adds(&world, 0, 1), first);
            }
            world.settle();
            world.manager(nodes - 1).claim(hash).unwrap();
            world.settle();
            assert!(matches!(world.endings(0, id)[..], [Event::PaymentSent { .. }]));
        }
    }
}

#[test]
fn whom_a_payment_is_for_keeps_what_the_onion_says_and_not_the_onion() {
    for nodes in [2, 3] {
        for claims in [false, true] {
            let mut world = row(nodes);
            let payee = nodes - 1;
            let (id, hash) = pay_to(&mut world, payee, |same| same);
            let seen = settle_watching(&mut world);
            assert!(!seen.is_empty());
            let hmac = seen[0].onion_routing_packet.hmac;
            assert!(!stores(&world, payee, &hmac));
            // Who passes it on has it: it may have to pass it on again.
            assert_eq!(stores(&world, payee - 1, &hmac), nodes == 3);
            // All forget what they had at hand.
            for node in 0..nodes {
                world.restart(node);
                world.settle();
            }
            if claims {
                world.manager(payee).claim(hash).unwrap();
            } else {
                world.manager(payee).fail(hash).unwrap();
            }
            world.settle();
            match &world.endings(0, id)[..] {
                [Event::PaymentSent { .. }] => assert!(claims),
                // What the payee wrapped with the secret that it kept, the payer can read.
                [Event::PaymentFailed { reason: PaymentFailure::RefusedByPayee(_), .. }] => assert!(!claims),
                other => panic!("{other:?}"),
            }
        }
    }
}

/// Before the HTLC is irrevocable there is nothing to decide on; afterwards the decision comes out of the record, and so does what
/// a failure is wrapped with.
#[test]
fn a_crash_of_either_between_any_two_messages_loses_no_onion() {
    let mut arrived = 0;
    for victim in 0..3 {
        for steps in 0..40 {
            let mut world = row(3);
            world.nodes[2].user.claims = true;
            let (id, _) = pay_to(&mut world, 2, |same| same);
            let goes_on = (0..steps).all(|_| world.step_once(0));
            world.restart(victim);
            world.settle();
            match &world.endings(0, id)[..] {
                [Event::PaymentSent { .. }] => arrived += 1,
                // The next node was away when it was to be passed on, or the payer died before anything was durable.
                [Event::PaymentFailed { .. }] => {
                    let failures = world.failures(0);
                    assert!(
                        failures.iter().all(|why| !why.contains("read")),
                        "{victim} {steps}: {failures:?}"
                    );
                }
                other => panic!("{victim} after {steps} steps: {other:?}"),
            }
            assert_eq!((0..3).map(|node| world.nodes[node].htlcs()).sum::<usize>(), 0);
            if !goes_on {
                break;
            }
        }
    }
    assert!(arrived > 60, "{arrived} arrived");
}
