//! A transaction of the channel is in a block: what it spends, and what that says.
//!
//! # Invariants
//! - an HTLC output is matched by its outpoint, a preimage by its hash (RELIABILITY D4, D17)
use alloc::vec::Vec;

use bitcoin::hashes::{Hash as _, sha256};
use bitcoin::{OutPoint, Transaction, TxIn};
use lightning_traits::Secp;
use lightning_traits::event::Event;
use lightning_traits::interface::{ChannelSigner, SignError};
use lightning_traits::monitor::{HtlcOutcome, MonitorEvent, SpendKind};
use lightning_traits::payment::Preimage;
use lightning_traits::tx::{Spend, number_of};

use super::Todo;
use crate::claim::{Output, Spent};
use crate::monitor::{ChannelMonitor, Closing, Confirmed};

impl ChannelMonitor {
    /// Takes a confirmed transaction; `false` when only the signer could tell what it is, and did not.
    pub(super) fn confirm(
        &mut self,
        secp: &Secp,
        signer: &impl ChannelSigner,
        confirmed: &Confirmed,
        todo: &mut Todo,
    ) -> bool {
        if !self.is_spent_by(&confirmed.transaction) {
            self.on_outputs_spent(secp, confirmed, todo);
            return true;
        }
        let txid = confirmed.transaction.compute_txid();
        if self.closing.as_ref().is_some_and(|closing| closing.txid == txid) {
            return true;
        }
        let Ok((kind, outputs)) = self.identify(secp, signer, confirmed) else {
            todo.signer_failed = true;
            return false;
        };
        self.on_funding_spent(kind, outputs, confirmed, todo);
        true
    }

    /// What has spent the funding output. It may be our commitment before the latest: another monitor of the channel went to the
    /// chain with it, and refused what came after it.
    fn identify(
        &mut self,
        secp: &Secp,
        signer: &impl ChannelSigner,
        confirmed: &Confirmed,
    ) -> Result<(SpendKind, Vec<Output>), SignError> {
        let Confirmed { transaction, height } = confirmed;
        let found = self.recognise(secp, signer, transaction, *height)?;
        let is_riddle = matches!(found.0, SpendKind::Unknown {} | SpendKind::Future { .. });
        let latest = self.ours.number;
        match number_of(transaction, self.init.obscure) {
            Some(number) if is_riddle && number.next() == latest && self.turn_to(number) => {}
            _ => return Ok(found),
        }
        let again = self.recognise(secp, signer, transaction, *height);
        if !matches!(again, Ok((SpendKind::Ours { .. }, _))) {
            self.turn_back();
        }
        again
    }

    fn on_funding_spent(
        &mut self,
        kind: SpendKind,
        outputs: Vec<Output>,
        confirmed: &Confirmed,
        todo: &mut Todo,
    ) {
        let (txid, height) = (confirmed.transaction.compute_txid(), confirmed.height);
        todo.watches.extend(outputs.iter().map(|output| (output.outpoint, output.script_pubkey())));
        let missing = self.missing_from(&outputs);
        let history = alloc::vec![confirmed.clone()];
        self.undone = None;
        let claims = Vec::new();
        self.closing =
            Some(Closing { txid, kind, height, outputs, claims, missing, resolved: false, history });
        todo.events.push(MonitorEvent::FundingSpent { channel: self.init.channel, txid, kind, height });
        todo.changed = true;
    }

    /// A transaction that is in no block. A preimage that it shows for an output of the closing is known from then on, whatever becomes
    /// of the transaction: who takes an HTLC out of mempools again and again must show it each time (RELIABILITY D14).
    pub(crate) fn on_unconfirmed(&mut self, transaction: &Transaction, todo: &mut Todo) {
        let outputs = self.closing.iter().flat_map(|closing| &closing.outputs);
        let spent = outputs.flat_map(|output| {
            let inputs = transaction.input.iter().filter(|input| input.previous_output == output.outpoint);
            inputs.filter_map(|input| Some((output.clone(), preimage_in(output, input)?)))
        });
        let shown: Vec<(Output, Preimage)> = spent.collect();
        for (output, preimage) in shown {
            todo.changed |= self.preimages.insert(preimage.hash(), preimage.clone()).is_none();
            if let Some(htlc) = output.htlc.filter(|_| output.is_offered_by_us()) {
                self.report(htlc.id, HtlcOutcome::Claimed { preimage }, todo);
            }
        }
    }

    /// Outputs of HTLCs that we offered, which the peer can have with a preimage that we do not know.
    pub(crate) fn contested(&self) -> impl Iterator<Item = OutPoint> {
        let outputs = self.closing.iter().flat_map(|closing| &closing.outputs);
        let contested = outputs.filter(|output| {
            output.is_offered_by_us() && output.spent.is_none() && self.preimage_of(output).is_none()
        });
        contested.map(|output| output.outpoint)
    }

    /// Something spends outputs of the closing.
    fn on_outputs_spent(&mut self, secp: &Secp, confirmed: &Confirmed, todo: &mut Todo) {
        let Some(mut closing) = self.closing.take() else { return };
        let Confirmed { transaction, height } = confirmed;
        let (txid, height) = (transaction.compute_txid(), *height);
        let (mut found, mut is_new, mut swept) = (Vec::new(), false, false);
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
            is_new = true;
            let output = output.clone();
            swept |= by_us && !output.is_second_stage();
            if let Some(preimage) = preimage_in(&output, input) {
                self.preimages.insert(preimage.hash(), preimage.clone());
                if let Some(htlc) = output.htlc.filter(|_| output.is_offered_by_us()) {
                    self.report(htlc.id, HtlcOutcome::Claimed { preimage }, todo);
                }
            }
            found.extend(self.outputs_of_second_stage(secp, &output, transaction, height));
        }
        for output in found {
            if closing.outputs.iter().all(|known| known.outpoint != output.outpoint) {
                todo.watches.push((output.outpoint, output.script_pubkey()));
                closing.outputs.push(output);
            }
        }
        if swept {
            let (channel, transaction) = (self.init.channel, transaction.clone());
            todo.user_events.push(Event::Swept { channel, transaction, height });
        }
        let may_be_another = match closing.kind {
            SpendKind::Theirs { .. } | SpendKind::Future { .. } | SpendKind::Unknown {} => true,
            SpendKind::Mutual {} | SpendKind::Ours { .. } | SpendKind::Revoked { .. } => false,
        };
        if is_new && !closing.resolved && may_be_another {
            closing.history.push(confirmed.clone());
        }
        todo.changed |= is_new;
        self.closing = Some(closing);
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
