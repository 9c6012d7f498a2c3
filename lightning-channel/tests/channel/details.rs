//! What users see of a channel: by which id, and how many HTLCs, until nothing of it is left.
use lightning_channel::channel::{FundedDetails, PhaseName};
use lightning_channel::commitments::Removal;
use lightning_traits::id::{CommitmentNumber, EventId, HtlcId, ShortChannelId};
use lightning_traits::monitor::{MonitorEvent, SpendKind};
use lightning_traits::units::{BlockHeight, Msat};

use super::node::Node;
use super::pair::{Fate, Pair, preimage};

const PUSH: Msat = Msat::from_sat(300_000);

fn settle_down(node: &mut Node) {
    while node.step() {}
}

fn funded(node: &Node) -> FundedDetails {
    node.channel().details(&node.cx()).funded.expect("a funded channel")
}

fn scid(pair: &Pair, side: usize) -> Option<ShortChannelId> {
    funded(&pair.nodes[side]).scid
}

/// How many HTLCs the first node sees: its own, and theirs.
fn htlcs(pair: &Pair) -> (usize, usize) {
    let details = funded(&pair.nodes[0]);
    (details.outgoing_htlcs, details.incoming_htlcs)
}

fn leave_by_spend(node: &mut Node, kind: SpendKind) {
    let (channel, txid) = (node.channel().id(), funded(node).funding.txid);
    let event = MonitorEvent::FundingSpent { channel, txid, kind, height: BlockHeight::new(600) };
    node.with(|it, cx| it.on_monitor_event(cx, EventId(3), &event));
}

#[test]
fn a_channel_keeps_its_short_id_whatever_sends_it_to_the_chain_and_over_restarts() {
    type Leave = fn(&mut Node);
    const FIRST: CommitmentNumber = CommitmentNumber(0);
    let leaves: [(&str, Leave); 5] = [
        ("forced", |node| assert!(node.with(|channel, cx| channel.force_close(cx)))),
        ("by the monitor", |node| {
            let channel = node.channel().id();
            node.with(|it, cx| it.on_monitor_event(cx, EventId(3), &MonitorEvent::ForceClosed { channel }));
        }),
        ("cooperative", |node| leave_by_spend(node, SpendKind::Mutual {})),
        ("by the peer", |node| leave_by_spend(node, SpendKind::Theirs { number: FIRST })),
        ("breach", |node| leave_by_spend(node, SpendKind::Revoked { number: FIRST })),
    ];
    for (name, leave) in leaves {
        for side in 0..2 {
            let mut pair = Pair::open(PUSH);
            let known = scid(&pair, side);
            assert!(known.is_some());
            leave(&mut pair.nodes[side]);
            settle_down(&mut pair.nodes[side]);
            for restarts in 0..2 {
                assert_eq!(pair.phases()[side], PhaseName::Resolving, "{name}");
                assert_eq!(scid(&pair, side), known, "{name}, node {side}, restarts {restarts}");
                pair.crash(side);
                settle_down(&mut pair.nodes[side]);
            }
        }
    }
}

#[test]
fn a_channel_that_was_in_no_block_has_no_short_id_to_keep() {
    let mut pair = Pair::new();
    pair.propose(PUSH, false);
    pair.run();
    pair.fund();
    pair.run();
    pair.nodes[0].with(|channel, cx| channel.force_close(cx));
    settle_down(&mut pair.nodes[0]);
    assert_eq!((pair.phases()[0], scid(&pair, 0)), (PhaseName::Resolving, None));
    pair.crash(0);
    assert_eq!(scid(&pair, 0), None);
}

#[test]
fn htlcs_of_both_sides_count_from_the_offer_to_the_irrevocable_removal_decided_on_or_not() {
    let mut pair = Pair::open(PUSH);
    pair.want(1, 0, Msat::from_sat(50_000), Fate::Claim);
    pair.want(2, 1, Msat::from_sat(20_000), Fate::Fail);
    pair.manage();
    let mut most = (0, 0);
    let mut decided_and_there = false;
    loop {
        let before = htlcs(&pair);
        most = (most.0.max(before.0), most.1.max(before.1));
        let undecided = pair.nodes[0].channel().pending_incoming().count();
        // What is removed by us, but not irrevocably, is in some commitment still.
        let there = pair.nodes[0].channel().incoming_htlc(HtlcId(0)).is_some();
        decided_and_there |= there && undecided == 0;
        assert!(!there || before.1 == 1, "{before:?}");
        if !pair.move_once() && !pair.manage() {
            break;
        }
    }
    assert!(decided_and_there, "the removal takes several steps");
    assert_eq!((most, htlcs(&pair)), ((1, 1), (0, 0)));
}

#[test]
fn htlcs_of_the_peer_count_on_chain_until_nothing_is_left() {
    let mut pair = Pair::open(PUSH);
    pair.want(2, 1, Msat::from_sat(20_000), Fate::Claim);
    pair.manage();
    while pair.move_once() {
        for side in 0..2 {
            let _nothing_to_sign = pair.nodes[side].with(|channel, cx| channel.commit(cx));
        }
    }
    assert_eq!(htlcs(&pair), (0, 1));
    let node = &mut pair.nodes[0];
    node.with(|channel, cx| channel.force_close(cx));
    let removal = Removal::Fulfill { preimage: preimage(2), attribution: None, claimed: None };
    node.with(|channel, cx| channel.settle(cx, HtlcId(0), removal)).unwrap();
    settle_down(node);
    assert_eq!(htlcs(&pair), (0, 1));
    pair.crash(0);
    settle_down(&mut pair.nodes[0]);
    assert_eq!(htlcs(&pair), (0, 1));
    let node = &mut pair.nodes[0];
    let channel = node.channel().id();
    node.with(|it, cx| it.on_monitor_event(cx, EventId(4), &MonitorEvent::Resolved { channel }));
    settle_down(node);
    assert_eq!(htlcs(&pair), (0, 0));
}
