//! Blocks that cannot be had, towers that were down, channels that come late, and a chain that is not what it should be.
use std::time::Duration;

use bitcoin::hashes::Hash as _;
use bitcoin::{BlockHash, OutPoint};
use lightning_remote::wire::state::ChannelState;
use lightning_traits::interface::SourceError;
use lightning_traits::monitor::{ChannelMonitorUpdate, NewMonitor, RecordChange, StoredChannel};
use lightning_traits::tx::CommitmentFormat;
use lightning_watchtower::clients::Mode;
use lightning_watchtower::health::Trouble;

use crate::justice::{guarded, htlcs};
use crate::pair::{Pair, anyone};
use crate::world::{World, wait};

const ANCHORS: CommitmentFormat = CommitmentFormat::AnchorsZeroFeeHtlc;

fn has(world: &World, trouble: Trouble) -> bool {
    world.status().alarms.iter().any(|alarm| alarm.trouble == trouble)
}

#[test]
fn l01_a_block_that_cannot_be_fetched_stops_the_scan_with_an_alarm() {
    let hash = BlockHash::all_zeros();
    let errors = [
        (SourceError::WrongBlock(hash), Trouble::BlockMissing),
        (SourceError::UnknownBlock(hash), Trouble::BlockMissing),
        // RELIABILITY L10.
        (SourceError::Pruned(hash), Trouble::BlockMissing),
        (
            SourceError::Rpc { method: "getblock".into(), code: -1, message: "disk".into() },
            Trouble::ChainUnreachable,
        ),
    ];
    for (error, trouble) in errors {
        let mut world = World::new(Mode::Justice);
        let pair = guarded(&world, 1, ANCHORS);
        world.seen();
        let at = world.chain().height() + 1;
        world.source.faults.lock().unwrap().blocks.insert(at, error);
        world.mine_exactly(&[pair.their_commitment(1)]);
        world.chain().mine(20, &anyone().to_p2wsh());
        wait("the alarm", || has(&world, trouble));
        assert!(!world.status().healthy);
        // A restart does not get past it either.
        world.restart();
        wait("the alarm after a restart", || has(&world, trouble));
        assert_eq!(world.guard().tip().unwrap().1.get(), at - 1, "a block was skipped");
        assert!(world.chain().mempool().is_empty());
        world.source.faults.lock().unwrap().blocks.clear();
        world.seen();
        world.expect_taken(&pair.at_stake(1), 3);
        wait("health", || world.status().healthy);
    }
}

#[test]
fn l02_a_breach_while_the_tower_was_down_is_found() {
    for (down, breach) in [(1, 0), (2, 0), (2, 1), (10, 5), (144, 100), (1_000, 1), (1_000, 999)] {
        let mut world = World::new(Mode::Justice);
        let pair = guarded(&world, 1, ANCHORS);
        // Blocks in which nothing happened count too.
        world.mine(3);
        world.stop();
        world.chain().mine(breach, &anyone().to_p2wsh());
        world.mine_exactly(&[pair.their_commitment(1)]);
        world.chain().mine(down - breach - 1, &anyone().to_p2wsh());
        world.start();
        world.seen();
        world.expect_taken(&pair.at_stake(1), 3);
    }
}

#[test]
fn l09_a_channel_that_comes_after_its_breach_is_punished_still() {
    for (late, mode) in
        [(0, Mode::Justice), (1, Mode::Full), (7, Mode::Justice), (150, Mode::Full), (500, Mode::Justice)]
    {
        let world = World::new(mode);
        // Another channel of the client is guarded meanwhile.
        let other = guarded(&world, 2, ANCHORS);
        let mut pair = Pair::open(world.chain(), 1, ANCHORS);
        let expiry = world.chain().height() + 60;
        let updates = [pair.commit(&htlcs(expiry)), pair.commit(&[]), pair.commit(&[])];
        world.mine_exactly(&[pair.their_commitment(1)]);
        world.chain().mine(late, &anyone().to_p2wsh());
        world.seen();
        world.hand_over(&pair);
        updates.into_iter().for_each(|update| world.learn(update));
        world.seen();
        world.expect_taken(&pair.at_stake(1), 4);
        wait("the end of looking back", || !has(&world, Trouble::LookingBack));
        world.mine_exactly(&[other.their_commitment(1)]);
        world.expect_taken(&other.at_stake(1), 3);
    }
}

/// What is acknowledged is guarded, though the tower dies before it has looked at the blocks since the channel was made.
#[test]
fn l09_a_past_that_was_not_looked_at_before_a_crash_is_looked_at_after_it() {
    for (mode, is_whole) in
        [(Mode::Justice, false), (Mode::Full, false), (Mode::Justice, true), (Mode::Full, true)]
    {
        let mut world = World::new(mode);
        let mut pair = Pair::open(world.chain(), 1, ANCHORS);
        let expiry = world.chain().height() + 60;
        let updates = [pair.commit(&htlcs(expiry)), pair.commit(&[]), pair.commit(&[])];
        let whole = is_whole.then(|| whole_of(&pair, &updates));
        world.mine_exactly(&[pair.their_commitment(1)]);
        world.mine(5);
        // The chain goes away just when the channel comes.
        world.source.faults.lock().unwrap().down = true;
        wait("the alarm", || has(&world, Trouble::ChainUnreachable));
        match whole {
            Some(state) => {
                let guard = world.guard();
                assert!(guard.give_keys(pair.init.keys, pair.lent(guard.mode().power().unwrap())));
                guard.replace(pair.init.channel, state);
                wait("the channel", || guard.store().load_channel(pair.init.channel).unwrap().is_some());
                std::thread::sleep(Duration::from_millis(50));
                assert_eq!(guard.next_replaced(), None, "its past was not looked at");
            }
            None => {
                world.hand_over(&pair);
                updates.into_iter().for_each(|update| world.learn(update));
            }
        }
        world.stop();
        world.source.faults.lock().unwrap().down = false;
        world.start();
        world.seen();
        world.expect_taken(&pair.at_stake(1), 4);
        wait("the end of looking back", || !has(&world, Trouble::LookingBack));
        // It is looked at once.
        world.restart();
        world.seen();
        assert!(world.guard().take_look_backs().is_empty());
    }
}

/// A node hands a channel over whole, and its monitor has seen a chain that was left since: with a breach in it, and how it was
/// punished. None of that is believed (found by the simulator).
#[test]
fn l15_what_a_node_saw_on_blocks_that_are_gone_is_not_believed() {
    for mode in [Mode::Justice, Mode::Full] {
        for is_restarted in [false, true] {
            let mut world = World::new(mode);
            let pair = guarded(&world, 1, ANCHORS);
            world.mine(8);
            world.mine_exactly(&[pair.their_commitment(1)]);
            world.seen();
            world.expect_taken(&pair.at_stake(1), 3);
            let (channel, stored) = world.guard().store().load_channels().unwrap().remove(0);
            let seen = world.guard().tip().unwrap().1;
            world.stop();
            for _ in 0..6 {
                world.chain().disconnect_tip();
            }
            for entry in world.chain().mempool() {
                world.chain().forget(entry.tx.compute_txid());
            }
            world.chain().mine_empty(20, &anyone().to_p2wsh());
            world.start();
            world.seen();
            let guard = world.guard();
            guard.replace(channel, ChannelState { stored, seen });
            wait("the replacement", || guard.next_replaced().is_some());
            drop(guard);
            if is_restarted {
                world.restart();
            }
            world.mine_exactly(&[pair.their_commitment(1)]);
            world.seen();
            world.expect_taken(&pair.at_stake(1), 4);
        }
    }
}

/// The channel as its node's disk would have it.
fn whole_of(pair: &Pair, updates: &[ChannelMonitorUpdate]) -> ChannelState {
    let new = pair.new_monitor();
    let stored = StoredChannel {
        new: NewMonitor { record: RecordChange::Same {}, ..new }.to_versioned(),
        updates: updates.iter().map(|update| update.to_versioned()).collect(),
        last_update: updates.last().unwrap().id,
        ..StoredChannel::default()
    };
    ChannelState { stored, seen: pair.init.birth }
}

/// A channel comes late, and the blocks in which it must be looked for are pruned: that is red, whatever the tip.
#[test]
fn l10_a_past_that_is_pruned_is_red_until_it_can_be_looked_at() {
    for missing in [0, 3] {
        let world = World::new(Mode::Justice);
        let other = guarded(&world, 2, ANCHORS);
        let mut pair = Pair::open(world.chain(), 1, ANCHORS);
        let birth = pair.init.birth.get();
        let expiry = world.chain().height() + 60;
        let updates = [pair.commit(&htlcs(expiry)), pair.commit(&[]), pair.commit(&[])];
        world.mine_exactly(&[pair.their_commitment(1)]);
        world.mine(10);
        let error = SourceError::Pruned(BlockHash::all_zeros());
        world.source.faults.lock().unwrap().blocks.insert(birth + missing, error);
        world.hand_over(&pair);
        updates.into_iter().for_each(|update| world.learn(update));
        wait("the alarm", || has(&world, Trouble::PastMissing));
        assert!(!world.status().healthy);
        world.source.faults.lock().unwrap().blocks.clear();
        wait("its end", || world.status().healthy);
        world.seen();
        world.expect_taken(&pair.at_stake(1), 4);
        world.mine_exactly(&[other.their_commitment(1)]);
        world.expect_taken(&other.at_stake(1), 3);
    }
}

#[test]
fn l21_a_chain_that_is_not_to_be_trusted_is_red() {
    let mut world = World::new(Mode::Justice);
    let pair = guarded(&world, 1, ANCHORS);
    world.seen();
    wait("health", || world.status().healthy);
    world.source.faults.lock().unwrap().down = true;
    wait("the alarm", || has(&world, Trouble::ChainUnreachable));
    world.source.faults.lock().unwrap().down = false;
    wait("its end", || world.status().healthy);
    world.source.faults.lock().unwrap().syncing = true;
    wait("the alarm", || has(&world, Trouble::ChainSyncing));
    world.source.faults.lock().unwrap().syncing = false;
    wait("its end", || world.status().healthy);
    // Another chain is noticed at the next start at the latest, and nothing of it is looked at.
    world.stop();
    world.source.faults.lock().unwrap().other_chain = true;
    world.start();
    wait("the alarm", || has(&world, Trouble::WrongChain));
    let before = world.guard().tip();
    world.chain().mine(1, &anyone().to_p2wsh());
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(world.guard().tip(), before);
    world.source.faults.lock().unwrap().other_chain = false;
    wait("its end", || world.status().healthy);
    // No block for too long.
    world.stale_after = Some(Duration::from_millis(200));
    world.restart();
    wait("the alarm", || has(&world, Trouble::StaleTip));
    assert!(!world.status().healthy);
    world.mine_exactly(&[pair.their_commitment(1)]);
    wait("its end", || !has(&world, Trouble::StaleTip));
    world.expect_taken(&pair.at_stake(1), 3);
}

/// The source loses its last blocks, or is replaced by one that is behind: the tower waits, and forgets nothing.
#[test]
fn l21_a_source_that_fell_behind_is_waited_for() {
    let world = World::new(Mode::Justice);
    let pair = guarded(&world, 1, ANCHORS);
    world.mine(5);
    let height = world.chain().height();
    for _ in 0..3 {
        world.chain().disconnect_tip();
    }
    wait("the alarm", || has(&world, Trouble::ChainBehind));
    assert_eq!(world.guard().tip().unwrap().1.get(), height);
    world.mine_exactly(&[pair.their_commitment(1)]);
    world.chain().mine_empty(4, &anyone().to_p2wsh());
    world.seen();
    world.expect_taken(&pair.at_stake(1), 3);
}

/// Killed at any block of a breach, over and over, the tower gets everything in the end.
#[test]
fn a_restart_at_every_block_changes_nothing() {
    for mode in [Mode::Full, Mode::Justice] {
        let mut world = World::new(mode);
        let pairs: Vec<Pair> = (1..=3).map(|index| guarded(&world, index, ANCHORS)).collect();
        let mut stake: Vec<OutPoint> = Vec::new();
        for (index, pair) in pairs.iter().enumerate() {
            world.restart();
            world.mine_exactly(&[pair.their_commitment(1 + (index as u64 % 2))]);
            stake.extend(pair.at_stake(1 + (index as u64 % 2)));
            world.restart();
            world.seen();
            world.restart();
            world.mine(1);
        }
        world.expect_taken(&stake, 4);
        assert_eq!(world.status().breaches.len(), 3);
    }
}
