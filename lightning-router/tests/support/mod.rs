//! Gossip with real keys and signatures, and what every test of the router does with it.
#![allow(dead_code, reason = "each test takes what it needs")]
pub(crate) mod model;
pub(crate) mod unsigned;

use bitcoin::constants::ChainHash;
use bitcoin::hashes::{Hash as _, sha256};
use bitcoin::{Amount, Block, BlockHash, Network, OutPoint, TxOut, Txid};
use lightning_router::{Router, RouterConfig, Utxo, UtxoCheck};
use lightning_traits::Secp;
use lightning_traits::event::MessageSendEvent;
use lightning_traits::feature::Features;
use lightning_traits::id::{NodeId, PaymentId, ShortChannelId};
use lightning_traits::interface::{ChainListener, MessageSendEventsProvider, RoutingMessageHandler};
use lightning_traits::route::RouteQuery;
use lightning_traits::tx::script;
use lightning_traits::units::{BlockHeight, CltvDelta, Msat};
use lightning_traits::wire::{
    ChannelAnnouncement, ChannelAnnouncementBody, ChannelUpdate, ChannelUpdateBody, GossipTimestampFilter,
    Init, Message, NodeAnnouncement, NodeAnnouncementBody, RoutingMessage,
};
use secp256k1::SecretKey;

pub(crate) const CHAIN: ChainHash = ChainHash::REGTEST;
/// A time that all tests agree on; blocks and updates are near it.
pub(crate) const NOW: u32 = 1_760_000_000;
/// Two weeks and a second.
pub(crate) const STALE: u32 = 1_209_601;
/// What a channel of these tests holds.
pub(crate) const CAPACITY: Amount = Amount::from_sat(1_000_000);

/// A key from a name.
pub(crate) fn secret(name: &str) -> SecretKey {
    SecretKey::from_slice(&sha256::Hash::hash(name.as_bytes()).to_byte_array()).unwrap()
}

pub(crate) fn scid(block: u32, index: u32) -> ShortChannelId {
    ShortChannelId::new(block, index, 0).unwrap()
}

/// Signs gossip of nodes that have names, or numbers.
pub(crate) struct Signer {
    pub(crate) secp: Secp,
}

impl Signer {
    pub(crate) fn new() -> Self {
        Self { secp: Secp::new() }
    }

    pub(crate) fn id(&self, name: &str) -> NodeId {
        secret(name).public_key(&self.secp).into()
    }

    /// The two names in the order of their node ids.
    pub(crate) fn sorted<'a>(&self, one: &'a str, two: &'a str) -> [&'a str; 2] {
        if self.id(one) < self.id(two) { [one, two] } else { [two, one] }
    }

    pub(crate) fn announcement_body(
        &self,
        scid: ShortChannelId,
        one: &str,
        two: &str,
    ) -> ChannelAnnouncementBody {
        let [first, second] = self.sorted(one, two);
        ChannelAnnouncementBody {
            features: Features::empty(),
            chain_hash: CHAIN,
            short_channel_id: scid,
            node_id_1: self.id(first),
            node_id_2: self.id(second),
            bitcoin_key_1: self.id(&funding(scid, first)),
            bitcoin_key_2: self.id(&funding(scid, second)),
            excess: Default::default(),
        }
    }

    pub(crate) fn sign_announcement(
        &self,
        body: ChannelAnnouncementBody,
        one: &str,
        two: &str,
    ) -> ChannelAnnouncement {
        let scid = body.short_channel_id;
        let [first, second] = self.sorted(one, two);
        let digest = body.signed_hash();
        let sign = |name: &str| self.secp.sign_ecdsa(&digest, &secret(name));
        ChannelAnnouncement {
            node_signature_1: sign(first),
            node_signature_2: sign(second),
            bitcoin_signature_1: sign(&funding(scid, first)),
            bitcoin_signature_2: sign(&funding(scid, second)),
            body,
        }
    }

    pub(crate) fn announcement(&self, scid: ShortChannelId, one: &str, two: &str) -> ChannelAnnouncement {
        self.sign_announcement(self.announcement_body(scid, one, two), one, two)
    }

    /// What `from` asks for carrying over its channel with `to`.
    pub(crate) fn update(
        &self,
        scid: ShortChannelId,
        from: &str,
        to: &str,
        change: impl FnOnce(&mut ChannelUpdateBody),
    ) -> ChannelUpdate {
        let mut body = ChannelUpdateBody {
            chain_hash: CHAIN,
            short_channel_id: scid,
            timestamp: NOW,
            message_flags: ChannelUpdateBody::MUST_BE_ONE,
            channel_flags: u8::from(self.sorted(from, to)[0] != from),
            cltv_expiry_delta: CltvDelta::new(40),
            htlc_minimum_msat: Msat::new(1),
            fee_base_msat: 1_000,
            fee_proportional_millionths: 100,
            htlc_maximum_msat: Msat::from_amount(CAPACITY),
            excess: Default::default(),
        };
        change(&mut body);
        ChannelUpdate { signature: self.secp.sign_ecdsa(&body.signed_hash(), &secret(from)), body }
    }

    pub(crate) fn node(
        &self,
        name: &str,
        change: impl FnOnce(&mut NodeAnnouncementBody),
    ) -> NodeAnnouncement {
        let mut body = NodeAnnouncementBody {
            features: Features::empty(),
            timestamp: NOW,
            node_id: self.id(name),
            rgb_color: [1, 2, 3],
            alias: Default::default(),
            addresses: Default::default(),
            excess: Default::default(),
        };
        change(&mut body);
        NodeAnnouncement { signature: self.secp.sign_ecdsa(&body.signed_hash(), &secret(name)), body }
    }
}

fn funding(scid: ShortChannelId, node: &str) -> String {
    format!("funding of {scid} by {node}")
}

/// Where the tests put the funding output of a channel.
pub(crate) fn outpoint(scid: ShortChannelId) -> OutPoint {
    let txid = sha256::Hash::hash(&scid.0.to_be_bytes()).to_byte_array();
    OutPoint { txid: Txid::from_byte_array(txid), vout: u32::from(scid.vout()) }
}

/// The output that an announcement claims.
pub(crate) fn utxo(announcement: &ChannelAnnouncement, value: Amount) -> Utxo {
    let keys = [announcement.body.bitcoin_key_1, announcement.body.bitcoin_key_2];
    let mut keys = keys.map(|key| key.to_public_key().unwrap());
    keys.sort_by_key(|key| key.serialize());
    let script_pubkey = script::funding(&keys[0], &keys[1]).to_p2wsh();
    Utxo { outpoint: outpoint(announcement.body.short_channel_id), output: TxOut { value, script_pubkey } }
}

/// A router of the node "us".
pub(crate) fn router(utxo_check: UtxoCheck) -> Router {
    Router::new(config(utxo_check))
}

pub(crate) fn config(utxo_check: UtxoCheck) -> RouterConfig {
    RouterConfig { utxo_check, ..RouterConfig::new(Network::Regtest, Signer::new().id("us")) }
}

/// An `init` of a peer that has gossip.
pub(crate) fn init() -> Init {
    Init {
        globalfeatures: Features::empty(),
        features: Features::from_bits([7]),
        networks: None,
        remote_addr: None,
        unknown: Default::default(),
    }
}

/// Hands a message of "peer" to the router.
pub(crate) fn give(router: &Router, message: impl Into<RoutingMessage>) {
    give_from(router, "peer", message);
}

pub(crate) fn give_from(router: &Router, peer: &str, message: impl Into<RoutingMessage>) {
    router.on_routing_message(Signer::new().id(peer), message.into());
}

/// All that the router has to send now.
pub(crate) fn drain(router: &Router) -> Vec<MessageSendEvent> {
    std::iter::from_fn(|| router.next_message()).collect()
}

/// What the router relays now, with whom it came from.
pub(crate) fn relayed(router: &Router) -> Vec<(RoutingMessage, Option<NodeId>)> {
    let broadcast = |event| match event {
        MessageSendEvent::Broadcast { message, from } => Some((message, from)),
        _ => None,
    };
    drain(router).into_iter().filter_map(broadcast).collect()
}

/// What the router sends to one peer now, by one piece.
pub(crate) fn sent_to(router: &Router, peer: &NodeId) -> Vec<RoutingMessage> {
    let mine = |event| match event {
        MessageSendEvent::Send { to, message } if to == *peer => Some(routing(message)),
        _ => None,
    };
    drain(router).into_iter().filter_map(mine).collect()
}

/// What the router sends to one peer, piece by piece until nothing is left; says the largest piece in bytes.
pub(crate) fn all_sent_to(router: &Router, peer: &NodeId) -> (Vec<RoutingMessage>, usize) {
    let (mut all, mut largest) = (Vec::new(), 0);
    loop {
        let piece = sent_to(router, peer);
        if piece.is_empty() {
            return (all, largest);
        }
        largest = largest.max(piece.iter().map(|message| message.to_wire().unwrap().len()).sum());
        all.extend(piece);
        router.gossip_has_room(*peer);
    }
}

pub(crate) fn routing(message: Message) -> RoutingMessage {
    RoutingMessage::try_from(message).expect("the router sends gossip only")
}

/// Connects a peer by name, and drops what the router asks it.
pub(crate) fn connect(router: &Router, peer: &str) -> NodeId {
    let id = Signer::new().id(peer);
    router.peer_connected(id, &init(), true);
    let asked = sent_to(router, &id);
    assert!(matches!(asked[..], [RoutingMessage::GossipTimestampFilter(_)]));
    router.gossip_has_room(id);
    id
}

/// A block of that height and time with these spends.
pub(crate) fn block(router: &Router, height: u32, time: u32, spends: &[OutPoint]) -> Block {
    let input = |outpoint: &OutPoint| bitcoin::TxIn { previous_output: *outpoint, ..Default::default() };
    let transaction = |outpoint| bitcoin::Transaction {
        version: bitcoin::transaction::Version::TWO,
        lock_time: bitcoin::absolute::LockTime::ZERO,
        input: vec![input(outpoint)],
        output: Vec::new(),
    };
    let mut block = bitcoin::constants::genesis_block(Network::Regtest);
    block.header.prev_blockhash = router.best_block().map_or(BlockHash::all_zeros(), |(hash, _)| hash);
    block.header.time = time;
    block.header.nonce = height;
    block.txdata = spends.iter().map(transaction).collect();
    router.block_connected(&block, BlockHeight::new(height));
    block
}

/// Announces a channel between two nodes, with updates of both, to a router that trusts its peers or is answered.
pub(crate) fn add_channel(
    router: &Router,
    scid: ShortChannelId,
    one: &str,
    two: &str,
) -> ChannelAnnouncement {
    let signer = Signer::new();
    let announcement = signer.announcement(scid, one, two);
    give(router, announcement.clone());
    if router.next_utxo_query() == Some(scid) {
        router.answer_utxo(scid, Some(utxo(&announcement, CAPACITY)));
    }
    give(router, signer.update(scid, one, two, |_| {}));
    give(router, signer.update(scid, two, one, |_| {}));
    announcement
}

pub(crate) fn filter(first_timestamp: u32, timestamp_range: u32) -> GossipTimestampFilter {
    GossipTimestampFilter { chain_hash: CHAIN, first_timestamp, timestamp_range, unknown: Default::default() }
}

/// A question without limits.
pub(crate) fn query(payer: &str, payee: &str, msat: u64) -> RouteQuery {
    let signer = Signer::new();
    RouteQuery {
        final_cltv_delta: CltvDelta::new(18),
        max_total_cltv: 2_016,
        height: BlockHeight::new(700_000),
        ..RouteQuery::new(PaymentId([7; 32]), signer.id(payer), signer.id(payee), Msat::new(msat))
    }
}
