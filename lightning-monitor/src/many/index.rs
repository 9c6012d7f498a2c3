//! Which channel an outpoint concerns: asked for each input of each block.
//!
//! The order of a hash table is never seen here (I10): outpoints are only put in, looked up and taken out.
//!
//! # Invariants
//! - a look-up of what is not there touches one place of the table, however many outpoints there are, so that a block costs
//!   its own inputs (I13)
use bitcoin::OutPoint;
use bitcoin::hashes::Hash as _;
use hashbrown::HashTable;
use lightning_traits::id::ChannelId;

/// Watched outpoints.
#[derive(Clone, Debug, Default)]
pub(super) struct Index(HashTable<(OutPoint, ChannelId)>);

impl Index {
    /// The channel that watches the outpoint.
    pub(super) fn get(&self, outpoint: &OutPoint) -> Option<ChannelId> {
        self.0.find(hash(outpoint), |(known, _)| known == outpoint).map(|(_, channel)| *channel)
    }

    /// Watches an outpoint; `false` when it was watched already, and then the newer channel has it.
    pub(super) fn insert(&mut self, outpoint: OutPoint, channel: ChannelId) -> bool {
        if let Some(known) = self.0.find_mut(hash(&outpoint), |(known, _)| *known == outpoint) {
            known.1 = channel;
            return false;
        }
        self.0.insert_unique(hash(&outpoint), (outpoint, channel), |(known, _)| hash(known));
        true
    }

    /// Watches an outpoint no longer.
    pub(super) fn remove(&mut self, outpoint: &OutPoint) {
        if let Ok(found) = self.0.find_entry(hash(outpoint), |(known, _)| known == outpoint) {
            found.remove();
        }
    }
}

/// A transaction id is a hash itself. Who makes ids that fall together pays a fee on chain for each, and slows down only the
/// look-up of outpoints that fall there too, so no secret goes in.
fn hash(outpoint: &OutPoint) -> u64 {
    let bytes = outpoint.txid.as_byte_array();
    let word = bytes.first_chunk().map_or(0, |word| u64::from_le_bytes(*word));
    // Outputs of one transaction are spread by a number without a pattern, the fraction of the golden ratio.
    word.wrapping_add(u64::from(outpoint.vout).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeMap;

    use bitcoin::Txid;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Few different ones, so that they meet, and ids that differ behind the word that is looked at.
        #[test]
        fn it_holds_what_was_put_in(steps in prop::collection::vec((any::<bool>(), 0_u8..4, 0_u8..3, 0_u32..3, any::<u8>()), 0..200)) {
            let (mut index, mut model) = (Index::default(), BTreeMap::new());
            for (add, head, tail, vout, channel) in steps {
                let mut txid = [0; 32];
                (txid[0], txid[31]) = (head, tail);
                let (outpoint, channel) = (OutPoint { txid: Txid::from_byte_array(txid), vout }, ChannelId([channel; 32]));
                if add {
                    prop_assert_eq!(index.insert(outpoint, channel), model.insert(outpoint, channel).is_none());
                } else {
                    index.remove(&outpoint);
                    model.remove(&outpoint);
                }
                prop_assert_eq!(index.get(&outpoint), model.get(&outpoint).copied());
            }
            for (outpoint, channel) in model {
                prop_assert_eq!(index.get(&outpoint), Some(channel));
            }
        }
    }
}
