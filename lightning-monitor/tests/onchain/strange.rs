//! Spends of the funding output that are no commitment of which we know all: mutual close, data loss, nonsense.
use bitcoin::absolute::LockTime;
use bitcoin::transaction::Version;
use bitcoin::{
    Amount, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Txid, Witness, hashes::Hash as _,
};
use lightning_monitor::ChannelMonitor;
use lightning_traits::event::Event;
use lightning_traits::id::CommitmentNumber;
use lightning_traits::interface::ChainListener as _;
use lightning_traits::monitor::{MonitorStep, SpendKind};
use lightning_traits::tx::{CommitmentFormat, script::countersigner_output};
use lightning_traits::units::BlockHeight;
use proptest::prelude::*;

use crate::support::pair::number;
use crate::support::{BASE, Delta, FORMATS, Pair, RESTARTS, Restart, World, adding, offered, received};

const EXPIRY: u32 = BASE + 60;

#[test]
fn a_mutual_close_is_resolved_six_deep_and_watched_on() {
    for format in FORMATS {
        for restart in RESTARTS {
            let mut world = World::new(format, restart);
            world.learn(vec![MonitorStep::ShutdownStarted {}]);
            let close = world.pair.mutual();
            world.mine(vec![close]);
            assert_eq!(world.kinds(), [SpendKind::Mutual {}]);
            world.mine_blocks(4);
            assert_eq!(world.resolved_events(), 0);
            world.mine_blocks(1);
            assert_eq!(world.resolved_events(), 1);
            assert!(world.env.broadcasts.0.borrow().is_empty());
            assert_eq!(world.swept(), 0, "a mutual close needs no sweep");
        }
    }
}

/// A one-block reorganisation undoes a mutual close, and a revoked commitment confirms in its place (RELIABILITY D18).
#[test]
fn d18_a_mutual_close_that_is_undone_does_not_hide_a_breach() {
    for format in FORMATS {
        for depth in [1, 3, 6, 50, 99] {
            let mut world = World::new(format, Restart::Never);
            let steps = world.pair.commit(&Delta::default());
            world.learn(steps);
            world.learn(vec![MonitorStep::ShutdownStarted {}]);
            let close = world.pair.mutual();
            world.mine(vec![close]);
            world.mine_blocks(depth - 1);
            for _ in 0..depth {
                world.disconnect();
            }
            world.mine(vec![world.pair.their_commitment(0)]);
            let kinds = [SpendKind::Mutual {}, SpendKind::Revoked { number: number(0) }];
            assert_eq!(world.kinds(), kinds);
            world.mine_blocks(20);
            assert!(world.swept() > 9_000_000, "{format:?} {depth}");
            assert_eq!(world.resolved_events(), 1, "told once, whatever the chain does");
        }
    }
}

#[test]
fn a_close_nobody_asked_for_is_unknown() {
    for format in FORMATS {
        let mut world = World::new(format, Restart::Never);
        let close = world.pair.mutual();
        world.mine(vec![close]);
        assert_eq!(world.kinds(), [SpendKind::Unknown {}]);
        world.settle();
    }
}

/// The peer has proven that we lost data: nothing of ours is ever broadcast, not even for an HTLC that expires; our balance
/// and the HTLCs that we remember come back from its commitment.
#[test]
fn after_data_loss_nothing_is_broadcast_and_theirs_is_claimed() {
    for format in FORMATS {
        for restart in RESTARTS {
            let mut world = World::new(format, restart);
            let remembered = [offered(0, 100_000, 10, EXPIRY), received(0, 200_000, 20, EXPIRY + 100)];
            let forgotten = offered(1, 70_000, 11, EXPIRY);
            let gone = offered(2, 80_000, 12, EXPIRY);
            let steps = world.pair.commit(&adding(&[remembered[0], remembered[1], gone]));
            world.learn(steps);
            world.learn_preimage(&remembered[1]);
            // What follows the monitor never hears.
            let last_update = world.pair.last_update;
            world.pair.commit(&Delta { add: vec![forgotten], fail: vec![gone], fulfill: vec![] });
            world.pair.last_update = last_update;
            let point = world.pair.them.point(number(2));
            world.learn(vec![MonitorStep::DataLoss { point }]);
            world.learn(vec![MonitorStep::ForceClose {}]);
            world.set.rebroadcast();
            world.mine_to(EXPIRY + 30);
            assert!(world.mempool.is_empty(), "our commitment is old");
            assert!(
                !world.events.iter().any(|event| matches!(
                    event,
                    lightning_traits::monitor::MonitorEvent::ForceClosed { .. }
                ))
            );
            world.mine(vec![world.pair.their_commitment(2)]);
            assert_eq!(world.kinds(), [SpendKind::Future { number: number(2) }]);
            world.settle();
            let (_, _, commitment) = world.pair.built_theirs(2);
            let balance = commitment.tx.output[commitment.to_countersigner.unwrap() as usize].value.to_sat();
            assert_eq!(world.swept(), balance + 300_000);
            assert_eq!(world.sorted_outcomes(), [(0, false), (2, false)]);
        }
    }
}

/// A force-close that was asked for, but is not durable, does not survive the proof of data loss.
#[test]
fn data_loss_overtakes_a_force_close_that_is_not_durable() {
    let mut world = World::new(CommitmentFormat::StaticRemoteKey, Restart::Never);
    world.disk = false;
    let point = world.pair.them.point(number(9));
    world.learn(vec![MonitorStep::ForceClose {}]);
    world.learn(vec![MonitorStep::DataLoss { point }]);
    world.disk = true;
    world.after();
    world.mine_blocks(3);
    assert!(world.mempool.is_empty());
}

/// Whatever a witness looks like, only 32 bytes with the right hash are taken for a preimage (RELIABILITY D17, D25).
#[test]
fn d17_only_the_right_preimage_is_told() {
    let htlc = offered(0, 100_000, 10, EXPIRY);
    let right = htlc.preimage().as_bytes().to_vec();
    let wrong = vec![11; 32];
    let long = [right.clone(), vec![0]].concat();
    let shapes: [(Vec<Vec<u8>>, bool); 8] = [
        (vec![], false),
        (vec![vec![]; 10], false),
        (vec![wrong.clone(); 5], false),
        (vec![vec![], vec![1], vec![1], wrong, vec![2]], false),
        (vec![vec![], long, vec![2]], false),
        (vec![right[..31].to_vec(), vec![2]], false),
        (vec![vec![], vec![1], vec![1], right.clone(), vec![2]], true),
        (vec![right], true),
    ];
    for format in FORMATS {
        for (shape, told) in &shapes {
            for ours in [true, false] {
                let mut world = World::new(format, Restart::Never);
                let steps = world.pair.commit(&adding(&[htlc]));
                world.learn(steps);
                let previous_output = if ours {
                    world.learn(vec![MonitorStep::ForceClose {}]);
                    world.mine(vec![]);
                    world.pair.in_ours(&htlc)
                } else {
                    world.mine(vec![world.pair.their_commitment(1)]);
                    let (_, _, commitment) = world.pair.built_theirs(1);
                    OutPoint { txid: commitment.txid, vout: commitment.htlcs[0].vout }
                };
                let input = TxIn {
                    previous_output,
                    script_sig: ScriptBuf::new(),
                    sequence: Sequence::MAX,
                    witness: Witness::from_slice(shape),
                };
                let tx = Transaction {
                    version: Version::TWO,
                    lock_time: LockTime::ZERO,
                    input: vec![input],
                    output: vec![],
                };
                let empty = world.chain.clone().mine(vec![]);
                let block = bitcoin::Block { txdata: vec![tx], ..empty };
                world.set.block_connected(&block, BlockHeight::new(world.chain.height() + 1));
                world.after();
                let expected: &[(u64, bool)] = if *told { &[(0, true)] } else { &[] };
                assert_eq!(world.outcomes(), expected, "{shape:?}");
            }
        }
    }
}

/// A transaction that looks like a commitment, with whatever number and outputs.
fn arbitrary_spend() -> impl Strategy<Value = (Transaction, u8)> {
    let output = (any::<u32>(), 0_u8..6);
    let input =
        (any::<u32>(), proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..10));
    (
        any::<u32>(),
        any::<u32>(),
        0_u64..6,
        proptest::collection::vec(input, 0..4),
        proptest::collection::vec(output, 0..6),
        any::<[bool; 2]>(),
        0_u8..3,
    )
        .prop_map(|(lock_time, sequence, index, inputs, outputs, [looks, alone], stage)| {
            let pair = Pair::new(CommitmentFormat::AnchorsZeroFeeHtlc, 1, true);
            let obscured = pair.init.obscure.obscure(CommitmentNumber(index));
            let marks = if looks {
                (0x2000_0000 | (obscured & 0xff_ffff) as u32, 0x8000_0000 | (obscured >> 24) as u32)
            } else {
                (lock_time, sequence)
            };
            let first = TxIn {
                previous_output: pair.init.funding.outpoint,
                script_sig: ScriptBuf::new(),
                sequence: Sequence(marks.1),
                witness: Witness::new(),
            };
            let others = inputs.into_iter().map(|(vout, witness)| TxIn {
                previous_output: OutPoint { txid: Txid::from_byte_array([9; 32]), vout },
                script_sig: ScriptBuf::new(),
                sequence: Sequence(sequence),
                witness: Witness::from_slice(&witness),
            });
            let script = |kind| match kind {
                0 => countersigner_output(pair.init.format, &pair.us.public().payment_basepoint),
                1 => pair.init.funding.txout().script_pubkey,
                2 => ScriptBuf::new(),
                3 => ScriptBuf::from_bytes(vec![0x6a; 300]),
                _ => pair.built_theirs(0).2.tx.output[usize::from(kind) - 4].script_pubkey.clone(),
            };
            let output = |(value, kind)| TxOut {
                value: Amount::from_sat(u64::from(value)),
                script_pubkey: script(kind),
            };
            let tx = Transaction {
                version: Version::TWO,
                lock_time: LockTime::from_consensus(marks.0),
                input: core::iter::once(first).chain(others.filter(|_| !alone)).collect(),
                output: outputs.into_iter().map(output).collect(),
            };
            (tx, stage)
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever spends the funding output, and whatever spends that, is survived, in any state of the channel; the state
    /// still encodes, and when the block is taken back the channel goes to the chain again (RELIABILITY A2, D25).
    #[test]
    fn a02_d25_any_spend_of_the_funding_output_is_survived((tx, stage) in arbitrary_spend()) {
        let mut world = World::new(CommitmentFormat::AnchorsZeroFeeHtlc, Restart::Never);
        let htlcs = [offered(0, 100_000, 10, EXPIRY), received(0, 200_000, 20, EXPIRY)];
        let steps = world.pair.commit(&adding(&htlcs));
        world.learn(steps);
        match stage {
            0 => {}
            1 => world.learn(vec![MonitorStep::ShutdownStarted {}]),
            _ => {
                let point = world.pair.them.point(number(3));
                world.learn(vec![MonitorStep::DataLoss { point }]);
            }
        }
        let before = world.monitor();
        // The block is not one that the chain's rules would allow: the monitor is alone with it.
        let block = world.chain.clone().mine(vec![]);
        let spends = Transaction {
            input: (0..tx.output.len() as u32).map(|vout| TxIn {
                previous_output: OutPoint { txid: tx.compute_txid(), vout },
                script_sig: ScriptBuf::new(),
                sequence: Sequence::MAX,
                witness: Witness::from_slice(&vec![vec![1_u8; 32]; vout as usize]),
            }).collect(),
            ..tx.clone()
        };
        let spend = tx.compute_txid();
        let block = bitcoin::Block { txdata: vec![tx.clone(), spends, tx], ..block };
        let height = BlockHeight::new(world.chain.height() + 1);
        world.set.block_connected(&block, height);
        let after = world.monitor();
        prop_assert!(after.closed_by().is_some());
        prop_assert_eq!(ChannelMonitor::from_versioned(&after.to_versioned()).unwrap(), after);
        let empty = world.chain.clone().mine(vec![]);
        world.set.block_disconnected(&block.header, height);
        prop_assert_eq!(world.monitor().balances(), before.balances());
        world.env.broadcasts.0.take();
        for depth in 0..8 {
            world.set.block_connected(&empty, height.plus(depth));
        }
        let resolved = world.user.iter().any(|event| matches!(event, Event::Resolved { .. }));
        prop_assert!(!resolved, "nothing is decided any more");
        // What goes out again is what both may have agreed on, or ours, but never one that is old.
        let again: std::collections::BTreeSet<Txid> =
            world.env.broadcasts.0.take().iter().map(Transaction::compute_txid).collect();
        let ours = world.pair.built_ours().2.tx.compute_txid();
        match stage {
            0 => prop_assert_eq!(again, [ours].into()),
            1 => prop_assert!(again == [ours].into() || again == [spend].into()),
            _ => prop_assert!(!again.contains(&ours)),
        }
    }

    /// Damaged bytes are refused or read, never a panic (RELIABILITY J12).
    #[test]
    fn a_damaged_snapshot_never_panics(at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<prop::sample::Index>()) {
        let mut world = World::new(CommitmentFormat::StaticRemoteKey, Restart::Never);
        let steps = world.pair.commit(&adding(&[offered(0, 100_000, 10, EXPIRY)]));
        world.learn(steps);
        world.mine(vec![world.pair.their_commitment(1)]);
        let mut bytes = world.monitor().to_versioned();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(monitor) = ChannelMonitor::from_versioned(&bytes) {
            prop_assert_eq!(monitor.to_versioned(), bytes.clone());
        }
        let cut = cut.index(bytes.len());
        prop_assert!(ChannelMonitor::from_versioned(&bytes[..cut]).is_err());
    }
}

/// Any closing transaction that either side may publish, the replaced ones included, is a close of both: whatever its outputs,
/// sequence and locktime (BOLT 2, `closing_complete`; RELIABILITY K4). One that comes in place of another after a reorganisation
/// is too, and what was out before is not broadcast against it.
#[test]
fn k04_every_closing_transaction_of_either_side_is_mutual() {
    let scripts = |data: &[u8]| ScriptBuf::from_bytes(data.to_vec());
    let op_return = scripts(&[&[0x6a, 20][..], &[7; 20]].concat());
    for format in FORMATS {
        for restart in [Restart::Never, Restart::EachBlock] {
            let world = World::new(format, restart);
            let full = world.pair.mutual();
            let mut shapes = Vec::new();
            for lock_time in [0, 1, BASE - 1, 500_000_000, 0x2000_0000, 0x20ff_ffff, 0x2055_5555] {
                // Both outputs, one of them, or funds given away; with more fee each time.
                for outputs in [&full.output[..], &full.output[..1], &[]] {
                    let mut tx = full.clone();
                    tx.lock_time = LockTime::from_consensus(lock_time);
                    tx.input[0].sequence = Sequence(0xffff_fffd);
                    tx.output = outputs.to_vec();
                    if outputs.len() < 2 {
                        tx.output.push(TxOut { value: Amount::ZERO, script_pubkey: op_return.clone() });
                    }
                    shapes.push(world.pair.signed_by_both(tx));
                }
            }
            for (first, second) in shapes.iter().zip(shapes.iter().skip(1)) {
                let mut world = World::new(format, restart);
                world.learn(vec![MonitorStep::ShutdownStarted {}]);
                world.mine(vec![first.clone()]);
                world.mine_blocks(2);
                for _ in 0..3 {
                    world.disconnect();
                }
                world.censored = true;
                world.mine(vec![second.clone()]);
                assert_eq!(world.kinds(), [SpendKind::Mutual {}; 2], "{format:?} {second:?}");
                world.mine_blocks(8);
                assert_eq!(world.resolved_events(), 1);
                assert_eq!(world.monitor().closed_by().map(|(txid, _)| txid), Some(second.compute_txid()));
            }
        }
    }
}
