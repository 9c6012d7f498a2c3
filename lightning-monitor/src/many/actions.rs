//! What is done outside the lock, in the order in which the lock decided it.
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use bitcoin::{BlockHash, OutPoint, ScriptBuf, Transaction};
use lightning_traits::id::ChannelId;
use lightning_traits::interface::{
    BroadcasterInterface as _, ChainWatchInterface as _, CoinSource as _, Level, LogRecord, Logger as _,
    MonitorStore as _,
};
use lightning_traits::monitor::{ChannelMonitorUpdate, MonitorSnapshot, NewMonitor, Persist};
use lightning_traits::sync::assert_unlocked;
use lightning_traits::units::BlockHeight;

use super::{MonitorEnvironment, MonitorSet};
use crate::claim::{FeeInputs, Funded};
use crate::resolve::CoinRequest;

/// One thing to do.
pub(super) enum Action {
    WriteNew(alloc::boxed::Box<NewMonitor>),
    WriteUpdate(ChannelMonitorUpdate, Option<MonitorSnapshot>),
    WriteChainState(ChannelId, MonitorSnapshot),
    WriteTip(BlockHash, BlockHeight),
    Archive(ChannelId),
    Broadcast(Vec<Transaction>),
    Watch(OutPoint, ScriptBuf),
    Coins(ChannelId, Vec<CoinRequest>),
    Release(OutPoint),
    SignerFailed(ChannelId),
}

impl<E: MonitorEnvironment> MonitorSet<E> {
    /// Does everything that waits, unless somebody is at it already, who then does it.
    pub(super) fn act(&self) {
        assert_unlocked();
        loop {
            if self.turn.swap(true, Ordering::AcqRel) {
                return;
            }
            loop {
                // The guard must be gone before the action runs, so the next action is taken in a statement of its own.
                let next = self.state.lock().actions.pop_front();
                let Some(action) = next else { break };
                self.perform(action);
            }
            self.turn.store(false, Ordering::Release);
            // Something may have been put in between our last look and the end of our turn.
            if self.state.lock().actions.is_empty() {
                return;
            }
        }
    }

    fn perform(&self, action: Action) {
        let store = self.env.store();
        match action {
            Action::WriteNew(new) => self.keep(new.init.channel, store.write_new(&new)),
            Action::WriteUpdate(update, snapshot) => {
                self.keep(update.channel, store.write_update(&update, snapshot));
            }
            Action::WriteChainState(channel, snapshot) => store.write_chain_state(channel, snapshot),
            Action::WriteTip(hash, height) => store.write_tip(hash, height),
            Action::Archive(channel) => store.archive(channel),
            Action::Broadcast(package) => self.env.broadcaster().broadcast(&package),
            Action::Watch(outpoint, script) => self.env.watch().watch_output(outpoint, &script),
            Action::Coins(channel, requests) => self.fund_all(channel, &requests),
            Action::Release(outpoint) => self.env.coins().release(outpoint),
            Action::SignerFailed(channel) => self.log(
                Level::Error,
                channel,
                format_args!("the signer did not sign what a claim on chain needs; it is asked again with the next block"),
            ),
        }
    }

    fn keep(&self, channel: ChannelId, persist: Persist) {
        match persist {
            Persist::Durable(receipt) => self.state.lock().receipts.push_back(receipt),
            Persist::InProgress => {}
            // No receipt: the channel freezes, the chain is watched on.
            Persist::Refused(refusal) => {
                if let Some(entry) = self.state.lock().entries.get_mut(&channel) {
                    // Parts of the past that it held may not have been taken: the next snapshot has all of them again.
                    entry.parts_kept = 0;
                }
                self.log(Level::Error, channel, format_args!("the store refused to write: {refusal}"));
            }
        }
    }

    /// Pays the fees of transactions that cannot pay their own with coins of the user: they are stored, then broadcast.
    fn fund_all(&self, channel: ChannelId, requests: &[CoinRequest]) {
        let funded: Vec<(Funded, &CoinRequest)> =
            requests.iter().filter_map(|request| Some((self.fund(channel, request)?, request))).collect();
        let mut state = self.state.lock();
        let Some(entry) = state.entries.get_mut(&channel).filter(|_| !funded.is_empty()) else { return };
        let monitor = &mut entry.monitor;
        let packages: Vec<Vec<Transaction>> =
            funded.into_iter().map(|(funded, request)| monitor.keep(funded, request)).collect();
        let written = Action::WriteChainState(channel, entry.snapshot());
        state.actions.push_back(written);
        state.actions.extend(packages.into_iter().map(Action::Broadcast));
    }

    fn fund(&self, channel: ChannelId, request: &CoinRequest) -> Option<Funded> {
        let CoinRequest { outpoint, needed, feerate, .. } = *request;
        let Some(coins) = self.env.coins().reserve(outpoint, needed, feerate) else {
            self.log(
                Level::Error,
                channel,
                format_args!(
                    "no confirmed coins to pay {needed} in fees for the claim of {outpoint}: add funds"
                ),
            );
            return None;
        };
        if request.renews {
            let state = self.state.lock();
            let monitor = state.entries.get(&channel).map(|entry| &entry.monitor);
            if monitor.is_none_or(|monitor| monitor.spends_already(request, &coins)) {
                return None;
            }
        }
        let unsigned = self.with_fees(channel, &FeeInputs { coins: &coins, request });
        let signed = unsigned.and_then(|funded| funded.signed_by(self.env.coins()));
        if signed.is_none() {
            // What is out keeps its coins.
            let state = self.state.lock();
            let entry = state.entries.get(&channel);
            let is_out = entry.is_some_and(|entry| entry.monitor.uses_coins_of(outpoint));
            drop(state);
            if !is_out {
                self.env.coins().release(outpoint);
            }
            self.log(
                Level::Error,
                channel,
                format_args!("no signed transaction with coins of the wallet for {outpoint}"),
            );
        }
        signed
    }

    fn with_fees(&self, channel: ChannelId, fees: &FeeInputs<'_>) -> Option<Funded> {
        let state = self.state.lock();
        let monitor = &state.entries.get(&channel)?.monitor;
        let signer = self.signer(monitor);
        monitor.fund(&self.secp, &signer, fees)
    }

    pub(super) fn log(&self, level: Level, channel: ChannelId, message: core::fmt::Arguments<'_>) {
        let record =
            LogRecord { level, module: "lightning_monitor", peer: None, channel: Some(channel), message };
        self.env.log().log(&record);
    }
}
