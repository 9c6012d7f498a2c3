//! What a payer hears when something on the way is not as it should be, and what the payee demands.
use lightning_channel::manager::InboundPayment;
use lightning_channel::payment::{PayError, PayParams, Recipient};
use lightning_traits::event::{Event, PaymentFailure};
use lightning_traits::payment::PaymentSecret;
use lightning_traits::route::{Path, PathOutcome, Route, RouteHop};
use lightning_traits::units::{CltvDelta, CltvExpiry, Msat};

use super::mocks::Edge;
use super::world::World;

fn line() -> World {
    let mut world = World::new(&["a", "b", "c"]);
    world.open(0, 1, 1_000_000, 0, true);
    world.open(1, 2, 1_000_000, 0, true);
    world
}

/// The failures that the payer saw, for a payment whose invoice or route was changed.
fn pay_with(world: &mut World, msat: u64, change: impl Fn(&mut PayParams)) -> (Vec<String>, PaymentFailure) {
    let invoice = world.invoice(2, msat);
    let mut params = world.params(2, msat, &invoice);
    change(&mut params);
    let id = world.new_payment();
    world.manager(0).pay(id, params).unwrap();
    world.settle();
    let [Event::PaymentFailed { reason, .. }] = &world.endings(0, id)[..] else {
        panic!("{:?}", world.endings(0, id))
    };
    for node in 0..3 {
        assert_eq!(world.nodes[node].htlcs(), 0);
    }
    (world.failures(0), reason.clone())
}

/// The failure for a route whose edges were changed, after which the payment arrives.
fn learn_on_the_way(change: impl Fn(&mut Edge)) -> (String, World) {
    let mut world = line();
    for node in &world.nodes {
        node.env.routes.change(&change);
    }
    let (id, hash) = world.pay(0, 2, 10_000_000);
    world.settle();
    assert!(matches!(world.endings(0, id)[..], [Event::PaymentSent { .. }]), "{:?}", world.endings(0, id));
    assert_eq!(world.claimed(2, hash), [Msat::new(10_000_000)]);
    let failures = world.failures(0);
    assert_eq!(failures.len(), 1, "{failures:?}");
    (failures[0].clone(), world)
}

#[test]
fn a_forwarder_says_what_it_lacks_and_what_it_asks_for() {
    assert_eq!(learn_on_the_way(|edge| edge.fee_base = 999).0, "fee_insufficient at hop 0");
    assert_eq!(learn_on_the_way(|edge| edge.fee_ppm = 99).0, "fee_insufficient at hop 0");
    assert_eq!(learn_on_the_way(|edge| edge.cltv_delta = 79).0, "incorrect_cltv_expiry at hop 0");
}

#[test]
fn f13_what_a_failure_says_of_terms_serves_that_payment_alone() {
    let (_, mut world) = learn_on_the_way(|edge| edge.fee_base = 999);
    let queries = world.nodes[0].env.routes.queries();
    assert_eq!(queries.len(), 2);
    assert!(queries[0].learnt.is_empty() && queries[1].excluded.is_empty());
    let [terms] = &queries[1].learnt[..] else { panic!("{:?}", queries[1].learnt) };
    let config = &world.nodes[1].config.channel;
    let channels = world.manager(1).list_channels();
    let channel = channels.iter().find(|channel| channel.peer == world.id(2)).unwrap();
    assert_eq!(Some(terms.channel.scid), channel.funded.as_ref().unwrap().scid);
    assert_eq!((terms.channel.from, terms.fee_base), (world.id(1), config.fee_base));
    let reports = world.nodes[0].env.routes.reports();
    assert!(matches!(reports[0].outcome, PathOutcome::FailedAt { channel: 1, temporary: true }));
    world.pay(0, 2, 10_000_000);
    assert!(world.nodes[0].env.routes.queries()[2].learnt.is_empty());
}

#[test]
fn f10_a_forwarder_whose_terms_never_suffice_is_left_alone() {
    let mut world = line();
    // What b says of its terms is not what it then demands.
    for node in [0, 2] {
        world.nodes[node].env.routes.change(|edge| edge.fee_base = 999);
    }
    world.nodes[0].env.routes.set_deaf(true);
    let (failures, _) = pay_with(&mut world, 10_000_000, |_| {});
    assert_eq!(failures, ["fee_insufficient at hop 0"; 2]);
    let last = world.nodes[0].env.routes.queries().pop().unwrap();
    assert_eq!((last.excluded.len(), last.excluded[0].from), (1, world.id(1)));
}

#[test]
fn terms_of_a_private_channel_are_told_under_the_name_that_the_payer_used() {
    let mut world = World::new(&["a", "b", "c"]);
    world.open(0, 1, 1_000_000, 0, true);
    world.open(1, 2, 1_000_000, 0, false);
    let hop = world.manager(2).route_hints()[0].hops[0].clone();
    let real = world.manager(2).list_channels()[0].funded.as_ref().unwrap().scid.unwrap();
    world.nodes[0].env.routes.change(|edge| {
        if edge.scid == real {
            (edge.scid, edge.fee_base) = (hop.scid, 1);
        }
    });
    let (id, _) = world.pay(0, 2, 10_000_000);
    world.settle();
    assert!(matches!(world.endings(0, id)[..], [Event::PaymentSent { .. }]));
    let query = world.nodes[0].env.routes.queries().pop().unwrap();
    assert_eq!(query.learnt[0].channel.scid, hop.scid);
}

#[test]
fn unknown_channels_and_peers_that_are_away() {
    let mut world = line();
    world.disconnect(1, 2);
    let (failures, _) = pay_with(&mut world, 10_000_000, |_| {});
    assert_eq!(failures, ["temporary_channel_failure at hop 0"]);

    let mut world = line();
    for node in &world.nodes {
        // Only the hop after the first is looked up by the route finder's own map.
        node.env.routes.change(|edge| edge.scid.0 += 1);
    }
    let (failures, _) = pay_with(&mut world, 10_000_000, |_| {});
    assert_eq!(failures, ["unknown_next_peer at hop 0"]);
}

#[test]
fn more_than_the_next_channel_holds() {
    let mut world = World::new(&["a", "b", "c"]);
    world.open(0, 1, 2_000_000, 0, true);
    world.open(1, 2, 100_000, 0, true);
    let (failures, _) = pay_with(&mut world, 500_000_000, |_| {});
    assert_eq!(failures, ["temporary_channel_failure at hop 0"]);
}

fn along(world: &World, amounts: [u64; 2], expiries: [u32; 2]) -> Route {
    let hop = |index: usize| {
        let details = world.manager(index).list_channels();
        let next = world.id(index + 1);
        let channel = details.iter().find(|channel| channel.peer == next).unwrap();
        RouteHop {
            node: next,
            scid: channel.funded.as_ref().unwrap().scid.unwrap(),
            amount: Msat::new(amounts[index]),
            expiry: CltvExpiry::new(world.height() + expiries[index]),
        }
    };
    Route { paths: vec![Path { hops: vec![hop(0), hop(1)] }] }
}

fn send_along(world: &mut World, invoice: &InboundPayment, route: Route) -> (Vec<String>, Event) {
    let recipient = Recipient::invoice(invoice.secret.clone());
    let id = world.new_payment();
    world.manager(0).send_along(id, invoice.hash, route, &recipient).unwrap();
    world.settle();
    let [end] = &world.endings(0, id)[..] else { panic!() };
    (world.failures(0), end.clone())
}

#[test]
fn b17_expiries_too_near_and_too_far() {
    for (expiries, failure) in [
        ([83, 3], "expiry_too_soon at hop 0"),
        ([2_017, 30], "expiry_too_far at hop 0"),
        ([100, 20], "incorrect_or_unknown_payment_details at hop 1"),
    ] {
        let mut world = line();
        let invoice = world.invoice(2, 10_000_000);
        let route = along(&world, [10_002_000, 10_000_000], expiries);
        let (failures, end) = send_along(&mut world, &invoice, route);
        assert_eq!(failures, [failure]);
        assert!(matches!(end, Event::PaymentFailed { .. }));
    }
}

#[test]
fn a_given_route_is_paid_once() {
    let mut world = line();
    let invoice = world.invoice(2, 10_000_000);
    let route = along(&world, [10_002_000, 10_000_000], [110, 30]);
    let (_, end) = send_along(&mut world, &invoice, route.clone());
    assert!(matches!(end, Event::PaymentSent { .. }));
    // The invoice is paid: whoever pays again is told that it is unknown.
    let (failures, end) = send_along(&mut world, &invoice, route);
    assert_eq!(failures, ["incorrect_or_unknown_payment_details at hop 1"]);
    assert!(matches!(end, Event::PaymentFailed { .. }));
    let nowhere = Route { paths: vec![Path { hops: Vec::new() }] };
    let recipient = Recipient::invoice(invoice.secret.clone());
    let id = world.new_payment();
    let refused = world.manager(0).send_along(id, invoice.hash, nowhere, &recipient);
    assert_eq!(refused, Err(PayError::Nothing));
}

#[test]
fn the_payee_answers_all_that_is_wrong_alike() {
    let unknown = "incorrect_or_unknown_payment_details at hop 1";
    type Change = fn(&mut PayParams);
    let wrong: [(&str, Change); 4] = [
        ("secret", |params| params.recipient.secret = Some(PaymentSecret::new([1; 32]))),
        ("too little", |params| params.amount = Msat::new(9_999_999)),
        ("more than twice", |params| params.amount = Msat::new(20_000_001)),
        ("too soon", |params| params.final_cltv_delta = CltvDelta::new(17)),
    ];
    for (what, change) in wrong {
        let mut world = line();
        let (failures, reason) = pay_with(&mut world, 10_000_000, change);
        assert_eq!(failures, [unknown], "{what}");
        assert!(matches!(reason, PaymentFailure::RefusedByPayee(_)));
    }
    let mut world = line();
    let invoice = world.invoice(2, 10_000_000);
    // Ten hours later.
    world.mine(61);
    world.settle();
    let (id, _) = world.pay_invoice(0, 2, 10_000_000, &invoice);
    world.settle();
    assert!(matches!(world.endings(0, id)[..], [Event::PaymentFailed { .. }]), "expired");
    assert_eq!(world.failures(0), [unknown]);
}

#[test]
fn up_to_twice_the_amount_is_taken() {
    let mut world = line();
    let invoice = world.invoice(2, 10_000_000);
    let (id, hash) = world.pay_invoice(0, 2, 20_000_000, &invoice);
    world.settle();
    assert!(matches!(world.endings(0, id)[..], [Event::PaymentSent { .. }]));
    assert_eq!(world.claimed(2, hash), [Msat::new(20_000_000)]);
}

#[test]
fn a_second_pay_of_the_same_id_changes_nothing() {
    let mut world = line();
    world.nodes[2].user.claims = false;
    let invoice = world.invoice(2, 10_000_000);
    let (id, hash) = world.pay_invoice(0, 2, 10_000_000, &invoice);
    world.settle();
    let params = world.params(2, 10_000_000, &invoice);
    assert_eq!(world.manager(0).pay(id, params.clone()), Err(PayError::Duplicate(id)));
    let other = world.new_payment();
    assert_eq!(world.manager(0).pay(other, params), Err(PayError::SameHash(hash)));
    world.manager(2).claim(hash).unwrap();
    world.settle();
    assert!(matches!(world.endings(0, id)[..], [Event::PaymentSent { .. }]));
    assert_eq!(world.claimed(2, hash), [Msat::new(10_000_000)]);
}
