//! Nodes, the wires between them, and the chain.
//!
//! Nothing moves but by a call: messages wait on their wires, writes for the disk, blocks for those who fetch them.
//! `talk.rs` has the messages.
use std::collections::{BTreeMap, BTreeSet};

use bitcoin::{Amount, OutPoint, TxOut};
use lightning_chain_embedded::EmbeddedChain;
use lightning_channel::manager::InboundPayment;
use lightning_channel::payment::{PayParams, Recipient};
use lightning_traits::event::{CloseReason, Event};
use lightning_traits::feature::{Feature, Features};
use lightning_traits::id::{ChannelId, EventId, NodeId, PaymentId};
use lightning_traits::interface::{ChannelMessageHandler as _, EventsProvider, RoutingMessageHandler as _};
use lightning_traits::payment::{PaymentHash, Preimage};
use lightning_traits::route::{Path, Route};
use lightning_traits::units::Msat;
use lightning_traits::wire::Init;

use crate::bank::{Bank, nobody};
use crate::coverage::Coverage;
use crate::dice::Dice;
use crate::disk::Durable;
use crate::journal::{Boundary, Journal};
use crate::market::Market;
use crate::node::Node;
use crate::opening::Batch;
use crate::oracle::htlc::Htlcs;
use crate::oracle::money::{DUST, SMALL};
use crate::oracle::promise::Promises;
use crate::oracle::{Oracle, broken, hold};
use crate::parts::SimFees;
use crate::talk::Proposal;
use crate::topology::{Saved, Shape};
use crate::tree::Tree;
use crate::user::{Payment, Plan};
use crate::villain::Mischief;
use crate::wires::{Frame, Wires};

/// A channel that somebody has begun to fund.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link {
    /// The opener first.
    pub(crate) ends: [usize; 2],
    pub(crate) channel: ChannelId,
    pub(crate) capacity: Amount,
    pub(crate) push: Msat,
    pub(crate) funding: OutPoint,
}

/// What each node has for claims on chain.
const COINS: usize = 6;
const COIN: Amount = Amount::from_sat(100_000);

/// How a payer's node says that it could not read a failure.
const UNREADABLE: &str = "could not be read";

/// A small network.
pub(crate) struct World {
    pub(crate) shape: Shape,
    pub(crate) nodes: Vec<Node>,
    pub(crate) wires: Wires,
    pub(crate) links: Vec<Link>,
    /// Channels that users open together.
    pub(crate) batches: Vec<Batch>,
    /// Channels that were proposed, by opener and temporary id.
    pub(crate) proposals: BTreeMap<(usize, ChannelId), Proposal>,
    pub(crate) chain: EmbeddedChain,
    pub(crate) fees: SimFees,
    pub(crate) bank: Bank,
    pub(crate) payments: Vec<Payment>,
    pub(crate) htlcs: Htlcs,
    pub(crate) promises: Vec<Promises>,
    pub(crate) coverage: Coverage,
    /// Who asks to be paid for a hash, and how much.
    pub(crate) invoices: BTreeMap<PaymentHash, (usize, u64)>,
    /// Whether commitments may have come to the chain.
    pub(crate) is_war: bool,
    /// Whether any channel may be closed by force: users want it, and deadlines pass.
    pub(crate) may_force: bool,
    /// Channels that were failed because their opener insisted on what a spike cost.
    pub(crate) insisted: BTreeSet<ChannelId>,
    pub(crate) mischief: Mischief,
    /// Whether some user has decided on a payment since the last block: what follows does not wait for the next one.
    pub(crate) has_decided: bool,
    /// Nodes that do as they like.
    pub(crate) villains: BTreeSet<usize>,
    /// Hashes whose HTLCs the payer garbles, so that the next node cannot read their onions.
    pub(crate) garbled: BTreeSet<(usize, PaymentHash)>,
    /// What blocks cost beside those of this network.
    pub(crate) market: Market,
    /// What nodes have sent to the chain, and the chains that it has left.
    pub(crate) tree: Tree,
    /// Nodes that were restored from an old copy.
    pub(crate) late: BTreeSet<usize>,
    /// Nodes whose machines are gone.
    pub(crate) absent: BTreeSet<usize>,
    pub(crate) journal: Journal,
}

impl World {
    /// Nodes without channels, and a bank with money for so many.
    pub(crate) fn new(shape: Shape, coins: u32) -> Self {
        let chain = EmbeddedChain::new();
        let bank = Bank::new(&chain, coins);
        let mut world = Self::around(shape, chain, bank, Journal::default());
        let mut dice = Dice::new(1);
        for number in 0..shape.nodes() {
            let node = world.new_node(number, dice.next());
            world.nodes.push(node);
        }
        world.nodes.iter_mut().for_each(Node::start);
        let purse = |node: &Node| {
            core::iter::repeat_n(TxOut { value: COIN, script_pubkey: node.coins.script() }, COINS)
        };
        let gift = world.bank.pay(world.nodes.iter().flat_map(purse).collect());
        world.chain.submit(&gift).expect("the bank pays");
        world.mine(1);
        world
    }

    /// The network as it was saved, with every machine just started and nobody connected.
    pub(crate) fn load(saved: &Saved, dice: &mut Dice, journal: &Journal) -> Self {
        let mut world = Self::around(saved.shape, saved.chain.fork(), saved.bank.clone(), journal.clone());
        world.links.clone_from(&saved.links);
        for (number, disk) in saved.disks.iter().enumerate() {
            let node = world.new_node(number, dice.next());
            node.disk.replace(disk.clone());
            world.nodes.push(node);
        }
        world
    }

    fn around(shape: Shape, chain: EmbeddedChain, bank: Bank, journal: Journal) -> Self {
        Self {
            shape,
            nodes: Vec::new(),
            wires: Wires::default(),
            links: Vec::new(),
            proposals: BTreeMap::new(),
            batches: Vec::new(),
            chain,
            fees: SimFees::new(2_000),
            bank,
            payments: Vec::new(),
            htlcs: Htlcs::default(),
            promises: vec![Promises::default(); shape.nodes()],
            coverage: Coverage::default(),
            invoices: BTreeMap::new(),
            is_war: false,
            may_force: false,
            insisted: BTreeSet::new(),
            has_decided: false,
            mischief: Mischief::default(),
            villains: BTreeSet::new(),
            garbled: BTreeSet::new(),
            market: Market::default(),
            tree: Tree::default(),
            late: BTreeSet::new(),
            absent: BTreeSet::new(),
            journal,
        }
    }

    fn new_node(&self, number: usize, seed: u64) -> Node {
        let is_plain = self.shape.is_plain(number);
        let mut node = Node::new(number, is_plain, &self.chain, &self.fees, Dice::new(seed), &self.journal);
        if self.shape.is_trusting() {
            node.trust((0..self.shape.nodes()).filter(|other| *other != number));
        }
        node
    }

    /// What outlives the machines.
    pub(crate) fn save(&self) -> Saved {
        Saved {
            shape: self.shape,
            disks: self.nodes.iter().map(|node| node.backup()).collect(),
            chain: self.chain.fork(),
            bank: self.bank.clone(),
            links: self.links.clone(),
        }
    }

    pub(crate) fn say(&self, text: impl FnOnce() -> String) {
        self.journal.say(text);
    }

    /// Whether a node keeps to the rules, is there, and has its memory.
    pub(crate) fn is_trusty(&self, node: usize) -> bool {
        ![&self.villains, &self.late, &self.absent].iter().any(|others| others.contains(&node))
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
        let pairs =
            self.links.iter().map(|link| (link.ends[0].min(link.ends[1]), link.ends[0].max(link.ends[1])));
        pairs.collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// Both are connected afresh, whatever they believed before, unless they are connected.
    pub(crate) fn connect(&mut self, a: usize, b: usize) {
        if self.wires.is_up(a, b) || [a, b].iter().any(|node| self.absent.contains(node)) {
            return;
        }
        if ![a, b].iter().all(|node| self.nodes[*node].is_settled()) {
            return;
        }
        self.leave(a, b);
        self.leave(b, a);
        self.say(|| format!("{a} and {b} connect"));
        self.wires.connect(a, b);
        // Who knows no anchors knows no `option_simple_close` either, and its peers do not use it then.
        let is_old = [a, b].iter().any(|node| self.shape.is_plain(*node));
        let features = |node: &Node| {
            let handlers = [node.running().manager.features(), node.running().router.features()];
            let mut all = handlers.iter().fold(Features::empty(), |all, more| all.union(more));
            if is_old {
                all.clear_bit(Feature::SimpleClose.optional_bit());
            }
            all
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

    /// `here` notices that it is not connected to `there` any more.
    pub(crate) fn leave(&mut self, here: usize, there: usize) {
        if !self.wires.leave(here, there) {
            return;
        }
        self.say(|| format!("{here} is not connected to {there} any more"));
        let others = [&self.villains, &self.late, &self.absent];
        let is_judged = |node: usize| !others.iter().any(|others| others.contains(&node));
        self.htlcs.on_disconnected(here, there, is_judged);
        let peer = self.nodes[there].id();
        if let Some(running) = &self.nodes[here].running {
            running.manager.peer_disconnected(peer);
            running.router.peer_disconnected(peer);
        }
    }

    /// A connection breaks, and those of the two notice that are told to.
    pub(crate) fn cut(&mut self, a: usize, b: usize, notices: [bool; 2]) {
        self.say(|| format!("the connection of {a} and {b} breaks"));
        self.wires.lose(a, b, 0);
        self.wires.lose(b, a, 0);
        if notices[0] {
            self.leave(a, b);
        }
        if notices[1] {
            self.leave(b, a);
        }
    }

    /// The node dies and starts again from its disk. `kept` says how many frames of its wires still arrive, and whether the
    /// other side hears that it is gone.
    pub(crate) fn restart(&mut self, node: usize, mut kept: impl FnMut(usize) -> (usize, bool)) {
        if self.absent.contains(&node) {
            return;
        }
        self.say(|| format!("{node} crashes"));
        // What it has broadcast before counts.
        self.judge_broadcasts(node);
        self.nodes[node].crash();
        for peer in self.wires.peers_of(node) {
            let (frames, is_heard) = kept(self.wires.waiting(node, peer));
            self.wires.lose(node, peer, frames);
            if is_heard {
                self.wires.push(node, peer, Frame::Close);
            }
            self.leave(node, peer);
        }
        self.start(node);
    }

    /// Whoever's disk has frozen, or has lost an acknowledgement, is started again.
    pub(crate) fn mend(&mut self, node: usize) {
        if self.nodes[node].disk.needs_restart() {
            self.restart(node, |_| (0, true));
        }
    }

    /// The node starts again from an old backup, and is connected to nobody.
    pub(crate) fn fall_back(&mut self, node: usize, backup: Durable) {
        self.say(|| format!("{node} starts again from an old backup"));
        self.is_war = true;
        self.late.insert(node);
        self.wires.grow_old(node);
        for peer in self.wires.peers_of(node) {
            self.wires.push(node, peer, Frame::Close);
            self.leave(node, peer);
        }
        self.nodes[node].crash();
        self.nodes[node].disk.replace(backup);
        self.start(node);
    }

    /// Looks at what nodes have sent to the chain since the last look.
    pub(crate) fn judge_broadcasts(&mut self, node: usize) {
        let sent = self.nodes[node].broadcaster.sent.take();
        if self.villains.contains(&node) {
            sent.iter().for_each(|transaction| self.note_offer(node, transaction));
            return;
        }
        for transaction in sent {
            for element in transaction.input.iter().flat_map(|input| input.witness.iter()) {
                if let Ok(bytes) = <[u8; 32]>::try_from(element) {
                    self.judge_preimage(node, &Preimage::new(bytes));
                }
            }
            self.note_offer(node, &transaction);
            let book = self.nodes[node].keys.book.borrow();
            let has_forgotten = self.late.contains(&node);
            let marks = |peer: usize, channel: &ChannelId| self.nodes[peer].disk.marks(channel);
            let provable = |peer: usize, channel: &ChannelId| {
                marks(peer, channel).map(|marks| marks.unrevoked).unwrap_or_default()
            };
            self.promises[node].on_broadcast(node, &transaction, &book, has_forgotten, provable);
        }
    }

    /// A preimage of its own leaves a node only when its user has claimed the payment.
    pub(crate) fn judge_preimage(&self, node: usize, preimage: &Preimage) {
        let hash = preimage.hash();
        let is_own = self.invoices.get(&hash).is_some_and(|(payee, _)| *payee == node);
        let user = &self.nodes[node].user;
        hold(Oracle::Secrets, !is_own || user.taken.contains(&hash), || {
            format!("node {node} shows the preimage of {hash}, which its user has not claimed")
        });
    }

    /// The user of a node sees its next event, reacts, and acknowledges it unless `forgets`. `false` when there is none.
    pub(crate) fn react(&mut self, node: usize, forgets: bool) -> bool {
        if self.absent.contains(&node) {
            return false;
        }
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
        self.journal.note(node, Boundary::Tells, || format!("{id} {event:?}"));
        let has_forgotten = !self.is_trusty(node);
        self.nodes[node].user.note(id, event, has_forgotten);
        match event {
            Event::FundingNeeded { temporary, value, script, .. } => {
                if self.fund_together(node, *temporary, *value, script) {
                    return;
                }
                let is_villain = self.villains.contains(&node);
                if is_villain && self.mischief.is_broke || self.bank.coins() == 0 {
                    return;
                }
                let transaction = self.bank.fund(*value, script);
                let borrowed = self.mischief.borrowed_output.filter(|_| is_villain);
                self.nodes[node].keys.borrowed.set(borrowed);
                // Seen again, the transaction may be there by now.
                let _repeated = self.nodes[node].manager().funding_transaction(*temporary, transaction);
                self.nodes[node].keys.borrowed.set(None);
            }
            Event::FundingSafe { channel, transaction, .. } => {
                self.sign_elsewhere(node, *channel, transaction);
            }
            Event::PaymentClaimable { hash, amount, .. } => {
                let asked = self.invoices.get(hash).map_or(0, |(_, asked)| *asked);
                hold(Oracle::Money, amount.to_msat() >= asked, || {
                    format!("node {node} is asked to take {amount} for {hash}, which costs {asked} msat")
                });
                match self.nodes[node].user.plan(hash) {
                    Plan::Wait => drop(self.nodes[node].user.waiting.insert(*hash)),
                    plan => self.decide(node, *hash, plan),
                }
            }
            // What goes back as the answer to another HTLC, its payer cannot read.
            Event::AttemptFailed { hash, failure, .. } if failure.contains(UNREADABLE) => {
                let all_trusty = self.villains.is_empty() && self.late.is_empty();
                hold(Oracle::Atomic, !all_trusty, || {
                    format!("node {node} cannot read how a part of {hash} failed")
                });
            }
            Event::ChannelClosed { channel, reason, peer } if self.is_trusty(node) => {
                // A villain may name the output of others, and so their channel.
                let is_fine = matches!(reason, CloseReason::Cooperative | CloseReason::NeverFunded(_))
                    || !self.is_trusty(self.index(*peer))
                    || self.may_close(*channel)
                    || !self.is_funding_out(*channel)
                    || self.is_insisted(*channel, reason);
                hold(Oracle::NoClose, is_fine, || format!("node {node}: channel {channel}: {reason}"));
            }
            _ => {}
        }
    }

    /// Whether a channel without anchors ended because its opener had signed, while everything was dear, for what is no longer
    /// fair. Such a close costs what closes cost.
    fn is_insisted(&mut self, channel: ChannelId, reason: &CloseReason) -> bool {
        let Some(link) = self.links.iter().find(|link| link.channel == channel).copied() else {
            return false;
        };
        let is_plain = link.ends.iter().any(|end| self.shape.is_plain(*end));
        let says_so = format!("{reason}").contains("is insisted on; dust exposure");
        if says_so {
            self.insisted.insert(channel);
        }
        let is_it = is_plain && self.market.was_short() && self.insisted.contains(&channel);
        self.is_war |= is_it;
        is_it
    }

    /// Whether a channel may be closed by force.
    fn may_close(&self, channel: ChannelId) -> bool {
        let link = self.links.iter().find(|link| link.channel == channel);
        self.may_force || link.is_none_or(|link| link.ends.iter().any(|end| !self.is_trusty(*end)))
    }

    /// Whether a channel has money in it: its funding transaction is out.
    fn is_funding_out(&self, channel: ChannelId) -> bool {
        let funding = self.links.iter().find(|link| link.channel == channel).map(|link| link.funding);
        funding.is_some_and(|funding| {
            self.chain.utxo(&funding).is_some() || self.chain.mempool_entry(&funding.txid).is_some()
        })
    }

    /// A user takes a payment, or gives it back.
    pub(crate) fn decide(&mut self, node: usize, hash: PaymentHash, plan: Plan) {
        self.has_decided = true;
        let node = &mut self.nodes[node];
        node.user.waiting.remove(&hash);
        node.user.plans.insert(hash, plan);
        // Decided again, it may be claimed or given back by now, or gone back by itself.
        let _repeated = if plan == Plan::Refuse {
            node.manager().fail(hash)
        } else {
            node.user.taken.insert(hash);
            match node.user.held.get(&hash).cloned() {
                Some(preimage) => node.manager().claim_with(preimage),
                None => node.manager().claim(hash),
            }
        };
    }

    /// Moves everything but the chain until nothing moves.
    pub(crate) fn settle(&mut self) {
        (0..self.nodes.len()).for_each(|node| self.mend(node));
        for _ in 0..10_000 {
            let mut moved = false;
            for node in (0..self.nodes.len()).filter(|node| !self.absent.contains(node)).collect::<Vec<_>>() {
                self.nodes[node].disk.write_all();
                self.nodes[node].process();
                while self.react(node, false) {
                    moved = true;
                }
                self.collect(node);
                self.judge_broadcasts(node);
            }
            for (from, to) in self.wires.busy() {
                while self.deliver(from, to) {
                    moved = true;
                }
            }
            if !moved && self.nodes.iter().all(|node| node.is_gone() || node.disk.is_idle()) {
                return;
            }
        }
        broken(Oracle::Live, "it never settles".to_owned());
    }

    /// Moves everything between those who keep to the rules until nothing moves: no machine of theirs is away for long.
    pub(crate) fn settle_trusty(&mut self) {
        let trusty: Vec<usize> = (0..self.nodes.len()).filter(|node| self.is_trusty(*node)).collect();
        let both = |(a, b): &(usize, usize)| trusty.contains(a) && trusty.contains(b);
        for node in &trusty {
            self.mend(*node);
            self.nodes[*node].be_quick();
            // Blocks take minutes: whoever waited for a slow signer asks again meanwhile.
            self.nodes[*node].manager().timer_tick();
        }
        for (a, b) in self.pairs().into_iter().filter(both) {
            self.connect(a, b);
        }
        for _ in 0..1_000 {
            let mut moved = false;
            for node in &trusty {
                self.hear_blocks(*node);
                self.nodes[*node].process();
                while self.react(*node, false) {
                    moved = true;
                }
                self.collect(*node);
            }
            for (from, to) in self.wires.busy().into_iter().filter(both) {
                while self.deliver(from, to) {
                    moved = true;
                }
            }
            if !moved {
                return;
            }
        }
        broken(Oracle::Live, "honest nodes never settle".to_owned());
    }

    /// Mines blocks, of which nobody hears yet.
    pub(crate) fn mine(&mut self, count: u32) {
        for _ in 0..count {
            self.next_prices();
            self.chain.mine(1, &nobody());
        }
        self.say(|| format!("the chain is at {}", self.chain.height()));
        self.note_settled();
    }

    /// Looks which channels' ends are so deep that nothing can take them back.
    pub(crate) fn note_settled(&mut self) {
        // Several blocks may have come since the last look.
        const LOOK_BACK: u32 = 10;
        self.note_settled_since(LOOK_BACK);
    }

    /// The same, when so many blocks may have come since.
    pub(crate) fn note_settled_since(&mut self, blocks: u32) {
        const DEPTH: u32 = 6;
        let tip = self.chain.height();
        self.htlcs.height = tip;
        for height in (tip + 1).saturating_sub(DEPTH + blocks)..=tip {
            let Some(block) = self.chain.block_at(height) else { return };
            let inputs = block.txdata.iter().flat_map(|transaction| &transaction.input);
            for outpoint in inputs.map(|input| input.previous_output) {
                for link in self.links.iter().filter(|link| link.funding == outpoint) {
                    // What no commitment has an output for is over with the first block.
                    let is_plain = link.ends.iter().any(|end| self.shape.is_plain(*end));
                    let least = if height + DEPTH <= tip + 1 {
                        u64::MAX
                    } else if is_plain {
                        SMALL
                    } else {
                        DUST as u64
                    };
                    self.htlcs.on_settled(link.channel, least);
                }
            }
        }
    }

    /// A node hears of all blocks. What it offered since on a channel that ended in them is over with them.
    pub(crate) fn hear_blocks(&mut self, node: usize) {
        let lag = self.nodes[node].lag();
        self.nodes[node].follow_chain();
        self.note_settled_since(lag);
    }

    fn start(&mut self, node: usize) {
        let known = self.nodes[node].disk.tip().map_or(0, |(_, height)| height.get());
        self.nodes[node].start();
        self.note_settled_since(self.chain.height().saturating_sub(known));
    }

    /// Everybody hears of all blocks, and everything settles.
    pub(crate) fn catch_up(&mut self) {
        self.mischief.haunt();
        self.scan();
        for node in 0..self.nodes.len() {
            self.hear_blocks(node);
        }
        self.settle();
    }

    /// Opens a channel as far as it goes without blocks.
    pub(crate) fn propose(&mut self, opener: usize, accepter: usize, sat: u64, push_sat: u64) {
        self.connect(opener, accepter);
        let (peer, capacity) = (self.nodes[accepter].id(), Amount::from_sat(sat));
        let opened =
            self.nodes[opener].manager().open_channel(peer, capacity, Msat::from_sat(push_sat), true);
        opened.expect("the terms are the library's own");
        self.settle();
    }

    pub(crate) fn new_payment(&self) -> PaymentId {
        let mut id = [0; 32];
        id[..8].copy_from_slice(&(self.payments.len() as u64 + 1).to_be_bytes());
        PaymentId(id)
    }

    /// Begins to pay an invoice of `payee`.
    pub(crate) fn pay(
        &mut self,
        payer: usize,
        payee: usize,
        msat: u64,
        invoice: &InboundPayment,
        max_parts: u16,
    ) {
        let params = self.note_payment(payer, payee, msat, invoice, max_parts);
        let id = self.payments[self.payments.len() - 1].id;
        let begun = self.nodes[payer].manager().pay(id, params);
        hold(Oracle::Events, begun.is_ok(), || format!("a payment with a new id is refused: {begun:?}"));
    }

    /// Begins to pay an invoice along ways that ask nobody for a route.
    pub(crate) fn pay_along(
        &mut self,
        payer: usize,
        payee: usize,
        msat: u64,
        invoice: &InboundPayment,
        paths: Vec<Path>,
    ) {
        let params = self.note_payment(payer, payee, msat, invoice, 1);
        let id = self.payments[self.payments.len() - 1].id;
        let sent =
            self.nodes[payer].manager().send_along(id, params.hash, Route { paths }, &params.recipient);
        self.say(|| format!("along its own way: {sent:?}"));
    }

    /// Writes down that a payment begins.
    pub(crate) fn note_payment(
        &mut self,
        payer: usize,
        payee: usize,
        msat: u64,
        invoice: &InboundPayment,
        max_parts: u16,
    ) -> PayParams {
        let id = self.new_payment();
        let recipient = Recipient::invoice(invoice.secret.clone());
        let (amount, node) = (Msat::new(msat), self.nodes[payee].id());
        let mut params = PayParams::new(node, amount, invoice.hash, recipient, invoice.final_cltv_delta);
        params.max_parts = max_parts;
        // What the configuration allows for fees: a hundredth, and at least 50 sat.
        self.htlcs.on_payment(payer, invoice.hash, msat + (msat / 100).max(50_000));
        self.say(|| format!("{payer} pays {msat} msat to {payee} for {}", invoice.hash));
        self.payments.push(Payment { id, payer, payee, msat, params: params.clone() });
        params
    }

    /// The least feerate that is relayed changes, in sat per 1,000 vbytes; estimates know.
    pub(crate) fn set_floor(&self, sat_per_kvb: u64) {
        self.chain.set_min_relay_fee(sat_per_kvb);
        // A little more: transactions are a few units smaller than their estimates.
        self.fees.floor.set((sat_per_kvb as u32 / 4 + 3).max(253));
    }

    /// About a minute passes.
    pub(crate) fn tick(&self) {
        for node in &self.nodes {
            if !node.is_gone() {
                node.manager().timer_tick();
            }
            if let Some(towers) = &node.towers {
                towers.tick();
            }
        }
    }
}
