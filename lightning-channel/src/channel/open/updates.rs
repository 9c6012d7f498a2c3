//! HTLCs, fees, signatures and revocations of a funded channel (BOLT 2, "Normal Operation").
//!
//! # Invariants
//! - `commitment_signed`, `revoke_and_ack` and `update_fulfill_htlc` leave behind the write that they depend on
//! - an update that the peer has not signed for is in memory only, and rides on the next write
use lightning_traits::id::HtlcId;
use lightning_traits::interface::KeysInterface;
use lightning_traits::wire::{
    ChannelMessage, CommitmentSigned, Message, RevokeAndAck, UpdateAddHtlc, UpdateFailHtlc,
    UpdateFailMalformedHtlc, UpdateFee, UpdateFulfillHtlc,
};
use thiserror::Error;

use super::Funded;
use crate::channel::record::{Entry, Ready, Stage};
use crate::channel::step::{Step, Stop};
use crate::channel::violation::Violation;
use crate::commitments::{
    self, Change, CommitRefused, FeeRefused, NotNow, OfferRefused, OutgoingHtlc, Removal, RemovalRefused,
};
use crate::forward::onion;

/// Why an HTLC is not offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SendError {
    /// The channel is not open: opening, closing, or closed.
    #[error("the channel is not open")]
    NotOpen,
    /// There is no synchronized connection.
    #[error("the peer is not connected")]
    NotOnline,
    /// The block with the funding transaction was reorganized away: nothing new until another has it.
    #[error("the funding transaction is in no block")]
    Unconfirmed,
    /// Nothing may be proposed until the connection ends.
    #[error("the channel is quiescent")]
    Quiescent,
    /// A limit of the channel.
    #[error("{0}")]
    Refused(#[from] OfferRefused),
}

impl Funded {
    /// Offers an HTLC; signed for by the next [`Funded::commit`].
    pub(crate) fn offer_htlc<K: KeysInterface>(
        &mut self,
        htlc: OutgoingHtlc,
        step: &mut Step<'_, K>,
    ) -> Result<HtlcId, SendError> {
        if self.facts.stage != (Stage::Open {}) {
            return Err(SendError::NotOpen);
        }
        if !self.is_certain() {
            return Err(SendError::Unconfirmed);
        }
        let policy = step.policy(&self.terms().channel_type);
        let (change, message) = self.commitments.offer_add(&htlc, &policy)?;
        let id = message.id;
        self.record(Entry::Commitments { change }, step);
        step.effects.send(message);
        Ok(id)
    }

    /// Removes an HTLC of the peer. A preimage is durable, here and in the monitor, before it leaves.
    pub(crate) fn settle<K: KeysInterface>(
        &mut self,
        id: HtlcId,
        removal: Removal,
        step: &mut Step<'_, K>,
    ) -> Result<(), RemovalRefused> {
        let (change, message) = self.commitments.offer_removal(id, removal)?;
        self.record(Entry::Commitments { change }, step);
        step.journal.reports().removals.push(id);
        match message {
            Message::UpdateFailHtlc(message) => {
                step.effects.send(message);
            }
            Message::UpdateFailMalformedHtlc(message) => {
                step.effects.send(message);
            }
            fulfill => {
                self.persist(step).send(fulfill);
            }
        }
        Ok(())
    }

    /// Changes the feerate.
    pub(crate) fn offer_fee<K: KeysInterface>(
        &mut self,
        feerate: lightning_traits::units::FeeratePerKw,
        step: &mut Step<'_, K>,
    ) -> Result<(), FeeRefused> {
        let policy = step.policy(&self.terms().channel_type);
        let (change, message) = self.commitments.offer_fee(feerate, &policy)?;
        self.record(Entry::Commitments { change }, step);
        step.effects.send(message);
        Ok(())
    }

    /// Signs for all updates that wait for it, if we may now.
    pub(crate) fn commit<K: KeysInterface>(&mut self, step: &mut Step<'_, K>) -> Result<(), NotNow> {
        let message = self.sign(step)?;
        self.persist(step).send(message);
        Ok(())
    }

    fn sign<K: KeysInterface>(&mut self, step: &mut Step<'_, K>) -> Result<CommitmentSigned, NotNow> {
        let (change, message) = self.commitments.sign_next(step.cx.secp, step.signer)?;
        self.record(Entry::Commitments { change }, step);
        Ok(message)
    }

    /// They offer an HTLC.
    pub(crate) fn on_update_add<K: KeysInterface>(
        &mut self,
        message: UpdateAddHtlc,
        step: &mut Step<'_, K>,
    ) -> Result<(), Stop> {
        if let Stage::ShuttingDown { shutdown } = &self.facts.stage
            && shutdown.theirs().is_some()
        {
            // BOLT 2: "MUST NOT send an `update_add_htlc` after a `shutdown`".
            return Err(Violation::UpdateNotAllowed(self.phase()).into());
        }
        if self.facts.ready != (Ready::Both {}) {
            return Err(Violation::UpdateNotAllowed(self.phase()).into());
        }
        let policy = step.policy(&self.terms().channel_type);
        let mut change = self.commitments.accept_add(&message, &policy).map_err(Violation::from)?;
        if let Change::TheirAdd { htlc } = &mut change
            && let Some(onion) = onion::peel(step.cx.secp, step.cx.keys, htlc)
        {
            htlc.onion = onion;
        }
        self.record(Entry::Commitments { change }, step);
        Ok(())
    }

    /// They fulfil an HTLC of ours: the preimage is told at once.
    pub(crate) fn on_update_fulfill<K: KeysInterface>(
        &mut self,
        message: UpdateFulfillHtlc,
        step: &mut Step<'_, K>,
    ) -> Result<(), Stop> {
        let change = self.commitments.accept_fulfill(&message).map_err(Violation::from)?;
        self.record(Entry::Commitments { change }, step);
        Ok(())
    }

    /// They fail an HTLC of ours.
    pub(crate) fn on_update_fail<K: KeysInterface>(
        &mut self,
        message: UpdateFailHtlc,
        step: &mut Step<'_, K>,
    ) -> Result<(), Stop> {
        let change = self.commitments.accept_fail(&message).map_err(Violation::from)?;
        self.record(Entry::Commitments { change }, step);
        Ok(())
    }

    /// They could not read the onion of an HTLC of ours.
    pub(crate) fn on_update_malformed<K: KeysInterface>(
        &mut self,
        message: UpdateFailMalformedHtlc,
        step: &mut Step<'_, K>,
    ) -> Result<(), Stop> {
        let change = self.commitments.accept_malformed(&message).map_err(Violation::from)?;
        self.record(Entry::Commitments { change }, step);
        Ok(())
    }

    /// They, the opener, change the feerate.
    pub(crate) fn on_update_fee<K: KeysInterface>(
        &mut self,
        message: UpdateFee,
        step: &mut Step<'_, K>,
    ) -> Result<(), Stop> {
        let change = self.judge_fee(&message, step).map_err(Violation::from)?;
        self.record(Entry::Commitments { change }, step);
        Ok(())
    }

    /// They sign our next commitment: we revoke the one before, and sign theirs if it lacks something.
    pub(crate) fn on_commitment_signed<K: KeysInterface>(
        &mut self,
        message: CommitmentSigned,
        step: &mut Step<'_, K>,
    ) -> Result<(), Stop> {
        // Our revocation has not left yet, and with it the point that this one is for.
        if step.journal.retreat_before().is_some() {
            let message = ChannelMessage::from(message).type_id();
            return Err(Violation::Unexpected { phase: self.phase(), message }.into());
        }
        let (change, revocation) = match self.commitments.accept_commit(step.cx.secp, step.signer, &message) {
            Ok(accepted) => accepted,
            Err(CommitRefused::Signer(_)) => return Err(Stop::hold(message)),
            Err(CommitRefused::Violation(violation)) => return Err(Violation::from(violation).into()),
        };
        step.journal.prepare_retreat(&self.commitments);
        self.fees_seen.committed();
        self.record(Entry::Commitments { change }, step);
        // One write for both.
        let signed = self.sign(step).ok();
        let mut gated = self.persist(step);
        gated.send(revocation);
        if let Some(signed) = signed {
            gated.send(signed);
        }
        Ok(())
    }

    /// They revoke their previous commitment: what it lacked is irrevocable now.
    pub(crate) fn on_revoke_and_ack<K: KeysInterface>(
        &mut self,
        message: RevokeAndAck,
        step: &mut Step<'_, K>,
    ) -> Result<(), Stop> {
        // Our signature has not left yet: what they revoke has no successor, and might never get one.
        if step.journal.holds_signature() {
            return Err(Violation::Commitment(commitments::Violation::UnexpectedRevocation).into());
        }
        let change = self.commitments.accept_revocation(step.cx.secp, &message).map_err(Violation::from)?;
        self.record(Entry::Commitments { change }, step);
        let signed = self.sign(step).ok();
        let mut gated = self.persist(step);
        if let Some(signed) = signed {
            gated.send(signed);
        }
        Ok(())
    }
}
