//! What payments have learnt of channels: between which bounds a balance lies, and since when.
//!
//! An attempt that passed a channel says that there was at least as much; one that failed there says that there was less. The
//! two directions of a channel share one balance, so one is told of both. Knowledge fades: within [`MEMORY`] blocks the
//! bounds go back to where nothing is known.
//!
//! `prior.rs` how likely an amount passes, with bounds and without.
//!
//! # Invariants
//! - nothing here enters the graph, and so nothing of it is ever told to peers (RELIABILITY F13)
//! - no channel is ever impossible for what was learnt of it
mod prior;

use alloc::vec::Vec;

use lightning_traits::id::{NodeId, ShortChannelId};
use lightning_traits::units::{BlockHeight, Msat};

use crate::flat::{Edge, FlatGraph};

pub use prior::Prior;
pub(crate) use prior::{BIT, LEAST_LIKELY};
use prior::{Likelihood, WHOLE};

/// Blocks after which nothing is left of what was learnt: a day.
const MEMORY: u32 = 144;

/// What is known of the balance of one channel, in millisatoshis of the first node's side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Belief {
    scid: ShortChannelId,
    capacity: u64,
    least: u64,
    least_at: BlockHeight,
    most: u64,
    most_at: BlockHeight,
}

impl Belief {
    /// The bounds as they are worth at a height.
    fn at(&self, height: BlockHeight) -> (u64, u64) {
        let fade = |value: u64, since: BlockHeight| {
            let age = height.get().saturating_sub(since.get()).min(MEMORY);
            let left = u128::from(value).saturating_mul(u128::from(MEMORY.saturating_sub(age)));
            u64::try_from(left / u128::from(MEMORY)).unwrap_or(value)
        };
        let least = fade(self.least, self.least_at);
        let missing = fade(self.capacity.saturating_sub(self.most), self.most_at);
        (least, self.capacity.saturating_sub(missing))
    }

    fn is_forgotten(&self, height: BlockHeight) -> bool {
        self.least_at.plus(MEMORY) <= height && self.most_at.plus(MEMORY) <= height
    }

    /// The balance was at least this.
    fn raise(&mut self, least: u64, height: BlockHeight) {
        let (old, most) = self.at(height);
        (self.least, self.least_at) = (old.max(least).min(self.capacity), height);
        if most < self.least {
            (self.most, self.most_at) = (self.capacity, height);
        }
    }

    /// The balance was at most this.
    fn lower(&mut self, most: u64, height: BlockHeight) {
        let (least, old) = self.at(height);
        (self.most, self.most_at) = (old.min(most), height);
        if self.most < least {
            (self.least, self.least_at) = (0, height);
        }
    }

    /// An amount went over to the second node's side, or came from there.
    fn shift(&mut self, away: bool, amount: u64, height: BlockHeight) {
        let (least, most) = self.at(height);
        let moved = |value: u64| {
            if away { value.saturating_sub(amount) } else { value.saturating_add(amount).min(self.capacity) }
        };
        (self.least, self.most) = (moved(least), moved(most));
        (self.least_at, self.most_at) = (height, height);
    }
}

/// What became of a channel in an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trial {
    /// It could carry the amount, which then came back.
    Passed,
    /// It carried the amount for good.
    Paid,
    /// It could not carry the amount.
    Failed,
}

/// All that was learnt.
#[derive(Clone, Debug)]
pub(crate) struct Knowledge {
    likelihood: Likelihood,
    beliefs: Vec<Belief>,
    /// By the number of a channel in the flat graph: 1 above the place of its belief, or 0.
    places: Vec<u32>,
}

impl Knowledge {
    pub(crate) fn new(prior: Prior) -> Self {
        Self { likelihood: Likelihood::new(prior), beliefs: Vec::new(), places: Vec::new() }
    }

    /// Bits of an edge that carries `amount`.
    pub(crate) fn bits(&self, flat: &FlatGraph, edge: &Edge, amount: u64, height: BlockHeight) -> u32 {
        if edge.share == 0.0 {
            return 0;
        }
        match self.belief(flat, edge) {
            None => self.likelihood.unknown(share(edge, amount)),
            Some(belief) => {
                let (mut least, mut most) = belief.at(height);
                if edge.direction & 1 == 1 {
                    (least, most) =
                        (belief.capacity.saturating_sub(most), belief.capacity.saturating_sub(least));
                }
                if amount > most {
                    return LEAST_LIKELY;
                }
                let [amount, least] = [amount, least].map(|value| share(edge, value));
                let most = if most >= belief.capacity { WHOLE } else { share(edge, most.saturating_add(1)) };
                self.likelihood.known(amount, least, most)
            }
        }
    }

    fn belief(&self, flat: &FlatGraph, edge: &Edge) -> Option<&Belief> {
        let place = self.places.get((edge.direction >> 1) as usize)?.checked_sub(1)?;
        let belief = self.beliefs.get(place as usize)?;
        (flat.scid_of(edge.direction) == Some(belief.scid)).then_some(belief)
    }

    /// An attempt with this amount over a channel of the graph, from this node, ended so.
    pub(crate) fn learn(
        &mut self,
        flat: &FlatGraph,
        (scid, from): (ShortChannelId, NodeId),
        amount: Msat,
        trial: Trial,
        height: BlockHeight,
    ) {
        let from = flat.node_number(&from);
        let Some((number, side, capacity)) = from.and_then(|from| flat.balance_of(scid, from)) else {
            return;
        };
        let Some(belief) = self.belief_mut(number, scid, capacity, height) else { return };
        let (amount, away) = (amount.to_msat(), side == 0);
        // What the far side has is what the near side has not.
        let rest = belief.capacity.saturating_sub(amount);
        match trial {
            Trial::Passed | Trial::Paid if away => belief.raise(amount, height),
            Trial::Passed | Trial::Paid => belief.lower(rest, height),
            Trial::Failed if away => belief.lower(amount.saturating_sub(1), height),
            Trial::Failed => belief.raise(rest.saturating_add(1), height),
        }
        if trial == Trial::Paid {
            belief.shift(away, amount, height);
        }
    }

    fn belief_mut(
        &mut self,
        number: u32,
        scid: ShortChannelId,
        capacity: u64,
        height: BlockHeight,
    ) -> Option<&mut Belief> {
        let at = number as usize;
        if self.places.len() <= at {
            self.places.resize(at.saturating_add(1), 0);
        }
        let place = self.places.get_mut(at)?;
        let known = place
            .checked_sub(1)
            .filter(|place| self.beliefs.get(*place as usize).is_some_and(|known| known.scid == scid));
        let index = match known {
            Some(index) => index as usize,
            None => {
                self.beliefs.push(Belief {
                    scid,
                    capacity,
                    least: 0,
                    least_at: height,
                    most: capacity,
                    most_at: height,
                });
                *place = self.beliefs.len() as u32;
                self.beliefs.len().saturating_sub(1)
            }
        };
        self.beliefs.get_mut(index)
    }

    /// Forgets what has faded.
    pub(crate) fn forget_before(&mut self, flat: &FlatGraph, height: BlockHeight) {
        let before = self.beliefs.len();
        self.beliefs.retain(|belief| !belief.is_forgotten(height));
        if self.beliefs.len() != before {
            self.find_places(flat);
        }
    }

    /// The flat graph numbers its channels anew.
    pub(crate) fn find_places(&mut self, flat: &FlatGraph) {
        self.places.clear();
        for (at, belief) in (1_u32..).zip(&self.beliefs) {
            let Some(number) = flat.channel_number(belief.scid) else { continue };
            if self.places.len() <= number as usize {
                self.places.resize((number as usize).saturating_add(1), 0);
            }
            if let Some(place) = self.places.get_mut(number as usize) {
                *place = at;
            }
        }
    }
}

/// An amount as a share of an edge's capacity.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share is an estimate; the cast saturates"
)]
fn share(edge: &Edge, amount: u64) -> u32 {
    ((amount as f32) * edge.share) as u32
}
