//! Very many channels at the chain in the same blocks: what has most to lose goes first, and all of it gets in as long as the space
//! that there is before the deadlines, and the price that each output can pay, let it (RELIABILITY D24, L16).
use std::collections::BTreeMap;

use bitcoin::block::{Header, Version};
use bitcoin::hashes::{Hash as _, sha256};
use bitcoin::{Block, BlockHash, CompactTarget, OutPoint, Transaction, TxMerkleNode, Txid};
use lightning_monitor::MonitorSet;
use lightning_traits::id::ChannelId;
use lightning_traits::interface::{ChainListener as _, ManyChannelMonitor as _};
use lightning_traits::monitor::{ChannelMonitorUpdate, MonitorStep, NewMonitor, Persist};
use lightning_traits::tx::{CommitmentFormat, FundingOutput, TxSide};
use lightning_traits::units::{BlockHeight, CsvDelay};

use crate::support::pair::CAPACITY;
use crate::support::space::{BLOCK, Space};
use crate::support::world::Env;
use crate::support::{BASE, Delta, Htlc, Pair, THEIR_DELAY, adding, offered, received};

const ANCHORS: CommitmentFormat = CommitmentFormat::AnchorsZeroFeeHtlc;
/// 300 sat/vB.
const DEAR: u32 = 75_000;
const CHEAP: u32 = 500;

/// Many channels that are copies of a few, each on a funding output of its own.
struct Flood {
    env: Env,
    set: MonitorSet<Env>,
    space: Space,
    /// Each channel's funding output, and of which of the few it is a copy.
    channels: Vec<(OutPoint, usize)>,
    originals: Vec<Pair>,
    tip: (BlockHash, u32),
    /// What was broadcast for the last block, in order.
    out: Vec<Transaction>,
    /// What others pay for block space, in sat/kw.
    others: u32,
    /// What they leave of a block at that price.
    space_of_ours: u64,
}

impl Flood {
    /// `count` channels that learn what their originals learnt.
    fn new(count: u32, originals: Vec<(Pair, Vec<MonitorStep>)>) -> Self {
        let env = Env::new();
        let set = MonitorSet::new(env.clone());
        let (originals, steps): (Vec<Pair>, Vec<Vec<MonitorStep>>) = originals.into_iter().unzip();
        let mut flood = Self {
            env,
            set,
            space: Space::default(),
            channels: Vec::new(),
            originals,
            tip: (BlockHash::all_zeros(), BASE),
            out: Vec::new(),
            others: CHEAP,
            space_of_ours: BLOCK,
        };
        for index in 0..count {
            let of = index as usize % flood.originals.len();
            let mut new = flood.originals[of].new_monitor();
            let txid = sha256::Hash::hash(&index.to_be_bytes()).to_byte_array();
            let outpoint = OutPoint { txid: Txid::from_byte_array(txid), vout: 0 };
            let [one, other] = *new.init.funding.keys();
            new.init.funding = FundingOutput::new(outpoint, new.init.funding.value, one, other);
            new.init.channel = ChannelId::v1_from_funding(outpoint);
            flood.add(new, &steps[of]);
            flood.space.grant(outpoint, CAPACITY);
            flood.channels.push((outpoint, of));
        }
        flood
    }

    fn add(&self, new: NewMonitor, steps: &[MonitorStep]) {
        let channel = new.init.channel;
        let update = self.originals[0].clone().update(steps.to_vec());
        let update = ChannelMonitorUpdate { channel, id: lightning_traits::id::UpdateId(1), ..update };
        assert!(matches!(self.set.add_channel(new), Persist::InProgress));
        assert!(matches!(self.set.update_channel(update), Persist::InProgress));
        self.settle_writes();
    }

    fn settle_writes(&self) {
        self.env.store.flush();
        while self.set.next_receipt().is_some() {}
    }

    /// The commitment of a channel, which its original would publish.
    fn close(&self, channel: usize, commitment: &Transaction) -> Transaction {
        let mut close = commitment.clone();
        close.input[0].previous_output = self.channels[channel].0;
        close
    }

    /// A block with these transactions, and what the market lets in beside them.
    fn mine(&mut self, forced: Vec<Transaction>) {
        self.space.confirm(&forced);
        let mined = self.space.mine(u64::from(self.others), self.space_of_ours);
        self.env.wallet.mined(&mined);
        let txdata = [forced, mined].concat();
        let header = Header {
            version: Version::TWO,
            prev_blockhash: self.tip.0,
            merkle_root: TxMerkleNode::all_zeros(),
            time: self.tip.1,
            bits: CompactTarget::from_consensus(0),
            nonce: 0,
        };
        self.tip = (header.block_hash(), self.tip.1 + 1);
        self.set.block_connected(&Block { header, txdata }, BlockHeight::new(self.tip.1));
        self.settle_writes();
        self.out = self.env.broadcasts.0.take();
        self.out.iter().for_each(|tx| self.space.offer(tx));
    }

    fn mine_to(&mut self, height: u32) {
        while self.tip.1 < height {
            self.mine(Vec::new());
        }
    }
}

/// A channel whose first commitment but one had these HTLCs.
fn cheated(index: u8, delay: u16, htlcs: &[Htlc]) -> (Pair, Vec<MonitorStep>) {
    let mut pair = Pair::new(ANCHORS, index, true);
    pair.init.theirs.to_self_delay = CsvDelay::new(delay);
    let mut steps = pair.commit(&adding(htlcs));
    let gone = Delta { fail: htlcs.to_vec(), ..Delta::default() };
    steps.extend([pair.sign_theirs(&gone), pair.revoke_theirs(), pair.sign_ours(&gone)]);
    (pair, steps)
}

/// Ten kinds of cheaters: HTLCs of 20,000 to 700,000 sat, up to two each.
fn cheaters() -> Vec<(Pair, Vec<MonitorStep>)> {
    let sizes = [12_000, 20_000, 35_000, 60_000, 100_000, 150_000, 250_000, 400_000, 700_000, 1_000_000];
    let htlcs = |at: usize| {
        let both = [offered(0, sizes[at], 10, BASE + 900), received(0, sizes[9 - at], 20, BASE + 900)];
        both[..at % 3].to_vec()
    };
    (0..10).map(|at| cheated(at as u8 + 1, THEIR_DELAY, &htlcs(at))).collect()
}

/// All of these cheat in one block. What was broadcast then, and every penalty's output with its value.
fn breach(count: u32, cheaters: Vec<(Pair, Vec<MonitorStep>)>) -> (Flood, BTreeMap<OutPoint, u64>) {
    let mut flood = Flood::new(count, cheaters);
    let breaches: Vec<Transaction> = flood.originals.iter().map(|pair| pair.their_commitment(1)).collect();
    let block: Vec<Transaction> = (0..count as usize)
        .map(|channel| flood.close(channel, &breaches[flood.channels[channel].1]))
        .collect();
    let mut penalties = BTreeMap::new();
    for (channel, breach) in block.iter().enumerate() {
        let (_, _, built) = flood.originals[flood.channels[channel].1].built_theirs(1);
        let txid = breach.compute_txid();
        let htlcs = built.htlcs.iter().map(|htlc| htlc.vout);
        for vout in htlcs.chain(built.to_broadcaster) {
            penalties.insert(OutPoint { txid, vout }, breach.output[vout as usize].value.to_sat());
        }
    }
    flood.mine(block);
    (flood, penalties)
}

/// Penalties, whose last block is the same, the most valuable first; then what nobody else can have.
fn assert_order(flood: &Flood, penalties: &BTreeMap<OutPoint, u64>) {
    let value = |tx: &Transaction| -> Option<u64> {
        tx.input.iter().map(|input| penalties.get(&input.previous_output).copied()).sum()
    };
    let values: Vec<u64> = flood.out.iter().map_while(value).collect();
    assert_eq!(values.len(), penalties.len(), "each output has a claim of its own, before all else");
    assert!(values.is_sorted_by(|before, after| before >= after));
    assert!(values[0] > 4_000_000 && *values.last().unwrap() <= 20_000);
}

/// Runs until the cheaters' delay has passed; what was not punished by then, and the last block that had a penalty.
fn punish(flood: &mut Flood, penalties: &BTreeMap<OutPoint, u64>, delay: u16) -> (Vec<u64>, u32) {
    let (breached, mut last) = (flood.tip.1, 0);
    for _ in 1..delay {
        let left = penalties.keys().filter(|place| flood.space.spender(place).is_none()).count();
        if left > 0 {
            last = flood.tip.1 - breached + 1;
            flood.mine(Vec::new());
        }
    }
    let lost = penalties.iter().filter(|(place, _)| flood.space.spender(place).is_none());
    (lost.map(|(_, value)| *value).collect(), last)
}

/// Everybody cheats in one block: all of it is punished long before the cheaters' delay has passed.
#[test]
fn d24_ten_thousand_breaches_in_one_block_are_punished_in_time() {
    let (mut flood, penalties) = breach(10_000, cheaters());
    assert_order(&flood, &penalties);
    let (lost, last) = punish(&mut flood, &penalties, THEIR_DELAY);
    assert_eq!(lost, Vec::<u64>::new());
    assert!(last <= 6, "{last} blocks");
}

/// What an HTLC of a breach must be worth to pay for a block in which others pay 300 sat/vB: its penalty weighs less than 640.
const WORTH: u64 = 48_000 + 294;

/// The same while others pay 300 sat/vB, and for three quarters of each block any price, whether estimates show it or not. In the last block there is
/// space for a third of what is worth it; only what is not is lost.
#[test]
fn d24_breaches_are_punished_in_time_in_a_dear_market_with_little_space() {
    const DELAY: u16 = 30;
    for known in [false, true] {
        let htlcs = |small: u64| -> Vec<Htlc> {
            let sat = |id| if id == 9 { small } else { 60_000 };
            (0..10).map(|id| offered(id, sat(id), id as u8 + 1, BASE + 900)).collect()
        };
        let cheaters = [30_000, 200_000].map(|small| cheated(1, DELAY, &htlcs(small)));
        let (mut flood, penalties) = breach(500, cheaters.into());
        flood.space_of_ours = BLOCK / 4;
        flood.others = DEAR;
        if known {
            flood.env.fees.urgent.set(DEAR);
        }
        let (lost, last) = punish(&mut flood, &penalties, DELAY);
        assert!(last > 3 && last < u32::from(DELAY), "{last} blocks");
        let worthless = penalties.values().filter(|value| **value < WORTH).count();
        assert!(lost.iter().all(|value| *value < WORTH), "{} for {worthless}", lost.len());
        assert_eq!((lost.len(), worthless), (250, 250));
        assert_eq!(flood.space.refused, 0, "every offer is a replacement (BIP 125)");
    }
}

/// HTLCs that expire at once: half of them ours to time out, half of them ours by their preimage.
const EXPIRY: u32 = BASE + 40;
const SIZES: [u64; 5] = [25_000, 90_000, 260_000, 700_000, 1_500_000];
/// Blocks after its expiry in which an HTLC that we offered must be ours again.
const WINDOW: u32 = 24;

/// Two kinds of channels full of HTLCs, all preimages known.
fn full() -> Vec<(Pair, Vec<MonitorStep>)> {
    let channel = |index: u8| {
        let more = u64::from(index) * 1_000;
        let pairs = SIZES.iter().zip(0_u64..).map(|(sat, id)| {
            let secret = 2 * id as u8 + 1;
            [offered(id, sat + more, secret, EXPIRY), received(id, sat + more, secret + 1, EXPIRY)]
        });
        let htlcs: Vec<Htlc> = pairs.flatten().collect();
        let mut pair = Pair::new(ANCHORS, index, true);
        let mut steps = pair.commit(&adding(&htlcs));
        let ours = htlcs.iter().filter(|htlc| !htlc.by_us);
        steps.extend(ours.map(|htlc| MonitorStep::Preimage { preimage: htlc.preimage() }));
        (pair, steps)
    };
    vec![channel(1), channel(2)]
}

/// Every HTLC output of these commitments with its value and the last block in which it is ours.
fn htlcs_of(
    flood: &Flood,
    commitments: &BTreeMap<usize, Txid>,
    ours: bool,
) -> BTreeMap<OutPoint, (u64, u32)> {
    let mut places = BTreeMap::new();
    for (channel, txid) in commitments {
        let pair = &flood.originals[flood.channels[*channel].1];
        let us = if ours { TxSide::Broadcaster } else { TxSide::Countersigner };
        let built = if ours { pair.built_ours().2 } else { pair.built_theirs(1).2 };
        for output in &built.htlcs {
            let last = if output.htlc.offered_by == us { EXPIRY + WINDOW } else { EXPIRY };
            let value = output.htlc.amount.to_amount_floor().to_sat();
            places.insert(OutPoint { txid: *txid, vout: output.vout }, (value, last));
        }
    }
    places
}

/// What was not ours by its last block.
fn lost(flood: &mut Flood, places: &BTreeMap<OutPoint, (u64, u32)>) -> Vec<u64> {
    let mut lost = Vec::new();
    while flood.tip.1 <= EXPIRY + WINDOW {
        let over = places.iter().filter(|(_, (_, last))| *last == flood.tip.1);
        let over = over.filter(|(place, _)| flood.space.spender(place).is_none());
        lost.extend(over.map(|(_, (value, _))| *value));
        flood.mine(Vec::new());
    }
    lost
}

/// A thousand peers let ten HTLCs each run out together, on their own commitments, while others pay 300 sat/vB. Of each claim half
/// of its value is at most paid; nothing is lost but what that cannot pay the block with. What estimates do not
/// show costs no more, as the price rises in time for all.
#[test]
fn d24_a_thousand_channels_that_expire_together_on_their_commitments() {
    for (count, known) in [(1_000, true), (300, false)] {
        let mut flood = Flood::new(count, full());
        flood.mine_to(EXPIRY - 20);
        let commitments: Vec<Transaction> =
            flood.originals.iter().map(|pair| pair.their_commitment(1)).collect();
        let closes: Vec<Transaction> = (0..count as usize)
            .map(|channel| flood.close(channel, &commitments[flood.channels[channel].1]))
            .collect();
        let txids = closes.iter().map(Transaction::compute_txid).enumerate().collect();
        let places = htlcs_of(&flood, &txids, false);
        flood.others = DEAR;
        flood.space_of_ours = BLOCK * u64::from(count) / 1_000;
        if known {
            flood.env.fees.urgent.set(DEAR);
        }
        flood.mine(closes);
        let lost = lost(&mut flood, &places);
        // A claim weighs less than 710.
        let worthless = |value: &u64| *value / 2 < 53_300;
        assert!(lost.iter().all(worthless), "{known}: {} of {}", lost.len(), places.len());
        let (sum, all) = (lost.iter().sum::<u64>(), places.values().map(|(value, _)| value).sum::<u64>());
        assert!(sum * 40 < all, "{known}: {sum} of {all}");
    }
}

/// They go silent, and all our commitments go to the chain at once, each with a child and then second stages that the user's coins pay for.
#[test]
fn d24_channels_that_expire_together_on_our_commitments() {
    let count = 150;
    let mut flood = Flood::new(count, full());
    for coin in 0..count * 11 {
        let (outpoint, output) = flood.env.wallet.fill(coin, 900_000);
        flood.space.grant(outpoint, output.value.to_sat());
    }
    flood.others = DEAR;
    flood.env.fees.urgent.set(DEAR);
    flood.space_of_ours = BLOCK * u64::from(count) / 1_000;
    flood.mine_to(EXPIRY - 10);
    let txids =
        flood.channels.iter().map(|(funding, _)| flood.space.spender(funding).expect("all are closed"));
    let places = htlcs_of(&flood, &txids.enumerate().collect(), true);
    assert_eq!(places.len(), count as usize * 10);
    let lost = lost(&mut flood, &places);
    // A second stage with a coin and change weighs less than 1,310.
    let worthless = |value: &u64| *value / 2 < 98_300;
    assert!(lost.iter().all(worthless), "{} of {}: {lost:?}", lost.len(), places.len());
    let (sum, all) = (lost.iter().sum::<u64>(), places.values().map(|(value, _)| value).sum::<u64>());
    assert!(sum * 20 < all, "{sum} of {all}");
}

/// There are coins for some of the claims only: they go where most is at stake, whatever the channel is called.
#[test]
fn d24_scarce_coins_go_to_what_is_worth_most() {
    let count = 60;
    let mut flood = Flood::new(count, full());
    for coin in 0..count {
        let (outpoint, output) = flood.env.wallet.fill(coin, 900_000);
        flood.space.grant(outpoint, output.value.to_sat());
    }
    flood.env.fees.urgent.set(DEAR);
    // They are confirmed by somebody else; the coins are still there.
    let commitments: Vec<Transaction> = flood.originals.iter().map(Pair::our_commitment).collect();
    let closes: Vec<Transaction> = (0..count as usize)
        .map(|channel| flood.close(channel, &commitments[flood.channels[channel].1]))
        .collect();
    let txids = closes.iter().map(Transaction::compute_txid).enumerate().collect();
    let places = htlcs_of(&flood, &txids, true);
    flood.others = u32::MAX;
    flood.mine(closes);
    let value = |tx: &Transaction| places.get(&tx.input[0].previous_output).map(|(value, _)| *value);
    let claimed: Vec<u64> = flood.out.iter().filter_map(value).collect();
    assert_eq!(claimed.len(), count as usize, "a coin each");
    let mut best: Vec<u64> =
        places.values().filter(|(_, last)| *last == EXPIRY).map(|(value, _)| *value).collect();
    best.sort_by_key(|value| core::cmp::Reverse(*value));
    best.truncate(count as usize);
    assert_eq!(claimed, best, "the most valuable first");
}
