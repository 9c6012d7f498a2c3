//! Fees that rise while claims and commitments wait: every claim confirms in time within its budget (RELIABILITY D8, D12, D13,
//! D26), and commitments with anchors get children.
use bitcoin::{Amount, OutPoint, Transaction};
use lightning_traits::monitor::{MonitorStep, SpendKind};
use lightning_traits::tx::CommitmentFormat;
use lightning_traits::units::FeeratePerKw;

use crate::support::pair::number;
use crate::support::{
    BASE, Delta, FORMATS, Htlc, RESTARTS, Restart, THEIR_DELAY, World, adding, destination, offered, received,
};

const ANCHORS: CommitmentFormat = CommitmentFormat::AnchorsZeroFeeHtlc;
const EXPIRY: u32 = BASE + 60;
const IN: Htlc = received(0, 400_000, 20, EXPIRY);
const OUT: Htlc = offered(0, 400_000, 10, EXPIRY);

/// How the market goes; the estimator knows it, is late, or never does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Market {
    Flat,
    /// A hundredfold over twenty blocks.
    Ramp,
    /// A hundredfold three blocks before the deadline.
    Spike,
    /// The same, and estimates stay where they were.
    Unseen,
}

const MARKETS: [Market; 4] = [Market::Flat, Market::Ramp, Market::Spike, Market::Unseen];

impl Market {
    /// What miners take `left` blocks before the deadline, in sat/kw.
    fn rate(self, left: u32) -> u32 {
        match self {
            Self::Flat => 500,
            Self::Ramp => 500 + 49_500 / 20 * 20_u32.saturating_sub(left),
            Self::Spike | Self::Unseen if left > 3 => 500,
            Self::Spike => 50_000,
            Self::Unseen => 20_000,
        }
    }
}

/// Mines one block in this market.
fn mine_in(world: &mut World, market: Market, left: u32) {
    let rate = market.rate(left);
    if market != Market::Unseen {
        world.env.fees.urgent.set(rate.max(900));
    }
    world.market = u64::from(rate);
    world.mine(vec![]);
}

fn fee_of_spender(world: &World, outpoint: OutPoint) -> Option<u64> {
    let tx = world.chain.spender(outpoint)?;
    Some(world.chain.fees[&tx.compute_txid()].to_sat())
}

/// A close by them with an HTLC to claim; nobody mines our claims before the market of the last `window` blocks.
#[test]
fn d08_d13_claims_confirm_by_their_last_block_within_half_of_their_value() {
    for format in FORMATS {
        for restart in RESTARTS {
            for market in MARKETS {
                for htlc in [IN, OUT] {
                    let mut world = World::new(format, restart);
                    let steps = world.pair.commit(&adding(&[htlc]));
                    world.learn(steps);
                    if !htlc.by_us {
                        world.learn_preimage(&htlc);
                    }
                    world.mine(vec![world.pair.their_commitment(1)]);
                    let place = in_theirs(&world, &htlc);
                    let last = if htlc.by_us { EXPIRY + 24 } else { EXPIRY };
                    world.censored = true;
                    world.mine_to(last - 21);
                    world.censored = false;
                    // Estimates are far too low until the market is there, and the first blocks are full.
                    world.censored = market != Market::Flat;
                    for left in (1..=21).rev() {
                        world.censored &= left > 2;
                        mine_in(&mut world, market, left);
                    }
                    let fee = fee_of_spender(&world, place);
                    let fee = fee.unwrap_or_else(|| panic!("{format:?} {restart:?} {market:?} {htlc:?}"));
                    assert!(fee <= htlc.msat / 2_000, "{fee} for {}", htlc.msat);
                    world.market = 0;
                    world.settle();
                }
            }
        }
    }
}

fn in_theirs(world: &World, htlc: &Htlc) -> OutPoint {
    let (_, _, commitment) = world.pair.built_theirs(1);
    let seen = htlc.seen_by(lightning_traits::tx::TxSide::Countersigner);
    let output = commitment.htlcs.iter().find(|output| output.htlc == seen).unwrap();
    OutPoint { txid: commitment.txid, vout: output.vout }
}

/// The same on our own commitment with anchors, where the user's coins pay.
#[test]
fn d08_d13_second_stages_confirm_by_their_last_block_within_half_of_their_value() {
    for restart in RESTARTS {
        for market in MARKETS {
            for htlc in [IN, OUT] {
                let mut world = World::new(ANCHORS, restart);
                // One coin that can pay for it all.
                world.env.wallet.reorganised(std::collections::BTreeMap::new());
                for coin in 100..103 {
                    let (outpoint, output) = world.env.wallet.fill(coin, 400_000);
                    world.chain.grant(outpoint, output);
                }
                let steps = world.pair.commit(&adding(&[htlc]));
                world.learn(steps);
                if !htlc.by_us {
                    world.learn_preimage(&htlc);
                }
                world.learn(vec![MonitorStep::ForceClose {}]);
                world.mine(vec![]);
                let place = world.pair.in_ours(&htlc);
                let last = if htlc.by_us { EXPIRY + 24 } else { EXPIRY };
                world.censored = true;
                world.mine_to(last - 21);
                world.censored = market != Market::Flat;
                for left in (1..=21).rev() {
                    world.censored &= left > 2;
                    mine_in(&mut world, market, left);
                }
                let fee = fee_of_spender(&world, place);
                let fee = fee.unwrap_or_else(|| panic!("{restart:?} {market:?} {htlc:?}"));
                assert!(fee <= htlc.msat / 2_000, "{fee} for {}", htlc.msat);
                world.market = 0;
                world.settle();
                assert!(world.env.wallet.lent().is_empty(), "free again");
            }
        }
    }
}

/// The feerates that were out for one output, block by block.
fn offers(world: &mut World, outpoint: OutPoint, blocks: u32, each: impl Fn(&World, u32)) -> Vec<u64> {
    let mut rates = Vec::new();
    for left in (1..=blocks).rev() {
        each(world, left);
        world.mine(vec![]);
        let spends = |tx: &&Transaction| tx.input.iter().any(|input| input.previous_output == outpoint);
        let out: Vec<&Transaction> = world.mempool.values().filter(spends).collect();
        assert_eq!(out.len(), 1, "one claim is out");
        rates.push(world.rate(out[0]));
    }
    rates
}

/// Whatever the market does and however often we restart, what is out never pays less than before (RELIABILITY D12).
#[test]
fn d12_a_feerate_never_falls() {
    for format in FORMATS {
        for restart in RESTARTS {
            let mut world = World::new(format, restart);
            let steps = world.pair.commit(&adding(&[IN]));
            world.learn(steps);
            world.learn_preimage(&IN);
            world.mine(vec![world.pair.their_commitment(1)]);
            let place = in_theirs(&world, &IN);
            world.censored = true;
            let blocks = EXPIRY - world.chain.height() + 4;
            let rates = offers(&mut world, place, blocks, |world, left| {
                world.env.fees.urgent.set(if left % 3 == 0 { 9_000 - left * 80 } else { 700 });
            });
            assert!(rates.windows(2).all(|pair| pair[0] <= pair[1]), "{rates:?}");
            let (first, last) = (rates[0], rates[rates.len() - 1]);
            assert!(last > 20 * first, "{rates:?}");
        }
    }
}

/// The cheater pays miners to keep our penalty out: in the end all of it is theirs, and nothing the cheater's
/// (RELIABILITY D26).
#[test]
fn d26_a_penalty_offers_all_that_it_takes() {
    for format in FORMATS {
        for restart in [Restart::Never, Restart::EachBlock] {
            let mut world = World::new(format, restart);
            let steps = world.pair.commit(&Delta::default());
            world.learn(steps);
            world.mine(vec![world.pair.their_commitment(0)]);
            let (_, _, commitment) = world.pair.built_theirs(0);
            let vout = commitment.to_broadcaster.unwrap();
            let place = OutPoint { txid: commitment.txid, vout };
            let value = commitment.tx.output[vout as usize].value;
            world.censored = true;
            let rates = offers(&mut world, place, u32::from(THEIR_DELAY) - 2, |_, _| {});
            assert!(rates.windows(2).all(|pair| pair[0] <= pair[1]), "{rates:?}");
            world.censored = false;
            world.mine(vec![]);
            let fee = fee_of_spender(&world, place).expect("taken in the last block");
            assert!(fee >= value.to_sat() * 9 / 10 && fee < value.to_sat(), "{fee} of {value}");
            world.settle();
        }
    }
}

/// What only we can spend waits for a cheap market, and pays no more than that.
#[test]
fn balances_are_swept_at_the_background_rate_together() {
    for format in FORMATS {
        let mut world = World::new(format, Restart::EachBlock);
        let htlcs = [IN, received(1, 300_000, 21, EXPIRY), received(2, 200_000, 22, EXPIRY)];
        let steps = world.pair.commit(&adding(&htlcs));
        world.learn(steps);
        for htlc in &htlcs {
            world.learn_preimage(htlc);
        }
        world.learn(vec![MonitorStep::ForceClose {}]);
        world.mine(vec![]);
        assert_eq!(world.kinds(), [SpendKind::Ours { number: number(1) }]);
        world.mine(vec![]);
        world.env.fees.background.set(600);
        world.settle();
        let sweeps: Vec<&Transaction> = world
            .chain
            .blocks
            .iter()
            .flat_map(|mined| &mined.block.txdata)
            .filter(|tx| tx.output[0].script_pubkey == destination())
            .collect();
        // The balance is one block older than the three second stages, which go together.
        assert_eq!(sweeps.iter().map(|tx| tx.input.len()).collect::<Vec<_>>(), [1, 3]);
        for tx in sweeps {
            let fee = world.chain.fees[&tx.compute_txid()];
            let asked = FeeratePerKw::new(600).fee(tx.weight().to_wu());
            assert!(fee >= asked && fee <= asked + Amount::from_sat(20), "{fee} for {asked}");
        }
    }
}

/// The market has risen since the commitment was signed: a child pays for both (BOLT 3, anchors), more with every block.
#[test]
fn d13_a_commitment_with_anchors_is_brought_in_by_its_child() {
    for restart in RESTARTS {
        for htlc in [IN, OUT] {
            let mut world = World::new(ANCHORS, restart);
            world.env.wallet.reorganised(std::collections::BTreeMap::new());
            for coin in 100..103 {
                let (outpoint, output) = world.env.wallet.fill(coin, 400_000);
                world.chain.grant(outpoint, output);
            }
            let steps = world.pair.commit(&adding(&[htlc]));
            world.learn(steps);
            if !htlc.by_us {
                world.learn_preimage(&htlc);
            }
            world.mine_to(if htlc.by_us { EXPIRY + 2 } else { EXPIRY - 19 });
            world.market = 5_000;
            world.mine(vec![]);
            assert_eq!((world.commitments_out(), world.mempool.len()), (1, 1), "900 sat/kw need no child");
            world.env.fees.urgent.set(3_000);
            world.mine(vec![]);
            assert_eq!((world.commitments_out(), world.mempool.len()), (1, 2), "now a child is out");
            let commitment = world.pair.built_ours().2.tx;
            let rate = world.rate(&commitment_in(&world));
            assert!((2_950..3_100).contains(&rate), "{rate}");
            // Nobody tells of the rise; the last blocks bring it.
            let deadline = if htlc.by_us { EXPIRY + 24 } else { EXPIRY } - 6;
            world.mine_to(deadline);
            assert_eq!(world.kinds(), [SpendKind::Ours { number: number(1) }], "{restart:?} {htlc:?}");
            let paid: u64 = children_of(&world, commitment.compute_txid());
            assert!(paid > 0 && paid <= htlc.msat / 4_000, "{paid}");
            world.market = 0;
            world.settle();
            assert!(world.env.wallet.lent().is_empty(), "free again");
        }
    }
}

fn commitment_in(world: &World) -> Transaction {
    let funding = world.pair.init.funding.outpoint;
    world.mempool.values().find(|tx| tx.input[0].previous_output == funding).unwrap().clone()
}

/// What mined children of a transaction paid.
fn children_of(world: &World, parent: bitcoin::Txid) -> u64 {
    let all = world.chain.blocks.iter().flat_map(|mined| &mined.block.txdata);
    let ours = |tx: &&Transaction| {
        let script = crate::support::wallet::script();
        tx.input[0].previous_output.txid == parent && tx.output.iter().all(|o| o.script_pubkey == script)
    };
    all.filter(ours).map(|tx| world.chain.fees[&tx.compute_txid()].to_sat()).sum()
}

/// Near the deadline their commitments are pushed too: one of them may be what keeps ours out of mempools.
#[test]
fn d15_near_the_deadline_theirs_are_pushed_with_the_same_coins() {
    let mut world = World::new(ANCHORS, Restart::Never);
    world.env.wallet.reorganised(std::collections::BTreeMap::new());
    let (outpoint, output) = world.env.wallet.fill(100, 400_000);
    world.chain.grant(outpoint, output);
    let steps = world.pair.commit(&adding(&[IN]));
    world.learn(steps);
    let next = world.pair.sign_theirs(&Delta::default());
    world.learn(vec![next]);
    world.learn_preimage(&IN);
    world.env.fees.urgent.set(3_000);
    world.censored = true;
    world.mine_to(EXPIRY - 6 - 13);
    assert!(world.pushing_theirs.is_empty(), "there is time");
    world.mine_blocks(1);
    let parents = |world: &World| {
        let parents = world.pushing_theirs.iter().map(|tx| tx.input[0].previous_output.txid);
        parents.collect::<std::collections::BTreeSet<_>>()
    };
    let theirs = [1, 2].map(|index| world.pair.built_theirs(index).2.txid);
    assert_eq!(parents(&world), theirs.into_iter().collect());
    for tx in &world.pushing_theirs {
        assert!(
            tx.input.len() == 2 && tx.input[1].previous_output == outpoint,
            "one commitment confirms at most"
        );
    }
    // Theirs confirms, with the child.
    let child = world.pushing_theirs.iter().rfind(|tx| tx.input[0].previous_output.txid == theirs[1]);
    let block = vec![world.pair.their_commitment(2), child.unwrap().clone()];
    world.mempool.clear();
    world.mine(block);
    world.censored = false;
    assert_eq!(world.kinds(), [SpendKind::Theirs { number: number(2) }]);
    world.settle();
    assert!(world.env.wallet.lent().is_empty(), "free again");
}

/// The node was away until after the last block: it does not pay half of everything at once, but more with every block.
#[test]
fn what_comes_too_late_raises_its_offer_from_little() {
    for format in FORMATS {
        for htlc in [IN, OUT] {
            let mut world = World::new(format, Restart::EachBlock);
            let steps = world.pair.commit(&adding(&[htlc]));
            world.learn(steps);
            world.mine(vec![world.pair.their_commitment(1)]);
            let place = in_theirs(&world, &htlc);
            // The signer sleeps so long.
            world.env.keys.asleep.set(true);
            world.mine_to(EXPIRY + 40);
            world.env.keys.asleep.set(false);
            if !htlc.by_us {
                world.learn_preimage(&htlc);
            }
            world.censored = true;
            let rates = offers(&mut world, place, 8, |_, _| {});
            assert!(rates.windows(2).all(|pair| pair[0] <= pair[1]), "{rates:?}");
            assert!(rates[0] * 16 < rates[7], "{rates:?}");
            world.censored = false;
            world.mine(vec![]);
            assert!(fee_of_spender(&world, place).unwrap() <= htlc.msat / 2_000);
        }
    }
}
