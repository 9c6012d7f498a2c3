//! Payments/s between two `lnode` processes over loopback, each with its own database and real fsyncs.
//!
//! Starts a chain and two nodes in a temporary directory, opens a channel, pays with 1 and with 50 payments in flight
//! through the HTTP API, and prints a line for each. `lnode` is taken from beside this program, or from `LNODE_EXE`:
//! `cargo build --release -p lightning-node -p lightning-benches --bins`. `TMPDIR` says on which disk.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a program that measures programs; when it cannot go on it stops and says where"
)]

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use lightning_benches::{CHANNEL_SAT, PAYMENT_MSAT};
use serde_json::{Value, json};

/// Payments in flight, and how many are measured.
const RUNS: [(usize, usize); 2] = [(1, 150), (50, 600)];
const WARM_UP: usize = 20;
/// Clients that pay at the same time, each over a connection of its own.
const CLIENTS: usize = 4;
/// Between two looks for events.
const LOOK_AGAIN: Duration = Duration::from_micros(500);
const PATIENCE: Duration = Duration::from_secs(120);

fn executable() -> PathBuf {
    let beside = || std::env::current_exe().expect("our own path").with_file_name("lnode");
    let path = std::env::var_os("LNODE_EXE").map_or_else(beside, PathBuf::from);
    assert!(path.exists(), "{} does not exist: build lightning-node in the same profile", path.display());
    path
}

/// A child that ends with us.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself; nobody is left who would care.
        let _ended = self.0.kill();
        let _reaped = self.0.wait();
    }
}

struct Chain {
    address: String,
    cookie: PathBuf,
    folder: PathBuf,
    _process: Process,
}

impl Chain {
    fn start(folder: &Path) -> Self {
        let folder = folder.join("chain");
        let cookie = folder.join("cookie");
        let mut process = Command::new(executable())
            .arg("--dir")
            .arg(&folder)
            .args(["chain", "--listen", "127.0.0.1:0", "--cookie"])
            .arg(&cookie)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("`lnode chain` should start");
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.split([' ', ',']).nth(2).expect("chain at <address>, height <height>").to_owned();
        Self { address, cookie, folder, _process: Process(process) }
    }

    fn mine(&self, blocks: u32, to: Option<&str>) {
        let to = to.map(|address| ["--to", address]);
        let mined = Command::new(executable())
            .arg("--dir")
            .arg(&self.folder)
            .args(["mine", &blocks.to_string()])
            .args(to.into_iter().flatten())
            .env("LNODE_CHAIN_SOURCE", "embedded")
            .env("LNODE_CHAIN_URL", &self.address)
            .env("LNODE_CHAIN_COOKIE", &self.cookie)
            .output()
            .expect("`lnode mine` should run");
        assert!(mined.status.success(), "{}", String::from_utf8_lossy(&mined.stderr));
    }
}

struct Node {
    data: PathBuf,
    log: PathBuf,
    _process: Process,
}

impl Node {
    fn start(folder: &Path, name: &str, chain: &Chain) -> Self {
        let folder = folder.join(name);
        fs::create_dir_all(&folder).unwrap();
        let log = folder.join("log");
        let process = Command::new(executable())
            .arg("--dir")
            .arg(&folder)
            .args(["run", "--network=regtest", "--api-listen=127.0.0.1:0", "--listen=127.0.0.1:0"])
            .args(["--chain-source=embedded", "--chain-poll-ms=200", "--log-filter=warn"])
            .arg(format!("--chain-url={}", chain.address))
            .arg(format!("--chain-cookie={}", chain.cookie.display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .expect("`lnode run` should start");
        let node = Self { data: folder.join("regtest"), log, _process: Process(process) };
        wait(&format!("{name} to answer"), || node.call("getinfo", &json!({})).ok());
        node
    }

    /// A connection of its own to the API.
    fn session(&self) -> Result<Session, String> {
        let read = |name: &str| fs::read_to_string(self.data.join(name)).map_err(|error| error.to_string());
        let (address, token) = (read("api.address")?, read("admin.token")?);
        let stream = TcpStream::connect(address.trim()).map_err(|error| error.to_string())?;
        stream.set_nodelay(true).map_err(|error| error.to_string())?;
        Ok(Session { stream: BufReader::new(stream), token: token.trim().to_owned() })
    }

    fn call(&self, method: &str, parameters: &Value) -> Result<Value, String> {
        self.session()?.call(method, parameters)
    }

    fn must(&self, method: &str, parameters: &Value) -> Value {
        self.call(method, parameters).unwrap_or_else(|error| {
            panic!("{method}: {error}\n{}", fs::read_to_string(&self.log).unwrap_or_default())
        })
    }

    fn invoices(&self, count: usize) -> Vec<String> {
        let parameters = json!({ "amount_msat": PAYMENT_MSAT });
        let mut session = self.session().unwrap();
        let mut invoice =
            |_| session.call("invoice", &parameters).unwrap()["invoice"].as_str().unwrap().to_owned();
        (0..count).map(&mut invoice).collect()
    }

    fn has_open_channel(&self) -> bool {
        let list = self.must("listchannels", &json!({}));
        list["channels"].as_array().is_some_and(|all| all.iter().any(|channel| channel["state"] == "open"))
    }
}

/// A connection to the API that is kept open, as a program does that asks often.
struct Session {
    stream: BufReader<TcpStream>,
    token: String,
}

impl Session {
    fn call(&mut self, method: &str, parameters: &Value) -> Result<Value, String> {
        self.exchange(method, &parameters.to_string()).unwrap_or_else(|error| Err(error.to_string()))
    }

    fn exchange(&mut self, method: &str, body: &str) -> io::Result<Result<Value, String>> {
        let request = format!(
            "POST /v1/{method} HTTP/1.1\r\nHost: node\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.token,
            body.len()
        );
        self.stream.get_mut().write_all(request.as_bytes())?;
        let (mut line, mut length) = (String::new(), 0);
        self.stream.read_line(&mut line)?;
        let is_good = line.split(' ').nth(1) == Some("200");
        while line.trim() != "" {
            line.clear();
            self.stream.read_line(&mut line)?;
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse().map_err(io::Error::other)?;
            }
        }
        let mut answer = vec![0; length];
        self.stream.read_exact(&mut answer)?;
        let answer: Value = serde_json::from_slice(&answer)?;
        Ok(if is_good { Ok(answer) } else { Err(answer.to_string()) })
    }

    /// The next events.
    fn events(&mut self, after: &mut u64) -> Vec<Value> {
        let list = self.call("listevents", &json!({ "after": *after, "limit": 1_000 })).unwrap();
        let events = list["events"].as_array().cloned().unwrap_or_default();
        *after = events.last().map_or(*after, |event| event["id"].as_u64().unwrap());
        events
    }
}

fn wait<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn open_channel(chain: &Chain, payer: &Node, payee: &Node) {
    let address = payer.must("newaddr", &json!({}))["address"].as_str().unwrap().to_owned();
    chain.mine(110, Some(&address));
    wait("coins", || {
        payer.must("balance", &json!({}))["onchain_confirmed_sat"].as_u64().filter(|sat| *sat > 0)
    });
    let peer = payee.must("getinfo", &json!({}))["addresses"][0].as_str().unwrap().to_owned();
    payer.must("openchannel", &json!({ "peer": peer, "amount_sat": CHANNEL_SAT, "announce": false }));
    wait("the channel", || {
        chain.mine(1, None);
        (payer.has_open_channel() && payee.has_open_channel()).then_some(())
    });
}

/// Pays `count` invoices, always `in_flight` at once; the time from the first `pay` to the payer's last event.
fn pay(payer: &Node, payee: &Node, in_flight: usize, count: usize) -> Duration {
    let (place, invoices) = mpsc::sync_channel(in_flight);
    let invoices = Mutex::new(invoices);
    let mut to_pay = payee.invoices(count).into_iter();
    let (mut watcher, mut after) = (payer.session().unwrap(), 0);
    while !watcher.events(&mut after).is_empty() {}
    let begun = Instant::now();
    thread::scope(|scope| {
        // Goes with this closure, at which the clients end.
        let place = place;
        let mut begin =
            |many: usize| to_pay.by_ref().take(many).for_each(|invoice| place.send(invoice).unwrap());
        for _ in 0..in_flight.min(CLIENTS) {
            scope.spawn(|| {
                let mut session = payer.session().unwrap();
                loop {
                    let next = invoices.lock().unwrap().recv();
                    let Ok(invoice) = next else { return };
                    session.call("pay", &json!({ "invoice": invoice })).unwrap();
                }
            });
        }
        begin(in_flight);
        let mut paid = 0;
        while paid < count {
            let mut arrived = 0;
            for event in watcher.events(&mut after) {
                match event["kind"].as_str() {
                    Some("payment_sent") => arrived += 1,
                    Some("payment_failed" | "channel_closed") => panic!("{}", event["text"]),
                    _ => {}
                }
            }
            paid += arrived;
            begin(arrived);
            if arrived == 0 {
                assert!(begun.elapsed() < PATIENCE, "only {paid} of {count} payments arrived");
                thread::sleep(LOOK_AGAIN);
            }
        }
    });
    begun.elapsed()
}

/// What the disk takes for ten pages of 4 KiB in the middle of a file and an fsync, which is what a commit of the store is.
fn fsync(folder: &Path) -> Duration {
    let mut file = File::create(folder.join("fsync")).unwrap();
    let pages = vec![0x55; 40_960];
    let mut write = || {
        file.seek(SeekFrom::Start(0)).unwrap();
        file.write_all(&pages).unwrap();
        file.sync_data().unwrap();
    };
    write();
    let begun = Instant::now();
    (0..100).for_each(|_| write());
    begun.elapsed() / 100
}

fn main() {
    let folder = tempfile::tempdir().unwrap();
    println!("fsync of 40 KiB: {:.2} ms", fsync(folder.path()).as_secs_f64() * 1_000.0);
    let chain = Chain::start(folder.path());
    let [payer, payee] = ["payer", "payee"].map(|name| Node::start(folder.path(), name, &chain));
    open_channel(&chain, &payer, &payee);
    pay(&payer, &payee, 1, WARM_UP);
    for (in_flight, count) in RUNS {
        let took = pay(&payer, &payee, in_flight, count).as_secs_f64();
        let rate = f64::from(u32::try_from(count).unwrap()) / took;
        println!("{in_flight} in flight: {rate:.1} payments/s ({count} payments in {took:.2} s)");
    }
}
