//! One channel before its gate: what the leader has, what the seats have, and what may open.
//!
//! # Invariants
//! - an update is forwarded when the leader has it and all before it, in order
//! - no receipt is made here: the leader's own is kept, and goes on once enough others hold the update too
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use lightning_traits::id::UpdateId;
use lightning_traits::monitor::{ChannelMonitorUpdate, NewMonitor, Receipt};

use super::Below;

/// What is handed over.
#[derive(Clone, Debug)]
pub(super) enum Handed {
    New(Box<NewMonitor>),
    Update(ChannelMonitorUpdate),
}

/// An update whose gate is closed.
#[derive(Debug)]
struct Held {
    /// Until the leader has it.
    handed: Option<Handed>,
    /// From when the leader has it.
    receipt: Option<Receipt>,
}

/// How the members stand with one channel. Counts are of updates: the last id and one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Votes {
    /// Members that answer, the leader among them.
    pub(super) up: usize,
    /// How many must hold an update.
    pub(super) needed: usize,
    /// The highest count that `needed` of them hold.
    pub(super) held_by_enough: u64,
    /// The same, where a member that was not heard since the start is taken to hold what the leader held then.
    pub(super) assumed_by_enough: u64,
    /// The highest count that all hold without whom nothing opens.
    pub(super) held_by_required: u64,
}

/// One seat's vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Vote {
    /// What it is known to hold.
    pub(super) held: Option<u64>,
    pub(super) is_required: bool,
    pub(super) is_up: bool,
}

impl Votes {
    /// From the counts of the leader, now and at the start, and the votes of the seats.
    pub(super) fn of(leader: u64, start: u64, needed: usize, seats: &[Vote]) -> Self {
        let by_enough = |unheard: u64| {
            let seats = seats.iter().map(|vote| vote.held.unwrap_or(unheard));
            let mut counts: Vec<u64> = seats.chain([leader]).collect();
            counts.sort_unstable_by(|a, b| b.cmp(a));
            counts.get(needed.saturating_sub(1)).copied().unwrap_or(0)
        };
        let required = seats.iter().filter(|vote| vote.is_required).map(|vote| vote.held.unwrap_or(0));
        Self {
            up: seats.iter().filter(|vote| vote.is_up).count().saturating_add(1),
            needed,
            held_by_enough: by_enough(0),
            assumed_by_enough: by_enough(start),
            held_by_required: required.min().unwrap_or(u64::MAX),
        }
    }

    pub(super) const fn is_degraded(&self) -> bool {
        self.up < self.needed
    }

    /// Up to which count gates may open.
    pub(super) fn limit(&self, below: Below) -> u64 {
        let enough = match below {
            Below::Degrade { max_unacked } if self.is_degraded() => {
                self.assumed_by_enough.saturating_add(max_unacked)
            }
            Below::Degrade { .. } | Below::Freeze => self.held_by_enough,
        };
        enough.min(self.held_by_required)
    }
}

#[derive(Debug, Default)]
pub(super) struct Lane {
    held: BTreeMap<UpdateId, Held>,
    /// How many updates the leader holds, without a gap.
    pub(super) leader: u64,
    /// How many it held when the node started.
    pub(super) start: u64,
    /// Seats that have refused the channel.
    pub(super) out: BTreeSet<usize>,
    /// Whether what was durable before a restart is held by enough members; until then nobody should talk.
    pub(super) is_settled: bool,
    /// Whether it was said that it stands still.
    pub(super) was_told: bool,
    /// Whether the channel has heard from the leader that it is over: no peer will hear of it again.
    pub(super) is_over: bool,
}

impl Lane {
    /// After a restart.
    pub(super) fn at(last: UpdateId) -> Self {
        let count = last.0.saturating_add(1);
        Self { leader: count, start: count, ..Self::default() }
    }

    /// Of a channel that begins.
    pub(super) fn begin() -> Self {
        Self { is_settled: true, ..Self::default() }
    }

    /// Whether nothing was ever taken.
    pub(super) fn is_void(&self) -> bool {
        self.leader == 0 && self.held.is_empty()
    }

    pub(super) fn is_waiting(&self, id: UpdateId) -> bool {
        self.held.contains_key(&id)
    }

    pub(super) fn is_idle(&self) -> bool {
        self.held.is_empty() && self.is_settled
    }

    pub(super) fn hold(&mut self, id: UpdateId, handed: Handed) {
        self.held.insert(id, Held { handed: Some(handed), receipt: None });
    }

    /// The leader refuses this one, and all behind it are void.
    pub(super) fn take_back(&mut self, from: UpdateId) {
        self.held.split_off(&from);
    }

    /// The leader has this one; gives what can be forwarded now.
    pub(super) fn on_receipt(&mut self, receipt: Receipt) -> VecDeque<Handed> {
        if let Some(held) = self.held.get_mut(&receipt.id()) {
            held.receipt = Some(receipt);
        }
        let mut ready = VecDeque::new();
        while let Some(held) = self.held.get_mut(&UpdateId(self.leader)).filter(|held| held.receipt.is_some())
        {
            ready.extend(held.handed.take());
            self.leader = self.leader.saturating_add(1);
        }
        ready
    }

    /// Opens what may open.
    pub(super) fn open(&mut self, limit: u64) -> Vec<Receipt> {
        let limit = limit.min(self.leader);
        let closed = self.held.split_off(&UpdateId(limit));
        let open = core::mem::replace(&mut self.held, closed);
        open.into_values().filter_map(|held| held.receipt).collect()
    }

    /// Whether something that the leader has waits for others.
    pub(super) fn is_frozen(&self) -> bool {
        self.held.values().any(|held| held.receipt.is_some())
    }
}
