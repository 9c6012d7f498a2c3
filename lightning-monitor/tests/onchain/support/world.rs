//! A monitor set among chain, store, wallet and one channel's two sides.
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use bitcoin::{Amount, OutPoint, ScriptBuf, Transaction, Txid};
use lightning_monitor::{ChannelMonitor, Duty, MonitorEnvironment, MonitorSet};
use lightning_traits::event::Event;
use lightning_traits::id::{ChannelId, HtlcId};
use lightning_traits::interface::{
    BroadcasterInterface, ChainListener as _, ChainWatchInterface, ConfirmationTarget, EventsProvider as _,
    FeeEstimator, LogRecord, Logger, ManyChannelMonitor as _,
};
use lightning_traits::monitor::{HtlcOutcome, MonitorEvent, MonitorStep, Persist, SpendKind};
use lightning_traits::tx::CommitmentFormat;
use lightning_traits::units::{BlockHeight, FeeratePerKw};

use super::chain::{BASE, Chain, Reject, relays};
use super::pair::Pair;
use super::side::{Keys, destination};
use super::store::Store;
use super::wallet::Wallet;

/// When the process restarts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Restart {
    Never,
    /// After each block, everything being durable.
    EachBlock,
    /// After each block; what two blocks of three wrote is lost, and comes again with them.
    LosingWrites,
    /// Never, but the monitor is let go of whenever it may sleep.
    Sleeping,
}

#[derive(Default)]
pub(crate) struct Broadcasts(pub(crate) RefCell<Vec<Transaction>>);

impl BroadcasterInterface for Broadcasts {
    fn broadcast(&self, package: &[Transaction]) {
        self.0.borrow_mut().extend(package.iter().cloned());
    }
}

pub(crate) struct Fees {
    pub(crate) urgent: Cell<u32>,
    pub(crate) background: Cell<u32>,
}

impl FeeEstimator for Fees {
    fn feerate(&self, target: ConfirmationTarget) -> FeeratePerKw {
        FeeratePerKw::new(match target {
            ConfirmationTarget::Urgent => self.urgent.get(),
            _ => self.background.get(),
        })
    }
}

#[derive(Default)]
pub(crate) struct Watch(pub(crate) RefCell<BTreeMap<OutPoint, ScriptBuf>>);

impl ChainWatchInterface for Watch {
    fn watch_output(&self, outpoint: OutPoint, script: &ScriptBuf) {
        self.0.borrow_mut().insert(outpoint, script.clone());
    }
}

#[derive(Default)]
pub(crate) struct Log(pub(crate) RefCell<Vec<String>>);

impl Logger for Log {
    fn log(&self, record: &LogRecord<'_>) {
        self.0.borrow_mut().push(record.message.to_string());
    }
}

#[derive(Clone)]
pub(crate) struct Env {
    pub(crate) keys: Rc<Keys>,
    pub(crate) store: Rc<Store>,
    pub(crate) broadcasts: Rc<Broadcasts>,
    pub(crate) fees: Rc<Fees>,
    pub(crate) watch: Rc<Watch>,
    pub(crate) wallet: Rc<Wallet>,
    pub(crate) log: Rc<Log>,
    pub(crate) duty: Duty,
}

impl MonitorEnvironment for Env {
    type Keys = Rc<Keys>;
    type Store = Rc<Store>;
    type Broadcaster = Rc<Broadcasts>;
    type Fees = Rc<Fees>;
    type Watch = Rc<Watch>;
    type Coins = Rc<Wallet>;
    type Log = Rc<Log>;

    fn duty(&self) -> Duty {
        self.duty
    }
    fn keys(&self) -> &Rc<Keys> {
        &self.keys
    }
    fn store(&self) -> &Rc<Store> {
        &self.store
    }
    fn broadcaster(&self) -> &Rc<Broadcasts> {
        &self.broadcasts
    }
    fn fees(&self) -> &Rc<Fees> {
        &self.fees
    }
    fn watch(&self) -> &Rc<Watch> {
        &self.watch
    }
    fn coins(&self) -> &Rc<Wallet> {
        &self.wallet
    }
    fn log(&self) -> &Rc<Log> {
        &self.log
    }
}

impl Env {
    pub(crate) fn new() -> Self {
        Self::on_duty(Duty::Enforce)
    }

    pub(crate) fn on_duty(duty: Duty) -> Self {
        let punishes_only = duty == Duty::Punish;
        Self {
            keys: Rc::new(Keys { asleep: Rc::default(), asked: Cell::new(0), punishes_only }),
            duty,
            store: Rc::default(),
            broadcasts: Rc::default(),
            fees: Rc::new(Fees { urgent: Cell::new(900), background: Cell::new(500) }),
            watch: Rc::default(),
            wallet: Rc::default(),
            log: Rc::default(),
        }
    }
}

pub(crate) struct World {
    pub(crate) env: Env,
    pub(crate) set: MonitorSet<Env>,
    pub(crate) chain: Chain,
    pub(crate) pair: Pair,
    pub(crate) restart: Restart,
    /// What the monitor broadcast and the next block may hold.
    pub(crate) mempool: BTreeMap<Txid, Transaction>,
    /// All that was reported to the channel, in order.
    pub(crate) events: Vec<MonitorEvent>,
    /// All that was reported to the user, in order.
    pub(crate) user: Vec<Event>,
    /// Whether the disk works.
    pub(crate) disk: bool,
    /// The least that miners take, in sat/kw.
    pub(crate) market: u64,
    /// Children of commitments of theirs.
    pub(crate) pushing_theirs: Vec<Transaction>,
    /// Funding outputs that are in no block now: what spends them is refused.
    pub(crate) absent: Vec<OutPoint>,
    /// Whether our transactions are kept out of blocks.
    pub(crate) censored: bool,
    /// Whether the channel keeps what the monitor reports to it without an answer.
    pub(crate) silent: bool,
    /// The monitor whose encoding was checked last.
    checked: Option<ChannelMonitor>,
    /// How often the monitor fell asleep.
    pub(crate) naps: usize,
}

impl World {
    /// A channel whose funding is in the first block.
    pub(crate) fn new(format: CommitmentFormat, restart: Restart) -> Self {
        Self::with(Pair::new(format, 1, true), restart)
    }

    pub(crate) fn with(pair: Pair, restart: Restart) -> Self {
        Self::on_duty(pair, restart, Duty::Enforce)
    }

    /// The same for a monitor that may only do this.
    pub(crate) fn on_duty(pair: Pair, restart: Restart, duty: Duty) -> Self {
        let env = Env::on_duty(duty);
        let mut chain = Chain::default();
        chain.grant(pair.init.funding.outpoint, pair.init.funding.txout());
        for coin in 0..40 {
            let (outpoint, output) = env.wallet.fill(coin, 20_000);
            chain.grant(outpoint, output);
        }
        let mut world = Self {
            set: MonitorSet::new(env.clone()),
            env,
            chain,
            pair,
            restart,
            mempool: BTreeMap::new(),
            events: Vec::new(),
            user: Vec::new(),
            disk: true,
            market: 0,
            pushing_theirs: Vec::new(),
            absent: Vec::new(),
            censored: false,
            silent: false,
            checked: None,
            naps: 0,
        };
        assert!(matches!(world.set.add_channel(world.pair.new_monitor()), Persist::InProgress));
        world.after();
        world.mine(vec![]);
        world
    }

    pub(crate) fn channel(&self) -> ChannelId {
        self.pair.init.channel
    }

    pub(crate) fn monitor(&self) -> ChannelMonitor {
        self.set.monitor(self.channel()).expect("monitored")
    }

    /// Teaches the monitor an update with these steps, which it must take.
    pub(crate) fn learn(&mut self, steps: Vec<MonitorStep>) {
        let update = self.pair.update(steps);
        let persist = self.set.update_channel(update.clone());
        assert!(matches!(persist, Persist::InProgress), "{persist:?}: {update:?}");
        if self.disk {
            // The channel keeps no record of its own here that could be lost together with the monitor's.
            self.env.store.flush();
        }
        self.after();
    }

    /// Tells the preimage of an HTLC.
    pub(crate) fn learn_preimage(&mut self, htlc: &super::Htlc) {
        self.learn(vec![MonitorStep::Preimage { preimage: htlc.preimage() }]);
    }

    /// Takes over what the monitor broadcast: all of it must be good for the next block.
    pub(crate) fn take_broadcasts(&mut self, strict: bool) {
        for tx in self.env.broadcasts.0.take() {
            match self.chain.check_behind(&tx, &self.mempool) {
                Ok(fee) => {
                    let commitment = tx.input[0].previous_output == self.pair.init.funding.outpoint;
                    assert!(commitment || relays(&tx, fee), "pays {fee} for {}: {}", tx.weight(), shown(&tx));
                    let is_in = self.replace_with(tx.clone(), fee);
                    // Who lost what it had offered may come to the same offer again: then the first stays.
                    let may_repeat = self.restart == Restart::LosingWrites;
                    assert!(
                        is_in || may_repeat || !strict,
                        "no replacement (BIP 125): pays {fee}: {}",
                        shown(&tx)
                    );
                }
                // A child of a commitment of theirs, which only waits in other mempools if at all.
                Err(Reject::MissingInput(place)) if self.is_their_anchor(place) => {
                    self.pushing_theirs.push(tx);
                }
                // A funding output that is not there, or a child of what spends it.
                Err(Reject::MissingInput(_)) if !self.absent.is_empty() => {}
                Err(reject) => assert!(!strict, "{reject:?} at {}: {}", self.chain.height(), shown(&tx)),
            }
        }
    }

    fn is_their_anchor(&self, place: OutPoint) -> bool {
        (0..self.pair.theirs.len() as u64).any(|index| {
            let (_, _, commitment) = self.pair.built_theirs(index);
            commitment.txid == place.txid && commitment.countersigner_anchor == Some(place.vout)
        })
    }

    /// What a transaction of the mempool pays for itself and the child that pays for it too, in sat/kw.
    pub(crate) fn rate(&self, tx: &Transaction) -> u64 {
        let txid = tx.compute_txid();
        let children =
            self.mempool.values().filter(|child| child.input.iter().any(|i| i.previous_output.txid == txid));
        let all: Vec<&Transaction> = core::iter::once(tx).chain(children).collect();
        let fee: Amount =
            all.iter().map(|tx| self.chain.check_behind(tx, &self.mempool).unwrap_or_default()).sum();
        let weight: u64 = all.iter().map(|tx| tx.weight().to_wu()).sum();
        fee.to_sat() * 1000 / weight
    }

    /// Puts a transaction into the mempool in place of those that it conflicts with, if BIP 125 lets it.
    fn replace_with(&mut self, tx: Transaction, fee: Amount) -> bool {
        let txid = tx.compute_txid();
        let spent: BTreeSet<OutPoint> = inputs(std::slice::from_ref(&tx)).collect();
        let conflicts = |(known, other): &(&Txid, &Transaction)| {
            **known != txid && inputs(std::slice::from_ref(*other)).any(|outpoint| spent.contains(&outpoint))
        };
        let replaced: Vec<Transaction> =
            self.mempool.iter().filter(conflicts).map(|(_, other)| other.clone()).collect();
        let fee_of = |other: &Transaction| self.chain.check_behind(other, &self.mempool).unwrap();
        let fees: Vec<Amount> = replaced.iter().map(fee_of).collect();
        let rate = |fee: Amount, tx: &Transaction| fee.to_sat() * 1000 / tx.weight().to_vbytes_ceil();
        let is_dearer = replaced.iter().zip(&fees).all(|(other, old)| rate(fee, &tx) > rate(*old, other));
        let pays = fees.iter().copied().sum::<Amount>().to_sat() + tx.weight().to_vbytes_ceil();
        let is_better = is_dearer && fee.to_sat() >= pays;
        if !(replaced.is_empty() || is_better) {
            return false;
        }
        for other in replaced {
            self.mempool.remove(&other.compute_txid());
        }
        self.mempool.insert(txid, tx);
        true
    }

    /// Mines a block with these transactions, and whatever of ours fits beside them.
    pub(crate) fn mine(&mut self, mut transactions: Vec<Transaction>) {
        let mut spent: BTreeSet<OutPoint> = inputs(&transactions).collect();
        let ours = if self.censored { Vec::new() } else { self.mempool.values().cloned().collect() };
        let mut ours: Vec<Transaction> =
            ours.into_iter().filter(|tx: &Transaction| self.rate(tx) >= self.market).collect();
        // Parents first.
        ours.sort_by_key(|tx| tx.input.iter().any(|i| self.mempool.contains_key(&i.previous_output.txid)));
        for tx in ours {
            let fits = tx.input.iter().all(|input| !spent.contains(&input.previous_output));
            let before: BTreeMap<Txid, Transaction> =
                transactions.iter().map(|tx| (tx.compute_txid(), tx.clone())).collect();
            if fits && self.chain.check_behind(&tx, &before).is_ok() {
                spent.extend(inputs(std::slice::from_ref(&tx)));
                transactions.push(tx);
            }
        }
        let block = self.chain.mine(transactions);
        self.env.wallet.mined(&block.txdata);
        self.mempool.retain(|_, tx| inputs(std::slice::from_ref(tx)).all(|input| !spent.contains(&input)));
        self.set.block_connected(&block, BlockHeight::new(self.chain.height()));
        self.after();
        self.maybe_restart();
    }

    /// Mines empty blocks, or what is ours, up to this height.
    pub(crate) fn mine_to(&mut self, height: u32) {
        while self.chain.height() < height {
            self.mine(vec![]);
        }
    }

    pub(crate) fn mine_blocks(&mut self, count: u32) {
        self.mine_to(self.chain.height() + count);
    }

    /// Takes the tip back.
    pub(crate) fn disconnect(&mut self) -> bitcoin::Block {
        let (block, height) = self.chain.disconnect();
        let coins = self.chain.coins.iter();
        let own = coins.filter(|(_, coin)| coin.output.script_pubkey == super::wallet::script());
        self.env.wallet.reorganised(own.map(|(outpoint, coin)| (*outpoint, coin.output.clone())).collect());
        self.set.block_disconnected(&block.header, BlockHeight::new(height));
        self.mempool.clear();
        self.take_broadcasts(false);
        self.after();
        block
    }

    /// Durability, receipts, events; and the monitor's encoding is checked.
    pub(crate) fn after(&mut self) {
        let lossy = self.restart == Restart::LosingWrites && !self.chain.blocks.len().is_multiple_of(3);
        let started = self.monitor_closed();
        if self.disk && !(lossy && started) {
            self.env.store.flush();
        }
        while self.set.next_receipt().is_some() {}
        self.take_broadcasts(true);
        self.take_events();
        for channel in self.set.channels() {
            let monitor = self.set.monitor(channel).unwrap();
            // Reading a monitor costs a square root for each key: once for each state is enough.
            if self.env.duty == Duty::Enforce && self.checked.as_ref() != Some(&monitor) {
                assert_eq!(ChannelMonitor::from_versioned(&monitor.to_versioned()).unwrap(), monitor);
                self.checked = Some(monitor.clone());
            }
            if self.restart == Restart::Sleeping {
                self.naps += self.set.rest(0);
                assert_eq!(self.set.monitor(channel), Some(monitor), "it wakes as it fell asleep");
            }
        }
        if self.disk && !(lossy && started) {
            self.env.store.flush();
        }
    }

    fn monitor_closed(&self) -> bool {
        self.set.monitor(self.channel()).is_some_and(|monitor| monitor.closed_by().is_some())
    }

    fn take_events(&mut self) {
        // What was lost in a crash is reported again; then, and only then, a report may come twice.
        let may_repeat = self.restart == Restart::LosingWrites || self.silent;
        let mut after = None;
        while let Some((id, event)) = self.set.next_monitor_event(after) {
            if !(may_repeat && self.events.contains(&event)) {
                self.events.push(event);
            }
            if !self.silent {
                self.set.acknowledge_monitor_event(id);
            }
            after = Some(id);
        }
        let mut after = None;
        while let Some((id, event)) = self.set.next_event(after) {
            if !(may_repeat && self.user.contains(&event)) {
                self.user.push(event);
            }
            self.set.acknowledge_event(id);
            after = Some(id);
        }
    }

    fn maybe_restart(&mut self) {
        match self.restart {
            Restart::Never | Restart::Sleeping => {}
            Restart::EachBlock => {
                let before = self.set.monitor(self.channel());
                self.crash();
                assert_eq!(before, self.set.monitor(self.channel()), "a restart changes nothing");
            }
            Restart::LosingWrites => self.crash(),
        }
    }

    /// Loses what is not durable, starts again, and hears the blocks since.
    pub(crate) fn crash(&mut self) {
        let (stored, tip) = self.env.store.crash();
        self.env.broadcasts.0.take();
        self.env.wallet.restart();
        self.set = MonitorSet::restore(self.env.clone(), &stored, tip).expect("restores");
        let from = tip.map_or(BASE, |(_, height)| height.get() + 1);
        for height in from..=self.chain.height() {
            let block = self.chain.blocks[(height - BASE) as usize].block.clone();
            self.set.block_connected(&block, BlockHeight::new(height));
        }
        self.take_broadcasts(false);
        self.take_events();
    }

    /// Takes the tip back while the node is down.
    pub(crate) fn disconnect_unheard(&mut self) {
        self.chain.disconnect();
        let coins = self.chain.coins.iter();
        let own = coins.filter(|(_, coin)| coin.output.script_pubkey == super::wallet::script());
        self.env.wallet.reorganised(own.map(|(outpoint, coin)| (*outpoint, coin.output.clone())).collect());
        self.mempool.clear();
    }

    /// How many commitments are in the mempool, their children not counted.
    pub(crate) fn commitments_out(&self) -> usize {
        let funding = self.pair.init.funding.outpoint;
        self.mempool.values().filter(|tx| tx.input[0].previous_output == funding).count()
    }

    /// Mines until the monitor says that all is resolved.
    pub(crate) fn settle(&mut self) {
        for _ in 0..700 {
            if self.user.iter().any(|event| matches!(event, Event::Resolved { .. })) {
                return;
            }
            self.mine(vec![]);
        }
        panic!("not resolved: {:#?}", self.monitor());
    }

    /// What the spend of the funding output was said to be.
    pub(crate) fn kinds(&self) -> Vec<SpendKind> {
        let kind = |event: &MonitorEvent| match event {
            MonitorEvent::FundingSpent { kind, .. } => Some(*kind),
            _ => None,
        };
        self.events.iter().filter_map(kind).collect()
    }

    /// How HTLCs were said to end, in order.
    pub(crate) fn outcomes(&self) -> Vec<(u64, bool)> {
        let outcome = |event: &MonitorEvent| match event {
            MonitorEvent::HtlcResolved { htlc: HtlcId(id), outcome, .. } => {
                Some((*id, matches!(outcome, HtlcOutcome::Claimed { .. })))
            }
            _ => None,
        };
        self.events.iter().filter_map(outcome).collect()
    }

    /// The same, by id.
    pub(crate) fn sorted_outcomes(&self) -> Vec<(u64, bool)> {
        let mut outcomes = self.outcomes();
        outcomes.sort_unstable();
        outcomes
    }

    pub(crate) fn resolved_events(&self) -> usize {
        self.events.iter().filter(|event| matches!(event, MonitorEvent::Resolved { .. })).count()
    }

    /// The same of what is on the chain now: sweeps that were taken back do not count, those that came back count once.
    pub(crate) fn swept_last(&self) -> u64 {
        let all = self.chain.blocks.iter().flat_map(|mined| &mined.block.txdata);
        let is_ours =
            |tx: &&Transaction| tx.output.iter().any(|output| output.script_pubkey == destination());
        all.filter(is_ours)
            .map(|tx| (tx.output[0].value + self.chain.fees[&tx.compute_txid()]).to_sat())
            .sum()
    }

    /// What the outputs were worth that were swept to the user, before the fees of the sweeps.
    pub(crate) fn swept(&self) -> u64 {
        let mut seen = BTreeSet::new();
        let mut total = 0;
        for event in &self.user {
            let Event::Swept { transaction, .. } = event else { continue };
            if !seen.insert(transaction.compute_txid()) {
                panic!("reported twice: {transaction:#?}");
            }
            let out = transaction.output.iter().filter(|output| output.script_pubkey == destination());
            let out: Amount = out.map(|output| output.value).sum();
            let txid = transaction.compute_txid();
            total += (out + self.chain.fees[&txid]).to_sat();
        }
        total
    }
}

fn inputs(transactions: &[Transaction]) -> impl Iterator<Item = OutPoint> {
    transactions.iter().flat_map(|tx| &tx.input).map(|input| input.previous_output)
}

/// A transaction in one line.
pub(crate) fn shown(tx: &Transaction) -> String {
    let inputs: Vec<String> = tx.input.iter().map(|input| input.previous_output.to_string()).collect();
    let outputs: Vec<u64> = tx.output.iter().map(|output| output.value.to_sat()).collect();
    format!("{} spends {inputs:?} to {outputs:?} from {}", tx.compute_txid(), tx.lock_time)
}
