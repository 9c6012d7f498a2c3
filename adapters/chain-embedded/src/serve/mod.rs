//! Serving the chain as bitcoind would, so that daemons started apart share it and use one client.
//!
//! `http.rs` speaks HTTP and checks the credentials, `methods.rs` answers the methods. One thread accepts, and
//! each connection is one short thread with one request.
mod http;
mod methods;

use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::chain::EmbeddedChain;

/// Requests served at the same time; more are turned away.
const MAX_CONNECTIONS: usize = 64;
const IO_TIMEOUT: Duration = Duration::from_secs(30);

/// How to serve.
#[derive(Clone, Debug)]
pub struct ServeOptions {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where to write the cookie, fresh on each start, as bitcoind does. Removed when the server stops.
    pub cookie_file: Option<PathBuf>,
    /// A user and password that are accepted beside the cookie.
    pub password: Option<(String, String)>,
}

/// A running server; stops when dropped.
#[derive(Debug)]
pub struct ChainServer {
    address: SocketAddr,
    cookie_file: Option<PathBuf>,
    stop: Arc<AtomicBool>,
    accepting: Option<JoinHandle<()>>,
}

impl ChainServer {
    /// Serves `chain` until stopped.
    pub fn start(chain: EmbeddedChain, options: ServeOptions) -> io::Result<Self> {
        let mut accepted = Vec::new();
        if let Some((user, password)) = &options.password {
            accepted.push(format!("{user}:{password}"));
        }
        let listener = TcpListener::bind(options.listen)?;
        let address = listener.local_addr()?;
        if let Some(path) = &options.cookie_file {
            let cookie = format!("__cookie__:{}", random_hex()?);
            write_private(path, &cookie)?;
            accepted.push(cookie);
        }
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let accepting = thread::Builder::new()
            .name("chain-rpc".into())
            .spawn(move || accept(&listener, &chain, &accepted.into(), &stopped))?;
        Ok(Self { address, cookie_file: options.cookie_file, stop, accepting: Some(accepting) })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops accepting; requests under way are answered.
    pub fn stop(mut self) {
        self.shut_down();
    }

    fn shut_down(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes the accepting thread, which looks at the flag.
        let _woken = TcpStream::connect_timeout(&self.address, Duration::from_secs(1));
        if let Some(thread) = self.accepting.take() {
            let _ended = thread.join();
        }
        if let Some(path) = self.cookie_file.take() {
            let _removed = fs::remove_file(path);
        }
    }
}

impl Drop for ChainServer {
    fn drop(&mut self) {
        self.shut_down();
    }
}

fn accept(listener: &TcpListener, chain: &EmbeddedChain, accepted: &Arc<[String]>, stop: &Arc<AtomicBool>) {
    let open = Arc::new(AtomicUsize::new(0));
    for stream in listener.incoming() {
        if stop.load(Ordering::SeqCst) {
            return;
        }
        let Ok(stream) = stream else { continue };
        if open.fetch_add(1, Ordering::SeqCst) >= MAX_CONNECTIONS {
            open.fetch_sub(1, Ordering::SeqCst);
            continue;
        }
        let (chain, accepted, stop) = (chain.clone(), Arc::clone(accepted), Arc::clone(stop));
        let counted = Arc::clone(&open);
        let spawned = thread::Builder::new().name("chain-rpc-call".into()).spawn(move || {
            // A peer that goes away has no use for an error.
            let _answered = serve_one(&stream, &chain, &accepted, &stop);
            counted.fetch_sub(1, Ordering::SeqCst);
        });
        if spawned.is_err() {
            open.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

fn serve_one(
    stream: &TcpStream,
    chain: &EmbeddedChain,
    accepted: &[String],
    stop: &AtomicBool,
) -> io::Result<()> {
    stream.set_read_timeout(Some(IO_TIMEOUT))?;
    stream.set_write_timeout(Some(IO_TIMEOUT))?;
    stream.set_nodelay(true)?;
    let request = match http::read_request(stream) {
        Ok(request) => request,
        Err(http::BadRequest::Io(error)) => return Err(error),
        Err(http::BadRequest::Status(status)) => return http::respond(stream, status, ""),
    };
    if !request.credentials.is_some_and(|given| accepted.iter().any(|right| same(&given, right))) {
        return http::respond(stream, "401 Unauthorized", "");
    }
    let (status, body) = methods::answer(chain, &request.body, stop);
    http::respond(stream, status, &body)
}

/// Compares in a time that does not tell where the difference is.
fn same(given: &str, right: &str) -> bool {
    given.len() == right.len()
        && given.bytes().zip(right.bytes()).fold(0, |differences, (a, b)| differences | (a ^ b)) == 0
}

fn random_hex() -> io::Result<String> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes.iter().fold(String::new(), |mut hex, byte| {
        // Writing to a string cannot fail.
        let _written = write!(hex, "{byte:02x}");
        hex
    }))
}

/// Writes a file that only its owner may read, whole or not at all.
fn write_private(path: &Path, content: &str) -> io::Result<()> {
    let mut draft = path.as_os_str().to_owned();
    draft.push(".tmp");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(&draft)?.write_all(content.as_bytes())?;
    fs::rename(&draft, path)
}
