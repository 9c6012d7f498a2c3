//! Random play of two honest nodes: whatever the interleaving, no rule is broken, both agree, no money is made or lost.
use alloc::vec::Vec;

use lightning_traits::tx::CommitmentFormat;
use lightning_traits::units::Msat;
use proptest::prelude::*;

use super::pair::{Pair, fail, fulfil, hash, serial};
use crate::commitments::*;

#[derive(Clone, Debug)]
enum Move {
    Add {
        from: usize,
        amount: u64,
        secret: u8,
    },
    /// Most of what can be sent, in parts of 256.
    AddShare {
        from: usize,
        share: u64,
        secret: u8,
    },
    Remove {
        by: usize,
        which: usize,
        how: u8,
    },
    Fee {
        feerate: u32,
    },
    Sign {
        by: usize,
    },
    Deliver {
        from: usize,
        count: usize,
    },
    Reconnect {
        restarts: [bool; 2],
    },
    Done {
        by: usize,
    },
}

fn moves() -> impl Strategy<Value = Move> {
    let side = 0..2_usize;
    prop_oneof![
        4 => (side.clone(), prop_oneof![
            1..3_000_000_u64,
            Just(1_u64),
            (353_000..356_000_u64),
            (1_000_000..60_000_000_u64),
        ], 0..4_u8).prop_map(|(from, amount, secret)| Move::Add { from, amount, secret }),
        1 => (side.clone(), 1..=256_u64, 0..4_u8)
            .prop_map(|(from, share, secret)| Move::AddShare { from, share, secret }),
        4 => (side.clone(), 0..8_usize, 0..4_u8).prop_map(|(by, which, how)| Move::Remove { by, which, how }),
        1 => (253..8_000_u32).prop_map(|feerate| Move::Fee { feerate }),
        5 => side.clone().prop_map(|by| Move::Sign { by }),
        8 => (side.clone(), 1..5_usize).prop_map(|(from, count)| Move::Deliver { from, count }),
        1 => any::<[bool; 2]>().prop_map(|restarts| Move::Reconnect { restarts }),
        1 => side.prop_map(|by| Move::Done { by }),
    ]
}

fn play(pair: &mut Pair, step: &Move) {
    match *step {
        Move::Add { from, amount, secret } => {
            let _ = pair.add(from, Msat::new(amount), secret);
        }
        Move::AddShare { from, share, secret } => {
            let node = &pair.nodes[from];
            let most = node.state.sendable(&node.policy).to_msat();
            let amount = most * share / 256;
            let added = pair.add(from, Msat::new(amount), secret);
            assert!(amount == 0 || share < 256 || added.is_ok(), "sendable {most}: {added:?}");
        }
        Move::Remove { by, which, how } => {
            let pending: Vec<_> =
                pair.nodes[by].state.pending_incoming().map(|htlc| (htlc.id, htlc.hash)).collect();
            if let Some((id, locked)) = pending.get(which % pending.len().max(1)) {
                let secret = (0..4).find(|secret| hash(*secret) == *locked).unwrap();
                let removal = match how {
                    0 => fail(),
                    1 => Removal::Malformed { sha256_of_onion: [0; 32], code: BADONION | 5 },
                    _ => fulfil(secret),
                };
                pair.nodes[by].remove(*id, removal).unwrap();
            }
        }
        Move::Fee { feerate } => {
            let _ = pair.nodes[0].fee(feerate);
        }
        Move::Sign { by } => match pair.sign(by) {
            Ok(()) | Err(NotNow::NothingToSign | NotNow::AwaitingRevocation) => {}
            Err(other) => panic!("{other}"),
        },
        Move::Deliver { from, count } => {
            for _ in 0..count {
                if let Some(taken) = pair.deliver(from) {
                    taken.unwrap();
                }
            }
        }
        Move::Reconnect { restarts } => pair.reconnect(restarts),
        Move::Done { by } => {
            if let Some(notice) = pair.nodes[by].state.notices().first() {
                pair.nodes[by].evolve(Change::NoticeDone { notice: notice.key() });
            }
        }
    }
}

/// Removes whatever is left, and compares the balances with what was told.
fn finish(pair: &mut Pair, start: [Msat; 2]) {
    loop {
        pair.settle();
        let mut left = false;
        for by in [0, 1] {
            let pending: Vec<_> = pair.nodes[by].state.pending_incoming().map(|htlc| htlc.id).collect();
            for id in pending {
                left = true;
                pair.nodes[by].remove(id, fail()).unwrap();
            }
        }
        if !left {
            break;
        }
    }
    assert!(pair.nodes.iter().all(|node| node.state.is_drained()));
    let paid = |node: usize| -> u64 {
        let node = &pair.nodes[node];
        assert!(node.state.outgoing().next().is_none());
        let ended: Vec<_> = node.outcomes.keys().collect();
        let offered: Vec<_> = node.offered.keys().collect();
        assert_eq!(ended, offered, "each HTLC ends once, and nothing else does");
        let fulfilled = node
            .offered
            .iter()
            .filter(|(origin, _)| matches!(node.outcomes[origin], Outcome::Fulfilled { .. }));
        fulfilled.map(|(_, amount)| amount.to_msat()).sum()
    };
    let (first, second) = (paid(0), paid(1));
    assert_eq!(pair.nodes[0].state.our_balance().to_msat(), start[0].to_msat() + second - first);
    assert_eq!(pair.nodes[1].state.our_balance().to_msat(), start[1].to_msat() + first - second);
}

fn run(format: CommitmentFormat, pushed: u64, steps: &[Move]) {
    let mut pair = Pair::with(format, Msat::from_sat(pushed), |_, _| ());
    let start = [pair.nodes[0].state.our_balance(), pair.nodes[1].state.our_balance()];
    for step in steps {
        play(&mut pair, step);
    }
    for node in &pair.nodes {
        node.check_record();
    }
    finish(&mut pair, start);
    // Every origin that is left is one that was told.
    for node in &pair.nodes {
        for notice in node.state.notices() {
            if let Notice::Settled { origin, outcome, .. } = notice {
                assert_eq!(node.outcomes[&serial(&origin)], outcome);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn honest_play_with_anchors(pushed in 0..1_000_000_u64, steps in prop::collection::vec(moves(), 1..120)) {
        run(CommitmentFormat::AnchorsZeroFeeHtlc, pushed.min(980_000), &steps);
    }

    #[test]
    fn honest_play_without_anchors(pushed in 0..1_000_000_u64, steps in prop::collection::vec(moves(), 1..120)) {
        run(CommitmentFormat::StaticRemoteKey, pushed.min(980_000), &steps);
    }
}
