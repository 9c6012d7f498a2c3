//! What users ask of the node, done.
//!
//! `onchain.rs`, `peers.rs`, `opening.rs`, `channels.rs`, `invoices.rs`, `payments.rs` and `towers.rs` hold the methods by subject; this file only leads
//! to them.
mod channels;
mod invoices;
mod onchain;
mod opening;
mod payments;
mod peers;
mod towers;

pub(super) use channels::funded_row as channel_row;

use std::sync::Arc;

use super::node::Inner;
use crate::api::Backend;
use crate::api::{request, response};
use crate::error::ApiError;

type Answer<T> = Result<T, ApiError>;

/// Answers for one running node.
pub struct NodeBackend(pub(crate) Arc<Inner>);

impl Backend for NodeBackend {
    fn getinfo(&self) -> Answer<response::Info> {
        Ok(peers::info(&self.0))
    }
    fn newaddr(&self) -> Answer<response::NewAddress> {
        onchain::new_address(&self.0)
    }
    fn balance(&self) -> Answer<response::Balance> {
        Ok(onchain::balance(&self.0))
    }
    fn send(&self, request: request::Send) -> Answer<response::Sent> {
        onchain::send(&self.0, &request)
    }
    fn listunspent(&self) -> Answer<response::UnspentList> {
        Ok(onchain::list_unspent(&self.0))
    }
    fn connect(&self, request: request::Connect) -> Answer<response::Connected> {
        peers::connect(&self.0, &request.peer)
    }
    fn disconnect(&self, request: request::Disconnect) -> Answer<response::Done> {
        peers::disconnect(&self.0, request.node_id)
    }
    fn listpeers(&self) -> Answer<response::PeerList> {
        Ok(peers::list(&self.0))
    }
    fn listtowers(&self) -> Answer<response::TowerList> {
        Ok(towers::list(&self.0))
    }
    fn coverage(&self) -> Answer<response::Coverage> {
        Ok(towers::coverage(&self.0))
    }
    fn openchannel(&self, request: request::OpenChannel) -> Answer<response::Channel> {
        opening::open(&self.0, &request)
    }
    fn multiopen(&self, request: request::MultiOpen) -> Answer<response::Openings> {
        opening::open_several(&self.0, &request)
    }
    fn fundpsbt(&self, request: request::FundPsbt) -> Answer<response::Openings> {
        opening::fund(&self.0, &request)
    }
    fn signedpsbt(&self, request: request::FundPsbt) -> Answer<response::Openings> {
        opening::fund_signed(&self.0, &request)
    }
    fn cancelfunding(&self, request: request::CancelFunding) -> Answer<response::Done> {
        opening::cancel(&self.0, request)
    }
    fn listrequests(&self) -> Answer<response::RequestList> {
        Ok(opening::requests(&self.0))
    }
    fn acceptchannel(&self, request: request::AcceptChannel) -> Answer<response::Channel> {
        opening::accept(&self.0, &request)
    }
    fn refusechannel(&self, request: request::RefuseChannel) -> Answer<response::Done> {
        opening::refuse(&self.0, &request)
    }
    fn listchannels(&self) -> Answer<response::ChannelList> {
        Ok(channels::list(&self.0))
    }
    fn closechannel(&self, request: request::CloseChannel) -> Answer<response::Channel> {
        channels::close(&self.0, request)
    }
    fn invoice(&self, request: request::Invoice) -> Answer<response::NewInvoice> {
        invoices::invoice(&self.0, &request)
    }
    fn holdinvoice(&self, request: request::HoldInvoice) -> Answer<response::NewInvoice> {
        invoices::hold(&self.0, &request)
    }
    fn settleinvoice(&self, request: request::SettleInvoice) -> Answer<response::InvoiceEntry> {
        invoices::settle(&self.0, request)
    }
    fn cancelinvoice(&self, request: request::CancelInvoice) -> Answer<response::InvoiceEntry> {
        invoices::cancel(&self.0, request.payment_hash)
    }
    fn listinvoices(&self) -> Answer<response::InvoiceList> {
        Ok(invoices::list(&self.0))
    }
    fn decode(&self, request: request::Decode) -> Answer<response::Decoded> {
        payments::decode(&self.0, &request)
    }
    fn pay(&self, request: request::Pay) -> Answer<response::Payment> {
        payments::pay(&self.0, &request)
    }
    fn keysend(&self, request: request::Keysend) -> Answer<response::Payment> {
        payments::keysend(&self.0, &request)
    }
    fn listpayments(&self) -> Answer<response::PaymentList> {
        Ok(payments::list(&self.0))
    }
    fn getpayment(&self, request: request::GetPayment) -> Answer<response::Payment> {
        payments::get(&self.0, request.payment_hash)
    }
    fn listevents(&self, request: request::ListEvents) -> Answer<response::EventList> {
        Ok(response::EventList { events: self.0.books.events(request.after, request.limit as usize) })
    }
}
