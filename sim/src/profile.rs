//! What may happen in a run, and how often.
//!
//! Every seed leaves out some of it at random, so that what is left comes together more often.
use std::fmt;
use std::str::FromStr;

use crate::dice::Dice;
use crate::scenario::{SCENARIOS, Scenario};
use crate::script::Move;

/// What the number of a scenario follows where a profile is written.
const SCENARIO: &str = "scenario-";

/// What kind of trouble there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Profile {
    /// Everybody is honest: networks, disks, signers and processes fail, but no channel may close by force.
    Honest,
    /// Disks are worse: full, late, and now and then replaced by an old copy.
    Disk,
    /// Users send channels to the chain, deadlines pass, blocks go again and fees move.
    Chain,
    /// Some nodes are villains.
    Byzantine,
    /// Everybody is honest, and room in blocks becomes a hundred times dearer within six of them.
    Spikes,
    /// Some nodes are villains, others have watchtowers, and go for ever; blocks go and room is short.
    Towers,
    /// One scenario of RELIABILITY, by its number there.
    Scenario(u8),
}

impl Profile {
    /// Those of everything at once.
    pub const ALL: [Self; 4] = [Self::Honest, Self::Disk, Self::Chain, Self::Byzantine];

    const fn word(self) -> &'static str {
        match self {
            Self::Honest => "honest",
            Self::Disk => "disk",
            Self::Chain => "chain",
            Self::Byzantine => "byzantine",
            Self::Spikes => "spikes",
            Self::Towers => "towers",
            Self::Scenario(_) => SCENARIO,
        }
    }

    /// The scenarios, one after the other.
    pub fn scenarios() -> impl Iterator<Item = Self> {
        SCENARIOS.iter().map(|scenario| Self::Scenario(scenario.number))
    }

    /// The scenario, if it is one.
    pub(crate) fn scenario(self) -> Option<&'static Scenario> {
        if let Self::Scenario(number) = self { Scenario::by_number(number) } else { None }
    }

    /// What is allowed, and so what is promised.
    pub(crate) fn base(self) -> Self {
        self.scenario().map_or(self, |scenario| scenario.base)
    }

    /// Whether channels may go to the chain by force from the beginning.
    pub(crate) const fn allows_force(self) -> bool {
        matches!(self, Self::Chain | Self::Byzantine | Self::Towers)
    }

    /// Whether some nodes are villains.
    pub(crate) const fn has_villains(self) -> bool {
        matches!(self, Self::Byzantine | Self::Towers)
    }

    /// Whether commitments may come to the chain: then fees are low, so that what is lost to them stays below what a payment
    /// is worth.
    pub(crate) const fn is_cheap(self) -> bool {
        !matches!(self, Self::Honest | Self::Spikes)
    }

    /// Moves and how often each comes, for a seed.
    pub(crate) fn weights(self, dice: &mut Dice) -> Vec<(Move, u32)> {
        let mut weights = vec![
            (Move::Deliver, 600),
            (Move::Write, 120),
            (Move::Process, 70),
            (Move::React, 70),
            (Move::Pay, 40),
            (Move::Connect, 25),
            (Move::Follow, 15),
        ];
        let extra = match self {
            Self::Honest => HONEST,
            Self::Disk => DISK,
            Self::Chain => CHAIN,
            Self::Byzantine => BYZANTINE,
            Self::Spikes => SPIKES,
            Self::Towers => TOWERS,
            Self::Scenario(_) => &[],
        };
        for (act, weight) in COMMON.iter().chain(extra) {
            // Twice as often, as often, or not at all.
            let weight = weight * [0, 1, 1, 2][dice.pick(4)];
            if weight > 0 {
                weights.push((*act, weight));
            }
        }
        weights
    }
}

/// Trouble that every profile has.
const COMMON: &[(Move, u32)] = &[
    (Move::Crash, 6),
    (Move::Cut, 6),
    (Move::Notice, 6),
    (Move::Mood, 8),
    (Move::Remote, 4),
    (Move::Tick, 4),
    (Move::Edge, 5),
    (Move::Parts, 5),
    (Move::Retry, 4),
    (Move::Abandon, 2),
    (Move::Decide, 8),
    (Move::Open, 2),
    (Move::Close, 1),
    (Move::Quiet, 1),
    (Move::Mine, 8),
];

const HONEST: &[(Move, u32)] = &[(Move::Fees, 8), (Move::Reorg, 4), (Move::Crash, 4)];

/// Honest nodes again.
const SPIKES: &[(Move, u32)] = &[
    (Move::Spike, 12),
    (Move::Mine, 30),
    (Move::Tick, 10),
    (Move::Follow, 30),
    (Move::Reorg, 4),
    (Move::Crash, 4),
];

const DISK: &[(Move, u32)] = &[
    (Move::Crash, 20),
    (Move::Mood, 20),
    (Move::Remote, 10),
    (Move::Backup, 3),
    (Move::Restore, 1),
    (Move::Write, 60),
];

const CHAIN: &[(Move, u32)] = &[
    (Move::ForceClose, 4),
    (Move::Bury, 8),
    (Move::Reorg, 10),
    (Move::Follow, 30),
    (Move::Fees, 6),
    (Move::Floor, 3),
];

const BYZANTINE: &[(Move, u32)] = &[
    (Move::Stall, 10),
    (Move::Lie, 3),
    (Move::Repeat, 3),
    (Move::Publish, 4),
    (Move::Twins, 8),
    (Move::Borrow, 4),
    (Move::Reuse, 2),
    (Move::Flood, 2),
    (Move::Drip, 8),
    (Move::Half, 6),
    (Move::Accuse, 2),
    (Move::Splice, 4),
    (Move::Announce, 3),
    (Move::Spoil, 3),
    (Move::Bury, 4),
    (Move::Reorg, 4),
];

const TOWERS: &[(Move, u32)] = &[
    (Move::Towers, 40),
    (Move::Leave, 2),
    (Move::Stall, 6),
    (Move::Repeat, 2),
    (Move::Publish, 10),
    (Move::Twins, 8),
    (Move::Drip, 8),
    (Move::Half, 8),
    (Move::Parts, 15),
    (Move::Pay, 30),
    (Move::Hold, 10),
    (Move::Open, 2),
    (Move::Power, 4),
    (Move::Bury, 12),
    (Move::Follow, 20),
    (Move::Reorg, 6),
    (Move::Deep, 5),
    (Move::Take, 6),
    (Move::Spike, 3),
    (Move::Floor, 3),
];

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scenario(number) => write!(f, "{SCENARIO}{number}"),
            other => f.write_str(other.word()),
        }
    }
}

impl FromStr for Profile {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        if let Some(number) = word.strip_prefix(SCENARIO) {
            let known = number.parse().ok().and_then(Scenario::by_number);
            return known
                .map(|known| Self::Scenario(known.number))
                .ok_or_else(|| format!("no scenario {number}"));
        }
        let found =
            Self::ALL.into_iter().chain([Self::Spikes, Self::Towers]).find(|profile| profile.word() == word);
        found.ok_or_else(|| format!("{word} is none of honest, disk, chain, byzantine, towers, spikes"))
    }
}
