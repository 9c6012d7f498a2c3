//! Blocks come before the updates that explain them: a watchtower's client was away, or handed its channel over late
//! (RELIABILITY L9). The end is the same as if the updates had come first.
use lightning_monitor::Duty;
use lightning_traits::monitor::{MonitorStep, SpendKind};

use crate::support::pair::number;
use crate::support::{BASE, FORMATS, Htlc, Pair, RESTARTS, Restart, World, adding, offered, received};

const EXPIRY: u32 = BASE + 40;
const OFFERED: Htlc = offered(0, 100_000, 10, EXPIRY);
const RECEIVED: Htlc = received(0, 200_000, 20, EXPIRY);

fn each(duty: Duty, test: impl Fn(World, bool)) {
    for format in FORMATS {
        for restart in RESTARTS {
            for at_once in [true, false] {
                test(World::on_duty(Pair::new(format, 1, true), restart, duty), at_once);
            }
        }
    }
}

fn learn(world: &mut World, steps: Vec<MonitorStep>, at_once: bool) {
    if at_once {
        return world.learn(steps);
    }
    steps.into_iter().for_each(|step| world.learn(vec![step]));
}

fn at_stake(world: &World) -> u64 {
    let (_, _, commitment) = world.pair.built_theirs(1);
    commitment.tx.output[commitment.to_broadcaster.unwrap() as usize].value.to_sat() + 300_000
}

#[test]
fn l09_a_breach_that_nothing_was_known_of_is_punished_once_it_is() {
    for duty in [Duty::Enforce, Duty::Punish] {
        each(duty, |mut world, at_once| {
            let mut steps = world.pair.commit(&adding(&[OFFERED, RECEIVED]));
            steps.extend(world.pair.commit(&crate::support::Delta::default()));
            world.mine(vec![world.pair.their_commitment(1)]);
            world.mine_blocks(2);
            learn(&mut world, steps, at_once);
            world.mine_blocks(8);
            let ours = world.pair.built_theirs(1).2;
            let ours = ours.tx.output[ours.to_countersigner.unwrap() as usize].value.to_sat();
            let all = at_stake(&world) + if duty == Duty::Enforce { ours } else { 0 };
            assert_eq!(world.swept_last(), all, "{duty:?}");
            assert_eq!(world.kinds().last(), Some(&SpendKind::Revoked { number: number(1) }));
        });
    }
}

/// The cheater's second stage is on the chain too before anything is known.
#[test]
fn l09_its_second_stage_is_punished_as_well() {
    for duty in [Duty::Enforce, Duty::Punish] {
        each(duty, |mut world, at_once| {
            let mut steps = world.pair.commit(&adding(&[OFFERED, RECEIVED]));
            world.mine(vec![world.pair.their_commitment(1)]);
            let first: Vec<MonitorStep> = steps.drain(..1).collect();
            // It is known, though not yet revoked, when the second stage comes.
            learn(&mut world, first, at_once);
            world.censored = true;
            let success = world.pair.their_second_stage(1, &[OFFERED], &[], &[]);
            world.mine(vec![success]);
            world.censored = false;
            steps.extend(world.pair.commit(&crate::support::Delta::default()));
            learn(&mut world, steps, at_once);
            world.mine_blocks(10);
            assert!(world.swept_last() >= at_stake(&world) - 1_000, "{duty:?}: {}", world.swept_last());
        });
    }
}

#[test]
fn a_valid_commitment_that_was_not_known_yet_is_claimed_once_it_is() {
    each(Duty::Enforce, |mut world, at_once| {
        let steps = world.pair.commit(&adding(&[OFFERED, RECEIVED]));
        world.mine(vec![world.pair.their_commitment(1)]);
        assert_eq!(world.kinds(), [SpendKind::Future { number: number(1) }]);
        learn(&mut world, steps, at_once);
        world.learn_preimage(&RECEIVED);
        world.mine_to(EXPIRY + 20);
        assert_eq!(world.kinds().last(), Some(&SpendKind::Theirs { number: number(1) }));
        let ours = world.pair.built_theirs(1).2;
        let ours = ours.tx.output[ours.to_countersigner.unwrap() as usize].value.to_sat();
        assert_eq!(world.swept_last(), ours + 300_000);
        assert_eq!(world.outcomes(), [(0, false)]);
    });
}

#[test]
fn our_own_commitment_that_was_not_known_yet_is_ours_once_it_is() {
    each(Duty::Enforce, |mut world, at_once| {
        let steps = world.pair.commit(&adding(&[OFFERED, RECEIVED]));
        let ours = world.pair.our_commitment();
        world.mine(vec![ours]);
        learn(&mut world, steps, at_once);
        world.mine_to(EXPIRY + 2);
        assert_eq!(world.kinds().last(), Some(&SpendKind::Ours { number: world.pair.our_number }));
        assert!(world.restart != Restart::Never || world.swept_last() == 0, "its delay has not passed");
    });
}
