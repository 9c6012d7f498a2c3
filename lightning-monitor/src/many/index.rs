//! Which channel an outpoint concerns: asked for each input of each block.
//!
//! The order of a hash table is never seen here (I10): outpoints are only put in, looked up and taken out. Before it stands a
//! filter, one to two bytes for each outpoint, which knows nearly all of what is not there: it stays in the processor's own cache where
//! the table of a million outpoints does not.
//!
//! # Invariants
//! - a look-up of what is not there touches one place of the filter, however many outpoints there are, so that a block costs
//!   its own inputs (I13)
//! - whatever is in the table has its bits in the filter; what was taken out may have left some there until it is made anew
use alloc::vec::Vec;

use bitcoin::OutPoint;
use bitcoin::hashes::Hash as _;
use hashbrown::HashTable;
use lightning_traits::id::ChannelId;

/// Outpoints for each word of the filter, at most. With three bits each, one look-up in thirty then goes on to the table in vain: that
/// costs less than a filter twice as large, which a cache of two megabytes would not hold for a million outpoints.
const FOR_EACH_WORD: usize = 8;

/// Watched outpoints.
#[derive(Clone, Debug, Default)]
pub(super) struct Index {
    table: HashTable<(OutPoint, ChannelId)>,
    /// As many words as a power of two has, or none.
    filter: Vec<u64>,
    /// How many outpoints the filter has been given.
    marked: usize,
}

impl Index {
    /// The channel that watches the outpoint.
    pub(super) fn get(&self, outpoint: &OutPoint) -> Option<ChannelId> {
        let hash = hash(outpoint);
        let bits = bits(hash);
        let word = self.filter.get(place(hash, self.filter.len()))?;
        if word & bits != bits {
            return None;
        }
        self.table.find(hash, |(known, _)| known == outpoint).map(|(_, channel)| *channel)
    }

    /// Watches an outpoint; `false` when it was watched already, and then the newer channel has it.
    pub(super) fn insert(&mut self, outpoint: OutPoint, channel: ChannelId) -> bool {
        let hash_of = |(known, _): &(OutPoint, ChannelId)| hash(known);
        let hash = hash(&outpoint);
        if let Some(known) = self.table.find_mut(hash, |(known, _)| *known == outpoint) {
            known.1 = channel;
            return false;
        }
        self.table.insert_unique(hash, (outpoint, channel), hash_of);
        if self.marked < self.filter.len().saturating_mul(FOR_EACH_WORD) {
            self.mark(hash);
        } else {
            self.mark_all();
        }
        true
    }

    /// Watches an outpoint no longer.
    pub(super) fn remove(&mut self, outpoint: &OutPoint) {
        if let Ok(found) = self.table.find_entry(hash(outpoint), |(known, _)| known == outpoint) {
            found.remove();
        }
    }

    fn mark(&mut self, hash: u64) {
        let at = place(hash, self.filter.len());
        if let Some(word) = self.filter.get_mut(at) {
            *word |= bits(hash);
        }
        self.marked = self.marked.saturating_add(1);
    }

    /// Makes the filter anew, with room for as many outpoints again.
    fn mark_all(&mut self) {
        let words = (self.table.len() / FOR_EACH_WORD).saturating_add(1).next_power_of_two();
        self.filter = alloc::vec![0; words];
        self.marked = 0;
        let hashes: Vec<u64> = self.table.iter().map(|(outpoint, _)| hash(outpoint)).collect();
        hashes.into_iter().for_each(|hash| self.mark(hash));
    }
}

/// The word for a hash, among a power of two of them.
const fn place(hash: u64, words: usize) -> usize {
    // The table takes its place from the low bits and its tags from the top ones; these are between.
    (hash >> 8) as usize & words.wrapping_sub(1)
}

/// Three bits of a word.
const fn bits(hash: u64) -> u64 {
    1 << (hash >> 58) | 1 << (hash >> 52 & 63) | 1 << (hash >> 46 & 63)
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
