//! `lntower` beside `lnode`, and payments that wait.
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use bitcoin::hashes::{Hash as _, sha256};
use bitcoin::hex::DisplayHex as _;
use serde_json::Value;

use super::{Chain, Daemon, free_port, wait};

/// The program, if it is there.
pub fn program() -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_BIN_EXE_lnode")).with_file_name("lntower");
    path.exists().then_some(path)
}

/// A tower of one client, which may be killed and started again.
pub struct Tower {
    program: PathBuf,
    folder: tempfile::TempDir,
    ports: (u16, u16),
    chain: (String, PathBuf),
    process: Option<Child>,
}

impl Tower {
    /// Lets the client in, starts, and waits until it has looked at all blocks.
    pub fn start(program: PathBuf, chain: &Chain, client: &str, mode: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let chain = (chain.address().to_owned(), chain.cookie());
        let mut tower = Self { program, folder, ports: (free_port(), free_port()), chain, process: None };
        let data = tower.data();
        let added = Command::new(&tower.program)
            .args(["client", "add", "--data", &data, "--mode", mode, client])
            .status()
            .unwrap();
        assert!(added.success());
        tower.start_again();
        wait("the tower", 60, || tower.address().is_some());
        tower
    }

    fn data(&self) -> String {
        self.folder.path().to_str().unwrap().to_owned()
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// Starts it on the same data.
    pub fn start_again(&mut self) {
        let path = self.folder.path().join("log");
        let log = std::fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
        let (listen, api) = (format!("127.0.0.1:{}", self.ports.0), format!("127.0.0.1:{}", self.ports.1));
        let process = Command::new(&self.program)
            .args(["run", "--data", &self.data(), "--network", "regtest", "--poll-ms", "50"])
            .args(["--listen", &listen, "--api-listen", &api, "--chain-url", &self.chain.0])
            .arg("--chain-cookie")
            .arg(&self.chain.1)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.process = Some(process);
    }

    /// `node_id@host:port`.
    pub fn address(&self) -> Option<String> {
        let text = std::fs::read_to_string(self.folder.path().join("tower.address")).ok()?;
        Some(text.trim().to_owned()).filter(|text| text.contains('@'))
    }

    /// What `lntower info` says.
    pub fn status(&self) -> Value {
        let output = Command::new(&self.program).args(["info", "--data", &self.data()]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

impl Drop for Tower {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!("the end of the tower's log:\n{}", lines[lines.len().saturating_sub(30)..].join("\n"));
        }
    }
}

/// A preimage and its hash.
pub fn secret(byte: u8) -> (String, String) {
    let preimage = [byte; 32];
    (preimage.to_lower_hex_string(), sha256::Hash::hash(&preimage).to_byte_array().to_lower_hex_string())
}

/// A payment from one node to the other that waits at the other.
pub fn hold(from: &Daemon, to: &Daemon, byte: u8, sat: &str) -> String {
    let (_, hash) = secret(byte);
    let held = to.run(&["holdinvoice", &hash, sat]);
    from.run(&["pay", "--no-wait", held["invoice"].as_str().unwrap()]);
    let state = |node: &Daemon| {
        let list = node.run(&["listinvoices"]);
        let found =
            list["invoices"].as_array().unwrap().iter().find(|row| row["payment_hash"] == *hash).cloned();
        found.map_or(Value::Null, |row| row["state"].clone())
    };
    wait("the payment waits", 60, || state(to) == "held");
    hash
}
