//! Opening channels: ours and theirs.
//!
//! # Invariants
//! - what strangers may cost is bounded before a key is made for them (RELIABILITY A3, A4)
use alloc::sync::Arc;

use bitcoin::{Amount, Transaction};
use lightning_traits::id::{ChannelId, NodeId};
use lightning_traits::interface::{EntropySource as _, Environment};
use lightning_traits::units::Msat;
use lightning_traits::wire::{Message, OpenChannel};
use thiserror::Error;

use super::ChannelManager;
use super::commands::CommandError;
use super::slot::Slot;
use crate::channel::{Channel, FundError, OpenError, OpenParams, PhaseName};

/// Why no channel is proposed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum OpenChannelError {
    /// There is no connection.
    #[error("{0} is not connected")]
    NotConnected(NodeId),
    /// The terms, or the signer.
    #[error("{0}")]
    Terms(OpenError),
}

impl<E: Environment> ChannelManager<E> {
    /// Proposes a channel of `funding` to a connected peer, of which `push` is the peer's at once. The answer is an event
    /// that names the channel by the temporary id returned here.
    ///
    /// # Errors
    /// [`OpenChannelError`]; nothing was sent.
    pub fn open_channel(
        &self,
        peer: NodeId,
        funding: Amount,
        push: Msat,
        announce: bool,
    ) -> Result<ChannelId, OpenChannelError> {
        let (features, session) = self.connection(peer).ok_or(OpenChannelError::NotConnected(peer))?;
        let temporary = ChannelId(self.env.keys().bytes32());
        let params = OpenParams { peer, temporary, funding, push, announce };
        let now = self.now();
        let channel =
            Channel::open(&self.context(&now), &params, &features).map_err(OpenChannelError::Terms)?;
        let slot = Arc::new(Slot::new(channel, Some(session)));
        // 32 random bytes are nobody else's.
        self.add(&slot, false);
        self.drain(&slot);
        self.run();
        Ok(temporary)
    }

    /// Accepts a channel that a peer proposed.
    ///
    /// # Errors
    /// When no proposal waits under this temporary id.
    pub fn accept_channel(&self, peer: NodeId, temporary: ChannelId) -> Result<(), CommandError> {
        let slot = self.requested(peer, temporary)?;
        self.step(&slot, Channel::accept);
        self.run();
        Ok(())
    }

    /// Refuses a channel that a peer proposed; the peer is told why.
    ///
    /// # Errors
    /// When no proposal waits under this temporary id.
    pub fn refuse_channel(
        &self,
        peer: NodeId,
        temporary: ChannelId,
        reason: &str,
    ) -> Result<(), CommandError> {
        let slot = self.requested(peer, temporary)?;
        self.step(&slot, |channel, cx| channel.refuse(cx, reason));
        self.run();
        Ok(())
    }

    fn requested(&self, peer: NodeId, temporary: ChannelId) -> Result<Arc<Slot<E::Keys>>, CommandError> {
        let slot = self.table.lock().channel_of(peer, temporary);
        let slot = slot.ok_or(CommandError::UnknownChannel(temporary))?;
        if slot.lock().channel.phase() != PhaseName::Requested {
            return Err(CommandError::UnknownChannel(temporary));
        }
        Ok(slot)
    }

    /// Hands over the signed funding transaction that [`FundingNeeded`](lightning_traits::event::Event::FundingNeeded)
    /// asked for. It is broadcast, by us, once that is safe.
    ///
    /// # Errors
    /// The transaction comes back, and the channel still waits for one (but for [`FundError::NotAwaited`]).
    #[allow(clippy::result_large_err, reason = "the user's transaction must come back")]
    pub fn funding_transaction(
        &self,
        temporary: ChannelId,
        transaction: Transaction,
    ) -> Result<(), (Transaction, FundError)> {
        let slot = self.table.lock().channel_by_any_id(temporary);
        let Some(slot) = slot else {
            return Err((transaction, FundError::NotAwaited));
        };
        let done = self.step(&slot, |channel, cx| channel.fund(cx, transaction));
        self.run();
        done
    }

    /// A peer proposes a channel.
    pub(super) fn on_open_channel(&self, peer: NodeId, message: &OpenChannel) {
        let temporary = message.temporary_channel_id;
        let Some((features, session)) = self.connection(peer) else { return };
        if let Err(text) = self.check_room(peer, temporary) {
            self.answer_error(peer, temporary, text);
            return;
        }
        let now = self.now();
        let channel = match Channel::requested(&self.context(&now), peer, &features, message) {
            Ok(channel) => channel,
            Err(error) => {
                self.outbox.lock().answer(peer, Message::from(error));
                return;
            }
        };
        let event = channel.request_event();
        let slot = Arc::new(Slot::new(channel, Some(session)));
        if !self.add(&slot, false) {
            self.answer_error(peer, temporary, "the temporary id is in use");
            return;
        }
        match event {
            Some(event) if self.config.handshake.ask_before_accept => self.tell_once(event),
            _ => self.step(&slot, Channel::accept),
        }
    }

    fn check_room(&self, peer: NodeId, temporary: ChannelId) -> Result<(), &'static str> {
        let limits = &self.config.handshake;
        let table = self.table.lock();
        if table.channel_of(peer, temporary).is_some() {
            // BOLT 2: "MUST ensure `temporary_channel_id` is unique from any other channel ID with the same peer".
            return Err("the temporary id is in use");
        }
        let unconfirmed = table.unconfirmed_with(peer);
        if unconfirmed >= usize::from(limits.max_pending_per_peer) {
            return Err("too many channels are not confirmed yet");
        }
        let is_stranger = table.channels_with(peer).len() == unconfirmed;
        if is_stranger && table.unproven_peers(peer) >= usize::from(limits.max_unfunded_peers) {
            return Err("too many peers without a confirmed channel");
        }
        Ok(())
    }
}
