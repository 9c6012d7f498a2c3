//! Invoices of this node: made, settled, called off.
use lightning_channel::manager::InboundPayment;
use lightning_channel::payment::ClaimError;
use lightning_offers::bolt11::{BuildError, Currency, InvoiceBuilder};
use lightning_traits::interface::{KeysInterface as _, SignError};
use lightning_traits::payment::PaymentHash;
use lightning_traits::units::{CltvDelta, Msat};

use super::Answer;
use super::payments::durable;
use crate::api::request::{self, AmountOrAny};
use crate::api::response::{self, InvoiceState};
use crate::daemon::books::now;
use crate::daemon::node::Inner;
use crate::error::{ApiError, Code};

/// How long an invoice is good, unless asked otherwise (BOLT 11's own default).
const DEFAULT_EXPIRY: u32 = 3_600;
/// Blocks in which the user can decide on a payment that waits, unless asked otherwise: about a day.
const DEFAULT_HOLD: u16 = 144;

/// Blocks that a payment must have beyond those: it goes back 20 before its expiry, and may come a little late.
const BEFORE_EXPIRY: u16 = 24;

/// What an invoice says, whoever has its preimage.
struct Wanted<'a> {
    amount: AmountOrAny,
    description: &'a str,
    expiry: Option<u32>,
}

impl Wanted<'_> {
    const fn amount(&self) -> Option<Msat> {
        match self.amount {
            AmountOrAny::Any => None,
            AmountOrAny::Amount(amount) => Some(amount),
        }
    }

    fn expiry(&self) -> u32 {
        self.expiry.unwrap_or(DEFAULT_EXPIRY)
    }

    /// When it ends, as blocks tell the time.
    fn expires(&self, created_at: u64) -> u32 {
        u32::try_from(created_at.saturating_add(u64::from(self.expiry()))).unwrap_or(u32::MAX)
    }
}

pub(super) fn invoice(node: &Inner, request: &request::Invoice) -> Answer<response::NewInvoice> {
    let (amount, description, expiry) = (request.amount_msat, &request.description, request.expiry_s);
    let wanted = Wanted { amount, description, expiry };
    let created_at = now();
    let inbound = node.channels.create_inbound_payment(wanted.amount(), wanted.expires(created_at));
    make(node, &wanted, created_at, &inbound, false)
}

pub(super) fn hold(node: &Inner, request: &request::HoldInvoice) -> Answer<response::NewInvoice> {
    let (amount, description, expiry) = (request.amount_msat, &request.description, request.expiry_s);
    let wanted = Wanted { amount, description, expiry };
    if node.books.invoice(&request.payment_hash.to_string()).is_some() {
        let message = format!("there is an invoice for {} already", request.payment_hash);
        return Err(
            ApiError::bad(message).hint("whoever was paid for a hash may keep what is paid for it again")
        );
    }
    let created_at = now();
    let blocks = request.blocks.unwrap_or(DEFAULT_HOLD).saturating_add(BEFORE_EXPIRY);
    let inbound = node.channels.create_inbound_payment_for_hash(
        request.payment_hash,
        wanted.amount(),
        wanted.expires(created_at),
        Some(CltvDelta::new(blocks)),
    );
    make(node, &wanted, created_at, &inbound, true)
}

/// Signs the invoice and writes it down.
fn make(
    node: &Inner,
    wanted: &Wanted<'_>,
    created_at: u64,
    inbound: &InboundPayment,
    hold: bool,
) -> Answer<response::NewInvoice> {
    let mut builder = InvoiceBuilder::new(Currency::of_network(node.options.network), created_at)
        .payment_hash(inbound.hash)
        .payment_secret(inbound.secret.clone())
        .description(wanted.description.to_owned())
        .expiry_seconds(u64::from(wanted.expiry()))
        .min_final_cltv_expiry_delta(u32::from(inbound.final_cltv_delta.get()))
        .features(node.channels.invoice_features());
    for hint in node.channels.route_hints() {
        builder = builder.route_hint(hint);
    }
    if let Some(amount) = wanted.amount() {
        builder = builder.amount(amount);
    }
    let built = builder.build(node.keys.secp(), |digest| node.keys.sign_invoice(digest));
    let built = built.map_err(|error: BuildError<SignError>| ApiError::bad(error.to_string()))?;
    let row = response::InvoiceEntry {
        payment_hash: inbound.hash.to_string(),
        state: InvoiceState::Open,
        amount_msat: wanted.amount().map(Msat::to_msat),
        received_msat: 0,
        description: wanted.description.to_owned(),
        invoice: built.to_string(),
        created_at,
        expires_at: built.expires_at(),
        hold,
        deadline_height: None,
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

fn known(node: &Inner, hash: PaymentHash) -> Answer<response::InvoiceEntry> {
    let row = node.books.invoice(&hash.to_string());
    row.ok_or_else(|| ApiError::new(Code::NoSuchPayment, format!("there is no invoice for {hash}")))
}

pub(super) fn settle(node: &Inner, request: request::SettleInvoice) -> Answer<response::InvoiceEntry> {
    let hash = request.preimage.hash();
    let row = known(node, hash)?;
    match node.channels.claim_with(request.preimage) {
        Ok(()) => {
            node.net.wake();
            durable(node)?;
            known(node, hash)
        }
        // Asked for again.
        Err(_) if row.state == InvoiceState::Paid => Ok(row),
        Err(ClaimError::Unknown(_)) => {
            let message = "no payment of this invoice waits to be settled";
            Err(ApiError::new(Code::NoSuchPayment, message)
                .hint("`lnode listinvoices` shows those that are held"))
        }
        Err(error) => Err(ApiError::bad(error.to_string())),
    }
}

pub(super) fn cancel(node: &Inner, hash: PaymentHash) -> Answer<response::InvoiceEntry> {
    let mut row = known(node, hash)?;
    match row.state {
        InvoiceState::Paid => {
            return Err(ApiError::new(Code::AlreadyPaid, "this invoice is paid"));
        }
        InvoiceState::Cancelled => return Ok(row),
        InvoiceState::Open | InvoiceState::Expired | InvoiceState::Held => {}
    }
    let given_back = node.channels.fail(hash).is_ok();
    if row.state == InvoiceState::Held && !given_back {
        let message = "the payment is being settled, or goes back by itself";
        return Err(ApiError::new(Code::AlreadyPaid, message).hint("`lnode listinvoices` shows how it ends"));
    }
    row.state = InvoiceState::Cancelled;
    row.deadline_height = None;
    node.books.put_invoice(row.clone());
    node.net.wake();
    durable(node)?;
    Ok(row)
}

pub(super) fn list(node: &Inner) -> response::InvoiceList {
    let at = now();
    let mut invoices = node.books.invoices();
    for row in &mut invoices {
        // What was never an invoice does not expire.
        if row.state == InvoiceState::Open && row.expires_at <= at && !row.invoice.is_empty() {
            row.state = InvoiceState::Expired;
        }
    }
    response::InvoiceList { invoices }
}
