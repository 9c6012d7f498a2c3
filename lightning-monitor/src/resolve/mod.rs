//! What happens on chain, and what follows from it.
//!
//! [`ChannelMonitor::on_transaction`] takes a confirmed transaction that spends something of the channel
//! (`confirm.rs`), [`ChannelMonitor::on_tip`] looks at what the new height makes possible (`due.rs`, `claims.rs`) and
//! irrevocable (`outcome.rs`), [`ChannelMonitor::on_disconnected`] rolls one block back. All three only note what must be
//! done, in a [`Todo`].
//!
//! # Invariants
//! - a preimage seen on chain is reported at once; an HTLC that has an output in some commitment fails back only when that is irrevocable, 6 deep,
//!   and no preimage is known (RELIABILITY rule 4)
//! - taking the same block twice changes nothing
//! - a channel that was on chain goes there again when the block of its closing transaction is taken back
//! - a transaction that only the signer could explain is kept, and what follows on it, until the signer answers
mod claims;
mod confirm;
mod due;
mod outcome;

pub(crate) use claims::RENEWAL;

use alloc::vec::Vec;

use bitcoin::{Amount, OutPoint, ScriptBuf, Transaction};
use lightning_traits::Secp;
use lightning_traits::event::Event;
use lightning_traits::interface::ChannelSigner;
use lightning_traits::monitor::{MonitorEvent, SpendKind};
use lightning_traits::units::{BlockHeight, FeeratePerKw};

use crate::claim::{Parent, Rank};
use crate::monitor::{ChannelMonitor, Closing, Confirmed, Duty, Stance};

/// How deep a transaction must be before what follows from it cannot be taken back.
pub(crate) const IRREVOCABLE_DEPTH: u32 = 6;

/// Feerates of the moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rates {
    pub(crate) urgent: FeeratePerKw,
    pub(crate) background: FeeratePerKw,
}

/// The circumstances in which a monitor acts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) tip: BlockHeight,
    pub(crate) rates: Rates,
    /// Blocks that each step of a price takes, for all that waits.
    pub(crate) pace: u32,
    /// Whether our commitment may go out: not while something that the monitor has learnt could be lost in a crash, as
    /// then the channel would step on past a commitment that is out.
    pub(crate) may_publish: bool,
}

/// What coins are for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// For the second-stage transaction of an HTLC.
    SecondStage,
    /// For a child that pays for a commitment.
    Child { parent: Parent },
}

impl Purpose {
    /// Weight and fee of what the transaction pays for besides itself.
    pub(crate) const fn carried(&self) -> (u64, Amount) {
        match self {
            Self::SecondStage => (0, Amount::ZERO),
            Self::Child { parent } => (parent.weight, parent.fee),
        }
    }
}

/// A transaction that waits for coins of the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CoinRequest {
    /// By which the coins are asked for: the claimed output, or the funding output for a child.
    pub(crate) outpoint: OutPoint,
    /// What the coins must be worth beyond the cost of spending them.
    pub(crate) needed: Amount,
    pub(crate) feerate: FeeratePerKw,
    /// The lowest feerate at which the claim is worth it.
    pub(crate) floor: FeeratePerKw,
    /// The most that the claim may pay.
    pub(crate) most: Amount,
    /// What the claim pays that is out and is to be replaced.
    pub(crate) replaces: Option<Amount>,
    /// When it was asked for.
    pub(crate) tip: BlockHeight,
    /// Whether it only asks if the coins of what is out are still there.
    pub(crate) renews: bool,
    pub(crate) purpose: Purpose,
    /// Before which others it is served.
    pub(crate) rank: Rank,
}

/// What is broadcast together: a transaction, or a parent with its child.
#[derive(Clone, Debug)]
pub(crate) struct Outgoing {
    pub(crate) rank: Rank,
    pub(crate) package: Vec<Transaction>,
}

/// What must be done outside.
#[derive(Debug, Default)]
pub(crate) struct Todo {
    pub(crate) events: Vec<MonitorEvent>,
    pub(crate) user_events: Vec<Event>,
    pub(crate) broadcasts: Vec<Outgoing>,
    pub(crate) coin_requests: Vec<CoinRequest>,
    pub(crate) released: Vec<OutPoint>,
    pub(crate) watches: Vec<(OutPoint, ScriptBuf)>,
    /// The state changed in a way that must be stored.
    pub(crate) changed: bool,
    /// The signer would not sign something that a claim needs.
    pub(crate) signer_failed: bool,
}

impl ChannelMonitor {
    /// A confirmed transaction that spends the funding output or an output of the closing.
    pub(crate) fn on_transaction(
        &mut self,
        secp: &Secp,
        signer: &impl ChannelSigner,
        confirmed: Confirmed,
        todo: &mut Todo,
    ) {
        // What follows on a transaction that is not understood waits behind it.
        if self.pending.is_empty() && self.confirm(secp, signer, &confirmed, todo) {
            return;
        }
        if self.pending.contains(&confirmed) {
            return;
        }
        todo.watches.extend(outputs_of(&confirmed.transaction));
        todo.changed = true;
        self.pending.push(confirmed);
    }

    /// Looks again at what could not be understood when it confirmed.
    fn retry_pending(&mut self, secp: &Secp, signer: &impl ChannelSigner, todo: &mut Todo) {
        while let Some(next) = self.pending.first().cloned() {
            if !self.confirm(secp, signer, &next, todo) {
                return;
            }
            self.pending.remove(0);
            todo.changed = true;
        }
    }

    /// The block at `height` is no longer in the chain.
    pub(crate) fn on_disconnected(&mut self, height: BlockHeight, todo: &mut Todo) {
        let pending = self.pending.len();
        self.pending.retain(|confirmed| confirmed.height < height);
        todo.changed |= self.pending.len() != pending;
        let needs_coins = self.init.format.rules().zero_fee_htlc;
        // The funding output is unspent again; what confirms next is looked at anew.
        if let Some(closing) = self.closing.take_if(|closing| closing.height >= height) {
            let funded = closing.outputs.iter().filter(|output| needs_coins && output.is_second_stage());
            todo.released
                .extend(funded.filter(|output| output.offered.is_some()).map(|output| output.outpoint));
            todo.changed = true;
            self.go_again(closing);
        }
        let Some(closing) = &mut self.closing else { return };
        let (count, steps) = (closing.outputs.len(), closing.history.len());
        closing.outputs.retain(|output| output.created < height);
        closing.history.retain(|confirmed| confirmed.height < height);
        let mut undone = closing.outputs.len() != count || closing.history.len() != steps;
        for output in &mut closing.outputs {
            if output.spent.take_if(|spent| spent.height >= height).is_some() {
                undone = true;
            }
        }
        closing.resolved &= !undone;
        todo.changed |= undone;
    }

    /// What spent the funding output is in no block any more, and the channel layer has left for the chain because of it: the
    /// channel must get there again, whoever brought it there, and whatever becomes of that transaction.
    fn go_again(&mut self, closing: Closing) {
        self.turn_back();
        if self.duty == Duty::Punish {
            return;
        }
        let agreed = closing.kind == (SpendKind::Mutual {});
        match (self.stance, closing.kind) {
            // Both have signed it, and no commitment costs less.
            _ if agreed => self.undone = closing.history.into_iter().next().map(|first| first.transaction),
            // Ours is old and must never go out (RELIABILITY B1); theirs pays us.
            (Stance::DataLoss { .. }, SpendKind::Theirs { .. } | SpendKind::Future { .. }) => {
                self.undone = closing.history.into_iter().next().map(|first| first.transaction);
            }
            (Stance::DataLoss { .. }, _) => {}
            // Whose publishing theirs is not ours to repeat: they may have revoked it since.
            (Stance::Open {} | Stance::ForceClosing {} | Stance::Abandoned {}, _) => {
                self.stance = Stance::ForceClosing {};
            }
        }
    }

    /// Outpoints whose spend this monitor must see, with the scripts of their outputs.
    pub(crate) fn watched(&self) -> Vec<(OutPoint, ScriptBuf)> {
        let funding = &self.init.funding;
        let mut watched = alloc::vec![(funding.outpoint, funding.txout().script_pubkey)];
        let outputs = self.closing.iter().flat_map(|closing| &closing.outputs);
        watched.extend(outputs.map(|output| (output.outpoint, output.script_pubkey())));
        watched.extend(self.pending.iter().flat_map(|confirmed| outputs_of(&confirmed.transaction)));
        watched
    }
}

/// All outputs of a transaction, to be watched.
fn outputs_of(transaction: &Transaction) -> impl Iterator<Item = (OutPoint, ScriptBuf)> {
    let txid = transaction.compute_txid();
    let place =
        move |(vout, output): (u32, &bitcoin::TxOut)| (OutPoint { txid, vout }, output.script_pubkey.clone());
    (0..).zip(&transaction.output).map(place)
}
