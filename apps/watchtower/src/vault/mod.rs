//! What is kept for a client in blind mode: blobs that open with a breach, and the breaches that have opened some.
//!
//! A client's channel is a lane here, a name without a meaning. `rows.rs` is what lies on the disk, `watch.rs` looks at blocks.
//! Blobs are found by locator, through rows: neither the memory nor a start costs more for more of them (RELIABILITY L12).
//!
//! # Invariants
//! - a blob has its row before it is acknowledged, and no blob takes another's row (L13)
//! - a lane goes only when its client says so and no breach of it is being punished, or when the breach is buried (L7, L14)
mod rows;
mod watch;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};

use bitcoin::{BlockHash, Txid};
use lightning_monitor::blind::{Avenger, BLOB, Locator};
use lightning_remote::wire::Head;
use lightning_remote::wire::Name;
use lightning_remote::wire::blind::{AUDIT, AUDITED, Audit, Audited, LaneContent, RELEASE};
use lightning_remote::wire::chain::Kept;
use lightning_remote::wire::state::ChannelState;
use lightning_store_redb::{RedbStore, StoreError};
use lightning_traits::codec::{Decode as _, Encode as _};
use lightning_traits::id::{ChannelId, NodeId, UpdateId};
use lightning_traits::interface::CoinSource as _;
use lightning_traits::monitor::{ChannelMonitorUpdate, MonitorRefusal, Persist, Receipt};
use lightning_traits::record;
use lightning_traits::units::BlockHeight;

use crate::guard::Shared;
use crate::tower::lock;
use rows::Rows;

/// Blobs in one update of a lane: more than the largest commitment takes.
const ENTRIES: usize = 256;
/// Blocks whose commitments are remembered, for blobs that come late (RELIABILITY L9).
const REMEMBERED: usize = 1_008;

/// A lane as it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Lane {
    /// Its last update.
    head: Head,
    /// Bytes of its blobs.
    bytes: u64,
}
record!(struct Lane { head, bytes });

/// A breach, and what is done about it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Case {
    /// Whose blobs have opened.
    lanes: Vec<ChannelId>,
    /// One for each kit that did: there is one, unless somebody plays tricks.
    avengers: Vec<Avenger>,
}
record!(struct Case { lanes list, avengers list });

/// What the operator should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// A revoked commitment that blobs opened with.
    Breach {
        /// The lane.
        lane: ChannelId,
        /// The commitment.
        txid: Txid,
        /// Where it confirmed.
        height: BlockHeight,
    },
    /// A claim of ours confirmed.
    Claimed {
        /// The lane.
        lane: ChannelId,
        /// The claim.
        txid: Txid,
        /// Where it confirmed.
        height: BlockHeight,
        /// What it pays the client.
        value: bitcoin::Amount,
    },
}

/// What waits for the next commit.
#[derive(Default)]
struct Batch {
    receipts: Vec<Receipt>,
    replaced: Vec<ChannelId>,
    locators: BTreeSet<Locator>,
}

#[derive(Default)]
struct State {
    tip: Option<(BlockHash, BlockHeight)>,
    lanes: BTreeMap<ChannelId, Lane>,
    cases: BTreeMap<Txid, Case>,
    /// Commitments of late, by block, as blobs would look for them.
    recent: VecDeque<(BlockHeight, Vec<Locator>)>,
    /// Old blocks that a blob has come for.
    late: BTreeSet<BlockHeight>,
    open: Batch,
    receipts: VecDeque<Receipt>,
    replaced: VecDeque<ChannelId>,
    gone: VecDeque<ChannelId>,
    news: VecDeque<News>,
}

/// One client's blobs.
pub struct Vault {
    client: NodeId,
    rows: Rows,
    shared: Shared,
    state: Mutex<State>,
}

impl Vault {
    /// Reads what there is: lanes and breaches, no blobs.
    ///
    /// # Errors
    /// When the store cannot be read, or is damaged.
    pub fn open(client: NodeId, store: Arc<RedbStore>, shared: &Shared) -> Result<Self, StoreError> {
        let rows = Rows::new(store);
        let (lanes, cases) = (rows.lanes()?, rows.cases()?);
        for avenger in cases.values().flat_map(|case| &case.avengers) {
            for (claim, coins, change) in avenger.loans() {
                shared.coins.hold(claim, &coins, change);
            }
        }
        let state = State { tip: rows.tip()?, lanes, cases, ..State::default() };
        Ok(Self { client, rows, shared: shared.clone(), state: Mutex::new(state) })
    }

    /// Takes the next update of a lane; the first has the number 0.
    pub fn take(&self, update: &ChannelMonitorUpdate, max_lanes: usize) -> Persist {
        let (lane, id) = (update.channel, update.id);
        let Some(content) = content_of(update) else {
            return Persist::Refused(MonitorRefusal::Contradiction);
        };
        let mut state = lock(&self.state);
        let expected = match state.lanes.get(&lane) {
            Some(known) => known.head.id.next(),
            None if state.lanes.len() >= max_lanes => {
                return Persist::Refused(MonitorRefusal::UnknownChannel);
            }
            None => UpdateId(0),
        };
        if id < expected {
            // It was taken; the service has compared the names.
            return Persist::Durable(update.receipt());
        }
        if id > expected {
            return Persist::Refused(MonitorRefusal::OutOfOrder { expected, got: id });
        }
        self.keep(&mut state, update, &content);
        state.open.receipts.push(update.receipt());
        Persist::InProgress
    }

    fn keep(&self, state: &mut State, update: &ChannelMonitorUpdate, content: &LaneContent) {
        let bytes = update.to_versioned();
        let lane = state.lanes.entry(update.channel);
        let head = Head { id: update.id, name: Some(Name::of_update(update)) };
        let lane = lane.or_insert(Lane { head, bytes: 0 });
        lane.head = head;
        lane.bytes = lane.bytes.saturating_add(bytes.len() as u64);
        let lane = *lane;
        for entry in &content.entries {
            state.open.locators.insert(Locator(entry.locator));
        }
        self.rows.put_update(update, bytes, content);
        self.rows.put_lane(update.channel, &lane);
    }

    /// Takes what a client has still of a lane that it and we do not agree on. What is here stays.
    pub fn replace(
        &self,
        lane: ChannelId,
        whole: &ChannelState,
        max_lanes: usize,
    ) -> Result<(), MonitorRefusal> {
        let mut updates = Vec::new();
        for bytes in &whole.stored.updates {
            let update = ChannelMonitorUpdate::from_versioned(bytes);
            let update = update.map_err(|_| MonitorRefusal::Contradiction)?;
            let content = content_of(&update).filter(|_| update.channel == lane);
            updates.push((content.ok_or(MonitorRefusal::Contradiction)?, update));
        }
        let last = updates.last().map(|(_, update)| update.id);
        if last != Some(whole.stored.last_update) {
            return Err(MonitorRefusal::Contradiction);
        }
        let mut state = lock(&self.state);
        if !state.lanes.contains_key(&lane) && state.lanes.len() >= max_lanes {
            return Err(MonitorRefusal::UnknownChannel);
        }
        for (content, update) in &updates {
            self.keep(&mut state, update, content);
        }
        state.open.replaced.push(lane);
        Ok(())
    }

    /// What waits now is about to be committed.
    pub fn begin_commit(&self) -> Committing {
        Committing(core::mem::take(&mut lock(&self.state).open))
    }

    /// It is durable, or not.
    pub fn end_commit(&self, Committing(batch): Committing, is_durable: bool) -> bool {
        let mut state = lock(&self.state);
        if !is_durable {
            let later = core::mem::replace(&mut state.open, batch);
            state.open.receipts.extend(later.receipts);
            state.open.replaced.extend(later.replaced);
            state.open.locators.extend(later.locators);
            return false;
        }
        let is_any = !batch.receipts.is_empty() || !batch.replaced.is_empty();
        state.receipts.extend(batch.receipts);
        state.replaced.extend(batch.replaced);
        // A breach may have come before the blob against it (RELIABILITY L9).
        let State { recent, late, .. } = &mut *state;
        for (height, locators) in recent.iter() {
            if locators.iter().any(|locator| batch.locators.contains(locator)) {
                late.insert(*height);
            }
        }
        is_any
    }

    /// The next receipt.
    pub fn next_receipt(&self) -> Option<Receipt> {
        lock(&self.state).receipts.pop_front()
    }

    /// The next [`Vault::replace`] that is durable.
    pub fn next_replaced(&self) -> Option<ChannelId> {
        lock(&self.state).replaced.pop_front()
    }

    /// The next lane that is kept no longer.
    pub fn next_gone(&self) -> Option<ChannelId> {
        lock(&self.state).gone.pop_front()
    }

    /// The next thing that the operator should know.
    pub fn next_news(&self) -> Option<News> {
        lock(&self.state).news.pop_front()
    }

    /// How far each lane goes.
    pub fn heads(&self) -> Vec<Kept> {
        lock(&self.state).lanes.iter().map(|(lane, kept)| Kept { channel: *lane, head: kept.head }).collect()
    }

    /// Bytes of blobs.
    pub fn used(&self) -> u64 {
        lock(&self.state).lanes.values().map(|lane| lane.bytes).fold(0, u64::saturating_add)
    }

    /// Lanes.
    pub fn lanes(&self) -> usize {
        lock(&self.state).lanes.len()
    }

    /// Something that only this mode understands.
    pub fn on_other(&self, kind: u16, body: &[u8]) -> Option<(u16, Vec<u8>)> {
        match kind {
            AUDIT => {
                let audit = Audit::from_bytes(body).ok()?;
                let found = self.rows.update(audit.lane, audit.id);
                Some((AUDITED, Audited::sign(self.client, audit, found, &self.shared.statements).to_bytes()))
            }
            RELEASE => {
                self.release(ChannelId(body.try_into().ok()?));
                None
            }
            _ => None,
        }
    }

    /// The client is done with a lane. While a breach of it is being punished, it stays (RELIABILITY L14).
    fn release(&self, lane: ChannelId) {
        let mut state = lock(&self.state);
        if state.cases.values().all(|case| !case.lanes.contains(&lane)) {
            self.drop_lane(&mut state, lane);
        }
    }

    fn drop_lane(&self, state: &mut State, lane: ChannelId) {
        if state.lanes.remove(&lane).is_some() {
            self.rows.drop_lane(lane);
            state.gone.push_back(lane);
        }
    }
}

/// What is being committed.
pub struct Committing(Batch);

fn content_of(update: &ChannelMonitorUpdate) -> Option<LaneContent> {
    let content = LaneContent::of(update)?;
    let is_sound = content.entries.iter().all(|entry| entry.body.len() == BLOB);
    (is_sound && (1..=ENTRIES).contains(&content.entries.len())).then_some(content)
}
