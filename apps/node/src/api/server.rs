//! The API over HTTP, on loopback, for who has the token.
//!
//! Every method of the table is `POST /v1/<name>` with its parameters as a JSON object, and `GET /v1/<name>?a=b` if it
//! changes nothing. Aliases are routes too. An answer is the method's value, or an error as [`ApiError`] prints it.
//! A method runs on a thread of its own, so a slow one does not hold up the others.
//!
//! # Invariants
//! - nothing is told to who has no token, not even which methods there are
//! - a method that has begun is finished, whether the client waits or not
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, Method as Verb, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time;
use tracing::{debug, warn};

use super::backend::Slot;
use super::kind::Writer;
use super::methods::{self, METHODS, Method, Place, STOP};
use super::shutdown::Shutdown;
use super::token::{AddressFile, Token};
use crate::error::{ApiError, Code};

/// A request's body; an invoice is the longest parameter.
const MAX_BODY: usize = 64 * 1024;
/// Methods that run at the same time; more wait for their turn.
const MAX_RUNNING: usize = 32;
/// A handshake with a peer over Tor and the opening of a channel fit into it.
const TIMEOUT: Duration = Duration::from_secs(120);
/// How long connections may linger once the node stops.
const GRACE: Duration = Duration::from_secs(3);

/// Where and how to serve.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where the token is, or is put.
    pub data_dir: PathBuf,
    /// How long a method may take before its client is told to look later.
    pub timeout: Duration,
}

impl ServerOptions {
    /// With the usual time limit.
    #[must_use]
    pub fn new(listen: SocketAddr, data_dir: impl Into<PathBuf>) -> Self {
        Self { listen, data_dir: data_dir.into(), timeout: TIMEOUT }
    }
}

/// The server, listening. Connections are taken from when [`ApiServer::serve`] runs.
#[derive(Debug)]
pub struct ApiServer {
    listener: TcpListener,
    address: SocketAddr,
    token: Token,
    timeout: Duration,
    _address_file: AddressFile,
}

#[derive(Debug)]
struct Shared {
    token: Token,
    slot: Slot,
    shutdown: Shutdown,
    running: Semaphore,
    timeout: Duration,
}

impl ApiServer {
    /// Listens, and puts token and address into the data directory, which must exist.
    ///
    /// # Errors
    /// [`Code::PortInUse`], [`Code::CannotListen`], [`Code::Disk`], [`Code::NoToken`].
    pub async fn bind(options: ServerOptions) -> Result<Self, ApiError> {
        let token = Token::load_or_make(&options.data_dir)?;
        let listening = TcpListener::bind(options.listen).await;
        let listener = listening.map_err(|error| cannot_listen(options.listen, &error))?;
        let address = listener.local_addr().map_err(|error| cannot_listen(options.listen, &error))?;
        let address_file = AddressFile::write(&options.data_dir, address)?;
        Ok(Self { listener, address, token, timeout: options.timeout, _address_file: address_file })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves what is in `slot` until `shutdown`, which the method `stop` triggers too.
    ///
    /// # Errors
    /// Those of the operating system while accepting.
    pub async fn serve(self, slot: Slot, shutdown: Shutdown) -> io::Result<()> {
        let shared = Arc::new(Shared {
            token: self.token,
            slot,
            shutdown: shutdown.clone(),
            running: Semaphore::new(MAX_RUNNING),
            timeout: self.timeout,
        });
        let router = Router::new()
            .route("/v1/{method}", any(answer))
            .fallback(nothing_here)
            .layer(DefaultBodyLimit::max(MAX_BODY))
            .with_state(shared);
        let wish = shutdown.clone();
        let serving =
            axum::serve(self.listener, router).with_graceful_shutdown(async move { wish.wait().await });
        let late = async {
            shutdown.wait().await;
            time::sleep(GRACE).await;
        };
        tokio::select! {
            ended = serving => ended,
            () = late => Ok(()),
        }
    }
}

fn cannot_listen(address: SocketAddr, error: &io::Error) -> ApiError {
    if error.kind() == io::ErrorKind::AddrInUse {
        return ApiError::new(Code::PortInUse, format!("the API cannot listen on {address}: it is in use"))
            .hint("another node may be running; stop it, or choose another port with --api-listen");
    }
    ApiError::new(Code::CannotListen, format!("the API cannot listen on {address}: {error}"))
        .hint("choose another address with --api-listen")
}

async fn nothing_here(uri: Uri) -> Failure {
    let message = format!("there is nothing at {}", uri.path());
    Failure(ApiError::new(Code::UnknownMethod, message).hint("methods are at /v1/<name>, see GET /v1/help"))
}

async fn answer(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
    verb: Verb,
    headers: HeaderMap,
    query: Result<Query<Vec<(String, String)>>, axum::extract::rejection::QueryRejection>,
    body: Result<Bytes, axum::extract::rejection::BytesRejection>,
) -> Result<Response, Failure> {
    authorize(&shared.token, &headers)?;
    if name == "help" {
        return Ok(json_answer(&help()));
    }
    let Some(method) = methods::find(&name) else {
        let error = ApiError::new(Code::UnknownMethod, format!("there is no method {name:?}"));
        return Err(Failure(match methods::suggest(&name) {
            Some(near) => error.hint(format!("did you mean {near}?")),
            None => error.hint("GET /v1/help lists them"),
        }));
    };
    let given = match verb {
        Verb::POST => from_body(body.map_err(|rejection| body_error(&rejection))?.as_ref())?,
        Verb::GET if method.read_only => {
            let query = query.map_err(|rejection| Failure(ApiError::bad(rejection.body_text())))?;
            query.0.into_iter().map(|(name, value)| (name, Value::String(value))).collect()
        }
        _ => {
            let message = format!("{} is not to be called with {verb}", method.name);
            return Err(Failure(ApiError::new(Code::MethodNotAllowed, message).hint("use POST")));
        }
    };
    let request = method.read(&given, Writer::Program)?;
    debug!(method = method.name, "API call");
    run(shared, method, request).await.map(|value| json_answer(&value)).map_err(Failure)
}

/// Runs the method on a thread that may block, for as long as the client is told to wait.
async fn run(shared: Arc<Shared>, method: &'static Method, request: Value) -> Result<Value, ApiError> {
    if method.name == STOP {
        shared.shutdown.trigger();
        return Ok(json!({}));
    }
    let timeout = shared.timeout;
    // A task of its own: axum drops this future when the client goes away, and the method must be finished.
    let task = tokio::spawn(async move {
        let Ok(_turn) = shared.running.acquire().await else {
            return Err(ApiError::new(Code::NotReady, "the node is stopping"));
        };
        let slot = shared.slot.clone();
        let called = tokio::task::spawn_blocking(move || method.call(&*slot.backend()?, request)).await;
        called.unwrap_or_else(|_| Err(ApiError::new(Code::Internal, format!("{} broke off", method.name))))
    });
    match time::timeout(timeout, task).await {
        Ok(Ok(Ok(value))) => Ok(value),
        Ok(Ok(Err(error))) => {
            if error.code == Code::Internal {
                warn!(method = method.name, %error, "API call failed by a fault of ours");
            }
            Err(error)
        }
        Ok(Err(_)) => Err(ApiError::new(Code::Internal, format!("{} broke off", method.name))),
        Err(_) => {
            let seconds = timeout.as_secs();
            let message = format!("{} took longer than {seconds} s and goes on", method.name);
            Err(ApiError::new(Code::Timeout, message)
                .hint("look with listchannels, listpayments or listpeers before you try again"))
        }
    }
}

fn authorize(token: &Token, headers: &HeaderMap) -> Result<(), Failure> {
    let given = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let given = given.and_then(|value| value.split_once(' '));
    let right = given
        .is_some_and(|(scheme, secret)| scheme.eq_ignore_ascii_case("bearer") && token.is(secret.trim()));
    if right {
        return Ok(());
    }
    let message = if given.is_some() { "the token is not this node's" } else { "the API needs a token" };
    let hint = "send `Authorization: Bearer <content of admin.token in the node's data directory>`";
    Err(Failure(ApiError::new(Code::Unauthorized, message).hint(hint)))
}

fn from_body(body: &[u8]) -> Result<Map<String, Value>, Failure> {
    if body.is_empty() {
        return Ok(Map::new());
    }
    match serde_json::from_slice(body) {
        Ok(Value::Object(given)) => Ok(given),
        Ok(_) => Err(Failure(ApiError::bad("the body must be a JSON object with the parameters by name"))),
        Err(error) => Err(Failure(ApiError::bad(format!("the body is not JSON: {error}")))),
    }
}

fn body_error(rejection: &axum::extract::rejection::BytesRejection) -> Failure {
    if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
        let message = format!("the request is larger than {MAX_BODY} bytes");
        return Failure(ApiError::new(Code::TooLarge, message));
    }
    Failure(ApiError::bad(format!("the request cannot be read: {}", rejection.body_text())))
}

/// The table, for programs.
fn help() -> Value {
    let param = |param: &methods::Param| {
        json!({
            "name": param.name,
            "kind": param.kind.placeholder(),
            "required": param.place == Place::Required,
            "help": param.help,
        })
    };
    let method = |method: &Method| {
        let params: Vec<Value> = method.params.iter().map(param).collect();
        json!({
            "name": method.name,
            "aliases": method.aliases,
            "help": method.help,
            "read_only": method.read_only,
            "params": params,
        })
    };
    json!({ "methods": METHODS.iter().map(method).collect::<Vec<_>>() })
}

fn json_answer(value: &Value) -> Response {
    ([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], value.to_string()).into_response()
}

/// An error as an answer.
struct Failure(ApiError);

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        Self(error)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_value(&self.0).unwrap_or_default();
        let mut response = json_answer(&body);
        *response.status_mut() = status;
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
