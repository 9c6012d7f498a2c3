//! Quiescence: who asks, what waits, what ends it (BOLT 2, "Channel Quiescence"; RELIABILITY K11).
use lightning_channel::channel::{CloseParams, FeeUpdateError, PhaseName, QuiesceError, SendError};
use lightning_channel::commitments::Removal;
use lightning_traits::feature::Feature;
use lightning_traits::id::{ChannelId, HtlcId};
use lightning_traits::monitor::MonitorStep;
use lightning_traits::units::{FeeratePerKw, Msat};
use lightning_traits::wire::{Message, Stfu, UpdateFee};

use super::pair::{Fate, Fault, Pair, htlc, preimage};

const PUSH: Msat = Msat::from_sat(300_000);

fn quiesce(pair: &mut Pair, side: usize) {
    pair.nodes[side].with(|channel, cx| channel.quiesce(cx)).expect("may be quiet");
}

/// The `initiator`s that a side has said.
fn said(pair: &Pair, side: usize) -> Vec<bool> {
    let stfu = |message: &Message| match message {
        Message::Stfu(stfu) => Some(stfu.initiator),
        _ => None,
    };
    pair.nodes[side].log.iter().filter_map(stfu).collect()
}

fn quiescent(pair: &Pair) -> [bool; 2] {
    [0, 1].map(|side| pair.nodes[side].channel().is_quiescent())
}

fn tick(pair: &mut Pair) {
    for node in &mut pair.nodes {
        node.with(|channel, cx| channel.timer_tick(cx));
    }
    pair.run();
}

fn stfu(pair: &Pair, initiator: bool) -> Message {
    Stfu { channel_id: pair.nodes[0].channel().id(), initiator, unknown: Default::default() }.into()
}

#[test]
fn either_side_may_ask_and_the_other_answers() {
    for asks in 0..2 {
        let mut pair = Pair::open(PUSH);
        quiesce(&mut pair, asks);
        pair.run();
        assert_eq!(quiescent(&pair), [true; 2]);
        assert_eq!((said(&pair, asks), said(&pair, 1 - asks)), (vec![true], vec![false]));
        assert!(pair.nodes.iter().all(|node| !node.channel().is_usable()));
        // Once is enough.
        quiesce(&mut pair, asks);
        pair.run();
        assert_eq!(said(&pair, asks), [true]);
    }
}

#[test]
fn both_may_ask_at_once() {
    let mut pair = Pair::open(PUSH);
    quiesce(&mut pair, 0);
    quiesce(&mut pair, 1);
    pair.run();
    assert_eq!(quiescent(&pair), [true; 2]);
    assert_eq!((said(&pair, 0), said(&pair, 1)), (vec![true], vec![true]));
}

#[test]
fn a_peer_that_does_not_know_it_is_not_asked_and_may_not_ask() {
    for knows in 0..2 {
        let mut pair = Pair::new();
        pair.nodes[1 - knows].features.clear_bit(Feature::Quiesce.optional_bit());
        pair.establish(PUSH, false);
        for side in 0..2 {
            let asked = pair.nodes[side].with(|channel, cx| channel.quiesce(cx));
            assert_eq!(asked, Err(QuiesceError::NotNegotiated));
        }
        let message = stfu(&pair, true);
        pair.deliver(1, message);
        pair.run();
        assert!(!pair.connected);
        pair.reconnect();
        assert_eq!(pair.phases(), [PhaseName::Open; 2]);
    }
}

#[test]
fn only_an_open_channel_that_is_online_becomes_quiet() {
    let mut pair = Pair::open(PUSH);
    pair.disconnect();
    let asked = pair.nodes[0].with(|channel, cx| channel.quiesce(cx));
    assert_eq!(asked, Err(QuiesceError::NotOpen));
    pair.connect();
    pair.run();
    pair.nodes[0].with(|channel, cx| channel.shutdown(cx, CloseParams::default())).unwrap();
    let asked = pair.nodes[0].with(|channel, cx| channel.quiesce(cx));
    assert_eq!(asked, Err(QuiesceError::NotOpen));
}

#[test]
fn nothing_is_proposed_until_the_connection_ends() {
    for wisher in 0..2 {
        for side in 0..2 {
            let mut pair = Pair::open(PUSH);
            quiesce(&mut pair, wisher);
            pair.run();
            pair.want(1, side, Msat::from_sat(10_000), Fate::Claim);
            let offer = htlc(&pair.intents[0].clone(), 500);
            let refused = pair.nodes[side].with(|channel, cx| channel.offer_htlc(cx, offer));
            assert_eq!(refused, Err(SendError::Quiescent));
            let refused = pair.nodes[0].with(|channel, cx| channel.update_fee(cx, FeeratePerKw::new(2_000)));
            assert_eq!(refused, Err(FeeUpdateError::Quiescent));
            pair.nodes[0].fees.anchor_commitment = FeeratePerKw::new(2_400);
            let before = [pair.sent(0).len(), pair.sent(1).len()];
            pair.nodes[1].with(|channel, cx| channel.shutdown(cx, CloseParams::default())).unwrap();
            tick(&mut pair);
            assert_eq!([pair.sent(0).len(), pair.sent(1).len()], before, "not a word");
            // A minute or two later they part, and what waited goes on: here the close.
            tick(&mut pair);
            assert!(!pair.connected);
            pair.reconnect();
            assert_eq!(quiescent(&pair), [false; 2]);
            assert_eq!(pair.phases(), [PhaseName::Negotiating; 2]);
        }
    }
}

#[test]
fn what_is_pending_is_settled_first_and_removals_wait() {
    for asks in 0..2 {
        for restart in [None, Some(0), Some(1)] {
            let mut pair = Pair::open(PUSH);
            pair.want(1, 0, Msat::from_sat(50_000), Fate::Claim);
            pair.want(2, 1, Msat::from_sat(20_000), Fate::Fail);
            pair.manage();
            quiesce(&mut pair, asks);
            pair.run();
            assert_eq!(quiescent(&pair), [true; 2]);
            // The last update of each side went before its `stfu`, and everything is committed.
            for side in 0..2 {
                let sent = pair.sent(side);
                let stfu = sent.iter().position(|kind| *kind == 2).unwrap();
                assert!(
                    sent[stfu..].iter().all(|kind| ![128, 130, 131, 134, 135].contains(kind)),
                    "{sent:?}"
                );
                let commitments = pair.nodes[side].channel().commitments().unwrap();
                assert!(!commitments.has_uncommitted());
                assert_eq!(commitments.outgoing().count(), 1, "added, and its removal waits");
            }
            assert!(pair.outcomes.is_empty());
            assert!(
                pair.nodes.iter().all(|node| node.durable_removals.is_empty()),
                "nothing is said to be done"
            );
            // "MUST disconnect after 60 seconds of quiescence if the HTLCs are pending."
            tick(&mut pair);
            tick(&mut pair);
            assert!(!pair.connected);
            if let Some(side) = restart {
                pair.disconnect();
                pair.crash(side);
                pair.connect();
                pair.run();
            } else {
                pair.reconnect();
            }
            assert_eq!((pair.outcomes.get(&(0, 1)), pair.outcomes.get(&(1, 2))), (Some(&true), Some(&false)));
            pair.assert_balance(Msat::from_sat(650_000), Msat::from_sat(350_000));
        }
    }
}

#[test]
fn a_removal_is_held_once() {
    let mut pair = Pair::open(PUSH);
    pair.want(1, 0, Msat::from_sat(50_000), Fate::Claim);
    while pair.nodes[1].incoming.is_empty() {
        assert!(pair.move_once() || pair.manage());
    }
    pair.nodes[1].incoming.clear();
    quiesce(&mut pair, 0);
    while pair.move_once() {}
    assert_eq!(quiescent(&pair), [true; 2]);
    let fail = Removal::Fail { reason: vec![1; 300], attribution: None };
    let mut settle =
        |removal: Removal| pair.nodes[1].with(|channel, cx| channel.settle(cx, HtlcId(0), removal));
    let wrong = Removal::Fulfill { preimage: preimage(9), attribution: None, claimed: None };
    assert!(settle(wrong).is_err());
    assert_eq!(settle(fail.clone()), Ok(()));
    assert!(settle(fail).is_err(), "it is decided");
}

/// A preimage that waits for the end of quiescence reaches the monitor when the channel goes to the chain instead.
#[test]
fn a_held_preimage_is_not_lost_on_the_way_to_the_chain() {
    for by_user in [true, false] {
        let mut pair = Pair::open(PUSH);
        pair.want(1, 0, Msat::from_sat(50_000), Fate::Claim);
        while pair.nodes[1].incoming.is_empty() {
            assert!(pair.move_once() || pair.manage());
        }
        quiesce(&mut pair, 0);
        while pair.move_once() {}
        pair.run();
        let known = MonitorStep::Preimage { preimage: preimage(1) };
        let node = &mut pair.nodes[1];
        assert!(node.durable_removals.is_empty());
        if by_user {
            node.with(|channel, cx| channel.force_close(cx));
        } else {
            let channel_id = node.channel().id();
            let error = lightning_traits::wire::ErrorMessage {
                channel_id,
                data: Vec::new(),
                unknown: Default::default(),
            };
            node.with(|channel, cx| channel.on_error(cx, &error));
        }
        while node.step() {}
        assert!(node.disk.steps.contains(&known));
        assert_eq!(node.durable_removals, [HtlcId(0)]);
    }
}

/// A channel in which `asks` wants quiet while the second side has not decided on HTLC 1 of the first; {12} or {22,12}.
fn quiet_with_an_htlc(asks: usize, anchors: bool, fate: Fate) -> Pair {
    let mut pair = Pair::new();
    if !anchors {
        for node in &mut pair.nodes {
            node.features.clear_bit(Feature::Anchors.optional_bit());
        }
    }
    pair.establish(PUSH, false);
    pair.want(1, 0, Msat::from_sat(50_000), fate);
    while pair.nodes[1].incoming.is_empty() {
        assert!(pair.move_once() || pair.manage());
    }
    quiesce(&mut pair, asks);
    while pair.move_once() {}
    assert_eq!(quiescent(&pair), [true; 2]);
    pair
}

/// The HTLC may expire in the quiet, so the monitor must be able to claim it meanwhile (RELIABILITY J1).
#[test]
fn j1_a_claim_that_is_held_in_the_quiet_reaches_the_monitor_at_once() {
    for asks in 0..2 {
        for (anchors, slow, restart) in
            [(true, false, false), (true, true, false), (true, false, true), (false, false, false)]
        {
            let mut pair = quiet_with_an_htlc(asks, anchors, Fate::PassOn);
            pair.nodes[1].slow_disk = slow;
            let said = pair.sent(1).len();
            pair.manage();
            while pair.nodes[1].step() {}
            while slow && pair.nodes[1].write_one() {}
            while pair.move_once() {}
            let known = MonitorStep::Preimage { preimage: preimage(1) };
            assert!(pair.nodes[1].disk.steps.contains(&known), "{asks} {anchors} {slow}");
            assert_eq!(pair.sent(1).len(), said, "not a word to the peer");
            assert!(
                pair.nodes[1].durable_removals.is_empty(),
                "it is not done: a crash forgets the decision"
            );
            pair.nodes[1].slow_disk = false;
            if restart {
                pair.crash(1);
            }
            pair.reconnect();
            assert_eq!(pair.outcomes.get(&(0, 1)), Some(&true));
            pair.assert_balance(Msat::from_sat(650_000), Msat::from_sat(350_000));
        }
    }
}

/// What we claim for ourselves is not told before the record has it: a monitor that knew more would claim on the chain what a crash
/// has made the channel give back, and its user would never hear of the money.
#[test]
fn a_claim_of_our_own_that_is_held_writes_nothing() {
    for asks in 0..2 {
        for anchors in [true, false] {
            let mut pair = quiet_with_an_htlc(asks, anchors, Fate::Claim);
            let before = pair.nodes[1].disk.last;
            pair.manage();
            while pair.nodes[1].step() {}
            while pair.move_once() {}
            assert_eq!(pair.nodes[1].disk.last, before, "{asks} {anchors}");
            pair.reconnect();
            let known = MonitorStep::Preimage { preimage: preimage(1) };
            assert!(pair.nodes[1].disk.steps.contains(&known), "{asks} {anchors}: with the record");
            assert_eq!(pair.outcomes.get(&(0, 1)), Some(&true));
        }
    }
}

/// A failure is of no use to the monitor: nothing is written for it before the quiet ends.
#[test]
fn a_failure_that_is_held_writes_nothing() {
    let mut pair = quiet_with_an_htlc(0, true, Fate::Claim);
    let last = pair.nodes[1].disk.last;
    let fail = Removal::Fail { reason: vec![1; 300], attribution: None };
    pair.nodes[1].with(|channel, cx| channel.settle(cx, HtlcId(0), fail)).unwrap();
    while pair.nodes[1].step() {}
    assert_eq!(pair.nodes[1].disk.last, last);
}

/// Whoever forgets to call `timer_tick` still has the chain for a clock.
#[test]
fn k11_blocks_end_the_quiet_too() {
    for asks in 0..2 {
        for anchors in [true, false] {
            let mut pair = quiet_with_an_htlc(asks, anchors, Fate::Claim);
            pair.manage();
            pair.mine(3);
            pair.run();
            assert!(pair.connected && pair.outcomes.is_empty());
            pair.mine(1);
            pair.run();
            assert!(!pair.connected);
            pair.reconnect();
            assert_eq!(pair.outcomes.get(&(0, 1)), Some(&true));
            // Blocks end nothing that is not quiet.
            pair.mine(20);
            pair.run();
            assert!(pair.connected);
        }
    }
}

/// Nor does a wish that waits for the peer's revocation hold anything up for ever.
#[test]
fn k11_blocks_end_a_wish_that_the_peer_never_answers() {
    let mut pair = Pair::open(PUSH);
    quiesce(&mut pair, 0);
    while pair.nodes[0].step() {}
    // It is lost on the way.
    pair.nodes[0].outgoing.clear();
    pair.mine(4);
    pair.run();
    assert!(!pair.connected);
    pair.reconnect();
    assert_eq!((quiescent(&pair), pair.phases()), ([false; 2], [PhaseName::Open; 2]));
}

#[test]
fn an_update_after_stfu_hangs_up_and_closes_nothing() {
    for settled in [false, true] {
        let mut pair = Pair::open(PUSH);
        let message = stfu(&pair, true);
        pair.deliver(1, message);
        if settled {
            while pair.nodes[1].step() {}
        }
        let fee = UpdateFee {
            channel_id: pair.nodes[1].channel().id(),
            feerate_per_kw: FeeratePerKw::new(1_500),
            unknown: Default::default(),
        };
        pair.deliver(1, fee.into());
        pair.run();
        assert!(!pair.connected);
        pair.reconnect();
        assert_eq!(pair.phases(), [PhaseName::Open; 2]);
    }
}

#[test]
fn stfu_that_has_no_place_hangs_up_and_closes_nothing() {
    // An answer to nothing.
    let mut pair = Pair::open(PUSH);
    let message = stfu(&pair, false);
    pair.deliver(1, message);
    pair.run();
    assert!(!pair.connected);
    // Twice.
    pair.reconnect();
    for _ in 0..2 {
        let message = stfu(&pair, true);
        pair.deliver(1, message);
    }
    pair.run();
    assert!(!pair.connected);
    pair.reconnect();
    assert_eq!(pair.phases(), [PhaseName::Open; 2]);
    // With an update pending.
    pair.want(1, 0, Msat::from_sat(1_000), Fate::Claim);
    pair.manage();
    while pair.nodes[0].step() {}
    let add = pair.nodes[0].outgoing.pop_front().unwrap();
    pair.deliver(1, add);
    let message = stfu(&pair, true);
    pair.deliver(1, message);
    while pair.nodes[1].step() {}
    assert!(pair.nodes[1].hangup.is_some());
    pair.run();
    pair.reconnect();
    assert_eq!(pair.outcomes.get(&(0, 1)), Some(&true));
    // Before anything is ready.
    let mut pair = Pair::new();
    pair.propose(PUSH, false);
    pair.run();
    pair.fund();
    pair.run();
    let message = stfu(&pair, true);
    pair.deliver(1, message);
    pair.run();
    assert!(!pair.connected && pair.closed_event(1).is_none());
}

#[test]
fn a_peer_that_never_answers_is_hung_up_on() {
    let mut pair = Pair::open(PUSH);
    pair.tamper = Some(Box::new(|from, message| {
        if from == 1 && matches!(message, Message::Stfu(_)) {
            *message = Message::Warning(lightning_traits::wire::WarningMessage {
                channel_id: ChannelId([0; 32]),
                data: Vec::new(),
                unknown: Default::default(),
            });
        }
    }));
    quiesce(&mut pair, 0);
    pair.run();
    for _ in 0..2 {
        pair.nodes[0].with(|channel, cx| channel.timer_tick(cx));
        pair.run();
    }
    assert!(!pair.connected);
}

/// RELIABILITY K11, B20: wherever the wire is cut or a side crashes, quiescence ends and all payments do.
#[test]
fn k11_fault_at_every_step_of_becoming_quiet() {
    for fault in [Fault::Disconnect, Fault::Crash(0), Fault::Crash(1), Fault::CrashBoth] {
        let mut points = 0;
        for at in 1..2_000 {
            let mut pair = Pair::open(PUSH);
            pair.want(1, 0, Msat::from_sat(50_000), Fate::Claim);
            pair.want(2, 1, Msat::from_sat(20_000), Fate::Claim);
            pair.want(3, 1, Msat::from_sat(10_000), Fate::Fail);
            pair.manage();
            pair.count = 0;
            pair.fault = Some((at, fault));
            quiesce(&mut pair, at % 2);
            pair.run();
            let struck = pair.struck;
            // Whoever is quiet parts; the rest is as ever.
            for _ in 0..3 {
                tick(&mut pair);
                if !pair.connected {
                    pair.reconnect();
                }
            }
            if !struck {
                break;
            }
            points += 1;
            let outcomes: Vec<_> = pair.outcomes.values().copied().collect();
            assert_eq!(outcomes, [true, true, false], "{fault:?} at {at}");
            pair.assert_balance(Msat::from_sat(670_000), Msat::from_sat(330_000));
            assert_eq!(pair.phases(), [PhaseName::Open; 2], "{fault:?} at {at}");
        }
        assert!(points > 10, "only {points} points");
    }
}
