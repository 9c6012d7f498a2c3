//! Routers with graphs that nobody signed: a snapshot's signatures were checked before it was written, so a snapshot
//! written here makes a graph of any size in no time. Doubles as a second description of the snapshot's format.
#![allow(dead_code, reason = "each test takes what it needs")]

extern crate alloc;

use bitcoin::constants::ChainHash;
use bitcoin::hashes::{Hash as _, sha256};
use bitcoin::{Amount, BlockHash, Network, OutPoint};
use lightning_router::{Prices, Router, RouterConfig, UtxoCheck};
use lightning_traits::codec::{Encode, TlvRecords, encode_list, encode_versioned};
use lightning_traits::feature::Features;
use lightning_traits::id::{NodeId, ShortChannelId};
use lightning_traits::record;
use lightning_traits::units::{BlockHeight, Msat};
use lightning_traits::wire::{
    ChannelAnnouncement, ChannelAnnouncementBody, ChannelUpdate, ChannelUpdateBody,
};
use secp256k1::ecdsa::Signature;

use super::{CHAIN, NOW, model::Edge};

/// A channel and what its ends ask for: by the node whose id sorts first, then by the other.
#[derive(Clone, Debug)]
pub(crate) struct Channel {
    pub(crate) scid: ShortChannelId,
    pub(crate) nodes: [NodeId; 2],
    pub(crate) capacity: Option<Amount>,
    /// Terms, and whether the direction is disabled.
    pub(crate) directions: [Option<(Edge, bool)>; 2],
}

/// A router without prices for anything but fees, with this graph.
pub(crate) fn router(us: NodeId, channels: &[Channel]) -> Router {
    let config = RouterConfig {
        utxo_check: UtxoCheck::Trusted,
        prices: Prices::FEES,
        ..RouterConfig::new(Network::Regtest, us)
    };
    let graph = seal(&Body(channels.iter().map(stored).collect()));
    let tip = Some((BlockHash::all_zeros(), BlockHeight::new(700_000)));
    Router::restore(config, &seal(&Whole { chain: CHAIN, tip, now: NOW, graph }))
        .expect("the format is as here")
}

fn seal(body: &impl Encode) -> Vec<u8> {
    let bytes = encode_versioned(1, body, &TlvRecords::new());
    [&sha256::Hash::hash(&bytes).to_byte_array()[..], &bytes].concat()
}

struct Whole {
    chain: ChainHash,
    tip: Option<(BlockHash, BlockHeight)>,
    now: u32,
    graph: Vec<u8>,
}
record!(struct Whole { chain, tip, now, graph });

struct Body(Vec<Stored>);

impl Encode for Body {
    fn encode(&self, out: &mut Vec<u8>) {
        encode_list(&self.0, out);
        // No node announcements.
        out.push(0);
    }
}

struct Stored {
    announcement: Vec<u8>,
    capacity: Option<Amount>,
    funding: Option<OutPoint>,
    first: Option<Vec<u8>>,
    second: Option<Vec<u8>>,
    spent: Option<BlockHeight>,
    since: u32,
}
record!(struct Stored { announcement, capacity, funding, first, second, spent, since });

fn stored(channel: &Channel) -> Stored {
    let signature = Signature::from_compact(&[1; 64]).expect("below the order");
    let [one, two] = channel.nodes;
    assert!(one < two);
    let announcement = ChannelAnnouncement {
        node_signature_1: signature,
        node_signature_2: signature,
        bitcoin_signature_1: signature,
        bitcoin_signature_2: signature,
        body: ChannelAnnouncementBody {
            features: Features::empty(),
            chain_hash: CHAIN,
            short_channel_id: channel.scid,
            node_id_1: one,
            node_id_2: two,
            bitcoin_key_1: one,
            bitcoin_key_2: two,
            excess: Default::default(),
        },
    };
    let update = |side: usize| {
        let (edge, disabled) = channel.directions[side].as_ref()?;
        let disabled = if *disabled { ChannelUpdateBody::DISABLED } else { 0 };
        let body = ChannelUpdateBody {
            chain_hash: CHAIN,
            short_channel_id: channel.scid,
            timestamp: NOW,
            message_flags: ChannelUpdateBody::MUST_BE_ONE,
            channel_flags: side as u8 | disabled,
            cltv_expiry_delta: lightning_traits::units::CltvDelta::new(edge.delta as u16),
            htlc_minimum_msat: Msat::new(edge.minimum),
            fee_base_msat: edge.base as u32,
            fee_proportional_millionths: edge.millionths as u32,
            htlc_maximum_msat: Msat::new(edge.maximum),
            excess: Default::default(),
        };
        Some(ChannelUpdate { signature, body }.to_bytes())
    };
    Stored {
        announcement: announcement.to_bytes(),
        funding: channel.capacity.map(|_| super::outpoint(channel.scid)),
        capacity: channel.capacity,
        first: update(0),
        second: update(1),
        spent: None,
        since: NOW,
    }
}
