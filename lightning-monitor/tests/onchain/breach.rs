//! A revoked commitment is published: every output kind is taken, whatever the cheater does with its HTLCs first.
use bitcoin::opcodes::OP_TRUE;
use bitcoin::{
    Amount, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Txid, Witness, hashes::Hash as _,
};
use lightning_traits::event::Event;
use lightning_traits::monitor::SpendKind;
use lightning_traits::tx::CommitmentFormat;

use crate::support::pair::number;
use crate::support::{
    BASE, Delta, FORMATS, Htlc, Pair, RESTARTS, Restart, THEIR_DELAY, World, adding, offered, received,
};

const EXPIRY: u32 = BASE + 60;

/// In the revoked commitment; off-chain all but the last of each kind are gone since.
const OFFERED: [Htlc; 4] = [
    offered(0, 100_000, 10, EXPIRY),
    offered(1, 110_000, 11, EXPIRY),
    offered(2, 50_000, 12, EXPIRY),
    offered(3, 50_000, 12, EXPIRY),
];
const RECEIVED: [Htlc; 3] =
    [received(0, 200_000, 20, EXPIRY), received(1, 210_000, 21, EXPIRY), received(2, 210_000, 21, EXPIRY)];
const TRIMMED: Htlc = offered(4, 300, 13, EXPIRY);
/// Still in the channel, but not in the revoked commitment (RELIABILITY D5).
const YOUNGER: Htlc = offered(5, 60_000, 14, EXPIRY + 20);

fn each(test: impl Fn(World, CommitmentFormat)) {
    for format in FORMATS {
        for restart in RESTARTS {
            test(World::new(format, restart), format);
        }
    }
}

/// Commitment 1 holds all, 2 fails the first two of each kind, 3 adds a younger one. 1 and 2 are revoked.
fn fill(world: &mut World) {
    let all: Vec<Htlc> = OFFERED.into_iter().chain(RECEIVED).chain([TRIMMED]).collect();
    let mut steps = world.pair.commit(&adding(&all));
    let fail = vec![OFFERED[0], OFFERED[1], RECEIVED[0], RECEIVED[1]];
    steps.extend(world.pair.commit(&Delta { fail, ..Delta::default() }));
    steps.extend(world.pair.commit(&adding(&[YOUNGER])));
    world.learn(steps);
    world.mine_blocks(2);
}

/// All but fee, anchors and what was trimmed.
fn outputs_of(world: &World, index: u64, format: CommitmentFormat) -> u64 {
    let (_, _, commitment) = world.pair.built_theirs(index);
    let anchors = if format == CommitmentFormat::AnchorsZeroFeeHtlc { 660 } else { 0 };
    let all: Amount = commitment.tx.output.iter().map(|output| output.value).sum();
    all.to_sat() - anchors
}

#[test]
fn every_output_is_taken_at_once() {
    each(|mut world, format| {
        let restart = world.restart;
        for index in [1, 2] {
            world = World::new(format, restart);
            fill(&mut world);
            world.mine(vec![world.pair.their_commitment(index)]);
            assert_eq!(world.kinds(), [SpendKind::Revoked { number: number(index) }]);
            let (_, _, commitment) = world.pair.built_theirs(index);
            let anchors = if format == CommitmentFormat::AnchorsZeroFeeHtlc { 2 } else { 0 };
            if world.restart == Restart::Never {
                assert_eq!(
                    world.mempool.len(),
                    commitment.tx.output.len() - anchors,
                    "each by a claim of its own"
                );
            }
            world.settle();
            assert_eq!(world.swept(), outputs_of(&world, index, format));
            assert_eq!(world.sorted_outcomes(), [(2, false), (3, false), (4, false), (5, false)]);
            assert_eq!(world.resolved_events(), 1);
        }
    });
}

/// What was failed off chain and is gone from every valid commitment is told no more, though the chain shows it.
#[test]
fn d27_nothing_fails_before_the_penalty_is_irrevocable() {
    each(|mut world, _| {
        fill(&mut world);
        world.mine(vec![world.pair.their_commitment(1)]);
        world.mine_blocks(4);
        assert_eq!(world.outcomes(), []);
        world.mine_blocks(1);
        // 6 deep: what the commitment has not. The penalties are one block younger.
        assert_eq!(world.sorted_outcomes(), [(4, false), (5, false)]);
        world.mine_blocks(1);
        assert_eq!(world.sorted_outcomes(), [(2, false), (3, false), (4, false), (5, false)]);
    });
}

/// The cheater is faster with its HTLC-success and HTLC-timeout transactions: their outputs are taken, and the preimages
/// they show are told.
#[test]
fn the_cheaters_second_stage_is_taken() {
    each(|mut world, format| {
        fill(&mut world);
        world.mine(vec![world.pair.their_commitment(1)]);
        // Timeouts need the height; the cheater's miner friends keep our penalties out so long.
        world.censored = true;
        let claim = |world: &World, htlc: Htlc| world.pair.their_second_stage(1, &[htlc], &[], &[]);
        let successes = vec![claim(&world, OFFERED[0]), claim(&world, OFFERED[2])];
        world.mine(successes);
        assert_eq!(world.outcomes(), [(2, true)], "the preimage is told; the other HTLC is long gone");
        world.mine_to(EXPIRY);
        let timeouts = vec![claim(&world, RECEIVED[0]), claim(&world, RECEIVED[1])];
        world.mine(timeouts);
        world.censored = false;
        world.settle();
        // Second-stage transactions without anchors pay a fee out of the HTLC.
        let fees = if format == CommitmentFormat::StaticRemoteKey { 2 * 703 + 2 * 663 } else { 0 };
        assert_eq!(world.swept(), outputs_of(&world, 1, format) - fees);
        assert_eq!(world.sorted_outcomes(), [(2, true), (3, false), (4, false), (5, false)]);
    });
}

/// With anchors the cheater may put many second-stage pairs, and foreign ones, into one transaction (RELIABILITY D10).
#[test]
fn d10_aggregated_second_stage_with_foreign_inputs_and_outputs_is_taken() {
    for restart in RESTARTS {
        for (before, behind) in [(0, 0), (1, 0), (0, 1), (3, 2)] {
            let format = CommitmentFormat::AnchorsZeroFeeHtlc;
            let mut world = World::new(format, restart);
            fill(&mut world);
            let mut foreign: Vec<(TxIn, TxOut)> =
                (0..before + behind).map(|index| foreign_pair(&mut world, index)).collect();
            world.mine(vec![world.pair.their_commitment(1)]);
            world.censored = true;
            world.mine_to(EXPIRY);
            let behind = foreign.split_off(before as usize);
            // Their signatures hold for one lock time, so timeouts and successes go apart.
            let timeouts = [RECEIVED[2], RECEIVED[0], RECEIVED[1]];
            let successes = [OFFERED[3], OFFERED[0], OFFERED[1]];
            let (first, second) = (foreign.clone(), behind.clone());
            let more: Vec<(TxIn, TxOut)> = (50..52).map(|index| foreign_pair(&mut world, index)).collect();
            let aggregates = vec![
                world.pair.their_second_stage(1, &timeouts, &first, &second),
                world.pair.their_second_stage(1, &successes, &more, &[]),
            ];
            let ids: Vec<Txid> = aggregates.iter().map(Transaction::compute_txid).collect();
            world.mine(aggregates);
            world.censored = false;
            if restart == Restart::Never {
                // The cheater cannot touch them before its delay: one claim takes them all.
                let taken = |tx: &&Transaction| {
                    tx.input.iter().filter(|input| ids.contains(&input.previous_output.txid)).count()
                };
                let most = world.mempool.values().max_by_key(taken).map(|tx| taken(&tx));
                assert_eq!(most, Some(6));
            }
            world.settle();
            assert_eq!(world.swept(), outputs_of(&world, 1, format));
            assert_eq!(world.sorted_outcomes(), [(2, false), (3, true), (4, false), (5, false)]);
        }
    }
}

/// The last block before the cheater's delay has passed is early enough.
#[test]
fn second_stage_and_balance_are_taken_in_the_last_block_of_the_delay() {
    each(|mut world, format| {
        fill(&mut world);
        world.mine(vec![world.pair.their_commitment(1)]);
        world.censored = true;
        let success = world.pair.their_second_stage(1, &[OFFERED[0]], &[], &[]);
        world.mine(vec![success]);
        world.mine_blocks(u32::from(THEIR_DELAY) - 2);
        world.censored = false;
        world.mine(vec![]);
        world.settle();
        let fees = if format == CommitmentFormat::StaticRemoteKey { 703 } else { 0 };
        assert_eq!(world.swept(), outputs_of(&world, 1, format) - fees);
    });
}

/// Parts of one payment share hash and script; one of them has no output. Each is still known by its own id.
#[test]
fn d04_parts_of_one_payment_are_told_apart() {
    each(|mut world, format| {
        let parts = [
            offered(0, 300, 10, EXPIRY),
            offered(1, 40_000, 10, EXPIRY),
            offered(2, 30_000, 10, EXPIRY),
            offered(3, 30_000, 10, EXPIRY + 9),
            offered(4, 30_000, 10, EXPIRY - 9),
        ];
        let mut steps = world.pair.commit(&adding(&parts));
        steps.extend(world.pair.commit(&adding(&[YOUNGER])));
        world.learn(steps);
        world.mine(vec![world.pair.their_commitment(1)]);
        world.censored = true;
        let claims = [parts[1], parts[3]].map(|htlc| world.pair.their_second_stage(1, &[htlc], &[], &[]));
        world.mine(claims.to_vec());
        // Once the preimage is known, the one without an output is claimed too; the one in no revoked state fails.
        assert_eq!(world.sorted_outcomes(), [(0, true), (1, true), (3, true)]);
        world.censored = false;
        world.settle();
        let fees = if format == CommitmentFormat::StaticRemoteKey { 2 * 703 } else { 0 };
        assert_eq!(world.swept(), outputs_of(&world, 1, format) - fees);
        let expected = [(0, true), (1, true), (2, false), (3, true), (4, false), (5, false)];
        assert_eq!(world.sorted_outcomes(), expected);
    });
}

/// An HTLC left just as its twin came: the revoked commitment has the twin.
#[test]
fn a_twin_that_came_as_the_other_left_is_not_taken_for_it() {
    each(|mut world, _| {
        let (old, twin) = (offered(0, 40_000, 10, EXPIRY), offered(1, 40_000, 10, EXPIRY));
        let mut steps = world.pair.commit(&adding(&[old]));
        steps.extend(world.pair.commit(&Delta { add: vec![twin], fail: vec![old], fulfill: vec![] }));
        steps.extend(world.pair.commit(&adding(&[YOUNGER])));
        world.learn(steps);
        world.mine(vec![world.pair.their_commitment(2)]);
        world.censored = true;
        let success = world.pair.their_second_stage(2, &[twin], &[], &[]);
        world.mine(vec![success]);
        assert_eq!(world.outcomes(), [(1, true)]);
    });
}

/// What the cheater gets away with after its delay is lost, and the channel still comes to an end.
#[test]
fn a_balance_that_the_cheater_took_is_lost_and_resolved() {
    each(|mut world, _| {
        fill(&mut world);
        let commitment = world.pair.their_commitment(1);
        world.mine(vec![commitment.clone()]);
        world.censored = true;
        world.mine_blocks(u32::from(THEIR_DELAY));
        let theft = world.pair.their_sweep(1);
        let stolen: Amount = world.chain.coins[&theft.input[0].previous_output].output.value;
        world.mine(vec![theft]);
        world.censored = false;
        world.settle();
        let all: Amount = commitment.output.iter().map(|output| output.value).sum();
        assert!(world.swept() <= (all - stolen).to_sat());
        assert!(world.swept() > 1_000_000);
    });
}

/// They revoke a commitment that is on chain already: it is punished from then on, second stage and all.
#[test]
fn a_commitment_revoked_after_it_confirmed_is_punished() {
    each(|mut world, format| {
        let steps = world.pair.commit(&adding(&[OFFERED[0], OFFERED[1], RECEIVED[0]]));
        world.learn(steps);
        let fail = vec![OFFERED[0]];
        let step = world.pair.sign_theirs(&Delta { fail, ..Delta::default() });
        world.learn(vec![step]);
        world.censored = true;
        world.mine(vec![world.pair.their_commitment(1)]);
        let success = world.pair.their_second_stage(1, &[OFFERED[0]], &[], &[]);
        world.mine(vec![success]);
        assert_eq!(world.kinds(), [SpendKind::Theirs { number: number(1) }]);
        let step = world.pair.revoke_theirs();
        world.learn(vec![step]);
        world.mine(vec![]);
        let kinds = [SpendKind::Theirs { number: number(1) }, SpendKind::Revoked { number: number(1) }];
        assert_eq!(world.kinds(), kinds);
        world.censored = false;
        world.settle();
        let fees = if format == CommitmentFormat::StaticRemoteKey { 703 } else { 0 };
        assert_eq!(world.swept(), outputs_of(&world, 1, format) - fees);
        assert_eq!(world.sorted_outcomes(), [(0, true), (1, false)]);
    });
}

/// A revoked commitment with as many HTLCs as a channel may hold, many of them equal.
#[test]
fn b15_c06_hundreds_of_equal_htlcs_are_taken_each() {
    let mut world = World::new(CommitmentFormat::AnchorsZeroFeeHtlc, Restart::Never);
    let htlcs: Vec<Htlc> = (0..240)
        .flat_map(|id| {
            [offered(id, 5_000, (id % 3) as u8, EXPIRY), received(id, 5_000, (id % 2) as u8, EXPIRY)]
        })
        .collect();
    let mut steps = world.pair.commit(&adding(&htlcs));
    steps.extend(world.pair.commit(&Delta { fail: htlcs, ..Delta::default() }));
    world.learn(steps);
    world.mine(vec![world.pair.their_commitment(1)]);
    assert_eq!(world.mempool.len(), 482);
    world.settle();
    assert_eq!(world.swept(), outputs_of(&world, 1, CommitmentFormat::AnchorsZeroFeeHtlc));
    assert_eq!(world.outcomes(), []);
}

/// An old commitment of *ours* has an old number too; it is not taken for theirs.
#[test]
fn an_old_commitment_of_ours_is_no_breach() {
    each(|mut world, _| {
        fill(&mut world);
        let old = Pair { our_number: number(1), ..world.pair.clone() };
        let (_, _, commitment) = old.built_ours();
        world.mine(vec![old.signed_by_both(commitment.tx)]);
        assert_eq!(world.kinds(), [SpendKind::Unknown {}]);
        world.settle();
        assert_eq!(world.swept(), 0);
    });
}

/// The oldest state of many is punished like the newest, after a restart from its own encoding.
#[test]
fn any_of_many_revoked_states_is_punished() {
    for format in FORMATS {
        let mut pair = Pair::new(format, 1, true);
        let mut steps = Vec::new();
        let mut live: Vec<Htlc> = Vec::new();
        for round in 0..24_u64 {
            let htlc = if round % 2 == 0 {
                offered(round / 2, 10_000 + round, round as u8, EXPIRY)
            } else {
                received(round / 2, 20_000 + round, round as u8, EXPIRY)
            };
            // Each lives for five commitments.
            let old = if live.len() == 5 { vec![live.remove(0)] } else { vec![] };
            live.push(htlc);
            steps.push(pair.commit(&Delta { add: vec![htlc], fail: old, fulfill: vec![] }));
        }
        for index in 0..24 {
            let mut world = World::with(Pair::new(format, 1, true), Restart::Never);
            world.pair = Pair { last_update: world.pair.last_update, ..pair.clone() };
            for steps in &steps {
                world.learn(steps.clone());
            }
            world.crash();
            world.mine(vec![world.pair.their_commitment(index)]);
            assert_eq!(world.kinds(), [SpendKind::Revoked { number: number(index) }]);
            world.settle();
            assert_eq!(world.swept(), outputs_of(&world, index, format), "{format:?} {index}");
        }
    }
}

/// A penalty that cannot pay for haste is claimed slowly.
#[test]
fn small_outputs_are_claimed_at_the_slow_rate_when_the_fast_one_would_eat_them() {
    for format in FORMATS {
        let mut world = World::new(format, Restart::Never);
        let small = offered(0, 2_500, 10, EXPIRY);
        let mut steps = world.pair.commit(&adding(&[small]));
        steps.extend(world.pair.commit(&Delta { fail: vec![small], ..Delta::default() }));
        world.learn(steps);
        world.env.fees.urgent.set(20_000);
        world.mine(vec![world.pair.their_commitment(1)]);
        world.settle();
        assert_eq!(world.swept(), outputs_of(&world, 1, format));
        let swept = world.user.iter().filter(|event| matches!(event, Event::Swept { .. })).count();
        assert_eq!(swept, 3);
    }
}

/// An input and an output of somebody else.
fn foreign_pair(world: &mut World, index: u32) -> (TxIn, TxOut) {
    let script = ScriptBuf::from_bytes(vec![OP_TRUE.to_u8()]);
    let outpoint = OutPoint { txid: Txid::from_byte_array([0xf0; 32]), vout: index };
    let output = TxOut { value: Amount::from_sat(9_000), script_pubkey: script.to_p2wsh() };
    world.chain.grant(outpoint, output);
    let input = TxIn {
        previous_output: outpoint,
        script_sig: ScriptBuf::new(),
        sequence: Sequence::MAX,
        witness: Witness::from_slice(&[script.as_bytes()]),
    };
    (input, TxOut { value: Amount::from_sat(8_000), script_pubkey: script.to_p2wsh() })
}
