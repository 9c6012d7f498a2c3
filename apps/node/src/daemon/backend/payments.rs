//! Payments of this node.
use lightning_channel::payment::{self as channel, PayError, PayParams, Recipient};
use lightning_offers::bolt11::Bolt11Invoice;
use lightning_traits::feature::Feature;
use lightning_traits::id::{NodeId, PaymentId};
use lightning_traits::interface::EntropySource as _;
use lightning_traits::payment::{PaymentHash, Preimage};
use lightning_traits::units::{CltvDelta, Msat};

use super::Answer;
use crate::api::request;
use crate::api::response::{self, PaymentState};
use crate::api::{currency_network, describe_invoice, network_name, parse_invoice};
use crate::daemon::books::now;
use crate::daemon::node::Inner;
use crate::error::{ApiError, Code};

/// Parts at a time, unless asked otherwise: each costs its base fees.
const DEFAULT_PARTS: u16 = 16;

/// What an invoice may ask of us, its payer.
const UNDERSTOOD: &[Feature] =
    &[Feature::VarOnion, Feature::PaymentSecret, Feature::BasicMpp, Feature::PaymentMetadata];

/// Waits until everything queued is on the disk.
pub(super) fn durable(node: &Inner) -> Answer<()> {
    node.store.wait_durable().map_err(|error| ApiError::new(Code::Disk, error.to_string()))
}

/// The row as it is now: of a payment under way the channels know more.
fn current(node: &Inner, mut row: response::Payment) -> response::Payment {
    if row.state != PaymentState::Pending {
        return row;
    }
    let mut under_way = node.channels.list_payments().into_iter();
    let known = under_way.find(|payment| payment.hash.to_string() == row.payment_hash);
    if let Some(channel::PaymentState::Pending { parts, fee, .. }) = known.map(|payment| payment.state) {
        row.parts = u32::try_from(parts).unwrap_or(u32::MAX);
        row.fee_msat = fee.to_msat();
    }
    row
}

pub(super) fn list(node: &Inner) -> response::PaymentList {
    let rows = node.books.payments().into_iter();
    response::PaymentList { payments: rows.map(|row| current(node, row)).collect() }
}

pub(super) fn get(node: &Inner, hash: PaymentHash) -> Answer<response::Payment> {
    let row = node.books.payment(&hash.to_string());
    let row = row.ok_or_else(|| ApiError::new(Code::NoSuchPayment, format!("there is no payment {hash}")))?;
    Ok(current(node, row))
}

fn parse(node: &Inner, text: &str) -> Answer<Bolt11Invoice> {
    parse_invoice(node.keys.secp(), text)
}

pub(super) fn decode(node: &Inner, request: &request::Decode) -> Answer<response::Decoded> {
    let invoice = parse(node, &request.invoice)?;
    Ok(describe_invoice(&invoice, node.options.network, UNDERSTOOD, now()))
}

pub(super) fn pay(node: &Inner, request: &request::Pay) -> Answer<response::Payment> {
    let invoice = parse(node, &request.invoice)?;
    // Before all that may have changed since: a second order of what is paid is told so, whatever the channels can send now.
    if let Some(known) = node.books.payment(&invoice.payment_hash().to_string()) {
        refuse_again(&known)?;
    }
    let params = check(node, &invoice, request)?;
    begin(node, params, Some(invoice.expires_at()))
}

pub(super) fn keysend(node: &Inner, request: &request::Keysend) -> Answer<response::Payment> {
    if request.node_id == node.channels.node_id() {
        return Err(ApiError::bad("this is the node itself"));
    }
    check_sendable(node, request.amount_msat, 1)?;
    let preimage = Preimage::new(node.keys.bytes32());
    let mut params = PayParams::spontaneous(request.node_id, request.amount_msat, preimage);
    params.max_fee = request.max_fee_msat;
    begin(node, params, None)
}

/// An invoice is paid once (RELIABILITY F17).
fn refuse_again(known: &response::Payment) -> Answer<()> {
    let what = match known.state {
        PaymentState::Failed => return Ok(()),
        PaymentState::Succeeded => "is paid",
        PaymentState::Pending => "is being paid",
    };
    Err(ApiError::new(Code::AlreadyPaid, format!("this invoice {what} already")))
}

/// Writes the payment down and begins it.
fn begin(node: &Inner, params: PayParams, pay_until: Option<u64>) -> Answer<response::Payment> {
    let row = response::Payment {
        payment_hash: params.hash.to_string(),
        state: PaymentState::Pending,
        amount_msat: params.amount.to_msat(),
        fee_msat: 0,
        payee: params.payee.to_string(),
        attempts: 0,
        parts: 0,
        preimage: None,
        failure: None,
        created_at: now(),
        pay_until,
    };
    // The row first: a crash leaves a payment that is known and not made, never one made and not known. And of two who order
    // the same at once, one is refused.
    let before = match node.books.begin_payment(&row) {
        Ok(before) => before,
        Err(known) => return refuse_again(&known).map(|()| *known),
    };
    if let Err(error) = node.channels.pay(PaymentId(params.hash.0), params) {
        let code = match error {
            PayError::Duplicate(_) | PayError::SameHash(_) => Code::AlreadyPaid,
            _ => Code::BadRequest,
        };
        let failed =
            response::Payment { state: PaymentState::Failed, failure: Some(error.to_string()), ..row };
        node.books.put_payment(before.unwrap_or(failed));
        return Err(ApiError::new(code, error.to_string()));
    }
    // One transaction for both. It may still be made when this fails.
    durable(node)
        .map_err(|error| error.hint("it goes out once the disk works again: see `lnode listpayments`"))?;
    node.net.wake();
    Ok(current(node, node.books.payment(&row.payment_hash).unwrap_or(row)))
}

/// Whether our channels can send so much at all.
fn check_sendable(node: &Inner, amount: Msat, max_parts: u16) -> Answer<()> {
    let hops = node.channels.first_hops();
    let each = hops.iter().map(|hop| hop.sendable);
    let (sendable, what) = if max_parts > 1 {
        (each.fold(Msat::ZERO, Msat::saturating_add), "the channels of this node cannot send")
    } else {
        (each.max().unwrap_or(Msat::ZERO), "no channel of this node can send")
    };
    if sendable >= amount {
        return Ok(());
    }
    let message = format!("{what} {amount}; the most that can be sent now is {sendable}");
    Err(ApiError::new(Code::InsufficientFunds, message).hint("open a channel with `lnode openchannel`"))
}

/// Whether the invoice can be paid at all, and with what.
fn check(node: &Inner, invoice: &Bolt11Invoice, request: &request::Pay) -> Answer<PayParams> {
    let network = node.options.network;
    if !invoice.currency().is_for(network) {
        let message = format!(
            "the invoice is for {} (ln{}...), this node is on {}",
            currency_network(invoice.currency()),
            invoice.currency().prefix(),
            network_name(network)
        );
        return Err(ApiError::new(Code::WrongNetwork, message).hint("ask the payee for one of this network"));
    }
    if invoice.is_expired_at(now()) {
        return Err(ApiError::new(Code::InvoiceExpired, "the invoice has expired")
            .hint("ask the payee for a new one"));
    }
    if let Some(feature) = invoice.required_beyond(UNDERSTOOD) {
        let message = format!("the invoice asks for {}, which this node does not know", feature.name());
        return Err(ApiError::new(Code::BadInvoice, message));
    }
    let amount = amount_of(invoice, request.amount_msat)?;
    let payee = NodeId::from(*invoice.payee());
    if payee == node.channels.node_id() {
        return Err(ApiError::new(Code::BadInvoice, "the invoice is this node's own"));
    }
    // BOLT 4: "if the invoice offers the `basic_mpp` feature: MAY send more than one HTLC to pay the invoice".
    let is_divisible = invoice.features().supports(Feature::BasicMpp);
    let max_parts = if is_divisible { request.max_parts.unwrap_or(DEFAULT_PARTS).max(1) } else { 1 };
    check_sendable(node, amount, max_parts)?;
    let final_cltv = u16::try_from(invoice.min_final_cltv_expiry_delta()).unwrap_or(u16::MAX);
    let recipient = Recipient::invoice(invoice.payment_secret().clone())
        .with_metadata(invoice.metadata().map(<[u8]>::to_vec));
    let mut params =
        PayParams::new(payee, amount, invoice.payment_hash(), recipient, CltvDelta::new(final_cltv));
    params.hints = invoice.route_hints().to_vec();
    params.max_fee = request.max_fee_msat;
    params.max_parts = max_parts;
    // Nothing new is tried once the invoice has expired: its payee would refuse it.
    let minutes = invoice.expires_at().saturating_sub(now()).div_ceil(60);
    params.max_ticks = Some(u32::try_from(minutes).unwrap_or(u32::MAX));
    Ok(params)
}

fn amount_of(invoice: &Bolt11Invoice, given: Option<Msat>) -> Answer<Msat> {
    match (invoice.amount(), given) {
        (Some(asked), None) => Ok(asked),
        (None, Some(given)) => Ok(given),
        (Some(asked), Some(given)) if asked == given => Ok(asked),
        (Some(asked), Some(_)) => {
            Err(ApiError::bad(format!("the invoice asks for {asked}; leave the amount out")))
        }
        (None, None) => {
            Err(ApiError::bad("the invoice leaves the amount to you").hint("name it behind the invoice"))
        }
    }
}
