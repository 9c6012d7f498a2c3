//! What a manager calls, in memory: a disk that is slow and loses what it has not written, a route finder that knows all.
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bitcoin::Transaction;
use lightning_traits::id::{ChannelId, EventId, HtlcId, NodeId, PaymentId, ShortChannelId, UpdateId};
use lightning_traits::interface::{
    BroadcasterInterface, ConfirmationTarget, Environment, FeeEstimator, LogRecord, Logger,
    ManyChannelMonitor, RouteFinder,
};
use lightning_traits::monitor::{
    ChannelMonitorUpdate, CommitmentChange, LateRefusal, MonitorEvent, MonitorRefusal, MonitorStep,
    NewMonitor, Persist, Receipt, RecordChange, StoredChannel, StoredChannels,
};
use lightning_traits::payment::PaymentHash;
use lightning_traits::route::{
    DirectedChannel, NoRoute, Path, Route, RouteAnswer, RouteHop, RouteQuery, RouteReport,
};
use lightning_traits::sync::{Mutex, assert_unlocked};
use lightning_traits::tx::TxSide;
use lightning_traits::units::{CltvDelta, CltvExpiry, FeeratePerKw, Msat};

use super::keys::TestKeys;

/// A write on its way.
enum Write {
    New(Box<NewMonitor>),
    Update(ChannelMonitorUpdate),
}

#[derive(Default)]
struct Disk {
    stored: BTreeMap<ChannelId, StoredChannel>,
    steps: BTreeMap<ChannelId, Vec<MonitorStep>>,
    /// The next id that each channel must use.
    expected: BTreeMap<ChannelId, u64>,
    writing: BTreeMap<ChannelId, VecDeque<Write>>,
    receipts: Vec<Receipt>,
    is_slow: bool,
    slow_channels: BTreeSet<ChannelId>,
    events: BTreeMap<EventId, MonitorEvent>,
    /// Channels whose monitors went to the chain by themselves.
    refuses_new: bool,
    on_chain: BTreeSet<ChannelId>,
    refused: usize,
    refusals: Vec<LateRefusal>,
    next_event: u64,
}

/// The monitors, and the disk under them.
#[derive(Default)]
pub(crate) struct Monitors(Mutex<Disk>);

impl Write {
    /// Whether it has a new commitment of ours.
    fn is_ours(&self) -> bool {
        let is_ours = |step: &MonitorStep| matches!(step, MonitorStep::OurCommitment { .. });
        matches!(self, Self::Update(update) if update.steps.iter().any(is_ours))
    }
}

impl Disk {
    /// The update, and with it all behind it, is not taken after all.
    fn refuse_late(&mut self, channel: ChannelId, id: UpdateId) {
        self.writing.remove(&channel);
        self.expected.insert(channel, id.0);
        self.refused += 1;
        self.refusals.push(LateRefusal { channel, id, why: MonitorRefusal::OnChain });
    }

    fn write(&mut self, write: Write) -> Receipt {
        match write {
            Write::New(new) => {
                let new = NewMonitor::from_versioned(&new.to_versioned()).unwrap();
                let RecordChange::Snapshot { bytes } = new.record.clone() else { panic!("no snapshot") };
                let stored =
                    StoredChannel { new: new.to_versioned(), record: bytes, ..StoredChannel::default() };
                assert!(self.stored.insert(new.init.channel, stored).is_none(), "channel stored twice");
                new.receipt()
            }
            Write::Update(update) => {
                let update = ChannelMonitorUpdate::from_versioned(&update.to_versioned()).unwrap();
                let stored = self.stored.get_mut(&update.channel).unwrap();
                assert_eq!(stored.last_update.next(), update.id, "writes out of order");
                stored.last_update = update.id;
                match update.record.clone() {
                    RecordChange::Same {} => {}
                    RecordChange::Append { bytes } => stored.record_changes.push(bytes),
                    RecordChange::Snapshot { bytes } => {
                        stored.record = bytes;
                        stored.record_changes.clear();
                    }
                }
                self.steps.entry(update.channel).or_default().extend(update.steps.clone());
                update.receipt()
            }
        }
    }

    fn take(&mut self, channel: ChannelId, id: u64, write: Write) -> Persist {
        let expected = self.expected.entry(channel).or_default();
        assert_eq!(*expected, id, "update ids do not count up");
        if self.on_chain.contains(&channel) && write.is_ours() && !self.writing.contains_key(&channel) {
            self.refused += 1;
            return Persist::Refused(MonitorRefusal::OnChain);
        }
        if id == 0 && self.refuses_new {
            return Persist::Refused(MonitorRefusal::Duplicate);
        }
        *expected += 1;
        let is_slow = self.is_slow || self.slow_channels.contains(&channel);
        if is_slow || self.writing.contains_key(&channel) {
            self.writing.entry(channel).or_default().push_back(write);
            Persist::InProgress
        } else {
            Persist::Durable(self.write(write))
        }
    }
}

impl Monitors {
    /// From now on writes wait for [`Monitors::write_some`].
    pub(crate) fn set_slow(&self, is_slow: bool) {
        self.0.lock().is_slow = is_slow;
        if !is_slow {
            self.0.lock().slow_channels.clear();
            while self.write_one(0) {}
        }
    }

    /// From now on no new channel is taken.
    pub(crate) fn set_full(&self, is_full: bool) {
        self.0.lock().refuses_new = is_full;
    }

    /// From now on writes of one channel wait.
    pub(crate) fn set_slow_channel(&self, channel: ChannelId) {
        self.0.lock().slow_channels.insert(channel);
    }

    /// Lets the first waiting write of some channel reach the disk; its receipt waits to be fetched. Only writes of the same
    /// channel keep their order. `false` when none waits.
    pub(crate) fn write_one(&self, pick: usize) -> bool {
        let mut disk = self.0.lock();
        let channels: Vec<_> = disk.writing.keys().copied().collect();
        let Some(channel) = channels.get(pick % channels.len().max(1)) else { return false };
        let is_out = disk.on_chain.contains(channel);
        let queue = disk.writing.get_mut(channel).unwrap();
        let write = queue.pop_front().unwrap();
        if let (Write::Update(update), true) = (&write, is_out && write.is_ours()) {
            let (channel, id) = (*channel, update.id);
            disk.refuse_late(channel, id);
            return true;
        }
        if queue.is_empty() {
            disk.writing.remove(channel);
        }
        let receipt = disk.write(write);
        disk.receipts.push(receipt);
        true
    }

    /// Everything that has not reached the disk is lost.
    pub(crate) fn crash(&self) {
        let mut disk = self.0.lock();
        disk.writing.clear();
        disk.receipts.clear();
        disk.refusals.clear();
        disk.expected =
            disk.stored.iter().map(|(channel, stored)| (*channel, stored.last_update.0 + 1)).collect();
    }

    pub(crate) fn stored(&self) -> StoredChannels {
        self.0.lock().stored.clone().into_iter().collect()
    }

    pub(crate) fn steps(&self, channel: ChannelId) -> Vec<MonitorStep> {
        self.0.lock().steps.get(&channel).cloned().unwrap_or_default()
    }

    /// The monitor reports.
    pub(crate) fn report(&self, event: MonitorEvent) {
        let mut disk = self.0.lock();
        disk.next_event += 1;
        let id = EventId(disk.next_event);
        disk.events.insert(id, event);
    }

    /// What is resolved is put away.
    pub(crate) fn archive(&self, channel: ChannelId) {
        let mut disk = self.0.lock();
        disk.stored.remove(&channel);
        disk.steps.remove(&channel);
        disk.expected.remove(&channel);
    }

    /// Nothing is left of what was stored.
    pub(crate) fn wipe(&self) {
        *self.0.lock() = Disk::default();
    }

    /// From now on the channel's commitment is out: no other is taken.
    pub(crate) fn go_to_chain(&self, channel: ChannelId) {
        self.0.lock().on_chain.insert(channel);
    }

    /// How many updates were refused.
    pub(crate) fn refused(&self) -> usize {
        self.0.lock().refused
    }

    /// HTLCs that we offered and that some commitment which is not revoked has.
    pub(crate) fn offered(&self, channel: ChannelId) -> BTreeMap<HtlcId, PaymentHash> {
        let (mut ours, mut theirs, mut next) = (BTreeMap::new(), BTreeMap::new(), None);
        for step in self.steps(channel) {
            match step {
                MonitorStep::OurCommitment { change, .. } => apply(&mut ours, &change, TxSide::Broadcaster),
                MonitorStep::TheirCommitment { change, .. } => {
                    let mut changed = theirs.clone();
                    apply(&mut changed, &change, TxSide::Countersigner);
                    assert!(next.replace(changed).is_none(), "two signatures without a revocation");
                }
                MonitorStep::TheirRevocation { .. } => theirs = next.take().expect("something to revoke for"),
                _ => {}
            }
        }
        ours.extend(theirs);
        ours.extend(next.into_iter().flatten());
        ours
    }

    /// How many commitments of ours the monitor was given.
    pub(crate) fn our_commitments(&self, channel: ChannelId) -> usize {
        let steps = self.steps(channel);
        steps.iter().filter(|step| matches!(step, MonitorStep::OurCommitment { .. })).count()
    }

    pub(crate) fn unacknowledged(&self) -> usize {
        self.0.lock().events.len()
    }
}

fn apply(htlcs: &mut BTreeMap<HtlcId, PaymentHash>, change: &CommitmentChange, us: TxSide) {
    for (_, id) in change.removed.iter().filter(|(side, _)| *side == us) {
        htlcs.remove(id);
    }
    let added = change.added.iter().filter(|htlc| htlc.offered_by == us);
    htlcs.extend(added.map(|htlc| (htlc.id, htlc.payment_hash)));
}

impl ManyChannelMonitor for Monitors {
    fn add_channel(&self, new: NewMonitor) -> Persist {
        assert_unlocked();
        self.0.lock().take(new.init.channel, 0, Write::New(Box::new(new)))
    }

    fn update_channel(&self, update: ChannelMonitorUpdate) -> Persist {
        assert_unlocked();
        let (channel, id) = (update.channel, update.id.0);
        self.0.lock().take(channel, id, Write::Update(update))
    }

    fn next_receipt(&self) -> Option<Receipt> {
        assert_unlocked();
        // The last first: receipts may come in any order.
        self.0.lock().receipts.pop()
    }

    fn next_refusal(&self) -> Option<LateRefusal> {
        assert_unlocked();
        self.0.lock().refusals.pop()
    }

    fn next_monitor_event(&self, after: Option<EventId>) -> Option<(EventId, MonitorEvent)> {
        assert_unlocked();
        let from = after.map_or(EventId(0), EventId::next);
        self.0.lock().events.range(from..).next().map(|(id, event)| (*id, event.clone()))
    }

    fn acknowledge_monitor_event(&self, id: EventId) {
        assert_unlocked();
        self.0.lock().events.remove(&id);
    }
}

/// What each hop takes.
#[derive(Clone, Copy)]
pub(crate) struct Edge {
    pub(crate) scid: ShortChannelId,
    pub(crate) from: NodeId,
    pub(crate) to: NodeId,
    pub(crate) fee_base: u64,
    pub(crate) fee_ppm: u64,
    pub(crate) cltv_delta: u16,
}

#[derive(Default)]
struct Map {
    edges: Vec<Edge>,
    is_late: bool,
    /// Questions are never answered.
    is_mute: bool,
    /// Terms that a payment has learnt are not heeded.
    is_deaf: bool,
    late: VecDeque<(PaymentId, Result<Route, NoRoute>)>,
    reports: Vec<RouteReport>,
    queries: Vec<RouteQuery>,
}

/// Knows every channel and no liquidity but that of the first hops.
#[derive(Default)]
pub(crate) struct Routes(Mutex<Map>);

impl Routes {
    pub(crate) fn add(&self, edge: Edge) {
        self.0.lock().edges.push(edge);
    }

    pub(crate) fn change(&self, change: impl Fn(&mut Edge)) {
        self.0.lock().edges.iter_mut().for_each(change);
    }

    pub(crate) fn retain(&self, keep: impl Fn(&Edge) -> bool) {
        self.0.lock().edges.retain(keep);
    }

    pub(crate) fn set_late(&self, is_late: bool) {
        self.0.lock().is_late = is_late;
    }

    pub(crate) fn set_mute(&self, is_mute: bool) {
        self.0.lock().is_mute = is_mute;
    }

    /// Answers on their way are lost.
    pub(crate) fn lose_late(&self) {
        self.0.lock().late.clear();
    }

    pub(crate) fn set_deaf(&self, is_deaf: bool) {
        self.0.lock().is_deaf = is_deaf;
    }

    pub(crate) fn reports(&self) -> Vec<RouteReport> {
        self.0.lock().reports.clone()
    }

    pub(crate) fn queries(&self) -> Vec<RouteQuery> {
        self.0.lock().queries.clone()
    }
}

impl Map {
    /// All ways to the payee, short ones first, as edges.
    fn ways(&self, query: &RouteQuery) -> Vec<Vec<Edge>> {
        let allowed = |scid, from| !query.excluded.contains(&DirectedChannel { scid, from });
        let first = query.first_hops.iter().filter(|hop| allowed(hop.scid, query.payer));
        let mut ways: Vec<Vec<Edge>> = first
            .map(|hop| {
                let (from, to) = (query.payer, hop.node);
                vec![Edge { scid: hop.scid, from, to, fee_base: 0, fee_ppm: 0, cltv_delta: 0 }]
            })
            .collect();
        let mut found = Vec::new();
        for _ in 0..4 {
            let (done, open): (Vec<_>, Vec<_>) =
                ways.into_iter().partition(|way| way.last().unwrap().to == query.payee);
            found.extend(done);
            ways = open
                .iter()
                .flat_map(|way| {
                    let here = way.last().unwrap().to;
                    let visited = |node| node == query.payer || way.iter().any(|edge| edge.to == node);
                    let next = self.edges.iter().filter(move |edge| edge.from == here && !visited(edge.to));
                    next.filter(|edge| allowed(edge.scid, edge.from)).map(|edge| {
                        let mut longer = way.clone();
                        longer.push(*edge);
                        longer
                    })
                })
                .collect();
        }
        found
    }

    fn find(&self, query: &RouteQuery) -> Result<Route, NoRoute> {
        let mut missing = query.amount.to_msat();
        let mut paths: Vec<Path> = Vec::new();
        let mut rooms = Rooms::new(query);
        for way in self.ways(query) {
            let learn = |edge| if self.is_deaf { edge } else { as_learnt(edge, query) };
            let way: Vec<Edge> = way.into_iter().map(learn).collect();
            let amount = rooms.fit(&way, missing, query);
            let is_enough = query.max_parts > 1 || amount == missing;
            if amount == 0 || !is_enough || paths.len() >= usize::from(query.max_parts) {
                continue;
            }
            let path = path(&way, amount, query);
            rooms.take(&way, &path);
            missing -= amount;
            paths.push(path);
            if missing == 0 {
                return Ok(Route { paths });
            }
        }
        Err(NoRoute::NoCapacity { amount: query.amount })
    }
}

/// What the question says that each direction still carries.
struct Rooms {
    rooms: BTreeMap<(ShortChannelId, NodeId), u64>,
    costs: BTreeMap<ShortChannelId, u64>,
}

impl Rooms {
    fn new(query: &RouteQuery) -> Self {
        let mut rooms: BTreeMap<_, u64> = BTreeMap::new();
        let mut costs = BTreeMap::new();
        for hop in &query.first_hops {
            rooms.insert((hop.scid, query.payer), hop.sendable.to_msat());
            costs.insert(hop.scid, hop.htlc_cost.to_msat());
        }
        for limit in &query.limits {
            let room = rooms.entry((limit.channel.scid, limit.channel.from)).or_insert(u64::MAX);
            *room = (*room).min(limit.amount.to_msat());
        }
        Self { rooms, costs }
    }

    /// The most up to `amount` that the way delivers.
    fn fit(&self, way: &[Edge], mut amount: u64, query: &RouteQuery) -> u64 {
        loop {
            let hops = path(way, amount, query).hops;
            let room = |edge: &Edge| self.rooms.get(&(edge.scid, edge.from)).copied().unwrap_or(u64::MAX);
            let over =
                way.iter().zip(&hops).map(|(edge, hop)| hop.amount.to_msat().saturating_sub(room(edge)));
            match over.max().unwrap_or(0) {
                0 => return amount,
                over => amount = amount.saturating_sub(over),
            }
            if amount == 0 {
                return 0;
            }
        }
    }

    fn take(&mut self, way: &[Edge], path: &Path) {
        for (edge, hop) in way.iter().zip(&path.hops) {
            if let Some(room) = self.rooms.get_mut(&(edge.scid, edge.from)) {
                let cost = self.costs.get(&edge.scid).copied().unwrap_or(0);
                *room = room.saturating_sub(hop.amount.to_msat() + cost);
            }
        }
    }
}

/// The edge with the terms that the payment has learnt.
fn as_learnt(edge: Edge, query: &RouteQuery) -> Edge {
    let direction = DirectedChannel { scid: edge.scid, from: edge.from };
    match query.learnt.iter().find(|terms| terms.channel == direction) {
        Some(terms) => Edge {
            fee_base: terms.fee_base.to_msat(),
            fee_ppm: u64::from(terms.fee_proportional_millionths),
            cltv_delta: terms.cltv_delta.get(),
            ..edge
        },
        None => edge,
    }
}

fn path(way: &[Edge], amount: u64, query: &RouteQuery) -> Path {
    let mut amount = amount;
    let mut expiry = CltvExpiry::after(query.height, u32::from(query.final_cltv_delta.get()));
    let mut hops = Vec::new();
    for edge in way.iter().rev() {
        hops.push(RouteHop { node: edge.to, scid: edge.scid, amount: Msat::new(amount), expiry });
        amount += edge.fee_base + amount * edge.fee_ppm / 1_000_000;
        expiry = expiry.plus(CltvDelta::new(edge.cltv_delta));
    }
    hops.reverse();
    Path { hops }
}

impl RouteFinder for Routes {
    fn find_route(&self, query: RouteQuery) -> RouteAnswer {
        assert_unlocked();
        let mut map = self.0.lock();
        let answer = map.find(&query);
        map.queries.push(query.clone());
        if map.is_mute {
            return RouteAnswer::InProgress;
        }
        if map.is_late {
            map.late.push_back((query.payment, answer));
            return RouteAnswer::InProgress;
        }
        RouteAnswer::Ready(answer)
    }

    fn next_route(&self) -> Option<(PaymentId, Result<Route, NoRoute>)> {
        assert_unlocked();
        self.0.lock().late.pop_front()
    }

    fn report(&self, report: RouteReport) {
        assert_unlocked();
        self.0.lock().reports.push(report);
    }
}

/// Keeps what is broadcast.
#[derive(Default)]
pub(crate) struct Broadcaster(Mutex<Vec<Transaction>>);

impl Broadcaster {
    pub(crate) fn take(&self) -> Vec<Transaction> {
        std::mem::take(&mut self.0.lock())
    }
}

impl BroadcasterInterface for Broadcaster {
    fn broadcast(&self, package: &[Transaction]) {
        assert_unlocked();
        self.0.lock().extend_from_slice(package);
    }
}

/// Fees that do not move.
pub(crate) struct Fees;

impl FeeEstimator for Fees {
    fn feerate(&self, target: ConfirmationTarget) -> FeeratePerKw {
        assert_unlocked();
        FeeratePerKw::new(match target {
            ConfirmationTarget::AnchorCommitment => 1_000,
            ConfirmationTarget::NonAnchorCommitment => 2_500,
            ConfirmationTarget::Normal => 1_500,
            ConfirmationTarget::MinimumAccepted => 253,
            _ => 500,
        })
    }
}

/// Prints, for whoever reads why a test failed.
pub(crate) struct Printer(pub(crate) String);

impl Logger for Printer {
    fn log(&self, record: &LogRecord<'_>) {
        println!("{} {:?} {}", self.0, record.level, record.message);
    }
}

/// All of it.
#[derive(Clone)]
pub(crate) struct TestEnv {
    pub(crate) monitors: Arc<Monitors>,
    pub(crate) keys: Arc<TestKeys>,
    pub(crate) fees: Arc<Fees>,
    pub(crate) broadcaster: Arc<Broadcaster>,
    pub(crate) routes: Arc<Routes>,
    pub(crate) log: Arc<Printer>,
}

impl TestEnv {
    pub(crate) fn new(name: &str) -> Self {
        Self {
            monitors: Arc::default(),
            keys: Arc::new(TestKeys::new(name)),
            fees: Arc::new(Fees),
            broadcaster: Arc::default(),
            routes: Arc::default(),
            log: Arc::new(Printer(name.into())),
        }
    }
}

impl Environment for TestEnv {
    type Monitors = Arc<Monitors>;
    type Keys = Arc<TestKeys>;
    type Fees = Arc<Fees>;
    type Broadcaster = Arc<Broadcaster>;
    type Routes = Arc<Routes>;
    type Log = Arc<Printer>;

    fn monitors(&self) -> &Self::Monitors {
        &self.monitors
    }

    fn keys(&self) -> &Self::Keys {
        &self.keys
    }

    fn fees(&self) -> &Self::Fees {
        &self.fees
    }

    fn broadcaster(&self) -> &Self::Broadcaster {
        &self.broadcaster
    }

    fn routes(&self) -> &Self::Routes {
        &self.routes
    }

    fn log(&self) -> &Self::Log {
        &self.log
    }
}
