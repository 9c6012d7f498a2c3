//! What comes from peers.
use alloc::sync::Arc;
use alloc::vec::Vec;

use bitcoin::OutPoint;
use lightning_traits::event::MessageSendEvent;
use lightning_traits::feature::Features;
use lightning_traits::id::{ChannelId, NodeId};
use lightning_traits::interface::{
    ChannelMessageHandler, Environment, Level, MessageSendEventsProvider, RefusePeer,
};
use lightning_traits::wire::{
    ChannelMessage, ChannelUpdate, ErrorMessage, FundingCreated, Init, Message, WarningMessage,
};

use super::ChannelManager;
use super::slot::Slot;
use crate::channel::PhaseName;

impl<E: Environment> ChannelMessageHandler for ChannelManager<E> {
    fn peer_connected(&self, peer: NodeId, init: &Init, _inbound: bool) -> Result<(), RefusePeer> {
        let features = init.combined_features();
        let session = self.outbox.lock().connect(peer);
        let slots = {
            let mut table = self.table.lock();
            table.peers.insert(peer, features.clone());
            table.channels_with(peer)
        };
        for slot in slots {
            self.step_inner(&slot, |inner, cx| {
                inner.session = Some(session);
                inner.channel.connected(cx, &features);
            });
        }
        self.run();
        Ok(())
    }

    fn peer_disconnected(&self, peer: NodeId) {
        self.outbox.lock().disconnect(peer);
        let slots = {
            let mut table = self.table.lock();
            table.peers.remove(&peer);
            table.channels_with(peer)
        };
        for slot in slots {
            self.step_inner(&slot, |inner, cx| {
                inner.session = None;
                inner.channel.disconnected(cx);
            });
        }
        self.run();
    }

    fn on_channel_message(&self, peer: NodeId, message: ChannelMessage) {
        match message {
            ChannelMessage::OpenChannel(message) => self.on_open_channel(peer, &message),
            message => self.on_message_for_channel(peer, message),
        }
        self.run();
    }

    fn on_error(&self, peer: NodeId, error: &ErrorMessage) {
        let slots = {
            let table = self.table.lock();
            if error.channel_id == ChannelId::ALL {
                // BOLT 1: "if `channel_id` is all-zero, then it refers to all channels with the sending node".
                table.channels_with(peer)
            } else {
                table.channel_of(peer, error.channel_id).into_iter().collect()
            }
        };
        let slots = if slots.is_empty() { self.awaiting_signed_as(peer, error.channel_id) } else { slots };
        for slot in slots {
            self.step(&slot, |channel, cx| channel.on_error(cx, error));
        }
        self.run();
    }

    fn on_warning(&self, peer: NodeId, warning: &WarningMessage) {
        self.log(Level::Warn, format_args!("{peer} warns: {}", warning.text()));
    }

    fn on_channel_update(&self, peer: NodeId, update: &ChannelUpdate) {
        self.keep_their_terms(peer, update);
    }

    fn features(&self) -> Features {
        self.features.clone()
    }
}

impl<E: Environment> MessageSendEventsProvider for ChannelManager<E> {
    fn next_message(&self) -> Option<MessageSendEvent> {
        self.outbox.lock().next()
    }
}

impl<E: Environment> ChannelManager<E> {
    fn on_message_for_channel(&self, peer: NodeId, message: ChannelMessage) {
        let id = message.channel_id();
        let slot = self.table.lock().channel_of(peer, id);
        let Some(slot) = slot else {
            self.answer_unknown(peer, &message);
            return;
        };
        if let ChannelMessage::FundingCreated(created) = &message
            && self.is_taken(created)
        {
            // RELIABILITY A7: a second channel on the same output would be watched as the first.
            self.step(&slot, |channel, cx| channel.refuse(cx, "the funding output is another channel's"));
            return;
        }
        let resynced = matches!(message, ChannelMessage::ChannelReestablish(_));
        self.step(&slot, |channel, cx| channel.on_message(cx, message));
        if resynced {
            self.unpark(false);
        }
    }

    /// BOLT 1: "the fundee node: for all error messages sent before (and not including) the `funding_signed` message: MUST use
    /// `temporary_channel_id` in lieu of `channel_id`", while we know the lasting one.
    fn awaiting_signed_as(&self, peer: NodeId, temporary: ChannelId) -> Vec<Arc<Slot<E::Keys>>> {
        let mut slots = self.table.lock().channels_with(peer);
        slots.retain(|slot| {
            self.look(slot, |channel, _| {
                channel.temporary_id() == temporary && channel.phase() == PhaseName::AwaitingSigned
            })
        });
        slots
    }

    fn is_taken(&self, created: &FundingCreated) -> bool {
        let outpoint = OutPoint { txid: created.funding_txid, vout: u32::from(created.funding_output_index) };
        self.table.lock().has_channel(ChannelId::v1_from_funding(outpoint))
    }

    /// BOLT 2: "if ... unknown channel: SHOULD send an `error`", so that a peer whose channel we do not know goes to the chain.
    fn answer_unknown(&self, peer: NodeId, message: &ChannelMessage) {
        let channel_id = message.channel_id();
        self.log(
            Level::Debug,
            format_args!("{peer} sends message {} for unknown channel {channel_id}", message.type_id()),
        );
        // Only what starts something is answered: the rest may have crossed with our own farewell.
        let is_start = matches!(
            message,
            ChannelMessage::ChannelReestablish(_)
                | ChannelMessage::FundingCreated(_)
                | ChannelMessage::OpenChannel2(_)
                | ChannelMessage::AcceptChannel(_)
        );
        if is_start {
            self.answer_error(peer, channel_id, "unknown channel");
        }
    }

    pub(super) fn answer_error(&self, peer: NodeId, channel_id: ChannelId, text: &str) {
        let data = text.as_bytes().to_vec();
        let error = ErrorMessage { channel_id, data, unknown: Default::default() };
        self.outbox.lock().answer(peer, Message::from(error));
    }

    /// What a connected peer offers, and the connection to send on.
    pub(super) fn connection(&self, peer: NodeId) -> Option<(Features, super::outbox::Session)> {
        let features = self.table.lock().peers.get(&peer).cloned()?;
        let session = self.outbox.lock().session(peer)?;
        Some((features, session))
    }

    /// Puts a new channel into the table; `false` when its id is in use.
    pub(crate) fn add(&self, slot: &Arc<Slot<E::Keys>>, is_lasting: bool) -> bool {
        let names = slot.lock().names();
        self.table.lock().insert(slot, names, is_lasting)
    }
}
