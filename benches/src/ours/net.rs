//! Nodes of ours in one process, connected to each other, with channels between them.
use std::collections::VecDeque;

use bitcoin::constants::ChainHash;
use bitcoin::hashes::Hash as _;
use bitcoin::{Amount, BlockHash, Transaction};
use lightning_channel::manager::{ChannelManager, Tip};
use lightning_channel::payment::Recipient;
use lightning_channel::recover::{RecordRows, RowChange};
use lightning_traits::config::UserConfig;
use lightning_traits::event::{Event, MessageSendEvent};
use lightning_traits::feature::Features;
use lightning_traits::id::{NodeId, PaymentId, ShortChannelId};
use lightning_traits::interface::{
    ChainListener, ChannelMessageHandler as _, ConfirmedTransaction, EventsProvider as _,
    MessageSendEventsProvider as _,
};
use lightning_traits::payment::{PaymentHash, PaymentSecret};
use lightning_traits::route::{Path, Route, RouteHop};
use lightning_traits::units::{BlockHeight, CltvExpiry, Msat};
use lightning_traits::wire::{ChannelMessage, Init, Message};

use super::parts::ChannelParts;
use crate::chain::{funding, header};
use crate::crypto::Tally;
use crate::{CHANNEL_SAT, PAYMENT_MSAT};

const HEIGHT: u32 = 100;
const TIME: u32 = 1_700_000_000;

/// The manager of a node.
pub type Manager = ChannelManager<ChannelParts>;

pub(super) struct Node {
    pub(super) manager: Manager,
    /// Messages for it, with the node that sent each.
    inbox: VecDeque<(usize, Message)>,
    /// The manager's record, as it was last due.
    pub(super) record: RecordRows,
    /// Bytes of all its rows.
    pub(super) record_bytes: u64,
    pub(super) sent: usize,
    /// Payments that wait for the user, who claims them at once, unless it holds them.
    pub(super) claimable: usize,
}

/// Nodes.
pub struct Net {
    pub(super) nodes: Vec<Node>,
    pub(super) tip: Tip,
    /// Whether users leave what is claimable as it is.
    pub holds: bool,
    /// What went over the wire.
    pub tally: Tally,
}

/// One channel on the way of a payment: to which node, by which name.
pub type Step = (usize, ShortChannelId);

/// What an invoice says.
pub(super) struct Invoice {
    pub(super) hash: PaymentHash,
    pub(super) secret: PaymentSecret,
    pub(super) final_cltv: u32,
}

impl Net {
    /// So many nodes, each connected to the next. They keep what they store where `keeps` says so.
    #[must_use]
    pub fn new(count: u8, keeps: bool) -> Self {
        let tip = Tip { hash: BlockHash::all_zeros(), height: BlockHeight::new(HEIGHT), time: TIME };
        let node = |seed| Node {
            manager: Manager::new(
                ChannelParts::new(seed, keeps),
                UserConfig::default(),
                ChainHash::REGTEST,
                tip,
            ),
            inbox: VecDeque::new(),
            record: RecordRows::new(),
            record_bytes: 0,
            sent: 0,
            claimable: 0,
        };
        let nodes: Vec<_> = (1..=count).map(node).collect();
        let mut net = Self { nodes, tip, holds: false, tally: Tally::default() };
        for node in 1..net.nodes.len() {
            net.connect(node - 1, node);
        }
        net
    }

    /// The node's manager.
    #[must_use]
    pub fn manager(&self, node: usize) -> &Manager {
        &self.nodes[node].manager
    }

    pub(super) fn id(&self, node: usize) -> NodeId {
        self.nodes[node].manager.node_id()
    }

    /// Connects two nodes.
    pub fn connect(&mut self, one: usize, other: usize) {
        let init = Init {
            globalfeatures: Features::empty(),
            features: Features::node_default(),
            networks: None,
            remote_addr: None,
            unknown: Default::default(),
        };
        for (node, peer, inbound) in [(one, other, false), (other, one, true)] {
            let peer = self.id(peer);
            self.nodes[node].manager.peer_connected(peer, &init, inbound).unwrap();
        }
    }

    /// Opens so many channels from one node to another, half of each pushed over.
    pub fn open(&mut self, from: usize, to: usize, count: usize) -> Vec<ShortChannelId> {
        let before = self.scids(from, to);
        let (peer, amount) = (self.id(to), Amount::from_sat(CHANNEL_SAT));
        for _ in 0..count {
            let push = Msat::from_sat(CHANNEL_SAT / 2);
            self.nodes[from].manager.open_channel(peer, amount, push, false).unwrap();
            self.settle();
            let broadcast = self.nodes[from].manager.environment().broadcaster.take();
            self.mine(&broadcast);
        }
        (0..5).for_each(|_| self.mine(&[]));
        self.settle();
        let mut scids = self.scids(from, to);
        scids.retain(|scid| !before.contains(scid));
        assert_eq!(scids.len(), count, "usable channels");
        self.tally = Tally::default();
        scids
    }

    fn scids(&self, from: usize, to: usize) -> Vec<ShortChannelId> {
        let peer = self.id(to);
        let hops = self.nodes[from].manager.first_hops();
        hops.into_iter().filter(|hop| hop.node == peer).map(|hop| hop.scid).collect()
    }

    /// A block.
    pub fn mine(&mut self, transactions: &[Transaction]) {
        let header = header(self.tip.hash, self.tip.time + 600);
        let height = self.tip.height.plus(1);
        self.tip = Tip { hash: header.block_hash(), height, time: header.time };
        let confirmed: Vec<_> = transactions
            .iter()
            .enumerate()
            .map(|(index, transaction)| ConfirmedTransaction { index: index + 1, transaction })
            .collect();
        for node in &self.nodes {
            let listeners: [&dyn ChainListener; 2] = [&node.manager.environment().monitors, &node.manager];
            for listener in listeners {
                listener.filtered_block_connected(&header, &confirmed, height);
            }
        }
    }

    pub(super) fn invoice(&self, payee: usize) -> Invoice {
        let manager = &self.nodes[payee].manager;
        let invoice =
            manager.create_inbound_payment(Some(Msat::new(PAYMENT_MSAT)), self.tip.time + 1_000_000);
        let final_cltv = u32::from(invoice.final_cltv_delta.get());
        Invoice { hash: invoice.hash, secret: invoice.secret, final_cltv }
    }

    /// The route of a payment along these steps; fees and delays are those of our default terms.
    pub(super) fn route(&self, steps: &[Step], final_cltv: u32) -> Route {
        let terms = UserConfig::default().channel;
        let (mut amount, mut delta) = (PAYMENT_MSAT, final_cltv);
        let mut hops = Vec::new();
        for (node, scid) in steps.iter().rev() {
            let expiry = CltvExpiry::after(self.tip.height, delta);
            hops.push(RouteHop { node: self.id(*node), scid: *scid, amount: Msat::new(amount), expiry });
            amount +=
                terms.fee_base.to_msat() + amount * u64::from(terms.fee_proportional_millionths) / 1_000_000;
            delta += u32::from(terms.cltv_delta.get());
        }
        hops.reverse();
        Route { paths: vec![Path { hops }] }
    }

    /// Sends a payment on its way.
    pub fn send(&mut self, payer: usize, steps: &[Step]) {
        let payee = steps[steps.len() - 1].0;
        let invoice = self.invoice(payee);
        let route = self.route(steps, invoice.final_cltv);
        send(&self.nodes[payer].manager, &invoice, route);
    }

    /// `count` payments, all under way at once, to the end: both users have seen all their events.
    pub fn pay(&mut self, payer: usize, steps: &[Step], count: usize) {
        (0..count).for_each(|_| self.send(payer, steps));
        let before = self.nodes[payer].sent;
        self.settle();
        assert_eq!(self.nodes[payer].sent - before, count, "payments that arrived");
    }

    /// Users claim all that they have left as it is.
    pub fn claim_all(&mut self) {
        self.holds = false;
        self.settle();
    }

    /// Moves everything until nothing moves.
    pub fn settle(&mut self) {
        let mut moved = true;
        while moved {
            moved = false;
            for node in 0..self.nodes.len() {
                self.nodes[node].manager.process();
                moved |= self.react(node);
                moved |= self.collect(node);
                let node = &mut self.nodes[node];
                for row in node.manager.take_record() {
                    node.record_bytes += row_bytes(&row);
                    row.apply(&mut node.record);
                }
            }
            for node in 0..self.nodes.len() {
                moved |= self.deliver(node);
            }
        }
    }

    fn collect(&mut self, node: usize) -> bool {
        let mut moved = false;
        while let Some(event) = self.nodes[node].manager.next_message() {
            match event {
                MessageSendEvent::Send { to, message } => {
                    count(&mut self.tally, &message);
                    let to = self.nodes.iter_mut().find(|node| node.manager.node_id() == to).unwrap();
                    to.inbox.push_back((node, message));
                    moved = true;
                }
                MessageSendEvent::Broadcast { .. } => {}
                MessageSendEvent::Disconnect { last, .. } => panic!("{node} hangs up: {last:?}"),
            }
        }
        moved
    }

    fn deliver(&mut self, node: usize) -> bool {
        let mut moved = false;
        while let Some((from, message)) = self.nodes[node].inbox.pop_front() {
            moved = true;
            let from = self.id(from);
            hand_over(&self.nodes[node].manager, from, message);
        }
        moved
    }

    /// The user answers all events.
    fn react(&mut self, node: usize) -> bool {
        let (mut reacted, mut after) = (false, None);
        let node = &mut self.nodes[node];
        while let Some((id, event)) = node.manager.next_event(after) {
            if self.holds && matches!(event, Event::PaymentClaimable { .. }) {
                after = Some(id);
                continue;
            }
            reacted = true;
            node.sent += usize::from(matches!(event, Event::PaymentSent { .. }));
            answer(&node.manager, event);
            node.manager.acknowledge_event(id);
        }
        node.claimable = usize::from(after.is_some());
        reacted
    }
}

/// Sends one payment along a route.
pub(super) fn send(payer: &Manager, invoice: &Invoice, route: Route) {
    let recipient = Recipient::invoice(invoice.secret.clone());
    payer.send_along(PaymentId(invoice.hash.0), invoice.hash, route, &recipient).unwrap();
}

/// Gives a manager a message of its peer.
pub(super) fn hand_over(manager: &Manager, from: NodeId, message: Message) {
    match message {
        Message::ChannelUpdate(_) => {}
        Message::Error(error) => panic!("an error: {}", error.text()),
        message => manager.on_channel_message(from, ChannelMessage::try_from(message).unwrap()),
    }
}

/// What the user does about an event.
pub(super) fn answer(manager: &Manager, event: Event) {
    match event {
        Event::FundingNeeded { temporary, value, script, .. } => {
            manager.funding_transaction(temporary, funding(value, script)).unwrap();
        }
        Event::PaymentClaimable { hash, .. } => manager.claim(hash).unwrap(),
        Event::PaymentFailed { reason, .. } => panic!("a payment failed: {reason}"),
        Event::ChannelClosed { reason, .. } => panic!("the channel closed: {reason}"),
        _ => {}
    }
}

fn row_bytes(row: &RowChange) -> u64 {
    (row.key.len() + row.value.as_ref().map_or(0, Vec::len)) as u64
}

fn count(tally: &mut Tally, message: &Message) {
    match message {
        Message::UpdateAddHtlc(_) => tally.adds += 1,
        Message::RevokeAndAck(_) => tally.revocations += 1,
        Message::CommitmentSigned(message) => {
            tally.commitments += 1;
            tally.htlc_signatures += message.htlc_signature.len();
            tally.with_htlcs += usize::from(!message.htlc_signature.is_empty());
        }
        _ => {}
    }
}
