//! Networks to begin with, and the nodes and chain as they are when all channels are open.
//!
//! To open channels is much of the work of a short run, so each network is set up once a thread; a run begins with copies of
//! the disks and of the chain, as if every machine had been started again.
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use lightning_chain_embedded::EmbeddedChain;

use crate::bank::Bank;
use crate::dice::Dice;
use crate::disk::Durable;
use crate::world::{Link, World};

/// A network: how many nodes, and which channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Shape {
    kind: Kind,
    /// Which nodes want channels without anchors: every `plain`-th; none when zero.
    plain: u8,
    /// Whether nodes use each other's channels before they confirm.
    is_trusting: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Pair,
    DoublePair,
    Line3,
    DoubleLine3,
    Triangle,
    Line4,
    Diamond,
    Star5,
    Ring6,
    Random10,
    Random20,
}

/// How often each comes in a thousand.
const KINDS: &[(Kind, u64)] = &[
    (Kind::Pair, 60),
    (Kind::DoublePair, 80),
    (Kind::Line3, 230),
    (Kind::DoubleLine3, 230),
    (Kind::Triangle, 140),
    (Kind::Line4, 70),
    (Kind::Diamond, 110),
    (Kind::Star5, 40),
    (Kind::Ring6, 28),
    (Kind::Random10, 9),
    (Kind::Random20, 3),
];

impl Shape {
    /// The network of a seed.
    pub(crate) fn of_seed(dice: &mut Dice) -> Self {
        let mut at = dice.roll(1_000);
        let chosen = KINDS.iter().find(|(_, share)| {
            let is_it = at < *share;
            at = at.saturating_sub(*share);
            is_it
        });
        Self {
            kind: chosen.map_or(Kind::Pair, |(kind, _)| *kind),
            plain: [0, 0, 2][dice.pick(3)],
            is_trusting: false,
        }
    }

    /// One of some networks.
    pub(crate) fn of_kinds(kinds: &[Kind], is_trusting: bool, dice: &mut Dice) -> Self {
        Self { kind: dice.of(kinds), plain: [0, 0, 2][dice.pick(3)], is_trusting }
    }

    pub(crate) const fn is_trusting(self) -> bool {
        self.is_trusting
    }

    pub(crate) const fn nodes(self) -> usize {
        match self.kind {
            Kind::Pair | Kind::DoublePair => 2,
            Kind::Line3 | Kind::DoubleLine3 | Kind::Triangle => 3,
            Kind::Line4 | Kind::Diamond => 4,
            Kind::Star5 => 5,
            Kind::Ring6 => 6,
            Kind::Random10 => 10,
            Kind::Random20 => 20,
        }
    }

    /// Whether a node wants channels without anchors.
    pub(crate) const fn is_plain(self, node: usize) -> bool {
        self.plain > 0 && node % self.plain as usize == 1
    }

    /// Channels: who opens, to whom, how large, and what the other side gets, in satoshi.
    fn channels(self) -> Vec<(usize, usize, u64, u64)> {
        let line = |count: usize| (1..count).map(|at| (at - 1, at, 1_000_000, 450_000)).collect::<Vec<_>>();
        match self.kind {
            Kind::Pair => vec![(0, 1, 1_000_000, 400_000)],
            Kind::DoublePair => vec![(0, 1, 1_000_000, 400_000), (1, 0, 500_000, 200_000)],
            Kind::Line3 => vec![(0, 1, 1_000_000, 400_000), (1, 2, 1_000_000, 500_000)],
            Kind::DoubleLine3 => {
                vec![(0, 1, 1_000_000, 400_000), (0, 1, 500_000, 200_000), (1, 2, 1_000_000, 500_000)]
            }
            Kind::Triangle => {
                vec![(0, 1, 1_000_000, 400_000), (1, 2, 1_000_000, 500_000), (0, 2, 700_000, 300_000)]
            }
            Kind::Line4 => line(4),
            Kind::Diamond => vec![
                (0, 1, 600_000, 250_000),
                (0, 2, 600_000, 250_000),
                (1, 3, 600_000, 250_000),
                (2, 3, 600_000, 250_000),
            ],
            Kind::Star5 => (1..5).map(|leaf| (0, leaf, 1_000_000, 500_000)).collect(),
            Kind::Ring6 => (0..6).map(|at| (at, (at + 1) % 6, 1_000_000, 450_000)).collect(),
            Kind::Random10 => random(10, 4),
            Kind::Random20 => random(20, 6),
        }
    }

    /// The network with all channels open.
    pub(crate) fn saved(self) -> Rc<Saved> {
        thread_local! {
            static KNOWN: RefCell<BTreeMap<Shape, Rc<Saved>>> = const { RefCell::new(BTreeMap::new()) };
        }
        KNOWN.with(|known| {
            let found = known.borrow().get(&self).cloned();
            found.unwrap_or_else(|| {
                let saved = Rc::new(self.set_up());
                known.borrow_mut().insert(self, Rc::clone(&saved));
                saved
            })
        })
    }

    fn set_up(self) -> Saved {
        let channels = self.channels();
        let mut world = World::new(self, channels.len() as u32 + 12);
        for (opener, accepter, sat, push) in channels {
            world.propose(opener, accepter, sat, push);
        }
        for _ in 0..8 {
            world.mine(1);
            world.catch_up();
        }
        world.save()
    }
}

/// A chain through all nodes, and some channels across.
fn random(count: usize, across: usize) -> Vec<(usize, usize, u64, u64)> {
    let mut dice = Dice::new(count as u64);
    let mut channels: Vec<_> = (1..count).map(|node| (dice.pick(node), node, 1_000_000, 450_000)).collect();
    for _ in 0..across {
        let (a, b) = (dice.pick(count), dice.pick(count));
        if a != b {
            channels.push((a, b, 800_000, 400_000));
        }
    }
    channels
}

/// All that outlives the machines: what runs begin with.
pub(crate) struct Saved {
    pub(crate) shape: Shape,
    pub(crate) disks: Vec<Durable>,
    pub(crate) chain: EmbeddedChain,
    pub(crate) bank: Bank,
    pub(crate) links: Vec<Link>,
}
