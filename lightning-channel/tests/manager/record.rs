//! The manager's own record: what it costs, and what it keeps over restarts (I6, I13; RELIABILITY F17).
use lightning_channel::manager::InboundPayment;
use lightning_channel::recover::RecordRows;
use lightning_traits::event::Event;

use super::world::World;

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
