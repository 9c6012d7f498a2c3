//! Channels that came late, or from elsewhere: the blocks since they were made are still to be looked at.
//!
//! What a node says that its monitor has seen of the chain is not believed: its blocks may be gone. So a channel that comes whole is
//! looked for like one that comes late, from the height at which it was made.
//!
//! # Invariants
//! - that a past is to be looked at is as durable as the channel, and forgotten when all of it was (RELIABILITY L2, L9)
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bitcoin::OutPoint;
use bitcoin::hex::DisplayHex as _;
use lightning_store_redb::{RedbStore, StoreError};
use lightning_traits::codec::{Encode as _, Reader};
use lightning_traits::id::ChannelId;
use lightning_traits::record;
use lightning_traits::units::BlockHeight;

const ROWS: &str = "past/";

/// A channel whose past must be looked at, from this height on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LookBack {
    /// The channel.
    pub channel: ChannelId,
    /// The first block to look at.
    pub from: BlockHeight,
    /// Its funding output: while it is unspent there is nothing to find.
    pub funding: OutPoint,
}
record!(struct LookBack { channel, from, funding });

/// The pasts of one client's channels.
pub(crate) struct Pasts {
    store: Arc<RedbStore>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Those that nobody has begun to look at.
    waiting: BTreeMap<ChannelId, LookBack>,
    /// Those that are looked at.
    begun: BTreeMap<ChannelId, LookBack>,
}

impl Pasts {
    /// Those that were not looked at to the end when the tower stopped.
    pub(crate) fn open(store: &Arc<RedbStore>) -> Result<Self, StoreError> {
        let mut waiting = BTreeMap::new();
        for (_, bytes) in store.list(ROWS)? {
            let damaged = |error| StoreError::Damaged(format!("a past to look at: {error}"));
            let look_back: LookBack = Reader::new(&bytes).read().map_err(damaged)?;
            waiting.insert(look_back.channel, look_back);
        }
        let state = Mutex::new(State { waiting, ..State::default() });
        Ok(Self { store: Arc::clone(store), state })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A past is to be looked at. It is queued for the disk: the channel is to be queued after it.
    pub(crate) fn note(&self, look_back: LookBack) {
        self.store.put(&row(look_back.channel), look_back.to_bytes());
        let mut state = self.lock();
        state.begun.remove(&look_back.channel);
        state.waiting.insert(look_back.channel, look_back);
    }

    /// Those that nobody has begun to look at: somebody does now.
    pub(crate) fn take(&self) -> Vec<LookBack> {
        let mut state = self.lock();
        let waiting = core::mem::take(&mut state.waiting);
        state.begun.extend(waiting.clone());
        waiting.into_values().collect()
    }

    /// They could not be looked at yet.
    pub(crate) fn later(&self, look_backs: Vec<LookBack>) {
        let mut state = self.lock();
        for look_back in look_backs {
            if state.begun.remove(&look_back.channel).is_some() {
                state.waiting.entry(look_back.channel).or_insert(look_back);
            }
        }
    }

    /// Whether none waits to be begun with.
    pub(crate) fn are_begun(&self) -> bool {
        self.lock().waiting.is_empty()
    }

    /// All that was begun with is done.
    pub(crate) fn done(&self) {
        for channel in core::mem::take(&mut self.lock().begun).into_keys() {
            self.store.remove(&row(channel));
        }
    }
}

fn row(channel: ChannelId) -> String {
    format!("{ROWS}{}", channel.0.to_lower_hex_string())
}
