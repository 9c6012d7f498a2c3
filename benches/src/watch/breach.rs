//! Ten thousand peers who cheat in one block.
use bitcoin::{OutPoint, Transaction};
use lightning_monitor::MonitorSet;
use lightning_traits::codec::TlvRecords;
use lightning_traits::interface::ManyChannelMonitor as _;
use lightning_traits::monitor::{ChannelMonitorUpdate, MonitorStep, RecordChange, StoredChannels};
use lightning_traits::units::BlockHeight;

use super::ours::funding;
use super::{Copies, Watch};
use crate::ours::MonitorParts;

/// Copies of a channel whose peer publishes a revoked commitment.
pub struct Cheated {
    stored: StoredChannels,
    breach: Transaction,
}

impl Cheated {
    /// So many channels; the revoked commitment has this many HTLCs, and as many payments came before and after.
    #[must_use]
    pub fn new(channels: u32, htlcs: usize) -> Self {
        let mut copies = Copies::of(htlcs);
        copies.net.holds = true;
        (0..htlcs).for_each(|_| copies.net.send(0, &[(1, copies.scid)]));
        copies.net.settle();
        let (channel, kept) = copies.stored_by(1);
        copies.net.claim_all();
        copies.pay(htlcs);
        // The cheater goes back to what it had stored.
        let (tip, id) = (
            bitcoin::constants::genesis_block(bitcoin::Network::Regtest).block_hash(),
            kept.last_update.next(),
        );
        let at = Some((tip, BlockHeight::new(100)));
        let cheater = MonitorSet::restore(MonitorParts::of(2, false), &vec![(channel, kept)], at).unwrap();
        let (steps, record, extra) =
            (vec![MonitorStep::ForceClose {}], RecordChange::Same {}, TlvRecords::new());
        let _ = cheater.update_channel(ChannelMonitorUpdate { channel, id, steps, record, extra });
        while cheater.next_receipt().is_some() {}
        let breach = cheater.environment().broadcast().pop().expect("its commitment");
        Self { stored: copies.many(channels), breach }
    }

    /// The commitments of all.
    #[must_use]
    pub fn block(&self) -> Vec<Transaction> {
        let count = u32::try_from(self.stored.len()).unwrap();
        let spend = |outpoint: OutPoint| {
            let mut breach = self.breach.clone();
            breach.input[0].previous_output = outpoint;
            breach
        };
        (0..count).map(|index| spend(funding(index))).collect()
    }

    /// The set that watches them, asleep.
    #[must_use]
    pub fn watch(&self) -> Watch {
        let parts = MonitorParts::holding(1, &self.stored);
        let tip = bitcoin::constants::genesis_block(bitcoin::Network::Regtest).block_hash();
        let set =
            MonitorSet::restore_resting(parts, &self.stored, Some((tip, BlockHeight::new(100)))).unwrap();
        Watch::at(set, tip, 100)
    }
}
