//! A funding transaction that nobody may see yet: because it funds several channels, all or none of them; or because somebody
//! else signs it (BOLT 2, `funding_created`: "the funder ... once it receives the peer's signature, will broadcast").
//!
//! ```text
//! held --commit--> committed --release--> funded as any other
//!   '--cancel--> never funded   '--cancel, only on the user's word that the transaction is nowhere--> never funded
//! ```
//!
//! # Invariants
//! - a held channel is given up whatever happens to it: nobody but us has the transaction
//! - a committed one is not, but on the user's word: somebody may have it, so whatever ends the channel leads to the chain
use alloc::vec::Vec;

use bitcoin::{OutPoint, Transaction};
use lightning_traits::id::{ChannelId, UpdateId};
use lightning_traits::interface::KeysInterface;

use super::context::Context;
use super::opening::{FundError, Opening};
use super::phase::Ending;
use super::record::{Entry, Funder};
use super::{Channel, Phase};

/// Where the funding of a channel stands that shares its transaction, or whose transaction others sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SharedFunding {
    /// The peer has not signed yet, or our disk does not have it.
    Waiting,
    /// Durable, and nobody has the transaction.
    Held {
        /// As it was handed over.
        transaction: Transaction,
        /// All that it funds, this one too.
        members: Vec<ChannelId>,
        /// Whether it may be given away.
        is_committed: bool,
    },
    /// The transaction is out, or about to be.
    Released {
        /// Signed.
        transaction: Transaction,
    },
    /// The channel will not be funded by it, or has ended since.
    Over,
}

/// Whether every input is signed by a witness.
#[must_use]
pub fn is_signed(transaction: &Transaction) -> bool {
    !transaction.input.is_empty() && transaction.input.iter().all(|input| !input.witness.is_empty())
}

impl<K: KeysInterface> Channel<K> {
    /// Where a transaction funds this channel, which awaits one.
    ///
    /// # Errors
    /// When it does not, or the channel awaits none.
    pub fn funding_in(&self, transaction: &Transaction) -> Result<OutPoint, FundError> {
        match &self.phase {
            Phase::Opening(Opening::AwaitingTransaction(phase)) => phase.outpoint_in(transaction),
            _ => Err(FundError::NotAwaited),
        }
    }

    /// Takes a transaction that funds all `members`, this channel one of them, and that nobody may see before all of them are
    /// durable. It need not be signed, but no signature may change its id.
    ///
    /// # Errors
    /// The channel still awaits one.
    pub fn hold_funding(
        &mut self,
        cx: &Context<'_, K>,
        transaction: Transaction,
        members: Vec<ChannelId>,
    ) -> Result<(), FundError> {
        let Phase::Opening(Opening::AwaitingTransaction(phase)) = &self.phase else {
            return Err(FundError::NotAwaited);
        };
        let taken = phase.clone().fund(cx, &self.signer, transaction, Some(members));
        let (next, message) = taken.map_err(|(_, _, error)| error)?;
        self.await_signed(cx, next, message);
        Ok(())
    }

    /// Where the shared funding stands.
    #[must_use]
    pub fn shared_funding(&self) -> SharedFunding {
        match &self.phase {
            Phase::Opening(Opening::AwaitingSigned(_)) => SharedFunding::Waiting,
            Phase::Funded(link) => match &link.state().facts().funder {
                Funder::Held { .. } if !self.outbox.ledger().covers(UpdateId(0)) => SharedFunding::Waiting,
                Funder::Held { transaction, members, is_committed } => SharedFunding::Held {
                    transaction: transaction.clone(),
                    members: members.clone(),
                    is_committed: *is_committed,
                },
                Funder::Us { transaction } => SharedFunding::Released { transaction: transaction.clone() },
                Funder::Them {} => SharedFunding::Over,
            },
            Phase::Resolving(state) => match state.unconfirmed_transaction() {
                Some(transaction) => SharedFunding::Released { transaction: transaction.clone() },
                None => SharedFunding::Over,
            },
            Phase::Opening(_) | Phase::Closed(_) => SharedFunding::Over,
        }
    }

    /// From now on the transaction may be given away. Whether that is news; `None` when the channel is not held (any more).
    pub fn commit_funding(&mut self, cx: &Context<'_, K>) -> Option<bool> {
        let (phase, mut step) = self.split(cx);
        let Phase::Funded(link) = phase else { return None };
        let state = link.any().0;
        match &state.facts().funder {
            Funder::Held { is_committed: false, .. } => {
                state.record(Entry::FundingCommitted {}, &mut step);
                state.persist(&mut step);
                Some(true)
            }
            Funder::Held { is_committed: true, .. } | Funder::Us { .. } => Some(false),
            Funder::Them {} => None,
        }
    }

    /// Asks the user to sign the transaction, which all that it funds are ready for.
    pub fn offer_funding(&mut self, cx: &Context<'_, K>) {
        let (phase, mut step) = self.split(cx);
        if let Phase::Funded(link) = phase
            && let Some(event) = link.state().funding_event()
        {
            step.effects.after_all().event(event);
        }
    }

    /// The signed transaction is out, or is to go out: broadcasts it until it is in a block.
    pub fn release_funding(&mut self, cx: &Context<'_, K>, transaction: Transaction) {
        let (phase, mut step) = self.split(cx);
        if let Phase::Funded(link) = phase {
            link.any().0.release_funding(transaction, &mut step);
            self.advance(cx);
        }
    }

    /// Gives up a channel whose transaction nobody has, or, with the user's `word`, nobody will ever broadcast. `false` when
    /// that cannot be said of it.
    pub fn cancel_funding(&mut self, cx: &Context<'_, K>, reason: &str, word: bool) -> bool {
        let text = reason.as_bytes().to_vec();
        match &self.phase {
            Phase::Opening(_) => self.abandon(cx, reason, true),
            Phase::Funded(link) => match &link.state().facts().funder {
                Funder::Held { is_committed, .. } if word || !is_committed => {
                    self.leave(cx, Ending::NeverFunded { text });
                }
                Funder::Held { .. } | Funder::Us { .. } | Funder::Them {} => return false,
            },
            Phase::Resolving(_) | Phase::Closed(_) => return false,
        }
        true
    }
}
