//! Payments to this node, as its invoices show them.
//!
//! # Invariants
//! - what is ours to take is taken at once; what the user decides on waits; what was called off goes back
//! - each function may be repeated: events come again after a crash (I11)
use lightning_traits::event::ReceivedKind;
use lightning_traits::payment::PaymentHash;
use lightning_traits::units::BlockHeight;

use super::books::now;
use super::node::Inner;
use crate::api::response::{InvoiceEntry, InvoiceState};

/// The invoice, or what stands in for one that the books do not have.
fn row(node: &Inner, hash: PaymentHash, stand_in: &str) -> InvoiceEntry {
    node.books.invoice(&hash.to_string()).unwrap_or_else(|| InvoiceEntry {
        payment_hash: hash.to_string(),
        description: stand_in.to_owned(),
        created_at: now(),
        ..InvoiceEntry::default()
    })
}

/// All parts of a payment are here.
pub(super) fn on_claimable(node: &Inner, hash: PaymentHash, deadline: BlockHeight, kind: ReceivedKind) {
    let (stand_in, is_held) = match kind {
        ReceivedKind::Held => (LOST, true),
        ReceivedKind::Spontaneous => ("a payment that nobody asked for", false),
        _ => (LOST, false),
    };
    let mut row = row(node, hash, stand_in);
    // Whoever pays what is paid does so by mistake: the books remember longer than the channels (RELIABILITY F17).
    if matches!(row.state, InvoiceState::Cancelled | InvoiceState::Paid) {
        if let Err(error) = node.channels.fail(hash) {
            tracing::warn!("payment {hash} of an invoice that is paid or called off: {error}");
        }
        return;
    }
    if is_held {
        row.state = InvoiceState::Held;
        row.hold = true;
        row.deadline_height = Some(deadline.get());
        node.books.put_invoice(row);
        return;
    }
    if kind == ReceivedKind::Spontaneous {
        node.books.put_invoice(row);
    }
    if let Err(error) = node.channels.claim(hash) {
        tracing::warn!("payment {hash} cannot be claimed: {error}");
    }
}

/// The payment is ours.
pub(super) fn on_claimed(node: &Inner, hash: PaymentHash, amount_msat: u64) {
    // Money that no invoice in the books asked for is money all the same, and the books say so.
    let mut row = row(node, hash, LOST);
    row.state = InvoiceState::Paid;
    row.received_msat = amount_msat;
    row.deadline_height = None;
    node.books.put_invoice(row);
}

/// A payment that waited has gone back.
pub(super) fn on_returned(node: &Inner, hash: PaymentHash) {
    if let Some(mut row) = node.books.invoice(&hash.to_string())
        && row.state == InvoiceState::Held
    {
        row.state = InvoiceState::Open;
        row.deadline_height = None;
        node.books.put_invoice(row);
    }
}

const LOST: &str = "an invoice that is not in the books";
