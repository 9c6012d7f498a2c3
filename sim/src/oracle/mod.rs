//! What must be true: after every step, and when the trouble is over.
//!
//! | file | what |
//! | --- | --- |
//! | `htlc.rs` | every HTLC as the messages show it: forwarded once, never paid on and taken back (O2) |
//! | `promise.rs` | what leaves a node: durable before, signed once, never revoked (O3, O4) |
//! | `breach.rs` | of a revoked commitment nothing stays with whoever published it (O1) |
//! | `excuse.rs` | what a chain may cost that takes back what was final, or has no room |
//! | `tower.rs` | what watchtowers promise (T1 to T5) |
//! | `money.rs` | to the millisatoshi, when all is settled (O1, O6, O7) |
use std::fmt;
use std::panic::panic_any;

pub(crate) mod breach;
pub(crate) mod excuse;
pub(crate) mod htlc;
pub(crate) mod money;
pub(crate) mod promise;
pub(crate) mod tower;

/// Which promise was broken; the numbers are RELIABILITY's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Oracle {
    /// O1: nobody loses more than what the chain costs, and nothing comes from nowhere.
    Money,
    /// O2: never paid on and taken back, never forwarded twice.
    Atomic,
    /// O3: no revoked commitment goes out, no number is signed twice, no secret leaves too early.
    Secrets,
    /// O4: durable before visible.
    Durable,
    /// O5: honest nodes do not close a channel by force.
    NoClose,
    /// O6: everything comes to an end.
    Live,
    /// O7: each payment ends once, and its user hears of it.
    Events,
    /// O8: what strangers cost is bounded.
    Bounded,
    /// O9: no panic, no overflow, no deadlock.
    NoAbort,
    /// T1: what a tower has acknowledged as revoked is punished, every output above dust, in time.
    Punished,
    /// T2: what a tower has acknowledged is durable, and nothing opens that the policy wants held by more.
    Acknowledged,
    /// T3: a tower scans block on block.
    Scan,
    /// T4: a tower lets go of nothing that is not buried.
    Kept,
    /// T5 and L23: a tower tries again whatever it is told, and acts against what is revoked only.
    Duty,
}

impl fmt::Display for Oracle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Money => "O1 money",
            Self::Atomic => "O2 atomic HTLC",
            Self::Secrets => "O3 safety of secrets",
            Self::Durable => "O4 durable before visible",
            Self::NoClose => "O5 no needless close",
            Self::Live => "O6 liveness",
            Self::Events => "O7 events",
            Self::Bounded => "O8 bounded",
            Self::NoAbort => "O9 no abort",
            Self::Punished => "T1 punished",
            Self::Acknowledged => "T2 acknowledged is durable",
            Self::Scan => "T3 contiguous scan",
            Self::Kept => "T4 kept until buried",
            Self::Duty => "T5 duty",
        })
    }
}

/// A broken promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Which.
    pub oracle: Oracle,
    /// How.
    pub what: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.oracle, self.what)
    }
}

/// Ends the run.
pub(crate) fn broken(oracle: Oracle, what: String) -> ! {
    panic_any(Broken { oracle, what })
}

/// Ends the run unless something is true.
pub(crate) fn hold(oracle: Oracle, is_true: bool, what: impl FnOnce() -> String) {
    if !is_true {
        broken(oracle, what());
    }
}
