//! Invoices and payments.
use lightning_channel::payment::{PayError, PayParams, Recipient};
use lightning_offers::bolt11::{Bolt11Invoice, BuildError, Currency, InvoiceBuilder};
use lightning_traits::feature::Feature;
use lightning_traits::id::{NodeId, PaymentId};
use lightning_traits::interface::{KeysInterface as _, SignError};
use lightning_traits::payment::PaymentHash;
use lightning_traits::units::{CltvDelta, Msat};

use super::Answer;
use crate::api::request::{self, AmountOrAny};
use crate::api::response::{self, InvoiceState, PaymentState};
use crate::api::{currency_network, describe_invoice, network_name, parse_invoice};
use crate::daemon::books::now;
use crate::daemon::node::Inner;
use crate::error::{ApiError, Code};

/// How long an invoice is good, unless asked otherwise (BOLT 11's own default).
const DEFAULT_EXPIRY: u32 = 3_600;

/// What an invoice may ask of us, its payer.
const UNDERSTOOD: &[Feature] =
    &[Feature::VarOnion, Feature::PaymentSecret, Feature::BasicMpp, Feature::PaymentMetadata];

pub(super) fn invoice(node: &Inner, request: &request::Invoice) -> Answer<response::NewInvoice> {
    let amount = match request.amount_msat {
        AmountOrAny::Any => None,
        AmountOrAny::Amount(amount) => Some(amount),
    };
    let expiry = request.expiry_s.unwrap_or(DEFAULT_EXPIRY);
    let created_at = now();
    let expires = u32::try_from(created_at.saturating_add(u64::from(expiry))).unwrap_or(u32::MAX);
    let inbound = node.channels.create_inbound_payment(amount, expires);
    let mut builder = InvoiceBuilder::new(Currency::of_network(node.options.network), created_at)
        .payment_hash(inbound.hash)
        .payment_secret(inbound.secret)
        .description(request.description.clone())
        .expiry_seconds(u64::from(expiry))
        .min_final_cltv_expiry_delta(u32::from(inbound.final_cltv_delta.get()))
        .features(node.channels.invoice_features());
    for hint in node.channels.route_hints() {
        builder = builder.route_hint(hint);
    }
    if let Some(amount) = amount {
        builder = builder.amount(amount);
    }
    let secp = lightning_traits::Secp::new();
    let built = builder.build(&secp, |digest| node.keys.sign_invoice(digest));
    let built = built.map_err(|error: BuildError<SignError>| ApiError::bad(error.to_string()))?;
    let row = response::InvoiceEntry {
        payment_hash: inbound.hash.to_string(),
        state: InvoiceState::Open,
        amount_msat: amount.map(Msat::to_msat),
        received_msat: 0,
        description: request.description.clone(),
        invoice: built.to_string(),
        created_at,
        expires_at: built.expires_at(),
    };
    let answer = response::NewInvoice {
        invoice: row.invoice.clone(),
        payment_hash: row.payment_hash.clone(),
        expires_at: row.expires_at,
    };
    node.books.put_invoice(row);
    // Whoever has an invoice may show it around: it must be known after a crash.
    durable(node)?;
    Ok(answer)
}

/// Waits until everything queued is on the disk.
fn durable(node: &Inner) -> Answer<()> {
    node.store.commit().map_err(|error| ApiError::new(Code::Disk, error.to_string()))?;
    // Receipts of channels may have come with it.
    node.wake.raise();
    Ok(())
}

pub(super) fn list_invoices(node: &Inner) -> response::InvoiceList {
    let at = now();
    let mut invoices = node.books.invoices();
    for row in &mut invoices {
        if row.state == InvoiceState::Open && row.expires_at <= at {
            row.state = InvoiceState::Expired;
        }
    }
    response::InvoiceList { invoices }
}

pub(super) fn get(node: &Inner, hash: PaymentHash) -> Answer<response::Payment> {
    let row = node.books.payment(&hash.to_string());
    row.ok_or_else(|| ApiError::new(Code::NoSuchPayment, format!("there is no payment {hash}")))
}

fn parse(text: &str) -> Answer<Bolt11Invoice> {
    parse_invoice(&lightning_traits::Secp::new(), text)
}

pub(super) fn decode(node: &Inner, request: &request::Decode) -> Answer<response::Decoded> {
    let invoice = parse(&request.invoice)?;
    Ok(describe_invoice(&invoice, node.options.network, UNDERSTOOD, now()))
}

pub(super) fn pay(node: &Inner, request: &request::Pay) -> Answer<response::Payment> {
    let invoice = parse(&request.invoice)?;
    let (amount, params) = check(node, &invoice, request)?;
    let hash = invoice.payment_hash();
    if let Some(known) = node.books.payment(&hash.to_string())
        && known.state != PaymentState::Failed
    {
        let what = if known.state == PaymentState::Succeeded { "is paid" } else { "is being paid" };
        return Err(ApiError::new(Code::AlreadyPaid, format!("this invoice {what} already")));
    }
    let row = response::Payment {
        payment_hash: hash.to_string(),
        state: PaymentState::Pending,
        amount_msat: amount.to_msat(),
        fee_msat: 0,
        payee: NodeId::from(*invoice.payee()).to_string(),
        attempts: 0,
        parts: 1,
        preimage: None,
        failure: None,
        created_at: now(),
    };
    // The row first: a crash leaves a payment that is known and not made, never one made and not known.
    let before = node.books.payment(&row.payment_hash);
    node.books.put_payment(row.clone());
    durable(node)?;
    if let Err(error) = node.channels.pay(PaymentId(hash.0), params) {
        let code = match error {
            PayError::Duplicate(_) | PayError::SameHash(_) => Code::AlreadyPaid,
            _ => Code::BadRequest,
        };
        let failed =
            response::Payment { state: PaymentState::Failed, failure: Some(error.to_string()), ..row };
        node.books.put_payment(before.unwrap_or(failed));
        return Err(ApiError::new(code, error.to_string()));
    }
    node.net.wake();
    node.wake.raise();
    Ok(node.books.payment(&row.payment_hash).unwrap_or(row))
}

/// Whether the invoice can be paid at all, and with what.
fn check(node: &Inner, invoice: &Bolt11Invoice, request: &request::Pay) -> Answer<(Msat, PayParams)> {
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
    let sendable = node.channels.first_hops().iter().map(|hop| hop.sendable).max().unwrap_or(Msat::ZERO);
    if sendable < amount {
        let message = format!(
            "no channel of this node can send {amount}; the most that one can send now is {sendable}"
        );
        return Err(
            ApiError::new(Code::InsufficientFunds, message).hint("open a channel with `lnode openchannel`")
        );
    }
    let final_cltv = u16::try_from(invoice.min_final_cltv_expiry_delta()).unwrap_or(u16::MAX);
    let recipient = Recipient::invoice(invoice.payment_secret().clone())
        .with_metadata(invoice.metadata().map(<[u8]>::to_vec));
    let mut params =
        PayParams::new(payee, amount, invoice.payment_hash(), recipient, CltvDelta::new(final_cltv));
    params.hints = invoice.route_hints().to_vec();
    params.max_fee = request.max_fee_msat;
    Ok((amount, params))
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
