//! Who is let in, with which keys, and how much they may leave here.
use std::os::unix::fs::PermissionsExt as _;

use lightning_keys::{LentKeys, Power};
use lightning_remote::wire::chain::Memory;
use lightning_remote::wire::state::ChannelState;
use lightning_traits::monitor::{MonitorRefusal, MonitorStep, Persist, StoredChannel};
use lightning_traits::payment::Preimage;
use lightning_traits::tx::CommitmentFormat;
use lightning_watchtower::clients::{self, Client, Mode};
use lightning_watchtower::health::Trouble;

use crate::justice::guarded;
use crate::pair::Pair;
use crate::world::{World, wait};

const ANCHORS: CommitmentFormat = CommitmentFormat::AnchorsZeroFeeHtlc;

const fn refused() -> Persist {
    Persist::Refused(MonitorRefusal::UnknownChannel)
}

#[test]
fn no_channel_is_taken_without_keys_that_fit() {
    for mode in [Mode::Full, Mode::Justice] {
        let world = World::new(mode);
        let (pair, other) = (Pair::open(world.chain(), 1, ANCHORS), Pair::open(world.chain(), 2, ANCHORS));
        world.seen();
        let guard = world.guard();
        assert_eq!(guard.add(pair.new_monitor()), refused(), "no keys");
        assert!(guard.give_keys(pair.init.keys, other.lent(mode.power().unwrap())));
        assert_eq!(guard.add(pair.new_monitor()), refused(), "another channel's keys");
        if mode == Mode::Full {
            assert!(!guard.give_keys(pair.init.keys, pair.lent(Power::Punish)), "too few for what is asked");
        }
        assert!(guard.monitors().channels().is_empty());
        world.hand_over(&pair);
        assert_eq!(guard.monitors().channels(), [pair.init.channel]);
    }
}

#[test]
fn l19_what_a_mode_does_not_need_is_not_kept_and_nobody_else_can_read_the_rest() {
    for (mode, length) in [(Mode::Justice, 33), (Mode::Full, 193)] {
        let world = World::new(mode);
        let pair = Pair::open(world.chain(), 1, ANCHORS);
        world.seen();
        let guard = world.guard();
        // A client that gives more than it is asked for.
        assert!(guard.give_keys(pair.init.keys, pair.lent(Power::Enforce)));
        assert!(matches!(guard.add(pair.new_monitor()), Persist::InProgress));
        wait("a receipt", || guard.next_receipt().is_some());
        let kept = guard.store().list("keys/").unwrap();
        assert_eq!(kept.iter().map(|(_, bytes)| bytes.len()).collect::<Vec<_>>(), [length]);
        assert_eq!(LentKeys::from_bytes(&kept[0].1).unwrap().power(), mode.power().unwrap());
        let folder = clients::folder(world.folder.path(), world.client);
        for path in [folder.clone(), folder.join("monitors.redb"), world.folder.path().join("seed")] {
            let rights = std::fs::metadata(&path).unwrap().permissions().mode() & 0o077;
            assert_eq!(rights, 0, "{}", path.display());
        }
    }
}

#[test]
fn l13_quotas_are_exact_and_a_full_one_delays_no_justice() {
    let world = World::new(Mode::Justice);
    let pair = guarded(&world, 1, ANCHORS);
    let mut hostile = Pair::open(world.chain(), 2, ANCHORS);
    world.seen();
    world.hand_over(&hostile);
    let guard = world.guard();
    let client = guard.client();
    let used = guard.used();
    let room = client.max_bytes - used;
    assert!(guard.has_room(1_000));
    assert!(!guard.has_room(room as usize), "what was promised before counts");
    assert!(world.status().alarms.iter().any(|alarm| alarm.trouble == Trouble::Quota));
    assert!(world.status().healthy, "a client at its quota is no danger to others");
    // It floods with what is taken still.
    for secret in 0..200_u8 {
        let preimage = Preimage::new([secret; 32]);
        let update = hostile.update(vec![MonitorStep::Preimage { preimage }]);
        assert!(matches!(guard.update(update), Persist::InProgress));
    }
    world.mine_exactly(&[pair.their_commitment(1)]);
    world.expect_taken(&pair.at_stake(1), 3);
    // As many channels as it may have.
    world.admit(Client { max_channels: 2, ..client });
    wait("the new quota", || guard.client().max_channels == 2);
    let third = Pair::open(world.chain(), 3, ANCHORS);
    world.seen();
    assert!(guard.give_keys(third.init.keys, third.lent(Power::Punish)));
    assert_eq!(guard.add(third.new_monitor()), refused());
    let stored = StoredChannel { new: third.new_monitor().to_versioned(), ..StoredChannel::default() };
    let channel = third.init.channel;
    guard.replace(channel, ChannelState { stored, seen: guard.tip().unwrap().1 });
    let mut answer = None;
    wait("the answer", || {
        answer = guard.next_replaced();
        answer.is_some()
    });
    assert_eq!(answer, Some((channel, Err(MonitorRefusal::Contradiction))), "nor as a whole");
    assert_eq!(guard.store().load_channel(channel).unwrap(), None);
}

/// Parts of a monitor's past lie in rows of their own, and are bytes like any others.
#[test]
fn l13_the_past_of_a_channel_counts() {
    let world = World::new(Mode::Justice);
    let pair = guarded(&world, 1, ANCHORS);
    let guard = world.guard();
    let before = guard.used();
    let mut stored = guard.store().load_channel(pair.init.channel).unwrap().unwrap();
    stored.past = vec![vec![0; 4_096]; 25];
    guard.store().put_channel(pair.init.channel, stored);
    guard.store().commit().unwrap();
    // It is added up when there seems to be no room, and not more often than once a second.
    let all = guard.client().max_bytes as usize;
    wait("the sum", || !guard.has_room(all) && guard.used() >= before + 100_000);
}

/// A replacement commits on another thread, and what was signed may go with it: it is known to be written all the same.
#[test]
fn what_another_thread_commits_is_known_to_be_written() {
    let world = World::new(Mode::Justice);
    guarded(&world, 1, ANCHORS);
    let guard = world.guard();
    for count in 1..300_u64 {
        let memory = Memory { count, ..guard.written_memory() };
        guard.write_memory(memory);
        while guard.store().commit().unwrap() == 0 && guard.written_memory() != memory {
            std::hint::spin_loop();
        }
        wait("the memory", || guard.written_memory() == memory);
    }
}

#[test]
fn l14_a_client_that_is_removed_is_guarded_on_and_takes_no_more_room() {
    let mut world = World::new(Mode::Justice);
    let pair = guarded(&world, 1, ANCHORS);
    clients::remove(world.folder.path(), world.client).unwrap();
    let guard = world.guard();
    wait("the removal", || !guard.client().admitted);
    assert!(!guard.has_room(1));
    drop(guard);
    world.restart();
    world.mine_exactly(&[pair.their_commitment(1)]);
    world.expect_taken(&pair.at_stake(1), 3);
}

#[test]
fn a_client_whose_data_is_damaged_is_an_alarm_and_the_others_are_guarded() {
    let mut world = World::new(Mode::Justice);
    let pair = guarded(&world, 1, ANCHORS);
    let broken = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";
    world.admit(Client { id: broken.to_owned(), ..world.guard().client() });
    let id = clients::parse_id(broken).unwrap();
    let tower = world.tower.as_ref().unwrap().inner().clone();
    wait("the second client", || tower.guard(id).is_some());
    drop(tower);
    world.stop();
    let path = clients::folder(world.folder.path(), id).join("monitors.redb");
    std::fs::write(&path, "something else entirely").unwrap();
    world.start();
    wait("the alarm", || world.status().alarms.iter().any(|alarm| alarm.subject == broken));
    world.mine_exactly(&[pair.their_commitment(1)]);
    world.expect_taken(&pair.at_stake(1), 3);
}
