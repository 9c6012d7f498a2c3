//! Direct payments: success, refusal, limits of the payee.
use lightning_traits::event::{Event, PaymentFailure};
use lightning_traits::units::Msat;

use super::world::World;

#[test]
fn a_payment_arrives_and_both_users_hear_of_it() {
    let mut world = World::new(&["a", "b"]);
    world.open(0, 1, 1_000_000, 0, false);
    let (id, hash) = world.pay(0, 1, 10_000_000);
    world.settle();
    let [Event::PaymentSent { preimage, amount, fee, .. }] = &world.endings(0, id)[..] else { panic!() };
    assert_eq!((preimage.hash(), *amount, *fee), (hash, Msat::new(10_000_000), Msat::ZERO));
    assert_eq!(world.claimed(1, hash), [Msat::new(10_000_000)]);
    assert_eq!((world.nodes[1].balance(), world.nodes[0].htlcs()), (10_000_000, 0));
    assert!(world.manager(0).list_payments().is_empty());
    // Back again, over what just arrived.
    let (id, _) = world.pay(1, 0, 3_000_000);
    world.settle();
    assert!(matches!(world.endings(1, id)[..], [Event::PaymentFailed { .. }]), "the reserve is not there");
}

#[test]
fn the_payee_can_give_a_payment_back() {
    let mut world = World::new(&["a", "b"]);
    world.open(0, 1, 1_000_000, 0, false);
    world.nodes[1].user.claims = false;
    let (id, hash) = world.pay(0, 1, 10_000_000);
    world.settle();
    assert!(world.endings(0, id).is_empty());
    world.manager(1).fail(hash).unwrap();
    world.settle();
    let [Event::PaymentFailed { reason, .. }] = &world.endings(0, id)[..] else { panic!() };
    assert!(matches!(reason, PaymentFailure::RefusedByPayee(text) if text.contains("incorrect_or_unknown")));
    assert_eq!((world.nodes[1].balance(), world.nodes[0].htlcs()), (0, 0));
}
