//! What nodes say to each other: out of their outboxes, over the wires, to their handlers.
use bitcoin::OutPoint;
use lightning_traits::event::MessageSendEvent;
use lightning_traits::id::{ChannelId, NodeId};
use lightning_traits::interface::{
    ChannelMessageHandler as _, MessageSendEventsProvider, RoutingMessageHandler as _,
};
use lightning_traits::units::Msat;
use lightning_traits::wire::{ChannelMessage, Message, RoutingMessage, UpdateAddHtlc};

use crate::journal::Boundary;
use crate::oracle::{Oracle, hold};
use crate::wires::Frame;
use crate::world::{Link, World};

/// A channel that was proposed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Proposal {
    accepter: usize,
    capacity: bitcoin::Amount,
    push: Msat,
}

impl World {
    /// Takes all messages of a node to the wires.
    pub(crate) fn collect(&mut self, node: usize) {
        if self.absent.contains(&node) {
            return;
        }
        loop {
            let running = self.nodes[node].running();
            let event = running.manager.next_message().or_else(|| running.router.next_message());
            let Some(event) = event else { return };
            match event {
                MessageSendEvent::Send { to, message } => {
                    let to = self.index(to);
                    self.send(node, to, &message);
                }
                MessageSendEvent::Broadcast { message, from } => self.broadcast(node, message, from),
                MessageSendEvent::Disconnect { peer, last } => {
                    self.say(|| format!("{node} hangs up: {last:?}"));
                    let peer = self.index(peer);
                    if let Some(last) = last {
                        self.send(node, peer, &last);
                    }
                    self.wires.push(node, peer, Frame::Close);
                    self.leave(node, peer);
                }
            }
        }
    }

    fn send(&mut self, from: usize, to: usize, message: &Message) {
        // Dropped when the peer is not connected, as the interface says.
        if !self.wires.believes(from, to) {
            return;
        }
        if self.is_trusty(from) {
            let node = &self.nodes[from];
            self.promises[from].on_sent(from, message, &node.disk, &node.keys.book.borrow());
            self.htlcs.on_sent(from, to, message, true);
        }
        let mut message = message.clone();
        if self.villains.contains(&from) {
            if self.mischief.is_muted(from, to, message.type_id()) {
                return;
            }
            self.borrow_output(&mut message);
            self.spoil_onion(&mut message);
        } else if let Message::UpdateFulfillHtlc(fulfill) = &message {
            self.judge_preimage(from, &fulfill.payment_preimage);
        }
        if let Message::UpdateAddHtlc(add) = &mut message
            && self.garbled.contains(&(from, add.payment_hash))
        {
            garble(add);
        }
        self.note_opening(from, to, &message);
        let bytes = message.to_wire();
        hold(Oracle::NoAbort, bytes.is_ok(), || format!("a message that does not fit: {message:?}"));
        if let (true, Ok(bytes)) = (self.wires.is_up(from, to), bytes) {
            self.journal.note(from, Boundary::Sends, || with_peer(to, &bytes));
            if self.villains.contains(&from) {
                self.mischief.note_said(from, to, &bytes);
            }
            self.wires.push(from, to, Frame::Message(bytes));
        }
    }

    /// A villain says that another output pays for its channel.
    fn borrow_output(&mut self, message: &mut Message) {
        if let Message::FundingCreated(created) = message
            && let Some(output) = self.mischief.borrowed_output.take()
        {
            created.funding_txid = output.txid;
            created.funding_output_index = output.vout as u16;
        }
    }

    /// A villain sends an onion that its peer cannot read.
    fn spoil_onion(&mut self, message: &mut Message) {
        if let Message::UpdateAddHtlc(add) = message
            && core::mem::take(&mut self.mischief.is_spoiled)
        {
            garble(add);
        }
    }

    /// Channels are known here from their openers' messages alone.
    fn note_opening(&mut self, from: usize, to: usize, message: &Message) {
        match message {
            Message::OpenChannel(open) => {
                let proposal =
                    Proposal { accepter: to, capacity: open.funding_satoshis, push: open.push_msat };
                self.proposals.insert((from, open.temporary_channel_id), proposal);
            }
            Message::FundingCreated(created) => {
                let Some(proposal) = self.proposals.get(&(from, created.temporary_channel_id)) else {
                    return;
                };
                let vout = u32::from(created.funding_output_index);
                let funding = OutPoint { txid: created.funding_txid, vout };
                if self.links.iter().any(|link| link.funding == funding) {
                    return;
                }
                self.links.push(Link {
                    ends: [from, proposal.accepter],
                    channel: ChannelId::v1_from_funding(funding),
                    capacity: proposal.capacity,
                    push: proposal.push,
                    funding,
                });
            }
            _ => {}
        }
    }

    fn broadcast(&mut self, node: usize, message: RoutingMessage, from: Option<NodeId>) {
        if from.is_none() {
            self.nodes[node].running().router.on_own_message(&message);
        }
        let from = from.map(|from| self.index(from));
        let message = Message::from(message);
        for peer in self.wires.peers_of(node) {
            if Some(peer) != from {
                self.send(node, peer, &message);
            }
        }
    }

    /// The next frame of one wire arrives; `false` when there is none.
    pub(crate) fn deliver(&mut self, from: usize, to: usize) -> bool {
        let Some((frame, is_old)) = self.wires.pop(from, to) else { return false };
        let Frame::Message(bytes) = frame else {
            self.leave(to, from);
            return true;
        };
        if self.wires.waiting(from, to) == 0 && self.wires.is_up(from, to) {
            let peer = self.nodes[to].id();
            self.nodes[from].running().router.gossip_has_room(peer);
        }
        self.coverage.arrived += 1;
        self.coverage.mix(&bytes);
        self.journal.note(to, Boundary::Hears, || with_peer(from, &bytes));
        let Ok(message) = Message::decode(&bytes) else {
            // BOLT 1: whoever cannot read a message may hang up.
            hold(Oracle::NoAbort, !self.is_trusty(from), || format!("{from} sends what is no message"));
            self.wires.push(to, from, Frame::Close);
            self.leave(to, from);
            return true;
        };
        self.say(|| format!("{from} -> {to}: {}{}", name(&message), which(&message)));
        // What was said by a node that had its memory then, has counted then.
        if !self.is_trusty(from) && !is_old {
            self.htlcs.on_sent(from, to, &message, false);
        }
        self.htlcs.on_delivered(from, to, &message);
        if let Message::RevokeAndAck(revoked) = &message {
            self.promises[from].on_revealed(to, revoked, &self.nodes[from].keys.book.borrow());
        }
        if let (true, Message::UpdateFulfillHtlc(fulfill)) = (self.villains.contains(&to), &message) {
            self.mischief.learn(&fulfill.payment_preimage);
        }
        self.hand_over(from, to, message);
        true
    }

    fn hand_over(&mut self, from: usize, to: usize, message: Message) {
        let (sender, running) = (self.nodes[from].id(), self.nodes[to].running());
        match message {
            Message::Error(error) => running.manager.on_error(sender, &error),
            Message::Warning(warning) => running.manager.on_warning(sender, &warning),
            Message::ChannelUpdate(update) => {
                running.manager.on_channel_update(sender, &update);
                running.router.on_routing_message(sender, update.into());
            }
            Message::Unknown(unknown) => {
                // BOLT 1: "upon receiving a message of unknown type, if that type is odd: MUST ignore the received message".
                if unknown.type_id % 2 == 0 {
                    self.wires.push(to, from, Frame::Close);
                    self.leave(to, from);
                }
            }
            other => match ChannelMessage::try_from(other) {
                Ok(message) => {
                    let phase = running.manager.inner().channel_phase(sender, message.channel_id());
                    self.coverage.saw(phase, message.type_id());
                    running.manager.on_channel_message(sender, message);
                }
                Err(other) => {
                    if let Ok(message) = RoutingMessage::try_from(other) {
                        running.router.on_routing_message(sender, message);
                    }
                }
            },
        }
    }
}

/// Makes an onion that nobody can read.
fn garble(add: &mut UpdateAddHtlc) {
    let mut onion = (*add.onion_routing_packet).clone();
    onion.hmac[0] ^= 1;
    add.onion_routing_packet = std::sync::Arc::new(onion);
}

/// Which channel a message is about.
fn which(message: &Message) -> String {
    let channel = ChannelMessage::try_from(message.clone()).map(|message| message.channel_id());
    channel.map(|channel| format!(" of {:.8}", channel.to_string())).unwrap_or_default()
}

/// The name of a message.
pub(crate) fn name(message: &Message) -> String {
    let text = format!("{message:?}");
    text.split(['(', ' ']).next().unwrap_or_default().to_owned()
}

/// A message, behind the number of the peer.
fn with_peer(peer: usize, bytes: &[u8]) -> Vec<u8> {
    [&[peer as u8], bytes].concat()
}
