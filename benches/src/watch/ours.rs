//! Sets of our monitors, made of copies of one real channel.
use bitcoin::hashes::{Hash as _, sha256};
use bitcoin::{Block, BlockHash, OutPoint, Txid};
use lightning_monitor::MonitorSet;
use lightning_traits::id::{ChannelId, ShortChannelId};
use lightning_traits::interface::{ChainListener as _, ManyChannelMonitor as _};
use lightning_traits::monitor::{NewMonitor, StoredChannel, StoredChannels};
use lightning_traits::tx::FundingOutput;
use lightning_traits::units::BlockHeight;

use super::block;
use crate::ours::{MonitorParts, Net};

const HEIGHT: u32 = 1_000;

/// One real channel with a past, and what either side stores of it.
pub struct Copies {
    pub(super) net: Net,
    pub(super) scid: ShortChannelId,
}

impl Copies {
    /// A channel that so many payments went over.
    #[must_use]
    pub fn of(payments: usize) -> Self {
        let mut net = Net::new(2, true);
        let scid = net.open(0, 1, 1)[0];
        let mut copies = Self { net, scid };
        copies.pay(payments);
        copies
    }

    /// More payments, in both directions, one at a time.
    pub fn pay(&mut self, payments: usize) {
        for count in 0..payments {
            let payer = count % 2;
            self.net.pay(payer, &[(1 - payer, self.scid)], 1);
        }
    }

    /// What the first node stores of it.
    #[must_use]
    pub fn stored(&self) -> (ChannelId, StoredChannel) {
        self.stored_by(0)
    }

    pub(super) fn stored_by(&self, node: usize) -> (ChannelId, StoredChannel) {
        let stored = self.net.manager(node).environment().monitors.environment().stored();
        stored.into_iter().next().expect("one channel")
    }

    /// What a node would store that had `count` such channels. The records of the channels themselves are left out.
    #[must_use]
    pub fn many(&self, count: u32) -> StoredChannels {
        let (channel, stored) = self.stored();
        let init = NewMonitor::from_versioned(&stored.new).unwrap().init;
        let txid = init.funding.outpoint.txid.to_byte_array();
        let copy = |index| {
            let outpoint = funding(index);
            let name = ChannelId::v1_from_funding(outpoint);
            let renamed = |bytes: &[u8]| {
                renamed(&renamed(bytes, &channel.0, &name.0), &txid, outpoint.txid.as_byte_array())
            };
            let all = |many: &[Vec<u8>]| many.iter().map(|bytes| renamed(bytes)).collect::<Vec<_>>();
            let stored = StoredChannel {
                new: renamed(&stored.new),
                monitor: stored.monitor.as_deref().map(renamed),
                past: all(&stored.past),
                updates: all(&stored.updates),
                last_update: stored.last_update,
                ..StoredChannel::default()
            };
            (name, stored)
        };
        (0..count).map(copy).collect()
    }

    fn first(&self) -> NewMonitor {
        NewMonitor::from_versioned(&self.stored().1.new).unwrap()
    }
}

/// The funding outpoint of a copy; all are the first output of their transactions, as that of the real one.
pub(super) fn funding(index: u32) -> OutPoint {
    let txid = sha256::Hash::hash(&[&b"copy"[..], &index.to_be_bytes()].concat());
    OutPoint { txid: Txid::from_byte_array(txid.to_byte_array()), vout: 0 }
}

/// The bytes with every `from` replaced.
fn renamed(bytes: &[u8], from: &[u8; 32], to: &[u8; 32]) -> Vec<u8> {
    let mut out = bytes.to_vec();
    let mut at = 0;
    while let Some(window) = out.get_mut(at..at + 32) {
        if window == from {
            window.copy_from_slice(to);
            at += 32;
        } else {
            at += 1;
        }
    }
    out
}

/// A set of our monitors and the chain that it sees.
pub struct Watch {
    pub(super) set: MonitorSet<MonitorParts>,
    tip: BlockHash,
    height: u32,
}

impl Watch {
    /// So many new channels; all but the last ten thousand at most sleep when `resting`.
    #[must_use]
    pub fn new(copies: &Copies, count: u32, resting: bool) -> Self {
        let mut watch = Self::at(MonitorSet::new(MonitorParts::of(1, false)), BlockHash::all_zeros(), HEIGHT);
        // What is younger than the tip does not sleep.
        watch.connect(Vec::new(), |work| work());
        let (set, first) = (&watch.set, copies.first());
        for index in 0..count {
            let mut new = first.clone();
            let (outpoint, funding) = (funding(index), first.init.funding);
            let [one, other] = *funding.keys();
            new.init.channel = ChannelId::v1_from_funding(outpoint);
            new.init.funding = FundingOutput::new(outpoint, funding.value, one, other);
            let _ = set.add_channel(new);
            while set.next_receipt().is_some() {}
            if resting && index % 1_000 == 999 {
                set.rest(0);
            }
        }
        if resting {
            set.rest(0);
        }
        watch
    }

    pub(super) const fn at(set: MonitorSet<MonitorParts>, tip: BlockHash, height: u32) -> Self {
        Self { set, tip, height }
    }

    /// A set with all of these, which were stored.
    #[must_use]
    pub fn restore(stored: &StoredChannels, resting: bool) -> Self {
        let (parts, tip) = (MonitorParts::of(1, false), BlockHash::all_zeros());
        let at = Some((tip, BlockHeight::new(HEIGHT)));
        let set = if resting {
            MonitorSet::restore_resting(parts, stored, at)
        } else {
            MonitorSet::restore(parts, stored, at)
        };
        Self::at(set.unwrap(), tip, HEIGHT)
    }

    /// The next block. Its header is made first, so that only what the set does with it is timed by `timed`.
    pub fn connect<T>(
        &mut self,
        transactions: Vec<bitcoin::Transaction>,
        timed: impl FnOnce(&mut dyn FnMut()) -> T,
    ) -> (T, Vec<bitcoin::Transaction>) {
        self.height += 1;
        let block: Block = block(self.tip, self.height, transactions);
        self.tip = block.block_hash();
        let height = BlockHeight::new(self.height);
        let took = timed(&mut || self.set.block_connected(&block, height));
        (took, block.txdata)
    }

    /// What was broadcast since the last call.
    #[must_use]
    pub fn broadcast(&self) -> Vec<bitcoin::Transaction> {
        self.set.environment().broadcast()
    }

    /// How many channels there are.
    #[must_use]
    pub fn channels(&self) -> usize {
        self.set.channels().len()
    }
}
