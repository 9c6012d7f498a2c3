//! The embedded chain as a block source for programs in the same process: no socket, same code on top.
use std::collections::BTreeSet;

use bitcoin::pow::Work;
use bitcoin::{Block, BlockHash, Network, OutPoint, Transaction, Txid};
use lightning_traits::interface::{BlockSource, Broadcast, HeaderInfo, SourceError, Tip, Unspent};
use lightning_traits::units::FeeratePerKw;

use crate::chain::EmbeddedChain;
use crate::reject::{PackageError, RejectReason};

impl BlockSource for EmbeddedChain {
    fn tip(&self) -> Result<Tip, SourceError> {
        let (hash, height) = EmbeddedChain::tip(self);
        Ok(Tip { hash, height, network: Network::Regtest, syncing: false })
    }

    fn hash_at(&self, height: u32) -> Result<Option<BlockHash>, SourceError> {
        Ok(EmbeddedChain::hash_at(self, height))
    }

    fn header(&self, hash: &BlockHash) -> Result<Option<HeaderInfo>, SourceError> {
        Ok(self.block_by_hash(hash).map(|(stored, _)| HeaderInfo {
            header: stored.block.header,
            height: stored.height,
            work: work_at(stored.height),
        }))
    }

    fn block(&self, hash: &BlockHash) -> Result<Block, SourceError> {
        let (stored, _) = self.block_by_hash(hash).ok_or(SourceError::UnknownBlock(*hash))?;
        Ok((*stored.block).clone())
    }

    fn broadcast(&self, package: &[Transaction]) -> Result<Vec<Broadcast>, SourceError> {
        if package.len() > 1 && self.offer_package(package).is_ok() {
            return Ok(vec![Broadcast::Accepted; package.len()]);
        }
        Ok(package.iter().map(|tx| outcome(self.submit(tx).map(|_| ()))).collect())
    }

    fn feerate(&self, _blocks: u16) -> Result<Option<FeeratePerKw>, SourceError> {
        Ok(self.fee_estimate())
    }

    fn least_feerate(&self) -> Result<FeeratePerKw, SourceError> {
        let policy = self.policy();
        let per_kw = policy.min_relay_fee.max(policy.mempool_min_fee).div_ceil(4);
        Ok(FeeratePerKw::new(u32::try_from(per_kw).unwrap_or(u32::MAX)))
    }

    fn unspent(&self, outpoint: &OutPoint) -> Result<Option<Unspent>, SourceError> {
        let height = self.height();
        Ok(self.utxo(outpoint).map(|coin| Unspent {
            output: coin.output,
            confirmations: height.saturating_sub(coin.height).saturating_add(1),
            coinbase: coin.coinbase,
        }))
    }

    fn waiting_spenders(&self, outpoints: &[OutPoint]) -> Result<Vec<Transaction>, SourceError> {
        let spenders: BTreeSet<Txid> =
            outpoints.iter().filter_map(|outpoint| self.mempool_spender(outpoint)).collect();
        Ok(spenders.iter().filter_map(|txid| self.mempool_entry(txid)).map(|entry| entry.tx).collect())
    }
}

impl EmbeddedChain {
    fn offer_package(&self, package: &[Transaction]) -> Result<(), PackageError> {
        self.submit_package(package).map(|_| ())
    }
}

/// On regtest every block takes two hashes on average: the work up to a height follows from the height.
pub(crate) fn work_at(height: u32) -> Work {
    let hashes = u128::from(height).saturating_add(1).saturating_mul(2);
    let mut bytes = [0; 32];
    let (_, low) = bytes.split_at_mut(16);
    low.copy_from_slice(&hashes.to_be_bytes());
    Work::from_be_bytes(bytes)
}

fn outcome(result: Result<(), RejectReason>) -> Broadcast {
    match result {
        Ok(()) | Err(RejectReason::AlreadyInMempool) => Broadcast::Accepted,
        Err(RejectReason::AlreadyConfirmed) => Broadcast::Confirmed,
        Err(reason) => Broadcast::Refused { code: reason.code(), reason: reason.to_string() },
    }
}
