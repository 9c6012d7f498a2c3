//! The on-chain wallet.
use bitcoin::Amount;
use lightning_chain_bitcoind::BitcoindFees;
use lightning_monitor::BalanceKind;
use lightning_traits::interface::{BroadcasterInterface as _, ConfirmationTarget, FeeEstimator};
use lightning_traits::units::{FeeratePerKw, Msat};
use lightning_wallet_bdk::{SendAmount, WalletError};

use super::Answer;
use crate::api::request::{self, AmountOrAll};
use crate::api::response;
use crate::daemon::node::Inner;
use crate::error::{ApiError, Code};

pub(super) fn new_address(node: &Inner) -> Answer<response::NewAddress> {
    let address = node.wallet.wallet().new_address().to_string();
    // An address that was given away must be known after a crash.
    store(node)?;
    Ok(response::NewAddress { address })
}

/// Makes the wallet's changes durable before their effect leaves the node.
pub(super) fn store(node: &Inner) -> Answer<()> {
    node.wallet.keep().map_err(|error| wallet_error(&error))?;
    node.store.wait_durable().map_err(|error| ApiError::new(Code::Disk, error.to_string()))
}

pub(super) fn balance(node: &Inner) -> response::Balance {
    let held = node.wallet.wallet().balance();
    let channels = node.channels.list_channels();
    let funded = || channels.iter().filter_map(|channel| channel.funded.as_ref());
    let sum =
        |amounts: &mut dyn Iterator<Item = Msat>| amounts.fold(Msat::ZERO, Msat::saturating_add).to_msat();
    let closing =
        node.monitors.balances().into_iter().filter(|balance| balance.kind != BalanceKind::InChannel);
    let needed = crate::daemon::reserve::needed(node);
    response::Balance {
        needed_reserve_sat: needed.amount.to_sat(),
        needed_reserve_coins: needed.coins,
        onchain_confirmed_sat: held.confirmed.to_sat(),
        onchain_unconfirmed_sat: held.change.to_sat().saturating_add(held.incoming.to_sat()),
        onchain_reserved_sat: held.reserved.to_sat(),
        channels_msat: sum(&mut funded().map(|channel| channel.our_balance)),
        sendable_msat: sum(&mut funded().map(|channel| channel.sendable)),
        receivable_msat: sum(&mut funded().map(|channel| channel.receivable)),
        closing_sat: closing.map(|balance| balance.amount.to_sat()).fold(0, u64::saturating_add),
    }
}

pub(super) fn list_unspent(node: &Inner) -> response::UnspentList {
    let height = node.height().get();
    let network = node.options.network;
    let outputs = node.wallet.wallet().list_unspent().into_iter().map(|coin| response::Unspent {
        outpoint: coin.outpoint.to_string(),
        amount_sat: coin.output.value.to_sat(),
        confirmations: coin.confirmed_at.map_or(0, |at| height.saturating_sub(at).saturating_add(1)),
        address: bitcoin::Address::from_script(&coin.output.script_pubkey, network)
            .map_or_else(|_| String::new(), |address| address.to_string()),
    });
    response::UnspentList { outputs: outputs.collect() }
}

pub(super) fn send(node: &Inner, request: &request::Send) -> Answer<response::Sent> {
    let amount = match request.amount_sat {
        AmountOrAll::All => SendAmount::All,
        AmountOrAll::Amount(amount) => SendAmount::Exactly(amount),
    };
    let feerate = feerate(&node.fees, request.feerate_sat_per_vbyte);
    let wallet = node.wallet.wallet();
    let built = wallet.send(&request.address, amount, feerate).map_err(|error| wallet_error(&error))?;
    wallet.insert_unconfirmed(&built.transaction);
    store(node)?;
    node.broadcaster.broadcast(std::slice::from_ref(&built.transaction));
    let address = request.address.clone().assume_checked().script_pubkey();
    let paid = built.transaction.output.iter().find(|output| output.script_pubkey == address);
    Ok(response::Sent {
        txid: built.transaction.compute_txid().to_string(),
        amount_sat: paid.map_or(0, |output| output.value.to_sat()),
        fee_sat: built.fee.to_sat(),
    })
}

/// The feerate that the user chose, or a normal one.
pub(super) fn feerate(fees: &BitcoindFees, chosen: Option<u32>) -> FeeratePerKw {
    match chosen {
        // 1 sat/vB is 250 sat/kw; the floor's three more let a rounded weight still pass.
        Some(per_vbyte) => FeeratePerKw::new(per_vbyte.saturating_mul(250)).max(FeeratePerKw::FLOOR),
        None => fees.feerate(ConfirmationTarget::Normal),
    }
}

/// What a funding transaction costs, roughly: two outputs, and the inputs that the amount takes at most.
pub(super) fn funding_fee(feerate: FeeratePerKw, coins: usize) -> Amount {
    feerate.fee(600_u64.saturating_add(280_u64.saturating_mul(coins as u64)))
}

pub(super) fn wallet_error(error: &WalletError) -> ApiError {
    let code = match error {
        WalletError::NotEnough { .. } => Code::InsufficientFunds,
        WalletError::Dust => Code::LimitExceeded,
        WalletError::AddressNetwork(_) => Code::WrongNetwork,
        _ => Code::Internal,
    };
    let hint =
        if code == Code::InsufficientFunds { "send funds to an address of `lnode newaddr`" } else { "" };
    ApiError::new(code, error.to_string()).hint(hint)
}
