//! A run as a list of steps: made from a seed, cut short by the search for the shortest, kept in a file.
//!
//! Each step brings its own dice, so that leaving one out changes nothing about what the others roll.
use std::fmt;

use crate::dice::Dice;
use crate::profile::Profile;

macro_rules! moves {
    ($($name:ident $word:literal $text:literal,)*) => {
        /// What kind of thing happens in a step.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Move { $(#[doc = $text] $name),* }

        impl Move {
            const fn word(self) -> &'static str {
                match self { $(Self::$name => $word),* }
            }

            fn from_word(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$name),)* _ => None }
            }
        }
    };
}

moves! {
    Deliver "deliver" "Some messages of one wire arrive.",
    Write "write" "A disk finishes some writes, and its node goes on.",
    Process "process" "A node looks for what became of its writes and questions.",
    React "react" "A user sees an event.",
    Pay "pay" "A user begins a payment.",
    Edge "edge" "A user pays nearly all that some channel can carry.",
    Parts "parts" "A user pays in equal parts, all along one way.",
    Retry "retry" "A user begins a payment once more under the same id.",
    Abandon "abandon" "A user gives a payment up.",
    Decide "decide" "A user claims or gives back what it has held.",
    Open "open" "A user opens a channel.",
    Close "close" "A user closes a channel together with the peer.",
    ForceClose "force-close" "A user sends a channel to the chain.",
    Follow "follow" "A node hears of blocks.",
    Mine "mine" "A block comes.",
    Bury "bury" "Several blocks come.",
    Reorg "reorg" "Blocks go, and others come.",
    Fees "fees" "The chain gets dearer or cheaper.",
    Floor "floor" "The least feerate that is relayed moves.",
    Crash "crash" "A node dies and starts again.",
    Cut "cut" "A connection breaks.",
    Notice "notice" "A side that did not notice a broken connection does.",
    Connect "connect" "Two nodes connect.",
    Mood "mood" "Disk, signer or route finder of a node become slow or quick.",
    Remote "remote" "A disk moves far away, and acknowledges in any order, or comes back.",
    Tick "tick" "About a minute passes.",
    Backup "backup" "Somebody copies a node's disk.",
    Restore "restore" "A node starts again from an old copy of its disk.",
    Stall "stall" "A villain holds back some of its messages, or lets them go.",
    Lie "lie" "A villain changes a message on its way.",
    Repeat "repeat" "A villain sends a message again.",
    Publish "publish" "A villain sends one of its commitments to the chain.",
    Twins "twins" "A villain pays the same several times to the same hash.",
    Borrow "borrow" "A villain forwards through somebody an HTLC with the hash of that somebody's invoice.",
    Reuse "reuse" "A villain opens a channel on the output of another.",
    Announce "announce" "A villain sends its signatures for an announcement when nobody wants them, or prepares for that.",
    Spoil "spoil" "A villain pays with an onion that nobody can read.",
    Accuse "accuse" "A villain says, without proof, that its peer has lost data, and leaves.",
    Quiet "quiet" "A user wants quiet on a channel.",
    Splice "splice" "A villain sends messages of what is not built.",
    Drip "drip" "A villain pays the same several times to the same hash, over all its channels with somebody.",
    Half "half" "A villain that is offered several HTLCs publishes a state that has fewer of them.",
    Heap "heap" "A villain publishes an old state, and takes several of its HTLCs with one transaction.",
    Flood "flood" "A villain opens many channels, or sends much dust.",
    Spike "spike" "Room in blocks becomes dear for a while, or little.",
    Deep "deep" "Many blocks go, and others come.",
    Swap "swap" "Blocks go, and in those that come something is spent in another way.",
    Back "back" "The chain goes back to blocks that it left.",
    Take "take" "A miner takes a transaction that somebody has sent, whatever else waits.",
    Undo "undo" "A funding transaction that is not deep yet is spent in another way.",
    Both "both" "Both users of a channel send it to the chain.",
    Hold "hold" "A user begins a payment whose payee takes its time.",
    Near "near" "Blocks come until a deadline is near, or just over.",
    Settle "settle" "All that is on its way arrives.",
    Begin "begin" "The payments or fees begin whose dance is to be cut.",
    Claims "claims" "A payment in parts is claimed, and what tells so is about to leave.",
    Advance "advance" "One message, write or look goes its way.",
    Die "die" "Some nodes lose their power, and get it back.",
    Many "many" "Users begin many payments of all kinds.",
    Power "power" "A node loses its power, and what its disk has not flushed may be there in any part.",
    Lazy "lazy" "A disk flushes now and then only, or each write.",
    Break "break" "A disk has no room, cannot write, fails to flush, takes half a minute, or is mended.",
    Behind "behind" "A node's own record is not written any more while its channels go on.",
    Forget "forget" "The last writes of one, some or all channels of a node are gone.",
    Twice "twice" "What a node hands to its monitors arrives twice from now on, or once again.",
    Mislay "mislay" "An acknowledgement of a disk gets lost.",
    Together "together" "A user opens some channels with one transaction, which another wallet may sign.",
    Towers "towers" "Something happens to a watchtower of a node: it goes, comes, slows down, or dies and starts again.",
    Leave "leave" "A client of watchtowers goes, and does not come back.",
    Again "again" "Every user asks again for all that it has not heard the end of.",
}

/// One step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// What kind of thing happens.
    pub act: Move,
    /// The seed of the step's own dice.
    pub roll: u64,
}

impl Step {
    /// One of several moves, each as often as its weight says.
    pub(crate) fn roll(weights: &[(Move, u32)], dice: &mut Dice) -> Self {
        let total = weights.iter().map(|(_, weight)| u64::from(*weight)).sum();
        let mut at = dice.roll(total);
        let chosen = weights.iter().find(|(_, weight)| {
            let is_it = at < u64::from(*weight);
            at = at.saturating_sub(u64::from(*weight));
            is_it
        });
        Self { act: chosen.map_or(Move::Deliver, |(act, _)| *act), roll: dice.next() }
    }
}

/// A run before it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// What may happen.
    pub profile: Profile,
    /// The seed of everything that is no step: the network, the nodes' entropy.
    pub seed: u64,
    /// What happens.
    pub steps: Vec<Step>,
}

impl Script {
    /// The script of a seed.
    #[must_use]
    pub fn of_seed(profile: Profile, seed: u64, steps: u32) -> Self {
        if let Some(scenario) = profile.scenario() {
            return Self { profile, seed, steps: scenario.steps(seed, steps) };
        }
        let mut dice = Dice::new(seed);
        let weights = profile.weights(&mut dice);
        Self { profile, seed, steps: (0..steps).map(|_| Step::roll(&weights, &mut dice)).collect() }
    }

    /// Reads what [`fmt::Display`] writes; lines that begin with `#` say nothing.
    ///
    /// # Errors
    /// The line that cannot be read.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut script = Self { profile: Profile::Honest, seed: 0, steps: Vec::new() };
        for line in text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty()) {
            let bad = || format!("not understood: {line}");
            let (word, value) = line.split_once(' ').ok_or_else(bad)?;
            match word {
                "profile" => script.profile = value.parse().map_err(|_| bad())?,
                "seed" => script.seed = value.parse().map_err(|_| bad())?,
                word => {
                    let act = Move::from_word(word).ok_or_else(bad)?;
                    let roll = u64::from_str_radix(value, 16).map_err(|_| bad())?;
                    script.steps.push(Step { act, roll });
                }
            }
        }
        Ok(script)
    }
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "profile {}\nseed {}", self.profile, self.seed)?;
        self.steps.iter().try_for_each(|step| writeln!(f, "{step}"))
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:x}", self.act.word(), self.roll)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_reads_back_as_it_was_written() {
        for profile in Profile::ALL {
            let script = Script::of_seed(profile, 7, 300);
            assert_eq!(script.steps.len(), 300);
            assert_eq!(Script::parse(&format!("# why\n{script}")), Ok(script));
        }
        assert!(Script::parse("fly 12").is_err());
    }
}
