//! Blocks that are taken back, and signers that do not answer: the end is the same as without.
use lightning_traits::monitor::{MonitorStep, SpendKind};
use lightning_traits::tx::CommitmentFormat;

use crate::support::pair::number;
use crate::support::{BASE, Delta, FORMATS, Htlc, RESTARTS, Restart, World, adding, offered, received};

const EXPIRY: u32 = BASE + 60;
const IN: Htlc = received(0, 200_000, 20, EXPIRY + 50);
const OUT: Htlc = offered(0, 100_000, 10, EXPIRY);
const NEXT_ONLY: Htlc = offered(1, 70_000, 11, EXPIRY);

/// Which commitment confirms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Ours,
    Current,
    Next,
    Revoked,
}

const KINDS: [Kind; 4] = [Kind::Ours, Kind::Current, Kind::Next, Kind::Revoked];

/// A channel in which each kind of commitment may confirm.
fn open(format: CommitmentFormat) -> World {
    let mut world = World::new(format, Restart::Never);
    let mut steps = world.pair.commit(&adding(&[IN, OUT]));
    steps.push(world.pair.sign_theirs(&Delta::default()));
    steps.push(world.pair.revoke_theirs());
    steps.push(world.pair.sign_theirs(&adding(&[NEXT_ONLY])));
    world.learn(steps);
    world.learn(vec![MonitorStep::ForceClose {}]);
    world
}

fn confirm(world: &mut World, kind: Kind) {
    match kind {
        Kind::Ours => {
            world.set.rebroadcast();
            world.take_broadcasts(true);
            world.mine(vec![]);
        }
        Kind::Current => world.mine(vec![world.pair.their_commitment(2)]),
        Kind::Next => world.mine(vec![world.pair.their_commitment(3)]),
        Kind::Revoked => world.mine(vec![world.pair.their_commitment(1)]),
    }
    let expected = match kind {
        Kind::Ours => SpendKind::Ours { number: number(1) },
        Kind::Current => SpendKind::Theirs { number: number(2) },
        Kind::Next => SpendKind::Theirs { number: number(3) },
        Kind::Revoked => SpendKind::Revoked { number: number(1) },
    };
    assert_eq!(world.kinds().last(), Some(&expected));
}

/// One commitment is swapped for another before or after the preimage comes (RELIABILITY D9).
#[test]
fn d09_every_swap_of_commitments_ends_as_the_last_one_alone() {
    for format in FORMATS {
        for last in KINDS {
            let mut plain = open(format);
            confirm(&mut plain, last);
            plain.learn_preimage(&IN);
            plain.settle();
            for first in KINDS {
                for (depth, early) in [(1, true), (1, false), (3, true), (6, false)] {
                    let mut world = open(format);
                    if early {
                        world.learn_preimage(&IN);
                    }
                    confirm(&mut world, first);
                    world.mine_blocks(depth - 1);
                    for _ in 0..depth {
                        world.disconnect();
                    }
                    assert!(world.monitor().closed_by().is_none());
                    confirm(&mut world, last);
                    if !early {
                        world.learn_preimage(&IN);
                    }
                    world.settle();
                    let context = format!("{format:?} {first:?} {last:?} {depth} {early}");
                    assert_eq!(world.swept_last(), plain.swept_last(), "{context}");
                    assert_eq!(world.sorted_outcomes(), plain.sorted_outcomes(), "{context}");
                    assert_eq!(world.resolved_events(), 1, "{context}");
                    world.mine_blocks(6);
                    assert!(world.env.wallet.lent().is_empty(), "{context}");
                }
            }
        }
    }
}

/// As deep as anything is watched: whatever was claimed and reported meanwhile, what is on the chain in the end is claimed whole, and
/// nothing is reported twice.
#[test]
fn d09_d20_any_commitment_gives_way_to_any_other_up_to_99_deep() {
    for format in FORMATS {
        for last in KINDS {
            let ended = |first: Option<(Kind, u32)>| {
                let mut world = open(format);
                world.learn_preimage(&IN);
                if let Some((first, depth)) = first {
                    confirm(&mut world, first);
                    world.mine_blocks(depth - 1);
                    (0..depth).for_each(|_| drop(world.disconnect()));
                    assert!(world.monitor().closed_by().is_none());
                }
                confirm(&mut world, last);
                world.mine_blocks(340);
                world
            };
            let plain = ended(None);
            for first in KINDS {
                for depth in [7, 20, 60, 99] {
                    let world = ended(Some((first, depth)));
                    let context = format!("{format:?} {first:?} {last:?} {depth}");
                    assert_eq!(world.swept_last(), plain.swept_last(), "{context}");
                    assert_eq!(world.resolved_events(), 1, "{context}");
                    let mut outcomes = world.sorted_outcomes();
                    outcomes.dedup();
                    assert_eq!(outcomes.len(), world.outcomes().len(), "{context}: twice");
                    assert!(world.env.wallet.lent().is_empty(), "{context}");
                    assert_eq!(world.env.store.archived(), [world.channel()], "{context}");
                }
            }
        }
    }
}

/// Claims that confirmed are taken back: they go out again.
#[test]
fn claims_that_are_taken_back_go_out_again() {
    for format in FORMATS {
        for kind in KINDS {
            for depth in [1, 2, 5, 33, 99] {
                let mut world = open(format);
                world.learn_preimage(&IN);
                confirm(&mut world, kind);
                world.mine_to(EXPIRY + 2);
                world.mine_blocks(depth);
                for _ in 0..depth {
                    world.disconnect();
                }
                world.mine_blocks(depth);
                world.settle();
                let mut plain = open(format);
                plain.learn_preimage(&IN);
                confirm(&mut plain, kind);
                plain.settle();
                assert_eq!(world.swept_last(), plain.swept_last(), "{format:?} {kind:?} {depth}");
                assert_eq!(world.sorted_outcomes(), plain.sorted_outcomes());
            }
        }
    }
}

/// Even after the end was told the monitor watches: what is taken back then is claimed again, and nothing is told twice.
#[test]
fn a_reorganisation_after_the_end_is_mended() {
    for format in FORMATS {
        for kind in KINDS {
            let mut world = open(format);
            world.learn_preimage(&IN);
            world.censored = true;
            world.mine_blocks(5);
            world.censored = false;
            confirm(&mut world, kind);
            world.settle();
            let (swept, outcomes) = (world.swept_last(), world.sorted_outcomes());
            for _ in 0..6 {
                world.disconnect();
            }
            assert!(world.swept_last() < swept, "the last claims are taken back");
            world.mine_blocks(6);
            assert_eq!(world.swept_last(), swept, "{format:?} {kind:?}");
            world.mine_blocks(9);
            assert_eq!(world.sorted_outcomes(), outcomes);
            assert_eq!(world.resolved_events(), 1);
            assert!(world.env.wallet.lent().is_empty());
            world.mine_blocks(100);
            assert_eq!(world.env.store.archived(), [world.channel()]);
        }
    }
}

/// A preimage that was seen stays known when its block is taken back, and is told once.
#[test]
fn a_preimage_survives_its_block() {
    for format in FORMATS {
        let mut world = open(format);
        confirm(&mut world, Kind::Current);
        let claim = world.pair.their_second_stage(2, &[OUT], &[], &[]);
        world.mine(vec![claim]);
        assert_eq!(world.outcomes(), [(0, true)]);
        world.disconnect();
        world.disconnect();
        // Their next one confirms, and there the HTLC times out: it was claimed, upstream is paid, it is never failed.
        confirm(&mut world, Kind::Next);
        world.settle();
        assert_eq!(world.sorted_outcomes(), [(0, true), (1, false)]);
    }
}

/// The signer sleeps when the close confirms, and for blocks after: nothing is lost, whoever closed.
#[test]
fn a_signer_that_sleeps_only_delays() {
    for format in FORMATS {
        for restart in RESTARTS {
            for kind in KINDS {
                for sleep in [1, 4, 9] {
                    let mut world = open(format);
                    world.learn_preimage(&IN);
                    world.restart = restart;
                    world.env.keys.asleep.set(true);
                    let close = match kind {
                        Kind::Ours => world.mempool.values().next().unwrap().clone(),
                        Kind::Current => world.pair.their_commitment(2),
                        Kind::Next => world.pair.their_commitment(3),
                        Kind::Revoked => world.pair.their_commitment(1),
                    };
                    world.mine(vec![close]);
                    world.mine_blocks(sleep - 1);
                    // Meanwhile the peer takes an HTLC, which must not be missed either.
                    let claim = match kind {
                        Kind::Ours => world.pair.their_claim_of_ours(&OUT),
                        Kind::Current => world.pair.their_second_stage(2, &[OUT], &[], &[]),
                        Kind::Next => world.pair.their_second_stage(3, &[OUT], &[], &[]),
                        Kind::Revoked => world.pair.their_second_stage(1, &[OUT], &[], &[]),
                    };
                    world.mine(vec![claim]);
                    world.mine_blocks(2);
                    if kind == Kind::Ours {
                        assert!(world.kinds().is_empty(), "only the signer knows our commitment");
                        let log = world.env.log.0.borrow();
                        assert!(log.iter().any(|line| line.contains("the signer did not sign")));
                    }
                    world.env.keys.asleep.set(false);
                    world.mine(vec![]);
                    assert_eq!(world.kinds().len(), 1);
                    world.settle();
                    let context = format!("{format:?} {restart:?} {kind:?} {sleep}");
                    assert_eq!(world.sorted_outcomes(), [(0, true), (1, false)], "{context}");
                    assert!(world.swept() >= 5_000_000 - 100_000 + 198_000 - 3_000, "{context}");
                }
            }
        }
    }
}

/// A close that is taken back while it was not understood is forgotten.
#[test]
fn a_close_that_is_taken_back_while_the_signer_sleeps_is_forgotten() {
    for format in FORMATS {
        let mut world = open(format);
        let close = world.mempool.values().next().unwrap().clone();
        let before = world.monitor();
        world.env.keys.asleep.set(true);
        world.mine(vec![close]);
        assert_ne!(world.monitor(), before);
        world.disconnect();
        assert_eq!(world.monitor(), before);
        world.env.keys.asleep.set(false);
        confirm(&mut world, Kind::Current);
        assert_eq!(world.kinds(), [SpendKind::Theirs { number: number(2) }]);
    }
}
