//! The real program, over real sockets: a node hands its channels to `lntower`, which is killed again and again.
//!
//! `LNTOWER_KILLS` says how often; 20 times by default, 200 before a release.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    unreachable_pub,
    dead_code,
    reason = "tests"
)]

mod node;
#[path = "../guard/pair.rs"]
mod pair;

use std::collections::BTreeMap;
use std::io::Read as _;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use lightning_chain_embedded::{ChainServer, EmbeddedChain, ServeOptions};
use lightning_remote::Alarm;
use lightning_remote::wire::Goodbye;
use lightning_traits::id::{ChannelId, UpdateId};
use lightning_traits::monitor::MonitorStep;
use lightning_traits::payment::Preimage;
use lightning_traits::tx::CommitmentFormat;
use lightning_watchtower::clients::Mode;

use node::Node;
use pair::{Htlc, Pair, anyone};

fn wait(what: &str, mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{what} did not happen");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

fn lntower(arguments: &[&str]) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_lntower")).args(arguments).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

/// The program on a chain that this process serves.
struct Program {
    folder: tempfile::TempDir,
    chain: EmbeddedChain,
    server: ChainServer,
    ports: (u16, u16),
    process: Option<Child>,
}

impl Program {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let chain = EmbeddedChain::new();
        chain.mine(130, &anyone().to_p2wsh());
        let options = ServeOptions {
            listen: "127.0.0.1:0".parse().unwrap(),
            cookie_file: Some(folder.path().join("cookie")),
            password: None,
        };
        let server = ChainServer::start(chain.clone(), options).unwrap();
        Self { folder, chain, server, ports: (free_port(), free_port()), process: None }
    }

    fn data(&self) -> String {
        self.folder.path().join("tower").to_str().unwrap().to_owned()
    }

    fn start(&mut self) {
        let path = self.folder.path().join("log");
        let log = std::fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
        let (listen, api) = (format!("127.0.0.1:{}", self.ports.0), format!("127.0.0.1:{}", self.ports.1));
        let process = Command::new(env!("CARGO_BIN_EXE_lntower"))
            .args(["run", "--data", &self.data(), "--network", "regtest", "--poll-ms", "20"])
            .args(["--listen", &listen, "--api-listen", &api])
            .args(["--chain-url", &self.server.address().to_string(), "--chain-cookie"])
            .arg(self.folder.path().join("cookie"))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.process = Some(process);
        wait("the tower's start", || TcpStream::connect(listen.as_str()).is_ok());
    }

    fn kill(&mut self) {
        let mut process = self.process.take().unwrap();
        process.kill().unwrap();
        process.wait().unwrap();
    }

    /// `node_id@host:port`, as `tower.address` says it.
    fn address(&self) -> String {
        std::fs::read_to_string(Path::new(&self.data()).join("tower.address")).unwrap().trim().to_owned()
    }

    fn get(&self, path: &str) -> String {
        use std::io::Write as _;
        let mut stream = TcpStream::connect(("127.0.0.1", self.ports.1)).unwrap();
        write!(stream, "GET {path} HTTP/1.0\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!("the end of the tower's log:\n{}", lines[lines.len().saturating_sub(30)..].join("\n"));
        }
    }
}

fn htlcs(expiry: u32) -> [Htlc; 4] {
    let htlc = |by_us, id| Htlc { by_us, id, expiry };
    [htlc(true, 0), htlc(true, 1), htlc(false, 0), htlc(false, 1)]
}

/// From nothing to a punished breach, with the commands of `docs/watchtower.md`.
#[test]
fn a_node_is_let_in_guarded_and_avenged() {
    for mode in ["justice", "full"] {
        let mut program = Program::new();
        program.start();
        let client = Node::id();
        let data = program.data();
        let power = if mode == "full" { Mode::Full } else { Mode::Justice };
        // Whoever is no client is hung up on.
        let mut node = Node::start(&program.address(), power, &[]);
        std::thread::sleep(Duration::from_millis(300));
        assert!(!node.tower.standing().is_up);
        let (done, said) = lntower(&["client", "add", "--data", &data, "--mode", mode, &client.to_string()]);
        assert!(done, "{said}");
        let (done, said) = lntower(&["client", "list", "--data", &data]);
        assert!(done && said.contains(&client.to_string()) && said.contains(mode), "{said}");
        wait("the connection", || node.tower.standing().is_up);
        let mut pair = Pair::open(&program.chain, 1, CommitmentFormat::AnchorsZeroFeeHtlc);
        node.hand_over(&pair);
        let expiry = program.chain.height() + 60;
        for state in [&htlcs(expiry)[..], &[], &[]] {
            let update = pair.commit(state);
            node.learn(update);
        }
        wait("the receipts", || node.tower.durable(pair.init.channel) == Some(UpdateId(3)));
        // The node is gone for ever.
        drop(node);
        program.chain.mine_transactions(vec![pair.their_commitment(1)], &anyone().to_p2wsh()).unwrap();
        let stake = pair.at_stake(1);
        wait("justice", || {
            program.chain.mine(1, &anyone().to_p2wsh());
            std::thread::sleep(Duration::from_millis(60));
            stake.iter().all(|outpoint| program.chain.utxo(outpoint).is_none())
        });
        wait("the book", || program.get("/metrics").contains("lntower_breaches_total 1"));
        assert!(program.get("/healthz").starts_with("HTTP/1.0 200"));
        assert!(program.get("/").contains("Breaches"));
        let (done, said) = lntower(&["info", "--data", &data]);
        assert!(done && said.contains(&pair.their_commitment(1).compute_txid().to_string()), "{said}");
        let secret = pair.lent(power.power().unwrap()).to_bytes();
        let secret = bitcoin::hex::DisplayHex::to_lower_hex_string(&secret[1..33]);
        assert!(!program.log().contains(&secret), "M2: a secret is in the log");
        let (done, said) = lntower(&["client", "remove", "--data", &data, &client.to_string()]);
        assert!(done, "{said}");
    }
}

/// RELIABILITY L8: acknowledged implies present.
#[test]
fn l08_killed_under_load_the_tower_has_every_acknowledged_state() {
    let kills: u32 = std::env::var("LNTOWER_KILLS").map_or(20, |kills| kills.parse().unwrap());
    let mut program = Program::new();
    let (done, said) = lntower(&["client", "add", "--data", &program.data(), &Node::id().to_string()]);
    assert!(done, "{said}");
    program.start();
    let mut node = Node::start(&program.address(), Mode::Justice, &[]);
    wait("the connection", || node.tower.standing().is_up);
    let mut pairs: Vec<Pair> = (1..=5)
        .map(|index| Pair::open(&program.chain, index, CommitmentFormat::AnchorsZeroFeeHtlc))
        .collect();
    pairs.iter().for_each(|pair| node.hand_over(pair));
    let (mut handed, mut total) = (0_u64, 0_u64);
    let mut acknowledged: BTreeMap<ChannelId, UpdateId> = BTreeMap::new();
    for round in 0..kills {
        // Another length each time, so that the kill falls into each part of a commit.
        let until = Instant::now() + Duration::from_millis(u64::from(30 + (round * 37) % 140));
        while Instant::now() < until {
            for pair in &mut pairs {
                handed += 1;
                let update = if handed.is_multiple_of(7) {
                    pair.commit(&[])
                } else {
                    let mut preimage = [0; 32];
                    preimage[..8].copy_from_slice(&handed.to_be_bytes());
                    pair.update(vec![MonitorStep::Preimage { preimage: Preimage::new(preimage) }])
                };
                node.learn(update);
            }
            node.breathe();
        }
        program.kill();
        // What has arrived by now was acknowledged before.
        for pair in &pairs {
            if let Some(durable) = node.tower.durable(pair.init.channel) {
                acknowledged.insert(pair.init.channel, durable);
            }
        }
        program.start();
        wait("the connection", || {
            node.breathe();
            node.tower.standing().is_up
        });
        let kept: BTreeMap<ChannelId, UpdateId> =
            node.tower.kept_by_tower().into_iter().map(|(channel, head)| (channel, head.id)).collect();
        for (channel, durable) in &acknowledged {
            assert!(
                kept.get(channel) >= Some(durable),
                "round {round}: {channel} {durable} is lost: {kept:?}"
            );
            total += 1;
        }
        for alarm in node.alarms() {
            assert!(
                !matches!(alarm, Alarm::Lost { .. } | Alarm::Ahead { .. } | Alarm::Statement { .. }),
                "{alarm:?}"
            );
        }
    }
    // On heal everything is caught up.
    for pair in &pairs {
        let channel = pair.init.channel;
        wait("all receipts", || {
            node.breathe();
            node.tower.durable(channel) == Some(pair.last_update())
        });
    }
    assert!(total >= u64::from(kills.saturating_sub(3)) * 5, "only {total} acknowledgements were looked at");
    println!("{kills} kills, {handed} updates, {total} acknowledged heads found again");
    // And the breach of a channel that went through all that is punished.
    let pair = &pairs[0];
    program.chain.mine_transactions(vec![pair.their_commitment(1)], &anyone().to_p2wsh()).unwrap();
    wait("justice", || {
        program.chain.mine(1, &anyone().to_p2wsh());
        std::thread::sleep(Duration::from_millis(60));
        pair.at_stake(1).iter().all(|outpoint| program.chain.utxo(outpoint).is_none())
    });
}

/// A tower that gets no keys, or another mode than it was told, takes nothing; and says so.
#[test]
fn what_cannot_be_guarded_is_refused_aloud() {
    let mut program = Program::new();
    let data = program.data();
    let (done, said) =
        lntower(&["client", "add", "--data", &data, "--mode", "full", &Node::id().to_string()]);
    assert!(done, "{said}");
    program.start();
    let mut wrong = Node::start(&program.address(), Mode::Justice, &[]);
    wait("the goodbye", || wrong.alarms().contains(&Alarm::Goodbye { why: Goodbye::Mode {} }));
    drop(wrong);
    let mut node = Node::start(&program.address(), Mode::Full, &[]);
    wait("the connection", || node.tower.standing().is_up);
    let pair = Pair::open(&program.chain, 1, CommitmentFormat::AnchorsZeroFeeHtlc);
    node.hand_over_without_keys(&pair);
    let mut alarms = Vec::new();
    wait("the refusal", || {
        node.breathe();
        alarms.extend(node.alarms());
        alarms.iter().any(|alarm| matches!(alarm, Alarm::Refused { .. }))
    });
    assert_eq!(node.tower.durable(pair.init.channel), None);
}
