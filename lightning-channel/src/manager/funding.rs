//! One transaction that funds several channels, all or none of them, or that others sign.
//!
//! Nobody may see it before every channel that it funds is durable: what comes of it is decided here, from where the channels
//! themselves stand, so that a restart decides the same.
//!
//! # Invariants
//! - a transaction is given away only when every channel that it funds is committed to it, one after the other: what was
//!   committed is not given up by anything that its peer says or does
use alloc::sync::Arc;
use alloc::vec::Vec;

use bitcoin::Transaction;
use lightning_traits::id::ChannelId;
use lightning_traits::interface::{Environment, Level};
use thiserror::Error;

use super::ChannelManager;
use super::slot::Slot;
use crate::channel::{FundError, SharedFunding, is_signed};

/// What peers hear whose channels had to go with another's.
const ANOTHER_FAILED: &str = "another channel of the same funding transaction failed";

/// Why a transaction does not fund the channels that it should. Nothing has changed, unless it says so.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FundingError {
    /// It funds nothing.
    #[error("no channel is named")]
    NoChannel,
    /// One channel does not take it. If it was the signer that stopped the second or a later one, all are given up.
    #[error("channel {0}: {1}")]
    Channel(ChannelId, FundError),
    /// There is no such channel, or none whose funding transaction can be signed or called off.
    #[error("no funding transaction of channel {0} is awaited")]
    NotHeld(ChannelId),
    /// Another transaction than the one that was agreed on.
    #[error("the transaction is not the one that funds the channel")]
    OtherTransaction,
    /// An input is not signed by a witness (RELIABILITY A17).
    #[error("input {0} is not signed by a witness")]
    NotSigned(usize),
    /// Another channel of the same transaction has ended: what it would put into that one could be had back only by closing it.
    #[error("channel {0}, which the same transaction funds, has ended: call the funding off")]
    Broken(ChannelId),
}

impl<E: Environment> ChannelManager<E> {
    /// Hands over one transaction that funds all these channels, each of which has asked for it by
    /// [`FundingNeeded`](lightning_traits::event::Event::FundingNeeded). Nobody else may see it yet. When it is signed, it is
    /// broadcast, by us, once all channels are durable; when one fails, none is funded. When it is not signed,
    /// [`FundingSafe`](lightning_traits::event::Event::FundingSafe) says when it can be, for
    /// [`funding_signed`](Self::funding_signed).
    ///
    /// # Errors
    /// [`FundingError`].
    pub fn funding_transaction_for(
        &self,
        temporaries: &[ChannelId],
        transaction: &Transaction,
    ) -> Result<Vec<ChannelId>, FundingError> {
        let mut slots = Vec::with_capacity(temporaries.len());
        let mut members: Vec<ChannelId> = Vec::with_capacity(temporaries.len());
        for temporary in temporaries {
            let refused = |error| FundingError::Channel(*temporary, error);
            let slot = self.table.lock().channel_by_any_id(*temporary);
            let slot = slot.ok_or_else(|| refused(FundError::NotAwaited))?;
            let outpoint = slot.lock().channel.funding_in(transaction).map_err(refused)?;
            let channel = ChannelId::v1_from_funding(outpoint);
            if members.contains(&channel) || self.table.lock().has_channel(channel) {
                return Err(refused(FundError::NotAwaited));
            }
            members.push(channel);
            slots.push((*temporary, slot));
        }
        if members.is_empty() {
            return Err(FundingError::NoChannel);
        }
        for (temporary, slot) in &slots {
            let (transaction, all) = (transaction.clone(), members.clone());
            if let Err(error) = self.step(slot, |channel, cx| channel.hold_funding(cx, transaction, all)) {
                self.judge_funding(&members, true);
                self.run();
                return Err(FundingError::Channel(*temporary, error));
            }
        }
        self.run();
        Ok(members)
    }

    /// The signed transaction that [`FundingSafe`](lightning_traits::event::Event::FundingSafe) asked for. It is broadcast for
    /// all channels that it funds. Any of them names it.
    ///
    /// # Errors
    /// [`FundingError`].
    pub fn funding_signed(&self, channel: ChannelId, signed: Transaction) -> Result<(), FundingError> {
        let held = self.held(channel).ok_or(FundingError::NotHeld(channel))?;
        let (transaction, members) = match held {
            SharedFunding::Held { transaction, members, .. } => (transaction, members),
            SharedFunding::Released { transaction }
                if transaction.compute_txid() == signed.compute_txid() =>
            {
                return Ok(());
            }
            SharedFunding::Waiting | SharedFunding::Released { .. } | SharedFunding::Over => {
                return Err(FundingError::NotHeld(channel));
            }
        };
        // What is signed by a witness alone keeps its id.
        if signed.compute_txid() != transaction.compute_txid() {
            return Err(FundingError::OtherTransaction);
        }
        if let Some(input) = signed.input.iter().position(|input| input.witness.is_empty()) {
            return Err(FundingError::NotSigned(input));
        }
        let slots = self.committed(&members)?;
        for slot in slots {
            self.step(&slot, |channel, cx| channel.release_funding(cx, signed.clone()));
        }
        self.run();
        Ok(())
    }

    /// Calls off a funding transaction: no channel comes of it. The caller gives its word that nobody will ever broadcast it.
    ///
    /// # Errors
    /// [`FundingError::NotHeld`]: it is out already, or there never was one.
    pub fn cancel_funding(&self, channel: ChannelId, reason: &str) -> Result<(), FundingError> {
        let held = self.held(channel).ok_or(FundingError::NotHeld(channel))?;
        let SharedFunding::Held { members, .. } = held else { return Err(FundingError::NotHeld(channel)) };
        self.cancel(&members, reason, true);
        self.run();
        Ok(())
    }

    /// Funding transactions of ours that some channel has, signed or not, released or held: their inputs are not free.
    #[must_use]
    pub fn funding_transactions(&self) -> Vec<Transaction> {
        let slots = self.table.lock().all();
        let transaction =
            |slot: &Arc<Slot<E::Keys>>| match self.look(slot, |channel, _| channel.shared_funding()) {
                SharedFunding::Held { transaction, .. } | SharedFunding::Released { transaction } => {
                    Some(transaction)
                }
                SharedFunding::Waiting | SharedFunding::Over => None,
            };
        slots.iter().filter_map(transaction).collect()
    }

    fn held(&self, channel: ChannelId) -> Option<SharedFunding> {
        let slot = self.table.lock().channel_by_any_id(channel)?;
        Some(self.look(&slot, |channel, _| channel.shared_funding()))
    }

    fn funded_by(&self, channel: ChannelId) -> (Option<Arc<Slot<E::Keys>>>, SharedFunding) {
        let slot = self.table.lock().channel(channel);
        let shared = slot.as_ref().map(|slot| self.look(slot, |channel, _| channel.shared_funding()));
        (slot, shared.unwrap_or(SharedFunding::Over))
    }

    /// Commits all members to the transaction, one after the other, since no two are locked at once. If one cannot be, those
    /// that were committed only now are given up again: nothing went out on the strength of it.
    fn committed(&self, members: &[ChannelId]) -> Result<Vec<Arc<Slot<E::Keys>>>, FundingError> {
        let mut slots = Vec::with_capacity(members.len());
        let mut fresh = Vec::new();
        for member in members {
            let slot = self.table.lock().channel(*member);
            let commit =
                |slot: &Arc<Slot<E::Keys>>| self.step(slot, |channel, cx| channel.commit_funding(cx));
            let Some((slot, is_news)) = slot.and_then(|slot| commit(&slot).map(|is_news| (slot, is_news)))
            else {
                let broken = FundingError::Broken(*member);
                self.log(Level::Warn, format_args!("a funding transaction is called off: {broken}"));
                for slot in fresh {
                    self.step(&slot, |channel, cx| channel.cancel_funding(cx, ANOTHER_FAILED, true));
                }
                return Err(broken);
            };
            if is_news {
                fresh.push(slot.clone());
            }
            slots.push(slot);
        }
        Ok(slots)
    }

    /// Sees what becomes of a transaction, after something has become of a channel that it funds. `is_live` unless the records
    /// are being read: then a channel may be missing because the chain has not been heard yet.
    pub(super) fn judge_funding(&self, members: &[ChannelId], is_live: bool) {
        let states: Vec<SharedFunding> = members.iter().map(|member| self.funded_by(*member).1).collect();
        let released = states.iter().find_map(|state| match state {
            SharedFunding::Released { transaction } => Some(transaction.clone()),
            _ => None,
        });
        if let Some(transaction) = released {
            // Before a crash it went out for some: it is out for all.
            for member in members {
                if let (Some(slot), SharedFunding::Held { .. }) = self.funded_by(*member) {
                    self.step(&slot, |channel, cx| channel.release_funding(cx, transaction.clone()));
                }
            }
            return;
        }
        if states.iter().any(|state| matches!(state, SharedFunding::Over)) {
            if is_live {
                self.cancel(members, ANOTHER_FAILED, false);
            }
            return;
        }
        let transaction = states.into_iter().find_map(|state| match state {
            SharedFunding::Held { transaction, .. } => Some(transaction),
            _ => None,
        });
        let is_waiting = |member: &ChannelId| matches!(self.funded_by(*member).1, SharedFunding::Waiting);
        let Some(transaction) = transaction.filter(|_| !members.iter().any(is_waiting)) else { return };
        let Ok(slots) = self.committed(members) else { return };
        let is_ready = is_signed(&transaction);
        for slot in slots {
            if is_ready {
                self.step(&slot, |channel, cx| channel.release_funding(cx, transaction.clone()));
            } else {
                self.step(&slot, |channel, cx| channel.offer_funding(cx));
            }
        }
    }

    fn cancel(&self, members: &[ChannelId], reason: &str, word: bool) {
        for member in members {
            if let (Some(slot), SharedFunding::Held { .. } | SharedFunding::Waiting) = self.funded_by(*member)
            {
                self.step(&slot, |channel, cx| channel.cancel_funding(cx, reason, word));
            }
        }
    }

    /// Looks again at all that waits: after a restart, when the chain is heard again, nobody else does.
    pub(crate) fn judge_fundings(&self, is_live: bool) {
        let slots = self.table.lock().all();
        for slot in slots {
            let shared = self.look(&slot, |channel, _| channel.shared_funding());
            if let SharedFunding::Held { members, .. } = shared {
                self.judge_funding(&members, is_live);
            }
        }
    }
}
