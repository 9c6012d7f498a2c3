//! Channels that need trust: used before they confirm (`option_zeroconf`), without a reserve, without their place on chain
//! (`option_scid_alias`).
use bitcoin::{Amount, OutPoint};
use lightning_channel::channel::{BadTerms, Channel, OpenError, OpenOptions, OpenParams, PhaseName};
use lightning_channel::commitments::{Notice, Outcome};
use lightning_traits::config::Trust;
use lightning_traits::event::{CloseReason, Event};
use lightning_traits::feature::{ChannelType, Feature};
use lightning_traits::id::{ChannelId, ShortChannelId};
use lightning_traits::interface::KeysInterface as _;
use lightning_traits::monitor::MonitorStep;
use lightning_traits::units::{FeeratePerKw, Msat};
use lightning_traits::wire::{AnnouncementSignatures, ChannelReady, Message, UpdateFee};

use super::opening::signed_lie;
use super::pair::{FUNDING, Fate, Pair, TEMPORARY};

const PUSH: Msat = Msat::from_sat(300_000);

/// Two nodes that offer `option_zeroconf`, the second of which trusts the first.
fn pair_with(trust: Trust) -> Pair {
    let mut pair = Pair::new();
    let opener = pair.nodes[0].id();
    for node in &mut pair.nodes {
        node.features.set_optional(Feature::ZeroConf.optional_bit());
    }
    pair.nodes[1].config.handshake.trusted.insert(opener, trust);
    pair
}

fn zero_conf() -> OpenOptions {
    OpenOptions { push: PUSH, zero_conf: true, ..OpenOptions::default() }
}

/// A channel in use whose funding transaction is in no block.
fn unconfirmed(options: OpenOptions) -> Pair {
    let mut pair = pair_with(Trust { zero_conf: true, zero_reserve: false });
    pair.propose_with(options);
    pair.run();
    pair.fund();
    pair.run();
    assert_eq!(pair.phases(), [PhaseName::Open; 2]);
    pair
}

fn scid(pair: &Pair, side: usize) -> Option<ShortChannelId> {
    pair.nodes[side].channel().details(&pair.nodes[side].cx()).funded.unwrap().scid
}

#[test]
fn a12_a_channel_with_a_trusted_peer_carries_payments_before_its_first_block() {
    for anchors in [true, false] {
        for hide_scid in [true, false] {
            let mut pair = pair_with(Trust { zero_conf: true, zero_reserve: false });
            pair.nodes[0].config.handshake.anchors = anchors;
            pair.propose_with(OpenOptions { hide_scid: Some(hide_scid), ..zero_conf() });
            pair.run();
            pair.fund();
            pair.run();
            assert_eq!(pair.phases(), [PhaseName::Open; 2]);
            let channel_type = pair.nodes[1].channel().commitments().unwrap().terms().channel_type.clone();
            assert!(channel_type.has(Feature::ZeroConf));
            assert_eq!(channel_type.has(Feature::ScidAlias), hide_scid);
            assert_eq!(channel_type.has(Feature::Anchors), anchors);
            let Message::AcceptChannel(accept) = &pair.nodes[1].log[0] else { panic!() };
            // BOLT 2: "MUST set `minimum_depth` to zero".
            assert_eq!(accept.minimum_depth, 0);

            pair.want(1, 0, Msat::from_sat(50_000), Fate::Claim);
            pair.want(2, 1, Msat::from_sat(20_000), Fate::Fail);
            pair.run();
            for side in 0..2 {
                pair.disconnect();
                pair.crash(side);
                pair.connect();
                pair.run();
            }
            pair.want(3, 1, Msat::from_sat(10_000), Fate::Claim);
            pair.run();
            assert_eq!(scid(&pair, 0), None);
            pair.mine_funding();
            pair.run();
            assert!(scid(&pair, 0).is_some() && scid(&pair, 1).is_some());
            // The block goes: whoever was trusted before is trusted still.
            pair.unmine();
            pair.want(4, 0, Msat::from_sat(5_000), Fate::Claim);
            pair.run();
            pair.mine_funding();
            pair.mine(6);
            pair.run();
            let outcomes: Vec<_> = pair.outcomes.values().copied().collect();
            assert_eq!(outcomes, [true, true, false, true], "{anchors} {hide_scid}");
            pair.assert_balance(Msat::from_sat(655_000), Msat::from_sat(345_000));
            let ready = |node: &super::node::Node| {
                node.events.iter().filter(|event| matches!(event, Event::ChannelReady { .. })).count()
            };
            assert!(pair.nodes.iter().all(|node| ready(node) >= 1));
            assert!(pair.nodes.iter().all(|node| node.gossip.is_empty()), "it is not announced");
        }
    }
}

#[test]
fn a12_a_public_channel_used_early_is_announced_once_it_is_deep() {
    let mut pair = unconfirmed(OpenOptions { announce: true, ..zero_conf() });
    pair.want(1, 0, Msat::from_sat(50_000), Fate::Claim);
    pair.run();
    assert!(!pair.sent(0).contains(&259));
    pair.mine_funding();
    pair.mine(5);
    pair.run();
    assert!(pair.nodes.iter().all(|node| !node.gossip.is_empty()));
}

#[test]
fn nobody_uses_a_channel_early_who_does_not_trust_its_opener() {
    for trust in [Trust::default(), Trust { zero_conf: false, zero_reserve: true }] {
        let mut pair = pair_with(trust);
        pair.propose_with(zero_conf());
        pair.run();
        let Some(CloseReason::NeverFunded(text)) = pair.closed_event(0) else { panic!() };
        assert!(text.contains(&BadTerms::NotTrusted.to_string()), "{text}");
        assert_eq!(pair.nodes[1].channel().phase(), PhaseName::Closed);
    }
}

#[test]
fn variations_of_a_type_are_proposed_only_when_both_know_them() {
    let pair = Pair::new();
    let open = |options: OpenOptions, features| {
        let params = OpenParams { peer: pair.nodes[1].id(), temporary: TEMPORARY, funding: FUNDING, options };
        Channel::open(&pair.nodes[0].cx(), &params, &features).err()
    };
    let features = || pair.nodes[1].features.clone();
    let terms = |terms| Some(OpenError::Terms(terms));
    assert_eq!(open(zero_conf(), features()), terms(BadTerms::NotNegotiated(Feature::ZeroConf)));
    let hidden = OpenOptions { hide_scid: Some(true), ..OpenOptions::default() };
    let mut without = features();
    without.clear_bit(Feature::ScidAlias.optional_bit());
    assert_eq!(open(hidden.clone(), without), terms(BadTerms::NotNegotiated(Feature::ScidAlias)));
    assert_eq!(open(hidden.clone(), features()), None);
    let public = OpenOptions { announce: true, ..hidden };
    assert_eq!(open(public, features()), terms(BadTerms::UnsuitableType));
}

#[test]
fn an_accepter_that_wants_confirmations_for_a_channel_used_early_is_refused() {
    let mut pair = pair_with(Trust { zero_conf: true, zero_reserve: false });
    pair.tamper = Some(Box::new(|_, message| {
        if let Message::AcceptChannel(accept) = message {
            accept.minimum_depth = 1;
        }
    }));
    pair.propose_with(zero_conf());
    pair.run();
    assert_eq!(pair.phases(), [PhaseName::Closed; 2]);
}

#[test]
fn a_hidden_channel_never_says_where_it_is() {
    let mut pair = Pair::new();
    pair.propose_with(OpenOptions { push: PUSH, hide_scid: Some(true), ..OpenOptions::default() });
    pair.run();
    pair.fund();
    pair.run();
    pair.mine_funding();
    pair.mine(10);
    pair.run();
    assert_eq!(pair.phases(), [PhaseName::Open; 2]);
    for (side, node) in pair.nodes.iter().enumerate() {
        let details = node.channel().details(&node.cx()).funded.unwrap();
        let real = details.scid.unwrap();
        assert_eq!(details.channel_type, ChannelType::anchors().with(Feature::ScidAlias));
        // BOLT 2: "MUST NOT allow incoming HTLCs to this channel using the real `short_channel_id`".
        assert_eq!(node.channel().forwarding_ids(), (Some(details.alias), None));
        for message in &node.log {
            match message {
                Message::ChannelReady(ready) => assert_ne!(ready.short_channel_id, Some(real)),
                Message::ChannelUpdate(update) => {
                    assert_eq!(Some(update.body.short_channel_id), details.their_alias, "{side}");
                }
                Message::AnnouncementSignatures(_) => panic!("a hidden channel is not announced"),
                _ => {}
            }
        }
        assert!(node.log.iter().any(|message| matches!(message, Message::ChannelUpdate(_))));
    }
}

/// What the accepter says after `funding_created`, and what nobody asked for, in each order, with a block anywhere in between.
#[test]
fn a12_messages_and_blocks_in_any_order_open_the_channel_or_end_the_attempt() {
    let orders: Vec<Vec<usize>> = permutations(5);
    assert_eq!(orders.len(), 120);
    let (mut opened, mut ended) = (0, 0);
    for order in orders {
        let mut pair = pair_with(Trust { zero_conf: true, zero_reserve: false });
        pair.propose_with(zero_conf());
        pair.run();
        pair.mine(1);
        pair.fund();
        while pair.nodes[0].step() {}
        let created = pair.nodes[0].outgoing.pop_front().unwrap();
        pair.deliver(1, created);
        while pair.nodes[1].step() {}
        let answers: Vec<Message> = pair.nodes[1].outgoing.drain(..).collect();
        let [signed @ Message::FundingSigned(_), ready @ Message::ChannelReady(_), ..] = &answers[..] else {
            panic!("{answers:?}")
        };
        let Message::FundingSigned(funding_signed) = signed else { panic!() };
        let announcement = AnnouncementSignatures {
            channel_id: funding_signed.channel_id,
            short_channel_id: ShortChannelId(1),
            node_signature: funding_signed.signature,
            bitcoin_signature: funding_signed.signature,
            unknown: Default::default(),
        };
        let funding = pair.funding();
        for what in order {
            match what {
                0 => pair.deliver(0, signed.clone()),
                1 | 2 => pair.deliver(0, ready.clone()),
                3 => pair.deliver(0, announcement.clone().into()),
                _ => pair.mine_with(&[&funding]),
            }
            while pair.nodes[0].step() {}
        }
        match pair.nodes[0].channel().phase() {
            PhaseName::Open => {
                opened += 1;
                let ready = pair.nodes[0].events.iter();
                assert_eq!(ready.filter(|event| matches!(event, Event::ChannelReady { .. })).count(), 1);
            }
            PhaseName::Closed => {
                ended += 1;
                assert!(pair.nodes[0].broadcasts.is_empty(), "nothing was signed for");
            }
            other => panic!("{other:?}"),
        }
    }
    // It opens where the signature is the first of the four messages; blocks change nothing.
    assert_eq!((opened, ended), (30, 90));
}

fn permutations(count: usize) -> Vec<Vec<usize>> {
    let mut all = vec![Vec::new()];
    for next in 0..count {
        all = all
            .iter()
            .flat_map(|order: &Vec<usize>| {
                (0..=order.len()).map(move |at| {
                    let mut longer = order.clone();
                    longer.insert(at, next);
                    longer
                })
            })
            .collect();
    }
    all
}

#[test]
fn a01_a_trusted_peer_whose_funding_output_is_not_there_leaves_no_payment_hanging() {
    for restart in [false, true] {
        let mut pair = pair_with(Trust { zero_conf: true, zero_reserve: false });
        pair.propose_with(zero_conf());
        pair.run();
        let mut lie = pair.funding();
        lie.output[1].value -= Amount::ONE_SAT;
        let outpoint = OutPoint { txid: lie.compute_txid(), vout: 1 };
        let created = signed_lie(&pair, outpoint);
        pair.deliver(1, created);
        while pair.nodes[1].step() {}
        let ready = ChannelReady {
            channel_id: ChannelId::v1_from_funding(outpoint),
            second_per_commitment_point: pair.nodes[0].keys.node_id(),
            short_channel_id: None,
            unknown: Default::default(),
        };
        pair.deliver(1, ready.into());
        while pair.nodes[1].step() {}
        assert_eq!(pair.nodes[1].channel().phase(), PhaseName::Open);
        pair.want(1, 1, Msat::from_sat(50_000), Fate::Claim);
        pair.manage();
        while pair.nodes[1].step() {}
        assert_eq!(pair.nodes[1].channel().outgoing().count(), 1);
        if restart {
            pair.nodes[0].channel = None;
            pair.disconnect();
            pair.crash(1);
        }
        pair.nodes[0].channel = None;
        pair.mine_with(&[&lie]);
        while pair.nodes[1].step() {}
        assert!(matches!(pair.closed_event(1), Some(CloseReason::NeverFunded(_))));
        assert!(pair.nodes[1].disk.steps.contains(&MonitorStep::Abandoned {}));
        let notices: Vec<_> = pair.nodes[1].notices.values().collect();
        let [Notice::Settled { outcome, .. }] = &notices[..] else { panic!("{notices:?}") };
        assert!(!matches!(outcome, Outcome::Fulfilled { .. }));
    }
}

#[test]
fn a_zero_conf_channel_that_never_confirms_is_closed_after_two_weeks_and_still_watched() {
    for restart in [false, true] {
        let mut pair = unconfirmed(zero_conf());
        pair.want(1, 0, Msat::from_sat(40_000), Fate::Claim);
        pair.run();
        if restart {
            pair.disconnect();
            pair.crash(1);
            pair.connect();
            pair.run();
        }
        pair.mine(2_016);
        pair.run();
        assert_eq!(pair.phases(), [PhaseName::Open; 2]);
        pair.mine(1);
        pair.run();
        assert_eq!(pair.nodes[1].channel().phase(), PhaseName::Resolving);
        let Some(CloseReason::PeerViolation(text)) = pair.closed_event(1) else { panic!() };
        assert!(text.contains("never confirmed"), "{text}");
        // What was used may hold something of ours: the monitor stays, in case that it confirms after all.
        assert!(pair.nodes[1].disk.steps.contains(&MonitorStep::ForceClose {}));
        assert!(!pair.nodes[1].disk.steps.contains(&MonitorStep::Abandoned {}));
    }
}

fn without_reserve() -> OpenOptions {
    OpenOptions { zero_reserve: true, ..OpenOptions::default() }
}

#[test]
fn c10_without_reserves_either_side_can_spend_all_but_what_commitments_cost() {
    let mut pair = pair_with(Trust { zero_conf: false, zero_reserve: true });
    pair.propose_with(OpenOptions { push: PUSH, ..without_reserve() });
    pair.run();
    pair.fund();
    pair.run();
    pair.mine_funding();
    pair.mine(2);
    pair.run();
    let Message::OpenChannel(open) = &pair.nodes[0].log[0] else { panic!() };
    let Message::AcceptChannel(accept) = &pair.nodes[1].log[0] else { panic!() };
    assert_eq!([open.channel_reserve_satoshis, accept.channel_reserve_satoshis], [Amount::ZERO; 2]);
    let sendable = |pair: &Pair, side: usize| {
        let node = &pair.nodes[side];
        node.channel().details(&node.cx()).funded.unwrap().sendable
    };
    // The accepter gives everything away, over a restart of both.
    assert_eq!(sendable(&pair, 1), PUSH);
    pair.want(1, 1, PUSH, Fate::Claim);
    pair.run();
    for side in 0..2 {
        pair.disconnect();
        pair.crash(side);
        pair.connect();
        pair.run();
    }
    pair.assert_balance(Msat::from_sat(1_000_000), Msat::ZERO);
    // The opener keeps the fee buffer, nothing more.
    let all = sendable(&pair, 0);
    assert!(all > Msat::from_sat(995_000), "{all}");
    pair.want(2, 0, all, Fate::Claim);
    pair.run();
    assert_eq!(pair.outcomes.get(&(0, 2)), Some(&true));
    assert_eq!(pair.phases(), [PhaseName::Open; 2]);
}

#[test]
fn a_reserve_of_nothing_needs_the_accepters_trust() {
    let mut pair = pair_with(Trust { zero_conf: true, zero_reserve: false });
    pair.propose_with(without_reserve());
    pair.run();
    let Some(CloseReason::NeverFunded(text)) = pair.closed_event(0) else { panic!() };
    assert!(text.contains("dust limit of"), "{text}");
    // The opener asks for one, the accepter does not: the opener's user has not agreed.
    let mut pair = pair_with(Trust { zero_conf: false, zero_reserve: true });
    pair.propose_with(OpenOptions::default());
    pair.run();
    let Some(CloseReason::NeverFunded(text)) = pair.closed_event(0) else { panic!() };
    assert!(text.contains("dust limit of"), "{text}");
}

#[test]
fn c10_a_fee_that_would_leave_a_commitment_without_outputs_is_refused() {
    let mut pair = pair_with(Trust { zero_conf: false, zero_reserve: true });
    pair.propose_of(Amount::from_sat(20_000), without_reserve());
    pair.run();
    pair.fund();
    pair.run();
    pair.mine_funding();
    pair.mine(2);
    pair.run();
    assert_eq!(pair.phases(), [PhaseName::Open; 2]);
    // 1124 weight units and two anchors: 19,700 of 20,000 sat, and the rest is below the dust limit.
    let feerate_per_kw = FeeratePerKw::new(16_940);
    let refused = pair.nodes[0].with(|channel, cx| channel.update_fee(cx, feerate_per_kw));
    assert!(refused.is_err());
    let channel_id = pair.nodes[1].channel().id();
    pair.deliver(1, UpdateFee { channel_id, feerate_per_kw, unknown: Default::default() }.into());
    pair.run();
    assert!(!pair.connected, "the accepter hangs up");
    assert_eq!(pair.nodes[1].channel().commitments().unwrap().feerate(), FeeratePerKw::new(1_000));
}

#[test]
fn a12_a_channel_ready_that_comes_again_with_another_alias_is_known_by_it() {
    let mut pair = unconfirmed(OpenOptions { hide_scid: Some(true), ..zero_conf() });
    let ready = pair.nodes[0].log.iter().find_map(|message| match message {
        Message::ChannelReady(ready) => Some(ready.clone()),
        _ => None,
    });
    let again = ChannelReady { short_channel_id: Some(ShortChannelId(99)), ..ready.unwrap() };
    pair.deliver(1, again.into());
    pair.run();
    let node = &pair.nodes[1];
    let details = node.channel().details(&node.cx()).funded.unwrap();
    assert_eq!(details.their_alias, Some(ShortChannelId(99)));
    assert_eq!(pair.phases(), [PhaseName::Open; 2]);
}
