//! Blocks, connected and disconnected.
use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use bitcoin::block::Header;
use bitcoin::{BlockHash, Transaction};
use lightning_traits::Secp;
use lightning_traits::id::{ChannelId, UpdateId};
use lightning_traits::interface::{ChainListener, ConfirmedTransaction, KeysInterface};
use lightning_traits::units::BlockHeight;

use super::actions::Action;
use super::{MonitorEnvironment, MonitorSet, State};
use crate::resolve::{Rates, Todo};

impl<E: MonitorEnvironment> ChainListener for MonitorSet<E> {
    fn filtered_block_connected(
        &self,
        header: &Header,
        transactions: &[ConfirmedTransaction<'_>],
        height: BlockHeight,
    ) {
        let rates = self.rates();
        let mut actions = Vec::new();
        {
            let mut state = self.state.lock();
            state.tip = Some((header.block_hash(), height));
            let mut touched = BTreeSet::new();
            for confirmed in transactions {
                for channel in state.concerned_by(confirmed.transaction) {
                    let todo = state.on_transaction(
                        &self.secp,
                        self.env.keys(),
                        channel,
                        confirmed.transaction,
                        height,
                    );
                    state.note(channel, todo, &mut actions);
                    touched.insert(channel);
                }
            }
            touched.extend(state.due(height));
            for channel in touched {
                state.on_tip(&self.secp, self.env.keys(), channel, height, rates, &mut actions);
            }
        }
        actions.push(Action::WriteTip(header.block_hash(), height));
        self.push(actions);
        self.act();
    }

    fn block_disconnected(&self, header: &Header, height: BlockHeight) {
        let mut actions = Vec::new();
        {
            let mut state = self.state.lock();
            state.tip = Some((header.prev_blockhash, height.minus(1)));
            let closing = state.entries.iter().filter(|(_, entry)| entry.monitor.closing.is_some());
            let closing: Vec<ChannelId> = closing.map(|(channel, _)| *channel).collect();
            for channel in closing {
                let mut todo = Todo::default();
                if let Some(entry) = state.entries.get_mut(&channel) {
                    entry.monitor.on_disconnected(height, &mut todo);
                }
                state.note(channel, todo, &mut actions);
                state.reschedule(channel);
            }
        }
        actions.push(Action::WriteTip(header.prev_blockhash, height.minus(1)));
        self.push(actions);
        self.act();
    }

    fn best_block(&self) -> Option<(BlockHash, BlockHeight)> {
        self.state.lock().tip
    }
}

impl<E: MonitorEnvironment> MonitorSet<E> {
    /// Broadcasts again all claims that wait for a confirmation, as every block does.
    pub fn rebroadcast(&self) {
        let rates = self.rates();
        let mut actions = Vec::new();
        {
            let mut state = self.state.lock();
            let height = state.height();
            let due: Vec<ChannelId> = state.entries.keys().copied().collect();
            for channel in due {
                state.on_tip(&self.secp, self.env.keys(), channel, height, rates, &mut actions);
            }
        }
        self.push(actions);
        self.act();
    }
}

impl State {
    /// The channels of which the transaction spends something.
    fn concerned_by(&self, transaction: &Transaction) -> BTreeSet<ChannelId> {
        transaction.input.iter().filter_map(|input| self.index.get(&input.previous_output).copied()).collect()
    }

    fn on_transaction(
        &mut self,
        secp: &Secp,
        keys: &impl KeysInterface,
        channel: ChannelId,
        transaction: &Transaction,
        height: BlockHeight,
    ) -> Todo {
        let mut todo = Todo::default();
        if let Some(entry) = self.entries.get_mut(&channel) {
            let signer = keys.signer(&entry.monitor.init().keys);
            entry.monitor.on_transaction(secp, &signer, transaction, height, &mut todo);
        }
        todo
    }

    fn on_tip(
        &mut self,
        secp: &Secp,
        keys: &impl KeysInterface,
        channel: ChannelId,
        height: BlockHeight,
        rates: Rates,
        actions: &mut Vec<Action>,
    ) {
        let mut todo = Todo::default();
        if let Some(entry) = self.entries.get_mut(&channel) {
            let signer = keys.signer(&entry.monitor.init().keys);
            entry.monitor.on_tip(secp, &signer, height, rates, &mut todo);
        }
        if self.waits_for_disk(channel) {
            todo.broadcasts.clear();
        }
        self.note(channel, todo, actions);
        self.reschedule(channel);
        self.archive_if_done(channel, height, actions);
    }

    /// Whether broadcasts of the channel wait for an update to be durable: then a block does not let them out earlier.
    fn waits_for_disk(&self, channel: ChannelId) -> bool {
        let all = (channel, UpdateId(0))..=(channel, UpdateId(u64::MAX));
        self.gated.range(all).next().is_some()
    }

    /// The channels whose time has come.
    fn due(&self, height: BlockHeight) -> Vec<ChannelId> {
        self.attention.iter().take_while(|(at, _)| *at <= height).map(|(_, channel)| *channel).collect()
    }
}
