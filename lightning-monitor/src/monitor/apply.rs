//! Learning from the channel: one update after another, each whole or not at all.
use alloc::boxed::Box;
use alloc::collections::BTreeSet;

use lightning_traits::Secp;
use lightning_traits::id::CommitmentNumber;
use lightning_traits::monitor::{
    ChannelMonitorUpdate, CommitmentChange, MonitorRefusal, MonitorStep, SpendKind,
};
use lightning_traits::payment::PaymentHash;
use lightning_traits::tx::trim::untrimmed_count;
use lightning_traits::tx::{CommitmentSecret, TxSide, number_of};
use secp256k1::ecdsa::Signature;

use super::history::{advance, is_whole};
use super::past::Mark;
use super::{ChannelMonitor, OurCommitment, Stance};

impl ChannelMonitor {
    /// Applies an update. One that is known already changes nothing and is fine.
    ///
    /// # Errors
    /// [`MonitorRefusal`] when the id is not the next one or a step contradicts what is known; then nothing changed.
    pub fn apply(&mut self, secp: &Secp, update: &ChannelMonitorUpdate) -> Result<(), MonitorRefusal> {
        if update.id <= self.last_update {
            return Ok(());
        }
        let expected = self.last_update.next();
        if update.id != expected {
            return Err(MonitorRefusal::OutOfOrder { expected, got: update.id });
        }
        // A single step changes nothing when it is refused; several need a copy to go back to.
        let before = (update.steps.len() > 1).then(|| self.checkpoint());
        for step in &update.steps {
            if let Err(refusal) = self.apply_step(secp, step) {
                if let Some(before) = before {
                    self.go_back_to(before);
                }
                return Err(refusal);
            }
        }
        self.last_update = update.id;
        Ok(())
    }

    /// Whether what the update teaches may be cause to act before the next block.
    pub(crate) fn acts_on(&self, update: &ChannelMonitorUpdate) -> bool {
        let asked = |step: &MonitorStep| {
            matches!(
                step,
                MonitorStep::ForceClose {} | MonitorStep::Preimage { .. } | MonitorStep::Abandoned {}
            )
        };
        update.steps.iter().any(asked) || !self.pending.is_empty()
    }

    /// A copy of all but the past, which only grows at its end: so the cost does not grow with past payments (I13).
    fn checkpoint(&mut self) -> (Self, Mark) {
        let past = core::mem::take(&mut self.theirs.past);
        let copy = self.clone();
        let mark = past.mark();
        self.theirs.past = past;
        (copy, mark)
    }

    fn go_back_to(&mut self, (copy, mark): (Self, Mark)) {
        let mut past = core::mem::take(&mut self.theirs.past);
        past.go_back_to(mark);
        *self = copy;
        self.theirs.past = past;
    }

    /// Applies one step; on an error nothing changed.
    fn apply_step(&mut self, secp: &Secp, step: &MonitorStep) -> Result<(), MonitorRefusal> {
        match step {
            MonitorStep::OurCommitment { change, signature, htlc_signatures } => {
                self.take_ours(change, signature, htlc_signatures)
            }
            MonitorStep::TheirCommitment { change, point } => {
                let capacity = self.init.funding.value;
                self.theirs.extend(change, *point, capacity).ok_or(MonitorRefusal::Contradiction)?;
                self.miss_later(change);
                self.look_again_at(change.number);
                Ok(())
            }
            MonitorStep::TheirRevocation { number, secret } => self.take_revocation(secp, *number, secret),
            MonitorStep::Preimage { preimage } => {
                self.preimages.insert(preimage.hash(), preimage.clone());
                Ok(())
            }
            MonitorStep::ShutdownStarted {} => {
                self.shutdown_started = true;
                Ok(())
            }
            MonitorStep::ForceClose {} => {
                // Proven old state is never broadcast, whatever is asked (RELIABILITY B1).
                if self.stance == (Stance::Open {}) {
                    self.stance = Stance::ForceClosing {};
                }
                Ok(())
            }
            MonitorStep::DataLoss { point } => {
                self.stance = Stance::DataLoss { point: *point };
                Ok(())
            }
            MonitorStep::Abandoned {} => {
                // What is spent is not abandoned, nor what must never be broadcast (RELIABILITY B1). A commitment of ours that
                // went out spends an output that is not there.
                let may = matches!(self.stance, Stance::Open {} | Stance::ForceClosing {});
                if may && !self.is_on_chain() {
                    self.stance = Stance::Abandoned {};
                    self.undone = None;
                }
                Ok(())
            }
        }
    }

    /// What the channel offers while it has not heard that its funding output is spent: no output on chain can have it, and it
    /// fails with whatever else is missing there.
    fn miss_later(&mut self, change: &CommitmentChange) {
        let Some(closing) = &mut self.closing else { return };
        let offered = change.added.iter().filter(|htlc| htlc.offered_by == TxSide::Countersigner);
        closing.missing.extend(offered.map(|htlc| (htlc.id, htlc.payment_hash)));
        // Its end is another matter to settle.
        closing.resolved &= closing.missing.is_empty();
    }

    fn take_ours(
        &mut self,
        change: &CommitmentChange,
        signature: &Signature,
        htlc_signatures: &[Signature],
    ) -> Result<(), MonitorRefusal> {
        match self.stance {
            Stance::Open {} => {}
            // The commitment that is out may confirm; had the channel a newer one, it would revoke the one that is out.
            Stance::ForceClosing {} => return Err(MonitorRefusal::OnChain),
            Stance::DataLoss { .. } | Stance::Abandoned {} => return Err(MonitorRefusal::Contradiction),
        }
        if self.is_on_previous() {
            return Err(MonitorRefusal::OnChain);
        }
        let spec = advance(&self.ours.spec, change).ok_or(MonitorRefusal::Contradiction)?;
        let params = self.init.our_params();
        // One signature for each HTLC output, or some HTLC could not be claimed with the one that it gets.
        let outputs = untrimmed_count(&spec, params.format, params.dust_limit);
        if change.number != self.ours.number.next()
            || htlc_signatures.len() != outputs
            || !is_whole(&spec, self.init.funding.value)
        {
            return Err(MonitorRefusal::Contradiction);
        }
        let latest = OurCommitment {
            number: change.number,
            spec,
            signature: *signature,
            htlc_signatures: htlc_signatures.to_vec(),
        };
        self.previous = Some(Box::new(core::mem::replace(&mut self.ours, latest)));
        self.look_again_at(change.number);
        Ok(())
    }

    fn take_revocation(
        &mut self,
        secp: &Secp,
        number: CommitmentNumber,
        secret: &CommitmentSecret,
    ) -> Result<(), MonitorRefusal> {
        let fits = number == self.theirs.current.number && secret.opens(secp, &self.theirs.current.point);
        if !fits || self.theirs.next.is_none() {
            return Err(MonitorRefusal::Contradiction);
        }
        self.secrets.insert(number, secret.clone()).map_err(|_| MonitorRefusal::Contradiction)?;
        self.theirs.revoke_current().ok_or(MonitorRefusal::Contradiction)?;
        self.forget_spent_preimages();
        // What is on the chain already and was theirs to publish is theirs no more: all of it is looked at again.
        let revoked = SpendKind::Theirs { number };
        if let Some(closing) = self.closing.take_if(|closing| closing.kind == revoked && !closing.resolved) {
            self.pending.splice(0..0, closing.history);
        }
        self.look_again_at(number);
        Ok(())
    }

    /// The closing transaction may be this commitment, which was not known when it confirmed: blocks come to a watchtower faster
    /// than updates, when its client was away or came late (RELIABILITY L9).
    fn look_again_at(&mut self, number: CommitmentNumber) {
        let obscure = self.init.obscure;
        let closing = self.closing.take_if(|closing| {
            let is_riddle = matches!(closing.kind, SpendKind::Future { .. } | SpendKind::Unknown {});
            let shown = closing.history.first().and_then(|first| number_of(&first.transaction, obscure));
            is_riddle && !closing.resolved && shown == Some(number)
        });
        if let Some(closing) = closing {
            self.pending.splice(0..0, closing.history);
        }
    }

    /// Keeps only preimages of HTLCs that some valid commitment has, or the one of ours that may not be revoked yet: of any other, on
    /// chain too, we need none.
    fn forget_spent_preimages(&mut self) {
        if self.preimages.is_empty() {
            return;
        }
        let previous = self.previous.iter().map(|other| &other.spec);
        let htlcs = self.valid_specs().map(|(spec, _)| spec).chain(previous).flat_map(|spec| &spec.htlcs);
        let hashes: BTreeSet<PaymentHash> = htlcs.map(|htlc| htlc.payment_hash).collect();
        self.preimages.retain(|hash, _| hashes.contains(hash));
    }
}
