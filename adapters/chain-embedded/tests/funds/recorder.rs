//! A listener that checks the contract of `ChainListener` at each call and keeps the chain it was shown.

use bitcoin::block::Header;
use bitcoin::{BlockHash, Txid};
use lightning_traits::interface::{ChainListener, ConfirmedTransaction};
use lightning_traits::sync::Mutex;
use lightning_traits::units::BlockHeight;

#[derive(Debug, Default)]
pub(crate) struct Recorder {
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    chain: Vec<(BlockHash, BlockHeight)>,
    ids: Vec<Txid>,
    disconnected: usize,
}

impl Recorder {
    /// Stands at a block already.
    pub(crate) fn at(hash: BlockHash, height: u32) -> Self {
        let chain = vec![(hash, BlockHeight::new(height))];
        Self { seen: Mutex::new(Seen { chain, ..Seen::default() }) }
    }

    pub(crate) fn hashes(&self) -> Vec<BlockHash> {
        self.seen.lock().chain.iter().map(|(hash, _)| *hash).collect()
    }

    pub(crate) fn disconnected(&self) -> usize {
        self.seen.lock().disconnected
    }

    pub(crate) fn saw(&self, txid: Txid) -> bool {
        self.seen.lock().ids.contains(&txid)
    }
}

impl ChainListener for Recorder {
    fn filtered_block_connected(
        &self,
        header: &Header,
        block: &[ConfirmedTransaction<'_>],
        height: BlockHeight,
    ) {
        let mut seen = self.seen.lock();
        if let Some((hash, below)) = seen.chain.last() {
            assert_eq!((header.prev_blockhash, height), (*hash, below.plus(1)), "a block was skipped");
        }
        seen.chain.push((header.block_hash(), height));
        seen.ids.extend(block.iter().map(|tx| tx.transaction.compute_txid()));
    }

    fn block_disconnected(&self, header: &Header, height: BlockHeight) {
        let mut seen = self.seen.lock();
        assert_eq!(seen.chain.pop(), Some((header.block_hash(), height)), "not the tip was disconnected");
        seen.disconnected += 1;
        if seen.chain.is_empty() {
            seen.chain.push((header.prev_blockhash, height.minus(1)));
        }
    }

    fn best_block(&self) -> Option<(BlockHash, BlockHeight)> {
        self.seen.lock().chain.last().copied()
    }
}
