//! Claims: made when their time has come, broadcast again with every block, and replaced as the price rises.
//!
//! # Invariants
//! - what is out stays out until its replacement is made and signed
//! - a claim of which somebody else took an output is made anew at once for the others, at no lower rate (RELIABILITY D6, D12)
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use bitcoin::{OutPoint, Transaction, Txid};
use lightning_traits::Secp;
use lightning_traits::interface::ChannelSigner;
use lightning_traits::tx::HtlcSpec;
use lightning_traits::units::{BlockHeight, FeeratePerKw};

use super::{CoinRequest, Moment, Outgoing, Purpose, Todo};
use crate::claim::{
    Attempt, Authority, BuildError, COIN_INPUT_WEIGHT, Offer, Output, Package, Price, Rank, Stake,
    least_replacing,
};
use crate::detect::Built;
use crate::monitor::{ChannelMonitor, Closing, Duty};

/// Blocks after which a wallet is asked again for the coins of what still waits.
pub(crate) const RENEWAL: u32 = 6;

/// Blocks within which a claim confirms, in all likelihood: S of BOLT 2, "`cltv_expiry_delta` Selection".
const CONFIRMS_WITHIN: u32 = 12;

/// What came of a package.
enum Made {
    /// A transaction, to be broadcast.
    Claim(Attempt, Rank),
    /// Coins are asked for.
    Asked,
    /// Nothing now: waiting is better, or the signer has not signed.
    Nothing,
}

/// What all claims of one moment share.
struct Maker<'a, S> {
    secp: &'a Secp,
    signer: &'a S,
    moment: Moment,
    ours: Option<Built>,
}

impl ChannelMonitor {
    /// Makes, replaces and broadcasts the claims whose time has come.
    pub(super) fn claim_due(
        &mut self,
        secp: &Secp,
        signer: &impl ChannelSigner,
        moment: Moment,
        todo: &mut Todo,
    ) {
        let Some(mut closing) = self.closing.take() else { return };
        forget_broken(&mut closing, todo);
        let is_ours_to_do = |output: &Output| {
            self.duty == Duty::Enforce || matches!(output.authority, Authority::Revocation { .. })
        };
        let due = |output: &&Output| {
            output.spent.is_none() && is_ours_to_do(output) && self.is_claimable(output, moment.tip)
        };
        let mut due: BTreeMap<OutPoint, Output> =
            closing.outputs.iter().filter(due).map(|output| (output.outpoint, output.clone())).collect();
        let mut maker = Maker { secp, signer, moment, ours: None };
        let claims = core::mem::take(&mut closing.claims);
        for attempt in claims {
            let outputs: Option<Vec<Output>> =
                attempt.outpoints.iter().map(|outpoint| due.get(outpoint).cloned()).collect();
            let Some(outputs) = outputs else {
                // Confirmed, or too early again after a reorganisation.
                closing.claims.push(attempt);
                continue;
            };
            for outpoint in &attempt.outpoints {
                due.remove(outpoint);
            }
            let packages = self.packages_again(attempt, outputs, moment.tip);
            self.claim_again(&mut maker, packages, &mut closing, todo);
        }
        let known: BTreeSet<OutPoint> =
            closing.claims.iter().flat_map(|attempt| attempt.outpoints.iter().copied()).collect();
        let is_fresh = |output: &Output| !known.contains(&output.outpoint) && may_show(output, moment);
        let fresh = due.into_values().filter(is_fresh).collect();
        for package in self.packages_of(fresh, moment.tip) {
            if let Made::Claim(attempt, rank) = self.make(&mut maker, &package, todo) {
                take(&mut closing, attempt, rank, moment.tip, todo);
            }
        }
        self.closing = Some(closing);
    }

    /// A claim that is out: as it is, at a better price, or in parts.
    fn claim_again(
        &self,
        maker: &mut Maker<'_, impl ChannelSigner>,
        packages: Vec<Package>,
        closing: &mut Closing,
        todo: &mut Todo,
    ) {
        // What takes the place of what is out goes before the rest, which conflicts with that.
        let tip = maker.moment.tip;
        let rank = packages.iter().map(|package| self.stake_of(&package.outputs, tip).rank()).min();
        let rank = rank.unwrap_or(Rank::LAST);
        let mut packages = packages.into_iter();
        let Some(first) = packages.next() else { return };
        let is_whole = packages.len() == 0;
        let made = self.make(maker, &first, todo);
        let Some(out) = first.replaces else { return };
        match made {
            Made::Claim(attempt, _) => take(closing, attempt, rank, tip, todo),
            Made::Asked | Made::Nothing => {
                // What the parts would replace is still out; they are tried again with the next block.
                todo.broadcasts.push(Outgoing { rank, package: alloc::vec![out.transaction.clone()] });
                closing.claims.push(out);
                return;
            }
        }
        if is_whole {
            return;
        }
        for package in packages {
            if let Made::Claim(attempt, _) = self.make(maker, &package, todo) {
                take(closing, attempt, rank, tip, todo);
            }
        }
    }

    fn make<S: ChannelSigner>(&self, maker: &mut Maker<'_, S>, package: &Package, todo: &mut Todo) -> Made {
        let Some(first) = package.outputs.first() else { return Made::Nothing };
        if first.is_second_stage() && maker.ours.is_none() {
            match self.build_ours(maker.secp, maker.signer) {
                Ok(built) => maker.ours = Some(built),
                Err(_) => {
                    todo.signer_failed = true;
                    return Made::Nothing;
                }
            }
        }
        let stake = self.stake_of(&package.outputs, maker.moment.tip);
        let rank = stake.rank();
        if self.is_fixed(first) {
            if package.replaces.is_some() {
                return Made::Nothing;
            }
            let built = self.build_second_stage(maker.signer, first, maker.ours.as_ref(), None);
            return made(built, package, (Price::default(), rank), todo);
        }
        let (feerate, renews) = match self.next_feerate(&stake, package, maker.moment) {
            Some(feerate) => (feerate, false),
            None => match package.replaces.as_ref().filter(|_| renews(first, maker.moment.tip)) {
                Some(out) => (out.price.feerate, true),
                None => return Made::Nothing,
            },
        };
        let replaces = package.replaces.as_ref().map(|attempt| attempt.price.fee).filter(|_| !renews);
        let least = replaces.map(|fee| least_replacing(fee, stake.weight)).unwrap_or_default();
        let fee = feerate.fee(stake.weight).max(least);
        let Some(cap) = stake.cap(maker.moment.rates).filter(|cap| fee <= cap.fee(stake.weight)) else {
            return Made::Nothing;
        };
        if first.is_second_stage() {
            let outpoint = first.outpoint;
            let out = package.replaces.as_ref().filter(|_| !renews);
            let floor = out.map(|out| out.price.feerate).unwrap_or_default();
            // What the coins cost themselves comes on top.
            let fixed = stake.weight.saturating_sub(COIN_INPUT_WEIGHT);
            let least = replaces.map(|fee| least_replacing(fee, fixed)).unwrap_or_default();
            todo.coin_requests.push(CoinRequest {
                outpoint,
                needed: feerate.fee(fixed).max(least),
                feerate,
                floor: floor.max(maker.moment.rates.background),
                most: cap.fee(stake.weight),
                replaces,
                tip: maker.moment.tip,
                renews,
                purpose: Purpose::SecondStage,
                rank,
            });
            return Made::Asked;
        }
        let built = self.build_sweep(maker.secp, maker.signer, &package.outputs, fee);
        made(built, package, (Price { feerate, fee }, rank), todo)
    }

    /// Weight of what waits for a block and may come too late.
    pub(crate) fn waiting_weight(&self) -> u64 {
        let weight = |transaction: &Transaction| transaction.weight().to_wu();
        let children = self.children.iter().map(|child| weight(&child.transaction)).max();
        let Some(closing) = &self.closing else {
            let commitment = self.is_going_to_chain().then(|| self.our_weight());
            return commitment.unwrap_or(0).saturating_add(children.unwrap_or(0));
        };
        let waits = |output: &&Output| output.spent.is_none() && output.may_be_taken();
        let waiting: BTreeSet<OutPoint> =
            closing.outputs.iter().filter(waits).map(|output| output.outpoint).collect();
        let claims = closing.claims.iter();
        let claims = claims.filter(|claim| claim.outpoints.iter().any(|outpoint| waiting.contains(outpoint)));
        claims.map(|claim| weight(&claim.transaction)).fold(0, u64::saturating_add)
    }

    /// The feerate of a package; `None` when it is out already at a rate as good, or waiting is better.
    fn next_feerate(&self, stake: &Stake, package: &Package, moment: Moment) -> Option<FeeratePerKw> {
        let last = package.outputs.iter().filter_map(|output| Some(output.offered?.feerate)).max();
        let feerate = stake.feerate(moment.rates, moment.tip, moment.pace, last)?;
        let is_same = |out: &&Attempt| out.outpoints.len() == package.outputs.len();
        match package.replaces.as_ref().filter(is_same) {
            Some(out) => out.price.is_beaten_by(feerate, stake.is_last(moment.tip)).then_some(feerate),
            None => Some(feerate),
        }
    }

    /// Remembers a claim in place of the one before it, and gives what to broadcast.
    pub(crate) fn keep_claim(&mut self, attempt: Attempt, tip: BlockHeight) -> Vec<Transaction> {
        let package = alloc::vec![attempt.transaction.clone()];
        if let Some(closing) = &mut self.closing {
            closing.claims.retain(|known| known.outpoints != attempt.outpoints);
            note_offer(closing, &attempt, tip);
            closing.claims.push(attempt);
        }
        package
    }
}

/// Whether the coins of a claim are asked for again: a reorganisation, or another wallet of the same seed, may have taken them away.
fn renews(output: &Output, tip: BlockHeight) -> bool {
    let waits = output.offered.map_or(0, |offer| tip.get().saturating_sub(offer.since.get()));
    output.is_second_stage() && waits > 0 && waits.is_multiple_of(RENEWAL)
}

/// Whether a claim may show its preimage. What a crash could still take back is not shown: the channel would not remember that it
/// was claimed, and its user would never hear of money that is there (I3). But an HTLC is not lost to a broken disk.
fn may_show(output: &Output, moment: Moment) -> bool {
    let is_last_chance =
        |htlc: &HtlcSpec| BlockHeight::new(htlc.expiry.get()).minus(CONFIRMS_WITHIN) <= moment.tip;
    moment.may_publish || !output.needs_preimage() || output.htlc.as_ref().is_some_and(is_last_chance)
}

fn made(
    built: Result<Transaction, BuildError>,
    package: &Package,
    (price, rank): (Price, Rank),
    todo: &mut Todo,
) -> Made {
    match built {
        Ok(transaction) => {
            let outpoints = package.outputs.iter().map(|output| output.outpoint).collect();
            Made::Claim(Attempt { outpoints, transaction, price }, rank)
        }
        Err(BuildError::Signer(_) | BuildError::Inconsistent | BuildError::TooDear) => {
            todo.signer_failed = true;
            Made::Nothing
        }
    }
}

/// Takes a new claim up.
fn take(closing: &mut Closing, attempt: Attempt, rank: Rank, tip: BlockHeight, todo: &mut Todo) {
    todo.broadcasts.push(Outgoing { rank, package: alloc::vec![attempt.transaction.clone()] });
    todo.changed = true;
    note_offer(closing, &attempt, tip);
    closing.claims.push(attempt);
}

fn note_offer(closing: &mut Closing, attempt: &Attempt, tip: BlockHeight) {
    for output in closing.outputs.iter_mut().filter(|output| attempt.outpoints.contains(&output.outpoint)) {
        let since = output.offered.map_or(tip, |offer| offer.since);
        let before = output.offered.map(|offer| offer.feerate).unwrap_or_default();
        output.offered = Some(Offer { feerate: before.max(attempt.price.feerate), since });
    }
}

/// Forgets claims of which another transaction has taken an output, or whose outputs are in no block any more.
fn forget_broken(closing: &mut Closing, todo: &mut Todo) {
    let count = closing.claims.len();
    let spends: BTreeMap<OutPoint, Option<Txid>> = closing
        .outputs
        .iter()
        .map(|output| (output.outpoint, output.spent.map(|spent| spent.txid)))
        .collect();
    closing.claims.retain(|attempt| {
        attempt.outpoints.iter().all(|outpoint| match spends.get(outpoint) {
            Some(Some(txid)) => *txid == attempt.transaction.compute_txid(),
            Some(None) => true,
            None => false,
        })
    });
    todo.changed |= closing.claims.len() != count;
}
