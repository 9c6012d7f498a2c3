//! What a node with many channels stores, and starting again from it.
use bitcoin::constants::ChainHash;
use lightning_channel::manager::Tip;
use lightning_channel::recover::RecordRows;
use lightning_traits::config::UserConfig;
use lightning_traits::monitor::StoredChannels;

use super::net::{Manager, Net};
use super::parts::ChannelParts;

/// A node that is not running.
pub struct Stopped {
    seed: u8,
    stored: StoredChannels,
    record: RecordRows,
    tip: Tip,
}

impl Stopped {
    /// The payer and the payee of `htlcs` payments over each of `channels` channels, none of which the payee has decided on,
    /// stop.
    #[must_use]
    pub fn both(channels: usize, htlcs: usize) -> [Self; 2] {
        let mut net = Net::new(2, true);
        let scids = net.open(0, 1, channels);
        net.holds = true;
        for scid in scids {
            (0..htlcs).for_each(|_| net.send(0, &[(1, scid)]));
            net.settle();
        }
        [0, 1].map(|node| Self::stop(&net, node))
    }

    /// The node between stops, with as many channels to each side, each with so many HTLCs that the payee has not decided on.
    #[must_use]
    pub fn forwarder(channels: usize, htlcs: usize) -> Self {
        let mut net = Net::new(3, true);
        let (ins, outs) = (net.open(0, 1, channels / 2), net.open(1, 2, channels / 2));
        net.holds = true;
        for (from, to) in ins.into_iter().zip(outs) {
            (0..htlcs).for_each(|_| net.send(0, &[(1, from), (2, to)]));
            net.settle();
        }
        Self::stop(&net, 1)
    }

    fn stop(net: &Net, node: usize) -> Self {
        let here = &net.nodes[node];
        let stored = here.manager.environment().monitors.environment().stored();
        let seed = u8::try_from(node + 1).unwrap();
        Self { seed, stored, record: here.record.clone(), tip: net.tip }
    }

    /// What it stores, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let sum = |all: &[Vec<u8>]| all.iter().map(Vec::len).sum::<usize>();
        let channels = self.stored.iter().map(|(_, stored)| {
            stored.new.len()
                + stored.monitor.as_ref().map_or(0, Vec::len)
                + sum(&stored.updates)
                + stored.record.len()
                + sum(&stored.record_changes)
        });
        let rows = self.record.iter().map(|(key, value)| key.len() + value.len());
        channels.sum::<usize>() + rows.sum::<usize>()
    }

    /// Starts it from copies of what is stored; the disk itself is not part of it.
    #[must_use]
    pub fn start(&self, stored: StoredChannels) -> Manager {
        let parts = ChannelParts::restore(self.seed, &stored, (self.tip.hash, self.tip.height));
        let (config, chain) = (UserConfig::default(), ChainHash::REGTEST);
        Manager::restore(parts, config, chain, self.tip, stored, &self.record).unwrap()
    }

    /// A copy of what is stored.
    #[must_use]
    pub fn copy(&self) -> StoredChannels {
        self.stored.clone()
    }
}
