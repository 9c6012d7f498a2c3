//! Closing together by the legacy negotiation: who asks, what fee, what if the wire is cut or a side crashes in between.
use bitcoin::{Amount, ScriptBuf, Transaction};
use lightning_channel::channel::{CloseParams, PhaseName, ShutdownError};
use lightning_traits::event::{CloseReason, Event};
use lightning_traits::feature::Feature;
use lightning_traits::id::EventId;
use lightning_traits::interface::{ChannelSigner as _, KeysInterface as _};
use lightning_traits::monitor::{MonitorEvent, MonitorStep, SpendKind};
use lightning_traits::tx::{ClosingKind, ClosingOutput, ClosingSpec, ClosingTx};
use lightning_traits::units::{BlockHeight, FeeratePerKw, Msat};
use lightning_traits::wire::{FeeRange, Message};

use super::pair::{FUNDING, Fate, Fault, Pair};

const PUSH: Msat = Msat::from_sat(300_000);

/// A channel with a peer that does not know `option_simple_close`.
fn open(push: Msat) -> Pair {
    let mut pair = Pair::new();
    pair.nodes[1].features.clear_bit(Feature::SimpleClose.optional_bit());
    pair.establish(push, false);
    pair
}

fn ask(pair: &mut Pair, side: usize) {
    pair.nodes[side].with(|channel, cx| channel.shutdown(cx, CloseParams::default())).expect("may close");
}

/// Both broadcast the same transaction; returns it.
fn agreed(pair: &Pair) -> Transaction {
    for side in 0..2 {
        assert_eq!(pair.closed_event(side), Some(&CloseReason::Cooperative), "node {side}");
        let told = pair.nodes[side].disk.steps.contains(&MonitorStep::ShutdownStarted {});
        assert!(told, "the monitor of node {side} knows");
    }
    let last = |side: usize| pair.nodes[side].broadcasts.last().cloned().expect("a broadcast");
    assert_eq!(last(0), last(1));
    last(0)
}

fn fee(transaction: &Transaction) -> Amount {
    FUNDING - transaction.output.iter().map(|output| output.value).sum::<Amount>()
}

#[test]
fn either_side_can_close_and_the_opener_pays() {
    for side in 0..2 {
        let mut pair = open(PUSH);
        ask(&mut pair, side);
        pair.run();
        assert_eq!(pair.phases(), [PhaseName::Negotiating; 2]);
        let transaction = agreed(&pair);
        let value = |node: usize| {
            let script = pair.nodes[node].log.iter().find_map(|message| match message {
                Message::Shutdown(shutdown) => Some(shutdown.scriptpubkey.clone()),
                _ => None,
            });
            transaction
                .output
                .iter()
                .find(|output| Some(&output.script_pubkey) == script.as_ref())
                .unwrap()
                .value
        };
        assert_eq!(value(1), Amount::from_sat(300_000), "the accepter pays nothing");
        assert_eq!(value(0), Amount::from_sat(700_000) - fee(&transaction));
        // 1,500 sat/kw of some 670 weight units.
        assert!((900..1_200).contains(&fee(&transaction).to_sat()), "{}", fee(&transaction));
        // "In the modern method ... If the non-funder chooses the same value, negotiation is complete after two messages."
        let closing = |side: usize| pair.sent(side).iter().filter(|kind| **kind == 39).count();
        assert_eq!((closing(0), closing(1)), (1, 1));
    }
}

#[test]
fn the_closing_transaction_spends_the_funding_output_by_script() {
    let mut pair = open(PUSH);
    ask(&mut pair, 0);
    pair.run();
    let transaction = agreed(&pair);
    let funding = pair.nodes[0].channel().commitments().unwrap().terms().funding;
    let [zero, first, second, script] =
        [0, 1, 2, 3].map(|item| transaction.input[0].witness.nth(item).unwrap());
    assert!(zero.is_empty());
    assert_eq!(script, funding.script().as_bytes());
    for (signature, key) in [(first, funding.keys()[0]), (second, funding.keys()[1])] {
        let signature = bitcoin::ecdsa::Signature::from_slice(signature).unwrap();
        let digest = lightning_traits::tx::signature::p2wsh_sighash(
            &transaction,
            0,
            &funding.script(),
            funding.value,
            bitcoin::EcdsaSighashType::All,
        );
        pair.nodes[0]
            .secp
            .verify_ecdsa(&digest.unwrap(), &signature.signature, &key)
            .expect("a good signature");
    }
}

#[test]
fn both_asking_at_once_close_once() {
    let mut pair = open(PUSH);
    ask(&mut pair, 0);
    ask(&mut pair, 1);
    pair.run();
    agreed(&pair);
    assert!((0..2).all(|side| pair.sent(side).iter().filter(|kind| **kind == 38).count() == 1));
    let again = pair.nodes[0].with(|channel, cx| channel.shutdown(cx, CloseParams::default()));
    assert_eq!(again, Err(ShutdownError::AlreadyClosing));
}

#[test]
fn a_script_other_than_the_one_bound_upfront_is_refused() {
    let mut pair = open(PUSH);
    let other = ScriptBuf::from_bytes([vec![0, 20], vec![9; 20]].concat());
    let refused = pair.nodes[0]
        .with(|channel, cx| channel.shutdown(cx, CloseParams { script: Some(other.clone()), feerate: None }));
    assert_eq!(refused, Err(ShutdownError::BoundToAnother));
    // From the peer: a warning and the end of the connection, the channel lives on.
    pair.tamper = Some(Box::new(move |_, message| {
        if let Message::Shutdown(shutdown) = message {
            shutdown.scriptpubkey = other.clone();
        }
    }));
    ask(&mut pair, 0);
    pair.run();
    assert!(!pair.connected);
    assert_eq!(pair.phases(), [PhaseName::Offline; 2]);
}

#[test]
fn a_script_of_no_allowed_form_is_refused() {
    let mut pair = open(PUSH);
    pair.tamper = Some(Box::new(|_, message| {
        if let Message::Shutdown(shutdown) = message {
            shutdown.scriptpubkey = ScriptBuf::from_bytes(vec![0x6a, 1, 1]);
        }
    }));
    ask(&mut pair, 0);
    pair.run();
    assert!(!pair.connected && pair.closed_event(1).is_none());
}

#[test]
fn closing_waits_for_htlcs_and_takes_no_new_ones() {
    let mut pair = open(PUSH);
    pair.want(1, 0, Msat::from_sat(50_000), Fate::Claim);
    pair.want(2, 1, Msat::from_sat(20_000), Fate::Fail);
    while pair.nodes[1].incoming.is_empty() {
        assert!(pair.move_once() || pair.manage());
    }
    ask(&mut pair, 0);
    pair.want(3, 0, Msat::from_sat(1_000), Fate::Claim);
    pair.run();
    agreed(&pair);
    assert_eq!(pair.outcomes.get(&(0, 1)), Some(&true));
    assert_eq!(pair.outcomes.get(&(1, 2)), Some(&false));
    assert_eq!(pair.outcomes.get(&(0, 3)), None, "nothing is offered after shutdown");
    pair.assert_balance(Msat::from_sat(650_000), Msat::from_sat(350_000));
}

#[test]
fn closing_before_channel_ready_works() {
    let mut pair = Pair::new();
    pair.nodes[0].features.clear_bit(Feature::SimpleClose.optional_bit());
    pair.propose(PUSH, false);
    pair.run();
    pair.fund();
    pair.run();
    ask(&mut pair, 1);
    pair.run();
    agreed(&pair);
}

#[test]
fn a_side_without_balance_gets_no_output() {
    let mut pair = open(Msat::ZERO);
    ask(&mut pair, 1);
    pair.run();
    assert_eq!(agreed(&pair).output.len(), 1);
}

#[test]
fn an_opener_whose_fees_are_far_above_is_still_taken_by_the_accepter() {
    let mut pair = open(PUSH);
    pair.nodes[0].fees.normal = FeeratePerKw::new(60_000);
    ask(&mut pair, 0);
    pair.run();
    assert!(fee(&agreed(&pair)) > Amount::from_sat(30_000));
}

/// What the accepter would sign for `fee`.
fn accepters_signature(pair: &Pair, fee: Amount) -> bitcoin::secp256k1::ecdsa::Signature {
    let node = &pair.nodes[1];
    let commitments = node.channel().commitments().unwrap();
    let terms = commitments.terms();
    let output = |balance, script: &Option<ScriptBuf>| ClosingOutput { balance, script: script.clone() };
    let spec = ClosingSpec {
        kind: ClosingKind::Legacy,
        payer: output(commitments.their_balance(), &terms.their_shutdown),
        other: output(commitments.our_balance(), &terms.our_shutdown),
        fee,
        dust_limit: terms.ours.dust_limit,
    };
    let closing = ClosingTx::build(&terms.funding, &spec).unwrap();
    node.keys.signer(&terms.keys).sign_closing(&terms.funding, closing.tx()).unwrap()
}

/// The opener proposes, the accepter answers with `fee`; returns the opener's `closing_signed`s and whether it is content.
fn answered_with(fee: Amount, range: Option<FeeRange>) -> (Vec<Amount>, Pair) {
    let mut pair = open(PUSH);
    let signature = accepters_signature(&pair, fee);
    let mut answered = false;
    pair.tamper = Some(Box::new(move |from, message| {
        if let (1, Message::ClosingSigned(closing)) = (from, message)
            && !answered
        {
            answered = true;
            closing.fee_satoshis = fee;
            closing.signature = signature;
            closing.fee_range = range;
        }
    }));
    ask(&mut pair, 0);
    // The real accepter is content with the first proposal; what the opener says after the forged answer counts.
    while pair.connected && pair.move_once() {}
    let said = pair.nodes[0].log.iter().filter_map(|message| match message {
        Message::ClosingSigned(closing) => Some(closing.fee_satoshis),
        _ => None,
    });
    (said.collect(), pair)
}

#[test]
fn an_accepter_that_names_another_fee_within_the_range_gets_it() {
    for range in [
        None,
        Some(FeeRange {
            min_fee_satoshis: Amount::from_sat(300),
            max_fee_satoshis: Amount::from_sat(900_000),
        }),
    ] {
        let wanted = Amount::from_sat(1_234);
        let (said, pair) = answered_with(wanted, range);
        assert_eq!(said.last(), Some(&wanted), "the opener replies with the same fee");
        assert_eq!(said.len(), 2);
        assert_eq!(fee(pair.nodes[0].broadcasts.last().unwrap()), wanted);
    }
}

#[test]
fn an_accepter_that_leaves_the_overlap_fails_the_channel() {
    let range =
        FeeRange { min_fee_satoshis: Amount::from_sat(300), max_fee_satoshis: Amount::from_sat(900_000) };
    let (_, pair) = answered_with(Amount::from_sat(100_000), Some(range));
    assert_eq!(pair.nodes[0].channel().phase(), PhaseName::Resolving);
    assert!(matches!(pair.closed_event(0), Some(CloseReason::PeerViolation(_))));
}

#[test]
fn an_accepter_of_old_is_met_halfway() {
    // No range: fees between the two proposals, down to what we would pay at most.
    let (said, pair) = answered_with(Amount::from_sat(100_000), None);
    assert_eq!(said.len(), 2);
    assert!(said[0] < said[1] && said[1] < Amount::from_sat(100_000), "{said:?}");
    assert!(pair.closed_event(0).is_none());
}

#[test]
fn a_range_below_the_relay_floor_is_warned_about_and_no_commitment_is_broadcast() {
    let mut pair = open(PUSH);
    pair.nodes[0].fees.normal = FeeratePerKw::new(20);
    // Past our own floor: a peer that insists on what nobody relays.
    pair.tamper = Some(Box::new(|from, message| {
        if let (0, Message::ClosingSigned(closing)) = (from, message) {
            let tiny = Amount::from_sat(10);
            closing.fee_range = Some(FeeRange { min_fee_satoshis: tiny, max_fee_satoshis: tiny });
        }
    }));
    ask(&mut pair, 0);
    pair.run();
    assert!(!pair.connected);
    assert!(pair.closed_event(1).is_none());
    assert!(!pair.nodes[1].disk.steps.contains(&MonitorStep::ForceClose {}));
}

#[test]
fn a_wrong_closing_signature_is_refused() {
    let mut pair = open(PUSH);
    pair.tamper = Some(Box::new(|from, message| {
        if let (0, Message::ClosingSigned(closing)) = (from, message) {
            closing.fee_satoshis += Amount::ONE_SAT;
        }
    }));
    ask(&mut pair, 0);
    pair.run();
    assert!(!pair.connected && pair.nodes[1].broadcasts.is_empty());
}

#[test]
fn without_a_fee_range_the_accepter_still_agrees() {
    let mut pair = open(PUSH);
    pair.tamper = Some(Box::new(|_, message| {
        if let Message::ClosingSigned(closing) = message {
            closing.fee_range = None;
        }
    }));
    ask(&mut pair, 0);
    pair.run();
    agreed(&pair);
}

#[test]
fn fault_at_every_step_of_closing_ends_in_one_closing_transaction() {
    for fault in [Fault::Disconnect, Fault::Crash(0), Fault::Crash(1), Fault::CrashBoth] {
        let mut points = 0;
        for at in 1..2_000 {
            let mut pair = open(PUSH);
            pair.want(1, 0, Msat::from_sat(50_000), Fate::Claim);
            while pair.nodes[1].incoming.is_empty() {
                assert!(pair.move_once() || pair.manage());
            }
            pair.count = 0;
            pair.fault = Some((at, fault));
            ask(&mut pair, 0);
            // The user's wish is durable before anything else happens.
            while pair.nodes[0].disk.steps.is_empty() || pair.nodes[0].channel().is_frozen() {
                assert!(pair.nodes[0].step());
            }
            pair.run();
            if !pair.struck {
                break;
            }
            points += 1;
            for node in &mut pair.nodes {
                node.with(|channel, cx| channel.timer_tick(cx));
            }
            pair.run();
            assert_eq!(pair.phases(), [PhaseName::Negotiating; 2], "{fault:?} at {at}");
            let both = [0, 1].map(|side| pair.nodes[side].broadcasts.clone());
            assert!(
                both[0].iter().any(|tx| both[1].contains(tx)),
                "{fault:?} at {at}: no common transaction"
            );
            assert!(pair.nodes.iter().all(|node| !node.disk.steps.contains(&MonitorStep::ForceClose {})));
        }
        assert!(points > 20, "only {points} points");
    }
}

#[test]
fn the_confirmed_close_is_resolved_and_forgotten_once_all_is_told() {
    let mut pair = open(PUSH);
    ask(&mut pair, 0);
    pair.run();
    let transaction = agreed(&pair);
    for node in &mut pair.nodes {
        let channel = node.channel().id();
        let spent = MonitorEvent::FundingSpent {
            channel,
            txid: transaction.compute_txid(),
            kind: SpendKind::Mutual {},
            height: BlockHeight::new(510),
        };
        node.with(|it, cx| it.on_monitor_event(cx, EventId(1), &spent));
        while node.step() {}
        assert_eq!(node.channel().phase(), PhaseName::Resolving);
        assert_eq!(node.taken, [EventId(1)]);
        // The block is undone: the transaction goes out again.
        let before = node.broadcasts.len();
        node.with(|it, cx| it.block_disconnected(cx, BlockHeight::new(510)));
        node.with(|it, cx| it.connected(cx, &lightning_traits::feature::Features::node_default()));
        while node.step() {}
        assert_eq!(node.broadcasts[before..], *std::slice::from_ref(&transaction));
        assert!(node.outgoing.is_empty(), "a channel closed together is in no error state");
        node.with(|it, cx| it.on_monitor_event(cx, EventId(2), &MonitorEvent::Resolved { channel }));
        while node.step() {}
        assert!(!node.channel().is_finished(), "the user has not heard of the close");
        let closed =
            node.events.iter().find(|e| matches!(e, lightning_traits::event::Event::ChannelClosed { .. }));
        let closed = closed.cloned().unwrap();
        node.with(|it, cx| {
            it.event_acknowledged(cx, &closed);
            it.flush(cx);
        });
        while node.step() {}
        assert!(node.channel().is_finished());
        let closes = node.events.iter().filter(|e| **e == closed).count();
        assert_eq!(closes, 1, "told once");
        node.crash();
        assert!(node.channel().is_finished(), "also after a restart");
    }
}

/// What the user was told first is told again, whatever the peer does afterwards: one event, one id, one reason (I11).
#[test]
fn a_close_that_was_agreed_on_keeps_its_reason_over_what_follows_and_restarts() {
    let number = lightning_traits::id::CommitmentNumber(0);
    let kinds = [
        None,
        Some(SpendKind::Theirs { number }),
        Some(SpendKind::Revoked { number }),
        Some(SpendKind::Mutual {}),
    ];
    for simple in [false, true] {
        for side in 0..2 {
            for kind in &kinds {
                let mut pair = if simple { Pair::open(PUSH) } else { open(PUSH) };
                ask(&mut pair, 0);
                pair.run();
                assert_eq!(pair.closed_event(side), Some(&CloseReason::Cooperative));
                let txid = pair.funding().compute_txid();
                let node = &mut pair.nodes[side];
                let channel = node.channel().id();
                match kind {
                    None => drop(node.with(|it, cx| it.force_close(cx))),
                    Some(kind) => {
                        let (kind, height) = (*kind, BlockHeight::new(510));
                        let spent = MonitorEvent::FundingSpent { channel, txid, kind, height };
                        node.with(|it, cx| it.on_monitor_event(cx, EventId(1), &spent));
                    }
                }
                while node.step() {}
                assert_eq!(node.channel().phase(), PhaseName::Resolving);
                for _ in 0..2 {
                    node.events.clear();
                    node.crash();
                    while node.step() {}
                    let [Event::ChannelClosed { reason, .. }] = &node.events[..] else {
                        panic!("{:?}", node.events);
                    };
                    assert_eq!(*reason, CloseReason::Cooperative, "{simple} {side} {kind:?}");
                }
                // Acknowledged, it is told no more.
                let closed = node.events[0].clone();
                node.with(|it, cx| {
                    it.event_acknowledged(cx, &closed);
                    it.flush(cx);
                });
                while node.step() {}
                node.events.clear();
                node.crash();
                while node.step() {}
                assert!(node.events.is_empty());
            }
        }
    }
}

#[test]
fn a_peer_that_reports_an_error_after_agreement_does_not_make_us_force_close() {
    let mut pair = open(PUSH);
    ask(&mut pair, 0);
    pair.run();
    let before = pair.nodes[0].broadcasts.len();
    let error = lightning_traits::wire::ErrorMessage {
        channel_id: pair.nodes[0].channel().id(),
        data: b"closed".to_vec(),
        unknown: Default::default(),
    };
    pair.deliver(0, error.into());
    pair.run();
    assert_eq!(pair.nodes[0].channel().phase(), PhaseName::Negotiating);
    assert!(pair.nodes[0].broadcasts.len() > before, "the closing transaction is broadcast again");
}
