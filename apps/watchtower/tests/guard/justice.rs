//! Breaches, with the client away.
use lightning_traits::tx::CommitmentFormat;
use lightning_traits::units::FeeratePerKw;
use lightning_watchtower::clients::{Client, Mode};

use crate::pair::{Htlc, Pair, anyone};
use crate::world::{World, wait};

pub const FORMATS: [CommitmentFormat; 2] =
    [CommitmentFormat::StaticRemoteKey, CommitmentFormat::AnchorsZeroFeeHtlc];
const MODES: [Mode; 2] = [Mode::Full, Mode::Justice];

pub fn htlcs(expiry: u32) -> [Htlc; 4] {
    let htlc = |by_us, id| Htlc { by_us, id, expiry };
    [htlc(true, 0), htlc(true, 1), htlc(false, 0), htlc(false, 1)]
}

/// A guarded channel: commitment 1 has HTLCs both ways and is revoked, so is the empty 2.
pub fn guarded(world: &World, index: u8, format: CommitmentFormat) -> Pair {
    let mut pair = Pair::open(world.chain(), index, format);
    world.seen();
    world.hand_over(&pair);
    let expiry = world.chain().height() + 60;
    for state in [&htlcs(expiry)[..], &[], &[]] {
        let update = pair.commit(state);
        world.learn(update);
    }
    pair
}

fn each(test: impl Fn(World, CommitmentFormat)) {
    for mode in MODES {
        for format in FORMATS {
            test(World::new(mode), format);
        }
    }
}

#[test]
fn l05_every_output_of_a_breach_is_taken_by_the_tower_alone() {
    each(|world, format| {
        let pair = guarded(&world, 1, format);
        world.mine_exactly(&[pair.their_commitment(1)]);
        let stake = pair.at_stake(1);
        assert_eq!(stake.len(), 5);
        world.expect_taken(&stake, 3);
        wait("the book", || world.status().claims.len() >= 5);
        let status = world.status();
        assert_eq!(status.breaches.len(), 1);
        assert_eq!(status.breaches[0].txid, pair.their_commitment(1).compute_txid().to_string());
        assert!(status.healthy, "{:?}", status.alarms);
        let is_full = status.clients[0].mode == "full";
        if is_full {
            world.expect_taken(&[pair.our_balance(1)], 3);
        } else {
            world.mine(3);
            assert!(
                world.chain().utxo(&pair.our_balance(1)).is_some(),
                "it waits for its owner, who alone has the key"
            );
        }
        assert!(status.metrics().contains("lntower_breaches_total 1"), "{}", status.metrics());
        assert!(status.page().contains("Breaches"));
    });
}

#[test]
fn l05_the_cheaters_second_stage_is_taken_too() {
    each(|world, format| {
        let pair = guarded(&world, 1, format);
        let offered = Htlc { expiry: guarded_expiry(&pair), ..htlcs(0)[0] };
        let stage = pair.their_second_stage(world.chain(), 1, &offered);
        let breach = pair.their_commitment(1);
        if format == CommitmentFormat::AnchorsZeroFeeHtlc {
            // Its HTLCs are locked for a block; the miner is the cheater's friend.
            world.mine_exactly(&[breach]);
            world.seen();
            world.mine_exactly(std::slice::from_ref(&stage));
        } else {
            world.mine_exactly(&[breach, stage.clone()]);
        }
        let spent = stage.input[0].previous_output;
        let mut stake = pair.at_stake(1);
        stake.retain(|outpoint| *outpoint != spent);
        stake.push(bitcoin::OutPoint::new(stage.compute_txid(), 0));
        assert_eq!(stake.len(), 5);
        world.expect_taken(&stake, 4);
    });
}

fn guarded_expiry(pair: &Pair) -> u32 {
    pair.built_theirs(1).2.htlcs[0].htlc.expiry.get()
}

#[test]
fn l03_claims_that_are_dropped_come_back_over_every_restart() {
    each(|mut world, format| {
        let pair = guarded(&world, 1, format);
        world.mine_exactly(&[pair.their_commitment(1)]);
        for _ in 0..4 {
            world.seen();
            wait("claims", || world.chain().mempool().len() >= 5);
            for entry in world.chain().mempool() {
                world.chain().forget(entry.tx.compute_txid());
            }
            assert!(world.chain().mempool().is_empty());
            world.restart();
            // A block without them.
            world.chain().mine_empty(1, &anyone().to_p2wsh());
        }
        world.seen();
        world.expect_taken(&pair.at_stake(1), 3);
    });
}

#[test]
fn l04_a_claim_is_made_at_the_price_of_the_day() {
    each(|world, format| {
        let pair = guarded(&world, 1, format);
        // 100 sat/vB to be mined; what pays less than 60 is not even relayed. The state was signed at 4.
        world.chain().set_fee_estimate(Some(FeeratePerKw::new(25_000)));
        world.chain().set_min_relay_fee(60_000);
        world.mine_exactly(&[pair.their_commitment(1)]);
        world.expect_taken(&pair.at_stake(1), 4);
        // And one that becomes dear when the claims are out already.
        world.chain().set_fee_estimate(Some(FeeratePerKw::new(1_000)));
        world.chain().set_min_relay_fee(1_000);
        let pair = guarded(&world, 2, format);
        world.mine_exactly(&[pair.their_commitment(1)]);
        world.seen();
        wait("claims", || world.chain().mempool().len() >= 5);
        world.chain().set_fee_estimate(Some(FeeratePerKw::new(25_000)));
        world.chain().set_min_relay_fee(60_000);
        for entry in world.chain().mempool() {
            world.chain().forget(entry.tx.compute_txid());
        }
        world.expect_taken(&pair.at_stake(1), 6);
    });
}

#[test]
fn l06_whatever_the_cheater_takes_first_the_rest_is_taken() {
    for format in FORMATS {
        // Each of its HTLCs that it can take at once: those that we offered, with their preimages.
        for subset in 1..4_u64 {
            let world = World::new(Mode::Justice);
            let pair = guarded(&world, 1, format);
            let expiry = guarded_expiry(&pair);
            let taken: Vec<Htlc> = (0..2)
                .filter(|id| subset >> id & 1 == 1)
                .map(|id| Htlc { by_us: true, id, expiry })
                .collect();
            world.mine_exactly(&[pair.their_commitment(1)]);
            world.seen();
            let mut stake = pair.at_stake(1);
            for htlc in taken {
                let stage = pair.their_second_stage(world.chain(), 1, &htlc);
                world.mine_exactly(std::slice::from_ref(&stage));
                world.seen();
                stake.retain(|outpoint| *outpoint != stage.input[0].previous_output);
                stake.push(bitcoin::OutPoint::new(stage.compute_txid(), 0));
            }
            assert_eq!(stake.len(), 5);
            world.expect_taken(&stake, 4);
        }
    }
}

#[test]
fn l16_fifty_breaches_in_one_block_are_all_punished() {
    let world = World::new(Mode::Justice);
    let quota = Client { max_channels: 1_000, max_bytes: 100_000_000, ..world.guard().client() };
    world.admit(quota);
    wait("the quota", || world.guard().client().max_channels == 1_000);
    world.chain().mine(120, &anyone().to_p2wsh());
    let pairs: Vec<Pair> =
        (0..50_u8).map(|index| guarded(&world, index, FORMATS[usize::from(index % 2)])).collect();
    let breaches: Vec<_> = pairs.iter().map(|pair| pair.their_commitment(1)).collect();
    world.mine_exactly(&breaches);
    let stake: Vec<_> = pairs.iter().flat_map(|pair| pair.at_stake(1)).collect();
    assert_eq!(stake.len(), 250);
    world.expect_taken(&stake, 12);
}

#[test]
fn l07_no_answer_to_a_broadcast_makes_a_claim_useless() {
    for code in [-25, -26, -27, -1, 0] {
        let world = World::new(Mode::Justice);
        let pair = guarded(&world, 1, CommitmentFormat::AnchorsZeroFeeHtlc);
        world.source.faults.lock().unwrap().refusals = vec![code; 12];
        world.mine_exactly(&[pair.their_commitment(1)]);
        world.seen();
        // Offered with every block.
        while !world.source.faults.lock().unwrap().refusals.is_empty() {
            world.mine(1);
        }
        assert_eq!(world.source.faults.lock().unwrap().refused, 12);
        world.expect_taken(&pair.at_stake(1), 4);
        wait("the reports", || world.status().broadcasts_refused >= 12);
    }
}

#[test]
fn l15_another_breach_after_a_reorganisation_is_punished_instead() {
    each(|world, format| {
        let pair = guarded(&world, 1, format);
        world.mine_exactly(&[pair.their_commitment(1)]);
        world.seen();
        world.mine(2);
        for _ in 0..3 {
            world.chain().disconnect_tip();
        }
        for entry in world.chain().mempool() {
            world.chain().forget(entry.tx.compute_txid());
        }
        world.mine_exactly(&[pair.their_commitment(2)]);
        world.chain().mine_empty(4, &anyone().to_p2wsh());
        world.seen();
        world.expect_taken(&pair.at_stake(2), 3);
        assert_eq!(world.status().breaches.len(), 2);
    });
}

#[test]
fn l22_two_towers_act_and_either_is_enough() {
    for format in FORMATS {
        let one = World::new(Mode::Justice);
        let other = World::on(one.chain(), Mode::Full);
        let mut pair = Pair::open(one.chain(), 1, format);
        let expiry = one.chain().height() + 60;
        let updates = [pair.commit(&htlcs(expiry)), pair.commit(&[]), pair.commit(&[])];
        for world in [&one, &other] {
            world.seen();
            world.hand_over(&pair);
            updates.iter().for_each(|update| world.learn(update.clone()));
        }
        one.mine_exactly(&[pair.their_commitment(1)]);
        other.seen();
        one.expect_taken(&pair.at_stake(1), 3);
        other.seen();
        one.mine(10);
        other.seen();
        for world in [&one, &other] {
            assert_eq!(world.status().breaches.len(), 1);
            wait("an end", || world.status().unconfirmed == 0);
        }
    }
}

#[test]
fn l23_the_clients_own_commitments_are_left_alone() {
    each(|world, format| {
        let mut pair = Pair::open(world.chain(), 1, format);
        world.seen();
        world.hand_over(&pair);
        let expiry = world.chain().height() + 60;
        let update = pair.commit(&htlcs(expiry));
        world.learn(update);
        // Restored from an old backup, the client publishes what it has revoked since.
        let stale = pair.our_commitment();
        for _ in 0..2 {
            let update = pair.commit(&[]);
            world.learn(update);
        }
        world.mine_exactly(&[stale]);
        world.mine(10);
        assert!(world.chain().mempool().is_empty(), "the tower acted");
        let status = world.status();
        assert_eq!((status.breaches.len(), status.claims.len(), status.unconfirmed), (0, 0, 0));
    });
}

#[test]
fn a_justice_tower_leaves_valid_commitments_alone_and_a_full_one_enforces() {
    for format in FORMATS {
        for mode in MODES {
            let world = World::new(mode);
            let mut pair = Pair::open(world.chain(), 1, format);
            world.seen();
            world.hand_over(&pair);
            let expiry = world.chain().height() + 40;
            let state = htlcs(expiry);
            let update = pair.commit(&state);
            world.learn(update);
            let preimage = lightning_traits::monitor::MonitorStep::Preimage { preimage: state[2].preimage() };
            let update = pair.update(vec![preimage]);
            world.learn(update);
            world.mine_exactly(&[pair.their_commitment(1)]);
            world.mine(50);
            let htlcs = pair.built_theirs(1).2.htlcs;
            let place = |index: usize| {
                let hash = state[index].preimage().hash();
                let found = htlcs.iter().find(|output| output.htlc.payment_hash == hash).unwrap();
                bitcoin::OutPoint::new(pair.their_commitment(1).compute_txid(), found.vout)
            };
            if mode == Mode::Full {
                // With the preimage at once, what we offered after its expiry, and our balance.
                for outpoint in [place(2), place(0), place(1), pair.our_balance(1)] {
                    assert!(world.is_taken(outpoint));
                }
                assert!(world.chain().utxo(&place(3)).is_some(), "without a preimage it is not ours");
            } else {
                assert!(pair.at_stake(1).iter().all(|outpoint| world.chain().utxo(outpoint).is_some()));
                assert!(world.status().claims.is_empty());
            }
        }
    }
}

/// The client is away, the peer silent, and an HTLC whose preimage we know nears its expiry.
#[test]
fn a_full_tower_goes_to_the_chain_in_time_for_an_absent_client() {
    let world = World::new(Mode::Full);
    let mut pair = Pair::open(world.chain(), 1, CommitmentFormat::StaticRemoteKey);
    world.seen();
    world.hand_over(&pair);
    let expiry = world.chain().height() + 40;
    let state = htlcs(expiry);
    let update = pair.commit(&state);
    world.learn(update);
    let preimage = lightning_traits::monitor::MonitorStep::Preimage { preimage: state[2].preimage() };
    let update = pair.update(vec![preimage]);
    world.learn(update);
    world.mine(40);
    assert!(world.chain().utxo(&pair.init.funding.outpoint).is_none(), "our commitment is out");
    let own = pair.our_commitment();
    let taken = own.output.iter().zip(0_u32..).filter(|(output, vout)| {
        let outpoint = bitcoin::OutPoint::new(own.compute_txid(), *vout);
        output.value.to_sat() == 50_000 && world.chain().utxo(&outpoint).is_none()
    });
    assert!(taken.count() >= 1, "the HTLC with the known preimage is claimed");
}
