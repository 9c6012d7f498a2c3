//! Every interface can be borrowed, owned, shared and proxied, and nothing changes but who stands in between.
//!
//! One structure implements all interfaces and notes each call. The same calls are made of it directly, through each
//! kind of pointer, and through a forwarding proxy; answers and notes must be the same. It overrides every method
//! that has a default, so a pointer or proxy that forgot to pass one on shows.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "tests"
)]
mod proxy;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::Path as FilePath;
use std::rc::Rc;
use std::sync::Arc;

use bitcoin::block::Header;
use bitcoin::constants::genesis_block;
use bitcoin::hashes::Hash as _;
use bitcoin::{
    Amount, Block, BlockHash, EcdsaSighashType, Network, OutPoint, Script, ScriptBuf, Transaction, TxOut,
};
use lightning_traits::event::{Event, MessageSendEvent};
use lightning_traits::feature::Features;
use lightning_traits::id::{
    ChannelId, ChannelKeysId, CommitmentNumber, EventId, NodeId, PaymentId, UpdateId,
};
use lightning_traits::interface::*;
use lightning_traits::monitor::*;
use lightning_traits::payment::PaymentHash;
use lightning_traits::route::*;
use lightning_traits::tx::{
    ChannelPublicKeys, CommitmentFormat, CommitmentKeys, CommitmentParams, CommitmentSecret, CommitmentSpec,
    CommitmentTx, FundingOutput, ObscureFactor, TxSide,
};
use lightning_traits::units::{BlockHeight, CltvDelta, CsvDelay, FeeratePerKw, Msat};
use lightning_traits::wire::{
    ChannelMessage, ChannelUpdate, ChannelUpdateBody, ErrorMessage, Init, RoutingMessage, Stfu,
    WarningMessage,
};
use proxy::forward::{Forward, PROXIED};
use secp256k1::ecdsa::{RecoverableSignature, RecoveryId, Signature};
use secp256k1::{PublicKey, Secp256k1, SecretKey};

/// Notes every call with its arguments.
#[derive(Clone, Default)]
struct Echo {
    calls: Rc<RefCell<Vec<String>>>,
}

impl Echo {
    fn note(&self, call: impl core::fmt::Debug) {
        self.calls.borrow_mut().push(format!("{call:?}"));
    }
}

const PEER: NodeId = NodeId([3; 33]);
const CHANNEL: ChannelId = ChannelId([4; 32]);

fn point() -> PublicKey {
    SecretKey::from_slice(&[7; 32]).unwrap().public_key(&Secp256k1::new())
}

fn signature() -> Signature {
    Signature::from_compact(&[1; 64]).unwrap()
}

fn block() -> Block {
    genesis_block(Network::Regtest)
}

fn transaction() -> Transaction {
    block().txdata.remove(0)
}

fn outpoint() -> OutPoint {
    OutPoint { txid: transaction().compute_txid(), vout: 5 }
}

fn public_keys() -> ChannelPublicKeys {
    ChannelPublicKeys {
        funding: point(),
        revocation_basepoint: point(),
        payment_basepoint: point(),
        delayed_payment_basepoint: point(),
        htlc_basepoint: point(),
    }
}

fn funding() -> FundingOutput {
    FundingOutput::new(outpoint(), Amount::from_sat(1), point(), point())
}

fn update() -> ChannelMonitorUpdate {
    ChannelMonitorUpdate {
        channel: CHANNEL,
        id: UpdateId(6),
        steps: vec![MonitorStep::ForceClose {}],
        record: RecordChange::Same {},
        extra: Default::default(),
    }
}

fn new_monitor() -> NewMonitor {
    let terms = PartyTerms {
        keys: public_keys(),
        dust_limit: Amount::from_sat(354),
        to_self_delay: CsvDelay::new(6),
    };
    let spec = CommitmentSpec {
        feerate: FeeratePerKw::new(253),
        to_broadcaster: Msat::new(1_000),
        to_countersigner: Msat::ZERO,
        htlcs: vec![],
    };
    let init = MonitorInit {
        channel: CHANNEL,
        peer: PEER,
        keys: ChannelKeysId([1; 32]),
        funding: funding(),
        format: CommitmentFormat::AnchorsZeroFeeHtlc,
        obscure: ObscureFactor::new(&point(), &point()),
        we_opened: true,
        ours: terms.clone(),
        theirs: terms,
        our_spec: spec.clone(),
        their_signature: signature(),
        their_spec: spec,
        their_point: point(),
        destination: ScriptBuf::new(),
        birth: BlockHeight::new(9),
    };
    NewMonitor { init, record: RecordChange::Same {}, extra: Default::default() }
}

fn channel_update() -> ChannelUpdate {
    let body = ChannelUpdateBody {
        chain_hash: bitcoin::constants::ChainHash::REGTEST,
        short_channel_id: Default::default(),
        timestamp: 1,
        message_flags: 1,
        channel_flags: 0,
        cltv_expiry_delta: CltvDelta::new(1),
        htlc_minimum_msat: Msat::ZERO,
        fee_base_msat: 0,
        fee_proportional_millionths: 0,
        htlc_maximum_msat: Msat::MAX,
        excess: Default::default(),
    };
    ChannelUpdate { signature: signature(), body }
}

fn init() -> Init {
    Init {
        globalfeatures: Features::empty(),
        features: Features::from_bits([1]),
        networks: None,
        remote_addr: None,
        unknown: Default::default(),
    }
}

fn query() -> RouteQuery {
    RouteQuery { max_total_cltv: 1, ..RouteQuery::new(PaymentId([1; 32]), PEER, PEER, Msat::new(5)) }
}

/// The table of what `Echo` notes and answers: a call is noted with its arguments, and answered with the value.
macro_rules! echo {
    ($($trait:ident { $(type $assoc:ident = $is:ty;)* $(fn $method:ident(&self $(, $arg:ident: $ty:ty)*) -> $ret:ty { $value:expr })* })*) => {
        $(impl $trait for Echo {
            $(type $assoc = $is;)*
            $(fn $method(&self $(, $arg: $ty)*) -> $ret {
                self.note((concat!(stringify!($trait), "::", stringify!($method)), $(&$arg,)*));
                $value
            })*
        })*
    };
}

echo! {
    BlockSource {
        fn tip(&self) -> Result<Tip, SourceError> {
            Ok(Tip { hash: BlockHash::all_zeros(), height: 1, network: Network::Signet, syncing: true })
        }
        fn hash_at(&self, height: u32) -> Result<Option<BlockHash>, SourceError> { Ok((height > 0).then(BlockHash::all_zeros)) }
        fn header(&self, hash: &BlockHash) -> Result<Option<HeaderInfo>, SourceError> { Err(SourceError::Pruned(*hash)) }
        fn block(&self, hash: &BlockHash) -> Result<Block, SourceError> { Err(SourceError::WrongBlock(*hash)) }
        fn broadcast(&self, package: &[Transaction]) -> Result<Vec<Broadcast>, SourceError> { Ok(vec![Broadcast::Accepted; package.len()]) }
        fn feerate(&self, blocks: u16) -> Result<Option<FeeratePerKw>, SourceError> { Ok(Some(FeeratePerKw::new(u32::from(blocks)))) }
        fn least_feerate(&self) -> Result<FeeratePerKw, SourceError> { Ok(FeeratePerKw::new(253)) }
        fn unspent(&self, outpoint: &OutPoint) -> Result<Option<Unspent>, SourceError> {
            Ok(Some(Unspent { output: TxOut::NULL, confirmations: outpoint.vout, coinbase: false }))
        }
        fn waiting_spenders(&self, outpoints: &[OutPoint]) -> Result<Vec<Transaction>, SourceError> {
            Ok(vec![transaction(); outpoints.len()])
        }
    }
    BroadcasterInterface {
        fn broadcast(&self, package: &[Transaction]) -> () { () }
    }
    ChainListener {
        fn block_connected(&self, block: &Block, height: BlockHeight) -> () { () }
        fn filtered_block_connected(&self, header: &Header, transactions: &[ConfirmedTransaction<'_>], height: BlockHeight) -> () { () }
        fn block_disconnected(&self, header: &Header, height: BlockHeight) -> () { () }
        fn best_block(&self) -> Option<(BlockHash, BlockHeight)> { Some((BlockHash::all_zeros(), BlockHeight::new(8))) }
    }
    ChainWatchInterface {
        fn watch_output(&self, outpoint: OutPoint, script: &ScriptBuf) -> () { () }
    }
    ChannelMessageHandler {
        fn peer_connected(&self, peer: NodeId, init: &Init, inbound: bool) -> Result<(), RefusePeer> { Err(RefusePeer) }
        fn peer_disconnected(&self, peer: NodeId) -> () { () }
        fn on_channel_message(&self, peer: NodeId, message: ChannelMessage) -> () { () }
        fn on_error(&self, peer: NodeId, error: &ErrorMessage) -> () { () }
        fn on_warning(&self, peer: NodeId, warning: &WarningMessage) -> () { () }
        fn on_channel_update(&self, peer: NodeId, update: &ChannelUpdate) -> () { () }
        fn features(&self) -> Features { Features::from_bits([12]) }
    }
    ChannelSigner {
        fn public_keys(&self) -> ChannelPublicKeys { public_keys() }
        fn commitment_point(&self, number: CommitmentNumber) -> Result<PublicKey, SignError> { Ok(point()) }
        fn release_secret(&self, number: CommitmentNumber) -> Result<CommitmentSecret, SignError> { Err(SignError::InProgress) }
        fn sign_theirs(&self, request: &CommitmentToSign<'_>) -> Result<CommitmentSignatures, SignError> {
            Ok(CommitmentSignatures { commitment: signature(), htlcs: vec![signature()] })
        }
        fn sign_ours(&self, request: &CommitmentToSign<'_>) -> Result<Signature, SignError> { Err(SignError::Refused) }
        fn sign_closing(&self, funding: &FundingOutput, transaction: &Transaction) -> Result<Signature, SignError> { Ok(signature()) }
        fn sign_input(&self, request: &InputToSign<'_>) -> Result<Signature, SignError> { Ok(signature()) }
        fn sign_announcement(&self, digest: &[u8; 32]) -> Result<Signature, SignError> { Ok(signature()) }
    }
    CoinSource {
        fn reserve(&self, claim: OutPoint, needed: Amount, feerate: FeeratePerKw) -> Option<Coins> {
            Some(Coins { inputs: vec![], change: ScriptBuf::from_bytes(vec![1]) })
        }
        fn hold(&self, claim: OutPoint, coins: &[OutPoint], change: Option<ScriptBuf>) -> () { () }
        fn sign(&self, transaction: Transaction) -> Option<Transaction> { Some(transaction) }
        fn release(&self, claim: OutPoint) -> () { () }
    }
    CustomMessageHandler {
        fn on_custom_message(&self, peer: NodeId, type_id: u16, payload: &[u8]) -> bool { true }
        fn next_custom_message(&self) -> Option<(NodeId, u16, Vec<u8>)> { Some((PEER, 40_001, vec![1])) }
    }
    EventsProvider {
        fn next_event(&self, after: Option<EventId>) -> Option<(EventId, Event)> { Some((EventId(2), Event::Resolved { channel: CHANNEL })) }
        fn acknowledge_event(&self, id: EventId) -> () { () }
    }
    FeeEstimator {
        fn feerate(&self, target: ConfirmationTarget) -> FeeratePerKw { FeeratePerKw::new(777) }
    }
    KeysInterface {
        type Signer = Echo;
        fn node_id(&self) -> PublicKey { point() }
        fn ecdh(&self, their_key: &PublicKey) -> Result<[u8; 32], SignError> { Ok([5; 32]) }
        fn sign_gossip(&self, digest: &[u8; 32]) -> Result<Signature, SignError> { Ok(signature()) }
        fn sign_invoice(&self, digest: &[u8; 32]) -> Result<RecoverableSignature, SignError> {
            Ok(RecoverableSignature::from_compact(&[1; 64], RecoveryId::from_i32(1).unwrap()).unwrap())
        }
        fn inbound_payment_key(&self) -> [u8; 32] { [6; 32] }
        fn new_channel_keys(&self) -> ChannelKeysId { ChannelKeysId([7; 32]) }
        fn signer(&self, keys: &ChannelKeysId) -> Echo { Echo::default() }
        fn destination_script(&self, keys: &ChannelKeysId) -> ScriptBuf { ScriptBuf::from_bytes(vec![2]) }
        fn shutdown_script(&self, keys: &ChannelKeysId) -> ScriptBuf { ScriptBuf::from_bytes(vec![3]) }
    }
    ManyChannelMonitor {
        fn add_channel(&self, new: NewMonitor) -> Persist { Persist::Durable(new.receipt()) }
        fn update_channel(&self, update: ChannelMonitorUpdate) -> Persist { Persist::Durable(update.receipt()) }
        fn next_receipt(&self) -> Option<Receipt> { Some(update().receipt()) }
        fn next_refusal(&self) -> Option<LateRefusal> {
            Some(LateRefusal { channel: CHANNEL, id: UpdateId(4), why: MonitorRefusal::OnChain })
        }
        fn next_monitor_event(&self, after: Option<EventId>) -> Option<(EventId, MonitorEvent)> {
            Some((EventId(3), MonitorEvent::Resolved { channel: CHANNEL }))
        }
        fn acknowledge_monitor_event(&self, id: EventId) -> () { () }
    }
    MessageSendEventsProvider {
        fn next_message(&self) -> Option<MessageSendEvent> { Some(MessageSendEvent::Disconnect { peer: PEER, last: None }) }
    }
    MonitorStore {
        fn write_new(&self, new: &NewMonitor) -> Persist { Persist::Durable(new.receipt()) }
        fn write_update(&self, update: &ChannelMonitorUpdate, snapshot: Option<MonitorSnapshot>) -> Persist { Persist::InProgress }
        fn write_chain_state(&self, channel: ChannelId, snapshot: MonitorSnapshot) -> () { () }
        fn write_tip(&self, hash: BlockHash, height: BlockHeight) -> () { () }
        fn archive(&self, channel: ChannelId) -> () { () }
        fn read(&self, channel: ChannelId) -> Option<StoredChannel> {
            Some(StoredChannel { new: vec![3], ..StoredChannel::default() })
        }
        fn next_receipt(&self) -> Option<Receipt> { Some(update().receipt()) }
    }
    RouteFinder {
        fn find_route(&self, query: RouteQuery) -> RouteAnswer { RouteAnswer::InProgress }
        fn next_route(&self) -> Option<(PaymentId, Result<Route, NoRoute>)> { Some((PaymentId([8; 32]), Err(NoRoute::Pointless))) }
        fn report(&self, report: RouteReport) -> () { () }
    }
    RoutingMessageHandler {
        fn peer_connected(&self, peer: NodeId, init: &Init, inbound: bool) -> () { () }
        fn peer_disconnected(&self, peer: NodeId) -> () { () }
        fn on_routing_message(&self, peer: NodeId, message: RoutingMessage) -> () { () }
        fn on_own_message(&self, message: &RoutingMessage) -> () { () }
        fn gossip_has_room(&self, peer: NodeId) -> () { () }
        fn features(&self) -> Features { Features::from_bits([7]) }
    }
}

impl EntropySource for Echo {
    fn fill(&self, bytes: &mut [u8]) {
        self.note(("EntropySource::fill", bytes.len()));
        bytes.fill(0x55);
    }

    fn bytes32(&self) -> [u8; 32] {
        self.note("EntropySource::bytes32");
        [0x66; 32]
    }
}

impl Logger for Echo {
    fn log(&self, record: &LogRecord<'_>) {
        self.note(("Logger::log", record.level, record.module, record.message.to_string()));
    }
}

impl Environment for Echo {
    type Monitors = Self;
    type Keys = Self;
    type Fees = Self;
    type Broadcaster = Self;
    type Routes = Self;
    type Log = Self;

    fn monitors(&self) -> &Self {
        self.note("Environment::monitors");
        self
    }
    fn keys(&self) -> &Self {
        self.note("Environment::keys");
        self
    }
    fn fees(&self) -> &Self {
        self.note("Environment::fees");
        self
    }
    fn broadcaster(&self) -> &Self {
        self.note("Environment::broadcaster");
        self
    }
    fn routes(&self) -> &Self {
        self.note("Environment::routes");
        self
    }
    fn log(&self) -> &Self {
        self.note("Environment::log");
        self
    }
}

/// Makes every call of a trait and returns all answers. `drive!` makes a test of it for one trait.
macro_rules! drive {
    ($test:ident: $trait:ident, $methods:literal, |$subject:ident| [$($call:expr),* $(,)?]) => {
        #[test]
        fn $test() {
            fn answers($subject: impl $trait) -> Vec<String> {
                vec![$(format!("{:?}", $call)),*]
            }
            let notes = |echo: &Echo| core::mem::take(&mut *echo.calls.borrow_mut());
            let echo = Echo::default();
            let expected = answers(echo.clone());
            let expected_notes = notes(&echo);
            // Calls of what a bundle holds are noted too, and are not the bundle's.
            let own = |note: &&String| note.contains(concat!(stringify!($trait), "::"));
            let made = expected_notes.iter().filter(own).count() as u64;
            let distinct: BTreeSet<&str> =
                expected_notes.iter().filter(own).map(|note| note.split([',', ')']).next().unwrap()).collect();
            assert_eq!(distinct.len(), $methods, "every method is called: {distinct:?}");
            let check = |answers: Vec<String>, through: &str| {
                assert_eq!(answers, expected, "answers through {through}");
                assert_eq!(notes(&echo), expected_notes, "calls through {through}");
            };
            check(answers(&echo), "a reference");
            check(answers(&&echo), "a reference to a reference");
            check(answers(Box::new(echo.clone())), "a box");
            check(answers(Rc::new(echo.clone())), "an Rc");
            check(answers(Arc::new(echo.clone())), "an Arc");
            let forward = Forward::new(echo.clone());
            check(answers(&forward), "a proxy");
            assert_eq!(forward.calls(), made);
            let twice = Forward::new(Box::new(Forward::new(&echo)));
            check(answers(&twice), "two proxies");
            assert_eq!((twice.calls(), twice.inner().calls()), (forward.calls(), forward.calls()));
        }
    };
}

drive!(block_source: BlockSource, 9, |subject| [
    subject.tip(),
    subject.hash_at(3),
    subject.header(&BlockHash::all_zeros()),
    subject.block(&BlockHash::all_zeros()),
    subject.broadcast(&[transaction()]),
    subject.feerate(6),
    subject.least_feerate(),
    subject.unspent(&outpoint()),
    subject.waiting_spenders(&[outpoint()]),
]);

drive!(broadcaster: BroadcasterInterface, 1, |subject| [subject.broadcast(&[transaction()])]);

drive!(chain_listener: ChainListener, 4, |subject| [
    subject.block_connected(&block(), BlockHeight::new(4)),
    subject.filtered_block_connected(
        &block().header,
        &[ConfirmedTransaction { index: 3, transaction: &transaction() }],
        BlockHeight::new(5),
    ),
    subject.block_disconnected(&block().header, BlockHeight::new(5)),
    subject.best_block(),
]);

drive!(chain_watch: ChainWatchInterface, 1, |subject| [subject.watch_output(outpoint(), &ScriptBuf::new())]);

drive!(channel_messages: ChannelMessageHandler, 7, |subject| [
    subject.peer_connected(PEER, &init(), true),
    subject.peer_disconnected(PEER),
    subject.on_channel_message(PEER, Stfu { channel_id: CHANNEL, initiator: true, unknown: Default::default() }.into()),
    subject.on_error(PEER, &ErrorMessage { channel_id: CHANNEL, data: vec![1], unknown: Default::default() }),
    subject.on_warning(PEER, &WarningMessage { channel_id: CHANNEL, data: vec![2], unknown: Default::default() }),
    subject.on_channel_update(PEER, &channel_update()),
    subject.features(),
]);

drive!(channel_signer: ChannelSigner, 8, |subject| [{
    let params = CommitmentParams {
        format: CommitmentFormat::StaticRemoteKey,
        funding: funding(),
        broadcaster_funding_key: point(),
        obscure: ObscureFactor::new(&point(), &point()),
        dust_limit: Amount::ZERO,
        to_self_delay: CsvDelay::new(1),
        opener: TxSide::Broadcaster,
    };
    let keys = CommitmentKeys {
        per_commitment_point: point(),
        revocation_key: point(),
        broadcaster_delayed_key: point(),
        htlc: None,
        countersigner_payment_key: point(),
    };
    let commitment = CommitmentTx {
        number: CommitmentNumber(2),
        feerate: FeeratePerKw::new(253),
        txid: transaction().compute_txid(),
        tx: transaction(),
        htlcs: vec![],
        to_broadcaster: None,
        to_countersigner: Some(0),
        broadcaster_anchor: None,
        countersigner_anchor: None,
    };
    let request = CommitmentToSign { params: &params, keys: &keys, commitment: &commitment };
    let input = InputToSign {
        transaction: &transaction(),
        input: 1,
        value: Amount::from_sat(3),
        script: Script::new(),
        sighash: EcdsaSighashType::All,
        key: &SigningKey::Delayed(point()),
    };
    (
        subject.public_keys(),
        subject.commitment_point(CommitmentNumber(1)),
        subject.release_secret(CommitmentNumber(1)).is_ok(),
        subject.sign_theirs(&request),
        subject.sign_ours(&request),
        subject.sign_closing(&funding(), &transaction()),
        subject.sign_input(&input),
        subject.sign_announcement(&[9; 32]),
    )
}]);

drive!(coin_source: CoinSource, 4, |subject| [
    subject.reserve(outpoint(), Amount::from_sat(5), FeeratePerKw::new(300)),
    subject.hold(outpoint(), &[outpoint()], Some(ScriptBuf::from_bytes(vec![2]))),
    subject.sign(transaction()),
    subject.release(outpoint()),
]);

drive!(custom_messages: CustomMessageHandler, 2, |subject| [
    subject.on_custom_message(PEER, 40_003, &[1, 2]),
    subject.next_custom_message(),
]);

drive!(entropy: EntropySource, 2, |subject| [
    {
        let mut bytes = [0; 5];
        subject.fill(&mut bytes);
        bytes
    },
    subject.bytes32(),
]);

drive!(environment: Environment, 6, |subject| [
    subject.monitors().next_receipt(),
    subject.keys().node_id(),
    subject.fees().feerate(ConfirmationTarget::Normal),
    subject.broadcaster().broadcast(&[]),
    subject.routes().next_route(),
    subject.log().log(&LogRecord {
        level: Level::Info,
        module: "here",
        peer: None,
        channel: None,
        message: format_args!("a sentence"),
    }),
]);

drive!(events: EventsProvider, 2, |subject| [
    subject.next_event(Some(EventId(1))),
    subject.acknowledge_event(EventId(1)),
]);

drive!(fees: FeeEstimator, 1, |subject| [subject.feerate(ConfirmationTarget::Urgent)]);

drive!(keys: KeysInterface, 9, |subject| [
    subject.node_id(),
    subject.ecdh(&point()),
    subject.sign_gossip(&[1; 32]),
    subject.sign_invoice(&[2; 32]).map(|signature| signature.serialize_compact()),
    subject.inbound_payment_key(),
    subject.new_channel_keys(),
    subject.signer(&ChannelKeysId([3; 32])).public_keys(),
    subject.destination_script(&ChannelKeysId([4; 32])),
    subject.shutdown_script(&ChannelKeysId([5; 32])),
]);

drive!(log: Logger, 1, |subject| [subject.log(&LogRecord {
    level: Level::Warn,
    module: "somewhere",
    peer: Some(PEER),
    channel: None,
    message: format_args!("a sentence of {} words", 5),
})]);

drive!(monitors: ManyChannelMonitor, 6, |subject| [
    subject.add_channel(new_monitor()),
    subject.update_channel(update()),
    subject.next_receipt(),
    subject.next_refusal(),
    subject.next_monitor_event(None),
    subject.acknowledge_monitor_event(EventId(5)),
]);

drive!(messages: MessageSendEventsProvider, 1, |subject| [subject.next_message()]);

drive!(store: MonitorStore, 7, |subject| [
    subject.write_new(&new_monitor()),
    subject.write_update(&update(), Some(MonitorSnapshot { state: vec![1], past: Vec::new() })),
    subject.write_chain_state(CHANNEL, MonitorSnapshot { state: vec![2], past: Vec::new() }),
    subject.write_tip(BlockHash::all_zeros(), BlockHeight::new(1)),
    subject.archive(CHANNEL),
    subject.read(CHANNEL),
    subject.next_receipt(),
]);

drive!(routes: RouteFinder, 3, |subject| [
    subject.find_route(query()),
    subject.next_route(),
    subject.report(RouteReport {
        hash: PaymentHash([1; 32]),
        path: Path { hops: vec![] },
        outcome: PathOutcome::Unreadable,
    }),
]);

drive!(routing_messages: RoutingMessageHandler, 6, |subject| [
    subject.peer_connected(PEER, &init(), false),
    subject.peer_disconnected(PEER),
    subject.on_routing_message(PEER, channel_update().into()),
    subject.on_own_message(&channel_update().into()),
    subject.gossip_has_room(PEER),
    subject.features(),
]);

/// An interface without a proxy, and so without a test here, is found by reading the sources.
#[test]
fn every_interface_has_a_proxy() {
    let folder = FilePath::new(env!("CARGO_MANIFEST_DIR")).join("src/interface");
    let mut traits = BTreeSet::new();
    for file in std::fs::read_dir(folder).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        let names = text.lines().filter_map(|line| line.strip_prefix("pub trait "));
        traits.extend(names.map(|rest| rest.split([' ', ':', '{']).next().unwrap().to_owned()));
    }
    let proxied: BTreeSet<String> = PROXIED.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(traits, proxied);
    assert_eq!(traits.len(), 19);
}
