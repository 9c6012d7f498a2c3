//! Openings under way: who pays for them, what they ask for, which transaction they were given.
//!
//! # Invariants
//! - who pays is noted before the peer's answer can be heard, so that no transaction is built that nobody asked for
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bitcoin::{Amount, OutPoint, ScriptBuf, Transaction, TxOut};
use lightning_traits::id::ChannelId;
use lightning_traits::units::FeeratePerKw;

use super::node::Inner;

/// Who pays for a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purse {
    /// The node's wallet, by a transaction for this channel alone; at a feerate that the user chose, if it did.
    Wallet(Option<FeeratePerKw>),
    /// A transaction that is handed over later: for several channels, or of another wallet.
    Outside,
}

/// The output that funds a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Needed {
    pub(crate) script: ScriptBuf,
    pub(crate) value: Amount,
}

/// All that is under way, in memory: an opening does not outlive its connection.
#[derive(Debug, Default)]
pub(crate) struct Openings(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    purses: BTreeMap<ChannelId, Purse>,
    needed: BTreeMap<ChannelId, Needed>,
    safe: BTreeSet<ChannelId>,
    /// Transactions that were handed over, by all names of the channels that they fund.
    given: BTreeMap<ChannelId, Transaction>,
}

impl Openings {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Proposes a channel, and notes who pays for it.
    pub(crate) fn propose<E>(
        &self,
        purse: Purse,
        propose: impl FnOnce() -> Result<ChannelId, E>,
    ) -> Result<ChannelId, E> {
        // The lock is held over the proposal: whoever hears its answer asks here for the purse.
        let mut state = self.openings.state();
        let temporary = propose()?;
        state.purses.insert(temporary, purse);
        Ok(temporary)
    }

    /// Who pays; the node's wallet, if nobody has said.
    pub(super) fn purse(&self, temporary: ChannelId) -> Purse {
        self.openings.state().purses.get(&temporary).copied().unwrap_or(Purse::Wallet(None))
    }

    /// An opening asks for its output.
    pub(super) fn note_needed(&self, temporary: ChannelId, needed: Needed) {
        self.openings.state().needed.insert(temporary, needed);
    }

    /// What an opening has asked for.
    pub(crate) fn needed_by(&self, temporary: ChannelId) -> Option<Needed> {
        self.openings.state().needed.get(&temporary).cloned()
    }

    /// The openings that a transaction has outputs for.
    pub(crate) fn openings_in(&self, transaction: &Transaction) -> Vec<ChannelId> {
        let state = self.openings.state();
        let pays = |needed: &Needed| needed.place_in(transaction).is_some();
        let waiting = state.needed.iter().filter(|(temporary, _)| !state.given.contains_key(temporary));
        waiting.filter(|(_, needed)| pays(needed)).map(|(temporary, _)| *temporary).collect()
    }

    /// A transaction is handed over for these openings.
    pub(crate) fn note_funding(&self, temporaries: &[ChannelId], transaction: &Transaction) {
        let mut state = self.openings.state();
        let txid = transaction.compute_txid();
        for temporary in temporaries {
            let place = state.needed.get(temporary).and_then(|needed| needed.place_in(transaction));
            let lasting = place.map(|vout| ChannelId::v1_from_funding(OutPoint { txid, vout }));
            for name in lasting.into_iter().chain([*temporary]) {
                state.given.insert(name, transaction.clone());
            }
        }
    }

    /// A transaction was not taken: its coins are free again, and the openings wait on.
    pub(crate) fn forget_funding(&self, transaction: &Transaction) {
        let txid = transaction.compute_txid();
        self.openings.state().given.retain(|_, given| given.compute_txid() != txid);
        self.wallet.wallet().release_transaction(transaction);
    }

    /// The peers have signed: whoever signs the transaction may do so.
    pub(super) fn note_safe(&self, channel: ChannelId) {
        self.openings.state().safe.insert(channel);
    }

    /// Whether that has happened.
    pub(crate) fn is_safe_to_sign(&self, channel: ChannelId) -> bool {
        self.openings.state().safe.contains(&channel)
    }

    /// The transaction of a channel is out: the wallet counts on it.
    pub(super) fn on_funded(&self, temporary: ChannelId, channel: ChannelId) {
        let given = self.openings.state().take(&[temporary, channel]);
        if let Some(transaction) = given {
            self.wallet.wallet().insert_unconfirmed(&transaction);
        }
    }

    /// No channel comes of an opening: what was promised to its transaction is free again.
    pub(crate) fn on_not_funded(&self, name: ChannelId) {
        let given = self.openings.state().take(&[name]);
        if let Some(transaction) = given {
            self.wallet.wallet().release_transaction(&transaction);
        }
    }
}

impl State {
    /// Forgets a channel by its names; answers the transaction that it was given, the first time that is asked for.
    fn take(&mut self, names: &[ChannelId]) -> Option<Transaction> {
        for name in names {
            self.purses.remove(name);
            self.needed.remove(name);
            self.safe.remove(name);
        }
        let given = names.iter().find_map(|name| self.given.get(name).cloned())?;
        let txid = given.compute_txid();
        self.given.retain(|_, transaction| transaction.compute_txid() != txid);
        Some(given)
    }
}

impl Needed {
    fn place_in(&self, transaction: &Transaction) -> Option<u32> {
        let is_it = |output: &TxOut| output.script_pubkey == self.script && output.value == self.value;
        transaction.output.iter().position(is_it).and_then(|place| u32::try_from(place).ok())
    }
}
