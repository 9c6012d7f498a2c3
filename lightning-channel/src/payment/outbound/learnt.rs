//! What the attempts of one payment have taught it. Dies with the payment.
//!
//! # Invariants
//! - each lesson about a direction is harder than the one before: terms at first, then less, then nothing at all. So the
//!   directions that a payment can try run out, whatever nodes answer (RELIABILITY F10)
use alloc::collections::{BTreeMap, BTreeSet};

use lightning_traits::route::{ChannelAmount, DirectedChannel, LearntTerms, Path, RouteQuery};
use lightning_traits::units::Msat;

/// What one attempt teaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lesson {
    /// The direction is of no use to this payment.
    Avoid(DirectedChannel),
    /// The direction did not carry this amount, beside what other parts of the payment have on it.
    CarriesLess(DirectedChannel, Msat),
    /// The node at the start of the direction asks for other terms than we thought.
    Terms(LearntTerms),
}

/// Everything learnt.
#[derive(Clone, Debug, Default)]
pub(super) struct Learnt {
    avoided: BTreeSet<DirectedChannel>,
    /// What all parts together may take of a direction.
    limits: BTreeMap<DirectedChannel, Msat>,
    terms: BTreeMap<DirectedChannel, LearntTerms>,
}

impl Learnt {
    /// Takes a lesson; `in_use` are the paths of the payment's other parts.
    pub(super) fn learn(&mut self, lesson: Lesson, in_use: &BTreeMap<DirectedChannel, Msat>) {
        match lesson {
            Lesson::Avoid(channel) => {
                self.avoided.insert(channel);
            }
            Lesson::CarriesLess(channel, amount) => {
                let used = in_use.get(&channel).copied().unwrap_or(Msat::ZERO);
                // What a channel holds is somewhere below what it refused, and nobody knows where: half of it is the best guess.
                let half = Msat::new(amount.to_msat().checked_div(2).unwrap_or(0));
                let most = used.saturating_add(half);
                let limit = self.limits.entry(channel).or_insert(most);
                *limit = most.min(*limit);
            }
            // Terms that change twice within a payment are a game.
            Lesson::Terms(terms) if self.terms.contains_key(&terms.channel) => {
                self.avoided.insert(terms.channel);
            }
            Lesson::Terms(terms) => {
                self.terms.insert(terms.channel, terms);
            }
        }
    }

    /// Our own channel did not take a part: less of it the first time, none the second.
    pub(super) fn refused(
        &mut self,
        channel: DirectedChannel,
        amount: Msat,
        in_use: &BTreeMap<DirectedChannel, Msat>,
    ) {
        let lesson = if self.limits.contains_key(&channel) {
            Lesson::Avoid(channel)
        } else {
            Lesson::CarriesLess(channel, amount)
        };
        self.learn(lesson, in_use);
    }

    /// Puts what is known into a question.
    pub(super) fn put(&self, query: &mut RouteQuery, in_use: BTreeMap<DirectedChannel, Msat>) {
        query.excluded = self.avoided.iter().copied().collect();
        let limits = self.limits.iter().map(|(channel, limit)| {
            let used = in_use.get(channel).copied().unwrap_or(Msat::ZERO);
            ChannelAmount { channel: *channel, amount: limit.saturating_sub(used) }
        });
        query.limits = limits.collect();
        query.learnt = self.terms.values().copied().collect();
        // What our own channels can still send is known without.
        let payer = query.payer;
        let others = in_use.into_iter().filter(|(channel, _)| channel.from != payer);
        query.in_use = others.map(|(channel, amount)| ChannelAmount { channel, amount }).collect();
    }
}

/// What paths take of each direction.
pub(super) fn in_use<'a>(
    payer: lightning_traits::id::NodeId,
    paths: impl IntoIterator<Item = &'a Path>,
) -> BTreeMap<DirectedChannel, Msat> {
    let mut used: BTreeMap<DirectedChannel, Msat> = BTreeMap::new();
    for path in paths {
        let starts = core::iter::once(payer).chain(path.hops.iter().map(|hop| hop.node));
        for (from, hop) in starts.zip(&path.hops) {
            let amount = used.entry(DirectedChannel { scid: hop.scid, from }).or_insert(Msat::ZERO);
            *amount = amount.saturating_add(hop.amount);
        }
    }
    used
}
