//! What a transaction that spends the funding output is (BOLT 5, "General Nomenclature").
//!
//! A commitment shows its number in locktime and sequence (BOLT 3). Ours is recognised by its id; of theirs,
//! the number says which, and the id proves it where we still have all of it. Of a revoked one we do not, there its
//! scripts prove it.
//!
//! # Invariants
//! - looks at every commitment that can be valid: ours, theirs, their next one (RELIABILITY D1-D3)
//! - what is not ours or theirs is no error: anybody may spend what anybody funded (RELIABILITY A2)
use alloc::vec::Vec;

use bitcoin::Transaction;
use lightning_traits::Secp;
use lightning_traits::id::CommitmentNumber;
use lightning_traits::interface::{ChannelSigner, SignError};
use lightning_traits::monitor::SpendKind;
use lightning_traits::tx::{CommitmentKeys, CommitmentTx, build, number_of};
use lightning_traits::units::BlockHeight;
use secp256k1::PublicKey;

use crate::claim::Output;
use crate::monitor::{ChannelMonitor, Duty, TheirCommitment};

/// One of our or their commitments, built again, with its keys.
pub(crate) struct Built {
    pub(crate) keys: CommitmentKeys,
    pub(crate) tx: CommitmentTx,
}

impl ChannelMonitor {
    /// Our latest commitment, built again.
    pub(crate) fn build_ours(&self, secp: &Secp, signer: &impl ChannelSigner) -> Result<Built, SignError> {
        let point = signer.commitment_point(self.ours.number)?;
        let keys = self.our_keys(secp, point).ok_or(SignError::Refused)?;
        let tx = build(&self.init.our_params(), &keys, &self.ours.spec, self.ours.number)
            .map_err(|_| SignError::Refused)?;
        Ok(Built { keys, tx })
    }

    pub(crate) fn our_keys(&self, secp: &Secp, point: PublicKey) -> Option<CommitmentKeys> {
        CommitmentKeys::derive(secp, point, &self.init.ours.keys, &self.init.theirs.keys).ok()
    }

    pub(crate) fn their_keys(&self, secp: &Secp, point: PublicKey) -> Option<CommitmentKeys> {
        CommitmentKeys::derive(secp, point, &self.init.theirs.keys, &self.init.ours.keys).ok()
    }

    /// One of their unrevoked commitments, built again.
    pub(crate) fn build_theirs(&self, secp: &Secp, commitment: &TheirCommitment) -> Option<Built> {
        let keys = self.their_keys(secp, commitment.point)?;
        let tx = build(&self.init.their_params(), &keys, &commitment.spec, commitment.number).ok()?;
        Some(Built { keys, tx })
    }

    /// Whether the transaction spends the funding output.
    #[must_use]
    pub fn is_spent_by(&self, transaction: &Transaction) -> bool {
        let funding = self.init.funding.outpoint;
        transaction.input.iter().any(|input| input.previous_output == funding)
    }

    /// What a transaction that spends the funding output is, and which of its outputs are ours or may be.
    ///
    /// # Errors
    /// When only the signer could tell: it alone knows the points of our commitments.
    pub(crate) fn recognise(
        &self,
        secp: &Secp,
        signer: &impl ChannelSigner,
        transaction: &Transaction,
        height: BlockHeight,
    ) -> Result<(SpendKind, Vec<Output>), SignError> {
        let Some(number) = number_of(transaction, self.init.obscure) else {
            // No commitment: the only other thing that both have ever signed is a cooperative close.
            return Ok(if self.shutdown_started {
                (SpendKind::Mutual {}, Vec::new())
            } else {
                (SpendKind::Unknown {}, self.outputs_of_unknown(secp, transaction, height))
            });
        };
        if let Some(found) = self.as_theirs(secp, number, transaction, height) {
            return Ok(found);
        }
        // Who only punishes is not given what explains our own commitments.
        if number == self.ours.number && self.duty == Duty::Enforce {
            let built = self.build_ours(secp, signer)?;
            if built.tx.txid == transaction.compute_txid() {
                return Ok((SpendKind::Ours { number }, self.outputs_of_ours(&built, height)));
            }
        }
        let kind = if number > self.theirs.latest().number {
            SpendKind::Future { number }
        } else {
            SpendKind::Unknown {}
        };
        Ok((kind, self.outputs_of_unknown(secp, transaction, height)))
    }

    /// The transaction as their commitment `number`, if it is that.
    fn as_theirs(
        &self,
        secp: &Secp,
        number: CommitmentNumber,
        transaction: &Transaction,
        height: BlockHeight,
    ) -> Option<(SpendKind, Vec<Output>)> {
        if number < self.theirs.current.number {
            let keys = self.revoked_keys(secp, number)?;
            let outputs = self.outputs_of_revoked(&keys, number, transaction, height);
            // The number alone proves nothing: an old commitment of ours has it too. Of theirs, every output but the
            // anchors is ours now, and there is always one.
            return (!outputs.is_empty()).then_some((SpendKind::Revoked { number }, outputs));
        }
        let known = [Some(&self.theirs.current), self.theirs.next.as_ref()];
        let commitment = known.into_iter().flatten().find(|commitment| commitment.number == number)?;
        let built = self.build_theirs(secp, commitment)?;
        (built.tx.txid == transaction.compute_txid())
            .then(|| (SpendKind::Theirs { number }, self.outputs_of_theirs(&built, height)))
    }
}
