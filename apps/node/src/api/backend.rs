//! What a node must be able to do for its users: one function a method of the table.
//!
//! The functions block, and are called on threads that may (ADR 7): a backend may ask the disk, the chain or the
//! thread that drives the channels, and wait for the answer. They do not wait for blocks or for other nodes longer
//! than a handshake takes: `pay` answers when the payment is stored and under way, `openchannel` when the funding
//! transaction is out, `closechannel` when the closing has begun. The rest of the way is seen in the lists, so a client
//! that goes away loses nothing.
//!
//! # Invariants
//! - an error means that nothing was changed, except [`Code::Timeout`], whose text says what may still happen
use std::sync::{Arc, PoisonError, RwLock};

use super::request;
use super::response;
use crate::error::{ApiError, Code};

type Answer<T> = Result<T, ApiError>;

/// A node, as its API sees it.
pub trait Backend: Send + Sync {
    /// Who the node is and how it is.
    fn getinfo(&self) -> Answer<response::Info>;
    /// A fresh address of the wallet.
    fn newaddr(&self) -> Answer<response::NewAddress>;
    /// What is where.
    fn balance(&self) -> Answer<response::Balance>;
    /// Pays on chain.
    fn send(&self, request: request::Send) -> Answer<response::Sent>;
    /// The wallet's coins.
    fn listunspent(&self) -> Answer<response::UnspentList>;
    /// Connects to a peer; answers after both `init`.
    fn connect(&self, request: request::Connect) -> Answer<response::Connected>;
    /// Ends a connection.
    fn disconnect(&self, request: request::Disconnect) -> Answer<response::Done>;
    /// Peers.
    fn listpeers(&self) -> Answer<response::PeerList>;
    /// Watchtowers.
    fn listtowers(&self) -> Answer<response::TowerList>;
    /// How well the towers guard each channel.
    fn coverage(&self) -> Answer<response::Coverage>;
    /// Opens a channel; answers when the funding transaction is out, or why there is none.
    fn openchannel(&self, request: request::OpenChannel) -> Answer<response::Channel>;
    /// Opens several channels by one transaction, all or none of them.
    fn multiopen(&self, request: request::MultiOpen) -> Answer<response::Openings>;
    /// Takes the unsigned transaction of an outside wallet; answers when it is safe to sign.
    fn fundpsbt(&self, request: request::FundPsbt) -> Answer<response::Openings>;
    /// Takes the same transaction signed, and broadcasts it.
    fn signedpsbt(&self, request: request::FundPsbt) -> Answer<response::Openings>;
    /// Calls a funding off whose transaction nobody has broadcast, or ever will.
    fn cancelfunding(&self, request: request::CancelFunding) -> Answer<response::Done>;
    /// Channels that peers propose.
    fn listrequests(&self) -> Answer<response::RequestList>;
    /// Accepts one.
    fn acceptchannel(&self, request: request::AcceptChannel) -> Answer<response::Channel>;
    /// Refuses one.
    fn refusechannel(&self, request: request::RefuseChannel) -> Answer<response::Done>;
    /// Channels.
    fn listchannels(&self) -> Answer<response::ChannelList>;
    /// Begins to close a channel.
    fn closechannel(&self, request: request::CloseChannel) -> Answer<response::Channel>;
    /// Makes an invoice.
    fn invoice(&self, request: request::Invoice) -> Answer<response::NewInvoice>;
    /// Makes an invoice whose preimage the caller keeps.
    fn holdinvoice(&self, request: request::HoldInvoice) -> Answer<response::NewInvoice>;
    /// Takes a payment that waits.
    fn settleinvoice(&self, request: request::SettleInvoice) -> Answer<response::InvoiceEntry>;
    /// Calls an invoice off, and gives back what waits for it.
    fn cancelinvoice(&self, request: request::CancelInvoice) -> Answer<response::InvoiceEntry>;
    /// Invoices of ours.
    fn listinvoices(&self) -> Answer<response::InvoiceList>;
    /// Reads an invoice of anybody; see [`describe_invoice`](super::describe_invoice).
    fn decode(&self, request: request::Decode) -> Answer<response::Decoded>;
    /// Begins to pay; answers when the payment is stored and its first attempt is under way, or why it cannot be.
    fn pay(&self, request: request::Pay) -> Answer<response::Payment>;
    /// Begins to pay a node that has not asked for it.
    fn keysend(&self, request: request::Keysend) -> Answer<response::Payment>;
    /// Payments of ours.
    fn listpayments(&self) -> Answer<response::PaymentList>;
    /// One payment of ours.
    fn getpayment(&self, request: request::GetPayment) -> Answer<response::Payment>;
    /// What happened.
    fn listevents(&self, request: request::ListEvents) -> Answer<response::EventList>;
}

/// Where a backend will be once the node has started. Until then every method answers [`Code::NotReady`]; once the node is
/// frozen, why it is.
#[derive(Clone, Default)]
pub struct Slot(Arc<RwLock<Held>>);

#[derive(Default)]
enum Held {
    #[default]
    Starting,
    Running(Arc<dyn Backend>),
    Frozen(ApiError),
}

impl Slot {
    /// An empty one: the node is starting.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The node has started. Only the first call counts.
    pub fn fill(&self, backend: Arc<dyn Backend>) {
        let mut held = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if matches!(*held, Held::Starting) {
            *held = Held::Running(backend);
        }
    }

    /// The node does nothing any more, for this reason.
    pub fn freeze(&self, why: ApiError) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Held::Frozen(why);
    }

    /// The backend.
    ///
    /// # Errors
    /// [`Code::NotReady`] while there is none; why the node is frozen, once it is.
    pub fn backend(&self) -> Answer<Arc<dyn Backend>> {
        match &*self.0.read().unwrap_or_else(PoisonError::into_inner) {
            Held::Starting => {
                Err(ApiError::new(Code::NotReady, "the node is starting").hint("try again in a moment"))
            }
            Held::Running(backend) => Ok(Arc::clone(backend)),
            Held::Frozen(why) => Err(why.clone()),
        }
    }
}

impl std::fmt::Debug for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Slot(filled: {})", self.backend().is_ok())
    }
}
