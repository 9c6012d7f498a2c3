//! Blocks, connected and disconnected.
use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use bitcoin::block::Header;
use bitcoin::{BlockHash, OutPoint, Transaction};
use lightning_traits::Secp;
use lightning_traits::id::ChannelId;
use lightning_traits::interface::{ChainListener, ConfirmedTransaction, KeysInterface};
use lightning_traits::units::BlockHeight;

use super::{MonitorEnvironment, MonitorSet, State};
use crate::claim::pace;
use crate::monitor::Confirmed;
use crate::resolve::{Moment, Rates, Todo};

impl<E: MonitorEnvironment> ChainListener for MonitorSet<E> {
    fn filtered_block_connected(
        &self,
        header: &Header,
        transactions: &[ConfirmedTransaction<'_>],
        height: BlockHeight,
    ) {
        self.wake_unread();
        let rates = self.rates();
        let mut tried = BTreeSet::new();
        loop {
            let mut state = self.state.lock();
            // Whatever must see the block has to be awake.
            let concerned = state.concerned_by_block(transactions);
            let sleepers = state.sleepers(concerned.iter().copied().chain(state.due(height)));
            let sleepers: Vec<ChannelId> = sleepers.difference(&tried).copied().collect();
            if !sleepers.is_empty() {
                drop(state);
                tried.extend(&sleepers);
                self.wake(sleepers);
                continue;
            }
            state.tip = Some((header.block_hash(), height));
            let mut touched: BTreeSet<ChannelId> = state.due(height).into_iter().collect();
            if !concerned.is_empty() {
                touched.extend(self.take_block(&mut state, transactions, height));
            }
            for channel in touched {
                state.on_tip(&self.secp, self.env.keys(), channel, height, rates);
            }
            state.write_tip();
            break;
        }
        self.act();
    }

    fn block_disconnected(&self, header: &Header, height: BlockHeight) {
        {
            let mut state = self.state.lock();
            state.tip = Some((header.prev_blockhash, height.minus(1)));
            state.forget_held(height);
            let closing: Vec<ChannelId> = state.on_chain.iter().copied().collect();
            for channel in closing {
                state.take_back(channel, height);
            }
            state.write_tip();
        }
        self.act();
    }

    fn best_block(&self) -> Option<(BlockHash, BlockHeight)> {
        self.state.lock().tip
    }
}

impl<E: MonitorEnvironment> MonitorSet<E> {
    /// Shows each transaction to the channels that it concerns, in the order of the block; those channels.
    fn take_block(
        &self,
        state: &mut State,
        transactions: &[ConfirmedTransaction<'_>],
        height: BlockHeight,
    ) -> BTreeSet<ChannelId> {
        let mut touched = BTreeSet::new();
        for ConfirmedTransaction { transaction, .. } in transactions {
            for channel in state.concerned_by(transaction) {
                let confirmed = Confirmed { transaction: (*transaction).clone(), height };
                if state.asleep.contains_key(&channel) {
                    state.hold_spend(channel, confirmed);
                    continue;
                }
                let todo = state.on_transaction(&self.secp, self.env.keys(), channel, confirmed);
                state.note(channel, todo);
                touched.insert(channel);
            }
        }
        touched
    }

    /// What the monitor of a channel knows of the chain was seen by somebody else, perhaps on blocks that are gone: all of it is
    /// undone. It must be shown the blocks since its channel was made again.
    pub fn undo_chain(&self, channel: ChannelId) {
        self.wake([channel]);
        {
            let mut state = self.state.lock();
            let birth = state.entries.get(&channel).map(|entry| entry.monitor.init().birth);
            if let Some(birth) = birth {
                state.take_back(channel, birth);
            }
        }
        self.act();
    }

    /// A transaction that waits in some mempool: a preimage that it shows is used at once, as if it were confirmed. Nothing need be
    /// shown here; what is most worth looking for is what spends [`MonitorSet::contested`].
    pub fn unconfirmed_seen(&self, transaction: &Transaction) {
        {
            let mut state = self.state.lock();
            // One that sleeps has nothing on the chain.
            for channel in state.concerned_by(transaction) {
                let mut todo = Todo::default();
                if let Some(entry) = state.entries.get_mut(&channel) {
                    entry.monitor.on_unconfirmed(transaction, &mut todo);
                }
                state.note(channel, todo);
            }
        }
        self.act();
    }

    /// HTLC outputs on the chain that a peer can take with a preimage that we do not know.
    #[must_use]
    pub fn contested(&self) -> Vec<OutPoint> {
        let state = self.state.lock();
        let entries = state.on_chain.iter().filter_map(|channel| state.entries.get(channel));
        entries.flat_map(|entry| entry.monitor.contested()).collect()
    }

    /// Broadcasts again all claims that wait for a confirmation, as every block does. Looks only at channels that have
    /// something to do.
    pub fn rebroadcast(&self) {
        let rates = self.rates();
        let due = {
            let state = self.state.lock();
            state.sleepers(state.due(state.height().plus(1)))
        };
        self.wake(due);
        self.wake_unread();
        {
            let mut state = self.state.lock();
            let height = state.height();
            // What waits for a confirmation is filed under the next block.
            for channel in state.due(height.plus(1)) {
                state.on_tip(&self.secp, self.env.keys(), channel, height, rates);
            }
        }
        self.act();
    }
}

impl State {
    /// Blocks from `height` on are not in the chain any more.
    pub(super) fn take_back(&mut self, channel: ChannelId, height: BlockHeight) {
        let mut todo = Todo::default();
        if let Some(entry) = self.entries.get_mut(&channel) {
            entry.monitor.on_disconnected(height, &mut todo);
        }
        self.note(channel, todo);
        self.reschedule(channel);
    }

    /// The channels of which the block spends something that is watched before it. Each input of each block is looked up here.
    fn concerned_by_block(&self, transactions: &[ConfirmedTransaction<'_>]) -> BTreeSet<ChannelId> {
        let inputs = transactions.iter().flat_map(|confirmed| &confirmed.transaction.input);
        inputs.filter_map(|input| self.index.get(&input.previous_output)).collect()
    }

    /// The channels of which the transaction spends something.
    fn concerned_by(&self, transaction: &Transaction) -> BTreeSet<ChannelId> {
        transaction.input.iter().filter_map(|input| self.index.get(&input.previous_output)).collect()
    }

    pub(super) fn on_transaction(
        &mut self,
        secp: &Secp,
        keys: &impl KeysInterface,
        channel: ChannelId,
        confirmed: Confirmed,
    ) -> Todo {
        let mut todo = Todo::default();
        if let Some(entry) = self.entries.get_mut(&channel) {
            let signer = keys.signer(&entry.monitor.init().keys);
            entry.monitor.on_transaction(secp, &signer, confirmed, &mut todo);
        }
        todo
    }

    pub(super) fn on_tip(
        &mut self,
        secp: &Secp,
        keys: &impl KeysInterface,
        channel: ChannelId,
        height: BlockHeight,
        rates: Rates,
    ) {
        let (mut todo, pace) = (Todo::default(), pace(self.weight));
        if let Some(entry) = self.entries.get_mut(&channel) {
            let signer = keys.signer(&entry.monitor.init().keys);
            let moment = Moment { tip: height, rates, pace, may_publish: entry.may_publish() };
            entry.monitor.on_tip(secp, &signer, moment, &mut todo);
        }
        self.note(channel, todo);
        self.reschedule(channel);
        self.archive_if_done(channel);
    }

    /// The channels whose time has come.
    fn due(&self, height: BlockHeight) -> Vec<ChannelId> {
        self.attention.iter().take_while(|(at, _)| *at <= height).map(|(_, channel)| *channel).collect()
    }
}
