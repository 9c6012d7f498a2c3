//! What the chain costs, asked now and then and remembered in between.
use std::collections::BTreeMap;

use lightning_traits::interface::{ConfirmationTarget, FeeEstimator};
use lightning_traits::sync::Mutex;
use lightning_traits::units::FeeratePerKw;

use lightning_traits::interface::{BlockSource, SourceError};

/// For each target: blocks to confirm within, and the rate to use until the source knows one (regtest never does).
const TARGETS: [(ConfirmationTarget, u16, FeeratePerKw); 6] = [
    (ConfirmationTarget::Urgent, 2, FeeratePerKw::new(5000)),
    (ConfirmationTarget::NonAnchorCommitment, 6, FeeratePerKw::new(2500)),
    (ConfirmationTarget::Normal, 12, FeeratePerKw::new(2000)),
    (ConfirmationTarget::AnchorCommitment, 144, FeeratePerKw::new(1000)),
    (ConfirmationTarget::Background, 144, FeeratePerKw::new(500)),
    (ConfirmationTarget::MinimumAccepted, 1008, FeeratePerKw::FLOOR),
];

/// A [`FeeEstimator`] that answers at once from the last [`refresh`](Self::refresh).
#[derive(Debug, Default)]
pub struct BitcoindFees {
    known: Mutex<BTreeMap<ConfirmationTarget, FeeratePerKw>>,
}

impl BitcoindFees {
    /// Knows the fallback rates only.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks `source` for all rates. On an error the old ones stay.
    pub fn refresh(&self, source: &impl BlockSource) -> Result<(), SourceError> {
        let least = source.least_feerate()?.max(FeeratePerKw::FLOOR);
        let mut fresh = BTreeMap::new();
        for (target, blocks, fallback) in TARGETS {
            let estimate = source.feerate(blocks)?;
            let before = self.known.lock().get(&target).copied();
            let rate = estimate.or(before).unwrap_or(fallback);
            // What a peer may still pay is not raised by a full mempool: its commitment can be bumped, and to
            // refuse an update over a spike would close channels.
            let floor = match target {
                ConfirmationTarget::MinimumAccepted => FeeratePerKw::FLOOR,
                _ => least,
            };
            fresh.insert(target, rate.max(floor));
        }
        *self.known.lock() = fresh;
        Ok(())
    }
}

impl FeeEstimator for BitcoindFees {
    fn feerate(&self, target: ConfirmationTarget) -> FeeratePerKw {
        let known = self.known.lock().get(&target).copied();
        let fallback = TARGETS.iter().find(|(of, _, _)| *of == target).map(|(_, _, rate)| *rate);
        known.or(fallback).unwrap_or(FeeratePerKw::new(2000)).max(FeeratePerKw::FLOOR)
    }
}
