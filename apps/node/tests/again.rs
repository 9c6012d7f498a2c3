//! The same payment ordered again: at once, after a `kill -9`, after its end. It is made once (RELIABILITY F12, F17).
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

use std::thread;

use bitcoin::hashes::{Hash as _, sha256};
use process::{Chain, Daemon, wait};

const CHANNEL_SAT: u64 = 2_000_000;

fn start(chain: &Chain) -> [Daemon; 2] {
    let [alice, bob] = ["alice", "bob"].map(|name| Daemon::start(name, chain));
    chain.mine_to(1, &alice.run(&["newaddr"])["address"]);
    chain.mine(101);
    wait("alice's coins", 30, || alice.run(&["balance"])["onchain_confirmed_sat"].as_u64() > Some(0));
    alice.run(&["openchannel", &bob.address(), &CHANNEL_SAT.to_string()]);
    chain.mine(6);
    wait("the channel", 60, || is_open(&alice) && is_open(&bob));
    [alice, bob]
}

fn is_open(daemon: &Daemon) -> bool {
    let channels = daemon.run(&["listchannels"]);
    channels["channels"].as_array().unwrap().iter().any(|row| row["state"] == "open")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// An invoice whose payment waits: its preimage, hash and text.
fn hold(bob: &Daemon, byte: u8) -> (String, String, String) {
    let (preimage, hash) = (hex(&[byte; 32]), hex(sha256::Hash::hash(&[byte; 32]).as_byte_array()));
    let made = bob.run(&["holdinvoice", &hash, "5000sat"]);
    (preimage, hash, made["invoice"].as_str().unwrap().to_owned())
}

fn invoice_state(bob: &Daemon, hash: &str) -> String {
    let list = bob.run(&["listinvoices"]);
    let row = list["invoices"].as_array().unwrap().iter().find(|row| row["payment_hash"] == hash).cloned();
    row.unwrap()["state"].as_str().unwrap().to_owned()
}

fn refuses(alice: &Daemon, invoice: &str) {
    let (code, said) = alice.command(&["pay", "--no-wait", invoice]).unwrap_err();
    assert!(code == 1 && said.contains("LN0022"), "{code}: {said}");
}

/// `kill -9`, and on the same data again, with the channel in use.
fn die(alice: &Daemon, bob: &Daemon) {
    alice.kill();
    alice.start_again();
    wait("alice's return", 60, || alice.try_run(&["getinfo"]).is_some());
    wait("the channel", 60, || is_open(alice) && is_open(bob));
}

#[test]
fn f17_what_is_under_way_or_paid_is_refused_over_any_kill() {
    let chain = Chain::start();
    let [alice, bob] = start(&chain);
    let (preimage, hash, invoice) = hold(&bob, 1);
    alice.run(&["pay", "--no-wait", &invoice]);
    refuses(&alice, &invoice);
    wait("the payment to wait", 60, || invoice_state(&bob, &hash) == "held");
    die(&alice, &bob);
    refuses(&alice, &invoice);
    bob.run(&["settleinvoice", &preimage]);
    wait("the end", 60, || alice.run(&["getpayment", &hash])["state"] == "succeeded");
    refuses(&alice, &invoice);
    die(&alice, &bob);
    refuses(&alice, &invoice);
    assert_eq!(alice.run(&["getpayment", &hash])["preimage"], *preimage);
    assert_eq!(bob.run(&["balance"])["channels_msat"], 5_000_000);
}

#[test]
fn f12_what_has_failed_stays_so_over_a_kill_until_it_is_ordered_again() {
    let chain = Chain::start();
    let [alice, bob] = start(&chain);
    let (_, hash, invoice) = hold(&bob, 2);
    alice.run(&["pay", "--no-wait", &invoice]);
    wait("the payment to wait", 60, || invoice_state(&bob, &hash) == "held");
    bob.run(&["cancelinvoice", &hash]);
    wait("the end", 60, || alice.run(&["getpayment", &hash])["state"] == "failed");
    die(&alice, &bob);
    assert_eq!(alice.run(&["getpayment", &hash])["state"], "failed");
    // A new order is a new payment: this one fails like the first, since its invoice is called off.
    alice.run(&["pay", "--no-wait", &invoice]);
    wait("the end of it", 60, || alice.run(&["getpayment", &hash])["state"] == "failed");
    assert_eq!(bob.run(&["balance"])["channels_msat"], 0);
}

#[test]
fn f17_of_many_who_order_the_same_at_once_one_is_heard() {
    let chain = Chain::start();
    let [alice, bob] = start(&chain);
    for round in 0..3 {
        let made = bob.run(&["invoice", "5000sat"]);
        let (invoice, hash) = (made["invoice"].as_str().unwrap(), made["payment_hash"].as_str().unwrap());
        let answers: Vec<_> = thread::scope(|scope| {
            let order = || scope.spawn(|| alice.command(&["pay", "--no-wait", invoice]));
            let orders: Vec<_> = (0..6).map(|_| order()).collect();
            orders.into_iter().map(|order| order.join().unwrap()).collect()
        });
        let refused = answers.iter().filter_map(|answer| answer.as_ref().err());
        let wrong: Vec<_> = refused.clone().filter(|(_, said)| !said.contains("LN0022")).collect();
        assert!(wrong.is_empty(), "{wrong:?}");
        assert_eq!(refused.count(), 5, "{answers:?}");
        wait("the end", 60, || alice.run(&["getpayment", hash])["state"] == "succeeded");
        assert_eq!(alice.run(&["getpayment", hash])["failure"], serde_json::Value::Null);
        wait("bob's", 60, || bob.run(&["balance"])["channels_msat"] == 5_000_000 * (round + 1));
    }
}
