//! Where two sides want the same output: both go to the chain in the middle of a dance, a preimage and a timeout meet at a
//! deadline, and miners choose.
use std::sync::Arc;

use crate::act::{MAX_PAYMENTS, MAX_WAR_BLOCKS};
use crate::bank::nobody;
use crate::dice::Dice;
use crate::node::Node;
use crate::run::Run;
use crate::script::{Move, Step};
use crate::user::Plan;

/// Blocks before its expiry by which an HTLC must be claimed on the chain (BOLT 2: 2R+G+S), and after it, by which whoever
/// offered it goes there.
const MARGINS: [i64; 6] = [0, 0, -18, 3, 6, 9];

/// Some steps, each of them one of these moves.
pub(crate) fn some(weights: &[(Move, u32)], count: u64, steps: &mut Vec<Step>, dice: &mut Dice) {
    steps.extend((0..count).map(|_| Step::roll(weights, dice)));
}

/// What goes on beside, in every scenario here.
const TRAFFIC: &[(Move, u32)] = &[
    (Move::Deliver, 300),
    (Move::Write, 60),
    (Move::Process, 35),
    (Move::React, 35),
    (Move::Follow, 20),
    (Move::Connect, 12),
    (Move::Decide, 10),
    (Move::Mood, 4),
    (Move::Crash, 4),
    (Move::Cut, 4),
];

/// What the chain does then.
const CHAIN: &[(Move, u32)] = &[
    (Move::Follow, 60),
    (Move::Take, 30),
    (Move::Swap, 25),
    (Move::Mine, 25),
    (Move::React, 25),
    (Move::Process, 25),
    (Move::Deliver, 40),
    (Move::Decide, 10),
    (Move::Back, 6),
    (Move::Reorg, 6),
    (Move::Bury, 5),
    (Move::Near, 5),
    (Move::Crash, 6),
    (Move::Connect, 6),
    (Move::Tick, 2),
];

/// Payments of all kinds.
const PAYING: &[(Move, u32)] = &[(Move::Pay, 4), (Move::Parts, 1), (Move::Hold, 4)];

/// Payments begin; half the time all arrive where they wait, and some are claimed or given back; then some more is under way.
fn pay(steps: &mut Vec<Step>, dice: &mut Dice) {
    let (held, arrived) = (1 + dice.roll(3), dice.once_in(2));
    some(PAYING, held, steps, dice);
    if arrived {
        some(&[(Move::Settle, 1)], 1, steps, dice);
        let decisions = dice.roll(3);
        some(&[(Move::Decide, 1)], decisions, steps, dice);
    }
    let (more, moves) = (dice.roll(2), dice.roll(60));
    some(PAYING, more, steps, dice);
    some(TRAFFIC, moves, steps, dice);
}

/// Scenario 9: channels end in every way, and then blocks go: few, or more than were final, or more than anybody watches; what
/// comes instead is the same, nothing, the other side's commitment, or another claim.
pub(crate) fn closes_taken_back(seed: u64) -> Vec<Step> {
    const CLOSING: &[(Move, u32)] =
        &[(Move::ForceClose, 3), (Move::Both, 2), (Move::Close, 2), (Move::Near, 1)];
    const BLOCKS: &[(Move, u32)] = &[
        (Move::Deep, 20),
        (Move::Swap, 20),
        (Move::Back, 10),
        (Move::Take, 10),
        (Move::Bury, 20),
        (Move::Mine, 15),
        (Move::Follow, 50),
        (Move::Deliver, 60),
        (Move::React, 25),
        (Move::Process, 25),
        (Move::Decide, 8),
        (Move::Crash, 6),
        (Move::Connect, 8),
        (Move::Tick, 3),
    ];
    let (mut dice, mut steps) = (Dice::new(seed), Vec::new());
    for _ in 0..2 + dice.roll(2) {
        pay(&mut steps, &mut dice);
        let closes = 1 + dice.roll(2);
        some(CLOSING, closes, &mut steps, &mut dice);
        let moves = 20 + dice.roll(60);
        some(BLOCKS, moves, &mut steps, &mut dice);
    }
    steps
}

/// Scenario 10: channels are opened and used while blocks go, with their funding transactions; some of these are spent in another
/// way before either side takes them for deep.
pub(crate) fn fundings_taken_back(seed: u64) -> Vec<Step> {
    const OPENING: &[(Move, u32)] = &[
        (Move::Open, 30),
        (Move::Deliver, 200),
        (Move::React, 40),
        (Move::Process, 20),
        (Move::Write, 20),
        (Move::Connect, 10),
    ];
    const BLOCKS: &[(Move, u32)] = &[
        (Move::Undo, 15),
        (Move::Deep, 10),
        (Move::Reorg, 10),
        (Move::Back, 8),
        (Move::Mine, 25),
        (Move::Follow, 50),
        (Move::Deliver, 150),
        (Move::React, 30),
        (Move::Process, 25),
        (Move::Hold, 6),
        (Move::Pay, 10),
        (Move::Decide, 10),
        (Move::Crash, 6),
        (Move::Connect, 10),
        (Move::Tick, 5),
    ];
    let (mut dice, mut steps) = (Dice::new(seed), Vec::new());
    for _ in 0..2 + dice.roll(2) {
        let moves = 20 + dice.roll(40);
        some(OPENING, moves, &mut steps, &mut dice);
        if dice.once_in(2) {
            some(&[(Move::Settle, 1)], 1, &mut steps, &mut dice);
        }
        pay(&mut steps, &mut dice);
        let moves = 30 + dice.roll(60);
        some(BLOCKS, moves, &mut steps, &mut dice);
    }
    steps
}

/// Scenario 12: room becomes dear while claims, commitments and closes wait for a block.
pub(crate) fn claims_in_a_spike(seed: u64) -> Vec<Step> {
    const CLOSING: &[(Move, u32)] =
        &[(Move::ForceClose, 8), (Move::Both, 2), (Move::Close, 2), (Move::Near, 3), (Move::Open, 1)];
    const BLOCKS: &[(Move, u32)] = &[
        (Move::Spike, 5),
        (Move::Floor, 3),
        (Move::Mine, 50),
        (Move::Bury, 8),
        (Move::Near, 4),
        (Move::Take, 4),
        (Move::Swap, 4),
        (Move::Reorg, 6),
        (Move::Follow, 60),
        (Move::Deliver, 100),
        (Move::React, 30),
        (Move::Process, 25),
        (Move::Decide, 10),
        (Move::Crash, 8),
        (Move::Connect, 8),
        (Move::Tick, 8),
    ];
    let (mut dice, mut steps) = (Dice::new(seed), Vec::new());
    for _ in 0..2 + dice.roll(2) {
        pay(&mut steps, &mut dice);
        let first = dice.once_in(2);
        some(if first { &[(Move::Spike, 1)] } else { CLOSING }, 1, &mut steps, &mut dice);
        let moves = dice.roll(12);
        some(BLOCKS, moves, &mut steps, &mut dice);
        some(if first { CLOSING } else { &[(Move::Spike, 1)] }, 1, &mut steps, &mut dice);
        let moves = 30 + dice.roll(60);
        some(BLOCKS, moves, &mut steps, &mut dice);
    }
    steps
}

/// Scenario 15: payments in both directions stop anywhere in their dance, both sides of a channel go to the chain, and miners and
/// reorganisations choose between what they sent.
pub(crate) fn both_at_once(seed: u64) -> Vec<Step> {
    let (mut dice, mut steps) = (Dice::new(!seed), Vec::new());
    for _ in 0..1 + dice.roll(2) {
        pay(&mut steps, &mut dice);
        let closes = 1 + dice.roll(2);
        some(&[(Move::Both, 1)], closes, &mut steps, &mut dice);
        some(CHAIN, 50, &mut steps, &mut dice);
    }
    steps
}

/// Scenario 22: payees take their time until a deadline is near or over, on this hop or that; then preimage and timeout meet, on
/// the wire and on the chain.
pub(crate) fn at_the_deadline(seed: u64) -> Vec<Step> {
    let (mut dice, mut steps) = (Dice::new(seed), Vec::new());
    let held = 1 + dice.roll(3);
    some(&[(Move::Hold, 1)], held, &mut steps, &mut dice);
    let settle = if dice.once_in(5) { 0 } else { 1 };
    some(&[(Move::Settle, 1)], settle, &mut steps, &mut dice);
    let moves = dice.roll(30);
    some(TRAFFIC, moves, &mut steps, &mut dice);
    if dice.once_in(3) {
        // One hop is on the chain already.
        some(&[(Move::ForceClose, 1), (Move::Both, 1)], 1, &mut steps, &mut dice);
    }
    for _ in 0..2 + dice.roll(3) {
        if dice.once_in(3) {
            some(&[(Move::Cut, 1)], 1, &mut steps, &mut dice);
        }
        some(&[(Move::Near, 1)], 1, &mut steps, &mut dice);
        let decisions = dice.roll(3);
        some(&[(Move::Decide, 1)], decisions, &mut steps, &mut dice);
        let moves = dice.roll(20);
        some(TRAFFIC, moves, &mut steps, &mut dice);
        let moves = 10 + dice.roll(20);
        some(CHAIN, moves, &mut steps, &mut dice);
    }
    steps
}

impl Run {
    /// Moves of these scenarios.
    pub(crate) fn clash(&mut self, act: Move) {
        match act {
            Move::Spike => self.world.spike(&mut self.dice),
            Move::Deep => self.reorganise_deep(),
            Move::Swap => self.swap(),
            Move::Back => self.go_back(),
            Move::Take => self.take(),
            Move::Undo => self.undo_funding(),
            Move::Both => self.close_both(),
            Move::Hold => self.pay_held(),
            Move::Near => self.mine_near(),
            Move::Settle => {
                self.world.nodes.iter_mut().for_each(Node::be_quick);
                self.world.settle();
            }
            other => panic!("nobody knows how to {other:?}"),
        }
    }

    /// Both users of a channel lose patience, before either has heard of the other.
    pub(crate) fn close_both(&mut self) {
        let Some(link) = self.dice.some(&self.world.links) else { return };
        let [first, second] = if self.dice.once_in(2) { link.ends } else { [link.ends[1], link.ends[0]] };
        for end in [first, second] {
            let closed = self.world.nodes[end].manager().force_close(link.channel);
            self.world.say(|| format!("{end} sends {} to the chain: {closed:?}", link.channel));
            self.outcome.closed += u64::from(closed.is_ok());
        }
        for end in [first, second] {
            self.world.nodes[end].process();
            self.world.judge_broadcasts(end);
        }
        if self.dice.once_in(2) {
            // Whoever comes second.
            self.take();
        }
    }

    /// A payment that its payee neither takes nor gives back until somebody decides.
    pub(crate) fn pay_held(&mut self) {
        if self.world.payments.len() >= MAX_PAYMENTS {
            return;
        }
        let payer = self.dice.pick(self.world.nodes.len());
        let others: Vec<usize> = (0..self.world.nodes.len()).filter(|other| *other != payer).collect();
        let payee = self.dice.of(&others);
        let msat = self.dice.of(&[30_000_000, 60_000_000, 150_000_000]);
        let invoice = self.invoice(payee, msat);
        self.world.nodes[payee].user.plans.insert(invoice.hash, Plan::Wait);
        self.world.pay(payer, payee, msat, &invoice, 1);
    }

    /// Blocks come until two before a deadline, or two after, or in between.
    pub(crate) fn mine_near(&mut self) {
        let height = i64::from(self.world.chain.height());
        let aims = self
            .world
            .htlcs
            .expiries()
            .into_iter()
            .flat_map(|expiry| MARGINS.iter().map(move |margin| i64::from(expiry) + margin));
        let ahead: Vec<i64> = aims.filter(|aim| *aim > height).collect();
        let Some(aim) = self.dice.some(&ahead) else { return };
        let count = aim - height - 2 + self.dice.roll(5) as i64;
        self.mine(u32::try_from(count).unwrap_or_default());
    }

    /// A miner takes something that somebody has sent, in place of what waits or beside it.
    pub(crate) fn take(&mut self) {
        if self.world.chain.height() >= self.start + MAX_WAR_BLOCKS {
            return;
        }
        let chain = &self.world.chain;
        let unspent = self.world.tree.offers.iter().filter(|(outpoint, _)| chain.utxo(outpoint).is_some());
        let offers: Vec<_> = unspent.flat_map(|(_, offers)| offers).map(|offer| &offer.transaction).collect();
        if offers.is_empty() {
            return;
        }
        let taken = Arc::clone(offers[self.dice.pick(offers.len())]);
        let mined = self.world.chain.mine_transactions(vec![(*taken).clone()], &nobody());
        self.world.say(|| format!("a miner takes {}: {mined:?}", taken.compute_txid()));
        if mined.is_ok() {
            self.world.note_settled();
            self.keep_up();
        }
    }
}
