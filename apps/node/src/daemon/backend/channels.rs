//! Channels: opening, listing, closing.
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use bitcoin::Amount;
use lightning_channel::channel::{ChannelDetails, CloseParams, PhaseName};
use lightning_channel::manager::{CommandError, OpenChannelError};
use lightning_traits::id::ChannelId;

use super::Answer;
use super::onchain::{feerate, funding_fee};
use crate::api::kind::ChannelRef;
use crate::api::request::{self, AmountOrAll};
use crate::api::response::{self, ChannelState};
use crate::daemon::node::Inner;
use crate::error::{ApiError, Code};

/// How long an opening may take until its funding transaction is out.
const OPENING_PATIENCE: Duration = Duration::from_secs(30);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

pub(super) fn open(node: &Inner, request: &request::OpenChannel) -> Answer<response::Channel> {
    let rate = feerate(&node.fees, request.feerate_sat_per_vbyte);
    let amount = funding_amount(node, request.amount_sat, rate)?;
    super::peers::connect(node, &request.peer)?;
    let announce = request.announce.unwrap_or(node.options.user.handshake.announce);
    let peer = request.peer.node_id;
    let temporary =
        node.channels.open_channel(peer, amount, request.push_msat, announce).map_err(|error| {
            let code = match error {
                OpenChannelError::NotConnected(_) => Code::NotConnected,
                _ => Code::LimitExceeded,
            };
            ApiError::new(code, error.to_string())
        })?;
    if request.feerate_sat_per_vbyte.is_some() {
        node.choose_feerate(temporary, rate);
    }
    node.net.wake();
    node.wake.raise();
    let begun = Instant::now();
    loop {
        if let Some(channel) = node.opened_as(temporary) {
            node.keep_connected(peer);
            return find(node, ChannelRef::Id(channel)).map(|details| row(node, &details));
        }
        if let Some(why) = node.opening_failure(temporary) {
            return Err(ApiError::new(Code::PeerRefused, format!("the channel was not opened: {why}")));
        }
        if begun.elapsed() > OPENING_PATIENCE {
            let message = "the peer has not answered yet; the channel may still be opened";
            return Err(ApiError::new(Code::Timeout, message).hint("look with `lnode listchannels`"));
        }
        std::thread::sleep(LOOK_AGAIN);
    }
}

fn funding_amount(
    node: &Inner,
    wanted: AmountOrAll,
    rate: lightning_traits::units::FeeratePerKw,
) -> Answer<Amount> {
    let wallet = node.wallet.wallet();
    let spendable = wallet.balance().spendable();
    let fee = funding_fee(rate, wallet.list_unspent().len());
    match wanted {
        AmountOrAll::Amount(amount) => {
            let needed = Amount::from_sat(amount.to_sat().saturating_add(funding_fee(rate, 1).to_sat()));
            if spendable < needed {
                let message = format!(
                    "not enough on-chain funds: {needed} are needed with fees, {spendable} can be spent"
                );
                return Err(ApiError::new(Code::InsufficientFunds, message)
                    .hint("send funds to an address of `lnode newaddr`"));
            }
            Ok(amount)
        }
        AmountOrAll::All => {
            spendable.checked_sub(fee).filter(|amount| *amount > Amount::ZERO).ok_or_else(|| {
                ApiError::new(Code::InsufficientFunds, format!("there are only {spendable} to spend"))
                    .hint("send funds to an address of `lnode newaddr`")
            })
        }
    }
}

pub(super) fn list(node: &Inner) -> response::ChannelList {
    let details = node.channels.list_channels();
    let mut channels: Vec<_> = details.iter().map(|details| row(node, details)).collect();
    let live: BTreeSet<String> = channels.iter().map(|row| row.channel_id.clone()).collect();
    channels.extend(node.books.closed().into_values().filter(|row| !live.contains(&row.channel_id)));
    response::ChannelList { channels }
}

/// What is known of a channel that has a funding transaction.
pub(in crate::daemon) fn funded_row(node: &Inner, channel: ChannelId) -> Option<response::Channel> {
    let known = node.books.closed().remove(&channel.to_string());
    let details = find(node, ChannelRef::Id(channel)).ok().filter(|details| details.funded.is_some());
    let mut found = details.map(|details| row(node, &details)).or(known)?;
    if found.closing_txid.is_none() {
        let monitor = node.monitors.monitor(channel);
        found.closing_txid =
            monitor.and_then(|monitor| monitor.closed_by()).map(|(txid, _)| txid.to_string());
    }
    Some(found)
}

pub(super) fn close(node: &Inner, request: request::CloseChannel) -> Answer<response::Channel> {
    let details = find(node, request.channel)?;
    let script = request
        .address
        .map(|address| address.require_network(node.options.network))
        .transpose()
        .map_err(|_| ApiError::new(Code::WrongNetwork, "the address is of another network"))?
        .map(|address| address.script_pubkey());
    let done = if request.force {
        node.channels.force_close(details.channel)
    } else {
        let feerate = request.feerate_sat_per_vbyte.map(|sat| feerate(&node.fees, Some(sat)));
        node.channels.close_channel(details.channel, CloseParams { script, feerate })
    };
    done.map_err(|error| command_error(&error))?;
    node.net.wake();
    node.wake.raise();
    let after = find(node, ChannelRef::Id(details.channel)).unwrap_or(details);
    Ok(row(node, &after))
}

fn command_error(error: &CommandError) -> ApiError {
    let code = match error {
        CommandError::UnknownChannel(_) => Code::NoSuchChannel,
        _ => Code::WrongChannelState,
    };
    ApiError::new(code, error.to_string())
}

fn find(node: &Inner, wanted: ChannelRef) -> Answer<ChannelDetails> {
    let is = |details: &ChannelDetails| match wanted {
        ChannelRef::Id(id) => details.channel == id,
        ChannelRef::Short(scid) => details.funded.as_ref().is_some_and(|funded| funded.scid == Some(scid)),
    };
    let found = node.channels.list_channels().into_iter().find(is);
    found.ok_or_else(|| {
        ApiError::new(Code::NoSuchChannel, format!("there is no channel {wanted}"))
            .hint("see `lnode listchannels`")
    })
}

const fn state(phase: PhaseName) -> ChannelState {
    match phase {
        PhaseName::Offered
        | PhaseName::AwaitingTransaction
        | PhaseName::AwaitingSigned
        | PhaseName::Requested
        | PhaseName::AwaitingCreated => ChannelState::Opening,
        PhaseName::AwaitingReady => ChannelState::AwaitingConfirmations,
        PhaseName::Open => ChannelState::Open,
        PhaseName::Offline | PhaseName::Syncing => ChannelState::Offline,
        PhaseName::ShuttingDown | PhaseName::Negotiating => ChannelState::Closing,
        PhaseName::Resolving => ChannelState::Resolving,
        PhaseName::Closed => ChannelState::Closed,
    }
}

fn row(node: &Inner, details: &ChannelDetails) -> response::Channel {
    let mut row = response::Channel {
        channel_id: details.channel.to_string(),
        peer_id: details.peer.to_string(),
        state: state(details.phase),
        capacity_sat: details.capacity.to_sat(),
        close_reason: close_reason(node, details.channel),
        ..response::Channel::default()
    };
    if let Some(funded) = &details.funded {
        let height = node.height().get();
        let depth = |scid: lightning_traits::id::ShortChannelId| {
            height.saturating_sub(scid.block()).saturating_add(1)
        };
        row.short_channel_id = funded.scid.map(|scid| scid.to_string());
        row.local_msat = funded.our_balance.to_msat();
        row.remote_msat = funded.their_balance.to_msat();
        row.sendable_msat = funded.sendable.to_msat();
        row.receivable_msat = funded.receivable.to_msat();
        row.htlcs = funded.outgoing_htlcs.saturating_add(funded.incoming_htlcs) as u32;
        row.funding_outpoint = Some(funded.funding.to_string());
        row.confirmations = funded.scid.map_or(0, depth);
        row.confirmations_needed = node.options.user.handshake.minimum_depth;
        row.opener = funded.we_opened;
        row.announced = funded.announce;
        let monitor = node.monitors.monitor(details.channel);
        row.closing_txid = monitor.and_then(|monitor| monitor.closed_by()).map(|(txid, _)| txid.to_string());
    }
    row
}

fn close_reason(node: &Inner, channel: ChannelId) -> String {
    // The books also know what an earlier process was told.
    let written = || node.books.closed().remove(&channel.to_string()).map(|row| row.close_reason);
    node.close_reason(channel).or_else(written).unwrap_or_default()
}
