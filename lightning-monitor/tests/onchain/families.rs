//! Bugs of other implementations in on-chain resolution as families over channel type, kind of commitment, state of the HTLC,
//! restart and reorganisation; the names begin with the ids of the project's catalogue (see `../README.md`).
use bitcoin::{OutPoint, Transaction};
use lightning_traits::monitor::{MonitorStep, SpendKind};
use lightning_traits::tx::{CommitmentFormat, TxSide};
use proptest::prelude::*;

use crate::support::pair::number;
use crate::support::{BASE, Delta, FORMATS, Htlc, RESTARTS, Restart, World, adding, offered, received};

const EXPIRY: u32 = BASE + 80;

/// Which valid commitment confirms. `Current` is older than one that we have signed since, and not revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Ours,
    Current,
    Next,
}

const KINDS: [Kind; 3] = [Kind::Ours, Kind::Current, Kind::Next];

/// In every commitment; in all but the next of theirs; in that alone.
const BOTH: Htlc = offered(0, 100_000, 10, EXPIRY);
const GOING: Htlc = offered(1, 110_000, 11, EXPIRY);
const COMING: Htlc = offered(2, 120_000, 12, EXPIRY);

fn half_way(format: CommitmentFormat, restart: Restart) -> World {
    let mut world = World::new(format, restart);
    let steps = world.pair.commit(&adding(&[BOTH, GOING]));
    world.learn(steps);
    let delta = Delta { add: vec![COMING], fail: vec![GOING], fulfill: vec![] };
    let step = world.pair.sign_theirs(&delta);
    world.learn(vec![step]);
    world
}

fn confirm(world: &mut World, kind: Kind) {
    match kind {
        Kind::Ours => {
            world.learn(vec![MonitorStep::ForceClose {}]);
            world.mine(vec![]);
        }
        Kind::Current => world.mine(vec![world.pair.their_commitment(1)]),
        Kind::Next => world.mine(vec![world.pair.their_commitment(2)]),
    }
    let expected = match kind {
        Kind::Ours => SpendKind::Ours { number: number(1) },
        Kind::Current => SpendKind::Theirs { number: number(1) },
        Kind::Next => SpendKind::Theirs { number: number(2) },
    };
    assert_eq!(world.kinds().last(), Some(&expected));
}

/// The peer's claim with the preimage, in whichever commitment confirmed.
fn their_claim(world: &World, kind: Kind, htlc: &Htlc) -> Transaction {
    match kind {
        Kind::Ours => world.pair.their_claim_of_ours(htlc),
        Kind::Current => world.pair.their_second_stage(1, &[*htlc], &[], &[]),
        Kind::Next => world.pair.their_second_stage(2, &[*htlc], &[], &[]),
    }
}

/// An HTLC that the confirmed commitment lacks fails upstream only when that is irrevocable and no preimage is known; one that
/// it has is claimed as soon as the preimage shows, whichever of the valid commitments confirmed, ours too.
#[test]
fn d01_d02_d03_missing_htlcs_fail_only_six_deep_and_without_a_preimage() {
    for format in FORMATS {
        for restart in RESTARTS {
            for kind in KINDS {
                for is_known in [false, true] {
                    let mut world = half_way(format, restart);
                    let (missing, there) = if kind == Kind::Next { (GOING, COMING) } else { (COMING, GOING) };
                    if is_known {
                        world.learn_preimage(&missing);
                    }
                    confirm(&mut world, kind);
                    let at_once = if is_known { vec![(missing.id, true)] } else { vec![] };
                    assert_eq!(world.sorted_outcomes(), at_once, "{format:?} {restart:?} {kind:?}");
                    let claim = their_claim(&world, kind, &there);
                    world.mine(vec![claim]);
                    assert!(world.outcomes().contains(&(there.id, true)), "{format:?} {restart:?} {kind:?}");
                    world.mine_blocks(3);
                    assert_eq!(world.outcomes().len(), at_once.len() + 1, "five deep is not six");
                    world.mine_blocks(1);
                    assert_eq!(world.outcomes().len(), 2);
                    world.settle();
                    let mut expected = vec![(0, false), (missing.id, is_known), (there.id, true)];
                    expected.sort_unstable();
                    assert_eq!(world.sorted_outcomes(), expected);
                }
            }
        }
    }
}

/// The commitment with the HTLC takes the place of one without it, and the other way round, within six blocks: what was not
/// irrevocable was not told.
#[test]
fn d01_d09_a_swap_before_six_blocks_fails_nothing_too_early() {
    for format in FORMATS {
        for (first, last) in KINDS.into_iter().flat_map(|first| KINDS.map(|last| (first, last))) {
            for depth in 1..=5 {
                let mut world = half_way(format, Restart::Never);
                confirm(&mut world, first);
                world.mine_blocks(depth - 1);
                for _ in 0..depth {
                    world.disconnect();
                }
                assert_eq!(world.outcomes(), []);
                confirm(&mut world, last);
                let there = if last == Kind::Next { COMING } else { GOING };
                let claim = their_claim(&world, last, &there);
                world.mine(vec![claim]);
                assert_eq!(world.outcomes(), [(there.id, true)], "{format:?} {first:?} {last:?} {depth}");
                world.settle();
                let outcome = |id| (id, id == there.id);
                assert_eq!(world.sorted_outcomes(), [0, 1, 2].map(outcome));
            }
        }
    }
}

/// Equal HTLCs are in the channel, the revoked state that confirms holds some: all of them fail, each once, six deep.
#[test]
fn d05_equal_htlcs_that_a_revoked_state_lacks_fail_with_it() {
    for format in FORMATS {
        for (count, held) in [(1, 0), (1, 1), (2, 1), (5, 2), (20, 1), (50, 25)] {
            let mut world = World::new(format, Restart::Never);
            let htlcs: Vec<Htlc> = (0..count).map(|id| offered(id, 40_000, 10, EXPIRY)).collect();
            let (early, late) = htlcs.split_at(held);
            let mut steps = world.pair.commit(&adding(early));
            steps.extend(world.pair.commit(&adding(late)));
            steps.extend(world.pair.commit(&Delta::default()));
            world.learn(steps);
            world.mine(vec![world.pair.their_commitment(1)]);
            assert_eq!(world.kinds(), [SpendKind::Revoked { number: number(1) }]);
            world.mine_blocks(4);
            assert_eq!(world.outcomes(), []);
            // The commitment is six deep now, its penalties one block later.
            world.mine_blocks(2);
            let expected: Vec<(u64, bool)> = (0..count).map(|id| (id, false)).collect();
            assert_eq!(world.sorted_outcomes(), expected, "{format:?} {count} {held}");
            world.settle();
        }
    }
}

/// Preimages come in any order, before and between the confirmations of other claims.
#[test]
fn d07_preimages_that_come_between_confirmations() {
    let htlcs: [Htlc; 4] = [0, 1, 2, 3].map(|id| received(id, 50_000 + id * 1_000, 20 + id as u8, EXPIRY));
    for format in FORMATS {
        for restart in RESTARTS {
            for kind in KINDS {
                for order in [[0, 1, 2, 3], [3, 1, 0, 2], [2, 3, 1, 0]] {
                    let mut world = World::new(format, restart);
                    let steps = world.pair.commit(&adding(&htlcs));
                    world.learn(steps);
                    let step = world.pair.sign_theirs(&Delta::default());
                    world.learn(vec![step]);
                    world.learn_preimage(&htlcs[order[0]]);
                    confirm(&mut world, kind);
                    for (blocks, index) in (0..).zip(&order[1..]) {
                        world.learn_preimage(&htlcs[*index]);
                        world.mine_blocks(blocks);
                    }
                    world.settle();
                    let (us, commitment) = match kind {
                        Kind::Ours => (TxSide::Broadcaster, world.pair.built_ours().2),
                        Kind::Current => (TxSide::Countersigner, world.pair.built_theirs(1).2),
                        Kind::Next => (TxSide::Countersigner, world.pair.built_theirs(2).2),
                    };
                    for htlc in &htlcs {
                        let place = commitment.htlcs.iter().find(|output| output.htlc == htlc.seen_by(us));
                        let place = OutPoint { txid: commitment.txid, vout: place.unwrap().vout };
                        let claim = world.chain.spender(place).expect("claimed");
                        let claims =
                            claim.input.iter().filter(|input| input.previous_output.txid == commitment.txid);
                        assert_eq!(claims.count(), 1, "each alone: the peer may take any of them");
                    }
                }
            }
        }
    }
}

/// The cheater aggregates any number of second stages, foreign inputs and outputs beside them: all of it is taken, at any size.
#[test]
fn d10_any_number_of_aggregated_second_stages_is_taken() {
    for count in [1, 2, 3, 10, 30, 50] {
        let htlcs: Vec<Htlc> =
            (0..count).map(|id| offered(id, 20_000 + id, (id % 7) as u8, EXPIRY)).collect();
        let mut world = World::new(CommitmentFormat::AnchorsZeroFeeHtlc, Restart::EachBlock);
        let mut steps = world.pair.commit(&adding(&htlcs));
        steps.extend(world.pair.commit(&Delta { fail: htlcs.clone(), ..Delta::default() }));
        world.learn(steps);
        let commitment = world.pair.their_commitment(1);
        world.mine(vec![commitment.clone()]);
        world.censored = true;
        let mut shuffled = htlcs.clone();
        shuffled.sort_by_key(|htlc| (htlc.id * 7) % 11);
        let aggregate = world.pair.their_second_stage(1, &shuffled, &[], &[]);
        world.mine(vec![aggregate]);
        world.mine_blocks(60);
        world.censored = false;
        world.settle();
        let all: u64 = commitment.output.iter().map(|output| output.value.to_sat()).sum();
        assert_eq!(world.swept(), all - 660, "{count}");
    }
}

/// What is broadcast is lost on its way for many blocks, for whatever reason: it is sent again until it confirms.
#[test]
fn d16_lost_broadcasts_are_sent_again() {
    for format in FORMATS {
        for kind in KINDS {
            let mut world = half_way(format, Restart::EachBlock);
            world.learn(vec![MonitorStep::ForceClose {}]);
            for _ in 0..10 {
                world.mempool.clear();
                world.mine(vec![]);
            }
            confirm(&mut world, kind);
            world.mine_to(EXPIRY + 2);
            for _ in 0..10 {
                world.mempool.clear();
                world.mine(vec![]);
            }
            world.settle();
            assert_eq!(world.outcomes().len(), 3);
        }
    }
}

/// A close of any kind is taken back, however deep it was, and a revoked state confirms in its place.
#[test]
fn d18_a_breach_in_the_place_of_any_close() {
    for format in FORMATS {
        for kind in KINDS {
            for depth in [1, 2, 6, 7, 40, 99] {
                let mut world = half_way(format, Restart::Never);
                confirm(&mut world, kind);
                world.censored = true;
                world.mine_blocks(depth - 1);
                for _ in 0..depth {
                    world.disconnect();
                }
                world.censored = false;
                world.mine(vec![world.pair.their_commitment(0)]);
                assert_eq!(world.kinds().last(), Some(&SpendKind::Revoked { number: number(0) }));
                world.mine_blocks(20);
                let commitment = world.pair.built_theirs(0).2;
                for vout in [commitment.to_broadcaster, commitment.to_countersigner].into_iter().flatten() {
                    let place = OutPoint { txid: commitment.txid, vout };
                    assert!(world.chain.spender(place).is_some(), "{format:?} {kind:?} {depth}");
                }
                assert!(world.resolved_events() <= 1);
            }
        }
    }
}

/// A claim with a lock is out as soon as the next block may have it, not a block before: the chain of these tests refuses what
/// is too early.
#[test]
fn d19_claims_are_out_for_the_first_block_that_may_have_them() {
    for format in FORMATS {
        for kind in [Kind::Ours, Kind::Current] {
            for late in [0_u32, 1, 2] {
                let mut world = half_way(format, Restart::Never);
                confirm(&mut world, kind);
                let commitment = match kind {
                    Kind::Ours => world.pair.built_ours().2,
                    _ => world.pair.built_theirs(1).2,
                };
                let side = if kind == Kind::Ours { TxSide::Broadcaster } else { TxSide::Countersigner };
                let output = commitment.htlcs.iter().find(|output| output.htlc == BOTH.seen_by(side));
                let place = OutPoint { txid: commitment.txid, vout: output.unwrap().vout };
                let is_out = |world: &World| {
                    world.mempool.values().any(|tx| tx.input.iter().any(|i| i.previous_output == place))
                };
                world.mine_to(EXPIRY - 1);
                assert!(!is_out(&world), "{format:?} {kind:?}");
                world.censored = true;
                world.mine_blocks(1 + late);
                assert!(is_out(&world), "{format:?} {kind:?}");
                world.censored = false;
                world.mine_blocks(1);
                assert!(world.chain.spender(place).is_some());
            }
        }
    }
}

/// Whatever a crash lost is decided again the same way: no two claims of ours compete for an output or for a coin.
#[test]
fn d21_replays_after_crashes_never_compete_with_what_is_out() {
    for format in FORMATS {
        for kind in KINDS {
            for crash in [1, 5, 30] {
                let mut world = half_way(format, Restart::Never);
                confirm(&mut world, kind);
                for _ in 0..3 {
                    world.mine_blocks(crash);
                    world.crash();
                    world.crash();
                    // All that is sent again must be what is out, or replace it.
                    world.set.rebroadcast();
                    world.take_broadcasts(true);
                }
                world.settle();
                let swept = world.swept();
                world.crash();
                world.mine_blocks(3);
                assert_eq!(world.swept(), swept, "nothing is told again");
                assert_eq!(world.resolved_events(), 1);
            }
        }
    }
}

/// What the cheater does in one block.
#[derive(Clone, Debug)]
struct Attack {
    /// Which HTLCs it puts into one second-stage transaction.
    takes: u8,
    /// Blocks that it waits before.
    waits: u32,
    /// Whether its block is taken back, and comes without its transaction.
    is_undone: bool,
    /// Whether our transactions are kept out meanwhile.
    is_censored: bool,
}

fn attacks() -> impl Strategy<Value = Vec<Attack>> {
    let attack = (any::<u8>(), 0_u32..4, any::<bool>(), any::<bool>())
        .prop_map(|(takes, waits, is_undone, is_censored)| Attack { takes, waits, is_undone, is_censored });
    proptest::collection::vec(attack, 0..7)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Any sets of HTLCs are taken from under our claims in aggregated transactions, block by block, some of which are taken
    /// back: every output that is left is claimed, and so is every second stage (RELIABILITY D6, D20).
    #[test]
    fn d06_d20_any_part_of_our_claims_is_taken_away(attacks in attacks(), restart in 0_usize..3, near in any::<bool>()) {
        let htlcs: Vec<Htlc> = (0..7).map(|id| offered(id, 30_000 + id * 500, id as u8 + 1, EXPIRY)).collect();
        let mut world = World::new(CommitmentFormat::AnchorsZeroFeeHtlc, RESTARTS[restart]);
        let mut steps = world.pair.commit(&adding(&htlcs));
        steps.extend(world.pair.commit(&Delta { fail: htlcs.clone(), ..Delta::default() }));
        world.learn(steps);
        let commitment = world.pair.their_commitment(1);
        let txid = commitment.compute_txid();
        world.mine(vec![commitment.clone()]);
        world.censored = true;
        if near {
            // The cheater's own claim of its balance is near.
            world.mine_blocks(70);
        }
        for attack in attacks {
            world.censored = attack.is_censored;
            world.mine_blocks(attack.waits);
            let places = |htlc: &Htlc| {
                let built = world.pair.built_theirs(1).2;
                let seen = htlc.seen_by(TxSide::Countersigner);
                let output = built.htlcs.iter().find(|output| output.htlc == seen).unwrap().vout;
                OutPoint { txid, vout: output }
            };
            let takes = |htlc: &&Htlc| {
                attack.takes & (1 << htlc.id) != 0 && world.chain.coins.contains_key(&places(htlc))
            };
            let taken: Vec<Htlc> = htlcs.iter().filter(takes).copied().collect();
            if taken.is_empty() {
                continue;
            }
            let theft = world.pair.their_second_stage(1, &taken, &[], &[]);
            world.mine(vec![theft]);
            if attack.is_undone && world.restart == Restart::Never {
                world.disconnect();
                world.mine(vec![]);
            }
        }
        world.censored = false;
        world.settle();
        let all: u64 = commitment.output.iter().map(|output| output.value.to_sat()).sum();
        prop_assert_eq!(world.swept_last(), all - 660);
    }
}
