//! What the tests of the manager share: keys, handlers that write down what they are told, and a peer that can
//! send whatever it likes.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of it")]
use lightning_traits::Secp;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bitcoin::constants::ChainHash;
use bitcoin::hashes::{Hash as _, sha256};
use bitcoin::secp256k1::ecdh::SharedSecret;
use bitcoin::secp256k1::ecdsa::{RecoverableSignature, Signature};
use bitcoin::secp256k1::{PublicKey, Secp256k1, SecretKey};
use bitcoin::{ScriptBuf, Transaction};
use lightning_peer::frame::{FrameReader, FrameWriter, framed};
use lightning_peer::noise::{InitiatorAwaitsActTwo, StaticKey};
use lightning_peer::{ConnectionId, Disconnect, Parts, PeerManager};
use lightning_traits::codec::TlvRecords;
use lightning_traits::event::MessageSendEvent;
use lightning_traits::feature::Features;
use lightning_traits::id::{ChannelKeysId, CommitmentNumber, NodeId};
use lightning_traits::interface::{
    ChannelMessageHandler, ChannelSigner, CommitmentSignatures, CommitmentToSign, CustomMessageHandler,
    EntropySource, InputToSign, KeysInterface, LogRecord, Logger, MessageSendEventsProvider, RefusePeer,
    RoutingMessageHandler, SignError,
};
use lightning_traits::sync::Mutex;
use lightning_traits::tx::{ChannelPublicKeys, CommitmentSecret, FundingOutput};
use lightning_traits::wire::{
    ChannelMessage, ErrorMessage, Init, Message, RoutingMessage, UnknownMessage, WarningMessage,
};

/// A node's key, with entropy counted up from a seed.
pub struct Keys {
    secret: SecretKey,
    public: PublicKey,
    counter: AtomicU64,
}

impl Keys {
    pub fn new(seed: u8) -> Self {
        let secret = SecretKey::from_slice(&[seed; 32]).unwrap();
        Self { public: secret.public_key(&Secp256k1::new()), secret, counter: AtomicU64::new(0) }
    }
}

impl EntropySource for Keys {
    fn fill(&self, bytes: &mut [u8]) {
        let count = self.counter.fetch_add(1, Ordering::Relaxed);
        let seed = [self.secret.secret_bytes().as_slice(), &count.to_be_bytes()].concat();
        for (to, from) in bytes.iter_mut().zip(sha256::Hash::hash(&seed).to_byte_array()) {
            *to = from;
        }
    }
}

impl StaticKey for Keys {
    fn public_key(&self) -> PublicKey {
        self.public
    }
    fn ecdh(&self, other: &PublicKey) -> Option<zeroize::Zeroizing<[u8; 32]>> {
        KeysInterface::ecdh(self, other).ok().map(zeroize::Zeroizing::new)
    }
}

impl KeysInterface for Keys {
    type Signer = NoSigner;
    fn node_id(&self) -> PublicKey {
        self.public
    }
    fn ecdh(&self, their_key: &PublicKey) -> Result<[u8; 32], SignError> {
        Ok(SharedSecret::new(their_key, &self.secret).secret_bytes())
    }
    fn sign_gossip(&self, _: &[u8; 32]) -> Result<Signature, SignError> {
        Err(SignError::Refused)
    }
    fn sign_invoice(&self, _: &[u8; 32]) -> Result<RecoverableSignature, SignError> {
        Err(SignError::Refused)
    }
    fn inbound_payment_key(&self) -> [u8; 32] {
        [0; 32]
    }
    fn new_channel_keys(&self) -> ChannelKeysId {
        ChannelKeysId([0; 32])
    }
    fn signer(&self, _: &ChannelKeysId) -> NoSigner {
        NoSigner(self.public)
    }
    fn destination_script(&self, _: &ChannelKeysId) -> ScriptBuf {
        ScriptBuf::new()
    }
    fn shutdown_script(&self, _: &ChannelKeysId) -> ScriptBuf {
        ScriptBuf::new()
    }
}

/// The peer crate signs nothing for channels.
pub struct NoSigner(PublicKey);

impl ChannelSigner for NoSigner {
    fn public_keys(&self) -> ChannelPublicKeys {
        ChannelPublicKeys {
            funding: self.0,
            revocation_basepoint: self.0,
            payment_basepoint: self.0,
            delayed_payment_basepoint: self.0,
            htlc_basepoint: self.0,
        }
    }
    fn commitment_point(&self, _: CommitmentNumber) -> Result<PublicKey, SignError> {
        Err(SignError::Refused)
    }
    fn release_secret(&self, _: CommitmentNumber) -> Result<CommitmentSecret, SignError> {
        Err(SignError::Refused)
    }
    fn sign_theirs(&self, _: &CommitmentToSign<'_>) -> Result<CommitmentSignatures, SignError> {
        Err(SignError::Refused)
    }
    fn sign_ours(&self, _: &CommitmentToSign<'_>) -> Result<Signature, SignError> {
        Err(SignError::Refused)
    }
    fn sign_closing(&self, _: &FundingOutput, _: &Transaction) -> Result<Signature, SignError> {
        Err(SignError::Refused)
    }
    fn sign_input(&self, _: &InputToSign<'_>) -> Result<Signature, SignError> {
        Err(SignError::Refused)
    }
    fn sign_announcement(&self, _: &[u8; 32]) -> Result<Signature, SignError> {
        Err(SignError::Refused)
    }
}

/// What a handler was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    Connected(NodeId, bool),
    Disconnected(NodeId),
    Channel(NodeId, ChannelMessage),
    Error(NodeId, Vec<u8>),
    Warning(NodeId, String),
    RoutingConnected(NodeId),
    RoutingDisconnected(NodeId),
    Routing(NodeId, RoutingMessage),
    Own(RoutingMessage),
    Room(NodeId),
    Custom(NodeId, u16, Vec<u8>),
}

type Hook = Box<dyn Fn(&Told) + Send + Sync>;

/// All three handlers in one: writes down what it is told, gives out what it was given.
#[derive(Default)]
pub struct Handlers {
    told: Mutex<Vec<Told>>,
    channel_out: Mutex<VecDeque<MessageSendEvent>>,
    routing_out: Mutex<VecDeque<MessageSendEvent>>,
    custom_out: Mutex<VecDeque<(NodeId, u16, Vec<u8>)>>,
    pub features: Features,
    pub refuse: Mutex<bool>,
    hook: Mutex<Option<Arc<Hook>>>,
    log: Mutex<Vec<String>>,
}

impl Handlers {
    fn tell(&self, told: Told) {
        self.told.lock().push(told.clone());
        let hook = self.hook.lock().clone();
        if let Some(hook) = hook {
            hook(&told);
        }
    }

    /// What was told since the last call.
    pub fn take(&self) -> Vec<Told> {
        std::mem::take(&mut *self.told.lock())
    }

    /// Does something whenever a handler is told something.
    pub fn set_hook(&self, hook: impl Fn(&Told) + Send + Sync + 'static) {
        *self.hook.lock() = Some(Arc::new(Box::new(hook)));
    }

    pub fn send_channel(&self, event: MessageSendEvent) {
        self.channel_out.lock().push_back(event);
    }

    pub fn send_routing(&self, event: MessageSendEvent) {
        self.routing_out.lock().push_back(event);
    }

    pub fn send_custom(&self, to: NodeId, type_id: u16, payload: &[u8]) {
        self.custom_out.lock().push_back((to, type_id, payload.to_vec()));
    }

    pub fn logged(&self) -> Vec<String> {
        self.log.lock().clone()
    }
}

/// The handlers as channels: a newtype, since two of the traits have methods of the same name.
#[derive(Clone)]
pub struct Channels(pub Arc<Handlers>);
#[derive(Clone)]
pub struct Routing(pub Arc<Handlers>);
#[derive(Clone)]
pub struct Custom(pub Arc<Handlers>);
#[derive(Clone)]
pub struct Log(pub Arc<Handlers>);

impl ChannelMessageHandler for Channels {
    fn peer_connected(&self, peer: NodeId, _: &Init, inbound: bool) -> Result<(), RefusePeer> {
        if *self.0.refuse.lock() {
            return Err(RefusePeer);
        }
        self.0.tell(Told::Connected(peer, inbound));
        Ok(())
    }
    fn peer_disconnected(&self, peer: NodeId) {
        self.0.tell(Told::Disconnected(peer));
    }
    fn on_channel_message(&self, peer: NodeId, message: ChannelMessage) {
        self.0.tell(Told::Channel(peer, message));
    }
    fn on_error(&self, peer: NodeId, error: &ErrorMessage) {
        self.0.tell(Told::Error(peer, error.data.clone()));
    }
    fn on_warning(&self, peer: NodeId, warning: &WarningMessage) {
        self.0.tell(Told::Warning(peer, warning.text()));
    }
    fn features(&self) -> Features {
        self.0.features.clone()
    }
}

impl MessageSendEventsProvider for Channels {
    fn next_message(&self) -> Option<MessageSendEvent> {
        self.0.channel_out.lock().pop_front()
    }
}

impl RoutingMessageHandler for Routing {
    fn peer_connected(&self, peer: NodeId, _: &Init, _: bool) {
        self.0.tell(Told::RoutingConnected(peer));
    }
    fn peer_disconnected(&self, peer: NodeId) {
        self.0.tell(Told::RoutingDisconnected(peer));
    }
    fn on_routing_message(&self, peer: NodeId, message: RoutingMessage) {
        self.0.tell(Told::Routing(peer, message));
    }
    fn on_own_message(&self, message: &RoutingMessage) {
        self.0.tell(Told::Own(message.clone()));
    }
    fn gossip_has_room(&self, peer: NodeId) {
        self.0.tell(Told::Room(peer));
    }
    fn features(&self) -> Features {
        Features::empty()
    }
}

impl MessageSendEventsProvider for Routing {
    fn next_message(&self) -> Option<MessageSendEvent> {
        self.0.routing_out.lock().pop_front()
    }
}

impl CustomMessageHandler for Custom {
    fn on_custom_message(&self, peer: NodeId, type_id: u16, payload: &[u8]) -> bool {
        let ours = (CUSTOM..CUSTOM + 10).contains(&type_id);
        if ours {
            self.0.tell(Told::Custom(peer, type_id, payload.to_vec()));
        }
        ours
    }
    fn next_custom_message(&self) -> Option<(NodeId, u16, Vec<u8>)> {
        self.0.custom_out.lock().pop_front()
    }
}

impl Logger for Log {
    fn log(&self, record: &LogRecord<'_>) {
        // The lock notices when the manager logs while it holds one of its own.
        self.0.log_line(format!("{:?}: {}", record.level, record.message));
    }
}

impl Handlers {
    fn log_line(&self, line: String) {
        self.log.lock().push(line);
    }
}

/// The first of ten types that the custom handler takes.
pub const CUSTOM: u16 = 40_000;

pub type Manager = PeerManager<Parts<Keys, Channels, Routing, Custom, Log>>;

/// A node under test.
pub struct Node {
    pub manager: Arc<Manager>,
    pub handlers: Arc<Handlers>,
    pub id: NodeId,
    pub key: PublicKey,
}

impl Node {
    pub fn new(seed: u8) -> Self {
        Self::with(seed, Features::empty(), ChainHash::REGTEST)
    }

    pub fn with(seed: u8, features: Features, chain: ChainHash) -> Self {
        let handlers = Arc::new(Handlers { features, ..Handlers::default() });
        let keys = Keys::new(seed);
        let key = keys.public;
        let parts = Parts {
            keys,
            channels: Channels(handlers.clone()),
            routing: Routing(handlers.clone()),
            custom: Custom(handlers.clone()),
            log: Log(handlers.clone()),
        };
        let manager = Arc::new(PeerManager::new(parts, vec![chain]));
        Self { manager, handlers, id: NodeId::from(key), key }
    }

    /// Everything that waits to be sent on a connection.
    pub fn transmit(&self, connection: ConnectionId) -> Vec<u8> {
        let mut out = Vec::new();
        loop {
            let before = out.len();
            self.manager.poll_transmit(connection, &mut out);
            if out.len() == before {
                return out;
            }
        }
    }

    /// All ends of connections since the last call.
    pub fn ends(&self) -> Vec<(ConnectionId, Disconnect)> {
        std::iter::from_fn(|| self.manager.poll_disconnect()).collect()
    }

    pub fn logged(&self, text: &str) -> bool {
        self.handlers.logged().iter().any(|line| line.contains(text))
    }
}

/// Carries bytes between two nodes, in pieces of at most `piece`, until nothing moves.
pub fn carry(a: (&Node, ConnectionId), b: (&Node, ConnectionId), piece: usize) {
    loop {
        let mut moved = false;
        for ((from, from_id), (to, to_id)) in [(a, b), (b, a)] {
            from.manager.process_events();
            let bytes = from.transmit(from_id);
            moved |= !bytes.is_empty();
            for piece in bytes.chunks(piece) {
                let _ = to.manager.handle_bytes(to_id, piece);
            }
        }
        if !moved {
            return;
        }
    }
}

/// Connects two nodes; both connections have the same id.
pub fn connect(a: &Node, b: &Node, id: u64) -> ConnectionId {
    let id = ConnectionId(id);
    let act_one = a.manager.connect_outbound(id, b.key).unwrap();
    b.manager.accept_inbound(id, None).unwrap();
    b.manager.handle_bytes(id, &act_one).unwrap();
    carry((a, id), (b, id), usize::MAX);
    id
}

/// A peer that speaks the transport but says whatever a test wants.
pub struct Raw {
    pub id: NodeId,
    writer: FrameWriter,
    reader: FrameReader,
}

impl Raw {
    /// Calls `node` over `connection` and finishes the handshake; sends no `init`.
    pub fn call(node: &Node, connection: ConnectionId, seed: u8) -> Self {
        let secp = Secp::new();
        let keys = Keys::new(seed);
        let ephemeral = SecretKey::from_slice(&keys.bytes32()).unwrap();
        node.manager.accept_inbound(connection, None).unwrap();
        let (state, act_one) = InitiatorAwaitsActTwo::start(&secp, ephemeral, node.key);
        node.manager.handle_bytes(connection, &act_one).unwrap();
        let (act_three, session) = state.on_act_two(&node.transmit(connection), &keys).unwrap();
        node.manager.handle_bytes(connection, &act_three).unwrap();
        let (writer, reader) = framed(session);
        Self { id: NodeId::from(keys.public), writer, reader }
    }

    /// Calls, exchanges `init`, and leaves both sides ready.
    pub fn connect(node: &Node, connection: ConnectionId, seed: u8) -> Self {
        let mut raw = Self::call(node, connection, seed);
        raw.send(node, connection, &init(&[]).into()).unwrap();
        let received = raw.receive(node, connection);
        assert!(matches!(received.as_slice(), [Message::Init(_)]), "{received:?}");
        assert!(node.manager.is_connected(raw.id));
        raw
    }

    pub fn frame(&mut self, message: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        self.writer.write(message, &mut out).unwrap();
        out
    }

    pub fn send(
        &mut self,
        node: &Node,
        connection: ConnectionId,
        message: &Message,
    ) -> Result<(), Disconnect> {
        let frame = self.frame(&message.to_wire().unwrap());
        let outcome = node.manager.handle_bytes(connection, &frame);
        node.manager.process_events();
        outcome
    }

    /// Everything that the node has sent.
    pub fn receive(&mut self, node: &Node, connection: ConnectionId) -> Vec<Message> {
        self.decode(&node.transmit(connection))
    }

    pub fn decode(&mut self, mut bytes: &[u8]) -> Vec<Message> {
        let mut messages = Vec::new();
        while let Some(message) = self.reader.read(&mut bytes).unwrap() {
            messages.push(Message::decode(message).unwrap());
        }
        messages
    }
}

/// An `init` with these bits.
pub fn init(bits: &[u16]) -> Init {
    Init {
        globalfeatures: Features::empty(),
        features: Features::from_bits(bits.iter().copied()),
        networks: None,
        remote_addr: None,
        unknown: TlvRecords::new(),
    }
}

pub fn custom(type_id: u16, payload: &[u8]) -> Message {
    Message::Unknown(UnknownMessage { type_id, payload: payload.to_vec() })
}
