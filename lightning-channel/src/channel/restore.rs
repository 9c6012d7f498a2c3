//! A channel from its durable record.
//!
//! There is no other restart logic: what is not decided, told or acknowledged comes out of [`Channel::poll`] as in any other
//! step, and what was under way with the peer is derived again at its `channel_reestablish`.
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use lightning_traits::codec::DecodeError;
use lightning_traits::id::UpdateId;
use lightning_traits::interface::KeysInterface;
use thiserror::Error;

use super::context::Context;
use super::effects::Outbox;
use super::link::Link;
use super::open::Funded;
use super::record::{Durable, Journal, Log};
use super::resolving::Resolving;
use super::{Channel, Phase};
use crate::payment::onion;
use crate::terms::Terms;

/// Why a record is no channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// The bytes are of a later age, or were never a record.
    #[error("the record does not decode: {0}")]
    Decode(DecodeError),
    /// A checksum is wrong: the store, or what is below it, has changed what it was given.
    #[error("the record is damaged: its checksum is wrong")]
    Damaged,
}

impl From<DecodeError> for RestoreError {
    fn from(error: DecodeError) -> Self {
        if error == DecodeError::BadChecksum { Self::Damaged } else { Self::Decode(error) }
    }
}

impl<K: KeysInterface> Channel<K> {
    /// The channel that `snapshot` and the `changes` after it say, the last of which was part of update `last`.
    ///
    /// # Errors
    /// When the record is damaged, or does not decode.
    pub fn restore(
        cx: &Context<'_, K>,
        snapshot: &[u8],
        changes: &[Vec<u8>],
        last: UpdateId,
    ) -> Result<Self, RestoreError> {
        let mut durable = Durable::read(snapshot, changes)?;
        if let Durable::Funded(state) = &mut durable {
            let built = state.build_onions(|recipe| onion::rebuild(cx.secp, recipe));
            built.ok_or(RestoreError::Decode(DecodeError::InvalidValue("what an onion is built from")))?;
        }
        let terms: &Terms = match &durable {
            Durable::Funded(state) => state.terms(),
            Durable::Resolving(state) => state.commitments().terms(),
        };
        let (id, peer, keys) = (terms.channel, terms.peer, terms.keys);
        let temporary = match &durable {
            Durable::Funded(state) => state.facts().temporary,
            Durable::Resolving(_) => id,
        };
        let next = last.next();
        let log = Log::of(snapshot, changes);
        let phase = match durable {
            Durable::Funded(state) => Phase::Funded(Link::offline(state)),
            Durable::Resolving(state) => Phase::Resolving(state),
        };
        let mut channel = Self {
            id,
            temporary,
            peer,
            signer: cx.keys.signer(&keys),
            phase,
            outbox: Outbox::new(next),
            journal: Journal::new(id, next, log),
            connection: None,
            held: VecDeque::new(),
            deaf: false,
            doubted: false,
            waited: 0,
        };
        channel.resume(cx);
        Ok(channel)
    }

    /// Tells again what the record says is not done.
    fn resume(&mut self, cx: &Context<'_, K>) {
        let (phase, mut step) = self.split(cx);
        match phase {
            Phase::Funded(link) => {
                let state: &mut Funded = link.any().0;
                state.forget_uncommitted(&mut step);
                let undecided: Vec<_> = state.commitments().pending_incoming().cloned().collect();
                let (notices, events) = (state.commitments().notices(), state.untold_events());
                let mut gated = step.effects.after_all();
                if state.is_certain() {
                    for htlc in undecided {
                        gated.incoming(htlc);
                    }
                } else {
                    state.withhold_all(undecided);
                }
                for notice in notices {
                    gated.notice(notice);
                }
                for event in events {
                    gated.event(event);
                }
                state.announce_again(&mut step);
                self.rebroadcast(cx);
            }
            Phase::Resolving(state) => {
                let state: &mut Box<Resolving> = state;
                // The monitor may still claim what its user has, or another part of the same payment (RELIABILITY J1).
                let undecided = state.undecided();
                let mut gated = step.effects.after_all();
                for htlc in undecided {
                    gated.incoming(htlc);
                }
                for notice in state.commitments().notices() {
                    gated.notice(notice);
                }
                if let Some(event) = state.untold_event() {
                    gated.event(event);
                }
                step.effects.seal(None);
            }
            Phase::Opening(_) | Phase::Closed(_) => {}
        }
    }

    /// The whole durable state, as a snapshot would have it.
    #[must_use]
    pub fn snapshot(&self) -> Option<Vec<u8>> {
        match &self.phase {
            Phase::Funded(link) => Some(super::record::snapshot_funded(link.state())),
            Phase::Resolving(state) => Some(super::record::snapshot_resolving(state)),
            Phase::Opening(_) | Phase::Closed(_) => None,
        }
    }
}
