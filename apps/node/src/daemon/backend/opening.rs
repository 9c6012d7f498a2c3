//! Opening channels: one, or several by one transaction; funded by the node's wallet, or by an outside one; and proposals of peers.
//!
//! # Invariants
//! - coins of the wallet that were promised to a transaction are free again when no channel comes of it
use std::time::{Duration, Instant};

use bitcoin::absolute::LockTime;
use bitcoin::transaction::Version;
use bitcoin::{Address, Amount, Psbt, ScriptBuf, Transaction, TxOut};
use lightning_channel::channel::{AcceptOptions, BadTerms, OpenError, OpenOptions};
use lightning_channel::manager::{AcceptChannelError, FundingError, OpenChannelError};
use lightning_traits::config::Trust;
use lightning_traits::event::ChannelRequest;
use lightning_traits::id::{ChannelId, NodeId};
use lightning_traits::units::FeeratePerKw;

use super::Answer;
use super::channels::{find, row};
use super::onchain::{feerate, funding_fee, store, wallet_error};
use crate::api::kind::ChannelRef;
use crate::api::psbt;
use crate::api::request::{self, AmountOrAll};
use crate::api::response;
use crate::daemon::node::Inner;
use crate::daemon::openings::{Needed, Purse};
use crate::error::{ApiError, Code};

/// How long an opening may take until its funding transaction is out, or is asked for.
const OPENING_PATIENCE: Duration = Duration::from_secs(30);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// What the user wants of a channel beside its size.
#[derive(Clone, Copy)]
struct Wishes {
    announce: Option<bool>,
    private: bool,
    zero_conf: bool,
    zero_reserve: bool,
}

pub(super) fn open(node: &Inner, request: &request::OpenChannel) -> Answer<response::Channel> {
    let wishes = Wishes {
        announce: request.announce,
        private: request.private,
        zero_conf: request.zero_conf,
        zero_reserve: request.zero_reserve,
    };
    let options = OpenOptions { push: request.push_msat, ..options(node, wishes)? };
    let rate = feerate(&node.fees, request.feerate_sat_per_vbyte);
    let amount = match (request.psbt, request.amount_sat) {
        (true, AmountOrAll::Amount(amount)) => amount,
        (true, AmountOrAll::All) => {
            return Err(ApiError::bad("`all` is what this node's wallet has; with --psbt say how much"));
        }
        (false, wanted) => funding_amount(node, wanted, rate)?,
    };
    super::peers::connect(node, &request.peer)?;
    let peer = request.peer.node_id;
    let purse = match (request.psbt, request.feerate_sat_per_vbyte) {
        (true, _) => Purse::Outside,
        (false, chosen) => Purse::Wallet(chosen.map(|_| rate)),
    };
    let temporary = propose(node, peer, amount, options, purse)?;
    if request.psbt {
        let needed = await_needed(node, &[temporary])?;
        let mut opening = find(node, ChannelRef::Id(temporary)).map(|details| row(node, &details))?;
        opening.psbt = Some(psbt::encode(&template(&needed)));
        opening.funding_address = needed.first().and_then(|needed| address(node, &needed.script));
        return Ok(opening);
    }
    let channel = await_opened(node, &[temporary])?;
    node.keep_connected(peer);
    find(node, ChannelRef::Id(*channel.first().unwrap_or(&temporary))).map(|details| row(node, &details))
}

pub(super) fn open_several(node: &Inner, request: &request::MultiOpen) -> Answer<response::Openings> {
    let wishes = Wishes {
        announce: request.announce,
        private: request.private,
        zero_conf: request.zero_conf,
        zero_reserve: false,
    };
    let options = options(node, wishes)?;
    let rate = feerate(&node.fees, request.feerate_sat_per_vbyte);
    let wanted = &request.channels.0;
    if !request.psbt {
        let sum = wanted.iter().try_fold(Amount::ZERO, |sum, (_, amount)| sum.checked_add(*amount));
        funding_amount(node, AmountOrAll::Amount(sum.unwrap_or(Amount::MAX_MONEY)), rate)?;
    }
    for (peer, _) in wanted {
        super::peers::connect(node, peer)?;
    }
    let mut temporaries = Vec::with_capacity(wanted.len());
    for (peer, amount) in wanted {
        match propose(node, peer.node_id, *amount, options.clone(), Purse::Outside) {
            Ok(temporary) => temporaries.push(temporary),
            Err(error) => {
                give_up(node, &temporaries);
                return Err(error);
            }
        }
    }
    let needed = await_needed(node, &temporaries)?;
    if request.psbt {
        let channels = listed(node, &temporaries);
        let psbt = Some(psbt::encode(&template(&needed)));
        return Ok(response::Openings { txid: None, psbt, channels });
    }
    let outputs: Vec<(ScriptBuf, Amount)> =
        needed.iter().map(|needed| (needed.script.clone(), needed.value)).collect();
    let built = node.wallet.wallet().build_batch(&outputs, rate);
    let (transaction, _) = built.map_err(|error| {
        give_up(node, &temporaries);
        wallet_error(&error)
    })?;
    store(node)?;
    hand_over(node, &temporaries, &transaction).inspect_err(|_| give_up(node, &temporaries))?;
    let opened = await_opened(node, &temporaries)?;
    wanted.iter().for_each(|(peer, _)| node.keep_connected(peer.node_id));
    let txid = Some(transaction.compute_txid().to_string());
    Ok(response::Openings { txid, psbt: None, channels: listed(node, &opened) })
}

/// The unsigned transaction of an outside wallet.
pub(super) fn fund(node: &Inner, request: &request::FundPsbt) -> Answer<response::Openings> {
    let psbt = psbt::decode(&request.psbt)?;
    psbt::check_inputs(&psbt)?;
    let transaction = psbt.unsigned_tx;
    let temporaries = node.openings_in(&transaction);
    if temporaries.is_empty() {
        let message = "no output of this transaction is one that a channel waits for";
        return Err(ApiError::new(Code::BadRequest, message)
            .hint("keep the outputs of the PSBT that openchannel or multiopen answered as they are"));
    }
    let channels = hand_over(node, &temporaries, &transaction)?;
    await_all(node, &channels, &temporaries, |channel| node.is_safe_to_sign(channel))?;
    let txid = Some(transaction.compute_txid().to_string());
    Ok(response::Openings { txid, psbt: None, channels: listed(node, &channels) })
}

/// The same transaction, signed.
pub(super) fn fund_signed(node: &Inner, request: &request::FundPsbt) -> Answer<response::Openings> {
    let transaction = psbt::decode_signed(&request.psbt)?;
    let txid = transaction.compute_txid();
    let channels: Vec<ChannelId> = node
        .channels
        .list_channels()
        .into_iter()
        .filter(|details| details.funded.as_ref().is_some_and(|funded| funded.funding.txid == txid))
        .map(|details| details.channel)
        .collect();
    let Some(first) = channels.first() else {
        return Err(ApiError::new(Code::NoSuchChannel, format!("no channel waits for transaction {txid}"))
            .hint("give the unsigned PSBT to `lnode fundpsbt` first, and sign that"));
    };
    node.channels.funding_signed(*first, transaction).map_err(|error| funding_error(&error))?;
    node.wake.raise();
    let txid = Some(txid.to_string());
    Ok(response::Openings { txid, psbt: None, channels: listed(node, &channels) })
}

/// Calls a funding off.
pub(super) fn cancel(node: &Inner, request: request::CancelFunding) -> Answer<response::Done> {
    let details = find(node, request.channel)?;
    let done = if details.funded.is_some() {
        node.channels.cancel_funding(details.channel, "called off").map_err(|error| funding_error(&error))
    } else {
        node.channels
            .force_close(details.channel)
            .map_err(|error| ApiError::new(Code::WrongChannelState, error.to_string()))
    };
    node.net.wake();
    node.wake.raise();
    done.map(|()| response::Done {})
}

pub(super) fn requests(node: &Inner) -> response::RequestList {
    let row = |request: &ChannelRequest| response::ChannelRequest {
        channel_id: request.temporary.to_string(),
        peer_id: request.peer.to_string(),
        capacity_sat: request.funding.to_sat(),
        push_msat: request.push.to_msat(),
        announced: request.announce,
        zero_conf: request.zero_conf,
        channel_type: request.channel_type.features().bits().collect(),
        feerate_sat_per_kw: request.feerate.to_sat_per_kw(),
        reserve_sat: request.reserve.to_sat(),
        dust_limit_sat: request.dust_limit.to_sat(),
        to_self_delay: request.to_self_delay.get(),
        htlc_minimum_msat: request.htlc_minimum.to_msat(),
        max_in_flight_msat: request.max_in_flight.to_msat(),
        max_accepted_htlcs: request.max_accepted_htlcs,
        closing_address: request.upfront_shutdown.as_ref().and_then(|script| address(node, script)),
    };
    response::RequestList { requests: node.channels.channel_requests().iter().map(row).collect() }
}

pub(super) fn accept(node: &Inner, request: &request::AcceptChannel) -> Answer<response::Channel> {
    let ChannelRef::Id(temporary) = request.channel else { return Err(no_request(request.channel)) };
    let configured = node.options.user.handshake.trust(&request.node_id);
    let trust = Trust {
        zero_conf: configured.zero_conf || request.zero_conf,
        zero_reserve: configured.zero_reserve || request.zero_reserve,
    };
    let options = AcceptOptions {
        trust: Some(trust),
        reserve: request.reserve_sat,
        minimum_depth: request.minimum_depth,
        shutdown_script: None,
    };
    let accepted = node.channels.accept_channel_with(request.node_id, temporary, &options);
    accepted.map_err(|error| accept_error(&error, request.channel))?;
    node.net.wake();
    find(node, request.channel).map(|details| row(node, &details))
}

pub(super) fn refuse(node: &Inner, request: &request::RefuseChannel) -> Answer<response::Done> {
    let ChannelRef::Id(temporary) = request.channel else { return Err(no_request(request.channel)) };
    let reason = if request.reason.is_empty() { "not accepted" } else { &request.reason };
    let refused = node.channels.refuse_channel(request.node_id, temporary, reason);
    refused.map_err(|error| accept_error(&error, request.channel))?;
    node.net.wake();
    Ok(response::Done {})
}

fn no_request(channel: ChannelRef) -> ApiError {
    ApiError::new(Code::NoSuchChannel, format!("no proposal {channel} of that node waits"))
        .hint("see `lnode listrequests`")
}

fn accept_error(error: &AcceptChannelError, channel: ChannelRef) -> ApiError {
    match error {
        AcceptChannelError::Terms(BadTerms::NotTrusted) => {
            ApiError::new(Code::LimitExceeded, error.to_string())
                .hint("give --zero-conf only to a node that you trust with all that goes over the channel")
        }
        AcceptChannelError::Terms(_) => ApiError::new(Code::LimitExceeded, error.to_string()),
        _ => no_request(channel),
    }
}

fn options(node: &Inner, wishes: Wishes) -> Answer<OpenOptions> {
    if wishes.private && wishes.announce == Some(true) {
        return Err(ApiError::bad("a channel is either announced or private"));
    }
    let announce = !wishes.private && wishes.announce.unwrap_or(node.options.user.handshake.announce);
    Ok(OpenOptions {
        announce,
        zero_conf: wishes.zero_conf,
        zero_reserve: wishes.zero_reserve,
        hide_scid: wishes.private.then_some(true),
        ..OpenOptions::default()
    })
}

fn propose(
    node: &Inner,
    peer: NodeId,
    amount: Amount,
    options: OpenOptions,
    purse: Purse,
) -> Answer<ChannelId> {
    let proposed = node.propose(purse, || node.channels.open_channel_with(peer, amount, options));
    let temporary = proposed.map_err(|error| {
        let code = match error {
            OpenChannelError::NotConnected(_) => Code::NotConnected,
            _ => Code::LimitExceeded,
        };
        let hint = match error {
            OpenChannelError::Terms(OpenError::Terms(BadTerms::NotNegotiated(_))) => {
                "this node offers zero-conf channels when channels.zero_conf is true; the peer has its own settings"
            }
            _ => "",
        };
        ApiError::new(code, error.to_string()).hint(hint)
    })?;
    node.net.wake();
    node.wake.raise();
    Ok(temporary)
}

/// Waits until all openings ask for their outputs. If one fails, all are given up.
fn await_needed(node: &Inner, temporaries: &[ChannelId]) -> Answer<Vec<Needed>> {
    await_all(node, temporaries, temporaries, |temporary| node.needed_by(temporary).is_some())?;
    Ok(temporaries.iter().filter_map(|temporary| node.needed_by(*temporary)).collect())
}

fn await_opened(node: &Inner, temporaries: &[ChannelId]) -> Answer<Vec<ChannelId>> {
    await_all(node, temporaries, temporaries, |temporary| node.opened_as(temporary).is_some())?;
    Ok(temporaries.iter().filter_map(|temporary| node.opened_as(*temporary)).collect())
}

/// Waits until something is true of all `names`; `temporaries` are what the same channels were called first.
fn await_all(
    node: &Inner,
    names: &[ChannelId],
    temporaries: &[ChannelId],
    is_done: impl Fn(ChannelId) -> bool,
) -> Answer<()> {
    let begun = Instant::now();
    loop {
        if names.iter().all(|name| is_done(*name)) {
            return Ok(());
        }
        let failed = names.iter().chain(temporaries).find_map(|name| node.opening_failure(*name));
        if let Some(why) = failed {
            give_up(node, temporaries);
            let what = if names.len() > 1 { "no channel was opened" } else { "the channel was not opened" };
            return Err(ApiError::new(Code::PeerRefused, format!("{what}: {why}")));
        }
        if begun.elapsed() > OPENING_PATIENCE {
            let message = "the peer has not answered yet; the channel may still be opened";
            return Err(ApiError::new(Code::Timeout, message).hint("look with `lnode listchannels`"));
        }
        std::thread::sleep(LOOK_AGAIN);
    }
}

/// Gives up openings that no transaction funds yet.
fn give_up(node: &Inner, temporaries: &[ChannelId]) {
    for temporary in temporaries {
        if node.opened_as(*temporary).is_none() {
            // What is gone already need not be given up.
            let _gone = node.channels.force_close(*temporary);
        }
    }
    node.net.wake();
}

fn hand_over(node: &Inner, temporaries: &[ChannelId], transaction: &Transaction) -> Answer<Vec<ChannelId>> {
    node.note_funding(temporaries, transaction);
    let members = node.channels.funding_transaction_for(temporaries, transaction);
    let members = members.map_err(|error| {
        // The openings wait on: what they were given was not taken.
        node.forget_funding(transaction);
        funding_error(&error)
    })?;
    node.net.wake();
    node.wake.raise();
    Ok(members)
}

fn funding_error(error: &FundingError) -> ApiError {
    let (code, hint) = match error {
        FundingError::NotHeld(_) | FundingError::Broken(_) => {
            (Code::WrongChannelState, "see `lnode listchannels`")
        }
        FundingError::NotSigned(_) => (Code::BadRequest, "let the wallet sign and finalize the PSBT"),
        FundingError::OtherTransaction => {
            (Code::BadRequest, "sign the very transaction that was given to `lnode fundpsbt`")
        }
        _ => (Code::BadRequest, ""),
    };
    ApiError::new(code, error.to_string()).hint(hint)
}

/// A PSBT that lacks only inputs, and change.
fn template(needed: &[Needed]) -> Psbt {
    let output = needed
        .iter()
        .map(|needed| TxOut { value: needed.value, script_pubkey: needed.script.clone() })
        .collect();
    let unsigned =
        Transaction { version: Version::TWO, lock_time: LockTime::ZERO, input: Vec::new(), output };
    let outputs = vec![bitcoin::psbt::Output::default(); unsigned.output.len()];
    Psbt {
        unsigned_tx: unsigned,
        version: 0,
        xpub: Default::default(),
        proprietary: Default::default(),
        unknown: Default::default(),
        inputs: Vec::new(),
        outputs,
    }
}

fn address(node: &Inner, script: &ScriptBuf) -> Option<String> {
    Address::from_script(script, node.options.network).ok().map(|address| address.to_string())
}

fn listed(node: &Inner, channels: &[ChannelId]) -> Vec<response::Channel> {
    let found = channels.iter().filter_map(|channel| find(node, ChannelRef::Id(*channel)).ok());
    found.map(|details| row(node, &details)).collect()
}

fn funding_amount(node: &Inner, wanted: AmountOrAll, rate: FeeratePerKw) -> Answer<Amount> {
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
