//! A - B - C.
use bitcoin::Txid;
use bitcoin::hashes::Hash as _;
use lightning_traits::event::Event;
use lightning_traits::id::{ChannelId, CommitmentNumber, HtlcId, PaymentId};
use lightning_traits::monitor::{HtlcOutcome, MonitorEvent, MonitorStep, SpendKind};
use lightning_traits::payment::{PaymentHash, PaymentSecret};
use lightning_traits::route::{Path, Route, RouteHop};
use lightning_traits::units::{BlockHeight, CltvExpiry, Msat};

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
    assert_eq!(*fee, Some(Msat::new(2_000)));
    assert_eq!(world.claimed(2, hash), [Msat::new(10_000_000)]);
    assert_eq!(world.nodes[1].balance(), before + 2_000);
    let forwarded = world.seen(
        1,
        |event| matches!(event, Event::Forwarded { fee: Some(fee), .. } if *fee == Msat::new(2_000)),
    );
    assert_eq!(forwarded.len(), 1);
}

/// A payment from a to c that c holds, with the channel and id of b's outgoing HTLC.
fn held(world: &mut World) -> (PaymentId, PaymentHash, ChannelId, ChannelId) {
    let first = world.open(0, 1, 1_000_000, 0, true);
    let second = world.open(1, 2, 1_000_000, 0, true);
    world.nodes[2].user.claims = false;
    let (id, hash) = world.pay(0, 2, 10_000_000);
    world.settle();
    assert_eq!(world.seen(2, |event| matches!(event, Event::PaymentClaimable { .. })).len(), 1);
    (id, hash, first, second)
}

fn spent(world: &World, channel: ChannelId) -> MonitorEvent {
    let kind = SpendKind::Theirs { number: CommitmentNumber(1) };
    let height = BlockHeight::new(world.height());
    MonitorEvent::FundingSpent { channel, txid: Txid::all_zeros(), kind, height }
}

#[test]
fn a_preimage_from_the_chain_goes_upstream() {
    let mut world = World::new(&["a", "b", "c"]);
    let (id, hash, _, second) = held(&mut world);
    let events = world.seen(2, |event| matches!(event, Event::PaymentClaimable { .. }));
    let [Event::PaymentClaimable { preimage: Some(preimage), .. }] = &events[..] else { panic!() };
    let monitors = &world.nodes[1].env.monitors;
    monitors.report(spent(&world, second));
    let outcome = HtlcOutcome::Claimed { preimage: preimage.clone() };
    monitors.report(MonitorEvent::HtlcResolved { channel: second, htlc: HtlcId(0), outcome });
    world.settle();
    let [Event::PaymentSent { preimage, .. }] = &world.endings(0, id)[..] else { panic!() };
    assert_eq!(preimage.hash(), hash);
    assert_eq!(world.nodes[1].env.monitors.unacknowledged(), 0);
    assert_eq!(world.seen(1, |event| matches!(event, Event::Forwarded { .. })).len(), 1);
    world.restart(1);
    world.settle();
    assert_eq!(world.seen(1, |event| matches!(event, Event::Forwarded { .. })).len(), 1);
}

#[test]
fn a_timeout_on_chain_fails_upstream_even_over_a_restart_in_between() {
    let mut world = World::new(&["a", "b", "c"]);
    let (id, _, _, second) = held(&mut world);
    let monitors = world.nodes[1].env.monitors.clone();
    monitors.report(spent(&world, second));
    world.settle();
    world.restart(1);
    world.settle();
    assert!(world.endings(0, id).is_empty());
    monitors.report(MonitorEvent::HtlcResolved {
        channel: second,
        htlc: HtlcId(0),
        outcome: HtlcOutcome::Failed {},
    });
    world.settle();
    assert_eq!(world.failures(0), ["permanent_channel_failure at hop 0"]);
    assert!(matches!(world.endings(0, id)[..], [Event::PaymentFailed { .. }]));
    assert_eq!(monitors.unacknowledged(), 0);
}

#[test]
fn a_preimage_reaches_the_monitor_of_an_upstream_channel_that_went_to_the_chain() {
    let mut world = World::new(&["a", "b", "c"]);
    let (_, hash, first, _) = held(&mut world);
    world.nodes[1].env.monitors.report(spent(&world, first));
    world.settle();
    world.manager(2).claim(hash).unwrap();
    world.settle();
    let learnt = world.nodes[1].env.monitors.steps(first).iter().any(|step| match step {
        MonitorStep::Preimage { preimage } => preimage.hash() == hash,
        _ => false,
    });
    assert!(learnt);
}

#[test]
fn a_payer_tries_the_next_way() {
    let mut world = World::new(&["a", "b", "c", "d"]);
    world.open(0, 1, 1_000_000, 0, true);
    world.open(1, 3, 1_000_000, 0, true);
    world.open(0, 2, 1_000_000, 0, true);
    world.open(2, 3, 1_000_000, 0, true);
    // The way that comes to mind first is broken behind its first hop.
    let first = world.manager(0).first_hops()[0].node;
    let broken = if first == world.id(1) { 1 } else { 2 };
    world.disconnect(broken, 3);
    let (id, hash) = world.pay(0, 3, 10_000_000);
    world.settle();
    assert!(matches!(world.endings(0, id)[..], [Event::PaymentSent { .. }]));
    assert_eq!(world.failures(0), ["temporary_channel_failure at hop 0"]);
    assert_eq!(world.claimed(3, hash), [Msat::new(10_000_000)]);
}

#[test]
fn another_channel_with_the_same_peer_helps_out() {
    let mut world = World::new(&["a", "b", "c"]);
    world.open(0, 1, 2_000_000, 0, true);
    world.open(1, 2, 100_000, 0, true);
    // Gossip does not know the larger one: the payer names the small one.
    let small =
        world.manager(1).list_channels().iter().map(|c| c.funded.as_ref().unwrap().scid).max().unwrap();
    world.open(1, 2, 1_000_000, 0, false);
    for node in &world.nodes {
        node.env.routes.retain(|edge| Some(edge.scid) <= small);
    }
    let (id, _) = world.pay(0, 2, 500_000_000);
    world.settle();
    assert!(matches!(world.endings(0, id)[..], [Event::PaymentSent { .. }]));
}

#[test]
fn a_private_channel_is_reached_by_its_hint() {
    let mut world = World::new(&["a", "b", "c"]);
    world.open(0, 1, 1_000_000, 0, true);
    world.open(1, 2, 1_000_000, 0, false);
    let hints = world.manager(2).route_hints();
    let [hint] = &hints[..] else { panic!("{hints:?}") };
    let [hop] = &hint.hops[..] else { panic!() };
    let config = &world.nodes[1].config.channel;
    assert_eq!((hop.node, hop.fee_base, hop.cltv_delta), (world.id(1), config.fee_base, config.cltv_delta));
    let real = world.manager(2).list_channels()[0].funded.as_ref().unwrap().scid.unwrap();
    assert_ne!(hop.scid, real, "the alias is named, not the real id");
    // The payer knows the channel by its hint only.
    world.nodes[0].env.routes.change(|edge| {
        if edge.scid == real {
            edge.scid = hop.scid;
        }
    });
    let (id, _) = world.pay(0, 2, 10_000_000);
    world.settle();
    assert!(matches!(world.endings(0, id)[..], [Event::PaymentSent { .. }]));
    // A node with a public channel needs no hints.
    assert!(world.manager(0).route_hints().is_empty());
}

#[test]
fn an_onion_for_somebody_else_is_malformed_to_the_payer() {
    let mut world = World::new(&["a", "b", "c"]);
    world.open(0, 1, 1_000_000, 0, true);
    world.open(1, 2, 1_000_000, 0, true);
    let id = world.new_payment();
    let invoice = world.invoice(2, 10_000_000);
    let mut params = world.params(2, 10_000_000, &invoice);
    // The last hop's layer is made for a key that c does not have.
    let stranger = world.id(0);
    let channels = world.manager(1).list_channels();
    let hop = |index: usize, node, amount, expiry| {
        let at = |channel: &&lightning_channel::channel::ChannelDetails| channel.peer == world.id(2 * index);
        let scid = channels.iter().find(at).unwrap().funded.as_ref().unwrap().scid.unwrap();
        RouteHop { node, scid, amount: Msat::new(amount), expiry: CltvExpiry::new(world.height() + expiry) }
    };
    let hops = vec![hop(0, world.id(1), 10_002_000, 110), hop(1, stranger, 10_000_000, 30)];
    params.payee = stranger;
    let route = Route { paths: vec![Path { hops }] };
    world.manager(0).send_along(id, invoice.hash, route, &params.recipient).unwrap();
    world.settle();
    assert_eq!(world.failures(0), ["invalid_onion_hmac at hop 0"]);
}

#[test]
fn j07_an_outcome_is_kept_downstream_until_it_is_durable_upstream() {
    let mut world = World::new(&["a", "b", "c"]);
    let (id, hash, first, second) = held(&mut world);
    // The upstream channel's disk stands still while everything else goes on.
    world.nodes[1].env.monitors.set_slow_channel(first);
    world.manager(2).claim(hash).unwrap();
    world.settle();
    world.tick();
    world.settle();
    let learnt = world.nodes[1].env.monitors.steps(first).len();
    world.restart(1);
    assert_eq!(world.nodes[1].env.monitors.steps(first).len(), learnt, "the write was lost");
    world.nodes[1].env.monitors.set_slow(false);
    while world.nodes[1].env.monitors.write_one(0) {}
    for _ in 0..3 {
        world.settle();
        while world.nodes[1].env.monitors.write_one(0) {}
    }
    assert!(matches!(world.endings(0, id)[..], [Event::PaymentSent { .. }]));
    let balance = |channel| {
        let channels = world.manager(1).list_channels();
        let found = channels.iter().find(|details| details.channel == channel).unwrap();
        found.funded.as_ref().unwrap().our_balance
    };
    assert_eq!(balance(first), Msat::new(10_002_000));
    assert_eq!(balance(second), Msat::new(990_000_000));
}

/// What a node's monitor of a channel may claim with.
fn preimages(world: &World, node: usize, channel: ChannelId) -> usize {
    let steps = world.nodes[node].env.monitors.steps(channel);
    steps.iter().filter(|step| matches!(step, MonitorStep::Preimage { .. })).count()
}

/// CVE-2020-26896: somebody sends an HTLC with the hash of our own invoice through us, or to us without its secret, and goes to
/// the chain. Our preimage is for those who pay the invoice.
#[test]
fn f01_the_preimage_of_an_invoice_is_not_for_forwards_of_its_hash() {
    for closes in [0, 1, 2] {
        let mut world = World::new(&["a", "b", "c"]);
        let first = world.open(0, 1, 1_000_000, 0, true);
        let second = world.open(1, 2, 1_000_000, 0, true);
        world.nodes[2].user.claims = false;
        let ours = world.invoice(1, 10_000_000);
        // c waits for a payment to the same hash, so the forward stays where it is.
        let (hash, expires) = (ours.hash, world.now() + 36_000);
        let theirs = world.manager(2).create_inbound_payment_for_hash(hash, None, expires, None);
        let (id, _) = world.pay_invoice(0, 2, 10_000_000, &theirs);
        world.settle();
        assert_eq!(world.seen(2, |event| matches!(event, Event::PaymentClaimable { .. })).len(), 1);
        match closes {
            0 => world.nodes[1].env.monitors.report(spent(&world, first)),
            1 => drop(world.manager(1).force_close(first)),
            _ => world.restart(1),
        }
        world.settle();
        assert_eq!((preimages(&world, 1, first), preimages(&world, 1, second)), (0, 0));
        assert!(world.seen(1, |event| matches!(event, Event::PaymentClaimable { .. })).is_empty());
        world.manager(2).fail(hash).unwrap();
        world.settle();
        assert_eq!(preimages(&world, 1, first), 0);
        assert!(!matches!(world.endings(0, id)[..], [Event::PaymentSent { .. }]));
    }
}

#[test]
fn f01_nor_for_htlcs_to_us_that_lack_its_secret() {
    for keysend in [false, true] {
        let mut world = World::new(&["a", "b"]);
        let channel = world.open(0, 1, 1_000_000, 0, true);
        let invoice = world.invoice(1, 10_000_000);
        let mut params = world.params(1, 10_000_000, &invoice);
        params.recipient.secret = keysend.then(|| PaymentSecret::new([9; 32]));
        let id = world.new_payment();
        world.manager(0).pay(id, params).unwrap();
        world.settle();
        assert!(matches!(world.endings(0, id)[..], [Event::PaymentFailed { .. }]));
        assert_eq!(preimages(&world, 1, channel), 0);
    }
}
