//! The client of the API: one request, one connection, one answer.
//!
//! # Invariants
//! - the token goes to a loopback address only
use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::api::{ADDRESS_FILE, read_token};
use crate::config::{Config, Origin};
use crate::error::{ApiError, Code};

/// Longer than the server takes to say that it takes longer.
const TIMEOUT: Duration = Duration::from_secs(150);
const MAX_BODY: usize = 64 << 20;

/// A node, asked over its API.
#[derive(Clone, Debug)]
pub struct Client {
    address: SocketAddr,
    data_dir: String,
    token: Secret,
}

#[derive(Clone)]
struct Secret(String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("..")
    }
}

impl Client {
    /// A client of the node whose configuration is `config`. Nothing is asked yet.
    ///
    /// # Errors
    /// [`Code::NoToken`], or [`Code::DaemonUnreachable`] when there is no sign that a node has ever run there.
    pub fn new(config: &Config) -> Result<Self, ApiError> {
        let data_dir = config.data_dir.display().to_string();
        if !config.data_dir.exists() {
            let message = format!("no node has run in {data_dir} yet");
            return Err(ApiError::new(Code::DaemonUnreachable, message).hint(
                "start it with `lnode run`, or name the right directory and network with --dir and --network",
            ));
        }
        let address = address(config);
        let token = Secret(read_token(&config.data_dir)?);
        Ok(Self { address, data_dir, token })
    }

    /// Where the node is asked.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Calls a method with its parameters, an object.
    ///
    /// # Errors
    /// Those of the method, and [`Code::DaemonUnreachable`], [`Code::NotANode`].
    pub fn call(&self, method: &str, request: &Value) -> Result<Value, ApiError> {
        let sent = bitreq::post(format!("http://{}/v1/{method}", self.address))
            .with_header("Authorization", format!("Bearer {}", self.token.0))
            .with_header("Content-Type", "application/json")
            .with_body(request.to_string())
            .with_timeout(TIMEOUT)
            .with_max_redirects(0)
            .with_max_body_size(Some(MAX_BODY))
            .send();
        let response = sent.map_err(|error| self.unreachable(&error))?;
        let body: Value = serde_json::from_slice(response.as_bytes()).map_err(|_| {
            self.not_a_node(&format!("it answers status {} without JSON", response.status_code))
        })?;
        if response.status_code == 200 {
            return Ok(body);
        }
        let error: ApiError = serde_json::from_value(body)
            .map_err(|_| self.not_a_node(&format!("it answers status {}", response.status_code)))?;
        // The token is read from a file: whoever sees this did not write a header.
        Err(if error.code == Code::Unauthorized {
            let message = format!("the node at {} refuses the token of {}", self.address, self.data_dir);
            error
                .clone()
                .hint("another node listens there: name yours with --dir, --network or --api-listen")
                .said(message)
        } else {
            error
        })
    }

    /// As [`Client::call`], with an answer of a type.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub fn ask<T: serde::de::DeserializeOwned>(
        &self,
        method: &str,
        request: Map<String, Value>,
    ) -> Result<T, ApiError> {
        let answer = self.call(method, &Value::Object(request))?;
        serde_json::from_value(answer).map_err(|error| self.not_a_node(&error.to_string()))
    }

    fn unreachable(&self, error: &bitreq::Error) -> ApiError {
        let reason = match error {
            bitreq::Error::IoError(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
                "nobody listens there".to_owned()
            }
            bitreq::Error::IoError(error) if error.kind() == std::io::ErrorKind::TimedOut => {
                "it does not answer in time".to_owned()
            }
            other => other.to_string(),
        };
        let message = format!("the node at {} cannot be reached: {reason}", self.address);
        ApiError::new(Code::DaemonUnreachable, message)
            .hint("start it with `lnode run`, or name the right one with --dir, --network or --api-listen")
    }

    fn not_a_node(&self, reason: &str) -> ApiError {
        let message = format!("what listens at {} is not a node of this kind: {reason}", self.address);
        ApiError::new(Code::NotANode, message).hint("name the right address with --api-listen")
    }
}

/// Where the node is: as the flag or the environment says, else where it said itself that it listens.
fn address(config: &Config) -> SocketAddr {
    let said_now = config.settings().iter().any(|setting| {
        setting.name == "api.listen" && matches!(setting.origin, Origin::Flag(_) | Origin::Environment(_))
    });
    if said_now && config.api_listen.port() != 0 {
        return config.api_listen;
    }
    let written = fs::read_to_string(config.data_dir.join(ADDRESS_FILE)).ok();
    let written = written.and_then(|text| text.trim().parse::<SocketAddr>().ok());
    written.filter(|address| address.ip().is_loopback()).unwrap_or(config.api_listen)
}
