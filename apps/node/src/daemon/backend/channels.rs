//! Channels: listing, closing.
use std::collections::BTreeSet;

use lightning_channel::channel::{ChannelDetails, CloseParams, PhaseName};
use lightning_channel::manager::CommandError;
use lightning_traits::feature::Feature;
use lightning_traits::id::ChannelId;

use super::Answer;
use super::onchain::feerate;
use crate::api::kind::ChannelRef;
use crate::api::request;
use crate::api::response::{self, ChannelState};
use crate::daemon::node::Inner;
use crate::error::{ApiError, Code};

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
        found.closing_txid = node.monitors.closed_by(channel).map(|(txid, _)| txid.to_string());
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

pub(super) fn find(node: &Inner, wanted: ChannelRef) -> Answer<ChannelDetails> {
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

pub(super) fn row(node: &Inner, details: &ChannelDetails) -> response::Channel {
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
        row.confirmations_needed = funded.minimum_depth;
        row.opener = funded.we_opened;
        row.announced = funded.announce;
        row.alias = Some(funded.alias.to_string());
        row.zero_conf = funded.channel_type.has(Feature::ZeroConf);
        row.hidden = funded.channel_type.has(Feature::ScidAlias);
        row.local_reserve_msat = funded.our_reserve.to_msat();
        row.remote_reserve_msat = funded.their_reserve.to_msat();
        row.closing_txid = node.monitors.closed_by(details.channel).map(|(txid, _)| txid.to_string());
    }
    row
}

fn close_reason(node: &Inner, channel: ChannelId) -> String {
    // The books also know what an earlier process was told.
    let written = || node.books.closed().remove(&channel.to_string()).map(|row| row.close_reason);
    node.close_reason(channel).or_else(written).unwrap_or_default()
}
