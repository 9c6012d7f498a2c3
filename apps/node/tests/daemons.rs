//! Nodes as processes, driven by commands as people drive them: money goes there and back, through kills and restarts,
//! and what cannot start says why and changes nothing.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "tests"
)]
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(90);

/// A process that is killed when the test is over.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _killed = self.0.kill();
        let _ended = self.0.wait();
    }
}

fn lnode(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lnode"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("LNODE_")) {
        command.env_remove(name);
    }
    command.env("HOME", dir).env_remove("XDG_DATA_HOME").env("LNODE_DIR", dir).stdin(Stdio::null());
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The embedded chain as a process.
struct Chain {
    dir: tempfile::TempDir,
    address: String,
    _process: Process,
}

impl Chain {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut command = lnode(dir.path());
        command.args(["chain", "--listen", "127.0.0.1:0"]).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.split([' ', ',']).nth(2).unwrap().to_owned();
        Self { dir, address, _process: Process(child) }
    }

    fn cookie(&self) -> PathBuf {
        self.dir.path().join("regtest/chain.cookie")
    }

    /// Adds what makes a command use this chain.
    fn used_by<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.env("LNODE_CHAIN_URL", &self.address).env("LNODE_CHAIN_COOKIE", self.cookie())
    }

    fn height(&self) -> u64 {
        let auth = lightning_chain_bitcoind::Auth::Cookie(self.cookie());
        let network = bitcoin::Network::Regtest;
        let client = lightning_chain_bitcoind::BitcoindClient::new(&self.address, auth, network);
        client.call("getblockcount", &serde_json::json!([])).unwrap().as_u64().unwrap()
    }

    fn mine(&self, node: &Node, arguments: &[&str]) {
        let mut command = lnode(node.dir.path());
        let output = self.used_by(&mut command).arg("mine").args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
    }
}

/// A node as a process, and its client.
struct Node {
    dir: tempfile::TempDir,
    /// Where peers connect: the same after a restart, so that they find it again.
    port: u16,
    process: Option<Process>,
}

impl Node {
    fn start(chain: &Chain) -> Self {
        // Free a moment ago; nobody else on this machine asks for it by number.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut node = Self { dir: tempfile::tempdir().unwrap(), port, process: None };
        node.run(chain);
        node
    }

    fn command(&self, chain: &Chain) -> Command {
        let mut command = lnode(self.dir.path());
        chain.used_by(&mut command);
        let listen = format!("127.0.0.1:{}", self.port);
        command.args(["run", "--api-listen", "127.0.0.1:0", "--chain-poll-ms", "50", "--listen", &listen]);
        command.args(["--announce", &listen]);
        command
    }

    fn run(&mut self, chain: &Chain) {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.dir.path().join("log")).unwrap();
        let mut command = self.command(chain);
        let child = command
            .args(["--log-filter", "debug,lightning_node::api=info"])
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        self.process = Some(Process(child.unwrap()));
        self.until("the node runs", |node| node.lnode(&["getinfo"]).status.success());
    }

    /// Ends it at once, as a power failure would.
    fn kill(&mut self) {
        self.process = None;
    }

    /// Tells it to stop, and waits until it has.
    fn stop(&mut self) {
        assert!(self.lnode(&["stop"]).status.success());
        let mut process = self.process.take().unwrap();
        assert!(process.0.wait().unwrap().success());
    }

    fn lnode(&self, arguments: &[&str]) -> Output {
        lnode(self.dir.path()).args(arguments).output().unwrap()
    }

    fn answer(&self, arguments: &[&str]) -> Value {
        let output = self.lnode(arguments);
        assert!(output.status.success(), "{arguments:?}: {}\n{}", text(&output.stderr), self.log());
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn refused(&self, arguments: &[&str], code: &str) {
        let output = self.lnode(arguments);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
        assert_eq!(said.trim_end().lines().count(), 1, "{said}");
        assert!(said.contains(code), "{arguments:?}: {said} is not {code}");
    }

    fn log(&self) -> String {
        let log = fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(60)..].join("\n")
    }

    fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds(self) {
            if Instant::now() >= deadline {
                let channels = text(&self.lnode(&["listchannels"]).stdout);
                panic!("never: {what}\n{channels}\n{}", self.log());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn address(&self) -> String {
        self.answer(&["getinfo"])["addresses"][0].as_str().unwrap().to_owned()
    }

    fn invoice(&self, arguments: &[&str]) -> String {
        let made = self.answer(&[&["invoice"], arguments].concat());
        made["invoice"].as_str().unwrap().to_owned()
    }

    fn balance(&self, part: &str) -> u64 {
        self.answer(&["balance"])[part].as_u64().unwrap()
    }

    fn channel_is(&self, state: &str) -> bool {
        let channels = self.answer(&["listchannels"]);
        channels["channels"].as_array().unwrap().iter().any(|channel| channel["state"] == state)
    }
}

#[test]
fn money_goes_there_and_back_through_a_kill() {
    let chain = Chain::start();
    let (mut alice, bob) = (Node::start(&chain), Node::start(&chain));
    chain.mine(&alice, &["1", "--to", "wallet"]);
    chain.mine(&alice, &["100"]);
    alice.until("the coinbase can be spent", |alice| alice.balance("onchain_confirmed_sat") == 5_000_000_000);

    // Alice waits for the channel while blocks are mined.
    let peer = bob.address();
    let mut open = lnode(alice.dir.path());
    open.args(["openchannel", &peer, "1000000", "--wait", "--timeout", "90"]);
    let mut open = open.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut progress = BufReader::new(open.stderr.take().unwrap());
    let mut shown = String::new();
    // Whoever waits is told for what, before it happens.
    while !shown.contains("confirmations") {
        assert_ne!(progress.read_line(&mut shown).unwrap(), 0, "no progress shown: {shown}\n{}", alice.log());
    }
    chain.mine(&alice, &["6"]);
    let opened = open.wait_with_output().unwrap();
    progress.read_to_string(&mut shown).unwrap();
    assert!(opened.status.success(), "{shown}\n{}", alice.log());
    bob.until("bob has the channel too", |bob| bob.channel_is("open"));

    let invoice = bob.invoice(&["2500", "coffee"]);
    let paid = alice.answer(&["pay", &invoice]);
    assert_eq!((&paid["state"], &paid["amount_msat"]), (&"succeeded".into(), &2_500_000.into()));
    assert_eq!((&paid["attempts"], &paid["parts"]), (&1.into(), &0.into()));
    alice.refused(&["pay", &invoice], "LN0022");
    assert_eq!(alice.answer(&["decode", &invoice])["description"], "coffee");

    refusals(&alice, &bob, &peer);

    alice.kill();
    alice.run(&chain);
    alice.until("the channel is back", |alice| alice.channel_is("open"));
    assert_eq!(alice.balance("channels_msat"), 997_500_000);
    assert_eq!(alice.answer(&["listpayments"])["payments"][0]["state"], "succeeded");
    alice.answer(&["pay", &bob.invoice(&["777"])]);
    bob.until("bob has both", |bob| bob.balance("channels_msat") == 3_277_000);

    let list = alice.answer(&["listchannels"]);
    let channel = list["channels"][0]["short_channel_id"].as_str().unwrap().to_owned();
    let mut close = lnode(alice.dir.path());
    close.args(["closechannel", &channel, "--wait", "--timeout", "90"]);
    let close = close.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // The reason is known once both have signed and the transaction is out.
    alice.until("the closing is agreed", |alice| {
        alice.answer(&["listchannels"])["channels"][0]["close_reason"] != ""
    });
    chain.mine(&alice, &["144"]);
    let closed = close.wait_with_output().unwrap();
    assert!(closed.status.success(), "{}\n{}", text(&closed.stderr), alice.log());
    assert!(text(&closed.stderr).contains("closing: "), "no progress shown");
    for node in [&alice, &bob] {
        node.until("the channel is closed", |node| node.channel_is("closed"));
        let closed = node.answer(&["listchannels"])["channels"][0].clone();
        assert_eq!(closed["short_channel_id"], *channel);
        assert!(closed["closing_txid"].is_string() && closed["close_reason"] != "", "{closed}");
    }
    bob.until("bob's share is in his wallet", |bob| bob.balance("onchain_confirmed_sat") == 3_277);
    let back = alice.balance("onchain_confirmed_sat");
    // All but what Bob has and the fees of two transactions.
    assert!((4_999_990_000..5_000_000_000 - 3_277).contains(&back), "{back}");
    alice.kill();
    alice.run(&chain);
    let closed = alice.answer(&["listchannels"])["channels"][0].clone();
    assert_eq!((&closed["state"], &closed["short_channel_id"]), (&"closed".into(), &channel.as_str().into()));
    assert!(alice.lnode(&["stop"]).status.success());
}

/// The state of bob's invoice for this hash.
fn invoice_state(node: &Node, hash: &str) -> String {
    let list = node.answer(&["listinvoices"]);
    let invoices = list["invoices"].as_array().unwrap();
    let found = invoices.iter().find(|invoice| invoice["payment_hash"] == hash);
    found.map(|invoice| invoice["state"].as_str().unwrap().to_owned()).unwrap_or_default()
}

fn preimage_and_hash(byte: u8) -> (String, String) {
    use bitcoin::hashes::{Hash as _, sha256};
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    (hex(&[byte; 32]), hex(sha256::Hash::hash(&[byte; 32]).as_byte_array()))
}

#[test]
fn money_goes_in_parts_unasked_and_on_hold() {
    let chain = Chain::start();
    let (alice, mut bob) = (Node::start(&chain), Node::start(&chain));
    chain.mine(&alice, &["2", "--to", "wallet"]);
    chain.mine(&alice, &["101"]);
    alice.until("the coinbase can be spent", |alice| alice.balance("onchain_confirmed_sat") > 5_000_000_000);
    for channels in 1..3 {
        alice.answer(&["openchannel", &bob.address(), "200000"]);
        chain.mine(&alice, &["6"]);
        let usable = |node: &Node| {
            let list = node.answer(&["listchannels"]);
            list["channels"].as_array().unwrap().iter().filter(|channel| channel["state"] == "open").count()
        };
        alice.until("the channel is open", |alice| usable(alice) == channels);
        bob.until("bob has it too", |bob| usable(bob) == channels);
    }

    // No channel carries it alone.
    let invoice = bob.invoice(&["300000"]);
    alice.refused(&["pay", &invoice, "--max-parts", "1"], "LN0012");
    let paid = alice.answer(&["pay", &invoice, "--max-fee", "0"]);
    assert_eq!((&paid["state"], &paid["amount_msat"]), (&"succeeded".into(), &300_000_000.into()));
    assert_eq!((&paid["parts"], &paid["fee_msat"]), (&0.into(), &0.into()));
    bob.until("bob has it all", |bob| bob.balance("channels_msat") == 300_000_000);

    let id = bob.answer(&["getinfo"])["node_id"].as_str().unwrap().to_owned();
    let sent = alice.answer(&["keysend", &id, "1234"]);
    assert_eq!((&sent["state"], &sent["payee"]), (&"succeeded".into(), &id.clone().into()));
    bob.until("bob has heard of it", |bob| {
        invoice_state(bob, sent["payment_hash"].as_str().unwrap()) == "paid"
    });

    // Held, over a power failure, and taken.
    let (preimage, hash) = preimage_and_hash(7);
    let held = bob.answer(&["holdinvoice", &hash, "5000", "on hold"]);
    bob.refused(&["settle", &preimage], "LN0023");
    alice.answer(&["pay", "--no-wait", held["invoice"].as_str().unwrap()]);
    bob.until("it waits", |bob| invoice_state(bob, &hash) == "held");
    bob.kill();
    bob.run(&chain);
    bob.until("the channels are back", |bob| bob.channel_is("open"));
    assert_eq!(invoice_state(&bob, &hash), "held");
    bob.answer(&["settleinvoice", &preimage]);
    alice.until("it is paid", |alice| alice.answer(&["getpayment", &hash])["state"] == "succeeded");
    assert_eq!(alice.answer(&["getpayment", &hash])["preimage"], *preimage);
    bob.until("bob has it", |bob| invoice_state(bob, &hash) == "paid");
    bob.answer(&["settleinvoice", &preimage]);
    bob.refused(&["cancelinvoice", &hash], "LN0022");

    // Held, and given back.
    let (_, hash) = preimage_and_hash(8);
    let held = bob.answer(&["holdinvoice", &hash, "5000"]);
    let invoice = held["invoice"].as_str().unwrap().to_owned();
    alice.answer(&["pay", "--no-wait", &invoice]);
    bob.until("it waits", |bob| invoice_state(bob, &hash) == "held");
    assert_eq!(bob.answer(&["cancel", &hash])["state"], "cancelled");
    alice.until("it has failed", |alice| alice.answer(&["getpayment", &hash])["state"] == "failed");
    assert_eq!(alice.lnode(&["pay", &invoice]).status.code(), Some(3), "nor does it take another");
    assert_eq!(invoice_state(&bob, &hash), "cancelled");
    assert_eq!(bob.balance("channels_msat"), 300_000_000 + 1_234_000 + 5_000_000);
}

#[test]
fn money_comes_home_without_the_peer() {
    let chain = Chain::start();
    let (mut alice, mut bob) = (Node::start(&chain), Node::start(&chain));
    chain.mine(&alice, &["1", "--to", "wallet"]);
    chain.mine(&alice, &["100"]);
    alice.until("the coinbase can be spent", |alice| alice.balance("onchain_confirmed_sat") == 5_000_000_000);
    alice.answer(&["openchannel", &bob.address(), "1000000", "--push", "200000"]);
    alice.until("the funding is out", |alice| alice.channel_is("awaiting_confirmations"));
    chain.mine(&alice, &["6"]);
    for node in [&alice, &bob] {
        node.until("the channel is open", |node| node.channel_is("open"));
    }
    // Bob is gone for good; Alice restarts in the middle.
    bob.kill();
    let list = alice.answer(&["listchannels"]);
    let id = list["channels"][0]["channel_id"].as_str().unwrap().to_owned();
    alice.answer(&["forceclose", &id]);
    alice.until("the commitment is out", |alice| alice.channel_is("resolving"));
    chain.mine(&alice, &["1"]);
    alice.kill();
    alice.run(&chain);
    // Her share is locked for 144 blocks, and then swept by a transaction that needs blocks itself.
    let before = alice.balance("onchain_confirmed_sat");
    for _ in 0..16 {
        chain.mine(&alice, &["10"]);
        let tip = chain.height();
        alice.until("alice has seen the blocks", |alice| alice.answer(&["getinfo"])["block_height"] == tip);
    }
    alice.until("her share is swept", |alice| {
        chain.mine(alice, &["1"]);
        alice.balance("onchain_confirmed_sat") > before + 780_000
    });
    alice.until("the channel is closed", |alice| {
        chain.mine(alice, &["1"]);
        alice.channel_is("closed")
    });
    // Bob comes back after all and finds his.
    bob.run(&chain);
    bob.until("bob's share is swept", |bob| {
        chain.mine(bob, &["1"]);
        bob.balance("onchain_confirmed_sat") > 190_000
    });
}

#[test]
fn peer_that_has_only_ever_called_us_is_called_where_it_says_that_it_is() {
    let chain = Chain::start();
    let (alice, mut bob) = (Node::start(&chain), Node::start(&chain));
    chain.mine(&alice, &["1", "--to", "wallet"]);
    chain.mine(&alice, &["100"]);
    alice.until("the coinbase can be spent", |alice| alice.balance("onchain_confirmed_sat") == 5_000_000_000);
    alice.answer(&["openchannel", &bob.address(), "1000000"]);
    alice.until("the funding is out", |alice| alice.channel_is("awaiting_confirmations"));
    chain.mine(&alice, &["6"]);
    let id = |node: &Node| node.answer(&["getinfo"])["node_id"].as_str().unwrap().to_owned();
    let (alice_id, bob_id) = (id(&alice), id(&bob));
    let peer = |node: &Node| node.answer(&["listpeers"])["peers"][0].clone();
    assert_eq!((&peer(&bob)["node_id"], &peer(&bob)["inbound"]), (&alice_id.into(), &true.into()));
    let hers = alice.address();
    bob.until("alice is announced", |bob| {
        hers.ends_with(peer(bob)["address"].as_str().unwrap()) && peer(bob)["address"] != ""
    });
    // Alice will not call again; Bob restarts, and nobody has ever told him where she is but she herself.
    alice.answer(&["disconnect", &bob_id]);
    bob.stop();
    bob.run(&chain);
    bob.until("bob has called alice", |bob| peer(bob)["connected"] == true && peer(bob)["inbound"] == false);
    bob.until("the channel is back", |bob| bob.channel_is("open"));
}

/// What cannot be done is said, and leaves the money where it was.
fn refusals(alice: &Node, bob: &Node, peer: &str) {
    let before = (alice.answer(&["balance"]), alice.answer(&["listchannels"]));
    let mainnet_invoice = "lnbc1pvjluezsp5zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zygspp5qqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqypqdpl2pkx2ctnv5sxxmmwwd5kgetjypeh2ursdae8g6twvus8g6rfwvs8qun0dfjkxaq9qrsgq357wnc5r2ueh7ck6q93dj32dlqnls087fxdwk8qakdyafkq3yap9us6v52vjjsrvywa6rt52cm9r9zqt8r2t7mlcwspyetp5h2tztugp9lfyql";
    alice.refused(&["pay", mainnet_invoice, "1"], "LN0013");
    let expired = bob.invoice(&["1000", "soon", "--expiry", "1"]);
    let too_much = bob.invoice(&["99999999"]);
    let any = bob.invoice(&["any"]);
    alice.refused(&["pay", &too_much], "LN0012");
    let output = alice.lnode(&["pay", &any]);
    assert!(text(&output.stderr).contains("leaves the amount to you"), "{}", text(&output.stderr));
    alice.refused(&["pay", &format!("{any}q")], "LN0015");
    alice.refused(&["openchannel", peer, "90btc"], "LN0012");
    alice.refused(&["send", "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", "1000"], "LN0013");
    alice.refused(&["send", "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080", "100btc"], "LN0012");
    alice.refused(&["closechannel", &"ab".repeat(32)], "LN0016");
    alice.refused(&["getpayment", &"ab".repeat(32)], "LN0023");
    let nobody = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    alice.refused(&["connect", &format!("{nobody}@{closed}")], "LN0018");
    // A connected peer stays where it was found, whatever else is claimed.
    let id = peer.split('@').next().unwrap();
    let connected = alice.answer(&["connect", &format!("{id}@127.0.0.1:1")]);
    assert_eq!(format!("{id}@{}", connected["address"].as_str().unwrap()), peer);
    alice.until("the invoice has expired", |alice| alice.answer(&["decode", &expired])["expired"] == true);
    alice.refused(&["pay", &expired], "LN0014");
    assert_eq!(before, (alice.answer(&["balance"]), alice.answer(&["listchannels"])));
}

#[test]
fn node_that_cannot_start_says_why_and_changes_nothing() {
    let chain = Chain::start();
    let node = Node::start(&chain);
    let assert_said = |command: &mut Command, code: &str, words: &str| {
        let output = command.args(["--log-filter", "off"]).output().unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert_eq!(said.trim_end().lines().count(), 1, "{said}");
        assert!(said.starts_with("lnode: ") && said.contains(code) && said.contains(words), "{said}");
    };
    // The same directory; the running node is found as before.
    assert_said(&mut node.command(&chain), "LN0028", "another node runs on");
    assert!(node.lnode(&["getinfo"]).status.success());
    // The port of the running node.
    let other = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        let mut command = lnode(other.path());
        chain.used_by(&mut command).args(["run", "--api-listen", "127.0.0.1:0"]).args(arguments);
        command
    };
    let used = format!("127.0.0.1:{}", node.port);
    assert_said(&mut run(&["--listen", &used]), "LN0010", &used);
    // No bitcoind, its wrong password, its wrong network.
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    assert_said(&mut run(&["--listen", "none", "--chain-url", &closed]), "LN0025", "cannot be reached");
    let cookie = other.path().join("cookie");
    fs::write(&cookie, "__cookie__:wrong").unwrap();
    let wrong_cookie = ["--listen", "none", "--chain-cookie", cookie.to_str().unwrap()];
    assert_said(&mut run(&wrong_cookie), "LN0025", "refuses the credentials");
    let missing = ["--listen", "none", "--chain-cookie", "/nonexistent/cookie"];
    assert_said(&mut run(&missing), "LN0025", "cannot be read");
    let signet = ["--listen", "none", "--network", "signet", "--chain-source", "bitcoind"];
    assert_said(&mut run(&signet), "LN0013", "this node is on signet");
}

#[test]
fn damaged_database_is_kept_and_named() {
    let chain = Chain::start();
    let mut node = Node::start(&chain);
    let id = node.answer(&["getinfo"])["node_id"].clone();
    node.kill();
    let path = node.dir.path().join("regtest/lnode.redb");
    let whole = fs::read(&path).unwrap();
    let mut damaged = whole.clone();
    let end = damaged.len().min(4096);
    damaged[..end].fill(0x5a);
    fs::write(&path, &damaged).unwrap();
    let output = node.command(&chain).args(["--log-filter", "off"]).output().unwrap();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("LN0027") && said.contains("do not delete it"), "{said}");
    assert_eq!(fs::read(&path).unwrap(), damaged, "the damaged file was changed");
    // With the file of the backup all is as it was.
    fs::write(&path, &whole).unwrap();
    node.run(&chain);
    assert_eq!(node.answer(&["getinfo"])["node_id"], id);
}
