//! A bitcoind of our own on regtest, for demos and tests: started in a folder, stopped when dropped.
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use bitcoin::Network;
use serde_json::json;

use crate::client::BitcoindClient;
use crate::rpc::Auth;
use lightning_traits::interface::BlockSource;

const START_LIMIT: Duration = Duration::from_secs(60);
const STOP_LIMIT: Duration = Duration::from_secs(30);
const STEP: Duration = Duration::from_millis(50);

/// A running bitcoind.
#[derive(Debug)]
pub struct RegtestBitcoind {
    exe: PathBuf,
    folder: PathBuf,
    port: u16,
    arguments: Vec<String>,
    process: Child,
}

impl RegtestBitcoind {
    /// Starts `exe` with its data in `folder`, no peers, and `arguments` beside; waits until it answers.
    pub fn start(exe: &Path, folder: &Path, arguments: &[&str]) -> io::Result<Self> {
        // Freed at once for bitcoind to take: ports in between are given out round robin, so nobody else does.
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let process = spawn(exe, folder, port, &arguments)?;
        let mut started = Self { exe: exe.to_owned(), folder: folder.to_owned(), port, arguments, process };
        started.wait_until_ready()?;
        Ok(started)
    }

    /// Where its RPC answers.
    #[must_use]
    pub fn url(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Its cookie file.
    #[must_use]
    pub fn cookie(&self) -> PathBuf {
        self.folder.join("regtest").join(".cookie")
    }

    /// A client of it.
    #[must_use]
    pub fn client(&self) -> BitcoindClient {
        BitcoindClient::new(&self.url(), Auth::Cookie(self.cookie()), Network::Regtest)
    }

    /// Stops it: nothing answers until [`restart`](Self::restart).
    pub fn stop(&mut self) -> io::Result<()> {
        let asked = self.client().call("stop", &json!([]));
        let start = Instant::now();
        while asked.is_ok() && start.elapsed() < STOP_LIMIT {
            if self.process.try_wait()?.is_some() {
                return Ok(());
            }
            thread::sleep(STEP);
        }
        // It did not hear, for one because its folder is gone.
        self.process.kill()?;
        self.process.wait().map(|_| ())
    }

    /// Stops it and starts it again with the same data.
    pub fn restart(&mut self) -> io::Result<()> {
        self.stop()?;
        self.process = spawn(&self.exe, &self.folder, self.port, &self.arguments)?;
        self.wait_until_ready()
    }

    fn wait_until_ready(&mut self) -> io::Result<()> {
        let client = self.client();
        let start = Instant::now();
        loop {
            let Err(trouble) = client.tip() else { return Ok(()) };
            if let Some(status) = self.process.try_wait()? {
                return Err(io::Error::other(format!("bitcoind ended at once: {status}")));
            }
            if start.elapsed() > START_LIMIT {
                return Err(io::Error::new(io::ErrorKind::TimedOut, trouble.to_string()));
            }
            thread::sleep(STEP);
        }
    }
}

impl Drop for RegtestBitcoind {
    fn drop(&mut self) {
        if !matches!(self.process.try_wait(), Ok(Some(_))) {
            let _stopped = self.stop();
        }
    }
}

fn spawn(exe: &Path, folder: &Path, port: u16, arguments: &[String]) -> io::Result<Child> {
    Command::new(exe)
        .arg("-regtest")
        .arg(format!("-datadir={}", folder.display()))
        .arg(format!("-rpcport={port}"))
        .args(["-server", "-listen=0", "-dnsseed=0", "-fixedseeds=0", "-disablewallet", "-printtoconsole=0"])
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
}
