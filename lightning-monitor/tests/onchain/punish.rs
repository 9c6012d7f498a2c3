//! A monitor that only punishes: every output of a revoked commitment that takes the revocation key, and nothing else.
//!
//! Its signer panics when it is asked for anything but a signature with the revocation key.
use lightning_monitor::Duty;
use lightning_traits::event::Event;
use lightning_traits::monitor::{MonitorStep, SpendKind};
use lightning_traits::tx::CommitmentFormat;

use crate::support::pair::number;
use crate::support::{BASE, Delta, FORMATS, Htlc, Pair, RESTARTS, Restart, World, adding, offered, received};

const EXPIRY: u32 = BASE + 40;
const OFFERED: Htlc = offered(0, 100_000, 10, EXPIRY);
const RECEIVED: Htlc = received(0, 200_000, 20, EXPIRY);

fn world(format: CommitmentFormat, restart: Restart) -> World {
    let mut world = World::on_duty(Pair::new(format, 1, true), restart, Duty::Punish);
    let mut steps = world.pair.commit(&adding(&[OFFERED, RECEIVED]));
    let fail = vec![OFFERED, RECEIVED];
    steps.extend(world.pair.commit(&Delta { fail, ..Delta::default() }));
    steps.extend(
        world.pair.commit(&adding(&[offered(1, 50_000, 11, EXPIRY), received(1, 60_000, 21, EXPIRY)])),
    );
    world.learn(steps);
    world.learn_preimage(&received(1, 60_000, 21, EXPIRY));
    world
}

fn each(test: impl Fn(World, CommitmentFormat)) {
    for format in FORMATS {
        for restart in RESTARTS {
            test(world(format, restart), format);
        }
    }
}

#[test]
fn every_output_that_revocation_opens_is_taken() {
    each(|mut world, format| {
        world.mine(vec![world.pair.their_commitment(1)]);
        assert_eq!(world.kinds(), [SpendKind::Revoked { number: number(1) }]);
        for _ in 0..10 {
            world.mine(vec![]);
        }
        let (_, _, commitment) = world.pair.built_theirs(1);
        let broadcaster = commitment.tx.output[commitment.to_broadcaster.unwrap() as usize].value.to_sat();
        assert_eq!(world.swept(), broadcaster + 100_000 + 200_000, "{format:?}");
    });
}

/// The cheater is faster with its second stage.
#[test]
fn second_stage_is_taken_too() {
    each(|mut world, format| {
        world.mine(vec![world.pair.their_commitment(1)]);
        world.censored = true;
        let success = world.pair.their_second_stage(1, &[OFFERED], &[], &[]);
        world.mine(vec![success]);
        world.mine_to(EXPIRY);
        let timeout = world.pair.their_second_stage(1, &[RECEIVED], &[], &[]);
        world.mine(vec![timeout]);
        world.censored = false;
        world.mine_blocks(10);
        let (_, _, commitment) = world.pair.built_theirs(1);
        let broadcaster = commitment.tx.output[commitment.to_broadcaster.unwrap() as usize].value.to_sat();
        let fees = if format == CommitmentFormat::StaticRemoteKey { 703 + 663 } else { 0 };
        assert_eq!(world.swept(), broadcaster + 300_000 - fees, "{format:?}");
    });
}

fn is_passive(world: &mut World) {
    world.mine_to(EXPIRY + 30);
    assert!(world.mempool.is_empty(), "broadcast {:?}", world.mempool);
    assert_eq!(world.swept(), 0);
    assert_eq!(world.events, [], "only breaches are reported");
    assert!(!world.user.iter().any(|event| matches!(event, Event::Swept { .. })));
}

/// HTLCs expire, with a preimage known: others go to the chain.
#[test]
fn deadlines_are_not_its_business() {
    each(|mut world, _| is_passive(&mut world));
}

#[test]
fn asked_to_close_it_does_nothing_and_learns_on() {
    each(|mut world, _| {
        world.learn(vec![MonitorStep::ForceClose {}]);
        is_passive(&mut world);
    });
}

#[test]
fn valid_commitments_and_agreed_closes_are_left_alone() {
    each(|mut world, _| {
        let latest = world.pair.theirs.len() as u64 - 1;
        world.mine(vec![world.pair.their_commitment(latest)]);
        is_passive(&mut world);
    });
    each(|mut world, _| {
        world.learn(vec![MonitorStep::ShutdownStarted {}]);
        world.mine(vec![world.pair.mutual()]);
        is_passive(&mut world);
    });
}

/// RELIABILITY L23: its own user publishes, a stale state after the loss of data or the latest.
#[test]
fn l23_commitments_of_its_own_user_are_left_alone() {
    for format in FORMATS {
        for restart in RESTARTS {
            let old = Pair::new(format, 1, true);
            let stale = old.our_commitment();
            let mut at = world(format, restart);
            at.mine(vec![stale]);
            is_passive(&mut at);
            let mut at = world(format, restart);
            let latest = at.pair.our_commitment();
            at.mine(vec![latest]);
            is_passive(&mut at);
        }
    }
}

/// A commitment that was valid when it confirmed is punished if it is revoked after all.
#[test]
fn what_is_revoked_after_it_confirmed_is_punished() {
    for format in FORMATS {
        let mut world = world(format, Restart::Never);
        let latest = world.pair.theirs.len() as u64 - 1;
        let next = world.pair.sign_theirs(&Delta::default());
        world.learn(vec![next]);
        world.mine(vec![world.pair.their_commitment(latest)]);
        assert!(world.mempool.is_empty());
        let revocation = world.pair.revoke_theirs();
        world.learn(vec![revocation]);
        world.mine_blocks(3);
        assert!(world.swept() > 110_000, "{}", world.swept());
    }
}
