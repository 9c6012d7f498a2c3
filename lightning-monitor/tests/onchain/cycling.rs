//! Replacement cycling (RELIABILITY D14, CVE-2023-40231): the peer takes our claim of an expired HTLC out of mempools by a claim with the
//! preimage, and then that by something else, again and again, until the incoming HTLC has expired too.
use bitcoin::{OutPoint, Transaction};
use lightning_traits::monitor::MonitorStep;
use lightning_traits::tx::{CommitmentFormat, TxSide};

use crate::support::{BASE, FORMATS, Htlc, RESTARTS, Restart, World, adding, offered};

const EXPIRY: u32 = BASE + 40;
/// Blocks after its expiry by which it must be ours again, or the preimage known.
const WINDOW: u32 = 24;
const OUT: Htlc = offered(0, 400_000, 10, EXPIRY);
/// How often we broadcast again between two blocks.
const ROUNDS: u32 = 10;

/// The HTLC has expired on a commitment of this side, and our claim is out.
fn expired(format: CommitmentFormat, restart: Restart, ours: bool) -> (World, OutPoint) {
    let mut world = World::new(format, restart);
    let (outpoint, output) = world.env.wallet.fill(100, 400_000);
    world.chain.grant(outpoint, output);
    let steps = world.pair.commit(&adding(&[OUT]));
    world.learn(steps);
    if ours {
        world.learn(vec![MonitorStep::ForceClose {}]);
        world.mine(vec![]);
    } else {
        world.mine(vec![world.pair.their_commitment(1)]);
    }
    let side = if ours { TxSide::Broadcaster } else { TxSide::Countersigner };
    let built = if ours { world.pair.built_ours().2 } else { world.pair.built_theirs(1).2 };
    let output = built.htlcs.iter().find(|output| output.htlc == OUT.seen_by(side)).unwrap();
    let place = OutPoint { txid: built.txid, vout: output.vout };
    assert_eq!(world.set.contested(), [place]);
    world.mine_to(EXPIRY);
    assert!(claim(&world, place).is_some());
    (world, place)
}

fn claim(world: &World, place: OutPoint) -> Option<Transaction> {
    world.mempool.values().find(|tx| tx.input[0].previous_output == place).cloned()
}

/// The claim by which the peer takes ours out.
fn their_claim(world: &World, ours: bool) -> Transaction {
    if ours {
        world.pair.their_claim_of_ours(&OUT)
    } else {
        world.pair.their_second_stage(1, &[OUT], &[], &[])
    }
}

/// Whoever sees the peer's claim wait has the preimage, and the HTLC is claimed upstream while the peer still goes round.
#[test]
fn d14_a_preimage_in_a_mempool_is_used_at_once() {
    for format in FORMATS {
        for restart in RESTARTS {
            for ours in [false, true] {
                let (mut world, place) = expired(format, restart, ours);
                let attack = their_claim(&world, ours);
                // What shows no preimage, or a wrong one, or spends something else, teaches nothing.
                let mut harmless = attack.clone();
                harmless.input[0].witness = bitcoin::Witness::from_slice(&[[7; 32]; 5]);
                let mut elsewhere = attack.clone();
                elsewhere.input[0].previous_output.vout += 40;
                for transaction in [&harmless, &elsewhere] {
                    world.set.unconfirmed_seen(transaction);
                }
                world.after();
                assert_eq!((world.outcomes(), world.set.contested()), (vec![], vec![place]));
                world.set.unconfirmed_seen(&attack);
                world.set.unconfirmed_seen(&attack);
                world.after();
                assert_eq!(world.outcomes(), [(OUT.id, true)], "{format:?} {restart:?} {ours}");
                assert_eq!(world.set.contested(), []);
                // Once it is durable it survives a crash, and whatever confirms in the end. No block brings it again.
                world.env.store.flush();
                world.crash();
                world.settle();
                assert_eq!(world.outcomes(), [(OUT.id, true)], "{format:?} {restart:?} {ours}");
                assert!(world.chain.spender(place).is_some());
            }
        }
    }
}

/// Nobody shows us a mempool. Some miners are not reached by the attack in some blocks: what was broadcast again is in one of those. And as our offer
/// rises to half of what the HTLC is worth, whoever replaces it in each block pays nearly as much as there is to be had.
#[test]
fn d14_cycling_costs_what_it_brings_and_any_miner_ends_it() {
    for format in FORMATS {
        for ours in [false, true].into_iter().filter(|ours| !*ours || format == FORMATS[1]) {
            for reached in [100, 90, 75, 50] {
                let (mut world, place) = expired(format, Restart::Never, ours);
                let (mut cost, mut blocks) = (0, 0);
                while world.chain.height() < EXPIRY + WINDOW && world.chain.spender(place).is_none() {
                    let mut fee = 0;
                    for _ in 0..ROUNDS {
                        world.set.rebroadcast();
                        world.after();
                        let claim = claim(&world, place).expect("it is broadcast again");
                        fee = world.chain.check(&claim).unwrap().to_sat();
                        world.mempool.remove(&claim.compute_txid());
                    }
                    // The last replacement of each block is mined.
                    cost += fee;
                    // Spread evenly, and not the first blocks.
                    blocks += 1;
                    let is_missed = (blocks * 7 + 93) % 100 >= reached;
                    if is_missed {
                        world.set.rebroadcast();
                        world.after();
                    }
                    world.mine(vec![]);
                    if !is_missed {
                        let again = claim(&world, place).map(|claim| claim.compute_txid());
                        again.map(|txid| world.mempool.remove(&txid));
                    }
                }
                let context = format!("{format:?} {ours} {reached}: {blocks} blocks, {cost}");
                if reached == 100 {
                    assert!(world.chain.spender(place).is_none(), "{context}");
                    // A half in the last block, a quarter in the one before, and so on, but for what rounding and weights take.
                    assert!(cost >= OUT.msat / 1_000 * 7 / 8, "{context}");
                } else {
                    assert!(world.chain.spender(place).is_some(), "{context}");
                    world.settle();
                    assert_eq!(world.outcomes(), [(OUT.id, false)], "{context}");
                }
            }
        }
    }
}
