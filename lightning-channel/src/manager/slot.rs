//! One channel behind its own small lock, and the turn to carry out its outputs.
//!
//! # Invariants
//! - outputs of one channel are carried out one after the other, in the order in which the channel gave them, whichever
//!   threads step it: only the holder of the turn polls, and gives it back under the lock that showed it nothing more
use lightning_traits::id::{ChannelId, NodeId, ShortChannelId};
use lightning_traits::interface::KeysInterface;
use lightning_traits::sync::{Mutex, MutexGuard};

use super::outbox::Session;
use crate::channel::{Channel, Output};

/// A channel of the manager.
pub(crate) struct Slot<K: KeysInterface> {
    /// The peer, which never changes.
    pub(crate) peer: NodeId,
    /// Whether the peer proposed the channel.
    pub(crate) is_theirs: bool,
    inner: Mutex<Inner<K>>,
}

/// What the lock guards.
pub(crate) struct Inner<K: KeysInterface> {
    pub(crate) channel: Channel<K>,
    /// The connection that the channel's messages are for.
    pub(crate) session: Option<Session>,
    is_draining: bool,
    names: Names,
}

/// Everything that the channel can be found by, and counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Names {
    /// Its id, temporary at first.
    pub(crate) id: ChannelId,
    /// The alias that we gave to the peer.
    pub(crate) alias: Option<ShortChannelId>,
    /// The real id, unless the channel's type hides it.
    pub(crate) scid: Option<ShortChannelId>,
    /// Whether its funding transaction is in a block.
    pub(crate) is_confirmed: bool,
}

/// The next output, or why there is none.
#[allow(clippy::large_enum_variant, reason = "lives for one turn of a loop")]
pub(crate) enum Polled {
    /// Carry it out.
    Output(Output, Option<Session>),
    /// Nothing to do now; whether the channel need not be kept.
    Idle { is_finished: bool },
}

impl<K: KeysInterface> Slot<K> {
    pub(crate) fn new(channel: Channel<K>, session: Option<Session>) -> Self {
        let names = names(&channel);
        let (peer, is_theirs) = (channel.peer(), channel.is_theirs());
        Self { peer, is_theirs, inner: Mutex::new(Inner { channel, session, is_draining: false, names }) }
    }

    /// The channel. Nothing foreign but signer, entropy and log may be called while it is held (I7).
    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner<K>> {
        self.inner.lock()
    }

    /// Takes the turn, unless somebody has it: then that one carries out what is there.
    pub(crate) fn take_turn(&self) -> Option<Turn<'_, K>> {
        let mut inner = self.lock();
        if inner.is_draining {
            return None;
        }
        inner.is_draining = true;
        Some(Turn { slot: self, is_over: false })
    }
}

impl<K: KeysInterface> Inner<K> {
    /// The names before and now, when a step has changed them.
    pub(crate) fn renamed(&mut self) -> Option<(Names, Names)> {
        let now = names(&self.channel);
        let before = core::mem::replace(&mut self.names, now);
        (before != now).then_some((before, now))
    }

    /// The names.
    pub(crate) const fn names(&self) -> Names {
        self.names
    }
}

fn names<K: KeysInterface>(channel: &Channel<K>) -> Names {
    let (alias, scid) = channel.forwarding_ids();
    Names { id: channel.id(), alias, scid, is_confirmed: channel.is_confirmed() }
}

/// The right to carry out a channel's outputs.
pub(crate) struct Turn<'a, K: KeysInterface> {
    slot: &'a Slot<K>,
    is_over: bool,
}

impl<K: KeysInterface> Turn<'_, K> {
    /// The next output. The turn is over when there is none.
    pub(crate) fn poll(&mut self) -> Polled {
        let mut inner = self.slot.lock();
        match inner.channel.poll() {
            Some(output) => Polled::Output(output, inner.session),
            None => {
                inner.is_draining = false;
                self.is_over = true;
                Polled::Idle { is_finished: inner.channel.is_finished() }
            }
        }
    }
}

/// A panic of whoever carried out an output must not silence the channel.
impl<K: KeysInterface> Drop for Turn<'_, K> {
    fn drop(&mut self) {
        if !self.is_over {
            self.slot.lock().is_draining = false;
        }
    }
}
