//! Closing channels, and lists.
use alloc::vec::Vec;

use lightning_traits::id::{ChannelId, NodeId};
use lightning_traits::interface::Environment;
use lightning_traits::route::FirstHop;
use thiserror::Error;

use super::ChannelManager;
use crate::channel::{ChannelDetails, CloseParams, PhaseName, QuiesceError, ShutdownError};
use crate::payment::PaymentDetails;

/// Why a command about a channel is not carried out.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CommandError {
    /// There is no such channel, or it is in no phase for the command.
    #[error("no channel {0} that this could be done to")]
    UnknownChannel(ChannelId),
    /// The channel is closing already.
    #[error("channel {0} is on its way to the chain already")]
    Closing(ChannelId),
    /// It does not become quiet.
    #[error("{0}")]
    Quiesce(QuiesceError),
    /// It cannot be closed together with the peer.
    #[error("{0}")]
    Shutdown(ShutdownError),
}

impl<E: Environment> ChannelManager<E> {
    /// Closes a channel together with its peer, once its HTLCs are gone. `params` may name where our funds go, unless the
    /// opening bound us to another, and the feerate. Asked again, it changes these, where the peer knows `option_simple_close`.
    ///
    /// # Errors
    /// [`CommandError`].
    pub fn close_channel(&self, channel: ChannelId, params: CloseParams) -> Result<(), CommandError> {
        let slot = self.table.lock().channel_by_any_id(channel);
        let slot = slot.ok_or(CommandError::UnknownChannel(channel))?;
        let done = self.step(&slot, |channel, cx| channel.shutdown(cx, params));
        self.run();
        done.map_err(CommandError::Shutdown)
    }

    /// Asks the peer of a channel that nobody propose anything on it until the connection ends (`stfu`). No protocol that needs it
    /// is built: it is of use to see what a node does while a channel of its is quiet.
    ///
    /// # Errors
    /// [`CommandError`].
    pub fn quiesce_channel(&self, channel: ChannelId) -> Result<(), CommandError> {
        let slot = self.table.lock().channel_by_any_id(channel);
        let slot = slot.ok_or(CommandError::UnknownChannel(channel))?;
        let done = self.step(&slot, |channel, cx| channel.quiesce(cx));
        self.run();
        done.map_err(CommandError::Quiesce)
    }

    /// Goes to the chain with our latest commitment, or gives up a channel that is not funded yet.
    ///
    /// # Errors
    /// [`CommandError`].
    pub fn force_close(&self, channel: ChannelId) -> Result<(), CommandError> {
        let slot = self.table.lock().channel_by_any_id(channel);
        let slot = slot.ok_or(CommandError::UnknownChannel(channel))?;
        let done = self.step(&slot, |channel, cx| channel.force_close(cx));
        self.run();
        if done { Ok(()) } else { Err(CommandError::Closing(channel)) }
    }

    /// Never publishes a commitment of this channel, and asks its peer to close it: its record was put back from where nobody can
    /// say that it is the last, and its monitor has been told so ([`Channel::doubt`](crate::channel::Channel::doubt)). To be called
    /// after every restart, before the first connection, as long as there is the channel.
    ///
    /// # Errors
    /// [`CommandError::UnknownChannel`].
    pub fn doubt_channel(&self, channel: ChannelId) -> Result<(), CommandError> {
        let slot = self.table.lock().channel_by_any_id(channel);
        let slot = slot.ok_or(CommandError::UnknownChannel(channel))?;
        self.step(&slot, |channel, _| channel.doubt());
        Ok(())
    }

    /// All channels.
    #[must_use]
    pub fn list_channels(&self) -> Vec<ChannelDetails> {
        let slots = self.table.lock().all();
        slots.iter().map(|slot| self.look(slot, |channel, cx| channel.details(cx))).collect()
    }

    /// Where a peer's channel stands; its temporary id will do as long as it has no other.
    #[must_use]
    pub fn channel_phase(&self, peer: NodeId, channel: ChannelId) -> Option<PhaseName> {
        let slot = self.table.lock().channel_of(peer, channel)?;
        Some(self.look(&slot, |channel, _| channel.phase()))
    }

    /// Payments of ours that are under way, or whose last event is not acknowledged.
    #[must_use]
    pub fn list_payments(&self) -> Vec<PaymentDetails> {
        self.table.lock().payments.list()
    }

    /// Channels over which something can be sent now.
    #[must_use]
    pub fn first_hops(&self) -> Vec<FirstHop> {
        let slots = self.table.lock().all();
        let hop = |details: ChannelDetails| {
            let funded = details.funded.filter(|funded| funded.usable)?;
            Some(FirstHop {
                node: details.peer,
                // The graph knows a public channel by its real id.
                scid: funded.scid.unwrap_or(funded.alias),
                htlc_minimum: funded.htlc_minimum,
                sendable: funded.sendable,
                htlc_cost: funded.htlc_cost,
            })
        };
        slots.iter().filter_map(|slot| hop(self.look(slot, |channel, cx| channel.details(cx)))).collect()
    }
}
