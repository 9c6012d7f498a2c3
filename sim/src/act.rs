//! What each move does. Everything that it chooses comes from the step's own dice, out of what there is at that moment.
use lightning_channel::manager::InboundPayment;
use lightning_channel::payment::PayError;
use lightning_traits::payment::Preimage;
use lightning_traits::units::Msat;

use crate::bank::nobody;
use crate::node::{GRAPH, RECORD};
use crate::oracle::{Oracle, hold};
use crate::profile::Profile;
use crate::run::Run;
use crate::script::Move;
use crate::user::Plan;

/// Payments that one run begins at most.
pub(crate) const MAX_PAYMENTS: usize = 16;
/// Channels that one run opens at most.
const MAX_OPENED: usize = 4;
/// Blocks that one run mines at most before the trouble ends while everybody is honest: fewer than any HTLC has time for,
/// since no deadline may pass.
const MAX_BLOCKS: u32 = 12;
/// Blocks that one run mines at most.
pub(crate) const MAX_WAR_BLOCKS: u32 = 250;
/// Blocks by which a node may lag behind before it hears of them anyway: what a machine may be away for without loss.
const MAX_LAG: u32 = 4;
/// Messages on one wire beyond which no honest node is ever (O8).
const MAX_WIRE: usize = 4_000;

impl Run {
    /// Does one step.
    pub(crate) fn step(&mut self, act: Move) {
        let node = self.dice.pick(self.world.nodes.len());
        match act {
            Move::Deliver => self.deliver(),
            Move::Write => {
                for _ in 0..=self.dice.roll(4) {
                    self.world.nodes[node].disk.write_one(&mut self.dice);
                }
                self.process(node);
            }
            Move::Process => self.process(node),
            Move::React => {
                let forgets = self.dice.once_in(4);
                self.world.react(node, forgets);
                self.world.collect(node);
            }
            Move::Pay => self.pay(node),
            Move::Edge => self.pay_edge(node),
            Move::Parts => self.pay_in_parts(node),
            Move::Retry => self.retry(),
            Move::Abandon => self.abandon(),
            Move::Decide => self.decide(node),
            Move::Open => self.open(),
            Move::Close => self.close(),
            Move::ForceClose => self.force_close(),
            Move::Follow => {
                self.world.hear_blocks(node);
                self.process(node);
            }
            Move::Mine => self.mine(1),
            Move::Bury => {
                let count = 2 + self.dice.roll(20) as u32;
                self.mine(count);
            }
            Move::Reorg => self.reorg(),
            Move::Fees => self.change_fees(),
            Move::Floor => self.move_floor(),
            Move::Crash => self.crash(node),
            Move::Cut => self.cut(),
            Move::Notice => {
                if let Some((here, there)) = self.dice.some(&self.world.wires.half_open()) {
                    self.world.leave(here, there);
                }
            }
            Move::Connect => {
                let (a, b) = self.pair();
                self.world.connect(a, b);
            }
            Move::Mood => self.change_mood(node),
            Move::Remote => {
                let is_remote = self.dice.once_in(2);
                self.world.nodes[node].disk.is_remote.set(is_remote);
                self.world.nodes[node].is_slow |= is_remote;
            }
            Move::Tick => self.world.tick(),
            Move::Backup => self.backups.push((node, self.world.nodes[node].disk.backup())),
            Move::Restore => self.restore(),
            Move::Stall => self.stall(),
            Move::Lie => self.lie(),
            Move::Repeat => self.repeat(),
            Move::Publish => self.publish(),
            Move::Twins => self.twins(),
            Move::Borrow => self.borrow(),
            Move::Reuse => self.reuse(),
            Move::Flood => self.flood(),
            Move::Accuse => self.accuse(),
            Move::Drip => self.drip(),
            Move::Half => self.half(),
            Move::Quiet => {
                if let Some(link) = self.dice.some(&self.world.links) {
                    let _refused =
                        self.world.nodes[self.dice.of(&link.ends)].manager().quiesce_channel(link.channel);
                }
            }
            Move::Splice => self.splice(),
            Move::Announce => self.announce(),
            Move::Spoil => self.spoil(),
            other => self.special(other),
        }
    }

    fn pair(&mut self) -> (usize, usize) {
        let pairs = self.world.pairs();
        self.dice.of(&pairs)
    }

    fn process(&mut self, node: usize) {
        self.world.nodes[node].process();
        self.world.collect(node);
    }

    fn deliver(&mut self) {
        let Some((from, to)) = self.dice.some(&self.world.wires.busy()) else { return };
        let waiting = self.world.wires.waiting(from, to);
        hold(Oracle::Bounded, waiting < MAX_WIRE, || format!("{waiting} messages from {from} to {to}"));
        for _ in 0..=self.dice.roll(4) {
            self.world.deliver(from, to);
        }
        if self.dice.once_in(2) {
            self.world.collect(to);
        }
    }

    fn pay(&mut self, payer: usize) {
        if self.world.payments.len() >= MAX_PAYMENTS {
            return;
        }
        let others: Vec<usize> = (0..self.world.nodes.len()).filter(|other| *other != payer).collect();
        let payee = self.dice.of(&others);
        let msat = self.dice.of(&[1_000, 700_000, 30_000_000, 150_000_000, 350_000_000]);
        let invoice = self.invoice(payee, msat);
        let max_parts = self.dice.of(&[1, 1, 3]);
        self.world.pay(payer, payee, msat, &invoice, max_parts);
    }

    /// Pays about what one side of a channel has: a little more than it can send, exactly that, or a little less.
    fn pay_edge(&mut self, payer: usize) {
        let Some(link) = self.dice.some(&self.world.links) else { return };
        let from = self.dice.pick(2);
        let (from, payee) = (link.ends[from], link.ends[1 - from]);
        let channels = self.world.nodes[from].manager().list_channels();
        let funded =
            channels.into_iter().find(|channel| channel.channel == link.channel).and_then(|c| c.funded);
        let Some(funded) = funded.filter(|_| payer != payee && self.world.payments.len() < MAX_PAYMENTS)
        else {
            return;
        };
        let all = funded.our_balance.saturating_sub(funded.our_reserve);
        // The room for fees that an opener keeps is some thousand satoshi.
        let less = self.dice.roll(8_000_000);
        let msat =
            if self.dice.once_in(3) { funded.sendable.to_msat() } else { all.to_msat().saturating_sub(less) };
        let invoice = self.invoice(payee, msat.max(1_000));
        self.world.pay(payer, payee, msat.max(1_000), &invoice, 1);
    }

    /// Pays over the channels of one way several times the same.
    fn pay_in_parts(&mut self, payer: usize) {
        let count = 2 + self.dice.pick(4);
        let msat = self.dice.of(&[700_000, 20_000_000, 60_000_000]);
        let (first, second) = (self.neighbour(payer), self.dice.once_in(4));
        let Some(first) = first.filter(|_| self.world.payments.len() < MAX_PAYMENTS) else { return };
        let beyond = self.neighbour(first).filter(|node| *node != payer && !second);
        let way: Vec<usize> = [payer, first].into_iter().chain(beyond).collect();
        let payee = way[way.len() - 1];
        let total = msat * count as u64;
        let invoice = self.invoice(payee, total);
        let Some(path) = self.world.path(&way, msat) else { return };
        self.world.pay_along(payer, payee, total, &invoice, vec![path; count]);
    }

    /// Somebody with whom a node has a channel.
    pub(crate) fn neighbour(&mut self, node: usize) -> Option<usize> {
        let other = |(a, b): (usize, usize)| match node {
            _ if a == node => Some(b),
            _ if b == node => Some(a),
            _ => None,
        };
        let others: Vec<usize> = self.world.pairs().into_iter().filter_map(other).collect();
        self.dice.some(&others)
    }

    /// An invoice of the node's own, or of a hash that its user brought.
    pub(crate) fn invoice(&mut self, payee: usize, msat: u64) -> InboundPayment {
        let expires = self.world.now() + 400_000;
        let (plan, preimage) = (self.dice.roll(8), Preimage::new(self.dice.bytes32()));
        let is_held = self.dice.once_in(4);
        let node = &mut self.world.nodes[payee];
        let amount = Some(Msat::new(msat));
        let invoice = if is_held {
            let hash = preimage.hash();
            node.user.held.insert(hash, preimage);
            node.manager().create_inbound_payment_for_hash(hash, amount, expires, None)
        } else {
            node.manager().create_inbound_payment(amount, expires)
        };
        let plan = [Plan::Refuse, Plan::Wait, Plan::Wait].get(plan as usize).copied().unwrap_or(Plan::Claim);
        node.user.plans.insert(invoice.hash, plan);
        self.world.invoices.insert(invoice.hash, (payee, msat));
        invoice
    }

    /// A user that does not know how a payment ended begins it again, under the same id.
    fn retry(&mut self) {
        let open = self
            .world
            .payments
            .iter()
            .filter(|payment| self.world.nodes[payment.payer].user.ending(payment.id).is_none());
        let open: Vec<_> = open.cloned().collect();
        if open.is_empty() {
            return;
        }
        let payment = &open[self.dice.pick(open.len())];
        let begun = self.world.nodes[payment.payer].manager().pay(payment.id, payment.params.clone());
        let fits = matches!(begun, Ok(()) | Err(PayError::Duplicate(_) | PayError::SameHash(_)));
        hold(Oracle::Events, fits, || format!("a payment begun again is refused: {begun:?}"));
    }

    fn abandon(&mut self) {
        let ids: Vec<_> = self.world.payments.iter().map(|payment| (payment.payer, payment.id)).collect();
        if let Some((payer, id)) = self.dice.some(&ids) {
            self.world.nodes[payer].manager().abandon(id);
        }
    }

    fn decide(&mut self, node: usize) {
        let waiting: Vec<_> = self.world.nodes[node].user.waiting.iter().copied().collect();
        if let Some(hash) = self.dice.some(&waiting) {
            let plan = if self.dice.once_in(3) { Plan::Refuse } else { Plan::Claim };
            self.world.decide(node, hash, plan);
        }
    }

    fn open(&mut self) {
        if self.world.bank.coins() == 0 || self.outcome.opened >= MAX_OPENED as u64 {
            return;
        }
        let (a, b) = self.pair();
        if !self.world.wires.believes(a, b) {
            return;
        }
        self.outcome.opened += 1;
        let (sat, push) = self.dice.of(&[(300_000, 0), (500_000, 200_000), (900_000, 890_000)]);
        let peer = self.world.nodes[b].id();
        let (value, push) = (bitcoin::Amount::from_sat(sat), Msat::from_sat(push));
        let _refused = self.world.nodes[a].manager().open_channel(peer, value, push, true);
    }

    fn close(&mut self) {
        let Some(link) = self.dice.some(&self.world.links) else { return };
        let end = self.dice.of(&link.ends);
        let closed = self.world.nodes[end].manager().close_channel(link.channel, Default::default());
        self.world.say(|| format!("{end} closes {}: {closed:?}", link.channel));
    }

    /// Some user loses patience with a channel.
    fn force_close(&mut self) {
        let Some(link) = self.dice.some(&self.world.links) else { return };
        let end = self.dice.of(&link.ends);
        let closed = self.world.nodes[end].manager().force_close(link.channel);
        self.world.say(|| format!("{end} sends {} to the chain: {closed:?}", link.channel));
        self.outcome.closed += u64::from(closed.is_ok());
    }

    fn crash(&mut self, node: usize) {
        self.outcome.crashes += 1;
        if self.world.absent.contains(&node) {
            return;
        }
        let (dice, world) = (&mut self.dice, &mut self.world);
        if dice.once_in(2) {
            // The graph is kept now and then only.
            let snapshot = world.nodes[node].running().router.inner().snapshot();
            world.nodes[node].disk.put(GRAPH, snapshot);
        }
        // What was under way may be on the disk, though nobody was told.
        for _ in 0..dice.roll(6) {
            world.nodes[node].disk.write_one(dice);
        }
        for (key, times) in [(RECORD, 5), (GRAPH, 5)] {
            if dice.once_in(times) {
                world.nodes[node].disk.lose(key);
            }
        }
        let peers = world.wires.peers_of(node);
        world.restart(node, |waiting| (dice.pick(waiting + 1), !dice.once_in(4)));
        for peer in peers {
            if !dice.once_in(3) {
                world.connect(node, peer);
            }
        }
        world.nodes[node].is_slow = dice.once_in(2);
    }

    fn cut(&mut self) {
        let (a, b) = self.pair();
        let notices = self.dice.of(&[[true, true], [true, true], [true, false], [false, true]]);
        self.world.cut(a, b, notices);
    }

    fn change_mood(&mut self, node: usize) {
        let is_disk = self.profile == Profile::Disk;
        let node = &mut self.world.nodes[node];
        node.is_slow = self.dice.once_in(2);
        node.is_late.set(self.dice.once_in(3));
        node.keys.is_slow.set(self.dice.once_in(4));
        node.disk.is_full.set(self.dice.once_in(if is_disk { 3 } else { 8 }));
    }

    fn restore(&mut self) {
        if let Some(at) = (!self.backups.is_empty()).then(|| self.dice.pick(self.backups.len()))
            && self.world.late.is_empty()
        {
            let (node, backup) = self.backups.swap_remove(at);
            self.outcome.crashes += 1;
            self.world.fall_back(node, backup);
        }
    }

    pub(crate) fn mine(&mut self, count: u32) {
        let most = if self.profile.allows_force() { MAX_WAR_BLOCKS } else { MAX_BLOCKS };
        for _ in 0..count {
            if self.world.chain.height() >= self.start + most {
                return;
            }
            if core::mem::take(&mut self.world.has_decided) && self.profile.has_villains() {
                self.world.settle_trusty();
            }
            self.world.mine(1);
            self.keep_up();
            if self.profile.has_villains() && self.world.chain.height().is_multiple_of(3) {
                self.world.settle_trusty();
            }
        }
    }

    /// Whoever lags too far behind hears of the blocks, and its disk and signer answer.
    pub(crate) fn keep_up(&mut self) {
        self.world.mischief.haunt();
        self.world.scan();
        for node in 0..self.world.nodes.len() {
            if self.world.nodes[node].lag() < MAX_LAG || self.world.absent.contains(&node) {
                continue;
            }
            self.world.nodes[node].be_quick();
            self.world.hear_blocks(node);
            self.world.nodes[node].disk.write_all();
            self.process(node);
        }
    }

    fn reorg(&mut self) {
        let most = if self.profile.allows_force() { 5 } else { 3 };
        let depth = (1 + self.dice.roll(most) as u32).min(self.world.chain.height() - self.start);
        if depth == 0 {
            return;
        }
        self.outcome.reorgs += 1;
        if self.dice.once_in(3) {
            self.world.chain.reorg_empty(depth, &nobody());
        } else {
            self.world.chain.reorg(depth, &nobody());
        }
        self.world.note_settled();
        self.keep_up();
    }

    fn change_fees(&mut self) {
        let rate = if self.profile.allows_force() {
            300 + self.dice.roll(500) as u32
        } else {
            // Not further apart: a feerate that one side has signed for must stay within what the other takes.
            self.dice.of(&[1_000, 1_500, 2_000, 3_000, 4_000])
        };
        self.world.fees.rate.set(rate);
    }

    fn move_floor(&mut self) {
        let floor = self.dice.of(&[100, 1_000, 1_000, 2_500]);
        self.world.set_floor(floor);
    }
}
