//! Scenarios: what went wrong in nodes before ours, each as a generator of scripts with seeds of its own.
//!
//! The numbers are those of RELIABILITY, section 3. A profile mixes everything that may go wrong; a scenario goes where it
//! is known to hurt. Some are weights like those of a profile, on networks of their own; others write their scripts step by
//! step, so that consecutive seeds try every place for a cut.
use crate::clash;
use crate::dance;
use crate::dice::Dice;
use crate::heap;
use crate::profile::Profile;
use crate::script::{Move, Step};
use crate::topology::Kind;

/// How a scenario makes its steps.
pub(crate) enum Plan {
    /// Moves at random, as often as this.
    Weighted(&'static [(Move, u32)]),
    /// Steps one by one, for a seed.
    Written(fn(u64) -> Vec<Step>),
}

/// One scenario.
pub(crate) struct Scenario {
    pub(crate) number: u8,
    pub(crate) text: &'static str,
    /// What is allowed in it, and so what is promised.
    pub(crate) base: Profile,
    /// Its networks.
    pub(crate) kinds: &'static [Kind],
    pub(crate) plan: Plan,
}

/// The scenario whose nodes have watchtowers; not of RELIABILITY, so beyond its numbers.
const WITH_TOWERS: u8 = 118;

/// Networks with one way, with several, and with somebody in between.
const SMALL: &[Kind] = &[Kind::Pair, Kind::DoublePair, Kind::Line3, Kind::DoubleLine3, Kind::Triangle];

/// Small networks, in which both hops of a payment are seen.
const CLASHES: &[Kind] = &[
    Kind::Pair,
    Kind::DoublePair,
    Kind::Line3,
    Kind::Line3,
    Kind::DoubleLine3,
    Kind::Triangle,
    Kind::Diamond,
];

/// All of them.
pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario {
        number: 1,
        text: "power cut at each step of the commitment dance; 1,800 seeds try every step",
        base: Profile::Honest,
        kinds: &[Kind::Pair],
        plan: Plan::Written(dance::cut_everywhere),
    },
    Scenario {
        number: 3,
        text: "monitors are durable, the manager's own record is many writes behind",
        base: Profile::Honest,
        kinds: SMALL,
        plan: Plan::Weighted(&[
            (Move::Deliver, 500),
            (Move::Write, 150),
            (Move::Process, 70),
            (Move::React, 80),
            (Move::Pay, 40),
            (Move::Parts, 25),
            (Move::Retry, 10),
            (Move::Behind, 20),
            (Move::Power, 14),
            (Move::Crash, 6),
            (Move::Lazy, 8),
            (Move::Connect, 40),
            (Move::Decide, 10),
            (Move::Mood, 6),
            (Move::Quiet, 1),
            (Move::Mine, 4),
            (Move::Follow, 10),
        ]),
    },
    Scenario {
        number: 4,
        text: "the last writes of one, some or all channels are gone, all else is there",
        base: Profile::Disk,
        kinds: SMALL,
        plan: Plan::Weighted(&[
            (Move::Deliver, 500),
            (Move::Write, 120),
            (Move::Process, 70),
            (Move::React, 80),
            (Move::Pay, 40),
            (Move::Parts, 20),
            (Move::Backup, 30),
            (Move::Forget, 8),
            (Move::Crash, 6),
            (Move::Power, 6),
            (Move::Connect, 30),
            (Move::Decide, 10),
            (Move::Tick, 4),
            (Move::Mine, 4),
            (Move::Follow, 10),
        ]),
    },
    Scenario {
        number: 5,
        text: "a node dies between learning a preimage and having it durable upstream, twice",
        base: Profile::Honest,
        kinds: &[Kind::DoublePair, Kind::Line3, Kind::DoubleLine3, Kind::Diamond],
        plan: Plan::Written(dance::cut_claims),
    },
    Scenario {
        number: 17,
        text: "disks without room, with errors, with flushes that fail or take half a minute",
        base: Profile::Honest,
        kinds: SMALL,
        plan: Plan::Weighted(&[
            (Move::Deliver, 600),
            (Move::Write, 150),
            (Move::Process, 80),
            (Move::React, 80),
            (Move::Pay, 50),
            (Move::Parts, 15),
            (Move::Break, 40),
            (Move::Lazy, 15),
            (Move::Power, 10),
            (Move::Crash, 10),
            (Move::Connect, 30),
            (Move::Decide, 10),
            (Move::Tick, 5),
            (Move::Open, 2),
            (Move::Mine, 6),
            (Move::Follow, 15),
        ]),
    },
    Scenario {
        number: 18,
        text: "monitors far away: answers in any order, twice or never, and nodes that start again",
        base: Profile::Honest,
        kinds: SMALL,
        plan: Plan::Weighted(&[
            (Move::Deliver, 500),
            (Move::Write, 180),
            (Move::Process, 80),
            (Move::React, 80),
            (Move::Pay, 50),
            (Move::Parts, 20),
            (Move::Remote, 40),
            (Move::Twice, 20),
            (Move::Mislay, 12),
            (Move::Power, 8),
            (Move::Crash, 10),
            (Move::Connect, 30),
            (Move::Decide, 10),
            (Move::Open, 2),
            (Move::Mine, 6),
            (Move::Follow, 15),
        ]),
    },
    Scenario {
        number: WITH_TOWERS,
        text: "18 with two towers, one of which must hold each update besides the disk; they go, come, slow down and die",
        base: Profile::Honest,
        kinds: SMALL,
        plan: Plan::Weighted(&[
            (Move::Deliver, 500),
            (Move::Write, 150),
            (Move::Process, 90),
            (Move::React, 80),
            (Move::Pay, 50),
            (Move::Parts, 20),
            (Move::Towers, 90),
            (Move::Remote, 20),
            (Move::Twice, 12),
            (Move::Power, 8),
            (Move::Crash, 14),
            (Move::Connect, 60),
            (Move::Decide, 10),
            (Move::Open, 2),
            (Move::Close, 1),
            (Move::Tick, 6),
            (Move::Mine, 6),
            (Move::Follow, 15),
        ]),
    },
    Scenario {
        number: 7,
        text: "revoked commitments go to the chain, and several HTLCs of them with one transaction",
        base: Profile::Byzantine,
        kinds: &[Kind::Line3, Kind::DoubleLine3, Kind::DoubleLine3, Kind::Triangle, Kind::Diamond],
        plan: Plan::Written(heap::breaches),
    },
    Scenario {
        number: 9,
        text: "closes are taken back, up to 144 blocks deep, for others or for nothing",
        base: Profile::Chain,
        kinds: CLASHES,
        plan: Plan::Written(clash::closes_taken_back),
    },
    Scenario {
        number: 10,
        text: "funding transactions are taken back, or spent in another way before they are deep",
        base: Profile::Chain,
        kinds: CLASHES,
        plan: Plan::Written(clash::fundings_taken_back),
    },
    Scenario {
        number: 12,
        text: "room in blocks becomes a hundred times dearer within six blocks while claims wait",
        base: Profile::Chain,
        kinds: CLASHES,
        plan: Plan::Written(clash::claims_in_a_spike),
    },
    Scenario {
        number: 15,
        text: "both sides go to the chain in the middle of the dance, and either confirms, or first one and then the other",
        base: Profile::Chain,
        kinds: CLASHES,
        plan: Plan::Written(clash::both_at_once),
    },
    Scenario {
        number: 22,
        text: "preimages and timeouts meet two blocks before a deadline to two after, on the wire and on the chain",
        base: Profile::Chain,
        kinds: &[Kind::Line3, Kind::DoubleLine3, Kind::Line4, Kind::Triangle],
        plan: Plan::Written(clash::at_the_deadline),
    },
    Scenario {
        number: 19,
        text: "nodes die while channels are funded: together, by another wallet, for use at once",
        base: Profile::Honest,
        kinds: SMALL,
        plan: Plan::Weighted(&[
            (Move::Deliver, 500),
            (Move::Write, 150),
            (Move::Process, 80),
            (Move::React, 120),
            (Move::Together, 30),
            (Move::Open, 8),
            (Move::Pay, 15),
            (Move::Edge, 5),
            (Move::Power, 8),
            (Move::Crash, 8),
            (Move::Lazy, 8),
            (Move::Cut, 10),
            (Move::Notice, 8),
            (Move::Connect, 60),
            (Move::Mood, 10),
            (Move::Decide, 5),
            (Move::Tick, 4),
            (Move::Mine, 12),
            (Move::Follow, 25),
            (Move::Reorg, 2),
            (Move::Close, 1),
        ]),
    },
    Scenario {
        number: 20,
        text: "a hundred payments in flight, nodes die often, users ask again under the same ids",
        base: Profile::Honest,
        kinds: &[Kind::Pair, Kind::DoublePair, Kind::Line3, Kind::Triangle, Kind::Star5],
        plan: Plan::Written(dance::crowd),
    },
    Scenario {
        number: 21,
        text: "connections break at every message while signers and disks take their time",
        base: Profile::Honest,
        kinds: SMALL,
        plan: Plan::Weighted(&[
            (Move::Deliver, 500),
            (Move::Write, 150),
            (Move::Process, 100),
            (Move::React, 70),
            (Move::Pay, 60),
            (Move::Parts, 20),
            (Move::Edge, 10),
            (Move::Cut, 110),
            (Move::Notice, 60),
            (Move::Connect, 200),
            (Move::Mood, 60),
            (Move::Remote, 15),
            (Move::Crash, 10),
            (Move::Tick, 10),
            (Move::Fees, 10),
            (Move::Follow, 15),
            (Move::Mine, 8),
            (Move::Decide, 10),
            (Move::Close, 2),
            (Move::Open, 3),
            (Move::Quiet, 2),
        ]),
    },
];

/// Those whose nodes use each other's channels before they confirm.
const TRUSTING: &[u8] = &[19];

impl Scenario {
    /// Whether its nodes use each other's channels before they confirm.
    pub(crate) fn is_trusting(&self) -> bool {
        TRUSTING.contains(&self.number)
    }

    /// Whether its nodes have watchtowers.
    pub(crate) fn has_towers(&self) -> bool {
        self.number == WITH_TOWERS
    }

    pub(crate) fn by_number(number: u8) -> Option<&'static Self> {
        SCENARIOS.iter().find(|scenario| scenario.number == number)
    }

    /// The script of a seed.
    pub(crate) fn steps(&self, seed: u64, count: u32) -> Vec<Step> {
        match self.plan {
            Plan::Written(write) => write(seed),
            Plan::Weighted(weights) => {
                let mut dice = Dice::new(seed);
                let weights = weights.to_vec();
                (0..count).map(|_| Step::roll(&weights, &mut dice)).collect()
            }
        }
    }
}

/// A line for each, for whoever asks what there is.
#[must_use]
pub fn list_scenarios() -> String {
    let line = |scenario: &Scenario| format!("  {:>2}  {}\n", scenario.number, scenario.text);
    SCENARIOS.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::Script;

    #[test]
    fn every_scenario_has_its_own_number_and_its_scripts_read_back() {
        for (at, scenario) in SCENARIOS.iter().enumerate() {
            assert!(SCENARIOS[..at].iter().all(|other| other.number != scenario.number));
            let script = Script::of_seed(Profile::Scenario(scenario.number), 3, 100);
            assert!(script.steps.len() > 10, "{}", scenario.number);
            assert_eq!(Script::parse(&script.to_string()), Ok(script));
        }
    }
}
