//! The thread that shows every block to every client's monitors.
//!
//! Monitors remember, each in its own store, up to which block they have looked, and go on from there: after a restart, after
//! an hour without a source, after a reorganisation. A channel that is handed over late, when its funding output may be
//! spent already, has its client's monitors look at the old blocks again, since it was made (RELIABILITY L9); the others are
//! not held up by that.
//!
//! # Invariants
//! - a block that cannot be fetched stops the scan, with an alarm, until it can be (RELIABILITY L1)
//! - the tip is written with each block, also when nothing in it matters (RELIABILITY L2)
use std::collections::BTreeSet;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use lightning_chain_bitcoind::{ChainFollower, FollowError, Progress, Report};
use lightning_traits::event::Event;
use lightning_traits::id::{ChannelId, EventId, NodeId};
use lightning_traits::interface::{
    BlockSource as _, Broadcast, ChainListener, EventsProvider as _, ManyChannelMonitor as _, SourceError,
    Tip,
};
use lightning_traits::monitor::{MonitorEvent, SpendKind};
use lightning_traits::units::BlockHeight;

use crate::book::{Breach, ClaimRow};
use crate::guard::{Guard, Monitors, Source};
use crate::health::Trouble;
use crate::past::LookBack;
use crate::tower::{Inner, lock};
use crate::vault::{News, Vault};

/// The time between two looks at the fees and two rebroadcasts without a block.
const REFRESH: Duration = Duration::from_secs(60);
/// Old blocks looked at in one turn.
const BLOCKS_BACK: u32 = 100;
/// After how many blocks without an update a monitor is kept in the store only: of very many channels few are in use.
const REST_AFTER: u32 = 6;

/// How the scan stands, for the status page.
#[derive(Clone, Copy, Debug, Default)]
pub struct Standing {
    /// The source's tip.
    pub tip: Option<Tip>,
    /// When that last changed.
    pub changed: Option<Instant>,
    /// Whether all blocks were looked at once.
    pub caught_up: bool,
    /// Broadcasts that the source refused since the start; each is tried again.
    pub refused: u64,
}

/// Starts the thread.
pub(crate) fn start(tower: Arc<Inner>) -> std::io::Result<JoinHandle<()>> {
    thread::Builder::new().name("chain".into()).spawn(move || {
        let mut scan = Scan::new(&tower);
        while !tower.wake.is_stopping() {
            scan.turn();
            tower.wake.wait(tower.options.poll);
        }
    })
}

struct Scan<'a> {
    tower: &'a Inner,
    follower: ChainFollower<Source>,
    /// For those who look at old blocks.
    behind: ChainFollower<Source>,
    late: BTreeSet<NodeId>,
    /// Replacements that are done when their client has caught up.
    replaced: Vec<(NodeId, Vec<ChannelId>)>,
    refreshed: Option<Instant>,
}

impl<'a> Scan<'a> {
    fn new(tower: &'a Inner) -> Self {
        let network = tower.options.network;
        Self {
            tower,
            follower: ChainFollower::new(Arc::clone(&tower.source), network),
            behind: ChainFollower::new(Arc::clone(&tower.source), network).with_blocks_per_poll(BLOCKS_BACK),
            late: BTreeSet::new(),
            replaced: Vec::new(),
            refreshed: None,
        }
    }

    fn turn(&mut self) {
        let tower = self.tower;
        tower.look_at_clients();
        let guards = tower.guards();
        for guard in &guards {
            let done = guard.do_replacements();
            if !done.is_empty() {
                self.replaced.push((guard.id, done));
            }
            self.look_back(guard);
            self.look_for_late(guard);
        }
        let before = lock(&tower.progress).tip.map(|tip| tip.hash);
        let sets: Vec<Monitors> = guards
            .iter()
            .filter(|guard| !self.late.contains(&guard.id))
            .map(|guard| guard.monitors())
            .collect();
        let mut listeners: Vec<&dyn ChainListener> =
            sets.iter().map(|set| &**set as &dyn ChainListener).collect();
        listeners
            .extend(guards.iter().filter_map(|guard| guard.vault()).map(|vault| vault as &dyn ChainListener));
        let (wallet, broadcaster) = (tower.wallet.wallet(), &tower.shared.broadcaster);
        listeners.push(&**wallet);
        listeners.push(&**broadcaster);
        let outcome = self.follower.poll(&listeners);
        self.say(&outcome);
        self.catch_up(&guards);
        let is_new = lock(&tower.progress).tip.map(|tip| tip.hash) != before;
        if is_new || self.refreshed.is_none_or(|at| at.elapsed() >= REFRESH) {
            self.refresh(&guards);
        }
        guards.iter().for_each(|guard| self.report(guard));
        if is_new {
            guards.iter().for_each(|guard| _ = guard.monitors().rest(REST_AFTER));
            tower.block_seen();
        }
        self.look_for_preimages(&guards);
        self.note(tower.shared.broadcaster.take_reports());
        if let Err(error) = tower.wallet.keep() {
            tower.alarms.raise(Trouble::Disk, "wallet", error.to_string());
        } else {
            tower.alarms.clear(Trouble::Disk, "wallet");
        }
    }

    /// Says how the scan went.
    fn say(&self, outcome: &Result<Progress, FollowError>) {
        const OF_THE_SCAN: [Trouble; 6] = [
            Trouble::ChainUnreachable,
            Trouble::BlockMissing,
            Trouble::WrongChain,
            Trouble::ChainSyncing,
            Trouble::ChainBehind,
            Trouble::ScanLost,
        ];
        let alarms = &self.tower.alarms;
        let (now, tip) = match outcome {
            Ok(Progress::Synced(tip) | Progress::More { tip, .. }) if tip.syncing => {
                let message = "the block source is still catching up with the network".to_owned();
                (Some((Trouble::ChainSyncing, message)), Some(*tip))
            }
            Ok(Progress::Synced(tip)) => (None, Some(*tip)),
            Ok(Progress::More { tip, reached }) => {
                self.tower.wake.raise();
                let left = tip.height.saturating_sub(*reached);
                alarms.raise(Trouble::CatchingUp, "", format!("{left} blocks are still to be looked at"));
                (None, Some(*tip))
            }
            Ok(Progress::SourceBehind { tip, ours }) => {
                let message =
                    format!("the block source is at {}, behind our {ours}: waiting for it", tip.height);
                (Some((Trouble::ChainBehind, message)), Some(*tip))
            }
            Err(error) => (Some((Trouble::of(error), error.to_string())), None),
        };
        for trouble in OF_THE_SCAN {
            match &now {
                Some((is, message)) if *is == trouble => alarms.raise(trouble, "", message.clone()),
                _ => alarms.clear(trouble, ""),
            }
        }
        let mut standing = lock(&self.tower.progress);
        if let Some(tip) = tip {
            if standing.tip.map(|old| old.hash) != Some(tip.hash) || standing.changed.is_none() {
                standing.changed = Some(Instant::now());
            }
            standing.tip = Some(tip);
        }
        if matches!(outcome, Ok(Progress::Synced(_))) {
            standing.caught_up = true;
            alarms.clear(Trouble::CatchingUp, "");
        }
        let age = standing.changed.map(|at| at.elapsed());
        drop(standing);
        match (age, self.tower.options.stale_after) {
            (Some(age), Some(limit)) if age > limit => {
                let message = format!("no block has come for {} minutes", age.as_secs() / 60);
                alarms.raise(Trouble::StaleTip, "", message);
            }
            _ => alarms.clear(Trouble::StaleTip, ""),
        }
    }

    /// Sends a client's monitors back to old blocks where a channel of theirs may have been spent.
    fn look_back(&mut self, guard: &Guard) {
        let waiting = guard.take_look_backs();
        if waiting.is_empty() {
            return;
        }
        let Some((_, tip)) = guard.tip() else {
            // Nothing was looked at yet: the first block shows where to begin.
            return guard.look_back_later(waiting);
        };
        let mut from: Option<BlockHeight> = None;
        for look_back in &waiting {
            // What a node says that it has seen may be of blocks that are gone.
            guard.monitors().undo_chain(look_back.channel);
            match self.first_block(look_back, tip) {
                Ok(Some(first)) => from = Some(from.map_or(first, |from| from.min(first))),
                Ok(None) => {}
                Err(error) => {
                    let message = format!("a channel that came late cannot be looked for: {error}");
                    self.tower.alarms.raise(Trouble::PastMissing, &guard.id.to_string(), message);
                    return guard.look_back_later(waiting);
                }
            }
        }
        let Some(from) = from else {
            if !self.late.contains(&guard.id) {
                self.tower.alarms.clear(Trouble::PastMissing, &guard.id.to_string());
                guard.looked_back();
            }
            return;
        };
        match self.jump(guard, from) {
            Ok(()) => {
                self.late.insert(guard.id);
                let message = format!("looking at the blocks from {} on again", from.get());
                self.tower.alarms.raise(Trouble::LookingBack, &guard.id.to_string(), message);
            }
            Err(error) => {
                let message = format!("a channel that came late cannot be looked for: {error}");
                self.tower.alarms.raise(Trouble::PastMissing, &guard.id.to_string(), message);
                guard.look_back_later(waiting);
            }
        }
    }

    /// Shows a vault the blocks from the first on that blobs have come for too late.
    fn look_for_late(&self, guard: &Guard) {
        let Some(vault) = guard.vault() else { return };
        let late = vault.take_late();
        let (Some(first), Some((_, tip))) = (late.first(), vault.best_block()) else { return };
        for height in first.get()..=tip.get() {
            let hash = self.tower.source.hash_at(height);
            let block = hash.and_then(|hash| hash.map(|hash| self.tower.source.block(&hash)).transpose());
            match block {
                Ok(Some(block)) => vault.look_again(&block, BlockHeight::new(height)),
                Ok(None) => {}
                Err(error) => {
                    let message = format!("a block for a blob that came late cannot be had: {error}");
                    self.tower.alarms.raise(Trouble::PastMissing, &guard.id.to_string(), message);
                    return vault.late_again(late);
                }
            }
        }
        self.tower.alarms.clear(Trouble::PastMissing, &guard.id.to_string());
    }

    /// From where the channel must be looked for; `None` when nothing has spent its funding output.
    fn first_block(
        &self,
        look_back: &LookBack,
        tip: BlockHeight,
    ) -> Result<Option<BlockHeight>, SourceError> {
        if look_back.from > tip || self.tower.source.unspent(&look_back.funding)?.is_some() {
            return Ok(None);
        }
        Ok(Some(look_back.from))
    }

    /// Shows the monitors an old block, from which they go on. What they see a second time changes nothing.
    fn jump(&self, guard: &Guard, to: BlockHeight) -> Result<(), SourceError> {
        let Some(hash) = self.tower.source.hash_at(to.get())? else { return Ok(()) };
        let block = self.tower.source.block(&hash)?;
        guard.monitors().block_connected(&block, to);
        Ok(())
    }

    /// Lets those who look at old blocks go on.
    fn catch_up(&mut self, guards: &[Arc<Guard>]) {
        for guard in guards {
            let id = guard.id;
            if self.late.contains(&id) {
                match self.behind.poll(&[&*guard.monitors()]) {
                    Ok(Progress::Synced(_)) => {
                        self.late.remove(&id);
                        guard.looked_back();
                        self.tower.alarms.clear(Trouble::PastMissing, &id.to_string());
                        self.tower.alarms.clear(Trouble::LookingBack, &id.to_string());
                    }
                    Ok(Progress::More { .. }) => self.tower.wake.raise(),
                    Ok(Progress::SourceBehind { .. }) => {}
                    Err(error) => {
                        // Nothing new of this client is looked at either until that block can be had.
                        self.tower.alarms.raise(Trouble::PastMissing, &id.to_string(), error.to_string());
                    }
                }
            }
            if !self.late.contains(&id) && guard.looks_back() {
                let (done, waiting) =
                    std::mem::take(&mut self.replaced).into_iter().partition(|(of, _)| *of == id);
                self.replaced = waiting;
                let done: Vec<(NodeId, Vec<ChannelId>)> = done;
                done.into_iter().for_each(|(_, channels)| guard.replacements_done(channels));
            }
        }
    }

    /// New fees, and once more whatever has not confirmed (RELIABILITY L3, L7).
    fn refresh(&mut self, guards: &[Arc<Guard>]) {
        self.refreshed = Some(Instant::now());
        if let Err(error) = self.tower.shared.fees.refresh(&self.tower.source) {
            tracing::debug!("no new fee estimates: {error}");
        }
        for guard in guards {
            guard.monitors().rebroadcast();
            guard.vault().inspect(|vault| vault.rebroadcast());
        }
        self.note(self.tower.shared.broadcaster.rebroadcast());
    }

    /// Looks into the source's mempool for preimages: who takes a claim out of mempools shows them there (RELIABILITY D14).
    fn look_for_preimages(&self, guards: &[Arc<Guard>]) {
        for guard in guards {
            let monitors = guard.monitors();
            let contested = monitors.contested();
            if contested.is_empty() {
                continue;
            }
            match self.tower.source.waiting_spenders(&contested) {
                Ok(spenders) => spenders.iter().for_each(|spender| monitors.unconfirmed_seen(spender)),
                Err(error) => tracing::debug!("the mempool cannot be looked at now: {error}"),
            }
        }
    }

    fn note(&self, reports: Vec<Report>) {
        for report in reports {
            match report.outcome {
                Ok(Broadcast::Refused { code, reason }) => {
                    let mut standing = lock(&self.tower.progress);
                    standing.refused = standing.refused.saturating_add(1);
                    drop(standing);
                    tracing::warn!(txid = %report.txid, code, reason, "refused; it is offered again");
                }
                other => tracing::debug!(txid = %report.txid, ?other, "broadcast"),
            }
        }
    }

    /// Writes down what blobs have opened, and what was claimed with them.
    fn report_vault(&self, vault: &Vault, client: &str) {
        let (book, client) = (&self.tower.book, client.to_owned());
        let mut is_any = false;
        while let Some(news) = vault.next_news() {
            is_any = true;
            let client = client.clone();
            match news {
                News::Breach { lane, txid, height } => {
                    let (channel, txid) = (lane.to_string(), txid.to_string());
                    book.breach(Breach { client, channel, txid, height: height.get() });
                }
                News::Claimed { lane, txid, height, value } => book.claim(ClaimRow {
                    client,
                    channel: lane.to_string(),
                    txid: txid.to_string(),
                    height: height.get(),
                    value_sat: value.to_sat(),
                }),
            }
        }
        if is_any && let Err(error) = book.keep() {
            tracing::error!("the book cannot be written: {error}");
        }
    }

    /// Writes down what the monitors have seen and done.
    fn report(&self, guard: &Guard) {
        let (book, client) = (&self.tower.book, guard.id.to_string());
        if let Some(vault) = guard.vault() {
            return self.report_vault(vault, &client);
        }
        let monitors = guard.monitors();
        // These are the client's to acknowledge; they are only looked at here.
        let mut after: Option<EventId> = None;
        while let Some((id, event)) = monitors.next_monitor_event(after) {
            if let MonitorEvent::FundingSpent { channel, txid, kind: SpendKind::Revoked { .. }, height } =
                event
            {
                let (channel, txid) = (channel.to_string(), txid.to_string());
                book.breach(Breach { client: client.clone(), channel, txid, height: height.get() });
            }
            after = Some(id);
        }
        let mut told = Vec::new();
        let mut after: Option<EventId> = None;
        while let Some((id, event)) = monitors.next_event(after) {
            if let Event::Swept { channel, transaction, height } = event {
                book.claim(ClaimRow {
                    client: client.clone(),
                    channel: channel.to_string(),
                    txid: transaction.compute_txid().to_string(),
                    height: height.get(),
                    value_sat: transaction.output.first().map_or(0, |output| output.value.to_sat()),
                });
            }
            told.push(id);
            after = Some(id);
        }
        if told.is_empty() {
            return;
        }
        match book.keep() {
            Ok(()) => told.into_iter().for_each(|id| monitors.acknowledge_event(id)),
            Err(error) => tracing::error!("the book cannot be written: {error}"),
        }
    }
}
