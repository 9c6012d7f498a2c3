//! Two nodes, a channel between them, a wire that can be cut anywhere, and a manager of few words.
use std::collections::BTreeMap;
use std::sync::Arc;

use bitcoin::absolute::LockTime;
use bitcoin::transaction::Version;
use bitcoin::{Amount, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Witness};
use lightning_channel::channel::{AcceptOptions, Channel, OpenOptions, OpenParams, PhaseName};
use lightning_channel::commitments::{Notice, Origin, Outcome, OutgoingHtlc, Removal, SessionKey};
use lightning_traits::event::Event;
use lightning_traits::id::{ChannelId, PaymentId};
use lightning_traits::interface::ConfirmedTransaction;
use lightning_traits::payment::Preimage;
use lightning_traits::route::Path;
use lightning_traits::sphinx::OnionPacket;
use lightning_traits::units::{BlockHeight, CltvExpiry, Msat};
use lightning_traits::wire::{ChannelMessage, Message};

use super::node::Node;

pub(crate) const FUNDING: Amount = Amount::from_sat(1_000_000);
pub(crate) const TEMPORARY: ChannelId = ChannelId([9; 32]);

/// What happens to a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Claim,
    /// Claimed with a preimage that the next node has shown.
    PassOn,
    Fail,
    Malformed,
}

/// A payment that a node wants to make.
#[derive(Clone, Debug)]
pub(crate) struct Intent {
    pub(crate) name: u8,
    pub(crate) from: usize,
    pub(crate) amount: Msat,
    pub(crate) fate: Fate,
}

/// When to disturb.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Disconnect,
    Crash(usize),
    CrashBoth,
    /// The monitor of this side goes to the chain by itself.
    OnChain(usize),
}

pub(crate) struct Pair {
    pub(crate) nodes: [Node; 2],
    pub(crate) connected: bool,
    pub(crate) intents: Vec<Intent>,
    /// Outcomes by (side, payment), as the managers have them durably.
    pub(crate) outcomes: BTreeMap<(usize, u8), bool>,
    /// Things that have happened: outputs taken, messages delivered.
    pub(crate) count: usize,
    pub(crate) fault: Option<(usize, Fault)>,
    /// Faults after that one, each as many things later.
    pub(crate) more_faults: Vec<(usize, Fault)>,
    pub(crate) struck: bool,
    /// Changes messages on the wire, by sender.
    pub(crate) tamper: Option<Tamper>,
    /// How the second node accepts.
    pub(crate) accept: AcceptOptions,
    /// The chain, by height, as far as it holds anything: a node that crashed hears it again.
    pub(crate) chain: BTreeMap<u32, Vec<Transaction>>,
}

pub(crate) type Tamper = Box<dyn FnMut(usize, &mut Message)>;

pub(crate) fn preimage(name: u8) -> Preimage {
    Preimage::new([name; 32])
}

pub(crate) fn htlc(intent: &Intent, height: u32) -> OutgoingHtlc {
    OutgoingHtlc {
        amount: intent.amount,
        hash: preimage(intent.name).hash(),
        expiry: CltvExpiry::new(height + 100),
        onion: Arc::new(OnionPacket {
            version: 0,
            ephemeral_key: [2; 33],
            payloads: [intent.name; 1300],
            hmac: [0; 32],
        })
        .into(),
        path_key: None,
        origin: Origin::Payment {
            id: PaymentId([intent.name; 32]),
            path: Path { hops: Vec::new() },
            session_key: SessionKey::new([1; 32]),
            total: intent.amount,
        },
    }
}

pub(crate) fn funding_transaction(script: &ScriptBuf, value: Amount) -> Transaction {
    Transaction {
        version: Version::TWO,
        lock_time: LockTime::ZERO,
        input: vec![TxIn {
            previous_output: OutPoint {
                txid: bitcoin::Txid::from_raw_hash(bitcoin::hashes::Hash::all_zeros()),
                vout: 3,
            },
            script_sig: ScriptBuf::new(),
            sequence: Sequence::MAX,
            witness: Witness::from_slice(&[[1_u8; 64]]),
        }],
        output: vec![
            TxOut {
                value: Amount::from_sat(5_000),
                script_pubkey: ScriptBuf::new_p2wsh(&bitcoin::WScriptHash::from_raw_hash(
                    bitcoin::hashes::Hash::all_zeros(),
                )),
            },
            TxOut { value, script_pubkey: script.clone() },
        ],
    }
}

impl Pair {
    /// Two nodes that know nothing of each other.
    pub(crate) fn new() -> Self {
        Self {
            nodes: [Node::new("anna"), Node::new("bert")],
            connected: true,
            intents: Vec::new(),
            outcomes: BTreeMap::new(),
            count: 0,
            fault: None,
            more_faults: Vec::new(),
            struck: false,
            tamper: None,
            accept: AcceptOptions::default(),
            chain: BTreeMap::new(),
        }
    }

    /// A channel that carries payments, opened by the first node, which gave `push` to the second.
    pub(crate) fn open(push: Msat) -> Self {
        let mut pair = Self::new();
        pair.establish(push, false);
        pair
    }

    pub(crate) fn propose(&mut self, push: Msat, announce: bool) {
        self.propose_with(OpenOptions { push, announce, ..OpenOptions::default() });
    }

    pub(crate) fn propose_with(&mut self, options: OpenOptions) {
        self.propose_of(FUNDING, options);
    }

    pub(crate) fn propose_of(&mut self, funding: Amount, options: OpenOptions) {
        let params = OpenParams { peer: self.nodes[1].id(), temporary: TEMPORARY, funding, options };
        let features = self.nodes[1].features.clone();
        let channel = Channel::open(&self.nodes[0].cx(), &params, &features).expect("terms");
        self.nodes[0].channel = Some(channel);
    }

    pub(crate) fn establish(&mut self, push: Msat, announce: bool) {
        self.propose(push, announce);
        self.run();
        self.fund();
        self.run();
        self.mine_funding();
        self.mine(2);
        self.run();
        assert_eq!(self.phases(), [PhaseName::Open; 2]);
    }

    /// The transaction that the first node's user makes when asked.
    pub(crate) fn funding(&self) -> Transaction {
        let asked = self.nodes[0].events.iter().find_map(|event| match event {
            Event::FundingNeeded { value, script, .. } => Some(funding_transaction(script, *value)),
            _ => None,
        });
        asked.expect("the user was asked for a transaction")
    }

    pub(crate) fn fund(&mut self) {
        let transaction = self.funding();
        self.nodes[0].with(|channel, cx| channel.fund(cx, transaction)).expect("a good transaction");
    }

    pub(crate) fn mine_funding(&mut self) {
        let transaction = self.funding();
        self.mine_with(&[&transaction]);
    }

    pub(crate) fn mine_with(&mut self, transactions: &[&Transaction]) {
        let found: Vec<_> =
            transactions.iter().map(|transaction| ConfirmedTransaction { index: 4, transaction }).collect();
        if !transactions.is_empty() {
            let block = transactions.iter().map(|transaction| (*transaction).clone()).collect();
            self.chain.insert(self.nodes[0].height + 1, block);
        }
        for node in &mut self.nodes {
            node.height += 1;
            if node.channel.is_some() {
                node.with(|channel, cx| channel.block_connected(cx, &found));
            }
        }
    }

    pub(crate) fn mine(&mut self, blocks: u32) {
        for _ in 0..blocks {
            self.mine_with(&[]);
        }
    }

    pub(crate) fn unmine(&mut self) {
        for node in &mut self.nodes {
            self.chain.remove(&node.height);
            let gone = BlockHeight::new(node.height);
            node.height -= 1;
            node.with(|channel, cx| channel.block_disconnected(cx, gone));
        }
    }

    pub(crate) fn phases(&self) -> [PhaseName; 2] {
        [self.nodes[0].channel().phase(), self.nodes[1].channel().phase()]
    }

    /// Runs until nothing moves, managers included.
    pub(crate) fn run(&mut self) {
        for _ in 0..20_000 {
            let moved = self.move_once();
            self.strike();
            if !moved && !self.manage() {
                return;
            }
        }
        panic!("does not come to rest");
    }

    /// One output of each node, one message to each.
    pub(crate) fn move_once(&mut self) -> bool {
        let mut moved = false;
        for side in 0..2 {
            if self.nodes[side].step() {
                moved = true;
                self.count += 1;
                self.strike();
            }
            if self.nodes[side].hangup.is_some() && self.connected {
                self.disconnect();
                moved = true;
            }
            if let Some(mut message) = self.nodes[side].outgoing.pop_front() {
                moved = true;
                if let Some(tamper) = &mut self.tamper {
                    tamper(side, &mut message);
                }
                if self.connected {
                    self.nodes[side].log.push(message.clone());
                    self.deliver(1 - side, message);
                }
                self.count += 1;
                self.strike();
            }
        }
        moved
    }

    /// Hands a message over, through bytes.
    pub(crate) fn deliver(&mut self, to: usize, message: Message) {
        let message = Message::decode(&message.to_wire().expect("fits")).expect("decodes");
        let node = &mut self.nodes[to];
        match message {
            Message::Warning(_) => {}
            Message::ChannelUpdate(update) => node.with(|channel, cx| channel.on_channel_update(cx, &update)),
            Message::Error(error) => {
                if node.channel.is_some() {
                    node.with(|channel, cx| channel.on_error(cx, &error));
                }
            }
            Message::OpenChannel(open) => {
                let (peer, features) = (self.nodes[1 - to].id(), self.nodes[1 - to].features.clone());
                let node = &mut self.nodes[to];
                match Channel::requested(&node.cx(), peer, &features, &open) {
                    Ok(mut channel) => {
                        if let Err(error) = channel.accept(&node.cx(), &self.accept) {
                            channel.refuse(&node.cx(), &error.to_string());
                        }
                        node.channel = Some(channel);
                    }
                    Err(error) => node.outgoing.push_back(error.into()),
                }
            }
            other => {
                let message = ChannelMessage::try_from(other).expect("about a channel");
                if node.channel.is_some() {
                    node.with(|channel, cx| channel.on_message(cx, message));
                }
            }
        }
    }

    fn strike(&mut self) {
        let Some((at, fault)) = self.fault else { return };
        if self.count < at {
            return;
        }
        self.fault = self.more_faults.pop().map(|(later, fault)| (self.count + later, fault));
        self.struck = true;
        match fault {
            Fault::Disconnect => {}
            Fault::OnChain(side) => {
                self.nodes[side].on_chain = true;
                return;
            }
            Fault::Crash(side) => self.crash(side),
            Fault::CrashBoth => [0, 1].into_iter().for_each(|side| self.crash(side)),
        }
        self.disconnect();
        self.connect();
    }

    /// A node loses everything but its disk, and hears the chain again, since nobody knows what it had written of it.
    pub(crate) fn crash(&mut self, side: usize) {
        let node = &mut self.nodes[side];
        node.crash();
        if node.channel.is_none() {
            return;
        }
        let tip = node.height;
        for (height, block) in &self.chain {
            node.height = *height;
            let found: Vec<_> =
                block.iter().map(|transaction| ConfirmedTransaction { index: 4, transaction }).collect();
            node.with(|channel, cx| channel.block_connected(cx, &found));
        }
        node.height = tip;
        node.with(|channel, cx| channel.block_connected(cx, &[]));
    }

    pub(crate) fn disconnect(&mut self) {
        self.connected = false;
        for node in &mut self.nodes {
            node.outgoing.clear();
            node.hangup = None;
            if node.channel.is_some() {
                node.with(|channel, cx| channel.disconnected(cx));
            }
        }
    }

    pub(crate) fn connect(&mut self) {
        self.connected = true;
        for side in 0..2 {
            let features = self.nodes[1 - side].features.clone();
            if self.nodes[side].channel.is_some() {
                self.nodes[side].with(|channel, cx| channel.connected(cx, &features));
            }
        }
    }

    pub(crate) fn reconnect(&mut self) {
        self.disconnect();
        self.connect();
        self.run();
    }

    /// Wants a payment.
    pub(crate) fn want(&mut self, name: u8, from: usize, amount: Msat, fate: Fate) {
        self.intents.push(Intent { name, from, amount, fate });
    }

    /// What managers do: take outcomes over, decide on what came, offer what is wanted. True when something was done.
    pub(crate) fn manage(&mut self) -> bool {
        let mut acted = false;
        for side in 0..2 {
            if self.nodes[side].channel.is_none() {
                continue;
            }
            acted |= self.take_notices(side);
            acted |= self.decide(side);
            acted |= self.offer(side);
            acted |= self.nodes[side].with(|channel, cx| channel.commit(cx).is_ok());
        }
        acted
    }

    fn take_notices(&mut self, side: usize) -> bool {
        let notices = std::mem::take(&mut self.nodes[side].notices);
        let acted = !notices.is_empty();
        for (key, notice) in notices {
            if let Notice::Settled { origin: Origin::Payment { id, .. }, outcome, .. } = notice {
                let paid = matches!(outcome, Outcome::Fulfilled { .. });
                let before = self.outcomes.insert((side, id.0[0]), paid);
                assert!(before.is_none_or(|before| before == paid), "an outcome never changes");
            }
            self.nodes[side].with(|channel, cx| channel.notice_done(cx, key));
        }
        acted
    }

    fn decide(&mut self, side: usize) -> bool {
        let incoming = std::mem::take(&mut self.nodes[side].incoming);
        let mut acted = false;
        for htlc in incoming {
            let name = htlc.onion.packet().unwrap().payloads[0];
            let fate = self.intents.iter().find(|intent| intent.name == name).expect("wanted").fate;
            let removal = match fate {
                Fate::Claim => Removal::Fulfill {
                    preimage: preimage(name),
                    attribution: None,
                    claimed: Some(Msat::new(1)),
                },
                Fate::PassOn => {
                    Removal::Fulfill { preimage: preimage(name), attribution: None, claimed: None }
                }
                Fate::Fail => Removal::Fail { reason: vec![name; 300], attribution: None },
                Fate::Malformed => Removal::Malformed { sha256_of_onion: [name; 32], code: 0xc005 },
            };
            acted |= self.nodes[side].with(|channel, cx| channel.settle(cx, htlc.id, removal).is_ok());
        }
        acted
    }

    fn offer(&mut self, side: usize) -> bool {
        let mut acted = false;
        for intent in self.intents.clone() {
            if intent.from != side || self.outcomes.contains_key(&(side, intent.name)) {
                continue;
            }
            let node = &mut self.nodes[side];
            let there =
                node.channel().outgoing().any(|(_, pending)| pending.hash == preimage(intent.name).hash());
            if there || !node.channel().is_usable() {
                continue;
            }
            let offer = htlc(&intent, node.height);
            acted |= node.with(|channel, cx| channel.offer_htlc(cx, offer).is_ok());
        }
        acted
    }

    /// What each side owns by each side's latest commitment.
    pub(crate) fn balances(&self) -> [(Msat, Msat); 2] {
        [0, 1].map(|side| {
            let commitments = self.nodes[side].channel().commitments().expect("funded");
            (commitments.our_balance(), commitments.their_balance())
        })
    }

    /// Both sides agree on who owns what, and nothing is in flight.
    pub(crate) fn assert_balance(&self, first: Msat, second: Msat) {
        assert_eq!(self.balances(), [(first, second), (second, first)]);
        for node in &self.nodes {
            let commitments = node.channel().commitments().expect("funded");
            assert_eq!(commitments.outgoing().count() + commitments.pending_incoming().count(), 0);
        }
    }

    pub(crate) fn sent(&self, side: usize) -> Vec<u16> {
        self.nodes[side].log.iter().map(Message::type_id).collect()
    }

    pub(crate) fn closed_event(&self, side: usize) -> Option<&lightning_traits::event::CloseReason> {
        self.nodes[side].events.iter().find_map(|event| match event {
            Event::ChannelClosed { reason, .. } => Some(reason),
            _ => None,
        })
    }
}
