//! A tower's view of the chain: the one that all see, through a source that is away now and then, lacks a block, or refuses what
//! it is sent.
use std::cell::Cell;
use std::rc::Rc;

use bitcoin::{Block, BlockHash, OutPoint, Transaction};
use lightning_chain_embedded::EmbeddedChain;
use lightning_traits::interface::{BlockSource, Broadcast, HeaderInfo, SourceError, Tip, Unspent};
use lightning_traits::units::FeeratePerKw;

/// What is wrong with a view.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Blur {
    /// Nothing.
    #[default]
    None,
    /// Nobody answers.
    Away,
    /// The block at this height, and what is above it, cannot be had (RELIABILITY L1, L10).
    Missing(u32),
    /// Whatever is sent is refused with this code (RELIABILITY L7).
    Refusing(i64),
}

/// The chain as one tower sees it.
#[derive(Clone)]
pub(crate) struct View {
    pub(crate) chain: EmbeddedChain,
    pub(crate) blur: Rc<Cell<Blur>>,
}

impl View {
    pub(crate) fn of(chain: &EmbeddedChain) -> Self {
        Self { chain: chain.clone(), blur: Rc::default() }
    }

    fn reach(&self) -> Result<(), SourceError> {
        if self.blur.get() == Blur::Away {
            return Err(SourceError::Unreachable { url: "there".into(), reason: "nobody answers".into() });
        }
        Ok(())
    }
}

impl BlockSource for View {
    fn tip(&self) -> Result<Tip, SourceError> {
        self.reach()?;
        BlockSource::tip(&self.chain)
    }

    fn hash_at(&self, height: u32) -> Result<Option<BlockHash>, SourceError> {
        self.reach()?;
        BlockSource::hash_at(&self.chain, height)
    }

    fn header(&self, hash: &BlockHash) -> Result<Option<HeaderInfo>, SourceError> {
        self.reach()?;
        BlockSource::header(&self.chain, hash)
    }

    fn block(&self, hash: &BlockHash) -> Result<Block, SourceError> {
        self.reach()?;
        let height = self.chain.block_by_hash(hash).map(|(stored, _)| stored.height);
        if let (Blur::Missing(from), Some(height)) = (self.blur.get(), height)
            && height == from
        {
            return Err(SourceError::Pruned(*hash));
        }
        BlockSource::block(&self.chain, hash)
    }

    fn broadcast(&self, package: &[Transaction]) -> Result<Vec<Broadcast>, SourceError> {
        self.reach()?;
        if let Blur::Refusing(code) = self.blur.get() {
            let refused = Broadcast::Refused { code, reason: "not now".into() };
            return Ok(vec![refused; package.len()]);
        }
        BlockSource::broadcast(&self.chain, package)
    }

    fn feerate(&self, blocks: u16) -> Result<Option<FeeratePerKw>, SourceError> {
        self.reach()?;
        self.chain.feerate(blocks)
    }

    fn least_feerate(&self) -> Result<FeeratePerKw, SourceError> {
        self.reach()?;
        self.chain.least_feerate()
    }

    fn unspent(&self, outpoint: &OutPoint) -> Result<Option<Unspent>, SourceError> {
        self.reach()?;
        self.chain.unspent(outpoint)
    }

    fn waiting_spenders(&self, outpoints: &[OutPoint]) -> Result<Vec<Transaction>, SourceError> {
        self.reach()?;
        self.chain.waiting_spenders(outpoints)
    }
}
