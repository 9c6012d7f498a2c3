//! Our daemon as users run it: a process on a folder, spoken to through its API only.
//!
//! The program is `LNODE_EXE`, or the one that cargo builds with these tests, so that it is never an older one.
use std::cell::RefCell;
use std::fmt;
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::str::FromStr;
use std::time::Duration;

use bitcoin::hashes::{Hash as _, HashEngine as _, Hmac, HmacEngine, sha256};
use bitcoin::hex::FromHex;
use bitcoin::secp256k1::{PublicKey, Secp256k1, SecretKey};
use bitcoin::{Address, Amount, Network, OutPoint};
use lightning_keys::Seed;
use lightning_traits::payment::{PaymentHash, Preimage};
use serde_json::{Value, json};

use crate::chain::Chain;
use crate::node::{Close, Node, Opening, Progress};
use crate::wait::{PATIENCE, folder, tail, wait_until, wait_within};

const LOG_LINES: usize = 120;
/// Longer than the daemon lets a method run.
const CALL_TIMEOUT: Duration = Duration::from_secs(150);
const FILTER: &str =
    "info,lightning_channel=debug,lightning_monitor=debug,lightning_peer=debug,lightning_node::daemon=debug";

/// A daemon.
pub struct Lnode {
    name: String,
    folder: PathBuf,
    log: PathBuf,
    address: SocketAddr,
    arguments: Vec<String>,
    // A test kills and starts it while others hold it as a node.
    process: RefCell<Option<Child>>,
    id: PublicKey,
}

impl Lnode {
    /// Starts a daemon on `folder/name` that follows `chain`, and waits until it answers.
    #[must_use]
    pub fn start(chain: &Chain, folder: &Path, name: &str) -> Self {
        Self::start_with(chain, folder, name, &[])
    }

    /// As [`start`](Self::start), with more flags for `lnode run`.
    #[must_use]
    pub fn start_with(chain: &Chain, folder: &Path, name: &str, flags: &[&str]) -> Self {
        let folder = folder.join(name);
        fs::create_dir_all(&folder).expect("a folder for the daemon");
        // Freed at once for the daemon to take: ports in between are given out round robin.
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|socket| socket.local_addr());
        let address = port.expect("a free port");
        let mut arguments: Vec<String> = ["--dir".to_owned(), folder.display().to_string()].into();
        let settings = [
            ("network", "regtest".to_owned()),
            ("api-listen", "127.0.0.1:0".to_owned()),
            ("listen", address.to_string()),
            ("chain-source", "bitcoind".to_owned()),
            ("chain-url", chain.rpc_address()),
            ("chain-cookie", chain.cookie().display().to_string()),
            ("chain-poll-ms", "20".to_owned()),
            ("log-filter", FILTER.to_owned()),
        ];
        arguments.push("run".to_owned());
        arguments.extend(settings.into_iter().map(|(key, value)| format!("--{key}={value}")));
        arguments.extend(flags.iter().map(|flag| (*flag).to_owned()));
        let log = folder.join("lnode.log");
        let unknown = PublicKey::from_slice(&GENERATOR).expect("a point");
        let mut node = Self {
            name: name.to_owned(),
            folder,
            log,
            address,
            arguments,
            process: RefCell::new(None),
            id: unknown,
        };
        node.launch();
        let id = node.must("getinfo", json!({}))["node_id"].as_str().expect("a node id").to_owned();
        node.id = PublicKey::from_str(&id).expect("a node id");
        node
    }

    /// Ends it at once, as a power cut would.
    pub fn kill(&self) {
        if let Some(mut process) = self.process.borrow_mut().take() {
            process.kill().expect("a process can be killed");
            process.wait().expect("a killed process ends");
        }
        // The next start writes a new one; the old address must not be taken for it.
        let _gone = fs::remove_file(self.data().join("api.address"));
    }

    /// Asks it to stop and waits for its end.
    pub fn stop(&self) {
        self.must("stop", json!({}));
        let ended =
            || self.process.borrow_mut().as_mut().is_none_or(|process| process.try_wait().unwrap().is_some());
        wait_until(&format!("{} to stop", self.name), || self, ended);
        self.kill();
    }

    /// Starts it again after [`kill`](Self::kill) or [`stop`](Self::stop).
    pub fn launch(&self) {
        let log = File::options().create(true).append(true).open(&self.log).expect("a log for the daemon");
        let errors = log.try_clone().expect("a log for the daemon");
        let mut command = Command::new(executable());
        command.args(&self.arguments).stdin(Stdio::null()).stdout(log).stderr(errors);
        let process = command.spawn().expect("the daemon should start");
        *self.process.borrow_mut() = Some(process);
        let ready = || {
            let ended = self.process.borrow_mut().as_mut().and_then(|process| process.try_wait().unwrap());
            assert!(
                ended.is_none(),
                "{} ended at once: {ended:?}\n{}",
                self.name,
                tail(&self.log, LOG_LINES)
            );
            self.call("getinfo", json!({})).is_ok()
        };
        wait_until(&format!("{} to answer", self.name), || tail(&self.log, LOG_LINES), ready);
    }

    /// A copy of its data; it must be stopped.
    #[must_use]
    pub fn back_up(&self) -> tempfile::TempDir {
        let backup = folder();
        copy(&self.data(), backup.path());
        backup
    }

    /// Puts a copy in the place of its data; it must be stopped.
    pub fn put_back(&self, backup: &tempfile::TempDir) {
        fs::remove_dir_all(self.data()).expect("the data can be removed");
        copy(backup.path(), &self.data());
    }

    /// Calls a method of the API.
    pub fn call(&self, method: &str, parameters: Value) -> Result<Value, String> {
        let read = |name: &str| fs::read_to_string(self.data().join(name)).map_err(|error| error.to_string());
        let (address, token) = (read("api.address")?, read("admin.token")?);
        let response = bitreq::post(format!("http://{}/v1/{method}", address.trim()))
            .with_header("Authorization", format!("Bearer {}", token.trim()))
            .with_header("Content-Type", "application/json")
            .with_body(parameters.to_string())
            .with_timeout(CALL_TIMEOUT)
            .send()
            .map_err(|error| error.to_string())?;
        let body: Value = serde_json::from_slice(response.as_bytes()).map_err(|error| error.to_string())?;
        match response.status_code {
            200 => Ok(body),
            status => Err(format!("{status} {body}")),
        }
    }

    /// Calls a method that has to succeed.
    pub fn must(&self, method: &str, parameters: Value) -> Value {
        let answer = self.call(method, parameters);
        answer.unwrap_or_else(|error| panic!("{}: {method} fails: {error}\n{self}", self.name))
    }

    /// Pays `payee` without an invoice.
    #[must_use]
    pub fn keysend(&self, payee: PublicKey, amount_msat: u64) -> PaymentHash {
        let parameters = json!({ "node_id": payee.to_string(), "amount_msat": amount_msat });
        let payment = self.must("keysend", parameters);
        PaymentHash(FromHex::from_hex(payment["payment_hash"].as_str().expect("a hash")).expect("a hash"))
    }

    /// An invoice whose preimage the test keeps; its payment has `blocks` to wait in.
    #[must_use]
    pub fn hold_invoice(&self, preimage: &Preimage, amount_msat: u64, blocks: u16) -> String {
        let hash = preimage.hash().to_string();
        let parameters = json!({ "payment_hash": hash, "amount_msat": amount_msat, "blocks": blocks });
        self.must("holdinvoice", parameters)["invoice"].as_str().expect("an invoice").to_owned()
    }

    /// Whether the payment of a hold invoice is here and waits.
    #[must_use]
    pub fn is_held(&self, hash: PaymentHash) -> bool {
        let hash = hash.to_string();
        let is_held = |row: &Value| row["payment_hash"] == hash && row["state"] == "held";
        self.list("listinvoices", "invoices").iter().any(is_held)
    }

    /// The height at which a held payment goes back.
    #[must_use]
    pub fn deadline(&self, hash: PaymentHash) -> Option<u32> {
        let hash = hash.to_string();
        let invoices = self.list("listinvoices", "invoices");
        let found = invoices.iter().find(|row| row["payment_hash"] == hash)?;
        found["deadline_height"].as_u64()?.try_into().ok()
    }

    /// Takes a held payment; false when none is held.
    pub fn settle(&self, preimage: &Preimage) -> bool {
        let hex: String = preimage.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        self.call("settleinvoice", json!({ "preimage": hex })).is_ok()
    }

    /// Gives a held payment back, and takes none any more.
    pub fn cancel(&self, hash: PaymentHash) {
        self.must("cancelinvoice", json!({ "payment_hash": hash.to_string() }));
    }

    /// The secret key of its node id, from the words of its seed.
    #[must_use]
    pub fn node_secret(&self) -> SecretKey {
        let words = fs::read_to_string(self.data().join("seed")).expect("the seed of the daemon");
        let mut engine = HmacEngine::<sha256::Hash>::new(b"lnode node seed");
        engine.input(words.trim().as_bytes());
        let secret = Seed::new(Hmac::from_engine(engine).to_byte_array()).secret_key("node");
        let secret = secret.expect("a key");
        assert_eq!(
            secret.public_key(&Secp256k1::new()),
            self.id,
            "the daemon derives its key in another way"
        );
        secret
    }

    /// Where its log is.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// What `listchannels` says of the channel.
    #[must_use]
    pub fn channel(&self, funding: OutPoint) -> Option<Value> {
        let channels = self.list("listchannels", "channels");
        channels.into_iter().find(|channel| channel["funding_outpoint"] == funding.to_string())
    }

    /// Whether `peer` is connected.
    #[must_use]
    pub fn is_connected(&self, peer: &PublicKey) -> bool {
        let id = peer.to_string();
        self.list("listpeers", "peers")
            .iter()
            .any(|found| found["node_id"] == id && found["connected"] == true)
    }

    fn data(&self) -> PathBuf {
        self.folder.join("regtest")
    }

    fn list(&self, method: &str, field: &str) -> Vec<Value> {
        self.must(method, json!({}))[field].as_array().cloned().unwrap_or_default()
    }

    fn open_channel(&self, funding: OutPoint) -> Option<Value> {
        let is_open =
            |channel: &Value| matches!(channel["state"].as_str(), Some("open" | "offline" | "closing"));
        self.channel(funding).filter(is_open)
    }
}

impl Drop for Lnode {
    fn drop(&mut self) {
        self.kill();
    }
}

impl fmt::Display for Lnode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "=== {} at {} ===", self.name, self.address)?;
        for method in ["getinfo", "balance", "listpeers", "listchannels"] {
            match self.call(method, json!({})) {
                Ok(answer) => writeln!(f, "{method}: {answer}")?,
                Err(error) => writeln!(f, "{method} fails: {error}")?,
            }
        }
        write!(f, "{}", tail(&self.log, LOG_LINES))
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder for a copy");
    for entry in fs::read_dir(from).expect("a folder to copy") {
        let from = entry.expect("a file to copy").path();
        let to = to.join(from.file_name().expect("a file has a name"));
        if from.is_dir() {
            copy(&from, &to);
        } else {
            fs::copy(&from, &to).expect("a file can be copied");
        }
    }
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no whole number"))
}

fn peer(id: PublicKey, address: SocketAddr) -> String {
    format!("{id}@{address}")
}

impl Node for Lnode {
    fn name(&self) -> &str {
        &self.name
    }

    fn id(&self) -> PublicKey {
        self.id
    }

    fn address(&self) -> SocketAddr {
        self.address
    }

    fn height(&self) -> u32 {
        let info = self.must("getinfo", json!({}));
        number(&info["block_height"]).try_into().expect("a height")
    }

    fn new_address(&self) -> Address {
        let answer = self.must("newaddr", json!({}));
        let address = Address::from_str(answer["address"].as_str().expect("an address")).expect("an address");
        address.require_network(Network::Regtest).expect("an address on regtest")
    }

    fn wallet_balance(&self) -> Amount {
        let balance = self.must("balance", json!({}));
        Amount::from_sat(
            number(&balance["onchain_confirmed_sat"]) + number(&balance["onchain_unconfirmed_sat"]),
        )
    }

    fn connect_to(&self, id: PublicKey, address: SocketAddr) {
        if !self.is_connected(&id) {
            self.must("connect", json!({ "peer": peer(id, address) }));
        }
        wait_until(&format!("{} to be connected with {id}", self.name), || self, || self.is_connected(&id));
    }

    fn open(&self, chain: &Chain, id: PublicKey, opening: Opening) -> OutPoint {
        let parameters = json!({
            "peer": id.to_string(),
            "amount_sat": opening.value.to_sat(),
            "push_msat": opening.push_msat,
            "announce": opening.announce,
        });
        let channel = self.must("openchannel", parameters)["channel_id"].clone();
        let probe = || {
            let channels = self.list("listchannels", "channels");
            // The id changes when the funding is known; until then there is none of a fresh channel.
            let found = channels.iter().find(|found| found["channel_id"] == channel)?;
            let funding: OutPoint = found["funding_outpoint"].as_str()?.parse().expect("an outpoint");
            chain.mempool().contains(&funding.txid).then_some(funding)
        };
        wait_within(PATIENCE, &format!("{} to fund its channel", self.name), || self, probe)
    }

    fn is_usable(&self, funding: OutPoint) -> bool {
        self.channel(funding).is_some_and(|channel| channel["state"] == "open")
    }

    fn htlcs(&self, funding: OutPoint) -> Option<usize> {
        let channel = self.open_channel(funding)?;
        let msat = |field: &str| number(&channel[field]);
        // An HTLC that is decided and not yet removed from both commitments is nobody's, and not counted either.
        let is_between = msat("local_msat") + msat("remote_msat") < msat("capacity_sat") * 1000;
        let counted: usize = msat("htlcs").try_into().expect("a number of HTLCs");
        Some(counted.max(usize::from(is_between)))
    }

    fn owned_msat(&self, funding: OutPoint) -> Option<u64> {
        Some(number(&self.open_channel(funding)?["local_msat"]))
    }

    fn close(&self, funding: OutPoint, how: Close) {
        let channel = self.channel(funding).unwrap_or_else(|| panic!("no channel {funding}\n{self}"));
        self.must("closechannel", json!({ "channel": channel["channel_id"], "force": how == Close::Force }));
    }

    fn is_settled(&self) -> bool {
        let balance = self.must("balance", json!({}));
        let resolving = |channel: &Value| matches!(channel["state"].as_str(), Some("closing" | "resolving"));
        number(&balance["closing_sat"]) == 0 && !self.list("listchannels", "channels").iter().any(resolving)
    }

    fn new_invoice(&self, amount_msat: u64) -> String {
        let parameters = json!({ "amount_msat": amount_msat, "description": "interop" });
        self.must("invoice", parameters)["invoice"].as_str().expect("an invoice").to_owned()
    }

    fn begin_payment(&self, invoice: &str) -> Result<PaymentHash, String> {
        let payment = self.call("pay", json!({ "invoice": invoice }))?;
        let hash = payment["payment_hash"].as_str().expect("a payment hash");
        Ok(PaymentHash(FromHex::from_hex(hash).expect("a payment hash")))
    }

    fn progress(&self, hash: PaymentHash) -> Progress {
        let payment = self.must("getpayment", json!({ "payment_hash": hash.to_string() }));
        match payment["state"].as_str() {
            Some("succeeded") => {
                let preimage = payment["preimage"].as_str().expect("a preimage");
                Progress::Sent {
                    preimage: Preimage::new(FromHex::from_hex(preimage).expect("a preimage")),
                    fee_msat: number(&payment["fee_msat"]),
                }
            }
            Some("failed") => Progress::Failed(payment["failure"].as_str().unwrap_or_default().to_owned()),
            _ => Progress::Pending,
        }
    }

    fn received_msat(&self, hash: PaymentHash) -> u64 {
        let hash = hash.to_string();
        let invoices = self.list("listinvoices", "invoices");
        let paid =
            invoices.iter().find(|invoice| invoice["payment_hash"] == hash && invoice["state"] == "paid");
        paid.map_or(0, |invoice| number(&invoice["received_msat"]))
    }
}

/// The generator of the curve: nobody's id, before the daemon has told its own.
const GENERATOR: [u8; 33] = [
    0x02, 0x79, 0xbe, 0x66, 0x7e, 0xf9, 0xdc, 0xbb, 0xac, 0x55, 0xa0, 0x62, 0x95, 0xce, 0x87, 0x0b, 0x07,
    0x02, 0x9b, 0xfc, 0xdb, 0x2d, 0xce, 0x28, 0xd9, 0x59, 0xf2, 0x81, 0x5b, 0x16, 0xf8, 0x17, 0x98,
];

/// The program: `LNODE_EXE`, or what cargo built of this package beside its tests.
fn executable() -> PathBuf {
    if let Some(named) = std::env::var_os("LNODE_EXE") {
        return named.into();
    }
    // A test is target/<profile>/deps/<name>; an example or a bench is elsewhere below the profile's folder.
    let exe = std::env::current_exe().expect("this test's own path");
    let beside = exe.ancestors().skip(1).map(|folder| folder.join(PROGRAM)).find(|path| path.is_file());
    beside.unwrap_or_else(|| panic!("no {PROGRAM} beside {}: name one by LNODE_EXE", exe.display()))
}

/// Our `[[bin]]`.
const PROGRAM: &str = "lnode-under-test";
