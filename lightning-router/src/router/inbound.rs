//! What comes from peers, and from ourselves.
use lightning_traits::event::MessageSendEvent;
use lightning_traits::feature::Features;
use lightning_traits::id::{NodeId, ShortChannelId};
use lightning_traits::interface::{MessageSendEventsProvider, RoutingMessageHandler};
use lightning_traits::tx::script;
use lightning_traits::wire::{
    ChannelAnnouncement, ChannelUpdate, EncodedArray, GossipTimestampFilter, Init, NodeAnnouncement,
    QueryChannelRange, QueryShortChannelIds, ReplyChannelRange, ReplyShortChannelIdsEnd, RoutingMessage,
};

use super::{MAX_RELAY, Router, State, Utxo, UtxoCheck};
use crate::gossip::{Unverified, Verified};

/// Seconds that a timestamp may lie ahead of the latest block's: blocks come late and clocks differ.
const MAX_AHEAD: u32 = 86_400;

impl RoutingMessageHandler for Router {
    fn peer_connected(&self, peer: NodeId, _init: &Init, _inbound: bool) {
        let chain_hash = self.config.chain();
        let mut state = self.state.lock();
        let owed = state.peers.connect(peer);
        // A filter from the beginning of time asks for the whole graph, and for all that is new; it is the one query
        // that every peer answers (LDK answers no `query_short_channel_ids`).
        owed.answer(
            GossipTimestampFilter {
                chain_hash,
                first_timestamp: 0,
                timestamp_range: u32::MAX,
                unknown: Default::default(),
            }
            .into(),
        );
    }

    fn peer_disconnected(&self, peer: NodeId) {
        self.state.lock().peers.disconnect(&peer);
    }

    fn on_routing_message(&self, peer: NodeId, message: RoutingMessage) {
        match message {
            RoutingMessage::ChannelAnnouncement(message) => self.on_announcement(peer, *message),
            RoutingMessage::ChannelUpdate(message) => self.on_update(Some(peer), message),
            RoutingMessage::NodeAnnouncement(message) => self.on_node(Some(peer), *message),
            RoutingMessage::GossipTimestampFilter(message) => self.on_filter(peer, &message),
            RoutingMessage::QueryChannelRange(message) => self.on_range_query(peer, &message),
            RoutingMessage::QueryShortChannelIds(message) => self.on_ids_query(peer, &message),
            // We ask by filter only, so nobody owes us these.
            RoutingMessage::ReplyChannelRange(_) | RoutingMessage::ReplyShortChannelIdsEnd(_) => {}
        }
    }

    fn on_own_message(&self, message: &RoutingMessage) {
        match message {
            RoutingMessage::ChannelAnnouncement(message) => {
                let announcement = ChannelAnnouncement::clone(message);
                let Ok(verified) = Unverified(announcement).verify(&self.secp, self.config.chain()) else {
                    return;
                };
                let _ = self.state.lock().graph.add_channel(verified, None);
            }
            RoutingMessage::ChannelUpdate(message) => self.on_update(None, message.clone()),
            RoutingMessage::NodeAnnouncement(message) => self.on_node(None, NodeAnnouncement::clone(message)),
            _ => {}
        }
    }

    fn gossip_has_room(&self, peer: NodeId) {
        self.state.lock().peers.has_room(&peer);
    }

    fn features(&self) -> Features {
        // BOLT 9: `gossip_queries` (7) is what this handler answers.
        Features::from_bits([7])
    }
}

impl MessageSendEventsProvider for Router {
    fn next_message(&self) -> Option<MessageSendEvent> {
        self.state.lock().next_message()
    }
}

impl Router {
    /// The answer to [`Router::next_utxo_query`]: the output, or that there is none that is unspent.
    pub fn answer_utxo(&self, scid: ShortChannelId, utxo: Option<Utxo>) {
        let chain = self.config.chain();
        let mut state = self.state.lock();
        let Some(waiting) = state.pending.take(scid) else { return };
        let body = &waiting.announcement.get().body;
        let keys = body.bitcoin_key_1.to_public_key().ok().zip(body.bitcoin_key_2.to_public_key().ok());
        let expected = keys.map(|(one, two)| {
            let (lesser, greater) = if one.serialize() <= two.serialize() { (one, two) } else { (two, one) };
            script::funding(&lesser, &greater).to_p2wsh()
        });
        // BOLT 7: "the receiving node MUST ignore the message" unless the output pays to the two bitcoin keys.
        let Some(utxo) = utxo.filter(|utxo| expected.as_ref() == Some(&utxo.output.script_pubkey)) else {
            state.pending.mark_absent(scid);
            return;
        };
        let relayed = RoutingMessage::from(waiting.announcement.get().clone());
        let added = state.graph.add_channel(waiting.announcement, Some((utxo.outpoint, utxo.output.value)));
        if added.is_ok() {
            state.relay(Some(waiting.from), relayed);
        }
        drop(state);
        for update in waiting.updates {
            if let Some(signer) = self.with_graph(|graph| graph.signer_of(scid, update.body.is_by_node_2())) {
                let verified = Unverified(update).verify(&self.secp, chain, &signer);
                self.state.lock().take_update(Some(waiting.from), verified.ok());
            }
        }
        for node in waiting.nodes {
            self.on_node(Some(waiting.from), node);
        }
    }

    fn on_announcement(&self, peer: NodeId, announcement: ChannelAnnouncement) {
        let scid = announcement.body.short_channel_id;
        {
            let state = self.state.lock();
            if state.graph.channel(scid).is_some() || !state.pending.wants(scid) {
                return;
            }
        }
        let Ok(verified) = Unverified(announcement).verify(&self.secp, self.config.chain()) else { return };
        let mut state = self.state.lock();
        if self.config.utxo_check == UtxoCheck::Required {
            state.pending.add(verified, peer);
            return;
        }
        let relayed = RoutingMessage::from(verified.get().clone());
        if state.graph.add_channel(verified, None).is_ok() {
            state.relay(Some(peer), relayed);
        }
    }

    /// An update from a peer, from ourselves, or out of a failed payment.
    pub(super) fn on_update(&self, peer: Option<NodeId>, update: ChannelUpdate) {
        let body = &update.body;
        let signer = {
            let mut state = self.state.lock();
            if state.now != 0 && body.timestamp > state.now.saturating_add(MAX_AHEAD) {
                return;
            }
            if state.pending.keep_update(&update) {
                return;
            }
            let direction = usize::from(body.is_by_node_2());
            let known =
                state.graph.channel(body.short_channel_id).and_then(|channel| channel.policy(direction));
            if known.is_some_and(|known| known.timestamp >= body.timestamp) {
                return;
            }
            state.graph.signer_of(body.short_channel_id, body.is_by_node_2())
        };
        let Some(signer) = signer else { return };
        let verified = Unverified(update).verify(&self.secp, self.config.chain(), &signer);
        self.state.lock().take_update(peer, verified.ok());
    }

    fn on_node(&self, peer: Option<NodeId>, node: NodeAnnouncement) {
        {
            let mut state = self.state.lock();
            let Some(known) = state.graph.node(&node.body.node_id) else {
                state.pending.keep_node(&node);
                return;
            };
            if known.announcement.as_ref().is_some_and(|known| known.body.timestamp >= node.body.timestamp) {
                return;
            }
        }
        let Ok(verified) = Unverified(node).verify(&self.secp) else { return };
        let mut state = self.state.lock();
        let relayed = RoutingMessage::from(verified.get().clone());
        if state.graph.update_node(verified).is_ok() && peer.is_some() {
            state.relay(peer, relayed);
        }
    }

    fn on_filter(&self, peer: NodeId, filter: &GossipTimestampFilter) {
        if filter.chain_hash == self.config.chain() {
            self.state.lock().set_filter(peer, filter.first_timestamp, filter.timestamp_range);
        }
    }

    fn on_range_query(&self, peer: NodeId, query: &QueryChannelRange) {
        let ours = query.chain_hash == self.config.chain();
        self.state.lock().answer_range(peer, query, ours);
    }

    fn on_ids_query(&self, peer: NodeId, query: &QueryShortChannelIds) {
        let full_information = u8::from(query.chain_hash == self.config.chain());
        let ids = query.encoded_short_ids.short_channel_ids().unwrap_or_default();
        let mut state = self.state.lock();
        let Some(owed) = state.peers.wake(&peer) else { return };
        if full_information == 1 {
            ids.into_iter().for_each(|scid| owed.ask(scid));
        }
        let end = ReplyShortChannelIdsEnd {
            chain_hash: query.chain_hash,
            full_information,
            unknown: Default::default(),
        };
        state.end_answer(peer, end.into());
    }
}

impl State {
    fn take_update(&mut self, peer: Option<NodeId>, update: Option<Verified<ChannelUpdate>>) {
        let Some(update) = update else { return };
        let relayed = update.get().clone();
        // "MUST NOT propagate" what its sender meant for us alone (`dont_forward`).
        let private = relayed.body.is_for_receiver_only();
        if self.graph.update_channel(update).is_ok() && peer.is_some() && !private {
            self.relay(peer, relayed.into());
        }
    }

    fn relay(&mut self, from: Option<NodeId>, message: RoutingMessage) {
        if self.relay.len() < MAX_RELAY {
            self.relay.push_back((from, message));
        }
    }

    fn answer_range(&mut self, peer: NodeId, query: &QueryChannelRange, ours: bool) {
        /// Ids in one reply: 8 bytes each, far below the longest message.
        const IDS_PER_REPLY: usize = 7_000;
        let end = query.first_blocknum.saturating_add(query.number_of_blocks);
        let first = ShortChannelId(u64::from(query.first_blocknum) << 40);
        let found = self.graph.channels_from(first).map(|channel| channel.scid);
        let ids: alloc::vec::Vec<ShortChannelId> =
            if ours { found.take_while(|scid| scid.block() < end).collect() } else { alloc::vec::Vec::new() };
        let Some(owed) = self.peers.wake(&peer) else { return };
        let mut chunks: alloc::vec::Vec<&[ShortChannelId]> = ids.chunks(IDS_PER_REPLY).collect();
        if chunks.is_empty() {
            chunks.push(&[]);
        }
        let last = chunks.len().saturating_sub(1);
        let mut from = query.first_blocknum;
        for (at, chunk) in chunks.into_iter().enumerate() {
            // Ranges of replies must follow on each other and cover the query (BOLT 7).
            let to = if at == last { end } else { chunk.last().map_or(from, |scid| scid.block()) };
            let reply = ReplyChannelRange {
                chain_hash: query.chain_hash,
                first_blocknum: from,
                number_of_blocks: to.saturating_sub(from),
                sync_complete: u8::from(at == last && ours),
                encoded_short_ids: EncodedArray::of_short_channel_ids(chunk.to_vec()),
                timestamps: None,
                checksums: None,
                unknown: Default::default(),
            };
            owed.answer(reply.into());
            from = to;
        }
    }
}
