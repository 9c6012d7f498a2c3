//! Learning from the channel: one update after another, each whole or not at all.
use lightning_traits::Secp;
use lightning_traits::id::CommitmentNumber;
use lightning_traits::monitor::{ChannelMonitorUpdate, CommitmentChange, MonitorRefusal, MonitorStep};
use lightning_traits::payment::PaymentHash;
use lightning_traits::tx::{CommitmentSecret, CommitmentSpec};
use secp256k1::ecdsa::Signature;

use super::history::advance;
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

    /// A copy of all but the past, which only grows at its end: so the cost does not grow with past payments (I13).
    fn checkpoint(&mut self) -> (Self, usize) {
        let past = core::mem::take(&mut self.theirs.past);
        let copy = self.clone();
        let length = past.len();
        self.theirs.past = past;
        (copy, length)
    }

    fn go_back_to(&mut self, (copy, length): (Self, usize)) {
        let mut past = core::mem::take(&mut self.theirs.past);
        past.truncate(length);
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
                self.theirs.extend(change, *point).ok_or(MonitorRefusal::Contradiction)
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
        }
    }

    fn take_ours(
        &mut self,
        change: &CommitmentChange,
        signature: &Signature,
        htlc_signatures: &[Signature],
    ) -> Result<(), MonitorRefusal> {
        // The commitment that is out may confirm; had the channel a newer one, it would revoke the one that is out.
        if self.stance != (Stance::Open {}) || change.number != self.ours.number.next() {
            return Err(MonitorRefusal::Contradiction);
        }
        let spec = advance(&self.ours.spec, change).ok_or(MonitorRefusal::Contradiction)?;
        self.ours = OurCommitment {
            number: change.number,
            spec,
            signature: *signature,
            htlc_signatures: htlc_signatures.to_vec(),
        };
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
        Ok(())
    }

    /// Keeps only preimages of HTLCs that some valid commitment has.
    fn forget_spent_preimages(&mut self) {
        let (ours, theirs) = (&self.ours.spec, &self.theirs);
        let has = |spec: &CommitmentSpec, hash: &PaymentHash| {
            spec.htlcs.iter().any(|htlc| htlc.payment_hash == *hash)
        };
        self.preimages.retain(|hash, _| {
            has(ours, hash)
                || has(&theirs.current.spec, hash)
                || theirs.next.as_ref().is_some_and(|next| has(&next.spec, hash))
        });
    }
}
