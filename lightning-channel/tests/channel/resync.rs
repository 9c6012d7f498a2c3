//! Reconnection: counters that fit, and every way in which they do not (BOLT 2, "Message Retransmission"; RELIABILITY B1-B6).
use lightning_channel::channel::PhaseName;
use lightning_traits::event::CloseReason;
use lightning_traits::id::CommitmentNumber;
use lightning_traits::monitor::MonitorStep;
use lightning_traits::units::Msat;
use lightning_traits::wire::{ChannelReestablish, Message};

use super::pair::{Fate, Pair};

const PUSH: Msat = Msat::from_sat(300_000);

/// A pair that has made `payments`, so that commitment numbers are above zero.
fn paid(payments: u8) -> Pair {
    let mut pair = Pair::open(PUSH);
    for name in 1..=payments {
        pair.want(name, 0, Msat::from_sat(1_000), Fate::Claim);
        pair.run();
    }
    pair
}

/// Reconnects while the second node's `channel_reestablish` is changed.
fn reconnect_with(pair: &mut Pair, spoil: impl Fn(&mut ChannelReestablish) + 'static) {
    pair.tamper = Some(Box::new(move |from, message| {
        if let (1, Message::ChannelReestablish(reestablish)) = (from, message) {
            spoil(reestablish);
        }
    }));
    pair.reconnect();
}

fn forced(pair: &Pair, side: usize) -> bool {
    pair.nodes[side].disk.steps.contains(&MonitorStep::ForceClose {})
}

#[test]
fn a_quiet_reconnection_sends_only_reestablish_and_an_update() {
    let mut pair = paid(1);
    let before = [pair.sent(0).len(), pair.sent(1).len()];
    pair.reconnect();
    assert_eq!(pair.phases(), [PhaseName::Open; 2]);
    for (side, from) in before.into_iter().enumerate() {
        assert_eq!(pair.sent(side)[from..], [136, 258]);
    }
}

#[test]
fn channel_ready_is_sent_again_before_the_first_update_only() {
    let mut pair = paid(0);
    let before = pair.sent(0).len();
    pair.reconnect();
    assert_eq!(pair.sent(0)[before..], [136, 36, 258]);
}

#[test]
fn first_reestablish_has_the_numbers_that_bolt_2_gives() {
    let mut pair = paid(0);
    pair.reconnect();
    let Some(Message::ChannelReestablish(first)) = pair.nodes[0].log.iter().find(|m| m.type_id() == 136)
    else {
        panic!()
    };
    assert_eq!((first.next_commitment_number.0, first.next_revocation_number.0), (1, 0));
    assert_eq!(first.your_last_per_commitment_secret, [0; 32]);
}

#[test]
fn b06_nothing_but_reestablish_leaves_before_theirs_has_come() {
    let mut pair = paid(1);
    pair.disconnect();
    pair.nodes[0].slow_disk = false;
    pair.connected = true;
    let features = pair.nodes[1].features.clone();
    let node = &mut pair.nodes[0];
    node.with(|channel, cx| channel.connected(cx, &features));
    node.with(|channel, cx| channel.shutdown(cx, Default::default())).unwrap();
    while node.step() {}
    let sent: Vec<_> = node.outgoing.iter().map(Message::type_id).collect();
    assert_eq!(sent, [136]);
    assert_eq!(node.channel().phase(), PhaseName::Syncing);
}

#[test]
fn updates_before_reestablish_hang_up_and_lose_nothing() {
    let mut pair = paid(1);
    pair.disconnect();
    pair.connected = true;
    let features = pair.nodes[1].features.clone();
    pair.nodes[0].with(|channel, cx| channel.connected(cx, &features));
    let shutdown = lightning_traits::wire::Shutdown {
        channel_id: pair.nodes[0].channel().id(),
        scriptpubkey: bitcoin::ScriptBuf::new(),
        unknown: Default::default(),
    };
    pair.deliver(0, shutdown.into());
    pair.run();
    assert!(!pair.connected);
    pair.connect();
    pair.run();
    assert_eq!(pair.phases(), [PhaseName::Open; 2]);
}

#[test]
fn reestablish_twice_on_one_connection_hangs_up() {
    let mut pair = paid(1);
    pair.reconnect();
    let again = pair.nodes[1].log.iter().rfind(|m| m.type_id() == 136).cloned().unwrap();
    pair.deliver(0, again);
    pair.run();
    assert!(!pair.connected && pair.closed_event(0).is_none());
}

#[test]
fn a_reconnection_without_a_disconnect_in_between_starts_anew() {
    let mut pair = paid(1);
    pair.want(9, 0, Msat::from_sat(2_000), Fate::Claim);
    pair.manage();
    for node in &mut pair.nodes {
        node.outgoing.clear();
    }
    pair.connect();
    pair.run();
    assert_eq!(pair.outcomes.get(&(0, 9)), Some(&true));
}

#[test]
fn next_commitment_zero_fails_the_channel() {
    let mut pair = paid(1);
    reconnect_with(&mut pair, |m| m.next_commitment_number = CommitmentNumber(0));
    assert!(forced(&pair, 0));
    assert!(matches!(pair.closed_event(0), Some(CloseReason::PeerViolation(_))));
}

#[test]
fn b02_claims_to_be_ahead_without_proof_force_close_with_our_good_state() {
    for secret in [[0; 32], [7; 32]] {
        for ahead in [1, 5, 1 << 47, u64::MAX - 10] {
            let mut pair = paid(1);
            reconnect_with(&mut pair, move |m| {
                m.next_revocation_number = CommitmentNumber(m.next_revocation_number.0 + ahead);
                m.your_last_per_commitment_secret = secret;
            });
            assert!(forced(&pair, 0), "{ahead} ahead with {secret:?}");
        }
    }
}

#[test]
fn b01_a_node_restored_from_an_old_disk_goes_passive_on_proof_and_the_peer_closes() {
    for old in 0..4 {
        let mut pair = paid(old);
        let disk = pair.nodes[0].disk.clone();
        for name in 10..14 {
            pair.want(name, 0, Msat::from_sat(1_000), Fate::Claim);
            pair.run();
        }
        pair.disconnect();
        pair.nodes[0].disk = disk;
        pair.crash(0);
        pair.intents.clear();
        pair.connect();
        pair.run();
        assert!(!forced(&pair, 0), "an old commitment must never be broadcast");
        let point = pair.nodes[0].disk.steps.iter().find(|step| matches!(step, MonitorStep::DataLoss { .. }));
        assert!(point.is_some(), "the monitor knows ({old})");
        assert_eq!(pair.closed_event(0), Some(&CloseReason::DataLoss));
        assert!(forced(&pair, 1), "the peer was asked to close");
        assert!(
            pair.nodes[0]
                .broadcasts
                .iter()
                .all(|tx| tx.output.len() == 2 && tx.input[0].previous_output.vout == 3)
        );
    }
}

/// A pair whose first node was put back from a record that nobody can say is the last, `behind` payments ago.
fn doubted(behind: u8) -> Pair {
    let mut pair = paid(1);
    let disk = pair.nodes[0].disk.clone();
    for name in 10..10 + behind {
        pair.want(name, 0, Msat::from_sat(1_000), Fate::Claim);
        pair.run();
    }
    pair.disconnect();
    pair.nodes[0].disk = disk;
    pair.crash(0);
    pair.intents.clear();
    pair.nodes[0].with(|channel, _| channel.doubt());
    pair
}

#[test]
fn b01_a_channel_whose_record_may_be_old_goes_passive_whatever_the_peer_says() {
    let lies: [fn(&mut ChannelReestablish); 4] = [
        |_| {},
        // As if nothing had happened since; the secret of then is what such a peer would show.
        |m| (m.next_commitment_number, m.next_revocation_number) = (CommitmentNumber(3), CommitmentNumber(2)),
        // Either makes a node that trusts its record go to the chain.
        |m| m.next_commitment_number = CommitmentNumber(0),
        |m| m.next_commitment_number = CommitmentNumber(90),
    ];
    for behind in 0..3 {
        for lie in lies {
            let mut pair = doubted(behind);
            reconnect_with(&mut pair, lie);
            assert!(!forced(&pair, 0), "what may be revoked must never be broadcast");
            assert_eq!(pair.closed_event(0), Some(&CloseReason::DataLoss));
            assert!(pair.nodes[0].disk.steps.iter().any(|step| matches!(step, MonitorStep::DataLoss { .. })));
            assert!(forced(&pair, 1), "the peer was asked to close ({behind})");
        }
    }
}

#[test]
fn b01_a_channel_whose_record_may_be_old_is_not_published_for_its_user_nor_for_an_error_of_its_peer() {
    let mut pair = doubted(2);
    assert!(pair.nodes[0].with(|channel, cx| channel.force_close(cx)));
    pair.connect();
    pair.run();
    assert!(!forced(&pair, 0) && forced(&pair, 1), "asked for, and only by the peer");
    assert_eq!(pair.nodes[0].channel().close_reason(), Some(CloseReason::DataLoss));
    let mut pair = doubted(2);
    pair.tamper = Some(Box::new(|from, message| {
        if let (1, Message::ChannelReestablish(reestablish)) = (from, &*message) {
            let channel_id = reestablish.channel_id;
            *message = lightning_traits::wire::ErrorMessage {
                channel_id,
                data: b"no".to_vec(),
                unknown: Default::default(),
            }
            .into();
        }
    }));
    pair.reconnect();
    assert!(!forced(&pair, 0));
    assert_eq!(pair.nodes[0].channel().close_reason(), Some(CloseReason::DataLoss));
}

#[test]
fn a_passive_node_stays_passive_over_restarts_and_asks_again() {
    let mut pair = paid(1);
    let disk = pair.nodes[0].disk.clone();
    pair.want(10, 0, Msat::from_sat(1_000), Fate::Claim);
    pair.run();
    pair.disconnect();
    pair.nodes[0].disk = disk;
    pair.crash(0);
    pair.intents.clear();
    pair.connect();
    pair.run();
    pair.crash(0);
    assert_eq!(pair.nodes[0].channel().phase(), PhaseName::Resolving);
    assert_eq!(pair.nodes[0].channel().close_reason(), Some(CloseReason::DataLoss));
    let errors = pair.sent(0).iter().filter(|kind| **kind == 17).count();
    pair.reconnect();
    assert!(pair.sent(0).iter().filter(|kind| **kind == 17).count() > errors);
    assert!(!forced(&pair, 0));
    let asked = pair.nodes[0].with(|channel, cx| channel.force_close(cx));
    assert!(!asked && !forced(&pair, 0), "not even on request");
}

/// A pair of which the first was restored from an old disk, which is slow now, and has just seen the proof.
fn late_with_slow_disk() -> Pair {
    let mut pair = paid(1);
    let disk = pair.nodes[0].disk.clone();
    pair.want(10, 0, Msat::from_sat(1_000), Fate::Claim);
    pair.run();
    pair.disconnect();
    pair.nodes[0].disk = disk;
    pair.crash(0);
    pair.intents.clear();
    pair.nodes[0].slow_disk = true;
    pair.connect();
    pair.run();
    assert_eq!(pair.nodes[0].channel().close_reason(), Some(CloseReason::DataLoss));
    pair
}

#[test]
fn whoever_is_late_says_so_only_when_a_crash_cannot_make_it_forget() {
    let errors = |pair: &Pair| pair.sent(0).iter().filter(|kind| **kind == 17).count();
    for crashes in 0..3 {
        let mut pair = late_with_slow_disk();
        for _ in 0..crashes {
            // Had the peer heard of it, it would now say `error` and nothing that proves anything.
            assert_eq!(errors(&pair), 0, "the write is not durable");
            pair.crash(0);
            pair.connect();
            pair.run();
            assert!(!forced(&pair, 0), "an old commitment must never be broadcast");
        }
        while pair.nodes[0].write_one() {
            pair.run();
        }
        assert!(errors(&pair) > 0 && forced(&pair, 1), "the peer is asked to close");
        pair.crash(0);
        pair.connect();
        pair.run();
        assert!(!forced(&pair, 0), "an old commitment must never be broadcast");
    }
}

#[test]
fn asked_again_before_the_write_is_durable_it_stays_silent_too() {
    let mut pair = late_with_slow_disk();
    pair.reconnect();
    assert!(pair.sent(0).iter().all(|kind| *kind != 17));
    while pair.nodes[0].write_one() {
        pair.run();
    }
    assert!(pair.sent(0).contains(&17) && forced(&pair, 1) && !forced(&pair, 0));
}

#[test]
fn a_peer_that_lost_data_is_waited_for_until_it_says_so() {
    let mut pair = paid(3);
    reconnect_with(&mut pair, |m| {
        m.next_commitment_number = CommitmentNumber(m.next_commitment_number.0 - 2);
    });
    assert!(
        !forced(&pair, 0) || pair.closed_event(0).is_some_and(|r| matches!(r, CloseReason::PeerError(_)))
    );
    assert!(!matches!(pair.closed_event(0), Some(CloseReason::PeerViolation(_))));
}

#[test]
fn a_wrong_last_secret_fails_the_channel() {
    let mut pair = paid(2);
    reconnect_with(&mut pair, |m| m.your_last_per_commitment_secret[3] ^= 1);
    assert!(forced(&pair, 0));
}

#[test]
fn b03_every_pair_of_numbers_has_a_defined_end() {
    for commitment in [0, 1, 2, 3, 4, 5, (1 << 48) - 1, 1 << 48, u64::MAX] {
        for revocation in [0, 1, 2, 3, 4, (1 << 48) - 1, 1 << 48, u64::MAX] {
            let mut pair = paid(1);
            reconnect_with(&mut pair, move |m| {
                m.next_commitment_number = CommitmentNumber(commitment);
                m.next_revocation_number = CommitmentNumber(revocation);
            });
            let phase = pair.nodes[0].channel().phase();
            let calm = matches!(
                phase,
                PhaseName::Open | PhaseName::Offline | PhaseName::Syncing | PhaseName::Resolving
            );
            assert!(calm, "{commitment} {revocation}: {phase:?}");
        }
    }
}

#[test]
fn b11_a_peer_that_never_reestablishes_is_hung_up_on() {
    let mut pair = paid(1);
    pair.disconnect();
    pair.connected = true;
    let features = pair.nodes[1].features.clone();
    let node = &mut pair.nodes[0];
    node.with(|channel, cx| channel.connected(cx, &features));
    for _ in 0..3 {
        node.with(|channel, cx| channel.timer_tick(cx));
    }
    while node.step() {}
    assert!(node.hangup.is_some());
    assert!(pair.closed_event(0).is_none());
}

#[test]
fn b11_a_peer_that_never_revokes_is_hung_up_on() {
    let mut pair = paid(1);
    pair.tamper = Some(Box::new(|from, message| {
        if from == 1 && (128..136).contains(&message.type_id()) {
            *message = lightning_traits::wire::WarningMessage {
                channel_id: lightning_traits::id::ChannelId::ALL,
                data: Vec::new(),
                unknown: Default::default(),
            }
            .into();
        }
    }));
    pair.want(9, 0, Msat::from_sat(2_000), Fate::Claim);
    pair.run();
    for _ in 0..3 {
        pair.nodes[0].with(|channel, cx| channel.timer_tick(cx));
    }
    pair.run();
    pair.tamper = None;
    assert!(!pair.connected && pair.closed_event(0).is_none());
    pair.connect();
    pair.run();
    assert_eq!(
        pair.outcomes.get(&(0, 9)),
        Some(&true),
        "and the payment goes through after the reconnection"
    );
}

#[test]
fn a_slow_signer_holds_messages_in_order_and_nothing_is_lost() {
    let mut pair = paid(1);
    pair.want(8, 0, Msat::from_sat(3_000), Fate::Claim);
    pair.want(9, 1, Msat::from_sat(2_000), Fate::Claim);
    pair.manage();
    pair.nodes[1].keys.set_busy(true);
    pair.run();
    assert!(pair.outcomes.len() == 1);
    pair.nodes[1].keys.set_busy(false);
    pair.nodes[1].with(|channel, cx| channel.timer_tick(cx));
    pair.run();
    assert_eq!((pair.outcomes.get(&(0, 8)), pair.outcomes.get(&(1, 9))), (Some(&true), Some(&true)));
    assert_eq!(pair.phases(), [PhaseName::Open; 2]);
}

#[test]
fn a_slow_signer_at_a_reconnection_holds_the_reestablish() {
    let mut pair = paid(2);
    pair.nodes[0].keys.set_busy(true);
    pair.reconnect();
    assert_eq!(pair.nodes[0].channel().phase(), PhaseName::Syncing);
    pair.nodes[0].keys.set_busy(false);
    pair.nodes[0].with(|channel, cx| channel.timer_tick(cx));
    pair.run();
    assert_eq!(pair.phases(), [PhaseName::Open; 2]);
}
