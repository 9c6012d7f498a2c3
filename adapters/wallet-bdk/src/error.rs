//! What can go wrong in the wallet, one sentence each.
use bitcoin::{Amount, Network};
use thiserror::Error;

/// Why the wallet did not do it. Its state is as it was.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum WalletError {
    /// The coins that may be spent do not suffice.
    #[error("not enough confirmed on-chain funds: {needed} are needed with fees, {available} can be spent")]
    NotEnough {
        /// Amount with fees.
        needed: Amount,
        /// What could be spent.
        available: Amount,
    },
    /// The amount is not worth an output.
    #[error("the amount is too small for an on-chain output")]
    Dust,
    /// The words are no BIP 39 mnemonic.
    #[error("the seed words are not valid: {0}")]
    Mnemonic(String),
    /// The stored wallet belongs to another seed.
    #[error("the stored wallet was made from another seed")]
    OtherSeed,
    /// The stored wallet is of another network.
    #[error("the stored wallet is not for {0}")]
    OtherNetwork(Network),
    /// The address is of another network.
    #[error("the address is not for {0}")]
    AddressNetwork(Network),
    /// There is nothing stored.
    #[error("there is no stored wallet")]
    Nothing,
    /// The stored bytes make no sense.
    #[error("the stored wallet is damaged: {0}")]
    Damaged(String),
    /// The library refuses for a reason that should not occur.
    #[error("the wallet library refuses: {0}")]
    Library(String),
}
