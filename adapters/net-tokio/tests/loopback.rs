//! Real sockets on the loopback: connect, talk, reconnect, shut down, and errors that say what is wrong.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "tests"
)]
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bitcoin::ScriptBuf;
use bitcoin::constants::ChainHash;
use lightning_keys::{Seed, SeedKeys};
use lightning_net_tokio::{Net, NetConfig, NetError, PeerAddress};
use lightning_peer::{Disconnect, Parts, PeerManager};
use lightning_traits::event::MessageSendEvent;
use lightning_traits::feature::Features;
use lightning_traits::id::NodeId;
use lightning_traits::interface::{
    ChannelMessageHandler, CustomMessageHandler, KeysInterface as _, MessageSendEventsProvider, RefusePeer,
    RoutingMessageHandler,
};
use lightning_traits::wire::{ChannelMessage, ErrorMessage, Init, RoutingMessage, WarningMessage};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

/// Messages of the user's own: sends what it is given, keeps what it gets.
#[derive(Default)]
struct Handlers {
    received: Mutex<Vec<(NodeId, Vec<u8>)>>,
    to_send: Mutex<VecDeque<(NodeId, u16, Vec<u8>)>>,
}

struct Channels(Arc<Handlers>);
struct Routing;
struct Custom(Arc<Handlers>);

impl ChannelMessageHandler for Channels {
    fn peer_connected(&self, _: NodeId, _: &Init, _: bool) -> Result<(), RefusePeer> {
        Ok(())
    }
    fn peer_disconnected(&self, _: NodeId) {}
    fn on_channel_message(&self, _: NodeId, _: ChannelMessage) {}
    fn on_error(&self, _: NodeId, _: &ErrorMessage) {}
    fn on_warning(&self, peer: NodeId, warning: &WarningMessage) {
        self.0.received.lock().unwrap().push((peer, warning.data.clone()));
    }
    fn features(&self) -> Features {
        Features::empty()
    }
}

impl MessageSendEventsProvider for Channels {
    fn next_message(&self) -> Option<MessageSendEvent> {
        None
    }
}

impl RoutingMessageHandler for Routing {
    fn peer_connected(&self, _: NodeId, _: &Init, _: bool) {}
    fn peer_disconnected(&self, _: NodeId) {}
    fn on_routing_message(&self, _: NodeId, _: RoutingMessage) {}
    fn on_own_message(&self, _: &RoutingMessage) {}
    fn features(&self) -> Features {
        Features::empty()
    }
}

impl MessageSendEventsProvider for Routing {
    fn next_message(&self) -> Option<MessageSendEvent> {
        None
    }
}

impl CustomMessageHandler for Custom {
    fn on_custom_message(&self, peer: NodeId, type_id: u16, payload: &[u8]) -> bool {
        if type_id == TYPE {
            self.0.received.lock().unwrap().push((peer, payload.to_vec()));
        }
        type_id == TYPE
    }
    fn next_custom_message(&self) -> Option<(NodeId, u16, Vec<u8>)> {
        self.0.to_send.lock().unwrap().pop_front()
    }
}

const TYPE: u16 = 40_000;

type Env = Parts<SeedKeys, Channels, Routing, Custom, ()>;

struct Node {
    net: Net<Env>,
    handlers: Arc<Handlers>,
    keys: SeedKeys,
}

impl Node {
    fn new(seed: u8) -> Self {
        Self::with(seed, NetConfig { tick: Duration::from_secs(60), ..quick() })
    }

    fn with(seed: u8, config: NetConfig) -> Self {
        let keys = SeedKeys::new(Seed::new([seed; 32]), Arc::new(ScriptBuf::new())).unwrap();
        let handlers = Arc::<Handlers>::default();
        let parts = Parts {
            keys: keys.clone(),
            channels: Channels(handlers.clone()),
            routing: Routing,
            custom: Custom(handlers.clone()),
            log: (),
        };
        let manager = PeerManager::new(parts, vec![ChainHash::REGTEST]);
        Self { net: Net::new(Arc::new(manager), config), handlers, keys }
    }

    async fn listen(&self) -> PeerAddress {
        let bound = self.net.listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
        self.at(bound)
    }

    fn at(&self, address: SocketAddr) -> PeerAddress {
        PeerAddress { node_id: self.keys.node_id(), host: address.to_string() }
    }

    fn id(&self) -> NodeId {
        NodeId::from(self.keys.node_id())
    }

    fn send(&self, to: &Self, payload: &[u8]) {
        self.handlers.to_send.lock().unwrap().push_back((to.id(), TYPE, payload.to_vec()));
        self.net.wake();
    }

    fn received(&self) -> usize {
        self.handlers.received.lock().unwrap().len()
    }

    fn is_connected(&self, to: &Self) -> bool {
        self.net.manager().is_connected(to.id())
    }
}

fn quick() -> NetConfig {
    NetConfig {
        backoff: (Duration::from_millis(20), Duration::from_millis(100)),
        connect_timeout: Duration::from_secs(20),
        ..NetConfig::default()
    }
}

/// Waits until something is so; fails after a time that only a broken build needs.
async fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(30), "never came true: {what}");
        sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_talk() {
    let (alice, bob) = (Node::new(1), Node::new(2));
    let address = bob.listen().await;
    alice.net.connect(&address).await.unwrap();
    assert!(alice.is_connected(&bob));
    eventually("bob knows alice", || bob.is_connected(&alice)).await;
    // In bursts of less than the bound of this lane, both ways at once, more than fits the buffers of the system.
    let message = |number: u32| [number.to_be_bytes().as_slice(), &[7; 20_000]].concat();
    for burst in 0..20_u32 {
        for number in 0..10 {
            alice.send(&bob, &message(burst * 10 + number));
            bob.send(&alice, &message(burst * 10 + number));
        }
        let expected = (burst as usize + 1) * 10;
        eventually("a burst", || alice.received() == expected && bob.received() == expected).await;
    }
    for (node, from) in [(&alice, bob.id()), (&bob, alice.id())] {
        let received = node.handlers.received.lock().unwrap();
        for (number, (peer, payload)) in (0..200).zip(received.iter()) {
            assert_eq!((*peer, payload), (from, &message(number)));
        }
    }
    alice.net.shutdown().await;
    bob.net.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_in_use_is_named() {
    let (alice, bob) = (Node::new(1), Node::new(2));
    let used = alice.listen().await.host;
    let error = bob.net.listen(used.parse().unwrap()).await.unwrap_err();
    assert!(matches!(&error, NetError::AddressInUse { address } if *address == used), "{error}");
    assert!(error.to_string().contains("choose another port"));
    let error = bob.net.listen("192.0.2.1:1".parse().unwrap()).await.unwrap_err();
    assert!(matches!(error, NetError::AddressNotLocal { .. } | NetError::NoPermission { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_there_is_said() {
    let (alice, bob) = (Node::new(1), Node::new(2));
    // A port that was just free.
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let error = alice.net.connect(&bob.at(free)).await.unwrap_err();
    assert!(matches!(error, NetError::Refused { .. }), "{error}");
    let nowhere = PeerAddress { node_id: bob.keys.node_id(), host: "no such host:9735".into() };
    let error = alice.net.connect(&nowhere).await.unwrap_err();
    assert!(matches!(error, NetError::UnknownHost { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_node_id_is_said() {
    let (alice, bob, carol) = (Node::new(1), Node::new(2), Node::new(3));
    let mut address = bob.listen().await;
    address.node_id = carol.keys.node_id();
    let error = alice.net.connect(&address).await.unwrap_err();
    let expected = Disconnect::SocketClosedInHandshake;
    assert!(matches!(&error, NetError::Ended { reason, .. } if *reason == expected), "{error}");
    assert!(error.to_string().contains("node id"), "{error}");
    address.node_id = alice.keys.node_id();
    assert!(matches!(alice.net.connect(&address).await, Err(NetError::Connect(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_answer_is_given_up() {
    let alice = Node::with(1, NetConfig { connect_timeout: Duration::from_millis(200), ..quick() });
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let bob = Node::new(2);
    let error = alice.net.connect(&bob.at(silent.local_addr().unwrap())).await.unwrap_err();
    assert!(matches!(error, NetError::TimedOut { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_who_says_nothing_is_hung_up_on() {
    let alice = Node::with(1, NetConfig { tick: Duration::from_millis(50), ..quick() });
    let address = alice.listen().await;
    let mut stream = TcpStream::connect(&address.host).await.unwrap();
    let outcome = timeout(Duration::from_secs(20), stream.read(&mut [0; 10])).await.unwrap();
    assert_eq!(outcome.unwrap(), 0, "closed, without a word");
    // And one who talks nonsense, at once.
    let mut stream = TcpStream::connect(&address.host).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut stream, &[1; 50]).await.unwrap();
    let outcome = timeout(Duration::from_secs(20), stream.read(&mut [0; 10])).await.unwrap();
    assert_eq!(outcome.unwrap_or(0), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_peer_is_called_again() {
    let (alice, bob) = (Node::with(1, quick()), Node::new(2));
    let address = bob.listen().await;
    alice.net.keep_connected(address);
    for _ in 0..5 {
        eventually("connected", || alice.is_connected(&bob) && bob.is_connected(&alice)).await;
        let before = bob.net.manager().peers()[0].connection;
        assert!(bob.net.manager().disconnect(alice.id()));
        bob.net.wake();
        eventually("connected anew", || {
            bob.net.manager().peers().first().is_some_and(|peer| peer.connection != before)
        })
        .await;
    }
    eventually("connected", || alice.is_connected(&bob) && bob.is_connected(&alice)).await;
    alice.net.let_go(bob.id());
    alice.net.manager().disconnect(bob.id());
    alice.net.wake();
    eventually("gone", || !bob.is_connected(&alice)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_starts_late_is_reached() {
    let (alice, bob) = (Node::with(1, quick()), Node::new(2));
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    alice.net.keep_connected(bob.at(free));
    sleep(Duration::from_millis(100)).await;
    bob.net.listen(free).await.unwrap();
    eventually("connected", || alice.is_connected(&bob)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_cross_leave_one_connection() {
    for round in 0..10_u8 {
        let (alice, bob) = (Node::new(2 * round + 1), Node::new(2 * round + 2));
        let (to_alice, to_bob) = (alice.listen().await, bob.listen().await);
        let outcome = tokio::join!(alice.net.connect(&to_bob), bob.net.connect(&to_alice));
        // Whoever gave up its own call has the other one, at once or a moment later.
        eventually("one connection", || {
            alice.net.manager().peers().len() == 1 && bob.net.manager().peers().len() == 1
        })
        .await;
        alice.send(&bob, b"ping");
        bob.send(&alice, b"pong");
        eventually("talk", || alice.received() == 1 && bob.received() == 1).await;
        assert!(outcome.0.is_ok() || outcome.1.is_ok());
        alice.net.shutdown().await;
        bob.net.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shutdown_ends_everything() {
    let (alice, bob) = (Node::new(1), Node::with(2, quick()));
    let address = alice.listen().await;
    bob.net.connect(&address).await.unwrap();
    eventually("connected", || alice.is_connected(&bob)).await;
    bob.send(&alice, b"last words");
    timeout(Duration::from_secs(10), bob.net.shutdown()).await.expect("ends by itself");
    assert!(!bob.is_connected(&alice));
    eventually("gone", || !alice.is_connected(&bob)).await;
    assert!(matches!(bob.net.connect(&address).await, Err(NetError::ShutDown)));
    alice.net.shutdown().await;
    let error = TcpStream::connect(&address.host).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused, "nobody listens any more");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pings_keep_an_idle_connection() {
    let config = NetConfig { tick: Duration::from_millis(50), ..quick() };
    let (alice, bob) = (Node::with(1, config.clone()), Node::with(2, config));
    let address = bob.listen().await;
    let id = alice.net.connect(&address).await.unwrap();
    sleep(Duration::from_secs(1)).await;
    assert_eq!(alice.net.manager().peers()[0].connection, id);
}
