//! Channels that left for the chain while their funding transaction was in no block (RELIABILITY A5, A7, E4).
use bitcoin::{Amount, OutPoint, Transaction};
use lightning_channel::channel::PhaseName;
use lightning_channel::commitments::{Notice, Outcome};
use lightning_traits::event::Event;
use lightning_traits::id::EventId;
use lightning_traits::monitor::{MonitorEvent, MonitorStep};
use lightning_traits::units::Msat;
use lightning_traits::wire::ErrorMessage;

use super::node::Node;
use super::opening::signed_lie;
use super::pair::{Fate, Pair};

const PUSH: Msat = Msat::from_sat(300_000);

/// Who ends the channel before it is funded.
#[derive(Clone, Copy, Debug)]
enum By {
    User,
    Error,
    Violation,
}

const ALL: [By; 3] = [By::User, By::Error, By::Violation];

fn unfunded() -> Pair {
    let mut pair = Pair::new();
    pair.propose(PUSH, false);
    pair.run();
    pair.fund();
    pair.run();
    pair
}

fn rest(node: &mut Node) {
    while node.step() {}
}

/// Ends the channel of `side`, and cuts the wire so that the other goes on.
fn end(pair: &mut Pair, side: usize, by: By) {
    match by {
        By::User => drop(pair.nodes[side].with(|channel, cx| channel.force_close(cx))),
        By::Error => {
            let channel_id = pair.nodes[side].channel().id();
            let error = ErrorMessage { channel_id, data: b"no".to_vec(), unknown: Default::default() };
            pair.deliver(side, error.into());
        }
        By::Violation => {
            pair.reconnect();
            let mut message = None;
            pair.disconnect();
            pair.connect();
            while pair.nodes[1 - side].step() {
                message = message.or_else(|| pair.nodes[1 - side].outgoing.pop_front());
            }
            let lightning_traits::wire::Message::ChannelReestablish(mut message) = message.unwrap() else {
                panic!()
            };
            message.next_commitment_number = lightning_traits::id::CommitmentNumber(0);
            pair.deliver(side, message.into());
        }
    }
    rest(&mut pair.nodes[side]);
    pair.disconnect();
    assert_eq!(pair.nodes[side].channel().phase(), PhaseName::Resolving, "{by:?}");
    assert!(pair.nodes[side].disk.steps.contains(&MonitorStep::ForceClose {}), "{by:?}");
}

fn given_up(node: &Node) -> usize {
    node.disk.steps.iter().filter(|step| **step == MonitorStep::Abandoned {}).count()
}

/// The monitor has nothing to watch any more, and the user heard of the close.
fn bury(node: &mut Node) {
    let channel = node.channel().id();
    node.with(|it, cx| it.on_monitor_event(cx, EventId(3), &MonitorEvent::Resolved { channel }));
    rest(node);
    let closed = node.events.iter().find(|event| matches!(event, Event::ChannelClosed { .. })).cloned();
    node.with(|it, cx| it.event_acknowledged(cx, &closed.expect("told")));
    rest(node);
}

#[test]
fn a05_a_forced_channel_whose_funding_never_confirms_is_given_up() {
    for by in ALL {
        for restart in [false, true] {
            let mut pair = unfunded();
            end(&mut pair, 1, by);
            pair.mine(2_016);
            rest(&mut pair.nodes[1]);
            assert_eq!(given_up(&pair.nodes[1]), 0, "{by:?}");
            if restart {
                pair.crash(1);
            }
            pair.mine(30);
            rest(&mut pair.nodes[1]);
            assert_eq!(given_up(&pair.nodes[1]), 1, "{by:?}: once");
            if restart {
                pair.crash(1);
            }
            pair.mine(3_000);
            rest(&mut pair.nodes[1]);
            assert_eq!(given_up(&pair.nodes[1]), 1, "{by:?}: and not again");
            bury(&mut pair.nodes[1]);
            assert!(pair.nodes[1].channel().is_finished(), "{by:?}");
        }
    }
}

#[test]
fn a05_a_funding_that_confirms_in_time_keeps_the_channel_until_it_is_gone_for_good() {
    for restart in [false, true] {
        let mut pair = unfunded();
        end(&mut pair, 1, By::User);
        pair.mine(2_000);
        pair.mine_funding();
        pair.mine(1);
        let again = |pair: &mut Pair| {
            if restart {
                rest(&mut pair.nodes[1]);
                pair.crash(1);
            }
        };
        again(&mut pair);
        pair.mine(3_000);
        rest(&mut pair.nodes[1]);
        assert_eq!(given_up(&pair.nodes[1]), 0);
        // It goes and comes back at once.
        for _ in 0..3_002 {
            pair.unmine();
        }
        again(&mut pair);
        pair.mine(2_010);
        pair.mine_funding();
        pair.mine(1);
        pair.mine(100);
        rest(&mut pair.nodes[1]);
        assert_eq!(given_up(&pair.nodes[1]), 0);
        // It goes for good.
        for _ in 0..102 {
            pair.unmine();
        }
        again(&mut pair);
        pair.mine(2_050);
        rest(&mut pair.nodes[1]);
        assert_eq!(given_up(&pair.nodes[1]), 1);
        bury(&mut pair.nodes[1]);
        assert!(pair.nodes[1].channel().is_finished());
    }
}

/// RELIABILITY A1: a peer that lied about the output, and made us force the channel before the block shows it.
#[test]
fn a01_a_forced_channel_whose_funding_lacks_the_output_is_given_up_at_once() {
    let spoil: [fn(&mut Transaction); 3] = [
        |tx| tx.output[1].value -= Amount::ONE_SAT,
        |tx| tx.output[1].script_pubkey = tx.output[0].script_pubkey.clone(),
        |tx| tx.output.truncate(1),
    ];
    for spoil in spoil {
        let mut pair = Pair::new();
        pair.propose(PUSH, false);
        pair.run();
        let mut lie = pair.funding();
        spoil(&mut lie);
        let message = signed_lie(&pair, OutPoint { txid: lie.compute_txid(), vout: 1 });
        pair.deliver(1, message);
        rest(&mut pair.nodes[1]);
        end(&mut pair, 1, By::User);
        assert_eq!(given_up(&pair.nodes[1]), 0);
        pair.mine_with(&[&lie]);
        rest(&mut pair.nodes[1]);
        assert_eq!(given_up(&pair.nodes[1]), 1);
        bury(&mut pair.nodes[1]);
        assert!(pair.nodes[1].channel().is_finished());
    }
}

/// RELIABILITY E4: what we fund is broadcast until it is in a block, also when a reorganization takes it out again.
#[test]
fn e04_our_funding_transaction_is_broadcast_again_while_it_matters() {
    for restart in [false, true] {
        let mut pair = unfunded();
        let funding = pair.funding();
        end(&mut pair, 0, By::User);
        let out = |pair: &mut Pair| {
            let node = &mut pair.nodes[0];
            rest(node);
            node.broadcasts.clear();
            node.with(|channel, cx| channel.timer_tick(cx));
            rest(node);
            node.broadcasts.contains(&funding)
        };
        assert!(out(&mut pair));
        pair.mine_funding();
        assert!(!out(&mut pair), "it is in a block");
        pair.nodes[0].broadcasts.clear();
        pair.unmine();
        rest(&mut pair.nodes[0]);
        assert!(pair.nodes[0].broadcasts.contains(&funding), "at once");
        if restart {
            pair.crash(0);
        }
        assert!(out(&mut pair));
        pair.mine(5_000);
        assert!(out(&mut pair), "we pay for it: it is not given up");
        assert_eq!(given_up(&pair.nodes[0]), 0);
        pair.mine_funding();
        assert!(!out(&mut pair));
        // The end.
        pair.unmine();
        bury(&mut pair.nodes[0]);
        assert!(!out(&mut pair), "nothing depends on it any more");
    }
}

/// RELIABILITY E4: what was offered on an output that is gone fails once the output is given up.
#[test]
fn e04_htlcs_on_a_funding_output_that_is_gone_fail_with_it() {
    let mut pair = Pair::open(Msat::from_sat(300_000));
    pair.want(1, 1, Msat::from_sat(50_000), Fate::Claim);
    while pair.nodes[0].incoming.is_empty() {
        assert!(pair.move_once() || pair.manage());
    }
    while pair.move_once() {}
    end(&mut pair, 1, By::User);
    for _ in 0..3 {
        pair.unmine();
    }
    pair.mine(2_100);
    let node = &mut pair.nodes[1];
    rest(node);
    assert_eq!(given_up(node), 1);
    let failed =
        |notice: &Notice| matches!(notice, Notice::Settled { outcome: Outcome::FailedOnChain {}, .. });
    assert!(node.notices.values().any(failed), "{:?}", node.notices);
    bury(node);
    assert!(!node.channel().is_finished(), "somebody must take the outcome over");
    let key = *node.notices.keys().next().unwrap();
    node.with(|channel, cx| channel.notice_done(cx, key));
    rest(node);
    assert!(node.channel().is_finished());
}
