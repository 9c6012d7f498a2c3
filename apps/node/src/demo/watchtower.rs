//! `lnode demo --watchtower`: a node loses its disk, its peer publishes a revoked state, and a watchtower alone punishes it.
//!
//! Real programs with directories and sockets of their own: an `lnode chain`, two `lnode run`, and the `lntower` that lies beside
//! this program. Everything goes through the commands that a user would give.
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use bitcoin::hashes::{Hash as _, sha256};
use bitcoin::hex::DisplayHex as _;
use serde_json::Value;

use super::{DemoError, say};

const PATIENCE: u64 = 60;

fn failed(what: impl Into<String>) -> DemoError {
    DemoError::Process(what.into())
}

fn wait(what: &str, mut done: impl FnMut() -> Result<bool, DemoError>) -> Result<(), DemoError> {
    let begun = Instant::now();
    while !done()? {
        if begun.elapsed() > Duration::from_secs(PATIENCE) {
            return Err(DemoError::Late(what.to_owned(), PATIENCE));
        }
        thread::sleep(Duration::from_millis(30));
    }
    Ok(())
}

fn free_port() -> Result<u16, DemoError> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

/// What a program answers in JSON.
fn answer(command: &mut Command) -> Result<Value, DemoError> {
    let output = command.output()?;
    if !output.status.success() {
        return Err(failed(String::from_utf8_lossy(&output.stderr).into_owned()));
    }
    Ok(serde_json::from_slice(&output.stdout).unwrap_or(Value::Null))
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn number(value: &Value, pointer: &str) -> u64 {
    value.pointer(pointer).and_then(Value::as_u64).unwrap_or_default()
}

/// A program that is killed when it is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may be gone already.
        let _killed = self.0.kill();
        let _reaped = self.0.wait();
    }
}

struct Chain {
    program: PathBuf,
    folder: PathBuf,
    address: String,
    _running: Running,
}

impl Chain {
    fn start(program: &Path, folder: PathBuf) -> Result<Self, DemoError> {
        let mut command = lnode(program, &folder);
        command.args(["chain", "--listen", "127.0.0.1:0"]).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = command.spawn()?;
        let mut line = String::new();
        if let Some(said) = process.stdout.take() {
            BufReader::new(said).read_line(&mut line)?;
        }
        let address =
            line.trim_start_matches("chain at ").split(',').next().unwrap_or_default().trim().to_owned();
        Ok(Self { program: program.to_owned(), folder, address, _running: Running(process) })
    }

    fn cookie(&self) -> PathBuf {
        self.folder.join("regtest").join("chain.cookie")
    }

    fn mine(&self, blocks: u32, to: Option<&str>) -> Result<(), DemoError> {
        let mut command = lnode(&self.program, &self.folder);
        command.env("LNODE_CHAIN_URL", &self.address).env("LNODE_CHAIN_COOKIE", self.cookie());
        command.args(["mine", &blocks.to_string()]).args(to.iter().flat_map(|to| ["--to", to]));
        answer(&mut command).map(|_| ())
    }
}

fn lnode(program: &Path, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command.arg("--dir").arg(folder).args(["--network", "regtest", "--json"]).env_remove("LNODE_DIR");
    command
}

struct Node {
    program: PathBuf,
    folder: PathBuf,
    ports: (u16, u16),
    chain: (String, PathBuf),
    running: Option<Running>,
}

impl Node {
    fn start(folder: PathBuf, chain: &Chain) -> Result<Self, DemoError> {
        fs::create_dir_all(&folder)?;
        let (program, ports) = (chain.program.clone(), (free_port()?, free_port()?));
        let chain = (chain.address.clone(), chain.cookie());
        let mut node = Self { program, folder, ports, chain, running: None };
        node.run()?;
        Ok(node)
    }

    fn run(&mut self) -> Result<(), DemoError> {
        let mut command = lnode(&self.program, &self.folder);
        command.args(["run", "--listen", &format!("127.0.0.1:{}", self.ports.0)]);
        command.args(["--api-listen", &format!("127.0.0.1:{}", self.ports.1), "--chain-poll-ms", "100"]);
        command.args(["--chain-source", "embedded", "--chain-url", &self.chain.0, "--chain-cookie"]);
        command.arg(&self.chain.1).stdout(Stdio::null()).stderr(Stdio::null());
        self.running = Some(Running(command.spawn()?));
        wait("the start of a node", || Ok(self.ask(&["getinfo"]).is_ok()))
    }

    fn kill(&mut self) {
        self.running = None;
    }

    fn ask(&self, arguments: &[&str]) -> Result<Value, DemoError> {
        let api = format!("127.0.0.1:{}", self.ports.1);
        answer(lnode(&self.program, &self.folder).args(["--api-listen", &api]).args(arguments))
    }

    fn id(&self) -> Result<String, DemoError> {
        Ok(text(&self.ask(&["getinfo"])?, "/node_id").to_owned())
    }

    fn htlcs(&self) -> Result<(String, u64), DemoError> {
        let list = self.ask(&["listchannels"])?;
        Ok((text(&list, "/channels/0/state").to_owned(), number(&list, "/channels/0/htlcs")))
    }

    /// Pays, and leaves the payment waiting at the payee.
    fn pay_on_hold(&self, payee: &Self, byte: u8, sat: &str) -> Result<String, DemoError> {
        let hash = sha256::Hash::hash(&[byte; 32]).to_byte_array().to_lower_hex_string();
        let held = payee.ask(&["holdinvoice", &hash, sat])?;
        self.ask(&["pay", "--no-wait", text(&held, "/invoice")])?;
        Ok(hash)
    }
}

struct Tower {
    program: PathBuf,
    data: String,
    _running: Running,
}

impl Tower {
    fn start(program: PathBuf, data: &Path, chain: &Chain, client: &str) -> Result<Self, DemoError> {
        let data = data.display().to_string();
        answer(Command::new(&program).args(["client", "add", "--data", &data, client]))?;
        let (listen, api) = (format!("127.0.0.1:{}", free_port()?), format!("127.0.0.1:{}", free_port()?));
        let mut command = Command::new(&program);
        command.args([
            "run",
            "--data",
            &data,
            "--network",
            "regtest",
            "--poll-ms",
            "50",
            "--listen",
            &listen,
        ]);
        command
            .args(["--api-listen", &api, "--chain-url", &chain.address, "--chain-cookie"])
            .arg(chain.cookie());
        let running = Running(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?);
        Ok(Self { program, data, _running: running })
    }

    fn address(&self) -> Result<String, DemoError> {
        let path = Path::new(&self.data).join("tower.address");
        wait("the start of the tower", || Ok(path.exists()))?;
        Ok(fs::read_to_string(path)?.trim().to_owned())
    }

    fn status(&self) -> Result<Value, DemoError> {
        answer(Command::new(&self.program).args(["info", "--data", &self.data]))
    }
}

fn copy_all(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_all(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// Runs the demo in a folder that is removed afterwards.
///
/// # Errors
/// [`DemoError`] when anything did not hold.
pub fn watchtower() -> Result<(), DemoError> {
    let program = std::env::current_exe()?;
    let tower = program.with_file_name("lntower");
    if !tower.exists() {
        return Err(failed(format!("there is no {}: `cargo build --release` makes it", tower.display())));
    }
    let folder = std::env::temp_dir().join(format!("lnode-demo-watchtower-{}", std::process::id()));
    let told = tell(&program, tower, &folder);
    // What is left of it is the system's to clean.
    let _removed = fs::remove_dir_all(&folder);
    told
}

fn tell(program: &Path, tower: PathBuf, folder: &Path) -> Result<(), DemoError> {
    let chain = Chain::start(program, folder.join("chain"))?;
    let (mut alice, mut bob) =
        (Node::start(folder.join("a"), &chain)?, Node::start(folder.join("b"), &chain)?);
    let tower = Tower::start(tower, &folder.join("tower"), &chain, &bob.id()?)?;
    say(
        "A tower guards Bob in justice mode: of each channel it has one secret, which opens what is revoked.",
    );
    bob.ask(&["wtclient", "add", &tower.address()?])?;
    bob.kill();
    bob.run()?;
    let is_up =
        |bob: &Node| Ok(bob.ask(&["listtowers"])?.pointer("/towers/0/up") == Some(&Value::Bool(true)));
    wait("the tower", || is_up(&bob))?;

    chain.mine(101, Some(text(&alice.ask(&["newaddr"])?, "/address")))?;
    wait("coins", || Ok(number(&alice.ask(&["balance"])?, "/onchain_confirmed_sat") > 1_000_000))?;
    let peer = format!("{}@127.0.0.1:{}", bob.id()?, bob.ports.0);
    alice.ask(&["openchannel", &peer, "1000000", "--push", "400000sat"])?;
    chain.mine(6, None)?;
    let open = |node: &Node, htlcs: u64| Ok::<_, DemoError>(node.htlcs()? == ("open".to_owned(), htlcs));
    wait("the channel", || Ok(open(&alice, 0)? && open(&bob, 0)?))?;

    let pending = (alice.pay_on_hold(&bob, 1, "50000sat")?, bob.pay_on_hold(&alice, 2, "60000sat")?);
    wait("two payments on the way", || Ok(open(&alice, 2)? && open(&bob, 2)?))?;
    say(
        "Alice and Bob share 1,000,000 sat; two payments are on the way, one each way. Alice copies her disk.",
    );
    alice.kill();
    copy_all(&alice.folder, &folder.join("copy"))?;
    alice.run()?;
    bob.ask(&["cancelinvoice", &pending.0])?;
    alice.ask(&["cancelinvoice", &pending.1])?;
    wait("no payment on the way", || Ok(open(&alice, 0)? && open(&bob, 0)?))?;
    wait("the tower to have all", || {
        let row = bob.ask(&["coverage"])?;
        Ok(number(&row, "/channels/0/held_by") == 1)
    })?;

    say("Both payments are called off. Bob loses his disk, for ever; Alice publishes the state of then.");
    bob.kill();
    fs::remove_dir_all(&bob.folder)?;
    let channel = text(&alice.ask(&["listchannels"])?, "/channels/0/channel_id").to_owned();
    alice.kill();
    fs::remove_dir_all(&alice.folder)?;
    copy_all(&folder.join("copy"), &alice.folder)?;
    alice.run()?;
    alice.ask(&["closechannel", &channel, "--force"])?;
    wait("justice", || {
        chain.mine(1, None)?;
        Ok(tower
            .status()?
            .pointer("/claims")
            .and_then(Value::as_array)
            .is_some_and(|claims| claims.len() >= 3))
    })?;
    let status = tower.status()?;
    say(&format!("The tower saw the breach {}", text(&status, "/breaches/0/txid")));
    let mut sum = 0_u64;
    for claim in status.pointer("/claims").and_then(Value::as_array).into_iter().flatten() {
        let value = number(claim, "/value_sat");
        sum = sum.saturating_add(value);
        say(&format!("  and took {value:>7} sat for Bob by {}", text(claim, "/txid")));
    }
    say(&format!(
        "Alice's balance and both payments, {sum} sat, are Bob's; what was his waits for his own key."
    ));
    if sum > 640_000 { Ok(()) } else { Err(DemoError::Unaccounted(format!("only {sum} sat were taken"))) }
}
