//! Gossip for many peers: encoded once, and sent to those who asked for it.
//!
//! BOLT 7, "The `gossip_timestamp_filter` Message" and "Rebroadcasting".
//!
//! # Invariants
//! - nothing that others generated goes to a peer that did not ask (BOLT 7: "MUST NOT relay any gossip messages it
//!   did not generate itself, unless explicitly requested")
use alloc::sync::Arc;

use bitcoin::constants::ChainHash;
use lightning_traits::id::NodeId;
use lightning_traits::wire::{GossipTimestampFilter, RoutingMessage, TooLong};

/// One encoded message with what decides who gets it.
pub(crate) struct Gossip {
    pub(crate) bytes: Arc<[u8]>,
    /// Who told us; `None` when we made it.
    from: Option<NodeId>,
    timestamp: Option<u32>,
    chain: Option<ChainHash>,
}

impl Gossip {
    pub(crate) fn new(message: &RoutingMessage, from: Option<NodeId>) -> Result<Self, TooLong> {
        let (timestamp, chain) = match message {
            RoutingMessage::ChannelAnnouncement(message) => (None, Some(message.body.chain_hash)),
            RoutingMessage::ChannelUpdate(message) => {
                (Some(message.body.timestamp), Some(message.body.chain_hash))
            }
            RoutingMessage::NodeAnnouncement(message) => (Some(message.body.timestamp), None),
            // Queries are no gossip; the router does not broadcast them.
            _ => (None, None),
        };
        Ok(Self { bytes: message.to_wire()?.into(), from, timestamp, chain })
    }

    /// Whether the peer `node` with this filter gets it.
    pub(crate) fn is_wanted(&self, node: NodeId, filter: Option<&GossipTimestampFilter>) -> bool {
        // "SHOULD send gossip messages as it generates them regardless of `timestamp`"
        let Some(from) = self.from else { return true };
        let Some(filter) = filter.filter(|_| from != node) else { return false };
        if self.chain.is_some_and(|chain| chain != filter.chain_hash) {
            return false;
        }
        match self.timestamp {
            // "greater or equal to `first_timestamp`, and less than `first_timestamp` plus `timestamp_range`"
            Some(timestamp) => timestamp
                .checked_sub(filter.first_timestamp)
                .is_some_and(|since| since < filter.timestamp_range),
            // A `channel_announcement` counts with the update that follows it; who wants nothing asks for no seconds.
            None => filter.timestamp_range > 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lightning_traits::codec::TlvRecords;

    const ALICE: NodeId = NodeId([2; 33]);
    const BOB: NodeId = NodeId([3; 33]);

    fn filter(first_timestamp: u32, timestamp_range: u32) -> GossipTimestampFilter {
        GossipTimestampFilter {
            chain_hash: ChainHash::BITCOIN,
            first_timestamp,
            timestamp_range,
            unknown: TlvRecords::new(),
        }
    }

    fn gossip(from: Option<NodeId>, timestamp: Option<u32>) -> Gossip {
        Gossip { bytes: Arc::from([]), from, timestamp, chain: Some(ChainHash::BITCOIN) }
    }

    #[test]
    fn only_who_asked_gets_what_others_made() {
        let relayed = gossip(Some(ALICE), Some(100));
        assert!(!relayed.is_wanted(BOB, None));
        assert!(relayed.is_wanted(BOB, Some(&filter(100, 1))));
        assert!(!relayed.is_wanted(BOB, Some(&filter(101, u32::MAX))));
        assert!(!relayed.is_wanted(BOB, Some(&filter(90, 10))), "the end of the range is not in it");
        assert!(!relayed.is_wanted(ALICE, Some(&filter(0, u32::MAX))), "not back to whom it came from");
        let elsewhere = GossipTimestampFilter { chain_hash: ChainHash::REGTEST, ..filter(0, u32::MAX) };
        assert!(!relayed.is_wanted(BOB, Some(&elsewhere)));
    }

    #[test]
    fn our_own_goes_to_all() {
        assert!(gossip(None, Some(5)).is_wanted(BOB, None));
        assert!(gossip(None, None).is_wanted(BOB, Some(&filter(u32::MAX, 0))));
    }

    #[test]
    fn announcements_go_to_who_wants_anything() {
        assert!(gossip(Some(ALICE), None).is_wanted(BOB, Some(&filter(7, 1))));
        assert!(!gossip(Some(ALICE), None).is_wanted(BOB, Some(&filter(u32::MAX, 0))));
    }
}
