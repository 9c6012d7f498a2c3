//! A channel that carries payments.
use lightning_channel::channel::{FeeUpdateError, PhaseName, SendError};
use lightning_channel::commitments::FeeRefused;
use lightning_traits::event::Event;
use lightning_traits::id::{HtlcId, ShortChannelId};
use lightning_traits::units::{FeeratePerKw, Msat};
use lightning_traits::wire::{Message, RoutingMessage, UpdateAddHtlc};

use super::pair::{Fate, Pair, htlc};

const PUSH: Msat = Msat::from_sat(300_000);

#[test]
fn payments_both_ways_claimed_failed_and_malformed_end_as_they_should() {
    let mut pair = Pair::open(PUSH);
    pair.want(1, 0, Msat::from_sat(50_000), Fate::Claim);
    pair.want(2, 0, Msat::from_sat(20_000), Fate::Fail);
    pair.want(3, 0, Msat::from_sat(10_000), Fate::Malformed);
    pair.want(4, 1, Msat::new(7_000_001), Fate::Claim);
    pair.want(5, 1, Msat::new(300_000), Fate::Claim);
    pair.run();
    assert_eq!(pair.phases(), [PhaseName::Open; 2]);
    let moved = Msat::from_sat(50_000).checked_sub(Msat::new(7_300_001)).unwrap();
    let second = PUSH.checked_add(moved).unwrap();
    pair.assert_balance(Msat::from_sat(1_000_000).checked_sub(second).unwrap(), second);
    let outcomes: Vec<_> = pair.outcomes.values().copied().collect();
    assert_eq!(outcomes, [true, false, false, true, true]);
}

#[test]
fn while_the_funding_block_is_gone_nothing_new_moves_and_afterwards_all_goes_on() {
    let mut pair = Pair::open(PUSH);
    pair.want(1, 0, Msat::from_sat(50_000), Fate::Claim);
    // The HTLC is offered and signed for, then the blocks go.
    pair.manage();
    pair.unmine();
    pair.unmine();
    pair.unmine();
    pair.run();
    assert_eq!(pair.phases(), [PhaseName::Open; 2]);
    assert!(pair.outcomes.is_empty(), "what came is not decided on");
    pair.want(2, 1, Msat::from_sat(1_000), Fate::Claim);
    let offer = htlc(&pair.intents[1].clone(), 500);
    let refused = pair.nodes[1].with(|channel, cx| channel.offer_htlc(cx, offer));
    assert_eq!(refused, Err(SendError::Unconfirmed));
    pair.mine(2);
    pair.mine_funding();
    pair.run();
    assert_eq!(pair.outcomes.values().copied().collect::<Vec<_>>(), [true, true]);
    let details = pair.nodes[0].channel().details(&pair.nodes[0].cx()).funded.unwrap();
    assert_eq!(details.scid, ShortChannelId::new(503, 4, 1));
    assert!(pair.closed_event(0).is_none() && pair.closed_event(1).is_none());
}

#[test]
fn j14_an_undecided_htlc_waits_for_the_funding_block_over_a_restart_too() {
    let mut pair = Pair::open(PUSH);
    pair.want(1, 0, Msat::from_sat(50_000), Fate::Claim);
    pair.manage();
    for _ in 0..3 {
        pair.unmine();
    }
    pair.run();
    pair.disconnect();
    pair.crash(1);
    pair.connect();
    pair.run();
    assert!(pair.outcomes.is_empty());
    pair.mine_funding();
    pair.run();
    assert_eq!(pair.outcomes.get(&(0, 1)), Some(&true));
}

fn feerates(pair: &Pair) -> [u32; 2] {
    [0, 1].map(|side| pair.nodes[side].channel().commitments().unwrap().feerate().to_sat_per_kw())
}

#[test]
fn the_opener_follows_rising_fees_by_a_tick_and_the_accepter_never_sets_them() {
    let mut pair = Pair::open(PUSH);
    pair.nodes[0].fees.anchor_commitment = FeeratePerKw::new(1_100);
    pair.nodes[0].with(|channel, cx| channel.timer_tick(cx));
    pair.run();
    assert_eq!(feerates(&pair), [1_000; 2], "a tenth is not worth it");
    pair.nodes[0].fees.anchor_commitment = FeeratePerKw::new(9_000);
    for side in 0..2 {
        pair.nodes[side].with(|channel, cx| channel.timer_tick(cx));
    }
    pair.run();
    assert_eq!(feerates(&pair), [2_500; 2], "no more than the configured most for anchors");
    assert_eq!(pair.sent(0).iter().filter(|kind| **kind == 134).count(), 1);
    let refused = pair.nodes[1].with(|channel, cx| channel.update_fee(cx, FeeratePerKw::new(2_000)));
    assert_eq!(refused, Err(FeeUpdateError::Refused(FeeRefused::NotOpener)));
    assert!(!pair.sent(1).contains(&134));
}

#[test]
fn a_feerate_below_what_is_relayed_hangs_up_and_changes_nothing() {
    let mut pair = Pair::open(PUSH);
    pair.tamper = Some(Box::new(|_, message| {
        if let Message::UpdateFee(fee) = message {
            fee.feerate_per_kw = FeeratePerKw::new(200);
        }
    }));
    pair.nodes[0].with(|channel, cx| channel.update_fee(cx, FeeratePerKw::new(2_000))).unwrap();
    pair.run();
    assert!(!pair.connected);
    assert_eq!(pair.nodes[1].channel().commitments().unwrap().feerate(), FeeratePerKw::new(1_000));
}

#[test]
fn an_update_before_both_are_ready_hangs_up() {
    let mut pair = Pair::new();
    pair.propose(PUSH, false);
    pair.run();
    pair.fund();
    pair.run();
    pair.want(1, 0, Msat::from_sat(1_000), Fate::Claim);
    let offer = htlc(&pair.intents[0].clone(), 500);
    let add = UpdateAddHtlc {
        channel_id: pair.nodes[1].channel().id(),
        id: HtlcId(0),
        amount_msat: offer.amount,
        payment_hash: offer.hash,
        cltv_expiry: offer.expiry,
        onion_routing_packet: offer.onion.packet().unwrap().clone(),
        path_key: None,
        unknown: Default::default(),
    };
    pair.deliver(1, add.into());
    pair.run();
    assert!(!pair.connected && pair.closed_event(1).is_none());
    assert_eq!(
        pair.nodes[0].with(|channel, cx| channel.offer_htlc(cx, htlc_of(cx))),
        Err(SendError::NotOnline)
    );
}

fn htlc_of(
    _: &lightning_channel::channel::Context<'_, super::keys::TestKeys>,
) -> lightning_channel::commitments::OutgoingHtlc {
    let intent = super::pair::Intent { name: 1, from: 0, amount: Msat::from_sat(1_000), fate: Fate::Claim };
    htlc(&intent, 500)
}

#[test]
fn a_second_channel_ready_with_another_alias_only_changes_the_alias() {
    let mut pair = Pair::open(PUSH);
    let ready = pair.nodes[0].log.iter().find_map(|message| match message {
        Message::ChannelReady(ready) => Some(ready.clone()),
        _ => None,
    });
    let mut ready = ready.unwrap();
    ready.short_channel_id = Some(ShortChannelId(77));
    pair.deliver(1, ready.into());
    pair.run();
    let details = pair.nodes[1].channel().details(&pair.nodes[1].cx()).funded.unwrap();
    assert_eq!(details.their_alias, Some(ShortChannelId(77)));
    assert_eq!(pair.phases(), [PhaseName::Open; 2]);
    let ready_events =
        pair.nodes[1].events.iter().filter(|event| matches!(event, Event::ChannelReady { .. }));
    assert_eq!(ready_events.count(), 1);
}

#[test]
fn announcement_signatures_are_said_again_on_each_connection_and_the_announcement_after_a_restart() {
    let mut pair = Pair::new();
    pair.establish(PUSH, true);
    pair.mine(3);
    pair.run();
    let count = |pair: &Pair, side: usize| pair.sent(side).iter().filter(|kind| **kind == 259).count();
    assert_eq!((count(&pair, 0), count(&pair, 1)), (1, 1));
    pair.reconnect();
    assert_eq!((count(&pair, 0), count(&pair, 1)), (2, 2));
    pair.nodes[0].gossip.clear();
    pair.disconnect();
    pair.crash(0);
    pair.connect();
    pair.run();
    let announced = |message: &RoutingMessage| matches!(message, RoutingMessage::ChannelAnnouncement(_));
    assert!(pair.nodes[0].gossip.iter().any(announced));
    pair.nodes[0].with(|channel, cx| channel.timer_tick(cx));
    pair.run();
    let updated = |message: &RoutingMessage| matches!(message, RoutingMessage::ChannelUpdate(_));
    assert_eq!(pair.nodes[0].gossip.iter().filter(|message| updated(message)).count(), 1);
    pair.nodes[0].with(|channel, cx| channel.timer_tick(cx));
    pair.run();
    assert_eq!(
        pair.nodes[0].gossip.iter().filter(|message| updated(message)).count(),
        1,
        "nothing redundant"
    );
}

#[test]
fn timestamps_of_updates_only_grow_though_the_chain_stands_still() {
    let mut pair = Pair::open(PUSH);
    for _ in 0..3 {
        pair.reconnect();
    }
    pair.disconnect();
    pair.crash(0);
    pair.connect();
    pair.run();
    let times: Vec<_> = pair.nodes[0]
        .log
        .iter()
        .filter_map(|message| match message {
            Message::ChannelUpdate(update) => Some(update.body.timestamp),
            _ => None,
        })
        .collect();
    assert_eq!(times.len(), 5);
    assert!(times.windows(2).all(|pair| pair[0] < pair[1]), "{times:?}");
}

#[test]
fn wrong_announcement_signatures_hang_up_and_announce_nothing() {
    let mut pair = Pair::new();
    pair.establish(PUSH, true);
    pair.tamper = Some(Box::new(|from, message| {
        if let (0, Message::AnnouncementSignatures(signatures)) = (from, message) {
            signatures.bitcoin_signature = signatures.node_signature;
        }
    }));
    pair.mine(3);
    pair.run();
    assert!(!pair.connected && pair.nodes[1].gossip.is_empty());
    assert!(pair.closed_event(1).is_none());
}

#[test]
fn a_flood_of_unsigned_updates_hangs_up_and_its_memory_is_gone() {
    let mut pair = Pair::open(PUSH);
    let channel_id = pair.nodes[1].channel().id();
    let mut taken = 0;
    for rate in 0..5_000_u32 {
        let feerate_per_kw = FeeratePerKw::new(1_000 + rate % 2);
        let fee =
            lightning_traits::wire::UpdateFee { channel_id, feerate_per_kw, unknown: Default::default() };
        pair.deliver(1, fee.into());
        while pair.nodes[1].step() {}
        if pair.nodes[1].hangup.is_some() {
            taken = rate;
            break;
        }
    }
    assert!((500..3_000).contains(&taken), "{taken}");
    pair.run();
    pair.connect();
    pair.run();
    assert_eq!(pair.phases(), [PhaseName::Open; 2]);
    assert_eq!(feerates(&pair), [1_000; 2]);
}
