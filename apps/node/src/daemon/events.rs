//! What the structures report, answered and written down.
//!
//! # Invariants
//! - an event is acknowledged only after what follows from it is queued for the store; repeating it is harmless (I11)
use bitcoin::{Amount, ScriptBuf};
use lightning_traits::event::{CloseReason, Event, ReceivedKind};
use lightning_traits::id::{ChannelId, EventId};
use lightning_traits::interface::{ConfirmationTarget, EventsProvider, FeeEstimator as _};
use lightning_traits::payment::PaymentHash;
use lightning_traits::units::Msat;

use super::backend::channel_row;
use super::node::Inner;
use super::openings::{Needed, Purse};
use super::received;
use crate::api::response::PaymentState;

/// Answers all events that wait.
pub(super) fn handle(node: &Inner) {
    handle_of(node, &node.channels);
    handle_of(node, &node.monitors);
}

fn handle_of(node: &Inner, provider: &impl EventsProvider) {
    let mut after: Option<EventId> = None;
    while let Some((id, event)) = provider.next_event(after) {
        if on_event(node, event) {
            provider.acknowledge_event(id);
        }
        after = Some(id);
    }
}

/// Whether the event is dealt with; it comes again if not.
fn on_event(node: &Inner, event: Event) -> bool {
    // The user may pay in another way once it reads this: first the disk says that this one is not tried again.
    if let Event::PaymentFailed { hash, .. } = &event
        && let Err(error) = node.store.commit()
    {
        tracing::error!("{error}; payment {hash} has failed, and is told so once it works again");
        return false;
    }
    if let Some((kind, text)) = describe(&event) {
        tracing::info!("{text}");
        node.books.note(kind, text);
    }
    match event {
        Event::FundingNeeded { temporary, value, ref script, .. } => fund(node, temporary, script, value),
        Event::PaymentClaimable { hash, deadline, kind, .. } => {
            received::on_claimable(node, hash, deadline, kind);
        }
        Event::PaymentClaimed { hash, amount } => received::on_claimed(node, hash, amount.to_msat()),
        Event::PaymentReturned { hash, .. } => received::on_returned(node, hash),
        Event::PaymentSent { hash, ref preimage, amount, fee, .. } => {
            update_payment(node, hash, |row| {
                row.state = PaymentState::Succeeded;
                row.amount_msat = amount.to_msat();
                row.fee_msat = fee.map_or(row.fee_msat, Msat::to_msat);
                row.preimage = Some(hex(preimage.as_bytes()));
                row.attempts = row.attempts.saturating_add(1);
                row.parts = 0;
            });
        }
        Event::PaymentFailed { hash, ref reason, .. } => {
            let reason = reason.to_string();
            update_payment(node, hash, |row| {
                row.state = PaymentState::Failed;
                row.failure = Some(reason);
                row.parts = 0;
            });
        }
        Event::AttemptFailed { hash, .. } => {
            update_payment(node, hash, |row| row.attempts = row.attempts.saturating_add(1));
        }
        Event::Forwarded { amount, fee, .. } => {
            let fee = fee.unwrap_or(Msat::ZERO);
            node.books.add_forward(amount.to_msat(), fee.to_msat());
        }
        Event::FundingSafe { channel, .. } => node.note_safe(channel),
        Event::ChannelPending { channel, temporary, .. } => {
            node.on_funded(temporary, channel);
            node.note_opened(temporary, channel);
        }
        Event::ChannelClosed { channel, ref reason, .. } => {
            if matches!(reason, CloseReason::NeverFunded(_)) {
                node.on_not_funded(channel);
            }
            node.note_closed(channel, reason.to_string());
            remember_closed(node, channel);
        }
        // By now it is known which transaction did it.
        Event::Resolved { channel } => remember_closed(node, channel),
        _ => {}
    }
    true
}

/// Builds the transaction that an opening asks for, unless another is handed over for it.
fn fund(node: &Inner, temporary: ChannelId, script: &ScriptBuf, value: Amount) {
    node.note_needed(temporary, Needed { script: script.clone(), value });
    let chosen = match node.purse(temporary) {
        Purse::Wallet(chosen) => chosen,
        Purse::Outside => return,
    };
    let feerate = chosen.unwrap_or_else(|| node.fees.feerate(ConfirmationTarget::Normal));
    match node.wallet.wallet().build_funding(script, value, feerate) {
        Ok(built) => {
            let transaction = built.transaction;
            node.note_funding(&[temporary], &transaction);
            if let Err((_, error)) = node.channels.funding_transaction(temporary, transaction) {
                tracing::warn!("the funding transaction of {temporary} is not taken: {error}");
                node.on_not_funded(temporary);
            }
        }
        Err(error) => {
            tracing::error!("channel {temporary} cannot be funded: {error}");
            node.note_opening_failure(temporary, error.to_string());
            let _closed = node.channels.force_close(temporary);
        }
    }
}

fn remember_closed(node: &Inner, channel: ChannelId) {
    if let Some(row) = channel_row(node, channel) {
        node.books.put_closed(row);
    }
}

fn update_payment(node: &Inner, hash: PaymentHash, change: impl FnOnce(&mut crate::api::response::Payment)) {
    if let Some(mut row) = node.books.payment(&hash.to_string()) {
        change(&mut row);
        node.books.put_payment(row);
    }
}

/// A kind for programs and a sentence for people.
fn describe(event: &Event) -> Option<(&'static str, String)> {
    let described = match event {
        Event::ChannelPending { channel, funding, .. } => (
            "channel_pending",
            format!("channel {channel} waits for its funding transaction {}", funding.txid),
        ),
        Event::OpenChannelRequest(request) => (
            "channel_requested",
            format!("{} proposes a channel of {}, {}", request.peer, request.funding, request.temporary),
        ),
        Event::FundingSafe { channel, transaction, .. } => (
            "funding_safe",
            format!(
                "transaction {} can be signed: channel {channel} is ready for it",
                transaction.compute_txid()
            ),
        ),
        Event::ChannelReady { channel, peer, .. } => {
            ("channel_ready", format!("channel {channel} with {peer} is open"))
        }
        Event::ChannelClosed { channel, reason, .. } => {
            ("channel_closed", format!("channel {channel} is closed: {reason}"))
        }
        Event::PaymentClaimed { hash, amount } => {
            ("payment_received", format!("received {amount} for {hash}"))
        }
        Event::PaymentClaimable { hash, amount, deadline, kind: ReceivedKind::Held, .. } => {
            let text = format!("a payment of {amount} for {hash} waits until block {deadline}");
            ("payment_held", text)
        }
        Event::PaymentReturned { hash, amount } => (
            "payment_returned",
            format!("a payment of {amount} for {hash} went back: nobody settled it in time"),
        ),
        Event::PaymentSent { hash, amount, fee, .. } => {
            let cost = fee.map(|fee| format!(", for {fee} in fees")).unwrap_or_default();
            ("payment_sent", format!("payment {hash} of {amount} arrived{cost}"))
        }
        Event::PaymentFailed { hash, reason, .. } => {
            ("payment_failed", format!("payment {hash} failed: {reason}"))
        }
        Event::AttemptFailed { hash, failure, .. } => {
            ("attempt_failed", format!("an attempt of payment {hash} failed: {failure}"))
        }
        Event::Forwarded { from, to, amount, fee } => {
            let earned = fee.map_or_else(|| "an unknown fee".to_owned(), |fee| fee.to_string());
            ("forwarded", format!("forwarded {amount} from channel {from} to {to} for {earned}"))
        }
        Event::Swept { channel, transaction, .. } => {
            ("swept", format!("funds of channel {channel} came back in {}", transaction.compute_txid()))
        }
        Event::Resolved { channel } => ("resolved", format!("nothing of channel {channel} is left on chain")),
        _ => return None,
    };
    Some(described)
}

/// Bytes as people read them.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
