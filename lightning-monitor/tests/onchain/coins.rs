//! Fees: who pays them, from what, and what is not worth them.
use bitcoin::{OutPoint, Transaction};
use lightning_traits::monitor::{MonitorStep, SpendKind};
use lightning_traits::tx::CommitmentFormat;
use lightning_traits::units::FeeratePerKw;

use crate::support::pair::number;
use crate::support::{BASE, Htlc, RESTARTS, Restart, World, adding, destination, offered, received, wallet};

const EXPIRY: u32 = BASE + 60;
const ANCHORS: CommitmentFormat = CommitmentFormat::AnchorsZeroFeeHtlc;

/// Our commitment with these HTLCs is on chain, all preimages known.
fn closed(format: CommitmentFormat, restart: Restart, htlcs: &[Htlc]) -> World {
    let mut world = World::new(format, restart);
    let steps = world.pair.commit(&adding(htlcs));
    world.learn(steps);
    let preimages = htlcs.iter().filter(|htlc| !htlc.by_us);
    let preimages = preimages.map(|htlc| MonitorStep::Preimage { preimage: htlc.preimage() }).collect();
    world.learn(preimages);
    world.learn(vec![MonitorStep::ForceClose {}]);
    world.mine(vec![]);
    assert_eq!(world.kinds(), [SpendKind::Ours { number: number(1) }]);
    world
}

fn claim_of(world: &World, outpoint: OutPoint) -> Transaction {
    let claims = world.mempool.values().filter(|tx| tx.input[0].previous_output == outpoint);
    let claims: Vec<&Transaction> = claims.collect();
    assert_eq!(claims.len(), 1, "one claim an output");
    claims[0].clone()
}

#[test]
fn second_stage_with_anchors_pays_its_rate_from_coins_and_returns_the_change() {
    for restart in RESTARTS {
        for rate in [253, 1_000, 2_500, 9_000] {
            let htlc = received(0, 100_000, 20, EXPIRY);
            let mut world = World::new(ANCHORS, restart);
            let steps = world.pair.commit(&adding(&[htlc]));
            world.learn(steps);
            world.learn_preimage(&htlc);
            world.learn(vec![MonitorStep::ForceClose {}]);
            world.env.fees.urgent.set(rate);
            world.mine(vec![]);
            let claim = claim_of(&world, world.pair.in_ours(&htlc));
            let fee = world.chain.check(&claim).unwrap();
            let asked = FeeratePerKw::new(rate).fee(claim.weight().to_wu());
            assert!(fee >= asked, "{fee} for {asked}");
            // Three signatures are up to 73 bytes in the plan and may be 70 in the world.
            let spare = FeeratePerKw::new(rate).fee(12) + bitcoin::Amount::from_sat(2);
            assert!(fee <= asked + spare, "{fee} for {asked}: burnt");
            assert_eq!(claim.output[0].value.to_sat(), 100_000);
            assert_eq!(claim.output[1].script_pubkey, wallet::script());
            // Who lost the close in a crash pushes the commitment once more, at the new rate.
            let mut lent = world.env.wallet.lent();
            let pushes = lent.remove(&world.pair.init.funding.outpoint);
            assert_eq!((lent.len(), pushes && restart != Restart::LosingWrites), (1, false));
            world.settle();
            assert!(world.env.wallet.lent().is_empty(), "free again");
            // Blocks that come again release again.
            assert!(restart == Restart::LosingWrites || world.env.wallet.released().len() == 1);
        }
    }
}

/// Coins whose change would be dust: the rest goes to the miner, and no more than that.
#[test]
fn d22_change_that_is_dust_is_left_out() {
    let htlc = received(0, 100_000, 20, EXPIRY);
    let rate = 2_500;
    let (mut without, mut with) = (0, 0);
    for value in (2_800..4_400).step_by(60) {
        let mut world = World::new(ANCHORS, Restart::Never);
        world.env.wallet.reorganised(std::collections::BTreeMap::new());
        let (outpoint, output) = world.env.wallet.fill(100, value);
        world.chain.grant(outpoint, output);
        let steps = world.pair.commit(&adding(&[htlc]));
        world.learn(steps);
        world.learn_preimage(&htlc);
        world.learn(vec![MonitorStep::ForceClose {}]);
        world.env.fees.urgent.set(rate);
        world.mine(vec![]);
        if world.mempool.is_empty() {
            assert_eq!((without, with), (0, 0), "the coin is too small only at first");
            continue;
        }
        let claim = claim_of(&world, world.pair.in_ours(&htlc));
        let fee = world.chain.check(&claim).unwrap().to_sat();
        match claim.output.len() {
            1 => without += 1,
            _ => with += 1,
        }
        assert!(claim.output.iter().all(|output| output.value >= output.script_pubkey.minimal_non_dust()));
        let weight = claim.weight().to_wu();
        assert!(fee >= FeeratePerKw::new(rate).fee(weight).to_sat());
        let most = FeeratePerKw::new(rate).fee(weight + 12 + 31 * 4).to_sat() + 294;
        assert!(fee <= most, "{fee} above {most}");
    }
    assert!(without > 1 && with > 1, "{without} {with}");
}

#[test]
fn c09_without_coins_the_claim_waits_and_says_so() {
    for restart in [Restart::Never, Restart::EachBlock] {
        let htlc = received(0, 100_000, 20, EXPIRY);
        let mut world = World::new(ANCHORS, restart);
        world.env.wallet.reorganised(std::collections::BTreeMap::new());
        let steps = world.pair.commit(&adding(&[htlc]));
        world.learn(steps);
        world.learn_preimage(&htlc);
        world.learn(vec![MonitorStep::ForceClose {}]);
        world.mine(vec![]);
        world.mine_blocks(3);
        assert!(world.mempool.is_empty());
        assert!(world.env.log.0.borrow().iter().any(|line| line.contains("no confirmed coins")));
        // The user adds funds.
        let (outpoint, output) = world.env.wallet.fill(100, 50_000);
        world.chain.grant(outpoint, output);
        world.mine_blocks(2);
        assert!(world.chain.spender(world.pair.in_ours(&htlc)).is_some());
        world.settle();
    }
}

/// A wallet that does not sign keeps its coins.
#[test]
fn coins_that_the_wallet_does_not_sign_are_not_kept_aside() {
    let htlc = received(0, 100_000, 20, EXPIRY);
    let mut world = World::new(ANCHORS, Restart::Never);
    world.env.wallet.locked.set(true);
    let steps = world.pair.commit(&adding(&[htlc]));
    world.learn(steps);
    world.learn_preimage(&htlc);
    world.learn(vec![MonitorStep::ForceClose {}]);
    world.mine(vec![]);
    world.mine_blocks(2);
    assert!(world.mempool.is_empty());
    assert!(world.env.wallet.lent().is_empty());
    world.env.wallet.locked.set(false);
    world.mine_blocks(1);
    assert_eq!(world.mempool.len(), 1);
}

/// The peer takes the HTLC first: the coins set aside for our claim are free once that is irrevocable, not before.
#[test]
fn coins_of_a_claim_that_lost_are_released_when_that_is_irrevocable() {
    let htlc = offered(0, 100_000, 10, EXPIRY);
    let mut world = closed(ANCHORS, Restart::Never, &[htlc]);
    world.censored = true;
    world.mine_to(EXPIRY);
    assert_eq!(world.env.wallet.lent().len(), 1);
    let claim = world.pair.their_claim_of_ours(&htlc);
    world.mine(vec![claim]);
    world.mine_blocks(4);
    assert_eq!(world.env.wallet.lent().len(), 1, "a reorganisation may bring our claim back");
    world.mine_blocks(1);
    assert!(world.env.wallet.lent().is_empty());
    assert_eq!(world.outcomes(), [(0, true)]);
}

/// Many claims at once get coins of their own, so that none invalidates another.
#[test]
fn claims_share_no_coins() {
    let htlcs: Vec<Htlc> = (0..12).map(|id| received(id, 50_000 + id, id as u8 + 1, EXPIRY)).collect();
    for restart in RESTARTS {
        let mut world = closed(ANCHORS, restart, &htlcs);
        let mut seen = std::collections::BTreeSet::new();
        for tx in world.mempool.values() {
            assert!(tx.input.iter().all(|input| seen.insert(input.previous_output)));
        }
        assert_eq!(world.mempool.len(), 12);
        world.settle();
        let (_, _, commitment) = world.pair.built_ours();
        let to_local = commitment.tx.output[commitment.to_broadcaster.unwrap() as usize].value.to_sat();
        assert_eq!(world.swept(), to_local + htlcs.iter().map(|htlc| htlc.msat / 1000).sum::<u64>());
    }
}

/// A wallet does not store what it lent: after a start the monitors say it, before anything is lent anew. So what was out before
/// and what comes after never compete for a coin.
#[test]
fn d21_coins_of_what_is_out_stay_lent_over_a_restart() {
    let before: Vec<Htlc> = (0..6).map(|id| received(id, 50_000 + id, id as u8 + 1, EXPIRY)).collect();
    let after: Vec<Htlc> = (6..12).map(|id| received(id, 50_000 + id, id as u8 + 1, EXPIRY)).collect();
    for crashes in [0, 1, 2] {
        let mut world = World::new(ANCHORS, Restart::Never);
        let steps = world.pair.commit(&adding(&[&before[..], &after[..]].concat()));
        world.learn(steps);
        before.iter().for_each(|htlc| world.learn_preimage(htlc));
        world.learn(vec![MonitorStep::ForceClose {}]);
        world.mine(vec![]);
        world.censored = true;
        let lent = world.env.wallet.coins_lent();
        assert!(before.iter().all(|htlc| lent.contains_key(&world.pair.in_ours(htlc))));
        let out: Vec<Transaction> = world.mempool.values().cloned().collect();
        for _ in 0..crashes {
            world.crash();
            assert_eq!(world.env.wallet.coins_lent(), lent, "as before");
        }
        after.iter().for_each(|htlc| world.learn_preimage(htlc));
        let spent: Vec<OutPoint> =
            world.mempool.values().flat_map(|tx| &tx.input).map(|input| input.previous_output).collect();
        let different: std::collections::BTreeSet<&OutPoint> = spent.iter().collect();
        assert_eq!((world.mempool.len(), different.len()), (12, spent.len()), "no coin twice");
        assert!(out.iter().all(|tx| world.mempool.contains_key(&tx.compute_txid())), "what was out stays");
        world.censored = false;
        world.settle();
        world.mine_blocks(6);
        assert!(world.env.wallet.lent().is_empty(), "free again");
    }
}

/// The same for a child that is out, and for the better ones that take its place.
#[test]
fn d21_coins_of_a_child_stay_lent_over_a_restart() {
    for crashes in [0, 1, 3] {
        let htlc = offered(0, 400_000, 10, EXPIRY);
        let mut world = World::new(ANCHORS, Restart::Never);
        let steps = world.pair.commit(&adding(&[htlc]));
        world.learn(steps);
        world.censored = true;
        world.env.fees.urgent.set(5_000);
        world.learn(vec![MonitorStep::ForceClose {}]);
        let lent = world.env.wallet.coins_lent();
        let funding = world.pair.init.funding.outpoint;
        assert_eq!(lent.keys().collect::<Vec<_>>(), [&funding]);
        for crash in 0..crashes {
            world.crash();
            assert!(
                lent[&funding].is_subset(&world.env.wallet.coins_lent()[&funding]),
                "as before, and more"
            );
            world.env.fees.urgent.set(5_000 + 2_500 * (crash + 1));
            world.mine(vec![]);
        }
        let children = world.mempool.values().filter(|tx| tx.input[0].previous_output != funding);
        let children: Vec<&Transaction> = children.collect();
        let coins: Vec<OutPoint> = children[0].input.iter().skip(1).map(|i| i.previous_output).collect();
        assert!(children.len() == 1 && lent[&funding].iter().all(|coin| coins.contains(coin)));
        world.censored = false;
        world.settle();
        world.mine_blocks(6);
        assert!(world.env.wallet.lent().is_empty(), "free again");
    }
}

/// An HTLC that costs more than it brings is not claimed while that is so (RELIABILITY D8), and is when fees fall.
#[test]
fn d08_an_htlc_below_its_fee_waits_for_lower_fees() {
    let small = received(0, 1_500, 20, EXPIRY + 400);
    let mut world = World::new(ANCHORS, Restart::Never);
    world.env.fees.urgent.set(9_000);
    world.env.fees.background.set(6_000);
    let steps = world.pair.commit(&adding(&[small]));
    world.learn(steps);
    world.learn_preimage(&small);
    world.learn(vec![MonitorStep::ForceClose {}]);
    world.mine(vec![]);
    world.mine_blocks(3);
    assert!(world.mempool.is_empty());
    assert!(world.env.wallet.lent().is_empty());
    world.env.fees.background.set(300);
    world.mine_blocks(2);
    assert!(world.chain.spender(world.pair.in_ours(&small)).is_some());
}

/// Outputs that no feerate makes worth a claim do not keep the channel from its end; an HTLC among them is still reported.
#[test]
fn c12_dust_is_given_up_and_an_htlc_in_it_reported() {
    for restart in RESTARTS {
        let mut pair = crate::support::Pair::new(CommitmentFormat::StaticRemoteKey, 1, true);
        // A dust limit that BOLT 2 would not let us announce makes an output that cannot pay for itself.
        pair.init.theirs.dust_limit = bitcoin::Amount::from_sat(10);
        let mut world = World::with(pair, restart);
        let dust = [offered(0, 750, 10, EXPIRY), received(0, 750, 11, EXPIRY), received(1, 750, 12, EXPIRY)];
        let tiny = dust.map(|htlc| Htlc { msat: 720_000, ..htlc });
        let steps = world.pair.commit(&adding(&tiny));
        world.learn(steps);
        world.learn_preimage(&tiny[1]);
        world.env.fees.urgent.set(90_000);
        world.env.fees.background.set(90_000);
        world.mine(vec![world.pair.their_commitment(1)]);
        world.mine_to(EXPIRY + 6);
        assert_eq!(world.resolved_events(), 0);
        assert_eq!(world.outcomes(), []);
        world.env.fees.background.set(300);
        world.settle();
        assert_eq!(world.outcomes(), [(0, false)]);
    }
}

#[test]
fn everything_swept_goes_to_the_users_script() {
    let htlcs = [received(0, 100_000, 20, EXPIRY), offered(0, 90_000, 10, EXPIRY)];
    for format in crate::support::FORMATS {
        let mut world = closed(format, Restart::Never, &htlcs);
        world.settle();
        let paid = world.chain.coins.values().filter(|coin| coin.output.script_pubkey == destination());
        assert_eq!(paid.count(), 3);
    }
}
