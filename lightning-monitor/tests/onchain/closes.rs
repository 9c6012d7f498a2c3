//! Each kind of close with HTLCs in every state: what is ours is swept, to the satoshi, and every HTLC is reported once.
use lightning_traits::event::Event;
use lightning_traits::monitor::{MonitorStep, SpendKind};
use lightning_traits::tx::{CommitmentFormat, TxSide, trim::htlc_fee};
use lightning_traits::units::FeeratePerKw;

use crate::support::pair::number;
use crate::support::{
    BASE, Delta, FEERATE, FORMATS, Htlc, Pair, RESTARTS, Restart, World, adding, offered, received,
};

const OFFERED_EXPIRY: u32 = BASE + 60;
const RECEIVED_EXPIRY: u32 = BASE + 80;

const TIMES_OUT: Htlc = offered(0, 100_000, 10, OFFERED_EXPIRY);
const IS_CLAIMED: Htlc = offered(1, 110_000, 11, OFFERED_EXPIRY);
const IS_TRIMMED: Htlc = offered(2, 300, 12, OFFERED_EXPIRY);
/// Two that nothing but their ids tells apart; the peer claims one of them.
const TWINS: [Htlc; 2] = [offered(3, 50_000, 13, OFFERED_EXPIRY), offered(4, 50_000, 13, OFFERED_EXPIRY)];
const KNOWN_BEFORE: Htlc = received(0, 200_000, 20, RECEIVED_EXPIRY);
const KNOWN_AFTER: Htlc = received(1, 210_000, 21, RECEIVED_EXPIRY);
const NEVER_KNOWN: Htlc = received(2, 220_000, 22, RECEIVED_EXPIRY);
const TRIMMED_IN: Htlc = received(3, 300, 23, RECEIVED_EXPIRY);

const ALL: [Htlc; 9] = [
    TIMES_OUT,
    IS_CLAIMED,
    IS_TRIMMED,
    TWINS[0],
    TWINS[1],
    KNOWN_BEFORE,
    KNOWN_AFTER,
    NEVER_KNOWN,
    TRIMMED_IN,
];

/// What becomes of the HTLCs that we offered in [`ALL`]: `true` for claimed.
const OUTCOMES: [(u64, bool); 5] = [(0, false), (1, true), (2, false), (3, true), (4, false)];

/// Each format, restart and opener.
fn each(test: impl Fn(World, CommitmentFormat)) {
    for format in FORMATS {
        for restart in RESTARTS {
            for we_opened in [true, false] {
                test(World::with(Pair::new(format, 1, we_opened), restart), format);
            }
        }
    }
}

/// A channel with all those HTLCs on both sides, one preimage known.
fn fill(world: &mut World) {
    let steps = world.pair.commit(&adding(&ALL));
    world.learn(steps);
    world.learn_preimage(&KNOWN_BEFORE);
    world.mine_blocks(3);
}

fn second_stage(format: CommitmentFormat, htlcs: &[Htlc]) -> u64 {
    let fee = |htlc: &Htlc| {
        let by = htlc.seen_by(TxSide::Broadcaster).offered_by;
        htlc_fee(format, FeeratePerKw::new(FEERATE), by).to_sat()
    };
    htlcs.iter().map(|htlc| htlc.msat / 1000 - fee(htlc)).sum()
}

fn sum(htlcs: &[Htlc]) -> u64 {
    htlcs.iter().map(|htlc| htlc.msat / 1000).sum()
}

#[test]
fn our_commitment() {
    each(|mut world, format| {
        fill(&mut world);
        world.learn(vec![MonitorStep::ForceClose {}]);
        assert_eq!(world.mempool.len(), 1, "the commitment is broadcast");
        world.mine(vec![]);
        enforce_ours(world, format);
    });
}

/// A watchtower went to the chain with it and refused the one after it, which the monitor has already: nothing revokes what is out.
#[test]
fn our_commitment_before_the_latest() {
    each(|mut world, format| {
        fill(&mut world);
        let before = world.pair.clone();
        let close = world.pair.our_commitment();
        let mut steps = world.pair.commit(&Delta { fulfill: vec![KNOWN_BEFORE], ..Delta::default() });
        steps.push(world.pair.sign_theirs(&Delta::default()));
        steps.push(world.pair.revoke_theirs());
        world.learn(steps);
        world.mine(vec![close]);
        let last_update = world.pair.last_update;
        world.pair = Pair { last_update, ..before };
        enforce_ours(world, format);
    });
}

/// The commitment that the pair has for ours has confirmed.
fn enforce_ours(mut world: World, format: CommitmentFormat) {
    assert_eq!(world.kinds(), [SpendKind::Ours { number: number(1) }]);
    world.mine_blocks(2);
    world.learn_preimage(&KNOWN_AFTER);
    let claims = [IS_CLAIMED, TWINS[0]].map(|htlc| world.pair.their_claim_of_ours(&htlc));
    world.mine(claims.to_vec());
    assert_eq!(world.sorted_outcomes(), [(1, true), (2, false), (3, true)], "reported at once");
    world.mine_to(RECEIVED_EXPIRY);
    world.mine(vec![world.pair.their_claim_of_ours(&NEVER_KNOWN)]);
    world.settle();

    let (_, _, commitment) = world.pair.built_ours();
    let to_local = commitment.tx.output[commitment.to_broadcaster.unwrap() as usize].value.to_sat();
    let expected = to_local + second_stage(format, &[TIMES_OUT, TWINS[1], KNOWN_BEFORE, KNOWN_AFTER]);
    assert_eq!(world.swept(), expected);
    finish(world, &OUTCOMES);
}

#[test]
fn their_current_commitment() {
    each(|mut world, _| {
        fill(&mut world);
        let close = world.pair.their_commitment(1);
        world.mine(vec![close]);
        assert_eq!(world.kinds(), [SpendKind::Theirs { number: number(1) }]);
        they_act(&mut world, 1);
        assert_eq!(
            world.swept(),
            to_remote(&world, 1) + sum(&[TIMES_OUT, TWINS[1], KNOWN_BEFORE, KNOWN_AFTER])
        );
        finish(world, &OUTCOMES);
    });
}

/// They publish the commitment that we signed and before which they did not revoke.
#[test]
fn their_next_commitment() {
    each(|mut world, _| {
        fill(&mut world);
        let added = offered(5, 70_000, 15, OFFERED_EXPIRY);
        let step = world.pair.sign_theirs(&adding(&[added]));
        world.learn(vec![step]);
        let close = world.pair.their_commitment(2);
        world.mine(vec![close]);
        assert_eq!(world.kinds(), [SpendKind::Theirs { number: number(2) }]);
        they_act(&mut world, 2);
        let ours = [TIMES_OUT, TWINS[1], KNOWN_BEFORE, KNOWN_AFTER, added];
        assert_eq!(world.swept(), to_remote(&world, 2) + sum(&ours));
        finish(world, &[&OUTCOMES[..], &[(5, false)]].concat());
    });
}

/// They publish the older of two valid ones: what only the newer has comes back, what it dropped is still claimed
/// (RELIABILITY D1, D3).
#[test]
fn their_current_commitment_while_the_next_is_signed() {
    each(|mut world, _| {
        fill(&mut world);
        let added = offered(5, 70_000, 15, OFFERED_EXPIRY);
        let delta = Delta { add: vec![added], fail: vec![IS_CLAIMED], fulfill: vec![] };
        let step = world.pair.sign_theirs(&delta);
        world.learn(vec![step]);
        let close = world.pair.their_commitment(1);
        world.mine(vec![close]);
        assert_eq!(world.kinds(), [SpendKind::Theirs { number: number(1) }]);
        they_act(&mut world, 1);
        assert_eq!(
            world.swept(),
            to_remote(&world, 1) + sum(&[TIMES_OUT, TWINS[1], KNOWN_BEFORE, KNOWN_AFTER])
        );
        finish(world, &[&OUTCOMES[..], &[(5, false)]].concat());
    });
}

/// They fulfilled an HTLC off chain in the newer commitment and publish one without it: it is not failed (RELIABILITY D1).
#[test]
fn an_htlc_missing_on_chain_whose_preimage_is_known_is_claimed_at_once() {
    each(|mut world, _| {
        fill(&mut world);
        world.learn_preimage(&IS_CLAIMED);
        let step = world.pair.sign_theirs(&Delta { fulfill: vec![IS_CLAIMED], ..Delta::default() });
        world.learn(vec![step]);
        let close = world.pair.their_commitment(2);
        world.mine(vec![close]);
        assert_eq!(world.sorted_outcomes(), [(1, true), (2, false)], "nobody can claim the trimmed one");
        world.mine_blocks(5);
        assert_eq!(world.sorted_outcomes(), [(1, true), (2, false)]);
    });
}

/// What no valid commitment has an output for fails with the first block, what one has only when another is irrevocable; whoever
/// publishes, and over a reorganisation once.
#[test]
fn c12_dust_fails_back_as_soon_as_a_commitment_confirms_and_what_could_be_claimed_only_6_deep() {
    for theirs in [Some(1), Some(2), None] {
        each(|mut world, _| {
            fill(&mut world);
            // Only their next commitment has it, or only it has not.
            let added = offered(5, 70_000, 15, OFFERED_EXPIRY);
            let dust = offered(6, 300, 16, OFFERED_EXPIRY);
            let step = world.pair.sign_theirs(&Delta {
                add: vec![added, dust],
                fail: vec![TIMES_OUT],
                fulfill: vec![],
            });
            world.learn(vec![step]);
            let close = match theirs {
                Some(index) => world.pair.their_commitment(index),
                None => world.pair.our_commitment(),
            };
            assert_eq!(world.outcomes(), []);
            world.mine(vec![close.clone()]);
            let early = [(2, false), (6, false)];
            assert_eq!(world.sorted_outcomes(), early);
            world.disconnect();
            world.mine(vec![close]);
            world.mine_blocks(4);
            assert_eq!(world.sorted_outcomes(), early, "nothing else fails before it is irrevocable");
            world.mine_blocks(1);
            let late = if theirs == Some(2) { (0, false) } else { (5, false) };
            let mut all = [early[0], early[1], late];
            all.sort_unstable();
            assert_eq!(world.sorted_outcomes(), all);
        });
    }
}

fn they_act(world: &mut World, index: u64) {
    world.mine_blocks(2);
    world.learn_preimage(&KNOWN_AFTER);
    let claims = [IS_CLAIMED, TWINS[0]].map(|htlc| world.pair.their_second_stage(index, &[htlc], &[], &[]));
    // With anchors these pay no fee, which a miner may take.
    world.mine(claims.to_vec());
    assert_eq!(world.sorted_outcomes(), [(1, true), (2, false), (3, true)], "reported at once");
    world.mine_to(RECEIVED_EXPIRY);
    let timeout = world.pair.their_second_stage(index, &[NEVER_KNOWN], &[], &[]);
    world.mine(vec![timeout]);
    world.settle();
}

fn to_remote(world: &World, index: u64) -> u64 {
    let (_, _, commitment) = world.pair.built_theirs(index);
    commitment.tx.output[commitment.to_countersigner.unwrap() as usize].value.to_sat()
}

/// All is reported, once; nothing more comes; the channel is archived when the last spend is 100 deep.
fn finish(mut world: World, outcomes: &[(u64, bool)]) {
    assert_eq!(world.sorted_outcomes(), outcomes);
    assert_eq!(world.resolved_events(), 1);
    let events = world.events.len();
    let settled = world.chain.height() - 5;
    assert!(world.mempool.is_empty(), "nothing is left to broadcast");
    world.mine_to(settled + 98);
    world.env.store.flush();
    assert!(world.env.store.archived().is_empty(), "watched until 100 deep");
    let channel = world.channel();
    world.restart = Restart::Never;
    world.mine(vec![]);
    world.mine(vec![]);
    assert_eq!(world.env.store.archived(), [channel]);
    assert!(world.set.channels().is_empty());
    assert_eq!(world.events.len(), events, "nothing is told after the end");
    assert!(world.env.wallet.lent().is_empty(), "no coins stay set aside");
}

#[test]
fn a_channel_whose_end_is_not_answered_is_kept_with_its_record_however_deep() {
    for restart in [Restart::Never, Restart::EachBlock] {
        let mut world = World::new(CommitmentFormat::AnchorsZeroFeeHtlc, restart);
        world.silent = true;
        world.learn(vec![MonitorStep::ForceClose {}]);
        world.settle();
        world.mine_blocks(150);
        assert_eq!(world.resolved_events(), 1);
        let channel = world.channel();
        assert!(world.env.store.archived().is_empty() && world.set.channels() == [channel]);
        // The event comes again until the channel answers.
        world.restart = Restart::Never;
        world.crash();
        world.silent = false;
        world.after();
        world.env.store.flush();
        assert_eq!(world.env.store.archived(), [channel]);
        assert!(world.set.channels().is_empty());
    }
}

#[test]
fn a_channel_given_up_is_kept_until_the_channel_layer_is_done_with_it() {
    for restart in [Restart::Never, Restart::EachBlock] {
        let mut world = World::with(Pair::new(CommitmentFormat::AnchorsZeroFeeHtlc, 1, false), restart);
        let channel = world.channel();
        world.silent = true;
        world.mine_blocks(120);
        world.learn(vec![MonitorStep::Abandoned {}]);
        world.mine_blocks(5);
        world.env.store.flush();
        assert_eq!((world.resolved_events(), world.set.channels()), (1, vec![channel]));
        assert!(world.env.store.archived().is_empty());
        assert!(world.user.is_empty(), "nothing was on chain of which the user could hear");
        world.restart = Restart::Never;
        world.crash();
        world.silent = false;
        world.after();
        world.env.store.flush();
        assert_eq!(world.env.store.archived(), [channel]);
    }
}

#[test]
fn a_channel_given_up_whose_funding_is_spent_after_all_is_resolved_like_any_other() {
    for restart in RESTARTS {
        let mut world = World::with(Pair::new(CommitmentFormat::AnchorsZeroFeeHtlc, 1, false), restart);
        world.learn(vec![MonitorStep::Abandoned {}]);
        assert_eq!(world.resolved_events(), 1);
        world.mine(vec![world.pair.their_commitment(0)]);
        world.settle();
        let told = world.user.iter().filter(|event| matches!(event, Event::Resolved { .. })).count();
        assert_eq!((told, world.resolved_events()), (1, 1 + usize::from(restart != Restart::LosingWrites)));
        assert!(world.env.store.archived().is_empty());
    }
}

#[test]
fn a_channel_that_never_was_funded_is_archived_when_it_is_given_up() {
    for restart in RESTARTS {
        let mut world = World::with(Pair::new(CommitmentFormat::AnchorsZeroFeeHtlc, 1, false), restart);
        let channel = world.channel();
        world.mine_blocks(2);
        world.learn(vec![MonitorStep::Abandoned {}]);
        world.restart = Restart::Never;
        world.mine_blocks(100);
        world.env.store.flush();
        assert_eq!(world.env.store.archived(), [channel]);
        assert!(world.set.channels().is_empty() && world.mempool.is_empty());
    }
}

/// The channel has not heard yet that the funding output is spent, and offers one HTLC more.
#[test]
fn an_htlc_that_is_offered_after_the_end_fails_like_those_that_the_end_lacks() {
    let late = offered(1, 70_000, 14, OFFERED_EXPIRY);
    for format in FORMATS {
        for restart in RESTARTS {
            for spend in 0..3 {
                for blocks in [0, 3, 30] {
                    let mut world = World::with(Pair::new(format, 1, true), restart);
                    let steps = world.pair.commit(&adding(&[TIMES_OUT]));
                    world.learn(steps);
                    let spend = match spend {
                        0 => world.pair.their_commitment(0),
                        1 => world.pair.their_commitment(1),
                        _ => world.pair.mutual(),
                    };
                    world.mine(vec![spend]);
                    world.mine_blocks(blocks);
                    let step = world.pair.sign_theirs(&adding(&[late]));
                    world.learn(vec![step]);
                    world.mine_to(OFFERED_EXPIRY + 20);
                    let what = format!("{format:?} {restart:?} {:?} {blocks}", world.kinds());
                    assert_eq!(world.sorted_outcomes(), [(0, false), (1, false)], "{what}");
                    world.settle();
                }
            }
        }
    }
}

/// Whatever comes between the last answer and the archive: nobody else knows the channel any more.
#[test]
fn a_crash_before_the_archive_leaves_no_monitor_for_nobody() {
    for format in FORMATS {
        let mut world = World::new(format, Restart::Never);
        world.silent = true;
        let close = world.pair.their_commitment(0);
        world.mine(vec![close]);
        world.mine_blocks(150);
        assert_eq!(world.set.channels().len(), 1);
        world.silent = false;
        world.disk = false;
        world.after();
        world.env.store.flush_before_archives();
        world.crash();
        world.disk = true;
        world.mine_blocks(1);
        assert!(world.set.channels().is_empty(), "{format:?}");
        world.env.store.flush();
        assert_eq!(world.env.store.archived().len(), 1, "{format:?}");
    }
}
