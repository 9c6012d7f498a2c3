//! Following the chain: every listener, block by block, to the tip of the source.
//!
//! # Invariants
//! - a listener sees a chain: each block connects on the one before, each disconnect takes the tip (interface
//!   contract of [`ChainListener`]); a block that cannot be fetched is waited for, never skipped (RELIABILITY L1)
//! - a source that fell behind is waited for, not followed backwards (E5): blocks are disconnected only for a
//!   chain with at least as much work
//! - a source of another chain is refused before any listener hears of it
//! - after an error, `poll` again goes on where it stopped: the listeners' own tips are the only memory needed
use std::collections::BTreeMap;

use bitcoin::block::Header;
use bitcoin::blockdata::constants::ChainHash;
use bitcoin::hashes::Hash;
use bitcoin::pow::Work;
use bitcoin::{Block, BlockHash, Network};
use lightning_traits::interface::ChainListener;
use lightning_traits::units::BlockHeight;
use thiserror::Error;

use lightning_traits::interface::{BlockSource, SourceError, Tip};

/// Headers remembered, so that a reorganisation can be undone even on a source that never saw the lost blocks.
const REMEMBERED_HEADERS: u32 = 2016;
/// Blocks connected by one call of `poll` unless set.
const BLOCKS_PER_POLL: u32 = 500;

/// Where a call of [`ChainFollower::poll`] left the listeners.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// All are at the tip.
    Synced(Tip),
    /// Blocks remain: call again.
    More {
        /// Height that all have reached.
        reached: u32,
        /// Where the source is.
        tip: Tip,
    },
    /// The source has less work than a listener has seen: it restarted behind, or lost blocks. We wait for it.
    SourceBehind {
        /// Where the source is.
        tip: Tip,
        /// The height a listener is at.
        ours: u32,
    },
}

/// Why the chain could not be followed. No block was skipped.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum FollowError {
    /// The source does not answer as it should.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The source starts from another genesis block.
    #[error("the block source is on another chain: its first block is {found}, ours is {expected}.")]
    WrongChain {
        /// Of our network.
        expected: BlockHash,
        /// Of the source.
        found: BlockHash,
    },
    /// A listener's tip is unknown to the source, which is ahead of it, and to us.
    #[error("block {hash} at height {height}, which this node has seen, is unknown to the block source.")]
    UnknownTip {
        /// The listener's tip.
        hash: BlockHash,
        /// Its height.
        height: u32,
    },
    /// A listener did not take the block it was given as its tip: our bug, and going on would skip blocks.
    #[error("a listener stands at {found:?} instead of {expected:?} after a block was handed over.")]
    Stuck {
        /// Where it should be.
        expected: (BlockHash, BlockHeight),
        /// Where it says it is.
        found: Option<(BlockHash, BlockHeight)>,
    },
}

/// Brings listeners to the tip of a [`BlockSource`].
#[derive(Debug)]
pub struct ChainFollower<S> {
    source: S,
    genesis: BlockHash,
    genesis_seen: bool,
    blocks_per_poll: u32,
    headers: BTreeMap<BlockHash, (Header, u32)>,
}

impl<S: BlockSource> ChainFollower<S> {
    /// Follows `source`, which must be on `network`.
    pub fn new(source: S, network: Network) -> Self {
        let genesis = BlockHash::from_byte_array(ChainHash::using_genesis_block(network).to_bytes());
        Self {
            source,
            genesis,
            genesis_seen: false,
            blocks_per_poll: BLOCKS_PER_POLL,
            headers: BTreeMap::new(),
        }
    }

    /// At most `blocks` are connected by one call of [`poll`](Self::poll).
    #[must_use]
    pub fn with_blocks_per_poll(mut self, blocks: u32) -> Self {
        self.blocks_per_poll = blocks.max(1);
        self
    }

    /// The source.
    pub fn source(&self) -> &S {
        &self.source
    }

    /// Remembers a header from an earlier run: see [`headers`](Self::headers).
    pub fn remember(&mut self, header: Header, height: u32) {
        self.headers.insert(header.block_hash(), (header, height));
    }

    /// The headers handed over of late. Only a node whose bitcoind may be replaced by one that never saw a block
    /// that was reorganised away needs to keep them.
    pub fn headers(&self) -> impl Iterator<Item = (Header, u32)> + '_ {
        self.headers.values().copied()
    }

    /// Hands over what happened since, to each listener from its own tip. One without a tip gets the source's tip
    /// first. Trouble with one listener is reported after the others had their blocks.
    pub fn poll(&mut self, listeners: &[&dyn ChainListener]) -> Result<Progress, FollowError> {
        let result = self.poll_once(listeners);
        if result.is_err() {
            // Whatever answers next may be another daemon.
            self.genesis_seen = false;
        }
        result
    }

    fn poll_once(&mut self, listeners: &[&dyn ChainListener]) -> Result<Progress, FollowError> {
        let tip = self.source.tip()?;
        self.check_genesis()?;
        // One listener that cannot go on must not keep the others, who may have to punish, from their blocks.
        let mut ready: Vec<&dyn ChainListener> = Vec::with_capacity(listeners.len());
        let mut trouble: Option<Result<Progress, FollowError>> = None;
        for listener in listeners {
            match self.rewind(*listener, tip) {
                Ok(None) => ready.push(*listener),
                Ok(Some(behind)) => trouble = trouble.or(Some(Ok(behind))),
                Err(FollowError::Source(error)) => return Err(error.into()),
                Err(error) => trouble = Some(Err(error)),
            }
        }
        for _ in 0..self.blocks_per_poll {
            let Some(lowest) = ready.iter().map(|l| next_height(*l, tip)).min() else { break };
            if lowest > tip.height {
                break;
            }
            // The chain may change under us at any call. Then a hash is missing or a block does not fit, and
            // the next poll finds the fork.
            let Some(hash) = self.source.hash_at(lowest)? else { break };
            let block = self.source.block(&hash)?;
            let mut fits = true;
            ready.retain(|listener| {
                if next_height(*listener, tip) != lowest {
                    return true;
                }
                match connect(*listener, &block, lowest) {
                    Ok(connected) => {
                        fits &= connected;
                        true
                    }
                    Err(error) => {
                        trouble = Some(Err(error));
                        false
                    }
                }
            });
            self.keep_header(block.header, lowest);
            if !fits {
                break;
            }
        }
        if let Some(trouble) = trouble {
            return trouble;
        }
        let next = ready.iter().map(|l| next_height(*l, tip)).min();
        Ok(match next {
            Some(next) if next <= tip.height => Progress::More { reached: next.saturating_sub(1), tip },
            _ => Progress::Synced(tip),
        })
    }

    fn check_genesis(&mut self) -> Result<(), FollowError> {
        if self.genesis_seen {
            return Ok(());
        }
        let found = self.source.hash_at(0)?.ok_or_else(|| SourceError::Malformed {
            method: "getblockhash".into(),
            reason: "there is no first block".into(),
        })?;
        if found != self.genesis {
            return Err(FollowError::WrongChain { expected: self.genesis, found });
        }
        self.genesis_seen = true;
        Ok(())
    }

    /// Disconnects blocks until the listener's tip is in the source's best chain. Answers if the source must be waited for.
    fn rewind(&mut self, listener: &dyn ChainListener, tip: Tip) -> Result<Option<Progress>, FollowError> {
        let mut decided = false;
        while let Some((hash, height)) = listener.best_block() {
            let ours = height.get();
            let theirs = if ours <= tip.height { self.source.hash_at(ours)? } else { None };
            if theirs == Some(hash) {
                return Ok(None);
            }
            if !decided {
                // Both heights and hashes may differ for no other reason than a source that lost its last blocks.
                let lost = theirs.is_none() && ours <= tip.height;
                if lost || self.tip_work(tip)? < self.work_of(hash, ours, tip)? {
                    return Ok(Some(Progress::SourceBehind { tip, ours }));
                }
                decided = true;
            }
            let header = self.header_of(hash)?.ok_or(FollowError::UnknownTip { hash, height: ours })?;
            listener.block_disconnected(&header, height);
            expect_tip(listener, (header.prev_blockhash, height.minus(1)))?;
        }
        Ok(None)
    }

    /// Remembers a header that was handed over, and forgets old ones now and then.
    fn keep_header(&mut self, header: Header, height: u32) {
        self.remember(header, height);
        if self.headers.len() > usize::try_from(2 * REMEMBERED_HEADERS).unwrap_or(usize::MAX) {
            self.headers.retain(|_, (_, at)| at.saturating_add(REMEMBERED_HEADERS) > height);
        }
    }

    fn header_of(&self, hash: BlockHash) -> Result<Option<Header>, FollowError> {
        if let Some((header, _)) = self.headers.get(&hash) {
            return Ok(Some(*header));
        }
        Ok(self.source.header(&hash)?.map(|info| info.header))
    }

    fn tip_work(&self, tip: Tip) -> Result<Work, FollowError> {
        let info = self.source.header(&tip.hash)?.ok_or(SourceError::UnknownBlock(tip.hash))?;
        Ok(info.work)
    }

    /// Work of the chain up to `hash`: what the source says of the highest ancestor that it knows, and the
    /// remembered headers above it.
    fn work_of(&self, hash: BlockHash, height: u32, tip: Tip) -> Result<Work, FollowError> {
        let mut above = Vec::new();
        let mut at = hash;
        let known = loop {
            if let Some(info) = self.source.header(&at)? {
                break info.work;
            }
            match self.headers.get(&at) {
                Some((header, _)) => {
                    above.push(header.work());
                    at = header.prev_blockhash;
                }
                // A source that is lower and does not know our tip has yet to reach it, as far as we can tell.
                None if tip.height < height => return Ok(Work::from_be_bytes([0xff; 32])),
                None => return Err(FollowError::UnknownTip { hash, height }),
            }
        };
        Ok(above.into_iter().fold(known, |sum, work| sum + work))
    }
}

/// The height that the listener needs next.
fn next_height(listener: &dyn ChainListener, tip: Tip) -> u32 {
    listener.best_block().map_or(tip.height, |(_, height)| height.get().saturating_add(1))
}

/// Whether the block fits on the listener's tip; if so, it was handed over.
fn connect(listener: &dyn ChainListener, block: &Block, height: u32) -> Result<bool, FollowError> {
    if listener.best_block().is_some_and(|(hash, _)| hash != block.header.prev_blockhash) {
        return Ok(false);
    }
    let at = BlockHeight::new(height);
    listener.block_connected(block, at);
    expect_tip(listener, (block.block_hash(), at))?;
    Ok(true)
}

fn expect_tip(listener: &dyn ChainListener, expected: (BlockHash, BlockHeight)) -> Result<(), FollowError> {
    let found = listener.best_block();
    if found == Some(expected) { Ok(()) } else { Err(FollowError::Stuck { expected, found }) }
}
