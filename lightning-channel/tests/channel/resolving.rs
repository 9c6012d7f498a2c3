//! Leaving for the chain: by us, by the peer, by the monitor, by what the chain shows; and what is still translated there.
use lightning_channel::channel::PhaseName;
use lightning_channel::commitments::{Notice, Outcome, Removal};
use lightning_traits::event::{CloseReason, Event};
use lightning_traits::id::{CommitmentNumber, EventId, HtlcId};
use lightning_traits::monitor::{HtlcOutcome, MonitorEvent, MonitorStep, SpendKind};
use lightning_traits::units::{BlockHeight, Msat};
use lightning_traits::wire::{ErrorMessage, Message};

use super::node::Node;
use super::pair::{Fate, Pair, preimage};

const PUSH: Msat = Msat::from_sat(300_000);

fn settle_down(node: &mut Node) {
    while node.step() {}
}

/// HTLC 1 from the first node and HTLC 2 from the second are committed, and nobody has decided on them.
fn in_flight() -> Pair {
    let mut pair = Pair::open(PUSH);
    pair.want(1, 0, Msat::from_sat(50_000), Fate::Claim);
    pair.want(2, 1, Msat::from_sat(20_000), Fate::Claim);
    pair.manage();
    while pair.move_once() {
        for side in 0..2 {
            let _nothing_to_sign = pair.nodes[side].with(|channel, cx| channel.commit(cx));
        }
    }
    assert!(pair.nodes.iter().all(|node| node.incoming.len() == 1));
    pair
}

#[test]
fn a_forced_close_seals_the_wire_but_for_the_error_and_both_go_to_the_chain() {
    let mut pair = in_flight();
    let before = pair.sent(0).len();
    assert!(pair.nodes[0].with(|channel, cx| channel.force_close(cx)));
    while pair.move_once() {}
    assert_eq!(pair.sent(0)[before..], [17]);
    assert_eq!(pair.phases(), [PhaseName::Resolving; 2]);
    assert_eq!(pair.closed_event(0), Some(&CloseReason::ForcedByUser));
    assert!(matches!(pair.closed_event(1), Some(CloseReason::PeerError(_))));
    for node in &pair.nodes {
        assert!(node.disk.steps.contains(&MonitorStep::ForceClose {}));
    }
    assert!(!pair.nodes[0].with(|channel, cx| channel.force_close(cx)), "once");
}

#[test]
fn the_close_is_told_only_once_it_is_durable() {
    let mut pair = in_flight();
    pair.nodes[0].slow_disk = true;
    pair.nodes[0].with(|channel, cx| channel.force_close(cx));
    settle_down(&mut pair.nodes[0]);
    assert!(pair.closed_event(0).is_none());
    while pair.nodes[0].write_one() {}
    settle_down(&mut pair.nodes[0]);
    assert!(pair.closed_event(0).is_some());
}

#[test]
fn a_preimage_learnt_after_the_close_still_goes_to_the_monitor() {
    let mut pair = in_flight();
    pair.nodes[1].with(|channel, cx| channel.force_close(cx));
    settle_down(&mut pair.nodes[1]);
    let removal =
        Removal::Fulfill { preimage: preimage(1), attribution: None, claimed: Some(Msat::from_sat(50_000)) };
    let node = &mut pair.nodes[1];
    node.with(|channel, cx| channel.settle(cx, HtlcId(0), removal)).unwrap();
    settle_down(node);
    assert!(node.disk.steps.contains(&MonitorStep::Preimage { preimage: preimage(1) }));
    assert_eq!(node.durable_removals, [HtlcId(0)]);
    assert!(node.notices.values().any(|notice| matches!(notice, Notice::Claimed { .. })));
    // Failing upstream is free of effects, but counts as done.
    let again = Removal::Fail { reason: vec![1], attribution: None };
    assert!(node.with(|channel, cx| channel.settle(cx, HtlcId(0), again)).is_err());
}

fn resolve(node: &mut Node, event: u64, outcome: HtlcOutcome) {
    let channel = node.channel().id();
    let event_id = EventId(event);
    let resolved = MonitorEvent::HtlcResolved { channel, htlc: HtlcId(0), outcome };
    node.with(|it, cx| it.on_monitor_event(cx, event_id, &resolved));
    settle_down(node);
}

#[test]
fn outcomes_on_chain_become_notices_that_stay_until_done() {
    for claimed in [true, false] {
        let mut pair = in_flight();
        let node = &mut pair.nodes[0];
        node.with(|channel, cx| channel.force_close(cx));
        settle_down(node);
        let outcome =
            if claimed { HtlcOutcome::Claimed { preimage: preimage(1) } } else { HtlcOutcome::Failed {} };
        resolve(node, 7, outcome.clone());
        assert_eq!(node.taken, [EventId(7)]);
        let notice = node.notices.values().next().cloned().expect("a notice");
        let Notice::Settled { outcome: told, htlc: HtlcId(0), .. } = &notice else { panic!("{notice:?}") };
        assert_eq!(matches!(told, Outcome::Fulfilled { .. }), claimed);
        // The monitor repeats itself: nothing is told twice, but it is acknowledged.
        node.notices.clear();
        resolve(node, 7, outcome);
        assert!(node.notices.is_empty());
        assert_eq!(node.taken.len(), 2);
        // After a restart the notice comes again, until it is done.
        node.crash();
        settle_down(node);
        assert_eq!(node.notices.values().next(), Some(&notice));
        node.with(|channel, cx| {
            channel.notice_done(cx, notice.key());
            channel.flush(cx);
        });
        settle_down(node);
        node.notices.clear();
        node.crash();
        settle_down(node);
        assert!(node.notices.is_empty());
    }
}

#[test]
fn a_preimage_on_chain_is_told_before_its_write_and_a_failure_only_behind_it() {
    for claimed in [true, false] {
        let mut pair = in_flight();
        let node = &mut pair.nodes[0];
        node.with(|channel, cx| channel.force_close(cx));
        settle_down(node);
        node.slow_disk = true;
        let outcome =
            if claimed { HtlcOutcome::Claimed { preimage: preimage(1) } } else { HtlcOutcome::Failed {} };
        resolve(node, 7, outcome);
        assert_eq!(!node.notices.is_empty(), claimed);
        assert!(node.taken.is_empty(), "the monitor keeps the event until the write");
        node.write_one();
        settle_down(node);
        assert!(!node.notices.is_empty());
        assert_eq!(node.taken, [EventId(7)]);
    }
}

#[test]
fn every_kind_of_spend_leads_to_the_chain_with_its_reason() {
    let number = CommitmentNumber(1);
    let kinds = [
        (SpendKind::Mutual {}, CloseReason::Cooperative),
        (SpendKind::Ours { number }, CloseReason::ForcedByUser),
        (SpendKind::Theirs { number }, CloseReason::ByPeerOnChain),
        (SpendKind::Revoked { number }, CloseReason::Breach),
        (SpendKind::Future { number }, CloseReason::DataLoss),
        (SpendKind::Unknown {}, CloseReason::ByPeerOnChain),
    ];
    for (kind, reason) in kinds {
        let mut pair = in_flight();
        let txid = pair.funding().compute_txid();
        let node = &mut pair.nodes[0];
        let channel = node.channel().id();
        let event = MonitorEvent::FundingSpent { channel, txid, kind, height: BlockHeight::new(520) };
        node.with(|it, cx| it.on_monitor_event(cx, EventId(3), &event));
        settle_down(node);
        assert_eq!(node.channel().phase(), PhaseName::Resolving);
        assert_eq!(node.taken, [EventId(3)]);
        assert!(!node.disk.steps.contains(&MonitorStep::ForceClose {}), "the chain was first");
        assert_eq!(pair.closed_event(0), Some(&reason));
    }
}

#[test]
fn a_monitor_that_went_to_the_chain_by_itself_is_followed() {
    let mut pair = in_flight();
    let node = &mut pair.nodes[0];
    let channel = node.channel().id();
    node.with(|it, cx| it.on_monitor_event(cx, EventId(3), &MonitorEvent::ForceClosed { channel }));
    settle_down(node);
    assert_eq!(node.channel().phase(), PhaseName::Resolving);
    assert!(node.outgoing.iter().any(|message| message.type_id() == 17));
    assert_eq!(pair.closed_event(0), Some(&CloseReason::HtlcDeadline));
}

#[test]
fn an_htlc_that_was_never_signed_for_is_given_back_at_once() {
    let mut pair = Pair::open(PUSH);
    pair.want(1, 0, Msat::from_sat(50_000), Fate::Claim);
    let offer = super::pair::htlc(&pair.intents[0].clone(), 500);
    pair.nodes[0].with(|channel, cx| channel.offer_htlc(cx, offer)).unwrap();
    pair.nodes[0].with(|channel, cx| channel.force_close(cx));
    settle_down(&mut pair.nodes[0]);
    assert_eq!(pair.nodes[0].unsent.len(), 1);
    assert_eq!(pair.nodes[0].channel().outgoing().count(), 0);
}

#[test]
fn an_error_for_the_channel_or_for_all_closes_it() {
    let mut pair = in_flight();
    let error = ErrorMessage {
        channel_id: lightning_traits::id::ChannelId::ALL,
        data: vec![0xff, b'x'],
        unknown: Default::default(),
    };
    pair.deliver(0, error.into());
    settle_down(&mut pair.nodes[0]);
    assert_eq!(pair.closed_event(0), Some(&CloseReason::PeerError("?x".into())));
    assert!(pair.nodes[0].disk.steps.contains(&MonitorStep::ForceClose {}));
}

#[test]
fn a_closed_channel_answers_reestablish_with_an_error_and_hears_nothing_else() {
    let mut pair = in_flight();
    pair.nodes[0].with(|channel, cx| channel.force_close(cx));
    settle_down(&mut pair.nodes[0]);
    pair.nodes[0].crash();
    pair.disconnect();
    pair.connect();
    while pair.move_once() {}
    let after: Vec<_> = pair.nodes[0].log.iter().map(Message::type_id).collect();
    assert!(after.contains(&17));
    assert_eq!(pair.nodes[1].channel().phase(), PhaseName::Resolving);
}

#[test]
fn b07_wrong_signatures_and_secrets_fail_the_channel_and_a_wrong_update_only_hangs_up() {
    type Spoil = fn(&mut Message) -> bool;
    let spoils: [(Spoil, bool); 4] = [
        (
            |m| {
                if let Message::CommitmentSigned(m) = m {
                    m.htlc_signature.clear();
                    true
                } else {
                    false
                }
            },
            true,
        ),
        (
            |m| {
                if let Message::RevokeAndAck(m) = m {
                    m.per_commitment_secret[5] ^= 1;
                    true
                } else {
                    false
                }
            },
            true,
        ),
        (
            |m| {
                if let Message::UpdateAddHtlc(m) = m {
                    m.id = HtlcId(7);
                    true
                } else {
                    false
                }
            },
            false,
        ),
        (
            |m| {
                if let Message::UpdateAddHtlc(m) = m {
                    m.amount_msat = Msat::ZERO;
                    true
                } else {
                    false
                }
            },
            false,
        ),
    ];
    for (index, (spoil, fails)) in spoils.into_iter().enumerate() {
        let mut pair = Pair::open(PUSH);
        let mut done = false;
        pair.tamper = Some(Box::new(move |_, message| {
            if !done {
                done = spoil(message);
            }
        }));
        pair.want(1, 0, Msat::from_sat(50_000), Fate::Claim);
        pair.run();
        let closed =
            (0..2).any(|side| matches!(pair.closed_event(side), Some(CloseReason::PeerViolation(_))));
        assert_eq!(closed, fails, "case {index}");
        if !fails {
            assert!(!pair.connected);
            pair.connect();
            pair.run();
            assert_eq!(
                pair.outcomes.get(&(0, 1)),
                Some(&true),
                "case {index} goes on after the reconnection"
            );
        }
    }
}

#[test]
fn events_are_repeated_after_a_restart_until_acknowledged() {
    let mut pair = Pair::open(PUSH);
    let node = &mut pair.nodes[0];
    for _ in 0..2 {
        node.events.clear();
        node.crash();
        settle_down(node);
        assert!(
            matches!(node.events[..], [Event::ChannelPending { .. }, Event::ChannelReady { .. }]),
            "{:?}",
            node.events
        );
    }
    for event in node.events.clone() {
        node.with(|channel, cx| channel.event_acknowledged(cx, &event));
    }
    node.with(|channel, cx| channel.flush(cx));
    settle_down(node);
    node.events.clear();
    node.crash();
    settle_down(node);
    assert!(node.events.is_empty());
}

#[test]
fn an_outcome_on_chain_before_the_news_of_the_spend_is_not_lost() {
    let mut pair = in_flight();
    resolve(&mut pair.nodes[0], 4, HtlcOutcome::Claimed { preimage: preimage(1) });
    let node = &pair.nodes[0];
    assert_eq!(node.channel().phase(), PhaseName::Resolving);
    assert_eq!((node.notices.len(), node.taken.as_slice()), (1, &[EventId(4)][..]));
}

/// The monitor reports, again and again, that nothing is left.
fn report_resolved(node: &mut Node) {
    let channel = node.channel().id();
    node.with(|it, cx| it.on_monitor_event(cx, EventId(8), &MonitorEvent::Resolved { channel }));
    settle_down(node);
}

fn acknowledge_close(node: &mut Node) {
    let closed = node.events.iter().find(|event| matches!(event, Event::ChannelClosed { .. })).cloned();
    node.with(|channel, cx| channel.event_acknowledged(cx, &closed.expect("told")));
    settle_down(node);
}

fn take_notice_over(node: &mut Node) {
    let key = *node.notices.keys().next().expect("a notice");
    node.with(|channel, cx| channel.notice_done(cx, key));
    settle_down(node);
}

#[test]
fn the_monitors_last_word_is_answered_only_when_nothing_is_left_here_either() {
    for claimed in [true, false] {
        for user_first in [true, false] {
            for restart in [true, false] {
                let mut pair = in_flight();
                let node = &mut pair.nodes[0];
                node.with(|channel, cx| channel.force_close(cx));
                settle_down(node);
                let outcome = if claimed {
                    HtlcOutcome::Claimed { preimage: preimage(1) }
                } else {
                    HtlcOutcome::Failed {}
                };
                resolve(node, 7, outcome);
                node.taken.clear();
                report_resolved(node);
                assert_eq!(node.events.iter().filter(|e| matches!(e, Event::Resolved { .. })).count(), 1);
                assert!(node.taken.is_empty(), "the user and the payment have not heard of it");
                let steps = [acknowledge_close as fn(&mut Node), take_notice_over];
                let steps = if user_first { steps } else { [steps[1], steps[0]] };
                for (index, step) in steps.into_iter().enumerate() {
                    if restart {
                        node.with(|channel, cx| channel.flush(cx));
                        settle_down(node);
                        node.events.clear();
                        node.crash();
                        settle_down(node);
                        report_resolved(node);
                        assert!(node.taken.is_empty(), "step {index}");
                        if user_first && index == 1 {
                            assert!(node.events.is_empty(), "what is told is told once");
                        }
                    }
                    step(node);
                    assert_eq!(node.taken.is_empty(), index == 0, "step {index}");
                }
                assert!(node.channel().is_finished());
                assert_eq!(node.taken, [EventId(8)]);
            }
        }
    }
}

#[test]
fn the_monitors_last_word_is_answered_only_behind_the_write_that_ends_the_channel() {
    let mut pair = Pair::open(PUSH);
    let node = &mut pair.nodes[0];
    node.with(|channel, cx| channel.force_close(cx));
    settle_down(node);
    node.slow_disk = true;
    report_resolved(node);
    acknowledge_close(node);
    while !node.writing.is_empty() {
        assert!(node.taken.is_empty() && !node.channel().is_finished());
        assert!(node.write_one());
        settle_down(node);
    }
    assert_eq!(node.taken, [EventId(8)]);
    assert!(node.channel().is_finished());
    // A crash before the monitor has heard the answer: it reports again, and is answered at once.
    node.taken.clear();
    node.events.clear();
    node.crash();
    settle_down(node);
    assert!(node.channel().is_finished() && node.events.is_empty());
    report_resolved(node);
    assert_eq!(node.taken, [EventId(8)]);
}

#[test]
fn a_notice_is_said_to_be_gone_also_by_the_write_that_ends_the_channel() {
    for is_last in [true, false] {
        let mut pair = in_flight();
        let node = &mut pair.nodes[0];
        node.with(|channel, cx| channel.force_close(cx));
        settle_down(node);
        resolve(node, 7, HtlcOutcome::Failed {});
        let key = *node.notices.keys().next().expect("a notice");
        report_resolved(node);
        if is_last {
            acknowledge_close(node);
        }
        node.slow_disk = true;
        assert!(node.with(|channel, cx| channel.notice_done_reported(cx, key)));
        if !is_last {
            node.with(|channel, cx| channel.flush(cx));
        }
        settle_down(node);
        assert!(node.gone.is_empty(), "a crash would bring it back");
        while node.write_one() {}
        settle_down(node);
        assert_eq!(node.gone, [key]);
        assert_eq!(node.channel().is_finished(), is_last);
    }
}
