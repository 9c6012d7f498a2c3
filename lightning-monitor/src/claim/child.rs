//! A child that pays for a commitment which cannot pay enough itself: BOLT 3, "`to_local_anchor` and `to_remote_anchor` Output".
//!
//! It spends our anchor and confirmed coins of the user, and goes out together with our commitment as a package. While an HTLC is near
//! its end it also goes out for theirs: if theirs waits in mempools, ours cannot get in, and theirs is as good.
//!
//! # Invariants
//! - one child a commitment, and the anchors of one channel only: nobody can hold up a channel through another (RELIABILITY D15)
//! - all children of a channel share their coins, since only one of its commitments can confirm
//! - a quarter of the HTLCs' value at most goes to the commitment; another half may go to their claims
use alloc::vec::Vec;

use bitcoin::absolute::LockTime;
use bitcoin::{
    Amount, EcdsaSighashType, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Txid, Witness,
};
use lightning_traits::Secp;
use lightning_traits::interface::{ChannelSigner, InputToSign, SigningKey};
use lightning_traits::record;
use lightning_traits::tx::trim::{commitment_fee, untrimmed_count};
use lightning_traits::tx::weight::{OUTPUT_BYTES, SEGWIT_BYTES, TRANSACTION_BYTES};
use lightning_traits::tx::{CommitmentTx, Spend, TxSide, script, witness};
use lightning_traits::units::{BlockHeight, FeeratePerKw};

use super::build::{add_coins, paid};
use super::fee::{COIN_INPUT_WEIGHT, LATE_WINDOW, LONGEST_CHANGE, OFFERED_WINDOW, in_time};
use super::{FeeInputs, Price, Stake, least_replacing, rate_of};
use crate::monitor::ChannelMonitor;
use crate::resolve::{CoinRequest, Moment, Purpose, RENEWAL};

/// Blocks that a commitment must be ahead of the last block of an HTLC in it, which takes another transaction.
const SECOND_STAGE_BLOCKS: u32 = 6;
/// Blocks before its deadline from which on their commitment is pushed as well.
const THEIRS_TOO: u32 = 12;
/// The change must be worth an output: without one the child would have none.
const LEAST_CHANGE: u64 = 330;

/// A child that is out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Child {
    /// The commitment that it pays for.
    pub(crate) parent: Txid,
    pub(crate) transaction: Transaction,
    /// The rate of both together, and the child's own fee.
    pub(crate) price: Price,
    /// Since when there is one.
    pub(crate) since: BlockHeight,
}
record!(struct Child { parent, transaction, price, since });

/// A commitment and what a child of it must know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Parent {
    pub(crate) txid: Txid,
    pub(crate) version: bitcoin::transaction::Version,
    pub(crate) anchor: u32,
    pub(crate) weight: u64,
    pub(crate) fee: Amount,
    /// Signed, when it is ours to broadcast.
    pub(crate) signed: Option<Transaction>,
}

impl ChannelMonitor {
    /// Our commitment as a parent: `None` without an anchor of ours.
    pub(crate) fn our_parent(&self, commitment: &CommitmentTx, signed: Transaction) -> Option<Parent> {
        self.parent(commitment, commitment.broadcaster_anchor?, Some(signed))
    }

    /// Theirs that are not revoked.
    pub(crate) fn their_parents(&self, secp: &Secp) -> Vec<Parent> {
        let known = [Some(&self.theirs.current), self.theirs.next.as_ref()];
        let built = known.into_iter().flatten().filter_map(|theirs| self.build_theirs(secp, theirs));
        built.filter_map(|built| self.parent(&built.tx, built.tx.countersigner_anchor?, None)).collect()
    }

    fn parent(&self, commitment: &CommitmentTx, anchor: u32, signed: Option<Transaction>) -> Option<Parent> {
        let out =
            commitment.tx.output.iter().map(|output| output.value.to_sat()).fold(0, u64::saturating_add);
        let witness = Spend::Funding.witness_weight(self.init.format);
        // Its witness is empty so far: neither that nor marker and flag are in the weight yet.
        let bare = commitment.tx.weight().to_wu();
        Some(Parent {
            txid: commitment.txid,
            version: commitment.tx.version,
            anchor,
            weight: bare.saturating_add(SEGWIT_BYTES).saturating_add(witness),
            fee: self.init.funding.value.checked_sub(Amount::from_sat(out))?,
            signed,
        })
    }

    /// What our commitment weighs.
    pub(crate) fn our_weight(&self) -> u64 {
        let params = self.init.our_params();
        let htlcs = untrimmed_count(&self.ours.spec, params.format, params.dust_limit);
        // A sat for each weight unit.
        commitment_fee(params.format, FeeratePerKw::new(1_000), htlcs).to_sat()
    }

    /// What is at stake when no commitment confirms, for one of this weight and a child with one coin.
    pub(crate) fn stake_of_going(&self, weight: u64, tip: BlockHeight) -> Stake {
        let since = self.children.iter().map(|child| child.since).min().unwrap_or(tip);
        let (mut value, mut deadline) = (0_u64, None);
        for (spec, us) in self.valid_specs() {
            let mut sum = 0_u64;
            for htlc in &spec.htlcs {
                let expiry = BlockHeight::new(htlc.expiry.get());
                let is_ours = htlc.offered_by == us;
                if !is_ours && !self.preimages.contains_key(&htlc.payment_hash) {
                    continue;
                }
                let last = if is_ours {
                    // Nothing happens at this height by itself, and who comes near it is late.
                    expiry.plus(OFFERED_WINDOW - SECOND_STAGE_BLOCKS).max(since.plus(LATE_WINDOW))
                } else {
                    expiry.minus(SECOND_STAGE_BLOCKS)
                };
                deadline = Some(deadline.map_or(last, |known: BlockHeight| known.min(last)));
                sum = sum.saturating_add(htlc.amount.to_amount_floor().to_sat());
            }
            value = value.max(sum);
        }
        if deadline.is_none() {
            value = self.ours.spec.balance(TxSide::Broadcaster).to_amount_floor().to_sat();
        }
        Stake {
            // Of this a half may be offered.
            value: Amount::from_sat(value / 2),
            payable: Amount::from_sat(value / 2),
            weight: weight.saturating_add(self.child_weight()).saturating_add(COIN_INPUT_WEIGHT),
            deadline: deadline.map(|last| in_time(last, since)),
            punishes: false,
        }
    }

    /// The weight of a child without the inputs of coins.
    fn child_weight(&self) -> u64 {
        (TRANSACTION_BYTES + OUTPUT_BYTES + LONGEST_CHANGE as u64)
            .saturating_mul(4)
            .saturating_add(SEGWIT_BYTES)
            .saturating_add(Spend::Anchor.input_weight(self.init.format))
    }

    /// What to ask coins for, if the commitment needs a child, or a better one than is out.
    pub(crate) fn child_request(&self, parent: Parent, moment: Moment) -> Option<CoinRequest> {
        let stake = self.stake_of_going(parent.weight, moment.tip);
        let out = self.children.iter().find(|child| child.parent == parent.txid).map(|child| child.price);
        let feerate = stake.feerate(moment.rates, moment.tip, moment.pace, out.map(|out| out.feerate))?;
        if rate_of(parent.fee, parent.weight) >= feerate {
            return None;
        }
        let is_better = out.is_none_or(|out| out.is_beaten_by(feerate, stake.is_last(moment.tip)));
        let waits =
            self.children.iter().map(|child| moment.tip.get().saturating_sub(child.since.get())).max();
        let renews = !is_better && waits.is_some_and(|waits| waits > 0 && waits.is_multiple_of(RENEWAL));
        if !is_better && !renews {
            return None;
        }
        let out = out.filter(|_| is_better);
        let cap = stake.cap(moment.rates)?;
        let most = cap.fee(stake.weight).checked_sub(parent.fee)?;
        let fixed = self.child_weight();
        let replaces = out.map(|out| out.fee);
        let missing = feerate.fee(parent.weight.saturating_add(fixed)).checked_sub(parent.fee);
        let least = replaces.map(|fee| least_replacing(fee, fixed)).unwrap_or_default();
        let needed = missing.unwrap_or_default().max(least).to_sat().saturating_add(LEAST_CHANGE);
        Some(CoinRequest {
            outpoint: self.init.funding.outpoint,
            needed: Amount::from_sat(needed),
            feerate,
            floor: out.map(|out| out.feerate).unwrap_or_default().max(moment.rates.background),
            most,
            replaces,
            tip: moment.tip,
            renews,
            purpose: Purpose::Child { parent },
            rank: stake.rank(),
        })
    }

    /// Whether their commitments are to be pushed too.
    pub(crate) fn pushes_theirs(&self, stake: &Stake, moment: Moment) -> bool {
        stake.deadline.is_some_and(|deadline| moment.tip.plus(THEIRS_TOO) >= deadline)
    }

    /// The child of a commitment, but for the wallet's signatures.
    pub(crate) fn fund_child(
        &self,
        signer: &impl ChannelSigner,
        parent: &Parent,
        fees: &FeeInputs<'_>,
    ) -> Option<Child> {
        if !self.is_going_to_chain() {
            return None;
        }
        let script = script::anchor(&self.init.ours.keys.funding);
        let value = lightning_traits::tx::ANCHOR_VALUE;
        let mut transaction = Transaction {
            // A child has its parent's version: TRUC binds both (BIP 431).
            version: parent.version,
            lock_time: LockTime::ZERO,
            input: alloc::vec![TxIn {
                previous_output: OutPoint { txid: parent.txid, vout: parent.anchor },
                script_sig: ScriptBuf::new(),
                sequence: Sequence::ENABLE_RBF_NO_LOCKTIME,
                witness: Witness::new(),
            }],
            output: Vec::<TxOut>::new(),
        };
        let feerate = add_coins(&mut transaction, self.child_weight(), value, fees)?;
        if transaction.output.is_empty() {
            return None;
        }
        let signature = signer
            .sign_input(&InputToSign {
                transaction: &transaction,
                input: 0,
                value,
                script: &script,
                sighash: EcdsaSighashType::All,
                key: &SigningKey::Funding,
            })
            .ok()?;
        if let Some(input) = transaction.input.first_mut() {
            input.witness = witness::anchor(&signature, &script);
        }
        let fee = paid(fees.brought().to_sat().saturating_add(value.to_sat()), &transaction);
        let price = Price { feerate, fee };
        let since = self.children.iter().map(|child| child.since).min().unwrap_or(fees.request.tip);
        Some(Child { parent: parent.txid, transaction, price, since })
    }

    /// Remembers a child in place of the one before it, and gives the package to broadcast.
    pub(crate) fn keep_child(&mut self, child: Child, parent: &Parent) -> Vec<Transaction> {
        let package = package_of(parent, Some(&child));
        self.children.retain(|known| known.parent != child.parent);
        self.children.push(child);
        package
    }

    /// The commitment with its child, if there is one.
    pub(crate) fn package_out(&self, parent: &Parent) -> Vec<Transaction> {
        package_of(parent, self.children.iter().find(|child| child.parent == parent.txid))
    }
}

fn package_of(parent: &Parent, child: Option<&Child>) -> Vec<Transaction> {
    parent.signed.iter().cloned().chain(child.map(|child| child.transaction.clone())).collect()
}
