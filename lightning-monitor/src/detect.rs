//! What a transaction that spends the funding output is (BOLT 5, "General Nomenclature").
//!
//! A commitment shows its number in locktime and sequence (BOLT 3). Ours is recognised by its id; of theirs,
//! the number says which, and the id proves it where we still have all of it.
//!
//! # Invariants
//! - looks at every commitment that can be valid: ours, theirs, their next one (RELIABILITY D1-D3)
use bitcoin::Transaction;
use lightning_traits::Secp;
use lightning_traits::id::CommitmentNumber;
use lightning_traits::interface::{ChannelSigner, SignError};
use lightning_traits::monitor::SpendKind;
use lightning_traits::tx::{CommitmentKeys, CommitmentTx, build, number_of};
use secp256k1::PublicKey;

use crate::monitor::{ChannelMonitor, TheirCommitment};

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

    /// What a transaction that spends the funding output is.
    pub(crate) fn classify(
        &self,
        secp: &Secp,
        signer: &impl ChannelSigner,
        transaction: &Transaction,
    ) -> Result<SpendKind, SignError> {
        let Some(number) = number_of(transaction, self.init.obscure) else {
            // No commitment: the only other thing that both have ever signed is a cooperative close.
            return Ok(if self.shutdown_started { SpendKind::Mutual {} } else { SpendKind::Unknown {} });
        };
        let txid = transaction.compute_txid();
        if number == self.ours.number && self.build_ours(secp, signer)?.tx.txid == txid {
            return Ok(SpendKind::Ours { number });
        }
        Ok(self.classify_theirs(secp, number, txid))
    }

    fn classify_theirs(&self, secp: &Secp, number: CommitmentNumber, txid: bitcoin::Txid) -> SpendKind {
        if number < self.theirs.current.number {
            // Ours are never broadcast once they are revoked, so an old number is one of theirs.
            return if self.secrets.get(number).is_some() {
                SpendKind::Revoked { number }
            } else {
                SpendKind::Unknown {}
            };
        }
        let known = [Some(&self.theirs.current), self.theirs.next.as_ref()];
        match known.into_iter().flatten().find(|commitment| commitment.number == number) {
            Some(commitment)
                if self.build_theirs(secp, commitment).is_some_and(|built| built.tx.txid == txid) =>
            {
                SpendKind::Theirs { number }
            }
            Some(_) => SpendKind::Unknown {},
            None => SpendKind::Future { number },
        }
    }
}
