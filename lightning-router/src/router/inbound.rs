//! What comes from peers, and from ourselves.
use bitcoin::ScriptBuf;
use lightning_traits::event::MessageSendEvent;
use lightning_traits::feature::{Feature, Features};
use lightning_traits::id::{NodeId, ShortChannelId};
use lightning_traits::interface::{MessageSendEventsProvider, RoutingMessageHandler};
use lightning_traits::tx::script;
use lightning_traits::units::BlockHeight;
use lightning_traits::wire::{
    ChannelAnnouncement, ChannelAnnouncementBody, ChannelUpdate, GossipTimestampFilter, Init,
    NodeAnnouncement, QueryChannelRange, QueryShortChannelIds, ReplyShortChannelIdsEnd, RoutingMessage,
};

use super::{Router, State, Utxo, UtxoCheck};
use crate::gossip::{IdsQuestion, RangeQuestion, Unverified, Verified};
use crate::graph::Graph;

/// Seconds that a timestamp may lie ahead of the latest block, which on a test network may be old.
const MAX_AHEAD: u32 = 1_209_600;
/// Blocks that a channel's block may lie ahead of ours.
const MAX_BLOCKS_AHEAD: u32 = 144;

impl RoutingMessageHandler for Router {
    fn peer_connected(&self, peer: NodeId, init: &Init, _inbound: bool) {
        // A filter from the beginning of time asks for the whole graph, and for all that is new; it is the one query
        // that every peer answers (LDK answers no `query_short_channel_ids`).
        let mut filter = GossipTimestampFilter {
            chain_hash: self.config.chain(),
            first_timestamp: 0,
            timestamp_range: u32::MAX,
            unknown: Default::default(),
        };
        // BOLT 7: "If the receiver does not offer `gossip_queries`: SHOULD set `first_timestamp` to 0xFFFFFFFF and
        // `timestamp_range` to 0."
        if !init.combined_features().supports(Feature::GossipQueries) {
            filter.first_timestamp = u32::MAX;
            filter.timestamp_range = 0;
        }
        self.state.lock().peers.connect(peer).push(alloc::vec![filter.into()]);
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
            RoutingMessage::QueryChannelRange(message) => self.on_range_query(peer, message),
            RoutingMessage::QueryShortChannelIds(message) => self.on_ids_query(peer, &message),
            // We ask by filter only, so nobody owes us these.
            RoutingMessage::ReplyChannelRange(_) | RoutingMessage::ReplyShortChannelIdsEnd(_) => {}
        }
    }

    fn on_own_message(&self, message: &RoutingMessage) {
        match message {
            RoutingMessage::ChannelAnnouncement(message) => self.on_own_announcement(message),
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
        let mut state = self.state.lock();
        let now = state.now;
        let Some(taken) = state.pending.take(scid) else {
            // A channel of our own, which entered before it was looked up.
            let known = state.graph.channel(scid).map(|channel| funding_script(&channel.announcement.body));
            if let (Some(Some(script)), Some(utxo)) = (known, utxo)
                && script == utxo.output.script_pubkey
            {
                state.graph.set_funding(scid, utxo.outpoint, utxo.output.value);
            }
            return;
        };
        // BOLT 7: "if the `short_channel_id`'s output does NOT correspond to a P2WSH (using `bitcoin_key_1` and
        // `bitcoin_key_2` ...) OR the output is spent: MUST ignore the message."
        let expected = funding_script(&taken.announcement.get().body);
        let Some(utxo) = utxo.filter(|utxo| expected.as_ref() == Some(&utxo.output.script_pubkey)) else {
            state.pending.mark_absent(scid);
            return;
        };
        let (outpoint, value) = (utxo.outpoint, utxo.output.value);
        if state.graph.add_channel(taken.announcement, Some((outpoint, value)), now).is_err() {
            state.graph.set_funding(scid, outpoint, value);
        }
        for update in taken.updates.into_iter().flatten() {
            state.take_update(Some(taken.from), update);
        }
        for node in taken.nodes {
            state.take_node(Some(taken.from), node);
        }
    }

    /// The question of [`Router::next_utxo_query`] cannot be answered now, since whoever knows the chain does not answer.
    /// It comes again.
    pub fn defer_utxo(&self, scid: ShortChannelId) {
        self.state.lock().pending.ask_again(scid);
    }

    fn on_announcement(&self, peer: NodeId, announcement: ChannelAnnouncement) {
        let scid = announcement.body.short_channel_id;
        {
            let state = self.state.lock();
            if state.graph.channel(scid).is_some() || !state.pending.wants(scid) {
                return;
            }
            // Of a block that is far from being mined: there is nothing to look up.
            let is_ahead = |tip: BlockHeight| scid.block() > tip.plus(MAX_BLOCKS_AHEAD).get();
            if state.tip.is_some_and(|(_, tip)| is_ahead(tip)) {
                return;
            }
        }
        let Ok(verified) = Unverified(announcement).verify(&self.secp, self.config.chain()) else { return };
        let mut state = self.state.lock();
        if self.config.utxo_check == UtxoCheck::Trusted {
            let now = state.now;
            let _ = state.graph.add_channel(verified, None, now);
        } else if state.graph.channel(scid).is_none() {
            state.pending.add(verified, peer);
        }
    }

    /// Our own channel enters at once; the look-up only tells which output to watch.
    fn on_own_announcement(&self, announcement: &ChannelAnnouncement) {
        let scid = announcement.body.short_channel_id;
        let verified = Unverified(announcement.clone()).verify(&self.secp, self.config.chain());
        let Ok(verified) = verified else { return };
        self.enter_own(scid, verified);
        for peer in [announcement.body.node_id_1, announcement.body.node_id_2] {
            let early = self.state.lock().peers.get_mut(&peer).map(|peer| peer.take_early(scid));
            let (updates, node) = early.unwrap_or_default();
            updates.into_iter().for_each(|update| self.on_update(Some(peer), update));
            if let Some(node) = node {
                self.on_node(Some(peer), node);
            }
        }
    }

    fn enter_own(&self, scid: ShortChannelId, verified: Verified<ChannelAnnouncement>) {
        let mut state = self.state.lock();
        let waiting = state.pending.take(scid);
        let now = state.now;
        if state.graph.add_channel(verified, None, now).is_ok() {
            // Whoever broadcasts it tells the peers.
            if let Some(channel) = state.graph.channel_mut(scid) {
                channel.relayed = true;
            }
            if self.config.utxo_check == UtxoCheck::Required {
                state.pending.ask(scid);
            }
        }
        let Some(waiting) = waiting else { return };
        for update in waiting.updates.into_iter().flatten() {
            state.take_update(Some(waiting.from), update);
        }
        for node in waiting.nodes {
            state.take_node(Some(waiting.from), node);
        }
    }

    /// An update from a peer, from ourselves, or out of a failed payment.
    pub(super) fn on_update(&self, peer: Option<NodeId>, update: ChannelUpdate) {
        let body = &update.body;
        let (scid, by_node_2) = (body.short_channel_id, body.is_by_node_2());
        let signer = {
            let mut state = self.state.lock();
            let is_ahead = body.timestamp > state.now.saturating_add(MAX_AHEAD);
            // One that would be pruned with the next block would come and go for ever.
            if state.now != 0 && (is_ahead || Graph::is_stale(body.timestamp, state.now)) {
                return;
            }
            let direction = usize::from(by_node_2);
            let known = state.graph.channel(scid).and_then(|channel| channel.policy(direction));
            let known = known.map(|known| known.timestamp).max(state.pending.timestamp_of(scid, by_node_2));
            if known.is_some_and(|known| known >= body.timestamp) {
                return;
            }
            let signer = state.graph.signer_of(scid, by_node_2);
            let Some(signer) = signer.or_else(|| state.pending.signer_of(scid, by_node_2)) else {
                if let Some(peer) = peer.and_then(|peer| state.peers.get_mut(&peer)) {
                    peer.keep_early(update);
                }
                return;
            };
            signer
        };
        let verified = Unverified(update).verify(&self.secp, self.config.chain(), &signer);
        let Ok(verified) = verified else { return };
        let mut state = self.state.lock();
        if let Some(update) = state.pending.keep_update(verified) {
            state.take_update(peer, update);
        }
    }

    fn on_node(&self, peer: Option<NodeId>, node: NodeAnnouncement) {
        {
            let mut state = self.state.lock();
            let known = state.graph.node(&node.body.node_id);
            let known = known.map(|known| known.announcement.as_ref().map(|known| known.body.timestamp));
            let is_unknown = known.is_none();
            let is_news = known.is_some_and(|known| known.is_none_or(|known| known < node.body.timestamp));
            if !is_news && !state.pending.wants_node(&node) {
                // Its channel with us may be announced in a moment.
                let itself = peer.filter(|peer| is_unknown && *peer == node.body.node_id);
                if let Some(itself) = itself.and_then(|peer| state.peers.get_mut(&peer)) {
                    itself.keep_early_node(node);
                }
                return;
            }
        }
        let Ok(verified) = Unverified(node).verify(&self.secp) else { return };
        self.state.lock().take_node(peer, verified);
    }

    fn on_filter(&self, peer: NodeId, filter: &GossipTimestampFilter) {
        if filter.chain_hash == self.config.chain()
            && let Some(owed) = self.state.lock().peers.wake(&peer)
        {
            owed.set_filter(filter.first_timestamp, filter.timestamp_range);
        }
    }

    fn on_range_query(&self, peer: NodeId, query: QueryChannelRange) {
        let first = ShortChannelId::new(query.first_blocknum, 0, 0);
        let question = RangeQuestion {
            from_block: query.first_blocknum,
            // No channel is in a block whose number has more than three bytes.
            from: first.unwrap_or(ShortChannelId(u64::MAX)),
            ours: query.chain_hash == self.config.chain(),
            query,
        };
        if let Some(owed) = self.state.lock().peers.wake(&peer) {
            owed.range.get_or_insert(question);
        }
    }

    fn on_ids_query(&self, peer: NodeId, query: &QueryShortChannelIds) {
        let ours = query.chain_hash == self.config.chain();
        let ids = query.encoded_short_ids.short_channel_ids().unwrap_or_default();
        let flags = query.query_flags.as_ref().map(|flags| flags.query_flags().unwrap_or_default());
        // Of each channel everything, when the query does not say what.
        let flags = flags.unwrap_or_else(|| alloc::vec![u64::MAX; ids.len()]);
        let wanted = if ours { ids.into_iter().zip(flags).collect() } else { Default::default() };
        let end = ReplyShortChannelIdsEnd {
            chain_hash: query.chain_hash,
            full_information: u8::from(ours),
            unknown: Default::default(),
        };
        if let Some(owed) = self.state.lock().peers.wake(&peer) {
            owed.ids.get_or_insert(IdsQuestion { wanted, told: Default::default(), end: end.into() });
        }
    }
}

impl State {
    fn take_update(&mut self, peer: Option<NodeId>, update: Verified<ChannelUpdate>) {
        let relayed = update.get().clone();
        // "MUST NOT forward" what its sender meant for us alone (`dont_forward`).
        let private = relayed.body.is_for_receiver_only();
        let is_news = self.graph.update_channel(update).is_ok();
        if let Some(peer) = peer.filter(|_| is_news && !private) {
            self.relay_update(peer, relayed);
        }
    }

    fn take_node(&mut self, peer: Option<NodeId>, node: Verified<NodeAnnouncement>) {
        let id = node.get().body.node_id;
        // For a node whose channels all wait: until one of them enters.
        if self.pending.wants_node(node.get()) {
            self.pending.keep_node(node.clone());
        }
        let is_news = self.graph.update_node(node).is_ok();
        if let Some(peer) = peer.filter(|_| is_news) {
            self.relay_node(peer, &id);
        }
    }
}

/// The script of the funding output that an announcement claims (BOLT 3, "Funding Transaction Output").
fn funding_script(body: &ChannelAnnouncementBody) -> Option<ScriptBuf> {
    let (one, two) = (body.bitcoin_key_1.to_public_key().ok()?, body.bitcoin_key_2.to_public_key().ok()?);
    let (lesser, greater) = if one.serialize() <= two.serialize() { (one, two) } else { (two, one) };
    Some(script::funding(&lesser, &greater).to_p2wsh())
}
