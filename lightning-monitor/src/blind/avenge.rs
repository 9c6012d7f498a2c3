//! The keeper's side: one breach, from the block that shows it until every claim is buried.
//!
//! Each output has a transaction of its own, so that what a cheater takes first spoils nothing else (BOLT 5: "MUST handle its
//! transactions being invalidated by HTLC transactions", RELIABILITY L6). The price follows the same curve as that of all
//! claims (`claim/fee/`): what the signature leaves for the fee is always paid, and coins of the keeper bring the rest.
//!
//! Methods: inputs [`Avenger::on_transaction`], [`Avenger::on_disconnected`]; getters [`Avenger::plans`], [`Avenger::waiting`],
//! [`Avenger::is_done`]; [`Avenger::offer`] notes what goes out.
//!
//! # Invariants
//! - a new offer is never below the last (RELIABILITY D12), and never above half of what it claims: a keeper gives no more
//! - nothing of it ends before the chain has buried it 100 deep (L7)
use alloc::vec::Vec;

use bitcoin::absolute::LockTime;
use bitcoin::{Amount, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Txid, Witness};
use lightning_traits::Secp;
use lightning_traits::interface::Coins;
use lightning_traits::record;
use lightning_traits::tx::Spend;
use lightning_traits::tx::weight::OUTPUT_BYTES;
use lightning_traits::units::{BlockHeight, FeeratePerKw};

use super::{Claim, Kit};
use crate::claim::{COIN_INPUT_WEIGHT, LONGEST_CHANGE, Price, Stake, in_time, least_replacing, rate_of};
use crate::resolve::Rates;

/// How deep a block is that no reorganisation reaches.
const BURIED: u32 = 100;
/// Blocks in which an HTLC should be taken: the cheater may take it at once by its second stage.
const HASTE: u32 = 6;
/// Blocks without the breach in the chain after which it is not waited for any more. Should it come, the blobs are there still.
const PATIENCE: u32 = 144;

/// A breach does not know of others that wait for a block.
const ALONE: u32 = 1;

/// What the chain costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prices {
    /// To confirm soon.
    pub urgent: FeeratePerKw,
    /// To confirm some day.
    pub background: FeeratePerKw,
}

/// An output to be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prize {
    /// How.
    pub claim: Claim,
    created: BlockHeight,
    /// What took it, and when.
    spent: Option<(Txid, BlockHeight)>,
    /// What was offered last, and since when something has been.
    price: Option<(Price, BlockHeight)>,
    /// What is out.
    out: Option<Transaction>,
}
record!(struct Prize { claim, created, spent, price, out });

/// What should go out for one output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The output.
    pub outpoint: OutPoint,
    /// What to pay.
    pub feerate: FeeratePerKw,
    /// What coins must bring beyond what they cost themselves; zero when the claim pays enough by itself.
    pub needed: Amount,
    /// What it replaces pays so much.
    replaces: Option<Amount>,
}

impl Plan {
    /// Whether nothing is out for the output yet.
    #[must_use]
    pub const fn is_first(&self) -> bool {
        self.replaces.is_none()
    }
}

/// One breach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Avenger {
    kit: Kit,
    commitment: Transaction,
    /// In which block it is; `None` while a reorganisation has it undone.
    confirmed: Option<BlockHeight>,
    /// When that changed last.
    changed: BlockHeight,
    prizes: Vec<Prize>,
}
record!(struct Avenger { kit, commitment, confirmed, changed, prizes list });

impl Avenger {
    /// Against a commitment that has confirmed; `None` when the kit has no claim of it that is valid.
    #[must_use]
    pub fn new(secp: &Secp, kit: Kit, commitment: &Transaction, height: BlockHeight) -> Option<Self> {
        let claims = kit.claims(secp, commitment);
        let prizes: Vec<Prize> = claims.into_iter().map(|claim| Prize::new(claim, height)).collect();
        let commitment = commitment.clone();
        (!prizes.is_empty()).then_some(Self {
            kit,
            commitment,
            confirmed: Some(height),
            changed: height,
            prizes,
        })
    }

    /// The breach.
    #[must_use]
    pub fn txid(&self) -> Txid {
        self.commitment.compute_txid()
    }

    /// Its block, unless a reorganisation has it undone.
    #[must_use]
    pub const fn confirmed(&self) -> Option<BlockHeight> {
        self.confirmed
    }

    /// What is to be taken, and what was.
    #[must_use]
    pub fn prizes(&self) -> &[Prize] {
        &self.prizes
    }

    /// The breach has confirmed again.
    pub fn on_confirmed(&mut self, height: BlockHeight) {
        self.confirmed = Some(height);
        self.changed = height;
        let breach = self.commitment.compute_txid();
        let own = |prize: &&mut Prize| prize.claim.outpoint.txid == breach;
        self.prizes.iter_mut().filter(own).for_each(|prize| prize.created = height);
    }

    /// A confirmed transaction; whether it concerns the breach.
    pub fn on_transaction(&mut self, secp: &Secp, transaction: &Transaction, height: BlockHeight) -> bool {
        let mut concerns = false;
        let mut further = Vec::new();
        for input in &transaction.input {
            let spends = |prize: &&mut Prize| prize.claim.outpoint == input.previous_output;
            let Some(prize) = self.prizes.iter_mut().find(spends) else { continue };
            concerns = true;
            prize.spent = Some((transaction.compute_txid(), height));
            if prize.claim.outpoint.txid == self.commitment.compute_txid() {
                further.extend(self.kit.second_stage(secp, prize.claim.outpoint.vout, transaction));
            }
        }
        for claim in further {
            if !self.prizes.iter().any(|prize| prize.claim.outpoint == claim.outpoint) {
                self.prizes.push(Prize::new(claim, height));
            }
        }
        concerns
    }

    /// The block at this height is taken back; whether that concerns the breach.
    pub fn on_disconnected(&mut self, height: BlockHeight) -> bool {
        let before = self.clone();
        let breach = self.commitment.compute_txid();
        self.prizes.retain(|prize| prize.created < height || prize.claim.outpoint.txid == breach);
        for prize in &mut self.prizes {
            prize.spent = prize.spent.filter(|(_, at)| *at < height);
        }
        if self.confirmed.is_some_and(|at| at >= height) {
            self.confirmed = None;
            self.changed = height;
        }
        *self != before
    }

    /// Whether nothing is left to do: everything is taken by somebody and buried, or the breach is gone from the chain.
    #[must_use]
    pub fn is_done(&self, tip: BlockHeight) -> bool {
        let is_buried = |at: BlockHeight| tip.plus(1) >= at.plus(BURIED);
        match self.confirmed {
            None => tip > self.changed.plus(PATIENCE),
            Some(at) => {
                is_buried(at)
                    && self.prizes.iter().all(|prize| prize.spent.is_some_and(|(_, at)| is_buried(at)))
            }
        }
    }

    /// Whether the breach itself is in the chain so deep that no other commitment of the channel can be.
    #[must_use]
    pub fn is_buried(&self, tip: BlockHeight) -> bool {
        self.confirmed.is_some_and(|at| tip.plus(1) >= at.plus(BURIED))
    }

    /// What is out and waits for a block.
    pub fn waiting(&self) -> impl Iterator<Item = &Transaction> {
        let waits = self.prizes.iter().filter(|prize| self.confirmed.is_some() && prize.spent.is_none());
        waits.filter_map(|prize| prize.out.as_ref())
    }

    /// The coins that what is out spends beside its output, and where their change goes: said to the wallet at each start.
    pub fn loans(&self) -> impl Iterator<Item = (OutPoint, Vec<OutPoint>, Option<ScriptBuf>)> + '_ {
        self.prizes.iter().filter(|prize| prize.spent.is_none()).filter_map(|prize| {
            let out = prize.out.as_ref()?;
            let coins: Vec<OutPoint> = out.input.iter().skip(1).map(|input| input.previous_output).collect();
            let change = out.output.get(1).map(|output| output.script_pubkey.clone());
            (!coins.is_empty()).then_some((prize.claim.outpoint, coins, change))
        })
    }

    /// What should go out, or go out better, for the block after `tip`.
    #[must_use]
    pub fn plans(&self, tip: BlockHeight, prices: Prices) -> Vec<Plan> {
        if self.confirmed.is_none() {
            return Vec::new();
        }
        let open = self.prizes.iter().filter(|prize| prize.spent.is_none());
        open.filter_map(|prize| self.plan(prize, tip, prices)).collect()
    }

    fn plan(&self, prize: &Prize, tip: BlockHeight, prices: Prices) -> Option<Plan> {
        let claim = &prize.claim;
        let change = OUTPUT_BYTES.saturating_add(LONGEST_CHANGE as u64).saturating_mul(4);
        let with_coin = claim.weight.saturating_add(COIN_INPUT_WEIGHT).saturating_add(change);
        let stake = Stake {
            value: claim.value,
            payable: claim.value,
            weight: with_coin,
            deadline: prize.deadline(self.kit.delay.get().into(), tip),
            punishes: false,
        };
        let rates = Rates { urgent: prices.urgent, background: prices.background };
        let last = prize.price.map(|(price, _)| price.feerate);
        let own = rate_of(claim.allowance(), claim.weight);
        // Where the curve would rather wait for a cheaper chain, what the signature leaves is paid all the same: it is nobody else's.
        let wanted = stake.feerate(rates, tip, ALONE, last).unwrap_or_default();
        let feerate = wanted.max(own);
        let replaces = prize.price.map(|(price, _)| price.fee);
        if let Some((price, _)) = prize.price
            && !price.is_beaten_by(feerate, stake.is_last(tip))
        {
            return None;
        }
        let needed = if wanted.fee(claim.weight) <= claim.allowance() {
            Amount::ZERO
        } else {
            let fixed = claim.weight.saturating_add(change);
            let fee =
                feerate.fee(fixed).max(replaces.map_or(Amount::ZERO, |old| least_replacing(old, with_coin)));
            fee.checked_sub(claim.allowance()).unwrap_or(Amount::ZERO)
        };
        Some(Plan { outpoint: claim.outpoint, feerate, needed, replaces })
    }

    /// The transaction of a plan: alone, or with coins that bring what is needed, whose inputs are still to be signed. `None` when the
    /// coins do not reach, or weigh so much that they cost more than the claim may.
    #[must_use]
    pub fn build(&self, plan: &Plan, coins: Option<&Coins>) -> Option<Transaction> {
        let prize = self.prizes.iter().find(|prize| prize.claim.outpoint == plan.outpoint)?;
        let mut transaction = prize.claim.alone();
        let Some(coins) = coins else { return Some(transaction) };
        transaction.input.extend(coins.inputs.iter().map(|coin| TxIn {
            previous_output: coin.outpoint,
            script_sig: ScriptBuf::new(),
            sequence: Sequence::ENABLE_RBF_NO_LOCKTIME,
            witness: Witness::new(),
        }));
        debug_assert_eq!(transaction.lock_time, LockTime::ZERO);
        let brought = coins.inputs.iter().map(|coin| coin.output.value.to_sat()).fold(0, u64::saturating_add);
        let inputs = coins.inputs.iter().map(|coin| coin.input_weight);
        let weight = inputs.fold(prize.claim.weight, u64::saturating_add);
        let change = OUTPUT_BYTES.saturating_add(coins.change.len() as u64).saturating_mul(4);
        let whole = weight.saturating_add(change);
        let least = plan.replaces.map_or(Amount::ZERO, |old| least_replacing(old, whole));
        let fee = plan.feerate.fee(whole).max(least);
        let missing = fee.checked_sub(prize.claim.allowance()).unwrap_or(Amount::ZERO);
        let left = Amount::from_sat(brought).checked_sub(missing)?;
        if left >= coins.change.minimal_non_dust() {
            transaction.output.push(TxOut { value: left, script_pubkey: coins.change.clone() });
        }
        Some(transaction)
    }

    /// This goes out for the plan's output: it is stored before it is broadcast.
    pub fn offer(&mut self, plan: &Plan, transaction: Transaction, coins: Option<&Coins>, tip: BlockHeight) {
        let Some(prize) = self.prizes.iter_mut().find(|prize| prize.claim.outpoint == plan.outpoint) else {
            return;
        };
        let coins = coins.map_or(&[][..], |coins| &coins.inputs);
        let brought = coins.iter().map(|coin| coin.output.value.to_sat());
        let value = brought.fold(prize.claim.value.to_sat(), u64::saturating_add);
        let paid = transaction.output.iter().map(|output| output.value.to_sat()).fold(0, u64::saturating_add);
        let fee = Amount::from_sat(value.saturating_sub(paid));
        let since = prize.price.map_or(tip, |(_, since)| since);
        // Without coins that were wanted it pays less than planned.
        let feerate = if coins.is_empty() { rate_of(fee, prize.claim.weight) } else { plan.feerate };
        prize.price = Some((Price { feerate, fee }, since));
        prize.out = Some(transaction);
    }
}

impl Prize {
    const fn new(claim: Claim, created: BlockHeight) -> Self {
        Self { claim, created, spent: None, price: None, out: None }
    }

    /// What took it, and in which block.
    #[must_use]
    pub const fn spent(&self) -> Option<(Txid, BlockHeight)> {
        self.spent
    }

    /// Whether what took it is what we sent last.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        let out = self.out.as_ref().map(Transaction::compute_txid);
        self.spent.is_some_and(|(txid, _)| Some(txid) == out)
    }

    /// The last block in which nobody else can have it.
    fn deadline(&self, delay: u32, tip: BlockHeight) -> Option<BlockHeight> {
        let since = self.price.map_or(tip, |(_, since)| since);
        match self.claim.spend {
            Spend::CountersignerBalance => None,
            Spend::RevokedDelayed => Some(in_time(self.created.plus(delay.saturating_sub(1)), since)),
            _ => Some(in_time(self.created.plus(HASTE), since)),
        }
    }
}
