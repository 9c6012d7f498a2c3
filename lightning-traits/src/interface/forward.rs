//! Every interface for `&T`, `Box<T>`, `Rc<T>` and `Arc<T>`.
//!
//! Generic code can own, share or borrow an implementation without knowing which. The table below lists
//! each trait's methods once; the macro only repeats them for the four kinds of pointer.
use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::sync::Arc;
use alloc::vec::Vec;

use bitcoin::block::Header;
use bitcoin::{Amount, Block, BlockHash, OutPoint, ScriptBuf, Transaction};
use secp256k1::PublicKey;
use secp256k1::ecdsa::{RecoverableSignature, Signature};

use super::*;
use crate::Secp;
use crate::event::{Event, MessageSendEvent};
use crate::feature::Features;
use crate::id::{ChannelId, ChannelKeysId, CommitmentNumber, EventId, NodeId, PaymentId};
use crate::monitor::{
    ChannelMonitorUpdate, LateRefusal, MonitorEvent, MonitorSnapshot, NewMonitor, Persist, Receipt,
    StoredChannel,
};
use crate::route::{NoRoute, Route, RouteAnswer, RouteQuery, RouteReport};
use crate::tx::{ChannelPublicKeys, CommitmentSecret, FundingOutput, KeyError};
use crate::units::{BlockHeight, FeeratePerKw};
use crate::wire::{ChannelMessage, ChannelUpdate, ErrorMessage, Init, RoutingMessage, WarningMessage};

macro_rules! forward {
    ($($trait:ident { $(type $assoc:ident;)* $(fn $method:ident(&self $(, $arg:ident: $ty:ty)*) $(-> $ret:ty)?;)* })*) => {
        $(
            forward!(@one $trait [&T] { $(type $assoc;)* $(fn $method(&self $(, $arg: $ty)*) $(-> $ret)?;)* });
            forward!(@one $trait [Box<T>] { $(type $assoc;)* $(fn $method(&self $(, $arg: $ty)*) $(-> $ret)?;)* });
            forward!(@one $trait [Rc<T>] { $(type $assoc;)* $(fn $method(&self $(, $arg: $ty)*) $(-> $ret)?;)* });
            forward!(@one $trait [Arc<T>] { $(type $assoc;)* $(fn $method(&self $(, $arg: $ty)*) $(-> $ret)?;)* });
        )*
    };
    (@one $trait:ident [$pointer:ty] { $(type $assoc:ident;)* $(fn $method:ident(&self $(, $arg:ident: $ty:ty)*) $(-> $ret:ty)?;)* }) => {
        impl<T: $trait + ?Sized> $trait for $pointer {
            $(type $assoc = T::$assoc;)*
            $(fn $method(&self $(, $arg: $ty)*) $(-> $ret)? {
                (**self).$method($($arg),*)
            })*
        }
    };
}

forward! {
    ChainListener {
        fn block_connected(&self, block: &Block, height: BlockHeight);
        fn filtered_block_connected(&self, header: &Header, transactions: &[ConfirmedTransaction<'_>], height: BlockHeight);
        fn block_disconnected(&self, header: &Header, height: BlockHeight);
        fn best_block(&self) -> Option<(BlockHash, BlockHeight)>;
    }
    ChainWatchInterface {
        fn watch_output(&self, outpoint: OutPoint, script: &ScriptBuf);
    }
    BroadcasterInterface {
        fn broadcast(&self, package: &[Transaction]);
    }
    FeeEstimator {
        fn feerate(&self, target: ConfirmationTarget) -> FeeratePerKw;
    }
    BlockSource {
        fn tip(&self) -> Result<Tip, SourceError>;
        fn hash_at(&self, height: u32) -> Result<Option<BlockHash>, SourceError>;
        fn header(&self, hash: &BlockHash) -> Result<Option<HeaderInfo>, SourceError>;
        fn block(&self, hash: &BlockHash) -> Result<Block, SourceError>;
        fn broadcast(&self, package: &[Transaction]) -> Result<Vec<Broadcast>, SourceError>;
        fn feerate(&self, blocks: u16) -> Result<Option<FeeratePerKw>, SourceError>;
        fn least_feerate(&self) -> Result<FeeratePerKw, SourceError>;
        fn unspent(&self, outpoint: &OutPoint) -> Result<Option<Unspent>, SourceError>;
        fn waiting_spenders(&self, outpoints: &[OutPoint]) -> Result<Vec<Transaction>, SourceError>;
    }
    Logger {
        fn log(&self, record: &LogRecord<'_>);
    }
    EntropySource {
        fn fill(&self, bytes: &mut [u8]);
        fn bytes32(&self) -> [u8; 32];
    }
    KeysInterface {
        type Signer;
        fn node_id(&self) -> PublicKey;
        fn ecdh(&self, their_key: &PublicKey) -> Result<[u8; 32], SignError>;
        fn sign_gossip(&self, digest: &[u8; 32]) -> Result<Signature, SignError>;
        fn sign_invoice(&self, digest: &[u8; 32]) -> Result<RecoverableSignature, SignError>;
        fn inbound_payment_key(&self) -> [u8; 32];
        fn new_channel_keys(&self) -> ChannelKeysId;
        fn signer(&self, keys: &ChannelKeysId) -> Self::Signer;
        fn destination_script(&self, keys: &ChannelKeysId) -> ScriptBuf;
        fn shutdown_script(&self, keys: &ChannelKeysId) -> ScriptBuf;
    }
    ChannelSigner {
        fn public_keys(&self) -> ChannelPublicKeys;
        fn commitment_point(&self, number: CommitmentNumber) -> Result<PublicKey, SignError>;
        fn release_secret(&self, number: CommitmentNumber) -> Result<CommitmentSecret, SignError>;
        fn our_revocation_key(&self, secp: &Secp, number: CommitmentNumber, point: &PublicKey, their_basepoint: &PublicKey) -> Result<PublicKey, KeyError>;
        fn their_revocation_key(&self, secp: &Secp, their_point: &PublicKey, our_basepoint: &PublicKey) -> Result<PublicKey, KeyError>;
        fn sign_theirs(&self, request: &CommitmentToSign<'_>) -> Result<CommitmentSignatures, SignError>;
        fn sign_ours(&self, request: &CommitmentToSign<'_>) -> Result<Signature, SignError>;
        fn sign_closing(&self, funding: &FundingOutput, transaction: &Transaction) -> Result<Signature, SignError>;
        fn sign_input(&self, request: &InputToSign<'_>) -> Result<Signature, SignError>;
        fn sign_announcement(&self, digest: &[u8; 32]) -> Result<Signature, SignError>;
    }
    ManyChannelMonitor {
        fn add_channel(&self, new: NewMonitor) -> Persist;
        fn update_channel(&self, update: ChannelMonitorUpdate) -> Persist;
        fn next_receipt(&self) -> Option<Receipt>;
        fn next_refusal(&self) -> Option<LateRefusal>;
        fn next_monitor_event(&self, after: Option<EventId>) -> Option<(EventId, MonitorEvent)>;
        fn acknowledge_monitor_event(&self, id: EventId);
    }
    MonitorStore {
        fn write_new(&self, new: &NewMonitor) -> Persist;
        fn write_update(&self, update: &ChannelMonitorUpdate, snapshot: Option<MonitorSnapshot>) -> Persist;
        fn write_chain_state(&self, channel: ChannelId, snapshot: MonitorSnapshot);
        fn write_tip(&self, hash: BlockHash, height: BlockHeight);
        fn archive(&self, channel: ChannelId);
        fn read(&self, channel: ChannelId) -> Option<StoredChannel>;
        fn next_receipt(&self) -> Option<Receipt>;
    }
    ChannelMessageHandler {
        fn peer_connected(&self, peer: NodeId, init: &Init, inbound: bool) -> Result<(), RefusePeer>;
        fn peer_disconnected(&self, peer: NodeId);
        fn on_channel_message(&self, peer: NodeId, message: ChannelMessage);
        fn on_error(&self, peer: NodeId, error: &ErrorMessage);
        fn on_warning(&self, peer: NodeId, warning: &WarningMessage);
        fn on_channel_update(&self, peer: NodeId, update: &ChannelUpdate);
        fn features(&self) -> Features;
    }
    RoutingMessageHandler {
        fn peer_connected(&self, peer: NodeId, init: &Init, inbound: bool);
        fn peer_disconnected(&self, peer: NodeId);
        fn on_routing_message(&self, peer: NodeId, message: RoutingMessage);
        fn on_own_message(&self, message: &RoutingMessage);
        fn gossip_has_room(&self, peer: NodeId);
        fn features(&self) -> Features;
    }
    CustomMessageHandler {
        fn on_custom_message(&self, peer: NodeId, type_id: u16, payload: &[u8]) -> bool;
        fn next_custom_message(&self) -> Option<(NodeId, u16, Vec<u8>)>;
    }
    MessageSendEventsProvider {
        fn next_message(&self) -> Option<MessageSendEvent>;
    }
    CoinSource {
        fn reserve(&self, claim: OutPoint, needed: Amount, feerate: FeeratePerKw) -> Option<Coins>;
        fn hold(&self, claim: OutPoint, coins: &[OutPoint], change: Option<ScriptBuf>);
        fn sign(&self, transaction: Transaction) -> Option<Transaction>;
        fn release(&self, claim: OutPoint);
    }
    EventsProvider {
        fn next_event(&self, after: Option<EventId>) -> Option<(EventId, Event)>;
        fn acknowledge_event(&self, id: EventId);
    }
    Environment {
        type Monitors;
        type Keys;
        type Fees;
        type Broadcaster;
        type Routes;
        type Log;
        fn monitors(&self) -> &Self::Monitors;
        fn keys(&self) -> &Self::Keys;
        fn fees(&self) -> &Self::Fees;
        fn broadcaster(&self) -> &Self::Broadcaster;
        fn routes(&self) -> &Self::Routes;
        fn log(&self) -> &Self::Log;
    }
    RouteFinder {
        fn find_route(&self, query: RouteQuery) -> RouteAnswer;
        fn next_route(&self) -> Option<(PaymentId, Result<Route, NoRoute>)>;
        fn report(&self, report: RouteReport);
    }
}
