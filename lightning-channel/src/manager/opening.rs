//! Opening channels: ours and theirs.
//!
//! # Invariants
//! - what strangers may cost is bounded before a key is made for them (RELIABILITY A3, A4)
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use bitcoin::{Amount, Transaction};
use lightning_traits::event::{ChannelRequest, Event};
use lightning_traits::id::{ChannelId, NodeId};
use lightning_traits::interface::{EntropySource as _, Environment};
use lightning_traits::units::Msat;
use lightning_traits::wire::{Message, OpenChannel};
use thiserror::Error;

use super::ChannelManager;
use super::events::Source;
use super::slot::Slot;
use crate::channel::{
    AcceptOptions, BadTerms, Channel, FundError, OpenError, OpenOptions, OpenParams, PhaseName,
};

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

/// Why a proposal of a peer is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AcceptChannelError {
    /// No proposal waits under this temporary id (any more).
    #[error("no channel {0} waits to be accepted")]
    NotRequested(ChannelId),
    /// The peer is not trusted with what it wants, or the options do not fit.
    #[error("{0}")]
    Terms(BadTerms),
}

impl<E: Environment> ChannelManager<E> {
    /// Proposes a channel of `funding` to a connected peer, of which `push` is the peer's at once, and all else as the
    /// configuration says. See [`open_channel_with`](Self::open_channel_with).
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
        self.open_channel_with(peer, funding, OpenOptions { push, announce, ..OpenOptions::default() })
    }

    /// Proposes a channel of `funding` to a connected peer. The answer is an event that names the channel by the temporary id
    /// returned here.
    ///
    /// # Errors
    /// [`OpenChannelError`]; nothing was sent.
    pub fn open_channel_with(
        &self,
        peer: NodeId,
        funding: Amount,
        options: OpenOptions,
    ) -> Result<ChannelId, OpenChannelError> {
        let (features, session) = self.connection(peer).ok_or(OpenChannelError::NotConnected(peer))?;
        let temporary = ChannelId(self.env.keys().bytes32());
        let params = OpenParams { peer, temporary, funding, options };
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

    /// Accepts a channel that a peer proposed, as the configuration says. See
    /// [`accept_channel_with`](Self::accept_channel_with).
    ///
    /// # Errors
    /// [`AcceptChannelError`]; the proposal still waits, if there is one.
    pub fn accept_channel(&self, peer: NodeId, temporary: ChannelId) -> Result<(), AcceptChannelError> {
        self.accept_channel_with(peer, temporary, &AcceptOptions::default())
    }

    /// Accepts a channel that a peer proposed.
    ///
    /// # Errors
    /// [`AcceptChannelError`]; the proposal still waits, if there is one.
    pub fn accept_channel_with(
        &self,
        peer: NodeId,
        temporary: ChannelId,
        options: &AcceptOptions,
    ) -> Result<(), AcceptChannelError> {
        let unknown = AcceptChannelError::NotRequested(temporary);
        let slot = self.requested(peer, temporary).ok_or(unknown)?;
        let accepted = self.step(&slot, |channel, cx| channel.accept(cx, options));
        if accepted.is_ok() {
            self.answered_request(peer, temporary);
        }
        self.run();
        accepted.map_err(AcceptChannelError::Terms)
    }

    /// Proposals of peers that wait for an answer.
    #[must_use]
    pub fn channel_requests(&self) -> Vec<ChannelRequest> {
        let waiting: Vec<_> = self.table.lock().requests.iter().copied().collect();
        let slots = waiting.into_iter().filter_map(|(peer, temporary)| self.requested(peer, temporary));
        slots.filter_map(|slot| self.look(&slot, |channel, _| channel.request())).collect()
    }

    fn answered_request(&self, peer: NodeId, temporary: ChannelId) {
        self.table.lock().requests.remove(&(peer, temporary));
        self.events.lock().withdraw(&Source::Request { peer, temporary });
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
    ) -> Result<(), AcceptChannelError> {
        let unknown = AcceptChannelError::NotRequested(temporary);
        let slot = self.requested(peer, temporary).ok_or(unknown)?;
        self.step(&slot, |channel, cx| channel.refuse(cx, reason));
        self.run();
        Ok(())
    }

    fn requested(&self, peer: NodeId, temporary: ChannelId) -> Option<Arc<Slot<E::Keys>>> {
        let slot = self.table.lock().channel_of(peer, temporary)?;
        let waits = slot.lock().channel.phase() == PhaseName::Requested;
        waits.then_some(slot)
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
        let limits = &self.config.handshake;
        let Some((features, session)) = self.connection(peer) else { return };
        // Before a key is made for it.
        let room = self.table.lock().check_room(peer, temporary, limits);
        if let Err(text) = room {
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
        let request = channel.request().filter(|_| limits.ask_before_accept);
        let slot = Arc::new(Slot::new(channel, Some(session)));
        // Looked at once more, now that it is taken: others may have proposed something meanwhile.
        let names = slot.lock().names();
        let taken = {
            let mut table = self.table.lock();
            let taken = table.check_room(peer, temporary, limits);
            if taken.is_ok() {
                table.insert(&slot, names, false);
                if request.is_some() {
                    table.requests.insert((peer, temporary));
                }
            }
            taken
        };
        if let Err(text) = taken {
            self.answer_error(peer, temporary, text);
            return;
        }
        match request {
            Some(request) => {
                let source = Source::Request { peer, temporary };
                self.tell(Event::OpenChannelRequest(Box::new(request)), source);
            }
            None => {
                self.step(&slot, |channel, cx| {
                    if let Err(error) = channel.accept(cx, &AcceptOptions::default()) {
                        channel.refuse(cx, &alloc::format!("{error}"));
                    }
                });
            }
        }
    }
}
