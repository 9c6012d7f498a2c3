//! What the soak runs on: a chain, real daemons on folders of their own, and calls of their API.
use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use bitcoin::address::NetworkUnchecked;
use bitcoin::hashes::{Hash as _, HashEngine as _, Hmac, HmacEngine, sha256};
use bitcoin::secp256k1::{Secp256k1, SecretKey};
use bitcoin::{Address, Network};
use lightning_chain_bitcoind::{Auth, BitcoindClient, RegtestBitcoind};
use lightning_keys::Seed;
use lightning_node::chain::{ChainOptions, RunningChain};
use serde_json::{Value, json};

const LNODE: &str = env!("CARGO_BIN_EXE_lnode");
const CALL_TIMEOUT: Duration = Duration::from_secs(60);
/// How long the parts of the world may take for what they always do; no run waits so long unless it fails.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Waits until `probe` answers.
pub fn wait<T>(what: &str, patience: Duration, mut probe: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(begun.elapsed() < patience, "{what} did not happen within {patience:?}");
        thread::sleep(Duration::from_millis(50));
    }
}

/// A bitcoind, or where there is none the chain that our program brings along.
enum Source {
    Bitcoind(RegtestBitcoind),
    Embedded(RunningChain),
}

/// The chain.
pub struct Chain {
    source: Source,
    url: String,
    cookie: PathBuf,
    client: BitcoindClient,
}

impl Chain {
    /// Starts it on a folder.
    pub fn start(folder: &Path) -> Self {
        let folder = folder.join("chain");
        fs::create_dir_all(&folder).unwrap();
        let found = Path::new(env!("BITCOIND_FOUND"));
        let source = if found.as_os_str().is_empty() {
            let listen = (Ipv4Addr::LOCALHOST, 0).into();
            let options =
                ChainOptions { listen, cookie: folder.join("cookie"), file: None, mine_every: None };
            Source::Embedded(RunningChain::start(options).unwrap())
        } else {
            Source::Bitcoind(RegtestBitcoind::start(found, &folder, &["-dbcache=16"]).unwrap())
        };
        let (url, cookie) = match &source {
            Source::Bitcoind(bitcoind) => (bitcoind.url(), bitcoind.cookie()),
            Source::Embedded(running) => (running.address().to_string(), folder.join("cookie")),
        };
        let client = BitcoindClient::new(&url, Auth::Cookie(cookie.clone()), Network::Regtest);
        Self { source, url, cookie, client: client.with_timeout(CALL_TIMEOUT) }
    }

    /// What it is.
    pub const fn name(&self) -> &'static str {
        match self.source {
            Source::Bitcoind(_) => "bitcoind",
            Source::Embedded(_) => "the embedded chain",
        }
    }

    /// Mines blocks whose coins go to `address`.
    pub fn mine(&self, count: u32, address: &str) {
        let address: Address<NetworkUnchecked> = address.parse().unwrap();
        let address = address.require_network(Network::Regtest).unwrap();
        self.client.generate(count, &address).unwrap();
    }
}

/// `lnode run`, which may be killed and started again.
pub struct Daemon {
    /// Its name.
    pub name: &'static str,
    /// Its node id.
    pub id: String,
    /// `node_id@host:port`.
    pub address: String,
    /// What signs for it.
    pub secret: SecretKey,
    folder: PathBuf,
    arguments: Vec<String>,
    process: Mutex<Child>,
}

/// Why a call did not succeed.
#[derive(Debug)]
pub enum Refused {
    /// The daemon does not answer: it is dead, or only just alive. It may have done what it was asked.
    NoAnswer,
    /// It says no: a code and a sentence.
    No(String, String),
}

impl Daemon {
    /// Starts it, and waits until it answers.
    pub fn start(name: &'static str, folder: &Path, chain: &Chain) -> Self {
        let folder = folder.join(name);
        fs::create_dir_all(&folder).unwrap();
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let source = if matches!(chain.source, Source::Bitcoind(_)) { "bitcoind" } else { "embedded" };
        let mut arguments = vec!["--dir".to_owned(), folder.display().to_string(), "run".to_owned()];
        arguments.extend([
            "--network=regtest".to_owned(),
            "--api-listen=127.0.0.1:0".to_owned(),
            format!("--listen=127.0.0.1:{port}"),
            format!("--alias={name}"),
            format!("--chain-source={source}"),
            format!("--chain-url={}", chain.url),
            format!("--chain-cookie={}", chain.cookie.display()),
            "--chain-poll-ms=200".to_owned(),
            "--log-filter=info".to_owned(),
        ]);
        let process = Mutex::new(spawn(&folder, &arguments));
        let secret = SecretKey::from_slice(&[1; 32]).unwrap();
        let mut daemon =
            Self { name, id: String::new(), address: String::new(), secret, folder, arguments, process };
        let info = wait(&format!("{name}'s start"), PATIENCE, || daemon.call("getinfo", &json!({})).ok());
        daemon.id = info["node_id"].as_str().unwrap().to_owned();
        daemon.address = format!("{}@127.0.0.1:{port}", daemon.id);
        daemon.secret = daemon.node_secret();
        daemon
    }

    /// `kill -9`.
    pub fn kill(&self) {
        let mut process = self.process.lock().unwrap();
        process.kill().unwrap();
        process.wait().unwrap();
        // The next one writes its own; the old one must not be taken for it.
        let _gone = fs::remove_file(self.data().join("api.address"));
    }

    /// Starts it on the same data; does not wait.
    pub fn start_again(&self) {
        *self.process.lock().unwrap() = spawn(&self.folder, &self.arguments);
    }

    /// Whether the process has ended by itself.
    pub fn has_ended(&self) -> bool {
        self.process.lock().unwrap().try_wait().unwrap().is_some()
    }

    /// Calls a method of its API.
    pub fn call(&self, method: &str, parameters: &Value) -> Result<Value, Refused> {
        let read = |name: &str| fs::read_to_string(self.data().join(name)).map_err(|_| Refused::NoAnswer);
        let (address, token) = (read("api.address")?, read("admin.token")?);
        let response = bitreq::post(format!("http://{}/v1/{method}", address.trim()))
            .with_header("Authorization", format!("Bearer {}", token.trim()))
            .with_header("Content-Type", "application/json")
            .with_body(parameters.to_string())
            .with_timeout(CALL_TIMEOUT)
            .send()
            .map_err(|_| Refused::NoAnswer)?;
        let body: Value = serde_json::from_slice(response.as_bytes()).map_err(|_| Refused::NoAnswer)?;
        let text = |field: &str| body[field].as_str().unwrap_or_default().to_owned();
        match response.status_code {
            200 => Ok(body),
            // It is starting, or stopping.
            503 => Err(Refused::NoAnswer),
            _ => Err(Refused::No(text("code"), text("message"))),
        }
    }

    /// Calls a method again and again until it is answered.
    pub fn ask(&self, method: &str, parameters: &Value) -> Result<Value, (String, String)> {
        wait(&format!("{}'s answer to {method}", self.name), PATIENCE, || {
            match self.call(method, parameters) {
                Ok(answer) => Some(Ok(answer)),
                Err(Refused::No(code, text)) => Some(Err((code, text))),
                Err(Refused::NoAnswer) => None,
            }
        })
    }

    /// Calls a method that has to succeed.
    pub fn must(&self, method: &str, parameters: &Value) -> Value {
        self.ask(method, parameters)
            .unwrap_or_else(|error| panic!("{} {method} {parameters}: {error:?}", self.name))
    }

    /// The rows that a method lists.
    pub fn list(&self, method: &str, field: &str) -> Vec<Value> {
        self.must(method, &json!({}))[field].as_array().cloned().unwrap_or_default()
    }

    /// Its memory in use, in KiB, if it lives.
    pub fn memory_kib(&self) -> Option<u64> {
        let status =
            fs::read_to_string(format!("/proc/{}/status", self.process.lock().unwrap().id())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        line.trim().strip_suffix(" kB")?.trim().parse().ok()
    }

    /// The size of its database.
    pub fn database_bytes(&self) -> u64 {
        fs::metadata(self.data().join("lnode.redb")).map_or(0, |file| file.len())
    }

    /// The last lines of its log.
    pub fn log_tail(&self) -> String {
        let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    /// Lines of its log that nothing honest and whole writes.
    pub fn complaints(&self) -> Vec<String> {
        let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        let is_bad = |line: &&str| line.contains("panicked") || line.contains("ERROR");
        log.lines().filter(is_bad).map(str::to_owned).collect()
    }

    fn data(&self) -> PathBuf {
        self.folder.join("regtest")
    }

    /// The secret key of its node id, from the words of its seed: the soak makes invoices that the node itself would not.
    fn node_secret(&self) -> SecretKey {
        let words = fs::read_to_string(self.data().join("seed")).unwrap();
        let mut engine = HmacEngine::<sha256::Hash>::new(b"lnode node seed");
        engine.input(words.trim().as_bytes());
        let secret = Seed::new(Hmac::from_engine(engine).to_byte_array()).secret_key("node").unwrap();
        assert_eq!(secret.public_key(&Secp256k1::new()).to_string(), self.id);
        secret
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("the end of {}'s log:\n{}", self.name, self.log_tail());
        }
        if let Ok(mut process) = self.process.lock() {
            let _ended = (process.kill(), process.wait());
        }
    }
}

fn spawn(folder: &Path, arguments: &[String]) -> Child {
    let log = File::options().create(true).append(true).open(folder.join("log")).unwrap();
    let mut command = Command::new(LNODE);
    command.args(arguments).env_remove("LNODE_DIR").stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    command.spawn().unwrap()
}
