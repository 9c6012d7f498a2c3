//! The set: what it watches, what a block costs, what it writes, what it restores.
use bitcoin::{OutPoint, ScriptBuf, Sequence, Transaction, TxIn, Txid, Witness, hashes::Hash as _};
use lightning_monitor::{MonitorSet, RestoreError};
use lightning_traits::id::UpdateId;
use lightning_traits::interface::{ChainListener as _, ManyChannelMonitor as _};
use lightning_traits::monitor::{MonitorEvent, MonitorStep, Persist};
use lightning_traits::tx::CommitmentFormat;
use lightning_traits::units::BlockHeight;

use crate::support::world::Env;
use crate::support::{BASE, Delta, FORMATS, Pair, Restart, World, adding, offered, received};

const EXPIRY: u32 = BASE + 60;

/// What must not be missed is watched under the script that its output has, before it can be spent.
#[test]
fn every_output_is_watched_by_its_own_script() {
    for format in FORMATS {
        for theirs in [true, false] {
            let mut world = World::new(format, Restart::Never);
            let htlcs = [offered(0, 100_000, 10, EXPIRY), received(0, 200_000, 20, EXPIRY)];
            let steps = world.pair.commit(&adding(&htlcs));
            world.learn(steps);
            world.learn_preimage(&htlcs[1]);
            if theirs {
                world.mine(vec![world.pair.their_commitment(1)]);
            } else {
                world.learn(vec![MonitorStep::ForceClose {}]);
                world.mine(vec![]);
            }
            world.mine_blocks(3);
            let created = world.chain.blocks.iter().flat_map(|mined| &mined.block.txdata);
            let mut outputs = std::collections::BTreeMap::new();
            let funding = world.pair.init.funding;
            outputs.insert(funding.outpoint, funding.txout().script_pubkey);
            for tx in created {
                let txid = tx.compute_txid();
                for (vout, output) in (0..).zip(&tx.output) {
                    outputs.insert(OutPoint { txid, vout }, output.script_pubkey.clone());
                }
            }
            let check = |world: &World| {
                let watched = world.env.watch.0.borrow();
                for (outpoint, script) in watched.iter() {
                    assert_eq!(outputs.get(outpoint), Some(script), "{outpoint}");
                }
                watched.len()
            };
            let before = check(&world);
            assert!(before >= 4, "funding, balance and both HTLCs: {before}");
            world.env.watch.0.borrow_mut().clear();
            world.crash();
            assert_eq!(check(&world), before, "the same after a restart");
        }
    }
}

/// A block of unrelated transactions asks nothing of any channel (I13).
#[test]
fn an_unrelated_block_does_not_look_at_channels() {
    let env = Env::new();
    let set = MonitorSet::new(env.clone());
    for index in 1..=200 {
        let pair = Pair::new(CommitmentFormat::AnchorsZeroFeeHtlc, index, true);
        assert!(matches!(set.add_channel(pair.new_monitor()), Persist::InProgress));
    }
    env.store.flush();
    while set.next_receipt().is_some() {}
    let unrelated = |index: u32| Transaction {
        version: bitcoin::transaction::Version::TWO,
        lock_time: bitcoin::absolute::LockTime::ZERO,
        input: vec![TxIn {
            previous_output: OutPoint { txid: Txid::from_byte_array([0xee; 32]), vout: index },
            script_sig: ScriptBuf::new(),
            sequence: Sequence::MAX,
            witness: Witness::new(),
        }],
        output: vec![],
    };
    let empty = crate::support::chain::Chain::default().mine(vec![]);
    let block = bitcoin::Block { txdata: (0..3_000).map(unrelated).collect(), ..empty };
    let (asked, written) = (env.keys.asked.get(), env.store.written());
    set.block_connected(&block, BlockHeight::new(BASE));
    assert_eq!(env.keys.asked.get(), asked, "no signer is asked for");
    assert_eq!(env.store.written(), written, "no channel is written");
    set.rebroadcast();
    assert_eq!(env.keys.asked.get(), asked, "nothing waits for a confirmation");
}

/// One channel's close costs one channel.
#[test]
fn a_close_concerns_its_own_channel_only() {
    let mut world = World::new(CommitmentFormat::StaticRemoteKey, Restart::Never);
    for index in 2..=100 {
        let pair = Pair::new(CommitmentFormat::StaticRemoteKey, index, true);
        assert!(matches!(world.set.add_channel(pair.new_monitor()), Persist::InProgress));
    }
    world.after();
    let asked = world.env.keys.asked.get();
    world.mine(vec![world.pair.their_commitment(0)]);
    world.mine_blocks(9);
    assert!(world.env.keys.asked.get() - asked <= 2 * 11, "{}", world.env.keys.asked.get() - asked);
    assert_eq!(world.resolved_events(), 1);
    assert_eq!(world.set.channels().len(), 100);
}

/// What is written for an update does not grow with the payments of the past (I13).
#[test]
fn bytes_written_do_not_grow_with_past_payments() {
    let mut world = World::new(CommitmentFormat::AnchorsZeroFeeHtlc, Restart::Never);
    let mut bytes = Vec::new();
    for round in 0..400_u64 {
        let htlc = offered(round, 10_000, round as u8, EXPIRY);
        let mut steps = world.pair.commit(&adding(&[htlc]));
        steps.extend(world.pair.commit(&Delta { fail: vec![htlc], ..Delta::default() }));
        for step in steps {
            world.learn(vec![step]);
        }
        bytes.push(world.env.store.bytes());
    }
    let (early, late) = (bytes[199], bytes[399] - bytes[199]);
    assert!(late < early * 3 / 2, "{early} then {late}");
    // A restart has to read as much as one snapshot and the updates since, and comes to the same state.
    let before = world.monitor();
    world.crash();
    assert_eq!(world.monitor(), before);
}

/// Events stay until they are acknowledged, over restarts, and keep their ids; only then the channel is archived.
#[test]
fn d29_events_are_repeated_until_acknowledged() {
    let mut world = World::new(CommitmentFormat::StaticRemoteKey, Restart::Never);
    let steps = world.pair.commit(&adding(&[offered(0, 100_000, 10, EXPIRY)]));
    world.learn(steps);
    let close = world.pair.their_commitment(1);
    let block = world.chain.mine(vec![close]);
    world.set.block_connected(&block, BlockHeight::new(world.chain.height()));
    for _ in 0..200 {
        let sent = world.env.broadcasts.0.take();
        let mut sent: Vec<Transaction> =
            sent.into_iter().filter(|tx| world.chain.check(tx).is_ok()).collect();
        sent.dedup();
        let block = world.chain.mine(sent);
        world.set.block_connected(&block, BlockHeight::new(world.chain.height()));
    }
    let all = |world: &World| {
        let mut events = Vec::new();
        let mut after = None;
        while let Some((id, event)) = world.set.next_monitor_event(after) {
            events.push((id, event));
            after = Some(id);
        }
        events
    };
    let before = all(&world);
    assert_eq!(before.len(), 3, "spent, failed, resolved");
    assert!(matches!(before[2].1, MonitorEvent::Resolved { .. }));
    world.env.store.flush();
    world.crash();
    assert_eq!(world.events.len(), 3, "the crash hands them out, and they are acknowledged");
    assert!(all(&world).is_empty());
    world.env.store.flush();
    assert_eq!(world.env.store.archived(), [world.channel()], "everything is told and deep");
    world.crash();
    assert!(world.set.channels().is_empty());
}

/// A store that lost a part is no base to sign on.
#[test]
fn a_damaged_store_is_refused() {
    let mut world = World::new(CommitmentFormat::StaticRemoteKey, Restart::Never);
    for _ in 0..5 {
        let steps = world.pair.commit(&Delta::default());
        world.learn(steps);
    }
    world.env.store.flush();
    let (stored, tip) = world.env.store.crash();
    let restore = |edit: fn(&mut lightning_traits::monitor::StoredChannels)| {
        let mut stored = stored.clone();
        edit(&mut stored);
        MonitorSet::restore(world.env.clone(), &stored, tip).map(|set| set.channels().len())
    };
    assert_eq!(restore(|_| {}).unwrap(), 1);
    let inconsistent = |result| matches!(result, Err(RestoreError::Inconsistent { .. }));
    assert!(inconsistent(restore(|stored| drop(stored[0].1.updates.pop()))));
    assert!(inconsistent(restore(|stored| drop(stored[0].1.updates.remove(1)))));
    assert!(inconsistent(restore(|stored| stored[0].1.last_update = UpdateId(9))));
    assert!(inconsistent(restore(|stored| stored.push(stored[0].clone()))));
    let damaged = |result| matches!(result, Err(RestoreError::Damaged { .. }));
    assert!(damaged(restore(|stored| stored[0].1.new.truncate(40))));
    assert!(damaged(restore(|stored| stored[0].1.updates[0].truncate(40))));
    assert!(damaged(restore(|stored| stored[0].1.monitor = Some(vec![1, 2, 3]))));
}

/// What goes with an update is written with it: after a crash in between, the report that we went to the chain is there.
#[test]
fn a_report_that_an_update_causes_is_written_with_it() {
    for format in FORMATS {
        let mut world = World::new(format, Restart::Never);
        let htlc = received(0, 100_000, 10, EXPIRY);
        let steps = world.pair.commit(&adding(&[htlc]));
        world.learn(steps);
        world.mine_to(EXPIRY - 5);
        let update = world.pair.update(vec![MonitorStep::Preimage { preimage: htlc.preimage() }]);
        assert!(matches!(world.set.update_channel(update), Persist::InProgress));
        world.env.store.flush_first();
        world.crash();
        world.after();
        assert!(world.events.iter().any(|event| matches!(event, MonitorEvent::ForceClosed { .. })));
        assert_eq!(world.commitments_out(), 1);
    }
}

/// Balances say what is still to come, and are empty at the end.
#[test]
fn balances_add_up_until_all_is_swept() {
    for format in FORMATS {
        let mut world = World::new(format, Restart::Never);
        let htlcs = [offered(0, 100_000, 10, EXPIRY), received(0, 200_000, 20, EXPIRY)];
        let steps = world.pair.commit(&adding(&htlcs));
        world.learn(steps);
        world.learn_preimage(&htlcs[1]);
        let total = |world: &World| -> u64 {
            world.set.balances().iter().map(|balance| balance.amount.to_sat()).sum()
        };
        assert_eq!(total(&world), 4_900_000);
        world.mine(vec![world.pair.their_commitment(1)]);
        let (_, _, commitment) = world.pair.built_theirs(1);
        let balance = commitment.tx.output[commitment.to_countersigner.unwrap() as usize].value.to_sat();
        assert_eq!(total(&world), balance + 300_000);
        world.settle();
        assert_eq!(total(&world), 0);
    }
}

/// Crashes before and after every write in which updates give way to a snapshot, and parts of the past to others: what is read is the
/// monitor as of the last update that was written, and it goes on from there (RELIABILITY J5).
#[test]
fn j05_a_crash_at_any_write_of_a_compaction_loses_nothing_that_was_written() {
    const PAYMENTS: u64 = 220;
    let mut world = World::new(CommitmentFormat::AnchorsZeroFeeHtlc, Restart::Never);
    world.disk = false;
    let mut states = vec![world.monitor()];
    for id in 0..PAYMENTS {
        let htlc = received(id, 20_000, 20, EXPIRY + 1_000);
        let add = world.pair.commit(&adding(&[htlc]));
        let remove = world.pair.commit(&Delta { fail: vec![htlc], ..Delta::default() });
        for steps in [add, remove] {
            world.learn(steps);
            states.push(world.monitor());
        }
    }
    let (mut snapshots, mut parts, mut before) = (0, 0, None);
    for (written, state) in states.iter().enumerate() {
        if written > 0 {
            world.env.store.flush_first();
        }
        let (stored, tip) = world.env.store.stored();
        let env = Env { store: Default::default(), ..world.env.clone() };
        let set = MonitorSet::restore(env, &stored, tip).expect("restores");
        assert_eq!(set.monitor(world.channel()).as_ref(), Some(state), "after {written} updates");
        let stored = &stored[0].1;
        snapshots += usize::from(stored.monitor != before);
        before.clone_from(&stored.monitor);
        assert!(stored.past.len() >= parts, "a part stays");
        parts = stored.past.len();
        // One that was not taken whole is noticed.
        if let (Some(_), [_, ..]) = (&stored.monitor, &stored.past[..]) {
            let mut torn = stored.clone();
            torn.past.pop();
            let torn = vec![(world.channel(), torn)];
            let env = Env { store: Default::default(), ..world.env.clone() };
            assert!(matches!(MonitorSet::restore(env, &torn, tip), Err(RestoreError::Damaged { .. })));
        }
    }
    assert!(snapshots >= 3 && parts >= 1, "{snapshots} snapshots, {parts} parts");
}
