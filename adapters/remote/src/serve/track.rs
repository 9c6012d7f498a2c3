//! How far one channel is durable, whatever the order of receipts.
//!
//! # Invariants
//! - the durable head has no gap below it
use std::collections::BTreeMap;

use lightning_traits::id::UpdateId;

use crate::wire::{Head, Name};

/// An update on its way to the disk.
#[derive(Clone, Copy, Debug)]
struct Open {
    name: Name,
    size: usize,
    is_durable: bool,
}

/// What is known of an update before it is handed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// Nothing.
    New,
    /// It is on its way.
    Open,
    /// It is durable.
    Durable,
    /// Another was taken by this id.
    Other,
}

/// One channel.
#[derive(Clone, Debug, Default)]
pub(super) struct Track {
    durable: Option<Head>,
    open: BTreeMap<UpdateId, Open>,
}

impl Track {
    pub(super) const fn at(head: Head) -> Self {
        Self { durable: Some(head), open: BTreeMap::new() }
    }

    pub(super) const fn durable(&self) -> Option<Head> {
        self.durable
    }

    pub(super) fn is_void(&self) -> bool {
        self.durable.is_none() && self.open.is_empty()
    }

    pub(super) fn known(&self, id: UpdateId, name: Name) -> Known {
        if let Some(head) = self.durable.filter(|head| id <= head.id) {
            let differs = id == head.id && head.name.is_some_and(|known| known != name);
            return if differs { Known::Other } else { Known::Durable };
        }
        match self.open.get(&id) {
            Some(open) if open.name == name => Known::Open,
            Some(_) => Known::Other,
            None => Known::New,
        }
    }

    pub(super) fn start(&mut self, id: UpdateId, name: Name, size: usize) {
        self.open.insert(id, Open { name, size, is_durable: false });
    }

    /// Forgets this one and all behind it; gives back their size.
    pub(super) fn withdraw(&mut self, from: UpdateId) -> usize {
        self.open.split_off(&from).values().map(|open| open.size).fold(0, usize::saturating_add)
    }

    /// Notes a receipt; `None` when nothing waits for it, else the bytes that are done and whether the head moved.
    pub(super) fn on_receipt(&mut self, id: UpdateId) -> Option<(usize, bool)> {
        self.open.get_mut(&id)?.is_durable = true;
        let mut done = (0_usize, false);
        loop {
            let next = self.durable.map_or(UpdateId(0), |head| head.id.next());
            let Some(open) = self.open.get(&next).filter(|open| open.is_durable) else { return Some(done) };
            done = (done.0.saturating_add(open.size), true);
            self.durable = Some(Head { id: next, name: Some(open.name) });
            self.open.remove(&next);
        }
    }
}
