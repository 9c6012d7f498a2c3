//! The monitor goes to the chain by itself while updates are on their way to it, and refuses a new commitment of ours.
//!
//! Whatever the moment: what waited for the refused update never leaves, nothing that was learnt is lost, and the channel
//! waits for nothing that the monitor cannot report (RELIABILITY O3, O4).
use std::collections::BTreeSet;

use lightning_channel::channel::{Persisting, PhaseName, SettleError};
use lightning_channel::commitments::{Removal, RemovalRefused};
use lightning_traits::event::{CloseReason, Event};
use lightning_traits::id::{CommitmentNumber, EventId, HtlcId};
use lightning_traits::interface::{ChannelSigner as _, KeysInterface as _};
use lightning_traits::monitor::{CommitmentChange, HtlcOutcome, MonitorEvent, MonitorRefusal, MonitorStep};
use lightning_traits::tx::TxSide;
use lightning_traits::units::Msat;
use lightning_traits::wire::{Message, RevokeAndAck};

use super::node::Node;
use super::pair::{Fate, Fault, Pair, htlc, preimage};

const PUSH: Msat = Msat::from_sat(300_000);

/// What a monitor knows of HTLCs that we offered, and how often each side stepped on.
#[derive(Default)]
struct Watched {
    ours: BTreeSet<HtlcId>,
    theirs: BTreeSet<HtlcId>,
    next: Option<BTreeSet<HtlcId>>,
    our_steps: usize,
    their_steps: usize,
    revocations: usize,
    preimages: Vec<[u8; 32]>,
}

/// Applies a change to the HTLCs that `us` offered.
fn changed(mut ids: BTreeSet<HtlcId>, change: &CommitmentChange, us: TxSide) -> BTreeSet<HtlcId> {
    ids.retain(|id| !change.removed.contains(&(us, *id)));
    ids.extend(change.added.iter().filter(|htlc| htlc.offered_by == us).map(|htlc| htlc.id));
    ids
}

impl Watched {
    /// Follows the steps as a monitor does; panics where a monitor would refuse.
    fn by(node: &Node) -> Self {
        let mut watched = Self::default();
        for step in &node.disk.steps {
            match step {
                MonitorStep::OurCommitment { change, .. } => {
                    watched.our_steps += 1;
                    assert_eq!(change.number.0, watched.our_steps as u64);
                    watched.ours = changed(watched.ours, change, TxSide::Broadcaster);
                }
                MonitorStep::TheirCommitment { change, .. } => {
                    assert!(watched.next.is_none(), "signed twice without a revocation");
                    watched.their_steps += 1;
                    assert_eq!(change.number.0, watched.their_steps as u64);
                    watched.next = Some(changed(watched.theirs.clone(), change, TxSide::Countersigner));
                }
                MonitorStep::TheirRevocation { number, .. } => {
                    assert_eq!(number.0, watched.revocations as u64);
                    watched.revocations += 1;
                    watched.theirs = watched.next.take().expect("a commitment to take its place");
                }
                MonitorStep::Preimage { preimage } => watched.preimages.push(*preimage.as_bytes()),
                _ => {}
            }
        }
        watched
    }

    /// HTLCs of ours whose ends it can report.
    fn reportable(&self) -> BTreeSet<HtlcId> {
        self.ours.iter().chain(&self.theirs).chain(self.next.iter().flatten()).copied().collect()
    }
}

fn settle_down(node: &mut Node) {
    while node.step() {}
}

/// Distinct promises of one kind that left the node.
fn sent(node: &Node, of: impl Fn(&Message) -> Option<Vec<u8>>) -> usize {
    node.log.iter().chain(&node.outgoing).filter_map(of).collect::<BTreeSet<_>>().len()
}

fn revocations_sent(node: &Node) -> usize {
    sent(node, |message| match message {
        Message::RevokeAndAck(message) => Some(message.per_commitment_secret.to_vec()),
        _ => None,
    })
}

fn signatures_sent(node: &Node) -> usize {
    sent(node, |message| match message {
        Message::CommitmentSigned(message) => Some(message.signature.serialize_compact().to_vec()),
        _ => None,
    })
}

/// All that must be true of a node whose monitor refused an update.
fn check(pair: &Pair, side: usize, what: &str) {
    let node = &pair.nodes[side];
    let watched = Watched::by(node);
    assert_eq!(node.channel().phase(), PhaseName::Resolving, "{what}");
    assert_eq!(pair.closed_event(side), Some(&CloseReason::HtlcDeadline), "{what}");
    assert!(!node.channel().is_frozen(), "{what}");
    assert!(revocations_sent(node) <= watched.our_steps, "{what}: revoked what the monitor stands on");
    assert!(signatures_sent(node) <= watched.their_steps, "{what}: signed what the monitor does not know");
    let waits: BTreeSet<_> = node.channel().outgoing().map(|(id, _)| id).collect();
    assert!(waits.is_subset(&watched.reportable()), "{what}: {waits:?} of {:?}", watched.reportable());
    // Each payment is under way, ended, or given back: one of them, once.
    for intent in pair.intents.iter().filter(|intent| intent.from == side) {
        let hash = preimage(intent.name).hash();
        let under_way = node.channel().outgoing().filter(|(_, htlc)| htlc.hash == hash).count();
        let ended = usize::from(pair.outcomes.contains_key(&(side, intent.name)));
        let given_back = node.unsent.iter().filter(|(_, htlc)| htlc.hash == hash).count();
        // A preimage is told while its HTLC is still there.
        let places = (under_way + given_back).max(ended);
        assert!(places <= 1, "{what}: payment {} is {under_way}, {ended}, {given_back}", intent.name);
        assert!(given_back == 0 || ended == 0, "{what}: payment {} ended and was given back", intent.name);
    }
    let balance = node.channel().commitments().unwrap().our_number();
    assert_eq!(balance, CommitmentNumber(watched.our_steps as u64), "{what}: stands on what the monitor has");
}

fn payments(pair: &mut Pair) {
    pair.want(1, 0, Msat::from_sat(50_000), Fate::Claim);
    pair.want(2, 0, Msat::from_sat(20_000), Fate::Fail);
    pair.want(3, 1, Msat::from_sat(10_000), Fate::Claim);
    pair.want(4, 1, Msat::from_sat(5_000), Fate::Malformed);
    pair.want(5, 0, Msat::new(100_000), Fate::Claim);
}

/// Runs the payments; the monitor of `side` goes to the chain after `at` things. With slow disks later updates are handed
/// out before the refusal comes, and `at_once` many of one side are written before the other may go on.
fn disturbed(at: usize, side: usize, slow: bool, at_once: usize) -> Option<Pair> {
    let mut pair = Pair::open(PUSH);
    pair.count = 0;
    pair.fault = Some((at, Fault::OnChain(side)));
    payments(&mut pair);
    for node in &mut pair.nodes {
        node.slow_disk = slow;
    }
    loop {
        pair.run();
        let mut moved = false;
        for node in &mut pair.nodes {
            for _ in 0..at_once {
                moved |= node.write_one();
            }
        }
        if !moved {
            break;
        }
    }
    pair.struck.then_some(pair)
}

fn report_deadline(node: &mut Node) {
    let channel = node.channel().id();
    node.with(|it, cx| it.on_monitor_event(cx, EventId(9), &MonitorEvent::ForceClosed { channel }));
    settle_down(node);
    while node.write_one() {
        settle_down(node);
    }
    assert_eq!(node.taken.last(), Some(&EventId(9)));
    // Notices that were taken over ride on the next write.
    node.with(|channel, cx| channel.flush(cx));
    settle_down(node);
    while node.write_one() {}
}

fn everywhere(slow: bool, at_once: usize) {
    let (mut points, mut refusals) = (0, 0);
    for side in 0..2 {
        for at in 1..10_000 {
            let Some(mut pair) = disturbed(at, side, slow, at_once) else { break };
            points += 1;
            let what = format!("node {side} at {at}");
            let refused = pair.nodes[side].refusals;
            assert!(refused <= 1, "{what}: refused {refused} times");
            refusals += refused;
            report_deadline(&mut pair.nodes[side]);
            check(&pair, side, &what);
            // After a crash the same stands in the record, and a preimage still finds its way to the monitor.
            let before = pair.nodes[side].channel().snapshot();
            pair.crash(side);
            settle_down(&mut pair.nodes[side]);
            assert!(pair.nodes[side].channel().snapshot() == before, "{what}");
            learn_preimages(&mut pair.nodes[side], &what);
        }
    }
    assert!(points > 100 && refusals > 60, "{refusals} refusals at {points} points");
}

/// Every HTLC of the peer that nobody has decided on can still be claimed.
fn learn_preimages(node: &mut Node, what: &str) {
    node.slow_disk = false;
    let incoming: Vec<_> = node.channel().pending_incoming().cloned().collect();
    for htlc in incoming {
        let preimage = preimage(htlc.onion.packet().unwrap().payloads[0]);
        let bytes = *preimage.as_bytes();
        let removal = Removal::Fulfill { preimage, attribution: None, claimed: None };
        node.with(|channel, cx| channel.settle(cx, htlc.id, removal)).expect("not decided yet");
        settle_down(node);
        assert!(Watched::by(node).preimages.contains(&bytes), "{what}");
        assert!(node.durable_removals.contains(&htlc.id), "{what}");
    }
}

#[test]
fn refused_anywhere_at_once() {
    everywhere(false, 1);
}

#[test]
fn refused_anywhere_with_one_write_at_a_time() {
    everywhere(true, 1);
}

#[test]
fn refused_anywhere_when_later_updates_are_on_their_way() {
    everywhere(true, 3);
}

/// The first node has sent a signature; the peer's signature is on its way to the first node's monitor.
fn crossed() -> Pair {
    let mut pair = Pair::open(PUSH);
    pair.want(1, 0, Msat::from_sat(50_000), Fate::Claim);
    pair.want(3, 1, Msat::from_sat(10_000), Fate::Claim);
    pair.manage();
    pair.nodes[0].slow_disk = true;
    while pair.move_once() {}
    // Its first write is the signature that it wants to send.
    pair.nodes[0].write_one();
    while pair.move_once() {}
    pair
}

fn steps_on_the_way(node: &Node) -> Vec<Vec<MonitorStep>> {
    let steps = node.writing.iter().map(|write| match write {
        Persisting::Update(update) => update.steps.clone(),
        Persisting::New(_) => panic!("the channel is not new"),
    });
    steps.collect()
}

#[test]
fn what_the_peer_gave_after_the_refused_commitment_goes_to_the_monitor_under_the_same_id() {
    let mut pair = crossed();
    let node = &mut pair.nodes[0];
    let before = steps_on_the_way(node);
    assert!(before.iter().flatten().any(|step| matches!(step, MonitorStep::OurCommitment { .. })));
    let first = node.disk.last.next();
    assert!(matches!(before[0].first(), Some(MonitorStep::OurCommitment { .. })), "{before:?}");
    node.on_chain = true;
    assert!(node.write_one());
    settle_down(node);
    let after = steps_on_the_way(node);
    let Some(Persisting::Update(update)) = node.writing.front() else { panic!("nothing is written") };
    assert_eq!((after.len(), update.id), (1, first));
    let kept = |step: &&MonitorStep| {
        !matches!(step, MonitorStep::OurCommitment { .. } | MonitorStep::TheirCommitment { .. })
    };
    let expected: Vec<_> = before.iter().flatten().filter(kept).collect();
    assert_eq!(after[0].iter().collect::<Vec<_>>(), expected);
    assert!(expected.iter().any(|step| matches!(step, MonitorStep::TheirRevocation { .. })));
    // Nothing is told before it is durable.
    assert!(pair.closed_event(0).is_none());
    while pair.nodes[0].write_one() {}
    settle_down(&mut pair.nodes[0]);
    check(&pair, 0, "crossed");
}

#[test]
fn a_preimage_queued_behind_the_refused_commitment_is_not_lost() {
    // An HTLC of the peer is committed; then the peer wants another, and we claim the first while its signature waits.
    let mut pair = Pair::open(PUSH);
    pair.want(3, 1, Msat::from_sat(10_000), Fate::Claim);
    pair.want(6, 1, Msat::from_sat(11_000), Fate::Claim);
    let offer = |pair: &mut Pair, name: usize| {
        let htlc = htlc(&pair.intents[name].clone(), 500);
        pair.nodes[1].with(|channel, cx| channel.offer_htlc(cx, htlc)).unwrap();
        pair.nodes[1].with(|channel, cx| channel.commit(cx)).unwrap();
    };
    offer(&mut pair, 0);
    while pair.move_once() {}
    assert_eq!(pair.nodes[0].incoming.len(), 1);
    pair.nodes[0].slow_disk = true;
    offer(&mut pair, 1);
    while pair.move_once() {}
    let node = &mut pair.nodes[0];
    let claim =
        Removal::Fulfill { preimage: preimage(3), attribution: None, claimed: Some(Msat::from_sat(10_000)) };
    node.with(|channel, cx| channel.settle(cx, HtlcId(0), claim)).unwrap();
    settle_down(node);
    assert_eq!(node.writing.len(), 2);
    assert!(node.durable_removals.is_empty() && node.notices.is_empty());
    node.on_chain = true;
    assert!(node.write_one());
    settle_down(node);
    assert!(node.durable_removals.is_empty() && node.notices.is_empty(), "not before the write");
    assert!(node.write_one());
    settle_down(node);
    assert_eq!(node.durable_removals, [HtlcId(0)]);
    assert_eq!(node.notices.len(), 1);
    assert_eq!(Watched::by(node).preimages, [*preimage(3).as_bytes()]);
    // No `update_fulfill_htlc`: the peer learns it from the chain.
    assert!(!pair.sent(0).contains(&130));
    // What is decided is not decided again; what never was committed is not there.
    let fail = |node: &mut Node, id| {
        let removal = Removal::Fail { reason: vec![1], attribution: None };
        node.with(|channel, cx| channel.settle(cx, HtlcId(id), removal))
    };
    let again = fail(&mut pair.nodes[0], 0);
    assert_eq!(again, Err(SettleError::Refused(RemovalRefused::AlreadyRemoved(HtlcId(0)))));
    assert!(fail(&mut pair.nodes[0], 1).is_err());
    check(&pair, 0, "a claim behind it");
}

#[test]
fn a_preimage_of_the_peer_that_came_behind_the_refused_commitment_is_told_once_it_is_durable() {
    for crash in [false, true] {
        let mut pair = Pair::open(PUSH);
        pair.want(1, 0, Msat::from_sat(50_000), Fate::Claim);
        while !pair.sent(1).contains(&130) {
            assert!(pair.move_once() || pair.manage());
        }
        // The peer's fulfilment is heard, and its signature is not durable.
        pair.nodes[0].slow_disk = true;
        let _nothing_to_sign = pair.nodes[1].with(|channel, cx| channel.commit(cx));
        while pair.move_once() {}
        let node = &mut pair.nodes[0];
        assert_eq!((node.notices.len(), node.writing.len()), (0, 1));
        node.on_chain = true;
        assert!(node.write_one());
        settle_down(node);
        assert!(node.write_one());
        settle_down(node);
        if crash {
            node.notices.clear();
            node.crash();
            settle_down(node);
        }
        assert_eq!(node.notices.len(), 1, "told, and told again after a restart");
        // The chain may take the HTLC back for us meanwhile: what the peer has proven stays.
        let channel = node.channel().id();
        let failed = MonitorEvent::HtlcResolved { channel, htlc: HtlcId(0), outcome: HtlcOutcome::Failed {} };
        node.slow_disk = false;
        node.with(|it, cx| it.on_monitor_event(cx, EventId(5), &failed));
        settle_down(node);
        pair.manage();
        assert_eq!(pair.outcomes.get(&(0, 1)), Some(&true));
        check(&pair, 0, "a preimage of the peer");
    }
}

#[test]
fn a_commitment_of_theirs_is_no_reason_to_step_back() {
    let mut pair = Pair::open(PUSH);
    pair.nodes[0].on_chain = true;
    pair.want(1, 0, Msat::from_sat(50_000), Fate::Claim);
    pair.manage();
    // The signature leaves: the monitor knows the commitment that it makes. The peer's answer is what is refused.
    while pair.nodes[0].refusals == 0 {
        assert!(pair.move_once());
        assert_eq!(pair.closed_event(0), None);
    }
    while pair.move_once() {}
    assert!(pair.sent(0).contains(&132) && !pair.sent(0).contains(&133));
    let htlcs: Vec<_> = pair.nodes[0].channel().outgoing().map(|(id, _)| id).collect();
    assert_eq!(htlcs, [HtlcId(0)], "it is in a commitment of theirs, and may be claimed there");
    check(&pair, 0, "theirs");
}

#[test]
fn a_channel_that_has_left_meanwhile_steps_back_too() {
    type Leave = fn(&mut Node);
    let leaves: [(Leave, CloseReason, bool); 2] = [
        (|node| assert!(node.with(|channel, cx| channel.force_close(cx))), CloseReason::ForcedByUser, true),
        (
            |node| {
                let channel = node.channel().id();
                let event = MonitorEvent::ForceClosed { channel };
                node.with(|it, cx| it.on_monitor_event(cx, EventId(3), &event));
            },
            CloseReason::HtlcDeadline,
            false,
        ),
    ];
    for (leave, reason, tells) in leaves {
        let mut pair = crossed();
        let node = &mut pair.nodes[0];
        leave(node);
        settle_down(node);
        node.on_chain = true;
        assert!(node.write_one());
        settle_down(node);
        assert!(pair.closed_event(0).is_none() && pair.nodes[0].taken.is_empty());
        while pair.nodes[0].write_one() {}
        let node = &mut pair.nodes[0];
        settle_down(node);
        assert_eq!(node.disk.steps.contains(&MonitorStep::ForceClose {}), tells);
        assert_eq!(node.taken.len(), usize::from(!tells));
        let told = node.events.iter().filter(|event| matches!(event, Event::ChannelClosed { .. })).count();
        assert_eq!((told, pair.closed_event(0)), (1, Some(&reason)));
        let watched = Watched::by(&pair.nodes[0]);
        assert!(revocations_sent(&pair.nodes[0]) <= watched.our_steps);
        let snapshot = pair.nodes[0].channel().snapshot();
        pair.crash(0);
        assert!(pair.nodes[0].channel().snapshot() == snapshot);
    }
}

#[test]
fn a_crash_before_the_step_back_is_durable_leads_to_the_same() {
    for written in [false, true] {
        let mut pair = crossed();
        pair.nodes[0].on_chain = true;
        assert!(pair.nodes[0].write_one());
        settle_down(&mut pair.nodes[0]);
        if written {
            assert!(pair.nodes[0].write_one());
        }
        pair.disconnect();
        pair.nodes[0].events.clear();
        pair.crash(0);
        pair.nodes[0].slow_disk = false;
        settle_down(&mut pair.nodes[0]);
        let phase = if written { PhaseName::Resolving } else { PhaseName::Offline };
        assert_eq!(pair.nodes[0].channel().phase(), phase);
        // The monitor repeats what nobody acknowledged.
        report_deadline(&mut pair.nodes[0]);
        check(&pair, 0, "after a crash");
    }
}

#[test]
fn a_peer_that_revokes_before_our_signature_has_left_gets_nothing_forwarded() {
    let mut pair = Pair::open(PUSH);
    pair.want(3, 1, Msat::from_sat(10_000), Fate::Claim);
    pair.manage();
    pair.nodes[0].slow_disk = true;
    while pair.move_once() {}
    assert_eq!(pair.nodes[0].writing.len(), 1, "its signature waits for the monitor, and so does ours");
    let peer = &pair.nodes[1];
    let signer = peer.keys.signer(&peer.channel().commitments().unwrap().terms().keys);
    let early = RevokeAndAck {
        channel_id: peer.channel().id(),
        per_commitment_secret: *signer.release_secret(CommitmentNumber(0)).unwrap().as_bytes(),
        next_per_commitment_point: signer.commitment_point(CommitmentNumber(2)).unwrap(),
        unknown: Default::default(),
    };
    pair.deliver(0, early.into());
    let node = &mut pair.nodes[0];
    settle_down(node);
    assert_eq!(node.channel().phase(), PhaseName::Resolving);
    node.on_chain = true;
    while node.write_one() {
        settle_down(node);
    }
    assert!(node.incoming.is_empty(), "an HTLC that no commitment of ours has");
    assert_eq!(node.channel().pending_incoming().count(), 0);
    assert!(!node.channel().is_frozen());
    assert_eq!(Watched::by(node).our_steps, 0);
}

#[test]
fn a_second_signature_before_our_revocation_has_left_only_hangs_up() {
    let mut pair = crossed();
    let signed = pair.nodes[1].log.iter().find(|message| message.type_id() == 132).cloned().unwrap();
    pair.deliver(0, signed);
    while pair.move_once() {}
    assert_eq!(pair.nodes[0].channel().phase(), PhaseName::Open);
    // The warning comes behind what was owed before it.
    while pair.nodes[0].write_one() {}
    pair.nodes[0].slow_disk = false;
    while pair.move_once() {}
    assert!(!pair.connected);
    assert_eq!(pair.nodes[0].channel().phase(), PhaseName::Offline);
    pair.connect();
    pair.run();
    assert_eq!([pair.outcomes.get(&(0, 1)), pair.outcomes.get(&(1, 3))], [Some(&true); 2]);
}

#[test]
fn any_other_refusal_freezes_the_channel_and_closes_nothing() {
    let mut pair = crossed();
    let node = &mut pair.nodes[0];
    let refused = node.disk.last.next();
    for why in [MonitorRefusal::Contradiction, MonitorRefusal::UnknownChannel] {
        node.with(|channel, cx| channel.on_refused(cx, refused, why));
    }
    // One that names an update which holds no commitment of ours is none that a monitor gives.
    node.with(|channel, cx| channel.on_refused(cx, refused.next(), MonitorRefusal::OnChain));
    let sent = node.log.len();
    settle_down(node);
    assert!(node.channel().is_frozen());
    assert_eq!((node.channel().phase(), node.log.len()), (PhaseName::Open, sent));
}
