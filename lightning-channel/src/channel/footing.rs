//! Whether the funding output of a channel that has left for the chain is there at all (RELIABILITY A5, E4).
//!
//! A commitment can be broadcast for ever when its funding transaction never confirms, or is reorganized away for good. What
//! the peer was to fund is given up after a time (BOLT 2, `funding_signed`: "SHOULD forget the channel if it does not see the
//! correct funding transaction after a timeout of 2016 blocks"); what we fund is broadcast again for as long as it matters, and given
//! up only when another transaction has spent an input of it so deep that no reorganization will undo that.
//!
//! # Invariants
//! - a channel whose state is proven old is never given up: nothing is broadcast for it, and giving up would undo that
use bitcoin::Transaction;
use lightning_traits::interface::{ConfirmedTransaction, KeysInterface, Level};
use lightning_traits::monitor::{HtlcOutcome, MonitorStep};
use lightning_traits::record;
use lightning_traits::tx::FundingOutput;
use lightning_traits::units::BlockHeight;

use super::phase::Ending;
use super::record::{Confirmation, Entry, Funder};
use super::resolving::Resolving;
use super::step::Step;

/// What is known of the funding transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Footing {
    funder: Funder,
    confirmation: Confirmation,
    /// The height from which on it was in no block, as far as this channel looks back.
    unseen_since: BlockHeight,
    /// The monitor was told that nothing need be watched.
    given_up: bool,
}
record!(struct Footing { funder, confirmation, unseen_since, given_up });

/// What a block says of the funding output.
enum Found {
    Nothing,
    /// Another transaction spends an input of ours.
    Conflict,
    There {
        index: u32,
        coinbase: bool,
    },
    /// The transaction has another output in its place: there is nothing to spend (RELIABILITY A1).
    Never,
}

impl Footing {
    pub(crate) const fn new(
        funder: Funder,
        confirmation: Confirmation,
        unseen_since: BlockHeight,
        given_up: bool,
    ) -> Self {
        Self { funder, confirmation, unseen_since, given_up }
    }

    /// Our funding transaction, while it is in no block.
    pub(crate) const fn unconfirmed_transaction(&self) -> Option<&Transaction> {
        match (&self.funder, self.confirmation) {
            (Funder::Us { .. }, _) if self.given_up => None,
            // What a block conflicts with goes on too: the block may be undone.
            (Funder::Us { transaction }, Confirmation::Unseen {} | Confirmation::Conflicted { .. }) => {
                Some(transaction)
            }
            (Funder::Us { .. }, Confirmation::Seen { .. }) | (Funder::Them {} | Funder::Held { .. }, _) => {
                None
            }
        }
    }

    /// Applies one durable change.
    pub(crate) fn evolve(&mut self, entry: &Entry) {
        match entry {
            Entry::Confirmed { height, index, coinbase } => {
                self.confirmation =
                    Confirmation::Seen { height: *height, index: *index, coinbase: *coinbase };
                self.given_up = false;
            }
            Entry::Unconfirmed {} => {
                // Where it was is as good as where it is missing from.
                if let Confirmation::Seen { height, .. } = self.confirmation {
                    self.unseen_since = height;
                }
                self.confirmation = Confirmation::Unseen {};
            }
            Entry::FundingConflicted { height } => {
                self.confirmation = Confirmation::Conflicted { height: *height };
            }
            Entry::GivenUp {} => self.given_up = true,
            _ => {}
        }
    }

    fn is_overdue(&self, tip: BlockHeight, after: u32) -> bool {
        self.funder == (Funder::Them {})
            && self.confirmation == (Confirmation::Unseen {})
            && !self.given_up
            && tip > self.unseen_since.plus(after)
    }

    fn look(&self, funding: &FundingOutput, transactions: &[ConfirmedTransaction<'_>]) -> Found {
        if matches!(self.confirmation, Confirmation::Seen { .. }) {
            return Found::Nothing;
        }
        let is_it = |tx: &&ConfirmedTransaction<'_>| tx.transaction.compute_txid() == funding.outpoint.txid;
        let Some(found) = transactions.iter().find(is_it) else {
            let is_known = matches!(self.confirmation, Confirmation::Conflicted { .. });
            let is_news = !is_known && self.funder.is_conflicted_by(transactions);
            return if is_news { Found::Conflict } else { Found::Nothing };
        };
        let vout = usize::try_from(funding.outpoint.vout).ok();
        let output = vout.and_then(|vout| found.transaction.output.get(vout));
        match u32::try_from(found.index) {
            Ok(index) if output == Some(&funding.txout()) => {
                Found::There { index, coinbase: found.transaction.is_coinbase() }
            }
            _ => Found::Never,
        }
    }
}

impl Resolving {
    /// Looks for the funding transaction in a block, and gives up what it is in none of for too long.
    pub(crate) fn on_block<K: KeysInterface>(
        &mut self,
        transactions: &[ConfirmedTransaction<'_>],
        step: &mut Step<'_, K>,
    ) {
        let height = step.cx.height;
        match self.footing().look(&self.commitments().terms().funding, transactions) {
            Found::There { index, coinbase } => {
                self.record(Entry::Confirmed { height, index, coinbase }, step);
                self.persist(step);
            }
            Found::Conflict => {
                self.record(Entry::FundingConflicted { height }, step);
                self.persist(step);
            }
            Found::Never => self.give_up(step),
            Found::Nothing if self.footing().confirmation.is_hopeless(height) => self.give_up(step),
            Found::Nothing
                if self.footing().is_overdue(height, step.cx.config.handshake.forget_unfunded_after) =>
            {
                self.give_up(step);
            }
            Found::Nothing => {}
        }
    }

    /// The block at `height` is no longer in the chain.
    pub(crate) fn on_block_disconnected<K: KeysInterface>(
        &mut self,
        height: BlockHeight,
        step: &mut Step<'_, K>,
    ) {
        if let Confirmation::Seen { height: seen, .. } | Confirmation::Conflicted { height: seen } =
            self.footing().confirmation
            && seen >= height
        {
            self.record(Entry::Unconfirmed {}, step);
            self.persist(step);
        }
    }

    /// Tells the monitor that there is nothing to watch; its last word ends the channel. What we offered on an output that is
    /// not there nobody can claim.
    fn give_up<K: KeysInterface>(&mut self, step: &mut Step<'_, K>) {
        let passive = matches!(self.ending(), Ending::DataLoss { .. } | Ending::FutureOnChain {});
        if self.footing().given_up || passive {
            return;
        }
        step.log(Level::Warn, format_args!("the funding output is not there: the channel is given up"));
        self.record(Entry::GivenUp {}, step);
        let offered: alloc::vec::Vec<_> = self.commitments().outgoing().map(|(id, _)| id).collect();
        for htlc in offered {
            if let Some(change) = self.commitments().accept_chain_outcome(htlc, &HtlcOutcome::Failed {}) {
                self.record(Entry::Commitments { change }, step);
            }
        }
        step.journal.step(MonitorStep::Abandoned {});
        self.persist(step);
    }
}
