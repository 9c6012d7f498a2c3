//! LDK nodes in one process, in a row with channels between them: LDK's public interface, driven as ours is.
mod parts;

use std::cell::Cell;
use std::sync::Arc;

use bitcoin::secp256k1::PublicKey;
use bitcoin::{Amount, Network, Transaction};
use lightning::chain::chainmonitor::ChainMonitor;
use lightning::chain::{BestBlock, Filter, Listen};
use lightning::events::{Event, EventsProvider as _, PaymentPurpose};
use lightning::ln::channelmanager::{
    ChainParameters, ChannelManager, MIN_FINAL_CLTV_EXPIRY_DELTA, PaymentId, RecipientOnionFields,
};
use lightning::ln::msgs::{
    BaseMessageHandler as _, ChannelMessageHandler as _, CommitmentUpdate, Init, MessageSendEvent,
};
use lightning::ln::types::ChannelId;
use lightning::routing::router::{Path, Route, RouteHop};
use lightning::sign::{InMemorySigner, KeysManager, NodeSigner as _};
use lightning::types::features::{ChannelFeatures, NodeFeatures};
use lightning::util::config::{MaxDustHTLCExposure, UserConfig};

use crate::chain::{funding, header};
use crate::crypto::Tally;
use crate::{CHANNEL_SAT, PAYMENT_MSAT};

pub use parts::{Broadcaster, Fees, Memory, NoRoutes, Quiet};

type Monitors = ChainMonitor<
    InMemorySigner,
    Arc<dyn Filter + Send + Sync>,
    Arc<Broadcaster>,
    Arc<Fees>,
    Arc<Quiet>,
    Arc<Memory>,
    Arc<KeysManager>,
>;
type Manager = ChannelManager<
    Arc<Monitors>,
    Arc<Broadcaster>,
    Arc<KeysManager>,
    Arc<KeysManager>,
    Arc<KeysManager>,
    Arc<Fees>,
    Arc<NoRoutes>,
    Arc<NoRoutes>,
    Arc<Quiet>,
>;

/// What LDK itself asks of its invoices, and some blocks more, as payers add.
const FINAL_CLTV: u32 = MIN_FINAL_CLTV_EXPIRY_DELTA as u32 + 3;
const TIME: u32 = 1_700_000_000;
/// What LDK's nodes ask for forwarding unless they are told otherwise.
const FORWARDING_FEE: u64 = 1_000;
const FORWARDING_CLTV: u32 = 72;

/// The keys of a node.
#[must_use]
pub fn keys(seed: u8) -> KeysManager {
    KeysManager::new(&[seed; 32], u64::from(TIME), 0, true)
}

struct Node {
    manager: Manager,
    monitors: Arc<Monitors>,
    broadcaster: Arc<Broadcaster>,
    store: Arc<Memory>,
    inbox: Vec<(usize, MessageSendEvent)>,
    sent: Cell<usize>,
}

impl Node {
    fn new(seed: u8) -> Self {
        let keys = Arc::new(keys(seed));
        let (broadcaster, fees, log) = (Arc::<Broadcaster>::default(), Arc::new(Fees), Arc::new(Quiet));
        let store = Arc::<Memory>::default();
        let monitors = Arc::new(Monitors::new(
            None,
            broadcaster.clone(),
            log.clone(),
            fees.clone(),
            store.clone(),
            keys.clone(),
            keys.get_peer_storage_key(),
        ));
        let routes = Arc::new(NoRoutes);
        // High up, as LDK makes names of channels up from the heights that there were.
        let genesis = BestBlock::from_network(Network::Regtest);
        let best_block = BestBlock::new(genesis.block_hash, 800_000);
        let manager = Manager::new(
            fees,
            monitors.clone(),
            broadcaster.clone(),
            routes.clone(),
            routes,
            log,
            keys.clone(),
            keys.clone(),
            keys,
            config(),
            ChainParameters { network: Network::Regtest, best_block },
            TIME,
        );
        Self { manager, monitors, broadcaster, store, inbox: Vec::new(), sent: Cell::new(0) }
    }

    fn id(&self) -> PublicKey {
        self.manager.get_our_node_id()
    }
}

/// The same kind of channel and the same limits as ours.
fn config() -> UserConfig {
    let mut config = UserConfig::default();
    config.channel_handshake_config.negotiate_anchors_zero_fee_htlc_tx = true;
    config.channel_handshake_config.our_max_accepted_htlcs = 483;
    config.channel_handshake_config.max_inbound_htlc_value_in_flight_percent_of_channel = 100;
    config.channel_config.max_dust_htlc_exposure = MaxDustHTLCExposure::FixedLimitMsat(50_000_000);
    config.manually_accept_inbound_channels = true;
    config.accept_forwards_to_priv_channels = true;
    config
}

/// Nodes in a row, each with a channel to the next.
pub struct Line {
    nodes: Vec<Node>,
    scids: Vec<u64>,
    payments: u64,
    tally: Tally,
}

impl Line {
    /// Opens all channels between so many nodes.
    #[must_use]
    pub fn open(nodes: u8) -> Self {
        let nodes: Vec<_> = (1..=nodes).map(Node::new).collect();
        let mut line = Self { nodes, scids: Vec::new(), payments: 0, tally: Tally::default() };
        for node in 1..line.nodes.len() {
            line.open_channel(node - 1, node);
        }
        line.tally = Tally::default();
        line
    }

    fn open_channel(&mut self, from: usize, to: usize) {
        for (node, peer, inbound) in [(from, to, false), (to, from, true)] {
            let (here, peer) = (&self.nodes[node].manager, &self.nodes[peer]);
            let features = peer.manager.provided_init_features(here.get_our_node_id());
            let init = Init { features, networks: None, remote_network_address: None };
            here.peer_connected(peer.id(), &init, inbound).unwrap();
        }
        let (peer, push) = (self.nodes[to].id(), CHANNEL_SAT / 2 * 1_000);
        self.nodes[from].manager.create_channel(peer, CHANNEL_SAT, push, 0, None, None).unwrap();
        self.settle();
        let broadcast = self.nodes[from].broadcaster.take();
        self.mine(&broadcast);
        (0..5).for_each(|_| self.mine(&[]));
        self.settle();
        let channels = self.nodes[from].manager.list_usable_channels();
        let channel = channels.iter().find(|channel| channel.counterparty.node_id == peer);
        self.scids.push(channel.expect("a usable channel").short_channel_id.unwrap());
    }

    /// Opens so many more channels between the first two nodes, which carry nothing.
    pub fn open_more(&mut self, count: usize) {
        let (peer, push) = (self.nodes[1].id(), CHANNEL_SAT / 2 * 1_000);
        for _ in 0..count {
            self.nodes[0].manager.create_channel(peer, CHANNEL_SAT, push, 0, None, None).unwrap();
        }
        self.settle();
        let broadcast = self.nodes[0].broadcaster.take();
        assert_eq!(broadcast.len(), count, "funding transactions");
        self.mine(&broadcast);
    }

    /// How many channels the first node watches.
    #[must_use]
    pub fn watched(&self) -> usize {
        self.nodes[0].monitors.list_monitors().len()
    }

    /// The next block, for all; `timed` runs what the monitors of the first node do with it. Gives the transactions back.
    pub fn connect<T>(
        &self,
        transactions: Vec<Transaction>,
        timed: impl FnOnce(&mut dyn FnMut()) -> T,
    ) -> (T, Vec<Transaction>) {
        let tip = self.nodes[0].manager.current_best_block();
        let height = tip.height + 1;
        let block = bitcoin::Block { header: header(tip.block_hash, TIME + height), txdata: transactions };
        let took = timed(&mut || self.nodes[0].monitors.block_connected(&block, height));
        for node in &self.nodes[1..] {
            node.monitors.block_connected(&block, height);
        }
        for node in &self.nodes {
            node.manager.block_connected(&block, height);
        }
        (took, block.txdata)
    }

    fn mine(&self, transactions: &[Transaction]) {
        let tip = self.nodes[0].manager.current_best_block();
        let height = tip.height + 1;
        let header = header(tip.block_hash, TIME + height);
        let confirmed: Vec<_> =
            transactions.iter().enumerate().map(|(index, transaction)| (index + 1, transaction)).collect();
        for node in &self.nodes {
            node.monitors.filtered_block_connected(&header, &confirmed, height);
            node.manager.filtered_block_connected(&header, &confirmed, height);
        }
    }

    /// `count` payments from end to end, all under way at once: both users have seen all their events. The next ones go
    /// the other way.
    #[inline(never)]
    pub fn pay(&mut self, count: usize) {
        let forth = self.payments.is_multiple_of(2);
        self.payments += 1;
        let mut way: Vec<usize> = (0..self.nodes.len()).collect();
        let mut scids = self.scids.clone();
        if !forth {
            way.reverse();
            scids.reverse();
        }
        let (payer, payee) = (way[0], way[way.len() - 1]);
        let before = self.nodes[payer].sent.get();
        for _ in 0..count {
            let (hash, secret) = self.nodes[payee]
                .manager
                .create_inbound_payment(Some(PAYMENT_MSAT), 1_000_000, None)
                .unwrap();
            let hops = way[1..].iter().zip(&scids).map(|(node, scid)| {
                let (fee_msat, cltv_expiry_delta) = if *node == payee {
                    (PAYMENT_MSAT, FINAL_CLTV)
                } else {
                    (FORWARDING_FEE, FORWARDING_CLTV)
                };
                RouteHop {
                    pubkey: self.nodes[*node].id(),
                    node_features: NodeFeatures::empty(),
                    short_channel_id: *scid,
                    channel_features: ChannelFeatures::empty(),
                    fee_msat,
                    cltv_expiry_delta,
                    maybe_announced_channel: false,
                }
            });
            let paths = vec![Path { hops: hops.collect(), blinded_tail: None }];
            let (route, fields) =
                (Route { paths, route_params: None }, RecipientOnionFields::secret_only(secret));
            let payer = &self.nodes[payer].manager;
            payer.send_payment_with_route(route, hash, fields, PaymentId(hash.0)).unwrap();
        }
        self.settle();
        assert_eq!(self.nodes[payer].sent.get() - before, count, "payments that arrived");
    }

    /// What went over the wire since the last call.
    pub fn take_tally(&mut self) -> Tally {
        let mut tally = std::mem::take(&mut self.tally);
        tally.forwards = tally.adds - tally.adds / self.scids.len();
        tally
    }

    /// Bytes that each node gave to its store up to now: the updates of its monitors.
    #[must_use]
    pub fn written(&self) -> Vec<u64> {
        self.nodes.iter().map(|node| node.store.written()).collect()
    }

    /// Moves everything until nothing moves.
    fn settle(&mut self) {
        let mut moved = true;
        while moved {
            moved = false;
            for node in 0..self.nodes.len() {
                let here = &self.nodes[node];
                while here.manager.needs_pending_htlc_processing() {
                    here.manager.process_pending_htlc_forwards();
                }
                moved |= react(here);
                for message in here.manager.get_and_clear_pending_msg_events() {
                    moved = true;
                    if let Some(to) = self.receiver(&message) {
                        self.nodes[to].inbox.push((node, message));
                    }
                }
            }
            for node in 0..self.nodes.len() {
                for (from, message) in std::mem::take(&mut self.nodes[node].inbox) {
                    self.deliver(from, node, message);
                }
            }
        }
    }

    /// Which node a message is for; `None` when it says nothing that matters here.
    fn receiver(&self, message: &MessageSendEvent) -> Option<usize> {
        let id = match message {
            MessageSendEvent::SendOpenChannel { node_id, .. }
            | MessageSendEvent::SendAcceptChannel { node_id, .. }
            | MessageSendEvent::SendFundingCreated { node_id, .. }
            | MessageSendEvent::SendFundingSigned { node_id, .. }
            | MessageSendEvent::SendChannelReady { node_id, .. }
            | MessageSendEvent::SendRevokeAndACK { node_id, .. }
            | MessageSendEvent::UpdateHTLCs { node_id, .. } => node_id,
            MessageSendEvent::SendChannelUpdate { .. }
            | MessageSendEvent::SendAnnouncementSignatures { .. }
            | MessageSendEvent::BroadcastChannelUpdate { .. } => return None,
            other => panic!("nobody expects {other:?}"),
        };
        self.nodes.iter().position(|node| node.id() == *id)
    }

    fn deliver(&mut self, from: usize, node: usize, message: MessageSendEvent) {
        let sender = self.nodes[from].id();
        let here = &self.nodes[node].manager;
        match message {
            MessageSendEvent::SendOpenChannel { msg, .. } => here.handle_open_channel(sender, &msg),
            MessageSendEvent::SendAcceptChannel { msg, .. } => here.handle_accept_channel(sender, &msg),
            MessageSendEvent::SendFundingCreated { msg, .. } => here.handle_funding_created(sender, &msg),
            MessageSendEvent::SendFundingSigned { msg, .. } => here.handle_funding_signed(sender, &msg),
            MessageSendEvent::SendChannelReady { msg, .. } => here.handle_channel_ready(sender, &msg),
            MessageSendEvent::SendRevokeAndACK { msg, .. } => {
                self.tally.revocations += 1;
                here.handle_revoke_and_ack(sender, &msg);
            }
            MessageSendEvent::UpdateHTLCs { channel_id, updates, .. } => {
                count(&mut self.tally, &updates);
                update(here, sender, channel_id, updates);
            }
            other => panic!("{node} does not expect {other:?}"),
        }
    }
}

fn count(tally: &mut Tally, updates: &CommitmentUpdate) {
    tally.adds += updates.update_add_htlcs.len();
    tally.commitments += updates.commitment_signed.len();
    let signatures = updates.commitment_signed.iter().map(|message| message.htlc_signatures.len());
    tally.with_htlcs += signatures.clone().filter(|count| *count > 0).count();
    tally.htlc_signatures += signatures.sum::<usize>();
}

fn update(here: &Manager, sender: PublicKey, _: ChannelId, updates: CommitmentUpdate) {
    for message in &updates.update_add_htlcs {
        here.handle_update_add_htlc(sender, message);
    }
    for message in updates.update_fulfill_htlcs {
        here.handle_update_fulfill_htlc(sender, message);
    }
    assert!(updates.update_fail_htlcs.is_empty() && updates.update_fail_malformed_htlcs.is_empty());
    if let Some(message) = &updates.update_fee {
        here.handle_update_fee(sender, message);
    }
    for message in &updates.commitment_signed {
        here.handle_commitment_signed(sender, message);
    }
}

/// The user answers all events.
fn react(node: &Node) -> bool {
    let reacted = Cell::new(false);
    let manager = &node.manager;
    node.manager.process_pending_events(&|event: Event| {
        reacted.set(true);
        match event {
            Event::OpenChannelRequest { temporary_channel_id, counterparty_node_id, .. } => {
                manager
                    .accept_inbound_channel(&temporary_channel_id, &counterparty_node_id, 0, None)
                    .unwrap();
            }
            Event::FundingGenerationReady {
                temporary_channel_id,
                counterparty_node_id,
                channel_value_satoshis,
                output_script,
                ..
            } => {
                let transaction = funding(Amount::from_sat(channel_value_satoshis), output_script);
                manager
                    .funding_transaction_generated(temporary_channel_id, counterparty_node_id, transaction)
                    .unwrap();
            }
            Event::PaymentClaimable {
                purpose: PaymentPurpose::Bolt11InvoicePayment { payment_preimage: Some(preimage), .. },
                ..
            } => manager.claim_funds(preimage),
            Event::PaymentSent { .. } => node.sent.set(node.sent.get() + 1),
            Event::PaymentFailed { reason, .. } => panic!("a payment failed: {reason:?}"),
            Event::ChannelClosed { reason, .. } => panic!("the channel closed: {reason}"),
            _ => {}
        }
        Ok(())
    });
    reacted.get()
}
