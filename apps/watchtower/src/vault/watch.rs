//! Blocks against blobs: what opens is punished until it is buried.
//!
//! BOLT 3 has every commitment show itself: "`locktime`: upper 8 bits are 0x20" and "`txin[0]` sequence: upper 8 bits are 0x80". So
//! only such transactions are looked up, a handful in a block.
//!
//! # Invariants
//! - a block counts as looked at when all that follows from it is queued for the disk; the tip is written with each (RELIABILITY L2)
//! - an offer is queued for the disk before it is broadcast, and offered again with every block (L3)
use bitcoin::block::Header;
use bitcoin::{Block, BlockHash, Transaction, Txid};
use lightning_monitor::blind::{Avenger, Locator, Plan, Prices, open};
use lightning_traits::interface::{
    BroadcasterInterface as _, ChainListener, CoinSource as _, Coins, ConfirmationTarget,
    ConfirmedTransaction, FeeEstimator as _,
};
use lightning_traits::units::BlockHeight;

use super::{Case, News, REMEMBERED, State, Vault};
use crate::health::Trouble;
use crate::tower::lock;

impl ChainListener for Vault {
    fn filtered_block_connected(
        &self,
        header: &Header,
        transactions: &[ConfirmedTransaction<'_>],
        height: BlockHeight,
    ) {
        let mut state = lock(&self.state);
        let mut locators = Vec::new();
        for ConfirmedTransaction { transaction, .. } in transactions {
            self.show(&mut state, transaction, height);
            if is_commitment(transaction) {
                locators.push(Locator::of(&transaction.compute_txid()));
                self.look_for(&mut state, transaction, height);
            }
        }
        state.recent.push_back((height, locators));
        if state.recent.len() > REMEMBERED {
            state.recent.pop_front();
        }
        let tip = (header.block_hash(), height);
        state.tip = Some(tip);
        self.finish(&mut state, height);
        self.act(&mut state, height);
        self.rows.put_tip(tip);
    }

    fn block_disconnected(&self, header: &Header, height: BlockHeight) {
        let mut state = lock(&self.state);
        let tip = (header.prev_blockhash, height.minus(1));
        state.tip = Some(tip);
        state.recent.retain(|(at, _)| *at < height);
        for (txid, case) in &mut state.cases {
            let touched =
                case.avengers.iter_mut().filter_map(|avenger| avenger.on_disconnected(height).then_some(()));
            if touched.count() > 0 {
                self.rows.put_case(*txid, case);
            }
        }
        self.rows.put_tip(tip);
    }

    fn best_block(&self) -> Option<(BlockHash, BlockHeight)> {
        lock(&self.state).tip
    }
}

impl Vault {
    /// Old blocks that must be looked at once more.
    pub fn take_late(&self) -> Vec<BlockHeight> {
        core::mem::take(&mut lock(&self.state).late).into_iter().collect()
    }

    /// They could not be had.
    pub fn late_again(&self, heights: Vec<BlockHeight>) {
        lock(&self.state).late.extend(heights);
    }

    /// An old block, for a blob that came after it; then the ones behind it, for what has become of its outputs.
    pub fn look_again(&self, block: &Block, height: BlockHeight) {
        let mut state = lock(&self.state);
        for transaction in &block.txdata {
            self.show(&mut state, transaction, height);
            if is_commitment(transaction) {
                self.look_for(&mut state, transaction, height);
            }
        }
        if let Some((_, tip)) = state.tip {
            self.act(&mut state, tip);
        }
    }

    /// Offers once more what has not confirmed, at the price of now.
    pub fn rebroadcast(&self) {
        let mut state = lock(&self.state);
        if let Some((_, tip)) = state.tip {
            self.act(&mut state, tip);
        }
    }

    fn show(&self, state: &mut State, transaction: &Transaction, height: BlockHeight) {
        let State { cases, news, .. } = state;
        for (txid, case) in cases {
            let mut is_touched = false;
            for avenger in &mut case.avengers {
                is_touched |= avenger.on_transaction(&self.shared.secp, transaction, height);
            }
            if !is_touched {
                continue;
            }
            self.rows.put_case(*txid, case);
            let lane = case.lanes.first().copied();
            for prize in case.avengers.iter().flat_map(Avenger::prizes) {
                let spends =
                    prize.spent().is_some_and(|(by, at)| by == transaction.compute_txid() && at == height);
                if let (true, Some(lane)) = (spends, lane) {
                    self.shared.coins.release(prize.claim.outpoint);
                    let (txid, value) = (transaction.compute_txid(), prize.claim.pays.value);
                    if transaction.output.contains(&prize.claim.pays) {
                        news.push_back(News::Claimed { lane, txid, height, value });
                    } else {
                        let client = self.client;
                        tracing::warn!(%client, %txid, "the cheater was first at {}", prize.claim.outpoint);
                    }
                }
            }
        }
    }

    /// Tries the blobs under a commitment's locator.
    fn look_for(&self, state: &mut State, transaction: &Transaction, height: BlockHeight) {
        let txid = transaction.compute_txid();
        if let Some(case) = state.cases.get_mut(&txid) {
            // After a reorganisation, or looked at once more.
            case.avengers.iter_mut().filter(|avenger| avenger.confirmed().is_none()).for_each(|avenger| {
                avenger.on_confirmed(height);
            });
            self.rows.put_case(txid, case);
            return;
        }
        let mut lanes = Vec::new();
        let kits = open(&txid, |locator| {
            let found = self.rows.find(locator);
            if locator == Locator::of(&txid) {
                lanes.extend(found.iter().map(|(lane, _)| *lane));
            }
            found.into_iter().map(|(_, body)| body).collect()
        });
        let avengers =
            kits.into_iter().filter_map(|kit| Avenger::new(&self.shared.secp, kit, transaction, height));
        let avengers: Vec<Avenger> = avengers.collect();
        lanes.dedup();
        let Some(lane) = lanes.first().copied().filter(|_| !avengers.is_empty()) else {
            if !lanes.is_empty() {
                tracing::warn!(client = %self.client, %txid, "blobs lie there for it that do not open");
            }
            return;
        };
        state.news.push_back(News::Breach { lane, txid, height });
        let case = Case { lanes, avengers };
        self.rows.put_case(txid, &case);
        state.cases.insert(txid, case);
    }

    /// Ends what is buried: no other commitment of that channel can be in the chain any more.
    fn finish(&self, state: &mut State, tip: BlockHeight) {
        let done =
            state.cases.iter().filter(|(_, case)| case.avengers.iter().all(|avenger| avenger.is_done(tip)));
        let done: Vec<Txid> = done.map(|(txid, _)| *txid).collect();
        for txid in done {
            let Some(case) = state.cases.remove(&txid) else { continue };
            self.rows.drop_case(txid);
            if case.avengers.iter().any(|avenger| avenger.is_buried(tip)) {
                for lane in case.lanes {
                    self.drop_lane(state, lane);
                }
            }
        }
    }

    /// Puts on the way what is due, at the price of now.
    fn act(&self, state: &mut State, tip: BlockHeight) {
        let fees = &self.shared.fees;
        let prices = Prices {
            urgent: fees.feerate(ConfirmationTarget::Urgent),
            background: fees.feerate(ConfirmationTarget::Background),
        };
        let mut is_poor = false;
        for (txid, case) in &mut state.cases {
            let mut is_changed = false;
            for avenger in &mut case.avengers {
                for plan in avenger.plans(tip, prices) {
                    match self.make(avenger, &plan) {
                        Some((transaction, coins)) => {
                            avenger.offer(&plan, transaction, coins.as_ref(), tip);
                            is_changed = true;
                            is_poor |= coins.is_none() && plan.needed > bitcoin::Amount::ZERO;
                        }
                        None => is_poor = true,
                    }
                }
            }
            if is_changed {
                self.rows.put_case(*txid, case);
            }
            for transaction in case.avengers.iter().flat_map(Avenger::waiting) {
                self.shared.broadcaster.broadcast(core::slice::from_ref(transaction));
            }
        }
        let alarms = &self.shared.alarms;
        let subject = self.client.to_string();
        if is_poor {
            let message =
                format!("client {subject}: a penalty should pay more than the tower has coins for: add some");
            alarms.raise(Trouble::Coins, &subject, message);
        } else {
            alarms.clear(Trouble::Coins, &subject);
        }
    }

    /// With coins where they are needed; without, where there are none and nothing is out yet.
    fn make(&self, avenger: &Avenger, plan: &Plan) -> Option<(Transaction, Option<Coins>)> {
        let alone = || avenger.build(plan, None).map(|transaction| (transaction, None));
        if plan.needed == bitcoin::Amount::ZERO {
            return alone();
        }
        let coins = self.shared.coins.reserve(plan.outpoint, plan.needed, plan.feerate);
        let signed =
            coins.as_ref().and_then(|coins| self.shared.coins.sign(avenger.build(plan, Some(coins))?));
        match signed {
            Some(transaction) => Some((transaction, coins)),
            None if plan.is_first() => alone(),
            None => None,
        }
    }
}

/// Whether it shows itself as a commitment (BOLT 3, "Commitment Transaction").
fn is_commitment(transaction: &Transaction) -> bool {
    let [input] = transaction.input.as_slice() else { return false };
    transaction.lock_time.to_consensus_u32() >> 24 == 0x20 && input.sequence.0 >> 24 == 0x80
}
