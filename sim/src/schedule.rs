//! What the dice may do, and the end of all trouble.
use std::panic::{AssertUnwindSafe, catch_unwind};

use lightning_channel::manager::InboundPayment;
use lightning_traits::event::{CloseReason, Event};
use lightning_traits::payment::Preimage;
use lightning_traits::units::Msat;

use crate::dice::Dice;
use crate::disk::Durable;
use crate::node::{GRAPH, RECORD};
use crate::oracle;
use crate::user::Payment;
use crate::world::World;

/// How much trouble there is.
#[derive(Clone, Copy, Debug)]
pub struct Trouble {
    /// Steps of the dice.
    pub steps: u32,
    /// Whether nodes crash.
    pub crashes: bool,
    /// Whether connections come and go.
    pub disconnects: bool,
    /// Whether writes and routes take their time.
    pub delays: bool,
    /// Whether blocks come, some of them to go again, and fees change.
    pub chain: bool,
    /// Whether users send channels to the chain, whatever is in flight.
    pub force_closes: bool,
    /// What becomes of a node whose disk is replaced by an old backup.
    pub backup: Backup,
    /// Whether to print everything.
    pub loud: bool,
}

/// An old state of a node comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backup {
    /// Never.
    None,
    /// By accident: the node connects as ever, and learns from its peers that it is late.
    Accident,
    /// On purpose: the node speaks to nobody and sends its old commitments to the chain.
    Theft,
}

impl Trouble {
    /// All of it.
    #[must_use]
    pub const fn all(steps: u32) -> Self {
        Self {
            steps,
            crashes: true,
            disconnects: true,
            delays: true,
            chain: true,
            force_closes: false,
            backup: Backup::None,
            loud: false,
        }
    }
}

/// What happened in a run that kept all promises.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Payments begun.
    pub payments: u64,
    /// Payments that arrived.
    pub arrived: u64,
    /// Crashes.
    pub crashes: u64,
    /// Messages that arrived somewhere.
    pub messages: u64,
    /// Writes that became durable.
    pub writes: u64,
    /// Channels that were closed, and paid out as they should.
    pub closed: u64,
    /// Revoked commitments that somebody punished.
    pub breaches: u64,
}

/// Runs one seed.
///
/// # Errors
/// What was promised and not kept.
pub fn run(seed: u64, trouble: Trouble) -> Result<Outcome, String> {
    catch_unwind(AssertUnwindSafe(|| Run::new(seed, trouble).finish())).map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
            .unwrap_or_else(|| "something that is no text".to_owned())
    })
}

struct Run {
    world: World,
    dice: Dice,
    trouble: Trouble,
    payments: Vec<Payment>,
    before: Vec<u64>,
    outcome: Outcome,
    /// Who falls back, to what, after which step.
    backup: Option<(usize, Durable)>,
    backup_at: u32,
}

/// Payments that one run begins at most.
const MAX_PAYMENTS: usize = 16;
/// Blocks that one run mines at most before the trouble ends: fewer than any HTLC has time for, since no deadline may
/// pass while everybody is honest.
const MAX_BLOCKS: u32 = 10;
/// Blocks within which everything on chain must be settled: the longest lock time, the delays of two stages, and the
/// depth at which a channel is forgotten.
const MAX_WIND_DOWN: u32 = 900;
/// Channels are opened with 8 blocks each, so a reorganisation of this depth unmakes none.
const MAX_REORG: u64 = 3;

impl Run {
    fn new(seed: u64, trouble: Trouble) -> Self {
        let mut dice = Dice::new(seed);
        let mut world = World::new(3, &mut dice, trouble.loud);
        if trouble.force_closes || trouble.backup != Backup::None {
            // So that what is lost to fees stays below what a payment is worth.
            world.fees.0.set(500);
        }
        world.open(0, 1, 1_000_000, 400_000);
        if dice.once_in(2) {
            world.open(0, 1, 500_000, 200_000);
        }
        world.open(1, 2, 1_000_000, 500_000);
        if dice.once_in(3) {
            world.open(0, 2, 700_000, 300_000);
        }
        world.catch_up();
        let before = world.nodes.iter().map(crate::node::Node::balance).collect();
        let backup_at = dice.roll(u64::from(trouble.steps.max(1))) as u32;
        Self {
            world,
            dice,
            trouble,
            payments: Vec::new(),
            before,
            outcome: Outcome::default(),
            backup: None,
            backup_at,
        }
    }

    fn finish(mut self) -> Outcome {
        for step in 0..self.trouble.steps {
            if step == self.backup_at && self.trouble.backup != Backup::None {
                let node = self.dice.pick(self.world.nodes.len());
                self.backup = Some((node, self.world.nodes[node].disk.backup()));
            }
            self.step();
        }
        let late = self.fall_back();
        self.heal(late.filter(|_| self.trouble.backup == Backup::Theft));
        self.outcome.payments = self.payments.len() as u64;
        if self.world.is_war {
            self.wind_down(late);
            self.outcome.arrived = oracle::check_war(&self.world, &self.payments, &self.before, late);
        } else {
            self.outcome.arrived = oracle::check(&self.world, &self.payments, &self.before);
            self.outcome.closed = oracle::close(&mut self.world, &mut self.dice);
        }
        let breach =
            |event: &&Event| matches!(event, Event::ChannelClosed { reason: CloseReason::Breach, .. });
        let seen = self.world.nodes.iter().map(|node| node.user.seen.iter().filter(breach).count());
        self.outcome.breaches = seen.sum::<usize>() as u64;
        self.outcome.writes = self.world.nodes.iter().map(|node| node.disk.written()).sum();
        self.outcome
    }

    fn step(&mut self) {
        let node = self.dice.pick(self.world.nodes.len());
        match self.dice.roll(100) {
            0..=59 => self.deliver(),
            60..=71 => {
                for _ in 0..self.dice.roll(4) {
                    self.world.nodes[node].disk.write_one(&mut self.dice);
                }
                self.world.nodes[node].process();
                self.world.collect(node);
            }
            72..=78 => {
                self.world.nodes[node].process();
                self.world.collect(node);
            }
            79..=85 => {
                let forgets = self.dice.once_in(4);
                self.world.react(node, forgets);
                self.world.collect(node);
            }
            86..=89 => self.pay(node),
            90 => self.world.nodes[node].follow_chain(),
            91 if self.trouble.force_closes && self.dice.once_in(3) => self.force_close(),
            92 if self.trouble.chain => self.move_chain(),
            93 if self.trouble.crashes && self.dice.once_in(2) => self.crash(node),
            94 if self.trouble.disconnects && self.dice.once_in(2) => {
                let (a, b) = self.pair();
                self.world.disconnect(a, b);
            }
            95 | 96 => {
                let (a, b) = self.pair();
                self.world.connect(a, b);
            }
            97 if self.trouble.delays => {
                self.world.nodes[node].is_slow = self.dice.once_in(2);
                let is_late = self.dice.once_in(3);
                self.world.nodes[node].is_late.set(is_late);
            }
            98 if self.trouble.chain && !self.trouble.force_closes && self.trouble.backup == Backup::None => {
                let rate = 1_000 + self.dice.roll(3_000) as u32;
                self.world.fees.0.set(rate);
            }
            99 if self.dice.once_in(4) => self.world.tick(),
            _ => {}
        }
    }

    fn pair(&mut self) -> (usize, usize) {
        let pairs = self.world.pairs();
        pairs[self.dice.pick(pairs.len())]
    }

    fn deliver(&mut self) {
        let full = self.world.wires.iter().filter(|(_, wire)| !wire.is_empty());
        let wires: Vec<(usize, usize)> = full.map(|(ends, _)| *ends).collect();
        if !wires.is_empty() {
            let (from, to) = wires[self.dice.pick(wires.len())];
            for _ in 0..=self.dice.roll(4) {
                self.outcome.messages += u64::from(self.world.deliver(from, to));
            }
            if self.dice.once_in(2) {
                self.world.collect(to);
            }
        }
    }

    fn pay(&mut self, payer: usize) {
        if self.payments.len() >= MAX_PAYMENTS {
            return;
        }
        let payee = (payer + 1 + self.dice.pick(2)) % 3;
        let msat = [1_000, 700_000, 30_000_000, 150_000_000, 350_000_000][self.dice.pick(5)];
        let invoice = self.invoice(payee, msat);
        let id = self.world.pay(payer, payee, msat, &invoice);
        self.payments.push(Payment { id, hash: invoice.hash, payer, payee, msat });
    }

    /// An invoice of one of three kinds: claimed at once, of a hash that the user brought, given back.
    fn invoice(&mut self, payee: usize, msat: u64) -> InboundPayment {
        let expires = self.world.now() + 100_000;
        let (kind, preimage) = (self.dice.roll(8), Preimage::new(self.dice.bytes32()));
        let node = &mut self.world.nodes[payee];
        let amount = Some(Msat::new(msat));
        if kind < 2 {
            let hash = preimage.hash();
            node.user.held.insert(hash, preimage);
            return node.manager().create_inbound_payment_for_hash(hash, amount, expires, None);
        }
        let invoice = node.manager().create_inbound_payment(amount, expires);
        if kind == 2 {
            node.user.refuses.insert(invoice.hash);
        }
        invoice
    }

    fn crash(&mut self, node: usize) {
        self.outcome.crashes += 1;
        if self.dice.once_in(2) {
            // The graph is kept now and then only.
            let snapshot = self.world.nodes[node].running().router.inner().snapshot();
            self.world.nodes[node].disk.put(GRAPH, snapshot);
        }
        for _ in 0..self.dice.roll(6) {
            self.world.nodes[node].disk.write_one(&mut self.dice);
        }
        if self.dice.once_in(5) {
            self.world.nodes[node].disk.lose(RECORD);
        }
        if self.dice.once_in(5) {
            self.world.nodes[node].disk.lose(GRAPH);
        }
        self.world.restart(node);
        self.world.nodes[node].is_slow = self.trouble.delays && self.dice.once_in(2);
    }

    fn move_chain(&mut self) {
        let start = self.world.links.iter().map(|_| 8).sum::<u32>() + 109;
        if self.world.chain.height() >= start + MAX_BLOCKS {
            return;
        }
        if self.dice.once_in(3) {
            let depth = 1 + self.dice.roll(MAX_REORG) as u32;
            self.world.chain.reorg(depth, &crate::bank::nobody());
        }
        self.world.mine(1);
    }

    /// Some user loses patience with a channel.
    fn force_close(&mut self) {
        let link = self.world.links[self.dice.pick(self.world.links.len())];
        let end = link.ends[self.dice.pick(2)];
        let closed = self.world.nodes[end].manager().force_close(link.channel);
        self.world.say(|| format!("{end} sends {} to the chain: {closed:?}", link.channel));
        self.world.is_war = true;
        self.outcome.closed += u64::from(closed.is_ok());
    }

    /// Some node finds itself with an old state; says which.
    fn fall_back(&mut self) -> Option<usize> {
        let (node, backup) = self.backup.take()?;
        self.world.fall_back(node, backup);
        if self.trouble.backup == Backup::Theft {
            for link in self.world.links.clone().iter().filter(|link| link.ends.contains(&node)) {
                let closed = self.world.nodes[node].manager().force_close(link.channel);
                self.world.say(|| format!("{node} sends {} to the chain: {closed:?}", link.channel));
                self.outcome.closed += u64::from(closed.is_ok());
            }
        }
        Some(node)
    }

    /// Blocks come until everything that went to the chain is settled.
    fn wind_down(&mut self, late: Option<usize>) {
        for block in 0..MAX_WIND_DOWN {
            if oracle::is_quiet(&self.world, late) {
                return;
            }
            self.world.mine(1);
            self.world.catch_up();
            if block % 10 == 0 {
                self.world.tick();
                self.world.settle();
            }
        }
        oracle::explain_noise(&self.world);
        panic!("not settled on chain after {MAX_WIND_DOWN} blocks");
    }

    /// The trouble stops.
    fn heal(&mut self, silent: Option<usize>) {
        for node in &mut self.world.nodes {
            node.is_slow = false;
            node.is_late.set(false);
        }
        for _ in 0..6 {
            for (a, b) in self.world.pairs() {
                if silent != Some(a) && silent != Some(b) {
                    self.world.connect(a, b);
                }
            }
            self.world.catch_up();
            self.world.tick();
            self.world.settle();
        }
    }
}
