//! When the monitor goes to the chain by itself, and how it keeps what is on the way there from being revoked.
use lightning_traits::interface::{ChainListener as _, ManyChannelMonitor as _};
use lightning_traits::monitor::{
    ChannelMonitorUpdate, MonitorEvent, MonitorRefusal, MonitorStep, Persist, SpendKind,
};
use lightning_traits::tx::CommitmentFormat;
use lightning_traits::units::BlockHeight;

use crate::support::pair::number;
use crate::support::{
    BASE, Delta, FORMATS, Htlc, RESTARTS, Restart, World, adding, offered, received, side::Side,
};

const EXPIRY: u32 = BASE + 60;

fn force_closed(world: &World) -> usize {
    world.events.iter().filter(|event| matches!(event, MonitorEvent::ForceClosed { .. })).count()
}

/// Mines to the first height at which our commitment is broadcast.
fn closes_at(world: &mut World) -> Option<u32> {
    world.censored = true;
    while world.chain.height() < EXPIRY + 50 {
        world.mine(vec![]);
        if !world.mempool.is_empty() {
            assert_eq!(force_closed(world), 1);
            return Some(world.chain.height());
        }
    }
    assert_eq!(force_closed(world), 0);
    None
}

#[test]
fn an_htlc_we_offered_closes_the_channel_three_blocks_after_its_expiry() {
    for format in FORMATS {
        for restart in RESTARTS {
            let mut world = World::new(format, restart);
            let steps = world.pair.commit(&adding(&[offered(0, 100_000, 10, EXPIRY)]));
            world.learn(steps);
            assert_eq!(closes_at(&mut world), Some(EXPIRY + 3));
        }
    }
}

#[test]
fn an_htlc_with_a_known_preimage_closes_the_channel_18_blocks_before_its_expiry() {
    for format in FORMATS {
        for restart in RESTARTS {
            let mut world = World::new(format, restart);
            let htlc = received(0, 100_000, 10, EXPIRY);
            let steps = world.pair.commit(&adding(&[htlc]));
            world.learn(steps);
            world.learn_preimage(&htlc);
            assert_eq!(closes_at(&mut world), Some(EXPIRY - 18));
        }
    }
}

#[test]
fn an_htlc_with_an_unknown_preimage_closes_nothing() {
    let mut world = World::new(CommitmentFormat::StaticRemoteKey, Restart::Never);
    let steps = world.pair.commit(&adding(&[received(0, 100_000, 10, EXPIRY)]));
    world.learn(steps);
    assert_eq!(closes_at(&mut world), None);
}

/// A preimage that comes late closes at once.
#[test]
fn a_preimage_that_comes_after_the_deadline_closes_at_once() {
    for format in FORMATS {
        let mut world = World::new(format, Restart::Never);
        let htlc = received(0, 100_000, 10, EXPIRY);
        let steps = world.pair.commit(&adding(&[htlc]));
        world.learn(steps);
        world.mine_to(EXPIRY - 10);
        assert!(world.mempool.is_empty());
        world.learn_preimage(&htlc);
        assert_eq!((world.commitments_out(), force_closed(&world)), (1, 1));
        world.settle();
        assert_eq!(world.kinds(), [SpendKind::Ours { number: number(1) }]);
        assert!(world.sorted_outcomes().is_empty());
    }
}

/// An HTLC counts in whichever commitment may confirm: only theirs, only their next, only ours.
#[test]
fn an_htlc_in_one_valid_commitment_is_enough() {
    let htlc = offered(0, 100_000, 10, EXPIRY);
    type Learn = fn(&mut World, Htlc);
    let states: [Learn; 3] = [
        |world, htlc| {
            let step = world.pair.sign_theirs(&adding(&[htlc]));
            world.learn(vec![step]);
        },
        |world, htlc| {
            let steps = vec![world.pair.sign_theirs(&adding(&[htlc])), world.pair.revoke_theirs()];
            world.learn(steps);
        },
        |world, htlc| {
            let mut steps = world.pair.commit(&adding(&[htlc]));
            let gone = Delta { fail: vec![htlc], ..Delta::default() };
            steps.extend([world.pair.sign_theirs(&gone), world.pair.revoke_theirs()]);
            world.learn(steps);
        },
    ];
    for state in states {
        let mut world = World::new(CommitmentFormat::AnchorsZeroFeeHtlc, Restart::Never);
        state(&mut world, htlc);
        assert_eq!(closes_at(&mut world), Some(EXPIRY + 3));
    }
}

#[test]
fn an_htlc_that_is_gone_everywhere_closes_nothing() {
    let mut world = World::new(CommitmentFormat::StaticRemoteKey, Restart::Never);
    let htlcs = [offered(0, 100_000, 10, EXPIRY), received(0, 100_000, 11, EXPIRY)];
    let mut steps = world.pair.commit(&adding(&htlcs));
    steps.push(MonitorStep::Preimage { preimage: htlcs[1].preimage() });
    steps.extend(world.pair.commit(&Delta { fail: htlcs.to_vec(), ..Delta::default() }));
    world.learn(steps);
    assert_eq!(closes_at(&mut world), None);
}

/// The commitment goes out only once the request for it survives a crash.
#[test]
fn a_force_close_is_broadcast_only_after_its_receipt() {
    for format in FORMATS {
        let mut world = World::new(format, Restart::Never);
        world.disk = false;
        world.learn(vec![MonitorStep::ForceClose {}]);
        world.mine_blocks(2);
        world.set.rebroadcast();
        world.after();
        assert!(world.mempool.is_empty(), "neither a block nor a request lets it out earlier");
        world.disk = true;
        world.after();
        assert_eq!(world.mempool.len(), 1, "the receipt does");

        // And if it is lost instead, the channel goes on as before.
        let mut world = World::new(format, Restart::Never);
        world.disk = false;
        let update = world.pair.clone().update(vec![MonitorStep::ForceClose {}]);
        assert!(matches!(world.set.update_channel(update), Persist::InProgress));
        world.crash();
        world.disk = true;
        world.mine_blocks(2);
        assert!(world.mempool.is_empty());
        let steps = world.pair.commit(&Delta::default());
        world.learn(steps);
    }
}

/// The same for a deadline: a commitment or preimage that a crash could take back is not bet on. Claims of what is on
/// chain do not wait for a disk.
#[test]
fn a_deadline_waits_for_the_disk_and_penalties_do_not() {
    for format in FORMATS {
        let mut world = World::new(format, Restart::Never);
        let htlc = received(0, 100_000, 10, EXPIRY);
        let steps = world.pair.commit(&adding(&[htlc]));
        world.learn(steps);
        world.disk = false;
        world.learn_preimage(&htlc);
        world.mine_to(EXPIRY - 10);
        assert_eq!((world.mempool.len(), force_closed(&world)), (0, 1));
        world.disk = true;
        world.after();
        assert_eq!(world.commitments_out(), 1);

        let mut world = World::new(format, Restart::Never);
        let steps = world.pair.commit(&Delta::default());
        world.learn(steps);
        world.disk = false;
        world.learn(vec![MonitorStep::ShutdownStarted {}]);
        world.mine(vec![world.pair.their_commitment(0)]);
        assert_eq!(world.mempool.len(), 2, "both balances are claimed with a broken disk");
    }
}

/// What a crash could take back is not shown to the world: the channel would not remember that it claimed. But no HTLC is lost to
/// a broken disk.
#[test]
fn a_preimage_is_shown_once_it_is_durable_or_at_the_last_chance() {
    for (format, own, heals) in FORMATS.into_iter().flat_map(|format| {
        [(true, true), (true, false), (false, true), (false, false)].map(|(own, heals)| (format, own, heals))
    }) {
        let mut world = World::new(format, Restart::Never);
        let htlc = received(0, 100_000, 10, EXPIRY);
        let steps = world.pair.commit(&adding(&[htlc]));
        world.learn(steps);
        if own {
            world.learn(vec![MonitorStep::ForceClose {}]);
            world.mine(vec![]);
        } else {
            world.mine(vec![world.pair.their_commitment(1)]);
        }
        world.disk = false;
        world.learn_preimage(&htlc);
        let is_shown = |world: &World| {
            let mut items =
                world.mempool.values().flat_map(|claim| &claim.input).flat_map(|input| &input.witness);
            items.any(|item| item == htlc.preimage().as_bytes())
        };
        world.mine_blocks(2);
        world.set.rebroadcast();
        world.after();
        assert!(!is_shown(&world), "{format:?} {own}");
        if heals {
            world.disk = true;
            world.after();
            assert!(is_shown(&world), "{format:?} {own}: the receipt lets it out");
        } else {
            world.censored = true;
            world.mine_to(EXPIRY - 13);
            assert!(!is_shown(&world), "{format:?} {own}");
            world.mine(vec![]);
            assert!(is_shown(&world), "{format:?} {own}: not lost to a broken disk");
        }
    }
}

/// Receipts in any order: the last one is not all of them.
#[test]
fn a_receipt_counts_for_its_own_update_only() {
    let mut world = World::new(CommitmentFormat::StaticRemoteKey, Restart::Never);
    world.disk = false;
    let first = world.pair.update(vec![MonitorStep::ShutdownStarted {}]);
    let second = world.pair.update(vec![MonitorStep::ForceClose {}]);
    assert!(matches!(world.set.update_channel(first.clone()), Persist::InProgress));
    assert!(matches!(world.set.update_channel(second.clone()), Persist::InProgress));
    world.env.store.flush_backwards();
    let receipt = world.set.next_receipt().unwrap();
    assert_eq!(receipt.id(), second.id);
    assert!(world.env.broadcasts.0.borrow().is_empty());
    assert!(matches!(world.set.update_channel(first.clone()), Persist::InProgress));
    assert!(matches!(world.set.update_channel(second), Persist::Durable(_)));
    let receipt = world.set.next_receipt().unwrap();
    assert_eq!(receipt.id(), first.id);
    assert_eq!(world.env.broadcasts.0.borrow().len(), 1);
    assert!(matches!(world.set.update_channel(first), Persist::Durable(_)));
}

/// A refused update leaves the monitor as it was, and its id free.
#[track_caller]
fn refused(world: &mut World, steps: Vec<MonitorStep>, expected: MonitorRefusal) {
    let before = world.monitor();
    let written = world.env.store.written();
    let last = world.pair.last_update;
    let update = world.pair.update(steps);
    world.pair.last_update = last;
    assert_eq!(world.set.update_channel(update), Persist::Refused(expected));
    assert_eq!(world.monitor(), before);
    assert_eq!(world.env.store.written(), written, "nothing is written");
}

#[test]
fn a_new_commitment_of_ours_is_refused_once_one_is_out() {
    for format in FORMATS {
        for own in [true, false] {
            let mut world = World::new(format, Restart::Never);
            let htlc = offered(0, 100_000, 10, EXPIRY);
            let steps = world.pair.commit(&adding(&[htlc]));
            world.learn(steps);
            world.censored = true;
            if own {
                world.mine_to(EXPIRY + 3);
            } else {
                world.learn(vec![MonitorStep::ForceClose {}]);
            }
            let kept = world.pair.clone();
            let next = world.pair.sign_ours(&Delta { fail: vec![htlc], ..Delta::default() });
            let preimage = MonitorStep::Preimage { preimage: htlc.preimage() };
            refused(&mut world, vec![preimage, next], MonitorRefusal::OnChain);
            // Its id is free; all else is still learnt.
            world.pair = kept;
            let steps = vec![world.pair.sign_theirs(&Delta::default()), world.pair.revoke_theirs()];
            world.learn(steps);
        }
    }
}

#[test]
fn gaps_are_refused_and_repetitions_are_fine() {
    let mut world = World::new(CommitmentFormat::StaticRemoteKey, Restart::Never);
    let first = world.pair.update(vec![MonitorStep::ShutdownStarted {}]);
    let second = world.pair.update(vec![]);
    let before = world.monitor();
    let gap = MonitorRefusal::OutOfOrder { expected: first.id, got: second.id };
    assert_eq!(world.set.update_channel(second.clone()), Persist::Refused(gap));
    assert_eq!(world.monitor(), before);
    assert!(matches!(world.set.update_channel(first.clone()), Persist::InProgress));
    assert!(matches!(world.set.update_channel(second.clone()), Persist::InProgress));
    assert!(matches!(world.set.update_channel(first.clone()), Persist::InProgress), "no receipt yet");
    world.after();
    let before = world.monitor();
    for update in [first, second] {
        assert_eq!(world.set.update_channel(update.clone()), Persist::Durable(update.receipt()));
    }
    assert_eq!(world.monitor(), before);
    let unknown = ChannelMonitorUpdate {
        channel: lightning_traits::id::ChannelId([9; 32]),
        ..world.pair.update(vec![])
    };
    assert_eq!(world.set.update_channel(unknown), Persist::Refused(MonitorRefusal::UnknownChannel));
}

#[test]
fn contradictory_steps_are_refused_whole() {
    let mut world = World::new(CommitmentFormat::AnchorsZeroFeeHtlc, Restart::Never);
    let htlc = offered(0, 100_000, 10, EXPIRY);
    let steps = world.pair.commit(&adding(&[htlc]));
    world.learn(steps);
    let good = world.pair.clone().sign_theirs(&Delta::default());
    let contradiction = MonitorRefusal::Contradiction;
    let mut bad: Vec<MonitorStep> = Vec::new();
    // Theirs: wrong number, an HTLC that is not there, one that is there already, money out of nothing.
    let MonitorStep::TheirCommitment { change, point } = good.clone() else { panic!() };
    let theirs = |edit: fn(&mut lightning_traits::monitor::CommitmentChange)| {
        let mut change = change.clone();
        edit(&mut change);
        MonitorStep::TheirCommitment { change, point }
    };
    bad.push(theirs(|change| change.number = number(1)));
    bad.push(theirs(|change| change.number = number(3)));
    bad.push(theirs(|change| {
        change.removed = vec![(lightning_traits::tx::TxSide::Broadcaster, lightning_traits::id::HtlcId(0))];
    }));
    bad.push(theirs(|change| {
        change.added =
            vec![offered(0, 100_000, 10, EXPIRY).seen_by(lightning_traits::tx::TxSide::Countersigner)];
    }));
    bad.push(theirs(|change| change.to_broadcaster = lightning_traits::units::Msat::from_sat(1)));
    // Ours: wrong number, a signature too few, money out of nothing.
    let MonitorStep::OurCommitment { change, signature, htlc_signatures } =
        world.pair.clone().sign_ours(&Delta::default())
    else {
        panic!()
    };
    let ours = |edit: fn(&mut lightning_traits::monitor::CommitmentChange), signatures: usize| {
        let mut change = change.clone();
        edit(&mut change);
        let htlc_signatures = htlc_signatures[..signatures].to_vec();
        MonitorStep::OurCommitment { change, signature, htlc_signatures }
    };
    bad.push(ours(|change| change.number = number(1), 1));
    bad.push(ours(|change| change.number = number(3), 1));
    bad.push(ours(|_| {}, 0));
    bad.push(ours(|change| change.to_broadcaster = lightning_traits::units::Msat::from_sat(1), 1));
    // Revocations: of nothing that may be revoked, of the wrong number, with a foreign secret.
    let secret = |index| Side::new(b"p\x01").seed.secret(number(index)).unwrap();
    bad.push(MonitorStep::TheirRevocation { number: number(1), secret: secret(1) });
    bad.push(MonitorStep::TheirRevocation { number: number(0), secret: secret(0) });
    for step in bad {
        refused(&mut world, vec![step.clone()], contradiction);
        // Behind steps that are fine, it takes them back.
        let shutdown = MonitorStep::ShutdownStarted {};
        let preimage = MonitorStep::Preimage { preimage: htlc.preimage() };
        refused(&mut world, vec![shutdown, preimage, step], contradiction);
    }
    let wrong = MonitorStep::TheirRevocation { number: number(1), secret: secret(2) };
    let moved = world.pair.clone().sign_theirs(&Delta { fail: vec![htlc], ..Delta::default() });
    refused(&mut world, vec![moved, wrong.clone()], contradiction);
    refused(&mut world, vec![good.clone(), wrong], contradiction);
    refused(&mut world, vec![good.clone(), good.clone()], contradiction);
    world.learn(vec![good]);
}

#[test]
fn the_same_channel_may_be_added_again_and_another_on_its_funding_may_not() {
    let world = World::new(CommitmentFormat::StaticRemoteKey, Restart::Never);
    let new = world.pair.new_monitor();
    assert_eq!(world.set.add_channel(new.clone()), Persist::Durable(new.receipt()));
    let mut other = new.clone();
    other.init.destination = bitcoin::ScriptBuf::new();
    assert_eq!(world.set.add_channel(other.clone()), Persist::Refused(MonitorRefusal::Duplicate));
    other.init.channel = lightning_traits::id::ChannelId([9; 32]);
    assert_eq!(world.set.add_channel(other), Persist::Refused(MonitorRefusal::Duplicate));
    assert_eq!(world.set.channels(), [world.channel()]);
    assert_eq!(world.set.best_block().map(|(_, height)| height), Some(BlockHeight::new(BASE)));
}
