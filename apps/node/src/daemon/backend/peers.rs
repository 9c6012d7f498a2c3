//! The node itself, and its peers.
use std::sync::atomic::Ordering;

use lightning_channel::channel::PhaseName;
use lightning_net_tokio::{NetError, PeerAddress};
use lightning_traits::id::NodeId;

use super::Answer;
use crate::api::kind::Peer;
use crate::api::{network_name, response};
use crate::daemon::node::Inner;
use crate::error::{ApiError, Code};

pub(super) fn info(node: &Inner) -> response::Info {
    let channels = node.channels.list_channels();
    let count =
        |is: fn(PhaseName) -> bool| channels.iter().filter(|channel| is(channel.phase)).count() as u32;
    let node_id = node.channels.node_id();
    response::Info {
        node_id: node_id.to_string(),
        alias: node.options.alias.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        network: network_name(node.options.network).to_owned(),
        chain: node.options.chain.url.clone(),
        block_height: node.height().get(),
        synced: !node.chain_down.load(Ordering::SeqCst),
        addresses: node.bound().iter().map(|address| format!("{node_id}@{address}")).collect(),
        peers: node.net.manager().peers().len() as u32,
        channels_open: count(|phase| {
            matches!(phase, PhaseName::Open | PhaseName::Offline | PhaseName::Syncing)
        }),
        channels_pending: count(|phase| {
            matches!(
                phase,
                PhaseName::Offered
                    | PhaseName::AwaitingTransaction
                    | PhaseName::AwaitingSigned
                    | PhaseName::Requested
                    | PhaseName::AwaitingCreated
                    | PhaseName::AwaitingReady
            )
        }),
        channels_closing: count(|phase| {
            matches!(phase, PhaseName::ShuttingDown | PhaseName::Negotiating | PhaseName::Resolving)
        }),
        data_dir: node.options.data_dir.display().to_string(),
        uptime_s: node.started.elapsed().as_secs(),
    }
}

pub(super) fn connect(node: &Inner, peer: &Peer) -> Answer<response::Connected> {
    let node_id = peer.node_id.to_string();
    let known = node.host_of(peer.node_id);
    node.want_peer(peer.node_id, true);
    if node.net.manager().is_connected(peer.node_id) {
        // An address that nobody has tried does not replace the one that led there.
        return Ok(response::Connected { node_id, address: known.unwrap_or_default() });
    }
    let Some(host) = peer.host.clone().or(known) else {
        return Err(ApiError::new(Code::BadRequest, "this node does not know where that peer is")
            .hint("name it as node_id@host:port"));
    };
    let address: PeerAddress =
        format!("{node_id}@{host}").parse().map_err(|error: NetError| ApiError::bad(error.to_string()))?;
    node.runtime.block_on(node.net.connect(&address)).map_err(|error| net_error(&error))?;
    node.books.put_peer(&node_id, &host);
    node.wake.raise();
    Ok(response::Connected { node_id, address: host })
}

fn net_error(error: &NetError) -> ApiError {
    ApiError::new(Code::PeerUnreachable, error.to_string())
}

pub(super) fn disconnect(node: &Inner, peer: NodeId) -> Answer<response::Done> {
    if !node.net.manager().is_connected(peer) {
        return Err(ApiError::new(Code::NotConnected, format!("{peer} is not connected")));
    }
    node.want_peer(peer, false);
    node.net.let_go(peer);
    node.net.manager().disconnect(peer);
    node.net.wake();
    Ok(response::Done {})
}

pub(super) fn list(node: &Inner) -> response::PeerList {
    let channels = node.channels.list_channels();
    let connected = node.net.manager().peers();
    let with_channels = channels.iter().map(|channel| channel.peer);
    let mut ids: Vec<NodeId> = connected.iter().map(|peer| peer.node_id).chain(with_channels).collect();
    ids.sort_unstable();
    ids.dedup();
    let peers = ids.into_iter().map(|id| {
        let connection = connected.iter().find(|peer| peer.node_id == id);
        response::Peer {
            node_id: id.to_string(),
            connected: connection.is_some(),
            inbound: connection.is_some_and(|peer| peer.inbound),
            address: node.host_of(id).unwrap_or_default(),
            channels: channels.iter().filter(|channel| channel.peer == id).count() as u32,
        }
    });
    response::PeerList { peers: peers.collect() }
}
