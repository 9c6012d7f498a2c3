//! What is wrong now: alarms that are raised and cleared, and show until they are.
//!
//! # Invariants
//! - a tower that may miss a breach is red, never green: scan stopped, chain unreachable or another one, source behind or
//!   syncing, tip stale, disk failing (RELIABILITY L1, L10, L21)
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use lightning_chain_bitcoind::FollowError;
use lightning_traits::interface::SourceError;
use serde::Serialize;

/// What an alarm is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trouble {
    /// Not all blocks have been looked at since the start.
    CatchingUp,
    /// The block source does not answer, or not sensibly.
    ChainUnreachable,
    /// A block that must be looked at cannot be had: pruned, unknown or damaged. The scan stands.
    BlockMissing,
    /// The source follows another chain.
    WrongChain,
    /// The source is still catching up with the network.
    ChainSyncing,
    /// The source has less work than we have seen.
    ChainBehind,
    /// A client's monitors stand at a block that the source does not know, or did not take one.
    ScanLost,
    /// No block has come for too long.
    StaleTip,
    /// A client's store cannot be written.
    Disk,
    /// A channel that was handed over late is being looked for in older blocks.
    LookingBack,
    /// Old blocks cannot be had in which a channel that came late must be looked for.
    PastMissing,
    /// A client is at its quota.
    Quota,
    /// A penalty of a client in blind mode should pay more than there are coins for.
    Coins,
}

impl Trouble {
    /// Whether justice may be missed while it lasts.
    #[must_use]
    pub const fn is_red(self) -> bool {
        match self {
            Self::LookingBack | Self::Quota => false,
            Self::CatchingUp
            | Self::ChainUnreachable
            | Self::BlockMissing
            | Self::WrongChain
            | Self::ChainSyncing
            | Self::ChainBehind
            | Self::ScanLost
            | Self::StaleTip
            | Self::PastMissing
            | Self::Coins
            | Self::Disk => true,
        }
    }

    /// What an error of the scan means.
    #[must_use]
    pub const fn of(error: &FollowError) -> Self {
        match error {
            FollowError::WrongChain { .. } | FollowError::Source(SourceError::WrongNetwork { .. }) => {
                Self::WrongChain
            }
            FollowError::Source(
                SourceError::Pruned(_) | SourceError::UnknownBlock(_) | SourceError::WrongBlock(_),
            ) => Self::BlockMissing,
            FollowError::UnknownTip { .. } | FollowError::Stuck { .. } => Self::ScanLost,
            _ => Self::ChainUnreachable,
        }
    }
}

/// One alarm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Alarm {
    /// What it is about.
    pub trouble: Trouble,
    /// Whom it concerns; empty for all.
    pub subject: String,
    /// One sentence.
    pub message: String,
    /// Since when, in Unix seconds.
    pub since: u64,
    /// Whether justice may be missed while it lasts.
    pub red: bool,
}

/// All alarms that last.
#[derive(Debug, Default)]
pub struct Alarms(Mutex<BTreeMap<(Trouble, String), Alarm>>);

impl Alarms {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<(Trouble, String), Alarm>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Raises an alarm, or brings its message up to date. It is logged when it begins.
    pub fn raise(&self, trouble: Trouble, subject: &str, message: impl Into<String>) {
        let message = message.into();
        let mut alarms = self.lock();
        let alarm = alarms.entry((trouble, subject.to_owned())).or_insert_with(|| {
            let red = trouble.is_red();
            if red {
                tracing::error!(?trouble, subject, "{message}");
            } else {
                tracing::warn!(?trouble, subject, "{message}");
            }
            Alarm { trouble, subject: subject.to_owned(), message: String::new(), since: now(), red }
        });
        alarm.message = message;
    }

    /// Ends an alarm.
    pub fn clear(&self, trouble: Trouble, subject: &str) {
        if self.lock().remove(&(trouble, subject.to_owned())).is_some() {
            tracing::info!(?trouble, subject, "over");
        }
    }

    /// All, the red ones first.
    #[must_use]
    pub fn all(&self) -> Vec<Alarm> {
        let mut all: Vec<Alarm> = self.lock().values().cloned().collect();
        all.sort_by_key(|alarm| !alarm.red);
        all
    }

    /// Whether none is red.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.lock().values().all(|alarm| !alarm.red)
    }

    /// Whether this one lasts.
    #[must_use]
    pub fn has(&self, trouble: Trouble) -> bool {
        self.lock().keys().any(|(known, _)| *known == trouble)
    }
}

/// Unix time in seconds.
#[must_use]
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alarms_last_until_cleared_and_red_ones_come_first() {
        let alarms = Alarms::default();
        assert!(alarms.is_healthy() && alarms.all().is_empty());
        alarms.raise(Trouble::Quota, "a", "full");
        assert!(alarms.is_healthy());
        alarms.raise(Trouble::BlockMissing, "", "one");
        alarms.raise(Trouble::BlockMissing, "", "two");
        assert!(!alarms.is_healthy() && alarms.has(Trouble::BlockMissing));
        let all = alarms.all();
        assert_eq!(all.iter().map(|alarm| alarm.message.as_str()).collect::<Vec<_>>(), ["two", "full"]);
        alarms.clear(Trouble::BlockMissing, "");
        alarms.clear(Trouble::Disk, "");
        assert!(alarms.is_healthy() && !alarms.has(Trouble::BlockMissing));
    }
}
