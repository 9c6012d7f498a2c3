//! The node's watchtowers: a seat for each in the quorum that opens the gates of channels.
//!
//! Without towers nothing of this is used. With them, an update goes to the node's own disk first and to the towers next, and
//! the channel steps on when as many hold it as its user wants.
//!
//! # Invariants
//! - a tower gets keys for its mode and no others (ADR 24), before the channel that they are of
//! - a tower in full mode is a required seat: it could publish by itself what would be revoked without it (ADR 23)
//! - what a tower keeps says with which of them each step was durable before it was said; a tower that still has it from a stricter
//!   time is waited for as then, until it has heard otherwise (ADR 31)
//! - while too few are up, and unless the user allows to go ahead, no peer is met whose channel they may not hold
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use lightning_keys::{KEYS_MESSAGE, Power, SeedKeys};
use lightning_monitor::MonitorSet;
use lightning_remote::quorum::{Below, Member, Quorum, QuorumConfig, Seat};
use lightning_remote::wire::Goodbye;
use lightning_remote::{
    Alarm, BlindMonitors, Promise, RecordPolicy, RemoteConfig, RemoteMonitors, SealKey, Towers,
};
use lightning_store_redb::RedbStore;
use lightning_traits::codec::{Encode as _, Reader};
use lightning_traits::id::{ChannelId, EventId, NodeId, UpdateId};
use lightning_traits::interface::{CustomMessageHandler, KeysInterface as _, ManyChannelMonitor};
use lightning_traits::monitor::{
    ChannelMonitorUpdate, LateRefusal, MonitorEvent, NewMonitor, Persist, Receipt, StoredChannels,
};
use lightning_traits::units::BlockHeight;

use super::blind::{BlindDesk, BlindTower, StoreRows, secret};
use super::environment::{MonitorParts, Monitors};
use super::life;
use super::pump::Wake;
use super::restore::on_the_wire;
use crate::error::ApiError;
use crate::towers::{TowerEntry, TowerList, TowerMode, id_of};

/// What each tower has of the node's promise: all records that it keeps were sealed with it.
const PROMISE: &str = "tower/promise/";
/// Between two looks at what the towers have of the promise.
const LOOK: Duration = Duration::from_secs(1);

type Members = Quorum<Monitors, Arc<dyn Member + Send + Sync>>;

/// One tower of this node.
pub(crate) struct TowerSeat {
    pub(crate) entry: TowerEntry,
    pub(crate) id: NodeId,
    pub(crate) remote: Arc<RemoteMonitors>,
    /// What makes a member of it, if it is blind.
    pub(crate) blind: Option<Arc<BlindTower>>,
    /// What the records are sealed with, while not all that the tower keeps are known to be.
    owed: Mutex<Option<Promise>>,
    /// Whether nothing opens without it: it could publish by itself what would be revoked without it; or what it keeps says that the
    /// node waits for it, and until it has heard otherwise the node does.
    is_required: bool,
}

/// All towers of this node, and the gate behind which they stand.
pub(crate) struct Guards {
    pub(crate) list: TowerList,
    pub(crate) seats: Vec<TowerSeat>,
    pub(crate) quorum: Members,
    pub(crate) blind: BlindDesk,
    store: Arc<RedbStore>,
    /// Channels that were there when last looked: what is gone since is forgotten.
    known: Mutex<BTreeSet<ChannelId>>,
    looked: Mutex<Option<Instant>>,
    /// Why the node must not act any more.
    replaced: OnceLock<String>,
}

/// Where channels' updates become durable: on this disk alone, or on towers too.
pub(crate) enum Gate {
    /// No towers.
    Alone(Monitors),
    /// With towers.
    Guarded(Arc<Guards>),
}

impl Gate {
    /// The monitors of this node, behind the towers that its user wants.
    pub(crate) fn new(
        monitors: &Monitors,
        list: TowerList,
        keys: &SeedKeys,
        store: &Arc<RedbStore>,
        stored: &StoredChannels,
    ) -> Result<Self, ApiError> {
        if list.towers.is_empty() {
            return Ok(Self::Alone(Arc::clone(monitors)));
        }
        let mut seats = Vec::new();
        for entry in &list.towers {
            seats.push(TowerSeat::new(entry, &list, keys, store, stored)?);
        }
        let members = seats.iter().map(|seat| Seat {
            member: seat.member(),
            is_required: seat.is_required,
            is_trusted: false,
        });
        let below = match list.max_ahead {
            0 => Below::Freeze,
            max_unacked => Below::Degrade { max_unacked },
        };
        // More than there are could never hold it.
        let needed = list.needed.clamp(1, list.towers.len().saturating_add(1));
        let config = QuorumConfig { needed, below };
        let quorum = Quorum::new(Arc::clone(monitors), members.collect(), config, stored);
        let known = Mutex::new(stored.iter().map(|(channel, _)| *channel).collect());
        let blind = seats.iter().filter_map(|seat| seat.blind.clone()).collect();
        let blind = BlindDesk::new(blind, keys, monitors, store);
        let (store, looked, replaced) = (Arc::clone(store), Mutex::new(None), OnceLock::new());
        Ok(Self::Guarded(Arc::new(Guards { list, seats, quorum, blind, store, known, looked, replaced })))
    }

    /// The towers, if there are any.
    pub(crate) fn guards(&self) -> Option<&Arc<Guards>> {
        match self {
            Self::Alone(_) => None,
            Self::Guarded(guards) => Some(guards),
        }
    }

    fn members(&self) -> &dyn ManyChannelMonitor {
        match self {
            Self::Alone(monitors) => monitors,
            Self::Guarded(guards) => &guards.quorum,
        }
    }
}

impl ManyChannelMonitor for Gate {
    fn add_channel(&self, new: NewMonitor) -> Persist {
        if let Self::Guarded(guards) = self {
            guards.blind.begin(&new.init);
        }
        self.members().add_channel(new)
    }

    fn update_channel(&self, update: ChannelMonitorUpdate) -> Persist {
        if let Self::Guarded(guards) = self {
            guards.blind.learn(&update);
        }
        self.members().update_channel(update)
    }

    fn next_receipt(&self) -> Option<Receipt> {
        self.members().next_receipt()
    }

    fn next_refusal(&self) -> Option<LateRefusal> {
        self.members().next_refusal()
    }

    fn next_monitor_event(&self, after: Option<EventId>) -> Option<(EventId, MonitorEvent)> {
        self.members().next_monitor_event(after)
    }

    fn acknowledge_monitor_event(&self, id: EventId) {
        self.members().acknowledge_monitor_event(id);
    }
}

impl TowerSeat {
    fn new(
        entry: &TowerEntry,
        list: &TowerList,
        keys: &SeedKeys,
        store: &Arc<RedbStore>,
        stored: &StoredChannels,
    ) -> Result<Self, ApiError> {
        let id = id_of(&entry.address)?;
        let key = id.to_public_key().map_err(|error| ApiError::bad(error.to_string()))?;
        let promise = list.promise_to(entry)?;
        let sealed = RecordPolicy::Sealed(SealKey::new(&keys.tower_seal()), promise);
        let mut config = RemoteConfig::new(NodeId::from(keys.node_id()), key, sealed);
        config.mode = on_the_wire(entry.mode);
        config.incarnation = life::of(store).map_err(ApiError::from)?;
        let last = life::last_statement(store, id).map_err(ApiError::from)?;
        let before = store.get(&promise_row(id)).map_err(ApiError::from)?;
        let before = before.and_then(|bytes| Reader::new(&bytes).read::<Promise>().ok());
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_nanos());
        let remote = RemoteMonitors::new(config, u64::try_from(now).unwrap_or(u64::MAX), last);
        let power = match entry.mode {
            TowerMode::Full => Power::Enforce,
            TowerMode::Justice => Power::Punish,
            TowerMode::Blind => {
                let (remote, rows) = (Arc::new(remote), StoreRows(Arc::clone(store)));
                let channels = stored.iter().map(|(channel, stored)| (*channel, stored.last_update));
                let blind = BlindMonitors::new(Arc::clone(&remote), rows, &secret(keys), channels);
                let (entry, blind) = (entry.clone(), Some(Arc::new(blind)));
                // It keeps no records, and cannot be told of promises.
                return Ok(Self { entry, id, remote, blind, owed: Mutex::new(None), is_required: false });
            }
        };
        let lender = keys.clone();
        let remote = remote.with_introduction(move |init| {
            Some((KEYS_MESSAGE, lender.lend(&init.keys, power).to_message(&init.keys)))
        });
        let remote = Arc::new(remote);
        stored.iter().for_each(|(channel, stored)| remote.expect_channel(*channel, stored));
        let owed = (before != Some(promise)).then_some(promise);
        let was_promised = owed.is_some() && before.is_some_and(|before| before.held_by > 0);
        let is_required = entry.mode == TowerMode::Full || was_promised;
        Ok(Self { entry: entry.clone(), id, remote, blind: None, owed: Mutex::new(owed), is_required })
    }

    fn member(&self) -> Arc<dyn Member + Send + Sync> {
        match &self.blind {
            Some(blind) => Arc::clone(blind) as Arc<dyn Member + Send + Sync>,
            None => Arc::clone(&self.remote) as Arc<dyn Member + Send + Sync>,
        }
    }

    /// What the tower has to say in words.
    fn quote(&self, body: &[u8]) -> String {
        format!("tower {}: {}", self.id, String::from_utf8_lossy(body))
    }

    /// The last update of the channel that the tower holds, or holds all blobs up to.
    pub(crate) fn durable(&self, channel: ChannelId) -> Option<UpdateId> {
        self.member().durable(channel)
    }
}

fn promise_row(id: NodeId) -> String {
    format!("{PROMISE}{id}")
}

impl TowerSeat {
    /// Sees to it that all records that the tower keeps are sealed with the promise of this time.
    fn keep_promise(&self, channels: &[ChannelId], store: &RedbStore) {
        let mut owed = self.owed.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(promise) = owed.filter(|_| self.remote.is_up()) else { return };
        channels.iter().for_each(|channel| self.remote.reseal(*channel));
        if channels.iter().all(|channel| self.remote.is_resealed(*channel)) {
            store.put(&promise_row(self.id), promise.to_bytes());
            *owed = None;
        }
    }
}

impl Guards {
    /// Sends what towers lack, and says what the user must hear.
    pub(crate) fn process(&self) -> Vec<String> {
        self.keep_promises();
        let mut said = Vec::new();
        for seat in &self.seats {
            match &seat.blind {
                Some(blind) => {
                    blind.process();
                    let alarms = std::iter::from_fn(|| blind.next_alarm());
                    said.extend(alarms.map(|alarm| format!("tower {}: {alarm}", seat.id)));
                    let words = std::iter::from_fn(|| blind.next_said());
                    said.extend(words.map(|(_, body)| seat.quote(&body)));
                }
                None => self.serve(seat, &mut said),
            }
            while let Some(alarm) = seat.remote.next_alarm() {
                if let Alarm::Goodbye { why: Goodbye::Fenced { incarnation } } = alarm {
                    let why = life::freeze(&self.store, seat.id, incarnation);
                    // The first one says all there is to say.
                    let _known = self.replaced.set(why);
                }
                said.push(format!("tower {}: {alarm:?}", seat.id));
            }
        }
        while let Some(alarm) = self.quorum.next_alarm() {
            said.push(format!("towers: {alarm:?}"));
        }
        said
    }

    /// Sends whole the channels that a tower lacks.
    fn serve(&self, seat: &TowerSeat, said: &mut Vec<String>) {
        while let Some(channel) = seat.remote.next_wanted() {
            // The tip first: what is stored after it may know more blocks, never fewer.
            let seen = self.store.load_tip().ok().flatten().map_or(BlockHeight::new(0), |(_, height)| height);
            match self.store.load_channel(channel) {
                Ok(stored) => seat.remote.provide(channel, stored.as_ref(), seen),
                Err(error) => {
                    said.push(format!("a channel cannot be read for tower {}: {error}", seat.id));
                }
            }
        }
        said.extend(std::iter::from_fn(|| seat.remote.next_other()).map(|(_, body)| seat.quote(&body)));
    }

    /// Why the node must not act any more: a tower serves a later life of it.
    pub(crate) fn replaced(&self) -> Option<String> {
        self.replaced.get().cloned()
    }

    /// Costs a look at all channels, so only now and then, and only while a tower has not all of it.
    fn keep_promises(&self) {
        let is_owed = |seat: &TowerSeat| seat.owed.lock().unwrap_or_else(PoisonError::into_inner).is_some();
        let owing: Vec<&TowerSeat> = self.seats.iter().filter(|seat| is_owed(seat)).collect();
        if owing.is_empty() {
            return;
        }
        {
            let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
            if looked.is_some_and(|looked| looked.elapsed() < LOOK) {
                return;
            }
            *looked = Some(Instant::now());
        }
        let channels = self.quorum.leader().channels();
        owing.into_iter().for_each(|seat| seat.keep_promise(&channels, &self.store));
    }

    /// About once a minute: silence is noticed, the towers' last words are kept, what is done with is forgotten.
    pub(crate) fn timer_tick(&self, monitors: &MonitorSet<MonitorParts>) {
        for seat in &self.seats {
            seat.remote.timer_tick();
            if let Some(blind) = &seat.blind {
                blind.timer_tick(self.chance());
            }
            if let Some(signed) = seat.remote.last_statement() {
                self.store.put(&life::statement_row(seat.id), signed.to_bytes());
            }
        }
        let now: BTreeSet<ChannelId> = monitors.channels().into_iter().collect();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        for channel in known.difference(&now) {
            self.quorum.forget(*channel);
            self.blind.forget(*channel);
        }
        *known = now;
    }

    /// Which blob a tower is asked for nobody must be able to foresee.
    fn chance(&self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.blind.random();
        u64::from_be_bytes([a, b, c, d, e, f, g, h])
    }

    /// The channels that may not go on yet, since too few are known to hold what the node started from.
    pub(crate) fn unsettled(&self) -> BTreeSet<ChannelId> {
        if self.list.max_ahead == 0 { self.quorum.unsettled().into_iter().collect() } else { BTreeSet::new() }
    }
}

/// The towers' end of the transport: whatever they say wakes the pump, which waits for their receipts.
pub(crate) struct TowerDesk {
    towers: Towers,
    wake: Arc<Wake>,
}

impl TowerDesk {
    pub(crate) fn new(gate: &Gate, wake: Arc<Wake>) -> Self {
        let seats = gate.guards().map_or(&[][..], |guards| &guards.seats);
        Self { towers: Towers::new(seats.iter().map(|seat| Arc::clone(&seat.remote))), wake }
    }

    pub(crate) fn connected(&self, peer: NodeId) {
        if self.towers.connected(peer) {
            tracing::info!(tower = %peer, "connected to the tower");
        }
    }

    pub(crate) fn disconnected(&self, peer: NodeId) {
        self.towers.disconnected(peer);
    }
}

impl CustomMessageHandler for TowerDesk {
    fn on_custom_message(&self, peer: NodeId, type_id: u16, payload: &[u8]) -> bool {
        let is_taken = self.towers.on_custom_message(peer, type_id, payload);
        if is_taken {
            self.wake.raise();
        }
        is_taken
    }

    fn next_custom_message(&self) -> Option<(NodeId, u16, Vec<u8>)> {
        self.towers.next_custom_message()
    }
}
