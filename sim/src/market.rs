//! What room in blocks costs: the rest of the world wants it too, now and then all of it.
//!
//! A spike is a course of feerates, one for each coming block, up to a hundred times the usual within six blocks and down again.
//! While it lasts blocks take what pays nearly as much as the rest of the world, and of that perhaps only a little; mempools are
//! full of what pays a part of it, let go of the rest, and take nothing below. Estimates are those of the block before.
//!
//! # Invariants
//! - without a spike nothing here changes anything
use std::collections::{BTreeSet, VecDeque};

use lightning_chain_embedded::BlockSpace;

use crate::dice::Dice;
use crate::world::World;

/// How much dearer a spike is than what is usual.
const FACTORS: [u32; 4] = [4, 20, 100, 100];
/// Weight units that a block has for this network: all, some claims, one claim or a small commitment.
const ROOM: [u64; 4] = [3_992_000, 3_992_000, 8_000, 3_000];
/// What part of the feerate of blocks is the least in mempools.
const SHARES: [u32; 3] = [2, 4, 20];

/// What is relayed outside of spikes, in satoshi per 1000 virtual bytes.
const USUAL_FLOOR: u64 = 1_000;

/// What blocks cost.
#[derive(Clone, Debug, Default)]
pub(crate) struct Market {
    /// Feerates of the coming blocks, in sat/kw.
    course: VecDeque<u32>,
    /// The feerate outside of spikes; none before the first.
    usual: Option<u32>,
    room: u64,
    share: u32,
    /// Blocks that were filled in a spike, or for which the least feerate that is relayed was raised.
    short: BTreeSet<u32>,
    /// The highest feerate that anybody had to offer at least, in sat/kw.
    pub(crate) dearest: u32,
}

impl Market {
    /// Whether room was ever short.
    pub(crate) fn was_short(&self) -> bool {
        !self.short.is_empty()
    }

    /// Whether room was short in one of the blocks after `from` and up to `to`.
    pub(crate) fn is_short_between(&self, from: u32, to: u32) -> bool {
        from < to && self.short.range(from + 1..=to).next().is_some()
    }
}

impl World {
    /// A spike begins, or another in place of the one that there is.
    pub(crate) fn spike(&mut self, dice: &mut Dice) {
        let usual = *self.market.usual.get_or_insert(self.fees.rate.get());
        let factor = dice.of(&FACTORS);
        let peak = usual * factor;
        let (rise, stay, fall) = (1 + dice.roll(6) as u32, dice.roll(16) as u32, 1 + dice.roll(8) as u32);
        let market = &mut self.market;
        (market.room, market.share) = (dice.of(&ROOM), dice.of(&SHARES));
        let part = |at: u32, of: u32| usual + (peak - usual) / of * at;
        let rising = (1..=rise).map(|at| part(at, rise));
        let falling = (0..fall).rev().map(|at| part(at, fall));
        let staying = core::iter::repeat_n(peak, stay as usize);
        market.course = rising.chain(staying).chain(falling).collect();
        self.say(|| {
            format!("room becomes dear: {rise} blocks up to {peak} sat/kw, {stay} there, {fall} down")
        });
    }

    /// A block is about to come: what it costs.
    pub(crate) fn next_prices(&mut self) {
        if self.chain.policy().min_relay_fee > USUAL_FLOOR {
            self.market.short.insert(self.chain.height() + 1);
        }
        if self.market.usual.is_none() {
            return;
        }
        let Some(rate) = self.market.course.pop_front() else { return self.calm() };
        let (height, least) = (self.chain.height() + 1, rate / self.market.share);
        self.market.short.insert(height);
        self.market.dearest = self.market.dearest.max(least);
        let gone = self.chain.fill_mempool(u64::from(least) * 4);
        // Whoever asks for a little less than everybody comes in late, but comes in.
        let min_fee = u64::from(rate) * 4 * 4 / 5;
        self.chain.set_block_space(BlockSpace { weight: self.market.room, min_fee });
        self.fees.rate.set(rate);
        // A little more: transactions are a few units smaller than their estimates.
        self.fees.floor.set(self.usual_floor().max(least + 3));
        self.say(|| format!("block {height} asks {rate} sat/kw, mempools {least}; gone {gone:?}"));
    }

    /// There is room for everybody again.
    pub(crate) fn calm(&mut self) {
        let Some(usual) = self.market.usual else { return };
        if self.market.course.is_empty()
            && self.fees.rate.get() == usual
            && self.chain.block_space() == BlockSpace::default()
        {
            return;
        }
        self.market.course.clear();
        self.chain.fill_mempool(0);
        self.chain.set_block_space(BlockSpace::default());
        self.fees.rate.set(usual);
        self.fees.floor.set(self.usual_floor());
    }

    fn usual_floor(&self) -> u32 {
        (self.chain.policy().min_relay_fee as u32 / 4 + 3).max(253)
    }
}
