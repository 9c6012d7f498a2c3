//! Messages in: each to its handler.
//!
//! BOLT 1, "Lightning Message Format": unknown odd types are ignored, unknown even ones end the connection.
//!
//! # Invariants
//! - no lock is held while a handler is called (I7)
use alloc::sync::Arc;

use lightning_traits::id::NodeId;
use lightning_traits::interface::{
    ChannelMessageHandler as _, CustomMessageHandler as _, Level, RoutingMessageHandler as _,
};
use lightning_traits::sync::assert_unlocked;
use lightning_traits::wire::{ChannelMessage, Message, RoutingMessage, UnknownMessage};

use super::PeerManager;
use super::environment::PeerEnvironment;
use super::table::Connection;
use crate::disconnect::Disconnect;
use crate::peer::Step;

impl<E: PeerEnvironment> PeerManager<E> {
    /// Reads bytes and hands over their messages. Called by whoever has the connection's turn.
    pub(super) fn read_some(&self, connection: &Arc<Connection>, mut bytes: &[u8]) {
        let context = self.context();
        loop {
            let step = connection.lock().read(&mut bytes, &context);
            let outcome = match step {
                Ok(Step::Wait) => return,
                Ok(Step::Join(node)) => {
                    self.join(connection, node);
                    Ok(())
                }
                Ok(Step::Message(node, message)) => self.hand_over(connection, node, *message),
                Err(reason) => Err(reason),
            };
            if let Err(reason) = outcome {
                self.end(connection, reason, None);
                return;
            }
        }
    }

    fn hand_over(&self, connection: &Connection, node: NodeId, message: Message) -> Result<(), Disconnect> {
        assert_unlocked();
        self.log(Level::Trace, Some(node), format_args!("message of type {} received", message.type_id()));
        let message = match ChannelMessage::try_from(message) {
            Ok(message) => {
                self.environment.channels().on_channel_message(node, message);
                return Ok(());
            }
            Err(other) => other,
        };
        let message = match RoutingMessage::try_from(message) {
            Ok(message) => {
                self.on_routing(connection, node, message);
                return Ok(());
            }
            Err(other) => other,
        };
        match message {
            Message::Error(error) => {
                self.log_text(connection, node, "error", &error.text());
                self.environment.channels().on_error(node, &error);
            }
            Message::Warning(warning) => {
                self.log_text(connection, node, "warning", &warning.text());
                self.environment.channels().on_warning(node, &warning);
            }
            Message::Unknown(message) => return self.on_unknown(node, &message),
            // Onion messages and peer storage, which we do not offer: odd types, so ignored.
            other => self.log_ignored(node, other.type_id()),
        }
        Ok(())
    }

    fn on_routing(&self, connection: &Connection, node: NodeId, message: RoutingMessage) {
        if let RoutingMessage::GossipTimestampFilter(filter) = &message
            && self.chains.contains(&filter.chain_hash)
        {
            connection.lock().set_filter(filter.clone());
        }
        // BOLT 7: "If the bit `dont_forward` ... is set": the terms of an unannounced channel between the peer and us.
        if let RoutingMessage::ChannelUpdate(update) = &message
            && update.body.is_for_receiver_only()
        {
            self.environment.channels().on_channel_update(node, update);
        }
        self.environment.routing().on_routing_message(node, message);
    }

    /// BOLT 1: "upon receiving a message of _odd_, unknown type: MUST ignore the received message", "of _even_, unknown
    /// type: MUST close the connection".
    fn on_unknown(&self, node: NodeId, message: &UnknownMessage) -> Result<(), Disconnect> {
        if self.environment.custom().on_custom_message(node, message.type_id, &message.payload) {
            return Ok(());
        }
        if message.is_even() {
            return Err(Disconnect::UnknownEvenType(message.type_id));
        }
        self.log_ignored(node, message.type_id);
        Ok(())
    }

    fn log_ignored(&self, node: NodeId, type_id: u16) {
        self.log(Level::Trace, Some(node), format_args!("message of odd type {type_id} ignored"));
    }

    /// Logs what the peer says, made printable, shortened, and not too often (RELIABILITY I10).
    fn log_text(&self, connection: &Connection, node: NodeId, kind: &str, text: &str) {
        if connection.lock().may_log() {
            let end = text.char_indices().nth(LOGGED_CHARACTERS).map_or(text.len(), |(at, _)| at);
            let text = text.get(..end).unwrap_or_default();
            self.log(Level::Warn, Some(node), format_args!("the peer sent {kind}: {text}"));
        }
    }
}

const LOGGED_CHARACTERS: usize = 400;
