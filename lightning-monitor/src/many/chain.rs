//! Blocks, connected and disconnected.
use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use bitcoin::block::Header;
use bitcoin::{BlockHash, Transaction};
use lightning_traits::Secp;
use lightning_traits::id::ChannelId;
use lightning_traits::interface::{ChainListener, ConfirmedTransaction, KeysInterface};
use lightning_traits::units::BlockHeight;

use super::actions::Action;
use super::{MonitorEnvironment, MonitorSet, State};
use crate::monitor::Confirmed;
use crate::resolve::{Moment, Rates, Todo};

impl<E: MonitorEnvironment> ChainListener for MonitorSet<E> {
    fn filtered_block_connected(
        &self,
        header: &Header,
        transactions: &[ConfirmedTransaction<'_>],
        height: BlockHeight,
    ) {
        let rates = self.rates();
        {
            let mut state = self.state.lock();
            state.tip = Some((header.block_hash(), height));
            let mut touched = BTreeSet::new();
            for confirmed in transactions {
                for channel in state.concerned_by(confirmed.transaction) {
                    let confirmed = Confirmed { transaction: confirmed.transaction.clone(), height };
                    let todo = state.on_transaction(&self.secp, self.env.keys(), channel, confirmed);
                    state.note(channel, todo);
                    touched.insert(channel);
                }
            }
            touched.extend(state.due(height));
            for channel in touched {
                state.on_tip(&self.secp, self.env.keys(), channel, height, rates);
            }
            state.actions.push_back(Action::WriteTip(header.block_hash(), height));
        }
        self.act();
    }

    fn block_disconnected(&self, header: &Header, height: BlockHeight) {
        {
            let mut state = self.state.lock();
            state.tip = Some((header.prev_blockhash, height.minus(1)));
            let closing = state.entries.iter().filter(|(_, entry)| entry.monitor.is_on_chain());
            let closing: Vec<ChannelId> = closing.map(|(channel, _)| *channel).collect();
            for channel in closing {
                let mut todo = Todo::default();
                if let Some(entry) = state.entries.get_mut(&channel) {
                    entry.monitor.on_disconnected(height, &mut todo);
                }
                state.note(channel, todo);
                state.reschedule(channel);
            }
            state.actions.push_back(Action::WriteTip(header.prev_blockhash, height.minus(1)));
        }
        self.act();
    }

    fn best_block(&self) -> Option<(BlockHash, BlockHeight)> {
        self.state.lock().tip
    }
}

impl<E: MonitorEnvironment> MonitorSet<E> {
    /// Broadcasts again all claims that wait for a confirmation, as every block does. Looks only at channels that have
    /// something to do.
    pub fn rebroadcast(&self) {
        let rates = self.rates();
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
    /// The channels of which the transaction spends something.
    fn concerned_by(&self, transaction: &Transaction) -> BTreeSet<ChannelId> {
        transaction.input.iter().filter_map(|input| self.index.get(&input.previous_output).copied()).collect()
    }

    fn on_transaction(
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
        let mut todo = Todo::default();
        if let Some(entry) = self.entries.get_mut(&channel) {
            let signer = keys.signer(&entry.monitor.init().keys);
            let moment = Moment { tip: height, rates, may_publish: entry.may_publish() };
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
