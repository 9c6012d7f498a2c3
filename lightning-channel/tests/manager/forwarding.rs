//! A - B - C.
use lightning_traits::event::Event;
use lightning_traits::units::Msat;

use super::world::World;

#[test]
fn a_forwarded_payment_pays_its_fee() {
    let mut world = World::new(&["a", "b", "c"]);
    world.open(0, 1, 1_000_000, 0, true);
    world.open(1, 2, 1_000_000, 0, true);
    let before = world.nodes[1].balance();
    let (id, hash) = world.pay(0, 2, 10_000_000);
    world.settle();
    let [Event::PaymentSent { fee, .. }] = &world.endings(0, id)[..] else { panic!() };
    assert_eq!(*fee, Msat::new(2_000));
    assert_eq!(world.claimed(2, hash), [Msat::new(10_000_000)]);
    assert_eq!(world.nodes[1].balance(), before + 2_000);
    let forwarded = world.seen(
        1,
        |event| matches!(event, Event::Forwarded { fee: Some(fee), .. } if *fee == Msat::new(2_000)),
    );
    assert_eq!(forwarded.len(), 1);
}
