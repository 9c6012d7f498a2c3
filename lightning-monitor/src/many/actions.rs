//! What is done outside the lock, in the order in which the lock decided it.
use alloc::collections::BTreeMap;
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

use super::{MonitorEnvironment, MonitorSet, State};
use crate::claim::{FeeInputs, Funded, Rank};
use crate::resolve::{CoinRequest, Outgoing};

/// One thing to do that is done in the order in which it was decided. What is broadcast and what coins are for waits behind it, by rank.
pub(super) enum Action {
    WriteNew(alloc::boxed::Box<NewMonitor>),
    WriteUpdate(ChannelMonitorUpdate, Option<MonitorSnapshot>),
    WriteChainState(ChannelId, MonitorSnapshot),
    WriteTip(BlockHash, BlockHeight),
    Archive(ChannelId),
    Watch(OutPoint, ScriptBuf),
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
                let next = self.state.lock().next_to_do();
                match next {
                    Some(Next::Act(action)) => self.perform(action),
                    Some(Next::Broadcast(package)) => self.env.broadcaster().broadcast(&package),
                    Some(Next::Fund(requests)) => self.fund_all(requests),
                    None => break,
                }
            }
            self.turn.store(false, Ordering::Release);
            // Something may have been put in between our last look and the end of our turn.
            if !self.state.lock().has_to_do() {
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
            Action::Watch(outpoint, script) => self.env.watch().watch_output(outpoint, &script),
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

    /// Pays the fees of transactions that cannot pay their own with coins of the user, the most urgent first, as there may not be
    /// coins for all: they are stored, then broadcast.
    fn fund_all(&self, requests: Vec<(ChannelId, CoinRequest)>) {
        let mut funded: BTreeMap<ChannelId, Vec<(Funded, CoinRequest)>> = BTreeMap::new();
        for (channel, request) in requests {
            if let Some(paid) = self.fund(channel, &request) {
                funded.entry(channel).or_default().push((paid, request));
            }
        }
        let mut state = self.state.lock();
        for (channel, funded) in funded {
            let Some(entry) = state.entries.get_mut(&channel) else { continue };
            let monitor = &mut entry.monitor;
            let keep = |(funded, request): (Funded, CoinRequest)| Outgoing {
                rank: request.rank,
                package: monitor.keep(funded, &request),
            };
            let packages: Vec<Outgoing> = funded.into_iter().map(keep).collect();
            let written = Action::WriteChainState(channel, entry.snapshot());
            state.actions.push_back(written);
            packages.into_iter().for_each(|outgoing| state.send(outgoing));
            state.reschedule(channel);
        }
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

/// What is done next.
pub(super) enum Next {
    Act(Action),
    Broadcast(Vec<Transaction>),
    Fund(Vec<(ChannelId, CoinRequest)>),
}

/// What waits behind the actions, the most urgent first: when hundreds of channels go to the chain in one block, what has most to
/// lose must not stand behind what happens to have a smaller name.
#[derive(Default)]
pub(super) struct Waiting {
    broadcasts: BTreeMap<(Rank, u64), Vec<Transaction>>,
    requests: BTreeMap<(Rank, u64), (ChannelId, CoinRequest)>,
    next: u64,
}

impl Waiting {
    /// Of the same rank, what came first stays first.
    fn number(&mut self) -> u64 {
        self.next = self.next.saturating_add(1);
        self.next
    }
}

impl State {
    /// Plans a broadcast.
    pub(super) fn send(&mut self, Outgoing { rank, package }: Outgoing) {
        let number = self.waiting.number();
        self.waiting.broadcasts.insert((rank, number), package);
    }

    /// Plans to ask for coins.
    pub(super) fn ask(&mut self, channel: ChannelId, request: CoinRequest) {
        let number = self.waiting.number();
        self.waiting.requests.insert((request.rank, number), (channel, request));
    }

    /// What must be written before it is broadcast is written first; and no broadcast waits for the wallet.
    fn next_to_do(&mut self) -> Option<Next> {
        if let Some(action) = self.actions.pop_front() {
            return Some(Next::Act(action));
        }
        if let Some((_, package)) = self.waiting.broadcasts.pop_first() {
            return Some(Next::Broadcast(package));
        }
        let requests = core::mem::take(&mut self.waiting.requests);
        (!requests.is_empty()).then(|| Next::Fund(requests.into_values().collect()))
    }

    fn has_to_do(&self) -> bool {
        let Waiting { broadcasts, requests, next: _ } = &self.waiting;
        !(self.actions.is_empty() && broadcasts.is_empty() && requests.is_empty())
    }
}
