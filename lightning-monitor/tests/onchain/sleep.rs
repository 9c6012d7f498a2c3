//! Monitors that are let go of while nothing happens (record 22): they wake when something does, and a store that cannot be read
//! delays them, but loses nothing.
use lightning_monitor::{BalanceKind, MonitorSet};
use lightning_traits::interface::{ChainListener as _, ManyChannelMonitor as _};
use lightning_traits::monitor::{MonitorRefusal, MonitorStep, Persist, SpendKind};
use lightning_traits::units::BlockHeight;

use crate::support::pair::number;
use crate::support::{BASE, Delta, FORMATS, Restart, World, adding, offered, received};

const EXPIRY: u32 = BASE + 60;

/// Two revoked commitments, and a monitor that sleeps.
fn asleep(format: lightning_traits::tx::CommitmentFormat) -> World {
    let mut world = World::new(format, Restart::Sleeping);
    let steps =
        world.pair.commit(&adding(&[offered(0, 100_000, 10, EXPIRY), received(0, 200_000, 20, EXPIRY)]));
    world.learn(steps);
    let steps = world.pair.commit(&Delta::default());
    world.learn(steps);
    assert!(world.naps >= 3, "after the first state and after each update: {}", world.naps);
    world.env.store.reads.set(0);
    world
}

#[test]
fn unrelated_blocks_wake_nobody() {
    for format in FORMATS {
        let mut world = asleep(format);
        let naps = world.naps;
        for _ in 0..40 {
            let block = world.chain.mine(vec![]);
            world.set.block_connected(&block, BlockHeight::new(world.chain.height()));
        }
        assert_eq!(world.env.store.reads.get(), 0);
        assert_eq!(world.set.rest(0), 0, "it sleeps already");
        let balances = world.set.balances();
        assert_eq!(world.env.store.reads.get(), 0);
        assert_eq!(balances, world.monitor().balances());
        assert!(matches!(balances[0].kind, BalanceKind::InChannel));
        assert_eq!(world.naps, naps);
        assert_eq!(world.set.channels(), [world.channel()]);
    }
}

/// What was used in the last blocks stays; a set that starts resting sleeps at once.
#[test]
fn only_what_was_not_used_lately_is_let_go_of() {
    let mut world = World::new(FORMATS[1], Restart::Never);
    world.mine_blocks(10);
    assert_eq!(world.set.rest(11), 0);
    let steps = world.pair.commit(&Delta::default());
    world.learn(steps);
    assert_eq!(world.set.rest(1), 0);
    world.mine_blocks(1);
    assert_eq!(world.set.rest(1), 1);
    let (stored, tip) = world.env.store.crash();
    let set = MonitorSet::restore_resting(world.env.clone(), &stored, tip).unwrap();
    assert_eq!(set.rest(0), 0);
    assert_eq!(set.monitor(world.channel()), Some(world.monitor()));
    let set = MonitorSet::restore(world.env.clone(), &stored, tip).unwrap();
    assert_eq!(set.rest(0), 1);
}

/// Nothing sleeps that waits for a receipt, that is on the chain, or that has something to tell.
#[test]
fn what_has_something_to_do_stays_awake() {
    let mut world = World::new(FORMATS[1], Restart::Never);
    let update = world.pair.commit(&Delta::default());
    let update = world.pair.update(update);
    assert!(matches!(world.set.update_channel(update), Persist::InProgress));
    assert_eq!(world.set.rest(0), 0, "the update may be lost");
    world.env.store.flush();
    assert_eq!(world.set.rest(0), 0, "the channel does not know that it is not");
    while world.set.next_receipt().is_some() {}
    assert_eq!(world.set.rest(0), 1);
    world.silent = true;
    world.mine(vec![world.pair.their_commitment(1)]);
    assert_eq!(world.set.rest(0), 0, "it is on the chain");
    world.disconnect();
    assert_eq!(world.set.rest(0), 0, "it must get there again");
}

#[test]
fn a_deadline_wakes_it_in_time() {
    for format in FORMATS {
        let mut world = asleep(format);
        let mut plain = World::new(format, Restart::Never);
        for world in [&mut world, &mut plain] {
            let htlc = offered(1, 100_000, 11, EXPIRY + 20);
            let steps = world.pair.commit(&adding(&[htlc]));
            world.learn(steps);
        }
        world.settle();
        assert_eq!(world.kinds(), [SpendKind::Ours { number: number(3) }]);
    }
}

/// Whatever happens to one that sleeps wakes it, and then it is as if it had never slept.
#[test]
fn every_kind_of_event_wakes_it() {
    type Happens = fn(&mut World);
    let out = offered(1, 100_000, 11, EXPIRY + 20);
    let events: [(&str, Happens); 10] = [
        ("an update", |world| {
            let steps = world.pair.commit(&adding(&[received(9, 50_000, 9, EXPIRY + 40)]));
            world.learn(steps);
        }),
        ("an update that teaches nothing", |world| world.learn(vec![])),
        ("a preimage", |world| world.learn_preimage(&received(2, 90_000, 12, EXPIRY + 30))),
        ("a shutdown", |world| world.learn(vec![MonitorStep::ShutdownStarted {}])),
        ("a force-close", |world| world.learn(vec![MonitorStep::ForceClose {}])),
        ("data loss", |world| {
            let point = world.pair.them.point(number(77));
            world.learn(vec![MonitorStep::DataLoss { point }]);
        }),
        ("a breach", |world| world.mine(vec![world.pair.their_commitment(1)])),
        ("their commitment", |world| world.mine(vec![world.pair.their_commitment(2)])),
        ("our commitment", |world| world.mine(vec![world.pair.our_commitment()])),
        ("a deadline", |world| world.mine_to(EXPIRY + 23)),
    ];
    for format in FORMATS {
        for (name, happens) in events {
            let open = || {
                let mut world = World::new(format, Restart::Never);
                let steps = world.pair.commit(&adding(&[out, received(2, 90_000, 12, EXPIRY + 30)]));
                world.learn(steps);
                let steps = world.pair.commit(&Delta::default());
                world.learn(steps);
                world
            };
            let (mut world, mut plain) = (open(), open());
            assert_eq!((world.set.rest(0), world.set.asleep()), (1, 1), "{name}");
            happens(&mut world);
            happens(&mut plain);
            assert_eq!(world.set.asleep(), 0, "{name}");
            assert_eq!(world.monitor(), plain.monitor(), "{name}");
            assert_eq!((&world.mempool, &world.events), (&plain.mempool, &plain.events), "{name}");
        }
    }
}

/// What is only asked for, and blocks that are taken back, wake nobody; who asks for the same channel again is answered.
#[test]
fn questions_wake_nobody() {
    for format in FORMATS {
        let mut world = World::new(format, Restart::Never);
        let steps = world.pair.commit(&adding(&[offered(1, 100_000, 11, EXPIRY + 20)]));
        world.learn(steps);
        world.mine_blocks(3);
        let (channel, balances) = (world.channel(), world.set.balances());
        assert_eq!(world.set.rest(0), 1);
        let reads = world.env.store.reads.get();
        assert!(world.set.has(channel) && world.set.closed_by(channel).is_none());
        assert_eq!((world.set.channels(), world.set.balances()), (vec![channel], balances));
        assert_eq!(world.set.contested(), []);
        world.set.rebroadcast();
        world.set.unconfirmed_seen(&world.pair.their_commitment(1));
        for _ in 0..2 {
            let block = world.chain.mine(vec![]);
            world.set.block_connected(&block, BlockHeight::new(world.chain.height()));
        }
        for _ in 0..3 {
            let (block, height) = world.chain.disconnect();
            world.set.block_disconnected(&block.header, BlockHeight::new(height));
        }
        assert_eq!((world.env.store.reads.get(), world.set.asleep()), (reads, 1));
        assert!(matches!(world.set.add_channel(world.pair.new_monitor()), Persist::Durable(_)));
        assert_eq!((world.env.store.reads.get(), world.set.asleep()), (reads + 1, 0), "it may be another");
    }
}

/// The store cannot be read when the breach confirms, nor for some blocks after; what was spent meanwhile counts once it can.
#[test]
fn a_breach_waits_for_a_store_that_cannot_be_read_and_no_tip_passes_it() {
    for format in FORMATS {
        for crash in [false, true] {
            let mut world = asleep(format);
            let tip = world.env.store.crash().1;
            world.env.store.unreadable.set(true);
            let breach = world.pair.their_commitment(1);
            for transactions in [vec![breach], vec![], vec![]] {
                let block = world.chain.mine(transactions);
                world.set.block_connected(&block, BlockHeight::new(world.chain.height()));
                world.env.store.flush();
                assert!(world.env.broadcasts.0.borrow().is_empty());
                assert_eq!(world.env.store.crash().1, tip, "those blocks must come again");
                assert!(!world.env.log.0.take().is_empty(), "somebody must know");
            }
            world.env.store.unreadable.set(false);
            if crash {
                world.crash();
            }
            world.mine(vec![]);
            assert_ne!(world.env.store.crash().1, tip);
            assert_eq!(world.kinds(), [SpendKind::Revoked { number: number(1) }]);
            world.settle();
            let anchors = if format == FORMATS[1] { 2 * 330 } else { 0 };
            let (params, _, commitment) = world.pair.built_theirs(1);
            let value: u64 = commitment.tx.output.iter().map(|output| output.value.to_sat()).sum();
            assert_eq!(world.swept(), value - anchors, "{params:?}");
        }
    }
}

/// The breach is taken back while nobody could look at it.
#[test]
fn a_spend_that_was_undone_before_it_was_looked_at_never_was() {
    for format in FORMATS {
        let mut world = asleep(format);
        world.env.store.unreadable.set(true);
        let before = world.set.balances();
        let block = world.chain.mine(vec![world.pair.their_commitment(1)]);
        world.set.block_connected(&block, BlockHeight::new(world.chain.height()));
        let (block, height) = world.chain.disconnect();
        world.set.block_disconnected(&block.header, BlockHeight::new(height));
        world.env.store.unreadable.set(false);
        world.mine_blocks(3);
        assert_eq!(world.kinds(), []);
        assert_eq!(world.set.balances(), before);
        let tip = world.env.store.crash().1;
        assert_eq!(tip, Some((world.chain.tip_hash(), BlockHeight::new(world.chain.height()))));
    }
}

/// Updates wait too, in order; repeating them changes nothing, and what is known is answered.
#[test]
fn updates_wait_for_a_store_that_cannot_be_read() {
    let mut world = asleep(FORMATS[1]);
    world.env.store.unreadable.set(true);
    let steps = [world.pair.commit(&Delta::default()), world.pair.commit(&Delta::default())];
    let updates = steps.map(|steps| world.pair.update(steps));
    for update in updates.iter().chain(&updates) {
        assert!(matches!(world.set.update_channel(update.clone()), Persist::InProgress));
    }
    let mut known = updates[0].clone();
    known.id = lightning_traits::id::UpdateId(1);
    assert!(matches!(world.set.update_channel(known), Persist::Durable(_)));
    assert!(matches!(world.set.add_channel(world.pair.new_monitor()), Persist::InProgress));
    world.env.store.flush();
    assert_eq!(world.set.next_receipt(), None);
    world.env.store.unreadable.set(false);
    world.set.rebroadcast();
    world.env.store.flush();
    assert_eq!(world.set.next_receipt(), Some(updates[0].receipt()));
    assert_eq!(world.set.next_receipt(), Some(updates[1].receipt()));
    assert_eq!(world.set.next_refusal(), None);
    assert_eq!(world.monitor().last_update(), updates[1].id);
}

/// Behind the breach that nobody could look at, our next commitment is not taken; the channel hears it late, and what it sent
/// before it heard is dropped.
#[test]
fn what_does_not_fit_once_it_can_be_read_is_refused_late() {
    let mut world = asleep(FORMATS[1]);
    let close = world.pair.update(vec![MonitorStep::ForceClose {}]);
    let mut next = |steps| world.pair.update(steps);
    let refused = next(vec![]);
    let (refused, behind) = {
        let step = world.pair.sign_ours(&Delta::default());
        let refused = lightning_traits::monitor::ChannelMonitorUpdate { steps: vec![step], ..refused };
        (refused, world.pair.update(vec![MonitorStep::ShutdownStarted {}]))
    };
    world.env.store.unreadable.set(true);
    for update in [&close, &refused, &behind] {
        assert!(matches!(world.set.update_channel(update.clone()), Persist::InProgress));
    }
    world.env.store.unreadable.set(false);
    world.set.rebroadcast();
    assert!(matches!(world.set.update_channel(behind.clone()), Persist::InProgress), "not told yet");
    let refusal = world.set.next_refusal().unwrap();
    assert_eq!((refusal.channel, refusal.id), (world.channel(), refused.id));
    assert_eq!(refusal.why, MonitorRefusal::OnChain);
    assert_eq!(world.set.next_refusal(), None);
    world.env.store.flush();
    assert_eq!(world.set.next_receipt(), Some(close.receipt()));
    assert_eq!(world.set.next_receipt(), None);
    assert_eq!(world.monitor().last_update(), close.id);
    // The id is free again.
    let again = lightning_traits::monitor::ChannelMonitorUpdate { id: refused.id, ..behind };
    assert!(matches!(world.set.update_channel(again), Persist::InProgress));
    assert_eq!(world.monitor().last_update(), refused.id);
}
