//! Dumps by `gossip_timestamp_filter`, streamed in pieces, and answers to queries (BOLT 7, "Query Messages").
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
mod support;

use bitcoin::constants::ChainHash;
use lightning_router::{Router, UtxoCheck};
use lightning_traits::codec::BigSize;
use lightning_traits::id::{NodeId, ShortChannelId};
use lightning_traits::interface::RoutingMessageHandler;
use lightning_traits::wire::{
    EncodedArray, GossipTimestampFilter, QueryChannelRange, QueryShortChannelIds, ReplyChannelRange,
    RoutingMessage,
};
use support::{
    CHAIN, NOW, Signer, add_channel, all_sent_to, block, connect, drain, filter, give, give_from, init,
    router, scid, sent_to,
};

const PIECE: usize = 64 * 1024;

/// `count` channels in a ring of `nodes` nodes, three to a block from block 100 on.
fn ring(count: u32, nodes: u32) -> Router {
    let (router, signer) = (router(UtxoCheck::Trusted), Signer::new());
    for at in 0..count {
        let [one, two] = [at % nodes, (at + 1) % nodes].map(|node| format!("node {node}"));
        add_channel(&router, scid(100 + at / 3, at), &one, &two);
    }
    for node in 0..nodes {
        give(&router, signer.node(&format!("node {node}"), |_| {}));
    }
    drain(&router);
    router
}

fn range(first_blocknum: u32, number_of_blocks: u32, options: Option<u64>) -> QueryChannelRange {
    QueryChannelRange {
        chain_hash: CHAIN,
        first_blocknum,
        number_of_blocks,
        query_option: options.map(BigSize),
        unknown: Default::default(),
    }
}

fn ids_query(ids: Vec<ShortChannelId>, flags: Option<&[u64]>) -> QueryShortChannelIds {
    QueryShortChannelIds {
        chain_hash: CHAIN,
        encoded_short_ids: EncodedArray::of_short_channel_ids(ids),
        query_flags: flags.map(EncodedArray::of_query_flags),
        unknown: Default::default(),
    }
}

fn kinds(messages: &[RoutingMessage]) -> Vec<u16> {
    messages.iter().map(RoutingMessage::type_id).collect()
}

/// Checks the rules that hold for every sequence of replies; returns them with all ids in order.
fn replies(
    sent: Vec<RoutingMessage>,
    query: &QueryChannelRange,
) -> (Vec<ReplyChannelRange>, Vec<ShortChannelId>) {
    let replies: Vec<ReplyChannelRange> = sent
        .into_iter()
        .map(|message| match message {
            RoutingMessage::ReplyChannelRange(reply) => reply,
            other => panic!("{other:?}"),
        })
        .collect();
    let mut all = Vec::new();
    let mut covered = query.first_blocknum;
    for (at, reply) in replies.iter().enumerate() {
        let end = reply.first_blocknum + reply.number_of_blocks;
        assert!(reply.first_blocknum <= covered && end >= covered, "a gap before {reply:?}");
        assert_eq!(reply.sync_complete == 1, at + 1 == replies.len());
        let ids = reply.encoded_short_ids.short_channel_ids().unwrap();
        assert!(ids.iter().all(|id| id.block() >= reply.first_blocknum && id.block() < end), "{reply:?}");
        all.extend(ids);
        covered = end;
    }
    assert_eq!(covered, query.first_blocknum + query.number_of_blocks);
    assert!(all.is_sorted_by(|a, b| a < b), "each id once, in order");
    (replies, all)
}

#[test]
fn two_routers_back_to_back_agree_on_two_thousand_channels() {
    let full = ring(2_000, 500);
    let empty = router(UtxoCheck::Trusted);
    let signer = Signer::new();
    let (full_id, empty_id) = (signer.id("full"), signer.id("empty"));
    full.peer_connected(empty_id, &init(), true);
    empty.peer_connected(full_id, &init(), false);
    let mut pieces = 0;
    loop {
        let to_full = sent_to(&empty, &full_id);
        let to_empty = sent_to(&full, &empty_id);
        if to_full.is_empty() && to_empty.is_empty() {
            break;
        }
        let bytes: usize = to_empty.iter().map(|message| message.to_wire().unwrap().len()).sum();
        assert!(bytes <= PIECE, "a piece of {bytes} bytes");
        pieces += 1;
        to_full.into_iter().for_each(|message| full.on_routing_message(empty_id, message));
        to_empty.into_iter().for_each(|message| empty.on_routing_message(full_id, message));
        full.gossip_has_room(empty_id);
        empty.gossip_has_room(full_id);
    }
    assert!(pieces > 10);
    assert_eq!(full.counts(), empty.counts());
    assert_eq!(empty.counts().channels, 2_000);
    assert_eq!(empty.counts().policies, 4_000);
    let content = |router: &Router| {
        router.with_graph(|graph| {
            let channels = graph.channels_from(ShortChannelId(0));
            let channels: Vec<_> =
                channels.map(|channel| (channel.announcement.clone(), channel.updates.clone())).collect();
            let mut nodes: Vec<_> = graph.nodes().map(|node| (node.id, node.announcement.clone())).collect();
            nodes.sort_by_key(|(id, _)| *id);
            assert!(nodes.iter().all(|(_, announcement)| announcement.is_some()));
            (channels, nodes)
        })
    };
    assert!(content(&full) == content(&empty));
}

#[test]
fn nothing_more_is_sent_until_there_is_room() {
    let router = ring(400, 100);
    let peer = connect(&router, "reader");
    give_from(&router, "reader", filter(0, u32::MAX));
    let first = sent_to(&router, &peer);
    assert!(!first.is_empty());
    assert_eq!(drain(&router), []);
    assert_eq!(drain(&router), []);
    router.gossip_has_room(peer);
    assert!(!drain(&router).is_empty());
    router.peer_disconnected(peer);
    router.gossip_has_room(peer);
    assert_eq!(drain(&router), [], "a peer that is gone is owed nothing");
}

#[test]
fn a_filter_is_kept_to() {
    let (router, signer) = (router(UtxoCheck::Trusted), Signer::new());
    for (at, age) in [(1, 0), (2, 100), (3, 200)] {
        give(&router, signer.announcement(scid(at, 1), "alice", "bob"));
        give(&router, signer.update(scid(at, 1), "alice", "bob", |body| body.timestamp -= age));
    }
    give(&router, signer.announcement(scid(4, 1), "alice", "bob"));
    give(&router, signer.node("alice", |body| body.timestamp -= 100));
    give(&router, signer.node("bob", |_| {}));
    drain(&router);
    let peer = connect(&router, "reader");
    let asks = |first, range| {
        give_from(&router, "reader", filter(first, range));
        let (sent, _) = all_sent_to(&router, &peer);
        let channel = |message: &RoutingMessage| match message {
            RoutingMessage::ChannelAnnouncement(message) => Some(message.body.short_channel_id.block()),
            _ => None,
        };
        (sent.iter().filter_map(channel).collect::<Vec<_>>(), sent.len())
    };
    assert_eq!(asks(0, u32::MAX), (vec![1, 2, 3], 8));
    assert_eq!(asks(NOW, 1), (vec![1], 3));
    assert_eq!(asks(NOW - 100, 100), (vec![2], 3), "the end of the range is not in it");
    assert_eq!(asks(NOW - 100, 101), (vec![1, 2], 6));
    assert_eq!(asks(u32::MAX, 0), (vec![], 0));
    assert_eq!(asks(NOW + 1, u32::MAX), (vec![], 0));
    give_from(
        &router,
        "reader",
        GossipTimestampFilter { chain_hash: ChainHash::BITCOIN, ..filter(0, u32::MAX) },
    );
    assert_eq!(all_sent_to(&router, &peer).0, [], "of another chain we have nothing");
}

#[test]
fn filters_in_a_row_cost_a_bounded_number_of_dumps() {
    let router = ring(10, 10);
    let peer = connect(&router, "reader");
    let asks = || {
        give_from(&router, "reader", filter(0, u32::MAX));
        all_sent_to(&router, &peer).0.len()
    };
    let answered = (0..100).filter(|_| asks() > 0).count();
    assert_eq!(answered, 16);
    block(&router, 200, NOW, &[]);
    assert!(asks() > 0);
}

#[test]
fn spent_channels_are_not_sent() {
    let router = router(UtxoCheck::Required);
    add_channel(&router, scid(100, 1), "alice", "bob");
    block(&router, 200, NOW, &[support::outpoint(scid(100, 1))]);
    drain(&router);
    let peer = connect(&router, "reader");
    give_from(&router, "reader", filter(0, u32::MAX));
    assert_eq!(all_sent_to(&router, &peer).0, []);
}

#[test]
fn who_has_no_gossip_is_not_asked_for_it() {
    let router = router(UtxoCheck::Trusted);
    let peer = Signer::new().id("peer");
    let mut init = init();
    for (features, expected) in [(vec![7], (0, u32::MAX)), (vec![6], (0, u32::MAX)), (vec![], (u32::MAX, 0))]
    {
        init.features = lightning_traits::feature::Features::from_bits(features);
        router.peer_connected(peer, &init, true);
        let sent = sent_to(&router, &peer);
        assert_eq!(sent, [filter(expected.0, expected.1).into()]);
    }
}

#[test]
fn a_range_query_is_answered_in_replies_that_cover_it() {
    let router = ring(3_000, 40);
    let peer = connect(&router, "reader");
    let asks = |query: QueryChannelRange| {
        give_from(&router, "reader", query.clone());
        let (sent, largest) = all_sent_to(&router, &peer);
        assert!(largest <= PIECE);
        replies(sent, &query)
    };
    let (several, ids) = asks(range(0, 1_000_000, None));
    assert_eq!(ids.len(), 3_000);
    assert!(several.len() >= 3);
    assert!(several.iter().all(|reply| reply.timestamps.is_none() && reply.checksums.is_none()));
    assert_eq!(several.first().unwrap().first_blocknum, 0);
    // 1,300 ids a reply and three a block: the first cut is inside a block.
    assert_eq!(several[0].first_blocknum + several[0].number_of_blocks - 1, several[1].first_blocknum);
    let (_, ids) = asks(range(105, 2, None));
    assert_eq!(
        ids,
        [(105, 15), (105, 16), (105, 17), (106, 18), (106, 19), (106, 20)].map(|(b, i)| scid(b, i))
    );
    assert_eq!(asks(range(5_000, 10, None)).1, []);
    assert_eq!(asks(range(0, 100, None)).1, []);
}

#[test]
fn ranges_beyond_all_blocks_hold_nothing() {
    let router = ring(10, 10);
    let peer = connect(&router, "reader");
    for (first, number) in [(0x0100_0000, 1_000), (u32::MAX, 1), (u32::MAX, u32::MAX), (0x0100_0064, 50)] {
        give_from(&router, "reader", range(first, number, None));
        let sent = all_sent_to(&router, &peer).0;
        let [RoutingMessage::ReplyChannelRange(reply)] = &sent[..] else { panic!("{sent:?}") };
        assert_eq!(reply.encoded_short_ids.short_channel_ids(), Ok(vec![]));
        assert_eq!(reply.sync_complete, 1);
    }
    give_from(&router, "reader", QueryChannelRange { chain_hash: ChainHash::BITCOIN, ..range(0, 500, None) });
    let sent = all_sent_to(&router, &peer).0;
    let [RoutingMessage::ReplyChannelRange(reply)] = &sent[..] else { panic!("{sent:?}") };
    assert_eq!((reply.sync_complete, reply.chain_hash), (0, ChainHash::BITCOIN));
    assert_eq!(reply.encoded_short_ids.short_channel_ids(), Ok(vec![]));
}

#[test]
fn timestamps_and_checksums_come_when_asked_for() {
    let (router, signer) = (router(UtxoCheck::Trusted), Signer::new());
    let [first, second] = signer.sorted("alice", "bob");
    give(&router, signer.announcement(scid(100, 1), "alice", "bob"));
    let update = signer.update(scid(100, 1), second, first, |body| body.timestamp = NOW - 7);
    give(&router, update.clone());
    let peer = connect(&router, "reader");
    give_from(&router, "reader", range(100, 1, Some(3)));
    let (replies, _) = replies(all_sent_to(&router, &peer).0, &range(100, 1, None));
    let timestamps = replies[0].timestamps.as_ref().unwrap().timestamps().unwrap();
    assert_eq!((timestamps[0].timestamp_node_id_1, timestamps[0].timestamp_node_id_2), (0, NOW - 7));
    let checksums = replies[0].checksums.as_ref().unwrap();
    assert_eq!(
        (checksums[0].checksum_node_id_1, checksums[0].checksum_node_id_2),
        (0, update.body.checksum())
    );
}

#[test]
fn ids_are_answered_with_everything_or_with_what_the_flags_name() {
    let (router, signer) = (router(UtxoCheck::Trusted), Signer::new());
    for at in [1, 2] {
        add_channel(&router, scid(100, at), "alice", "bob");
    }
    give(&router, signer.announcement(scid(100, 3), "alice", "bob"));
    give(&router, signer.node("alice", |_| {}));
    give(&router, signer.node("bob", |_| {}));
    drain(&router);
    let peer: NodeId = connect(&router, "reader");
    let asks = |query| {
        give_from(&router, "reader", RoutingMessage::QueryShortChannelIds(query));
        kinds(&all_sent_to(&router, &peer).0)
    };
    let both = || vec![scid(100, 1), scid(100, 2)];
    assert_eq!(asks(ids_query(both(), None)), [256, 258, 258, 257, 257, 256, 258, 258, 262], "nodes once");
    assert_eq!(asks(ids_query(vec![scid(100, 3)], None)), [256, 257, 257, 262], "even without an update");
    assert_eq!(asks(ids_query(vec![scid(7, 7)], None)), [262]);
    assert_eq!(asks(ids_query(both(), Some(&[1, 2]))), [256, 258, 262]);
    assert_eq!(asks(ids_query(both(), Some(&[0, 0b11000]))), [257, 257, 262]);
    assert_eq!(asks(ids_query(both(), Some(&[1]))), [256, 262], "a flag that is missing asks for nothing");
    let other = QueryShortChannelIds { chain_hash: ChainHash::BITCOIN, ..ids_query(both(), None) };
    give_from(&router, "reader", other);
    let sent = all_sent_to(&router, &peer).0;
    let [RoutingMessage::ReplyShortChannelIdsEnd(end)] = &sent[..] else { panic!("{sent:?}") };
    assert_eq!(end.full_information, 0);
}

#[test]
fn a_large_answer_by_ids_is_complete_and_streamed() {
    let router = ring(2_000, 20);
    let peer = connect(&router, "reader");
    let ids: Vec<_> =
        router.with_graph(|graph| graph.channels_from(ShortChannelId(0)).map(|c| c.scid).collect());
    give_from(&router, "reader", ids_query(ids.clone(), None));
    // While one is open, another is against the rules, and dropped.
    for _ in 0..1_000 {
        give_from(&router, "reader", ids_query(ids.clone(), None));
    }
    let (sent, largest) = all_sent_to(&router, &peer);
    assert!(largest <= PIECE);
    assert_eq!(sent.len(), 2_000 * 3 + 20 + 1);
    assert_eq!(sent.last().unwrap().type_id(), 262);
}

#[test]
fn arrays_of_unknown_encodings_and_answers_that_nobody_asked_for_do_nothing() {
    let router = ring(10, 10);
    let peer = connect(&router, "reader");
    let zlib = EncodedArray(vec![1, 0x78, 0x9c, 3, 0]);
    give_from(&router, "reader", QueryShortChannelIds { encoded_short_ids: zlib, ..ids_query(vec![], None) });
    assert_eq!(kinds(&all_sent_to(&router, &peer).0), [262]);
    let double = EncodedArray([vec![0], 7_u64.to_be_bytes().repeat(100)].concat());
    give_from(
        &router,
        "reader",
        QueryShortChannelIds { encoded_short_ids: double, ..ids_query(vec![], None) },
    );
    assert_eq!(kinds(&all_sent_to(&router, &peer).0), [262], "no amplification by doubles");
    give_from(&router, "reader", range(0, 10, None));
    let reply = all_sent_to(&router, &peer).0.remove(0);
    for _ in 0..3 {
        give_from(&router, "reader", reply.clone());
    }
    assert_eq!(drain(&router), []);
    give_from(&router, "stranger", filter(0, u32::MAX));
    assert_eq!(drain(&router), [], "who is not connected gets nothing");
}
