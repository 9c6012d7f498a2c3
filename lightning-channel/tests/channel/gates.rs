//! Nothing leaves before what it depends on is durable (O4), whatever the order of receipts.
use lightning_channel::channel::{Output, PhaseName};
use lightning_channel::commitments::Origin;
use lightning_traits::event::Event;
use lightning_traits::id::{ChannelId, HtlcId};
use lightning_traits::units::Msat;
use lightning_traits::wire::Message;

use super::pair::{Fate, Pair, htlc};

const PUSH: Msat = Msat::from_sat(300_000);

/// Types that promise something: funding_signed, channel_ready, shutdown, closing_signed, update_fulfill_htlc,
/// commitment_signed, revoke_and_ack.
const GATED: [u16; 7] = [35, 36, 38, 39, 130, 132, 133];

/// Runs with slow disks, letting one write through at each rest; nothing gated may leave a node that has not one more
/// write behind it than it had when it last sent something gated.
fn run_slowly(pair: &mut Pair) -> usize {
    let mut writes = 0;
    loop {
        let before: Vec<_> = [0, 1].map(|side| pair.nodes[side].log.len()).to_vec();
        pair.run();
        for (side, from) in before.into_iter().enumerate() {
            let frozen = !pair.nodes[side].writing.is_empty();
            let gated = pair.nodes[side].log[from..].iter().filter(|m| GATED.contains(&m.type_id())).count();
            // One receipt opens one gate; a gate may hold a revocation and a signature.
            assert!(!frozen || gated <= 2, "{gated} gated messages behind one write");
        }
        match pair.nodes.iter_mut().position(super::node::Node::write_one) {
            Some(_) => writes += 1,
            None => return writes,
        }
    }
}

#[test]
fn no_gated_message_leaves_while_no_write_is_durable() {
    let mut pair = Pair::open(PUSH);
    let before: Vec<_> = [0, 1].map(|side| pair.nodes[side].log.len()).to_vec();
    for node in &mut pair.nodes {
        node.slow_disk = true;
    }
    pair.want(1, 0, Msat::from_sat(50_000), Fate::Claim);
    pair.want(2, 1, Msat::from_sat(40_000), Fate::Claim);
    pair.run();
    for (side, from) in before.into_iter().enumerate() {
        let sent: Vec<_> = pair.nodes[side].log[from..].iter().map(Message::type_id).collect();
        assert_eq!(sent, [128], "only update_add_htlc left node {side}");
        assert_eq!(pair.nodes[side].writing.len(), 1);
    }
    assert!(run_slowly(&mut pair) >= 10);
    let second = Msat::new(PUSH.to_msat() + 10_000_000);
    pair.assert_balance(Msat::new(1_000_000_000 - second.to_msat()), second);
}

#[test]
fn accepter_sends_funding_signed_only_behind_its_write() {
    let mut pair = Pair::new();
    pair.nodes[1].slow_disk = true;
    pair.propose(PUSH, false);
    pair.run();
    pair.fund();
    pair.run();
    assert!(!pair.sent(1).contains(&35) && pair.nodes[1].events.is_empty());
    assert_eq!(pair.phases(), [PhaseName::AwaitingSigned, PhaseName::AwaitingReady]);
    pair.nodes[1].write_one();
    pair.run();
    assert!(pair.sent(1).contains(&35));
    assert!(matches!(pair.nodes[1].events[..], [Event::ChannelPending { .. }]));
}

#[test]
fn opener_broadcasts_only_behind_its_write() {
    let mut pair = Pair::new();
    pair.nodes[0].slow_disk = true;
    pair.propose(PUSH, false);
    pair.run();
    pair.fund();
    pair.run();
    assert_eq!(pair.phases(), [PhaseName::AwaitingReady; 2]);
    assert!(pair.nodes[0].broadcasts.is_empty());
    assert!(!pair.nodes[0].events.iter().any(|event| matches!(event, Event::ChannelPending { .. })));
    let transaction = pair.funding();
    pair.nodes[0].write_one();
    pair.run();
    assert_eq!(pair.nodes[0].broadcasts, [transaction]);
    assert!(pair.nodes[0].events.iter().any(|event| matches!(event, Event::ChannelPending { .. })));
}

#[test]
fn receipts_that_come_in_reverse_release_everything_at_the_first() {
    let mut pair = Pair::open(PUSH);
    pair.nodes[0].slow_disk = true;
    // Two writes of one side: a signature, then a claim's preimage.
    pair.want(1, 1, Msat::from_sat(9_000), Fate::Claim);
    pair.run();
    let node = &mut pair.nodes[0];
    node.with(|channel, cx| channel.shutdown(cx, Default::default())).unwrap();
    while let Some(output) = node.channel.as_mut().unwrap().poll() {
        match output {
            Output::Persist(persisting) => node.writing.push_back(persisting),
            other => panic!("{other:?} left before its write"),
        }
    }
    assert!(node.writing.len() >= 2, "{} writes", node.writing.len());
    let mut receipts = Vec::new();
    while let Some(receipt) = node.write_silently() {
        receipts.push(receipt);
    }
    let first = receipts.remove(0);
    for receipt in receipts.into_iter().rev() {
        node.channel.as_mut().unwrap().on_receipt(receipt);
        assert!(node.channel.as_mut().unwrap().poll().is_none(), "the first write is missing");
    }
    node.channel.as_mut().unwrap().on_receipt(first);
    node.slow_disk = false;
    assert!(node.step());
    pair.run();
    assert_eq!(pair.outcomes.get(&(1, 1)), Some(&true));
}

#[test]
fn j11_j15_a_disk_that_never_answers_freezes_the_channel_and_closes_nothing() {
    let mut pair = Pair::open(PUSH);
    pair.nodes[0].slow_disk = true;
    pair.want(1, 0, Msat::from_sat(50_000), Fate::Claim);
    pair.run();
    assert!(pair.nodes[0].channel().is_frozen());
    for _ in 0..5 {
        for node in &mut pair.nodes {
            node.with(|channel, cx| channel.timer_tick(cx));
        }
        pair.run();
    }
    assert_eq!(pair.nodes[0].channel().phase(), PhaseName::Open);
    assert!(pair.closed_event(0).is_none() && pair.closed_event(1).is_none());
    pair.nodes[0].write_one();
    pair.nodes[0].slow_disk = false;
    pair.run();
    while pair.nodes[0].write_one() {}
    pair.run();
    assert_eq!(pair.outcomes.get(&(0, 1)), Some(&true));
}

/// The first node has offered an HTLC, the second sends its preimage, and the first node's disk has stopped meanwhile.
fn fulfilled_with_slow_disk(origin: Option<Origin>) -> Pair {
    let mut pair = Pair::open(PUSH);
    pair.want(1, 0, Msat::from_sat(50_000), Fate::Claim);
    let mut offer = htlc(&pair.intents[0].clone(), 500);
    offer.origin = origin.unwrap_or(offer.origin);
    pair.nodes[0].with(|channel, cx| channel.offer_htlc(cx, offer)).expect("it is offered");
    while !pair.sent(1).contains(&130) {
        assert!(pair.move_once() || pair.manage());
    }
    pair.nodes[0].slow_disk = true;
    while pair.move_once() {}
    pair
}

#[test]
fn a_preimage_for_a_forward_is_told_before_the_channel_that_brought_it_is_durable() {
    let from = Origin::Forward { channel: ChannelId([7; 32]), htlc: HtlcId(3) };
    let pair = fulfilled_with_slow_disk(Some(from));
    assert!(!pair.nodes[0].writing.is_empty());
    assert_eq!(pair.nodes[0].notices.len(), 1);
}

#[test]
fn that_a_payment_of_ours_arrived_is_told_only_when_a_crash_cannot_make_us_forget_it() {
    let mut pair = fulfilled_with_slow_disk(None);
    assert!(!pair.nodes[0].writing.is_empty() && pair.nodes[0].notices.is_empty());
    while pair.nodes[0].write_one() {
        while pair.move_once() {}
    }
    assert_eq!(pair.nodes[0].notices.len(), 1);
    // Forgotten instead, it comes again with the preimage, and was never told before.
    let mut pair = fulfilled_with_slow_disk(None);
    pair.crash(0);
    assert!(pair.nodes[0].notices.is_empty());
    pair.nodes[0].slow_disk = false;
    pair.connect();
    pair.run();
    assert_eq!(pair.outcomes.get(&(0, 1)), Some(&true));
}

#[test]
fn a_peer_that_shows_the_preimage_and_nothing_more_is_believed_after_a_while() {
    let mut pair = Pair::open(PUSH);
    pair.want(1, 0, Msat::from_sat(50_000), Fate::Claim);
    while !pair.sent(1).contains(&130) {
        assert!(pair.move_once() || pair.manage());
    }
    // Its signature for that is lost with the connection.
    let fulfil = pair.nodes[1].outgoing.iter().position(|message| message.type_id() == 130);
    let fulfil = fulfil.and_then(|at| pair.nodes[1].outgoing.remove(at));
    if let Some(fulfil) = fulfil {
        pair.deliver(0, fulfil);
    }
    pair.disconnect();
    while pair.nodes[0].step() {}
    pair.nodes[0].with(|channel, cx| {
        channel.timer_tick(cx);
        channel.flush(cx);
    });
    while pair.nodes[0].step() {}
    assert_eq!(pair.nodes[0].notices.len(), 1);
}

#[test]
fn removal_durable_is_told_for_claims_and_failures_only_behind_their_write() {
    let mut pair = Pair::open(PUSH);
    pair.want(1, 0, Msat::from_sat(50_000), Fate::Claim);
    pair.want(2, 0, Msat::from_sat(50_000), Fate::Fail);
    while pair.nodes[1].incoming.len() < 2 {
        assert!(pair.move_once() || (pair.nodes[1].incoming.is_empty() && pair.manage()));
    }
    pair.nodes[1].slow_disk = true;
    pair.manage();
    while pair.move_once() {}
    assert!(pair.nodes[1].durable_removals.is_empty());
    while pair.nodes[1].write_one() {}
    while pair.move_once() {}
    let mut told: Vec<_> = pair.nodes[1].durable_removals.iter().map(|id| id.0).collect();
    told.sort_unstable();
    assert_eq!(told, [0, 1]);
}
