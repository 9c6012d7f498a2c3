//! Payments step by step: one message, one write, one look of a node at what became of both, so that power can fail
//! between any two of them (scenarios 1, 5 and 20 of RELIABILITY).
use bitcoin::Amount;
use lightning_traits::payment::PaymentHash;

use crate::dice::Dice;
use crate::run::Run;
use crate::script::{Move, Step};
use crate::user::Plan;

/// What is danced: an HTLC is added, fulfilled, failed, cannot be read; the feerate moves.
const DANCES: u64 = 5;
/// Who begins: the opener, the other side, both at once.
const SIDES: u64 = 3;
/// Whose power fails: the opener's, the other side's, both.
const VICTIMS: u64 = 3;
/// Steps before the power fails: a whole dance, in both directions, has about so many.
const STEPS: u64 = 40;
const CASES: u64 = DANCES * SIDES * VICTIMS * STEPS;
/// Goes through all cases in an order in which neighbours differ in everything; coprime to their number.
const STRIDE: u64 = 1_117;

/// Something that can be next.
#[derive(Clone, Copy)]
enum Next {
    Message(usize, usize),
    Write(usize),
    Look(usize),
}

fn step(act: Move, roll: u64) -> Step {
    Step { act, roll }
}

fn advance(steps: &mut Vec<Step>, count: u64, dice: &mut Dice) {
    steps.extend((0..count).map(|_| step(Move::Advance, dice.next())));
}

/// Scenario 1: each dance, begun by each side, cut after each step, and up to three times more on the way back.
pub(crate) fn cut_everywhere(seed: u64) -> Vec<Step> {
    let mut case = seed.wrapping_mul(STRIDE) % CASES;
    let mut choose = |count: u64| {
        let choice = case % count;
        case /= count;
        choice
    };
    let (dance, side, victim, before) = (choose(DANCES), choose(SIDES), choose(VICTIMS), choose(STEPS));
    let mut dice = Dice::new(seed);
    let mut steps = vec![step(Move::Begin, dance + DANCES * side)];
    advance(&mut steps, before, &mut dice);
    let noise = |dice: &mut Dice| dice.roll(1 << 40) << 3;
    steps.push(step(Move::Die, noise(&mut dice) | (victim + 1)));
    for _ in 0..dice.roll(4) {
        let count = dice.roll(14);
        advance(&mut steps, count, &mut dice);
        let victims = 1 + dice.roll(3);
        steps.push(step(Move::Die, noise(&mut dice) | victims));
    }
    advance(&mut steps, 30, &mut dice);
    steps
}

/// Scenario 5: a payment in parts is claimed; whoever has learnt the preimage dies, and again while it comes back; some
/// neighbour is away for long, or has closed a channel.
pub(crate) fn cut_claims(seed: u64) -> Vec<Step> {
    let mut dice = Dice::new(seed);
    let mut steps = vec![step(Move::Claims, dice.next())];
    let before = seed % 48;
    advance(&mut steps, before, &mut dice);
    for _ in 0..2 + dice.roll(2) {
        let victims = 1 + dice.roll(7);
        steps.push(step(Move::Die, dice.roll(1 << 40) << 3 | victims));
        let count = dice.roll(20);
        advance(&mut steps, count, &mut dice);
        if dice.once_in(3) {
            steps.push(step(Move::Mine, dice.next()));
        }
    }
    advance(&mut steps, 20, &mut dice);
    steps
}

/// Scenario 20: a crowd of payments, while nodes die often.
pub(crate) fn crowd(seed: u64) -> Vec<Step> {
    const WEIGHTS: &[(Move, u32)] = &[
        (Move::Deliver, 600),
        (Move::Write, 120),
        (Move::Process, 80),
        (Move::React, 120),
        (Move::Connect, 60),
        (Move::Again, 15),
        (Move::Decide, 20),
        (Move::Crash, 12),
        (Move::Die, 12),
        (Move::Mood, 8),
        (Move::Remote, 4),
        (Move::Abandon, 3),
        (Move::Tick, 6),
        (Move::Mine, 3),
        (Move::Follow, 6),
    ];
    let mut dice = Dice::new(seed);
    let mut steps = Vec::new();
    for _ in 0..4 {
        steps.push(step(Move::Many, dice.next()));
        steps.extend((0..90).map(|_| Step::roll(WEIGHTS, &mut dice)));
    }
    steps
}

impl Run {
    /// Brings one of the dances to its beginning.
    pub(crate) fn begin_dance(&mut self) {
        let (dance, side) = (self.trouble.roll % DANCES, self.trouble.roll / DANCES % SIDES);
        let Some(link) = self.world.links.first().copied() else { return };
        let [opener, other] = link.ends;
        let ways: &[(usize, usize)] = match side {
            0 => &[(opener, other)],
            1 => &[(other, opener)],
            _ => &[(opener, other), (other, opener)],
        };
        let mut hashes = Vec::new();
        // The opener alone may change the feerate: an HTLC of the other side, or of its own, goes beside it.
        let ways = if dance == 4 && side == 0 { &[] } else { ways };
        for (payer, payee) in ways {
            hashes.push((*payee, self.promise(*payer, *payee, 30_000_000, dance, 1)));
        }
        if dance == 1 || dance == 2 {
            self.world.settle();
        }
        if dance == 4 {
            self.world.fees.rate.set(3_500);
            self.world.nodes[opener].manager().timer_tick();
        }
        self.slow_down();
        for (payee, hash) in hashes.into_iter().filter(|_| dance == 1 || dance == 2) {
            self.world.decide(payee, hash, if dance == 1 { Plan::Claim } else { Plan::Refuse });
        }
    }

    /// A payment whose end waits for the dance, if that is about its end.
    fn promise(&mut self, payer: usize, payee: usize, msat: u64, dance: u64, parts: u16) -> PaymentHash {
        let invoice = self.invoice(payee, msat);
        let plan = if dance == 1 || dance == 2 { Plan::Wait } else { Plan::Claim };
        self.world.nodes[payee].user.plans.insert(invoice.hash, plan);
        if dance == 3 {
            self.world.garbled.insert((payer, invoice.hash));
        }
        self.world.pay(payer, payee, msat, &invoice, parts);
        invoice.hash
    }

    /// From now on every write, and every look, is a step of its own.
    fn slow_down(&mut self) {
        for node in 0..self.world.nodes.len() {
            self.world.nodes[node].is_slow = true;
            self.world.nodes[node].disk.is_lazy.set(true);
            self.trouble.stirred.insert(node);
        }
    }

    /// A payment in parts has arrived, its payee claims it, and nothing has moved since. Sometimes a neighbour is away, or a
    /// channel on the way goes to the chain.
    pub(crate) fn begin_claims(&mut self) {
        let last = self.world.nodes.len() - 1;
        let (payer, payee) = if self.dice.once_in(2) { (0, last) } else { (last, 0) };
        let (msat, parts) = self.dice.of(&[(40_000_000, 1), (500_000_000, 4), (380_000_000, 4)]);
        let mut hashes = vec![self.promise(payer, payee, msat, 1, parts)];
        // The same way several times, so that parts stand in one channel too.
        let between: Vec<usize> = (1..last)
            .filter(|node| self.are_neighbours(*node, payer) && self.are_neighbours(*node, payee))
            .collect();
        let way: Vec<usize> = [payer].into_iter().chain(between.first().copied()).chain([payee]).collect();
        let (count, each) = (2 + self.dice.pick(3), 15_000_000);
        if let Some(path) = self.world.path(&way, each) {
            let invoice = self.invoice(payee, each * count as u64);
            self.world.nodes[payee].user.plans.insert(invoice.hash, Plan::Wait);
            self.world.pay_along(payer, payee, each * count as u64, &invoice, vec![path; count]);
            hashes.push(invoice.hash);
        }
        self.world.settle();
        let (is_away, is_closed) = (self.dice.once_in(3), self.dice.once_in(3));
        if let Some(link) = self.dice.some(&self.world.links) {
            let [a, b] = link.ends;
            if is_away {
                self.world.cut(a, b, [true, true]);
                self.trouble.away.insert((a.min(b), a.max(b)));
            } else if is_closed {
                self.world.is_war = true;
                self.world.may_force = true;
                self.world.fees.rate.set(500);
                let end = self.dice.of(&link.ends);
                let _refused = self.world.nodes[end].manager().force_close(link.channel);
            }
        }
        self.slow_down();
        for hash in hashes {
            self.world.decide(payee, hash, Plan::Claim);
        }
    }

    fn are_neighbours(&self, a: usize, b: usize) -> bool {
        self.world.pairs().contains(&(a.min(b), a.max(b)))
    }

    /// One thing happens, of all that can be next.
    pub(crate) fn advance(&mut self) {
        let world = &self.world;
        let mut next: Vec<Next> =
            world.wires.busy().iter().map(|(from, to)| Next::Message(*from, *to)).collect();
        let writing = (0..world.nodes.len()).filter(|node| !world.nodes[*node].disk.is_idle());
        next.extend(writing.map(Next::Write));
        next.extend(self.trouble.stirred.iter().map(|node| Next::Look(*node)));
        match self.dice.some(&next) {
            None => {}
            Some(Next::Message(from, to)) => {
                self.world.deliver(from, to);
                self.trouble.stirred.insert(to);
            }
            Some(Next::Write(node)) => {
                self.world.nodes[node].disk.write_one(&mut self.dice);
                self.trouble.stirred.insert(node);
            }
            Some(Next::Look(node)) => {
                self.trouble.stirred.remove(&node);
                self.world.nodes[node].process();
                while self.world.react(node, false) {
                    self.trouble.stirred.insert(node);
                }
                self.world.collect(node);
            }
        }
    }

    /// Nodes lose their power, and start again: those whose bit of the roll is set.
    pub(crate) fn die(&mut self) {
        let victims: Vec<usize> =
            (0..self.world.nodes.len()).filter(|node| self.trouble.roll >> (node % 3) & 1 == 1).collect();
        self.dice = Dice::new(self.trouble.roll);
        for node in victims {
            self.cut_power(node);
            self.trouble.stirred.insert(node);
        }
        for (a, b) in self.world.pairs() {
            if !self.trouble.away.contains(&(a, b)) {
                self.world.connect(a, b);
                self.trouble.stirred.extend([a, b]);
            }
        }
    }

    /// Smallest and largest of what a crowd pays, in satoshi.
    pub(crate) fn crowd_amount(&mut self) -> u64 {
        let sat = self.dice.of(&[1, 20, 400, 1_500, 4_000]);
        Amount::from_sat(sat).to_sat() * 1_000
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_case_has_its_seed() {
        let first = |seed: u64| {
            let steps = cut_everywhere(seed);
            let before = steps.iter().position(|step| step.act == Move::Die).unwrap_or_default();
            (steps[0].roll, steps[before].roll & 7, before)
        };
        let cases: BTreeSet<_> = (0..CASES).map(first).collect();
        assert_eq!(cases.len() as u64, CASES);
    }
}
