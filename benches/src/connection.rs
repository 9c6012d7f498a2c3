//! A connection between two peer managers over nothing: from act one until both have the other's `init`.
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bitcoin::constants::ChainHash;
use bitcoin::secp256k1::PublicKey;
use lightning::ln::peer_handler::{
    ErroringMessageHandler, IgnoringMessageHandler, PeerManager as LdkPeerManager, SocketDescriptor,
};
use lightning::sign::{KeysManager, NodeSigner as _, Recipient};
use lightning_keys::SeedKeys;
use lightning_peer::{ConnectionId, Parts, PeerManager};
use lightning_traits::event::MessageSendEvent;
use lightning_traits::feature::Features;
use lightning_traits::id::NodeId;
use lightning_traits::interface::{
    ChannelMessageHandler, KeysInterface as _, MessageSendEventsProvider, RefusePeer,
};
use lightning_traits::wire::{ChannelMessage, ErrorMessage, Init, WarningMessage};

use crate::ldk::Quiet;
use crate::{ldk, ours};

/// Hears everything and says nothing.
pub struct Deaf;

impl ChannelMessageHandler for Deaf {
    fn peer_connected(&self, _: NodeId, _: &Init, _: bool) -> Result<(), RefusePeer> {
        Ok(())
    }
    fn peer_disconnected(&self, _: NodeId) {}
    fn on_channel_message(&self, _: NodeId, _: ChannelMessage) {}
    fn on_error(&self, _: NodeId, _: &ErrorMessage) {}
    fn on_warning(&self, _: NodeId, _: &WarningMessage) {}
    fn features(&self) -> Features {
        Features::node_default()
    }
}

impl MessageSendEventsProvider for Deaf {
    fn next_message(&self) -> Option<MessageSendEvent> {
        None
    }
}

type OurPeers = PeerManager<Parts<SeedKeys, Deaf, (), (), ()>>;

/// Two peer managers of ours.
pub struct Ours {
    peers: [OurPeers; 2],
    responder: PublicKey,
    connections: u64,
}

impl Default for Ours {
    fn default() -> Self {
        let keys = [1, 2].map(ours::keys);
        let responder = keys[1].node_id();
        let peers = keys.map(|keys| {
            let parts = Parts { keys, channels: Deaf, routing: (), custom: (), log: () };
            PeerManager::new(parts, vec![ChainHash::REGTEST])
        });
        Self { peers, responder, connections: 0 }
    }
}

impl Ours {
    /// Connects, and hangs up again.
    pub fn connect(&mut self) {
        self.connections += 1;
        let id = ConnectionId(self.connections);
        let [caller, called] = &self.peers;
        let act_one = caller.connect_outbound(id, self.responder).unwrap();
        called.accept_inbound(id, None).unwrap();
        called.handle_bytes(id, &act_one).unwrap();
        let ends = [(called, caller), (caller, called)];
        while !(caller.is_ready(id) && called.is_ready(id)) {
            for (from, to) in ends {
                from.process_events();
                let mut bytes = Vec::new();
                from.poll_transmit(id, &mut bytes);
                if !bytes.is_empty() {
                    to.handle_bytes(id, &bytes).unwrap();
                }
            }
        }
        for peers in &self.peers {
            let _why = peers.socket_disconnected(id);
            while peers.poll_ready().is_some() {}
        }
    }
}

/// What waits on the wires, by connection and sender.
type Wires = Arc<Mutex<BTreeMap<(u64, usize), Vec<u8>>>>;

#[derive(Clone)]
struct Socket {
    connection: u64,
    end: usize,
    wires: Wires,
}

impl PartialEq for Socket {
    fn eq(&self, other: &Self) -> bool {
        (self.connection, self.end) == (other.connection, other.end)
    }
}

impl Eq for Socket {}

impl std::hash::Hash for Socket {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        (self.connection, self.end).hash(state);
    }
}

impl Socket {
    fn take(&self) -> Vec<u8> {
        self.wires.lock().unwrap().remove(&(self.connection, self.end)).unwrap_or_default()
    }
}

impl SocketDescriptor for Socket {
    fn send_data(&mut self, data: &[u8], _: bool) -> usize {
        let mut wires = self.wires.lock().unwrap();
        wires.entry((self.connection, self.end)).or_default().extend_from_slice(data);
        data.len()
    }

    fn disconnect_socket(&mut self) {}
}

type LdkPeers = LdkPeerManager<
    Socket,
    ErroringMessageHandler,
    IgnoringMessageHandler,
    IgnoringMessageHandler,
    Arc<Quiet>,
    IgnoringMessageHandler,
    Arc<KeysManager>,
    IgnoringMessageHandler,
>;

/// Two peer managers of LDK.
pub struct Ldk {
    peers: [LdkPeers; 2],
    ids: [PublicKey; 2],
    wires: Wires,
    connections: u64,
}

impl Default for Ldk {
    fn default() -> Self {
        let keys = [1, 2].map(|seed| Arc::new(ldk::keys(seed)));
        let ids = [0, 1].map(|node: usize| keys[node].get_node_id(Recipient::Node).unwrap());
        let peers = keys.map(|keys| {
            let log = Arc::new(Quiet);
            LdkPeers::new_routing_only(IgnoringMessageHandler {}, 1_700_000_000, &[5; 32], log, keys)
        });
        Self { peers, ids, wires: Wires::default(), connections: 0 }
    }
}

impl Ldk {
    /// Connects, and hangs up again.
    pub fn connect(&mut self) {
        self.connections += 1;
        let [caller, called] = &self.peers;
        let mut sockets =
            [0, 1].map(|end| Socket { connection: self.connections, end, wires: Arc::clone(&self.wires) });
        let act_one = caller.new_outbound_connection(self.ids[1], sockets[0].clone(), None).unwrap();
        called.new_inbound_connection(sockets[1].clone(), None).unwrap();
        called.read_event(&mut sockets[1], &act_one).unwrap();
        let is_ready = || {
            caller.peer_by_node_id(&self.ids[1]).is_some() && called.peer_by_node_id(&self.ids[0]).is_some()
        };
        while !is_ready() {
            for (from, to) in [(1, 0), (0, 1)] {
                self.peers[from].process_events();
                let bytes = sockets[from].take();
                if !bytes.is_empty() {
                    self.peers[to].read_event(&mut sockets[to], &bytes).unwrap();
                }
            }
        }
        for (peers, socket) in self.peers.iter().zip(&sockets) {
            peers.socket_disconnected(socket);
            socket.take();
        }
    }
}
