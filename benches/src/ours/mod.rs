//! Nodes of ours in one process: pairs, lines, and what they keep.
mod cores;
mod net;
mod parts;
mod restart;

use lightning_traits::id::ShortChannelId;

use crate::crypto::Tally;

pub use cores::{Spent, Star};
pub use net::{Manager, Net, Step};
pub use parts::{ChannelParts, Kind, MonitorParts, keys};
pub use restart::Stopped;

/// Two nodes and their channel.
pub struct Pair {
    net: Net,
    scid: ShortChannelId,
    payments: u64,
}

impl Pair {
    /// Opens the channel, and so many more that carry nothing.
    #[must_use]
    pub fn open_among(idle: usize) -> Self {
        let mut net = Net::new(2, false);
        let scid = net.open(0, 1, 1)[0];
        if idle > 0 {
            net.open(0, 1, idle);
        }
        Self { net, scid, payments: 0 }
    }

    /// Opens the channel.
    #[must_use]
    pub fn open() -> Self {
        Self::open_among(0)
    }

    /// `count` payments, all under way at once, to the end: both users have seen all their events. The next ones go the
    /// other way.
    #[inline(never)]
    pub fn pay(&mut self, count: usize) {
        let payer = usize::try_from(self.payments % 2).unwrap();
        self.payments += 1;
        self.net.pay(payer, &[(1 - payer, self.scid)], count);
    }

    /// What went over the wire since the last call.
    pub fn take_tally(&mut self) -> Tally {
        std::mem::take(&mut self.net.tally)
    }

    /// As [`Net::written`], for both nodes.
    #[must_use]
    pub fn written(&self) -> [[u64; 5]; 2] {
        [0, 1].map(|node| self.net.written(node))
    }
}

impl Net {
    /// Bytes that a node gave to its store up to now: by [`Kind`], and last the manager's own record.
    #[must_use]
    pub fn written(&self, node: usize) -> [u64; 5] {
        let node = &self.nodes[node];
        let [steps, monitors, changes, records] = node.manager.environment().monitors.environment().written();
        [steps, monitors, changes, records, node.record_bytes]
    }
}

/// Three nodes in a row.
pub struct Line {
    net: Net,
    scids: [ShortChannelId; 2],
    payments: u64,
}

impl Line {
    /// Opens both channels.
    #[must_use]
    pub fn open() -> Self {
        let mut net = Net::new(3, false);
        let scids = [net.open(0, 1, 1)[0], net.open(1, 2, 1)[0]];
        Self { net, scids, payments: 0 }
    }

    /// `count` payments from end to end; the next ones go the other way.
    #[inline(never)]
    pub fn pay(&mut self, count: usize) {
        let [first, second] = self.scids;
        let (payer, steps) = if self.payments.is_multiple_of(2) {
            (0, [(1, first), (2, second)])
        } else {
            (2, [(1, second), (0, first)])
        };
        self.payments += 1;
        self.net.pay(payer, &steps, count);
    }

    /// What went over the wire since the last call.
    pub fn take_tally(&mut self) -> Tally {
        std::mem::take(&mut self.net.tally)
    }
}
