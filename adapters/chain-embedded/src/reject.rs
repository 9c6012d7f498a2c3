//! Why the chain refuses a transaction or a block, one variant a rule.
//!
//! The sentences are those that a bitcoind answers where it has one, since clients show or match them;
//! [`RejectReason::code`] is the JSON-RPC error code that goes with it.
use bitcoin::{Amount, OutPoint, Txid};
use thiserror::Error;

/// Why a transaction is not accepted.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum RejectReason {
    /// A rule on the shape of any transaction: no inputs, no outputs, doubled inputs, too big.
    #[error("{0}")]
    Malformed(&'static str),
    /// It is in the best chain already, with an output still unspent.
    #[error("Transaction outputs already in utxo set")]
    AlreadyConfirmed,
    /// It waits already, with this very witness.
    #[error("txn-already-in-mempool")]
    AlreadyInMempool,
    /// It waits already, with another witness.
    #[error("txn-same-nonwitness-data-in-mempool")]
    SameNonWitnessData,
    /// An input is unknown, or spent in the best chain.
    #[error("bad-txns-inputs-missingorspent, {0}")]
    MissingOrSpent(OutPoint),
    /// A coinbase output is spent before 100 blocks passed.
    #[error("bad-txns-premature-spend-of-coinbase, tried to spend coinbase at depth {depth}")]
    ImmatureCoinbase {
        /// Blocks since the coinbase.
        depth: u32,
    },
    /// Outputs are worth more than inputs.
    #[error("bad-txns-in-belowout, value in ({input}) < value out ({output})")]
    InBelowOut {
        /// Sum of the inputs.
        input: Amount,
        /// Sum of the outputs.
        output: Amount,
    },
    /// The lock time is not reached.
    #[error("non-final")]
    NonFinal,
    /// A relative lock time (BIP 68) is not reached.
    #[error("non-BIP68-final, input {input}")]
    NonBip68Final {
        /// The input whose coin is too young.
        input: usize,
    },
    /// A script or witness does not satisfy the coin.
    #[error("mandatory-script-verify-flag-failed, input {input}: {reason}")]
    Script {
        /// The input.
        input: usize,
        /// What Bitcoin Core's script code says.
        reason: String,
    },
    /// Valid, but of a form that nodes do not relay.
    #[error("{0}")]
    NonStandard(&'static str),
    /// An output costs more to spend than it is worth.
    #[error("dust, output {output} of {value}")]
    Dust {
        /// The output.
        output: usize,
        /// Its value.
        value: Amount,
    },
    /// Pays less than the minimum relay fee.
    #[error("min relay fee not met, {fee} < {needed}")]
    MinRelayFee {
        /// What it pays, together with its package.
        fee: Amount,
        /// What it would need.
        needed: Amount,
    },
    /// Pays less than what a mempool asks that has been full.
    #[error("mempool min fee not met, {fee} < {needed}")]
    MempoolMinFee {
        /// What it pays, together with its package.
        fee: Amount,
        /// What it would need.
        needed: Amount,
    },
    /// A package that would replace has not the form in which packages may.
    #[error("package RBF failed: {0}")]
    PackageReplacement(&'static str),
    /// Conflicts with waiting transactions and pays too little to replace them (BIP 125 rules 3, 4, 6).
    #[error("insufficient fee, {fee} < {needed}")]
    InsufficientFee {
        /// What it pays, together with its package.
        fee: Amount,
        /// What it would need.
        needed: Amount,
    },
    /// Would evict more than 100 transactions (BIP 125 rule 5).
    #[error("too many potential replacements, {0} > 100")]
    TooManyReplacements(usize),
    /// A replacement spends an unconfirmed coin that the replaced did not (BIP 125 rule 2).
    #[error("replacement-adds-unconfirmed, {0}")]
    ReplacementAddsUnconfirmed(OutPoint),
    /// Spends an output of a transaction that it would evict.
    #[error("bad-txns-spends-conflicting-tx, {0}")]
    SpendsConflicting(Txid),
    /// Too many unconfirmed ancestors or descendants.
    #[error("too-long-mempool-chain, {0}")]
    TooLongChain(&'static str),
    /// A rule for version 3 transactions (BIP 431).
    #[error("TRUC-violation, {0}")]
    Truc(&'static str),
    /// An output of dust value is not spent by every child in the same package.
    #[error("missing-ephemeral-spends")]
    EphemeralUnspent,
}

impl RejectReason {
    /// The JSON-RPC error code of `sendrawtransaction` for this reason.
    #[must_use]
    pub const fn code(&self) -> i64 {
        match self {
            Self::AlreadyConfirmed => -27,
            Self::MissingOrSpent(_) => -25,
            _ => -26,
        }
    }

    /// Whether more fee, or a child that pays it, could help.
    #[must_use]
    pub const fn is_fee(&self) -> bool {
        matches!(self, Self::InsufficientFee { .. } | Self::MinRelayFee { .. } | Self::MempoolMinFee { .. })
    }
}

/// Why a package is not accepted.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum PackageError {
    /// Empty, too long, unsorted, or not one child with parents of its own.
    #[error("{0}")]
    Shape(&'static str),
    /// One of its transactions is refused; earlier ones may have been accepted.
    #[error("{txid}: {reason}")]
    Transaction {
        /// Which one.
        txid: Txid,
        /// Why.
        reason: RejectReason,
    },
}

/// Why a block is not accepted.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum BlockError {
    /// A rule on the block as a whole.
    #[error("{0}")]
    Block(&'static str),
    /// It does not extend the tip: reorganisations are made by `disconnect_tip` and by mining.
    #[error("prev-blk-not-found")]
    NotOnTip,
    /// A transaction in it breaks a consensus rule.
    #[error("transaction {index}: {reason}")]
    Transaction {
        /// Position in the block.
        index: usize,
        /// Why.
        reason: RejectReason,
    },
}
