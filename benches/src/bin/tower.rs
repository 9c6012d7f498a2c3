//! Durable acknowledged updates/s of `lntower` over loopback: BOLT 8, group commit, real fsyncs, signed statements.
//!
//! Starts a chain in this process and the real tower in a temporary directory, lets itself in as a client in blind mode (an update is
//! one blob of 1,040 bytes) and in justice mode (an update is one step), keeps one update of each of 1, 100 and 1,000 channels in
//! flight, and prints rate and latencies from the hand-over to the verified receipt. `lntower` is taken from beside this program, or from
//! `LNTOWER_EXE`: `cargo build --release -p lightning-watchtower -p lightning-benches --bins`. `TMPDIR` says on which disk.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a program that measures programs; when it cannot go on it stops and says where"
)]

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use bitcoin::constants::ChainHash;
use bitcoin::hashes::Hash as _;
use bitcoin::{Amount, Network, OutPoint, ScriptBuf, Txid};
use lightning_chain_embedded::{ChainServer, EmbeddedChain, ServeOptions};
use lightning_keys::{KEYS_MESSAGE, Power, Seed, SeedKeys};
use lightning_net_tokio::{Net, NetConfig, PeerAddress};
use lightning_peer::{Parts, PeerManager};
use lightning_remote::wire::Mode;
use lightning_remote::wire::blind::{Entry, LaneContent};
use lightning_remote::{RecordPolicy, RemoteConfig, RemoteMonitors, Towers};
use lightning_traits::codec::TlvRecords;
use lightning_traits::event::MessageSendEvent;
use lightning_traits::feature::Features;
use lightning_traits::id::{ChannelId, ChannelKeysId, NodeId, UpdateId};
use lightning_traits::interface::{
    ChannelMessageHandler, ChannelSigner as _, CustomMessageHandler, KeysInterface as _,
    ManyChannelMonitor as _, MessageSendEventsProvider, RefusePeer,
};
use lightning_traits::monitor::{
    ChannelMonitorUpdate, MonitorInit, MonitorStep, NewMonitor, PartyTerms, Persist, RecordChange,
};
use lightning_traits::payment::Preimage;
use lightning_traits::tx::{CommitmentFormat, CommitmentSpec, FundingOutput, ObscureFactor};
use lightning_traits::units::{BlockHeight, CsvDelay, FeeratePerKw, Msat};
use lightning_traits::wire::{ChannelMessage, ErrorMessage, Init, WarningMessage};

/// Channels with one update in flight each, and how many updates are measured.
const RUNS: [(usize, usize); 3] = [(1, 500), (100, 20_000), (1_000, 50_000)];
const WARM_UP: usize = 200;
const BLOB: usize = 1_040;
const PATIENCE: Duration = Duration::from_secs(120);

struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself; nobody is left who would care.
        let _ended = self.0.kill();
        let _reaped = self.0.wait();
    }
}

fn executable() -> PathBuf {
    let beside = || std::env::current_exe().expect("our own path").with_file_name("lntower");
    let path = std::env::var_os("LNTOWER_EXE").map_or_else(beside, PathBuf::from);
    assert!(
        path.exists(),
        "{} does not exist: build lightning-watchtower in the same profile",
        path.display()
    );
    path
}

fn wait(what: &str, mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < PATIENCE, "{what} did not happen");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Wakes whoever waits for receipts.
#[derive(Default)]
struct Bell(Mutex<bool>, Condvar);

impl Bell {
    fn ring(&self) {
        *self.0.lock().unwrap() = true;
        self.1.notify_all();
    }

    fn wait(&self) {
        let rung = self.0.lock().unwrap();
        let (mut rung, _) =
            self.1.wait_timeout_while(rung, Duration::from_millis(100), |rung| !*rung).unwrap();
        *rung = false;
    }
}

/// The client's handler of everything: of a connection, of the tower's frames, of nothing else.
struct Ear(Towers, Arc<Bell>);

impl CustomMessageHandler for Ear {
    fn on_custom_message(&self, peer: NodeId, type_id: u16, payload: &[u8]) -> bool {
        let is_taken = self.0.on_custom_message(peer, type_id, payload);
        self.1.ring();
        is_taken
    }
    fn next_custom_message(&self) -> Option<(NodeId, u16, Vec<u8>)> {
        self.0.next_custom_message()
    }
}

struct Front(Arc<Ear>);

impl ChannelMessageHandler for Front {
    fn peer_connected(&self, peer: NodeId, _: &Init, _: bool) -> Result<(), RefusePeer> {
        self.0.0.connected(peer);
        Ok(())
    }
    fn peer_disconnected(&self, peer: NodeId) {
        self.0.0.disconnected(peer);
    }
    fn on_channel_message(&self, _: NodeId, _: ChannelMessage) {}
    fn on_error(&self, _: NodeId, _: &ErrorMessage) {}
    fn on_warning(&self, _: NodeId, _: &WarningMessage) {}
    fn features(&self) -> Features {
        Features::default()
    }
}

impl MessageSendEventsProvider for Front {
    fn next_message(&self) -> Option<MessageSendEvent> {
        None
    }
}

type Parties = Parts<SeedKeys, Front, (), Arc<Ear>, ()>;

fn keys(byte: u8) -> SeedKeys {
    SeedKeys::new(Seed::new([byte; 32]), Arc::new(ScriptBuf::new_op_return([1; 4]))).unwrap()
}

/// A tower with one client, and the client.
struct Bench {
    remote: Arc<RemoteMonitors>,
    net: Net<Parties>,
    bell: Arc<Bell>,
    is_blind: bool,
    /// By number: the channel, and the id of its next update.
    next: BTreeMap<u32, (ChannelId, UpdateId)>,
    birth: BlockHeight,
    _tower: Process,
    _chain: ChainServer,
}

impl Bench {
    fn start(folder: &Path, mode: &str, byte: u8) -> Self {
        let is_blind = mode == "blind";
        let chain = EmbeddedChain::new();
        chain.mine(10, &ScriptBuf::new_op_return([0; 4]));
        let cookie = folder.join("cookie");
        let options = ServeOptions {
            listen: "127.0.0.1:0".parse().unwrap(),
            cookie_file: Some(cookie.clone()),
            password: None,
        };
        let server = ChainServer::start(chain.clone(), options).unwrap();
        let data = folder.join(mode);
        let own = keys(byte);
        let id = NodeId::from(own.node_id());
        let add =
            ["client", "add", "--mode", mode, "--max-channels", "10000", "--max-megabytes", "4000", "--data"];
        let added = Command::new(executable()).args(add).arg(&data).arg(id.to_string()).status().unwrap();
        assert!(added.success());
        let port = || TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().to_string();
        let tower = Command::new(executable())
            .args([
                "run",
                "--network",
                "regtest",
                "--poll-ms",
                "1000",
                "--listen",
                &port(),
                "--api-listen",
                &port(),
            ])
            .args(["--chain-url", &server.address().to_string(), "--chain-cookie"])
            .arg(&cookie)
            .arg("--data")
            .arg(&data)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("`lntower run` should start");
        let tower = Process(tower);
        let place = data.join("tower.address");
        let address = || std::fs::read_to_string(&place).ok().filter(|text| text.contains('@'));
        wait("the tower's address", || address().is_some());
        let address: PeerAddress = address().unwrap().trim().parse().unwrap();
        let key = address.to_string().split('@').next().unwrap().parse().unwrap();
        let mut config = RemoteConfig::new(id, key, RecordPolicy::Withheld);
        config.mode = if is_blind { Mode::Blind {} } else { Mode::Justice {} };
        let lender = own.clone();
        let remote = RemoteMonitors::new(config, 1, None).with_introduction(move |init| {
            Some((KEYS_MESSAGE, lender.lend(&init.keys, Power::Punish).to_message(&init.keys)))
        });
        let (remote, bell) = (Arc::new(remote), Arc::new(Bell::default()));
        let ear = Arc::new(Ear(Towers::new([Arc::clone(&remote)]), Arc::clone(&bell)));
        let front = Front(Arc::clone(&ear));
        let parts = Parts { keys: own, channels: front, routing: (), custom: ear, log: () };
        let peers = PeerManager::new(parts, vec![ChainHash::using_genesis_block_const(Network::Regtest)]);
        let net = Net::new(Arc::new(peers), NetConfig::default());
        net.keep_connected(address);
        wait("the connection", || remote.is_up());
        let birth = BlockHeight::new(chain.height());
        Self { remote, net, bell, is_blind, next: BTreeMap::new(), birth, _tower: tower, _chain: server }
    }

    /// Hands over the next update of a channel, the channel itself first.
    fn hand_over(&mut self, index: u32, own: &SeedKeys) -> ChannelId {
        let known = self.next.get(&index).copied();
        let new = if self.is_blind || known.is_some() { None } else { Some(self.new_monitor(index, own)) };
        let mut id = [9; 32];
        id[..4].copy_from_slice(&index.to_be_bytes());
        let fresh = new.as_ref().map_or(ChannelId(id), |new| new.init.channel);
        let (channel, update) = known.unwrap_or((fresh, UpdateId(0)));
        self.next.insert(index, (channel, update.next()));
        let persist = match new {
            None if self.is_blind => {
                let mut locator = [0; 16];
                locator[..8].copy_from_slice(&update.0.to_be_bytes());
                locator[8..12].copy_from_slice(&index.to_be_bytes());
                let entries = vec![Entry { locator, body: vec![index as u8; BLOB] }];
                self.remote.append(LaneContent { entries, tag: [0; 16] }.into_update(channel, update))
            }
            Some(new) => self.remote.add_channel(new),
            None => self.remote.update_channel(step(channel, update)),
        };
        assert!(matches!(persist, Persist::InProgress), "{persist:?}");
        channel
    }

    fn new_monitor(&self, index: u32, own: &SeedKeys) -> NewMonitor {
        let mut name = [7; 32];
        name[..4].copy_from_slice(&index.to_be_bytes());
        let keys = ChannelKeysId(name);
        let public = own.signer(&keys).public_keys();
        let outpoint = OutPoint::new(Txid::from_byte_array(name), 0);
        let value = Amount::from_sat(1_000_000);
        let half = Msat::from_sat(500_000);
        let spec = CommitmentSpec {
            feerate: FeeratePerKw::new(1_000),
            to_broadcaster: half,
            to_countersigner: half,
            htlcs: Vec::new(),
        };
        let terms = || PartyTerms {
            keys: public,
            dust_limit: Amount::from_sat(354),
            to_self_delay: CsvDelay::new(144),
        };
        let digest = secp256k1::Message::from_digest([1; 32]);
        let init = MonitorInit {
            channel: ChannelId::v1_from_funding(outpoint),
            peer: NodeId::from(public.funding),
            keys,
            funding: FundingOutput::new(outpoint, value, public.funding, public.htlc_basepoint),
            format: CommitmentFormat::AnchorsZeroFeeHtlc,
            obscure: ObscureFactor::new(&public.payment_basepoint, &public.htlc_basepoint),
            we_opened: true,
            ours: terms(),
            theirs: terms(),
            our_spec: spec.clone(),
            their_signature: own.secp().sign_ecdsa(&digest, own.node_secret()),
            their_spec: spec,
            their_point: public.delayed_payment_basepoint,
            destination: ScriptBuf::new_op_return([1; 4]),
            // No block is newer, so none is looked at again.
            birth: self.birth.plus(1),
        };
        NewMonitor { init, record: RecordChange::Same {}, extra: TlvRecords::new() }
    }

    /// Updates of so many channels, one of each in flight: each one's time from the hand-over to its receipt.
    fn run(&mut self, channels: usize, updates: usize, own: &SeedKeys) -> (Duration, Vec<Duration>) {
        let mut out: BTreeMap<ChannelId, (u32, Instant)> = BTreeMap::new();
        let mut times = Vec::with_capacity(updates);
        let begun = Instant::now();
        let mut started = 0;
        let mut idle: Vec<u32> = (0..channels as u32).collect();
        while times.len() < updates {
            while started < updates
                && let Some(index) = idle.pop()
            {
                let since = Instant::now();
                let channel = self.hand_over(index, own);
                out.insert(channel, (index, since));
                started += 1;
            }
            self.net.wake();
            self.bell.wait();
            while let Some(receipt) = self.remote.next_receipt() {
                let (index, since) = out.remove(&receipt.channel()).unwrap();
                times.push(since.elapsed());
                idle.push(index);
            }
            assert!(
                begun.elapsed() < PATIENCE,
                "{} of {updates}: {:?}",
                times.len(),
                self.remote.next_alarm()
            );
        }
        (begun.elapsed(), times)
    }
}

fn step(channel: ChannelId, id: UpdateId) -> ChannelMonitorUpdate {
    let mut preimage = [3; 32];
    preimage[..8].copy_from_slice(&id.0.to_be_bytes());
    ChannelMonitorUpdate {
        channel,
        id,
        steps: vec![MonitorStep::Preimage { preimage: Preimage::new(preimage) }],
        record: RecordChange::Same {},
        extra: TlvRecords::new(),
    }
}

/// What one fsync of a database's commit costs on this disk.
fn fsync(folder: &Path) -> Duration {
    use std::io::Write as _;
    let mut file = std::fs::File::create(folder.join("fsync")).unwrap();
    let mut times: Vec<Duration> = (0..50)
        .map(|_| {
            file.write_all(&[0; 40_960]).unwrap();
            let begun = Instant::now();
            file.sync_all().unwrap();
            begun.elapsed()
        })
        .collect();
    times.sort_unstable();
    times[25]
}

fn main() {
    let folder = tempfile::tempdir().unwrap();
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!("load {}; fsync of 40 KiB: {:?} (median)", load.trim(), fsync(folder.path()));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _inside = runtime.enter();
    for (mode, byte) in [("justice", 41), ("blind", 42)] {
        let own = keys(byte);
        let mut bench = Bench::start(folder.path(), mode, byte);
        for (channels, updates) in RUNS {
            bench.run(channels, WARM_UP.max(channels * 2), &own);
            let (took, mut times) = bench.run(channels, updates, &own);
            times.sort_unstable();
            let at = |share: usize| times[(times.len() * share / 100).min(times.len() - 1)];
            println!(
                "{mode}: {channels} in flight: {:.0} acknowledged/s; latency median {:?}, p99 {:?}, worst {:?}",
                updates as f64 / took.as_secs_f64(),
                at(50),
                at(99),
                times[times.len() - 1]
            );
        }
    }
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!("load {}", load.trim());
    runtime.shutdown_background();
}
