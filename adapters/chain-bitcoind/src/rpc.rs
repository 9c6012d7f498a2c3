//! JSON-RPC over HTTP: one request, one connection, one answer, and what its failures mean.
use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bitreq::{Error as HttpError, Response};
use serde_json::{Value, json};

use lightning_traits::interface::SourceError;

/// How to prove to a bitcoind who we are.
#[derive(Clone, PartialEq, Eq)]
pub enum Auth {
    /// The file `.cookie` in its data directory, which changes when it restarts.
    Cookie(PathBuf),
    /// `rpcuser` and `rpcpassword`, or an `rpcauth` pair.
    Password {
        /// Who.
        user: String,
        /// The secret.
        password: String,
    },
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cookie(path) => f.debug_tuple("Cookie").field(path).finish(),
            Self::Password { user, .. } => write!(f, "Password {{ user: {user:?}, .. }}"),
        }
    }
}

/// A block of four million weight units is eight million hex digits at most, and JSON adds little.
const MAX_BODY: usize = 20_000_000;
const TIMEOUT: Duration = Duration::from_secs(30);

// Codes of Bitcoin Core's `rpc/protocol.h`.
const WARMING_UP: i64 = -28;

/// Where a bitcoind answers.
#[derive(Debug)]
pub(crate) struct Transport {
    url: String,
    auth: Auth,
    next_id: AtomicU64,
    timeout: Duration,
}

impl Transport {
    pub(crate) fn new(url: &str, auth: Auth) -> Self {
        let url = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
        Self { url, auth, next_id: AtomicU64::new(1), timeout: TIMEOUT }
    }

    pub(crate) fn set_timeout(&mut self, timeout: Duration) {
        self.timeout = timeout;
    }

    /// Calls `method` and answers its result.
    pub(crate) fn call(&self, method: &str, params: &Value) -> Result<Value, SourceError> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let request = json!({ "jsonrpc": "1.0", "id": id, "method": method, "params": params }).to_string();
        let response = self.send(request)?;
        if matches!(response.status_code, 401 | 403) {
            return Err(SourceError::Credentials { url: self.url.clone() });
        }
        let malformed =
            |reason: &str| SourceError::Malformed { method: method.to_owned(), reason: reason.into() };
        // Errors come with status 500 or 404 and a body in JSON; a full work queue with 503 and none.
        let Ok(mut body) = serde_json::from_slice::<Value>(response.as_bytes()) else {
            return Err(match response.status_code {
                503 => self.unreachable("it has too many requests queued"),
                code => malformed(&format!("HTTP status {code} without JSON")),
            });
        };
        if body.get("id") != Some(&Value::from(id)) {
            return Err(malformed("it answers another request"));
        }
        if let Some(error) = body.get("error").filter(|error| !error.is_null()) {
            let code = error.get("code").and_then(Value::as_i64).unwrap_or_default();
            let message = error.get("message").and_then(Value::as_str).unwrap_or_default().to_owned();
            return Err(match code {
                WARMING_UP => SourceError::WarmingUp(message),
                _ => SourceError::Rpc { method: method.to_owned(), code, message },
            });
        }
        body.get_mut("result").map(Value::take).ok_or_else(|| malformed("it has no result"))
    }

    fn send(&self, body: String) -> Result<Response, SourceError> {
        let request = bitreq::post(self.url.clone())
            .with_header("Authorization", self.authorization()?)
            .with_header("Content-Type", "application/json")
            .with_body(body)
            .with_timeout(self.timeout)
            .with_max_redirects(0)
            .with_max_body_size(Some(MAX_BODY));
        request.send().map_err(|error| match error {
            HttpError::IoError(error) => self.unreachable(&error.to_string()),
            other => self.unreachable(&other.to_string()),
        })
    }

    /// The cookie is read anew each time: a bitcoind that restarts writes another.
    fn authorization(&self) -> Result<String, SourceError> {
        match &self.auth {
            Auth::Password { user, password } => Ok(basic_auth(&format!("{user}:{password}"))),
            Auth::Cookie(path) => {
                fs::read_to_string(path).map(|cookie| basic_auth(cookie.trim_end())).map_err(|error| {
                    SourceError::Cookie { path: path.display().to_string(), reason: error.to_string() }
                })
            }
        }
    }

    fn unreachable(&self, reason: &str) -> SourceError {
        SourceError::Unreachable { url: self.url.clone(), reason: reason.to_owned() }
    }
}

/// The `Authorization` header for `user:password` (RFC 7617), with the base64 of RFC 4648.
fn basic_auth(user_and_password: &str) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut header = String::from("Basic ");
    for chunk in user_and_password.as_bytes().chunks(3) {
        let bits = chunk.iter().fold(0_u32, |bits, byte| (bits << 8) | u32::from(*byte));
        let bits = bits << (8 * 3_usize.saturating_sub(chunk.len()));
        for digit in 0..4_usize {
            let index = (bits >> (18 - 6 * digit)) & 0x3f;
            let letter = usize::try_from(index).ok().and_then(|index| ALPHABET.get(index)).copied();
            header.push(if digit > chunk.len() { '=' } else { char::from(letter.unwrap_or(b'=')) });
        }
    }
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_of_rfc_4648() {
        let cases = [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("foobar", "Zm9vYmFy"),
        ];
        for (plain, coded) in cases {
            assert_eq!(basic_auth(plain), format!("Basic {coded}"));
        }
    }

    #[test]
    fn debug_shows_no_password() {
        let auth = Auth::Password { user: "me".into(), password: "hunter2".into() };
        assert!(!format!("{auth:?}").contains("hunter2"));
    }
}
