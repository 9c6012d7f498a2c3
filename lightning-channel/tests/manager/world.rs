//! Some nodes, the wires between them, and a chain.
//!
//! Nothing moves unless a test says so: messages wait on their wires, writes wait for the disk. A node can be stopped at
//! any step and started again from what its disk holds.
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bitcoin::block::{Header, Version};
use bitcoin::constants::ChainHash;
use bitcoin::hashes::Hash as _;
use bitcoin::{
    Amount, BlockHash, CompactTarget, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxMerkleNode, TxOut,
    Txid, Witness,
};
use lightning_channel::channel::PhaseName;
use lightning_channel::manager::{ChannelManager, InboundPayment, Tip};
use lightning_channel::payment::{PayParams, Recipient};
use lightning_channel::recover::RecordRows;
use lightning_traits::config::UserConfig;
use lightning_traits::event::{Event, MessageSendEvent};
use lightning_traits::feature::Features;
use lightning_traits::id::{ChannelId, EventId, NodeId, PaymentId, ShortChannelId};
use lightning_traits::interface::{
    ChainListener as _, ChannelMessageHandler as _, ConfirmedTransaction, EventsProvider as _,
    KeysInterface as _, MessageSendEventsProvider as _,
};
use lightning_traits::payment::{PaymentHash, Preimage};
use lightning_traits::units::{BlockHeight, Msat};
use lightning_traits::wire::{ChannelMessage, Init, Message, RoutingMessage};

use super::mocks::{Edge, TestEnv};

pub(crate) type Manager = ChannelManager<TestEnv>;

/// A block of the test chain.
struct Block {
    header: Header,
    transactions: Vec<Transaction>,
}

/// What the user of a node has seen and acknowledged.
#[derive(Default)]
pub(crate) struct User {
    /// Every event, in the order seen.
    pub(crate) seen: Vec<Event>,
    /// Whether claimable payments are claimed at once.
    pub(crate) claims: bool,
    /// Payments that are given back.
    pub(crate) refuses: BTreeSet<PaymentHash>,
    /// Whether forwards that wait are let go at once, or refused where that cannot be.
    pub(crate) forwards: bool,
    /// Whether funding transactions are built outside of this world's loop.
    pub(crate) funds_itself: bool,
    /// Preimages that the user keeps for held invoices.
    pub(crate) held: BTreeMap<PaymentHash, Preimage>,
}

pub(crate) struct Node {
    pub(crate) env: TestEnv,
    pub(crate) config: UserConfig,
    running: Option<Manager>,
    pub(crate) user: User,
    pub(crate) record: RecordRows,
    pub(crate) gossip: Vec<RoutingMessage>,
    pub(crate) tip: Tip,
}

impl Node {
    pub(crate) fn manager(&self) -> &Manager {
        self.running.as_ref().unwrap()
    }

    pub(crate) fn id(&self) -> NodeId {
        self.manager().node_id()
    }

    pub(crate) fn balance(&self) -> u64 {
        let channels = self.manager().list_channels();
        channels.iter().filter_map(|channel| channel.funded.as_ref()).map(|f| f.our_balance.to_msat()).sum()
    }

    pub(crate) fn htlcs(&self) -> usize {
        let channels = self.manager().list_channels();
        let funded = channels.iter().filter_map(|channel| channel.funded.as_ref());
        funded.map(|funded| funded.outgoing_htlcs + funded.incoming_htlcs).sum()
    }
}

pub(crate) struct World {
    pub(crate) nodes: Vec<Node>,
    /// What is on the way from one node to another.
    pub(crate) wires: BTreeMap<(usize, usize), VecDeque<Message>>,
    connected: BTreeSet<(usize, usize)>,
    chain: Vec<Block>,
    mempool: Vec<Transaction>,
    payments: u64,
    /// What each node has revoked with.
    revoked: BTreeMap<(usize, ChannelId), BTreeSet<[u8; 32]>>,
}

const GENESIS: u32 = 100;

impl World {
    pub(crate) fn new(names: &[&str]) -> Self {
        Self::with(names, |_| {})
    }

    /// Nodes whose users have changed the configuration.
    pub(crate) fn with(names: &[&str], change: impl Fn(&mut UserConfig)) -> Self {
        let genesis =
            Block { header: header(BlockHash::all_zeros(), 1_700_000_000), transactions: Vec::new() };
        let mut world = Self {
            nodes: Vec::new(),
            wires: BTreeMap::new(),
            connected: BTreeSet::new(),
            chain: vec![genesis],
            mempool: Vec::new(),
            payments: 0,
            revoked: BTreeMap::new(),
        };
        for name in names {
            let (env, mut config) = (TestEnv::new(name), UserConfig::default());
            change(&mut config);
            let tip = world.tip();
            let manager = Manager::new(env.clone(), config.clone(), ChainHash::REGTEST, tip);
            let user = User { claims: true, ..User::default() };
            let (running, record) = (Some(manager), RecordRows::new());
            world.nodes.push(Node { env, config, running, user, record, gossip: Vec::new(), tip });
        }
        world
    }

    fn tip(&self) -> Tip {
        let last = self.chain.last().unwrap();
        Tip {
            hash: last.header.block_hash(),
            height: BlockHeight::new(GENESIS + self.chain.len() as u32 - 1),
            time: last.header.time,
        }
    }

    pub(crate) fn height(&self) -> u32 {
        self.tip().height.get()
    }

    pub(crate) fn now(&self) -> u32 {
        self.tip().time
    }

    pub(crate) fn id(&self, node: usize) -> NodeId {
        self.nodes[node].id()
    }

    pub(crate) fn manager(&self, node: usize) -> &Manager {
        self.nodes[node].manager()
    }

    fn index(&self, id: NodeId) -> usize {
        self.nodes.iter().position(|node| node.running.as_ref().is_some_and(|m| m.node_id() == id)).unwrap()
    }

    pub(crate) fn is_connected(&self, a: usize, b: usize) -> bool {
        self.connected.contains(&(a.min(b), a.max(b)))
    }

    pub(crate) fn connect(&mut self, a: usize, b: usize) {
        if !self.connected.insert((a.min(b), a.max(b))) {
            return;
        }
        let init = |node: usize| Init {
            globalfeatures: Features::empty(),
            features: self.manager(node).features(),
            networks: None,
            remote_addr: None,
            unknown: Default::default(),
        };
        let (ida, idb) = (self.id(a), self.id(b));
        self.manager(a).peer_connected(idb, &init(b), false).unwrap();
        self.manager(b).peer_connected(ida, &init(a), true).unwrap();
    }

    pub(crate) fn disconnect(&mut self, a: usize, b: usize) {
        if !self.connected.remove(&(a.min(b), a.max(b))) {
            return;
        }
        self.wires.remove(&(a, b));
        self.wires.remove(&(b, a));
        let ids =
            [(a, b), (b, a)].map(|(here, there)| (here, NodeId::from(self.nodes[there].env.keys.node_id())));
        for (here, there) in ids {
            if let Some(manager) = &self.nodes[here].running {
                manager.peer_disconnected(there);
            }
        }
    }

    /// The process dies: what is not on disk is gone.
    pub(crate) fn crash(&mut self, node: usize) {
        self.nodes[node].running = None;
        self.nodes[node].env.monitors.crash();
        for other in 0..self.nodes.len() {
            self.disconnect(node, other);
        }
    }

    /// The node loses its disk, and begins anew.
    pub(crate) fn wipe(&mut self, node: usize) {
        self.crash(node);
        self.nodes[node].env.monitors.wipe();
        self.nodes[node].record.clear();
        self.nodes[node].user.seen.clear();
        self.start(node);
    }

    /// Starts again from the disk.
    pub(crate) fn start(&mut self, node: usize) {
        let here = &mut self.nodes[node];
        let (env, config, stored) = (here.env.clone(), here.config.clone(), here.env.monitors.stored());
        let manager =
            Manager::restore(env, config, ChainHash::REGTEST, here.tip, stored, &here.record).unwrap();
        here.running = Some(manager);
        self.catch_up(node);
    }

    pub(crate) fn restart(&mut self, node: usize) {
        let peers: Vec<_> = (0..self.nodes.len()).filter(|other| self.is_connected(node, *other)).collect();
        self.crash(node);
        self.start(node);
        for peer in peers {
            self.connect(node, peer);
        }
    }

    /// Takes all messages of a node to the wires.
    pub(crate) fn collect(&mut self, node: usize) {
        while let Some(event) = self.nodes[node].running.as_ref().and_then(Manager::next_message) {
            match event {
                MessageSendEvent::Send { to, message } => {
                    let to = self.index(to);
                    assert!(self.is_connected(node, to), "a message without a connection: {message:?}");
                    self.watch(node, &message);
                    self.wires.entry((node, to)).or_default().push_back(message);
                }
                MessageSendEvent::Broadcast { message, from: None } => self.nodes[node].gossip.push(message),
                MessageSendEvent::Disconnect { peer, last } => {
                    println!("{node} hangs up: {last:?}");
                    let peer = self.index(peer);
                    self.disconnect(node, peer);
                }
                other => panic!("{other:?}"),
            }
        }
        let transactions = self.nodes[node].env.broadcaster.take();
        for transaction in transactions {
            if !self.mempool.contains(&transaction) {
                self.mempool.push(transaction);
            }
        }
    }

    /// Nobody revokes a commitment before the monitor has the next.
    fn watch(&mut self, node: usize, message: &Message) {
        let Message::RevokeAndAck(revocation) = message else { return };
        let channel = revocation.channel_id;
        let revoked = self.revoked.entry((node, channel)).or_default();
        revoked.insert(revocation.per_commitment_secret);
        assert!(revoked.len() <= self.nodes[node].env.monitors.our_commitments(channel), "revoked too early");
    }

    /// Delivers the next message of one wire; `false` when there is none.
    pub(crate) fn deliver(&mut self, from: usize, to: usize) -> bool {
        let Some(message) = self.wires.get_mut(&(from, to)).and_then(VecDeque::pop_front) else {
            return false;
        };
        let message = Message::decode(&message.to_wire().unwrap()).unwrap();
        let (sender, manager) = (self.id(from), self.manager(to));
        println!("{from} -> {to}: {}", name(&message));
        match message {
            Message::Error(error) => manager.on_error(sender, &error),
            Message::Warning(warning) => manager.on_warning(sender, &warning),
            Message::ChannelUpdate(update) => {
                if update.body.is_for_receiver_only() {
                    manager.on_channel_update(sender, &update);
                }
            }
            other => manager.on_channel_message(sender, ChannelMessage::try_from(other).unwrap()),
        }
        true
    }

    /// Moves everything until nothing moves, and lets the users react.
    pub(crate) fn settle(&mut self) {
        // What a record lets go on in one round shows in the next.
        let mut quiet = 0;
        for _ in 0..10_000 {
            let mut moved = false;
            for node in 0..self.nodes.len() {
                if self.nodes[node].running.is_some() {
                    self.manager(node).process();
                    moved |= self.keep_record(node);
                    moved |= self.react(node);
                }
                self.collect(node);
            }
            let wires: Vec<_> = self.wires.keys().copied().collect();
            for (from, to) in wires {
                moved |= self.deliver(from, to);
            }
            quiet = if moved { 0 } else { quiet + 1 };
            if quiet >= 2 && self.wires.values().all(VecDeque::is_empty) {
                return;
            }
        }
        panic!("it never settles");
    }

    /// One message is delivered, after the users have reacted and everything that waits for the wire is on it; else one
    /// write reaches a disk: that of the first channel which has one, `skip` channels passed over. `false` when nothing is
    /// left to do.
    pub(crate) fn step_once(&mut self, skip: usize) -> bool {
        for node in 0..self.nodes.len() {
            if self.nodes[node].running.is_some() {
                self.manager(node).process();
                while self.keep_record(node) | self.react(node) {}
            }
            self.collect(node);
        }
        let wires: Vec<_> = self.wires.keys().copied().collect();
        if wires.into_iter().any(|(from, to)| self.deliver(from, to)) {
            return true;
        }
        self.nodes.iter().any(|node| node.env.monitors.write_one(skip))
    }

    /// The node's record reaches its disk. `false` when nothing has changed.
    pub(crate) fn keep_record(&mut self, node: usize) -> bool {
        let rows = self.nodes[node].manager().take_record();
        let changed = !rows.is_empty();
        for row in rows {
            row.apply(&mut self.nodes[node].record);
        }
        changed
    }

    /// The user sees all events, reacts, and acknowledges them. `false` when there were none.
    pub(crate) fn react(&mut self, node: usize) -> bool {
        let mut reacted = false;
        while let Some((id, event)) = self.manager(node).next_event(None) {
            self.handle(node, id, &event);
            self.manager(node).acknowledge_event(id);
            reacted = true;
        }
        reacted
    }

    /// Does what an event asks for.
    pub(crate) fn handle(&mut self, node: usize, _: EventId, event: &Event) {
        println!("{node} sees {event:?}");
        self.nodes[node].user.seen.push(event.clone());
        match event {
            Event::FundingNeeded { temporary, value, script, .. } if !self.nodes[node].user.funds_itself => {
                let transaction = self.funding(*value, script.clone());
                self.manager(node).funding_transaction(*temporary, transaction).unwrap();
            }
            Event::PaymentClaimable { hash, .. } if self.nodes[node].user.refuses.contains(hash) => {
                let _repeated = self.manager(node).fail(*hash);
            }
            Event::PaymentClaimable { hash, preimage, .. } if self.nodes[node].user.claims => {
                // Seen again, it may be claimed or given back by now.
                let _repeated = match (preimage, self.nodes[node].user.held.get(hash)) {
                    (Some(_), _) => self.manager(node).claim(*hash),
                    (None, Some(preimage)) => self.manager(node).claim_with(preimage.clone()),
                    (None, None) => Ok(()),
                };
            }
            Event::ForwardIntercepted { channel, htlc, .. } if self.nodes[node].user.forwards => {
                let manager = self.manager(node);
                if manager.forward_intercepted(*channel, *htlc, None, None).is_err() {
                    let _gone = manager.refuse_intercepted(*channel, *htlc);
                }
            }
            _ => {}
        }
    }

    fn funding(&mut self, value: Amount, script_pubkey: ScriptBuf) -> Transaction {
        self.transaction(vec![TxOut { value, script_pubkey }])
    }

    /// A signed transaction with these outputs, unlike all others.
    pub(crate) fn transaction(&mut self, output: Vec<TxOut>) -> Transaction {
        self.payments += 1;
        let mut txid = [0xcc; 32];
        txid[..8].copy_from_slice(&self.payments.to_be_bytes());
        let input = TxIn {
            previous_output: OutPoint { txid: Txid::from_byte_array(txid), vout: 0 },
            script_sig: ScriptBuf::new(),
            sequence: Sequence::MAX,
            witness: Witness::from_slice(&[[1u8; 64]]),
        };
        Transaction {
            version: bitcoin::transaction::Version::TWO,
            lock_time: bitcoin::absolute::LockTime::ZERO,
            input: vec![input],
            output,
        }
    }

    /// Whether anybody has broadcast it.
    pub(crate) fn is_broadcast(&self, txid: Txid) -> bool {
        let confirmed = self.chain.iter().flat_map(|block| &block.transactions);
        self.mempool.iter().chain(confirmed).any(|transaction| transaction.compute_txid() == txid)
    }

    /// Nothing that was broadcast gets into a block.
    pub(crate) fn forget_broadcasts(&mut self) {
        for node in 0..self.nodes.len() {
            self.collect(node);
        }
        self.mempool.clear();
    }

    /// Somebody broadcasts it.
    pub(crate) fn broadcast(&mut self, transaction: Transaction) {
        self.mempool.push(transaction);
    }

    /// Mines blocks, the first with all that was broadcast, and hands them to all nodes that run.
    pub(crate) fn mine(&mut self, count: u32) {
        for node in 0..self.nodes.len() {
            self.collect(node);
        }
        for _ in 0..count {
            let last = self.chain.last().unwrap();
            let header = header(last.header.block_hash(), last.header.time + 600);
            let transactions = std::mem::take(&mut self.mempool);
            self.chain.push(Block { header, transactions });
        }
        for node in 0..self.nodes.len() {
            if self.nodes[node].running.is_some() {
                self.catch_up(node);
            }
        }
    }

    /// The last block is undone behind the back of a node that does not run, and one without transactions takes its place. The
    /// node's disk knows the tip only up to the block before, as when it died in the middle of it.
    pub(crate) fn replace_last_block(&mut self, stopped: usize) {
        assert!(self.nodes[stopped].running.is_none());
        let undone = self.chain.pop().unwrap();
        let before = self.tip();
        for node in 0..self.nodes.len() {
            if self.nodes[node].running.is_some() {
                let height = before.height.plus(1);
                self.nodes[node].manager().block_disconnected(&undone.header, height);
            }
            self.nodes[node].tip = before;
        }
        self.mempool.extend(undone.transactions);
        let header = header(before.hash, before.time + 601);
        self.chain.push(Block { header, transactions: Vec::new() });
        for node in 0..self.nodes.len() {
            if self.nodes[node].running.is_some() {
                self.catch_up(node);
            }
        }
    }

    fn catch_up(&mut self, node: usize) {
        let from = (self.nodes[node].tip.height.get() - GENESIS) as usize + 1;
        for index in from..self.chain.len() {
            let block = &self.chain[index];
            let transactions: Vec<_> = block
                .transactions
                .iter()
                .enumerate()
                .map(|(index, transaction)| ConfirmedTransaction { index: index + 1, transaction })
                .collect();
            let height = BlockHeight::new(GENESIS + index as u32);
            self.nodes[node].manager().filtered_block_connected(&block.header, &transactions, height);
        }
        self.nodes[node].tip = self.tip();
    }

    pub(crate) fn tick(&mut self) {
        for node in self.nodes.iter().filter(|node| node.running.is_some()) {
            node.manager().timer_tick();
        }
    }

    /// Opens a channel that both can use, and tells every route finder.
    pub(crate) fn open(&mut self, a: usize, b: usize, sat: u64, push_sat: u64, announce: bool) -> ChannelId {
        self.connect(a, b);
        let before: BTreeSet<_> = self.manager(a).list_channels().iter().map(|c| c.channel).collect();
        let (peer, funding) = (self.id(b), Amount::from_sat(sat));
        self.manager(a).open_channel(peer, funding, Msat::from_sat(push_sat), announce).unwrap();
        self.settle();
        self.mine(6);
        self.settle();
        let channels = self.manager(a).list_channels();
        let new = channels.iter().find(|channel| !before.contains(&channel.channel)).unwrap();
        assert_eq!(new.phase, PhaseName::Open);
        assert!(new.funded.as_ref().unwrap().usable);
        let scid = new.funded.as_ref().unwrap().scid.unwrap();
        for (from, to) in [(a, b), (b, a)] {
            let edge = self.edge(scid, from, to);
            self.nodes.iter().for_each(|node| node.env.routes.add(edge));
        }
        new.channel
    }

    pub(crate) fn edge(&self, scid: ShortChannelId, from: usize, to: usize) -> Edge {
        let config = &self.nodes[from].config.channel;
        Edge {
            scid,
            from: self.id(from),
            to: self.id(to),
            fee_base: config.fee_base.to_msat(),
            fee_ppm: u64::from(config.fee_proportional_millionths),
            cltv_delta: config.cltv_delta.get(),
        }
    }

    pub(crate) fn invoice(&self, payee: usize, msat: u64) -> InboundPayment {
        self.manager(payee).create_inbound_payment(Some(Msat::new(msat)), self.now() + 36_000)
    }

    pub(crate) fn params(&self, payee: usize, msat: u64, invoice: &InboundPayment) -> PayParams {
        let recipient = Recipient::invoice(invoice.secret.clone());
        PayParams::new(self.id(payee), Msat::new(msat), invoice.hash, recipient, invoice.final_cltv_delta)
    }

    /// Begins to pay an invoice of `payee`.
    pub(crate) fn pay(&mut self, payer: usize, payee: usize, msat: u64) -> (PaymentId, PaymentHash) {
        let invoice = self.invoice(payee, msat);
        self.pay_invoice(payer, payee, msat, &invoice)
    }

    pub(crate) fn pay_invoice(
        &mut self,
        payer: usize,
        payee: usize,
        msat: u64,
        invoice: &InboundPayment,
    ) -> (PaymentId, PaymentHash) {
        let params = self.params(payee, msat, invoice);
        let id = self.new_payment();
        self.manager(payer).pay(id, params).unwrap();
        (id, invoice.hash)
    }

    pub(crate) fn new_payment(&mut self) -> PaymentId {
        self.payments += 1;
        let mut id = [0; 32];
        id[..8].copy_from_slice(&self.payments.to_be_bytes());
        PaymentId(id)
    }

    pub(crate) fn seen(&self, node: usize, is: impl Fn(&Event) -> bool) -> Vec<Event> {
        self.nodes[node].user.seen.iter().filter(|event| is(event)).cloned().collect()
    }

    /// How a payment ended, as its user saw it; each different ending once. After a restart a failure may be told again with
    /// another reason, and a success without its fee.
    pub(crate) fn endings(&self, node: usize, payment: PaymentId) -> Vec<Event> {
        let is_end = |event: &Event| match event {
            Event::PaymentSent { id, .. } | Event::PaymentFailed { id, .. } => *id == payment,
            _ => false,
        };
        let mut endings: Vec<Event> = Vec::new();
        for event in self.seen(node, is_end) {
            let failed = |event: &Event| matches!(event, Event::PaymentFailed { .. });
            let bare = |event: &Event| matches!(event, Event::PaymentSent { fee: None, .. });
            let sent = |event: &Event| matches!(event, Event::PaymentSent { .. });
            let same = |known: &Event| {
                *known == event || (failed(known) && failed(&event)) || (sent(known) && bare(&event))
            };
            if !endings.iter().any(same) {
                endings.push(event);
            }
        }
        endings
    }

    pub(crate) fn claimed(&self, node: usize, hash: PaymentHash) -> Vec<Msat> {
        let events = self.seen(node, |_| true);
        let claimed = events.iter().filter_map(|event| match event {
            Event::PaymentClaimed { hash: other, amount } if *other == hash => Some(*amount),
            _ => None,
        });
        claimed.collect()
    }

    /// The text of the failures that a payer saw.
    pub(crate) fn failures(&self, node: usize) -> Vec<String> {
        let events = self.seen(node, |_| true);
        let texts = events.iter().filter_map(|event| match event {
            Event::AttemptFailed { failure, .. } => Some(failure.clone()),
            _ => None,
        });
        texts.collect()
    }
}

fn header(prev_blockhash: BlockHash, time: u32) -> Header {
    Header {
        version: Version::TWO,
        prev_blockhash,
        merkle_root: TxMerkleNode::all_zeros(),
        time,
        bits: CompactTarget::from_consensus(0x207f_ffff),
        nonce: 0,
    }
}

fn name(message: &Message) -> String {
    let text = format!("{message:?}");
    text.split(['(', ' ']).next().unwrap_or_default().to_string()
}
