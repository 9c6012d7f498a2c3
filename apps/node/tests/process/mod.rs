//! Real processes for tests: `lnode chain`, `lnode run`, and the commands as a user gives them.
#![allow(dead_code, unreachable_pub, reason = "each test uses its part")]

pub mod tower;

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

const LNODE: &str = env!("CARGO_BIN_EXE_lnode");

/// Waits until `done`, looking often.
pub fn wait(what: &str, seconds: u64, mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < Duration::from_secs(seconds), "{what} did not happen within {seconds} s");
        thread::sleep(Duration::from_millis(20));
    }
}

fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

fn lnode(dir: &Path) -> Command {
    let mut command = Command::new(LNODE);
    command.arg("--dir").arg(dir).args(["--network", "regtest", "--json"]).env_remove("LNODE_DIR");
    command
}

/// `lnode chain`.
pub struct Chain {
    folder: tempfile::TempDir,
    process: Child,
    address: String,
}

impl Chain {
    /// Starts it on a free port.
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut process = lnode(folder.path())
            .args(["chain", "--listen", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim_start_matches("chain at ").split(',').next().unwrap().trim().to_owned();
        Self { folder, process, address }
    }

    /// Where its RPC listens.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Where its cookie is.
    pub fn cookie(&self) -> PathBuf {
        self.folder.path().join("regtest").join("chain.cookie")
    }

    /// A client of its RPC.
    pub fn client(&self) -> lightning_chain_bitcoind::BitcoindClient {
        let auth = lightning_chain_bitcoind::Auth::Cookie(self.cookie());
        lightning_chain_bitcoind::BitcoindClient::new(&self.address, auth, bitcoin::Network::Regtest)
    }

    /// Mines to nobody.
    pub fn mine(&self, blocks: u32) {
        self.generate(blocks, None);
    }

    /// Mines to an address.
    pub fn mine_to(&self, blocks: u32, address: &Value) {
        self.generate(blocks, Some(address.as_str().unwrap()));
    }

    fn generate(&self, blocks: u32, to: Option<&str>) {
        let mut command = lnode(self.folder.path());
        command.env("LNODE_CHAIN_URL", &self.address).env("LNODE_CHAIN_COOKIE", self.cookie());
        command.args(["mine", &blocks.to_string()]);
        if let Some(to) = to {
            command.args(["--to", to]);
        }
        let done = command.output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }
}

impl Drop for Chain {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// `lnode run`, which may be killed and started again.
pub struct Daemon {
    name: &'static str,
    folder: tempfile::TempDir,
    ports: (u16, u16),
    chain: (String, PathBuf),
    process: Mutex<Child>,
}

impl Daemon {
    /// Starts it, and waits until it answers.
    pub fn start(name: &'static str, chain: &Chain) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ports = (free_port(), free_port());
        let chain = (chain.address.clone(), chain.cookie());
        let process = Mutex::new(spawn(folder.path(), ports, &chain));
        let daemon = Self { name, folder, ports, chain, process };
        wait(&format!("{name}'s start"), 60, || daemon.try_run(&["getinfo"]).is_some());
        daemon
    }

    /// Its name.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// `kill -9`.
    pub fn kill(&self) {
        let mut process = self.process.lock().unwrap();
        process.kill().unwrap();
        process.wait().unwrap();
    }

    /// A copy of all its data.
    pub fn backup(&self) -> tempfile::TempDir {
        let copy = tempfile::tempdir().unwrap();
        copy_all(self.folder.path(), copy.path());
        copy
    }

    /// Its data is as it was.
    pub fn restore(&self, backup: &tempfile::TempDir) {
        self.lose_disk();
        copy_all(backup.path(), self.folder.path());
    }

    /// Its data is gone.
    pub fn lose_disk(&self) {
        for entry in std::fs::read_dir(self.folder.path()).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                std::fs::remove_dir_all(path).unwrap();
            } else {
                std::fs::remove_file(path).unwrap();
            }
        }
    }

    /// The words of its seed.
    pub fn seed(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("regtest").join("seed")).unwrap()
    }

    /// `lnode restore` from these towers with nothing but the words.
    pub fn restore_from(&self, towers: &[String], seed: &str, more: &[&str]) -> Result<Value, (i32, String)> {
        let words = self.folder.path().join("words");
        std::fs::write(&words, seed).unwrap();
        let mut arguments = vec!["restore", "--seed-file", words.to_str().unwrap()];
        arguments.extend(towers.iter().flat_map(|tower| ["--from-tower", tower]));
        let cookie = self.chain.1.to_str().unwrap().to_owned();
        arguments.extend([
            "--chain-source",
            "embedded",
            "--chain-url",
            &self.chain.0,
            "--chain-cookie",
            &cookie,
        ]);
        arguments.extend(more);
        self.command(&arguments)
    }

    /// Starts it anew with this `config.toml`, and waits until it answers.
    pub fn configure(&self, config: &str) {
        std::fs::write(self.folder.path().join("config.toml"), config).unwrap();
        self.kill();
        self.start_again();
        wait(&format!("{}'s start", self.name), 60, || self.try_run(&["getinfo"]).is_some());
    }

    /// A machine for a node that does not run yet.
    pub fn idle(name: &'static str, chain: &Chain) -> Self {
        let daemon = Self::start(name, chain);
        daemon.kill();
        daemon.lose_disk();
        daemon
    }

    /// Starts it on the same data; does not wait.
    pub fn start_again(&self) {
        *self.process.lock().unwrap() = spawn(self.folder.path(), self.ports, &self.chain);
    }

    /// Runs a command that must succeed.
    pub fn run(&self, arguments: &[&str]) -> Value {
        let begun = Instant::now();
        loop {
            match self.command(arguments) {
                Ok(answer) => return answer,
                // It may be starting; nothing else is waited for.
                Err((4, _)) if begun.elapsed() < Duration::from_secs(60) => {}
                Err((_, error)) if error.contains("LN0008") && begun.elapsed() < Duration::from_secs(60) => {}
                Err((code, error)) => {
                    panic!("{} {arguments:?}: {code}: {error}\n{}", self.name, self.log_tail())
                }
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Runs a command that may fail.
    pub fn try_run(&self, arguments: &[&str]) -> Option<Value> {
        self.command(arguments).ok()
    }

    /// Runs a command: its answer, or its exit code and what it said.
    pub fn command(&self, arguments: &[&str]) -> Result<Value, (i32, String)> {
        let api = format!("127.0.0.1:{}", self.ports.1);
        let output = lnode(self.folder.path()).args(["--api-listen", &api]).args(arguments).output().unwrap();
        if output.status.success() {
            Ok(serde_json::from_slice(&output.stdout).unwrap_or(Value::Null))
        } else {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            Err((output.status.code().unwrap_or(-1), said + &String::from_utf8_lossy(&output.stdout)))
        }
    }

    /// Whether the daemon has written the payment down.
    pub fn knows_payment(&self, hash: &str) -> bool {
        self.try_run(&["getpayment", hash]).is_some()
    }

    /// `node_id@host:port`.
    pub fn address(&self) -> String {
        let id = self.run(&["getinfo"])["node_id"].as_str().unwrap().to_owned();
        format!("{id}@127.0.0.1:{}", self.ports.0)
    }

    /// A channel's row, or null.
    pub fn channel(&self, id: &str) -> Value {
        let channels = self.run(&["listchannels"]);
        let found =
            channels["channels"].as_array().unwrap().iter().find(|row| row["channel_id"] == id).cloned();
        found.unwrap_or(Value::Null)
    }

    fn log_tail(&self) -> String {
        let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("the end of {}'s log:\n{}", self.name, self.log_tail());
        }
        let mut process = self.process.lock().unwrap();
        let _ = process.kill();
        let _ = process.wait();
    }
}

fn copy_all(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            std::fs::create_dir_all(&target).unwrap();
            copy_all(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn spawn(dir: &Path, ports: (u16, u16), chain: &(String, PathBuf)) -> Child {
    let log = std::fs::OpenOptions::new().create(true).append(true).open(dir.join("log")).unwrap();
    lnode(dir)
        .arg("run")
        .args(["--listen", &format!("127.0.0.1:{}", ports.0)])
        .args(["--api-listen", &format!("127.0.0.1:{}", ports.1)])
        .args(["--chain-source", "embedded", "--chain-url", &chain.0, "--chain-poll-ms", "100"])
        .arg("--chain-cookie")
        .arg(&chain.1)
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap()
}
