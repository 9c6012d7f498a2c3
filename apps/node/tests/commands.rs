//! The program from outside: what it prints and how it ends.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "tests"
)]
mod mock;

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use lightning_node::api::methods::{METHODS, Place};
use lightning_node::error::Code;
use mock::{ADDRESS, CHANNEL, FAILING, NODE, STUCK, Served, example};
use serde_json::Value;

fn lnode(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lnode"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("LNODE_")) {
        command.env_remove(name);
    }
    command.env("HOME", dir).env_remove("XDG_DATA_HOME").env("LNODE_DIR", dir).stdin(Stdio::null());
    command
}

fn run(dir: &Path, arguments: &[&str]) -> Output {
    lnode(dir).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Asserts that it failed with `status` and said one sentence with `words` on standard error, and nothing else.
fn assert_refused(output: &Output, status: i32, words: &str) {
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{said}");
    assert_eq!(text(&output.stdout), "", "{said}");
    assert_eq!(said.trim_end().lines().count(), 1, "not one line: {said}");
    assert!(said.starts_with("lnode: ") && said.contains(words), "{said:?} lacks {words:?}");
}

/// The answer in JSON, if it went well.
fn answer(output: &Output) -> Value {
    assert!(output.status.success(), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn wrong_command_lines_end_with_2_and_a_sentence() {
    let dir = tempfile::tempdir().unwrap();
    let peer = format!("{NODE}@127.0.0.1:9735");
    let no_number = format!("{NODE}@127.0.0.1:port");
    let cases: &[(&[&str], &str)] = &[
        (&["getinof"], "there is no command \"getinof\"; did you mean getinfo?"),
        (&["frobnicate"], "there is no command \"frobnicate\"; `lnode help` lists them"),
        (&["getinfo", "--verbose"], "unexpected argument --verbose"),
        (&["getinfo", "more"], "unexpected argument more"),
        (&["pay"], "<INVOICE> is missing; see `lnode pay --help`"),
        (&["pay", ""], "INVOICE must be a BOLT 11 invoice"),
        (
            &["pay", "lnx", "much"],
            "AMOUNT must be an amount such as 1000, 1000sat, 1000msat or 0.01btc, not \"much\"",
        ),
        (&["pay", "lnx", "--max-fee", "1.5msat"], "--max-fee must be an amount"),
        (&["pay", "lnx", "--max-fee"], "--max-fee <AMOUNT> needs a value"),
        (&["pay", "lnx", "--timeout", "soon"], "\"soon\" is no value of --timeout <SECONDS>"),
        (&["pay", "lnx", "--timeout", "0"], "\"0\" is no value of --timeout <SECONDS>"),
        (&["openchannel", &peer], "<AMOUNT> is missing"),
        (&["openchannel", "somebody", "1000"], "PEER must be node_id@host:port"),
        (&["openchannel", &no_number, "1000"], "PEER must be node_id@host:port"),
        (&["openchannel", &peer, "1500msat"], "AMOUNT must be an amount in whole satoshi"),
        (&["openchannel", &peer, "-5"], "unexpected argument -5"),
        (&["openchannel", &peer, "1000", "--feerate", "0.5"], "--feerate must be a whole number up to 10000"),
        (&["openchannel", &peer, "1000", "--timeout", "5"], "--wait is missing"),
        (&["connect", "02ab@host"], "PEER must be node_id@host:port"),
        (&["disconnect", "02ab"], "NODE_ID must be a node id, 66 hexadecimal digits"),
        (&["closechannel", "1x2"], "CHANNEL must be a channel id"),
        (&["closechannel", CHANNEL, "--froce"], "unexpected argument --froce, did you mean --force?"),
        (&["send", "1BoatSLRHtKNngkdXEeobR76b53LETtpyX", "1"], "ADDRESS must be a bitcoin address"),
        (&["send", ADDRESS, "any"], "AMOUNT must be an amount in whole satoshi"),
        (&["invoice", "all"], "AMOUNT must be an amount such as 1000"),
        (&["invoice", "1", "a", "b"], "unexpected argument b"),
        (&["pay", "lnx", "--max-parts", "65"], "--max-parts must be a whole number up to 64"),
        (&["keysend", "02ab", "5"], "NODE_ID must be a node id, 66 hexadecimal digits"),
        (&["keysend", NODE], "<AMOUNT> is missing"),
        (&["holdinvoice", "xyz", "5"], "PAYMENT_HASH must be a payment hash, 64 hexadecimal digits"),
        (&["holdinvoice", CHANNEL, "5", "--blocks", "2000"], "--blocks must be a whole number up to 1008"),
        (&["settle", "xyz"], "PREIMAGE must be a preimage, 64 hexadecimal digits"),
        (&["cancelinvoice"], "<PAYMENT_HASH> is missing"),
        (&["getpayment", "xyz"], "PAYMENT_HASH must be a payment hash, 64 hexadecimal digits"),
        (
            &["getinfo", "--network", "regtset"],
            "\"regtset\" is no value of --network <WORD>: it must be one of regtest",
        ),
        (
            &["getinfo", "--api-listen", "here"],
            "--api-listen \"here\": it must be an address of this machine",
        ),
        (
            &["run", "--listen", "9735"],
            "--listen \"9735\": each must be an address of this machine and a port",
        ),
        (&["run", "--api-listen", "0.0.0.0:1"], "loopback only"),
        (&["run", "--chain-poll-ms", "1"], "it must be a whole number from 10 to 60000"),
        (&["run", "--chain-password", "x"], "unexpected argument --chain-password"),
        (
            &["run", "--network", "mainnet", "--chain-source", "embedded"],
            "the embedded chain is for regtest only",
        ),
        (&["run", "--config", "/nonexistent.toml"], "there is no configuration file /nonexistent.toml"),
        (&["chain", "--mine-every", "0"], "\"0\" is no value of --mine-every <SECONDS>"),
        (&["chain", "--listen", "x"], "--listen must be an address and a port"),
        (&["mine", "none"], "\"none\" is no value of [BLOCKS]"),
        (&["mine", "1", "--to", "me"], "--to must be a bitcoin address or `wallet`"),
        (&["config"], "a command is missing"),
        (&["explain", "LN9999"], "there is no error \"LN9999\"; codes look like LN0012"),
    ];
    for (arguments, words) in cases {
        assert_refused(&run(dir.path(), arguments), 2, words);
    }
}

#[test]
fn broken_configuration_is_told_with_its_line() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("config.toml"), "alias = 'a'\n\n[chian]\nurl = ''\n").unwrap();
    for command in ["run", "getinfo", "chain"] {
        assert_refused(&run(dir.path(), &[command]), 2, "config.toml line 3: there is no setting \"chian\"");
    }
    fs::write(dir.path().join("config.toml"), "network = 'regtest\n").unwrap();
    assert_refused(&run(dir.path(), &["run"]), 2, "config.toml line 1: this is not TOML");
    fs::write(dir.path().join("config.toml"), [0xff, 0xfe]).unwrap();
    assert_refused(&run(dir.path(), &["run"]), 2, "config.toml cannot be read");
    fs::remove_file(dir.path().join("config.toml")).unwrap();
    let output = lnode(dir.path()).env("LNODE_COLOR", "red").args(["config", "show"]).output().unwrap();
    assert_refused(&output, 2, "LNODE_COLOR=\"red\": it must be 6 hexadecimal digits");
}

#[test]
fn missing_node_ends_with_4_and_says_how_to_start_it() {
    let dir = tempfile::tempdir().unwrap();
    assert_refused(&run(dir.path(), &["getinfo"]), 4, "no node has run in");
    let data = dir.path().join("regtest");
    fs::create_dir(&data).unwrap();
    assert_refused(&run(dir.path(), &["getinfo"]), 1, "there is no token for the API");
    fs::write(data.join("admin.token"), "short").unwrap();
    assert_refused(&run(dir.path(), &["getinfo"]), 1, "is damaged; delete it and restart the node");
    fs::write(data.join("admin.token"), "0".repeat(64)).unwrap();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let output = run(dir.path(), &["getinfo", "--api-listen", &free.to_string()]);
    assert_refused(&output, 4, "nobody listens there; start it with `lnode run`");
    assert!(text(&output.stderr).contains("(LN0030)"));
}

#[test]
fn other_listeners_are_told_from_the_node() {
    let served = Served::start();
    fs::write(served.data_dir().join("admin.token"), "0".repeat(64)).unwrap();
    assert_refused(&run(served.dir.path(), &["getinfo"]), 1, "refuses the token");
    // A server of another kind.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        use std::io::{Read as _, Write as _};
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _read = stream.read(&mut [0; 4096]);
            let _sent =
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello");
        }
    });
    let output = run(served.dir.path(), &["getinfo", "--api-listen", &address]);
    assert_refused(&output, 4, "is not a node of this kind");
}

#[test]
fn every_method_is_a_command_under_all_its_names() {
    let served = Served::start();
    let mut called = 0;
    for method in METHODS.iter().filter(|method| method.name != "stop") {
        for name in method.aliases.iter().chain([&method.name]) {
            let mut command = lnode(served.dir.path());
            command.arg(name);
            for param in method.params {
                let value = example(param.kind);
                let value = value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
                match (param.place, value.as_str()) {
                    (Place::Required | Place::Optional, _) => command.arg(value),
                    (Place::Flag(flag), "true") => command.arg(format!("--{flag}")),
                    (Place::Flag(flag), _) => command.arg(format!("--{flag}={value}")),
                };
            }
            let output = command.output().unwrap();
            assert!(answer(&output).is_object(), "{name}");
            called += 1;
        }
    }
    let names: usize = METHODS.iter().map(|method| 1 + method.aliases.len()).sum();
    assert_eq!(called, names - 1);
}

#[test]
fn amounts_of_people_are_satoshi() {
    let served = Served::start();
    answer(&run(served.dir.path(), &["invoice", "1000", "two words", "--expiry", "60"]));
    let seen = served.mock.last();
    assert!(
        seen.contains("1000000 msat") && seen.contains("two words") && seen.contains("Some(60)"),
        "{seen}"
    );
    answer(&run(served.dir.path(), &["invoice", "1000msat"]));
    assert!(served.mock.last().contains("(1000 msat)"), "{}", served.mock.last());
    answer(&run(served.dir.path(), &["pay", "lnx", "0.00001btc", "--no-wait"]));
    assert!(served.mock.last().contains("1000000 msat"), "{}", served.mock.last());
}

#[test]
fn payment_is_waited_for_and_its_end_is_the_status() {
    let served = Served::start();
    let paid = run(served.dir.path(), &["pay", "lnx"]);
    assert_eq!(answer(&paid)["state"], "succeeded");
    assert!(text(&paid.stderr).contains("paying: attempt"), "no progress");
    let served = Served::start();
    let failed = run(served.dir.path(), &["pay", FAILING]);
    assert_eq!(failed.status.code(), Some(3));
    assert!(text(&failed.stderr).contains("nothing was paid: no route with enough capacity (LN0020)"));
    let shown: Value = serde_json::from_slice(&failed.stdout).unwrap();
    assert_eq!(shown["state"], "failed");
    let served = Served::start();
    let stuck = run(served.dir.path(), &["pay", STUCK, "--timeout", "1"]);
    assert_eq!(stuck.status.code(), Some(1));
    assert!(
        text(&stuck.stderr).contains("it goes on; look with `lnode getpayment"),
        "{}",
        text(&stuck.stderr)
    );
    let unwaited = run(served.dir.path(), &["pay", STUCK, "--no-wait"]);
    assert_eq!(answer(&unwaited)["state"], "pending");
}

#[test]
fn channel_is_waited_for_if_asked() {
    let served = Served::start();
    let peer = format!("{NODE}@127.0.0.1:9735");
    let opened = run(served.dir.path(), &["openchannel", &peer, "100000"]);
    assert_eq!(answer(&opened)["state"], "awaiting_confirmations");
    let opened = run(served.dir.path(), &["openchannel", &peer, "100000", "--wait"]);
    assert_eq!(answer(&opened)["state"], "open");
    assert!(text(&opened.stderr).contains("of 3 confirmations"), "no progress");
    let served = Served::start();
    let closed = run(served.dir.path(), &["closechannel", CHANNEL, "--force", "--wait"]);
    assert_eq!(answer(&closed)["state"], "closed");
}

#[test]
fn refusals_of_the_node_are_one_sentence_with_a_hint() {
    let served = Served::start();
    let output = run(served.dir.path(), &["send", ADDRESS, "1000"]);
    assert_refused(
        &output,
        1,
        "1000 sat are needed and 10 sat are there; receive some with `lnode newaddr` (LN0012)",
    );
    assert_refused(&run(served.dir.path(), &["pay", "lnexpired"]), 1, "ask the payee for a new one (LN0014)");
    let output = run(served.dir.path(), &["send", ADDRESS, "1000", "--json"]);
    let error: Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!(error["code"], "LN0012");
}

#[test]
fn secrets_are_not_printed() {
    let dir = tempfile::tempdir().unwrap();
    let file = "[chain]\nsource = 'bitcoind'\nuser = 'a'\npassword = 'hunter2'\n";
    fs::write(dir.path().join("config.toml"), file).unwrap();
    let output = run(dir.path(), &["config", "show", "--origin"]);
    let shown = answer(&output);
    let password =
        shown["settings"].as_array().unwrap().iter().find(|row| row["setting"] == "chain.password");
    assert_eq!(password.unwrap()["value"], "(secret)");
    assert!(password.unwrap()["origin"].as_str().unwrap().ends_with("config.toml line 4"));
    assert!(!text(&output.stdout).contains("hunter2"));
}

#[test]
fn every_error_is_explained() {
    let dir = tempfile::tempdir().unwrap();
    for code in Code::ALL {
        let explained = answer(&run(dir.path(), &["explain", &code.to_string()]));
        assert!(explained["explanation"].as_str().unwrap().len() > 20, "{code}");
    }
}

#[test]
fn help_version_and_completions_are_for_standard_output() {
    let dir = tempfile::tempdir().unwrap();
    for arguments in
        [&["help"][..], &["--version"], &["pay", "--help"], &["help", "run"], &["completions", "bash"]]
    {
        let output = run(dir.path(), arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        assert_eq!(text(&output.stderr), "");
        assert!(!output.stdout.is_empty());
    }
    let help = text(&run(dir.path(), &["help"]).stdout);
    for method in METHODS {
        assert!(
            help.contains(method.name) && help.contains(method.help),
            "{} is not in the help",
            method.name
        );
    }
    for shell in ["bash", "zsh", "fish"] {
        let script = text(&run(dir.path(), &["completions", shell]).stdout);
        assert!(METHODS.iter().all(|method| script.contains(method.name)), "{shell}");
    }
}

#[test]
fn commands_of_the_documents_exist() {
    let dir = tempfile::tempdir().unwrap();
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut checked = 0;
    for document in [package.join("README.md"), package.join("../../README.md")] {
        let document = fs::read_to_string(document).unwrap();
        let named = document.split("lnode ").skip(1).map(|rest| {
            rest.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '-')
                .next()
                .unwrap_or_default()
        });
        let named = named.filter(|name| name.starts_with(|letter: char| letter.is_ascii_lowercase()));
        for name in named.filter(|name| *name != "help") {
            let output = run(dir.path(), &[name, "--help"]);
            assert_eq!(output.status.code(), Some(0), "the documents name `lnode {name}`");
            checked += 1;
        }
    }
    assert!(checked >= 15, "only {checked} commands found in the documents");
}

/// A process that is killed when the test is over.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _killed = self.0.kill();
        let _ended = self.0.wait();
    }
}

impl Running {
    fn end(&mut self) -> Option<i32> {
        let deadline = Instant::now() + Duration::from_secs(30);
        while Instant::now() < deadline {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        None
    }

    fn terminate(&self) {
        let done = Command::new("kill").args(["-TERM", &self.0.id().to_string()]).status().unwrap();
        assert!(done.success());
    }
}

#[test]
fn chain_is_served_mined_and_kept() {
    let dir = tempfile::tempdir().unwrap();
    let start = || {
        let mut command = lnode(dir.path());
        command.args(["chain", "--listen", "127.0.0.1:0"]).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        let out = child.stdout.take().unwrap();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(out), &mut line).unwrap();
        let address = line.split([' ', ',']).nth(2).unwrap().to_owned();
        (Running(child), address, line)
    };
    let (mut running, address, line) = start();
    assert!(line.ends_with("height 0\n"), "{line}");
    let mined = run(dir.path(), &["mine", "3", "--to", ADDRESS, "--config", "/dev/null"]);
    assert_refused(&mined, 1, "cannot be reached");
    let mine = |arguments: &[&str]| {
        lnode(dir.path()).env("LNODE_CHAIN_URL", &address).arg("mine").args(arguments).output().unwrap()
    };
    assert_eq!(answer(&mine(&["3", "--to", ADDRESS]))["blocks"], 3);
    assert_eq!(answer(&mine(&[]))["blocks"], 1);
    assert_refused(
        &mine(&["1", "--to", "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"]),
        1,
        "no address of regtest",
    );
    let other = tempfile::tempdir().unwrap();
    assert_refused(&run(other.path(), &["chain", "--listen", &address]), 1, "is in use");
    let same = run(dir.path(), &["chain", "--listen", "127.0.0.1:0"]);
    assert_refused(&same, 1, "another process runs the chain of");
    running.terminate();
    assert_eq!(running.end(), Some(0));
    let (_running, _, line) = start();
    assert!(line.ends_with("height 4\n"), "{line}");
}

#[test]
fn node_starts_once_and_stops_when_told() {
    let dir = tempfile::tempdir().unwrap();
    let start = |dir: &Path| {
        let mut command = lnode(dir);
        command.args([
            "run",
            "--listen",
            "127.0.0.1:0",
            "--api-listen",
            "127.0.0.1:0",
            "--chain-listen",
            "127.0.0.1:0",
        ]);
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let file = dir.join("regtest/api.address");
        let deadline = Instant::now() + Duration::from_secs(30);
        while !file.exists() {
            assert!(Instant::now() < deadline, "the API does not come up");
            std::thread::sleep(Duration::from_millis(20));
        }
        (Running(child), fs::read_to_string(file).unwrap())
    };
    let (mut running, address) = start(dir.path());
    let other = tempfile::tempdir().unwrap();
    let output = run(
        other.path(),
        &["run", "--api-listen", &address, "--listen", "none", "--chain-listen", "127.0.0.1:0"],
    );
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("it is in use"), "{}", text(&output.stderr));
    assert_eq!(run(dir.path(), &["stop"]).status.code(), Some(0));
    assert_eq!(running.end(), Some(0));
    let (mut running, _) = start(dir.path());
    running.terminate();
    assert_eq!(running.end(), Some(0));
    assert!(!dir.path().join("regtest/api.address").exists());
}
