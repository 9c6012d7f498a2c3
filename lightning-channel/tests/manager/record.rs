//! The manager's own record: what it costs, and what it keeps over restarts (I6, I13; RELIABILITY F17).
use bitcoin::constants::ChainHash;
use lightning_channel::channel::RestoreError;
use lightning_channel::manager::InboundPayment;
use lightning_channel::recover::{RecordRows, RecoverError};
use lightning_traits::event::Event;
use lightning_traits::monitor::StoredChannels;

use super::world::{Manager, World};

const MSAT: u64 = 10_000;

/// Bytes that a node's record was given since the last call.
fn written(world: &mut World, node: usize) -> usize {
    let rows = world.manager(node).take_record();
    let bytes = rows.iter().map(|row| row.key.len() + row.value.as_ref().map_or(0, Vec::len)).sum();
    rows.into_iter().for_each(|row| row.apply(&mut world.nodes[node].record));
    bytes
}

/// Pays, and keeps count of what each node's record was given meanwhile.
fn paid_at_cost(world: &mut World) -> [usize; 2] {
    let (id, _) = world.pay(0, 1, MSAT);
    let mut bytes = [0; 2];
    loop {
        for (node, bytes) in bytes.iter_mut().enumerate() {
            world.manager(node).process();
            *bytes += written(world, node);
        }
        if !world.step_once(0) {
            break;
        }
    }
    for (node, bytes) in bytes.iter_mut().enumerate() {
        *bytes += written(world, node);
    }
    assert!(matches!(world.endings(0, id)[..], [Event::PaymentSent { .. }]));
    bytes
}

fn pay_again(world: &mut World, invoice: &InboundPayment) -> bool {
    let (id, _) = world.pay_invoice(0, 1, MSAT, invoice);
    world.settle();
    matches!(world.endings(0, id)[..], [Event::PaymentSent { .. }])
}

#[test]
fn a_payment_costs_the_record_the_same_however_many_came_before() {
    let mut world = World::new(&["a", "b"]);
    world.open(0, 1, 1_000_000, 0, false);
    world.settle();
    for node in 0..2 {
        written(&mut world, node);
    }
    let first: Vec<_> = (0..10).map(|_| paid_at_cost(&mut world)).collect();
    for _ in 0..200 {
        paid_at_cost(&mut world);
    }
    let last: Vec<_> = (0..10).map(|_| paid_at_cost(&mut world)).collect();
    for node in 0..2 {
        let most = |costs: &[[usize; 2]]| costs.iter().map(|cost| cost[node]).max().unwrap();
        let (first, last) = (most(&first), most(&last));
        assert!(first > 0 && last <= first + 8, "node {node}: {first} bytes at first, then {last}");
        assert!(last < 1_000, "{last} bytes a payment");
    }
}

#[test]
fn f17_an_invoice_is_paid_once_over_restarts_until_it_expires_and_its_row_goes_with_it() {
    for restarts in 0..3 {
        let mut world = World::new(&["a", "b"]);
        world.open(0, 1, 1_000_000, 0, false);
        let invoice = world.invoice(1, MSAT);
        assert!(pay_again(&mut world, &invoice));
        let rows = |world: &World| world.nodes[1].record.len();
        let with_row = rows(&world);
        for _ in 0..restarts {
            world.restart(1);
            world.settle();
        }
        assert!(!pay_again(&mut world, &invoice), "after {restarts} restarts");
        assert_eq!(world.claimed(1, invoice.hash).len(), 1);
        assert_eq!(rows(&world), with_row);
        // The invoice is good for ten hours.
        world.mine(70);
        let other = world.invoice(1, MSAT);
        assert!(pay_again(&mut world, &other));
        assert_eq!(rows(&world), with_row, "one row came, one went");
        world.restart(1);
        world.settle();
        assert_eq!(rows(&world), with_row);
    }
}

/// All goes on but that the payee's record does not reach its disk.
fn step_unrecorded(world: &mut World) {
    for node in 0..2 {
        world.manager(node).process();
        world.react(node);
        world.collect(node);
    }
    world.keep_record(0);
    let wires: Vec<_> = world.wires.keys().copied().collect();
    let _moved = wires.into_iter().any(|(from, to)| world.deliver(from, to));
}

/// The payee dies at any step of a payment, and the record that says what was paid is an old one, or none.
#[test]
fn f17_an_invoice_is_paid_once_though_the_payees_record_was_not_written() {
    let mut paid_before = 0;
    for (parts, loses_all) in [(false, false), (false, true), (true, false)] {
        for steps in 0..40 {
            let mut world = World::new(&["a", "b"]);
            // Enough for it to be paid twice, were it not refused.
            for _ in 0..3 {
                world.open(0, 1, 1_000_000, 0, true);
            }
            world.settle();
            let msat = if parts { 1_100_000_000 } else { MSAT };
            let invoice = world.invoice(1, msat);
            let mut params = world.params(1, msat, &invoice);
            params.max_parts = 4;
            let id = world.new_payment();
            world.manager(0).pay(id, params.clone()).unwrap();
            for _ in 0..steps {
                step_unrecorded(&mut world);
            }
            paid_before += world.claimed(1, invoice.hash).len();
            if loses_all {
                world.nodes[1].record.clear();
            }
            world.restart(1);
            world.settle();
            world.tick();
            world.settle();
            assert!(matches!(world.endings(0, id)[..], [Event::PaymentSent { .. }]), "after {steps} steps");
            for _ in 0..2 {
                let again = world.new_payment();
                world.manager(0).pay(again, params.clone()).unwrap();
                world.settle();
                for _ in 0..4 {
                    world.tick();
                    world.settle();
                }
                assert!(
                    matches!(world.endings(0, again)[..], [Event::PaymentFailed { .. }]),
                    "paid again after {steps} steps"
                );
                world.restart(1);
                world.settle();
            }
            assert_eq!(world.nodes[1].balance(), msat);
        }
    }
    assert!(paid_before > 20, "{paid_before} were paid before the crash");
}

#[test]
fn each_row_stands_for_itself_whichever_are_lost_or_damaged() {
    let mut world = World::new(&["a", "b"]);
    world.open(0, 1, 1_000_000, 0, false);
    world.nodes[1].user.claims = false;
    // A payment on its way, one that is done, one that was only wanted.
    let done = world.invoice(1, MSAT);
    world.nodes[1].user.claims = true;
    assert!(pay_again(&mut world, &done));
    world.nodes[1].user.claims = false;
    let (held, hash) = world.pay(0, 1, 7_000);
    world.settle();
    let whole = [0, 1].map(|node| world.nodes[node].record.clone());
    assert!(whole.iter().all(|rows| rows.len() >= 2));
    for (node, whole) in whole.iter().enumerate() {
        for key in whole.keys() {
            for damage in [None, Some(vec![]), Some(vec![9, 9, 9])] {
                let mut rows: RecordRows = whole.clone();
                match damage {
                    None => drop(rows.remove(key)),
                    Some(bytes) => drop(rows.insert(key.clone(), bytes)),
                }
                world.nodes[node].record = rows;
                world.restart(node);
                world.settle();
                assert_eq!(world.manager(0).list_payments().len(), 1);
                // What is of no use does not stay.
                for value in world.nodes[node].record.values() {
                    assert!(!value.is_empty() && *value != [9, 9, 9], "node {node}, row {key:02x?}");
                }
            }
        }
    }
    world.manager(1).claim(hash).unwrap();
    world.settle();
    assert!(matches!(world.endings(0, held)[..], [Event::PaymentSent { .. }]));
    assert_eq!(world.claimed(1, hash).len(), 1);
}

/// A node with channels, a payment under way and one that is over: what its store has.
fn stored() -> (World, StoredChannels, RecordRows) {
    let mut world = World::new(&["a", "b", "c"]);
    world.open(0, 1, 1_000_000, 0, true);
    world.open(1, 2, 1_000_000, 0, true);
    let (paid, _) = world.pay(0, 2, MSAT);
    world.settle();
    assert!(matches!(world.endings(0, paid)[..], [Event::PaymentSent { .. }]));
    world.nodes[2].user.claims = false;
    world.pay(0, 2, MSAT);
    world.settle();
    for node in 0..3 {
        written(&mut world, node);
    }
    let (stored, rows) = (world.nodes[1].env.monitors.stored(), world.nodes[0].record.clone());
    assert_eq!(stored.len(), 2);
    assert!(rows.len() >= 2, "{}", rows.len());
    (world, stored, rows)
}

fn restored(
    world: &World,
    node: usize,
    stored: &StoredChannels,
    rows: &RecordRows,
) -> Result<Manager, RecoverError> {
    let here = &world.nodes[node];
    Manager::restore(
        here.env.clone(),
        here.config.clone(),
        ChainHash::REGTEST,
        here.tip,
        stored.clone(),
        rows,
    )
}

/// RELIABILITY J12: a node does not start on what its disk has changed, and says which channel it is.
#[test]
fn j12_a_node_refuses_a_damaged_record_of_a_channel_and_names_the_channel() {
    let (mut world, stored, rows) = stored();
    world.crash(1);
    assert!(restored(&world, 1, &stored, &rows).is_ok());
    for which in 0..2 {
        let channel = stored[which].0;
        let damaged = RecoverError::Channel { channel, error: RestoreError::Damaged };
        let record = &stored[which].1.record;
        for place in (0..record.len()).step_by(11) {
            let mut stored = stored.clone();
            stored[which].1.record[place] ^= 0x10;
            assert_eq!(restored(&world, 1, &stored, &rows).err(), Some(damaged), "byte {place}");
        }
        for number in 0..stored[which].1.record_changes.len() {
            let mut stored = stored.clone();
            *stored[which].1.record_changes[number].last_mut().unwrap() ^= 1;
            assert_eq!(restored(&world, 1, &stored, &rows).err(), Some(damaged), "change {number}");
        }
    }
    // Sound records in each other's place.
    let mut swapped = stored.clone();
    let [(first, _), (second, _)] = [stored[0].clone(), stored[1].clone()];
    (swapped[0].0, swapped[1].0) = (second, first);
    let other = RecoverError::OtherChannel { channel: second, found: first };
    assert_eq!(restored(&world, 1, &swapped, &rows).err(), Some(other));
    let mut twice = stored.clone();
    twice[1] = stored[0].clone();
    assert_eq!(restored(&world, 1, &twice, &rows).err(), Some(RecoverError::Duplicate(first)));
}

/// RELIABILITY J12: the manager's own record is a cache: a row that is damaged is left out, whatever byte it was, and the node starts
/// and ends its payments as the channels know them.
#[test]
fn j12_a_damaged_row_of_the_managers_record_is_left_out() {
    let (mut world, _, rows) = stored();
    let before = world.manager(0).list_payments();
    assert_eq!(before.len(), 1);
    world.crash(0);
    let stored = world.nodes[0].env.monitors.stored();
    for (key, value) in &rows {
        for place in 0..value.len() {
            let mut rows = rows.clone();
            rows.get_mut(key).unwrap()[place] ^= u8::try_from(place % 255 + 1).unwrap();
            let manager = restored(&world, 0, &stored, &rows).expect("it is a cache");
            let known = manager.list_payments();
            assert_eq!(known.len(), 1, "the channel knows of the payment");
            assert_eq!((known[0].id, known[0].hash), (before[0].id, before[0].hash));
            // Left out, the row is written anew or removed, whatever it was.
            let again = manager.take_record();
            assert!(again.iter().all(|change| change.value.as_ref() != rows.get(&change.key)));
        }
    }
    world.start(0);
    world.connect(0, 1);
    world.manager(0).timer_tick();
    world.settle();
}
