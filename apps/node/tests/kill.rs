//! `kill -9` of a daemon at any moment: no channel closes, no payment is lost or made twice.
//!
//! Two daemons pay each other in both directions while one after the other is killed and started again. In the end both
//! sides must agree, to the millisatoshi, with what payer and payee have written down.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "tests"
)]

mod process;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use process::{Chain, Daemon};
use serde_json::Value;

const KILLS: u32 = 50;
const CHANNEL_SAT: u64 = 2_000_000;

/// Random numbers that a seed decides: a failing run can be had again, as far as processes allow.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// What the threads tell each other.
#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    /// Payments that were ordered.
    ordered: AtomicUsize,
}

/// Pays invoice after invoice, whatever happens to either daemon, until told to stop.
fn traffic(payer: &Daemon, payee: &Daemon, shared: &Shared, seed: u64) -> Vec<String> {
    let mut random = Random(seed);
    let mut hashes = Vec::new();
    while !shared.stop.load(Ordering::SeqCst) {
        let amount = format!("{}msat", 1_000 + random.below(2_000_000));
        let Some(invoice) = payee.try_run(&["invoice", &amount, "traffic"]) else { continue };
        // A payer that dies after it took the order has written it down; asking again is refused, and that is right.
        for _ in 0..200 {
            if payer.try_run(&["pay", "--no-wait", invoice["invoice"].as_str().unwrap()]).is_some()
                || payer.knows_payment(invoice["payment_hash"].as_str().unwrap())
            {
                hashes.push(invoice["payment_hash"].as_str().unwrap().to_owned());
                shared.ordered.fetch_add(1, Ordering::SeqCst);
                break;
            }
            if shared.stop.load(Ordering::SeqCst) {
                break;
            }
            thread::sleep(Duration::from_millis(20));
        }
        thread::sleep(Duration::from_millis(random.below(40)));
    }
    hashes
}

#[test]
fn fifty_kills_under_traffic_lose_nothing() {
    let chain = Chain::start();
    let [alice, bob] = ["alice", "bob"].map(|name| Arc::new(Daemon::start(name, &chain)));
    let channel = open_channel(&chain, &alice, &bob);

    let shared = Arc::new(Shared::default());
    let spawn = |payer: &Arc<Daemon>, payee: &Arc<Daemon>, seed| {
        let (payer, payee, shared) = (Arc::clone(payer), Arc::clone(payee), Arc::clone(&shared));
        thread::spawn(move || traffic(&payer, &payee, &shared, seed))
    };
    let there = [spawn(&alice, &bob, 1), spawn(&alice, &bob, 2)];
    let back = [spawn(&bob, &alice, 3), spawn(&bob, &alice, 4)];

    let mut random = Random(20_261_122);
    for kill in 0..KILLS {
        // However slow the machine, there are payments between any two kills.
        let before = shared.ordered.load(Ordering::SeqCst);
        process::wait("traffic", 60, || shared.ordered.load(Ordering::SeqCst) > before + 1);
        thread::sleep(Duration::from_millis(random.below(150)));
        let victim = if kill % 2 == 0 { &alice } else { &bob };
        victim.kill();
        thread::sleep(Duration::from_millis(random.below(100)));
        victim.start_again();
    }
    // Some quiet traffic at the end, so that the last kill is not the end of the story.
    thread::sleep(Duration::from_secs(2));
    shared.stop.store(true, Ordering::SeqCst);
    let there: Vec<String> = there.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
    let back: Vec<String> = back.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
    println!("{KILLS} kills, {} payments there, {} back", there.len(), back.len());
    assert!(there.len() + back.len() >= 100, "there was traffic");

    settle(&alice, &bob);
    let paid = paid_by(&alice, &bob, &there);
    let returned = paid_by(&bob, &alice, &back);
    check_channel(&alice, &bob, &channel, paid, returned);
}

fn open_channel(chain: &Chain, alice: &Daemon, bob: &Daemon) -> String {
    chain.mine_to(1, &alice.run(&["newaddr"])["address"]);
    chain.mine(101);
    process::wait("alice's coins", 30, || {
        alice.run(&["balance"])["onchain_confirmed_sat"].as_u64() > Some(0)
    });
    let peer = bob.address();
    let push = format!("{}sat", CHANNEL_SAT / 2);
    let opened = alice.run(&["openchannel", &peer, &CHANNEL_SAT.to_string(), "--push", &push]);
    chain.mine(6);
    let id = opened["channel_id"].as_str().unwrap().to_owned();
    for daemon in [alice, bob] {
        process::wait("the channel", 60, || daemon.channel(&id)["state"] == "open");
    }
    id
}

/// Waits until no payment is under way and both are connected.
fn settle(alice: &Daemon, bob: &Daemon) {
    let pending = |daemon: &Daemon| {
        let payments = daemon.run(&["listpayments"]);
        let payments = payments["payments"].as_array().unwrap();
        payments.iter().filter(|payment| payment["state"] == "pending").count()
    };
    process::wait("the end of all payments", 120, || pending(alice) + pending(bob) == 0);
    let empty = |daemon: &Daemon| {
        let channels = daemon.run(&["listchannels"]);
        channels["channels"].as_array().unwrap().iter().all(|row| row["htlcs"] == 0 && row["state"] == "open")
    };
    process::wait("quiet channels", 60, || empty(alice) && empty(bob));
}

fn rows(daemon: &Daemon, method: &str, list: &str) -> BTreeMap<String, Value> {
    let answer = daemon.run(&[method]);
    let rows = answer[list].as_array().unwrap().iter();
    rows.map(|row| (row["payment_hash"].as_str().unwrap().to_owned(), row.clone())).collect()
}

/// What the payer paid in all; every payment must be what both sides say it is.
fn paid_by(payer: &Daemon, payee: &Daemon, hashes: &[String]) -> u64 {
    let (payments, invoices) =
        (rows(payer, "listpayments", "payments"), rows(payee, "listinvoices", "invoices"));
    let mut sum = 0;
    let mut succeeded = 0;
    for hash in hashes {
        let payment = payments.get(hash).unwrap_or_else(|| panic!("payment {hash} is lost"));
        let invoice = invoices.get(hash).unwrap_or_else(|| panic!("invoice {hash} is lost"));
        match payment["state"].as_str().unwrap() {
            "succeeded" => {
                assert_eq!(invoice["state"], "paid", "{hash} is paid, but not received");
                assert_eq!(invoice["received_msat"], payment["amount_msat"], "{hash}");
                assert_eq!(invoice["amount_msat"], payment["amount_msat"], "{hash}");
                sum += payment["amount_msat"].as_u64().unwrap();
                succeeded += 1;
            }
            "failed" => assert_ne!(invoice["state"], "paid", "{hash} failed, but is received"),
            other => panic!("{hash} is {other}"),
        }
    }
    println!("{} of {} payments of {} succeeded", succeeded, hashes.len(), payer.name());
    assert!(succeeded * 2 > hashes.len(), "most payments arrive");
    sum
}

fn check_channel(alice: &Daemon, bob: &Daemon, id: &str, paid: u64, returned: u64) {
    let (ours, theirs) = (alice.channel(id), bob.channel(id));
    let half = CHANNEL_SAT / 2 * 1_000;
    assert_eq!(ours["local_msat"], theirs["remote_msat"]);
    assert_eq!(ours["remote_msat"], theirs["local_msat"]);
    assert_eq!(ours["local_msat"].as_u64().unwrap(), half - paid + returned);
    for daemon in [alice, bob] {
        let events = daemon.run(&["listevents", "--limit", "10000"]);
        let closed =
            events["events"].as_array().unwrap().iter().find(|event| event["kind"] == "channel_closed");
        assert_eq!(closed, None);
    }
    let again = Instant::now();
    assert!(alice.run(&["getinfo"])["synced"].as_bool().unwrap() && again.elapsed() < Duration::from_secs(5));
}
