//! What happens on chain, and what follows from it.
//!
//! [`ChannelMonitor::on_transaction`] takes a confirmed transaction that spends something of the channel,
//! [`ChannelMonitor::on_tip`] looks at what the new height makes possible, [`ChannelMonitor::on_disconnected`] rolls
//! one block back. All three only note what must be done, in a [`Todo`].
//!
//! # Invariants
//! - a preimage seen on chain is reported at once; an HTLC fails back only when that is irrevocable, 6 deep,
//!   and no preimage is known (RELIABILITY rule 4)
//! - taking the same block twice changes nothing
use alloc::vec::Vec;

use bitcoin::hashes::{Hash as _, sha256};
use bitcoin::{Amount, OutPoint, ScriptBuf, Transaction, TxIn};
use lightning_traits::Secp;
use lightning_traits::event::Event;
use lightning_traits::id::HtlcId;
use lightning_traits::interface::ChannelSigner;
use lightning_traits::monitor::{HtlcOutcome, MonitorEvent, SpendKind};
use lightning_traits::payment::{PaymentHash, Preimage};
use lightning_traits::tx::Spend;
use lightning_traits::units::{BlockHeight, FeeratePerKw};

use crate::claim::{BuildError, Claim, Output, Spent};
use crate::detect::Built;
use crate::monitor::{ChannelMonitor, Closing, Stance};

/// How deep a transaction must be before what follows from it cannot be taken back.
pub(crate) const IRREVOCABLE_DEPTH: u32 = 6;

/// Feerates of the moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rates {
    pub(crate) urgent: FeeratePerKw,
    pub(crate) background: FeeratePerKw,
}

/// A claim that waits for coins of the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CoinRequest {
    pub(crate) outpoint: OutPoint,
    pub(crate) needed: Amount,
    pub(crate) feerate: FeeratePerKw,
}

/// What must be done outside.
#[derive(Debug, Default)]
pub(crate) struct Todo {
    pub(crate) events: Vec<MonitorEvent>,
    pub(crate) user_events: Vec<Event>,
    pub(crate) broadcasts: Vec<Transaction>,
    pub(crate) coin_requests: Vec<CoinRequest>,
    pub(crate) released: Vec<OutPoint>,
    pub(crate) watches: Vec<(OutPoint, ScriptBuf)>,
    /// The state changed in a way that must be stored.
    pub(crate) changed: bool,
    /// The signer would not sign something that a claim needs.
    pub(crate) signer_failed: bool,
}

impl ChannelMonitor {
    /// A confirmed transaction that spends the funding output or an output of the closing.
    pub(crate) fn on_transaction(
        &mut self,
        secp: &Secp,
        signer: &impl ChannelSigner,
        transaction: &Transaction,
        height: BlockHeight,
        todo: &mut Todo,
    ) {
        if self.is_spent_by(transaction) {
            self.on_funding_spent(secp, signer, transaction, height, todo);
        } else {
            self.on_outputs_spent(secp, transaction, height, todo);
        }
    }

    fn on_funding_spent(
        &mut self,
        secp: &Secp,
        signer: &impl ChannelSigner,
        transaction: &Transaction,
        height: BlockHeight,
        todo: &mut Todo,
    ) {
        let txid = transaction.compute_txid();
        if self.closing.as_ref().is_some_and(|closing| closing.txid == txid) {
            return;
        }
        let Ok(kind) = self.classify(secp, signer, transaction) else {
            todo.signer_failed = true;
            return;
        };
        let outputs = self.outputs_of(secp, signer, kind, transaction, height);
        todo.watches.extend(outputs.iter().map(|output| (output.outpoint, output.script.clone())));
        let missing = if kind == (SpendKind::Mutual {}) { Vec::new() } else { self.missing_from(&outputs) };
        let channel = self.init.channel;
        self.closing =
            Some(Closing { txid, kind, height, outputs, missing, reported: Vec::new(), resolved: false });
        todo.events.push(MonitorEvent::FundingSpent { channel, txid, kind, height });
        todo.changed = true;
    }

    fn outputs_of(
        &self,
        secp: &Secp,
        signer: &impl ChannelSigner,
        kind: SpendKind,
        transaction: &Transaction,
        height: BlockHeight,
    ) -> Vec<Output> {
        let found = match kind {
            SpendKind::Mutual {} => Some(Vec::new()),
            SpendKind::Ours { .. } => {
                self.build_ours(secp, signer).ok().map(|built| self.outputs_of_ours(&built, height))
            }
            SpendKind::Theirs { number } => {
                let known = [Some(&self.theirs.current), self.theirs.next.as_ref()];
                let commitment = known.into_iter().flatten().find(|commitment| commitment.number == number);
                let built = commitment.and_then(|commitment| self.build_theirs(secp, commitment));
                built.map(|built| self.outputs_of_theirs(&built, height))
            }
            SpendKind::Revoked { number } => self
                .revoked_keys(secp, number)
                .map(|keys| self.outputs_of_revoked(&keys, number, transaction, height)),
            SpendKind::Future { .. } | SpendKind::Unknown {} => None,
        };
        // Of what we do not know we can still find our own balance, which needs no secret of the commitment.
        found.unwrap_or_else(|| {
            let point = match self.stance {
                Stance::DataLoss { point } => point,
                Stance::Open {} | Stance::ForceClosing {} => self.theirs.latest().point,
            };
            self.our_balance_in(transaction, point, height).into_iter().collect()
        })
    }

    /// Something spends outputs of the closing.
    fn on_outputs_spent(
        &mut self,
        secp: &Secp,
        transaction: &Transaction,
        height: BlockHeight,
        todo: &mut Todo,
    ) {
        let Some(mut closing) = self.closing.take() else { return };
        let txid = transaction.compute_txid();
        let mut found = Vec::new();
        for input in &transaction.input {
            let mut outputs = closing.outputs.iter_mut();
            let Some(output) = outputs.find(|output| output.outpoint == input.previous_output) else {
                continue;
            };
            if output.spent.is_some_and(|spent| spent.txid == txid) {
                continue;
            }
            let by_us = is_spent_by_us(output.spend, input);
            output.spent = Some(Spent { txid, height, by_us });
            todo.changed = true;
            todo.released.push(output.outpoint);
            let output = output.clone();
            if by_us && !output.is_second_stage() {
                let (channel, transaction) = (self.init.channel, transaction.clone());
                todo.user_events.push(Event::Swept { channel, transaction, height });
            }
            if let Some(preimage) = preimage_in(&output, input) {
                self.preimages.insert(preimage.hash(), preimage.clone());
                if let Some(htlc) = output.htlc.filter(|_| output.is_offered_by_us()) {
                    let outcome = HtlcOutcome::Claimed { preimage };
                    self.report(&mut closing, htlc.id, outcome, todo);
                }
            }
            found.extend(self.outputs_of_second_stage(secp, &output, transaction, height));
        }
        for output in found {
            if closing.outputs.iter().all(|known| known.outpoint != output.outpoint) {
                todo.watches.push((output.outpoint, output.script.clone()));
                closing.outputs.push(output);
            }
        }
        self.closing = Some(closing);
    }

    /// Reports the end of an HTLC that we offered, once.
    fn report(&self, closing: &mut Closing, htlc: HtlcId, outcome: HtlcOutcome, todo: &mut Todo) {
        if !closing.reported.contains(&htlc) {
            closing.reported.push(htlc);
            let channel = self.init.channel;
            todo.events.push(MonitorEvent::HtlcResolved { channel, htlc, outcome });
            todo.changed = true;
        }
    }

    /// The chain has reached `tip`.
    pub(crate) fn on_tip(
        &mut self,
        secp: &Secp,
        signer: &impl ChannelSigner,
        tip: BlockHeight,
        rates: Rates,
        todo: &mut Todo,
    ) {
        if self.closing.is_some() {
            self.claim_due(secp, signer, tip, rates, todo);
            self.settle(tip, todo);
            return;
        }
        if self.stance == (Stance::Open {}) && self.deadline().is_some_and(|deadline| deadline <= tip) {
            self.stance = Stance::ForceClosing {};
            todo.events.push(MonitorEvent::ForceClosed { channel: self.init.channel });
            todo.changed = true;
        }
        if self.stance == (Stance::ForceClosing {}) {
            match self.signed_commitment(secp, signer) {
                Ok(transaction) => todo.broadcasts.push(transaction),
                Err(_) => todo.signer_failed = true,
            }
        }
    }

    /// Broadcasts, again where need be, the claims whose time has come.
    fn claim_due(
        &mut self,
        secp: &Secp,
        signer: &impl ChannelSigner,
        tip: BlockHeight,
        rates: Rates,
        todo: &mut Todo,
    ) {
        let Some(closing) = &self.closing else { return };
        let due = |output: &&Output| output.spent.is_none() && self.is_claimable(output, tip);
        let due: Vec<Output> = closing.outputs.iter().filter(due).cloned().collect();
        let mut ours: Option<Built> = None;
        for output in due {
            if let Some(claim) = &output.claim {
                todo.broadcasts.push(claim.clone());
                continue;
            }
            if output.is_second_stage() && ours.is_none() {
                ours = self.build_ours(secp, signer).ok();
            }
            let feerate = if output.is_urgent() { rates.urgent } else { rates.background };
            match self.build_claim(secp, signer, &output, ours.as_ref(), feerate) {
                Ok(Claim::Ready(transaction)) => {
                    todo.broadcasts.push(transaction.clone());
                    self.keep_claim(output.outpoint, transaction);
                    todo.changed = true;
                }
                Ok(Claim::NeedsCoins(needed)) => {
                    todo.coin_requests.push(CoinRequest { outpoint: output.outpoint, needed, feerate });
                }
                Ok(Claim::Uneconomic) => {}
                Err(BuildError::Signer(_) | BuildError::Inconsistent) => todo.signer_failed = true,
            }
        }
    }

    /// Remembers the claim of an output, to broadcast it again.
    pub(crate) fn keep_claim(&mut self, outpoint: OutPoint, transaction: Transaction) {
        let outputs = self.closing.iter_mut().flat_map(|closing| &mut closing.outputs);
        if let Some(output) = outputs.into_iter().find(|output| output.outpoint == outpoint) {
            output.claim = Some(transaction);
        }
    }

    /// Reports what has become irrevocable, and the end of it all.
    fn settle(&mut self, tip: BlockHeight, todo: &mut Todo) {
        let Some(mut closing) = self.closing.take() else { return };
        let deep = |height: BlockHeight| height.depth_at(tip) >= IRREVOCABLE_DEPTH;
        if deep(closing.height) {
            for (htlc, hash) in core::mem::take(&mut closing.missing) {
                let outcome = self.outcome_of_missing(&hash);
                self.report(&mut closing, htlc, outcome, todo);
                todo.changed = true;
            }
        }
        let returned: Vec<(HtlcId, PaymentHash)> = closing
            .outputs
            .iter()
            .filter(|output| output.is_offered_by_us())
            .filter(|output| output.spent.is_some_and(|spent| spent.by_us && deep(spent.height)))
            .filter_map(|output| output.htlc.map(|htlc| (htlc.id, htlc.payment_hash)))
            .collect();
        for (htlc, _) in returned {
            self.report(&mut closing, htlc, HtlcOutcome::Failed {}, todo);
        }
        let settled = |output: &Output| {
            output.spent.is_some_and(|spent| deep(spent.height)) || self.is_lost(output, tip)
        };
        if !closing.resolved && deep(closing.height) && closing.outputs.iter().all(settled) {
            closing.resolved = true;
            let channel = self.init.channel;
            todo.events.push(MonitorEvent::Resolved { channel });
            todo.user_events.push(Event::Resolved { channel });
            todo.changed = true;
        }
        self.closing = Some(closing);
    }

    fn outcome_of_missing(&self, hash: &PaymentHash) -> HtlcOutcome {
        match self.preimages.get(hash) {
            Some(preimage) => HtlcOutcome::Claimed { preimage: preimage.clone() },
            None => HtlcOutcome::Failed {},
        }
    }

    /// Whether an unspent output is not worth waiting for: the peer's to time out, or smaller than its fee.
    fn is_lost(&self, output: &Output, tip: BlockHeight) -> bool {
        let expired =
            output.htlc.is_some_and(|htlc| tip.get() > htlc.expiry.get().saturating_add(IRREVOCABLE_DEPTH));
        if output.needs_preimage() && self.preimage_of(output).is_none() {
            return expired;
        }
        let dust = self.init.destination.minimal_non_dust();
        let weight = output.spend.input_weight(self.init.format);
        let least = FeeratePerKw::FLOOR.fee(weight).to_sat().saturating_add(dust.to_sat());
        output.value.to_sat() < least && !output.is_second_stage()
    }

    /// The block at `height` is no longer in the chain.
    pub(crate) fn on_disconnected(&mut self, height: BlockHeight, todo: &mut Todo) {
        let Some(closing) = &mut self.closing else { return };
        if closing.height >= height {
            // The funding output is unspent again; what confirms next is looked at anew.
            self.closing = None;
            todo.changed = true;
            return;
        }
        let count = closing.outputs.len();
        closing.outputs.retain(|output| output.created < height);
        todo.changed |= closing.outputs.len() != count;
        for output in &mut closing.outputs {
            if output.spent.is_some_and(|spent| spent.height >= height) {
                output.spent = None;
                todo.changed = true;
            }
        }
    }

    /// Outpoints whose spend this monitor must see, with their scripts.
    pub(crate) fn watched(&self) -> Vec<(OutPoint, ScriptBuf)> {
        let funding = &self.init.funding;
        let mut watched = alloc::vec![(funding.outpoint, funding.txout().script_pubkey)];
        let outputs = self.closing.iter().flat_map(|closing| &closing.outputs);
        watched.extend(outputs.map(|output| (output.outpoint, output.script.clone())));
        watched
    }
}

/// Whether a spend is ours, by the form of its witness (BOLT 3): each branch of each script has its own.
fn is_spent_by_us(spend: Spend, input: &TxIn) -> bool {
    // Second-stage transactions, and only they, have five elements: `0 <sig> <sig> <preimage or empty> <script>`.
    let by_broadcaster = input.witness.len() == 5;
    match spend {
        Spend::HtlcTimeout | Spend::HtlcSuccess => by_broadcaster,
        Spend::OfferedWithPreimage
        | Spend::ReceivedAfterExpiry
        | Spend::RevokedOffered
        | Spend::RevokedReceived => !by_broadcaster,
        // `<sig> 1 <script>` is the revocation branch, `<sig> <> <script>` the delayed one.
        Spend::RevokedDelayed => input.witness.nth(1).is_some_and(|branch| branch == [1]),
        Spend::Delayed | Spend::CountersignerBalance => true,
        Spend::Anchor | Spend::AnchorByAnyone | Spend::Funding => false,
    }
}

/// The preimage of the HTLC, if the witness shows it: wherever it stands, its hash proves it.
fn preimage_in(output: &Output, input: &TxIn) -> Option<Preimage> {
    let hash = output.htlc?.payment_hash;
    input.witness.iter().find_map(|element| {
        let bytes: [u8; 32] = element.try_into().ok()?;
        let fits = sha256::Hash::hash(&bytes).to_byte_array() == hash.0;
        fits.then(|| Preimage::new(bytes))
    })
}
