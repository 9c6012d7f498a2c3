//! Payments in parts between whole nodes: divided, retried, and cut off at every step.
use lightning_channel::payment::{PayError, PaymentState};
use lightning_traits::event::{Event, PaymentFailure};
use lightning_traits::id::PaymentId;
use lightning_traits::payment::PaymentHash;
use lightning_traits::units::Msat;

use super::world::World;

/// What the payments of these tests carry: more than one way has.
const AMOUNT: u64 = 1_200_000_000;
/// A base fee of 1000 for each of two parts, and 100 millionths of it all; one is lost in rounding two parts down.
const FEE: u64 = 2_000 + AMOUNT / 10_000 - 1;

/// a - b - d and a - c - d, each way for up to 990,000 sat.
fn diamond() -> World {
    let mut world = World::new(&["a", "b", "c", "d"]);
    for (from, to) in [(0, 1), (0, 2), (1, 3), (2, 3)] {
        world.open(from, to, 1_000_000, 0, true);
    }
    world
}

fn pay_in_parts(world: &mut World, msat: u64, max_parts: u16) -> (PaymentId, PaymentHash) {
    let invoice = world.invoice(3, msat);
    let mut params = world.params(3, msat, &invoice);
    params.max_parts = max_parts;
    let id = world.new_payment();
    world.manager(0).pay(id, params).unwrap();
    (id, invoice.hash)
}

fn balances(world: &World) -> [u64; 4] {
    core::array::from_fn(|node| world.nodes[node].balance())
}

#[test]
fn what_no_way_carries_alone_goes_over_two() {
    let mut world = diamond();
    let (id, hash) = pay_in_parts(&mut world, AMOUNT, 4);
    let pending = &world.manager(0).list_payments()[0].state;
    assert!(matches!(pending, PaymentState::Pending { parts: 2, attempts: 1, .. }), "{pending:?}");
    world.settle();
    let [Event::PaymentSent { amount, fee, .. }] = &world.endings(0, id)[..] else { panic!() };
    assert_eq!((*amount, *fee), (Msat::new(AMOUNT), Some(Msat::new(FEE))));
    assert_eq!(world.claimed(3, hash), [Msat::new(AMOUNT)]);
    assert_eq!(world.nodes[3].balance(), AMOUNT);
}

#[test]
fn a_part_that_fails_is_sent_again_for_less_and_the_other_waits() {
    let mut world = diamond();
    world.open(0, 1, 1_000_000, 0, true);
    // c has sent most of what it had towards d; nobody knows.
    let (_, _) = world.pay(2, 3, 700_000_000);
    world.settle();
    let before = balances(&world);
    let (id, hash) = pay_in_parts(&mut world, AMOUNT, 8);
    world.settle();
    assert!(matches!(world.endings(0, id)[..], [Event::PaymentSent { .. }]), "{:?}", world.endings(0, id));
    assert_eq!(world.claimed(3, hash), [Msat::new(AMOUNT)]);
    assert!(!world.failures(0).is_empty());
    let limits = world.nodes[0].env.routes.queries().pop().unwrap().limits;
    assert!(!limits.is_empty());
    assert_eq!(balances(&world).iter().sum::<u64>(), before.iter().sum::<u64>());
}

#[test]
fn the_fee_limit_is_kept_over_all_parts_and_retries() {
    for (limit, arrives) in [(FEE, true), (FEE - 1, false)] {
        let mut world = diamond();
        let invoice = world.invoice(3, AMOUNT);
        let mut params = world.params(3, AMOUNT, &invoice);
        (params.max_parts, params.max_fee) = (4, Some(Msat::new(limit)));
        let id = world.new_payment();
        world.manager(0).pay(id, params).unwrap();
        world.settle();
        assert_eq!(matches!(world.endings(0, id)[..], [Event::PaymentSent { .. }]), arrives, "{limit}");
        assert_eq!(world.nodes[0].htlcs(), 0);
    }
}

#[test]
fn f03_when_one_part_cannot_arrive_the_others_come_back() {
    let mut world = diamond();
    world.disconnect(2, 3);
    let (id, hash) = pay_in_parts(&mut world, AMOUNT, 4);
    world.settle();
    // b's part is held by d, who waits for the rest.
    assert!(world.endings(0, id).is_empty());
    for _ in 0..3 {
        world.tick();
        world.settle();
    }
    let [Event::PaymentFailed { reason, .. }] = &world.endings(0, id)[..] else { panic!() };
    assert!(matches!(reason, PaymentFailure::NoRoute(_)), "{reason:?}");
    assert!(world.claimed(3, hash).is_empty());
    assert_eq!((0..4).map(|node| world.nodes[node].htlcs()).sum::<usize>(), 0);
}

#[test]
fn a_payment_that_runs_out_of_time_ends_once_its_parts_have() {
    let mut world = diamond();
    world.nodes[3].user.claims = false;
    let invoice = world.invoice(3, AMOUNT);
    let mut params = world.params(3, AMOUNT, &invoice);
    (params.max_parts, params.max_ticks) = (4, Some(2));
    let id = world.new_payment();
    world.manager(0).pay(id, params).unwrap();
    world.settle();
    for _ in 0..5 {
        world.tick();
        world.settle();
    }
    assert!(world.endings(0, id).is_empty(), "d may still claim");
    world.manager(3).fail(invoice.hash).unwrap();
    world.settle();
    let [Event::PaymentFailed { reason, .. }] = &world.endings(0, id)[..] else { panic!() };
    assert!(matches!(reason, PaymentFailure::TimedOut { .. }), "{reason:?}");
}

/// Who crashes, and how.
#[derive(Clone, Copy, Debug)]
struct Crash {
    node: usize,
    slow_disk: bool,
    loses_record: bool,
    /// Whether its signer answers only some minutes after the restart.
    slow_signer: bool,
    /// Whether the way that comes to mind first is broken behind its first channel: then a single part is paid, and fails
    /// once.
    broken: bool,
    /// Which channel's writes are done first.
    skip: usize,
}

impl Crash {
    const fn of(node: usize) -> Self {
        Self { node, slow_disk: true, loses_record: false, slow_signer: false, broken: false, skip: 0 }
    }
}

/// Cuts a payment off after `steps` steps by a crash, has the payer's user ask for the same payment again, and lets
/// everything come to an end. `false` when the payment was over before.
fn cut_off(steps: usize, crash: Crash) -> bool {
    let mut world = diamond();
    let before = balances(&world);
    let disk = world.nodes[crash.node].env.monitors.clone();
    disk.set_slow(crash.slow_disk);
    let first = world.manager(0).first_hops()[0].node;
    let broken = if first == world.id(1) { 1 } else { 2 };
    if crash.broken {
        world.disconnect(broken, 3);
    }
    let msat = if crash.broken { AMOUNT / 4 } else { AMOUNT };
    let (id, hash) = pay_in_parts(&mut world, msat, 4);
    let mut ticks = 0;
    for _ in 0..steps {
        if world.step_once(crash.skip) {
            continue;
        }
        // What waited for nothing but time.
        if ticks == 3 {
            return false;
        }
        ticks += 1;
        world.tick();
    }
    if crash.loses_record {
        world.nodes[crash.node].record.clear();
    }
    world.nodes[crash.node].env.keys.set_busy(crash.slow_signer);
    world.restart(crash.node);
    disk.set_slow(false);
    if crash.slow_signer {
        world.settle();
        world.nodes[crash.node].env.keys.set_busy(false);
    }
    if crash.node == 0 && world.endings(0, id).is_empty() {
        again(&mut world, id, hash, msat);
    }
    for _ in 0..4 {
        for (a, b) in [(0, 1), (0, 2), (1, 3), (2, 3)] {
            world.connect(a, b);
        }
        world.settle();
        world.tick();
        world.settle();
    }
    judge(&world, id, hash, msat, before);
    true
}

/// The user does not know what its node had done, and says the same again.
fn again(world: &mut World, id: PaymentId, hash: PaymentHash, msat: u64) {
    let known = world.manager(0).list_payments().iter().any(|payment| payment.id == id);
    // Its invoice is as good as any for the question whether the id is taken.
    let invoice = world.invoice(3, msat);
    let mut params = world.params(3, msat, &invoice);
    (params.hash, params.max_parts) = (hash, 4);
    let answer = world.manager(0).pay(id, params);
    assert_eq!(answer == Err(PayError::Duplicate(id)), known, "{answer:?}");
}

fn judge(world: &World, id: PaymentId, hash: PaymentHash, msat: u64, before: [u64; 4]) {
    let (claimed, endings) = (world.claimed(3, hash), world.endings(0, id));
    let mut credited = claimed.clone();
    credited.dedup();
    assert!(credited.len() <= 1, "credited twice: {claimed:?}");
    match &endings[..] {
        [Event::PaymentSent { amount, fee, .. }] => {
            let fee = fee.expect("the first time it is told, the fee is known");
            assert_eq!((&credited[..], *amount), (&[*amount][..], Msat::new(msat)));
            assert_eq!(world.nodes[0].balance(), before[0] - msat - fee.to_msat());
            assert_eq!(world.nodes[3].balance(), before[3] + msat);
        }
        [Event::PaymentFailed { .. }] | [] => {
            assert!(credited.is_empty(), "{endings:?} but {credited:?}");
            assert_eq!(balances(world), before);
        }
        other => panic!("not one ending: {other:?}"),
    }
    assert_eq!((0..4).map(|node| world.nodes[node].htlcs()).sum::<usize>(), 0);
    assert!(world.manager(0).list_payments().is_empty());
}

fn cut_off_everywhere(crash: Crash) {
    cut_off_at(0, 1, crash);
}

fn cut_off_at(first: usize, stride: usize, crash: Crash) {
    let mut steps = first;
    while cut_off(steps, crash) {
        steps += stride;
    }
    assert!(steps > 30, "only {steps} steps");
}

#[test]
fn f12_a_payer_that_dies_at_any_step_and_asks_again_pays_once() {
    cut_off_everywhere(Crash { slow_disk: false, ..Crash::of(0) });
    cut_off_everywhere(Crash::of(0));
}

#[test]
fn f12_nor_does_one_that_loses_its_record_pay_twice() {
    cut_off_everywhere(Crash { loses_record: true, ..Crash::of(0) });
}

#[test]
fn f11_a_payment_that_arrived_at_the_second_attempt_is_never_said_to_have_failed() {
    // Every other step in either order of writes: there are many.
    for (skip, loses_record) in [(0, true), (1, false)] {
        cut_off_at(skip, 2, Crash { broken: true, skip, loses_record, ..Crash::of(0) });
    }
}

#[test]
fn f03_a_payee_that_dies_at_any_step_claims_all_parts_or_none() {
    cut_off_everywhere(Crash::of(3));
    cut_off_everywhere(Crash { slow_disk: false, loses_record: true, ..Crash::of(3) });
}

#[test]
fn j1_a_payee_whose_signer_is_late_after_the_restart_loses_no_part() {
    cut_off_everywhere(Crash { slow_signer: true, ..Crash::of(3) });
    cut_off_everywhere(Crash { slow_signer: true, skip: 1, loses_record: true, ..Crash::of(3) });
}

#[test]
fn f11_a_forwarder_that_dies_at_any_step_loses_no_part() {
    cut_off_everywhere(Crash::of(1));
}

#[test]
fn without_a_peer_there_is_no_way_and_nobody_is_asked_for_one() {
    let mut world = diamond();
    world.disconnect(0, 1);
    world.disconnect(0, 2);
    let (id, _) = pay_in_parts(&mut world, AMOUNT, 4);
    world.settle();
    let [Event::PaymentFailed { reason: PaymentFailure::NoRoute(why), .. }] = &world.endings(0, id)[..]
    else {
        panic!()
    };
    assert!(why.contains("none of our channels can send"), "{why}");
    assert!(world.nodes[0].env.routes.queries().is_empty());
}
