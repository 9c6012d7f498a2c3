//! What peers are owed: relayed news, answers, dumps of the graph.
use alloc::vec::Vec;

use lightning_traits::event::MessageSendEvent;
use lightning_traits::id::{NodeId, ShortChannelId};
use lightning_traits::wire::RoutingMessage;

use super::State;
use crate::gossip::Cursor;
use crate::graph::{ChannelInfo, Graph};

impl State {
    pub(super) fn next_message(&mut self) -> Option<MessageSendEvent> {
        if let Some((from, message)) = self.relay.pop_front() {
            return Some(MessageSendEvent::Broadcast { message, from });
        }
        while let Some(peer) = self.peers.next_active() {
            if let Some(message) = self.next_for(peer) {
                return Some(MessageSendEvent::Send { to: peer, message: message.into() });
            }
            self.peers.rest(&peer);
        }
        None
    }

    /// BOLT 7: a filter asks for what is known inside its range, and for what comes.
    pub(super) fn set_filter(&mut self, peer: NodeId, first: u32, range: u32) {
        if let Some(owed) = self.peers.wake(&peer) {
            owed.filter = Some((first, range));
            owed.cursor = Some(Cursor::Channels(ShortChannelId(0)));
        }
    }

    /// Puts the end of an answer behind what was asked for by id.
    pub(super) fn end_answer(&mut self, peer: NodeId, end: RoutingMessage) {
        let Some(owed) = self.peers.get_mut(&peer) else { return };
        let asked: Vec<ShortChannelId> = owed.asked.drain(..).collect();
        let mut messages = Vec::new();
        for scid in asked {
            if let Some(channel) = self.graph.channel(scid) {
                messages.extend(messages_of(&self.graph, channel, true, &|_| true));
            }
        }
        if let Some(owed) = self.peers.get_mut(&peer) {
            messages.into_iter().for_each(|message| owed.answer(message));
            owed.answer(end);
        }
    }

    fn next_for(&mut self, peer: NodeId) -> Option<RoutingMessage> {
        let owed = self.peers.get_mut(&peer)?;
        if owed.ready.is_empty() {
            owed.cursor?;
            self.advance(peer);
        }
        let owed = self.peers.get_mut(&peer)?;
        if owed.ready.is_empty() || !owed.spend() { None } else { owed.ready.pop_front() }
    }

    /// Moves the peer's dump on, until there is something to send or it is at its end.
    fn advance(&mut self, peer: NodeId) {
        while let Some(owed) = self.peers.get_mut(&peer) {
            let Some(cursor) = owed.cursor.filter(|_| owed.ready.is_empty()) else { return };
            let wants = |timestamp: u32| owed.wants(timestamp);
            let (messages, next) = match cursor {
                Cursor::Channels(first) => match self.graph.channels_from(first).next() {
                    Some(channel) => {
                        let next = Cursor::Channels(ShortChannelId(channel.scid.0.saturating_add(1)));
                        (messages_of(&self.graph, channel, false, &wants), Some(next))
                    }
                    None => (Vec::new(), Some(Cursor::Nodes(None))),
                },
                Cursor::Nodes(_) => {
                    let known = self.graph.nodes().filter_map(|node| node.announcement.as_ref());
                    let wanted = known.filter(|announcement| wants(announcement.body.timestamp));
                    (wanted.map(|announcement| announcement.clone().into()).collect(), None)
                }
            };
            owed.cursor = next;
            messages.into_iter().for_each(|message| owed.answer(message));
        }
    }
}

/// A channel's announcement with its updates, and its nodes' announcements when `with_nodes`. BOLT 7 gives the
/// announcement the timestamp of its updates; one without updates is not worth sending.
fn messages_of(
    graph: &Graph,
    channel: &ChannelInfo,
    with_nodes: bool,
    wants: &dyn Fn(u32) -> bool,
) -> Vec<RoutingMessage> {
    let updates = channel.updates.iter().flatten().filter(|update| wants(update.body.timestamp));
    let updates: Vec<RoutingMessage> = updates.map(|update| update.clone().into()).collect();
    if updates.is_empty() {
        return Vec::new();
    }
    let mut messages = alloc::vec![RoutingMessage::from(channel.announcement.clone())];
    messages.extend(updates);
    if with_nodes {
        let nodes = graph.nodes_of(channel).into_iter().flatten();
        let announcements = nodes.filter_map(|id| graph.node(&id)?.announcement.clone());
        messages.extend(announcements.map(RoutingMessage::from));
    }
    messages
}
