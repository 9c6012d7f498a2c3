//! [`PeerManager`]: all connections of a node, and the way of messages between them and their handlers.
//!
//! BOLT 1 and 8. Bytes go in and come out; the caller owns the sockets, the clock and the threads (I1).
//!
//! | kind | methods |
//! | --- | --- |
//! | getters | [`peers`](PeerManager::peers), [`is_connected`](PeerManager::is_connected), [`is_ready`](PeerManager::is_ready), [`wants_read`](PeerManager::wants_read), [`pending_bytes`](PeerManager::pending_bytes), [`wants_events`](PeerManager::wants_events) |
//! | inputs | [`accept_inbound`](PeerManager::accept_inbound), [`handle_bytes`](PeerManager::handle_bytes), [`socket_disconnected`](PeerManager::socket_disconnected), [`timer_tick`](PeerManager::timer_tick), [`process_events`](PeerManager::process_events) |
//! | commands | [`connect_outbound`](PeerManager::connect_outbound), [`disconnect`](PeerManager::disconnect), [`disconnect_all`](PeerManager::disconnect_all) |
//! | outputs | [`poll_ready`](PeerManager::poll_ready), [`poll_readable`](PeerManager::poll_readable), [`poll_transmit`](PeerManager::poll_transmit), [`poll_disconnect`](PeerManager::poll_disconnect) |
//!
//! # Invariants
//! - handlers hear of a peer in the order connected, messages, disconnected, one connection after the other, whatever
//!   threads call; messages of one connection are handed over in the order of the wire
//! - sessions change and handlers' messages are queued by one thread at a time, so a message that a handler made for
//!   one connection never goes out on the next (RELIABILITY B6)
//! - no handler is called while a lock is held, and no lock is taken while another is (I7)
//!
//! See also `session.rs` for joining and leaving, `dispatch.rs` for messages in, `drain.rs` for messages out.
mod dispatch;
mod drain;
mod environment;
mod session;
mod table;

pub use environment::{Parts, PeerEnvironment};
pub use table::ConnectionId;

use alloc::sync::Arc;
use alloc::vec::Vec;

use bitcoin::constants::ChainHash;
use bitcoin::secp256k1::PublicKey;
use lightning_traits::Secp;
use lightning_traits::feature::Features;
use lightning_traits::id::NodeId;
use lightning_traits::interface::{
    ChannelMessageHandler as _, KeysInterface as _, Level, LogRecord, Logger as _, RoutingMessageHandler as _,
};
use lightning_traits::sync::Mutex;
use lightning_traits::wire::{Message, NodeAddress};
use thiserror::Error;

use self::drain::Driving;
use self::table::{Connection, Outputs, Table};
use crate::disconnect::Disconnect;
use crate::noise::{ACT_ONE_LENGTH, InitiatorAwaitsActTwo, ResponderAwaitsActOne};
use crate::peer::{Handshaking, KeyContext, OurInit, Peer, TurnOver, fresh_key};

/// All connections of one node.
///
/// The contract with the caller, for each connection:
/// 1. [`connect_outbound`](Self::connect_outbound) or [`accept_inbound`](Self::accept_inbound) with an id never used before;
/// 2. bytes read go to [`handle_bytes`](Self::handle_bytes) while [`wants_read`](Self::wants_read); bytes to write come
///    from [`poll_transmit`](Self::poll_transmit), and [`poll_ready`](Self::poll_ready) says for whom there are some;
/// 3. after any input, [`process_events`](Self::process_events), then the outputs;
/// 4. when [`poll_disconnect`](Self::poll_disconnect) names it, write what `poll_transmit` still gives and close the socket;
/// 5. when the socket is closed, by whomever, [`socket_disconnected`](Self::socket_disconnected) once.
///
/// All methods may be called from any thread.
pub struct PeerManager<E> {
    environment: E,
    secp: Secp,
    our_id: NodeId,
    chains: Vec<ChainHash>,
    table: Mutex<Table>,
    driving: Mutex<Driving>,
    ready: Outputs<ConnectionId>,
    readable: Outputs<ConnectionId>,
    ended: Outputs<(ConnectionId, Disconnect)>,
    /// Peers whose queue of gossip has room again.
    room: Outputs<NodeId>,
}

/// A connected peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerInfo {
    /// Which node.
    pub node_id: NodeId,
    /// Over which connection.
    pub connection: ConnectionId,
    /// Whether the peer called us.
    pub inbound: bool,
    /// What it offers.
    pub features: Features,
    /// At which address it sees us.
    pub our_address: Option<NodeAddress>,
    /// Bytes that wait to be sent to it.
    pub pending_bytes: usize,
}

/// Why a connection cannot begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The source of entropy gives no keys.
    #[error("no entropy for an ephemeral key")]
    NoEntropy,
    /// The id names another connection.
    #[error("the connection id is in use")]
    IdInUse,
    /// That is our own node id.
    #[error("that node is ourselves")]
    Ourselves,
}

impl<E: PeerEnvironment> PeerManager<E> {
    /// A manager for the node whose keys are in `environment`, on `chains`.
    pub fn new(environment: E, chains: Vec<ChainHash>) -> Self {
        Self {
            our_id: NodeId::from(environment.keys().node_id()),
            environment,
            secp: Secp::new(),
            chains,
            table: Mutex::new(Table::default()),
            driving: Mutex::new(Driving::default()),
            ready: Outputs::default(),
            readable: Outputs::default(),
            ended: Outputs::default(),
            room: Outputs::default(),
        }
    }

    /// What the manager calls.
    pub const fn environment(&self) -> &E {
        &self.environment
    }

    // ---- getters

    /// The connected peers, in order of node id.
    pub fn peers(&self) -> Vec<PeerInfo> {
        let connections = self.table.lock().all_current();
        connections.iter().filter_map(|connection| info(connection)).collect()
    }

    /// Whether messages can be sent to `node` now.
    pub fn is_connected(&self, node: NodeId) -> bool {
        let connection = self.table.lock().current(node);
        connection.is_some_and(|connection| connection.lock().their_init().is_some())
    }

    /// Whether this very connection is the one over which messages go to its node now.
    pub fn is_ready(&self, connection: ConnectionId) -> bool {
        self.get(connection).is_some_and(|connection| connection.lock().their_init().is_some())
    }

    /// Whether to read from the socket: not while the peer does not take our answers. After a no,
    /// [`poll_readable`](Self::poll_readable) says when to go on.
    pub fn wants_read(&self, connection: ConnectionId) -> bool {
        self.get(connection).is_some_and(|connection| connection.lock().ask_to_read())
    }

    /// Bytes that wait to be sent, without what encryption adds.
    pub fn pending_bytes(&self, connection: ConnectionId) -> usize {
        self.get(connection).map_or(0, |connection| connection.lock().pending())
    }

    /// Whether [`process_events`](Self::process_events) should be called although nothing came in: a peer took
    /// so much of a long answer that the rest of it can be queued.
    pub fn wants_events(&self) -> bool {
        !self.room.is_empty() || self.table.lock().has_changes()
    }

    // ---- commands

    /// Begins a connection to `their_id` over a socket that the caller has connected. Returns act one, to be written.
    ///
    /// # Errors
    /// When the id is in use or there is no ephemeral key; then there is no connection.
    pub fn connect_outbound(
        &self,
        connection: ConnectionId,
        their_id: PublicKey,
    ) -> Result<[u8; ACT_ONE_LENGTH], ConnectError> {
        if NodeId::from(their_id) == self.our_id {
            return Err(ConnectError::Ourselves);
        }
        let ephemeral = fresh_key(self.environment.keys()).ok_or(ConnectError::NoEntropy)?;
        let (state, act_one) = InitiatorAwaitsActTwo::start(&self.secp, ephemeral, their_id);
        let peer = Peer::new(Handshaking::initiator(state), self.our_init(None));
        self.add(Connection::new(connection, false, peer))?;
        Ok(act_one)
    }

    /// Hangs up on a node; `false` when it is not connected.
    pub fn disconnect(&self, node: NodeId) -> bool {
        let connection = self.table.lock().current(node);
        let found = connection.is_some();
        if let Some(connection) = connection {
            self.end(&connection, Disconnect::ByUser, None);
            self.drive(false);
        }
        found
    }

    /// Hangs up on everybody: before a shutdown.
    pub fn disconnect_all(&self) {
        let connections = self.table.lock().all();
        for connection in connections {
            self.end(&connection, Disconnect::ByUser, None);
        }
        self.drive(false);
    }

    // ---- inputs

    /// Somebody connected, from `address` if that is known and of the network.
    ///
    /// # Errors
    /// When the id is in use.
    pub fn accept_inbound(
        &self,
        connection: ConnectionId,
        address: Option<NodeAddress>,
    ) -> Result<(), ConnectError> {
        let state = ResponderAwaitsActOne::new(&self.environment.keys().node_id());
        let peer = Peer::new(Handshaking::responder(state), self.our_init(address));
        self.add(Connection::new(connection, true, peer))
    }

    /// Bytes of a connection, in whatever pieces they came. Messages go to their handlers before this returns,
    /// unless another thread is at it, which then takes these bytes too.
    ///
    /// # Errors
    /// Why the connection has ended; [`poll_disconnect`](Self::poll_disconnect) will name it too.
    pub fn handle_bytes(&self, connection: ConnectionId, bytes: &[u8]) -> Result<(), Disconnect> {
        let connection = self.get(connection).ok_or(Disconnect::UnknownConnection)?;
        let turn = connection.lock().take_turn(bytes);
        match turn {
            Ok(true) => self.read_all(&connection, bytes),
            Ok(false) => {}
            Err(reason) => self.end(&connection, reason, None),
        }
        if self.table.lock().has_changes() {
            self.drive(false);
        }
        let ended = connection.lock().ended();
        ended.map_or(Ok(()), Err)
    }

    /// The socket of a connection is closed: to be called once for each, whoever closed it. Returns why the
    /// connection ended, which may have been before.
    pub fn socket_disconnected(&self, connection: ConnectionId) -> Disconnect {
        let Some(connection) = self.get(connection) else { return Disconnect::UnknownConnection };
        let reason = connection.lock().on_socket_closed();
        self.end(&connection, reason, None);
        self.table.lock().forget(connection.id);
        self.drive(false);
        reason
    }

    /// Time passes: about ten seconds. Sends pings, gives up who does not answer or never gets ready.
    pub fn timer_tick(&self) {
        let connections = self.table.lock().all();
        for connection in connections {
            let outcome = connection.lock().tick();
            match outcome {
                Ok(()) => self.flag(&connection),
                Err(reason) => self.end(&connection, reason, None),
            }
        }
        self.table.lock().tick();
        self.drive(false);
    }

    /// Queues what the handlers have to send. To be called after every input, and after anything else that
    /// may have given a handler something to send. If another thread is at it, that thread goes on to do this.
    pub fn process_events(&self) {
        self.drive(true);
    }

    // ---- outputs

    /// The next connection that has bytes to send. Named once until [`poll_transmit`](Self::poll_transmit) has taken
    /// them all.
    pub fn poll_ready(&self) -> Option<ConnectionId> {
        self.ready.pop()
    }

    /// The next connection that is to be read again, after [`wants_read`](Self::wants_read) had said no.
    pub fn poll_readable(&self) -> Option<ConnectionId> {
        self.readable.pop()
    }

    /// Appends encrypted bytes of a connection to `out`, about 64 KiB at most; to be called again until it appends
    /// nothing.
    pub fn poll_transmit(&self, connection: ConnectionId, out: &mut Vec<u8>) {
        let Some(connection) = self.get(connection) else { return };
        let mut peer = connection.lock();
        let has_room = peer.transmit(out, TRANSMIT_BUDGET);
        peer.lower_flag();
        let resumed = peer.take_resumed();
        let node = peer.node().filter(|_| has_room);
        drop(peer);
        if resumed {
            self.readable.push(connection.id);
        }
        if let Some(node) = node {
            self.room.push(node);
        }
    }

    /// The next connection that has ended, and why. Not named: one whose socket was closed first.
    pub fn poll_disconnect(&self) -> Option<(ConnectionId, Disconnect)> {
        self.ended.pop()
    }

    // ---- within

    fn get(&self, connection: ConnectionId) -> Option<Arc<Connection>> {
        self.table.lock().get(connection)
    }

    fn add(&self, connection: Connection) -> Result<(), ConnectError> {
        if self.table.lock().insert(connection) { Ok(()) } else { Err(ConnectError::IdInUse) }
    }

    fn our_init(&self, address: Option<NodeAddress>) -> OurInit {
        let needed = self.environment.channels().features().union(&self.environment.routing().features());
        OurInit::new(&needed, self.chains.clone(), address)
    }

    fn context(&self) -> KeyContext<'_, E::Keys> {
        KeyContext { secp: &self.secp, keys: self.environment.keys() }
    }

    /// Reads with the turn taken, until nothing is left.
    fn read_all(&self, connection: &Arc<Connection>, bytes: &[u8]) {
        self.read_some(connection, bytes);
        loop {
            let turn = connection.lock().give_back_turn();
            match turn {
                TurnOver::More(bytes) => self.read_some(connection, &bytes),
                TurnOver::Done { session_waits } => {
                    if let Some(node) = session_waits {
                        self.table.lock().touch(node);
                    }
                    break;
                }
            }
        }
        self.flag(connection);
    }

    /// Ends a connection once; `last` goes out behind what is queued.
    fn end(&self, connection: &Arc<Connection>, reason: Disconnect, last: Option<&Message>) {
        let mut peer = connection.lock();
        if !peer.end(reason, last) {
            return;
        }
        let node = peer.node();
        drop(peer);
        let level = match reason {
            Disconnect::ByUser | Disconnect::Replaced | Disconnect::Duplicate => Level::Debug,
            _ => Level::Info,
        };
        self.log(level, node, format_args!("connection {} ended: {reason}", connection.id.0));
        if let Some(node) = node {
            self.table.lock().touch(node);
        }
        if !matches!(reason, Disconnect::SocketClosed { .. } | Disconnect::SocketClosedInHandshake) {
            self.ended.push((connection.id, reason));
        }
        self.flag(connection);
    }

    /// Names the connection as one with bytes to send, or to be read again.
    fn flag(&self, connection: &Connection) {
        let mut peer = connection.lock();
        let (raised, resumed) = (peer.raise_flag(), peer.take_resumed());
        drop(peer);
        if raised {
            self.ready.push(connection.id);
        }
        if resumed {
            self.readable.push(connection.id);
        }
    }

    fn log(&self, level: Level, peer: Option<NodeId>, message: core::fmt::Arguments<'_>) {
        self.environment.log().log(&LogRecord { level, module: "peer", peer, channel: None, message });
    }
}

fn info(connection: &Connection) -> Option<PeerInfo> {
    let peer = connection.lock();
    let init = peer.their_init()?;
    Some(PeerInfo {
        node_id: peer.node()?,
        connection: connection.id,
        inbound: connection.inbound,
        features: init.combined_features(),
        our_address: init.remote_address(),
        pending_bytes: peer.pending(),
    })
}

const TRANSMIT_BUDGET: usize = 64 * 1024;
