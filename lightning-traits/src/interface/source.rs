//! What a program asks of a chain, whoever answers: a bitcoind, or a chain in the same process.
//!
//! The structures never ask: they are given blocks through [`ChainListener`](super::ChainListener). Programs and
//! adapters ask, and this trait lets them ask any source.
use alloc::string::String;
use alloc::vec::Vec;

use bitcoin::block::Header;
use bitcoin::pow::Work;
use bitcoin::{Block, BlockHash, Network, OutPoint, Transaction, TxOut};
use thiserror::Error;

use crate::units::FeeratePerKw;

/// The tip of a source, and how it feels about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tip {
    /// Hash of the best block.
    pub hash: BlockHash,
    /// Its height.
    pub height: u32,
    /// Which network the source follows.
    pub network: Network,
    /// Whether the source itself is still catching up with the network.
    pub syncing: bool,
}

/// A header with its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeaderInfo {
    /// The header.
    pub header: Header,
    /// Its height.
    pub height: u32,
    /// Work of the chain up to and with it.
    pub work: Work,
}

/// An unspent output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unspent {
    /// The output.
    pub output: TxOut,
    /// Blocks on it, its own included.
    pub confirmations: u32,
    /// Whether a coinbase made it.
    pub coinbase: bool,
}

/// What became of an offered transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Broadcast {
    /// It waits for a block.
    Accepted,
    /// It is in the best chain.
    Confirmed,
    /// It was not taken. No proof that it is useless: fees and conflicts change (RELIABILITY L7).
    Refused {
        /// The JSON-RPC error code, where there was one.
        code: i64,
        /// The reason in the words of the source.
        reason: String,
    },
}

/// Why a source does not answer. Each says what to look at.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum SourceError {
    /// Nobody answers.
    #[error("bitcoind at {url} cannot be reached: {reason}. Is it running, and is this its RPC port?")]
    Unreachable {
        /// Where.
        url: String,
        /// What the system says.
        reason: String,
    },
    /// The password is wrong, or the cookie is another daemon's.
    #[error("bitcoind at {url} refuses the credentials. Check the cookie file or user and password.")]
    Credentials {
        /// Where.
        url: String,
    },
    /// The cookie file cannot be read.
    #[error(
        "the cookie file {path} cannot be read: {reason}. Is bitcoind running, and may this user read it?"
    )]
    Cookie {
        /// Which file.
        path: String,
        /// What the system says.
        reason: String,
    },
    /// The other network.
    #[error("bitcoind follows {found}, but this node is on {expected}.")]
    WrongNetwork {
        /// Ours.
        expected: Network,
        /// Its.
        found: String,
    },
    /// It has just started.
    #[error("bitcoind is starting: {0} It will answer when that is done.")]
    WarmingUp(String),
    /// It threw a block away that we need.
    #[error(
        "bitcoind has pruned block {0}, which this node has not seen. Let it keep more blocks, or reindex."
    )]
    Pruned(BlockHash),
    /// A block that it must know is unknown to it.
    #[error("bitcoind does not know block {0}. Was it replaced or its data deleted?")]
    UnknownBlock(BlockHash),
    /// It answered with a block that is not the one asked for, or is damaged.
    #[error("bitcoind answered with a wrong or damaged block for {0}. Check its disk and the path to it.")]
    WrongBlock(BlockHash),
    /// It answers with an error of its own.
    #[error("bitcoind refuses `{method}`: {message} ({code}).")]
    Rpc {
        /// What was asked.
        method: String,
        /// Its code.
        code: i64,
        /// Its words.
        message: String,
    },
    /// The answer makes no sense.
    #[error(
        "the answer to `{method}` is not what bitcoind answers: {reason}. Is something else on this port?"
    )]
    Malformed {
        /// What was asked.
        method: String,
        /// What is wrong.
        reason: String,
    },
}

/// A chain that can be asked. Calls may block on a network.
pub trait BlockSource {
    /// The tip of the best chain.
    fn tip(&self) -> Result<Tip, SourceError>;

    /// Hash of the block at `height` of the best chain; `None` above the tip.
    fn hash_at(&self, height: u32) -> Result<Option<BlockHash>, SourceError>;

    /// The header of a block, in the best chain or not; `None` if it is unknown.
    fn header(&self, hash: &BlockHash) -> Result<Option<HeaderInfo>, SourceError>;

    /// A block.
    fn block(&self, hash: &BlockHash) -> Result<Block, SourceError>;

    /// Offers one transaction, or parents with the child that pays for them. One answer for each.
    fn broadcast(&self, package: &[Transaction]) -> Result<Vec<Broadcast>, SourceError>;

    /// The feerate to confirm within `blocks`; `None` if the source has seen too little to say.
    fn feerate(&self, blocks: u16) -> Result<Option<FeeratePerKw>, SourceError>;

    /// The feerate below which the source takes nothing now.
    fn least_feerate(&self) -> Result<FeeratePerKw, SourceError>;

    /// An output if it is confirmed and unspent in the best chain; waiting transactions do not count.
    fn unspent(&self, outpoint: &OutPoint) -> Result<Option<Unspent>, SourceError>;

    /// What spends each of these and waits for a block, as far as the source has seen it.
    fn waiting_spenders(&self, outpoints: &[OutPoint]) -> Result<Vec<Transaction>, SourceError>;
}
