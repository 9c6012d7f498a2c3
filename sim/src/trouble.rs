//! What scenarios do beside what all profiles do.
use std::collections::BTreeSet;

use lightning_channel::payment::{PayError, PayParams};
use lightning_traits::payment::Preimage;
use lightning_traits::units::{CltvDelta, Msat};

use crate::media::Fault;
use crate::node::RECORD;
use crate::oracle::{Oracle, hold};
use crate::run::Run;
use crate::script::Move;
use crate::user::Payment;

/// Payments that a crowd begins at once.
const CROWD: usize = 25;
/// Blocks that payees here want for the last HTLC.
const FINAL_DELTA: CltvDelta = CltvDelta::new(63);

/// What scenarios remember from step to step.
#[derive(Default)]
pub(crate) struct Trouble {
    /// The roll of the step itself, for moves that take it as an instruction.
    pub(crate) roll: u64,
    /// Nodes to which something has happened since they last looked.
    pub(crate) stirred: BTreeSet<usize>,
    /// Pairs that do not connect until the trouble is over.
    pub(crate) away: BTreeSet<(usize, usize)>,
}

impl Run {
    /// Moves of scenarios.
    pub(crate) fn special(&mut self, act: Move) {
        match act {
            Move::Begin => self.begin_dance(),
            Move::Claims => self.begin_claims(),
            Move::Advance => self.advance(),
            Move::Die => self.die(),
            Move::Many => self.pay_many(),
            Move::Again => self.ask_for_all(),
            Move::Together => self.open_together(),
            Move::Power => self.lose_power(),
            Move::Heap => self.heap(),
            Move::Lazy => {
                let node = self.some_node();
                self.world.nodes[node].disk.is_lazy.set(!self.trouble.roll.is_multiple_of(3));
                self.world.nodes[node].is_slow = true;
            }
            Move::Break => self.break_disk(),
            Move::Behind => {
                let node = self.some_node();
                self.world.nodes[node].disk.starved.set(Some(RECORD));
            }
            Move::Forget => self.forget(),
            Move::Twice => {
                let node = self.some_node();
                self.world.nodes[node].is_twice.set(self.dice.once_in(2));
            }
            Move::Mislay => {
                let node = self.some_node();
                self.world.nodes[node].disk.mislay();
            }
            Move::Towers => {
                let node = self.some_client();
                let height = self.world.chain.height();
                if let Some(towers) = &mut self.world.nodes[node].towers {
                    towers.shake(&mut self.dice, height);
                }
            }
            Move::Leave => self.leave(),
            other => self.clash(other),
        }
    }

    pub(crate) fn some_node(&mut self) -> usize {
        self.dice.pick(self.world.nodes.len())
    }

    /// The power of a node fails while it writes.
    fn lose_power(&mut self) {
        let node = self.some_node();
        let peers = self.world.wires.peers_of(node);
        self.cut_power(node);
        for peer in peers {
            if !self.dice.once_in(3) {
                self.world.connect(node, peer);
            }
        }
        self.world.nodes[node].is_slow = self.dice.once_in(2);
    }

    /// The machine stops: some of what was under way is written, and none of that flushed.
    pub(crate) fn cut_power(&mut self, node: usize) {
        if self.world.absent.contains(&node) {
            return;
        }
        self.outcome.crashes += 1;
        let (dice, world) = (&mut self.dice, &mut self.world);
        let disk = &world.nodes[node].disk;
        let was_lazy = disk.is_lazy.replace(true);
        for _ in 0..dice.roll(6) {
            disk.write_one(dice);
        }
        disk.is_lazy.set(was_lazy);
        disk.power.set(Some(dice.next()));
        world.restart(node, |waiting| (dice.pick(waiting + 1), !dice.once_in(4)));
    }

    /// Something is wrong with a disk, or nothing any more.
    fn break_disk(&mut self) {
        let node = self.some_node();
        let disk = &self.world.nodes[node].disk;
        let fault = match self.dice.roll(7) {
            0 => Some(Fault::NoRoom),
            1 => Some(Fault::Write),
            2 => Some(Fault::Flush),
            3 => {
                disk.stall.set(20 + self.dice.roll(200) as u32);
                None
            }
            _ => None,
        };
        self.world.say(|| format!("the disk of {node}: {fault:?}, asked in vain {} times", disk.stall.get()));
        disk.set_fault(fault);
    }

    /// The last writes of some channels are gone, though those of others, and the node's own record, are there.
    fn forget(&mut self) {
        let old: Vec<usize> = (0..self.backups.len()).collect();
        let Some(at) = self.dice.some(&old).filter(|_| self.world.late.is_empty()) else { return };
        let (node, backup) = self.backups.swap_remove(at);
        self.outcome.crashes += 1;
        let (mut disk, share) = (self.world.nodes[node].disk.backup(), self.dice.roll(3));
        let first = self.dice.roll(8) as usize;
        for (at, (channel, stored)) in backup.channels.into_iter().enumerate() {
            // All, about half, or at most one.
            let is_lost = match share {
                0 => true,
                1 => self.dice.once_in(2),
                _ => at == first % 2,
            };
            if is_lost && disk.channels.contains_key(&channel) {
                disk.channels.insert(channel, stored);
                disk.marks.insert(channel, backup.marks.get(&channel).cloned().unwrap_or_default());
            }
        }
        self.world.fall_back(node, disk);
    }

    /// Users begin many payments: by invoice, in parts, held back, and without being asked.
    pub(crate) fn pay_many(&mut self) {
        for _ in 0..CROWD {
            let payer = self.dice.pick(self.world.nodes.len());
            let others: Vec<usize> = (0..self.world.nodes.len()).filter(|other| *other != payer).collect();
            let (payee, msat) = (self.dice.of(&others), self.crowd_amount());
            match self.dice.roll(4) {
                0 => self.pay_unasked(payer, payee, msat),
                kind => {
                    let invoice = self.invoice(payee, msat);
                    self.world.pay(payer, payee, msat, &invoice, if kind == 1 { 3 } else { 1 });
                }
            }
        }
        (0..self.world.nodes.len()).for_each(|node| self.world.collect(node));
    }

    /// A payment that nobody asked for.
    fn pay_unasked(&mut self, payer: usize, payee: usize, msat: u64) {
        let preimage = Preimage::new(self.dice.bytes32());
        let hash = preimage.hash();
        let to = self.world.nodes[payee].id();
        let mut params = PayParams::spontaneous(to, Msat::new(msat), preimage);
        params.final_cltv_delta = FINAL_DELTA;
        let id = self.world.new_payment();
        self.world.invoices.insert(hash, (payee, msat));
        self.world.htlcs.on_payment(payer, hash, msat + (msat / 100).max(50_000));
        self.world.say(|| format!("{payer} pays {msat} msat to {payee} unasked for {hash}"));
        self.world.payments.push(Payment { id, payer, payee, msat, params: params.clone() });
        let begun = self.world.nodes[payer].manager().pay(id, params);
        hold(Oracle::Events, begun.is_ok(), || format!("a payment with a new id is refused: {begun:?}"));
    }

    /// Users ask again for everything that they have not heard the end of.
    pub(crate) fn ask_for_all(&mut self) {
        for payment in self.world.payments.clone() {
            let node = &self.world.nodes[payment.payer];
            if node.user.ending(payment.id).is_some() {
                continue;
            }
            let begun = node.manager().pay(payment.id, payment.params);
            let fits = matches!(begun, Ok(()) | Err(PayError::Duplicate(_) | PayError::SameHash(_)));
            hold(Oracle::Events, fits, || format!("a payment begun again is refused: {begun:?}"));
        }
    }
}
