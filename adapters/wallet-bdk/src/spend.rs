//! Building transactions: funding a channel, paying an address, sweeping.
//!
//! Spent are confirmed coins and change of our own; never unconfirmed coins of others, which they could take back,
//! and with them a channel funded by them.
use bdk_wallet::coin_selection::DefaultCoinSelectionAlgorithm;
use bdk_wallet::error::CreateTxError;
use bdk_wallet::{KeychainKind, TxBuilder};
use bitcoin::address::NetworkUnchecked;
use bitcoin::{Address, Amount, FeeRate, OutPoint, ScriptBuf, Transaction};
use lightning_traits::units::FeeratePerKw;

use crate::coins::INPUT_WEIGHT;
use crate::error::WalletError;
use crate::wallet::{OnchainWallet, State};

/// A signed transaction. Its coins are promised to it until it is [inserted](OnchainWallet::insert_unconfirmed)
/// after broadcast, or [released](OnchainWallet::release_transaction).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Built {
    /// The transaction.
    pub transaction: Transaction,
    /// What it pays to miners.
    pub fee: Amount,
    /// Index of the output that was asked for.
    pub output: u32,
}

/// How much to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendAmount {
    /// So much; the fee comes on top.
    Exactly(Amount),
    /// All that can be spent; the fee goes off it.
    All,
}

impl OnchainWallet {
    /// A transaction with one output of `amount` to `script`, say the funding output of a channel (BOLT 3).
    ///
    /// All its inputs are segwit, so its id is final before it is broadcast.
    pub fn build_funding(
        &self,
        script: &ScriptBuf,
        amount: Amount,
        feerate: FeeratePerKw,
    ) -> Result<Built, WalletError> {
        self.build(script, SendAmount::Exactly(amount), feerate)
    }

    /// One transaction with all these outputs, say the funding outputs of several channels.
    ///
    /// All its inputs are segwit, so its id is final before it is broadcast.
    pub fn build_batch(
        &self,
        outputs: &[(ScriptBuf, Amount)],
        feerate: FeeratePerKw,
    ) -> Result<(Transaction, Amount), WalletError> {
        let mut state = self.state.lock();
        self.build_with(&mut state, feerate, |builder| {
            for (script, amount) in outputs {
                builder.add_recipient(script.clone(), *amount);
            }
        })
    }

    /// A payment to an address.
    pub fn send(
        &self,
        address: &Address<NetworkUnchecked>,
        amount: SendAmount,
        feerate: FeeratePerKw,
    ) -> Result<Built, WalletError> {
        let checked = address.clone().require_network(self.network);
        let address = checked.map_err(|_| WalletError::AddressNetwork(self.network))?;
        self.build(&address.script_pubkey(), amount, feerate)
    }

    /// Takes the promise back: the transaction will not be broadcast.
    pub fn release_transaction(&self, transaction: &Transaction) {
        let mut state = self.state.lock();
        for input in &transaction.input {
            state.bdk.unlock_outpoint(input.previous_output);
        }
    }

    /// Takes back all promises but those to these transactions: for a start, when nobody else can have one any more.
    pub fn release_all_but(&self, kept: &[Transaction]) {
        let mut state = self.state.lock();
        let used = |outpoint: &OutPoint| {
            kept.iter()
                .flat_map(|transaction| &transaction.input)
                .any(|input| input.previous_output == *outpoint)
        };
        let unused: Vec<OutPoint> =
            state.bdk.list_locked_outpoints().filter(|outpoint| !used(outpoint)).collect();
        for outpoint in unused {
            state.bdk.unlock_outpoint(outpoint);
        }
    }

    fn build(
        &self,
        script: &ScriptBuf,
        amount: SendAmount,
        feerate: FeeratePerKw,
    ) -> Result<Built, WalletError> {
        let mut state = self.state.lock();
        let (transaction, fee) = self.build_with(&mut state, feerate, |builder| match amount {
            SendAmount::Exactly(amount) => {
                builder.add_recipient(script.clone(), amount);
            }
            SendAmount::All => {
                builder.drain_wallet().drain_to(script.clone());
            }
        })?;
        let index = transaction.output.iter().position(|output| output.script_pubkey == *script);
        let output = index.and_then(|index| u32::try_from(index).ok());
        let output = output.ok_or_else(|| WalletError::Library("the output is missing".into()))?;
        Ok(Built { transaction, fee, output })
    }

    /// Builds, signs, and promises the coins.
    fn build_with(
        &self,
        state: &mut State,
        feerate: FeeratePerKw,
        ask: impl FnOnce(&mut TxBuilder<'_, DefaultCoinSelectionAlgorithm>),
    ) -> Result<(Transaction, Amount), WalletError> {
        let barred = state.barred(feerate);
        let mut builder = state.bdk.build_tx();
        builder.unspendable(barred).fee_rate(FeeRate::from_sat_per_kwu(u64::from(feerate.to_sat_per_kw())));
        ask(&mut builder);
        let psbt = builder.finish().map_err(build_error)?;
        let library = |error: String| WalletError::Library(error);
        let fee = psbt.fee().map_err(|error| library(error.to_string()))?;
        let transaction = self.sign_own(state, psbt.unsigned_tx)?;
        if transaction.input.iter().any(|input| input.witness.is_empty()) {
            return Err(library("a coin of the wallet cannot be signed for".into()));
        }
        for input in &transaction.input {
            state.bdk.lock_outpoint(input.previous_output);
        }
        Ok((transaction, fee))
    }
}

fn build_error(error: CreateTxError) -> WalletError {
    match error {
        CreateTxError::CoinSelection(short) => {
            WalletError::NotEnough { needed: short.needed, available: short.available }
        }
        CreateTxError::OutputBelowDustLimit(_) => WalletError::Dust,
        CreateTxError::NoUtxosSelected => {
            WalletError::NotEnough { needed: Amount::ZERO, available: Amount::ZERO }
        }
        other => WalletError::Library(other.to_string()),
    }
}

impl State {
    /// Coins that no transaction of ours may spend now. bdk itself leaves out those that are locked or unripe, but not those that cost
    /// more than they bring, by which it finds too little where there is enough (RELIABILITY D22).
    fn barred(&self, feerate: FeeratePerKw) -> Vec<OutPoint> {
        let cost = feerate.fee(INPUT_WEIGHT);
        let dear = self.bdk.list_unspent().filter(|output| output.txout.value <= cost);
        let dear: Vec<OutPoint> = dear.map(|output| output.outpoint).collect();
        let lent = self.lent.values().flat_map(|loan| loan.coins.iter().copied());
        let foreign = self.bdk.list_unspent().filter(|output| {
            !output.chain_position.is_confirmed() && output.keychain == KeychainKind::External
        });
        lent.chain(foreign.map(|output| output.outpoint)).chain(dear).collect()
    }
}
