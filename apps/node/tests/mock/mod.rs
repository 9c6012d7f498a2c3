//! A backend without a node behind it, served over HTTP: it answers what it was asked, and remembers it.
#![allow(dead_code, unreachable_pub, reason = "each test program uses its part")]
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use lightning_node::api::kind::Kind;
use lightning_node::api::methods::Method;
use lightning_node::api::{ApiServer, Backend, ServerOptions, Shutdown, Slot, request, response};
use lightning_node::error::{ApiError, Code};
use serde_json::{Map, Value, json};

pub const NODE: &str = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";
pub const CHANNEL: &str = "abababababababababababababababababababababababababababababababab";
pub const ADDRESS: &str = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080";
/// Payments to these texts end so; all others succeed at the third look.
pub const FAILING: &str = "lnfails";
pub const STUCK: &str = "lnstuck";

/// The backend.
#[derive(Debug, Default)]
pub struct Mock {
    /// Requests as they arrived, in Rust's notation.
    pub seen: Mutex<Vec<String>>,
    /// What `getinfo` does.
    pub getinfo: Mutex<GetInfo>,
    /// Calls of `getinfo` that have begun.
    pub begun: AtomicU32,
    /// Calls of `getinfo` that were finished.
    pub finished: AtomicU32,
    looks: AtomicU32,
    paying: Mutex<String>,
}

/// What `getinfo` does.
#[derive(Clone, Copy, Debug, Default)]
pub enum GetInfo {
    #[default]
    Answer,
    Sleep(Duration),
    Panic,
}

impl Mock {
    fn saw(&self, what: &dyn std::fmt::Debug) {
        self.seen.lock().unwrap().push(format!("{what:?}"));
    }

    pub fn last(&self) -> String {
        self.seen.lock().unwrap().last().cloned().unwrap_or_default()
    }

    fn channel(&self, state: response::ChannelState) -> response::Channel {
        response::Channel {
            channel_id: CHANNEL.into(),
            peer_id: NODE.into(),
            state,
            capacity_sat: 100_000,
            sendable_msat: 99_000_000,
            confirmations: self.looks.load(Ordering::SeqCst),
            confirmations_needed: 3,
            ..Default::default()
        }
    }

    fn payment(&self) -> response::Payment {
        let looks = self.looks.fetch_add(1, Ordering::SeqCst);
        let invoice = self.paying.lock().unwrap().clone();
        let mut payment = response::Payment {
            payment_hash: CHANNEL.into(),
            amount_msat: 1_500,
            attempts: looks,
            parts: 1,
            ..Default::default()
        };
        if invoice == STUCK || looks < 2 {
            return payment;
        }
        if invoice == FAILING {
            payment.state = response::PaymentState::Failed;
            payment.failure = Some("no route with enough capacity".into());
        } else {
            payment.state = response::PaymentState::Succeeded;
            payment.preimage = Some("11".repeat(32));
        }
        payment
    }
}

type Answer<T> = Result<T, ApiError>;

impl Backend for Mock {
    fn getinfo(&self) -> Answer<response::Info> {
        self.begun.fetch_add(1, Ordering::SeqCst);
        let todo = *self.getinfo.lock().unwrap();
        match todo {
            GetInfo::Answer => {}
            GetInfo::Sleep(time) => thread::sleep(time),
            GetInfo::Panic => panic!("as the test wants it"),
        }
        self.finished.fetch_add(1, Ordering::SeqCst);
        Ok(response::Info {
            node_id: NODE.into(),
            alias: "mock".into(),
            block_height: 7,
            ..Default::default()
        })
    }
    fn newaddr(&self) -> Answer<response::NewAddress> {
        Ok(response::NewAddress { address: ADDRESS.into() })
    }
    fn balance(&self) -> Answer<response::Balance> {
        Ok(response::Balance { onchain_confirmed_sat: 1_234_567, ..Default::default() })
    }
    fn send(&self, request: request::Send) -> Answer<response::Sent> {
        self.saw(&request);
        if request.amount_sat == request::AmountOrAll::All {
            return Ok(response::Sent::default());
        }
        Err(ApiError::new(Code::InsufficientFunds, "1000 sat are needed and 10 sat are there")
            .hint("receive some with `lnode newaddr`"))
    }
    fn listunspent(&self) -> Answer<response::UnspentList> {
        Ok(response::UnspentList::default())
    }
    fn connect(&self, request: request::Connect) -> Answer<response::Connected> {
        self.saw(&request);
        Ok(response::Connected {
            node_id: request.peer.node_id.to_string(),
            address: request.peer.host.unwrap_or_default(),
        })
    }
    fn disconnect(&self, request: request::Disconnect) -> Answer<response::Done> {
        self.saw(&request);
        Ok(response::Done {})
    }
    fn listpeers(&self) -> Answer<response::PeerList> {
        Ok(response::PeerList::default())
    }
    fn listtowers(&self) -> Answer<response::TowerList> {
        Ok(response::TowerList::default())
    }
    fn coverage(&self) -> Answer<response::Coverage> {
        Ok(response::Coverage::default())
    }
    fn openchannel(&self, request: request::OpenChannel) -> Answer<response::Channel> {
        self.saw(&request);
        Ok(self.channel(response::ChannelState::AwaitingConfirmations))
    }
    fn multiopen(&self, request: request::MultiOpen) -> Answer<response::Openings> {
        self.saw(&request);
        Ok(response::Openings::default())
    }
    fn fundpsbt(&self, request: request::FundPsbt) -> Answer<response::Openings> {
        self.saw(&request);
        Ok(response::Openings::default())
    }
    fn signedpsbt(&self, request: request::FundPsbt) -> Answer<response::Openings> {
        self.saw(&request);
        Ok(response::Openings::default())
    }
    fn cancelfunding(&self, request: request::CancelFunding) -> Answer<response::Done> {
        self.saw(&request);
        Ok(response::Done {})
    }
    fn listrequests(&self) -> Answer<response::RequestList> {
        Ok(response::RequestList::default())
    }
    fn acceptchannel(&self, request: request::AcceptChannel) -> Answer<response::Channel> {
        self.saw(&request);
        Ok(self.channel(response::ChannelState::Opening))
    }
    fn refusechannel(&self, request: request::RefuseChannel) -> Answer<response::Done> {
        self.saw(&request);
        Ok(response::Done {})
    }
    fn listchannels(&self) -> Answer<response::ChannelList> {
        let looks = self.looks.fetch_add(1, Ordering::SeqCst);
        let last = self.last();
        let state = match (looks < 2, last.starts_with("CloseChannel")) {
            (true, true) => response::ChannelState::Closing,
            (false, true) => response::ChannelState::Closed,
            (true, false) => response::ChannelState::AwaitingConfirmations,
            (false, false) => response::ChannelState::Open,
        };
        Ok(response::ChannelList { channels: vec![self.channel(state)] })
    }
    fn closechannel(&self, request: request::CloseChannel) -> Answer<response::Channel> {
        self.saw(&request);
        Ok(self.channel(response::ChannelState::Closing))
    }
    fn invoice(&self, request: request::Invoice) -> Answer<response::NewInvoice> {
        self.saw(&request);
        Ok(response::NewInvoice { invoice: "lnbcrt1".into(), ..Default::default() })
    }
    fn holdinvoice(&self, request: request::HoldInvoice) -> Answer<response::NewInvoice> {
        self.saw(&request);
        Ok(response::NewInvoice { invoice: "lnbcrt1".into(), ..Default::default() })
    }
    fn settleinvoice(&self, request: request::SettleInvoice) -> Answer<response::InvoiceEntry> {
        self.saw(&request);
        Ok(response::InvoiceEntry { state: response::InvoiceState::Held, ..Default::default() })
    }
    fn cancelinvoice(&self, request: request::CancelInvoice) -> Answer<response::InvoiceEntry> {
        self.saw(&request);
        Ok(response::InvoiceEntry { state: response::InvoiceState::Cancelled, ..Default::default() })
    }
    fn listinvoices(&self) -> Answer<response::InvoiceList> {
        Ok(response::InvoiceList::default())
    }
    fn decode(&self, request: request::Decode) -> Answer<response::Decoded> {
        self.saw(&request);
        Ok(response::Decoded::default())
    }
    fn pay(&self, request: request::Pay) -> Answer<response::Payment> {
        self.saw(&request);
        if request.invoice == "lnexpired" {
            return Err(ApiError::new(Code::InvoiceExpired, "the invoice expired an hour ago")
                .hint("ask the payee for a new one"));
        }
        *self.paying.lock().unwrap() = request.invoice;
        Ok(self.payment())
    }
    fn keysend(&self, request: request::Keysend) -> Answer<response::Payment> {
        self.saw(&request);
        Ok(self.payment())
    }
    fn listpayments(&self) -> Answer<response::PaymentList> {
        Ok(response::PaymentList { payments: vec![response::Payment::default()] })
    }
    fn getpayment(&self, request: request::GetPayment) -> Answer<response::Payment> {
        assert_eq!(request.payment_hash.to_string(), CHANNEL);
        Ok(self.payment())
    }
    fn listevents(&self, request: request::ListEvents) -> Answer<response::EventList> {
        self.saw(&request);
        Ok(response::EventList::default())
    }
}

/// A running server; stops when dropped.
pub struct Served {
    pub mock: Arc<Mock>,
    pub address: String,
    pub token: String,
    pub dir: tempfile::TempDir,
    pub shutdown: Shutdown,
    thread: Option<JoinHandle<()>>,
}

impl Served {
    /// A node that has started.
    pub fn start() -> Self {
        Self::start_with(true, Duration::from_secs(20))
    }

    /// A node that has started or not, whose methods may take `timeout`.
    pub fn start_with(ready: bool, timeout: Duration) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let data = data_dir(dir.path());
        std::fs::create_dir_all(&data).unwrap();
        let mock = Arc::new(Mock::default());
        let slot = Slot::new();
        if ready {
            slot.fill(mock.clone());
        }
        let shutdown = Shutdown::new();
        let (stop, (tell, told)) = (shutdown.clone(), std::sync::mpsc::channel());
        let mut options = ServerOptions::new(([127, 0, 0, 1], 0).into(), &data);
        options.timeout = timeout;
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            runtime.block_on(async {
                let server = ApiServer::bind(options).await.unwrap();
                tell.send(server.address().to_string()).unwrap();
                server.serve(slot, stop).await.unwrap();
            });
        });
        let address = told.recv().unwrap();
        let token = lightning_node::api::read_token(&data).unwrap();
        Self { mock, address, token, dir, shutdown, thread: Some(thread) }
    }

    pub fn data_dir(&self) -> PathBuf {
        data_dir(self.dir.path())
    }

    /// One request, with status and body of its answer.
    pub fn request(&self, verb: &str, path: &str, token: Option<&str>, body: &str) -> (i32, Value) {
        let url = format!("http://{}{path}", self.address);
        let mut request = match verb {
            "GET" => bitreq::get(url),
            "PUT" => bitreq::put(url),
            _ => bitreq::post(url),
        };
        if let Some(token) = token {
            request = request.with_header("Authorization", format!("Bearer {token}"));
        }
        if !body.is_empty() {
            request = request.with_body(body);
        }
        let answer = request.with_timeout(Duration::from_secs(30)).send().unwrap();
        let body = serde_json::from_slice(answer.as_bytes()).unwrap_or(Value::Null);
        (answer.status_code, body)
    }

    /// POST with the right token.
    pub fn post(&self, method: &str, body: &str) -> (i32, Value) {
        self.request("POST", &format!("/v1/{method}"), Some(&self.token), body)
    }

    /// Whether the server's thread has ended.
    pub fn wait_for_end(mut self) -> bool {
        self.thread.take().is_some_and(|thread| thread.join().is_ok())
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.shutdown.trigger();
        if let Some(thread) = self.thread.take() {
            let _ended = thread.join();
        }
    }
}

fn data_dir(dir: &Path) -> PathBuf {
    dir.join("regtest")
}

/// A value of each kind, as programs write it.
pub fn example(kind: Kind) -> Value {
    match kind {
        Kind::Flag => json!(true),
        Kind::Number(_) => json!(5),
        Kind::Text(_) => json!("a text"),
        Kind::Sat | Kind::Msat => json!(1_000),
        Kind::SatOrAll => json!("all"),
        Kind::MsatOrAny => json!("any"),
        Kind::NodeId => json!(NODE),
        Kind::Peer => json!(format!("{NODE}@127.0.0.1:9735")),
        Kind::Channel | Kind::PaymentHash | Kind::Preimage => json!(CHANNEL),
        Kind::Address => json!(ADDRESS),
        Kind::Invoice => json!("lnbcrt1"),
        Kind::Opens => json!(format!("{NODE}@127.0.0.1:9735=100000")),
        Kind::Psbt => json!("cHNidP8="),
    }
}

/// A request with all parameters of `method`.
pub fn example_request(method: &Method) -> Map<String, Value> {
    method.params.iter().map(|param| (param.name.to_owned(), example(param.kind))).collect()
}
