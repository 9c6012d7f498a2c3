//! Our own funding transaction, an input of which another transaction spends (RELIABILITY E4, A16): the wallet's owner paid twice, or
//! one of several who signed it. What one block shows another may undo, so nothing is given up before that is buried; and what was
//! promised to a transaction that can never confirm is free again.
use bitcoin::{Amount, Transaction};
use lightning_channel::channel::{OpenOptions, PhaseName, SharedFunding};
use lightning_channel::commitments::{Notice, Outcome};
use lightning_traits::config::Trust;
use lightning_traits::event::CloseReason;
use lightning_traits::feature::Feature;
use lightning_traits::monitor::MonitorStep;
use lightning_traits::units::Msat;

use super::node::Node;
use super::pair::{Fate, Pair};

const PUSH: Msat = Msat::from_sat(300_000);

/// Where the channel stands when its funding is spent otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// Nobody has seen a block with it.
    Waiting,
    /// It was used, and a reorganization has taken it out again.
    Used,
    /// Our user has forced it.
    Forced,
    /// Used, reorganized and forced.
    UsedAndForced,
}

const ALL: [At; 4] = [At::Waiting, At::Used, At::Forced, At::UsedAndForced];

fn rest(node: &mut Node) {
    while node.step() {}
}

/// What spends the input of the funding transaction to somebody else.
fn conflict(funding: &Transaction) -> Transaction {
    let mut other = funding.clone();
    other.output.truncate(1);
    other.output[0].value = Amount::from_sat(12_345);
    assert_ne!(other.compute_txid(), funding.compute_txid());
    other
}

/// The opener's channel, alone on its side of the wire.
fn channel_at(at: At) -> Pair {
    let mut pair = match at {
        At::Waiting | At::Forced => {
            let mut pair = Pair::new();
            pair.propose(PUSH, false);
            pair.run();
            pair.fund();
            pair.run();
            pair
        }
        At::Used | At::UsedAndForced => {
            let mut pair = Pair::open(PUSH);
            let before = pair.nodes[0].height;
            pair.want(1, 0, Msat::from_sat(50_000), Fate::Claim);
            while pair.nodes[1].incoming.is_empty() {
                assert!(pair.move_once() || pair.manage());
            }
            while pair.move_once() {}
            pair.nodes[1].incoming.clear();
            let is_confirmed = |pair: &Pair| pair.nodes[0].channel().is_confirmed();
            while is_confirmed(&pair) {
                pair.unmine();
            }
            assert!(pair.nodes[0].height < before);
            pair
        }
    };
    pair.disconnect();
    if matches!(at, At::Forced | At::UsedAndForced) {
        let _told = pair.nodes[0].with(|channel, cx| channel.force_close(cx));
    }
    rest(&mut pair.nodes[0]);
    pair
}

/// Whether our funding transaction is sent again by a tick.
fn is_sent(pair: &mut Pair) -> bool {
    let funding = pair.funding();
    let node = &mut pair.nodes[0];
    rest(node);
    node.broadcasts.clear();
    node.with(|channel, cx| channel.timer_tick(cx));
    rest(node);
    node.broadcasts.contains(&funding)
}

fn given_up(pair: &Pair) -> usize {
    pair.nodes[0].disk.steps.iter().filter(|step| **step == MonitorStep::Abandoned {}).count()
}

fn again(pair: &mut Pair, restart: bool) {
    rest(&mut pair.nodes[0]);
    if restart {
        pair.crash(0);
        rest(&mut pair.nodes[0]);
    }
}

#[test]
fn e04_our_funding_that_is_spent_otherwise_is_given_up_once_that_is_buried() {
    for at in ALL {
        for restart in [false, true] {
            let what = format!("{at:?}, restart {restart}");
            let mut pair = channel_at(at);
            let funding = pair.funding();
            pair.mine_with(&[&conflict(&funding)]);
            again(&mut pair, restart);
            pair.mine(98);
            again(&mut pair, restart);
            assert_eq!(given_up(&pair), 0, "{what}: one block too early");
            assert!(is_sent(&mut pair), "{what}: a reorganization may let it in");
            assert!(
                matches!(pair.nodes[0].channel().shared_funding(), SharedFunding::Released { .. }),
                "{what}"
            );
            pair.mine(1);
            again(&mut pair, restart);
            assert_eq!(given_up(&pair), 1, "{what}");
            assert!(!is_sent(&mut pair), "{what}");
            assert_eq!(
                pair.nodes[0].channel().shared_funding(),
                SharedFunding::Over,
                "{what}: its inputs are free"
            );
            assert_eq!(pair.nodes[0].channel().phase(), PhaseName::Resolving, "{what}");
            let forced = matches!(at, At::Forced | At::UsedAndForced);
            let told = pair.closed_event(0).cloned();
            match told {
                Some(CloseReason::NeverFunded(text)) => {
                    assert!(!forced && text.contains("spent"), "{what}: {text}");
                }
                other => assert!(forced && other == Some(CloseReason::ForcedByUser), "{what}: {other:?}"),
            }
            let failed = |notice: &Notice| {
                matches!(notice, Notice::Settled { outcome: Outcome::FailedOnChain {}, .. })
            };
            let offered = matches!(at, At::Used | At::UsedAndForced);
            let count = pair.nodes[0].notices.values().filter(|notice| failed(notice)).count();
            assert_eq!(count, usize::from(offered), "{what}: what was offered on it comes back");
            // And only once.
            pair.mine(200);
            again(&mut pair, restart);
            assert_eq!(given_up(&pair), 1, "{what}");
        }
    }
}

#[test]
fn e04_a_conflict_that_a_reorganization_undoes_gives_nothing_up() {
    for at in ALL {
        for restart in [false, true] {
            for depth in [1, 2, 60, 99] {
                let what = format!("{at:?}, restart {restart}, depth {depth}");
                let mut pair = channel_at(at);
                let funding = pair.funding();
                for _ in 0..2 {
                    pair.mine_with(&[&conflict(&funding)]);
                    pair.mine(depth - 1);
                    again(&mut pair, restart);
                    for _ in 0..depth {
                        pair.unmine();
                    }
                    again(&mut pair, restart);
                    // What was buried does not count again.
                    pair.mine(110);
                    again(&mut pair, restart);
                    assert_eq!(given_up(&pair), 0, "{what}");
                    assert!(is_sent(&mut pair), "{what}");
                }
                pair.mine_funding();
                pair.mine(6);
                again(&mut pair, restart);
                assert!(!is_sent(&mut pair), "{what}");
                // The same inputs are spent in it: nothing of that is a conflict.
                pair.mine(200);
                again(&mut pair, restart);
                assert_eq!(given_up(&pair), 0, "{what}");
                if matches!(at, At::Waiting | At::Used) {
                    assert_eq!(pair.closed_event(0), None, "{what}");
                    pair.connect();
                    pair.run();
                    assert_eq!(pair.phases(), [PhaseName::Open; 2], "{what}");
                }
            }
        }
    }
}

/// What a peer pays us over a channel whose funding may be gone is not passed on: that would be our own money.
#[test]
fn e04_nothing_is_built_on_a_channel_in_use_whose_funding_is_spent_otherwise() {
    for restart in [false, true] {
        for undone in [false, true] {
            let mut pair = Pair::new();
            let opener = pair.nodes[0].id();
            for node in &mut pair.nodes {
                node.features.set_optional(Feature::ZeroConf.optional_bit());
            }
            let trust = Trust { zero_conf: true, zero_reserve: false };
            pair.nodes[1].config.handshake.trusted.insert(opener, trust);
            pair.propose_with(OpenOptions { push: PUSH, zero_conf: true, ..OpenOptions::default() });
            pair.run();
            pair.fund();
            pair.run();
            assert_eq!(pair.phases(), [PhaseName::Open; 2]);
            let funding = pair.funding();
            pair.mine_with(&[&conflict(&funding)]);
            pair.want(1, 1, Msat::from_sat(20_000), Fate::Claim);
            while pair.move_once() || pair.manage() {}
            assert!(pair.nodes[0].incoming.is_empty(), "nobody is asked what to do with it");
            assert!(pair.outcomes.is_empty());
            if restart {
                pair.disconnect();
                pair.crash(0);
                pair.connect();
                while pair.move_once() || pair.manage() {}
                assert!(pair.nodes[0].incoming.is_empty() && pair.outcomes.is_empty());
            }
            if undone {
                pair.unmine();
                pair.mine(1);
                pair.run();
                assert_eq!(pair.outcomes.get(&(1, 1)), Some(&true), "restart {restart}");
            } else {
                pair.mine(99);
                rest(&mut pair.nodes[0]);
                assert!(matches!(pair.closed_event(0), Some(CloseReason::NeverFunded(_))));
                assert_eq!(
                    pair.nodes[0].channel().phase(),
                    PhaseName::Resolving,
                    "managers pass nothing on from there"
                );
                assert!(pair.outcomes.is_empty());
            }
        }
    }
}

/// A transaction that funds several channels, all of them gone with one input.
#[test]
fn e04_a16_a_held_transaction_that_is_spent_otherwise_ends_its_channels() {
    for committed in [false, true] {
        for restart in [false, true] {
            let mut pair = Pair::new();
            pair.propose(PUSH, false);
            pair.run();
            let funding = pair.funding();
            let outpoint = pair.nodes[0].channel().funding_in(&funding).unwrap();
            let member = lightning_traits::id::ChannelId::v1_from_funding(outpoint);
            let held = funding.clone();
            pair.nodes[0].with(|channel, cx| channel.hold_funding(cx, held, vec![member])).unwrap();
            pair.run();
            if committed {
                assert_eq!(pair.nodes[0].with(|channel, cx| channel.commit_funding(cx)), Some(true));
            }
            pair.disconnect();
            pair.mine_with(&[&conflict(&funding)]);
            again(&mut pair, restart);
            pair.mine(98);
            again(&mut pair, restart);
            let held = pair.nodes[0].channel().shared_funding();
            assert!(matches!(held, SharedFunding::Held { is_committed, .. } if is_committed == committed));
            pair.mine(1);
            again(&mut pair, restart);
            assert_eq!(pair.nodes[0].channel().shared_funding(), SharedFunding::Over);
            assert!(matches!(pair.closed_event(0), Some(CloseReason::NeverFunded(_))));
            assert_eq!(given_up(&pair), 1);
            assert!(!pair.nodes[0].broadcasts.contains(&funding), "nobody has seen it");
        }
    }
}
