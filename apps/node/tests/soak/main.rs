//! Three daemons on a real chain under mixed traffic, one of them killed every now and then: in the end everything has
//! settled, every millisatoshi is accounted for, both ends tell the same of each payment, and no channel is closed.
//!
//! A short run unless `SOAK_MINUTES` says how long; `cargo xtask soak --minutes 30` is that with the program as it is released.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    unreachable_pub,
    reason = "tests"
)]

mod audit;
mod forged;
mod traffic;
mod world;

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use audit::{Account, audit, show};
use bitcoin::hashes::Hash as _;
use serde_json::{Value, json};
use traffic::{Kind, Ledger, Must, Ordered, Random, Traffic};
use world::{Chain, Daemon, PATIENCE, wait};

/// How long, unless `SOAK_MINUTES` says so.
const SHORT: Duration = Duration::from_secs(40);
const PER_SECOND: u64 = 20;
/// Those who give orders: most of them wait, for a node that is dead or a payment that is held.
const WORKERS: u64 = 24;
const CHANNEL_SAT: u64 = 5_000_000;
/// What a node may need of memory, in KiB; and of the disk: the books keep every payment, so something for each (RELIABILITY O8).
const MOST_MEMORY_KIB: u64 = 256 << 10;
const MOST_DISK: (u64, u64) = (8 << 20, 4 << 10);
const NAMES: [&str; 3] = ["alice", "bob", "carol"];
/// Both ends of each channel; the first opens it.
const CHANNELS: [(usize, usize); 4] = [(0, 1), (1, 0), (1, 2), (2, 1)];

/// Coins for all, two channels on each side of the node in the middle, and everybody knows of all of them.
fn connect(chain: &Chain, nodes: &[Daemon; 3]) {
    let addresses: Vec<String> = nodes
        .iter()
        .map(|node| node.must("newaddr", &json!({}))["address"].as_str().unwrap().to_owned())
        .collect();
    for address in addresses.iter().cycle().take(9) {
        chain.mine(1, address);
    }
    chain.mine(100, &nowhere());
    for node in nodes {
        wait("coins", PATIENCE, || {
            let balance = node.must("balance", &json!({}));
            balance["onchain_confirmed_sat"].as_u64().filter(|sat| *sat >= 3 * CHANNEL_SAT)
        });
    }
    for (opener, accepter) in CHANNELS {
        let opening = json!({
            "peer": nodes[accepter].address,
            "amount_sat": CHANNEL_SAT,
            "push_msat": CHANNEL_SAT / 2 * 1_000,
            "announce": true,
        });
        nodes[opener].must("openchannel", &opening);
        chain.mine(1, &nowhere());
    }
    wait("the channels", PATIENCE, || {
        chain.mine(1, &nowhere());
        thread::sleep(Duration::from_millis(300));
        let open = |node: &Daemon| {
            let channels = node.list("listchannels", "channels");
            channels.iter().filter(|row| row["state"] == "open").count()
        };
        (open(&nodes[0]) == 2 && open(&nodes[1]) == 4 && open(&nodes[2]) == 2).then_some(())
    });
}

/// Pays from end to end until it arrives: by then the far ends know of all channels.
fn find_ways(nodes: &[Daemon; 3], ledger: &mut Ledger) {
    for (payer, payee) in [(0, 2), (2, 0)] {
        wait("a way through the middle", PATIENCE, || {
            let invoice = nodes[payee].must("invoice", &json!({ "amount_msat": 1_000_000 }));
            nodes[payer].ask("pay", &json!({ "invoice": invoice["invoice"] })).ok()?;
            let hash = invoice["payment_hash"].as_str().unwrap().to_owned();
            let get = json!({ "payment_hash": hash });
            ledger.ordered.insert(hash, Ordered { kind: Kind::Forwarded, payer, payee, must: Must::End });
            let row = wait("the end of a payment", PATIENCE, || {
                Some(nodes[payer].must("getpayment", &get)).filter(|row| row["state"] != "pending")
            });
            (row["state"] == "succeeded").then_some(())
        });
    }
}

fn nowhere() -> String {
    let script = bitcoin::ScriptBuf::new_p2wsh(&bitcoin::WScriptHash::all_zeros());
    bitcoin::Address::from_script(&script, bitcoin::Network::Regtest).unwrap().to_string()
}

/// Most memory seen of each node, in KiB.
type Peaks = [AtomicU64; 3];

/// Kills one after the other, mines, and looks at their memory, until the time is over; how often it killed and mined.
fn disturb(chain: &Chain, nodes: &[Daemon; 3], until: Instant, peaks: &Peaks) -> (u32, u32) {
    let mut random = Random::new(20_261_122);
    let long = until.saturating_duration_since(Instant::now()) > 3 * SHORT;
    let every = Duration::from_secs(if long { 20 } else { 8 });
    let (mut next_kill, mut next_block) = (Instant::now() + every / 2, Instant::now());
    let (mut kills, mut blocks) = (0, 0);
    while Instant::now() < until {
        for (node, peak) in nodes.iter().zip(peaks) {
            peak.fetch_max(node.memory_kib().unwrap_or(0), Ordering::SeqCst);
            assert!(!node.has_ended(), "{} has ended by itself", node.name);
        }
        if Instant::now() >= next_block {
            chain.mine(1, &nowhere());
            blocks += 1;
            next_block += Duration::from_secs(5 + random.below(15));
        }
        if Instant::now() >= next_kill {
            let victim = &nodes[random.below(3) as usize];
            victim.kill();
            thread::sleep(Duration::from_millis(random.below(1_500)));
            victim.start_again();
            kills += 1;
            next_kill += every;
        }
        thread::sleep(Duration::from_millis(200));
    }
    (kills, blocks)
}

/// Waits until no payment is under way and all are connected.
fn settle(chain: &Chain, nodes: &[Daemon; 3]) {
    let mut looks = 0;
    let mut quiet = || {
        looks += 1;
        if looks % 20 == 0 {
            chain.mine(1, &nowhere());
        }
        nodes.iter().all(|node| {
            let pending = |row: &Value| row["state"] == "pending";
            let busy = |row: &Value| row["state"] != "open" || row["htlcs"] != 0;
            !node.list("listchannels", "channels").iter().any(busy)
                && !node.list("listpayments", "payments").iter().any(pending)
        })
    };
    let begun = Instant::now();
    while !quiet() && begun.elapsed() < 2 * PATIENCE {
        // What is not quiet by then is told by the audit, with all else that is wrong.
        thread::sleep(Duration::from_millis(250));
    }
}

#[test]
fn the_soak() {
    let minutes = std::env::var("SOAK_MINUTES").ok().map(|text| text.parse::<u64>().expect("whole minutes"));
    let length = minutes.map_or(SHORT, |minutes| Duration::from_secs(60 * minutes));
    let folder = tempfile::tempdir().unwrap();
    let chain = Chain::start(folder.path());
    let nodes = NAMES.map(|name| Daemon::start(name, folder.path(), &chain));
    connect(&chain, &nodes);
    let before = nodes.each_ref().map(|node| Account::of(node).balance());
    let mut ledger = Ledger::default();
    find_ways(&nodes, &mut ledger);
    let sizes = nodes.each_ref().map(Daemon::database_bytes);

    let traffic = Traffic {
        nodes: &nodes,
        ledger: Mutex::new(ledger),
        stop: AtomicBool::new(false),
        given: AtomicU64::new(0),
        begun: Instant::now(),
        per_second: PER_SECOND,
    };
    let peaks: Peaks = Default::default();
    let (kills, blocks) = thread::scope(|scope| {
        for worker in 0..WORKERS {
            let traffic = &traffic;
            scope.spawn(move || traffic.run(worker));
        }
        let disturbed = disturb(&chain, &nodes, Instant::now() + length, &peaks);
        traffic.stop.store(true, Ordering::SeqCst);
        disturbed
    });
    let took = traffic.begun.elapsed();
    settle(&chain, &nodes);

    let given = traffic.given.load(Ordering::SeqCst);
    let ledger = traffic.ledger.into_inner().unwrap();
    let accounts = nodes.each_ref().map(Account::of);
    let (mut wrong, ends) = audit(&nodes, &accounts, &ledger, before);
    println!(
        "{:.0} s on {}: {given} payments ordered ({:.1}/s), {kills} kills, {blocks} blocks",
        length.as_secs_f64(),
        chain.name(),
        given as f64 / took.as_secs_f64(),
    );
    show(&ends, &ledger);
    println!("{:<8}{:>12}{:>12}{:>14}{:>14}", "node", "peak MiB", "end MiB", "db before MiB", "db end MiB");
    let mib = |bytes: u64| format!("{:.1}", bytes as f64 / f64::from(1 << 20));
    for (at, node) in nodes.iter().enumerate() {
        let (peak, end) = (peaks[at].load(Ordering::SeqCst), node.memory_kib().unwrap_or(0));
        let (was, is) = (sizes[at], node.database_bytes());
        println!(
            "{:<8}{:>12}{:>12}{:>14}{:>14}",
            node.name,
            mib(peak << 10),
            mib(end << 10),
            mib(was),
            mib(is)
        );
        if peak.max(end) > MOST_MEMORY_KIB || is > MOST_DISK.0 + MOST_DISK.1 * given {
            wrong.push(format!("{} needs too much memory or disk", node.name));
        }
    }
    assert!(wrong.is_empty(), "{} things are wrong:\n{}", wrong.len(), wrong.join("\n"));
    let arrived: u64 = ends.values().map(|(arrived, _)| arrived).sum();
    assert!(kills >= 3 && arrived * 2 > given, "only {arrived} of {given} arrived, with {kills} kills");
    for (kind, (arrived, _)) in &ends {
        assert!(
            matches!(kind, Kind::HeldAndCancelled | Kind::TooLittle | Kind::UnknownHash) || *arrived > 0,
            "no {kind:?} arrived"
        );
    }
}
