//! Nodes, the wires between them, and the chain.
//!
//! Nothing moves but by a call: messages wait on their wires, writes for the disk, blocks for those who fetch them.
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

use bitcoin::{Amount, OutPoint, TxOut};
use lightning_chain_embedded::EmbeddedChain;
use lightning_channel::channel::PhaseName;
use lightning_channel::manager::InboundPayment;
use lightning_channel::payment::{PayParams, Recipient};
use lightning_traits::event::{Event, MessageSendEvent};
use lightning_traits::feature::Features;
use lightning_traits::id::{ChannelId, EventId, NodeId, PaymentId};
use lightning_traits::interface::{
    ChannelMessageHandler as _, EventsProvider, MessageSendEventsProvider, RoutingMessageHandler as _,
};
use lightning_traits::units::Msat;
use lightning_traits::wire::{ChannelMessage, Init, Message, RoutingMessage};

use crate::bank::{Bank, nobody};
use crate::dice::Dice;
use crate::disk::Durable;
use crate::node::Node;
use crate::parts::SimFees;

/// A channel of the setup.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link {
    pub(crate) ends: [usize; 2],
    pub(crate) channel: ChannelId,
    pub(crate) capacity: Amount,
    pub(crate) funding: OutPoint,
}

/// What each node has for claims on chain.
const COINS: usize = 6;
const COIN: Amount = Amount::from_sat(100_000);

/// All of a node's coins at the beginning.
pub(crate) fn purse() -> Amount {
    COIN * COINS as u64
}

/// A small network.
pub(crate) struct World {
    pub(crate) nodes: Vec<Node>,
    /// What is on the way from one node to another.
    pub(crate) wires: BTreeMap<(usize, usize), VecDeque<Vec<u8>>>,
    pub(crate) links: Vec<Link>,
    pub(crate) chain: EmbeddedChain,
    pub(crate) fees: SimFees,
    connected: BTreeSet<(usize, usize)>,
    bank: Bank,
    payments: u64,
    /// Whether channels may fail: some user has sent one to the chain.
    pub(crate) is_war: bool,
    loud: bool,
}

impl World {
    /// Nodes without channels.
    pub(crate) fn new(count: usize, dice: &mut Dice, loud: bool) -> Self {
        let chain = EmbeddedChain::new();
        let mut bank = Bank::new(&chain, 8);
        let fees = SimFees(Rc::new(Cell::new(2_000)));
        let nodes = (0..count).map(|number| Node::new(number, &chain, &fees, Dice::new(dice.next()), loud));
        let nodes: Vec<Node> = nodes.collect();
        let purse = |node: &Node| {
            core::iter::repeat_n(TxOut { value: COIN, script_pubkey: node.coins.script() }, COINS)
        };
        let gift = bank.pay(nodes.iter().flat_map(purse).collect());
        chain.submit(&gift).expect("the bank pays");
        chain.mine(1, &nobody());
        Self {
            nodes,
            wires: BTreeMap::new(),
            links: Vec::new(),
            chain,
            fees,
            connected: BTreeSet::new(),
            bank,
            payments: 0,
            is_war: false,
            loud,
        }
    }

    pub(crate) fn say(&self, text: impl FnOnce() -> String) {
        if self.loud {
            println!("{}", text());
        }
    }

    /// Time of the tip.
    pub(crate) fn now(&self) -> u32 {
        self.chain.block_at(self.chain.height()).unwrap().header.time
    }

    pub(crate) fn index(&self, id: NodeId) -> usize {
        self.nodes.iter().position(|node| node.id() == id).expect("nobody else is here")
    }

    /// Pairs of nodes that have channels.
    pub(crate) fn pairs(&self) -> Vec<(usize, usize)> {
        let pairs: BTreeSet<_> = self.links.iter().map(|link| (link.ends[0], link.ends[1])).collect();
        pairs.into_iter().collect()
    }

    pub(crate) fn connect(&mut self, a: usize, b: usize) {
        if !self.connected.insert((a.min(b), a.max(b))) {
            return;
        }
        self.say(|| format!("{a} and {b} connect"));
        let features = |node: &Node| {
            let handlers = [node.running().manager.features(), node.running().router.features()];
            handlers.iter().fold(Features::empty(), |all, more| all.union(more))
        };
        for (here, there, inbound) in [(a, b, false), (b, a, true)] {
            let init = Init {
                globalfeatures: Features::empty(),
                features: features(&self.nodes[there]),
                networks: None,
                remote_addr: None,
                unknown: Default::default(),
            };
            let (peer, running) = (self.nodes[there].id(), self.nodes[here].running());
            running.manager.peer_connected(peer, &init, inbound).expect("nobody is refused");
            running.router.peer_connected(peer, &init, inbound);
        }
    }

    pub(crate) fn disconnect(&mut self, a: usize, b: usize) {
        if !self.connected.remove(&(a.min(b), a.max(b))) {
            return;
        }
        self.say(|| format!("{a} and {b} disconnect"));
        for (here, there) in [(a, b), (b, a)] {
            self.wires.remove(&(here, there));
            let peer = self.nodes[there].id();
            if let Some(running) = &self.nodes[here].running {
                running.manager.peer_disconnected(peer);
                running.router.peer_disconnected(peer);
            }
        }
    }

    fn peers_of(&self, node: usize) -> Vec<usize> {
        let is_peer = |other: &usize| self.connected.contains(&(node.min(*other), node.max(*other)));
        (0..self.nodes.len()).filter(is_peer).collect()
    }

    /// The node dies and starts again from its disk; whoever was connected connects again.
    pub(crate) fn restart(&mut self, node: usize) {
        self.say(|| format!("{node} crashes"));
        let peers = self.peers_of(node);
        self.nodes[node].crash();
        peers.iter().for_each(|peer| self.disconnect(node, *peer));
        self.nodes[node].start();
        peers.iter().for_each(|peer| self.connect(node, *peer));
    }

    /// The node starts again from an old backup, and is connected to nobody.
    pub(crate) fn fall_back(&mut self, node: usize, backup: Durable) {
        self.say(|| format!("{node} starts again from an old backup"));
        self.is_war = true;
        let peers = self.peers_of(node);
        self.nodes[node].crash();
        peers.iter().for_each(|peer| self.disconnect(node, *peer));
        self.nodes[node].disk.replace(backup);
        self.nodes[node].start();
    }

    /// Takes all messages of a node to the wires.
    pub(crate) fn collect(&mut self, node: usize) {
        loop {
            let running = self.nodes[node].running();
            let event = running.manager.next_message().or_else(|| running.router.next_message());
            let Some(event) = event else { return };
            match event {
                MessageSendEvent::Send { to, message } => {
                    let to = self.index(to);
                    self.send(node, to, &message);
                }
                MessageSendEvent::Broadcast { message, from } => self.broadcast(node, message, from),
                MessageSendEvent::Disconnect { peer, last } => {
                    let is_error = matches!(last, Some(Message::Error(_)));
                    assert!(!is_error || self.is_war, "{node} fails an honest peer: {last:?}");
                    self.say(|| format!("{node} hangs up: {last:?}"));
                    let peer = self.index(peer);
                    self.disconnect(node, peer);
                }
            }
        }
    }

    fn send(&mut self, from: usize, to: usize, message: &Message) {
        // Dropped when the peer is not connected, as the interface says.
        if self.connected.contains(&(from.min(to), from.max(to))) {
            self.wires.entry((from, to)).or_default().push_back(message.to_wire().expect("fits"));
        }
    }

    fn broadcast(&mut self, node: usize, message: RoutingMessage, from: Option<NodeId>) {
        if from.is_none() {
            self.nodes[node].running().router.on_own_message(&message);
        }
        let from = from.map(|from| self.index(from));
        let message = Message::from(message);
        for peer in self.peers_of(node) {
            if Some(peer) != from {
                self.send(node, peer, &message);
            }
        }
    }

    /// Delivers the next message of one wire; `false` when there is none.
    pub(crate) fn deliver(&mut self, from: usize, to: usize) -> bool {
        let Some(wire) = self.wires.get_mut(&(from, to)) else { return false };
        let Some(bytes) = wire.pop_front() else { return false };
        if wire.is_empty() {
            let peer = self.nodes[to].id();
            self.nodes[from].running().router.gossip_has_room(peer);
        }
        let message = Message::decode(&bytes).expect("an honest message decodes");
        self.say(|| format!("{from} -> {to}: {}", name(&message)));
        let (sender, running) = (self.nodes[from].id(), self.nodes[to].running());
        match message {
            Message::Error(error) => {
                assert!(self.is_war, "{from} reports an error to {to}: {}", error.text());
                running.manager.on_error(sender, &error);
            }
            Message::Warning(warning) => running.manager.on_warning(sender, &warning),
            Message::ChannelUpdate(update) => {
                running.manager.on_channel_update(sender, &update);
                running.router.on_routing_message(sender, update.into());
            }
            other => match ChannelMessage::try_from(other) {
                Ok(message) => running.manager.on_channel_message(sender, message),
                Err(other) => {
                    let message = RoutingMessage::try_from(other).expect("nobody sends other messages");
                    running.router.on_routing_message(sender, message);
                }
            },
        }
        true
    }

    /// The user of a node sees its next event, reacts, and acknowledges it unless `forgets`. `false` when there is none.
    pub(crate) fn react(&mut self, node: usize, forgets: bool) -> bool {
        let running = self.nodes[node].running();
        if let Some((id, event)) = running.manager.next_event(None) {
            self.handle(node, id, &event);
            if !forgets {
                self.nodes[node].running().manager.acknowledge_event(id);
            }
            return true;
        }
        let Some((id, event)) = running.monitors.next_event(None) else { return false };
        running.monitors.acknowledge_event(id);
        self.nodes[node].user.seen.push(event);
        true
    }

    fn handle(&mut self, node: usize, id: EventId, event: &Event) {
        self.say(|| format!("{node} sees {id} {event:?}"));
        self.nodes[node].user.note(id, event);
        match event {
            Event::FundingNeeded { temporary, value, script, .. } => {
                let transaction = self.bank.fund(*value, script);
                self.nodes[node]
                    .manager()
                    .funding_transaction(*temporary, transaction)
                    .expect("it is awaited");
            }
            Event::PaymentClaimable { hash, preimage, .. } => {
                let node = &self.nodes[node];
                // Seen again, it may be claimed or given back by now.
                let _repeated = if node.user.refuses.contains(hash) {
                    node.manager().fail(*hash)
                } else if preimage.is_some() {
                    node.manager().claim(*hash)
                } else {
                    node.manager().claim_with(node.user.held[hash].clone())
                };
            }
            _ => {}
        }
    }

    /// Moves everything but the chain until nothing moves.
    pub(crate) fn settle(&mut self) {
        for _ in 0..10_000 {
            let mut moved = false;
            for node in 0..self.nodes.len() {
                self.nodes[node].disk.write_all();
                self.nodes[node].process();
                while self.react(node, false) {
                    moved = true;
                }
                self.collect(node);
            }
            let wires: Vec<_> = self.wires.keys().copied().collect();
            for (from, to) in wires {
                while self.deliver(from, to) {
                    moved = true;
                }
            }
            if !moved && self.nodes.iter().all(|node| node.disk.is_idle()) {
                return;
            }
        }
        panic!("it never settles");
    }

    /// Mines blocks, of which nobody hears yet.
    pub(crate) fn mine(&mut self, count: u32) {
        self.chain.mine(count, &nobody());
    }

    /// Everybody hears of all blocks, and everything settles.
    pub(crate) fn catch_up(&mut self) {
        for node in 0..self.nodes.len() {
            self.nodes[node].follow_chain();
        }
        self.settle();
    }

    /// Opens a channel that both can use and that everybody knows.
    pub(crate) fn open(&mut self, a: usize, b: usize, sat: u64, push_sat: u64) {
        self.connect(a, b);
        let known: BTreeSet<ChannelId> = self.links.iter().map(|link| link.channel).collect();
        let (peer, capacity) = (self.nodes[b].id(), Amount::from_sat(sat));
        let opened = self.nodes[a].manager().open_channel(peer, capacity, Msat::from_sat(push_sat), true);
        opened.expect("the terms are the library's own");
        self.settle();
        for _ in 0..8 {
            self.mine(1);
            self.catch_up();
        }
        let channels = self.nodes[a].manager().list_channels();
        let new = channels.iter().find(|channel| !known.contains(&channel.channel)).expect("it is there");
        assert_eq!(new.phase, PhaseName::Open);
        let funded = new.funded.as_ref().expect("it is funded");
        assert!(funded.usable);
        self.links.push(Link {
            ends: [a.min(b), a.max(b)],
            channel: new.channel,
            capacity,
            funding: funded.funding,
        });
        let links = self.links.len();
        for node in &self.nodes {
            // Whoever has no peer yet will hear of it.
            let counts = node.running().router.inner().counts();
            let deaf = self.peers_of(node.number).is_empty();
            assert!(
                deaf || (counts.channels, counts.policies) == (links, 2 * links),
                "{counts:?} of {links}"
            );
        }
    }

    pub(crate) fn new_payment(&mut self) -> PaymentId {
        self.payments += 1;
        let mut id = [0; 32];
        id[..8].copy_from_slice(&self.payments.to_be_bytes());
        PaymentId(id)
    }

    /// Begins to pay an invoice of `payee`.
    pub(crate) fn pay(
        &mut self,
        payer: usize,
        payee: usize,
        msat: u64,
        invoice: &InboundPayment,
    ) -> PaymentId {
        let id = self.new_payment();
        let recipient = Recipient::invoice(invoice.secret.clone());
        let (payee, amount) = (self.nodes[payee].id(), Msat::new(msat));
        let params = PayParams::new(payee, amount, invoice.hash, recipient, invoice.final_cltv_delta);
        self.nodes[payer].manager().pay(id, params).expect("the id is new");
        id
    }

    /// About a minute passes.
    pub(crate) fn tick(&self) {
        for node in &self.nodes {
            node.manager().timer_tick();
        }
    }
}

fn name(message: &Message) -> String {
    let text = format!("{message:?}");
    text.split(['(', ' ']).next().unwrap_or_default().to_owned()
}
