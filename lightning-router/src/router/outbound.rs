//! What peers are owed: relayed news, answers, dumps of the graph.
//!
//! # Invariants
//! - a `channel_announcement` goes out right before the first update that may go out, never alone (BOLT 7,
//!   "If a `channel_announcement` has no corresponding `channel_update`s: MUST NOT send the `channel_announcement`")
//! - what its sender meant for us alone (`dont_forward`) goes to nobody
use alloc::vec::Vec;

use lightning_traits::event::MessageSendEvent;
use lightning_traits::id::{NodeId, ShortChannelId};
use lightning_traits::wire::{
    ChannelUpdate, ChannelUpdateChecksums, ChannelUpdateTimestamps, EncodedArray, QueryChannelRange,
    QueryShortChannelIds, ReplyChannelRange, RoutingMessage,
};

use super::{MAX_RELAY, State};
use crate::gossip::{Dump, IdsQuestion, Peer, RangeQuestion};
use crate::graph::{ChannelInfo, Graph};

/// Ids in one reply: with timestamps and checksums 24 bytes each, so that two replies fit into a piece.
const IDS_PER_REPLY: usize = 1_300;
/// Channels that one step of a dump looks at.
const CHANNELS_PER_STEP: usize = 64;

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

    /// Tells all who want it of a new update, and before it of a channel that nobody was told of.
    pub(super) fn relay_update(&mut self, from: NodeId, update: ChannelUpdate) {
        let scid = update.body.short_channel_id;
        let Some(channel) = self.graph.channel_mut(scid) else { return };
        let is_news = !core::mem::replace(&mut channel.relayed, true);
        let announcement = is_news.then(|| channel.announcement.clone());
        let nodes = self.graph.channel(scid).and_then(|channel| self.graph.nodes_of(channel));
        let Some(announcement) = announcement else { return self.relay(from, update.into()) };
        self.relay(from, announcement.into());
        self.relay(from, update.into());
        for node in nodes.into_iter().flatten() {
            self.relay_node(from, &node);
        }
    }

    /// Tells all who want it what a node says of itself, once a channel of the node is known to them.
    pub(super) fn relay_node(&mut self, from: NodeId, id: &NodeId) {
        let Some(node) = self.graph.node(id) else { return };
        let is_known = self.graph.channels_of(node).any(|channel| channel.relayed);
        let announcement = node.announcement.as_ref().filter(|_| is_known && node.may_forward());
        if let Some(announcement) = announcement.cloned() {
            self.relay(from, announcement.into());
        }
    }

    fn relay(&mut self, from: NodeId, message: RoutingMessage) {
        if self.relay.len() < MAX_RELAY {
            self.relay.push_back((Some(from), message));
        }
    }

    fn next_for(&mut self, peer: NodeId) -> Option<RoutingMessage> {
        let owed = self.peers.get_mut(&peer)?;
        while !owed.has_ready() {
            if !advance(&self.graph, owed) {
                return None;
            }
        }
        owed.pop()
    }
}

/// Takes the answers to a peer one step on; `false` when it is owed nothing.
fn advance(graph: &Graph, owed: &mut Peer) -> bool {
    // Short answers before the long one.
    if let Some(question) = owed.range.take() {
        let (reply, rest) = next_reply(graph, question);
        owed.range = rest;
        owed.push(alloc::vec![reply]);
    } else if let Some(question) = owed.ids.take() {
        let (messages, rest) = next_of_ids(graph, question);
        owed.ids = rest;
        owed.push(messages);
    } else if let Some(dump) = owed.dump.take() {
        let wants = |timestamp: u32| owed.wants(timestamp);
        let (messages, rest) = next_of_dump(graph, dump, &wants);
        owed.dump = rest;
        owed.push(messages);
    } else {
        return false;
    }
    true
}

fn next_of_dump(
    graph: &Graph,
    dump: Dump,
    wants: &dyn Fn(u32) -> bool,
) -> (Vec<RoutingMessage>, Option<Dump>) {
    let mut messages = Vec::new();
    match dump {
        Dump::Channels(first) => {
            let mut last = None;
            for channel in graph.channels_from(first).take(CHANNELS_PER_STEP) {
                last = Some(channel.scid);
                // "If the funding output of the `channel_announcement` has been spent: SHOULD NOT send".
                let updates = channel.public_updates().filter(|_| channel.spent.is_none());
                let mut updates = updates.filter(|update| wants(update.body.timestamp)).peekable();
                if updates.peek().is_some() {
                    messages.push(channel.announcement.clone().into());
                    messages.extend(updates.cloned().map(RoutingMessage::from));
                }
            }
            let next = last.and_then(|last| last.0.checked_add(1));
            (messages, Some(next.map_or(Dump::Nodes(0), |next| Dump::Channels(ShortChannelId(next)))))
        }
        Dump::Nodes(first) => {
            let Some((number, node)) = graph.node_from(first) else { return (messages, None) };
            let announcement = node.announcement.as_ref().filter(|announcement| {
                node.may_forward()
                    && wants(announcement.body.timestamp)
                    && graph.channels_of(node).any(|channel| {
                        channel.spent.is_none()
                            && channel.public_updates().any(|update| wants(update.body.timestamp))
                    })
            });
            messages.extend(announcement.cloned().map(RoutingMessage::from));
            (messages, Some(Dump::Nodes(number.saturating_add(1))))
        }
    }
}

fn next_of_ids(graph: &Graph, mut question: IdsQuestion) -> (Vec<RoutingMessage>, Option<IdsQuestion>) {
    let Some((scid, wanted)) = question.wanted.pop_front() else {
        // "MUST follow these responses with `reply_short_channel_ids_end`."
        return (alloc::vec![question.end], None);
    };
    let mut messages = Vec::new();
    let Some(channel) = graph.channel(scid) else { return (messages, Some(question)) };
    if wanted & QueryShortChannelIds::WANT_ANNOUNCEMENT != 0 {
        messages.push(channel.announcement.clone().into());
    }
    let flags = [QueryShortChannelIds::WANT_UPDATE_1, QueryShortChannelIds::WANT_UPDATE_2];
    let updates = channel.public_updates().filter(|update| {
        let [first, second] = flags;
        wanted & if update.body.is_by_node_2() { second } else { first } != 0
    });
    messages.extend(updates.cloned().map(RoutingMessage::from));
    let flags = [QueryShortChannelIds::WANT_NODE_1, QueryShortChannelIds::WANT_NODE_2];
    for (id, flag) in graph.nodes_of(channel).into_iter().flatten().zip(flags) {
        let announcement =
            graph.node(&id).filter(|node| node.may_forward()).and_then(|node| node.announcement.as_ref());
        // "SHOULD avoid sending duplicate `node_announcements` in response to a single `query_short_channel_ids`."
        if let Some(announcement) = announcement.filter(|_| wanted & flag != 0)
            && question.told.insert(id)
        {
            messages.push(announcement.clone().into());
        }
    }
    (messages, Some(question))
}

/// One reply to a range query, and what is left of the question.
fn next_reply(graph: &Graph, question: RangeQuestion) -> (RoutingMessage, Option<RangeQuestion>) {
    let RangeQuestion { query, from_block, from, ours } = question;
    let end = query.first_blocknum.saturating_add(query.number_of_blocks);
    let in_range = graph.channels_from(from).take_while(|channel| ours && channel.scid.block() < end);
    // A channel without updates is not worth asking for, and a closed one neither.
    let known =
        in_range.filter(|channel| channel.spent.is_none() && channel.public_updates().next().is_some());
    let mut channels: Vec<&ChannelInfo> = known.take(IDS_PER_REPLY.saturating_add(1)).collect();
    let next = if channels.len() > IDS_PER_REPLY { channels.pop().map(|next| next.scid) } else { None };
    let last_block = channels.last().map_or(from_block, |last| last.scid.block());
    // All ids are inside the range of their reply, and ranges follow on each other; a block may be split:
    // "successive `reply_channel_range` message: MUST have `first_blocknum` equal or greater than the previous".
    let to = if next.is_some() { last_block.saturating_add(1) } else { end };
    let options = query.query_option.as_ref().map_or(0, |option| option.0);
    let reply = ReplyChannelRange {
        chain_hash: query.chain_hash,
        first_blocknum: from_block,
        number_of_blocks: to.saturating_sub(from_block),
        // "MUST set `sync_complete` to `false` if this is not the final `reply_channel_range`."
        sync_complete: u8::from(next.is_none() && ours),
        encoded_short_ids: EncodedArray::of_short_channel_ids(
            channels.iter().map(|channel| channel.scid).collect(),
        ),
        timestamps: (options & QueryChannelRange::WANT_TIMESTAMPS != 0).then(|| timestamps_of(&channels)),
        checksums: (options & QueryChannelRange::WANT_CHECKSUMS != 0).then(|| checksums_of(&channels)),
        unknown: Default::default(),
    };
    let rest = next.map(|from| RangeQuestion {
        from_block: if from.block() == last_block { last_block } else { to },
        from,
        query,
        ours,
    });
    (reply.into(), rest)
}

fn timestamps_of(channels: &[&ChannelInfo]) -> EncodedArray {
    let pairs: Vec<_> = channels
        .iter()
        .map(|channel| {
            let [one, two] = channel.each_public(|update| update.body.timestamp);
            ChannelUpdateTimestamps { timestamp_node_id_1: one, timestamp_node_id_2: two }
        })
        .collect();
    EncodedArray::of_timestamps(&pairs)
}

fn checksums_of(channels: &[&ChannelInfo]) -> Vec<ChannelUpdateChecksums> {
    channels
        .iter()
        .map(|channel| {
            let [one, two] = channel.each_public(|update| update.body.checksum());
            ChannelUpdateChecksums { checksum_node_id_1: one, checksum_node_id_2: two }
        })
        .collect()
}
