//! What scenarios do beside what all profiles do.
use std::collections::BTreeSet;

use lightning_channel::payment::{PayError, PayParams};
use lightning_traits::payment::Preimage;
use lightning_traits::units::{CltvDelta, Msat};

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
            other => panic!("nobody knows how to {other:?}"),
        }
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
