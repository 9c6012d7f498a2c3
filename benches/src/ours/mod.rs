//! Two nodes of ours in one process, with a channel between them.
mod parts;

use std::collections::VecDeque;

use bitcoin::constants::ChainHash;
use bitcoin::hashes::Hash as _;
use bitcoin::{Amount, BlockHash, Transaction};
use lightning_channel::manager::{ChannelManager, Tip};
use lightning_channel::payment::Recipient;
use lightning_channel::recover::RecordRows;
use lightning_traits::config::UserConfig;
use lightning_traits::event::{Event, MessageSendEvent};
use lightning_traits::feature::Features;
use lightning_traits::id::{NodeId, PaymentId, ShortChannelId};
use lightning_traits::interface::{
    ChainListener, ChannelMessageHandler as _, ConfirmedTransaction, EventsProvider as _,
    MessageSendEventsProvider as _,
};
use lightning_traits::route::{Path, Route, RouteHop};
use lightning_traits::units::{BlockHeight, CltvExpiry, Msat};
use lightning_traits::wire::{ChannelMessage, Init, Message};

use crate::chain::{funding, header};
use crate::crypto::Tally;
use crate::{CHANNEL_SAT, PAYMENT_MSAT};

pub use parts::{ChannelParts, keys};

const HEIGHT: u32 = 100;
const TIME: u32 = 1_700_000_000;

struct Node {
    manager: ChannelManager<ChannelParts>,
    inbox: VecDeque<Message>,
    /// The manager's record, as it was last due.
    record: RecordRows,
    sent: usize,
}

/// Two nodes and their channel.
pub struct Pair {
    nodes: [Node; 2],
    scid: ShortChannelId,
    tip: Tip,
    payments: u64,
    /// What went over the wire.
    pub tally: Tally,
}

impl Pair {
    /// Opens the channel.
    #[must_use]
    pub fn open() -> Self {
        let tip = Tip { hash: BlockHash::all_zeros(), height: BlockHeight::new(HEIGHT), time: TIME };
        let nodes = [1, 2].map(|seed| Node {
            manager: ChannelManager::new(
                ChannelParts::new(seed),
                UserConfig::default(),
                ChainHash::REGTEST,
                tip,
            ),
            inbox: VecDeque::new(),
            record: RecordRows::new(),
            sent: 0,
        });
        let mut pair = Self { nodes, scid: ShortChannelId(0), tip, payments: 0, tally: Tally::default() };
        pair.connect();
        let push = Msat::from_sat(CHANNEL_SAT / 2);
        let (peer, amount) = (pair.id(1), Amount::from_sat(CHANNEL_SAT));
        pair.nodes[0].manager.open_channel(peer, amount, push, false).unwrap();
        pair.settle();
        let broadcast = pair.nodes[0].manager.environment().broadcaster.take();
        pair.mine(&broadcast);
        (0..5).for_each(|_| pair.mine(&[]));
        pair.settle();
        let [hop] = &pair.nodes[0].manager.first_hops()[..] else { panic!("one usable channel") };
        pair.scid = hop.scid;
        pair.tally = Tally::default();
        pair
    }

    fn id(&self, node: usize) -> NodeId {
        self.nodes[node].manager.node_id()
    }

    fn connect(&mut self) {
        let init = Init {
            globalfeatures: Features::empty(),
            features: Features::node_default(),
            networks: None,
            remote_addr: None,
            unknown: Default::default(),
        };
        for (node, inbound) in [(0, false), (1, true)] {
            let peer = self.id(1 - node);
            self.nodes[node].manager.peer_connected(peer, &init, inbound).unwrap();
        }
    }

    fn mine(&mut self, transactions: &[Transaction]) {
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

    /// `count` payments, all under way at once, to the end: both users have seen all their events. The next ones go the
    /// other way.
    #[inline(never)]
    pub fn pay(&mut self, count: usize) {
        let payer = usize::try_from(self.payments % 2).unwrap();
        self.payments += 1;
        let payee = 1 - payer;
        let amount = Msat::new(PAYMENT_MSAT);
        for _ in 0..count {
            let invoice =
                self.nodes[payee].manager.create_inbound_payment(Some(amount), self.tip.time + 3_600);
            let expiry = CltvExpiry::after(self.tip.height, u32::from(invoice.final_cltv_delta.get()));
            let hop = RouteHop { node: self.id(payee), scid: self.scid, amount, expiry };
            let route = Route { paths: vec![Path { hops: vec![hop] }] };
            let recipient = Recipient::invoice(invoice.secret);
            let id = PaymentId(invoice.hash.0);
            self.nodes[payer].manager.send_along(id, invoice.hash, route, &recipient).unwrap();
        }
        let before = self.nodes[payer].sent;
        self.settle();
        assert_eq!(self.nodes[payer].sent - before, count, "payments that arrived");
    }

    /// Moves everything until nothing moves.
    fn settle(&mut self) {
        let mut moved = true;
        while moved {
            moved = false;
            for node in 0..2 {
                self.nodes[node].manager.process();
                moved |= self.react(node);
                moved |= self.collect(node);
                for row in self.nodes[node].manager.take_record() {
                    row.apply(&mut self.nodes[node].record);
                }
            }
            for node in 0..2 {
                moved |= self.deliver(node);
            }
        }
    }

    fn collect(&mut self, node: usize) -> bool {
        let mut moved = false;
        while let Some(event) = self.nodes[node].manager.next_message() {
            match event {
                MessageSendEvent::Send { message, .. } => {
                    self.count(&message);
                    self.nodes[1 - node].inbox.push_back(message);
                    moved = true;
                }
                MessageSendEvent::Broadcast { .. } => {}
                MessageSendEvent::Disconnect { last, .. } => panic!("{node} hangs up: {last:?}"),
            }
        }
        moved
    }

    fn count(&mut self, message: &Message) {
        match message {
            Message::UpdateAddHtlc(_) => self.tally.adds += 1,
            Message::RevokeAndAck(_) => self.tally.revocations += 1,
            Message::CommitmentSigned(message) => {
                self.tally.commitments += 1;
                self.tally.htlc_signatures += message.htlc_signature.len();
            }
            _ => {}
        }
    }

    fn deliver(&mut self, node: usize) -> bool {
        let sender = self.id(1 - node);
        let mut moved = false;
        while let Some(message) = self.nodes[node].inbox.pop_front() {
            moved = true;
            match message {
                Message::ChannelUpdate(_) => {}
                Message::Error(error) => panic!("{node} hears an error: {}", error.text()),
                message => {
                    let message = ChannelMessage::try_from(message).unwrap();
                    self.nodes[node].manager.on_channel_message(sender, message);
                }
            }
        }
        moved
    }

    /// The user answers all events.
    fn react(&mut self, node: usize) -> bool {
        let mut reacted = false;
        let node = &mut self.nodes[node];
        while let Some((id, event)) = node.manager.next_event(None) {
            reacted = true;
            match event {
                Event::FundingNeeded { temporary, value, script, .. } => {
                    node.manager.funding_transaction(temporary, funding(value, script)).unwrap();
                }
                Event::PaymentClaimable { hash, .. } => node.manager.claim(hash).unwrap(),
                Event::PaymentSent { .. } => node.sent += 1,
                Event::PaymentFailed { reason, .. } => panic!("a payment failed: {reason}"),
                Event::ChannelClosed { reason, .. } => panic!("the channel closed: {reason}"),
                _ => {}
            }
            node.manager.acknowledge_event(id);
        }
        reacted
    }
}
